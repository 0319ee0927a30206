//! Writing SVG: a handful of shapes, in the order in which they are painted.

use std::f64::consts::TAU;
use std::fmt::Write as _;

pub(crate) const INK: &str = "#1b1f24";

/// Half the size of a shape.
pub(crate) const MARK: f64 = 14.0;

#[derive(Clone, Copy)]
pub(crate) enum Shape {
    Circle,
    Square,
    Diamond,
    Hexagon,
}

#[derive(Clone, Copy)]
pub(crate) struct Font {
    size: f64,
    bold: bool,
    fill: &'static str,
    anchor: Anchor,
}

#[derive(Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

impl Font {
    pub(crate) fn new(size: f64) -> Self {
        Self {
            size,
            bold: false,
            fill: INK,
            anchor: Anchor::Start,
        }
    }

    pub(crate) fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    pub(crate) fn fill(self, fill: &'static str) -> Self {
        Self { fill, ..self }
    }

    pub(crate) fn middle(self) -> Self {
        self.anchor(Anchor::Middle)
    }

    pub(crate) fn end(self) -> Self {
        self.anchor(Anchor::End)
    }

    pub(crate) fn anchor(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }

    /// About how wide Noto Sans sets a text; rather too much than too little.
    pub(crate) fn width(self, text: &str) -> f64 {
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

    /// Height of a line.
    pub(crate) fn height(self) -> f64 {
        self.size * 1.25
    }
}

/// An SVG document being written. Writing to a `String` cannot fail.
pub(crate) struct Svg(String);

impl Svg {
    pub(crate) fn new((width, height): (f64, f64), title: &str, description: &str) -> Self {
        let (title, description) = (escaped(title), escaped(description));
        Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             font-family=\"'Noto Sans', 'DejaVu Sans', sans-serif\" role=\"img\">\n\
             <title>{title}</title>\n<desc>{description}</desc>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
        ))
    }

    pub(crate) fn finish(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }

    pub(crate) fn open(&mut self, title: &str) {
        let _ = writeln!(self.0, "<g><title>{}</title>", escaped(title));
    }

    pub(crate) fn close(&mut self) {
        self.0.push_str("</g>\n");
    }

    pub(crate) fn text(&mut self, (x, y): (f64, f64), font: Font, text: &str) {
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

    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: &str, width: f64) {
        self.path(&[from, to], stroke, width);
    }

    pub(crate) fn path(&mut self, points: &[(f64, f64)], stroke: &str, width: f64) {
        let points = joined(points);
        let _ = writeln!(
            self.0,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"{width}\" stroke-linejoin=\"round\"/>"
        );
    }

    pub(crate) fn circle(&mut self, (x, y): (f64, f64), radius: f64, fill: &str, stroke: &str, width: f64) {
        let _ = writeln!(
            self.0,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" fill=\"{fill}\" stroke=\"{stroke}\" stroke-width=\"{width}\"/>"
        );
    }

    pub(crate) fn diamond(&mut self, (x, y): (f64, f64), half: f64, fill: &str, stroke: &str, width: f64) {
        let points = joined(&[(x, y - half), (x + half, y), (x, y + half), (x - half, y)]);
        let _ = writeln!(
            self.0,
            "<polygon points=\"{points}\" fill=\"{fill}\" stroke=\"{stroke}\" stroke-width=\"{width}\" stroke-linejoin=\"round\"/>"
        );
    }

    pub(crate) fn shape(&mut self, shape: Shape, (x, y): (f64, f64), fill: &str, opacity: f64) {
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

    pub(crate) fn arc(&mut self, center: (f64, f64), radius: f64, from: f64, span: f64, stroke: &str, width: f64) {
        let ((x, y), (to_x, to_y)) = (at(center, radius, from), at(center, radius, from + span));
        let large = u8::from(span > 0.5);
        let _ = writeln!(
            self.0,
            "<path d=\"M {x:.1} {y:.1} A {radius} {radius} 0 {large} 1 {to_x:.1} {to_y:.1}\" fill=\"none\" stroke=\"{stroke}\" \
             stroke-width=\"{width}\" stroke-linecap=\"round\"/>"
        );
    }

    /// An arrow head on a circle, pointing clockwise.
    pub(crate) fn chevron(&mut self, center: (f64, f64), radius: f64, turn: f64) {
        let back = turn - 0.006;
        let points = [
            at(center, radius + 4.5, back),
            at(center, radius, turn),
            at(center, radius - 4.5, back),
        ];
        self.path(&points, "#9aa2ae", 2.0);
    }

    pub(crate) fn bar(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), fill: &str) {
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

/// The point at `radius` in the direction of `turn`, which goes clockwise from the top.
pub(crate) fn at(center: (f64, f64), radius: f64, turn: f64) -> (f64, f64) {
    let angle = turn * TAU;
    (center.0 + radius * angle.sin(), center.1 - radius * angle.cos())
}
