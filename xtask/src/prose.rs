//! `cargo xtask prose`: the rules of plain English, over rustdoc, comments and Markdown.
//!
//! The tree has offences of old, and their number may only fall: `xtask/prose.toml` keeps the
//! accepted counts of each crate. The rules themselves are those of [`Rule`].

mod names;
mod ratchet;
mod rules;
mod source;

use std::collections::BTreeMap;

use anyhow::{bail, ensure};

use crate::workspace::Workspace;
use ratchet::Ratchet;
pub(crate) use rules::Rule;
use source::{Kind, Source};

/// Check the prose of documentation and comments, or list the places that break a rule
///
/// Prints the counts of each crate. Fails if a count exceeds that in xtask/prose.toml.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// List every place of one crate or folder, such as `ring`, `docs` or `.`
    #[arg(long, value_name = "CRATE", conflicts_with = "accept")]
    list: Option<String>,
    /// Write the present counts into xtask/prose.toml; none may rise over the whole tree
    #[arg(long)]
    accept: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let workspace = Workspace::read()?;
    let survey = Survey::of(&Source::all(&workspace.root)?)?;
    if let Some(room) = &args.list {
        return survey.list(room);
    }
    survey.print();
    let accepted = Ratchet::read(&workspace)?;
    if args.accept {
        return accepted.accept(&survey.counts(), &workspace);
    }
    println!("{}", survey.judge(&accepted)?);
    Ok(())
}

/// Holds the tree against the accepted counts, and the names in pages against files and functions.
///
/// Returns a remark for the summary.
pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<String> {
    let sources = Source::all(&workspace.root)?;
    let missing = names::missing(&workspace.root, &sources);
    ensure!(missing.is_empty(), "{}", missing.join("\n"));
    Survey::of(&sources)?.judge(&Ratchet::read(workspace)?)
}

/// Place that breaks a rule.
#[derive(Debug, PartialEq)]
struct Place {
    /// Path below the root of the workspace.
    file: String,
    line: usize,
    rule: Rule,
    /// The offending words, shortened.
    words: String,
}

/// Number of offences by rule.
type Counts = BTreeMap<Rule, usize>;

/// Offences of each crate or top folder (`ring`, `xtask`, `docs`, `.`), by kind of file.
type Tree = BTreeMap<String, BTreeMap<Kind, Counts>>;

/// All places of the tree that break a rule.
#[derive(Default)]
struct Survey {
    rooms: BTreeMap<String, Room>,
}

/// A crate or a top folder.
#[derive(Default)]
struct Room {
    /// Number of doc comments, each of which has a summary.
    summaries: usize,
    places: Vec<(Kind, Place)>,
}

impl Survey {
    fn of(sources: &[Source]) -> anyhow::Result<Self> {
        let mut survey = Self::default();
        for source in sources {
            let room = survey.rooms.entry(source.room.clone()).or_default();
            let (summaries, places) = source.examine();
            room.summaries += summaries;
            room.places.extend(places.into_iter().map(|place| (source.kind, place)));
        }
        ensure!(!survey.rooms.is_empty(), "there is no prose");
        Ok(survey)
    }

    fn counts(&self) -> Tree {
        let mut tree = Tree::new();
        for (name, room) in &self.rooms {
            for (kind, place) in &room.places {
                let kinds = tree.entry(name.clone()).or_default();
                *kinds.entry(*kind).or_default().entry(place.rule).or_default() += 1;
            }
        }
        tree
    }

    fn list(&self, name: &str) -> anyhow::Result<()> {
        let Some(room) = self.rooms.get(name) else {
            let names: Vec<&str> = self.rooms.keys().map(String::as_str).collect();
            bail!("no crate or folder {name:?}; there are {}", names.join(", "));
        };
        for (_, place) in &room.places {
            let Place {
                file,
                line,
                rule,
                words,
            } = place;
            println!("{file}:{line}: {rule}: {words}");
        }
        println!("{} places in {name}", room.places.len());
        Ok(())
    }

    fn print(&self) {
        println!("crate or folder   summaries  ill-begun         lines  sentences  words");
        let mut all = Room::default();
        for (name, room) in &self.rooms {
            room.print(name);
            all.summaries += room.summaries;
            all.places.extend(room.places.iter().map(|(kind, place)| {
                let words = String::new();
                let file = String::new();
                (*kind, Place { words, file, ..*place })
            }));
        }
        all.print("all");
    }

    fn judge(&self, accepted: &Ratchet) -> anyhow::Result<String> {
        let faults = accepted.exceeded(&self.counts());
        ensure!(
            faults.is_empty(),
            "{}\n`cargo xtask prose --list CRATE` names the places; the rules are in CONTRIBUTING.md",
            faults.join("\n")
        );
        let summaries: usize = self.rooms.values().map(|room| room.summaries).sum();
        let begun: usize = self.rooms.values().map(|room| room.count(Rule::Beginning)).sum();
        let remark = format!(
            "{begun} of {summaries} summaries ({:.1} %) begin with a relative word",
            share(begun, summaries)
        );
        Ok(match accepted.is_behind(&self.counts()) {
            true => format!("{remark}; `cargo xtask prose --accept` keeps what was gained"),
            false => remark,
        })
    }
}

impl Room {
    fn count(&self, rule: Rule) -> usize {
        self.places.iter().filter(|(_, place)| place.rule == rule).count()
    }

    fn print(&self, name: &str) {
        let [begun, lines, sentences, words] =
            [Rule::Beginning, Rule::Line, Rule::Sentence, Rule::Word].map(|rule| self.count(rule));
        let share = share(begun, self.summaries);
        println!(
            "{name:<16} {:>10} {begun:>6} {share:>5.1} % {lines:>8} {sentences:>10} {words:>6}",
            self.summaries
        );
    }
}

/// Percentage of `part` in `whole`.
fn share(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}
