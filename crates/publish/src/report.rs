//! Reports to the operator.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use onionweave_assign::Weight;
use onionweave_ring::UnixTime;

use crate::version::Unfit;
use crate::{Down, InstanceName, Period, PlanError, SlotId};

/// The reason for which slots had to be written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Cause {
    /// The publisher started and knows of no text of its own on the ring.
    Started,
    /// An instance began to offer introduction points.
    Joined(InstanceName),
    /// An instance went down.
    Left(InstanceName),
    /// A health check took an instance out of the plan.
    Unfit(InstanceName),
    /// A health check put an instance back into the plan.
    Fit(InstanceName),
    /// An instance offers other introduction points than before.
    PointsChanged(InstanceName),
    /// An instance built its descriptor anew with the same points: only the bytes change.
    Rebuilt(InstanceName),
    /// An instance published by itself over the mix.
    Published(InstanceName),
    /// Somebody else's text was found where ours had been proved.
    Overwritten,
    /// A directory accepted an upload and yet holds something else, or nothing.
    Dropped,
    /// An upload failed or got no answer.
    Failed,
    /// The responsible directories changed.
    DirectoriesMoved,
    /// A time period came into use, or its overlap hour began.
    PeriodBegan,
    /// The publication time moved on: all slots move together.
    TimeMoved,
    /// Weights follow the loads of instances.
    Weighed,
    /// The configuration changed.
    Configured,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => write!(f, "started"),
            Self::Joined(name) => write!(f, "{name} joined"),
            Self::Left(name) => write!(f, "{name} left"),
            Self::Unfit(name) => write!(f, "{name} is unfit"),
            Self::Fit(name) => write!(f, "{name} is fit again"),
            Self::PointsChanged(name) => write!(f, "{name} changed its introduction points"),
            Self::Rebuilt(name) => write!(f, "{name} rebuilt its descriptor"),
            Self::Published(name) => write!(f, "{name} published by itself"),
            Self::Overwritten => write!(f, "overwritten by somebody else"),
            Self::Dropped => write!(f, "accepted but not kept"),
            Self::Failed => write!(f, "upload failed"),
            Self::DirectoriesMoved => write!(f, "directories changed"),
            Self::PeriodBegan => write!(f, "time period began"),
            Self::TimeMoved => write!(f, "publication time moved"),
            Self::Weighed => write!(f, "weights follow loads"),
            Self::Configured => write!(f, "configuration changed"),
        }
    }
}

/// News for the operator. Its `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Report {
    /// A round of work ended: every directory that answers was read back and holds what the plan
    /// gave it.
    Proved(Round),
    /// An instance's control connection stands.
    Up(InstanceName),
    /// An instance is down.
    Down(InstanceName, Down),
    /// An instance now offers this many introduction points.
    Offers(InstanceName, usize),
    /// A health check found that an instance cannot serve, for this reason.
    Unfit(InstanceName, String),
    /// A health check found that an instance can serve again.
    Fit(InstanceName),
    /// The instances' weights, as their loads have them now.
    Weighed(BTreeMap<InstanceName, Weight>),
    /// The descriptor of an instance cannot be used.
    #[non_exhaustive]
    Unusable {
        /// Name of the instance.
        instance: InstanceName,
        /// The reason.
        why: Unfit,
    },
    /// A policy's plan is refused. The last plan stays.
    #[non_exhaustive]
    PlanRefused {
        /// The time period that the plan is for.
        period: Period,
        /// The policy's name.
        policy: String,
        /// The reason.
        why: PlanError,
    },
    /// An instance publishes by itself although it is expected to be quiet.
    Loud(InstanceName),
    /// No instance offers introduction points. The last descriptors stay where they are.
    NobodyLeft,
    /// A slot could not be written or read; it is tried again after the pause.
    #[non_exhaustive]
    Trouble {
        /// The slot.
        slot: SlotId,
        /// The reason.
        why: String,
        /// Number of failures in a row.
        failures: u32,
        /// Time until the next try.
        pause: Duration,
    },
    /// Somebody else writes to our slot: a second publisher, or an instance that this one does not
    /// know.
    #[non_exhaustive]
    Contested {
        /// The slot.
        slot: SlotId,
        /// Time for which the slot is left alone, so that two publishers don't outbid each other
        /// without end.
        pause: Duration,
    },
    /// A directory holds a text of this service dated in the future. Directories keep the newest,
    /// so ours is not kept until then.
    #[non_exhaustive]
    DatedAhead {
        /// The slot.
        slot: SlotId,
        /// The date of that text.
        until: UnixTime,
    },
    /// Fewer directories than three per replica are responsible, or none at all.
    FewDirectories(usize),
    /// An instance has just dated its descriptor, and not with the present hour: its clock or ours
    /// is off.
    ///
    /// Points are used all the same. But time periods change by the clock, and directories keep
    /// what is dated newest.
    #[non_exhaustive]
    ClocksDiffer {
        /// Name of the instance.
        instance: InstanceName,
        /// The hour that the instance wrote.
        theirs: UnixTime,
        /// The time on the clock here.
        ours: UnixTime,
    },
    /// The consensus and this machine's clock don't fit.
    #[non_exhaustive]
    ClockOff {
        /// The time on the clock here.
        now: UnixTime,
        /// Begin of the time during which the consensus is valid.
        valid_after: UnixTime,
        /// End of that time.
        valid_until: UnixTime,
    },
}

