//! `HS_DESC` and `HS_DESC_CONTENT`, control-spec sections 4.1.25 and 4.1.26;
//! feature/control/control_events.c:1984-2345.
//!
//! What the events don't tell, as it decides how they can be used:
//!
//! - The descriptor ID of a v2 `RECEIVED` or `FAILED` may be that of another replica, or one that
//!   exists nowhere (`get_desc_id_from_query`, :2135-2171). That of `HS_DESC_CONTENT` is right.
//! - `UPLOADED` names no descriptor, and a v2 directory that drops a descriptor answers it as well.
//! - A v3 `+HSPOST` gives no `UPLOAD` (feature/hs/hs_control.c:239-242).
//! - A transfer that fails below HTTP gives no event at all
//!   (feature/dirclient/dirclient.c:729-770).

use std::str;

use data_encoding::HEXUPPER_PERMISSIVE;

use crate::RelayName;
use crate::codec::RawEvent;
use crate::text::{self, split_word};
use crate::words::words;

/// Something happened to an onion service's descriptor.
///
/// ```
/// use onionweave_control::{Event, HsDescReason};
///
/// let line = b"650 HS_DESC FAILED UNKNOWN NO_AUTH $0102030405060708090A0B0C0D0E0F1011121314~dir REASON=NOT_FOUND\r\n";
/// let Event::HsDesc(event) = Event::parse(line)? else { panic!() };
/// assert_eq!(event.address(), None);
/// assert_eq!(event.reason(), Some(&HsDescReason::NotFound));
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct HsDesc {
    action: HsDescAction,
    address: Option<String>,
    auth: Option<HsAuth>,
    hsdir: Option<RelayName>,
    descriptor_id: Option<String>,
    reason: Option<HsDescReason>,
    replica: Option<u8>,
    hsdir_index: Option<[u8; 32]>,
    extra: Vec<String>,
}

impl HsDesc {
    /// `None` if it has not the known form.
    pub(super) fn from_raw(raw: &RawEvent) -> Option<Self> {
        let [line] = raw.lines() else { return None };
        let text = str::from_utf8(line.text()).ok()?;
        let mut words = text.split(' ').filter(|word| !word.is_empty()).skip(1);

        let action = HsDescAction::from_word(words.next()?);
        let address = known(words.next()?).map(str::to_owned);
        let mut event = Self {
            action,
            address,
            auth: None,
            hsdir: None,
            descriptor_id: None,
            reason: None,
            replica: None,
            hsdir_index: None,
            extra: Vec::new(),
        };
        let mut position = 0;
        for word in words {
            if let Some((key, value)) = keyword(word) {
                event.set_keyword(key, value, word);
                continue;
            }
            match position {
                0 => event.auth = known(word).map(HsAuth::from_word),
                1 => event.hsdir = parse_hsdir(word)?,
                2 => event.descriptor_id = known(word).map(str::to_owned),
                _ => event.extra.push(word.to_owned()),
            }
            position += 1;
        }
        Some(event)
    }

    fn set_keyword(&mut self, key: &str, value: &str, word: &str) {
        let understood = match key {
            "REASON" => {
                self.reason = Some(HsDescReason::from_word(value));
                true
            }
            "REPLICA" => {
                self.replica = value.parse().ok();
                self.replica.is_some()
            }
            "HSDIR_INDEX" => {
                self.hsdir_index = HEXUPPER_PERMISSIVE
                    .decode(value.as_bytes())
                    .ok()
                    .and_then(|bytes| bytes.try_into().ok());
                self.hsdir_index.is_some()
            }
            _ => false,
        };
        if !understood {
            self.extra.push(word.to_owned());
        }
    }

    /// The change.
    pub fn action(&self) -> &HsDescAction {
        &self.action
    }

    /// The service's address without `.onion`; `None` for `UNKNOWN`, as in a fetch by descriptor
    /// ID.
    ///
    /// With stealth authorization, it is none of the service's client addresses.
    pub fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// Authorization of clients; `None` for `UNKNOWN`, which all events about uploads say.
    pub fn auth(&self) -> Option<&HsAuth> {
        self.auth.as_ref()
    }

    /// The directory; `None` where there is none.
    pub fn hsdir(&self) -> Option<&RelayName> {
        self.hsdir.as_ref()
    }

    /// The descriptor ID: 32 characters of base32 in v2, the blinded key in base64 in v3. In a v2
    /// `RECEIVED` or `FAILED` it may be wrong.
    pub fn descriptor_id(&self) -> Option<&str> {
        self.descriptor_id.as_deref()
    }

    /// Reason of the failure.
    pub fn reason(&self) -> Option<&HsDescReason> {
        self.reason.as_ref()
    }

    /// The replica of a v2 descriptor that was created, 0 or 1.
    pub fn replica(&self) -> Option<u8> {
        self.replica
    }

    /// Position of a v3 directory on the hash ring.
    pub fn hsdir_index(&self) -> Option<&[u8; 32]> {
        self.hsdir_index.as_ref()
    }

    /// Words that were not understood, as they came.
    pub fn extra(&self) -> &[String] {
        &self.extra
    }
}

