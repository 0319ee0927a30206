//! The figures as tables of benches/README.md.

use std::collections::BTreeMap;

use anyhow::Context as _;

use super::{Figures, Machine};
use crate::markers;

/// Lines before and after the figures.
const BEGIN: &str = "<!-- The figures below are written by `cargo xtask bench`. -->";
const END: &str = "<!-- End of the figures. -->";

/// A piece of work, under the names that it has with those who do it.
struct Work {
    what: &'static str,
    /// With the peers: `benches/peers/peers.py`.
    peers: &'static str,
    /// With Criterion, computed by the crate `rsa`: `benches/desc.rs`, `benches/ring.rs` and
    /// `benches/control.rs`.
    ours: &'static str,
    /// The same by OpenSSL, where RSA is part of the work.
    openssl: Option<&'static str>,
    /// In the bench `memory`, if it is measured there.
    memory: Option<&'static str>,
    /// Longest time, in seconds, that either of the two may take.
    aim: Option<f64>,
    openssl_aim: Option<f64>,
}

/// Number of relays that the control client asks for: some more than the public network has.
pub(super) const ASKED_FOR: u32 = 7000;

const WORK: [Work; 9] = [
    Work {
        what: "parse and verify a descriptor with three points",
        peers: "verify",
        ours: "descriptor/parse and verify/rsa",
        openssl: Some("descriptor/parse and verify/openssl"),
        memory: Some("verify"),
        aim: Some(48e-6),
        openssl_aim: Some(10e-6),
    },
    Work {
        what: "of which the RSA operation alone",
        peers: "rsa verify",
        ours: "descriptor/rsa verify alone/rsa",
        openssl: Some("descriptor/rsa verify alone/openssl"),
        memory: None,
        aim: None,
        openssl_aim: None,
    },
    Work {
        what: "parse it, to its introduction points",
        peers: "parse",
        ours: "descriptor/parse to introduction points",
        openssl: None,
        memory: Some("parse"),
        aim: Some(5e-6),
        openssl_aim: None,
    },
    Work {
        what: "build and sign one with ten points",
        peers: "sign",
        ours: "descriptor/sign ten points/rsa",
        openssl: Some("descriptor/sign ten points/openssl"),
        memory: Some("sign"),
        aim: Some(230e-6),
        openssl_aim: Some(110e-6),
    },
    Work {
        what: "of which the RSA operation alone",
        peers: "rsa sign",
        ours: "descriptor/rsa sign alone/rsa",
        openssl: Some("descriptor/rsa sign alone/openssl"),
        memory: None,
        aim: None,
        openssl_aim: None,
    },
    Work {
        what: "six distinct descriptors of ten points",
        peers: "six",
        ours: "descriptor/six distinct of ten points/rsa",
        openssl: Some("descriptor/six distinct of ten points/openssl"),
        memory: Some("six"),
        aim: Some(1.4e-3),
        openssl_aim: Some(0.65e-3),
    },
    Work {
        what: "directories of both replicas among 7 000",
        peers: "directories",
        ours: "ring/responsible directories of both replicas, 7000",
        openssl: None,
        memory: Some("directories"),
        aim: Some(1e-6),
        openssl_aim: None,
    },
    Work {
        what: "ring from the `ns/all` of 6 400 relays",
        peers: "ring",
        ours: "ring/ring from ns/all, 6400",
        openssl: None,
        memory: Some("ring"),
        aim: Some(2e-3),
        openssl_aim: None,
    },
    Work {
        what: "`ns/all` of 7 000 relays, asked for at a control port and read",
        peers: "ask",
        ours: "control/ns/all read and parsed, 7000",
        openssl: None,
        memory: None,
        aim: Some(5e-3),
        openssl_aim: None,
    },
];

/// Work that only the bench `memory` does, and its name there.
const MEMORY_ALONE: [(&str, &str); 1] = [("ring of a million directories", "ring of a million")];

/// The names under which Criterion measures what is in the tables.
pub(super) fn names() -> Vec<&'static str> {
    WORK.iter()
        .flat_map(|work| [Some(work.ours), work.openssl])
        .flatten()
        .collect()
}

