//! serde: values as they are written to configurations and snapshots, checked when they are read.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Load, Mix, Plan, Relay, Round, Slot};

impl Serialize for Relay {
    /// Writes the relay as text, in every format.
    fn serialize<W: Serializer>(&self, serializer: W) -> Result<W::Ok, W::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Relay {
    fn deserialize<R: Deserializer<'de>>(deserializer: R) -> Result<Self, R::Error> {
        String::deserialize(deserializer)?.parse().map_err(R::Error::custom)
    }
}

impl Serialize for Load {
    fn serialize<W: Serializer>(&self, serializer: W) -> Result<W::Ok, W::Error> {
        serializer.serialize_f64(self.as_f64())
    }
}

impl<'de> Deserialize<'de> for Load {
    fn deserialize<R: Deserializer<'de>>(deserializer: R) -> Result<Self, R::Error> {
        Self::new(f64::deserialize(deserializer)?).map_err(R::Error::custom)
    }
}

/// Slot in its written form.
#[derive(Serialize, Deserialize)]
struct WrittenSlot<S> {
    id: S,
    replica: u8,
    read_share: f64,
}

impl<S: Serialize> Serialize for Slot<S> {
    fn serialize<W: Serializer>(&self, serializer: W) -> Result<W::Ok, W::Error> {
        let (id, replica, read_share) = (self.id(), self.replica(), self.read_share());
        WrittenSlot {
            id,
            replica,
            read_share,
        }
        .serialize(serializer)
    }
}

impl<'de, S: Deserialize<'de>> Deserialize<'de> for Slot<S> {
    fn deserialize<R: Deserializer<'de>>(deserializer: R) -> Result<Self, R::Error> {
        let slot = WrittenSlot::deserialize(deserializer)?;
        Self::new(slot.id, slot.replica, slot.read_share).map_err(R::Error::custom)
    }
}

/// Point of a descriptor in its written form.
#[derive(Serialize, Deserialize)]
struct WrittenPoint<I> {
    relay: Relay,
    instance: I,
}

impl<I: Serialize> Serialize for Mix<I> {
    /// Writes a list of points.
    fn serialize<W: Serializer>(&self, serializer: W) -> Result<W::Ok, W::Error> {
        serializer.collect_seq(self.points().map(|(relay, instance)| WrittenPoint { relay, instance }))
    }
}

impl<'de, I: Deserialize<'de>> Deserialize<'de> for Mix<I> {
    /// Refuses two points at one relay.
    fn deserialize<R: Deserializer<'de>>(deserializer: R) -> Result<Self, R::Error> {
        let points = Vec::<WrittenPoint<I>>::deserialize(deserializer)?;
        let count = points.len();
        let mix: Self = points.into_iter().map(|point| (point.relay, point.instance)).collect();
        if mix.len() < count {
            return Err(R::Error::custom("a descriptor has two points at one relay"));
        }
        Ok(mix)
    }
}

/// Plan in its written form.
#[derive(Serialize, Deserialize)]
struct WrittenPlan<T> {
    round: Round,
    slots: Vec<T>,
}

/// Slot of a plan in its written form.
#[derive(Serialize, Deserialize)]
struct Filled<S, M> {
    slot: S,
    points: M,
}

impl<I: Serialize + Ord, S: Serialize + Ord> Serialize for Plan<I, S> {
    /// Writes the slots as a list, since the keys of a map must be text in some formats.
    fn serialize<W: Serializer>(&self, serializer: W) -> Result<W::Ok, W::Error> {
        let slots = self.slots().map(|(slot, points)| Filled { slot, points });
        WrittenPlan {
            round: self.round(),
            slots: slots.collect(),
        }
        .serialize(serializer)
    }
}

