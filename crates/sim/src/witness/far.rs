//! Texts that a publisher was shown of an instance that is read from a file or from directories.

use onionweave_publish::{Found, Source};
use onionweave_ring::UnixTime;

use super::Witness;
use super::texts::name_points;
use crate::fixtures::PointName;

/// The descriptors of such an instance.
#[derive(Debug, Default)]
pub(super) struct Far {
    shown: Vec<Shown>,
    /// The place among them of the one that must be believed since it was shown.
    newest: Option<usize>,
    /// The date of the first descriptor with the points that the texts name, or named last.
    believed: Option<UnixTime>,
}

/// The descriptors that name the same points.
#[derive(Debug)]
struct Shown {
    points: Vec<PointName>,
    first: UnixTime,
    last: UnixTime,
}

impl Far {
    /// Notes a descriptor that the publisher was shown. `newest`: it must believe that at once, if
    /// it is not an older one.
    pub(super) fn seen(&mut self, dated: UnixTime, mut points: Vec<PointName>, newest: bool) {
        points.sort_unstable();
        let date = self.shown.iter().map(|shown| shown.last).max();
        let at = self.shown.iter().position(|shown| shown.points == points);
        let at = at.unwrap_or_else(|| {
            self.shown.push(Shown {
                points,
                first: dated,
                last: dated,
            });
            self.shown.len() - 1
        });
        if let Some(shown) = self.shown.get_mut(at) {
            shown.first = shown.first.min(dated);
            shown.last = shown.last.max(dated);
        }
        if newest && date.is_none_or(|date| date <= dated) {
            self.newest = Some(at);
        }
    }

    fn is_known(&self, point: &PointName) -> bool {
        self.shown.iter().any(|shown| shown.points.contains(point))
    }
}

impl Witness {
    /// The publisher read a descriptor at a directory.
    pub(super) fn read_far(&mut self, found: &Found) {
        let Found::Text(text) = found else { return };
        let Some(descriptor) = (self.read)(text) else { return };
        let mut instances = self.settings.instances().iter();
        let own = instances.any(|known| {
            matches!(known.source, Source::Directories { .. }) && known.address == Some(descriptor.service_id().into())
        });
        if own && let Ok(points) = descriptor.introduction_points() {
            self.far
                .seen(descriptor.publication_time(), name_points(&points), false);
        }
    }

    /// Returns what is wrong with the points of such an instance that the texts name.
    pub(super) fn object_to_far(&mut self) -> Option<String> {
        let named = self.texts.values().flat_map(|text| &*text.points);
        let named: Vec<_> = named.filter(|point| self.far.is_known(point)).collect();
        if named.is_empty() {
            return None;
        }
        let shown = self.far.shown.iter().enumerate();
        let mut naming = shown.filter(|(_, shown)| named.iter().all(|point| shown.points.contains(point)));
        let Some((at, shown)) = naming.next_back() else {
            return Some("several descriptors of the instance that is read elsewhere are named at once".into());
        };
        if self.far.newest.is_some_and(|newest| newest != at) {
            return Some("an older descriptor than the newest is still believed".into());
        }
        if let Some(before) = self.far.believed.filter(|&before| shown.last < before) {
            let last = shown.last;
            return Some(format!("a descriptor of {last} is believed after one of {before}"));
        }
        self.far.believed = Some(shown.first);
        None
    }
}
