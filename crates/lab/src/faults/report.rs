//! The report: to the terminal while faults happen, and as a file that is written from the
//! findings.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

use super::findings::{Finding, Findings, Incident};
use super::picture;
use super::record::{Episode, Rate, SLOW};
use super::timing::Timing;
use crate::screen::{Screen, bad, good};

/// Part of the new clients that an instance must answer.
const SUCCESS_AIM: f64 = 0.99;
/// Highest number of columns of a line of prose.
const COLUMNS: usize = 98;

/// Shows a fault as soon as it is over.
pub(crate) fn show_episode(screen: &Screen, episode: &Episode) {
    let finding = Finding::of_fault(episode);
    let is_flawless = finding.failed.is_empty();
    screen.event(&format!(
        "{} {}: {} requests reached an instance, longest gap {}; proved clean {}, slots regained {}",
        if is_flawless { good("✓") } else { bad("✗") },
        finding.fault,
        rate(finding.requests),
        seconds(finding.longest_gap, 1),
        seconds(finding.clean, 2),
        seconds(finding.regained, 2),
    ));
    for incident in &finding.failed {
        screen.line(&format!(
            "          {} {:+.1} s: {} — {}",
            bad("✗"),
            incident.at,
            incident.outcome,
            incident.cause
        ));
    }
}

/// Shows the figures of a whole run.
pub(crate) fn show(screen: &Screen, findings: &Findings) {
    screen.heading("Results");
    let rows: Vec<_> = findings.faults.iter().map(cells).collect();
    screen.table(&HEAD, &rows);
    let total = findings.total();
    screen.event(&format!(
        "{} requests reached an instance: {}",
        rate(total),
        percent(total)
    ));
    for timing in &findings.timings {
        screen.event(&format!(
            "{} {}: {}; aim: {}",
            if timing.is_reached() { good("✓") } else { bad("✗") },
            timing.what,
            figures(timing),
            aim(timing)
        ));
    }
}

/// Writes the report, the findings and the picture: three files beside each other.
pub(crate) fn write(file: &Path, findings: &Findings, episodes: &[Episode]) -> anyhow::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let picture = file.with_extension("svg");
    fs::write(&picture, picture::draw(episodes)).with_context(|| picture.display().to_string())?;
    findings.write(&file.with_extension("json"))?;
    write_report(file, findings)
}

/// Writes the report alone.
pub(crate) fn write_report(file: &Path, findings: &Findings) -> anyhow::Result<()> {
    fs::write(file, markdown(findings)).with_context(|| file.display().to_string())
}

/// Returns the report. Its picture and its data lie beside it.
pub(crate) fn markdown(findings: &Findings) -> String {
    let mut text = String::from(
        "# Faults\n\n<!-- Written by `cargo xtask faults`; without a new run, from its figures, by\n\
         `cargo xtask faults --from docs/faults.json`. -->\n\n",
    );
    let total = findings.total();
    paragraph(
        &mut text,
        "This report says what new clients notice of each fault. Real tor processes form a private network, \
         and each request comes from a client with a fresh identity.",
    );
    paragraph(
        &mut text,
        &format!(
            "{} requests reached an instance: **{}**. The aim is {:.0} %. The sum leaves out the extreme \
             faults, which are marked with †; there, Tor itself is the limit.",
            rate(total),
            percent(total),
            SUCCESS_AIM * 100.0
        ),
    );
    text.push_str("![Each request as a dot along time, for each fault](faults.svg)\n\n");
    table(&mut text, &HEAD, findings.faults.iter().map(cells));
    for (term, meaning) in [
        ("Meanwhile", "requests that began while the fault lasted."),
        (
            "Longest gap",
            "longest time in which every new client failed. One request that fails alone makes half a second.",
        ),
        (
            "Proved clean",
            "time from the fault until the publisher had read back every directory, and none handed out \
             anything broken.",
        ),
        (
            "Slots regained",
            "time from new introduction points, or from a repaired backend, until the directories were \
             proved to hand them out.",
        ),
        ("Answer after", "median and longest time of an answer."),
    ] {
        item(&mut text, &format!("*{term}*: {meaning}"));
    }
    text.push('\n');
    write_moments(&mut text, &findings.moments);
    write_timings(&mut text, &findings.timings);
    write_causes(&mut text, findings);
    if !findings.conditions.is_empty() {
        text.push_str("## Conditions\n\n");
        for condition in &findings.conditions {
            item(&mut text, condition);
        }
    }
    text
}

/// Heads of the columns that [`cells`] fills.
const HEAD: [&str; 7] = [
    "fault",
    "requests answered",
    "meanwhile",
    "longest gap",
    "proved clean",
    "slots regained",
    "answer after",
];

fn cells(finding: &Finding) -> Vec<String> {
    let mark = if finding.extreme { " †" } else { "" };
    vec![
        format!("{}{mark}", finding.fault),
        rate(finding.requests),
        finding.meanwhile.map_or_else(|| "–".to_owned(), rate),
        seconds(finding.longest_gap, 1),
        seconds(finding.clean, 2),
        seconds(finding.regained, 2),
        took(finding.took),
    ]
}

