//! When each client does something next.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use super::Micros;

/// A bucket holds what happens within 2^20 µs, about a second.
const WIDTH: u32 = 20;
/// Number of buckets that stand in a row, for nineteen hours; what happens later is kept apart.
const ROW: u64 = 1 << 16;

/// The clients' appointments, in the order of time; at the same time, in that of the clients'
/// numbers.
///
/// A heap of a million would cost a miss of the cache for each of its twenty levels. Here an
/// appointment is appended to the bucket of its second, and a bucket is sorted when its second has
/// come: an appointment takes eight bytes, and is moved twice.
#[derive(Debug, Default)]
pub(super) struct Wheel {
    /// The number of the bucket that is open.
    open: u64,
    /// Its content, the last first: the time within the bucket, and the client.
    current: Vec<u64>,
    /// Entries that were added for the open second, or an earlier one, since it was opened.
    late: BinaryHeap<Reverse<(Micros, u32)>>,
    /// The buckets after the open one.
    row: VecDeque<Vec<u64>>,
    /// Number of entries in them.
    in_row: usize,
    /// Entries after the row, by bucket.
    far: BTreeMap<u64, Vec<u64>>,
    /// Empty buckets, to be filled again.
    spare: Vec<Vec<u64>>,
}

impl Wheel {
    pub(super) fn push(&mut self, at: Micros, client: u32) {
        let bucket = at >> WIDTH;
        let Some(ahead) = bucket.checked_sub(self.open + 1) else {
            self.late.push(Reverse((at, client)));
            return;
        };
        let entry = (at & ((1 << WIDTH) - 1)) << 32 | u64::from(client);
        if ahead >= ROW {
            self.far.entry(bucket).or_default().push(entry);
            return;
        }
        let ahead = ahead as usize;
        while self.row.len() <= ahead {
            self.row.push_back(Vec::new());
        }
        if let Some(place) = self.row.get_mut(ahead) {
            if place.capacity() == 0
                && let Some(spare) = self.spare.pop()
            {
                *place = spare;
            }
            place.push(entry);
            self.in_row += 1;
        }
    }

    /// When somebody does something next.
    pub(super) fn next_at(&mut self) -> Option<Micros> {
        self.open_next();
        let late = self.late.peek().map(|Reverse((at, _))| *at);
        let current = self.current.last().map(|&entry| self.time_of(entry));
        late.into_iter().chain(current).min()
    }

    pub(super) fn pop(&mut self) -> Option<(Micros, u32)> {
        self.open_next();
        let current = self.current.last().map(|&entry| (self.time_of(entry), entry as u32));
        let late = self.late.peek().map(|Reverse(entry)| *entry);
        match (current, late) {
            (Some(current), Some(late)) if late < current => self.late.pop().map(|Reverse(entry)| entry),
            (Some(current), _) => {
                self.current.pop();
                Some(current)
            }
            (None, _) => self.late.pop().map(|Reverse(entry)| entry),
        }
    }

    /// Opens the next bucket that has anything in it, if all before it is done.
    fn open_next(&mut self) {
        while self.current.is_empty() && self.late.is_empty() {
            if self.in_row == 0 {
                // Nothing for hours: go where the next thing is.
                let Some((&bucket, _)) = self.far.first_key_value() else {
                    return;
                };
                self.row.clear();
                self.open = bucket - 1;
            }
            self.open += 1;
            let mut entries = self.row.pop_front().unwrap_or_default();
            self.in_row -= entries.len();
            if let Some(far) = self.far.remove(&self.open) {
                entries.extend(far);
            }
            entries.sort_unstable_by(|a, b| b.cmp(a));
            let done = std::mem::replace(&mut self.current, entries);
            if done.capacity() > 0 && self.spare.len() < 1024 {
                self.spare.push(done);
            }
        }
    }

    fn time_of(&self, entry: u64) -> Micros {
        self.open << WIDTH | entry >> 32
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a sorted set, with appointments that are made while others are kept.
        #[test]
        fn order_is_that_of_time(
            steps in proptest::collection::vec((0_u64..200_000_000_000, 0_u64..3_000_000, any::<bool>()), 1..200)
        ) {
            let (mut wheel, mut expected) = (Wheel::default(), BTreeSet::new());
            let mut now = 0;
            for (client, (far, near, is_far)) in steps.into_iter().enumerate() {
                let at = now + if is_far { far } else { near };
                wheel.push(at, client as u32);
                expected.insert((at, client as u32));
                prop_assert_eq!(wheel.next_at(), expected.first().map(|first| first.0));
                if client % 3 == 2 {
                    let popped = wheel.pop();
                    prop_assert_eq!(popped, expected.pop_first());
                    now = popped.map_or(now, |(at, _)| at);
                }
            }
            while let Some(first) = expected.pop_first() {
                prop_assert_eq!(wheel.pop(), Some(first));
            }
            prop_assert_eq!(wheel.pop(), None);
        }
    }
}
