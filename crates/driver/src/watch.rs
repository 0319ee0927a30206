//! An instance, watched through the file into which its descriptor is written.
//!
//! That is the thesis's own way (5.1.2, 5.1.3): there a patched Tor writes the file right before it
//! publishes. Here anything may write it that gets at the descriptor, in any manner: renamed into
//! place, or truncated and written, one descriptor or those of both replicas.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use onionweave_desc::v2::UnverifiedDescriptor;
use onionweave_publish::{Down, Event, InstanceName};
use onionweave_ring::v2::ServiceId;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::teller::Teller;

mod folders;

pub(super) use folders::Folders;
use folders::Subscription;

/// Time between two looks at a file whose changes are not announced.
const UNANNOUNCED_POLL: Duration = Duration::from_secs(1);
/// A file that holds no whole descriptor may be half-written: it is read again after these pauses
/// before that is believed.
const READ_AGAIN_AFTER: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
];
/// Descriptors of both replicas in two time periods, of 20 KiB at most (`REND_DESC_MAX_SIZE`), and
/// as many again.
const LONGEST_FILE: u64 = 8 * 20 * 1024;

/// A file to be watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WatchSettings {
    pub(super) file: PathBuf,
    pub(super) poll: Duration,
    /// The instance's own address; `None` for that of the machine.
    pub(super) address: Option<ServiceId>,
}

/// Watches one file, until the receiver is gone.
pub(super) struct Watch {
    pub(super) instance: InstanceName,
    /// Service whose descriptors count, unless the instance has an address of its own.
    pub(super) service: ServiceId,
    pub(super) settings: WatchSettings,
    pub(super) folders: Folders,
    pub(super) tell: Teller,
}

/// Content that the file was found to have.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    /// A descriptor of the service, or if there is none, whatever there is.
    Text(Vec<u8>),
    /// There is no file, or it is empty.
    Nothing,
    /// The file cannot be read, for this reason.
    Unreadable(String),
}

impl Watch {
    pub(super) async fn run(self) {
        let mut told: Option<Found> = None;
        let subscription = self.folders.subscribe(&self.settings.file);
        loop {
            // Armed before the file is read, so that no change falls between the two.
            let announced = subscription.arm().await;
            let found = self.look().await;
            if told.as_ref() != Some(&found) {
                for event in self.events(told.as_ref(), &found) {
                    if self.tell.tell(event).await.is_err() {
                        return;
                    }
                }
                told = Some(found);
            }
            self.wait(&subscription, announced).await;
        }
    }

    async fn wait(&self, subscription: &Subscription, announced: bool) {
        let poll = self.settings.poll;
        if announced {
            tokio::select! {
                () = subscription.changed() => {}
                () = sleep(poll) => {}
            }
        } else {
            sleep(poll.min(UNANNOUNCED_POLL)).await;
        }
    }

    /// Reads the file, again and again while it looks half-written.
    async fn look(&self) -> Found {
        for pause in READ_AGAIN_AFTER {
            let (found, whole) = self.read().await;
            if whole {
                return found;
            }
            sleep(pause).await;
        }
        self.read().await.0
    }

    /// Reads the file, and judges whether it is as it should be.
    async fn read(&self) -> (Found, bool) {
        let path = self.settings.file.clone();
        match spawn_blocking(move || read_file(&path)).await {
            Ok(Ok(bytes)) => pick(bytes, &self.settings.address.unwrap_or(self.service)),
            Ok(Err(why)) => (Found::Unreadable(why), true),
            // The runtime is going down.
            Err(error) => (Found::Unreadable(error.to_string()), true),
        }
    }

    fn events(&self, told: Option<&Found>, found: &Found) -> Vec<Event> {
        let instance = self.instance.clone();
        let was_up = matches!(told, Some(Found::Text(_) | Found::Nothing));
        let now = match found {
            Found::Text(text) => Event::InstanceOffers {
                instance,
                text: text.clone(),
                // Written anew is built anew: Tor writes none that it did not build.
                rebuilt: matches!(told, Some(Found::Text(_))),
            },
            Found::Nothing => Event::InstanceOffersNothing { instance },
            Found::Unreadable(why) => {
                let why = Down::Refused(why.clone());
                return vec![Event::InstanceDown { instance, why }];
            }
        };
        let up = (!was_up).then(|| Event::InstanceUp {
            instance: self.instance.clone(),
        });
        up.into_iter().chain([now]).collect()
    }
}

/// The bytes of a file; none if there is no file.
fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let wrong = |error: std::io::Error| format!("{}: {error}", path.display());
    let regular = |metadata: &Metadata| match metadata.is_file() {
        true => Ok(()),
        false => Err(format!("{}: is no regular file", path.display())),
    };
    // Before it is opened: a pipe that nobody writes to would keep us there.
    let file = match path.metadata() {
        Ok(metadata) => {
            regular(&metadata)?;
            File::open(path)
        }
        Err(error) => Err(error),
    };
    let file = match file {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(wrong(error)),
    };
    let mut bytes = Vec::new();
    file.take(LONGEST_FILE + 1).read_to_end(&mut bytes).map_err(wrong)?;
    if bytes.len() as u64 > LONGEST_FILE {
        return Err(format!(
            "{}: is longer than {LONGEST_FILE} bytes, so it holds more than one instance's descriptors",
            path.display()
        ));
    }
    Ok(bytes)
}

/// The newest descriptor of the service, of equal ones the last; and whether the file held nothing
/// else but descriptors.
fn pick(bytes: Vec<u8>, service: &ServiceId) -> (Found, bool) {
    let mut rest = bytes.trim_ascii_start();
    if rest.is_empty() {
        // Perhaps just truncated, or unlinked before the new one is there.
        return (Found::Nothing, false);
    }
    let mut newest: Option<(_, Vec<u8>)> = None;
    while !rest.is_empty() {
        let Ok((descriptor, after)) = UnverifiedDescriptor::parse_prefix(rest) else {
            break;
        };
        rest = after.trim_ascii_start();
        let Ok(descriptor) = descriptor.verify() else {
            break;
        };
        let time = descriptor.publication_time();
        if descriptor.service_id() == *service && newest.as_ref().is_none_or(|(other, _)| *other <= time) {
            newest = Some((time, descriptor.text().to_vec()));
        }
    }
    let whole = rest.is_empty() && newest.is_some();
    // Without one the machine is given what there is, and says what is wrong with it.
    let text = newest.map_or(bytes, |(_, text)| text);
    (Found::Text(text), whole)
}

#[cfg(test)]
mod tests;
