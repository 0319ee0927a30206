//! The hash ring as a picture: what was measured in, SVG out.
//!
//! One ring for each state of the service, side by side. A relay stands where its fingerprint lies
//! between 00… (top) and FF…, clockwise. Of the relays that are responsible for a descriptor ID, a
//! mark says which instance's introduction points they hand out. Everything here is a pure function
//! of its arguments.

mod label;

use std::f64::consts::TAU;

use crate::svg::{Font, INK, MARK, Svg, at};
use label::{Area, GREY, Label, Line, Mark, PALE, RADIUS, settle, style};

/// The picture's width, in units that the PNG has two pixels for. Its height depends on where
/// labels stand.
const WIDTH: f64 = 1600.0;
/// Top of the rings with their labels, and the distance of the shares below them.
const RINGS_TOP: f64 = 212.0;
const SHARES_BELOW: f64 = 70.0;
/// From one instance's share to the next, and from the last one to the picture's end.
const SHARE_STEP: f64 = 38.0;
const FOOT: f64 = 112.0;

const BAND: &str = "#e4e7ec";

/// All that the picture shows.
pub(crate) struct Picture {
    pub(crate) title: String,
    pub(crate) subtitle: String,
    /// The instances' names; everything else names instances by their place here.
    pub(crate) instances: Vec<String>,
    /// All relays, in any order; everything else names relays by their place here.
    pub(crate) relays: Vec<Relay>,
    pub(crate) replicas: Vec<Replica>,
    /// The states to show, from left to right.
    pub(crate) states: Vec<State>,
}

/// A relay.
pub(crate) struct Relay {
    pub(crate) nickname: String,
    pub(crate) fingerprint: [u8; 20],
}

/// A descriptor ID and the relays that are responsible for it, in the order of the ring.
pub(crate) struct Replica {
    pub(crate) descriptor_id: [u8; 20],
    /// The ID as Tor writes it.
    pub(crate) text: String,
    pub(crate) directories: Vec<usize>,
}

/// State of the ring at one time.
pub(crate) struct State {
    pub(crate) heading: String,
    pub(crate) note: String,
    /// Text inside the ring: a large word and lines below it.
    pub(crate) verdict: String,
    pub(crate) verdict_notes: Vec<String>,
    /// For each replica and each of its directories: the instances whose introduction points it
    /// hands out.
    pub(crate) holds: Vec<Vec<Vec<usize>>>,
    /// Share of each instance.
    pub(crate) shares: Vec<Share>,
}

/// Share of an instance in the clients.
pub(crate) struct Share {
    /// By the plan, from 0 to 1.
    pub(crate) plan: f64,
    /// Visits of clients that it answered.
    pub(crate) visits: u64,
    pub(crate) dead: bool,
}

impl Picture {
    /// The picture as an SVG document.
    pub(crate) fn to_svg(&self) -> String {
        let before = std::iter::once(None).chain(self.states.iter().map(Some));
        let labels: Vec<_> = self
            .states
            .iter()
            .zip(before)
            .map(|(state, before)| settle(self.labels(state, before)))
            .collect();
        // No more room than the labels need.
        let reach = |of: fn(Area) -> f64| {
            let labels = labels.iter().flatten();
            labels.map(|label| of(label.text())).fold(RADIUS + 10.0, f64::max)
        };
        let middle = RINGS_TOP + reach(|area| area.half.1 - area.middle.1);
        let shares = middle + reach(|area| area.half.1 + area.middle.1) + SHARES_BELOW;
        let height = (shares + SHARE_STEP * self.instances.len() as f64 - SHARE_STEP + FOOT).round();

        let mut svg = Svg::new((WIDTH, height), &self.title, &self.subtitle);
        svg.text((60.0, 72.0), Font::new(34.0).bold(), &self.title);
        svg.text((60.0, 106.0), Font::new(17.0).fill(GREY), &self.subtitle);
        let column = WIDTH / self.states.len().max(1) as f64;
        for (i, (state, labels)) in self.states.iter().zip(&labels).enumerate() {
            let x = column * (i as f64 + 0.5);
            if i > 0 {
                let edge = column * i as f64;
                svg.line((edge, 150.0), (edge, height - 90.0), PALE, 1.0);
            }
            self.draw_ring(&mut svg, (x, middle), state, labels);
            self.draw_shares(&mut svg, (x, shares), state);
        }
        self.draw_key(&mut svg, height - 40.0);
        svg.finish()
    }

