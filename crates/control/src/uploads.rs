//! Uploads of descriptors at each directory, followed by events; without IO.
//!
//! `+HSPOST` is answered `250 OK` at once, which says nothing about any directory. The rest comes
//! as events, in any order, mixed with those about uploads of others, and for a directory that is
//! down not at all (feature/dirclient/dirclient.c:729-770).
//!
//! Events name the service and the directory, but neither the request nor, at the end, the
//! descriptor. A Tor that runs the service itself, or has another controller, reports those uploads
//! in the same words. So there is one [`UploadTracker`] for each Tor. It knows all uploads that are
//! on their way there, ours and others', and refuses a second one for a service at a directory.
//!
//! Two things cannot be told apart, as Tor says no more:
//! - Where another upload began after ours, the first answer is taken for the other's. A directory
//!   that is read back afterwards tells the truth.
//! - An answer that comes after its upload was given up may be taken for the next one's.

use std::time::Duration;

use crate::text::lossy;
use crate::{ArgumentProblem, Command, Error, Event, HsDesc, HsDescAction, HsDescReason};

/// A relay's fingerprint.
type Fingerprint = [u8; 20];

/// Time between Tor's notice that it built a descriptor and that it uploads it, at most: it tells
/// both in the same moment.
const BUILT_JUST_BEFORE: Duration = Duration::from_secs(1);
/// Longest time that Tor may take to announce a v2 upload that it accepted. It announces it in the
/// same moment.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(2);
/// Longest time for which the answer to an upload of others is waited for.
const OTHERS_WITHIN: Duration = Duration::from_secs(20);
/// Largest number of uploads of others, and of descriptors that Tor built, that are remembered. A
/// Tor with a thousand services uploads to six directories for each.
const MOST: usize = 16_384;

/// A descriptor and the directories that it goes to.
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
    /// The names that events may give the service; none for any.
    names: Vec<String>,
    is_v3: bool,
    servers: Vec<Fingerprint>,
    descriptor: Vec<u8>,
}

impl HsPost {
    /// A v2 descriptor of the service with this address, 16 characters of lower-case base32 with or
    /// without `.onion`.
    ///
    /// # Errors
    /// [`Error::Argument`] if the address has another form.
    pub fn v2(address: &str, descriptor: impl Into<Vec<u8>>) -> Result<Self, Error> {
        let id = onion_id(address, 16)?;
        Ok(Self {
            names: vec![id],
            is_v3: false,
            servers: Vec::new(),
            descriptor: descriptor.into(),
        })
    }

    /// A v2 descriptor of a service of which it is not known how Tor names it, as with stealth
    /// authorization: every upload that a directory answers is taken for this one.
    pub fn v2_of_any(descriptor: impl Into<Vec<u8>>) -> Self {
        Self {
            names: Vec::new(),
            is_v3: false,
            servers: Vec::new(),
            descriptor: descriptor.into(),
        }
    }

