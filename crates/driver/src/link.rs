//! One control connection, kept alive: to an instance, or to a Tor of the publisher's own.

use std::fmt;
use std::time::{Duration, Instant};

use onionweave_control::{
    Attempt, CloseReason, Connection, Credentials, Endpoint, Error as ControlError, Event, EventKind, Events,
    HsDescAction, Options, Supervisor, SupervisorOptions, TorVersion,
};
use onionweave_publish::{Down, InstanceName};
use onionweave_ring::v2::ServiceId;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::builder::Access;

/// The pauses before a broken connection is made anew. A Tor that was restarted opens its control port after about 0.13 s.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(1);
/// Tor announces the descriptors of a service one by one, in the same moment. One reading answers them all.
const ONE_REBUILDING: Duration = Duration::from_secs(1);

/// Time after which an instance without a descriptor is warned of. Introduction points stand within some seconds.
const NOTHING_AFTER: Duration = Duration::from_secs(120);

/// What a link is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum LinkName {
    /// The Tor of the publisher's own.
    Own,
    /// An instance of the service.
    Instance(InstanceName),
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("own Tor"),
            Self::Instance(name) => f.write_str(name.as_str()),
        }
    }
}

/// How to reach a Tor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LinkSettings {
    pub(super) endpoint: Endpoint,
    pub(super) access: Access,
    pub(super) heartbeat: Duration,
}

/// What a link has to tell.
#[derive(Debug)]
pub(super) enum LinkInput {
    /// The connection stands and events are subscribed to.
    Up(Connection),
    /// It broke or cannot be made. Said once for each new reason, not at every try.
    Down(Down),
    /// The instance's own descriptor; see [`onionweave_publish::Event::InstanceOffers`].
    Offers { text: Vec<u8>, rebuilt: bool },
    /// The instance has no descriptor.
    OffersNothing,
    /// Whether the publisher's own Tor can build circuits.
    Circuits(bool),
    /// Another consensus arrived there.
    Consensus,
    /// An event that concerns uploads and audits.
    Event(Event),
}

/// Keeps the link to one Tor, until the receiver is gone.
pub(super) struct Link {
    pub(super) name: LinkName,
    /// The address under which this Tor knows the service.
    pub(super) service: ServiceId,
    pub(super) settings: LinkSettings,
    pub(super) to: mpsc::Sender<(LinkName, LinkInput)>,
}

/// The receiver of a link is gone: nobody wants to hear more.
struct Unheard;

impl Link {
    pub(super) async fn run(self) {
        // It ends when nobody hears it any more, and for no other reason.
        let _ = self.keep().await;
    }

    async fn keep(&self) -> Result<(), Unheard> {
        let access = &self.settings.access;
        let mut password = access.password();
        let credentials = access.credentials();
        let mut told = None;
        if let Err(why) = &credentials {
            self.tell_news(&mut told, Down::Refused(why.to_string())).await?;
        }
        let credentials = credentials.unwrap_or_else(|_| Credentials::null());
        let (tor, mut events) = Supervisor::start(self.settings.endpoint.clone(), [credentials], self.options());
        // Without a connection it only takes note of them, and what a Tor refuses shows when it is asked for its version.
        let _ = tor.set_events(&[EventKind::HsDesc, EventKind::NewConsensus]).await;
        let mut attempts = tor.attempts();
        let mut stood_before = false;
        let mut failed_before = false;
        // The supervisor lives as long as its handle.
        while let Some(attempt) = attempts.next().await {
            match attempt {
                Attempt::Connected(connection) => {
                    if std::mem::replace(&mut stood_before, true) {
                        skip_to_gap(&mut events);
                    }
                    let why = self.serve(&connection, &mut events).await?;
                    failed_before = false;
                    told = None;
                    self.tell_news(&mut told, why).await?;
                }
                Attempt::Failed(error) => {
                    let first = !std::mem::replace(&mut failed_before, true);
                    if let Some(why) = unreachable(&error, first) {
                        self.tell_news(&mut told, why).await?;
                    }
                    // A new password is tried at once. Cookie files are read anew at every attempt.
                    let written = access.password();
                    if written != password {
                        password = written;
                        match access.credentials() {
                            Ok(changed) => tor.set_credentials([changed]).await,
                            Err(why) => self.tell_news(&mut told, Down::Refused(why.to_string())).await?,
                        }
                    }
                }
                // `Lost`: serving the connection has told why it ended. Whether the Tor can be reached shows next.
                _ => {}
            }
        }
        Ok(())
    }

