//! Records of a fault, and all that follows from them: rates, gaps, and the reasons of visits in
//! vain.
//!
//! No IO and no clock. All times are seconds since the command began.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Longest time between two looks at an instance's offer, in seconds: a point seen this shortly
/// before is offered still.
const OFFERED_LATELY: f64 = 1.5;

/// An answer that takes longer, in seconds, is explained as a miss is.
pub(crate) const SLOW: f64 = 10.0;

/// Numbers of a client's sights that are quoted: from the beginning, and from the end.
const FIRST_LINES: usize = 8;
const LAST_LINES: usize = 3;

/// A fault, and everything that was seen of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Episode {
    /// The fault in words.
    pub(crate) title: String,
    /// Whether the fault is left out of the sum of all.
    pub(crate) extreme: bool,
    /// Time at which the first visit was due.
    pub(crate) from: f64,
    /// Time at which the fault was done.
    pub(crate) hit: f64,
    /// From when to when no new visits began, so that those on their way could end before the fault
    /// was undone.
    pub(crate) paused: f64,
    pub(crate) resumed: f64,
    /// Time from which no more visits began.
    pub(crate) until: f64,
    /// Time at which its cause was undone, as an operator would.
    pub(crate) undone: Option<f64>,
    /// Time from the hit until the publisher had proved that no directory hands out broken
    /// introduction points.
    pub(crate) clean: Option<f64>,
    /// Time from the new offer of introduction points until the broken instance had its slots
    /// again.
    pub(crate) regained: Option<f64>,
    /// Time from the hit until an independent Tor found every directory as it should be; `None` if
    /// it did not.
    pub(crate) settled: Option<f64>,
    /// Ailments of instances and directories, and their times.
    pub(crate) ailments: Vec<Ailment>,
    pub(crate) visits: Vec<Visit>,
    /// Visits that were due while every client was busy with an earlier one.
    pub(crate) skipped: usize,
    /// Lines that the publisher logged since the hit.
    pub(crate) said: Vec<String>,
    /// Further notes for the reader.
    pub(crate) notes: Vec<String>,
}

/// Something that keeps an instance or a directory from serving.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ailment {
    /// The instance's name or the relay's.
    pub(crate) who: String,
    /// In words that follow the name: "was killed".
    pub(crate) what: String,
    pub(crate) from: f64,
    pub(crate) until: Option<f64>,
}

/// A request of a client with a fresh identity.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) client: String,
    pub(crate) at: f64,
    pub(crate) took: f64,
    /// The instance that answered, or what the client's Tor said instead.
    pub(crate) answer: Result<String, String>,
    /// Events that the client's Tor told meanwhile, in order.
    pub(crate) seen: Vec<(f64, Sight)>,
}

/// Something that a client's Tor told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Sight {
    /// A question to a directory for a descriptor.
    Asked { directory: String },
    /// A descriptor that was read from a directory.
    Read { directory: String, points: Vec<Point> },
    /// A directory did not give it one.
    Refused { directory: String, why: String },
    /// A circuit to an introduction point.
    Introduction {
        circuit: String,
        relay: String,
        state: String,
    },
    /// A circuit to its rendezvous point.
    Rendezvous {
        circuit: String,
        relay: String,
        state: String,
    },
    /// A circuit to a directory.
    ToDirectory { state: String },
    /// The stream's way.
    Stream { state: String, why: Option<String> },
}

/// An introduction point that a descriptor named.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) relay: String,
    /// The instance that was ever seen to offer it, and the last time of that.
    pub(crate) owner: Option<(String, f64)>,
}

/// Number of visits, and number of those that reached an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rate {
    pub(crate) tried: usize,
    pub(crate) reached: usize,
}

impl Rate {
    pub(crate) fn of<'a>(visits: impl IntoIterator<Item = &'a Visit>) -> Self {
        visits.into_iter().fold(Self::default(), |rate, visit| Self {
            tried: rate.tried + 1,
            reached: rate.reached + usize::from(visit.answer.is_ok()),
        })
    }

    /// From 0 to 1; of nothing, 1.
    pub(crate) fn part(self) -> f64 {
        if self.tried == 0 {
            1.0
        } else {
            self.reached as f64 / self.tried as f64
        }
    }
}

impl std::ops::Add for Rate {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            tried: self.tried + other.tried,
            reached: self.reached + other.reached,
        }
    }
}

