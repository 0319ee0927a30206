//! News of instances that a publisher was told.

use std::collections::BTreeMap;
use std::time::Duration;

use onionweave_publish::{InstanceName, Settings, Source};
use onionweave_ring::OnionAddress;

use super::Witness;
use super::texts::name_points;
use crate::fixtures::PointName;

/// News of one instance that a publisher was told.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    points: Vec<PointName>,
    /// Whether it was told that the instance cannot be used.
    unfit: bool,
}

impl Link {
    /// The points of which it was told.
    pub(super) fn points(&self) -> impl Iterator<Item = &PointName> {
        self.points.iter()
    }

    pub(super) const fn offers(&self) -> bool {
        !self.points.is_empty()
    }
}

pub(super) fn links(settings: &Settings) -> BTreeMap<InstanceName, Link> {
    let instances = settings.instances().iter();
    instances
        .map(|instance| (instance.name.clone(), Link::default()))
        .collect()
}

impl Witness {
    /// The publisher was told which points an instance offers; `None` if it offers none because it
    /// is down.
    pub(super) fn learn(&mut self, instance: &InstanceName, points: Option<Vec<PointName>>) {
        let Some(link) = self.links.get_mut(instance) else {
            return;
        };
        let now = self.now.uptime();
        self.dead.extend(link.points.iter().map(|point| (*point, now)));
        link.points = points.unwrap_or_default();
        for point in &link.points {
            self.dead.remove(point);
        }
        if self.links.values().any(Link::offers) {
            self.offering_since.get_or_insert(now);
        } else {
            self.offering_since = None;
        }
        self.shun(now);
    }

    /// The publisher was told whether an instance can be used.
    pub(super) fn learn_health(&mut self, instance: &InstanceName, unfit: bool) {
        if let Some(link) = self.links.get_mut(instance) {
            link.unfit = unfit;
            self.shun(self.now.uptime());
        }
    }

    /// The unfit are left out while somebody is fit.
    fn shun(&mut self, now: Duration) {
        self.news = true;
        let before = std::mem::take(&mut self.shunned);
        let offering = self.links.values().filter(|link| link.offers());
        let (unfit, fit): (Vec<_>, Vec<_>) = offering.partition(|link| link.unfit);
        if fit.is_empty() {
            return;
        }
        let points = unfit.into_iter().flat_map(Link::points);
        self.shunned = points
            .map(|point| (*point, before.get(point).copied().unwrap_or(now)))
            .collect();
    }

    /// The publisher was told what an instance offers.
    pub(super) fn offered(&mut self, instance: &InstanceName, text: &[u8], rebuilt: bool) {
        // Nobody believes what is not signed with the service's key, or with the instance's own.
        let Some(descriptor) = (self.read)(text) else { return };
        let settings = self.settings.instances().iter().find(|known| known.name == *instance);
        let Some(settings) = settings else { return };
        if OnionAddress::from(descriptor.service_id()) != settings.address.unwrap_or(self.service.into()) {
            return;
        }
        let source = settings.source;
        let Ok(points) = descriptor.introduction_points() else {
            return;
        };
        let points = name_points(&points);
        if source != Source::Control {
            let newest = source == Source::File;
            return self.far.seen(descriptor.publication_time(), points, newest);
        }
        self.learn(instance, Some(points));
        if rebuilt {
            let own = &self.links[instance].points;
            let naming = self.texts.iter();
            let naming = naming.filter(|(_, text)| text.points.iter().any(|point| own.contains(point)));
            self.hopeless.extend(naming.map(|(slot, text)| (*slot, text.ending)));
        }
    }

    /// The publisher was told another configuration.
    pub(super) fn configured(&mut self, settings: &Settings) {
        let named = |name: &InstanceName| settings.instances().iter().any(|known| known.name == *name);
        let gone: Vec<_> = self.links.keys().filter(|name| !named(name)).cloned().collect();
        for instance in gone {
            self.learn(&instance, None);
            if self.is_far(&instance) {
                self.far = Default::default();
            }
            self.links.remove(&instance);
            self.shun(self.now.uptime());
        }
        self.settings = settings.clone();
        for instance in settings.instances() {
            self.links.entry(instance.name.clone()).or_default();
        }
    }

    /// Whether an instance is read from a file or from directories.
    pub(super) fn is_far(&self, instance: &InstanceName) -> bool {
        let mut instances = self.settings.instances().iter();
        instances.any(|known| known.name == *instance && known.source != Source::Control)
    }
}
