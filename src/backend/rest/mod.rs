//! [`RestBackend`]: A-REX's REST interface, `org.nordugrid.arcrest`, in bulk and over few connections.
//!
//! The protocol is described in ARC's documentation ("REST interface") and, where that is silent, by A-REX itself
//! (`src/services/a-rex/rest/rest.cpp`).

mod delegation;
mod files;
mod info;
mod jobs;
mod session;
mod states;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::backend::prepare::PreparedJob;
use crate::backend::{Accepted, Backend, Fetch, SessionFile};
use crate::config::Delegation;
use crate::config::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::ffi::{self, JobPlace, JobRecord, Language, SessionSettings};
use crate::job::status::ArcState;
use crate::job::{JobId, JobInfo};
use crate::logging::{self, LogLevel};
use crate::matching::Offer;
use crate::util::lock;
use jobs::{Answer, act};
use session::{CONNECTIONS, Pool};

/// ARC's name for the interface.
const INTERFACE: &str = "org.nordugrid.arcrest";

/// How many jobs are submitted in one request: A-REX takes some 10 ms for each before it answers.
const SUBMIT_CHUNK: usize = 250;

/// How large a request may become. A-REX takes 100 MiB.
const SUBMIT_BYTES: usize = 32 << 20;

/// How many requests are under way at once. On one CE more of them only wait for each other.
const AT_ONCE: usize = CONNECTIONS / 2;

/// After so many requests in a row without an answer a CE is taken for dead.
const SILENT: usize = 2 * AT_ONCE;

/// A CE with a REST interface.
#[derive(Debug)]
pub(crate) struct RestBackend {
    pool: Pool,
    proxy: String,
    delegation: Delegation,
    delegations: delegation::Delegations,
    costs: states::Costs,
}

impl RestBackend {
    /// `delegation`: which jobs get the user's credentials.
    pub(crate) fn new(endpoint: Endpoint, settings: &SessionSettings, delegation: Delegation) -> Result<RestBackend> {
        Ok(RestBackend {
            pool: Pool::new(endpoint, settings)?,
            proxy: settings.proxy.clone(),
            delegation,
            delegations: delegation::Delegations::default(),
            costs: states::Costs::default(),
        })
    }

    /// Asks the CE which versions of the interface it has, and takes the newest that is spoken here. `false` when it has
    /// no REST interface, or none of these.
    ///
    /// Version 1.1 (ARC 7) has all of 1.0.
    pub(crate) fn offered(&self) -> Result<bool> {
        let reply = self.pool.versions()?;
        match reply.code {
            200 => {}
            404 | 501 => return Ok(false),
            _ => return Err(self.pool.refused(&reply)),
        }
        let text = String::from_utf8_lossy(&reply.body);
        let newest = ["1.1", "1.0"].into_iter().find(|version| text.contains(&format!("<version>{version}</version>")));
        if let Some(version) = newest {
            self.pool.speak(version);
        }
        Ok(newest.is_some())
    }

    /// Splits ids into those that can be jobs of this CE, as it names them, and asks about those.
    fn ask<T>(
        &self,
        ids: &[JobId],
        question: impl FnOnce(&[&str]) -> Result<Vec<Result<T>>>,
    ) -> Result<Vec<Result<T>>> {
        let local: Vec<Option<&str>> = ids.iter().map(|id| self.pool.endpoint().job_local_id(id.as_str())).collect();
        let asked: Vec<&str> = local.iter().flatten().copied().collect();
        let mut answers = if asked.is_empty() { Vec::new() } else { question(&asked)? }.into_iter();
        let not_found = |id: &JobId| Error::JobNotFound { job_id: id.clone() };
        let one = |(id, local): (&JobId, &Option<&str>)| {
            let answer = local.as_ref().and_then(|_| answers.next()).unwrap_or_else(|| Err(not_found(id)));
            // The CE knows the job by a shorter name than the caller.
            answer.map_err(|error| match error {
                Error::JobNotFound { .. } => not_found(id),
                Error::JobOperation { operation, message, .. } => {
                    Error::JobOperation { job_id: id.clone(), operation, message }
                }
                other => other,
            })
        };
        Ok(ids.iter().zip(&local).map(one).collect())
    }

