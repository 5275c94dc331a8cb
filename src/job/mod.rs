//! [`JobId`], [`JobInfo`], [`JobState`] and [`SavedOutputs`].

pub(crate) mod diagnostics;
pub(crate) mod failure;
mod fetched;
mod files;
mod filter;
mod outputs;
pub(crate) mod status;

use std::borrow::Borrow;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

pub use self::diagnostics::{
    DiagnosticPart, DiagnosticText, JobDiagnostics, LoggedChange, ResourceUsage, StagedFile, StagingState,
    TransferredFile,
};
pub use self::failure::FailureReason;
pub use self::fetched::{Existing, FetchProgress, FetchedJob, Removal};
pub use self::files::{FilePart, JobFile, JobFiles};
pub use self::filter::JobFilter;
pub use self::outputs::{LeftOut, LeftOutReason, SavedOutputs};
pub use self::status::{ARC_STATUS_MAPPING, ArcState, Freshness, JobState, JobStatus, ParseJobStatusError};
use crate::util::byte_size::ByteSize;
use crate::util::serde_forms;

/// The id of a job, a URL that the CE assigns, such as `https://ce.example.org:443/arex/rest/1.0/jobs/0a1b2c`.
///
/// Any string converts to a `JobId`. Methods that take the id check it, and return
/// [`Error::JobNotFound`](crate::Error::JobNotFound) if it belongs to another CE or the CE does not know it. The host
/// and port in the id must be those of `ARC_SERVER`: another host name of the same machine counts as another CE.
///
/// The REST form of an id (`.../arex/rest/1.0/jobs/ID`), the EMI-ES form (`.../arex/ID`) and the bare `ID` name the
/// same job, but are different `JobId` values.
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
    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Converts the id into a `String` without copying it.
    pub fn into_string(self) -> String {
        self.0
    }

    /// Returns the last component of the id. The CE names the job's own files by it, for example the session directory.
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

impl FromStr for JobId {
    type Err = Infallible;

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        Ok(id.into())
    }
}

