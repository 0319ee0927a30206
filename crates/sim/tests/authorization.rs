//! Services for authorized clients: nobody can read back what their directories hold, and all the
//! same it is mended.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeSet;
use std::time::Duration;

use onionweave_desc::v2::Authorization;
use onionweave_publish::version::Unfit;
use onionweave_publish::{Cause, Event, InstanceSettings, Report, Settings, SlotId};
use onionweave_ring::v2::DescriptorCookie;
use onionweave_sim::Network;

const SECOND: Duration = Duration::from_secs(1);
const NAMES: [&str; 3] = ["a", "b", "c"];

fn cookie(number: u8) -> DescriptorCookie {
    DescriptorCookie::from([number; 16])
}

fn both_kinds() -> [Authorization; 2] {
    [
        Authorization::Basic(vec![cookie(1), cookie(2)]),
        Authorization::Stealth(cookie(1)),
    ]
}

/// A settled network of three instances.
fn settled(authorization: &Authorization) -> Network {
    let mut network = Network::builder(11)
        .instances(NAMES)
        .settings(|settings| settings.authorization = Some(authorization.clone().into()))
        .build()
        .unwrap();
    for name in NAMES {
        network.start(name);
    }
    network.settle(10 * SECOND).expect("the ring settles");
    network
}

fn slots(network: &Network) -> BTreeSet<SlotId> {
    network.machine().wanted().map(|(slot, _)| slot).collect()
}

/// The plan, as the directories hand it out to an authorized client.
fn assert_handed_out_as_planned(network: &Network) {
    let handed_out = network.handed_out();
    assert_eq!(handed_out.len(), 6);
    for plan in network.machine().plans().values() {
        for (slot, planned) in plan.slots() {
            let planned: BTreeSet<&str> = planned.points().map(|(_, name)| name.as_str()).collect();
            assert_eq!(handed_out[slot], planned);
        }
    }
}

#[test]
fn authorized_clients_read_the_plan_and_nobody_else_reads_anything() {
    for authorization in both_kinds() {
        let network = settled(&authorization);
        assert_handed_out_as_planned(&network);
        for slot in slots(&network) {
            let held = network.held(&slot).unwrap();
            assert!(held.introduction_points().is_err());
            assert!(held.introduction_points_for(&cookie(9)).is_err());
            assert!(held.introduction_points_for(&cookie(1)).is_ok());
        }
        let round = network.reports().iter().rev().find_map(|(_, report)| match report {
            Report::Proved(round) => Some(round),
            _ => None,
        });
        assert!(round.unwrap().sealed, "the report says how little the proof is");
    }
}

#[test]
fn stealth_hides_the_descriptors_from_everybody_else() {
    let open = Network::builder(11);
    let mut open = open.instances(NAMES).build().unwrap();
    open.start("a");
    open.settle(10 * SECOND).unwrap();
    let hidden = settled(&Authorization::Stealth(cookie(1)));
    let service = open.machine().address().v2().unwrap();
    for slot in slots(&hidden) {
        let known = slot.v2_descriptor_id(&service).unwrap();
        assert_ne!(hidden.held(&slot).unwrap().descriptor_id(), known);
    }
}

#[test]
fn death_is_mended() {
    for authorization in both_kinds() {
        let mut network = settled(&authorization);
        network.kill("b");
        network.settle(10 * SECOND).expect("the ring settles");
        assert_handed_out_as_planned(&network);
        assert!(network.handed_out().values().all(|holders| !holders.contains("b")));
    }
}

#[test]
fn directory_that_lost_its_text_is_filled_again() {
    for authorization in both_kinds() {
        let mut network = settled(&authorization);
        let slot = slots(&network).into_iter().next().unwrap();
        network.forget(slot.directory);
        network
            .run_until(90 * SECOND, |network| network.held(&slot).is_some())
            .expect("an audit finds that nothing is there");
        network.settle(10 * SECOND).expect("the ring settles");
        assert_handed_out_as_planned(&network);
    }
}

