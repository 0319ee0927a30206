//! Shows where a v2 onion service's descriptors belong at a given time: its descriptor IDs, and the directories that are
//! responsible for each.
//!
//! ```text
//! cargo run --example ring -- --relays cached-consensus --service rf75jzdtba4wnd6v --at 2026-11-22T12:07:50Z
//! ```

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Parser;
use onionweave_driver::key::{load_service_key, load_service_key_with_passphrase};
use onionweave_ring::relays::RelayList;
use onionweave_ring::v2::{
    self, ClientCookie, DescriptorCookie, DescriptorId, Replica, SecretIdPart, ServiceId, TimePeriod,
};
use onionweave_ring::{HashRing, UnixTime};
use serde::Serialize;

/// Show which directories are responsible for a v2 onion service
///
/// For each replica: the descriptor ID, and the fingerprints of the directories in the order of the ring. In the last hour
/// of a time period also those of the next one, for which the service then has descriptors out as well.
#[derive(Parser)]
#[command(name = "ring", version)]
struct Args {
    /// The network's relays: the answer to `GETINFO ns/all`, or a plain or microdesc consensus
    #[arg(long, value_name = "FILE")]
    relays: PathBuf,

    #[command(flatten)]
    service: Service,

    /// The file whose first line is the passphrase of the key, if it is encrypted
    #[arg(long, value_name = "FILE", requires = "key")]
    passphrase_file: Option<PathBuf>,

    /// A client's cookie, which stands behind the address in the service's file `hostname`
    ///
    /// With stealth authorization the descriptors are where only its holder can tell; with basic authorization it changes nothing. Others who
    /// use the machine can see it among its running commands.
    #[arg(long, value_name = "TEXT")]
    cookie: Option<String>,

    /// The time in question, in UTC, such as 2026-11-22T12:07:50Z
    #[arg(long, value_name = "RFC3339", value_parser = parse_time)]
    at: UnixTime,

    /// Write JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Service {
    /// The service's ID or address: 16 base32 characters, with or without `.onion`
    #[arg(long = "service", value_name = "ID")]
    id: Option<ServiceId>,

