//! Checks of what a crate owes those who depend on it: features, packages, and the oldest compiler.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};

use crate::setup;
use crate::workspace::{Package, Version, Workspace};

/// Files that every package holds.
const FILES: [&str; 4] = ["Cargo.toml", "README.md", "LICENSE-APACHE", "LICENSE-MIT"];

/// Targets without a Linux system, in the order in which they are tried.
const OTHER_TARGETS: [&str; 4] = [
    "x86_64-pc-windows-gnu",
    "aarch64-apple-darwin",
    "x86_64-unknown-freebsd",
    "wasm32-unknown-unknown",
];

/// Packages that do no IO with these features, so that they compile for every system.
const WITHOUT_IO: [&str; 5] = [
    "onionweave-ring",
    "onionweave-desc",
    "onionweave-control",
    "onionweave-assign",
    "onionweave-publish",
];

/// Lints every published package by itself with no feature, and with each of its features alone.
///
/// Returns the number of sets. All features together are linted with the workspace, where a package
/// may live on the features that another one turns on. Nobody depends on the packages that are not
/// published, and each of them is linted there.
pub(super) fn check_features(workspace: &Workspace) -> anyhow::Result<usize> {
    let mut count = 0;
    for package in workspace.published() {
        let features = package.features.keys().filter(|feature| *feature != "default");
        for feature in std::iter::once(None).chain(features.map(Some)) {
            let mut clippy = workspace.cargo();
            clippy.args(["clippy", "--quiet", "--bins", "--no-default-features"]);
            clippy.args(package.has_library().then_some("--lib"));
            clippy.args(["--package", &package.name]);
            clippy.args(feature.map(|feature| format!("--features={feature}")));
            setup::run(clippy.args(["--", "-Dwarnings"]))?;
            count += 1;
        }
    }
    Ok(count)
}

/// Packs every published crate, and checks the files and the manifest of its package.
pub(super) fn check_packages(workspace: &Workspace) -> anyhow::Result<usize> {
    let mut faults = Vec::new();
    let licences = ["LICENSE-APACHE", "LICENSE-MIT"];
    let licences = licences.map(|name| fs::read_to_string(workspace.root.join(name)).context(name));
    let [apache, mit] = licences;
    let texts = [("LICENSE-APACHE", apache?), ("LICENSE-MIT", mit?)];
    for package in workspace.published() {
        let mut list = workspace.cargo();
        list.args(["package", "--list", "--allow-dirty", "--package", &package.name]);
        let list = setup::output(&mut list)?;
        let files: BTreeSet<&str> = list.lines().collect();
        let folder = package.manifest_path.parent().unwrap_or(&workspace.root);
        let missing = FILES.iter().filter(|file| !files.contains(**file));
        faults.extend(missing.map(|file| format!("{}: the package has no {file}", package.name)));
        faults.extend(manifest_faults(package));
        faults.extend(licence_faults(package, folder, &texts));
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    let mut pack = workspace.cargo();
    // The crates are compiled as they are in the workspace by other steps.
    pack.args(["package", "--quiet", "--workspace", "--allow-dirty", "--no-verify"]);
    for package in &workspace.packages {
        if !package.is_published() {
            pack.args(["--exclude", &package.name]);
        }
    }
    setup::run_unseen(&mut pack)?;
    Ok(workspace.published().count())
}

/// Lists what a manifest lacks.
fn manifest_faults(package: &Package) -> Vec<String> {
    let docs = &package.metadata["docs"]["rs"];
    let wanted = [
        (package.description.is_some(), "a description"),
        (package.license.is_some(), "a licence"),
        (package.readme.is_some(), "a readme"),
        (package.rust_version.is_some(), "a rust-version"),
        (!package.keywords.is_empty(), "keywords"),
        (!package.categories.is_empty(), "categories"),
        (docs["all-features"] == true, "all-features in package.metadata.docs.rs"),
        (
            docs["rustdoc-args"] == serde_json::json!(["--cfg", "docsrs"]),
            "rustdoc-args = [\"--cfg\", \"docsrs\"] in package.metadata.docs.rs",
        ),
    ];
    let missing = wanted.into_iter().filter(|(is_there, _)| !is_there);
    missing
        .map(|(_, what)| format!("{}: the manifest lacks {what}", package.name))
        .collect()
}

/// Lists the licence files of a package that differ from those of the project.
fn licence_faults(package: &Package, folder: &Path, texts: &[(&str, String)]) -> Vec<String> {
    let differs = |(name, text): &&(&str, String)| fs::read_to_string(folder.join(name)).ok().as_ref() != Some(text);
    let differing = texts.iter().filter(differs);
    differing
        .map(|(name, _)| format!("{}: {name} is not that of the project", package.name))
        .collect()
}

/// Compares the oldest compiler of every locked dependency with ours; returns their number.
pub(super) fn check_rust_version(workspace: &Workspace) -> anyhow::Result<usize> {
    let ours = workspace.published().filter_map(|package| package.rust_version).min();
    let ours = ours.context("no published crate has a rust-version")?;
    let packages = workspace.with_dependencies()?;
    let newer: Vec<String> = packages
        .iter()
        .filter_map(|package| Some((package, package.rust_version?)))
        .filter(|(_, version)| *version > ours)
        .map(|(package, Version(major, minor, _))| format!("{} needs Rust {major}.{minor}", package.name))
        .collect();
    ensure!(newer.is_empty(), "ours is {}.{}: {}", ours.0, ours.1, newer.join("; "));
    Ok(packages.len())
}

/// Compiles the crates without IO for another system. Returns `None` where no other target is
/// installed.
pub(super) fn check_other_target(workspace: &Workspace) -> anyhow::Result<Option<&'static str>> {
    let mut rustc = workspace.command("rustc");
    let sysroot = setup::output(rustc.args(["--print", "sysroot"]))?;
    let targets = Path::new(sysroot.trim()).join("lib/rustlib");
    let mut installed = OTHER_TARGETS
        .iter()
        .filter(|target| targets.join(target).join("lib").is_dir());
    let Some(target) = installed.next() else {
        return Ok(None);
    };
    for package in WITHOUT_IO {
        if !workspace.published().any(|published| published.name == package) {
            bail!("{package} is no published crate");
        }
        let mut check = workspace.cargo();
        check.args(["check", "--quiet", "--lib", "--no-default-features"]);
        setup::run(check.args(["--target", target, "--package", package]))?;
    }
    Ok(Some(target))
}
