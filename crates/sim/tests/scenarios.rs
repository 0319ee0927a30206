//! Answers of the machine to events, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use onionweave_desc::v2::{Fate, IntroductionPoint};
use onionweave_publish::{Cause, Down, Event, InstanceSettings, Report, Round, SlotId, Stamp};
use onionweave_ring::relays::Lifetime;
use onionweave_ring::v2::{DescriptorId, Replica, TimePeriod};
use onionweave_ring::{Directories, Fingerprint, HashRing, UnixTime};
use onionweave_sim::{Delays, Fault, Network};

const SECOND: Duration = Duration::from_secs(1);
const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// A settled network of so many instances.
fn settled(seed: u64, instances: usize) -> Network {
    let mut network = Network::builder(seed)
        .instances(NAMES[..instances].iter().copied())
        .build()
        .unwrap();
    for name in &NAMES[..instances] {
        network.start(name);
    }
    network.settle(10 * SECOND).expect("the ring settles");
    network
}

/// Returns the number of slots in which each instance is handed out.
fn counts(network: &Network) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for holders in network.handed_out().values() {
        for name in holders {
            *counts.entry(*name).or_default() += 1;
        }
    }
    counts
}

fn rounds(network: &Network) -> Vec<&Round> {
    network
        .reports()
        .iter()
        .filter_map(|(_, report)| match report {
            Report::Proved(round) => Some(round),
            _ => None,
        })
        .collect()
}

fn slots(network: &Network) -> Vec<SlotId> {
    network.machine().wanted().map(|(slot, _)| slot).collect()
}

/// Returns what a directory makes of a text of somebody else.
fn plant(network: &mut Network, slot: SlotId, points: Vec<IntroductionPoint>, time: UnixTime) -> Fate {
    network.plant(slot, points, time).unwrap().offers()[0].fate()
}

/// Somebody else posts to a slot through the Tor of instance "a".
fn tell_of_upload(network: &mut Network, slot: SlotId) {
    network.tell(Event::InstanceUploads {
        instance: "a".parse().unwrap(),
        own: false,
        directory: slot.directory,
        descriptor_id: slot
            .v2_descriptor_id(&network.machine().address().v2().unwrap())
            .unwrap()
            .into(),
    });
}

#[test]
fn six_directories_hand_out_the_plan() {
    for (instances, expected) in [
        (1, vec![6]),
        (2, vec![3, 3]),
        (3, vec![2, 2, 2]),
        (4, vec![1, 1, 2, 2]),
        (5, vec![1, 1, 1, 1, 2]),
        (6, vec![1; 6]),
        (8, vec![1; 6]),
    ] {
        let network = settled(1, instances);
        let handed_out = network.handed_out();
        assert_eq!(handed_out.len(), 6);
        assert!(handed_out.values().all(|holders| holders.len() == 1), "{handed_out:?}");
        let mut found: Vec<_> = counts(&network).into_values().collect();
        found.sort();
        assert_eq!(found, expected, "{instances} instances");

        // And what is handed out is what the plan says.
        for plan in network.machine().plans().values() {
            for (slot, planned) in plan.slots() {
                let planned: BTreeSet<&str> = planned.points().map(|(_, name)| name.as_str()).collect();
                assert_eq!(handed_out[slot], planned);
            }
        }
    }
}

#[test]
fn remainder_rotates_with_the_hours() {
    let mut network = settled(3, 4);
    let mut total: BTreeMap<String, usize> = BTreeMap::new();
    // Two rounds are a full rotation of four instances over six slots; sixteen hours stay within
    // the period.
    for _ in 0..16 {
        for (name, count) in counts(&network) {
            *total.entry(name.into()).or_default() += count;
        }
        network.run_for(3600 * SECOND);
        assert!(network.machine().is_settled());
    }
    assert_eq!(total.into_values().collect::<Vec<_>>(), [24; 4]);
}

#[test]
fn dead_instance_leaves_every_directory_in_one_round_trip() {
    for instances in 2..=6 {
        let mut network = settled(4, instances);
        let before = network.uploads();
        network.kill("a");
        let took = network.settle(10 * SECOND).expect("the ring settles");
        assert!(took < Duration::from_millis(400), "{took:?}");
        assert!(!counts(&network).contains_key("a"));
        // Only the dead one's slots were written: two or three of six, never more than needed.
        assert!(
            network.uploads() - before <= 3,
            "{} uploads",
            network.uploads() - before
        );
    }
}

#[test]
fn instance_that_comes_back_regains_its_slots() {
    let mut network = settled(5, 3);
    network.kill("b");
    network.settle(10 * SECOND).unwrap();
    network.start("b");
    let took = network.settle(10 * SECOND).unwrap();
    assert!(took < Duration::from_millis(400), "{took:?}");
    assert_eq!(counts(&network)["b"], 2);
}

#[test]
fn every_directory_has_its_own_bytes_and_all_one_time() {
    for instances in 1..=6 {
        let network = settled(6, instances);
        let held: Vec<_> = slots(&network).iter().map(|slot| network.held(slot).unwrap()).collect();
        let texts: BTreeSet<_> = held.iter().map(|descriptor| descriptor.text().to_vec()).collect();
        let times: BTreeSet<_> = held.iter().map(|descriptor| descriptor.publication_time()).collect();
        assert_eq!(texts.len(), 6);
        assert_eq!(
            times.into_iter().collect::<Vec<_>>(),
            [network.now().wall().start_of_hour()]
        );
    }
}

