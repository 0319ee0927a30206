use data_encoding::BASE64_NOPAD;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::Ed25519Identity;

const NS_ALL: &str = include_str!("../../testdata/v2-network/ns_all.txt");
const CONSENSUS: &str = include_str!("../../testdata/v2-network/consensus.txt");
const MICRODESC_CONSENSUS: &str = include_str!("../../testdata/v2-network/consensus-microdesc.txt");

const V3_MICRODESC_CONSENSUS: &str = include_str!("../../testdata/v3-network/consensus-microdesc.txt");
const MICRODESCRIPTORS: &str = include_str!("../../testdata/v3-network/md_all.txt");

const ROUTER: &str =
    "r test010r CO7RmThdk5e2R3V1aO1NbZgx5Q4 eT8+eS3AI8TLkrGnhe3+8+F4/9Y 2026-11-22 12:06:23 127.0.0.1 5010 7010";

#[test]
fn line_ends_and_prefaces_make_no_difference() {
    for document in [NS_ALL, CONSENSUS, MICRODESC_CONSENSUS] {
        let expected = RelayList::parse(document).unwrap();
        for variant in [
            document.replace('\n', "\r\n"),
            format!("{document}\n"),
            format!("{document}\r\n"),
            format!("\n\r\n{document}"),
            format!("@type network-status-consensus-3 1.0\n{document}"),
        ] {
            assert_eq!(RelayList::parse(&variant).as_ref(), Ok(&expected));
        }
    }
}

#[test]
fn broken_lists_of_router_statuses() {
    let flags = "s Fast HSDir";
    for (document, message) in [
        (String::new(), "router-status list: no relay is listed"),
        ("\r\n\n".to_owned(), "router-status list: no relay is listed"),
        (
            format!("{flags}\n{ROUTER}\n"),
            "router-status list, line 1: an `s` line comes before any `r` line",
        ),
        (
            format!("{ROUTER}\n"),
            "router-status list, line 1: no `s` line follows this `r` line",
        ),
        (
            format!("{ROUTER}\nw Bandwidth=0\n{ROUTER}\n{flags}\n"),
            "router-status list, line 1: no `s` line follows this `r` line",
        ),
        (
            format!("{ROUTER}\n{flags}\np reject 1-65535\n{flags}\n"),
            "router-status list, line 4: a second `s` line for the relay of line 1",
        ),
        (
            format!("\n{}\n{flags}\n", ROUTER.replace(" 7010", "")),
            "router-status list, line 2: this `r` line has 7 items, it takes 8",
        ),
        (
            "r\n".to_owned(),
            "router-status list, line 1: this `r` line has 0 items, it takes 8",
        ),
        (
            ROUTER.replace("test010r", "test-010r"),
            "router-status list, line 1: the nickname of this `r` line is not 1 to 19 letters and digits",
        ),
        (
            format!("{ROUTER}\n{flags}\n{}\n{flags}\n", ROUTER.replace("CO7R", "CO7=")),
            "router-status list, line 3: relay identity: byte 3 is not unpadded base64 (A-Z, a-z, 0-9, +, /)",
        ),
        (
            ROUTER.replace("CO7R", "CO7"),
            "router-status list, line 1: relay identity takes 27 characters, found 26",
        ),
        // 27 characters are 20 bytes and two bits, which must be 0.
        (
            ROUTER.replace("gx5Q4 ", "gx5Q5 "),
            "router-status list, line 1: relay identity: byte 26 is not unpadded base64 (A-Z, a-z, 0-9, +, /)",
        ),
    ] {
        let error = RelayList::parse(&document).unwrap_err();
        assert_eq!(error.to_string(), message, "{document}");
    }
}

#[test]
fn documents_of_another_form() {
    for (document, line) in [
        ("HTTP/1.0 200 OK\r\n", 1),
        (
            "\n@type server-descriptor 1.0\nrouter test010r 127.0.0.1 5010 0 7010\n",
            3,
        ),
        ("network-status-version 2\n", 1),
        ("network-status-version 3 future\n", 1),
        ("router-status\n", 1),
    ] {
        assert_eq!(RelayList::parse(document), Err(Error::UnknownForm { line }));
    }
    // Passed over line by line, none of which speaks of a relay.
    let form = Form::RouterStatuses;
    assert_eq!(
        RelayList::from_ns_all("HTTP/1.0 200 OK\r\n"),
        Err(Error::Empty { form })
    );
}

