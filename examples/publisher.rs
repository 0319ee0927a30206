//! Publishes onion services: spreads each over its instances, and keeps every directory at the descriptor that the plan gives it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use onionweave_cli::program;

/// Spread Tor onion services over many Tor instances.
///
/// Reads the descriptors of the instances, gives each responsible directory its own, and mends the mix within a second when
/// an instance dies, comes back or publishes by itself. One line is logged per round: why there was work, which slots
/// (period/replica@directory) were written and proved, and how long it took.
///
/// SIGINT and SIGTERM end it, SIGHUP reads the file again; a file with a mistake changes nothing. RUST_LOG sets what is logged.
#[derive(Parser)]
#[command(after_help = EXAMPLE)]
struct Args {
    /// The configuration (TOML).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// Only check the configuration and the files that it names.
    #[arg(long)]
    check: bool,
}

const EXAMPLE: &str = r#"A configuration:

  [publisher]
  heartbeat = "2s"                      # an instance that does not answer for so long is down
  # control = "unix:/run/tor/control"   # a Tor of the publisher's own, which carries the uploads
  # state = "/var/lib/onionweave"       # a folder of the publisher's own: seeds, and the pool

  # [pool]                              # instances that the publisher runs itself, and that end with it
  # size = "cores"                      # so many serve at once; or a number
  # spare = 1                           # so many more wait with their introduction points ready

  [[service]]
  key = "private_key"                   # as Tor wrote it; paths start at this file's folder
  # passphrase_file = "passphrase"       # if the key is encrypted
  policy = "mixed"
  quiet = true                          # the instances have PublishHidServDescriptors 0
  # ports = ["80 127.0.0.1:8080"]       # where the instances of the pool lead, as HiddenServicePort has it

  [[service.instance]]
  name = "a"
  control = "unix:/run/tor-a/control"   # or HOST:PORT
  restart = ["systemctl", "restart", "tor@a"]

  [[service.instance]]
  name = "b"
  control = "192.0.2.7:9051"
  password_file = "b.password"          # or cookie_file; default: what Tor offers
  weight = 2"#;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    program::log_to_stderr();
    let done = match args.check {
        true => program::check(&args.config),
        false => program::run(&args.config).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("publisher: {error}");
            ExitCode::FAILURE
        }
    }
}
