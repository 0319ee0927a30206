//! The task that owns one service's machine.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use onionweave_control::{
    Connection, Error as ControlError, Event as ControlEvent, FetchOutcome, HsDescReason, HsFetch,
};
use onionweave_publish::{Action, Event, Found, InstanceName, Machine, Moment, Settings, Ticket, UploadAnswer};
use onionweave_ring::relays::{Lifetime, RelayList};
use onionweave_ring::v2::ServiceId;
use onionweave_ring::{DescriptorId, Directories, Fingerprint, OnionAddress, UnixTime};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{sleep, timeout};

use crate::ServiceReport;
use crate::carrier::{Addresses, Carriers, Outgoing, reason};
use crate::link::{Link, LinkInput, LinkName, LinkSettings};
use crate::sides::{SideSettings, Sides};
use crate::watch::Folders;

/// The wall clock may be set while the task sleeps, so it never sleeps for long.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// A relay whose descriptor Tor lacks is skipped without a word (`rendservice.c:3715-3723`): an upload that Tor accepted and does
/// not announce by then is not on its way.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(2);
/// Time, five seconds, in which the first Tor may connect before anybody is told that there is none.
const FIRST_TOR_WITHIN: Duration = Duration::from_secs(5);
/// How long a stop waits for uploads that are on their way.
const STOP_WITHIN: Duration = Duration::from_secs(2);
/// So many messages of links and commands may wait.
const INBOX: usize = 1024;

/// What a service's task is built from, and rebuilt from when the configuration is read again.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) links: BTreeMap<LinkName, LinkSettings>,
    pub(super) sides: SideSettings,
    pub(super) restarts: BTreeMap<InstanceName, Vec<String>>,
    pub(super) settings: Settings,
    /// The address of the service, which with stealth authorization is nobody's descriptor's.
    pub(super) service: ServiceId,
}

/// What a service's task is told to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Take on another configuration.
    Reload(Box<Setup>),
    /// End, and say so.
    Stop(oneshot::Sender<()>),
}

/// What comes back from a command that the task sent on its way.
#[derive(Debug)]
enum Done {
    /// Tor refused the post.
    UploadFailed(Ticket, String),
    /// Time to look whether Tor announced the post.
    UploadDue(Ticket),
    /// A directory was asked what it holds.
    Told(Event),
    /// A consensus was read.
    Directories(Directories),
}

/// Question to a directory: the descriptor that it holds under an ID.
struct Question {
    directory: Fingerprint,
    id: DescriptorId,
    attempt: u32,
    tell: Box<dyn FnOnce(Found) -> Event + Send>,
    asked: Instant,
}

/// Both ends: the task keeps a sender to hand out.
type Channel<T> = (mpsc::Sender<T>, mpsc::Receiver<T>);

pub(super) struct ServiceTask {
    service: ServiceId,
    machine: Machine,
    setup: Setup,
    started: Instant,
    carriers: Carriers,
    /// Uploads that wait for another one to the same directory.
    waiting: Vec<Outgoing>,
    /// Questions that wait for the first Tor.
    unasked: Vec<Question>,
    links: BTreeMap<LinkName, AbortHandle>,
    sides: Sides,
    /// Links and commands under way; dropped, and so ended, with the task.
    tasks: JoinSet<()>,
    orders: mpsc::Receiver<Order>,
    reports: mpsc::Sender<ServiceReport>,
    link_inputs: Channel<(LinkName, LinkInput)>,
    done: Channel<Done>,
    /// The newest consensus that was read.
    consensus: Option<UnixTime>,
}

impl ServiceTask {
    pub(super) fn new(
        machine: Machine,
        service: ServiceId,
        setup: Setup,
        folders: Folders,
        orders: mpsc::Receiver<Order>,
        reports: mpsc::Sender<ServiceReport>,
    ) -> Self {
        Self {
            service,
            setup,
            started: Instant::now(),
            carriers: Carriers::default(),
            waiting: Vec::new(),
            unasked: Vec::new(),
            links: BTreeMap::new(),
            sides: Sides::new(service, folders),
            machine,
            tasks: JoinSet::new(),
            orders,
            reports,
            link_inputs: mpsc::channel(INBOX),
            done: mpsc::channel(INBOX),
            consensus: None,
        }
    }

