//! Publishes onion services: spreads each over its instances, and keeps every directory at the descriptor that the plan gives it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use onionweave::driver::config::Config;
use onionweave::driver::{Publisher, ServiceReport};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

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
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(std::io::stderr)
        .init();
    match run(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("publisher: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> anyhow::Result<()> {
    let config = load(&args.config)?;
    if args.check {
        Publisher::check(&config)?;
        tracing::info!("{} is right: {} services", args.config.display(), config.services.len());
        return Ok(());
    }
    // Before anything is published, so that no signal is missed.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;

    let (mut publisher, mut reports) = Publisher::start(&config)?;
    tracing::info!("publishing {} services", config.services.len());
    loop {
        tokio::select! {
            Some(report) = reports.recv() => log(&report),
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = hangup.recv() => match reload(&mut publisher, &args.config).await {
                Ok(services) => tracing::info!("read {} again: {services} services", args.config.display()),
                Err(error) => tracing::error!("nothing is changed: {error:#}"),
            },
        }
    }
    tracing::info!("stopping; the directories keep what they have");
    publisher.stop().await;
    Ok(())
}

async fn reload(publisher: &mut Publisher, path: &Path) -> anyhow::Result<usize> {
    let config = load(path)?;
    publisher.reload(&config).await?;
    Ok(config.services.len())
}

fn load(path: &Path) -> anyhow::Result<Config> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    // Relative paths start where the file is, wherever the publisher was started.
    let file = std::path::absolute(path)?;
    let folder = file.parent().unwrap_or(Path::new("/"));
    Config::parse(&text, folder).with_context(|| path.display().to_string())
}

fn log(ServiceReport { service, report, .. }: &ServiceReport) {
    if report.is_warning() {
        tracing::warn!("{service}: {report}");
    } else {
        tracing::info!("{service}: {report}");
    }
}