impl Report {
    /// Whether the report wants an operator's attention.
    pub fn is_warning(&self) -> bool {
        !matches!(
            self,
            Self::Proved(_) | Self::Up(_) | Self::Offers(..) | Self::Fit(_) | Self::Weighed(_)
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proved(round) => round.fmt(f),
            Self::Up(name) => write!(f, "{name}: connected"),
            Self::Down(name, why) => write!(f, "{name}: down ({why})"),
            Self::Offers(name, points) => write!(f, "{name}: offers {points} introduction points"),
            Self::Unfit(name, why) => write!(f, "{name}: unfit to serve ({why})"),
            Self::Fit(name) => write!(f, "{name}: fit to serve again"),
            Self::Weighed(weights) => {
                let total: f64 = weights.values().map(|weight| f64::from(weight.as_u32())).sum();
                write!(f, "shares that follow loads:")?;
                for (name, weight) in weights {
                    write!(f, " {name} {:.1} %", f64::from(weight.as_u32()) / total * 100.0)?;
                }
                Ok(())
            }
            Self::Unusable { instance, why } => write!(f, "{instance}: its descriptor cannot be used: {why}"),
            Self::PlanRefused { period, policy, why } => write!(
                f,
                "period {period}: the plan of the policy {policy} is refused, and the last one stays: {why}"
            ),
            Self::Loud(name) => write!(
                f,
                "{name}: publishes by itself although `quiet = true`; set PublishHidServDescriptors 0 there, or `quiet = false` here"
            ),
            Self::NobodyLeft => {
                write!(
                    f,
                    "no instance offers introduction points; the directories keep what they have"
                )
            }
            Self::Trouble {
                slot,
                why,
                failures,
                pause,
            } => {
                write!(f, "slot {slot}: {why} (failure {failures} in a row, again ")?;
                match pause.is_zero() {
                    // Meanwhile it is to hold something else, which was not tried yet.
                    true => write!(f, "at once, with a newer text)"),
                    false => write!(f, "in {} ms)", pause.as_millis()),
                }
            }
            Self::Contested { slot, pause } => write!(
                f,
                "slot {slot}: somebody else keeps writing here (a second publisher?); again in {} ms",
                pause.as_millis()
            ),
            Self::DatedAhead { slot, until } => write!(
                f,
                "slot {slot}: holds a descriptor dated {until}, in the future; ours is not kept before that"
            ),
            Self::FewDirectories(count) => write!(
                f,
                "only {count} directories stand on the ring; six slots want at least three"
            ),
            Self::ClocksDiffer { instance, theirs, ours } => write!(
                f,
                "{instance}: has just dated its descriptor {theirs}, while the clock here shows {ours}: one of the two clocks is off"
            ),
            Self::ClockOff {
                now,
                valid_after,
                valid_until,
            } => write!(
                f,
                "the clock shows {now}, but the consensus is valid from {valid_after} to {valid_until}: clock or consensus is off"
            ),
        }
    }
}

