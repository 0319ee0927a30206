//! Needs of a slot, and what it remembers.

use onionweave_ring::v2;

use super::*;
use crate::pause::LASTED;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn text(text: &str) -> Arc<[u8]> {
    text.as_bytes().into()
}

/// A slot without a text, made after one second.
fn empty() -> Slot {
    Slot::new(v2::DescriptorId::from([0; 20]).into(), at(1))
}

/// A slot that wants the text `ours`, each of whose deadlines is another one.
fn slot() -> Slot {
    let mut slot = empty();
    slot.want(text("ours"), at(1));
    slot.not_before = at(3);
    slot.next_audit = at(5);
    slot.others_until = at(7);
    slot.held_until = at(9);
    slot
}

/// Asserts that the slot needs nothing before `from`, and then `need`.
fn assert_needs(slot: &Slot, need: Need, from: u64, case: &str) {
    for now in 0..from {
        assert_eq!(slot.need(at(now)), Need::Nothing, "{case} at {now}");
        assert_eq!(slot.wakes_at(at(now)), Some(at(from)), "{case} at {now}");
    }
    for now in from..from + 2 {
        assert_eq!(slot.need(at(now)), need, "{case} at {now}");
        assert_eq!(slot.wakes_at(at(now)), None, "{case} at {now}");
    }
}

#[test]
fn idle_slots_need_what_was_seen_and_wait_as_long_as_they_must() {
    for (seen, need, from) in [
        (Seen::Unknown, Need::Upload, 9),
        (Seen::Other, Need::Upload, 9),
        (Seen::Accepted(text("older")), Need::Upload, 9),
        (Seen::Proved(text("older")), Need::Upload, 9),
        (Seen::Accepted(text("ours")), Need::Audit, 7),
        (Seen::Proved(text("ours")), Need::Audit, 5),
    ] {
        let case = format!("{seen:?}");
        let mut slot = slot();
        slot.see(seen, at(1));
        assert_needs(&slot, need, from, &case);
        // The pause after a failure may last longer.
        slot.not_before = at(12);
        assert_needs(&slot, need, 12, &case);
    }
}

#[test]
fn work_under_way_needs_a_glance_at_most() {
    let uploading = |glance| {
        let mut slot = slot();
        assert_eq!(slot.send(Ticket(1), at(2), at(14), glance), Some(text("ours")));
        slot
    };
    // The glance waits for uploads of others.
    for (planned, from) in [(6, 7), (8, 8)] {
        let slot = uploading(Glance::At(at(planned)));
        for now in 0..from {
            assert_eq!(
                (slot.need(at(now)), slot.wakes_at(at(now))),
                (Need::Nothing, Some(at(from)))
            );
        }
        assert_eq!(
            (slot.need(at(from)), slot.wakes_at(at(from))),
            (Need::Glance, Some(at(14)))
        );
        assert_eq!(slot.work.tickets().collect::<Vec<_>>(), [Ticket(1)]);
    }
    let late = uploading(Glance::At(at(20)));
    assert_eq!((late.need(at(19)), late.wakes_at(at(2))), (Need::Nothing, Some(at(14))));

    let asked = uploading(Glance::Asked {
        ticket: Ticket(2),
        give_up: at(30),
    });
    assert_eq!(asked.work.tickets().collect::<Vec<_>>(), [Ticket(1), Ticket(2)]);
    let mut auditing = slot();
    auditing.work = Work::Auditing {
        ticket: Ticket(3),
        give_up: at(14),
        glance: false,
    };
    assert_eq!(auditing.work.tickets().collect::<Vec<_>>(), [Ticket(3)]);
    for slot in [asked, auditing, uploading(Glance::None)] {
        for now in [0, 9, 14, 20] {
            assert_eq!(
                (slot.need(at(now)), slot.wakes_at(at(now))),
                (Need::Nothing, Some(at(14)))
            );
        }
    }
    assert_eq!(slot().work.tickets().count(), 0);
}

