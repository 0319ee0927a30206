//! Descriptors of services with client authorization: those that Tor wrote, and those written here.

use std::collections::BTreeSet;

use data_encoding::{BASE64, HEXLOWER};
use onionweave_desc::Error;
use onionweave_desc::v2::AuthorizationKind::{Basic, Stealth};
use onionweave_desc::v2::{
    Authorization, Descriptor, DescriptorCookie, Draft, Fetch, FetchVerdict, HostnameFile, IntroductionPoint, Known,
    MAX_BASIC_CLIENTS, ServiceKey,
};
use onionweave_ring::UnixTime;
use onionweave_ring::v2::{DescriptorId, Replica, SecretIdPart, TimePeriod};
use proptest::collection::btree_set;
use proptest::prelude::*;
use sha1::{Digest, Sha1};

use crate::support::{
    BASIC, BASIC_KEY, LIMIT, PLAIN, PLAIN_KEY, STEALTH, key, many_points, points, position, verify, with_points,
};

const BASIC_HOSTNAME: &[u8] = include_bytes!("../../testdata/basic/hostname");
const STEALTH_HOSTNAME: &[u8] = include_bytes!("../../testdata/stealth/hostname");

fn cookie(byte: u8) -> DescriptorCookie {
    DescriptorCookie::from([byte; 16])
}

/// Relays and ports of points, of which the recorded ones are those of the network in
/// `crates/ring/testdata/v2-network/ns_all.txt`.
fn relays(points: &[IntroductionPoint]) -> Vec<(String, u16)> {
    points
        .iter()
        .map(|point| (point.identity().to_string(), point.port()))
        .collect()
}

fn named(relays: [(&str, u16); 3]) -> Vec<(String, u16)> {
    relays.map(|(identity, port)| (identity.to_owned(), port)).to_vec()
}

#[test]
fn each_client_reads_what_tor_wrote_for_it() {
    let basic = verify(BASIC).unwrap();
    assert_eq!(basic.authorization(), Some(Basic));
    let hostname = HostnameFile::parse(BASIC_HOSTNAME).unwrap();
    assert_eq!(hostname.clients().len(), 2);
    for client in hostname.clients() {
        assert_eq!(client.service_id(), basic.service_id());
        let points = basic.introduction_points_for(client.cookie().cookie()).unwrap();
        let expected = named([
            ("38328B342F6D11B2F32C9040078621802B9BC0FF", 5000),
            ("6B21D723C5E65F416C65EC73B7E07FF5DA26C40B", 5008),
            ("ECB71EEC69541BD4C8AE5AD84EDEB74160963C73", 5001),
        ]);
        assert_eq!(relays(&points), expected);
    }

    let hostname = HostnameFile::parse(STEALTH_HOSTNAME).unwrap();
    assert_eq!(hostname.clients().len(), 2);
    for (client, text) in hostname.clients().iter().zip(STEALTH) {
        let descriptor = verify(text).unwrap();
        assert_eq!(descriptor.authorization(), Some(Stealth));
        assert_eq!(client.service_id(), descriptor.service_id());
        let points = descriptor.introduction_points_for(client.cookie().cookie()).unwrap();
        let expected = named([
            ("6B21D723C5E65F416C65EC73B7E07FF5DA26C40B", 5008),
            ("0B77EA68F3D7172838AFFC3085B5DB0E1F7790F9", 5015),
            ("38328B342F6D11B2F32C9040078621802B9BC0FF", 5000),
        ]);
        assert_eq!(relays(&points), expected);
    }
}

/// The descriptor IDs of the recordings, computed from the cookies of their clients.
#[test]
fn stealth_cookies_decide_the_descriptor_id() {
    let hostname = HostnameFile::parse(STEALTH_HOSTNAME).unwrap();
    for (client, text) in hostname.clients().iter().zip(STEALTH) {
        let recorded = verify(text).unwrap();
        let period = TimePeriod::at(&client.service_id(), recorded.publication_time());
        let part = SecretIdPart::new(period, Replica::ALL[1], client.cookie().id_cookie());
        assert_eq!(recorded.secret_id_part(), part);
        assert_eq!(recorded.descriptor_id(), DescriptorId::new(&client.service_id(), &part));
    }
}

