//! What the CE publishes about itself, and whether it serves the user.

use std::time::Instant;

use super::ArcInterface;
use crate::description::JobDescription;
use crate::error::{Error, Result};
use crate::matching::{self, Mismatch};
use crate::service::{Ping, ServiceInfo};

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
        let info = self.service_info()?;
        if info.queues.is_empty() {
            let message = "the CE publishes no queue".into();
            return Err(Error::NoTargetsAvailable { endpoint: self.0.endpoint.url(), message });
        }
        Ok(matching::mismatches(job, &info))
    }

    /// Returns what the CE publishes about itself: its name, version and health, its interfaces, its queues with their limits
    /// and load, and its runtime environments.
    ///
    /// Costs one request of about 18 kB plus 2.5 kB for each queue after the first. What the CE publishes is up to a minute
    /// old. [`mismatches`](Self::mismatches) compares a job with the same values.
    ///
    /// # Errors
    ///
    /// The errors of [`job_statuses`](Self::job_statuses) for a CE that does not respond.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// let ce = arc.service_info()?;
    /// println!("ARC {:?}, {:?} of {:?} slots are free", ce.version, ce.free_slots(), ce.total_slots);
    /// for queue in &ce.queues {
    ///     println!("{}: {:?} running, {:?} waiting", queue.name, queue.running_jobs, queue.waiting_jobs);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn service_info(&self) -> Result<ServiceInfo> {
        let call = self.begin()?;
        self.backend(&call)?.service()
    }

    /// Checks that the CE can be reached and serves the user, and returns as whom it has authorised the user.
    ///
    /// Costs one small request, with which A-REX does nothing but look the user up. A new interface needs two more, to
    /// connect and to select the protocol.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with [`ErrorKind::AccessDenied`](crate::ErrorKind::AccessDenied) if the CE does not serve the user,
    /// [`Error::Connection`] and [`Error::Untrusted`] if it cannot be reached, and the errors of
    /// [`ensure_proxy`](Self::ensure_proxy). [`Error::Unsupported`] over EMI-ES.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// let ping = arc.ping()?;
    /// println!("{} serves {} within {:?}", ping.endpoint, ping.identity, ping.response_time);
    /// # Ok(())
    /// # }
    /// ```
    pub fn ping(&self) -> Result<Ping> {
        let call = self.begin()?;
        let backend = self.backend(&call)?;
        let begun = Instant::now();
        backend.ping()?;
        Ok(Ping::new(self.0.endpoint.url(), self.0.credentials.identity()?, begun.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::fake;
    use super::*;

    #[test]
    fn pings_return_the_identity() {
        let (arc, backend, _directory) = fake();
        let ping = arc.ping().unwrap();
        assert_eq!((ping.endpoint.as_str(), ping.identity.as_str()), ("https://ce.example.org:443/arex", "/CN=me"));
        let text = serde_json::to_string(&ping).unwrap();
        assert_eq!(serde_json::from_str::<Ping>(&text).unwrap().identity, ping.identity);
        *backend.unreachable.lock().unwrap() = Some("away".into());
        assert!(arc.ping().is_err() && arc.service_info().is_err());
    }

    #[test]
    fn a_ce_without_queues_has_no_targets_and_still_information() {
        let (arc, backend, _directory) = fake();
        backend.service.lock().unwrap().version = Some("6.17.0".into());
        assert_eq!(arc.service_info().unwrap().version.as_deref(), Some("6.17.0"));
        let error = arc.mismatches(&JobDescription::new("/bin/true")).unwrap_err();
        assert!(matches!(error, Error::NoTargetsAvailable { .. }), "{error:?}");
    }
}
