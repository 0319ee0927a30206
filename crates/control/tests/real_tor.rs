//! The client against a real tor process, without a network.
//!
//! The environment variable `ONIONWEAVE_TOR` names the binary, of version 0.4.5 or later. Without
//! it, the tests fail.
#![cfg(all(unix, feature = "tokio"))]
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::fs::Permissions;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant};

use onionweave_control::{
    AuthMethod, CloseReason, Command, Connection, Cookie, Credentials, Endpoint, Error, Event, EventKind, Events,
    HsFetch, Incoming, NetworkLiveness, Options, Password, Reply, Session, Signal, Status, Supervisor,
    SupervisorOptions,
};

#[path = "common/conversation.rs"]
mod conversation;
#[path = "common/recorder.rs"]
mod recorder;

const PASSWORD: &str = "correct \"horse\" \\ battery";
/// Long enough on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the binary that `ONIONWEAVE_TOR` names.
fn binary() -> PathBuf {
    let binary = std::env::var_os("ONIONWEAVE_TOR").filter(|path| !path.is_empty());
    binary
        .map(PathBuf::from)
        .expect("ONIONWEAVE_TOR must be the path of a tor, of version 0.4.5 or later; `cargo xtask test` provides two")
}

/// A tor process with both kinds of control port, ended when dropped.
struct Tor {
    process: Child,
    folder: tempfile::TempDir,
}

