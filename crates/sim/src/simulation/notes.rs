//! Memory of clients besides a descriptor.

/// No note.
pub(super) const NONE: u32 = u32::MAX;
/// Marks a note on a relay.
const RELAY: u32 = 1 << 31;

/// Subject of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    /// A place where the client asked for a descriptor: a directory and a descriptor ID.
    Asked(u32),
    /// A relay where it met an introduction point that did not work.
    Failed(u32),
}

/// All clients' notes. Each client has a list, which begins with a number that the client keeps;
/// most lists are empty.
#[derive(Debug)]
pub(super) struct Notes {
    notes: Vec<Note>,
    /// The first of the notes that nobody uses.
    free: u32,
}

/// Twelve bytes, and no map for each client.
#[derive(Clone, Copy, Debug)]
struct Note {
    topic: u32,
    /// In seconds of the virtual time.
    at: u32,
    next: u32,
}

impl Notes {
    pub(super) const fn new() -> Self {
        Self {
            notes: Vec::new(),
            free: NONE,
        }
    }

    /// Notes something that was not noted.
    pub(super) fn add(&mut self, list: &mut u32, topic: Topic, at: u32) {
        let topic = match topic {
            Topic::Asked(place) => place,
            Topic::Failed(relay) => relay | RELAY,
        };
        let note = Note { topic, at, next: *list };
        *list = match self.notes.get_mut(self.free as usize) {
            Some(unused) => {
                let index = self.free;
                self.free = unused.next;
                *unused = note;
                index
            }
            None => {
                self.notes.push(note);
                self.notes.len() as u32 - 1
            }
        };
    }

    /// A client's notes with their times, the latest first.
    pub(super) fn iter(&self, list: u32) -> impl Iterator<Item = (Topic, u32)> {
        let mut next = list;
        std::iter::from_fn(move || {
            let note = self.notes.get(next as usize)?;
            next = note.next;
            Some((topic(note), note.at))
        })
    }

    /// Keeps only some of a client's notes.
    pub(super) fn retain(&mut self, list: &mut u32, keep: impl Fn(Topic, u32) -> bool) {
        let mut before = NONE;
        let mut index = *list;
        while let Some(&note) = self.notes.get(index as usize) {
            if keep(topic(&note), note.at) {
                before = index;
            } else {
                match self.notes.get_mut(before as usize) {
                    Some(before) => before.next = note.next,
                    None => *list = note.next,
                }
                if let Some(unused) = self.notes.get_mut(index as usize) {
                    unused.next = self.free;
                }
                self.free = index;
            }
            index = note.next;
        }
    }

    /// Number of notes for which all clients have room.
    pub(super) fn room(&self) -> usize {
        self.notes.capacity() * size_of::<Note>()
    }
}

fn topic(note: &Note) -> Topic {
    if note.topic & RELAY == 0 {
        Topic::Asked(note.topic)
    } else {
        Topic::Failed(note.topic & !RELAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_share_the_room_and_not_the_notes() {
        let mut notes = Notes::new();
        let (mut a, mut b) = (NONE, NONE);
        for number in 0..4 {
            notes.add(&mut a, Topic::Asked(number), number);
            notes.add(&mut b, Topic::Failed(number), 10 + number);
        }
        let list = |notes: &Notes, list| notes.iter(list).collect::<Vec<_>>();
        assert_eq!(list(&notes, a).len(), 4);
        notes.retain(&mut a, |topic, at| topic == Topic::Asked(at) && at % 2 == 0);
        assert_eq!(list(&notes, a), [(Topic::Asked(2), 2), (Topic::Asked(0), 0)]);
        assert_eq!(list(&notes, b).len(), 4);

        let room = notes.notes.len();
        notes.add(&mut b, Topic::Failed(7), 17);
        notes.add(&mut b, Topic::Failed(8), 18);
        assert_eq!(notes.notes.len(), room, "notes that were dropped are used again");
        notes.retain(&mut b, |_, _| false);
        assert_eq!(b, NONE);
        assert_eq!(list(&notes, a).len(), 2);
    }
}
