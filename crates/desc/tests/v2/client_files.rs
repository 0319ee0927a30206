//! Tor's files `client_keys` and `hostname`: which Tor reads, and that they are written as Tor
//! does.

use onionweave_desc::v2::AuthorizationKind::{Basic, Stealth};
use onionweave_desc::v2::{ClientKey, ClientKeys, ClientName, DescriptorCookie, HostnameFile};
use onionweave_desc::{Error, fuzz};
use proptest::collection::btree_map;
use proptest::prelude::*;
use proptest::sample::select;

use crate::client_cases::{self, ALICE};
use crate::support::{BASIC_KEY, DAMAGED, PLAIN_KEY, RSA_2048, key};

const BASIC_CLIENTS: &[u8] = include_bytes!("../../testdata/basic/client_keys");
const BASIC_HOSTNAME: &[u8] = include_bytes!("../../testdata/basic/hostname");
const STEALTH_CLIENTS: &[u8] = include_bytes!("../../testdata/stealth/client_keys");
const STEALTH_HOSTNAME: &[u8] = include_bytes!("../../testdata/stealth/hostname");
const PLAIN_HOSTNAME: &[u8] = include_bytes!("../../testdata/plain/hostname");

#[test]
fn what_tor_wrote_is_read_and_written_again() {
    for file in [BASIC_CLIENTS, STEALTH_CLIENTS] {
        assert_eq!(ClientKeys::parse(file).unwrap().to_text().as_bytes(), file);
    }
    for file in [PLAIN_HOSTNAME, BASIC_HOSTNAME, STEALTH_HOSTNAME] {
        assert_eq!(HostnameFile::parse(file).unwrap().to_text().as_bytes(), file);
    }
}

#[test]
fn the_hostname_file_follows_from_the_clients() {
    let service = key(BASIC_KEY).service_id();
    for (clients, kind, hostname) in [
        (BASIC_CLIENTS, Basic, BASIC_HOSTNAME),
        (STEALTH_CLIENTS, Stealth, STEALTH_HOSTNAME),
    ] {
        let file = ClientKeys::parse(clients)
            .unwrap()
            .hostname_file(service, kind)
            .unwrap();
        assert_eq!(file.to_text().as_bytes(), hostname);
        assert_eq!(file.authorization(), Some(kind));
    }
}

#[test]
fn client_keys_are_read_as_tor_reads_them() {
    for case in client_cases::client_keys() {
        let (what, place) = (case.name, case.rule);
        let read = ClientKeys::parse(case.file.as_bytes());
        if case.clients == Some("") {
            assert_eq!(read, Err(Error::NoClients), "{what} ({place})");
            continue;
        }
        let names = read.as_ref().ok().map(|clients| {
            let names: Vec<&str> = clients.iter().map(|client| client.name().as_str()).collect();
            names.join(" ")
        });
        assert_eq!(names.as_deref(), case.clients, "{what} ({place}): {read:?}");
        if let Err(error) = read {
            assert!(!error.to_string().contains('\n'), "{what}: {error}");
        }
    }
}

#[test]
fn errors_of_client_keys_name_the_line_and_show_no_secret() {
    let with_key = |pem: &[u8]| format!("{ALICE}client-key\n{}", std::str::from_utf8(pem).unwrap());
    let table = [
        (String::new(), "there is no authorized client"),
        ("rf75jzdtba4wnd6v.onion\n".to_owned(), "there is no authorized client"),
        (
            format!("# two\n{ALICE}{ALICE}"),
            "client_keys file, line 4: a second client `alice`",
        ),
        (
            format!("\n{ALICE}client-name bob\n"),
            "client_keys file, line 5: `descriptor-cookie` is missing",
        ),
        (
            ALICE.replace("==", "="),
            "client_keys file, line 2: authorization cookie takes 22 characters, or 24 with padding, found 23",
        ),
        (
            ALICE.replace("alice", "al ice"),
            "client_keys file, line 1: `client-name` is not 1 to 16 of the characters A-Z, a-z, 0-9, `+`, `-` and `_`",
        ),
        (
            with_key(DAMAGED),
            "client_keys file, line 3: key: the key is damaged, or is not an RSA key",
        ),
        (
            with_key(RSA_2048),
            "client_keys file, line 3: key: the modulus has 2048 bits, v2 onion services use 1024",
        ),
        (
            "\n".repeat(131_073),
            "client_keys file has 131073 bytes, the limit is 131072",
        ),
    ];
    for (file, expected) in table {
        let message = ClientKeys::parse(file.as_bytes()).unwrap_err().to_string();
        assert_eq!(message, expected);
    }
}

