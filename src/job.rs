//! [`JobId`] and [`JobInfo`].

use std::fmt;

use serde::{Deserialize, Serialize};

/// The id of a job, as the CE gave it: a URL such as `https://ce.example.org:443/arex/rest/1.0/jobs/0a1b2c`.
///
/// It is made from any string: whether the CE knows a job by it only the CE can tell, and says so with
/// [`Error::JobNotFound`](crate::Error::JobNotFound). The two forms of one job's id on an ARC-CE
/// (`.../arex/rest/1.0/jobs/ID` and `.../arex/ID`) and the bare `ID` all name the same job.
///
/// ```
/// use jasmin_arc::JobId;
///
/// let id = JobId::from("https://ce.example.org:443/arex/rest/1.0/jobs/0a1b2c");
/// assert_eq!(id.to_string(), "https://ce.example.org:443/arex/rest/1.0/jobs/0a1b2c");
/// assert_eq!(id.local_id(), "0a1b2c");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(String);

impl JobId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last component: the job's name in the CE's own files (its session directory, for instance).
    pub fn local_id(&self) -> &str {
        let path = self.0.trim_end_matches('/');
        path.rsplit('/').next().unwrap_or(path)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for JobId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<S: Into<String>> From<S> for JobId {
    fn from(id: S) -> Self {
        JobId(id.into())
    }
}

impl std::str::FromStr for JobId {
    type Err = std::convert::Infallible;

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        Ok(id.into())
    }
}
