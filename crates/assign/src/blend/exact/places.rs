//! The states of the dynamic programme, one bit each.

use super::{Counts, GROUPS, Group, Layout};

/// Set of states of the last group, one bit each.
pub(super) type Word = u128;

/// Highest number of states of the last group: six slots of twenty points need 121.
const STATES: usize = Word::BITS as usize;
/// The same with up to ten points in a slot: six slots need 61. Larger groups are left to the
/// search by small steps, so that plans for more slots stay as they were when a word had 64 bits.
const STATES_OF_TEN: usize = 64;
/// Number of groups before the last two, which have their places in the order of words.
const OUTER: usize = GROUPS - 2;

/// Places of the bits of states: the last group within a word, the one before in successive words,
/// the others in blocks of these.
pub(super) struct Places {
    pub(super) words: usize,
    /// The words of a block.
    block: usize,
    /// The last states of the outer groups.
    totals: [usize; OUTER],
    /// Number of blocks between one state of an outer group and the next.
    strides: [usize; OUTER],
    mask: Word,
}

impl Places {
    /// Returns `None` if the last group has too many states.
    pub(super) fn new(layout: &Layout, most_points: usize) -> Option<Self> {
        let states = if most_points > 10 { STATES } else { STATES_OF_TEN };
        let totals = layout.each_ref().map(Group::total);
        let last = totals[GROUPS - 1] + 1;
        if last > states {
            return None;
        }
        let mut strides = [0; OUTER];
        let mut blocks = 1;
        for (stride, total) in strides.iter_mut().zip(totals).rev() {
            *stride = blocks;
            blocks *= total + 1;
        }
        let block = totals[OUTER] + 1;
        Some(Self {
            words: blocks * block,
            block,
            totals: std::array::from_fn(|group| totals[group]),
            strides,
            mask: Word::MAX >> (STATES - last),
        })
    }

    /// Adds to `to` the states that are reached from those of `from` by taking so many points more.
    pub(super) fn step(&self, counts: Counts, from: &[Word], to: &mut [Word]) {
        let [.., inner, bits] = counts;
        let ahead: usize = self
            .strides
            .iter()
            .zip(counts)
            .map(|(stride, count)| stride * count)
            .sum();
        for (at, from) in from.chunks_exact(self.block).enumerate() {
            let room =
                |((stride, total), count): ((&usize, &usize), usize)| at / stride % (total + 1) + count <= *total;
            if !self.strides.iter().zip(&self.totals).zip(counts).all(room) {
                continue;
            }
            let begin = (at + ahead) * self.block;
            let to = &mut to[begin + inner..begin + self.block];
            for (to, from) in to.iter_mut().zip(from) {
                *to |= (from << bits) & self.mask;
            }
        }
    }

    /// Whether the state can be reached with so many instances.
    pub(super) fn is_set(&self, reached: &[Word], instances: usize, state: Counts) -> bool {
        let [.., inner, bits] = state;
        let block: usize = self
            .strides
            .iter()
            .zip(state)
            .map(|(stride, count)| stride * count)
            .sum();
        reached[instances * self.words + block * self.block + inner] >> bits & 1 == 1
    }
}
