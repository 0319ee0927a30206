//! Output of a command: lines with the time since the start, tables, and a spinner while something
//! is waited for.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use console::{StyledObject, measure_text_width, style};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// The colours of the picture, as near as a terminal with 256 of them comes.
const COLORS: [u8; 4] = [32, 166, 36, 132];

/// The terminal, or whatever the output goes to.
#[derive(Clone)]
pub(crate) struct Screen {
    start: Instant,
    /// On standard error, and hidden where that is no terminal.
    bars: MultiProgress,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            bars: MultiProgress::new(),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Returns whether bars are seen.
    pub(crate) fn is_interactive(&self) -> bool {
        !self.bars.is_hidden()
    }

    /// A line without a time.
    pub(crate) fn line(&self, text: &str) {
        self.bars.suspend(|| println!("{text}"));
    }

    /// The headline of a part.
    pub(crate) fn heading(&self, text: &str) {
        self.line(&format!("\n{}", style(text).bold()));
    }

    /// Something that happened.
    pub(crate) fn event(&self, text: &str) {
        self.line(&format!("{}  {text}", self.time()));
    }

    /// Something that the publisher said.
    pub(crate) fn publisher(&self, text: &str, warning: bool) {
        let text = if warning { style(text).yellow() } else { style(text) };
        self.line(&format!("{}  {}  {text}", self.time(), style("publisher │").dim()));
    }

    /// Waits for something until the returned value is dropped.
    pub(crate) fn wait(&self, what: &str, detail: &str) -> Wait {
        let bar = self.bars.add(ProgressBar::new_spinner().with_style(spinner()));
        bar.enable_steady_tick(Duration::from_millis(120));
        let wait = Wait {
            screen: self.clone(),
            bar,
            shown: Mutex::new(String::new()),
        };
        wait.set(what, detail);
        wait
    }

    /// A bar below the others; it goes when it is dropped.
    pub(crate) fn bar(&self, name: &str, color: usize, length: u64) -> Bar {
        let color = COLORS.get(color % COLORS.len()).copied().unwrap_or_default();
        let template = format!("          {{prefix}}  {{bar:40.{color}}} {{pos:>3}}");
        let look = ProgressStyle::with_template(&template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("█▉▊▋▌▍▎▏ ");
        let bar = self
            .bars
            .add(ProgressBar::new(length).with_style(look).with_prefix(name.to_owned()));
        bar.tick();
        Bar(bar)
    }

    /// A table, its columns as wide as they must be.
    pub(crate) fn table(&self, head: &[&str], rows: &[Vec<String>]) {
        let width = |column: usize| {
            let cells = rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| measure_text_width(cell));
            cells
                .chain(head.get(column).map(|head| measure_text_width(head)))
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<_> = (0..head.len()).map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = String>| {
            let cells: Vec<_> = cells.zip(&widths).map(|(cell, &width)| pad(&cell, width)).collect();
            format!("          {}", cells.join("   ")).trim_end().to_owned()
        };
        if head.iter().any(|head| !head.is_empty()) {
            self.line(
                &style(line(&mut head.iter().map(|&head| head.to_owned())))
                    .dim()
                    .to_string(),
            );
        }
        for row in rows {
            self.line(&line(&mut row.iter().cloned()));
        }
    }

    fn time(&self) -> StyledObject<String> {
        style(format!("{:>6.1} s", self.elapsed().as_secs_f64())).dim()
    }
}

/// Something that is being waited for.
pub(crate) struct Wait {
    screen: Screen,
    bar: ProgressBar,
    /// Last line of a terminal without spinners.
    shown: Mutex<String>,
}

impl Wait {
    /// Says what is being waited for, and how far it is.
    pub(crate) fn set(&self, what: &str, detail: &str) {
        self.bar.set_message(format!("{what} {detail}"));
        if self.screen.is_interactive() {
            return;
        }
        // A line for each thing, not for each of its steps.
        let mut shown = self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *shown != what {
            what.clone_into(&mut shown);
            self.screen.event(&format!("… {what}"));
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A bar that goes when it is dropped.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn set(&self, position: u64) {
        self.0.set_position(position);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// An instance's name in its colour.
pub(crate) fn colored(instance: usize, text: &str) -> String {
    let color = COLORS.get(instance % COLORS.len()).copied().unwrap_or_default();
    style(text).color256(color).bold().to_string()
}

pub(crate) fn good(text: &str) -> String {
    style(text).green().to_string()
}

pub(crate) fn bad(text: &str) -> String {
    style(text).red().bold().to_string()
}

/// A bar of blocks for `part` of 1, of which all have `width` places.
pub(crate) fn blocks(part: f64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (part.clamp(0.0, 1.0) * width as f64 * 8.0).round() as usize;
    let rest = EIGHTHS.get(eighths % 8).copied().unwrap_or_default();
    pad(&format!("{}{rest}", "█".repeat(eighths / 8)), width)
}

/// Fills a cell up to `width`; colours take no room.
fn pad(cell: &str, width: usize) -> String {
    let space = " ".repeat(width.saturating_sub(measure_text_width(cell)));
    format!("{cell}{space}")
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("          {spinner:.cyan} {msg} {elapsed:.dim}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_eighths_and_one_width() {
        for (part, expected) in [
            (0.0, "    "),
            (0.5, "██  "),
            (0.53125, "██▏ "),
            (1.0, "████"),
            (7.0, "████"),
        ] {
            assert_eq!(blocks(part, 4), expected, "{part}");
        }
    }

    #[test]
    fn colour_takes_no_room() {
        let cell = style("a").red().force_styling(true).to_string();
        assert_eq!(measure_text_width(&pad(&cell, 5)), 5);
    }
}
