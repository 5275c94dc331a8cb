//! [`RestBackend`]: A-REX's REST interface, `org.nordugrid.arcrest`, with bulk requests over a few connections.
//!
//! ARC's documentation ("REST interface") describes the protocol. For everything else A-REX itself
//! (`src/services/a-rex/rest/rest.cpp`) is the reference.

mod activity;
mod delegation;
mod files;
mod info;
mod jobs;
mod lookup;
mod parallel;
mod session;
mod state;

use std::collections::{HashMap, HashSet};

use crate::backend::failure::{Failure, FileFailure, JobFailure, not_found};
use crate::backend::offer::Offer;
use crate::backend::prepare::PreparedJob;
use crate::backend::{Accepted, Backend, Fetch, Fetched, SessionFile};
use crate::config::endpoint::Endpoint;
use crate::description::Delegation;
use crate::description::formats::from_ffi;
use crate::error::{Error, Operation, Result};
use crate::ffi::{self, JobPlace, Language, SessionSettings};
use crate::job::{JobId, JobInfo, JobState};
use crate::logging::{self, LogLevel};
use jobs::{Item, act};
use parallel::in_parallel;
use session::{CONNECTIONS, Pool};
use state::RestState;

/// ARC's name for the interface.
const INTERFACE: &str = "org.nordugrid.arcrest";

/// The maximum number of jobs that one request submits. A-REX takes about 10 ms for each job before it responds.
const SUBMIT_CHUNK: usize = 250;

/// The maximum size of the descriptions in one request, in bytes. A-REX accepts 100 MiB.
const SUBMIT_BYTES: usize = 32 << 20;

/// The number of requests that run in parallel. One CE does not process more of them faster.
const MAX_PARALLEL: usize = CONNECTIONS / 2;

/// A CE with a REST interface.
#[derive(Debug)]
pub(crate) struct RestBackend {
    pool: Pool,
    proxy: String,
    delegation: Delegation,
    delegations: delegation::Delegations,
    costs: lookup::Costs,
}

impl RestBackend {
    /// Creates the backend. `delegation` decides which jobs get the user's credentials.
    pub(crate) fn new(endpoint: Endpoint, settings: &SessionSettings, delegation: Delegation) -> Result<RestBackend> {
        Ok(RestBackend {
            pool: Pool::new(endpoint, settings)?,
            proxy: settings.proxy.clone(),
            delegation,
            delegations: delegation::Delegations::default(),
            costs: lookup::Costs::default(),
        })
    }

