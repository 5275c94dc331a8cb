//! How a submission passes through the journal: claim the keys, send the jobs, and find those whose answer is lost.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::time::{Duration, Instant, SystemTime};

use super::{ArcInterface, Call, CreatedJob};
use crate::backend::prepare::PreparedJob;
use crate::backend::{Backend, Discarded, Found, Loss, Progress, Search, Submitted, Uploaded};
use crate::description::urn;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::JobPlace;
use crate::job::JobId;
use crate::job_list;
use crate::journal::{Claim, Scope, Sent};
use crate::limits::Limits;
use crate::logging::{self, LogLevel};

/// If two searches at least this far apart both miss a job, the crate treats it as never created. A-REX needs seconds for a request that
/// it has received.
const SETTLE_TIME: Duration = Duration::from_secs(30);

/// The pauses before the searches for jobs whose answer was lost. A-REX may still be creating them.
const SEARCH_PAUSES: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// The pause between two looks at a job that another thread or process is submitting.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// The maximum number of times that one call sends a job with a commit.
const MAX_SENDS: usize = 3;

/// Results by the index of the job.
type IndexedResults = Vec<(usize, Result<JobId>)>;

/// One call that submits jobs or settles earlier submissions.
pub(super) struct Submission<'a> {
    arc: &'a ArcInterface,
    backend: &'a dyn Backend,
    limits: &'a Limits,
    scope: Scope,
    /// The keys that belong to this call. They are released when it ends, whatever happens.
    claimed: RefCell<HashSet<String>>,
}

impl Drop for Submission<'_> {
    fn drop(&mut self) {
        self.release();
    }
}

impl Submission<'_> {
    /// Ends the claims of this call.
    fn release(&self) {
        let claimed = self.claimed.take();
        let keys: Vec<&str> = claimed.iter().map(String::as_str).collect();
        if keys.is_empty() {
            return;
        }
        if let Err(error) = self.arc.0.journal.release(&self.scope, &keys) {
            logging::log(LogLevel::Warning, error.to_string());
        }
    }
}

/// Records the progress of one call in the journal, and reports it to `on_created`.
struct Recorder<'a> {
    submission: &'a Submission<'a>,
    jobs: &'a [PreparedJob],
}

impl Progress for Recorder<'_> {
    fn sending(&self, jobs: Range<usize>) -> Result<()> {
        let jobs: Vec<(&str, bool)> = self.jobs[jobs].iter().map(|job| (job.key.as_str(), job.commit)).collect();
        self.submission.arc.0.journal.sending(&self.submission.scope, &jobs)
    }

    fn created(&self, jobs: &[(usize, JobPlace)]) -> Result<()> {
        let durable = jobs.iter().any(|(index, _)| self.jobs[*index].commit);
        let jobs: Vec<(&str, &JobPlace)> =
            jobs.iter().map(|(index, place)| (self.jobs[*index].key.as_str(), place)).collect();
        self.submission.created(&jobs, durable)
    }

    fn cancelling(&self, jobs: &[usize]) -> Result<()> {
        if jobs.is_empty() {
            return Ok(());
        }
        let keys: Vec<&str> = jobs.iter().map(|index| self.jobs[*index].key.as_str()).collect();
        self.submission.arc.0.journal.abandoned(&self.submission.scope, &keys)
    }
}

