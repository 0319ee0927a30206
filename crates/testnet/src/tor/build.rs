//! Building tor from the source that Cargo fetches, once per machine.

use std::collections::VecDeque;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use data_encoding::HEXLOWER;
use serde::Deserialize;
use sha1::{Digest, Sha1};
use tracing::info;

use super::{BUILT, TorBinary, missing_packages, program};
use crate::error::{Error, IoContext};

/// The package whose folder `tor-src` is built.
const PACKAGE: &str = "libtor-sys";

/// Arguments of `configure`: all that a private network needs, and nothing that would need more
/// packages.
const CONFIGURE: [&str; 8] = [
    "--disable-asciidoc",
    "--disable-manpage",
    "--disable-html-manual",
    "--disable-unittests",
    "--disable-lzma",
    "--disable-zstd",
    "--disable-systemd",
    "--disable-seccomp",
];

/// Target that `make` builds, which is also its path.
const TARGET: &str = "src/app/tor";

/// C files compiled for [`TARGET`] with [`CONFIGURE`], counted once; it serves the progress display
/// alone.
const FILES: usize = 380;

/// Lines of the build log that an error quotes.
const TAIL: usize = 20;

/// Progress of the building of tor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Another process builds the same tor; its result will be used.
    Waiting,
    /// Cargo fetches the source.
    Fetching,
    /// `configure` looks at the machine.
    Configuring,
    /// `make` compiles.
    Compiling {
        /// Files compiled so far.
        done: usize,
        /// Files to compile in all; an estimate, but never below `done`.
        total: usize,
    },
}

/// The tor in the cache, which is built first if it is not there or does not run any more.
pub(super) fn cached_or_built(mut progress: impl FnMut(Progress)) -> Result<TorBinary, Error> {
    let cache = cache_folder()?;
    let name = format!("tor-{}-{}", BUILT, recipe_hash());
    let installed = cache.join(&name);
    let binary = installed.join("tor");
    // A cached tor may have lost its libraries, for example when its cache outlived a system
    // upgrade.
    if let Ok(tor) = TorBinary::at(&binary) {
        return Ok(tor);
    }

    fs::create_dir_all(&cache).doing("create", &cache)?;
    let _lock = lock(&cache.join(format!("{name}.lock")), || progress(Progress::Waiting))?;
    if let Ok(tor) = TorBinary::at(&binary) {
        return Ok(tor);
    }

    let packages = missing_packages();
    if !packages.is_empty() {
        return Err(Error::MissingPackages { packages });
    }
    progress(Progress::Fetching);
    let source = source_folder()?;
    // Nobody else works here while we hold the lock: what lies here is left from a build that was
    // cut short.
    let workshop = cache.join(format!("{name}.build"));
    remove_tree(&workshop)?;
    let built = build(&source, &workshop, &cache.join(format!("{name}.log")), &mut progress)
        .and_then(|staged| install(&staged, &installed));
    remove_tree(&workshop)?;
    built?;
    info!(tor = %binary.display(), "tor is built");
    TorBinary::at(binary)
}

/// Folder in which tor is kept: `onionweave` below the user's cache folder (XDG base directory
/// specification). It may not be there yet.
///
/// # Errors
///
/// [`Error::NoCacheFolder`] if the environment names none.
pub fn cache_folder() -> Result<PathBuf, Error> {
    let absolute = |variable: &str| {
        std::env::var_os(variable)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("onionweave"))
        .ok_or(Error::NoCacheFolder)
}

/// Changes whenever the source or the way it is built does.
fn recipe_hash() -> String {
    let mut hash = Sha1::new();
    hash.update(PACKAGE);
    for word in CONFIGURE.iter().chain([&TARGET]) {
        hash.update([0]);
        hash.update(word);
    }
    let mut text = HEXLOWER.encode(&hash.finalize());
    text.truncate(8);
    text
}

/// Takes the lock, telling `waiting` first if another process holds it. It is released when the
/// file is dropped.
fn lock(path: &Path, waiting: impl FnOnce()) -> Result<File, Error> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .doing("open", path)?;
    if file.try_lock().is_err() {
        waiting();
        file.lock().doing("lock", path)?;
    }
    Ok(file)
}

