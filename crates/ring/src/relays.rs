//! Relays of a network, read from what Tor says of them.
//!
//! Three documents list relays, and [`RelayList::parse`] tells them apart by their first line:
//!
//! | document | where it comes from |
//! | --- | --- |
//! | router statuses | `GETINFO ns/all`, the body of a `NEWCONSENSUS` event |
//! | plain consensus | `GETINFO dir/status-vote/current/consensus`, `cached-consensus`, archives since 2007 |
//! | microdesc consensus | `GETINFO dir/status-vote/current/consensus-microdesc`, `cached-microdesc-consensus` |
//!
//! [`Microdescriptors`] (`GETINFO md/all`, `cached-microdescs`) add the relays' Ed25519 identities
//! to a microdesc consensus, or to the router statuses of a Tor that uses them.
//!
//! Specification: dir-spec, sections 3.4.1 and 3.9.2 ("Router status section"); control-spec,
//! section 3.9 (`ns/all`).
//!
//! # Why a scanner of our own
//!
//! A ring takes three facts of each relay: name, identity and one flag. The parser of `tor-netdoc`
//! reads, and checks, all others as well, so one entry of which it makes nothing condemns the whole
//! document. Real documents hold such entries. Tor writes no `pr` line on the control port
//! (feature/nodelist/fmt_routerstatus.c:110), and no authority wrote one before 2016;
//! microdescriptors of 2017 lack an Ed25519 identity. The lines that matter here are scanned
//! instead. That also takes less work: see `benches/netdoc.rs`. The tests hold both readers against
//! each other (`tests/netdoc`).
//!
//! # What is not checked
//!
//! The signatures of a consensus. The Tor that hands it over has checked them, and a document from
//! anywhere else deserves no more trust than its source. [`Lifetime`] is returned for the caller,
//! who has a clock, to judge.

mod consensus;
mod lifetime;
mod microdescriptors;
mod onion_services;
mod relay;
mod router_status;

use core::fmt;

use crate::{Error, HashRing};

pub use lifetime::Lifetime;
pub use microdescriptors::Microdescriptors;
pub use onion_services::{OnionServices, SharedRandom};
pub use relay::Relay;

/// The kinds of documents that list relays.
///
/// ```
/// use onionweave_ring::relays::{Form, RelayList};
///
/// let list = RelayList::parse(include_str!("../testdata/v2-network/ns_all.txt"))?;
/// assert_eq!(list.form(), Form::RouterStatuses);
/// assert_eq!(list.form().to_string(), "router-status list");
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[non_exhaustive]
pub enum Form {
    /// Router statuses alone: `GETINFO ns/all` or a `NEWCONSENSUS` event.
    RouterStatuses,
    /// A consensus of the flavour `ns`.
    PlainConsensus,
    /// A consensus of the flavour `microdesc`.
    MicrodescConsensus,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RouterStatuses => "router-status list",
            Self::PlainConsensus => "plain consensus",
            Self::MicrodescConsensus => "microdesc consensus",
        })
    }
}