    /// One result a job from one answer a job.
    fn operate(&self, operation: &'static str, action: &str, ids: &[&str]) -> Result<Vec<Result<()>>> {
        let one = |answer: Answer| match answer.code {
            200..=299 => Ok(()),
            404 => Err(Error::JobNotFound { job_id: answer.id.into() }),
            _ => Err(Error::JobOperation { job_id: answer.id.into(), operation, message: answer.reason }),
        };
        Ok(act(&self.pool, action, ids)?.into_iter().map(one).collect())
    }

    /// Submits as many jobs as go into one request. `None` when the CE did not answer: then nothing more should be sent.
    fn submit_chunk(
        &self,
        jobs: &[PreparedJob],
        adl: &[String],
        accepted: Accepted<'_>,
    ) -> Option<Vec<Result<JobPlace>>> {
        let all = |message: String| jobs.iter().map(|_| Err(self.not_submitted(message.clone()))).collect();
        let body = ["<ActivityDescriptions>", &adl.concat(), "</ActivityDescriptions>"].concat();
        let reply = match self.pool.submit("jobs?action=new", body.as_bytes()) {
            Ok(reply) => reply,
            Err(error) => {
                logging::log(
                    LogLevel::Error,
                    format!("{} jobs may exist of which no id is known: {error}", jobs.len()),
                );
                return None;
            }
        };
        if reply.code != 201 {
            return Some(all(self.pool.refused(&reply).to_string()));
        }
        let answers = match jobs::parse(&self.pool, &reply.body) {
            Ok(answers) => answers,
            Err(error) => return Some(all(format!("{error}; the jobs may exist"))),
        };
        if answers.len() != jobs.len() {
            // Which is which is unknown, but what exists is named.
            let ids: Vec<&str> = answers.iter().map(|answer| answer.id.as_str()).filter(|id| !id.is_empty()).collect();
            let message = format!("{} answers for {} jobs; there exist {}", answers.len(), jobs.len(), ids.join(" "));
            logging::log(LogLevel::Error, &message);
            return Some(all(message));
        }
        let place = |(job, answer): (&PreparedJob, Answer)| match answer.code {
            201 if self.pool.endpoint().job_local_id(&answer.id) == Some(&answer.id) => Ok(self.place(job, answer.id)),
            201 => Err(self.not_submitted(format!("it exists, with an unusable id: {:?}", answer.id))),
            _ => Err(self.not_submitted(answer.reason)),
        };
        let mut places: Vec<Result<JobPlace>> = jobs.iter().zip(answers).map(place).collect();
        // They exist from here on: whatever happens next, they are known.
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

    /// Uploads the input files of jobs. A job that does not get all of its own would wait for ever: it is cancelled.
    fn upload(&self, jobs: &[PreparedJob], places: &mut [Result<JobPlace>]) {
        let mut uploads = Vec::new();
        for (index, (job, place)) in jobs.iter().zip(places.iter()).enumerate() {
            if let Ok(place) = place {
                uploads.extend(job.uploads.iter().map(|input| (index, place.local_id.clone(), input)));
            }
        }
        let results = in_parallel(&uploads, |(_, id, input)| files::upload(&self.pool, id, input));
        let mut failures: HashMap<usize, Error> = HashMap::new();
        for ((index, _, input), result) in uploads.iter().zip(results) {
            if let Err(error) = result {
                let error = match error {
                    error @ Error::InputFile { .. } => error,
                    error => Error::InputFile { path: input.label(), message: error.to_string(), source: None },
                };
                failures.entry(*index).or_insert(error);
            }
        }
        // All in one request: a CE that does not answer is waited for once, not once a job.
        let failed: Vec<&str> = failures
            .keys()
            .filter_map(|index| places[*index].as_ref().ok())
            .map(|place| place.local_id.as_str())
            .collect();
        let cancelled: Vec<bool> = match self.operate("cancel", "kill", &failed) {
            Ok(answers) => answers.iter().map(Result::is_ok).collect(),
            Err(_) => vec![false; failed.len()],
        };
        for ((index, error), cancelled) in failures.into_iter().zip(cancelled) {
            let Ok(place) = &places[index] else { continue };
            let id = JobId::from(place.id.as_str());
            let outcome = if cancelled { "it has been cancelled" } else { "it could not be cancelled" };
            logging::log(LogLevel::Warning, format!("job {id} did not get its input files, {outcome}: {error}"));
            places[index] = Err(Error::JobSubmission {
                endpoint: self.pool.endpoint().url(),
                job_id: Some(id),
                message: format!("{error}; {outcome}"),
            });
        }
    }
}

impl Backend for RestBackend {
    fn submit(&self, jobs: &[PreparedJob], accepted: Accepted<'_>) -> Result<Vec<Result<JobPlace>>> {
        let mut jobs = jobs.to_vec();
        let is_delegated = |job: &PreparedJob| match self.delegation {
            Delegation::Auto => job.delegate,
            Delegation::Always => true,
            Delegation::Never => false,
        };
        if jobs.iter().any(is_delegated) {
            let id = self.delegations.ensure(&self.pool, &self.proxy)?;
            jobs.iter_mut().filter(|job| is_delegated(job)).for_each(|job| job.description.delegation = id.clone());
        }
        // All are written before any is sent.
        let mut adl = Vec::with_capacity(jobs.len());
        for job in &jobs {
            adl.push(without_declaration(ffi::describe(&job.description, Language::Adl)?));
        }
        // Whatever fails here fails before anything exists.
        self.pool.reach()?;
        let mut results = Vec::with_capacity(jobs.len());
        while results.len() < jobs.len() {
            let first = results.len();
            let mut bytes = 0;
            let fit = |text: &&String| {
                bytes += text.len();
                bytes <= SUBMIT_BYTES
            };
            let count = adl[first..].iter().take(SUBMIT_CHUNK).take_while(fit).count().max(1);
            let range = first..first + count;
            let Some(submitted) = self.submit_chunk(&jobs[range.clone()], &adl[range], accepted) else {
                let lost = "the answer of the CE is lost: the job may exist";
                results.extend((0..count).map(|_| Err(self.not_submitted(lost.into()))));
                let rest = "not sent, since the CE no longer answers";
                results.extend((results.len()..jobs.len()).map(|_| Err(self.not_submitted(rest.into()))));
                break;
            };
            results.extend(submitted);
        }
        Ok(results)
    }

