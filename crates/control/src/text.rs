//! The small syntax inside lines: words, quoted strings, keywords with values.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// The first word, and what follows the spaces after it. `None` when nothing but spaces is left.
pub(crate) fn split_word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = skip_spaces(text);
    let end = text.iter().position(|&byte| byte == b' ').unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (!word.is_empty()).then(|| (word, skip_spaces(rest)))
}

/// The words of a text without quoting.
pub(crate) fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b' ').filter(|word| !word.is_empty())
}

/// A decimal number without sign, as Tor writes them.
pub(crate) fn number<N: FromStr>(text: &str) -> Option<N> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn skip_spaces(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&byte| byte != b' ').unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

/// Appends `value` in double quotes with `"` and `\` escaped, which C Tor reads the same as a
/// QuotedString (lib/encoding/qstring.c:64) and as a C string (lib/encoding/cstring.c:30).
pub(crate) fn push_quoted(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    for &byte in value {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// Reads a C string in double quotes from the front of `text`; gives its content and what follows.
///
/// The escapes are those of `unescape_string` (lib/encoding/cstring.c:30-138), which takes all that
/// `esc_for_log` writes (lib/log/escape.c:30). `None` where C Tor would refuse it.
pub(crate) fn unquote(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut rest = text.strip_prefix(b"\"")?;
    let mut out = Vec::new();
    loop {
        match rest {
            [b'"', after @ ..] => return Some((out, after)),
            [] | [b'\n', ..] => return None,
            [b'\\', b'x' | b'X', high, low, after @ ..] => {
                out.push(hex_digit(*high)? << 4 | hex_digit(*low)?);
                rest = after;
            }
            [b'\\', b'0'..=b'7', ..] => {
                let digits = rest
                    .iter()
                    .skip(1)
                    .take(3)
                    .take_while(|byte| matches!(byte, b'0'..=b'7'))
                    .count();
                let (number, after) = rest.get(1..)?.split_at_checked(digits)?;
                let value = number
                    .iter()
                    .fold(0_u16, |value, digit| value * 8 + u16::from(digit - b'0'));
                out.push(u8::try_from(value).ok()?);
                rest = after;
            }
            [b'\\', escaped, after @ ..] => {
                out.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'"' | b'\\' | b'\'' => *escaped,
                    _ => return None,
                });
                rest = after;
            }
            [b'\\'] => return None,
            [byte, after @ ..] => {
                out.push(*byte);
                rest = after;
            }
        }
    }
}

/// A word, or a keyword with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Argument {
    /// The text before `=`, if there is any.
    pub(crate) key: Option<Vec<u8>>,
    /// The value or word, unquoted.
    pub(crate) value: Vec<u8>,
}

/// Reads `K=V`, `K="V"`, `V` and `"V"`, separated by spaces, as `kvline_parse` does
/// (lib/encoding/kvline.c:211). `None` for bad quoting.
pub(crate) fn arguments(mut text: &[u8]) -> Option<Vec<Argument>> {
    let mut found = Vec::new();
    loop {
        text = skip_spaces(text);
        if text.is_empty() {
            return Some(found);
        }
        let end = text
            .iter()
            .position(|byte| matches!(byte, b' ' | b'=' | b'"'))
            .unwrap_or(text.len());
        let (head, tail) = text.split_at(end);
        let (key, value) = match tail.strip_prefix(b"=") {
            // `$FINGERPRINT=nickname` is the name of a relay with the flag `Named`, as Tor wrote it
            // before 0.3.1 (`LongName`, control-spec section 2.4). No keyword has a dollar sign.
            Some(value) if !head.is_empty() && !head.contains(&b'$') => (Some(head.to_vec()), value),
            _ => (None, text),
        };
        let (value, rest) = if value.first() == Some(&b'"') {
            unquote(value)?
        } else {
            let end = value.iter().position(|&byte| byte == b' ').unwrap_or(value.len());
            let (value, rest) = value.split_at(end);
            (value.to_vec(), rest)
        };
        if !matches!(rest.first(), None | Some(b' ')) {
            return None;
        }
        found.push(Argument { key, value });
        text = rest;
    }
}

/// The content of a line: words, then keywords with values, in any order. What is not taken out of
/// it stays in [`Arguments`].
#[derive(Debug)]
pub(crate) struct Fields {
    words: std::vec::IntoIter<String>,
    keywords: Vec<(String, Vec<u8>)>,
}

