//! Rustdoc's JSON, as far as checks need it.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;

use crate::setup;
use crate::workspace::Workspace;

/// The public items of a crate.
#[derive(Deserialize)]
pub(super) struct Documentation {
    pub(super) index: BTreeMap<String, Entry>,
    /// Full paths of all items that occur, by their numbers.
    #[serde(default)]
    pub(super) paths: BTreeMap<String, ItemPath>,
    #[serde(default)]
    pub(super) external_crates: BTreeMap<String, ExternalCrate>,
}

#[derive(Deserialize)]
pub(super) struct Entry {
    pub(super) crate_id: u32,
    pub(super) name: Option<String>,
    pub(super) docs: Option<String>,
    pub(super) span: Option<Span>,
    /// A single member, whose name is the kind of item.
    pub(super) inner: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
pub(super) struct Span {
    pub(super) filename: String,
    pub(super) begin: (usize, usize),
}

#[derive(Deserialize)]
pub(super) struct ItemPath {
    pub(super) crate_id: u32,
    pub(super) path: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct ExternalCrate {
    pub(super) name: String,
}

impl Documentation {
    /// Documents all libraries of the workspace with all their features, and reads those of
    /// `packages`.
    ///
    /// The features are those with which the tests are built, so that no dependency is compiled
    /// anew.
    pub(super) fn of<'a>(
        workspace: &Workspace,
        packages: impl IntoIterator<Item = &'a str>,
    ) -> anyhow::Result<Vec<(&'a str, Self)>> {
        let mut doc = workspace.cargo();
        doc.args(["doc", "--quiet", "--workspace", "--all-features", "--no-deps", "--lib"]);
        doc.env("RUSTDOC", workspace.root.join("xtask/rustdoc-unstable"));
        setup::run(doc.env("RUSTDOCFLAGS", "-Zunstable-options --output-format=json"))?;
        let read = |package: &'a str| {
            let file = format!("doc/{}.json", package.replace('-', "_"));
            let path = workspace.target_directory.join(file);
            let json = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            let documentation =
                serde_json::from_slice(&json).with_context(|| format!("{} is not understood", path.display()))?;
            Ok((package, documentation))
        };
        packages.into_iter().map(read).collect()
    }

    /// The crate that defines an item, by the item's number.
    pub(super) fn crate_of(&self, item: &str) -> Option<&str> {
        let id = self.paths.get(item)?.crate_id;
        Some(self.external_crates.get(&id.to_string())?.name.as_str())
    }
}
