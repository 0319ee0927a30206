//! Functions for fuzzing: each takes any bytes and ends in an invariant.

use crate::auth::Handshake;
use crate::codec::{Decoder, Item, Limits, RawEvent, data};
use crate::text::{arguments, push_quoted, unquote};
use crate::{Command, Credentials, Error, Event, ProtocolInfo, Reply, Status};

/// The stream after the first byte, cut into pieces as that byte says, gives what it gives in one
/// piece.
pub fn codec(input: &[u8]) {
    let Some((&cut, stream)) = input.split_first() else {
        return;
    };
    let limits = if cut & 1 == 0 {
        Limits::default()
    } else {
        Limits::default().line(64).reply(512).event(512)
    };
    let size = usize::from(cut >> 1) + 1;

    let whole = decode(limits, [stream]);
    let pieces = decode(limits, stream.chunks(size));
    assert_eq!(format!("{whole:?}"), format!("{pieces:?}"), "pieces of {size} bytes");

    let held: usize = whole.0.iter().map(weight).sum();
    assert!(held <= stream.len(), "{held} bytes came out of {}", stream.len());
}

/// Interpreting an event never fails and never grows; what is not understood is kept whole.
pub fn events(input: &[u8]) {
    let line: Vec<u8> = input.iter().copied().filter(|&byte| byte != b'\n').collect();
    for wire in [input.to_vec(), [b"650 ", &line[..], b"\r\n"].concat()] {
        let Ok(raw) = RawEvent::parse(&wire) else { continue };
        match Event::from_raw(raw.clone()) {
            Event::HsDesc(event) => {
                if let Some(name) = event.hsdir() {
                    assert_eq!(name.to_string().parse().ok().as_ref(), Some(name));
                }
                let extra: usize = event.extra().iter().map(String::len).sum();
                assert!(extra <= wire.len());
            }
            Event::HsDescContent(event) => assert!(event.content().len() <= wire.len()),
            Event::NewConsensus(event) => assert!(event.body().len() <= wire.len()),
            Event::Unknown(kept) => assert_eq!(kept, raw),
            event => assert!(!matches!(event, Event::Lagged(_) | Event::Gap(_))),
        }
    }
    // The same text on its own, as GETINFO gives it.
    let _ = Status::parse(input);
}

/// Interpreting replies never fails but with an error, and what is written is read back.
pub fn replies(input: &[u8]) {
    if let Ok(reply) = Reply::parse(input) {
        let _ = ProtocolInfo::from_reply(reply.clone());
        let _ = reply.clone().into_values(&["version"]);
        let (mut handshake, _) = Handshake::start(Credentials::auto(), [0; 32]);
        if handshake.reply(reply.clone()).is_ok() && handshake.cookie(&[0; 32]).is_ok() {
            // A hash that fits by chance would be a collision of HMAC-SHA256.
            let _ = handshake.reply(reply);
        }
    }
    let _ = arguments(input);

    if !input.contains(&b'\n') {
        let mut quoted = Vec::new();
        push_quoted(&mut quoted, input);
        assert_eq!(unquote(&quoted), Some((input.to_vec(), &b""[..])));
    }

    let mut body = input.to_vec();
    if body.last() != Some(&b'\n') {
        body.push(b'\n');
    }
    let escaped = data::escape(input);
    assert_eq!(data::unescape(&escaped), body);

    if let Ok(text) = str::from_utf8(input)
        && let Ok(command) = Command::raw(text)
    {
        let ends = command.as_bytes().iter().filter(|&&byte| byte == b'\n').count();
        assert_eq!(ends, 1, "one command became more");
    }
}

fn decode<'a>(limits: Limits, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Item>, Result<(), Error>) {
    let mut decoder = Decoder::new(limits);
    let mut items = Vec::new();
    for mut piece in pieces {
        loop {
            match decoder.decode(&mut piece) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => return (items, Err(error)),
            }
        }
    }
    let end = decoder.finish();
    (items, end)
}

/// The bytes of text and data in an item.
fn weight(item: &Item) -> usize {
    let lines = match item {
        Item::Reply(reply) => reply.lines(),
        Item::Event(event) => event.lines(),
    };
    lines
        .iter()
        .map(|line| line.text().len() + line.data().map_or(0, <[u8]>::len))
        .sum()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    /// Runs a function over its committed corpus.
    fn run(target: &str, function: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("testdata/fuzz-corpus")
            .join(target);
        let mut inputs = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            function(&std::fs::read(entry.unwrap().path()).unwrap());
            inputs += 1;
        }
        assert!(inputs > 0, "{} is empty", folder.display());
    }

    /// Bytes that often mean something in this protocol.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let pieces: Vec<&'static [u8]> = vec![
            b"250 OK\r\n",
            b"250-",
            b"250+",
            b"650 ",
            b"650+",
            b"650-",
            b".\r\n",
            b"\r\n",
            b"\n",
            b"..",
            b" ",
            b"=",
            b"\"",
            b"\\",
            b"HS_DESC ",
            b"HS_DESC_CONTENT ",
            b"STATUS_CLIENT NOTICE ",
            b"FAILED ",
            b"UNKNOWN ",
            b"REASON=",
            b"REPLICA=",
            b"$0102030405060708090A0B0C0D0E0F1011121314~a ",
            b"PROTOCOLINFO 1\r\n",
            b"AUTH METHODS=COOKIE ",
            b"COOKIEFILE=",
            b"version=",
            b"\\377",
            b"\\x41",
        ];
        let piece = prop_oneof![
            6 => prop::sample::select(pieces).prop_map(<[u8]>::to_vec),
            1 => prop::collection::vec(any::<u8>(), 0..8),
        ];
        prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn invariants_hold_for_any_bytes(input in bytes()) {
            super::codec(&input);
            super::events(&input);
            super::replies(&input);
        }
    }

    #[test]
    fn codec() {
        run("codec", super::codec);
    }

    #[test]
    fn events() {
        run("events", super::events);
    }

    #[test]
    fn replies() {
        run("replies", super::replies);
    }
}