impl Fields {
    /// `None` for bad quoting.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let mut words = Vec::new();
        let mut keywords = Vec::new();
        for Argument { key, value } in arguments(text)? {
            match key {
                None => words.push(lossy(&value)),
                Some(key) => keywords.push((lossy(&key), value)),
            }
        }
        Some(Self {
            words: words.into_iter(),
            keywords,
        })
    }

    /// The next word.
    pub(crate) fn word(&mut self) -> Option<String> {
        self.words.next()
    }

    /// The next word, if it has a certain form; otherwise it stays.
    pub(crate) fn word_if<T>(&mut self, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let found = read(self.words.as_slice().first()?)?;
        self.words.next();
        Some(found)
    }

    /// The value of a keyword as bytes.
    pub(crate) fn bytes(&mut self, key: &str) -> Option<Vec<u8>> {
        let at = self.keywords.iter().position(|(name, _)| name == key)?;
        Some(self.keywords.remove(at).1)
    }

    /// The value of a keyword; bytes that are not UTF-8 are replaced.
    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        self.bytes(key).map(|value| lossy(&value))
    }

    /// The value of a keyword, if it has a certain form; otherwise it stays.
    pub(crate) fn read<T>(&mut self, key: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let at = self.keywords.iter().position(|(name, _)| name == key)?;
        let found = read(str::from_utf8(&self.keywords.get(at)?.1).ok()?)?;
        self.keywords.remove(at);
        Some(found)
    }

    /// The rest that was not taken: the words first, then the keywords.
    pub(crate) fn rest(self) -> Arguments {
        let words = self.words.map(|word| (String::new(), word));
        let keywords = self.keywords.into_iter().map(|(key, value)| (key, lossy(&value)));
        Arguments(words.chain(keywords).collect())
    }
}

/// Words and keywords with their values, as they stand on a line; bytes that are not UTF-8 are
/// replaced.
///
/// In most events, these are what this version of the library has no name for.
///
/// ```
/// use onionweave_control::Event;
///
/// let Event::Bw(event) = Event::parse(b"650 BW 1 2 DIR=3 new\r\n")? else { panic!() };
/// assert_eq!(event.extra().value("DIR"), Some("3"));
/// assert_eq!(event.extra().iter().collect::<Vec<_>>(), [("", "new"), ("DIR", "3")]);
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
pub struct Arguments(Vec<(String, String)>);

impl Arguments {
    /// The value of a keyword.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// All of them; a word has an empty keyword.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Serializes bytes as text; those that are not UTF-8 are replaced.
#[cfg(feature = "serde")]
pub(crate) fn lossy_text<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(bytes))
}

/// The same, for bytes that may be absent.
#[cfg(feature = "serde")]
pub(crate) fn option_lossy<S: serde::Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    match bytes {
        Some(bytes) => serializer.serialize_some(&String::from_utf8_lossy(bytes)),
        None => serializer.serialize_none(),
    }
}

pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A time in UTC as Tor writes it (`format_iso_time` and `format_iso_time_nospace_usec`,
/// lib/encoding/time_fmt.c): `2026-01-31 23:59:59`, with `T` for the space, with a fraction of the
/// second.
pub(crate) fn utc(text: &str) -> Option<SystemTime> {
    let (date, time) = text.split_once([' ', 'T'])?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let three = |text: &str, separator: char| {
        let mut parts = text.split(separator).map(number::<u64>);
        let found = (parts.next()??, parts.next()??, parts.next()??);
        parts.next().is_none().then_some(found)
    };
    let (year, month, day) = three(date, '-')?;
    let (hour, minute, second) = three(time, ':')?;
    let digits = u32::try_from(fraction.len())
        .ok()
        .filter(|digits| (1..=9).contains(digits))?;
    let nanoseconds = number::<u32>(fraction)? * 10_u32.pow(9 - digits);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=days_of(year, month)).contains(&day) {
        return None;
    }
    // A leap second counts as the one after it.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let years = year - 1970;
    let leap_days = (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400 - 477;
    let months: u64 = (1..month).map(|month| days_of(year, month)).sum();
    let days = years * 365 + leap_days + months + day - 1;
    let seconds = days * 86400 + hour * 3600 + minute * 60 + second;
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds))
}

