//! `[pool]`: instances that the publisher runs itself.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::values::duration;

/// More Tors than this serve nobody: a machine's cores are fewer, and so are the points that a descriptor has room for.
const MOST_INSTANCES: u16 = 64;
/// More spares than this wait in vain.
const MOST_SPARES: u16 = 16;
/// With less, Tor as a client warns that things may go badly (`app/config/config.c:4133`).
const LEAST_MEMORY: u64 = 64 << 20;
/// With fewer Tor does not start: `ConnLimit` is 1000 by default (`lib/process/restrict.c:225`).
const FEWEST_FILES: u64 = 1000;
/// Bytes that the path of a unix socket may have on Linux, without the zero byte at its end (`sun_path`, unix(7)).
const SOCKET_PATH_LIMIT: usize = 107;
/// The pauses between starts.
const PAUSES: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
/// How long a Tor may take until it answers.
const ANSWERS: std::ops::RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(600);

/// The instances that the publisher runs itself, each of which hosts every service that has [`ports`](super::Service::ports).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Pool {
    /// How many serve at once: a number, or `"cores"`, since one Tor uses one core. Default: `"cores"`.
    #[serde(deserialize_with = "size")]
    pub size: PoolSize,
    /// So many more are started ahead of need and wait with their introduction points ready. Default: one.
    #[serde(deserialize_with = "spare")]
    pub spare: u16,
    /// The binary: a path, or a name to be looked for in `PATH`. It must have v2 onion services. Default: `tor`.
    pub tor: PathBuf,
    /// Lines for the end of each instance's configuration.
    #[serde(deserialize_with = "torrc")]
    pub torrc: Vec<String>,
    /// Whether they outlive the publisher, whose next start then finds them. By default they end with it, in the same moment,
    /// however it ends.
    pub keep: bool,
    /// How much memory each may fill with queued data before it closes the circuits that hold most (`MaxMemInQueues`), in bytes. Default: half of
    /// the machine's memory, in equal parts. Tor's own default is up to two fifths of the machine for each process
    /// (`app/config/config.c:4092`), which all together don't have.
    #[serde(deserialize_with = "memory")]
    pub memory: Option<u64>,
    /// How many files and connections each may have open; a stream to a backend is one. Default: 16384, or what the publisher itself may have if
    /// that is less. Tor takes all that it may (`lib/process/restrict.c:239`), and an instance under attack shall leave some to the others.
    #[serde(deserialize_with = "open_files")]
    pub open_files: Option<u64>,
    /// The least time from one start to the next. Starts that fail double it, up to a minute. Default: one second, so that a pool of eight
    /// stands within ten and a Tor that exits at once costs next to nothing.
    #[serde(deserialize_with = "duration")]
    pub start_pause: Duration,
    /// How long one may take until it answers on its control socket; then it is ended, and the start has failed. Default: thirty seconds;
    /// it takes a quarter of a second.
    #[serde(deserialize_with = "duration")]
    pub start_within: Duration,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            size: PoolSize::Cores,
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
}

/// How many instances of a pool serve at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolSize {
    /// As many as there are cores for the publisher to run on.
    Cores,
    /// So many.
    Exactly(NonZeroU16),
}

impl PoolSize {
    /// The number; for cores, of those that this process may use, and one where that cannot be learned.
    pub fn instances(self) -> u16 {
        match self {
            Self::Exactly(size) => size.get(),
            Self::Cores => {
                let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
                u16::try_from(cores).unwrap_or(MOST_INSTANCES).min(MOST_INSTANCES)
            }
        }
    }
}

impl Pool {
    /// How many processes there are: those that serve and the spares.
    pub fn places(&self) -> u16 {
        self.size.instances() + self.spare
    }

    /// The folder of an instance, below that of the publisher's state.
    pub(crate) fn folder(state: &Path, number: u16) -> PathBuf {
        state.join("pool").join(number.to_string())
    }

    /// The control socket of an instance.
    pub(crate) fn socket(state: &Path, number: u16) -> PathBuf {
        Self::folder(state, number).join("control")
    }

    /// What is wrong with values that fit their keys.
    pub(super) fn check(&self, state: &Path) -> Result<(), String> {
        let socket = Self::socket(state, self.places());
        let length = socket.as_os_str().len();
        if length > SOCKET_PATH_LIMIT {
            return Err(format!(
                "pool: publisher.state: the path of the control socket {} would be {length} bytes long; at most {SOCKET_PATH_LIMIT} are possible",
                socket.display()
            ));
        }
        if !PAUSES.contains(&self.start_pause) {
            return Err("pool: start_pause must lie between 100ms and 60s".into());
        }
        if !ANSWERS.contains(&self.start_within) {
            return Err("pool: start_within must lie between 5s and 600s".into());
        }
        if self.tor.as_os_str().is_empty() {
            return Err("pool: tor must name a program".into());
        }
        Ok(())
    }

    pub(super) fn resolve(&mut self, folder: &Path) {
        // A bare name is looked for in PATH.
        if self.tor.components().count() > 1 {
            self.tor = folder.join(&self.tor);
        }
    }
}

