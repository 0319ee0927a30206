//! The checks of one instance, made again and again.

use std::time::Instant;

use onionweave_publish::health::{Change, Health, Outcome};
use onionweave_publish::{Event, InstanceName};
use onionweave_ring::v2::{ClientCookie, ServiceId};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::builder::{Check, HttpRequest, Probe};
use crate::net::{Late, NetError, Stream, connect, in_time, send};
use crate::prober::{Door, Knowledge, Prober, ProberError};
use crate::teller::Teller;
use crate::told::Told;

/// A check, and the material for it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CheckSettings {
    pub(super) check: Check,
    /// The address of the service, for those who listen to the header `Host`.
    pub(super) service: ServiceId,
    /// For checks through Tor.
    pub(super) prober: Option<Prober>,
    /// Cookie that its instances want to be shown, if the service is for authorized clients.
    pub(super) pass: Option<ClientCookie>,
}

/// Checks one instance, until the receiver is gone.
pub(super) struct Checker {
    pub(super) instance: InstanceName,
    pub(super) settings: CheckSettings,
    /// The verdict until now.
    pub(super) fit: bool,
    pub(super) knowledge: watch::Receiver<Knowledge>,
    pub(super) tell: Teller,
}

impl Checker {
    pub(super) async fn run(self) {
        let steps = self.settings.check.steps;
        let mut health = if self.fit {
            Health::new(steps)
        } else {
            Health::unfit(steps)
        };
        let mut door = None;
        let mut unknown = Told::default();
        let started = Instant::now();
        let mut clock = interval(self.settings.check.every);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            let Some(outcome) = self.check(&mut door).await else {
                continue;
            };
            self.log(&outcome, &mut unknown);
            let instance = self.instance.clone();
            let event = match health.take(outcome, started.elapsed()) {
                Some(Change::Unfit(why)) => Event::InstanceUnfit { instance, why },
                Some(Change::Fit) => Event::InstanceFit { instance },
                None => continue,
            };
            if self.tell.tell(event).await.is_err() {
                return;
            }
        }
    }

    /// Checks once; `None` if there is nothing to check.
    async fn check(&self, door: &mut Option<Door>) -> Option<Outcome> {
        let check = &self.settings.check;
        let result = match &check.probe {
            Probe::Tcp(endpoint) => {
                let connected = async {
                    connect(endpoint).await?;
                    Ok(())
                };
                in_time(check.within, connected).await
            }
            Probe::Http { address, request } => {
                let host = request.host.as_deref().unwrap_or(address);
                let asked = async {
                    let stream = TcpStream::connect(address).await?;
                    ask(stream, request, host).await
                };
                in_time(check.within, asked).await
            }
            Probe::Tor { port, request } => {
                return self.check_through_tor(door, *port, request.as_ref()).await;
            }
        };
        Some(match result {
            Ok(()) => Outcome::Served,
            Err(why) => Outcome::Failed(CheckError::to_string(&why)),
        })
    }

    async fn check_through_tor(
        &self,
        door: &mut Option<Door>,
        port: u16,
        request: Option<&HttpRequest>,
    ) -> Option<Outcome> {
        // The configuration sees to it that there is one.
        let prober = self.settings.prober.as_ref()?;
        let (points, ring) = {
            let knowledge = self.knowledge.borrow();
            (knowledge.points.get(&self.instance)?.clone(), knowledge.ring.clone()?)
        };
        if points.is_empty() {
            return None;
        }
        let pass = self.settings.pass.as_ref();
        let prepared = async {
            let socks = prober.socks().await?;
            Ok::<_, ProberError>((socks, prober.open(door.take(), &points, &ring, pass).await?))
        };
        let (socks, opened) = match prepared.await {
            Ok(prepared) => prepared,
            Err(why) => return Some(Outcome::Unknown(why.to_string())),
        };
        let asked = async {
            let stream = prober.enter(socks, &opened, port).await?;
            match request {
                Some(request) => ask(stream, request, &format!("{}.onion", self.settings.service)).await,
                None => Ok::<_, CheckError>(()),
            }
        };
        Some(match in_time(self.settings.check.within, asked).await {
            Ok(()) => {
                *door = Some(opened);
                Outcome::Served
            }
            // The next check takes another door: this one's Tor may have given up points that come
            // back.
            Err(why) => {
                prober.close(&opened, pass).await;
                Outcome::Failed(format!("through Tor: {why}"))
            }
        })
    }

    /// Says once for each reason that a check cannot be made, and that it can again.
    fn log(&self, outcome: &Outcome, unknown: &mut Told) {
        let (instance, check) = (&self.instance, &self.settings.check);
        match outcome {
            Outcome::Unknown(why) => {
                if unknown.is_news(why) {
                    tracing::warn!(%instance, %check, "cannot be checked: {why}");
                }
            }
            Outcome::Served | Outcome::Failed(_) => {
                if unknown.forget() {
                    tracing::info!(%instance, %check, "can be checked again");
                }
                tracing::trace!(%instance, %check, ?outcome, "checked");
            }
        }
    }
}

/// Reason why a check failed.
#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Late(#[from] Late),
    #[error("HTTP {0}")]
    Status(u16),
    #[error(transparent)]
    Tor(#[from] ProberError),
}

impl From<std::io::Error> for CheckError {
    fn from(error: std::io::Error) -> Self {
        NetError::from(error).into()
    }
}

/// Makes a request, and judges the status of the answer.
async fn ask(stream: impl Stream + 'static, request: &HttpRequest, host: &str) -> Result<(), CheckError> {
    let (status, _) = send(stream, request, host, 0).await?;
    let as_wanted = match request.status {
        Some(wanted) => status.as_u16() == wanted,
        None => status.is_success() || status.is_redirection(),
    };
    if as_wanted {
        Ok(())
    } else {
        Err(CheckError::Status(status.as_u16()))
    }
}

#[cfg(test)]
mod tests;
