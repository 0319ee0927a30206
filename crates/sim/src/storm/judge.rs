//! A judge compares the truth with what each publisher knows, wants and does. It reads the state
//! and writes nothing there.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::sync::Arc;
use std::time::Duration;

use onionweave_publish::{Action, Event, SlotId};
use onionweave_ring::Fingerprint;
use onionweave_ring::v2::DescriptorId;

use super::directories::{Patience, Watched};
use super::log::Uptime;
use super::state::State;
use crate::fixtures::{self, PointName};
use crate::witness::{Demand, Ending, MAX_SKEW, SWIFT, Witness};

/// Longest time for which a driver sleeps, since the wall clock may be set meanwhile.
pub(super) const LOOKS_UP: Duration = Duration::from_secs(5);
/// Longest pause of a slot after failures.
const PAUSE: Duration = Duration::from_secs(60);
/// Longest pause of a slot where somebody else wrote.
const TRUCE: Duration = Duration::from_secs(120);
/// Largest number of uploads an hour that a slot may take in calm weather, where two publishers
/// contest it.
const CONTESTED: u32 = 80;
/// Largest number of uploads an hour that a publisher may add to that for what changes.
const CHANGES: u32 = 500;

/// A judge of a storm.
#[derive(Debug, Default)]
pub(super) struct Judge {
    seats: Vec<Seat>,
    /// The introduction points that the texts at directories name.
    held: BTreeMap<(Fingerprint, DescriptorId), Held>,
    /// When something that is not yet wrong will be.
    look_at: Option<Duration>,
    verdict: Option<String>,
}

/// Knowledge of one publisher.
#[derive(Debug)]
struct Seat {
    witness: Witness,
    /// When each slot was last audited.
    audits: BTreeMap<SlotId, Duration>,
    /// The hour, and the number of uploads in calm weather since it began.
    uploads: (u64, u32),
    /// The uploads and audits that were asked for since the texts were last looked at.
    fresh: Vec<Work>,
}

/// The text that a directory holds, by its end, and the introduction points that it names.
type Held = (Ending, Arc<[PointName]>);

#[derive(Debug)]
enum Work {
    Upload(SlotId),
    Audit(SlotId),
}

impl Judge {
    /// A publisher starts beside the others.
    pub(super) fn joined(&mut self, witness: Witness) {
        self.seats.push(Seat::new(witness));
    }

    /// A publisher's process is killed, and another takes its place.
    pub(super) fn restarted(&mut self, publisher: usize, state: &State) {
        let (settings, now) = (state.publishers[publisher].settings.clone(), state.moment(publisher));
        let before = self.seats.remove(publisher).witness;
        self.seats.insert(publisher, Seat::new(before.succeeded(settings, now)));
    }

    /// All publishers but the first stop.
    pub(super) fn others_stopped(&mut self) {
        self.seats.truncate(1);
    }

    /// A publisher is told something.
    pub(super) fn told(&mut self, publisher: usize, event: &Event, state: &State) {
        self.seats[publisher].witness.told(event, state.moment(publisher));
    }

    /// A publisher asks for something.
    pub(super) fn asked(&mut self, publisher: usize, action: &Action, state: &State) {
        let seat = &mut self.seats[publisher];
        seat.witness.asked(action, state.moment(publisher));
        match action {
            Action::Upload { slot, .. } => seat.fresh.push(Work::Upload(*slot)),
            Action::Audit { slot, .. } => seat.fresh.push(Work::Audit(*slot)),
            _ => {}
        }
    }

    /// A publisher has asked for everything that it has to ask for at this moment.
    pub(super) fn ended(&mut self, publisher: usize, state: &State) {
        let now = state.moment(publisher);
        let seat = &mut self.seats[publisher];
        let wanted = state.engine.machine(publisher).wanted();
        seat.witness.wants(wanted.map(|(slot, text)| (slot, text.bytes())), now);
        let mut objections = seat.witness.objections();
        for work in std::mem::take(&mut seat.fresh) {
            objections.extend(match work {
                Work::Upload(slot) => self.object_to_upload(publisher, &slot, state),
                Work::Audit(slot) => self.object_to_audit(publisher, &slot, state),
            });
        }
        for what in objections {
            self.object(format!("publisher {publisher}: {what}"));
        }
    }