/// Has Cargo fetch [`PACKAGE`] in the version that `Cargo.lock` pins.
fn source_folder() -> Result<PathBuf, Error> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: String,
        manifest_path: PathBuf,
    }

    let source_error = |detail: String| Error::TorSource { detail };
    let output = Command::new(program("CARGO", "cargo"))
        .args(["metadata", "--locked", "--format-version", "1", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| source_error(format!("cargo does not run: {error}")))?;
    if !output.status.success() {
        return Err(source_error(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout).map_err(|error| source_error(error.to_string()))?;
    let version = format!("+{}", BUILT);
    metadata
        .packages
        .into_iter()
        .find(|package| package.name == PACKAGE && package.version.ends_with(&version))
        .and_then(|package| Some(package.manifest_path.parent()?.join("tor-src")))
        .filter(|folder| folder.is_dir())
        .ok_or_else(|| {
            source_error(format!(
                "`cargo metadata` names no {PACKAGE} with version {version} and a folder tor-src"
            ))
        })
}

/// Builds tor in `workshop`, and returns the folder there that is to be installed.
fn build(source: &Path, workshop: &Path, log: &Path, progress: &mut impl FnMut(Progress)) -> Result<PathBuf, Error> {
    let tree = workshop.join("tor-src");
    let staged = workshop.join("installed");
    fs::create_dir_all(&staged).doing("create", &staged)?;
    copy_tree(source, &tree, SystemTime::now())?;
    compile(&tree, log, progress)?;
    let binary = tree.join(TARGET);
    fs::rename(&binary, staged.join("tor")).doing("move", &binary)?;
    Ok(staged)
}

/// Copies a folder with everything in it, and gives every file the same time.
///
/// Tor's makefile runs automake again when a generated file is older than what it was generated
/// from; equal times keep it from that.
fn copy_tree(from: &Path, to: &Path, time: SystemTime) -> Result<(), Error> {
    fs::create_dir(to).doing("create", to)?;
    for entry in fs::read_dir(from).doing("read", from)? {
        let entry = entry.doing("read", from)?;
        let source = entry.path();
        let target = to.join(entry.file_name());
        if entry.file_type().doing("look at", &source)?.is_dir() {
            copy_tree(&source, &target, time)?;
        } else {
            fs::copy(&source, &target).doing("copy", &source)?;
            let file = OpenOptions::new().append(true).open(&target).doing("open", &target)?;
            file.set_times(FileTimes::new().set_modified(time))
                .doing("set the time of", &target)?;
        }
    }
    Ok(())
}

/// Configures and makes tor in `tree`.
fn compile(tree: &Path, log: &Path, progress: &mut impl FnMut(Progress)) -> Result<(), Error> {
    let mut log_file = File::create(log).doing("create", log)?;
    progress(Progress::Configuring);
    let mut configure = Command::new("./configure");
    configure.args(CONFIGURE);
    run(configure, tree, log, &mut log_file, |_| {})?;

    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut make = Command::new("make");
    make.args([&format!("-j{cores}"), "V=0", TARGET]);
    let mut done = 0;
    progress(Progress::Compiling { done, total: FILES });
    run(make, tree, log, &mut log_file, |line| {
        if line.starts_with("  CC ") {
            done += 1;
            progress(Progress::Compiling {
                done,
                total: FILES.max(done),
            });
        }
    })
}

/// Runs a command in `folder` with its whole output going to the log, its standard output also line
/// by line to `each`.
fn run(
    mut command: Command,
    folder: &Path,
    log: &Path,
    log_file: &mut File,
    mut each: impl FnMut(&str),
) -> Result<(), Error> {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .collect();
    let words = words.join(" ".as_ref()).to_string_lossy().into_owned();
    let both = |file: &File| file.try_clone().doing("write", log);
    let mut child = command
        .current_dir(folder)
        // The flags of a `make` or `cargo` around us must not reach this one.
        .env_remove("MAKEFLAGS")
        .env_remove("MFLAGS")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(both(log_file)?)
        .spawn()
        .doing("run", Path::new(&words))?;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let line = line.doing("read the output of", Path::new(&words))?;
            let line = String::from_utf8_lossy(&line);
            writeln!(log_file, "{line}").doing("write", log)?;
            each(&line);
        }
    }
    let status = child.wait().doing("wait for", Path::new(&words))?;
    if !status.success() {
        return Err(Error::TorBuild {
            command: words,
            status,
            log: log.to_owned(),
            tail: tail(log),
        });
    }
    Ok(())
}

/// The last lines of a log, as far as it can be read.
fn tail(log: &Path) -> String {
    let Ok(file) = File::open(log) else {
        return String::new();
    };
    let mut last = VecDeque::with_capacity(TAIL);
    for line in BufReader::new(file).split(b'\n').map_while(Result::ok) {
        if last.len() == TAIL {
            last.pop_front();
        }
        last.push_back(String::from_utf8_lossy(&line).into_owned());
    }
    Vec::from(last).join("\n")
}

/// Puts the folder into its place in one step, so that no reader ever sees half of it.
fn install(staged: &Path, installed: &Path) -> Result<(), Error> {
    // Only a folder whose tor does not run can stand here: it was looked at under the lock.
    remove_tree(installed)?;
    fs::rename(staged, installed).doing("create", installed)
}

/// Removes a folder with everything in it, if there is one.
fn remove_tree(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result.doing("remove", folder),
    }
}
