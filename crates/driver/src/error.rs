//! Errors of this crate.

use std::path::PathBuf;
use std::time::Duration;

use humantime::format_duration;
use onionweave_control::TorVersion;
use onionweave_control::launch::LaunchError;
use onionweave_desc::v2::ClientName;
use onionweave_publish::InstanceName;
use onionweave_ring::v2::ServiceId;

use crate::builder::{CheckProblem, LoadProblem, PortProblem};

/// Reason why a publisher cannot start, or cannot take on other settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no service to publish.
    #[error("there is no service")]
    NoServices,
    /// A time makes no sense.
    #[error("{what} must lie between {} and {}", format_duration(*.least), format_duration(*.most))]
    #[non_exhaustive]
    OutOfRange {
        /// Name of the time.
        what: &'static str,
        /// Least value.
        least: Duration,
        /// Greatest value.
        most: Duration,
    },
    /// A service has a mistake.
    #[error("service {service}: {problem}")]
    #[non_exhaustive]
    Service {
        /// Address of the service.
        service: ServiceId,
        /// The mistake.
        problem: ServiceProblem,
    },
    /// An instance has a mistake.
    #[error("service {service}: instance \"{instance}\": {problem}")]
    #[non_exhaustive]
    Instance {
        /// Address of the service.
        service: ServiceId,
        /// Name of the instance.
        instance: InstanceName,
        /// The mistake.
        problem: InstanceProblem,
    },
    /// The pool has a mistake, or its tor cannot be used.
    #[error("pool: {0}")]
    Pool(#[from] PoolProblem),
    /// The prober has no control port.
    #[error("the prober needs a control port, or the publisher a Tor of its own")]
    ProberWithoutControl,
    /// The state folder of a running publisher cannot change.
    #[error("the state folder cannot change while the publisher runs: start it anew")]
    StateChanged,
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    #[non_exhaustive]
    File {
        /// Path of the file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file that holds a secret is open to others.
    #[error("{}: {why}", path.display())]
    #[non_exhaustive]
    Permissions {
        /// Path of the file.
        path: PathBuf,
        /// Those who could read or change it.
        why: String,
    },
    /// Another publisher uses the same folder.
    #[error("{}: another publisher is running with this state folder", path.display())]
    #[non_exhaustive]
    InUse {
        /// Path of the folder.
        path: PathBuf,
    },
    /// A key file does not hold a key that can be used.
    #[error("{}: {source}", path.display())]
    #[non_exhaustive]
    Key {
        /// Path of the file.
        path: PathBuf,
        /// The mistake in it.
        source: onionweave_desc::Error,
    },
    /// A password cannot be sent to a Tor.
    #[error("{}{source}", .path.as_ref().map(|path| format!("{}: ", path.display())).unwrap_or_default())]
    #[non_exhaustive]
    Password {
        /// Path of the password's file; `None` for one that was given in memory.
        path: Option<PathBuf>,
        /// The mistake in it.
        source: onionweave_control::Error,
    },
}

/// Mistake in a service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceProblem {
    /// Another service, or an authorized client, has the same key.
    #[error("two services have its key")]
    Twice,
    /// The service has neither instances nor ports for the instances of a pool.
    #[error("has no instance, nor ports for the instances of a pool")]
    NoInstances,
    /// No Tor could carry uploads.
    #[error(
        "no instance has a control port, so the publisher needs a Tor of its own (publisher.control) that carries uploads"
    )]
    NoCarrier,
    /// The service is for authorized clients, and there are none.
    #[error("client_keys names no client")]
    NoClients,
    /// A client has no key, which stealth authorization needs.
    #[error("client {0} has no client-key, which stealth authorization needs")]
    ClientWithoutKey(ClientName),
    /// A pool cannot host it.
    #[error(
        "a pool cannot host a service with stealth authorization (ADD_ONION knows only basic): leave out ports, and give it \
         instances of its own"
    )]
    StealthInPool,
    /// The service has ports, and there is no pool.
    #[error("ports are for the instances of a pool, and there is none")]
    PortsWithoutPool,
    /// A port leads where the control protocol cannot say.
    #[error(transparent)]
    Port(PortProblem),
    /// The check of its instances has a mistake.
    #[error("check: {0}")]
    Check(CheckProblem),
    /// The gauge of its instances' loads has a mistake.
    #[error("load: {0}")]
    Load(LoadProblem),
}