/// The details of a job that an ARC-CE publishes (GLUE2's `ComputingActivity`).
///
/// A field that the CE does not publish is `None` or empty. An ARC-CE updates most fields about once a minute. Over the
/// REST interface the state is current, and so are the exit code and the errors of a job that has ended.
///
/// The serde form is an object in which only `id` and `state` are required. Points in time are whole seconds since
/// 1970, durations are whole seconds, and sizes are bytes.
///
/// ```no_run
/// # fn main() -> jasmin_arc::Result<()> {
/// use jasmin_arc::{ArcInterface, JobId};
///
/// let arc = ArcInterface::from_file("config.json")?;
/// let job = arc.job(&JobId::from("https://ce.example.org:443/arex/rest/1.0/jobs/0a1b2c"))?;
/// println!("{} is {} in queue {:?}, exit code {:?}", job.id, job.state, job.queue, job.exit_code);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JobInfo {
    /// The id that the caller passed.
    pub id: JobId,
    /// ARC's general state.
    pub state: ArcState,
    /// The state in the terms of the protocol, such as `FINISHING`.
    #[serde(default)]
    pub native_state: String,
    /// How current the state is. A [published](Freshness::Published) one is as old as [`published_at`](Self::published_at).
    #[serde(default)]
    pub freshness: Freshness,
    /// When the CE published these details. `None` if its information system has not seen the job yet, which takes up to a
    /// minute, and over protocols other than REST. The CE does not publish an ended job again.
    #[serde(default, with = "serde_forms::since_1970")]
    pub published_at: Option<SystemTime>,
    /// The states that the CE published, in the terms of several models, such as `nordugrid:INLRMS:Q`,
    /// `emies:processing-queued` and `emiesattr:client-stagein-possible`. Always empty over protocols other than REST.
    #[serde(default)]
    pub published_states: Vec<String>,
    /// The key of the submission ([`with_key`](crate::JobDescription::with_key)), or the random one that the crate chose.
    /// `None` for a job that another program submitted, and over protocols other than REST.
    #[serde(default)]
    pub key: Option<String>,
    /// The name in the job description. Always `None` over protocols other than REST.
    #[serde(default)]
    pub name: Option<String>,
    /// The job's owner: the distinguished name of a certificate, or `ISSUER/SUBJECT` of a bearer token.
    #[serde(default)]
    pub owner: Option<String>,
    /// The account on the cluster that the job runs under.
    #[serde(default)]
    pub local_owner: Option<String>,
    /// The id of the job in the batch system, while it is there. An ARC-CE does not publish it for a job that has ended:
    /// [`diagnostics`](crate::ArcInterface::diagnostics) has it, as `localid` in
    /// [`JobDiagnostics::local`](crate::JobDiagnostics::local).
    #[serde(default)]
    pub local_job_id: Option<String>,
    /// The queue of the batch system.
    #[serde(default)]
    pub queue: Option<String>,
    /// The exit code of the executable, after it has ended.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// The exit code that the batch system reports, if it is not 0. Always `None` over protocols other than REST.
    #[serde(default)]
    pub batch_exit_code: Option<i32>,
    /// The stage in which the job failed, in A-REX's words: `PREPARING`, `SUBMIT`, `INLRMS` or `FINISHING`. `None` for a job
    /// that has not failed, and over protocols other than REST.
    #[serde(default)]
    pub failed_stage: Option<String>,
    /// Why the job failed, as A-REX reports it. A-REX publishes the first 1024 bytes of these texts. A message of SLURM about
    /// too much memory, which is only in the log of the job, is added by [`job`](crate::ArcInterface::job) and
    /// [`jobs`](crate::ArcInterface::jobs). [`failure_reason`](Self::failure_reason) interprets these texts.
    #[serde(default)]
    pub errors: Vec<String>,
    /// The files that A-REX could not fetch or save, by their names in the session directory, if the job failed for that. Empty
    /// if A-REX does not tell which files. [`job`](crate::ArcInterface::job) and [`jobs`](crate::ArcInterface::jobs) look them
    /// up with a request for such a job, where the texts in `errors` have only URLs. Other methods know only the names in the
    /// texts.
    #[serde(default)]
    pub failed_files: Vec<String>,
    /// Other messages of the CE.
    #[serde(default)]
    pub messages: Vec<String>,
    /// The input files that the job waits for and that its submitter has not uploaded yet. Empty until the CE has accepted
    /// the job ([`ArcState::Accepted`]). While there are any, the job
    /// does not run, and A-REX gives up after 10 minutes. Always empty over protocols other than REST. See
    /// [`resume_uploads`](crate::ArcInterface::resume_uploads).
    #[serde(default)]
    pub missing_inputs: Vec<String>,
    /// The hosts that the job ran on.
    #[serde(default)]
    pub execution_nodes: Vec<String>,
    /// The file in the session directory that the job reads as its standard input.
    #[serde(default)]
    pub stdin: Option<String>,
    /// The file in the session directory that receives the standard output.
    #[serde(default)]
    pub stdout: Option<String>,
    /// The file in the session directory that receives the standard error.
    #[serde(default)]
    pub stderr: Option<String>,
    /// The directory in the session directory that receives A-REX's own files about the job. Always `None` over protocols
    /// other than REST.
    #[serde(default)]
    pub log_directory: Option<String>,
    /// The language in which the CE received the description: `emies:adl` or `nordugrid:xrsl`. Always `None` over protocols
    /// other than REST.
    #[serde(default)]
    pub description_language: Option<String>,
    /// The interface over which the job was submitted, such as `org.nordugrid.arcrest`. Always `None` over protocols other
    /// than REST.
    #[serde(default)]
    pub submission_interface: Option<String>,
    /// The address from which the job was submitted, as the CE saw it. Always `None` over protocols other than REST.
    #[serde(default)]
    pub submission_host: Option<String>,
    /// The runtime environments requested. Always empty over protocols other than REST.
    #[serde(default)]
    pub requested_runtime_environments: Vec<String>,
    /// The position in the queue, counted from 1. `None` for a job that runs, and for batch systems such as SLURM, of which
    /// A-REX does not know it.
    #[serde(default)]
    pub waiting_position: Option<u32>,
    /// The number of slots requested.
    #[serde(default)]
    pub requested_slots: Option<u32>,
    /// The requested limit of wall time, multiplied by the number of slots.
    #[serde(default, with = "serde_forms::seconds")]
    pub requested_wall_time: Option<Duration>,
    /// The requested limit of CPU time.
    #[serde(default, with = "serde_forms::seconds")]
    pub requested_cpu_time: Option<Duration>,
    /// The wall time used, multiplied by the number of slots, as GLUE2 defines it and an ARC-CE publishes it.
    #[serde(default, with = "serde_forms::seconds")]
    pub used_wall_time: Option<Duration>,
    /// The CPU time used.
    #[serde(default, with = "serde_forms::seconds")]
    pub used_cpu_time: Option<Duration>,
    /// The memory used, in whole MiB, the unit of GLUE2. While a job runs in SLURM, A-REX publishes a number that depends on the
    /// memory of the node instead (`SLURMmod.pm`, 6.17 and 7.0).
    #[serde(default)]
    pub used_memory: Option<ByteSize>,
    /// When the CE accepted the job.
    #[serde(default, with = "serde_forms::since_1970")]
    pub submission_time: Option<SystemTime>,
    /// When the job began to run.
    #[serde(default, with = "serde_forms::since_1970")]
    pub start_time: Option<SystemTime>,
    /// When the job ended.
    #[serde(default, with = "serde_forms::since_1970")]
    pub end_time: Option<SystemTime>,
    /// When the job left the batch system. Always `None` over protocols other than REST.
    #[serde(default, with = "serde_forms::since_1970")]
    pub batch_end_time: Option<SystemTime>,
    /// When the CE will delete the session directory.
    #[serde(default, with = "serde_forms::since_1970")]
    pub erase_time: Option<SystemTime>,
    /// When the credentials that the job came with expire: its delegation, or else the certificate of the submission. A-REX
    /// does not change this time when the delegation is renewed.
    #[serde(default, with = "serde_forms::since_1970")]
    pub proxy_expiration_time: Option<SystemTime>,
}

