//! What a watch tells about jobs: [`Change`] while it runs, [`WatchReport`] at its end. How often it asks: [`PollPolicy`].

mod jobs;
mod policy;

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

pub(crate) use self::jobs::{Jobs, Observation, Pending};
pub(crate) use self::policy::Pace;
pub use self::policy::PollPolicy;
use crate::job::{ArcState, JobId, JobStatus};
use crate::util::serde_forms;

/// A new state of a job, from a [`Watch`](crate::Watch).
///
/// `Display` shows the id and both states: `https://...: Running -> Finished`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Change {
    /// The id as the caller gave it, or as `watch_all` found it.
    pub id: JobId,
    /// The state that the watch has told before. `None` when it sees the job for the first time.
    pub from: Option<ArcState>,
    /// Where the job stands now.
    pub to: Standing,
    /// When the watch received this from the CE, by the clock of this machine. The serde form is whole seconds since 1970.
    #[serde(with = "serde_forms::moment")]
    pub observed_at: SystemTime,
}

impl Change {
    /// Returns the new status of the job. `None` if the job is gone.
    pub fn status(&self) -> Option<JobStatus> {
        self.to.status()
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from {
            Some(from) => write!(f, "{}: {from} -> {}", self.id, self.to),
            None => write!(f, "{}: {}", self.id, self.to),
        }
    }
}

/// Where a job stands: in a state, or no longer on the CE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Standing {
    /// The job is in this state, which is never [`ArcState::Deleted`].
    State(ArcState),
    /// The CE does not know the job, or has removed its files. Whether it succeeded is unknown.
    Gone,
}

impl Standing {
    /// Returns the state. `None` if the job is gone.
    pub fn state(self) -> Option<ArcState> {
        match self {
            Standing::State(state) => Some(state),
            Standing::Gone => None,
        }
    }

    /// Returns the status. `None` if the job is gone.
    pub fn status(self) -> Option<JobStatus> {
        self.state().map(ArcState::status)
    }

    /// Whether nothing can follow: the job has ended, or is gone.
    pub fn is_final(self) -> bool {
        self.state().is_none_or(ArcState::is_final)
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.state().map_or("gone", ArcState::as_str))
    }
}

/// The point in the life of a job at which a [`Watch`](crate::Watch) has seen enough of it.
///
/// A later state counts as reached. A job that has ended has reached every goal, because nothing else will come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WatchGoal {
    /// The job has ended.
    #[default]
    End,
    /// The job has this status or a later one.
    Status(JobStatus),
    /// The job is in this state or a later one.
    State(ArcState),
}

impl From<JobStatus> for WatchGoal {
    fn from(status: JobStatus) -> Self {
        WatchGoal::Status(status)
    }
}

impl From<ArcState> for WatchGoal {
    fn from(state: ArcState) -> Self {
        WatchGoal::State(state)
    }
}

/// Where each job of a [`Watch`](crate::Watch) stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WatchReport {
    /// The jobs, in the order in which the caller gave them, or `watch_all` found them.
    pub jobs: Vec<WatchedJob>,
    /// Why the watch has ended. `None` while it goes on.
    #[serde(default)]
    pub end: Option<WatchEnd>,
    /// Since when the CE has given no usable response. `None` if the last poll succeeded. Of several CEs, that of the one that
    /// is away longest. The serde form is whole seconds since 1970.
    #[serde(default, with = "serde_forms::since_1970")]
    pub unreachable_since: Option<SystemTime>,
}

impl WatchReport {
    /// Returns the jobs with an outcome.
    fn with(&self, outcome: impl Fn(&WatchOutcome) -> bool) -> impl Iterator<Item = &WatchedJob> {
        self.jobs.iter().filter(move |job| outcome(&job.outcome))
    }

    /// Returns the jobs that have reached the goal of the watch, by default their end.
    pub fn reached(&self) -> impl Iterator<Item = &WatchedJob> {
        self.with(|outcome| *outcome == WatchOutcome::Reached)
    }

    /// Returns the jobs that have not reached the goal yet.
    pub fn pending(&self) -> impl Iterator<Item = &WatchedJob> {
        self.with(|outcome| *outcome == WatchOutcome::Pending)
    }

    /// Returns the jobs that the CE does not know or has removed.
    pub fn gone(&self) -> impl Iterator<Item = &WatchedJob> {
        self.with(|outcome| *outcome == WatchOutcome::Gone)
    }

    /// Returns the jobs whose state the CE has not told.
    pub fn unknown(&self) -> impl Iterator<Item = &WatchedJob> {
        self.with(|outcome| matches!(outcome, WatchOutcome::Unknown { .. }))
    }

    /// Returns the jobs with a status, such as [`JobStatus::Completed`].
    pub fn with_status(&self, status: JobStatus) -> impl Iterator<Item = &WatchedJob> {
        self.jobs.iter().filter(move |job| job.status() == Some(status))
    }