#[test]
fn broken_consensuses() {
    for (document, message) in [
        (
            CONSENSUS.replacen("CO7R", "CO7=", 1),
            "plain consensus, line 24: relay identity: byte 3 is not unpadded base64 (A-Z, a-z, 0-9, +, /)",
        ),
        (
            MICRODESC_CONSENSUS.replacen("CO7R", "CO7=", 1),
            "microdesc consensus, line 24: relay identity: byte 3 is not unpadded base64 (A-Z, a-z, 0-9, +, /)",
        ),
        (
            CONSENSUS.replacen("s Exit", "x Exit", 1),
            "plain consensus, line 24: no `s` line follows this `r` line",
        ),
        (
            CONSENSUS.replacen("valid-until", "valid-till", 1),
            "plain consensus, line 24: the header, which ends here, lacks its line `valid-until`",
        ),
        (
            CONSENSUS.replacen("valid-until 2", "valid-until 1", 1),
            "plain consensus, line 6: `valid-until`: not a time of the form `YYYY-MM-DD HH:MM:SS`: the year is not between 1970 and 2147483646",
        ),
        (
            CONSENSUS.replacen("valid-until 2026", "valid-until 2025", 1),
            "plain consensus, line 24: `valid-after`, `fresh-until` and `valid-until` of the header are not in this order",
        ),
        (
            CONSENSUS.replacen("vote-status consensus", "vote-status vote", 1),
            "plain consensus, line 2: this is an authority's vote, and no consensus",
        ),
        // Cut off in the middle of a line, behind a line, and before the signatures.
        (
            CONSENSUS.chars().take(5000).collect(),
            "plain consensus, line 87: the consensus ends here, without the end of a signature: it is cut off",
        ),
        (
            CONSENSUS.replace("\n-----END SIGNATURE-----", ""),
            "plain consensus, line 157: the consensus ends here, without the end of a signature: it is cut off",
        ),
        (
            CONSENSUS
                .split_inclusive("\ndirectory-footer")
                .next()
                .unwrap()
                .to_owned(),
            "plain consensus, line 132: the consensus ends here, without the end of a signature: it is cut off",
        ),
        (
            format!(
                "@type network-status-consensus-3 1.0\n\n{}",
                CONSENSUS.replacen("CO7R", "CO7=", 1)
            ),
            "plain consensus, line 26: relay identity: byte 3 is not unpadded base64 (A-Z, a-z, 0-9, +, /)",
        ),
        (
            format!("{CONSENSUS}\n{CONSENSUS}"),
            "plain consensus, line 161: another consensus begins here; one is read at a time",
        ),
    ] {
        assert_eq!(RelayList::parse(&document).unwrap_err().to_string(), message);
    }
}

#[test]
fn the_flavour_is_not_mistaken() {
    for refused in [
        RelayList::from_consensus(MICRODESC_CONSENSUS),
        RelayList::from_microdesc_consensus(CONSENSUS),
        RelayList::from_consensus(NS_ALL),
    ] {
        let Err(Error::Line { line: 1, problem, .. }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(problem, LineProblem::OtherDocument);
    }
}

/// A consensus of 2012, shortened. It has no `pr` lines, no `id` lines, and authorities that write
/// what is no number.
#[test]
fn old_consensus_is_read() {
    let list = RelayList::parse(include_str!("../../testdata/archives/consensus-2012.txt")).unwrap();
    assert_eq!(list.form(), Form::PlainConsensus);
    assert_eq!(list.relays().len(), 7);
    assert_eq!(list.hash_ring().len(), 7);
    assert_eq!(
        list.lifetime().unwrap().valid_until().to_string(),
        "2012-10-20 19:00:00"
    );
}

/// Lines that matter to no ring may say anything, or be missing.
#[test]
fn no_line_of_another_concern_condemns_a_consensus() {
    for document in [CONSENSUS, MICRODESC_CONSENSUS] {
        let expected = RelayList::parse(document).unwrap();
        for keyword in [
            "pr",
            "p",
            "v",
            "w",
            "a",
            "id",
            "params",
            "known-flags",
            "dir-source",
            "contact",
            "vote-digest",
            "voting-delay",
            "consensus-method",
            "directory-footer",
            "bandwidth-weights",
            "shared-rand-current-value",
        ] {
            let is_it = |line: &&str| line.split_ascii_whitespace().next() == Some(keyword);
            let without: String = document.split_inclusive('\n').filter(|line| !is_it(line)).collect();
            let strange: String = document
                .split_inclusive('\n')
                .map(|line| {
                    if is_it(&line) {
                        format!("{keyword} =\u{e9}= x\n")
                    } else {
                        line.to_owned()
                    }
                })
                .collect();
            let mut expected = expected.clone();
            if keyword == "pr" {
                // It tells who serves version 3, and nothing else.
                assert!(expected.relays.iter().all(Relay::is_v3_hsdir));
                expected.relays.iter_mut().for_each(|relay| relay.speaks_v3 = false);
            }
            for changed in [without, strange] {
                assert_eq!(RelayList::parse(&changed).as_ref(), Ok(&expected), "{keyword}");
            }
        }
    }
}

/// Reason for scanning router statuses here; see the module's documentation.
#[test]
fn tor_netdoc_cannot_read_router_statuses() {
    use tor_netdoc::doc::netstatus::plain::RouterStatus;
    use tor_netdoc::parse2::{ParseInput, parse_netdoc_multiple};

    let document = format!("{NS_ALL}\n");
    let input = ParseInput::new(&document, "ns/all");
    let error = parse_netdoc_multiple::<RouterStatus>(&input).unwrap_err();
    let problem = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(problem, "missing item pr");
}

/// The identities that the lines of a microdesc consensus and of microdescriptors tell, read by
/// hand.
fn identities_by_hand() -> Vec<(String, Ed25519Identity)> {
    let identity_of = |digest: &str| {
        let texts = MICRODESCRIPTORS.split("onion-key\n-----BEGIN").skip(1);
        let mut texts = texts.map(|text| format!("onion-key\n-----BEGIN{}\n", text.trim_end()));
        let text = texts
            .find(|text| BASE64_NOPAD.encode(&Sha256::digest(text)) == digest)
            .unwrap();
        let (_, identity) = text.trim_end().rsplit_once("id ed25519 ").unwrap();
        identity.parse().unwrap()
    };
    let mut relays = Vec::new();
    let mut nickname = "";
    for line in V3_MICRODESC_CONSENSUS.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["r", name, ..] => nickname = name,
            ["m", digest] => relays.push((nickname.to_owned(), identity_of(digest))),
            _ => {}
        }
    }
    relays
}

