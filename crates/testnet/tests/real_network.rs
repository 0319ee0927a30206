//! Private networks of real tor processes. Each test prints what it measured.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use onionweave_testnet::{Backend, Client, Error, LogExcerpt, Network, ServiceKey};

/// Returns whether a process runs. One that has ended and was not waited for has an empty command
/// line.
fn runs(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|arguments| !arguments.is_empty())
}

/// The state letter of a process in `/proc/<pid>/stat`: `T` is stopped.
fn state(pid: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().chars().next().unwrap()
}

fn wait_until(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    start.elapsed()
}

/// Reaches an instance that has just built its descriptor after a restart. Its uploads take a
/// moment, and until they are there a directory hands out the points of the process that died, at
/// which a client may wait in vain.
async fn reach_again(client: &Client, onion: &str) -> String {
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        client.new_identity().await.unwrap();
        match client.fetch(onion, 80).await {
            Ok(answer) => return answer,
            Err(error) => eprintln!("not yet: {error}"),
        }
    }
    panic!("{onion} is not reached again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_reached_killed_stopped_and_restarted() {
    let start = Instant::now();
    let network = Network::builder().start().await.unwrap();
    let ready = start.elapsed();
    assert!(ready < Duration::from_secs(60), "ready after {ready:?}");

    let key = ServiceKey::generate().unwrap();
    let backend = Backend::start("behind a").await.unwrap();
    let (a, client) = tokio::join!(
        network.instance("a").service_key(&key).backend(&backend).start(),
        network.client("visitor").torrc("SocksTimeout 10 seconds").start()
    );
    let (a, client) = (a.unwrap(), client.unwrap());
    assert_eq!(a.onion(), key.onion());
    a.wait_for_descriptor().await.unwrap();
    let descriptor = start.elapsed();
    assert_eq!(client.fetch(&a.onion(), 80).await.unwrap(), "behind a");
    println!(
        "network ready {ready:.1?}, descriptor {descriptor:.1?}, fetched {:.1?} after the start",
        start.elapsed()
    );
    assert_eq!(backend.requests(), 1);

    // Killed: nothing runs, and it comes back as the same service with a new process.
    let first = a.pid().unwrap();
    a.kill().unwrap();
    assert_eq!((a.pid(), runs(first)), (None, false));
    assert!(matches!(a.stop(), Err(Error::NotRunning { .. })));
    let restart = Instant::now();
    a.restart().await.unwrap();
    println!("restarted {:.2?}", restart.elapsed());
    a.wait_for_descriptor().await.unwrap();
    println!("restarted, descriptor {:.2?}", restart.elapsed());
    assert_eq!(reach_again(&client, &a.onion()).await, "behind a");

    // Stopped, continued, and stopped again: the operator's command ends what hangs and starts
    // another.
    let second = a.pid().unwrap();
    assert_ne!(first, second);
    a.stop().unwrap();
    wait_until(Duration::from_secs(1), "stopped", || state(second) == 'T');
    a.cont().unwrap();
    wait_until(Duration::from_secs(1), "continued", || state(second) != 'T');
    a.stop().unwrap();
    let command = a.restart_command();
    let restart = Instant::now();
    let status = Command::new(&command[0]).args(&command[1..]).status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
    println!("restarted by command {:.2?}", restart.elapsed());
    assert!(!runs(second));
    let third = a.pid().unwrap();
    a.wait_for_descriptor().await.unwrap();
    println!("restarted by command, descriptor {:.2?}", restart.elapsed());
    assert_eq!(reach_again(&client, &a.onion()).await, "behind a");
    assert_eq!(backend.requests(), 3);

    // A process that was started from outside ends with its instance as well.
    drop(a);
    assert!(!runs(third));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_networks_live_side_by_side() {
    let start = Instant::now();
    let (one, two) = tokio::join!(Network::builder().start(), Network::builder().start());
    let (one, two) = (one.unwrap(), two.unwrap());
    println!("two networks ready {:.1?}", start.elapsed());
    assert_eq!(
        (one.authorities().len(), one.relays().len(), one.directories().len()),
        (3, 9, 12)
    );

    let fingerprints: HashSet<_> = one
        .directories()
        .iter()
        .chain(two.directories())
        .map(|relay| relay.fingerprint())
        .collect();
    assert_eq!(fingerprints.len(), 24);
    for relay in one.directories() {
        let (connection, _events) = relay.connect().await.unwrap();
        assert_eq!(
            connection.get_info("fingerprint").await.unwrap(),
            relay.fingerprint_hex()
        );
        assert!(one.directory(&relay.fingerprint()).is_some() && two.directory(&relay.fingerprint()).is_none());
    }

    // A loud service is found on its own network and unknown on the other; a quiet one is found
    // nowhere. In a testing network clients go on asking until they give up (`SocksTimeout`, two
    // minutes by default).
    let impatient = "SocksTimeout 10 seconds";
    let (loud, quiet) = tokio::join!(one.instance("loud").start(), one.instance("quiet").quiet(true).start());
    let (loud, quiet) = (loud.unwrap(), quiet.unwrap());
    let (here, there) = tokio::join!(
        one.client("here").torrc(impatient).start(),
        two.client("there").torrc(impatient).start()
    );
    let (here, there) = (here.unwrap(), there.unwrap());
    loud.wait_for_descriptor().await.unwrap();
    quiet.wait_for_descriptor().await.unwrap();
    assert_eq!(here.fetch(&loud.onion(), 80).await.unwrap(), "loud");
    assert_eq!(loud.own_backend().unwrap().requests(), 1);
    let (loud_onion, quiet_onion) = (loud.onion(), quiet.onion());
    let (elsewhere, hidden) = tokio::join!(there.fetch(&loud_onion, 80), here.fetch(&quiet_onion, 80));
    for error in [elsewhere.unwrap_err(), hidden.unwrap_err()] {
        println!("{error}");
        assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    }

    // A name is given once.
    assert!(matches!(one.client("loud").start().await, Err(Error::Name { .. })));
    assert!(matches!(one.client("no.dots").start().await, Err(Error::Name { .. })));

    // A relay goes and comes back.
    let relay = &one.relays()[0];
    relay.stop().unwrap();
    relay.kill().unwrap();
    assert_eq!(relay.pid(), None);
    relay.restart().await.unwrap();

    // Dropping everything ends every process and removes the folders.
    let folders: Vec<PathBuf> = [&one, &two].map(|network| network.folder().to_owned()).into();
    let mut pids: Vec<u32> = one
        .directories()
        .iter()
        .chain(two.directories())
        .map(|relay| {
            let log = LogExcerpt::read(relay.folder());
            relay
                .pid()
                .unwrap_or_else(|| panic!("{} has ended:\n{log}", relay.nickname()))
        })
        .collect();
    pids.extend([loud.pid(), quiet.pid(), here.pid(), there.pid()].map(Option::unwrap));
    assert!(pids.iter().all(|&pid| runs(pid)));
    // An instance may outlive its network.
    drop((one, two));
    assert!(loud.pid().is_some() && folders[0].exists());
    drop((loud, quiet, here, there));
    let left: Vec<_> = pids.into_iter().filter(|&pid| runs(pid)).collect();
    assert!(left.is_empty(), "{left:?} still run");
    assert!(folders.iter().all(|folder| !folder.exists()), "{folders:?}");
}

/// Kills the program that holds a network, one of whose relays is stopped.
#[test]
fn a_network_ends_when_its_program_is_killed() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_onionweave-testnet"))
        .args(["1", "4"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut folder = PathBuf::new();
    let mut pids: Vec<u32> = Vec::new();
    for line in BufReader::new(program.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
    {
        match line.split_once(' ') {
            Some(("folder", path)) => folder = path.into(),
            Some(("relay", relay)) => pids.push(relay.rsplit(' ').next().unwrap().parse().unwrap()),
            _ => break,
        }
    }
    assert_eq!(pids.len(), 5);
    assert!(folder.is_dir() && pids.iter().all(|&pid| runs(pid)));
    let stopped = rustix::process::Pid::from_raw(pids[2].try_into().unwrap()).unwrap();
    rustix::process::kill_process(stopped, rustix::process::Signal::STOP).unwrap();

    program.kill().unwrap();
    program.wait().unwrap();
    let after = wait_until(Duration::from_secs(5), "all processes end", || {
        !pids.iter().any(|&pid| runs(pid))
    });
    println!("all processes ended {after:.2?} after their program");
    wait_until(Duration::from_secs(5), "the folder is removed", || !folder.exists());
}

/// A network that cannot start names the log that says why, and keeps it.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_names_its_log() {
    let error = Network::builder()
        .relays(4)
        .torrc("NoSuchOption 1")
        .start()
        .await
        .unwrap_err();
    let Error::Exited { log, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(log.lines().iter().any(|line| line.contains("NoSuchOption")), "{error}");
    assert!(error.to_string().contains(log.path().to_str().unwrap()), "{error}");
    assert!(log.path().is_file());
    fs::remove_dir_all(log.path().parent().unwrap().parent().unwrap()).unwrap();
}
