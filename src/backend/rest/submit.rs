//! Submits jobs, finds them by their identifiers, and uploads their input files.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::jobs::Item;
use super::record::{InputState, MissingInputs};
use super::session::{Repeat, Response};
use super::state::RestState;
use super::{INTERFACE, RestBackend, files, find, jobs, lookup, record};
use crate::backend::failure::{Failure, FileFailure, JobFailure, is_job_limit};
use crate::backend::prepare::PreparedJob;
use crate::backend::{Discarded, Found, Inputs, Loss, Progress, Search, Submitted, Uploaded};
use crate::description::formats::from_ffi;
use crate::description::{Delegation, URN_PREFIX, Upload};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::ffi::{self, JobPlace, Language};
use crate::job::JobId;
use crate::logging::{self, LogLevel};

/// The maximum number of jobs that one request submits. A-REX takes about 10 ms for each job before it responds.
const SUBMIT_CHUNK: usize = 250;

/// The maximum size of the descriptions in one request, in bytes. A-REX accepts 100 MiB.
const SUBMIT_BYTES: usize = 32 << 20;

/// After uploads of this length, check whether A-REX has given the job up. It does so after ten minutes
/// (`DTRGenerator::checkUploadedFiles`).
const GIVE_UP_CHECK_AFTER: Duration = Duration::from_secs(9 * 60);

/// How many jobs a search looks at before it checks whether it has found all.
const SEARCH_CHUNK: usize = 64;

/// Why no more requests are sent.
enum StopReason {
    /// The CE does not respond, or refuses requests.
    Failure(Failure),
    /// The jobs cannot be recorded.
    Unrecorded(String),
}

impl RestBackend {
    /// Submits jobs in as many requests as necessary.
    pub(super) fn submit_jobs(&self, jobs: &[PreparedJob], progress: &dyn Progress) -> Result<Vec<Submitted>> {
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
        let mut results: Vec<Option<Submitted>> = Vec::with_capacity(jobs.len());
        let mut written = Vec::with_capacity(jobs.len());
        for (index, job) in jobs.iter().enumerate() {
            match ffi::describe(&job.description, Language::Adl).map_err(from_ffi) {
                Ok(text) => {
                    written.push((index, without_declaration(text)));
                    results.push(None);
                }
                Err(Error::Exiting) => return Err(Error::Exiting),
                Err(error) => results.push(Some(Submitted::Failed(error))),
            }
        }
        if !written.is_empty() {
            // If this fails, no job exists yet.
            self.pool.reach().map_err(|failure| self.error(failure))?;
        }
        let mut stopped: Option<StopReason> = None;
        let mut rest = &written[..];
        while !rest.is_empty() {
            let (chunk, others) = rest.split_at(chunk_length(rest));
            rest = others;
            let submitted = match &stopped {
                Some(StopReason::Failure(failure)) => failed(chunk.len(), || self.error(failure.not_tried_after())),
                Some(StopReason::Unrecorded(message)) => failed(chunk.len(), || self.not_submitted(message.clone())),
                None => self.submit_chunk(&jobs, chunk, progress, &mut stopped),
            };
            for ((index, _), submitted) in chunk.iter().zip(submitted) {
                results[*index] = Some(submitted);
            }
        }
        Ok(results.into_iter().map(|result| result.unwrap_or_else(without_result)).collect())
    }

