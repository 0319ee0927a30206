//! The directory's verdict: `rend_cache_store_v2_desc_as_dir` (rendcache.c:646).

use onionweave_ring::UnixTime;
use onionweave_ring::v2::DescriptorId;

use crate::error::Error;
use crate::rsa::{Backend, RustCrypto};
use crate::v2::descriptor::{START, visible};
use crate::v2::{AgeVerdict, Descriptor, UnverifiedDescriptor};

/// Verdict of a directory on the body of an upload.
///
/// A directory checks neither whether it is responsible for a descriptor nor whether its
/// introduction points can be read.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use onionweave_desc::v2::{Descriptor, Fate, UploadVerdict};
/// use onionweave_ring::UnixTime;
/// use onionweave_ring::v2::DescriptorId;
///
/// let body = include_bytes!("../../../testdata/plain/descriptor-rf75jzdtba4wnd6v.txt");
/// let now = UnixTime::from_iso("2026-11-22 12:30:00")?;
/// let mut held: BTreeMap<DescriptorId, Descriptor> = BTreeMap::new();
///
/// let verdict = UploadVerdict::new(body, |id| held.get(id), now);
/// assert_eq!(verdict.status(), 200);
/// assert_eq!(verdict.offers()[0].fate(), Fate::Stored);
/// for descriptor in verdict.stored() {
///     held.insert(descriptor.descriptor_id(), descriptor.clone());
/// }
///
/// // The answer says nothing of what became of it.
/// let verdict = UploadVerdict::new(body, |id| held.get(id), now);
/// assert_eq!((verdict.status(), verdict.offers()[0].fate()), (200, Fate::Identical));
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadVerdict {
    offers: Vec<Offer>,
    stopped_by: Option<Error>,
}

impl UploadVerdict {
    /// The verdict over `body` of a directory that holds what `held` finds, at the time `now` by
    /// its clock.
    ///
    /// The body is a string: a NUL byte ends it (feature/dircache/dircache.c:1632). Its descriptors
    /// are taken one after the other, each among those stored before it, until one cannot be parsed
    /// or verified, or something else follows (rendcache.c:662, 733).
    ///
    /// The time this takes grows with the length of the body, which the caller bounds. C Tor takes
    /// bodies of up to 16 MiB (`MAX_DIR_UL_SIZE`, dircache.c:47).
    pub fn new<'a>(body: &[u8], held: impl Fn(&DescriptorId) -> Option<&'a Descriptor>, now: UnixTime) -> Self {
        Self::new_with(&RustCrypto, body, held, now)
    }

    /// Does the same as [`new`](Self::new), with the signatures checked by `rsa`.
    ///
    /// ```
    /// use onionweave_desc::rsa::RustCrypto;
    /// use onionweave_desc::v2::UploadVerdict;
    /// use onionweave_ring::UnixTime;
    ///
    /// let verdict = UploadVerdict::new_with(&RustCrypto, b"nonsense", |_| None, UnixTime::EPOCH);
    /// assert_eq!(verdict.status(), 400);
    /// ```
    pub fn new_with<'a>(
        rsa: &dyn Backend,
        body: &[u8],
        held: impl Fn(&DescriptorId) -> Option<&'a Descriptor>,
        now: UnixTime,
    ) -> Self {
        let mut verdict = Self {
            offers: Vec::new(),
            stopped_by: None,
        };
        let mut rest = body;
        loop {
            let parsed = UnverifiedDescriptor::parse_prefix(rest)
                .and_then(|(descriptor, rest)| Ok((descriptor.verify_with(rsa)?, rest)));
            let (descriptor, after) = match parsed {
                Ok(parsed) => parsed,
                Err(error) => {
                    verdict.stopped_by = Some(error);
                    return verdict;
                }
            };
            let id = descriptor.descriptor_id();
            let fate = Fate::new(&descriptor, verdict.find_stored(&id).or_else(|| held(&id)), body, now);
            verdict.offers.push(Offer { descriptor, fate });
            if !after.starts_with(START) {
                return verdict;
            }
            rest = after;
        }
    }

    /// Whether the directory accepts the upload: if the body begins with a descriptor that can be
    /// parsed and verified, whatever becomes of it, and whatever follows (rendcache.c:736-742).
    pub fn is_accepted(&self) -> bool {
        !self.offers.is_empty()
    }

    /// The HTTP status that the uploader sees, 200 or 400 (feature/dircache/dircache.c:1632-1639).
    /// Tor's control port calls them `UPLOADED` and `FAILED` with the reason `UPLOAD_REJECTED`.
    pub fn status(&self) -> u16 {
        if self.is_accepted() { 200 } else { 400 }
    }

    /// The descriptors of the body, as far as it was read, in its order.
    pub fn offers(&self) -> &[Offer] {
        &self.offers
    }

    /// Reason why the body was not read to its end: what was wrong with the descriptor after the
    /// last of [`offers`](Self::offers). Positions count from where that descriptor begins.
    ///
    /// ```
    /// use onionweave_desc::v2::UploadVerdict;
    /// use onionweave_ring::UnixTime;
    ///
    /// let now = UnixTime::from_iso("2026-11-22 12:30:00")?;
    /// let good = include_str!("../../../testdata/plain/descriptor-rf75jzdtba4wnd6v.txt");
    /// let bad = good.replace("version 2", "version 3");
    ///
    /// // One good descriptor at its beginning is enough for the body to be accepted.
    /// let verdict = UploadVerdict::new(format!("{good}\n{bad}").as_bytes(), |_| None, now);
    /// assert!(verdict.is_accepted());
    /// assert_eq!(verdict.offers().len(), 1);
    /// assert_eq!(verdict.error().map(ToString::to_string).as_deref(), Some("descriptor, line 2: `version` is not 2"));
    ///
    /// let verdict = UploadVerdict::new(format!("{bad}\n{good}").as_bytes(), |_| None, now);
    /// assert_eq!((verdict.status(), verdict.stored().count()), (400, 0));
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    pub fn error(&self) -> Option<&Error> {
        self.stopped_by.as_ref()
    }

    /// The descriptors to be kept, in order: a later one replaces an earlier one, and what was held
    /// before, with the same ID.
    pub fn stored(&self) -> impl DoubleEndedIterator<Item = &Descriptor> {
        let stored = self.offers.iter().filter(|offer| offer.fate == Fate::Stored);
        stored.map(|offer| &offer.descriptor)
    }

    /// Text that this upload has left under an ID so far.
    fn find_stored(&self, id: &DescriptorId) -> Option<&Descriptor> {
        self.stored().rfind(|descriptor| descriptor.descriptor_id() == *id)
    }
}

