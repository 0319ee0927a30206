//! From a service, a day and a replica to a place on the ring.

use core::fmt;
use core::str::FromStr;

use sha1::{Digest as _, Sha1};

use super::{DIRECTORIES_PER_REPLICA, DescriptorCookie, ServiceId, TimePeriod};
use crate::{Error, Fingerprint, HashRing, text};

/// Number of one of a service's two descriptors of a time period: 0 or 1.
///
/// ```
/// use onionweave_ring::v2::Replica;
///
/// assert_eq!(Replica::ALL.map(Replica::number), [0, 1]);
/// assert!(Replica::try_from(2).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "u8", into = "u8")
)]
pub struct Replica(
    /// `< 2`
    u8,
);

impl Replica {
    /// Both replicas, in order.
    ///
    /// ```
    /// use onionweave_ring::v2::Replica;
    ///
    /// assert_eq!(Replica::ALL.map(u8::from), [0, 1]);
    /// ```
    pub const ALL: [Self; 2] = [Self(0), Self(1)];

    /// 0 or 1.
    ///
    /// ```
    /// use onionweave_ring::v2::Replica;
    ///
    /// assert_eq!(Replica::ALL[1].number(), 1);
    /// ```
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// Fails for anything but 0 and 1.
impl TryFrom<u8> for Replica {
    type Error = Error;

    fn try_from(number: u8) -> Result<Self, Error> {
        if usize::from(number) < Self::ALL.len() {
            Ok(Self(number))
        } else {
            Err(Error::Replica(number))
        }
    }
}

impl From<Replica> for u8 {
    fn from(replica: Replica) -> Self {
        replica.0
    }
}

#[cfg(feature = "arbitrary")]
impl<'a> arbitrary::Arbitrary<'a> for Replica {
    fn arbitrary(input: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        input.choose(&Self::ALL).copied()
    }
}

/// The replica's number.
impl fmt::Display for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Digest that a service adds to its identifier to get a descriptor ID: that of a period, a replica
/// and perhaps a cookie.
///
/// Descriptors carry it, so that directories can recompute the ID. Its name is history: without a
/// cookie there is nothing secret about it.
///
/// ```
/// use onionweave_ring::v2::{Replica, SecretIdPart, TimePeriod};
///
/// let [first, _] = Replica::ALL;
/// let part = SecretIdPart::new(TimePeriod::new(20780), first, None);
/// assert_eq!(part, part.to_string().parse()?);
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct SecretIdPart([u8; 20]);

impl SecretIdPart {
    /// SHA-1 of the period's number in four bytes, most significant first, then the cookie if there
    /// is one, then the replica's number in one byte (`get_secret_id_part_bytes`,
    /// feature/rend/rendcommon.c:105).
    ///
    /// ```
    /// use onionweave_ring::v2::{DescriptorCookie, Replica, SecretIdPart, TimePeriod};
    ///
    /// let (period, cookie) = (TimePeriod::new(20_780), DescriptorCookie::from([7; 16]));
    /// let [first, _] = Replica::ALL;
    /// let open = SecretIdPart::new(period, first, None);
    /// let stealth = SecretIdPart::new(period, first, Some(&cookie));
    /// assert_ne!(open, stealth);
    /// ```
    pub fn new(period: TimePeriod, replica: Replica, cookie: Option<&DescriptorCookie>) -> Self {
        let mut digest = Sha1::new_with_prefix(period.number().to_be_bytes());
        if let Some(cookie) = cookie {
            digest.update(cookie.as_bytes());
        }
        digest.update([replica.number()]);
        Self(digest.finalize().into())
    }

    /// The 20 bytes of the digest.
    ///
    /// ```
    /// use onionweave_ring::v2::SecretIdPart;
    ///
    /// assert_eq!(SecretIdPart::from([7; 20]).as_bytes(), &[7; 20]);
    /// ```
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl From<[u8; 20]> for SecretIdPart {
    fn from(digest: [u8; 20]) -> Self {
        Self(digest)
    }
}

/// Thirty-two lower-case base32 characters, and no others (feature/rend/rendparse.c:174).
impl FromStr for SecretIdPart {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text::decode("secret ID part", &text::BASE32_LOWER, text).map(Self)
    }
}

/// Thirty-two lower-case base32 characters.
impl fmt::Display for SecretIdPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::fmt_base32(&self.0, f)
    }
}

impl fmt::Debug for SecretIdPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretIdPart({self})")
    }
}

text::serde_as_text!(SecretIdPart, "a secret ID part: 32 characters of lower-case base32");

