//! Submitting jobs.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::path::Path;

use super::ArcInterface;
use super::submission::Submission;
use crate::backend::prepare::{PreparedJob, prepare};
use crate::description::{Delegation, JobDescription};
use crate::error::{Error, Result};
use crate::job::JobId;
use crate::util::random_hex;

impl ArcInterface {
    /// Submits a job that runs `executable`, a path on the CE, with `args`.
    ///
    /// The job runs in its own session directory. The crate uploads the local `input_files` to that directory under
    /// their base names. The CE keeps `stdout.txt`, `stderr.txt` and the file or directory named by `OUTPUT_FILE` for
    /// [`save_job_outputs`](Self::save_job_outputs). Use [`submit`](Self::submit) for everything else that a job can
    /// have.
    ///
    /// Costs two requests, and one for each input file.
    ///
    /// # Errors
    ///
    /// Before the crate sends anything: [`Error::InputFile`](crate::Error::InputFile) if an input file is missing,
    /// cannot be read, is not a regular file, or has the base name of another one;
    /// [`Error::InvalidJobDescription`](crate::Error::InvalidJobDescription) if an ARC-CE cannot express an argument;
    /// [`Error::Journal`](crate::Error::Journal) if the submission cannot be recorded on this machine, and
    /// [`Error::ProxyGeneration`](crate::Error::ProxyGeneration).
    ///
    /// From the CE: [`Error::NoTargetsAvailable`](crate::Error::NoTargetsAvailable);
    /// [`Error::JobSubmission`](crate::Error::JobSubmission) if the CE does not accept the job, or if an input file could
    /// not be uploaded, in which case the error has the id of the job, which the crate has tried to cancel;
    /// [`Error::JobLimit`](crate::Error::JobLimit) if the CE accepts no more jobs at present; and the errors of
    /// [`job_statuses`](Self::job_statuses) for a CE that does not respond.
    ///
    /// [`Error::SubmissionUnknown`](crate::Error::SubmissionUnknown) if the answer of the CE was lost, and the CE does not
    /// have the job yet. The error has the key of the submission: see [`find_submission`](Self::find_submission).
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// let job = arc.submit_job("/bin/cat", &["data.txt"], &["/home/me/data.txt".as_ref()])?;
    /// println!("submitted {job}");
    /// # Ok(())
    /// # }
    /// ```
    pub fn submit_job(&self, executable: &str, args: &[&str], input_files: &[&Path]) -> Result<JobId> {
        let mut job = JobDescription::new(executable)
            .with_args(args.iter().copied())
            .with_output_file(self.0.config.plain_output_file());
        for path in input_files {
            job = job.with_input_file(path);
        }
        self.submit(&job)
    }

