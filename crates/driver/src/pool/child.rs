//! One child of the pool: its process and what it is told.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use onionweave_control::{
    Connection, Credentials, Endpoint, Error as ControlError, Events, Options, Signal as TorSignal,
};
use onionweave_publish::pool::Place;
use rustix::process::Signal;
use tokio::process::{Child as TokioChild, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::blueprint::Blueprint;
use super::hosted::{HostedServices, host, offers_all};
use super::record::{Process, Record};
use crate::state::create_private;

/// A Tor that leaves a question without an answer for so long is not coming back. The services' own heartbeats notice it far earlier, and
/// give its slots to others; this is only about its process.
const HUNG_AFTER: Duration = Duration::from_secs(30);
/// How often it is asked.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long a Tor that an earlier publisher left may take to answer.
const FOUND_WITHIN: Duration = Duration::from_secs(3);
/// How often something is looked at again that is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How often a child is asked whether its introduction points stand.
const READY_CHECK: Duration = Duration::from_millis(500);
/// A child that has no introduction points by then is reported. It goes on trying: without a network no other would do better.
const SLOW_AFTER: Duration = Duration::from_secs(120);

/// What Tor and the shell that starts it say.
const LOG: &str = "log";
/// The same of the process before.
const OLD_LOG: &str = "log.old";
/// How much of a log's end is looked at.
const EXCERPT_BYTES: u64 = 16 * 1024;
/// How many of its lines are shown.
const EXCERPT_LINES: usize = 5;

/// Limits what the process may open and becomes Tor, under the same process number. Arguments: limit, tor, torrc.
const LAUNCH: &str = r#"ulimit -n "$1" && exec "$2" -f "$3""#;

/// What a child has to tell.
#[derive(Debug)]
pub(super) enum News {
    /// A process runs.
    Runs(u32),
    /// One that an earlier publisher left was taken over.
    Adopted { current: bool },
    /// None was left.
    Vacant,
    /// It answers and hosts what it shall.
    Up,
    /// It offers introduction points for all of that.
    Ready,
    /// It does not answer.
    Hung,
    /// It ended or could not be started, with the reason and the last lines of its log.
    Gone(String),
}

/// How a child is made to end.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// It is told to.
    Stop,
    /// It is not asked.
    Kill,
}

/// One child. Dropping it while it runs ends its process, unless that is to be kept.
pub(super) struct Child {
    pub(super) place: Place,
    pub(super) blueprint: Arc<Blueprint>,
    pub(super) services: watch::Receiver<Arc<HostedServices>>,
    pub(super) news: mpsc::Sender<(Place, News)>,
}

/// The process of a child.
struct Running {
    process: Option<Process>,
    /// `None` if an earlier publisher started it.
    child: Option<TokioChild>,
    /// Tor exits when this closes.
    _lifeline: Option<UnixStream>,
}

impl Running {
    fn adopted(process: Process) -> Self {
        Self {
            process: Some(process),
            child: None,
            _lifeline: None,
        }
    }

    /// Waits until the process ends, and returns how it did.
    async fn gone(&mut self) -> String {
        if let Some(child) = &mut self.child {
            return match child.wait().await {
                Ok(status) => format!("ended with {status}"),
                Err(error) => format!("was lost: {error}"),
            };
        }
        while self.process.is_some_and(Process::is_alive) {
            sleep(LOOK_AGAIN).await;
        }
        "ended".into()
    }

    fn end(&mut self, end: End) -> io::Result<()> {
        match (end, &mut self.child) {
            // Until it was waited for, its number is nobody else's.
            (End::Kill, Some(child)) => child.start_kill(),
            (End::Kill, None) => self.signal(Signal::KILL),
            (End::Stop, _) => self.signal(Signal::TERM),
        }
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        self.process.map_or(Ok(()), |process| process.signal(signal))
    }
}

impl Child {
    fn folder(&self) -> PathBuf {
        self.blueprint.folder(self.place.number())
    }

    /// Looks whether an earlier publisher left a process here, and if so looks after it until it ends.
    pub(super) async fn adopt(self, ends: mpsc::Receiver<End>) {
        match self.find().await {
            Some((process, current)) => {
                self.tell(News::Runs(process.pid())).await;
                self.tell(News::Adopted { current }).await;
                self.look_after(Running::adopted(process), ends).await;
            }
            None => self.tell(News::Vacant).await,
        }
    }

