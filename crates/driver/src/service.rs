//! The task that owns one service's machine.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use onionweave_control::{
    Connection, Error as ControlError, FetchOutcome, HsDescReason, HsFetch, HsPost, OtherUpload, PostOutcome,
    UploadStage,
};
use onionweave_publish::{Action, Event, Found, InstanceName, Machine, Moment, Settings, Status, Ticket, UploadAnswer};
use onionweave_ring::v2::ServiceId;
use onionweave_ring::{DescriptorId, Directories, Fingerprint, OnionAddress, UnixTime};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::ServiceReport;
use crate::carrier::{Carriers, LinkName, Outgoing, reason};
use crate::panics::spread_panic;
use crate::sides::{SideSettings, Sides};
use crate::tor::{Addresses, Follower, Following, Inbox, Question, TorInput, TorSettings, Tors};
use crate::watch::Folders;

/// The wall clock may be set while the task sleeps, so it never sleeps for long.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// Time, five seconds, in which the first Tor may connect before anybody is told that there is
/// none.
const FIRST_TOR_WITHIN: Duration = Duration::from_secs(5);
/// Longest time, two seconds, for which a stop waits for uploads that are on their way.
const STOP_WITHIN: Duration = Duration::from_secs(2);
/// Largest number of messages of Tors, and of commands, that wait to be read.
const INBOX: usize = 1024;

/// The material that a service's task is built from, and rebuilt from when the configuration is
/// read again.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) links: BTreeMap<LinkName, TorSettings>,
    pub(super) sides: SideSettings,
    pub(super) restarts: BTreeMap<InstanceName, Vec<String>>,
    pub(super) settings: Settings,
    /// The address of the service, which with stealth authorization is nobody's descriptor's.
    pub(super) service: ServiceId,
}

/// Order to a service's task.
#[derive(Debug)]
pub(super) enum Order {
    /// Tell how the service stands.
    Status(oneshot::Sender<Status>),
    /// Take on another configuration.
    Reload(Box<Setup>),
    /// End, and say so.
    Stop(oneshot::Sender<()>),
}

/// News of a command that the task sent on its way.
#[derive(Debug)]
enum Done {
    /// An upload was answered, or `None` came within its time.
    Uploaded(Ticket, Option<UploadAnswer>),
    /// Another upload to the directory went first.
    Busy(Outgoing),
    /// A directory was asked for its text.
    Told(Event),
}

/// Inquiry at a directory: the descriptor that it holds under an ID.
struct Inquiry {
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
    /// Inquiries that wait for the first Tor.
    unasked: Vec<Inquiry>,
    tors: Tors,
    /// The Tors that are followed.
    links: BTreeMap<LinkName, Following>,
    sides: Sides,
    /// Commands under way; dropped, and so ended, with the task.
    tasks: JoinSet<()>,
    orders: mpsc::Receiver<Order>,
    reports: mpsc::Sender<ServiceReport>,
    tor_inputs: Channel<(LinkName, TorInput)>,
    done: Channel<Done>,
    /// The newest consensus that was read.
    consensus: Option<UnixTime>,
}