    fn states(&self, ids: &[JobId]) -> Result<Vec<Result<ArcState>>> {
        self.ask(ids, |ids| {
            let states = states::fresh(&self.pool, &self.costs, ids)?;
            Ok(states.into_iter().map(|state| Ok(ArcState::from_rest(&state?))).collect())
        })
    }

    fn jobs(&self, ids: &[JobId]) -> Result<Vec<Result<JobInfo>>> {
        let records = self.ask(ids, |ids| states::records(&self.pool, &self.costs, ids))?;
        Ok(ids.iter().zip(records).map(|(id, record)| Ok(JobInfo::new(id.clone(), record?))).collect())
    }

    fn cancel(&self, ids: &[JobId]) -> Result<Vec<Result<()>>> {
        self.ask(ids, |ids| {
            // A-REX takes the order for a job that has ended too, and keeps it lying about.
            let answers = act(&self.pool, "status", ids)?;
            let is_running = |answer: &Answer| answer.code == 200 && !ArcState::from_rest(&answer.state).is_final();
            let running: Vec<&str> =
                answers.iter().filter(|answer| is_running(answer)).map(|answer| answer.id.as_str()).collect();
            let mut cancelled = self.operate("cancel", "kill", &running)?.into_iter();
            let one = |answer: &Answer| match answer.code {
                404 => Err(Error::JobNotFound { job_id: answer.id.as_str().into() }),
                _ if is_running(answer) => cancelled.next().unwrap_or(Ok(())),
                _ => Ok(()),
            };
            Ok(answers.iter().map(one).collect())
        })
    }