#[test]
fn a_blip_changes_the_bytes_though_the_points_are_the_same() {
    let mut network = settled(7, 2);
    let mut seen = BTreeSet::new();
    let texts = |network: &Network| -> BTreeSet<Vec<u8>> {
        slots(network)
            .iter()
            .map(|slot| network.held(slot).unwrap().text().to_vec())
            .collect()
    };
    seen.extend(texts(&network));
    for blip in 1..=20 {
        network.rebuild("a");
        network.settle(10 * SECOND).unwrap();
        let now = texts(&network);
        let changed = now.iter().filter(|text| seen.insert((*text).clone())).count();
        // The three slots of the instance that blinked, and no other; and never bytes that were
        // there before.
        assert_eq!(changed, 3, "blip {blip}");
    }
    assert!(
        rounds(&network)
            .iter()
            .any(|round| round.causes.contains(&Cause::Rebuilt("a".parse().unwrap())))
    );
}

#[test]
fn only_instance_that_blinks_gets_new_bytes() {
    let mut network = settled(8, 1);
    let points = network
        .held(&slots(&network)[0])
        .unwrap()
        .introduction_points()
        .unwrap();
    let before: Vec<_> = slots(&network).iter().map(|slot| network.held(slot).unwrap()).collect();
    network.kill("a");
    assert!(
        network
            .reports()
            .iter()
            .any(|(_, report)| matches!(report, Report::NobodyLeft))
    );
    network.run_for(5 * SECOND);
    // Nobody is left: the last good state stays.
    for (slot, held) in slots(&network).iter().zip(&before) {
        assert_eq!(network.held(slot).as_ref(), Some(held));
    }
    network.start_with("a", points);
    network.settle(10 * SECOND).unwrap();
    for (slot, held) in slots(&network).iter().zip(&before) {
        assert_ne!(network.held(slot).unwrap().text(), held.text());
    }
}

#[test]
fn loud_instance_is_answered_at_once() {
    let mut network = Network::builder(9)
        .instances(["a", "b", "c"])
        .settings(|settings| settings.quiet = false)
        .build()
        .unwrap();
    for name in ["a", "b", "c"] {
        network.start(name);
    }
    network.settle(10 * SECOND).unwrap();
    for number in 0..50 {
        network.publish("b");
        assert!(!network.machine().is_settled(), "the mix is about to be overwritten");
        let took = network.settle(10 * SECOND).unwrap();
        // Its upload, ours, which was sent while that was on its way, and the reading, which was
        // sent while ours was.
        assert!(took < Duration::from_millis(400) || number == 0, "{took:?}");
        assert_eq!(counts(&network), BTreeMap::from([("a", 2), ("b", 2), ("c", 2)]));
        network.run_for(600 * SECOND);
    }
    assert!(
        !network
            .reports()
            .iter()
            .any(|(_, report)| matches!(report, Report::Loud(_)))
    );
}

fn with_delays(upload: Duration, audit: Duration) -> Network {
    let mut delays = Delays::default();
    (delays.upload, delays.audit) = (upload, audit);
    let mut network = Network::builder(43)
        .instances(["a", "b", "c"])
        .delays(delays)
        .build()
        .unwrap();
    for name in ["a", "b", "c"] {
        network.start(name);
    }
    network.settle(20 * SECOND).unwrap();
    network
}

fn is_trouble((_, report): &(Duration, Report)) -> bool {
    matches!(report, Report::Trouble { .. })
}

/// Uploads and audits take about equally long, so a look that is sent while the upload is on its
/// way finds it there.
#[test]
fn glance_proves_a_directory_before_an_audit_would() {
    let mut network = with_delays(SECOND, SECOND);
    for _ in 0..10 {
        let (uploads, audits) = (network.uploads(), network.audits());
        network.rotate("a");
        let took = network.settle(10 * SECOND).unwrap();
        // The half of an upload, and an audit, each up to a tenth longer than it should.
        assert!(took < Duration::from_millis(1700), "{took:?}");
        assert_eq!(network.uploads() - uploads, 2);
        assert_eq!(network.audits() - audits, 2, "nothing is read twice");
    }
    assert!(!network.reports().iter().any(is_trouble));
}

/// A glance is due while there is nobody for whom anything could be done.
#[test]
fn nobody_is_left_while_uploads_are_on_their_way() {
    let mut network = with_delays(SECOND, SECOND);
    network.rotate("a");
    network.run_for(SECOND / 4);
    for name in ["a", "b", "c"] {
        network.kill(name);
    }
    network.run_for(60 * SECOND);
    assert!(
        network
            .reports()
            .iter()
            .any(|(_, report)| matches!(report, Report::NobodyLeft))
    );
    network.start("a");
    assert!(network.settle(10 * SECOND).is_some());
}

#[test]
fn glance_that_overtakes_the_upload_proves_nothing() {
    let mut network = with_delays(SECOND, Duration::from_millis(50));
    let (uploads, audits) = (network.uploads(), network.audits());
    for _ in 0..60 {
        network.rotate("a");
        let took = network.settle(10 * SECOND).unwrap();
        assert!(took > SECOND && took < Duration::from_millis(1200), "{took:?}");
    }
    let in_vain = network.audits() - audits - (network.uploads() - uploads);
    assert!(
        (1..=30).contains(&in_vain),
        "{in_vain} of 120: the glances learn to wait"
    );
    assert!(!network.reports().iter().any(is_trouble));
}

