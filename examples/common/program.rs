//! The manners of the programs: arguments, input, output and errors.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use onionweave_ring::UnixTime;

/// The name that stands for standard input.
const STDIN: &str = "-";

/// Runs a program with the arguments of its command line. An error is told on one line.
pub(crate) fn main<A: clap::Parser>(run: impl FnOnce(A) -> anyhow::Result<()>) -> ExitCode {
    let args = match A::try_parse() {
        Ok(args) => args,
        // Help and version are no errors.
        Err(error) if !error.use_stderr() => return end(print(error.render().to_string().as_bytes())),
        // What clap says before it explains the usage.
        Err(error) => return fail(error.to_string().split("\n\n").next().unwrap_or_default()),
    };
    end(run(args))
}

fn end(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("error: {error:#}")),
    }
}

fn fail(message: &str) -> ExitCode {
    let words: Vec<&str> = message.split_whitespace().collect();
    // Without a place for it, the exit code tells all.
    let _ = writeln!(io::stderr(), "{}", words.join(" "));
    ExitCode::FAILURE
}

/// Writes to standard output. A reader that has seen enough is no error.
pub(crate) fn print(text: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("standard output"),
    }
}

pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == OsStr::new(STDIN)
}

/// Reads at most `limit` bytes of a regular file, or of standard input for `-`.
pub(crate) fn read(path: &Path, limit: usize) -> anyhow::Result<Vec<u8>> {
    if is_stdin(path) {
        return read_from(io::stdin(), limit);
    }
    // Before it is opened: a fifo would wait for somebody who writes.
    let kind = std::fs::metadata(path)?.file_type();
    ensure!(!kind.is_dir(), "it is a directory");
    ensure!(kind.is_file(), "it is no regular file; `-` reads standard input");
    read_from(File::open(path)?, limit)
}

fn read_from(from: impl Read, limit: usize) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than the limit tells that there are too many.
    from.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() <= limit, "it is larger than the limit of {limit} bytes");
    Ok(bytes)
}

pub(crate) fn parse_time(text: &str) -> Result<UnixTime, String> {
    match humantime::parse_rfc3339(text) {
        Ok(time) => Ok(time.into()),
        Err(error) => Err(format!(
            "{error}; it takes a time in UTC since 1970, such as 2026-11-22T13:00:00Z"
        )),
    }
}
