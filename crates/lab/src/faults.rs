//! `cargo xtask faults`: everything that can be broken on a private Tor network is broken, while
//! new clients visit the service.

mod census;
mod conditions;
mod disk;
mod fault;
mod findings;
mod fleet;
mod forwarder;
mod picture;
mod pooled;
mod publisher;
mod record;
mod report;
mod timing;
mod visitors;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use clap::ValueEnum as _;
use console::style;
use onionweave_testnet::Network;
use tokio::time::sleep;

use census::{Asked, Census};
use fault::Fault;
use findings::{Finding, Findings};
use fleet::Fleet;
use pooled::Pooled;
use publisher::Said;
use record::Episode;
use visitors::Visitors;

use crate::program;
use crate::screen::{Screen, bad, good};
use crate::stage::{self, Reader};

/// Times of visits, and of the fault meanwhile.
///
/// It is undone when all have got their answers that visit the service while it lasts, so that
/// nobody is saved by that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// From one visit to the next.
    every: Duration,
    /// Times for which new visits begin before the fault, while it lasts, and after it was undone.
    before: Duration,
    during: Duration,
    after: Duration,
}

impl Window {
    /// At a steady rate, before, during and after.
    const STEADY: Self = Self {
        every: Duration::from_millis(500),
        before: Duration::from_secs(6),
        during: Duration::from_secs(15),
        after: Duration::from_secs(21),
    };
    /// All clients within the second in which it happens.
    const MOMENT: Self = Self {
        every: Duration::from_millis(1000 / CLIENTS as u64),
        before: Duration::from_millis(250),
        during: Duration::from_millis(750),
        after: Duration::ZERO,
    };
    /// To try it.
    const BRIEF: Self = Self {
        every: Duration::from_millis(500),
        before: Duration::from_secs(1),
        during: Duration::from_secs(4),
        after: Duration::from_secs(3),
    };
}

/// A client needs ten seconds for a fresh identity, and some for a visit; a hung instance holds a
/// few for two minutes.
const CLIENTS: usize = 26;
/// Number of times that all of them visit within the second of a fault.
const MOMENTS: usize = 3;
/// Number of clients where nothing is to be measured.
const FEW_CLIENTS: usize = 8;

/// Break everything that can break, and see what new clients notice of it.
///
/// Starts fifteen relays, three instances with one key, the publisher as a process with an
/// uploading Tor of its own, and clients, all of them real tor processes on 127.0.0.1. For each
/// fault, clients with fresh identities make two requests a second before it, while it lasts and
/// after it is undone. Counts the requests that reached an instance, measures the longest time in
/// which none did, and explains each that did not by what the client's Tor read and said. Then lets
/// all clients come in the very second of a fault, and repeats the faults that have aims.
///
/// Takes about 35 minutes. Writes docs/faults.md, its picture and its figures, docs/faults.json,
/// when all faults were done. The environment variable ONIONWEAVE_TOR names another tor,
/// ONIONWEAVE_KEEP keeps the network's folder.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these faults, and nothing repeated unless `--rounds` asks for them.
    #[arg(long, value_name = "NAME")]
    only: Vec<Fault>,

    /// List the faults and do nothing.
    #[arg(long)]
    list: bool,

    /// File for the report; its picture and its figures go beside it. By default docs/faults.md, or
    /// with --only or --brief nowhere.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Run nothing: write the report again from the figures in this file, such as
    /// docs/faults.json.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["only", "list", "rounds", "brief"])]
    from: Option<PathBuf>,

    /// Number of repetitions of the faults that have aims; by default 9, or with --only or --brief
    /// none.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=100))]
    rounds: Option<u16>,

    /// A few seconds and clients for each fault: to try whether everything runs, not to measure.
    #[arg(long)]
    brief: bool,
}

/// Plan of a run.
struct Plan<'a> {
    faults: &'a [Fault],
    rounds: u16,
    window: Window,
    clients: usize,
    /// The publisher.
    program: PathBuf,
    libfaketime: Option<PathBuf>,
    out: Option<PathBuf>,
}

/// Tells the time in seconds since the command began.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    start: SystemTime,
}

impl Clock {
    pub(crate) fn starting(start: SystemTime) -> Self {
        Self { start }
    }

    pub(crate) fn now(&self) -> f64 {
        self.of(SystemTime::now())
    }

