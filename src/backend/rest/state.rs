//! [`RestState`]: the state of a job in the terms of A-REX's REST interface.

use std::fmt;

use crate::job::status::ArcState;

/// The states of jobs that have not ended, as the filter of `GET jobs?state=` accepts them.
pub(super) const ACTIVE_STATES: &str =
    "ACCEPTING,ACCEPTED,PREPARING,PREPARED,SUBMITTING,RUNNING,EXECUTED,FINISHING,KILLING";

/// The states of jobs that have ended. A job that A-REX is moving seems to be `WIPED`.
pub(super) const ENDED_STATES: &str = "FINISHED,FAILED,KILLED,WIPED";

/// Returns the path of a list of the user's jobs with their states, in whatever state they are.
pub(super) fn jobs_in_any_state() -> String {
    format!("jobs?state={ACTIVE_STATES},{ENDED_STATES}")
}

/// A state of the REST interface (`convertActivityStatusREST` in A-REX's rest.cpp).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RestState {
    Accepting,
    Accepted,
    Preparing,
    Prepared,
    Submitting,
    Queuing,
    Running,
    Held,
    ExitingLrms,
    /// The job is in the batch system, in a state for which A-REX has no name.
    Other,
    Executed,
    Killing,
    /// A-REX has no name of its own for a job that is cancelled while it is queued.
    KillingQueued,
    Finishing,
    Finished,
    Failed,
    Killed,
    Wiped,
    /// A-REX could not determine the state.
    Undefined,
    /// A state that this crate does not know.
    Unknown(String),
}

