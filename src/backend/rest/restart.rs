//! Runs failed jobs again.

use std::time::Duration;

use super::RestBackend;
use super::jobs::Item;
use super::lookup::recorded_state;
use super::record::diagnose;
use super::session::Pool;
use crate::backend::failure::{Failure, JobFailure, shorten};
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

/// Looks up why a job failed, if it failed in the batch system. Its record is not rewritten any more, so it can be read: see
/// `local_record`.
fn failure_in_batch_system(pool: &Pool, id: &str) -> Result<Option<String>, Failure> {
    if !recorded_state(pool, id)?.is_some_and(|state| state.is_final()) {
        return Ok(None);
    }
    let record = diagnose(pool, id, "local")?.unwrap_or_default();
    if !record.lines().any(|line| line == "failedstate=INLRMS") {
        return Ok(None);
    }
    let reasons = diagnose(pool, id, "failed")?.unwrap_or_default();
    Ok(Some(shorten(&reasons.trim().replace('\n', "; "))))
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
        let failures = self.pool.in_parallel(ids, |id| failure_in_batch_system(&self.pool, id));
        let asked: Vec<&str> = ids
            .iter()
            .zip(&failures)
            .filter(|(_, failure)| !matches!(failure, Ok(Some(_))))
            .map(|(id, _)| *id)
            .collect();
        let mut ordered = self.operate(Operation::Restart, "restart", &asked)?.into_iter();
        let one = |failure: Result<Option<String>, Failure>| {
            let Ok(Some(reason)) = failure else {
                return ordered.next().unwrap_or_else(|| Err(Failure::invalid_response("a job is left out").into()));
            };
            let message = format!(
                "it failed in the batch system, from where A-REX cannot restart it; submit it again (the CE says: {reason})"
            );
            Err(JobFailure::Refused { operation: Operation::Restart, message })
        };
        let mut results: Vec<Result<(), JobFailure>> = failures.into_iter().map(one).collect();
        let mut waiting: Vec<usize> = (0..ids.len()).filter(|index| results[*index].is_ok()).collect();
        self.costs.restarted(waiting.iter().map(|index| ids[*index]));
        for pause in PAUSES {
            if waiting.is_empty() {
                break;
            }
            self.pool.limits().sleep(pause)?;
            let states = self.pool.in_parallel(&waiting, |index| recorded_state(&self.pool, ids[*index]));
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