    pub(crate) fn of(&self, time: SystemTime) -> f64 {
        match time.duration_since(self.start) {
            Ok(after) => after.as_secs_f64(),
            Err(before) => -before.duration().as_secs_f64(),
        }
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if args.list {
        for fault in Fault::all() {
            if let Some(value) = fault.to_possible_value() {
                let help = value.get_help().map(ToString::to_string).unwrap_or_default();
                println!("{:<30} {help}", value.get_name());
            }
        }
        return Ok(());
    }
    if let Some(file) = &args.from {
        let out = args.out.clone().unwrap_or_else(|| file.with_extension("md"));
        return report::write_report(&out, &Findings::read(file)?);
    }
    eprintln!("building the publisher");
    let program = program::build_publisher(!args.brief)?;
    let all = args.only.is_empty();
    let faults = if all { Fault::all() } else { &args.only };
    let libfaketime = faults.contains(&Fault::ClockAhead).then(fleet::libfaketime);
    let measured = all && !args.brief;
    let out = measured.then(|| program::root().join("docs").join("faults.md"));
    stage::play(story(Plan {
        faults,
        rounds: args.rounds.unwrap_or(if measured { 9 } else { 0 }),
        window: if args.brief { Window::BRIEF } else { Window::STEADY },
        clients: if args.brief { FEW_CLIENTS } else { CLIENTS },
        program,
        libfaketime: libfaketime.transpose()?,
        out: args.out.clone().or(out),
    }))
}

async fn story(plan: Plan<'_>) -> anyhow::Result<()> {
    let screen = Screen::new();
    let clock = Clock::starting(SystemTime::now());
    screen.line(
        &style("Onionweave: what new clients notice of every fault")
            .bold()
            .to_string(),
    );
    screen.heading("A private Tor network, a service on three instances, and its publisher");
    let network = stage::start_network(&screen, Network::builder().relays(fleet::RELAYS)).await?;
    let load = conditions::Load::now();
    let small_disk = plan.faults.contains(&Fault::StateFull);
    let (fleet, mut reader, visitors) = {
        let wait = screen.wait("three instances, the publisher and its Tor", "");
        let fleet = Fleet::start(
            network,
            plan.program.clone(),
            plan.libfaketime.as_deref(),
            small_disk,
            &clock,
        )
        .await?;
        let mut reader = fleet.reader().await?;
        wait.set("clients", "");
        let aside = fleet.aside();
        let clients = stage::start_clients(&fleet.network, plan.clients, Some(&aside), |_| {}).await?;
        let visitors = Visitors::new(clients, clock.clone()).await?;
        wait.set("all directories to hold the mix", "");
        fleet
            .settled(&mut reader, &clock)
            .await?
            .context("the publisher did not bring all instances onto the ring")?;
        (fleet, reader, visitors)
    };
    let census = Census::start(fleet.instances.iter().map(Asked::from), fleet.key.service_id(), &clock);
    let mut suite = Suite {
        screen: &screen,
        clock: &clock,
        fleet,
        visitors,
        census,
    };

    screen.heading("Faults");
    let mut episodes = Vec::new();
    for &fault in plan.faults {
        let episode = match fault {
            Fault::PooledKilled => suite.pooled_episode(plan.window, &plan.program).await?,
            fault => suite.episode(fault, plan.window, &mut reader).await?,
        };
        report::show_episode(&screen, &episode);
        episodes.push(episode);
    }
    let (mut moments, mut timings) = (Vec::new(), Vec::new());
    if plan.rounds > 0 {
        screen.heading("All clients within the second of a fault");
        for fault in [Fault::InstanceKilled, Fault::InstanceStopped, Fault::BackendGone] {
            for _ in 0..MOMENTS {
                suite.visitors.wait_until_fresh().await;
                let episode = suite.episode(fault, Window::MOMENT, &mut reader).await?;
                report::show_episode(&screen, &episode);
                moments.push(episode);
            }
        }
        screen.heading("Repeated");
        timings = timing::measure(&screen, &clock, &mut suite.fleet, &mut reader, plan.rounds).await?;
    }
    let findings = Findings {
        conditions: conditions::describe(&suite.fleet.network, &load, plan.clients, plan.window),
        faults: episodes.iter().map(Finding::of_fault).collect(),
        moments: moments.iter().map(Finding::of_moment).collect(),
        timings,
    };
    report::show(&screen, &findings);
    if let Some(out) = plan.out {
        report::write(&out, &findings, &episodes)?;
        screen.event(&format!("{} {}", good("✓"), out.display()));
    }
    Ok(())
}

/// Everything that runs while faults happen.
struct Suite<'a> {
    screen: &'a Screen,
    clock: &'a Clock,
    fleet: Fleet,
    visitors: Visitors,
    census: Census,
}

