//! Revision counters as C Tor makes them: time, encrypted so that its order stays
//! (lib/crypt_ops/crypto_ope.c, feature/hs/hs_service.c).

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit as _, StreamCipher as _, StreamCipherSeek as _};
use zeroize::Zeroizing;

use super::crypto::sha3_256;

/// Number of seconds after which the counter no longer rises: `OPE_INPUT_MAX` (crypto_ope.h:19).
const LAST: u64 = 1 << 18;

/// Number of values between two sums that are kept: `SAMPLE_INTERVAL` (crypto_ope.c:38).
const INTERVAL: usize = 1024;
/// Length of one value, in bytes.
const VALUE_LEN: usize = 2;

/// Order-preserving encryption of the seconds of one descriptor's life.
///
/// The encryption of N is the sum of N values of a key stream. Sums at every [`INTERVAL`] are kept
/// as far as they were needed.
pub(super) struct Counter {
    stream: Ctr128BE<Aes256>,
    /// Sum of the values before each interval.
    sums: Vec<u64>,
}

impl Counter {
    /// Counter under a blinded secret key (`generate_ope_cipher_from_desc`, hs_service.c:1959). C
    /// Tor hashes the NUL that ends the string along with it.
    pub(super) fn new(blinded_secret: &[u8; 64]) -> Self {
        let key = Zeroizing::new(sha3_256(&[b"rev-counter-generation\0", blinded_secret]));
        Self {
            stream: Ctr128BE::new((&*key).into(), &[0; 16].into()),
            sums: vec![0],
        }
    }

    /// The counter of a descriptor that is written this many seconds after its life began
    /// (`set_descriptor_revision_counter`, hs_service.c:3218).
    pub(super) fn at(&mut self, seconds: u64) -> u64 {
        // One more, so that it is never zero; and no further than C Tor goes.
        let steps = seconds.saturating_add(1).min(LAST);
        // It fits: `LAST` is 2^18.
        let steps = usize::try_from(steps).unwrap_or(usize::MAX);
        let (interval, rest) = (steps / INTERVAL, steps % INTERVAL);
        while self.sums.len() <= interval {
            let sum = self.sums.last().copied().unwrap_or_default();
            let next = sum + self.sum(self.sums.len() - 1, INTERVAL);
            self.sums.push(next);
        }
        self.sums.get(interval).copied().unwrap_or_default() + self.sum(interval, rest)
    }

    /// Sum of the first `count` values of an interval, each one more than the key stream says.
    fn sum(&mut self, interval: usize, count: usize) -> u64 {
        let mut bytes = Zeroizing::new([0; INTERVAL * VALUE_LEN]);
        self.stream.seek(interval * INTERVAL * VALUE_LEN);
        self.stream.apply_keystream(&mut *bytes);
        let (values, _) = bytes.as_chunks::<VALUE_LEN>();
        let values = values.iter().take(count);
        values.map(|value| u64::from(u16::from_le_bytes(*value)) + 1).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of `crypto_ope_encrypt`, without sums in between.
    fn slowly(counter: &mut Counter, seconds: u64) -> u64 {
        let mut bytes = vec![0; (seconds as usize + 1) * VALUE_LEN];
        counter.stream.seek(0);
        counter.stream.apply_keystream(&mut bytes);
        let values = bytes.as_chunks::<VALUE_LEN>().0.iter();
        values.map(|value| u64::from(u16::from_le_bytes(*value)) + 1).sum()
    }

    #[test]
    fn intervals_add_up() {
        let mut counter = Counter::new(&[7; 64]);
        for seconds in [5000, 0, 1, 1022, 1023, 1024, 2046, 2047, 2048, 100_000, LAST - 1] {
            assert_eq!(counter.at(seconds), slowly(&mut counter, seconds), "after {seconds} s");
        }
    }

    #[test]
    fn rises_with_every_second_and_ends() {
        let mut counter = Counter::new(&[7; 64]);
        let values: Vec<u64> = (0..5000).map(|seconds| counter.at(seconds)).collect();
        assert!(values.is_sorted_by(|one, next| one < next));
        assert!(values[0] > 0);
        assert_eq!(counter.at(LAST), counter.at(LAST - 1));
        assert_eq!(counter.at(u64::MAX), counter.at(LAST - 1));
        assert_ne!(Counter::new(&[8; 64]).at(0), values[0]);
    }
}
