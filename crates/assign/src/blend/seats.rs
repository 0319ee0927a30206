//! The relay of each point of a slot: no relay twice.

use std::collections::BTreeMap;

use super::stand::Stand;
use crate::Relay;

/// For every point that the stands ask for a relay of its instance, none twice; `None` if there is
/// no such choice.
///
/// A point takes the free relay with the smallest `burden`. Where only taken ones are left, those
/// who have them move on if they can: the augmenting paths of bipartite matching, so a choice is
/// found whenever there is one.
pub(super) fn assign<K: Ord>(
    stands: &[Stand],
    offers: &[Vec<Relay>],
    burden: impl Fn(usize, Relay) -> K,
) -> Option<BTreeMap<Relay, usize>> {
    let wishes: BTreeMap<usize, Vec<Relay>> = stands
        .iter()
        .map(|stand| {
            let mut relays = offers[stand.instance].clone();
            relays.sort_by_key(|&relay| burden(stand.instance, relay));
            (stand.instance, relays)
        })
        .collect();
    let mut seats = BTreeMap::new();
    for stand in stands {
        for _ in 0..stand.points {
            if !seat(stand.instance, &wishes, &mut seats, &mut Vec::new()) {
                return None;
            }
        }
    }
    Some(seats)
}

/// Finds a relay for one more point of the instance; those who sit at `tried` ones are not asked
/// again.
fn seat(
    instance: usize,
    wishes: &BTreeMap<usize, Vec<Relay>>,
    seats: &mut BTreeMap<Relay, usize>,
    tried: &mut Vec<Relay>,
) -> bool {
    let relays = wishes.get(&instance).map_or(&[][..], Vec::as_slice);
    if let Some(&free) = relays.iter().find(|relay| !seats.contains_key(relay)) {
        seats.insert(free, instance);
        return true;
    }
    for &relay in relays {
        let Some(&other) = seats.get(&relay) else { continue };
        if other == instance || tried.contains(&relay) {
            continue;
        }
        tried.push(relay);
        if seat(other, wishes, seats, tried) {
            seats.insert(relay, instance);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relays(numbers: &[u128]) -> Vec<Relay> {
        numbers.iter().copied().map(Relay::new).collect()
    }

    fn stands(points: &[usize]) -> Vec<Stand> {
        let stands = points.iter().enumerate();
        stands.map(|(instance, &points)| Stand { instance, points }).collect()
    }

    #[test]
    fn the_least_burdened_relays_are_taken() {
        let offers = [relays(&[1, 2, 3])];
        let seats = assign(&stands(&[2]), &offers, |_, relay| {
            [3, 1, 2][relay.number() as usize - 1]
        })
        .unwrap();
        assert_eq!(seats.into_keys().collect::<Vec<_>>(), relays(&[2, 3]));
    }

    #[test]
    fn whoever_can_moves_on() {
        let offers = [relays(&[1, 2]), relays(&[2, 3]), relays(&[1])];
        let seats = assign(&stands(&[1, 1, 1]), &offers, |_, relay| relay).unwrap();
        assert_eq!(seats.into_values().collect::<Vec<_>>(), [2, 0, 1]);
    }

    #[test]
    fn more_points_than_relays_have_no_seats() {
        let offers = [relays(&[1, 2]), relays(&[1, 2])];
        assert!(assign(&stands(&[1, 1]), &offers, |_, relay| relay).is_some());
        assert!(assign(&stands(&[2, 1]), &offers, |_, relay| relay).is_none());
    }
}
