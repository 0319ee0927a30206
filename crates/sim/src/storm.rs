//! Storms: the publisher's machine among seeded random faults, with what must always hold checked
//! after every step.

mod climate;
mod digest;
mod directories;
mod far;
mod judge;
mod log;
mod messages;
mod state;
mod weather;
mod world;

use std::fmt;
use std::time::Duration;

use crate::Error;
use digest::Digester;
pub use digest::StormDigest;
use world::World;

/// Some days of a publisher's life among faults that are drawn from a seed.
///
/// Uploads and audits are lost, delayed, duplicated, overtaken, dropped in silence and refused.
/// Instances die, hang, flap, restart with the same or other introduction points, become unfit and
/// fit, publish by themselves, and some wait as spares; one may be known only from a file or from
/// the directories, which may show its old texts. Directories fall silent, forget, leave and join,
/// consensuses jump, time periods end. The publisher's clock is set, its configuration changes, it
/// is killed and started again, and in some storms a second publisher writes to the same ring. Most
/// of the time little happens, as in real life; at times much does.
///
/// After every step these are checked, independently of the machine's own pictures:
///
/// - all texts carry one publication time, which moves with the hour, never goes back, and never
///   moves beyond the publisher's clock;
/// - no two directories are given the same bytes, no text names a relay twice, and after an
///   instance was away its texts have other bytes;
/// - one upload at a time is on its way for a slot, and it is what the slot shall hold;
/// - no text names an instance of which the publisher was told that it is dead, or unfit while
///   another is fit; all others have a part in the texts, or as many as shall serve, and whoever
///   serves goes on while it can;
/// - a directory that answers names no such instance six seconds after the publisher was told,
///   unless nobody is left;
/// - within the same bound no slot is empty while an instance offers introduction points, the slots
///   are those that ring and clock demand, each directory holds what the machine wants it to hold,
///   and the machine knows. After an answer that did not come there is the time that answers have
///   and two pauses besides, and after what no publisher can see the time until an audit;
/// - then nothing is uploaded, and nothing read back before it is due, until something happens;
/// - an instance that is read from a file or from directories is never believed by an older
///   descriptor than before, and in the end by its newest;
/// - two publishers do not answer each other without end;
/// - the machine never has something to do, nor asks to be called again, at once for ever.
///
/// ```
/// use onionweave_sim::Storm;
///
/// let tally = Storm::new(7).days(1).run()?;
/// assert!(tally.uploads > 144, "six texts each hour, and some for the faults");
/// # Ok::<(), onionweave_sim::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storm {
    seed: u64,
    days: u32,
    real_signatures: bool,
    history: usize,
}

impl Storm {
    /// Ten days drawn from `seed`. The same seed gives the same days.
    pub const fn new(seed: u64) -> Self {
        Self {
            seed,
            days: 10,
            real_signatures: false,
            history: 60,
        }
    }

    /// Number of days that are simulated. The first of them are the same whatever the number.
    #[must_use]
    pub const fn days(self, days: u32) -> Self {
        Self { days, ..self }
    }

    /// Signs and verifies with RSA. Without this, signatures are padded digests, which cost nothing
    /// and can be forged by anyone; nobody here forges. All else is the same.
    ///
    /// ```
    /// use onionweave_sim::Storm;
    ///
    /// assert!(Storm::new(7).days(1).real_signatures().run().is_ok());
    /// ```
    #[must_use]
    pub const fn real_signatures(self) -> Self {
        Self {
            real_signatures: true,
            ..self
        }
    }

    /// Number of the last events that a failure tells, by default 60.
    #[must_use]
    pub const fn history(self, history: usize) -> Self {
        Self { history, ..self }
    }

    /// Runs it.
    ///
    /// # Errors
    /// [`Error::Broken`] if anything did not hold, which means a fault of the machine, or of this
    /// simulator.
    pub fn run(self) -> Result<Tally, Error> {
        self.run_with(|_| ())
    }

    /// Runs it, and tells at the end of each day what happened so far.
    ///
    /// ```
    /// use onionweave_sim::Storm;
    ///
    /// let mut days = 0;
    /// Storm::new(7).days(2).run_with(|tally| days = tally.days)?;
    /// assert_eq!(days, 2);
    /// # Ok::<(), onionweave_sim::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_with(self, mut every_day: impl FnMut(&Tally)) -> Result<Tally, Error> {
        let mut world = World::new(self)?;
        for day in 1..=self.days {
            world.run_until(DAY * day)?;
            world.tally.days = day;
            every_day(&world.tally);
        }
        Ok(world.tally)
    }

    /// Runs it, and returns the digest of everything that the publishers were told and asked for.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn digest(self) -> Result<StormDigest, Error> {
        let mut world = World::new(self)?;
        world.digester = Some(Digester::default());
        world.run_until(DAY * self.days)?;
        Ok(world.digester.take().unwrap_or_default().finish())
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Outcome of a storm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Simulated days.
    pub days: u32,
    /// Steps of the simulation, each followed by a check.
    pub steps: u64,
    /// Things that befell instances, directories and publishers.
    pub events: u64,
    /// Uploads and audits that went wrong on their way.
    pub faults: u64,
    /// Uploads that the machines asked for.
    pub uploads: u64,
    /// Audits that the machines asked for.
    pub audits: u64,
    /// Readings of far instances' descriptors that the machines asked for.
    pub readings: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.days += other.days;
        self.steps += other.steps;
        self.events += other.events;
        self.faults += other.faults;
        self.uploads += other.uploads;
        self.audits += other.audits;
        self.readings += other.readings;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} days, {} steps, {} events, {} messages gone wrong, {} uploads, {} audits, {} readings",
            self.days, self.steps, self.events, self.faults, self.uploads, self.audits, self.readings
        )
    }
}

/// Something that must always hold did not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "seed {seed} broke at {at}: {what}\n{history}\nrun it alone: cargo run --release -p onionweave-sim --example storm -- --seed {seed} --days {days}",
    at = log::Uptime(*at)
)]
#[non_exhaustive]
pub struct Broken {
    /// The storm's seed.
    pub seed: u64,
    /// Number of days that have to be run to see it.
    pub days: u32,
    /// Time since the beginning.
    pub at: Duration,
    /// The rule that did not hold.
    pub what: String,
    /// The last events, a line each.
    pub history: String,
}
