//! Functions for fuzzing: each takes any bytes and ends in an invariant.

use std::time::Duration;

use crate::auth::Handshake;
use crate::codec::{Decoder, Item, Limits, RawEvent, data};
use crate::text::{arguments, push_quoted, unquote};
use crate::{
    AddOnion, AddressMapping, CircuitId, CircuitUse, ClientAuth, ClientAuthAdded, Command, ConfValue, Credentials,
    Error, Event, EventKind, ExtendCircuit, FetchTracker, HsFetch, HsPost, OnionAdded, OnionKeyAlgorithm, ProtocolInfo,
    Reply, RouterPurpose, Status, StreamId, UploadNews, UploadTracker,
};

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
            event => assert!(!matches!(
                event,
                Event::OtherUpload(_) | Event::Lagged(_) | Event::Gap(_)
            )),
        }
    }
    // The same text on its own, as GETINFO gives it.
    let _ = Status::parse(input);
}

/// Interpreting replies never fails but with an error, and what is written is read back.
pub fn replies(input: &[u8]) {
    if let Ok(reply) = Reply::parse(input) {
        let _ = ProtocolInfo::from_reply(reply.clone());
        let _ = CircuitId::from_reply(reply.clone());
        let _ = ClientAuthAdded::from_reply(reply.clone());
        if let Ok(values) = ConfValue::from_reply(reply.clone()) {
            assert_eq!(values.len(), reply.lines().len());
        }
        if let Ok(mappings) = AddressMapping::from_reply(reply.clone()) {
            assert_eq!(mappings.len(), reply.lines().len());
        }
        // What Tor tells of a key or a client, it takes again.
        if let Ok(onion) = OnionAdded::from_reply(reply.clone())
            && let Some(key) = onion.key()
        {
            assert_eq!(key.to_text().parse().ok().as_ref(), Some(key));
        }
        for client in ClientAuth::from_reply(reply.clone()).unwrap_or_default() {
            one_line(Command::onion_client_auth_add(&client));
        }
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

/// A command, whatever its arguments, is one line, or one line and one body that ends once; and
/// nothing in it is a byte that Tor does not read as part of it.
///
/// The input is arguments, separated by `|`.
pub fn commands(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let words: Vec<&str> = text.split('|').collect();
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    let (first, second, third) = (word(0), word(1), word(2));
    let fingerprint = [u8::try_from(words.len() % 256).unwrap_or_default(); 20];

    one_line(Command::get_info(&words));
    let kinds: Vec<_> = words.iter().map(|word| EventKind::from_word(word)).collect();
    one_line(Command::set_events(&kinds));
    one_line(Command::set_conf(&[(first, second), (third, first)]));
    one_line(Command::reset_conf(&words));
    one_line(Command::get_conf(&words));
    one_line(Command::map_address(&[(first, second)]));
    one_line(Command::resolve(&words, words.len().is_multiple_of(2)));
    one_line(Command::use_feature(&words));
    one_line(Command::redirect_stream(StreamId::new(1), first, second.parse().ok()));
    let purpose = CircuitUse::from_word(first);
    one_line(Command::set_circuit_purpose(CircuitId::new(1), &purpose));
    one_line(Command::extend_circuit(
        &ExtendCircuit::new().hop(fingerprint).purpose(purpose),
    ));
    one_line(Command::del_onion(first));
    one_line(Command::onion_client_auth_remove(first));
    one_line(Command::onion_client_auth_view(Some(first)));
    one_line(HsFetch::address(first).and_then(|fetch| Command::hs_fetch(&fetch)));
    one_line(HsFetch::v2_descriptor(first).and_then(|fetch| Command::hs_fetch(&fetch.server(fingerprint))));
    let client = ClientAuth::new(first, [7; 32]).and_then(|client| client.named(second));
    one_line(client.and_then(|client| Command::onion_client_auth_add(&client.permanent())));
    let key = first.parse().map(AddOnion::with_key);
    let onion = key.unwrap_or_else(|_: Error| AddOnion::new_key(OnionKeyAlgorithm::from_word(first)));
    let onion = onion.port(80).port_to(81, second);
    one_line(Command::add_onion(&onion));
    let onion = onion
        .basic_client(third, Some(word(3).to_owned().into()))
        .v3_client(word(4));
    one_line(Command::add_onion(&onion));

    one_body(Command::load_conf(&text), text.as_bytes());
    one_body(
        Command::post_descriptor(input, Some(&RouterPurpose::from_word(first)), true),
        input,
    );
    one_body(Command::hs_post(&[fingerprint], None, input), input);
    one_body(Command::raw_with_body(first, input), input);
}

/// Events in any order settle each directory once, and none that was not asked.
///
/// The input is a stream of events as they come over the wire.
pub fn tracking(input: &[u8]) {
    const ADDRESS: &str = "6r7x5o465oo27s35";
    const ID: &str = "hrzcfzm3ygt4qf2n4r3hlfiepvq4hxe6";
    let directories = [[1; 20], [2; 20]];
    let named = HsPost::v2(ADDRESS, format!("rendezvous-service-descriptor {ID}\n"));
    let posts = [named, Ok(HsPost::v2_of_any("x"))].into_iter().flatten();
    let mut posts: Vec<_> = posts
        .map(|post| directories.into_iter().fold(post, HsPost::server))
        .map(|post| (UploadTracker::new(), post, None))
        .collect();
    let fetches = [HsFetch::address(ADDRESS), HsFetch::v2_descriptor(ID)];
    let fetches = fetches.into_iter().flatten();
    let mut fetches: Vec<_> = fetches
        .flat_map(|fetch| FetchTracker::new(&directories.into_iter().fold(fetch, HsFetch::server)))
        .collect();
    assert_eq!((posts.len(), fetches.len()), (2, 2));

    let (items, _) = decode(Limits::default(), [input]);
    for (second, item) in (0..).zip(items) {
        let Item::Event(raw) = item else { continue };
        let event = Event::from_raw(raw);
        let now = Duration::from_secs(second);
        for (uploads, post, id) in &mut posts {
            let id = match *id {
                Some(id) => id,
                // Uploads of others may be in its way.
                None => match uploads.begin(post, now + Duration::from_secs(9), now) {
                    Ok(begun) => *id.insert(begun),
                    Err(_) => continue,
                },
            };
            uploads.accepted(id, now);
            let expired = uploads.expire(now).len();
            let before: Vec<_> = uploads.waiting(id).collect();
            let settled = match uploads.observe(&event, now) {
                Some(UploadNews::Settled { directory, .. }) => Some(directory),
                _ => None,
            };
            settles(&before, settled, uploads.waiting(id));
            assert!(expired <= 2 + input.len());
            assert!(uploads.next_deadline().is_none_or(|deadline| deadline > now));
        }
        for fetch in &mut fetches {
            let before: Vec<_> = fetch.waiting().collect();
            let settled = fetch.observe(&event).map(|(directory, _)| directory);
            settles(&before, settled, fetch.waiting());
        }
    }
}

fn settles(before: &[[u8; 20]], settled: Option<[u8; 20]>, after: impl Iterator<Item = [u8; 20]>) {
    let expected: Vec<_> = before
        .iter()
        .copied()
        .filter(|waiting| Some(*waiting) != settled)
        .collect();
    assert_eq!(after.collect::<Vec<_>>(), expected);
    assert!(settled.is_none_or(|settled| before.contains(&settled)));
}

fn one_line(command: Result<Command, Error>) {
    if let Ok(command) = command {
        let bytes = command.as_bytes();
        assert!(bytes.ends_with(b"\r\n") && !bytes.contains(&0), "{command:?}");
        let ends = bytes.iter().filter(|&&byte| matches!(byte, b'\r' | b'\n')).count();
        assert_eq!(ends, 2, "one command became more: {command:?}");
    }
}

/// The line, and behind it what Tor reads as `body`, but for the LF at its end.
fn one_body(command: Result<Command, Error>, body: &[u8]) {
    if let Ok(command) = command {
        let bytes = command.as_bytes();
        let end = bytes.iter().position(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let (line, data) = bytes.split_at(end);
        assert!(line.starts_with(b"+") && line.ends_with(b"\r\n"), "{command:?}");
        let read = data::unescape(data);
        let trimmed = |bytes: &[u8]| bytes.trim_ascii_end().len();
        assert!(data.ends_with(b"\r\n.\r\n"), "{command:?}");
        assert_eq!(read.get(..trimmed(&read)), body.get(..trimmed(body)), "{command:?}");
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
            b"|",
            b"+",
            b"650 HS_DESC UPLOADED 6r7x5o465oo27s35 UNKNOWN $0101010101010101010101010101010101010101~a\r\n",
            b"650 HS_DESC FAILED 6r7x5o465oo27s35 NO_AUTH $0202020202020202020202020202020202020202 REASON=NOT_FOUND\r\n",
            b"650+HS_DESC_CONTENT UNKNOWN hrzcfzm3ygt4qf2n4r3hlfiepvq4hxe6 $0101010101010101010101010101010101010101\r\nx\r\n.\r\n650 OK\r\n",
            b"250-ServiceID=abc\r\n",
            b"250-PrivateKey=ED25519-V3:YWJj\r\n",
            b"250-ONION_CLIENT_AUTH_VIEW\r\n",
            b"6r7x5o465oo27s35",
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
            super::commands(&input);
            super::tracking(&input);
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
    fn commands() {
        run("commands", super::commands);
    }

    #[test]
    fn tracking() {
        run("tracking", super::tracking);
    }

    #[test]
    fn replies() {
        run("replies", super::replies);
    }
}