#[test]
fn loud_instance_is_answered_though_its_text_cannot_be_read() {
    for authorization in both_kinds() {
        let mut network = settled(&authorization);
        network.publish("c");
        network.run_for(3 * SECOND);
        network.settle(10 * SECOND).expect("the ring settles");
        assert_handed_out_as_planned(&network);
        let causes = network.reports().iter().rev().find_map(|(_, report)| match report {
            Report::Proved(round) => Some(round.causes.clone()),
            _ => None,
        });
        assert!(causes.unwrap().contains(&Cause::Published("c".parse().unwrap())));
    }
}

/// Settings that the machine is told when the configuration is read again.
fn reconfigured(authorization: Authorization) -> Event {
    let instances = NAMES.map(|name| InstanceSettings::new(name.parse().unwrap()));
    let mut settings = Settings::new(instances.to_vec()).unwrap();
    settings.authorization = Some(authorization.into());
    Event::Configured(settings)
}

#[test]
fn client_that_is_added_can_read_and_one_that_is_removed_cannot() {
    let mut network = settled(&Authorization::Basic(vec![cookie(1), cookie(2)]));
    network.tell(reconfigured(Authorization::Basic(vec![cookie(1), cookie(3)])));
    network.settle(10 * SECOND).expect("the ring settles");
    for slot in slots(&network) {
        let held = network.held(&slot).unwrap();
        assert!(held.introduction_points_for(&cookie(3)).is_ok());
        assert!(held.introduction_points_for(&cookie(2)).is_err());
    }
}

#[test]
fn descriptors_move_with_a_stealth_cookie() {
    let mut network = settled(&Authorization::Stealth(cookie(1)));
    let ids = |network: &Network| -> BTreeSet<_> {
        let wanted = network.machine().wanted();
        wanted.map(|(_, target)| target.descriptor_id).collect()
    };
    let before = ids(&network);
    network.tell(reconfigured(Authorization::Stealth(cookie(3))));
    // The instances build theirs anew, once they have the new cookie too.
    network.authorize(Some(Authorization::Stealth(cookie(3))));
    for name in NAMES {
        network.rebuild(name);
    }
    network.settle(10 * SECOND).expect("the ring settles");
    assert!(ids(&network).is_disjoint(&before));
    assert_handed_out_as_planned(&network);
}

#[test]
fn instance_without_authorization_is_not_published() {
    let mut network = settled(&Authorization::Basic(vec![cookie(1)]));
    network.authorize(None);
    network.rotate("a");
    network.run_for(SECOND);
    let told = network
        .reports()
        .iter()
        .any(|(_, report)| matches!(report, Report::Unusable { instance, why: Unfit::Open, .. } if *instance == "a"));
    assert!(told, "its operator forgot a line");
}

/// A text has room for some hundred clients. What does not go in is told, and not tried again
/// before something changes.
#[test]
fn more_clients_than_a_text_has_room_for_are_told() {
    let few = Authorization::Basic(vec![cookie(1), cookie(2)]);
    let mut network = settled(&few);
    let uploads = network.uploads();
    let many = (0..1000_u32).map(|number| {
        let mut cookie = [1; 16];
        cookie[..4].copy_from_slice(&number.to_be_bytes());
        DescriptorCookie::from(cookie)
    });
    let many = [cookie(1), cookie(2)].into_iter().chain(many).collect();
    network.tell(reconfigured(Authorization::Basic(many)));
    network.run_for(600 * SECOND);
    let told = network.reports().iter().map(|(_, report)| report.to_string());
    let told: Vec<_> = told.filter(|report| report.contains("20480")).collect();
    assert_eq!(told.len(), 6, "one for each slot: {told:#?}");
    assert_eq!(network.uploads(), uploads);

    network.tell(reconfigured(few));
    network.settle(10 * SECOND).expect("these go in");
}
