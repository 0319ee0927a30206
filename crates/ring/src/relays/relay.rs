//! A relay of a list.

use crate::{Ed25519Identity, Fingerprint};

/// A relay, as far as rings are concerned.
///
/// ```
/// use onionweave_ring::relays::RelayList;
///
/// let list = RelayList::parse(include_str!("../../testdata/v2-network/ns_all.txt"))?;
/// for relay in list.relays().iter().filter(|relay| relay.is_hsdir()) {
///     println!("{}~{}", relay.fingerprint(), relay.nickname());
/// }
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Relay {
    pub(super) fingerprint: Fingerprint,
    /// Nickname that [`is_legal_nickname`](crate::fingerprint::is_legal_nickname) takes.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "deserialize_nickname"))]
    #[cfg_attr(feature = "arbitrary", arbitrary(with = arbitrary_nickname))]
    pub(super) nickname: Box<str>,
    pub(super) is_hsdir: bool,
    #[cfg_attr(feature = "serde", serde(default))]
    pub(super) speaks_v3: bool,
    pub(super) ed25519_identity: Option<Ed25519Identity>,
}

impl Relay {
    /// The relay's identity.
    ///
    /// ```
    /// # use onionweave_ring::relays::RelayList;
    /// # let list = RelayList::parse(include_str!("../../testdata/v2-network/ns_all.txt"))?;
    /// let [first, ..] = list.relays() else { panic!() };
    /// assert_eq!(first.fingerprint().to_string(), "08EED199385D9397B647757568ED4D6D9831E50E");
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Name that the relay gives itself: 1 to 19 letters and digits, neither unique nor proven.
    ///
    /// ```
    /// # use onionweave_ring::relays::RelayList;
    /// # let list = RelayList::parse(include_str!("../../testdata/v2-network/ns_all.txt"))?;
    /// let [first, ..] = list.relays() else { panic!() };
    /// assert_eq!(first.nickname(), "test010r");
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    pub fn nickname(&self) -> &str {
        &self.nickname
    }

    /// Whether the relay has the HSDir flag, that is, serves as an onion-service directory.
    ///
    /// ```
    /// # use onionweave_ring::relays::RelayList;
    /// # let list = RelayList::parse(include_str!("../../testdata/v2-network/ns_all.txt"))?;
    /// assert!(list.relays().iter().all(|relay| relay.is_hsdir()));
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    pub const fn is_hsdir(&self) -> bool {
        self.is_hsdir
    }

    /// Tells whether the relay serves descriptors of version 3: it has the HSDir flag, and its `pr`
    /// line names version 2 of the protocol `HSDir` (`supports_v3_hsdir`, core/or/protover.c).
    ///
    /// Router statuses have no `pr` line (feature/nodelist/fmt_routerstatus.c:110), so there no
    /// relay is known to serve it.
    ///
    /// ```
    /// # use onionweave_ring::relays::RelayList;
    /// let consensus = include_str!("../../testdata/v3-network/consensus-microdesc.txt");
    /// assert!(RelayList::parse(consensus)?.relays().iter().all(|relay| relay.is_v3_hsdir()));
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    pub const fn is_v3_hsdir(&self) -> bool {
        self.is_hsdir && self.speaks_v3
    }

    /// The relay's Ed25519 identity: known if the list was read
    /// [with](super::RelayList::parse_with) the relay's microdescriptor.
    ///
    /// ```
    /// use onionweave_ring::relays::{Microdescriptors, RelayList};
    ///
    /// let consensus = include_str!("../../testdata/v3-network/consensus-microdesc.txt");
    /// let microdescriptors = Microdescriptors::parse(include_str!("../../testdata/v3-network/md_all.txt"))?;
    ///
    /// let list = RelayList::parse(consensus)?;
    /// assert_eq!(list.relays()[0].ed25519_identity(), None);
    /// let list = RelayList::parse_with(consensus, &microdescriptors)?;
    /// assert!(list.relays()[0].ed25519_identity().is_some());
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    pub const fn ed25519_identity(&self) -> Option<Ed25519Identity> {
        self.ed25519_identity
    }
}

#[cfg(feature = "serde")]
fn deserialize_nickname<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Box<str>, D::Error> {
    let nickname: Box<str> = serde::Deserialize::deserialize(deserializer)?;
    if crate::fingerprint::is_legal_nickname(&nickname) {
        Ok(nickname)
    } else {
        Err(serde::de::Error::custom("a nickname is 1 to 19 letters and digits"))
    }
}

#[cfg(feature = "arbitrary")]
fn arbitrary_nickname(input: &mut arbitrary::Unstructured<'_>) -> arbitrary::Result<Box<str>> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let len = input.int_in_range(1..=19)?;
    (0..len)
        .map(|_| input.choose(LETTERS).map(|letter| char::from(*letter)))
        .collect::<arbitrary::Result<String>>()
        .map(String::into_boxed_str)
}