    /// Submits jobs with one request, given as their indices and descriptions in ADL. Sets `stopped` if the caller should
    /// send no more.
    fn submit_chunk(
        &self,
        jobs: &[PreparedJob],
        chunk: &[(usize, String)],
        progress: &dyn Progress,
        stopped: &mut Option<StopReason>,
    ) -> Vec<Submitted> {
        let all_unknown =
            |message: &str, loss| chunk.iter().map(|_| Submitted::Unknown { message: message.into(), loss }).collect();
        let (Some((first, _)), Some((last, _))) = (chunk.first(), chunk.last()) else { return Vec::new() };
        if let Err(error) = progress.sending(*first..*last + 1) {
            let message = format!("not sent: {error}");
            *stopped = Some(StopReason::Unrecorded(message.clone()));
            let mut error = Some(error);
            return failed(chunk.len(), || error.take().unwrap_or_else(|| self.not_submitted(message.clone())));
        }
        let mut body = String::from("<ActivityDescriptions>");
        body.extend(chunk.iter().map(|(_, text)| text.as_str()));
        body.push_str("</ActivityDescriptions>");
        let response = match self.pool.request(Repeat::Never, "POST", "jobs?action=new", body.as_bytes()) {
            Ok(response) => response,
            Err(failure) => {
                *stopped = Some(StopReason::Failure(failure.clone()));
                if !failure.was_sent() {
                    return failed(chunk.len(), || self.error(failure.clone()));
                }
                let error = self.error(failure);
                let message =
                    format!("the response is lost, so the CE may have created up to {} jobs: {error}", chunk.len());
                logging::log(LogLevel::Warning, message);
                let timed_out = error.kind() == ErrorKind::TimedOut;
                return all_unknown(&error.to_string(), if timed_out { Loss::TimedOut } else { Loss::Broken });
            }
        };
        if response.code != 201 {
            if is_refusal(&response) {
                *stopped = Some(StopReason::Failure(response.refusal()));
                return failed(chunk.len(), || self.error(response.refusal()));
            }
            // A gateway may send the response while A-REX still works on the request.
            return all_unknown(&self.error(response.refusal()).to_string(), Loss::Broken);
        }
        let items = match jobs::parse(&response.body) {
            Ok(items) if items.len() == chunk.len() => items,
            Ok(items) => {
                let message = format!("the CE responded with {} items for {} jobs", items.len(), chunk.len());
                return all_unknown(&message, Loss::Unreadable);
            }
            Err(failure) => return all_unknown(&self.error(failure).to_string(), Loss::Broken),
        };
        let mut places = Vec::with_capacity(chunk.len());
        let mut results: Vec<Option<Submitted>> = Vec::with_capacity(chunk.len());
        for ((index, _), item) in chunk.iter().zip(items) {
            let usable = self.pool.endpoint().job_local_id(&item.id) == Some(&item.id);
            results.push(match item.code {
                201 if usable => {
                    places.push((*index, self.place(&jobs[*index], &item.id)));
                    None
                }
                201 => {
                    let message = format!("the job exists with the unusable id {:?}", item.id);
                    Some(Submitted::Unknown { message, loss: Loss::Unreadable })
                }
                400..=599 => Some(Submitted::Failed(self.refused_item(item))),
                code => {
                    let message = format!("the response has the status {code} for the job");
                    Some(Submitted::Unknown { message, loss: Loss::Unreadable })
                }
            });
        }
        // The jobs exist now, so report them before anything else can fail.
        let recorded = progress.created(&places);
        let with_jobs: Vec<(&JobPlace, &PreparedJob)> =
            places.iter().map(|(index, place)| (place, &jobs[*index])).collect();
        let failures = match recorded {
            Ok(()) => self.upload(&with_jobs),
            // Without a record, no later run could upload the files that these jobs wait for.
            Err(error) => {
                let error = error.to_string();
                let has_uploads = |index: usize| !jobs[index].uploads.is_empty();
                let failures = places.iter().enumerate().filter(|(_, (index, _))| has_uploads(*index));
                failures.map(|(n, _)| (n, error.clone())).collect()
            }
        };
        let indices: Vec<usize> = places.iter().map(|(index, _)| *index).collect();
        let mut uploaded = self.cancel_incomplete(&indices, &with_jobs, failures, progress).into_iter();
        results.into_iter().map(|result| result.or_else(|| uploaded.next()).unwrap_or_else(without_result)).collect()
    }

    /// Converts the item of a job that A-REX does not accept.
    fn refused_item(&self, item: Item) -> Error {
        match is_job_limit(&item.reason) {
            true => self.error(Failure::Refused { code: item.code, message: item.reason }),
            false => self.not_submitted(item.reason),
        }
    }

    fn not_submitted(&self, message: String) -> Error {
        Error::JobSubmission { endpoint: self.pool.endpoint().url(), job_id: None, message }
    }

    fn place(&self, PreparedJob { description: job, .. }: &PreparedJob, local_id: &str) -> JobPlace {
        JobPlace {
            name: job.name.clone(),
            stdout: job.stdout.clone(),
            stderr: job.stderr.clone(),
            delegation: job.delegation.clone(),
            ..self.place_of(local_id)
        }
    }

    /// The data with which ARC's tools find a job, as far as the id determines them.
    pub(super) fn place_of(&self, local_id: &str) -> JobPlace {
        let service_url = self.pool.endpoint().url();
        JobPlace {
            id: format!("{service_url}/rest/1.0/jobs/{local_id}"),
            local_id: local_id.into(),
            service_url,
            information_interface: INTERFACE.into(),
            management_interface: INTERFACE.into(),
            ..JobPlace::default()
        }
    }