impl Tor {
    /// Starts one and waits until its ports are written down.
    fn start(options: &[&str]) -> Self {
        // Tor wants a unix socket's folder to be private, and the system its path to be short.
        let private = Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new()
            .prefix("ow")
            .permissions(private)
            .tempdir()
            .unwrap();
        let path = |name: &str| folder.path().join(name);
        let torrc = format!(
            "DisableNetwork 1\nSocksPort 0\nControlPort 127.0.0.1:auto\nControlSocket {}\n\
             ControlPortWriteToFile {}\nDataDirectory {}\n__OwningControllerProcess {}\n",
            path("control").display(),
            path("ports").display(),
            path("data").display(),
            std::process::id(),
        );
        std::fs::write(path("torrc"), torrc).unwrap();
        std::fs::write(path("defaults"), "").unwrap();
        let log = std::fs::File::create(path("log")).unwrap();
        let process = Process::new(binary())
            .arg("-f")
            .arg(path("torrc"))
            .arg("--defaults-torrc")
            .arg(path("defaults"))
            .args(options)
            .stdin(Stdio::null())
            .stdout(log)
            .spawn()
            .unwrap_or_else(|error| panic!("ONIONWEAVE_TOR is {}: {error}", binary().display()));
        let mut tor = Self { process, folder };
        tor.wait_for(|tor| {
            let ports = std::fs::read_to_string(tor.path("ports")).unwrap_or_default();
            ports.lines().count() == 2 && ports.ends_with('\n')
        });
        tor
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn unix(&self) -> Endpoint {
        Endpoint::Unix(self.path("control"))
    }

    fn tcp(&self) -> Endpoint {
        let ports = std::fs::read_to_string(self.path("ports")).unwrap();
        let port = ports.lines().find_map(|line| line.strip_prefix("PORT=")).unwrap();
        port.parse().unwrap()
    }

    fn wait_for(&mut self, condition: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !condition(self) {
            let log = self.path("log");
            let log = || std::fs::read_to_string(&log).unwrap_or_default();
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("tor ended with {status}; its log:\n{}", log());
            }
            assert!(started.elapsed() < PATIENCE, "tor is not ready; its log:\n{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    async fn connect(&self) -> (Connection, Events) {
        connect(&self.unix(), &Credentials::auto()).await.unwrap()
    }

    /// Whether the process ends by itself. The client's task goes on meanwhile.
    async fn ends(&mut self) -> bool {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if self.process.try_wait().unwrap().is_some() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }
}

impl Drop for Tor {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn connect(endpoint: &Endpoint, credentials: &Credentials) -> Result<(Connection, Events), Error> {
    Connection::connect(endpoint, credentials, &patient()).await
}

fn patient() -> Options {
    Options::default().connect_deadline(PATIENCE).command_deadline(PATIENCE)
}

async fn next(events: &mut Events) -> Event {
    tokio::time::timeout(PATIENCE, events.recv())
        .await
        .expect("no event")
        .expect("the connection ended")
}

fn hash_password() -> String {
    let output = Process::new(binary())
        .args(["--hush", "--hash-password", PASSWORD])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .rfind(|line| line.starts_with("16:"))
        .expect("tor hashes passwords")
        .to_owned()
}

#[track_caller]
fn rejected(error: &Error) -> (u16, &str) {
    let Error::Rejected { code, text, .. } = error else {
        panic!("{error}")
    };
    (*code, text)
}

#[tokio::test]
async fn null() {
    let tor = Tor::start(&[]);
    for endpoint in [tor.tcp(), tor.unix()] {
        for credentials in [
            Credentials::auto(),
            Credentials::null(),
            Credentials::password("unused").unwrap(),
        ] {
            let (connection, _events) = connect(&endpoint, &credentials).await.unwrap();
            assert!(connection.protocol_info().offers(&AuthMethod::Null));
            assert!(connection.get_info("version").await.unwrap().starts_with("0."));
        }
    }
}

#[tokio::test]
async fn password() {
    let tor = Tor::start(&["--HashedControlPassword", &hash_password()]);
    for endpoint in [tor.tcp(), tor.unix()] {
        let credentials = Credentials::password(PASSWORD).unwrap();
        let (connection, _events) = connect(&endpoint, &credentials).await.unwrap();
        assert!(connection.protocol_info().offers(&AuthMethod::HashedPassword));
        connection.get_info("version").await.unwrap();

        let error = connect(&endpoint, &Credentials::password("wrong").unwrap())
            .await
            .unwrap_err();
        let (code, text) = rejected(&error);
        assert_eq!(code, 515, "{text}");
        assert!(
            text.starts_with("Authentication failed: Password did not match"),
            "{text}"
        );

        let error = connect(&endpoint, &Credentials::auto()).await.unwrap_err();
        assert!(matches!(error, Error::NoUsableMethod { .. }), "{error}");
    }
}

#[tokio::test]
async fn safe_cookie() {
    // A path that PROTOCOLINFO must escape.
    let folder = tempfile::tempdir().unwrap();
    let cookie = folder.path().join("a \"cookie\" \\ ä");
    let tor = Tor::start(&[
        "--CookieAuthentication",
        "1",
        "--CookieAuthFile",
        cookie.to_str().unwrap(),
    ]);
    let wrong = folder.path().join("wrong");
    std::fs::write(&wrong, [0; 32]).unwrap();
    for endpoint in [tor.tcp(), tor.unix()] {
        for credentials in [Credentials::auto(), Credentials::cookie_file(&cookie)] {
            let (connection, _events) = connect(&endpoint, &credentials).await.unwrap();
            assert_eq!(connection.protocol_info().cookie_file(), Some(&*cookie));
            connection.get_info("version").await.unwrap();
        }
        // With another cookie we can't tell that Tor knows its own.
        let error = connect(&endpoint, &Credentials::cookie_file(&wrong)).await.unwrap_err();
        assert!(matches!(error, Error::WrongServerHash), "{error}");
    }
}

#[tokio::test]
async fn cookie_or_password() {
    let tor = Tor::start(&[
        "--CookieAuthentication",
        "1",
        "--HashedControlPassword",
        &hash_password(),
    ]);
    let both = Credentials::auto().with_password(Password::new(PASSWORD).unwrap());
    for credentials in [Credentials::auto(), Credentials::password(PASSWORD).unwrap(), both] {
        connect(&tor.unix(), &credentials).await.unwrap();
    }
}

/// The session alone on a blocking socket, and the one method that the client never prefers.
#[test]
fn cookie_without_tokio() {
    let mut tor = Tor::start(&["--CookieAuthentication", "1"]);
    // The ports are open before the cookie is written.
    let cookie = |tor: &Tor| std::fs::read(tor.path("data").join("control_auth_cookie")).unwrap_or_default();
    tor.wait_for(|tor| cookie(tor).len() == 32);
    let content = cookie(&tor);
    let mut talk = Talk::open(&tor.path("control"));
    assert_eq!(
        talk.ask(&Command::authenticate_cookie(&Cookie::new(&content).unwrap()))
            .code(),
        250
    );
    let reply = talk.ask(&Command::get_info(["process/pid"]).unwrap());
    assert_eq!(
        reply.into_values(&["process/pid"]).unwrap(),
        [tor.process.id().to_string().into_bytes()]
    );

    let mut talk = Talk::open(&tor.path("control"));
    let refused = talk.ask(&Command::authenticate_cookie(&Cookie::new(&[0; 32]).unwrap()));
    assert_eq!(refused.code(), 515, "{}", refused.text());
}

struct Talk {
    stream: UnixStream,
    session: Session,
}

impl Talk {
    fn open(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            session: Session::default(),
        }
    }

    fn ask(&mut self, command: &Command) -> Reply {
        let ticket = self.session.send(command);
        self.stream.write_all(command.as_bytes()).unwrap();
        let mut buffer = [0; 100];
        loop {
            let length = self.stream.read(&mut buffer).unwrap();
            assert_ne!(length, 0, "tor closed the connection");
            let mut input = &buffer[..length];
            if let Some(Incoming::Reply {
                ticket: answered,
                reply,
                ..
            }) = self.session.receive(&mut input).unwrap()
            {
                assert_eq!(answered, ticket);
                assert!(input.is_empty());
                return reply;
            }
        }
    }
}

#[tokio::test]
async fn get_info() {
    let tor = Tor::start(&["--Nickname", "somebody"]);
    let (connection, _events) = tor.connect().await;

    let values = connection
        .get_infos(&["process/pid", "config-text", "ns/all", "network-liveness"])
        .await
        .unwrap();
    assert_eq!(values["process/pid"], tor.process.id().to_string());
    // Several lines.
    assert!(
        values["config-text"].lines().any(|line| line == "Nickname somebody"),
        "{}",
        values["config-text"]
    );
    // Without a consensus: empty, and no error.
    assert_eq!(values["ns/all"], "");
    assert!(matches!(&*values["network-liveness"], "up" | "down"));
    assert_eq!(connection.get_info("consensus/valid-after").await.unwrap(), "");

    let phase = connection.get_info("status/bootstrap-phase").await.unwrap();
    assert_eq!(Status::parse(phase.as_bytes()).unwrap().bootstrap_progress(), Some(0));

    for (keys, code, text) in [
        (&["VERSION"][..], 552, "Unrecognized key \"VERSION\""),
        (
            &["version", "nothing", "more"],
            552,
            "Unrecognized key \"nothing\"; Unrecognized key \"more\"",
        ),
        (&["version", "hs/service/desc/id/short"], 551, "Invalid address"),
        (
            &["dir/status-vote/current/consensus"],
            551,
            "Could not open cached consensus",
        ),
    ] {
        let error = connection.get_infos(keys).await.unwrap_err();
        let found = rejected(&error);
        assert!(found.0 == code && found.1.starts_with(text), "{keys:?}: {found:?}");
        assert_eq!(error.is_retryable(), code == 551);
    }
    // A rejection harms nothing.
    assert!(!connection.get_info("version").await.unwrap().is_empty());
}

#[tokio::test]
async fn events_and_configuration() {
    let tor = Tor::start(&[]);
    let (connection, mut events) = tor.connect().await;
    let kinds = [
        EventKind::ConfChanged,
        EventKind::HsDesc,
        EventKind::HsDescContent,
        EventKind::StatusClient,
        EventKind::NewConsensus,
        EventKind::NetworkLiveness,
        EventKind::Circ,
        EventKind::CircMinor,
    ];
    connection.set_events(&kinds).await.unwrap();

    let table = [
        ("plain", Some("plain")),
        // What GETCONF answers is quoted where it needs to be.
        ("with \"quotes\" and \\ and ä", Some("with \"quotes\" and \\ and ä")),
        ("#no comment", Some("#no comment")),
        ("", None),
    ];
    for (value, expected) in table {
        connection
            .set_conf(&[("ContactInfo", value), ("MaxCircuitDirtiness", "700")])
            .await
            .unwrap();
        let values = connection.get_conf(&["ContactInfo"]).await.unwrap();
        assert_eq!((values[0].key(), values[0].value()), ("ContactInfo", expected));
        let Event::ConfChanged(changed) = next(&mut events).await else {
            panic!()
        };
        assert_eq!(changed.value("ContactInfo"), expected);
    }

    connection.reset_conf(&["MaxCircuitDirtiness"]).await.unwrap();
    for (option, value, code) in [
        ("NoSuchOption", "1", 552),
        ("MaxCircuitDirtiness", "soon", 513),
        ("DataDirectory", "/elsewhere", 553),
    ] {
        let error = connection
            .set_conf(&[("ContactInfo", "never"), (option, value)])
            .await
            .unwrap_err();
        assert_eq!(rejected(&error).0, code, "{error}");
    }
    let values = connection.get_conf(&["ContactInfo"]).await.unwrap();
    assert_eq!(values[0].value(), None, "all or none");

    let error = connection
        .set_events(&[EventKind::Other("NO_SUCH_EVENT".to_owned())])
        .await
        .unwrap_err();
    assert_eq!(rejected(&error), (552, "Unrecognized event \"NO_SUCH_EVENT\""));
}

/// Every command. With `ONIONWEAVE_RECORD` naming a folder, what is said is written there, for
/// `transcripts.rs`.
#[tokio::test]
async fn conversation_with_every_command() {
    let tor = Tor::start(&[]);
    let recorder = recorder::Recorder::start(tor.path("control")).await;
    let (connection, mut events) = connect(&recorder.endpoint(), &Credentials::null()).await.unwrap();
    let results = conversation::hold(&connection, &mut events).await;
    for refused in ["NoSuchOption", "no/such/key", "TELEPATHY", "SETROUTERPURPOSE"] {
        assert!(
            results.iter().any(|line| line.contains(refused)),
            "{refused}: {results:#?}"
        );
    }
    if let Some(folder) = std::env::var_os("ONIONWEAVE_RECORD") {
        let version = connection.protocol_info().tor_version().unwrap().to_owned();
        let path = |end: &str| Path::new(&folder).join(format!("{version}{end}"));
        std::fs::write(path(".txt"), recorder.transcript()).unwrap();
        std::fs::write(path(".results.txt"), results.join("\n") + "\n").unwrap();
    }
}

/// The cases in which Tor gives another number of replies than one.
#[tokio::test]
async fn replies_that_are_missing_or_too_many() {
    let tor = Tor::start(&[]);
    // Two final replies to one command: the second is nobody's, and nothing is trusted after it.
    let (connection, _events) = tor.connect().await;
    let v3 = "vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd";
    let twice = format!(
        "ONION_CLIENT_AUTH_ADD {v3} x25519:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc= ClientName=longerthansixteencharacters"
    );
    let error = connection
        .command(Command::raw(&twice).unwrap(), PATIENCE)
        .await
        .unwrap_err();
    assert_eq!(rejected(&error), (512, "ClientName longer than 16 chars"));
    let reason = tokio::time::timeout(PATIENCE, connection.closed()).await.unwrap();
    assert!(
        reason.to_string().contains("no command was waiting for: 250 OK"),
        "{reason}"
    );

    // A fetch that is begun and of which nothing is ever heard, as there is no network: that is an
    // answer too.
    let (connection, _events) = tor.connect().await;
    connection.hs_fetch(&HsFetch::address(v3).unwrap()).await.unwrap();
    assert!(!connection.is_closed());

    // A supervisor goes on after all of this.
    let (supervisor, mut events) = Supervisor::start(
        tor.unix(),
        [Credentials::auto()],
        SupervisorOptions::default().connection(patient()),
    );
    let connection = supervisor.connection_within(PATIENCE).await.unwrap();
    assert!(
        connection
            .command(Command::raw(&twice).unwrap(), PATIENCE)
            .await
            .is_err()
    );
    let Event::Gap(gap) = next(&mut events).await else {
        panic!()
    };
    assert_eq!(gap.restarted(), Some(false));
    let connection = supervisor.connection_within(PATIENCE).await.unwrap();
    assert!(connection.get_info("version").await.unwrap().starts_with("0."));
}

/// Every word of `GETINFO events/names` has a name here, and the other way round.
#[tokio::test]
async fn every_event_has_a_name() {
    let tor = Tor::start(&[]);
    let (connection, _events) = tor.connect().await;
    let names = connection.get_info("events/names").await.unwrap();
    let kinds: Vec<_> = names.split(' ').map(EventKind::from_word).collect();
    assert!(kinds.len() >= 31, "{names}");
    for kind in &kinds {
        assert!(!matches!(kind, EventKind::Other(_)), "{kind}");
    }
    connection.set_events(&kinds).await.unwrap();
}

/// A Tor that is replaced by another one, which has another password.
#[tokio::test]
async fn a_supervisor_outlives_its_tor() {
    let mut first = Tor::start(&["--HashedControlPassword", &hash_password()]);
    let link = first.path("link");
    std::os::unix::fs::symlink(first.path("control"), &link).unwrap();
    let credentials = [Credentials::auto(), Credentials::password(PASSWORD).unwrap()];
    let endpoint = Endpoint::Unix(link.clone());
    let (supervisor, mut events) = Supervisor::start(
        endpoint,
        credentials,
        SupervisorOptions::default().connection(patient()),
    );
    supervisor.set_events(&[EventKind::Signal]).await.unwrap();
    supervisor.connection_within(PATIENCE).await.unwrap();

    // The next one offers a cookie and no password.
    let second = Tor::start(&["--CookieAuthentication", "1"]);
    first.process.kill().unwrap();
    first.process.wait().unwrap();
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(second.path("control"), &link).unwrap();

    let Event::Gap(gap) = next(&mut events).await else {
        panic!()
    };
    assert_eq!(gap.restarted(), Some(true));
    assert_eq!(gap.kinds(), [EventKind::Signal]);
    let connection = supervisor.connection_within(PATIENCE).await.unwrap();
    connection.signal(Signal::Heartbeat).await.unwrap();
    assert!(matches!(next(&mut events).await, Event::Signal(_)), "asked for again");
}

#[tokio::test]
async fn signals() {
    let mut tor = Tor::start(&[]);
    let (connection, mut events) = tor.connect().await;
    connection.set_events(&[EventKind::Signal]).await.unwrap();
    for signal in [Signal::Heartbeat, Signal::Dump, Signal::ClearDnsCache, Signal::Active] {
        connection.signal(signal).await.unwrap();
        let Event::Signal(received) = next(&mut events).await else {
            panic!()
        };
        assert_eq!(received.as_str(), signal.as_str());
    }
    connection.signal(Signal::Halt).await.unwrap();
    let reason = tokio::time::timeout(PATIENCE, connection.closed()).await.unwrap();
    assert!(matches!(reason, CloseReason::Eof), "{reason}");
    assert!(tor.ends().await);
}

#[tokio::test]
async fn ownership() {
    let mut tor = Tor::start(&[]);
    let (connection, _events) = tor.connect().await;
    connection.take_ownership().await.unwrap();
    drop(connection);
    assert!(tor.ends().await);
}

#[tokio::test]
async fn quitting() {
    let mut tor = Tor::start(&[]);
    let (connection, _events) = tor.connect().await;
    connection.quit().await.unwrap();
    assert!(matches!(connection.closed().await, CloseReason::Eof));
    assert!(tor.process.try_wait().unwrap().is_none());
}

#[tokio::test]
async fn the_death_of_tor_is_noticed_at_once() {
    let mut tor = Tor::start(&[]);
    let (connection, mut events) = tor.connect().await;
    tor.process.kill().unwrap();
    let started = Instant::now();
    assert!(matches!(connection.closed().await, CloseReason::Eof));
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(events.recv().await, None);
}

#[tokio::test]
async fn descriptors_without_a_network() {
    let tor = Tor::start(&[]);
    let (connection, _events) = tor.connect().await;
    let v3 = "vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd";

    let fetch = HsFetch::address(v3).unwrap().server([1; 20]);
    let error = connection.hs_fetch(&fetch).await.unwrap_err();
    assert_eq!(
        rejected(&error),
        (552, &*format!("Server \"${}\" not found", "01".repeat(20)))
    );
    assert!(error.is_retryable());

    let error = connection
        .hs_post(&[[1; 20]], Some(v3), b"anything\n")
        .await
        .unwrap_err();
    assert_eq!(
        rejected(&error),
        (552, &*format!("Server \"${}\" not found", "01".repeat(20)))
    );
    let error = connection
        .hs_post(&[], Some(v3), b"anything\n.\n..\n")
        .await
        .unwrap_err();
    assert_eq!(rejected(&error), (554, "Invalid descriptor"));
}

#[tokio::test]
async fn v2_depends_on_the_version() {
    let tor = Tor::start(&[]);
    let (connection, _events) = tor.connect().await;
    let version = connection.get_info("version").await.unwrap();
    let quick = connection.with_deadline(Duration::from_secs(1));
    let error = quick.hs_post(&[], None, b"anything\n").await.unwrap_err();
    if version.starts_with("0.4.5.") {
        assert_eq!(rejected(&error), (554, "Invalid descriptor"));
    } else {
        // No reply at all.
        assert!(matches!(error, Error::Deadline { .. }), "{error}");
        assert!(connection.is_closed());
    }
}

#[tokio::test]
async fn the_longest_command() {
    let tor = Tor::start(&[]);
    let (connection, _events) = tor.connect().await;
    let longest = format!("GETINFO {}", "x".repeat(Command::MAX_BYTES - "GETINFO \r\n".len()));
    let command = Command::raw(&longest).unwrap();
    assert_eq!(command.as_bytes().len(), Command::MAX_BYTES);
    let options = patient().limits(onionweave_control::Limits::default().line(2 << 20));
    let (patient, _events) = Connection::connect(&tor.unix(), &Credentials::auto(), &options)
        .await
        .unwrap();
    let error = patient.command(command, PATIENCE).await.unwrap_err();
    assert_eq!(rejected(&error).0, 552);

    // One byte more, past our own check.
    let mut talk = Talk::open(&tor.path("control"));
    assert_eq!(talk.ask(&Command::authenticate_null()).code(), 250);
    talk.session.send(&Command::quit());
    let _ = talk.stream.write_all(format!("{longest}x\r\n").as_bytes());
    let mut answer = Vec::new();
    let _ = talk.stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"552"), "{}", answer.escape_ascii());
    assert!(!connection.is_closed());
}