/// The place of a descriptor on the ring, and the name under which clients ask for it.
///
/// ```
/// use onionweave_ring::v2::{DescriptorId, Replica, ServiceId, TimePeriod};
///
/// // A service of the public network, as clients asked for it in February 2017.
/// let service: ServiceId = "nlh7u7f6gv77343w".parse()?;
/// let id = DescriptorId::of(&service, TimePeriod::new(17214), Replica::ALL[0]);
/// assert_eq!(id.to_string(), "lhrcprndbm75osvtwkzuo5pdj7666cz7");
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct DescriptorId([u8; 20]);

impl DescriptorId {
    /// SHA-1 of the service's identifier, then the secret ID part (`rend_get_descriptor_id_bytes`,
    /// feature/rend/rendcommon.c:88).
    ///
    /// ```
    /// use onionweave_ring::v2::{DescriptorId, Replica, SecretIdPart, ServiceId, TimePeriod};
    ///
    /// let service: ServiceId = "nlh7u7f6gv77343w".parse()?;
    /// let part = SecretIdPart::new(TimePeriod::new(17214), Replica::ALL[0], None);
    /// assert_eq!(DescriptorId::new(&service, &part).to_string(), "lhrcprndbm75osvtwkzuo5pdj7666cz7");
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    pub fn new(service: &ServiceId, secret_id_part: &SecretIdPart) -> Self {
        let digest = Sha1::new_with_prefix(service.as_bytes()).chain_update(secret_id_part.as_bytes());
        Self(digest.finalize().into())
    }

    /// The ID of a service without stealth authorization.
    ///
    /// ```
    /// use onionweave_ring::v2::{DescriptorId, Replica, ServiceId, TimePeriod};
    ///
    /// let service: ServiceId = "6r7x5o465oo27s35".parse()?;
    /// let id = DescriptorId::of(&service, TimePeriod::new(17219), Replica::ALL[1]);
    /// assert_eq!(id.to_string(), "hrzcfzm3ygt4qf2n4r3hlfiepvq4hxe6");
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    pub fn of(service: &ServiceId, period: TimePeriod, replica: Replica) -> Self {
        Self::new(service, &SecretIdPart::new(period, replica, None))
    }

    /// The 20 bytes of the digest.
    ///
    /// ```
    /// use onionweave_ring::v2::DescriptorId;
    ///
    /// assert_eq!(DescriptorId::from([7; 20]).as_bytes(), &[7; 20]);
    /// ```
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// The directories that hold this descriptor, in the order of the ring: at most three, fewer
    /// only if the ring has fewer, none if it is empty (`hid_serv_get_responsible_directories`,
    /// feature/rend/rendcommon.c:848).
    ///
    /// Nothing keeps a directory from being responsible for both replicas; it then counts for each.
    ///
    /// ```
    /// use onionweave_ring::v2::DescriptorId;
    /// use onionweave_ring::{Fingerprint, HashRing};
    ///
    /// let ring = HashRing::new([10, 20, 30, 40].map(|byte| Fingerprint::from([byte; 20])));
    /// let responsible = DescriptorId::from([25; 20]).responsible(&ring);
    /// assert!(responsible.eq([30, 40, 10].map(|byte| Fingerprint::from([byte; 20]))));
    /// ```
    pub fn responsible<'a>(&self, ring: &'a HashRing) -> impl Iterator<Item = Fingerprint> + use<'a> {
        ring.successors(&self.0).take(DIRECTORIES_PER_REPLICA)
    }
}

impl From<[u8; 20]> for DescriptorId {
    fn from(digest: [u8; 20]) -> Self {
        Self(digest)
    }
}

/// Thirty-two lower-case base32 characters, and no others (`rend_valid_descriptor_id`,
/// feature/rend/rendcommon.c:739).
impl FromStr for DescriptorId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text::decode("v2 descriptor ID", &text::BASE32_LOWER, text).map(Self)
    }
}

/// Thirty-two lower-case base32 characters.
impl fmt::Display for DescriptorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::fmt_base32(&self.0, f)
    }
}

impl fmt::Debug for DescriptorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DescriptorId({self})")
    }
}