impl<'a> Submission<'a> {
    pub(super) fn new(arc: &'a ArcInterface, backend: &'a dyn Backend, call: &'a Call) -> Result<Submission<'a>> {
        let scope = Scope { endpoint: arc.0.endpoint.url(), identity: arc.0.credentials.identity()? };
        Ok(Submission { arc, backend, limits: &call.limits, scope, claimed: RefCell::default() })
    }

    /// Submits jobs with different keys. The results are in the order of `jobs`.
    ///
    /// Waits for the keys that other threads or processes are submitting, at most for the timeout of the interface.
    pub(super) fn submit(&self, jobs: &[PreparedJob]) -> Result<Vec<Result<JobId>>> {
        let mut results: Vec<Option<Result<JobId>>> = jobs.iter().map(|_| None).collect();
        let begun = Instant::now();
        let mut waiting: Vec<usize> = (0..jobs.len()).collect();
        loop {
            let keys: Vec<&str> = waiting.iter().map(|index| jobs[*index].key.as_str()).collect();
            let mut busy = Vec::new();
            let submitted = self.claim(&keys).and_then(|claims| {
                let (still_busy, free): (Vec<_>, Vec<_>) =
                    waiting.iter().copied().zip(claims).partition(|(_, claim)| *claim == Claim::Busy);
                busy = still_busy;
                self.submit_claimed(jobs, free)
            });
            match submitted {
                Ok(submitted) => submitted.into_iter().for_each(|(index, result)| results[index] = Some(result)),
                Err(error) if results.iter().all(Option::is_none) => return Err(error),
                // The caller must get the results of the earlier rounds.
                Err(error) => {
                    let message = format!("not submitted: {error}");
                    let busy: HashSet<usize> = busy.iter().map(|(index, _)| *index).collect();
                    for index in waiting.iter().filter(|index| !busy.contains(*index)) {
                        results[*index] = Some(Err(self.submission_error(None, message.clone())));
                    }
                    break;
                }
            }
            waiting = busy.into_iter().map(|(index, _)| index).collect();
            if !waiting.is_empty() {
                // Others need not wait for the keys that have failed here.
                self.release();
            }
            let is_over = waiting.is_empty() || begun.elapsed() >= self.arc.0.timeout;
            if is_over || self.limits.sleep(BUSY_PAUSE).is_err() {
                break;
            }
        }
        let busy = |job: &PreparedJob| self.unknown(&job.key, "another thread or process is still submitting it");
        Ok(results.into_iter().zip(jobs).map(|(result, job)| result.unwrap_or_else(|| Err(busy(job)))).collect())
    }

    /// Submits the jobs that the journal does not have, and continues with those that it has.
    fn submit_claimed(&self, jobs: &[PreparedJob], claims: Vec<(usize, Claim)>) -> Result<IndexedResults> {
        let mut results = IndexedResults::with_capacity(claims.len());
        let mut new = Vec::new();
        let mut sent = Vec::new();
        let mut created = Vec::new();
        let mut abandoned = Vec::new();
        for (index, claim) in claims {
            match claim {
                Claim::New => new.push(index),
                Claim::Sent(unresolved) => sent.push((index, unresolved)),
                Claim::Created(id) => created.push((index, JobId::from(id))),
                Claim::Abandoned(id) => abandoned.push((index, JobId::from(id))),
                Claim::Exists(id) => results.push((index, Ok(JobId::from(id)))),
                Claim::Busy => {}
            }
        }
        for (to_send, settled) in
            [self.resume(jobs, created), self.replace_abandoned(jobs, abandoned), self.settle(jobs, sent)]
        {
            new.extend(to_send);
            results.extend(settled);
        }
        new.sort_unstable();
        match self.send(jobs, new.clone()) {
            Ok(sent) => results.extend(sent),
            Err(error) if results.is_empty() => return Err(error),
            // The caller must get the jobs that exist.
            Err(error) => {
                let message = format!("not submitted: {error}");
                results.extend(new.iter().map(|index| (*index, Err(self.submission_error(None, message.clone())))));
            }
        }
        Ok(results)
    }

    /// Claims keys.
    pub(super) fn claim(&self, keys: &[&str]) -> Result<Vec<Claim>> {
        let claims = self.arc.0.journal.claim(&self.scope, keys)?;
        let taken = keys.iter().zip(&claims).filter(|(_, claim)| !matches!(claim, Claim::Exists(_) | Claim::Busy));
        self.claimed.borrow_mut().extend(taken.map(|(key, _)| (*key).to_owned()));
        Ok(claims)
    }

    /// Sends jobs, and looks for those whose answer is lost.
    fn send(&self, jobs: &[PreparedJob], mut indices: Vec<usize>) -> Result<IndexedResults> {
        let mut results = IndexedResults::with_capacity(indices.len());
        for attempt in 1..=MAX_SENDS {
            if indices.is_empty() {
                break;
            }
            let chosen: Vec<PreparedJob> = indices.iter().map(|index| jobs[*index].clone()).collect();
            let keys: Vec<&str> = chosen.iter().map(|job| job.key.as_str()).collect();
            let submitted = match self.backend.submit(&chosen, &Recorder { submission: self, jobs: &chosen }) {
                Ok(submitted) => submitted,
                Err(error) if attempt == 1 => {
                    self.forget(&keys);
                    return Err(error);
                }
                // What an earlier attempt has done stays in the results.
                Err(error) => {
                    let unknown = |index: &usize| (*index, Err(self.unknown(&jobs[*index].key, &error.to_string())));
                    results.extend(indices.iter().map(unknown));
                    return Ok(results);
                }
            };
            let mut lost = Vec::new();
            let mut complete_keys = Vec::new();
            let mut refused_keys = Vec::new();
            for (index, submitted) in indices.iter().copied().zip(submitted) {
                let key = jobs[index].key.as_str();
                match submitted {
                    Submitted::Complete(place) => {
                        complete_keys.push(key);
                        results.push((index, Ok(JobId::from(place.id))));
                    }
                    Submitted::Incomplete { place, message, cancelled } => {
                        results.push((index, Err(self.incomplete(key, place, message, cancelled))));
                    }
                    Submitted::Failed(error) => {
                        refused_keys.push(key);
                        results.push((index, Err(error)));
                    }
                    Submitted::Unknown { message, loss } => lost.push((index, message, loss)),
                }
            }
            self.record_complete(&complete_keys);
            self.forget(&refused_keys);
            let (to_resend, found) = self.find_lost(jobs, lost, attempt < MAX_SENDS);
            results.extend(found);
            indices = to_resend;
        }
        Ok(results)
    }

    /// Looks for jobs whose answer is lost, given as their index and the reason. Returns those to send once more, and the
    /// results of the others.
    fn find_lost(
        &self,
        jobs: &[PreparedJob],
        mut lost: Vec<(usize, String, Loss)>,
        can_resend: bool,
    ) -> (Vec<usize>, IndexedResults) {
        let mut results = Vec::new();
        let mut to_resend = Vec::new();
        // A call waits for a silent CE only once.
        let is_silent = lost.iter().any(|(.., loss)| *loss == Loss::TimedOut);
        let mut problem = is_silent.then(|| "the search was skipped, because the CE does not respond".to_owned());
        let begun = SystemTime::now();
        for pause in SEARCH_PAUSES {
            if is_silent || lost.is_empty() {
                break;
            }
            if let Err(interrupted) = self.limits.sleep(pause) {
                problem = Some(Error::from(interrupted).to_string());
                break;
            }
            let wanted: Vec<usize> = lost.iter().map(|(index, ..)| *index).collect();
            match self.find_and_resume(jobs, &wanted) {
                Ok((never_ran, found)) => {
                    let indices: HashSet<usize> =
                        found.iter().map(|(index, _)| *index).chain(never_ran.iter().copied()).collect();
                    lost.retain(|(index, ..)| !indices.contains(index));
                    results.extend(found);
                    to_resend.extend(never_ran);
                    problem = None;
                }
                Err(error) => {
                    let kind = error.kind();
                    problem = Some(error.to_string());
                    if matches!(
                        kind,
                        ErrorKind::Unsupported
                            | ErrorKind::Exiting
                            | ErrorKind::TimedOut
                            | ErrorKind::Cancelled
                            | ErrorKind::DeadlineExceeded
                    ) {
                        break;
                    }
                }
            }
            let needs_no_more_searches =
                |(index, _, loss): &(usize, String, Loss)| *loss == Loss::Unreadable || jobs[*index].commit;
            if problem.is_none() && lost.iter().all(needs_no_more_searches) {
                break;
            }
        }
        let mut absent_keys = Vec::new();
        for (index, message, loss) in lost {
            let key = jobs[index].key.as_str();
            if let Some(problem) = &problem {
                let search = format!("; looking for the job: {problem}");
                let search = if *problem == message { "" } else { &search };
                results.push((index, Err(self.unknown(key, &format!("{message}{search}")))));
            } else if loss == Loss::Unreadable {
                self.forget(&[key]);
                results.push((index, Err(self.submission_error(None, message))));
            } else if jobs[index].commit && can_resend {
                to_resend.push(index);
            } else {
                absent_keys.push(key);
                results.push((index, Err(self.unknown(key, &message))));
            }
        }
        self.record_absence(&absent_keys, begun);
        if !can_resend {
            let message = "the job ended without its input files";
            results.extend(to_resend.drain(..).map(|index| (index, Err(self.unknown(&jobs[index].key, message)))));
        }
        (to_resend, results)
    }

    /// Settles submissions of earlier calls. Returns those that may be sent again, and the results of the others.
    fn settle(&self, jobs: &[PreparedJob], unresolved: Vec<(usize, Sent)>) -> (Vec<usize>, IndexedResults) {
        if unresolved.is_empty() {
            return (Vec::new(), IndexedResults::new());
        }
        let begun = SystemTime::now();
        let wanted: Vec<usize> = unresolved.iter().map(|(index, _)| *index).collect();
        let (mut absent, mut results) = match self.find_and_resume(jobs, &wanted) {
            Ok(found) => found,
            Err(error) => {
                let message = error.to_string();
                let unknown = |index: usize| (index, Err(self.unknown(&jobs[index].key, &message)));
                return (Vec::new(), wanted.into_iter().map(unknown).collect());
            }
        };
        let found: HashSet<usize> = results.iter().map(|(index, _)| *index).chain(absent.iter().copied()).collect();
        let mut absent_keys = Vec::new();
        for (index, sent) in unresolved.into_iter().filter(|(index, _)| !found.contains(index)) {
            let job = &jobs[index];
            if sent.waits || is_settled(sent, begun) {
                absent.push(index);
            } else {
                absent_keys.push(job.key.as_str());
                results.push((index, Err(self.unknown(&job.key, "the CE does not have the job yet"))));
            }
        }
        self.record_absence(&absent_keys, begun);
        (absent, results)
    }

    /// Searches the CE for jobs, records those that it has, and uploads their input files. Returns what
    /// [`resume`](Self::resume) returns.
    fn find_and_resume(&self, jobs: &[PreparedJob], indices: &[usize]) -> Result<(Vec<usize>, IndexedResults)> {
        let mut by_identifier: HashMap<String, usize> =
            indices.iter().map(|index| (urn(&jobs[*index].key), *index)).collect();
        let found = self.search(by_identifier.keys().cloned().collect(), Search::UntilFound)?;
        let mut places = Vec::new();
        for (identifier, mut place) in found.jobs {
            // Only one job of a key gets input files.
            let Some(index) = by_identifier.remove(&identifier) else { continue };
            let description = &jobs[index].description;
            place.name.clone_from(&description.name);
            place.stdout.clone_from(&description.stdout);
            place.stderr.clone_from(&description.stderr);
            places.push((index, place));
        }
        let created: Vec<(&str, &JobPlace)> =
            places.iter().map(|(index, place)| (jobs[*index].key.as_str(), place)).collect();
        self.created(&created, true)?;
        Ok(self.resume(jobs, places.into_iter().map(|(index, place)| (index, JobId::from(place.id))).collect()))
    }

    /// Searches the CE for identifiers. Remembers the identifiers of the jobs that it looks at.
    pub(super) fn search(&self, identifiers: HashSet<String>, search: Search) -> Result<Found> {
        let journal = &self.arc.0.journal;
        let known = journal.known_jobs(&self.scope, urn)?;
        let found = self.backend.find(&identifiers, &known, search)?;
        self.log_failure(journal.remember(&self.scope, &found.looked_at));
        Ok(found)
    }

    /// Uploads the missing input files of jobs that exist. Returns those that may be sent again, because their jobs ended
    /// without all input files, and the results of the others.
    fn resume(&self, jobs: &[PreparedJob], created: Vec<(usize, JobId)>) -> (Vec<usize>, IndexedResults) {
        let (with_uploads, without): (Vec<_>, Vec<_>) =
            created.into_iter().partition(|(index, _)| !jobs[*index].uploads.is_empty());
        let mut complete_keys: Vec<&str> = without.iter().map(|(index, _)| jobs[*index].key.as_str()).collect();
        let mut results: IndexedResults = without.into_iter().map(|(index, id)| (index, Ok(id))).collect();
        let uploads: Vec<(&JobId, &PreparedJob)> = with_uploads.iter().map(|(index, id)| (id, &jobs[*index])).collect();
        let uploaded = if uploads.is_empty() { Ok(Vec::new()) } else { self.backend.upload_missing(&uploads) };
        let uploaded = uploaded.unwrap_or_else(|error| {
            let message = error.to_string();
            uploads.iter().map(|(id, _)| Err(self.submission_error(Some((*id).clone()), message.clone()))).collect()
        });
        let mut never_ran = Vec::new();
        for ((index, id), uploaded) in with_uploads.into_iter().zip(uploaded) {
            match uploaded {
                Ok(Uploaded::Whole) => {
                    complete_keys.push(&jobs[index].key);
                    results.push((index, Ok(id)));
                }
                // A job that the CE has removed is free in the same way.
                Ok(Uploaded::JobHasEnded) | Err(Error::JobNotFound { .. }) => never_ran.push((index, id)),
                Err(error) => results.push((index, Err(self.submission_error(Some(id), error.to_string())))),
            }
        }
        self.record_complete(&complete_keys);
        if let Err(error) = self.rule_out(never_ran.iter().map(|(_, id)| id)) {
            let message = error.to_string();
            let failed = |(index, id)| (index, Err(self.submission_error(Some(id), message.clone())));
            results.extend(never_ran.drain(..).map(failed));
        }
        (never_ran.into_iter().map(|(index, _)| index).collect(), results)
    }

    /// Makes sure that jobs without all input files are cancelled. Returns those that may be sent again, and the results of
    /// the others.
    fn replace_abandoned(&self, jobs: &[PreparedJob], abandoned: Vec<(usize, JobId)>) -> (Vec<usize>, IndexedResults) {
        let ids: Vec<JobId> = abandoned.iter().map(|(_, id)| id.clone()).collect();
        let mut cancelled = Vec::new();
        let mut results = IndexedResults::new();
        for ((index, id), discarded) in abandoned.into_iter().zip(self.discard(&ids)) {
            match discarded {
                Ok(Discarded::Cancelled) => cancelled.push(index),
                Ok(Discarded::Ran) => {
                    self.record_complete(&[&jobs[index].key]);
                    results.push((index, Ok(id)));
                }
                Err(error) => results.push((index, Err(error))),
            }
        }
        (cancelled, results)
    }

    /// Cancels jobs without all input files, and records that they never ran. A job that the CE has removed counts as
    /// cancelled.
    pub(super) fn discard(&self, ids: &[JobId]) -> Vec<Result<Discarded>> {
        if ids.is_empty() {
            return Vec::new();
        }
        let failed = |id: &JobId, error: &Error| {
            let message =
                format!("the job lacks input files and could not be cancelled: {error}; submit the key again");
            self.submission_error(Some(id.clone()), message)
        };
        let all_failed = |error: Error| ids.iter().map(|id| Err(failed(id, &error))).collect();
        let discarded: Vec<Result<Discarded>> = match self.backend.discard(ids) {
            Ok(results) => {
                let one = |(id, result): (&JobId, Result<Discarded>)| match result {
                    Err(Error::JobNotFound { .. }) => Ok(Discarded::Cancelled),
                    result => result.map_err(|error| failed(id, &error)),
                };
                ids.iter().zip(results).map(one).collect()
            }
            Err(error) => return all_failed(error),
        };
        let cancelled = ids.iter().zip(&discarded).filter(|(_, result)| matches!(result, Ok(Discarded::Cancelled)));
        match self.rule_out(cancelled.map(|(id, _)| id)) {
            Ok(()) => discarded,
            Err(error) => all_failed(error),
        }
    }

    /// Records jobs that never ran without an identifier, so that a search skips them.
    pub(super) fn rule_out<'b>(&self, ids: impl Iterator<Item = &'b JobId>) -> Result<()> {
        let local_id = |id: &JobId| self.arc.0.endpoint.job_local_id(id.as_str()).map(str::to_owned);
        let jobs: Vec<(String, String)> = ids.filter_map(local_id).map(|id| (id, String::new())).collect();
        self.arc.0.journal.remember(&self.scope, &jobs)
    }

