//! The accepted counts, which may only fall.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use super::{Kind, Rule, Tree};
use crate::workspace::Workspace;

/// Path of the file below the root of the workspace.
const FILE: &str = "xtask/prose.toml";

/// First lines of the file.
const HEAD: &str = "# Places that break a rule of plain English, by crate and kind of file.\n\
    # Written by `cargo xtask prose --accept`. No count may rise over the whole tree.\n\n";

/// The counts in `xtask/prose.toml`.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Ratchet(Tree);

impl Ratchet {
    pub(super) fn read(workspace: &Workspace) -> anyhow::Result<Self> {
        let text = fs::read_to_string(workspace.root.join(FILE)).with_context(|| format!("read {FILE}"))?;
        toml::from_str(&text).with_context(|| format!("{FILE} is not understood"))
    }

    /// Lists the counts of `found` that are higher than accepted.
    pub(super) fn exceeded(&self, found: &Tree) -> Vec<String> {
        let mut faults = Vec::new();
        for (room, kind, rule) in self.cells(found) {
            let [now, before] = [found, &self.0].map(|tree| count(tree, &room, kind, rule));
            if now > before {
                faults.push(format!("{room}, {kind}: {now} places instead of {before}: {rule}"));
            }
        }
        faults
    }

    /// Returns whether a count of `found` is lower than accepted.
    pub(super) fn is_behind(&self, found: &Tree) -> bool {
        self.cells(found)
            .iter()
            .any(|(room, kind, rule)| count(found, room, *kind, *rule) < count(&self.0, room, *kind, *rule))
    }

    /// Writes the counts of `found`, unless one has risen over the whole tree.
    ///
    /// Prose that moves from one crate to another takes its count along.
    pub(super) fn accept(&self, found: &Tree, workspace: &Workspace) -> anyhow::Result<()> {
        let risen = self.risen(found);
        ensure!(risen.is_empty(), "not accepted: {}", risen.join("; "));
        let text = format!("{HEAD}{}", toml::to_string(found)?);
        fs::write(workspace.root.join(FILE), text).with_context(|| format!("write {FILE}"))?;
        println!("accepted in {FILE}");
        Ok(())
    }

    /// Lists the rules that are broken more often than accepted, over the whole tree.
    fn risen(&self, found: &Tree) -> Vec<String> {
        Rule::ALL
            .into_iter()
            .filter_map(|rule| {
                let [now, before] = [found, &self.0].map(|tree| {
                    let kinds = tree.values().flat_map(|kinds| kinds.values());
                    kinds.filter_map(|counts| counts.get(&rule)).sum::<usize>()
                });
                (now > before).then(|| format!("{now} places instead of {before}: {rule}"))
            })
            .collect()
    }

    /// Every cell that has a count here or in `found`.
    fn cells(&self, found: &Tree) -> BTreeSet<(String, Kind, Rule)> {
        let trees = self.0.iter().chain(found);
        let kinds = trees.flat_map(|(room, kinds)| kinds.iter().map(move |(kind, counts)| (room, *kind, counts)));
        kinds
            .flat_map(|(room, kind, counts)| counts.keys().map(move |rule| (room.clone(), kind, *rule)))
            .collect()
    }
}

fn count(tree: &Tree, room: &str, kind: Kind, rule: Rule) -> usize {
    let counts = tree.get(room).and_then(|kinds| kinds.get(&kind));
    counts.and_then(|counts| counts.get(&rule)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(cells: &[(&str, usize)]) -> Tree {
        let mut tree = Tree::new();
        for (room, count) in cells {
            let kinds = tree.entry((*room).to_owned()).or_default();
            kinds.entry(Kind::Rust).or_default().insert(Rule::Beginning, *count);
        }
        tree
    }

    #[test]
    fn counts_may_only_fall() {
        let accepted = Ratchet(tree(&[("desc", 2), ("ring", 3)]));
        let same = tree(&[("desc", 2), ("ring", 3)]);
        assert!(accepted.exceeded(&same).is_empty() && !accepted.is_behind(&same));
        let fewer = tree(&[("desc", 2), ("ring", 1)]);
        assert!(accepted.exceeded(&fewer).is_empty() && accepted.is_behind(&fewer));
        let gone = tree(&[("desc", 2)]);
        assert!(accepted.exceeded(&gone).is_empty() && accepted.is_behind(&gone));
        let more = tree(&[("desc", 2), ("ring", 4)]);
        assert_eq!(accepted.exceeded(&more).len(), 1);
        assert_eq!(accepted.risen(&more).len(), 1);
        let new = tree(&[("desc", 2), ("lab", 1), ("ring", 3)]);
        assert_eq!(accepted.exceeded(&new).len(), 1);
    }

    #[test]
    fn prose_that_moves_takes_its_count_along() {
        let accepted = Ratchet(tree(&[("ring", 3)]));
        let moved = tree(&[("lab", 2), ("ring", 1)]);
        assert_eq!(accepted.exceeded(&moved).len(), 1);
        assert!(accepted.risen(&moved).is_empty());
    }

    #[test]
    fn the_file_holds_counts() {
        let text = toml::to_string(&tree(&[("ring", 3)])).unwrap();
        assert_eq!(text, "[ring.rust]\nbeginnings = 3\n");
        let read: Ratchet = toml::from_str(&text).unwrap();
        assert_eq!(read.0, tree(&[("ring", 3)]));
    }
}
