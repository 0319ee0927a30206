//! Tor's files `client_keys` and `hostname` against a running tor 0.4.5.9, which reads the one and
//! writes both before it does anything else.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests may unwrap, their helpers too"
)]
#![allow(dead_code, reason = "the tables and helpers are shared with other tests")]

#[path = "../v2/client_cases.rs"]
mod client_cases;
#[path = "../v2/support.rs"]
mod support;
mod tor;

use std::collections::BTreeMap;

use onionweave_desc::Error;
use onionweave_desc::v2::{AuthorizationKind, ClientKey, ClientKeys, ServiceKey};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use client_cases::ALICE;
use support::{BASIC_KEY, PLAIN_KEY, key};
use tor::Files;

const STEALTH_CLIENTS: &str = include_str!("../../testdata/stealth/client_keys");

/// Sets how many mutants there are.
const MUTANTS: &str = "ONIONWEAVE_CLIENT_MUTANTS";
const DEFAULT_MUTANTS: u64 = 300;

#[test]
fn tor_reads_what_the_table_says() {
    for case in client_cases::client_keys() {
        let names = ["alice", "bob", "0123456789+-_aZz"];
        let files = tor::run(AuthorizationKind::Basic, &names, Some(case.file.as_bytes()));
        // Clients that Tor did not find in the file get new cookies.
        let known = |files: Files| {
            let cookie = ALICE.lines().nth(1).unwrap();
            let known = files.entries().into_iter().filter(|(_, entry)| entry.contains(cookie));
            let mut known: Vec<String> = known.map(|(name, _)| name).collect();
            known.sort_by_key(|name| names.iter().position(|other| other == name));
            known.join(" ")
        };
        assert_eq!(
            files.map(known).as_deref(),
            case.clients,
            "{} ({})",
            case.name,
            case.rule
        );
    }
}

/// Compares verdicts: whatever Tor makes of a damaged file, this crate makes the same of it, and
/// writes the entries to the byte as Tor does.
#[test]
fn tor_agrees_on_every_mutant() {
    let count = std::env::var(MUTANTS).map_or(DEFAULT_MUTANTS, |count| count.parse().unwrap());
    let (mut accepted, mut refused) = (0, 0);
    for number in 0..count {
        let file = mutant(number);
        let shown = format!("mutant {number}: {}", file.escape_ascii());
        let theirs = tor::run(AuthorizationKind::Basic, &["alice", "bob"], Some(&file));
        match (ClientKeys::parse(&file), theirs) {
            (Err(Error::NoClients), _) => {}
            (Err(_), None) => refused += 1,
            (Ok(ours), Some(theirs)) => {
                accepted += 1;
                let theirs = theirs.entries();
                for client in ours.iter() {
                    let name = client.name().as_str();
                    let entry = ClientKeys::new([client.clone()]).unwrap().to_text();
                    // Those that are not configured are left out.
                    assert!(theirs.get(name).is_none_or(|theirs| *theirs == *entry), "{shown}");
                }
            }
            (ours, theirs) => panic!("{shown}\nTor reads it: {}, this crate: {ours:?}", theirs.is_some()),
        }
    }
    println!("{count} mutants: {accepted} accepted, {refused} refused");
    // Or the mutants would prove little.
    assert!(accepted * 10 > count && refused * 10 > count);
}

