//! The small syntax inside lines: words, quoted strings, keywords with values.

use std::str::FromStr;

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
    /// What stands before `=`, if anything does.
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
            Some(value) if !head.is_empty() => (Some(head.to_vec()), value),
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