#[test]
fn a_wrong_cookie_reads_nothing() {
    for (text, kind) in [(BASIC, Basic), (STEALTH[0], Stealth), (STEALTH[1], Stealth)] {
        let descriptor = verify(text).unwrap();
        assert_eq!(
            descriptor.introduction_points_for(&cookie(1)),
            Err(Error::WrongCookie(kind))
        );
        // Clients take a cookie of zeros for none.
        let without = descriptor.introduction_points_for(&cookie(0));
        assert_eq!(without, Err(Error::ClientAuthorization(kind)));
    }
    let [carol, dave] = STEALTH.map(|text| verify(text).unwrap());
    let hostname = HostnameFile::parse(STEALTH_HOSTNAME).unwrap();
    let of_dave = hostname.clients()[1].cookie().cookie();
    assert!(dave.introduction_points_for(of_dave).is_ok());
    assert_eq!(carol.introduction_points_for(of_dave), Err(Error::WrongCookie(Stealth)));
}

#[test]
fn points_for_everybody_are_read_with_any_cookie() {
    let descriptor = verify(PLAIN).unwrap();
    assert_eq!(descriptor.authorization(), None);
    for byte in [0, 1] {
        assert_eq!(descriptor.introduction_points_for(&cookie(byte)), Ok(points(PLAIN)));
    }
}

#[test]
fn clients_with_a_cookie_store_what_they_can_decrypt() {
    let basic = verify(BASIC).unwrap();
    let now = basic.publication_time();
    let fetch = Fetch::new(basic.descriptor_id()).service(basic.service_id());
    let judge = |fetch: &Fetch| fetch.judge(BASIC, |_| Known::default(), now);
    assert_eq!(judge(&fetch), Err(Error::ClientAuthorization(Basic)));
    assert_eq!(judge(&fetch.clone().cookie(cookie(1))), Err(Error::WrongCookie(Basic)));
    let hostname = HostnameFile::parse(BASIC_HOSTNAME).unwrap();
    for client in hostname.clients() {
        let cookie = client.cookie().cookie();
        let verdict = judge(&fetch.clone().cookie(cookie.clone())).unwrap();
        let FetchVerdict::Stored { points, .. } = verdict else {
            panic!("{verdict:?}");
        };
        assert_eq!(Ok(points), basic.introduction_points_for(cookie));
    }
}

// What clients make of blocks that Tor does not write.

/// Encrypted points of the recording, as each kind has them, with a cookie that reads them.
fn blocks() -> [(Vec<u8>, DescriptorCookie); 2] {
    [(BASIC, BASIC_HOSTNAME), (STEALTH[0], STEALTH_HOSTNAME)].map(|(text, hostname)| {
        let hostname = HostnameFile::parse(hostname).unwrap();
        (block(text), hostname.clients()[0].cookie().cookie().clone())
    })
}

/// The object `introduction-points` of a text.
fn block(text: &[u8]) -> Vec<u8> {
    let begin = b"-----BEGIN MESSAGE-----\n";
    let start = position(begin, text) + begin.len();
    let end = position(b"-----END MESSAGE-----", text);
    let lines: Vec<u8> = text[start..end].iter().copied().filter(|byte| *byte != b'\n').collect();
    BASE64.decode(&lines).unwrap()
}

fn read(block: &[u8], cookie: &DescriptorCookie) -> Result<usize, Error> {
    let descriptor = verify(&with_points(block)).unwrap();
    descriptor.introduction_points_for(cookie).map(|points| points.len())
}

