//! The wanted ring as a value: all that passes from the planner down to the reconciler.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use onionweave_ring::{DescriptorId, UnixTime};

use crate::version::Point;
use crate::{Cause, SlotId};

/// The texts that the slots of one service are to hold.
///
/// Each change has a number. A reader that remembers the last number it saw finds what is new since
/// then.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Wanted {
    /// Number of the last change of texts.
    pub revision: u64,
    /// The reasons for the last change of texts.
    pub causes: BTreeSet<Cause>,
    /// The slots of the service.
    #[cfg_attr(feature = "serde", serde(with = "crate::serialized::as_list"))]
    pub targets: BTreeMap<SlotId, Target>,
}

/// The text that one slot is to hold.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Target {
    /// The name under which the directory keeps the text.
    pub descriptor_id: DescriptorId,
    /// Part of the clients, from 0 to 1, that read this slot among those of its period.
    pub read_share: f64,
    /// The last text that could be written; `None` as long as there is none.
    pub text: Option<Text>,
    /// The reason why the newest text could not be written, if it could not.
    pub unwritable: Option<String>,
    /// Number of the change in which the text was written last, or could not be written.
    pub revised: u64,
}

/// A signed text, and what stands in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Text {
    /// The bytes that the directory receives.
    pub bytes: Arc<[u8]>,
    /// The publication time.
    pub stamp: UnixTime,
    /// The points in canonical order. Texts with the same points and time differ only in their
    /// variant.
    pub points: Vec<Point>,
    /// The number of the variant.
    pub variant: u64,
}

impl Target {
    pub(crate) const fn new(descriptor_id: DescriptorId, read_share: f64) -> Self {
        Self {
            descriptor_id,
            read_share,
            text: None,
            unwritable: None,
            revised: 0,
        }
    }

    /// The bytes that the directory receives; none as long as there is no text.
    pub fn bytes(&self) -> &[u8] {
        self.text.as_ref().map_or(&[], |text| &text.bytes)
    }

    /// The publication time of the text, if there is one.
    pub fn stamp(&self) -> Option<UnixTime> {
        self.text.as_ref().map(|text| text.stamp)
    }

    /// The points that the text names.
    pub fn points(&self) -> &[Point] {
        self.text.as_ref().map_or(&[], |text| &text.points)
    }
}