/// An answer that arrived before what it answers was written over, and is sent again.
#[test]
fn answer_that_overtakes_a_loud_upload_is_sent_again() {
    let mut network = Network::builder(44)
        .instances(["a", "b", "c"])
        .settings(|settings| settings.quiet = false)
        .build()
        .unwrap();
    for name in ["a", "b", "c"] {
        network.start(name);
    }
    network.settle(10 * SECOND).unwrap();
    network.publish("b");
    network.settle(10 * SECOND).unwrap();

    let mut slow = Delays::default();
    slow.loud = SECOND;
    network.set_delays(slow);
    let uploads = network.uploads();
    network.publish("b");
    let took = network.settle(10 * SECOND).unwrap();
    assert!(took > SECOND && took < 2 * SECOND, "{took:?}");
    assert!(network.uploads() - uploads > 6, "the first answers came too early");
    assert_eq!(counts(&network), BTreeMap::from([("a", 2), ("b", 2), ("c", 2)]));
    for _ in 0..5 {
        network.publish("b");
        network.settle(10 * SECOND).unwrap();
    }
    let uploads = network.uploads();
    network.publish("b");
    network.settle(10 * SECOND).unwrap();
    assert!(
        network.uploads() - uploads <= 7,
        "by now it is known how long theirs take"
    );
    assert!(!network.reports().iter().any(is_trouble));
}

/// A loud instance uploads before it is known what it offers; meanwhile the directories may have
/// become others.
#[test]
fn loud_instance_is_answered_at_directories_that_joined_while_nobody_offered() {
    let mut network = settled(41, 1);
    network.tell(Event::InstanceOffersNothing {
        instance: "a".parse().unwrap(),
    });
    for directory in network.ring().iter().collect::<Vec<_>>() {
        network.remove_directory(&directory);
    }
    for number in 0..12 {
        network.add_directory(Fingerprint::from([number * 20; 20]));
    }
    network.publish_consensus();
    let service = network.machine().address().v2().unwrap();
    let period = TimePeriod::at(&service, network.now().wall());
    let [replica, _] = Replica::ALL;
    let descriptor_id = DescriptorId::of(&service, period, replica);
    let directory = descriptor_id.responsible(&network.ring()).next().unwrap();
    let instance = || "a".parse().unwrap();
    network.tell(Event::InstanceUploads {
        instance: instance(),
        own: true,
        directory,
        descriptor_id: descriptor_id.into(),
    });
    network.rebuild("a");
    network.run_for(SECOND);
    let slot = SlotId::new(period, replica, directory);
    let (points, hour) = (network.new_points(3), network.now().wall().start_of_hour());
    assert_eq!(plant(&mut network, slot, points, hour), Fate::Stored);
    network.tell(Event::InstanceUploadEnded {
        instance: instance(),
        directory,
    });
    network.run_for(2 * SECOND);
    let (_, wanted) = network.machine().wanted().find(|(id, _)| *id == slot).unwrap();
    assert!(network.held(&slot).unwrap().text() == wanted.bytes());
}

#[test]
fn loud_instance_that_should_be_quiet_is_named_once() {
    let mut network = settled(10, 2);
    network.publish("a");
    network.settle(10 * SECOND).unwrap();
    network.publish("a");
    network.settle(10 * SECOND).unwrap();
    let named = network
        .reports()
        .iter()
        .filter(|(_, report)| matches!(report, Report::Loud(_)));
    assert_eq!(named.count(), 1);
    assert_eq!(counts(&network), BTreeMap::from([("a", 3), ("b", 3)]));
}

#[test]
fn second_stamps_outrank_loud_instances() {
    let mut network = Network::builder(11)
        .instances(["a", "b"])
        .settings(|settings| {
            settings.quiet = false;
            settings.stamp = Stamp::Second;
        })
        .build()
        .unwrap();
    network.start("a");
    network.start("b");
    network.settle(10 * SECOND).unwrap();
    network.publish("a");
    network.settle(10 * SECOND).unwrap();
    let uploaded = network.uploads();
    let held: Vec<_> = slots(&network).iter().map(|slot| network.held(slot).unwrap()).collect();
    assert!(held[0].publication_time() > network.now().wall().start_of_hour());
    assert!(held[0].publication_time() <= network.now().wall());
    // What the instance publishes now is older, so the directories drop it.
    network.publish("b");
    network.run_for(Duration::from_millis(200));
    for (slot, held) in slots(&network).iter().zip(&held) {
        assert_eq!(network.held(slot).as_ref(), Some(held));
    }
    network.settle(10 * SECOND).unwrap();
    assert!(network.uploads() >= uploaded);
}

#[test]
fn dropped_and_refused_uploads_are_tried_again() {
    for fault in [Fault::DropsUploads(3), Fault::Refuses(3)] {
        let mut network = settled(12, 3);
        let slot = slots(&network)[0];
        for slot in slots(&network) {
            network.set_fault(slot.directory, fault);
        }
        network.rotate("a");
        network.rotate("b");
        network.rotate("c");
        assert!(network.settle(SECOND).is_none(), "{fault:?} goes unnoticed");
        let took = network.settle(60 * SECOND).expect("the ring settles");
        // 0.25 + 0.5 + 1 s of pauses.
        assert!(took < 4 * SECOND, "{took:?}");
        assert!(network.held(&slot).is_some());
        assert!(
            network
                .reports()
                .iter()
                .any(|(_, report)| matches!(report, Report::Trouble { .. }))
        );
    }
}

/// Holds that what became of an older text is no reason for a newer one to wait.
#[test]
fn new_text_does_not_wait_for_the_failure_of_the_one_before() {
    let mut network = settled(37, 2);
    // So often that the pause is long, and once more: the last failure comes when the next text is
    // wanted already.
    let slot = slots(&network)[0];
    network.set_fault(slot.directory, Fault::Refuses(8));
    network.rotate("a");
    network.rotate("b");
    network.run_until(60 * SECOND, |network| {
        let seventh = |report: &Report| matches!(report, Report::Trouble { failures: 7, .. });
        network.reports().iter().any(|(_, report)| seventh(report))
    });
    let uploads = network.uploads();
    network.run_until(60 * SECOND, |network| network.uploads() > uploads);
    network.rotate("a");
    network.rotate("b");
    network.run_for(2 * SECOND);
    assert_eq!(network.handed_out()[&slot].len(), 1, "it holds the points of before");
}

