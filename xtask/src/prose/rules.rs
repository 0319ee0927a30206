//! The rules, applied to one piece of Markdown.

use std::fmt;
use std::ops::Range;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use serde::{Deserialize, Serialize};

/// Most columns that a line of prose may have.
const MOST_COLUMNS: usize = 100;
/// Most words that a sentence may have.
const MOST_WORDS: usize = 30;
/// Words that no summary begins with.
const NO_BEGINNINGS: [&str; 18] = [
    "What", "Whatever", "Who", "Whoever", "Whom", "Whose", "Where", "Wherever", "How", "However", "Why", "So", "Which",
    "That", "It", "One", "As", "Lets",
];
/// Words that occur nowhere.
const NO_WORDS: [&str; 8] = [
    "shall",
    "lest",
    "whoever",
    "whosoever",
    "mend",
    "mends",
    "mended",
    "mending",
];
/// Words whose full stop ends no sentence.
const ABBREVIATIONS: [&str; 5] = ["e.g.", "i.e.", "etc.", "vs.", "cf."];

/// Rule of plain English.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Rule {
    /// The summary of a doc comment starts with a noun or a third-person verb.
    #[serde(rename = "beginnings")]
    Beginning,
    /// A line of prose has at most 100 columns.
    #[serde(rename = "lines")]
    Line,
    /// A sentence has at most 30 words.
    #[serde(rename = "sentences")]
    Sentence,
    /// Some words are too old or too poetic.
    #[serde(rename = "words")]
    Word,
}

impl Rule {
    pub(super) const ALL: [Self; 4] = [Self::Beginning, Self::Line, Self::Sentence, Self::Word];
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beginning => f.write_str("a summary begins with a relative word"),
            Self::Line => write!(f, "a line of prose has more than {MOST_COLUMNS} columns"),
            Self::Sentence => write!(f, "a sentence has more than {MOST_WORDS} words"),
            Self::Word => f.write_str("a word that goes"),
        }
    }
}

/// Offence within a piece of Markdown.
#[derive(Debug, PartialEq)]
pub(super) struct Offence {
    /// Number of lines before it.
    pub(super) line: usize,
    pub(super) rule: Rule,
    pub(super) words: String,
}

/// Returns the offence of a doc comment's first line, if there is one.
pub(super) fn judge_summary(line: &str) -> Option<Offence> {
    let word = line.trim_start_matches(|c: char| !c.is_alphanumeric());
    let word = word.split(|c: char| !c.is_alphanumeric()).next()?;
    NO_BEGINNINGS.contains(&word).then(|| Offence {
        line: 0,
        rule: Rule::Beginning,
        words: shortened(line),
    })
}

/// Lists the forbidden words of a line of plain text, in which backticks quote code.
pub(super) fn judge_words(text: &str, line: usize) -> Vec<Offence> {
    let prose = text.split('`').step_by(2);
    let words = prose.flat_map(|part| part.split(|c: char| !(c.is_alphanumeric() || c == '_')));
    let found = words.filter(|word| NO_WORDS.contains(&word.to_lowercase().as_str()));
    found
        .map(|word| Offence {
            line,
            rule: Rule::Word,
            words: format!("{word:?} in {:?}", shortened(text)),
        })
        .collect()
}

