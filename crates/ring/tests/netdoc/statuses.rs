//! Answers to `GETINFO ns/all`, and what tor-netdoc's `parse2` makes of them.

use std::fmt::Write as _;

use data_encoding::BASE64_NOPAD;
use tor_netdoc::doc::netstatus::plain::RouterStatus;
use tor_netdoc::parse2::{ParseError, ParseInput, parse_netdoc_multiple};

/// A relay to be listed.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) identity: [u8; 20],
    pub(crate) nickname: String,
    pub(crate) flags: Vec<&'static str>,
    pub(crate) ipv6: bool,
}

/// Relays as Tor lists them (feature/nodelist/fmt_routerstatus.c:43).
pub(crate) fn ns_all(relays: &[Listed]) -> String {
    let mut text = String::new();
    for relay in relays {
        let Listed { nickname, flags, .. } = relay;
        let identity = BASE64_NOPAD.encode(&relay.identity);
        let digest = BASE64_NOPAD.encode(&relay.identity.map(|byte| !byte));
        let [a, b, c, ..] = relay.identity;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "r {nickname} {identity} {digest} 2026-11-22 12:06:23 10.{a}.{b}.{c} 9001 0"
        );
        if relay.ipv6 {
            let _ = writeln!(text, "a [2001:db8::{a:x}:{b:x}]:9001");
        }
        let _ = writeln!(text, "s {}\nw Bandwidth={a}\np reject 1-65535", flags.join(" "));
    }
    text
}

/// A list as long as that of the public network.
pub(crate) fn large(relays: u32) -> String {
    let relay = |number: u32| {
        let mut identity = [7; 20];
        identity[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b9).to_be_bytes());
        let hsdir: &[&str] = if number.is_multiple_of(2) { &["HSDir"] } else { &[] };
        let flags = [
            &["Exit", "Fast", "Guard"],
            hsdir,
            &["Running", "Stable", "V2Dir", "Valid"],
        ]
        .concat();
        Listed {
            identity,
            nickname: format!("relay{number}"),
            flags,
            ipv6: number.is_multiple_of(3),
        }
    };
    let mut relays: Vec<Listed> = (0..relays).map(relay).collect();
    relays.sort_unstable_by_key(|relay| relay.identity);
    ns_all(&relays)
}

/// The list with the `pr` line that `parse2` demands of every relay and that Tor does not write
/// here.
pub(crate) fn with_protocols(list: &str) -> String {
    list.lines()
        .flat_map(|line| match line.starts_with("s ") || line == "s" {
            true => [line, "\npr HSDir=1-2 Link=1-5\n"],
            false => [line, "\n"],
        })
        .collect()
}

pub(crate) fn parse2(list: &str) -> Result<Vec<RouterStatus>, ParseError> {
    parse_netdoc_multiple(&ParseInput::new(list, ""))
}