    pub(super) async fn run(mut self) {
        for (name, settings) in self.setup.links.clone() {
            self.link(name, settings);
        }
        self.sides.start_all(&self.setup.sides);
        loop {
            self.act();
            let now = self.now();
            let sleep_for = self
                .machine
                .next_deadline(now)
                .map_or(LONGEST_SLEEP, |at| at.saturating_sub(now.uptime()))
                .min(LONGEST_SLEEP);
            tokio::select! {
                Some((name, input)) = self.link_inputs.1.recv() => self.link_input(name, input),
                Some(done) = self.done.1.recv() => self.command_done(done),
                event = self.sides.next() => self.handle(event),
                Some(ended) = self.tasks.join_next() => spread_panic(ended),
                order = self.orders.recv() => match order {
                    Some(Order::Reload(setup)) => self.reload(*setup),
                    Some(Order::Stop(done)) => {
                        self.drain().await;
                        let _ = done.send(());
                        return;
                    }
                    None => return,
                },
                () = sleep(sleep_for) => {}
            }
        }
    }

    fn now(&self) -> Moment {
        Moment::new(UnixTime::from(SystemTime::now()), self.started.elapsed())
    }

    fn addresses(&self) -> Addresses {
        Addresses {
            descriptor: self.service,
            service: self.setup.service,
        }
    }

    fn handle(&mut self, event: Event) {
        let now = self.now();
        tracing::trace!(service = %self.service, ?event, "told");
        self.sides.observe(&event);
        self.machine.handle(event, now);
        self.sides.learn(|instance| self.machine.points(instance));
    }

    // What comes in.

    fn link_input(&mut self, name: LinkName, input: LinkInput) {
        // A link that a reload ended may have left words behind.
        if !self.links.contains_key(&name) {
            return;
        }
        match input {
            LinkInput::Up(connection) => {
                self.carriers.up(name.clone(), connection.clone());
                if let LinkName::Instance(instance) = name {
                    self.handle(Event::InstanceUp { instance });
                }
                self.read_directories(connection);
            }
            LinkInput::Down(why) => {
                // First the verdict, so that what was interrupted is not given to the dead again.
                let interrupted = self.carriers.down(&name);
                match name {
                    LinkName::Instance(instance) => self.handle(Event::InstanceDown { instance, why }),
                    LinkName::Own => tracing::warn!(service = %self.service, "the publisher's own Tor is down ({why})"),
                }
                for event in interrupted {
                    self.handle(event);
                }
            }
            LinkInput::Offers { text, rebuilt } => {
                self.carriers.set_able(&name, true);
                if let LinkName::Instance(instance) = name {
                    self.handle(Event::InstanceOffers {
                        instance,
                        text,
                        rebuilt,
                    });
                }
            }
            LinkInput::OffersNothing => {
                self.carriers.set_able(&name, false);
                if let LinkName::Instance(instance) = name {
                    self.handle(Event::InstanceOffersNothing { instance });
                }
            }
            LinkInput::Circuits(built) => self.carriers.set_able(&name, built),
            LinkInput::Consensus => {
                let connection = self.carriers.standing().find(|(link, _)| **link == name);
                if let Some(connection) = connection.map(|(_, connection)| connection.clone()) {
                    self.read_directories(connection);
                }
            }
            LinkInput::Event(event) => {
                let event = match event {
                    ControlEvent::HsDesc(event) => self.carriers.hs_desc(&name, &self.addresses(), &event),
                    ControlEvent::Lagged(lost) => {
                        tracing::warn!(service = %self.service, link = %name, "{lost} events were lost");
                        None
                    }
                    _ => None,
                };
                if let Some(event) = event {
                    self.handle(event);
                }
            }
        }
    }

