//! Lists the user's jobs and finds some of them.
//!
//! `GET jobs` makes A-REX open the record of every job that it has, also those of other users, to compare the owner. With a
//! list of states it opens the records of the user's jobs a second time (`processJobs` in rest.cpp).

use std::collections::{HashMap, HashSet};

use super::activity::{self, Item};
use super::jobs;
use super::lookup::{self, Costs, Observed, forget_ending, newer, set_state};
use super::record::{diagnose, local_record};
use super::session::{Pool, Repeat};
use super::state::{RestState, jobs_in_any_state};
use crate::backend::KnownNames;
use crate::backend::failure::{Failure, JobFailure};
use crate::description::key_of;
use crate::job::{ArcState, Freshness, JobFilter, JobId, JobInfo};

/// Lists A-REX's own ids of the user's jobs, with two requests.
pub(super) fn ids(pool: &Pool) -> Result<Vec<String>, Failure> {
    Ok(list_twice(pool, "jobs")?.into_iter().map(|item| item.id).collect())
}

/// Lists A-REX's own ids of the user's jobs, with one request. A job that A-REX is just moving may be missing.
pub(super) fn listed_once(pool: &Pool) -> Result<Vec<String>, Failure> {
    Ok(list(pool, "jobs")?.into_iter().map(|item| item.id).collect())
}

/// Lists the user's jobs twice, and returns those that are in one of the lists. A job that is only in the second list has no
/// state.
///
/// A-REX removes the status of a job before it writes the next one (`job_state_write_file`). A job of which it does that
/// while it makes a list is missing (seen with 6.17).
fn list_twice(pool: &Pool, path: &str) -> Result<Vec<jobs::Item>, Failure> {
    let mut listed = list(pool, path)?;
    let again = list(pool, "jobs")?;
    let known: HashSet<String> = listed.iter().map(|item| item.id.clone()).collect();
    listed.extend(again.into_iter().filter(|item| !known.contains(&item.id)));
    listed.retain(|item| is_id(pool, &item.id));
    Ok(listed)
}

/// Lists the user's jobs, each once.
fn list(pool: &Pool, path: &str) -> Result<Vec<jobs::Item>, Failure> {
    let response = pool.request(Repeat::Safe, "GET", path, b"")?;
    if response.code != 200 {
        return Err(response.refusal());
    }
    let mut listed = jobs::parse(&response.body)?;
    let mut known = HashSet::with_capacity(listed.len());
    listed.retain(|item| known.insert(item.id.clone()));
    Ok(listed)
}

/// Whether a text from the CE can be used as an id.
pub(super) fn is_id(pool: &Pool, id: &str) -> bool {
    pool.endpoint().job_local_id(id) == Some(id)
}

/// Finds jobs. The id in each result is A-REX's own.
///
/// Without ids in the filter, this costs two requests for the list and one for each 1000 jobs that may be selected by their
/// recorded state. The name and the key of a job that has not been published yet cost one request, if the filter depends on
/// them and `known_names` does not have the name.
pub(super) fn find(
    pool: &Pool,
    costs: &Costs,
    filter: &JobFilter,
    known_names: KnownNames<'_>,
) -> Result<Vec<JobInfo>, Failure> {
    let mut found = match filter.ids() {
        Some(ids) => {
            let mut ids: Vec<&str> = ids.iter().filter_map(|id| pool.endpoint().job_local_id(id.as_str())).collect();
            ids.sort_unstable();
            ids.dedup();
            let infos = lookup::infos(pool, costs, &ids)?;
            existing(pool, infos)?
        }
        None => {
            let listed = list_twice(pool, &format!("{},None", jobs_in_any_state()))?;
            let may_be_selected = |recorded: &RestState| filter.selects_one_of(possible_states(recorded));
            let listed = listed.into_iter().map(|item| (item.id, RestState::parse(&item.state)));
            let candidates: Vec<(String, RestState)> =
                listed.filter(|(_, recorded)| may_be_selected(recorded)).collect();
            let mut found = details(pool, costs, &candidates)?;
            if filter.selects_one_of(&[ArcState::Failed]) != filter.selects_one_of(&[ArcState::Killed]) {
                tell_cancelled(pool, &mut found)?;
            }
            found
        }
    };
    found.retain(|job| filter.selects_one_of(&[job.state]));
    add_names(pool, &mut found, filter, known_names)?;
    found.retain(|job| filter.selects(job));
    found.sort_by(|a, b| (a.submission_time, &a.id).cmp(&(b.submission_time, &b.id)));
    Ok(found)
}

/// The states that a job may have whose recorded state is known. The record does not tell what the batch system does, and is
/// not reliable while A-REX moves a job.
fn possible_states(recorded: &RestState) -> &'static [ArcState] {
    const ALL: &[ArcState] = &ArcState::ALL;
    let state = recorded.arc_state();
    match recorded {
        // The list does not tell that a job was cancelled: it looks for the reason in another place than `action=status`.
        RestState::Failed => &[ArcState::Failed, ArcState::Killed],
        RestState::Running => &[ArcState::Queuing, ArcState::Running, ArcState::Hold],
        RestState::Killing => &[ArcState::Queuing, ArcState::Running],
        _ if recorded.is_unsettled() => ALL,
        _ => ALL.iter().position(|known| *known == state).map_or(ALL, |index| &ALL[index..=index]),
    }
}

