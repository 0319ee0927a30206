//! Uploads and fetches that are followed until each directory has answered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use data_encoding::HEXUPPER;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::Connection;
use super::driver::Tap;
use crate::track::{FetchTracker, PostTracker};
use crate::{Command, Error, Event, EventKind, FetchOutcome, HsFetch, HsPost, PostOutcome};

type Fingerprint = [u8; 20];

impl Connection {
    /// Uploads a descriptor and tells what became of it at each directory, those that have not answered `within` this
    /// time among them.
    ///
    /// Events that this needs are not shown in [`Events`](super::Events) unless asked for there. One upload at a time
    /// may be on its way for a service at a directory; until it is answered or its time is over, another is refused.
    ///
    /// # Errors
    /// Before anything is uploaded: [`Error::UploadInFlight`], those of [`hs_post`](Self::hs_post), [`Error::Argument`]
    /// without a directory.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use onionweave_control::{Connection, HsPost, PostOutcome};
    ///
    /// # async fn example(tor: Connection, text: String) -> Result<(), onionweave_control::Error> {
    /// let post = HsPost::v2("6r7x5o465oo27s35", text)?.server([1; 20]).server([2; 20]);
    /// let mut answers = tor.post(&post, Duration::from_secs(10)).await?;
    /// while let Some((directory, outcome)) = answers.next().await {
    ///     println!("{directory:02X?}: {}", outcome == PostOutcome::Uploaded);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn post(&self, post: &HsPost, within: Duration) -> Result<Answers<PostOutcome>, Error> {
        let command = post.command()?;
        let until = later(within);
        let mut reservations = self.uploads.reserve(post, until)?;
        self.subscriptions.need(self, &[EventKind::HsDesc]).await?;
        let mut tracker = PostTracker::new(post);
        let observe = move |event: &Event| {
            let settled = tracker.observe(event)?;
            reservations.remove(&settled.0);
            Some(settled)
        };
        self.track(command, post.servers(), until, observe).await
    }

    /// Fetches a descriptor and tells what became of it at each directory, those that have not answered `within` this
    /// time among them.
    ///
    /// Events that this needs are not shown in [`Events`](super::Events) unless asked for there.
    ///
    /// # Errors
    /// Before anything is fetched: those of [`hs_fetch`](Self::hs_fetch), [`Error::Argument`] without a directory.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use onionweave_control::{Connection, FetchOutcome, HsFetch};
    ///
    /// # async fn example(tor: Connection) -> Result<(), onionweave_control::Error> {
    /// let fetch = HsFetch::v2_descriptor("lhrcprndbm75osvtwkzuo5pdj7666cz7")?.server([1; 20]).server([2; 20]);
    /// let found = tor.fetch(&fetch, Duration::from_secs(10)).await?.all().await;
    /// let held = found.values().filter(|outcome| matches!(outcome, FetchOutcome::Received(_)));
    /// println!("{} of {} directories hold it", held.count(), found.len());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn fetch(&self, fetch: &HsFetch, within: Duration) -> Result<Answers<FetchOutcome>, Error> {
        let mut tracker = FetchTracker::new(fetch)?;
        let directories: Vec<_> = tracker.waiting().collect();
        let command = Command::hs_fetch(fetch)?;
        let until = later(within);
        self.subscriptions
            .need(self, &[EventKind::HsDesc, EventKind::HsDescContent])
            .await?;
        self.track(command, &directories, until, move |event| tracker.observe(event))
            .await
    }

    async fn track<O: Send + 'static>(
        &self,
        command: Command,
        directories: &[Fingerprint],
        until: Instant,
        mut observe: impl FnMut(&Event) -> Option<(Fingerprint, O)> + Send + Sync + 'static,
    ) -> Result<Answers<O>, Error> {
        let (sender, answers) = mpsc::unbounded_channel();
        let mut left = directories.len();
        let tap = Tap {
            until,
            // At most one answer for each directory is sent, so the channel is bounded by their number. It goes on
            // when nobody receives: an upload is on its way all the same.
            observe: Box::new(move |event| {
                if let Some(settled) = observe(event) {
                    left -= 1;
                    let _ = sender.send(settled);
                }
                left > 0
            }),
        };
        let name = command.name().to_owned();
        let reply = self.send_with(command, self.command_deadline, Some(tap)).await?;
        let reply = reply.into_result(&name)?;
        self.close_unless_expected(reply.into_ok(&name))?;
        Ok(Answers {
            answers,
            unanswered: directories.to_vec(),
            until,
        })
    }
}

fn later(within: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(within)
        .unwrap_or_else(|| now + Duration::from_secs(86400 * 365))
}

/// What became of an upload or a fetch at each directory, as it comes.
///
/// Dropping it changes nothing for Tor.
#[derive(Debug)]
pub struct Answers<O> {
    answers: mpsc::UnboundedReceiver<(Fingerprint, O)>,
    unanswered: Vec<Fingerprint>,
    until: Instant,
}

impl<O: Default> Answers<O> {
    /// The next directory that is settled, by its fingerprint; `None` when all are. At the deadline, or when the
    /// connection is closed, those without an answer come at once.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<(Fingerprint, O)> {
        if self.unanswered.is_empty() {
            return None;
        }
        // What is there already comes first, also after the deadline.
        if let Ok(Some((directory, outcome))) = timeout_at(self.until, self.answers.recv()).await {
            self.unanswered.retain(|waiting| *waiting != directory);
            return Some((directory, outcome));
        }
        Some((self.unanswered.remove(0), O::default()))
    }

    /// All of them, by the directories' fingerprints.
    pub async fn all(mut self) -> BTreeMap<Fingerprint, O> {
        let mut all = BTreeMap::new();
        while let Some((directory, outcome)) = self.next().await {
            all.insert(directory, outcome);
        }
        all
    }

    /// The directories that are not settled.
    pub fn unanswered(&self) -> &[Fingerprint] {
        &self.unanswered
    }
}

/// The uploads that are on their way on a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Uploads(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    uploads: Vec<Upload>,
    /// How many there have been.
    count: u64,
}

#[derive(Debug)]
struct Upload {
    directory: Fingerprint,
    /// `None` for any service.
    address: Option<String>,
    until: Instant,
    /// No two have the same.
    number: u64,
}

impl Uploads {
    /// Notes an upload to all its directories, unless one conflicts.
    fn reserve(&self, post: &HsPost, until: Instant) -> Result<BTreeMap<Fingerprint, Reservation>, Error> {
        let mut table = self.lock();
        let now = Instant::now();
        table.uploads.retain(|upload| upload.until > now);
        let conflict = table.uploads.iter().find(|upload| {
            let same = match (&upload.address, post.address()) {
                (Some(one), Some(other)) => one == other,
                _ => true,
            };
            same && post.servers().contains(&upload.directory)
        });
        if let Some(upload) = conflict {
            return Err(Error::UploadInFlight {
                directory: HEXUPPER.encode(&upload.directory),
            });
        }
        let mut reservations = BTreeMap::new();
        for directory in post.servers() {
            table.count += 1;
            let number = table.count;
            table.uploads.push(Upload {
                directory: *directory,
                address: post.address().map(str::to_owned),
                until,
                number,
            });
            let uploads = self.clone();
            reservations.insert(*directory, Reservation { uploads, number });
        }
        Ok(reservations)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Every change is complete before anything could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An upload to one directory, over when dropped.
#[derive(Debug)]
struct Reservation {
    uploads: Uploads,
    number: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.uploads
            .lock()
            .uploads
            .retain(|upload| upload.number != self.number);
    }
}
