//! Answers of real Tors, replayed: the same conversation must end the same.
//!
//! `testdata/conversations` holds what was recorded from each version, see its README.
#![cfg(all(unix, feature = "tokio"))]
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::path::Path;

use onionweave_control::{Credentials, Options};

use crate::fake_tor::{FakeTor, listen};

#[path = "common/conversation.rs"]
mod conversation;
#[path = "common/fake_tor.rs"]
mod fake_tor;

/// Says what Tor said, as long as the controller says what it said.
async fn replay(mut tor: FakeTor, transcript: String) {
    for (number, line) in transcript.lines().enumerate() {
        match line.split_at(3) {
            ("C: ", text) => assert_eq!(tor.line().await, text, "line {}", number + 1),
            ("S: ", text) => tor.send(format!("{text}\r\n").as_bytes()).await,
            _ => panic!("line {}: {line}", number + 1),
        }
    }
}

async fn conversation_with(version: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/conversations");
    let transcript = std::fs::read_to_string(folder.join(format!("{version}.txt"))).unwrap();
    let expected = std::fs::read_to_string(folder.join(format!("{version}.results.txt"))).unwrap();
    let endpoint = listen(move |tor| replay(tor, transcript)).await;
    let (tor, mut events) = endpoint
        .connect(&Credentials::null(), &Options::default())
        .await
        .unwrap();
    assert_eq!(tor.protocol_info().tor_version(), Some(version));
    let found = conversation::hold(&tor, &mut events).await;
    for (found, expected) in found.iter().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.lines().count());
}

#[tokio::test(start_paused = true)]
async fn tor_0_4_5_9() {
    conversation_with("0.4.5.9").await;
}

#[tokio::test(start_paused = true)]
async fn tor_0_4_9_11() {
    conversation_with("0.4.9.11").await;
}
