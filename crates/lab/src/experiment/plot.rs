//! Pictures of panels with axes, and PNG from SVG with a font that comes along.

use std::ops::Range;

use anyhow::anyhow;
use plotters::chart::ChartContext;
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Result<T> = std::result::Result<T, DrawingAreaErrorKind<std::io::Error>>;

const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(27, 31, 36);
const GREY: RGBColor = RGBColor(107, 114, 128);

/// The colours of instances, which can also be told apart with most kinds of colour blindness
/// (after Okabe and Ito).
const INSTANCES: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
];
/// Colour of the thesis's findings and plans.
pub(crate) const THESIS: RGBColor = RGBColor(27, 31, 36);
/// Colour of an even split, or of an ideal.
pub(crate) const IDEAL: RGBColor = RGBColor(107, 114, 128);
/// Something bad.
pub(crate) const BAD: RGBColor = RGBColor(247, 205, 198);

const PANEL: (u32, u32) = (420, 300);
const MARGIN: u32 = 24;
const LINE: u32 = 22;
/// About how wide a character is, in parts of its height.
const CHARACTER: f64 = 0.54;

/// The colour of an instance, counted from 0.
pub(crate) fn color(instance: usize) -> RGBColor {
    INSTANCES[instance % INSTANCES.len()]
}

/// A picture: a title, what one must know to read it, a key, and panels in rows.
pub(crate) struct Picture {
    pub(crate) title: String,
    pub(crate) notes: Vec<String>,
    pub(crate) key: Vec<(Sign, String)>,
    pub(crate) columns: usize,
    pub(crate) panels: Vec<Panel>,
}

/// Entries of the key.
#[derive(Clone, Copy)]
pub(crate) enum Sign {
    Line(RGBColor),
    Dashed(RGBColor),
    Bar(RGBColor),
    Range(RGBColor),
    Diamond(RGBColor),
}

/// Axes, and what is drawn between them.
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) layers: Vec<Layer>,
}

pub(crate) struct Axis {
    title: String,
    range: Range<f64>,
    labels: Labels,
}

enum Labels {
    Numbers,
    /// Values are powers of ten.
    Powers,
    /// For 0, 1 and so on.
    Names(Vec<String>),
}

/// Something between the axes, in the order in which it is painted.
pub(crate) enum Layer {
    Line(RGBColor, Vec<(f64, f64)>),
    Dashed(RGBColor, Vec<(f64, f64)>),
    /// From the bottom up to a value, around a place, so wide.
    Bar(RGBColor, (f64, f64), f64),
    /// At a place, from one value to another.
    Range(RGBColor, f64, (f64, f64)),
    Diamond(RGBColor, (f64, f64)),
    Dot(RGBColor, (f64, f64)),
    /// A time that is set off.
    Span(RGBColor, (f64, f64)),
    /// A text above a point.
    Text((f64, f64), String),
}

impl Axis {
    pub(crate) fn new(title: impl Into<String>, range: Range<f64>) -> Self {
        let end = if range.end > range.start {
            range.end
        } else {
            range.start + 1.0
        };
        Self {
            title: title.into(),
            range: range.start..end,
            labels: Labels::Numbers,
        }
    }

    /// An axis with a power of ten at each mark; the range too is one of values.
    pub(crate) fn powers(title: impl Into<String>, range: Range<f64>) -> Self {
        let range = range.start.log10().floor()..range.end.log10().ceil();
        Self {
            labels: Labels::Powers,
            ..Self::new(title, range)
        }
    }

    /// A place for each name, the first at 0.
    pub(crate) fn names<T: ToString>(title: impl Into<String>, names: impl IntoIterator<Item = T>) -> Self {
        let names: Vec<_> = names.into_iter().map(|name| name.to_string()).collect();
        Self {
            range: -0.6..names.len() as f64 - 0.4,
            title: title.into(),
            labels: Labels::Names(names),
        }
    }

    fn label(&self, value: f64) -> String {
        match &self.labels {
            Labels::Numbers => number(value),
            _ if (value - value.round()).abs() > 1e-6 => String::new(),
            Labels::Powers => number(10_f64.powi(value.round() as i32)),
            Labels::Names(names) => {
                let name = (value > -0.5).then(|| names.get(value.round() as usize)).flatten();
                name.cloned().unwrap_or_default()
            }
        }
    }

