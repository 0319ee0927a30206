//! The functions that fuzzing drives; each ends in what must hold for any input.

use core::fmt::{Debug, Display, Write as _};
use core::str::FromStr;

use data_encoding::BASE64_NOPAD;

use crate::relays::{Form, Relay, RelayList};
use crate::v2::{ClientCookie, DescriptorCookie, DescriptorId, SecretIdPart, ServiceId};
use crate::{Error, Fingerprint, UnixTime};

/// Reads `data` as a document of whichever form it looks like, and of each form.
///
/// # Panics
/// If detection and the function for the form disagree, if a list is empty or longer than the document has lines, or if
/// its relays, written as router statuses, read as others.
pub fn relays(data: &[u8]) {
    let Ok(document) = core::str::from_utf8(data) else {
        return;
    };
    let by_form = [
        (Form::RouterStatuses, RelayList::from_ns_all(document)),
        (Form::PlainConsensus, RelayList::from_consensus(document)),
        (Form::MicrodescConsensus, RelayList::from_microdesc_consensus(document)),
    ];
    match RelayList::parse(document) {
        Ok(list) => assert!(by_form.contains(&(list.form(), Ok(list)))),
        Err(error) => assert_one_line(&error),
    }
    for (form, result) in by_form {
        let list = match result {
            Ok(list) => list,
            Err(error) => {
                assert_one_line(&error);
                continue;
            }
        };
        assert_eq!(list.form(), form);
        assert!((1..=document.lines().count()).contains(&list.relays().len()));
        assert!(list.hash_ring().len() <= list.relays().len());
        let read_again = RelayList::from_ns_all(&router_statuses(list.relays()));
        assert_eq!(read_again.as_ref().map(RelayList::relays), Ok(list.relays()));
    }
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
        // The second after a leap second may be one that C Tor does not read: of a year that is too late for it, or of
        // 29 February 2000.
        Ok(time) if text.ends_with(":60") => assert!(time.as_secs().is_multiple_of(60)),
        Ok(time) => assert_eq!(UnixTime::from_iso(&time.to_string()), Ok(time)),
        Err(error) => assert_one_line(&error),
    }
}

/// Reads `data` as an authorization cookie.
///
/// # Panics
/// If what is accepted, written again, is not accepted or is another, or if one that says its kind is none without it.
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
    fn relays_corpus() {
        run_corpus("relays", relays);
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