#[test]
fn slots_without_a_text_need_nothing() {
    let mut slot = empty();
    assert_eq!((slot.need(at(9)), slot.wakes_at(at(9))), (Need::Nothing, None));
    assert_eq!(slot.send(Ticket(1), at(2), at(4), Glance::None), None);
    // The first look at the ring comes before there are texts.
    slot.work = Work::Auditing {
        ticket: Ticket(1),
        give_up: at(4),
        glance: false,
    };
    assert_eq!((slot.need(at(9)), slot.wakes_at(at(9))), (Need::Nothing, Some(at(4))));
    // Nothing is proved by what is there.
    slot.see(Seen::Proved(text("ours")), at(9));
    assert!(!slot.is_proved());
}

#[test]
fn slots_remember_since_when_they_are_not_proved() {
    let mut slot = empty();
    let state = |slot: &Slot| (slot.is_proved(), slot.unproved_since(), slot.last_proof());
    assert_eq!(state(&slot), (false, Some(at(1)), None));
    slot.want(text("ours"), at(2));
    assert!(matches!(slot.see(Seen::Accepted(text("ours")), at(3)), Seen::Unknown));
    assert_eq!(state(&slot), (false, Some(at(1)), None));
    slot.dated_ahead = Some(UnixTime::EPOCH);
    slot.prove(at(4), at(64));
    assert_eq!(state(&slot), (true, None, Some(at(4))));
    assert_eq!((slot.dated_ahead, slot.next_audit), (None, at(64)));
    slot.prove(at(5), at(65));
    assert_eq!(state(&slot), (true, None, Some(at(5))));
    slot.want(text("newer"), at(6));
    assert_eq!(state(&slot), (false, Some(at(6)), Some(at(5))));
    assert!(matches!(slot.see(Seen::Other, at(7)), Seen::Proved(_)));
    assert_eq!(state(&slot), (false, Some(at(6)), Some(at(5))));
}

#[test]
fn a_new_text_waits_for_no_failure_of_the_one_before() {
    let mut slot = empty();
    slot.want(text("ours"), at(2));
    slot.send(Ticket(1), at(2), at(4), Glance::None);
    let pause = pause_after(1);
    assert_eq!(slot.fail("refused".into(), at(3)), pause);
    assert!(matches!(slot.work, Work::Idle));
    assert_eq!(slot.last_trouble(), Some(&("refused".into(), at(3))));
    assert_eq!(slot.not_before, at(3) + pause);
    slot.want(text("newer"), at(3));
    assert_eq!(slot.need(at(3)), Need::Upload);
    // The answer to the text of before may come now.
    assert_eq!(slot.fail("late".into(), at(4)), Duration::ZERO);
    assert_eq!(slot.need(at(4)), Need::Upload);
    slot.send(Ticket(2), at(4), at(6), Glance::None);
    assert_eq!((slot.failures(), slot.is_ailing()), (2, false));
    assert_eq!(slot.fail("refused".into(), at(5)), pause_after(3));
    assert_eq!((slot.failures(), slot.is_ailing()), (3, true));
    // A pause never ends one that is longer.
    slot.not_before = at(100);
    slot.fail("refused".into(), at(6));
    assert_eq!(slot.not_before, at(100));
}

#[test]
fn a_contest_goes_to_a_truce_unless_there_is_peace() {
    let contests = |between: Duration| -> Vec<Contest> {
        let mut slot = empty();
        let times = (1..=CONTEST + 1).map(|number| between * number);
        times.map(|now| slot.contest(now, 1)).collect()
    };
    // Often enough, and the fifth time is once too often.
    for between in [at(1), PEACE] {
        let contests = contests(between);
        let (last, before) = contests.split_last().unwrap();
        assert_eq!(before, [Contest::Answer; CONTEST as usize]);
        assert!(
            matches!(last, Contest::Truce(pause) if *pause >= pause_after(3)),
            "{last:?}"
        );
    }
    let peace = contests(PEACE + Duration::from_nanos(1));
    assert_eq!(peace, [Contest::Answer; CONTEST as usize + 1]);
}