    fn draw_ring(&self, svg: &mut Svg, center: (f64, f64), state: &State, labels: &[Label]) {
        let (x, y) = center;
        svg.text((x, 164.0), Font::new(22.0).bold().middle(), &state.heading);
        svg.text((x, 189.0), Font::new(15.0).fill(GREY).middle(), &state.note);
        svg.open(&format!("ring: {}", state.heading));
        svg.circle(center, RADIUS, "none", PALE, 2.0);
        for replica in &self.replicas {
            self.draw_band(svg, center, replica);
        }
        draw_scale(svg, center);
        for label in labels {
            label.draw_leader(svg, center);
        }
        for relay in &self.relays {
            let turn = turn(&relay.fingerprint);
            let (inner, outer) = (at(center, RADIUS - 7.0, turn), at(center, RADIUS + 7.0, turn));
            svg.line(inner, outer, GREY, 2.0);
        }
        for label in labels {
            label.draw(svg, center);
        }
        svg.text((x, y + 2.0), Font::new(40.0).bold().middle(), &state.verdict);
        for (i, note) in state.verdict_notes.iter().enumerate() {
            let below = 30.0 + 21.0 * i as f64;
            svg.text((x, y + below), Font::new(15.0).fill(GREY).middle(), note);
        }
        svg.close();
    }

    /// The stretch of the ring from a descriptor ID to the last relay that is responsible for it.
    fn draw_band(&self, svg: &mut Svg, center: (f64, f64), replica: &Replica) {
        let from = turn(&replica.descriptor_id);
        let last = replica.directories.last().and_then(|&last| self.relays.get(last));
        let Some(to) = last.map(|relay| turn(&relay.fingerprint)) else {
            return;
        };
        let span = (to - from).rem_euclid(1.0);
        svg.arc(center, RADIUS, from, span, BAND, 18.0);
        // Arrow heads say which way it goes, wherever no relay stands.
        for step in 1..12 {
            let along = span * f64::from(step) / 12.0;
            let place = (from + along).rem_euclid(1.0);
            let near = |other: f64| (place - other + 0.5).rem_euclid(1.0) - 0.5;
            let free = self
                .relays
                .iter()
                .all(|relay| near(turn(&relay.fingerprint)).abs() > 0.014);
            if free && along * TAU * RADIUS > 22.0 && step % 2 == 0 {
                svg.chevron(center, RADIUS, place);
            }
        }
    }

    fn labels(&self, state: &State, before: Option<&State>) -> Vec<Label> {
        let mut labels = Vec::new();
        let mut responsible = vec![false; self.relays.len()];
        for (r, replica) in self.replicas.iter().enumerate() {
            let id: String = replica.text.chars().take(8).collect();
            let lines = vec![
                Line::new(format!("ID {}", r + 1), Font::new(14.0).bold()),
                Line::new(format!("{id}…"), Font::new(13.0).fill(GREY)),
            ];
            labels.push(Label::new(
                turn(&replica.descriptor_id),
                vec![Mark::Replica(r + 1)],
                lines,
            ));
            for (d, &directory) in replica.directories.iter().enumerate() {
                let Some(relay) = self.relays.get(directory) else {
                    continue;
                };
                if let Some(responsible) = responsible.get_mut(directory) {
                    *responsible = true;
                }
                let holds = held(state, r, d);
                let mut lines = vec![
                    Line::new(relay.nickname.clone(), Font::new(14.0).bold()),
                    Line::new(short(&relay.fingerprint), Font::new(13.0).fill(GREY)),
                ];
                let was = before.map(|before| held(before, r, d)).filter(|&was| was != holds);
                if let Some(&was) = was.and_then(<[_]>::first) {
                    let name = self.instances.get(was).map_or("?", String::as_str);
                    lines.push(Line::new(
                        format!("was {name}"),
                        Font::new(13.0).bold().fill(style(was).0),
                    ));
                }
                let marks = match holds {
                    [] => vec![Mark::Nothing],
                    holds => holds.iter().map(|&i| Mark::Instance(i, self.letter(i))).collect(),
                };
                labels.push(Label::new(turn(&relay.fingerprint), marks, lines));
            }
        }
        for (relay, _) in self.relays.iter().zip(responsible).filter(|&(_, is)| !is) {
            let lines = vec![Line::new(relay.nickname.clone(), Font::new(12.0).fill(GREY))];
            labels.push(Label::new(turn(&relay.fingerprint), Vec::new(), lines));
        }
        labels
    }