#[tokio::test]
async fn liveness_has_two_spellings() {
    // The event is upper case, the value of GETINFO lower case.
    let event = Event::parse(b"650 NETWORK_LIVENESS UP\r\n").unwrap();
    assert_eq!(event, Event::NetworkLiveness(NetworkLiveness::Up));
    let tor = Tor::start(&[]);
    let (connection, _events) = tor.connect().await;
    assert_eq!(connection.get_info("network-liveness").await.unwrap(), "down");
}

#[cfg(feature = "launch")]
mod launch {
    use onionweave_control::launch::{Launch, LaunchError, Ownership, TorBinary, Torrc};
    use onionweave_control::{AddOnion, OnionKeyAlgorithm};

    use super::*;

    fn launch(folder: &Path) -> Launch {
        // Tor wants the folder of its socket to be private, as one that `Launch` makes is.
        Launch::new(binary(), folder.join("tor"))
            .option("DisableNetwork", "1")
            .option("SocksPort", "0")
            .within(PATIENCE)
    }

    fn folder() -> tempfile::TempDir {
        tempfile::Builder::new().prefix("ow # \"").tempdir().unwrap()
    }

    fn is_gone(id: u32) -> bool {
        // A process that has ended and was not waited for yet has no folder any more.
        std::fs::read_link(format!("/proc/{id}/cwd")).is_err()
    }

