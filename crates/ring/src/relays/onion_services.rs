//! Values that a consensus sets for onion services of version 3.

use core::fmt;
use core::str::FromStr;

use super::LineProblem;
use crate::{Error, text};

/// Values that a consensus sets for onion services of version 3: where directories stand on the
/// ring, and how many of them hold a descriptor.
///
/// The parameters are `hsdir_interval`, `hsdir_n_replicas`, `hsdir_spread_store` and
/// `hsdir_spread_fetch` (rend-spec-v3, sections 2.2.1 and 2.2.3; param-spec). A value outside Tor's
/// limits counts as the limit (`get_net_param_from_list`, feature/nodelist/networkstatus.c). The
/// shared random values are those of srv-spec, section 4.
///
/// ```
/// use onionweave_ring::relays::{OnionServices, RelayList};
///
/// let list = RelayList::parse(include_str!("../../testdata/v3-network/consensus-microdesc.txt"))?;
/// let values = list.onion_services();
/// assert_eq!((values.replicas(), values.spread_store(), values.spread_fetch()), (2, 4, 3));
/// assert_eq!(values.period_minutes(), 1440);
/// assert_eq!(OnionServices::default().current_value(), None);
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(from = "unlimited::OnionServices")
)]
pub struct OnionServices {
    period_minutes: u16,
    replicas: u16,
    spread_store: u16,
    spread_fetch: u16,
    current_value: Option<SharedRandom>,
    previous_value: Option<SharedRandom>,
}

/// A parameter of consensuses.
struct Parameter {
    name: &'static str,
    least: u16,
    default: u16,
    most: u16,
}

// Limits and defaults: feature/hs/hs_common.c:256 and :1152-1175, hs_common.h:79-81 of tor 0.4.9.
const INTERVAL: Parameter = parameter("hsdir_interval", 5, 1440, 14400);
const REPLICAS: Parameter = parameter("hsdir_n_replicas", 1, 2, 16);
const SPREAD_STORE: Parameter = parameter("hsdir_spread_store", 1, 4, 128);
const SPREAD_FETCH: Parameter = parameter("hsdir_spread_fetch", 1, 3, 128);

const fn parameter(name: &'static str, least: u16, default: u16, most: u16) -> Parameter {
    Parameter {
        name,
        least,
        default,
        most,
    }
}

impl OnionServices {
    /// Length of a time period in minutes, 5 to 14400 (`hsdir_interval`). Testing networks ignore
    /// it.
    pub const fn period_minutes(&self) -> u16 {
        self.period_minutes
    }

    /// Number of places of a descriptor on the ring, 1 to 16 (`hsdir_n_replicas`).
    pub const fn replicas(&self) -> u16 {
        self.replicas
    }

    /// Number of directories in a row that hold a descriptor, 1 to 128 (`hsdir_spread_store`).
    pub const fn spread_store(&self) -> u16 {
        self.spread_store
    }

    /// Number of directories in a row that clients ask, 1 to 128 (`hsdir_spread_fetch`).
    pub const fn spread_fetch(&self) -> u16 {
        self.spread_fetch
    }

    /// The shared random value of the last run of the protocol, if the authorities agreed on one.
    pub const fn current_value(&self) -> Option<SharedRandom> {
        self.current_value
    }

    /// The shared random value of the run before that, if the authorities agreed on one.
    pub const fn previous_value(&self) -> Option<SharedRandom> {
        self.previous_value
    }

    /// These values with other parameters, each brought within its limits, in the order of
    /// `hsdir_interval`, `hsdir_n_replicas`, `hsdir_spread_store`, `hsdir_spread_fetch`.
    ///
    /// ```
    /// use onionweave_ring::relays::OnionServices;
    ///
    /// let values = OnionServices::default().with_parameters([30, 0, 1000, -1]);
    /// assert_eq!(values.period_minutes(), 30);
    /// assert_eq!((values.replicas(), values.spread_store(), values.spread_fetch()), (1, 128, 1));
    /// ```
    #[must_use]
    pub fn with_parameters(mut self, values: [i32; 4]) -> Self {
        let [interval, replicas, spread_store, spread_fetch] = values;
        self.period_minutes = INTERVAL.limit(interval);
        self.replicas = REPLICAS.limit(replicas);
        self.spread_store = SPREAD_STORE.limit(spread_store);
        self.spread_fetch = SPREAD_FETCH.limit(spread_fetch);
        self
    }