    fn clean(&self, ids: &[JobId]) -> Result<Vec<Result<()>>> {
        self.ask(ids, |ids| {
            let states = states::fresh(&self.pool, &self.costs, ids)?;
            let is_ended = |state: &Result<String>| matches!(state, Ok(state) if ArcState::from_rest(state).is_final());
            let ended: Vec<&str> =
                ids.iter().zip(&states).filter(|(_, state)| is_ended(state)).map(|(id, _)| *id).collect();
            let mut cleaned = self.operate("clean", "clean", &ended)?.into_iter();
            let one = |(id, state): (&&str, Result<String>)| {
                if is_ended(&state) {
                    return cleaned.next().unwrap_or(Ok(()));
                }
                let message = format!("it has not ended: it is {}", state?);
                Err(Error::JobOperation { job_id: JobId::from(*id), operation: "clean", message })
            };
            Ok(ids.iter().zip(states).map(one).collect())
        })
    }

    fn files(&self, ids: &[JobId]) -> Result<Vec<Result<Vec<SessionFile>>>> {
        self.ask(ids, |ids| {
            let listed = in_parallel(ids, |id| files::list(&self.pool, id));
            let without: Vec<&str> =
                ids.iter().zip(&listed).filter(|(_, listed)| matches!(listed, Ok(None))).map(|(id, _)| *id).collect();
            let known = act(&self.pool, "status", &without)?.into_iter().map(|answer| (answer.id.clone(), answer.code));
            let known: HashMap<String, u16> = known.collect();
            let one = |(id, listed): (&&str, Result<Option<Vec<SessionFile>>>)| match listed? {
                Some(files) => Ok(files),
                None if known.get(*id) == Some(&404) => Err(Error::JobNotFound { job_id: JobId::from(*id) }),
                None => Ok(Vec::new()),
            };
            Ok(ids.iter().zip(listed).map(one).collect())
        })
    }

    fn fetch(&self, wanted: &[Fetch<'_>]) -> Vec<Result<()>> {
        let fetched = in_parallel(wanted, |fetch| files::download(&self.pool, fetch.file, &fetch.to));
        let named = |(fetch, result): (&Fetch<'_>, Result<()>)| {
            result.map_err(|error| match error {
                Error::Exiting => Error::Exiting,
                error => Error::OutputFile {
                    job_id: fetch.id.clone(),
                    path: fetch.shown.into(),
                    message: error.to_string(),
                    source: None,
                },
            })
        };
        wanted.iter().zip(fetched).map(named).collect()
    }

    fn offer(&self) -> Result<Offer> {
        info::offer(&self.pool)
    }
}

/// The text without `<?xml ...?>`, so that it can be a part of another document.
fn without_declaration(xml: String) -> String {
    match xml.strip_prefix("<?xml").and_then(|rest| rest.split_once("?>")) {
        Some((_, rest)) => rest.trim_start().to_owned(),
        None => xml,
    }
}

/// Does the same with each item, several at a time; the results are in the order of the items.
///
/// A CE that does not answer is not asked for each of them: after some failures in a row the rest are not tried.
fn in_parallel<I: Sync, T: Send>(items: &[I], work: impl Fn(&I) -> Result<T> + Sync) -> Vec<Result<T>> {
    let next = AtomicUsize::new(0);
    let silent = AtomicUsize::new(0);
    let last: Mutex<Option<(String, String)>> = Mutex::new(None);
    let done: Mutex<Vec<(usize, Result<T>)>> = Mutex::new(Vec::with_capacity(items.len()));
    let log = logging::current();
    let try_one = |item: &I| {
        if silent.load(Ordering::Relaxed) >= SILENT {
            let (endpoint, message) = lock(&last).clone().unwrap_or_default();
            return Err(Error::Connection { endpoint, message: format!("not tried after {message}") });
        }
        let result = work(item);
        match &result {
            Err(Error::Connection { endpoint, message }) => {
                *lock(&last) = Some((endpoint.clone(), message.clone()));
                silent.fetch_add(1, Ordering::Relaxed);
            }
            _ => silent.store(0, Ordering::Relaxed),
        }
        result
    };
    let share = || {
        let _entered = log.as_ref().map(|log| log.enter());
        while let Some((index, item)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            items.get(index).map(|item| (index, item))
        } {
            let result = try_one(item);
            lock(&done).push((index, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..items.len().min(AT_ONCE) {
            // A process that may have no more threads does it with fewer: this one works too.
            if std::thread::Builder::new().spawn_scoped(scope, share).is_err() {
                break;
            }
        }
        share();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}
