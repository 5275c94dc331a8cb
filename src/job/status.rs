//! [`JobStatus`], [`ArcState`] and [`JobState`]: the progress of a job, in this crate's terms and in ARC's.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The simplified status of a job.
///
/// The form in text and in JSON is `not submitted`, `not started`, `in progress`, `completed` or `failed`.
///
/// ```
/// use jasmin_arc::JobStatus;
///
/// assert_eq!(JobStatus::InProgress.to_string(), "in progress");
/// assert_eq!("in progress".parse(), Ok(JobStatus::InProgress));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum JobStatus {
    /// The CE has accepted the job but has not passed it to its batch system yet.
    #[serde(rename = "not submitted")]
    NotSubmitted,
    /// The job is waiting in the queue of the batch system.
    #[serde(rename = "not started")]
    NotStarted,
    /// The job is running or held, the CE is collecting its outputs, or its state is unknown.
    #[serde(rename = "in progress")]
    InProgress,
    /// The executable ended with exit code 0. The outputs can be saved.
    #[serde(rename = "completed")]
    Completed,
    /// The job failed, was cancelled or was deleted. The outputs that it wrote before can be saved, unless it was
    /// deleted.
    #[serde(rename = "failed")]
    Failed,
}

impl JobStatus {
    const ALL: [JobStatus; 5] = [
        JobStatus::NotSubmitted,
        JobStatus::NotStarted,
        JobStatus::InProgress,
        JobStatus::Completed,
        JobStatus::Failed,
    ];

    /// Returns the status as text, such as `not submitted`.
    pub const fn as_str(self) -> &'static str {
        match self {
            JobStatus::NotSubmitted => "not submitted",
            JobStatus::NotStarted => "not started",
            JobStatus::InProgress => "in progress",
            JobStatus::Completed => "completed",
            JobStatus::Failed => "failed",
        }
    }

    /// Whether the job has ended: `Completed` or `Failed`.
    ///
    /// A status from [`ArcInterface`](crate::ArcInterface) is final only if ARC's state is final. A job in an unknown
    /// state is `InProgress` (see [`ArcState::status`]).
    pub const fn is_final(self) -> bool {
        matches!(self, JobStatus::Completed | JobStatus::Failed)
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The error of parsing a [`JobStatus`] from text that is not the name of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a job status; use one of not submitted, not started, in progress, completed, failed")]
pub struct ParseJobStatusError {
    given: String,
}

impl FromStr for JobStatus {
    type Err = ParseJobStatusError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let status = Self::ALL.into_iter().find(|status| status.as_str() == text);
        status.ok_or_else(|| ParseJobStatusError { given: text.to_owned() })
    }
}

/// ARC's general state of a job: the thirteen states of its client library (`Arc::JobState`).
///
/// The form in text and in JSON is the name of the variant. Any other text becomes [`ArcState::Other`], so that a state
/// of a newer ARC is not an error.
///
/// ```
/// use jasmin_arc::{ArcState, JobStatus};
///
/// assert_eq!(ArcState::Queuing.to_string(), "Queuing");
/// assert_eq!(ArcState::from("Queuing"), ArcState::Queuing);
/// assert_eq!(ArcState::from("Teleporting"), ArcState::Other);
/// assert_eq!(ArcState::Queuing.status(), JobStatus::NotStarted);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ArcState {
    /// The CE could not determine the state.
    Undefined,
    /// The CE accepted the job.
    Accepted,
    /// The CE is preparing the job, for example fetching its input files.
    Preparing,
    /// The CE is passing the job to its batch system.
    Submitting,
    /// The job is held.
    Hold,
    /// The job is waiting in the queue of the batch system.
    Queuing,
    /// The job is running.
    Running,
    /// The executable has ended and the CE is processing the outputs.
    Finishing,
    /// The job has ended successfully.
    Finished,
    /// The job was cancelled.
    Killed,
    /// The job failed.
    Failed,
    /// The CE removed the job and its files.
    Deleted,
    /// A state that is not one of the other twelve.
    #[serde(other)]
    Other,
}

/// The state of a job, from [`ArcInterface::job_states`](crate::ArcInterface::job_states).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JobState {
    /// ARC's general state.
    pub state: ArcState,
    /// The state in the terms of the protocol, such as `FINISHING`.
    #[serde(default)]
    pub native_state: String,
    /// How current the state is.
    #[serde(default)]
    pub freshness: Freshness,
}

impl JobState {
    /// Returns [`ArcState::status`] of the state.
    pub fn status(&self) -> JobStatus {
        self.state.status()
    }
}