    /// A v3 descriptor of the service with this address, 56 characters of lower-case base32 with or
    /// without `.onion`.
    ///
    /// # Errors
    /// [`Error::Argument`] if the address has another form.
    pub fn v3(address: &str, descriptor: impl Into<Vec<u8>>) -> Result<Self, Error> {
        let id = onion_id(address, 56)?;
        Ok(Self {
            names: vec![id],
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

    /// Adds another address by which events may name the service. With stealth authorization, Tor
    /// names an upload by the client's address when a controller posts it
    /// (feature/rend/rendcommon.c:689), and by the service's when it uploads by itself
    /// (feature/rend/rendservice.c:3846).
    ///
    /// # Errors
    /// [`Error::Argument`] if the address has another form than that of this version.
    pub fn also_named(mut self, address: &str) -> Result<Self, Error> {
        let id = onion_id(address, if self.is_v3 { 56 } else { 16 })?;
        if !self.names.is_empty() && !self.names.contains(&id) {
            self.names.push(id);
        }
        Ok(self)
    }

    /// The directories.
    pub fn servers(&self) -> &[Fingerprint] {
        &self.servers
    }

    /// The address by which events name the service, without `.onion`; `None` for any.
    pub fn address(&self) -> Option<&str> {
        self.names.first().map(String::as_str)
    }

    /// The descriptor ID in the first line of a v2 descriptor. Tor announces an upload by it.
    fn descriptor_id(&self) -> Option<String> {
        let rest = self.descriptor.strip_prefix(b"rendezvous-service-descriptor ")?;
        let id = rest.split(u8::is_ascii_whitespace).next()?;
        (!self.is_v3 && id.len() == 32).then(|| lossy(id))
    }

    /// `+HSPOST`, as [`Command::hs_post`] writes it.
    ///
    /// # Errors
    /// Those of [`Command::hs_post`]; [`Error::Argument`] without a directory, since then it would
    /// be unknown whose answers to wait for.
    pub fn command(&self) -> Result<Command, Error> {
        if self.servers.is_empty() {
            return Err(argument("+HSPOST", "list of directories", ArgumentProblem::Empty));
        }
        let address = self.address().filter(|_| self.is_v3);
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

pub(crate) fn argument(command: &str, argument: &'static str, problem: ArgumentProblem) -> Error {
    Error::Argument {
        command: command.to_owned(),
        argument,
        problem,
    }
}

/// Outcome of an upload at one directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum PostOutcome {
    /// Status 200. A v3 directory has stored the descriptor; a v2 directory may have dropped it for
    /// its age (feature/rend/rendcache.c:736-742), and only reading back tells.
    Uploaded,
    /// A refusal, for the reason that Tor tells.
    Rejected(Option<HsDescReason>),
    /// Tor accepted the upload and never announced that it began.
    NotBegun,
    /// Silence until the deadline, or the control connection was closed before.
    #[default]
    NoAnswer,
}

/// An upload that was begun in an [`UploadTracker`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(u64);

/// News of uploads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UploadNews {
    /// Tor announces that an upload of ours is on its way.
    #[non_exhaustive]
    Announced {
        /// The upload.
        id: UploadId,
        /// The directory.
        directory: Fingerprint,
    },
    /// An upload of ours is over at a directory. This is told once for each.
    #[non_exhaustive]
    Settled {
        /// The upload.
        id: UploadId,
        /// The directory.
        directory: Fingerprint,
        /// The outcome there.
        outcome: PostOutcome,
    },
    /// An upload that was not begun in this tracker began or ended.
    Other(OtherUpload),
}

/// An upload to a directory that somebody else began: this Tor for a service that it runs, or
/// another controller.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct OtherUpload {
    address: Option<String>,
    directory: Fingerprint,
    stage: UploadStage,
}

/// Stage of an upload of others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum UploadStage {
    /// The beginning.
    #[non_exhaustive]
    Began {
        /// The descriptor ID, as in [`HsDesc::descriptor_id`].
        descriptor_id: Option<String>,
        /// Whether this Tor has just built the descriptor: it runs the service itself.
        is_own: bool,
    },
    /// The last one for this service at this directory ended.
    Ended(PostOutcome),
}

impl OtherUpload {
    /// The service's address without `.onion`; `None` where Tor does not tell it.
    pub fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// The directory's fingerprint.
    pub fn directory(&self) -> Fingerprint {
        self.directory
    }