impl ServiceTask {
    pub(super) fn new(
        machine: Machine,
        service: ServiceId,
        setup: Setup,
        tors: Tors,
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
            sides: Sides::new(service, folders, tors.clone()),
            tors,
            machine,
            tasks: JoinSet::new(),
            orders,
            reports,
            tor_inputs: mpsc::channel(INBOX),
            done: mpsc::channel(INBOX),
            consensus: None,
        }
    }

    pub(super) async fn run(mut self) {
        for (name, settings) in self.setup.links.clone() {
            self.link(name, &settings);
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
                Some((name, input)) = self.tor_inputs.1.recv() => self.tor_input(name, input),
                Some(done) = self.done.1.recv() => self.command_done(done),
                event = self.sides.next() => self.handle(event),
                Some(ended) = self.tasks.join_next() => {
                    spread_panic(ended);
                }
                order = self.orders.recv() => match order {
                    Some(Order::Status(answer)) => {
                        // The caller may have lost patience.
                        let _ = answer.send(self.machine.status(self.now()));
                    }
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

    fn tor_input(&mut self, name: LinkName, input: TorInput) {
        // A Tor that is not followed any more may have left words behind.
        if !self.links.contains_key(&name) {
            return;
        }
        match (name, input) {
            (name, TorInput::Up(connection)) => {
                let interrupted = self.carriers.up(name.clone(), connection);
                if let LinkName::Instance(instance) = name {
                    self.handle(Event::InstanceUp { instance });
                }
                for event in interrupted {
                    self.handle(event);
                }
            }
            (name, TorInput::Down(why)) => {
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
            (name, TorInput::Offers { text, rebuilt }) => {
                self.carriers.set_able(&name, true);
                if let LinkName::Instance(instance) = name {
                    self.handle(Event::InstanceOffers {
                        instance,
                        text,
                        rebuilt,
                    });
                }
            }
            (name, TorInput::OffersNothing) => {
                self.carriers.set_able(&name, false);
                if let LinkName::Instance(instance) = name {
                    self.handle(Event::InstanceOffersNothing { instance });
                }
            }
            (LinkName::Instance(instance), TorInput::Refuses(why)) => {
                self.handle(Event::InstanceRefuses { instance, why });
            }
            (LinkName::Own, TorInput::Refuses(_)) => {}
            (name, TorInput::Circuits(built)) => self.carriers.set_able(&name, built),
            (_, TorInput::Directories(directories)) => self.take_directories(directories),
            (LinkName::Instance(instance), TorInput::Upload(upload)) => self.upload_of_others(instance, &upload),
            (LinkName::Own, TorInput::Upload(_)) => {}
            (name, TorInput::Lagged(lost)) => {
                let lost = lost.map_or("some".to_owned(), |lost| lost.to_string());
                tracing::warn!(service = %self.service, link = %name, "{lost} events were lost");
            }
        }
    }

    fn take_directories(&mut self, directories: Arc<Directories>) {
        let valid_after = directories.lifetime().map(|lifetime| lifetime.valid_after());
        // Tors hear of a consensus at different times; one that is no newer tells nothing.
        if valid_after > self.consensus {
            self.consensus = valid_after;
            self.handle(Event::Directories(directories));
        }
    }

    fn upload_of_others(&mut self, instance: InstanceName, upload: &OtherUpload) {
        let directory = Fingerprint::from(upload.directory());
        match upload.stage() {
            UploadStage::Began {
                descriptor_id, is_own, ..
            } => {
                let id = descriptor_id.as_ref().and_then(|id| id.parse().ok());
                if let Some(descriptor_id) = id {
                    self.handle(Event::InstanceUploads {
                        instance,
                        own: *is_own,
                        directory,
                        descriptor_id,
                    });
                }
            }
            // Of a directory that does not answer nothing is known.
            UploadStage::Ended(PostOutcome::NoAnswer) => {}
            UploadStage::Ended(_) => self.handle(Event::InstanceUploadEnded { instance, directory }),
            _ => {}
        }
    }

    fn command_done(&mut self, done: Done) {
        match done {
            Done::Uploaded(ticket, answer) => {
                let was_on_its_way = self.carriers.end_upload(ticket);
                if let Some(answer) = answer.filter(|_| was_on_its_way) {
                    self.handle(Event::UploadAnswered { ticket, answer });
                }
            }
            Done::Busy(upload) => {
                if self.carriers.end_upload(upload.ticket) {
                    self.wait_with(upload);
                }
            }
            Done::Told(event) => self.handle(event),
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
                self.links.remove(name);
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
                self.link(name, &settings);
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
                    text,
                    attempt,
                    ..
                } => self.upload(Outgoing {
                    ticket,
                    slot,
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
                } => self.fetch(Inquiry {
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
                } => self.fetch(Inquiry {
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

    fn link(&mut self, name: LinkName, settings: &TorSettings) {
        let mut instances = self.setup.settings.instances().iter();
        let question = match &name {
            LinkName::Own => Question::Circuits,
            LinkName::Instance(name) => {
                let instance = instances.find(|instance| instance.name == *name);
                let own_address = instance
                    .and_then(|instance| instance.address)
                    .and_then(OnionAddress::v2);
                Question::Descriptor(own_address.unwrap_or(self.service))
            }
        };
        let follower = Follower {
            question,
            addresses: self.addresses(),
            inbox: Inbox::new(name.clone(), self.tor_inputs.0.clone()),
        };
        self.links.insert(name, self.tors.follow(settings, follower));
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
        for inquiry in std::mem::take(&mut self.unasked) {
            if inquiry.asked.elapsed() < answer_within {
                self.fetch(inquiry);
            }
        }
    }

    /// Sends an upload on its way, or lets it wait for another one to the same directory.
    fn upload(&mut self, upload: Outgoing) {
        let Outgoing { ticket, slot, .. } = upload;
        let of = self.addresses();
        let Some((name, connection)) = self.carriers.choose_for(slot.directory, of, upload.attempt) else {
            if self.carriers.is_busy(slot.directory, of) || self.is_starting() {
                return self.wait_with(upload);
            }
            let answer = UploadAnswer::Refused("no Tor is there to carry it".into());
            return self.handle(Event::UploadAnswered { ticket, answer });
        };
        self.carriers.begin_upload(ticket, name);
        let within = self.setup.settings.answer_within;
        let done = self.done.0.clone();
        self.tasks.spawn(async move {
            let answer = match post(&connection, &upload, of, within).await {
                Ok(outcome) => upload_answer(outcome),
                Err(ControlError::UploadInFlight { .. }) => {
                    let _ = done.send(Done::Busy(upload)).await;
                    return;
                }
                // The Tor's task notices as well, and all that it carried is interrupted.
                Err(error) if is_link_failure(&error) => return,
                Err(error) => Some(UploadAnswer::Refused(error.to_string())),
            };
            if answer.is_some() || !connection.is_closed() {
                let _ = done.send(Done::Uploaded(ticket, answer)).await;
            }
        });
    }

    /// Makes an upload wait. The machine gave up those that waited for the same slot.
    fn wait_with(&mut self, upload: Outgoing) {
        self.waiting.retain(|other| other.slot != upload.slot);
        self.waiting.push(upload);
    }

    /// Asks a directory what it holds, and tells the machine.
    fn fetch(&mut self, inquiry: Inquiry) {
        let Some((_, connection)) = self.carriers.choose(inquiry.attempt) else {
            // The first Tor connects within moments.
            if self.is_starting() {
                self.unasked.push(inquiry);
                return;
            }
            return self.handle((inquiry.tell)(Found::Failed("no Tor is there to ask".into())));
        };
        let Inquiry {
            directory, id, tell, ..
        } = inquiry;
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

    /// Waits until what is on its way has arrived.
    async fn drain(&mut self) {
        let all_out = async {
            while !(self.carriers.is_idle() && self.waiting.is_empty()) {
                tokio::select! {
                    Some((name, input)) = self.tor_inputs.1.recv() => self.tor_input(name, input),
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

/// Uploads a descriptor, and returns the outcome at its directory.
async fn post(
    connection: &Connection,
    upload: &Outgoing,
    of: Addresses,
    within: Duration,
) -> Result<PostOutcome, ControlError> {
    let directory = *upload.slot.directory.as_bytes();
    let post = HsPost::v2(&of.descriptor.to_string(), &*upload.text)?
        .also_named(&of.service.to_string())?
        .server(directory);
    let mut answers = connection.post(&post, within).await?;
    Ok(answers.next().await.map(|(_, outcome)| outcome).unwrap_or_default())
}

/// The answer that an outcome is for the machine; `None` without one.
fn upload_answer(outcome: PostOutcome) -> Option<UploadAnswer> {
    match outcome {
        PostOutcome::Uploaded => Some(UploadAnswer::Accepted),
        PostOutcome::Rejected(why) => Some(UploadAnswer::Refused(format!(
            "the directory refused it: {}",
            reason(why.as_ref())
        ))),
        // A relay whose descriptor Tor lacks is skipped without a word (`rendservice.c:3715-3723`).
        PostOutcome::NotBegun => Some(UploadAnswer::Refused(
            "Tor does not know the directory's descriptor".into(),
        )),
        _ => None,
    }
}

/// Asks a directory for the text that it holds under a descriptor ID.
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

#[cfg(test)]
mod tests;
