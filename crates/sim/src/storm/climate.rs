//! Things that are drawn once for a storm: how large the network is, how it is configured, and how
//! much goes wrong.

use std::num::NonZeroUsize;
use std::time::Duration;

use onionweave_assign::{Damping, PolicyName};
use onionweave_publish::{InstanceName, InstanceSettings, Settings, Source, Stamp};
use onionweave_ring::UnixTime;
use rand::{Rng, RngExt as _};

use crate::Error;

/// The instances' names.
const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// The policies that a publisher may follow, the default most often.
const POLICIES: [PolicyName; 6] = [
    PolicyName::Mixed,
    PolicyName::Mixed,
    PolicyName::Mixed,
    PolicyName::Single,
    PolicyName::Hybrid,
    PolicyName::Weighted,
];

/// Character of a storm.
#[derive(Clone, Debug)]
pub(super) struct Climate {
    pub(super) start: UnixTime,
    pub(super) instances: usize,
    pub(super) directories: usize,
    /// Whether a second publisher is started at times, by mistake.
    pub(super) second_publisher: bool,
    /// Whether instances build their descriptors anew every hour, as Tor does unless it has just
    /// done so.
    pub(super) hourly: bool,
    /// Whether publishers post through instances that the other publisher watches.
    pub(super) shared_carriers: bool,
    /// Whether instances publish by themselves.
    pub(super) loud: bool,
    /// The last instance is far away: its control port is out of reach, and it is known under an
    /// address of its own, from here.
    pub(super) far: Option<Source>,
    /// Policy by which the publishers match instances and slots.
    pub(super) policy: PolicyName,
    pub(super) settings: Settings,
}

impl Climate {
    /// The instances' names.
    pub(super) fn names(&self) -> impl Iterator<Item = &InstanceName> {
        self.settings.instances().iter().map(|instance| &instance.name)
    }

    /// The instance that is far away, if one is.
    pub(super) fn far(&self) -> Option<usize> {
        self.far.map(|_| self.instances - 1)
    }

    pub(super) fn draw(rng: &mut impl Rng) -> Result<Self, Error> {
        let instances = rng.random_range(1..=6);
        let loud = rng.random_bool(0.1);
        let mut named = Vec::new();
        for name in NAMES.iter().take(instances) {
            let mut instance = InstanceSettings::new(name.parse()?);
            instance.restart = rng.random_bool(0.5);
            named.push(instance);
        }
        let mut settings = Settings::new(named)?;
        settings.quiet = !loud;
        let far = (instances > 1 && !loud && rng.random_bool(0.15)).then(|| match rng.random() {
            true => Source::File,
            false => Source::Directories {
                every: Duration::from_secs(rng.random_range(60..900)),
            },
        });
        if far.is_none() && rng.random_bool(0.2) {
            settings.serving = NonZeroUsize::new(rng.random_range(1..=instances));
        }
        if rng.random_bool(0.15) {
            settings.stamp = Stamp::Second;
        }
        // An audit a minute is the default; most storms have fewer, which makes days cheap and
        // faults last longer.
        let minutes = match rng.random_bool(0.35) {
            true => [1, 5, 10, 10, 15, 15, 30, 30][rng.random_range(0..8)],
            false => 60,
        };
        settings.audit_every = Duration::from_secs(60 * minutes);
        settings.answer_within = Duration::from_secs(rng.random_range(5..=30));
        let policy = POLICIES[rng.random_range(0..POLICIES.len())];
        if policy == PolicyName::Weighted && rng.random_bool(0.7) {
            let time = Duration::from_secs(60 * rng.random_range(5..=60));
            settings.damping = Damping::new(rng.random_range(0.0..1.0), time).ok();
        }
        Ok(Self {
            start: UnixTime::from_secs(1_795_349_700 + rng.random_range(0..200_000)),
            instances,
            directories: rng.random_range(1..=30),
            second_publisher: rng.random_bool(0.3),
            hourly: rng.random_bool(0.25),
            shared_carriers: rng.random_bool(0.5),
            loud,
            far,
            policy,
            settings,
        })
    }
}

/// Amount of what goes wrong at present.
#[derive(Clone, Copy, Debug)]
pub(super) struct Season {
    pub(super) lasts: Duration,
    /// The mean time between two events.
    pub(super) between: Duration,
    /// Part of the uploads and audits that goes wrong.
    pub(super) faulty: f64,
}

impl Season {
    /// Some days as operators know them.
    pub(super) fn calm(rng: &mut impl Rng) -> Self {
        Self {
            lasts: Duration::from_secs(rng.random_range(24..100) * 3600),
            between: Duration::from_secs(3 * 3600),
            faulty: 0.003,
        }
    }

    /// Some minutes as nobody wants to know them.
    pub(super) fn stormy(rng: &mut impl Rng) -> Self {
        Self {
            lasts: Duration::from_secs(rng.random_range(30..400)),
            between: Duration::from_millis(rng.random_range(500..20_000)),
            faulty: rng.random_range(0.02..0.4),
        }
    }

    pub(super) fn until_next(&self, rng: &mut impl Rng) -> Duration {
        // Exponentially distributed.
        let u: f64 = rng.random_range(1e-9..1.0);
        self.between.mul_f64(-u.ln())
    }
}
