//! The texts that a publisher wants, and what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;

use onionweave_desc::v2::{IntroductionPoint, UnverifiedDescriptor};
use onionweave_publish::{InstanceName, SlotId, Source};
use onionweave_ring::UnixTime;

use super::news::Link;
use super::{MAX_SKEW, Witness};
use crate::fixtures::{self, PointName};

/// Largest number of introduction points in a text.
const MOST_POINTS: usize = 10;

/// A text that a slot is wanted to hold.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) ending: Ending,
    pub(crate) time: UnixTime,
    /// The introduction points that it names, as far as everybody may read them.
    pub(crate) points: Arc<[PointName]>,
}

/// The end of a text. The signature there is computed from all that stands before it, so texts with
/// equal ends are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ending([u8; Self::LEN]);

impl Ending {
    const LEN: usize = 144;

    pub(crate) fn of(text: &[u8]) -> Self {
        Self(text.last_chunk().copied().unwrap_or([0; Self::LEN]))
    }

    pub(crate) fn is_of(&self, text: &[u8]) -> bool {
        text.last_chunk() == Some(&self.0)
    }
}

pub(super) fn name_points(points: &[IntroductionPoint]) -> Vec<PointName> {
    points.iter().map(fixtures::name).collect()
}

impl Witness {
    /// Looks at all texts that the publisher wants, if any is another, or if it was told of other
    /// points or of another health.
    pub(super) fn look_at_texts<'a>(&mut self, texts: impl Iterator<Item = (SlotId, &'a [u8])>) {
        let texts: Vec<_> = texts.collect();
        let known = texts.len() == self.texts.len()
            && texts
                .iter()
                .zip(&self.texts)
                .all(|((slot, text), (known, wanted))| slot == known && wanted.ending.is_of(text));
        let hopeless = std::mem::take(&mut self.hopeless);
        if std::mem::take(&mut self.news) || !known {
            self.take_texts(texts);
            self.object_to_texts();
            let wrong = self.object_to_roster();
            self.objections.extend(wrong);
            let wrong = self.object_to_far();
            self.objections.extend(wrong);
            self.object_to_time();
        }
        // A client that tried these texts while an instance was away takes the same bytes for the
        // same hopeless texts.
        let same =
            |(slot, ending): &(&SlotId, &Ending)| self.texts.get(*slot).is_some_and(|text| text.ending == **ending);
        if let Some((slot, _)) = hopeless.iter().find(same) {
            self.objections.push(format!(
                "the text for {slot} keeps its bytes though an instance was away"
            ));
        }
    }

    fn take_texts(&mut self, texts: Vec<(SlotId, &[u8])>) {
        let mut before = std::mem::take(&mut self.texts);
        for (slot, bytes) in texts {
            let known = before.remove(&slot).filter(|known| known.ending.is_of(bytes));
            let text = known.or_else(|| self.read_wanted(&slot, bytes));
            self.texts.extend(text.map(|text| (slot, text)));
        }
    }

    /// Reads a text that the publisher has just written.
    fn read_wanted(&mut self, slot: &SlotId, bytes: &[u8]) -> Option<Text> {
        let Some(descriptor) = (self.read)(bytes) else {
            self.objections
                .push(format!("the text for {slot} is no descriptor with a good signature"));
            return None;
        };
        let points = descriptor.introduction_points().unwrap_or_default();
        let relays: BTreeSet<_> = points.iter().map(IntroductionPoint::identity).collect();
        let (count, different) = (points.len(), relays.len());
        let sealed = descriptor.authorization().is_some();
        if !sealed && (!(1..=MOST_POINTS).contains(&count) || count != different) {
            self.objections
                .push(format!("the text for {slot} has {count} points at {different} relays"));
        }
        Some(Text {
            ending: Ending::of(bytes),
            time: descriptor.publication_time(),
            points: name_points(&points).into(),
        })
    }

    fn object_to_texts(&mut self) {
        let times: BTreeSet<_> = self.texts.values().map(|text| text.time).collect();
        if times.len() > 1 {
            self.objections.push("the slots carry several publication times".into());
        }
        let different: BTreeSet<_> = self
            .texts
            .iter()
            .map(|(slot, text)| (slot.period, slot.replica, text.ending))
            .collect();
        if different.len() < self.texts.len() {
            self.objections
                .push("two directories of a replica are given the same bytes".into());
        }
        if self.offering_since.is_none() {
            return;
        }
        for (slot, text) in &self.texts {
            let useless = text.points.iter().find(|point| self.useless_since(point).is_some());
            if let Some((relay, _)) = useless {
                self.objections.push(format!(
                    "the text for {slot} names an instance at {relay}, of which it was told that it is dead or unfit"
                ));
            }
        }
    }

    /// The instances that could serve: those that offer points and are fit, or, if none is, those
    /// that offer points.
    fn ready(&self) -> BTreeSet<&InstanceName> {
        let shunned = |link: &Link| link.points().any(|point| self.shunned.contains_key(point));
        let links = self.links.iter().filter(|(_, link)| link.offers());
        links.filter(|(_, link)| !shunned(link)).map(|(name, _)| name).collect()
    }

    /// Returns what is wrong with the choice of those whose points the texts name.
    fn object_to_roster(&mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.offering_since.is_none() {
            return wrong;
        }
        let named: BTreeSet<_> = self.texts.values().flat_map(|text| &*text.points).collect();
        let is_named = |link: &Link| link.points().any(|point| named.contains(point));
        let serving = self.links.iter().filter(|(_, link)| is_named(link));
        let served: BTreeSet<_> = serving.map(|(name, _)| name.clone()).collect();
        let before = std::mem::replace(&mut self.served, served);
        let (served, ready) = (&self.served, self.ready());
        let places = self.settings.serving.map_or(usize::MAX, NonZeroUsize::get);
        if served.len() > places {
            wrong.push(format!("{} instances serve instead of {places}", served.len()));
        }
        // Where relays are shared, one instance's point may leave no room for another's, and where
        // slots are few they take turns.
        let relays = |name: &&InstanceName| self.links[*name].points().map(|(relay, _)| relay);
        let apart = ready.iter().flat_map(relays).collect::<BTreeSet<_>>().len();
        let all = ready.iter().flat_map(relays).count();
        let instances = self.settings.instances().iter();
        let far = instances.filter(|instance| instance.source != Source::Control).count();
        let mut slots = BTreeMap::<_, usize>::new();
        for slot in self.texts.keys() {
            *slots.entry(slot.period).or_default() += 1;
        }
        if apart < all || slots.values().min().is_none_or(|&slots| slots < ready.len() + far) {
            return wrong;
        }
        if served.len() < places.min(ready.len()) {
            wrong.push(format!("{} of {} instances serve", served.len(), ready.len()));
        }
        let stopped = before
            .iter()
            .find(|name| ready.contains(name) && !served.contains(*name));
        if let Some(name) = stopped {
            wrong.push(format!("{name} serves no longer, for no reason"));
        }
        wrong
    }

    /// Looks whether the publication time moved, and where to.
    fn object_to_time(&mut self) {
        let time = self.texts.values().map(|text| text.time).max();
        let (wall, before) = (self.now.wall(), self.time);
        if time.is_none() || time == before {
            return;
        }
        // Time moves for all slots together, so all are written.
        self.stirred = self.now.uptime();
        self.time = time;
        if time > Some(wall) {
            self.objections
                .push(format!("dates its texts {time:?}, but it is {wall}"));
        }
        let day_ahead = before.is_some_and(|before| before.as_secs() > wall.as_secs() + MAX_SKEW.unsigned_abs());
        if time < before && !day_ahead {
            self.objections
                .push(format!("the publication time went back from {before:?} to {time:?}"));
        }
    }
}

/// Reads a descriptor that is signed with RSA.
pub(crate) fn read_signed(text: &[u8]) -> Option<onionweave_desc::v2::Descriptor> {
    UnverifiedDescriptor::parse(text).ok()?.verify().ok()
}