/// Places are those of tor 0.4.5.9, below `src/feature/rend`.
#[test]
fn blocks_are_read_as_tor_reads_them() {
    let [(basic, alice), (stealth, carol)] = blocks();
    let short = |kind, size, needed| Err(Error::AuthorizationTooShort { kind, size, needed });
    let count = |found| Err(Error::IntroductionPointCount { found, limit: 10 });
    let edit = |block: &[u8], index: usize, byte: u8| {
        let mut block = block.to_vec();
        block[index] = byte;
        block
    };
    let list = many_points(1)[0].to_string().into_bytes();
    // (what, where, block, cookie, number of points)
    let table = [
        ("basic", "rendparse.c:320", basic.clone(), &alice, Ok(3)),
        (
            "basic, cut in the points",
            "rendparse.c:329",
            basic[..356].to_vec(),
            &alice,
            Err(Error::WrongCookie(Basic)),
        ),
        (
            "basic, without points",
            "rendparse.c:291",
            basic[..338].to_vec(),
            &alice,
            short(Basic, 338, 339),
        ),
        (
            "basic, cut in the entries",
            "rendparse.c:291",
            basic[..100].to_vec(),
            &alice,
            short(Basic, 100, 339),
        ),
        (
            "basic, nothing else",
            "rendparse.c:276",
            vec![1],
            &alice,
            short(Basic, 1, 19),
        ),
        (
            "basic, no entries",
            "rendparse.c:340",
            edit(&basic, 1, 0),
            &alice,
            Err(Error::WrongCookie(Basic)),
        ),
        (
            "basic, more entries said",
            "rendparse.c:340",
            edit(&basic, 1, 2),
            &alice,
            Err(Error::WrongCookie(Basic)),
        ),
        (
            "basic, more entries than bytes",
            "rendparse.c:291",
            edit(&basic, 1, 255),
            &alice,
            short(Basic, basic.len(), 81619),
        ),
        (
            "basic, read as stealth",
            "rendparse.c:346",
            edit(&basic, 0, 2),
            &alice,
            Err(Error::WrongCookie(Stealth)),
        ),
        ("stealth", "rendparse.c:353", stealth.clone(), &carol, Ok(3)),
        (
            "stealth, without points",
            "rendparse.c:346",
            stealth[..17].to_vec(),
            &carol,
            short(Stealth, 17, 18),
        ),
        (
            "stealth, nothing else",
            "rendparse.c:276",
            vec![2],
            &carol,
            short(Stealth, 1, 18),
        ),
        (
            "stealth, one byte",
            "rendcache.c:934",
            stealth[..18].to_vec(),
            &carol,
            Err(Error::WrongCookie(Stealth)),
        ),
        ("of kind 0", "rendparse.c:368", edit(&stealth, 0, 0), &carol, count(0)),
        ("of kind 3", "rendparse.c:368", edit(&stealth, 0, 3), &carol, count(0)),
        ("not encrypted", "rendcache.c:932", list.clone(), &carol, Ok(1)),
        ("empty", "rendcache.c:910", vec![], &carol, count(0)),
    ];
    for (what, place, block, cookie, expected) in table {
        assert_eq!(read(&block, cookie), expected, "{what} ({place})");
    }
}

/// Holds that what follows the last point once it is decrypted belongs to it, as it would in a list
/// that is not encrypted.
#[test]
fn trailing_bytes_belong_to_the_last_point() {
    let draft = Draft::new(many_points(1)).trailing_blank_lines(63);
    let written = signed(&draft.authorization(Authorization::Stealth(cookie(1)))).unwrap();
    let table: [(&[u8], bool); 4] = [
        (b"", true),
        (b"\nwhatever it is\n", true),
        (b"\nonion-port 1\n", false),
        (b"\0", false),
    ];
    for (text, accepted) in table {
        let mut block = block(written.text());
        let blank = block.len() - 64..;
        // Counter mode: what is changed in the cipher text changes in the text.
        for (byte, wanted) in block[blank].iter_mut().zip(text) {
            *byte ^= b'\n' ^ wanted;
        }
        let read = read(&block, &cookie(1));
        let what = text.escape_ascii();
        assert_eq!(read == Ok(1), accepted, "{what}");
        assert_eq!(matches!(read, Err(Error::Malformed { .. })), !accepted, "{what}");
    }
}

// What is written here.

fn at(time: u64, key: &ServiceKey) -> (TimePeriod, UnixTime) {
    let time = UnixTime::from_secs(time);
    (TimePeriod::at(&key.service_id(), time), time)
}

