//! `cargo xtask demo`: a service of three instances on a private Tor network, watched while one of
//! them dies.

mod picture;
mod service;
mod visits;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use console::style;
use onionweave_publish::Report;
use onionweave_ring::v2::Replica;
use onionweave_testnet::{Client, Network};

use picture::{Picture, Relay, Share, State};
use service::{Publishing, Service};
use visits::{IDENTITY_EVERY, Tally};

use crate::screen::{Screen, bad, blocks, colored, good};
use crate::stage::{self, Held, NAMES, Plan, Reader, Slot, difference, planned, shares};

/// The instance that is killed.
const VICTIM: usize = 1;
/// Shortest time, in seconds, that the time period must go on: its last hour has directories of the
/// next one too.
const PERIOD_LEFT: Duration = Duration::from_secs(3600 + 900);
/// Longest time until the ring is clean of a dead instance. It takes a second.
const REPAIRED_WITHIN: Duration = Duration::from_secs(15);
const BACK_WITHIN: Duration = Duration::from_secs(60);
/// A split that chance brings more rarely than this is called uneven.
const UNEVEN: f64 = 0.001;

/// Watch a service of three instances on a private Tor network while one of them dies.
///
/// Starts twelve relays, three instances with one key, the publisher and ten clients, all of them
/// real tor processes on 127.0.0.1. Reads back what the six responsible directories hold, counts
/// which instance answers real clients, kills an instance with SIGKILL, measures how long its
/// introduction points stay on the ring, and sees it come back. Draws the ring.
///
/// Takes less than four minutes, after tor was built once (one to two minutes). Everything ends
/// with the command, and also with ctrl-c. The environment variable ONIONWEAVE_TOR names another
/// tor, ONIONWEAVE_KEEP keeps the network's folder.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder for the picture, ring.svg.
    #[arg(long, value_name = "DIR", default_value = "demo")]
    out: PathBuf,

    /// Number of clients.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=40))]
    clients: u16,

    /// Number of visits in all, each with a fresh identity. A client takes one every ten seconds.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    fetches: u64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    stage::play(story(args))
}

async fn story(args: &Args) -> anyhow::Result<()> {
    let screen = Screen::new();
    screen.line(
        &style("Onionweave: one onion service on three Tor instances, and what happens when one dies")
            .bold()
            .to_string(),
    );

    screen.heading("1  A private Tor network");
    let network = stage::start_network(&screen, Network::builder()).await?;
    let (key, id, period) = stage::draw_key(&network, PERIOD_LEFT)?;
    screen.event(&format!(
        "{} {}, a v2 service whose descriptors six different relays are responsible for",
        good("✓"),
        style(key.onion()).bold()
    ));

    screen.heading("2  Three instances with one key, and the publisher");
    let (service, clients, probe) = {
        let wait = screen.wait("three instances, a reading Tor and the clients", "");
        let many = usize::from(args.clients);
        let started = |count: usize| wait.set("clients", &format!("{count} of {many}"));
        let service = Service::start(&network, &key).await?;
        let probe = network.probe("probe").await?;
        let clients = stage::start_clients(&network, many, None, started).await?;
        (service, clients, probe)
    };
    screen.event(&format!(
        "{} instances {} run and publish nothing by themselves; {} clients and a reading Tor have circuits",
        good("✓"),
        names(&[0, 1, 2]),
        clients.len()
    ));
    let publishing = Publishing::start(service.publisher()?, &screen)?;
    let mut reader = Reader::new(probe, id, stage::slots(&network, &id, period));
    let demo = Demo {
        screen: &screen,
        network: &network,
        service: &service,
        publishing: &publishing,
        clients: &clients,
    };
    let mut figures = Figures::default();

    let before = demo.whole(&mut reader, &mut figures).await?;
    let split = demo
        .split(&key.onion(), args.fetches, reader.slots(), &before, &mut figures)
        .await;
    let killed = demo.kill(&mut reader, &before, &mut figures).await?;
    let after = demo.visits_after(&key.onion(), &killed, &mut figures).await;
    demo.back(&mut reader, &killed, &mut figures).await?;

    let picture = Picture {
        title: "One onion service on three Tor instances".to_owned(),
        subtitle: format!(
            "{} · version 2 · time period {} · {} relays, all of them directories, on a private network of tor {}",
            key.onion(),
            period.number(),
            network.directories().len(),
            network.tor().version()
        ),
        instances: NAMES.map(str::to_owned).to_vec(),
        relays: network.directories().iter().map(relay).collect(),
        replicas: Replica::ALL
            .iter()
            .map(|&replica| drawn_replica(reader.slots(), replica))
            .collect(),
        states: vec![
            drawn_state(
                reader.slots(),
                &before,
                &split,
                None,
                "All three instances serve",
                &Killed::default(),
            ),
            drawn_state(
                reader.slots(),
                &killed.found,
                &after,
                Some(VICTIM),
                &format!("Instance {} is killed", NAMES[VICTIM]),
                &killed,
            ),
        ],
    };
    let file = write_picture(&args.out, &picture)?;
    publishing.stop().await;
    figures.show(&screen, &file)
}

