//! Conversions between what passes and its form in a trace.

use std::sync::Arc;

use onionweave_assign::Load;
use onionweave_ring::{Directories, HashRing};

use super::{Answer, Asked, Configuration, Instance, Seen, Told, lossy};
use crate::{Action, Down, Event, Found, InstanceSettings, NamedTwice, Report, Settings, Source, Ticket, UploadAnswer};

impl From<&Settings> for Configuration {
    fn from(settings: &Settings) -> Self {
        let instance = |instance: &InstanceSettings| Instance {
            name: instance.name.clone(),
            address: instance.address,
            file: instance.source == Source::File,
            directories: match instance.source {
                Source::Directories { every } => Some(every),
                _ => None,
            },
        };
        Self {
            instances: settings.instances().iter().map(instance).collect(),
            serving: settings.serving,
            answer_within: settings.answer_within,
        }
    }
}

/// The settings, with the defaults for all that a trace does not have.
impl TryFrom<&Configuration> for Settings {
    type Error = NamedTwice;

    fn try_from(configuration: &Configuration) -> Result<Self, NamedTwice> {
        let instance = |known: &Instance| {
            let mut instance = InstanceSettings::new(known.name.clone());
            instance.address = known.address;
            instance.source = match known.directories {
                Some(every) => Source::Directories { every },
                None if known.file => Source::File,
                None => Source::Control,
            };
            instance
        };
        let instances = configuration.instances.iter().map(instance).collect();
        let mut settings = Self::new(instances)?;
        settings.serving = configuration.serving;
        settings.answer_within = configuration.answer_within;
        Ok(settings)
    }
}

impl From<&Event> for Told {
    fn from(event: &Event) -> Self {
        match event {
            Event::Directories(directories) => Self::Directories(directories.hash_ring().iter().collect()),
            Event::InstanceUp { instance } => Self::Up {
                instance: instance.clone(),
            },
            Event::InstanceDown { instance, why } => Self::Down {
                instance: instance.clone(),
                why: why.to_string(),
            },
            Event::InstanceOffers {
                instance,
                text,
                rebuilt,
            } => Self::Offers {
                instance: instance.clone(),
                text: lossy(text),
                rebuilt: *rebuilt,
            },
            Event::InstanceOffersNothing { instance } => Self::OffersNothing {
                instance: instance.clone(),
            },
            Event::InstanceRefuses { instance, why } => Self::Refuses {
                instance: instance.clone(),
                why: why.clone(),
            },
            Event::InstanceUnfit { instance, why } => Self::Unfit {
                instance: instance.clone(),
                why: why.clone(),
            },
            Event::InstanceFit { instance } => Self::Fit {
                instance: instance.clone(),
            },
            Event::InstanceLoad { instance, load } => Self::Load {
                instance: instance.clone(),
                load: load.map(Load::as_f64),
            },
            Event::InstanceUploads {
                instance,
                own,
                directory,
                descriptor_id,
            } => Self::Uploads {
                instance: instance.clone(),
                own: *own,
                directory: *directory,
                descriptor_id: *descriptor_id,
            },
            Event::InstanceUploadEnded { instance, directory } => Self::UploadEnded {
                instance: instance.clone(),
                directory: *directory,
            },
            Event::UploadAnswered { ticket, answer } => Self::Answered {
                ticket: ticket.0,
                answer: match answer {
                    UploadAnswer::Accepted => Answer::Accepted,
                    UploadAnswer::Refused(why) => Answer::Refused(why.clone()),
                    UploadAnswer::Interrupted => Answer::Interrupted,
                },
            },
            Event::Audited { ticket, found } => Self::Audited {
                ticket: ticket.0,
                found: found.into(),
            },
            Event::Read { ticket, found } => Self::Read {
                ticket: ticket.0,
                found: found.into(),
            },
            Event::Configured(settings) => Self::Configured(settings.into()),
        }
    }
}

/// The event, with the reason of an instance's end as text.
impl TryFrom<&Told> for Event {
    type Error = NamedTwice;

