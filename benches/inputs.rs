//! Inputs of the measurements, the same for us and for our peers.

use std::fmt::Write as _;

/// Number of relays of the public network in 2021, the last year of version 2.
pub(crate) const RELAYS: u32 = 6400;

/// The answer to `GETINFO ns/all` in a network of [`RELAYS`] relays, as long as the real one and
/// with the same lines: three in five relays are directories, every fifth has an IPv6 address,
/// every eighth is an exit.
///
/// Fingerprints are spread evenly and sorted, as Tor sends them; nothing else about a relay matters
/// to a ring.
pub(crate) fn ns_all() -> String {
    ns_all_of(RELAYS)
}

/// The same of this many relays.
pub(crate) fn ns_all_of(relays: u32) -> String {
    let mut text = String::new();
    for relay in 0..relays {
        let place = relay * (u32::MAX / relays);
        write_relay(&mut text, relay, place).unwrap_or_else(|_| unreachable!("a string takes everything"));
    }
    text
}

fn write_relay(text: &mut String, relay: u32, place: u32) -> std::fmt::Result {
    let mixed = place.wrapping_mul(2_654_435_761);
    let [a, b, c, d] = mixed.to_be_bytes();
    let identity = base64(&digest(place, mixed));
    let contents = base64(&digest(mixed, place));
    let time = format_args!("2021-07-{:02} {:02}:{:02}:{:02}", 1 + a % 28, b % 24, c % 60, d % 60).to_string();
    writeln!(
        text,
        "r relay{mixed:08x} {identity} {contents} {time} {}.{b}.{c}.{d} 9001 9030",
        1 + a % 223
    )?;
    if relay.is_multiple_of(5) {
        writeln!(text, "a [2001:db8:{place:x}::{relay:x}]:9001")?;
    }
    let exit = relay.is_multiple_of(8);
    let directory = if mixed % 5 < 3 { " HSDir" } else { "" };
    let (exit_flag, policy) = if exit {
        (
            " Exit",
            "accept 20-23,43,53,79-81,88,110,143,194,220,389,443,464,531,543-544,554,563,587,636,706,749,873,902-904,981,989-995,1194,1220,1293,1500,1533,1677,1723,1755,1863,2082-2083,2086-2087",
        )
    } else {
        ("", "reject 1-65535")
    };
    writeln!(text, "s{exit_flag} Fast Guard{directory} Running Stable V2Dir Valid")?;
    writeln!(text, "w Bandwidth={}", mixed % 50_000)?;
    writeln!(text, "p {policy}")
}

/// A digest that begins with `first`; the rest is noise.
pub(crate) fn digest(first: u32, seed: u32) -> [u8; 20] {
    let mut digest = [0; 20];
    let mut word = first;
    for bytes in digest.chunks_exact_mut(4) {
        bytes.copy_from_slice(&word.to_be_bytes());
        word = (word ^ seed).wrapping_mul(2_246_822_519).rotate_left(13) ^ 0x9e37_79b9;
    }
    digest
}

/// Base64 without padding, as Tor writes digests.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = bytes.chunks(3).flat_map(|group| {
        let word = group
            .iter()
            .enumerate()
            .fold(0, |word, (at, byte)| word | u32::from(*byte) << (16 - 8 * at));
        (0..=group.len()).map(move |at| char::from(ALPHABET[(word >> (18 - 6 * at)) as usize & 63]))
    });
    groups.collect()
}
