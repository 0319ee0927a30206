//! The faults: what is done, how it is undone, and which words of the publisher tell that it has mended the ring.

use std::time::Duration;

use clap::ValueEnum;

use super::fleet::{CLOCK, Fleet, PASSWORD, VICTIM};
use super::record::Ailment;
use crate::stage::NAMES;

/// How far ahead a clock is set.
const AHEAD: Duration = Duration::from_secs(3600);

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// An instance is killed (SIGKILL), and started again 15 s later
    InstanceKilled,
    /// An instance hangs (SIGSTOP) for 15 s
    InstanceStopped,
    /// An instance is started again at once, with new introduction points
    InstanceRestarted,
    /// The web server behind an instance is gone for 15 s
    BackendGone,
    /// The Tor that carries the publisher's uploads is killed, and started again 15 s later
    UploaderKilled,
    /// One directory is killed, and started again, empty, 15 s later
    DirectoryKilled,
    /// All three directories of a replica are killed, and started again, empty, 15 s later
    ReplicaKilled,
    /// The publisher is killed (SIGKILL), and started again 15 s later
    PublisherKilled,
    /// An instance gets another control password, and its connections are cut; the publisher's file is corrected 15 s later
    PasswordChanged,
    /// The clock of an instance runs an hour ahead for 15 s
    ClockAhead,
}

impl Fault {
    /// All of them.
    pub(crate) const ALL: &[Self] = Self::VARIANTS;

    const VARIANTS: &'static [Self] = &[
        Self::InstanceKilled,
        Self::InstanceStopped,
        Self::InstanceRestarted,
        Self::BackendGone,
        Self::UploaderKilled,
        Self::DirectoryKilled,
        Self::ReplicaKilled,
        Self::PublisherKilled,
        Self::PasswordChanged,
        Self::ClockAhead,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::InstanceKilled => "instance killed",
            Self::InstanceStopped => "instance stopped",
            Self::InstanceRestarted => "instance restarted",
            Self::BackendGone => "its backend gone",
            Self::UploaderKilled => "uploading Tor killed",
            Self::DirectoryKilled => "a directory killed",
            Self::ReplicaKilled => "a replica's directories killed",
            Self::PublisherKilled => "publisher killed",
            Self::PasswordChanged => "control password changed",
            Self::ClockAhead => "clock an hour ahead",
        }
    }

    /// Does it.
    pub(crate) async fn hit(self, fleet: &mut Fleet) -> anyhow::Result<()> {
        match self {
            Self::InstanceKilled => fleet.instance(VICTIM)?.kill()?,
            Self::InstanceStopped => fleet.instance(VICTIM)?.stop()?,
            Self::InstanceRestarted => fleet.instance(VICTIM)?.restart().await?,
            Self::BackendGone => fleet.end_backend(VICTIM),
            Self::UploaderKilled => fleet.uploader.kill()?,
            Self::DirectoryKilled | Self::ReplicaKilled => {
                for directory in fleet.directories(0).into_iter().take(self.directories()) {
                    directory.kill()?;
                }
            }
            Self::PublisherKilled => fleet.publisher.kill()?,
            Self::PasswordChanged => fleet.change_password().await?,
            Self::ClockAhead => fleet.set_clock_ahead(AHEAD)?,
        }
        Ok(())
    }

    /// Undoes it, as an operator would who noticed after a while.
    pub(crate) async fn undo(self, fleet: &mut Fleet) -> anyhow::Result<()> {
        match self {
            Self::InstanceKilled => fleet.instance(VICTIM)?.restart().await?,
            Self::InstanceStopped => fleet.instance(VICTIM)?.cont()?,
            Self::InstanceRestarted => {}
            Self::BackendGone => fleet.start_backend(VICTIM).await?,
            Self::UploaderKilled => fleet.uploader.restart().await?,
            Self::DirectoryKilled | Self::ReplicaKilled => {
                for directory in fleet.directories(0).into_iter().take(self.directories()) {
                    directory.restart().await?;
                }
            }
            Self::PublisherKilled => fleet.publisher.start_again()?,
            Self::PasswordChanged => fleet.tell_password()?,
            Self::ClockAhead => fleet.set_clock_ahead(Duration::ZERO)?,
        }
        Ok(())
    }

    /// How many directories are killed.
    fn directories(self) -> usize {
        match self {
            Self::DirectoryKilled => 1,
            Self::ReplicaKilled => 3,
            _ => 0,
        }
    }

    /// The instance that it happens to.
    pub(crate) fn instance(self) -> Option<&'static str> {
        let place = match self {
            Self::InstanceKilled | Self::InstanceStopped | Self::InstanceRestarted | Self::BackendGone => VICTIM,
            Self::PasswordChanged => PASSWORD,
            Self::ClockAhead => CLOCK,
            Self::UploaderKilled | Self::DirectoryKilled | Self::ReplicaKilled | Self::PublisherKilled => return None,
        };
        NAMES.get(place).copied()
    }

    /// Whether it is undone by its own nature.
    pub(crate) fn undoes_itself(self) -> bool {
        self == Self::InstanceRestarted
    }

    /// What is wrong with an instance meanwhile.
    pub(crate) fn ailment(self, hit: f64, undone: Option<f64>) -> Option<Ailment> {
        let what = match self {
            Self::InstanceKilled => "was killed",
            Self::InstanceStopped => "was stopped",
            Self::InstanceRestarted => "was killed and started again",
            Self::BackendGone => "lost its backend",
            Self::ClockAhead => "had its clock set an hour ahead",
            _ => return None,
        };
        Some(Ailment {
            instance: self.instance()?.to_owned(),
            what: what.to_owned(),
            from: hit,
            until: undone,
        })
    }
}
