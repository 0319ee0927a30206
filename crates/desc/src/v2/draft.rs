//! Writing and signing descriptors.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use onionweave_ring::UnixTime;
use onionweave_ring::v2::{DescriptorId, Replica, SecretIdPart, TimePeriod};
use sha1::{Digest, Sha1};

use super::authorization::Authorization;
use super::{Descriptor, IntroductionPoint, MAX_DESCRIPTOR_LEN, MAX_INTRODUCTION_POINTS, ServiceKey};
use crate::base64;
use crate::error::Error;

/// The versions of the introduction protocol that every service of tor 0.4.5 offers
/// (feature/rend/rendservice.c:1079).
const PROTOCOL_VERSIONS: [u8; 2] = [2, 3];
/// The greatest version that C Tor writes (rendcommon.c:607).
const MAX_PROTOCOL_VERSION: u8 = 7;

/// A descriptor that is yet to be signed.
///
/// Signing gives exactly the bytes that C Tor writes (`rend_encode_v2_descriptors`,
/// feature/rend/rendcommon.c:480) for the same points, key and time.
///
/// ```
/// use onionweave_desc::v2::{Draft, ServiceKey, UnverifiedDescriptor};
/// use onionweave_ring::UnixTime;
/// use onionweave_ring::v2::{Replica, TimePeriod};
///
/// let text = include_bytes!("../../testdata/plain/descriptor-rf75jzdtba4wnd6v.txt");
/// let points = UnverifiedDescriptor::parse(text)?.verify()?.introduction_points()?;
///
/// let key = ServiceKey::from_pem(include_str!("../../testdata/plain/private_key"))?;
/// let now = UnixTime::from_secs(1_795_352_400);
/// let period = TimePeriod::at(&key.service_id(), now);
/// let descriptor = Draft::new(points).sign(&key, period, Replica::ALL[0], now)?;
/// assert_eq!(descriptor.service_id(), key.service_id());
///
/// // The same for clients, but for the bytes.
/// let points = descriptor.introduction_points()?;
/// let other = Draft::new(points.clone()).protocol_versions(&[2, 3]).trailing_blank_lines(1);
/// let other = other.sign(&key, period, Replica::ALL[0], now)?;
/// assert_eq!(other.introduction_points()?, points);
/// assert_ne!(other.text(), descriptor.text());
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    points: Vec<IntroductionPoint>,
    protocol_versions: Vec<u8>,
    trailing_blank_lines: usize,
    authorization: Option<Authorization>,
}

impl Draft {
    /// A descriptor with these introduction points, in this order.
    pub fn new(points: Vec<IntroductionPoint>) -> Self {
        Self {
            points,
            protocol_versions: PROTOCOL_VERSIONS.to_vec(),
            trailing_blank_lines: 0,
            authorization: None,
        }
    }

    /// Sets the versions of the introduction protocol, by default 2 and 3. At least one is needed,
    /// and C Tor writes none above 7.
    #[must_use]
    pub fn protocol_versions(mut self, versions: &[u8]) -> Self {
        self.protocol_versions = versions.to_vec();
        self.protocol_versions.sort_unstable();
        self.protocol_versions.dedup();
        self
    }

    /// Adds this many empty lines after the introduction points, by default none.
    ///
    /// Clients skip them, but the bytes differ. Clients that fetch a text which they hold already,
    /// byte for byte, keep the list from which they struck the points that failed
    /// (rendcache.c:966), so each directory should get bytes of its own.
    #[must_use]
    pub fn trailing_blank_lines(mut self, lines: usize) -> Self {
        self.trailing_blank_lines = lines;
        self
    }

    /// Encrypts the introduction points for these clients, by default for nobody.
    ///
    /// The keys for it are derived when the descriptor is signed; see [`Authorization`].
    ///
    /// ```
    /// use onionweave_desc::v2::{Authorization, ClientKeys, Draft, ServiceKey, UnverifiedDescriptor};
    /// use onionweave_ring::UnixTime;
    /// use onionweave_ring::v2::{Replica, TimePeriod};
    ///
    /// # let text = include_bytes!("../../testdata/plain/descriptor-rf75jzdtba4wnd6v.txt");
    /// # let points = UnverifiedDescriptor::parse(text)?.verify()?.introduction_points()?;
    /// let key = ServiceKey::from_pem(include_str!("../../testdata/basic/private_key"))?;
    /// let clients = ClientKeys::parse(include_bytes!("../../testdata/basic/client_keys"))?;
    /// let cookies: Vec<_> = clients.iter().map(|client| client.cookie().clone()).collect();
    ///
    /// let now = UnixTime::from_secs(1_795_352_400);
    /// let period = TimePeriod::at(&key.service_id(), now);
    /// let draft = Draft::new(points.clone()).authorization(Authorization::Basic(cookies.clone()));
    /// let descriptor = draft.sign(&key, period, Replica::ALL[0], now)?;
    ///
    /// assert!(descriptor.introduction_points().is_err());
    /// for cookie in &cookies {
    ///     assert_eq!(descriptor.introduction_points_for(cookie)?, points);
    /// }
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    #[must_use]
    pub fn authorization(mut self, authorization: Authorization) -> Self {
        self.authorization = Some(authorization);
        self
    }

