//! [`JobStatus`] and [`ArcState`]: how a job fares, in this crate's words and in ARC's.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a job fares, in five words.
///
/// As text and in JSON: `not submitted`, `not started`, `in progress`, `completed`, `failed`.
///
/// ```
/// use jasmin_arc::JobStatus;
///
/// assert_eq!(JobStatus::InProgress.to_string(), "in progress");
/// assert_eq!("in progress".parse(), Ok(JobStatus::InProgress));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum JobStatus {
    /// The CE has the job, and has not handed it to its batch system yet.
    #[serde(rename = "not submitted")]
    NotSubmitted,
    /// The job waits in the queue of the batch system.
    #[serde(rename = "not started")]
    NotStarted,
    /// The job runs, is held, or its outputs are being collected.
    #[serde(rename = "in progress")]
    InProgress,
    /// The job has ended well: its executable returned 0. Its outputs can be fetched, as those of a failed job can.
    #[serde(rename = "completed")]
    Completed,
    /// The job failed, was cancelled or deleted, or is in a state that has no meaning here.
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

    /// The status as text.
    ///
    /// ```
    /// assert_eq!(jasmin_arc::JobStatus::NotSubmitted.as_str(), "not submitted");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            JobStatus::NotSubmitted => "not submitted",
            JobStatus::NotStarted => "not started",
            JobStatus::InProgress => "in progress",
            JobStatus::Completed => "completed",
            JobStatus::Failed => "failed",
        }
    }

    /// Whether the job is over: waiting any longer will not change its status.
    ///
    /// `Failed` also stands for [`ArcState::Undefined`] and [`ArcState::Other`], which ARC does not call final: ask
    /// [`ArcState::is_final`] where the difference matters.
    ///
    /// ```
    /// use jasmin_arc::JobStatus;
    ///
    /// assert!(JobStatus::Completed.is_final());
    /// assert!(!JobStatus::InProgress.is_final());
    /// ```
    pub const fn is_final(self) -> bool {
        matches!(self, JobStatus::Completed | JobStatus::Failed)
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text names no [`JobStatus`].
///
/// ```
/// use jasmin_arc::{JobStatus, ParseJobStatusError};
///
/// let error: ParseJobStatusError = "done".parse::<JobStatus>().unwrap_err();
/// assert_eq!(error.to_string(), "\"done\" is not a job status");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a job status")]
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

/// How a job fares in the words of ARC's client library: its thirteen general states.
///
/// As text and in JSON each has the name it has here. A text that is none of them becomes [`ArcState::Other`], so that
/// a newer ARC cannot break a caller.
///
/// ```
/// use jasmin_arc::{ArcState, JobStatus};
///
/// assert_eq!(ArcState::Queuing.to_string(), "Queuing");
/// assert_eq!(ArcState::from("Queuing"), ArcState::Queuing);
/// assert_eq!(ArcState::from("Teleporting"), ArcState::Other);
/// assert_eq!(JobStatus::from(ArcState::Queuing), JobStatus::NotStarted);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ArcState {
    /// The state could not be found out.
    Undefined,
    /// The CE accepted the job.
    Accepted,
    /// The CE prepares the job: fetches its input files, for instance.
    Preparing,
    /// The CE hands the job to its batch system.
    Submitting,
    /// The job is held.
    Hold,
    /// The job waits in the queue of the batch system.
    Queuing,
    /// The job runs.
    Running,
    /// The job has run and the CE deals with its outputs.
    Finishing,
    /// The job is over.
    Finished,
    /// The job was cancelled.
    Killed,
    /// The job failed.
    Failed,
    /// The CE removed the job and its files.
    Deleted,
    /// Any other state.
    #[serde(other)]
    Other,
}

