//! Instances that the publisher runs itself.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::PoolProblem;

/// Bytes that the path of a unix socket may have on Linux, without the zero byte at its end
/// (`sun_path`, unix(7)).
const SOCKET_PATH_LIMIT: usize = 107;
/// Pauses between starts that make sense.
const PAUSES: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
/// Times until a Tor answers that make sense.
const ANSWERS: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(600);

/// Instances that the publisher runs itself, each of which hosts every service that has ports
/// ([`Service::port`](super::Service::port)).
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Pool {
    pub(crate) size: PoolSize,
    pub(crate) spare: u16,
    pub(crate) tor: PathBuf,
    pub(crate) torrc: Vec<String>,
    pub(crate) keep: bool,
    pub(crate) memory: Option<u64>,
    pub(crate) open_files: Option<u64>,
    pub(crate) start_pause: Duration,
    pub(crate) start_within: Duration,
}

impl Default for Pool {
    fn default() -> Self {
        Self::new(PoolSize::Cores)
    }
}

/// Number of a pool's instances that serve at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolSize {
    /// The number of cores that the publisher may run on: one Tor uses one core.
    Cores,
    /// This number.
    Exactly(NonZeroU16),
}

impl PoolSize {
    /// The number; for cores, of those that this process may use, and one where that cannot be
    /// learned.
    pub fn instances(self) -> u16 {
        match self {
            Self::Exactly(size) => size.get(),
            Self::Cores => {
                let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
                u16::try_from(cores)
                    .unwrap_or(Pool::MOST_INSTANCES)
                    .min(Pool::MOST_INSTANCES)
            }
        }
    }
}

impl Pool {
    /// Greatest number of instances that serve at once: a machine's cores are fewer, and so are a
    /// descriptor's points.
    pub const MOST_INSTANCES: u16 = 64;
    /// Greatest number of spares: more wait in vain.
    pub const MOST_SPARES: u16 = 16;
    /// Least memory, in bytes: with less, Tor as a client warns that things may go badly
    /// (`app/config/config.c:4133`).
    pub const LEAST_MEMORY: u64 = 64 << 20;
    /// Least number of open files: with fewer Tor does not start, since `ConnLimit` is 1000 by
    /// default (`lib/process/restrict.c:225`).
    pub const FEWEST_FILES: u64 = 1000;

    /// A pool with a spare, of the `tor` in `PATH`, that ends with the publisher.
    pub fn new(size: PoolSize) -> Self {
        Self {
            size,
            spare: 1,
            tor: PathBuf::from("tor"),
            torrc: Vec::new(),
            keep: false,
            memory: None,
            open_files: None,
            start_pause: Duration::from_secs(1),
            start_within: Duration::from_secs(30),
        }
    }

    /// Sets the number of instances that are started ahead of need and wait with their introduction
    /// points ready. Default: one.
    pub fn spare(mut self, spare: u16) -> Self {
        self.spare = spare;
        self
    }

    /// Names the binary: a path, or a name to be looked for in `PATH`. It must have v2 onion
    /// services. Default: `tor`.
    pub fn tor(mut self, tor: impl Into<PathBuf>) -> Self {
        self.tor = tor.into();
        self
    }

    /// Adds lines to the end of each instance's configuration.
    pub fn torrc<S: Into<String>>(mut self, lines: impl IntoIterator<Item = S>) -> Self {
        self.torrc.extend(lines.into_iter().map(Into::into));
        self
    }

    /// Says whether the instances outlive the publisher, whose next start then finds them.
    ///
    /// By default they end with it, in the same moment, however it ends.
    pub fn keep(mut self, keep: bool) -> Self {
        self.keep = keep;
        self
    }

    /// Sets the memory, in bytes, that each may fill with queued data before it closes the circuits
    /// that hold most (`MaxMemInQueues`).
    ///
    /// Default: half of the machine's memory, in equal parts. Tor's own default is up to two fifths
    /// of the machine for each process (`app/config/config.c:4092`), which all of them together
    /// don't have.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Sets the number of files and connections that each may have open; a stream to a backend is
    /// one.
    ///
    /// Default: 16384, or the publisher's own limit if that is less. Tor takes all that it may
    /// (`lib/process/restrict.c:239`), and an instance under attack must leave some to the others.
    pub fn open_files(mut self, files: u64) -> Self {
        self.open_files = Some(files);
        self
    }

