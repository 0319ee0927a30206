//! A scanner of microdescriptors.

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};

use super::{check_len, is_preface};
use crate::{Ed25519Identity, Error};

/// The microdescriptors of a network's relays, as far as rings are concerned: who has which Ed25519
/// identity.
///
/// A microdescriptor does not name its relay; a consensus does, by the microdescriptor's digest. So
/// they are joined when a list of relays is read, with
/// [`RelayList::parse_with`](super::RelayList::parse_with).
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
    /// Reads microdescriptors one behind the other: the answer to `GETINFO md/all`, or Tor's files
    /// `cached-microdescs` and `cached-microdescs.new`. There may be none.
    ///
    /// One that tells no Ed25519 identity, one that tells two, and one that cannot be read are
    /// passed over: only the relays to which they belong have no known identity. Tor's own files of
    /// 2017 and 2019 hold such entries, and a file that Tor was writing when it died ends in the
    /// middle of one.
    ///
    /// Lines may end in LF or CRLF, and the end of the last one may be missing, as the control
    /// port's multi-line values end; neither changes a digest.
    ///
    /// # Errors
    /// [`Error::NotMicrodescriptors`] if the document begins with something else;
    /// [`Error::TooLarge`] beyond [`RelayList::MAX_LEN`](super::RelayList::MAX_LEN).
    ///
    /// ```
    /// use onionweave_ring::relays::Microdescriptors;
    ///
    /// let text = include_str!("../../testdata/v3-network/md_all.txt");
    /// assert_eq!(Microdescriptors::parse(text)?.len(), 16);
    /// let error = Microdescriptors::parse("router test010r 127.0.0.1 5010 0 7010\n").unwrap_err();
    /// assert!(error.to_string().starts_with("microdescriptors, line 1: "));
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
        let mut identities = Vec::new();
        let mut open: Option<Entry> = None;
        for (number, line) in (1..).zip(text.split_inclusive('\n')) {
            let mut items = line.split_ascii_whitespace();
            let keyword = items.next();
            if keyword == Some("onion-key") && line.starts_with('o') {
                identities.extend(open.take().and_then(Entry::finish));
                open = Some(Entry::default());
            } else if line.starts_with('@') {
                // An annotation, which belongs to the next one (`find_start_of_next_microdesc`,
                // microdesc_parse.c:51).
                identities.extend(open.take().and_then(Entry::finish));
            }
            match &mut open {
                Some(entry) => entry.line(line, keyword, items),
                None if is_preface(line) => {}
                None => return Err(Error::NotMicrodescriptors { line: number }),
            }
        }
        identities.extend(open.and_then(Entry::finish));
        identities.sort_unstable();
        identities.dedup();
        Ok(Self { identities })
    }

    /// Returns the number of different microdescriptors that tell an identity.
    ///
    /// ```
    /// use onionweave_ring::relays::Microdescriptors;
    ///
    /// assert_eq!(Microdescriptors::default().len(), 0);
    /// ```
    pub fn len(&self) -> usize {
        self.identities.len()
    }

    /// Tells whether there is none.
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

    /// Returns the identity in the microdescriptor whose SHA-256 digest begins with these bytes:
    /// all 32 of it in a consensus, 20 in a router status.
    pub(super) fn identity_by_digest(&self, start: &[u8]) -> Option<Ed25519Identity> {
        let first = self.identities.partition_point(|(digest, _)| digest.as_slice() < start);
        let (digest, identity) = self.identities.get(first)?;
        digest.starts_with(start).then_some(*identity)
    }
}

/// A microdescriptor that is being read.
#[derive(Default)]
struct Entry {
    digest: Sha256,
    identity: Option<Ed25519Identity>,
    /// Whether an identity is wrong, or there are two. C Tor drops such an entry
    /// (microdesc_parse.c:219).
    is_wrong: bool,
}

impl Entry {
    fn line<'a>(&mut self, line: &str, keyword: Option<&str>, mut items: impl Iterator<Item = &'a str>) {
        // None holds a blank line; at the end of a file there may be some.
        if keyword.is_some() {
            self.digest.update(line);
        }
        if keyword == Some("id") && items.next() == Some("ed25519") {
            let identity = items.next().and_then(|text| text.parse().ok());
            self.is_wrong |= identity.is_none() || self.identity.is_some();
            self.identity = identity;
        }
    }

    fn finish(self) -> Option<([u8; 32], Ed25519Identity)> {
        let identity = self.identity.filter(|_| !self.is_wrong)?;
        Some((self.digest.finalize().into(), identity))
    }
}
