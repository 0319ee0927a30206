//! Reads a v2 onion service's descriptor, or signs its introduction points anew.
//!
//! ```text
//! cargo run --example descriptor -- inspect descriptor.txt
//! cargo run --example descriptor -- sign --key private_key --from descriptor.txt --at 2026-11-22T13:00:00Z --replica 0
//! ```

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Parser, Subcommand};
use onionweave_desc::Error;
use onionweave_desc::v2::{Descriptor, Draft, IntroductionPoint, MAX_DESCRIPTOR_LEN, ServiceKey, UnverifiedDescriptor};
use onionweave_ring::UnixTime;
use onionweave_ring::v2::{Replica, TimePeriod};
use serde::Serialize;
use zeroize::Zeroizing;

/// Longer than any key file.
const MAX_KEY_LEN: usize = 64 * 1024;

/// Read and sign descriptors of v2 onion services
#[derive(Parser)]
#[command(name = "descriptor", version, arg_required_else_help = false)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Verify a descriptor and show what it says
    Inspect(Inspect),
    /// Sign the introduction points of a descriptor anew and write the descriptor to standard output
    ///
    /// The introduction points are taken from a descriptor that verifies, be it of this service or of another.
    Sign(Sign),
}

#[derive(Args)]
struct Inspect {
    /// The descriptor; `-` is standard input
    file: PathBuf,

    /// Write JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Sign {
    /// The service's private key, in PEM, which nobody but its owner may be able to read
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// The file whose first line is the passphrase of the key, if it is encrypted
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,

    /// The descriptor whose introduction points are taken; `-` is standard input
    #[arg(long, value_name = "FILE")]
    from: PathBuf,

    /// The publication time, in UTC, such as 2026-11-22T13:00:00Z; services use full hours
    #[arg(long, value_name = "RFC3339", value_parser = parse_time)]
    at: UnixTime,

    /// The replica: 0 or 1
    #[arg(long, value_name = "N", value_parser = parse_replica)]
    replica: Replica,

    /// Sign for the time period after the one that the publication time falls into
    #[arg(long)]
    next_period: bool,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version are no errors.
        Err(error) if !error.use_stderr() => error.exit(),
        Err(error) => return fail(first_paragraph(&error.to_string())),
    };
    let result = match cli.command {
        Command::Inspect(inspect) => inspect.run(),
        Command::Sign(sign) => sign.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("error: {error:#}")),
    }
}

impl Inspect {
    fn run(&self) -> anyhow::Result<()> {
        let report = read_descriptor(&self.file)
            .and_then(|descriptor| Report::new(&descriptor))
            .with_context(|| format!("descriptor {}", self.file.display()))?;
        let text = if self.json {
            serde_json::to_string_pretty(&report)? + "\n"
        } else {
            report.to_string()
        };
        print(text.as_bytes())
    }
}

impl Sign {
    fn run(&self) -> anyhow::Result<()> {
        let key = self.read_key().with_context(|| format!("key {}", self.key.display()))?;
        let points = read_descriptor(&self.from)
            .and_then(|descriptor| Ok(descriptor.introduction_points()?))
            .with_context(|| format!("descriptor {}", self.from.display()))?;
        let period = TimePeriod::at(&key.service_id(), self.at);
        let period = if self.next_period { period.next() } else { period };
        let signed = Draft::new(points).sign(&key, period, self.replica, self.at)?;
        print(signed.text())
    }

    fn read_key(&self) -> anyhow::Result<ServiceKey> {
        let pem = read_private(&self.key)?;
        let Some(path) = &self.passphrase_file else {
            return Ok(ServiceKey::from_pem(&pem)?);
        };
        let passphrase = read_private(path).with_context(|| format!("passphrase {}", path.display()))?;
        let line = passphrase.lines().next().unwrap_or_default();
        Ok(ServiceKey::from_pem_with_passphrase(&pem, line)?)
    }
}