/// A round of work: from the first difference between the wanted and the seen ring to the proof
/// that there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub struct Round {
    /// The reasons for the work.
    pub causes: BTreeSet<Cause>,
    /// The slots that were written and then proved.
    pub proved: BTreeSet<SlotId>,
    /// The slots whose directories do not answer. They are tried on. Once proved, they are reported
    /// as a round of their own.
    pub missing: BTreeSet<SlotId>,
    /// Number of uploads that began since the round before ended.
    pub uploads: u32,
    /// Number of introduction points of each instance that the plan gives every slot at the end of
    /// the round, whether the round wrote it or not.
    #[cfg_attr(feature = "serde", serde(with = "crate::serialized::as_list"))]
    pub plan: BTreeMap<SlotId, BTreeMap<InstanceName, u32>>,
    /// Time from the first difference to the last proof.
    pub took: Duration,
    /// Whether the texts are sealed for authorized clients.
    ///
    /// Then proof is less than elsewhere: the directory accepted the text and holds one, but nobody
    /// without a client's cookie can read which.
    pub sealed: bool,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "proved {} slots in {} ms (",
            self.proved.len(),
            self.took.as_millis()
        )?;
        for (i, cause) in self.causes.iter().enumerate() {
            if i > 0 {
                write!(f, ", ")?;
            }
            write!(f, "{cause}")?;
        }
        write!(f, "{}:", if self.sealed { "; sealed)" } else { ")" })?;
        for slot in &self.proved {
            write!(f, " {slot}")?;
        }
        if !self.missing.is_empty() {
            write!(f, "; without answer:")?;
            for slot in &self.missing {
                write!(f, " {slot}")?;
            }
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "serde"))]
mod tests {
    use super::*;

    /// Operators' programs read reports as JSON. Each has its key, and comes back as it was.
    #[test]
    fn reports_are_written_as_json_and_read_again() {
        let directory = onionweave_ring::Fingerprint::from([7; 20]);
        let slot = SlotId {
            period: Period::new(16_770),
            replica: crate::ReplicaNumber::new(1),
            directory,
        };
        let (pause, time) = (Duration::from_millis(250), UnixTime::from_secs(1_795_349_239));
        let name = || "a".parse::<InstanceName>().unwrap();
        let weight = |weight| std::num::NonZeroU32::new(weight).map(Weight::from).unwrap();
        let weights = [(name(), weight(1)), ("b".parse().unwrap(), weight(3))];
        let why = PlanError::UnknownInstance { slot, instance: name() };
        let reports = [
            ("up", Report::Up(name())),
            ("down", Report::Down(name(), Down::Silent(pause))),
            ("offers", Report::Offers(name(), 3)),
            ("unfit", Report::Unfit(name(), "status 503".into())),
            ("fit", Report::Fit(name())),
            ("weighed", Report::Weighed(weights.into())),
            (
                "plan_refused",
                Report::PlanRefused {
                    period: slot.period,
                    policy: "own".into(),
                    why,
                },
            ),
            ("loud", Report::Loud(name())),
            ("nobody_left", Report::NobodyLeft),
            (
                "trouble",
                Report::Trouble {
                    slot,
                    why: "no answer".into(),
                    failures: 2,
                    pause,
                },
            ),
            ("contested", Report::Contested { slot, pause }),
            ("dated_ahead", Report::DatedAhead { slot, until: time }),
            ("few_directories", Report::FewDirectories(4)),
            (
                "clocks_differ",
                Report::ClocksDiffer {
                    instance: name(),
                    theirs: time,
                    ours: time,
                },
            ),
            (
                "clock_off",
                Report::ClockOff {
                    now: time,
                    valid_after: time,
                    valid_until: time,
                },
            ),
        ];
        for (key, report) in reports {
            let json = serde_json::to_string(&report).unwrap();
            assert!(json.contains(&format!("\"{key}\"")), "{json}");
            assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report, "{json}");
        }
    }
}