    /// Records created jobs, given as keys and places, adds them to the job list, and calls `on_created`. With
    /// `durable`, the record survives a crash of the machine.
    pub(super) fn created(&self, jobs: &[(&str, &JobPlace)], durable: bool) -> Result<()> {
        if jobs.is_empty() {
            return Ok(());
        }
        let entries: Vec<(&str, &str, &str)> =
            jobs.iter().map(|(key, place)| (*key, place.id.as_str(), place.local_id.as_str())).collect();
        let recorded = self.arc.0.journal.created(&self.scope, &entries, durable);
        let places: Vec<JobPlace> = jobs.iter().map(|(_, place)| (*place).clone()).collect();
        self.arc.add_to_job_list(&places);
        if let Some(on_created) = &self.arc.0.on_created {
            for (key, id, _) in entries {
                on_created.call(&CreatedJob { key: key.into(), id: id.into() });
            }
        }
        recorded
    }

    /// Returns the error of a job without its input files, and frees its key if the job has been cancelled.
    fn incomplete(&self, key: &str, place: JobPlace, message: String, cancelled: bool) -> Error {
        let id = JobId::from(place.id);
        // Otherwise the key stays abandoned, and the next submission of it makes sure.
        if cancelled && self.rule_out(std::iter::once(&id)).is_ok() {
            self.forget(&[key]);
        }
        self.submission_error(Some(id), message)
    }

