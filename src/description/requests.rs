//! Types of the fields of a description: runtime environments, notifications and delegation.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::util::names::{self, Named};

/// A runtime environment (RTE) that is installed on the CE, with options for this job.
///
/// The text form is the name, followed by a dash and the version:
///
/// ```
/// use jasmin_arc::RuntimeEnvironment;
///
/// let rte = RuntimeEnvironment::new("APPS/HEP/ATLAS-21.0").with_option("quick");
/// assert_eq!((rte.name(), rte.version()), ("APPS/HEP/ATLAS", Some("21.0")));
/// assert_eq!(rte.to_string(), "APPS/HEP/ATLAS-21.0");
/// ```
///
/// # Serde form
///
/// An object with `name` (without the version), `version` and `options` (a list); only `name` is required.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[must_use = "the `with_` methods return the changed value"]
pub struct RuntimeEnvironment {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    options: Vec<String>,
}

impl RuntimeEnvironment {
    /// Creates a runtime environment from its name, which may end with a version.
    ///
    /// The version begins after the first dash that a digit follows, as in ARC (`Arc::Software`): `A-B-1-2` is version
    /// `1-2` of `A-B`, and `ENV/PROXY` has no version.
    pub fn new(name: impl Into<String>) -> RuntimeEnvironment {
        let mut name = name.into();
        let dash = name
            .match_indices('-')
            .map(|(dash, _)| dash)
            .find(|dash| name.as_bytes().get(dash + 1).is_some_and(u8::is_ascii_digit));
        let version = dash.map(|dash| {
            let version = name[dash + 1..].to_owned();
            name.truncate(dash);
            version
        });
        RuntimeEnvironment { name, version, options: Vec::new() }
    }

    /// Adds an option, which the CE passes to the script of the runtime environment as an argument.
    pub fn with_option(mut self, option: impl Into<String>) -> Self {
        self.options.push(option.into());
        self
    }

    /// The name, without the version.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version, if any.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// The options, in the order in which they were added.
    pub fn options(&self) -> &[String] {
        &self.options
    }

    pub(crate) fn from_parts(name: String, version: String, options: Vec<String>) -> Self {
        RuntimeEnvironment { name, version: (!version.is_empty()).then_some(version), options }
    }
}

/// Never fails: see [`RuntimeEnvironment::new`].
impl FromStr for RuntimeEnvironment {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Ok(RuntimeEnvironment::new(name))
    }
}

impl fmt::Display for RuntimeEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.version.iter().try_for_each(|version| write!(f, "-{version}"))
    }
}

/// An e-mail address, and the states of the job at which the CE sends a message to it.
///
/// ```
/// use jasmin_arc::{JobDescription, Notification, NotificationState};
///
/// let states = [NotificationState::InLrms, NotificationState::Finished];
/// let job = JobDescription::new("/bin/true").with_notification(Notification::new("me@example.org", states));
/// ```
///
/// # Serde form
///
/// An object with `email` and `states` (a list of names such as `"FINISHED"`), both required.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notification {
    email: String,
    states: Vec<NotificationState>,
}

impl Notification {
    /// Requests a message to `email` when the job reaches one of `states`.
    ///
    /// A description is [valid](crate::JobDescription::validate) only if each notification has at least one state and
    /// contains no state twice.
    pub fn new(email: impl Into<String>, states: impl IntoIterator<Item = NotificationState>) -> Self {
        Notification { email: email.into(), states: states.into_iter().collect() }
    }

    /// The address that the CE writes to.
    pub fn email(&self) -> &str {
        &self.email
    }

    /// The states at which the CE sends a message.
    pub fn states(&self) -> &[NotificationState] {
        &self.states
    }
}

/// A state of a job in A-REX at which the CE can send a message.
///
/// These are the states of A-REX's grid manager, with its names for them (`"INLRMS"`), not those of
/// [`ArcState`](crate::ArcState).
///
/// ```
/// use jasmin_arc::NotificationState;
///
/// assert_eq!("INLRMS".parse(), Ok(NotificationState::InLrms));
/// assert_eq!(NotificationState::InLrms.to_string(), "INLRMS");
/// ```
///
/// # Serde form
///
/// The name, in capitals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotificationState {
    /// `PREPARING`: the CE fetches the input files.
    Preparing,
    /// `INLRMS`: the job is in the batch system.
    InLrms,
    /// `FINISHING`: the CE uploads the output files.
    Finishing,
    /// `FINISHED`: the job has ended.
    Finished,
    /// `CANCELING`: the job is being cancelled.
    ///
    /// Only xRSL and JSDL can express this. Jobs are submitted as ADL, so submitting one with this state is
    /// [`Error::InvalidJobDescription`](crate::Error::InvalidJobDescription).
    Canceling,
    /// `DELETED`: the job has been removed from the CE.
    ///
    /// Submitting a job with this state is an error, for the same reason as with [`Canceling`](Self::Canceling).
    Deleted,
}

impl NotificationState {
    /// Returns A-REX's name of the state.
    pub const fn as_str(self) -> &'static str {
        match self {
            NotificationState::Preparing => "PREPARING",
            NotificationState::InLrms => "INLRMS",
            NotificationState::Finishing => "FINISHING",
            NotificationState::Finished => "FINISHED",
            NotificationState::Canceling => "CANCELING",
            NotificationState::Deleted => "DELETED",
        }
    }
}

