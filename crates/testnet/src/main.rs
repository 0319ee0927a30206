//! Starts a private Tor network and holds it until its standard input ends: for looking at one by
//! hand, and for the tests.
#![allow(clippy::print_stdout, reason = "this is a program")]

use std::process::ExitCode;

use onionweave_testnet::{Error, Network, NetworkBuilder, Progress};

const USAGE: &str = "usage: onionweave-testnet [AUTHORITIES RELAYS]
Starts a private Tor network on 127.0.0.1, prints where its relays are, and ends it when standard input ends.";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(builder) = parse(&arguments) else {
        let asked = arguments
            .iter()
            .any(|argument| argument == "--help" || argument == "-h");
        if asked {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match hold(builder).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("onionweave-testnet: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String]) -> Option<NetworkBuilder> {
    match arguments {
        [] => Some(Network::builder()),
        [authorities, relays] => Some(
            Network::builder()
                .authorities(authorities.parse().ok()?)
                .relays(relays.parse().ok()?),
        ),
        _ => None,
    }
}

/// Starts the network, and returns when standard input has ended.
async fn hold(builder: NetworkBuilder) -> Result<(), Error> {
    let network = builder.on_progress(show).start().await?;
    println!("folder {}", network.folder().display());
    for relay in network.directories() {
        let pid = relay.pid().unwrap_or_default();
        println!("relay {relay} {} process {pid}", relay.control());
    }
    println!("ready");
    // An input that cannot be read has ended. Blocking is fine: nothing else is to be done.
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    Ok(())
}

fn show(progress: Progress) {
    eprintln!("{progress:?}");
}
