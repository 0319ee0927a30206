//! The examples with files as people have them: old, compressed, annotated, of another kind, or no
//! files at all.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

mod programs;

use programs::{program, root};

const SERVICE: &str = "rf75jzdtba4wnd6v";
const AT: &str = "2015-06-01T12:00:00Z";
const CONSENSUS: &str = "crates/ring/testdata/archives/consensus-2012.txt";
const DESCRIPTOR: &str = "crates/desc/testdata/plain/descriptor-rf75jzdtba4wnd6v.txt";

#[test]
fn consensus_of_2012_gives_its_ring() {
    let expected = data("crates/ring/testdata/archives/consensus-2012.expected");
    let file = path(CONSENSUS);
    assert_eq!(succeed(ring(&file, SERVICE), b""), text(&expected));
    let stdin = Path::new("-");
    assert_eq!(succeed(ring(stdin, SERVICE), &data(CONSENSUS)), text(&expected));
    // A contact line in Latin-1.
    let latin_1 = replace(&data(CONSENSUS), b"contact nobody", b"contact J\xfcrgen");
    assert_eq!(succeed(ring(stdin, SERVICE), &latin_1), text(&expected));

    let shown = succeed(command("ring_anatomy", ["--relays", "-"]), &data(CONSENSUS));
    assert!(shown.contains("ring of 7 directories"), "{shown}");
}

#[test]
fn compressed_relays_are_named() {
    let folder = Folder::new();
    for (magic, format, unpack) in [
        (b"\x1f\x8b\x08\0".as_slice(), "gzip", "zcat FILE"),
        (b"\xfd7zXZ\0", "xz", "xzcat FILE"),
        (b"BZh91AY", "bzip2", "bzcat FILE"),
        (b"\x28\xb5\x2f\xfd", "zstd", "zstdcat FILE"),
    ] {
        let file = folder.file("consensus", &[magic, &[0xff; 100]].concat());
        for mut program in [
            ring(&file, SERVICE),
            command("ring_anatomy", ["--relays".as_ref(), file.as_os_str()]),
        ] {
            let words = refuse(&mut program, b"");
            assert!(words.contains(format) && words.contains(unpack), "{words}");
        }
    }
}

#[test]
fn key_that_was_made_by_counting_its_exponent_up_is_used() {
    let folder = Folder::new();
    let pem = data("crates/desc/testdata/keys/exponent-8589934593-of-6xrnjww7qw3dflwp.pem");
    let key = folder.file("private_key", &pem);
    let shown = succeed(by_key(&key), b"");
    assert!(shown.starts_with("service 6xrnjww7qw3dflwp\n"), "{shown}");
    let signed = succeed(sign(&key, &path(DESCRIPTOR)), b"");
    let shown = succeed(command("descriptor", ["inspect", "-"]), signed.as_bytes());
    assert!(shown.starts_with("service            6xrnjww7qw3dflwp\n"), "{shown}");
}

#[test]
fn key_is_read_from_whatever_text_it_stands_in() {
    let folder = Folder::new();
    let quoted = data("crates/desc/testdata/keys/quoted-begin.pem");
    let latin_1 = [b"Schl\xfcssel\n", quoted.as_slice()].concat();
    for text in [quoted, latin_1] {
        let key = folder.file("private_key", &text);
        for (mut program, stdin) in [(by_key(&key), &b""[..]), (by_key(Path::new("-")), &text)] {
            let shown = succeed(&mut program, stdin);
            assert!(shown.starts_with("service rf75jzdtba4wnd6v\n"), "{shown}");
        }
    }
}

#[test]
fn keys_and_addresses_of_another_kind_are_named() {
    let folder = Folder::new();
    for (text, reason) in [
        (data("crates/desc/testdata/keys/ed25519-pkcs8.pem"), "v3 onion service"),
        (
            [b"== ed25519v1-secret: type0 ==\0\0\0".as_slice(), &[0xa5; 64]].concat(),
            "v3 onion service",
        ),
        (b"RSA1024:MIICXQIBAAKBgQC=\n".to_vec(), "RSA1024:"),
        (b"ED25519-V3:AAAA\n".to_vec(), "v3 onion service"),
    ] {
        let key = folder.file("key", &text);
        for mut program in [by_key(&key), sign(&key, &path(DESCRIPTOR))] {
            let words = refuse(&mut program, b"");
            assert!(words.contains(reason) && words.contains("RSA"), "{words}");
        }
    }
    let relays = path(CONSENSUS);
    for (address, reason) in [
        (
            "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion",
            "v3 onion service",
        ),
        ("http://rf75jzdtba4wnd6v.onion/", "the address alone"),
    ] {
        let words = refuse(ring(&relays, address), b"");
        assert!(words.contains(reason), "{words}");
    }
    let words = refuse(command("descriptor", ["inspect", "-"]), b"hs-descriptor 3\n");
    assert!(words.contains("v3"), "{words}");
}

