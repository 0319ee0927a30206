//! Weights from measured loads.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use crate::{Error, Weight};

/// A load that is less than the largest divided by this counts as that much: nobody's weight
/// follows an idle moment into the heights.
const SPAN: f64 = 16.0;
/// Weights that change no share by more than this stay as they are: a plan is no more exact than
/// this, and each change of it costs uploads.
const CALM: f64 = 1.0 / 120.0;
/// The largest weight that is given.
const LARGEST: f64 = 1_000_000.0;

/// Load of an instance, as a finite number that is not negative.
///
/// Its unit is the operator's: part of a processor, requests per second, circuits. Only the ratios
/// of loads that are measured at the same time matter.
///
/// ```
/// use onionweave_assign::Load;
///
/// assert_eq!("0.75".parse(), Load::new(0.75));
/// for bad in ["-1", "inf", "NaN", "much"] {
///     assert!(bad.parse::<Load>().is_err());
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Load(f64);

impl Load {
    /// A load. Fails with [`Error::Load`] if the number is negative, infinite or none.
    pub fn new(load: f64) -> Result<Self, Error> {
        if load.is_finite() && load >= 0.0 {
            Ok(Self(load))
        } else {
            Err(Error::Load { load: load.to_string() })
        }
    }

    /// The number.
    pub const fn as_f64(self) -> f64 {
        self.0
    }

    /// Returns the load for each unit of weight.
    ///
    /// It is for counts, such as those of requests or circuits: an instance that is to carry twice
    /// as much has twice as many.
    #[must_use]
    pub fn per(self, weight: Weight) -> Self {
        Self(self.0 / f64::from(weight.as_u32()))
    }
}

impl FromStr for Load {
    type Err = Error;

    /// Reads a decimal number, with white space around it or without. Fails with [`Error::Load`] on
    /// anything else.
    fn from_str(text: &str) -> Result<Self, Error> {
        let load = text.trim().parse().ok().and_then(|load| Self::new(load).ok());
        load.ok_or_else(|| Error::Load { load: text.to_owned() })
    }
}

/// Strength and time with which weights follow loads.
///
/// ```
/// use std::time::Duration;
/// use onionweave_assign::{Damping, Error};
///
/// assert_eq!(Damping::new(0.75, Duration::from_secs(300)), Ok(Damping::default()));
/// assert!(matches!(Damping::new(1.0, Duration::ZERO), Err(Error::Strength { .. })));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Damping {
    /// 0 <= `strength` < 1.
    strength: f64,
    time: Duration,
}

impl Damping {
    /// Returns the damping of a strength, from 0 to less than 1, and of a time.
    ///
    /// In the end, an instance with twice the load of the others has 2<sup>strength</sup> times
    /// less weight. As long as loads stay as they are, weights come nearer to that by 1 − 1/e,
    /// about five eighths, in the given time.
    ///
    /// Fails with [`Error::Strength`] unless 0 ≤ strength < 1: from 1 on, weights might swing for
    /// ever.
    pub fn new(strength: f64, time: Duration) -> Result<Self, Error> {
        if (0.0..1.0).contains(&strength) {
            Ok(Self { strength, time })
        } else {
            Err(Error::Strength { strength })
        }
    }

    /// Returns the strength with which weights follow loads: from 0 to less than 1.
    pub const fn strength(self) -> f64 {
        self.strength
    }

    /// Returns the time in which weights come five eighths nearer to their final values.
    pub const fn time(self) -> Duration {
        self.time
    }
}

impl Default for Damping {
    /// A strength of three quarters, and five minutes: clients that have a descriptor keep it, so a
    /// load follows a share late.
    fn default() -> Self {
        Self {
            strength: 0.75,
            time: Duration::from_secs(300),
        }
    }
}

/// Facts about an instance for which a weight is sought.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Measured<I> {
    /// Its name, unlike that of any other instance.
    pub id: I,
    /// Its weight if loads did not matter: what it can bear, compared with the others.
    pub weight: Weight,
    /// Its load now; `None` if it could not be measured. Then its weight goes back to that of an
    /// instance with a load like the others'.
    pub load: Option<Load>,
}