    fn options(&self) -> SupervisorOptions {
        // A question is asked four times in a heartbeat, and its answer may take a whole one: whoever falls silent is down
        // after one heartbeat and a quarter at most.
        let connection = Options::default()
            .connect_deadline(self.settings.heartbeat)
            .command_deadline(self.settings.heartbeat);
        SupervisorOptions::default()
            .connection(connection)
            .delays(FIRST_DELAY, LONGEST_DELAY)
            // The link asks questions of its own.
            .heartbeat(None)
            .seed(rand::random())
    }

    /// Serves a connection until it breaks, and tells why it did.
    async fn serve(&self, connection: &Connection, events: &mut Events) -> Result<Down, Unheard> {
        match connection.get_info("version").await {
            Ok(version) if has_v2(&version) => {}
            Ok(version) => {
                let why = format!("Tor {version} has no v2 onion services; 0.4.5.10 was the last that had them");
                self.tell(LinkInput::Down(Down::Refused(why))).await?;
                // Another version may be started in its place.
                return Ok(self.end(connection).await);
            }
            Err(error) => return Ok(lost(&error)),
        }
        self.tell(LinkInput::Up(connection.clone())).await?;
        let mut last_rebuilt: Option<Instant> = None;
        let mut refusals = Refusals::default();
        let mut heart = interval(self.settings.heartbeat / 4);
        heart.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let rebuilt = tokio::select! {
                biased;
                // Its task is the supervisor's, which this link keeps.
                Some(event) = events.recv() => {
                    // Tor tells that it built descriptors and that it uploads them in one breath. All of it is passed on before
                    // the descriptor is asked for, so that nothing is uploaded just to be overwritten.
                    let mut built = self.take(event).await?;
                    while let Some(event) = events.try_recv() {
                        built |= self.take(event).await?;
                    }
                    if !built {
                        continue;
                    }
                    let first = last_rebuilt.is_none_or(|at| at.elapsed() > ONE_REBUILDING);
                    if first {
                        last_rebuilt = Some(Instant::now());
                    }
                    first
                },
                why = self.end(connection) => return Ok(why),
                _ = heart.tick() => false,
            };
            if let Err(why) = self.ask(connection, rebuilt, &mut refusals).await? {
                return Ok(why);
            }
        }
    }

    /// Passes an event on. Returns whether the instance built its descriptor anew.
    async fn take(&self, event: Event) -> Result<bool, Unheard> {
        match event {
            Event::HsDesc(desc) => {
                let created = *desc.action() == HsDescAction::Created;
                let rebuilt = created && desc.address() == Some(self.service.to_string().as_str());
                self.tell(LinkInput::Event(Event::HsDesc(desc))).await?;
                Ok(rebuilt)
            }
            Event::Lagged(_) => {
                self.tell(LinkInput::Event(event)).await?;
                Ok(false)
            }
            Event::NewConsensus(_) => {
                self.tell(LinkInput::Consensus).await?;
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    /// The heartbeat: a question whose answer is also what the publisher wants to know.
    async fn ask(
        &self,
        connection: &Connection,
        rebuilt: bool,
        refusals: &mut Refusals,
    ) -> Result<Result<(), Down>, Unheard> {
        let key = match &self.name {
            LinkName::Own => "status/circuit-established".to_owned(),
            LinkName::Instance(_) => format!("hs/service/desc/id/{}", self.service),
        };
        let input = match connection.get_info(&key).await {
            Ok(answer) if self.name == LinkName::Own => LinkInput::Circuits(answer == "1"),
            Ok(text) if text.is_empty() => LinkInput::OffersNothing,
            Ok(text) => {
                *refusals = Refusals::default();
                LinkInput::Offers {
                    text: text.into_bytes(),
                    rebuilt,
                }
            }
            Err(ControlError::Rejected { code, text, .. }) => {
                let warning = refusals.take(code, &text, Instant::now());
                if let Some(warning) = warning.filter(|_| self.name != LinkName::Own) {
                    tracing::warn!(instance = %self.name, "{warning}");
                }
                LinkInput::OffersNothing
            }
            Err(error) => return Ok(Err(lost(&error))),
        };
        self.tell(input).await?;
        Ok(Ok(()))
    }

    async fn end(&self, connection: &Connection) -> Down {
        match connection.closed().await {
            CloseReason::Deadline { after, .. } => Down::Silent(after),
            reason => Down::Lost(reason.to_string()),
        }
    }

    /// Tells that the link is down, if it is not for the reason that was `told` last.
    async fn tell_news(&self, told: &mut Option<Down>, why: Down) -> Result<(), Unheard> {
        if told.as_ref() != Some(&why) {
            *told = Some(why.clone());
            self.tell(LinkInput::Down(why)).await?;
        }
        Ok(())
    }

    async fn tell(&self, input: LinkInput) -> Result<(), Unheard> {
        self.to.send((self.name.clone(), input)).await.map_err(|_| Unheard)
    }
}

/// Refusals to tell the instance's descriptor.
#[derive(Debug, Default)]
struct Refusals {
    since: Option<Instant>,
    /// The answer that was warned of.
    told: Option<String>,
}

impl Refusals {
    /// The warning that an answer deserves, once each. `551 Not found in cache` is what a Tor says that has nothing to offer
    /// yet, so it counts after [`NOTHING_AFTER`] only; any other refusal stays.
    fn take(&mut self, code: u16, text: &str, now: Instant) -> Option<String> {
        let since = *self.since.get_or_insert(now);
        let advice = match code {
            551 if now.duration_since(since) < NOTHING_AFTER => return None,
            551 => {
                "it has no descriptor of this service: look whether it has the service's private_key, or name its own address, and \
                 whether it has introduction points"
            }
            552 => "it cannot tell a descriptor of this service: look whether it hosts the service",
            510 => "its control port does not allow GETINFO hs/service/desc/id: a filter stands before it",
            _ => "it does not tell its descriptor",
        };
        let answer = format!("{code} {text}");
        if self.told.as_ref() == Some(&answer) {
            return None;
        }
        let warning = format!("{advice} (Tor answered {answer})");
        self.told = Some(answer);
        Some(warning)
    }
}

/// Passes over what was said on the connection before.
fn skip_to_gap(events: &mut Events) {
    while let Some(event) = events.try_recv() {
        if matches!(event, Event::Gap(_)) {
            return;
        }
    }
}

/// Tells what a failed attempt to connect means. A Tor that answers but does not let us in needs its operator, not a
/// restart. One that was reached, and then fell silent, hung up or said something odd, is reached for once more before
/// it counts as out of reach: the first time, nothing is told.
fn unreachable(error: &ControlError, first: bool) -> Option<Down> {
    Some(match error {
        ControlError::Rejected { .. }
        | ControlError::NoUsableMethod { .. }
        | ControlError::WrongServerHash
        | ControlError::CookieFile { .. }
        | ControlError::CookieLength { .. } => Down::Refused(error.to_string()),
        ControlError::Connect { .. } | ControlError::ConnectDeadline { .. } => Down::Unreachable(error.to_string()),
        _ if first => return None,
        _ => Down::Unreachable(error.to_string()),
    })
}

fn lost(error: &ControlError) -> Down {
    match error {
        ControlError::Deadline { after, .. } => Down::Silent(*after),
        ControlError::Rejected { .. } => Down::Refused(error.to_string()),
        _ => Down::Lost(error.to_string()),
    }
}

/// Whether a Tor that says it is of this version has v2 onion services. One that says what nobody understands has none.
pub(super) fn has_v2(version: &str) -> bool {
    version
        .parse()
        .is_ok_and(|version: TorVersion| version.has_v2_onion_services())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_warned_of_once_and_not_yet_is_given_time() {
        let start = Instant::now();
        for (code, text) in [(510, "Command filtered"), (552, "Unrecognized key")] {
            let mut refusals = Refusals::default();
            let warning = refusals.take(code, text, start).unwrap();
            assert!(warning.ends_with(&format!("(Tor answered {code} {text})")), "{warning}");
            assert_eq!(refusals.take(code, text, start + 2 * NOTHING_AFTER), None);
            assert!(refusals.take(code, "another", start).is_some(), "each new text");
        }
        let mut refusals = Refusals::default();
        let not_found = "Not found in cache";
        assert_eq!(refusals.take(551, not_found, start), None);
        assert_eq!(refusals.take(551, not_found, start + NOTHING_AFTER / 2), None);
        let warning = refusals.take(551, not_found, start + NOTHING_AFTER).unwrap();
        assert!(warning.contains("private_key"), "{warning}");
        assert_eq!(refusals.take(551, not_found, start + 3 * NOTHING_AFTER), None);
    }
}