impl Suite<'_> {
    /// Makes a fault happen while clients visit the service.
    async fn episode(&mut self, fault: Fault, window: Window, reader: &mut Reader) -> anyhow::Result<Episode> {
        let wait = self.screen.wait(fault.title(), "");
        let from = self.clock.now();
        let progress =
            &|visits, missed: usize| wait.set(fault.title(), &format!("{visits} requests, {missed} in vain"));
        let onion = self.fleet.key.onion();
        let hitting = hit(fault, window.before, &mut self.fleet, self.clock);
        let visiting = self
            .visitors
            .visit(&onion, window.every, window.before + window.during, progress);
        let (hit, (mut visits, mut skipped)) = tokio::join!(hitting, visiting);
        let hit = hit?;
        let resumed = self.clock.now();
        let undone = if fault.undoes_itself() { hit } else { resumed };
        let undoing = fault.undo(&mut self.fleet);
        let visiting = self.visitors.visit(&onion, window.every, window.after, progress);
        let (done, (later, skipped_later)) = tokio::join!(undoing, visiting);
        done?;
        visits.extend(later);
        skipped += skipped_later;
        wait.set("everything to be as before", "");
        let settled = self.fleet.settled(reader, self.clock).await?;
        fault.clear(&mut self.fleet).await?;
        let said = self.fleet.publisher.said()?;
        let network = &self.fleet.network;
        let mut episode = Episode {
            title: fault.title().to_owned(),
            extreme: fault.is_extreme(),
            from,
            hit,
            paused: from + (window.before + window.during).as_secs_f64(),
            resumed,
            until: resumed + window.after.as_secs_f64(),
            undone: Some(undone),
            settled: settled.map(|at| at - hit),
            ailments: [
                fault.ailments(hit, Some(undone)),
                fault.dead_directories(&self.fleet, hit, undone),
            ]
            .concat(),
            visits: visits
                .into_iter()
                .map(|visit| visit.understood(network, &self.census))
                .collect(),
            skipped,
            ..Episode::default()
        };
        episode.visits.sort_by(|a, b| a.at.total_cmp(&b.at));
        hear(&mut episode, fault, &said, network.folder());
        if settled.is_none() {
            self.screen
                .event(&bad("not every directory holds the mix of all instances again"));
        }
        Ok(episode)
    }

    /// Kills an instance that the publisher runs itself, while clients visit that service.
    async fn pooled_episode(&mut self, window: Window, program: &Path) -> anyhow::Result<Episode> {
        let fault = Fault::PooledKilled;
        let wait = self
            .screen
            .wait("a pool of instances that the publisher runs itself", "");
        let network = &self.fleet.network;
        let pooled = Pooled::start(network, program, self.clock).await?;
        let mut reader = pooled.reader(network).await?;
        let serving = pooled.settled(&mut reader).await?;
        let victim = serving.first().copied().unwrap_or_default();
        let name = pooled::name(victim);
        let census = Census::start(pooled.asked(), pooled.key.service_id(), self.clock);

        let from = self.clock.now();
        let progress =
            &|visits, missed: usize| wait.set(fault.title(), &format!("{visits} requests, {missed} in vain"));
        let onion = pooled.key.onion();
        let visiting = async {
            let first = self
                .visitors
                .visit(&onion, window.every, window.before + window.during, progress)
                .await;
            let resumed = self.clock.now();
            (
                first,
                resumed,
                self.visitors.visit(&onion, window.every, window.after, progress).await,
            )
        };
        let script = async {
            sleep(window.before).await;
            let hit = self.clock.now();
            pooled.kill(victim).await.map(|()| hit)
        };
        let (hit, ((mut visits, skipped), resumed, (later, skipped_later))) = tokio::join!(script, visiting);
        let hit = hit?;
        visits.extend(later);
        wait.set("everything to be as before", "");
        pooled.settled(&mut reader).await?;
        let settled = self.clock.now();
        let said = pooled.publisher.said()?;
        let left = format!("{name} left");
        let clean = said
            .iter()
            .find(|said| said.at >= hit && said.is_proved(&left))
            .map(|said| said.at - hit);
        let spare = said
            .iter()
            .find(|said| said.at >= hit && said.is_offer_of(&name))
            .map(|said| said.at - hit);
        let mut notes = vec![
            "The publisher ran four instances, of which one was a spare; no separate Tor carried its uploads."
                .to_owned(),
        ];
        if let Some(spare) = spare {
            notes.push(format!(
                "The killed instance, started anew by the publisher, was the next spare after {spare:.1} s."
            ));
        }
        let mut episode = Episode {
            title: fault.title().to_owned(),
            extreme: fault.is_extreme(),
            from,
            hit,
            paused: from + (window.before + window.during).as_secs_f64(),
            resumed,
            until: resumed + window.after.as_secs_f64(),
            undone: None,
            clean,
            // The spare's points are proved in the round that proves the dead one's gone.
            regained: clean,
            settled: Some(settled - hit),
            ailments: vec![record::Ailment {
                who: name,
                what: "was killed".to_owned(),
                from: hit,
                until: spare.map(|spare| hit + spare),
            }],
            visits: visits
                .into_iter()
                .map(|visit| visit.understood(network, &census))
                .collect(),
            skipped: skipped + skipped_later,
            notes,
            said: Vec::new(),
        };
        episode.visits.sort_by(|a, b| a.at.total_cmp(&b.at));
        close(&mut episode, &said, network.folder());
        Ok(episode)
    }
}

