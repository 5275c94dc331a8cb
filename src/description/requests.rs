//! What a description asks for, where that is more than a number or a name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const KIB: u64 = 1 << 10;

/// A number of bytes.
///
/// ```
/// use jasmin_arc::ByteSize;
///
/// assert_eq!(ByteSize::gib(2), ByteSize::new(2 * 1024 * 1024 * 1024));
/// assert_eq!([ByteSize::gib(2), ByteSize::mib(1500), ByteSize::new(7)].map(|size| size.to_string()), ["2 GiB", "1500 MiB", "7 B"]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteSize(u64);

impl ByteSize {
    /// So many bytes.
    ///
    /// ```
    /// # use jasmin_arc::ByteSize;
    /// assert_eq!(ByteSize::new(1024), ByteSize::kib(1));
    /// ```
    pub const fn new(bytes: u64) -> ByteSize {
        ByteSize(bytes)
    }

    /// So many times 1024 bytes; what is more than fits is as much as fits.
    ///
    /// ```
    /// # use jasmin_arc::ByteSize;
    /// assert_eq!(ByteSize::kib(3).get(), 3072);
    /// ```
    pub const fn kib(kib: u64) -> ByteSize {
        ByteSize(kib.saturating_mul(KIB))
    }

    /// So many times 1024 KiB; what is more than fits is as much as fits.
    ///
    /// ```
    /// # use jasmin_arc::ByteSize;
    /// assert_eq!(ByteSize::mib(1), ByteSize::kib(1024));
    /// ```
    pub const fn mib(mib: u64) -> ByteSize {
        ByteSize(mib.saturating_mul(KIB * KIB))
    }

    /// So many times 1024 MiB; what is more than fits is as much as fits.
    ///
    /// ```
    /// # use jasmin_arc::ByteSize;
    /// assert_eq!(ByteSize::gib(1), ByteSize::mib(1024));
    /// ```
    pub const fn gib(gib: u64) -> ByteSize {
        ByteSize(gib.saturating_mul(KIB * KIB * KIB))
    }

    /// How many bytes they are.
    ///
    /// ```
    /// # use jasmin_arc::ByteSize;
    /// assert_eq!(ByteSize::mib(2).get(), 2_097_152);
    /// ```
    pub const fn get(self) -> u64 {
        self.0
    }

    /// In MiB, the unit that ARC counts in, rounded up.
    pub(crate) fn in_mib(self) -> u64 {
        self.0.div_ceil(KIB * KIB)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(KIB * KIB * KIB, "GiB"), (KIB * KIB, "MiB"), (KIB, "KiB")];
        match units.into_iter().find(|(unit, _)| self.0 != 0 && self.0.is_multiple_of(*unit)) {
            Some((unit, name)) => write!(f, "{} {name}", self.0 / unit),
            None => write!(f, "{} B", self.0),
        }
    }
}

/// A runtime environment that the CE has installed: its name, its version, and options for this job.
///
/// ```
/// use jasmin_arc::RuntimeEnvironment;
///
/// let rte = RuntimeEnvironment::new("APPS/HEP/ATLAS-21.0").with_option("quick");
/// assert_eq!((rte.name(), rte.version(), rte.options()), ("APPS/HEP/ATLAS", Some("21.0"), &["quick".to_owned()][..]));
/// assert_eq!(rte.to_string(), "APPS/HEP/ATLAS-21.0");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeEnvironment {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    options: Vec<String>,
}

impl RuntimeEnvironment {
    /// The runtime environment that is called `name` on the CE, with its version: the version begins after the first dash
    /// that a digit follows, as in ARC (`Arc::Software`).
    ///
    /// ```
    /// # use jasmin_arc::RuntimeEnvironment;
    /// assert_eq!(RuntimeEnvironment::new("ENV/PROXY").version(), None);
    /// assert_eq!(RuntimeEnvironment::new("A-B-1-2").name(), "A-B");
    /// ```
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

    /// Adds an option: an argument for the script of the runtime environment.
    ///
    /// ```
    /// # use jasmin_arc::RuntimeEnvironment;
    /// assert_eq!(RuntimeEnvironment::new("ENV/CONDOR").with_option("docker").options(), ["docker"]);
    /// ```
    #[must_use]
    pub fn with_option(mut self, option: impl Into<String>) -> Self {
        self.options.push(option.into());
        self
    }

    /// The name, without the version.
    ///
    /// ```
    /// # use jasmin_arc::RuntimeEnvironment;
    /// assert_eq!(RuntimeEnvironment::new("PYTHON-3.11").name(), "PYTHON");
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version, if there is one.
    ///
    /// ```
    /// # use jasmin_arc::RuntimeEnvironment;
    /// assert_eq!(RuntimeEnvironment::new("PYTHON-3.11").version(), Some("3.11"));
    /// ```
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// The options, in order.
    ///
    /// ```
    /// # use jasmin_arc::RuntimeEnvironment;
    /// assert!(RuntimeEnvironment::new("ENV/PROXY").options().is_empty());
    /// ```
    pub fn options(&self) -> &[String] {
        &self.options
    }

