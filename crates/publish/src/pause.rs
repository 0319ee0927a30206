//! Pauses after failures, and numbers that look drawn.

use std::time::Duration;

/// Pause after the first failure. It doubles with each further one.
const FIRST: Duration = Duration::from_millis(250);
/// Longest pause.
const LONGEST: Duration = Duration::from_secs(60);

/// The pause before try number `failures + 1`.
pub(crate) fn pause_after(failures: u32) -> Duration {
    FIRST
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(LONGEST)
}

/// A number from 0 up to 1 that looks drawn: another one for each seed and number (the finalizer of
/// splitmix64).
pub(crate) fn fraction(seed: u64, number: u32) -> f64 {
    let mut mixed = seed.wrapping_add(u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute() {
        let pauses = [0, 1, 2, 3, 8, 9, 40].map(|failures| pause_after(failures).as_millis());
        assert_eq!(pauses, [250, 250, 500, 1000, 32_000, 60_000, 60_000]);
    }

    #[test]
    fn fractions_are_those_of_splitmix64() {
        // The first outputs of splitmix64 for seed 0 (Vigna,
        // https://prng.di.unimi.it/splitmix64.c).
        for (number, output) in [
            (1, 0xe220_a839_7b1d_cdaf_u64),
            (2, 0x6e78_9e6a_a1b9_65f4),
            (3, 0x06c4_5d18_8009_454f),
        ] {
            assert_eq!(fraction(0, number), (output >> 11) as f64 / (1_u64 << 53) as f64);
        }
    }
}
