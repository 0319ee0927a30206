//! Everything that is drawn at random, from the seed alone.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::Round;

/// Purpose of a draw. Draws for different purposes are independent of each other.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Remainder,
    Placement,
    Race,
}

/// The random source for one purpose of the `number`-th round or rotation.
pub(crate) fn rng(purpose: Purpose, number: u64, round: Round) -> ChaCha8Rng {
    let mut key = [0; 32];
    let parts = [purpose as u64, number, round.seed()];
    for (to, from) in key.chunks_exact_mut(8).zip(parts) {
        to.copy_from_slice(&from.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}
