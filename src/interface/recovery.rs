//! Settling submissions whose outcome is unknown.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::ArcInterface;
use super::submission::{Submission, is_settled};
use crate::backend::prepare::prepare;
use crate::backend::{Discarded, Found, Inputs, Search, Uploaded};
use crate::description::{JobDescription, urn};
use crate::error::{Error, Operation, Result};
use crate::ffi::JobPlace;
use crate::job::JobId;
use crate::journal::Claim;

/// A job that has come to exist, for [`on_created`](super::ArcInterfaceBuilder::on_created).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CreatedJob {
    /// The key of the submission: the one of the description, or the random one that the crate chose.
    pub key: String,
    /// The id of the job.
    pub id: JobId,
}

/// The callback of [`on_created`](super::ArcInterfaceBuilder::on_created).
pub(super) struct OnCreated(Box<dyn Fn(&CreatedJob) + Send + Sync>);

impl OnCreated {
    pub(super) fn new(callback: impl Fn(&CreatedJob) + Send + Sync + 'static) -> OnCreated {
        OnCreated(Box::new(callback))
    }

    pub(super) fn call(&self, job: &CreatedJob) {
        self.0(job);
    }
}

impl fmt::Debug for OnCreated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnCreated")
    }
}

/// A submission that was not complete, and what became of it: see [`ArcInterface::recover`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RecoveredSubmission {
    /// The key of the submission: the one of the description, or the random one that the crate chose.
    pub key: String,
    /// What became of it.
    pub outcome: SubmissionOutcome,
}

/// The outcome of a recovered submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SubmissionOutcome {
    /// The job exists and waits for no input files.
    Submitted(JobId),
    /// The job exists and waits for input files, or the CE did not say whether it does. [`ArcInterface::resume_uploads`] uploads them, and so does submitting
    /// the description with the same key again.
    NeedsInputs(JobId),
    /// No job runs or ran with this key: it does not exist, has ended without its input files, or has been removed from the
    /// CE. The key is free again.
    NotSubmitted,
    /// The CE does not have the job, but it may still come to exist. Or its submitter has tried to cancel it, and the CE has
    /// not done so yet. Ask again after half a minute.
    Unknown,
    /// Another thread or process is submitting the job.
    InProgress,
}