/// All tables, with what they were measured on.
pub(super) fn render(figures: &Figures) -> anyhow::Result<String> {
    let versions = &figures.peers.first().context("no round was measured")?.versions;
    Ok(format!(
        "{}\n\n{}\n\n{}",
        times(figures)?,
        memory(figures)?,
        measured_on(&figures.machine, versions, figures.peers.len())
    ))
}

fn times(figures: &Figures) -> anyhow::Result<String> {
    let mut table = String::from(
        "| work | peers | `rsa` | aim | faster | OpenSSL | aim | faster |\n\
         | --- | --: | --: | --: | --: | --: | --: | --: |",
    );
    for work in &WORK {
        let peers = median(figures.peers.iter().map(|round| &round.seconds), work.peers)?;
        let ours = |id| median(figures.ours.iter().map(|round| &round.0), id);
        let cells = |seconds: Option<f64>, aim: Option<f64>| {
            let faster = seconds.map(|seconds| format!("{} ×", digits(peers / seconds)));
            [seconds.map(time), aim.map(time), faster].map(Option::unwrap_or_default)
        };
        let [rsa, aim, faster] = cells(Some(ours(work.ours)?), work.aim);
        let [openssl, openssl_aim, openssl_faster] = cells(work.openssl.map(ours).transpose()?, work.openssl_aim);
        let (what, peers) = (work.what, time(peers));
        table += &format!(
            "\n| {what} | {peers} | {rsa} | {aim} | {faster} | {openssl} | {openssl_aim} | {openssl_faster} |"
        );
    }
    let mut sign: Vec<f64> = figures.openssl.iter().map(|round| round.sign).collect();
    let mut verify: Vec<f64> = figures.openssl.iter().map(|round| round.verify).collect();
    table += &format!(
        "\n\n`openssl speed rsa1024` in the same run: {} for a verification, {} for a signature.",
        time(middle(&mut verify).context("OpenSSL was not measured")?),
        time(middle(&mut sign).context("OpenSSL was not measured")?),
    );
    Ok(table)
}

fn memory(figures: &Figures) -> anyhow::Result<String> {
    let mut table = String::from(
        "| work | allocations | bytes in all | most at once | peers: most at once |\n\
         | --- | --: | --: | --: | --: |",
    );
    let shared = WORK
        .iter()
        .filter_map(|work| Some((work.what, work.memory?, Some(work.peers))));
    let alone = MEMORY_ALONE.iter().map(|(what, memory)| (*what, *memory, None));
    for (what, memory, peers) in shared.chain(alone) {
        let cost = figures
            .memory
            .get(memory)
            .with_context(|| format!("the memory of {memory:?} was not measured"))?;
        let peaks = figures.peers.iter().filter_map(|round| round.peak.get(peers?));
        let peers = peaks.min().map(|bytes| size(*bytes)).unwrap_or_default();
        let (allocations, bytes, peak) = (cost.allocations, size(cost.bytes), size(cost.peak));
        table += &format!("\n| {what} | {allocations} | {bytes} | {peak} | {peers} |");
    }
    Ok(table)
}

fn measured_on(machine: &Machine, versions: &BTreeMap<String, String>, rounds: usize) -> String {
    let Machine {
        processor,
        cores,
        compiler,
        openssl,
    } = machine;
    let versions: Vec<String> = versions
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    format!(
        "Measured on one of the {cores} cores of a virtual machine ({processor}), with {compiler}, {openssl}, {}; medians of {rounds} rounds.",
        versions.join(", ")
    )
}

/// The median over all rounds.
fn median<'a>(rounds: impl Iterator<Item = &'a BTreeMap<String, f64>>, name: &str) -> anyhow::Result<f64> {
    let mut values: Vec<f64> = rounds.filter_map(|round| round.get(name)).copied().collect();
    middle(&mut values).with_context(|| format!("{name:?} was not measured"))
}

fn middle(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let above = *values.get(values.len() / 2)?;
    let below = *values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(below, above))
}

/// A time in the unit that suits it.
fn time(seconds: f64) -> String {
    let (value, unit) = match seconds {
        ..1e-6 => (seconds * 1e9, "ns"),
        1e-6..1e-3 => (seconds * 1e6, "µs"),
        _ => (seconds * 1e3, "ms"),
    };
    format!("{} {unit}", digits(value))
}

