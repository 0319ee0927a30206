//! The examples as a stranger uses them: as programs, with files.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use data_encoding::BASE64;
use onionweave_desc::v2::ServiceKey;
use serde_json::Value;
use sha1::{Digest as _, Sha1};
use tempfile::TempDir;

mod programs;

use programs::{program, root};

const EXAMPLES: [&str; 5] = ["assign", "descriptor", "publisher", "ring", "ring_anatomy"];

/// A service that tor 0.4.5.9 made and published, and what its descriptor says.
const SERVICE: &str = "rf75jzdtba4wnd6v";
const DESCRIPTOR: &str = "plain/descriptor-rf75jzdtba4wnd6v.txt";
const KEY: &str = "plain/private_key";
const PUBLISHED: &str = "2026-11-22T12:00:00Z";

#[test]
fn every_example_explains_itself() {
    for example in EXAMPLES {
        let help = succeed(example, ["--help"]);
        assert!(help.contains(&format!("Usage: {example}")), "{help}");
    }
    for command in ["inspect", "sign"] {
        let help = succeed("descriptor", [command, "--help"]);
        assert!(help.contains(&format!("Usage: descriptor {command}")), "{help}");
    }
}

#[test]
fn every_example_refuses_unknown_arguments() {
    for example in EXAMPLES {
        let output = run(example, ["--no-such-argument"]);
        assert!(!output.status.success(), "{example}");
        assert!(text(&output.stderr).contains("--no-such-argument"), "{example}");
        assert!(output.stdout.is_empty(), "{example}");
    }
}

// Descriptors.

#[test]
fn inspect_shows_a_captured_descriptor() {
    let file = desc_data(DESCRIPTOR);
    let json = json(&succeed(
        "descriptor",
        ["inspect".as_ref(), "--json".as_ref(), file.as_os_str()],
    ));
    assert_eq!(json["version"], 2);
    assert_eq!(json["service_id"], SERVICE);
    assert_eq!(json["descriptor_id"], "qd2akclg2ygyy37bwtrc6c33jwclhbk6");
    assert_eq!(json["secret_id_part"], "d4syc7afwvtxmni7fpeheu472epxiluv");
    assert_eq!(json["publication_time"], "2026-11-22 12:00:00");
    assert_eq!(json["protocol_versions"], serde_json::json!([2, 3]));
    assert_eq!(json["signature"], "valid");
    let points = json["introduction_points"].as_array().unwrap();
    assert_eq!(points.len(), 3);
    assert_eq!(points[0]["id"], "bdxndgjylwjzpnshov2wr3knnwmddzio");
    assert_eq!(points[0]["address"], "127.0.0.1");
    assert_eq!(points[0]["port"], 5010);

    let words = succeed("descriptor", ["inspect".as_ref(), file.as_os_str()]);
    for shown in [SERVICE, "qd2akclg2ygyy37bwtrc6c33jwclhbk6", "127.0.0.1:5010"] {
        assert!(words.contains(shown), "{words}");
    }
}

#[test]
fn signing_a_captured_descriptor_at_its_own_time_gives_the_same_bytes() {
    let folder = Folder::new();
    let key = folder.file("private_key", &fs::read(desc_data(KEY)).unwrap());
    for captured in [DESCRIPTOR, "plain-second-instance/descriptor-rf75jzdtba4wnd6v.txt"] {
        let captured = desc_data(captured);
        let signed = succeed("descriptor", sign(&key, &captured, "1"));
        // The recording lacks the last line end, which the control protocol does not transmit.
        assert_eq!(signed, fs::read_to_string(&captured).unwrap() + "\n");
    }
}

#[test]
fn signing_for_another_replica_and_the_next_period_verifies() {
    let folder = Folder::new();
    let key = folder.file("private_key", &fs::read(desc_data(KEY)).unwrap());
    let mut ids = Vec::new();
    for (replica, period) in [
        ("0", None),
        ("1", None),
        ("0", Some("--next-period")),
        ("1", Some("--next-period")),
    ] {
        let captured = desc_data(DESCRIPTOR);
        let mut arguments = sign(&key, &captured, replica).to_vec();
        arguments.extend(period.map(OsStr::new));
        let signed = folder.file("signed", succeed("descriptor", arguments).as_bytes());
        let json = json(&succeed(
            "descriptor",
            ["inspect".as_ref(), "--json".as_ref(), signed.as_os_str()],
        ));
        assert_eq!(json["service_id"], SERVICE);
        ids.push(json["descriptor_id"].as_str().unwrap().to_owned());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4, "{ids:?}");
}