impl<I> Measured<I> {
    /// An instance with this weight and this load.
    pub const fn new(id: I, weight: Weight, load: Option<Load>) -> Self {
        Self { id, weight, load }
    }
}

/// Gives weights that lean away from loads.
///
/// It reads no clock: each measurement comes with the time that passed since the one before. For
/// every instance it keeps a correction, the logarithm of the factor by which its weight is
/// changed. Let z be the loads' logarithms, of which those more than ln 16 below the largest are
/// lifted to that, and z̄ their mean. After the time t a correction x becomes
///
/// ```text
/// a · x  −  (1 − a) · strength · (z − z̄)        where a = exp(−t / time).
/// ```
///
/// **It settles.** If loads stay as they are, x goes to −strength · (z − z̄), and stays. If each
/// instance serves what it is given, loads follow shares, and z follows x: a change of x comes back
/// as the same change of z, some time later. Measure the distance of corrections from those that
/// would stay by the largest difference between two of them, e. Consider a step after which loads
/// tell of shares d steps ago, when that distance was e<sub>d</sub>. In this step, e becomes at
/// most a · e + (1 − a) · strength · e<sub>d</sub>. Lifting the smallest loads only brings them
/// closer. Since strength < 1, the largest e of d + 1 successive steps shrinks in the next d + 1.
/// It does so by the factor a + (1 − a) · strength or more, with any delay.
///
/// Where each instance serves s / c with a capacity c, loads are evened out in part. Shares settle
/// in proportion to (weight · c<sup>strength</sup>)<sup>1 / (1 + strength)</sup>. Configured
/// weights should say what is known of capacities.
///
/// **It is bounded.** The ratio of two instances' weights differs from the configured one by no
/// more than a factor of 16<sup>strength</sup>, eight by default. No weight is zero, so no load
/// takes an instance out of a plan, let alone empties a slot.
///
/// **It is calm.** Weights are given anew only when a share would change by more than 1/120, and no
/// more than once in `time`. That bounds their cost in uploads, even where loads jump. Weights that
/// are kept for so long are a delay like any other, so they still settle. Only when an instance
/// came, went or was configured differently are they given at once.
///
/// ```
/// use std::time::Duration;
/// use onionweave_assign::{Balance, Damping, Load, Measured, Weight};
///
/// let mut balance = Balance::new(Damping::default());
/// let measured = [("a", 0.9), ("b", 0.3)]
///     .map(|(id, load)| Ok(Measured::new(id, Weight::ONE, Some(Load::new(load)?))));
/// let measured = measured.into_iter().collect::<Result<Vec<_>, onionweave_assign::Error>>()?;
/// for _ in 0..100 {
///     balance.weigh(&measured, Duration::from_secs(60));
/// }
/// let ratio = |weights: &std::collections::BTreeMap<_, Weight>| f64::from(weights["b"].as_u32()) / f64::from(weights["a"].as_u32());
/// let settled = ratio(balance.weights());
/// assert!((settled - 3_f64.powf(0.75)).abs() < 0.1, "{settled}");
/// # Ok::<(), onionweave_assign::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Balance<I> {
    damping: Damping,
    corrections: BTreeMap<I, f64>,
    /// Configured weights from which `weights` were made.
    configured: BTreeMap<I, Weight>,
    weights: BTreeMap<I, Weight>,
    /// Time since they were given.
    kept: Duration,
}

impl<I: Ord + Clone> Balance<I> {
    /// Nobody's load is known yet.
    pub const fn new(damping: Damping) -> Self {
        Self {
            damping,
            corrections: BTreeMap::new(),
            configured: BTreeMap::new(),
            weights: BTreeMap::new(),
            kept: Duration::ZERO,
        }
    }

    /// Follows loads otherwise from now on.
    pub const fn set_damping(&mut self, damping: Damping) {
        self.damping = damping;
    }

