//! Everything that a service's descriptors of one period share.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use onionweave_ring::UnixTime;
use onionweave_ring::v3::{Address, BlindedId, Period, Subcredential};
use zeroize::Zeroizing;

use super::ServiceKey;
use super::certificate::{self, Kind};
use super::clients::ClientKey;
use super::counter::Counter;
use super::crypto::{self, KeyPair};
use super::error::Problem;
use super::layers::{AuthClient, Cookie};
use super::point::{Certificates, IntroductionPoint};
use crate::error::Error;
use crate::secrets::Secrets;

/// Names what is derived here, so that nothing else that is derived from a service's key can be the
/// same.
const DERIVATION: &[u8] = b"onionweave-desc v3 period";

/// Number of which the `auth-client` lines are a multiple: `HS_DESC_AUTH_CLIENT_MULTIPLE`
/// (feature/hs/hs_descriptor.h:70).
const AUTH_CLIENT_MULTIPLE: usize = 16;

/// Keys and fake clients of one service in one period.
///
/// C Tor draws them when it makes a period's first descriptor, and keeps them as long as there are
/// any (`build_service_descriptor`, feature/hs/hs_service.c:2065). Here they are derived from the
/// blinded private key: the same after a restart, and to everybody else as good as random.
/// Certificates that were made are kept for the hour in which they can be used again, so that
/// writing takes `&mut`.
///
/// ```
/// use onionweave_desc::v3::{PeriodKeys, ServiceKey};
/// use onionweave_ring::UnixTime;
/// use onionweave_ring::v3::{Period, Subcredential};
///
/// let key = ServiceKey::from_seed(&[7; 32]);
/// let mut keys = PeriodKeys::new(&key, Period::new(20_780, 1440));
/// assert_eq!((keys.address(), keys.period()), (key.address(), Period::new(20_780, 1440)));
/// assert_eq!(keys.blinded_id(), keys.address().blinded_id(keys.period()));
/// assert_eq!(keys.subcredential(), Subcredential::new(&keys.address(), &keys.blinded_id()));
///
/// let noon = UnixTime::from_secs(20_780 * 86_400 + 43_200);
/// assert!(keys.life().contains(&noon));
/// let counter = keys.revision_counter(noon, 0..=u64::MAX)?;
/// let later = UnixTime::from_secs(noon.as_secs() + 1);
/// assert!(keys.revision_counter(later, 0..=u64::MAX)? > counter);
///
/// // What another published is outbid, and what another may publish is left alone.
/// assert_eq!(keys.revision_counter(noon, counter + 5..=u64::MAX)?, counter + 5);
/// assert!(keys.revision_counter(noon, 0..=counter - 1).is_err());
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
pub struct PeriodKeys {
    period: Period,
    address: Address,
    blinded: KeyPair,
    subcredential: Subcredential,
    signing: KeyPair,
    ephemeral_secret: Zeroizing<[u8; 32]>,
    secrets: Secrets,
    counter: Counter,
    /// Certificates of points, of one hour.
    certificates: BTreeMap<IntroductionPoint, Certificates>,
    /// Start of that hour.
    hour: UnixTime,
    /// Certificate of the signing key, and the second at which it expires.
    signing_key_certificate: (UnixTime, Vec<u8>),
}

impl PeriodKeys {
    /// Derives the keys of a service for a period.
    pub fn new(key: &ServiceKey, period: Period) -> Self {
        let address = key.address();
        let blinded = key.blind(period);
        let subcredential = Subcredential::new(&address, &BlindedId::from(*blinded.public()));
        let secrets = Secrets::derive(DERIVATION, [blinded.secret().as_slice()]);
        Self {
            period,
            address,
            subcredential,
            signing: KeyPair::from_seed(&secrets.bytes("signing key")),
            ephemeral_secret: secrets.bytes("ephemeral key"),
            counter: Counter::new(blinded.secret()),
            blinded,
            secrets,
            certificates: BTreeMap::new(),
            hour: UnixTime::from_secs(0),
            signing_key_certificate: (UnixTime::from_secs(0), Vec::new()),
        }
    }

    /// The period.
    pub fn period(&self) -> Period {
        self.period
    }

    /// The address of the service.
    pub fn address(&self) -> Address {
        self.address
    }

    /// The blinded key, under which directories keep the descriptors.
    pub fn blinded_id(&self) -> BlindedId {
        BlindedId::from(*self.blinded.public())
    }

    /// The secret with which the outer layer is encrypted, known to everybody who knows the
    /// address.
    pub fn subcredential(&self) -> Subcredential {
        self.subcredential
    }

    /// The seconds at which descriptors of this period are written: from the shared random value
    /// before the period on, which is half a period before it starts, for two periods. Who still
    /// has the consensus before the next value, which may be an eighth of a period old, goes on as
    /// long.
    pub fn life(&self) -> RangeInclusive<UnixTime> {
        let length = u64::from(self.period.minutes()) * 60;
        let start = self.period.number().saturating_mul(length);
        let last = start.saturating_add(2 * length + length / 8);
        UnixTime::from_secs(start)..=UnixTime::from_secs(last)
    }

