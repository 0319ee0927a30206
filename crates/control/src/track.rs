//! Fetches of descriptors at each directory, followed by events; without IO.
//!
//! `HSFETCH` is answered `250 OK` at once, which says nothing about any directory. The rest comes
//! as events, in any order, mixed with those of others, and for a directory that is down not at all
//! (feature/dirclient/dirclient.c:729-770). A tracker is given every event that comes after the
//! `250 OK` and tells which directory one of them settles. Its owner decides how long to wait.

use crate::uploads::argument;
use crate::{ArgumentProblem, Error, Event, HsDescAction, HsDescReason, HsFetch};

/// A relay's fingerprint.
type Fingerprint = [u8; 20];

/// Outcome of a fetch at one directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchOutcome {
    /// The descriptor that it handed out, lines ended by LF.
    Received(Vec<u8>),
    /// No usable descriptor: it has none, refused, or handed out one that Tor as a client cannot
    /// use; the reason tells which.
    Failed(Option<HsDescReason>),
    /// Silence until the deadline, or the control connection was closed before.
    #[default]
    NoAnswer,
}

/// Follows one `HSFETCH`.
///
/// ```
/// use onionweave_control::{Event, FetchOutcome, HsDescReason, HsFetch, FetchTracker};
///
/// let id = "lhrcprndbm75osvtwkzuo5pdj7666cz7";
/// let fetch = HsFetch::v2_descriptor(id)?.server([1; 20]);
/// let mut tracker = FetchTracker::new(&fetch)?;
/// let line = format!("650 HS_DESC FAILED UNKNOWN NO_AUTH ${} {id} REASON=NOT_FOUND\r\n", "01".repeat(20));
/// let outcome = FetchOutcome::Failed(Some(HsDescReason::NotFound));
/// assert_eq!(tracker.observe(&Event::parse(line.as_bytes())?), Some(([1; 20], outcome)));
/// assert_eq!(tracker.waiting().count(), 0);
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FetchTracker {
    target: Target,
    waiting: Vec<Asked>,
}

#[derive(Clone, Debug)]
enum Target {
    /// A v2 descriptor ID.
    Descriptor(String),
    /// A service's address.
    Address(String),
}

#[derive(Clone, Debug)]
struct Asked {
    directory: Fingerprint,
    /// Number of failures that settle it. By a v2 address, Tor asks each directory for both
    /// replicas (feature/rend/rendclient.c:616-674).
    failures: u8,
}

impl FetchTracker {
    /// Waits for all directories of the fetch.
    ///
    /// # Errors
    /// [`Error::Argument`] if it names no directory: then it is Tor who chooses.
    pub fn new(fetch: &HsFetch) -> Result<Self, Error> {
        if fetch.servers().is_empty() {
            return Err(argument("HSFETCH", "list of directories", ArgumentProblem::Empty));
        }
        let (target, failures) = match fetch.target().strip_prefix("v2-") {
            Some(id) => (Target::Descriptor(id.to_owned()), 1),
            None if fetch.target().len() == 16 => (Target::Address(fetch.target().to_owned()), 2),
            None => (Target::Address(fetch.target().to_owned()), 1),
        };
        let mut waiting: Vec<Asked> = Vec::new();
        for directory in fetch.servers() {
            if waiting.iter().all(|asked| asked.directory != *directory) {
                waiting.push(Asked {
                    directory: *directory,
                    failures,
                });
            }
        }
        Ok(Self { target, waiting })
    }

    /// Takes an event; gives the directory that it settles, with what became of the fetch. Each
    /// directory is settled once.
    pub fn observe(&mut self, event: &Event) -> Option<(Fingerprint, FetchOutcome)> {
        match event {
            Event::HsDescContent(event) if !event.content().is_empty() => {
                let fits = match &self.target {
                    Target::Descriptor(id) => event.descriptor_id() == id,
                    Target::Address(address) => event.address() == Some(address),
                };
                let at = self.position(fits, event.hsdir()?.fingerprint())?;
                let asked = self.waiting.remove(at);
                Some((asked.directory, FetchOutcome::Received(event.content().to_vec())))
            }
            Event::HsDesc(event)
                if event.action() == &HsDescAction::Failed && event.reason() != Some(&HsDescReason::UploadRejected) =>
            {
                let fits = match &self.target {
                    Target::Descriptor(id) => event.descriptor_id() == Some(id),
                    Target::Address(address) => event.address() == Some(address),
                };
                let at = self.position(fits, event.hsdir()?.fingerprint())?;
                let asked = self.waiting.get_mut(at)?;
                asked.failures -= 1;
                if asked.failures > 0 {
                    return None;
                }
                let asked = self.waiting.remove(at);
                Some((asked.directory, FetchOutcome::Failed(event.reason().cloned())))
            }
            _ => None,
        }
    }

    /// The directories that have not answered.
    pub fn waiting(&self) -> impl Iterator<Item = Fingerprint> {
        self.waiting.iter().map(|asked| asked.directory)
    }

