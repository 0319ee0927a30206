//! Tor's version.

use std::fmt;
use std::str::FromStr;

/// Tor's version: four numbers. A status such as `-alpha` or `(git-…)` behind them is no part of
/// it.
///
/// ```
/// use onionweave_control::TorVersion;
///
/// let version: TorVersion = "0.4.5.9 (git-1234567890abcdef)".parse()?;
/// assert_eq!(version.to_string(), "0.4.5.9");
/// assert!(version.has_v2_onion_services());
/// # Ok::<(), onionweave_control::TorVersionError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TorVersion([u16; 4]);

/// The text is no version of Tor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no version of Tor: it does not begin with four numbers such as 0.4.5.9")]
pub struct TorVersionError {
    text: String,
}

impl TorVersion {
    /// A version by its numbers.
    pub const fn new(numbers: [u16; 4]) -> Self {
        Self(numbers)
    }

    /// Whether this Tor serves v2 onion services.
    ///
    /// They were switched off in 0.3.5.17 and 0.4.5.11 and removed in 0.4.6.1 (Tor's ChangeLog).
    pub fn has_v2_onion_services(self) -> bool {
        let disabled_in_its_series = self >= Self([0, 3, 5, 17]) && self < Self([0, 3, 6, 0]);
        !disabled_in_its_series && self < Self([0, 4, 5, 11])
    }
}

impl FromStr for TorVersion {
    type Err = TorVersionError;

    /// Reads what `GETINFO version` and `tor --version` say, which put a status or a full stop
    /// behind it.
    fn from_str(text: &str) -> Result<Self, TorVersionError> {
        let wrong = || TorVersionError { text: text.to_owned() };
        let numbers = text.split(['-', ' ']).next().unwrap_or_default().trim_end_matches('.');
        let mut version = [0; 4];
        let mut parts = numbers.split('.');
        for number in &mut version {
            *number = parts.next().and_then(|part| part.parse().ok()).ok_or_else(wrong)?;
        }
        if parts.next().is_some() {
            return Err(wrong());
        }
        Ok(Self(version))
    }
}

impl fmt::Display for TorVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0;
        write!(f, "{a}.{b}.{c}.{d}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> TorVersion {
        text.parse().unwrap()
    }

    #[test]
    fn versions_without_v2_are_told() {
        for text in [
            "0.4.5.9",
            "0.4.5.9 (git-1234567890abcdef)",
            "0.4.5.10",
            "0.3.5.16",
            "0.2.9.17-dev",
            "0.4.0.1-alpha.",
        ] {
            assert!(version(text).has_v2_onion_services(), "{text}");
        }
        for text in [
            "0.3.5.17",
            "0.3.5.18",
            "0.4.5.11",
            "0.4.6.1-alpha",
            "0.4.9.11",
            "1.0.0.0",
        ] {
            assert!(!version(text).has_v2_onion_services(), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "0.4.5", "0.4.5.x", "0.4.5.9.1", "v0.4.5.9", "0.4.5.70000"] {
            let error = text.parse::<TorVersion>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{text:?} is no version of Tor")), "{error}");
        }
    }
}