impl Episode {
    pub(crate) fn rate(&self) -> Rate {
        Rate::of(&self.visits)
    }

    /// Those that began while the fault was there.
    pub(crate) fn rate_meanwhile(&self) -> Rate {
        let end = self.undone.unwrap_or(self.paused);
        Rate::of(
            self.visits
                .iter()
                .filter(|visit| visit.at >= self.hit && visit.at < end),
        )
    }

    /// The longest time during which every new client was in vain: from the first such client's
    /// request to the next one's that was not. The pause, when no requests began, does not count.
    pub(crate) fn longest_gap(&self) -> f64 {
        let (before, after): (Vec<_>, Vec<_>) = self.visits.iter().partition(|visit| visit.at < self.resumed);
        gap(before, self.paused).max(gap(after, self.until))
    }

    /// The median and the maximum of how long answered visits took; `None` without any.
    pub(crate) fn times(&self) -> Option<(f64, f64)> {
        let mut times: Vec<_> = self
            .visits
            .iter()
            .filter(|visit| visit.answer.is_ok())
            .map(|visit| visit.took)
            .collect();
        median_and_maximum(&mut times)
    }

    /// Those that an instance answered only after a long time.
    pub(crate) fn slow(&self) -> impl Iterator<Item = &Visit> {
        self.visits
            .iter()
            .filter(|visit| visit.answer.is_ok() && visit.took > SLOW)
    }

    pub(crate) fn misses(&self) -> impl Iterator<Item = &Visit> {
        self.visits.iter().filter(|visit| visit.answer.is_err())
    }

    /// Reason why a visit was in vain.
    pub(crate) fn explain(&self, visit: &Visit) -> Explanation {
        let mut blamed = BTreeMap::new();
        let (mut read, mut sound) = (0, 0);
        for (at, sight) in &visit.seen {
            if let Sight::Read { points, .. } = sight {
                read += 1;
                let end = visit.at + visit.took;
                let ails = points.iter().map(|point| self.ails(point, *at, end));
                let ails: Vec<_> = ails.collect();
                sound += usize::from(ails.iter().any(Option::is_none));
                for what in ails.into_iter().flatten() {
                    *blamed.entry(what).or_insert(0) += 1;
                }
            }
        }
        let refused = visit
            .seen
            .iter()
            .any(|(_, sight)| matches!(sight, Sight::Refused { .. }));
        let blamed: Vec<_> = blamed.into_keys().collect();
        let cause = match (self.dead_directory(visit), read, sound) {
            (Some(what), _, _) => Cause::DeadDirectory(what),
            (None, 0, _) if refused => Cause::NoDescriptor,
            (None, 1.., 0) => Cause::OnlyBroken(blamed.join("; ")),
            (None, 1.., _) if !blamed.is_empty() => Cause::AlsoBroken(blamed.join("; ")),
            _ => Cause::Unknown,
        };
        Explanation {
            cause,
            evidence: self.evidence(visit),
        }
    }

    /// The dead directory that a client asked and waited for most of its time.
    fn dead_directory(&self, visit: &Visit) -> Option<String> {
        let mut asked: Option<(&str, f64)> = None;
        let mut waited: Vec<(String, f64)> = Vec::new();
        let end = visit.at + visit.took;
        let mut close = |asked: &mut Option<(&str, f64)>, at: f64| {
            if let Some((directory, since)) = asked.take()
                && let Some(ailment) = self
                    .ailments
                    .iter()
                    .find(|ailment| ailment.who == directory && ailment.from <= at)
            {
                let what = format!("{directory}, which {}, for {:.1} s", ailment.what, at - since);
                waited.push((what, at - since));
            }
        };
        for (at, sight) in &visit.seen {
            match sight {
                Sight::Asked { directory } => {
                    close(&mut asked, *at);
                    asked = Some((directory, *at));
                }
                Sight::Read { directory, .. } | Sight::Refused { directory, .. }
                    if asked.is_some_and(|(asked, _)| asked == directory) =>
                {
                    close(&mut asked, *at);
                }
                _ => {}
            }
        }
        close(&mut asked, end);
        let most = waited.iter().map(|(_, waited)| waited).sum::<f64>() > visit.took / 2.0;
        let what: Vec<_> = waited.into_iter().map(|(what, _)| what).collect();
        most.then(|| what.join(", then "))
    }

