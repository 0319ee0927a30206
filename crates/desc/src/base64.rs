//! Base64 as C Tor reads and writes it.

use data_encoding::BASE64;

/// Bytes that fill one line of 64 characters.
const BYTES_PER_LINE: usize = 48;

/// Decodes as `base64_decode` does (lib/encoding/binascii.c:384): white space counts for nothing, the first `=` ends the
/// data whatever follows it, padding may be missing, and left-over bits may be anything. `None` for any other character
/// and for a last group of a single character.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let mut group: u32 = 0;
    let mut filled = 0;
    for &character in text {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            // Not the form feed, which the table of C Tor leaves out (binascii.c:345).
            b' ' | b'\t' | b'\n' | b'\x0b' | b'\r' => continue,
            b'=' => break,
            _ => return None,
        };
        group = group << 6 | u32::from(value);
        filled += 1;
        if filled == 4 {
            let [_, a, b, c] = group.to_be_bytes();
            out.extend([a, b, c]);
            (group, filled) = (0, 0);
        }
    }
    match filled {
        0 => {}
        2 => out.extend([(group >> 4) as u8]),
        3 => out.extend([(group >> 10) as u8, (group >> 2) as u8]),
        _ => return None,
    }
    Some(out)
}

/// Appends `bytes` as `BASE64_ENCODE_MULTILINE` writes them (binascii.c:216): lines of 64 characters, each ended by LF.
pub(crate) fn encode_lines(bytes: &[u8], out: &mut String) {
    for line in bytes.chunks(BYTES_PER_LINE) {
        BASE64.encode_append(line, out);
        out.push('\n');
    }
}

/// Appends a PEM object as `pem_encode` writes it (lib/encoding/pem.c:50).
pub(crate) fn encode_object(label: &str, bytes: &[u8], out: &mut String) {
    out.push_str("-----BEGIN ");
    out.push_str(label);
    out.push_str("-----\n");
    encode_lines(bytes, out);
    out.push_str("-----END ");
    out.push_str(label);
    out.push_str("-----\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_c_tor_reads() {
        // (text, what binascii.c:384 makes of it)
        let table: &[(&[u8], Option<&[u8]>)] = &[
            (b"", Some(b"")),
            (b"b25pb24=", Some(b"onion")),
            (b"b25pb24", Some(b"onion")),
            (b"b2 5p\tb2\r\n4\x0b=\n", Some(b"onion")),
            (b"b25pb24=!!!\xff", Some(b"onion")),
            (b"b25pb25", Some(b"onion")), // left-over bits set
            (b"b25p=b24", Some(b"oni")),
            (b"=", Some(b"")),
            (b"b25pb", None),
            (b"b25pb24\x0c=", None),
            (b"b25p-b24", None),
            (b"b25p\0", None),
        ];
        for (text, expected) in table {
            assert_eq!(decode(text).as_deref(), *expected, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn lines_end_after_64_characters() {
        let mut text = String::new();
        encode_lines(&[0; 96], &mut text);
        assert_eq!(text, format!("{0}\n{0}\n", "A".repeat(64)));
    }

    proptest! {
        #[test]
        fn round_trip(bytes: Vec<u8>) {
            let mut text = String::new();
            encode_lines(&bytes, &mut text);
            prop_assert_eq!(decode(text.as_bytes()), Some(bytes));
        }
    }
}
