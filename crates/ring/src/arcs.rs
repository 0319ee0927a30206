//! Stretches of the ring, put together.

use crate::Distance;

/// A set of points of the ring, made of stretches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arcs {
    /// Ascending, disjoint, not touching each other, none passing the end of the ring.
    pieces: Vec<Piece>,
}

/// The points behind `behind`, or from the start of the ring, up to and including `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Piece {
    behind: Option<[u8; 20]>,
    /// After `behind`.
    last: [u8; 20],
}

const END: [u8; 20] = [0xff; 20];

impl Arcs {
    /// Every point that lies behind the first of any of the pairs, up to and including the second;
    /// the whole ring if the two are equal.
    pub(crate) fn new(arcs: impl IntoIterator<Item = ([u8; 20], [u8; 20])>) -> Self {
        let mut pieces = Vec::new();
        for (behind, last) in arcs {
            if behind < last {
                let behind = Some(behind);
                pieces.push(Piece { behind, last });
                continue;
            }
            pieces.push(Piece { behind: None, last });
            if behind != END {
                let behind = Some(behind);
                pieces.push(Piece { behind, last: END });
            }
        }
        pieces.sort_unstable();
        pieces.dedup_by(|piece, before| {
            let touches = piece.behind <= Some(before.last);
            if touches {
                before.last = before.last.max(piece.last);
            }
            touches
        });
        Self { pieces }
    }

    pub(crate) fn contains(&self, point: &[u8; 20]) -> bool {
        let ends_before = |piece: &Piece| piece.last < *point;
        let piece = self.pieces.get(self.pieces.partition_point(ends_before));
        piece.is_some_and(|piece| piece.behind < Some(*point))
    }

    /// Number of points.
    pub(crate) fn len(&self) -> Distance {
        let lengths = self.pieces.iter().map(|piece| match piece.behind {
            Some(behind) => Distance::between(&behind, &piece.last),
            None if piece.last == END => Distance::RING,
            // The end is one point before the start.
            None => Distance::between(&END, &piece.last),
        });
        lengths.sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ends_of_the_ring_meet() {
        let [start, one] = [0, 1].map(|last| {
            let mut point = [0; 20];
            point[19] = last;
            point
        });
        let first_two = Arcs::new([(END, one)]);
        assert!(first_two.contains(&start) && first_two.contains(&one) && !first_two.contains(&END));
        assert_eq!(first_two.len(), Distance::between(&END, &one));

        let whole = Arcs::new([(END, one), (one, END)]);
        assert_eq!(whole, Arcs::new([(END, END)]));
        assert_eq!(whole, Arcs::new([(one, one)]));
        assert_eq!(whole.len(), Distance::RING);
        assert_eq!(Arcs::default().len(), Distance::ZERO);
    }

    proptest! {
        /// On a ring of 32 points, spread over the real one.
        #[test]
        fn agrees_with_a_set_of_points(arcs in prop::collection::vec((0_u8..32, 0_u8..32), 0..8)) {
            let at = |number: u8| {
                let mut point = [0xff; 20];
                point[0] = number << 3 | 0b111;
                point
            };
            let mut expected = [false; 32];
            for (behind, last) in &arcs {
                let mut step = *behind;
                loop {
                    step = (step + 1) % 32;
                    expected[usize::from(step)] = true;
                    if step == *last {
                        break;
                    }
                }
            }
            let set = Arcs::new(arcs.iter().map(|(behind, last)| (at(*behind), at(*last))));
            for number in 0..32 {
                prop_assert_eq!(set.contains(&at(number)), expected[usize::from(number)], "{}", number);
            }
            let points = expected.iter().filter(|inside| **inside).count();
            prop_assert_eq!(set.len().fraction(), points as f64 / 32.0);
        }
    }
}