/// The jobs that the CE knows. Fails if it could not be asked about one of them.
fn existing(pool: &Pool, infos: Vec<Result<JobInfo, JobFailure>>) -> Result<Vec<JobInfo>, Failure> {
    let mut jobs = Vec::with_capacity(infos.len());
    for info in infos {
        match info {
            Ok(info) => jobs.push(info),
            Err(JobFailure::NotFound) => {}
            Err(JobFailure::Request(failure)) => return Err(failure),
            Err(failure) => {
                let id = JobId::from("?");
                let message = failure.into_error(pool.endpoint(), &id).to_string();
                return Err(Failure::invalid_response(format!("there are no details of a job: {message}")));
            }
        }
    }
    Ok(jobs)
}

/// Looks up the published details of jobs whose recorded state is known.
fn details(pool: &Pool, costs: &Costs, listed: &[(String, RestState)]) -> Result<Vec<JobInfo>, Failure> {
    let mut found = Vec::with_capacity(listed.len());
    let mut unsettled = Vec::new();
    for chunk in listed.chunks(jobs::CHUNK) {
        let ids: Vec<&str> = chunk.iter().map(|(id, _)| id.as_str()).collect();
        let response = pool.request(Repeat::Safe, "POST", "jobs?action=info", &jobs::list(&ids))?;
        if response.code != 201 {
            return Err(response.refusal());
        }
        let recorded: HashMap<&str, &RestState> = chunk.iter().map(|(id, state)| (id.as_str(), state)).collect();
        let items = activity::parse(&response.body)?;
        let published: Vec<_> = items.iter().map(|item| (item.id.as_str(), item.state.clone())).collect();
        costs.were_published(&published);
        for Item { id, code, reason, state, info } in items {
            let Some(recorded) = recorded.get(id.as_str()) else { continue };
            let Some(mut info) = info else {
                match code {
                    404 => continue, // removed since the list was made
                    _ => return Err(Failure::invalid_response(format!("no details of job {id}: {code} {reason}"))),
                }
            };
            if recorded.is_unsettled() {
                unsettled.push((id, *info));
                continue;
            }
            if state.is_final() && !recorded.is_final() {
                forget_ending(&mut info);
            }
            let recorded = if state == RestState::Killed { &state } else { recorded };
            set_state(&mut info, &newer(state.clone(), Some(recorded.clone()), || costs.has_queue(pool))?);
            found.push(*info);
        }
    }
    let ids: Vec<&str> = unsettled.iter().map(|(id, _)| id.as_str()).collect();
    let states = if ids.is_empty() { Vec::new() } else { lookup::states(pool, costs, &ids)? };
    for ((_, mut info), state) in unsettled.into_iter().zip(states) {
        match state {
            Ok(observed) => set_state(&mut info, &observed),
            Err(JobFailure::NotFound) => continue,
            Err(failure) => return existing(pool, vec![Err(failure)]),
        }
        found.push(info);
    }
    Ok(found)
}

/// Finds out which of the failed jobs were cancelled, if that has not been published yet.
fn tell_cancelled(pool: &Pool, jobs: &mut [JobInfo]) -> Result<(), Failure> {
    let is_published = |job: &JobInfo| job.published_states.iter().any(|state| state == "arcrest:FAILED");
    let mut failed: Vec<&mut JobInfo> =
        jobs.iter_mut().filter(|job| job.state == ArcState::Failed && !is_published(job)).collect();
    let ids: Vec<String> = failed.iter().map(|job| job.id.to_string()).collect();
    let reasons = pool.in_parallel(&ids, |id| diagnose(pool, id, "failed"));
    for (job, reason) in failed.iter_mut().zip(reasons) {
        let state = RestState::failed_because(&reason?.unwrap_or_default());
        set_state(job, &Observed { state, freshness: Freshness::Current });
    }
    Ok(())
}

/// Adds the names of jobs that the CE has not published yet, and their keys if the filter depends on them.
fn add_names(
    pool: &Pool,
    jobs: &mut [JobInfo],
    filter: &JobFilter,
    known_names: KnownNames<'_>,
) -> Result<(), Failure> {
    let unpublished: Vec<&mut JobInfo> = jobs.iter_mut().filter(|job| job.published_at.is_none()).collect();
    if unpublished.is_empty() {
        return Ok(());
    }
    if filter.needs_name_or_key() {
        let ids: Vec<String> = unpublished.iter().map(|job| job.id.to_string()).collect();
        let records = pool.in_parallel(&ids, |id| local_record(pool, id));
        for (job, record) in unpublished.into_iter().zip(records) {
            let Some(record) = record? else { continue };
            job.name = Some(record.name).filter(|name| !name.is_empty());
            job.key = record.identifiers.iter().find_map(|identifier| key_of(identifier));
        }
        return Ok(());
    }
    let ids: Vec<&str> = unpublished.iter().map(|job| job.id.as_str()).collect();
    let mut names = known_names(&ids);
    for job in unpublished {
        job.name = names.remove(job.id.as_str()).or(job.name.take());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_narrow_the_states_down() {
        let possible = |name: &str| possible_states(&RestState::parse(name));
        assert_eq!(possible("FINISHED"), [ArcState::Finished]);
        assert_eq!(possible("FAILED"), [ArcState::Failed, ArcState::Killed]);
        assert_eq!(possible("KILLING"), [ArcState::Queuing, ArcState::Running]);
        assert_eq!(possible("RUNNING"), [ArcState::Queuing, ArcState::Running, ArcState::Hold]);
        for name in ["None", "WIPED"] {
            assert_eq!(possible(name).len(), 13);
        }
        assert_eq!(possible("TELEPORTING"), [ArcState::Other]);
    }
}
