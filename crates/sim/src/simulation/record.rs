//! Outcome of a scenario: who reached whom, when, and why others did not.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::time::Duration;

use onionweave_publish::SlotId;
use onionweave_ring::Fingerprint;
use onionweave_ring::v2::{Replica, TimePeriod};

use super::Micros;
use super::shelves::Spot;
use super::visit::Attempt;

mod times;

pub use times::Times;

/// Cause for which a visit was in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Miss {
    /// No directory was left that the client had not asked within fifteen minutes, and none had
    /// given it anything to use; it waited until it gave up.
    NoDescriptor,
    /// All introduction points had failed, and the next directory's text was the one that the
    /// client had given up, or an older one (`feature/rend/rendcache.c:966-984`).
    NothingNew,
    /// Introduction points failed one after the other until the client gave up.
    DeadPoints,
    /// A hung instance got the introduction, or has the circuit, and did not answer until the
    /// client gave up.
    Silent,
    /// A transfer broke off because the instance died, or nothing came any more because it hung.
    BrokenOff,
}

impl Miss {
    /// All causes there are.
    pub const ALL: [Self; 5] = [
        Self::NoDescriptor,
        Self::NothingNew,
        Self::DeadPoints,
        Self::Silent,
        Self::BrokenOff,
    ];

    /// The cause in a few words, as tables name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoDescriptor => "no descriptor",
            Self::NothingNew => "nothing new",
            Self::DeadPoints => "dead points",
            Self::Silent => "silent instance",
            Self::BrokenOff => "broken off",
        }
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// End of a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The instance with this number, counted from 0 in the order of the plan, served it.
    Served(usize),
    /// Nobody did.
    Missed(Miss),
}

/// A visit, for those who want every single one:
/// [`Scenario::log_visits`](super::Scenario::log_visits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Visit {
    /// Number of the client, counted from 0 in the order of arrival.
    pub client: u32,
    /// When it began.
    pub began: Duration,
    /// Time that it took until the client was connected, or not served.
    pub waited: Duration,
    /// When it ended, with what was fetched.
    pub ended: Duration,
    /// Number of directories that were asked.
    pub fetches: u16,
    /// The directory that was asked first, and the replica.
    pub first_asked: Option<SlotId>,
    /// End of the visit.
    pub outcome: Outcome,
}

/// Counts of one interval. A visit belongs to the one in which it ended.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Interval {
    /// Number of visits that each instance served.
    pub served: Vec<u64>,
    /// Number of bytes that each instance sent.
    pub bytes: Vec<f64>,
    /// Number of visits that were in vain, in the order of [`Miss::ALL`].
    pub missed: [u64; Miss::ALL.len()],
}

/// Work of an instance in all.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct InstanceRecord {
    /// Its name.
    pub name: String,
    /// Number of visits that it served.
    pub served: u64,
    /// Number of those among them that came by an introduction, and not over a circuit that stood.
    pub introductions: u64,
    /// Number of bytes that it sent.
    pub bytes: f64,
    /// Number of texts that it uploaded by itself.
    pub uploads: u64,
    /// Number of introduction points that it opened.
    pub points: u64,
}

/// Work of a directory for one descriptor ID.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirectoryRecord {
    /// The directory.
    pub directory: Fingerprint,
    /// Of which time period.
    pub period: TimePeriod,
    /// Of which replica.
    pub replica: Replica,
    /// Number of fetches that it answered with a text.
    pub handed_out: u64,
    /// Number of fetches for which it had nothing.
    pub missing: u64,
    /// Number of fetches that it did not answer.
    pub unanswered: u64,
}

/// Outcome of a scenario.
///
/// ```
/// use std::time::Duration;
/// use onionweave_sim::{Crowd, Scenario};
///
/// let record = Scenario::new(7).numbered(3).clients(Crowd::new(100)).run(Duration::from_secs(3600))?;
/// let served: u64 = record.instances().iter().map(|instance| instance.served).sum();
/// assert_eq!(served, record.served());
/// assert!(record.waited().quantile(0.5) < Duration::from_secs(1));
/// println!("{}", record.intervals_csv());
/// # Ok::<(), onionweave_sim::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Record {
    interval: Micros,
    pub(super) end: Micros,
    /// When the last visit ended.
    last: Micros,
    intervals: Vec<Interval>,
    pub(super) instances: Vec<InstanceRecord>,
    pub(super) directories: Vec<DirectoryRecord>,
    waited: Times,
    waited_in_vain: Times,
    missed: [u64; Miss::ALL.len()],
    served: u64,
    /// For every second, whether somebody came who was served (1), and somebody who was not (2).
    seconds: Vec<u8>,
    visits: Vec<Visit>,
    most_visits: usize,
    pub(super) fetches: u64,
    pub(super) uploads: u64,
    pub(super) clients: u64,
    pub(super) steps: u64,
}