    /// Returns the ailment of an introduction point in a text that was read `at` a time, for a
    /// client that waited until `end`.
    fn ails(&self, point: &Point, at: f64, end: f64) -> Option<String> {
        let Some((owner, offered)) = &point.owner else {
            return Some("a point that no instance was ever seen to offer".to_owned());
        };
        let ailment = self.ailments.iter().find(|ailment| {
            ailment.who == *owner && ailment.from <= end && ailment.until.is_none_or(|until| at < until)
        });
        if let Some(ailment) = ailment {
            let before = at - ailment.from;
            return Some(if before >= 0.0 {
                format!("{owner}, which {} {before:.1} s before the text was read", ailment.what)
            } else {
                format!(
                    "{owner}, which {} {:.1} s after the text was read",
                    ailment.what, -before
                )
            });
        }
        (at - offered > OFFERED_LATELY)
            .then(|| format!("{owner}, which had not offered them for {:.1} s", at - offered))
    }

    /// Returns the events of the client's Tor in a line.
    fn evidence(&self, visit: &Visit) -> String {
        let mut ends: BTreeMap<&str, &str> = BTreeMap::new();
        let mut failed: BTreeMap<&str, usize> = BTreeMap::new();
        // Of each circuit, only the last that was heard of it; of those to directories, how many
        // failed and why.
        for (_, sight) in &visit.seen {
            match sight {
                Sight::Introduction { circuit, state, .. } | Sight::Rendezvous { circuit, state, .. } => {
                    ends.insert(circuit, state);
                }
                Sight::ToDirectory { state } if state.starts_with("FAILED") => *failed.entry(state).or_default() += 1,
                _ => {}
            }
        }
        let is_end = |circuit: &str, state: &str| ends.get(circuit) == Some(&state);
        let mut lines = Vec::new();
        for (at, sight) in &visit.seen {
            let line = match sight {
                Sight::Asked { directory } => format!("asks {directory}"),
                Sight::Read { directory, points } => format!("{directory} gave a text naming {}", named(points)),
                Sight::Refused { directory, why } => format!("{directory}: {why}"),
                Sight::Introduction { circuit, relay, state } if is_end(circuit, state) => {
                    format!("introduction at {relay}: {state}")
                }
                // Those that the service did not come to are made anew all the time.
                Sight::Rendezvous { circuit, relay, state } if is_end(circuit, state) && state == "HSCR_JOINED" => {
                    format!("rendezvous at {relay}: {state}")
                }
                Sight::Stream { state, why: Some(why) } if !why.contains("DONE") => format!("stream {state} ({why})"),
                _ => continue,
            };
            lines.push(format!("{:.1} s: {line}", at - visit.at));
        }
        let middle = FIRST_LINES..lines.len().saturating_sub(LAST_LINES);
        if middle.len() > 1 {
            let left_out = format!("… {} more …", middle.len());
            lines.splice(middle, [left_out]);
        }
        let failed = failed
            .into_iter()
            .map(|(state, count)| format!("circuits to directories {state}: {count}"));
        lines.extend(failed);
        lines.join("; ")
    }
}

/// Reason why a visit was in vain.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Explanation {
    pub(crate) cause: Cause,
    /// Events of the client's Tor.
    pub(crate) evidence: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Cause {
    /// Every text that it read named nothing but what was broken.
    OnlyBroken(String),
    /// The client read texts that named something broken, and others.
    AlsoBroken(String),
    /// The client waited for a directory that was dead.
    DeadDirectory(String),
    /// No directory gave it a text.
    NoDescriptor,
    /// The records do not explain it.
    Unknown,
}

impl Cause {
    /// Returns the cause in words, without naming who was broken.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::OnlyBroken(_) => "the client read only points of an instance that was broken",
            Self::AlsoBroken(_) => "the client read points of a broken instance beside sound ones",
            Self::DeadDirectory(_) => "the client's Tor waited for a directory that was dead",
            Self::NoDescriptor => "no directory gave the client a descriptor",
            Self::Unknown => "**not explained**",
        }
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OnlyBroken(what) => write!(f, "it read only points of {what}"),
            Self::AlsoBroken(what) => write!(f, "it read points of {what}, and sound ones too"),
            Self::DeadDirectory(what) => write!(f, "its Tor insisted on {what}"),
            Self::NoDescriptor => f.write_str("no directory gave it a text"),
            Self::Unknown => f.write_str("**not explained**"),
        }
    }
}

