//! Forms in which values of this crate are serialized, where the derived one does not do.

/// A map whose keys are no strings, as a list of pairs: formats like JSON have only strings as
/// keys.
pub(crate) mod as_list {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub(crate) fn deserialize<'de, K, V, D>(from: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(from)?.into_iter().collect())
    }
}

/// Weights as whole numbers.
pub(crate) mod weights {
    use std::collections::BTreeMap;

    use onionweave_assign::Weight;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::InstanceName;

    pub(crate) fn serialize<S: Serializer>(weights: &BTreeMap<InstanceName, Weight>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(weights.iter().map(|(name, weight)| (name, weight.as_u32())))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<InstanceName, Weight>, D::Error> {
        let numbers = BTreeMap::<InstanceName, u32>::deserialize(from)?;
        let weight = |(name, number)| Ok((name, Weight::try_from(number)?));
        let weights: Result<_, onionweave_assign::Error> = numbers.into_iter().map(weight).collect();
        weights.map_err(serde::de::Error::custom)
    }
}