    /// Sets the least time from one start to the next: from 100 ms to a minute. Starts that fail
    /// double it, up to a minute.
    ///
    /// Default: one second, with which a pool of eight stands within ten, and a Tor that exits at
    /// once costs next to nothing.
    pub fn start_pause(mut self, pause: Duration) -> Self {
        self.start_pause = pause;
        self
    }

    /// Sets the longest time until an instance answers on its control socket: from 5 s to ten
    /// minutes. Then it is ended, and the start has failed. Default: thirty seconds.
    pub fn start_within(mut self, within: Duration) -> Self {
        self.start_within = within;
        self
    }

    /// The number of processes: those that serve and the spares.
    pub fn places(&self) -> u16 {
        self.size.instances().saturating_add(self.spare)
    }

    /// Refuses a line of configuration that would break the pool.
    ///
    /// # Errors
    ///
    /// [`PoolProblem::Line`], which names the option and the reason.
    pub fn check_line(line: &str) -> Result<(), PoolProblem> {
        check_line(line)
    }

    /// The folder of an instance, below that of the publisher's state.
    pub(crate) fn folder(state: &Path, number: u16) -> PathBuf {
        state.join("pool").join(number.to_string())
    }

    /// The control socket of an instance.
    pub(crate) fn socket(state: &Path, number: u16) -> PathBuf {
        Self::folder(state, number).join("control")
    }

    pub(super) fn validate(&self, state: &Path) -> Result<(), PoolProblem> {
        if self.size.instances() > Self::MOST_INSTANCES {
            return Err(PoolProblem::Size(self.size.instances()));
        }
        if self.spare > Self::MOST_SPARES {
            return Err(PoolProblem::Spares(self.spare));
        }
        if self.memory.is_some_and(|bytes| bytes < Self::LEAST_MEMORY) {
            return Err(PoolProblem::Memory);
        }
        if let Some(files) = self.open_files.filter(|&files| files < Self::FEWEST_FILES) {
            return Err(PoolProblem::FewFiles(files));
        }
        let socket = Self::socket(state, self.places());
        let length = socket.as_os_str().len();
        if length > SOCKET_PATH_LIMIT {
            return Err(PoolProblem::SocketPath {
                socket,
                length,
                limit: SOCKET_PATH_LIMIT,
            });
        }
        for (what, value, range) in [
            ("start_pause", self.start_pause, PAUSES),
            ("start_within", self.start_within, ANSWERS),
        ] {
            if !range.contains(&value) {
                let (least, most) = range.into_inner();
                return Err(PoolProblem::OutOfRange { what, least, most });
            }
        }
        if self.tor.as_os_str().is_empty() {
            return Err(PoolProblem::NoTor);
        }
        self.torrc.iter().try_for_each(|line| check_line(line))
    }
}

/// Mistake in the port of an onion service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PortProblem {
    /// A text is none that Tor's `HiddenServicePort` takes.
    #[error(
        "\"{0}\" is no port of an onion service such as \"80\", \"80 127.0.0.1:8080\" or \"80 unix:/run/web.sock\""
    )]
    Text(String),
    /// The control protocol cannot say the path of a socket.
    #[error("the path of the socket {} must not hold white space, commas, quotes or backslashes", .0.display())]
    Path(PathBuf),
}

/// Port of an onion service and where it leads, as Tor's `HiddenServicePort` has it: `"80"`, `"80
/// 8080"`, `"80 127.0.0.1:8080"`, `"80 [::1]:8080"` or `"80 unix:/run/web.sock"`.
///
/// ```
/// use onionweave_driver::ServicePort;
///
/// let port: ServicePort = "80 8080".parse()?;
/// assert_eq!(port.to_string(), "80 127.0.0.1:8080");
/// assert!("80 localhost:8080".parse::<ServicePort>().is_err(), "names are not looked up");
/// # Ok::<(), onionweave_driver::PortProblem>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServicePort {
    port: NonZeroU16,
    target: Target,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Address(SocketAddr),
    Unix(PathBuf),
}

impl ServicePort {
    /// The port that clients connect to.
    pub fn port(&self) -> u16 {
        self.port.get()
    }

