//! Texts that directories keep and clients use, on a private network of real tor processes, against
//! the verdicts of this crate.
//!
//! Descriptors are posted to directories and fetched from them. For every fetch the verdicts must
//! have told what comes of it: `NOT_FOUND` if the directory dropped the text, `BAD_DESC` if the
//! client refused it, else `RECEIVED` and which text.
//!
//! What no control port can show is left to the tables: the failure cache, times with something
//! behind them (no directory takes them), and bodies whose first descriptor is bad (no Tor posts
//! them).

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests may unwrap, their helpers too"
)]
#![allow(dead_code, reason = "the tables and helpers are shared with other tests")]

#[path = "v2/cases.rs"]
mod cases;
#[path = "real_verdicts/mutant.rs"]
mod mutant;
#[path = "v2/support.rs"]
mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use onionweave_control::{Connection, Event, EventKind, Events, HsDescAction};
use onionweave_desc::v2::{
    Authorization, Descriptor, DescriptorCookie, Draft, Fetch, FetchVerdict, Known, ServiceKey, UploadVerdict,
};
use onionweave_ring::UnixTime;
use onionweave_ring::v2::{DescriptorId, Replica, SecretIdPart, TimePeriod};
use onionweave_testnet::{Holding, Network, Place};
use rand::{SeedableRng, TryRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::time::timeout_at;

use mutant::{Mutant, Stock};
use support::{many_points, object, replace, sign, verify};

/// Sets the seed of keys and mutants; 1 by default.
const SEED: &str = "ONIONWEAVE_SEED";
const MUTANTS: u64 = 300;
const HOUR: i64 = 3600;

/// A directory, by its place in the list of them, which begins again at its end.
type Directory = usize;

/// Some uploads, one after the other, and then some fetches.
///
/// Clients remember one descriptor of each service. So trials have a service each, or their texts
/// are equally old and have different IDs: then none of them keeps a client from using another.
struct Trial {
    name: String,
    posts: Vec<(Directory, Vec<u8>)>,
    fetches: Vec<(Directory, DescriptorId)>,
}

/// Outcome of a fetch.
#[derive(Clone, PartialEq, Eq)]
enum Outcome {
    Received(Vec<u8>),
    BadDesc,
    NotFound,
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Received(text) => write!(f, "RECEIVED {}", text.escape_ascii()),
            Self::BadDesc => f.write_str("BAD_DESC"),
            Self::NotFound => f.write_str("NOT_FOUND"),
        }
    }
}

impl Trial {
    /// Expected outcome of each fetch, by the verdicts of this crate.
    fn expected(&self, now: UnixTime) -> Vec<Outcome> {
        let mut directories: BTreeMap<(Directory, DescriptorId), Descriptor> = BTreeMap::new();
        for (directory, body) in &self.posts {
            let verdict = UploadVerdict::new(body, |id| directories.get(&(*directory, *id)), now);
            assert_eq!(verdict.status(), 200, "{}: a Tor would not post it", self.name);
            for descriptor in verdict.stored() {
                directories.insert((*directory, descriptor.descriptor_id()), descriptor.clone());
            }
        }
        let mut held: BTreeMap<_, Descriptor> = BTreeMap::new();
        let mut fetched = |place: &(Directory, DescriptorId)| {
            let Some(stored) = directories.get(place) else {
                return Outcome::NotFound;
            };
            let known = |service: &_| Known::default().held(held.get(service));
            match Fetch::new(place.1).judge(stored.text(), known, now) {
                Err(_) => return Outcome::BadDesc,
                Ok(FetchVerdict::Stored { descriptor, .. }) => drop(held.insert(descriptor.service_id(), *descriptor)),
                Ok(_) => {}
            }
            Outcome::Received(stored.text().trim_ascii_end().to_vec())
        };
        self.fetches.iter().map(&mut fetched).collect()
    }
}

/// Signer of a text, and its descriptor ID.
struct Service {
    key: ServiceKey,
    part: SecretIdPart,
}

impl Service {
    fn id(&self) -> DescriptorId {
        DescriptorId::new(&self.key.service_id(), &self.part)
    }

