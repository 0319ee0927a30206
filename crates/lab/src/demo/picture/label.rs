//! Labels outside the ring, and how they keep off each other.

use std::f64::consts::TAU;

use crate::svg::{Anchor, Font, INK, MARK, Shape, Svg, at};

/// The ring's radius.
pub(super) const RADIUS: f64 = 225.0;
/// From the ring's centre to the centres of the innermost marks, from one mark to the next, and
/// from the last one to the text.
const MARKS_AT: f64 = RADIUS + 48.0;
const MARK_STEP: f64 = 30.0;
const TEXT_AFTER: f64 = 20.0;
/// Distance of a text without a mark from the ring.
const QUIET_AT: f64 = RADIUS + 26.0;
/// The free space between labels.
const GAP: f64 = 5.0;

pub(super) const GREY: &str = "#6b7280";
pub(super) const PALE: &str = "#c9ced6";

/// Looks of the instances: Okabe's and Ito's colours that carry white letters, told apart by shape
/// as well.
const STYLES: [(&str, Shape); 4] = [
    ("#0072b2", Shape::Circle),
    ("#d55e00", Shape::Square),
    ("#00856a", Shape::Diamond),
    ("#a2578a", Shape::Hexagon),
];

/// Label outside the ring, of something on it.
#[derive(Clone)]
pub(super) struct Label {
    /// Its place on the ring.
    turn: f64,
    /// The direction in which it stands.
    toward: f64,
    pub(super) marks: Vec<Mark>,
    lines: Vec<Line>,
}

#[derive(Clone)]
pub(super) enum Mark {
    Instance(usize, String),
    Replica(usize),
    Nothing,
}

#[derive(Clone)]
pub(super) struct Line {
    text: String,
    font: Font,
}

/// A rectangle by its middle and half its size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub(super) middle: (f64, f64),
    pub(super) half: (f64, f64),
}

impl Area {
    fn overlaps(self, other: Self) -> bool {
        (self.middle.0 - other.middle.0).abs() < self.half.0 + other.half.0 + GAP
            && (self.middle.1 - other.middle.1).abs() < self.half.1 + other.half.1 + GAP
    }
}

impl Label {
    /// A label of the place at `turn`; one without marks is written small and goes where there is
    /// no room.
    pub(super) fn new(turn: f64, marks: Vec<Mark>, lines: Vec<Line>) -> Self {
        Self {
            turn,
            toward: turn,
            marks,
            lines,
        }
    }

    /// Distance of the text from the ring's centre.
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
    pub(super) fn text(&self) -> Area {
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
    pub(super) fn draw_leader(&self, svg: &mut Svg, center: (f64, f64)) {
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

    pub(super) fn draw(&self, svg: &mut Svg, center: (f64, f64)) {
        let place = at(center, RADIUS, self.turn);
        match self.marks.first() {
            Some(Mark::Replica(_)) => svg.diamond(place, 8.0, "#ffffff", INK, 2.0),
            Some(Mark::Instance(..) | Mark::Nothing) => svg.circle(place, 6.0, self.color(), "#ffffff", 2.0),
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
            let font = line.font.anchor(anchor);
            svg.text((center.0 + x, y - line.height() * 0.26), font, &line.text);
        }
    }
}

impl Mark {
    pub(super) fn draw(&self, svg: &mut Svg, place: (f64, f64), opacity: f64) {
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
            (place.0, place.1 + 5.3),
            Font::new(15.0).bold().middle().fill(ink),
            &letter,
        );
    }
}

impl Line {
    pub(super) fn new(text: String, font: Font) -> Self {
        Self { text, font }
    }

    fn width(&self) -> f64 {
        self.font.width(&self.text)
    }

    fn height(&self) -> f64 {
        self.font.height()
    }
}

/// Turns labels away from each other, as little as is needed. Where there is no room for all of
/// them, some without marks go.
pub(super) fn settle(mut labels: Vec<Label>) -> Vec<Label> {
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
                    // The later one stands clockwise of the earlier, unless the way around the top
                    // is shorter.
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

pub(super) fn any_overlap(labels: &[Label]) -> bool {
    labels
        .iter()
        .enumerate()
        .any(|(i, label)| labels.iter().skip(i + 1).any(|other| label.overlaps(other)))
}

pub(super) fn style(instance: usize) -> (&'static str, Shape) {
    let [first, ..] = STYLES;
    STYLES.get(instance % STYLES.len()).copied().unwrap_or(first)
}
