//! The faults: what is done, how it is undone, and which words of the publisher tell that it has
//! repaired the ring.

use std::time::Duration;

use clap::ValueEnum;
use onionweave_testnet::Relay;

use super::fleet::{CLOCK, Fleet, PASSWORD, VICTIM};
use super::record::Ailment;
use crate::stage::NAMES;

/// Time by which a clock is set ahead.
const AHEAD: Duration = Duration::from_secs(3600);

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// An instance is killed (SIGKILL), and started again later
    InstanceKilled,
    /// An instance hangs (SIGSTOP)
    InstanceStopped,
    /// An instance is started again at once, with new introduction points
    InstanceRestarted,
    /// The web server behind an instance is gone
    BackendGone,
    /// The Tor that carries the publisher's uploads is killed, and started again later
    UploaderKilled,
    /// The Tor that carries the uploads is killed together with an instance, and both are started
    /// again later
    UploaderAndInstanceKilled,
    /// A directory is killed, and started again, empty, later
    DirectoryKilled,
    /// All three directories of a replica are killed, and started again, empty, later
    ReplicaKilled,
    /// Two of three instances and five of six directories are killed, and started again later
    AllButOneKilled,
    /// The publisher is killed (SIGKILL), and started again later
    PublisherKilled,
    /// An instance gets another control password, and its connections are cut; the publisher's file
    /// is corrected later
    PasswordChanged,
    /// The publisher's state folder is emptied and its disk filled; it is killed and started again,
    /// an instance is killed, and later there is room
    StateFull,
    /// Of the instances that the publisher runs itself one is killed, and a spare takes its place
    PooledKilled,
    /// The clock of an instance runs an hour ahead for a while
    ClockAhead,
}

