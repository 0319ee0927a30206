//! The picture: how gaps and responsibilities are distributed, and how near the directories of a
//! service are.

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::{Report, Service};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Result<T> = std::result::Result<T, DrawingAreaErrorKind<std::io::Error>>;

const WIDTH: u32 = 1200;
const TITLE: u32 = 64;
const PANEL: u32 = 420;

const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(27, 31, 36);
const FOUND: RGBColor = RGBColor(110, 163, 219);
const EXPECTED: RGBColor = RGBColor(200, 80, 30);
const USUAL: RGBColor = RGBColor(216, 221, 227);

/// An SVG document.
pub(crate) fn draw(report: &Report) -> anyhow::Result<String> {
    let mut picture = String::new();
    let panels = if report.service.is_some() { 2 } else { 1 };
    let root = SVGBackend::with_string(&mut picture, (WIDTH, TITLE + panels * PANEL)).into_drawing_area();
    // The backend's error borrows nothing that outlives it, but its type says so.
    draw_on(&root, report).map_err(|error| anyhow!("{error}"))?;
    drop(root);
    Ok(picture)
}

fn draw_on(root: &Area<'_>, report: &Report) -> Result<()> {
    root.fill(&WHITE)?;
    let count = report.directories.len();
    let title = format!("Anatomy of a ring of {count} directories ({})", report.origin);
    root.draw_text(&title, &(FONT, 26).into_font().color(&INK), (24, 22))?;

    let (_, panels) = root.split_vertically(TITLE);
    let (distributions, service) = panels.split_vertically(PANEL);
    let (left, right) = distributions.split_horizontally(WIDTH / 2);
    let mean = 1.0 / count as f64;
    Histogram {
        title: "Gaps between neighbours",
        x: "gap, in mean gaps (1/n of the ring)",
        values: report
            .directories
            .iter()
            .map(|directory| directory.gap / mean)
            .collect(),
        width: 0.2,
        end: 6.0,
        expected: |gap| (-gap).exp(),
        expected_name: "random keys: exponential",
    }
    .draw(&left)?;
    Histogram {
        title: "How much each directory is responsible for",
        x: "part of all descriptors, in means (3/n)",
        values: report
            .directories
            .iter()
            .map(|directory| directory.duty / (3.0 * mean))
            .collect(),
        width: 0.1,
        end: 3.0,
        expected: |duty| 13.5 * duty * duty * (-3.0 * duty).exp(),
        expected_name: "random keys: sum of three gaps",
    }
    .draw(&right)?;
    match &report.service {
        Some(found) => draw_service(&service, found, count),
        None => Ok(()),
    }
}

struct Histogram {
    title: &'static str,
    x: &'static str,
    values: Vec<f64>,
    /// Of a bar.
    width: f64,
    /// End of the axis. Values beyond it go into the last bar.
    end: f64,
    /// The density of what random keys give.
    expected: fn(f64) -> f64,
    expected_name: &'static str,
}

impl Histogram {
    fn draw(&self, area: &Area<'_>) -> Result<()> {
        let bars = (self.end / self.width).round();
        let mut percent = vec![0.0; bars as usize];
        for value in &self.values {
            let bar = (value / self.width).min(bars - 1.0) as usize;
            percent[bar] += 100.0 / self.values.len() as f64;
        }
        let at = |bar: f64| bar * self.width;
        let expected = |x: f64| 100.0 * self.width * (self.expected)(x);
        let highest = percent
            .iter()
            .copied()
            .chain((0..100).map(|step| expected(self.end * f64::from(step) / 100.0)));
        let top = 1.15 * highest.fold(0.0, f64::max);

        let mut chart = chart(area, self.title).build_cartesian_2d(0.0..self.end, 0.0..top)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(INK.mix(0.12))
            .axis_style(INK.mix(0.5))
            .label_style((FONT, 15).into_font().color(&INK))
            .axis_desc_style((FONT, 17).into_font().color(&INK))
            .x_desc(self.x)
            .y_desc("directories, in percent")
            .draw()?;
        let bars = percent.iter().enumerate().map(|(bar, percent)| {
            let corners = [(at(bar as f64 + 0.06), 0.0), (at(bar as f64 + 0.94), *percent)];
            Rectangle::new(corners, FOUND.filled())
        });
        chart
            .draw_series(bars)?
            .label("this ring (the last bar: and more)")
            .legend(|(x, y)| Rectangle::new([(x, y - 6), (x + 20, y + 6)], FOUND.filled()));
        let curve = (0..=300).map(|step| {
            let x = self.end * f64::from(step) / 300.0;
            (x, expected(x))
        });
        chart
            .draw_series(LineSeries::new(curve, EXPECTED.stroke_width(3)))?
            .label(self.expected_name)
            .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], EXPECTED.stroke_width(3)));
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .label_font((FONT, 15).into_font().color(&INK))
            .background_style(WHITE.mix(0.8))
            .draw()
    }
}