    /// Largest number of labels.
    fn label_count(&self, usual: usize) -> usize {
        match &self.labels {
            Labels::Numbers => usual,
            Labels::Powers => 2 * (self.range.end - self.range.start) as usize + 2,
            Labels::Names(names) => 2 * names.len() + 4,
        }
    }

    /// Returns the place at which a value is drawn.
    fn at(&self, value: f64) -> f64 {
        match self.labels {
            Labels::Powers => value.max(f64::MIN_POSITIVE).log10().max(self.range.start),
            _ => value,
        }
    }
}

/// A number as axes write it: thousands set apart, no needless decimals.
pub(crate) fn number(value: f64) -> String {
    if value.abs() < 1000.0 {
        let text = format!("{value:.3}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push('\u{a0}');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

impl Picture {
    /// The picture as an SVG document.
    pub(crate) fn draw(&self) -> anyhow::Result<String> {
        let columns = self.columns.clamp(1, self.panels.len().max(1));
        let rows = self.panels.len().div_ceil(columns);
        let width = columns as u32 * PANEL.0 + 2 * MARGIN;
        let key = self.key_lines(f64::from(width - 2 * MARGIN));
        let lines = self.notes.len() + key.len();
        let head = MARGIN + 40 + lines as u32 * LINE + 10;
        let height = head + rows as u32 * PANEL.1 + MARGIN / 2;
        let mut svg = String::new();
        let root = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
        // The backend's error borrows nothing that outlives it, but its type says so.
        self.draw_on(&root, &key, head, columns)
            .map_err(|error| anyhow!("{error}"))?;
        drop(root);
        Ok(svg)
    }

    fn draw_on(&self, root: &Area<'_>, key: &[Vec<(i32, usize)>], head: u32, columns: usize) -> Result<()> {
        root.fill(&WHITE)?;
        let left = MARGIN as i32;
        let mut y = MARGIN as i32;
        root.draw_text(&self.title, &(FONT, 25).into_font().color(&INK), (left, y))?;
        y += 40;
        for note in &self.notes {
            root.draw_text(note, &(FONT, 15).into_font().color(&GREY), (left, y))?;
            y += LINE as i32;
        }
        for line in key {
            for &(x, entry) in line {
                if let Some((sign, text)) = self.key.get(entry) {
                    sign.draw(root, (left + x, y + 8))?;
                    root.draw_text(text, &(FONT, 15).into_font().color(&INK), (left + x + 28, y))?;
                }
            }
            y += LINE as i32;
        }
        for (number, panel) in self.panels.iter().enumerate() {
            let (row, column) = ((number / columns) as u32, (number % columns) as u32);
            let (x, y) = (MARGIN + column * PANEL.0, head + row * PANEL.1);
            let area = root.clone().shrink((x, y), PANEL);
            panel.draw(&area)?;
        }
        root.present()
    }

    /// Breaks the key into lines: where each entry stands.
    fn key_lines(&self, width: f64) -> Vec<Vec<(i32, usize)>> {
        let mut lines: Vec<Vec<(i32, usize)>> = Vec::new();
        let mut x = f64::INFINITY;
        for (entry, (_, text)) in self.key.iter().enumerate() {
            let needs = 28.0 + 15.0 * CHARACTER * text.chars().count() as f64 + 26.0;
            if x + needs > width {
                lines.push(Vec::new());
                x = 0.0;
            }
            if let Some(line) = lines.last_mut() {
                line.push((x as i32, entry));
            }
            x += needs;
        }
        lines
    }
}

impl Sign {
    fn draw(self, root: &Area<'_>, (x, y): (i32, i32)) -> Result<()> {
        match self {
            Self::Line(color) => root.draw(&PathElement::new([(x, y), (x + 20, y)], color.stroke_width(3))),
            Self::Dashed(color) => [0, 8, 16].into_iter().try_for_each(|from| {
                root.draw(&PathElement::new(
                    [(x + from, y), (x + from + 5, y)],
                    color.stroke_width(2),
                ))
            }),
            Self::Bar(color) => root.draw(&Rectangle::new([(x + 3, y - 7), (x + 17, y + 7)], color.filled())),
            Self::Range(color) => {
                for (from, to) in [((10, -7), (10, 7)), ((5, -7), (15, -7)), ((5, 7), (15, 7))] {
                    let line = [(x + from.0, y + from.1), (x + to.0, y + to.1)];
                    root.draw(&PathElement::new(line, color.stroke_width(2)))?;
                }
                Ok(())
            }
            Self::Diamond(color) => root.draw(&Polygon::new(diamond((x + 10, y)), color.filled())),
        }
    }
}

fn diamond((x, y): (i32, i32)) -> Vec<(i32, i32)> {
    vec![(x, y - 7), (x + 7, y), (x, y + 7), (x - 7, y)]
}

impl Panel {
    fn draw(&self, area: &Area<'_>) -> Result<()> {
        let mut chart = ChartBuilder::on(area)
            .margin(6)
            .margin_right(18)
            .caption(&self.title, (FONT, 17).into_font().color(&INK))
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(self.x.range.clone(), self.y.range.clone())?;
        for layer in &self.layers {
            if let Layer::Span(color, (from, to)) = layer {
                let corners = [(*from, self.y.range.start), (*to, self.y.range.end)];
                chart.draw_series([Rectangle::new(corners, color.filled())])?;
            }
        }
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(INK.mix(0.12))
            .axis_style(INK.mix(0.5))
            .label_style((FONT, 13).into_font().color(&INK))
            .axis_desc_style((FONT, 14).into_font().color(&INK))
            .x_desc(self.x.title.as_str())
            .y_desc(self.y.title.as_str())
            .x_labels(self.x.label_count(6))
            .y_labels(self.y.label_count(7))
            .x_label_formatter(&|value| self.x.label(*value))
            .y_label_formatter(&|value| self.y.label(*value))
            .set_tick_mark_size(LabelAreaPosition::Bottom, 4)
            .draw()?;
        self.layers.iter().try_for_each(|layer| self.paint(&mut chart, layer))
    }

    fn paint(&self, chart: &mut Chart<'_, '_>, layer: &Layer) -> Result<()> {
        let at = |(x, y): (f64, f64)| (self.x.at(x), self.y.at(y));
        let points = |points: &[(f64, f64)]| points.iter().copied().map(at).collect::<Vec<_>>();
        let stroke = |from, to, color: RGBColor| PathElement::new([from, to], color.stroke_width(2));
        match layer {
            Layer::Line(color, line) => {
                chart.draw_series([PathElement::new(points(line), color.stroke_width(2))])?;
            }
            Layer::Dashed(color, line) => {
                chart.draw_series(DashedLineSeries::new(points(line), 5, 4, color.stroke_width(2)))?;
            }
            Layer::Bar(color, (x, y), width) => {
                let corners = [(x - width / 2.0, self.y.range.start), (x + width / 2.0, self.y.at(*y))];
                chart.draw_series([Rectangle::new(corners, color.filled())])?;
            }
            Layer::Range(color, x, (low, high)) => {
                let ((x, low), (_, high)) = (at((*x, *low)), at((*x, *high)));
                let cap = (self.x.range.end - self.x.range.start) / 80.0;
                chart.draw_series([
                    stroke((x, low), (x, high), *color),
                    stroke((x - cap, low), (x + cap, low), *color),
                    stroke((x - cap, high), (x + cap, high), *color),
                ])?;
            }
            Layer::Diamond(color, point) => {
                let here = EmptyElement::at(at(*point)) + Polygon::new(diamond((0, 0)), color.filled());
                chart.draw_series([here])?;
            }
            Layer::Dot(color, point) => {
                chart.draw_series([Circle::new(at(*point), 3, color.filled())])?;
            }
            Layer::Span(..) => {}
            Layer::Text(point, text) => {
                let style = (FONT, 13)
                    .into_font()
                    .color(&INK)
                    .pos(Pos::new(HPos::Center, VPos::Bottom));
                let here = EmptyElement::at(at(*point)) + Text::new(text.clone(), (0, -4), style);
                chart.draw_series([here])?;
            }
        }
        Ok(())
    }
}
