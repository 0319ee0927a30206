//! `cargo xtask faults` in brief: a fault happens, is repaired and gets into the report. The measured
//! figures are not judged here.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

use std::fs;
use std::process::Command;

#[test]
fn fault_happens_and_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("faults.md");
    let output = Command::new(env!("CARGO_BIN_EXE_onionweave-lab"))
        .args(["faults", "--brief", "--only", "instance-killed", "--out"])
        .arg(&report)
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{shown}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report = fs::read_to_string(report).unwrap();
    let row = report
        .lines()
        .find(|line| line.starts_with("| instance killed |"))
        .unwrap();
    let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
    let (reached, tried) = cells[1].split_once(" of ").unwrap();
    let (reached, tried): (u32, u32) = (reached.parse().unwrap(), tried.parse().unwrap());
    assert!(tried >= 5 && reached >= 1 && reached <= tried, "{row}");
    assert!(
        cells[4].ends_with(" s"),
        "the publisher proved every directory clean: {row}"
    );
    let figures = fs::read_to_string(folder.path().join("faults.json")).unwrap();
    assert!(figures.contains("proved ") && figures.contains("b left"), "{figures}");
    let picture = fs::read_to_string(folder.path().join("faults.svg")).unwrap();
    assert!(picture.contains(&format!("{reached} of {tried} requests")));
}

#[test]
fn faults_are_listed_and_no_other_is_taken() {
    let run = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_onionweave-lab"))
            .arg("faults")
            .args(arguments)
            .output()
            .unwrap()
    };
    let listed = String::from_utf8(run(&["--list"]).stdout).unwrap();
    assert!(
        listed.lines().count() >= 10 && listed.contains("instance-killed"),
        "{listed}"
    );
    let refused = run(&["--only", "everything"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("[possible values: instance-killed"));
}
