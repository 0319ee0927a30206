//! The publisher as an operator runs it: the example as a process, and what it logs.
//!
//! Faults befall the program: it is killed and started again, its state folder is full, its clock
//! is set. So here, and nowhere else in the laboratory, a publisher is a process, and its
//! configuration a file as operators write it.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use tokio::time::sleep;

use super::Clock;

/// Time between two looks at its log. The times are those of the lines.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A publisher, which ends when this is dropped.
pub(crate) struct Publisher {
    /// Program that runs, and its arguments.
    before: Vec<String>,
    program: PathBuf,
    config: PathBuf,
    log: PathBuf,
    clock: Clock,
    process: Option<Child>,
}

/// A line of its log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Said {
    /// In seconds since the command began.
    pub(crate) at: f64,
    /// Text after the service's name.
    pub(crate) text: String,
}

impl Publisher {
    /// Starts the program on a configuration; the log lies beside it. What stands `before` it
    /// becomes the program, as `nsenter` does.
    pub(crate) fn start(before: Vec<String>, program: PathBuf, config: PathBuf, clock: Clock) -> anyhow::Result<Self> {
        let mut publisher = Self {
            before,
            program,
            log: config.with_extension("log"),
            config,
            clock,
            process: None,
        };
        publisher.start_again()?;
        Ok(publisher)
    }

    /// Starts it after it was killed.
    pub(crate) fn start_again(&mut self) -> anyhow::Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.with_context(|| self.log.display().to_string())?;
        let mut words = self.before.iter().map(OsStr::new).chain([self.program.as_os_str()]);
        let process = Command::new(words.next().unwrap_or(self.program.as_os_str()))
            .args(words)
            .arg("--config")
            .arg(&self.config)
            .env_remove("RUST_LOG")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn();
        self.process = Some(process.with_context(|| self.program.display().to_string())?);
        Ok(())
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// Everything that it has said.
    pub(crate) fn said(&self) -> anyhow::Result<Vec<Said>> {
        let log = fs::read_to_string(&self.log).with_context(|| self.log.display().to_string())?;
        Ok(log.lines().filter_map(|line| Said::parse(line, &self.clock)).collect())
    }

    /// The first thing that is meant and was said since a time, if it comes `within` a while from
    /// now.
    pub(crate) async fn hears(
        &self,
        since: f64,
        within: Duration,
        meant: impl Fn(&Said) -> bool,
    ) -> anyhow::Result<Option<Said>> {
        let deadline = self.clock.now() + within.as_secs_f64();
        loop {
            let said = self.said()?;
            let found = said.into_iter().find(|said| said.at >= since && meant(said));
            if found.is_some() || self.clock.now() > deadline {
                return Ok(found);
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// The last thing that is meant and was said since a time, and before it said nothing for a
    /// while, if any comes `within` a while from now.
    pub(crate) async fn last_before_a_lull(
        &self,
        since: f64,
        within: Duration,
        lull: Duration,
        meant: impl Fn(&Said) -> bool,
    ) -> anyhow::Result<Option<Said>> {
        if self.hears(since, within, &meant).await?.is_none() {
            return Ok(None);
        }
        loop {
            let before = self.said()?;
            sleep(lull).await;
            if self.said()?.len() == before.len() {
                return Ok(before.into_iter().rev().find(|said| said.at >= since && meant(said)));
            }
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // It ends with the command, whatever became of it.
        let _ = self.kill();
    }
}

impl Said {
    /// Reads a line: time, level, service, and what there is to say.
    fn parse(line: &str, clock: &Clock) -> Option<Self> {
        let (time, rest) = line.trim_start().split_once(' ')?;
        let time: SystemTime = humantime::parse_rfc3339(time).ok()?;
        let (_level, rest) = rest.trim_start().split_once(' ')?;
        let (_service, text) = rest.split_once(": ")?;
        Some(Self {
            at: clock.of(time),
            text: text.to_owned(),
        })
    }

    /// Returns whether a round ended with every directory proved that answers, and this was among
    /// its causes.
    pub(crate) fn is_proved(&self, cause: &str) -> bool {
        self.proved_causes()
            .is_some_and(|mut causes| causes.any(|one| one == cause))
    }

    /// The causes of a round that was proved.
    fn proved_causes(&self) -> Option<impl Iterator<Item = &str>> {
        let rest = self.text.strip_prefix("proved ")?;
        let (_, rest) = rest.split_once('(')?;
        let (causes, _) = rest.split_once(')')?;
        Some(causes.split(", "))
    }

    /// Returns whether an instance was heard to offer introduction points.
    pub(crate) fn is_offer_of(&self, instance: &str) -> bool {
        let rest = self
            .text
            .strip_prefix(instance)
            .and_then(|rest| rest.strip_prefix(": offers "));
        rest.is_some_and(|rest| !rest.starts_with("0 "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Said {
        Said {
            at: 0.0,
            text: text.to_owned(),
        }
    }

    #[test]
    fn lines_have_a_time_and_a_text() {
        let clock = Clock::starting(SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600));
        let line = "2026-01-01T00:00:01.250000Z  WARN rf75jzdtba4wnd6v: b: down (it did not answer)";
        let parsed = Said::parse(line, &clock).unwrap();
        assert!((parsed.at - 1.25).abs() < 1e-6, "{parsed:?}");
        assert_eq!(parsed.text, "b: down (it did not answer)");
        for line in [
            "",
            "error: no such file",
            "2026-01-01T00:00:01Z  INFO publishing 1 services",
        ] {
            assert_eq!(Said::parse(line, &clock), None, "{line}");
        }
    }

    #[test]
    fn rounds_are_told_by_their_causes() {
        let round = said("proved 2 slots in 340 ms (a rebuilt its descriptor, b left): 20779/0@00AA 20779/1@00BB");
        assert!(round.is_proved("b left") && round.is_proved("a rebuilt its descriptor"));
        assert!(!round.is_proved("left") && !round.is_proved("a left"));
        assert!(!said("b: down (left)").is_proved("left"));
    }

    #[test]
    fn offers_are_those_of_one_instance() {
        assert!(said("b: offers 3 introduction points").is_offer_of("b"));
        for text in [
            "b: offers 0 introduction points",
            "bb: offers 3 introduction points",
            "b: connected",
        ] {
            assert!(!said(text).is_offer_of("b"), "{text}");
        }
    }
}
