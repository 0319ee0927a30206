//! The Tors that carry a service's uploads and fetches, and the uploads that are on their way.
//!
//! Tor answers a post by events that name neither the request nor the descriptor ID. It reports
//! uploads of its own in the same words. So each Tor's connection follows all uploads through it
//! ([`Connection::is_uploading`]), and one upload at a time goes to a directory for a service.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use onionweave_control::{Connection, HsDescReason};
use onionweave_publish::{Event, InstanceName, SlotId, Ticket, UploadAnswer};
use onionweave_ring::Fingerprint;
use tokio::time::Instant;

use crate::tor::Addresses;

/// Name of a Tor in a service.
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
            Self::Instance(name) => name.fmt(f),
        }
    }
}

/// An upload that is to be carried.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) ticket: Ticket,
    pub(super) slot: SlotId,
    pub(super) text: Arc<[u8]>,
    /// Number of failures of the slot in a row.
    pub(super) attempt: u32,
    /// When the machine asked for it.
    pub(super) asked: Instant,
}

/// The Tors that can be reached, and what they carry for one service.
#[derive(Debug, Default)]
pub(super) struct Carriers {
    standing: BTreeMap<LinkName, Connection>,
    /// The Tors among them that have circuits. An instance with introduction points certainly has.
    able: BTreeSet<LinkName>,
    /// Whether any was, since the start.
    was_able: bool,
    /// Number of choices until now, which decides whose turn it is.
    turn: usize,
    /// Uploads of ours on their way, and who carries them.
    uploads: BTreeMap<Ticket, LinkName>,
}

impl Carriers {
    /// Takes on a Tor whose connection stands, and returns what the connection before carried as
    /// interrupted. A service that reads its news late may never have been told of its end.
    pub(super) fn up(&mut self, name: LinkName, connection: Connection) -> Vec<Event> {
        let had_ended = self.standing.get(&name).is_some_and(Connection::is_closed);
        let interrupted = if had_ended { self.down(&name) } else { Vec::new() };
        self.standing.insert(name, connection);
        interrupted
    }

    /// Forgets a Tor, and returns what it carried as interrupted.
    pub(super) fn down(&mut self, name: &LinkName) -> Vec<Event> {
        self.standing.remove(name);
        self.able.remove(name);
        let mut events = Vec::new();
        self.uploads.retain(|ticket, carrier| {
            if carrier == name {
                events.push(Event::UploadAnswered {
                    ticket: *ticket,
                    answer: UploadAnswer::Interrupted,
                });
            }
            carrier != name
        });
        events
    }

    pub(super) fn set_able(&mut self, name: &LinkName, able: bool) {
        if !able {
            self.able.remove(name);
        } else if !self.able.contains(name) {
            self.able.insert(name.clone());
            self.was_able = true;
        }
    }

    /// Whether any Tor was able to carry something since the start.
    pub(super) fn was_able(&self) -> bool {
        self.was_able
    }

    /// Chooses the Tor for try number `attempt`: the publisher's own if it has circuits and has not
    /// failed twice, else the instances that offer points, in turn. Every Tor keeps a few circuits
    /// ready, so six uploads through three Tors wait for fewer new ones than through one.
    pub(super) fn choose(&mut self, attempt: u32) -> Option<(LinkName, Connection)> {
        self.choose_among(attempt, |_| true)
    }

    /// Does the same for an upload to this directory. `None` also if all are busy there; see
    /// [`is_busy`](Self::is_busy).
    pub(super) fn choose_for(
        &mut self,
        directory: Fingerprint,
        of: Addresses,
        attempt: u32,
    ) -> Option<(LinkName, Connection)> {
        self.choose_among(attempt, |connection| !is_uploading(connection, directory, of))
    }

    /// Whether an upload of these addresses is on its way to this directory.
    pub(super) fn is_busy(&self, directory: Fingerprint, of: Addresses) -> bool {
        self.standing
            .values()
            .any(|connection| is_uploading(connection, directory, of))
    }

    fn choose_among(&mut self, attempt: u32, wanted: impl Fn(&Connection) -> bool) -> Option<(LinkName, Connection)> {
        // What its link has not told yet, the connection may know.
        let able = self.able.iter().filter_map(|name| {
            let connection = self.standing.get(name)?;
            (!connection.is_closed() && wanted(connection)).then_some((name, connection))
        });
        let own = able.clone().find(|(name, _)| **name == LinkName::Own);
        let mut instances = able.filter(|(name, _)| **name != LinkName::Own);
        let count = instances.clone().count();
        let (name, connection) = match own {
            Some(own) if attempt < 2 || count == 0 => own,
            _ => {
                let turn = self.turn.wrapping_add(1);
                instances.nth(turn.checked_rem(count)?)?
            }
        };
        let chosen = (name.clone(), connection.clone());
        self.turn = self.turn.wrapping_add(1);
        Some(chosen)
    }

    /// Whether nothing of ours is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.uploads.is_empty()
    }

    pub(super) fn begin_upload(&mut self, ticket: Ticket, carrier: LinkName) {
        self.uploads.insert(ticket, carrier);
    }

    /// Ends an upload. Returns whether it was on its way: of one that was interrupted that was told
    /// before.
    pub(super) fn end_upload(&mut self, ticket: Ticket) -> bool {
        self.uploads.remove(&ticket).is_some()
    }
}