#[test]
fn dead_directory_does_not_hold_up_the_others() {
    let mut network = settled(13, 3);
    let dead = network
        .handed_out()
        .iter()
        .find(|(_, holders)| holders.contains("a"))
        .map(|(&slot, _)| slot)
        .unwrap();
    network.set_fault(dead.directory, Fault::Silent);
    network.kill("a");
    network.kill("b");
    let clean = network.run_until(5 * SECOND, |network| {
        network
            .handed_out()
            .iter()
            .all(|(slot, holders)| slot.directory == dead.directory || holders.contains("c"))
    });
    assert!(clean.expect("the others are clean") < SECOND);
    network.run_for(300 * SECOND);
    let round = rounds(&network)
        .into_iter()
        .rfind(|round| round.causes.contains(&Cause::Left("a".parse().unwrap())))
        .unwrap();
    assert!(round.missing.contains(&dead), "{round}");

    network.set_fault(dead.directory, Fault::None);
    network.settle(120 * SECOND).expect("it is tried on, and comes back");
    assert!(network.handed_out()[&dead].contains("c"));
}

#[test]
fn directory_that_forgets_is_filled_again_at_the_next_audit() {
    let mut network = settled(14, 3);
    let slot = slots(&network)[4];
    network.forget(slot.directory);
    network.run_for(63 * SECOND);
    assert!(network.held(&slot).is_some());
    assert!(network.machine().is_settled());
}

#[test]
fn foreign_text_is_replaced_and_two_publishers_do_not_fight_without_end() {
    let mut network = settled(15, 2);
    let slot = slots(&network)[1];
    let time = network.now().wall().start_of_hour();
    let before = network.uploads();
    let mut hours = 0;
    for _ in 0..600 {
        let points = network.new_points(3);
        assert_eq!(plant(&mut network, slot, points, time), Fate::Stored);
        network.run_for(6 * SECOND);
        if network.now().wall().start_of_hour() != time {
            break;
        }
        hours += 1;
    }
    assert!(hours > 400);
    // 45 minutes of somebody writing every six seconds: answered, but at most once a minute.
    let uploads = network.uploads() - before;
    assert!((5..=50).contains(&uploads), "{uploads} uploads");
    assert!(
        network
            .reports()
            .iter()
            .any(|(_, report)| matches!(report, Report::Contested { .. }))
    );
}

/// To outrank others, all slots are written anew. That would end the pause of those that are left
/// alone.
#[test]
fn contested_slot_is_left_alone_with_second_stamps_too() {
    let mut network = Network::builder(38)
        .instances(["a", "b"])
        .settings(|settings| settings.stamp = Stamp::Second)
        .build()
        .unwrap();
    network.start("a");
    network.start("b");
    network.settle(10 * SECOND).unwrap();
    let slot = slots(&network)[1];
    let before = network.uploads();
    for _ in 0..200 {
        tell_of_upload(&mut network, slot);
        network.run_for(3 * SECOND);
    }
    // Ten minutes: all six slots for the first four times, and then one for each pause.
    let uploads = network.uploads() - before;
    assert!((6 * 4..6 * 4 + 20).contains(&uploads), "{uploads} uploads");
}

#[test]
fn newer_text_moves_all_slots_together() {
    let mut network = settled(16, 3);
    let slot = slots(&network)[0];
    // Somebody signed with this very second instead of the hour.
    let newer = network.now().wall();
    let points = network.new_points(3);
    assert_eq!(plant(&mut network, slot, points, newer), Fate::Stored);
    network.run_for(65 * SECOND);
    assert!(network.machine().is_settled());
    for slot in slots(&network) {
        assert_eq!(network.held(&slot).unwrap().publication_time(), newer);
    }
    assert!(network.handed_out().values().all(|holders| holders.len() == 1));
}

#[test]
fn text_of_the_future_blocks_its_slot_until_then_and_no_other() {
    let mut network = settled(17, 3);
    let slot = slots(&network)[0];
    let future = network.now().wall().saturating_add(2 * 3600 * SECOND);
    let points = network.new_points(3);
    assert_eq!(plant(&mut network, slot, points, future), Fate::Stored);
    network.run_for(3600 * SECOND);
    assert!(
        network
            .reports()
            .iter()
            .any(|(_, report)| matches!(report, Report::DatedAhead { until, .. } if *until == future))
    );
    for other in slots(&network) {
        let time = network.held(&other).unwrap().publication_time();
        if other == slot {
            assert_eq!(time, future);
        } else {
            assert!(time <= network.now().wall(), "dated ahead ourselves");
        }
    }
    network.run_for(3600 * SECOND + 70 * SECOND);
    assert!(
        network.machine().is_settled(),
        "once that time has come, the slot is ours again"
    );
}

/// Each text of the future blocks its own slot until its own time, whatever else is dated later
/// still.
#[test]
fn texts_of_several_futures_are_outlived_one_by_one() {
    let mut network = settled(34, 3);
    let (near, far) = (slots(&network)[0], slots(&network)[1]);
    let now = network.now().wall();
    let soon = now.saturating_add(600 * SECOND);
    for (slot, time) in [(near, soon), (far, now.saturating_add(1800 * SECOND))] {
        let points = network.new_points(3);
        assert_eq!(plant(&mut network, slot, points, time), Fate::Stored);
    }
    network.run_for(602 * SECOND);
    assert!(network.machine().proved().any(|slot| slot == near));
    assert!(!network.machine().proved().any(|slot| slot == far));
    assert_eq!(network.held(&near).unwrap().publication_time(), soon);
}

