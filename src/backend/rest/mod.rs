//! [`RestBackend`]: A-REX's REST interface, `org.nordugrid.arcrest`, with bulk requests over a few connections.
//!
//! ARC's documentation ("REST interface") describes the protocol. For everything else A-REX itself
//! (`src/services/a-rex/rest/rest.cpp`) is the reference.

mod activity;
mod delegation;
mod diagnostics;
mod files;
mod find;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod info;
mod jobs;
mod listing;
mod lookup;
mod parallel;
mod part;
mod poll;
mod record;
mod restart;
mod session;
mod state;
mod submit;

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::backend::failure::{Failure, JobFailure, not_found, shorten};
use crate::backend::poll::{PollMemory, Polled};
use crate::backend::prepare::PreparedJob;
use crate::backend::{
    Backend, Discarded, Enters, Fetch, Fetched, Found, Inputs, KnownNames, Progress, Search, SessionFiles, Submitted,
    Uploaded,
};
use crate::config::endpoint::{Endpoint, is_version};
use crate::credential::Credentials;
use crate::description::Delegation;
use crate::error::{Error, Operation, Result};
use crate::ffi::{JobPlace, SessionSettings};
use crate::job::{JobDiagnostics, JobFilter, JobId, JobInfo, JobState};
use crate::limits::{Limits, RetryPolicy};
use crate::service::ServiceInfo;
use files::FetchFailure;
use jobs::{Item, act};
use session::{Pool, Repeat};
use state::RestState;

/// What a CE offers of the REST interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RestOffer {
    /// A version that [`RestBackend`] speaks.
    Known,
    /// Only these other versions.
    OtherVersions(String),
    Nothing,
}

/// The versions that [`RestBackend`] speaks, the newest first.
const KNOWN_VERSIONS: [&str; 2] = ["1.1", "1.0"];

/// ARC's name for the interface.
const INTERFACE: &str = "org.nordugrid.arcrest";

/// The pause in which A-REX usually accepts a job that was just submitted.
const ACCEPTING_PAUSE: Duration = Duration::from_millis(100);

/// A CE with a REST interface.
#[derive(Clone, Debug)]
pub(crate) struct RestBackend {
    pool: Pool,
    proxy: Arc<str>,
    delegation: Delegation,
    delegations: Arc<delegation::Delegations>,
    costs: Arc<lookup::Costs>,
}

impl RestBackend {
    /// Creates the backend. `delegation` decides which jobs get the user's credentials.
    pub(crate) fn new(
        endpoint: Endpoint,
        settings: &SessionSettings,
        credentials: Arc<dyn Credentials>,
        delegation: Delegation,
        retries: RetryPolicy,
        max_connections: usize,
    ) -> Result<RestBackend> {
        Ok(RestBackend {
            pool: Pool::new(endpoint, settings, credentials, retries, max_connections)?,
            proxy: settings.proxy.as_str().into(),
            delegation,
            delegations: Arc::default(),
            costs: Arc::default(),
        })
    }

    /// Returns the backend for a call with limits.
    pub(crate) fn limited(&self, limits: Limits) -> RestBackend {
        RestBackend { pool: self.pool.with_limits(limits), ..self.clone() }
    }

    /// Asks the CE for the versions of its REST interface and selects the newest known one.
    ///
    /// Version 1.1 (ARC 7) includes all of 1.0.
    pub(crate) fn offer(&self) -> Result<RestOffer> {
        let response = self.pool.versions().map_err(|failure| self.error(failure))?;
        match response.code {
            200 => {}
            404 | 501 => return Ok(RestOffer::Nothing),
            _ => return Err(self.error(response.refusal())),
        }
        let text = String::from_utf8_lossy(&response.body);
        // Something else than a CE, or a CE in trouble, must not decide on the protocol for the life of the interface.
        if !text.contains("<versions") {
            let message = "the response does not list the versions of the REST interface";
            return Err(self.error(Failure::invalid_response(message)));
        }
        let offered = versions(&text);
        match KNOWN_VERSIONS.into_iter().find(|known| offered.contains(known)) {
            Some(newest) => {
                self.pool.use_version(newest);
                Ok(RestOffer::Known)
            }
            None if offered.is_empty() => Ok(RestOffer::Nothing),
            None => Ok(RestOffer::OtherVersions(shorten(&offered.join(", ")))),
        }
    }

