//! Figures and single incidents of a run, as `docs/faults.json` keeps them.
//!
//! The report is written from this file alone, so that it can be written again without a run.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::record::{Cause, Episode, Rate, Visit};
use super::timing::Timing;

/// Everything that a run found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Findings {
    /// Place and manner of the measurement, one sentence or more each.
    pub(crate) conditions: Vec<String>,
    /// Faults while clients came at a steady rate.
    pub(crate) faults: Vec<Finding>,
    /// Faults while all clients came within one second.
    pub(crate) moments: Vec<Finding>,
    pub(crate) timings: Vec<Timing>,
}

/// Figures of one fault, and the requests that need an explanation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// The fault in words.
    pub(crate) fault: String,
    /// Whether the fault is left out of the sum of all faults.
    pub(crate) extreme: bool,
    /// All requests.
    pub(crate) requests: Rate,
    /// Requests that began while the fault lasted; `None` where all clients came in its second.
    pub(crate) meanwhile: Option<Rate>,
    /// Longest time, in seconds, in which every new client failed.
    pub(crate) longest_gap: Option<f64>,
    /// Time, in seconds from the fault, until the publisher had proved every directory clean.
    pub(crate) clean: Option<f64>,
    /// Time, in seconds from the repair, until the publisher had proved the slots regained.
    pub(crate) regained: Option<f64>,
    /// Median and longest time, in seconds, of the answered requests.
    pub(crate) took: Option<(f64, f64)>,
    /// Requests that failed.
    pub(crate) failed: Vec<Incident>,
    /// Requests that were answered late.
    pub(crate) late: Vec<Incident>,
    /// Lines that the publisher logged, with seconds from the fault.
    pub(crate) log: Vec<String>,
    pub(crate) notes: Vec<String>,
}

/// A request, with its explanation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Incident {
    /// Time, in seconds from the fault, at which the request began.
    pub(crate) at: f64,
    /// Name of the client; `None` in reports of old that did not keep it.
    pub(crate) client: Option<String>,
    pub(crate) cause: Cause,
    /// The answer or the failure, in words.
    pub(crate) outcome: String,
    /// Events of the client's Tor.
    pub(crate) evidence: String,
}

impl Findings {
    pub(crate) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        serde_json::from_str(&text).with_context(|| file.display().to_string())
    }

    pub(crate) fn write(&self, file: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(file, text).with_context(|| file.display().to_string())
    }

    /// Returns the rate over all faults but the extreme ones.
    pub(crate) fn total(&self) -> Rate {
        let usual = self.faults.iter().filter(|finding| !finding.extreme);
        usual.fold(Rate::default(), |sum, finding| sum + finding.requests)
    }
}

impl Finding {
    /// Returns the findings of an episode with a steady rate of requests.
    pub(crate) fn of_fault(episode: &Episode) -> Self {
        Self {
            meanwhile: Some(episode.rate_meanwhile()),
            longest_gap: Some(rounded(episode.longest_gap())),
            ..Self::of_moment(episode)
        }
    }

    /// Returns the findings of an episode in whose second all clients came.
    pub(crate) fn of_moment(episode: &Episode) -> Self {
        let incident = |visit: &Visit| Incident::of(episode, visit);
        Self {
            fault: episode.title.clone(),
            extreme: episode.extreme,
            requests: episode.rate(),
            meanwhile: None,
            longest_gap: None,
            clean: episode.clean.map(rounded),
            regained: episode.regained.map(rounded),
            took: episode
                .times()
                .map(|(median, longest)| (rounded(median), rounded(longest))),
            failed: episode.misses().map(incident).collect(),
            late: episode.slow().map(incident).collect(),
            log: episode.said.clone(),
            notes: episode.notes.clone(),
        }
    }
}

impl Incident {
    pub(crate) fn of(episode: &Episode, visit: &Visit) -> Self {
        let explanation = episode.explain(visit);
        Self {
            at: rounded(visit.at - episode.hit),
            client: Some(visit.client.clone()),
            cause: explanation.cause,
            outcome: match &visit.answer {
                Ok(instance) => format!("{instance} answered after {:.1} s", visit.took),
                Err(error) => error.lines().next().unwrap_or_default().to_owned(),
            },
            evidence: explanation.evidence,
        }
    }
}

/// Rounds a time to milliseconds, which is all that the clock of a busy machine is good for.
fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program;

    /// The kept figures can be read, and the kept report is the one that comes of them.
    #[test]
    fn kept_report_is_written_from_the_kept_figures() {
        let docs = program::root().join("docs");
        let findings = Findings::read(&docs.join("faults.json")).unwrap();
        for finding in findings.faults.iter().chain(&findings.moments) {
            let failed = finding.requests.tried - finding.requests.reached;
            assert_eq!(finding.failed.len(), failed, "{}", finding.fault);
        }
        let report = fs::read_to_string(docs.join("faults.md")).unwrap();
        assert_eq!(super::super::report::markdown(&findings), report);
    }
}