    /// Starts a process and looks after it until it ends.
    pub(super) async fn start(self, ends: mpsc::Receiver<End>) {
        let folder = self.folder();
        match self.spawn(&folder) {
            Ok(running) => {
                if let Some(process) = running.process {
                    self.tell(News::Runs(process.pid())).await;
                }
                self.look_after(running, ends).await;
            }
            Err((what, error)) => {
                let why = format!("cannot be started: {what}: {error}");
                self.tell(News::Gone(why)).await;
            }
        }
    }

    // The process.

    fn spawn(&self, folder: &Path) -> Result<Running, (String, io::Error)> {
        let at = |path: &Path| {
            let path = path.display().to_string();
            |error: io::Error| (path, error)
        };
        create_private(folder).map_err(at(folder))?;
        let torrc = folder.join("torrc");
        write_private(&torrc, &self.blueprint.torrc(self.place.number())).map_err(at(&torrc))?;
        // What a former process left would be mistaken for the new one's.
        for left in ["control", "cookie"] {
            let _ = fs::remove_file(folder.join(left));
        }
        let log = folder.join(LOG);
        let _ = fs::rename(&log, folder.join(OLD_LOG));
        let output = open_private(&log).map_err(at(&log))?;
        let (stdin, lifeline) = if self.blueprint.keep {
            (Stdio::null(), None)
        } else {
            let (lifeline, theirs) = UnixStream::pair().map_err(at(folder))?;
            (Stdio::from(OwnedFd::from(theirs)), Some(lifeline))
        };
        let child = Command::new("/bin/sh")
            .args(["-c", LAUNCH, "sh"])
            .arg(self.blueprint.open_files().to_string())
            .arg(self.blueprint.tor())
            .arg(&torrc)
            .current_dir("/")
            // An interrupt typed at the terminal is for the publisher.
            .process_group(0)
            .stdin(stdin)
            .stdout(output.try_clone().map_err(at(&log))?)
            .stderr(output)
            .kill_on_drop(!self.blueprint.keep)
            .spawn()
            .map_err(at(Path::new("/bin/sh")))?;
        let process = child.id().and_then(|pid| Process::running(pid.cast_signed()));
        if let Some(process) = process {
            self.write_record(process, &HostedServices::new());
        }
        Ok(Running {
            process,
            child: Some(child),
            _lifeline: lifeline,
        })
    }

    /// A process that an earlier publisher left here, and whether it was started with what is configured now.
    ///
    /// It is one of ours if it answers on the socket in our folder, runs our configuration and is the process that was written down. One that
    /// is ours and cannot be used is ended: it would keep the folder from the next.
    async fn find(&self) -> Option<(Process, bool)> {
        let folder = self.folder();
        let torrc = folder.join("torrc");
        let recorded = Record::read(&folder);
        let process = recorded.as_ref().map(|record| record.process);
        let end = |process: Process| {
            if process.runs(&torrc) {
                tracing::warn!(
                    "{}: ending process {}, which does not answer",
                    self.place,
                    process.pid()
                );
                let _ = process.signal(Signal::KILL);
            }
        };
        let (connection, _events) = match self.connect(FOUND_WITHIN).await {
            Ok(connected) => connected,
            Err(_) => {
                process.into_iter().for_each(end);
                return None;
            }
        };
        let keys = ["config-file", "process/pid"];
        let Ok(answers) = connection.get_infos(&keys).await else {
            process.into_iter().for_each(end);
            return None;
        };
        let [config, pid] = keys.map(|key| answers.get(key).map(String::as_str).unwrap_or_default());
        if Path::new(config) != torrc {
            tracing::warn!(
                "{}: {} belongs to a Tor that is not the pool's (its configuration is {config}); it is left alone",
                self.place,
                folder.join("control").display()
            );
            return None;
        }
        let answering = pid.parse().ok().and_then(Process::running);
        let Some(record) = recorded.filter(|record| answering == Some(record.process)) else {
            tracing::warn!("{}: ending process {pid}, of which nothing is written down", self.place);
            let _ = connection.signal(TorSignal::Halt).await;
            connection.closed().await;
            return None;
        };
        let same_torrc = fs::read_to_string(&torrc).is_ok_and(|text| text == self.blueprint.torrc(self.place.number()));
        let services = self.services.borrow().clone();
        let like = record.hosts_like(services.iter().map(|(id, hosted)| (*id, hosted.fingerprint())));
        Some((record.process, same_torrc && like))
    }