/// Mistake in one line of a list of router statuses.
///
/// ```
/// use onionweave_ring::Error;
/// use onionweave_ring::relays::{LineProblem, RelayList};
///
/// let document = "s Fast HSDir\n";
/// let Err(Error::Line { line: 1, problem, .. }) = RelayList::parse(document) else {
///     panic!("it is accepted");
/// };
/// assert_eq!(problem, LineProblem::FlagsBeforeRouter);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineProblem {
    /// An `r` line lacks items.
    #[error("this `r` line has {found} items, it takes {expected}")]
    ShortRouterLine {
        /// Items behind the `r` that the form takes at least.
        expected: usize,
        /// Items that are there.
        found: usize,
    },
    /// The nickname in an `r` line is not 1 to 19 letters and digits.
    #[error("the nickname of this `r` line is not 1 to 19 letters and digits")]
    Nickname,
    /// The identity in an `r` line is not the base64 of 20 bytes.
    #[error("{0}")]
    Identity(Box<Error>),
    /// An `s` line stands before the first `r` line.
    #[error("an `s` line comes before any `r` line")]
    FlagsBeforeRouter,
    /// Two `s` lines follow one `r` line.
    #[error("a second `s` line for the relay of line {router_line}")]
    SecondFlags {
        /// The line of the relay, counted from 1.
        router_line: usize,
    },
    /// No `s` line follows an `r` line: the text was cut off, or is something else.
    #[error("no `s` line follows this `r` line")]
    NoFlags,
    /// A consensus begins with another line than `network-status-version 3` and its flavour.
    #[error("no consensus of this flavour begins here")]
    OtherDocument,
    /// A second consensus follows the first.
    #[error("another consensus begins here; one is read at a time")]
    SecondDocument,
    /// The document is an authority's vote, not the consensus of all.
    #[error("this is an authority's vote, and no consensus")]
    Vote,
    /// The header lacks a line.
    #[error("the header, which ends here, lacks its line `{0}`")]
    Missing(&'static str),
    /// A line of the header is no time.
    #[error("`{keyword}`: {error}")]
    #[non_exhaustive]
    Time {
        /// First item of the line.
        keyword: &'static str,
        /// Mistake in the time.
        error: Box<Error>,
    },
    /// A parameter of the header is not a number of 32 bits.
    #[error("`params`: the value of `{0}` is not a number of 32 bits")]
    Parameter(&'static str),
    /// The three times of the header are not in their order.
    #[error("`valid-after`, `fresh-until` and `valid-until` of the header are not in this order")]
    Lifetime,
    /// The document does not end with a signature.
    #[error("the consensus ends here, without the end of a signature: it is cut off")]
    CutOff,
}

/// The relays of a network, at least one.
///
/// ```
/// use onionweave_ring::relays::RelayList;
///
/// let relays = RelayList::parse(
///     "r test010r CO7RmThdk5e2R3V1aO1NbZgx5Q4 eT8+eS3AI8TLkrGnhe3+8+F4/9Y 2026-11-22 12:06:23 127.0.0.1 5010 7010\n\
///      s Exit Fast Guard HSDir Running Stable V2Dir Valid\n\
///      w Bandwidth=0\n",
/// )?;
/// let [relay] = relays.relays() else { panic!() };
/// assert_eq!(relay.nickname(), "test010r");
/// assert!(relays.hash_ring().contains(&relay.fingerprint()));
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "unchecked::RelayList")
)]
pub struct RelayList {
    form: Form,
    /// Not empty.
    relays: Vec<Relay>,
    /// There for consensuses alone.
    lifetime: Option<Lifetime>,
    onion_services: OnionServices,
}

impl RelayList {
    /// The largest document that is read, in bytes: what Tor itself accepts from a directory server
    /// (`MAX_DIR_DL_SIZE`, feature/dirclient/dirclient.c:73), six times what the public network
    /// needs.
    ///
    /// ```
    /// use onionweave_ring::relays::RelayList;
    ///
    /// let document = "x".repeat(RelayList::MAX_LEN + 1);
    /// assert!(RelayList::from_ns_all(&document).is_err());
    /// ```
    pub const MAX_LEN: usize = (1 << 24) - 1;

    /// Reads a document of any of the three forms.
    ///
    /// The first line tells which one it is, apart from blank lines and annotations (`@type ...`,
    /// as archives have them). Lines may end in LF or CRLF.
    ///
    /// ```
    /// use onionweave_ring::relays::{Form, RelayList};
    ///
    /// let list = RelayList::parse(include_str!("../testdata/v2-network/consensus-microdesc.txt"))?;
    /// assert_eq!(list.form(), Form::MicrodescConsensus);
    ///
    /// let error = RelayList::parse("HTTP/1.0 404 Not found").unwrap_err();
    /// assert!(error.to_string().starts_with("line 1: neither a router status"));
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownForm`] if that line belongs to none of them, [`Error::Empty`] if there is no
    /// such line; else as the function for the form.
    pub fn parse(document: &str) -> Result<Self, Error> {
        Self::parse_with(document, &Microdescriptors::default())
    }

    /// Reads like [`parse`](Self::parse), and looks up each relay's Ed25519 identity in its
    /// microdescriptor.
    ///
    /// A microdesc consensus names the microdescriptors, and so do the router statuses of a Tor
    /// that uses them, as clients do. Where others give the digest of a server descriptor, these
    /// give the first 20 bytes of the microdescriptor's digest. A relay whose microdescriptor is
    /// not there, or is not named, has no known Ed25519 identity; in a plain consensus that is
    /// every relay.
    ///
    /// ```
    /// use onionweave_ring::relays::{Microdescriptors, RelayList};
    ///
    /// let microdescriptors = Microdescriptors::parse(include_str!("../testdata/v3-network/md_all.txt"))?;
    /// let consensus = include_str!("../testdata/v3-network/consensus-microdesc.txt");
    /// let list = RelayList::parse_with(consensus, &microdescriptors)?;
    /// for relay in list.relays() {
    ///     println!("{}: {:?}", relay.nickname(), relay.ed25519_identity());
    /// }
    /// # assert!(list.relays().iter().all(|relay| relay.ed25519_identity().is_some()));
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_with(document: &str, microdescriptors: &Microdescriptors) -> Result<Self, Error> {
        let first = document.lines().enumerate().find(|(_, line)| !is_preface(line));
        let Some((index, line)) = first else {
            return Err(Error::Empty {
                form: Form::RouterStatuses,
            });
        };
        let mut items = line.split_ascii_whitespace();
        let form = match items.next() {
            Some("network-status-version") => Form::of_consensus(items),
            Some("r" | "s") => Some(Form::RouterStatuses),
            _ => None,
        };
        match form {
            Some(form) => Self::read(form, document, microdescriptors),
            None => Err(Error::UnknownForm { line: index + 1 }),
        }
    }

