//! A thousand services on five Tors: the connections, the readings of the consensus, and the time
//! until every Tor has been asked for the descriptor of every service.
//!
//! The Tors are scripted, so that nothing but the publisher is measured. A publisher with a
//! connection for each service and Tor would hold as many as the last column says.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "printing is what it is for, and a surprise ends it"
)]

use std::time::{Duration, Instant};

use tokio::time::sleep;

#[path = "../crates/driver/tests/services/scripted.rs"]
mod scripted;

use scripted::{Counts, ScriptedTor, keys, publisher};

const TORS: usize = 5;

#[tokio::main]
async fn main() {
    println!("services  tors  connections  readings  time until all is asked  services x tors");
    for services in [10, 100, 1000] {
        let mut tors = Vec::new();
        for _ in 0..TORS {
            tors.push(ScriptedTor::start().await);
        }
        let keys = keys(services);
        let total = |count: fn(&Counts) -> usize| tors.iter().map(|tor| count(&tor.counts)).sum::<usize>();
        let begin = Instant::now();
        let publisher = publisher(keys, &tors);
        while total(|counts| Counts::of(&counts.descriptor_questions)) < services * TORS {
            sleep(Duration::from_millis(1)).await;
        }
        let connections = total(|counts| Counts::of(&counts.connections));
        let readings = total(|counts| Counts::of(&counts.consensus_readings));
        println!(
            "{services:8}  {TORS:4}  {connections:11}  {readings:8}  {:21.0} ms  {:15}",
            begin.elapsed().as_secs_f64() * 1000.0,
            services * TORS,
        );
        publisher.stop().await;
    }
}
