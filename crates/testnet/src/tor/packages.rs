//! Debian packages that building tor needs.

use std::ffi::OsStr;
use std::path::Path;

/// Things that are looked for, and the Debian package that brings each.
const NEEDS: [(Need, &str); 6] = [
    (Need::Program("cc"), "gcc"),
    (Need::Header("stdio.h"), "libc6-dev"),
    (Need::Program("make"), "make"),
    (Need::Header("openssl/ssl.h"), "libssl-dev"),
    (Need::Header("event2/event.h"), "libevent-dev"),
    (Need::Header("zlib.h"), "zlib1g-dev"),
];

/// Something that a package brings.
#[derive(Clone, Copy)]
enum Need {
    /// A program on the search path.
    Program(&'static str),
    /// A header where the compiler looks by itself.
    Header(&'static str),
}

/// The Debian packages that must be installed before tor can be built here; empty when nothing is
/// missing.
///
/// Programs are looked for on `PATH`, headers below `/usr/include` and `/usr/local/include`. No
/// process is started.
///
/// ```
/// for package in onionweave_testnet::tor::missing_packages() {
///     println!("apt-get install {package}");
/// }
/// ```
pub fn missing_packages() -> Vec<&'static str> {
    missing_below(Path::new("/"), &std::env::var_os("PATH").unwrap_or_default())
}

/// [`missing_packages`] with another root for headers and another search path.
fn missing_below(root: &Path, path: &OsStr) -> Vec<&'static str> {
    let multiarch = format!("usr/include/{}-linux-gnu", std::env::consts::ARCH);
    let include = ["usr/include", "usr/local/include", &multiarch];
    let present = |need: Need| match need {
        Need::Program(name) => std::env::split_paths(path).any(|folder| folder.join(name).is_file()),
        Need::Header(name) => include.iter().any(|folder| root.join(folder).join(name).is_file()),
    };
    NEEDS
        .iter()
        .filter(|(need, _)| !present(*need))
        .map(|(_, package)| *package)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_machine_misses_all() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(
            missing_below(root.path(), OsStr::new("")),
            ["gcc", "libc6-dev", "make", "libssl-dev", "libevent-dev", "zlib1g-dev"]
        );
    }

    #[test]
    fn exactly_what_is_missing_is_named() {
        let root = tempfile::tempdir().unwrap();
        let bin = root.path().join("bin");
        let include = root.path().join("usr/include");
        let local = root.path().join("usr/local/include/event2");
        for folder in [&bin, &include, &local] {
            std::fs::create_dir_all(folder).unwrap();
        }
        for file in [
            bin.join("cc"),
            bin.join("make"),
            include.join("stdio.h"),
            include.join("zlib.h"),
            local.join("event.h"),
        ] {
            std::fs::write(file, "").unwrap();
        }
        assert_eq!(missing_below(root.path(), bin.as_os_str()), ["libssl-dev"]);
    }
}