/// # Submissions whose outcome is unknown
impl ArcInterface {
    /// Finds the job that was submitted with a key. `None` if there is none.
    ///
    /// Looks in the journal first, which costs no request if the submission is complete. Otherwise the call settles it, as
    /// [`recover`](Self::recover) does. If the journal does not have the key, as on another machine, the call searches all
    /// jobs of the user on the CE. A search costs two requests, one for each job whose key this journal has not seen yet, and
    /// up to five for each job with the key. A-REX opens the records of all users' jobs for it.
    ///
    /// A job that ended or was cancelled before it had its input files never ran, and does not count.
    ///
    /// # Errors
    ///
    /// [`Error::SubmissionUnknown`] if the CE may still create the job, has not cancelled it yet, or if another thread or
    /// process is submitting it.
    /// [`Error::Unsupported`] over EMI-ES, if the CE has to be asked. [`Error::Journal`], and the errors of
    /// [`job_statuses`](Self::job_statuses) for a CE that does not respond.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// match arc.find_submission("sweep 7, seed 42")? {
    ///     Some(job) => println!("the job is {job}"),
    ///     None => println!("it was never submitted"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn find_submission(&self, key: &str) -> Result<Option<JobId>> {
        let call = self.begin()?;
        let backend = self.backend(&call)?;
        let submission = Submission::new(self, &*backend, &call)?;
        match submission.look_up(key)? {
            (Some(id), _) => Ok(Some(id.into())),
            (None, true) => match submission.recover(&[key.to_owned()])?.pop() {
                Some(SubmissionOutcome::Submitted(id) | SubmissionOutcome::NeedsInputs(id)) => Ok(Some(id)),
                Some(SubmissionOutcome::NotSubmitted) | None => Ok(None),
                Some(SubmissionOutcome::InProgress) => {
                    Err(submission.unknown(key, "another thread or process is still submitting it"))
                }
                Some(SubmissionOutcome::Unknown) => {
                    Err(submission.unknown(key, "the CE does not have the job yet, or has not cancelled it yet"))
                }
            },
            (None, false) => {
                let found = submission.search(HashSet::from([urn(key)]), Search::AllJobs)?;
                let ids: Vec<JobId> = found.jobs.into_iter().map(|(_, place)| JobId::from(place.id)).collect();
                if ids.is_empty() { Ok(None) } else { submission.best_of(ids) }
            }
        }
    }

    /// Finds the outcome of every unfinished submission to this CE in the journal: those whose answer was lost, and those
    /// whose program ended before it had uploaded all input files. Call it when a program starts.
    ///
    /// The journal is a file beside `JOBS_INFO_FILE`, with `.submissions` added to its name. If that directory does not
    /// exist, it is `jasmin-arc/submissions` in the user's directory for data (`~/.local/share`). The crate writes to it
    /// before it sends a job, and any number of threads and processes can share it. It must be on a disk of this machine:
    /// SQLite's write-ahead log does not work over a network file system. Entries go when their jobs are cleaned. Entries of
    /// complete submissions also go after 60 days.
    ///
    /// A job whose upload failed, and whose order to cancel may be lost, is cancelled and counts as not submitted.
    ///
    /// Costs no request if nothing is open. Otherwise it costs one request for the list of jobs, one for each job whose key
    /// this journal has not seen, and up to five for each job that does not have its input files.
    ///
    /// # Errors
    ///
    /// As for [`find_submission`](Self::find_submission), without [`Error::SubmissionUnknown`].
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// use jasmin_arc::SubmissionOutcome;
    ///
    /// for submission in arc.recover()? {
    ///     match submission.outcome {
    ///         SubmissionOutcome::Submitted(job) => println!("{} runs as {job}", submission.key),
    ///         SubmissionOutcome::NotSubmitted => println!("{} has to be submitted again", submission.key),
    ///         other => println!("{}: {other:?}", submission.key),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn recover(&self) -> Result<Vec<RecoveredSubmission>> {
        let call = self.begin()?;
        let backend = self.backend(&call)?;
        let submission = Submission::new(self, &*backend, &call)?;
        let keys = submission.unfinished()?;
        let outcomes = submission.recover(&keys)?;
        let recovered = |(key, outcome)| RecoveredSubmission { key, outcome };
        Ok(keys.into_iter().zip(outcomes).map(recovered).collect())
    }

    /// Uploads those input files of a job that the CE still waits for, for example because the program that submitted
    /// it was killed. `job` is the description with which it was submitted.
    ///
    /// Does nothing if the job waits for no file. [`JobInfo::missing_inputs`](crate::JobInfo::missing_inputs) tells
    /// which files a job waits for. A-REX gives up 10 minutes after the submission. Costs up to five requests, and one for each file.
    ///
    /// # Errors
    ///
    /// [`Error::JobNotFound`]. [`Error::JobOperation`] if the job has ended, waits for a file that is not among the
    /// description's, or if a file cannot be uploaded. [`Error::InputFile`] and [`Error::InvalidJobDescription`] before
    /// anything is sent. [`Error::Unsupported`] over EMI-ES.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// use jasmin_arc::{JobDescription, JobId};
    ///
    /// let id = JobId::from("https://ce.example.org:443/arex/rest/1.0/jobs/0a1b2c");
    /// let job = JobDescription::new("/bin/cat").with_arg("data.txt").with_input_file("/home/me/data.txt");
    /// arc.resume_uploads(&id, &job)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn resume_uploads(&self, id: &JobId, job: &JobDescription) -> Result<()> {
        let prepared = prepare(job, self.0.commit)?;
        let call = self.begin()?;
        let uploaded = self.backend(&call)?.upload_missing(&[(id, &prepared)])?;
        match self.single(uploaded)?? {
            Uploaded::Whole => {}
            Uploaded::JobHasEnded => {
                return Err(Error::JobOperation {
                    job_id: id.clone(),
                    operation: Operation::UploadInputs,
                    message: "the job has ended without them".into(),
                });
            }
        }
        match self.0.endpoint.job_local_id(id.as_str()) {
            Some(local_id) => self.0.journal.completed_job(&self.0.endpoint.url(), local_id),
            None => Ok(()),
        }
    }
}

