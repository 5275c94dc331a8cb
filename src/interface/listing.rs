//! Finding jobs on the CE without a list of them.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::ArcInterface;
use crate::error::{Error, Result};
use crate::ffi::JobPlace;
use crate::job::{JobFilter, JobId, JobInfo};
use crate::job_list;
use crate::logging::{self, LogLevel};

/// What [`ArcInterface::sync_job_list`] has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SyncedJobList {
    /// The jobs that were on the CE and not in the list.
    pub added: Vec<JobId>,
    /// The jobs that were in the list and are no longer on the CE.
    pub removed: Vec<JobId>,
    /// The number of jobs of this CE in the list now.
    pub jobs: usize,
}

/// # Jobs on the CE
impl ArcInterface {
    /// Lists the ids of all your jobs on the CE, in no particular order. No local list is needed.
    ///
    /// Costs two requests, because A-REX leaves a job out of its list while it moves the job's record. For each, A-REX opens the
    /// records of all jobs that it has, also those of other users, which takes it about 0.1 ms for each: do not call it to
    /// watch jobs. A response has about 90 bytes for each of your jobs.
    ///
    /// An overloaded A-REX may leave a job that it moves out of both lists (seen with 7.2). So a missing id is no proof that the
    /// job is gone: [`job_status`](Self::job_status) tells.
    ///
    /// A-REX has one list and no pages, so the method returns a `Vec`: 50,000 ids are 6 MB.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] over EMI-ES, and the errors of [`job_statuses`](Self::job_statuses) for a CE that does not
    /// respond.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// let jobs = arc.list_jobs()?;
    /// println!("{} jobs on {}", jobs.len(), arc.config().arc_server());
    /// # Ok(())
    /// # }
    /// ```
    pub fn list_jobs(&self) -> Result<Vec<JobId>> {
        let call = self.begin()?;
        self.backend(&call)?.list()
    }

