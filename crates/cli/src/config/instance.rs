//! `[[service.instance]]`.

use std::path::PathBuf;
use std::time::Duration;

use onionweave_assign::Weight;
use onionweave_control::Endpoint;
use onionweave_driver::{self as driver, Check, LoadGauge};
use onionweave_publish::InstanceName;
use onionweave_ring::v2::ServiceId;
use serde::Deserialize;

use super::check::some_check;
use super::load::some_load;
use super::values::{command, name, some_address, some_duration, some_endpoint, some_path, tor, weight};

/// Instance of a service.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Instance {
    /// Its name, unique within the service.
    #[serde(deserialize_with = "name")]
    pub name: InstanceName,
    /// Address of its control port.
    #[serde(default, deserialize_with = "some_endpoint")]
    pub control: Option<Endpoint>,
    /// The file into which its descriptor is written, where its control port is out of reach.
    #[serde(default, deserialize_with = "some_path")]
    pub file: Option<PathBuf>,
    /// The address of its own key, if that is not the service's. With neither `control` nor `file`,
    /// its descriptor is read from the directories.
    #[serde(default, deserialize_with = "some_address")]
    pub address: Option<ServiceId>,
    /// Time between two readings of the directories, or of that file if nothing says that it
    /// changed. Default: thirty seconds.
    #[serde(default, deserialize_with = "some_duration")]
    pub poll: Option<Duration>,
    /// Time after its date for which a descriptor from a file or from directories is believed, if
    /// no newer one comes. Default: two hours and a quarter, since Tor dates descriptors with the
    /// full hour, and makes a new one each hour.
    #[serde(default, deserialize_with = "some_duration")]
    pub stale: Option<Duration>,
    /// The file that holds the control port's password, on one line.
    #[serde(default, deserialize_with = "some_path")]
    pub password_file: Option<PathBuf>,
    /// The cookie file, if Tor's own word on it does not hold here (another host, a container).
    #[serde(default, deserialize_with = "some_path")]
    pub cookie_file: Option<PathBuf>,
    /// Its part of the traffic, relative to the other instances. Default: 1.
    #[serde(default, deserialize_with = "weight")]
    pub weight: Weight,
    /// The command that restarts it: program and arguments.
    #[serde(default, deserialize_with = "command")]
    pub restart: Vec<String>,
    /// Health check of the instance, besides that its Tor answers. Default: that of the service.
    #[serde(default, deserialize_with = "some_check")]
    pub check: Option<Check>,
    /// Source of its load, which its share of the traffic follows. Default: that of the service.
    #[serde(default, deserialize_with = "some_load")]
    pub load: Option<LoadGauge>,
}

impl Instance {
    /// The instance as the builder takes it.
    pub(super) fn described(&self) -> driver::Instance {
        let name = self.name.clone();
        let mut instance = match (&self.control, &self.file, self.address) {
            (Some(control), ..) => driver::Instance::new(name, tor(control, &self.password_file, &self.cookie_file)),
            (None, Some(file), _) => driver::Instance::from_file(name, file),
            (None, None, Some(address)) => driver::Instance::from_directories(name, address),
            // Refused when the text was read.
            (None, None, None) => driver::Instance::from_file(name, ""),
        };
        if let Some(address) = self.address {
            instance = instance.address(address);
        }
        if let Some(poll) = self.poll {
            instance = instance.poll(poll);
        }
        if let Some(stale) = self.stale {
            instance = instance.stale(stale);
        }
        if let Some(check) = &self.check {
            instance = instance.check(check.clone());
        }
        if let Some(load) = &self.load {
            instance = instance.load(load.clone());
        }
        instance.weight(self.weight).restart(self.restart.iter().cloned())
    }

    /// The rules of single keys.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        match (&self.control, &self.file, &self.address) {
            (None, None, None) => return Err("needs control, file, or an address of its own"),
            (Some(_), Some(_), _) => return Err("control and file exclude each other"),
            _ => {}
        }
        if self.password_file.is_some() && self.cookie_file.is_some() {
            return Err("password_file and cookie_file exclude each other");
        }
        if self.control.is_none() && (self.password_file.is_some() || self.cookie_file.is_some()) {
            return Err("password_file and cookie_file need control");
        }
        Ok(())
    }
}