/// Mistake in an instance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InstanceProblem {
    /// Two instances of a service have this name.
    #[error("two instances have this name")]
    Twice,
    /// The name is one of the pool's.
    #[error("names that begin with pool- are those of the pool's instances")]
    ReservedName,
    /// Another instance has the same control port.
    #[error("another instance has the control port {0}")]
    SameControl(String),
    /// Another instance has the same file.
    #[error("another instance has the file {}", .0.display())]
    SameFile(PathBuf),
    /// Another instance has the same address.
    #[error("another instance has the address {0}")]
    SameAddress(ServiceId),
    /// The instance is read from directories, and has the service's own address.
    #[error(
        "{0} is the service's own address, where the directories hold what the publisher writes; without a control port or a \
         file, an instance needs a key of its own"
    )]
    OwnAddress(ServiceId),
    /// The restart command has no program.
    #[error("the restart command is empty")]
    EmptyRestart,
    /// The program of the restart command is not there, or may not be run.
    #[error("restart: there is no program {}{}", .0.display(), if .0.components().count() > 1 { "" } else { " in PATH" })]
    NoRestartProgram(PathBuf),
    /// The instance has a restart command and no control port.
    #[error("restart needs control: nothing else tells whether the instance runs")]
    RestartWithoutControl,
    /// Its load is bandwidth, and it has no control port.
    #[error("bandwidth as load needs control: Tor's events tell it")]
    BandwidthWithoutControl,
    /// The instance has a control port, and times for what is known without.
    #[error("poll and stale are for what is known without a control port")]
    NotPolled,
    /// A time makes no sense.
    #[error("{what} must lie between {} and {}", format_duration(*.least), format_duration(*.most))]
    #[non_exhaustive]
    OutOfRange {
        /// Name of the time.
        what: &'static str,
        /// Least value.
        least: Duration,
        /// Greatest value.
        most: Duration,
    },
    /// Its check has a mistake.
    #[error("check: {0}")]
    Check(CheckProblem),
    /// The gauge of its load has a mistake.
    #[error("load: {0}")]
    Load(LoadProblem),
}

/// Mistake in a pool, or in the tor that it runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolProblem {
    /// There is no state folder.
    #[error("needs a state folder (publisher.state), a folder of the publisher's own")]
    NoState,
    /// No service has ports.
    #[error("no service has ports, so there is nothing to host")]
    NothingToHost,
    /// The size is too great.
    #[error("{0} is no size of a pool: at most {most} instances serve", most = crate::Pool::MOST_INSTANCES)]
    Size(u16),
    /// The number of spares is too great.
    #[error("{0} spares: at most {most} wait", most = crate::Pool::MOST_SPARES)]
    Spares(u16),
    /// The memory is too little.
    #[error("memory must be at least {} MB", crate::Pool::LEAST_MEMORY >> 20)]
    Memory,
    /// The number of open files is too small.
    #[error("open_files is {0}; Tor needs at least {least}", least = crate::Pool::FEWEST_FILES)]
    FewFiles(u64),
    /// The number of open files is more than the publisher itself may open.
    #[error("open_files is {wanted}, and the publisher itself may open no more than {allowed} (ulimit -Hn)")]
    #[non_exhaustive]
    ManyFiles {
        /// The number that is wanted.
        wanted: u64,
        /// The publisher's own limit.
        allowed: u64,
    },
    /// The path of a control socket is too long.
    #[error(
        "publisher.state: the path of the control socket {} would be {length} bytes long; at most {limit} are possible",
        socket.display()
    )]
    #[non_exhaustive]
    SocketPath {
        /// The path.
        socket: PathBuf,
        /// Its length in bytes.
        length: usize,
        /// The greatest length in bytes.
        limit: usize,
    },
    /// A time makes no sense.
    #[error("{what} must lie between {} and {}", format_duration(*.least), format_duration(*.most))]
    #[non_exhaustive]
    OutOfRange {
        /// Name of the time.
        what: &'static str,
        /// Least value.
        least: Duration,
        /// Greatest value.
        most: Duration,
    },
    /// A line of configuration would break the pool.
    #[error("torrc: {0}")]
    Line(String),
    /// The name of the tor is empty.
    #[error("tor must name a program")]
    NoTor,
    /// There is no such program in `PATH`.
    #[error("tor: there is no program {} in PATH", .0.display())]
    NotInPath(PathBuf),
    /// The program cannot be run, does not answer or is no tor.
    #[error("tor: {0}")]
    Tor(LaunchError),
    /// The tor is too new.
    #[error("tor: {} is Tor {version}, which has no v2 onion services; 0.4.5.10 was the last that had them", path.display())]
    #[non_exhaustive]
    TooNew {
        /// Path of the program.
        path: PathBuf,
        /// Its version.
        version: TorVersion,
    },
    /// The tor refuses the pool's configuration.
    #[error("torrc: Tor refuses it: {0}")]
    Refused(String),
}

impl From<LaunchError> for PoolProblem {
    fn from(error: LaunchError) -> Self {
        match error {
            LaunchError::Torrc { complaints, .. } => Self::Refused(complaints.join("; ")),
            error => Self::Tor(error),
        }
    }
}