#[test]
fn descriptors_of_archives_are_inspected() {
    let plain = succeed(command("descriptor", ["inspect", DESCRIPTOR]), b"");
    let annotated = "crates/desc/testdata/archives/descriptor-annotated.txt";
    assert_eq!(succeed(command("descriptor", ["inspect", annotated]), b""), plain);
    let tampered = replace(&data(annotated), b"version 2", b"version 3");
    let words = refuse(command("descriptor", ["inspect", "-"]), &tampered);
    assert!(words.contains("line 3: `version` is not 2"), "{words}");

    let crlf = "crates/desc/testdata/archives/descriptor-crlf.txt";
    let words = refuse(command("descriptor", ["inspect", crlf]), b"");
    assert!(words.contains("line 4: the line ends in CRLF"), "{words}");
}

#[test]
fn what_is_no_file_is_refused_at_once() {
    let folder = Folder::new();
    let fifo = folder.0.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for file in [fifo.as_path(), Path::new("/dev/zero")] {
        let name = file.as_os_str();
        for mut program in [
            ring(file, SERVICE),
            command("ring_anatomy", ["--relays".as_ref(), name]),
            command("descriptor", ["inspect".as_ref(), name]),
        ] {
            let words = refuse(&mut program, b"");
            assert!(words.contains("no regular file"), "{words}");
        }
        refuse(by_key(file), b"");
    }
    // Standard input has the same limit.
    for mut program in [ring(Path::new("-"), SERVICE), command("descriptor", ["inspect", "-"])] {
        let output = program.stdin(File::open("/dev/zero").unwrap()).output().unwrap();
        let words = text(&output.stderr);
        assert!(
            !output.status.success() && words.contains("larger than the limit of"),
            "{words}"
        );
    }
    let words = refuse(by_key_of(Path::new("-"), Path::new("-")), b"");
    assert!(words.contains("standard input can be read once"), "{words}");
}

#[test]
fn no_output_is_no_panic() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    for example in ["descriptor", "ring", "ring_anatomy"] {
        for arguments in [&["--no-such-argument"][..], &["--help"], &["--version"], &["nothing"]] {
            let output = command(example, arguments)
                .stdout(full())
                .stderr(full())
                .output()
                .unwrap();
            assert!(
                matches!(output.status.code(), Some(0..=2)),
                "{example} {arguments:?}: {output:?}"
            );
        }
    }
    for mut program in [
        ring(&path(CONSENSUS), SERVICE),
        command("descriptor", ["inspect", DESCRIPTOR]),
        command("ring_anatomy", ["--synthetic", "7"]),
    ] {
        let status = program.stdout(full()).stderr(full()).status().unwrap();
        assert_eq!(status.code(), Some(1));
    }
}

#[test]
fn every_program_tells_its_version() {
    for example in ["descriptor", "ring", "ring_anatomy"] {
        let shown = succeed(command(example, ["--version"]), b"");
        assert_eq!(shown, format!("{example} {}\n", env!("CARGO_PKG_VERSION")));
    }
}

fn command<A: AsRef<OsStr>>(example: &str, arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(program(example));
    command.args(arguments).current_dir(root()).env_remove("RUST_LOG");
    command
}

fn ring(relays: &Path, service: &str) -> Command {
    let mut command = command("ring", ["--at", AT, "--service", service, "--relays"]);
    command.arg(relays);
    command
}

fn by_key(key: &Path) -> Command {
    by_key_of(key, &path(CONSENSUS))
}

fn by_key_of(key: &Path, relays: &Path) -> Command {
    let mut command = command("ring", ["--at", AT, "--key"]);
    command.arg(key).arg("--relays").arg(relays);
    command
}

fn sign(key: &Path, from: &Path) -> Command {
    let mut command = command("descriptor", ["sign", "--at", AT, "--replica", "0", "--key"]);
    command.arg(key).arg("--from").arg(from);
    command
}

fn run(program: &mut Command, stdin: &[u8]) -> Output {
    let program = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = program.spawn().unwrap();
    // A program that refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

/// Runs a program that must succeed: its output.
fn succeed(mut program: impl std::borrow::BorrowMut<Command>, stdin: &[u8]) -> String {
    let output = run(program.borrow_mut(), stdin);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// Runs a program that must fail with one line: that line.
fn refuse(mut program: impl std::borrow::BorrowMut<Command>, stdin: &[u8]) -> String {
    let output = run(program.borrow_mut(), stdin);
    let words = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert_eq!(words.lines().count(), 1, "{words}");
    assert_eq!(text(&output.stdout), "", "{words}");
    words
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn path(name: &str) -> PathBuf {
    root().join(name)
}

fn data(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap()
}

/// The bytes with the first of these replaced, which must be there.
fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let place = bytes.windows(from.len()).position(|window| window == from).unwrap();
    [&bytes[..place], to, &bytes[place + from.len()..]].concat()
}

/// A folder whose files only their owner can read.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        Self(folder)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }
}