    /// The stage.
    pub fn stage(&self) -> &UploadStage {
        &self.stage
    }
}

/// The uploads that are on their way through one Tor: ours and those of others.
///
/// It is given every event of the Tor's, and the time: how long it is since any fixed moment.
///
/// ```
/// use std::time::Duration;
/// use onionweave_control::{Event, HsPost, PostOutcome, UploadNews, UploadTracker};
///
/// let mut uploads = UploadTracker::new();
/// let post = HsPost::v2("6r7x5o465oo27s35", "...")?.server([1; 20]).server([2; 20]);
/// let id = uploads.begin(&post, Duration::from_secs(20), Duration::ZERO)?;
/// uploads.accepted(id, Duration::ZERO);
/// assert!(uploads.begin(&post, Duration::from_secs(20), Duration::ZERO).is_err());
///
/// let line = format!("650 HS_DESC UPLOADED 6r7x5o465oo27s35 UNKNOWN ${}~dir\r\n", "02".repeat(20));
/// let news = uploads.observe(&Event::parse(line.as_bytes())?, Duration::from_secs(1));
/// assert!(matches!(news, Some(UploadNews::Settled { outcome: PostOutcome::Uploaded, .. })));
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct UploadTracker {
    /// Entries, one for each upload and directory. No two of one service are at one directory.
    ours: Vec<Ours>,
    /// Entries, one for each service and directory.
    others: Vec<Others>,
    built: Vec<Built>,
    /// Number of uploads that there have been.
    count: u64,
}

/// An upload of ours at one directory.
#[derive(Clone, Debug)]
struct Ours {
    id: UploadId,
    directory: Fingerprint,
    names: Vec<String>,
    /// The ID by which Tor announces it; `None` if it is not announced (v3,
    /// feature/hs/hs_control.c:239-242).
    descriptor_id: Option<String>,
    is_announced: bool,
    /// The time since which its answers may come.
    accepted: Option<Duration>,
    until: Duration,
}

impl Ours {
    /// Whether an event of this service and directory may be about it.
    fn fits(&self, address: Option<&str>, directory: Fingerprint) -> bool {
        self.directory == directory && names_meet(&self.names, address)
    }

    /// The time at which it is given up, and the outcome then.
    fn end(&self) -> (Duration, PostOutcome) {
        let unannounced = self.descriptor_id.is_some() && !self.is_announced;
        let accepted = self.accepted.filter(|_| unannounced);
        match accepted.map(|at| at.saturating_add(ANNOUNCED_WITHIN)) {
            Some(end) if end < self.until => (end, PostOutcome::NotBegun),
            _ => (self.until, PostOutcome::NoAnswer),
        }
    }
}

/// Uploads of others for one service at one directory.
#[derive(Clone, Debug)]
struct Others {
    address: Option<String>,
    directory: Fingerprint,
    /// Number of uploads that are not answered.
    pending: u32,
    until: Duration,
}

/// A descriptor that Tor built. It is known by its ID alone. With stealth authorization, Tor names
/// the client's address when it builds the descriptor (feature/rend/rendcommon.c:689), and the
/// service's when it uploads it (feature/rend/rendservice.c:3846).
#[derive(Clone, Debug)]
struct Built {
    descriptor_id: String,
    at: Duration,
}

/// Whether an address may be one of these names; none stand for any, and so does an unknown
/// address.
fn names_meet(names: &[String], address: Option<&str>) -> bool {
    match address {
        Some(address) => names.is_empty() || names.iter().any(|name| name == address),
        None => true,
    }
}

impl UploadTracker {
    /// Nothing is on its way.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes an upload that is about to be given to Tor, at all its directories. It is given up at
    /// `until`.
    ///
    /// # Errors
    /// [`Error::UploadInFlight`] if one for this service is on its way to one of the directories,
    /// ours or another's; [`Error::Argument`] without a directory. Nothing is noted then.
    pub fn begin(&mut self, post: &HsPost, until: Duration, now: Duration) -> Result<UploadId, Error> {
        if post.servers.is_empty() {
            return Err(argument("+HSPOST", "list of directories", ArgumentProblem::Empty));
        }
        let busy = |directory: &&Fingerprint| match &*post.names {
            [] => self.is_busy(**directory, None, now),
            names => names.iter().any(|name| self.is_busy(**directory, Some(name), now)),
        };
        if let Some(directory) = post.servers.iter().find(busy) {
            return Err(Error::UploadInFlight {
                directory: data_encoding::HEXUPPER.encode(directory),
            });
        }
        self.count += 1;
        let id = UploadId(self.count);
        let descriptor_id = post.descriptor_id();
        self.ours.extend(post.servers.iter().map(|directory| Ours {
            id,
            directory: *directory,
            names: post.names.clone(),
            descriptor_id: descriptor_id.clone(),
            is_announced: false,
            accepted: None,
            until,
        }));
        Ok(id)
    }

