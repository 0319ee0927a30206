//! The publisher example as an operator runs it: a program, a file, and signals, on a private
//! network of real Tor.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use onionweave_testnet::{Instance, Network, ServiceKey};

mod programs;

use programs::program;

/// A running publisher, and what it has logged.
struct Publisher {
    process: std::process::Child,
    log: std::path::PathBuf,
}

impl Publisher {
    fn start(program: &Path, config: &Path) -> Self {
        let log = config.with_extension("log");
        let process = Command::new(program)
            .arg("--config")
            .arg(config)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { process, log }
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    fn logged(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until the log holds all `words` in one line after its first `skip` lines; returns how
    /// many lines there are then.
    fn wait_for(&self, words: &[&str], skip: usize) -> usize {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let logged = self.logged();
            let mut lines = logged.lines().skip(skip);
            if lines.any(|line| words.iter().all(|word| line.contains(word))) {
                return logged.lines().count();
            }
            assert!(Instant::now() < deadline, "no line with {words:?} in:\n{logged}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits for its end, and returns its exit code.
    fn ended(mut self) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.process.kill().unwrap();
        panic!("it does not end:\n{}", self.logged());
    }
}

fn config(instances: &[&Instance]) -> String {
    let mut text =
        "[publisher]\nheartbeat = \"2s\"\n\n[[service]]\nkey = \"private_key\"\npolicy = \"mixed\"\nquiet = true\n"
            .to_owned();
    for instance in instances {
        text += &format!(
            "\n[[service.instance]]\nname = \"{}\"\ncontrol = \"{}\"\n",
            instance.name(),
            instance.control()
        );
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn publisher_obeys_signals_and_survives_a_broken_file() {
    let program = &program("publisher");
    let network = Network::builder().start().await.unwrap();
    let key = ServiceKey::generate().unwrap();
    let mut instances = Vec::new();
    for name in ["a", "b", "c"] {
        instances.push(
            network
                .instance(name)
                .service_key(&key)
                .quiet(true)
                .start()
                .await
                .unwrap(),
        );
    }
    for instance in &instances {
        instance.wait_for_descriptor().await.unwrap();
    }
    let [a, b, c] = &instances[..] else { unreachable!() };

    let folder = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
        .unwrap();
    let file = folder.path().join("publisher.toml");
    let secret = folder.path().join("private_key");
    fs::write(&secret, key.pem()).unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    fs::write(&file, config(&[a, b])).unwrap();

    let publisher = Publisher::start(program, &file);
    let lines = publisher.wait_for(&["proved", "started"], 0);

    // A file that does not parse changes nothing, and neither does one that names a key which is
    // not there.
    fs::write(&file, "[[service]\n").unwrap();
    publisher.signal("-HUP");
    let lines = publisher.wait_for(&["nothing is changed", "line 1"], lines);
    fs::write(&file, config(&[a, b]).replace("private_key", "other_key")).unwrap();
    publisher.signal("-HUP");
    let lines = publisher.wait_for(&["nothing is changed", "other_key", "No such file"], lines);

    // Another instance joins.
    fs::write(&file, config(&[a, b, c])).unwrap();
    publisher.signal("-HUP");
    let lines = publisher.wait_for(&["proved", "c joined"], lines);

    // One dies; no restart command is configured, so its operator starts it again.
    b.kill().unwrap();
    let lines = publisher.wait_for(&["proved", "b left"], lines);
    b.restart().await.unwrap();
    let lines = publisher.wait_for(&["proved", "b joined"], lines);

    // One leaves the configuration.
    fs::write(&file, config(&[b, c])).unwrap();
    publisher.signal("-HUP");
    publisher.wait_for(&["proved", "configuration changed"], lines);

    publisher.signal("-TERM");
    assert_eq!(publisher.ended(), Some(0));

    let publisher = Publisher::start(program, &file);
    publisher.wait_for(&["proved"], 0);
    publisher.signal("-INT");
    assert_eq!(publisher.ended(), Some(0));
}
