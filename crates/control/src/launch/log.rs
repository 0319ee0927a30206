//! The end of a process's log.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Name of the file that Tor logs to, in its folder.
pub(super) const LOG: &str = "log";
pub(super) const OLD_LOG: &str = "log.old";
/// Name of the file that Tor, and the shell that starts it, write to before it logs, and when it
/// crashes.
pub(super) const OUTPUT: &str = "output";
pub(super) const OLD_OUTPUT: &str = "output.old";

/// Number of bytes at the end of a log that are looked at.
const EXCERPT_BYTES: u64 = 64 * 1024;
/// Number of lines that are quoted.
const EXCERPT_LINES: usize = 8;
/// Number of characters of a line that are quoted.
const LINE_CHARACTERS: usize = 400;

/// The last lines that a tor process logged, and the path of its log.
///
/// They are the last warnings and errors, at most eight; without any, the last lines of all. A
/// process that ended before it logged anything is quoted by its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogExcerpt {
    path: Box<Path>,
    lines: Box<[String]>,
}

impl LogExcerpt {
    /// Reads the log of the process in `folder`, as [`Launch`](super::Launch) makes it. A log that
    /// cannot be read has no lines.
    pub fn read(folder: &Path) -> Self {
        let found = [LOG, OUTPUT].map(|name| (folder.join(name), read_end(&folder.join(name))));
        let [log, output] = found;
        let (path, end) = if log.1.trim().is_empty() { output } else { log };
        let warns = |line: &str| line.contains("[warn]") || line.contains("[err]");
        let lines = match last_lines(&end, warns) {
            none if none.is_empty() => last_lines(&end, |line| !line.trim().is_empty()),
            some => some,
        };
        Self {
            path: path.into(),
            lines,
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The lines, the oldest first.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

impl fmt::Display for LogExcerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.lines {
            [] => write!(f, "its log is {}", self.path.display()),
            lines => {
                write!(f, "the last lines of {}:", self.path.display())?;
                lines.iter().try_for_each(|line| write!(f, "\n  {line}"))
            }
        }
    }
}

/// The end of a file, or nothing if it cannot be read.
fn read_end(path: &Path) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(EXCERPT_BYTES)))?;
        let mut end = Vec::new();
        file.take(EXCERPT_BYTES).read_to_end(&mut end)?;
        Ok(end)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

fn last_lines(text: &str, wanted: impl Fn(&str) -> bool) -> Box<[String]> {
    let last = text.lines().rev().filter(|line| wanted(line)).take(EXCERPT_LINES);
    let mut lines: Vec<String> = last.map(|line| line.chars().take(LINE_CHARACTERS).collect()).collect();
    lines.reverse();
    lines.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_go_first_and_all_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        assert!(LogExcerpt::read(folder.path()).lines().is_empty());
        write(OUTPUT, "sh: 1: exec: no such file\n");
        let excerpt = LogExcerpt::read(folder.path());
        assert_eq!(excerpt.lines(), ["sh: 1: exec: no such file"]);
        assert!(excerpt.path().ends_with(OUTPUT));

        write(LOG, "[notice] a\n\n[notice] b\n");
        assert_eq!(LogExcerpt::read(folder.path()).lines(), ["[notice] a", "[notice] b"]);
        let warnings: String = (0..20_000).map(|n| format!("[warn] {n}\n[notice] x\n")).collect();
        write(LOG, &(warnings + "[err] " + &"é".repeat(1000)));
        let excerpt = LogExcerpt::read(folder.path());
        assert_eq!(excerpt.lines().len(), EXCERPT_LINES);
        assert_eq!(excerpt.lines()[6], "[warn] 19999");
        assert_eq!(excerpt.lines()[7].chars().count(), LINE_CHARACTERS);
        assert!(excerpt.to_string().contains("log:\n  [warn] 19993"), "{excerpt}");
    }
}