    async fn look_after(&self, mut running: Running, mut ends: mpsc::Receiver<End>) {
        let process = running.process;
        let ended = loop {
            tokio::select! {
                biased;
                why = running.gone() => break why,
                end = ends.recv() => {
                    // Nobody is left who could ask for it.
                    let Some(end) = end else { return };
                    if let Err(error) = running.end(end) {
                        tracing::warn!("{}: cannot be ended: {error}", self.place);
                    }
                }
                () = self.converse(process) => {}
            }
        };
        let log = self.folder().join(LOG);
        let mut why = ended;
        let lines = last_lines(&read_end(&log));
        if !lines.is_empty() {
            why += &format!("; the last lines of {}:", log.display());
            for line in lines {
                why += "\n  ";
                why += &line;
            }
        }
        self.tell(News::Gone(why)).await;
    }

    // The conversation.

    /// Lets the child host what it shall and asks it how it is, again and again. Begins anew whenever it is called, and never returns.
    async fn converse(&self, process: Option<Process>) {
        let mut services = self.services.clone();
        loop {
            match self.connect(HUNG_AFTER).await {
                Ok((connection, _events)) => {
                    if let Err(error) = self.talk(&connection, &mut services, process).await {
                        tracing::debug!("{}: {error}", self.place);
                        if matches!(error, ControlError::Deadline { .. }) {
                            self.tell(News::Hung).await;
                        } else if matches!(error, ControlError::Rejected { .. } | ControlError::Argument { .. }) {
                            tracing::error!("{}: cannot host the services: {error}", self.place);
                            sleep(SLOW_AFTER).await;
                        }
                    }
                }
                // It listens, or did when it was stopped.
                Err(ControlError::ConnectDeadline { .. }) => self.tell(News::Hung).await,
                // It does not listen yet. How long that may take is for the machine to say.
                Err(error) => tracing::trace!("{}: {error}", self.place),
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn talk(
        &self,
        connection: &Connection,
        services: &mut watch::Receiver<Arc<HostedServices>>,
        process: Option<Process>,
    ) -> Result<(), ControlError> {
        loop {
            let wanted = services.borrow_and_update().clone();
            host(connection, &wanted).await?;
            if let Some(process) = process {
                self.write_record(process, &wanted);
            }
            self.tell(News::Up).await;
            tokio::select! {
                result = self.watch(connection, &wanted) => return result,
                changed = services.changed() => if changed.is_err() {
                    return Ok(());
                },
            }
        }
    }

    /// Waits for its introduction points, and then asks it a question now and then.
    async fn watch(&self, connection: &Connection, services: &HostedServices) -> Result<(), ControlError> {
        let mut slow_at = Some(Instant::now() + SLOW_AFTER);
        while !offers_all(connection, services).await? {
            if slow_at.is_some_and(|at| at <= Instant::now()) {
                slow_at = None;
                let phase = connection.get_info("status/bootstrap-phase").await?;
                tracing::warn!(
                    "{}: has no introduction points after {} s; it says {phase}",
                    self.place,
                    SLOW_AFTER.as_secs()
                );
            }
            sleep(READY_CHECK).await;
        }
        self.tell(News::Ready).await;
        loop {
            sleep(HEARTBEAT).await;
            connection.get_info("process/pid").await?;
        }
    }

    async fn connect(&self, within: Duration) -> Result<(Connection, Events), ControlError> {
        let folder = self.folder();
        let endpoint = Endpoint::Unix(folder.join("control"));
        let credentials = Credentials::cookie_file(folder.join("cookie"));
        let options = Options::default().connect_deadline(within).command_deadline(within);
        Connection::connect(&endpoint, &credentials, &options).await
    }

    fn write_record(&self, process: Process, services: &HostedServices) {
        let services = services
            .iter()
            .map(|(id, hosted)| (id.to_string(), hosted.fingerprint()));
        let record = Record {
            process,
            services: services.collect(),
        };
        if let Err(error) = record.write(&self.folder()) {
            tracing::warn!("{}: a later publisher would not know it again: {error}", self.place);
        }
    }

    async fn tell(&self, news: News) {
        // The pool goes before its children only if it is dropped, and then nobody wants to know.
        let _ = self.news.send((self.place, news)).await;
    }
}

fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use io::Write as _;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}

/// The end of a file, or nothing if it cannot be read.
fn read_end(path: &Path) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(EXCERPT_BYTES)))?;
        let mut end = Vec::new();
        file.take(EXCERPT_BYTES).read_to_end(&mut end)?;
        Ok(end)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

fn last_lines(text: &str) -> Vec<String> {
    let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
    let skipped = lines.len().saturating_sub(EXCERPT_LINES);
    lines.into_iter().skip(skipped).map(str::to_owned).collect()
}