/// Whether an upload of these addresses is on its way to a directory through a Tor, ours or
/// another's.
fn is_uploading(connection: &Connection, directory: Fingerprint, of: Addresses) -> bool {
    let on_its_way = |address: &str| connection.is_uploading(*directory.as_bytes(), Some(address));
    on_its_way(&of.descriptor.to_string()) || (of.service != of.descriptor && on_its_way(&of.service.to_string()))
}

pub(super) fn reason(reason: Option<&HsDescReason>) -> String {
    reason.map_or("no reason given".into(), |reason| format!("{reason:?}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use onionweave_control::{Credentials, Endpoint, HsPost, Options};
    use onionweave_ring::v2::ServiceId;
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    const OFFER: &str = "250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n250-VERSION Tor=\"0.4.5.9\"\r\n250 OK\r\n";
    const LONG: Duration = Duration::from_secs(1000);

    /// A connection to something that greets as Tor does and agrees to all else.
    async fn connection() -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string().parse::<Endpoint>().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            while stream.read_line(&mut line).await.unwrap() > 0 {
                // A command of several lines is answered after the last.
                let is_post = line.starts_with("+HSPOST");
                while is_post && line != ".\r\n" {
                    line.clear();
                    stream.read_line(&mut line).await.unwrap();
                }
                let answer = match line.starts_with("PROTOCOLINFO") {
                    true => OFFER,
                    false => "250 OK\r\n",
                };
                stream.write_all(answer.as_bytes()).await.unwrap();
                line.clear();
            }
        });
        let connected = Connection::connect(&endpoint, &Credentials::default(), &Options::default()).await;
        connected.unwrap().0
    }

    async fn carriers(names: &[&str]) -> Carriers {
        let mut carriers = Carriers::default();
        for name in names {
            let name = LinkName::Instance(name.parse().unwrap());
            carriers.up(name.clone(), connection().await);
            carriers.set_able(&name, true);
        }
        carriers
    }

    fn addresses(service: [u8; 10]) -> Addresses {
        Addresses {
            descriptor: service.into(),
            service: service.into(),
        }
    }

    /// Sends an upload on its way that nobody ever answers.
    async fn post(connection: &Connection, of: Addresses, directory: Fingerprint) {
        let post = HsPost::v2(&of.descriptor.to_string(), "text\n").unwrap();
        connection
            .post(&post.server(*directory.as_bytes()), LONG)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn one_upload_of_a_service_at_a_time_goes_to_a_directory_through_a_tor() {
        let mut carriers = carriers(&["a", "b"]).await;
        let (here, there) = (Fingerprint::from([1; 20]), Fingerprint::from([2; 20]));
        let (of, another) = (addresses([1; 10]), addresses([2; 10]));

        let (first, through) = carriers.choose_for(here, of, 0).unwrap();
        post(&through, of, here).await;
        let (second, through) = carriers.choose_for(here, of, 0).unwrap();
        assert_ne!(first, second, "the other Tor is free");
        post(&through, of, here).await;
        assert!(carriers.choose_for(here, of, 0).is_none() && carriers.is_busy(here, of));
        assert!(carriers.choose_for(there, of, 0).is_some() && !carriers.is_busy(there, of));
        assert!(carriers.choose_for(here, another, 0).is_some() && !carriers.is_busy(here, another));

        // With stealth authorization Tor names one of ours by the client's address or by the
        // service's.
        let client = Addresses {
            descriptor: ServiceId::from([3; 10]),
            service: of.service,
        };
        assert!(carriers.choose_for(here, client, 0).is_none() && carriers.is_busy(here, client));
    }

    #[tokio::test]
    async fn uploads_of_a_connection_whose_end_was_not_told_are_interrupted() {
        let mut carriers = carriers(&["a"]).await;
        let a = LinkName::Instance("a".parse().unwrap());
        carriers.begin_upload(Ticket::new(1), a.clone());
        let same = carriers.standing[&a].clone();
        assert_eq!(carriers.up(a.clone(), same.clone()).len(), 0, "it stands");
        same.close();
        same.closed().await;
        let events = carriers.up(a, connection().await);
        assert!(
            matches!(
                events[..],
                [Event::UploadAnswered {
                    answer: UploadAnswer::Interrupted,
                    ..
                }]
            ),
            "{events:?}"
        );
        assert!(carriers.is_idle());
    }

    #[tokio::test]
    async fn uploads_of_a_tor_that_is_down_are_interrupted_once() {
        let mut carriers = carriers(&["a", "b"]).await;
        let [a, b] = ["a", "b"].map(|name| LinkName::Instance(name.parse().unwrap()));
        carriers.begin_upload(Ticket::new(1), a.clone());
        carriers.begin_upload(Ticket::new(2), b);
        let events = carriers.down(&a);
        let interrupted = |event: &Event| matches!(event, Event::UploadAnswered { ticket, answer: UploadAnswer::Interrupted } if *ticket == Ticket::new(1));
        assert!(events.len() == 1 && events.iter().all(interrupted), "{events:?}");
        assert!(
            !carriers.end_upload(Ticket::new(1)),
            "an answer that comes late says nothing more"
        );
        assert!(carriers.end_upload(Ticket::new(2)) && carriers.is_idle());
    }
}
