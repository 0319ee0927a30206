//! Many times in little room.

use std::time::Duration;

use crate::simulation::Micros;

/// Times, sorted into classes that are 3 % wide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    classes: Vec<u64>,
    count: u64,
    longest: Micros,
}

impl Times {
    /// Number of classes for each doubling.
    const FINE: u32 = 5;

    /// Returns the number of times.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The longest.
    pub const fn longest(&self) -> Duration {
        Duration::from_micros(self.longest)
    }

    /// The time that this part of all did not exceed, to 3 %: 0.5 gives the median. Zero if there
    /// are none.
    pub fn quantile(&self, part: f64) -> Duration {
        let rank = (part.clamp(0.0, 1.0) * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (class, &count) in self.classes.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_micros(Self::last_of(class).min(self.longest));
            }
        }
        Duration::ZERO
    }

    pub(super) fn add(&mut self, time: Micros) {
        let class = Self::class(time);
        if class >= self.classes.len() {
            self.classes.resize(class + 1, 0);
        }
        if let Some(count) = self.classes.get_mut(class) {
            *count += 1;
        }
        self.count += 1;
        self.longest = self.longest.max(time);
    }

    /// The class of a time: by its highest bit, and by the five bits after that.
    fn class(time: Micros) -> usize {
        let octave = time.max(1).ilog2().saturating_sub(Self::FINE);
        (u64::from(octave << Self::FINE) + (time >> octave)) as usize
    }

    /// The longest time of a class.
    fn last_of(class: usize) -> Micros {
        let class = class as u64;
        let octave = (class >> Self::FINE).saturating_sub(1);
        let first = class - (octave << Self::FINE);
        ((first + 1) << octave) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_as_narrow_as_promised() {
        for time in (0..100_000).chain((0..200).map(|i| 1_000_000 + i * 999_983)) {
            let class = Times::class(time);
            let last = Times::last_of(class);
            assert!(time <= last && Times::class(last) == class, "{time}: {class}, {last}");
            assert!(
                (last - time) as f64 <= 0.0313 * time.max(1) as f64,
                "{time}: up to {last}"
            );
            assert!(Times::class(last + 1) == class + 1);
        }
    }

    #[test]
    fn quantiles_are_those_of_what_was_added() {
        let mut times = Times::default();
        assert_eq!(times.quantile(0.5), Duration::ZERO);
        for millis in 1..=1000 {
            times.add(millis * 1000);
        }
        let median = times.quantile(0.5).as_secs_f64();
        assert!((median - 0.5).abs() < 0.02, "{median}");
        assert_eq!(times.quantile(1.0), Duration::from_secs(1));
        assert_eq!(times.longest(), Duration::from_secs(1));
        assert_eq!(times.count(), 1000);
    }
}
