//! Writing descriptors, as C Tor writes them. References are to feature/hs/hs_descriptor.c.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use data_encoding::{BASE64, BASE64_NOPAD};
use onionweave_ring::UnixTime;

use super::certificate::{self, Certificate};
use super::clients::ClientKey;
use super::error::Problem;
use super::layers::{Layer, LayerKey};
use super::outer::{Outer, SIGNATURE_PREFIX};
use super::{Header, IntroductionPoint, MAX_DESCRIPTOR_LEN, MAX_INTRODUCTION_POINTS, PeriodKeys, SealedDescriptor};
use crate::base64;
use crate::error::Error;

/// Number to whose multiple the middle layer is padded, in bytes:
/// `HS_DESC_SUPERENC_PLAINTEXT_PAD_MULTIPLE` (hs_descriptor.h:49).
const PAD_MULTIPLE: usize = 10_000;

/// Lifetime that every descriptor announces, in minutes: `HS_DESC_DEFAULT_LIFETIME`
/// (hs_descriptor.h:30).
const LIFETIME_MINUTES: u32 = 180;

/// A descriptor to be written: its introduction points, the lines in front of them, and who may
/// read them.
///
/// ```
/// use onionweave_desc::v3::{Draft, PeriodKeys, ServiceKey, UnverifiedDescriptor};
/// use onionweave_ring::UnixTime;
/// use onionweave_ring::v3::{Period, Subcredential};
///
/// # let text = include_bytes!("../../testdata/v3/snapshot-11/plain.txt");
/// # let now = UnixTime::from_secs(1_795_350_166);
/// # let sealed = UnverifiedDescriptor::parse(text)?.verify(now)?;
/// # let instance = ServiceKey::from_file(include_bytes!("../../testdata/v3/keys/plain/hs_ed25519_secret_key"))?;
/// # let descriptor = sealed.clone().open(&Subcredential::new(&instance.address(), &sealed.blinded_id()), None)?;
/// // The points of an instance, in a descriptor of the front service.
/// let front = ServiceKey::from_seed(&[7; 32]);
/// let mut keys = PeriodKeys::new(&front, Period::new(now.as_secs() / 86_400, 1440));
/// let counter = keys.revision_counter(now, 0..=u64::MAX)?;
/// let draft = Draft::new(descriptor.points().to_vec()).header(descriptor.header().clone());
/// assert!(draft.clone().size_limit(1000).sign(&mut keys, now, counter, 0).is_err());
/// let signed = draft.sign(&mut keys, now, counter, 0)?;
///
/// assert_eq!(signed.size_class(), sealed.size_class(), "as long as the instance's own");
/// let read = UnverifiedDescriptor::parse(signed.text())?.verify_for(&keys.blinded_id(), now)?;
/// assert_eq!(read.open(&keys.subcredential(), None)?.points(), descriptor.points());
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    points: Vec<IntroductionPoint>,
    header: Header,
    clients: Option<Vec<ClientKey>>,
    limit: usize,
}

impl Draft {
    /// A descriptor with these points, in this order, for everybody.
    pub fn new(points: Vec<IntroductionPoint>) -> Self {
        Self {
            points,
            header: Header::default(),
            clients: None,
            limit: MAX_DESCRIPTOR_LEN,
        }
    }

    /// Sets the lines in front of the points.
    #[must_use]
    pub fn header(mut self, header: Header) -> Self {
        self.header = header;
        self
    }

    /// Restricts the introduction points to these clients.
    ///
    /// ```
    /// use onionweave_desc::v3::{ClientSecretKey, Draft, PeriodKeys, Problem, ServiceKey};
    /// # use onionweave_desc::v3::{IntroductionPoint, LinkSpecifiers};
    /// use onionweave_ring::UnixTime;
    /// use onionweave_ring::v3::Period;
    ///
    /// # let specifiers = LinkSpecifiers::from_bytes(&[&[1, 2, 20][..], &[7; 20]].concat())?;
    /// # let point = IntroductionPoint::new(specifiers, [1; 32], [2; 32], *ClientSecretKey::from([9; 32]).public_key().as_bytes());
    /// let mut keys = PeriodKeys::new(&ServiceKey::from_seed(&[7; 32]), Period::new(20_780, 1440));
    /// let now = UnixTime::from_secs(20_780 * 86_400);
    /// let alice = ClientSecretKey::from([1; 32]);
    /// let draft = Draft::new(vec![point]).clients(vec![alice.public_key()]);
    /// let signed = draft.sign(&mut keys, now, 1, 0)?;
    ///
    /// let subcredential = keys.subcredential();
    /// assert!(signed.clone().open(&subcredential, Some(&alice))?.is_restricted());
    /// let error = signed.clone().open(&subcredential, None).unwrap_err();
    /// assert_eq!(error, Problem::ClientKeyNeeded.into());
    /// let bob = ClientSecretKey::from([2; 32]);
    /// assert_eq!(signed.open(&subcredential, Some(&bob)).unwrap_err(), Problem::NotAuthorized.into());
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    #[must_use]
    pub fn clients(mut self, clients: Vec<ClientKey>) -> Self {
        self.clients = Some(clients);
        self
    }

