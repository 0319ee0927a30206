//! Reads a v2 onion service's descriptor, or signs its introduction points anew.
//!
//! ```text
//! cargo run --example descriptor -- inspect descriptor.txt
//! cargo run --example descriptor -- inspect --cookie /7+YSj84F0crQa7k9/ITkA descriptor.txt
//! cargo run --example descriptor -- sign --key private_key --from descriptor.txt --at 2026-11-22T13:00:00Z --replica 0
//! cargo run --example descriptor -- sign --key private_key --clients client_keys --from ...
//! ```

#[path = "common/keys.rs"]
mod keys;
#[path = "common/program.rs"]
mod program;

use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use onionweave_desc::Error;
use onionweave_desc::v2::{
    Authorization, AuthorizationKind, ClientCookie, ClientKeys, ClientName, Descriptor, Draft, IntroductionPoint,
    MAX_DESCRIPTOR_LEN, ServiceKey, UnverifiedDescriptor,
};
use onionweave_driver::key::load_client_keys;
use onionweave_ring::v2::{DescriptorId, Replica, SecretIdPart, ServiceId, TimePeriod};
use onionweave_ring::{Fingerprint, UnixTime};
use serde::Serialize;

/// Longest file, in bytes, that is read as a descriptor: archives put an annotation in front.
const MAX_FILE_LEN: usize = MAX_DESCRIPTOR_LEN + 1024;

/// Read and sign descriptors of v2 onion services
#[derive(Parser)]
#[command(
    name = "descriptor",
    version,
    propagate_version = true,
    arg_required_else_help = false
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Verify a descriptor and show what it says
    Inspect(Inspect),
    /// Sign the introduction points of a descriptor anew and write the descriptor to standard
    /// output
    ///
    /// The introduction points come from a descriptor that verifies, of this service or of another.
    Sign(Sign),
}

#[derive(Args)]
struct Inspect {
    /// The descriptor; `-` is standard input
    file: PathBuf,

    /// Decrypt the introduction points with this cookie, which stands behind the address in the
    /// service's file `hostname`
    ///
    /// Other users of the machine can see it among its running commands.
    #[arg(long, value_name = "TEXT")]
    cookie: Option<String>,

    /// Write JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Sign {
    /// The service's private key, in PEM, in a file that only its owner can read; `-` is standard
    /// input
    #[arg(long, value_name = "FILE", required_unless_present = "stealth")]
    key: Option<PathBuf>,

    /// The file whose first line is the passphrase of the key, if it is encrypted
    #[arg(long, value_name = "FILE", requires = "key")]
    passphrase_file: Option<PathBuf>,

    /// The descriptor whose introduction points are taken; `-` is standard input
    #[arg(long, value_name = "FILE")]
    from: PathBuf,

    /// Encrypt for the clients in Tor's file `client_keys`, which only its owner can read
    #[arg(long, value_name = "FILE")]
    clients: Option<PathBuf>,

    /// Encrypt for this one of the clients alone, and sign with its own key (stealth authorization)
    #[arg(long, value_name = "CLIENT", requires = "clients", conflicts_with = "key")]
    stealth: Option<ClientName>,

    /// The publication time, in UTC, such as 2026-11-22T13:00:00Z; services use full hours
    #[arg(long, value_name = "RFC3339", value_parser = program::parse_time)]
    at: UnixTime,

    /// The replica: 0 or 1
    #[arg(long, value_name = "N", value_parser = parse_replica)]
    replica: Replica,

    /// Sign for the time period after the one that the publication time falls into
    #[arg(long)]
    next_period: bool,
}

fn main() -> ExitCode {
    program::main(|cli: Cli| match cli.command {
        Command::Inspect(inspect) => inspect.run(),
        Command::Sign(sign) => sign.run(),
    })
}

impl Inspect {
    fn run(&self) -> anyhow::Result<()> {
        // Not read by clap, which would show it where it is wrong.
        let cookie: Option<ClientCookie> = self.cookie.as_deref().map(str::parse).transpose().context("--cookie")?;
        let report = read_descriptor(&self.file)
            .and_then(|descriptor| Report::new(&descriptor, cookie.as_ref()))
            .with_context(|| format!("descriptor {}", self.file.display()))?;
        let text = if self.json {
            serde_json::to_string_pretty(&report)? + "\n"
        } else {
            report.to_string()
        };
        program::print(text.as_bytes())
    }
}

impl Sign {
    fn run(&self) -> anyhow::Result<()> {
        keys::ensure_one_stdin([Some(&self.from), self.key.as_ref()])?;
        let (key, authorization) = self.read_keys()?;
        let points = read_descriptor(&self.from)
            .and_then(|descriptor| Ok(descriptor.introduction_points()?))
            .with_context(|| format!("descriptor {}", self.from.display()))?;
        let period = TimePeriod::at(&key.service_id(), self.at);
        let period = if self.next_period { period.next() } else { period };
        let mut draft = Draft::new(points);
        if let Some(authorization) = authorization {
            draft = draft.authorization(authorization);
        }
        program::print(draft.sign(&key, period, self.replica, self.at)?.text())
    }