    fn command_done(&mut self, done: Done) {
        let event = match done {
            Done::UploadFailed(ticket, why) => self.carriers.fail_upload(ticket, why, false),
            Done::UploadDue(ticket) => {
                let why = "Tor does not know the directory's descriptor".into();
                self.carriers.fail_upload(ticket, why, true)
            }
            Done::Told(event) => Some(event),
            Done::Directories(directories) => {
                let valid_after = directories.lifetime().map(|lifetime| lifetime.valid_after());
                // Tors hear of a consensus at different times; an older one tells nothing.
                if valid_after < self.consensus {
                    return;
                }
                self.consensus = valid_after;
                Some(Event::Directories(Arc::new(directories)))
            }
        };
        if let Some(event) = event {
            self.handle(event);
        }
    }

    fn reload(&mut self, setup: Setup) {
        let old = std::mem::replace(&mut self.setup, setup);
        let names: BTreeSet<_> = self
            .setup
            .settings
            .instances()
            .iter()
            .map(|instance| instance.name.clone())
            .collect();
        // Of those that don't, nobody needs to hear more.
        let stays = |instance: &InstanceName| names.contains(instance);
        for (name, settings) in &old.links {
            if self.setup.links.get(name) != Some(settings) {
                if let Some(link) = self.links.remove(name) {
                    link.abort();
                }
                for event in self.carriers.down(name) {
                    self.handle(event);
                }
                if let LinkName::Instance(instance) = name
                    && stays(instance)
                {
                    self.handle(Event::InstanceDown {
                        instance: instance.clone(),
                        why: onionweave_publish::Down::Lost("its control port is configured anew".into()),
                    });
                }
            }
        }
        for event in self.sides.end_all_but(&self.setup.sides, stays) {
            self.handle(event);
        }
        self.handle(Event::Configured(self.setup.settings.clone()));
        self.sides.start_all(&self.setup.sides);
        for (name, settings) in self.setup.links.clone() {
            if !self.links.contains_key(&name) {
                self.link(name, settings);
            }
        }
    }

    // What goes out.

    fn act(&mut self) {
        self.send_waiting();
        loop {
            let now = self.now();
            let Some(action) = self.machine.poll(now) else {
                return;
            };
            tracing::trace!(service = %self.service, ?action, "asked");
            match action {
                Action::Upload {
                    ticket,
                    slot,
                    descriptor_id,
                    text,
                    attempt,
                    ..
                } => self.upload(Outgoing {
                    ticket,
                    slot,
                    descriptor_id,
                    text,
                    attempt,
                    asked: Instant::now(),
                }),
                Action::Audit {
                    ticket,
                    slot,
                    descriptor_id,
                    attempt,
                    ..
                } => self.fetch(Question {
                    directory: slot.directory,
                    id: descriptor_id,
                    attempt,
                    tell: Box::new(move |found| Event::Audited { ticket, found }),
                    asked: Instant::now(),
                }),
                Action::Read {
                    ticket,
                    directory,
                    descriptor_id,
                    attempt,
                    ..
                } => self.fetch(Question {
                    directory,
                    id: descriptor_id,
                    attempt,
                    tell: Box::new(move |found| Event::Read { ticket, found }),
                    asked: Instant::now(),
                }),
                Action::Restart { instance, .. } => self.restart(&instance),
                Action::Report(report) => {
                    let report = ServiceReport {
                        service: self.service,
                        report,
                    };
                    // Publishing does not wait for those who read about it.
                    if let Err(TrySendError::Full(lost)) = self.reports.try_send(report) {
                        tracing::warn!(service = %self.service, "nobody reads the reports; lost: {}", lost.report);
                    }
                }
            }
        }
    }