    /// Writes and signs the descriptor that directories keep for `replica` in `period`.
    ///
    /// With stealth authorization `key` is the client's, and the descriptor ID depends on its
    /// cookie. The time is taken as it is. Services round it down to the hour, and C Tor keeps the
    /// later of two.
    ///
    /// # Errors
    /// [`Error::IntroductionPointCount`] unless there are 1 to 10 introduction points,
    /// [`Error::RepeatedRelay`] if two are at the same relay, [`Error::ProtocolVersions`],
    /// [`Error::TooLong`] beyond 20 KiB, and [`Error::SigningFailed`]; with authorization also
    /// [`Error::NoClients`], [`Error::TooManyClients`] and [`Error::ZeroCookie`].
    pub fn sign(
        &self,
        key: &ServiceKey,
        period: TimePeriod,
        replica: Replica,
        publication_time: UnixTime,
    ) -> Result<Descriptor, Error> {
        self.check()?;
        let id_cookie = self.authorization.as_ref().and_then(Authorization::id_cookie);
        let secret_id_part = SecretIdPart::new(period, replica, id_cookie);
        let descriptor_id = DescriptorId::new(&key.service_id(), &secret_id_part);

        let mut text = format!(
            "rendezvous-service-descriptor {descriptor_id}\n\
             version 2\n\
             permanent-key\n{}\
             secret-id-part {secret_id_part}\n\
             publication-time {publication_time}\n\
             protocol-versions {}\n\
             introduction-points\n",
            key.public_key(),
            self.versions_text(),
        );
        let mut points = self.points_text().into_bytes();
        if let Some(authorization) = &self.authorization {
            points = authorization.encrypt(&points, &text, key)?;
        }
        base64::encode_object("MESSAGE", &points, &mut text);
        text.push_str("signature\n");
        let signed_len = text.len();
        // C Tor reads and verifies what it wrote before it publishes it (rendcommon.c:678). Here
        // nothing is read again: every back end checks a signature before it lets go of it.
        let signature = key.sign_digest(&Sha1::digest(&text).into())?;
        base64::encode_object("SIGNATURE", &signature, &mut text);
        if text.len() > MAX_DESCRIPTOR_LEN {
            return Err(Error::TooLong {
                size: text.len(),
                limit: MAX_DESCRIPTOR_LEN,
            });
        }
        Ok(Descriptor {
            text: text.into_bytes(),
            signed_len,
            descriptor_id,
            public_key: key.public_key().clone(),
            secret_id_part,
            publication_time,
            protocol_versions: self.protocol_versions.clone(),
            introduction_points: Some(points),
        })
    }

    fn check(&self) -> Result<(), Error> {
        let found = self.points.len();
        if !(1..=MAX_INTRODUCTION_POINTS).contains(&found) {
            return Err(Error::IntroductionPointCount {
                found,
                limit: MAX_INTRODUCTION_POINTS,
            });
        }
        let mut relays = BTreeSet::new();
        if let Some(point) = self.points.iter().find(|point| !relays.insert(point.identity())) {
            return Err(Error::RepeatedRelay(point.identity()));
        }
        let versions = &self.protocol_versions;
        if versions.is_empty() || versions.iter().any(|version| *version > MAX_PROTOCOL_VERSION) {
            return Err(Error::ProtocolVersions(versions.clone()));
        }
        if let Some(authorization) = &self.authorization {
            authorization.check()?;
        }
        // Before memory is set aside for them; the exact size is checked in the end.
        if self.trailing_blank_lines > MAX_DESCRIPTOR_LEN {
            return Err(Error::TooLong {
                size: self.trailing_blank_lines,
                limit: MAX_DESCRIPTOR_LEN,
            });
        }
        Ok(())
    }

    fn versions_text(&self) -> String {
        let versions: Vec<String> = self.protocol_versions.iter().map(u8::to_string).collect();
        versions.join(",")
    }

    fn points_text(&self) -> String {
        let mut text = String::new();
        for point in &self.points {
            // Writing to a string cannot fail.
            let _ = write!(text, "{point}");
        }
        // One newline ends the list (rendcommon.c:271).
        text.extend(std::iter::repeat_n('\n', 1 + self.trailing_blank_lines));
        text
    }
}