/// A port of an onion service and where it leads, as Tor's `HiddenServicePort` has it: `"80"`, `"80 8080"`, `"80 127.0.0.1:8080"`,
/// `"80 [::1]:8080"` or `"80 unix:/run/web.sock"`.
///
/// ```
/// use onionweave_driver::config::ServicePort;
///
/// let port: ServicePort = "80 8080".parse()?;
/// assert_eq!(port.to_string(), "80 127.0.0.1:8080");
/// assert!("80 localhost:8080".parse::<ServicePort>().is_err(), "names are not looked up");
/// # Ok::<(), String>(())
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

    /// Where it leads: `ADDRESS:PORT` or `unix:PATH`.
    pub fn target(&self) -> String {
        match &self.target {
            Target::Address(address) => address.to_string(),
            Target::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// Takes a relative path of a socket from this folder. A path that the control protocol cannot say is an error.
    pub(super) fn resolve(&mut self, folder: &Path) -> Result<(), String> {
        let Target::Unix(path) = &mut self.target else {
            return Ok(());
        };
        *path = folder.join(&*path);
        // It stands between commas and spaces in ADD_ONION (`rend_service_parse_port_config`, `feature/rend/rendservice.c:437`).
        match path.to_str() {
            Some(text) if !text.contains([',', '"', '\\']) && !text.contains(char::is_whitespace) => Ok(()),
            _ => Err(format!(
                "the path of the socket {} must not hold white space, commas, quotes or backslashes",
                path.display()
            )),
        }
    }
}

impl fmt::Display for ServicePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.port, self.target())
    }
}

impl std::str::FromStr for ServicePort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "\"{text}\" is no port of an onion service such as \"80\", \"80 127.0.0.1:8080\" or \"80 unix:/run/web.sock\""
            )
        };
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

impl<'de> Deserialize<'de> for ServicePort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Options that the pool sets itself, or with which the instances would get into each other's way, and why. One that ends in `*` stands
/// for all that begin so.
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
fn check_line(line: &str) -> Result<(), String> {
    if line.contains(|c: char| c.is_control() && c != '\t') || line.trim_end().ends_with('\\') {
        return Err(format!(
            "{line:?}: an entry is one line, without a backslash at its end"
        ));
    }
    // A line may add to an option (`+`) or clear it (`/`): `lib/encoding/confline.c:136`. Every port has a twin that is not saved,
    // `__ControlPort` (`app/config/config.c:302`).
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
        return Err(format!(
            "{option} is not allowed: what a file holds could not be checked"
        ));
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
        Some((name, why)) => Err(format!("{} is not allowed: {why}", shown(option, name))),
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

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PoolSize, D::Error> {
    let wrong = |shown: &dyn fmt::Display| {
        de::Error::custom(format!(
            "{shown} is no size of a pool: write \"cores\" or a number from 1 to {MOST_INSTANCES}"
        ))
    };
    match toml::Value::deserialize(deserializer)? {
        toml::Value::String(text) if text == "cores" => Ok(PoolSize::Cores),
        toml::Value::Integer(number) => match u16::try_from(number).ok().and_then(NonZeroU16::new) {
            Some(size) if size.get() <= MOST_INSTANCES => Ok(PoolSize::Exactly(size)),
            _ => Err(wrong(&number)),
        },
        other => Err(wrong(&other)),
    }
}

fn spare<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let number = i64::deserialize(deserializer)?;
    u16::try_from(number)
        .ok()
        .filter(|&number| number <= MOST_SPARES)
        .ok_or_else(|| de::Error::custom(format!("{number} spares: write a number from 0 to {MOST_SPARES}")))
}

fn torrc<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let lines = Vec::<String>::deserialize(deserializer)?;
    lines
        .iter()
        .try_for_each(|line| check_line(line))
        .map_err(de::Error::custom)?;
    Ok(lines)
}

fn memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let number = |text: &str, unit: u64| text.trim_end().parse::<u64>().ok()?.checked_mul(unit);
    let bytes = match (text.strip_suffix("MB"), text.strip_suffix("GB")) {
        (Some(text), _) => number(text, 1 << 20),
        (_, Some(text)) => number(text, 1 << 30),
        _ => None,
    };
    match bytes {
        Some(bytes) if bytes >= LEAST_MEMORY => Ok(Some(bytes)),
        Some(_) => Err(de::Error::custom(format!("\"{text}\" is too little: at least 64 MB"))),
        None => Err(de::Error::custom(format!(
            "\"{text}\" is no amount of memory such as \"512 MB\" or \"2 GB\""
        ))),
    }
}

fn open_files<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let number = u64::deserialize(deserializer)?;
    if number < FEWEST_FILES {
        return Err(de::Error::custom(format!(
            "{number} is too few: at least {FEWEST_FILES}"
        )));
    }
    Ok(Some(number))
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
            let error = check_line(line).unwrap_err();
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
            assert_eq!(check_line(line), Ok(()), "{line:?}");
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
            let error = text.parse::<ServicePort>().unwrap_err();
            assert!(error.starts_with(&format!("\"{text}\" is no port")), "{error}");
        }
        let mut port: ServicePort = "80 unix:web.sock".parse().unwrap();
        assert_eq!(port.resolve(Path::new("/etc/ow")), Ok(()));
        assert_eq!(port.target(), "unix:/etc/ow/web.sock");
        let mut port: ServicePort = "80 unix:a,b".parse().unwrap();
        assert!(port.resolve(Path::new("/etc")).unwrap_err().contains("/etc/a,b"));
    }
}
