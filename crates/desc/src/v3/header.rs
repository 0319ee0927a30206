//! The lines in front of the introduction points (rend-spec-v3, section 2.5.2.2). References are to
//! feature/hs/hs_descriptor.c.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use data_encoding::BASE64;
use onionweave_ring::UnixTime;

use crate::base64;
use crate::bytes::parse_unsigned;
use crate::error::{Error, Section};
use crate::tokens::{Arguments, Items, ObjectRule, Rule};

/// `hs_desc_encrypted_v3_token_table` (:153)
static RULES: [Rule; 5] = [
    Rule::once("create2-formats", Arguments::Line, ObjectRule::None).first(),
    Rule::once("intro-auth-required", Arguments::AtLeast(1), ObjectRule::None).optional(),
    Rule::once("single-onion-service", Arguments::AtLeast(0), ObjectRule::None).optional(),
    Rule::once("flow-control", Arguments::AtLeast(2), ObjectRule::None).optional(),
    Rule::once("pow-params", Arguments::AtLeast(4), ObjectRule::None).optional(),
];
const CREATE2_FORMATS: usize = 0;
const INTRO_AUTH_REQUIRED: usize = 1;
const SINGLE_ONION: usize = 2;
const FLOW_CONTROL: usize = 3;
const POW_PARAMS: usize = 4;

/// `ONION_HANDSHAKE_TYPE_NTOR`
const NTOR: u64 = 2;

/// Largest protocol version: `MAX_PROTOCOL_VERSION` (core/or/protover.c).
const MAX_PROTOCOL_VERSION: u8 = 63;

/// The lines in front of a descriptor's introduction points.
///
/// The default is what a plain service writes on a network without congestion control.
///
/// ```
/// use onionweave_desc::v3::{FlowControl, Header};
///
/// let header = Header::default().with_flow_control(Some(FlowControl::new("1-2", 31)));
/// assert_eq!(header.flow_control().map(|line| line.sendme_increment()), Some(31));
/// assert!(!header.is_single_onion() && header.clone().with_single_onion(true).is_single_onion());
/// assert_eq!((header.intro_auth_required(), header.proof_of_work()), (None, None));
/// assert_eq!(header.clone().with_proof_of_work(None), header);
///
/// // A source that has no such line takes it from all.
/// assert_eq!(Header::merge([&header, &Header::default()]), Header::default());
/// assert_eq!(Header::merge([&header, &header]), header);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    intro_auth_required: Option<String>,
    single_onion: bool,
    flow_control: Option<FlowControl>,
    proof_of_work: Option<ProofOfWork>,
    unknown_lines: Vec<Vec<u8>>,
}

impl Header {
    /// Reads the lines of a whole inner layer, whose first point begins at `end`.
    pub(super) fn read(text: &[u8], end: usize) -> Result<Self, Error> {
        let items = Items::read(Section::Encrypted, text, &RULES)?;
        // `decode_create2_list` (:1289): what cannot be read is passed over.
        let formats = items.get(CREATE2_FORMATS)?.argument.split(|byte| *byte == b' ');
        let mut formats = formats.filter_map(|format| parse_unsigned(format, 1, u16::MAX.into()));
        if !formats.any(|format| format == NTOR) {
            return Err(items.bad_value(CREATE2_FORMATS, "a list that has 2 (ntor) in it"));
        }
        let mut header = Self::default();
        if let Some(item) = items.find(INTRO_AUTH_REQUIRED) {
            // `decode_auth_type` (:1262): the first word decides, by its beginning.
            if !item.argument.starts_with(b"ed25519") {
                return Err(items.bad_value(INTRO_AUTH_REQUIRED, "`ed25519`"));
            }
            let types = std::iter::once(&item.argument).chain(&item.more);
            let types: Vec<_> = types.map(|kind| String::from_utf8_lossy(kind)).collect();
            header.intro_auth_required = Some(types.join(" "));
        }
        header.single_onion = items.find(SINGLE_ONION).is_some();
        if let Some(item) = items.find(FLOW_CONTROL) {
            let increment = item.more.first().copied().unwrap_or_default();
            // `congestion_control_validate_sendme_increment`: zero never fits; what else does,
            // depends on the consensus.
            let increment =
                parse_unsigned(increment, 1, u8::MAX.into()).and_then(|increment| increment.try_into().ok());
            let wanted = "protocol versions and an increment from 1 to 255";
            let increment = increment.ok_or_else(|| items.bad_value(FLOW_CONTROL, wanted))?;
            let versions = String::from_utf8_lossy(item.argument);
            header.flow_control = Some(FlowControl::new(&versions, increment));
        }
        if let Some(item) = items.find(POW_PARAMS) {
            let read = ProofOfWork::read(item.argument, &item.more);
            let wanted = "`v1`, a seed, an effort and a time";
            header.proof_of_work = Some(read.ok_or_else(|| items.bad_value(POW_PARAMS, wanted))?);
        }
        header.unknown_lines = items.unknown_before(end).map(<[u8]>::to_vec).collect();
        Ok(header)
    }

