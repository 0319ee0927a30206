//! Plans stay as they are from one version of this crate to the next: a publisher that is replaced
//! by a newer one rewrites no slot for that reason alone.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do; clippy knows tests only by their attribute"
)]

use onionweave_assign::{Instance, Plan, Policy, PolicyName, Relay, Round, Slot, Weight};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Number of services that are drawn for each policy; each of them asks for five plans.
const SERVICES: u64 = 150;

/// Hash FNV-1a with 64 bits, over everything that plans say.
struct Digest(u64);

impl Digest {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, number: u128) {
        for byte in number.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn add_plan(&mut self, plan: &Plan<u8, u8>) {
        for (slot, mix) in plan.slots() {
            self.add(u128::from(*slot));
            for (relay, instance) in mix.points() {
                self.add(relay.number());
                self.add(u128::from(*instance));
            }
        }
    }
}

fn slots(rng: &mut ChaCha8Rng) -> Vec<Slot<u8>> {
    let count = *[6, 6, 6, 6, 8, 1, 3, 12].choose(rng).unwrap();
    // Slots are mostly read alike; else each as it comes, or the last ones by nobody.
    let kind = rng.random_range(0..6);
    let shares: Vec<f64> = (0..count)
        .map(|n: u8| match kind {
            0 => f64::from(rng.random_range(1..4_u8)),
            1 => f64::from(u8::from(n < count.div_ceil(2) * 3 / 2)),
            _ => 1.0,
        })
        .collect();
    let whole: f64 = shares.iter().sum();
    (0..)
        .zip(shares)
        .map(|(id, share)| Slot::new(id, id % 2, share / whole).unwrap())
        .collect()
}

fn instance(id: u8, rng: &mut ChaCha8Rng, points: u128, relays: u128, largest: u32) -> Instance<u8> {
    let relay = |n: u128| match relays {
        0 => Relay::new(u128::from(id) << 8 | n),
        some => Relay::new(rng.random_range(0..some)),
    };
    let relays: Vec<_> = (0..points).map(relay).collect();
    Instance::new(id, relays).weight(Weight::try_from(rng.random_range(1..=largest)).unwrap())
}

/// Asks for the plans of one service: anew, after a death, after an arrival, after a point has
/// moved, and in the next round.
fn ask(policy: &dyn Policy<u8, u8>, seed: u64, digest: &mut Digest) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let slots = slots(&mut rng);
    let count = *[1, 2, 2, 3, 3, 4, 5, 6, 7, 9, 12, 20, 31, 60, 65]
        .choose(&mut rng)
        .unwrap();
    let points = *[1, 2, 3, 3, 10, 12].choose(&mut rng).unwrap();
    let relays = *[0, 0, 0, 7, 40].choose(&mut rng).unwrap();
    let largest = *[1, 1, 3, 20, 1000].choose(&mut rng).unwrap();
    let mut instances: Vec<_> = (0..count)
        .map(|id| instance(id, &mut rng, points, relays, largest))
        .collect();
    let mut round = Round::new(rng.random_range(0..9), rng.random());
    let mut plan = policy.plan(&instances, &slots, None, round).unwrap();
    digest.add_plan(&plan);
    for change in 0..4 {
        match change {
            0 if count > 1 => drop(instances.remove(rng.random_range(0..instances.len()))),
            1 => instances.push(instance(count, &mut rng, points, relays, largest)),
            2 => instances[0].points[0] = Relay::new(1 << 20),
            _ => round = round.next(),
        }
        plan = policy.plan(&instances, &slots, Some(&plan), round).unwrap();
        digest.add_plan(&plan);
    }
}

#[test]
fn plans_are_those_of_earlier_versions() {
    let expected = [
        ("race", 0x84e7_7fc0_3b0d_a7b9),
        ("mixed", 0x7b4f_e7fb_dd45_bcf4),
        ("single", 0x6cf1_dfc7_e828_dc8c),
        ("hybrid", 0xe6e8_8388_72b7_5d8e),
        ("weighted", 0x903a_6927_0977_3e69),
    ];
    let found: Vec<_> = PolicyName::ALL
        .iter()
        .map(|name| {
            let mut digest = Digest::new();
            for seed in 0..SERVICES {
                ask(&*name.policy(), seed, &mut digest);
            }
            (name.as_str(), digest.0)
        })
        .collect();
    assert_eq!(found, expected, "{found:#018x?}");
}