fn identities(list: &RelayList) -> Vec<(String, Ed25519Identity)> {
    let known = list.relays().iter().filter_map(|relay| {
        let identity = relay.ed25519_identity()?;
        Some((relay.nickname().to_owned(), identity))
    });
    known.collect()
}

/// Answer to `GETINFO ns/all` of a Tor that uses microdescriptors, from its consensus: the line `m`
/// is gone, and the line `r` has the start of the digest.
fn router_statuses_of_a_client() -> String {
    let mut document = String::new();
    let lines: Vec<_> = V3_MICRODESC_CONSENSUS.lines().collect();
    for window in lines.windows(3) {
        let [router, microdescriptor, flags] = window else {
            continue;
        };
        let (Some(router), Some(digest)) = (router.strip_prefix("r "), microdescriptor.strip_prefix("m ")) else {
            continue;
        };
        let digest = BASE64_NOPAD.decode(digest.as_bytes()).unwrap();
        let digest = BASE64_NOPAD.encode(&digest[..20]);
        let (names, place) = router.split_once(" 2038-").unwrap();
        document += &format!("r {names} {digest} 2038-{place}\n{flags}\n");
    }
    document
}

#[test]
fn microdescriptors_tell_ed25519_identities() {
    let expected = identities_by_hand();
    assert_eq!(expected.len(), 16);
    let annotated = MICRODESCRIPTORS.replace("onion-key\n---", "@last-listed 2026-11-22 12:18:20\nonion-key\n---");
    for text in [
        MICRODESCRIPTORS,
        &format!("{MICRODESCRIPTORS}\n"),
        &MICRODESCRIPTORS.replace('\n', "\r\n"),
        &format!("{MICRODESCRIPTORS}\n{MICRODESCRIPTORS}"),
        &annotated,
    ] {
        let microdescriptors = Microdescriptors::parse(text).unwrap();
        assert_eq!(microdescriptors.len(), 16);
        for document in [V3_MICRODESC_CONSENSUS, &router_statuses_of_a_client()] {
            let list = RelayList::parse_with(document, &microdescriptors).unwrap();
            assert_eq!(list.relays().len(), 16);
            assert_eq!(identities(&list), expected);
        }
    }
}

#[test]
fn a_relay_without_a_microdescriptor_has_no_known_ed25519_identity() {
    let (_, all_but_the_first) = MICRODESCRIPTORS.split_once("\nonion-key").unwrap();
    let microdescriptors = Microdescriptors::parse(&format!("onion-key{all_but_the_first}")).unwrap();
    assert_eq!(microdescriptors.len(), 15);
    for document in [V3_MICRODESC_CONSENSUS, &router_statuses_of_a_client()] {
        let list = RelayList::parse_with(document, &microdescriptors).unwrap();
        assert_eq!(list.relays().len(), 16);
        assert_eq!(identities(&list).len(), 15);
        assert!(identities(&RelayList::parse(document).unwrap()).is_empty());
    }
    // These name descriptors, and microdescriptors of another network.
    for document in [CONSENSUS, NS_ALL, MICRODESC_CONSENSUS] {
        let list = RelayList::parse_with(document, &microdescriptors).unwrap();
        assert_eq!(Ok(list), RelayList::parse(document));
    }
}

