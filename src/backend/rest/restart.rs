//! Runs failed jobs again.

use std::time::Duration;

use super::RestBackend;
use super::jobs::Item;
use super::lookup::recorded_state;
use super::parallel::in_parallel;
use super::record::diagnose;
use super::session::Pool;
use crate::backend::failure::{Failure, JobFailure};
use crate::error::Operation;

/// The pauses between looks at A-REX's record. A-REX receives the order at once and usually needs some milliseconds.
const PAUSES: [Duration; 6] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(5),
];

/// Looks up the stage in which a job failed. Its record is not rewritten any more, so it can be read: see `local_record`.
fn failed_stage(pool: &Pool, id: &str) -> Result<Option<String>, Failure> {
    if !recorded_state(pool, id)?.is_some_and(|state| state.is_final()) {
        return Ok(None);
    }
    let record = diagnose(pool, id, "local")?.unwrap_or_default();
    Ok(record.lines().find_map(|line| line.strip_prefix("failedstate=")).map(str::to_owned))
}

impl RestBackend {
    /// Orders A-REX to restart jobs, and waits until its record shows that it has begun to.
    ///
    /// A-REX confirms the order before it carries it out (`ARexJob::Resume`). Until then its record has the final state,
    /// with which a wait for the end of the job would end at once.
    ///
    /// Refuses jobs that failed in the batch system. A-REX would confirm the order, and then keep the id of the batch job that
    /// has failed instead of submitting a new one (`JobsList::state_submitting`, 6.17 to 7.2).
    pub(super) fn restart_jobs(&self, ids: &[&str]) -> Result<Vec<Result<(), JobFailure>>, Failure> {
        let stages = in_parallel(ids, |id| failed_stage(&self.pool, id));
        let can_restart =
            |stage: &Result<Option<String>, Failure>| !matches!(stage, Ok(Some(stage)) if stage == "INLRMS");
        let asked: Vec<&str> =
            ids.iter().zip(&stages).filter(|(_, stage)| can_restart(stage)).map(|(id, _)| *id).collect();
        let mut ordered = self.operate(Operation::Restart, "restart", &asked)?.into_iter();
        let one = |stage: Result<Option<String>, Failure>| {
            if can_restart(&stage) {
                return ordered.next().unwrap_or_else(|| Err(Failure::invalid_response("a job is left out").into()));
            }
            let message = "it failed in the batch system, from where A-REX cannot restart it; submit it again".into();
            Err(JobFailure::Refused { operation: Operation::Restart, message })
        };
        let mut results: Vec<Result<(), JobFailure>> = stages.into_iter().map(one).collect();
        let mut waiting: Vec<usize> = (0..ids.len()).filter(|index| results[*index].is_ok()).collect();
        self.costs.restarted(waiting.iter().map(|index| ids[*index]));
        for pause in PAUSES {
            if waiting.is_empty() {
                break;
            }
            self.pool.limits().sleep(pause)?;
            let states = in_parallel(&waiting, |index| recorded_state(&self.pool, ids[*index]));
            let mut still = Vec::new();
            for (index, state) in waiting.into_iter().zip(states) {
                match state {
                    Ok(Some(state)) if !state.is_final() => {}
                    Ok(_) => still.push(index),
                    Err(failure) => results[index] = Err(failure.into()),
                }
            }
            waiting = still;
        }
        for index in waiting {
            let message = "the CE has confirmed the request and not restarted the job within 10 seconds".into();
            results[index] = Err(JobFailure::Refused { operation: Operation::Restart, message });
        }
        Ok(results)
    }

    /// Replaces the published states of jobs that were restarted by those in A-REX's record.
    pub(super) fn correct_restarted(&self, items: &mut [Result<Item, Failure>]) -> Result<(), Failure> {
        for item in items.iter_mut().flatten().filter(|item| self.costs.was_restarted(&item.id)) {
            if let Some(state) = recorded_state(&self.pool, &item.id)? {
                item.state = state.to_string();
            }
        }
        Ok(())
    }
}