impl Submission<'_> {
    /// Settles submissions without their descriptions. The outcomes are in the order of `keys`.
    fn recover(&self, keys: &[String]) -> Result<Vec<SubmissionOutcome>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut outcomes = self.find_claimed(keys)?;
        self.check_inputs(keys, &mut outcomes)?;
        Ok(outcomes)
    }

    /// Claims the keys, and searches the CE for those whose job is not known.
    fn find_claimed<'k>(&self, keys: &'k [String]) -> Result<Vec<SubmissionOutcome>> {
        let begun = SystemTime::now();
        let claims = self.claim(&keys.iter().map(String::as_str).collect::<Vec<_>>())?;
        let is_sent = |claim: &Claim| matches!(claim, Claim::Sent(_));
        let wanted: HashSet<String> =
            keys.iter().zip(&claims).filter(|(_, claim)| is_sent(claim)).map(|(key, _)| urn(key)).collect();
        let found = if wanted.is_empty() { Found::default() } else { self.search(wanted, Search::UntilFound)? };
        let found: HashMap<String, JobPlace> = found.jobs.into_iter().collect();
        let places: Vec<(&str, &JobPlace)> =
            keys.iter().filter_map(|key| Some((key.as_str(), found.get(&urn(key))?))).collect();
        self.created(&places, true)?;
        let abandoned: Vec<JobId> = claims
            .iter()
            .filter_map(|claim| match claim {
                Claim::Abandoned(id) => Some(JobId::from(id.as_str())),
                _ => None,
            })
            .collect();
        let mut discarded = self.discard(&abandoned).into_iter();
        let mut free_keys = Vec::new();
        let mut complete_keys = Vec::new();
        let mut absent_keys = Vec::new();
        let outcome = |(key, claim): (&'k String, Claim)| match claim {
            Claim::Exists(id) => SubmissionOutcome::Submitted(id.into()),
            Claim::Created(id) => SubmissionOutcome::NeedsInputs(id.into()),
            Claim::Abandoned(id) => match discarded.next() {
                Some(Ok(Discarded::Cancelled)) => {
                    free_keys.push(key.as_str());
                    SubmissionOutcome::NotSubmitted
                }
                Some(Ok(Discarded::Ran)) => {
                    complete_keys.push(key.as_str());
                    SubmissionOutcome::Submitted(id.into())
                }
                Some(Err(_)) | None => SubmissionOutcome::Unknown,
            },
            Claim::Busy => SubmissionOutcome::InProgress,
            Claim::New => {
                free_keys.push(key.as_str());
                SubmissionOutcome::NotSubmitted
            }
            Claim::Sent(sent) => match found.get(&urn(key)) {
                Some(place) => SubmissionOutcome::NeedsInputs(place.id.as_str().into()),
                None if is_settled(sent, begun) => {
                    free_keys.push(key.as_str());
                    SubmissionOutcome::NotSubmitted
                }
                None => {
                    absent_keys.push(key.as_str());
                    SubmissionOutcome::Unknown
                }
            },
        };
        let outcomes = keys.iter().zip(claims).map(outcome).collect();
        self.record_complete(&complete_keys);
        self.forget(&free_keys);
        self.record_absence(&absent_keys, begun);
        Ok(outcomes)
    }

    /// Returns the job of a key, of those that were submitted with it: one that has its input files, or one that still waits
    /// for them. The others came late, or were cancelled before they ran.
    fn best_of(&self, ids: Vec<JobId>) -> Result<Option<JobId>> {
        let inputs = self.backend().inputs(&ids)?;
        let mut candidates = Vec::with_capacity(ids.len());
        for (id, inputs) in ids.into_iter().zip(inputs) {
            let rank = match inputs {
                Ok(Inputs::Complete { .. }) => 2,
                Ok(Inputs::Cancelled) => 1,
                Ok(Inputs::Waiting) => 0,
                Ok(Inputs::NeverRan) | Err(Error::JobNotFound { .. }) => continue,
                Err(error) => return Err(error),
            };
            candidates.push((rank, id));
        }
        Ok(candidates.into_iter().max().map(|(_, id)| id))
    }

    /// Finds out which of the jobs wait for input files. Others are complete, or never ran.
    fn check_inputs(&self, keys: &[String], outcomes: &mut [SubmissionOutcome]) -> Result<()> {
        let waiting: Vec<(usize, JobId)> = outcomes
            .iter()
            .enumerate()
            .filter_map(|(index, outcome)| match outcome {
                SubmissionOutcome::NeedsInputs(id) => Some((index, id.clone())),
                _ => None,
            })
            .collect();
        if waiting.is_empty() {
            return Ok(());
        }
        let ids: Vec<JobId> = waiting.iter().map(|(_, id)| id.clone()).collect();
        let inputs = self.backend().inputs(&ids)?;
        let mut complete: HashMap<usize, JobId> = HashMap::new();
        let mut never_ran = Vec::new();
        for ((index, id), inputs) in waiting.into_iter().zip(inputs) {
            match inputs {
                Ok(Inputs::Complete { .. } | Inputs::Cancelled) => drop(complete.insert(index, id)),
                Ok(Inputs::NeverRan) | Err(Error::JobNotFound { .. }) => never_ran.push((index, id)),
                Ok(Inputs::Waiting) | Err(_) => {}
            }
        }
        self.rule_out(never_ran.iter().map(|(_, id)| id))?;
        self.record_complete(&complete.keys().map(|index| keys[*index].as_str()).collect::<Vec<_>>());
        self.forget(&never_ran.iter().map(|(index, _)| keys[*index].as_str()).collect::<Vec<_>>());
        never_ran.into_iter().for_each(|(index, _)| outcomes[index] = SubmissionOutcome::NotSubmitted);
        for (index, id) in complete {
            outcomes[index] = SubmissionOutcome::Submitted(id);
        }
        Ok(())
    }
}