/// The moments of one fault, in one line.
fn write_moments(text: &mut String, moments: &[Finding]) {
    if moments.is_empty() {
        return;
    }
    text.push_str("## All clients in one second\n\n");
    paragraph(
        text,
        "All clients come within one second, and the fault happens a quarter into it. \
         No case is worse. The fault is undone when all clients have ended.",
    );
    let mut by_fault: Vec<(&str, Vec<&Finding>)> = Vec::new();
    for moment in moments {
        match by_fault.iter_mut().find(|(fault, _)| *fault == moment.fault) {
            Some((_, alike)) => alike.push(moment),
            None => by_fault.push((&moment.fault, vec![moment])),
        }
    }
    let rows = by_fault.into_iter().map(|(fault, moments)| {
        let each = |cell: &dyn Fn(&Finding) -> String| {
            let cells: Vec<_> = moments.iter().map(|moment| cell(moment)).collect();
            cells.join("; ")
        };
        vec![
            fault.to_owned(),
            each(&|moment| rate(moment.requests)),
            each(&|moment| seconds(moment.clean, 2)),
            each(&|moment| took(moment.took)),
        ]
    });
    table(
        text,
        &["fault", "requests answered", "proved clean", "answer after"],
        rows,
    );
}

fn write_timings(text: &mut String, timings: &[Timing]) {
    if timings.is_empty() {
        return;
    }
    text.push_str("## Repeated, without clients\n\n");
    let rows = timings.iter().map(|timing| {
        let verdict = if timing.is_reached() {
            "reached"
        } else {
            "**not reached**"
        };
        vec![
            timing.what.clone(),
            figures(timing),
            format!("{}: {verdict}", aim(timing)),
            timing
                .confirmed
                .map_or_else(|| "–".to_owned(), |(clean, of)| format!("{clean} of {of}")),
            timing.peers.clone(),
        ]
    });
    let head = ["from → to", "here", "aim", "confirmed by another Tor", "elsewhere"];
    table(text, &head, rows);
}

/// The causes of failed and of late requests, counted.
fn write_causes(text: &mut String, findings: &Findings) {
    text.push_str("## Causes\n\n");
    paragraph(
        text,
        &format!(
            "Each request that failed, or took more than {SLOW} s, is explained by what the client's Tor read and \
             waited for. The table counts the explanations. `faults.json` beside this report has each \
             request with its evidence, and the publisher's log of each fault."
        ),
    );
    type Pick = fn(&Finding) -> &Vec<Incident>;
    let kinds: [(&str, Pick); 2] = [("failed", |finding| &finding.failed), ("late", |finding| &finding.late)];
    let mut rows = Vec::new();
    for (when, all) in [("", &findings.faults), (", in one second", &findings.moments)] {
        for (kind, pick) in kinds {
            let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
            for finding in all {
                for incident in pick(finding) {
                    *counts.entry((&finding.fault, incident.cause.kind())).or_default() += 1;
                }
            }
            for ((fault, cause), count) in counts {
                rows.push(vec![
                    format!("{fault}{when}"),
                    kind.to_owned(),
                    cause.to_owned(),
                    count.to_string(),
                ]);
            }
        }
    }
    if rows.is_empty() {
        paragraph(text, "Every request was answered in time.");
    } else {
        table(text, &["fault", "requests", "cause", "number"], rows.into_iter());
    }
}

/// Adds a table of Markdown.
fn table(text: &mut String, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let _ = writeln!(text, "| {} |", head.join(" | "));
    let _ = writeln!(text, "|{}", " --- |".repeat(head.len()));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text.push('\n');
}

/// Adds a paragraph, in lines of at most [`COLUMNS`].
fn paragraph(text: &mut String, words: &str) {
    fill(text, "", words);
    text.push('\n');
}

/// Adds an item of a list, in lines of at most [`COLUMNS`].
fn item(text: &mut String, words: &str) {
    text.push_str("- ");
    fill(text, "  ", words);
}

/// Adds words, with an indent before each line but the first.
fn fill(text: &mut String, indent: &str, words: &str) {
    let mut columns = indent.chars().count();
    let mut is_first = true;
    for word in words.split_whitespace() {
        let length = word.chars().count();
        if !is_first && columns + 1 + length > COLUMNS {
            text.push('\n');
            text.push_str(indent);
            columns = indent.chars().count();
        } else if !is_first {
            text.push(' ');
            columns += 1;
        }
        text.push_str(word);
        columns += length;
        is_first = false;
    }
    text.push('\n');
}

fn rate(rate: Rate) -> String {
    format!("{} of {}", rate.reached, rate.tried)
}

fn percent(rate: Rate) -> String {
    format!("{:.2} %", rate.part() * 100.0)
}

fn seconds(time: Option<f64>, decimals: usize) -> String {
    time.map_or_else(|| "–".to_owned(), |time| format!("{time:.decimals$} s"))
}

fn took(times: Option<(f64, f64)>) -> String {
    times.map_or_else(
        || "–".to_owned(),
        |(median, longest)| format!("{median:.1} s, {longest:.1} s"),
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_is_filled_into_lines() {
        let mut text = String::new();
        item(&mut text, &"word ".repeat(50));
        for line in text.lines() {
            assert!(line.chars().count() <= COLUMNS, "{line}");
            assert!(line.starts_with("- word") || line.starts_with("  word"), "{line}");
        }
        assert_eq!(text.matches("word").count(), 50);
        assert_eq!(text.lines().count(), 3);
    }
}
