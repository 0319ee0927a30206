//! Texts that are signed here look like those of C Tor, but for what is random.

use std::collections::BTreeSet;

use onionweave_desc::v3::{
    ClientKey, ClientSecretKey, Draft, Header, IntroductionPoint, LinkSpecifiers, PeriodKeys, Problem, ServiceKey,
};
use onionweave_ring::UnixTime;
use onionweave_ring::v3::Period;

use crate::support::{Recording, points, read, recordings};

/// Time at which Tor wrote the descriptor, as its revision counter gives it away.
fn written_at(recording: &Recording, keys: &mut PeriodKeys) -> Option<UnixTime> {
    let recorded = recording.sealed().revision_counter();
    let seconds = recording.taken_at.as_secs() - 1000..=recording.taken_at.as_secs();
    seconds
        .map(UnixTime::from_secs)
        .find(|now| keys.revision_counter(*now, 0..=u64::MAX) == Ok(recorded))
}

/// Lines with what is random blotted out: base64 of every kind, and the counter.
fn shape(text: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(text).unwrap();
    let lines = text.lines().map(|line| {
        let words = line.split(' ').map(|word| match word.len() {
            40.. => "x".repeat(word.len()),
            _ => word.to_owned(),
        });
        let line = words.collect::<Vec<_>>().join(" ");
        match line.strip_prefix("revision-counter ") {
            Some(counter) => format!("revision-counter {}", "9".repeat(counter.len())),
            None => line,
        }
    });
    lines.collect()
}

#[test]
fn a_service_of_tor_is_written_as_tor_wrote_it() {
    for recording in recordings() {
        let name = recording.name;
        let mut keys = PeriodKeys::new(&recording.key, recording.period());
        let recorded = recording.open();
        assert_eq!(keys.blinded_id(), recorded.sealed().blinded_id(), "{name}");
        let now = written_at(&recording, &mut keys).unwrap_or_else(|| panic!("{name}: no second gives the counter"));

        let draft = Draft::new(recorded.points().to_vec()).header(recorded.header().clone());
        let counter = keys.revision_counter(now, 0..=u64::MAX).unwrap();
        let signed = draft.sign(&mut keys, now, counter, 0).unwrap();
        let theirs = [recording.text, b"\n"].concat();
        assert_eq!(signed.text().len(), theirs.len(), "{name}");
        let (ours, theirs) = (shape(signed.text()), shape(&theirs));
        // All but the last line of the superencrypted layer are of one length.
        assert_eq!(ours.len(), theirs.len(), "{name}");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            let random = |line: &str| line.len() < 40 && !line.contains(' ') && !line.starts_with('-');
            assert!(
                ours == theirs || random(ours) && ours.len() == theirs.len(),
                "{name}: {ours} {theirs}"
            );
        }
        assert_eq!(
            signed.signing_key_expires(),
            recorded.sealed().signing_key_expires(),
            "{name}"
        );

        let again = read(signed.text(), now, &keys.subcredential()).unwrap();
        assert_eq!(
            again.sealed(),
            &signed,
            "{name}: what signing says is what reading says"
        );
        assert_eq!(again.points(), recorded.points(), "{name}");
        assert_eq!(again.header(), recorded.header(), "{name}");
        assert_eq!(again.auth_client_count(), 16, "{name}");
    }
}

fn keys() -> PeriodKeys {
    PeriodKeys::new(&ServiceKey::from_seed(&[7; 32]), Period::new(20_780, 1440))
}

const NOW: UnixTime = UnixTime::from_secs(20_780 * 86_400 + 50_000);

fn refused(draft: &Draft) -> Problem {
    match draft.sign(&mut keys(), NOW, 1, 0).unwrap_err() {
        onionweave_desc::Error::V3(problem) => problem,
        other => panic!("{other}"),
    }
}

#[test]
fn sizes_are_those_of_c_tor() {
    for (count, size) in [
        (1, 14_109),
        (3, 14_109),
        (8, 14_109),
        (9, 27_649),
        (18, 27_649),
        (19, 41_189),
        (20, 41_189),
    ] {
        let signed = Draft::new(points(count)).sign(&mut keys(), NOW, 10_000_000, 0).unwrap();
        assert_eq!(signed.text().len(), size, "{count} points");
        assert_eq!(signed.size_class() % 10_000, 0);
        assert!(signed.text().ends_with(b"\n") && !signed.text().ends_with(b"\n\n"));
        let read = read(signed.text(), NOW, &keys().subcredential()).unwrap();
        assert_eq!(read.points(), points(count));
    }
}