    fn position(&self, fits: bool, directory: Fingerprint) -> Option<usize> {
        fits.then(|| self.waiting.iter().position(|asked| asked.directory == directory))?
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const V2: &str = "6r7x5o465oo27s35";
    const V3: &str = "vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd";
    const ID: &str = "hrzcfzm3ygt4qf2n4r3hlfiepvq4hxe6";

    /// An event from its text; `$1` is a directory of the fingerprint 0101...
    pub(crate) fn event(text: &str) -> Event {
        let text = (1..=3).fold(text.to_owned(), |text, number| {
            text.replace(
                &format!("${number}"),
                &format!("${}~dir", format!("{number:02}").repeat(20)),
            )
        });
        let text = text.replace('\n', "\r\n");
        Event::parse(format!("650{text}\r\n").as_bytes()).unwrap()
    }

    #[test]
    fn fetches() {
        let descriptor = || HsFetch::v2_descriptor(ID).unwrap();
        let v2 = || HsFetch::address(V2).unwrap();
        let v3 = || HsFetch::address(V3).unwrap();
        let received = || Some(FetchOutcome::Received(b"text\n".to_vec()));
        let failed = |reason| Some(FetchOutcome::Failed(Some(reason)));
        let table: &[(&str, HsFetch, &[&str], Option<FetchOutcome>)] = &[
            (
                "by descriptor ID",
                descriptor(),
                &["+HS_DESC_CONTENT UNKNOWN hrzcfzm3ygt4qf2n4r3hlfiepvq4hxe6 $1\ntext\n.\n650 OK"],
                received(),
            ),
            (
                "another descriptor",
                descriptor(),
                &["+HS_DESC_CONTENT UNKNOWN lhrcprndbm75osvtwkzuo5pdj7666cz7 $1\ntext\n.\n650 OK"],
                None,
            ),
            (
                "received, but not yet told",
                descriptor(),
                &[" HS_DESC RECEIVED 6r7x5o465oo27s35 NO_AUTH $1 hrzcfzm3ygt4qf2n4r3hlfiepvq4hxe6"],
                None,
            ),
            (
                "failed by descriptor ID",
                descriptor(),
                &[" HS_DESC FAILED UNKNOWN NO_AUTH $1 hrzcfzm3ygt4qf2n4r3hlfiepvq4hxe6 REASON=NOT_FOUND"],
                failed(HsDescReason::NotFound),
            ),
            (
                "content of a failed fetch alone",
                descriptor(),
                &["+HS_DESC_CONTENT UNKNOWN hrzcfzm3ygt4qf2n4r3hlfiepvq4hxe6 $1\n\n.\n650 OK"],
                None,
            ),
            (
                "an upload that failed",
                v3(),
                &[
                    " HS_DESC FAILED vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd NO_AUTH $1 RBW6PZvB REASON=UPLOAD_REJECTED",
                ],
                None,
            ),
            (
                "one replica failed, the other came",
                v2(),
                &[
                    " HS_DESC FAILED 6r7x5o465oo27s35 NO_AUTH $1 REASON=NOT_FOUND",
                    "+HS_DESC_CONTENT 6r7x5o465oo27s35 lhrcprndbm75osvtwkzuo5pdj7666cz7 $1\ntext\n.\n650 OK",
                ],
                received(),
            ),
            (
                "both replicas failed",
                v2(),
                &[
                    " HS_DESC FAILED 6r7x5o465oo27s35 NO_AUTH $1 REASON=NOT_FOUND",
                    " HS_DESC FAILED 6r7x5o465oo27s35 NO_AUTH $1 REASON=BAD_DESC",
                ],
                failed(HsDescReason::BadDesc),
            ),
            (
                "v3",
                v3(),
                &[
                    "+HS_DESC_CONTENT vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd RBW6PZvB $1\ntext\n.\n650 OK",
                ],
                received(),
            ),
            (
                "v3 failed",
                v3(),
                &[
                    " HS_DESC FAILED vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd NO_AUTH $1 RBW6PZvB REASON=UNEXPECTED",
                ],
                failed(HsDescReason::Unexpected),
            ),
            (
                "nobody to ask",
                v2(),
                &[" HS_DESC FAILED 6r7x5o465oo27s35 NO_AUTH UNKNOWN REASON=QUERY_NO_HSDIR"],
                None,
            ),
        ];
        for (name, fetch, texts, expected) in table {
            let fetch = fetch.clone().server([1; 20]).server([2; 20]).server([1; 20]);
            let mut tracker = FetchTracker::new(&fetch).unwrap();
            let found: Vec<_> = texts.iter().filter_map(|text| tracker.observe(&event(text))).collect();
            let expected: Vec<_> = expected.iter().map(|outcome| ([1; 20], outcome.clone())).collect();
            assert_eq!(found, expected, "{name}");
            assert_eq!(tracker.waiting().count(), 2 - expected.len(), "{name}");
        }
    }

    #[test]
    fn directories_must_be_named() {
        assert!(FetchTracker::new(&HsFetch::address(V3).unwrap()).is_err());
    }
}
