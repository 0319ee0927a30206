//! Tables of what directories and clients do with texts: one line per rule, with its place below
//! `src/feature/rend` of tor 0.4.5.9.

use onionweave_desc::v2::{Descriptor, DescriptorCookie, Draft, Fate, Fetch, FetchVerdict, Known, UploadVerdict};
use onionweave_desc::{Error, Malformed};
use onionweave_ring::v2::{DescriptorId, Replica, ServiceId, TimePeriod};
use onionweave_ring::{Fingerprint, UnixTime};

use crate::support::{
    BASIC, LIMIT, PLAIN, PLAIN_KEY, STEALTH, key, many_points, position, replace, sign, text_with_points, unsigned,
    verify,
};

const HOUR: i64 = 3600;

fn now() -> UnixTime {
    UnixTime::from_iso("2026-11-22 12:30:00").unwrap()
}

/// A time so many seconds from now.
fn moment(seconds: i64) -> UnixTime {
    UnixTime::from_secs(now().as_secs().saturating_add_signed(seconds))
}

fn descriptor(replica: Replica, seconds: i64, blank_lines: usize) -> Vec<u8> {
    let key = key(PLAIN_KEY);
    let period = TimePeriod::at(&key.service_id(), now());
    let draft = Draft::new(many_points(3)).trailing_blank_lines(blank_lines);
    draft
        .sign(&key, period, replica, moment(seconds))
        .unwrap()
        .text()
        .to_vec()
}

/// A descriptor of a time so many seconds from now, with the recording's ID.
fn text(seconds: i64) -> Vec<u8> {
    descriptor(Replica::ALL[1], seconds, 0)
}

/// [`text`] with other bytes.
fn variant(seconds: i64) -> Vec<u8> {
    descriptor(Replica::ALL[1], seconds, 1)
}

/// [`text`] under another descriptor ID.
fn other(seconds: i64) -> Vec<u8> {
    descriptor(Replica::ALL[0], seconds, 0)
}

/// Not a descriptor, though it begins like one.
fn bad() -> Vec<u8> {
    replace(&other(0), b"version 2", b"version 3")
}

/// The same with this text for a list of introduction points.
fn with_list(seconds: i64, list: &[u8]) -> Vec<u8> {
    text_with_points(&moment(seconds).to_string(), list)
}

fn list(points: usize) -> Vec<u8> {
    many_points(points)
        .iter()
        .flat_map(|point| point.to_string().into_bytes())
        .collect()
}

/// The same without the item `introduction-points`.
fn without_list(seconds: i64) -> Vec<u8> {
    let text = replace(
        &unsigned(),
        b"2026-11-22 12:00:00",
        moment(seconds).to_string().as_bytes(),
    );
    let end = position(b"introduction-points", &text);
    sign([&text[..end], b"signature\n"].concat(), &key(PLAIN_KEY))
}

fn concat(texts: &[Vec<u8>]) -> Vec<u8> {
    texts.concat()
}