    /// When there is something to look at, if nothing happens before.
    pub(super) const fn look_at(&self) -> Option<Duration> {
        self.look_at
    }

    /// Looks at every publisher's slots and what the directories hold.
    pub(super) fn look(&mut self, state: &State) {
        let mut wrong = None;
        let mut look_at = None::<Duration>;
        for publisher in 0..self.seats.len() {
            // If an hour or a period began at this moment, the others did not act yet.
            self.seats[publisher].witness.waited(state.moment(publisher));
            for (what, from) in self.flaws(publisher, state) {
                // Not wrong before that moment, and only if it is still so.
                if state.now() > from {
                    wrong = wrong.or(Some((publisher, what)));
                } else {
                    let next = from + Duration::from_millis(1);
                    look_at = Some(look_at.map_or(next, |at| at.min(next)));
                }
            }
        }
        self.look_at = look_at;
        if let Some((publisher, flaw)) = wrong {
            let what = self.describe(publisher, flaw, state);
            self.object(what);
        }
    }

    /// The first thing that was wrong.
    pub(super) fn verdict(&mut self) -> Option<String> {
        self.verdict.take()
    }

    pub(super) fn object(&mut self, what: impl Into<String>) {
        self.verdict.get_or_insert_with(|| what.into());
    }

    /// Things that are not as they must be in the end, and until when they may be so.
    fn flaws(&mut self, publisher: usize, state: &State) -> Vec<(Flaw, Duration)> {
        let clock_set = state.publishers[publisher].clock_set;
        let witness = &mut self.seats[publisher].witness;
        let Some(offering_since) = witness.offering_since() else {
            return Vec::new();
        };
        let mut flaws: Vec<_> = witness
            .overdue()
            .into_iter()
            .map(|(what, from)| (Flaw::Late(what), from.max(clock_set + SWIFT)))
            .collect();
        let demands = witness.demands();
        let held = self.points_held(&demands, publisher, state);

        let (now, patience) = (state.now(), state.patience());
        let witness = &self.seats[publisher].witness;
        let seen = &state.publishers[publisher];
        let stirred = witness.stirred().max(clock_set) + SWIFT;
        let wall = state.moment(publisher).wall();
        let far_off = state.engine.ahead(publisher).abs() > MAX_SKEW;
        let alone = self.seats.len() == 1;
        // Of two, each may be leaving the slot to the other, and not know yet what the other wrote
        // there.
        let swift = if alone { SWIFT } else { patience.unseen };
        let mut proved = state
            .engine
            .machine(publisher)
            .proved()
            .map(|slot| (slot, ()))
            .peekable();
        let mut texts = witness.texts().map(|(slot, text)| (*slot, text)).peekable();
        if let Some((build, from)) = state.far_is_named_from(publisher)
            && seen.links[state.instances.len() - 1].watched
            && !self.names_far(publisher, build, state)
        {
            flaws.push((Flaw::Far, from));
        }
        for (Demand { slot, id, since }, points) in demands.iter().zip(held) {
            let (Some(place), Some(text)) = (state.places.get(&slot.directory), next_at(&mut texts, slot)) else {
                continue;
            };
            let mut quiet = place.well_from(patience, now).max(*since + SWIFT);
            let held = place.held(id);
            if let Some(held) = held
                && held.publication_time() > wall
                && held.publication_time() > text.time
            {
                if alone && !witness.is_dated_ahead(slot) {
                    flaws.push((Flaw::NotReported(*slot), quiet.max(stirred)));
                }
                continue;
            }
            if far_off {
                continue;
            }
            quiet = quiet.max(clock_set + LOOKS_UP + SWIFT);
            if let Some(held) = held {
                // A moment ago it may have been a text of the future.
                let past = wall.as_secs().saturating_sub(held.publication_time().as_secs());
                quiet = quiet.max(now.saturating_sub(Duration::from_secs(past)) + SWIFT);
            }
            match held {
                None => flaws.push((Flaw::Empty(*slot), quiet.max(offering_since + SWIFT).max(stirred))),
                Some(_) => {
                    let useless = points.iter().filter_map(|point| self.useless_since(point, state));
                    if let Some(since) = useless.min() {
                        let from = (since + swift).max(quiet).max(offering_since + SWIFT);
                        flaws.push((Flaw::Useless(*slot), from));
                    }
                }
            }
            let same = held.is_some_and(|held| text.ending.is_of(held.text()));
            let right = next_at(&mut proved, slot).is_some() && same;
            if alone && !right {
                flaws.push((Flaw::Differs(*slot), quiet.max(stirred)));
            }
        }
        flaws
    }

