//! Microdescriptors, read by tor-netdoc. None of its types leaves this file.

use std::borrow::Cow;

use tor_netdoc::AllowAnnotations;
use tor_netdoc::doc::microdesc::MicrodescReader;

use super::check_len;
use crate::{Ed25519Identity, Error};

/// The microdescriptors of a network's relays, as far as rings are concerned: who has which Ed25519 identity.
///
/// A microdescriptor does not name its relay; a consensus does, by the microdescriptor's digest. So they are joined when a
/// list of relays is read, with [`RelayList::parse_with`](super::RelayList::parse_with).
///
/// Specification: dir-spec, section 3.3.
///
/// ```
/// use onionweave_ring::relays::{Microdescriptors, RelayList};
///
/// // The answers to `GETINFO md/all` and `GETINFO dir/status-vote/current/consensus-microdesc`.
/// let microdescriptors = Microdescriptors::parse(include_str!("../../testdata/v3-network/md_all.txt"))?;
/// let consensus = include_str!("../../testdata/v3-network/consensus-microdesc.txt");
///
/// let list = RelayList::parse_with(consensus, &microdescriptors)?;
/// assert!(list.relays().iter().all(|relay| relay.ed25519_identity().is_some()));
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Microdescriptors {
    /// By SHA-256 digest, strictly ascending.
    identities: Vec<([u8; 32], Ed25519Identity)>,
}

impl Microdescriptors {
    /// Reads microdescriptors one behind the other: the answer to `GETINFO md/all`, or Tor's files `cached-microdescs` and
    /// `cached-microdescs.new`. There may be none.
    ///
    /// Lines may end in LF or CRLF, and the end of the last one may be missing, as the control port's multi-line values end;
    /// neither changes a digest.
    ///
    /// # Errors
    /// [`Error::Microdescriptors`] if any cannot be read, one without an Ed25519 identity included;
    /// [`Error::TooLarge`] beyond [`RelayList::MAX_LEN`](super::RelayList::MAX_LEN).
    ///
    /// ```
    /// use onionweave_ring::relays::Microdescriptors;
    ///
    /// let text = include_str!("../../testdata/v3-network/md_all.txt");
    /// assert_eq!(Microdescriptors::parse(text)?.len(), 16);
    /// let error = Microdescriptors::parse("onion-key\nid ed25519 short\n").unwrap_err();
    /// assert!(error.to_string().starts_with("microdescriptors: "));
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    pub fn parse(document: &str) -> Result<Self, Error> {
        check_len(document)?;
        let mut text = Cow::Borrowed(document);
        // First, since it may complete a CRLF.
        if !text.is_empty() && !text.ends_with('\n') {
            text.to_mut().push('\n');
        }
        if text.contains('\r') {
            text = Cow::Owned(text.replace("\r\n", "\n"));
        }
        let refused = |error: tor_netdoc::Error| Error::Microdescriptors {
            message: error.to_string(),
        };
        let mut identities = Vec::new();
        for read in MicrodescReader::new(&text, &AllowAnnotations::AnnotationsAllowed).map_err(refused)? {
            let microdescriptor = read.map_err(refused)?.into_microdesc();
            let identity: [u8; 32] = (*microdescriptor.ed25519_id()).into();
            identities.push((microdescriptor.sha256, identity.into()));
        }
        identities.sort_unstable();
        identities.dedup();
        Ok(Self { identities })
    }

    /// How many different ones there are.
    ///
    /// ```
    /// use onionweave_ring::relays::Microdescriptors;
    ///
    /// assert_eq!(Microdescriptors::default().len(), 0);
    /// ```
    pub fn len(&self) -> usize {
        self.identities.len()
    }

    /// Whether there is none.
    ///
    /// ```
    /// use onionweave_ring::relays::Microdescriptors;
    ///
    /// assert!(Microdescriptors::parse("")?.is_empty());
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.identities.is_empty()
    }

    /// The identity in the microdescriptor whose SHA-256 digest begins with these bytes: all 32 of it in a consensus, 20
    /// in a router status.
    pub(super) fn identity_by_digest(&self, start: &[u8]) -> Option<Ed25519Identity> {
        let first = self.identities.partition_point(|(digest, _)| digest.as_slice() < start);
        let (digest, identity) = self.identities.get(first)?;
        digest.starts_with(start).then_some(*identity)
    }
}