    /// Returns the key that signs, and the clients for whom the points are encrypted.
    fn read_keys(&self) -> anyhow::Result<(ServiceKey, Option<Authorization>)> {
        // The messages name their causes already.
        let clients = self.clients.as_deref().map(load_client_keys).transpose();
        let clients = clients.map_err(anyhow::Error::msg)?;
        if let (Some(name), Some(clients)) = (&self.stealth, &clients) {
            let client = clients
                .client(name)
                .with_context(|| format!("there is no client {name}"))?;
            let key = client.key().with_context(|| Error::MissingClientKey(name.clone()))?;
            return Ok((key.clone(), Some(client.stealth())));
        }
        let key = self.key.as_deref().context("no key is given")?;
        let key = keys::read(key, self.passphrase_file.as_deref())?;
        Ok((key, clients.as_ref().map(ClientKeys::basic)))
    }
}

fn read_descriptor(path: &Path) -> anyhow::Result<Descriptor> {
    let text = program::read(path, MAX_FILE_LEN)?;
    Ok(UnverifiedDescriptor::parse_archived(&text)?.verify()?)
}

fn parse_replica(text: &str) -> anyhow::Result<Replica> {
    Ok(Replica::try_from(text.parse::<u8>().context("a replica is 0 or 1")?)?)
}

/// Content of a descriptor.
#[derive(Serialize)]
struct Report {
    version: u8,
    service_id: ServiceId,
    descriptor_id: DescriptorId,
    secret_id_part: SecretIdPart,
    publication_time: String,
    protocol_versions: Vec<u8>,
    /// A descriptor that does not verify is not shown.
    signature: &'static str,
    /// The kind of encryption of the introduction points, if they are encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_authorization: Option<AuthorizationKind>,
    /// None if they are encrypted and there is no cookie.
    introduction_points: Vec<Point>,
    #[serde(skip)]
    with_cookie: bool,
}

#[derive(Serialize)]
struct Point {
    /// The relay's identity in base32, as descriptors have it.
    id: String,
    /// The same in hexadecimal digits, as all other documents have it.
    fingerprint: Fingerprint,
    address: Ipv4Addr,
    port: u16,
}

impl Report {
    fn new(descriptor: &Descriptor, cookie: Option<&ClientCookie>) -> anyhow::Result<Self> {
        let points = match cookie {
            Some(cookie) => descriptor.introduction_points_for(cookie.cookie()),
            None => descriptor.introduction_points(),
        };
        let points = match points {
            Err(Error::ClientAuthorization(_)) if cookie.is_none() => Vec::new(),
            points => points?,
        };
        Ok(Self {
            version: 2,
            service_id: descriptor.service_id(),
            descriptor_id: descriptor.descriptor_id(),
            secret_id_part: descriptor.secret_id_part(),
            publication_time: descriptor.publication_time().to_string(),
            protocol_versions: descriptor.protocol_versions().to_vec(),
            signature: "valid",
            client_authorization: descriptor.authorization(),
            introduction_points: points.iter().map(Point::from).collect(),
            with_cookie: cookie.is_some(),
        })
    }
}

impl From<&IntroductionPoint> for Point {
    fn from(point: &IntroductionPoint) -> Self {
        Self {
            id: point.base32_identity(),
            fingerprint: point.identity(),
            address: point.address(),
            port: point.port(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions: Vec<String> = self.protocol_versions.iter().map(u8::to_string).collect();
        writeln!(f, "service            {}", self.service_id)?;
        writeln!(f, "descriptor         {}, version {}", self.descriptor_id, self.version)?;
        writeln!(f, "secret ID part     {}", self.secret_id_part)?;
        writeln!(f, "published          {}", self.publication_time)?;
        writeln!(f, "protocol versions  {}", versions.join(", "))?;
        writeln!(f, "signature          {}", self.signature)?;
        match (self.client_authorization, self.with_cookie) {
            (Some(kind), false) => writeln!(f, "introduction points are encrypted for authorized clients ({kind})")?,
            (Some(kind), true) => writeln!(f, "introduction points, encrypted for authorized clients ({kind})")?,
            (None, false) => writeln!(f, "introduction points")?,
            (None, true) => writeln!(f, "introduction points, for which nobody needs the cookie")?,
        }
        for point in &self.introduction_points {
            writeln!(f, "  {} at {}:{}", point.fingerprint, point.address, point.port)?;
        }
        Ok(())
    }
}
