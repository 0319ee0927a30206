//! Base64 as C Tor reads and writes it.

use data_encoding::BASE64;
use zeroize::Zeroizing;

/// Characters of a full line, and the bytes that they stand for.
const CHARACTERS_PER_LINE: usize = 64;
const BYTES_PER_LINE: usize = 48;

/// Decodes as `base64_decode` does (lib/encoding/binascii.c:396): white space counts for nothing,
/// the first `=` ends the data whatever follows it, padding may be missing, and left-over bits may
/// be anything. `None` for any other character and for a last group of a single character.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let mut rest = text;
    // Nearly every text is in lines of whole groups, so that what stands between two groups may be
    // white space.
    while let [first, after @ ..] = rest {
        let before = rest.len();
        if value(*first) == SPACE {
            rest = after;
            continue;
        }
        decode_blocks::<CHARACTERS_PER_LINE, BYTES_PER_LINE>(&mut rest, &mut out);
        decode_blocks::<16, 12>(&mut rest, &mut out);
        decode_blocks::<4, 3>(&mut rest, &mut out);
        if rest.len() == before {
            break;
        }
    }
    decode_slowly(rest, &mut out)?;
    Some(out)
}

/// [`decode`] for what must leave no copy behind: it is written where it stays, and nowhere else.
pub(crate) fn decode_secret(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() / 4 * 3 + 3));
    decode_slowly(text, &mut out)?;
    Some(out)
}

/// Decodes blocks of `C` characters to `B` bytes, until one holds something other than values. One
/// LF after each counts for nothing.
fn decode_blocks<const C: usize, const B: usize>(rest: &mut &[u8], out: &mut Vec<u8>) {
    let mut bytes = [0; B];
    while let Some((characters, after)) = rest.split_first_chunk()
        && decode_groups::<C, B>(characters, &mut bytes)
    {
        out.extend_from_slice(&bytes);
        *rest = after.strip_prefix(b"\n").unwrap_or(after);
    }
}

/// Decodes groups of four characters without anything between. `false` if there is anything else.
fn decode_groups<const C: usize, const B: usize>(characters: &[u8; C], bytes: &mut [u8; B]) -> bool {
    let mut all = 0;
    for (&[a, b, c, d], bytes) in characters.as_chunks::<4>().0.iter().zip(bytes.as_chunks_mut::<3>().0) {
        let (a, b, c, d) = (value(a), value(b), value(c), value(d));
        all |= a | b | c | d;
        *bytes = [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d];
    }
    // No character was a space, padding, or invalid.
    all < SPACE
}

/// [`decode`] for any text, one character after the other.
pub(crate) fn decode_slowly(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut group: u32 = 0;
    let mut filled = 0;
    for &character in text {
        match value(character) {
            SPACE => {}
            PADDING => break,
            INVALID => return None,
            value => {
                group = group << 6 | u32::from(value);
                filled += 1;
                if filled == 4 {
                    let [_, bytes @ ..] = group.to_be_bytes();
                    out.extend_from_slice(&bytes);
                    (group, filled) = (0, 0);
                }
            }
        }
    }
    match filled {
        0 => {}
        2 => out.push((group >> 4) as u8),
        3 => out.extend_from_slice(&[(group >> 10) as u8, (group >> 2) as u8]),
        _ => return None,
    }
    Some(())
}

fn value(character: u8) -> u8 {
    VALUES[usize::from(character)]
}

/// Each of these has a bit that no value has.
const SPACE: u8 = 64;
const PADDING: u8 = 65;
const INVALID: u8 = 255;

/// Meaning of each byte: 0 to 63, or one of the above (`base64_decode_table`, binascii.c:364).
static VALUES: [u8; 256] = {
    let mut values = [INVALID; 256];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut value = 0;
    while value < alphabet.len() {
        values[alphabet[value] as usize] = value as u8;
        value += 1;
    }
    // Not the form feed, though it is white space.
    let spaces = b" \t\n\x0b\r";
    let mut index = 0;
    while index < spaces.len() {
        values[spaces[index] as usize] = SPACE;
        index += 1;
    }
    values[b'=' as usize] = PADDING;
    values
};

/// Appends `bytes` as `BASE64_ENCODE_MULTILINE` writes them (binascii.c:215): lines of 64
/// characters, each ended by LF.
pub(crate) fn encode_lines(bytes: &[u8], out: &mut String) {
    for line in bytes.chunks(BYTES_PER_LINE) {
        BASE64.encode_append(line, out);
        out.push('\n');
    }
}

/// Appends a PEM object as `pem_encode` writes it (lib/encoding/pem.c:49).
pub(crate) fn encode_object(label: &str, bytes: &[u8], out: &mut String) {
    // Room for the characters, a LF for each line, and two labels.
    out.reserve(bytes.len() / 3 * 4 + bytes.len() / BYTES_PER_LINE + 128);
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
        // (text, what `base64_decode` makes of it)
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
        fn lines_do_not_matter(text in "[A-Za-z0-9+/=\\- \n\r\t\x0b\x0c\u{80}]{0,300}|([A-Za-z0-9+/]{64}\n){0,3}[A-Za-z0-9+/]{0,70}[= \n]{0,3}.?") {
            let mut slowly = Vec::new();
            let slowly = decode_slowly(text.as_bytes(), &mut slowly).map(|()| slowly);
            prop_assert_eq!(decode(text.as_bytes()), slowly);
        }

        #[test]
        fn round_trip(bytes: Vec<u8>) {
            let mut text = String::new();
            encode_lines(&bytes, &mut text);
            prop_assert_eq!(decode(text.as_bytes()), Some(bytes));
        }
    }
}