    fn submission_error(&self, job_id: Option<JobId>, message: String) -> Error {
        Error::JobSubmission { endpoint: self.scope.endpoint.clone(), job_id, message }
    }

    /// Records that a search that began at `since` did not find jobs.
    pub(super) fn record_absence(&self, keys: &[&str], since: SystemTime) {
        self.log_failure(self.arc.0.journal.missing(&self.scope, keys, since));
    }

    /// Returns the id of the job with a key if its submission is complete, and whether a submission has to be settled.
    pub(super) fn look_up(&self, key: &str) -> Result<(Option<String>, bool)> {
        self.arc.0.journal.look_up(&self.scope, key)
    }

    /// Returns the keys of all submissions that are not complete.
    pub(super) fn unfinished(&self) -> Result<Vec<String>> {
        self.arc.0.journal.unfinished(&self.scope)
    }

    pub(super) fn backend(&self) -> &dyn Backend {
        self.backend
    }

    pub(super) fn record_complete(&self, keys: &[&str]) {
        let completed = self.arc.0.journal.completed(&self.scope, keys);
        if completed.is_ok() {
            self.drop_claims(keys);
        }
        self.log_failure(completed);
    }

    pub(super) fn forget(&self, keys: &[&str]) {
        let forgotten = self.arc.0.journal.forget(&self.scope, keys);
        if forgotten.is_ok() {
            self.drop_claims(keys);
        }
        self.log_failure(forgotten);
    }