    /// Notes that Tor accepted an upload. Answers that came before are another's.
    pub fn accepted(&mut self, id: UploadId, now: Duration) {
        for ours in self.ours.iter_mut().filter(|ours| ours.id == id) {
            ours.accepted.get_or_insert(now);
        }
    }

    /// Forgets an upload that Tor refused, or was never given.
    pub fn cancel(&mut self, id: UploadId) {
        self.ours.retain(|ours| ours.id != id);
    }

    /// Whether an upload for this service, or without an address for any, is on its way to this
    /// directory.
    pub fn is_busy(&self, directory: Fingerprint, address: Option<&str>, now: Duration) -> bool {
        let ours = self.ours.iter().filter(|ours| now < ours.end().0);
        let others = self.others.iter().filter(|others| now < others.until);
        ours.clone().any(|ours| ours.fits(address, directory))
            || others.clone().any(|others| {
                let same = match (&others.address, address) {
                    (Some(one), Some(other)) => one == other,
                    _ => true,
                };
                same && others.directory == directory
            })
    }

    /// Takes an event; returns the news in it. What is over by `now` is passed over:
    /// [`expire`](Self::expire) tells of it.
    pub fn observe(&mut self, event: &Event, now: Duration) -> Option<UploadNews> {
        let Event::HsDesc(event) = event else { return None };
        match event.action() {
            HsDescAction::Created => {
                self.built(event, now);
                None
            }
            HsDescAction::Upload => self.began(event, now),
            HsDescAction::Uploaded => self.ended(event, PostOutcome::Uploaded, now),
            HsDescAction::Failed if is_failed_upload(event) => {
                self.ended(event, PostOutcome::Rejected(event.reason().cloned()), now)
            }
            _ => None,
        }
    }

    /// Gives up what is over by `now`, and returns the news of it.
    pub fn expire(&mut self, now: Duration) -> Vec<UploadNews> {
        let mut news = Vec::new();
        self.ours.retain(|ours| {
            let (end, outcome) = ours.end();
            if end <= now {
                let (id, directory) = (ours.id, ours.directory);
                news.push(UploadNews::Settled { id, directory, outcome });
            }
            now < end
        });
        self.others.retain(|others| {
            if others.until <= now {
                news.push(UploadNews::Other(others.ended(PostOutcome::NoAnswer)));
            }
            now < others.until
        });
        self.built
            .retain(|built| now < built.at.saturating_add(BUILT_JUST_BEFORE));
        news
    }

    /// The time at which [`expire`](Self::expire) has something to do; `None` if nothing is on its
    /// way.
    pub fn next_deadline(&self) -> Option<Duration> {
        let ours = self.ours.iter().map(|ours| ours.end().0);
        ours.chain(self.others.iter().map(|others| others.until)).min()
    }

    /// The directories at which an upload of ours is not settled.
    pub fn waiting(&self, id: UploadId) -> impl Iterator<Item = Fingerprint> {
        self.ours
            .iter()
            .filter(move |ours| ours.id == id)
            .map(|ours| ours.directory)
    }

    fn built(&mut self, event: &HsDesc, now: Duration) {
        self.built
            .retain(|built| now < built.at.saturating_add(BUILT_JUST_BEFORE));
        if let Some(id) = event.descriptor_id()
            && self.built.len() < MOST
        {
            self.built.push(Built {
                descriptor_id: id.to_owned(),
                at: now,
            });
        }
    }

