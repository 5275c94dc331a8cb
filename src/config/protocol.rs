//! [`Protocol`]: the values of the key `INTERFACE`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::util::names::{self, Named};

/// The protocol between this crate and the CE, the value of the configuration key `INTERFACE`.
///
/// The form in JSON and in text is ARC's name of the interface, except for [`Auto`](Self::Auto) and
/// [`ArcRestPlugin`](Self::ArcRestPlugin).
///
/// ```
/// use jasmin_arc::{ConnectionConfig, Protocol};
///
/// let config = ConnectionConfig::from_json(r#"{"INTERFACE": "org.nordugrid.arcrest"}"#)?;
/// assert_eq!(config.interface(), Protocol::ArcRest);
/// assert_eq!("org.nordugrid.arcrest".parse(), Ok(Protocol::ArcRest));
/// # Ok::<(), jasmin_arc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// `auto`: REST if the CE offers it, otherwise EMI-ES. A CE that offers only versions of REST that this crate does not
    /// know is used as with [`ArcRestPlugin`](Self::ArcRestPlugin).
    #[default]
    Auto,
    /// `org.nordugrid.arcrest`: ARC's REST interface, which every current CE offers. This crate speaks versions 1.0 and 1.1
    /// of it itself.
    ArcRest,
    /// `arcrest-plugin`: ARC's REST interface, spoken by the plugin of the installed ARC client. It is slower than
    /// [`ArcRest`](Self::ArcRest) and offers less. It is there for CEs whose version of REST only the installed ARC knows.
    /// What this documentation says of EMI-ES also holds for it.
    ArcRestPlugin,
    /// `org.ogf.glue.emies.activitycreation`: EMI-ES, for old CEs. ARC 7 does not have it.
    EmiEs,
}

impl Protocol {
    /// Returns the name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Protocol::Auto => "auto",
            Protocol::ArcRest => "org.nordugrid.arcrest",
            Protocol::ArcRestPlugin => "arcrest-plugin",
            Protocol::EmiEs => "org.ogf.glue.emies.activitycreation",
        }
    }
}

impl Named for Protocol {
    const ALL: &'static [Self] = &[Protocol::Auto, Protocol::ArcRest, Protocol::ArcRestPlugin, Protocol::EmiEs];

    fn name(self) -> &'static str {
        self.as_str()
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The error of parsing a [`Protocol`] from text that is not the name of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not an interface; use one of {names}", names = Protocol::all_names())]
pub struct ParseProtocolError {
    given: String,
}

impl FromStr for Protocol {
    type Err = ParseProtocolError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::from_name(name).ok_or_else(|| ParseProtocolError { given: name.to_owned() })
    }
}

impl Serialize for Protocol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Protocol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        names::deserialize(deserializer)
    }
}
