//! The functions that fuzzing drives; each ends in what must hold for any input.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::{Balance, Damping, Error, Instance, Load, Measured, Plan, PolicyName, Relay, Round, Slot, Weight};

/// Plans for the instances, slots, rounds and changes that `input` stands for, with every policy.
///
/// # Panics
/// If something is refused without a reason; if a slot is missing, empty or too full, or holds a
/// point that nobody offers. Also if asking again changes the plan; if shares don't add up; or if a
/// number of what clients meet is no chance.
pub fn plan(input: &[u8]) {
    let mut input = Input(input);
    let mut slots: Vec<_> = (0..input.below(68)).filter_map(|_| input.slot()).collect();
    let mut instances: Vec<_> = (0..input.below(66)).map(|_| input.instance()).collect();
    let mut round = Round::new(input.byte().into(), input.byte().into());
    let mut plans: BTreeMap<&str, Plan<u8, u8>> = BTreeMap::new();
    for _ in 0..4 {
        for &name in PolicyName::ALL {
            let policy = name.policy();
            let previous = plans.get(name.as_str());
            match policy.plan(&instances, &slots, previous, round) {
                Ok(plan) => {
                    assert_sound(&plan, &instances, &slots);
                    assert_eq!(
                        policy.plan(&instances, &slots, Some(&plan), round).as_ref(),
                        Ok(&plan),
                        "{name}"
                    );
                    plans.insert(name.as_str(), plan);
                }
                Err(error) => assert_refused(&error, name, &instances, &slots),
            }
        }
        if input.0.is_empty() {
            return;
        }
        match input.below(6) {
            0 if !instances.is_empty() => {
                instances.remove(input.below(instances.len()));
            }
            1 if !slots.is_empty() => {
                slots.remove(input.below(slots.len()));
            }
            2 => slots.extend(input.slot()),
            3 => round = round.next(),
            _ => instances.push(input.instance()),
        }
    }
}

/// Tells a balance of the loads, weights and times that `input` stands for.
///
/// # Panics
/// If somebody has no weight, or one that is further from what is configured than loads may bring
/// it.
pub fn balance(input: &[u8]) {
    let mut input = Input(input);
    let strength = f64::from(input.byte()) / 256.0;
    let time = Duration::from_secs(input.byte().into());
    let Ok(damping) = Damping::new(strength, time) else {
        panic!("{strength} is less than 1");
    };
    let mut balance = Balance::new(damping);
    while !input.0.is_empty() {
        let measured: Vec<_> = (0..input.below(8))
            .map(|id| {
                let weight = Weight::try_from(u32::from(input.byte())).unwrap_or_default();
                let load = f64::from_bits(u64::from_be_bytes(std::array::from_fn(|_| input.byte())));
                Measured::new(id, weight, Load::new(load).ok())
            })
            .collect();
        balance.weigh(&measured, Duration::from_millis(u64::from(input.byte()) * 1000));
        let given = balance.weights();
        assert_eq!(given.len(), measured.len());
        for (a, b) in measured.iter().zip(measured.iter().skip(1)) {
            let weight = |weight: Weight| f64::from(weight.as_u32());
            let factor = |m: &Measured<usize>| weight(given[&m.id]) / weight(m.weight);
            let ratio = factor(a) / factor(b);
            // A hundredth for rounding, and what keeps weights calm.
            let most = 16_f64.powf(strength) * 1.01 + 0.1;
            assert!(ratio <= most && ratio >= 1.0 / most, "{measured:?} got {given:?}");
        }
    }
}