    /// Submits a job.
    ///
    /// The CE keeps the outputs that the description names, and the standard output and error. The call ignores
    /// `OUTPUT_FILE`.
    ///
    /// A description [with a key](crate::JobDescription::with_key) makes at most one job: submitting it again returns the
    /// id of that job. A job that the crate cancelled before it ran does not count.
    ///
    /// Costs two requests, and one for each input file.
    ///
    /// # Errors
    ///
    /// As for [`submit_job`](Self::submit_job).
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// use jasmin_arc::JobDescription;
    ///
    /// let job = JobDescription::new("/bin/sh").with_args(["-c", "mkdir out; date > out/date"]).with_output_file("out");
    /// let id = arc.submit(&job)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn submit(&self, job: &JobDescription) -> Result<JobId> {
        let results = self.submit_jobs([job])?;
        self.single(results)?
    }

    /// Whether jobs get delegations that only a proxy certificate can create.
    fn needs_proxy_to_delegate(&self) -> bool {
        self.0.credentials.is_token() && self.0.config.delegation() != Delegation::Never
    }

    /// Submits many jobs. The results are in the order of `jobs`. A job that fails does not affect the others.
    ///
    /// Over the REST interface one request submits up to 250 jobs. The crate then uploads their input files, several at
    /// a time.
    ///
    /// # Errors
    ///
    /// For one job: [`Error::InputFile`](crate::Error::InputFile) and
    /// [`Error::InvalidJobDescription`](crate::Error::InvalidJobDescription), both before the crate sends anything,
    /// [`Error::JobSubmission`](crate::Error::JobSubmission), [`Error::JobLimit`](crate::Error::JobLimit) and
    /// [`Error::SubmissionUnknown`](crate::Error::SubmissionUnknown). For the call, if nothing has been submitted:
    /// [`Error::Journal`](crate::Error::Journal), [`Error::ProxyGeneration`](crate::Error::ProxyGeneration) and the errors
    /// of [`job_statuses`](Self::job_statuses) for a CE that does not respond.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// use jasmin_arc::JobDescription;
    ///
    /// let jobs = (0..1000).map(|n| JobDescription::new("/bin/echo").with_arg(n.to_string()));
    /// for (n, submitted) in arc.submit_jobs(jobs)?.into_iter().enumerate() {
    ///     match submitted {
    ///         Ok(id) => println!("job {n} is {id}"),
    ///         Err(error) => eprintln!("job {n} was not submitted: {error}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn submit_jobs(&self, jobs: impl IntoIterator<Item: Borrow<JobDescription>>) -> Result<Vec<Result<JobId>>> {
        let mut prepared = Vec::new();
        for job in jobs {
            let job = job.borrow();
            prepared.push(match prepare(job, self.0.commit) {
                Ok(prepared) if prepared.delegate && self.needs_proxy_to_delegate() => Err(Error::InvalidJobDescription {
                    path: None,
                    message: "the CE needs your credentials to transfer its files, and a token cannot be delegated; use a \
                              proxy certificate, or with_delegation(Delegation::Never) if the servers need no credentials"
                        .into(),
                    source: None,
                }),
                Ok(mut prepared) => {
                    prepared.set_key(&job.key().map_or_else(random_key, |key| Ok(key.to_owned()))?);
                    Ok(prepared)
                }
                Err(error) => Err(error),
            });
        }
        // Descriptions with the same key are the same job.
        let mut distinct = Vec::new();
        let mut by_key: HashMap<String, usize> = HashMap::new();
        for job in prepared.iter().flatten() {
            by_key.entry(job.key.clone()).or_insert_with(|| {
                distinct.push(job.clone());
                distinct.len() - 1
            });
        }
        let submitted = if distinct.is_empty() {
            Vec::new()
        } else {
            let call = self.begin()?;
            let backend = self.backend(&call)?;
            Submission::new(self, &*backend, &call)?.submit(&distinct)?
        };
        let copy = |result: &Result<JobId>| match result {
            Ok(id) => Ok(id.clone()),
            Err(error) => Err(error.to_string()),
        };
        let copies: Vec<Result<JobId, String>> = submitted.iter().map(copy).collect();
        let mut submitted: Vec<Option<Result<JobId>>> = submitted.into_iter().map(Some).collect();
        let one = |job: Result<PreparedJob>| {
            let Some(index) = by_key.get(&job?.key).copied() else { return Err(self.missing_result()) };
            match (submitted.get_mut(index).and_then(Option::take), copies.get(index)) {
                (Some(result), _) => result,
                (None, Some(Ok(id))) => Ok(id.clone()),
                (None, Some(Err(why))) => Err(Error::JobSubmission {
                    endpoint: self.0.endpoint.url(),
                    job_id: None,
                    message: format!("the description with the same key failed: {why}"),
                }),
                (None, None) => Err(self.missing_result()),
            }
        };
        Ok(prepared.into_iter().map(one).collect())
    }
}

/// Returns a key that no other job has.
fn random_key() -> Result<String> {
    random_hex().map_err(|error| Error::Arc { message: format!("the system has no random numbers: {error}") })
}
