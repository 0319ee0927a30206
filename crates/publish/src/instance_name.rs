//! The names of instances.

use std::borrow::Borrow;
use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;
use std::sync::Arc;

/// Largest number of bytes in the name of an instance: that of a host's full name.
const MOST_BYTES: usize = 255;

/// The name that an operator gives an instance: 1 to 255 bytes of UTF-8 without white space and
/// control characters. Cheap to clone.
///
/// Reports, metrics and logs name instances by it, so it has to stand in one line as one word.
///
/// ```
/// use std::collections::BTreeMap;
/// use onionweave_publish::{InstanceName, NameError};
///
/// let name: InstanceName = "a.example".parse()?;
/// assert_eq!(name, "a.example");
/// assert_eq!(InstanceName::try_from(String::from("b"))?.to_string(), "b");
/// assert_eq!("".parse::<InstanceName>(), Err(NameError::Empty));
/// assert!("a b".parse::<InstanceName>().is_err());
///
/// // Maps can be asked by text.
/// let weights = BTreeMap::from([(name.clone(), 2)]);
/// assert_eq!(weights.get(name.as_str()), Some(&2));
/// # Ok::<(), NameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceName(Arc<str>);

impl InstanceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the instance in a place of the pool.
    pub(crate) fn of_place(number: NonZeroU16) -> Self {
        Self(format!("pool-{number}").into())
    }

    fn checked(name: &str) -> Result<(), NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > MOST_BYTES {
            return Err(NameError::TooLong { bytes: name.len() });
        }
        let forbidden = |(_, c): &(usize, char)| c.is_control() || c.is_whitespace();
        match name.char_indices().find(forbidden) {
            Some((at, character)) => Err(NameError::Forbidden { character, at }),
            None => Ok(()),
        }
    }
}

/// The reason why a text is no name of an instance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is no text.
    #[error("an instance's name is empty: give it one of 1 to {MOST_BYTES} bytes")]
    Empty,
    /// The text is too long.
    #[error("an instance's name has {bytes} bytes, at most {MOST_BYTES} are allowed: shorten it")]
    #[non_exhaustive]
    TooLong {
        /// Number of bytes.
        bytes: usize,
    },
    /// The text holds a character that no name may hold.
    #[error(
        "an instance's name has {character:?} at byte {at}: \
         leave out white space and control characters"
    )]
    #[non_exhaustive]
    Forbidden {
        /// The first such character.
        character: char,
        /// Number of bytes before it.
        at: usize,
    },
}

impl FromStr for InstanceName {
    type Err = NameError;

    /// Checks the text, and takes it as it is.
    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::checked(name)?;
        Ok(Self(name.into()))
    }
}

impl TryFrom<&str> for InstanceName {
    type Error = NameError;

    fn try_from(name: &str) -> Result<Self, NameError> {
        name.parse()
    }
}

impl TryFrom<String> for InstanceName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::checked(&name)?;
        Ok(Self(name.into()))
    }
}

impl AsRef<str> for InstanceName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for InstanceName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for InstanceName {
    fn eq(&self, name: &str) -> bool {
        *self.0 == *name
    }
}

impl PartialEq<&str> for InstanceName {
    fn eq(&self, name: &&str) -> bool {
        *self.0 == **name
    }
}

/// The text in quotes.
impl fmt::Debug for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A text, in every format.
#[cfg(feature = "serde")]
impl serde::Serialize for InstanceName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// The text is checked.
#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for InstanceName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = <String as serde::Deserialize>::deserialize(deserializer)?;
        name.try_into().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_limit_and_remedy() {
        let error = |name: &str| name.parse::<InstanceName>().unwrap_err().to_string();
        assert_eq!(error(""), "an instance's name is empty: give it one of 1 to 255 bytes");
        assert_eq!(
            error(&"x".repeat(256)),
            "an instance's name has 256 bytes, at most 255 are allowed: shorten it"
        );
        let forbidden = "leave out white space and control characters";
        for (name, at) in [
            ("é b", "' ' at byte 2"),
            ("a\n", "'\\n' at byte 1"),
            ("\u{7}", "'\\u{7}' at byte 0"),
        ] {
            assert_eq!(error(name), format!("an instance's name has {at}: {forbidden}"));
        }
        assert!("x".repeat(255).parse::<InstanceName>().is_ok());
    }

    #[test]
    fn every_way_in_checks() {
        assert_eq!(InstanceName::try_from(""), Err(NameError::Empty));
        assert_eq!(InstanceName::try_from(String::new()), Err(NameError::Empty));
        let name = InstanceName::try_from("a").unwrap();
        assert_eq!(InstanceName::try_from("a".to_owned()), Ok(name.clone()));
        assert!(name == *"a" && name == "a" && name != *"b" && name != "b");
        assert_eq!(
            (name.as_ref(), format!("{name:?} {name:>2}")),
            ("a", "\"a\"  a".to_owned())
        );
    }

    #[cfg(feature = "serde")]
    #[test]
    fn read_names_are_checked() {
        let name: InstanceName = serde_json::from_str("\"a\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"a\"");
        let error = serde_json::from_str::<InstanceName>("\"a b\"").unwrap_err();
        assert!(error.to_string().contains("white space"), "{error}");
    }
}
