//! What becomes of an upload or a fetch at each directory, told from events; without IO.
//!
//! `+HSPOST` and `HSFETCH` are answered `250 OK` at once, which says nothing about any directory. What follows comes as
//! events, in any order, mixed with those of others, and for a directory that is down not at all
//! (feature/dirclient/dirclient.c:729-770). A tracker is given every event that comes after the `250 OK` and tells when
//! one of them settles a directory. Whoever holds it decides how long to wait.
//!
//! What can't be told apart, as Tor does not say more:
//! - Events about uploads name the service and the directory, but no descriptor. So there must be at most one upload on
//!   its way for a service at a directory; the tokio client refuses a second one. An answer that comes after its upload
//!   was given up may be taken for the next one's.
//! - A Tor that runs the service itself reports its own uploads in the same words.

use crate::{ArgumentProblem, Command, Error, Event, HsDesc, HsDescAction, HsDescReason, HsFetch};

/// A relay's fingerprint.
type Fingerprint = [u8; 20];

/// A descriptor and the directories to which it shall go.
///
/// ```
/// use onionweave_control::{Command, HsPost};
///
/// let post = HsPost::v2("6r7x5o465oo27s35", "rendezvous-service-descriptor ...\n")?.server([0xab; 20]);
/// assert!(post.command()?.as_bytes().starts_with(b"+HSPOST SERVER=$ABAB"));
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HsPost {
    /// As events name it; `None` for any.
    address: Option<String>,
    is_v3: bool,
    servers: Vec<Fingerprint>,
    descriptor: Vec<u8>,
}

impl HsPost {
    /// A v2 descriptor of the service with this address, 16 characters of lower-case base32 with or without `.onion`.
    ///
    /// # Errors
    /// [`Error::Argument`] if the address has another form.
    pub fn v2(address: &str, descriptor: impl Into<Vec<u8>>) -> Result<Self, Error> {
        let id = onion_id(address, 16)?;
        Ok(Self {
            address: Some(id),
            is_v3: false,
            servers: Vec::new(),
            descriptor: descriptor.into(),
        })
    }

    /// A v2 descriptor of a service of which it is not known how Tor names it, as with stealth authorization: every
    /// upload that a directory answers is taken for this one.
    pub fn v2_of_any(descriptor: impl Into<Vec<u8>>) -> Self {
        Self {
            address: None,
            is_v3: false,
            servers: Vec::new(),
            descriptor: descriptor.into(),
        }
    }

    /// A v3 descriptor of the service with this address, 56 characters of lower-case base32 with or without `.onion`.
    ///
    /// # Errors
    /// [`Error::Argument`] if the address has another form.
    pub fn v3(address: &str, descriptor: impl Into<Vec<u8>>) -> Result<Self, Error> {
        let id = onion_id(address, 56)?;
        Ok(Self {
            address: Some(id),
            is_v3: true,
            servers: Vec::new(),
            descriptor: descriptor.into(),
        })
    }

    /// Adds a directory, by its fingerprint; once, if it is named twice.
    #[must_use]
    pub fn server(mut self, fingerprint: Fingerprint) -> Self {
        if !self.servers.contains(&fingerprint) {
            self.servers.push(fingerprint);
        }
        self
    }

    /// The directories.
    pub fn servers(&self) -> &[Fingerprint] {
        &self.servers
    }

    /// The address by which events name the service, without `.onion`; `None` for any.
    pub fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// `+HSPOST`, as [`Command::hs_post`] writes it.
    ///
    /// # Errors
    /// Those of [`Command::hs_post`]; [`Error::Argument`] without a directory, since then it would be unknown whose
    /// answers to wait for.
    pub fn command(&self) -> Result<Command, Error> {
        if self.servers.is_empty() {
            return Err(argument("+HSPOST", "list of directories", ArgumentProblem::Empty));
        }
        let address = self.address.as_deref().filter(|_| self.is_v3);
        Command::hs_post(&self.servers, address, &self.descriptor)
    }
}