    fn error(&self, failure: Failure) -> Error {
        failure.into_error(self.pool.endpoint())
    }

    /// Calls `request` with A-REX's own ids of those jobs that can belong to this CE. Returns one result for each of
    /// `ids`, and errors contain the id as the caller gave it.
    fn ask<T>(
        &self,
        ids: &[JobId],
        request: impl FnOnce(&[&str]) -> Result<Vec<Result<T, JobFailure>>, Failure>,
    ) -> Result<Vec<Result<T>>> {
        let endpoint = self.pool.endpoint();
        let local: Vec<Option<&str>> = ids.iter().map(|id| endpoint.job_local_id(id.as_str())).collect();
        let known: Vec<&str> = local.iter().flatten().copied().collect();
        let results = if known.is_empty() { Ok(Vec::new()) } else { request(&known) };
        let mut results = results.map_err(|failure| self.error(failure))?.into_iter();
        let one = |(id, local): (&JobId, &Option<&str>)| match local.and_then(|_| results.next()) {
            Some(result) => result.map_err(|failure| failure.into_error(endpoint, id)),
            None => Err(not_found(endpoint, id)),
        };
        Ok(ids.iter().zip(&local).map(one).collect())
    }

    /// Calls `request` with A-REX's own id of a job. An error contains the id as the caller gave it, and the file.
    fn ask_about_file<T>(
        &self,
        id: &JobId,
        file: &OsStr,
        request: impl FnOnce(&str) -> Result<T, JobFailure>,
    ) -> Result<T> {
        let endpoint = self.pool.endpoint();
        let Some(local) = endpoint.job_local_id(id.as_str()) else { return Err(not_found(endpoint, id)) };
        request(local).map_err(|failure| match failure.into_error(endpoint, id) {
            Error::JobFile { job_id, failure, message, .. } => {
                Error::JobFile { job_id, path: file.into(), failure, message }
            }
            error => error,
        })
    }

    /// Whether a job has not ended.
    fn is_running(&self, id: &str) -> Result<bool, Failure> {
        let state = lookup::states(&self.pool, &self.costs, &[id])?.pop();
        Ok(matches!(state, Some(Ok(observed)) if !observed.state.is_final()))
    }

    /// Those of the jobs that are known to have ended.
    fn ended(&self, ids: Vec<JobId>) -> HashSet<JobId> {
        let states = self.states(&ids).unwrap_or_default();
        let has_ended = |state: &Result<JobState>| matches!(state, Ok(state) if state.state.is_final());
        ids.into_iter().zip(states).filter(|(_, state)| has_ended(state)).map(|(id, _)| id).collect()
    }

    /// Requests an action on jobs.
    fn operate(
        &self,
        operation: Operation,
        action: &str,
        ids: &[&str],
    ) -> Result<Vec<Result<(), JobFailure>>, Failure> {
        let one = |item: Result<Item, Failure>| {
            let item = item?;
            match item.code {
                200..=299 => Ok(()),
                _ => Err(item.failure(operation)),
            }
        };
        Ok(act(&self.pool, action, ids)?.into_iter().map(one).collect())
    }

    /// Orders A-REX to cancel jobs. Makes sure that it keeps the order for those whose index `is_new` accepts.
    fn order_to_cancel(
        &self,
        ids: &[&str],
        is_new: impl Fn(usize) -> bool,
    ) -> Result<Vec<Result<(), JobFailure>>, Failure> {
        let mut results = self.operate(Operation::Cancel, "kill", ids)?;
        let ordered = results.iter().enumerate().filter(|(index, result)| result.is_ok() && is_new(*index));
        let new: Vec<usize> = ordered.map(|(index, _)| index).collect();
        let new_ids: Vec<&str> = new.iter().map(|index| ids[*index]).collect();
        for (index, result) in new.into_iter().zip(self.repeat_lost_orders(&new_ids)) {
            results[index] = result;
        }
        Ok(results)
    }

