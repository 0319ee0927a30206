//! A child of the pool: its process, and its orders.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use onionweave_control::launch::{Launch, LaunchError, LogExcerpt, TorProcess};
use onionweave_control::{
    Connection, Credentials, Endpoint, Error as ControlError, Events, Options, Signal as TorSignal,
};
use onionweave_publish::pool::Place;
use rustix::process::Signal;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::blueprint::Blueprint;
use super::hosted::{HostedServices, host, offers_all};
use super::record::{Process, Record};
use crate::told::Told;

mod patience;

use patience::{HUNG_AFTER, Patience, Verdict};

/// Pause, in seconds, between two questions to a child that is ready.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Longest time, in seconds, that a Tor which an earlier publisher left may take to answer.
const FOUND_WITHIN: Duration = Duration::from_secs(3);
/// Pause, in milliseconds, before something that is waited for is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Pause, in milliseconds, between two questions whether a child's introduction points stand.
const READY_CHECK: Duration = Duration::from_millis(500);
/// Time, in seconds, after which a child without introduction points is reported. It goes on
/// trying: without a network no other would do better.
const SLOW_AFTER: Duration = Duration::from_secs(120);

/// News of a child.
#[derive(Debug)]
pub(super) enum News {
    /// A process of this number runs.
    Runs(u32),
    /// A process that an earlier publisher left was taken over.
    Adopted { current: bool },
    /// No process was left.
    Vacant,
    /// The child answers and hosts the services.
    Up,
    /// The child offers introduction points for all services.
    Ready,
    /// The child does not answer.
    Hung,
    /// The process ended or could not be started, with the reason and the last lines of its log.
    Gone(String),
}

/// Way to end a child.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// The process is told to end.
    Stop,
    /// The process is not asked.
    Kill,
}

/// A child. Dropping it while it runs ends its process, unless that is to be kept.
pub(super) struct Child {
    pub(super) place: Place,
    pub(super) blueprint: Arc<Blueprint>,
    pub(super) services: watch::Receiver<Arc<HostedServices>>,
    pub(super) news: mpsc::Sender<(Place, News)>,
}

/// The process of a child.
enum Running {
    /// A process that this publisher started. It has no number if it ended at once.
    Started(Box<TorProcess>, Option<Process>),
    /// A process that an earlier publisher left.
    Adopted(Process),
}

impl Running {
    fn process(&self) -> Option<Process> {
        match self {
            Self::Started(_, process) => *process,
            Self::Adopted(process) => Some(*process),
        }
    }

    /// Waits until the process ends, and returns how it did.
    async fn gone(&mut self) -> String {
        match self {
            Self::Started(tor, _) => match tor.wait().await {
                Ok(status) => format!("ended with {status}"),
                Err(error) => format!("was lost: {error}"),
            },
            Self::Adopted(process) => {
                while process.is_alive() {
                    sleep(LOOK_AGAIN).await;
                }
                "ended".into()
            }
        }
    }

    /// Ends the process, and returns the reason if that cannot be done.
    fn end(&mut self, end: End) -> Result<(), String> {
        match (self, end) {
            (Self::Started(tor, _), End::Stop) => tor.terminate().map_err(|error| error.to_string()),
            (Self::Started(tor, _), End::Kill) => tor.kill().map_err(|error| error.to_string()),
            (Self::Adopted(process), end) => {
                let signal = match end {
                    End::Stop => Signal::TERM,
                    End::Kill => Signal::KILL,
                };
                process.signal(signal).map_err(|error| error.to_string())
            }
        }
    }
}

impl Child {
    fn launch(&self) -> Launch {
        self.blueprint.launch(self.place.number())
    }

    /// Looks for a process that an earlier publisher left here, and looks after it until it ends.
    pub(super) async fn adopt(self, ends: mpsc::Receiver<End>) {
        match self.find().await {
            Some((process, current)) => {
                self.tell(News::Runs(process.pid())).await;
                self.tell(News::Adopted { current }).await;
                self.look_after(Running::Adopted(process), ends).await;
            }
            None => self.tell(News::Vacant).await,
        }
    }

    /// Starts a process and looks after it until it ends.
    pub(super) async fn start(self, ends: mpsc::Receiver<End>) {
        match self.spawn() {
            Ok(running) => {
                if let Some(process) = running.process() {
                    self.tell(News::Runs(process.pid())).await;
                }
                self.look_after(running, ends).await;
            }
            Err(error) => self.tell(News::Gone(format!("cannot be started: {error}"))).await,
        }
    }

    // The process.