    /// Target of the port: `ADDRESS:PORT` or `unix:PATH`.
    pub fn target(&self) -> String {
        match &self.target {
            Target::Address(address) => address.to_string(),
            Target::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// Takes a relative path of a socket from this folder.
    #[must_use]
    pub fn from_folder(mut self, folder: &Path) -> Self {
        if let Target::Unix(path) = &mut self.target {
            *path = folder.join(&*path);
        }
        self
    }

    /// Looks whether the control protocol can say where it leads.
    ///
    /// # Errors
    ///
    /// [`PortProblem::Path`].
    pub fn validate(&self) -> Result<(), PortProblem> {
        let Target::Unix(path) = &self.target else {
            return Ok(());
        };
        // It stands between commas and spaces in ADD_ONION (`rend_service_parse_port_config`,
        // `feature/rend/rendservice.c:437`).
        match path.to_str() {
            Some(text) if !text.contains([',', '"', '\\']) && !text.contains(char::is_whitespace) => Ok(()),
            _ => Err(PortProblem::Path(path.clone())),
        }
    }
}

impl fmt::Display for ServicePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.port, self.target())
    }
}

impl std::str::FromStr for ServicePort {
    type Err = PortProblem;

    fn from_str(text: &str) -> Result<Self, PortProblem> {
        let wrong = || PortProblem::Text(text.to_owned());
        let mut words = text.split_whitespace();
        let port: NonZeroU16 = words.next().and_then(|word| word.parse().ok()).ok_or_else(wrong)?;
        let local = |port: NonZeroU16| Target::Address(SocketAddr::from(([127, 0, 0, 1], port.get())));
        let target = match words.next() {
            None => local(port),
            Some(word) => match (word.strip_prefix("unix:"), word.parse(), word.parse()) {
                (Some(""), ..) => return Err(wrong()),
                (Some(path), ..) => Target::Unix(path.into()),
                (_, Ok(port), _) => local(port),
                (_, _, Ok(address)) => Target::Address(address),
                _ => return Err(wrong()),
            },
        };
        match words.next() {
            None => Ok(Self { port, target }),
            Some(_) => Err(wrong()),
        }
    }
}

/// Options that the pool sets itself, or with which the instances would get into each other's way,
/// and why. One that ends in `*` stands for all that begin so.
const RESERVED: [(&str, &str); 24] = [
    ("ControlPort*", CONTROL),
    ("ControlSocket*", CONTROL),
    ("CookieAuth*", CONTROL),
    ("HashedControl*", CONTROL),
    (
        "OwningController*",
        "`keep` says whether an instance outlives the publisher",
    ),
    ("DataDirectory*", FOLDER),
    ("CacheDirectory*", FOLDER),
    ("KeyDirectory*", FOLDER),
    ("PidFile", FOLDER),
    ("RunAsDaemon", "the publisher would lose it"),
    ("User", "the publisher would lose it; run the publisher as that user"),
    (
        "HiddenService*",
        "the services of the configuration are hosted, with their `ports`",
    ),
    ("PublishHidServDescriptors", "the publisher publishes, and nobody else"),
    ("MaxMemInQueues", "that is `memory`"),
    ("DisableNetwork", "it would offer nothing"),
    ("SocksPort*", CLIENT),
    ("TransPort*", CLIENT),
    ("NATDPort*", CLIENT),
    ("DNSPort*", CLIENT),
    ("HTTPTunnelPort*", CLIENT),
    ("ORPort*", RELAY),
    ("ExtORPort*", RELAY),
    ("DirPort*", RELAY),
    ("MetricsPort*", "two instances cannot share the port"),
];
const CONTROL: &str = "the publisher controls the instance through it";
const FOLDER: &str = "each instance has a folder of its own below `publisher.state`";
const CLIENT: &str = "an instance must never be used as a client: what it fails to reach it would then call unusable";
const RELAY: &str = "an instance must be no relay: when it is down would show who it is, and two cannot share the port";

/// Refuses a line that would break the pool.
fn check_line(line: &str) -> Result<(), PoolProblem> {
    if line.contains(|c: char| c.is_control() && c != '\t') || line.trim_end().ends_with('\\') {
        return Err(PoolProblem::Line(format!(
            "{line:?}: an entry is one line, without a backslash at its end"
        )));
    }
    // A line may add to an option (`+`) or clear it (`/`): `lib/encoding/confline.c:136`. Every
    // port has a twin that is not saved, `__ControlPort` (`app/config/config.c:302`).
    let line = line.trim_start().trim_start_matches(['+', '/']);
    let line = line.strip_prefix("__").unwrap_or(line);
    let option = line
        .split(|c: char| c.is_whitespace() || c == '#')
        .next()
        .unwrap_or_default();
    if option.is_empty() {
        return Ok(());
    }
    if option.starts_with('%') {
        return Err(PoolProblem::Line(format!(
            "{option} is not allowed: what a file holds could not be checked"
        )));
    }
    // Tor takes an option for the first whose name begins so (`lib/confmgt/confmgt.c:493`).
    let begins = |long: &str, short: &str| {
        long.get(..short.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(short))
    };
    let found = RESERVED.iter().find(|(name, _)| match name.strip_suffix('*') {
        Some(family) => begins(option, family) || begins(family, option),
        None => begins(name, option),
    });
    match found {
        Some((name, why)) => Err(PoolProblem::Line(format!(
            "{} is not allowed: {why}",
            shown(option, name)
        ))),
        None => Ok(()),
    }
}