    /// These values with other shared random values: the current and the previous one.
    ///
    /// ```
    /// use onionweave_ring::relays::{OnionServices, SharedRandom};
    ///
    /// let value = SharedRandom::from([7; 32]);
    /// let values = OnionServices::default().with_shared_random(Some(value), None);
    /// assert_eq!((values.current_value(), values.previous_value()), (Some(value), None));
    /// ```
    #[must_use]
    pub const fn with_shared_random(mut self, current: Option<SharedRandom>, previous: Option<SharedRandom>) -> Self {
        self.current_value = current;
        self.previous_value = previous;
        self
    }

    /// Takes over one line of the header, if it is one of these.
    pub(super) fn line<'a>(&mut self, keyword: &str, items: impl Iterator<Item = &'a str>) -> Result<(), LineProblem> {
        match keyword {
            "params" => self.read_parameters(items)?,
            "shared-rand-current-value" => self.current_value = read_shared_random(items),
            "shared-rand-previous-value" => self.previous_value = read_shared_random(items),
            _ => {}
        }
        Ok(())
    }

    fn read_parameters<'a>(&mut self, items: impl Iterator<Item = &'a str>) -> Result<(), LineProblem> {
        let mut values = [INTERVAL, REPLICAS, SPREAD_STORE, SPREAD_FETCH].map(|parameter| (parameter, None));
        for (name, text) in items.filter_map(|item| item.split_once('=')) {
            // The first of two counts, as in C Tor.
            let unset = values
                .iter_mut()
                .find(|(parameter, value)| parameter.name == name && value.is_none());
            if let Some((parameter, value)) = unset {
                *value = Some(text.parse().map_err(|_| LineProblem::Parameter(parameter.name))?);
            }
        }
        *self = self
            .clone()
            .with_parameters(values.map(|(parameter, value)| value.unwrap_or(parameter.default.into())));
        Ok(())
    }
}

impl Parameter {
    fn limit(&self, value: i32) -> u16 {
        let value = value.clamp(self.least.into(), self.most.into());
        u16::try_from(value).unwrap_or(self.most)
    }
}

impl Default for OnionServices {
    fn default() -> Self {
        Self {
            period_minutes: INTERVAL.default,
            replicas: REPLICAS.default,
            spread_store: SPREAD_STORE.default,
            spread_fetch: SPREAD_FETCH.default,
            current_value: None,
            previous_value: None,
        }
    }
}

/// Reads what follows `shared-rand-current-value`: the number of reveals, and the value. One that
/// Tor cannot read counts as missing (`sr_parse_srv`, feature/hs_common/shared_random_client.c).
fn read_shared_random<'a>(mut items: impl Iterator<Item = &'a str>) -> Option<SharedRandom> {
    items.next()?.parse::<u64>().ok()?;
    items.next()?.parse().ok()
}

/// A random value that the directory authorities agree on once a day, which moves every directory
/// to another place on the ring (srv-spec).
///
/// ```
/// use onionweave_ring::relays::SharedRandom;
///
/// let value: SharedRandom = "Kdf+oZFIvygDsAFUsvgk7UAJR3NS1QIb6PsQGouxGMw=".parse()?;
/// assert_eq!(value.as_bytes()[0], 0x29);
/// assert_eq!(value.to_string(), "Kdf+oZFIvygDsAFUsvgk7UAJR3NS1QIb6PsQGouxGMw=");
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct SharedRandom([u8; 32]);

impl SharedRandom {
    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for SharedRandom {
    fn from(value: [u8; 32]) -> Self {
        Self(value)
    }
}

/// Forty-four characters of base64, the last of which is `=`.
impl FromStr for SharedRandom {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        const WHAT: &str = "shared random value";
        // `SR_SRV_VALUE_BASE64_LEN`
        const LEN: usize = 44;
        let position = text.len().saturating_sub(1);
        match text.strip_suffix('=') {
            _ if text.len() != LEN => Err(Error::Length {
                what: WHAT,
                expected: LEN,
                found: text.len(),
            }),
            Some(value) => text::decode(WHAT, &text::BASE64, value).map(Self),
            None => Err(Error::Character {
                what: WHAT,
                position,
                alphabet: "the `=` at the end",
            }),
        }
    }
}

/// Forty-four characters of base64, the last of which is `=`.
impl fmt::Display for SharedRandom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::fmt_base64(&self.0, f)?;
        f.write_str("=")
    }
}