const SERVED: u8 = 1;
const MISSED: u8 = 2;
const SECOND: Micros = 1_000_000;

impl Record {
    pub(super) fn new(names: impl Iterator<Item = String>, interval: Micros, most_visits: usize) -> Self {
        let instances = names.map(|name| InstanceRecord {
            name,
            ..InstanceRecord::default()
        });
        Self {
            interval: interval.max(1),
            end: 0,
            last: 0,
            intervals: Vec::new(),
            instances: instances.collect(),
            directories: Vec::new(),
            waited: Times::default(),
            waited_in_vain: Times::default(),
            missed: [0; Miss::ALL.len()],
            served: 0,
            seconds: Vec::new(),
            visits: Vec::new(),
            most_visits,
            fetches: 0,
            uploads: 0,
            clients: 0,
            steps: 0,
        }
    }

    /// Returns the time that was simulated.
    pub fn duration(&self) -> Duration {
        Duration::from_micros(self.end)
    }

    /// When the last visit ended: with clients that make a number of visits, when all was done.
    pub fn last_visit_ended(&self) -> Duration {
        Duration::from_micros(self.last)
    }

    /// Returns the number of visits that were served.
    pub const fn served(&self) -> u64 {
        self.served
    }

    /// Returns the number of visits that were in vain.
    pub fn missed(&self) -> u64 {
        self.missed.iter().sum()
    }

    /// Returns the number of visits that were in vain for this cause.
    pub fn missed_by(&self, cause: Miss) -> u64 {
        self.missed.get(cause as usize).copied().unwrap_or_default()
    }

    /// Returns the number of clients that arrived.
    pub const fn clients(&self) -> u64 {
        self.clients
    }

    /// Returns the number of descriptors that clients asked for.
    pub const fn fetches(&self) -> u64 {
        self.fetches
    }

    /// Returns the number of texts that the publisher uploaded; what instances uploaded is told of
    /// each.
    pub const fn uploads(&self) -> u64 {
        self.uploads
    }

    /// Returns the number of clients' steps that were simulated.
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// Returns the work of each instance, in the order of the plan.
    pub fn instances(&self) -> &[InstanceRecord] {
        &self.instances
    }

    /// Returns the work of each directory that anybody was sent to, one entry for each descriptor
    /// ID.
    pub fn directories(&self) -> &[DirectoryRecord] {
        &self.directories
    }

    /// Returns the times that those waited who were served, until they were connected.
    pub const fn waited(&self) -> &Times {
        &self.waited
    }

    /// Returns the times that those waited who were not.
    pub const fn waited_in_vain(&self) -> &Times {
        &self.waited_in_vain
    }

    /// Returns the length of an interval.
    pub fn interval(&self) -> Duration {
        Duration::from_micros(self.interval)
    }

    /// The intervals from the beginning, as far as anything happened.
    pub fn intervals(&self) -> &[Interval] {
        &self.intervals
    }

    /// The single visits, as far as they were wanted, in the order in which they ended (within two
    /// seconds).
    pub fn visits(&self) -> &[Visit] {
        &self.visits
    }

    /// Each instance's part of the visits that were served; all zero if none was.
    pub fn shares(&self) -> Vec<f64> {
        let all = self.served.max(1) as f64;
        self.instances
            .iter()
            .map(|instance| instance.served as f64 / all)
            .collect()
    }