impl Named for NotificationState {
    const ALL: &'static [Self] = &[
        NotificationState::Preparing,
        NotificationState::InLrms,
        NotificationState::Finishing,
        NotificationState::Finished,
        NotificationState::Canceling,
        NotificationState::Deleted,
    ];

    fn name(self) -> &'static str {
        self.as_str()
    }
}

impl fmt::Display for NotificationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Reads A-REX's name of a state, in capitals.
impl FromStr for NotificationState {
    type Err = ParseNotificationStateError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::from_name(name).ok_or_else(|| ParseNotificationStateError(name.into()))
    }
}

/// The error of parsing a [`NotificationState`] from text that is not the name of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a notification state: use one of {names}", names = NotificationState::all_names())]
pub struct ParseNotificationStateError(String);

impl Serialize for NotificationState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for NotificationState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        names::deserialize(deserializer)
    }
}

/// Whether a job gets a delegation, a proxy certificate on the CE that lets the CE act for you.
///
/// The CE needs a delegation to fetch input files from servers that require credentials, and to upload output files to
/// them. Creating one takes the CE about half a second. All jobs share one delegation until shortly before it expires.
///
/// Set it for an interface with the configuration key `DELEGATION`
/// ([`ConnectionConfig::with_delegation`](crate::ConnectionConfig::with_delegation)), and for a job with
/// [`JobDescription::with_delegation`](crate::JobDescription::with_delegation):
///
/// | `DELEGATION` | job with `Auto`                      | job with `Always` | job with `Never` |
/// |--------------|--------------------------------------|-------------------|------------------|
/// | `Auto`       | if the CE stages files for it by URL | yes               | no               |
/// | `Always`     | yes                                  | yes               | yes              |
/// | `Never`      | no                                   | no                | no               |
///
/// The CE stages files by URL if the job has an input with a URL, an output with a URL, or a list of outputs.
///
/// The REST interface uses this setting, and so does [`Protocol::ArcRestPlugin`](crate::Protocol::ArcRestPlugin) with an ARC 7
/// client. Otherwise ARC's client library creates a delegation for each job.
///
/// # Serde form
///
/// `"auto"`, `"always"` or `"never"`, as in the configuration file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Delegation {
    /// `auto`: the jobs that need a delegation.
    #[default]
    Auto,
    /// `always`: every job, or this job.
    Always,
    /// `never`: no job, or not this job.
    Never,
}

impl Delegation {
    /// Returns the name in the configuration file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Delegation::Auto => "auto",
            Delegation::Always => "always",
            Delegation::Never => "never",
        }
    }

    /// Whether this is the default, which serde omits.
    pub(super) fn is_auto(&self) -> bool {
        *self == Delegation::Auto
    }
}

impl Named for Delegation {
    const ALL: &'static [Self] = &[Delegation::Auto, Delegation::Always, Delegation::Never];

    fn name(self) -> &'static str {
        self.as_str()
    }
}

impl fmt::Display for Delegation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Reads `auto`, `always` or `never`.
impl FromStr for Delegation {
    type Err = ParseDelegationError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::from_name(name).ok_or_else(|| ParseDelegationError(name.into()))
    }
}

/// The error of parsing a [`Delegation`] from text other than `auto`, `always` and `never`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a delegation setting: use one of {names}", names = Delegation::all_names())]
pub struct ParseDelegationError(String);

impl Serialize for Delegation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Delegation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        names::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn versions_begin_where_arc_expects_them() {
        for (text, name, version) in [
            ("A", "A", None),
            ("A-", "A-", None),
            ("A-x-1", "A-x", Some("1")),
            ("-1", "", Some("1")),
            ("A/B-1.2-3", "A/B", Some("1.2-3")),
            ("é-1", "é", Some("1")),
        ] {
            let rte: RuntimeEnvironment = text.parse().unwrap();
            assert_eq!(rte, RuntimeEnvironment::new(text));
            assert_eq!((rte.name(), rte.version(), rte.to_string().as_str()), (name, version, text));
        }
    }

    /// Every value has the same name as text and in JSON.
    fn check_names<T>(not_a_name: &str)
    where
        T: Named + FromStr<Err: fmt::Display> + fmt::Display + fmt::Debug + PartialEq,
        T: Serialize + for<'de> Deserialize<'de>,
    {
        for value in T::ALL {
            let name = value.name();
            assert_eq!((name.parse().ok(), value.to_string().as_str()), (Some(*value), name));
            assert_eq!(serde_json::to_string(&value).unwrap(), format!("{name:?}"));
            assert_eq!(serde_json::from_str::<T>(&format!("{name:?}")).unwrap(), *value);
        }
        let error = not_a_name.parse::<T>().err().unwrap().to_string();
        assert!(error.contains(&format!("{not_a_name:?} is not a ")) && error.contains(&T::all_names()), "{error}");
        let error = serde_json::from_str::<T>("5").unwrap_err().to_string();
        assert!(error.contains(&format!("expected one of {}", T::all_names())), "{error}");
    }

    #[test]
    fn values_have_one_name_each() {
        check_names::<NotificationState>("finished");
        check_names::<Delegation>("Always");
    }
}