    /// The revision counter that C Tor gives a descriptor of this period which it writes at `now`
    /// (`set_descriptor_revision_counter`, hs_service.c:3218). A counter below `bounds` is raised
    /// to their start.
    ///
    /// # Errors
    /// [`Problem::OutsidePeriod`] if nobody writes such descriptors at that time, and
    /// [`Problem::Counter`] if the counter lies beyond `bounds`.
    pub fn revision_counter(&mut self, now: UnixTime, bounds: RangeInclusive<u64>) -> Result<u64, Error> {
        let life = self.life();
        let (from, until) = (*life.start(), *life.end());
        if !life.contains(&now) {
            return Err(Problem::OutsidePeriod { now, from, until }.into());
        }
        let (floor, ceiling) = bounds.into_inner();
        let counter = self.counter.at(now.as_secs() - from.as_secs()).max(floor);
        if counter > ceiling {
            return Err(Problem::Counter {
                counter,
                floor,
                ceiling,
            }
            .into());
        }
        Ok(counter)
    }

    pub(super) fn blinded_key(&self) -> &[u8; 32] {
        self.blinded.public()
    }

    pub(super) fn signing(&self) -> &KeyPair {
        &self.signing
    }

    /// Public half of the key that is exchanged with authorized clients.
    pub(super) fn ephemeral_key(&self) -> [u8; 32] {
        crypto::x25519_public(&self.ephemeral_secret)
    }

    /// Bytes for one text: fresh whenever anything differs.
    pub(super) fn text_secrets(&self, parts: &[&[u8]]) -> Secrets {
        let key = self.secrets.bytes::<32>("texts");
        Secrets::derive(DERIVATION, [key.as_slice()].into_iter().chain(parts.iter().copied()))
    }

    /// Certificate of the signing key: `build_desc_signing_key_cert` (hs_service.c:1787 of tor
    /// 0.4.8).
    pub(super) fn signing_key_certificate(&mut self, now: UnixTime) -> &[u8] {
        let expires = certificate::expiry(now);
        if self.signing_key_certificate.0 != expires {
            let signed = self.signing.public();
            let certificate = certificate::write(Kind::Signing, signed, &self.blinded, now);
            self.signing_key_certificate = (expires, certificate.to_vec());
        }
        &self.signing_key_certificate.1
    }

    /// Appends a point with its certificates.
    pub(super) fn write_point(
        &mut self,
        point: &IntroductionPoint,
        now: UnixTime,
        out: &mut String,
    ) -> Result<(), Problem> {
        let hour = now.start_of_hour();
        if self.hour != hour {
            self.hour = hour;
            self.certificates.clear();
        }
        if let Some(certificates) = self.certificates.get(point) {
            point.write(certificates, out);
            return Ok(());
        }
        let certificates = Certificates::new(point, &self.signing, now)?;
        point.write(&certificates, out);
        self.certificates.insert(point.clone(), certificates);
        Ok(())
    }

    /// The `auth-client` lines, and the cookie if there are clients
    /// (`build_service_desc_superencrypted`, hs_service.c:1853).
    ///
    /// Everything depends on the whole list of clients. If only the cookie did, each client's key
    /// stream would encrypt two cookies when the list changes, and a client that was shut
    /// out could compute the new one.
    pub(super) fn auth_clients(&self, clients: Option<&[ClientKey]>) -> (Vec<AuthClient>, Option<Cookie>) {
        let real = clients.unwrap_or_default();
        let list: Vec<u8> = real.iter().flat_map(|client| *client.as_bytes()).collect();
        let key = self.secrets.bytes_of::<32>("clients", &list);
        let secrets = Secrets::derive(DERIVATION, [key.as_slice()]);
        let cookie = clients.map(|_| secrets.bytes("cookie"));

        let mut lines = Vec::new();
        if let Some(cookie) = &cookie {
            for client in real {
                let iv = *secrets.bytes_of("initialization vector", client.as_bytes());
                let secret = &self.ephemeral_secret;
                lines.push(AuthClient::new(&self.subcredential, client, secret, cookie, iv));
            }
        }
        let count = real.len().max(1).next_multiple_of(AUTH_CLIENT_MULTIPLE);
        for number in lines.len()..count {
            let number = (number as u64).to_be_bytes();
            lines.push(AuthClient {
                id: *secrets.bytes_of("fake name", &number),
                iv: *secrets.bytes_of("fake initialization vector", &number),
                encrypted_cookie: *secrets.bytes_of("fake cookie", &number),
            });
        }
        // In an order that says nothing: `smartlist_shuffle` at the end.
        lines.sort_by_cached_key(|line| *secrets.bytes_of::<16>("order", &line.iv));
        (lines, cookie)
    }
}

impl fmt::Debug for PeriodKeys {
    /// Writes what everybody may know.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeriodKeys")
            .field("address", &self.address)
            .field("period", &self.period)
            .finish_non_exhaustive()
    }
}
