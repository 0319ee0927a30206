//! Descriptors of services with client authorization: those that Tor wrote, and those written here.

use onionweave_desc::Error;
use onionweave_desc::v2::AuthorizationKind::{Basic, Stealth};
use onionweave_desc::v2::{DescriptorCookie, HostnameFile, IntroductionPoint};
use onionweave_ring::v2::{DescriptorId, Replica, SecretIdPart, TimePeriod};

use crate::support::{BASIC, PLAIN, STEALTH, points, verify};

const BASIC_HOSTNAME: &[u8] = include_bytes!("../../testdata/basic/hostname");
const STEALTH_HOSTNAME: &[u8] = include_bytes!("../../testdata/stealth/hostname");

fn cookie(byte: u8) -> DescriptorCookie {
    DescriptorCookie::from([byte; 16])
}

/// Relays and ports of points, of which the recorded ones are those of the network in `crates/ring/testdata/v2-network/ns_all.txt`.
fn relays(points: &[IntroductionPoint]) -> Vec<(String, u16)> {
    points
        .iter()
        .map(|point| (point.identity().to_string(), point.port()))
        .collect()
}

fn named(relays: [(&str, u16); 3]) -> Vec<(String, u16)> {
    relays.map(|(identity, port)| (identity.to_owned(), port)).to_vec()
}

#[test]
fn each_client_reads_what_tor_wrote_for_it() {
    let basic = verify(BASIC).unwrap();
    assert_eq!(basic.authorization(), Some(Basic));
    let hostname = HostnameFile::parse(BASIC_HOSTNAME).unwrap();
    assert_eq!(hostname.clients().len(), 2);
    for client in hostname.clients() {
        assert_eq!(client.service_id(), basic.service_id());
        let points = basic.introduction_points_for(client.cookie().cookie()).unwrap();
        let expected = named([
            ("38328B342F6D11B2F32C9040078621802B9BC0FF", 5000),
            ("6B21D723C5E65F416C65EC73B7E07FF5DA26C40B", 5008),
            ("ECB71EEC69541BD4C8AE5AD84EDEB74160963C73", 5001),
        ]);
        assert_eq!(relays(&points), expected);
    }

    let hostname = HostnameFile::parse(STEALTH_HOSTNAME).unwrap();
    assert_eq!(hostname.clients().len(), 2);
    for (client, text) in hostname.clients().iter().zip(STEALTH) {
        let descriptor = verify(text).unwrap();
        assert_eq!(descriptor.authorization(), Some(Stealth));
        assert_eq!(client.service_id(), descriptor.service_id());
        let points = descriptor.introduction_points_for(client.cookie().cookie()).unwrap();
        let expected = named([
            ("6B21D723C5E65F416C65EC73B7E07FF5DA26C40B", 5008),
            ("0B77EA68F3D7172838AFFC3085B5DB0E1F7790F9", 5015),
            ("38328B342F6D11B2F32C9040078621802B9BC0FF", 5000),
        ]);
        assert_eq!(relays(&points), expected);
    }
}

/// The descriptor IDs of the recordings, computed from the cookies of their clients.
#[test]
fn stealth_cookies_decide_the_descriptor_id() {
    let hostname = HostnameFile::parse(STEALTH_HOSTNAME).unwrap();
    for (client, text) in hostname.clients().iter().zip(STEALTH) {
        let recorded = verify(text).unwrap();
        let period = TimePeriod::at(&client.service_id(), recorded.publication_time());
        let part = SecretIdPart::new(period, Replica::ALL[1], client.cookie().id_cookie());
        assert_eq!(recorded.secret_id_part(), part);
        assert_eq!(recorded.descriptor_id(), DescriptorId::new(&client.service_id(), &part));
    }
}

#[test]
fn a_wrong_cookie_reads_nothing() {
    for (text, kind) in [(BASIC, Basic), (STEALTH[0], Stealth), (STEALTH[1], Stealth)] {
        let descriptor = verify(text).unwrap();
        assert_eq!(
            descriptor.introduction_points_for(&cookie(1)),
            Err(Error::WrongCookie(kind))
        );
        // Clients take a cookie of zeros for none.
        let without = descriptor.introduction_points_for(&cookie(0));
        assert_eq!(without, Err(Error::ClientAuthorization(kind)));
    }
    let [carol, dave] = STEALTH.map(|text| verify(text).unwrap());
    let hostname = HostnameFile::parse(STEALTH_HOSTNAME).unwrap();
    let of_dave = hostname.clients()[1].cookie().cookie();
    assert!(dave.introduction_points_for(of_dave).is_ok());
    assert_eq!(carol.introduction_points_for(of_dave), Err(Error::WrongCookie(Stealth)));
}

#[test]
fn points_for_everybody_are_read_with_any_cookie() {
    let descriptor = verify(PLAIN).unwrap();
    assert_eq!(descriptor.authorization(), None);
    for byte in [0, 1] {
        assert_eq!(descriptor.introduction_points_for(&cookie(byte)), Ok(points(PLAIN)));
    }
}