impl fmt::Debug for SharedRandom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedRandom({self})")
    }
}

text::serde_as_text!(SharedRandom, "a shared random value: 44 characters of base64");

#[cfg(feature = "serde")]
mod unlimited {
    use super::SharedRandom;

    /// Serialised values, which may exceed the limits.
    #[derive(serde::Deserialize)]
    pub(super) struct OnionServices {
        period_minutes: i32,
        replicas: i32,
        spread_store: i32,
        spread_fetch: i32,
        current_value: Option<SharedRandom>,
        previous_value: Option<SharedRandom>,
    }

    impl From<OnionServices> for super::OnionServices {
        fn from(values: OnionServices) -> Self {
            Self::default()
                .with_parameters([
                    values.period_minutes,
                    values.replicas,
                    values.spread_store,
                    values.spread_fetch,
                ])
                .with_shared_random(values.current_value, values.previous_value)
        }
    }
}

#[cfg(feature = "arbitrary")]
impl<'a> arbitrary::Arbitrary<'a> for OnionServices {
    fn arbitrary(input: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        let parameters: [u16; 4] = input.arbitrary()?;
        Ok(Self::default()
            .with_parameters(parameters.map(i32::from))
            .with_shared_random(input.arbitrary()?, input.arbitrary()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str) -> Result<OnionServices, LineProblem> {
        let mut values = OnionServices::default();
        for line in lines.lines() {
            let mut items = line.split_ascii_whitespace();
            values.line(items.next().unwrap(), items)?;
        }
        Ok(values)
    }

    #[test]
    fn parameters_have_the_limits_of_tor() {
        for (line, expected) in [
            ("params", [1440, 2, 4, 3]),
            ("params CircuitPriorityHalflifeMsec=30000 x", [1440, 2, 4, 3]),
            ("params hsdir_interval=30 hsdir_n_replicas=3", [30, 3, 4, 3]),
            ("params hsdir_interval=4 hsdir_spread_store=0", [5, 2, 1, 3]),
            (
                "params hsdir_interval=2147483647 hsdir_spread_fetch=1000",
                [14400, 2, 4, 128],
            ),
            (
                "params hsdir_n_replicas=-2147483648 hsdir_spread_store=129",
                [1440, 1, 128, 3],
            ),
            ("params hsdir_n_replicas=17", [1440, 16, 4, 3]),
            ("params hsdir_n_replicas=3 hsdir_n_replicas=4", [1440, 3, 4, 3]),
        ] {
            assert_eq!(
                read(line),
                Ok(OnionServices::default().with_parameters(expected)),
                "{line}"
            );
        }
        for value in ["", "x", "1.5", "2147483648"] {
            assert_eq!(
                read(&format!("params hsdir_spread_store={value}")),
                Err(LineProblem::Parameter("hsdir_spread_store"))
            );
        }
    }

    #[test]
    fn a_shared_random_value_that_tor_cannot_read_is_none() {
        let value = "Kdf+oZFIvygDsAFUsvgk7UAJR3NS1QIb6PsQGouxGMw=";
        let both = format!("shared-rand-previous-value 3 {value}\nshared-rand-current-value 9 {value}");
        let parsed = value.parse().ok();
        assert_eq!(
            read(&both),
            Ok(OnionServices::default().with_shared_random(parsed, parsed))
        );
        for line in [
            "shared-rand-current-value",
            "shared-rand-current-value 3",
            &format!("shared-rand-current-value {value}"),
            &format!("shared-rand-current-value -1 {value}"),
            &format!("shared-rand-current-value 3 {}", value.trim_end_matches('=')),
            &format!("shared-rand-current-value 3 {}", value.replace('+', "_")),
        ] {
            assert_eq!(read(line), Ok(OnionServices::default()), "{line}");
        }
    }

    #[test]
    fn a_shared_random_value_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "shared random value takes 44 characters, found 0"),
            (
                "Kdf+oZFIvygDsAFUsvgk7UAJR3NS1QIb6PsQGouxGMww",
                "byte 43 is not the `=` at the end",
            ),
            (
                "Kdf_oZFIvygDsAFUsvgk7UAJR3NS1QIb6PsQGouxGMw=",
                "byte 3 is not unpadded base64",
            ),
        ] {
            let error = text.parse::<SharedRandom>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