    /// `HS_DESC UPLOAD`: Tor announces our v2 uploads and all of others.
    fn began(&mut self, event: &HsDesc, now: Duration) -> Option<UploadNews> {
        let directory = event.hsdir()?.fingerprint();
        let (address, id) = (event.address(), event.descriptor_id());
        let announced = self.ours.iter_mut().find(|ours| {
            let fits = ours.fits(address, directory) && now < ours.end().0;
            fits && !ours.is_announced && ours.descriptor_id.is_some() && ours.descriptor_id.as_deref() == id
        });
        if let Some(ours) = announced {
            ours.is_announced = true;
            let id = ours.id;
            return Some(UploadNews::Announced { id, directory });
        }
        let is_own = self.built.iter().any(|built| {
            let just = now < built.at.saturating_add(BUILT_JUST_BEFORE);
            just && Some(built.descriptor_id.as_str()) == id
        });
        let until = now.saturating_add(OTHERS_WITHIN);
        let has_room = self.others.len() < MOST;
        let known = self.others.iter_mut().find(|others| others.is(address, directory));
        match known {
            Some(others) => {
                // Those that nobody answered in time do not count any more.
                let pending = if now < others.until { others.pending } else { 0 };
                others.pending = pending.saturating_add(1);
                others.until = until;
            }
            None if has_room => self.others.push(Others {
                address: address.map(str::to_owned),
                directory,
                pending: 1,
                until,
            }),
            None => {}
        }
        Some(UploadNews::Other(OtherUpload {
            address: address.map(str::to_owned),
            directory,
            stage: UploadStage::Began {
                descriptor_id: id.map(str::to_owned),
                is_own,
            },
        }))
    }

    /// An upload ended. Where ours and another's are on their way, it is the other's.
    fn ended(&mut self, event: &HsDesc, outcome: PostOutcome, now: Duration) -> Option<UploadNews> {
        let directory = event.hsdir()?.fingerprint();
        // Tor may fail to tell the service of an upload that failed, but never that of one that was
        // answered.
        let address = event.address();
        if address.is_none() && outcome == PostOutcome::Uploaded {
            return None;
        }
        let theirs = self.others.iter().position(|others| {
            let same = others.is(address, directory) || (address.is_none() && others.directory == directory);
            same && now < others.until
        });
        if let Some(at) = theirs {
            let others = self.others.get_mut(at)?;
            others.pending = others.pending.saturating_sub(1);
            if others.pending > 0 {
                return None;
            }
            return Some(UploadNews::Other(self.others.swap_remove(at).ended(outcome)));
        }
        let at = self
            .ours
            .iter()
            .position(|ours| ours.accepted.is_some() && ours.fits(address, directory) && now < ours.end().0)?;
        let id = self.ours.remove(at).id;
        Some(UploadNews::Settled { id, directory, outcome })
    }
}

impl Others {
    fn is(&self, address: Option<&str>, directory: Fingerprint) -> bool {
        self.address.as_deref() == address && self.directory == directory
    }

    fn ended(&self, outcome: PostOutcome) -> OtherUpload {
        OtherUpload {
            address: self.address.clone(),
            directory: self.directory,
            stage: UploadStage::Ended(outcome),
        }
    }
}

/// `FAILED` is said of fetches and uploads alike. Some reasons only fetches have; and a v2 fetch
/// names the descriptor ID, where a v2 upload does not.
fn is_failed_upload(event: &HsDesc) -> bool {
    let is_of_fetch = matches!(
        event.reason(),
        Some(
            HsDescReason::BadDesc
                | HsDescReason::NotFound
                | HsDescReason::QueryRejected
                | HsDescReason::QueryNoHsdir
                | HsDescReason::QueryRateLimited
        )
    );
    let names_v2_descriptor = event.descriptor_id().is_some_and(|id| id.len() == 32);
    !is_of_fetch && !names_v2_descriptor
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::track::tests::event;

    const V2: &str = "6r7x5o465oo27s35";
    const V3: &str = "vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd";
    const NOW: Duration = Duration::from_secs(1000);
    const LONG: Duration = Duration::from_secs(100_000);

    #[test]
    fn addresses_have_the_form_of_their_version() {
        assert!(HsPost::v2(V2, "x").unwrap().command().is_err(), "no directory is named");
        for address in ["", V3, "6r7x5o465oo27s3", "6R7X5O465OO27S35", "6r7x5o465oo27s35\r\n"] {
            assert!(HsPost::v2(address, "x").is_err(), "{address:?}");
        }
        assert!(HsPost::v3(V2, "x").is_err());
        let command = HsPost::v3(V3, "x").unwrap().server([1; 20]).command().unwrap();
        let text = command.as_bytes().escape_ascii().to_string();
        assert!(text.contains(&format!("HSADDRESS={V3}")));
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
            let mut uploads = UploadTracker::new();
            let id = uploads.begin(&post, LONG, NOW).unwrap();
            assert!(
                !matches!(uploads.observe(&event(text), NOW), Some(UploadNews::Settled { .. })),
                "{name}: an answer before Tor accepted it is another's"
            );
            let mut uploads = UploadTracker::new();
            assert_eq!(uploads.begin(&post, LONG, NOW).unwrap(), id);
            uploads.accepted(id, NOW);
            let settled = |news| match news {
                Some(UploadNews::Settled {
                    id: _,
                    directory,
                    outcome,
                }) => Some((directory, outcome)),
                _ => None,
            };
            let expected = expected.clone().map(|outcome| ([1; 20], outcome));
            assert_eq!(settled(uploads.observe(&event(text), NOW)), expected, "{name}");
            assert_eq!(
                uploads.waiting(id).count(),
                2 - usize::from(expected.is_some()),
                "{name}"
            );
            let again = settled(uploads.observe(&event(text), NOW));
            assert_eq!(again, None, "{name}: each directory is settled once");
        }
    }