    /// Whether every job has ended successfully. True for no jobs.
    pub fn all_completed(&self) -> bool {
        self.jobs.iter().all(|job| job.status() == Some(JobStatus::Completed))
    }
}

/// A job in a [`WatchReport`].
///
/// `Display` shows the id and the state, `gone`, or why the state is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WatchedJob {
    /// The id as the caller gave it, or as `watch_all` found it.
    pub id: JobId,
    /// What the watch has found.
    pub outcome: WatchOutcome,
    /// The last state that the watch has seen. A job that is gone has the state before, if the watch has seen one.
    #[serde(default)]
    pub state: Option<ArcState>,
    /// When the watch has seen it. The serde form is whole seconds since 1970.
    #[serde(default, with = "serde_forms::since_1970")]
    pub observed_at: Option<SystemTime>,
}

impl WatchedJob {
    /// Returns the last status that the watch has seen. `None` if there is none, or the job is gone.
    pub fn status(&self) -> Option<JobStatus> {
        self.state.filter(|_| self.outcome != WatchOutcome::Gone).map(ArcState::status)
    }
}

impl fmt::Display for WatchedJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.outcome, self.state) {
            (WatchOutcome::Gone, _) => write!(f, "{}: {}", self.id, Standing::Gone),
            (WatchOutcome::Unknown { message }, _) => write!(f, "{}: unknown, {message}", self.id),
            (_, Some(state)) => write!(f, "{}: {state}", self.id),
            (_, None) => write!(f, "{}", self.id),
        }
    }
}

/// What a [`Watch`](crate::Watch) has found about a job.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WatchOutcome {
    /// The job has reached the goal of the watch, by default its end.
    Reached,
    /// The job has not reached the goal yet.
    Pending,
    /// The CE does not know the job, or has removed its files. This is no failure of the job.
    Gone,
    /// The CE has not told the state of the job.
    #[non_exhaustive]
    Unknown {
        /// Why: the CE does not respond, or refuses to tell.
        message: String,
    },
}

/// Why a [`Watch`](crate::Watch) has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WatchEnd {
    /// Nothing more will come: each job has reached the goal or is gone, or the CE refuses to tell about it.
    Settled,
    /// The deadline has passed.
    Deadline,
    /// A callback has stopped the watch.
    Stopped,
}

/// A look at a [`Watch`](crate::Watch) after a poll, for [`Watch::on_poll`](crate::Watch::on_poll).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PollSummary {
    /// The number of jobs that are watched, without repeated ids.
    pub jobs: usize,
    /// How many of them the watch still asks for.
    pub pending: usize,
    /// Since when the CE has given no usable response. `None` if its last poll succeeded. Of several CEs, that of the one that
    /// is away longest. The serde form is whole seconds since 1970.
    #[serde(default, with = "serde_forms::since_1970")]
    pub unreachable_since: Option<SystemTime>,
    /// Why the last poll of this CE failed. `None` if no CE is away.
    #[serde(default)]
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn values_have_texts_and_serde_forms() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let change = Change { id: "a".into(), from: None, to: Standing::State(ArcState::Running), observed_at: at };
        assert_eq!(change.to_string(), "a: Running");
        let gone = Change { from: Some(ArcState::Running), to: Standing::Gone, ..change.clone() };
        assert_eq!((gone.to_string().as_str(), gone.status()), ("a: Running -> gone", None));
        assert_eq!(format!("{:<6}|", gone.to), "gone  |");
        let value = serde_json::to_value(&change).unwrap();
        assert_eq!(value["to"]["state"], "Running");
        assert_eq!(value["observed_at"], 1_700_000_000);
        assert_eq!(serde_json::from_value::<Change>(value).unwrap(), change);

        let job =
            WatchedJob { id: "a".into(), outcome: WatchOutcome::Gone, state: change.to.state(), observed_at: None };
        assert_eq!(job.status(), None);
        let refused = WatchOutcome::Unknown { message: "no".into() };
        let jobs = vec![job.clone(), WatchedJob { outcome: refused, ..job }];
        let report = WatchReport { jobs, end: Some(WatchEnd::Deadline), unreachable_since: Some(at) };
        let value = serde_json::to_value(&report).unwrap();
        assert_eq!((&value["end"], &value["unreachable_since"]), (&"deadline".into(), &1_700_000_000.into()));
        assert_eq!(serde_json::from_value::<WatchReport>(value).unwrap(), report);
        assert_eq!((report.gone().count(), report.unknown().count(), report.pending().count()), (1, 1, 0));
        assert_eq!(report.with_status(JobStatus::InProgress).count(), 1);
        assert!(!report.all_completed());
        let texts: Vec<String> = report.jobs.iter().map(WatchedJob::to_string).collect();
        assert_eq!(texts, ["a: gone", "a: unknown, no"]);
    }
}
