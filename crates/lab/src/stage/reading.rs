//! Contents of the directories, read back by a Tor that has nothing to do with the publisher.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use onionweave_desc::v2::{Descriptor, IntroductionPoint, UnverifiedDescriptor};
use onionweave_ring::v2::ServiceId;
use onionweave_testnet::{Holding, Instance, Place, Probe};

use super::{NAMES, Plan, Slot};

/// Longest time that a directory may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Longest time until the directories hold the newest plan.
const SETTLED_WITHIN: Duration = Duration::from_secs(15);

/// Content of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// A descriptor that is genuine.
    Genuine {
        /// Number of introduction points of each instance that it names.
        points: BTreeMap<usize, u32>,
        /// Introduction points of nobody known.
        strangers: u32,
    },
    /// Anything else.
    Nothing(String),
}

impl Held {
    /// The instances that it sends clients to.
    pub(crate) fn instances(&self) -> Vec<usize> {
        match self {
            Self::Genuine { points, .. } => points.keys().copied().collect(),
            Self::Nothing(_) => Vec::new(),
        }
    }

    /// Returns whether it is a descriptor that names no point of `instance`.
    fn is_clean_of(&self, instance: usize) -> bool {
        matches!(self, Self::Genuine { points, .. } if !points.contains_key(&instance))
    }
}

/// The Tor that reads, and what it knows of the instances.
pub(crate) struct Reader {
    probe: Probe,
    service: ServiceId,
    slots: Vec<Slot>,
    /// Every introduction point that an instance ever named, and whose it is.
    owners: BTreeMap<IntroductionPoint, usize>,
}

impl Reader {
    pub(crate) fn new(probe: Probe, service: ServiceId, slots: Vec<Slot>) -> Self {
        Self {
            probe,
            service,
            slots,
            owners: BTreeMap::new(),
        }
    }

    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Asks every instance for its own descriptor (`GETINFO hs/service/desc/id/…`), which says
    /// whose introduction points are whose.
    pub(crate) async fn learn(&mut self, instances: &[Instance]) -> anyhow::Result<()> {
        for (i, instance) in instances.iter().enumerate() {
            self.learn_from(i, instance.wait_for_descriptor().await?.as_bytes())?;
        }
        Ok(())
    }

    /// Takes note of the descriptor that is an instance's own.
    pub(crate) fn learn_from(&mut self, instance: usize, descriptor: &[u8]) -> anyhow::Result<()> {
        for point in verified(descriptor)?.introduction_points()? {
            self.owners.insert(point, instance);
        }
        Ok(())
    }

    /// Reads all directories once.
    pub(crate) async fn read(&mut self) -> anyhow::Result<Vec<Held>> {
        let places: Vec<_> = self.slots.iter().map(place).collect();
        let found = self.probe.read(&places, ANSWER_WITHIN).await?;
        let held = self.slots.iter().zip(&places);
        Ok(held.map(|(slot, place)| self.judge(slot, found.get(place))).collect())
    }