impl JobInfo {
    /// Creates the details of a job of which only the id is known.
    pub(crate) fn new(id: JobId) -> JobInfo {
        JobInfo {
            id,
            state: ArcState::Undefined,
            native_state: String::new(),
            freshness: Freshness::default(),
            published_at: None,
            published_states: Vec::new(),
            key: None,
            name: None,
            owner: None,
            local_owner: None,
            local_job_id: None,
            queue: None,
            exit_code: None,
            batch_exit_code: None,
            failed_stage: None,
            errors: Vec::new(),
            failed_files: Vec::new(),
            messages: Vec::new(),
            missing_inputs: Vec::new(),
            execution_nodes: Vec::new(),
            stdin: None,
            stdout: None,
            stderr: None,
            log_directory: None,
            description_language: None,
            submission_interface: None,
            submission_host: None,
            requested_runtime_environments: Vec::new(),
            waiting_position: None,
            requested_slots: None,
            requested_wall_time: None,
            requested_cpu_time: None,
            used_wall_time: None,
            used_cpu_time: None,
            used_memory: None,
            submission_time: None,
            start_time: None,
            end_time: None,
            batch_end_time: None,
            erase_time: None,
            proxy_expiration_time: None,
        }
    }

    /// Returns [`ArcState::status`] of the state.
    pub fn status(&self) -> JobStatus {
        self.state.status()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_serialised_with_seconds_and_bytes() {
        let info = JobInfo {
            name: Some("é".into()),
            used_memory: Some(ByteSize::mib(2)),
            used_wall_time: Some(Duration::from_secs(90)),
            end_time: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)),
            ..JobInfo::new("a".into())
        };
        let value = serde_json::to_value(&info).unwrap();
        assert_eq!(value["used_memory"], 2 << 20);
        assert_eq!(value["used_wall_time"], 90);
        assert_eq!(value["end_time"], 1_700_000_000);
        assert_eq!(serde_json::from_value::<JobInfo>(value).unwrap(), info);
        let least = serde_json::json!({"id": "a", "state": "Running"});
        assert_eq!(serde_json::from_value::<JobInfo>(least).unwrap().state, ArcState::Running);
    }

    #[test]
    fn ids_convert_from_and_to_text() {
        let id = JobId::from(String::from("https://ce/arex/a"));
        assert_eq!(id.local_id(), "a");
        let set: std::collections::HashSet<JobId> = [id.clone()].into();
        assert!(set.contains("https://ce/arex/a"));
        assert_eq!(String::from(id.clone()), id.into_string());
    }
}