impl RestState {
    const NAMES: [(&'static str, RestState); 18] = [
        ("ACCEPTING", RestState::Accepting),
        ("ACCEPTED", RestState::Accepted),
        ("PREPARING", RestState::Preparing),
        ("PREPARED", RestState::Prepared),
        ("SUBMITTING", RestState::Submitting),
        ("QUEUING", RestState::Queuing),
        ("RUNNING", RestState::Running),
        ("HELD", RestState::Held),
        ("EXITINGLRMS", RestState::ExitingLrms),
        ("OTHER", RestState::Other),
        ("EXECUTED", RestState::Executed),
        ("KILLING", RestState::Killing),
        ("KILLING", RestState::KillingQueued),
        ("FINISHING", RestState::Finishing),
        ("FINISHED", RestState::Finished),
        ("FAILED", RestState::Failed),
        ("KILLED", RestState::Killed),
        ("WIPED", RestState::Wiped),
    ];

    pub(super) fn parse(name: &str) -> RestState {
        match name {
            "" | "None" | "UNDEFINED" => RestState::Undefined,
            name => Self::NAMES
                .iter()
                .find(|(known, _)| *known == name)
                .map_or_else(|| RestState::Unknown(name.to_owned()), |(_, state)| state.clone()),
        }
    }

    /// Derives the state from A-REX's own record of a job, as A-REX does. `failure` reads the job's file `failed`, and
    /// is called only for a job that has ended.
    pub(super) fn from_record<E>(
        status: &str,
        failure: impl FnOnce() -> Result<Option<String>, E>,
    ) -> Result<Option<RestState>, E> {
        let status = status.trim();
        let (state, is_pending) = status.strip_prefix("PENDING:").map_or((status, false), |state| (state, true));
        Ok(Some(match (state, is_pending) {
            ("ACCEPTED", false) => RestState::Accepting,
            ("ACCEPTED", true) => RestState::Accepted,
            ("PREPARING", false) => RestState::Preparing,
            ("PREPARING", true) => RestState::Prepared,
            ("SUBMIT", _) => RestState::Submitting,
            ("INLRMS", false) => RestState::Running,
            ("INLRMS" | "FINISHED", true) => RestState::Executed,
            ("FINISHING", _) => RestState::Finishing,
            ("CANCELING", _) => RestState::Killing,
            ("FINISHED", false) => match failure()? {
                None => RestState::Finished,
                Some(cause) => RestState::failed_because(&cause),
            },
            ("DELETED", _) => RestState::Wiped,
            _ => return Ok(None),
        }))
    }

    /// The state of a failed job, by the content of its record's file `failed`.
    pub(super) fn failed_because(cause: &str) -> RestState {
        match cause.contains("Job is canceled by external request") {
            true => RestState::Killed,
            false => RestState::Failed,
        }
    }

    /// Returns ARC's general state, with the mapping of ARC's own arcrest plugin.
    pub(super) fn arc_state(&self) -> ArcState {
        match self {
            RestState::Undefined => ArcState::Undefined,
            RestState::Accepting | RestState::Accepted => ArcState::Accepted,
            RestState::Preparing | RestState::Prepared => ArcState::Preparing,
            RestState::Submitting => ArcState::Submitting,
            RestState::Held => ArcState::Hold,
            RestState::Queuing | RestState::KillingQueued => ArcState::Queuing,
            RestState::Running
            | RestState::ExitingLrms
            | RestState::Other
            | RestState::Executed
            | RestState::Killing => ArcState::Running,
            RestState::Finishing => ArcState::Finishing,
            RestState::Finished => ArcState::Finished,
            RestState::Killed => ArcState::Killed,
            RestState::Failed => ArcState::Failed,
            RestState::Wiped => ArcState::Deleted,
            RestState::Unknown(_) => ArcState::Other,
        }
    }

    pub(super) fn is_final(&self) -> bool {
        self.arc_state().is_final()
    }

    /// Whether the job is in the batch system. Only A-REX's information provider distinguishes these states.
    pub(super) fn is_in_batch_system(&self) -> bool {
        matches!(
            self,
            RestState::Queuing | RestState::Running | RestState::Held | RestState::ExitingLrms | RestState::Other
        )
    }

    /// Whether A-REX may still have to accept the job, by a state that was published up to a minute ago.
    pub(super) fn may_be_new(&self) -> bool {
        matches!(self, RestState::Accepting | RestState::Accepted) || self.is_unsettled()
    }

    /// Whether A-REX may have been moving the job's status from one directory to another at that moment. During the
    /// move it finds no status, or treats the job as removed (`job_state_read_file`).
    pub(super) fn is_unsettled(&self) -> bool {
        matches!(self, RestState::Undefined | RestState::Wiped)
    }
}

impl fmt::Display for RestState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RestState::Undefined => "UNDEFINED",
            RestState::Unknown(name) => name,
            known => Self::NAMES.iter().find(|(_, state)| state == known).map_or("", |(name, _)| name),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn states_map_as_in_the_plugin_of_arc() {
        for (name, expected) in [
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
            ("None", ArcState::Undefined),
            ("accepted", ArcState::Other),
            ("Finished", ArcState::Other),
            ("TELEPORTING", ArcState::Other),
        ] {
            let state = RestState::parse(name);
            assert_eq!(state.arc_state(), expected, "{name:?}");
            if !matches!(state, RestState::Undefined) {
                assert_eq!(state.to_string(), name);
            }
        }
    }

    #[test]
    fn records_map_to_states_as_in_a_rex() {
        let state = |status: &str, failure: Option<&str>| {
            let failure = failure.map(str::to_owned);
            RestState::from_record(status, || Ok::<_, Infallible>(failure)).unwrap()
        };
        assert_eq!(state("ACCEPTED\n", None), Some(RestState::Accepting));
        assert_eq!(state("PENDING:PREPARING", None), Some(RestState::Prepared));
        assert_eq!(state("INLRMS", None), Some(RestState::Running));
        assert_eq!(state("PENDING:INLRMS", None), Some(RestState::Executed));
        assert_eq!(state("FINISHED", None), Some(RestState::Finished));
        assert_eq!(state("FINISHED", Some("exit code 7")), Some(RestState::Failed));
        assert_eq!(state("FINISHED", Some("Job is canceled by external request")), Some(RestState::Killed));
        assert_eq!(state("DELETED", None), Some(RestState::Wiped));
        assert_eq!(state("", None), None);
    }
}