#[test]
fn bytes_depend_on_everything_and_on_nothing_else() {
    let header = Header::default().with_single_onion(true);
    let draft = Draft::new(points(3));
    let later = UnixTime::from_secs(NOW.as_secs() + 3600);
    let clients = vec![ClientSecretKey::from([1; 32]).public_key()];
    let texts = [
        draft.sign(&mut keys(), NOW, 1, 0),
        draft.sign(&mut keys(), NOW, 2, 0),
        draft.sign(&mut keys(), NOW, 1, 1),
        draft.sign(&mut keys(), later, 1, 0),
        Draft::new(points(4)).sign(&mut keys(), NOW, 1, 0),
        draft.clone().header(header).sign(&mut keys(), NOW, 1, 0),
        draft.clone().clients(clients).sign(&mut keys(), NOW, 1, 0),
    ];
    let salts: BTreeSet<Vec<u8>> = texts
        .into_iter()
        .map(|signed| {
            let text = signed.unwrap().text().to_vec();
            let message = text.windows(14).position(|window| window == b"superencrypted").unwrap();
            // The first bytes of the layer: its salt.
            text[message + 40..message + 60].to_vec()
        })
        .collect();
    assert_eq!(salts.len(), 7, "no two texts have one salt");

    // What is at hand makes no difference.
    let mut warm = keys();
    let first = draft.sign(&mut warm, NOW, 1, 0).unwrap();
    assert_eq!(draft.sign(&mut warm, NOW, 1, 0).unwrap(), first);
    assert_eq!(draft.sign(&mut keys(), NOW, 1, 0).unwrap(), first);
    let _ = draft.sign(&mut warm, later, 1, 0).unwrap();
    assert_eq!(draft.sign(&mut warm, NOW, 1, 0).unwrap(), first);
}

#[test]
fn every_client_reads_and_nobody_else() {
    let secrets: Vec<_> = (1..=17).map(|number| ClientSecretKey::from([number; 32])).collect();
    for count in [1, 15, 16, 17] {
        let clients: Vec<ClientKey> = secrets[..count].iter().map(ClientSecretKey::public_key).collect();
        let signed = Draft::new(points(3))
            .clients(clients)
            .sign(&mut keys(), NOW, 1, 0)
            .unwrap();
        let open = |secret| signed.clone().open(&keys().subcredential(), secret);
        for secret in &secrets[..count] {
            let read = open(Some(secret)).unwrap();
            assert!(read.is_restricted());
            assert_eq!(read.points(), points(3));
            assert_eq!(read.auth_client_count(), count.next_multiple_of(16));
        }
        let stranger = ClientSecretKey::from([99; 32]);
        assert_eq!(open(Some(&stranger)).unwrap_err(), Problem::NotAuthorized.into());
        assert_eq!(open(None).unwrap_err(), Problem::ClientKeyNeeded.into());
    }
    // A client's key does no harm where everybody may read.
    let signed = Draft::new(points(3)).sign(&mut keys(), NOW, 1, 0).unwrap();
    let read = signed.open(&keys().subcredential(), Some(&secrets[0])).unwrap();
    assert!(!read.is_restricted());
}

#[test]
fn refuses_what_nobody_could_use() {
    let three = points(3);
    let off_curve = IntroductionPoint::new(three[0].link_specifiers().clone(), [1; 32], [1; 32], [2; 32]);
    let nameless = LinkSpecifiers::from_bytes(&[0]).unwrap();
    let nameless = IntroductionPoint::new(nameless, [1; 32], [1; 32], [9; 32]);
    let client = ClientSecretKey::from([1; 32]).public_key();
    assert_eq!(refused(&Draft::new(Vec::new())), Problem::NoPoints);
    assert!(matches!(
        refused(&Draft::new(points(21))),
        Problem::TooManyPoints {
            found: 21,
            limit: 20,
            ..
        }
    ));
    let twice = [three.clone(), points(1)].concat();
    assert_eq!(refused(&Draft::new(twice)), Problem::RepeatedRelay([1; 20].into()));
    assert_eq!(refused(&Draft::new(vec![off_curve])), Problem::OffCurve);
    assert_eq!(refused(&Draft::new(vec![nameless])), Problem::NoIdentity);
    let draft = Draft::new(three);
    assert_eq!(refused(&draft.clone().clients(Vec::new())), Problem::NoClients);
    assert_eq!(
        refused(&draft.clone().clients(vec![client, client])),
        Problem::RepeatedClient
    );
    assert!(matches!(
        refused(&draft.clone().size_limit(14_000)),
        Problem::TooLong { limit: 14_000, .. }
    ));
}

#[test]
fn counters_keep_within_the_life_of_a_period() {
    let mut keys = keys();
    let life = keys.life();
    assert_eq!(life.start().as_secs(), 20_780 * 86_400);
    let at = |secs| UnixTime::from_secs(secs);
    let all = || 0..=u64::MAX;
    assert!(keys.revision_counter(at(life.start().as_secs() - 1), all()).is_err());
    assert!(keys.revision_counter(at(life.end().as_secs() + 1), all()).is_err());
    let first = keys.revision_counter(*life.start(), all()).unwrap();
    let last = keys.revision_counter(*life.end(), all()).unwrap();
    assert!(0 < first && first < last);
    assert_eq!(
        keys.revision_counter(*life.start(), last + 1..=u64::MAX),
        Ok(last + 1),
        "the floor"
    );
    assert_eq!(keys.revision_counter(*life.end(), 0..=last), Ok(last), "the ceiling");
    assert!(keys.revision_counter(*life.end(), 0..=last - 1).is_err());
}