#[test]
fn clients_are_sorted_by_name() {
    let client = |name: &str| ClientKey::new(name.parse().unwrap(), DescriptorCookie::from([1; 16]), None);
    let clients = ClientKeys::new(["b", "_", "a", "B", "10", "9", "+", "-"].map(client)).unwrap();
    let names: Vec<&str> = clients.iter().map(|client| client.name().as_str()).collect();
    // As `strcmp` has it.
    assert_eq!(names, ["+", "-", "10", "9", "B", "_", "a", "b"]);
    assert_eq!((clients.len(), clients.is_empty()), (8, false));
    let twice = ClientKeys::new(["a", "a"].map(client));
    assert_eq!(twice.unwrap_err().to_string(), "client `a` occurs twice");
}

#[test]
fn stealth_takes_keys() {
    let clients = ClientKeys::parse(BASIC_CLIENTS).unwrap();
    let service = key(BASIC_KEY).service_id();
    let error = clients.hostname_file(service, Stealth).unwrap_err();
    assert_eq!(error, Error::MissingClientKey("alice".parse().unwrap()));
    assert_eq!(
        ClientKeys::default().hostname_file(service, Basic),
        Err(Error::NoClients)
    );
    // A service that changed from stealth to basic keeps its clients' keys, and Tor goes on naming
    // their addresses (rendservice.c:1693).
    let clients = ClientKeys::parse(STEALTH_CLIENTS).unwrap();
    let file = clients.hostname_file(service, Basic).unwrap();
    assert!(file.service_ids().all(|id| id != service));
}

#[test]
fn hostname_files_are_read_strictly() {
    let address = "rf75jzdtba4wnd6v.onion";
    let alice = format!("{address} /7+YSj84F0crQa7k9/ITkA # client: alice");
    let accepted = [
        (format!("{address}\n"), None),
        (address.to_owned(), None),
        (format!("\r\n{address} \r\n\n"), None),
        (alice.clone(), Some(Basic)),
        (format!("\n{alice}\r\n\n"), Some(Basic)),
        (alice.replace("kA", "kB"), Some(Stealth)),
    ];
    for (file, kind) in accepted {
        assert_eq!(
            HostnameFile::parse(file.as_bytes()).unwrap().authorization(),
            kind,
            "{file:?}"
        );
    }
    let either = "the line is not `<address>.onion` or `<address>.onion <cookie> # client: <name>`";
    let client = "the line is not `<address>.onion <cookie> # client: <name>`";
    let plain = "the line is not an address of 16 base32 characters and `.onion`";
    let refused = [
        (String::new(), format!("hostname file, line 1: {either}")),
        ("\u{e9}".to_owned(), format!("hostname file, line 1: {plain}")),
        ("rf75jzdtba4wnd6v".to_owned(), format!("hostname file, line 1: {plain}")),
        (
            format!("\n{}.onion", "a".repeat(56)),
            format!("hostname file, line 2: {plain}"),
        ),
        (
            format!("{address}\n{address}"),
            "hostname file, line 2: `<address>` must come last".to_owned(),
        ),
        (
            format!("{alice}\n{address}"),
            format!("hostname file, line 2: {client}"),
        ),
        (
            alice.replace(" # client: alice", ""),
            format!("hostname file, line 1: {client}"),
        ),
        (alice.replace(" alice", ""), format!("hostname file, line 1: {client}")),
        (
            alice.replace("alice", "al.ice"),
            format!("hostname file, line 1: {client}"),
        ),
        (
            alice.replace("kA", "kP"),
            "hostname file, line 1: authorization cookie is of kind 16: v2 has the kinds 1 (basic) and 2 (stealth)"
                .to_owned(),
        ),
        (format!("{alice}\n{alice}"), "client `alice` occurs twice".to_owned()),
        (
            format!("{alice}\n{}", alice.replace("kA", "kB").replace("alice", "bob")),
            "some clients are authorized by basic authorization and some by stealth, a service has one kind".to_owned(),
        ),
        (
            "\n".repeat(131_073),
            "hostname file has 131073 bytes, the limit is 131072".to_owned(),
        ),
    ];
    for (file, expected) in refused {
        let message = HostnameFile::parse(file.as_bytes()).unwrap_err().to_string();
        assert_eq!(message, expected, "{file:?}");
        assert!(!message.contains("/7+"), "{message}");
    }
}

