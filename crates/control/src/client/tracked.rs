//! Uploads and fetches that are followed until each directory has answered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::Connection;
use super::driver::{Follow, Tap, later};
use crate::{
    Command, Error, Event, EventKind, FetchOutcome, FetchTracker, HsFetch, HsPost, PostOutcome, UploadId, UploadNews,
    UploadTracker,
};

type Fingerprint = [u8; 20];

impl Connection {
    /// Uploads a descriptor and tells the outcome at each directory, those that have not answered
    /// `within` this time among them.
    ///
    /// Events that this needs are not shown in [`Events`](super::Events) unless asked for there.
    /// One upload at a time may be on its way for a service at a directory, ours or another's;
    /// until it is answered or its time is over, another is refused. Uploads of others come as
    /// [`Event::OtherUpload`](crate::Event::OtherUpload) to a reader of `HS_DESC` events.
    ///
    /// # Errors
    /// Before anything is uploaded: [`Error::UploadInFlight`], those of [`hs_post`](Self::hs_post),
    /// [`Error::Argument`] without a directory.
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
        let until = later(Instant::now(), within);
        let (reservation, answers) = self.uploads.begin(post, until)?;
        self.subscriptions.need(self, &[EventKind::HsDesc]).await?;
        self.follow(command, Follow::Upload(reservation)).await?;
        Ok(Answers {
            answers,
            unanswered: post.servers().to_vec(),
            until,
        })
    }

    /// Whether an upload for this service, or without an address for any, is on its way to this
    /// directory through this Tor, ours or another's: [`post`](Self::post) would be refused.
    ///
    /// Uploads of others are known while `HS_DESC` events are asked for, here or by
    /// [`post`](Self::post).
    pub fn is_uploading(&self, directory: Fingerprint, address: Option<&str>) -> bool {
        self.uploads.is_busy(directory, address)
    }

    /// Fetches a descriptor and tells the outcome at each directory, those that have not answered
    /// `within` this time among them.
    ///
    /// Events that this needs are not shown in [`Events`](super::Events) unless asked for there.
    ///
    /// # Errors
    /// Before anything is fetched: those of [`hs_fetch`](Self::hs_fetch), [`Error::Argument`]
    /// without a directory.
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
        let until = later(Instant::now(), within);
        self.subscriptions
            .need(self, &[EventKind::HsDesc, EventKind::HsDescContent])
            .await?;
        let (sender, answers) = mpsc::unbounded_channel();
        let mut left = directories.len();
        let tap = Tap {
            until,
            // At most one answer for each directory is sent, so the channel is bounded by their
            // number.
            observe: Box::new(move |event| {
                if let Some(settled) = tracker.observe(event) {
                    left -= 1;
                    let _ = sender.send(settled);
                }
                left > 0
            }),
        };
        self.follow(command, Follow::Tap(tap)).await?;
        Ok(Answers {
            answers,
            unanswered: directories,
            until,
        })
    }

    /// Sends a command whose positive reply only says that Tor began.
    async fn follow(&self, command: Command, follow: Follow) -> Result<(), Error> {
        let name = command.name().to_owned();
        let reply = self.send_with(command, self.command_deadline, Some(follow)).await?;
        let reply = reply.into_result(&name)?;
        self.close_unless_expected(reply.into_ok(&name))
    }
}

/// Outcomes of an upload or a fetch at each directory, as they come.
///
/// Dropping it changes nothing for Tor.
#[derive(Debug)]
pub struct Answers<O> {
    answers: mpsc::UnboundedReceiver<(Fingerprint, O)>,
    unanswered: Vec<Fingerprint>,
    until: Instant,
}

impl<O: Default> Answers<O> {
    /// The next directory that is settled, by its fingerprint; `None` when all are. At the
    /// deadline, or when the connection is closed, those without an answer come at once.
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

/// The uploads that are on their way on a connection, and their callers.
#[derive(Clone, Debug)]
pub(super) struct Uploads {
    /// The tracker's time counts from here.
    started: Instant,
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    tracker: UploadTracker,
    /// At most one answer for each directory is sent, so each channel is bounded by their number.
    /// It goes on when nobody receives: an upload is on its way all the same.
    callers: BTreeMap<UploadId, mpsc::UnboundedSender<(Fingerprint, PostOutcome)>>,
    /// Whether the connection has ended, so that no answer will come.
    ended: bool,
}

impl Uploads {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            table: Arc::default(),
        }
    }

    /// Notes an upload to all its directories, unless one is busy.
    fn begin(
        &self,
        post: &HsPost,
        until: Instant,
    ) -> Result<(Reservation, mpsc::UnboundedReceiver<(Fingerprint, PostOutcome)>), Error> {
        let mut table = self.lock();
        let id = table.tracker.begin(post, until - self.started, self.now())?;
        let (sender, answers) = mpsc::unbounded_channel();
        if !table.ended {
            table.callers.insert(id, sender);
        }
        let uploads = self.clone();
        Ok((
            Reservation {
                uploads,
                id,
                is_accepted: false,
            },
            answers,
        ))
    }

    fn is_busy(&self, directory: Fingerprint, address: Option<&str>) -> bool {
        self.lock().tracker.is_busy(directory, address, self.now())
    }

    /// Takes an event, and returns the news of others' uploads in it.
    pub(super) fn observe(&self, event: &Event) -> Option<Event> {
        let mut table = self.lock();
        let news = table.tracker.observe(event, self.now());
        news.and_then(|news| table.tell(news))
    }

    /// Gives up what is over, and returns the news of others' uploads.
    pub(super) fn expire(&self) -> Vec<Event> {
        let mut table = self.lock();
        let news = table.tracker.expire(self.now());
        news.into_iter().filter_map(|news| table.tell(news)).collect()
    }

    /// The moment at which [`expire`](Self::expire) has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let deadline = self.lock().tracker.next_deadline()?;
        Some(later(self.started, deadline))
    }

    /// Tells all callers that no answer will come.
    pub(super) fn end(&self) {
        let mut table = self.lock();
        table.ended = true;
        table.callers.clear();
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Every change is complete before anything could panic.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn tell(&mut self, news: UploadNews) -> Option<Event> {
        match news {
            UploadNews::Settled { id, directory, outcome } => {
                if let Some(caller) = self.callers.get(&id) {
                    let _ = caller.send((directory, outcome));
                }
                if self.tracker.waiting(id).next().is_none() {
                    self.callers.remove(&id);
                }
                None
            }
            UploadNews::Announced { .. } => None,
            UploadNews::Other(other) => Some(Event::OtherUpload(other)),
        }
    }
}

/// An upload that Tor has not accepted. Dropping it cancels the upload.
#[derive(Debug)]
pub(super) struct Reservation {
    uploads: Uploads,
    id: UploadId,
    is_accepted: bool,
}

impl Reservation {
    /// Tor accepted it: it is on its way, whatever its caller does.
    pub(super) fn accepted(mut self) {
        self.is_accepted = true;
        let now = self.uploads.now();
        self.uploads.lock().tracker.accepted(self.id, now);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.is_accepted {
            return;
        }
        let mut table = self.uploads.lock();
        table.tracker.cancel(self.id);
        table.callers.remove(&self.id);
    }
}