    /// Returns the evenness with which visits were spread: Jain's index, 1 if all instances served
    /// as many, 1/n if one served all.
    ///
    /// ```
    /// use std::time::Duration;
    /// use onionweave_sim::{Crowd, Scenario};
    ///
    /// let crowd = Crowd::new(2000).fresh();
    /// let record = Scenario::new(1).numbered(3).clients(crowd).run(Duration::from_secs(1800))?;
    /// assert!(record.evenness() > 0.99);
    /// # Ok::<(), onionweave_sim::Error>(())
    /// ```
    pub fn evenness(&self) -> f64 {
        let counts = || self.instances.iter().map(|instance| instance.served as f64);
        let squares: f64 = counts().map(|count| count * count).sum();
        if squares == 0.0 {
            return 0.0;
        }
        counts().sum::<f64>().powi(2) / (squares * self.instances.len() as f64)
    }

    /// When nobody was served: from a second in which only visits began that were in vain, to the
    /// next in which one began that was served. Whether a second counts depends on whether somebody
    /// came, so it takes clients enough.
    pub fn outages(&self) -> Vec<Range<Duration>> {
        let mut outages = Vec::new();
        let mut since = None;
        for (second, &seen) in (0..).zip(&self.seconds) {
            match (seen & SERVED != 0, seen & MISSED != 0) {
                (true, _) => outages.extend(since.take().map(|since| since..second)),
                (false, true) => since = since.or(Some(second)),
                (false, false) => {}
            }
        }
        outages.extend(since.map(|since| since..self.end.div_ceil(SECOND)));
        outages
            .into_iter()
            .map(|Range { start, end }| Duration::from_secs(start)..Duration::from_secs(end))
            .collect()
    }

    /// For how long nobody was served, in all: see [`outages`](Self::outages).
    pub fn without_service(&self) -> Duration {
        self.outages().iter().map(|outage| outage.end - outage.start).sum()
    }

    // Files.

    /// A line for each interval and instance, and one for each interval and cause:
    /// `seconds,what,visits,bytes`.
    pub fn intervals_csv(&self) -> String {
        let mut csv = String::from("seconds,what,visits,bytes\n");
        for (number, interval) in self.intervals.iter().enumerate() {
            let seconds = number as f64 * self.interval as f64 / SECOND as f64;
            for (i, instance) in self.instances.iter().enumerate() {
                let served = interval.served.get(i).copied().unwrap_or_default();
                let bytes = interval.bytes.get(i).copied().unwrap_or_default();
                // Writing to a string does not fail.
                let _ = writeln!(csv, "{seconds},{},{served},{bytes:.0}", instance.name);
            }
            for (cause, missed) in Miss::ALL.iter().zip(interval.missed) {
                let _ = writeln!(csv, "{seconds},{cause},{missed},0");
            }
        }
        csv
    }

    /// A line for each instance: `instance,visits,introductions,bytes,uploads,points`.
    pub fn instances_csv(&self) -> String {
        let mut csv = String::from("instance,visits,introductions,bytes,uploads,points\n");
        for one in &self.instances {
            let _ = writeln!(
                csv,
                "{},{},{},{:.0},{},{}",
                one.name, one.served, one.introductions, one.bytes, one.uploads, one.points
            );
        }
        csv
    }

    /// A line for each directory and descriptor ID: `directory,period,replica,handed
    /// out,missing,unanswered`.
    pub fn directories_csv(&self) -> String {
        let mut csv = String::from("directory,period,replica,handed out,missing,unanswered\n");
        for one in &self.directories {
            let _ = writeln!(
                csv,
                "{},{},{},{},{},{}",
                one.directory,
                one.period.number(),
                one.replica.number(),
                one.handed_out,
                one.missing,
                one.unanswered
            );
        }
        csv
    }

    /// A line for each single visit: `client,began,waited,ended,fetches,outcome`, with times in
    /// seconds.
    pub fn visits_csv(&self) -> String {
        let mut csv = String::from("client,began,waited,ended,fetches,outcome\n");
        for visit in &self.visits {
            let outcome = match visit.outcome {
                Outcome::Served(instance) => self.instances.get(instance).map_or("", |one| &one.name),
                Outcome::Missed(cause) => cause.as_str(),
            };
            let _ = writeln!(
                csv,
                "{},{},{},{},{},{outcome}",
                visit.client,
                visit.began.as_secs_f64(),
                visit.waited.as_secs_f64(),
                visit.ended.as_secs_f64(),
                visit.fetches
            );
        }
        csv
    }

    // What is recorded.