    fn link(&mut self, name: LinkName, settings: LinkSettings) {
        let mut instances = self.setup.settings.instances().iter();
        let instance = match &name {
            LinkName::Instance(name) => instances.find(|instance| instance.name == *name),
            LinkName::Own => None,
        };
        let link = Link {
            service: instance
                .and_then(|instance| instance.address)
                .and_then(OnionAddress::v2)
                .unwrap_or(self.service),
            name: name.clone(),
            settings,
            to: self.link_inputs.0.clone(),
        };
        let handle = self.tasks.spawn(link.run());
        self.links.insert(name, handle);
    }

    /// Whether no Tor could carry anything yet, and one may still come.
    fn is_starting(&self) -> bool {
        !self.carriers.was_able() && self.started.elapsed() < FIRST_TOR_WITHIN
    }

    /// Sends what waited for an upload that was answered meanwhile.
    fn send_waiting(&mut self) {
        let answer_within = self.setup.settings.answer_within;
        for upload in std::mem::take(&mut self.waiting) {
            // The machine gave up what waited longer.
            if upload.asked.elapsed() < answer_within {
                self.upload(upload);
            }
        }
        for question in std::mem::take(&mut self.unasked) {
            if question.asked.elapsed() < answer_within {
                self.fetch(question);
            }
        }
    }

    /// Sends an upload on its way, or lets it wait for another one to the same directory.
    fn upload(&mut self, upload: Outgoing) {
        let Outgoing { ticket, slot, .. } = upload;
        let Some((name, connection)) = self.carriers.choose_for(slot.directory, upload.attempt) else {
            if self.carriers.is_busy(slot.directory) || self.is_starting() {
                // Whatever waited for this slot was given up meanwhile.
                self.waiting.retain(|other| other.slot != slot);
                self.waiting.push(upload);
                return;
            }
            let answer = UploadAnswer::Refused("no Tor is there to carry it".into());
            return self.handle(Event::UploadAnswered { ticket, answer });
        };
        self.carriers
            .begin_upload(name, &upload, self.setup.settings.answer_within);
        let done = self.done.0.clone();
        self.tasks.spawn(async move {
            let directories = [*slot.directory.as_bytes()];
            let told = match connection.hs_post(&directories, None, &upload.text).await {
                Ok(()) => {
                    sleep(ANNOUNCED_WITHIN).await;
                    Done::UploadDue(ticket)
                }
                // The link notices as well, and interrupts all that it carried.
                Err(error) if is_link_failure(&error) => return,
                Err(error) => Done::UploadFailed(ticket, error.to_string()),
            };
            let _ = done.send(told).await;
        });
    }

    /// Asks a directory what it holds, and tells the machine.
    fn fetch(&mut self, question: Question) {
        let Some((_, connection)) = self.carriers.choose(question.attempt) else {
            // The first Tor connects within moments.
            if self.is_starting() {
                self.unasked.push(question);
                return;
            }
            return self.handle((question.tell)(Found::Failed("no Tor is there to ask".into())));
        };
        let Question {
            directory, id, tell, ..
        } = question;
        let within = self.setup.settings.answer_within;
        let done = self.done.0.clone();
        self.tasks.spawn(async move {
            let found = fetch(&connection, directory, id, within).await;
            let _ = done.send(Done::Told(tell(found))).await;
        });
    }

    fn restart(&mut self, instance: &InstanceName) {
        let Some((program, arguments)) = self
            .setup
            .restarts
            .get(instance)
            .and_then(|command| command.split_first())
        else {
            return;
        };
        let (service, instance) = (self.service, instance.clone());
        // Not killed with the publisher: the instance may be this very process, or its child.
        let child = tokio::process::Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match child {
            Ok(mut child) => {
                tracing::info!(%service, %instance, "restarting it with {program:?}");
                tokio::spawn(async move {
                    match child.wait().await {
                        Ok(status) if status.success() => {}
                        Ok(status) => tracing::warn!(%service, %instance, "the restart command ended with {status}"),
                        Err(error) => tracing::warn!(%service, %instance, "the restart command was lost: {error}"),
                    }
                });
            }
            Err(error) => tracing::error!(%service, %instance, "cannot run the restart command {program:?}: {error}"),
        }
    }