    /// Finds your jobs on the CE that a filter selects, in the order of their submission. No local list is needed.
    ///
    /// Each result has the current state, as from [`job_states`](Self::job_states), and the details that the CE has
    /// published. Without ids in the filter, the exit code and the errors of a job that ended within the last minute may be
    /// missing, and [`missing_inputs`](JobInfo::missing_inputs) is empty: [`jobs`](Self::jobs) looks them up. A job that was
    /// cancelled within the last minute is [`Failed`](crate::ArcState::Failed), unless the filter selects only one of the two
    /// states: then the call looks them up with one request per job.
    ///
    /// Costs two requests for the list, which A-REX makes as for [`list_jobs`](Self::list_jobs), and one for each 1000 jobs
    /// whose state may be selected: 3 for 1000 jobs. The CE publishes names and keys of
    /// new jobs after up to a minute. Until then, names come from the job list at `JOBS_INFO_FILE` if it has them. If the
    /// filter depends on the name or the key, they cost one request for each such job.
    ///
    /// With ids in the filter, it costs what [`jobs`](Self::jobs) costs for them. Ids that the CE does not know are left out.
    ///
    /// # Errors
    ///
    /// As for [`list_jobs`](Self::list_jobs). Over EMI-ES only with ids in the filter.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// use jasmin_arc::{JobFilter, JobStatus};
    ///
    /// let failed = JobFilter::new().with_status(JobStatus::Failed).with_name_pattern("sweep-*")?;
    /// for job in arc.find_jobs(&failed)? {
    ///     println!("{} {}: {:?}", job.id, job.name.as_deref().unwrap_or("?"), job.errors);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn find_jobs(&self, filter: &JobFilter) -> Result<Vec<JobInfo>> {
        if filter.ids().is_some_and(<[JobId]>::is_empty) {
            return Ok(Vec::new());
        }
        let call = self.begin()?;
        self.backend(&call)?.find_jobs(filter, &|ids| self.listed_names(ids))
    }

    /// Makes the job list at `JOBS_INFO_FILE` agree with the CE, so that ARC's tools find the same jobs.
    ///
    /// Adds your jobs on the CE that are not in the list, and removes entries of this CE that it does not know. Entries of
    /// other CEs stay. A-REX does not tell a job of another user from one that does not exist, so entries of another
    /// identity on the same CE are removed too. The list is created if it does not exist.
    ///
    /// Costs the list of all jobs, as for [`list_jobs`](Self::list_jobs), and what [`jobs`](Self::jobs) costs for the jobs to
    /// add, and one request for each 1000 entries to remove.
    ///
    /// # Errors
    ///
    /// [`Error::JobList`] if the list cannot be read or written, and the errors of [`list_jobs`](Self::list_jobs).
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// let synced = arc.sync_job_list()?;
    /// println!("{} jobs added, {} removed", synced.added.len(), synced.removed.len());
    /// # Ok(())
    /// # }
    /// ```
    pub fn sync_job_list(&self) -> Result<SyncedJobList> {
        let call = self.begin()?;
        let backend = self.backend(&call)?;
        let path = self.0.config.jobs_info_file();
        let failed = |message| Error::JobList { path: path.clone(), message };
        let listed: HashMap<String, JobId> = job_list::ids(&path)
            .map_err(failed)?
            .into_iter()
            .map(JobId::from)
            .filter_map(|id| Some((backend.place(&id)?.local_id, id)))
            .collect();
        let existing: HashMap<String, JobId> =
            backend.list()?.into_iter().filter_map(|id| Some((backend.place(&id)?.local_id, id))).collect();
        let is_missing = |(local_id, _): &(String, JobId)| !listed.contains_key(local_id);
        let missing: Vec<JobId> = existing.clone().into_iter().filter(is_missing).map(|(_, id)| id).collect();
        let is_gone = |(local_id, _): &(&String, &JobId)| !existing.contains_key(*local_id);
        let gone: Vec<JobId> = listed.iter().filter(is_gone).map(|(_, id)| id.clone()).collect();
        // A-REX may have been moving a job when it made the list.
        let states = if gone.is_empty() { Vec::new() } else { backend.states(&gone)? };
        let removed: Vec<JobId> = gone
            .into_iter()
            .zip(states)
            .filter(|(_, state)| matches!(state, Err(Error::JobNotFound { .. })))
            .map(|(id, _)| id)
            .collect();
        let found = match missing.is_empty() {
            true => Vec::new(),
            false => backend.find_jobs(&JobFilter::new().with_ids(missing), &|_| HashMap::new())?,
        };
        let places: Vec<JobPlace> =
            found.into_iter().filter_map(|job| Some(place(backend.place(&job.id)?, job))).collect();
        job_list::add(&path, self.0.config.has_default_jobs_info_file(), &places).map_err(failed)?;
        job_list::remove(&path, &removed.iter().map(JobId::to_string).collect::<Vec<_>>()).map_err(failed)?;
        let jobs = listed.len() + places.len() - removed.len();
        Ok(SyncedJobList { added: places.into_iter().map(|place| place.id.into()).collect(), removed, jobs })
    }

    /// Returns the names of jobs in the job list, by A-REX's own ids. Only logs a failure: the list is not necessary.
    fn listed_names(&self, local_ids: &[&str]) -> HashMap<String, String> {
        let path = self.0.config.jobs_info_file();
        let ids: Vec<(&str, String)> =
            local_ids.iter().flat_map(|local_id| self.0.endpoint.job_ids(local_id).map(|id| (*local_id, id))).collect();
        match job_list::names(&path, ids.iter().map(|(_, id)| id.as_str())) {
            Ok(names) => ids
                .iter()
                .filter_map(|(local_id, id)| Some(((*local_id).to_owned(), names.get(id.as_str())?.clone())))
                .collect(),
            Err(message) => {
                let message = format!("cannot read names from the job list {}: {message}", path.display());
                logging::log(LogLevel::Verbose, message);
                HashMap::new()
            }
        }
    }
}