#[test]
fn bad_descriptors_are_refused() {
    let folder = Folder::new();
    let captured = fs::read(desc_data(DESCRIPTOR)).unwrap();
    let other = fs::read(desc_data("basic/descriptor-z2p7lut3zzeost7w.txt")).unwrap();
    let half = captured.len() / 2;
    let table: [(&str, Vec<u8>, &str); 9] = [
        ("empty", Vec::new(), "not a v2 descriptor"),
        ("truncated", captured[..half].to_vec(), "cut short"),
        (
            "tampered",
            replace(&captured, "12:00:00", "13:00:00"),
            "signature does not match",
        ),
        // Signed with its own key, under the descriptor ID of another service.
        (
            "of-another-service",
            signed_text(&replace(&captured, ID, &id_of(&other))),
            "descriptor ID",
        ),
        (
            "too-long",
            [&captured[..], &[b'\n'; 20 * 1024]].concat(),
            "limit of 21504 bytes",
        ),
        ("no-points", with_points(0), "0 introduction points"),
        ("eleven-points", with_points(11), "11 introduction points"),
        ("two", [&captured[..], b"\n", &captured].concat(), "more follows"),
        ("binary", vec![0xff; 300], "not a v2 descriptor"),
    ];
    let key = folder.file("private_key", &fs::read(desc_data(KEY)).unwrap());
    for (name, bytes, reason) in table {
        let file = folder.file(name, &bytes);
        let inspect = ["inspect".as_ref(), "--json".as_ref(), file.as_os_str()];
        for words in [
            refuse("descriptor", inspect),
            refuse("descriptor", sign(&key, &file, "0")),
        ] {
            assert!(words.contains(reason) && words.contains(name), "{name}: {words}");
        }
    }
    // The tables above are about the points, not about the way they are made.
    let ten = folder.file("ten", &with_points(10));
    succeed("descriptor", ["inspect".as_ref(), ten.as_os_str()]);

    let words = refuse("descriptor", ["inspect".as_ref(), folder.path("missing").as_os_str()]);
    assert!(words.contains("No such file"), "{words}");
    let words = refuse("descriptor", ["inspect".as_ref(), folder.path("").as_os_str()]);
    assert!(words.contains("directory"), "{words}");
}

#[test]
fn bad_keys_are_refused() {
    let folder = Folder::new();
    let captured = desc_data(DESCRIPTOR);
    for (file, reason) in BAD_KEYS {
        let key = folder.file(
            Path::new(file).file_name().unwrap().to_str().unwrap(),
            &fs::read(desc_data(file)).unwrap(),
        );
        let words = refuse("descriptor", sign(&key, &captured, "0"));
        assert!(words.contains(reason), "{file}: {words}");
    }
    let key = folder.file("private_key", &fs::read(desc_data(KEY)).unwrap());
    for mode in [0o640, 0o604, 0o620, 0o666] {
        fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
        let words = refuse("descriptor", sign(&key, &captured, "0"));
        assert!(
            words.contains("private_key") && words.contains("ermissions"),
            "{mode:o}: {words}"
        );
    }
    let words = refuse("descriptor", sign(&folder.path("missing"), &captured, "0"));
    assert!(words.contains("No such file"), "{words}");
}

#[test]
fn bad_arguments_of_sign_are_refused() {
    let (key, captured) = (desc_data(KEY), desc_data(DESCRIPTOR));
    let words = refuse("descriptor", sign(&key, &captured, "2"));
    assert!(words.contains("replica"), "{words}");
    let mut arguments = sign(&key, &captured, "0");
    arguments[6] = "yesterday".as_ref();
    let words = refuse("descriptor", arguments);
    assert!(words.contains("yesterday"), "{words}");
}

// Authorized clients.

const BASIC: &str = "basic/descriptor-z2p7lut3zzeost7w.txt";
const STEALTH: &str = "stealth/descriptor-gwpnw55cchilrd7k.txt";
/// Alice's, of the service with basic authorization.
const BASIC_COOKIE: &str = "/7+YSj84F0crQa7k9/ITkA";
/// Carol's, of the service with stealth authorization.
const STEALTH_COOKIE: &str = "2KohXVDgp8ESS6hWRTRc4B";

#[test]
fn a_cookie_shows_the_points_of_a_captured_descriptor() {
    for (file, kind, cookie, port) in [
        (BASIC, "basic", BASIC_COOKIE, 5000),
        (STEALTH, "stealth", STEALTH_COOKIE, 5008),
    ] {
        let file = desc_data(file);
        let without = json(&succeed("descriptor", inspect(&file, None)));
        assert_eq!(without["client_authorization"], kind);
        assert_eq!(without["introduction_points"], serde_json::json!([]));
        let with = json(&succeed("descriptor", inspect(&file, Some(cookie))));
        assert_eq!(with["client_authorization"], kind);
        assert_eq!(with["introduction_points"].as_array().unwrap().len(), 3);
        assert_eq!(with["introduction_points"][0]["port"], port);
    }
    // Who needs none may have one.
    let open = desc_data(DESCRIPTOR);
    assert_eq!(
        succeed("descriptor", inspect(&open, Some(BASIC_COOKIE))),
        succeed("descriptor", inspect(&open, None))
    );
}

