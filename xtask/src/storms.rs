//! Storms: the reconciler among seeded random faults, in virtual time.

use std::process::Command;

use anyhow::Context as _;

use crate::bench::BENCH_PACKAGES;
use crate::setup;
use crate::workspace::{Program, Workspace};

/// Environment variable that sets the number of storms.
const VARIABLE: &str = "ONIONWEAVE_STORMS";

/// The test of the storms, optimised.
pub(crate) struct Storms(Program);

impl Storms {
    /// Builds the test with the profile and the packages of the benches, which share their
    /// dependencies.
    pub(crate) fn build(workspace: &Workspace) -> anyhow::Result<Self> {
        let mut build = setup::leisurely(workspace.cargo().get_program());
        build
            .current_dir(&workspace.root)
            .args(["bench", "--quiet", "--all-features"]);
        build
            .args(BENCH_PACKAGES)
            .args(["--test=storms", "--no-run", "--message-format=json"]);
        let programs = workspace.build(&mut build)?;
        let storms = programs.into_iter().find(|program| program.target == "storms");
        storms.map(Self).context("there is no test of that name")
    }

    /// Returns the command that runs `count` storms, or as many as the test runs by itself.
    pub(crate) fn command(&self, count: Option<u32>) -> Command {
        let mut command = Command::new(&self.0.path);
        command.current_dir(&self.0.folder);
        if let Some(count) = count {
            command.env(VARIABLE, count.to_string());
        }
        command
    }
}