    /// The weights that were last given.
    pub const fn weights(&self) -> &BTreeMap<I, Weight> {
        &self.weights
    }

    /// Gives everyone who is named a weight, `elapsed` after the last time. Who is not named any
    /// more is forgotten; of two of one name the last counts. Returns whether the weights are
    /// others than before.
    pub fn weigh(&mut self, measured: &[Measured<I>], elapsed: Duration) -> bool {
        let measured: BTreeMap<&I, &Measured<I>> = measured.iter().map(|measured| (&measured.id, measured)).collect();
        let lean = self.lean(&measured);
        let kept = match elapsed.as_secs_f64() / self.damping.time.as_secs_f64() {
            // Both are zero: no time has passed.
            ratio if ratio.is_nan() => 1.0,
            ratio => (-ratio).exp(),
        };
        self.corrections = measured
            .keys()
            .map(|&id| {
                let correction = self.corrections.get(id).copied().unwrap_or(0.0);
                let lean = lean.get(id).copied().unwrap_or(0.0);
                (id.clone(), kept * correction + (1.0 - kept) * lean)
            })
            .collect();

        let configured: BTreeMap<I, Weight> = measured.values().map(|m| (m.id.clone(), m.weight)).collect();
        let weights = self.corrected(&configured);
        self.kept = self.kept.saturating_add(elapsed);
        let is_too_soon = self.kept < self.damping.time;
        if configured == self.configured && (is_too_soon || largest_change(&self.weights, &weights) <= CALM) {
            return false;
        }
        self.kept = Duration::ZERO;
        self.configured = configured;
        let differ = self.weights != weights;
        self.weights = weights;
        differ
    }

    /// Returns the corrections at which weights would settle if loads stayed as they are.
    fn lean<'a>(&self, measured: &BTreeMap<&'a I, &Measured<I>>) -> BTreeMap<&'a I, f64> {
        let loads = measured.iter().filter_map(|(&id, m)| Some((id, m.load?.0)));
        let largest = loads.clone().map(|(_, load)| load).fold(0.0, f64::max);
        if largest == 0.0 {
            return BTreeMap::new();
        }
        // Divided by the largest, so that what is lifted cannot be too small for its logarithm.
        let mut leans: BTreeMap<_, f64> = loads
            .map(|(id, load)| (id, (load / largest).max(1.0 / SPAN).ln()))
            .collect();
        let mean = leans.values().sum::<f64>() / leans.len() as f64;
        for lean in leans.values_mut() {
            *lean = -self.damping.strength * (*lean - mean);
        }
        leans
    }

    fn corrected(&self, configured: &BTreeMap<I, Weight>) -> BTreeMap<I, Weight> {
        let raw = |(id, weight): (&I, &Weight)| {
            let correction = self.corrections.get(id).copied().unwrap_or(0.0);
            f64::from(weight.as_u32()) * correction.exp()
        };
        let largest = configured.iter().map(raw).fold(0.0, f64::max);
        let weight = |entry: (&I, &Weight)| {
            let scaled = (raw(entry) / largest * LARGEST).round() as u32;
            (entry.0.clone(), Weight::try_from(scaled).unwrap_or_default())
        };
        configured.iter().map(weight).collect()
    }
}

/// By how much the share of anybody changes.
fn largest_change<I: Ord>(before: &BTreeMap<I, Weight>, after: &BTreeMap<I, Weight>) -> f64 {
    let total = |weights: &BTreeMap<I, Weight>| weights.values().map(|w| f64::from(w.as_u32())).sum::<f64>();
    let (total_before, total_after) = (total(before), total(after));
    let share = |id: &I| {
        before
            .get(id)
            .map_or(0.0, |weight| f64::from(weight.as_u32()) / total_before)
    };
    after
        .iter()
        .map(|(id, weight)| (f64::from(weight.as_u32()) / total_after - share(id)).abs())
        .fold(0.0, f64::max)
}
