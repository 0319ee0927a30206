//! The programs' common part: publishes what a configuration file says until a signal ends it.

use std::path::Path;

use onionweave_driver::{Publisher, ServiceReport};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::Error;
use crate::config::Config;

/// Lets log lines go to standard error, as the environment variable `RUST_LOG` says, or from `info` up.
pub fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(std::io::stderr)
        .init();
}

/// Looks whether a configuration and the files that it names can be used.
///
/// # Errors
///
/// The first mistake that is found.
pub fn check(file: &Path) -> Result<(), Error> {
    let config = load(file)?;
    config
        .builder()
        .and_then(|builder| Ok(builder.check()?))
        .map_err(|error| in_file(file, error))?;
    tracing::info!("{} is right: {} services", file.display(), config.services.len());
    Ok(())
}

/// Publishes until SIGINT or SIGTERM. SIGHUP reads the file again; a file with a mistake changes nothing.
///
/// # Errors
///
/// Whatever keeps the publisher from starting; [`Error::Failed`] if a part of it fails later.
pub async fn run(file: &Path) -> Result<(), Error> {
    let config = load(file)?;
    // Before anything is published, so that no signal is missed.
    let listen = |kind| signal(kind).map_err(Error::Signals);
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;

    let (mut publisher, mut reports) = config.builder()?.start()?;
    tracing::info!("publishing {} services", config.services.len());
    loop {
        tokio::select! {
            Some(report) = reports.recv() => log(&report),
            failure = publisher.failed() => return Err(failure.into()),
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = hangup.recv() => match reload(&mut publisher, file).await {
                Ok(services) => tracing::info!("read {} again: {services} services", file.display()),
                Err(error) => tracing::error!("nothing is changed: {error}"),
            },
        }
    }
    tracing::info!("stopping; the directories keep what they have");
    publisher.stop().await;
    Ok(())
}

async fn reload(publisher: &mut Publisher, file: &Path) -> Result<usize, Error> {
    let config = load(file)?;
    publisher.reload(config.builder()?).await?;
    Ok(config.services.len())
}

fn load(file: &Path) -> Result<Config, Error> {
    let wrong = |source| Error::File {
        path: file.into(),
        source,
    };
    let text = std::fs::read_to_string(file).map_err(wrong)?;
    // Relative paths start where the file is, wherever the publisher was started.
    let whole = std::path::absolute(file).map_err(wrong)?;
    let folder = whole.parent().unwrap_or(Path::new("/"));
    Config::parse(&text, folder).map_err(|error| in_file(file, error))
}

fn in_file(file: &Path, error: Error) -> Error {
    match error {
        Error::Config { .. } => Error::In {
            path: file.into(),
            source: Box::new(error),
        },
        other => other,
    }
}

fn log(ServiceReport { service, report, .. }: &ServiceReport) {
    if report.is_warning() {
        tracing::warn!("{service}: {report}");
    } else {
        tracing::info!("{service}: {report}");
    }
}
