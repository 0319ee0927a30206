//! Clients in virtual time.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::Duration;

use onionweave_assign::PolicyName;
use onionweave_sim::{Crowd, Error, Happening, InstancePlan, Miss, Outcome, Pace, Record, Scenario};
use statrs::distribution::{ChiSquared, ContinuousCDF as _};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Probability of counts that lie as far from an even split.
fn chi_square_p(counts: impl IntoIterator<Item = u64>) -> f64 {
    let counts: Vec<_> = counts.into_iter().map(|count| count as f64).collect();
    let expected = counts.iter().sum::<f64>() / counts.len() as f64;
    let statistic = counts.iter().map(|count| (count - expected).powi(2) / expected).sum();
    1.0 - ChiSquared::new(counts.len() as f64 - 1.0).unwrap().cdf(statistic)
}

fn served(record: &Record) -> Vec<u64> {
    record.instances().iter().map(|one| one.served).collect()
}

/// Each visit is one of a new client, after the instances are there.
fn visitors(count: u32) -> Crowd {
    Crowd::new(count).fresh().visits(1).arriving(2 * MINUTE..=50 * MINUTE)
}

#[test]
fn the_first_fetch_goes_to_each_directory_with_a_sixth() {
    let record = Scenario::new(1)
        .numbered(3)
        .clients(visitors(60_000))
        .run(HOUR)
        .unwrap();
    let fetches: Vec<_> = record.directories().iter().map(|one| one.handed_out).collect();
    assert_eq!(fetches.len(), 6);
    assert!(chi_square_p(fetches.iter().copied()) > 1e-4, "{fetches:?}");
    assert!(chi_square_p(served(&record)) > 1e-4, "{:?}", served(&record));
    assert_eq!(record.missed(), 0);
    assert_eq!(record.waited().longest(), Duration::from_millis(500));
}

#[test]
fn runs_are_the_same_by_their_seed_and_in_whatever_parts() {
    let scenario = |seed| {
        Scenario::new(seed)
            .numbered(4)
            .churn(0.05)
            .clients(Crowd::new(500).fetching(1000))
            .clients(Crowd::new(200).fresh())
            .at(90 * MINUTE, Happening::Dies("instance2".into()))
            .at(2 * HOUR, Happening::Hangs("instance3".into()))
            .log_visits(usize::MAX)
    };
    let one = scenario(5).run(3 * HOUR).unwrap();
    let mut simulation = scenario(5).build().unwrap();
    for minute in 1..=180 {
        simulation.run_until(minute * MINUTE);
    }
    let parts = simulation.finish();
    assert_eq!(one.visits(), parts.visits());
    assert_eq!(one.intervals_csv(), parts.intervals_csv());
    assert_ne!(one.visits(), scenario(6).run(3 * HOUR).unwrap().visits());
}

/// The winner takes it all: whoever published last is in all six directories.
#[test]
fn in_a_race_one_has_nearly_all_at_a_time() {
    let mut winners = Vec::new();
    for seed in 0..20 {
        let late = InstancePlan::numbered(3)
            .into_iter()
            .enumerate()
            .map(|(i, plan)| plan.starts_at(i as u32 * 10 * MINUTE));
        let crowd = visitors(1000).arriving(30 * MINUTE..=55 * MINUTE);
        let scenario = Scenario::new(seed)
            .instances(late)
            .policy(PolicyName::Race)
            .clients(crowd);
        let record = scenario.run(HOUR).unwrap();
        assert_eq!(
            served(&record),
            [0, 0, 1000],
            "the one that started last published last"
        );
        winners.push(record.evenness());
    }
    assert!(winners.iter().all(|&evenness| (evenness - 1.0 / 3.0).abs() < 1e-9));
}

/// An instance publishes 30 s after its points stand, and then each hour, or when its points
/// change.
#[test]
fn loud_instances_publish_on_tors_schedule() {
    let uploads = |time, happening: Option<(Duration, Happening)>| {
        let mut scenario = Scenario::new(3).numbered(1).policy(PolicyName::Race);
        if let Some((at, happening)) = happening {
            scenario = scenario.at(at, happening);
        }
        scenario.run(time).unwrap().instances()[0].uploads
    };
    assert_eq!(uploads(32 * SECOND, None), 0);
    assert_eq!(uploads(34 * SECOND, None), 6);
    assert_eq!(uploads(HOUR + 32 * SECOND, None), 6);
    assert_eq!(uploads(HOUR + 36 * SECOND, None), 12);
    assert_eq!(uploads(5 * HOUR + 36 * SECOND, None), 36);
    let rotates = (30 * MINUTE, Happening::Rotates("instance1".into()));
    assert_eq!(uploads(30 * MINUTE + 31 * SECOND, Some(rotates.clone())), 6);
    assert_eq!(uploads(30 * MINUTE + 34 * SECOND, Some(rotates)), 12);
}

