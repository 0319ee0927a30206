//! The peers: what Python's tools for onion services take for the same work.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use onionweave_testnet::tor::cache_folder;
use serde::Deserialize;

use super::Core;
use crate::setup;
use crate::workspace::Workspace;

/// The peers and what they need, in their versions.
const REQUIREMENTS: &str = "benches/peers/requirements.txt";

/// Input of the peers, apart from the lists of relays.
const DESCRIPTOR: &str = "crates/desc/testdata/plain/descriptor-rf75jzdtba4wnd6v.txt";
const KEY: &str = "crates/desc/testdata/plain/private_key";

/// A Python that has the peers.
pub(super) struct Peers {
    python: PathBuf,
}

/// Times of the peers, by the name of the work.
#[derive(Deserialize)]
pub(super) struct Figures {
    pub(super) versions: BTreeMap<String, String>,
    pub(super) seconds: BTreeMap<String, f64>,
    /// In bytes.
    pub(super) peak: BTreeMap<String, u64>,
}

impl Peers {
    /// Installs the peers into the project's cache folder, if they are not there in these versions.
    pub(super) fn ensure(workspace: &Workspace) -> anyhow::Result<Self> {
        let requirements = workspace.root.join(REQUIREMENTS);
        let wanted = fs::read(&requirements).with_context(|| format!("read {REQUIREMENTS}"))?;
        let folder = cache_folder()?.join("tools").join("peers");
        let python = folder.join("bin").join("python");
        let installed = folder.join("requirements.txt");
        if fs::read(&installed).is_ok_and(|found| found == wanted) {
            return Ok(Self { python });
        }
        setup::ensure_python()?;
        println!("installing stem and onionbalance below {}", folder.display());
        setup::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        let mut pip = Command::new(&python);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--requirement",
        ]);
        setup::run(pip.arg(&requirements))?;
        // Written last: what is interrupted is done again.
        fs::write(&installed, wanted).with_context(|| format!("write {}", installed.display()))?;
        Ok(Self { python })
    }

    pub(super) fn measure(
        &self,
        workspace: &Workspace,
        core: &Core,
        relays: &[PathBuf; 2],
        rehearse: bool,
    ) -> anyhow::Result<Figures> {
        let mut command = core.command(&self.python);
        command.current_dir(&workspace.root).arg("benches/peers/peers.py");
        if rehearse {
            command.arg("--rehearse");
        }
        let output = setup::output(command.args([DESCRIPTOR, KEY]).args(relays))?;
        serde_json::from_str(&output).context("what the peers were measured at is not understood")
    }
}
