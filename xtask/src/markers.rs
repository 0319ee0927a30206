//! Parts of Markdown files that commands write, between two lines that mark the place.

use anyhow::{Context as _, ensure};

/// Returns `text` with another content between the lines `begin` and `end`.
pub(crate) fn replace(text: &str, begin: &str, end: &str, content: &str) -> anyhow::Result<String> {
    let (before, rest) = text.split_once(begin).with_context(|| format!("no line {begin:?}"))?;
    let (old, after) = rest
        .split_once(end)
        .with_context(|| format!("no line {end:?} after it"))?;
    ensure!(!old.contains(begin), "two lines {begin:?}");
    Ok(format!("{before}{begin}\n\n{content}\n\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        assert_eq!(
            replace("a\n<\nold\n>\nb\n", "<", ">", "new").unwrap(),
            "a\n<\n\nnew\n\n>\nb\n"
        );
        for text in ["a", "<", "> <", "< < >"] {
            assert!(replace(text, "<", ">", "new").is_err(), "{text}");
        }
    }
}