impl Fault {
    /// All of them.
    pub(crate) fn all() -> &'static [Self] {
        Self::value_variants()
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::InstanceKilled => "instance killed",
            Self::InstanceStopped => "instance stopped",
            Self::InstanceRestarted => "instance restarted",
            Self::BackendGone => "its backend gone",
            Self::UploaderKilled => "uploading Tor killed",
            Self::UploaderAndInstanceKilled => "uploading Tor and an instance killed",
            Self::DirectoryKilled => "a directory killed",
            Self::ReplicaKilled => "a replica's directories killed",
            Self::AllButOneKilled => "all but one instance and directory killed",
            Self::PublisherKilled => "publisher killed",
            Self::PasswordChanged => "control password changed",
            Self::StateFull => "disk full in its state folder",
            Self::PooledKilled => "instance of the pool killed",
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
            Self::UploaderAndInstanceKilled => {
                fleet.uploader.kill()?;
                fleet.instance(VICTIM)?.kill()?;
            }
            Self::DirectoryKilled | Self::ReplicaKilled => {
                for directory in fleet.directories().into_iter().take(self.directories()) {
                    directory.kill()?;
                }
            }
            Self::AllButOneKilled => {
                for instance in self.instances() {
                    fleet.instance(*instance)?.kill()?;
                }
                for directory in fleet.directories().into_iter().take(self.directories()) {
                    directory.kill()?;
                }
            }
            Self::PublisherKilled => fleet.publisher.kill()?,
            Self::PasswordChanged => fleet.change_password().await?,
            Self::StateFull => {
                fleet.publisher.kill()?;
                fleet.fill_state()?;
                fleet.publisher.start_again()?;
                fleet.instance(VICTIM)?.kill()?;
            }
            Self::ClockAhead => fleet.set_clock_ahead(AHEAD)?,
            // It has a publisher of its own.
            Self::PooledKilled => {}
        }
        Ok(())
    }

    /// Undoes it, as an operator would who noticed after a while.
    pub(crate) async fn undo(self, fleet: &mut Fleet) -> anyhow::Result<()> {
        match self {
            Self::InstanceKilled => fleet.instance(VICTIM)?.restart().await?,
            Self::InstanceStopped => fleet.instance(VICTIM)?.cont()?,
            Self::InstanceRestarted | Self::PooledKilled => {}
            Self::BackendGone => fleet.start_backend(VICTIM).await?,
            Self::UploaderKilled => fleet.uploader.restart().await?,
            Self::UploaderAndInstanceKilled => {
                fleet.uploader.restart().await?;
                fleet.instance(VICTIM)?.restart().await?;
            }
            Self::DirectoryKilled | Self::ReplicaKilled | Self::AllButOneKilled => {
                for directory in fleet.directories().into_iter().take(self.directories()) {
                    directory.restart().await?;
                }
                for instance in self.instances() {
                    fleet.instance(*instance)?.restart().await?;
                }
            }
            Self::PublisherKilled => fleet.publisher.start_again()?,
            Self::PasswordChanged => fleet.tell_password()?,
            Self::StateFull => {
                fleet.empty_state()?;
                fleet.instance(VICTIM)?.restart().await?;
            }
            Self::ClockAhead => fleet.set_clock_ahead(Duration::ZERO)?,
        }
        Ok(())
    }

    /// Leaves everything as it was before, once nobody looks any more.
    pub(crate) async fn clear(self, fleet: &mut Fleet) -> anyhow::Result<()> {
        match self {
            Self::PasswordChanged => fleet.restore_password().await,
            _ => Ok(()),
        }
    }

    /// Number of directories that are killed.
    fn directories(self) -> usize {
        match self {
            Self::DirectoryKilled => 1,
            Self::ReplicaKilled => 3,
            Self::AllButOneKilled => 5,
            _ => 0,
        }
    }

    /// The instances that it happens to, by their places.
    fn instances(self) -> &'static [usize] {
        match self {
            Self::InstanceKilled
            | Self::InstanceStopped
            | Self::InstanceRestarted
            | Self::BackendGone
            | Self::UploaderAndInstanceKilled
            | Self::StateFull => &[VICTIM],
            Self::PasswordChanged => &[PASSWORD],
            Self::ClockAhead => &[CLOCK],
            Self::AllButOneKilled => &[VICTIM, PASSWORD],
            Self::UploaderKilled
            | Self::DirectoryKilled
            | Self::ReplicaKilled
            | Self::PublisherKilled
            | Self::PooledKilled => &[],
        }
    }

    /// Their names.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        self.instances().iter().filter_map(|&place| NAMES.get(place).copied())
    }

    /// Returns whether it is undone by its own nature.
    pub(crate) fn undoes_itself(self) -> bool {
        self == Self::InstanceRestarted
    }

    /// Returns whether it is left out of the sum of all faults: most directories are dead, and a
    /// client's Tor insists on those.
    pub(crate) fn is_extreme(self) -> bool {
        self == Self::AllButOneKilled
    }

    /// Returns the ailments of instances meanwhile.
    pub(crate) fn ailments(self, hit: f64, undone: Option<f64>) -> Vec<Ailment> {
        let what = match self {
            Self::InstanceKilled | Self::UploaderAndInstanceKilled | Self::AllButOneKilled | Self::StateFull => {
                "was killed"
            }
            Self::InstanceStopped => "was stopped",
            Self::InstanceRestarted => "was killed and started again",
            Self::BackendGone => "lost its backend",
            Self::ClockAhead => "had its clock set an hour ahead",
            Self::PasswordChanged
            | Self::UploaderKilled
            | Self::DirectoryKilled
            | Self::ReplicaKilled
            | Self::PublisherKilled
            | Self::PooledKilled => return Vec::new(),
        };
        let ailment = |name: &str| Ailment {
            who: name.to_owned(),
            what: what.to_owned(),
            from: hit,
            until: undone,
        };
        self.names().map(ailment).collect()
    }

    /// The directories that are killed.
    pub(crate) fn dead_directories(self, fleet: &Fleet, hit: f64, undone: f64) -> Vec<Ailment> {
        let ailment = |relay: &Relay| Ailment {
            who: relay.nickname().to_owned(),
            what: "was killed".to_owned(),
            from: hit,
            until: Some(undone),
        };
        fleet
            .directories()
            .into_iter()
            .take(self.directories())
            .map(ailment)
            .collect()
    }
}