/// How current the state of a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Freshness {
    /// The state comes from A-REX's own record at the time of the request.
    Current,
    /// The state comes from the CE's information system, which an ARC-CE updates about once a minute.
    ///
    /// Over the REST interface this is the case for jobs in a batch system, because only the information system
    /// distinguishes queued from running jobs. A job that it has not seen there is reported as queued. Over other protocols it
    /// is the case for all jobs.
    #[default]
    Published,
}

/// The table of the Python library: the [`JobStatus`] of each [`ArcState`], in the order of the states.
///
/// `JobStatus::from` uses this table. [`ArcInterface`](crate::ArcInterface) uses [`ArcState::status`], which differs
/// for `Undefined` and `Other`.
///
/// | ARC's state | status        |
/// |-------------|---------------|
/// | Undefined   | failed        |
/// | Accepted    | not submitted |
/// | Preparing   | not submitted |
/// | Submitting  | not submitted |
/// | Hold        | in progress   |
/// | Queuing     | not started   |
/// | Running     | in progress   |
/// | Finishing   | in progress   |
/// | Finished    | completed     |
/// | Killed      | failed        |
/// | Failed      | failed        |
/// | Deleted     | failed        |
/// | Other       | failed        |
///
/// ```
/// use jasmin_arc::{ARC_STATUS_MAPPING, JobStatus};
///
/// for &(state, status) in ARC_STATUS_MAPPING {
///     assert_eq!(JobStatus::from(state), status);
/// }
/// ```
pub const ARC_STATUS_MAPPING: &[(ArcState, JobStatus)] = &[
    (ArcState::Undefined, JobStatus::Failed),
    (ArcState::Accepted, JobStatus::NotSubmitted),
    (ArcState::Preparing, JobStatus::NotSubmitted),
    (ArcState::Submitting, JobStatus::NotSubmitted),
    (ArcState::Hold, JobStatus::InProgress),
    (ArcState::Queuing, JobStatus::NotStarted),
    (ArcState::Running, JobStatus::InProgress),
    (ArcState::Finishing, JobStatus::InProgress),
    (ArcState::Finished, JobStatus::Completed),
    (ArcState::Killed, JobStatus::Failed),
    (ArcState::Failed, JobStatus::Failed),
    (ArcState::Deleted, JobStatus::Failed),
    (ArcState::Other, JobStatus::Failed),
];

// `From<ArcState>` indexes the table by state. This check makes a table in another order, or one that is too short, a
// compile error.
const _: () = {
    let mut row = 0;
    while row <= ArcState::Other as usize {
        assert!(ARC_STATUS_MAPPING[row].0 as usize == row);
        row += 1;
    }
};

impl From<ArcState> for JobStatus {
    fn from(state: ArcState) -> Self {
        ARC_STATUS_MAPPING[state as usize].1
    }
}

impl ArcState {
    /// All states, in their order.
    pub(crate) const ALL: [ArcState; ARC_STATUS_MAPPING.len()] = {
        let mut all = [ArcState::Undefined; ARC_STATUS_MAPPING.len()];
        let mut row = 0;
        while row < all.len() {
            all[row] = ARC_STATUS_MAPPING[row].0;
            row += 1;
        }
        all
    };

    /// Returns ARC's name of the state.
    pub const fn as_str(self) -> &'static str {
        match self {
            ArcState::Undefined => "Undefined",
            ArcState::Accepted => "Accepted",
            ArcState::Preparing => "Preparing",
            ArcState::Submitting => "Submitting",
            ArcState::Hold => "Hold",
            ArcState::Queuing => "Queuing",
            ArcState::Running => "Running",
            ArcState::Finishing => "Finishing",
            ArcState::Finished => "Finished",
            ArcState::Killed => "Killed",
            ArcState::Failed => "Failed",
            ArcState::Deleted => "Deleted",
            ArcState::Other => "Other",
        }
    }

    /// Whether the state can no longer change: `Finished`, `Killed`, `Failed` or `Deleted`.
    pub const fn is_final(self) -> bool {
        matches!(self, ArcState::Finished | ArcState::Killed | ArcState::Failed | ArcState::Deleted)
    }

    /// Returns the status that [`ArcInterface`](crate::ArcInterface) reports for a job in this state.
    ///
    /// The status is the one in [`ARC_STATUS_MAPPING`], except that [`Undefined`](Self::Undefined) and
    /// [`Other`](Self::Other) map to [`JobStatus::InProgress`]. The Python library maps them to failed. That is a final
    /// status, so a polling program would stop watching a job that may still run.
    ///
    /// ```
    /// use jasmin_arc::{ArcState, JobStatus};
    ///
    /// assert_eq!(ArcState::Finished.status(), JobStatus::Completed);
    /// assert_eq!(ArcState::Other.status(), JobStatus::InProgress);
    /// assert_eq!(JobStatus::from(ArcState::Other), JobStatus::Failed);
    /// ```
    pub fn status(self) -> JobStatus {
        match self {
            ArcState::Undefined | ArcState::Other => JobStatus::InProgress,
            known => known.into(),
        }
    }
}

