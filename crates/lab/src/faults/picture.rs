//! The faults as a picture: a line for each, and each request as a dot along time.

use super::record::Episode;
use crate::svg::{Font, INK, Svg};

const WIDTH: f64 = 1600.0;
/// Left and right ends of time. Its length in pixels per second follows from both.
const LEFT: f64 = 440.0;
const RIGHT: f64 = 1560.0;
const TOP: f64 = 190.0;
/// From one fault's line to the next.
const STEP: f64 = 64.0;
const GREY: &str = "#6b7280";
const PALE: &str = "#e4e7ec";
const GOOD: &str = "#2a9d6f";
const BAD: &str = "#d1352b";
const FAULT: &str = "#f7d9d4";
const PROVED: &str = "#1f5fbf";
/// An answer that took longer is drawn higher, up to this.
const SLOWEST: f64 = 20.0;
const RISE: f64 = 24.0;

/// Draws all faults, as SVG.
pub(crate) fn draw(episodes: &[Episode]) -> String {
    let (first, last) = span(episodes);
    let x = |seconds: f64| LEFT + (seconds - first) / (last - first).max(1.0) * (RIGHT - LEFT);
    let height = TOP + STEP * episodes.len() as f64 + 70.0;
    let title = "What new clients notice of faults";
    let subtitle = "each dot is a request by a client with a fresh identity, at the time at which it began, in seconds from the fault; left out is the time in which the last answers are waited for before it is undone";
    let mut svg = Svg::new((WIDTH, height), title, subtitle);
    svg.text((60.0, 66.0), Font::new(30.0).bold(), title);
    svg.text((60.0, 98.0), Font::new(16.0).fill(GREY), subtitle);
    draw_key(&mut svg, 132.0);
    draw_scale(&mut svg, (first, last), height - 60.0, x);
    for (i, episode) in episodes.iter().enumerate() {
        draw_episode(&mut svg, episode, TOP + STEP * i as f64, x);
    }
    svg.finish()
}

/// The first and the last second, counted from the fault, that any of them has.
fn span(episodes: &[Episode]) -> (f64, f64) {
    let first = episodes
        .iter()
        .map(|episode| episode.from - episode.hit)
        .fold(0.0, f64::min);
    let last = episodes
        .iter()
        .map(|episode| shown(episode, episode.until))
        .fold(1.0, f64::max);
    (first, last)
}

/// Returns the place of a time, in seconds from the fault. The pause before it is undone is left
/// out.
fn shown(episode: &Episode, at: f64) -> f64 {
    let at = if at < episode.resumed {
        at.min(episode.paused)
    } else {
        at - episode.resumed + episode.paused
    };
    at - episode.hit
}

fn draw_episode(svg: &mut Svg, episode: &Episode, top: f64, x: impl Fn(f64) -> f64) {
    let line = top + STEP - 22.0;
    let rate = episode.rate();
    svg.open(&episode.title);
    svg.text((60.0, line - 8.0), Font::new(16.0).bold(), &episode.title);
    let counts = format!(
        "{} of {} requests, gap {:.1} s",
        rate.reached,
        rate.tried,
        episode.longest_gap()
    );
    svg.text((60.0, line + 12.0), Font::new(13.0).fill(GREY), &counts);
    let end = shown(episode, episode.undone.unwrap_or(episode.until));
    let width = (x(end) - x(0.0)).max(2.0);
    svg.bar((x(0.0), line - RISE - 8.0), (width, RISE + 16.0), FAULT);
    svg.line(
        (x(episode.from - episode.hit), line),
        (x(shown(episode, episode.until)), line),
        PALE,
        1.5,
    );
    if let Some(clean) = episode.clean {
        let clean = shown(episode, episode.hit + clean);
        svg.line((x(clean), line - RISE - 12.0), (x(clean), line + 10.0), PROVED, 2.0);
    }
    for visit in &episode.visits {
        let rise = RISE * (visit.took / SLOWEST).min(1.0);
        let (fill, radius) = if visit.answer.is_ok() { (GOOD, 3.4) } else { (BAD, 5.5) };
        svg.circle((x(shown(episode, visit.at)), line - rise), radius, fill, "#ffffff", 0.8);
    }
    svg.close();
}

fn draw_scale(svg: &mut Svg, (first, last): (f64, f64), y: f64, x: impl Fn(f64) -> f64) {
    let mut second = (first / 5.0).ceil() * 5.0;
    while second <= last {
        svg.line((x(second), TOP), (x(second), y), PALE, 0.8);
        let text = if second > 0.0 {
            format!("+{second} s")
        } else {
            format!("{second} s")
        };
        svg.text((x(second), y + 20.0), Font::new(13.0).fill(GREY).middle(), &text);
        second += 5.0;
    }
}

fn draw_key(svg: &mut Svg, y: f64) {
    let font = Font::new(14.0).fill(INK);
    let mut x = 60.0;
    let mut entry = |svg: &mut Svg, text: &str, draw: &dyn Fn(&mut Svg, f64)| {
        draw(svg, x + 8.0);
        svg.text((x + 22.0, y + 5.0), font, text);
        x += 22.0 + font.width(text) + 30.0;
    };
    entry(
        svg,
        "an instance answered; the higher, the later, up to 20 s",
        &|svg, x| svg.circle((x, y), 3.4, GOOD, "#ffffff", 0.8),
    );
    entry(svg, "nobody answered", &|svg, x| {
        svg.circle((x, y), 5.5, BAD, "#ffffff", 0.8)
    });
    entry(svg, "the fault, until it is undone", &|svg, x| {
        svg.bar((x - 7.0, y - 8.0), (14.0, 16.0), FAULT)
    });
    entry(svg, "the publisher has proved every directory clean", &|svg, x| {
        svg.line((x, y - 9.0), (x, y + 9.0), PROVED, 2.0)
    });
}

#[cfg(test)]
mod tests {
    use super::super::record::Visit;
    use super::*;

    #[test]
    fn every_request_is_a_dot() {
        let visit = |at: f64, answered: bool| Visit {
            client: "client1".to_owned(),
            at,
            took: 0.6,
            answer: if answered {
                Ok("a".to_owned())
            } else {
                Err("no".to_owned())
            },
            seen: Vec::new(),
        };
        let episode = Episode {
            title: "instance killed".to_owned(),
            from: 0.0,
            hit: 6.0,
            paused: 21.0,
            resumed: 21.0,
            undone: Some(21.0),
            until: 42.0,
            clean: Some(0.5),
            visits: (0..80).map(|i| visit(f64::from(i) * 0.5, i != 13)).collect(),
            ..Episode::default()
        };
        let svg = draw(&[episode]);
        // One more of each stands in the key.
        assert_eq!(svg.matches(GOOD).count(), 79 + 1);
        assert_eq!(svg.matches(BAD).count(), 1 + 1);
        assert!(svg.contains("79 of 80 requests, gap 0.5 s"));
        roxmltree::Document::parse(&svg).unwrap();
    }
}