    fn v2(text: &str) -> HsPost {
        HsPost::v2(V2, text).unwrap().server([1; 20])
    }

    fn other(news: Option<UploadNews>) -> UploadStage {
        match news {
            Some(UploadNews::Other(other)) => {
                assert_eq!((other.address(), other.directory()), (Some(V2), [1; 20]));
                other.stage
            }
            news => panic!("{news:?}"),
        }
    }

    const THEIRS: &str = " HS_DESC UPLOAD 6r7x5o465oo27s35 UNKNOWN $1 lhrcprndbm75osvtwkzuo5pdj7666cz7";
    const UPLOADED: &str = " HS_DESC UPLOADED 6r7x5o465oo27s35 UNKNOWN $1";

    #[test]
    fn uploads_of_others_are_told_and_keep_ours_away() {
        let mut uploads = UploadTracker::new();
        let began = other(uploads.observe(&event(THEIRS), NOW));
        assert!(matches!(began, UploadStage::Began { is_own: false, .. }), "{began:?}");
        assert!(uploads.is_busy([1; 20], Some(V2), NOW) && !uploads.is_busy([2; 20], Some(V2), NOW));
        assert!(matches!(
            uploads.begin(&v2("x"), LONG, NOW),
            Err(Error::UploadInFlight { .. })
        ));
        // Another service's, and one to another directory, are in nobody's way.
        let elsewhere = HsPost::v2(V2, "x").unwrap().server([2; 20]);
        let id = uploads.begin(&elsewhere, LONG, NOW).unwrap();
        uploads.cancel(id);
        assert!(!uploads.is_busy([1; 20], Some("aaaaaaaaaaaaaaaa"), NOW));

        // Two of theirs end with the second answer.
        other(uploads.observe(&event(THEIRS), NOW));
        assert_eq!(uploads.observe(&event(UPLOADED), NOW), None);
        let ended = other(uploads.observe(&event(UPLOADED), NOW));
        assert_eq!(ended, UploadStage::Ended(PostOutcome::Uploaded));
        assert_eq!(uploads.next_deadline(), None);

        // The Tor's own: it said just before that it built this descriptor.
        let built = " HS_DESC CREATED 6r7x5o465oo27s35 UNKNOWN UNKNOWN lhrcprndbm75osvtwkzuo5pdj7666cz7 REPLICA=0";
        assert_eq!(uploads.observe(&event(built), NOW), None);
        let began = other(uploads.observe(&event(THEIRS), NOW + BUILT_JUST_BEFORE / 2));
        assert!(matches!(began, UploadStage::Began { is_own: true, .. }), "{began:?}");
    }

