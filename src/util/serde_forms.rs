//! Serde forms of times (seconds) and environment variables (a map).

use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration as whole seconds.
pub(crate) mod whole_seconds {
    use super::{Deserialize, Deserializer, Duration, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        time.as_secs().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Ok(Duration::from_secs(u64::deserialize(deserializer)?))
    }
}

/// An optional duration as whole seconds.
pub(crate) mod seconds {
    use super::{Deserialize, Deserializer, Duration, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        time.map(|time| time.as_secs()).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_secs))
    }
}

/// A point in time as whole seconds since 1970.
pub(crate) mod moment {
    use super::{Deserializer, Serializer, SystemTime, since_1970};
    use serde::de::Error as _;

    pub(crate) fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        since_1970::serialize(&Some(*time), serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        since_1970::deserialize(deserializer)?.ok_or_else(|| D::Error::custom("expected seconds since 1970"))
    }
}

/// An optional point in time as whole seconds since 1970.
pub(crate) mod since_1970 {
    use super::{Deserialize, Deserializer, Duration, Serialize, Serializer, SystemTime};
    use serde::de::Error as _;

    pub(crate) fn serialize<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = time.map(|time| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs());
        seconds.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SystemTime>, D::Error> {
        let since = |seconds| {
            let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
            time.ok_or_else(|| D::Error::custom(format!("{seconds} seconds since 1970 are too many")))
        };
        Option::<u64>::deserialize(deserializer)?.map(since).transpose()
    }
}

/// A list of names and values as a map that keeps their order.
pub(crate) mod map {
    use super::{Deserializer, PhantomData, Serializer, Variables};

    pub(crate) fn serialize<S: Serializer>(pairs: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(pairs.iter().map(|(name, value)| (name, value)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, String)>, D::Error> {
        deserializer.deserialize_map(Variables(PhantomData))
    }
}

struct Variables(PhantomData<()>);

impl<'de> Visitor<'de> for Variables {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from names to texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs: Self::Value = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, String>()? {
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(A::Error::custom(format!("duplicate name {name:?}")));
            }
            pairs.push((name, value));
        }
        Ok(pairs)
    }
}
