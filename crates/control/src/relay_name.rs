//! Names of relays in events: `$FINGERPRINT~nickname`.

use std::fmt;
use std::str::FromStr;

use data_encoding::{HEXUPPER, HEXUPPER_PERMISSIVE};

use crate::Error;

/// A relay's name in an event, the `LongName` of control-spec section 2.4: `$FINGERPRINT~nickname`,
/// or `$FINGERPRINT` where Tor does not know the relay.
///
/// ```
/// use onionweave_control::RelayName;
///
/// let name: RelayName = "$0102030405060708090A0B0C0D0E0F1011121314~relay1".parse()?;
/// assert_eq!(name.nickname(), Some("relay1"));
/// assert_eq!(name.fingerprint()[19], 0x14);
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayName {
    fingerprint: [u8; 20],
    nickname: Option<String>,
}

impl RelayName {
    /// A name from its parts. The nickname is taken as it is.
    pub fn new(fingerprint: [u8; 20], nickname: Option<String>) -> Self {
        Self { fingerprint, nickname }
    }

    /// The relay's identity: SHA-1 of its RSA identity key.
    pub fn fingerprint(&self) -> [u8; 20] {
        self.fingerprint
    }

    /// The nickname, if Tor knows the relay.
    pub fn nickname(&self) -> Option<&str> {
        self.nickname.as_deref()
    }

    /// Whether the fingerprint is the text `UNKNOWN` and what stands behind it in Tor's memory.
    ///
    /// Without a directory to upload to, Tor prints the literal as if it were a 20-byte digest:
    /// `$554E4B4E4F574E00...` (feature/rend/rendservice.c:3699-3701).
    pub(crate) fn is_misread_unknown(&self) -> bool {
        self.fingerprint.starts_with(b"UNKNOWN\0")
    }
}

impl FromStr for RelayName {
    type Err = Error;

    /// Reads 40 hexadecimal digits of either case, with or without `$` before and `~nickname` or
    /// `=nickname` after.
    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |problem| Error::RelayName {
            text: text.chars().take(100).collect(),
            problem,
        };

        let rest = text.strip_prefix('$').unwrap_or(text);
        let (hex, nickname) = match rest.split_once(['~', '=']) {
            Some((hex, nickname)) => (hex, Some(nickname)),
            None => (rest, None),
        };
        // MAX_NICKNAME_LEN and LEGAL_NICKNAME_CHARACTERS, core/or/or.h:111 and
        // feature/nodelist/nickname.c:21.
        if nickname.is_some_and(|name| {
            name.is_empty() || name.len() > 19 || !name.bytes().all(|byte| byte.is_ascii_alphanumeric())
        }) {
            return Err(refuse("a nickname is 1 to 19 letters and digits"));
        }
        let fingerprint = HEXUPPER_PERMISSIVE
            .decode(hex.as_bytes())
            .ok()
            .and_then(|bytes| <[u8; 20]>::try_from(bytes).ok());
        let fingerprint = fingerprint.ok_or_else(|| refuse("a fingerprint is 40 hexadecimal digits"))?;
        Ok(Self {
            fingerprint,
            nickname: nickname.map(str::to_owned),
        })
    }
}

impl fmt::Display for RelayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${}", HEXUPPER.encode(&self.fingerprint))?;
        match &self.nickname {
            Some(nickname) => write!(f, "~{nickname}"),
            None => Ok(()),
        }
    }
}

/// Writes the text of `Display`.
#[cfg(feature = "serde")]
impl serde::Serialize for RelayName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads the text of `FromStr`.
#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for RelayName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for RelayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelayName({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0102030405060708090A0B0C0D0E0F10111213FF";

    #[test]
    fn every_form() {
        for (text, nickname) in [
            (format!("${HEX}~relay1"), Some("relay1")),
            (format!("${HEX}=relay1"), Some("relay1")),
            (format!("{HEX}~relay1"), Some("relay1")),
            (format!("${}", HEX.to_lowercase()), None),
        ] {
            let name: RelayName = text.parse().unwrap();
            assert_eq!(name.nickname(), nickname, "{text}");
            assert_eq!(name.fingerprint()[19], 0xff, "{text}");
            assert_eq!(name.to_string().parse::<RelayName>().unwrap(), name, "{text}");
        }
    }

    #[test]
    fn no_other_form() {
        let long = format!("${HEX}~{}", "a".repeat(20));
        for text in [
            "",
            "$",
            "UNKNOWN",
            "$0102",
            &format!("${HEX}00"),
            &format!("$${HEX}"),
            &format!("${HEX}~"),
            &long,
            &format!("${HEX}~a b"),
        ] {
            assert!(text.parse::<RelayName>().is_err(), "{text}");
        }
        // No slicing inside characters.
        assert!(
            "$ééééééééééééééééééééééééééééééééééééééééé~é"
                .parse::<RelayName>()
                .is_err()
        );
    }
}
