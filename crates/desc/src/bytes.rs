//! The few operations on byte strings that the standard library lacks.

/// Offset of the first `byte`.
pub(crate) fn find_byte(byte: u8, text: &[u8]) -> Option<usize> {
    memchr::memchr(byte, text)
}

/// Offset of the first occurrence of `needle`, as `strstr` finds it. Quick if the first byte of
/// `needle` is rare in `text`.
pub(crate) fn find(needle: &[u8], text: &[u8]) -> Option<usize> {
    let (&first, _) = needle.split_first()?;
    memchr::memchr_iter(first, text).find(|start| text.get(*start..).is_some_and(|rest| rest.starts_with(needle)))
}

/// Number of lines that end in `text`.
pub(crate) fn count_lines(text: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', text).count()
}

/// Splits at `middle`, or at the end if `middle` lies beyond it.
pub(crate) fn split_at(text: &[u8], middle: usize) -> (&[u8], &[u8]) {
    text.split_at_checked(middle).unwrap_or((text, &[]))
}

/// A number as `tor_parse_long` reads it in base 10 (lib/string/parse_int.c:59, that is `strtol`):
/// white space and a sign may come first, then nothing but digits. `None` outside `min..=max`.
pub(crate) fn parse_number(text: &[u8], min: i64, max: i64) -> Option<i64> {
    let spaces = text.iter().take_while(|byte| is_c_space(**byte)).count();
    let text = text.get(spaces..)?;
    // What `i64` reads is what `strtol` reads, once only ASCII is left.
    let number = std::str::from_utf8(text).ok()?.parse().ok()?;
    (min..=max).contains(&number).then_some(number)
}

/// A number as `tor_parse_uint64` reads it in base 10 (lib/string/parse_int.c:103), which is
/// `strtoull`.
///
/// White space and a sign may come first, and a minus turns the number over. `None` outside
/// `min..=max`.
#[cfg(feature = "v3")]
pub(crate) fn parse_unsigned(text: &[u8], min: u64, max: u64) -> Option<u64> {
    let spaces = text.iter().take_while(|byte| is_c_space(**byte)).count();
    let text = text.get(spaces..)?;
    let (negative, digits) = match text.split_first() {
        Some((b'-', digits)) => (true, digits),
        Some((b'+', digits)) => (false, digits),
        _ => (false, text),
    };
    // What `u64` reads is what `strtoull` reads, once only digits are left.
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let number = if negative { number.wrapping_neg() } else { number };
    (min..=max).contains(&number).then_some(number)
}

/// `isspace` in the C locale.
pub(crate) fn is_c_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\x0b' | b'\x0c' | b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_as_strstr_does() {
        assert_eq!(find(b"\nab", b"\na\n\nab\nab"), Some(3));
        assert_eq!(find(b"ab", b"a"), None);
        assert_eq!(find(b"ab", b""), None);
        assert_eq!(find(b"ab", b"ab"), Some(0));
    }

    #[test]
    #[cfg(feature = "v3")]
    fn reads_numbers_as_strtoull_does() {
        // (text, what tor_parse_uint64(text, 10, 0, UINT64_MAX) returns)
        let table: &[(&[u8], Option<u64>)] = &[
            (b"0", Some(0)),
            (b" +007", Some(7)),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"18446744073709551616", None),
            (b"-1", Some(u64::MAX)),
            (b"-18446744073709551615", Some(1)),
            (b"-0", Some(0)),
            (b"+-2", None),
            (b"2 ", None),
            (b"-", None),
            (b"", None),
            (b"0x2", None),
            (b"\xff", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse_unsigned(text, 0, u64::MAX), *expected, "{}", text.escape_ascii());
        }
        assert_eq!(parse_unsigned(b"-1", 0, 255), None);
        assert_eq!(parse_unsigned(b"0", 1, 255), None);
    }

    #[test]
    fn reads_numbers_as_strtol_does() {
        // (text, what tor_parse_long(text, 10, 0, INT_MAX) returns)
        let table: &[(&[u8], Option<i64>)] = &[
            (b"2", Some(2)),
            (b"+2", Some(2)),
            (b"002", Some(2)),
            (b"\x0b\x0c2", Some(2)),
            (b"-0", Some(0)),
            (b"2147483647", Some(2_147_483_647)),
            (b"2147483648", None),
            (b"99999999999999999999", None),
            (b"-1", None),
            (b"+-2", None),
            (b"2 ", None),
            (b"2x", None),
            (b"0x2", None),
            (b"+", None),
            (b"", None),
            (b"\xff", None),
        ];
        for (text, expected) in table {
            assert_eq!(
                parse_number(text, 0, i64::from(i32::MAX)),
                *expected,
                "{}",
                text.escape_ascii()
            );
        }
    }
}
