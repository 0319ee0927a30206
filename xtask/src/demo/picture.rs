//! The hash ring as a picture: what was measured in, SVG out.
//!
//! One ring for each state of the service, side by side. A relay stands where its fingerprint lies between 00… (top) and FF…,
//! clockwise. Of the relays that are responsible for a descriptor ID, a mark says which instance's introduction points they hand
//! out. Everything here is a pure function of its arguments.

use std::f64::consts::TAU;
use std::fmt::Write as _;

/// The picture's size, in units that the PNG has two pixels for.
pub(crate) const WIDTH: f64 = 1600.0;
/// See [`WIDTH`].
pub(crate) const HEIGHT: f64 = 1140.0;

/// Where the rings' centres are, and their radius.
const MIDDLE: f64 = 546.0;
const RADIUS: f64 = 225.0;
/// From the ring's centre to the centres of the innermost marks, from one mark to the next, and from the last one to the text.
const MARKS_AT: f64 = RADIUS + 48.0;
const MARK_STEP: f64 = 30.0;
const TEXT_AFTER: f64 = 20.0;
/// Half the size of a mark.
const MARK: f64 = 14.0;
/// Where the text of a label without a mark begins.
const QUIET_AT: f64 = RADIUS + 26.0;
/// The free space between labels.
const GAP: f64 = 5.0;

const INK: &str = "#1b1f24";
const GREY: &str = "#6b7280";
const PALE: &str = "#c9ced6";
const BAND: &str = "#e4e7ec";

/// What an instance is drawn with: Okabe's and Ito's colours that carry white letters, told apart by shape as well.
const STYLES: [(&str, Shape); 4] = [
    ("#0072b2", Shape::Circle),
    ("#d55e00", Shape::Square),
    ("#00856a", Shape::Diamond),
    ("#a2578a", Shape::Hexagon),
];

#[derive(Clone, Copy)]
enum Shape {
    Circle,
    Square,
    Diamond,
    Hexagon,
}

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

/// One relay.
pub(crate) struct Relay {
    pub(crate) nickname: String,
    pub(crate) fingerprint: [u8; 20],
}

/// One descriptor ID and the relays that are responsible for it, in the order of the ring.
pub(crate) struct Replica {
    pub(crate) descriptor_id: [u8; 20],
    /// The ID as Tor writes it.
    pub(crate) text: String,
    pub(crate) directories: Vec<usize>,
}

/// What was found at one time.
pub(crate) struct State {
    pub(crate) heading: String,
    pub(crate) note: String,
    /// What is written into the ring: a large word and lines below it.
    pub(crate) verdict: String,
    pub(crate) verdict_notes: Vec<String>,
    /// For each replica and each of its directories: the instances whose introduction points it hands out.
    pub(crate) holds: Vec<Vec<Vec<usize>>>,
    /// One for each instance.
    pub(crate) shares: Vec<Share>,
}

/// What one instance gets of the clients.
pub(crate) struct Share {
    /// By the plan, from 0 to 1.
    pub(crate) plan: f64,
    /// Clients that it answered.
    pub(crate) clients: u64,
    pub(crate) dead: bool,
}

impl Picture {
    /// The picture as an SVG document.
    pub(crate) fn to_svg(&self) -> String {
        let mut svg = Svg::new(&self.title, &self.subtitle);
        svg.text(60.0, 72.0, Font::new(34.0).bold(), &self.title);
        svg.text(60.0, 106.0, Font::new(17.0).fill(GREY), &self.subtitle);
        let column = WIDTH / self.states.len().max(1) as f64;
        for (i, state) in self.states.iter().enumerate() {
            let x = column * (i as f64 + 0.5);
            let before = i.checked_sub(1).and_then(|before| self.states.get(before));
            self.draw_state(&mut svg, x, state, before);
        }
        for i in 1..self.states.len() {
            let x = column * i as f64;
            svg.line((x, 150.0), (x, HEIGHT - 90.0), PALE, 1.0);
        }
        self.draw_key(&mut svg);
        svg.finish()
    }