fn onion_id(address: &str, length: usize) -> Result<String, Error> {
    let id = address.strip_suffix(".onion").unwrap_or(address);
    if id.len() != length || !id.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')) {
        let form = match length {
            16 => "is not 16 characters of lower-case base32",
            _ => "is not 56 characters of lower-case base32",
        };
        return Err(argument("+HSPOST", "address", ArgumentProblem::Form(form)));
    }
    Ok(id.to_owned())
}

fn argument(command: &str, argument: &'static str, problem: ArgumentProblem) -> Error {
    Error::Argument {
        command: command.to_owned(),
        argument,
        problem,
    }
}

/// What became of an upload at one directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PostOutcome {
    /// It answered 200. A v3 directory has stored the descriptor; a v2 directory may have dropped it for its age
    /// (feature/rend/rendcache.c:736-742), and only reading back tells.
    Uploaded,
    /// It refused, for the reason that Tor tells.
    Rejected(Option<HsDescReason>),
    /// It said nothing in time, or the control connection was closed before.
    #[default]
    NoAnswer,
}

/// What became of a fetch at one directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchOutcome {
    /// It handed this out, lines ended by LF.
    Received(Vec<u8>),
    /// It has none, refused, or handed out what Tor as a client takes for unusable; the reason tells which.
    Failed(Option<HsDescReason>),
    /// It said nothing in time, or the control connection was closed before.
    #[default]
    NoAnswer,
}

/// Follows one `+HSPOST`.
///
/// ```
/// use onionweave_control::{Event, HsPost, PostOutcome, PostTracker};
///
/// let post = HsPost::v2("6r7x5o465oo27s35", "...")?.server([1; 20]).server([2; 20]);
/// let mut tracker = PostTracker::new(&post);
/// let line = format!("650 HS_DESC UPLOADED 6r7x5o465oo27s35 UNKNOWN ${}~dir\r\n", "02".repeat(20));
/// assert_eq!(tracker.observe(&Event::parse(line.as_bytes())?), Some(([2; 20], PostOutcome::Uploaded)));
/// assert_eq!(tracker.waiting().collect::<Vec<_>>(), [[1; 20]]);
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PostTracker {
    address: Option<String>,
    waiting: Vec<Fingerprint>,
}

impl PostTracker {
    /// Waits for all directories of the upload.
    pub fn new(post: &HsPost) -> Self {
        Self {
            address: post.address.clone(),
            waiting: post.servers.clone(),
        }
    }

    /// Takes an event; gives the directory that it settles, with what became of the upload. Each directory is settled
    /// once.
    pub fn observe(&mut self, event: &Event) -> Option<(Fingerprint, PostOutcome)> {
        let Event::HsDesc(event) = event else { return None };
        let outcome = match event.action() {
            HsDescAction::Uploaded => PostOutcome::Uploaded,
            HsDescAction::Failed if !is_failed_fetch(event) => PostOutcome::Rejected(event.reason().cloned()),
            _ => return None,
        };
        if self.address.is_some() && self.address.as_deref() != event.address() {
            return None;
        }
        let directory = event.hsdir()?.fingerprint();
        let at = self.waiting.iter().position(|waiting| *waiting == directory)?;
        Some((self.waiting.remove(at), outcome))
    }

    /// The directories that have not answered.
    pub fn waiting(&self) -> impl Iterator<Item = Fingerprint> {
        self.waiting.iter().copied()
    }
}