/// Distances within which nine of ten directories of the first, second and third place lie, in mean
/// gaps from the descriptor ID: quantiles of the gamma distributions with the shapes 1, 2 and 3.
const NINE_OF_TEN: [(f64, f64); 3] = [(0.0513, 2.996), (0.355, 4.744), (0.818, 6.296)];

fn draw_service(area: &Area<'_>, service: &Service, directories: usize) -> Result<()> {
    let title = format!("Directories of {} in time period {}", service.id, service.period);
    let slots = service.target.slots();
    let in_gaps = |fraction: f64| fraction * directories as f64;
    let nearest = slots
        .iter()
        .map(|slot| in_gaps(slot.distance().fraction()))
        .fold(0.02, f64::min);
    // Room for one that was put there on purpose, but not for the whole of the logarithm.
    let start = nearest.max(1e-12) / 2.0;
    let rows = slots.len() as f64;
    let mut chart = chart(area, &title)
        .y_label_area_size(150)
        .build_cartesian_2d((start..20.0).log_scale(), -rows..1.0)?;
    // Each row is one high, and goes down from 0; the legend stands above.
    let name = |row: &f64| -> String {
        let slot = slots.get((-*row) as usize);
        let slot = slot.filter(|_| *row < 0.0 && (row.fract().abs() - 0.5).abs() < 0.01);
        slot.map(|slot| format!("replica {}, place {}", slot.replica(), slot.place()))
            .unwrap_or_default()
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(INK.mix(0.12))
        .axis_style(INK.mix(0.5))
        .label_style((FONT, 15).into_font().color(&INK))
        .axis_desc_style((FONT, 17).into_font().color(&INK))
        .x_desc("distance from the descriptor ID, in mean gaps; the further left, the more suspicious")
        .x_label_formatter(&|gaps| format!("{gaps}"))
        .y_labels(2 * slots.len() + 3)
        .y_label_formatter(&name)
        .draw()?;
    let row = |number: usize| -(number as f64) - 0.5;
    let usual = slots.iter().enumerate().filter_map(|(number, slot)| {
        let (low, high) = NINE_OF_TEN.get(slot.place() - 1)?;
        let corners = [(low.max(start), row(number) - 0.3), (*high, row(number) + 0.3)];
        Some(Rectangle::new(corners, USUAL.filled()))
    });
    chart
        .draw_series(usual)?
        .label("where nine of ten are that nobody placed")
        .legend(|(x, y)| Rectangle::new([(x, y - 6), (x + 20, y + 6)], USUAL.filled()));
    let found = slots.iter().enumerate().map(|(number, slot)| {
        let gaps = in_gaps(slot.distance().fraction()).max(start);
        Circle::new((gaps, row(number)), 7, EXPECTED.filled())
    });
    chart
        .draw_series(found)?
        .label("directory")
        .legend(|(x, y)| Circle::new((x + 10, y), 7, EXPECTED.filled()));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font((FONT, 15).into_font().color(&INK))
        .background_style(TRANSPARENT)
        .draw()
}

fn chart<'a, 'b>(area: &'a Area<'b>, title: &str) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut chart = ChartBuilder::on(area);
    chart
        .caption(title, (FONT, 20).into_font().color(&INK))
        .margin(16)
        .x_label_area_size(52)
        .y_label_area_size(64);
    chart
}