text::serde_as_text!(DescriptorId, "a v2 descriptor ID: 32 characters of lower-case base32");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Descriptor IDs of the public network in 2017, from logs that operators posted in
    /// onionbalance's issues 47 and 56.
    #[test]
    fn public_network() {
        for (service, period, replica, id) in [
            ("nlh7u7f6gv77343w", 17214, 0, "lhrcprndbm75osvtwkzuo5pdj7666cz7"),
            ("6r7x5o465oo27s35", 17219, 1, "hrzcfzm3ygt4qf2n4r3hlfiepvq4hxe6"),
            ("rye3z4f56xhb2v6u", 17219, 1, "n77cii7jmosxve44gysumutx7mb6xdgx"),
            ("orjvorarwlrphzso", 17219, 0, "gijvtn5tl2j3hqpdwmlgimywwl5i6kfn"),
            ("ufqzb63xdsm3avgl", 17219, 0, "2stgic66lbo4vljwgicuvflkscbv7ci4"),
        ] {
            let service: ServiceId = service.parse().unwrap();
            let replica = Replica::try_from(replica).unwrap();
            let computed = DescriptorId::of(&service, TimePeriod::new(period), replica);
            assert_eq!(computed.to_string(), id, "{service}");
        }
    }

    /// In the same logs: Tor names the wrong ID in some events, computed with a cookie of zeros.
    #[test]
    fn public_network_with_a_cookie_of_zeros() {
        let service: ServiceId = "6r7x5o465oo27s35".parse().unwrap();
        let cookie = DescriptorCookie::from([0; 16]);
        let part = SecretIdPart::new(TimePeriod::new(17219), Replica(0), Some(&cookie));
        let id = DescriptorId::new(&service, &part);
        assert_eq!(id.to_string(), "53o726mz6jjwjwrtiujbqf6uq6gimkuy");
    }

    #[test]
    fn a_small_ring_has_fewer_directories() {
        let id = DescriptorId([20; 20]);
        for (bytes, expected) in [
            (&[][..], &[][..]),
            (&[5], &[5]),
            (&[5, 20], &[20, 5]),
            (&[5, 20, 21], &[20, 21, 5]),
            (&[5, 20, 21, 22], &[20, 21, 22]),
            (&[1, 2, 3, 4], &[1, 2, 3]),
        ] {
            let ring: HashRing = bytes.iter().map(|byte| Fingerprint::from([*byte; 20])).collect();
            let responsible: Vec<u8> = id.responsible(&ring).map(|found| found.as_bytes()[0]).collect();
            assert_eq!(responsible, expected);
        }
    }

    #[test]
    fn only_two_replicas_exist() {
        assert_eq!(Replica::try_from(0), Ok(Replica::ALL[0]));
        assert_eq!(Replica::try_from(1), Ok(Replica::ALL[1]));
        for number in 2..=u8::MAX {
            assert_eq!(Replica::try_from(number), Err(Error::Replica(number)));
        }
    }

    #[test]
    fn only_lower_case_is_read() {
        let lower = "lhrcprndbm75osvtwkzuo5pdj7666cz7";
        assert!(lower.parse::<DescriptorId>().is_ok());
        assert!(lower.parse::<SecretIdPart>().is_ok());
        let error = lower.to_uppercase().parse::<DescriptorId>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "v2 descriptor ID: byte 0 is not lower-case base32 (a-z, 2-7)"
        );
        assert!(lower.to_uppercase().parse::<SecretIdPart>().is_err());
        assert!(lower.trim_end_matches('7').parse::<DescriptorId>().is_err());
    }

    proptest! {
        #[test]
        fn round_trips(digest: [u8; 20]) {
            let id = DescriptorId::from(digest);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            let part = SecretIdPart::from(digest);
            prop_assert_eq!(part.to_string().parse(), Ok(part));
        }

        /// Three directories of any ring, by looking at all of them.
        #[test]
        fn responsible_are_the_nearest_in_front(
            digest: [u8; 20],
            ring in prop::collection::btree_set(any::<[u8; 20]>(), 0..12),
        ) {
            let id = DescriptorId(digest);
            let distance = |at: &[u8; 20]| {
                let mut borrow = 0;
                let mut distance = [0_u8; 20];
                for index in (0..20).rev() {
                    let difference = i16::from(at[index]) - i16::from(digest[index]) - borrow;
                    borrow = i16::from(difference < 0);
                    distance[index] = difference.rem_euclid(256).try_into().unwrap();
                }
                distance
            };
            let mut nearest: Vec<_> = ring.iter().copied().collect();
            nearest.sort_by_key(distance);
            nearest.truncate(3);

            let hash_ring: HashRing = ring.into_iter().map(Fingerprint::from).collect();
            let responsible: Vec<[u8; 20]> = id.responsible(&hash_ring).map(Into::into).collect();
            prop_assert_eq!(responsible, nearest);
        }
    }
}