    fn drop_claims(&self, keys: &[&str]) {
        let mut claimed = self.claimed.borrow_mut();
        for key in keys {
            claimed.remove(*key);
        }
    }

    /// Logs a failure of the journal that changes nothing for the caller: an entry that stays open is settled later.
    fn log_failure(&self, result: Result<()>) {
        if let Err(error) = result {
            logging::log(LogLevel::Warning, error.to_string());
        }
    }

    pub(super) fn unknown(&self, key: &str, message: &str) -> Error {
        Error::SubmissionUnknown { endpoint: self.scope.endpoint.clone(), key: key.into(), message: message.into() }
    }
}

/// Whether a job that the CE does not have now will not come to exist.
pub(super) fn is_settled(sent: Sent, now: SystemTime) -> bool {
    sent.missing_since.is_some_and(|since| now.duration_since(since).is_ok_and(|waited| waited >= SETTLE_TIME))
}

impl ArcInterface {
    /// Adds jobs to the job list of ARC's tools. Only logs a failure, because the CE has accepted the jobs already.
    fn add_to_job_list(&self, places: &[JobPlace]) {
        for place in places {
            logging::log(LogLevel::Info, format!("submitted job {}", place.id));
        }
        let path = self.0.config.jobs_info_file();
        if let Err(message) = job_list::add(&path, self.0.config.has_default_jobs_info_file(), places) {
            let ids: Vec<&str> = places.iter().map(|place| place.id.as_str()).collect();
            let message = format!(
                "cannot write the job list {}: {message}; it does not contain {}",
                path.display(),
                ids.join(" ")
            );
            logging::log(LogLevel::Warning, message);
        }
    }
}