/// Does a fault after a while; returns when.
async fn hit(fault: Fault, after: Duration, fleet: &mut Fleet, clock: &Clock) -> anyhow::Result<f64> {
    sleep(after).await;
    let hit = clock.now();
    fault.hit(fleet).await?;
    Ok(hit)
}

/// Finds in the publisher's log what it did about a fault.
fn hear(episode: &mut Episode, fault: Fault, said: &[Said], folder: &Path) {
    let (hit, undone) = (episode.hit, episode.undone.unwrap_or(episode.hit));
    let first = |since: f64, meant: &dyn Fn(&Said) -> bool| {
        said.iter()
            .find(|said| said.at >= since && meant(said))
            .map(|said| said.at)
    };
    // Of several instances, the last counts.
    let last = |times: Vec<Option<f64>>| {
        let times: Option<Vec<f64>> = times.into_iter().collect();
        times?.into_iter().reduce(f64::max)
    };
    let (leave, join) = match fault {
        Fault::BackendGone => ("is unfit", "is fit again"),
        _ => ("left", "joined"),
    };
    let left = |name| match fault {
        // It was dead already when the publisher started.
        Fault::StateFull => first(hit, &|said| said.is_proved("started")),
        _ => first(hit, &|said| said.is_proved(&format!("{name} {leave}"))),
    };
    episode.clean = last(fault.names().map(left).collect()).map(|at| at - hit);
    let regained = |name| {
        let offered = match fault {
            Fault::BackendGone => undone,
            _ => first(undone, &|said| said.is_offer_of(name))?,
        };
        Some(first(offered, &|said| said.is_proved(&format!("{name} {join}")))? - offered)
    };
    episode.regained = last(fault.names().map(regained).collect());
    if fault == Fault::PublisherKilled
        && let Some(at) = first(undone, &|said| said.is_proved("started"))
    {
        episode.notes.push(format!(
            "Started again, it had proved every directory after {:.2} s.",
            at - undone
        ));
    }
    if fault == Fault::AllButOneKilled {
        let note = "The publisher calls a round proved when the dead directories, too, had their chances to answer; until then it goes on trying.";
        episode.notes.push(note.to_owned());
    }
    close(episode, said, folder);
}

/// Notes what is noted of every fault.
fn close(episode: &mut Episode, said: &[Said], folder: &Path) {
    let hit = episode.hit;
    if episode.skipped > 0 {
        let note = format!(
            "{} requests were due while every client was busy with an earlier one, and were not made.",
            episode.skipped
        );
        episode.notes.push(note);
    }
    episode.notes.push(match episode.settled {
        Some(settled) => format!(
            "An independent Tor found every directory as before the fault {settled:.1} s after it, when it looked."
        ),
        None => "An independent Tor did not find every directory as before the fault.".to_owned(),
    });
    let shown = said.iter().filter(|said| said.at >= hit && said.at <= episode.until);
    let folder = folder.display().to_string();
    let lines = shown.map(|said| {
        format!(
            "{:+.2} s {}",
            said.at - hit,
            shortened(&said.text.replace(&folder, "…"))
        )
    });
    episode.said = lines.collect();
}

/// A text with only the beginnings of relays' fingerprints.
fn shortened(text: &str) -> String {
    const FINGERPRINT: usize = 40;
    const ENOUGH: usize = 8;
    let is_fingerprint = |word: &str| word.len() == FINGERPRINT && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let pieces = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()).map(|piece| {
        let word = piece.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let rest = piece.strip_prefix(word).unwrap_or_default();
        match word.get(..ENOUGH) {
            Some(start) if is_fingerprint(word) => format!("{start}…{rest}"),
            _ => piece.to_owned(),
        }
    });
    pieces.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_shortened_and_nothing_else_is() {
        let text = "proved 2 slots (b left): 20780/0@E0DDE607741B22014FF6D4911779A991C77EFDE2 20780/1@9CA748FEE9887920744E5546A4BF0EBC7ABC6D83";
        assert_eq!(
            shortened(text),
            "proved 2 slots (b left): 20780/0@E0DDE607… 20780/1@9CA748FE…"
        );
        for text in [
            "",
            "b: down (connection lost: Tor closed it)",
            "…/b/control: Connection refused",
        ] {
            assert_eq!(shortened(text), text);
        }
    }
}
