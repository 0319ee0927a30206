//! A scanner of consensuses: the lines of the header that say when it holds and what it sets for
//! onion services, and the router statuses.

use super::onion_services::OnionServices;
use super::router_status::Scanner;
use super::{Form, Lifetime, LineProblem, Microdescriptors, Relay};
use crate::{Error, UnixTime};

/// The line that ends the last signature, and with it every whole consensus.
const LAST_LINE: &str = "-----END SIGNATURE-----";

/// The lines of the header that say when a consensus holds, in their order.
const TIMES: [&str; 3] = ["valid-after", "fresh-until", "valid-until"];

/// Reads a consensus of the flavour that `form` names.
///
/// Everything else is passed over: other parameters, authorities, bandwidths and signatures,
/// whatever they look like.
pub(super) fn parse(
    form: Form,
    document: &str,
    microdescriptors: &Microdescriptors,
) -> Result<(Vec<Relay>, Lifetime, OnionServices), Error> {
    let mut scanner = Scanner::new(form, microdescriptors);
    let mut part = Part::Start;
    let mut times = [None; 3];
    let mut onion_services = OnionServices::default();
    let mut last = (1, "");

    for (number, line) in (1..).zip(document.lines()) {
        let wrong = |problem| Error::Line {
            form,
            line: number,
            problem,
        };
        if !line.trim_ascii().is_empty() {
            last = (number, line);
        }
        if part == Part::Start && super::is_preface(line) {
            continue;
        }
        let mut items = line.split_ascii_whitespace();
        let Some(keyword) = items.next() else { continue };
        match (&part, keyword) {
            (Part::Start, "network-status-version") if Form::of_consensus(&mut items) == Some(form) => {
                part = Part::Header
            }
            (Part::Start, _) => return Err(wrong(LineProblem::OtherDocument)),
            (_, "network-status-version") => return Err(wrong(LineProblem::SecondDocument)),
            (Part::Header, "vote-status") if items.next() != Some("consensus") => {
                return Err(wrong(LineProblem::Vote));
            }
            (Part::Header | Part::Relays, "directory-footer" | "directory-signature") => part = Part::Footer,
            (Part::Header, "r" | "s") => {
                part = Part::Relays;
                lifetime(&times).map_err(wrong)?;
                scanner.line(number, keyword, items)?;
            }
            (Part::Header, _) => {
                if let Some((place, keyword)) = TIMES.iter().enumerate().find(|(_, time)| **time == keyword)
                    && let Some(time) = times.get_mut(place)
                {
                    *time = Some(read_time(keyword, line).map_err(wrong)?);
                } else {
                    onion_services.line(keyword, items).map_err(wrong)?;
                }
            }
            (Part::Relays, _) => scanner.line(number, keyword, items)?,
            (Part::Footer, _) => {}
        }
    }

    let (line, text) = last;
    let wrong = |problem| Error::Line { form, line, problem };
    if part != Part::Footer || text.trim_ascii() != LAST_LINE {
        return Err(wrong(LineProblem::CutOff));
    }
    Ok((scanner.finish()?, lifetime(&times).map_err(wrong)?, onion_services))
}

/// The parts of a consensus, in their order.
#[derive(PartialEq, Eq)]
enum Part {
    /// Blank lines and annotations.
    Start,
    Header,
    Relays,
    Footer,
}

impl Form {
    /// Returns the flavour of a consensus, given the items behind `network-status-version`
    /// (dir-spec, section 3.4.1).
    pub(super) fn of_consensus<'a>(mut items: impl Iterator<Item = &'a str>) -> Option<Self> {
        match (items.next(), items.next()) {
            (Some("3"), None | Some("ns")) => Some(Self::PlainConsensus),
            (Some("3"), Some("microdesc")) => Some(Self::MicrodescConsensus),
            _ => None,
        }
    }
}

fn read_time(keyword: &'static str, line: &str) -> Result<UnixTime, LineProblem> {
    let items: Vec<&str> = line.split_ascii_whitespace().skip(1).collect();
    UnixTime::from_iso(&items.join(" ")).map_err(|error| LineProblem::Time {
        keyword,
        error: Box::new(error),
    })
}

fn lifetime(times: &[Option<UnixTime>; 3]) -> Result<Lifetime, LineProblem> {
    match times {
        [Some(valid_after), Some(fresh_until), Some(valid_until)] => {
            if valid_after < fresh_until && fresh_until < valid_until {
                Ok(Lifetime::new(*valid_after, *fresh_until, *valid_until))
            } else {
                Err(LineProblem::Lifetime)
            }
        }
        _ => {
            let missing = TIMES.iter().zip(times).find(|(_, time)| time.is_none());
            Err(LineProblem::Missing(
                missing.map_or("valid-after", |(keyword, _)| keyword),
            ))
        }
    }
}