    fn spawn(&self) -> Result<Running, LaunchError> {
        let tor = self.launch().spawn()?;
        let process = tor.id().and_then(|pid| Process::running(pid.cast_signed()));
        if let Some(process) = process {
            self.write_record(process, &HostedServices::new());
        }
        Ok(Running::Started(Box::new(tor), process))
    }

    /// Finds a process that an earlier publisher left here. Returns it, and whether it was started
    /// with what is configured now.
    ///
    /// It is one of ours if it answers on the socket in our folder, runs our configuration and is
    /// the process that was written down. One that is ours and cannot be used is ended: it would
    /// keep the folder from the next.
    async fn find(&self) -> Option<(Process, bool)> {
        let launch = self.launch();
        let folder = launch.folder();
        let torrc = folder.join("torrc");
        let recorded = Record::read(folder);
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
        let (connection, _events) = match self.connect(FOUND_WITHIN, FOUND_WITHIN).await {
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
        let same_torrc = match (fs::read(&torrc), launch.torrc()) {
            (Ok(found), Ok(now)) => found == now.as_bytes(),
            _ => false,
        };
        let services = self.services.borrow().clone();
        let like = record.hosts_like(services.iter().map(|(id, hosted)| (*id, hosted.fingerprint())));
        Some((record.process, same_torrc && like))
    }

    async fn look_after(&self, mut running: Running, mut ends: mpsc::Receiver<End>) {
        let process = running.process();
        let adopted = matches!(running, Running::Adopted(_));
        let why = loop {
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
                () = self.converse(process, adopted) => {}
            }
        };
        let log = LogExcerpt::read(self.launch().folder());
        let why = if log.lines().is_empty() {
            why
        } else {
            format!("{why}; {log}")
        };
        self.tell(News::Gone(why)).await;
    }

    // The conversation.

    /// Has the child host the services, and asks it again and again how it is. Begins anew
    /// whenever it is called, and never returns.
    async fn converse(&self, process: Option<Process>, adopted: bool) {
        let mut services = self.services.clone();
        let mut told = Told::default();
        let mut patience = Patience::new(adopted);
        loop {
            let talked = async {
                let (connection, _events) = self.connect(patience.connect_within(), HUNG_AFTER).await?;
                self.talk(&connection, &mut services, process, &mut patience, &mut told)
                    .await
            };
            if let Err(error) = talked.await {
                match patience.judge(&error) {
                    Verdict::Hung => self.tell(News::Hung).await,
                    Verdict::Refused => {
                        let why = error.to_string();
                        if told.is_news(&why) {
                            tracing::error!("{}: does not do what the pool needs: {why}", self.place);
                        }
                        sleep(SLOW_AFTER).await;
                    }
                    Verdict::Anew => tracing::debug!("{}: {error}", self.place),
                }
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn talk(
        &self,
        connection: &Connection,
        services: &mut watch::Receiver<Arc<HostedServices>>,
        process: Option<Process>,
        patience: &mut Patience,
        told: &mut Told,
    ) -> Result<(), ControlError> {
        loop {
            let wanted = services.borrow_and_update().clone();
            host(connection, &wanted).await?;
            patience.answered();
            if let Some(process) = process {
                self.write_record(process, &wanted);
            }
            self.tell(News::Up).await;
            tokio::select! {
                result = self.watch(connection, &wanted, told) => return result,
                changed = services.changed() => if changed.is_err() {
                    return Ok(());
                },
            }
        }
    }

    /// Waits for the child's introduction points, and then asks it a question now and then.
    async fn watch(
        &self,
        connection: &Connection,
        services: &HostedServices,
        told: &mut Told,
    ) -> Result<(), ControlError> {
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
        told.forget();
        self.tell(News::Ready).await;
        loop {
            sleep(HEARTBEAT).await;
            connection.get_info("process/pid").await?;
        }
    }

    async fn connect(&self, within: Duration, answers_within: Duration) -> Result<(Connection, Events), ControlError> {
        let launch = self.launch();
        let folder = launch.folder();
        let endpoint = Endpoint::Unix(folder.join("control"));
        let credentials = Credentials::cookie_file(folder.join("cookie"));
        let options = Options::default()
            .connect_deadline(within)
            .command_deadline(answers_within);
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
        if let Err(error) = record.write(self.launch().folder()) {
            tracing::warn!("{}: a later publisher would not know it again: {error}", self.place);
        }
    }

    async fn tell(&self, news: News) {
        // The pool goes before its children only if it is dropped, and then nobody wants to know.
        let _ = self.news.send((self.place, news)).await;
    }
}
