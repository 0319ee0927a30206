//! Functions for fuzzing: each takes any bytes and ends in an invariant.

use std::convert::Infallible;
use std::time::Duration;

use onionweave_assign::{Damping, Load, PolicyName};
use onionweave_desc::v2::ServiceKey;
use onionweave_publish::{
    Action, Down, Event, Found, InstanceName, InstanceSettings, Machine, Settings, SlotId, Source, Ticket, UploadAnswer,
};
use onionweave_ring::{Directories, Fingerprint, UnixTime};

use crate::engine::{Engine, World};

/// Number of the only machine.
const HOST: usize = 0;

/// Tells a machine any events in any order and at any times.
///
/// # Panics
/// If the machine never comes to an end with its requests, or has two uploads on their way to one
/// slot, or asks to be called at once for ever.
pub fn machine(input: &[u8]) {
    let key = ServiceKey::from_pem(include_str!("../testdata/private_key")).expect("the key is good");
    let names = ["a", "b"].map(|name| name.parse::<InstanceName>().expect("the name is good"));
    let mut instances = names.clone().map(InstanceSettings::new);
    instances[1].source = Source::File;
    let mut settings = Settings::new(instances.to_vec()).expect("the names differ");
    settings.damping = Some(Damping::default());
    let mut engine = Engine::new(UnixTime::from_secs(1_795_349_239));
    engine.add(Machine::new(key, PolicyName::Mixed.policy(), settings, 7));
    let mut world = Fuzzed {
        engine,
        names,
        asked: Vec::new(),
        uploads: Vec::new(),
    };
    let mut rest = input;
    while let Some((&what, after)) = rest.split_first() {
        rest = world.read(what, after);
    }
    let machine = world.engine.machine(HOST);
    assert!(machine.proved().count() <= machine.wanted().count());
}

/// A machine, and what it asked for.
struct Fuzzed {
    engine: Engine<Infallible>,
    names: [InstanceName; 2],
    asked: Vec<Ticket>,
    /// Uploads on their way, and the uptime at which the machine gives each up.
    uploads: Vec<(Ticket, SlotId, Duration)>,
}

impl World for Fuzzed {
    type Due = Infallible;

    fn engine(&mut self) -> &mut Engine<Infallible> {
        &mut self.engine
    }

    fn act(&mut self, _: usize, action: Action) {
        match action {
            Action::Upload { ticket, slot, .. } => {
                let now = self.engine.uptime();
                self.uploads.retain(|(.., given_up)| now < *given_up);
                let busy = self.uploads.iter().any(|(_, other, ..)| *other == slot);
                assert!(!busy, "two uploads for {slot} are on their way");
                // Twenty seconds for an answer, by default.
                self.uploads.push((ticket, slot, now + Duration::from_secs(20)));
            }
            Action::Audit { ticket, .. } => self.asked.push(ticket),
            _ => {}
        }
    }

    fn happen(&mut self, due: Infallible) {
        match due {}
    }
}

