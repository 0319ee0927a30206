//! The simulated experiments as a stranger runs them.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

#[test]
fn an_experiment_writes_its_data_and_its_picture_and_tells_how_it_compares() {
    let folder = tempfile::tempdir().unwrap();
    let experiment = |out: &Path| succeed(&["mixed", "--sim", "--brief", "--seed", "7"], out);
    let (one, other) = (folder.path().join("one/of/them"), folder.path().join("other"));
    let verdict = experiment(&one);
    assert_eq!(verdict.lines().count(), 1, "{verdict}");
    assert!(
        verdict.starts_with("mixed (simulated): ") && verdict.contains("thesis"),
        "{verdict}"
    );
    let csv = fs::read_to_string(one.join("mixed.csv")).unwrap();
    assert!(csv.starts_with("instances,run,instance,requests,percent\n"), "{csv}");
    // Three runs with two to six instances.
    assert_eq!(csv.lines().count(), 1 + 3 * (2 + 3 + 4 + 5 + 6));
    let svg = fs::read_to_string(one.join("mixed.svg")).unwrap();
    for shown in [
        "figure 5.3, page 34",
        "percent of the requests",
        "5 instances",
        "an even split",
    ] {
        assert!(svg.contains(shown), "{shown}");
    }
    // By its seed it comes out the same.
    assert_eq!(experiment(&other), verdict);
    assert_eq!(fs::read_to_string(other.join("mixed.csv")).unwrap(), csv);
    assert_eq!(fs::read_to_string(other.join("mixed.svg")).unwrap(), svg);
}

#[test]
fn all_experiments_are_played_in_little() {
    const FIRST_LINES: [(&str, &str); 6] = [
        ("race", "graph,seconds,what,"),
        ("downloads", "policy,instances,run,"),
        ("failover", "graph,seconds,what,"),
        ("mixed", "instances,run,instance,"),
        ("hybrid", "instances,policy,introduction points,"),
        ("policies", "policy,run,"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("all");
    let verdicts = succeed(&["all", "--brief"], &out);
    assert_eq!(verdicts.lines().count(), FIRST_LINES.len(), "{verdicts}");
    for ((name, first), verdict) in FIRST_LINES.iter().zip(verdicts.lines()) {
        assert!(verdict.starts_with(&format!("{name} (simulated): ")), "{verdict}");
        let csv = fs::read_to_string(out.join(name).with_extension("csv")).unwrap();
        assert!(csv.starts_with(first), "{name}: {csv}");
        let svg = fs::read_to_string(out.join(name).with_extension("svg")).unwrap();
        assert!(svg.contains("Only to try it") && !svg.contains("NaN"), "{name}");
    }
}

#[test]
fn an_experiment_that_cannot_be_written_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = run(&["mixed", "--brief"], Some(&file));
    assert!(!refused.status.success());
    let words = text(&refused.stderr);
    assert!(words.contains("file") && words.lines().count() == 1, "{words}");
    for (arguments, answer) in [
        (
            &["nothing"][..],
            "race, downloads, failover, mixed, hybrid, policies, all",
        ),
        (&["race", "--sim", "--real"], "cannot be used with"),
    ] {
        let output = run(arguments, None);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(text(&output.stderr).contains(answer), "{}", text(&output.stderr));
    }
}

fn run(arguments: &[&str], out: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onionweave-lab"));
    command.arg("experiment").args(arguments);
    if let Some(out) = out {
        command.arg("--out").arg(out);
    }
    command.output().unwrap()
}

/// Runs an experiment that must succeed, and returns what it prints.
fn succeed(arguments: &[&str], out: &Path) -> String {
    let output = run(arguments, Some(out));
    let complaints = text(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {complaints}");
    text(&output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
