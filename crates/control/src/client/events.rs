//! The queue of events between the task that owns the socket and their reader.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::{Event, EventKind, Gap};

/// Receives what Tor reports on one connection, in order.
///
/// [`Connection::set_events`](super::Connection::set_events) chooses which events come; none do at
/// first.
///
/// It is a [`Stream`](futures_core::Stream), so it takes the combinators of `futures` and
/// `tokio-stream`.
#[derive(Debug)]
pub struct Events {
    shared: Arc<Shared>,
}

impl Events {
    /// The next event; `None` when the connection is closed and all events before that have been
    /// received.
    ///
    /// Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<Event> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut queue = self.shared.lock();
        match queue.pop() {
            Some(event) => Poll::Ready(Some(event)),
            None if queue.ended => Poll::Ready(None),
            None => {
                queue.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The next event if one is waiting already.
    pub fn try_recv(&mut self) -> Option<Event> {
        self.shared.lock().pop()
    }
}

impl futures_core::Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.get_mut().poll_recv(context)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.reader_gone = true;
        queue.waiting = VecDeque::new();
    }
}

/// The writing end. Never waits. The queue ends when the last clone is dropped.
#[derive(Clone, Debug)]
pub(super) struct EventSender {
    end: Arc<End>,
}

impl EventSender {
    /// Adds an event, or counts it as lost when the queue is full.
    pub(super) fn push(&self, event: Event, weight: usize) {
        self.shared().change(|queue| queue.push(event, weight));
    }

    /// Adds a gap, which is never lost.
    pub(super) fn push_gap(&self, gap: Gap) {
        self.shared().change(|queue| queue.push_gap(gap));
    }

    /// Decides what the reader gets to see, without keeping the queue from ending.
    pub(super) fn veil(&self) -> Veil {
        Veil {
            shared: Arc::clone(&self.end.shared),
        }
    }

    fn shared(&self) -> &Shared {
        &self.end.shared
    }
}

/// Decides what the reader gets to see.
#[derive(Debug)]
pub(super) struct Veil {
    shared: Arc<Shared>,
}

impl Veil {
    /// Keeps events from the reader that were asked for on behalf of others.
    pub(super) fn hide(&self, hidden: &[EventKind]) {
        self.shared.lock().hidden = hidden.to_vec();
    }
}

/// Tells the reader that nothing more will come.
#[derive(Debug)]
struct End {
    shared: Arc<Shared>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.shared.change(|queue| queue.ended = true);
    }
}

/// A queue for at most `max_events` events of about `max_bytes` together.
pub(super) fn queue(max_events: usize, max_bytes: usize) -> (EventSender, Events) {
    let queue = Queue {
        waiting: VecDeque::new(),
        weight: 0,
        lost: 0,
        ended: false,
        reader_gone: false,
        reader: None,
        hidden: Vec::new(),
        max_events,
        max_bytes,
    };
    let shared = Arc::new(Shared {
        queue: Mutex::new(queue),
    });
    (
        EventSender {
            end: Arc::new(End {
                shared: Arc::clone(&shared),
            }),
        },
        Events { shared },
    )
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
}

