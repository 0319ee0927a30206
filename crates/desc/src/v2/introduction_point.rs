//! Introduction points in their written form (rend-spec-v2.txt, section 1.3;
//! feature/rend/rendparse.c:379).

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::LazyLock;

use data_encoding::{BASE32_NOPAD, BASE32_NOPAD_NOCASE};
use memchr::memmem::Finder;
use onionweave_ring::Fingerprint;

use super::{MAX_INTRODUCTION_POINTS, PublicKey};
use crate::bytes::{count_lines, parse_number, split_at};
use crate::error::{Error, KeyProblem, Malformed, Section};
use crate::tokens::{Arguments, Items, ObjectRule, Rule};

/// Every introduction point begins with this, up to the last byte.
pub(crate) const START: &[u8] = b"introduction-point ";

/// Keyword with which the next one begins.
static NEXT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\nintroduction-point "));

/// `ipo_token_table` (rendparse.c:41).
static RULES: [Rule; 5] = [
    Rule::once("introduction-point", Arguments::One, ObjectRule::None).first(),
    Rule::once("ip-address", Arguments::One, ObjectRule::None),
    Rule::once("onion-port", Arguments::One, ObjectRule::None),
    Rule::once("onion-key", Arguments::None, ObjectRule::Key),
    Rule::once("service-key", Arguments::None, ObjectRule::Key),
];
const IDENTITY: usize = 0;
const ADDRESS: usize = 1;
const PORT: usize = 2;
const ONION_KEY: usize = 3;
const SERVICE_KEY: usize = 4;

/// Characters of a relay identity in base32, `REND_INTRO_POINT_ID_LEN_BASE32`.
const IDENTITY_LEN: usize = 32;

/// A relay at which a service awaits introductions, and the key by which it tells introductions at
/// that relay from others.
///
/// [`Display`](fmt::Display) writes the text that C Tor writes (feature/rend/rendcommon.c:244),
/// with its final newline.
///
/// ```
/// use onionweave_desc::v2::{IntroductionPoint, UnverifiedDescriptor};
///
/// let text = include_bytes!("../../testdata/plain/descriptor-rf75jzdtba4wnd6v.txt");
/// let points = UnverifiedDescriptor::parse(text)?.verify()?.introduction_points()?;
/// let point = &points[0];
/// assert_eq!(point.address().to_string(), "127.0.0.1");
/// assert!(point.to_string().starts_with(&format!("introduction-point {}\n", point.base32_identity())));
///
/// // Made anew from its parts, and read from its text.
/// let (onion_key, service_key) = (point.onion_key().clone(), point.service_key().clone());
/// let made = IntroductionPoint::new(point.identity(), point.address(), point.port(), onion_key, service_key)?;
/// assert_eq!(IntroductionPoint::parse_list(made.to_string().as_bytes())?, [made]);
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IntroductionPoint {
    identity: Fingerprint,
    address: Ipv4Addr,
    port: u16,
    onion_key: PublicKey,
    service_key: PublicKey,
}

impl IntroductionPoint {
    /// An introduction point at the relay with this identity, IPv4 address, onion-routing port and
    /// onion key, for introductions encrypted to `service_key`.
    ///
    /// # Errors
    /// [`Error::PortZero`], and [`Error::Exponent`] if a key's exponent is not 65537: clients
    /// refuse the whole descriptor.
    pub fn new(
        identity: Fingerprint,
        address: Ipv4Addr,
        port: u16,
        onion_key: PublicKey,
        service_key: PublicKey,
    ) -> Result<Self, Error> {
        if port == 0 {
            return Err(Error::PortZero(identity));
        }
        for (key, name) in [(&onion_key, "onion"), (&service_key, "service")] {
            if !key.exponent_is_65537() {
                return Err(Error::Exponent {
                    relay: identity,
                    key: name,
                });
            }
        }
        Ok(Self {
            identity,
            address,
            port,
            onion_key,
            service_key,
        })
    }

