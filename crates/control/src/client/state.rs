//! The state of a Tor as typed values.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::Connection;
use super::driver::{Follow, Tap, later};
use crate::{Circ, Command, Error, Event, EventKind, OrConn, Status, Stream, TorVersion};

/// The keys of `GETINFO` that have types of their own.
impl Connection {
    /// Tor's version, as it was told before authentication or else is asked for now.
    ///
    /// # Errors
    /// [`Error::UnexpectedReply`] for a version that is not four numbers; those of
    /// [`get_info`](Self::get_info).
    pub async fn version(&self) -> Result<TorVersion, Error> {
        let told = self.protocol_info().tor_version().and_then(|text| text.parse().ok());
        match told {
            Some(version) => Ok(version),
            None => {
                let text = self.get_info("version").await?;
                text.parse().map_err(|_| unexpected("four numbers", &text))
            }
        }
    }

    /// The circuits that begin at this Tor (`circuit-status`).
    ///
    /// # Errors
    /// [`Error::UnexpectedReply`] for a line of another form; those of
    /// [`get_info`](Self::get_info).
    ///
    /// ```no_run
    /// # async fn example(tor: onionweave_control::Connection) -> Result<(), onionweave_control::Error> {
    /// for circuit in tor.circuits().await? {
    ///     println!("{circuit}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn circuits(&self) -> Result<Vec<Circ>, Error> {
        self.list("circuit-status", Circ::parse).await
    }

    /// The streams of applications through this Tor (`stream-status`).
    ///
    /// # Errors
    /// As [`circuits`](Self::circuits).
    pub async fn streams(&self) -> Result<Vec<Stream>, Error> {
        self.list("stream-status", Stream::parse).await
    }

    /// The connections to relays (`orconn-status`).
    ///
    /// # Errors
    /// As [`circuits`](Self::circuits).
    pub async fn or_connections(&self) -> Result<Vec<OrConn>, Error> {
        self.list("orconn-status", OrConn::parse).await
    }

    /// The phase of Tor's bootstrap (`status/bootstrap-phase`); see [`Status::bootstrap_progress`].
    ///
    /// # Errors
    /// As [`circuits`](Self::circuits).
    pub async fn bootstrap_phase(&self) -> Result<Status, Error> {
        let text = self.get_info("status/bootstrap-phase").await?;
        Status::parse(text.as_bytes()).ok_or_else(|| unexpected("a status", &text))
    }

    /// Waits until Tor is ready to serve clients: its bootstrap is at 100 percent.
    ///
    /// Tor's events announce it. Those that this needs are not shown in [`Events`](super::Events)
    /// unless asked for there.
    ///
    /// # Errors
    /// [`Error::NotBootstrapped`] after `within`; [`Error::Closed`] if the connection ends; those
    /// of [`bootstrap_phase`](Self::bootstrap_phase).
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use onionweave_control::Connection;
    ///
    /// # async fn example() -> Result<(), onionweave_control::Error> {
    /// let (tor, _events) = Connection::open("127.0.0.1:9051").await?;
    /// tor.bootstrapped(Duration::from_secs(120)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn bootstrapped(&self, within: Duration) -> Result<(), Error> {
        let until = later(Instant::now(), within);
        let (sender, mut phases) = watch::channel(None);
        let last = phases.clone();
        let reach = async {
            self.subscriptions.need(self, &[EventKind::StatusClient]).await?;
            // Its observer sees the events that come after the reply, so none is missed between
            // them.
            let tap = Tap {
                until,
                observe: Box::new(move |event| {
                    if let Event::StatusClient(status) = event
                        && status.bootstrap_progress().is_some()
                    {
                        sender.send_replace(Some(status.clone()));
                    }
                    !sender.is_closed()
                }),
            };
            const KEY: &str = "status/bootstrap-phase";
            let command = Command::get_info([KEY])?;
            let reply = self
                .send_with(command, self.command_deadline, Some(Follow::Tap(tap)))
                .await?;
            let values = self.close_unless_expected(reply.into_result("GETINFO")?.into_values(&[KEY]))?;
            let text = values.into_iter().next().unwrap_or_default();
            let mut phase = Status::parse(&text);
            while phase.as_ref().and_then(Status::bootstrap_progress) != Some(100) {
                if phases.changed().await.is_err() {
                    // The observer ends with the connection.
                    return Err(Error::Closed(self.closed().await));
                }
                phase = phases.borrow_and_update().clone();
            }
            Ok(())
        };
        match timeout_at(until, reach).await {
            Ok(reached) => reached,
            Err(_) => {
                let phase = last.borrow().as_ref().map(ToString::to_string);
                Err(Error::NotBootstrapped { after: within, phase })
            }
        }
    }

    async fn list<T>(&self, key: &str, parse: impl Fn(&[u8]) -> Option<T>) -> Result<Vec<T>, Error> {
        let text = self.get_info_bytes(key).await?;
        let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        lines
            .map(|line| parse(line).ok_or_else(|| unexpected(key, &String::from_utf8_lossy(line))))
            .collect()
    }
}

/// The connection goes on: the reply belonged to its command, only its text is another.
fn unexpected(wanted: &str, found: &str) -> Error {
    let found: String = found.chars().take(200).collect();
    Error::UnexpectedReply {
        command: "GETINFO".to_owned(),
        problem: format!("expected {wanted}, found {found:?}"),
    }
}