impl Shared {
    /// Changes the queue, and wakes the reader after that.
    fn change(&self, change: impl FnOnce(&mut Queue)) {
        let mut queue = self.lock();
        change(&mut queue);
        let reader = queue.reader.take();
        drop(queue);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Every change of the queue is complete before anything in it could panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Queue {
    waiting: VecDeque<(Event, usize)>,
    /// The sum of the weights in `waiting`.
    weight: usize,
    /// Number of events that were lost after the last of `waiting`.
    lost: u64,
    ended: bool,
    reader_gone: bool,
    /// The one reader, if it waits.
    reader: Option<Waker>,
    /// Kinds that the reader did not ask for.
    hidden: Vec<EventKind>,
    max_events: usize,
    max_bytes: usize,
}

impl Queue {
    fn push(&mut self, event: Event, weight: usize) {
        if self.reader_gone || self.is_hidden(&event) {
            return;
        }
        let has_room = self.waiting.is_empty()
            || (self.waiting.len() < self.max_events && self.weight.saturating_add(weight) <= self.max_bytes);
        if !has_room {
            self.lost += 1;
            return;
        }
        if self.lost > 0 {
            self.waiting
                .push_back((Event::Lagged(std::mem::take(&mut self.lost)), 0));
        }
        self.waiting.push_back((event, weight));
        self.weight = self.weight.saturating_add(weight);
    }

    fn push_gap(&mut self, gap: Gap) {
        if self.reader_gone {
            return;
        }
        // Events that were lost since the last gap are told after both. So there is an event
        // between any two gaps, and their number is bounded as well.
        if let Some((Event::Gap(last), _)) = self.waiting.back_mut() {
            last.extend(gap);
            return;
        }
        if self.lost > 0 {
            self.waiting
                .push_back((Event::Lagged(std::mem::take(&mut self.lost)), 0));
        }
        self.waiting.push_back((Event::Gap(gap), 0));
    }

    fn is_hidden(&self, event: &Event) -> bool {
        let kind = match event {
            // Made of those about descriptors.
            Event::OtherUpload(_) => Some(EventKind::HsDesc),
            _ => event.kind(),
        };
        !self.hidden.is_empty() && kind.is_some_and(|kind| self.hidden.contains(&kind))
    }

    fn pop(&mut self) -> Option<Event> {
        if let Some((event, weight)) = self.waiting.pop_front() {
            self.weight = self.weight.saturating_sub(weight);
            return Some(event);
        }
        (self.lost > 0).then(|| Event::Lagged(std::mem::take(&mut self.lost)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn event(number: usize) -> Event {
        Event::parse(format!("650 BW {number} 0\r\n").as_bytes()).unwrap()
    }

    fn drain(events: &mut Events) -> Vec<Event> {
        std::iter::from_fn(|| events.try_recv()).collect()
    }

    #[test]
    fn what_is_lost_is_told_where_it_is_missing() {
        let (sender, mut events) = queue(2, 1000);
        for number in 0..5 {
            sender.push(event(number), 1);
        }
        assert_eq!(events.try_recv(), Some(event(0)));
        // There is room again: the gap comes before what follows it.
        sender.push(event(5), 1);
        assert_eq!(drain(&mut events), [event(1), Event::Lagged(3), event(5)]);
    }

    #[test]
    fn a_gap_at_the_end_is_told_too() {
        let (sender, mut events) = queue(1, 1000);
        sender.push(event(0), 1);
        sender.push(event(1), 1);
        drop(sender);
        assert_eq!(drain(&mut events), [event(0), Event::Lagged(1)]);
    }

    #[test]
    fn bytes_are_bounded_but_one_event_always_fits() {
        let (sender, mut events) = queue(100, 10);
        sender.push(event(0), 1000);
        sender.push(event(1), 1);
        assert_eq!(drain(&mut events), [event(0), Event::Lagged(1)]);
        sender.push(event(2), 5);
        sender.push(event(3), 5);
        sender.push(event(4), 1);
        assert_eq!(drain(&mut events), [event(2), event(3), Event::Lagged(1)]);
    }

    fn gap(seconds: u64, restarted: Option<bool>) -> Gap {
        Gap::new(Duration::from_secs(seconds), restarted, vec![EventKind::Bw], Vec::new())
    }

    #[test]
    fn gaps_are_never_lost_and_never_two_in_a_row() {
        let (sender, mut events) = queue(1, 1000);
        sender.push(event(0), 1);
        sender.push(event(1), 1);
        for number in 0..1000 {
            sender.push_gap(gap(1, (number == 500).then_some(true)));
            sender.push(event(2), 1);
        }
        assert_eq!(
            drain(&mut events),
            [
                event(0),
                Event::Lagged(1),
                Event::Gap(gap(1000, Some(true))),
                Event::Lagged(1000)
            ]
        );

        sender.push_gap(gap(1, Some(false)));
        sender.push_gap(gap(2, Some(true)));
        sender.push_gap(gap(3, None));
        assert_eq!(drain(&mut events), [Event::Gap(gap(6, Some(true)))]);
    }

    #[test]
    fn hidden_events_stay_out() {
        let (sender, mut events) = queue(100, 1000);
        let desc = Event::parse(b"650 HS_DESC UPLOADED abc UNKNOWN UNKNOWN\r\n").unwrap();
        sender.veil().hide(&[EventKind::HsDesc]);
        sender.push(desc.clone(), 1);
        sender.push(event(0), 1);
        sender.veil().hide(&[]);
        sender.push(desc.clone(), 1);
        assert_eq!(drain(&mut events), [event(0), desc]);
    }

    #[test]
    fn the_queue_ends_with_its_last_sender() {
        let (sender, events) = queue(100, 1000);
        let other = sender.clone();
        drop(sender);
        assert!(!events.shared.lock().ended);
        drop(other);
        assert!(events.shared.lock().ended);
    }

    #[test]
    fn without_a_reader_nothing_is_kept() {
        let (sender, events) = queue(100, 10);
        drop(events);
        sender.push(event(0), 1);
        assert!(sender.shared().lock().waiting.is_empty());
    }

    #[tokio::test]
    async fn waiting_readers_are_woken() {
        let (sender, mut events) = queue(100, 1000);
        let reader = tokio::spawn(async move { (events.recv().await, events.recv().await) });
        tokio::task::yield_now().await;
        sender.push(event(0), 1);
        tokio::task::yield_now().await;
        drop(sender);
        assert_eq!(reader.await.unwrap(), (Some(event(0)), None));
    }
}
