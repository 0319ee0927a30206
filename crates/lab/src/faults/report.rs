//! The tables: to the terminal, and as a file with a picture beside it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread::available_parallelism;

use anyhow::Context as _;
use onionweave_testnet::Network;

use super::picture;
use super::record::{Episode, Rate, SLOW, Visit};
use super::timing::Timing;
use super::{Window, fleet};
use crate::screen::{Screen, bad, good};

/// What part of new clients shall reach the service.
const SUCCESS_AIM: f64 = 0.99;
/// How much of the publisher's log is quoted for each fault.
const LOG_LINES: usize = 20;

/// How busy the machine was, as Linux tells it: processes that run or want to, on average over one, five and fifteen minutes.
#[derive(Clone, Debug)]
pub(crate) struct Load(String);

impl Load {
    pub(crate) fn now() -> Self {
        let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self(text.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
    }
}

/// Returns the name that the processor gives itself.
fn processor() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let model = fields.find(|(name, _)| name.trim_end() == "model name");
    model
        .map_or("an unknown processor", |(_, model)| model.trim())
        .to_owned()
}

/// Where and how it was measured.
pub(crate) struct Conditions(Vec<String>);

impl Conditions {
    pub(crate) fn new(network: &Network, before: Load, clients: usize, window: Window) -> Self {
        let processor = processor();
        let cores = available_parallelism().map_or(1, usize::from);
        Self(vec![
            format!(
                "A private network of tor {}: {} authorities and {} more relays on loopback, all of them directories of onion services. \
                 Clients and instances keep their circuits off the six directories of the service (`ExcludeNodes`), as chance does among \
                 thousands of relays; otherwise the death of a directory would also be the death of many circuits.",
                network.tor().version(),
                network.authorities().len(),
                network.relays().len()
            ),
            format!("Three quiet instances *a*, *b*, *c* with one key; the policy `mixed`, which gives each directory the points of one instance; the \
             publisher as a process of its own (`examples/publisher.rs`, a release build) with an uploading Tor and otherwise its defaults, \
             and without restart commands. Backends are checked over HTTP (`{}`).", fleet::CHECK),
            format!(
                "{clients} clients in turn, {:.1} requests a second: for {} s before the fault, {} s while it lasts, and {} s after it was undone, for which all requests on their way are \
                 waited for, so that nobody is saved by it. \
                 Each client forgets everything it knew of the service before each request (`SIGNAL NEWNYM`: its descriptors, its failed introduction \
                 points, and which directories it asked, `feature/rend/rendclient.c:57-63`), and each request has circuits of its own. Tor's own \
                 limit of two minutes (`SocksTimeout`) is what makes a request fail that gets no answer.",
                1.0 / window.every.as_secs_f64(),
                window.before.as_secs(),
                window.during.as_secs(),
                window.after.as_secs(),
            ),
            "A client's Tor that has drawn a dead directory insists on it, and tries others only after `TestingDirConnectionMaxStall` \
             (`core/mainloop/mainloop.c:1180-1190`): 30 s in a private network, five minutes on the public one, where `SocksTimeout` comes first. Nothing that a \
             publisher does can change that."
                .to_owned(),
            "In the private network Tor publishes, and thus offers, new introduction points 5 s after they stand instead of 30 s; \
             authorities go on listing dead relays for 45 minutes, as on the public one."
                .to_owned(),
            format!("{processor}, {cores} cores; load averages before the clients started: {}, at the end: {}.", before.0, Load::now().0),
        ])
    }
}

/// All that came out.
pub(crate) struct Report {
    pub(crate) conditions: Conditions,
    pub(crate) episodes: Vec<Episode>,
    /// Faults in whose very second all clients came.
    pub(crate) moments: Vec<Episode>,
    pub(crate) timings: Vec<Timing>,
}

/// Shows a fault as soon as it is over.
pub(crate) fn show_episode(screen: &Screen, episode: &Episode) {
    let rate = episode.rate();
    let mark = if rate.tried == rate.reached {
        good("✓")
    } else {
        bad("✗")
    };
    let [_, _, _, gap, clean, regained, _] = cells(episode);
    screen.event(&format!(
        "{mark} {}: {} of {} requests reached an instance, longest gap {gap}; proved clean {clean}, slots regained {regained}",
        episode.title, rate.reached, rate.tried
    ));
    for visit in episode.misses() {
        let explanation = episode.explain(visit);
        screen.line(&format!(
            "          {} {:+.1} s, {}: {} — {}",
            bad("✗"),
            visit.at - episode.hit,
            visit.client,
            visit.answer.as_ref().err().map_or("", |error| first_line(error)),
            explanation.cause
        ));
    }
}

