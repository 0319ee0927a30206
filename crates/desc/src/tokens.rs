//! A tokenizer for documents of items, with the rules of C Tor's `tokenize_string`
//! (feature/dirparse/parsecommon.c:53).
//!
//! What makes those rules more than "a keyword, arguments, perhaps an object":
//!
//! - white space, blank lines and `#` comments may stand before any keyword and before any
//!   `-----BEGIN` line;
//! - a keyword and an argument also end at `#`, and a `#` directly after an argument begins another
//!   one;
//! - `opt ` before a keyword is skipped;
//! - an unknown keyword is accepted with any arguments and object, but a key in its object must
//!   decode;
//! - a carriage return is white space everywhere but on the `-----BEGIN` and `-----END` lines;
//! - `-----END ` is looked for anywhere in a line.
//!
//! C Tor's limit of 128 KiB for a line and an object cannot be reached: the caller bounds the text.

use crate::base64;
use crate::bytes::{count_lines, find, find_byte, split_at};
use crate::der::{MODULUS_BITS, PublicParts};
use crate::error::{Error, KeyProblem, Malformed, Section};
use crate::rsa::{PKCS1_LABEL, PrivateKey};

/// Rules for one known keyword, which may stand once unless it [repeats](Rule::repeats).
#[derive(Debug)]
pub(crate) struct Rule {
    keyword: &'static str,
    arguments: Arguments,
    object: ObjectRule,
    place: Place,
    optional: bool,
    repeats: bool,
}

impl Rule {
    /// An item that must stand once: `T1`.
    pub(crate) const fn once(keyword: &'static str, arguments: Arguments, object: ObjectRule) -> Self {
        Self {
            keyword,
            arguments,
            object,
            place: Place::Anywhere,
            optional: false,
            repeats: false,
        }
    }

    /// An item that may be missing: `T01`.
    pub(crate) const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// The item may stand several times: `T1N`.
    pub(crate) const fn repeats(mut self) -> Self {
        self.repeats = true;
        self
    }

    /// The item must be the first: `T1_START`.
    pub(crate) const fn first(mut self) -> Self {
        self.place = Place::First;
        self
    }

    /// The item must be the last: `T1_END`.
    pub(crate) const fn last(mut self) -> Self {
        self.place = Place::Last;
        self
    }
}

/// Number of arguments that a keyword takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Arguments {
    /// `NO_ARGS`
    None,
    /// `EQ(1)`
    One,
    /// `CONCAT_ARGS`: the rest of the line, however it looks.
    Line,
    /// `GE(n)`, or `ARGS` for none.
    AtLeast(usize),
}

/// Object that a keyword takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ObjectRule {
    /// `NO_OBJ`
    None,
    /// `NEED_OBJ` with this label.
    Label(&'static str),
    /// `OBJ_OK`: any object, or none.
    Optional,
    /// `NEED_KEY_1024`
    Key,
    /// `NEED_SKEY_1024`; the reader checks that the key is one.
    PrivateKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Anywhere,
    First,
    Last,
}

/// A known item, as it stands in the text.
#[derive(Debug)]
pub(crate) struct Item<'a> {
    /// The argument, or the first of several; empty for a keyword that takes none.
    pub(crate) argument: &'a [u8],
    /// Arguments after the first, for a keyword that may have several.
    pub(crate) more: Vec<&'a [u8]>,
    /// The decoded object; empty for a keyword that takes none.
    pub(crate) object: Vec<u8>,
    /// Offset of the keyword.
    offset: usize,
}

