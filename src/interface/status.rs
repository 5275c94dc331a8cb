//! Looking up the status, the state and the details of jobs.

use std::borrow::Borrow;

use super::{ArcInterface, owned};
use crate::error::Result;
use crate::job::{JobId, JobInfo, JobState, JobStatus};

impl ArcInterface {
    /// Returns the status of a job: [`job_statuses`](Self::job_statuses) for one.
    ///
    /// # Errors
    ///
    /// As for [`job_statuses`](Self::job_statuses).
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let job = jasmin_arc::JobId::from("");
    /// println!("the job is {}", arc.job_status(&job)?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn job_status(&self, id: &JobId) -> Result<JobStatus> {
        let results = self.job_statuses([id])?;
        self.single(results)?
    }

    /// Returns the statuses of many jobs, in the order of `ids`.
    ///
    /// Over the REST interface the statuses are current, with one exception: only the CE's information system, which
    /// runs about once a minute, distinguishes queued jobs from running ones. Until it has run, a job in the batch
    /// system is [`JobStatus::NotStarted`]. On a CE without a batch system (`fork`), jobs are never queued.
    ///
    /// Costs one request for each 1000 jobs. Jobs that have not ended cost one or two small requests each, or one for all of
    /// them where that is cheaper. If they were looked up in the last ten seconds, these are the only requests. The repository's `docs/costs.md` has the details.
    ///
    /// # Errors
    ///
    /// For one job: [`Error::JobNotFound`](crate::Error::JobNotFound). For the call:
    /// [`Error::ProxyGeneration`](crate::Error::ProxyGeneration); [`Error::InvalidConfig`](crate::Error::InvalidConfig) if
    /// `CERTS_DIR` is not a directory; [`Error::Connection`](crate::Error::Connection),
    /// [`Error::Untrusted`](crate::Error::Untrusted) or [`Error::Refused`](crate::Error::Refused) if the CE does not
    /// respond or refuses.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
    /// let ended = arc.job_statuses(&jobs)?.iter().flatten().filter(|status| status.is_final()).count();
    /// println!("{ended} of {} jobs have ended", jobs.len());
    /// # Ok(())
    /// # }
    /// ```
    pub fn job_statuses(&self, ids: impl IntoIterator<Item: Borrow<JobId>>) -> Result<Vec<Result<JobStatus>>> {
        let states = self.job_states(ids)?;
        Ok(states.into_iter().map(|state| state.map(|state| state.status())).collect())
    }

    /// Returns ARC's state of a job and how current it is: [`job_states`](Self::job_states) for one.
    ///
    /// # Errors
    ///
    /// As for [`job_statuses`](Self::job_statuses).
    pub fn job_state(&self, id: &JobId) -> Result<JobState> {
        let results = self.job_states([id])?;
        self.single(results)?
    }

    /// Returns ARC's states of many jobs and how current they are, in the order of `ids`.
    ///
    /// Costs the same as [`job_statuses`](Self::job_statuses), which maps these states to five statuses.
    ///
    /// # Errors
    ///
    /// As for [`job_statuses`](Self::job_statuses).
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
    /// for (id, state) in jobs.iter().zip(arc.job_states(&jobs)?) {
    ///     let state = state?;
    ///     println!("{id}: {} ({}, {:?})", state.state, state.native_state, state.freshness);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn job_states(&self, ids: impl IntoIterator<Item: Borrow<JobId>>) -> Result<Vec<Result<JobState>>> {
        let ids = owned(ids);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let call = self.begin()?;
        self.backend(&call)?.states(&ids)
    }

    /// Returns the details of a job: [`jobs`](Self::jobs) for one.
    ///
    /// # Errors
    ///
    /// As for [`job_statuses`](Self::job_statuses).
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let id = jasmin_arc::JobId::from("");
    /// let job = arc.job(&id)?;
    /// println!("{}: {}, on {:?}", job.name.as_deref().unwrap_or("?"), job.state, job.execution_nodes);
    /// # Ok(())
    /// # }
    /// ```
    pub fn job(&self, id: &JobId) -> Result<JobInfo> {
        let results = self.jobs([id])?;
        self.single(results)?
    }

    /// Returns the details of many jobs, in the order of `ids`.
    ///
    /// Costs the same requests as [`job_statuses`](Self::job_statuses) with larger responses of some 2 kB for each job, and
    /// one or two more for a job that ended within the last minute. Costs one more for a job that failed because of a file,
    /// unless the texts of the CE name it ([`failed_files`](JobInfo::failed_files)), and one or two more for a job that was
    /// killed or lost, because SLURM tells only the log of the job that it used too much memory.
    ///
    /// # Errors
    ///
    /// As for [`job_statuses`](Self::job_statuses).
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let ids: Vec<jasmin_arc::JobId> = Vec::new();
    /// for job in arc.jobs(&ids)?.into_iter().flatten() {
    ///     println!("{} {} {:?}", job.id, job.state, job.used_cpu_time);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn jobs(&self, ids: impl IntoIterator<Item: Borrow<JobId>>) -> Result<Vec<Result<JobInfo>>> {
        let ids = owned(ids);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let call = self.begin()?;
        self.backend(&call)?.jobs(&ids)
    }
}
