//! The small syntax inside lines: words, quoted strings, keywords with values.

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

fn skip_spaces(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&byte| byte != b' ').unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

/// Appends `value` in double quotes with `"` and `\` escaped, which C Tor reads the same as a QuotedString
/// (lib/encoding/qstring.c:64) and as a C string (lib/encoding/cstring.c:30).
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
/// The escapes are those of `unescape_string` (lib/encoding/cstring.c:30-138), which takes all that `esc_for_log` writes
/// (lib/log/escape.c:30). `None` where C Tor would refuse it.
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

/// Reads `K=V`, `K="V"`, `V` and `"V"`, separated by spaces, as `kvline_parse` does (lib/encoding/kvline.c:211). `None` for bad quoting.
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
