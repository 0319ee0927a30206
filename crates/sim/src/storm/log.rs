//! The last events.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// The last so many things that happened.
#[derive(Debug)]
pub(super) struct Log {
    lines: VecDeque<(Duration, String)>,
    most: usize,
}

impl Log {
    pub(super) fn new(most: usize) -> Self {
        Self {
            lines: VecDeque::new(),
            most,
        }
    }

    /// Takes note. What it costs to write `line` is only spent if anybody will read it.
    pub(super) fn note(&mut self, at: Duration, line: impl fmt::Display) {
        if self.most == 0 {
            return;
        }
        if self.lines.len() >= self.most {
            self.lines.pop_front();
        }
        self.lines.push_back((at, line.to_string()));
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (at, line)) in self.lines.iter().enumerate() {
            let end = if i == 0 { "" } else { "\n" };
            write!(f, "{end}  {}  {line}", Uptime(*at))?;
        }
        Ok(())
    }
}

/// A duration as days and the time of the day.
pub(super) struct Uptime(pub(super) Duration);

impl fmt::Display for Uptime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.as_secs();
        write!(
            f,
            "day {} {:02}:{:02}:{:02}.{:03}",
            secs / 86400,
            secs / 3600 % 24,
            secs / 60 % 60,
            secs % 60,
            self.0.subsec_millis()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_stay() {
        let mut log = Log::new(2);
        for i in 0..4_u64 {
            log.note(Duration::from_millis(i * 90_061_001), i);
        }
        assert_eq!(log.to_string(), "  day 2 02:02:02.002  2\n  day 3 03:03:03.003  3");
        let mut none = Log::new(0);
        none.note(Duration::ZERO, "unread");
        assert_eq!(none.to_string(), "");
    }
}
