//! The files that hold prose, and the prose in them.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::Place;
use super::rules::{Offence, judge, judge_summary, judge_words};

/// Folders without prose of ours: what Cargo builds, and files recorded as they were found.
const NO_FOLDERS: [&str; 4] = ["target", "testdata", "corpus", "artifacts"];

/// Kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Markdown,
    Rust,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Markdown => "Markdown",
            Self::Rust => "Rust",
        })
    }
}

/// File that holds prose.
pub(super) struct Source {
    /// Path below the root of the workspace.
    pub(super) file: String,
    /// The crate's folder below `crates`, or the top folder, or `.` for files at the root.
    pub(super) room: String,
    pub(super) kind: Kind,
    pub(super) text: String,
}

impl Source {
    /// Reads all Rust and Markdown files below `root`, in order of their paths.
    pub(super) fn all(root: &Path) -> anyhow::Result<Vec<Self>> {
        let mut sources = Vec::new();
        read_folder(root, "", &mut sources)?;
        sources.sort_by(|a, b| a.file.cmp(&b.file));
        Ok(sources)
    }

    /// Returns the number of doc comments, and the places that break a rule.
    pub(super) fn examine(&self) -> (usize, Vec<Place>) {
        let (summaries, offences) = match self.kind {
            Kind::Markdown => (0, judge(&self.text, 0)),
            Kind::Rust => examine_rust(&self.text),
        };
        let places = offences.into_iter().map(|Offence { line, rule, words }| Place {
            file: self.file.clone(),
            line: line + 1,
            rule,
            words,
        });
        (summaries, places.collect())
    }
}

fn read_folder(folder: &Path, below: &str, sources: &mut Vec<Source>) -> anyhow::Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let path = entry.path();
        let file = if below.is_empty() {
            name.clone()
        } else {
            format!("{below}/{name}")
        };
        // Links lead to files that are read where they are.
        let kind = entry.file_type()?;
        if kind.is_dir() && !name.starts_with('.') && !NO_FOLDERS.contains(&name.as_str()) {
            read_folder(&path, &file, sources)?;
        }
        let kind = match name.rsplit_once('.') {
            Some((_, "md")) if kind.is_file() => Kind::Markdown,
            Some((_, "rs")) if kind.is_file() => Kind::Rust,
            _ => continue,
        };
        let text = fs::read_to_string(&path).with_context(|| format!("read {file}"))?;
        let room = room(&file).to_owned();
        sources.push(Source { file, room, kind, text });
    }
    Ok(())
}

/// The part of the tree that a file belongs to.
fn room(file: &str) -> &str {
    let file = file.strip_prefix("crates/").unwrap_or(file);
    file.split_once('/').map_or(".", |(folder, _)| folder)
}

/// Comments of one form, line by line, as Markdown.
struct Block {
    /// Number of lines before it.
    line: usize,
    /// Columns before the text.
    indent: usize,
    mark: &'static str,
    text: String,
}

/// Returns the number of doc comments of Rust code, and the offences of all comments.
fn examine_rust(code: &str) -> (usize, Vec<Offence>) {
    let mut offences = Vec::new();
    let mut summaries = 0;
    for block in blocks(code) {
        let mut found = if block.mark == "//" {
            let lines = block.text.lines().enumerate();
            lines.flat_map(|(number, line)| judge_words(line, number)).collect()
        } else {
            summaries += 1;
            let mut found = judge(&block.text, block.indent);
            found.extend(judge_summary(block.text.lines().next().unwrap_or_default()));
            found
        };
        for offence in &mut found {
            offence.line += block.line;
        }
        offences.append(&mut found);
    }
    (summaries, offences)
}

/// The comments that fill lines of their own.
fn blocks(code: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut last_line = None;
    for (number, line) in code.lines().enumerate() {
        let Some((mark, text)) = comment(line) else {
            continue;
        };
        let indent = line.chars().count() - text.chars().count();
        match blocks.last_mut() {
            Some(block) if block.mark == mark && last_line == number.checked_sub(1) => {
                block.text.push('\n');
                block.text.push_str(text);
                block.indent = block.indent.max(indent);
            }
            _ => blocks.push(Block {
                line: number,
                indent,
                mark,
                text: text.to_owned(),
            }),
        }
        last_line = Some(number);
    }
    blocks
}

/// The mark and the text of a line that is a comment.
fn comment(line: &str) -> Option<(&'static str, &str)> {
    let line = line.trim_start();
    let (mark, text) = ["///", "//!", "//"]
        .into_iter()
        .find_map(|mark| Some((mark, line.strip_prefix(mark)?)))?;
    // Four slashes and more are no documentation.
    let mark = if text.starts_with('/') { "//" } else { mark };
    Some((mark, text.strip_prefix(' ').unwrap_or(text)))
}

#[cfg(test)]
mod tests {
    use super::super::Rule;
    use super::*;

    #[test]
    fn files_belong_to_their_crate_or_folder() {
        assert_eq!(room("crates/ring/src/lib.rs"), "ring");
        assert_eq!(room("docs/architecture.md"), "docs");
        assert_eq!(room("README.md"), ".");
    }

    #[test]
    fn comments_are_told_apart() {
        let code = "//! What this is.\n\nfn f() {\n    /// Item.\n    ///\n    /// It runs.\n    // We shall see.\n    // More.\n    \
                    let x = 1; // shall\n    //// What rules.\n}\n/// So it goes.\n";
        let (summaries, offences) = examine_rust(code);
        assert_eq!(summaries, 3);
        let found: Vec<_> = offences.iter().map(|offence| (offence.line, offence.rule)).collect();
        assert_eq!(found, [(0, Rule::Beginning), (6, Rule::Word), (11, Rule::Beginning)]);
    }

    #[test]
    fn columns_count_from_the_margin() {
        let code = |columns: usize| format!("        /// {}\n", "w. ".repeat(40).get(..columns - 12).unwrap());
        assert_eq!(examine_rust(&code(100)).1.len(), 0);
        assert_eq!(examine_rust(&code(102)).1.len(), 1);
    }
}