impl Fuzzed {
    /// Tells the machine an event, of which the first bytes of `rest` tell more. Returns those that
    /// are left.
    fn read<'a>(&mut self, what: u8, rest: &'a [u8]) -> &'a [u8] {
        let instance = self.names[usize::from(what >> 7)].clone();
        let more = rest.first().copied().unwrap_or_default();
        let (event, used) = match what & 0x0f {
            0 => {
                // So many relays, spread evenly.
                let directories = Directories::from_iter((0..more).map(|at| Fingerprint::from([at; 20])));
                (Event::Directories(directories.into()), 1)
            }
            1 => (Event::InstanceUp { instance }, 0),
            2 => {
                let why = Down::Lost("fuzzed".into());
                (Event::InstanceDown { instance, why }, 0)
            }
            3 => {
                let text = include_bytes!("../testdata/descriptor.txt").to_vec();
                let rebuilt = what & 0x40 != 0;
                (
                    Event::InstanceOffers {
                        instance,
                        text,
                        rebuilt,
                    },
                    0,
                )
            }
            4 => {
                let length = usize::from(more).min(rest.len());
                let text = rest.get(..length).unwrap_or_default().to_vec();
                let rebuilt = what & 0x40 != 0;
                (
                    Event::InstanceOffers {
                        instance,
                        text,
                        rebuilt,
                    },
                    length,
                )
            }
            5 => (Event::InstanceOffersNothing { instance }, 0),
            6 => {
                let why = "fuzzed".to_owned();
                (Event::InstanceUnfit { instance, why }, 0)
            }
            7 => (Event::InstanceFit { instance }, 0),
            8 => {
                let Some((ticket, ..)) = self.taken(more) else {
                    return rest;
                };
                let answer = match what >> 4 & 3 {
                    0 => UploadAnswer::Accepted,
                    1 => UploadAnswer::Interrupted,
                    _ => UploadAnswer::Refused("fuzzed".into()),
                };
                (Event::UploadAnswered { ticket, answer }, 1)
            }
            9 | 10 => {
                let at = usize::from(more).checked_rem(self.asked.len());
                let Some(ticket) = at.map(|at| self.asked.swap_remove(at)) else {
                    return rest;
                };
                let found = match what >> 4 & 7 {
                    0 => Found::Nothing,
                    1 => Found::Unusable("fuzzed".into()),
                    2 => Found::Failed("fuzzed".into()),
                    3 => Found::Interrupted,
                    4 => Found::Text(include_bytes!("../testdata/descriptor.txt").to_vec()),
                    // What it wants to be there, somewhere.
                    _ => {
                        let mut wanted = self.engine.machine(HOST).wanted();
                        let text = wanted.next().map(|(_, descriptor)| descriptor.bytes().to_vec());
                        Found::Text(text.unwrap_or_default())
                    }
                };
                (Event::Audited { ticket, found }, 1)
            }
            11 | 12 => {
                // Up to four minutes asleep; the wall clock may be set at the same time, hours to
                // and fro.
                let set = i64::from((what as i8) >> 4) * i64::from(what & 1) * 3600;
                let wakes = self.engine.uptime() + Duration::from_secs(more.into());
                self.engine.sleep_until(wakes);
                self.engine.step_clock_unnoticed(HOST, set);
                self.call(HOST);
                return rest.get(1..).unwrap_or_default();
            }
            13 => {
                let Some((slot, descriptor)) = self.engine.machine(HOST).wanted().next() else {
                    return rest;
                };
                let event = Event::InstanceUploads {
                    instance,
                    own: what & 0x40 != 0,
                    directory: slot.directory,
                    descriptor_id: descriptor.descriptor_id,
                };
                (event, 0)
            }
            14 => {
                let load = Load::new(f64::from(more) / 16.0).ok();
                let load = load.filter(|_| what & 0x40 == 0);
                (Event::InstanceLoad { instance, load }, 1)
            }
            _ => {
                let Some((slot, _)) = self.engine.machine(HOST).wanted().next() else {
                    return rest;
                };
                let directory = slot.directory;
                (Event::InstanceUploadEnded { instance, directory }, 0)
            }
        };
        self.tell(HOST, event);
        rest.get(used..).unwrap_or_default()
    }

    /// Takes an upload that is on its way.
    fn taken(&mut self, more: u8) -> Option<(Ticket, SlotId, Duration)> {
        let at = usize::from(more).checked_rem(self.uploads.len())?;
        Some(self.uploads.swap_remove(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs every committed input, whole and cut short.
    fn run_corpus(name: &str, function: impl Fn(&[u8])) {
        let folder = format!("{}/testdata/fuzz-corpus/{name}", env!("CARGO_MANIFEST_DIR"));
        let mut inputs = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let input = std::fs::read(entry.unwrap().path()).unwrap();
            for end in (0..=input.len()).rev().step_by(1 + input.len() / 16) {
                function(&input[..end]);
            }
            inputs += 1;
        }
        assert!(inputs >= 4, "{folder} has {inputs} inputs");
    }

    #[test]
    fn machine_corpus() {
        run_corpus("machine", machine);
    }
}