/// The items of a document, in the order of the rules.
#[derive(Debug)]
pub(crate) struct Items<'a, const N: usize> {
    items: [Option<Item<'a>>; N],
    /// Second and later items of the rules that repeat, each with the index of its rule.
    repeated: Vec<(usize, Item<'a>)>,
    reader: Reader<'a>,
    rules: &'static [Rule; N],
}

impl<'a, const N: usize> Items<'a, N> {
    /// Reads `text` from beginning to end.
    ///
    /// # Errors
    /// [`Error::Malformed`] at the first line that breaks a rule.
    pub(crate) fn read(section: Section, text: &'a [u8], rules: &'static [Rule; N]) -> Result<Self, Error> {
        let mut reader = Reader {
            section,
            text,
            rest: text,
            unknown: Vec::new(),
        };
        if let Some(offset) = find_byte(0, text) {
            return Err(reader.error(offset, Malformed::Nul));
        }
        let mut items = [const { None }; N];
        let mut repeated = Vec::new();
        let mut count = 0;
        let mut last = None;
        reader.skip_blank();
        while !reader.rest.is_empty() {
            let found = reader.next_item(rules)?;
            last = found.as_ref().map(|(index, _)| *index);
            if let Some((index, item)) = found {
                // `next_item` returns the index of a rule, and there are as many slots as rules.
                if let (Some(slot), Some(rule)) = (items.get_mut(index), rules.get(index)) {
                    if slot.is_some() && !rule.repeats {
                        return Err(reader.error(item.offset, Malformed::Repeated(rule.keyword)));
                    }
                    if rule.place == Place::First && count > 0 {
                        return Err(reader.error(item.offset, Malformed::NotFirst(rule.keyword)));
                    }
                    match slot {
                        Some(_) => repeated.push((index, item)),
                        None => *slot = Some(item),
                    }
                }
            }
            count += 1;
            reader.skip_blank();
        }
        for (index, (rule, item)) in rules.iter().zip(&items).enumerate() {
            if item.is_none() && !rule.optional {
                return Err(reader.error(text.len(), Malformed::Missing(rule.keyword)));
            }
            if rule.place == Place::Last && last != Some(index) {
                return Err(reader.error(text.len(), Malformed::NotLast(rule.keyword)));
            }
        }
        Ok(Self {
            items,
            repeated,
            reader,
            rules,
        })
    }

    /// The item of the rule with this index.
    ///
    /// # Errors
    /// [`Malformed::Missing`], which can only happen for a rule that is optional.
    pub(crate) fn get(&self, index: usize) -> Result<&Item<'a>, Error> {
        self.items.get(index).and_then(Option::as_ref).ok_or_else(|| {
            self.reader
                .error(self.reader.text.len(), Malformed::Missing(self.keyword(index)))
        })
    }

    /// Every item of the rule with this index, in the order of the text.
    pub(crate) fn all(&self, index: usize) -> impl Iterator<Item = &Item<'a>> {
        let first = self.items.get(index).and_then(Option::as_ref);
        let later = self.repeated.iter().filter(move |(of, _)| *of == index);
        first.into_iter().chain(later.map(|(_, item)| item))
    }

    /// The item of the rule with this index, if it is there.
    pub(crate) fn find(&self, index: usize) -> Option<&Item<'a>> {
        self.items.get(index).and_then(Option::as_ref)
    }

    /// Items of no rule that begin before `end`, each with its object, as they stand in the text.
    pub(crate) fn unknown_before(&self, end: usize) -> impl Iterator<Item = &'a [u8]> {
        let unknown = self.reader.unknown.iter();
        unknown.filter(move |(start, _)| *start < end).map(|(_, item)| *item)
    }

    /// Moves the decoded object of the rule with this index out, if the item is there.
    pub(crate) fn take_object(&mut self, index: usize) -> Option<Vec<u8>> {
        let item = self.items.get_mut(index)?.as_mut()?;
        Some(std::mem::take(&mut item.object))
    }

    /// The error for an argument or object that the caller could not make sense of.
    pub(crate) fn bad_value(&self, index: usize, wanted: &'static str) -> Error {
        let keyword = self.keyword(index);
        self.error(index, Malformed::Value { keyword, wanted })
    }

    /// An error at the item with this index.
    pub(crate) fn error(&self, index: usize, problem: Malformed) -> Error {
        let offset = self
            .items
            .get(index)
            .and_then(Option::as_ref)
            .map_or(0, |item| item.offset);
        self.reader.error(offset, problem)
    }

    fn keyword(&self, index: usize) -> &'static str {
        self.rules.get(index).map_or("", |rule| rule.keyword)
    }
}

/// Text that is left to read.
#[derive(Debug)]
struct Reader<'a> {
    section: Section,
    text: &'a [u8],
    rest: &'a [u8],
    /// Items of no rule: where each begins, and how it stands in the text.
    unknown: Vec<(usize, &'a [u8])>,
}

