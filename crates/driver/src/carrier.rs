//! Who carries uploads and fetches, and which uploads are still to be answered.
//!
//! Tor answers a post by events that name neither the request nor the descriptor ID, and reports uploads of its own in the same words.
//! So this keeps, for each link, what is on its way to which directory, whoever sent it, and gives a Tor no upload to a directory to which
//! one is on its way there already. ([`Connection::post`] would do for a Tor that does not run the service itself.)

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use onionweave_control::{Connection, HsDesc, HsDescAction, HsDescReason};
use onionweave_publish::{Event, SlotId, Ticket, UploadAnswer};
use onionweave_ring::DescriptorId;
use onionweave_ring::Fingerprint;
use onionweave_ring::v2::ServiceId;

use crate::link::LinkName;

/// Tor announces that it built a descriptor and that it uploads it in the same moment.
const BUILT_JUST_BEFORE: Duration = Duration::from_secs(1);

/// An upload on its way.
#[derive(Clone, Copy, Debug)]
struct Upload {
    ticket: Ticket,
    descriptor_id: DescriptorId,
    /// Whether Tor announced it (`HS_DESC UPLOAD`).
    announced: bool,
    /// When it is given up: of a directory that does not answer nothing is told.
    until: Instant,
}

/// Uploads that this publisher did not ask for.
#[derive(Clone, Copy, Debug)]
struct Others {
    /// How many are still to be answered.
    pending: u32,
    /// Until when an upload of ours to the same directory goes another way, lest one's answer be taken for the other's.
    until: Instant,
}

/// How long an answer to uploads of others is waited for.
const OTHERS_WITHIN: Duration = Duration::from_secs(20);

/// An upload that a Tor shall carry.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) ticket: Ticket,
    pub(super) slot: SlotId,
    pub(super) descriptor_id: DescriptorId,
    pub(super) text: Arc<[u8]>,
    /// How often the slot has failed in a row.
    pub(super) attempt: u32,
    /// When the machine asked for it.
    pub(super) asked: Instant,
}

/// The addresses under which Tor speaks of one machine's descriptors.
///
/// With stealth authorization each client has an address of its own, which Tor names when it builds the client's descriptor
/// (`rendcommon.c:689`) and when a controller posts it. Of its own uploads it says that they are the service's, for all clients alike
/// (`rendservice.c:3846`). Without it, the two are one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    /// The address that the descriptor's key gives.
    pub(super) descriptor: ServiceId,
    /// The address of the service.
    pub(super) service: ServiceId,
}

impl Addresses {
    fn contains(&self, address: &ServiceId) -> bool {
        [self.descriptor, self.service].contains(address)
    }
}

/// The links that stand, and what they carry.
#[derive(Debug, Default)]
pub(super) struct Carriers {
    standing: BTreeMap<LinkName, Connection>,
    /// The Tors among them that have circuits. An instance with introduction points certainly has.
    able: BTreeSet<LinkName>,
    /// Whether any was, since the start.
    was_able: bool,
    /// Whose turn it is.
    turn: usize,
    uploads: BTreeMap<(LinkName, Fingerprint), Upload>,
    /// When an instance last built a descriptor of its own.
    built: BTreeMap<(LinkName, DescriptorId), Instant>,
    /// Uploads that this publisher did not ask for, by the address that Tor names with them.
    others: BTreeMap<(LinkName, Fingerprint, ServiceId), Others>,
}

impl Carriers {
    pub(super) fn up(&mut self, name: LinkName, connection: Connection) {
        self.standing.insert(name, connection);
    }

