//! Explains why a job failed.

use std::time::Duration;

use super::{ArcState, JobInfo};

impl JobInfo {
    /// Returns why the job failed, as text for users. `None` if the job has not failed.
    ///
    /// A-REX reports a failure as text, such as `LRMS error: (137) Job finished with wrong exit code`. This method
    /// interprets the texts of A-REX 6 and 7 for a job that exceeded its wall time, could not be started, returned an
    /// exit code other than 0, or was cancelled. For other failures it returns A-REX's text.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let id = jasmin_arc::JobId::from("");
    /// if let Some(reason) = arc.job(&id)?.failure_reason() {
    ///     eprintln!("{id} failed: {reason}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn failure_reason(&self) -> Option<String> {
        match self.state {
            ArcState::Killed => return Some("the job was cancelled".into()),
            ArcState::Failed => {}
            _ => return None,
        }
        let words = self.errors.join("; ");
        let has = |text: &str| words.contains(text);
        // A-REX publishes the limit multiplied by the number of slots.
        let limit = self.requested_wall_time.map(|limit| limit / self.requested_slots.unwrap_or(1).max(1));
        let exceeded = match (self.elapsed(), limit) {
            // Batch systems check the limit at intervals, so they kill a job after the limit and never before.
            (Some(elapsed), Some(limit)) => elapsed >= limit && !limit.is_zero(),
            _ => false,
        };
        let is_killed =
            matches!(self.exit_code, Some(137 | 143 | 265 | 271)) || has("(137)") || has("(143)") || has("(271)");
        Some(match self.exit_code {
            _ if exceeded && is_killed => {
                let seconds = limit.unwrap_or_default().as_secs();
                format!("the job was killed because it exceeded its wall time of {seconds} s ({words})")
            }
            _ if has("Job died unexpectedly") => {
                format!(
                    "the executable could not be started, or the job was killed: check that the path exists on the CE \
                     ({words})"
                )
            }
            Some(126) => format!("the executable cannot be run: exit code 126 ({words})"),
            Some(127) => format!("the executable or a command in it was not found: exit code 127 ({words})"),
            Some(137) => format!("the job was killed by signal 9, perhaps because it used too much memory ({words})"),
            Some(code) if code != 0 && has("wrong exit code") => format!("the executable returned exit code {code}"),
            _ if words.is_empty() => "the CE gives no reason".into(),
            _ => words,
        })
    }

    /// Returns the longer of the time between start and end and the wall time that the CE publishes.
    fn elapsed(&self) -> Option<Duration> {
        let between = self.start_time.zip(self.end_time).and_then(|(start, end)| end.duration_since(start).ok());
        between.max(self.used_wall_time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(exit_code: i32, error: &str) -> JobInfo {
        JobInfo {
            state: ArcState::Failed,
            exit_code: Some(exit_code).filter(|code| *code >= 0),
            errors: vec![error.into()],
            ..JobInfo::new("a".into())
        }
    }

    #[test]
    fn failures_are_explained() {
        let wrong = "LRMS error: (137) Job finished with wrong exit code";
        let mut job = failed(137, wrong);
        assert!(job.failure_reason().unwrap().contains("signal 9"));
        job.requested_wall_time = Some(Duration::from_secs(120));
        job.requested_slots = Some(2);
        job.used_wall_time = Some(Duration::from_secs(61));
        assert!(job.failure_reason().unwrap().contains("exceeded its wall time of 60 s"), "{job:?}");

        let missing = failed(-1, "LRMS error: (-1) Job died unexpectedly").failure_reason().unwrap();
        assert!(missing.contains("could not be started"), "{missing}");
        let code = failed(7, "LRMS error: (7) Job finished with wrong exit code").failure_reason();
        assert_eq!(code.as_deref(), Some("the executable returned exit code 7"));
        let staging = failed(-1, "Failed in files download (pre-processing)").failure_reason();
        assert_eq!(staging.as_deref(), Some("Failed in files download (pre-processing)"));

        let killed = JobInfo { state: ArcState::Killed, ..JobInfo::new("a".into()) };
        assert_eq!(killed.failure_reason().as_deref(), Some("the job was cancelled"));
        let finished = JobInfo { state: ArcState::Finished, ..JobInfo::new("a".into()) };
        assert_eq!(finished.failure_reason(), None);
    }
}