    fn try_from(told: &Told) -> Result<Self, NamedTwice> {
        Ok(match told {
            Told::Directories(relays) => {
                let ring = HashRing::new(relays.iter().copied());
                Self::Directories(Arc::new(Directories::from(ring)))
            }
            Told::Up { instance } => Self::InstanceUp {
                instance: instance.clone(),
            },
            Told::Down { instance, why } => Self::InstanceDown {
                instance: instance.clone(),
                why: Down::Lost(why.clone()),
            },
            Told::Offers {
                instance,
                text,
                rebuilt,
            } => Self::InstanceOffers {
                instance: instance.clone(),
                text: text.clone().into_bytes(),
                rebuilt: *rebuilt,
            },
            Told::OffersNothing { instance } => Self::InstanceOffersNothing {
                instance: instance.clone(),
            },
            Told::Refuses { instance, why } => Self::InstanceRefuses {
                instance: instance.clone(),
                why: why.clone(),
            },
            Told::Unfit { instance, why } => Self::InstanceUnfit {
                instance: instance.clone(),
                why: why.clone(),
            },
            Told::Fit { instance } => Self::InstanceFit {
                instance: instance.clone(),
            },
            Told::Load { instance, load } => Self::InstanceLoad {
                instance: instance.clone(),
                load: load.and_then(|load| Load::new(load).ok()),
            },
            Told::Uploads {
                instance,
                own,
                directory,
                descriptor_id,
            } => Self::InstanceUploads {
                instance: instance.clone(),
                own: *own,
                directory: *directory,
                descriptor_id: *descriptor_id,
            },
            Told::UploadEnded { instance, directory } => Self::InstanceUploadEnded {
                instance: instance.clone(),
                directory: *directory,
            },
            Told::Answered { ticket, answer } => Self::UploadAnswered {
                ticket: Ticket(*ticket),
                answer: match answer {
                    Answer::Accepted => UploadAnswer::Accepted,
                    Answer::Refused(why) => UploadAnswer::Refused(why.clone()),
                    Answer::Interrupted => UploadAnswer::Interrupted,
                },
            },
            Told::Audited { ticket, found } => Self::Audited {
                ticket: Ticket(*ticket),
                found: found.into(),
            },
            Told::Read { ticket, found } => Self::Read {
                ticket: Ticket(*ticket),
                found: found.into(),
            },
            Told::Configured(settings) => Self::Configured(settings.try_into()?),
        })
    }
}

impl From<&Found> for Seen {
    fn from(found: &Found) -> Self {
        match found {
            Found::Text(text) => Self::Text(lossy(text)),
            Found::Nothing => Self::Nothing,
            Found::Unusable(why) => Self::Unusable(why.clone()),
            Found::Failed(why) => Self::Failed(why.clone()),
            Found::Interrupted => Self::Interrupted,
        }
    }
}

impl From<&Seen> for Found {
    fn from(seen: &Seen) -> Self {
        match seen {
            Seen::Text(text) => Self::Text(text.clone().into_bytes()),
            Seen::Nothing => Self::Nothing,
            Seen::Unusable(why) => Self::Unusable(why.clone()),
            Seen::Failed(why) => Self::Failed(why.clone()),
            Seen::Interrupted => Self::Interrupted,
        }
    }
}

impl From<&Action> for Asked {
    fn from(action: &Action) -> Self {
        match action {
            Action::Upload {
                ticket,
                slot,
                descriptor_id,
                text,
                attempt,
            } => Self::Upload {
                ticket: ticket.0,
                slot: *slot,
                descriptor_id: *descriptor_id,
                text: lossy(text),
                attempt: *attempt,
            },
            Action::Audit {
                ticket,
                slot,
                descriptor_id,
                attempt,
            } => Self::Audit {
                ticket: ticket.0,
                slot: *slot,
                descriptor_id: *descriptor_id,
                attempt: *attempt,
            },
            Action::Read {
                ticket,
                directory,
                descriptor_id,
                attempt,
            } => Self::Read {
                ticket: ticket.0,
                directory: *directory,
                descriptor_id: *descriptor_id,
                attempt: *attempt,
            },
            Action::Restart { instance } => Self::Restart {
                instance: instance.clone(),
            },
            Action::Report(Report::DatedAhead { slot, until }) => Self::DatedAhead {
                slot: *slot,
                until: *until,
            },
            Action::Report(Report::Offers(instance, points)) => Self::Offers {
                instance: instance.clone(),
                points: *points,
            },
            Action::Report(report) => Self::Report(report.to_string()),
        }
    }
}

impl Asked {
    /// The action; `None` for a report of which the trace has the line alone.
    pub fn action(&self) -> Option<Action> {
        Some(match self {
            Self::Upload {
                ticket,
                slot,
                descriptor_id,
                text,
                attempt,
            } => Action::Upload {
                ticket: Ticket(*ticket),
                slot: *slot,
                descriptor_id: *descriptor_id,
                text: text.as_bytes().into(),
                attempt: *attempt,
            },
            Self::Audit {
                ticket,
                slot,
                descriptor_id,
                attempt,
            } => Action::Audit {
                ticket: Ticket(*ticket),
                slot: *slot,
                descriptor_id: *descriptor_id,
                attempt: *attempt,
            },
            Self::Read {
                ticket,
                directory,
                descriptor_id,
                attempt,
            } => Action::Read {
                ticket: Ticket(*ticket),
                directory: *directory,
                descriptor_id: *descriptor_id,
                attempt: *attempt,
            },
            Self::Restart { instance } => Action::Restart {
                instance: instance.clone(),
            },
            Self::DatedAhead { slot, until } => Action::Report(Report::DatedAhead {
                slot: *slot,
                until: *until,
            }),
            Self::Offers { instance, points } => Action::Report(Report::Offers(instance.clone(), *points)),
            Self::Report(_) => return None,
        })
    }
}