#[test]
fn debug_shows_no_secret() {
    let clients = ClientKeys::parse(STEALTH_CLIENTS).unwrap();
    let hostname = HostnameFile::parse(STEALTH_HOSTNAME).unwrap();
    for shown in [format!("{clients:#?}"), format!("{hostname:#?}")] {
        assert!(
            shown.contains("carol") && shown.contains("DescriptorCookie { .. }"),
            "{shown}"
        );
        // The first bytes of carol's cookie, in any form, and of the keys.
        for secret in ["2Koh", "216", "170", "d8", "MIIC", "BEGIN"] {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
    }
}

fn any_name() -> impl Strategy<Value = ClientName> {
    "[A-Za-z0-9+_-]{1,16}".prop_map(|name| name.parse().unwrap())
}

proptest! {
    // Reading a key takes milliseconds, since Tor checks its primes.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn files_round_trip(
        clients in btree_map(any_name(), (any::<[u8; 16]>(), any::<bool>()), 1..6),
        stealth: bool,
        service: [u8; 10],
    ) {
        let keys = [PLAIN_KEY, BASIC_KEY].map(key);
        let clients = clients.into_iter().map(|(name, (cookie, first))| {
            let key = stealth.then(|| keys[usize::from(first)].clone());
            ClientKey::new(name, cookie.into(), key)
        });
        let clients = ClientKeys::new(clients).unwrap();
        let again = ClientKeys::parse(clients.to_text().as_bytes());
        prop_assert_eq!(again.as_ref(), Ok(&clients));

        let kind = if stealth { Stealth } else { Basic };
        let hostname = clients.hostname_file(service.into(), kind).unwrap();
        prop_assert_eq!(HostnameFile::parse(hostname.to_text().as_bytes()), Ok(hostname));
    }

}

proptest! {
    #[test]
    fn client_keys_survive_edits(start in 0..120_usize, length in 0..3_usize, with in select(EDITS)) {
        let mut file = BASIC_CLIENTS.to_vec();
        let start = start.min(file.len() - length);
        file.splice(start..start + length, with.bytes());
        fuzz::client_keys(&file);
    }

    #[test]
    fn hostname_files_survive_edits(start in 0..100_usize, length in 0..3_usize, with in select(EDITS)) {
        let mut file = BASIC_HOSTNAME.to_vec();
        let start = start.min(file.len() - length);
        file.splice(start..start + length, with.bytes());
        fuzz::hostname(&file);
    }

    #[test]
    fn files_survive_anything(file: Vec<u8>) {
        fuzz::client_keys(&file);
        fuzz::hostname(&file);
        fuzz::authorization(&file);
    }
}

const EDITS: &[&str] = &[
    " ",
    "\n",
    "#",
    "opt ",
    "@",
    "\0",
    "\r\n",
    "\nclient-name ",
    "A",
    "=",
    "\u{fffd}",
    "",
];