/// Points in words: "3 points of b (relay4, relay5, relay9)".
fn named(points: &[Point]) -> String {
    let mut by_owner: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for point in points {
        let owner = point.owner.as_ref().map_or("nobody", |(owner, _)| owner);
        by_owner.entry(owner).or_default().push(&point.relay);
    }
    let words = by_owner
        .iter()
        .map(|(owner, relays)| format!("{} of {owner} ({})", relays.len(), relays.join(", ")));
    words.collect::<Vec<_>>().join(" and ")
}

/// The longest time from a visit in vain to the next that was not, or to the end.
fn gap(mut visits: Vec<&Visit>, end: f64) -> f64 {
    visits.sort_by(|a, b| a.at.total_cmp(&b.at));
    let (mut since, mut longest) = (None, 0.0_f64);
    for visit in visits {
        if visit.answer.is_err() {
            since.get_or_insert(visit.at);
        } else if let Some(since) = since.take() {
            longest = longest.max(visit.at - since);
        }
    }
    // None came through any more.
    since.map_or(longest, |since| longest.max(end - since))
}

/// Of no numbers there is neither.
pub(crate) fn median_and_maximum(numbers: &mut [f64]) -> Option<(f64, f64)> {
    numbers.sort_by(f64::total_cmp);
    let (lower, upper) = (
        numbers.get(numbers.len().checked_sub(1)? / 2)?,
        numbers.get(numbers.len() / 2)?,
    );
    Some(((lower + upper) / 2.0, *numbers.last()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(at: f64, answered: bool) -> Visit {
        Visit {
            client: "client1".to_owned(),
            at,
            took: 0.5,
            answer: if answered {
                Ok("a".to_owned())
            } else {
                Err("host unreachable".to_owned())
            },
            seen: Vec::new(),
        }
    }

    fn point(relay: &str, owner: &str, offered: f64) -> Point {
        Point {
            relay: relay.to_owned(),
            owner: Some((owner.to_owned(), offered)),
        }
    }

    fn read(directory: &str, points: Vec<Point>) -> Sight {
        Sight::Read {
            directory: directory.to_owned(),
            points,
        }
    }

    fn episode(visits: Vec<Visit>) -> Episode {
        Episode {
            hit: 10.0,
            paused: 20.0,
            resumed: 20.0,
            undone: Some(20.0),
            until: 30.0,
            ailments: vec![Ailment {
                who: "b".to_owned(),
                what: "was killed".to_owned(),
                from: 10.0,
                until: Some(22.0),
            }],
            visits,
            ..Episode::default()
        }
    }

    #[test]
    fn gap_goes_from_the_first_miss_to_the_next_success() {
        for (answers, gap) in [
            (&[true, true, true][..], 0.0),
            (&[true, false, true], 1.0),
            (&[false, false, true, false, true], 2.0),
            // Misses among successes are no gap of all.
            (&[true, false, true, false, true], 1.0),
        ] {
            let visits = answers
                .iter()
                .zip(0..)
                .map(|(&answered, at)| visit(f64::from(at), answered));
            assert_eq!(episode(visits.collect()).longest_gap(), gap, "{answers:?}");
        }
        // Visits end in another order than they begin in.
        let late_first = vec![visit(12.0, true), visit(11.0, false)];
        assert_eq!(episode(late_first).longest_gap(), 1.0);
        // Up to the pause, and up to the end.
        let to_the_pause = vec![visit(9.0, true), visit(11.0, false), visit(22.0, true)];
        assert_eq!(episode(to_the_pause).longest_gap(), 9.0);
        let to_the_end = vec![visit(9.0, true), visit(11.0, true), visit(28.0, false)];
        assert_eq!(episode(to_the_end).longest_gap(), 2.0);
    }

    #[test]
    fn rates_count_all_and_those_meanwhile() {
        let visits = [(9.0, true), (10.0, false), (19.9, true), (20.0, false)];
        let episode = episode(visits.into_iter().map(|(at, answered)| visit(at, answered)).collect());
        assert_eq!(episode.rate(), Rate { tried: 4, reached: 2 });
        assert_eq!(episode.rate_meanwhile(), Rate { tried: 2, reached: 1 });
        assert_eq!(Rate::default().part(), 1.0);
    }

    #[test]
    fn miss_is_explained_by_what_was_read() {
        let refused = Sight::Refused {
            directory: "relay1".to_owned(),
            why: "NOT_FOUND".to_owned(),
        };
        let dead = read("relay2", vec![point("relay4", "b", 10.0), point("relay5", "b", 10.0)]);
        let alive = read("relay3", vec![point("relay6", "a", 30.0)]);
        let left = read("relay3", vec![point("relay6", "a", 5.0)]);
        let mixed = read("relay3", vec![point("relay6", "a", 30.0), point("relay4", "b", 10.0)]);
        let broken = "b, which was killed 1.0 s before the text was read".to_owned();
        for (seen, cause) in [
            (vec![], Cause::Unknown),
            (vec![alive.clone()], Cause::Unknown),
            (vec![refused.clone()], Cause::NoDescriptor),
            (vec![dead.clone()], Cause::OnlyBroken(broken.clone())),
            (vec![dead.clone(), refused.clone()], Cause::OnlyBroken(broken.clone())),
            (vec![dead, alive], Cause::AlsoBroken(broken.clone())),
            (vec![mixed], Cause::AlsoBroken(broken)),
            (
                vec![left],
                Cause::OnlyBroken("a, which had not offered them for 6.0 s".to_owned()),
            ),
        ] {
            let visit = Visit {
                seen: seen.into_iter().map(|sight| (11.0, sight)).collect(),
                ..visit(10.5, false)
            };
            assert_eq!(episode(vec![]).explain(&visit).cause, cause, "{:?}", visit.seen);
        }
    }

    #[test]
    fn text_that_was_read_before_the_fault_is_blamed_too() {
        let dead = read("relay2", vec![point("relay4", "b", 9.9)]);
        let visit = Visit {
            seen: vec![(9.8, dead)],
            ..visit(9.7, false)
        };
        let Cause::OnlyBroken(what) = episode(vec![]).explain(&visit).cause else {
            panic!("it is explained");
        };
        assert_eq!(what, "b, which was killed 0.2 s after the text was read");
    }

    #[test]
    fn dead_directory_explains_those_who_waited_for_it() {
        let asks = |directory: &str| Sight::Asked {
            directory: directory.to_owned(),
        };
        let mut episode = episode(vec![]);
        episode.ailments = vec![Ailment {
            who: "relay1".to_owned(),
            what: "was killed".to_owned(),
            from: 10.0,
            until: None,
        }];
        let sound = read("relay2", vec![point("relay6", "a", 130.0)]);
        let waited = |seconds: &str| Cause::DeadDirectory(format!("relay1, which was killed, for {seconds} s"));
        for (took, seen, cause) in [
            (120.0, vec![(11.0, asks("relay1"))], waited("120.0")),
            (
                20.0,
                vec![(11.0, asks("relay1")), (30.0, asks("relay2")), (30.5, sound.clone())],
                waited("19.0"),
            ),
            (
                20.0,
                vec![(11.0, asks("relay1")), (12.0, asks("relay2")), (30.5, sound.clone())],
                Cause::Unknown,
            ),
            (20.0, vec![(11.0, asks("relay2")), (12.0, sound)], Cause::Unknown),
        ] {
            let visit = Visit {
                took,
                seen,
                ..visit(11.0, false)
            };
            assert_eq!(episode.explain(&visit).cause, cause, "{:?}", visit.seen);
        }
    }

    #[test]
    fn evidence_tells_each_circuit_once() {
        let introduction = |state: &str| Sight::Introduction {
            circuit: "7".to_owned(),
            relay: "relay4".to_owned(),
            state: state.to_owned(),
        };
        let visit = Visit {
            seen: vec![
                (
                    1.2,
                    read("relay2", vec![point("relay4", "b", 0.0), point("relay5", "b", 0.0)]),
                ),
                (1.3, introduction("BUILT")),
                (1.5, introduction("HSCI_INTRO_SENT")),
            ],
            ..visit(1.0, false)
        };
        let evidence = episode(vec![]).explain(&visit).evidence;
        assert_eq!(
            evidence,
            "0.2 s: relay2 gave a text naming 2 of b (relay4, relay5); 0.5 s: introduction at relay4: HSCI_INTRO_SENT"
        );
    }

    #[test]
    fn medians() {
        assert_eq!(median_and_maximum(&mut []), None);
        assert_eq!(median_and_maximum(&mut [3.0, 1.0, 2.0]), Some((2.0, 3.0)));
        assert_eq!(median_and_maximum(&mut [4.0, 1.0, 2.0, 3.0]), Some((2.5, 4.0)));
    }
}