    /// Reads a list of introduction points by the rules of clients
    /// (`rend_parse_introduction_points`, rendparse.c:379).
    ///
    /// # Errors
    /// [`Error::IntroductionPointCount`] unless there are 1 to 10, and [`Error::Malformed`] with a
    /// line of `text` if one of them is wrong: one bad point spoils the list.
    pub fn parse_list(text: &[u8]) -> Result<Vec<Self>, Error> {
        let mut points = Vec::new();
        let mut rest = text;
        while rest.starts_with(START) {
            let end = NEXT.find(rest).map_or(rest.len(), |newline| newline + 1);
            let (point, after) = split_at(rest, end);
            let lines_before = || count_lines(split_at(text, text.len() - rest.len()).0);
            points.push(Self::parse(point).map_err(|error| error.lines_later(lines_before()))?);
            rest = after;
        }
        match points.len() {
            1..=MAX_INTRODUCTION_POINTS => Ok(points),
            found => Err(Error::IntroductionPointCount {
                found,
                limit: MAX_INTRODUCTION_POINTS,
            }),
        }
    }

    fn parse(text: &[u8]) -> Result<Self, Error> {
        let items = Items::read(Section::IntroductionPoints, text, &RULES)?;
        let identity = parse_identity(items.get(IDENTITY)?.argument)
            .ok_or_else(|| items.bad_value(IDENTITY, "a relay identity of 32 base32 characters"))?;
        // `tor_inet_aton` (lib/net/inaddr.c:40) and the standard library agree: four numbers
        // without leading zeros.
        let address =
            parse_utf8(items.get(ADDRESS)?.argument).ok_or_else(|| items.bad_value(ADDRESS, "an IPv4 address"))?;
        let port = parse_number(items.get(PORT)?.argument, 1, 65535)
            .and_then(|port| u16::try_from(port).ok())
            .ok_or_else(|| items.bad_value(PORT, "a port from 1 to 65535"))?;
        let key = |index| {
            let key = PublicKey::from_der(&items.get(index)?.object)?;
            if !key.exponent_is_65537() {
                return Err(items.error(index, Malformed::Key(KeyProblem::Exponent)));
            }
            Ok(key)
        };
        Ok(Self {
            identity,
            address,
            port,
            onion_key: key(ONION_KEY)?,
            service_key: key(SERVICE_KEY)?,
        })
    }

    /// The identity of the relay.
    pub fn identity(&self) -> Fingerprint {
        self.identity
    }

    /// The identity of the relay as introduction points are written with it: 32 characters of
    /// lower-case base32.
    pub fn base32_identity(&self) -> String {
        let mut identity = BASE32_NOPAD.encode(self.identity.as_bytes());
        identity.make_ascii_lowercase();
        identity
    }

    /// The relay's address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The relay's onion-routing port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The relay's onion key, to which clients extend their circuits.
    pub fn onion_key(&self) -> &PublicKey {
        &self.onion_key
    }

    /// The service's key at this relay, made for this introduction point alone.
    pub fn service_key(&self) -> &PublicKey {
        &self.service_key
    }
}

impl fmt::Display for IntroductionPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let identity = self.base32_identity();
        let Self {
            address,
            port,
            onion_key,
            service_key,
            ..
        } = self;
        write!(
            f,
            "introduction-point {identity}\nip-address {address}\nonion-port {port}\n\
             onion-key\n{onion_key}service-key\n{service_key}"
        )
    }
}

/// `base32_decode` of the first 32 characters (rendparse.c:436): either case, and whatever follows
/// them is not looked at.
fn parse_identity(argument: &[u8]) -> Option<Fingerprint> {
    let mut digest = [0; 20];
    BASE32_NOPAD_NOCASE
        .decode_mut(argument.get(..IDENTITY_LEN)?, &mut digest)
        .ok()?;
    Some(digest.into())
}

fn parse_utf8<T: std::str::FromStr>(argument: &[u8]) -> Option<T> {
    std::str::from_utf8(argument).ok()?.parse().ok()
}
