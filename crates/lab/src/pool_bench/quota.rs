//! A part of one core for a process: a control group of its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The period over which a quota is shared out, in microseconds.
const PERIOD: u32 = 50_000;

/// A process that is held to a part of one core until this is dropped.
pub(super) struct Quota {
    group: PathBuf,
    parent: PathBuf,
    pid: u32,
}

impl Quota {
    /// Gives a process so many thousandths of one core. Needs a control group that may be written
    /// to, which root has.
    pub(super) fn new(pid: u32, thousandths: u32) -> io::Result<Self> {
        let (parent, unified) = parent()?;
        let group = parent.join(format!("onionweave-{pid}"));
        fs::create_dir(&group)?;
        let quota = Self { group, parent, pid };
        let time = PERIOD / 1000 * thousandths;
        if unified {
            fs::write(quota.group.join("cpu.max"), format!("{time} {PERIOD}"))?;
        } else {
            fs::write(quota.group.join("cpu.cfs_period_us"), PERIOD.to_string())?;
            fs::write(quota.group.join("cpu.cfs_quota_us"), time.to_string())?;
        }
        fs::write(quota.group.join("cgroup.procs"), pid.to_string())?;
        Ok(quota)
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // Both fail only where the process is gone, or somebody else has tidied up.
        let _ = fs::write(self.parent.join("cgroup.procs"), self.pid.to_string());
        let _ = fs::remove_dir(&self.group);
    }
}

/// The group below which new ones can share out the processor, and whether it is of the unified
/// hierarchy.
fn parent() -> io::Result<(PathBuf, bool)> {
    let mounts = fs::read_to_string("/proc/mounts")?;
    let found = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_, path, kind, options) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        match kind {
            "cgroup" if options.split(',').any(|option| option == "cpu") => Some((path.into(), false)),
            "cgroup2" if controls_cpu(Path::new(path)) => Some((path.into(), true)),
            _ => None,
        }
    });
    found.ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "no control group shares out the processor"))
}

fn controls_cpu(root: &Path) -> bool {
    let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    controllers.split_whitespace().any(|name| name == "cpu")
        && fs::write(root.join("cgroup.subtree_control"), "+cpu").is_ok()
}
