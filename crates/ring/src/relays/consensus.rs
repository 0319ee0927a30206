//! Consensuses, read by tor-netdoc. None of its types leaves this file.

use std::borrow::Cow;

use tor_netdoc::doc::netstatus::{self, MdConsensus, PlainConsensus};

use super::{Form, Lifetime, Microdescriptors, Relay};
use crate::{Ed25519Identity, Error, Fingerprint};

pub(super) fn parse_plain(document: &str) -> Result<(Vec<Relay>, Lifetime), Error> {
    let input = Input::new(document);
    let (_signed, _rest, consensus) =
        PlainConsensus::parse(&input.text).map_err(|error| input.error(Form::PlainConsensus, &error))?;
    // "Dangerously": neither time nor signatures are checked; see the parent module.
    let consensus = &consensus.dangerously_peek().consensus;
    let relays = consensus.relays().iter().map(|status| {
        let identity = status.rsa_identity().to_bytes();
        relay(identity, status.nickname(), status.is_flagged_hsdir(), None)
    });
    Ok((relays.collect(), lifetime(consensus.lifetime())))
}

/// As [`parse_plain`], of which it differs in types alone: tor-netdoc has no trait over the two.
pub(super) fn parse_microdesc(
    document: &str,
    microdescriptors: &Microdescriptors,
) -> Result<(Vec<Relay>, Lifetime), Error> {
    let input = Input::new(document);
    let (_signed, _rest, consensus) =
        MdConsensus::parse(&input.text).map_err(|error| input.error(Form::MicrodescConsensus, &error))?;
    let consensus = &consensus.dangerously_peek().consensus;
    let relays = consensus.relays().iter().map(|status| {
        let identity = status.rsa_identity().to_bytes();
        let ed25519_identity = microdescriptors.identity_by_digest(status.md_digest());
        relay(identity, status.nickname(), status.is_flagged_hsdir(), ed25519_identity)
    });
    Ok((relays.collect(), lifetime(consensus.lifetime())))
}

/// A document as tor-netdoc wants it.
struct Input<'a> {
    text: Cow<'a, str>,
    /// The line of the document at which `text` begins, counted from 1.
    first_line: usize,
}

impl<'a> Input<'a> {
    /// Makes good what tor-netdoc refuses and what says nothing about the consensus:
    ///
    /// - blank lines and `@type` annotations ahead of it (archives have them; [`super::is_preface`]);
    /// - CRLF at the end of lines, as the control port sends them;
    /// - a missing line end behind the last signature, as the control port's multi-line values end in. The end of any
    ///   other line may not be missing: there the document was cut off.
    fn new(document: &'a str) -> Self {
        let mut rest = document;
        let mut first_line = 1;
        while let Some((line, tail)) = rest.split_once('\n') {
            if !super::is_preface(line) {
                break;
            }
            rest = tail;
            first_line += 1;
        }
        let mut text = Cow::Borrowed(rest);
        if text.contains('\r') {
            text = Cow::Owned(text.replace("\r\n", "\n"));
        }
        if text.ends_with("\n-----END SIGNATURE-----") {
            text.to_mut().push('\n');
        }
        Self { text, first_line }
    }

    fn error(&self, form: Form, error: &tor_netdoc::Error) -> Error {
        Error::Consensus {
            form,
            first_line: self.first_line,
            message: error.to_string(),
        }
    }
}

fn relay(identity: [u8; 20], nickname: &str, is_hsdir: bool, ed25519_identity: Option<Ed25519Identity>) -> Relay {
    Relay {
        fingerprint: Fingerprint::from(identity),
        nickname: nickname.into(),
        is_hsdir,
        ed25519_identity,
    }
}

fn lifetime(lifetime: &netstatus::Lifetime) -> Lifetime {
    Lifetime {
        valid_after: lifetime.valid_after().into(),
        fresh_until: lifetime.fresh_until().into(),
        valid_until: lifetime.valid_until().into(),
    }
}