#[test]
fn signing_for_clients_is_read_by_each_of_them() {
    let folder = Folder::new();
    let clients = |service: &str| {
        folder.file(
            service,
            &fs::read(desc_data(&format!("{service}/client_keys"))).unwrap(),
        )
    };
    let captured = desc_data(DESCRIPTOR);
    let expected = json(&succeed("descriptor", inspect(&captured, None)))["introduction_points"].clone();

    let key = folder.file("private_key", &fs::read(desc_data("basic/private_key")).unwrap());
    let basic = clients("basic");
    let mut arguments = sign(&key, &captured, "1").to_vec();
    arguments.extend(["--clients".as_ref(), basic.as_os_str()]);
    let signed = succeed("descriptor", &arguments);
    assert_eq!(signed, succeed("descriptor", &arguments), "signing has no randomness");
    let signed = folder.file("signed", signed.as_bytes());
    for cookie in [BASIC_COOKIE, "KAAbp9fIV/ix3E2e+C5wTQ"] {
        let shown = json(&succeed("descriptor", inspect(&signed, Some(cookie))));
        assert_eq!(shown["descriptor_id"], "bj5u24zjlwp3lff5alx6p227qdik7iov");
        assert_eq!(shown["introduction_points"], expected);
    }
    let words = refuse("descriptor", inspect(&signed, Some(STEALTH_COOKIE)));
    assert!(words.contains("the cookie does not decrypt"), "{words}");

    let stealth = clients("stealth");
    let mut arguments = sign(&key, &captured, "1").to_vec();
    arguments.splice(1..3, ["--clients", "", "--stealth", "carol"].map(OsStr::new));
    arguments[2] = stealth.as_os_str();
    let signed = folder.file("signed", succeed("descriptor", arguments).as_bytes());
    let shown = json(&succeed("descriptor", inspect(&signed, Some(STEALTH_COOKIE))));
    assert_eq!(shown["service_id"], "gwpnw55cchilrd7k");
    assert_eq!(shown["descriptor_id"], "kq4cizzrbg65oievztyd7roar3aoj7jg");
    assert_eq!(shown["introduction_points"], expected);
}

#[test]
fn bad_cookies_and_clients_are_refused() {
    let folder = Folder::new();
    let basic = desc_data(BASIC);
    let relays = ring_data("ns_all.txt");
    for (cookie, reason) in [
        ("", "found 0"),
        ("/7+YSj84F0crQa7k9/ITk", "found 21"),
        ("/7+YSj84F0crQa7k9_ITkA", "not 16 or 17 bytes in base64"),
        ("/7+YSj84F0crQa7k9/ITkP", "of kind 16"),
    ] {
        let mut of_ring = ring(&relays, SERVICE, PUBLISHED).to_vec();
        of_ring.extend(["--cookie", cookie].map(OsStr::new));
        for words in [
            refuse("descriptor", inspect(&basic, Some(cookie))),
            refuse("ring", of_ring),
        ] {
            assert!(words.contains("--cookie") && words.contains(reason), "{words}");
            assert!(!words.contains("/7+YSj"), "a secret is shown: {words}");
        }
    }
    let key = folder.file("private_key", &fs::read(desc_data("basic/private_key")).unwrap());
    let clients = fs::read(desc_data("basic/client_keys")).unwrap();
    let file = folder.file("client_keys", &clients);
    let captured = desc_data(DESCRIPTOR);
    let with = |clients: &Path| {
        let mut arguments = sign(&key, &captured, "1").map(OsStr::to_owned).to_vec();
        arguments.extend(["--clients".into(), clients.into()]);
        arguments
    };
    for (edit, reason) in [
        (replace(&clients, "alice", "al.ice"), "line 1: `client-name`"),
        (replace(&clients, "alice", "bob"), "a second client `bob`"),
        (b"alice bob\n".to_vec(), "no authorized client"),
    ] {
        fs::write(&file, edit).unwrap();
        let words = refuse("descriptor", with(&file));
        assert!(words.contains("client_keys") && words.contains(reason), "{words}");
    }
    fs::write(&file, &clients).unwrap();
    let mut arguments = with(&file);
    arguments.splice(1..3, ["--stealth".into(), "alice".into()]);
    let words = refuse("descriptor", &arguments);
    assert!(words.contains("`alice` has no key of its own"), "{words}");
    arguments[2] = "carol".into();
    let words = refuse("descriptor", &arguments);
    assert!(words.contains("no client carol"), "{words}");
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let words = refuse("descriptor", with(&file));
    assert!(words.contains("ermissions"), "{words}");
    let words = refuse("descriptor", with(&folder.path("missing")));
    assert!(words.contains("No such file"), "{words}");
}