impl<'a> Reader<'a> {
    /// `get_next_token` (parsecommon.c:269), for a `rest` that begins with a keyword. `None` for an
    /// unknown keyword.
    fn next_item<const N: usize>(&mut self, rules: &'static [Rule; N]) -> Result<Option<(usize, Item<'a>)>, Error> {
        let offset = self.offset();
        let line = self.take_line();
        let (mut keyword, mut rest) = split_at(line, word_length(line));
        if keyword == b"opt" {
            let line = skip_spaces(rest);
            (keyword, rest) = split_at(line, word_length(line));
        }
        let known = rules.iter().position(|rule| rule.keyword.as_bytes() == keyword);
        let Some((index, rule)) = known.and_then(|index| Some((index, rules.get(index)?))) else {
            if keyword.starts_with(b"@") {
                return Err(self.error(offset, Malformed::Annotation));
            }
            let mut end = self.offset();
            if let Some(object) = self.take_object()? {
                self.check_unknown(&object)?;
                end = self.offset();
            }
            let item = self.text.get(offset..end).unwrap_or_default();
            self.unknown.push((offset, item));
            return Ok(None);
        };
        if let Arguments::AtLeast(least) = rule.arguments {
            let arguments = self.read_arguments(rule, offset, skip_spaces(rest), least)?;
            let object = self.read_object(rule, offset)?;
            let mut arguments = arguments.into_iter();
            let item = Item {
                argument: arguments.next().unwrap_or_default(),
                more: arguments.collect(),
                object,
                offset,
            };
            return Ok(Some((index, item)));
        }
        let argument = self.read_argument(rule, offset, skip_spaces(rest))?;
        let object = self.read_object(rule, offset)?;
        Ok(Some((
            index,
            Item {
                argument,
                more: Vec::new(),
                object,
                offset,
            },
        )))
    }

    fn read_arguments(
        &self,
        rule: &Rule,
        offset: usize,
        mut rest: &'a [u8],
        least: usize,
    ) -> Result<Vec<&'a [u8]>, Error> {
        let arguments: Vec<_> = std::iter::from_fn(|| next_argument(&mut rest)).collect();
        let keyword = rule.keyword;
        let found = arguments.len();
        if found < least {
            return Err(self.error(offset, Malformed::TooFewArguments { keyword, least, found }));
        }
        if found > MAX_ARGUMENTS {
            let limit = MAX_ARGUMENTS;
            return Err(self.error(offset, Malformed::TooManyArguments { keyword, limit, found }));
        }
        Ok(arguments)
    }

    fn read_argument(&self, rule: &Rule, offset: usize, mut rest: &'a [u8]) -> Result<&'a [u8], Error> {
        let wanted = match rule.arguments {
            Arguments::Line => return Ok(rest),
            Arguments::None => 0,
            Arguments::One => 1,
            Arguments::AtLeast(least) => least,
        };
        let first = next_argument(&mut rest);
        let found = usize::from(first.is_some()) + std::iter::from_fn(|| next_argument(&mut rest)).count();
        if found != wanted {
            let problem = Malformed::ArgumentCount {
                keyword: rule.keyword,
                wanted,
                found,
            };
            return Err(self.error(offset, problem));
        }
        Ok(first.unwrap_or_default())
    }

    /// Reads the object that follows a known item and checks it as `token_check_object` does
    /// (parsecommon.c:195).
    fn read_object(&mut self, rule: &Rule, offset: usize) -> Result<Vec<u8>, Error> {
        let keyword = rule.keyword;
        let object = self.take_object()?;
        let label = match (rule.object, &object) {
            (ObjectRule::None, None) => return Ok(Vec::new()),
            (ObjectRule::Optional, _) => return Ok(object.map(|object| object.body).unwrap_or_default()),
            (ObjectRule::None, Some(object)) => {
                return Err(self.error(object.offset, Malformed::UnexpectedObject(keyword)));
            }
            (ObjectRule::Label(label), _) => label,
            (ObjectRule::Key, _) => PUBLIC_KEY,
            (ObjectRule::PrivateKey, _) => PKCS1_LABEL,
        };
        let Some(object) = object.filter(|object| object.label == label.as_bytes()) else {
            return Err(self.error(offset, Malformed::MissingObject { keyword, label }));
        };
        if let ObjectRule::Key = rule.object {
            let bits = PublicParts::from_der(&object.body).map(|key| key.bits());
            let problem = match bits {
                Some(MODULUS_BITS) => return Ok(object.body),
                Some(bits) => KeyProblem::Size { bits },
                None => KeyProblem::Damaged,
            };
            return Err(self.error(object.offset, Malformed::Key(problem)));
        }
        Ok(object.body)
    }

    /// An unknown item may have any object, but a key must be one (parsecommon.c:405-420).
    fn check_unknown(&self, object: &Object<'_>) -> Result<(), Error> {
        let valid = match object.label {
            b"RSA PUBLIC KEY" => PublicParts::from_der(&object.body).is_some(),
            b"RSA PRIVATE KEY" => PrivateKey::up_to_1024_bits(&object.body).is_ok(),
            _ => true,
        };
        if !valid {
            return Err(self.error(object.offset, Malformed::Key(KeyProblem::Damaged)));
        }
        Ok(())
    }

    /// The object that follows, if one does (parsecommon.c:359-402).
    fn take_object(&mut self) -> Result<Option<Object<'a>>, Error> {
        self.skip_blank();
        let offset = self.offset();
        // A last line without LF begins no object: it is an unknown keyword.
        if !self.rest.starts_with(BEGIN) || find_byte(b'\n', self.rest).is_none() {
            return Ok(None);
        }
        let line = self.take_line();
        let label = line
            .strip_prefix(BEGIN)
            .and_then(|label| label.strip_suffix(DASHES))
            .filter(|label| !label.is_empty())
            .ok_or_else(|| self.error(offset, or_line_end(line, Malformed::ObjectBegin)))?;
        let body_offset = self.offset();
        let end = find(END, self.rest).ok_or_else(|| self.error(offset, Malformed::ObjectEnd))?;
        let (body, rest) = split_at(self.rest, end);
        self.rest = rest;
        let line = self.take_line();
        if line.strip_prefix(END).and_then(|line| line.strip_suffix(DASHES)) != Some(label) {
            return Err(self.error(body_offset + end, or_line_end(line, Malformed::ObjectEnd)));
        }
        let body = base64::decode(body).ok_or_else(|| self.error(body_offset, Malformed::Base64))?;
        Ok(Some(Object { label, body, offset }))
    }

    /// Takes the rest of this line, without its LF.
    fn take_line(&mut self) -> &'a [u8] {
        let end = find_byte(b'\n', self.rest).unwrap_or(self.rest.len());
        let (line, rest) = split_at(self.rest, end);
        self.rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        line
    }

    /// `eat_whitespace_eos` (lib/string/util_string.c:304): also comments, also over lines.
    fn skip_blank(&mut self) {
        self.rest = skip_blank(self.rest);
    }

    fn offset(&self) -> usize {
        self.text.len() - self.rest.len()
    }

    fn error(&self, offset: usize, problem: Malformed) -> Error {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = 1 + count_lines(before);
        Error::Malformed {
            section: self.section,
            line,
            problem,
        }
    }
}

