use std::fs;
use std::os::unix::fs::symlink;
use std::time::Instant;

use onionweave_desc::v2::{Draft, IntroductionPoint, ServiceKey};
use onionweave_ring::UnixTime;
use onionweave_ring::v2::{Replica, TimePeriod};
use rand::TryRng as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::teller::Teller;

/// Far longer than anything takes here.
const LIMIT: Duration = Duration::from_secs(20);

fn key() -> ServiceKey {
    ServiceKey::from_pem(include_str!("../../testdata/private_key")).unwrap()
}

fn points() -> Vec<IntroductionPoint> {
    let text = include_bytes!("../../../desc/testdata/plain/descriptor-rf75jzdtba4wnd6v.txt");
    let descriptor = UnverifiedDescriptor::parse(text).unwrap().verify().unwrap();
    descriptor.introduction_points().unwrap()
}

/// The descriptor of a replica, dated so many hours after some moment.
fn descriptor(replica: usize, hour: u64) -> Vec<u8> {
    let now = UnixTime::from_secs(1_795_352_400 + 3600 * hour);
    let period = TimePeriod::at(&key().service_id(), now);
    let draft = Draft::new(points());
    let descriptor = draft.sign(&key(), period, Replica::ALL[replica], now).unwrap();
    descriptor.text().to_vec()
}

fn picked(bytes: &[u8]) -> (Found, bool) {
    pick(bytes.to_vec(), &key().service_id())
}

#[test]
fn newest_is_picked() {
    let [old, new, newer] = [descriptor(0, 0), descriptor(1, 1), descriptor(0, 1)];
    assert_eq!(picked(&old), (Found::Text(old.clone()), true));
    for order in [[&old, &new], [&new, &old]] {
        assert_eq!(
            picked(&order.map(Vec::as_slice).concat()),
            (Found::Text(new.clone()), true)
        );
    }
    // Blank lines between them, as `echo` writes them; of equally new ones the last.
    let text = [&b"\n"[..], &new, b"\n\n", &newer, b"\r\n"].concat();
    let (Found::Text(text), true) = picked(&text) else {
        panic!("not picked")
    };
    assert_eq!(text.trim_ascii_end(), newer.trim_ascii_end());
}

#[test]
fn other_services_are_passed_over() {
    let other = ServiceKey::generate(|bytes| rand::rng().try_fill_bytes(bytes)).unwrap();
    let now = UnixTime::from_secs(1_895_352_400);
    let period = TimePeriod::at(&other.service_id(), now);
    let foreign = Draft::new(points()).sign(&other, period, Replica::ALL[0], now).unwrap();
    let own = descriptor(0, 0);
    assert_eq!(picked(&[foreign.text(), &own].concat()), (Found::Text(own), true));
    // If there is nothing else, the machine says what is wrong with it.
    assert_eq!(picked(foreign.text()), (Found::Text(foreign.text().to_vec()), false));
}

#[test]
fn what_is_not_whole_is_told() {
    let [first, second] = [descriptor(0, 0), descriptor(1, 1)];
    for length in [0, 1, 2] {
        assert_eq!(picked(&b" \n"[..length]), (Found::Nothing, false));
    }
    for length in [1, 100, first.len() - 2] {
        assert_eq!(picked(&first[..length]), (Found::Text(first[..length].to_vec()), false));
    }
    // The first is whole, the second is being written.
    let text = [&first[..], &second[..200]].concat();
    assert_eq!(picked(&text), (Found::Text(first), false));
}

/// A watch on a file in a folder of its own.
struct Watched {
    folder: tempfile::TempDir,
    file: PathBuf,
    events: mpsc::Receiver<(u64, Event)>,
    task: JoinHandle<()>,
}

impl Watched {
    fn start(poll: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tor/descriptor");
        fs::create_dir(folder.path().join("tor")).unwrap();
        Self::start_on(folder, file, poll)
    }

    fn start_on(folder: tempfile::TempDir, file: PathBuf, poll: Duration) -> Self {
        let (tell, events) = Teller::new_for_tests();
        let watch = Watch {
            instance: "a".parse().unwrap(),
            service: key().service_id(),
            settings: WatchSettings {
                file: file.clone(),
                poll,
                address: None,
            },
            folders: Folders::default(),
            tell,
        };
        let task = tokio::spawn(watch.run());
        Self {
            folder,
            file,
            events,
            task,
        }
    }

