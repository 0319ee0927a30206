//! The client's verdict: `rend_cache_store_v2_desc_as_client` (rendcache.c:835).

use onionweave_ring::v2::{DescriptorCookie, DescriptorId, ServiceId};
use onionweave_ring::{Fingerprint, UnixTime};

use crate::error::Error;
use crate::v2::descriptor::visible;
use crate::v2::{AgeVerdict, Descriptor, IntroductionPoint, UnverifiedDescriptor};

/// Request of a client to a directory.
///
/// ```
/// use onionweave_desc::v2::{Fetch, FetchVerdict, Known};
/// use onionweave_ring::UnixTime;
///
/// let text = include_bytes!("../../../testdata/plain/descriptor-rf75jzdtba4wnd6v.txt");
/// let fetch = Fetch::new("qd2akclg2ygyy37bwtrc6c33jwclhbk6".parse()?).service("rf75jzdtba4wnd6v".parse()?);
/// let now = UnixTime::from_iso("2026-11-22 12:30:00")?;
///
/// let FetchVerdict::Stored { descriptor, points } = fetch.judge(text, |_| Known::default(), now)? else {
///     panic!("there is nothing that it could be measured by");
/// };
/// assert_eq!((descriptor.text(), points.len()), (&text[..], 3));
///
/// let later = UnixTime::from_iso("2026-11-25 12:00:01")?;
/// let error = fetch.judge(text, |_| Known::default(), later).unwrap_err();
/// assert!(error.to_string().contains("more than 72 hours before"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Fetch {
    descriptor_id: DescriptorId,
    service: Option<ServiceId>,
    cookie: Option<DescriptorCookie>,
}

impl Fetch {
    /// The descriptor with this ID, of whatever service, as `HSFETCH v2-<descriptor ID>` asks for
    /// it.
    pub fn new(descriptor_id: DescriptorId) -> Self {
        Self {
            descriptor_id,
            service: None,
            cookie: None,
        }
    }

    /// The descriptor must be of this service.
    #[must_use]
    pub fn service(mut self, service: ServiceId) -> Self {
        self.service = Some(service);
        self
    }

    /// Introduction points that are encrypted are decrypted with this cookie. One that is zero
    /// counts for none (rendcache.c:913).
    ///
    /// ```
    /// use onionweave_desc::Error;
    /// use onionweave_desc::v2::{AuthorizationKind, DescriptorCookie, Fetch, Known};
    /// use onionweave_ring::UnixTime;
    ///
    /// let text = include_bytes!("../../../testdata/basic/descriptor-z2p7lut3zzeost7w.txt");
    /// let now = UnixTime::from_iso("2026-11-22 12:30:00")?;
    /// let fetch = Fetch::new("bj5u24zjlwp3lff5alx6p227qdik7iov".parse()?);
    /// let without = fetch.judge(text, |_| Known::default(), now);
    /// assert_eq!(without, Err(Error::ClientAuthorization(AuthorizationKind::Basic)));
    ///
    /// let alice = DescriptorCookie::from_base64("/7+YSj84F0crQa7k9/ITkA==")?;
    /// assert!(fetch.cookie(alice).judge(text, |_| Known::default(), now).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn cookie(mut self, cookie: DescriptorCookie) -> Self {
        self.cookie = Some(cookie);
        self
    }

    /// The verdict over `text`, which a directory sent with status 200, of a client that knows what
    /// `known` says of a service, at the time `now` by its clock. Tor's control port calls it
    /// `RECEIVED` if it is positive, else `FAILED` with the reason `BAD_DESC`
    /// (feature/dirclient/dirclient.c:2834-2866).
    ///
    /// The text is a string: a NUL byte ends it. Its first descriptor counts, and what follows is
    /// not looked at.
    ///
    /// # Errors
    /// The first of these that applies, in this order:
    /// 1. those of [`UnverifiedDescriptor::parse_as_client`] and [`UnverifiedDescriptor::verify`]
    ///    (rendcache.c:885);
    /// 2. [`Error::WrongService`] (rendcache.c:896), [`Error::UnexpectedDescriptorId`]
    ///    (rendcache.c:903);
    /// 3. if there is anything at all where the introduction points should be, the errors of
    ///    [`Descriptor::introduction_points_for`] and [`Descriptor::introduction_points`]
    ///    (rendcache.c:910-947);
    /// 4. [`Error::TooOld`] and [`Error::TooNew`] (rendcache.c:955-965);
    /// 5. [`Error::NoUsablePoints`] (rendcache.c:990), unless the descriptor is dropped in favour
    ///    of the one that is held.
    pub fn judge<'a>(
        &self,
        text: &[u8],
        known: impl FnOnce(&ServiceId) -> Known<'a>,
        now: UnixTime,
    ) -> Result<FetchVerdict, Error> {
        let descriptor = UnverifiedDescriptor::parse_as_client(text)?.verify()?;
        let found = descriptor.service_id();
        if let Some(wanted) = self.service.filter(|wanted| *wanted != found) {
            return Err(Error::WrongService { found, wanted });
        }
        if descriptor.descriptor_id() != self.descriptor_id {
            return Err(Error::UnexpectedDescriptorId {
                found: descriptor.descriptor_id(),
                wanted: self.descriptor_id,
            });
        }
        let mut points = self.introduction_points(&descriptor)?;
        let published = descriptor.publication_time();
        match descriptor.age_verdict(now) {
            AgeVerdict::TooOld => return Err(Error::TooOld { published, now }),
            AgeVerdict::TooNew => return Err(Error::TooNew { published, now }),
            AgeVerdict::Accepted => {}
        }
        let known = known(&found);
        if let Some(held) = known.held {
            // What is compared is all that came, not the descriptor alone (rendcache.c:969).
            if held.text() == visible(text) {
                return Ok(FetchVerdict::Identical);
            }
            if held.publication_time() > published {
                return Ok(FetchVerdict::NotNewer); // rendcache.c:979
            }
        }
        points.retain(|point| !known.failed.contains(&point.identity())); // rendcache.c:986
        if points.is_empty() {
            return Err(Error::NoUsablePoints);
        }
        Ok(FetchVerdict::Stored {
            descriptor: Box::new(descriptor),
            points,
        })
    }

    /// An empty object, or none, is no error yet (rendcache.c:948).
    fn introduction_points(&self, descriptor: &Descriptor) -> Result<Vec<IntroductionPoint>, Error> {
        if descriptor.introduction_points_object().is_empty() {
            return Ok(Vec::new());
        }
        match &self.cookie {
            Some(cookie) => descriptor.introduction_points_for(cookie),
            None => descriptor.introduction_points(),
        }
    }
}