impl<'de, I: Deserialize<'de> + Ord, S: Deserialize<'de> + Ord> Deserialize<'de> for Plan<I, S> {
    /// Refuses a plan without slots, a slot without points, and a slot that is named twice.
    fn deserialize<R: Deserializer<'de>>(deserializer: R) -> Result<Self, R::Error> {
        let plan = WrittenPlan::<Filled<S, Mix<I>>>::deserialize(deserializer)?;
        let count = plan.slots.len();
        let slots = plan.slots.into_iter().map(|filled| (filled.slot, filled.points));
        let read = Self::new(plan.round, slots.collect()).map_err(R::Error::custom)?;
        if read.slots().len() < count {
            return Err(R::Error::custom("a plan names a slot twice"));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_str, json, to_value};

    use super::*;
    use crate::{Instance, Measured, Outlook, PolicyName, Weight};

    type TestPlan = Plan<String, u8>;

    fn plan() -> TestPlan {
        let instances = [Instance::new("a".to_owned(), (1..=2).map(Relay::new))];
        let slots = Slot::even([(7, 0), (8, 1)]);
        let policy = PolicyName::Mixed.policy();
        policy.plan(&instances, &slots, None, Round::new(3, 4)).unwrap()
    }

    #[test]
    fn values_survive_being_written() {
        let plan = plan();
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(from_str::<TestPlan>(&text).unwrap(), plan);
        let point = |relay: u128| json!({ "relay": Relay::new(relay).to_string(), "instance": "a" });
        let points = [point(1), point(2)];
        let expected = json!({
            "round": { "number": 3, "seed": 4 },
            "slots": [{ "slot": 7, "points": points }, { "slot": 8, "points": points }],
        });
        assert_eq!(to_value(&plan).unwrap(), expected);

        let slot = Slot::new(7_u8, 1, 0.25).unwrap();
        assert_eq!(
            from_str::<Slot<u8>>(&serde_json::to_string(&slot).unwrap()).unwrap(),
            slot
        );
        let instance = Instance::new(7_u8, [Relay::new(u128::MAX)]);
        let text = serde_json::to_string(&instance).unwrap();
        assert_eq!(from_str::<Instance<u8>>(&text).unwrap(), instance);
        let measured = Measured::new(7_u8, Weight::ONE, Load::new(0.5).ok());
        let text = serde_json::to_string(&measured).unwrap();
        assert_eq!(from_str::<Measured<u8>>(&text).unwrap(), measured);
        for &name in PolicyName::ALL {
            assert_eq!(to_value(name).unwrap(), name.as_str());
            assert_eq!(from_str::<PolicyName>(&format!("\"{name}\"")).unwrap(), name);
        }
        let outlook = plan.with_any_dead(1, &Slot::even([(7, 0), (8, 1)]));
        let text = serde_json::to_string(&outlook).unwrap();
        assert_eq!(from_str::<Outlook>(&text).unwrap(), outlook);
    }

    #[test]
    fn values_are_checked_when_they_are_read() {
        assert!(from_str::<Weight>("4294967295").is_ok());
        for bad in ["0", "-1", "1.5", "4294967296"] {
            assert!(from_str::<Weight>(bad).is_err(), "{bad}");
        }
        assert!(from_str::<Load>("-0.5").is_err());
        assert!(from_str::<Slot<u8>>(r#"{"id":1,"replica":0,"read_share":1.5}"#).is_err());
        assert!(from_str::<Relay>(r#""ab""#).is_err());

        let written = to_value(plan()).unwrap();
        let refused = |change: fn(&mut Vec<serde_json::Value>)| {
            let mut bad = written.clone();
            change(bad["slots"].as_array_mut().unwrap());
            serde_json::from_value::<TestPlan>(bad).unwrap_err().to_string()
        };
        assert_eq!(refused(Vec::clear), "there is no slot to fill");
        let empty = refused(|slots| slots[1]["points"] = json!([]));
        assert_eq!(empty, "slot 1 (counted from 0) would hold no introduction point");
        let twice = refused(|slots| slots.push(slots[0].clone()));
        assert_eq!(twice, "a plan names a slot twice");
        let crowded = refused(|slots| {
            let points = slots[0]["points"].as_array_mut().unwrap();
            points.push(points[0].clone());
        });
        assert_eq!(crowded, "a descriptor has two points at one relay");
    }
}
