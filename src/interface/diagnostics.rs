//! Looking at what A-REX keeps about a job.

use super::ArcInterface;
use crate::error::Result;
use crate::job::{JobDiagnostics, JobId};

impl ArcInterface {
    /// Returns what A-REX keeps about a job: its log, the resources that the job used, the state of its files, and more. See
    /// [`JobDiagnostics`].
    ///
    /// Use it when the [failure reason](crate::JobInfo::failure_reason) is not enough. It works while the job runs and after it
    /// has ended, until the CE removes the job. A-REX's record `local` is looked up only for a job that has ended.
    ///
    /// Costs 13 or 14 small requests, several at a time, and another one for each part with more than 512 KiB. Up to 1 MiB of each
    /// part is kept. The log of a job with no remote files has about 15 KiB.
    ///
    /// # Errors
    ///
    /// [`Error::JobNotFound`](crate::Error::JobNotFound); [`Error::Unsupported`](crate::Error::Unsupported) over EMI-ES; and
    /// the errors of [`job_statuses`](Self::job_statuses) for a CE that does not respond to one of the requests. A part that
    /// the CE does not have is no error.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let job = jasmin_arc::JobId::from("");
    /// use jasmin_arc::StagingState;
    ///
    /// let diagnostics = arc.diagnostics(&job)?;
    /// for change in diagnostics.changes() {
    ///     println!("{} -> {}: {}", change.from, change.to, change.reason);
    /// }
    /// let files = diagnostics.inputs().unwrap_or_default();
    /// for file in files.iter().filter(|file| file.state != StagingState::Uploaded) {
    ///     println!("{} is not on the CE", file.name);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn diagnostics(&self, id: &JobId) -> Result<JobDiagnostics> {
        let call = self.begin()?;
        self.backend(&call)?.diagnostics(id)
    }
}

#[cfg(test)]
mod tests {
    use crate::error::ErrorKind;
    use crate::interface::tests::fake;
    use crate::job::{ArcState, DiagnosticPart, DiagnosticText, FailureReason, JobId};

    #[test]
    fn parts_of_a_job_are_returned() {
        let (arc, backend, _directory) = fake();
        let id = arc.submit_job("/bin/true", &[""; 0], &[]).unwrap();
        let failed = DiagnosticText { text: "LRMS error: (7) Job failed\n".into(), ..DiagnosticText::default() };
        backend.jobs().get_mut(id.as_str()).unwrap().parts = [(DiagnosticPart::Failed, failed)].into();
        let diagnostics = arc.diagnostics(&id).unwrap();
        assert_eq!((&diagnostics.id, diagnostics.failures()), (&id, vec!["LRMS error: (7) Job failed"]));
        assert_eq!(diagnostics.text(DiagnosticPart::Local), None);
        let error = arc.diagnostics(&JobId::from("fake://ce/none")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::JobNotFound);
    }

    #[test]
    fn an_absent_ce_is_an_error_and_not_an_absent_part() {
        let (arc, backend, _directory) = fake();
        let id = arc.submit_job("/bin/true", &[""; 0], &[]).unwrap();
        *backend.unreachable.lock().unwrap() = Some("away".into());
        assert_eq!(arc.diagnostics(&id).unwrap_err().kind(), ErrorKind::Connection);
    }

    #[test]
    fn details_of_a_failed_job_have_the_reason() {
        let (arc, backend, _directory) = fake();
        let id = arc.submit_job("/bin/false", &[""; 0], &[]).unwrap();
        assert_eq!(arc.job(&id).unwrap().failure_reason(), None);
        let mut jobs = backend.jobs();
        let job = jobs.get_mut(id.as_str()).unwrap();
        job.state = ArcState::Failed;
        job.errors = vec!["LRMS error: (3) Job failed".into()];
        drop(jobs);
        assert_eq!(arc.job(&id).unwrap().failure_reason(), Some(FailureReason::ExitCode { code: 3 }));
    }
}
