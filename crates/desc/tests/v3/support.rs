//! Recordings of tor 0.4.9.11, and what belongs to them.

use onionweave_desc::Error;
use onionweave_desc::v3::{
    ClientSecretKey, Descriptor, IntroductionPoint, LinkSpecifiers, SealedDescriptor, ServiceKey, UnverifiedDescriptor,
};
use onionweave_ring::UnixTime;
use onionweave_ring::v3::{Period, Subcredential};

/// A text of a recording.
pub(crate) struct Recording {
    pub(crate) name: &'static str,
    pub(crate) text: &'static [u8],
    pub(crate) taken_at: UnixTime,
    pub(crate) key: ServiceKey,
}

/// Length of a time period in the recorded network, in minutes: 24 voting intervals of 20 seconds.
pub(crate) const PERIOD_MINUTES: u32 = 8;

macro_rules! recordings {
    ($($snapshot:literal)+) => { [$(recordings!(@ $snapshot "plain" "plain-two" "pow" "ten-points")),+] };
    (@ $snapshot:literal $($service:literal)+) => {
        [$((
            concat!($snapshot, "/", $service),
            include_bytes!(concat!("../../testdata/v3/", $snapshot, "/", $service, ".txt")).as_slice(),
            include_str!(concat!("../../testdata/v3/", $snapshot, "/taken-at-unix.txt")),
            include_bytes!(concat!("../../testdata/v3/keys/", $service, "/hs_ed25519_secret_key")).as_slice(),
        )),+]
    };
}

pub(crate) fn recordings() -> impl Iterator<Item = Recording> {
    let all = recordings!["snapshot-03" "snapshot-07" "snapshot-11" "snapshot-15"];
    all.into_iter().flatten().map(|(name, text, taken_at, key)| Recording {
        name,
        text,
        taken_at: UnixTime::from_secs(taken_at.trim().parse().unwrap()),
        key: ServiceKey::from_file(key).unwrap(),
    })
}

impl Recording {
    pub(crate) fn sealed(&self) -> SealedDescriptor {
        let parsed = UnverifiedDescriptor::parse(self.text).unwrap();
        parsed.verify(self.taken_at).unwrap()
    }

    pub(crate) fn subcredential(&self) -> Subcredential {
        Subcredential::new(&self.key.address(), &self.sealed().blinded_id())
    }

    pub(crate) fn open(&self) -> Descriptor {
        self.sealed().open(&self.subcredential(), None).unwrap()
    }

    /// The period of the descriptor: one of those around the moment of the recording.
    pub(crate) fn period(&self) -> Period {
        let id = self.sealed().blinded_id();
        let number = self.taken_at.as_secs() / 60 / u64::from(PERIOD_MINUTES);
        (number - 2..=number + 2)
            .map(|number| Period::new(number, PERIOD_MINUTES))
            .find(|period| self.key.address().blinded_id(*period) == id)
            .unwrap()
    }
}

/// Reads a text as someone who knows the service does.
pub(crate) fn read(text: &[u8], now: UnixTime, subcredential: &Subcredential) -> Result<Descriptor, Error> {
    UnverifiedDescriptor::parse(text)?
        .verify(now)?
        .open(subcredential, None)
}

/// Points at relays of their own.
pub(crate) fn points(count: u8) -> Vec<IntroductionPoint> {
    let point = |number| {
        let specifiers = [
            &[3, 0, 6, 127, 0, 0, 1, 0x13, 0x88, 2, 20][..],
            &[number; 20],
            &[3, 32],
            &[number; 32],
        ];
        let specifiers = LinkSpecifiers::from_bytes(&specifiers.concat()).unwrap();
        let x25519 = *ClientSecretKey::from([number; 32]).public_key().as_bytes();
        let auth_key = *ServiceKey::from_seed(&[number; 32]).address().public_key();
        IntroductionPoint::new(specifiers, x25519, auth_key, x25519)
    };
    (1..=count).map(point).collect()
}