    /// Reads until every directory holds what the newest plan gives it, or until that has taken too
    /// long.
    pub(crate) async fn read_settled(
        &mut self,
        instances: &[Instance],
        plan: impl Fn() -> Plan,
    ) -> anyhow::Result<(Plan, Vec<Held>)> {
        let start = Instant::now();
        loop {
            self.learn(instances).await?;
            let held = self.read().await?;
            let plan = plan();
            let settled = self
                .slots
                .iter()
                .zip(&held)
                .all(|(slot, held)| difference(&plan, slot, held).is_none());
            if settled || start.elapsed() > SETTLED_WITHIN {
                return Ok((plan, held));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Reads all directories, again and again, until none names a point of `dead`; returns what
    /// they held then, if that was `within` a time.
    pub(crate) async fn read_clean_of(
        &mut self,
        dead: usize,
        within: Duration,
    ) -> anyhow::Result<Option<(Instant, Vec<Held>)>> {
        let start = Instant::now();
        while start.elapsed() < within {
            let held = self.read().await?;
            if held.iter().all(|held| held.is_clean_of(dead)) {
                return Ok(Some((Instant::now(), held)));
            }
        }
        Ok(None)
    }

    fn judge(&self, slot: &Slot, holding: Option<&Holding>) -> Held {
        let text = match holding {
            Some(Holding::Text(text)) => text,
            Some(Holding::Nothing) => return Held::Nothing("nothing".to_owned()),
            Some(Holding::Unusable(why)) => return Held::Nothing(format!("something unusable: {why}")),
            _ => return Held::Nothing("no answer".to_owned()),
        };
        let points = verified(text).and_then(|descriptor| {
            anyhow::ensure!(
                descriptor.service_id() == self.service,
                "a descriptor of another service"
            );
            anyhow::ensure!(
                descriptor.descriptor_id() == slot.descriptor_id,
                "a descriptor with another ID"
            );
            Ok(descriptor.introduction_points()?)
        });
        match points {
            Err(error) => Held::Nothing(error.to_string()),
            Ok(named) => {
                let (mut points, mut strangers) = (BTreeMap::new(), 0);
                for point in named {
                    match self.owners.get(&point) {
                        Some(&owner) => *points.entry(owner).or_default() += 1,
                        None => strangers += 1,
                    }
                }
                Held::Genuine { points, strangers }
            }
        }
    }
}

/// Returns the difference of `held` from the plan; `None` if the plan is proved.
pub(crate) fn difference(plan: &Plan, slot: &Slot, held: &Held) -> Option<String> {
    let (points, strangers) = match held {
        Held::Nothing(what) => return Some(what.clone()),
        Held::Genuine { points, strangers } => (points, *strangers),
    };
    if strangers > 0 {
        return Some(format!("{strangers} points of nobody"));
    }
    let planned = planned(plan, slot);
    (planned != *points).then(|| format!("not as planned, which is {}", words(&planned)))
}

/// Returns the number of introduction points of each instance that a slot is to hold.
pub(crate) fn planned(plan: &Plan, slot: &Slot) -> BTreeMap<usize, u32> {
    let planned = plan.get(&slot.id).into_iter().flatten();
    planned
        .filter_map(|(name, &count)| Some((NAMES.iter().position(|&other| *name == other)?, count)))
        .collect()
}

/// Part of all clients that each instance is to get: every slot is read equally often, every
/// point in it as well.
pub(crate) fn shares(plan: &Plan, slots: &[Slot]) -> [f64; NAMES.len()] {
    let mut shares = [0.0; NAMES.len()];
    for slot in slots {
        let planned = planned(plan, slot);
        let points: u32 = planned.values().sum();
        for (instance, count) in planned {
            if let Some(share) = shares.get_mut(instance) {
                *share += f64::from(count) / f64::from(points) / slots.len() as f64;
            }
        }
    }
    shares
}

/// Points of instances in words: `3 of a`.
pub(crate) fn words(points: &BTreeMap<usize, u32>) -> String {
    let words = points
        .iter()
        .filter_map(|(&i, count)| Some(format!("{count} of {}", NAMES.get(i)?)));
    words.collect::<Vec<_>>().join(", ")
}

fn place(slot: &Slot) -> Place {
    (slot.descriptor_id.to_string(), *slot.id.directory.as_bytes())
}

/// A descriptor that is genuine.
pub(crate) fn verified(text: &[u8]) -> anyhow::Result<Descriptor> {
    Ok(UnverifiedDescriptor::parse(text)?.verify()?)
}

#[cfg(test)]
mod tests {

    use onionweave_publish::SlotId;
    use onionweave_ring::Fingerprint;
    use onionweave_ring::v2::{DescriptorId, Replica, TimePeriod};

    use super::*;

    fn slot(number: u8) -> Slot {
        let service: ServiceId = "rf75jzdtba4wnd6v".parse().unwrap();
        let (period, replica) = (TimePeriod::new(20779), Replica::ALL[usize::from(number / 3)]);
        Slot {
            id: SlotId::new(period, replica, Fingerprint::from([number; 20])),
            descriptor_id: DescriptorId::of(&service, period, replica),
            rank: usize::from(number % 3) + 1,
            relay: usize::from(number),
            place: usize::from(number) + 1,
        }
    }

    fn genuine(points: &[(usize, u32)], strangers: u32) -> Held {
        Held::Genuine {
            points: points.iter().copied().collect(),
            strangers,
        }
    }

    fn plan(slots: &[(u8, &[(&str, u32)])]) -> Plan {
        let points = |points: &[(&str, u32)]| {
            points
                .iter()
                .map(|&(name, count)| (name.parse().unwrap(), count))
                .collect()
        };
        slots
            .iter()
            .map(|&(number, its)| (slot(number).id, points(its)))
            .collect()
    }

    #[test]
    fn only_exactly_what_is_planned_is_proved() {
        let plan = plan(&[(0, &[("a", 3)]), (1, &[("a", 1), ("c", 2)])]);
        for (number, held, proved) in [
            (0, genuine(&[(0, 3)], 0), true),
            (0, genuine(&[(0, 2)], 0), false),
            (0, genuine(&[(1, 3)], 0), false),
            (0, genuine(&[(0, 3), (1, 1)], 0), false),
            (0, genuine(&[(0, 3)], 1), false),
            (0, Held::Nothing("no answer".to_owned()), false),
            (1, genuine(&[(0, 1), (2, 2)], 0), true),
            // The plan knows nothing of this slot.
            (2, genuine(&[(0, 3)], 0), false),
        ] {
            let found = difference(&plan, &slot(number), &held);
            assert_eq!(found.is_none(), proved, "{number}: {held:?}: {found:?}");
        }
    }

    #[test]
    fn only_a_genuine_descriptor_is_clean() {
        assert!(genuine(&[(0, 3)], 1).is_clean_of(1));
        assert!(!genuine(&[(0, 3), (1, 1)], 0).is_clean_of(1));
        assert!(!Held::Nothing("no answer".to_owned()).is_clean_of(1));
    }

    #[test]
    fn shares_follow_directories_and_points() {
        let slots = [slot(0), slot(1)];
        let plan = plan(&[(0, &[("a", 3)]), (1, &[("a", 1), ("c", 3)])]);
        assert_eq!(shares(&plan, &slots), [0.625, 0.0, 0.375]);
    }
}
