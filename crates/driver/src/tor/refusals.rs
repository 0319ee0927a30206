//! Refusals of a Tor to tell a descriptor.

use std::time::Duration;

use tokio::time::Instant;

use crate::told::Told;

/// Time, two minutes, after which an instance without a descriptor is warned of. Introduction
/// points stand within some seconds.
const NOTHING_AFTER: Duration = Duration::from_secs(120);

/// Refusals to tell the instance's descriptor.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    since: Option<Instant>,
    /// The answers that were warned of.
    told: Told,
}

impl Refusals {
    /// Returns the warning that an answer deserves, once for each. `551 Not found in cache` is what
    /// a Tor says that has nothing to offer yet, so it counts after [`NOTHING_AFTER`] only; any
    /// other refusal stays.
    pub(super) fn take(&mut self, code: u16, text: &str, now: Instant) -> Option<String> {
        let since = *self.since.get_or_insert(now);
        let advice = match code {
            551 if now.duration_since(since) < NOTHING_AFTER => return None,
            551 => {
                "it has no descriptor of this service: look whether it has the service's private_key, or name its own address, and \
                 whether it has introduction points"
            }
            552 => "it cannot tell a descriptor of this service: look whether it hosts the service",
            510 => "its control port does not allow GETINFO hs/service/desc/id: a filter stands before it",
            _ => "it does not tell its descriptor",
        };
        let answer = format!("{code} {text}");
        let is_news = self.told.is_news(&answer);
        is_news.then(|| format!("{advice} (Tor answered {answer})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_warned_of_once_each_and_not_yet_is_given_time() {
        let start = Instant::now();
        let mut refusals = Refusals::default();
        for (code, text) in [(510, "Command filtered"), (552, "Unrecognized key")] {
            let warning = refusals.take(code, text, start).unwrap();
            assert!(warning.ends_with(&format!("(Tor answered {code} {text})")), "{warning}");
        }
        for (code, text) in [
            (510, "Command filtered"),
            (552, "Unrecognized key"),
            (510, "Command filtered"),
        ] {
            assert_eq!(
                refusals.take(code, text, start + 2 * NOTHING_AFTER),
                None,
                "they alternate"
            );
        }
        assert!(refusals.take(552, "another", start).is_some(), "each new text");

        let mut refusals = Refusals::default();
        let not_found = "Not found in cache";
        assert_eq!(refusals.take(551, not_found, start), None);
        assert!(refusals.take(551, not_found, start + NOTHING_AFTER).is_some());
        assert_eq!(refusals.take(551, not_found, start + 2 * NOTHING_AFTER), None);
    }
}