fn days_of(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A name, a text, and the string in it with what follows unless it is refused.
    type Case<'a> = (&'a str, &'a [u8], Option<(&'a [u8], &'a [u8])>);

    #[test]
    fn c_strings() {
        let table: &[Case<'_>] = &[
            ("empty", br#""""#, Some((b"", b""))),
            ("plain, with more behind", br#""abc" d"#, Some((b"abc", b" d"))),
            ("letters", br#""\n\r\t\"\\\'""#, Some((b"\n\r\t\"\\'", b""))),
            ("octal", br#""\0\12\1011\377""#, Some((b"\0\nA1\xff", b""))),
            ("octal, a digit that is none", br#""\18""#, Some((b"\x018", b""))),
            ("hexadecimal", br#""\x41\X4a""#, Some((b"AJ", b""))),
            ("not UTF-8", b"\"\xff\"", Some((b"\xff", b""))),
            ("octal over 255", br#""\400""#, None),
            ("hexadecimal cut short", br#""\x4""#, None),
            ("hexadecimal with another letter", br#""\x4g""#, None),
            ("unknown letter", br#""\q""#, None),
            ("no quote", b"abc", None),
            ("no end", br#""abc"#, None),
            ("escaped end", br#""abc\""#, None),
            ("backslash at the end", b"\"abc\\", None),
            ("line break", b"\"a\nb\"", None),
            ("nothing", b"", None),
        ];
        for (name, text, expected) in table {
            let expected = expected.map(|(value, rest)| (value.to_vec(), rest));
            assert_eq!(unquote(text), expected, "{name}");
        }
    }

    #[test]
    fn arguments_of_every_form() {
        let argument = |key: Option<&str>, value: &str| Argument {
            key: key.map(|key| key.as_bytes().to_vec()),
            value: value.as_bytes().to_vec(),
        };
        let found = arguments(br#" A=1  B="2 \"x\"" C= word "quoted word" D=e=f"#).unwrap();
        let expected = [
            argument(Some("A"), "1"),
            argument(Some("B"), "2 \"x\""),
            argument(Some("C"), ""),
            argument(None, "word"),
            argument(None, "quoted word"),
            argument(Some("D"), "e=f"),
        ];
        assert_eq!(found, expected);
        assert_eq!(arguments(b""), Some(vec![]));
        assert_eq!(arguments(b"=1"), Some(vec![argument(None, "=1")]));
        for bad in [&br#"A="1"#[..], br#"A="1"2"#, br#""a"b"#] {
            assert_eq!(arguments(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn times() {
        let table = [
            ("1970-01-01 00:00:00", Some(0.0)),
            ("1970-01-01T00:00:01.500000", Some(1.5)),
            ("2000-02-29 00:00:00", Some(951_782_400.0)),
            ("2021-12-31 23:59:59", Some(1_640_995_199.0)),
            ("2021-12-31 23:59:60", Some(1_640_995_200.0)),
            ("2038-01-01 00:00:00", Some(2_145_916_800.0)),
            ("2100-03-01 00:00:00", Some(4_107_542_400.0)),
            ("2021-02-29 00:00:00", None),
            ("2021-13-01 00:00:00", None),
            ("2021-12-00 00:00:00", None),
            ("2021-12-31 24:00:00", None),
            ("2021-12-31 23:60:00", None),
            ("2021-12-31", None),
            ("2021-12-31 23:59", None),
            ("2021-12-31 23:59:59:1", None),
            ("2021-12-31T23:59:59.", None),
            ("2021-12-31T23:59:59.0123456789", None),
            ("2021-12-31 -1:59:59", None),
            ("1969-12-31 23:59:59", None),
            ("10000-01-01 00:00:00", None),
            ("", None),
        ];
        for (text, expected) in table {
            let found = utc(text).map(|time| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64());
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn numbers() {
        for (text, expected) in [
            ("0", Some(0)),
            ("255", Some(255)),
            ("007", Some(7)),
            ("256", None),
            ("+1", None),
            ("-1", None),
            ("", None),
            ("1 ", None),
        ] {
            assert_eq!(number::<u8>(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn quoting_comes_back(value in prop::collection::vec(any::<u8>().prop_filter("line", |byte| *byte != b'\n'), 0..80)) {
            let mut quoted = Vec::new();
            push_quoted(&mut quoted, &value);
            let (back, rest) = unquote(&quoted).unwrap();
            prop_assert_eq!(back, value);
            prop_assert!(rest.is_empty());
        }
    }
}