    /// A descriptor of this time, with this object for its introduction points, or none.
    fn text(&self, time: UnixTime, list: Option<&[u8]>) -> Vec<u8> {
        let (id, key, part) = (self.id(), self.key.public_key(), self.part);
        let list = list.map_or_else(Vec::new, |list| {
            [b"introduction-points\n", &object("MESSAGE", list)[..]].concat()
        });
        let list = String::from_utf8(list).unwrap();
        let text = format!(
            "rendezvous-service-descriptor {id}\nversion 2\npermanent-key\n{key}secret-id-part {part}\n\
             publication-time {time}\nprotocol-versions 2,3\n{list}signature\n"
        );
        sign(text.into_bytes(), &self.key)
    }
}

/// Makes trials.
struct Trials {
    rng: ChaCha8Rng,
    now: UnixTime,
    /// Making keys takes long, so these are shared.
    keys: Vec<ServiceKey>,
    made: Vec<Trial>,
}

impl Trials {
    fn new(seed: u64, now: UnixTime) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let keys = (0..12)
            .map(|_| ServiceKey::generate(|bytes| rng.try_fill_bytes(bytes)).unwrap())
            .collect();
        let made = Vec::new();
        let mut trials = Self { rng, now, keys, made };
        trials.lists(seed);
        trials.authorizations();
        trials.ages();
        trials.bodies();
        trials.memories();
        trials
    }

    /// A service of its own.
    fn service(&mut self) -> Service {
        Service {
            key: ServiceKey::generate(|bytes| self.rng.try_fill_bytes(bytes)).unwrap(),
            part: SecretIdPart::new(TimePeriod::from(20_000), Replica::ALL[0], None),
        }
    }

    /// An ID of its own, for texts of this moment.
    fn shared_service(&self) -> Service {
        let number = self.made.len();
        Service {
            key: self.keys[number % self.keys.len()].clone(),
            part: SecretIdPart::new(TimePeriod::from(number as u32), Replica::ALL[0], None),
        }
    }

    fn moment(&self, seconds: i64) -> UnixTime {
        UnixTime::from_secs(self.now.as_secs().saturating_add_signed(seconds))
    }

    fn add(
        &mut self,
        name: impl Into<String>,
        posts: Vec<(Directory, Vec<u8>)>,
        fetches: Vec<(Directory, DescriptorId)>,
    ) {
        // Not all at the first directory.
        let shift = self.made.len();
        let name = name.into();
        let posts = posts
            .into_iter()
            .map(|(directory, text)| (directory + shift, text))
            .collect();
        let fetches = fetches
            .into_iter()
            .map(|(directory, id)| (directory + shift, id))
            .collect();
        self.made.push(Trial { name, posts, fetches });
    }

    /// A text, posted and fetched.
    fn one(&mut self, name: impl Into<String>, text: Vec<u8>) {
        let id = verify(&text).unwrap().descriptor_id();
        self.add(name, vec![(0, text)], vec![(0, id)]);
    }

    /// Lists of introduction points.
    fn lists(&mut self, seed: u64) {
        let stock = Stock::new();
        let table = cases::lists().into_iter().map(|list| (list.name.to_owned(), list.text));
        let mutants = (0..MUTANTS).map(|number| {
            let mutant = Mutant::list(&stock, seed, number);
            (mutant.to_string(), mutant.text)
        });
        for (name, list) in table.chain(mutants) {
            let text = self.shared_service().text(self.now, Some(&list));
            // Some mutants are longer than any directory takes.
            if verify(&text).is_ok() {
                self.one(name, text);
            }
        }
    }

    /// Points that only others can read, in all sorts of blocks.
    fn authorizations(&mut self) {
        let cookie = || DescriptorCookie::from([7; 16]);
        let basic = Authorization::Basic(vec![cookie(), DescriptorCookie::from([8; 16])]);
        for (name, authorization) in [("basic", basic), ("stealth", Authorization::Stealth(cookie()))] {
            let key = self.service().key;
            let draft = Draft::new(many_points(3)).authorization(authorization);
            let signed = draft.sign(&key, TimePeriod::from(20_000), Replica::ALL[0], self.now);
            self.one(name, signed.unwrap().text().to_vec());
        }
        for block in [
            &b"\x01"[..],
            b"\x02",
            b"\x01\x00",
            b"\x03\x01",
            b"\x01\xff",
            &[1; 400],
            &[2; 40],
            b"\0",
        ] {
            let text = self.shared_service().text(self.now, Some(block));
            self.one(format!("block {}", block.escape_ascii()), text);
        }
        for list in [None, Some(&b""[..])] {
            let text = self.shared_service().text(self.now, list);
            self.one(format!("list {list:?}"), text);
        }
    }

    /// Times, with ten minutes between them and the limits that they come closer to, which is
    /// longer than all of this takes on a busy machine.
    fn ages(&mut self) {
        let margin = 600;
        for age in [
            0,
            HOUR,
            23 * HOUR,
            71 * HOUR,
            72 * HOUR - margin,
            72 * HOUR + 2,
            73 * HOUR,
            1000 * HOUR,
        ] {
            let text = self.service().text(self.moment(-age), Some(&points(3)));
            self.one(format!("{age} s old"), text);
        }
        for ahead in [
            HOUR,
            23 * HOUR,
            24 * HOUR - 2,
            24 * HOUR + margin,
            25 * HOUR,
            1_000_000 * HOUR,
        ] {
            let text = self.service().text(self.moment(ahead), Some(&points(3)));
            self.one(format!("{ahead} s ahead"), text);
        }
    }

    /// Several in one body.
    fn bodies(&mut self) {
        for damage in ["", "the second", "the second of three"] {
            let services = [self.service(), self.service(), self.service()];
            let texts = services
                .each_ref()
                .map(|service| service.text(self.now, Some(&points(2))));
            let damaged = replace(&texts[1], b"version 2", b"version 3");
            let body = match damage {
                "" => texts.concat(),
                "the second" => [&texts[0], &damaged].map(Vec::as_slice).concat(),
                _ => [&texts[0], &damaged, &texts[2]].map(Vec::as_slice).concat(),
            };
            let fetches = services.iter().map(|service| (0, service.id())).collect();
            self.add(format!("several, damaged: {damage:?}"), vec![(0, body)], fetches);
        }
        // The second of one ID decides if it is not older.
        for (first, second) in [(0, -1), (-1, 0), (0, 0)] {
            let service = self.service();
            let first_text = service.text(self.moment(first), Some(&points(1)));
            let second_text = service.text(self.moment(second), Some(&points(2)));
            let body = [first_text, second_text].concat();
            self.add(
                format!("one ID in one body, {first} and {second}"),
                vec![(0, body)],
                vec![(0, service.id())],
            );
        }
    }

    /// Texts that a directory and a client hold already.
    fn memories(&mut self) {
        let (good, other, many) = (points(1), points(2), points(11));
        let lists: [Option<&[u8]>; 4] = [Some(&good), Some(&other), Some(&many), None];
        for seconds in [-1, 0, 1, -73 * HOUR, 25 * HOUR] {
            for list in lists {
                let name = format!("{seconds} s and {:?} bytes after another", list.map(<[u8]>::len));
                for (at, place) in [("directory", 0), ("client", 1)] {
                    let service = self.service();
                    let held = service.text(self.now, Some(&good));
                    let offered = service.text(self.moment(seconds), list);
                    let fetches = vec![(0, service.id()), (place, service.id())];
                    self.add(
                        format!("{name}, at the {at}"),
                        vec![(0, held), (place, offered)],
                        fetches,
                    );
                }
            }
        }
    }
}