    /// Uploads the input files of jobs. Returns why jobs do not have all their files.
    fn upload(&self, jobs: &[(&JobPlace, &PreparedJob)]) -> HashMap<usize, String> {
        let uploads = jobs.iter().enumerate();
        let uploads = uploads
            .flat_map(|(n, (place, job))| job.uploads.iter().map(move |input| (n, place.local_id.as_str(), input)));
        let begun = Instant::now();
        let mut failures = self.upload_files(&uploads.collect::<Vec<_>>());
        if begun.elapsed() >= GIVE_UP_CHECK_AFTER {
            self.find_given_up(jobs, &mut failures);
        }
        failures
    }

    /// Adds the jobs that A-REX has given up, although it confirms uploads even then.
    fn find_given_up(&self, jobs: &[(&JobPlace, &PreparedJob)], failures: &mut HashMap<usize, String>) {
        let with_uploads = jobs
            .iter()
            .enumerate()
            .filter(|(index, (_, job))| !job.uploads.is_empty() && !failures.contains_key(index));
        let looks: Vec<(usize, &str)> =
            with_uploads.map(|(index, (place, _))| (index, place.local_id.as_str())).collect();
        let states = self.pool.in_parallel(&looks, |(_, id)| record::input_state(&self.pool, id));
        for ((index, _), state) in looks.iter().zip(states) {
            if matches!(state, Ok(InputState::Known(Inputs::NeverRan))) {
                failures.insert(*index, "the upload took so long that the CE gave up waiting".into());
            }
        }
    }

    /// Uploads files, given as the index of the job, its id and the file. Returns why jobs do not have all their files.
    fn upload_files(&self, uploads: &[(usize, &str, &Upload)]) -> HashMap<usize, String> {
        let results = self.pool.in_parallel(uploads, |(_, id, input)| files::upload(&self.pool, id, input));
        let mut failures = HashMap::new();
        for ((index, _, input), result) in uploads.iter().zip(results) {
            let Err(failure) = result else { continue };
            let cause = match failure {
                FileFailure::Local(error) => error.to_string(),
                FileFailure::Request(failure) => self.error(failure).to_string(),
            };
            failures.entry(*index).or_insert_with(|| format!("input file {}: {cause}", input.label().display()));
        }
        failures
    }

    /// Cancels the jobs that do not have all their input files, because they would wait until A-REX gives up. `indices`
    /// are the numbers of the jobs in the whole submission.
    fn cancel_incomplete(
        &self,
        indices: &[usize],
        jobs: &[(&JobPlace, &PreparedJob)],
        mut failures: HashMap<usize, String>,
        progress: &dyn Progress,
    ) -> Vec<Submitted> {
        let failed: Vec<usize> = (0..jobs.len()).filter(|index| failures.contains_key(index)).collect();
        let ids: Vec<&str> = failed.iter().map(|index| jobs[*index].0.local_id.as_str()).collect();
        let recorded = progress.cancelling(&failed.iter().map(|index| indices[*index]).collect::<Vec<_>>());
        let discarded = match recorded {
            Ok(()) => self.discard_jobs(&ids).unwrap_or_default(),
            Err(error) => {
                logging::log(LogLevel::Warning, error.to_string());
                Vec::new()
            }
        };
        let discarded: HashMap<usize, Discarded> =
            failed.iter().zip(discarded).filter_map(|(index, result)| Some((*index, result.ok()?))).collect();
        let one = |(index, (place, _)): (usize, &(&JobPlace, &PreparedJob))| match failures.remove(&index) {
            None => Submitted::Complete((*place).clone()),
            Some(_) if discarded.get(&index) == Some(&Discarded::Ran) => Submitted::Complete((*place).clone()),
            Some(cause) => {
                let cancelled = discarded.contains_key(&index);
                let outcome = if cancelled { "the job has been cancelled" } else { "the job could not be cancelled" };
                let message = format!("{cause}; {outcome}");
                logging::log(LogLevel::Warning, format!("job {} did not get all input files: {message}", place.id));
                Submitted::Incomplete { place: (*place).clone(), message, cancelled }
            }
        };
        jobs.iter().enumerate().map(one).collect()
    }