#[test]
fn a_truce_is_over_when_it_ends_or_there_is_a_new_text() {
    let mut slot = empty();
    slot.want(text("ours"), at(1));
    slot.send(Ticket(1), at(1), at(1), Glance::None);
    slot.prove(at(1), at(61));
    let pause = loop {
        if let Contest::Truce(pause) = slot.contest(at(10), 1) {
            break pause;
        }
    };
    assert!(!slot.is_proved());
    let (end, instant) = (at(10) + pause, Duration::from_nanos(1));
    assert_eq!((slot.truce_left(at(10)), slot.truce_left(end)), (Some(pause), None));
    assert_eq!(slot.truce_left(end - instant), Some(instant));
    assert_eq!(slot.truce_left(end + instant), None);
    assert_eq!(slot.contest(end - instant, 1), Contest::Wait);
    assert!(matches!(slot.contest(end, 1), Contest::Truce(longer) if longer > pause));
    slot.want(text("newer"), end);
    assert_eq!(slot.truce_left(end), None);
}

#[test]
fn publishers_with_other_seeds_wait_for_other_times() {
    let pauses = |seed| -> Vec<Duration> {
        let mut slot = Slot::new(v2::DescriptorId::from([0; 20]).into(), Duration::ZERO);
        let mut now = Duration::ZERO;
        let mut pauses = Vec::new();
        for _ in 0..12 {
            if let Contest::Truce(pause) = slot.contest(now, seed) {
                now += pause;
                pauses.push(pause);
            }
        }
        pauses
    };
    let (ours, theirs) = (pauses(1), pauses(2));
    assert_eq!(ours, pauses(1), "the same seed gives the same run");
    assert_eq!(ours.len(), 12 - CONTEST as usize);
    for (number, (ours, theirs)) in (1..).zip(ours.iter().zip(&theirs)) {
        let least = pause_after(number + 2);
        for pause in [*ours, *theirs] {
            assert!((least..least * 2).contains(&pause), "{pause:?}");
        }
        assert_ne!(ours, theirs);
    }
}

#[test]
fn a_truce_ends_however_often_others_write() {
    let mut slot = Slot::new(v2::DescriptorId::from([0; 20]).into(), Duration::ZERO);
    let second = Duration::from_secs(1);
    let mut now = Duration::ZERO;
    let pause = loop {
        match slot.contest(now, 1) {
            Contest::Truce(pause) if pause > 10 * second => break pause,
            _ => now += second,
        }
    };
    let end = now + pause;
    assert_eq!(slot.not_before, end);
    while now < end {
        assert_eq!(slot.contest(now, 1), Contest::Wait);
        now += second;
    }
    assert_eq!(slot.not_before, end);
}

/// Without growing pauses a directory that takes each second upload would be tried four times a
/// second.
#[test]
fn a_directory_that_fails_after_each_proof_waits_ever_longer() {
    let mut slot = Slot::new(v2::DescriptorId::from([0; 20]).into(), Duration::ZERO);
    let text: Arc<[u8]> = b"text"[..].into();
    slot.want(text, Duration::ZERO);
    let mut now = Duration::ZERO;
    let mut pauses = Vec::new();
    for _ in 0..10 {
        assert_eq!(slot.need(now), Need::Upload);
        slot.send(Ticket(0), now, now, Glance::None);
        let pause = slot.fail("refused".into(), now);
        assert_eq!(slot.failures(), 1, "one in a row");
        now += pause;
        slot.prove(now, now);
        assert_eq!(slot.failures(), 0);
        slot.see(Seen::Other, now);
        pauses.push(pause.as_millis());
    }
    assert_eq!(
        pauses,
        [250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]
    );
    // What is good for a minute has lasted.
    slot.prove(now, now);
    now += LASTED;
    assert_eq!(slot.fail("refused".into(), now), pause_after(1));
}
