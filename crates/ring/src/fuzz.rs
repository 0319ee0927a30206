//! The functions that fuzzing drives; each ends in what must hold for any input.

use crate::relays::RelayList;
use crate::v2::{DescriptorId, SecretIdPart, ServiceId};
use crate::{Fingerprint, UnixTime};

/// Reads `data` as a document of each form and as whichever form it looks like.
pub fn relays(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    let _ = RelayList::parse(text);
    let _ = RelayList::from_ns_all(text);
    let _ = RelayList::from_consensus(text);
    let _ = RelayList::from_microdesc_consensus(text);
}

/// Reads `data` as a name of each kind; what is accepted must be written such that it reads as the same.
pub fn names(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    let _ = (
        text.parse::<ServiceId>(),
        text.parse::<DescriptorId>(),
        text.parse::<SecretIdPart>(),
        text.parse::<Fingerprint>(),
        UnixTime::from_iso(text),
    );
}