    /// The header for a descriptor with points of all these sources, as its clients need it.
    ///
    /// - `flow-control` stays if all sources have it: the versions that all know, and the increment
    ///   that most have.
    /// - `single-onion-service` stands if it does in any.
    /// - Proof of work stays if there is one source alone: a solution is bound to the seed of one
    ///   instance. Whether it can be used at all depends on the keys as well, which is for the
    ///   caller to know.
    /// - Unknown lines stay if all sources have the same.
    /// - `intro-auth-required` goes: no Tor writes it.
    pub fn merge<'a>(sources: impl IntoIterator<Item = &'a Self>) -> Self {
        let sources: Vec<&Self> = sources.into_iter().collect();
        let Some((first, others)) = sources.split_first() else {
            return Self::default();
        };
        let same_unknown = others.iter().all(|other| other.unknown_lines == first.unknown_lines);
        Self {
            intro_auth_required: None,
            single_onion: sources.iter().any(|source| source.single_onion),
            flow_control: FlowControl::merge(&sources),
            proof_of_work: others.is_empty().then(|| first.proof_of_work.clone()).flatten(),
            unknown_lines: if same_unknown {
                first.unknown_lines.clone()
            } else {
                Vec::new()
            },
        }
    }

    /// The kinds of authentication that introductions take, as the line says it. No Tor writes one.
    pub fn intro_auth_required(&self) -> Option<&str> {
        self.intro_auth_required.as_deref()
    }

    /// Whether the service's own end of the circuits has a single hop.
    pub fn is_single_onion(&self) -> bool {
        self.single_onion
    }

    /// The way in which clients control congestion.
    pub fn flow_control(&self) -> Option<&FlowControl> {
        self.flow_control.as_ref()
    }

    /// The puzzle that clients may solve in order to be served first.
    pub fn proof_of_work(&self) -> Option<&ProofOfWork> {
        self.proof_of_work.as_ref()
    }

    /// Items that this crate does not know, each with its object, without the last newline.
    ///
    /// ```
    /// use onionweave_desc::v3::Header;
    ///
    /// assert_eq!(Header::default().unknown_lines().count(), 0);
    /// ```
    pub fn unknown_lines(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.unknown_lines
            .iter()
            .map(|line| line.strip_suffix(b"\n").unwrap_or(line))
    }

    /// Sets whether the service's own end of the circuits has a single hop.
    #[must_use]
    pub fn with_single_onion(mut self, single_onion: bool) -> Self {
        self.single_onion = single_onion;
        self
    }

    /// Sets how clients control congestion.
    #[must_use]
    pub fn with_flow_control(mut self, flow_control: Option<FlowControl>) -> Self {
        self.flow_control = flow_control;
        self
    }

    /// Sets the puzzle that clients may solve.
    #[must_use]
    pub fn with_proof_of_work(mut self, proof_of_work: Option<ProofOfWork>) -> Self {
        self.proof_of_work = proof_of_work;
        self
    }

    /// Writes the lines as `get_inner_encrypted_layer_plaintext` does (:760).
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut text = String::from("create2-formats 2\n");
        // Writing to a string cannot fail.
        if let Some(types) = &self.intro_auth_required {
            let _ = writeln!(text, "intro-auth-required {types}");
        }
        if self.single_onion {
            text.push_str("single-onion-service\n");
        }
        if let Some(FlowControl { versions, increment }) = &self.flow_control {
            let _ = writeln!(text, "flow-control {versions} {increment}");
        }
        if let Some(pow) = &self.proof_of_work {
            let ProofOfWork { seed, effort, expires } = pow;
            let seed = BASE64.encode(seed);
            let expires = expires.to_string().replace(' ', "T");
            let _ = writeln!(text, "pow-params v1 {seed} {effort} {expires}");
        }
        out.extend_from_slice(text.as_bytes());
        for line in self.unknown_lines() {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
    }
}

/// Line `flow-control`: how clients control congestion on circuits to the service (proposal 324).
///
/// ```
/// use onionweave_desc::v3::FlowControl;
///
/// let line = FlowControl::new("1-2", 31);
/// assert_eq!((line.versions(), line.sendme_increment()), ("1-2", 31));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowControl {
    versions: String,
    increment: u8,
}

impl FlowControl {
    /// A line with these versions of the protocol `FlowCtrl`, as in `1-2`, and this number of cells
    /// that one SENDME acknowledges.
    pub fn new(versions: &str, sendme_increment: u8) -> Self {
        Self {
            versions: versions.to_owned(),
            increment: sendme_increment,
        }
    }

