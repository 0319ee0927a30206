//! The text of Tor's configuration file.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Lines of a torrc.
///
/// ```
/// use onionweave_control::launch::Torrc;
///
/// let torrc = Torrc::new().option("Nickname", "a").option("DataDirectory", "/var/#1");
/// assert_eq!(torrc.to_string(), "Nickname a\nDataDirectory \"/var/#1\"\n");
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Torrc(Vec<u8>);

impl Torrc {
    /// No lines.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an option. The value is quoted where Tor would read it differently otherwise, so one
    /// value is never more than one line.
    #[must_use]
    pub fn option(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        let value = value.as_ref().as_bytes();
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b' ');
        if is_plain(value) {
            self.0.extend_from_slice(value);
        } else {
            push_quoted(&mut self.0, value);
        }
        self.0.push(b'\n');
        self
    }

    /// Adds an option whose value is a port that is a unix socket, `unix:"PATH"`.
    #[must_use]
    pub fn unix_port(self, name: &str, path: &Path) -> Self {
        let mut value = b"unix:".to_vec();
        push_quoted(&mut value, path.as_os_str().as_bytes());
        self.option(name, OsStr::from_bytes(&value))
    }

    /// Adds a line as it is. A line break in it begins another line.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.0.extend_from_slice(line.as_bytes());
        self.0.push(b'\n');
        self
    }

    /// Adds other lines.
    #[must_use]
    pub fn append(mut self, other: &Self) -> Self {
        self.0.extend_from_slice(&other.0);
        self
    }

    /// The lines as bytes: a path may have any.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn comment(self, text: &str) -> Self {
        self.line(&format!("# {text}"))
    }
}

impl fmt::Display for Torrc {
    /// Writes the lines, with bytes that are not UTF-8 replaced.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Torrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Torrc({:?})", String::from_utf8_lossy(&self.0))
    }
}

/// Whether Tor reads a value as it is: no comment, no quotes, no spaces at its ends
/// (`parse_config_line_from_str_verbose`, lib/encoding/confline.c).
fn is_plain(value: &[u8]) -> bool {
    let is_edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_whitespace);
    !is_edge(value.first())
        && !is_edge(value.last())
        && !value
            .iter()
            .any(|byte| byte.is_ascii_control() || matches!(byte, b'#' | b'"' | b'\\'))
}

/// Appends a value in quotes, as Tor unescapes it (lib/encoding/cstring.c:30).
fn push_quoted(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    for &byte in value {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            _ if byte.is_ascii_control() => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::unquote;

    #[test]
    fn values_are_quoted_where_they_must_be() {
        for (value, written) in [
            ("0", "0"),
            ("/a b/c", "/a b/c"),
            ("", "\"\""),
            (" a", "\" a\""),
            ("a#b", "\"a#b\""),
            ("\"", r#""\"""#),
            ("a\\b", r#""a\\b""#),
            ("1\nSocksPort 2", r#""1\x0aSocksPort 2""#),
        ] {
            assert_eq!(Torrc::new().option("A", value).to_string(), format!("A {written}\n"));
        }
    }

    proptest! {
        #[test]
        fn a_value_is_one_line_that_says_the_same(value: Vec<u8>) {
            prop_assume!(!value.contains(&0));
            let torrc = Torrc::new().option("A", OsStr::from_bytes(&value));
            let line = torrc.as_bytes().strip_suffix(b"\n").unwrap();
            prop_assert!(!line.contains(&b'\n'));
            let written = line.strip_prefix(b"A ").unwrap();
            let read = match written.first() {
                Some(b'"') => unquote(written).map(|(read, rest)| { assert!(rest.is_empty()); read }),
                _ => Some(written.to_vec()),
            };
            prop_assert_eq!(read, Some(value));
        }
    }
}