/// Applies all rules but that of summaries to Markdown.
///
/// `indent` is the number of columns that stand before each of its lines in the file.
pub(super) fn judge(markdown: &str, indent: usize) -> Vec<Offence> {
    let lines = Lines::of(markdown);
    let mut offences = Vec::new();
    let mut exempt: Vec<Range<usize>> = Vec::new();
    let mut paragraph = Paragraph::default();
    // Depth of what holds no sentences.
    let (mut code, mut table) = (0, 0);
    for (event, place) in Parser::new_ext(markdown, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(Tag::Emphasis | Tag::Strong | Tag::Strikethrough | Tag::Link { .. } | Tag::Image { .. })
            | Event::End(TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough | TagEnd::Link | TagEnd::Image) => {}
            Event::Start(tag) => {
                paragraph.judge(&lines, table == 0, &mut offences);
                match tag {
                    Tag::CodeBlock(_) | Tag::HtmlBlock => code += 1,
                    Tag::Table(_) => table += 1,
                    _ => continue,
                }
                exempt.push(place);
            }
            Event::End(tag) => {
                paragraph.judge(&lines, table == 0, &mut offences);
                match tag {
                    TagEnd::CodeBlock | TagEnd::HtmlBlock => code -= 1,
                    TagEnd::Table => table -= 1,
                    _ => {}
                }
            }
            Event::Text(text) if code == 0 => paragraph.push(&text, place.start),
            // A name of code counts as one word.
            Event::Code(_) => paragraph.push("code", place.start),
            Event::SoftBreak | Event::HardBreak => paragraph.push(" ", place.start),
            _ => {}
        }
    }
    paragraph.judge(&lines, true, &mut offences);
    for (number, line) in markdown.lines().enumerate() {
        let start = lines.starts[number];
        let end = start + line.len();
        let is_within = |block: &Range<usize>| block.start < end && start < block.end;
        let is_exempt = exempt.iter().any(is_within) || is_definition(line);
        if !is_exempt && indent + width(line) > MOST_COLUMNS {
            offences.push(Offence {
                line: number,
                rule: Rule::Line,
                words: shortened(line),
            });
        }
    }
    offences
}

/// Running text, and where its parts come from.
#[derive(Default)]
struct Paragraph {
    text: String,
    /// Pairs of a place in the text and its place in the source.
    parts: Vec<(usize, usize)>,
}

impl Paragraph {
    fn push(&mut self, text: &str, place: usize) {
        self.parts.push((self.text.len(), place));
        self.text.push_str(text);
    }

    /// Judges what was gathered, and starts anew.
    fn judge(&mut self, lines: &Lines, has_sentences: bool, offences: &mut Vec<Offence>) {
        for (start, sentence) in sentences(&self.text) {
            let part = self.parts.iter().rev().find(|(at, _)| *at <= start);
            let line = part.map_or(0, |(_, place)| lines.number(*place));
            offences.extend(judge_words(sentence, line));
            let count = sentence.split_whitespace().filter(|word| is_word(word)).count();
            if has_sentences && count > MOST_WORDS {
                offences.push(Offence {
                    line,
                    rule: Rule::Sentence,
                    words: format!("{count} words: {}", shortened(sentence)),
                });
            }
        }
        *self = Self::default();
    }
}

/// The sentences of a paragraph, each with its place.
fn sentences(text: &str) -> Vec<(usize, &str)> {
    let mut sentences = Vec::new();
    let mut start = 0;
    for (space, gap) in text.match_indices(char::is_whitespace) {
        let Some(sentence) = text.get(start..space) else {
            continue;
        };
        let end = sentence.trim_end_matches([')', '"', '\'', '*', '_', '”']);
        let last = end.rsplit([' ', '(']).next().unwrap_or(end);
        let is_short = ABBREVIATIONS.iter().any(|word| last.eq_ignore_ascii_case(word));
        let is_whole = end.ends_with(['.', '!', '?']) && !is_short;
        if is_whole {
            sentences.push((start, sentence));
            start = space + gap.len();
        }
    }
    let rest = text.get(start..).filter(|rest| !rest.is_empty());
    sentences.extend(rest.map(|rest| (start, rest)));
    sentences
}

/// Returns whether a run of characters is more than a dash or a sign.
fn is_word(run: &str) -> bool {
    run.contains(char::is_alphanumeric)
}

/// The line starts of a text.
struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    fn of(text: &str) -> Self {
        let ends = text.match_indices('\n').map(|(end, _)| end + 1);
        Self {
            starts: std::iter::once(0).chain(ends).collect(),
        }
    }

    /// Number of the line, from 0, that holds a place.
    fn number(&self, place: usize) -> usize {
        self.starts.partition_point(|start| *start <= place).saturating_sub(1)
    }
}

/// Returns whether a line defines the target of a link.
fn is_definition(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with('[') && line.contains("]: ")
}

