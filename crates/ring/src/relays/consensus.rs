//! Consensuses, read by tor-netdoc. None of its types leaves this file.

use std::borrow::Cow;

use tor_netdoc::doc::netstatus::{self, MdConsensus, PlainConsensus};

use super::{Form, Lifetime, Relay};
use crate::{Error, Fingerprint};

pub(super) fn parse_plain(document: &str) -> Result<(Vec<Relay>, Lifetime), Error> {
    let document = with_unix_line_ends(document);
    let (_signed, _rest, consensus) =
        PlainConsensus::parse(&document).map_err(|error| wrong(Form::PlainConsensus, &error))?;
    // "Dangerously": neither time nor signatures are checked; see the parent module.
    let consensus = &consensus.dangerously_peek().consensus;
    let relays = consensus.relays().iter().map(|status| {
        relay(
            status.rsa_identity().to_bytes(),
            status.nickname(),
            status.is_flagged_hsdir(),
        )
    });
    Ok((relays.collect(), lifetime(consensus.lifetime())))
}

pub(super) fn parse_microdesc(document: &str) -> Result<(Vec<Relay>, Lifetime), Error> {
    let document = with_unix_line_ends(document);
    let (_signed, _rest, consensus) =
        MdConsensus::parse(&document).map_err(|error| wrong(Form::MicrodescConsensus, &error))?;
    let consensus = &consensus.dangerously_peek().consensus;
    let relays = consensus.relays().iter().map(|status| {
        relay(
            status.rsa_identity().to_bytes(),
            status.nickname(),
            status.is_flagged_hsdir(),
        )
    });
    Ok((relays.collect(), lifetime(consensus.lifetime())))
}

fn relay(identity: [u8; 20], nickname: &str, is_hsdir: bool) -> Relay {
    Relay {
        fingerprint: Fingerprint::from(identity),
        nickname: nickname.into(),
        is_hsdir,
    }
}

fn lifetime(lifetime: &netstatus::Lifetime) -> Lifetime {
    Lifetime {
        valid_after: lifetime.valid_after().into(),
        fresh_until: lifetime.fresh_until().into(),
        valid_until: lifetime.valid_until().into(),
    }
}

fn wrong(form: Form, error: &tor_netdoc::Error) -> Error {
    Error::Consensus {
        form,
        message: error.to_string(),
    }
}

/// The document with LF for each CRLF, which is how the control port sends it.
fn with_unix_line_ends(document: &str) -> Cow<'_, str> {
    if document.contains('\r') {
        Cow::Owned(document.replace("\r\n", "\n"))
    } else {
        Cow::Borrowed(document)
    }
}