    /// Reads the directories from a Tor, if its consensus is newer than the newest that was read.
    fn read_directories(&mut self, connection: Connection) {
        let known = self.consensus;
        let (service, done) = (self.service, self.done.0.clone());
        self.tasks.spawn(async move {
            match read_directories(&connection, known).await {
                Ok(Some(directories)) => {
                    let _ = done.send(directories).await;
                }
                Ok(None) => {}
                Err(why) => tracing::warn!(%service, "cannot read the consensus: {why}"),
            }
        });
    }

    /// Lets what is on its way arrive.
    async fn drain(&mut self) {
        let all_out = async {
            while !(self.carriers.is_idle() && self.waiting.is_empty()) {
                tokio::select! {
                    Some((name, input)) = self.link_inputs.1.recv() => self.link_input(name, input),
                    Some(done) = self.done.1.recv() => self.command_done(done),
                    else => return,
                }
                self.send_waiting();
            }
        };
        // Whatever takes longer will be seen by the next publisher's first look at the ring.
        let _ = timeout(STOP_WITHIN, all_out).await;
    }
}

/// Lets a task's panic end this one too: whatever it did is not done any more.
pub(super) fn spread_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

/// What a directory holds under a descriptor ID.
async fn fetch(connection: &Connection, directory: Fingerprint, id: DescriptorId, within: Duration) -> Found {
    let asked = match HsFetch::v2_descriptor(&id.to_string()) {
        Ok(fetch) => connection.fetch(&fetch.server(*directory.as_bytes()), within).await,
        Err(error) => Err(error),
    };
    let outcome = match asked {
        Ok(mut answers) => answers.next().await.map(|(_, outcome)| outcome),
        Err(error) if is_link_failure(&error) => return Found::Interrupted,
        Err(error) => return Found::Failed(error.to_string()),
    };
    match outcome {
        Some(FetchOutcome::Received(text)) => Found::Text(text),
        Some(FetchOutcome::Failed(Some(HsDescReason::NotFound))) => Found::Nothing,
        Some(FetchOutcome::Failed(Some(HsDescReason::BadDesc))) => Found::Unusable("Tor calls it BAD_DESC".into()),
        Some(FetchOutcome::Failed(why)) => Found::Failed(reason(why.as_ref())),
        _ if connection.is_closed() => Found::Interrupted,
        _ => Found::Failed("no answer in time".into()),
    }
}

/// Whether the connection itself failed, not the command.
fn is_link_failure(error: &ControlError) -> bool {
    !matches!(error, ControlError::Rejected { .. } | ControlError::Argument { .. })
}

async fn read_directories(connection: &Connection, known: Option<UnixTime>) -> Result<Option<Done>, String> {
    let text = |error: ControlError| error.to_string();
    let valid_after = connection.get_info("consensus/valid-after").await.map_err(text)?;
    if valid_after.is_empty() {
        return Err("Tor has none yet".into());
    }
    let time = |text: &str| UnixTime::from_iso(text).map_err(|error| error.to_string());
    if Some(time(&valid_after)?) <= known {
        return Ok(None);
    }
    // All in one command, so that they are of one consensus.
    let keys = [
        "consensus/valid-after",
        "consensus/fresh-until",
        "consensus/valid-until",
        "ns/all",
    ];
    let answers = connection.get_infos(&keys).await.map_err(text)?;
    let [valid_after, fresh_until, valid_until, relays] =
        keys.map(|key| answers.get(key).map(String::as_str).unwrap_or_default());
    let lifetime = Lifetime::new(time(valid_after)?, time(fresh_until)?, time(valid_until)?);
    let relays = RelayList::from_ns_all(relays).map_err(|error| error.to_string())?;
    Ok(Some(Done::Directories(Directories::new(
        relays.hash_ring(),
        Some(lifetime),
    ))))
}