    #[test]
    fn ours_is_announced_by_its_descriptor() {
        let text = "rendezvous-service-descriptor hrzcfzm3ygt4qf2n4r3hlfiepvq4hxe6\nversion 2\n";
        let ours = " HS_DESC UPLOAD 6r7x5o465oo27s35 UNKNOWN $1 hrzcfzm3ygt4qf2n4r3hlfiepvq4hxe6";
        let mut uploads = UploadTracker::new();
        let id = uploads.begin(&v2(text), LONG, NOW).unwrap();
        let news = uploads.observe(&event(ours), NOW);
        assert!(
            matches!(news, Some(UploadNews::Announced { id: told, .. }) if told == id),
            "{news:?}"
        );
        uploads.accepted(id, NOW);
        // The same once more, or another descriptor, is another's; and so is the first answer then.
        other(uploads.observe(&event(ours), NOW));
        other(uploads.observe(&event(UPLOADED), NOW));
        let news = uploads.observe(&event(UPLOADED), NOW);
        assert!(matches!(news, Some(UploadNews::Settled { .. })), "{news:?}");

        // One that Tor accepts and does not announce never began.
        let id = uploads.begin(&v2(text), LONG, NOW).unwrap();
        assert_eq!(uploads.next_deadline(), Some(LONG));
        uploads.accepted(id, NOW);
        let end = NOW + ANNOUNCED_WITHIN;
        assert_eq!(uploads.next_deadline(), Some(end));
        let outcome = PostOutcome::NotBegun;
        let directory = [1; 20];
        assert_eq!(uploads.expire(end), [UploadNews::Settled { id, directory, outcome }]);
    }

    #[test]
    fn what_nobody_answers_takes_no_later_answer() {
        let mut uploads = UploadTracker::new();
        other(uploads.observe(&event(THEIRS), NOW));
        let later = NOW + OTHERS_WITHIN;
        assert!(!uploads.is_busy([1; 20], Some(V2), later));
        // Not expired yet, but over: it is no other's answer.
        let id = uploads.begin(&v2("x"), later + LONG, later).unwrap();
        uploads.accepted(id, later);
        let news = uploads.observe(&event(UPLOADED), later);
        assert!(matches!(news, Some(UploadNews::Settled { .. })), "{news:?}");
        let [UploadNews::Other(other)] = &uploads.expire(later)[..] else {
            panic!("one is over");
        };
        assert_eq!(other.stage(), &UploadStage::Ended(PostOutcome::NoAnswer));
        assert_eq!(uploads.next_deadline(), None);
    }