/// Name, rule, what is held, body, status, what becomes of each descriptor that is read.
type Row = (&'static str, &'static str, Vec<u8>, Vec<u8>, u16, &'static [Fate]);

#[test]
#[rustfmt::skip]
fn directories() {
    use Fate::{Identical, NotNewer, Stored, TooNew, TooOld};
    let (none, nul) = (Vec::new(), b"\0".to_vec());
    let table: Vec<Row> = vec![
        ("nothing held", "rendcache.c:700", none.clone(), text(0), 200, &[Stored]),
        ("older held", "rendcache.c:686", text(-1), text(0), 200, &[Stored]),
        ("equally old held, other bytes", "rendcache.c:686", variant(0), text(0), 200, &[Stored]),
        ("equally old held, same bytes", "rendcache.c:693", text(0), text(0), 200, &[Identical]),
        ("newer held", "rendcache.c:686", text(1), text(0), 200, &[NotNewer]),
        ("newer held under another ID", "rendcache.c:685", other(1), text(0), 200, &[Stored]),
        ("72 hours old", "rendcache.c:672", none.clone(), text(-72 * HOUR), 200, &[Stored]),
        ("a second more", "rendcache.c:672", none.clone(), text(-72 * HOUR - 1), 200, &[TooOld]),
        ("24 hours ahead", "rendcache.c:678", none.clone(), text(24 * HOUR), 200, &[Stored]),
        ("a second more ahead", "rendcache.c:678", none.clone(), text(24 * HOUR + 1), 200, &[TooNew]),
        ("too old, and held", "rendcache.c:672", text(-73 * HOUR), text(-73 * HOUR), 200, &[TooOld]),
        ("too old, newer held", "rendcache.c:672", text(0), text(-73 * HOUR), 200, &[TooOld]),
        ("no introduction points", "rendcache.c:667", none.clone(), without_list(0), 200, &[Stored]),
        ("empty introduction points", "rendcache.c:667", none.clone(), with_list(0, b""), 200, &[Stored]),
        ("unreadable introduction points", "rendcache.c:667", none.clone(), with_list(0, b"?"), 200, &[Stored]),
        ("eleven introduction points", "rendcache.c:667", none.clone(), with_list(0, &list(11)), 200, &[Stored]),
        ("text after the time", "rendparse.c:190", none.clone(), with_time("2026-11-22 12:00:00 UTC"), 400, &[]),
        ("two", "rendcache.c:733", none.clone(), concat(&[text(0), other(0)]), 200, &[Stored, Stored]),
        ("the second newer", "rendcache.c:686", none.clone(), concat(&[text(-1), text(0)]), 200, &[Stored, Stored]),
        ("the second older", "rendcache.c:686", none.clone(), concat(&[text(0), text(-1)]), 200, &[Stored, NotNewer]),
        ("the second the same", "rendcache.c:693", none.clone(), concat(&[text(0), text(0)]), 200, &[Stored, Stored]),
        ("both held already", "rendcache.c:693", text(0), concat(&[text(0), text(0)]), 200, &[Stored, Stored]),
        ("held, and NUL behind it", "rendcache.c:693", text(0), concat(&[text(0), nul.clone()]), 200, &[Identical]),
        ("the first too old", "rendcache.c:672", none.clone(), concat(&[text(-73 * HOUR), other(0)]), 200, &[TooOld, Stored]),
        ("the second bad", "rendcache.c:662", none.clone(), concat(&[text(0), bad()]), 200, &[Stored]),
        ("the second bad, a third", "rendcache.c:662", none.clone(), concat(&[text(0), bad(), other(0)]), 200, &[Stored]),
        ("the first bad", "rendcache.c:736", none.clone(), concat(&[bad(), text(0)]), 400, &[]),
        ("the first dropped, the second bad", "rendcache.c:736", none.clone(), concat(&[text(-73 * HOUR), bad()]), 200, &[TooOld]),
        ("blank lines between", "rendcache.c:733", none.clone(), concat(&[text(0), b"\n \n".to_vec(), other(0)]), 200, &[Stored, Stored]),
        ("indented second", "parsecommon.c:147", none.clone(), concat(&[text(0), b" ".to_vec(), other(0)]), 400, &[]),
        ("NUL between", "rendcache.c:732", none.clone(), concat(&[text(0), nul, other(0)]), 200, &[Stored]),
        ("too long", "rendparse.c:115", none.clone(), concat(&[text(0), vec![b'\n'; LIMIT]]), 400, &[]),
        ("first too long", "rendparse.c:115", none.clone(), concat(&[text(0), vec![b'\n'; LIMIT], other(0)]), 400, &[]),
        ("two that are too long together", "rendparse.c:115", none.clone(), [text(0), other(0)].concat().repeat(8), 200, &[Stored; 16]),
        ("annotation", "rendparse.c:97", none.clone(), concat(&[b"@type x\n".to_vec(), text(0)]), 400, &[]),
        ("nothing", "rendcache.c:736", none.clone(), none, 400, &[]),
    ];
    for (name, rule, held, body, status, fates) in table {
        // What is held may be too old by now.
        let held: Option<Descriptor> = (!held.is_empty()).then(|| verify(&held).unwrap());
        let find = |id: &DescriptorId| held.as_ref().filter(|held| held.descriptor_id() == *id);
        let verdict = UploadVerdict::new(&body, find, now());
        assert_eq!(verdict.status(), status, "{name} ({rule}): {verdict:?}");
        let found: Vec<Fate> = verdict.offers().iter().map(|offer| offer.fate()).collect();
        assert_eq!(found, fates, "{name} ({rule}): {verdict:?}");
        let whole: usize = verdict.offers().iter().map(|offer| offer.descriptor().text().len()).sum();
        let unread = body.get(whole).is_some_and(|byte| *byte != 0) || body.is_empty();
        assert_eq!(verdict.error().is_some(), unread, "{name} ({rule}): {verdict:?}");
        assert_eq!(verdict.stored().count(), fates.iter().filter(|fate| **fate == Stored).count());
    }
}

/// The recording with another time, signed anew.
fn with_time(time: &str) -> Vec<u8> {
    text_with_points(time, &list(3))
}

/// A client's verdict, for comparison.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The text is held now, with this number of points.
    Stored(usize),
    Identical,
    NotNewer,
    BadDesc(&'static str),
}

fn outcome(verdict: Result<FetchVerdict, Error>) -> Outcome {
    match verdict {
        Ok(FetchVerdict::Stored { points, .. }) => Outcome::Stored(points.len()),
        Ok(FetchVerdict::Identical) => Outcome::Identical,
        Ok(FetchVerdict::NotNewer) => Outcome::NotNewer,
        Ok(other) => panic!("{other:?}"),
        Err(error) => Outcome::BadDesc(match error {
            Error::NotADescriptor => "no descriptor",
            Error::TooLong { .. } => "too long",
            Error::Malformed {
                problem: Malformed::Value { keyword, .. },
                ..
            } => keyword,
            Error::WrongSignature => "signature",
            Error::WrongService { .. } => "service",
            Error::UnexpectedDescriptorId { .. } => "ID",
            Error::IntroductionPointCount { .. } => "count",
            Error::ClientAuthorization(_) => "authorization",
            Error::WrongCookie(_) => "cookie",
            Error::TooOld { .. } => "too old",
            Error::TooNew { .. } => "too new",
            Error::NoUsablePoints => "no usable points",
            other => panic!("{other}"),
        }),
    }
}

#[test]
#[rustfmt::skip]
fn clients() {
    use Outcome::{BadDesc, Identical, NotNewer, Stored};
    let none = Vec::new();
    let bad_signature = replace(&text(0), b"protocol-versions 2,3", b"protocol-versions 2,2");
    let bad_port = with_list(0, &replace(&list(3), b"onion-port 5", b"onion-port x"));
    // (name, rule, what is held, at how many of the points the client failed, text, verdict)
    let table = [
        ("nothing held", "rendcache.c:1007", none.clone(), 0, text(0), Stored(3)),
        ("older held", "rendcache.c:979", text(-1), 0, text(0), Stored(3)),
        ("equally old held, other bytes", "rendcache.c:979", variant(0), 0, text(0), Stored(3)),
        ("equally old held, same bytes", "rendcache.c:969", text(0), 0, text(0), Identical),
        ("same bytes held, failed at every point", "rendcache.c:969", text(0), 3, text(0), Identical),
        ("newer held", "rendcache.c:979", text(1), 0, text(0), NotNewer),
        ("newer held, failed at every point", "rendcache.c:979", text(1), 3, text(0), NotNewer),
        ("newer held under another ID", "rendcache.c:967", other(1), 0, text(0), NotNewer),
        ("failed at one point", "rendcache.c:986", none.clone(), 1, text(0), Stored(2)),
        ("failed at every point", "rendcache.c:990", none.clone(), 3, text(0), BadDesc("no usable points")),
        ("failed at every point, older held", "rendcache.c:990", text(-1), 3, text(0), BadDesc("no usable points")),
        ("72 hours old", "rendcache.c:955", none.clone(), 0, text(-72 * HOUR), Stored(3)),
        ("a second more", "rendcache.c:955", none.clone(), 0, text(-72 * HOUR - 1), BadDesc("too old")),
        ("24 hours ahead", "rendcache.c:961", none.clone(), 0, text(24 * HOUR), Stored(3)),
        ("a second more ahead", "rendcache.c:961", none.clone(), 0, text(24 * HOUR + 1), BadDesc("too new")),
        ("too old, newer held", "rendcache.c:955", text(0), 0, text(-73 * HOUR), BadDesc("too old")),
        ("one point", "rendcache.c:934", none.clone(), 0, with_list(0, &list(1)), Stored(1)),
        ("ten points", "rendcache.c:939", none.clone(), 0, with_list(0, &list(10)), Stored(10)),
        ("eleven points", "rendcache.c:939", none.clone(), 0, with_list(0, &list(11)), BadDesc("count")),
        ("eleven points, newer held", "rendcache.c:939", text(1), 0, with_list(0, &list(11)), BadDesc("count")),
        ("no list", "rendcache.c:948", none.clone(), 0, without_list(0), BadDesc("no usable points")),
        ("empty list", "rendcache.c:948", none.clone(), 0, with_list(0, b""), BadDesc("no usable points")),
        ("no list, newer held", "rendcache.c:979", text(1), 0, without_list(0), NotNewer),
        ("no list, same bytes held", "rendcache.c:969", without_list(0), 0, without_list(0), Identical),
        ("no list, too old", "rendcache.c:955", none.clone(), 0, without_list(-73 * HOUR), BadDesc("too old")),
        ("list of something else", "rendcache.c:934", none.clone(), 0, with_list(0, b"?"), BadDesc("count")),
        ("blank list", "rendcache.c:934", none.clone(), 0, with_list(0, b"\n"), BadDesc("count")),
        ("a bad point", "rendparse.c:467", none.clone(), 0, bad_port, BadDesc("onion-port")),
        ("text after the time", "rendparse.c:190", none.clone(), 0, with_time("2026-11-22 12:00:00 UTC"), Stored(3)),
        ("no byte of text after the time", "time_fmt.c:346", none.clone(), 0, with_time("2026-11-22 12:00:00\r"), Stored(3)),
        ("time with T", "time_fmt.c:352", none.clone(), 0, with_time("2026-11-22T12:00:00"), BadDesc("publication-time")),
        ("another ID", "rendcache.c:903", none.clone(), 0, other(0), BadDesc("ID")),
        ("another service", "rendcache.c:896", none.clone(), 0, BASIC.to_vec(), BadDesc("service")),
        ("a second one behind", "rendcache.c:885", none.clone(), 0, concat(&[text(0), bad()]), Stored(3)),
        ("a second one behind, the first held", "rendcache.c:969", text(0), 0, concat(&[text(0), bad()]), Stored(3)),
        ("the second the right one", "rendcache.c:903", none.clone(), 0, concat(&[other(0), text(0)]), BadDesc("ID")),
        ("NUL behind, held", "rendcache.c:969", text(0), 0, concat(&[text(0), b"\0x".to_vec()]), Identical),
        ("bad signature", "rendparse.c:228", none.clone(), 0, bad_signature, BadDesc("signature")),
        ("version 3", "rendparse.c:158", none.clone(), 0, bad(), BadDesc("version")),
        ("too long", "rendparse.c:115", none.clone(), 0, concat(&[text(0), vec![b'\n'; LIMIT]]), BadDesc("too long")),
        ("nothing", "rendparse.c:97", none.clone(), 0, none.clone(), BadDesc("no descriptor")),
    ];
    let ours = verify(&text(0)).unwrap();
    let (id, service) = (ours.descriptor_id(), ours.service_id());
    for (name, rule, held, failed, text, expected) in table {
        let held: Option<Descriptor> = (!held.is_empty()).then(|| verify(&held).unwrap());
        let failed: Vec<Fingerprint> = many_points(failed).iter().map(|point| point.identity()).collect();
        let known = |asked: &ServiceId| {
            assert_eq!(*asked, service);
            Known::default().held(held.as_ref()).failed(&failed)
        };
        let verdict = Fetch::new(id).service(service).judge(&text, known, now());
        assert_eq!(outcome(verdict), expected, "{name} ({rule})");
    }
}

/// Cookies open what is encrypted, and spoil nothing else (rendcache.c:911-932).
#[test]
fn cookies() {
    let cookie = |text| DescriptorCookie::from_base64(text).unwrap();
    let zero = DescriptorCookie::from([0; 16]);
    let (alice, carol) = (cookie("/7+YSj84F0crQa7k9/ITkA=="), cookie("2KohXVDgp8ESS6hWRTRc4A=="));
    // (name, text, cookie, verdict)
    let table = [
        ("nobody", BASIC, None, Outcome::BadDesc("authorization")),
        ("alice", BASIC, Some(&alice), Outcome::Stored(3)),
        ("no client", BASIC, Some(&carol), Outcome::BadDesc("cookie")),
        ("zero", BASIC, Some(&zero), Outcome::BadDesc("authorization")),
        ("carol", STEALTH[0], Some(&carol), Outcome::Stored(3)),
        ("another client", STEALTH[1], Some(&carol), Outcome::BadDesc("cookie")),
        ("nothing to decrypt", PLAIN, Some(&alice), Outcome::Stored(3)),
    ];
    for (name, text, cookie, expected) in table {
        let descriptor = verify(text).unwrap();
        let mut fetch = Fetch::new(descriptor.descriptor_id());
        if let Some(cookie) = cookie {
            fetch = fetch.cookie(cookie.clone());
        }
        let verdict = fetch.judge(text, |_| Known::default(), now());
        assert_eq!(outcome(verdict), expected, "{name}");
        // Whose descriptor it is matters only to those who asked for a service.
        let other = ServiceId::from([7; 10]);
        let verdict = fetch.service(other).judge(text, |_| Known::default(), now());
        assert_eq!(outcome(verdict), Outcome::BadDesc("service"), "{name}");
    }
}

#[test]
fn the_bytes_are_kept() {
    let body = [text(0), b"\n\n".to_vec(), other(0)].concat();
    let verdict = UploadVerdict::new(&body, |_| None, now());
    let kept: Vec<u8> = verdict
        .stored()
        .flat_map(|descriptor| descriptor.text().to_vec())
        .collect();
    assert_eq!(kept, body);
    let id = verify(&text(0)).unwrap().descriptor_id();
    let Ok(FetchVerdict::Stored { descriptor, .. }) = Fetch::new(id).judge(&body, |_| Known::default(), now()) else {
        panic!("it is stored");
    };
    assert_eq!(descriptor.text(), [&text(0)[..], b"\n\n"].concat());
}
