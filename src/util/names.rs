//! Enums whose values have names in text and in serde forms.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserializer;
use serde::de::{Error, Unexpected, Visitor};

/// An enum whose values have names.
pub(crate) trait Named: Copy + 'static {
    /// All values, in the order in which messages list their names.
    const ALL: &'static [Self];

    /// The name, which no other value has.
    fn name(self) -> &'static str;

    /// The value called `name`; upper and lower case differ.
    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|value| value.name() == name)
    }

    /// All names, separated by commas.
    fn all_names() -> String {
        Self::ALL.iter().map(|value| value.name()).collect::<Vec<_>>().join(", ")
    }
}

/// Reads a value from its name.
///
/// Derived implementations also accept an object and describe a wrong type only as "expected value".
pub(crate) fn deserialize<'de, D: Deserializer<'de>, T: Named>(deserializer: D) -> Result<T, D::Error> {
    struct Name<T>(PhantomData<T>);

    impl<T: Named> Visitor<'_> for Name<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "one of {}", T::all_names())
        }

        fn visit_str<E: Error>(self, name: &str) -> Result<T, E> {
            T::from_name(name).ok_or_else(|| E::invalid_value(Unexpected::Str(name), &self))
        }
    }

    deserializer.deserialize_str(Name(PhantomData))
}