    /// The versions of the protocol `FlowCtrl`, as the line says them.
    pub fn versions(&self) -> &str {
        &self.versions
    }

    /// Number of cells that one SENDME acknowledges. Clients refuse a descriptor whose number is
    /// far from that of the consensus (`cc_sendme_inc`, 31).
    pub fn sendme_increment(&self) -> u8 {
        self.increment
    }

    fn merge(sources: &[&Header]) -> Option<Self> {
        let lines: Vec<&Self> = sources
            .iter()
            .map(|source| source.flow_control.as_ref())
            .collect::<Option<_>>()?;
        let (first, others) = lines.split_first()?;
        let mut counts = BTreeMap::<u8, usize>::new();
        for line in &lines {
            *counts.entry(line.increment).or_default() += 1;
        }
        let (increment, _) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        if others.iter().all(|other| other.versions == first.versions) {
            return Some(Self::new(&first.versions, increment));
        }
        let mut versions = read_versions(&first.versions)?;
        for other in others {
            let known = read_versions(&other.versions)?;
            versions.retain(|version| known.contains(version));
        }
        (!versions.is_empty()).then(|| Self::new(&write_versions(&versions), increment))
    }
}

/// Reads versions of a protocol, as in `1-3,5` (tor-spec, "Subprotocol versioning").
fn read_versions(text: &str) -> Option<BTreeSet<u8>> {
    let mut versions = BTreeSet::new();
    for range in text.split(',') {
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        let (low, high): (u8, u8) = (low.parse().ok()?, high.parse().ok()?);
        if low > high || high > MAX_PROTOCOL_VERSION {
            return None;
        }
        versions.extend(low..=high);
    }
    Some(versions)
}

fn write_versions(versions: &BTreeSet<u8>) -> String {
    let mut ranges: Vec<(u8, u8)> = Vec::new();
    for &version in versions {
        match ranges.last_mut() {
            Some((_, high)) if *high + 1 == version => *high = version,
            _ => ranges.push((version, version)),
        }
    }
    let ranges = ranges.into_iter().map(|(low, high)| match low == high {
        true => low.to_string(),
        false => format!("{low}-{high}"),
    });
    ranges.collect::<Vec<_>>().join(",")
}

/// Line `pow-params`: the puzzle that clients may solve in order to be served first (proposal 327).
///
/// ```
/// use onionweave_desc::v3::ProofOfWork;
/// use onionweave_ring::UnixTime;
///
/// let pow = ProofOfWork::new([7; 32], 100, UnixTime::from_secs(1_795_356_000));
/// assert_eq!((pow.seed(), pow.effort()), (&[7; 32], 100));
/// assert_eq!(pow.expires().to_string(), "2026-11-22 14:00:00");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofOfWork {
    seed: [u8; 32],
    effort: u32,
    expires: UnixTime,
}

impl ProofOfWork {
    /// A puzzle of kind `v1` with this seed, this suggested effort, and the second at which the
    /// seed expires.
    pub fn new(seed: [u8; 32], effort: u32, expires: UnixTime) -> Self {
        Self { seed, effort, expires }
    }

    /// `decode_pow_params` (:2105)
    fn read(kind: &[u8], more: &[&[u8]]) -> Option<Self> {
        let [seed, effort, expires, ..] = more else {
            return None;
        };
        if !kind.starts_with(b"v1") {
            return None;
        }
        let seed = base64::decode(seed)?.try_into().ok()?;
        let effort = parse_unsigned(effort, 0, u32::MAX.into())?.try_into().ok()?;
        // `parse_iso_time_nospace`: a `T` where the usual form has a space.
        let (date, time) = std::str::from_utf8(expires).ok()?.split_once('T')?;
        let expires = UnixTime::from_iso(&format!("{date} {time}")).ok()?;
        Some(Self { seed, effort, expires })
    }

    /// The seed, by which the instance knows solutions to its own puzzle.
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// The effort that clients are asked for; zero if none is needed now.
    pub fn effort(&self) -> u32 {
        self.effort
    }