    /// The service's private key, in PEM, which nobody but its owner may be able to read
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        // Help and version are no errors.
        Err(error) if !error.use_stderr() => error.exit(),
        Err(error) => return fail(first_paragraph(&error.to_string())),
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("error: {error:#}")),
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let service = args.service.read(args.passphrase_file.as_deref())?;
    // Not read by clap, which would show it where it is wrong.
    let cookie: Option<ClientCookie> = args.cookie.as_deref().map(str::parse).transpose().context("--cookie")?;
    let ring = read_relays(&args.relays)?.hash_ring();
    let report = Report::new(service, cookie.as_ref(), args.at, &ring);

    let text = if args.json {
        serde_json::to_string_pretty(&report)?
    } else {
        report.to_string()
    };
    match writeln!(io::stdout(), "{}", text.trim_end()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

impl Service {
    fn read(&self, passphrase_file: Option<&Path>) -> anyhow::Result<ServiceId> {
        if let Some(id) = self.id {
            return Ok(id);
        }
        let path = self.key.as_deref().context("neither a service nor a key is given")?;
        let key = match passphrase_file {
            Some(passphrase) => load_service_key_with_passphrase(path, passphrase),
            None => load_service_key(path),
        };
        // The message names its cause already.
        Ok(key.map_err(anyhow::Error::msg)?.service_id())
    }
}

fn read_relays(path: &Path) -> anyhow::Result<RelayList> {
    read_text(path, RelayList::MAX_LEN)
        .and_then(|document| Ok(RelayList::parse(&document)?))
        .with_context(|| format!("relays {}", path.display()))
}

fn read_text(path: &Path, limit: usize) -> anyhow::Result<String> {
    let mut text = String::new();
    // One byte more than the limit tells a file that is too large.
    File::open(path)?.take(limit as u64 + 1).read_to_string(&mut text)?;
    ensure!(text.len() <= limit, "the file is larger than {limit} bytes");
    Ok(text)
}

fn parse_time(text: &str) -> Result<UnixTime, String> {
    match humantime::parse_rfc3339(text) {
        Ok(time) => Ok(time.into()),
        Err(error) => Err(format!(
            "{error}; it takes a time in UTC since 1970, such as 2026-11-22T12:07:50Z"
        )),
    }
}

/// What is shown; as JSON, the keys of the current period stand at the top.
#[derive(Serialize)]
struct Report {
    service_id: String,
    /// The kind of authorization that the cookie is for, if one is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_authorization: Option<String>,
    #[serde(flatten)]
    current: Period,
    /// In the last hour of the current one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_period: Option<Period>,
}

#[derive(Serialize)]
struct Period {
    time_period: u32,
    /// Until the end of this period.
    seconds_left: u64,
    replicas: Vec<ReplicaReport>,
}

#[derive(Serialize)]
struct ReplicaReport {
    replica: u8,
    descriptor_id: String,
    /// Fingerprints in the order of the ring.
    directories: Vec<String>,
}

impl Report {
    fn new(service: ServiceId, cookie: Option<&ClientCookie>, now: UnixTime, ring: &HashRing) -> Self {
        let id_cookie = cookie.and_then(ClientCookie::id_cookie);
        let current = TimePeriod::at(&service, now);
        let next = v2::published_periods(&service, now).find(|period| *period != current);
        Self {
            service_id: service.to_string(),
            client_authorization: cookie.map(|cookie| cookie.kind().to_string()),
            current: Period::new(&service, id_cookie, current, now, ring),
            next_period: next.map(|next| Period::new(&service, id_cookie, next, now, ring)),
        }
    }
}

impl Period {
    fn new(
        service: &ServiceId,
        cookie: Option<&DescriptorCookie>,
        period: TimePeriod,
        now: UnixTime,
        ring: &HashRing,
    ) -> Self {
        let replicas = Replica::ALL.iter().map(|replica| {
            let id = DescriptorId::new(service, &SecretIdPart::new(period, *replica, cookie));
            ReplicaReport {
                replica: replica.number(),
                descriptor_id: id.to_string(),
                directories: id.responsible(ring).map(|directory| directory.to_string()).collect(),
            }
        });
        Self {
            time_period: period.number(),
            seconds_left: period.seconds_left(service, now),
            replicas: replicas.collect(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds_left = self.current.seconds_left;
        writeln!(f, "service {}", self.service_id)?;
        match self.client_authorization.as_deref() {
            Some("basic") => writeln!(f, "the cookie is for basic authorization: it changes no descriptor ID")?,
            Some(kind) => writeln!(
                f,
                "descriptor IDs for the client with this cookie ({kind} authorization)"
            )?,
            None => {}
        }
        writeln!(
            f,
            "time period {}, {seconds_left} seconds left",
            self.current.time_period
        )?;
        write!(f, "{}", self.current)?;
        if let Some(next) = &self.next_period {
            writeln!(f)?;
            writeln!(
                f,
                "next time period {}, begins in {seconds_left} seconds",
                next.time_period
            )?;
            write!(f, "{next}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for replica in &self.replicas {
            writeln!(f, "  replica {}, descriptor {}", replica.replica, replica.descriptor_id)?;
            for directory in &replica.directories {
                writeln!(f, "    {directory}")?;
            }
            if replica.directories.is_empty() {
                writeln!(f, "    no directory: no relay has the HSDir flag")?;
            }
        }
        Ok(())
    }
}

/// Says what is wrong, on one line.
fn fail(message: &str) -> ExitCode {
    let words: Vec<&str> = message.split_whitespace().collect();
    eprintln!("{}", words.join(" "));
    ExitCode::FAILURE
}

/// What clap has to say before it explains the usage.
fn first_paragraph(text: &str) -> &str {
    text.split("\n\n").next().unwrap_or(text)
}
