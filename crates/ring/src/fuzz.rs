//! The functions that fuzzing drives; each ends in what must hold for any input.

use core::fmt::{Debug, Display, Write as _};
use core::str::FromStr;

use data_encoding::BASE64_NOPAD;

use crate::relays::{Form, Microdescriptors, Relay, RelayList};
use crate::v2::{ClientCookie, DescriptorCookie, DescriptorId, SecretIdPart, ServiceId};
use crate::{Error, Fingerprint, UnixTime};

/// Reads `data` as router statuses.
///
/// # Panics
/// If a plain reader finds other relays or none; if the relays, written as router statuses, read as
/// others.
pub fn ns_all(data: &[u8]) {
    let Ok(document) = core::str::from_utf8(data) else {
        return;
    };
    let list = RelayList::from_ns_all(document);
    let found = list.as_ref().map(|list| list.relays().iter().map(facts).collect());
    assert_eq!(found.ok(), read_plainly(document));
    check_list(Form::RouterStatuses, document, list);
}

/// Reads `data` as a consensus, plain and microdesc.
///
/// # Panics
/// If it is both; if the relays, written as router statuses, read as others.
pub fn consensus(data: &[u8]) {
    let Ok(document) = core::str::from_utf8(data) else {
        return;
    };
    let plain = RelayList::from_consensus(document);
    let microdesc = RelayList::from_microdesc_consensus(document);
    assert!(plain.is_err() || microdesc.is_err());
    check_list(Form::PlainConsensus, document, plain);
    check_list(Form::MicrodescConsensus, document, microdesc);
}

/// Reads `data` as microdescriptors.
///
/// # Panics
/// If other line ends, or the same microdescriptors once more, make a difference; if there are more
/// than the text has lines for.
pub fn microdescriptors(data: &[u8]) {
    let Ok(document) = core::str::from_utf8(data) else {
        return;
    };
    let read = match Microdescriptors::parse(document) {
        Ok(read) => read,
        Err(error) => return assert_one_line(&error),
    };
    assert!(read.len() <= document.lines().filter(|line| line.starts_with("onion-key")).count());
    if !document.contains('\r') {
        assert_eq!(
            Microdescriptors::parse(&document.replace('\n', "\r\n")).as_ref(),
            Ok(&read)
        );
    }
    let line_end = if document.ends_with('\n') { "" } else { "\n" };
    // Without the lines ahead of the first one: an annotation behind blanks would belong to the one
    // before it.
    let twice = format!("{document}{line_end}{}", from_first_microdescriptor(document));
    if !read.is_empty() {
        assert_eq!(Microdescriptors::parse(&twice), Ok(read));
    }
}

/// The rest of `document` from the line on that begins its first microdescriptor.
fn from_first_microdescriptor(document: &str) -> &str {
    let mut start = 0;
    for line in document.split_inclusive('\n') {
        if line.starts_with("onion-key") && line.split_ascii_whitespace().next() == Some("onion-key") {
            break;
        }
        start += line.len();
    }
    document.get(start..).unwrap_or_default()
}

/// Checks a list that was read from a document in this form.
fn check_list(form: Form, document: &str, list: Result<RelayList, Error>) {
    let list = match list {
        Ok(list) => list,
        Err(error) => return assert_one_line(&error),
    };
    assert_eq!(list.form(), form);
    assert!((1..=document.lines().count()).contains(&list.relays().len()));
    assert!(list.hash_ring().len() <= list.relays().len());
    let read_again = RelayList::from_ns_all(&router_statuses(list.relays()));
    // Router statuses do not tell who serves version 3.
    let known = |list: &RelayList| -> Vec<_> { list.relays().iter().map(facts).collect() };
    assert_eq!(read_again.as_ref().map(known), Ok(known(&list)));
    // The first line may be one that says nothing, and then any form is as good as another.
    match RelayList::parse(document) {
        Ok(detected) => assert!(detected.form() != form || detected == list),
        Err(error) => assert_one_line(&error),
    }
}

/// Nickname, identity, and whether it is a directory.
type Facts = (String, Vec<u8>, bool);

fn facts(relay: &Relay) -> Facts {
    let identity = relay.fingerprint().as_bytes().to_vec();
    (relay.nickname().to_owned(), identity, relay.is_hsdir())
}

/// Reads the same as [`RelayList::from_ns_all`], without regard to speed or to mistakes.
fn read_plainly(document: &str) -> Option<Vec<Facts>> {
    let mut relays = Vec::new();
    let mut open: Option<(String, Vec<u8>)> = None;
    for line in document.split('\n') {
        let items: Vec<&str> = line
            .split(|c: char| c.is_ascii_whitespace())
            .filter(|item| !item.is_empty())
            .collect();
        match items[..] {
            ["r", nickname, identity, _, _, _, _, _, _, ..] if open.is_none() => {
                let legal = nickname.chars().all(|c| c.is_ascii_alphanumeric()) && nickname.len() <= 19;
                open = Some((legal.then(|| nickname.to_owned())?, read_base64_plainly(identity)?));
            }
            ["r", ..] => return None,
            ["s", ref flags @ ..] => {
                let (nickname, identity) = open.take()?;
                relays.push((nickname, identity, flags.contains(&"HSDir")));
            }
            _ => {}
        }
    }
    (open.is_none() && !relays.is_empty()).then_some(relays)
}

