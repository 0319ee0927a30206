//! Shows where a v2 onion service's descriptors belong at a given time: its descriptor IDs, and the
//! directories that are responsible for each.
//!
//! ```text
//! cargo run --example ring -- --relays cached-consensus --service rf75jzdtba4wnd6v --at 2026-11-22T12:07:50Z
//! zcat consensus.gz | cargo run --example ring -- --relays - --key private_key --at 2026-11-22T12:07:50Z
//! ```

#[path = "common/keys.rs"]
mod keys;
#[path = "common/program.rs"]
mod program;
#[path = "common/relays.rs"]
mod relays;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use onionweave_ring::v2::{
    AuthorizationKind, ClientCookie, DescriptorCookie, DescriptorId, Replica, SecretIdPart, ServiceId, TimePeriod,
};
use onionweave_ring::{Fingerprint, HashRing, UnixTime};
use serde::Serialize;

/// Show which directories are responsible for a v2 onion service
///
/// For each replica: the descriptor ID, and the fingerprints of the directories in the order of the
/// ring. In the last hour of a time period also those of the next one, for which the service then
/// has descriptors out as well.
#[derive(Parser)]
#[command(name = "ring", version)]
struct Args {
    /// The network's relays: the answer to `GETINFO ns/all`, or a plain or microdesc consensus; `-`
    /// is standard input
    #[arg(long, value_name = "FILE")]
    relays: PathBuf,

    #[command(flatten)]
    service: Service,

    /// The file whose first line is the passphrase of the key, if it is encrypted
    #[arg(long, value_name = "FILE", requires = "key")]
    passphrase_file: Option<PathBuf>,

    /// A client's cookie, which stands behind the address in the service's file `hostname`
    ///
    /// With stealth authorization only its holder can tell where the descriptors are. With basic
    /// authorization it changes nothing. Other users of the machine can see it among its running
    /// commands.
    #[arg(long, value_name = "TEXT")]
    cookie: Option<String>,

    /// The time in question, in UTC, such as 2026-11-22T12:07:50Z
    #[arg(long, value_name = "RFC3339", value_parser = program::parse_time)]
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

    /// The service's private key, in PEM, in a file that only its owner can read; `-` is standard
    /// input
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

fn main() -> ExitCode {
    program::main(run)
}

fn run(args: Args) -> anyhow::Result<()> {
    keys::ensure_one_stdin([Some(&args.relays), args.service.key.as_ref()])?;
    let service = args.service.read(args.passphrase_file.as_deref())?;
    // Not read by clap, which would show it where it is wrong.
    let cookie: Option<ClientCookie> = args.cookie.as_deref().map(str::parse).transpose().context("--cookie")?;
    let ring = relays::read(&args.relays)?.hash_ring();
    let report = Report::new(service, cookie.as_ref(), args.at, &ring);
    let text = if args.json {
        serde_json::to_string_pretty(&report)? + "\n"
    } else {
        report.to_string()
    };
    program::print(text.as_bytes())
}

impl Service {
    fn read(&self, passphrase: Option<&Path>) -> anyhow::Result<ServiceId> {
        match (&self.id, &self.key) {
            (Some(id), _) => Ok(*id),
            (None, key) => {
                let key = key.as_deref().context("neither a service nor a key is given")?;
                Ok(keys::read(key, passphrase)?.service_id())
            }
        }
    }
}

/// The answer; as JSON, the keys of the current period stand at the top.
#[derive(Serialize)]
struct Report {
    service_id: ServiceId,
    /// The kind of authorization that the cookie is for, if one is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_authorization: Option<AuthorizationKind>,
    #[serde(flatten)]
    current: Period,
    /// In the last hour of the current one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_period: Option<Period>,
}

#[derive(Serialize)]
struct Period {
    time_period: TimePeriod,
    /// Until the end of this period.
    seconds_left: u64,
    replicas: Vec<Descriptor>,
}

#[derive(Serialize)]
struct Descriptor {
    replica: Replica,
    descriptor_id: DescriptorId,
    /// In the order of the ring.
    directories: Vec<Fingerprint>,
}

impl Report {
    fn new(service: ServiceId, cookie: Option<&ClientCookie>, now: UnixTime, ring: &HashRing) -> Self {
        let id_cookie = cookie.and_then(ClientCookie::id_cookie);
        let period = |period: TimePeriod| Period {
            time_period: period,
            seconds_left: period.seconds_left(&service, now),
            replicas: Replica::ALL
                .map(|replica| Descriptor::new(&service, period, replica, id_cookie, ring))
                .into(),
        };
        let current = TimePeriod::at(&service, now);
        let next = TimePeriod::published(&service, now).find(|period| *period != current);
        Self {
            service_id: service,
            client_authorization: cookie.map(ClientCookie::kind),
            current: period(current),
            next_period: next.map(period),
        }
    }
}

impl Descriptor {
    fn new(
        service: &ServiceId,
        period: TimePeriod,
        replica: Replica,
        cookie: Option<&DescriptorCookie>,
        ring: &HashRing,
    ) -> Self {
        let descriptor_id = DescriptorId::new(service, &SecretIdPart::new(period, replica, cookie));
        Self {
            replica,
            descriptor_id,
            directories: descriptor_id.responsible(ring).collect(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "service {}", self.service_id)?;
        match self.client_authorization {
            Some(AuthorizationKind::Basic) => {
                writeln!(f, "the cookie is for basic authorization: it changes no descriptor ID")?;
            }
            Some(kind) => writeln!(
                f,
                "descriptor IDs for the client with this cookie ({kind} authorization)"
            )?,
            None => {}
        }
        let (current, seconds) = (&self.current, self.current.seconds_left);
        write!(
            f,
            "time period {}, {seconds} seconds left\n{current}",
            current.time_period
        )?;
        if let Some(next) = &self.next_period {
            write!(
                f,
                "\nnext time period {}, begins in {seconds} seconds\n{next}",
                next.time_period
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Descriptor {
            replica,
            descriptor_id,
            directories,
        } in &self.replicas
        {
            writeln!(f, "  replica {replica}, descriptor {descriptor_id}")?;
            for directory in directories {
                writeln!(f, "    {directory}")?;
            }
            if directories.is_empty() {
                writeln!(f, "    no directory: no relay has the HSDir flag")?;
            }
        }
        Ok(())
    }
}