fn signed(draft: &Draft) -> Result<Descriptor, Error> {
    let key = key(PLAIN_KEY);
    let (period, time) = at(1_800_000_000, &key);
    draft.sign(&key, period, Replica::ALL[0], time)
}

fn basic(clients: impl IntoIterator<Item = u8>) -> Authorization {
    Authorization::Basic(clients.into_iter().map(cookie).collect())
}

#[test]
fn stealth_descriptors_are_where_only_their_client_looks() {
    let draft = Draft::new(many_points(2));
    let stealth = signed(&draft.clone().authorization(Authorization::Stealth(cookie(7)))).unwrap();
    let (period, _) = at(1_800_000_000, &key(PLAIN_KEY));
    let part = SecretIdPart::new(period, Replica::ALL[0], Some(&cookie(7)));
    assert_eq!(stealth.secret_id_part(), part);
    assert_eq!(stealth.authorization(), Some(Stealth));
    assert_eq!(stealth.introduction_points_for(&cookie(7)), Ok(many_points(2)));

    let open = signed(&draft).unwrap();
    let basic = signed(&draft.authorization(basic([7]))).unwrap();
    assert_ne!(stealth.descriptor_id(), open.descriptor_id());
    assert_eq!(basic.descriptor_id(), open.descriptor_id());
}

#[test]
fn entries_are_sorted_and_fill_blocks_of_sixteen() {
    for (clients, blocks) in [(1, 1), (2, 1), (15, 1), (16, 1), (17, 2), (32, 2), (33, 3)] {
        let descriptor = signed(&Draft::new(many_points(1)).authorization(basic(1..=clients))).unwrap();
        let block = block(descriptor.text());
        assert_eq!(block[..2], [1, blocks], "{clients}");
        let (entries, rest) = block[2..].split_at(usize::from(blocks) * 16 * 20);
        assert!(entries.as_chunks::<20>().0.is_sorted(), "{clients}");
        assert_eq!(rest.len(), 16 + many_points(1)[0].to_string().len() + 1);
        // Nobody can tell which of them are clients.
        let distinct: BTreeSet<_> = entries.as_chunks::<4>().0.iter().collect();
        assert_eq!(distinct.len(), entries.len() / 4, "{clients}");
    }
}

/// With every version of this crate, so that directories keep what they hold when a publisher is
/// updated.
#[test]
fn texts_stay_what_they_are() {
    let table = [
        (basic([1, 2, 3]), "f585e38cb12c9f40af3c601fcb5b40509ef88749"),
        (
            Authorization::Stealth(cookie(1)),
            "56a5731df4f790b5dae4779fb53a7d93261af8af",
        ),
    ];
    for (authorization, expected) in table {
        let text = signed(&Draft::new(points(PLAIN)).authorization(authorization)).unwrap();
        assert_eq!(HEXLOWER.encode(&Sha1::digest(text.text())), expected);
    }
}

/// Holds that, whatever differs between two drafts, no key, vector or entry of the one occurs in
/// the other.
#[test]
fn no_two_drafts_share_a_key_stream() {
    let service = key(PLAIN_KEY);
    let (period, time) = at(1_800_000_000, &service);
    let later = time.saturating_add(std::time::Duration::from_secs(1));
    let [first, second] = Replica::ALL;
    let draft = Draft::new(many_points(2));
    let turned = Draft::new(many_points(2).into_iter().rev().collect());
    let other = key(BASIC_KEY);
    for (authorization, another) in [
        (basic([1, 2]), basic([1, 3])),
        (Authorization::Stealth(cookie(1)), Authorization::Stealth(cookie(2))),
    ] {
        let with = |draft: &Draft| draft.clone().authorization(authorization.clone());
        let texts = [
            with(&draft).sign(&service, period, first, time),
            with(&draft).sign(&service, period, second, time),
            with(&draft).sign(&service, period.next(), first, time),
            with(&draft).sign(&service, period, first, later),
            with(&draft).sign(&other, period, first, time),
            with(&turned).sign(&service, period, first, time),
            with(&Draft::new(many_points(1))).sign(&service, period, first, time),
            with(&draft.clone().trailing_blank_lines(1)).sign(&service, period, first, time),
            with(&draft.clone().protocol_versions(&[2])).sign(&service, period, first, time),
            draft.clone().authorization(another).sign(&service, period, first, time),
        ];
        // With sixteen bytes that occur in no other: vectors, entries and what was encrypted.
        let mut seen = BTreeSet::new();
        for text in texts {
            let block = block(text.unwrap().text());
            let pieces: BTreeSet<[u8; 16]> = block.windows(16).map(|piece| piece.try_into().unwrap()).collect();
            assert!(seen.is_disjoint(&pieces));
            seen.extend(pieces);
        }
    }
}