    /// Cancels jobs that did not get all their input files. One request orders A-REX to cancel them, so a CE that does not
    /// respond causes only one timeout. If it responds, look-ups follow, up to five for each job, and a second order for those
    /// that A-REX lost.
    pub(super) fn discard_jobs(&self, ids: &[&str]) -> Result<Vec<Result<Discarded, JobFailure>>, Failure> {
        let ordered = self.order_to_cancel(ids, |_| true)?;
        let looks: Vec<(&str, Result<(), JobFailure>)> = ids.iter().copied().zip(ordered).collect();
        let results = self.pool.in_parallel(&looks, |(id, ordered)| {
            ordered.clone()?;
            match record::input_state(&self.pool, id)? {
                // Nobody uploads its input files, so it never runs.
                InputState::Waiting(_) | InputState::Known(Inputs::NeverRan | Inputs::Cancelled) => {
                    Ok(Discarded::Cancelled)
                }
                InputState::Known(Inputs::Complete { has_ended: true }) => Ok(Discarded::Ran),
                InputState::Known(_) => {
                    let message = "it has its input files after all, and the CE has not cancelled it yet".into();
                    Err(JobFailure::Refused { operation: Operation::Cancel, message })
                }
            }
        });
        Ok(self.confirmed_absent(ids, results))
    }

    /// Looks whether jobs have their input files, with up to five requests for each.
    pub(super) fn inputs_of(&self, ids: &[&str]) -> Result<Vec<Result<Inputs, JobFailure>>, Failure> {
        let states = self.pool.in_parallel(ids, |id| {
            Ok(match record::input_state(&self.pool, id)? {
                InputState::Waiting(_) => Inputs::Waiting,
                InputState::Known(inputs) => inputs,
            })
        });
        Ok(self.confirmed_absent(ids, states))
    }

    /// Makes sure that jobs that the CE did not find do not exist. A-REX also responds with 404 if it cannot open the files
    /// of a job, for example because its session directory is on a file system that is away. Costs one request if there
    /// are any.
    fn confirmed_absent<T>(&self, ids: &[&str], mut results: Vec<Result<T, JobFailure>>) -> Vec<Result<T, JobFailure>> {
        if !results.iter().any(|result| matches!(result, Err(JobFailure::NotFound))) {
            return results;
        }
        let listed = lookup::listed_states(&self.pool);
        for (id, result) in ids.iter().zip(&mut results) {
            if !matches!(result, Err(JobFailure::NotFound)) {
                continue;
            }
            match &listed {
                Ok(listed) if listed.get(*id).is_some_and(|state| *state != RestState::Wiped) => {
                    let failure = Failure::invalid_response(format!("the CE lists job {id} and cannot open its files"));
                    *result = Err(failure.into());
                }
                Ok(_) => {}
                Err(failure) => *result = Err(failure.clone().into()),
            }
        }
        results
    }

    /// Searches the user's jobs for identifiers, with one request for the list (two for [`Search::AllJobs`]) and one for each
    /// job that is not in `known`.
    pub(super) fn search(
        &self,
        identifiers: &HashSet<String>,
        known: &HashMap<String, String>,
        search: Search,
    ) -> Result<Found, Failure> {
        let ids = match search {
            Search::UntilFound => find::listed_once(&self.pool)?,
            Search::AllJobs => find::ids(&self.pool)?,
        };
        let mut found = Found::default();
        let mut wanted = identifiers.clone();
        let mut unknown = Vec::new();
        let is_wanted = |identifier: &str, wanted: &mut HashSet<String>| {
            wanted.remove(identifier) || search == Search::AllJobs && identifiers.contains(identifier)
        };
        for id in &ids {
            match known.get(id) {
                Some(identifier) if is_wanted(identifier, &mut wanted) => {
                    found.jobs.push((identifier.clone(), self.place_of(id)));
                }
                Some(_) => {}
                None => unknown.push(id.as_str()),
            }
        }
        for chunk in unknown.chunks(SEARCH_CHUNK) {
            if wanted.is_empty() && search == Search::UntilFound {
                break;
            }
            let records = self.pool.in_parallel(chunk, |id| record::local_record(&self.pool, id));
            for (id, record) in chunk.iter().zip(records) {
                // Skip jobs that were removed after the list was read.
                let Some(record) = record? else { continue };
                let ours = record.identifiers.into_iter().find(|identifier| identifier.starts_with(URN_PREFIX));
                let identifier = ours.unwrap_or_default();
                if is_wanted(&identifier, &mut wanted) {
                    let place = JobPlace { name: record.name, ..self.place_of(id) };
                    found.jobs.push((identifier.clone(), place));
                }
                found.looked_at.push(((*id).to_owned(), identifier));
            }
        }
        Ok(found)
    }