/// The [`JobStatus`] of each [`ArcState`], in the order of the latter.
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
/// for (state, status) in ARC_STATUS_MAPPING {
///     assert_eq!(JobStatus::from(state), status);
/// }
/// ```
pub const ARC_STATUS_MAPPING: [(ArcState, JobStatus); 13] = [
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

// `From<ArcState>` takes a row by its number: a table in another order, or too short, must not compile.
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
    /// ARC's name of the state.
    ///
    /// ```
    /// assert_eq!(jasmin_arc::ArcState::Finishing.as_str(), "Finishing");
    /// ```
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

    /// Whether the job will stay in this state: `Finished`, `Killed`, `Failed` or `Deleted`.
    ///
    /// ```
    /// use jasmin_arc::ArcState;
    ///
    /// assert!(ArcState::Killed.is_final());
    /// assert!(!ArcState::Finishing.is_final());
    /// ```
    pub const fn is_final(self) -> bool {
        matches!(self, ArcState::Finished | ArcState::Killed | ArcState::Failed | ArcState::Deleted)
    }

    /// The general state for a state of the CE's REST interface, as ARC's own arcrest plugin maps them, so that a job
    /// has the same state whichever way it was asked for.
    pub(crate) fn from_rest(state: &str) -> Self {
        match state {
            "" => ArcState::Undefined,
            "ACCEPTING" | "ACCEPTED" => ArcState::Accepted,
            "PREPARING" | "PREPARED" => ArcState::Preparing,
            "SUBMITTING" => ArcState::Submitting,
            "HELD" => ArcState::Hold,
            "QUEUING" => ArcState::Queuing,
            // OTHER is a state of the batch system's, not an unknown one: the job is in its hands.
            "RUNNING" | "EXITINGLRMS" | "OTHER" | "EXECUTED" | "KILLING" => ArcState::Running,
            "FINISHING" => ArcState::Finishing,
            "FINISHED" => ArcState::Finished,
            "KILLED" => ArcState::Killed,
            "FAILED" => ArcState::Failed,
            "WIPED" => ArcState::Deleted,
            _ => ArcState::Other,
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
        let mut states = ARC_STATUS_MAPPING.into_iter().map(|(state, _)| state);
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

    /// The table of the Python library, with ARC's own notion of a final state.
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
    fn arc_states() {
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
    fn arc_states_that_arc_does_not_have() {
        for text in ["", "finished", "FINISHED", " Finished", "Finished\0", "Fini\u{301}shed", "Teleporting"] {
            assert_eq!(ArcState::from(text), ArcState::Other, "{text:?}");
            assert_eq!(text.parse(), Ok(ArcState::Other), "{text:?}");
            assert_eq!(serde_json::from_value::<ArcState>(text.into()).unwrap(), ArcState::Other, "{text:?}");
        }
        assert!(serde_json::from_str::<ArcState>("[5]").is_err());
    }

    #[test]
    fn job_statuses() {
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

    #[test]
    fn rest_states() {
        let table = [
            ("ACCEPTING", ArcState::Accepted),
            ("ACCEPTED", ArcState::Accepted),
            ("PREPARING", ArcState::Preparing),
            ("PREPARED", ArcState::Preparing),
            ("SUBMITTING", ArcState::Submitting),
            ("QUEUING", ArcState::Queuing),
            ("RUNNING", ArcState::Running),
            ("HELD", ArcState::Hold),
            ("EXITINGLRMS", ArcState::Running),
            ("OTHER", ArcState::Running),
            ("EXECUTED", ArcState::Running),
            ("KILLING", ArcState::Running),
            ("FINISHING", ArcState::Finishing),
            ("FINISHED", ArcState::Finished),
            ("FAILED", ArcState::Failed),
            ("KILLED", ArcState::Killed),
            ("WIPED", ArcState::Deleted),
            ("", ArcState::Undefined),
            ("accepted", ArcState::Other),
            ("Finished", ArcState::Other),
            ("None", ArcState::Other),
            ("TELEPORTING", ArcState::Other),
        ];
        for (rest, state) in table {
            assert_eq!(ArcState::from_rest(rest), state, "{rest:?}");
        }
    }
}