    fn draw_state(&self, svg: &mut Svg, x: f64, state: &State, before: Option<&State>) {
        let center = (x, MIDDLE);
        svg.text(x, 164.0, Font::new(22.0).bold().middle(), &state.heading);
        svg.text(x, 189.0, Font::new(15.0).fill(GREY).middle(), &state.note);
        svg.open(&format!("ring: {}", state.heading));
        svg.circle(center, RADIUS, "none", PALE, 2.0);
        for replica in &self.replicas {
            self.draw_band(svg, center, replica);
        }
        draw_scale(svg, center);
        let labels = settle(self.labels(state, before));
        for label in &labels {
            label.draw_leader(svg, center);
        }
        for relay in &self.relays {
            let turn = turn(&relay.fingerprint);
            svg.line(
                at(center, RADIUS - 7.0, turn),
                at(center, RADIUS + 7.0, turn),
                GREY,
                2.0,
            );
        }
        for label in &labels {
            label.draw(svg, center);
        }
        svg.text(x, MIDDLE + 2.0, Font::new(40.0).bold().middle(), &state.verdict);
        for (i, note) in state.verdict_notes.iter().enumerate() {
            let y = MIDDLE + 30.0 + 21.0 * i as f64;
            svg.text(x, y, Font::new(15.0).fill(GREY).middle(), note);
        }
        svg.close();
        self.draw_shares(svg, x, state);
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
            labels.push(Label {
                marks: vec![Mark::Replica(r + 1)],
                lines: vec![
                    Line::new(format!("descriptor ID {}", r + 1), Font::new(14.0).bold()),
                    Line::new(format!("{id}…"), Font::new(13.0).fill(GREY)),
                ],
                ..Label::new(turn(&replica.descriptor_id))
            });
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
                labels.push(Label {
                    marks,
                    lines,
                    ..Label::new(turn(&relay.fingerprint))
                });
            }
        }
        for (relay, _) in self
            .relays
            .iter()
            .zip(responsible)
            .filter(|&(_, responsible)| !responsible)
        {
            labels.push(Label {
                lines: vec![Line::new(relay.nickname.clone(), Font::new(12.0).fill(GREY))],
                ..Label::new(turn(&relay.fingerprint))
            });
        }
        labels
    }

    /// What the plan promises each instance, and what it got.
    fn draw_shares(&self, svg: &mut Svg, x: f64, state: &State) {
        const TOP: f64 = 944.0;
        /// From the ring's centre to the marks, the names, the bars and the right ends of three columns of numbers.
        const MARKS: f64 = -306.0;
        const NAMES: f64 = -284.0;
        const BARS: f64 = -186.0;
        const COLUMNS: [f64; 3] = [146.0, 232.0, 318.0];
        /// How long the longest bar is.
        const LONGEST: f64 = 236.0;
        let per_share = LONGEST / self.largest_share();
        let total = state.clients();
        let heads = [format!("of {total} clients"), "share".to_owned(), "plan │".to_owned()];
        for (column, head) in COLUMNS.into_iter().zip(&heads) {
            svg.text(x + column, TOP - 26.0, Font::new(13.0).fill(GREY).end(), head);
        }
        for (i, share) in state.shares.iter().enumerate() {
            let y = TOP + 38.0 * i as f64;
            let name = self.instances.get(i).map_or("?", String::as_str);
            let (ink, opacity) = if share.dead { (GREY, 0.35) } else { (INK, 1.0) };
            Mark::Instance(i, self.letter(i)).draw(svg, (x + MARKS, y), opacity);
            svg.text(
                x + NAMES,
                y + 5.5,
                Font::new(15.0).bold().fill(ink),
                &format!("instance {name}"),
            );
            if share.dead {
                svg.text(x + BARS, y + 5.5, Font::new(15.0).fill(GREY), "killed");
            }
            let part = share.of(total);
            svg.bar((x + BARS, y - 11.0), (part * per_share, 22.0), style(i).0);
            if share.plan > 0.0 {
                let mark = x + BARS + share.plan * per_share;
                svg.line((mark, y - 15.0), (mark, y + 15.0), INK, 2.5);
            }
            let percent = |part: f64| format!("{:.1} %", part * 100.0);
            let numbers = [share.clients.to_string(), percent(part), percent(share.plan)];
            for (column, number) in COLUMNS.into_iter().zip(&numbers) {
                svg.text(x + column, y + 5.5, Font::new(15.0).fill(ink).end(), number);
            }
        }
    }

    /// The largest share in any state, so that all bars have one scale; never 0.
    fn largest_share(&self) -> f64 {
        let shares = self.states.iter().flat_map(|state| {
            let total = state.clients();
            state.shares.iter().map(move |share| share.plan.max(share.of(total)))
        });
        shares.fold(0.01, f64::max)
    }

    /// What the signs mean.
    fn draw_key(&self, svg: &mut Svg) {
        const LEFT: f64 = 60.0;
        let y = HEIGHT - 40.0;
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
            svg.text(x + sign + 12.0, y + 5.0, font, text);
            x += width + gap;
        }
    }

    fn letter(&self, instance: usize) -> String {
        let name = self.instances.get(instance).map_or("?", String::as_str);
        name.chars().take(1).flat_map(char::to_uppercase).collect()
    }
}

