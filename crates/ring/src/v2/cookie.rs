//! Secrets that a service with client authorization shares with each of its clients (rend-spec-v2,
//! sections 2.1 and 2.2).

use core::fmt;
use core::str::FromStr;

use data_encoding::{BASE64, BASE64_NOPAD};
use subtle::ConstantTimeEq as _;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::Error;

/// Way in which a service restricts its introduction points to authorized clients.
///
/// ```
/// use onionweave_ring::v2::AuthorizationKind;
///
/// assert_eq!(AuthorizationKind::Stealth.number(), 2);
/// assert_eq!(AuthorizationKind::Basic.to_string(), "basic");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[non_exhaustive]
pub enum AuthorizationKind {
    /// A single descriptor for all clients, in which a session key is encrypted for each:
    /// `REND_BASIC_AUTH` (core/or/or.h:405).
    Basic,
    /// A service ID and a descriptor for each client, at a place that only this client can compute:
    /// `REND_STEALTH_AUTH` (core/or/or.h:406).
    Stealth,
}

impl AuthorizationKind {
    /// C Tor's number for it: 1 for basic, 2 for stealth. Encrypted introduction points begin with
    /// it.
    pub const fn number(self) -> u8 {
        match self {
            Self::Basic => 1,
            Self::Stealth => 2,
        }
    }
}

/// `basic` or `stealth`, as in Tor's option `HiddenServiceAuthorizeClient`.
impl fmt::Display for AuthorizationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Basic => "basic",
            Self::Stealth => "stealth",
        })
    }
}

/// The secret of 16 bytes that an authorized client shares with the service.
///
/// With *basic* authorization it decrypts the introduction points; with *stealth* authorization it
/// also decides where the descriptors are, so that nobody without it can tell. It is wiped when
/// dropped, compared in constant time, and `Debug` shows nothing of it.
///
/// ```
/// use onionweave_ring::v2::DescriptorCookie;
///
/// // As Tor's file `client_keys` has it.
/// let cookie = DescriptorCookie::from_base64("2KohXVDgp8ESS6hWRTRc4A==")?;
/// assert_eq!(*cookie.to_base64(), "2KohXVDgp8ESS6hWRTRc4A==");
/// assert_eq!(cookie, DescriptorCookie::from(*cookie.as_bytes()));
/// assert!(!cookie.is_zero());
/// assert_eq!(format!("{cookie:?}"), "DescriptorCookie { .. }");
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, ZeroizeOnDrop)]
pub struct DescriptorCookie([u8; Self::LEN]);

impl DescriptorCookie {
    /// Bytes of a cookie: `REND_DESC_COOKIE_LEN` (core/or/or.h:367).
    pub const LEN: usize = 16;

    /// Reads what a service keeps in its file `client_keys`, where a cookie doesn't say of which
    /// kind it is: 22 or 24 characters, with the tolerance described at [`ClientCookie`]
    /// (feature/rend/rendparse.c:593).
    ///
    /// # Errors
    /// [`Error::CookieLength`] and [`Error::CookieCharacters`].
    pub fn from_base64(text: impl AsRef<[u8]>) -> Result<Self, Error> {
        decode(text.as_ref()).map(|(cookie, _)| cookie)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Whether all bytes are zero. Clients take such a cookie for none
    /// (feature/rend/rendcache.c:913).
    pub fn is_zero(&self) -> bool {
        self.0.ct_eq(&[0; Self::LEN]).into()
    }

    /// The 24 characters, two of them padding, that a service keeps in its file `client_keys`
    /// (feature/rend/rendservice.c:1649).
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64.encode(&self.0))
    }
}

impl From<[u8; Self::LEN]> for DescriptorCookie {
    fn from(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }
}

/// Takes the same time wherever the cookies differ.
impl PartialEq for DescriptorCookie {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for DescriptorCookie {}

impl fmt::Debug for DescriptorCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DescriptorCookie").finish_non_exhaustive()
    }
}

