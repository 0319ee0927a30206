//! Who carries uploads and fetches, and which uploads are still to be answered.
//!
//! Tor answers a post by events that name neither the request nor the descriptor ID, and reports uploads of its own in the same words.
//! So this keeps, for each link, what is on its way to which directory, whoever sent it. The machine sees to it that at most one upload
//! of ours is on its way to a directory. ([`Connection::post`] would do for a Tor that does not run the service itself.)

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use onionweave_control::{Connection, HsDesc, HsDescAction, HsDescReason};
use onionweave_ring::Fingerprint;
use onionweave_ring::v2::{DescriptorId, ServiceId};

use super::link::LinkName;
use crate::{Event, SlotId, Ticket, UploadAnswer};

/// Tor announces that it built a descriptor and that it uploads it in the same moment.
const BUILT_JUST_BEFORE: Duration = Duration::from_secs(1);

/// An upload on its way.
#[derive(Clone, Copy, Debug)]
struct Upload {
    ticket: Ticket,
    descriptor_id: DescriptorId,
    /// Whether Tor announced it (`HS_DESC UPLOAD`).
    announced: bool,
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
    /// Whose turn it is.
    turn: usize,
    uploads: BTreeMap<(LinkName, Fingerprint), Upload>,
    /// When an instance last built a descriptor of its own.
    built: BTreeMap<(LinkName, DescriptorId), Instant>,
    /// Uploads that this publisher did not ask for, by the address that Tor names with them.
    others: BTreeMap<(LinkName, Fingerprint, ServiceId), u32>,
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
        }
    }

    /// The Tor for try number `attempt`: the publisher's own if it has circuits and has not failed twice, else the instances
    /// that offer points, in turn. Every Tor keeps a few circuits ready, so six uploads through three Tors wait for fewer new
    /// ones than through one.
    pub(super) fn choose(&mut self, attempt: u32) -> Option<(LinkName, Connection)> {
        // What its link has not told yet, the connection may know.
        let able = self.able.iter().filter_map(|name| {
            let connection = self.standing.get(name)?;
            (!connection.is_closed()).then_some((name, connection))
        });
        let own = able.clone().find(|(name, _)| **name == LinkName::Own);
        let mut instances = able.filter(|(name, _)| **name != LinkName::Own);
        let count = instances.clone().count();
        let (name, connection) = match own {
            Some(own) if attempt < 2 || count == 0 => own,
            _ => {
                self.turn = self.turn.wrapping_add(1);
                instances.nth(self.turn.checked_rem(count)?)?
            }
        };
        Some((name.clone(), connection.clone()))
    }

    /// Any link that stands, to read a consensus from.
    pub(super) fn standing(&self) -> impl Iterator<Item = (&LinkName, &Connection)> {
        self.standing.iter()
    }

    /// Whether nothing is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.uploads.is_empty()
    }

    pub(super) fn begin_upload(&mut self, link: LinkName, slot: SlotId, descriptor_id: DescriptorId, ticket: Ticket) {
        let upload = Upload {
            ticket,
            descriptor_id,
            announced: false,
        };
        self.uploads.insert((link, slot.directory), upload);
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
        let pending = self.others.entry((link.clone(), directory, address)).or_default();
        *pending = pending.saturating_add(1);
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
        let others = (link.clone(), directory, address);
        if let (Some(pending), LinkName::Instance(instance)) = (self.others.get_mut(&others), link) {
            *pending -= 1;
            if *pending > 0 {
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
}

pub(super) fn reason(reason: Option<&HsDescReason>) -> String {
    reason.map_or("no reason given".into(), |reason| format!("{reason:?}"))
}

fn descriptor_id(event: &HsDesc) -> Option<DescriptorId> {
    event.descriptor_id()?.parse().ok()
}
