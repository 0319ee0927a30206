//! Blocks of data: dot-stuffing, both ways.
//!
//! The counterparts in C Tor are `write_escaped_data` and `read_escaped_data`,
//! feature/control/control_proto.c:70-165.

/// Writes `body` as the data of a `+` command, with the line `.` that ends it.
///
/// Every line gets a CRLF, a leading dot is doubled, and a last line without LF gets one. A body
/// that ends in LF gets no second one: that would append an empty line, which C Tor's directories
/// store and other implementations refuse. An empty body becomes one empty line, as in C Tor.
///
/// ```
/// use onionweave_control::data;
///
/// assert_eq!(data::escape(b"first\n.second\n"), b"first\r\n..second\r\n.\r\n");
/// ```
pub fn escape(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + body.len() / 32 + 16);
    let body = body.strip_suffix(b"\n").unwrap_or(body);
    for line in body.split(|&byte| byte == b'\n') {
        if line.first() == Some(&b'.') {
            out.push(b'.');
        }
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

/// Reads data as Tor reads it: the line `.` that ends it removed, one leading dot of every line
/// removed, CRLF made LF.
///
/// Lines after the end are ignored; if the end is missing, everything is data.
///
/// ```
/// use onionweave_control::data;
///
/// assert_eq!(data::unescape(b"first\r\n..second\r\n.\r\n"), b"first\n.second\n");
/// ```
pub fn unescape(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    for line in data.split_inclusive(|&byte| byte == b'\n') {
        let (content, end): (_, &[u8]) = match line.strip_suffix(b"\n") {
            Some(content) => (content.strip_suffix(b"\r").unwrap_or(content), b"\n"),
            None => (line, b""),
        };
        if content == b"." && !end.is_empty() {
            break;
        }
        out.extend_from_slice(content.strip_prefix(b".").unwrap_or(content));
        out.extend_from_slice(end);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_as_tor_reads() {
        let table: &[(&str, &[u8], &[u8])] = &[
            ("nothing", b"", b"\r\n.\r\n"),
            ("a line", b"a\n", b"a\r\n.\r\n"),
            ("a line without end", b"a", b"a\r\n.\r\n"),
            ("an empty line at the end stays", b"a\n\n", b"a\r\n\r\n.\r\n"),
            ("dots", b".\n..\n.a\na.\n", b"..\r\n...\r\n..a\r\na.\r\n.\r\n"),
            ("a CR before LF, of which Tor removes one", b"a\r\n", b"a\r\r\n.\r\n"),
        ];
        for (name, body, expected) in table {
            assert_eq!(escape(body), *expected, "{name}");
        }
    }

    #[test]
    fn unescaping_stops_at_the_end() {
        assert_eq!(unescape(b"a\r\n.\r\nb\r\n"), b"a\n");
        assert_eq!(unescape(b"a\nb"), b"a\nb");
        assert_eq!(unescape(b"..\n.\n"), b".\n");
        assert_eq!(unescape(b"."), b"");
    }
}