    /// Reads router statuses: the answer to `GETINFO ns/all`, or the body of a `NEWCONSENSUS`
    /// event.
    ///
    /// Relays may stand in any order; one that is listed twice counts once on the ring. Lines other
    /// than `r` and `s` are passed over.
    ///
    /// ```
    /// use onionweave_ring::relays::RelayList;
    ///
    /// let list = RelayList::from_ns_all(include_str!("../testdata/v2-network/ns_all.txt"))?;
    /// assert_eq!(list.relays().len(), 18);
    ///
    /// let error = RelayList::from_ns_all("r test010r\n").unwrap_err();
    /// assert_eq!(error.to_string(), "router-status list, line 1: this `r` line has 1 items, it takes 8");
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Line`] with the line and its mistake. A list of which one line cannot be read is
    /// refused as a whole, since a directory that is overlooked moves its neighbours' duties.
    /// [`Error::Empty`] without relays, [`Error::TooLarge`] beyond [`MAX_LEN`](Self::MAX_LEN).
    pub fn from_ns_all(document: &str) -> Result<Self, Error> {
        Self::read(Form::RouterStatuses, document, &Microdescriptors::default())
    }

    /// Reads a consensus of the flavour `ns`.
    ///
    /// ```
    /// use onionweave_ring::relays::RelayList;
    ///
    /// let list = RelayList::from_consensus(include_str!("../testdata/v2-network/consensus.txt"))?;
    /// assert_eq!(list.relays().len(), 18);
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Line`] if it cannot be read or is cut off, [`Error::Empty`] without relays,
    /// [`Error::TooLarge`] beyond [`MAX_LEN`](Self::MAX_LEN).
    pub fn from_consensus(document: &str) -> Result<Self, Error> {
        Self::read(Form::PlainConsensus, document, &Microdescriptors::default())
    }

    /// Reads a consensus of the flavour `microdesc`.
    ///
    /// ```
    /// use onionweave_ring::relays::RelayList;
    ///
    /// let consensus = include_str!("../testdata/v2-network/consensus-microdesc.txt");
    /// assert_eq!(RelayList::from_microdesc_consensus(consensus)?.relays().len(), 18);
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`from_consensus`](Self::from_consensus).
    pub fn from_microdesc_consensus(document: &str) -> Result<Self, Error> {
        Self::read(Form::MicrodescConsensus, document, &Microdescriptors::default())
    }

    fn read(form: Form, document: &str, microdescriptors: &Microdescriptors) -> Result<Self, Error> {
        check_len(document)?;
        match form {
            Form::RouterStatuses => {
                let relays = router_status::parse(document, microdescriptors)?;
                Self::new(form, relays, None, OnionServices::default())
            }
            Form::PlainConsensus | Form::MicrodescConsensus => {
                let (relays, lifetime, onion_services) = consensus::parse(form, document, microdescriptors)?;
                Self::new(form, relays, Some(lifetime), onion_services)
            }
        }
    }

    fn new(
        form: Form,
        relays: Vec<Relay>,
        lifetime: Option<Lifetime>,
        onion_services: OnionServices,
    ) -> Result<Self, Error> {
        if relays.is_empty() {
            return Err(Error::Empty { form });
        }
        Ok(Self {
            form,
            relays,
            lifetime,
            onion_services,
        })
    }

    /// Form of the document that the list was read from.
    ///
    /// ```
    /// # use onionweave_ring::relays::{Form, RelayList};
    /// let list = RelayList::parse(include_str!("../testdata/v2-network/ns_all.txt"))?;
    /// assert_eq!(list.form(), Form::RouterStatuses);
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    pub const fn form(&self) -> Form {
        self.form
    }

    /// The relays in the order of the document.
    ///
    /// ```
    /// # use onionweave_ring::relays::RelayList;
    /// let list = RelayList::parse(include_str!("../testdata/v2-network/ns_all.txt"))?;
    /// assert_eq!(list.relays()[0].nickname(), "test010r");
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    pub fn relays(&self) -> &[Relay] {
        &self.relays
    }

    /// When the consensus holds; router statuses do not say.
    ///
    /// ```
    /// # use onionweave_ring::relays::RelayList;
    /// let list = RelayList::parse(include_str!("../testdata/v2-network/ns_all.txt"))?;
    /// assert_eq!(list.lifetime(), None);
    /// let list = RelayList::parse(include_str!("../testdata/v2-network/consensus.txt"))?;
    /// assert!(list.lifetime().is_some());
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    pub const fn lifetime(&self) -> Option<Lifetime> {
        self.lifetime
    }

    /// The values that the consensus sets for onion services of version 3; the defaults, where the
    /// source is no consensus.
    ///
    /// ```
    /// # use onionweave_ring::relays::RelayList;
    /// let list = RelayList::parse(include_str!("../testdata/v3-network/consensus-microdesc.txt"))?;
    /// assert_eq!(list.onion_services().spread_fetch(), 3);
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    pub const fn onion_services(&self) -> &OnionServices {
        &self.onion_services
    }

    /// The relays with the HSDir flag. There may be none.
    ///
    /// ```
    /// # use onionweave_ring::relays::RelayList;
    /// let list = RelayList::parse(include_str!("../testdata/v2-network/ns_all.txt"))?;
    /// assert_eq!(list.hash_ring().len(), 18);
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    pub fn hash_ring(&self) -> HashRing {
        self.relays
            .iter()
            .filter(|relay| relay.is_hsdir)
            .map(Relay::fingerprint)
            .collect()
    }
}