/// Memory that a client has of a service. The default is nothing.
///
/// ```
/// use onionweave_desc::Error;
/// use onionweave_desc::v2::{Fetch, FetchVerdict, Known, UnverifiedDescriptor};
/// use onionweave_ring::{Fingerprint, UnixTime};
///
/// let text = include_bytes!("../../../testdata/plain/descriptor-rf75jzdtba4wnd6v.txt");
/// let now = UnixTime::from_iso("2026-11-22 12:30:00")?;
/// let held = UnverifiedDescriptor::parse(text)?.verify()?;
/// let fetch = Fetch::new(held.descriptor_id());
///
/// // A client that failed at every point has no use for the descriptor...
/// let relays: Vec<Fingerprint> = held.introduction_points()?.iter().map(|point| point.identity()).collect();
/// let failed = fetch.judge(text, |_| Known::default().failed(&relays), now);
/// assert_eq!(failed, Err(Error::NoUsablePoints));
/// // ...but does not notice if it held these very bytes before.
/// let again = fetch.judge(text, |_| Known::default().held(Some(&held)).failed(&relays), now);
/// assert_eq!(again, Ok(FetchVerdict::Identical));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    held: Option<&'a Descriptor>,
    failed: &'a [Fingerprint],
}

impl<'a> Known<'a> {
    /// The client holds this descriptor, or none. It keeps one for each service, whatever its ID
    /// (rendcache.c:967).
    #[must_use]
    pub fn held(mut self, held: Option<&'a Descriptor>) -> Self {
        self.held = held;
        self
    }

    /// The client failed to reach the service by introduction points at these relays, within the
    /// last five minutes (`REND_CACHE_FAILURE_MAX_AGE`, rendcache.h:22).
    #[must_use]
    pub fn failed(mut self, relays: &'a [Fingerprint]) -> Self {
        self.failed = relays;
        self
    }
}

/// Fate of a descriptor that a client accepts.
///
/// ```
/// use onionweave_desc::v2::{Fetch, FetchVerdict, Known, UnverifiedDescriptor};
/// use onionweave_ring::UnixTime;
///
/// let text = include_bytes!("../../../testdata/plain/descriptor-rf75jzdtba4wnd6v.txt");
/// let now = UnixTime::from_iso("2026-11-22 12:30:00")?;
/// let asked_for = UnverifiedDescriptor::parse(text)?.verify()?.descriptor_id();
/// let verdict = Fetch::new(asked_for).judge(text, |_| Known::default(), now)?;
/// let FetchVerdict::Stored { points, .. } = verdict else { panic!("it knew nothing before") };
/// assert_eq!(points.len(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchVerdict {
    /// The client holds it from now on, in place of any other of that service, also of one that is
    /// equally old.
    Stored {
        /// The descriptor.
        descriptor: Box<Descriptor>,
        /// Those of its introduction points at which the client did not fail: one at least.
        points: Vec<IntroductionPoint>,
    },
    /// The client holds it already, byte for byte, and goes on with the points that it has left of
    /// it, if any.
    Identical,
    /// The client goes on with what it holds, which was published later.
    NotNewer,
}