words! {
    /// Change of a descriptor.
    pub enum HsDescAction else Unknown {
        /// Being fetched from a directory.
        Requested = "REQUESTED",
        /// Being uploaded to a directory.
        Upload = "UPLOAD",
        /// A fetch ended well.
        Received = "RECEIVED",
        /// A directory answered an upload with 200.
        Uploaded = "UPLOADED",
        /// A fetch or an upload failed.
        Failed = "FAILED",
        /// This Tor's own service made it.
        Created = "CREATED",
    }
}

words! {
    /// Authorization of a service's clients (`rend_auth_type_to_string`,
    /// feature/control/control_events.c:1908).
    pub enum HsAuth else Unknown {
        /// Not at all.
        None = "NO_AUTH",
        /// v2 `basic`.
        Basic = "BASIC_AUTH",
        /// v2 `stealth`.
        Stealth = "STEALTH_AUTH",
        /// v3 with client keys; tor 0.4.9.
        RendV3 = "REND_V3_AUTH",
    }
}

words! {
    /// Reason of a failed fetch or upload.
    pub enum HsDescReason else Unknown {
        /// Not a usable descriptor; also one that needs authorization, or has no introduction
        /// points.
        BadDesc = "BAD_DESC",
        /// The directory refused the request.
        QueryRejected = "QUERY_REJECTED",
        /// The directory refused the descriptor: HTTP status 400.
        UploadRejected = "UPLOAD_REJECTED",
        /// The directory has none.
        NotFound = "NOT_FOUND",
        /// Any other HTTP status.
        Unexpected = "UNEXPECTED",
        /// No directory is left to ask.
        QueryNoHsdir = "QUERY_NO_HSDIR",
        /// Every directory was asked within the last fifteen minutes.
        QueryRateLimited = "QUERY_RATE_LIMITED",
    }
}

/// The end of a fetch (feature/control/control_events.c:2330-2338): what a directory handed out, or
/// nothing if it failed.
///
/// ```
/// use onionweave_control::Event;
///
/// let failed = b"650+HS_DESC_CONTENT UNKNOWN lhrcprndbm75osvtwkzuo5pdj7666cz7 UNKNOWN\r\n\r\n.\r\n650 OK\r\n";
/// let Event::HsDescContent(event) = Event::parse(failed)? else { panic!() };
/// assert!(event.content().is_empty());
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct HsDescContent {
    address: Option<String>,
    descriptor_id: String,
    hsdir: Option<RelayName>,
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::text::lossy_text"))]
    content: Vec<u8>,
}

impl HsDescContent {
    /// Gives the event back if it has not the known form.
    pub(super) fn from_raw(raw: RawEvent) -> Result<Self, RawEvent> {
        let Some(mut event) = Self::from_first_line(&raw) else {
            return Err(raw);
        };
        let content = raw
            .into_lines()
            .into_iter()
            .next()
            .and_then(|line| line.into_data())
            .unwrap_or_default();
        // Tor writes no content as one empty line (control_proto.c:70-118).
        if content != b"\n" {
            event.content = content;
        }
        Ok(event)
    }

    fn from_first_line(raw: &RawEvent) -> Option<Self> {
        let line = raw.lines().first()?;
        line.data()?;
        let (_keyword, rest) = split_word(line.text())?;
        let mut words = text::words(rest).map(str::from_utf8);
        let address = known(words.next()?.ok()?).map(str::to_owned);
        let descriptor_id = words.next()?.ok()?.to_owned();
        let hsdir = match words.next() {
            Some(word) => parse_hsdir(word.ok()?)?,
            None => None,
        };
        Some(Self {
            address,
            descriptor_id,
            hsdir,
            content: Vec::new(),
        })
    }

    /// The service's address without `.onion`; `None` for `UNKNOWN`, as in a fetch by descriptor
    /// ID.
    pub fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// The ID of the descriptor that was asked for. With the directory it names the fetch.
    pub fn descriptor_id(&self) -> &str {
        &self.descriptor_id
    }

    /// The directory; `None` if there was none to ask.
    pub fn hsdir(&self) -> Option<&RelayName> {
        self.hsdir.as_ref()
    }

    /// The descriptor with lines ended by LF; empty if the fetch failed.
    ///
    /// Tor shows only what its own client accepts: a descriptor without introduction points, or
    /// with authorization, is not shown.
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// The descriptor without a copy; empty if the fetch failed.
    pub fn into_content(self) -> Vec<u8> {
        self.content
    }
}

/// `UNKNOWN` stands for what Tor does not know or does not tell.
fn known(word: &str) -> Option<&str> {
    (word != "UNKNOWN").then_some(word)
}

/// A directory's name, `Some(None)` for `UNKNOWN` and for that word misread as a fingerprint;
/// `None` for anything else.
fn parse_hsdir(word: &str) -> Option<Option<RelayName>> {
    match known(word) {
        None => Some(None),
        Some(word) => word
            .parse()
            .ok()
            .map(|name: RelayName| (!name.is_misread_unknown()).then_some(name)),
    }
}

/// Splits `KEY=value`. A v3 descriptor ID is base64, so only upper-case letters, digits and `_`
/// make a key.
fn keyword(word: &str) -> Option<(&str, &str)> {
    let (key, value) = word.split_once('=')?;
    let is_key = !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    (is_key && !value.is_empty()).then_some((key, value))
}
