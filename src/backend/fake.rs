//! [`FakeBackend`]: a CE in memory, for unit tests.

use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::backend::offer::Offer;
use crate::backend::prepare::PreparedJob;
use crate::backend::{Accepted, Backend, Fetch, Fetched, SessionFile};
use crate::error::{ConnectionFailure, Error, Result};
use crate::ffi::{Description, JobPlace};
use crate::job::{ArcState, Freshness, JobId, JobInfo, JobState};

/// A job of the fake CE. Tests change it directly.
#[derive(Clone, Debug)]
pub(crate) struct FakeJob {
    pub(crate) description: Description,
    pub(crate) state: ArcState,
    /// Name, content and listed size.
    pub(crate) files: Vec<(String, Vec<u8>, Option<u64>)>,
}

#[derive(Debug, Default)]
pub(crate) struct FakeBackend {
    jobs: Mutex<HashMap<String, FakeJob>>,
    /// The message of the error that every call returns, if set.
    pub(crate) unreachable: Mutex<Option<String>>,
    /// The files that the jobs remove after they are listed.
    pub(crate) removed: Mutex<Vec<String>>,
    /// What the CE offers.
    pub(crate) offer: Mutex<Offer>,
    /// The number of calls.
    pub(crate) calls: AtomicUsize,
}

impl FakeBackend {
    pub(crate) fn jobs(&self) -> MutexGuard<'_, HashMap<String, FakeJob>> {
        self.jobs.lock().unwrap()
    }

    /// Counts the call and fails if the CE is unreachable.
    fn begin_call(&self) -> Result<()> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        match &*self.unreachable.lock().unwrap() {
            Some(message) => Err(Error::Connection {
                endpoint: "fake".into(),
                failure: ConnectionFailure::Broken,
                message: message.clone(),
                source: None,
            }),
            None => Ok(()),
        }
    }

    fn each<T>(&self, ids: &[JobId], operation: impl Fn(&mut FakeJob) -> T) -> Result<Vec<Result<T>>> {
        self.begin_call()?;
        let mut jobs = self.jobs();
        let one = |id: &JobId| {
            let not_found = || Error::JobNotFound { job_id: id.clone(), message: "the CE does not know it".into() };
            jobs.get_mut(id.as_str()).map(&operation).ok_or_else(not_found)
        };
        Ok(ids.iter().map(one).collect())
    }
}

impl Backend for FakeBackend {
    fn submit(&self, jobs: &[PreparedJob], accepted: Accepted<'_>) -> Result<Vec<Result<JobPlace>>> {
        self.begin_call()?;
        let mut known = self.jobs();
        let mut one = |PreparedJob { description, .. }: &PreparedJob| {
            if description.executable == "/refused" {
                let message = "the CE refuses it".into();
                return Err(Error::JobSubmission { endpoint: "fake".into(), job_id: None, message });
            }
            let id = format!("fake://ce/{}", known.len() + 1);
            let job = FakeJob { description: description.clone(), state: ArcState::Accepted, files: Vec::new() };
            known.insert(id.clone(), job);
            let place = JobPlace { id, ..JobPlace::default() };
            accepted(std::slice::from_ref(&place));
            Ok(place)
        };
        Ok(jobs.iter().map(&mut one).collect())
    }

    fn states(&self, ids: &[JobId]) -> Result<Vec<Result<JobState>>> {
        self.each(ids, |job| JobState {
            state: job.state,
            native_state: job.state.to_string(),
            freshness: Freshness::Current,
        })
    }

    fn jobs(&self, ids: &[JobId]) -> Result<Vec<Result<JobInfo>>> {
        let states = self.states(ids)?;
        let info =
            |(id, state): (&JobId, Result<JobState>)| Ok(JobInfo { state: state?.state, ..JobInfo::new(id.clone()) });
        Ok(ids.iter().zip(states).map(info).collect())
    }

    fn cancel(&self, ids: &[JobId]) -> Result<Vec<Result<()>>> {
        self.each(ids, |job| {
            if !job.state.is_final() {
                job.state = ArcState::Killed;
            }
        })
    }

    fn clean(&self, ids: &[JobId]) -> Result<Vec<Result<()>>> {
        let cleaned = self.each(ids, |_| ())?;
        ids.iter().for_each(|id| drop(self.jobs().remove(id.as_str())));
        Ok(cleaned)
    }

    fn files(&self, ids: &[JobId]) -> Result<Vec<Result<Vec<SessionFile>>>> {
        self.each(ids, |job| {
            let file = |(path, _, size): &(String, Vec<u8>, Option<u64>)| SessionFile {
                path: path.clone().into(),
                url: path.clone(),
                size: *size,
            };
            job.files.iter().map(file).collect()
        })
    }

    fn fetch(&self, wanted: &[Fetch<'_>]) -> Vec<Result<Fetched>> {
        let jobs = self.jobs();
        let one = |fetch: &Fetch<'_>| {
            let failed = |message: &str, source| Error::OutputFile {
                job_id: fetch.id.clone(),
                path: fetch.shown.into(),
                message: message.into(),
                source,
            };
            let job = jobs.get(fetch.id.as_str()).ok_or_else(|| failed("no such job", None))?;
            if self.removed.lock().unwrap().contains(&fetch.file.url) {
                return Ok(Fetched::Removed);
            }
            let file = job.files.iter().find(|(path, ..)| *path == fetch.file.url);
            let (_, content, _) = file.ok_or_else(|| failed("no such file", None))?;
            fs::write(&fetch.to, content).map_err(|error| failed("cannot write", Some(error)))?;
            Ok(Fetched::Whole)
        };
        wanted.iter().map(one).collect()
    }

    fn offer(&self) -> Result<Offer> {
        self.begin_call()?;
        Ok(self.offer.lock().unwrap().clone())
    }
}
