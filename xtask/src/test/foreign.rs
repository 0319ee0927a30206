//! Check that public interfaces name no types of other projects.
//!
//! Such a type binds the users of a crate to one version of another crate, and an update of that
//! crate breaks them. Rustdoc's JSON tells every type and trait that a public item names.

use std::collections::BTreeSet;

use anyhow::{bail, ensure};
use serde_json::Value;

use super::rustdoc::{Documentation, Entry};
use crate::workspace::Workspace;

/// Crates of the language itself.
const LANGUAGE: [&str; 4] = ["alloc", "core", "proc_macro", "std"];

/// Foreign items that may be named: the start of a path, and the reason.
///
/// All belong to crates that most of their users share in one version, unchanged for years.
const ALLOWED: [(&str, &str); 6] = [
    (
        "arbitrary::",
        "the traits of the feature of that name, and what their functions name",
    ),
    ("futures_core::stream::Stream", "the trait of asynchronous iterators"),
    (
        "serde_core::",
        "the traits of the feature `serde`, and what their functions name",
    ),
    (
        "tokio::io::async_read::AsyncRead",
        "a trait by which a caller brings a stream",
    ),
    (
        "tokio::io::async_write::AsyncWrite",
        "a trait by which a caller brings a stream",
    ),
    (
        "zeroize::Zeroizing",
        "a secret that is wiped when dropped, around a type of the language",
    ),
];

/// Returns the number of public items looked at; fails with a list of foreign types.
pub(super) fn check(workspace: &Workspace) -> anyhow::Result<usize> {
    let mut count = 0;
    let mut foreign = BTreeSet::new();
    let mut used = BTreeSet::new();
    let packages = workspace.published().map(|package| package.name.as_str());
    for (package, documentation) in Documentation::of(workspace, packages)? {
        for (_, entry) in documentation.own_items() {
            count += 1;
            for id in references(entry) {
                if documentation.crate_of(&id).is_none_or(is_ours) {
                    continue;
                }
                match allowed(&documentation.full_path(&id)) {
                    Some(exception) => drop(used.insert(exception)),
                    None => drop(foreign.insert(describe(&documentation, entry, package, &id))),
                }
            }
        }
    }
    ensure!(count > 0, "there are no items");
    if !foreign.is_empty() {
        let list: Vec<String> = foreign.into_iter().collect();
        bail!("these public items name foreign types:\n{}", list.join("\n"));
    }
    let unused: Vec<&str> = ALLOWED
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| !used.contains(path))
        .collect();
    ensure!(
        unused.is_empty(),
        "no public item names these any more: {}",
        unused.join(", ")
    );
    Ok(count)
}

fn is_ours(owner: &str) -> bool {
    LANGUAGE.contains(&owner) || owner.starts_with("onionweave")
}

/// Returns the exception that allows a path.
fn allowed(path: &str) -> Option<&'static str> {
    let allowed = ALLOWED.iter().map(|(allowed, _)| *allowed);
    allowed.into_iter().find(|allowed| path.starts_with(allowed))
}

/// Describes, in a line, a foreign type and the item that names it.
fn describe(documentation: &Documentation, entry: &Entry, package: &str, id: &str) -> String {
    let place = entry
        .span
        .as_ref()
        .map(|span| format!("{}:{}", span.filename, span.begin.0));
    format!(
        "{}: {package}: {} names {}",
        place.unwrap_or_default(),
        entry.name.as_deref().unwrap_or("an implementation"),
        documentation.full_path(id)
    )
}

impl Documentation {
    /// The path by which an item is defined.
    fn full_path(&self, id: &str) -> String {
        self.paths.get(id).map(|item| item.path.join("::")).unwrap_or_default()
    }

    /// The crate's items, without implementations that the compiler adds.
    fn own_items(&self) -> impl Iterator<Item = (&String, &Entry)> {
        self.index.iter().filter(|(_, entry)| {
            let is_added = |block: &Value| block["is_synthetic"] == true || !block["blanket_impl"].is_null();
            entry.crate_id == 0 && !entry.inner.get("impl").is_some_and(is_added)
        })
    }
}

/// Numbers of the types and traits that an item names.
fn references(entry: &Entry) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // A re-export names its target in a form of its own.
    if let Some(target) = entry.inner.get("use").and_then(|reexport| reexport["id"].as_u64()) {
        found.insert(target.to_string());
    }
    entry.inner.values().for_each(|value| collect(value, &mut found));
    found
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let (Some(id), Some(_)) = (members.get("id").and_then(Value::as_u64), members.get("path")) {
                found.insert(id.to_string());
            }
            members.values().for_each(|member| collect(member, found));
        }
        Value::Array(elements) => elements.iter().for_each(|element| collect(element, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn foreign_types_are_found_wherever_they_are_named() {
        let item = |inner: Value| json!({"crate_id": 0, "name": "item", "inner": inner});
        let path = |id: u64| json!({"path": "T", "id": id, "args": null});
        let documentation: Documentation = serde_json::from_value(json!({
            "index": {
                "1": item(json!({"struct_field": {"resolved_path": path(10)}})),
                "2": item(json!({"function": {"sig": {"output": {"borrowed_ref": {"type": {"resolved_path": path(11)}}}}}})),
                "3": item(json!({"use": {"source": "rsa::Key", "name": "Key", "id": 11, "is_glob": false}})),
                "4": item(json!({"impl": {"is_synthetic": true, "trait": path(11), "blanket_impl": null}})),
                "5": item(json!({"impl": {"is_synthetic": false, "trait": path(11), "blanket_impl": null}})),
            },
            "paths": {
                "10": {"crate_id": 1, "path": ["core", "T"]},
                "11": {"crate_id": 2, "path": ["rsa", "T"]},
            },
            "external_crates": {"1": {"name": "core"}, "2": {"name": "rsa"}},
        }))
        .unwrap();
        let foreign: Vec<&String> = documentation
            .own_items()
            .filter(|(_, entry)| {
                let references = references(entry);
                references
                    .iter()
                    .any(|id| !is_ours(documentation.crate_of(id).unwrap()))
            })
            .map(|(id, _)| id)
            .collect();
        assert_eq!(foreign, ["2", "3", "5"]);
    }
}