    /// Cancels those of the jobs again that A-REX has neither ended nor begun to cancel.
    ///
    /// While A-REX accepts a job, it may remove the mark of an order that it has confirmed (`JobsList::ScanNewMarks`, ARC
    /// 6.17). Once the job has been accepted, the mark stays.
    fn repeat_lost_orders(&self, ids: &[&str]) -> Vec<Result<(), JobFailure>> {
        if ids.is_empty() {
            return Vec::new();
        }
        let look_up = || {
            self.pool.limits().sleep(ACCEPTING_PAUSE)?;
            lookup::without_cancellation(&self.pool, &self.costs, ids)
        };
        let repeated = look_up().and_then(|lost| {
            let again: Vec<&str> = ids.iter().zip(&lost).filter(|(_, lost)| **lost).map(|(id, _)| *id).collect();
            let mut results = self.operate(Operation::Cancel, "kill", &again)?.into_iter();
            Ok(lost.into_iter().map(|lost| if lost { results.next().unwrap_or(Ok(())) } else { Ok(()) }).collect())
        });
        // After a failure, whether the CE keeps the orders is unknown.
        repeated.unwrap_or_else(|failure| ids.iter().map(|_| Err(failure.clone().into())).collect())
    }
}

impl Backend for RestBackend {
    fn with_limits(&self, limits: Limits) -> Arc<dyn Backend> {
        Arc::new(self.limited(limits))
    }

    fn submit(&self, jobs: &[PreparedJob], progress: &dyn Progress) -> Result<Vec<Submitted>> {
        self.submit_jobs(jobs, progress)
    }

    fn find(&self, identifiers: &HashSet<String>, known: &HashMap<String, String>, search: Search) -> Result<Found> {
        self.search(identifiers, known, search).map_err(|failure| self.error(failure))
    }

    fn list(&self) -> Result<Vec<JobId>> {
        let ids = find::ids(&self.pool).map_err(|failure| self.error(failure))?;
        Ok(ids.iter().map(|id| self.place_of(id).id.into()).collect())
    }

    fn find_jobs(&self, filter: &JobFilter, known_names: KnownNames<'_>) -> Result<Vec<JobInfo>> {
        let found = find::find(&self.pool, &self.costs, filter, known_names).map_err(|failure| self.error(failure))?;
        let named = |info: JobInfo| JobInfo { id: self.place_of(info.id.as_str()).id.into(), ..info };
        Ok(found.into_iter().map(named).collect())
    }

    fn place(&self, id: &JobId) -> Option<JobPlace> {
        self.pool.endpoint().job_local_id(id.as_str()).map(|id| self.place_of(id))
    }

    fn upload_missing(&self, jobs: &[(&JobId, &PreparedJob)]) -> Result<Vec<Result<Uploaded>>> {
        self.upload_missing_files(jobs)
    }

    fn inputs(&self, ids: &[JobId]) -> Result<Vec<Result<Inputs>>> {
        self.ask(ids, |ids| self.inputs_of(ids))
    }

    fn discard(&self, ids: &[JobId]) -> Result<Vec<Result<Discarded>>> {
        self.ask(ids, |ids| self.discard_jobs(ids))
    }

    fn states(&self, ids: &[JobId]) -> Result<Vec<Result<JobState>>> {
        self.ask(ids, |ids| {
            let states = lookup::states(&self.pool, &self.costs, ids)?.into_iter();
            let state = |observed: lookup::Observed| JobState {
                state: observed.state.arc_state(),
                native_state: observed.state.to_string(),
                freshness: observed.freshness,
            };
            Ok(states.map(|observed| observed.map(state)).collect())
        })
    }

    fn poll(&self, ids: &[JobId], memory: &mut PollMemory) -> Result<Polled> {
        let finds_others = memory.finds_others;
        let mut polled = Polled::default();
        let mut poll = |ids: &[&str]| {
            let found = poll::poll(&self.pool, &self.costs, ids, memory)?;
            (polled.pause, polled.is_unsettled) = (found.pause, found.is_unsettled);
            polled.others = match finds_others {
                true => found.others.iter().map(|id| self.place_of(id).id.into()).collect(),
                false => Vec::new(),
            };
            Ok(found.states)
        };
        let states = match ids {
            [] => poll(&[]).map(|_| Vec::new()).map_err(|failure| self.error(failure))?,
            ids => self.ask(ids, poll)?,
        };
        Ok(Polled { states, ..polled })
    }

