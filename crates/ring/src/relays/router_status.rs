//! A scanner of the `r` and `s` lines of router statuses.

use super::{Form, LineProblem, Microdescriptors, Relay};
use crate::{Error, Fingerprint, fingerprint::is_legal_nickname, text};

/// Items behind the `r`: nickname, identity, digest, day, time, address, OR port, directory port
/// (feature/nodelist/fmt_routerstatus.c:65-75; fewer are refused in feature/dirparse/ns_parse.c:338, more are not).
const ROUTER_LINE_ITEMS: usize = 8;

pub(super) fn parse(document: &str, microdescriptors: &Microdescriptors) -> Result<Vec<Relay>, Error> {
    let mut relays = Vec::new();
    // The relay whose `r` line was read last, with the number of that line, until its `s` line comes.
    let mut pending: Option<(usize, Relay)> = None;
    let mut router_line = 0;

    for (line_number, line) in (1..).zip(document.lines()) {
        let wrong = |problem| at_line(line_number, problem);
        let mut items = line.split_ascii_whitespace();
        match items.next() {
            Some("r") => {
                if let Some((line, _)) = pending {
                    return Err(at_line(line, LineProblem::NoFlags));
                }
                router_line = line_number;
                pending = Some((line_number, parse_router(items, microdescriptors).map_err(wrong)?));
            }
            Some("s") => {
                let Some((_, mut relay)) = pending.take() else {
                    return Err(wrong(if router_line == 0 {
                        LineProblem::FlagsBeforeRouter
                    } else {
                        LineProblem::SecondFlags { router_line }
                    }));
                };
                relay.is_hsdir = items.any(|flag| flag == "HSDir");
                relays.push(relay);
            }
            _ => {}
        }
    }

    match pending {
        Some((line, _)) => Err(at_line(line, LineProblem::NoFlags)),
        None => Ok(relays),
    }
}

/// Reads what stands behind the `r`; the flags come later.
fn parse_router<'a>(
    mut items: impl Iterator<Item = &'a str>,
    microdescriptors: &Microdescriptors,
) -> Result<Relay, LineProblem> {
    let first_three = [(); 3].map(|()| items.next());
    let found = first_three.iter().flatten().count() + items.count();
    let ([Some(nickname), Some(identity), Some(digest)], ROUTER_LINE_ITEMS..) = (first_three, found) else {
        return Err(LineProblem::ShortRouterLine {
            expected: ROUTER_LINE_ITEMS,
            found,
        });
    };
    if !is_legal_nickname(nickname) {
        return Err(LineProblem::Nickname);
    }
    let fingerprint = Fingerprint::from_base64(identity).map_err(|error| LineProblem::Identity(Box::new(error)))?;
    // Of a Tor that uses microdescriptors, it is the start of their digest; else that of a descriptor, and found nowhere.
    let ed25519_identity = if microdescriptors.is_empty() {
        None
    } else {
        let digest = text::decode::<20>("digest", &text::BASE64, digest).ok();
        digest.and_then(|digest| microdescriptors.identity_by_digest(&digest))
    };
    Ok(Relay {
        fingerprint,
        nickname: nickname.into(),
        is_hsdir: false,
        ed25519_identity,
    })
}

fn at_line(line: usize, problem: LineProblem) -> Error {
    Error::Line {
        form: Form::RouterStatuses,
        line,
        problem,
    }
}
