//! Starts the tor binary that is named, and hosts an onion service that leads to port 8080 of this machine.
//!
//! `cargo run -p onionweave-control --features launch --example onion -- /usr/bin/tor /tmp/hello`
#![allow(clippy::print_stdout, reason = "this is a program")]

use onionweave_control::launch::Launch;
use onionweave_control::{AddOnion, OnionKeyAlgorithm};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(binary), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("usage: onion TOR FOLDER".into());
    };
    let launch = Launch::new(binary, folder).option("SocksPort", "0").bootstrapped(100);
    let mut tor = launch.start().await?;
    let service = AddOnion::new_key(OnionKeyAlgorithm::Ed25519V3).port_to(80, "127.0.0.1:8080");
    let onion = tor.control().add_onion(&service).await?;
    println!("http://{}.onion/", onion.address());
    println!("tor ended: {}", tor.wait().await?);
    Ok(())
}