    /// Forgets a link, and returns what it carried as interrupted.
    pub(super) fn down(&mut self, name: &LinkName) -> Vec<Event> {
        self.standing.remove(name);
        self.able.remove(name);
        self.others.retain(|(link, ..), _| link != name);
        self.built.retain(|(link, _), _| link != name);
        let mut events = Vec::new();
        self.uploads.retain(|(link, _), upload| {
            if link == name {
                events.push(Event::UploadAnswered {
                    ticket: upload.ticket,
                    answer: UploadAnswer::Interrupted,
                });
            }
            link != name
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

    /// The Tor for try number `attempt`: the publisher's own if it has circuits and has not failed twice, else the instances
    /// that offer points, in turn. Every Tor keeps a few circuits ready, so six uploads through three Tors wait for fewer new
    /// ones than through one.
    pub(super) fn choose(&mut self, attempt: u32) -> Option<(LinkName, Connection)> {
        self.choose_among(attempt, |_, _| true)
    }

    /// The same, for an upload to this directory. `None` also if all are busy there; see [`is_busy`](Self::is_busy).
    pub(super) fn choose_for(&mut self, directory: Fingerprint, attempt: u32) -> Option<(LinkName, Connection)> {
        let now = Instant::now();
        self.uploads.retain(|_, upload| now < upload.until);
        self.choose_among(attempt, |carriers, name| {
            !carriers.on_their_way(directory).any(|link| link == name)
        })
    }

    /// Whether an upload is on its way to this directory.
    pub(super) fn is_busy(&self, directory: Fingerprint) -> bool {
        self.on_their_way(directory).next().is_some()
    }

    /// Who carries uploads to this directory, ours or others'.
    fn on_their_way(&self, directory: Fingerprint) -> impl Iterator<Item = &LinkName> {
        let now = Instant::now();
        let ours = self.uploads.keys().map(|(link, to)| (link, to));
        let others = self.others.iter().filter(move |(_, others)| now < others.until);
        let others = others.map(|((link, to, _), _)| (link, to));
        ours.chain(others)
            .filter(move |(_, to)| **to == directory)
            .map(|(link, _)| link)
    }

    fn choose_among(
        &mut self,
        attempt: u32,
        wanted: impl Fn(&Self, &LinkName) -> bool,
    ) -> Option<(LinkName, Connection)> {
        // What its link has not told yet, the connection may know.
        let able = self.able.iter().filter_map(|name| {
            let connection = self.standing.get(name)?;
            (!connection.is_closed() && wanted(self, name)).then_some((name, connection))
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

    /// Any link that stands, to read a consensus from.
    pub(super) fn standing(&self) -> impl Iterator<Item = (&LinkName, &Connection)> {
        self.standing.iter()
    }

    /// Whether nothing is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.uploads.is_empty()
    }

    pub(super) fn begin_upload(&mut self, link: LinkName, upload: &Outgoing, within: Duration) {
        let on_its_way = Upload {
            ticket: upload.ticket,
            descriptor_id: upload.descriptor_id,
            announced: false,
            until: Instant::now() + within,
        };
        self.uploads.insert((link, upload.slot.directory), on_its_way);
    }

    /// Ends an upload that Tor refused, or never announced.
    pub(super) fn fail_upload(&mut self, ticket: Ticket, why: String, unannounced_only: bool) -> Option<Event> {
        let key = self
            .uploads
            .iter()
            .find(|(_, upload)| upload.ticket == ticket && !(unannounced_only && upload.announced))
            .map(|(key, _)| key.clone())?;
        self.uploads.remove(&key);
        Some(Event::UploadAnswered {
            ticket,
            answer: UploadAnswer::Refused(why),
        })
    }

    /// What an `HS_DESC` event on a link means for the machine.
    pub(super) fn hs_desc(&mut self, link: &LinkName, names: &Addresses, event: &HsDesc) -> Option<Event> {
        let address = event.address().and_then(|address| address.parse().ok());
        let ours = address.filter(|address| names.contains(address));
        if address == Some(names.descriptor) && *event.action() == HsDescAction::Created {
            self.built.retain(|_, at| at.elapsed() < BUILT_JUST_BEFORE);
            self.built.insert((link.clone(), descriptor_id(event)?), Instant::now());
        }
        let directory = Fingerprint::from(event.hsdir()?.fingerprint());
        match event.action() {
            HsDescAction::Upload => self.announced(link, directory, ours?, descriptor_id(event)?),
            HsDescAction::Uploaded => self.upload_ended(link, directory, ours?, UploadAnswer::Accepted),
            // A failed upload names no descriptor ID, a failed fetch does.
            HsDescAction::Failed if event.descriptor_id().is_none() => {
                let why = format!("the directory refused it: {}", reason(event.reason()));
                let address = ours.or(event.address().is_none().then_some(names.descriptor))?;
                self.upload_ended(link, directory, address, UploadAnswer::Refused(why))
            }
            _ => None,
        }
    }

    /// `HS_DESC UPLOAD`: Tor announces our posts and its own uploads alike.
    fn announced(
        &mut self,
        link: &LinkName,
        directory: Fingerprint,
        address: ServiceId,
        descriptor_id: DescriptorId,
    ) -> Option<Event> {
        if let Some(upload) = self.uploads.get_mut(&(link.clone(), directory))
            && !upload.announced
            && upload.descriptor_id == descriptor_id
        {
            upload.announced = true;
            return None;
        }
        let LinkName::Instance(instance) = link else {
            return None;
        };
        let built = self.built.get(&(link.clone(), descriptor_id));
        let own = built.is_some_and(|at| at.elapsed() < BUILT_JUST_BEFORE);
        self.forget_unanswered_others();
        let others = self.others.entry((link.clone(), directory, address));
        let until = Instant::now() + OTHERS_WITHIN;
        let others = others.or_insert(Others { pending: 0, until });
        others.pending = others.pending.saturating_add(1);
        others.until = until;
        Some(Event::InstanceUploads {
            instance: instance.clone(),
            own,
            directory,
            descriptor_id,
        })
    }

    /// An upload to `directory` ended: ours or somebody else's. Where both are on their way, the first answer is taken for
    /// theirs; the audit that follows ours tells the truth.
    fn upload_ended(
        &mut self,
        link: &LinkName,
        directory: Fingerprint,
        address: ServiceId,
        answer: UploadAnswer,
    ) -> Option<Event> {
        self.forget_unanswered_others();
        let others = (link.clone(), directory, address);
        if let (Some(pending), LinkName::Instance(instance)) = (self.others.get_mut(&others), link) {
            pending.pending = pending.pending.saturating_sub(1);
            if pending.pending > 0 {
                return None;
            }
            self.others.remove(&others);
            return Some(Event::InstanceUploadEnded {
                instance: instance.clone(),
                directory,
            });
        }
        let upload = self.uploads.remove(&(link.clone(), directory))?;
        Some(Event::UploadAnswered {
            ticket: upload.ticket,
            answer,
        })
    }

    /// Of a directory that does not answer nothing is told: were its upload counted for ever, an answer to one of ours would one
    /// day be taken for it.
    fn forget_unanswered_others(&mut self) {
        let now = Instant::now();
        self.others.retain(|_, others| now < others.until);
    }
}

pub(super) fn reason(reason: Option<&HsDescReason>) -> String {
    reason.map_or("no reason given".into(), |reason| format!("{reason:?}"))
}

fn descriptor_id(event: &HsDesc) -> Option<DescriptorId> {
    event.descriptor_id()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use onionweave_control::{Credentials, Endpoint, Event as Told, Options};
    use onionweave_ring::v2::{Replica, TimePeriod};
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    const OFFER: &str = "250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n250-VERSION Tor=\"0.4.5.9\"\r\n250 OK\r\n";

    /// A connection to something that greets as Tor does and agrees to all else.
    async fn connection() -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string().parse::<Endpoint>().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            while stream.read_line(&mut line).await.unwrap() > 0 {
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

    fn outgoing(ticket: u64, directory: Fingerprint, replica: Replica) -> Outgoing {
        Outgoing {
            ticket: Ticket::new(ticket),
            slot: SlotId::new(TimePeriod::from(0), replica, directory),
            descriptor_id: onionweave_ring::v2::DescriptorId::from([replica.number(); 20]).into(),
            text: Arc::from(*b"text"),
            attempt: 0,
            asked: Instant::now(),
        }
    }

    #[tokio::test]
    async fn one_upload_at_a_time_goes_to_a_directory_through_a_tor() {
        let mut carriers = carriers(&["a", "b"]).await;
        let long = Duration::from_secs(1000);
        let (here, there) = (Fingerprint::from([1; 20]), Fingerprint::from([2; 20]));

        let (first, _) = carriers.choose_for(here, 0).unwrap();
        carriers.begin_upload(first.clone(), &outgoing(0, here, Replica::ALL[0]), long);
        let (second, _) = carriers.choose_for(here, 0).unwrap();
        assert_ne!(first, second, "the other Tor is free");
        carriers.begin_upload(second, &outgoing(1, here, Replica::ALL[1]), long);
        assert!(carriers.choose_for(here, 0).is_none() && carriers.is_busy(here));
        assert!(carriers.choose_for(there, 0).is_some() && !carriers.is_busy(there));

        // One is refused, and its Tor is free again.
        assert!(carriers.fail_upload(Ticket::new(0), "refused".into(), false).is_some());
        assert_eq!(carriers.choose_for(here, 0).unwrap().0, first);
    }

    /// Tor reports its own upload and ours in the same words.
    #[tokio::test]
    async fn answer_to_a_loud_instance_goes_through_another_tor() {
        let mut carriers = carriers(&["a", "b"]).await;
        let here = Fingerprint::from([1; 20]);
        let others = Others {
            pending: 1,
            until: Instant::now() + OTHERS_WITHIN,
        };
        let a = LinkName::Instance("a".parse().unwrap());
        carriers
            .others
            .insert((a.clone(), here, ServiceId::from([0; 10])), others);
        for _ in 0..3 {
            assert_ne!(carriers.choose_for(here, 0).unwrap().0, a);
        }
        assert!(carriers.is_busy(here));
        carriers.down(&LinkName::Instance("b".parse().unwrap()));
        assert!(carriers.choose_for(here, 0).is_none(), "ours waits");
        carriers.others.clear();
        assert_eq!(carriers.choose_for(here, 0).unwrap().0, a);
    }

    #[test]
    fn upload_of_others_that_nobody_answers_takes_no_later_answer() {
        let mut carriers = Carriers::default();
        let (a, here) = (LinkName::Instance("a".parse().unwrap()), Fingerprint::from([1; 20]));
        let service = ServiceId::from([0; 10]);
        let addresses = Addresses {
            descriptor: service,
            service,
        };
        let tell = |carriers: &mut Carriers, event: &str| {
            let line = format!("650 HS_DESC {event}\r\n");
            let Ok(Told::HsDesc(event)) = Told::parse(line.as_bytes()) else {
                panic!("{line}");
            };
            carriers.hs_desc(&a, &addresses, &event)
        };
        let theirs = format!(
            "UPLOAD {service} UNKNOWN ${here}~dir {}",
            onionweave_ring::v2::DescriptorId::from([7; 20])
        );
        let answered = format!("UPLOADED {service} UNKNOWN ${here}~dir");
        let give_up = |carriers: &mut Carriers| {
            for others in carriers.others.values_mut() {
                others.until = Instant::now();
            }
        };

        // Two of theirs, of which the first is never answered: the answer to the second ends what is known of them.
        assert!(tell(&mut carriers, &theirs).is_some());
        give_up(&mut carriers);
        assert!(tell(&mut carriers, &theirs).is_some());
        let ended = tell(&mut carriers, &answered);
        assert!(matches!(ended, Some(Event::InstanceUploadEnded { .. })), "{ended:?}");

        // One of theirs, never answered, and then one of ours.
        assert!(tell(&mut carriers, &theirs).is_some());
        give_up(&mut carriers);
        carriers.begin_upload(
            a.clone(),
            &outgoing(5, here, Replica::ALL[0]),
            Duration::from_secs(1000),
        );
        let ended = tell(&mut carriers, &answered);
        let ours = matches!(&ended, Some(Event::UploadAnswered { ticket, .. }) if *ticket == Ticket::new(5));
        assert!(ours, "{ended:?}");
    }

    #[tokio::test]
    async fn upload_without_an_answer_is_in_nobodys_way_once_it_is_given_up() {
        let mut carriers = carriers(&["a"]).await;
        let here = Fingerprint::from([1; 20]);
        let (name, _) = carriers.choose_for(here, 0).unwrap();
        carriers.begin_upload(name.clone(), &outgoing(0, here, Replica::ALL[0]), Duration::ZERO);
        assert_eq!(carriers.choose_for(here, 0).unwrap().0, name);
        assert!(!carriers.is_busy(here));
    }
}
