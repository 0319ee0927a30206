//! The figures that README publishes: measured here, held to those of `docs/figures.toml`, and
//! written for `cargo xtask figures`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use toml::{Table, Value};

/// The published figures.
const PUBLISHED: &str = include_str!("../../../../docs/figures.toml");

/// Returns the published figure of a kind (`times`, `requests`, `split`).
fn published(kind: &str, name: &str) -> Table {
    let all: Table = PUBLISHED.parse().unwrap();
    let figures = all[kind]
        .as_array()
        .unwrap()
        .iter()
        .map(|figure| figure.as_table().unwrap());
    let mut found = figures.filter(|figure| figure["name"].as_str() == Some(name));
    found
        .next()
        .unwrap_or_else(|| panic!("no {kind} named {name} are published"))
        .clone()
}

/// Writes a figure to where `cargo xtask figures` looks for it.
fn write(kind: &str, name: &str, values: impl IntoIterator<Item = (&'static str, Value)>) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("figures");
    fs::create_dir_all(&folder).unwrap();
    let mut figure = published(kind, name);
    figure.extend(values.into_iter().map(|(key, value)| (key.to_owned(), value)));
    let mut file = Table::new();
    file.insert(kind.to_owned(), Value::Array(vec![Value::Table(figure)]));
    fs::write(folder.join(format!("{name}.toml")), file.to_string()).unwrap();
}

/// Seconds with two digits, as README has them.
fn seconds(time: Duration) -> Value {
    Value::Float((time.as_secs_f64() * 100.0).round() / 100.0)
}

/// Returns the median and the longest of some times, and prints them all.
pub(crate) fn print_times(what: &str, mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort();
    let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
    println!(
        "{what}: median {} ms, longest {} ms of {} ({:?})",
        median.as_millis(),
        longest.as_millis(),
        times.len(),
        times.iter().map(Duration::as_millis).collect::<Vec<_>>()
    );
    (median, longest)
}

/// Holds times to what is published: as many, and with a median of at most twice as long.
pub(crate) fn hold_times(name: &str, times: Vec<Duration>) {
    let published = published("times", name);
    let of = i64::try_from(times.len()).unwrap();
    let (median, longest) = print_times(published["what"].as_str().unwrap(), times);
    write(
        "times",
        name,
        [
            ("median", seconds(median)),
            ("longest", seconds(longest)),
            ("of", of.into()),
        ],
    );
    assert_eq!(Some(of), published["of"].as_integer(), "{name}: as many are published");
    let limit = 2.0 * published["median"].as_float().unwrap();
    assert!(
        median.as_secs_f64() <= limit,
        "{name}: the median {median:?} exceeds {limit} s, twice the published one"
    );
}

/// Holds answered requests to what is published: as many were made, and at most the share
/// `most_missed` was not answered.
pub(crate) fn hold_requests(name: &str, answered: usize, of: usize, most_missed: f64) {
    let published = published("requests", name);
    println!("{}: {answered} of {of}", published["what"].as_str().unwrap());
    let number = |count: usize| Value::Integer(i64::try_from(count).unwrap());
    write("requests", name, [("answered", number(answered)), ("of", number(of))]);
    assert_eq!(
        Some(number(of)),
        published.get("of").cloned(),
        "{name}: as many are published"
    );
    let missed = (of - answered) as f64 / of as f64;
    assert!(missed <= most_missed, "{name}: {answered} of {of} were answered");
}

/// Publishes how many new clients each instance met.
pub(crate) fn write_split(name: &str, counts: &[u64], p: f64) {
    let counts = counts
        .iter()
        .map(|count| Value::Integer(i64::try_from(*count).unwrap()))
        .collect();
    let p = Value::Float((p * 100.0).round() / 100.0);
    write("split", name, [("counts", Value::Array(counts)), ("p", p)]);
}
