//! `cargo xtask figures`: the figures of README, which the tests on real Tor measure.
//!
//! `docs/figures.toml` is what is published. The tests hold themselves to it, and leave what they
//! measured in the target folder (`crates/driver/tests/real_tor/figures.rs`).

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use crate::markers;
use crate::workspace::Workspace;

const FILE: &str = "docs/figures.toml";
const README: &str = "README.md";
const BEGIN: &str = "<!-- The figures below are written by `cargo xtask figures`. -->";
const END: &str = "<!-- End of the figures. -->";
const HEADER: &str = "\
# Figures that README publishes. `cargo xtask figures --accept` writes them from the last run of the tests on real
# Tor (`crates/driver/tests/real_tor`); each run holds itself to twice the medians. Times are in seconds.

";

/// Compare the figures of README with docs/figures.toml, or publish those that the last tests
/// measured
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write what the last tests on real Tor measured into docs/figures.toml and README.md
    #[arg(long)]
    accept: bool,
}

/// Contents of `docs/figures.toml`, and of each file that a test leaves.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Figures {
    times: Vec<Times>,
    requests: Vec<Requests>,
    split: Vec<Split>,
}

/// Some times from one event to another, in seconds.
#[derive(Deserialize, Serialize)]
struct Times {
    name: String,
    what: String,
    median: f64,
    longest: f64,
    of: u32,
}

/// Number of requests that were answered.
#[derive(Deserialize, Serialize)]
struct Requests {
    name: String,
    what: String,
    answered: u32,
    of: u32,
}

/// Number of requests that each instance met, and the chance that an even split is at least as
/// uneven.
#[derive(Deserialize, Serialize)]
struct Split {
    name: String,
    what: String,
    counts: Vec<u32>,
    p: f64,
}

/// Something that a file has one of under each name.
trait Named {
    fn name(&self) -> &str;
}

impl Named for Times {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for Requests {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for Split {
    fn name(&self) -> &str {
        &self.name
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let workspace = Workspace::read()?;
    if args.accept {
        return accept(&workspace);
    }
    check(&workspace)
}

/// Fails if README shows other figures than `docs/figures.toml` has.
pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<()> {
    let readme = read(&workspace.root.join(README))?;
    let figures = parse(&workspace.root.join(FILE))?;
    ensure!(
        markers::replace(&readme, BEGIN, END, &figures.render())? == readme,
        "{README} has other figures than {FILE}; `cargo xtask figures --accept` writes both"
    );
    Ok(())
}

fn accept(workspace: &Workspace) -> anyhow::Result<()> {
    let file = workspace.root.join(FILE);
    let mut figures = parse(&file)?;
    let measured = workspace.target_directory.join("tmp/figures");
    if let Ok(entries) = fs::read_dir(&measured) {
        for entry in entries {
            figures.take(parse(&entry?.path())?);
        }
    }
    let text = format!("{HEADER}{}", toml::to_string(&figures)?);
    fs::write(&file, text).with_context(|| file.display().to_string())?;
    let file = workspace.root.join(README);
    let readme = markers::replace(&read(&file)?, BEGIN, END, &figures.render())?;
    fs::write(&file, readme).with_context(|| file.display().to_string())
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

fn parse(path: &Path) -> anyhow::Result<Figures> {
    toml::from_str(&read(path)?).with_context(|| path.display().to_string())
}

/// Replaces those of `old` that have the name of a new one.
fn replace<T: Named>(old: &mut [T], new: Vec<T>) {
    for figure in new {
        if let Some(place) = old.iter_mut().find(|old| old.name() == figure.name()) {
            *place = figure;
        }
    }
}

impl Figures {
    fn take(&mut self, measured: Self) {
        replace(&mut self.times, measured.times);
        replace(&mut self.requests, measured.requests);
        replace(&mut self.split, measured.split);
    }

    fn render(&self) -> String {
        let mut lines = vec![
            "| from … to … | median | longest | of |".to_owned(),
            "| --- | --- | --- | --- |".to_owned(),
        ];
        for Times {
            what,
            median,
            longest,
            of,
            ..
        } in &self.times
        {
            lines.push(format!("| {what} | {median:.2} s | {longest:.2} s | {of} |"));
        }
        lines.extend(["", "| requests | |", "| --- | --- |"].map(str::to_owned));
        for Requests { what, answered, of, .. } in &self.requests {
            lines.push(format!("| {what} | {answered} of {of} |"));
        }
        for Split { what, counts, p, .. } in &self.split {
            let counts: Vec<_> = counts.iter().map(u32::to_string).collect();
            lines.push(format!("| {what} | {} (chi-square p = {p:.2}) |", counts.join(", ")));
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured_figures_replace_those_of_their_names() {
        let mut figures: Figures = toml::from_str(
            "[[times]]\nname = \"a\"\nwhat = \"a to b\"\nmedian = 1.0\nlongest = 2.0\nof = 5\n\
             [[times]]\nname = \"b\"\nwhat = \"b to c\"\nmedian = 3.0\nlongest = 4.0\nof = 3\n",
        )
        .unwrap();
        figures.take(
            toml::from_str("[[times]]\nname = \"b\"\nwhat = \"b to c\"\nmedian = 0.5\nlongest = 0.75\nof = 3\n")
                .unwrap(),
        );
        let table = figures.render();
        assert!(table.contains("| a to b | 1.00 s | 2.00 s | 5 |"), "{table}");
        assert!(table.contains("| b to c | 0.50 s | 0.75 s | 3 |"), "{table}");
    }
}
