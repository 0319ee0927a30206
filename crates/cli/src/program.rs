//! Subcommands of the program.

use std::path::Path;

use onionweave_driver::{Publisher, ServiceReport};
use tokio::signal::unix::{SignalKind, signal};

use crate::{Config, Error};

/// Publishes until SIGINT or SIGTERM. SIGHUP reads the file again; a file with a mistake changes
/// nothing.
///
/// Must be called within a tokio runtime with time, IO and signals.
///
/// # Errors
///
/// The configuration cannot be used, or a part of the running publisher failed.
pub async fn run(file: &Path) -> Result<(), Error> {
    let config = Config::read(file)?;
    // Before anything is published, so that no signal is missed.
    let listen = |kind| signal(kind).map_err(Error::Signals);
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    // These ask for nothing here, and would end the program if nobody listened.
    let _ignored = [
        listen(SignalKind::user_defined1())?,
        listen(SignalKind::user_defined2())?,
    ];

    let (mut publisher, mut reports) = config.start().map_err(|error| error.in_file(file))?;
    tracing::info!("publishing {} services", config.services.len());
    loop {
        tokio::select! {
            Some(report) = reports.recv() => show(&report),
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

/// Looks whether a configuration and the files that it names can be used. Nothing is started.
///
/// # Errors
///
/// The first mistake that is found.
pub fn check(file: &Path) -> Result<(), Error> {
    let config = Config::read(file)?;
    config.check().map_err(|error| error.in_file(file))?;
    tracing::info!("{} is right: {} services", file.display(), config.services.len());
    Ok(())
}

async fn reload(publisher: &mut Publisher, file: &Path) -> Result<usize, Error> {
    let config = Config::read(file)?;
    config.reload(publisher).await.map_err(|error| error.in_file(file))?;
    Ok(config.services.len())
}

fn show(ServiceReport { service, report, .. }: &ServiceReport) {
    if report.is_warning() {
        tracing::warn!("{service}: {report}");
    } else {
        tracing::info!("{service}: {report}");
    }
}
