//! Simulated clients: what each costs, from a thousand to a million of them. Prints a table beside
//! the aims.
//!
//! Each visit of *kept* clients is one event: they come every three minutes and use the descriptor
//! and the circuit that they have. *New* clients know nothing, so each visit asks a directory too.
//! The time is that of the thread, so what else the machine does hardly matters.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench may panic, and prints"
)]

use std::fs;
use std::time::Duration;

use onionweave_sim::{Crowd, Scenario};

const MINUTE: Duration = Duration::from_secs(60);
/// The time that is simulated.
const HOURS: u32 = 5;
/// Longest time for a million clients.
const AIM: Duration = MINUTE;
/// A client among a million may cost so many times what the cheapest costs.
const FLAT: f64 = 2.0;

fn main() {
    let network = run(Crowd::new(0)).time;
    println!("five hours of the network alone take {:.3} s", network.as_secs_f64());
    println!(
        "\n{:8} {:>9} {:>11} {:>9} {:>14} {:>14} {:>12}",
        "", "clients", "visits", "time", "for a client", "for a visit", "memory"
    );
    for (kind, new) in [("kept", false), ("new", true)] {
        let mut costs = Vec::new();
        for clients in [1_000, 10_000, 100_000, 1_000_000] {
            let crowd = Crowd::new(clients)
                .arriving(MINUTE..=60 * MINUTE)
                .pausing(3 * MINUTE..=3 * MINUTE);
            let Run { time, visits, memory } = run(if new { crowd.fresh() } else { crowd });
            let own = time.saturating_sub(network).as_secs_f64();
            println!(
                "{kind:8} {clients:>9} {visits:>11} {:>7.2} s {:>11.2} µs {:>11.0} ns {:>9.1} B",
                time.as_secs_f64(),
                own * 1e6 / f64::from(clients),
                own * 1e9 / visits as f64,
                memory as f64 / f64::from(clients),
            );
            costs.push((own / f64::from(clients), time));
        }
        let cheapest = costs.iter().map(|&(cost, _)| cost).fold(f64::INFINITY, f64::min);
        let &(cost, time) = costs.last().unwrap();
        println!(
            "{kind:8} a million clients take {:.1} s, where {} s are the aim: {}; each costs {:.1} times what the cheapest costs, where {FLAT} times are: {}",
            time.as_secs_f64(),
            AIM.as_secs(),
            verdict(time <= AIM),
            cost / cheapest,
            verdict(cost <= FLAT * cheapest),
        );
    }
}

struct Run {
    time: Duration,
    visits: u64,
    memory: usize,
}

fn run(crowd: Crowd) -> Run {
    let before = thread_time();
    let mut simulation = Scenario::new(1).numbered(3).clients(crowd).build().unwrap();
    simulation.run_until(60 * HOURS * MINUTE);
    let memory = simulation.memory();
    let record = simulation.finish();
    Run {
        time: thread_time() - before,
        visits: record.served() + record.missed(),
        memory,
    }
}

/// Returns the processor time of this thread, which other processes do not add to.
fn thread_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos = text.split_whitespace().next().unwrap();
    Duration::from_nanos(nanos.parse().unwrap())
}

fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "MISSED" }
}