impl Report {
    fn all(&self) -> impl Iterator<Item = &Episode> {
        self.episodes.iter().chain(&self.moments)
    }

    /// Of all faults but the extreme ones.
    fn total(&self) -> Rate {
        let usual = self.episodes.iter().filter(|episode| !episode.extreme);
        usual.map(Episode::rate).fold(Rate::default(), |sum, rate| sum + rate)
    }

    pub(crate) fn show(&self, screen: &Screen) {
        screen.heading("What came out");
        let head = [
            "fault",
            "requests reached an instance",
            "meanwhile",
            "longest gap",
            "proved clean",
            "slots regained",
            "took",
        ];
        let rows = self.episodes.iter().map(|episode| {
            let mut row = vec![episode.title.clone()];
            row.extend(cells(episode).into_iter().skip(1));
            row
        });
        screen.table(&head, &rows.collect::<Vec<_>>());
        let total = self.total();
        screen.event(&format!(
            "{} of {} requests reached an instance: {}",
            total.reached,
            total.tried,
            percent(total)
        ));
        for timing in &self.timings {
            let mark = if timing.is_reached() { good("✓") } else { bad("✗") };
            screen.event(&format!(
                "{mark} {}: {}; aim: {}",
                timing.what,
                figures(timing),
                aim(timing)
            ));
        }
    }

    /// Writes the report, and the picture beside it.
    pub(crate) fn write(&self, file: &Path) -> anyhow::Result<()> {
        let picture = file.with_extension("svg");
        let name = picture
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        for (path, text) in [(file, self.markdown(&name)), (&picture, picture::draw(&self.episodes))] {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
            }
            fs::write(path, text).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    fn markdown(&self, picture: &str) -> String {
        let mut text = String::from(
            "# Faults\n\nWhat a new client notices of everything that can be broken here. Written by `cargo xtask faults`.\n",
        );
        let total = self.total();
        let _ = writeln!(
            text,
            "\n{} of {} requests by clients with fresh identities reached an instance: **{}**; the aim is at least {:.0} %. *All but one instance and directory killed* is not \
             in this sum: it is the limit, and what clients meet there is Tor's own doing.\n\n\
             ![Each request as a dot along time, for each fault]({picture})\n",
            total.reached,
            total.tried,
            percent(total),
            SUCCESS_AIM * 100.0
        );
        text.push_str(
            "| fault | requests that reached an instance | of those while it lasted | longest gap | proved clean after | slots regained after | an answer took |\n\
             | --- | --- | --- | --- | --- | --- | --- |\n",
        );
        for episode in &self.episodes {
            let _ = writeln!(text, "| {} |", cells(episode).join(" | "));
        }
        text.push_str(
            "\n*Longest gap*: the longest time in which every new client failed, from the first such request to the next that was answered; one request that fails \
             alone makes half a second. *Proved clean*: from the fault to the publisher's proof, by reading back, that no directory hands out what is broken. \
             *Slots regained*: from the moment in which what was broken offers introduction points again, or its backend is back, to the proof that its directories hand them out. \
             *An answer took*: median and maximum.\n",
        );
        self.write_moments(&mut text);
        self.write_timings(&mut text);
        self.write_misses(&mut text);
        self.write_said(&mut text);
        text.push_str("\n## Conditions\n\n");
        for condition in &self.conditions.0 {
            let _ = writeln!(text, "- {condition}");
        }
        text
    }

    fn write_moments(&self, text: &mut String) {
        if self.moments.is_empty() {
            return;
        }
        text.push_str(
            "\n## All clients in the very second\n\nAll clients come within one second, and the fault happens a quarter into it: the worst that can be met. \
             It is undone when all have ended.\n\n\
             | fault | requests that reached an instance | proved clean after | an answer took | answers after more than 10 s |\n\
             | --- | --- | --- | --- | --- |\n",
        );
        for episode in &self.moments {
            let [title, reached, _, _, clean, _, took] = cells(episode);
            let _ = writeln!(
                text,
                "| {title} | {reached} | {clean} | {took} | {} |",
                episode.slow().count()
            );
        }
    }

    fn write_timings(&self, text: &mut String) {
        if self.timings.is_empty() {
            return;
        }
        text.push_str(
            "\n## Repeated, without visitors\n\n| what | here | aim | elsewhere |\n| --- | --- | --- | --- |\n",
        );
        for timing in &self.timings {
            let reached = if timing.is_reached() {
                "reached"
            } else {
                "**not reached**"
            };
            let _ = writeln!(
                text,
                "| {} | {} | {}: {reached} | {} |",
                timing.what,
                figures(timing),
                aim(timing),
                timing.peers
            );
        }
        text.push_str("\nThe single times, in seconds:\n\n");
        for timing in &self.timings {
            let times: Vec<_> = timing
                .measured
                .iter()
                .map(|time| time.map_or_else(|| "never".to_owned(), |time| format!("{time:.2}")))
                .collect();
            let _ = write!(text, "- {}: {}", timing.what, times.join(", "));
            if let Some((clean, of)) = timing.confirmed {
                let _ = write!(
                    text,
                    "; an independent Tor then found every directory clean {clean} of {of} times"
                );
            }
            text.push('\n');
        }
    }

    /// Every request that failed, and why.
    fn write_misses(&self, text: &mut String) {
        text.push_str("\n## Every request that failed\n\n");
        let misses = self
            .all()
            .flat_map(|episode| episode.misses().map(move |visit| (episode, visit)));
        write_explained(text, misses);
        let _ = writeln!(
            text,
            "\n## Every request that was answered only after more than {SLOW} s\n"
        );
        let slow = self
            .all()
            .flat_map(|episode| episode.slow().map(move |visit| (episode, visit)));
        write_explained(text, slow);
    }

    /// What the publisher said about each fault.
    fn write_said(&self, text: &mut String) {
        text.push_str("\n## What the publisher logged\n\nTimes are seconds from the fault; `…` is the network's folder, or the rest of a fingerprint.\n");
        for episode in &self.episodes {
            let _ = writeln!(text, "\n{}:\n\n```text", episode.title);
            for line in episode.said.iter().take(LOG_LINES) {
                let _ = writeln!(text, "{line}");
            }
            if let Some(more) = episode.said.len().checked_sub(LOG_LINES).filter(|&more| more > 0) {
                let _ = writeln!(text, "… {more} more lines");
            }
            text.push_str("```\n");
            for note in &episode.notes {
                let _ = writeln!(text, "\n{note}");
            }
        }
    }
}

fn write_explained<'a>(text: &mut String, visits: impl Iterator<Item = (&'a Episode, &'a Visit)>) {
    let mut none = true;
    for (episode, visit) in visits {
        none = false;
        let explanation = episode.explain(visit);
        let said = match &visit.answer {
            Ok(instance) => format!("{instance} answered after {:.1} s", visit.took),
            Err(error) => first_line(error).to_owned(),
        };
        let _ = writeln!(
            text,
            "- **{}**, {:+.1} s from the fault: {}. {said}. What its Tor told: {}.",
            episode.title,
            visit.at - episode.hit,
            explanation.cause,
            explanation.evidence
        );
    }
    if none {
        text.push_str("None.\n");
    }
}