#[test]
fn only_a_stealth_cookie_changes_the_ring() {
    let relays = ring_data("ns_all.txt");
    let shown = |service: &str, cookie: &str| {
        let mut arguments = ring(&relays, service, PUBLISHED).to_vec();
        arguments.extend(["--cookie", cookie].map(OsStr::new));
        json(&succeed("ring", arguments))
    };
    let plain = json(&succeed("ring", ring(&relays, "z2p7lut3zzeost7w", PUBLISHED)));
    let basic = shown("z2p7lut3zzeost7w", BASIC_COOKIE);
    assert_eq!(basic["client_authorization"], "basic");
    assert_eq!(basic["replicas"], plain["replicas"]);
    // Where Tor said that it is.
    let stealth = shown("gwpnw55cchilrd7k", STEALTH_COOKIE);
    assert_eq!(stealth["client_authorization"], "stealth");
    assert_eq!(
        stealth["replicas"][1]["descriptor_id"],
        "kq4cizzrbg65oievztyd7roar3aoj7jg"
    );

    let mut words = ring(&relays, "z2p7lut3zzeost7w", PUBLISHED)[..6].to_vec();
    words.extend(["--cookie", BASIC_COOKIE].map(OsStr::new));
    let words = succeed("ring", words);
    assert!(
        words.contains("basic authorization: it changes no descriptor ID"),
        "{words}"
    );
}

// The ring.

#[test]
fn the_ring_is_where_tor_uploaded() {
    let folder = Folder::new();
    let relays = folder.file("relays", relays_at_upload().as_bytes());
    let mut checked = 0;
    for ((service, time), replicas) in uploads() {
        let at = rfc3339(&time);
        let shown = succeed("ring", ring(&relays, &service, &at));
        let json = json(&shown);
        assert!(json["time_period"].is_u64() && json["seconds_left"].is_u64(), "{shown}");
        let shown: Replicas = json["replicas"]
            .as_array()
            .unwrap()
            .iter()
            .map(|replica| {
                let directories = replica["directories"].as_array().unwrap().iter();
                (
                    replica["replica"].as_u64().unwrap(),
                    (
                        replica["descriptor_id"].as_str().unwrap().to_owned(),
                        directories
                            .map(|directory| directory.as_str().unwrap().to_owned())
                            .collect(),
                    ),
                )
            })
            .collect();
        assert_eq!(shown, replicas, "{service}");
        checked += 1;
    }
    assert_eq!(checked, 2, "services without stealth authorization in the recording");
}

#[test]
fn the_ring_by_key_is_the_ring_by_service() {
    let folder = Folder::new();
    let relays = ring_data("ns_all.txt");
    let key = folder.file("private_key", &fs::read(desc_data(KEY)).unwrap());
    let mut by_key = ring(&relays, SERVICE, PUBLISHED).to_vec();
    by_key[2] = "--key".as_ref();
    by_key[3] = key.as_os_str();
    assert_eq!(
        succeed("ring", by_key),
        succeed("ring", ring(&relays, SERVICE, PUBLISHED))
    );
}

#[test]
fn every_document_gives_the_same_ring() {
    let [first, second, third] = ["ns_all.txt", "consensus.txt", "consensus-microdesc.txt"]
        .map(|document| succeed("ring", ring(&ring_data(document), SERVICE, PUBLISHED)));
    assert_eq!(first, second);
    assert_eq!(first, third);
}

#[test]
fn bad_relays_services_and_times_are_refused() {
    let folder = Folder::new();
    let relays = ring_data("ns_all.txt");
    let missing = folder.path("missing");
    let empty = folder.file("empty", b"");
    let prose = folder.file("prose", b"these are no relays\n");
    let broken = folder.file("broken", &replace(&fs::read(&relays).unwrap(), "r test", "r te!st"));
    for (file, reason) in [
        (&missing, "No such file"),
        (&empty, "empty"),
        (&prose, "relays"),
        (&broken, "line 1: the nickname"),
    ] {
        let words = refuse("ring", ring(file, SERVICE, PUBLISHED));
        assert!(words.contains(reason), "{words}");
    }
    for (service, at, reason) in [
        ("rf75jzdtba4wnd6", PUBLISHED, "rf75jzdtba4wnd6"),
        ("rf75jzdtba4wnd61", PUBLISHED, "rf75jzdtba4wnd61"),
        (SERVICE, "noon", "noon"),
        (SERVICE, "1969-12-31T23:59:59Z", "1969-12-31"),
    ] {
        let words = refuse("ring", ring(&relays, service, at));
        assert!(words.contains(reason), "{words}");
    }
    for (file, reason) in BAD_KEYS {
        let key = folder.file(
            Path::new(file).file_name().unwrap().to_str().unwrap(),
            &fs::read(desc_data(file)).unwrap(),
        );
        let mut by_key = ring(&relays, SERVICE, PUBLISHED).to_vec();
        by_key[2] = "--key".as_ref();
        by_key[3] = key.as_os_str();
        let words = refuse("ring", by_key);
        assert!(words.contains(reason), "{file}: {words}");
    }
    let key = folder.file("private_key", &fs::read(desc_data(KEY)).unwrap());
    for mode in [0o640, 0o604, 0o620, 0o666] {
        fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
        let mut by_key = ring(&relays, SERVICE, PUBLISHED).to_vec();
        by_key[2] = "--key".as_ref();
        by_key[3] = key.as_os_str();
        let words = refuse("ring", by_key);
        assert!(
            words.contains("private_key") && words.contains("ermissions"),
            "{mode:o}: {words}"
        );
    }
}

