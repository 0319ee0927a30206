//! Bytes that instances sent along time, simulated or real.

use std::fmt::Write as _;
use std::time::Duration;

use onionweave_sim::Record;

/// Bytes that each instance sent in each interval, and visits in vain.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace {
    /// Length of an interval, in seconds.
    pub(crate) step: f64,
    /// For each instance, the bytes of each interval.
    pub(crate) bytes: Vec<Vec<f64>>,
    /// The visits in vain of each interval.
    pub(crate) missed: Vec<u64>,
}

impl Trace {
    pub(crate) fn new(step: Duration, instances: usize) -> Self {
        Self {
            step: step.as_secs_f64(),
            bytes: vec![Vec::new(); instances],
            missed: Vec::new(),
        }
    }

    pub(crate) fn of(record: &Record) -> Self {
        let intervals = record.intervals();
        let of_instance = |instance: usize| {
            let bytes = intervals
                .iter()
                .map(move |interval| interval.bytes.get(instance).copied());
            bytes.map(Option::unwrap_or_default).collect()
        };
        Self {
            step: record.interval().as_secs_f64(),
            bytes: (0..record.instances().len()).map(of_instance).collect(),
            missed: intervals.iter().map(|interval| interval.missed.iter().sum()).collect(),
        }
    }

    /// An instance sent something at a time, in seconds from the beginning; or, without an
    /// instance, somebody was not served.
    pub(crate) fn add(&mut self, at: f64, instance: Option<usize>, bytes: f64) {
        let interval = (at / self.step).max(0.0) as usize;
        if interval >= self.missed.len() {
            self.missed.resize(interval + 1, 0);
            self.bytes.iter_mut().for_each(|bytes| bytes.resize(interval + 1, 0.0));
        }
        match instance {
            Some(instance) => {
                let one = self.bytes.get_mut(instance).and_then(|bytes| bytes.get_mut(interval));
                one.into_iter().for_each(|sum| *sum += bytes);
            }
            None => self.missed.get_mut(interval).into_iter().for_each(|count| *count += 1),
        }
    }

    /// Each instance's part of all bytes, in percent, in the order of the instances.
    pub(crate) fn shares(&self) -> Vec<f64> {
        let sums: Vec<f64> = self.bytes.iter().map(|bytes| bytes.iter().sum()).collect();
        percent(&sums)
    }

    /// The bytes sent until the end of each interval, in megabytes, as points.
    pub(crate) fn cumulative(&self, instance: usize) -> Vec<(f64, f64)> {
        let mut sum = 0.0;
        let mut points = vec![(0.0, 0.0)];
        for (number, bytes) in self.bytes.get(instance).into_iter().flatten().enumerate() {
            sum += bytes;
            points.push(((number + 1) as f64 * self.step, sum / 1e6));
        }
        points
    }

    /// The rate, in kilobytes per second, averaged over so many intervals, as points in their
    /// middle.
    pub(crate) fn rate(&self, instance: usize, intervals: usize) -> Vec<(f64, f64)> {
        let bytes = self.bytes.get(instance).map(Vec::as_slice).unwrap_or_default();
        let span = intervals as f64 * self.step;
        // What is cut off at the end would look like a fall.
        let whole = bytes.chunks_exact(intervals).enumerate();
        whole
            .map(|(number, part)| ((number as f64 + 0.5) * span, part.iter().sum::<f64>() / span / 1e3))
            .collect()
    }

    /// Lines `experiment,seconds,instance,bytes`, and `missed` for an instance that is none,
    /// without a head.
    pub(crate) fn write_csv(&self, csv: &mut String, name: &str) {
        let instances = self.bytes.len();
        for (number, missed) in self.missed.iter().enumerate() {
            let seconds = number as f64 * self.step;
            for instance in 0..instances {
                let bytes = self.bytes.get(instance).and_then(|bytes| bytes.get(number));
                let bytes = bytes.copied().unwrap_or_default();
                // Writing to a string does not fail.
                let _ = writeln!(csv, "{name},{seconds},instance{},{bytes:.0}", instance + 1);
            }
            let _ = writeln!(csv, "{name},{seconds},missed,{missed}");
        }
    }
}

/// Each one's part of the sum, in percent; all zero if the sum is.
pub(crate) fn percent(counts: &[f64]) -> Vec<f64> {
    let sum: f64 = counts.iter().sum();
    counts
        .iter()
        .map(|count| if sum > 0.0 { 100.0 * count / sum } else { 0.0 })
        .collect()
}

/// The largest first.
pub(crate) fn ranked(mut shares: Vec<f64>) -> Vec<f64> {
    shares.sort_by(|a, b| b.total_cmp(a));
    shares
}