impl fmt::Display for ArcState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<&str> for ArcState {
    fn from(text: &str) -> Self {
        let mut states = ARC_STATUS_MAPPING.iter().map(|(state, _)| *state);
        states.find(|state| state.as_str() == text).unwrap_or(ArcState::Other)
    }
}

impl FromStr for ArcState {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The Python library's table, and whether ARC treats the state as final.
    const TABLE: [(&str, ArcState, JobStatus, bool); 13] = [
        ("Undefined", ArcState::Undefined, JobStatus::Failed, false),
        ("Accepted", ArcState::Accepted, JobStatus::NotSubmitted, false),
        ("Preparing", ArcState::Preparing, JobStatus::NotSubmitted, false),
        ("Submitting", ArcState::Submitting, JobStatus::NotSubmitted, false),
        ("Hold", ArcState::Hold, JobStatus::InProgress, false),
        ("Queuing", ArcState::Queuing, JobStatus::NotStarted, false),
        ("Running", ArcState::Running, JobStatus::InProgress, false),
        ("Finishing", ArcState::Finishing, JobStatus::InProgress, false),
        ("Finished", ArcState::Finished, JobStatus::Completed, true),
        ("Killed", ArcState::Killed, JobStatus::Failed, true),
        ("Failed", ArcState::Failed, JobStatus::Failed, true),
        ("Deleted", ArcState::Deleted, JobStatus::Failed, true),
        ("Other", ArcState::Other, JobStatus::Failed, false),
    ];

    #[test]
    fn arc_states_map_as_in_the_python_library() {
        for (name, state, status, is_final) in TABLE {
            assert_eq!(JobStatus::from(state), status, "{name}");
            assert_eq!(state.is_final(), is_final, "{name}");
            assert_eq!(state.to_string(), name);
            assert_eq!(ArcState::from(name), state);
            assert_eq!(name.parse(), Ok(state));
            assert_eq!(serde_json::to_value(state).unwrap(), name);
            assert_eq!(serde_json::from_value::<ArcState>(name.into()).unwrap(), state);
        }
        assert_eq!(ARC_STATUS_MAPPING, TABLE.map(|(_, state, status, _)| (state, status)));
    }

    #[test]
    fn unknown_states_are_never_reported_as_final() {
        for (_, state, status, is_final) in TABLE {
            assert_eq!(state.status().is_final(), is_final, "{state}");
            if is_final {
                assert_eq!(state.status(), status);
            }
        }
    }

    #[test]
    fn unknown_names_become_other() {
        for text in ["", "finished", "FINISHED", " Finished", "Finished\0", "Fini\u{301}shed", "Teleporting"] {
            assert_eq!(ArcState::from(text), ArcState::Other, "{text:?}");
            assert_eq!(text.parse(), Ok(ArcState::Other), "{text:?}");
            assert_eq!(serde_json::from_value::<ArcState>(text.into()).unwrap(), ArcState::Other, "{text:?}");
        }
        assert!(serde_json::from_str::<ArcState>("[5]").is_err());
    }

    #[test]
    fn statuses_convert_from_and_to_their_names() {
        let table = [
            ("not submitted", JobStatus::NotSubmitted, false),
            ("not started", JobStatus::NotStarted, false),
            ("in progress", JobStatus::InProgress, false),
            ("completed", JobStatus::Completed, true),
            ("failed", JobStatus::Failed, true),
        ];
        for (name, status, is_final) in table {
            assert_eq!(status.to_string(), name);
            assert_eq!(name.parse(), Ok(status));
            assert_eq!(status.is_final(), is_final, "{name}");
            assert_eq!(serde_json::to_value(status).unwrap(), name);
            assert_eq!(serde_json::from_value::<JobStatus>(name.into()).unwrap(), status);
        }
        assert_eq!(JobStatus::ALL, table.map(|(_, status, _)| status));
        for text in ["", "Completed", "completed ", "InProgress", "in\u{a0}progress"] {
            assert!(text.parse::<JobStatus>().is_err(), "{text:?}");
            assert!(serde_json::from_value::<JobStatus>(text.into()).is_err(), "{text:?}");
        }
        assert_eq!(format!("{:>10}|{:<10}|", JobStatus::Failed, ArcState::Failed), "    failed|Failed    |");
    }
}