/// `FAILED` is said of fetches and uploads alike; these reasons only fetches have.
fn is_failed_fetch(event: &HsDesc) -> bool {
    matches!(
        event.reason(),
        Some(
            HsDescReason::BadDesc
                | HsDescReason::NotFound
                | HsDescReason::QueryRejected
                | HsDescReason::QueryNoHsdir
                | HsDescReason::QueryRateLimited
        )
    )
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
    /// How many failures settle it. By a v2 address, Tor asks each directory for both replicas
    /// (feature/rend/rendclient.c:616-674).
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

    /// Takes an event; gives the directory that it settles, with what became of the fetch. Each directory is settled
    /// once.
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
mod tests {
    use super::*;

    const V2: &str = "6r7x5o465oo27s35";
    const V3: &str = "vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd";
    const ID: &str = "hrzcfzm3ygt4qf2n4r3hlfiepvq4hxe6";

    /// An event from its text; `$1` is a directory of the fingerprint 0101...
    fn event(text: &str) -> Event {
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
    fn uploads() {
        let table: &[(&str, HsPost, &str, Option<PostOutcome>)] = &[
            (
                "answered",
                HsPost::v2(V2, "x").unwrap(),
                " HS_DESC UPLOADED 6r7x5o465oo27s35 UNKNOWN $1",
                Some(PostOutcome::Uploaded),
            ),
            (
                "to another directory",
                HsPost::v2(V2, "x").unwrap(),
                " HS_DESC UPLOADED 6r7x5o465oo27s35 UNKNOWN $3",
                None,
            ),
            (
                "of another service",
                HsPost::v2(V2, "x").unwrap(),
                " HS_DESC UPLOADED aaaaaaaaaaaaaaaa UNKNOWN $1",
                None,
            ),
            (
                "of no known service",
                HsPost::v2(V2, "x").unwrap(),
                " HS_DESC UPLOADED UNKNOWN UNKNOWN $1",
                None,
            ),
            (
                "of any service",
                HsPost::v2_of_any("x"),
                " HS_DESC UPLOADED aaaaaaaaaaaaaaaa UNKNOWN $1",
                Some(PostOutcome::Uploaded),
            ),
            (
                "only begun",
                HsPost::v2(V2, "x").unwrap(),
                " HS_DESC UPLOAD 6r7x5o465oo27s35 UNKNOWN $1 x",
                None,
            ),
            (
                "refused, v2",
                HsPost::v2(V2, "x").unwrap(),
                " HS_DESC FAILED 6r7x5o465oo27s35 UNKNOWN $1 REASON=UNEXPECTED",
                Some(PostOutcome::Rejected(Some(HsDescReason::Unexpected))),
            ),
            (
                "refused, v3",
                HsPost::v3(V3, "x").unwrap(),
                " HS_DESC FAILED vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd NO_AUTH $1 RBW6PZvB REASON=UPLOAD_REJECTED",
                Some(PostOutcome::Rejected(Some(HsDescReason::UploadRejected))),
            ),
            (
                "refused without reason",
                HsPost::v2(V2, "x").unwrap(),
                " HS_DESC FAILED 6r7x5o465oo27s35 UNKNOWN $1",
                Some(PostOutcome::Rejected(None)),
            ),
            (
                "a fetch that failed",
                HsPost::v2(V2, "x").unwrap(),
                " HS_DESC FAILED 6r7x5o465oo27s35 NO_AUTH $1 REASON=NOT_FOUND",
                None,
            ),
            (
                "without directory",
                HsPost::v2(V2, "x").unwrap(),
                " HS_DESC UPLOADED 6r7x5o465oo27s35 UNKNOWN UNKNOWN",
                None,
            ),
            ("something else", HsPost::v2(V2, "x").unwrap(), " BW 1 2", None),
        ];
        for (name, post, text, expected) in table {
            let post = post.clone().server([1; 20]).server([2; 20]).server([1; 20]);
            let mut tracker = PostTracker::new(&post);
            let expected = expected.clone().map(|outcome| ([1; 20], outcome));
            assert_eq!(tracker.observe(&event(text)), expected, "{name}");
            assert_eq!(tracker.waiting().count(), 2 - usize::from(expected.is_some()), "{name}");
            assert_eq!(
                tracker.observe(&event(text)),
                None,
                "{name}: each directory is settled once"
            );
        }
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
        assert!(HsPost::v2(V2, "x").unwrap().command().is_err());
        for address in ["", V3, "6r7x5o465oo27s3", "6R7X5O465OO27S35", "6r7x5o465oo27s35\r\n"] {
            assert!(HsPost::v2(address, "x").is_err(), "{address:?}");
        }
        assert!(HsPost::v3(V2, "x").is_err());
        let command = HsPost::v3(V3, "x").unwrap().server([1; 20]).command().unwrap();
        assert!(
            command
                .as_bytes()
                .escape_ascii()
                .to_string()
                .contains(&format!("HSADDRESS={V3}"))
        );
    }
}