// The ring's anatomy.

#[test]
fn the_anatomy_of_a_recorded_ring() {
    let folder = Folder::new();
    let (svg, csv) = (folder.path("ring.svg"), folder.path("ring.csv"));
    let relays = ring_data("ns_all.txt");
    let mut arguments: Vec<&OsStr> = ["--service", SERVICE, "--at", PUBLISHED].map(OsStr::new).to_vec();
    arguments.extend(["--relays".as_ref(), relays.as_os_str()]);
    arguments.extend(["--relay", "CB4D7EE4A7DBC9FD8D7DB3E8C4BD0A5AF49D4DD4"].map(OsStr::new));
    arguments.extend(["--svg".as_ref(), svg.as_os_str(), "--csv".as_ref(), csv.as_os_str()]);
    let words = succeed("ring_anatomy", arguments);
    for shown in [
        "ring of 18 directories",
        "0 of 1 given are on the ring",
        SERVICE,
        "time period 20780",
    ] {
        assert!(words.contains(shown), "{words}");
    }
    // The directories are those that the other example finds.
    let json = json(&succeed("ring", ring(&relays, SERVICE, PUBLISHED)));
    for replica in json["replicas"].as_array().unwrap() {
        for (place, directory) in (1..).zip(replica["directories"].as_array().unwrap()) {
            let slot = format!(
                "replica {}, {place}: {}",
                replica["replica"],
                directory.as_str().unwrap()
            );
            assert!(words.contains(&slot), "{slot} in {words}");
        }
    }

    let csv = fs::read_to_string(csv).unwrap();
    let (header, lines) = csv.split_once('\n').unwrap();
    assert_eq!(header, "fingerprint,gap,responsibility");
    assert_eq!(lines.lines().count(), 18);
    for (column, expected) in [(1, 1.0), (2, 3.0)] {
        let values = lines
            .lines()
            .map(|line| line.split(',').nth(column).unwrap().parse::<f64>().unwrap());
        assert!((values.sum::<f64>() - expected).abs() < 1e-9, "{csv}");
    }

    let svg = fs::read_to_string(svg).unwrap();
    for text in ["Gaps between neighbours", "in percent", SERVICE, "replica 1, place 3"] {
        assert!(svg.contains(text), "{text}");
    }
    // One for each slot, and one in the legend.
    assert_eq!(svg.matches("<circle").count(), 7);
}

#[test]
fn the_picture_of_the_documentation_can_be_drawn_again() {
    let folder = Folder::new();
    let svg = folder.path("ring.svg");
    let mut arguments: Vec<&OsStr> =
        "--synthetic 6400 --seed 1 --service rf75jzdtba4wnd6v --at 2026-11-22T12:07:50Z --svg"
            .split(' ')
            .map(OsStr::new)
            .collect();
    arguments.push(svg.as_os_str());
    succeed("ring_anatomy", arguments);
    let committed = fs::read_to_string(root().join("docs/ring_anatomy.svg")).unwrap();
    assert!(
        fs::read_to_string(svg).unwrap() == committed,
        "docs/ring_anatomy.svg is out of date"
    );
}

#[test]
fn bad_arguments_of_the_anatomy_are_refused() {
    let folder = Folder::new();
    let document = fs::read_to_string(ring_data("ns_all.txt")).unwrap();
    let without = folder.file("without", document.replace(" HSDir", "").as_bytes());
    let (without, nowhere) = (without.to_str().unwrap(), folder.path("no/folder/ring.svg"));
    let nowhere = nowhere.to_str().unwrap();
    for (arguments, reason) in [
        (&[][..], "--relays"),
        (&["--relays", "/nonexistent/relays"], "No such file"),
        (&["--relays", without], "no relay has the HSDir flag"),
        (&["--relays", without, "--synthetic", "7"], "cannot be used with"),
        (&["--relays", without, "--seed", "7"], "--seed"),
        (&["--synthetic", "0"], "0 is not in 1..=1000000"),
        (&["--synthetic", "7", "--service", SERVICE], "--at"),
        (&["--synthetic", "7", "--at", PUBLISHED], "--service"),
        (&["--synthetic", "7", "--relay", "ABC"], "takes 40 characters, found 3"),
        (&["--synthetic", "7", "--svg", nowhere], "No such file"),
        (&["--synthetic", "7", "--csv", nowhere], "No such file"),
    ] {
        let words = refuse("ring_anatomy", arguments);
        assert!(words.contains(reason), "{arguments:?}: {words}");
    }
}

// Plans.

