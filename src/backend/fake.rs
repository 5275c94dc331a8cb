//! [`FakeBackend`]: a CE in memory, for unit tests.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::io::Write;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use crate::backend::poll::{PollMemory, Polled};
use crate::backend::prepare::PreparedJob;
use crate::backend::{
    Backend, Discarded, Enters, Fetch, Fetched, Found, Inputs, KnownNames, Loss, Progress, Search, SessionFile,
    SessionFiles, Submitted, Uploaded,
};
use crate::description::key_of;
use crate::error::{ConnectionFailure, Error, JobFileFailure, Operation, Result};
use crate::ffi::{Description, JobPlace};
use crate::job::{
    ArcState, DiagnosticPart, DiagnosticText, Freshness, JobDiagnostics, JobFilter, JobId, JobInfo, JobState,
    LeftOutReason,
};
use crate::limits::Limits;
use crate::service::ServiceInfo;

/// A job of the fake CE. Tests change it directly.
#[derive(Clone, Debug)]
pub(crate) struct FakeJob {
    pub(crate) description: Description,
    pub(crate) state: ArcState,
    /// Whether it has its input files.
    pub(crate) has_inputs: bool,
    /// Name, content and listed size.
    pub(crate) files: Vec<(String, Vec<u8>, Option<u64>)>,
    /// Why it failed, in A-REX's words.
    pub(crate) errors: Vec<String>,
    /// What the CE keeps about it.
    pub(crate) parts: BTreeMap<DiagnosticPart, DiagnosticText>,
}

impl FakeJob {
    /// Creates a job without files.
    pub(crate) fn new(description: Description, state: ArcState, has_inputs: bool) -> FakeJob {
        FakeJob { description, state, has_inputs, files: Vec::new(), errors: Vec::new(), parts: BTreeMap::new() }
    }
}

/// What happens to jobs that are submitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fate {
    #[default]
    Accepted,
    /// The CE creates the jobs, and its answer is lost.
    AnswerLost,
    /// The request is lost.
    RequestLost,
    /// The CE creates the jobs. Their input files and the orders to cancel them are lost.
    UploadLost,
}

/// When delegations expire that were renewed.
pub(crate) const RENEWED_UNTIL: SystemTime = SystemTime::UNIX_EPOCH;

#[derive(Clone, Debug, Default)]
pub(crate) struct FakeBackend {
    jobs: Arc<Mutex<HashMap<String, FakeJob>>>,
    /// The message of the error that every call returns, if set.
    pub(crate) unreachable: Arc<Mutex<Option<String>>>,
    /// The files that the jobs remove after they are listed.
    pub(crate) removed: Arc<Mutex<Vec<String>>>,
    /// What the CE publishes.
    pub(crate) service: Arc<Mutex<ServiceInfo>>,
    /// What happens to the jobs that are submitted.
    pub(crate) fate: Arc<Mutex<Fate>>,
    /// The beginning of all ids, if they are not those of the default.
    base: Option<String>,
    /// Whether a search finds nothing.
    pub(crate) blind: Arc<AtomicBool>,
    /// Whether cancelled jobs do not end yet.
    pub(crate) slow_cancel: Arc<AtomicBool>,
    /// The number of calls.
    pub(crate) calls: Arc<AtomicUsize>,
    limits: Limits,
}

impl FakeBackend {
    /// Creates a CE whose ids begin with `base` and a slash.
    pub(crate) fn at(base: String) -> FakeBackend {
        FakeBackend { base: Some(base), ..FakeBackend::default() }
    }

    fn base(&self) -> &str {
        self.base.as_deref().unwrap_or("fake://ce")
    }