    #[tokio::test]
    async fn a_tor_is_started_asked_and_ended() {
        let folder = folder();
        let mut tor = launch(folder.path()).start().await.unwrap();
        let id = tor.process().id().unwrap();
        assert_eq!(tor.control().get_info("process/pid").await.unwrap(), id.to_string());
        let service = AddOnion::new_key(OnionKeyAlgorithm::Ed25519V3).port_to(80, "127.0.0.1:8080");
        let onion = tor.control().add_onion(&service).await.unwrap();
        assert_eq!(onion.address().len(), 56);
        let version = tor.control().protocol_info().tor_version().unwrap().to_owned();
        let binary = tokio::task::spawn_blocking(|| TorBinary::at(binary()))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(version.parse(), Ok(binary.version()));
        binary.verify(&launch(folder.path()).torrc().unwrap()).unwrap();
        let error = binary.verify(&Torrc::new().option("Bogus", "1")).unwrap_err();
        assert!(error.to_string().contains("Unknown option 'Bogus'"), "{error}");

        assert!(tor.end(PATIENCE).await.unwrap().success());
        assert!(is_gone(id));
        // The folder serves the next one.
        let tor = launch(folder.path())
            .ownership(Ownership::Process)
            .start()
            .await
            .unwrap();
        drop(tor);
    }