    fn jobs(&self, ids: &[JobId]) -> Result<Vec<Result<JobInfo>>> {
        let infos = self.ask(ids, |ids| lookup::infos(&self.pool, &self.costs, ids))?;
        let named = |(id, info): (&JobId, Result<JobInfo>)| Ok(JobInfo { id: id.clone(), ..info? });
        Ok(ids.iter().zip(infos).map(named).collect())
    }

    fn cancel(&self, ids: &[JobId]) -> Result<Vec<Result<()>>> {
        self.ask(ids, |ids| {
            // Skip jobs that have ended: A-REX accepts the request for them too, and never removes the cancel mark.
            let mut items = act(&self.pool, "status", ids)?;
            self.correct_restarted(&mut items)?;
            // A job that A-REX is just moving looks removed, but may run.
            let may_run = |state: &RestState| !state.is_final() || state.is_unsettled();
            let running: Vec<(&str, RestState)> = items
                .iter()
                .flatten()
                .filter(|item| item.code == 200)
                .map(|item| (item.id.as_str(), RestState::parse(&item.state)))
                .filter(|(_, state)| may_run(state))
                .collect();
            let running_ids: Vec<&str> = running.iter().map(|(id, _)| *id).collect();
            let mut cancelled = self.order_to_cancel(&running_ids, |index| running[index].1.may_be_new())?.into_iter();
            let one = |item: &Result<Item, Failure>| match item {
                Ok(item) if item.code == 200 && may_run(&RestState::parse(&item.state)) => {
                    cancelled.next().unwrap_or(Ok(()))
                }
                Ok(item) if item.code == 200 => Ok(()),
                Ok(item) => Err(item.failure(Operation::Cancel)),
                Err(failure) => Err(failure.clone().into()),
            };
            Ok(items.iter().map(one).collect())
        })
    }

    fn clean(&self, ids: &[JobId]) -> Result<Vec<Result<()>>> {
        self.ask(ids, |ids| {
            let states = lookup::states(&self.pool, &self.costs, ids)?;
            let has_ended = |state: &Result<lookup::Observed, JobFailure>| {
                matches!(state, Ok(observed) if observed.state.is_final())
            };
            let ended: Vec<&str> =
                ids.iter().zip(&states).filter(|(_, state)| has_ended(state)).map(|(id, _)| *id).collect();
            let mut cleaned = self.operate(Operation::Clean, "clean", &ended)?.into_iter();
            let one = |state: Result<lookup::Observed, JobFailure>| {
                if has_ended(&state) {
                    return cleaned.next().unwrap_or(Ok(()));
                }
                let message = format!("the job has not ended: its state is {}", state?.state);
                Err(JobFailure::Refused { operation: Operation::Clean, message })
            };
            Ok(states.into_iter().map(one).collect())
        })
    }

    fn renew(&self, ids: &[JobId]) -> Result<Vec<Result<Option<SystemTime>>>> {
        self.ask(ids, |ids| delegation::renew(&self.delegations, &self.pool, &self.proxy, ids))
    }

    fn restart(&self, ids: &[JobId]) -> Result<Vec<Result<()>>> {
        self.ask(ids, |ids| self.restart_jobs(ids))
    }

    fn files(&self, ids: &[JobId], enters: &Enters<'_>) -> Result<Vec<Result<SessionFiles>>> {
        self.ask(ids, |ids| {
            let listed = self.pool.in_parallel(ids, |id| listing::list(&self.pool, id, enters));
            let without: Vec<&str> =
                ids.iter().zip(&listed).filter(|(_, listed)| matches!(listed, Ok(None))).map(|(id, _)| *id).collect();
            let mut known = act(&self.pool, "status", &without)?.into_iter();
            let one = |listed: Result<Option<SessionFiles>, JobFailure>| match listed? {
                Some(files) => Ok(files),
                None => match known.next() {
                    Some(Ok(item)) if item.code == 200 => without_directory(&item),
                    Some(Ok(item)) => Err(item.failure(Operation::ListFiles)),
                    Some(Err(failure)) => Err(failure.into()),
                    None => Err(Failure::invalid_response("the response leaves out a job").into()),
                },
            };
            Ok(listed.into_iter().map(one).collect())
        })
    }