/// Columns of a line without what cannot be broken: the targets of links, and addresses.
fn width(line: &str) -> usize {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, target)) = rest.split_once("](") {
        text.push_str(before);
        text.push(']');
        rest = target.split_once(')').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    let addresses = text.split(' ').filter(|word| word.contains("://"));
    let unbroken: usize = addresses.map(|word| word.chars().count()).sum();
    text.trim_end().chars().count() - unbroken
}

/// First words of a text.
fn shortened(text: &str) -> String {
    const MOST: usize = 70;
    let text = text.trim();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or(text)),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(markdown: &str) -> Vec<(usize, Rule)> {
        judge(markdown, 4)
            .into_iter()
            .map(|offence| (offence.line, offence.rule))
            .collect()
    }

    #[test]
    fn summaries_begin_with_a_noun_or_a_verb() {
        for good in [
            "Number of relays.",
            "Returns `It`.",
            "Whether it runs.",
            "Items of it",
            "`What` there is",
            "",
        ] {
            let first = good.starts_with('`');
            assert_eq!(judge_summary(good).is_some(), first, "{good}");
        }
        for bad in [
            "What a relay is.",
            "**It** runs.",
            "So many bytes.",
            "How long it takes",
            "Who's there",
        ] {
            assert_eq!(judge_summary(bad).unwrap().rule, Rule::Beginning, "{bad}");
        }
    }

    /// Returns a sentence of `count` words, five on a line, whose further lines are indented.
    fn sentence(count: usize, indent: &str) -> String {
        let words = vec!["word"; count];
        let lines: Vec<String> = words.chunks(5).map(|line| line.join(" ")).collect();
        format!("{}.", lines.join(&format!("\n{indent}")))
    }

    #[test]
    fn sentences_have_at_most_thirty_words() {
        assert_eq!(found(&sentence(30, "")), []);
        assert_eq!(found(&sentence(31, "")), [(0, Rule::Sentence)]);
        let text = format!("Short. {0}\n\nA new\nparagraph.\n\n{0}", sentence(31, ""));
        assert_eq!(found(&text), [(0, Rule::Sentence), (11, Rule::Sentence)]);
        // Neither abbreviations nor file names end a sentence; code is one word, and a dash none.
        let text = format!("E.g. a.rs, e.g. {}", sentence(28, ""));
        assert_eq!(found(&text), [(0, Rule::Sentence)]);
        let text = format!("A – `{}` is {}", ["word"; 10].join(" "), sentence(27, ""));
        assert_eq!(found(&text), []);
        // Each item of a list is a piece of its own.
        let text = format!("- {}\n- {}\n", sentence(20, "  "), sentence(31, "  "));
        assert_eq!(found(&text), [(4, Rule::Sentence)]);
    }

    #[test]
    fn code_and_tables_are_no_sentences() {
        let long = ["word"; 40].join(" ");
        let code = format!("```text\n{long} shall\n```\n\n    {long}\n");
        assert_eq!(found(&code), []);
        let table = format!("| a | b |\n| --- | --- |\n| {long} | c |\n");
        assert_eq!(found(&table), []);
        let word = found("| a | b |\n| --- | --- |\n| it shall | c |\n");
        assert_eq!(word, [(2, Rule::Word)]);
    }

    #[test]
    fn lines_have_at_most_a_hundred_columns() {
        // Four columns stand before each line.
        let of = |columns: usize| format!("{}.", ["word. "; 30].concat().get(..columns - 1).unwrap());
        assert_eq!(found(&of(96)), []);
        assert_eq!(found(&format!("A.\n{}", of(97))), [(1, Rule::Line)]);
        let target = "x".repeat(90);
        assert_eq!(found(&format!("See [here](https://{target}) and https://{target}")), []);
        assert_eq!(found(&format!("See [here].\n\n[here]: https://{target}")), []);
    }

    #[test]
    fn some_words_go() {
        let found: Vec<String> = judge("It Shall be mended, lest\n`shall` and amend.", 0)
            .into_iter()
            .map(|offence| offence.words.split(' ').next().unwrap().to_owned())
            .collect();
        assert_eq!(found, ["\"Shall\"", "\"mended\"", "\"lest\""]);
    }
}