/// Without a publisher, the dead one's texts stay until somebody else publishes: the thesis's graph
/// B of figure 4.3.
#[test]
fn a_death_in_the_race_is_an_outage_until_the_next_hour() {
    let plans = [
        InstancePlan::new("first"),
        InstancePlan::new("late").starts_at(20 * MINUTE),
    ];
    let crowd = Crowd::new(300)
        .fresh()
        .arriving(25 * MINUTE..=26 * MINUTE)
        .pausing(SECOND..=MINUTE);
    let record = Scenario::new(1)
        .instances(plans)
        .policy(PolicyName::Race)
        .clients(crowd)
        .at(30 * MINUTE, Happening::Dies("late".into()))
        .run(2 * HOUR)
        .unwrap();
    let outages = record.outages();
    let [outage] = &outages[..] else { panic!("{outages:?}") };
    assert!(outage.start.abs_diff(30 * MINUTE) <= 2 * SECOND, "{outage:?}");
    // The first one published at 33 s, and again an hour later.
    assert!(outage.end.abs_diff(HOUR + 34 * SECOND) <= 5 * SECOND, "{outage:?}");
}

/// The same with a publisher: whoever draws a dead point goes elsewhere, and soon nobody does.
#[test]
fn a_death_in_the_mix_costs_a_moment() {
    let crowd = Crowd::new(3000)
        .fresh()
        .arriving(5 * MINUTE..=6 * MINUTE)
        .pausing(SECOND..=MINUTE);
    let record = Scenario::new(1)
        .numbered(3)
        .clients(crowd)
        .at(30 * MINUTE, Happening::Dies("instance2".into()))
        .run(HOUR)
        .unwrap();
    assert_eq!(record.missed(), 0);
    let longest = record.waited().longest();
    assert!(longest > SECOND && longest < 5 * SECOND, "{longest:?}");
    let after = &record.intervals()[31].served;
    assert_eq!(after[1], 0);
    assert!(chi_square_p([after[0], after[2]]) > 1e-4, "{after:?}");
}

/// A hung instance that nobody leaves out costs its clients two minutes; of a text with points of
/// others too, one.
#[test]
fn a_hung_instance_costs_minutes() {
    let record = |policy| {
        let crowd = visitors(20_000).arriving(31 * MINUTE..=50 * MINUTE);
        Scenario::new(2)
            .numbered(3)
            .policy(policy)
            .clients(crowd)
            .at(29 * MINUTE, Happening::PublisherStops)
            .at(30 * MINUTE, Happening::Hangs("instance2".into()))
            .run(HOUR)
            .unwrap()
    };
    let mixed = record(PolicyName::Mixed);
    let lost = mixed.missed_by(Miss::Silent) as f64 / 20_000.0;
    assert_eq!(mixed.missed_by(Miss::Silent), mixed.missed());
    assert!((lost - 1.0 / 3.0).abs() < 0.02, "{lost}");
    let waited = mixed.waited_in_vain();
    assert!(waited.quantile(0.5) >= 120 * SECOND && waited.longest() < 121 * SECOND);

    // One draw in three goes to the hung one; after 61 s there is another draw, and no third.
    let single = record(PolicyName::Single);
    let lost = single.missed() as f64 / 20_000.0;
    assert!((lost - 1.0 / 9.0).abs() < 0.02, "{lost}");
    assert!(single.waited().quantile(0.99) > 61 * SECOND);
}