    fn fetch(&self, wanted: &[Fetch<'_>]) -> Vec<Result<Fetched>> {
        let ids: HashSet<&JobId> = wanted.iter().map(|fetch| fetch.id).collect();
        let ended = self.ended(ids.into_iter().cloned().collect());
        let one = |fetch: &Fetch<'_>| match self.pool.endpoint().job_local_id(fetch.id.as_str()) {
            Some(id) => files::fetch(&self.pool, id, fetch, !ended.contains(fetch.id), || self.is_running(id)),
            None => Err(FetchFailure::Mismatch("the id of the job is that of another CE".into())),
        };
        let fetched = self.pool.in_parallel(wanted, one);
        let named = |(fetch, result): (&Fetch<'_>, Result<Fetched, FetchFailure>)| {
            result.map_err(|failure| match failure {
                FetchFailure::Request(
                    failure @ (Failure::Exiting | Failure::Cancelled { .. } | Failure::Deadline { .. }),
                ) => self.error(failure),
                FetchFailure::Request(failure) => {
                    let error = self.error(failure);
                    fetch.failed(error.to_string(), error.is_retryable())
                }
                FetchFailure::Mismatch(message) => fetch.failed(message, true),
                FetchFailure::Local(error) => fetch.not_written(error),
            })
        };
        wanted.iter().zip(fetched).map(named).collect()
    }

    fn file_size(&self, id: &JobId, path: &OsStr) -> Result<u64> {
        self.ask_about_file(id, path, |id| part::size(&self.pool, id, path.as_bytes()))
    }

    fn read_file(&self, id: &JobId, path: &OsStr, range: Range<u64>) -> Result<Vec<u8>> {
        self.ask_about_file(id, path, |id| part::read(&self.pool, id, path.as_bytes(), range))
    }

    fn diagnostics(&self, id: &JobId) -> Result<JobDiagnostics> {
        let endpoint = self.pool.endpoint();
        let local = endpoint.job_local_id(id.as_str()).ok_or_else(|| not_found(endpoint, id))?;
        let parts = diagnostics::parts(&self.pool, local).map_err(|failure| failure.into_error(endpoint, id))?;
        Ok(JobDiagnostics { id: id.clone(), parts })
    }

    fn has_ended(&self, id: &JobId) -> Result<bool> {
        let recorded = match self.pool.endpoint().job_local_id(id.as_str()) {
            Some(local) => lookup::recorded_state(&self.pool, local).map_err(|failure| self.error(failure))?,
            None => return Err(not_found(self.pool.endpoint(), id)),
        };
        match recorded.filter(|state| !state.is_unsettled()) {
            Some(state) => Ok(state.is_final()),
            // A-REX is moving the job's record, or has removed the job.
            None => {
                let state = self.states(std::slice::from_ref(id))?.pop();
                Ok(state.transpose()?.is_some_and(|state| state.state.is_final()))
            }
        }
    }

    fn service(&self) -> Result<ServiceInfo> {
        info::service(&self.pool).map_err(|failure| self.error(failure))
    }

    fn ping(&self) -> Result<()> {
        // A-REX maps the user before it looks at the list, and then does nothing. Reading a list of jobs would be costly.
        let response = self.pool.request(Repeat::Safe, "POST", "jobs?action=status", &jobs::list(&[]));
        let response = response.map_err(|failure| self.error(failure))?;
        match response.code {
            201 => jobs::parse(&response.body).map(drop).map_err(|failure| self.error(failure)),
            _ => Err(self.error(response.refusal())),
        }
    }
}

/// The versions in A-REX's list of them (`ARexRest::processVersions`).
fn versions(list: &str) -> Vec<&str> {
    let elements = list.split("<version>").skip(1).filter_map(|rest| rest.split_once("</version>"));
    elements.map(|(version, _)| version.trim()).filter(|version| is_version(version)).collect()
}

/// The outputs of a job whose session directory the CE does not find. There are none after A-REX has removed them.
/// Before, A-REX cannot open the directory, for example because it has too many open files, and it has outputs.
fn without_directory(job: &Item) -> Result<SessionFiles, JobFailure> {
    match RestState::parse(&job.state) {
        RestState::Wiped => Ok(SessionFiles::default()),
        state => Err(JobFailure::Refused {
            operation: Operation::ListFiles,
            message: format!("the CE does not find the session directory of this job, which is in the state {state}"),
        }),
    }
}