impl State {
    fn clients(&self) -> u64 {
        self.shares.iter().map(|share| share.clients).sum()
    }
}

impl Share {
    /// Its part of all clients.
    fn of(&self, total: u64) -> f64 {
        if total == 0 {
            0.0
        } else {
            self.clients as f64 / total as f64
        }
    }
}

fn held(state: &State, replica: usize, directory: usize) -> &[usize] {
    let slots = state.holds.get(replica).map_or(&[][..], Vec::as_slice);
    slots.get(directory).map_or(&[], Vec::as_slice)
}

fn style(instance: usize) -> (&'static str, Shape) {
    let [first, ..] = STYLES;
    STYLES.get(instance % STYLES.len()).copied().unwrap_or(first)
}

/// Where on the ring a digest lies, from 0 to 1.
fn turn(digest: &[u8; 20]) -> f64 {
    let [a, b, c, d, ..] = *digest;
    f64::from(u32::from_be_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0)
}

/// The first four bytes of a fingerprint.
fn short(fingerprint: &[u8; 20]) -> String {
    let [a, b, c, d, ..] = *fingerprint;
    format!("{a:02X}{b:02X}{c:02X}{d:02X}…")
}

/// The point at `radius` in the direction of `turn`, which goes clockwise from the top.
fn at(center: (f64, f64), radius: f64, turn: f64) -> (f64, f64) {
    let angle = turn * TAU;
    (center.0 + radius * angle.sin(), center.1 - radius * angle.cos())
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
        svg.text(x, y + 4.5, Font::new(12.0).fill(GREY).middle(), text);
    }
}

// Labels and how they keep off each other.

/// What stands outside the ring and says what is on it.
#[derive(Clone)]
struct Label {
    /// Its place on the ring.
    turn: f64,
    /// The direction in which it stands.
    toward: f64,
    marks: Vec<Mark>,
    lines: Vec<Line>,
}

#[derive(Clone)]
enum Mark {
    Instance(usize, String),
    Replica(usize),
    Nothing,
}

#[derive(Clone)]
struct Line {
    text: String,
    font: Font,
}

/// A rectangle by its middle and half its size.
#[derive(Clone, Copy, Debug)]
struct Area {
    middle: (f64, f64),
    half: (f64, f64),
}

impl Area {
    fn overlaps(self, other: Self) -> bool {
        (self.middle.0 - other.middle.0).abs() < self.half.0 + other.half.0 + GAP
            && (self.middle.1 - other.middle.1).abs() < self.half.1 + other.half.1 + GAP
    }
}

