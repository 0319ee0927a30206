//! Mistakes in the text that this crate reads.

use crate::relays::{Form, LineProblem};

/// Reason why a name, a time or a directory document was refused.
///
/// Every message is one line and says what was read, where it went wrong, and what was expected
/// there.
///
/// ```
/// use onionweave_ring::Error;
/// use onionweave_ring::v2::ServiceId;
///
/// let error = "rf75jzdtba4wnd60".parse::<ServiceId>().unwrap_err();
/// assert!(matches!(error, Error::Character { position: 15, .. }));
/// assert_eq!(error.to_string(), "v2 service ID: byte 15 is not base32 (a-z, 2-7)");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name has the wrong number of bytes.
    #[error("{what} takes {expected} characters, found {found}")]
    Length {
        /// Kind of text that was read.
        what: &'static str,
        /// Bytes it must have.
        expected: usize,
        /// Bytes it has.
        found: usize,
    },

    /// A name holds a byte that is not of its alphabet.
    #[error("{what}: byte {position} is not {alphabet}")]
    Character {
        /// Kind of text that was read.
        what: &'static str,
        /// Index of the byte in the text, counted from 0.
        position: usize,
        /// Characters that are allowed there.
        alphabet: &'static str,
    },

    /// A name is of version 3, which is not supported yet.
    #[error("{what}: version 3 is not supported yet")]
    #[non_exhaustive]
    Version3 {
        /// Kind of the name.
        what: &'static str,
    },

    /// The address is that of a v3 service.
    #[error("this is the address of a v3 onion service (56 characters); a v2 address has 16")]
    V3Address,

    /// The text is a URL, or has a path behind the address.
    #[error("write the address alone, such as `rf75jzdtba4wnd6v.onion`, without `http://` and without a path")]
    Url,

    /// The part of a relay's name after `~` or `=` is no nickname.
    #[error("relay fingerprint: what follows the `~` or `=` is not a nickname of 1 to 19 letters and digits")]
    Nickname,

    /// Version 2 knows replicas 0 and 1 only.
    #[error("replica {0} does not exist: v2 has the replicas 0 and 1")]
    Replica(u8),

    /// An authorization cookie has the wrong number of bytes.
    #[error("authorization cookie takes 22 characters, or 24 with padding, found {found}")]
    CookieLength {
        /// Bytes it has.
        found: usize,
    },

    /// An authorization cookie is not base64, or is padded so early that it has fewer than 16
    /// bytes.
    ///
    /// The text is a secret, so nothing of it is shown.
    #[error("authorization cookie is not 16 or 17 bytes in base64")]
    CookieCharacters,

    /// An authorization cookie is for a kind of authorization that does not exist.
    #[error("authorization cookie is of kind {0}: v2 has the kinds 1 (basic) and 2 (stealth)")]
    CookieKind(u8),

    /// A time is not of the form `YYYY-MM-DD HH:MM:SS`.
    #[error("not a time of the form `YYYY-MM-DD HH:MM:SS`: {0}")]
    Time(&'static str),

    /// The first line of a document fits none of the forms that are read.
    #[error(
        "line {line}: neither a router status (`r ...`) nor the start of a consensus of version 3 \
         (`network-status-version 3`, plain or microdesc)"
    )]
    UnknownForm {
        /// The first line that is not blank, counted from 1.
        line: usize,
    },

    /// The checksum of a v3 onion address is wrong: a character is, or two have changed places.
    #[error("v3 onion address: the checksum is wrong, so a character is wrong")]
    AddressChecksum,

    /// A v3 onion address names another version.
    #[error("v3 onion address: the version is {found}, not 3")]
    #[non_exhaustive]
    AddressVersion {
        /// The version.
        found: u8,
    },

    /// The public key of a v3 onion address is no point of the curve, or one outside Ed25519's
    /// group.
    #[error("v3 onion address: its key is not a valid point of the curve")]
    AddressKey,

    /// A document is larger than Tor itself would accept.
    #[error("the document has {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Bytes in the document.
        size: usize,
        /// The most that is read: [`RelayList::MAX_LEN`](crate::relays::RelayList::MAX_LEN).
        limit: usize,
    },

    /// A document lists no relay.
    ///
    /// `GETINFO ns/all` is answered with empty text while Tor has no consensus. Taking that for a
    /// network without directories would be a mistake, hence an error of its own.
    #[error("{form}: no relay is listed")]
    Empty {
        /// The form of the document.
        form: Form,
    },

    /// A line of a list of relays is wrong.
    #[error("{form}, line {line}: {problem}")]
    Line {
        /// The form of the document.
        form: Form,
        /// The line, counted from 1.
        line: usize,
        /// Mistake in the line.
        problem: LineProblem,
    },

    /// A document of microdescriptors begins with something else.
    #[error("microdescriptors, line {line}: no microdescriptor begins here (`onion-key`)")]
    #[non_exhaustive]
    NotMicrodescriptors {
        /// The first line that is neither blank nor an annotation, counted from 1.
        line: usize,
    },
}