/// Completes the data with which ARC's tools find a job.
fn place(place: JobPlace, job: JobInfo) -> JobPlace {
    // A-REX connects a standard stream that the job does not keep with /dev/null.
    let file = |name: Option<String>| name.filter(|name| name != "/dev/null").unwrap_or_default();
    JobPlace { name: job.name.unwrap_or_default(), stdout: file(job.stdout), stderr: file(job.stderr), ..place }
}

#[cfg(test)]
mod tests {
    use super::super::tests::fake;
    use super::*;
    use crate::description::JobDescription;
    use crate::job::{ArcState, JobStatus};

    #[test]
    fn jobs_are_listed_and_found_by_what_the_filter_selects() {
        let (arc, backend, _directory) = fake();
        let jobs = ["a 1", "a 2", "é"].map(|name| JobDescription::new("/bin/true").with_name(name).with_key(name));
        let ids: Vec<JobId> = arc.submit_jobs(&jobs).unwrap().into_iter().map(Result::unwrap).collect();
        backend.jobs().get_mut(ids[1].as_str()).unwrap().state = ArcState::Failed;
        let mut listed = arc.list_jobs().unwrap();
        listed.sort();
        assert_eq!(listed, ids);
        let found = |filter: JobFilter| -> Vec<JobId> {
            arc.find_jobs(&filter).unwrap().into_iter().map(|job| job.id).collect()
        };
        assert_eq!(found(JobFilter::new()), ids);
        assert_eq!(found(JobFilter::new().with_status(JobStatus::Failed)), [ids[1].clone()]);
        assert_eq!(found(JobFilter::new().with_name_pattern("a*").unwrap()), ids[..2]);
        assert_eq!(found(JobFilter::new().with_key("é")), [ids[2].clone()]);
        assert_eq!(found(JobFilter::new().with_ids([ids[2].clone(), "fake://ce/none".into()])), [ids[2].clone()]);
        assert!(found(JobFilter::new().with_ids([])).is_empty());
        *backend.unreachable.lock().unwrap() = Some("away".into());
        assert!(arc.find_jobs(&JobFilter::new()).is_err() && arc.list_jobs().is_err());
    }

    #[test]
    fn the_job_list_is_made_to_agree_with_the_ce() {
        let (arc, backend, directory) = fake();
        let path = directory.path().join("jobs.dat");
        let jobs = ["kept", "gone", "lost"].map(|name| JobDescription::new("/bin/true").with_name(name));
        let ids: Vec<JobId> = arc.submit_jobs(&jobs).unwrap().into_iter().map(Result::unwrap).collect();
        let elsewhere = JobPlace { id: "https://other:443/arex/x".into(), ..JobPlace::default() };
        job_list::add(&path, false, std::slice::from_ref(&elsewhere)).unwrap();
        backend.jobs().remove(ids[1].as_str());
        job_list::remove(&path, &[ids[2].to_string()]).unwrap();

        let expected = SyncedJobList { added: vec![ids[2].clone()], removed: vec![ids[1].clone()], jobs: 2 };
        assert_eq!(arc.sync_job_list().unwrap(), expected);
        let mut listed = job_list::ids(&path).unwrap();
        listed.sort();
        assert_eq!(listed, [ids[0].as_str(), ids[2].as_str(), &elsewhere.id]);
        assert_eq!(job_list::names(&path, [ids[2].as_str()]).unwrap()[ids[2].as_str()], "lost");
        assert_eq!(arc.sync_job_list().unwrap(), SyncedJobList { jobs: 2, ..SyncedJobList::default() });

        // A job is not removed because the CE cannot be asked.
        *backend.unreachable.lock().unwrap() = Some("away".into());
        assert!(arc.sync_job_list().is_err());
        assert_eq!(job_list::ids(&path).unwrap().len(), 3);

        *backend.unreachable.lock().unwrap() = None;
        std::fs::write(&path, "no database ".repeat(1000)).unwrap();
        assert!(matches!(arc.sync_job_list(), Err(Error::JobList { .. })));
    }
}