    /// Returns those files of a job that it still waits for. `None` if the job has ended without them.
    fn awaited<'a>(&self, id: &str, job: &'a PreparedJob) -> Result<Option<Vec<&'a Upload>>, JobFailure> {
        let missing = match record::input_state(&self.pool, id)? {
            InputState::Known(Inputs::NeverRan) => return Ok(None),
            InputState::Known(_) => return Ok(Some(Vec::new())),
            InputState::Waiting(MissingInputs::NotRead(uploaded)) => {
                return Ok(Some(job.uploads.iter().filter(|upload| !uploaded.contains(&upload.name)).collect()));
            }
            InputState::Waiting(MissingInputs::Files(missing)) => missing,
            InputState::Waiting(MissingInputs::NoJob) => return Err(JobFailure::NotFound),
        };
        if let Some(name) = missing.iter().find(|name| !job.uploads.iter().any(|upload| upload.name == **name)) {
            let message = format!("the job waits for the input file {name:?}, which the description does not upload");
            return Err(JobFailure::Refused { operation: Operation::UploadInputs, message });
        }
        Ok(Some(job.uploads.iter().filter(|upload| missing.contains(&upload.name)).collect()))
    }

    /// Uploads the input files that jobs still wait for. Costs up to five requests for each job, and one for each file.
    pub(super) fn upload_missing_files(&self, jobs: &[(&JobId, &PreparedJob)]) -> Result<Vec<Result<Uploaded>>> {
        let endpoint = self.pool.endpoint();
        let local_ids: Vec<&str> =
            jobs.iter().map(|(id, _)| endpoint.job_local_id(id.as_str()).unwrap_or_default()).collect();
        let looks: Vec<(&str, &PreparedJob)> =
            local_ids.iter().copied().zip(jobs.iter().map(|(_, job)| *job)).collect();
        let awaited = self.pool.in_parallel(&looks, |(id, job)| match *id {
            "" => Err(JobFailure::NotFound),
            id => Ok((id, self.awaited(id, job)?)),
        });
        let awaited = self.confirmed_absent(&local_ids, awaited);
        let mut results: Vec<Result<Uploaded>> = Vec::with_capacity(jobs.len());
        let mut uploads = Vec::new();
        for (index, ((id, _), awaited)) in jobs.iter().zip(awaited).enumerate() {
            results.push(match awaited {
                Ok((local_id, Some(files))) => {
                    uploads.extend(files.into_iter().map(|upload| (index, local_id, upload)));
                    Ok(Uploaded::Whole)
                }
                Ok((_, None)) => Ok(Uploaded::JobHasEnded),
                Err(failure) => Err(failure.into_error(endpoint, id)),
            });
        }
        for (index, message) in self.upload_files(&uploads) {
            let (id, _) = jobs[index];
            results[index] =
                Err(Error::JobOperation { job_id: id.clone(), operation: Operation::UploadInputs, message });
        }
        Ok(results)
    }
}

fn failed(count: usize, error: impl FnMut() -> Error) -> Vec<Submitted> {
    std::iter::repeat_with(error).take(count).map(Submitted::Failed).collect()
}

/// The outcome of a job for which the response has no result.
fn without_result() -> Submitted {
    Submitted::Unknown { message: "the response has no result for the job".into(), loss: Loss::Broken }
}

/// Returns the number of jobs that fit into one request.
fn chunk_length(rest: &[(usize, String)]) -> usize {
    let mut bytes = 0;
    let fits = |(_, text): &&(usize, String)| {
        bytes += text.len();
        bytes <= SUBMIT_BYTES
    };
    rest.iter().take(SUBMIT_CHUNK).take_while(fits).count().max(1)
}

/// Whether A-REX has refused the whole request before it created a job.
fn is_refusal(response: &Response) -> bool {
    match response.code {
        408 | 429 => false,
        400..=499 => true,
        500 => is_job_limit(&response.reason),
        _ => false,
    }
}

/// The text without `<?xml ...?>`, so that it can be part of another document.
fn without_declaration(xml: String) -> String {
    match xml.strip_prefix("<?xml").and_then(|rest| rest.split_once("?>")) {
        Some((_, rest)) => rest.trim_start().to_owned(),
        None => xml,
    }
}