/// Memory in the unit that suits it.
fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        _ => format!("{} MB", bytes.div_ceil(1_000_000)),
    }
}

/// Two digits that mean something, or all before the point.
fn digits(value: f64) -> String {
    if value < 9.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

/// A text with other figures.
pub(super) fn replace(text: &str, figures: &str) -> anyhow::Result<String> {
    markers::replace(text, BEGIN, END, figures)
}

#[cfg(test)]
mod tests {
    use super::super::figures::{Cost, Ours};
    use super::super::{OpenSsl, peers};
    use super::*;

    #[test]
    fn figures_are_readable() {
        let times = [38e-9, 0.96e-6, 4.1e-6, 230.4e-6, 0.9996e-3, 1.4e-3, 0.116];
        let shown = times.map(time);
        assert_eq!(
            shown,
            ["38 ns", "960 ns", "4.1 µs", "230 µs", "1000 µs", "1.4 ms", "116 ms"]
        );
        assert_eq!(
            [0, 9_999, 10_001, 20_000_000].map(size),
            ["0 B", "9999 B", "11 kB", "20 MB"]
        );
    }

    #[test]
    fn rounds_become_tables() {
        let round = |seconds: f64| Ours(names().into_iter().map(|name| (name.to_owned(), seconds)).collect());
        let work = || WORK.iter().map(|work| work.peers.to_owned());
        let peers = || peers::Figures {
            versions: BTreeMap::from([("stem".to_owned(), "1.8.2".to_owned())]),
            seconds: work().map(|name| (name, 300e-6)).collect(),
            peak: work().map(|name| (name, 12_345)).collect(),
        };
        let memory = WORK.iter().filter_map(|work| work.memory);
        let memory = memory.chain(MEMORY_ALONE.map(|(_, memory)| memory));
        let cost = |name: &str| {
            let cost = Cost {
                allocations: 3,
                bytes: 4000,
                peak: 20_000,
            };
            (name.to_owned(), cost)
        };
        let openssl = |verify| OpenSsl { sign: 70e-6, verify };
        let mut figures = Figures {
            ours: vec![round(30e-6), round(90e-6), round(40e-6)],
            peers: vec![peers(), peers(), peers()],
            openssl: vec![openssl(4e-6), openssl(5e-6), openssl(9e-6)],
            memory: memory.map(cost).collect(),
            machine: Machine {
                processor: "Some Processor".into(),
                cores: 2,
                compiler: "rustc 1".into(),
                openssl: "OpenSSL 3".into(),
            },
        };
        let text = render(&figures).unwrap();
        for line in [
            "| parse and verify a descriptor with three points | 300 µs | 40 µs | 48 µs | 7.5 × | 40 µs | 10 µs | 7.5 × |",
            "| directories of both replicas among 7 000 | 300 µs | 40 µs | 1.0 µs | 7.5 × |  |  |  |",
            "| ring from the `ns/all` of 6 400 relays | 3 | 4000 B | 20 kB | 13 kB |",
            "| ring of a million directories | 3 | 4000 B | 20 kB |  |",
            "`openssl speed rsa1024` in the same run: 5.0 µs for a verification, 70 µs for a signature.",
        ] {
            assert!(text.lines().any(|found| found == line), "no line {line:?} in\n{text}");
        }
        assert!(text.ends_with("(Some Processor), with rustc 1, OpenSSL 3, stem 1.8.2; medians of 3 rounds."));

        figures.ours.iter_mut().for_each(|round| round.0.clear());
        assert!(render(&figures).unwrap_err().to_string().ends_with("was not measured"));
    }

    #[test]
    fn medians_are_between_the_middle_ones() {
        assert_eq!(middle(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(middle(&mut [4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(middle(&mut []), None);
    }

    #[test]
    fn the_readme_has_a_place_for_the_figures() {
        let readme = include_str!("../../../benches/README.md");
        assert_eq!(readme.matches(BEGIN).count(), 1);
        replace(readme, "new").unwrap();
    }
}
