//! The files that an experiment writes, and the line that it prints.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::experiment::plot::Picture;

/// Folder for data and pictures.
pub(crate) struct Output {
    folder: PathBuf,
    real: bool,
}

impl Output {
    /// Fails where nothing can be written, before anything is measured.
    pub(crate) fn create(folder: &Path, real: bool) -> anyhow::Result<Self> {
        let folder_of = || format!("--out: cannot write into the folder {}", folder.display());
        fs::create_dir_all(folder).with_context(folder_of)?;
        let probe = folder.join(".writable");
        fs::write(&probe, [])
            .and_then(|()| fs::remove_file(&probe))
            .with_context(folder_of)?;
        Ok(Self {
            folder: folder.to_owned(),
            real,
        })
    }

    /// Writes data and picture of an experiment, and prints how it compares to the thesis.
    pub(crate) fn finish(&self, name: &str, csv: &str, picture: &Picture, verdict: &str) -> anyhow::Result<()> {
        let svg = picture.draw()?;
        self.write(name, "csv", csv.as_bytes())?;
        self.write(name, "svg", svg.as_bytes())?;
        let how = if self.real { "real" } else { "simulated" };
        println!("{name} ({how}): {verdict}");
        Ok(())
    }

    /// Writes what pictures are made of, as soon as it is there; that it cannot be written is only
    /// told.
    pub(crate) fn keep(&self, name: &str, kind: &str, text: &str) {
        if let Err(error) = self.write(name, kind, text.as_bytes()) {
            eprintln!("{error:#}");
        }
    }

    fn write(&self, name: &str, kind: &str, content: &[u8]) -> anyhow::Result<()> {
        let suffix = if self.real { "-real" } else { "" };
        let path = self.folder.join(format!("{name}{suffix}.{kind}"));
        fs::write(&path, content).with_context(|| format!("write {}", path.display()))
    }
}