/// Clients keep a descriptor for as long as a point works, so what is written anew moves only those
/// who come anew.
#[test]
fn clients_stay_with_a_descriptor_that_works() {
    let crowd = |crowd: Crowd| crowd.arriving(2 * MINUTE..=5 * MINUTE).pausing(MINUTE..=5 * MINUTE);
    let record = |crowd| {
        Scenario::new(4)
            .instance(InstancePlan::new("old"))
            .instance(InstancePlan::new("new").starts_at(HOUR))
            .clients(crowd)
            .run(3 * HOUR)
            .unwrap()
    };
    let stay = record(crowd(Crowd::new(500)).isolated());
    assert_eq!(served(&stay)[1], 0);
    assert_eq!(stay.fetches(), 500);
    let come_anew = record(crowd(Crowd::new(500)).fresh());
    let new = &come_anew.intervals()[120].served;
    assert!(chi_square_p(new.iter().copied()) > 1e-4, "{new:?}");
}

/// A circuit is used again within ten minutes, without any introduction, until the instance closes
/// it: ten minutes after it was made, and up to half a minute later.
#[test]
fn circuits_are_kept_for_ten_minutes() {
    let record = |pause: Duration| {
        let crowd = Crowd::new(100).arriving(2 * MINUTE..=3 * MINUTE).pausing(pause..=pause);
        Scenario::new(5).numbered(1).clients(crowd).run(3 * HOUR).unwrap()
    };
    let visits_of_each = |pause: Duration| {
        let record = record(pause);
        record.served() as f64 / record.instances()[0].introductions as f64
    };
    assert!((visits_of_each(9 * MINUTE) - 2.0).abs() < 0.1);
    assert!((visits_of_each(4 * MINUTE) - 3.0).abs() < 0.1);
    // At the end, circuits are cut short.
    assert!((visits_of_each(10 * SECOND) - 60.0).abs() < 2.5);
    let seldom = record(11 * MINUTE);
    assert_eq!(seldom.instances()[0].introductions, seldom.served());
}

/// Holds that as many transfers as there are share a cap, and more instances are done sooner: the
/// thesis's figure 4.2.
#[test]
fn downloads_take_as_long_as_the_caps_say() {
    const CAP: u64 = 1_024_000;
    const BYTES: u64 = 1024 * 1024;
    let last = |instances: usize| {
        let crowd = Crowd::new(60)
            .visits(10)
            .fetching(BYTES)
            .arriving(2 * MINUTE..=2 * MINUTE + SECOND)
            .pausing(SECOND..=SECOND);
        let plans = InstancePlan::numbered(instances).into_iter().map(|plan| plan.cap(CAP));
        let record = Scenario::new(6)
            .instances(plans)
            .clients(crowd)
            .log_visits(1000)
            .run(HOUR)
            .unwrap();
        assert_eq!(record.visits().len(), 600);
        assert!(
            record
                .visits()
                .iter()
                .all(|visit| matches!(visit.outcome, Outcome::Served(_)))
        );
        let sent: f64 = record.instances().iter().map(|one| one.bytes).sum();
        assert!((sent / (600 * BYTES) as f64 - 1.0).abs() < 1e-6);
        (record.visits().iter().map(|visit| visit.ended).max().unwrap() - 2 * MINUTE).as_secs_f64()
    };
    let [one, two, six] = [1, 2, 6].map(last);
    let alone = (600 * BYTES) as f64 / CAP as f64;
    assert!(one >= alone && one < alone + 15.0, "{one}");
    assert!(one > two && two > six, "{one} {two} {six}");
}

/// A transfer breaks off with its instance, and the client is served by another.
#[test]
fn transfers_break_off_with_their_instance() {
    let crowd = Crowd::new(50)
        .fetching(1_000_000)
        .arriving(2 * MINUTE..=3 * MINUTE)
        .pausing(SECOND..=10 * SECOND);
    let plans = InstancePlan::numbered(2).into_iter().map(|plan| plan.cap(1_000_000));
    let record = Scenario::new(7)
        .instances(plans)
        .clients(crowd)
        .at(10 * MINUTE, Happening::Dies("instance1".into()))
        .run(20 * MINUTE)
        .unwrap();
    assert!(
        record.missed_by(Miss::BrokenOff) > 10,
        "{}",
        record.missed_by(Miss::BrokenOff)
    );
    assert_eq!(record.missed_by(Miss::BrokenOff), record.missed());
    assert_eq!(record.intervals()[12].served[0], 0);
    assert!(record.intervals()[12].served[1] > 30);
}

