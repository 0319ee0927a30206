//! Programs that a description names: by a path, or by a name in `PATH`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Path of a program. A name is looked for in `PATH`; a path is taken as it is, whether the program
/// is there or not.
pub(crate) fn locate(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return Some(program.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|candidate| may_run(candidate))
}

/// Whether a program is there and may be run.
pub(crate) fn is_there(program: &Path) -> bool {
    locate(program).is_some_and(|path| may_run(&path))
}

fn may_run(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