    /// The second at which the seed expires.
    pub fn expires(&self) -> UnixTime {
        self.expires
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Header, Error> {
        Header::read(text.as_bytes(), text.len())
    }

    fn written(header: &Header) -> String {
        let mut text = Vec::new();
        header.write(&mut text);
        String::from_utf8(text).unwrap()
    }

    const SEED: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn reads_what_c_tor_reads() {
        let pow = |rest: &str| format!("create2-formats 2\npow-params {rest}\n");
        // (text, whether C Tor takes it)
        let table = [
            ("create2-formats 2\n".to_owned(), true),
            ("create2-formats 2".to_owned(), true),
            ("create2-formats 1 2 9\n".to_owned(), true),
            ("create2-formats x 2\n".to_owned(), true),
            ("create2-formats 1 3\n".to_owned(), false),
            ("create2-formats 2\r\n".to_owned(), false),
            ("create2-formats\n".to_owned(), false),
            ("single-onion-service\ncreate2-formats 2\n".to_owned(), false),
            ("create2-formats 2\ncreate2-formats 2\n".to_owned(), false),
            (
                "create2-formats 2\nintro-auth-required ed25519 other\n".to_owned(),
                true,
            ),
            (
                "create2-formats 2\nintro-auth-required other ed25519\n".to_owned(),
                false,
            ),
            ("create2-formats 2\nintro-auth-required\n".to_owned(), false),
            ("create2-formats 2\nsingle-onion-service\n".to_owned(), true),
            ("create2-formats 2\nsingle-onion-service a b\n".to_owned(), true),
            ("create2-formats 2\nflow-control 1-2 31\n".to_owned(), true),
            ("create2-formats 2\nflow-control nonsense 31 more\n".to_owned(), true),
            ("create2-formats 2\nflow-control 1-2\n".to_owned(), false),
            ("create2-formats 2\nflow-control 1-2 0\n".to_owned(), false),
            ("create2-formats 2\nflow-control 1-2 256\n".to_owned(), false),
            (
                "create2-formats 2\nflow-control 1-2 31\nflow-control 1-2 31\n".to_owned(),
                false,
            ),
            (pow(&format!("v1 {SEED} 0 2026-11-22T14:00:00")), true),
            (
                pow(&format!("v1 {} 0 2026-11-22T14:00:00", SEED.trim_end_matches('='))),
                true,
            ),
            (pow(&format!("v1x {SEED} 4294967295 2026-11-22T14:00:00 more")), true),
            (pow(&format!("v2 {SEED} 0 2026-11-22T14:00:00")), false),
            (pow(&format!("v1 {SEED} 4294967296 2026-11-22T14:00:00")), false),
            (pow(&format!("v1 {SEED} 0 2026-11-22")), false),
            (pow("v1 AAAA 0 2026-11-22T14:00:00"), false),
            (pow(&format!("v1 {SEED} 0")), false),
            ("create2-formats 2\nunknown line\n".to_owned(), true),
        ];
        for (text, accepted) in table {
            assert_eq!(read(&text).is_ok(), accepted, "{text:?}: {:?}", read(&text));
        }
    }

    #[test]
    fn writes_the_lines_in_the_order_of_c_tor() {
        let text = format!(
            "create2-formats 2\nsingle-onion-service\nflow-control 1-2 31\n\
             pow-params v1 {SEED} 7 2026-11-22T14:00:00\nunknown a\n-----BEGIN X-----\nAAAA\n-----END X-----\n"
        );
        let header = read(&text).unwrap();
        assert_eq!(header.unknown_lines().len(), 1);
        assert_eq!(written(&header), text);
        assert_eq!(written(&Header::default()), "create2-formats 2\n");
    }

    #[test]
    fn merges_what_all_can_bear() {
        let with = |line: &str| read(&format!("create2-formats 2\n{line}\n")).unwrap();
        let merged = |lines: &[&str]| {
            let headers: Vec<_> = lines.iter().map(|line| with(line)).collect();
            written(&Header::merge(&headers))
        };
        let expect = |line: &str| format!("create2-formats 2\n{line}");
        assert_eq!(
            merged(&["flow-control 1-2 31", "flow-control 1-2 31"]),
            expect("flow-control 1-2 31\n")
        );
        assert_eq!(
            merged(&["flow-control 1-3 31", "flow-control 2-5,7 31"]),
            expect("flow-control 2-3 31\n")
        );
        assert_eq!(merged(&["flow-control 1 31", "flow-control 2 31"]), expect(""));
        assert_eq!(merged(&["flow-control 1 31", ""]), expect(""));
        assert_eq!(
            merged(&["flow-control 1 30", "flow-control 1 31", "flow-control 1 31"]),
            expect("flow-control 1 31\n")
        );
        assert_eq!(merged(&["flow-control 9-1 31", "flow-control 1 31"]), expect(""));
        assert_eq!(
            merged(&["flow-control 1-4000000000 31", "flow-control 1 31"]),
            expect("")
        );
        assert_eq!(merged(&["single-onion-service", ""]), expect("single-onion-service\n"));
        assert_eq!(merged(&["new a", "new a"]), expect("new a\n"));
        assert_eq!(merged(&["new a", "new b"]), expect(""));
        let pow = format!("pow-params v1 {SEED} 7 2026-11-22T14:00:00");
        assert_eq!(merged(&[&pow]), expect(&format!("{pow}\n")));
        assert_eq!(merged(&[&pow, &pow]), expect(""));
        assert_eq!(merged(&[]), expect(""));
    }
}