impl Label {
    fn new(turn: f64) -> Self {
        Self {
            turn,
            toward: turn,
            marks: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// Where the text begins, from the ring's centre.
    fn text_at(&self) -> f64 {
        match self.marks.len() {
            0 => QUIET_AT,
            marks => MARKS_AT + MARK_STEP * (marks - 1) as f64 + TEXT_AFTER,
        }
    }

    fn marks(&self) -> impl Iterator<Item = (&Mark, Area)> {
        self.marks.iter().enumerate().map(|(i, mark)| {
            let middle = at((0.0, 0.0), MARKS_AT + MARK_STEP * i as f64, self.toward);
            let half = (MARK, MARK);
            (mark, Area { middle, half })
        })
    }

    /// Just outside the circle of `text_at`.
    fn text(&self) -> Area {
        let half = (
            self.lines.iter().map(Line::width).fold(0.0, f64::max) / 2.0,
            self.lines.iter().map(Line::height).sum::<f64>() / 2.0,
        );
        let (x, y) = at((0.0, 0.0), 1.0, self.toward);
        let radius = self.text_at() + half.0 * x.abs() + half.1 * y.abs();
        let middle = (x * radius, y * radius);
        Area { middle, half }
    }

    fn overlaps(&self, other: &Self) -> bool {
        let areas = |label: &Self| {
            let mut areas: Vec<_> = label.marks().map(|(_, area)| area).collect();
            areas.push(label.text());
            areas
        };
        let others = areas(other);
        areas(self)
            .into_iter()
            .any(|area| others.iter().any(|&other| area.overlaps(other)))
    }

    fn color(&self) -> &'static str {
        match self.marks.first() {
            Some(&Mark::Instance(i, _)) => style(i).0,
            Some(Mark::Replica(_) | Mark::Nothing) => INK,
            None => PALE,
        }
    }

    /// The line from its place on the ring to where it stands.
    fn draw_leader(&self, svg: &mut Svg, center: (f64, f64)) {
        let (foot, knee) = (at(center, RADIUS, self.turn), at(center, RADIUS + 12.0, self.turn));
        let Some(outermost) = self.marks.len().checked_sub(1) else {
            let text = self.text();
            let (x, y) = (center.0 + text.middle.0, center.1 + text.middle.1);
            let end = (
                knee.0.clamp(x - text.half.0, x + text.half.0),
                knee.1.clamp(y - text.half.1 * 0.8, y + text.half.1 * 0.8),
            );
            return svg.path(&[foot, knee, end], PALE, 1.0);
        };
        let end = at(center, MARKS_AT + MARK_STEP * outermost as f64, self.toward);
        svg.path(&[foot, knee, end], self.color(), 1.6);
    }

    fn draw(&self, svg: &mut Svg, center: (f64, f64)) {
        let place = at(center, RADIUS, self.turn);
        match self.marks.first() {
            Some(Mark::Replica(_)) => svg.diamond(place, 8.0, "#ffffff", INK, 2.0),
            Some(Mark::Instance(..) | Mark::Nothing) => svg.circle(place, 6.5, self.color(), "#ffffff", 2.0),
            None => {}
        }
        for (mark, area) in self.marks() {
            mark.draw(svg, (center.0 + area.middle.0, center.1 + area.middle.1), 1.0);
        }
        let area = self.text();
        // Text leans towards the ring.
        let sideways = (self.toward * TAU).sin();
        let (x, anchor) = if sideways > 0.3 {
            (area.middle.0 - area.half.0, Anchor::Start)
        } else if sideways < -0.3 {
            (area.middle.0 + area.half.0, Anchor::End)
        } else {
            (area.middle.0, Anchor::Middle)
        };
        let mut y = center.1 + area.middle.1 - area.half.1;
        for line in &self.lines {
            y += line.height();
            let font = Font { anchor, ..line.font };
            svg.text(center.0 + x, y - line.height() * 0.26, font, &line.text);
        }
    }
}

impl Mark {
    fn draw(&self, svg: &mut Svg, place: (f64, f64), opacity: f64) {
        let (letter, ink) = match self {
            Self::Instance(i, letter) => {
                let (color, shape) = style(*i);
                svg.shape(shape, place, color, opacity);
                (letter.clone(), "#ffffff")
            }
            Self::Replica(number) => {
                svg.circle(place, MARK - 1.0, "#ffffff", INK, 2.0);
                (number.to_string(), INK)
            }
            Self::Nothing => {
                svg.circle(place, MARK - 1.0, "#ffffff", GREY, 2.0);
                ("?".to_owned(), GREY)
            }
        };
        svg.text(
            place.0,
            place.1 + 5.3,
            Font::new(15.0).bold().middle().fill(ink),
            &letter,
        );
    }
}

impl Line {
    fn new(text: String, font: Font) -> Self {
        Self { text, font }
    }

    fn width(&self) -> f64 {
        self.font.width(&self.text)
    }