/// Tor finds nothing to change in what is written here.
#[test]
fn tor_writes_the_same_files() {
    let cookie = |byte: u8| [byte; 16].into();
    let client = |name: &str, byte, key: Option<ServiceKey>| ClientKey::new(name.parse().unwrap(), cookie(byte), key);
    let [first, second] = [PLAIN_KEY, BASIC_KEY].map(key);
    let basic = ["alice", "bob", "_", "-", "+", "A", "9"]
        .into_iter()
        .zip(1..)
        .map(|(name, byte)| client(name, byte, None));
    let stealth = [
        client("carol", 0xff, Some(first.clone())),
        client("Dave", 1, Some(second)),
    ];
    let left_over = [client("alice", 3, None), client("carol", 4, Some(first))];
    for (kind, clients) in [
        (AuthorizationKind::Basic, ClientKeys::new(basic)),
        (AuthorizationKind::Stealth, ClientKeys::new(stealth)),
        (AuthorizationKind::Basic, ClientKeys::new(left_over)),
        (
            AuthorizationKind::Stealth,
            ClientKeys::parse(STEALTH_CLIENTS.as_bytes()),
        ),
    ] {
        let clients = clients.unwrap();
        let names: Vec<&str> = clients.iter().map(|client| client.name().as_str()).collect();
        let text = clients.to_text();
        let files = tor::run(kind, &names, Some(text.as_bytes())).expect("Tor reads it");
        assert_eq!(files.client_keys, *text);
        let hostname = clients.hostname_file(key(PLAIN_KEY).service_id(), kind).unwrap();
        assert_eq!(files.hostname, *hostname.to_text());
    }
    // And what Tor makes up by itself is read.
    for kind in [AuthorizationKind::Basic, AuthorizationKind::Stealth] {
        let files = tor::run(kind, &["alice", "bob"], None).expect("Tor makes new clients");
        let clients = ClientKeys::parse(files.client_keys.as_bytes()).unwrap();
        assert_eq!(*clients.to_text(), files.client_keys);
        let hostname = clients.hostname_file(key(PLAIN_KEY).service_id(), kind).unwrap();
        assert_eq!(*hostname.to_text(), files.hostname);
    }
}

/// A file with an edit or two, which are the same for the same number.
fn mutant(number: u64) -> Vec<u8> {
    const PIECES: &[&[u8]] = &[
        b"",
        b" ",
        b"\n",
        b"\r\n",
        b"\t",
        b"#",
        b"opt ",
        b"@",
        b"\0",
        b"=",
        b"A",
        b"/",
        b"\x0b",
        b"\xff",
        b"client-name ",
        b"\nclient-name ",
        b"descriptor-cookie ",
        b"client-key\n",
        b"alice",
        b"-----BEGIN ",
        b"-----END ",
        b"-----",
    ];
    let mut rng = ChaCha8Rng::seed_from_u64(number);
    let stealth = STEALTH_CLIENTS.replace("carol", "alice").replace("dave", "bob");
    let seeds = [
        format!("{ALICE}{}", ALICE.replace("alice", "bob")),
        format!("# by hand\n\n{}", ALICE.replace("==", "")),
        format!("{ALICE}opt x y\n-----BEGIN X-----\nQUJD\n-----END X-----\n"),
        stealth,
    ];
    let mut file = seeds.choose(&mut rng).unwrap().clone().into_bytes();
    for _ in 0..rng.random_range(1..=2) {
        // Mostly where something begins or ends.
        let edges: Vec<usize> = (0..file.len())
            .filter(|index| b" \n-=".contains(&file[*index]))
            .collect();
        let start = match edges.choose(&mut rng) {
            Some(edge) if rng.random_bool(0.7) => edge + rng.random_range(0..2),
            _ => rng.random_range(0..=file.len()),
        };
        let end = (start + [0, 0, 1, 1, 2, 30].choose(&mut rng).unwrap()).min(file.len());
        if rng.random_bool(0.85) {
            file.splice(start..end, PIECES.choose(&mut rng).unwrap().iter().copied());
        } else {
            let mut lines: Vec<Vec<u8>> = file
                .split_inclusive(|byte| *byte == b'\n')
                .map(<[u8]>::to_vec)
                .collect();
            let line = lines.remove(rng.random_range(0..lines.len()));
            for _ in 0..rng.random_range(0..=2) {
                lines.insert(rng.random_range(0..=lines.len()), line.clone());
            }
            file = lines.concat();
        }
    }
    file
}

impl Files {
    /// The entries of `client_keys` as they are written, by name.
    fn entries(&self) -> BTreeMap<String, String> {
        let entries = self.client_keys.split("client-name ").skip(1);
        let named = |entry: &str| (entry.lines().next().unwrap().to_owned(), format!("client-name {entry}"));
        entries.map(named).collect()
    }
}
