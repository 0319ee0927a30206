//! Tests of the features `serde` and `arbitrary`.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use arbitrary::{Arbitrary as _, Unstructured};
use onionweave_desc::v2::{
    Authorization, ClientName, Descriptor, Draft, IntroductionPoint, PublicKey, ServiceKey, UnverifiedDescriptor,
};
use onionweave_ring::UnixTime;
use onionweave_ring::v2::{AuthorizationKind, Replica, TimePeriod};
use proptest::prelude::*;
use serde::Deserialize as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde::de::value::{BytesDeserializer, Error as ValueError};

const TEXT: &[u8] = include_bytes!("../testdata/plain/descriptor-rf75jzdtba4wnd6v.txt");

fn descriptor() -> Descriptor {
    UnverifiedDescriptor::parse(TEXT).unwrap().verify().unwrap()
}

fn key() -> ServiceKey {
    ServiceKey::from_pem(include_str!("../testdata/plain/private_key")).unwrap()
}

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    let json = serde_json::to_string(value).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&json).unwrap(), value, "{json}");
}

#[test]
fn everything_comes_back() {
    let descriptor = descriptor();
    round_trip(&descriptor);
    round_trip(descriptor.public_key());
    round_trip(&"alice".parse::<ClientName>().unwrap());
    for kind in [AuthorizationKind::Basic, AuthorizationKind::Stealth] {
        round_trip(&kind);
    }
    for point in descriptor.introduction_points().unwrap() {
        round_trip(&point);
    }
    let json = serde_json::to_value(&descriptor).unwrap();
    assert_eq!(json.as_str().unwrap().as_bytes(), TEXT, "a text stays a text");
    let again: UnverifiedDescriptor = serde_json::from_value(json).unwrap();
    assert_eq!(again.text(), TEXT);
}

/// An item that Tor does not know may hold any bytes.
#[test]
fn text_that_is_no_utf8_comes_back_to_the_byte() {
    let mut text = TEXT.to_vec();
    let at = text.windows(8).position(|bytes| bytes == b"\nversion").unwrap();
    text.splice(at..at, *b"\nunknown \xff\xfe");
    let unverified = UnverifiedDescriptor::parse(&text).unwrap();
    let json = serde_json::to_string(&unverified).unwrap();
    let again: UnverifiedDescriptor = serde_json::from_str(&json).unwrap();
    assert_eq!(again.text(), text);
}

#[test]
fn formats_without_strings_take_bytes() {
    let bytes = BytesDeserializer::<ValueError>::new(TEXT);
    assert_eq!(Descriptor::deserialize(bytes).unwrap(), descriptor());
}

#[test]
fn what_comes_in_is_checked() {
    let refusal = |json: &serde_json::Value| {
        serde_json::from_value::<Descriptor>(json.clone())
            .unwrap_err()
            .to_string()
    };

    let text = String::from_utf8(TEXT.to_vec()).unwrap();
    let forged = text.replacen("version 2", "version 2\nforged", 1);
    assert_eq!(
        refusal(&forged.clone().into()),
        "the signature does not match the text and its permanent key"
    );
    assert!(serde_json::from_value::<UnverifiedDescriptor>(forged.into()).is_ok());
    assert!(refusal(&"x".repeat(20_481).into()).contains("at most 20480 bytes"));
    assert!(refusal(&vec![0_u8; 20_481].into()).contains("at most 20480 bytes"));
    assert!(refusal(&7.into()).contains("the text of a document"));

    let two: String = descriptor().introduction_points().unwrap()[..2]
        .iter()
        .map(ToString::to_string)
        .collect();
    let error = serde_json::from_value::<IntroductionPoint>(two.into())
        .unwrap_err()
        .to_string();
    assert!(error.contains("expected one introduction point"), "{error}");
    assert!(serde_json::from_str::<PublicKey>("\"no key\"").is_err());
    assert!(serde_json::from_str::<ClientName>("\"two words\"").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Holds that whatever is drawn could have been read.
    #[test]
    fn what_is_drawn_is_valid(entropy in prop::collection::vec(any::<u8>(), 4000)) {
        let mut input = Unstructured::new(&entropy);
        let name = ClientName::arbitrary(&mut input).unwrap();
        prop_assert_eq!(name.as_str().parse::<ClientName>().unwrap(), name.clone());
        let public = PublicKey::arbitrary(&mut input).unwrap();
        prop_assert_eq!(&PublicKey::from_der(public.as_der()).unwrap(), &public);
        let authorization = Authorization::arbitrary(&mut input).unwrap();
        prop_assert!(!authorization.cookies().is_empty());
        let point = IntroductionPoint::arbitrary(&mut input).unwrap();
        prop_assert_eq!(IntroductionPoint::parse_list(point.to_string().as_bytes()).unwrap(), [point]);

        let draft = Draft::arbitrary(&mut input).unwrap();
        let key = key();
        let time = UnixTime::from_secs(1_795_352_400);
        let period = TimePeriod::at(&key.service_id(), time);
        let signed = draft.sign(&key, period, Replica::ALL[1], time).unwrap();
        prop_assert_eq!(signed.service_id(), key.service_id());
    }
}