/// An object, decoded.
#[derive(Debug)]
struct Object<'a> {
    label: &'a [u8],
    body: Vec<u8>,
    /// Offset of its `-----BEGIN` line.
    offset: usize,
}

/// Names the line end where that is what breaks the rule: Tor allows a CR everywhere but here.
fn or_line_end(line: &[u8], problem: Malformed) -> Malformed {
    if line.ends_with(b"-----\r") {
        Malformed::LineEnd
    } else {
        problem
    }
}

/// Largest number of arguments of one item: `MAX_ARGS` (parsecommon.c:188).
const MAX_ARGUMENTS: usize = 512;

/// Label of a public key.
pub(crate) const PUBLIC_KEY: &str = "RSA PUBLIC KEY";
const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// `get_token_arguments` (parsecommon.c:164), one argument at a time. The byte that ends an
/// argument goes with it, so that a `#` directly after one does not begin a comment.
fn next_argument<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    if rest.is_empty() {
        return None;
    }
    let (argument, after) = split_at(rest, word_length(rest));
    *rest = skip_blank(after.get(1..).unwrap_or_default());
    Some(argument)
}

/// `find_whitespace_eos` (util_string.c:375): the length of the word that `text` begins with.
fn word_length(text: &[u8]) -> usize {
    text.iter()
        .position(|byte| matches!(byte, b'#' | b' ' | b'\r' | b'\n' | b'\t'))
        .unwrap_or(text.len())
}

/// `eat_whitespace_eos_no_nl` (util_string.c:342)
fn skip_spaces(text: &[u8]) -> &[u8] {
    let spaces = text
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
        .count();
    split_at(text, spaces).1
}

/// `eat_whitespace_eos` (util_string.c:304)
pub(crate) fn skip_blank(mut text: &[u8]) -> &[u8] {
    while let Some((first, rest)) = text.split_first() {
        text = match first {
            b' ' | b'\t' | b'\n' | b'\r' => rest,
            b'#' => split_at(rest, find_byte(b'\n', rest).unwrap_or(rest.len())).1,
            _ => break,
        };
    }
    text
}
