//! The bandwidth of an instance, shared by those who fetch something from it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Micros;

/// Serves all transfers at once, each at the same rate, and all together at no more than a cap.
///
/// What matters is how many bytes each transfer has been given since the beginning, which is the
/// same number for all; a transfer is done when that has grown by its size. So neither coming nor
/// going touches the other transfers.
#[derive(Debug)]
pub(super) struct Pipe {
    /// Bytes a microsecond.
    rate: f64,
    /// Bytes that a transfer would have been given which was there from the beginning.
    given: f64,
    /// When that was reckoned.
    at: Micros,
    /// Each transfer, by what `given` will be when it is done.
    transfers: BinaryHeap<Reverse<(Bytes, u32)>>,
}

/// A number of bytes that is never NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bytes(f64);

impl Pipe {
    /// `cap` is in bytes a second.
    pub(super) fn new(cap: u64) -> Self {
        Self {
            rate: cap.max(1) as f64 / 1e6,
            given: 0.0,
            at: 0,
            transfers: BinaryHeap::new(),
        }
    }

    /// Moves the time on. Returns since when, and how many bytes were served meanwhile.
    pub(super) fn advance(&mut self, now: Micros) -> (Micros, f64) {
        let since = std::mem::replace(&mut self.at, now);
        if self.transfers.is_empty() {
            return (since, 0.0);
        }
        let served = now.saturating_sub(since) as f64 * self.rate;
        self.given += served / self.transfers.len() as f64;
        (since, served)
    }

    /// Begins a transfer, at the time up to which [`advance`](Self::advance) was called.
    pub(super) fn begin(&mut self, client: u32, bytes: u64) {
        self.transfers.push(Reverse((Bytes(self.given + bytes as f64), client)));
    }

    /// When the next transfer is done, if none comes or goes before.
    pub(super) fn next_at(&self) -> Option<Micros> {
        let Reverse((done, _)) = self.transfers.peek()?;
        let left = (done.0 - self.given).max(0.0) * self.transfers.len() as f64;
        // Rounded up, or it would not be done then.
        Some(self.at + (left / self.rate).ceil() as Micros)
    }

    /// Ends the transfer that is done first, which the caller knows to be done by now.
    pub(super) fn end(&mut self) -> Option<u32> {
        let Reverse((done, client)) = self.transfers.pop()?;
        self.given = self.given.max(done.0);
        if self.transfers.is_empty() {
            // Lest rounding grow with the hours.
            self.given = 0.0;
        }
        Some(client)
    }

    /// Breaks all transfers off.
    pub(super) fn cut(&mut self) -> Vec<u32> {
        self.given = 0.0;
        let mut clients: Vec<u32> = self.transfers.drain().map(|Reverse((_, client))| client).collect();
        clients.sort_unstable();
        clients
    }
}

impl Eq for Bytes {}

impl PartialOrd for Bytes {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bytes {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs until nothing is left, and tells when each client was done.
    fn run(pipe: &mut Pipe) -> Vec<(Micros, u32)> {
        let mut ends = Vec::new();
        while let Some(at) = pipe.next_at() {
            pipe.advance(at);
            ends.extend(pipe.end().map(|client| (at, client)));
        }
        ends
    }

    #[test]
    fn transfers_share_evenly() {
        // A byte a microsecond. Two of 100 and 300 bytes together: at 200 the small one is done,
        // and the other goes on alone.
        let mut pipe = Pipe::new(1_000_000);
        pipe.begin(1, 100);
        pipe.begin(2, 300);
        assert_eq!(run(&mut pipe), [(200, 1), (400, 2)]);

        // One that comes later gets as much from then on.
        pipe.begin(3, 100);
        pipe.advance(450);
        pipe.begin(4, 100);
        assert_eq!(run(&mut pipe), [(550, 3), (600, 4)]);
    }

    #[test]
    fn nothing_is_lost_or_invented() {
        let mut pipe = Pipe::new(1_024_000);
        let mut served = 0.0;
        for client in 0..100 {
            served += pipe.advance(u64::from(client) * 1000).1;
            pipe.begin(client, 50 * 1024);
        }
        while let Some(at) = pipe.next_at() {
            served += pipe.advance(at).1;
            pipe.end();
        }
        let whole = 100.0 * 50.0 * 1024.0;
        // Each end is rounded up to a microsecond.
        assert!((served - whole).abs() < 200.0, "{served} of {whole}");
    }

    #[test]
    fn a_death_breaks_off_what_is_not_done() {
        let mut pipe = Pipe::new(1_000_000);
        pipe.begin(7, 100);
        pipe.begin(3, 50);
        pipe.advance(10);
        assert_eq!(pipe.cut(), [3, 7]);
        assert_eq!(pipe.next_at(), None);
    }
}