    pub(crate) fn jobs(&self) -> MutexGuard<'_, HashMap<String, FakeJob>> {
        self.jobs.lock().unwrap()
    }

    /// Counts the call and fails if the CE is unreachable.
    fn begin_call(&self) -> Result<()> {
        self.limits.check()?;
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

    fn content(&self, id: &JobId, path: &OsStr) -> Result<Vec<u8>> {
        let find = |job: &mut FakeJob| job.files.iter().find(|file| *file.0 == *path).map(|file| file.1.clone());
        let found = self.each(std::slice::from_ref(id), find)?.remove(0)?;
        found.ok_or_else(|| Error::JobFile {
            job_id: id.clone(),
            path: path.into(),
            failure: JobFileFailure::NotFound,
            message: "the job has no such file".into(),
        })
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
    fn with_limits(&self, limits: Limits) -> Arc<dyn Backend> {
        Arc::new(FakeBackend { limits, ..self.clone() })
    }

    fn submit(&self, jobs: &[PreparedJob], progress: &dyn Progress) -> Result<Vec<Submitted>> {
        self.begin_call()?;
        progress.sending(0..jobs.len())?;
        let fate = *self.fate.lock().unwrap();
        let one = |(index, PreparedJob { description, .. }): (usize, &PreparedJob)| {
            if description.executable == "/refused" {
                let message = "the CE refuses it".into();
                return Submitted::Failed(Error::JobSubmission { endpoint: "fake".into(), job_id: None, message });
            }
            let unknown = Submitted::Unknown { message: "the answer is lost".into(), loss: Loss::Broken };
            if fate == Fate::RequestLost {
                return unknown;
            }
            let mut known = self.jobs();
            let id = format!("{}/{}", self.base(), known.len() + 1);
            let has_inputs = fate == Fate::Accepted;
            let description = description.clone();
            let job = FakeJob::new(description, ArcState::Accepted, has_inputs);
            known.insert(id.clone(), job);
            drop(known);
            if fate == Fate::AnswerLost {
                return unknown;
            }
            let place = JobPlace { local_id: id.clone(), id, ..JobPlace::default() };
            match progress.created(&[(index, place.clone())]) {
                Ok(()) if fate == Fate::UploadLost => {
                    progress.cancelling(&[index]).unwrap();
                    Submitted::Incomplete { place, message: "the upload is lost".into(), cancelled: false }
                }
                Ok(()) => Submitted::Complete(place),
                Err(_) if jobs[index].uploads.is_empty() => Submitted::Complete(place),
                Err(error) => Submitted::Incomplete { place, message: error.to_string(), cancelled: false },
            }
        };
        Ok(jobs.iter().enumerate().map(one).collect())
    }

    fn find(&self, identifiers: &HashSet<String>, known: &HashMap<String, String>, _: Search) -> Result<Found> {
        self.begin_call()?;
        let mut found = Found::default();
        if self.blind.load(Ordering::Relaxed) {
            return Ok(found);
        }
        for (id, job) in &*self.jobs() {
            let identifier = known.get(id).cloned().or(job.description.old_ids.first().cloned()).unwrap_or_default();
            let place = JobPlace { local_id: id.clone(), id: id.clone(), ..JobPlace::default() };
            found.looked_at.push((id.clone(), identifier.clone()));
            if identifiers.contains(&identifier) {
                found.jobs.push((identifier, place));
            }
        }
        Ok(found)
    }

    fn list(&self) -> Result<Vec<JobId>> {
        self.begin_call()?;
        Ok(self.jobs().keys().map(|id| JobId::from(id.as_str())).collect())
    }

    fn find_jobs(&self, filter: &JobFilter, known_names: KnownNames<'_>) -> Result<Vec<JobInfo>> {
        let ids: Vec<JobId> = match filter.ids() {
            Some(ids) => ids.to_vec(),
            None => self.list()?,
        };
        let mut found: Vec<JobInfo> = Backend::jobs(self, &ids)?.into_iter().flatten().collect();
        for job in &mut found {
            job.name = known_names(&[job.id.as_str()]).remove(job.id.as_str()).or(job.name.take());
        }
        found.retain(|job| filter.selects(job));
        found.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(found)
    }

    fn place(&self, id: &JobId) -> Option<JobPlace> {
        id.as_str().starts_with(self.base()).then(|| JobPlace {
            id: id.to_string(),
            local_id: id.local_id().into(),
            service_url: "fake://ce".into(),
            information_interface: "fake".into(),
            management_interface: "fake".into(),
            ..JobPlace::default()
        })
    }

    fn upload_missing(&self, jobs: &[(&JobId, &PreparedJob)]) -> Result<Vec<Result<Uploaded>>> {
        let ids: Vec<JobId> = jobs.iter().map(|(id, _)| (*id).clone()).collect();
        self.each(&ids, |job| match job.state.is_final() && !job.has_inputs {
            true => Uploaded::JobHasEnded,
            false => {
                job.has_inputs = true;
                Uploaded::Whole
            }
        })
    }

    fn inputs(&self, ids: &[JobId]) -> Result<Vec<Result<Inputs>>> {
        self.each(ids, |job| match (job.has_inputs, job.state.is_final()) {
            (true, _) if job.state == ArcState::Killed => Inputs::Cancelled,
            (true, has_ended) => Inputs::Complete { has_ended },
            (false, true) => Inputs::NeverRan,
            (false, false) => Inputs::Waiting,
        })
    }

    fn discard(&self, ids: &[JobId]) -> Result<Vec<Result<Discarded>>> {
        self.each(ids, |job| match job.state {
            ArcState::Finished if job.has_inputs => Discarded::Ran,
            _ => {
                job.state = ArcState::Killed;
                Discarded::Cancelled
            }
        })
    }

    fn states(&self, ids: &[JobId]) -> Result<Vec<Result<JobState>>> {
        self.each(ids, |job| JobState {
            state: job.state,
            native_state: job.state.to_string(),
            freshness: Freshness::Current,
        })
    }

    fn poll(&self, ids: &[JobId], memory: &mut PollMemory) -> Result<Polled> {
        let states = self.each(ids, |job| Some(job.state))?;
        let others = if memory.finds_others { self.list()? } else { Vec::new() };
        Ok(Polled { states, others, ..Polled::default() })
    }

    fn jobs(&self, ids: &[JobId]) -> Result<Vec<Result<JobInfo>>> {
        let states = self.each(ids, |job| job.clone())?;
        let info = |(id, job): (&JobId, Result<FakeJob>)| {
            let job = job?;
            let missing_inputs = if job.has_inputs || job.state.is_final() { Vec::new() } else { vec!["input".into()] };
            let name = Some(job.description.name).filter(|name| !name.is_empty());
            let key = job.description.old_ids.first().and_then(|identifier| key_of(identifier));
            Ok(JobInfo { state: job.state, name, key, missing_inputs, errors: job.errors, ..JobInfo::new(id.clone()) })
        };
        Ok(ids.iter().zip(states).map(info).collect())
    }

    fn cancel(&self, ids: &[JobId]) -> Result<Vec<Result<()>>> {
        self.each(ids, |job| {
            if !job.state.is_final() && !self.slow_cancel.load(Ordering::Relaxed) {
                job.state = ArcState::Killed;
            }
        })
    }

    fn clean(&self, ids: &[JobId]) -> Result<Vec<Result<()>>> {
        let cleaned = self.each(ids, |_| ())?;
        ids.iter().for_each(|id| drop(self.jobs().remove(id.as_str())));
        Ok(cleaned)
    }

    fn renew(&self, ids: &[JobId]) -> Result<Vec<Result<Option<SystemTime>>>> {
        self.each(ids, |job| (!job.description.delegation.is_empty()).then_some(RENEWED_UNTIL))
    }

    fn restart(&self, ids: &[JobId]) -> Result<Vec<Result<()>>> {
        let restarted = self.each(ids, |job| {
            let can = job.state == ArcState::Failed && job.description.rerun > 0;
            if can {
                job.description.rerun -= 1;
                job.state = ArcState::Accepted;
            }
            can
        })?;
        let refused = |id: &JobId| Error::JobOperation {
            job_id: id.clone(),
            operation: Operation::Restart,
            message: "No more restarts allowed".into(),
        };
        let one = |(id, restarted): (&JobId, Result<bool>)| if restarted? { Ok(()) } else { Err(refused(id)) };
        Ok(ids.iter().zip(restarted).map(one).collect())
    }

    fn files(&self, ids: &[JobId], _: &Enters<'_>) -> Result<Vec<Result<SessionFiles>>> {
        self.each(ids, |job| {
            let file = |(path, _, size): &(String, Vec<u8>, Option<u64>)| SessionFile {
                path: path.clone().into(),
                url: None,
                size: *size,
            };
            SessionFiles { files: job.files.iter().map(file).collect(), ..SessionFiles::default() }
        })
    }

    fn fetch(&self, wanted: &[Fetch<'_>]) -> Vec<Result<Fetched>> {
        let jobs = self.jobs();
        let one = |fetch: &Fetch<'_>| {
            let job = jobs.get(fetch.id.as_str()).ok_or_else(|| fetch.failed("no such job", false))?;
            if self.removed.lock().unwrap().iter().any(|name| **name == *fetch.file.path) {
                return Ok(Fetched::LeftOut(LeftOutReason::Removed));
            }
            let file = job.files.iter().find(|(path, ..)| **path == *fetch.file.path);
            let (_, content, _) = file.ok_or_else(|| fetch.failed("no such file", false))?;
            if fetch.file.size.is_some_and(|size| size != content.len() as u64) && job.state.is_final() {
                return Err(fetch.failed("it has another size", true));
            }
            let written = fetch.to.create(fetch.number, fetch.file.size).and_then(|mut file| file.write_all(content));
            let kept = written.and_then(|()| fetch.to.keep(fetch.number, fetch.file));
            kept.map_err(|error| fetch.not_written(error))
        };
        wanted.iter().map(one).collect()
    }

    fn file_size(&self, id: &JobId, path: &OsStr) -> Result<u64> {
        self.content(id, path).map(|content| content.len() as u64)
    }

    fn read_file(&self, id: &JobId, path: &OsStr, range: Range<u64>) -> Result<Vec<u8>> {
        let content = self.content(id, path)?;
        let end = usize::try_from(range.end).unwrap().min(content.len());
        Ok(content[usize::try_from(range.start).unwrap().min(end)..end].to_vec())
    }

    fn diagnostics(&self, id: &JobId) -> Result<JobDiagnostics> {
        let parts = self.each(std::slice::from_ref(id), |job| job.parts.clone())?.remove(0)?;
        Ok(JobDiagnostics { id: id.clone(), parts })
    }

    fn has_ended(&self, id: &JobId) -> Result<bool> {
        let states = self.states(std::slice::from_ref(id))?;
        states.into_iter().next().unwrap().map(|state| state.state.is_final())
    }

    fn service(&self) -> Result<ServiceInfo> {
        self.begin_call()?;
        Ok(self.service.lock().unwrap().clone())
    }

    fn ping(&self) -> Result<()> {
        self.begin_call()
    }
}