#[cfg(feature = "serde")]
mod unchecked {
    use super::{Form, Lifetime, OnionServices, Relay};

    /// Fields of a serialised list.
    #[derive(serde::Deserialize)]
    pub(super) struct RelayList {
        form: Form,
        relays: Vec<Relay>,
        lifetime: Option<Lifetime>,
        #[serde(default)]
        onion_services: OnionServices,
    }

    impl TryFrom<RelayList> for super::RelayList {
        type Error = String;

        fn try_from(list: RelayList) -> Result<Self, String> {
            let RelayList {
                form,
                relays,
                lifetime,
                onion_services,
            } = list;
            match (form, lifetime) {
                (Form::RouterStatuses, Some(_)) => Err(format!("a {form} has no lifetime")),
                (Form::PlainConsensus | Form::MicrodescConsensus, None) => Err(format!("a {form} has a lifetime")),
                _ => Self::new(form, relays, lifetime, onion_services).map_err(|error| error.to_string()),
            }
        }
    }
}

#[cfg(feature = "arbitrary")]
impl<'a> arbitrary::Arbitrary<'a> for RelayList {
    fn arbitrary(input: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        let (form, first): (Form, Relay) = input.arbitrary()?;
        let lifetime = match form {
            Form::RouterStatuses => None,
            Form::PlainConsensus | Form::MicrodescConsensus => Some(input.arbitrary()?),
        };
        let others = input.arbitrary_iter()?;
        let relays = core::iter::once(Ok(first))
            .chain(others)
            .collect::<arbitrary::Result<_>>()?;
        Ok(Self {
            form,
            relays,
            lifetime,
            onion_services: input.arbitrary()?,
        })
    }
}

/// Whether a line ahead of a document says nothing: it is blank or an annotation.
fn is_preface(line: &str) -> bool {
    let line = line.trim_ascii();
    line.is_empty() || line.starts_with('@')
}

fn check_len(document: &str) -> Result<(), Error> {
    if document.len() > RelayList::MAX_LEN {
        return Err(Error::TooLarge {
            size: document.len(),
            limit: RelayList::MAX_LEN,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
