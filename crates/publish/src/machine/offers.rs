//! What instances offer: their descriptors, read with distrust.

use onionweave_desc::v2::{AgeVerdict, Authorization, Descriptor, IntroductionPoint, UnverifiedDescriptor};
use onionweave_ring::v2::{DescriptorId, Replica, SecretIdPart, ServiceId, TimePeriod};
use onionweave_ring::{OnionAddress, UnixTime};

use super::{Machine, POINTS_PER_DESCRIPTOR, text};
use crate::{Cause, InstanceName, Moment, Report, Source};

/// So close to the full hour, two clocks may well show different hours.
const HOUR_TURNS: u64 = 5 * 60;

/// A descriptor that may be believed.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) dated: UnixTime,
    /// In canonical order.
    pub(super) points: Vec<IntroductionPoint>,
}

impl Machine {
    pub(super) fn instance_offers(&mut self, name: &InstanceName, text: Vec<u8>, rebuilt: bool, now: Moment) {
        let Some(instance) = self.instances.get_mut(name).filter(|instance| instance.up) else {
            return;
        };
        if instance.last_text == text && instance.complaint.is_none() {
            let dated = instance.dated;
            if rebuilt && instance.offers() {
                self.rebuilt(name, dated, now.wall());
            }
            return;
        }
        match self.read(name, &text, now.wall()) {
            Ok(offer) => self.believe(name, text, offer, rebuilt, now.wall()),
            // Its last good points may still be good; they stay until it goes down or offers others, or until they are stale.
            Err(why) => self.disbelieve(name, why),
        }
    }

    /// Takes on what an instance offers.
    pub(super) fn believe(&mut self, name: &InstanceName, text: Vec<u8>, offer: Offer, rebuilt: bool, now: UnixTime) {
        let Some(instance) = self.instances.get_mut(name) else {
            return;
        };
        instance.last_text = text;
        instance.dated = offer.dated;
        instance.complaint = None;
        let same_points = instance.points == offer.points;
        if instance.address.is_none() {
            // Under the service's own address it may have gone to directories too.
            self.saw_time(offer.dated);
        }
        if rebuilt && same_points {
            self.rebuilt(name, offer.dated, now);
        } else if rebuilt {
            self.compare_clocks(name, offer.dated, now);
        }
        self.set_points(name, offer.points);
    }

    /// Reports what is wrong with an instance's descriptor, once.
    pub(super) fn disbelieve(&mut self, name: &InstanceName, why: String) {
        if let Some(instance) = self.instances.get_mut(name)
            && instance.complaint.as_ref() != Some(&why)
        {
            instance.complaint = Some(why.clone());
            self.report(Report::Unusable {
                instance: name.clone(),
                why,
            });
        }
    }

    /// An instance has built its descriptor anew, with the same points.
    fn rebuilt(&mut self, name: &InstanceName, dated: UnixTime, now: UnixTime) {
        self.change(Cause::Rebuilt(name.clone()));
        self.fresh_bytes.insert(name.clone());
        self.compare_clocks(name, dated, now);
    }

    /// Reads an instance's descriptor, trusting nothing.
    pub(super) fn read(&self, name: &InstanceName, text: &[u8], now: UnixTime) -> Result<Offer, String> {
        let Some(instance) = self.instances.get(name) else {
            return Err("there is no such instance".into());
        };
        let descriptor = UnverifiedDescriptor::parse(text)
            .and_then(|descriptor| self.key.verify(descriptor))
            .map_err(|error| error.to_string())?;
        let address = instance.address.and_then(OnionAddress::v2).unwrap_or(self.service_id);
        if descriptor.service_id() != address {
            return Err(format!("it belongs to {}, not to {address}", descriptor.service_id()));
        }
        let dated = descriptor.publication_time();
        if !self.ids_at(address, dated).any(|id| id == descriptor.descriptor_id()) {
            return Err(format!(
                "it is dated {dated}, when {address} had no descriptor ID {}",
                descriptor.descriptor_id()
            ));
        }
        // A Tor that answers by itself shows nothing old, and it may be our clock that is off.
        if instance.source != Source::Control {
            match descriptor.age_verdict(now) {
                AgeVerdict::Accepted => {}
                AgeVerdict::TooNew => return Err(format!("it is dated {dated}, more than a day ahead of {now}")),
                _ => return Err(format!("it is dated {dated}, more than three days before {now}")),
            }
            if instance.stale_from_date(dated) <= now {
                return Err(format!("it is dated {dated}, too long before {now} to be believed"));
            }
            // Dates of the future were a mistake that will be mended.
            if dated < instance.dated.min(now.start_of_hour()) {
                return Err(format!(
                    "it is dated {dated}, but one of {} was there before",
                    instance.dated
                ));
            }
        }
        let points = self.points_of(&descriptor)?;
        Ok(Offer {
            dated,
            points: text::canonical(&points, POINTS_PER_DESCRIPTOR),
        })
    }