/// An abbreviation is named together with what it stands for.
fn shown(option: &str, name: &str) -> String {
    let name = name.trim_end_matches('*');
    if option.len() < name.len() {
        format!("{option} ({name})")
    } else {
        option.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_would_break_the_pool_are_refused_by_name() {
        for (line, name) in [
            ("ControlPort 9051", "ControlPort is"),
            ("  controlport 9051", "controlport is"),
            ("+ControlPort 9051", "ControlPort is"),
            ("/ControlPort", "ControlPort is"),
            // Tor takes abbreviations.
            ("ControlP 9051", "ControlP (ControlPort) is"),
            ("ControlPortWriteToFile /tmp/x", "ControlPortWriteToFile is"),
            ("DataDirectory /tmp/x", "DataDirectory is"),
            ("HiddenServiceDir /tmp/x", "HiddenServiceDir is"),
            ("Hidden 3", "Hidden (HiddenService) is"),
            ("PublishHidServDescriptors 1", "PublishHidServDescriptors is"),
            ("MaxMemInQueues 1 GB", "MaxMemInQueues is not allowed: that is `memory`"),
            ("__OwningControllerProcess 1", "OwningControllerProcess is"),
            ("User\tnobody", "User is"),
            ("User#nobody", "User is"),
            ("SocksPort 9050", "SocksPort is"),
            ("+__SocksPort 9050", "SocksPort is"),
            ("ORPort 9001", "ORPort is"),
            ("%include /tmp/x", "%include is"),
            ("NumCPUs 1\nUser x", "\"NumCPUs 1\\nUser x\": an entry is one line"),
            ("NumCPUs 1 \\", "an entry is one line"),
        ] {
            let error = check_line(line).unwrap_err().to_string();
            assert!(error.contains(name), "{line:?}: {error}");
        }
        for line in [
            "",
            "# ControlPort 9051",
            "NumCPUs 2",
            "Log info stdout",
            "SafeLogging 0",
            "TestingTorNetwork 1",
            "DirAuthority a orport=1 127.0.0.1:2 AB",
            "EntryNodes $AB",
            "BandwidthRate 1 MB",
            "ConnLimit 1000",
            "Sandbox 1",
            "UseEntryGuards 1",
            "DataDir\u{e9} x",
        ] {
            assert!(check_line(line).is_ok(), "{line:?}");
        }
    }

    #[test]
    fn ports_are_those_of_tor() {
        for (text, expected) in [
            ("80", "80 127.0.0.1:80"),
            ("80 8080", "80 127.0.0.1:8080"),
            ("80 192.0.2.7:8080", "80 192.0.2.7:8080"),
            (" 80\t[::1]:8080 ", "80 [::1]:8080"),
            ("80 unix:/run/web.sock", "80 unix:/run/web.sock"),
        ] {
            assert_eq!(text.parse::<ServicePort>().unwrap().to_string(), expected);
        }
        for text in [
            "",
            "0",
            "65536",
            "http",
            "80 0",
            "80 web:80",
            "80 127.0.0.1",
            "80 unix:",
            "80 8080 8081",
            "80,8080",
        ] {
            let error = text.parse::<ServicePort>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("\"{text}\" is no port")), "{error}");
        }
        let port: ServicePort = "80 unix:web.sock".parse().unwrap();
        let port = port.from_folder(Path::new("/etc/ow"));
        assert_eq!(port.validate(), Ok(()));
        assert_eq!(port.target(), "unix:/etc/ow/web.sock");
        let port: ServicePort = "80 unix:a,b".parse().unwrap();
        let error = port.from_folder(Path::new("/etc")).validate().unwrap_err().to_string();
        assert!(error.contains("/etc/a,b"), "{error}");
    }
}