#[test]
fn started_over_a_newer_ring_it_looks_first() {
    // Another publisher's texts lie there, signed with the second.
    let mut network = Network::builder(18).instances(["a"]).build().unwrap();
    let newer = network.now().wall();
    let service = network.machine().address().v2().unwrap();
    let ring = network.ring();
    for period in TimePeriod::published(&service, newer) {
        for replica in Replica::ALL {
            for directory in DescriptorId::of(&service, period, replica).responsible(&ring) {
                let points = network.new_points(2);
                let slot = SlotId::new(period, replica, directory);
                assert_eq!(plant(&mut network, slot, points, newer), Fate::Stored);
            }
        }
    }
    network.start("a");
    network.settle(10 * SECOND).unwrap();
    // The first upload was already new enough: no directory ever dropped one.
    assert_eq!(network.uploads(), 6);
    assert!(
        !network
            .reports()
            .iter()
            .any(|(_, report)| matches!(report, Report::Trouble { .. }))
    );
}

#[test]
fn next_period_is_filled_in_the_overlap_hour_and_taken_over() {
    let mut network = settled(19, 3);
    let service = network.machine().address().v2().unwrap();
    let period = TimePeriod::at(&service, network.now().wall());
    let left = period.seconds_left(&service, network.now().wall());

    network.run_for(Duration::from_secs(left - 3600));
    assert_eq!(slots(&network).len(), 6, "3600 seconds are left: not yet");
    network.run_for(2 * SECOND);
    assert_eq!(slots(&network).len(), 12, "fewer than 3600 seconds are left");
    network.settle(10 * SECOND).unwrap();
    let next: Vec<_> = slots(&network)
        .into_iter()
        .filter(|slot| slot.period == period.next())
        .collect();
    assert_eq!(next.len(), 6);
    let held: Vec<_> = next.iter().map(|slot| network.held(slot).unwrap()).collect();

    // An instance dies in the overlap: both periods are mended.
    network.kill("c");
    network.settle(10 * SECOND).unwrap();
    assert!(network.handed_out().values().all(|holders| !holders.contains("c")));

    network.run_for(3600 * SECOND);
    assert_eq!(slots(&network), next, "the next period's slots are the only ones now");
    assert!(network.machine().is_settled());
    assert_eq!(held.len(), 6);
}

#[test]
fn moved_directories_are_followed() {
    let mut network = settled(20, 3);
    let before = slots(&network);
    let gone = before[0].directory;
    network.remove_directory(&gone);
    network.publish_consensus();
    network.settle(30 * SECOND).unwrap();
    let after = slots(&network);
    assert_eq!(after.len(), 6);
    assert!(after.iter().all(|slot| slot.directory != gone));
    assert!(network.handed_out().values().all(|holders| holders.len() == 1));

    // It comes back, with an empty cache.
    network.add_directory(gone);
    network.publish_consensus();
    network.settle(30 * SECOND).unwrap();
    assert_eq!(slots(&network), before);
}

#[test]
fn few_directories_are_served_as_they_are() {
    for (directories, expected) in [(1, 2), (2, 4), (3, 6)] {
        let mut network = Network::builder(21)
            .directories(directories)
            .instances(["a", "b"])
            .build()
            .unwrap();
        network.start("a");
        network.start("b");
        network.settle(30 * SECOND).unwrap();
        assert_eq!(
            slots(&network).len(),
            expected,
            "a relay responsible for both replicas counts twice"
        );
        let warned = network
            .reports()
            .iter()
            .any(|(_, report)| matches!(report, Report::FewDirectories(n) if *n == directories));
        assert_eq!(warned, directories < 3);
    }
}

#[test]
fn empty_consensus_changes_nothing() {
    let mut network = settled(22, 2);
    let before = slots(&network);
    let uploads = network.uploads();
    let ring = HashRing::new([]);
    network.tell(Event::Directories(Arc::new(ring.into())));
    network.run_for(600 * SECOND);
    assert_eq!(slots(&network), before);
    assert_eq!(network.uploads(), uploads);
    assert!(
        network
            .reports()
            .iter()
            .any(|(_, report)| matches!(report, Report::FewDirectories(0)))
    );
}

#[test]
fn clock_steps_do_no_harm() {
    for step in [-3600, 3600, -7200, 5400] {
        let mut network = settled(23, 3);
        network.step_clock(step);
        network.run_for(120 * SECOND);
        assert!(network.machine().is_settled(), "{step}");
        let time = network.held(&slots(&network)[0]).unwrap().publication_time();
        // Back: the time stays, since the directories would drop an older one. Forth: it moves on
        // with the clock.
        let honest = UnixTime::from_secs(1_795_349_700).start_of_hour();
        assert!(time >= honest, "{step}");
        network.kill("a");
        let took = network.settle(10 * SECOND).expect("it mends all the same");
        assert!(took < SECOND, "{step}: {took:?}");
    }
}

/// Our clock says nothing about which introduction points work.
#[test]
fn instances_are_believed_though_our_clock_is_off() {
    let points = |network: &Network| -> BTreeSet<_> {
        let texts = network.machine().wanted();
        texts.flat_map(|(_, target)| target.points().to_vec()).collect()
    };
    for step in [-36 * 3600, 100 * 3600] {
        let mut network = settled(39, 1);
        let before = points(&network);
        network.step_clock(step);
        network.rotate("a");
        assert!(before.is_disjoint(&points(&network)), "old points are still handed out");
    }
}

