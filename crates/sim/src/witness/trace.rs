//! A witness that hears a trace.

use std::collections::BTreeMap;

use onionweave_publish::SlotId;
use onionweave_publish::trace::{Entry, Passed};
use onionweave_ring::OnionAddress;

use super::{ReadText, Witness, read_signed};
use crate::Error;

/// Checks the trace of a publisher of one v2 service, simulated or real.
///
/// ```
/// use std::time::Duration;
/// use onionweave_sim::{Network, TraceWitness};
///
/// let mut network = Network::builder(7).instances(["a", "b"]).recorded().build()?;
/// network.start("a");
/// network.run_for(Duration::from_secs(60));
/// assert!(TraceWitness::check(network.trace())?.is_empty());
/// # Ok::<(), onionweave_sim::Error>(())
/// ```
#[derive(Debug)]
pub struct TraceWitness {
    witness: Witness,
    wanted: BTreeMap<SlotId, String>,
    objections: Vec<String>,
}

impl TraceWitness {
    /// Hears a whole trace. Returns the rules that were broken, one line each.
    ///
    /// # Errors
    /// [`Error::Trace`] if there is no entry, or the first is not the start of a v2 service's
    /// machine.
    pub fn check<'a>(trace: impl IntoIterator<Item = &'a Entry>) -> Result<Vec<String>, Error> {
        let mut trace = trace.into_iter();
        let mut witness = Self::new(trace.next().ok_or(Error::Trace)?, read_signed)?;
        trace.for_each(|entry| witness.hear(entry));
        Ok(witness.objections())
    }

    /// A witness that has heard the first entry of a trace. `read` decides which texts are genuine.
    ///
    /// # Errors
    /// [`Error::Trace`] if the entry is not the start of a v2 service's machine;
    /// [`Error::DuplicateInstance`] if two of its instances have one name.
    pub fn new(first: &Entry, read: ReadText) -> Result<Self, Error> {
        let Passed::Started {
            service: OnionAddress::V2(service),
            settings,
            ..
        } = &first.passed
        else {
            return Err(Error::Trace);
        };
        Ok(Self {
            witness: Witness::new(*service, settings.try_into()?, read, first.moment()),
            wanted: BTreeMap::new(),
            objections: Vec::new(),
        })
    }

    /// Hears the next entry.
    pub fn hear(&mut self, entry: &Entry) {
        let now = entry.moment();
        match &entry.passed {
            Passed::Told(told) => {
                self.end_step(entry);
                match told.try_into() {
                    Ok(event) => self.witness.told(&event, now),
                    Err(twice) => self.objections.push(format!("{twice}")),
                }
            }
            Passed::Asked(asked) => {
                if let Some(action) = asked.action() {
                    self.witness.asked(&action, now);
                }
            }
            Passed::Wants(changed) => {
                for (slot, text) in changed {
                    match text {
                        Some(text) => self.wanted.insert(*slot, text.clone()),
                        None => self.wanted.remove(slot),
                    };
                }
                self.look(entry);
            }
            // Another process takes the place of the one before.
            Passed::Started { .. } => {
                if let Ok(next) = Self::new(entry, self.witness.read) {
                    let objections = std::mem::take(&mut self.objections);
                    *self = Self { objections, ..next };
                }
            }
            _ => {}
        }
    }

    /// The rules that were broken since this was last asked, one line each.
    pub fn objections(&mut self) -> Vec<String> {
        std::mem::take(&mut self.objections)
    }

    /// The machine has nothing more to ask for after the last event; time went on until `entry`.
    fn end_step(&mut self, entry: &Entry) {
        let before = self.witness.now;
        let wanted = self.wanted.iter().map(|(slot, text)| (*slot, text.as_bytes()));
        self.witness.wants(wanted, before);
        self.object(entry);
        self.witness.waited(entry.moment());
        for (what, from) in self.witness.overdue() {
            if from < entry.uptime {
                self.objections.push(line(entry, what));
            }
        }
    }

    fn look(&mut self, entry: &Entry) {
        let wanted = self.wanted.iter().map(|(slot, text)| (*slot, text.as_bytes()));
        self.witness.wants(wanted, entry.moment());
        self.object(entry);
    }

    fn object(&mut self, entry: &Entry) {
        let objections = self.witness.objections();
        self.objections.extend(objections.iter().map(|what| line(entry, what)));
    }
}

fn line(entry: &Entry, what: &str) -> String {
    format!("{:.3} s: {what}", entry.uptime.as_secs_f64())
}
