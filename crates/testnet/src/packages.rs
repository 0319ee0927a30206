//! Debian packages that private networks, and programs around them, need.
//!
//! Nothing else in this crate changes the machine outside the user's cache folder.

use std::process::{Command, Stdio};

/// The packages that are missing and that cannot be installed here.
#[derive(Debug, thiserror::Error)]
#[error("these Debian packages are missing: {}; install them and start again ({reason})", packages.join(" "))]
#[non_exhaustive]
pub struct Missing {
    /// Names of the missing packages.
    pub packages: Vec<String>,
    /// Reason why they were not installed.
    pub reason: String,
}

/// Installs those of the Debian `packages` that dpkg does not have in working order.
///
/// This takes `apt-get` and either root or a `sudo` that asks for no password. The name of each
/// installed package goes to standard error.
///
/// # Errors
///
/// [`Missing`] lists exactly the packages to install, if that is not possible here.
pub fn ensure(packages: &[&str]) -> Result<(), Missing> {
    let missing: Vec<&str> = packages
        .iter()
        .copied()
        .filter(|package| !is_installed(package))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let refused = |reason: String| Missing {
        packages: missing.iter().map(|&package| package.to_owned()).collect(),
        reason,
    };
    let apt = Apt::find().ok_or_else(|| refused("neither root nor sudo without a password may run apt-get".into()))?;
    eprintln!("installing {}", missing.join(" "));
    apt.install(&missing).map_err(refused)
}

/// Fetches Debian's lists of packages anew, and returns whether that succeeded.
pub fn update() -> bool {
    Apt::find().is_some_and(|apt| apt.run(&["update"]).is_ok())
}

/// Returns whether dpkg has a package in working order. Where there is no dpkg, nothing counts as
/// installed.
fn is_installed(package: &str) -> bool {
    let status = Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Abbrev}", package])
        .stderr(Stdio::null())
        .output();
    status.is_ok_and(|output| output.stdout.starts_with(b"ii"))
}

/// Call of `apt-get` with the rights to install.
struct Apt {
    /// `sudo -n`, if it takes that.
    prefix: &'static [&'static str],
}

impl Apt {
    fn find() -> Option<Self> {
        if !succeeds("apt-get", &["--version"]) {
            return None;
        }
        if rustix::process::geteuid().is_root() {
            return Some(Self { prefix: &[] });
        }
        // Without a password, or not at all: nobody may sit at the keyboard.
        succeeds("sudo", &["-n", "true"]).then_some(Self {
            prefix: &["sudo", "-n"],
        })
    }

    fn install(&self, packages: &[&str]) -> Result<(), String> {
        let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
        arguments.extend(packages);
        // The lists of a fresh machine are empty or old.
        self.run(&arguments).or_else(|_| {
            self.run(&["update"])?;
            self.run(&arguments)
        })
    }

    fn run(&self, arguments: &[&str]) -> Result<(), String> {
        let settings = [
            "env",
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "--quiet=2",
            "-oDPkg::Lock::Timeout=300",
        ];
        let mut words = self.prefix.iter().chain(&settings).chain(arguments);
        let mut command = Command::new(words.next().unwrap_or(&"env"));
        let status = command.args(words).stdin(Stdio::null()).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("`apt-get {}` ended with {status}", arguments.join(" "))),
            Err(error) => Err(format!("apt-get does not start: {error}")),
        }
    }
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