/// Directories drop what is dated more than a day ahead, so nothing is lost if the time goes back
/// from there; and all would be if it did not.
#[test]
fn clock_that_was_days_ahead_is_forgotten_once_it_is_right() {
    let mut network = settled(35, 3);
    network.step_clock(36 * 3600);
    network.run_for(600 * SECOND);
    assert!(!network.machine().is_settled(), "no directory keeps such texts");
    network.step_clock(-36 * 3600);
    // At the latest when the pause of a slot ends, the machine looks at the clock.
    network.run_for(65 * SECOND);
    assert!(network.machine().is_settled());
    let time = network.held(&slots(&network)[0]).unwrap().publication_time();
    assert_eq!(time, network.now().wall().start_of_hour());
}

/// A text is dated when it is written, not when there is a reason to write one.
#[test]
fn no_time_is_taken_while_nobody_offers() {
    let mut network = Network::builder(36)
        .instances(["a"])
        .settings(|settings| settings.stamp = Stamp::Second)
        .build()
        .unwrap();
    network.start("a");
    network.settle(10 * SECOND).unwrap();
    let slot = slots(&network)[0];
    network.kill("a");
    network.step_clock(600);
    tell_of_upload(&mut network, slot);
    network.run_for(5 * SECOND);
    network.step_clock(-600);
    network.start("a");
    network.settle(10 * SECOND).unwrap();
    for (_, wanted) in network.machine().wanted() {
        assert!(wanted.stamp() <= Some(network.now().wall()));
    }
}

#[test]
fn clock_that_an_instance_or_the_consensus_belies_is_reported_once() {
    for step in [-3600, 3600] {
        let mut network = settled(32, 3);
        network.step_clock(step);
        // The instances' clocks are right: what they build now carries another hour than the
        // publisher's.
        let differ = |network: &Network| {
            network
                .reports()
                .iter()
                .filter(|(_, report)| matches!(report, Report::ClocksDiffer { .. }))
                .count()
        };
        network.rebuild("a");
        assert_eq!(differ(&network), 1, "{step}");
        network.rotate("a");
        network.settle(10 * SECOND).unwrap();
        assert_eq!(differ(&network), 1, "{step}");
        network.step_clock(-step);
        network.rotate("a");
        network.settle(10 * SECOND).unwrap();
        assert_eq!(differ(&network), 1, "{step}");
    }

    let mut network = settled(33, 2);
    let now = network.now().wall();
    let lifetime = Lifetime::new(
        now,
        now.saturating_add(3600 * SECOND),
        now.saturating_add(3 * 3600 * SECOND),
    );
    let ring = network.ring();
    network.tell(Event::Directories(Arc::new(Directories::new(ring, Some(lifetime)))));
    let off = |network: &Network| {
        network
            .reports()
            .iter()
            .filter(|(_, report)| matches!(report, Report::ClockOff { .. }))
            .count()
    };
    network.run_for(26 * 3600 * SECOND);
    assert_eq!(off(&network), 0);
    network.run_for(2 * 3600 * SECOND);
    assert_eq!(off(&network), 1, "a day after its end the consensus is stale");
    network.kill("a");
    network.settle(10 * SECOND).expect("and still the publisher mends");
    network.step_clock(-30 * 3600);
    network.run_for(60 * SECOND);
    assert_eq!(off(&network), 1, "it is off all the same");
}

#[test]
fn hung_instance_is_restarted_only_when_it_cannot_be_reached() {
    let mut network = Network::builder(24)
        .settings(|settings| {
            let mut instance = InstanceSettings::new("a".parse().unwrap());
            instance.restart = true;
            let b = InstanceSettings::new("b".parse().unwrap());
            settings.set_instances(vec![instance, b]).unwrap();
        })
        .build()
        .unwrap();
    network.fail("b", Down::Unreachable("refused".into()));
    // The network knows only instances named at its building, so tell the machine itself.
    let a = || "a".parse().unwrap();
    network.tell(Event::InstanceUp { instance: a() });
    network.tell(Event::InstanceDown {
        instance: a(),
        why: Down::Lost("closed".into()),
    });
    network.run_for(SECOND);
    assert!(network.restarts().is_empty(), "the connection is first made anew");
    network.tell(Event::InstanceDown {
        instance: a(),
        why: Down::Unreachable("refused".into()),
    });
    assert_eq!(network.restarts().len(), 1);
    network.run_for(10 * SECOND);
    assert_eq!(network.restarts().len(), 1, "it is given time to come up");
    network.run_for(590 * SECOND);
    let restarts = network.restarts().len();
    assert!((5..=15).contains(&restarts), "{restarts} restarts in ten minutes");
    network.tell(Event::InstanceUp { instance: a() });
    network.run_for(600 * SECOND);
    assert_eq!(network.restarts().len(), restarts);
    network.tell(Event::InstanceDown {
        instance: a(),
        why: Down::Refused("wrong password".into()),
    });
    network.run_for(600 * SECOND);
    assert_eq!(
        network.restarts().len(),
        restarts,
        "a restart does not change a password"
    );

    // Nor would a second one, where the first has brought it back with another password.
    network.tell(Event::InstanceDown {
        instance: a(),
        why: Down::Unreachable("refused".into()),
    });
    assert_eq!(network.restarts().len(), restarts + 1);
    network.tell(Event::InstanceDown {
        instance: a(),
        why: Down::Refused("wrong password".into()),
    });
    network.run_for(600 * SECOND);
    assert_eq!(network.restarts().len(), restarts + 1);
}