fn points(count: usize) -> Vec<u8> {
    many_points(count)
        .iter()
        .flat_map(|point| point.to_string().into_bytes())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_and_clients_do_what_the_verdicts_say() {
    let seed = std::env::var(SEED).map_or(1, |seed| seed.parse().expect("the seed is a number"));
    println!("seed {seed} ({SEED} sets it)");
    let start = Instant::now();
    let now = UnixTime::from(SystemTime::now());
    let making = tokio::task::spawn_blocking(move || Trials::new(seed, now).made);
    let network = Network::builder().start().await.unwrap();
    let directories: Vec<[u8; 20]> = network.directories().iter().map(|relay| relay.fingerprint()).collect();
    let directory = |index: &Directory| directories[index % directories.len()];
    let (poster, probe, instance) = tokio::join!(
        network.client("poster").start(),
        network.probe("reader"),
        network.instance("instance").start()
    );
    let (poster, mut probe, instance) = (poster.unwrap(), probe.unwrap(), instance.unwrap());
    let (posting, mut events) = poster.connect().await.unwrap();
    posting.set_events(&[EventKind::HsDesc]).await.unwrap();
    println!("network ready after {:.1?}", start.elapsed());
    let trials = making.await.unwrap();
    println!("{} trials made after {:.1?}", trials.len(), start.elapsed());

    for round in 0..trials.iter().map(|trial| trial.posts.len()).max().unwrap() {
        let posts: Vec<_> = trials.iter().filter_map(|trial| trial.posts.get(round)).collect();
        let posts: Vec<_> = posts
            .iter()
            .map(|(index, text)| (directory(index), text.as_slice()))
            .collect();
        post(&posting, &mut events, &posts).await;
    }
    println!("all posted after {:.1?}", start.elapsed());

    let mut found: BTreeMap<Place, Holding> = BTreeMap::new();
    let place = |(index, id): &(Directory, DescriptorId)| (id.to_string(), directory(index));
    for round in 0..trials.iter().map(|trial| trial.fetches.len()).max().unwrap() {
        let mut open: Vec<Place> = trials
            .iter()
            .filter_map(|trial| trial.fetches.get(round))
            .map(place)
            .collect();
        // A circuit may fail, of which no event tells.
        for _ in 0..3 {
            let read = probe.read(&open, Duration::from_secs(15)).await.unwrap();
            open.retain(|place| read[place] == Holding::NoAnswer);
            found.extend(read);
            if open.is_empty() {
                break;
            }
        }
    }
    println!("all fetched after {:.1?}", start.elapsed());

    let mut counts = [0; 3];
    let mut wrong = Vec::new();
    for trial in &trials {
        for (fetch, expected) in trial.fetches.iter().zip(trial.expected(now)) {
            let outcome = match &found[&place(fetch)] {
                Holding::Text(text) => Outcome::Received(text.trim_ascii_end().to_vec()),
                Holding::Nothing => Outcome::NotFound,
                Holding::Unusable(reason) if reason.contains("BadDesc") => Outcome::BadDesc,
                other => panic!("{}: {other:?}", trial.name),
            };
            if outcome != expected {
                wrong.push(format!("{}\nTor: {outcome:?}\nthis crate: {expected:?}", trial.name));
            }
            counts[match outcome {
                Outcome::Received(_) => 0,
                Outcome::BadDesc => 1,
                Outcome::NotFound => 2,
            }] += 1;
        }
    }
    let [received, bad, not_found] = counts;
    println!(
        "{received} RECEIVED, {bad} BAD_DESC, {not_found} NOT_FOUND, after {:.1?}",
        start.elapsed()
    );
    assert!(
        wrong.is_empty(),
        "{} disagreements:\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
    assert!(received > 100 && bad > 100 && not_found > 10);

    let text = instance.wait_for_descriptor().await.unwrap();
    assert_written_again(text.as_bytes(), instance.service_key().pem());
    println!(
        "an instance's descriptor written again to the byte after {:.1?}",
        start.elapsed()
    );
}

/// Holds that this crate writes the same bytes as a Tor with the same key, points and time.
fn assert_written_again(text: &[u8], pem: &str) {
    let key = ServiceKey::from_pem(pem).unwrap();
    let theirs = verify(text).unwrap();
    let (service, time) = (key.service_id(), theirs.publication_time());
    // The time is that of the full hour, after which a period may have ended.
    let period = TimePeriod::at(&service, time);
    let mut candidates = [period, period.next()]
        .into_iter()
        .flat_map(|period| Replica::ALL.map(|replica| (period, replica)));
    let is_theirs = |(period, replica): &(TimePeriod, Replica)| {
        DescriptorId::of(&service, *period, *replica) == theirs.descriptor_id()
    };
    let (period, replica) = candidates.find(is_theirs).unwrap();
    let ours = Draft::new(theirs.introduction_points().unwrap()).sign(&key, period, replica, time);
    assert_eq!(
        ours.unwrap().text().escape_ascii().to_string(),
        text.escape_ascii().to_string()
    );
}

/// Posts texts to directories and waits until all are answered.
async fn post(connection: &Connection, events: &mut Events, posts: &[([u8; 20], &[u8])]) {
    // Posting again changes nothing.
    for _ in 0..3 {
        while events.try_recv().is_some() {}
        for (directory, text) in posts {
            connection.hs_post(&[*directory], None, text).await.unwrap();
        }
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        let mut open = posts.len();
        while open > 0 {
            match timeout_at(deadline, events.recv()).await {
                Ok(Some(Event::HsDesc(event))) if *event.action() == HsDescAction::Uploaded => open -= 1,
                Ok(Some(_)) => {}
                Ok(None) => panic!("the connection ended"),
                Err(_) => break,
            }
        }
        if open == 0 {
            return;
        }
        eprintln!("{open} of {} posts were not answered", posts.len());
    }
    panic!("posts were not answered");
}