    pub(crate) fn from_parts(name: String, version: String, options: Vec<String>) -> Self {
        RuntimeEnvironment { name, version: (!version.is_empty()).then_some(version), options }
    }
}

impl fmt::Display for RuntimeEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.version.iter().try_for_each(|version| write!(f, "-{version}"))
    }
}

/// A message that the CE sends by e-mail when a job reaches a state.
///
/// ```
/// use jasmin_arc::{JobDescription, NotificationState};
///
/// let job = JobDescription::new("/bin/true").with_notification("me@example.org", [NotificationState::Finished]);
/// assert_eq!(job.notifications()[0].email(), "me@example.org");
/// assert_eq!(job.notifications()[0].states(), [NotificationState::Finished]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notification {
    pub(super) email: String,
    pub(super) states: Vec<NotificationState>,
}

impl Notification {
    pub(crate) fn new(email: String, states: Vec<NotificationState>) -> Self {
        Notification { email, states }
    }

    /// Whom the CE writes to.
    ///
    /// ```
    /// # use jasmin_arc::{JobDescription, NotificationState};
    /// let job = JobDescription::new("/bin/true").with_notification("me@example.org", [NotificationState::Finished]);
    /// assert_eq!(job.notifications()[0].email(), "me@example.org");
    /// ```
    pub fn email(&self) -> &str {
        &self.email
    }

    /// When it does.
    ///
    /// ```
    /// # use jasmin_arc::{JobDescription, NotificationState};
    /// let job = JobDescription::new("/bin/true").with_notification("me@example.org", [NotificationState::Finished]);
    /// assert_eq!(job.notifications()[0].states(), [NotificationState::Finished]);
    /// ```
    pub fn states(&self) -> &[NotificationState] {
        &self.states
    }
}

/// The states of A-REX's grid manager that an ARC-CE sends messages about.
///
/// ```
/// use jasmin_arc::NotificationState;
///
/// assert_eq!("INLRMS".parse(), Ok(NotificationState::InLrms));
/// assert_eq!(NotificationState::InLrms.to_string(), "INLRMS");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum NotificationState {
    /// Input files are being fetched.
    Preparing,
    /// The job is in the batch system.
    InLrms,
    /// Output files are being uploaded.
    Finishing,
    /// The job has ended.
    Finished,
    /// The job is being cancelled. Only xRSL can say it; a job that is submitted goes as ADL, which cannot.
    Canceling,
    /// The job has been removed. Only xRSL can say it; a job that is submitted goes as ADL, which cannot.
    Deleted,
}

impl NotificationState {
    const NAMES: [(NotificationState, &str); 6] = [
        (NotificationState::Preparing, "PREPARING"),
        (NotificationState::InLrms, "INLRMS"),
        (NotificationState::Finishing, "FINISHING"),
        (NotificationState::Finished, "FINISHED"),
        (NotificationState::Canceling, "CANCELING"),
        (NotificationState::Deleted, "DELETED"),
    ];

    /// The name that ARC gives it.
    pub(crate) fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(state, _)| *state == self).map_or("", |(_, name)| name)
    }
}

impl fmt::Display for NotificationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is not the name of a [`NotificationState`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no state that an ARC-CE sends messages about")]
pub struct ParseNotificationStateError(String);

impl FromStr for NotificationState {
    type Err = ParseNotificationStateError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::NAMES.into_iter().find(|(_, known)| *known == name);
        found.map(|(state, _)| state).ok_or_else(|| ParseNotificationStateError(name.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact_and_bounded() {
        assert_eq!(ByteSize::gib(u64::MAX).get(), u64::MAX);
        assert_eq!((ByteSize::new(0).to_string(), ByteSize::new(1025).to_string()), ("0 B".into(), "1025 B".into()));
        assert_eq!([0, 1, 1 << 20, (1 << 20) + 1].map(|bytes| ByteSize::new(bytes).in_mib()), [0, 1, 1, 2]);
        assert_eq!(serde_json::to_string(&ByteSize::kib(1)).unwrap(), "1024");
    }

    #[test]
    fn versions_begin_where_arc_says() {
        for (text, name, version) in [
            ("A", "A", None),
            ("A-", "A-", None),
            ("A-x-1", "A-x", Some("1")),
            ("-1", "", Some("1")),
            ("A/B-1.2-3", "A/B", Some("1.2-3")),
            ("é-1", "é", Some("1")),
        ] {
            let rte = RuntimeEnvironment::new(text);
            assert_eq!((rte.name(), rte.version(), rte.to_string().as_str()), (name, version, text));
        }
    }

    #[test]
    fn every_state_has_its_name() {
        for (state, name) in NotificationState::NAMES {
            assert_eq!((name.parse(), state.to_string().as_str()), (Ok(state), name));
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("{name:?}"));
        }
        assert!("finished".parse::<NotificationState>().is_err());
    }
}
