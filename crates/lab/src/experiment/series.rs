//! Many simulations on all cores, and what is common to their results.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::experiment::progress::Progress;

/// Does jobs on all cores; the results come in the jobs' order, whichever was done first.
pub(crate) fn each<J, T>(
    what: &str,
    jobs: &[J],
    work: impl Fn(&J) -> anyhow::Result<T> + Sync,
) -> anyhow::Result<Vec<T>>
where
    J: Sync,
    T: Send,
{
    let progress = Progress::new(what, jobs.len());
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, anyhow::Result<T>)>> = Mutex::default();
    let cores = thread::available_parallelism().map_or(1, NonZero::get).min(jobs.len());
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(number) else { return };
                    let result = work(job);
                    done.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((number, result));
                    progress.step();
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Median, and the range in which nine tenths of the values lie.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |place: f64| values.get(place as usize).copied().unwrap_or_default();
        let last = values.len().saturating_sub(1) as f64;
        Self {
            low: at((0.05 * last).round()),
            median: f64::midpoint(at((0.5 * last).floor()), at((0.5 * last).ceil())),
            high: at((0.95 * last).round()),
        }
    }

    pub(crate) fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// From so many runs on, a range leaves out the outermost ones.
pub(crate) const MANY: usize = 11;

/// Runs that the range of a [`Spread`] covers.
pub(crate) fn span(count: usize) -> String {
    match count {
        ..MANY => runs(count),
        _ => format!("nine tenths of {count} runs"),
    }
}

/// Runs a number of simulations.
pub(crate) fn runs(count: usize) -> String {
    match count {
        1 => "1 run".to_owned(),
        _ => format!("{count} runs"),
    }
}

/// Jain's index: 1 if all are equal, 1/n if one has everything.
pub(crate) fn evenness(shares: &[f64]) -> f64 {
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    if squares == 0.0 {
        return 0.0;
    }
    shares.iter().sum::<f64>().powi(2) / (squares * shares.len() as f64)
}

/// The largest distance of a share from an even split, in percentage points.
pub(crate) fn largest_error(percent: &[f64]) -> f64 {
    let even = 100.0 / percent.len().max(1) as f64;
    percent.iter().map(|share| (share - even).abs()).fold(0.0, f64::max)
}