#[test]
fn operator_is_told_once_that_an_instance_is_down() {
    let mut network = settled(31, 2);
    network.fail("a", Down::Lost("closed".into()));
    network.fail("a", Down::Unreachable("refused".into()));
    network.fail("a", Down::Unreachable("refused".into()));
    let told = |network: &Network| {
        network
            .reports()
            .iter()
            .filter(|(_, report)| matches!(report, Report::Down(..)))
            .count()
    };
    assert_eq!(told(&network), 1);
    network.fail("a", Down::Refused("wrong password".into()));
    network.fail("a", Down::Refused("wrong password".into()));
    assert_eq!(told(&network), 2, "that needs the operator");
    network.start("a");
    network.kill("a");
    assert_eq!(told(&network), 3);
}

#[test]
fn quiet_network_causes_no_work() {
    let mut network = settled(25, 3);
    let start = network.uploads();
    // From a quarter past to a minute before the full hour.
    network.run_for(44 * 60 * SECOND);
    assert_eq!(network.uploads(), start, "nothing happened, so nothing is uploaded");
    network.run_for(2 * 60 * SECOND);
    assert_eq!(network.uploads(), start + 6, "the hour turned: all six move together");
}

#[test]
fn same_seed_same_run() {
    let run = || {
        let mut network = settled(26, 5);
        network.kill("b");
        network.settle(10 * SECOND).unwrap();
        network.run_for(3 * 3600 * SECOND);
        slots(&network)
            .iter()
            .map(|slot| network.held(slot).unwrap().text().to_vec())
            .collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn ten_points_are_all_handed_out() {
    let mut network = settled(27, 1);
    let points = network.new_points(10);
    network.offer_points("a", points);
    network.settle(10 * SECOND).unwrap();
    for slot in slots(&network) {
        assert_eq!(network.held(&slot).unwrap().introduction_points().unwrap().len(), 10);
    }
}

#[test]
fn instance_answers_with_the_next_period_and_its_points_serve_both() {
    // In a period's last hour `GETINFO hs/service/desc/id` gives the next period's replica 1
    // (`rendcache.c:784-789`).
    let mut network = settled(28, 1);
    let service = network.machine().address().v2().unwrap();
    let period = TimePeriod::at(&service, network.now().wall());
    let left = period.seconds_left(&service, network.now().wall());
    network.run_for(Duration::from_secs(left - 1800));
    let points = network.new_points(3);
    network.offer_for("a", points.clone(), period.next());
    network.settle(10 * SECOND).unwrap();
    assert_eq!(slots(&network).len(), 12);
    for slot in slots(&network) {
        let held: BTreeSet<_> = network
            .held(&slot)
            .unwrap()
            .introduction_points()
            .unwrap()
            .into_iter()
            .collect();
        assert_eq!(held, points.iter().cloned().collect());
    }
}

#[test]
fn instance_without_a_descriptor_gives_its_slots_up() {
    let mut network = settled(29, 2);
    network.tell(Event::InstanceOffersNothing {
        instance: "a".parse().unwrap(),
    });
    network.settle(10 * SECOND).unwrap();
    assert_eq!(counts(&network), BTreeMap::from([("b", 6)]));
}

#[test]
fn descriptors_that_cannot_be_trusted_change_nothing() {
    let mut network = settled(30, 2);
    let good = network.held(&slots(&network)[0]).unwrap().text().to_vec();
    let uploads = network.uploads();
    let mut tampered = good.clone();
    let at = tampered.windows(2).position(|two| two == b"20").unwrap();
    tampered[at] = b'3';
    for text in [
        b"".to_vec(),
        b"rubbish".to_vec(),
        tampered,
        good[..good.len() / 2].to_vec(),
    ] {
        network.tell(Event::InstanceOffers {
            instance: "a".parse().unwrap(),
            text,
            rebuilt: false,
        });
        network.run_for(SECOND);
    }
    assert_eq!(network.uploads(), uploads);
    assert_eq!(counts(&network), BTreeMap::from([("a", 3), ("b", 3)]));
    assert!(
        network
            .reports()
            .iter()
            .any(|(_, report)| matches!(report, Report::Unusable { .. }))
    );
}

/// Holds that, whatever happens in whatever order, the rules are kept at every step; the network
/// checks them. Once nothing happens any more, the ring settles at a plan of the living, and stays.
#[test]
fn any_storm_ends_in_a_settled_ring() {
    use rand::{RngExt as _, SeedableRng as _};

    for seed in 0..120 {
        let mut rng = rand_chacha::ChaCha12Rng::seed_from_u64(seed);
        let names = &NAMES[..rng.random_range(1..=6)];
        let mut network = Network::builder(seed)
            .directories(rng.random_range(1..=14))
            .instances(names.iter().copied())
            .settings(|settings| {
                settings.quiet = seed % 2 == 0;
                if seed % 5 == 0 {
                    settings.stamp = Stamp::Second;
                }
            })
            .start(UnixTime::from_secs(1_795_349_700 + rng.random_range(0..100_000)))
            .build()
            .unwrap();
        let mut stepped = 0;
        for _ in 0..rng.random_range(20..80) {
            let name = names[rng.random_range(0..names.len())];
            let directories: Vec<_> = network.ring().iter().collect();
            let directory = directories[rng.random_range(0..directories.len())];
            match rng.random_range(0..13) {
                0 | 1 => network.start(name),
                2 => network.kill(name),
                3 => network.fail(name, Down::Silent(SECOND)),
                4 => network.rotate(name),
                5 => network.rebuild(name),
                6 => network.publish(name),
                7 => network.set_fault(directory, Fault::Silent),
                8 => network.set_fault(directory, Fault::DropsUploads(rng.random_range(1..4))),
                9 => network.set_fault(directory, Fault::Refuses(rng.random_range(1..4))),
                10 => network.forget(directory),
                11 => {
                    if directories.len() > 1 {
                        network.remove_directory(&directory);
                    }
                    network.publish_consensus();
                }
                _ => {
                    let by = rng.random_range(-4000..4000);
                    stepped += by;
                    network.step_clock(by);
                }
            }
            network.run_for(Duration::from_millis(rng.random_range(0..3000)));
        }
        for directory in network.ring().iter().collect::<Vec<_>>() {
            network.set_fault(directory, Fault::None);
        }
        // A clock that is behind the others' finds texts of the future, and waits.
        network.step_clock(-stepped);
        network.start(names[0]);
        // A directory that forgot is noticed at the next audit; contested slots and ailing
        // directories wait for a minute at most.
        network.run_for(65 * SECOND);
        let settled = network.settle(150 * SECOND);
        assert!(
            settled.is_some(),
            "seed {seed}: {:#?}",
            network.reports().iter().rev().take(8).collect::<Vec<_>>()
        );
        let handed_out = network.handed_out();
        assert!(
            handed_out.values().all(|holders| holders.len() == 1),
            "seed {seed}: {handed_out:?}"
        );
        let uploads = network.uploads();
        network.run_for(Duration::from_secs(3599 - network.now().wall().as_secs() % 3600).min(240 * SECOND));
        assert_eq!(
            network.uploads(),
            uploads,
            "seed {seed}: work goes on although nothing happens"
        );
    }
}

#[test]
fn unfit_instance_leaves_every_directory_and_returns() {
    let mut network = settled(20, 3);
    let unfit = |why: &str| Event::InstanceUnfit {
        instance: "b".parse().unwrap(),
        why: why.into(),
    };
    network.tell(unfit("HTTP 503"));
    let took = network.settle(10 * SECOND).expect("the ring settles");
    assert!(took < Duration::from_millis(400), "{took:?}");
    assert_eq!(counts(&network), BTreeMap::from([("a", 3), ("c", 3)]));
    assert!(
        rounds(&network)
            .last()
            .unwrap()
            .causes
            .contains(&Cause::Unfit("b".parse().unwrap()))
    );

    // Each finding is told once, however often it is made, and none is a reason to work.
    let uploads = network.uploads();
    for why in ["HTTP 500", "HTTP 503", "HTTP 500"] {
        network.tell(unfit(why));
    }
    network.run_for(60 * SECOND);
    assert_eq!(network.uploads(), uploads);
    let said = |wanted: fn(&Report) -> bool| network.reports().iter().filter(|(_, report)| wanted(report)).count();
    assert_eq!(said(|report| matches!(report, Report::Unfit(..))), 2);

    network.tell(Event::InstanceFit {
        instance: "b".parse().unwrap(),
    });
    network.settle(10 * SECOND).expect("the ring settles");
    assert_eq!(counts(&network), BTreeMap::from([("a", 2), ("b", 2), ("c", 2)]));
}

#[test]
fn where_nobody_is_fit_all_serve() {
    let mut network = settled(21, 3);
    for name in &NAMES[..3] {
        network.tell(Event::InstanceUnfit {
            instance: name.parse().unwrap(),
            why: "connection refused".into(),
        });
        network.settle(10 * SECOND).expect("the ring settles");
    }
    assert_eq!(counts(&network), BTreeMap::from([("a", 2), ("b", 2), ("c", 2)]));
    // An unfit instance that dies is gone all the same.
    network.kill("c");
    network.settle(10 * SECOND).expect("the ring settles");
    assert_eq!(counts(&network), BTreeMap::from([("a", 3), ("b", 3)]));
    network.tell(Event::InstanceFit {
        instance: "a".parse().unwrap(),
    });
    network.settle(10 * SECOND).expect("the ring settles");
    assert_eq!(counts(&network), BTreeMap::from([("a", 6)]));
}

#[test]
fn spare_takes_the_place_of_the_dead_at_once_and_keeps_it() {
    let mut network = Network::builder(22)
        .instances(["a", "b", "c", "d"])
        .settings(|settings| settings.serving = NonZeroUsize::new(2))
        .build()
        .unwrap();
    for name in ["c", "d", "a", "b"] {
        network.start(name);
        network.settle(10 * SECOND).expect("the ring settles");
    }
    // Who came first serves.
    assert_eq!(counts(&network), BTreeMap::from([("c", 3), ("d", 3)]));

    // A spare that changes its points, dies or returns is nobody's business.
    let uploads = network.uploads();
    network.rotate("a");
    network.kill("b");
    network.start("b");
    network.run_for(SECOND);
    assert_eq!(network.uploads(), uploads);

    network.kill("d");
    let took = network.settle(10 * SECOND).expect("the ring settles");
    assert!(took < Duration::from_millis(400), "{took:?}");
    assert_eq!(counts(&network), BTreeMap::from([("a", 3), ("c", 3)]));
    assert_eq!(network.uploads() - uploads, 3, "only the dead one's slots");

    let uploads = network.uploads();
    network.start("d");
    network.run_for(SECOND);
    assert_eq!(network.uploads(), uploads, "whoever serves goes on");

    // Two places and one instance: it has both.
    for name in ["a", "b", "d"] {
        network.kill(name);
    }
    network.settle(10 * SECOND).expect("the ring settles");
    assert_eq!(counts(&network), BTreeMap::from([("c", 6)]));
}