    /// Sets the length that the text must stay below, in bytes: the consensus parameter
    /// `HSV3MaxDescriptorSize`, by default [`MAX_DESCRIPTOR_LEN`].
    #[must_use]
    pub fn size_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Encrypts and signs the descriptor as C Tor does at `now` (`desc_encode_v3`, :1063).
    ///
    /// All texts of one round should have the same counter, by which clients tell the newer of two.
    /// `variant` makes other bytes of the same draft: C Tor draws fresh salts for each directory.
    /// Everything that is drawn there is derived here, from the private key and all that is
    /// written.
    ///
    /// # Errors
    /// [`Problem::NoPoints`], [`Problem::TooManyPoints`], [`Problem::NoIdentity`],
    /// [`Problem::RepeatedRelay`], [`Problem::OffCurve`], [`Problem::NoClients`],
    /// [`Problem::RepeatedClient`], and [`Problem::TooLong`].
    pub fn sign(
        &self,
        keys: &mut PeriodKeys,
        now: UnixTime,
        revision_counter: u64,
        variant: u64,
    ) -> Result<SealedDescriptor, Error> {
        self.check()?;
        let (clients, cookie) = keys.auth_clients(self.clients.as_deref());
        let inner = self.inner_text(keys, now)?;
        let (counter_bytes, variant_bytes) = (revision_counter.to_be_bytes(), variant.to_be_bytes());
        let cookie_bytes = cookie.as_ref().map_or(&[][..], |cookie| cookie.as_slice());
        let secrets = keys.text_secrets(&[&inner[..], cookie_bytes, &counter_bytes, &variant_bytes]);

        let (subcredential, blinded_key) = (keys.subcredential(), *keys.blinded_key());
        let mut key = LayerKey {
            layer: Layer::Encrypted,
            blinded_key: &blinded_key,
            cookie: cookie.as_ref(),
            subcredential: &subcredential,
            revision_counter,
        };
        let encrypted = key.encrypt(&inner, &secrets.bytes("inner salt"));

        // `get_outer_encrypted_layer_plaintext` (:856)
        let mut middle = String::from("desc-auth-type x25519\ndesc-auth-ephemeral-key ");
        BASE64.encode_append(&keys.ephemeral_key(), &mut middle);
        middle.push('\n');
        for client in &clients {
            // `get_auth_client_str` (:689)
            middle.push_str("auth-client ");
            BASE64_NOPAD.encode_append(&client.id, &mut middle);
            middle.push(' ');
            BASE64_NOPAD.encode_append(&client.iv, &mut middle);
            middle.push(' ');
            BASE64_NOPAD.encode_append(&client.encrypted_cookie, &mut middle);
            middle.push('\n');
        }
        middle.push_str("encrypted\n");
        base64::encode_object("MESSAGE", &encrypted, &mut middle);
        // No newline ends this layer (:893).
        middle.pop();
        let mut middle = middle.into_bytes();
        middle.resize(middle.len().next_multiple_of(PAD_MULTIPLE), 0);
        key.layer = Layer::Superencrypted;
        key.cookie = None;
        let superencrypted = key.encrypt(&middle, &secrets.bytes("middle salt"));

        let mut text =
            format!("hs-descriptor 3\ndescriptor-lifetime {LIFETIME_MINUTES}\ndescriptor-signing-key-cert\n");
        base64::encode_object(certificate::LABEL, keys.signing_key_certificate(now), &mut text);
        // Writing to a string cannot fail.
        let _ = write!(text, "revision-counter {revision_counter}\nsuperencrypted\n");
        base64::encode_object("MESSAGE", &superencrypted, &mut text);
        let message = [SIGNATURE_PREFIX, text.as_bytes()].concat();
        text.push_str("signature ");
        BASE64_NOPAD.encode_append(&keys.signing().sign(&message), &mut text);
        text.push('\n');

        let (size, limit) = (text.len(), self.limit);
        if size >= limit {
            return Err(Problem::TooLong { size, limit }.into());
        }
        let certificate = Certificate {
            certified: *keys.signing().public(),
            signer: blinded_key,
            expires: certificate::expiry(now),
        };
        let outer = Outer {
            text: text.into_bytes(),
            lifetime_secs: LIFETIME_MINUTES * 60,
            revision_counter,
            superencrypted,
        };
        Ok(SealedDescriptor::new(outer, certificate, now))
    }

    fn check(&self) -> Result<(), Problem> {
        let (found, limit) = (self.points.len(), MAX_INTRODUCTION_POINTS);
        if found == 0 {
            return Err(Problem::NoPoints);
        }
        if found > limit {
            return Err(Problem::TooManyPoints { found, limit });
        }
        let mut relays = BTreeSet::new();
        for point in &self.points {
            let relay = point.rsa_identity().ok_or(Problem::NoIdentity)?;
            if !relays.insert(relay) {
                return Err(Problem::RepeatedRelay(relay));
            }
        }
        if let Some(clients) = &self.clients {
            if clients.is_empty() {
                return Err(Problem::NoClients);
            }
            if clients.iter().collect::<BTreeSet<_>>().len() < clients.len() {
                return Err(Problem::RepeatedClient);
            }
        }
        Ok(())
    }

    /// `get_inner_encrypted_layer_plaintext` (:760)
    fn inner_text(&self, keys: &mut PeriodKeys, now: UnixTime) -> Result<Vec<u8>, Problem> {
        let mut text = Vec::new();
        self.header.write(&mut text);
        let mut points = String::new();
        for point in &self.points {
            keys.write_point(point, now, &mut points)?;
        }
        text.extend_from_slice(points.as_bytes());
        Ok(text)
    }
}