#[test]
fn bad_authorizations_are_refused() {
    let sign = |authorization| signed(&Draft::new(many_points(1)).authorization(authorization)).map(drop);
    assert_eq!(sign(basic([])), Err(Error::NoClients));
    assert_eq!(sign(basic([1, 0])), Err(Error::ZeroCookie));
    assert_eq!(sign(Authorization::Stealth(cookie(0))), Err(Error::ZeroCookie));
    let many = |clients: usize| {
        let cookie = |number: usize| DescriptorCookie::from((number as u128 + 1).to_be_bytes());
        sign(Authorization::Basic((0..clients).map(cookie).collect()))
    };
    assert_eq!(
        many(MAX_BASIC_CLIENTS + 1),
        Err(Error::TooManyClients {
            found: 4081,
            limit: 4080
        })
    );
    let Err(Error::TooLong { size, limit: LIMIT }) = many(MAX_BASIC_CLIENTS) else {
        panic!("it has 81 KB of entries");
    };
    assert!(size > 4 * LIMIT);
    // What fits in 20 KiB beside one point.
    assert_eq!(many(43 * 16), Ok(()));
    assert!(matches!(many(43 * 16 + 1), Err(Error::TooLong { size: 20669, .. })));
}

/// C Tor writes an entry for each client, whatever their cookies.
#[test]
fn two_clients_may_have_one_cookie() {
    let descriptor = signed(&Draft::new(many_points(1)).authorization(basic([5, 5, 6]))).unwrap();
    for byte in [5, 6] {
        assert_eq!(descriptor.introduction_points_for(&cookie(byte)), Ok(many_points(1)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn clients_read_and_others_do_not(
        cookies in btree_set(any::<[u8; 16]>().prop_filter("clients take zeros for none", |bytes| *bytes != [0; 16]), 2..20),
        count in 1..=10_usize,
        stealth: bool,
    ) {
        let mut cookies: Vec<_> = cookies.into_iter().map(DescriptorCookie::from).collect();
        let outsider = cookies.pop().unwrap();
        let (authorization, kind) = if stealth {
            cookies.truncate(1);
            (Authorization::Stealth(cookies[0].clone()), Stealth)
        } else {
            (Authorization::Basic(cookies.clone()), Basic)
        };
        let draft = Draft::new(many_points(count)).authorization(authorization);
        let descriptor = signed(&draft).unwrap();
        prop_assert_eq!(verify(descriptor.text()), Ok(descriptor.clone()));
        prop_assert_eq!(descriptor.authorization(), Some(kind));
        for cookie in &cookies {
            prop_assert_eq!(descriptor.introduction_points_for(cookie), Ok(many_points(count)));
        }
        prop_assert_eq!(descriptor.introduction_points_for(&outsider), Err(Error::WrongCookie(kind)));
        prop_assert_eq!(descriptor.introduction_points(), Err(Error::ClientAuthorization(kind)));
        prop_assert_eq!(signed(&draft), Ok(descriptor), "signing has no randomness");
    }

    #[test]
    fn any_block_is_read_or_refused(block: Vec<u8>, cookie: [u8; 16], kind in 0..4_u8) {
        let block = [&[kind], &block[..]].concat();
        prop_assert!(read(&block, &cookie.into()).is_err());
    }
}
