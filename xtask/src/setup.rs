//! Needs of the commands: Debian packages, Cargo's tools, and a Tor of today.
//!
//! Only [`ensure_packages`] changes anything outside the project's cache folder.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use onionweave_testnet::packages;
pub(crate) use onionweave_testnet::packages::ensure as ensure_packages;
use onionweave_testnet::tor::cache_folder;

/// The environment variable that names a Tor of today, which has no v2 onion services any more.
pub(crate) const TOR_WITHOUT_V2: &str = "ONIONWEAVE_DEBIAN_TOR";

/// Installs the packages with which the feature `openssl` is built.
pub(crate) fn ensure_openssl() -> anyhow::Result<()> {
    if succeeds("pkg-config", &["--exists", "openssl"]) {
        return Ok(());
    }
    Ok(ensure_packages(&["libssl-dev", "pkg-config"])?)
}

/// A tool of Cargo's, in the version that the project is checked with.
pub(crate) struct Tool {
    name: &'static str,
    version: &'static str,
}

impl Tool {
    /// Licences, bans, sources and advisories of the dependencies.
    pub(crate) const DENY: Self = Self {
        name: "cargo-deny",
        version: "0.20.2",
    };
    /// Builds and runs the fuzz targets.
    pub(crate) const FUZZ: Self = Self {
        name: "cargo-fuzz",
        version: "0.13.2",
    };
    /// Changes code, and sees whether a test fails.
    pub(crate) const MUTANTS: Self = Self {
        name: "cargo-mutants",
        version: "27.1.0",
    };
    /// Compares public interfaces with those of a commit.
    pub(crate) const SEMVER: Self = Self {
        name: "cargo-semver-checks",
        version: "0.51.0",
    };
    /// Runs benches under Valgrind. The version is that of the crate `gungraun` in `Cargo.toml`.
    pub(crate) const GUNGRAUN: Self = Self {
        name: "gungraun-runner",
        version: "0.20.0",
    };

    /// The tool's program, which is built into the cache folder first if it is not there.
    pub(crate) fn ensure(&self) -> anyhow::Result<PathBuf> {
        let root = cache_folder()?
            .join("tools")
            .join(format!("{}-{}", self.name, self.version));
        let program = root.join("bin").join(self.name);
        if !program.is_file() {
            let mut install = leisurely(cargo().get_program());
            install
                .args(["install", "--locked", "--version", self.version, "--root"])
                .arg(&root)
                .arg(self.name)
                // What is built here is no part of the project's target folder.
                .env_remove("CARGO_TARGET_DIR");
            run_unseen(&mut install)?;
        }
        Ok(program)
    }
}

/// Python, with what makes environments of its own.
pub(crate) fn ensure_python() -> anyhow::Result<()> {
    if succeeds("python3", &["-c", "import venv, ensurepip"]) {
        return Ok(());
    }
    Ok(ensure_packages(&["python3", "python3-venv"])?)
}

/// Returns the tor that `ONIONWEAVE_DEBIAN_TOR` names, or else Debian's, unpacked into the cache
/// folder.
///
/// The package is not installed, since it would start a service. An installed tor is not used
/// either: the tests run the same one on every machine of a release of Debian.
pub(crate) fn tor_without_v2() -> anyhow::Result<PathBuf> {
    if let Some(path) = env::var_os(TOR_WITHOUT_V2).filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let folder = cache_folder()?.join("debian-tor");
    let unpacked = ["usr/sbin/tor", "usr/bin/tor"].map(|path| folder.join(path));
    if let Some(tor) = unpacked.iter().find(|tor| runs(tor)) {
        return Ok(tor.clone());
    }
    ensure!(
        on_path("apt-get") && on_path("dpkg-deb"),
        "a Tor of today is needed: without apt-get and dpkg-deb to unpack Debian's, {TOR_WITHOUT_V2} must name one"
    );
    let package = download_tor(&folder)?;
    run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&folder))?;
    let libraries = libraries_of(&package)?;
    ensure_packages(&libraries.iter().map(String::as_str).collect::<Vec<_>>())?;
    let tor = unpacked.into_iter().find(|tor| runs(tor));
    tor.with_context(|| format!("Debian's tor does not run from {}", folder.display()))
}

/// Downloads the package without installing it, into a folder that held nothing but what this left
/// there.
fn download_tor(folder: &Path) -> anyhow::Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let download = || {
        run(Command::new("apt-get")
            .args(["--quiet=2", "download", "tor"])
            .current_dir(folder))
    };
    if download().is_err() {
        packages::update();
        download().context("`apt-get download tor` failed; `apt-get update` may be needed first")?;
    }
    let mut files = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let package = files.find(|path| path.extension() == Some(OsStr::new("deb")));
    package.with_context(|| format!("`apt-get download tor` left no package in {}", folder.display()))
}

/// The libraries among what a package depends on; the rest is for running it as a service.
fn libraries_of(package: &Path) -> anyhow::Result<Vec<String>> {
    let output = Command::new("dpkg-deb")
        .arg("--field")
        .arg(package)
        .arg("Depends")
        .output()?;
    ensure!(output.status.success(), "{} is no Debian package", package.display());
    let depends = String::from_utf8(output.stdout)?;
    let names = depends.split(',').filter_map(|one| one.split_whitespace().next());
    let libraries = names.filter(|name| name.starts_with("lib") || name.starts_with("zlib"));
    Ok(libraries.map(str::to_owned).collect())
}

fn runs(tor: &Path) -> bool {
    Command::new(tor)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The Cargo that runs this program.
pub(crate) fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a command to its end; its output is seen.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.stdin(Stdio::null()).status();
    let status = status.with_context(|| format!("`{}` does not start", words(command)))?;
    ensure!(status.success(), "`{}` ended with {status}", words(command));
    Ok(())
}

/// A command that gives way to all others: it is run while something is measured.
pub(crate) fn leisurely(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "19"]).arg(program);
    command
}

/// Lowers the priority of this thread, and of all that it starts. It cannot be raised again.
pub(crate) fn give_way() {
    /// Number of steps down, which leave a tenth of a processor that somebody else wants.
    const STEPS: i32 = 10;

    // Where that is not allowed, everything runs all the same.
    let _ = rustix::process::nice(STEPS);
}

/// Runs a command to its end; what it says is seen if it fails.
pub(crate) fn run_unseen(command: &mut Command) -> anyhow::Result<()> {
    output(command).map(drop)
}

/// Runs a command to its end, for what it prints. Its complaints are seen if it fails.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("`{}` does not start", words(command)))?;
    if !output.status.success() {
        let complaints = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` ended with {}:\n{complaints}", words(command), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command as one would type it.
pub(crate) fn words(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program());
    let words: Vec<_> = std::iter::once(program).chain(command.get_args()).collect();
    words.join(OsStr::new(" ")).to_string_lossy().into_owned()
}

pub(crate) fn on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}