    fn height(&self) -> f64 {
        self.font.size * 1.25
    }
}

/// Turns labels away from each other, as little as is needed. Where there is no room for all of them, some without marks go.
fn settle(mut labels: Vec<Label>) -> Vec<Label> {
    labels.sort_by(|a, b| a.turn.total_cmp(&b.turn));
    loop {
        if part(&mut labels) {
            return labels;
        }
        let quiet =
            |label: &Label| label.marks.is_empty() && labels.iter().filter(|other| label.overlaps(other)).count() > 1;
        let Some(victim) = labels
            .iter()
            .position(quiet)
            .or_else(|| labels.iter().position(|label| label.marks.is_empty()))
        else {
            // Only names that count are left, and more of them than a ring has room for.
            return labels;
        };
        labels.remove(victim);
    }
}

/// Pushes neighbours apart until no two labels overlap; returns whether that was reached.
fn part(labels: &mut [Label]) -> bool {
    const STEP: f64 = 0.0006;
    const ROUNDS: usize = 3000;
    for label in labels.iter_mut() {
        label.toward = label.turn;
    }
    let count = labels.len();
    for _ in 0..ROUNDS {
        let mut moves = vec![0.0; count];
        for i in 0..count {
            for j in i + 1..count {
                if let (Some(a), Some(b)) = (labels.get(i), labels.get(j))
                    && a.overlaps(b)
                {
                    // The later one stands clockwise of the earlier, unless the way around the top is shorter.
                    let ahead = if b.toward - a.toward > 0.5 { -STEP } else { STEP };
                    add(&mut moves, i, -ahead);
                    add(&mut moves, j, ahead);
                }
            }
        }
        if moves.iter().all(|&by| by == 0.0) && !any_overlap(labels) {
            return true;
        }
        for (label, by) in labels.iter_mut().zip(moves) {
            label.toward += by.clamp(-STEP, STEP);
        }
    }
    !any_overlap(labels)
}

fn add(moves: &mut [f64], place: usize, by: f64) {
    if let Some(entry) = moves.get_mut(place) {
        *entry += by;
    }
}

fn any_overlap(labels: &[Label]) -> bool {
    labels
        .iter()
        .enumerate()
        .any(|(i, label)| labels.iter().skip(i + 1).any(|other| label.overlaps(other)))
}

// The document.

#[derive(Clone, Copy)]
struct Font {
    size: f64,
    bold: bool,
    fill: &'static str,
    anchor: Anchor,
}

#[derive(Clone, Copy)]
enum Anchor {
    Start,
    Middle,
    End,
}

impl Font {
    fn new(size: f64) -> Self {
        Self {
            size,
            bold: false,
            fill: INK,
            anchor: Anchor::Start,
        }
    }

    fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    fn fill(self, fill: &'static str) -> Self {
        Self { fill, ..self }
    }

    fn middle(self) -> Self {
        Self {
            anchor: Anchor::Middle,
            ..self
        }
    }

    fn end(self) -> Self {
        Self {
            anchor: Anchor::End,
            ..self
        }
    }

