//! Instances whose control ports are out of reach, each with a key of its own: what they offer is
//! read from the directories.

use std::time::Duration;

use onionweave_driver::{Instance, Publisher, Reports};
use onionweave_publish::{Cause, Report, Round};
use onionweave_testnet::Backend;

use crate::harness::{self, Lease, calm_key, clients, fresh, renew, visit};

const SECOND: Duration = Duration::from_secs(1);

async fn next<T>(reports: &mut Reports, limit: Duration, wanted: impl Fn(Report) -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + limit;
    loop {
        let report = tokio::time::timeout_at(deadline, reports.recv()).await;
        let report = report.expect("it happens in time").expect("the publisher lives");
        println!("{}", report.report);
        if let Some(found) = wanted(report.report) {
            return found;
        }
    }
}

fn round(report: Report) -> Option<Round> {
    match report {
        Report::Proved(round) => Some(round),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_only_the_directories_know_are_published() {
    let network = Lease::take().await;
    let key = calm_key();
    let mut service = harness::service(&key);
    let (mut instances, mut backends) = (Vec::new(), Vec::new());
    for name in ["a", "b"] {
        let own_key = calm_key();
        let backend = Backend::start(name).await.unwrap();
        // Loud: clients could find it under its own address too.
        let instance = network
            .instance(fresh(name))
            .service_key(&own_key)
            .quiet(false)
            .backend(&backend);
        let instance = instance.torrc("RendPostPeriod 20 seconds").start().await.unwrap();
        let address = own_key.service_id().parse().unwrap();
        service = service.instance(Instance::from_directories(name.parse().unwrap(), address).poll(3 * SECOND));
        instances.push(instance);
        backends.push(backend);
    }
    let own = network.client(fresh("own")).start().await.unwrap();
    let builder = Publisher::builder().tor(own.control()).service(service);
    let (publisher, mut reports) = builder.start().unwrap();

    // The instances publish half a minute after their start.
    let both = |report| round(report).filter(|round| round.plan.values().flatten().any(|(name, _)| *name == "b"));
    let first = next(&mut reports, 90 * SECOND, both).await;
    assert_eq!(first.missing.len(), 0, "{first}");

    let clients = clients(&network, 4, &[]).await;
    for _ in 0..3 {
        renew(&clients).await;
        for visit in visit(&clients, &key.onion()).await {
            visit.unwrap();
        }
    }
    let requests: Vec<_> = backends.iter().map(Backend::requests).collect();
    println!("12 requests reached {requests:?}");
    assert_eq!(requests.iter().sum::<u64>(), 12);
    // By chance all twelve meet one instance once in two thousand runs.
    assert!(requests.iter().all(|requests| *requests > 0));

    // It comes back with other points: directories learn them when it publishes, and here when they
    // are read.
    instances[0].kill().unwrap();
    instances[0].restart().await.unwrap();
    let changed = |round: &Round| round.causes.contains(&Cause::PointsChanged("a".parse().unwrap()));
    next(&mut reports, 120 * SECOND, |report| round(report).filter(changed)).await;
    renew(&clients).await;
    let before: u64 = backends.iter().map(Backend::requests).sum();
    for visit in visit(&clients, &key.onion()).await {
        visit.unwrap();
    }
    assert_eq!(backends.iter().map(Backend::requests).sum::<u64>(), before + 4);
    publisher.stop().await;
}
