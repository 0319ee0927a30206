//! v2 descriptors as tor-netdoc's `parse2` reads them, derived from structs.

use std::net::Ipv4Addr;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, BASE32_NOPAD_NOCASE};
use derive_deftly::Deftly;
use tor_llcrypto::pk::rsa;
use tor_netdoc::parse2::sig_hashes::Sha1WholeKeywordLine;
use tor_netdoc::parse2::{NetdocParseableUnverified as _, ParseError, ParseInput, parse_netdoc, parse_netdoc_multiple};
use tor_netdoc::types::{Iso8601TimeSp, RsaSha1Signature};
use tor_netdoc::{
    NormalItemArgument, derive_deftly_template_ItemValueParseable, derive_deftly_template_NetdocParseable,
    derive_deftly_template_NetdocParseableSignatures, derive_deftly_template_NetdocParseableUnverified,
};

#[derive(Debug, Clone, Deftly)]
#[derive_deftly(NetdocParseableUnverified)]
pub(crate) struct Descriptor {
    #[deftly(netdoc(single_arg))]
    pub(crate) rendezvous_service_descriptor: Base32,
    #[deftly(netdoc(single_arg))]
    pub(crate) version: Number,
    pub(crate) permanent_key: Key,
    #[deftly(netdoc(single_arg))]
    pub(crate) secret_id_part: Base32,
    #[deftly(netdoc(single_arg))]
    pub(crate) publication_time: Iso8601TimeSp,
    #[deftly(netdoc(single_arg))]
    pub(crate) protocol_versions: String,
    pub(crate) introduction_points: Option<Message>,
}

#[derive(Debug, Clone, Deftly)]
#[derive_deftly(NetdocParseableSignatures)]
#[deftly(netdoc(signatures(hashes_accu = Sha1WholeKeywordLine)))]
pub(crate) struct DescriptorSignatures {
    pub(crate) signature: RsaSha1Signature,
}

#[derive(Debug, Clone, Deftly)]
#[derive_deftly(NetdocParseable)]
pub(crate) struct IntroductionPoint {
    #[deftly(netdoc(single_arg))]
    pub(crate) introduction_point: Base32,
    #[deftly(netdoc(single_arg))]
    pub(crate) ip_address: Ipv4Addr,
    #[deftly(netdoc(single_arg))]
    pub(crate) onion_port: Number,
    pub(crate) onion_key: Key,
    pub(crate) service_key: Key,
}

/// The built-in item refuses keys whose exponent is not 65537, which permanent keys may have. So
/// this one takes any DER.
#[derive(Debug, Clone, PartialEq, Eq, Deftly)]
#[derive_deftly(ItemValueParseable)]
#[deftly(netdoc(no_extra_args))]
pub(crate) struct Key {
    #[deftly(netdoc(object(label = "RSA PUBLIC KEY"), with = tor_netdoc::types::raw_data_object))]
    pub(crate) der: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deftly)]
#[derive_deftly(ItemValueParseable)]
#[deftly(netdoc(no_extra_args))]
pub(crate) struct Message {
    #[deftly(netdoc(object(label = "MESSAGE"), with = tor_netdoc::types::raw_data_object))]
    pub(crate) bytes: Vec<u8>,
}

/// A digest of 20 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Base32(pub(crate) [u8; 20]);

impl FromStr for Base32 {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = BASE32_NOPAD_NOCASE.decode(text.as_bytes());
        let bytes = bytes.map_err(|error| error.to_string())?;
        bytes.try_into().map(Self).map_err(|_| "another length".to_owned())
    }
}

impl std::fmt::Display for Base32 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl NormalItemArgument for Base32 {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number(pub(crate) u16);

impl FromStr for Number {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl NormalItemArgument for Number {}

impl Descriptor {
    /// Parses, and nothing more.
    pub(crate) fn parse(text: &str) -> Result<DescriptorUnverified, ParseError> {
        parse_netdoc(&ParseInput::new(text, ""))
    }

    /// Parses, and proves that the permanent key signed it.
    pub(crate) fn verified(text: &str) -> Result<Self, String> {
        let (body, sigs) = Self::parse(text)
            .map_err(|error| error.to_string())?
            .unwrap_unverified();
        let key = rsa::PublicKey::from_der(&body.permanent_key.der).ok_or("not a key")?;
        let hash = sigs.hashes.0.ok_or("nothing was hashed")?;
        let signature = &sigs.sigs.signature.signature;
        key.verify(&hash, signature).map_err(|error| error.to_string())?;
        Ok(body)
    }
}

impl IntroductionPoint {
    /// The list in a decoded object. It refuses the empty line that ends every list that Tor
    /// writes.
    pub(crate) fn parse_list(text: &str) -> Result<Vec<Self>, ParseError> {
        parse_netdoc_multiple(&ParseInput::new(text, ""))
    }
}
