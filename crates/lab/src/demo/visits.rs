//! Clients that visit the service, each time as somebody new.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::{self, FuturesUnordered};
use onionweave_testnet::{Client, SERVICE_PORT};
use tokio::time::sleep;

use crate::stage::{AT_ONCE, NAMES};
use crate::statistics::chi_square;

/// Tor takes a new identity at most this often (`MAX_SIGNEWNYM_RATE`).
pub(crate) const IDENTITY_EVERY: Duration = Duration::from_secs(10);

/// A visit.
pub(crate) struct Visit {
    /// Time at which it ended.
    pub(crate) at: Instant,
    /// The instance that answered, or the reason why none did.
    pub(crate) answer: Result<usize, String>,
}

/// Number of visits that each instance answered, and those that nobody did.
#[derive(Clone, Default)]
pub(crate) struct Tally {
    pub(crate) answered: [u64; NAMES.len()],
    pub(crate) failed: Vec<String>,
}

impl Tally {
    pub(crate) fn count(&mut self, visit: &Visit) {
        match &visit.answer {
            Ok(instance) => {
                if let Some(count) = self.answered.get_mut(*instance) {
                    *count += 1;
                }
            }
            Err(why) => self.failed.push(why.clone()),
        }
    }

    /// All that were answered.
    pub(crate) fn total(&self) -> u64 {
        self.answered.iter().sum()
    }

    /// Returns the chance of a split at least as uneven as this one if clients follow the `shares`:
    /// Pearson's chi-square test.
    pub(crate) fn chi_square(&self, shares: &[f64]) -> Option<(f64, f64)> {
        chi_square(&self.answered, shares)
    }
}

/// Makes `count` visits in all, each with a fresh identity; `seen` is told of every one.
///
/// A client may take a new identity every ten seconds, so the clients begin evenly spread over ten
/// seconds.
pub(crate) async fn visit(clients: &[Client], onion: &str, count: u64, seen: impl Fn(&Tally)) -> Tally {
    let left = Cell::new(count);
    let tally = RefCell::new(Tally::default());
    let (left_ref, tally_ref, seen_ref) = (&left, &tally, &seen);
    let visitors = clients.iter().enumerate().map(|(i, client)| async move {
        sleep(IDENTITY_EVERY.mul_f64(i as f64 / clients.len() as f64)).await;
        while let Some(rest) = left_ref.get().checked_sub(1) {
            left_ref.set(rest);
            let visit = visit_once(client, onion).await;
            let mut tally = tally_ref.borrow_mut();
            tally.count(&visit);
            seen_ref(&tally);
        }
    });
    let mut visitors: FuturesUnordered<_> = visitors.collect();
    while visitors.next().await.is_some() {}
    drop(visitors);
    tally.into_inner()
}

/// Makes one visit by every client with a fresh identity, a few at a time.
pub(crate) async fn visit_each(clients: &[Client], onion: &str) -> Vec<Visit> {
    let visits = clients.iter().map(|client| visit_once(client, onion));
    stream::iter(visits).buffer_unordered(2 * AT_ONCE).collect().await
}

async fn visit_once(client: &Client, onion: &str) -> Visit {
    let answer = async {
        client.new_identity().await?;
        client.fetch(onion, SERVICE_PORT).await
    };
    let answer = match answer.await {
        Ok(name) => NAMES
            .iter()
            .position(|&other| other == name)
            .ok_or_else(|| format!("{name:?} is no instance")),
        Err(error) => Err(error.to_string()),
    };
    Visit {
        at: Instant::now(),
        answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(answered: [u64; 3]) -> Tally {
        Tally {
            answered,
            failed: Vec::new(),
        }
    }

    #[test]
    fn chi_square_is_pearsons() {
        let third = [1.0 / 3.0; 3];
        // 1² / 20 + 1² / 20 = 0.1; with two degrees of freedom p = exp(-χ²/2).
        let (statistic, p) = tally([21, 19, 20]).chi_square(&third).unwrap();
        assert!(
            (statistic - 0.1).abs() < 1e-9 && (p - (-0.05_f64).exp()).abs() < 1e-9,
            "{statistic} {p}"
        );
        let (_, p) = tally([60, 0, 0]).chi_square(&third).unwrap();
        assert!(p < 1e-9, "{p}");
    }

    #[test]
    fn chi_square_needs_visits_and_two_instances() {
        assert!(tally([0, 0, 0]).chi_square(&[1.0 / 3.0; 3]).is_none());
        assert!(tally([5, 0, 0]).chi_square(&[1.0, 0.0, 0.0]).is_none());
    }
}
