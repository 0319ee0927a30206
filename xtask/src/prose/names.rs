//! Files and functions that Markdown names: they must exist.
//!
//! A page about the code is wrong as soon as a file moves or a test gets another name, and no
//! reader tells its authors.

use std::collections::BTreeSet;
use std::path::Path;

use pulldown_cmark::{Event, Parser};

use super::source::{Kind, Source};

/// Pages whose names are checked, by their paths below the root.
const PAGES: [&str; 3] = ["CONTRIBUTING.md", "README.md", "docs/architecture.md"];

/// Lists the files of Rust code and the functions that the pages name and that do not exist.
///
/// A file is named by its path below the root or below `crates`. A name with two underscores or
/// more is that of a function.
pub(super) fn missing(root: &Path, sources: &[Source]) -> Vec<String> {
    let functions: BTreeSet<&str> = sources
        .iter()
        .filter(|source| source.kind == Kind::Rust)
        .flat_map(|source| functions(&source.text))
        .collect();
    let pages = sources.iter().filter(|source| PAGES.contains(&source.file.as_str()));
    pages
        .flat_map(|page| {
            let names = code_spans(&page.text);
            let missing = names.into_iter().filter(|name| {
                let is_there = |folder: &Path| folder.join(name).exists();
                (is_file(name) && !is_there(root) && !is_there(&root.join("crates")))
                    || (is_function(name) && !functions.contains(name.as_str()))
            });
            missing.map(|name| format!("{}: there is no `{name}`", page.file))
        })
        .collect()
}

fn code_spans(markdown: &str) -> BTreeSet<String> {
    let events = Parser::new_ext(markdown, pulldown_cmark::Options::ENABLE_TABLES);
    events
        .filter_map(|event| match event {
            Event::Code(text) => Some(text.into_string()),
            _ => None,
        })
        .collect()
}

/// Returns whether code names a file of Rust code.
fn is_file(name: &str) -> bool {
    name.ends_with(".rs") && !name.contains(['<', ' ', '…'])
}

/// Returns whether code names a function, such as a test.
fn is_function(name: &str) -> bool {
    name.matches('_').count() > 1
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Names of the functions that code defines.
fn functions(code: &str) -> impl Iterator<Item = &str> {
    code.split("fn ")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_nowhere_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("crates/a/src/b.rs", "async fn the_test_is_there() {}");
        write(
            "docs/architecture.md",
            "`a/src/b.rs` `crates/a/src/b.rs` `b.rs` `the_test_is_there` `the_test_is_gone` `a_file`\n\n\
             | `a/src/c.rs` |\n| --- |\n\n```text\n`d.rs`\n```\n",
        );
        write("docs/other.md", "`e.rs`");
        let sources = Source::all(folder.path()).unwrap();
        let page = "docs/architecture.md: there is no";
        assert_eq!(
            missing(folder.path(), &sources),
            [
                format!("{page} `a/src/c.rs`"),
                format!("{page} `b.rs`"),
                format!("{page} `the_test_is_gone`"),
            ]
        );
    }
}