/// A cookie with the kind of authorization that it is for, which is what a client is given.
///
/// Its text is the 22 characters that stand behind the address in Tor's file `hostname` and in its
/// option `HidServAuth`. They are the base64 of the cookie and four more bits, the kind less one
/// (`rend_auth_encode_cookie`, feature/rend/rendcommon.c:894).
///
/// [`FromStr`] reads what C Tor reads (`rend_auth_decode_cookie`, feature/rend/rendcommon.c:930),
/// which is more than it writes:
///
/// - 22 characters, or 24 as in `client_keys`; if those end in `==`, the kind is basic, since
///   nothing is left that could say so;
/// - white space among the characters, none of which may be missing for it;
/// - anything in the bits beyond the first twenty of the last four characters.
///
/// ```
/// use onionweave_ring::v2::{AuthorizationKind, ClientCookie};
///
/// let cookie: ClientCookie = "2KohXVDgp8ESS6hWRTRc4B".parse()?;
/// assert_eq!(cookie.kind(), AuthorizationKind::Stealth);
/// assert_eq!(*cookie.to_text(), "2KohXVDgp8ESS6hWRTRc4B");
/// assert_eq!(cookie, ClientCookie::new(AuthorizationKind::Stealth, cookie.cookie().clone()));
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCookie {
    kind: AuthorizationKind,
    cookie: DescriptorCookie,
}

impl ClientCookie {
    /// Characters of the text that Tor writes: `REND_DESC_COOKIE_LEN_BASE64` (core/or/or.h:371).
    pub const TEXT_LEN: usize = 22;

    /// A cookie for this kind of authorization.
    pub const fn new(kind: AuthorizationKind, cookie: DescriptorCookie) -> Self {
        Self { kind, cookie }
    }

    /// The kind of authorization that the client was told of.
    pub const fn kind(&self) -> AuthorizationKind {
        self.kind
    }

    /// The secret itself.
    pub const fn cookie(&self) -> &DescriptorCookie {
        &self.cookie
    }

    /// Secret that the descriptor IDs of the service depend on besides the service: the cookie for
    /// stealth authorization, nothing for basic (feature/rend/rendclient.c:638).
    ///
    /// ```
    /// use onionweave_ring::v2::{ClientCookie, Replica, SecretIdPart, TimePeriod};
    ///
    /// let basic: ClientCookie = "/7+YSj84F0crQa7k9/ITkA".parse()?;
    /// let part = |cookie| SecretIdPart::new(TimePeriod::new(20780), Replica::ALL[0], cookie);
    /// assert_eq!(part(basic.id_cookie()), part(None));
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    pub fn id_cookie(&self) -> Option<&DescriptorCookie> {
        match self.kind {
            AuthorizationKind::Basic => None,
            AuthorizationKind::Stealth => Some(&self.cookie),
        }
    }

    /// The 22 characters.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut extended = Zeroizing::new([0; DescriptorCookie::LEN + 1]);
        let (cookie, kind) = extended.split_at_mut(DescriptorCookie::LEN);
        cookie.copy_from_slice(self.cookie.as_bytes());
        kind.fill((self.kind.number() - 1) << 4);
        let mut text = Zeroizing::new(BASE64_NOPAD.encode(&*extended));
        // The 23rd character stands for six bits that are always zero.
        text.truncate(Self::TEXT_LEN);
        text
    }
}

impl FromStr for ClientCookie {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (cookie, extension) = decode(text.as_bytes())?;
        let kind = match extension >> 4 {
            0 => AuthorizationKind::Basic,
            1 => AuthorizationKind::Stealth,
            // No more than 16, since it was four bits.
            other => return Err(Error::CookieKind(other + 1)),
        };
        Ok(Self { kind, cookie })
    }
}