/// Entries as Tor's own files hold them: the first with an identity, the second without.
#[test]
fn microdescriptors_without_identity_concern_their_relays_alone() {
    let text = include_str!("../../testdata/archives/cached-microdescs");
    assert_eq!(Microdescriptors::parse(text).unwrap().len(), 1);

    let expected = identities_by_hand();
    for (from, to) in [
        ("id ed25519", "id rsa1024"),
        ("id ed25519 ", "id ed25519 ="),
        (
            "id ed25519 ",
            "id ed25519 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\nid ed25519 ",
        ),
        ("ntor-onion-key ", "ntor-onion-key ="),
        ("-----END", "-----AND"),
    ] {
        let microdescriptors = Microdescriptors::parse(&MICRODESCRIPTORS.replacen(from, to, 1)).unwrap();
        let list = RelayList::parse_with(V3_MICRODESC_CONSENSUS, &microdescriptors).unwrap();
        assert_eq!(list.relays().len(), 16);
        let found = identities(&list);
        assert_eq!(found.len(), 15, "{to}");
        assert!(found.iter().all(|known| expected.contains(known)), "{to}");
    }
    // Cut off where Tor died, and annotated.
    let (cut, _) = MICRODESCRIPTORS.rsplit_once("id ed25519").unwrap();
    assert_eq!(Microdescriptors::parse(cut).unwrap().len(), 15);
}

#[test]
fn broken_microdescriptors() {
    for (document, message) in [
        (
            "\nrouter test010r 127.0.0.1 5010 0 7010\n".to_owned(),
            "microdescriptors, line 2: no microdescriptor begins here (`onion-key`)",
        ),
        (
            "x".repeat(RelayList::MAX_LEN + 1),
            "the document has 16777216 bytes, more than the limit of 16777215",
        ),
    ] {
        assert_eq!(Microdescriptors::parse(&document).unwrap_err().to_string(), message);
    }
    assert!(Microdescriptors::parse("").unwrap().is_empty());
}

#[test]
fn a_document_beyond_the_limit_is_not_looked_at() {
    let document = "x".repeat(RelayList::MAX_LEN + 1);
    let (size, limit) = (document.len(), RelayList::MAX_LEN);
    for read in [
        RelayList::from_ns_all,
        RelayList::from_consensus,
        RelayList::from_microdesc_consensus,
    ] {
        assert_eq!(read(&document), Err(Error::TooLarge { size, limit }));
    }
}

#[test]
fn a_relay_listed_twice_counts_once_on_the_ring() {
    let relays = RelayList::parse(&format!("{ROUTER}\ns HSDir\n{ROUTER}\ns HSDir\n")).unwrap();
    assert_eq!(relays.relays().len(), 2);
    assert_eq!(relays.hash_ring().len(), 1);
}

fn any_relay() -> impl Strategy<Value = Relay> {
    (any::<[u8; 20]>(), "[A-Za-z0-9]{1,19}", any::<bool>()).prop_map(|(identity, nickname, is_hsdir)| Relay {
        fingerprint: identity.into(),
        nickname: nickname.into(),
        is_hsdir,
        speaks_v3: false,
        ed25519_identity: None,
    })
}

proptest! {
    #[test]
    fn reads_the_relays_that_were_written(
        relays in prop::collection::vec(any_relay(), 1..20),
        // Lines in between that are of no concern.
        noise in "([a-qt-z][a-z]{0,3}( [ -~]{0,20})?\n){0,3}",
        crlf: bool,
    ) {
        let mut document = String::new();
        for relay in &relays {
            let identity = BASE64_NOPAD.encode(relay.fingerprint().as_bytes());
            let flags = if relay.is_hsdir() { "Fast HSDir Valid" } else { "Fast HSDirs" };
            document.push_str(&format!(
                "r {} {identity} {identity} 2026-11-22 12:06:23 127.0.0.1 5010 7010\n{noise}s {flags}\n{noise}",
                relay.nickname(),
            ));
        }
        if crlf {
            document = document.replace('\n', "\r\n");
        }
        let list = RelayList::parse(&document).unwrap();
        prop_assert_eq!(list.relays(), &relays[..]);
        prop_assert_eq!(list.lifetime(), None);

        let ring = list.hash_ring();
        for relay in &relays {
            let listed = relays.iter().any(|other| other.is_hsdir && other.fingerprint == relay.fingerprint);
            prop_assert_eq!(ring.contains(&relay.fingerprint()), listed);
        }
    }

    #[test]
    fn any_text_is_read_or_refused_in_one_line(text in "[rs \r\nA-Za-z0-9+/@-]{0,400}") {
        if let Err(error) = RelayList::parse(&text) {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }
}