    /// The descriptor IDs under which a text of this date may stand: it is dated with the full hour, in which a period may end, and in
    /// the last hour of a period the next one's are out too.
    fn ids_at(&self, address: ServiceId, dated: UnixTime) -> impl Iterator<Item = DescriptorId> + use<'_> {
        let cookie = self.settings.authorization.as_ref().and_then(Authorization::id_cookie);
        let cookie = cookie.filter(|_| address == self.service_id);
        let period = TimePeriod::at(&address, dated);
        [period, period.next()].into_iter().flat_map(move |period| {
            Replica::ALL.map(|replica| DescriptorId::new(&address, &SecretIdPart::new(period, replica, cookie)))
        })
    }

    fn points_of(&self, descriptor: &Descriptor) -> Result<Vec<IntroductionPoint>, String> {
        let open = || descriptor.introduction_points().map_err(|error| error.to_string());
        let Some(authorization) = &self.settings.authorization else {
            return open();
        };
        if descriptor.authorization().is_none() {
            // Nobody finds an instance's own address, unless told.
            if descriptor.service_id() != self.service_id {
                return open();
            }
            return Err(
                "its introduction points are open to all clients; it needs HiddenServiceAuthorizeClient".into(),
            );
        }
        // An instance may not know all clients yet.
        let mut why = "no client is authorized".to_owned();
        for cookie in authorization.cookies() {
            match descriptor.introduction_points_for(cookie) {
                Ok(points) => return Ok(points),
                Err(error) => why = error.to_string(),
            }
        }
        Err(why)
    }

    pub(super) fn set_points(&mut self, name: &InstanceName, points: Vec<IntroductionPoint>) {
        let Some(instance) = self.instances.get_mut(name).filter(|instance| instance.up) else {
            return;
        };
        if instance.points == points {
            return;
        }
        let cause = match (instance.points.is_empty(), points.is_empty()) {
            // Whoever tried it while it was gone has given up these points; see `text.rs`.
            (true, _) => {
                self.fresh_bytes.insert(name.clone());
                Cause::Joined(name.clone())
            }
            (false, true) => {
                instance.last_text.clear();
                Cause::Left(name.clone())
            }
            (false, false) => Cause::PointsChanged(name.clone()),
        };
        instance.points = points;
        let count = instance.points.len();
        self.change(cause);
        self.report(Report::Offers(name.clone(), count));
    }

    /// Gives up what was offered too long ago, where there is no other sign of life.
    pub(super) fn expire(&mut self, now: UnixTime) {
        let stale = |name: &InstanceName| {
            let instance = self.instances.get(name)?;
            instance.stale_from().filter(|&from| from <= now)?;
            Some((name.clone(), instance.dated))
        };
        let stale: Vec<_> = self.instances.keys().filter_map(stale).collect();
        for (name, dated) in stale {
            self.disbelieve(&name, format!("it is dated {dated}, and no newer one has come"));
            self.set_points(&name, Vec::new());
        }
    }

    pub(super) fn saw_time(&mut self, time: UnixTime) {
        if Some(time) > self.time && self.newer_seen.insert(time) {
            self.wanted_during = None;
        }
    }

    /// Compares the clock with that of an instance that has just dated its descriptor: with its full hour
    /// (`rendservice.c:1076-1077`).
    fn compare_clocks(&mut self, name: &InstanceName, theirs: UnixTime, now: UnixTime) {
        let past = now.as_secs() - now.start_of_hour().as_secs();
        let turning = !(HOUR_TURNS..3600 - HOUR_TURNS).contains(&past);
        let differ = theirs != now.start_of_hour();
        if turning && differ {
            return;
        }
        let Some(instance) = self.instances.get_mut(name) else {
            return;
        };
        if differ && !std::mem::replace(&mut instance.clock_differs, differ) {
            self.report(Report::ClocksDiffer {
                instance: name.clone(),
                theirs,
                ours: now,
            });
        } else {
            instance.clock_differs = differ;
        }
    }
}
