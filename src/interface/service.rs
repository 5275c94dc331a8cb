//! Comparing a job with what the CE offers.

use super::ArcInterface;
use crate::description::JobDescription;
use crate::error::Result;
use crate::matching::{self, Mismatch};

impl ArcInterface {
    /// Compares the requests of a job with what the CE publishes, and returns the differences.
    ///
    /// The result is empty if the job fits everything that the CE publishes.
    ///
    /// The queue and the runtime environments that the job requests must exist. The queue must accept jobs, and its
    /// limits on wall time, CPU time, memory, virtual memory, disk space and slots must allow the job. Without a
    /// requested queue, one queue that satisfies the job is enough. The comparison ignores the memory of the cluster's
    /// nodes, because an ARC-CE publishes only that of the smallest node. It also ignores exclusive execution, which an
    /// ARC-CE does not publish.
    ///
    /// Costs one request of about 18 kB plus 2.5 kB for each queue after the first. What the CE publishes is up to a minute old. You
    /// can still submit a job that does not fit: A-REX itself checks only the queue. Such a job fails in the batch
    /// system, or waits there for ever. A runtime environment that the CE gives to every job without publishing it
    /// counts as missing, so do not request it.
    ///
    /// # Errors
    ///
    /// The errors of [`JobDescription::validate`], which does not access input files;
    /// [`Error::NoTargetsAvailable`](crate::Error::NoTargetsAvailable) if the CE publishes no queue; the errors of
    /// [`job_statuses`](Self::job_statuses) for a CE that does not respond.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// use jasmin_arc::JobDescription;
    ///
    /// let job = JobDescription::new("/bin/hostname").with_queue("long").with_slots(64);
    /// for mismatch in arc.mismatches(&job)? {
    ///     // queue "long" does not exist: the CE has fork, short
    ///     eprintln!("{mismatch}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn mismatches(&self, job: &JobDescription) -> Result<Vec<Mismatch>> {
        job.validate()?;
        let call = self.begin()?;
        Ok(matching::mismatches(job, &self.backend(&call)?.offer()?))
    }
}
