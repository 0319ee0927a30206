//! Check that the documentation shows every public item at work.
//!
//! Rustdoc's JSON lists the items. A type, a trait or a function needs an example of its own. For
//! an item of a type or a trait, an example is enough that stands there or beside it, and names it.

use std::collections::BTreeSet;

use anyhow::{bail, ensure};
use serde_json::Value;

use super::rustdoc::{Documentation, Entry};
use crate::workspace::Workspace;

/// Packages whose public items are all shown.
const PACKAGES: [&str; 2] = ["onionweave-ring", "onionweave-desc"];

/// Returns the number of items that are shown; fails with a list of those that are not.
pub(super) fn check(workspace: &Workspace) -> anyhow::Result<usize> {
    let mut shown = 0;
    let mut missing = BTreeSet::new();
    for (_, documentation) in Documentation::of(workspace, PACKAGES)? {
        let items = documentation.items();
        shown += items.iter().filter(|item| item.is_shown).count();
        let hidden = items.into_iter().filter(|item| !item.is_shown);
        missing.extend(hidden.map(|item| (item.file, item.line, item.name)));
    }
    if !missing.is_empty() {
        let list: Vec<String> = missing
            .iter()
            .map(|(file, line, name)| format!("{file}:{line}: {name}"))
            .collect();
        bail!("no example shows these {} items:\n{}", list.len(), list.join("\n"));
    }
    ensure!(shown > 0, "there are no items");
    Ok(shown)
}

/// A public item.
struct Item {
    file: String,
    line: usize,
    name: String,
    is_shown: bool,
}

impl Documentation {
    fn items(&self) -> Vec<Item> {
        let own = || self.index.iter().filter(|(_, entry)| entry.crate_id == 0);
        let types = own()
            .filter(|(_, entry)| entry.is_type())
            .flat_map(|(_, entry)| self.of_type(entry));
        // Items of types and traits are among the first; implementations of a trait are documented
        // there.
        let blocks = own().filter_map(|(_, entry)| entry.inner.get("impl").or(entry.inner.get("trait")));
        let members: BTreeSet<&String> = blocks
            .flat_map(|block| self.list(&block["items"]))
            .map(|(id, _)| id)
            .collect();
        let functions = own().filter(|(id, entry)| entry.is_function() && !members.contains(id));
        types
            .chain(functions.filter_map(|(_, entry)| entry.item(!entry.examples().is_empty())))
            .collect()
    }

    /// A type or a trait with its functions.
    fn of_type(&self, entry: &Entry) -> Vec<Item> {
        let blocks: Vec<&Value> = match entry.inner.get("struct").or(entry.inner.get("enum")) {
            Some(of) => {
                let blocks = self.list(&of["impls"]).filter_map(|(_, block)| block.inner.get("impl"));
                blocks.filter(|block| block["trait"].is_null()).collect()
            }
            None => entry.inner.get("trait").into_iter().collect(),
        };
        let functions = blocks.into_iter().flat_map(|block| self.list(&block["items"]));
        let functions: Vec<&Entry> = functions
            .map(|(_, entry)| entry)
            .filter(|entry| entry.is_function())
            .collect();
        let examples: String = [entry].iter().chain(&functions).map(|entry| entry.examples()).collect();
        let named = |function: &&Entry| {
            let name = function.name.as_deref();
            function.item(name.is_some_and(|name| mentions(&examples, name)))
        };
        entry
            .item(!examples.is_empty())
            .into_iter()
            .chain(functions.iter().filter_map(named))
            .collect()
    }

    /// Entries that a list of their numbers stands for.
    fn list<'a>(&'a self, numbers: &'a Value) -> impl Iterator<Item = (&'a String, &'a Entry)> {
        let numbers = numbers.as_array().into_iter().flatten();
        numbers.filter_map(|number| self.index.get_key_value(&number.to_string()))
    }
}

impl Entry {
    fn is_type(&self) -> bool {
        ["struct", "enum", "trait"]
            .iter()
            .any(|kind| self.inner.contains_key(*kind))
    }

    fn is_function(&self) -> bool {
        self.inner.contains_key("function")
    }

    /// Code of its examples.
    fn examples(&self) -> String {
        self.docs.as_deref().map(examples).unwrap_or_default()
    }

    /// Returns `None` for an item that no one wrote.
    fn item(&self, is_shown: bool) -> Option<Item> {
        let span = self.span.as_ref()?;
        Some(Item {
            file: span.filename.clone(),
            line: span.begin.0,
            name: self.name.clone()?,
            is_shown,
        })
    }
}

/// Code of the examples that are run.
fn examples(docs: &str) -> String {
    let mut code = String::new();
    for (number, part) in docs.split("```").enumerate() {
        // Every second part stands between the fences; what comes first there says what it is.
        let (language, text) = part.split_once('\n').unwrap_or((part, ""));
        if number % 2 == 1 && matches!(language.trim(), "" | "rust" | "should_panic") {
            code.push_str(text);
        }
    }
    code
}

/// Whether code has a word.
fn mentions(code: &str, name: &str) -> bool {
    let is_inside = |c: char| c.is_alphanumeric() || c == '_';
    code.split(|c| !is_inside(c)).any(|word| word == name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn examples_are_what_is_run() {
        let docs = "Text.\n```\nring.len();\n```\nmore\n```text\nprose\n```\n```rust\nring.next();\n```\n";
        assert_eq!(examples(docs), "ring.len();\nring.next();\n");
        assert!(mentions("ring.len();", "len") && !mentions("ring.length();", "len") && !mentions("", "len"));
    }

    #[test]
    fn what_no_example_names_is_found() {
        let entry = |name: &str, docs: &str, inner: Value| {
            let span = json!({"filename": "ring.rs", "begin": [7, 1]});
            json!({"crate_id": 0, "name": name, "docs": docs, "span": span, "inner": inner})
        };
        let function = || json!({"function": {}});
        let documentation: Documentation = serde_json::from_value(json!({"index": {
            "1": entry("Ring", "A ring.\n```\nRing::new();\n```", json!({"struct": {"impls": [2, 5]}})),
            "2": entry("", "", json!({"impl": {"trait": null, "items": [3, 4]}})),
            "3": entry("new", "", function()),
            "4": entry("len", "Its length.", function()),
            "5": entry("", "", json!({"impl": {"trait": {"path": "Debug"}, "items": [6]}})),
            "6": entry("fmt", "", function()),
            "7": entry("alone", "```text\nalone()\n```", function()),
            "8": entry("Bare", "", json!({"enum": {"impls": []}})),
        }}))
        .unwrap();
        let mut items: Vec<_> = documentation
            .items()
            .into_iter()
            .map(|item| (item.name, item.is_shown))
            .collect();
        items.sort();
        let expected = [
            ("Bare", false),
            ("Ring", true),
            ("alone", false),
            ("len", false),
            ("new", true),
        ];
        assert_eq!(items, expected.map(|(name, is_shown)| (name.to_owned(), is_shown)));
    }
}