/// Input that bytes stand for. When they are used up, all that follows is zero.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&byte, rest)) => {
                self.0 = rest;
                byte
            }
            None => 0,
        }
    }

    fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end.max(1)
    }

    /// A slot; `None` if its read share is refused.
    fn slot(&mut self) -> Option<Slot<u8>> {
        let (id, replica, share) = (self.byte(), self.byte() % 3, f64::from(self.byte()) / 240.0);
        let slot = Slot::new(id, replica, share);
        assert_eq!(slot.is_ok(), share <= 1.0);
        slot.ok()
    }

    fn instance(&mut self) -> Instance<u8> {
        let id = self.byte();
        let weight = match self.byte() {
            0 => Weight::try_from(u32::MAX),
            weight => Weight::try_from(u32::from(weight)),
        };
        let points = self.below(12);
        let relays: Vec<_> = (0..points).map(|_| Relay::new(self.byte().into())).collect();
        Instance::new(id, relays).weight(weight.unwrap_or_default())
    }
}

fn assert_refused(error: &Error, policy: PolicyName, instances: &[Instance<u8>], slots: &[Slot<u8>]) {
    let ids = |ids: Vec<u8>| ids.iter().collect::<BTreeSet<_>>().len() < ids.len();
    let reason = match error {
        Error::NoInstances => instances.iter().all(|instance| instance.points.is_empty()),
        Error::NoSlots => slots.is_empty(),
        Error::DuplicateInstance { .. } => ids(instances.iter().map(|instance| instance.id).collect()),
        Error::DuplicateSlot { .. } => ids(slots.iter().map(|slot| *slot.id()).collect()),
        Error::TooManySlots { .. } => slots.len() > 64,
        Error::TooManyReplicas { .. } => {
            let replicas: BTreeSet<_> = slots.iter().map(Slot::replica).collect();
            policy == PolicyName::Mixed && replicas.len() > 2
        }
        _ => false,
    };
    assert!(reason, "{policy}: {error}");
}

fn assert_sound(plan: &Plan<u8, u8>, instances: &[Instance<u8>], slots: &[Slot<u8>]) {
    let planned: BTreeSet<_> = plan.slots().map(|(slot, _)| slot).collect();
    assert_eq!(planned, slots.iter().map(Slot::id).collect());
    let offered: BTreeSet<(Relay, u8)> = instances
        .iter()
        .flat_map(|instance| instance.points.iter().map(|&relay| (relay, instance.id)))
        .collect();
    for (slot, mix) in plan.slots() {
        assert!((1..=10).contains(&mix.len()), "slot {slot} holds {mix:?}");
        for (relay, id) in mix.points() {
            assert!(offered.contains(&(relay, *id)), "{id} has no point at {relay:?}");
        }
    }
    let read: f64 = slots.iter().map(Slot::read_share).sum();
    let near = |a: f64, b: f64| (a - b).abs() < 1e-9 * read.max(1.0);
    assert!(near(plan.shares(slots).into_values().sum(), read));
    assert!(near(plan.loads(slots).into_values().sum(), read));
    for deaths in [0, 1, 2, plan.standing()] {
        let outlook = plan.with_any_dead(deaths, slots);
        assert!(0.0 <= outlook.text_dead && outlook.text_dead <= outlook.first_point_dead + 1e-9);
        assert!(outlook.first_point_dead <= outlook.dead_points + 1e-9);
        assert!(outlook.first_point_dead <= read + 1e-9 && (0.0..=1.0).contains(&outlook.unreachable));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every committed input, and every one cut short.
    fn run_corpus(name: &str, function: impl Fn(&[u8])) {
        let folder = format!("{}/testdata/fuzz-corpus/{name}", env!("CARGO_MANIFEST_DIR"));
        let mut inputs = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let input = std::fs::read(entry.unwrap().path()).unwrap();
            for end in (0..=input.len()).rev().step_by(1 + input.len() / 4) {
                function(&input[..end]);
            }
            inputs += 1;
        }
        assert!(inputs >= 4, "{folder} has {inputs} inputs");
    }

    #[test]
    fn plan_corpus() {
        run_corpus("plan", plan);
    }

    #[test]
    fn balance_corpus() {
        run_corpus("balance", balance);
    }
}