    #[test]
    fn a_service_may_have_two_names() {
        let post = v2("x").also_named("aaaaaaaaaaaaaaaa").unwrap();
        let mut uploads = UploadTracker::new();
        let id = uploads.begin(&post, LONG, NOW).unwrap();
        uploads.accepted(id, NOW);
        assert!(uploads.is_busy([1; 20], Some("aaaaaaaaaaaaaaaa"), NOW));
        let answer = event(" HS_DESC UPLOADED aaaaaaaaaaaaaaaa UNKNOWN $1");
        assert!(matches!(
            uploads.observe(&answer, NOW),
            Some(UploadNews::Settled { .. })
        ));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Begin {
            service: usize,
            directories: u8,
            patience: u64,
        },
        Accept(u64),
        Cancel(u64),
        Event {
            kind: usize,
            service: usize,
            directory: u8,
        },
        Pass(u64),
        Expire,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..3_usize, 1..8_u8, 0..40_u64).prop_map(|(service, directories, patience)| Step::Begin {
                service,
                directories,
                patience
            }),
            (1..20_u64).prop_map(Step::Accept),
            (1..20_u64).prop_map(Step::Cancel),
            (0..6_usize, 0..3_usize, 1..4_u8).prop_map(|(kind, service, directory)| Step::Event {
                kind,
                service,
                directory
            }),
            (0..5_u64).prop_map(Step::Pass),
            Just(Step::Expire),
        ]
    }

    proptest! {
        /// In any order of events, each directory of an upload is settled once or cancelled,
        /// nothing else is, no two uploads of one service are at one directory, and in the end
        /// nothing is on its way.
        #[test]
        fn everything_ends_once(steps in proptest::collection::vec(step(), 0..80)) {
            const NAMES: [&str; 2] = [V2, "aaaaaaaaaaaaaaaa"];
            let mut uploads = UploadTracker::new();
            let mut open: BTreeSet<(UploadId, Fingerprint)> = BTreeSet::new();
            let mut services: BTreeMap<UploadId, usize> = BTreeMap::new();
            let mut now = NOW;
            for step in steps {
                let news = match step {
                    Step::Begin { service, directories, patience } => {
                        let text = ["x", "rendezvous-service-descriptor hrzcfzm3ygt4qf2n4r3hlfiepvq4hxe6\n"];
                        let post = match NAMES.get(service) {
                            Some(name) => HsPost::v2(name, text[usize::from(directories % 2)]).unwrap(),
                            None => HsPost::v2_of_any("x"),
                        };
                        let to: Vec<_> = (1..4).filter(|n| directories >> (n - 1) & 1 == 1).map(|n| [n; 20]).collect();
                        let post = to.iter().fold(post, |post, to| post.server(*to));
                        if let Ok(id) = uploads.begin(&post, now + Duration::from_secs(patience), now) {
                            services.insert(id, service);
                            open.extend(to.iter().map(|to| (id, *to)));
                        }
                        Vec::new()
                    }
                    Step::Accept(id) => {
                        uploads.accepted(UploadId(id), now);
                        Vec::new()
                    }
                    Step::Cancel(id) => {
                        uploads.cancel(UploadId(id));
                        open.retain(|(open, _)| *open != UploadId(id));
                        Vec::new()
                    }
                    Step::Event { kind, service, directory } => {
                        let name = NAMES.get(service).unwrap_or(&"UNKNOWN");
                        let id = "hrzcfzm3ygt4qf2n4r3hlfiepvq4hxe6";
                        let text = [
                            format!(" HS_DESC UPLOAD {name} UNKNOWN ${directory} {id}"),
                            format!(" HS_DESC UPLOAD {name} UNKNOWN ${directory} lhrcprndbm75osvtwkzuo5pdj7666cz7"),
                            format!(" HS_DESC UPLOADED {name} UNKNOWN ${directory}"),
                            format!(" HS_DESC FAILED {name} UNKNOWN ${directory} REASON=UNEXPECTED"),
                            format!(" HS_DESC FAILED {name} UNKNOWN ${directory} {id} REASON=NOT_FOUND"),
                            format!(" HS_DESC CREATED {name} UNKNOWN UNKNOWN {id} REPLICA=0"),
                        ];
                        uploads.observe(&event(&text[kind]), now).into_iter().collect()
                    }
                    Step::Pass(seconds) => {
                        now += Duration::from_secs(seconds);
                        Vec::new()
                    }
                    Step::Expire => uploads.expire(now),
                };
                for news in news {
                    if let UploadNews::Settled { id, directory, outcome: _ } = news {
                        prop_assert!(open.remove(&(id, directory)), "{directory:?} is settled again");
                    }
                }
                let waiting: BTreeSet<_> = uploads.ours.iter().map(|ours| (ours.id, ours.directory)).collect();
                prop_assert_eq!(&waiting, &open);
                let live: Vec<_> = uploads.ours.iter().filter(|ours| now < ours.end().0).collect();
                for (at, one) in live.iter().enumerate() {
                    for another in &live[at + 1..] {
                        let (a, b) = (services[&one.id], services[&another.id]);
                        prop_assert!(one.directory != another.directory || (a != b && a < 2 && b < 2));
                    }
                }
            }
            for news in uploads.expire(Duration::MAX) {
                if let UploadNews::Settled { id, directory, outcome: _ } = news {
                    prop_assert!(open.remove(&(id, directory)));
                }
            }
            prop_assert!(open.is_empty());
            prop_assert_eq!(uploads.next_deadline(), None);
        }
    }
}