/// Everything that the parts of the story work with.
struct Demo<'a> {
    screen: &'a Screen,
    network: &'a Network,
    service: &'a Service,
    publishing: &'a Publishing,
    clients: &'a [Client],
}

/// Contents of the directories, and the plan of that time.
#[derive(Default)]
struct Found {
    plan: Plan,
    held: Vec<Held>,
}

/// Outcome of killing an instance.
#[derive(Default)]
struct Killed {
    at: Option<Instant>,
    found: Found,
    /// From the kill until the publisher had proved every directory, and until the reader saw no
    /// trace of the instance.
    proved: Option<Duration>,
    clean: Option<Duration>,
}

impl Demo<'_> {
    /// Waits until all instances are on the ring, and reads it.
    async fn whole(&self, reader: &mut Reader, figures: &mut Figures) -> anyhow::Result<Found> {
        {
            let wait = self
                .screen
                .wait("the instances' introduction points", "(Tor takes about eight seconds)");
            let all = |report: &Report| matches!(report, Report::Proved(round) if is_whole(&round.plan));
            if self
                .publishing
                .said(self.publishing.started(), BACK_WITHIN, all)
                .await
                .is_none()
            {
                figures.broken("the publisher did not bring all instances onto the ring");
            }
            wait.set("no further report of the publisher", "");
            self.publishing.quiet(Duration::from_secs(1)).await;
        }
        self.screen
            .heading("3  What the six directories hold, read back by a Tor of its own");
        let (plan, held) = reader
            .read_settled(&self.service.instances, || self.publishing.plan())
            .await?;
        let found = Found { plan, held };
        figures.proved = self.show_directories(reader.slots(), &found);
        figures.directories = reader.slots().len();
        if figures.proved != figures.directories {
            figures.broken("not every directory holds what the plan gives it");
        }
        Ok(found)
    }

    /// Real clients, and which instance answers them.
    async fn split(&self, onion: &str, fetches: u64, slots: &[Slot], found: &Found, figures: &mut Figures) -> Tally {
        self.screen.heading(&format!(
            "4  {fetches} visits by {} clients, each as somebody new",
            self.clients.len()
        ));
        let tally = {
            let wait = self.screen.wait("visits", "");
            let bars: Vec<_> = (0..)
                .zip(NAMES)
                .map(|(i, name)| self.screen.bar(name, i, fetches.div_ceil(2)))
                .collect();
            let start = self.screen.elapsed();
            visits::visit(self.clients, onion, fetches, |tally| {
                for (bar, &count) in bars.iter().zip(&tally.answered) {
                    bar.set(count);
                }
                let done = tally.total() + tally.failed.len() as u64;
                wait.set("visits", &format!("{done} of {fetches}"));
                // Where no bars are seen, a line now and then.
                if !self.screen.is_interactive() && done.is_multiple_of(fetches.div_ceil(4)) {
                    self.screen.event(&format!(
                        "… {done} of {fetches}, {:.0} s",
                        (self.screen.elapsed() - start).as_secs_f64()
                    ));
                }
            })
            .await
        };
        let shares = shares(&found.plan, slots);
        self.show_split(&tally, &shares);
        let test = tally.chi_square(&shares);
        if let Some((statistic, p)) = test {
            let verdict = if p < UNEVEN {
                figures.broken("the clients were not split as planned");
                bad("that is no accident")
            } else if p < 0.05 {
                format!("chance brings so uneven a split once in {:.0} runs", 1.0 / p)
            } else {
                "as even as chance has it".to_owned()
            };
            self.screen
                .line(&format!("          χ² = {statistic:.2}, p = {p:.2}: {verdict}"));
        }
        for why in &tally.failed {
            self.screen.line(&format!("          {} {why}", bad("no answer:")));
        }
        if tally.failed.len() as u64 * 10 > fetches {
            figures.broken("more than a tenth of the visits got no answer");
        }
        figures.split = Some((tally.clone(), test));
        tally
    }

    /// Kills an instance and measures how long its introduction points stay on the ring.
    async fn kill(&self, reader: &mut Reader, before: &Found, figures: &mut Figures) -> anyhow::Result<Killed> {
        let name = NAMES[VICTIM];
        self.screen.heading(&format!("5  Instance {name} is killed"));
        {
            let _wait = self
                .screen
                .wait("the clients may take new identities again in ten seconds", "");
            tokio::time::sleep(IDENTITY_EVERY).await;
        }
        let Some(instance) = self.service.instances.get(VICTIM) else {
            bail!("there is no instance {name}");
        };
        // It may have moved its introduction points meanwhile.
        reader.learn(&self.service.instances).await?;
        let process = instance.pid().map_or_else(String::new, |pid| format!(" {pid}"));
        self.screen
            .event(&format!("{} (instance {name})", bad(&format!("kill -9{process}"))));
        let at = Instant::now();
        instance.kill()?;
        let repaired = |report: &Report| matches!(report, Report::Proved(round) if !serves(&round.plan, name) && round.missing.is_empty());
        let (said, clean) = tokio::join!(
            self.publishing.said(at, REPAIRED_WITHIN, repaired),
            reader.read_clean_of(VICTIM, REPAIRED_WITHIN)
        );
        let clean = clean?;
        let mut killed = Killed {
            at: Some(at),
            proved: said.map(|said| said.at - at),
            clean: clean.as_ref().map(|(when, _)| *when - at),
            found: Found {
                plan: self.publishing.plan(),
                held: clean.map_or_else(Vec::new, |(_, held)| held),
            },
        };
        let word =
            |time: Option<Duration>| time.map_or_else(|| bad("never"), |time| style(millis(time)).bold().to_string());
        self.screen.event(&format!(
            "{} the publisher had proved every directory after {}",
            mark(killed.proved.is_some()),
            word(killed.proved)
        ));
        self.screen.event(&format!(
            "{} the reading Tor found no trace of {name} in any directory after {}",
            mark(killed.clean.is_some()),
            word(killed.clean)
        ));
        if killed.proved.is_none() || killed.clean.is_none() {
            figures.broken("the directories still send clients to the dead instance");
            killed.found.held = reader.read().await?;
        }
        let proved = self.show_directories(reader.slots(), &killed.found);
        if proved != reader.slots().len() {
            figures.broken("not every directory holds what the plan gives it after the kill");
        }
        if killed.found.held == before.held {
            figures.broken("the instance that was killed had no directory");
        }
        (figures.repaired, figures.clean) = (killed.proved, killed.clean);
        Ok(killed)
    }

    /// Visits between the kill and the victim's return.
    async fn visits_after(&self, onion: &str, killed: &Killed, figures: &mut Figures) -> Tally {
        let name = NAMES[VICTIM];
        let visits = {
            let _wait = self.screen.wait("visits by fresh identities while it is gone", "");
            visits::visit_each(self.clients, onion).await
        };
        // From when it has introduction points again, it may answer.
        let back = self.back_at(killed, Duration::ZERO).await;
        let mut tally = Tally::default();
        let mut late = 0;
        for visit in &visits {
            if back.is_some_and(|back| visit.at >= back) {
                late += 1;
            } else {
                tally.count(visit);
            }
        }
        let others: Vec<_> = (0..NAMES.len()).filter(|&i| i != VICTIM).collect();
        let victims = tally.answered.get(VICTIM).copied().unwrap_or_default();
        let right = tally.total() > 0 && victims == 0 && tally.failed.is_empty();
        let mut text = format!(
            "{} {} of {} visits by fresh identities were answered",
            mark(right),
            tally.total(),
            visits.len() - late
        );
        for &i in &others {
            let count = tally.answered.get(i).copied().unwrap_or_default();
            text.push_str(&format!(", {count} by {}", colored(i, NAMES[i])));
        }
        if victims > 0 {
            text.push_str(&format!(", {victims} by {name}"));
        }
        if late > 0 {
            text.push_str(&format!(" ({late} more ended after {name} was back)"));
        }
        self.screen.event(&text);
        for why in &tally.failed {
            self.screen.line(&format!("          {} {why}", bad("no answer:")));
        }
        if !right {
            figures.broken("not every visit after the kill was answered by another instance");
        }
        figures.after = Some((tally.clone(), visits.len() - late));
        tally
    }

    /// Waits until the victim, which the publisher restarted, serves again.
    async fn back(&self, reader: &mut Reader, killed: &Killed, figures: &mut Figures) -> anyhow::Result<()> {
        let name = NAMES[VICTIM];
        let since = killed.at.unwrap_or_else(Instant::now);
        let wait = self.screen.wait(
            &format!("instance {name}, which the publisher has restarted"),
            "(its introduction points take about eight seconds)",
        );
        let back = self.back_at(killed, BACK_WITHIN).await;
        let all = |report: &Report| matches!(report, Report::Proved(round) if is_whole(&round.plan));
        let whole = self.publishing.said(back.unwrap_or(since), BACK_WITHIN, all).await;
        drop(wait);
        let (Some(back), Some(whole)) = (back, whole) else {
            figures.broken("the killed instance did not come back");
            return Ok(());
        };
        let (plan, held) = reader
            .read_settled(&self.service.instances, || self.publishing.plan())
            .await?;
        let slots = reader.slots();
        let proved = slots
            .iter()
            .zip(&held)
            .filter(|(slot, held)| difference(&plan, slot, held).is_none())
            .count();
        let its = held.iter().filter(|held| held.instances().contains(&VICTIM)).count();
        let right = proved == slots.len() && its > 0;
        self.screen.event(&format!(
            "{} {} had introduction points again after {}, and {its} directories after {}; {proved} of {} proved",
            mark(right),
            colored(VICTIM, name),
            seconds(back - since),
            style(seconds(whole.at - since)).bold(),
            slots.len(),
        ));
        if !right {
            figures.broken("the restarted instance did not get its directories back");
        }
        figures.back = Some((back - since, whole.at - since, its));
        Ok(())
    }

    /// Returns when the victim offered introduction points again.
    async fn back_at(&self, killed: &Killed, within: Duration) -> Option<Instant> {
        let offers =
            |report: &Report| matches!(report, Report::Offers(name, points) if *name == NAMES[VICTIM] && *points > 0);
        Some(self.publishing.said(killed.at?, within, offers).await?.at)
    }

    /// The table of directories; returns how many are proved.
    fn show_directories(&self, slots: &[Slot], found: &Found) -> usize {
        let relays = self.network.directories();
        let mut proved = 0;
        let mut rows = Vec::new();
        for (slot, held) in slots.iter().zip(&found.held) {
            let nickname = relays.get(slot.relay).map_or("?", |relay| relay.nickname());
            let fingerprint = slot.id.directory.to_string();
            let plan: Vec<_> = planned(&found.plan, slot).into_keys().collect();
            let holds = match held {
                Held::Genuine { points, .. } => {
                    let words = points
                        .iter()
                        .map(|(&i, count)| format!("{count} points of {}", names(&[i])));
                    words.collect::<Vec<_>>().join(", ")
                }
                Held::Nothing(_) => "—".to_owned(),
            };
            let verdict = match difference(&found.plan, slot, held) {
                None => {
                    proved += 1;
                    good("✓ proved")
                }
                Some(difference) => bad(&difference),
            };
            rows.push(vec![
                format!("{}", slot.id.replica.number() + 1),
                ordinal(slot.rank),
                format!("{:>2} of {}", slot.place, relays.len()),
                nickname.to_owned(),
                fingerprint.chars().take(8).collect(),
                names(&plan),
                holds,
                verdict,
            ]);
        }
        let head = [
            "ID",
            "after it",
            "on the ring",
            "directory",
            "fingerprint",
            "plan",
            "hands out",
            "",
        ];
        self.screen.table(&head, &rows);
        proved
    }

    fn show_split(&self, tally: &Tally, shares: &[f64]) {
        let total = tally.total().max(1) as f64;
        let rows = tally
            .answered
            .iter()
            .zip(shares)
            .zip(NAMES)
            .enumerate()
            .map(|(i, ((&count, &share), name))| {
                let part = count as f64 / total;
                vec![
                    colored(i, name),
                    colored(i, &blocks(part / 0.6, 36)),
                    format!("{count:>3}"),
                    format!("{:>5.1} %", part * 100.0),
                    format!("{:>5.1} %", share * 100.0),
                ]
            });
        let head = ["", "", "visits", "share", "plan"];
        self.screen.table(&head, &rows.collect::<Vec<_>>());
    }
}