/// After so many introductions a point is replaced, and a publisher knows the new ones half a
/// minute later.
#[test]
fn points_wear_out() {
    let crowd = visitors(300_000).arriving(2 * MINUTE..=60 * MINUTE);
    let record = Scenario::new(8).numbered(2).clients(crowd).run(HOUR).unwrap();
    let points: u64 = record.instances().iter().map(|one| one.points).sum();
    // Each of six points has 50 000 introductions on its way, and wears out after 16 384 to 32 767.
    assert!((10..=24).contains(&points), "{points}");
    assert_eq!(record.missed(), 0, "quiet instances keep the old points open");
}

/// Loud instances write over the mix, as in the thesis, and are answered at once.
#[test]
fn loud_instances_do_not_win() {
    let crowd = Crowd::new(3000)
        .fresh()
        .arriving(5 * MINUTE..=6 * MINUTE)
        .pausing(MINUTE..=2 * MINUTE);
    let scenario = Scenario::new(12).numbered(3).clients(crowd);
    let record = scenario.loud().run(4 * HOUR).unwrap();
    assert!(record.instances().iter().all(|one| one.uploads >= 24));
    assert!(record.evenness() > 0.999, "{:?}", served(&record));
    assert_eq!(record.missed(), 0);
    // Each round of theirs costs one of the publisher's.
    assert!(record.uploads() >= 6 * 4 * 3, "{}", record.uploads());
}

/// Directories come and go, and those who have an old consensus still find the service.
#[test]
fn clients_bear_churn() {
    let crowd = Crowd::new(2000)
        .fresh()
        .arriving(10 * MINUTE..=20 * MINUTE)
        .pausing(MINUTE..=10 * MINUTE);
    let record = Scenario::new(9)
        .numbered(3)
        .directories(3000)
        .churn(Scenario::PUBLIC_CHURN)
        .clients(crowd)
        .run(24 * HOUR)
        .unwrap();
    assert!(record.directories().len() > 12, "two periods, and some that joined");
    let unanswered: u64 = record.directories().iter().map(|one| one.unanswered).sum();
    assert!(unanswered > 0, "old consensuses name directories that are gone");
    let missed = record.missed() as f64 / record.served() as f64;
    assert!(missed < 0.001, "{missed}");
}

/// When the directories of a replica are dead, most who draw it are served after half a minute
/// each.
#[test]
fn dead_directories_cost_half_minutes() {
    let mut scenario = Scenario::new(10)
        .numbered(3)
        .clients(visitors(6000).arriving(31 * MINUTE..=50 * MINUTE));
    for place in 0..3 {
        scenario = scenario.at(30 * MINUTE, Happening::DirectoryDies { replica: 0, place });
    }
    let record = scenario.run(HOUR).unwrap();
    // Three dead ones are 93 s, so nobody fails: the fourth directory is not of that replica.
    assert_eq!(record.missed(), 0);
    let median = record.waited().quantile(0.5);
    let longest = record.waited().longest();
    assert!(
        median <= 32 * SECOND && longest > 93 * SECOND && longest < 94 * SECOND,
        "{median:?} {longest:?}"
    );
}

/// With the pace of a test network, everything is quicker.
#[test]
fn the_pace_is_that_of_the_scenario() {
    let scenario = Scenario::new(11)
        .numbered(1)
        .policy(PolicyName::Race)
        .pace(Pace::testing());
    assert_eq!(scenario.run(10 * SECOND).unwrap().instances()[0].uploads, 6);
}

#[test]
fn names_that_do_not_fit_are_refused() {
    let twice = Scenario::new(1)
        .instance(InstancePlan::new("a"))
        .instance(InstancePlan::new("a"));
    assert!(matches!(twice.build(), Err(Error::DuplicateInstance { name }) if name == "a"));
    let nobody = Scenario::new(1).numbered(1).at(SECOND, Happening::Dies("b".into()));
    assert!(matches!(nobody.build(), Err(Error::UnknownInstance { name }) if name == "b"));
}

/// Nothing at all is legal too.
#[test]
fn empty_scenarios_run() {
    let record = Scenario::new(1)
        .directories(0)
        .clients(Crowd::new(10))
        .run(HOUR)
        .unwrap();
    assert_eq!(record.served(), 0);
    assert_eq!(record.missed(), record.missed_by(Miss::NoDescriptor));
    assert_eq!(Scenario::new(1).run(HOUR).unwrap().clients(), 0);
}