#[test]
fn plans_are_shown() {
    let shown = succeed(
        "assign",
        "--instances a,b=2,c --directories 6 --points 3 --policy mixed --rounds 4 --json".split(' '),
    );
    let json = json(&shown);
    let rounds = json["rounds"].as_array().unwrap();
    assert_eq!(rounds.len(), 4);
    let mut means = BTreeMap::from([("a", 0.0), ("b", 0.0), ("c", 0.0)]);
    for round in rounds {
        let slots = round["slots"].as_array().unwrap();
        assert_eq!(slots.len(), 6);
        for slot in slots {
            assert!(slot["slot"].is_string());
            assert!((slot["read_share"].as_f64().unwrap() - 1.0 / 6.0).abs() < 1e-9);
            let points = slot["points"].as_object().unwrap();
            assert_eq!(points.len(), 1, "mixed gives a slot to one instance");
            assert!(points.values().all(|points| *points == 3));
        }
        let shares = round["shares"].as_object().unwrap();
        let sum: f64 = shares.values().map(|share| share.as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{shares:?}");
        for (instance, share) in shares {
            *means.get_mut(instance.as_str()).unwrap() += share.as_f64().unwrap() / 4.0;
        }
    }
    // Six slots over four parts: a full rotation has two rounds.
    for (instance, share) in [("a", 0.25), ("b", 0.5), ("c", 0.25)] {
        assert!((means[instance] - share).abs() < 1e-9, "{means:?}");
    }
}

/// Every policy can be chosen, in words and in JSON, and what deaths do to clients is told.
#[test]
fn every_policy_shows_its_plans() {
    // What part of the clients finds nothing but dead points in the first text, when one of six
    // dies.
    for (policy, text_dead) in [
        ("race", 1.0 / 6.0),
        ("mixed", 1.0 / 6.0),
        ("single", 0.0),
        ("hybrid", 0.0),
        ("weighted", 0.0),
    ] {
        let arguments = format!("--instances 6 --policy {policy} --dead 1");
        let words = succeed("assign", arguments.split(' '));
        for expected in ["round 0", "i6", "introduction points", "a new client", "█"] {
            assert!(words.contains(expected), "{policy}: {words}");
        }
        let json = json(&succeed("assign", format!("{arguments} --json").split(' ')));
        assert_eq!(json["policy"], policy);
        let round = &json["rounds"][0];
        assert!(round["points"].as_u64().unwrap() >= 3);
        assert!(round["busiest_point"].as_f64().unwrap() > 0.0);
        let deaths = &round["deaths"];
        let found = deaths["text_dead"].as_f64().unwrap();
        // In a race, how many of them stand at all is drawn.
        let expected = if policy == "race" {
            1.0 / deaths["of"].as_f64().unwrap()
        } else {
            text_dead
        };
        assert!((found - expected).abs() < 1e-9, "{policy}: {found}");
    }
    let sixty = succeed("assign", "--instances 60 --policy hybrid".split(' '));
    assert!(
        sixty.contains("60 introduction points; the busiest is used by 1.7 %"),
        "{sixty}"
    );
}

#[test]
fn bad_plans_are_refused() {
    for (arguments, reason) in [
        ("--instances a,b=0", "b=0"),
        ("--instances a,b=x", "b=x"),
        ("--instances a,,b", "no name"),
        ("--instances a,a", "twice"),
        ("--instances a --directories 0", "directories"),
        ("--instances a --points 0", "points"),
        ("--instances a --rounds 0", "rounds"),
        ("--instances a --policy best", "best"),
        ("--instances 0", "instances: 0"),
        ("--instances 1001", "instances: 1001"),
        ("--instances a --dead -1", "dead"),
    ] {
        let words = refuse("assign", arguments.split(' '));
        assert!(words.contains(reason), "{arguments}: {words}");
    }
}

// The publisher.

#[test]
fn a_right_configuration_is_accepted() {
    let folder = Folder::new();
    folder.file("private_key", &fs::read(desc_data(KEY)).unwrap());
    let config = folder.file("publisher.toml", CONFIG.as_bytes());
    let output = run(
        "publisher",
        [OsStr::new("--check"), OsStr::new("--config"), config.as_os_str()],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn bad_configurations_are_refused() {
    let folder = Folder::new();
    folder.file("private_key", &fs::read(desc_data(KEY)).unwrap());
    let of_others = folder.file("of_others", &fs::read(desc_data(KEY)).unwrap());
    fs::set_permissions(&of_others, Permissions::from_mode(0o644)).unwrap();
    folder.file("rubbish", b"no key at all\n");
    fs::create_dir(folder.path("public")).unwrap();
    fs::set_permissions(folder.path("public"), Permissions::from_mode(0o755)).unwrap();
    let pool = |line| format!("state = \"state\"\n[pool]\n{line}\n[[service]]\nports = [\"80\"]");
    let edits = [
        // (what to replace, with what, what the message says)
        ("[[service]]", "[[service]", "line"),
        ("name = \"b\"", "name = \"a\"", "two instances have this name"),
        ("name = \"a\"", "nom = \"a\"", "nom"),
        ("unix:/nonexistent/a", "/nonexistent/a", "/nonexistent/a"),
        ("heartbeat = \"2s\"", "heartbeat = \"soon\"", "soon"),
        ("heartbeat = \"2s\"", "heartbeat = \"1h\"", "100ms and 1m"),
        ("policy = \"mixed\"", "policy = \"best\"", "best"),
        ("weight = 2", "weight = 0", "line 13, column 10"),
        ("\"private_key\"", "\"missing\"", "missing"),
        ("\"private_key\"", "\"of_others\"", "of_others"),
        ("\"private_key\"", "\"rubbish\"", "rubbish"),
        (CONFIG, "", "no [[service]]"),
        ("[publisher]", "[publisher]\nstate = \"public\"", "public"),
        ("[publisher]", "[pool]\n[publisher]", "pool: needs a state folder"),
        (
            FIRST,
            &pool("tor = \"no-such-tor\""),
            "pool: tor: there is no program no-such-tor in PATH",
        ),
        (FIRST, &pool("tor = \"./rubbish\""), "pool: tor: cannot run"),
        (
            FIRST,
            &pool("torrc = [\"ControlPort 1\"]"),
            "ControlPort is not allowed",
        ),
    ];
    for (from, to, reason) in edits {
        assert!(CONFIG.contains(from), "{from}");
        let config = folder.file("publisher.toml", CONFIG.replacen(from, to, 1).as_bytes());
        for check in [true, false] {
            let mut arguments = vec![OsStr::new("--config"), config.as_os_str()];
            arguments.extend(check.then_some(OsStr::new("--check")));
            let words = refuse("publisher", arguments);
            assert!(words.contains(reason), "{to}: {words}");
        }
    }
    for (file, reason) in BAD_KEYS {
        folder.file("private_key", &fs::read(desc_data(file)).unwrap());
        let config = folder.file("publisher.toml", CONFIG.as_bytes());
        let words = refuse("publisher", [OsStr::new("--config"), config.as_os_str()]);
        assert!(words.contains(reason), "{file}: {words}");
    }
    let words = refuse(
        "publisher",
        [OsStr::new("--config"), folder.path("nowhere").as_os_str()],
    );
    assert!(words.contains("No such file"), "{words}");
}

const CONFIG: &str = r#"
[publisher]
heartbeat = "2s"

[[service]]
key = "private_key"
policy = "mixed"
quiet = true

[[service.instance]]
name = "a"
control = "unix:/nonexistent/a"
weight = 2

[[service.instance]]
name = "b"
control = "127.0.0.1:9"
"#;

/// The end of the first table and the beginning of the next.
const FIRST: &str = "heartbeat = \"2s\"\n\n[[service]]";

/// Files that hold no key that serves, and what is said of each.
const BAD_KEYS: [(&str, &str); 8] = [
    ("keys/pkcs1-encrypted.pem", "encrypted"),
    ("keys/pkcs8-encrypted.pem", "encrypted"),
    ("keys/rsa-512.pem", "512 bits"),
    ("keys/rsa-2048.pem", "2048 bits"),
    ("keys/ec-pkcs8.pem", "not an RSA key"),
    ("keys/public.pem", "PUBLIC KEY"),
    ("keys/truncated.pem", "cut short"),
    ("plain/hostname", "no PEM block"),
];

// Running programs.

fn run<A: AsRef<OsStr>>(example: &str, arguments: impl IntoIterator<Item = A>) -> Output {
    Command::new(program(example))
        .args(arguments)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Runs an example that must succeed; what it prints.
fn succeed<A: AsRef<OsStr>>(example: &str, arguments: impl IntoIterator<Item = A>) -> String {
    let output = run(example, arguments);
    assert!(output.status.success(), "{example}: {}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "", "{example}");
    text(&output.stdout)
}

/// Runs an example that must fail with one line and print nothing; that line.
fn refuse<A: AsRef<OsStr>>(example: &str, arguments: impl IntoIterator<Item = A>) -> String {
    let output = run(example, arguments);
    let words = text(&output.stderr);
    assert!(!output.status.success(), "{example} accepts it");
    assert!(output.status.code().is_some(), "{example} was killed: {words}");
    assert!(!words.contains("panicked"), "{words}");
    assert_eq!(words.lines().count(), 1, "{words}");
    assert_eq!(text(&output.stdout), "", "{words}");
    words
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn sign<'a>(key: &'a Path, from: &'a Path, replica: &'a str) -> [&'a OsStr; 9] {
    let [sign, key_flag, from_flag, at_flag, at, replica_flag] =
        ["sign", "--key", "--from", "--at", PUBLISHED, "--replica"].map(OsStr::new);
    [
        sign,
        key_flag,
        key.as_ref(),
        from_flag,
        from.as_ref(),
        at_flag,
        at,
        replica_flag,
        replica.as_ref(),
    ]
}

fn inspect<'a>(file: &'a Path, cookie: Option<&'a str>) -> Vec<&'a OsStr> {
    let mut arguments = vec!["inspect".as_ref(), "--json".as_ref(), file.as_os_str()];
    arguments.extend(
        cookie
            .into_iter()
            .flat_map(|cookie| ["--cookie".as_ref(), OsStr::new(cookie)]),
    );
    arguments
}

fn ring<'a>(relays: &'a Path, service: &'a str, at: &'a str) -> [&'a OsStr; 7] {
    [
        "--relays".as_ref(),
        relays.as_ref(),
        "--service".as_ref(),
        service.as_ref(),
        "--at".as_ref(),
        at.as_ref(),
        "--json".as_ref(),
    ]
}

// Files.

/// A folder whose files only their owner can read.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }
}

fn desc_data(file: &str) -> PathBuf {
    root().join("crates/desc/testdata").join(file)
}

fn ring_data(file: &str) -> PathBuf {
    root().join("crates/ring/testdata/v2-network").join(file)
}

// Descriptors that no honest Tor writes.

/// The descriptor ID of the captured descriptor.
const ID: &str = "qd2akclg2ygyy37bwtrc6c33jwclhbk6";

fn id_of(descriptor: &[u8]) -> String {
    let first = text(descriptor).lines().next().unwrap().to_owned();
    first.split(' ').nth(1).unwrap().to_owned()
}

fn replace(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = text(bytes);
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1).into_bytes()
}

/// The same text up to the signature, signed with the service's key.
fn signed_text(descriptor: &[u8]) -> Vec<u8> {
    let key = ServiceKey::from_pem(fs::read_to_string(desc_data(KEY)).unwrap()).unwrap();
    let text = text(descriptor);
    let body = text.split_once("\nsignature\n").unwrap().0.to_owned() + "\nsignature\n";
    let signature = key.sign_digest(&Sha1::digest(&body).into()).unwrap();
    (body + &object("SIGNATURE", &signature)).into_bytes()
}

/// The captured descriptor with another number of introduction points, each at a relay of its own.
fn with_points(count: u8) -> Vec<u8> {
    const BEGIN: &str = "-----BEGIN MESSAGE-----\n";
    const END: &str = "-----END MESSAGE-----\n";
    let captured = fs::read_to_string(desc_data(DESCRIPTOR)).unwrap();
    let (head, rest) = captured.split_once(BEGIN).unwrap();
    let (message, tail) = rest.split_once(END).unwrap();
    let points = text(&BASE64.decode(message.replace('\n', "").as_bytes()).unwrap());
    let point = points.split("introduction-point ").nth(1).unwrap();
    let point = point.split_once('\n').unwrap().1;
    let points: String = (0..count)
        .map(|number| {
            format!(
                "introduction-point {}\n{point}",
                char::from(b'a' + number).to_string().repeat(32)
            )
        })
        .collect();
    signed_text(format!("{head}{}{tail}", object("MESSAGE", points.as_bytes())).as_bytes())
}

fn object(label: &str, bytes: &[u8]) -> String {
    let lines: String = bytes.chunks(48).map(|line| BASE64.encode(line) + "\n").collect();
    format!("-----BEGIN {label}-----\n{lines}-----END {label}-----\n")
}

// The recording of a network.

/// The relays as they were when Tor uploaded: see `crates/ring/testdata/README.md` on the one that
/// came later.
fn relays_at_upload() -> String {
    let document = fs::read_to_string(ring_data("ns_all.txt")).unwrap();
    let mut skipping = false;
    let mut kept = String::new();
    for line in document.lines() {
        if line.starts_with("r ") {
            skipping = line.starts_with("r test013r ");
        }
        if !skipping {
            kept += line;
            kept.push('\n');
        }
    }
    assert_eq!(kept.matches("\nr ").count(), 16, "one of eighteen is left out");
    kept
}

/// A service and the second in which it published.
type Publication = (String, String);

/// For each replica the descriptor ID and its directories.
type Replicas = BTreeMap<u64, (String, Vec<String>)>;

/// For each replica the descriptor ID and the directories to which Tor uploaded it. Services with
/// stealth authorization are left out: their descriptor IDs depend on a cookie.
fn uploads() -> BTreeMap<Publication, Replicas> {
    let recording = fs::read_to_string(ring_data("events.txt")).unwrap();
    let events: Vec<Vec<&str>> = recording.lines().map(|line| line.split(' ').collect()).collect();
    let mut uploads: BTreeMap<Publication, Replicas> = BTreeMap::new();
    for event in &events {
        let [
            time,
            instance @ ("plain" | "basic"),
            "HS_DESC",
            "CREATED",
            service,
            _,
            _,
            id,
            replica,
        ] = event[..]
        else {
            continue;
        };
        let directories = events.iter().filter_map(|upload| match upload[..] {
            [_, from, "HS_DESC", "UPLOAD", _, _, directory, sent] if from == instance && sent == id => {
                Some(directory.trim_start_matches('$').split('~').next().unwrap().to_owned())
            }
            _ => None,
        });
        let second = time.split('.').next().unwrap().to_owned();
        let replica = replica.strip_prefix("REPLICA=").unwrap().parse().unwrap();
        uploads
            .entry((service.to_owned(), second))
            .or_default()
            .insert(replica, (id.to_owned(), directories.collect()));
    }
    uploads
}

fn rfc3339(seconds: &str) -> String {
    let seconds = seconds.parse().unwrap();
    let iso = onionweave_ring::UnixTime::from_secs(seconds).to_string();
    iso.replace(' ', "T") + "Z"
}