    /// Draws the share that the plan promises each instance, and the share it got.
    fn draw_shares(&self, svg: &mut Svg, (x, top): (f64, f64), state: &State) {
        /// From the ring's centre to the marks, the names, the bars and the right ends of three
        /// columns of numbers.
        const MARKS: f64 = -306.0;
        const NAMES: f64 = -284.0;
        const BARS: f64 = -186.0;
        const COLUMNS: [f64; 3] = [146.0, 232.0, 318.0];
        /// Length of the longest bar.
        const LONGEST: f64 = 236.0;
        let per_share = LONGEST / self.largest_share();
        let total = state.visits();
        let heads = [format!("of {total} visits"), "share".to_owned(), "plan │".to_owned()];
        for (column, head) in COLUMNS.into_iter().zip(&heads) {
            svg.text((x + column, top - 26.0), Font::new(13.0).fill(GREY).end(), head);
        }
        for (i, share) in state.shares.iter().enumerate() {
            let y = top + SHARE_STEP * i as f64;
            let name = self.instances.get(i).map_or("?", String::as_str);
            let (ink, opacity) = if share.dead { (GREY, 0.35) } else { (INK, 1.0) };
            Mark::Instance(i, self.letter(i)).draw(svg, (x + MARKS, y), opacity);
            svg.text(
                (x + NAMES, y + 5.5),
                Font::new(15.0).bold().fill(ink),
                &format!("instance {name}"),
            );
            if share.dead {
                svg.text((x + BARS, y + 5.5), Font::new(15.0).fill(GREY), "killed");
            }
            let part = share.of(total);
            svg.bar((x + BARS, y - 11.0), (part * per_share, 22.0), style(i).0);
            if share.plan > 0.0 {
                let mark = x + BARS + share.plan * per_share;
                svg.line((mark, y - 15.0), (mark, y + 15.0), INK, 2.5);
            }
            let percent = |part: f64| format!("{:.1} %", part * 100.0);
            let numbers = [share.visits.to_string(), percent(part), percent(share.plan)];
            for (column, number) in COLUMNS.into_iter().zip(&numbers) {
                svg.text((x + column, y + 5.5), Font::new(15.0).fill(ink).end(), number);
            }
        }
    }

    /// The largest share in any state, so that all bars have one scale; never 0.
    fn largest_share(&self) -> f64 {
        let shares = self.states.iter().flat_map(|state| {
            let total = state.visits();
            state.shares.iter().map(move |share| share.plan.max(share.of(total)))
        });
        shares.fold(0.01, f64::max)
    }