/// Figures for the end.
#[derive(Default)]
struct Figures {
    directories: usize,
    proved: usize,
    split: Option<(Tally, Option<(f64, f64)>)>,
    repaired: Option<Duration>,
    clean: Option<Duration>,
    /// Visits after the kill, and how many there were.
    after: Option<(Tally, usize)>,
    /// Introduction points again, directories again, and how many of these.
    back: Option<(Duration, Duration, usize)>,
    broken: Vec<String>,
}

impl Figures {
    /// Notes something that is not as promised.
    fn broken(&mut self, what: &str) {
        self.broken.push(what.to_owned());
    }

    fn show(&self, screen: &Screen, file: &Path) -> anyhow::Result<()> {
        let mut rows = vec![(
            "directories",
            format!(
                "{} of {} proved to hold what the plan gives them",
                self.proved, self.directories
            ),
        )];
        if let Some((tally, test)) = &self.split {
            let p = test.map_or_else(String::new, |(_, p)| format!(", p = {p:.2}"));
            let failed = match tally.failed.len() {
                0 => String::new(),
                failed => format!(", {failed} without answer"),
            };
            rows.push(("visits", format!("{}{failed}{p}", counts(tally))));
        }
        if let (Some(repaired), Some(clean)) = (self.repaired, self.clean) {
            let text = format!(
                "every directory proved again after {}; an independent Tor saw no trace of it after {}",
                millis(repaired),
                millis(clean)
            );
            rows.push(("kill", text));
        }
        if let Some((tally, visits)) = &self.after {
            let text = format!("{} of {visits} visits answered: {}", tally.total(), counts(tally));
            rows.push(("while it is gone", text));
        }
        if let Some((points, directories, count)) = self.back {
            let text = format!(
                "after {}; {count} directories again after {}",
                seconds(points),
                seconds(directories)
            );
            rows.push(("back", text));
        }
        rows.push(("picture", file.display().to_string()));
        rows.push(("time", format!("{:.0} s in all", screen.elapsed().as_secs_f64())));

        screen.heading("What came out");
        let rows: Vec<_> = rows
            .into_iter()
            .map(|(name, text)| vec![style(name).dim().to_string(), text])
            .collect();
        screen.table(&["", ""], &rows);
        if !self.broken.is_empty() {
            bail!("not as promised: {}", self.broken.join("; "));
        }
        Ok(())
    }
}

