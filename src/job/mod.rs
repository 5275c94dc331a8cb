//! [`JobId`] and [`JobInfo`].

pub(crate) mod status;

use std::borrow::Borrow;
use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

pub use self::status::{ARC_STATUS_MAPPING, ArcState, JobStatus, ParseJobStatusError};
use crate::ffi::JobRecord;

/// The id of a job, as the CE gave it: a URL such as `https://ce.example.org:443/arex/rest/1.0/jobs/0a1b2c`.
///
/// It is made from any string. One that is not an id of the CE in use (another host or port, say, even if that is the same
/// machine by another name) or that the CE does not know is [`Error::JobNotFound`](crate::Error::JobNotFound). The two forms of one job's id on an ARC-CE
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

    /// The id as a `String`, without copying it.
    pub fn into_string(self) -> String {
        self.0
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

impl Borrow<str> for JobId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<String> for JobId {
    fn from(id: String) -> Self {
        JobId(id)
    }
}

impl From<&str> for JobId {
    fn from(id: &str) -> Self {
        JobId(id.to_owned())
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.0
    }
}

impl std::str::FromStr for JobId {
    type Err = std::convert::Infallible;

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        Ok(id.into())
    }
}

/// What an ARC-CE tells of a job: its GLUE2 `ComputingActivity`.
///
/// What the CE does not tell is `None` or empty. An ARC-CE refreshes most of this about once a minute; with the REST
/// interface the state, and the exit code and errors of a job that has ended, are as they are now.
///
/// ```no_run
/// # fn main() -> jasmin_arc::Result<()> {
/// use jasmin_arc::{ArcInterface, JobId};
///
/// let arc = ArcInterface::from_file("config.json")?;
/// let info = arc.job(&JobId::from("https://ce.example.org:443/arex/rest/1.0/jobs/0a1b2c"))?;
/// println!("{} is {} in the queue {:?}, exit code {:?}", info.id, info.state, info.queue, info.exit_code);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JobInfo {
    /// The id that the job was asked for by.
    pub id: JobId,
    /// ARC's general state.
    pub state: ArcState,
    /// The state in the words of the interface, such as `INLRMS`.
    pub native_state: String,
    /// The name given in the job description. ARC's client classes (`INTERFACE` other than arcrest) do not tell it.
    pub name: Option<String>,
    /// The distinguished name of the job's owner.
    pub owner: Option<String>,
    /// The account on the cluster under which it runs.
    pub local_owner: Option<String>,
    /// Its id in the batch system.
    pub local_job_id: Option<String>,
    /// The queue of the batch system.
    pub queue: Option<String>,
    /// The exit code of the executable, once it has ended.
    pub exit_code: Option<i32>,
    /// Why it failed.
    pub errors: Vec<String>,
    /// What else the CE has to say.
    pub messages: Vec<String>,
    /// The hosts it ran on.
    pub execution_nodes: Vec<String>,
    /// The file in the session directory that standard input is read from.
    pub stdin: Option<String>,
    /// The file in the session directory that standard output goes to.
    pub stdout: Option<String>,
    /// The file in the session directory that standard error goes to.
    pub stderr: Option<String>,
    /// Its place in the queue, counted from 1.
    pub waiting_position: Option<u32>,
    /// The number of slots asked for.
    pub requested_slots: Option<u32>,
    /// The limit of wall time asked for, times the number of slots.
    pub requested_wall_time: Option<Duration>,
    /// The limit of CPU time asked for.
    pub requested_cpu_time: Option<Duration>,
    /// Wall time used.
    pub used_wall_time: Option<Duration>,
    /// CPU time used.
    pub used_cpu_time: Option<Duration>,
    /// Memory used, in bytes. GLUE2 counts whole MB.
    pub used_memory: Option<u64>,
    /// When the CE took it.
    pub submission_time: Option<SystemTime>,
    /// When it began to run.
    pub start_time: Option<SystemTime>,
    /// When it ended.
    pub end_time: Option<SystemTime>,
    /// When the CE will delete its session directory.
    pub erase_time: Option<SystemTime>,
    /// When its credentials on the CE expire.
    pub proxy_expiration_time: Option<SystemTime>,
}

impl JobInfo {
    /// The status, by the table at [`JobStatus`].
    pub fn status(&self) -> JobStatus {
        self.state.into()
    }

    pub(crate) fn new(id: JobId, record: JobRecord) -> JobInfo {
        let text = |text: String| Some(text).filter(|text| !text.is_empty());
        let count = |number: i32| u32::try_from(number).ok();
        let seconds = |seconds: i64| u64::try_from(seconds).ok().map(Duration::from_secs);
        let time = |at: i64| seconds(at).map(|since| SystemTime::UNIX_EPOCH + since);
        JobInfo {
            id,
            state: ArcState::from(record.state.as_str()),
            native_state: record.native_state,
            name: text(record.name),
            owner: text(record.owner),
            local_owner: text(record.local_owner),
            local_job_id: text(record.local_id),
            queue: text(record.queue),
            exit_code: Some(record.exit_code).filter(|code| *code >= 0),
            errors: record.errors,
            messages: record.messages,
            execution_nodes: record.execution_nodes,
            stdin: text(record.stdin),
            stdout: text(record.stdout),
            stderr: text(record.stderr),
            waiting_position: count(record.waiting_position),
            requested_slots: count(record.requested_slots),
            requested_wall_time: seconds(record.requested_wall_time),
            requested_cpu_time: seconds(record.requested_cpu_time),
            used_wall_time: seconds(record.used_wall_time),
            used_cpu_time: seconds(record.used_cpu_time),
            used_memory: u64::try_from(record.used_memory).ok().map(|megabytes| megabytes * 1024 * 1024),
            submission_time: time(record.submission_time),
            start_time: time(record.start_time),
            end_time: time(record.end_time),
            erase_time: time(record.erase_time),
            proxy_expiration_time: time(record.proxy_expiration_time),
        }
    }
}