    /// About how wide Noto Sans sets a text; rather too much than too little.
    fn width(self, text: &str) -> f64 {
        let ems: f64 = text
            .chars()
            .map(|c| match c {
                'f' | 'i' | 'j' | 'l' | 'r' | 't' | ' ' | ',' | ':' | '.' => 0.33,
                'm' | 'w' | 'M' | 'W' | '…' => 0.88,
                'A'..='Z' => 0.66,
                _ => 0.58,
            })
            .sum();
        ems * self.size * if self.bold { 1.07 } else { 1.0 }
    }
}

/// An SVG document being written. Writing to a `String` cannot fail.
struct Svg(String);

impl Svg {
    fn new(title: &str, description: &str) -> Self {
        let (title, description) = (escaped(title), escaped(description));
        Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
             font-family=\"'Noto Sans', 'DejaVu Sans', sans-serif\" role=\"img\">\n\
             <title>{title}</title>\n<desc>{description}</desc>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
        ))
    }

    fn finish(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }

    fn open(&mut self, title: &str) {
        let _ = writeln!(self.0, "<g><title>{}</title>", escaped(title));
    }

    fn close(&mut self) {
        self.0.push_str("</g>\n");
    }

    fn text(&mut self, x: f64, y: f64, font: Font, text: &str) {
        let anchor = match font.anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let weight = if font.bold { "700" } else { "400" };
        let (size, fill, text) = (font.size, font.fill, escaped(text));
        let _ = writeln!(
            self.0,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" font-weight=\"{weight}\" fill=\"{fill}\" text-anchor=\"{anchor}\">{text}</text>"
        );
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: &str, width: f64) {
        self.path(&[from, to], stroke, width);
    }

    fn path(&mut self, points: &[(f64, f64)], stroke: &str, width: f64) {
        let points = joined(points);
        let _ = writeln!(
            self.0,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"{width}\" stroke-linejoin=\"round\"/>"
        );
    }

    fn circle(&mut self, (x, y): (f64, f64), radius: f64, fill: &str, stroke: &str, width: f64) {
        let _ = writeln!(
            self.0,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" fill=\"{fill}\" stroke=\"{stroke}\" stroke-width=\"{width}\"/>"
        );
    }

    fn diamond(&mut self, (x, y): (f64, f64), half: f64, fill: &str, stroke: &str, width: f64) {
        let points = joined(&[(x, y - half), (x + half, y), (x, y + half), (x - half, y)]);
        let _ = writeln!(
            self.0,
            "<polygon points=\"{points}\" fill=\"{fill}\" stroke=\"{stroke}\" stroke-width=\"{width}\" stroke-linejoin=\"round\"/>"
        );
    }

    fn shape(&mut self, shape: Shape, (x, y): (f64, f64), fill: &str, opacity: f64) {
        let polygon = |points: &[(f64, f64)]| {
            let points = joined(points);
            format!("<polygon points=\"{points}\" stroke=\"{fill}\" stroke-width=\"3\" stroke-linejoin=\"round\"")
        };
        let shape = match shape {
            Shape::Circle => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{MARK}\""),
            Shape::Square => {
                let half = MARK - 3.0;
                polygon(&[
                    (x - half, y - half),
                    (x + half, y - half),
                    (x + half, y + half),
                    (x - half, y + half),
                ])
            }
            Shape::Diamond => {
                let half = MARK + 1.5;
                polygon(&[(x, y - half), (x + half, y), (x, y + half), (x - half, y)])
            }
            Shape::Hexagon => {
                let corners: Vec<_> = (0..6).map(|i| at((x, y), MARK - 1.0, f64::from(i) / 6.0)).collect();
                polygon(&corners)
            }
        };
        let _ = writeln!(self.0, "{shape} fill=\"{fill}\" opacity=\"{opacity}\"/>");
    }

    fn arc(&mut self, center: (f64, f64), radius: f64, from: f64, span: f64, stroke: &str, width: f64) {
        let ((x, y), (to_x, to_y)) = (at(center, radius, from), at(center, radius, from + span));
        let large = u8::from(span > 0.5);
        let _ = writeln!(
            self.0,
            "<path d=\"M {x:.1} {y:.1} A {radius} {radius} 0 {large} 1 {to_x:.1} {to_y:.1}\" fill=\"none\" stroke=\"{stroke}\" \
             stroke-width=\"{width}\" stroke-linecap=\"round\"/>"
        );
    }

    /// An arrow head on a circle, pointing clockwise.
    fn chevron(&mut self, center: (f64, f64), radius: f64, turn: f64) {
        let back = turn - 0.006;
        let points = [
            at(center, radius + 4.5, back),
            at(center, radius, turn),
            at(center, radius - 4.5, back),
        ];
        self.path(&points, "#9aa2ae", 2.0);
    }

    fn bar(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), fill: &str) {
        let _ = writeln!(
            self.0,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"3\" fill=\"{fill}\"/>"
        );
    }
}

fn joined(points: &[(f64, f64)]) -> String {
    let points: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    points.join(" ")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
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
                    clients: if dead == Some(i) { 0 } else { 17 + 4 * i as u64 },
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
                    assert!(
                        area.middle.1.abs() + area.half.1 < 348.0,
                        "ring {seed}: {area:?} runs into other text"
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
            "descriptor ID 2",
        ] {
            assert!(svg.contains(word), "{word}");
        }
        for &directory in picture.replicas.iter().flat_map(|replica| &replica.directories) {
            let name = &picture.relays[directory].nickname;
            assert_eq!(svg.matches(&format!(">{name}<")).count(), 2, "{name} once in each ring");
        }
        let tree = resvg::usvg::Tree::from_str(&svg, &resvg::usvg::Options::default()).unwrap();
        assert_eq!(
            (tree.size().width(), tree.size().height()),
            (WIDTH as f32, HEIGHT as f32)
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
