//! Turning points into a text that no other directory has.
//!
//! A client may have tried all points of a text in vain. If the next directory hands it the *same
//! bytes*, it keeps the emptied descriptor and gives up (`rendcache.c:966-973`). So every directory
//! of a replica gets bytes of its own, and a slot that is written again after anything happened
//! gets bytes it never had.
//!
//! Two things may differ without meaning anything: the order of the points, among which clients
//! draw uniformly (`rendclient.c:1047-1124`), and the number of blank lines that end their list.

use onionweave_desc::Error;
use onionweave_desc::v2::{Authorization, Descriptor, Draft, IntroductionPoint, ServiceKey};
use onionweave_ring::UnixTime;
use onionweave_ring::v2::{Replica, TimePeriod};

/// At most so many blank lines are added: clients skip them, and 31 bytes change no size class.
const MOST_BLANK_LINES: u64 = 32;

/// Number of texts with so many points that differ from each other.
pub(super) fn variants(points: usize) -> u64 {
    (1..=points as u64).product::<u64>().saturating_mul(MOST_BLANK_LINES)
}

/// Signs `points` for a slot of `replica` in `period` as text number `variant`.
pub(super) fn write(
    key: &ServiceKey,
    authorization: Option<&Authorization>,
    period: TimePeriod,
    replica: Replica,
    points: &[IntroductionPoint],
    variant: u64,
    time: UnixTime,
) -> Result<Descriptor, Error> {
    let orders = variants(points.len()) / MOST_BLANK_LINES;
    let blank_lines = (variant / orders) % MOST_BLANK_LINES;
    let mut draft = Draft::new(permuted(points, variant % orders)).trailing_blank_lines(blank_lines as usize);
    if let Some(authorization) = authorization {
        draft = draft.authorization(authorization.clone());
    }
    draft.sign(key, period, replica, time)
}

/// The `number`-th order of `items`, for `number` below the factorial of their count.
///
/// Read in the factorial number system, digit by digit from the largest: 0 is the order as given.
fn permuted<T: Clone>(items: &[T], mut number: u64) -> Vec<T> {
    let mut left = items.to_vec();
    let mut order = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let choices = left.len() as u64;
        order.push(left.remove((number % choices) as usize));
        number /= choices;
    }
    order
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use onionweave_desc::v2::UnverifiedDescriptor;

    use super::*;

    fn points() -> Vec<IntroductionPoint> {
        UnverifiedDescriptor::parse(include_bytes!("../../../testdata/descriptor.txt"))
            .and_then(UnverifiedDescriptor::verify)
            .and_then(|descriptor| descriptor.introduction_points())
            .unwrap()
    }

    #[test]
    fn variants_differ_in_bytes_and_in_nothing_else() {
        let key = ServiceKey::from_pem(include_str!("../../../testdata/private_key")).unwrap();
        let [replica, _] = Replica::ALL;
        let slot = (TimePeriod::new(20780), replica);
        for count in 1..=3 {
            let points = points()[..count].to_vec();
            let mut texts = BTreeSet::new();
            for variant in 0..variants(count) {
                let text = write(
                    &key,
                    None,
                    slot.0,
                    slot.1,
                    &points,
                    variant,
                    UnixTime::from_secs(1_795_348_800),
                )
                .unwrap();
                let found: BTreeSet<_> = text.introduction_points().unwrap().into_iter().collect();
                assert_eq!(found, points.iter().cloned().collect());
                assert!(
                    texts.insert(text.text().to_vec()),
                    "variant {variant} of {count} points stood before"
                );
            }
        }
    }

    #[test]
    fn every_order_comes_once() {
        for n in 1..=5_u64 {
            let items: Vec<u64> = (0..n).collect();
            let count = variants(n as usize) / MOST_BLANK_LINES;
            let orders: BTreeSet<_> = (0..count).map(|i| permuted(&items, i)).collect();
            assert_eq!(orders.len() as u64, count);
            assert_eq!(permuted(&items, 0), items);
        }
    }
}
