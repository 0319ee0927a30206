//! A scanner of the `r`, `m` and `s` lines of router statuses.

use super::{Form, LineProblem, Microdescriptors, Relay};
use crate::{Error, Fingerprint, fingerprint::is_legal_nickname, text};

/// Reads router statuses that stand alone.
pub(super) fn parse(document: &str, microdescriptors: &Microdescriptors) -> Result<Vec<Relay>, Error> {
    let mut scanner = Scanner::new(Form::RouterStatuses, microdescriptors);
    for (number, line) in (1..).zip(document.lines()) {
        let mut items = line.split_ascii_whitespace();
        if let Some(keyword) = items.next() {
            scanner.line(number, keyword, items)?;
        }
    }
    scanner.finish()
}

/// Relays of a document that is read line by line.
pub(super) struct Scanner<'a> {
    form: Form,
    microdescriptors: &'a Microdescriptors,
    relays: Vec<Relay>,
    /// The relay whose `r` line was read last, with the number of that line, until its `s` line
    /// comes.
    pending: Option<(usize, Relay)>,
    /// The number of the last `r` line.
    router_line: usize,
}

impl<'a> Scanner<'a> {
    pub(super) const fn new(form: Form, microdescriptors: &'a Microdescriptors) -> Self {
        Self {
            form,
            microdescriptors,
            relays: Vec::new(),
            pending: None,
            router_line: 0,
        }
    }

    /// Reads one line: its number, its first item, and the items behind that.
    pub(super) fn line<'b>(
        &mut self,
        number: usize,
        keyword: &str,
        mut items: impl Iterator<Item = &'b str>,
    ) -> Result<(), Error> {
        match keyword {
            "r" => {
                self.expect_no_pending()?;
                self.router_line = number;
                let relay = self.router(items).map_err(|problem| self.at_line(number, problem))?;
                self.pending = Some((number, relay));
            }
            // In front of the `s` line, as dir-spec has it and as `routerstatus_format_entry`
            // writes it.
            "m" if self.form == Form::MicrodescConsensus => {
                if let Some((_, relay)) = &mut self.pending {
                    relay.ed25519_identity = self.microdescriptors.identity_of::<32>(items.next());
                }
            }
            "s" => {
                let Some((_, mut relay)) = self.pending.take() else {
                    return Err(self.at_line(
                        number,
                        match self.router_line {
                            0 => LineProblem::FlagsBeforeRouter,
                            router_line => LineProblem::SecondFlags { router_line },
                        },
                    ));
                };
                relay.is_hsdir = items.any(|flag| flag == "HSDir");
                self.relays.push(relay);
            }
            // Behind the `s` line. No second `r` line has come since, or the relay would be
            // pending.
            "pr" if self.pending.is_none() => {
                if let Some(relay) = self.relays.last_mut() {
                    relay.speaks_v3 = items.any(names_v3_hsdir);
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Vec<Relay>, Error> {
        self.expect_no_pending()?;
        Ok(self.relays)
    }

    fn expect_no_pending(&self) -> Result<(), Error> {
        match self.pending {
            Some((line, _)) => Err(self.at_line(line, LineProblem::NoFlags)),
            None => Ok(()),
        }
    }

    /// Reads the items behind the `r`; the flags come later.
    fn router<'b>(&self, mut items: impl Iterator<Item = &'b str>) -> Result<Relay, LineProblem> {
        let first_three = [(); 3].map(|()| items.next());
        let found = first_three.iter().flatten().count() + items.count();
        let expected = self.form.router_line_items();
        let (true, [Some(nickname), Some(identity), Some(digest)]) = (found >= expected, first_three) else {
            return Err(LineProblem::ShortRouterLine { expected, found });
        };
        if !is_legal_nickname(nickname) {
            return Err(LineProblem::Nickname);
        }
        let fingerprint = Fingerprint::from_base64(identity).map_err(|error| LineProblem::Identity(Box::new(error)))?;
        // A Tor that uses microdescriptors writes the start of their digest here. Another writes
        // that of a server descriptor, which no microdescriptor has.
        let ed25519_identity = match self.form {
            Form::RouterStatuses => self.microdescriptors.identity_of::<20>(Some(digest)),
            Form::PlainConsensus | Form::MicrodescConsensus => None,
        };
        Ok(Relay {
            fingerprint,
            nickname: nickname.into(),
            is_hsdir: false,
            speaks_v3: false,
            ed25519_identity,
        })
    }

    fn at_line(&self, line: usize, problem: LineProblem) -> Error {
        Error::Line {
            form: self.form,
            line,
            problem,
        }
    }
}

/// Tells whether an item of a `pr` line names version 2 of the protocol `HSDir`
/// (`PROTOVER_HSDIR_V3`, core/or/protover.h). An example is `HSDir=1-2`.
fn names_v3_hsdir(item: &str) -> bool {
    let Some(versions) = item.strip_prefix("HSDir=") else {
        return false;
    };
    versions.split(',').any(|range| {
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        matches!((low.parse::<u8>(), high.parse::<u8>()), (Ok(low), Ok(high)) if (low..=high).contains(&2))
    })
}

impl Form {
    /// Number of items behind the `r`: nickname, identity, digest, day, time, address, OR port,
    /// directory port (feature/nodelist/fmt_routerstatus.c:65-75). Fewer are refused
    /// (feature/dirparse/ns_parse.c:338), more are not. A microdesc consensus has no digest there
    /// (`offset`, ns_parse.c:316).
    const fn router_line_items(self) -> usize {
        match self {
            Self::RouterStatuses | Self::PlainConsensus => 8,
            Self::MicrodescConsensus => 7,
        }
    }
}

impl Microdescriptors {
    /// Returns the identity in the microdescriptor whose digest begins with the `N` bytes of this
    /// base64.
    fn identity_of<const N: usize>(&self, digest: Option<&str>) -> Option<crate::Ed25519Identity> {
        if self.is_empty() {
            return None;
        }
        let digest = text::decode::<N>("digest", &text::BASE64, digest?).ok()?;
        self.identity_by_digest(&digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_lists_of_ranges() {
        for (item, is_named) in [
            ("HSDir=2", true),
            ("HSDir=1-2", true),
            ("HSDir=1,2", true),
            ("HSDir=1,2-3", true),
            ("HSDir=1", false),
            ("HSDir=3-5", false),
            ("HSDir=12", false),
            ("HSDir=", false),
            ("HSDir=2-", false),
            ("HSDir", false),
            ("HSIntro=2", false),
        ] {
            assert_eq!(names_v3_hsdir(item), is_named, "{item}");
        }
    }
}
