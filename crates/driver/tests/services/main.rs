//! Many services on few Tors: what the publisher costs a Tor does not grow with their number.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::Duration;

use onionweave_driver::{PublisherStatus, StatusError};
use tokio::time::{sleep, timeout};

mod scripted;

use scripted::{Counts, ScriptedTor, keys, publisher};

async fn tors(count: usize) -> Vec<ScriptedTor> {
    let mut tors = Vec::new();
    for _ in 0..count {
        tors.push(ScriptedTor::start().await);
    }
    tors
}

/// Whether every service knows the directories, and has heard of each of its instances.
fn is_served(status: &PublisherStatus) -> bool {
    status.services.values().all(|service| {
        let instances = &service.instances;
        service.consensus.is_some() && instances.iter().all(|instance| instance.up)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousand_services_on_five_tors_hold_five_connections_and_read_five_consensuses_at_most() {
    const SERVICES: usize = 1000;
    let tors = tors(5).await;
    let publisher = publisher(keys(SERVICES), &tors);

    let total = |count: fn(&Counts) -> usize| tors.iter().map(|tor| count(&tor.counts)).sum::<usize>();
    let served = async {
        // Every Tor is asked for the descriptor of every service.
        while total(|counts| Counts::of(&counts.descriptor_questions)) < tors.len() * SERVICES {
            sleep(Duration::from_millis(50)).await;
        }
        loop {
            // Busy with a thousand services, one may not answer in time.
            if let Ok(status) = publisher.status().await
                && is_served(&status)
            {
                return status;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let status = timeout(Duration::from_secs(300), served).await.unwrap();

    assert_eq!(status.services.len(), SERVICES);
    let told: Vec<_> = status.tors.iter().map(|tor| (tor.services, tor.connections)).collect();
    assert_eq!(told, [(SERVICES, 1); 5]);
    assert_eq!(total(|counts| Counts::of(&counts.connections)), 5);
    let readings = total(|counts| Counts::of(&counts.consensus_readings));
    assert!((1..=5).contains(&readings), "{readings} readings");
    assert_eq!(status.tors.iter().map(|tor| tor.readings).sum::<u64>(), readings as u64);
    publisher.stop().await;
}

#[tokio::test]
async fn tor_that_nobody_follows_any_more_is_left() {
    let tors = tors(2).await;
    let mut publisher = publisher(keys(1), &tors);
    let connected = |status: &PublisherStatus, wanted: usize| {
        status.tors.len() == wanted && status.tors.iter().all(|tor| tor.connected)
    };
    let stands = async |publisher: &onionweave_driver::Publisher, wanted| {
        let standing = async {
            while !connected(&publisher.status().await.unwrap(), wanted) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(60), standing).await.unwrap();
    };
    stands(&publisher, 2).await;

    let fewer = scripted::builder(keys(1), &tors[..1]);
    publisher.reload(fewer).await.unwrap();
    stands(&publisher, 1).await;
    assert_eq!(
        publisher.status().await.unwrap().tors[0].endpoint,
        tors[0].endpoint().to_string()
    );
    assert_eq!(
        Counts::of(&tors[0].counts.connections),
        1,
        "a new service takes the connection that stands"
    );
}

#[tokio::test]
async fn snapshot_of_a_publisher_that_stops_is_refused() {
    let tors = tors(1).await;
    let publisher = publisher(keys(2), &tors);
    let monitor = publisher.monitor();
    assert_eq!(monitor.status().await.unwrap().services.len(), 2);

    let stopping = tokio::spawn(publisher.stop());
    // Before, during and after: each snapshot is whole or refused, and none hangs.
    let mut refused = false;
    while !refused {
        match timeout(Duration::from_secs(60), monitor.status()).await.unwrap() {
            Ok(status) => assert_eq!(status.services.len(), 2),
            Err(error) => {
                assert_eq!(error, StatusError::Stopped);
                refused = true;
            }
        }
        tokio::task::yield_now().await;
    }
    stopping.await.unwrap();
    assert_eq!(monitor.status().await, Err(StatusError::Stopped));
}

#[tokio::test]
async fn snapshot_tells_what_is_wrong_in_words_and_can_be_serialized() {
    let tors = tors(1).await;
    let gone = ScriptedTor::start().await;
    let endpoint = gone.endpoint();
    drop(gone);
    let mut builder = scripted::builder(keys(1), &tors);
    builder = builder.tor(endpoint.clone());
    let (publisher, _reports) = builder.start().unwrap();
    let told = async {
        loop {
            let status = publisher.status().await.unwrap();
            if status.tors.iter().any(|tor| tor.down.is_some()) && status.tors.iter().any(|tor| tor.connected) {
                return status;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    let status = timeout(Duration::from_secs(60), told).await.unwrap();
    let problems = status.problems();
    let line = format!("control port {endpoint}: ");
    assert!(
        problems.iter().any(|problem| problem.starts_with(&line)),
        "{problems:?}"
    );
    assert!(
        problems.iter().any(|problem| problem.starts_with("service ")),
        "{problems:?}"
    );
    #[cfg(feature = "serde")]
    {
        let json = serde_json::to_value(&status).unwrap();
        assert_eq!(json["format"], 1);
        assert_eq!(json["tors"].as_array().unwrap().len(), 2);
    }
}