/// The cookie, and the byte that follows it if there is one, else 0 (`rend_auth_decode_cookie`).
fn decode(text: &[u8]) -> Result<(DescriptorCookie, u8), Error> {
    /// Characters that are appended to 22 characters.
    const REST: &[u8] = b"A=";

    let rest = match text.len() {
        ClientCookie::TEXT_LEN => REST,
        len if len == ClientCookie::TEXT_LEN + REST.len() => &[],
        found => return Err(Error::CookieLength { found }),
    };
    let mut bytes = Zeroizing::new([0; 18]);
    let mut bits = 0;
    for character in text.iter().chain(rest).copied() {
        let value = match character {
            b' ' | b'\t' | b'\n' | b'\x0b' | b'\r' => continue,
            b'=' => break,
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err(Error::CookieCharacters),
        };
        // 24 characters of six bits at most fill the 18 bytes and no more.
        let (index, shift) = (bits / 8, bits % 8);
        let placed = (u16::from(value) << (10 - shift)).to_be_bytes();
        for (byte, part) in bytes.iter_mut().skip(index).zip(placed) {
            *byte |= part;
        }
        bits += 6;
    }
    // A last group of one character is refused (lib/encoding/binascii.c:449); else what does not
    // fill a byte is dropped.
    if bits % 24 == 6 || !matches!(bits / 8, 16 | 17) {
        return Err(Error::CookieCharacters);
    }
    let mut cookie = DescriptorCookie([0; DescriptorCookie::LEN]);
    let (first, extension) = bytes.split_at(DescriptorCookie::LEN);
    cookie.0.copy_from_slice(first);
    // With 16 bytes there is none, and C Tor sees the zero of its buffer.
    let extension = if bits / 8 == 17 {
        extension.first().copied()
    } else {
        None
    };
    Ok((cookie, extension.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use AuthorizationKind::{Basic, Stealth};

    const COOKIE: [u8; 16] = [
        0xd8, 0xaa, 0x21, 0x5d, 0x50, 0xe0, 0xa7, 0xc1, 0x12, 0x4b, 0xa8, 0x56, 0x45, 0x34, 0x5c, 0xe0,
    ];

    /// Texts, and the cookies that `rend_auth_decode_cookie` of tor 0.4.5.9 makes of them.
    #[test]
    fn reads_what_c_tor_reads() {
        let characters = Err(Error::CookieCharacters);
        let length = |found| Err(Error::CookieLength { found });
        let table = [
            // As Tor writes them.
            ("2KohXVDgp8ESS6hWRTRc4A", Ok(Basic)),
            ("2KohXVDgp8ESS6hWRTRc4B", Ok(Stealth)),
            ("2KohXVDgp8ESS6hWRTRc4A==", Ok(Basic)),
            // Whole: 17 bytes.
            ("2KohXVDgp8ESS6hWRTRc4AA=", Ok(Basic)),
            ("2KohXVDgp8ESS6hWRTRc4BA=", Ok(Stealth)),
            // The padding hides the kind.
            ("2KohXVDgp8ESS6hWRTRc4B==", Ok(Basic)),
            ("2KohXVDgp8ESS6hWRTRc4P==", Ok(Basic)),
            // Bits that nobody looks at.
            ("2KohXVDgp8ESS6hWRTRc4B/=", Ok(Stealth)),
            ("2KohXVDgp8ESS6hWRTRc4A8=", Ok(Basic)),
            // Kinds that do not exist.
            ("2KohXVDgp8ESS6hWRTRc4C", Err(Error::CookieKind(3))),
            ("2KohXVDgp8ESS6hWRTRc4P", Err(Error::CookieKind(16))),
            ("2KohXVDgp8ESS6hWRTRc4CA=", Err(Error::CookieKind(3))),
            // White space counts as a character but stands for nothing.
            (" 2KohXVDgp8ESS6hWRTRc4A ", Ok(Basic)),
            ("2KohXVDgp8E\tSS6hWRTRc4A\n", Ok(Basic)),
            ("2KohXVDgp8E SS6hWRTRc4BA", Ok(Stealth)),
            ("2KohXVDgp8E\x0cSS6hWRTRc4A=", characters.clone()),
            ("2KohXVDgp8ESS6hWRTRc4A  ", Ok(Basic)),
            // The first `=` ends it; what follows is not read.
            ("2KohXVDgp8ESS6hWRTRc4A=!", Ok(Basic)),
            ("2KohXVDgp8ESS6hWRTRc4=", characters.clone()),
            ("======================", characters.clone()),
            // One character short, which a space replaces; the appended `A` makes it whole.
            ("2KohXVDgp8ESS6hWRTRc4 ", Ok(Basic)),
            // Eighteen bytes are too many, seventeen and six bits too.
            ("2KohXVDgp8ESS6hWRTRc4AAA", characters.clone()),
            // Not base64.
            ("2KohXVDgp8ESS6hWRTRc-A", characters.clone()),
            ("2KohXVDgp8ESS6hWRTRc\0A", characters.clone()),
            ("2KohXVDgp8ESS6hWRTR\u{e9}A", characters.clone()),
            // Lengths.
            ("", length(0)),
            ("2KohXVDgp8ESS6hWRTRc4", length(21)),
            ("2KohXVDgp8ESS6hWRTRc4A=", length(23)),
            ("2KohXVDgp8ESS6hWRTRc4A===", length(25)),
        ];
        for (text, expected) in table {
            let read = text.parse::<ClientCookie>();
            if let Ok(read) = &read {
                assert_eq!(read.cookie().as_bytes(), &COOKIE, "{text:?}");
            }
            assert_eq!(read.map(|read| read.kind()), expected, "{text:?}");
            // Without a kind, those of an unknown kind are read as well.
            let bare = DescriptorCookie::from_base64(text);
            match expected {
                Ok(_) | Err(Error::CookieKind(_)) => assert_eq!(bare, Ok(COOKIE.into()), "{text:?}"),
                Err(error) => assert_eq!(bare, Err(error), "{text:?}"),
            }
        }
    }

    #[test]
    fn errors_show_nothing_of_the_text() {
        for text in [
            "2KohXVDgp8ESS6hWRTRc4",
            "2KohXVDgp8ESS6hWRTRc-A",
            "2KohXVDgp8ESS6hWRTRc4C",
        ] {
            let message = text.parse::<ClientCookie>().unwrap_err().to_string();
            assert!(!message.contains("2Koh") && !message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn debug_shows_nothing() {
        let cookie = ClientCookie::new(Stealth, [b'a'; 16].into());
        assert_eq!(format!("{:?}", cookie.cookie()), "DescriptorCookie { .. }");
        assert_eq!(
            format!("{cookie:?}"),
            "ClientCookie { kind: Stealth, cookie: DescriptorCookie { .. } }"
        );
    }

    /// The implementations come from one derive, which wipes every field.
    #[test]
    fn cookies_are_wiped() {
        const fn wiped<T: ZeroizeOnDrop>() {}
        wiped::<DescriptorCookie>();
    }

    #[test]
    fn zeros_are_known() {
        assert!(DescriptorCookie::from([0; 16]).is_zero());
        for index in 0..16 {
            let mut bytes = [0; 16];
            bytes[index] = 1;
            assert!(!DescriptorCookie::from(bytes).is_zero(), "{index}");
        }
    }

    #[test]
    fn only_stealth_moves_descriptors() {
        let cookie = DescriptorCookie::from(COOKIE);
        assert_eq!(ClientCookie::new(Basic, cookie.clone()).id_cookie(), None);
        assert_eq!(ClientCookie::new(Stealth, cookie.clone()).id_cookie(), Some(&cookie));
    }

    proptest! {
        #[test]
        fn round_trips(bytes: [u8; 16], stealth: bool) {
            let kind = if stealth { Stealth } else { Basic };
            let cookie = ClientCookie::new(kind, bytes.into());
            let text = cookie.to_text();
            prop_assert_eq!(text.len(), ClientCookie::TEXT_LEN);
            prop_assert_eq!(text.parse(), Ok(cookie.clone()));
            prop_assert_eq!(format!("{}A=", *text).parse(), Ok(cookie.clone()));
            let bare = DescriptorCookie::from_base64(&*cookie.cookie().to_base64());
            prop_assert_eq!(bare.as_ref(), Ok(cookie.cookie()));
        }

        #[test]
        fn equal_means_the_same_bytes(a: [u8; 16], b: [u8; 16]) {
            prop_assert_eq!(DescriptorCookie::from(a) == DescriptorCookie::from(b), a == b);
            prop_assert_eq!(DescriptorCookie::from(a), DescriptorCookie::from(a));
        }
    }
}