    /// Draws the key to the signs.
    fn draw_key(&self, svg: &mut Svg, y: f64) {
        const LEFT: f64 = 60.0;
        svg.line((LEFT, y - 34.0), (WIDTH - LEFT, y - 34.0), PALE, 1.0);
        let font = Font::new(14.0).fill(GREY);
        let instances = self.instances.len() as f64;
        let entries = [
            (4.0, "a relay, where its fingerprint lies: 00 at the top, clockwise"),
            (2.0 * MARK, "a descriptor ID"),
            (44.0, "from there clockwise: the three responsible directories"),
            (34.0 * instances - 6.0, "the instance they send clients to"),
        ];
        let widths = entries.map(|(sign, text)| sign + 12.0 + font.width(text));
        let gap = (WIDTH - 2.0 * LEFT - widths.iter().sum::<f64>()) / (entries.len() - 1) as f64;
        let mut x = LEFT;
        for (i, ((sign, text), width)) in entries.into_iter().zip(widths).enumerate() {
            match i {
                0 => svg.line((x + 2.0, y - 8.0), (x + 2.0, y + 8.0), GREY, 2.0),
                1 => Mark::Replica(1).draw(svg, (x + MARK, y), 1.0),
                2 => svg.bar((x, y - 9.0), (sign, 18.0), BAND),
                _ => {
                    for i in 0..self.instances.len() {
                        Mark::Instance(i, self.letter(i)).draw(svg, (x + MARK + 34.0 * i as f64, y), 1.0);
                    }
                }
            }
            svg.text((x + sign + 12.0, y + 5.0), font, text);
            x += width + gap;
        }
    }

    fn letter(&self, instance: usize) -> String {
        let name = self.instances.get(instance).map_or("?", String::as_str);
        name.chars().take(1).flat_map(char::to_uppercase).collect()
    }
}

impl State {
    fn visits(&self) -> u64 {
        self.shares.iter().map(|share| share.visits).sum()
    }
}

impl Share {
    /// Its part of all clients.
    fn of(&self, total: u64) -> f64 {
        if total == 0 {
            0.0
        } else {
            self.visits as f64 / total as f64
        }
    }
}

fn held(state: &State, replica: usize, directory: usize) -> &[usize] {
    let slots = state.holds.get(replica).map_or(&[][..], Vec::as_slice);
    slots.get(directory).map_or(&[], Vec::as_slice)
}

/// Returns the place of a digest on the ring, from 0 to 1.
fn turn(digest: &[u8; 20]) -> f64 {
    let [a, b, c, d, ..] = *digest;
    f64::from(u32::from_be_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0)
}

/// The first four bytes of a fingerprint.
fn short(fingerprint: &[u8; 20]) -> String {
    let [a, b, c, d, ..] = *fingerprint;
    format!("{a:02X}{b:02X}{c:02X}{d:02X}…")
}

/// The scale inside the ring: the first byte of a fingerprint.
fn draw_scale(svg: &mut Svg, center: (f64, f64)) {
    for (quarter, text) in ["00", "40", "80", "C0"].into_iter().enumerate() {
        let turn = quarter as f64 / 4.0;
        svg.line(
            at(center, RADIUS - 14.0, turn),
            at(center, RADIUS - 20.0, turn),
            PALE,
            1.5,
        );
        let (x, y) = at(center, RADIUS - 34.0, turn);
        svg.text((x, y + 4.5), Font::new(12.0).fill(GREY).middle(), text);
    }
}

#[cfg(test)]
mod tests {
    use super::label::any_overlap;
    use super::*;

    /// Digests that look random and are the same in every run.
    fn digest(seed: u32) -> [u8; 20] {
        let mut x = u64::from(seed);
        std::array::from_fn(|_| {
            x = x
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (x >> 56) as u8
        })
    }

