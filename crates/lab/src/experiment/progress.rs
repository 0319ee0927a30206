//! Progress of a long run, on standard error: bars on a terminal, and elsewhere a line for each
//! quarter of a long part.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Longest time without a word where there is no terminal.
const SILENT: Duration = Duration::from_secs(15);

/// A bar, which goes when it is dropped.
pub(crate) struct Progress {
    bar: ProgressBar,
    began: Instant,
    /// The quarters that were told, where bars cannot be drawn.
    told: Option<AtomicU64>,
}

impl Progress {
    pub(crate) fn new(what: &str, steps: usize) -> Self {
        let bar = ProgressBar::new(steps as u64).with_message(what.to_owned());
        let style = ProgressStyle::with_template("{msg:44} {bar:30} {percent:>3} %  {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let told = (!std::io::stderr().is_terminal()).then(AtomicU64::default);
        if told.is_some() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self {
            bar,
            began: Instant::now(),
            told,
        }
    }

    pub(crate) fn step(&self) {
        self.bar.inc(1);
        self.tell();
    }

    pub(crate) fn set(&self, step: u64) {
        self.bar.set_position(step);
        self.tell();
    }

    fn tell(&self) {
        let Some(told) = &self.told else { return };
        let steps = self.bar.length().unwrap_or_default().max(1);
        let quarters = (4 * self.bar.position() / steps).min(4);
        let elapsed = self.began.elapsed();
        if elapsed >= SILENT && told.fetch_max(quarters, Ordering::Relaxed) < quarters {
            let seconds = elapsed.as_secs();
            eprintln!("{}: {} % after {seconds} s", self.bar.message(), 25 * quarters);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