/// A descriptor of an upload, with the verdict on it.
///
/// ```
/// use onionweave_desc::v2::{Fate, UploadVerdict};
/// use onionweave_ring::UnixTime;
///
/// let body = include_bytes!("../../../testdata/plain/descriptor-rf75jzdtba4wnd6v.txt");
/// let a_week_later = UnixTime::from_iso("2026-11-29 12:00:00")?;
/// let verdict = UploadVerdict::new(body, |_| None, a_week_later);
/// let offer = &verdict.offers()[0];
/// assert_eq!(offer.descriptor().service_id().to_string(), "rf75jzdtba4wnd6v");
/// assert_eq!(offer.fate(), Fate::TooOld);
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    descriptor: Descriptor,
    fate: Fate,
}

impl Offer {
    /// The descriptor.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The verdict on it.
    pub fn fate(&self) -> Fate {
        self.fate
    }
}

/// Verdict on a descriptor that a directory could parse and verify. All of it is answered with 200.
///
/// ```
/// use onionweave_desc::v2::{Fate, UnverifiedDescriptor, UploadVerdict};
/// use onionweave_ring::UnixTime;
///
/// let body = include_bytes!("../../../testdata/plain/descriptor-rf75jzdtba4wnd6v.txt");
/// let now = UnixTime::from_iso("2026-11-22 12:30:00")?;
/// let held = UnverifiedDescriptor::parse(body)?.verify()?;
/// let fate = |held| UploadVerdict::new(body, |_| held, now).offers()[0].fate();
/// assert_eq!(fate(None), Fate::Stored);
/// assert_eq!(fate(Some(&held)), Fate::Identical);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fate {
    /// The descriptor is kept, and replaces whatever was held under its ID, also something equally
    /// old.
    Stored,
    /// The descriptor is dropped: it was published more than 72 hours ago.
    TooOld,
    /// The descriptor is dropped: it was published more than 24 hours ahead.
    TooNew,
    /// The descriptor is dropped: what is held was published later.
    NotNewer,
    /// The descriptor is dropped: it is held already, byte for byte, and was the whole body.
    Identical,
}

impl Fate {
    fn new(descriptor: &Descriptor, held: Option<&Descriptor>, body: &[u8], now: UnixTime) -> Self {
        match descriptor.age_verdict(now) {
            AgeVerdict::TooOld => return Self::TooOld, // rendcache.c:672
            AgeVerdict::TooNew => return Self::TooNew, // rendcache.c:678
            AgeVerdict::Accepted => {}
        }
        match held {
            // rendcache.c:686
            Some(held) if held.publication_time() > descriptor.publication_time() => Self::NotNewer,
            // rendcache.c:693, where it is the body that is compared, and not the descriptor.
            Some(held) if held.text() == visible(body) => Self::Identical,
            _ => Self::Stored,
        }
    }
}
