//! Onion services of version 2: where their descriptors belong.
//!
//! Specification: rend-spec-v2, sections 1.3 and 1.6. The numbers and the arithmetic are those of C
//! Tor 0.4.5.9 (core/or/or.h:341-352, feature/rend/rendcommon.c), the last series that has version
//! 2.
//!
//! A day in the life of a descriptor:
//!
//! ```
//! use onionweave_ring::{Fingerprint, HashRing, UnixTime};
//! use onionweave_ring::v2::{self, DescriptorId, Replica, ServiceId};
//!
//! let service: ServiceId = "rf75jzdtba4wnd6v.onion".parse()?;
//! let now = UnixTime::from_iso("2026-11-22 12:07:19")?;
//! let ring = HashRing::new((0..=255).map(|byte| Fingerprint::from([byte; 20])));
//!
//! for period in v2::TimePeriod::published(&service, now) {
//!     for replica in Replica::ALL {
//!         let id = DescriptorId::of(&service, period, replica);
//!         assert_eq!(id.responsible(&ring).count(), v2::DIRECTORIES_PER_REPLICA);
//!     }
//! }
//! # Ok::<(), onionweave_ring::Error>(())
//! ```

pub mod anatomy;
mod cookie;
mod descriptor_id;
mod ring_change;
mod service_id;
mod time_period;

use core::time::Duration;

pub use cookie::{AuthorizationKind, ClientCookie, DescriptorCookie};
pub use descriptor_id::{DescriptorId, Replica, SecretIdPart};
pub use ring_change::RingChange;
pub use service_id::ServiceId;
pub use time_period::TimePeriod;

/// Length of a time period, in seconds: one day (`REND_TIME_PERIOD_V2_DESC_VALIDITY`,
/// core/or/or.h:341).
///
/// ```
/// use onionweave_ring::v2::{PERIOD, ServiceId, TimePeriod};
///
/// let (service, period) = (ServiceId::from([7; 10]), TimePeriod::new(20_780));
/// assert_eq!(period.end(&service), period.start(&service).saturating_add(PERIOD));
/// ```
pub const PERIOD: Duration = Duration::from_secs(24 * 60 * 60);

/// The end of a time period during which the next period's descriptors are published as well: one
/// hour (`REND_TIME_PERIOD_OVERLAPPING_V2_DESCS`, core/or/or.h:345).
///
/// ```
/// use onionweave_ring::v2::{self, OVERLAP, ServiceId, TimePeriod};
///
/// let (service, period) = (ServiceId::from([7; 10]), TimePeriod::new(20_780));
/// let last_hour = period.end(&service).saturating_sub(OVERLAP / 2);
/// assert_eq!(v2::TimePeriod::published(&service, last_hour).count(), 2);
/// ```
pub const OVERLAP: Duration = Duration::from_secs(60 * 60);

/// Number of descriptors that a service has in one time period
/// (`REND_NUMBER_OF_NON_CONSECUTIVE_REPLICAS`, core/or/or.h:349).
///
/// ```
/// use onionweave_ring::v2::{REPLICAS, Replica};
///
/// assert_eq!(Replica::ALL.len(), REPLICAS);
/// ```
pub const REPLICAS: usize = Replica::ALL.len();

/// Number of directories in a row that hold one descriptor (`REND_NUMBER_OF_CONSECUTIVE_REPLICAS`,
/// core/or/or.h:352).
///
/// ```
/// use onionweave_ring::v2::{DIRECTORIES_PER_REPLICA, DescriptorId};
/// use onionweave_ring::{Fingerprint, HashRing};
///
/// let ring = HashRing::new((0..=255).map(|byte| Fingerprint::from([byte; 20])));
/// assert_eq!(DescriptorId::from([7; 20]).responsible(&ring).count(), DIRECTORIES_PER_REPLICA);
/// ```
pub const DIRECTORIES_PER_REPLICA: usize = 3;