    /// A ring of twelve relays, and who is responsible for two IDs on it.
    fn sample(seed: u32) -> Picture {
        let relays: Vec<_> = (0..12)
            .map(|i| Relay {
                nickname: if i < 3 {
                    format!("authority{}", i + 1)
                } else {
                    format!("relay{}", i - 2)
                },
                fingerprint: digest(seed * 100 + i),
            })
            .collect();
        let mut order: Vec<_> = (0..12).collect();
        order.sort_by_key(|&i: &usize| relays[i].fingerprint);
        let replica = |id: [u8; 20]| Replica {
            descriptor_id: id,
            text: "gm4w2k5bqjxasadd".to_owned(),
            directories: {
                let first = order.iter().position(|&i| relays[i].fingerprint >= id).unwrap_or(0);
                (0..3).map(|i| order[(first + i) % 12]).collect()
            },
        };
        let replicas = vec![replica(digest(seed * 100 + 50)), replica(digest(seed * 100 + 51))];
        let state = |heading: &str, holds: [usize; 6], dead: Option<usize>| State {
            heading: heading.to_owned(),
            note: "read back from every directory by a Tor of its own".to_owned(),
            verdict: "6 of 6".to_owned(),
            verdict_notes: vec!["directories proved".to_owned(), "790 ms after the kill".to_owned()],
            holds: holds
                .chunks(3)
                .map(|half| half.iter().map(|&i| vec![i]).collect())
                .collect(),
            shares: (0..3)
                .map(|i| Share {
                    plan: holds.iter().filter(|&&held| held == i).count() as f64 / 6.0,
                    visits: if dead == Some(i) { 0 } else { 17 + 4 * i as u64 },
                    dead: dead == Some(i),
                })
                .collect(),
        };
        Picture {
            title: "One onion service on three Tor instances".to_owned(),
            subtitle: "rf75jzdtba4wnd6v.onion & <others>".to_owned(),
            instances: ["a", "b", "c"].map(str::to_owned).to_vec(),
            relays,
            replicas,
            states: vec![
                state("Three instances serve", [0, 1, 2, 1, 2, 0], None),
                state("b is killed", [0, 2, 2, 0, 2, 0], Some(1)),
            ],
        }
    }

    #[test]
    fn labels_never_overlap() {
        for seed in 0..60 {
            let picture = sample(seed);
            for (i, state) in picture.states.iter().enumerate() {
                let before = i.checked_sub(1).map(|before| &picture.states[before]);
                let labels = settle(picture.labels(state, before));
                assert!(!any_overlap(&labels), "ring {seed}, state {i}");
                let marked = labels.iter().filter(|label| !label.marks.is_empty()).count();
                assert_eq!(marked, 8, "ring {seed}: two IDs and six directories");
                for label in &labels {
                    let area = label.text();
                    assert!(
                        area.middle.0.abs() + area.half.0 < WIDTH / 4.0,
                        "ring {seed}: {area:?} leaves the picture"
                    );
                }
            }
        }
    }

    #[test]
    fn places_follow_the_digest_clockwise_from_the_top() {
        let mut quarter = [0; 20];
        quarter[0] = 0x40;
        assert_eq!(turn(&[0; 20]), 0.0);
        assert_eq!(turn(&quarter), 0.25);
        let (x, y) = at((0.0, 0.0), 1.0, 0.25);
        assert!(
            (x - 1.0).abs() < 1e-9 && y.abs() < 1e-9,
            "a quarter turn is to the right: {x} {y}"
        );
    }

    #[test]
    fn document_names_everything_and_is_well_formed() {
        let picture = sample(7);
        let svg = picture.to_svg();
        for word in [
            "rf75jzdtba4wnd6v.onion &amp; &lt;others&gt;",
            "6 of 6",
            "was b",
            "killed",
            ">ID 2<",
        ] {
            assert!(svg.contains(word), "{word}");
        }
        for &directory in picture.replicas.iter().flat_map(|replica| &replica.directories) {
            let name = &picture.relays[directory].nickname;
            assert_eq!(svg.matches(&format!(">{name}<")).count(), 2, "{name} once in each ring");
        }
        let document = roxmltree::Document::parse(&svg).unwrap();
        assert_eq!(
            document.root_element().attribute("width"),
            Some(WIDTH.to_string().as_str())
        );
    }

    #[test]
    fn empty_picture_is_drawn() {
        let picture = Picture {
            title: String::new(),
            subtitle: String::new(),
            instances: Vec::new(),
            relays: Vec::new(),
            replicas: Vec::new(),
            states: Vec::new(),
        };
        assert!(picture.to_svg().ends_with("</svg>\n"));
    }
}
