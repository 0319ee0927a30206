//! Arti's reader, `HsDesc`, understands what is signed here as it is meant.

use std::time::SystemTime;

use onionweave_desc::v3::{ClientSecretKey, Descriptor, Draft, FlowControl, Header, PeriodKeys, ServiceKey};
use onionweave_ring::UnixTime;
use onionweave_ring::v3::Period;
use proptest::prelude::*;
use tor_checkable::TimeBound as _;
use tor_hscrypto::Subcredential;
use tor_hscrypto::pk::{HsBlindId, HsClientDescEncKeypair, HsClientDescEncSecretKey};
use tor_llcrypto::pk::curve25519::StaticSecret;
use tor_netdoc::doc::hsdesc::{HsDesc, HsDescError};

use crate::support::{points, recordings};

/// Reads a text as Arti's clients do at `now`.
fn read(
    ours: &Descriptor,
    now: UnixTime,
    subcredential: [u8; 32],
    client: Option<[u8; 32]>,
) -> Result<HsDesc, HsDescError> {
    let sealed = ours.sealed();
    let text = std::str::from_utf8(sealed.text()).unwrap();
    // Arti takes no text without its last newline.
    let text = format!("{}\n", text.trim_end());
    let blinded = HsBlindId::from(*sealed.blinded_id().as_bytes());
    let client = client.map(|secret| {
        let secret = HsClientDescEncSecretKey::from(StaticSecret::from(secret));
        HsClientDescEncKeypair::from_secret_key(secret)
    });
    let read = HsDesc::parse_decrypt_validate(&text, &blinded, &Subcredential::from(subcredential), client.as_ref())?;
    Ok(read.if_valid_at(&SystemTime::from(now)).unwrap())
}

fn assert_same(ours: &Descriptor, theirs: &HsDesc) {
    assert_eq!(u64::from(theirs.revision()), ours.sealed().revision_counter());
    assert_eq!(theirs.is_single_onion_service(), ours.header().is_single_onion());
    let increment = theirs.flow_control().map(|(_, increment)| increment.get());
    assert_eq!(
        increment,
        ours.header().flow_control().map(FlowControl::sendme_increment)
    );
    assert_eq!(theirs.intro_points().len(), ours.points().len());
    for point in ours.points() {
        let same = theirs
            .intro_points()
            .iter()
            .find(|theirs| theirs.ipt_sid_key().as_bytes() == point.auth_key());
        let same = same.unwrap_or_else(|| panic!("Arti has no point {point:?}"));
        assert_eq!(same.ipt_ntor_key().as_bytes(), point.onion_key());
        assert_eq!(same.svc_ntor_key().as_bytes(), point.enc_key());
        assert_eq!(same.link_specifiers().len(), point.link_specifiers().iter().count());
    }
}

#[test]
fn recordings_are_understood_alike() {
    for recording in recordings() {
        let ours = recording.open();
        let theirs = read(&ours, recording.taken_at, *recording.subcredential().as_bytes(), None).unwrap();
        assert_same(&ours, &theirs);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_is_signed_is_understood(
        seed: [u8; 32],
        period in 0_u64..1_000_000,
        seconds in 0_u64..172_800,
        count in 1_u8..=20,
        counter: u64,
        variant: u64,
        single: bool,
        increment in proptest::option::of(1_u8..),
        clients in proptest::collection::btree_set(1_u8.., 0..20),
    ) {
        let mut keys = PeriodKeys::new(&ServiceKey::from_seed(&seed), Period::new(period, 1440));
        let now = UnixTime::from_secs(period * 86_400 + seconds);
        let header = Header::default()
            .with_single_onion(single)
            .with_flow_control(increment.map(|increment| FlowControl::new("1-2", increment)));
        let mut draft = Draft::new(points(count)).header(header);
        let secrets: Vec<ClientSecretKey> = clients.iter().map(|byte| [*byte; 32].into()).collect();
        if !secrets.is_empty() {
            draft = draft.clients(secrets.iter().map(ClientSecretKey::public_key).collect());
        }
        let signed = draft.sign(&mut keys, now, counter, variant).unwrap();
        let subcredential = keys.subcredential();

        let ours = signed.open(&subcredential, secrets.last()).unwrap();
        prop_assert_eq!(ours.points(), points(count));
        prop_assert_eq!(ours.is_restricted(), !secrets.is_empty());
        let client = clients.last().map(|byte| [*byte; 32]);
        let theirs = read(&ours, now, *subcredential.as_bytes(), client);
        let theirs = theirs.unwrap_or_else(|error| panic!("Arti refuses it: {error:?}"));
        assert_same(&ours, &theirs);
    }
}