    #[tokio::test]
    async fn a_tor_ends_with_its_lifeline() {
        let folder = folder();
        let tor = launch(folder.path()).start().await.unwrap();
        // The connection alone does not keep it, nor does its process if the owner forgets to end
        // it.
        let (mut process, connection, _events) = tor.into_parts();
        process.release_lifeline();
        connection.closed().await;
        // Its status is not told by Tor's documentation, and differs.
        tokio::time::timeout(PATIENCE, process.wait()).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_tor_without_an_owner_lives_on() {
        let folder = folder();
        let tor = launch(folder.path()).ownership(Ownership::None).start().await.unwrap();
        let (process, connection, _events) = tor.into_parts();
        let id = process.id().unwrap();
        drop(process);
        connection.get_info("version").await.unwrap();
        assert!(!is_gone(id));
        connection.signal(Signal::Halt).await.unwrap();
        connection.closed().await;
    }

    #[tokio::test]
    async fn a_torrc_that_tor_refuses_is_told() {
        let folder = folder();
        let error = launch(folder.path()).option("Bogus", "1").start().await.unwrap_err();
        let LaunchError::Exited { log, .. } = &error else {
            panic!("{error}");
        };
        assert!(error.to_string().contains("Unknown option 'Bogus'"), "{error}");
        assert!(log.path().ends_with("output"));
    }

    #[tokio::test]
    async fn a_bootstrap_that_does_not_come_is_told() {
        let folder = folder();
        let mut tor = launch(folder.path()).start().await.unwrap();
        tor.wait_for_bootstrap(0, Duration::ZERO).await.unwrap();
        let error = tor.wait_for_bootstrap(100, Duration::ZERO).await.unwrap_err();
        assert!(
            matches!(&error, LaunchError::TimedOut { state, .. } if state.contains("PROGRESS=0")),
            "{error}"
        );
    }
}
