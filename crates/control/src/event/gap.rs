//! Gaps, in which a supervised connection may have missed events.

use std::time::Duration;

use crate::EventKind;

/// There was no connection here for a while: events before and after it are whole, those between
/// are missing.
///
/// Only a supervised connection makes it, when it is connected again and before the first event
/// that comes then. What Tor had, it may have no more: see [`restarted`](Self::restarted).
///
/// ```
/// use std::time::Duration;
/// use onionweave_control::{Event, EventKind, Gap};
///
/// fn must_look_again(event: &Event) -> bool {
///     matches!(event, Event::Lagged(_) | Event::Gap(_))
/// }
/// let gap = Gap::new(Duration::from_secs(2), Some(true), vec![EventKind::HsDesc], Vec::new());
/// assert!(gap.kinds().contains(&EventKind::HsDesc));
/// assert!(must_look_again(&Event::Gap(gap)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Gap {
    lasted: Duration,
    restarted: Option<bool>,
    kinds: Vec<EventKind>,
    refused: Vec<EventKind>,
}

impl Gap {
    /// A gap; the arguments are as the methods of the same names tell.
    pub fn new(lasted: Duration, restarted: Option<bool>, kinds: Vec<EventKind>, refused: Vec<EventKind>) -> Self {
        Self {
            lasted,
            restarted,
            kinds,
            refused,
        }
    }

    /// For how long there was no connection, from when the end of the last one was noticed.
    pub fn lasted(&self) -> Duration {
        self.lasted
    }

    /// Whether it is another process that answers now. Then onion services of `ADD_ONION`, detached
    /// or not, options of `SETCONF` that were not saved, mapped addresses, client keys and circuits
    /// are gone. `None` if that can't be told.
    ///
    /// With the same process, what belongs to a connection is gone all the same: services that are
    /// not detached, and the ownership of `TAKEOWNERSHIP`.
    pub fn restarted(&self) -> Option<bool> {
        self.restarted
    }

    /// Kinds of events that would have come.
    pub fn kinds(&self) -> &[EventKind] {
        &self.kinds
    }

    /// Those of them that will not come any more, for the Tor that answers now does not know them.
    pub fn refused(&self) -> &[EventKind] {
        &self.refused
    }

    /// Joins a later gap, where no event was received between the two.
    #[cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "for the queue of events"))]
    pub(crate) fn extend(&mut self, later: Self) {
        self.lasted = self.lasted.saturating_add(later.lasted);
        self.restarted = match (self.restarted, later.restarted) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        };
        for kind in later.kinds {
            if !self.kinds.contains(&kind) {
                self.kinds.push(kind);
            }
        }
        self.refused = later.refused;
    }
}