/// Returns whether every instance has a part in a plan.
fn is_whole(plan: &Plan) -> bool {
    NAMES.iter().all(|name| serves(plan, name))
}

fn serves(plan: &Plan, name: &str) -> bool {
    plan.values().any(|points| points.contains_key(name))
}

fn names(instances: &[usize]) -> String {
    let names = instances
        .iter()
        .map(|&i| colored(i, NAMES.get(i).copied().unwrap_or("?")));
    names.collect::<Vec<_>>().join(" ")
}

fn counts(tally: &Tally) -> String {
    let counts = NAMES
        .iter()
        .zip(&tally.answered)
        .map(|(name, count)| format!("{name} {count}"));
    counts.collect::<Vec<_>>().join(" · ")
}

fn mark(right: bool) -> String {
    if right { good("✓") } else { bad("✗") }
}

fn millis(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn ordinal(number: usize) -> String {
    match number {
        1 => "1st".to_owned(),
        2 => "2nd".to_owned(),
        3 => "3rd".to_owned(),
        _ => format!("{number}th"),
    }
}

// The picture.

fn relay(relay: &onionweave_testnet::Relay) -> Relay {
    Relay {
        nickname: relay.nickname().to_owned(),
        fingerprint: relay.fingerprint(),
    }
}

fn drawn_replica(slots: &[Slot], replica: Replica) -> picture::Replica {
    let mut its = slots.iter().filter(|slot| slot.id.replica == replica).peekable();
    let id = its.peek().map(|slot| slot.descriptor_id);
    picture::Replica {
        descriptor_id: id.map_or([0; 20], |id| *id.as_bytes()),
        text: id.map_or_else(String::new, |id| id.to_string()),
        directories: its.map(|slot| slot.relay).collect(),
    }
}

fn drawn_state(
    slots: &[Slot],
    found: &Found,
    tally: &Tally,
    dead: Option<usize>,
    heading: &str,
    killed: &Killed,
) -> State {
    let held = |replica| {
        let its = slots
            .iter()
            .zip(&found.held)
            .filter(move |(slot, _)| slot.id.replica == replica);
        its.map(|(_, held)| held.instances()).collect()
    };
    let proved = slots
        .iter()
        .zip(&found.held)
        .filter(|(slot, held)| difference(&found.plan, slot, held).is_none());
    let mut verdict_notes = vec!["directories proved".to_owned()];
    let note = match killed.clean {
        Some(clean) => {
            verdict_notes.push(format!("{} after the kill", millis(clean)));
            "The publisher has given its directories to the others".to_owned()
        }
        None => "Each directory hands out the introduction points of one instance".to_owned(),
    };
    let shares = shares(&found.plan, slots);
    State {
        heading: heading.to_owned(),
        note,
        verdict: format!("{} of {}", proved.count(), slots.len()),
        verdict_notes,
        holds: Replica::ALL.into_iter().map(held).collect(),
        shares: shares
            .into_iter()
            .zip(tally.answered)
            .enumerate()
            .map(|(i, (plan, visits))| Share {
                plan,
                visits,
                dead: dead == Some(i),
            })
            .collect(),
    }
}

fn write_picture(folder: &Path, picture: &Picture) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let file = folder.join("ring.svg");
    fs::write(&file, picture.to_svg()).with_context(|| file.display().to_string())?;
    Ok(file)
}