/// Twenty bytes in unpadded base64, bit by bit.
fn read_base64_plainly(text: &str) -> Option<Vec<u8>> {
    let alphabet = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['+', '/']);
    let mut bits = Vec::new();
    for c in text.chars() {
        let value = alphabet.clone().position(|letter| letter == c)?;
        bits.extend((0..6).rev().map(|bit| value >> bit & 1 == 1));
    }
    let rest = bits.split_off(160.min(bits.len()));
    let bytes = bits
        .chunks(8)
        .map(|byte| byte.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit)));
    (bits.len() == 160 && rest == [false; 2]).then(|| bytes.collect())
}

/// Reads `data` as a name of each kind.
///
/// # Panics
/// If what is accepted, written again, is not accepted or is another.
pub fn names(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    round_trip::<ServiceId>(text);
    round_trip::<DescriptorId>(text);
    round_trip::<SecretIdPart>(text);
    round_trip::<Fingerprint>(text);
    match UnixTime::from_iso(text) {
        // The second after a leap second may be one that C Tor does not read: of a year that is too
        // late for it, or of 29 February 2000.
        Ok(time) if text.ends_with(":60") => assert!(time.as_secs().is_multiple_of(60)),
        Ok(time) => assert_eq!(UnixTime::from_iso(&time.to_string()), Ok(time)),
        Err(error) => assert_one_line(&error),
    }
}

/// Reads `data` as an authorization cookie.
///
/// # Panics
/// If what is accepted, written again, is not accepted or is another, or if one that says its kind
/// is none without it.
pub fn cookies(data: &[u8]) {
    let bare = DescriptorCookie::from_base64(data);
    match &bare {
        Ok(cookie) => assert_eq!(DescriptorCookie::from_base64(&*cookie.to_base64()).as_ref(), Ok(cookie)),
        Err(error) => assert_one_line(error),
    }
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    match text.parse::<ClientCookie>() {
        Ok(cookie) => {
            assert_eq!(bare.as_ref(), Ok(cookie.cookie()));
            assert_eq!(cookie.to_text().len(), ClientCookie::TEXT_LEN);
            assert_eq!(cookie.to_text().parse(), Ok(cookie));
        }
        Err(Error::CookieKind(kind)) => assert!(bare.is_ok() && (3..=16).contains(&kind)),
        Err(error) => assert_eq!(bare, Err(error)),
    }
}

fn round_trip<T>(text: &str)
where
    T: FromStr<Err = Error> + Display + Debug + PartialEq,
{
    match text.parse::<T>() {
        Ok(name) => assert_eq!(name.to_string().parse(), Ok(name)),
        Err(error) => assert_one_line(&error),
    }
}

fn assert_one_line(error: &Error) {
    let message = error.to_string();
    assert!(!message.is_empty() && !message.contains('\n'), "{message:?}");
}

/// Writes relays as `GETINFO ns/all` would.
fn router_statuses(relays: &[Relay]) -> String {
    let mut document = String::new();
    for relay in relays {
        let identity = BASE64_NOPAD.encode(relay.fingerprint().as_bytes());
        let flag = if relay.is_hsdir() { " HSDir" } else { "" };
        let written = write!(
            document,
            "r {} {identity} AAAAAAAAAAAAAAAAAAAAAAAAAAA 2038-01-01 00:00:00 127.0.0.1 9001 0\ns Running{flag} Valid\n",
            relay.nickname(),
        );
        debug_assert!(written.is_ok(), "writing to a string does not fail");
    }
    document
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Runs `target` over its committed corpus.
    fn run_corpus(name: &str, target: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("testdata/fuzz-corpus")
            .join(name);
        let mut inputs = 0;
        for entry in fs::read_dir(&folder).unwrap() {
            target(&fs::read(entry.unwrap().path()).unwrap());
            inputs += 1;
        }
        assert!(inputs >= 8, "{} has {inputs} inputs", folder.display());
    }

    #[test]
    fn ns_all_corpus() {
        run_corpus("ns_all", ns_all);
    }

    #[test]
    fn consensus_corpus() {
        run_corpus("consensus", consensus);
    }

    #[test]
    fn microdescriptors_corpus() {
        run_corpus("microdescriptors", microdescriptors);
    }

    #[test]
    fn cookies_corpus() {
        run_corpus("cookies", cookies);
    }

    #[test]
    fn names_corpus() {
        run_corpus("names", names);
    }
}
