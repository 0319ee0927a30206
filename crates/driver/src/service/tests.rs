use onionweave_assign::PolicyName;
use onionweave_control::Endpoint;
use onionweave_desc::v2::{Draft, ServiceKey, UnverifiedDescriptor};
use onionweave_ring::v2::{Replica, TimePeriod};

use super::*;
use crate::builder::{Builder, Instance, Service};
use crate::prepare::{Prepared, PreparedService};
use crate::tor::scripted::{Answer, Script};

const CIRCUITS: &str = "GETINFO status/circuit-established";

fn key() -> ServiceKey {
    ServiceKey::from_pem(include_str!("../../testdata/private_key")).unwrap()
}

/// A descriptor of the service, dated with the full hour, as Tor does.
fn descriptor() -> Vec<u8> {
    let text = include_bytes!("../../../desc/testdata/plain/descriptor-rf75jzdtba4wnd6v.txt");
    let points = UnverifiedDescriptor::parse(text)
        .unwrap()
        .verify()
        .unwrap()
        .introduction_points()
        .unwrap();
    let now = UnixTime::from(SystemTime::now());
    let hour = UnixTime::from_secs(now.as_secs() / 3600 * 3600);
    let period = TimePeriod::at(&key().service_id(), hour);
    let descriptor = Draft::new(points).sign(&key(), period, Replica::ALL[0], hour).unwrap();
    descriptor.text().to_vec()
}

async fn status(orders: &mpsc::Sender<Order>) -> Status {
    let (answer, answered) = oneshot::channel();
    orders.send(Order::Status(answer)).await.unwrap();
    answered.await.unwrap()
}

/// Fault 20: with an instance in a file, the first look at the ring waits for a Tor that has
/// circuits. Nothing is wrong about that at the start.
#[tokio::test(start_paused = true)]
async fn start_before_the_first_tor_has_circuits_is_no_failure_of_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("descriptor");
    std::fs::write(&file, descriptor()).unwrap();
    let circuits_from = Instant::now() + Duration::from_secs(2);
    let script = Arc::new(Script::new(move |_, line| {
        match line == CIRCUITS && Instant::now() < circuits_from {
            true => Answer::Text("250-status/circuit-established=0\r\n250 OK\r\n".into()),
            false => Answer::Usual,
        }
    }));
    let own: Endpoint = "unix:/in/memory".parse().unwrap();
    let service =
        Service::new(key(), PolicyName::Mixed.policy()).instance(Instance::from_file("a".parse().unwrap(), file));
    let prepared = Prepared::new(&Builder::new().tor(own).service(service), None).unwrap();
    let (id, PreparedService { machine, setup }) = prepared.services.into_iter().next().unwrap();
    let (orders, received) = mpsc::channel(4);
    let (reports, mut told) = mpsc::channel(1000);
    let tors = Tors::scripted(&script);
    let task = ServiceTask::new(machine, id, setup, tors, Folders::default(), received, reports);
    let task = tokio::spawn(task.run());

    let questions = || script.lines("HSFETCH").len();
    let asking = async {
        while status(&orders).await.consensus.is_none() {
            sleep(Duration::from_millis(10)).await;
        }
        assert!(
            Instant::now() < circuits_from,
            "the ring is known before a Tor can ask it"
        );
        while questions() < 6 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(60), asking).await.unwrap();
    let waited = circuits_from.elapsed();
    assert!(
        Instant::now() >= circuits_from && waited <= Duration::from_secs(1),
        "{waited:?}"
    );
    let status = status(&orders).await;
    assert_eq!((status.counts.uploads.refused, status.counts.audits.failed), (0, 0));
    for slot in &status.slots {
        assert_eq!((slot.failures, &slot.last_trouble), (0, &None));
    }
    task.abort();
    while let Some(ServiceReport { report, .. }) = told.recv().await {
        assert!(!report.to_string().contains("no Tor"), "{report}");
    }
}