    /// A visit is over.
    pub(super) fn visit(&mut self, client: u32, attempt: &Attempt, ended: Micros, outcome: Outcome, spots: &[Spot]) {
        let Attempt {
            began,
            connected,
            fetches,
            first_asked,
            ..
        } = *attempt;
        self.last = self.last.max(ended);
        let row = self.row(ended);
        match outcome {
            Outcome::Served(instance) => {
                if let Some(served) = row.served.get_mut(instance) {
                    *served += 1;
                }
                if let Some(instance) = self.instances.get_mut(instance) {
                    instance.served += 1;
                }
                self.served += 1;
                self.waited.add(connected - began);
                self.see(began, SERVED);
            }
            Outcome::Missed(cause) => {
                if let Some(missed) = row.missed.get_mut(cause as usize) {
                    *missed += 1;
                }
                if let Some(missed) = self.missed.get_mut(cause as usize) {
                    *missed += 1;
                }
                self.waited_in_vain.add(connected - began);
                self.see(began, MISSED);
            }
        }
        if self.visits.len() < self.most_visits {
            self.visits.push(Visit {
                client,
                began: Duration::from_micros(began),
                waited: Duration::from_micros(connected - began),
                ended: Duration::from_micros(ended),
                fetches,
                first_asked: spots.get(first_asked as usize).map(Spot::slot),
                outcome,
            });
        }
    }

    /// An instance sent so many bytes between two moments.
    pub(super) fn sent(&mut self, instance: usize, from: Micros, to: Micros, bytes: f64) {
        if let Some(instance) = self.instances.get_mut(instance) {
            instance.bytes += bytes;
        }
        let rate = bytes / to.saturating_sub(from).max(1) as f64;
        let mut since = from;
        loop {
            let until = ((since / self.interval + 1) * self.interval).min(to);
            let part = if to > from {
                rate * (until - since) as f64
            } else {
                bytes
            };
            if let Some(sum) = self.row(since).bytes.get_mut(instance) {
                *sum += part;
            }
            if until >= to {
                return;
            }
            since = until;
        }
    }

    fn row(&mut self, at: Micros) -> &mut Interval {
        let number = (at / self.interval) as usize;
        if number >= self.intervals.len() {
            let empty = Interval {
                served: vec![0; self.instances.len()],
                bytes: vec![0.0; self.instances.len()],
                missed: [0; Miss::ALL.len()],
            };
            self.intervals.resize(number + 1, empty);
        }
        // It was made just now, if it was not there.
        &mut self.intervals[number]
    }

    fn see(&mut self, began: Micros, what: u8) {
        let second = (began / SECOND) as usize;
        if second >= self.seconds.len() {
            self.seconds.resize(second + 1, 0);
        }
        if let Some(seen) = self.seconds.get_mut(second) {
            *seen |= what;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_split_between_intervals() {
        let mut record = Record::new(["a".to_owned()].into_iter(), 1000, 0);
        record.sent(0, 500, 3500, 300.0);
        let bytes: Vec<_> = record.intervals().iter().map(|interval| interval.bytes[0]).collect();
        assert_eq!(bytes, [50.0, 100.0, 100.0, 50.0]);
        record.sent(0, 4000, 4000, 7.0);
        assert_eq!(record.intervals()[4].bytes[0], 7.0);
        assert_eq!(record.instances()[0].bytes, 307.0);
    }

    #[test]
    fn an_outage_begins_and_ends_with_visits() {
        let mut record = Record::new(["a".to_owned()].into_iter(), SECOND, 0);
        let mut visit = |second, outcome| {
            record.visit(0, &Attempt::begin(second * SECOND), second * SECOND + 5, outcome, &[]);
        };
        visit(1, Outcome::Served(0));
        visit(2, Outcome::Missed(Miss::Silent));
        visit(3, Outcome::Served(0));
        visit(3, Outcome::Missed(Miss::Silent));
        visit(5, Outcome::Missed(Miss::NothingNew));
        visit(7, Outcome::Missed(Miss::NothingNew));
        visit(9, Outcome::Served(0));
        visit(11, Outcome::Missed(Miss::NothingNew));
        record.end = 12 * SECOND;
        let seconds = |from, to| Duration::from_secs(from)..Duration::from_secs(to);
        assert_eq!(record.outages(), [seconds(2, 3), seconds(5, 9), seconds(11, 12)]);
        assert_eq!(record.without_service(), Duration::from_secs(6));
    }
}