    /// Writes as a careful writer does.
    fn rename_over(&self, bytes: &[u8]) {
        let new = self.folder.path().join("new");
        fs::write(&new, bytes).unwrap();
        fs::rename(new, &self.file).unwrap();
    }

    /// The next event: `up`, `nothing`, `down: ...`, or the publication time of what it offers.
    async fn next(&mut self) -> String {
        match timeout(LIMIT, self.events.recv()).await.unwrap().unwrap().1 {
            Event::InstanceUp { .. } => "up".into(),
            Event::InstanceOffersNothing { .. } => "nothing".into(),
            Event::InstanceDown { why, .. } => format!("down: {why}"),
            Event::InstanceOffers { text, rebuilt, .. } => {
                let Ok(descriptor) = UnverifiedDescriptor::parse(&text) else {
                    return format!("{} bytes", text.len());
                };
                let hour = (descriptor.verify().unwrap().publication_time().as_secs() - 1_795_352_400) / 3600;
                format!("hour {hour}{}", if rebuilt { ", rebuilt" } else { "" })
            }
            other => panic!("{other:?}"),
        }
    }

    async fn silent(&mut self, time: Duration) {
        assert!(timeout(time, self.events.recv()).await.is_err());
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// No poll comes in these tests: what is noticed was announced.
const NEVER: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_noticed_at_once_however_they_are_made() {
    let mut watched = Watched::start(NEVER);
    assert_eq!(watched.next().await, "up");
    assert_eq!(watched.next().await, "nothing");
    watched.rename_over(&descriptor(0, 1));
    assert_eq!(watched.next().await, "hour 1");
    // The same again is no news.
    watched.rename_over(&descriptor(0, 1));
    watched.silent(Duration::from_millis(300)).await;
    // Truncated and written; it was empty for a moment, which is not told.
    fs::write(&watched.file, descriptor(0, 2)).unwrap();
    assert_eq!(watched.next().await, "hour 2, rebuilt");
    // Unlinked and written.
    fs::remove_file(&watched.file).unwrap();
    fs::write(&watched.file, descriptor(0, 3)).unwrap();
    assert_eq!(watched.next().await, "hour 3, rebuilt");
    // In place, byte by byte of another file: a hard link does it too.
    let other = watched.folder.path().join("other");
    fs::write(&other, descriptor(0, 4)).unwrap();
    fs::remove_file(&watched.file).unwrap();
    fs::hard_link(&other, &watched.file).unwrap();
    assert_eq!(watched.next().await, "hour 4, rebuilt");
    fs::remove_file(&watched.file).unwrap();
    assert_eq!(watched.next().await, "nothing");
    watched.rename_over(&descriptor(1, 4));
    assert_eq!(watched.next().await, "hour 4");
    // Other files of the folder are nobody's business.
    fs::write(watched.file.with_file_name("other"), "x").unwrap();
    watched.silent(Duration::from_millis(300)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_written_file_is_read_again() {
    let mut watched = Watched::start(NEVER);
    let text = descriptor(0, 0);
    watched.rename_over(&text);
    assert_eq!(watched.next().await, "up");
    assert_eq!(watched.next().await, "hour 0");
    // In five parts, which together take less than what a writer is given, unless this machine is
    // very busy: then once more.
    for hour in 1.. {
        let text = descriptor(0, hour);
        let begin = Instant::now();
        let mut file = File::create(&watched.file).unwrap();
        for part in text.chunks(text.len() / 5 + 1) {
            std::io::Write::write_all(&mut file, part).unwrap();
            sleep(Duration::from_millis(50)).await;
        }
        let took = begin.elapsed();
        let mut told = vec![watched.next().await];
        while told.last() != Some(&format!("hour {hour}, rebuilt")) {
            told.push(watched.next().await);
        }
        if took < Duration::from_millis(400) {
            assert_eq!(told.len(), 1, "{told:?} while it was written for {took:?}");
            break;
        }
    }
    // One that stays so is what the instance offers: the machine reports it.
    fs::write(&watched.file, &text[..700]).unwrap();
    assert_eq!(watched.next().await, "700 bytes");
    fs::write(&watched.file, descriptor(1, 200)).unwrap();
    assert_eq!(watched.next().await, "hour 200, rebuilt");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_told_with_the_reason() {
    let mut watched = Watched::start(NEVER);
    assert_eq!(watched.next().await, "up");
    assert_eq!(watched.next().await, "nothing");
    watched.rename_over(&vec![b'x'; LONGEST_FILE as usize + 1]);
    let told = watched.next().await;
    assert!(told.contains("is longer than 163840 bytes"), "{told}");
    watched.rename_over(&descriptor(0, 0));
    assert_eq!(watched.next().await, "up");
    assert_eq!(watched.next().await, "hour 0");
    fs::remove_file(&watched.file).unwrap();
    fs::create_dir(&watched.file).unwrap();
    // There is nothing for a moment, unless both were noticed together.
    let mut told = watched.next().await;
    if told == "nothing" {
        told = watched.next().await;
    }
    assert!(
        told.starts_with("down: ") && told.contains("is no regular file"),
        "{told}"
    );
    fs::remove_dir(&watched.file).unwrap();
    symlink(&watched.file, &watched.file).unwrap();
    let mut told = watched.next().await;
    while !told.contains("symbolic link") {
        told = watched.next().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_folder_is_watched_anew() {
    let mut watched = Watched::start(NEVER);
    let folder = watched.folder.path().join("tor");
    watched.rename_over(&descriptor(0, 0));
    assert_eq!(watched.next().await, "up");
    assert_eq!(watched.next().await, "hour 0");
    // Twice, since a new folder may get the old one's number.
    for hour in [1, 3] {
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(watched.next().await, "nothing");
        fs::create_dir(&folder).unwrap();
        watched.rename_over(&descriptor(0, hour));
        assert_eq!(watched.next().await, format!("hour {hour}"));
        // That was found by looking; from now on it is announced again.
        watched.rename_over(&descriptor(0, hour + 1));
        assert_eq!(watched.next().await, format!("hour {}, rebuilt", hour + 1));
    }
    // Another folder in its place, at once.
    let new = watched.folder.path().join("tor2");
    fs::create_dir(&new).unwrap();
    fs::write(new.join("descriptor"), descriptor(0, 5)).unwrap();
    fs::rename(&folder, watched.folder.path().join("old")).unwrap();
    fs::rename(&new, &folder).unwrap();
    let mut told = watched.next().await;
    if told == "nothing" {
        told = watched.next().await;
    }
    assert!(told.starts_with("hour 5"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unannounced_changes_are_found_by_looking() {
    // The link's folder is watched, and nothing happens there when the file behind the link
    // changes.
    let folder = tempfile::tempdir().unwrap();
    let (file, behind) = (folder.path().join("here/descriptor"), folder.path().join("there"));
    fs::create_dir(folder.path().join("here")).unwrap();
    fs::write(&behind, descriptor(0, 0)).unwrap();
    symlink(&behind, &file).unwrap();
    let mut watched = Watched::start_on(folder, file, Duration::from_millis(500));
    assert_eq!(watched.next().await, "up");
    assert_eq!(watched.next().await, "hour 0");
    fs::write(&behind, descriptor(0, 1)).unwrap();
    assert_eq!(watched.next().await, "hour 1, rebuilt");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_changes_leave_nothing_behind() {
    let mut watched = Watched::start(NEVER);
    assert_eq!(watched.next().await, "up");
    assert_eq!(watched.next().await, "nothing");
    let texts = [descriptor(0, 0), descriptor(0, 1), descriptor(1, 2)];
    let before = resident();
    let begin = Instant::now();
    for change in 0..10_000 {
        watched.rename_over(&texts[change % 2]);
        while watched.events.try_recv().is_ok() {}
    }
    let took = begin.elapsed();
    watched.rename_over(&texts[2]);
    while watched.next().await != "hour 2, rebuilt" {}
    watched.silent(Duration::from_millis(300)).await;
    // Ten thousand descriptors would be more than 30 MB.
    let grown = resident().saturating_sub(before);
    assert!(grown < 20 << 20, "{grown} bytes more after 10 000 changes in {took:?}");
}

/// The resident memory of this process, in bytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = status.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_left_behind_in_the_table() {
    let folders = Folders::default();
    let folder = tempfile::tempdir().unwrap();
    let first = folders.subscribe(&folder.path().join("a"));
    let second = folders.subscribe(&folder.path().join("b"));
    assert!(first.arm().await && second.arm().await);
    assert_eq!(format!("{folders:?}"), "Folders { armed: 1, .. }");
    drop(first);
    fs::write(folder.path().join("b"), "x").unwrap();
    timeout(LIMIT, second.changed()).await.unwrap();
    drop(second);
    let begin = Instant::now();
    while format!("{folders:?}") != "Folders { armed: 0, .. }" {
        assert!(begin.elapsed() < LIMIT);
        sleep(Duration::from_millis(10)).await;
    }
}
