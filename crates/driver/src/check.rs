//! The checks of one instance, made again and again.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::pin;
use std::time::{Duration, Instant};

use humantime::format_duration;
use hyper::StatusCode;
use hyper::body::Body as _;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use onionweave_control::Endpoint;
use onionweave_publish::health::{Change, Health, Outcome};
use onionweave_publish::{Event, InstanceName};
use onionweave_ring::v2::{ClientCookie, ServiceId};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::builder::{Check, HttpRequest, Probe};
use crate::prober::{Door, Prober};
use crate::sides::{Knowledge, Teller};

/// Status and headers of an answer may be so long; its body is not read.
const LONGEST_HEAD: usize = 64 * 1024;

/// What is checked, and by whom.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CheckSettings {
    pub(super) check: Check,
    /// The address of the service, for those who listen to the header `Host`.
    pub(super) service: ServiceId,
    /// For checks through Tor.
    pub(super) prober: Option<Prober>,
    /// What its instances want to be shown, if the service is for authorized clients.
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
        let mut unknown = None;
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

    /// One check; `None` if there is nothing to check.
    async fn check(&self, door: &mut Option<Door>) -> Option<Outcome> {
        let check = &self.settings.check;
        let result = match &check.probe {
            Probe::Tcp(endpoint) => in_time(check.within, connect(endpoint)).await.map(drop),
            Probe::Http { address, request } => {
                let host = request.host.as_deref().unwrap_or(address);
                let asked = async {
                    let stream = TcpStream::connect(address).await.map_err(|error| told(&error))?;
                    ask(stream, request, host).await
                };
                in_time(check.within, asked).await
            }
            Probe::Tor { port, request } => {
                return self.check_through_tor(door, *port, request.as_ref()).await;
            }
        };
        Some(result.map_or_else(Outcome::Failed, |()| Outcome::Served))
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
            Ok((socks, prober.open(door.take(), &points, &ring, pass).await?))
        };
        let (socks, opened) = match prepared.await {
            Ok(prepared) => prepared,
            Err(why) => return Some(Outcome::Unknown(why)),
        };
        let asked = async {
            let stream = prober.enter(socks, &opened, port).await?;
            match request {
                Some(request) => ask(stream, request, &format!("{}.onion", self.settings.service)).await,
                None => Ok(()),
            }
        };
        Some(match in_time(self.settings.check.within, asked).await {
            Ok(()) => {
                *door = Some(opened);
                Outcome::Served
            }
            // The next check takes another door: this one's Tor may have given up points that come back.
            Err(why) => {
                prober.close(&opened, pass).await;
                Outcome::Failed(format!("through Tor: {why}"))
            }
        })
    }

    /// Says once that a check cannot be made, and that it can again.
    fn log(&self, outcome: &Outcome, unknown: &mut Option<String>) {
        let (instance, check) = (&self.instance, &self.settings.check);
        match outcome {
            Outcome::Unknown(why) if unknown.as_ref() != Some(why) => {
                tracing::warn!(%instance, %check, "cannot be checked: {why}");
                *unknown = Some(why.clone());
            }
            Outcome::Unknown(_) => {}
            Outcome::Served | Outcome::Failed(_) => {
                if unknown.take().is_some() {
                    tracing::info!(%instance, %check, "can be checked again");
                }
                tracing::trace!(%instance, %check, ?outcome, "checked");
            }
        }
    }
}

/// A connection of any kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub(super) async fn connect(endpoint: &Endpoint) -> Result<Box<dyn Stream>, String> {
    let stream: std::io::Result<Box<dyn Stream>> = match endpoint {
        Endpoint::Unix(path) => UnixStream::connect(path).await.map(|stream| Box::new(stream) as _),
        Endpoint::Tcp(address) => TcpStream::connect(address.as_str())
            .await
            .map(|stream| Box::new(stream) as _),
        _ => Err(ErrorKind::Unsupported.into()),
    };
    stream.map_err(|error| told(&error))
}

pub(super) async fn in_time<T>(within: Duration, future: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = |_| Err(format!("no answer within {}", format_duration(within)));
    timeout(within, future).await.unwrap_or_else(late)
}

/// Makes a request, and judges the status of the answer.
async fn ask(stream: impl Stream + 'static, request: &HttpRequest, host: &str) -> Result<(), String> {
    let (status, _) = send(stream, request, host, 0).await?;
    let as_wanted = match request.status {
        Some(wanted) => status.as_u16() == wanted,
        None => status.is_success() || status.is_redirection(),
    };
    if as_wanted {
        Ok(())
    } else {
        Err(format!("HTTP {}", status.as_u16()))
    }
}

/// Makes a request, and returns the status of the answer and so many bytes of its body, or all if there are fewer.
pub(super) async fn send(
    stream: impl Stream + 'static,
    request: &HttpRequest,
    host: &str,
    most: usize,
) -> Result<(StatusCode, Vec<u8>), String> {
    let wrong = |error: hyper::Error| format!("no HTTP answer: {}", told_with_source(&error));
    let asked = hyper::Request::get(&request.path)
        .header(HOST, host)
        .header(USER_AGENT, concat!("onionweave/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(String::new())
        .map_err(|error| error.to_string())?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(LONGEST_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(wrong)?;
    let mut exchange = pin!(async {
        let (head, body) = sender.send_request(asked).await?.into_parts();
        let mut body = pin!(body);
        let mut text = Vec::new();
        while text.len() < most
            && let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await
        {
            if let Ok(data) = frame?.into_data() {
                text.extend_from_slice(&data);
            }
        }
        text.truncate(most);
        Ok::<_, hyper::Error>((head.status, text))
    });
    let answer = tokio::select! {
        answer = &mut exchange => answer,
        // It has read what there is to read, so the answer is there, or the error.
        _ = connection => exchange.await,
    };
    answer.map_err(wrong)
}

/// An error of the system in its plainest words.
pub(super) fn told(error: &std::io::Error) -> String {
    match error.kind() {
        kind @ (ErrorKind::ConnectionRefused
        | ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::NotFound
        | ErrorKind::PermissionDenied
        | ErrorKind::TimedOut) => kind.to_string(),
        _ => error.to_string(),
    }
}

fn told_with_source(error: &hyper::Error) -> String {
    match std::error::Error::source(error).and_then(|source| source.downcast_ref()) {
        Some(source) => told(source),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