    /// The introduction points that the texts at the directories of these slots name.
    fn points_held(&mut self, demands: &[Demand], publisher: usize, state: &State) -> Vec<Arc<[PointName]>> {
        let texts: BTreeMap<_, _> = self.seats[publisher].witness.texts().collect();
        let nothing: Arc<[PointName]> = Arc::default();
        let points = demands.iter().map(|Demand { slot, id, .. }| {
            let Some(held) = state.places.get(&slot.directory).and_then(|place| place.held(id)) else {
                return nothing.clone();
            };
            if let Some(text) = texts.get(slot).filter(|text| text.ending.is_of(held.text())) {
                return text.points.clone();
            }
            let known = self.held.get(&(slot.directory, *id));
            if let Some((_, points)) = known.filter(|(ending, _)| ending.is_of(held.text())) {
                return points.clone();
            }
            let points = held.introduction_points().unwrap_or_default();
            let points: Arc<[_]> = points.iter().map(fixtures::name).collect();
            let text = (Ending::of(held.text()), points.clone());
            self.held.insert((slot.directory, *id), text);
            points
        });
        points.collect()
    }

    /// Whether a publisher's texts name points of the far instance's descriptor of this number.
    fn names_far(&self, publisher: usize, number: u32, state: &State) -> bool {
        let mut named = self.seats[publisher]
            .witness
            .texts()
            .flat_map(|(_, text)| &*text.points);
        named.any(|point| state.far.builds.get(point) == Some(&number))
    }

    /// Since when all publishers have known that a point is of no use; `None` if one has not.
    fn useless_since(&self, point: &PointName, state: &State) -> Option<Duration> {
        let told = self.seats.iter().map(|seat| seat.witness.useless_since(point));
        let last = told.collect::<Option<Vec<_>>>()?.into_iter().max()?;
        // It may publish by itself, or have come back a moment before they are told.
        let mut instances = state.instances.iter().filter(|instance| instance.is_reached_at(point));
        let back = instances.any(|instance| instance.fit || state.climate.loud);
        (!back).then_some(last)
    }

    fn describe(&self, publisher: usize, flaw: Flaw, state: &State) -> String {
        let witness = &self.seats[publisher].witness;
        let place = flaw.slot().and_then(|slot| state.places.get(&slot.directory));
        let well = place.map(|place| Watched::well_from(place, state.patience(), state.now()));
        let since = format!(
            "last told something on {}, offering since {}, directory well from {}",
            Uptime(witness.stirred()),
            Uptime(witness.offering_since().unwrap_or_default()),
            Uptime(well.unwrap_or_default()),
        );
        let what = match flaw {
            Flaw::Late(what) => what.to_owned(),
            Flaw::Far => "the newest points of the far instance are not named".to_owned(),
            Flaw::Empty(slot) => format!("slot {slot} is empty while an instance offers points"),
            Flaw::Useless(slot) => format!("slot {slot} names an instance that is known to be dead or unfit"),
            Flaw::Differs(slot) => format!("slot {slot} does not hold what is wanted there, or that is not known"),
            Flaw::NotReported(slot) => format!("slot {slot} holds a text of the future, and that is not reported"),
        };
        format!("publisher {publisher}: {what}\n  {since}")
    }

