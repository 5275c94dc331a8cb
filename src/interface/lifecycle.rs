//! Cancelling jobs and removing them from the CE.

use std::borrow::Borrow;
use std::time::{Duration, Instant, SystemTime};

use super::{ArcInterface, owned};
use crate::error::{Error, Result};
use crate::job::{JobId, JobStatus};
use crate::job_list;
use crate::logging::{self, LogLevel};

impl ArcInterface {
    /// Cancels a job: [`cancel_jobs`](Self::cancel_jobs) for one.
    ///
    /// # Errors
    ///
    /// [`Error::JobNotFound`](crate::Error::JobNotFound), or [`Error::JobOperation`](crate::Error::JobOperation) if the
    /// CE refuses. Also the errors of [`job_statuses`](Self::job_statuses) for a CE that does not respond.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// let job = arc.submit_job("/bin/sleep", &["3600"], &[])?;
    /// arc.cancel_job(&job)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancel_job(&self, id: &JobId) -> Result<()> {
        let results = self.cancel_jobs([id])?;
        self.single(results)?
    }

    /// Cancels many jobs. The CE kills their processes, and their status becomes
    /// [`JobStatus::Failed`](crate::JobStatus::Failed). For a job that has ended, the call succeeds and changes
    /// nothing.
    ///
    /// The results are in the order of `ids`. The CE confirms the request at once and kills the jobs within seconds.
    /// Costs two requests for each 1000 jobs.
    ///
    /// A-REX can lose the request for a job that it is just accepting (ARC 6.17). For jobs that were submitted within
    /// the last minute or so, the crate therefore waits a tenth of a second, looks at A-REX's record, and cancels those
    /// again that are not being cancelled yet. This costs the requests for the look-up that
    /// [`job_statuses`](Self::job_statuses) describes, and one for each 1000 jobs.
    ///
    /// # Errors
    ///
    /// As for [`cancel_job`](Self::cancel_job).
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
    /// for (id, cancelled) in jobs.iter().zip(arc.cancel_jobs(&jobs)?) {
    ///     if let Err(error) = cancelled {
    ///         eprintln!("{id}: {error}");
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancel_jobs(&self, ids: impl IntoIterator<Item: Borrow<JobId>>) -> Result<Vec<Result<()>>> {
        let ids = owned(ids);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let call = self.begin()?;
        ids.iter().for_each(|id| logging::log(LogLevel::Info, format!("cancelling job {id}")));
        self.backend(&call)?.cancel(&ids)
    }

    /// Cancels jobs and waits until they have ended, at most for `patience`. Returns the status of each job at the end of the
    /// wait, in the order of `ids`.
    ///
    /// A job that was cancelled is [`JobStatus::Failed`]. One that ended before may be [`JobStatus::Completed`]. A status
    /// that is not final means that the time was not enough, and the CE may still be ending the job. While the CE does not
    /// respond, the wait goes on. A deadline or a token of the interface also ends the wait.
    ///
    /// Costs the requests of [`cancel_jobs`](Self::cancel_jobs), and those of a [`Watch`](crate::Watch#cost) until the jobs have
    /// ended.
    ///
    /// # Errors
    ///
    /// For one job: as for [`cancel_job`](Self::cancel_job). For the call: the same errors, before anything is cancelled.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
    /// use std::time::Duration;
    ///
    /// let ended = arc.cancel_jobs_and_wait(&jobs, Duration::from_secs(60))?;
    /// if ended.iter().all(|status| status.as_ref().is_ok_and(|status| status.is_final())) {
    ///     arc.clean_jobs(&jobs)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancel_jobs_and_wait(
        &self,
        ids: impl IntoIterator<Item: Borrow<JobId>>,
        patience: Duration,
    ) -> Result<Vec<Result<JobStatus>>> {
        let ids = owned(ids);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let begun = Instant::now();
        let call = self.begin()?;
        ids.iter().for_each(|id| logging::log(LogLevel::Info, format!("cancelling job {id}")));
        let mut results: Vec<Result<JobStatus>> = self
            .backend(&call)?
            .cancel(&ids)?
            .into_iter()
            .map(|result| result.map(|()| JobStatus::InProgress))
            .collect();
        let cancelled: Vec<usize> = (0..ids.len()).filter(|index| matches!(results.get(*index), Some(Ok(_)))).collect();
        let left = patience.saturating_sub(begun.elapsed()).min(call.limits.left().unwrap_or(Duration::MAX));
        let mut watch = self.watch(cancelled.iter().map(|index| &ids[*index])).deadline(left);
        // The jobs have been cancelled, so an error of the wait is none of theirs: they keep the status that is known.
        for error in watch.by_ref().filter_map(Result::err) {
            logging::log(LogLevel::Warning, format!("waiting for cancelled jobs: {error}"));
        }
        for ((index, job), status) in cancelled.into_iter().zip(watch.report().jobs).zip(watch.statuses()) {
            results[index] = match status {
                Err(Error::DeadlineExceeded { .. }) => Ok(job.status().unwrap_or(JobStatus::InProgress)),
                status => status,
            };
        }
        Ok(results)
    }

    /// Runs a failed job again: [`restart_jobs`](Self::restart_jobs) for one.
    ///
    /// # Errors
    ///
    /// As for [`restart_jobs`](Self::restart_jobs).
    pub fn restart_job(&self, id: &JobId) -> Result<()> {
        let results = self.restart_jobs([id])?;
        self.single(results)?
    }

    /// Runs failed jobs again, from the stage in which they failed ([`failed_stage`](crate::JobInfo::failed_stage)). The
    /// results are in the order of `ids`.
    ///
    /// A-REX can restart a job whose input files it could not fetch, whose submission to the batch system failed, or whose
    /// outputs it could not upload, as often as the description allows ([`with_rerun`](crate::JobDescription::with_rerun)),
    /// which is never by default. It cannot restart a job that failed in the batch system, for example with an exit code:
    /// submit such a job again.
    ///
    /// The call returns when A-REX has begun to restart the jobs, so a wait for their end that follows does not see the old
    /// failure. Other programs may see it until the CE publishes the new state, which takes up to a minute.
    ///
    /// Costs one request for each 1000 jobs, and a few small ones per job, several at a time.
    ///
    /// # Errors
    ///
    /// For one job: [`Error::JobNotFound`](crate::Error::JobNotFound), or
    /// [`Error::JobOperation`](crate::Error::JobOperation) if it has not failed ("Job has not failed"), failed in the batch
    /// system, or may not be restarted again ("No more restarts allowed"). For the call: [`Error::Unsupported`](crate::Error::Unsupported) over
    /// EMI-ES, and the errors of [`job_statuses`](Self::job_statuses) for a CE that does not respond.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// use jasmin_arc::JobDescription;
    ///
    /// let job = JobDescription::new("/opt/model").with_rerun(2);
    /// let id = arc.submit(&job)?;
    /// // ... after it has failed:
    /// arc.restart_job(&id)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn restart_jobs(&self, ids: impl IntoIterator<Item: Borrow<JobId>>) -> Result<Vec<Result<()>>> {
        let ids = owned(ids);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let call = self.begin()?;
        ids.iter().for_each(|id| logging::log(LogLevel::Info, format!("restarting job {id}")));
        self.backend(&call)?.restart(&ids)
    }

    /// Renews the credentials of a job on the CE: [`renew_jobs`](Self::renew_jobs) for one.
    ///
    /// # Errors
    ///
    /// As for [`renew_jobs`](Self::renew_jobs).
    pub fn renew_job(&self, id: &JobId) -> Result<Option<SystemTime>> {
        let results = self.renew_jobs([id])?;
        self.single(results)?
    }

    /// Renews the credentials of jobs on the CE, their delegations, from the current proxy certificate. The results are in
    /// the order of `ids`: when the credentials of the job expire now, which is when the proxy certificate does, or `None` for
    /// a job without a delegation.
    ///
    /// A job has a delegation if the CE transfers files for it, or if the description or `DELEGATION` asks for one. A-REX
    /// tells the delegations of a job from its acceptance until the end of the job, so the result is also `None` for a job
    /// that has ended. For a longer life, call [`create_proxy`](Self::create_proxy) first.
    ///
    /// Jobs that were submitted with one interface share a delegation. Costs one request for each 1000 jobs, and two for each
    /// delegation, for which the CE may take half a second.
    ///
    /// # Errors
    ///
    /// For one job: [`Error::JobNotFound`](crate::Error::JobNotFound), or
    /// [`Error::JobOperation`](crate::Error::JobOperation) if the CE refuses. For the call:
    /// [`Error::Unsupported`](crate::Error::Unsupported) over EMI-ES and with a bearer token, which cannot be delegated, and
    /// the errors of [`job_statuses`](Self::job_statuses) for a CE that does not respond.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
    /// arc.create_proxy()?;
    /// for (id, renewed) in jobs.iter().zip(arc.renew_jobs(&jobs)?) {
    ///     println!("{id}: {renewed:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn renew_jobs(&self, ids: impl IntoIterator<Item: Borrow<JobId>>) -> Result<Vec<Result<Option<SystemTime>>>> {
        let ids = owned(ids);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        if self.0.credentials.is_token() {
            let message = "a bearer token cannot be delegated, so there are no credentials to renew".into();
            return Err(Error::Unsupported { endpoint: self.0.endpoint.url(), message });
        }
        let call = self.begin()?;
        self.backend(&call)?.renew(&ids)
    }

    /// Removes a job that has ended from the CE: [`clean_jobs`](Self::clean_jobs) for one.
    ///
    /// # Errors
    ///
    /// As for [`clean_jobs`](Self::clean_jobs).
    pub fn clean_job(&self, id: &JobId) -> Result<()> {
        let results = self.clean_jobs([id])?;
        self.single(results)?
    }

    /// Removes many jobs that have ended, with all their files, from the CE and from the job list.
    ///
    /// The results are in the order of `ids`. If you do not clean a job, the CE deletes it after some days
    /// ([`erase_time`](crate::JobInfo::erase_time)). Costs the requests of [`job_statuses`](Self::job_statuses) and one
    /// more for each 1000 jobs.
    ///
    /// A-REX confirms the order before it removes the jobs. For some seconds, or minutes for thousands of jobs, it still lists
    /// them.
    ///
    /// # Errors
    ///
    /// For one job: [`Error::JobNotFound`](crate::Error::JobNotFound), or
    /// [`Error::JobOperation`](crate::Error::JobOperation) if it has not ended. For the call: the errors of
    /// [`job_statuses`](Self::job_statuses) for a CE that does not respond.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
    /// for cleaned in arc.clean_jobs(&jobs)? {
    ///     cleaned?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn clean_jobs(&self, ids: impl IntoIterator<Item: Borrow<JobId>>) -> Result<Vec<Result<()>>> {
        let ids = owned(ids);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let call = self.begin()?;
        let cleaned = self.backend(&call)?.clean(&ids)?;
        self.remove_from_lists(ids.iter().zip(&cleaned).filter(|(_, result)| result.is_ok()).map(|(id, _)| id));
        Ok(cleaned)
    }

    /// Removes jobs from the journal and from the job list of ARC's tools. Only logs a failure, because the CE has removed the jobs already.
    pub(super) fn remove_from_lists<'a>(&self, ids: impl Iterator<Item = &'a JobId>) {
        let path = self.0.config.jobs_info_file();
        let local_ids: Vec<&str> = ids.filter_map(|id| self.0.endpoint.job_local_id(id.as_str())).collect();
        if let Err(error) = self.0.journal.remove_jobs(&self.0.endpoint.url(), &local_ids) {
            logging::log(LogLevel::Warning, error.to_string());
        }
        let ids: Vec<String> = local_ids.into_iter().flat_map(|id| self.0.endpoint.job_ids(id)).collect();
        if let Err(message) = job_list::remove(&path, &ids) {
            let message = format!("cannot remove jobs from the job list {}: {message}", path.display());
            logging::log(LogLevel::Warning, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::fake;
    use super::*;
    use crate::backend::fake::RENEWED_UNTIL;
    use crate::description::JobDescription;
    use crate::job::ArcState;
    use crate::limits::CancelToken;

    fn job() -> JobDescription {
        JobDescription::new("/bin/true")
    }

    #[test]
    fn jobs_are_restarted_and_renewed_in_the_order_of_the_ids() {
        let (arc, backend, _directory) = fake();
        let ids: Vec<JobId> =
            arc.submit_jobs([job().with_rerun(1), job()]).unwrap().into_iter().map(Result::unwrap).collect();
        backend.jobs().values_mut().for_each(|job| job.state = ArcState::Failed);
        backend.jobs().get_mut(ids[1].as_str()).unwrap().description.delegation = "d".into();
        let unknown = JobId::from("fake://ce/none");
        let results = arc.restart_jobs([&ids[1], &ids[0], &unknown]).unwrap();
        assert!(
            matches!(&results[0], Err(Error::JobOperation { message, .. }) if message == "No more restarts allowed")
        );
        assert!(results[1].is_ok() && matches!(results[2], Err(Error::JobNotFound { .. })));
        assert!(!arc.job_status(&ids[0]).unwrap().is_final());
        assert!(arc.restart_job(&ids[0]).is_err());

        let renewed = arc.renew_jobs([&ids[0], &ids[1], &unknown]).unwrap();
        assert!(
            matches!(renewed[..], [Ok(None), Ok(Some(RENEWED_UNTIL)), Err(Error::JobNotFound { .. })]),
            "{renewed:?}"
        );
        assert_eq!(arc.renew_job(&ids[1]).unwrap(), Some(RENEWED_UNTIL));
        let none: [JobId; 0] = [];
        assert!(arc.restart_jobs(&none).unwrap().is_empty() && arc.renew_jobs(&none).unwrap().is_empty());
    }

    #[test]
    fn a_wait_for_cancelled_jobs_returns_their_status() {
        let (arc, backend, _directory) = fake();
        let ids: Vec<JobId> = arc.submit_jobs([job(), job(), job()]).unwrap().into_iter().map(Result::unwrap).collect();
        backend.jobs().get_mut(ids[1].as_str()).unwrap().state = ArcState::Finished;
        let unknown = JobId::from("fake://ce/none");
        let ended = arc.cancel_jobs_and_wait([&ids[0], &ids[1], &unknown], Duration::from_secs(60)).unwrap();
        assert!(
            matches!(ended[..], [Ok(JobStatus::Failed), Ok(JobStatus::Completed), Err(Error::JobNotFound { .. })]),
            "{ended:?}"
        );
        // A job that takes its time is no error.
        backend.slow_cancel.store(true, std::sync::atomic::Ordering::Relaxed);
        let ended = arc.cancel_jobs_and_wait([&ids[2]], Duration::from_secs(1)).unwrap();
        assert!(matches!(ended[..], [Ok(JobStatus::NotSubmitted)]), "{ended:?}");
        let begun = Instant::now();
        let limited = arc.with_deadline(Duration::from_secs(1)).with_cancel(&CancelToken::new());
        let ended = limited.cancel_jobs_and_wait([&ids[2]], Duration::MAX).unwrap();
        assert!(matches!(ended[..], [Ok(JobStatus::NotSubmitted)]), "{ended:?}");
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}
