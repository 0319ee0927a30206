//! The control client: the list of all relays, asked for over a unix socket and made into a ring.
//! The other side is a thread that answers at once, so that what is measured is ours.
#![cfg(unix)]
#![allow(
    missing_docs,
    dead_code,
    clippy::unwrap_used,
    reason = "Criterion's macros; other benches use the rest of the inputs; a bench may panic"
)]

mod inputs;

use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use onionweave::control::{Connection, Credentials, Endpoint, Options, Reply};
use onionweave::ring::relays::RelayList;

/// Some more than the public network has.
const RELAYS: u32 = 7000;

fn all_relays(criterion: &mut Criterion) {
    let document = inputs::ns_all_of(RELAYS);
    let wire = format!("250+ns/all=\r\n{}.\r\n250 OK\r\n", document.replace('\n', "\r\n")).into_bytes();
    let socket = Socket::listen(wire.clone());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (tor, _events) = runtime
        .block_on(Connection::connect(
            &Endpoint::Unix(socket.0.clone()),
            &Credentials::null(),
            &Options::default(),
        ))
        .unwrap();

    let mut group = criterion.benchmark_group("control");
    group.throughput(Throughput::Bytes(wire.len() as u64));
    group.bench_function(format!("ns/all read and parsed, {RELAYS}"), |bencher| {
        bencher.iter(|| {
            let answer = runtime.block_on(tor.get_info("ns/all")).unwrap();
            assert_eq!(answer.len(), document.len());
            RelayList::from_ns_all(&answer).unwrap().hash_ring()
        });
    });
    group.bench_function(format!("ns/all read, {RELAYS}"), |bencher| {
        bencher.iter(|| runtime.block_on(tor.get_info("ns/all")).unwrap());
    });
    group.bench_function(format!("ns/all decoded, {RELAYS}"), |bencher| {
        bencher.iter(|| Reply::parse(black_box(&wire)).unwrap());
    });
    group.finish();
}

/// A control port that lets everybody in and answers every question with the same. Removed when
/// dropped.
struct Socket(PathBuf);

impl Socket {
    fn listen(answer: Vec<u8>) -> Self {
        let path = std::env::temp_dir().join(format!("onionweave-bench-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while let Some(Ok(line)) = lines.next() {
                let written = match &*line {
                    "PROTOCOLINFO 1" => stream.write_all(b"250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n250 OK\r\n"),
                    "AUTHENTICATE" => stream.write_all(b"250 OK\r\n"),
                    _ => stream.write_all(&answer),
                };
                if written.is_err() {
                    return;
                }
            }
        });
        Self(path)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

criterion_group!(benches, all_relays);
criterion_main!(benches);