    /// Asks the CE for the versions of its REST interface and selects the newest known one. `false` if the CE has no REST
    /// interface or no known version of it.
    ///
    /// Version 1.1 (ARC 7) includes all of 1.0.
    pub(crate) fn is_offered(&self) -> Result<bool> {
        let response = self.pool.versions().map_err(|failure| self.error(failure))?;
        match response.code {
            200 => {}
            404 | 501 => return Ok(false),
            _ => return Err(self.error(response.refusal())),
        }
        let text = String::from_utf8_lossy(&response.body);
        // Something else than a CE, or a CE in trouble, must not decide on the protocol for the life of the interface.
        if !text.contains("<versions") {
            let message = "the response does not list the versions of the REST interface";
            return Err(self.error(Failure::invalid_response(message)));
        }
        let newest = ["1.1", "1.0"].into_iter().find(|version| text.contains(&format!("<version>{version}</version>")));
        if let Some(version) = newest {
            self.pool.use_version(version);
        }
        Ok(newest.is_some())
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

    /// Those of the jobs that are known to be still running.
    fn running(&self, ids: HashSet<&JobId>) -> HashSet<JobId> {
        let ids: Vec<JobId> = ids.into_iter().cloned().collect();
        let states = if ids.is_empty() { Vec::new() } else { self.states(&ids).unwrap_or_default() };
        let is_running = |state: &Result<JobState>| matches!(state, Ok(state) if !state.state.is_final());
        ids.into_iter().zip(states).filter(|(_, state)| is_running(state)).map(|(id, _)| id).collect()
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

    /// Submits jobs in as many requests as necessary.
    fn submit_described(
        &self,
        jobs: &[PreparedJob],
        adl: &[String],
        accepted: Accepted<'_>,
    ) -> Result<Vec<Result<JobPlace>>> {
        // Whatever fails here fails before anything exists.
        self.pool.reach().map_err(|failure| self.error(failure))?;
        let mut results = Vec::with_capacity(jobs.len());
        while results.len() < jobs.len() {
            let first = results.len();
            let mut bytes = 0;
            let fits = |text: &&String| {
                bytes += text.len();
                bytes <= SUBMIT_BYTES
            };
            let count = adl[first..].iter().take(SUBMIT_CHUNK).take_while(fits).count().max(1);
            let range = first..first + count;
            let Some(submitted) = self.submit_chunk(&jobs[range.clone()], &adl[range], accepted) else {
                let lost = "the response of the CE was lost: the job may exist";
                results.extend((0..count).map(|_| Err(self.not_submitted(lost.into()))));
                let rest = "not sent, because the CE no longer responds";
                results.extend((results.len()..jobs.len()).map(|_| Err(self.not_submitted(rest.into()))));
                break;
            };
            results.extend(submitted);
        }
        Ok(results)
    }

    /// Submits jobs with one request. Returns `None` if the CE did not respond, in which case the caller should send no
    /// more.
    fn submit_chunk(
        &self,
        jobs: &[PreparedJob],
        adl: &[String],
        accepted: Accepted<'_>,
    ) -> Option<Vec<Result<JobPlace>>> {
        let all = |message: String| jobs.iter().map(|_| Err(self.not_submitted(message.clone()))).collect();
        let body = ["<ActivityDescriptions>", &adl.concat(), "</ActivityDescriptions>"].concat();
        let response = match self.pool.request(session::Repeat::Never, "POST", "jobs?action=new", body.as_bytes()) {
            Ok(response) => response,
            Err(failure) => {
                let error = self.error(failure);
                let message = format!("up to {} jobs may exist whose ids are unknown: {error}", jobs.len());
                logging::log(LogLevel::Error, message);
                return None;
            }
        };
        if response.code != 201 {
            return Some(all(self.error(response.refusal()).to_string()));
        }
        let items = match jobs::parse(&response.body) {
            Ok(items) => items,
            Err(failure) => {
                let error = self.error(failure);
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
                return Some(all(format!("{error}{cause}; the jobs may exist")));
            }
        };
        if items.len() != jobs.len() {
            // The items cannot be matched with the jobs, but the message names the jobs that exist.
            let ids: Vec<&str> = items.iter().map(|item| item.id.as_str()).filter(|id| !id.is_empty()).collect();
            let message = format!(
                "the CE responded with {} items for {} jobs; these exist: {}",
                items.len(),
                jobs.len(),
                ids.join(" ")
            );
            logging::log(LogLevel::Error, &message);
            return Some(all(message));
        }
        let place = |(job, item): (&PreparedJob, Item)| match item.code {
            201 if self.pool.endpoint().job_local_id(&item.id) == Some(&item.id) => Ok(self.place(job, item.id)),
            201 => Err(self.not_submitted(format!("the job exists with the unusable id {:?}", item.id))),
            _ => Err(self.not_submitted(item.reason)),
        };
        let mut places: Vec<Result<JobPlace>> = jobs.iter().zip(items).map(place).collect();
        // The jobs exist now, so report them before anything else can fail.
        accepted(&places.iter().flatten().cloned().collect::<Vec<_>>());
        self.upload(jobs, &mut places);
        Some(places)
    }

    fn not_submitted(&self, message: String) -> Error {
        Error::JobSubmission { endpoint: self.pool.endpoint().url(), job_id: None, message }
    }

    fn place(&self, PreparedJob { description: job, .. }: &PreparedJob, local_id: String) -> JobPlace {
        let service_url = self.pool.endpoint().url();
        JobPlace {
            id: format!("{service_url}/rest/1.0/jobs/{local_id}"),
            local_id,
            service_url,
            information_interface: INTERFACE.into(),
            management_interface: INTERFACE.into(),
            name: job.name.clone(),
            stdout: job.stdout.clone(),
            stderr: job.stderr.clone(),
            delegation: job.delegation.clone(),
        }
    }

    /// Uploads the input files of jobs. Cancels a job that does not get all its files, since it would wait until A-REX
    /// gives up.
    fn upload(&self, jobs: &[PreparedJob], places: &mut [Result<JobPlace>]) {
        let mut uploads = Vec::new();
        for (index, (job, place)) in jobs.iter().zip(places.iter()).enumerate() {
            if let Ok(place) = place {
                uploads.extend(job.uploads.iter().map(|input| (index, place.local_id.clone(), input)));
            }
        }
        let results = in_parallel(&uploads, |(_, id, input)| files::upload(&self.pool, id, input));
        let mut failures: HashMap<usize, String> = HashMap::new();
        for ((index, _, input), result) in uploads.iter().zip(results) {
            let Err(failure) = result else { continue };
            let cause = match failure {
                FileFailure::Local(error) => error.to_string(),
                FileFailure::Request(failure) => self.error(failure).to_string(),
            };
            failures.entry(*index).or_insert_with(|| format!("input file {}: {cause}", input.label().display()));
        }
        // One request cancels all failed jobs, so a CE that does not respond causes only one timeout.
        let failed: Vec<&str> = failures
            .keys()
            .filter_map(|index| places[*index].as_ref().ok())
            .map(|place| place.local_id.as_str())
            .collect();
        let cancelled: Vec<bool> = match self.operate(Operation::Cancel, "kill", &failed) {
            Ok(results) => results.iter().map(Result::is_ok).collect(),
            Err(_) => vec![false; failed.len()],
        };
        for ((index, cause), cancelled) in failures.into_iter().zip(cancelled) {
            let Ok(place) = &places[index] else { continue };
            let id = JobId::from(place.id.as_str());
            let outcome = if cancelled { "the job has been cancelled" } else { "the job could not be cancelled" };
            logging::log(LogLevel::Warning, format!("job {id} did not get all input files, {outcome}: {cause}"));
            places[index] = Err(Error::JobSubmission {
                endpoint: self.pool.endpoint().url(),
                job_id: Some(id),
                message: format!("{cause}; {outcome}"),
            });
        }
    }
}

impl Backend for RestBackend {
    fn submit(&self, jobs: &[PreparedJob], accepted: Accepted<'_>) -> Result<Vec<Result<JobPlace>>> {
        let mut jobs = jobs.to_vec();
        let is_delegated = |job: &PreparedJob| match self.delegation {
            Delegation::Always => true,
            Delegation::Never => false,
            _ => job.delegate,
        };
        if jobs.iter().any(is_delegated) {
            let id = self.delegations.ensure(&self.pool, &self.proxy).map_err(|failure| self.error(failure))?;
            jobs.iter_mut().filter(|job| is_delegated(job)).for_each(|job| job.description.delegation = id.clone());
        }
        // All descriptions are written before any is sent. One that ARC cannot write affects no other.
        let mut adl = Vec::with_capacity(jobs.len());
        let mut refused: Vec<Option<Error>> = Vec::with_capacity(jobs.len());
        for job in &jobs {
            match ffi::describe(&job.description, Language::Adl).map_err(from_ffi) {
                Ok(text) => adl.push(without_declaration(text)),
                Err(Error::Exiting) => return Err(Error::Exiting),
                Err(error) => {
                    refused.push(Some(error));
                    continue;
                }
            }
            refused.push(None);
        }
        let mut is_good = refused.iter().map(Option::is_none);
        jobs.retain(|_| is_good.next().unwrap_or(false));
        let mut submitted =
            if jobs.is_empty() { Vec::new() } else { self.submit_described(&jobs, &adl, accepted)? }.into_iter();
        let lost = || Err(self.not_submitted("the response has no result for the job".into()));
        let one = |refused: Option<Error>| refused.map_or_else(|| submitted.next().unwrap_or_else(lost), Err);
        Ok(refused.into_iter().map(one).collect())
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

    fn jobs(&self, ids: &[JobId]) -> Result<Vec<Result<JobInfo>>> {
        let infos = self.ask(ids, |ids| lookup::infos(&self.pool, &self.costs, ids))?;
        let named = |(id, info): (&JobId, Result<JobInfo>)| Ok(JobInfo { id: id.clone(), ..info? });
        Ok(ids.iter().zip(infos).map(named).collect())
    }

    fn cancel(&self, ids: &[JobId]) -> Result<Vec<Result<()>>> {
        self.ask(ids, |ids| {
            // Skip jobs that have ended: A-REX accepts the request for them too, and never removes the cancel mark.
            let items = act(&self.pool, "status", ids)?;
            // A job that A-REX is just moving looks removed, but may run.
            let may_run = |state: RestState| !state.is_final() || state.is_unsettled();
            let is_running = |item: &Item| item.code == 200 && may_run(RestState::parse(&item.state));
            let running: Vec<&str> =
                items.iter().flatten().filter(|item| is_running(item)).map(|item| item.id.as_str()).collect();
            let mut cancelled = self.operate(Operation::Cancel, "kill", &running)?.into_iter();
            let one = |item: &Result<Item, Failure>| match item {
                Ok(item) if is_running(item) => cancelled.next().unwrap_or(Ok(())),
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

    fn files(&self, ids: &[JobId]) -> Result<Vec<Result<Vec<SessionFile>>>> {
        self.ask(ids, |ids| {
            let listed = in_parallel(ids, |id| files::list(&self.pool, id));
            let without: Vec<&str> =
                ids.iter().zip(&listed).filter(|(_, listed)| matches!(listed, Ok(None))).map(|(id, _)| *id).collect();
            let mut known = act(&self.pool, "status", &without)?.into_iter();
            let one = |listed: Result<Option<Vec<SessionFile>>, Failure>| match listed? {
                Some(files) => Ok(files),
                // Only a job that the CE knows can have no session directory.
                None => match known.next() {
                    Some(Ok(item)) if item.code == 200 => Ok(Vec::new()),
                    Some(Ok(item)) => Err(item.failure(Operation::ListFiles)),
                    Some(Err(failure)) => Err(failure.into()),
                    None => Err(Failure::invalid_response("the response leaves out a job").into()),
                },
            };
            Ok(listed.into_iter().map(one).collect())
        })
    }

    fn fetch(&self, wanted: &[Fetch<'_>]) -> Vec<Result<Fetched>> {
        let fetched = in_parallel(wanted, |fetch| files::download(&self.pool, fetch.file, &fetch.to));
        let is_gone = |result: &Result<(), FileFailure>| {
            matches!(result, Err(FileFailure::Request(Failure::Refused { code: 404, .. })))
        };
        let without: HashSet<&JobId> =
            wanted.iter().zip(&fetched).filter(|(_, result)| is_gone(result)).map(|(fetch, _)| fetch.id).collect();
        let running = self.running(without);
        let named = |(fetch, result): (&Fetch<'_>, Result<(), FileFailure>)| {
            if is_gone(&result) && running.contains(fetch.id) {
                return Ok(Fetched::Removed);
            }
            let failed = |message: String, source| Error::OutputFile {
                job_id: fetch.id.clone(),
                path: fetch.shown.into(),
                message,
                source,
            };
            result.map(|()| Fetched::Whole).map_err(|failure| match failure {
                FileFailure::Request(Failure::Exiting) => Error::Exiting,
                FileFailure::Request(failure) => failed(self.error(failure).to_string(), None),
                FileFailure::Local(error) => failed("the local file cannot be written".into(), Some(error)),
            })
        };
        wanted.iter().zip(fetched).map(named).collect()
    }

    fn offer(&self) -> Result<Offer> {
        info::offer(&self.pool).map_err(|failure| self.error(failure))
    }
}

/// The text without `<?xml ...?>`, so that it can be part of another document.
fn without_declaration(xml: String) -> String {
    match xml.strip_prefix("<?xml").and_then(|rest| rest.split_once("?>")) {
        Some((_, rest)) => rest.trim_start().to_owned(),
        None => xml,
    }
}