    fn object_to_upload(&mut self, publisher: usize, slot: &SlotId, state: &State) -> Vec<String> {
        let mut wrong = Vec::new();
        if !self.is_caused(publisher, slot, state) {
            wrong.push(format!("an upload to {slot} although nothing happened"));
        }
        let seat = &mut self.seats[publisher];
        let slots = seat.witness.demands().len() as u32;
        let hour = state.now().as_secs() / 3600;
        if seat.uploads.0 != hour || state.stormy {
            seat.uploads = (hour, 0);
        }
        seat.uploads.1 += 1;
        if seat.uploads.1 > slots.max(2) * CONTESTED + CHANGES {
            wrong.push(format!("{} uploads within an hour", seat.uploads.1));
        }
        wrong
    }

    fn object_to_audit(&mut self, publisher: usize, slot: &SlotId, state: &State) -> Vec<String> {
        let caused = self.is_caused(publisher, slot, state);
        let every = state.climate.settings.audit_every;
        let last = self.seats[publisher].audits.insert(*slot, state.now());
        let early = last.is_some_and(|last| state.now() < last + every);
        let wrong = (!caused && early).then(|| format!("an audit of {slot} although nothing happened"));
        wrong.into_iter().collect()
    }

    /// Whether anything happened of late that is a reason to work at a slot.
    fn is_caused(&self, publisher: usize, slot: &SlotId, state: &State) -> bool {
        let witness = &self.seats[publisher].witness;
        let seen = &state.publishers[publisher];
        let place = state.places.get(&slot.directory);
        let unwell = place.is_none_or(|place| state.now() <= place.well_from(state.patience(), state.now()));
        let ahead = witness.is_dated_ahead(slot) || state.engine.ahead(publisher).abs() > MAX_SKEW;
        let stirred = witness.stirred().max(seen.clock_set);
        self.seats.len() > 1 || unwell || ahead || state.now() <= stirred + SWIFT
    }
}

impl Seat {
    const fn new(witness: Witness) -> Self {
        Self {
            witness,
            audits: BTreeMap::new(),
            uploads: (0, 0),
            fresh: Vec::new(),
        }
    }
}

impl State {
    /// Longest time for which a directory may hold something else than it should. What is not
    /// answered is given up; then the slot pauses, and once more if the lost answer was that of an
    /// audit which would have found an upload dropped. What a publisher cannot see it finds at the
    /// next audit, which may be given up as well; then the slot pauses, for that and for having
    /// been written over.
    pub(super) fn patience(&self) -> Patience {
        let settings = &self.climate.settings;
        let seen = settings.answer_within + PAUSE * 2 + SWIFT;
        Patience {
            seen,
            unseen: settings.audit_every + seen + TRUCE,
        }
    }
}

/// The value for `key` among pairs in the order of their keys, which are asked for in that order.
fn next_at<K: Ord, V>(pairs: &mut Peekable<impl Iterator<Item = (K, V)>>, key: &K) -> Option<V> {
    while pairs.next_if(|(other, _)| other < key).is_some() {}
    pairs.next_if(|(other, _)| other == key).map(|(_, value)| value)
}

/// Something about a publisher that is not as it must be.
#[derive(Clone, Copy, Debug)]
enum Flaw {
    /// The witness says that something is overdue.
    Late(&'static str),
    Far,
    Empty(SlotId),
    Useless(SlotId),
    Differs(SlotId),
    NotReported(SlotId),
}

impl Flaw {
    const fn slot(&self) -> Option<&SlotId> {
        match self {
            Self::Late(_) | Self::Far => None,
            Self::Empty(slot) | Self::Useless(slot) | Self::Differs(slot) | Self::NotReported(slot) => Some(slot),
        }
    }
}