fn cells(episode: &Episode) -> [String; 7] {
    let seconds = |time: Option<f64>| time.map_or_else(|| "–".to_owned(), |time| format!("{time:.2} s"));
    let (rate, meanwhile) = (episode.rate(), episode.rate_meanwhile());
    let times = episode.times();
    [
        episode.title.clone(),
        format!("{} of {}", rate.reached, rate.tried),
        format!("{} of {}", meanwhile.reached, meanwhile.tried),
        format!("{:.1} s", episode.longest_gap()),
        seconds(episode.clean),
        seconds(episode.regained),
        times.map_or_else(
            || "–".to_owned(),
            |(median, maximum)| format!("{median:.1} s, {maximum:.1} s"),
        ),
    ]
}

fn percent(rate: Rate) -> String {
    format!("{:.2} %", rate.part() * 100.0)
}

fn figures(timing: &Timing) -> String {
    let count = timing.measured.len();
    match timing.figures() {
        Some((median, maximum)) => format!("median {median:.2} s, maximum {maximum:.2} s of {count}"),
        None => {
            let never = timing.measured.iter().filter(|time| time.is_none()).count();
            format!("{never} of {count} times not in time")
        }
    }
}

fn aim(timing: &Timing) -> String {
    let parts = [("median", timing.median_aim), ("maximum", timing.maximum_aim)];
    let parts = parts
        .into_iter()
        .filter_map(|(what, aim)| Some(format!("{what} at most {} s", aim?)));
    parts.collect::<Vec<_>>().join(", ")
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