fn read_descriptor(path: &Path) -> anyhow::Result<Descriptor> {
    let text = if path == Path::new("-") {
        read(io::stdin(), MAX_DESCRIPTOR_LEN)?
    } else {
        read(File::open(path)?, MAX_DESCRIPTOR_LEN)?
    };
    Ok(UnverifiedDescriptor::parse(&text)?.verify()?)
}

/// Reads a file that nobody but its owner can use.
fn read_private(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let file = File::open(path)?;
    // Asked of the open file, so that it cannot be exchanged between the question and the reading.
    ensure_private(&file.metadata()?)?;
    let text = String::from_utf8(read(file, MAX_KEY_LEN)?).ok();
    Ok(Zeroizing::new(text.context("the file is not text")?))
}

#[cfg(unix)]
fn ensure_private(metadata: &Metadata) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    let mode = metadata.permissions().mode() & 0o777;
    ensure!(
        mode & 0o077 == 0,
        "others than its owner can use the file (mode {mode:04o}); `chmod 600` it"
    );
    Ok(())
}

#[cfg(not(unix))]
fn ensure_private(_: &Metadata) -> anyhow::Result<()> {
    Ok(())
}

/// Reads up to `limit` bytes; one more tells that there are too many.
fn read(from: impl Read, limit: usize) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() <= limit, "longer than {limit} bytes");
    Ok(bytes)
}

fn print(text: &[u8]) -> anyhow::Result<()> {
    match io::stdout().write_all(text) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

fn parse_time(text: &str) -> Result<UnixTime, String> {
    match humantime::parse_rfc3339(text) {
        Ok(time) => Ok(time.into()),
        Err(error) => Err(format!(
            "{error}; it takes a time in UTC since 1970, such as 2026-11-22T13:00:00Z"
        )),
    }
}

fn parse_replica(text: &str) -> anyhow::Result<Replica> {
    let Ok(number) = text.parse::<u8>() else {
        bail!("a replica is 0 or 1");
    };
    Ok(Replica::try_from(number)?)
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

/// What is shown of a descriptor.
#[derive(Serialize)]
struct Report {
    version: u8,
    service_id: String,
    descriptor_id: String,
    secret_id_part: String,
    publication_time: String,
    protocol_versions: Vec<u8>,
    /// A descriptor that does not verify is not shown.
    signature: &'static str,
    /// For whom the introduction points are encrypted, if they are; none are shown then.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_authorization: Option<String>,
    introduction_points: Vec<Point>,
}

#[derive(Serialize)]
struct Point {
    /// The relay's identity as the descriptor has it, in base32.
    id: String,
    /// The same as everything else has it.
    fingerprint: String,
    address: String,
    port: u16,
}

impl Report {
    fn new(descriptor: &Descriptor) -> anyhow::Result<Self> {
        let (authorization, points) = match descriptor.introduction_points() {
            Ok(points) => (None, points),
            Err(Error::ClientAuthorization(kind)) => (Some(kind.to_string()), Vec::new()),
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            version: 2,
            service_id: descriptor.service_id().to_string(),
            descriptor_id: descriptor.descriptor_id().to_string(),
            secret_id_part: descriptor.secret_id_part().to_string(),
            publication_time: descriptor.publication_time().to_string(),
            protocol_versions: descriptor.protocol_versions().to_vec(),
            signature: "valid",
            client_authorization: authorization,
            introduction_points: points.iter().map(Point::new).collect(),
        })
    }
}

impl Point {
    fn new(point: &IntroductionPoint) -> Self {
        Self {
            id: point.base32_identity(),
            fingerprint: point.identity().to_string(),
            address: point.address().to_string(),
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
        if let Some(kind) = &self.client_authorization {
            return writeln!(f, "introduction points are encrypted for authorized clients ({kind})");
        }
        writeln!(f, "introduction points")?;
        for point in &self.introduction_points {
            writeln!(f, "  {} at {}:{}", point.fingerprint, point.address, point.port)?;
        }
        Ok(())
    }
}
