//! [`FailureReason`]: why a job failed, read from A-REX's texts.
//!
//! The texts are those of ARC 6.17 and 7.0, which are the same: `grid-manager/jobs/JobsList.cpp` and `DTRGenerator.cpp` write
//! them, with the texts of `lrms/*/scan-*-job.in` after `LRMS error:` and those of `libs/data-staging` after `Failed in data
//! staging:`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ArcState, JobInfo};
use crate::util::byte_size::ByteSize;
use crate::util::serde_forms;
use crate::util::uri::Url;

/// Why a job failed, as far as A-REX's records tell.
///
/// [`JobInfo::failure_reason`] returns it. As text it is a sentence for users, without a capital letter and a full stop.
///
/// # Serde form
///
/// An object with the name of the variant in `reason`, such as `{"reason": "exit_code", "code": 7}`.
///
/// ```
/// use jasmin_arc::FailureReason;
///
/// let reason: FailureReason = serde_json::from_str(r#"{"reason": "signal", "signal": 11}"#)?;
/// assert!(matches!(reason, FailureReason::Signal { signal: 11, .. }));
/// assert_eq!(reason.to_string(), "the job was killed by signal 11");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureReason {
    /// The job was cancelled.
    Cancelled,
    /// The executable returned an exit code other than 0. SLURM and Condor report exit code 1 also for an executable that does
    /// not exist.
    #[non_exhaustive]
    ExitCode {
        /// The exit code.
        code: i32,
    },
    /// The executable could not be started, because its path or its interpreter does not exist on the CE. A-REX reports the
    /// same if the whole job was killed at once.
    #[non_exhaustive]
    CannotStart {
        /// A-REX's text.
        message: String,
    },
    /// The exit code is 126 or 127, with which shells report a command that cannot be run or was not found: the executable or
    /// a command in it.
    #[non_exhaustive]
    CommandNotFound {
        /// The exit code: 126 if the command cannot be run, or 127 if it was not found.
        code: i32,
    },
    /// A signal killed the job. The batch system may have sent it for a limit that A-REX does not publish.
    #[non_exhaustive]
    Signal {
        /// The number of the signal, such as 9 for SIGKILL or 11 for SIGSEGV.
        signal: i32,
    },
    /// The job ran longer than its wall time.
    #[non_exhaustive]
    WallTimeExceeded {
        /// The limit of one slot, if the job requested one.
        #[serde(default, with = "serde_forms::seconds")]
        limit: Option<Duration>,
    },
    /// The job used more CPU time than it may.
    #[non_exhaustive]
    CpuTimeExceeded {
        /// The limit, if the job requested one.
        #[serde(default, with = "serde_forms::seconds")]
        limit: Option<Duration>,
    },
    /// The job used more memory than it may.
    #[non_exhaustive]
    MemoryExceeded {
        /// The memory that the job used, if the CE publishes it. CEs do not publish the limit.
        #[serde(default)]
        used: Option<ByteSize>,
    },
    /// The batch system or its administrator ended the job.
    #[non_exhaustive]
    KilledByBatchSystem {
        /// A-REX's text.
        message: String,
    },
    /// The batch system no longer knows the job, or lost the node that the job ran on.
    #[non_exhaustive]
    LostByBatchSystem {
        /// A-REX's text.
        message: String,
    },
    /// A-REX could not pass the job to the batch system, for example because a runtime environment does not exist.
    #[non_exhaustive]
    NotSubmitted {
        /// A-REX's text.
        message: String,
    },
    /// A-REX could not fetch an input file. The job did not run.
    #[non_exhaustive]
    InputStaging {
        /// The names of the files in the session directory: see [`JobInfo::failed_files`].
        #[serde(default)]
        files: Vec<String>,
        /// A-REX's text, with the URL.
        message: String,
    },
    /// The client did not upload these input files within ten minutes. The job did not run.
    #[non_exhaustive]
    InputNotUploaded {
        /// The names of the files in the session directory.
        files: Vec<String>,
    },
    /// A-REX could not write an output file to its URL, or the job did not create it. The job ran.
    #[non_exhaustive]
    OutputStaging {
        /// The names of the files in the session directory: see [`JobInfo::failed_files`].
        #[serde(default)]
        files: Vec<String>,
        /// A-REX's text, with the URL.
        message: String,
    },
    /// A reason that this crate does not interpret.
    #[non_exhaustive]
    Other {
        /// A-REX's texts. Empty if A-REX gives no reason.
        message: String,
    },
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use FailureReason as Reason;
        let of_limit =
            |limit: &Option<Duration>| limit.map_or_else(String::new, |limit| format!(" of {} s", limit.as_secs()));
        match self {
            Reason::Cancelled => f.write_str("the job was cancelled"),
            Reason::ExitCode { code } => write!(f, "the executable returned exit code {code}"),
            Reason::CannotStart { message } => write!(
                f,
                "the executable could not be started, or the job was killed: check that the path exists on the CE ({message})"
            ),
            Reason::CommandNotFound { code: 126 } => f.write_str("the executable cannot be run: exit code 126"),
            Reason::CommandNotFound { code } => {
                write!(f, "the executable or a command in it was not found: exit code {code}")
            }
            Reason::Signal { signal: 9 } => {
                f.write_str("the job was killed by signal 9, perhaps because it used too much memory")
            }
            Reason::Signal { signal } => write!(f, "the job was killed by signal {signal}"),
            Reason::WallTimeExceeded { limit } => {
                write!(f, "the job was killed because it exceeded its wall time{}", of_limit(limit))
            }
            Reason::CpuTimeExceeded { limit } => {
                write!(f, "the job was killed because it exceeded its CPU time{}", of_limit(limit))
            }
            Reason::MemoryExceeded { used } => {
                f.write_str("the job was killed because it used too much memory")?;
                used.map_or(Ok(()), |used| write!(f, ": {used}"))
            }
            Reason::KilledByBatchSystem { message } => write!(f, "the batch system ended the job: {message}"),
            Reason::LostByBatchSystem { message } => write!(f, "the batch system lost the job: {message}"),
            Reason::NotSubmitted { message } => {
                write!(f, "the CE could not pass the job to the batch system: {message}")
            }
            Reason::InputStaging { files, message } => {
                write!(f, "the CE could not fetch {}: {message}", named("an input file", files))
            }
            Reason::InputNotUploaded { files } => {
                write!(f, "the client did not upload {}", named("the input files", files))
            }
            Reason::OutputStaging { files, message } => {
                write!(f, "the CE could not save {}: {message}", named("an output file", files))
            }
            Reason::Other { message } if message.is_empty() => f.write_str("the CE gives no reason"),
            Reason::Other { message } => f.write_str(message),
        }
    }
}

fn named(unknown: &str, files: &[String]) -> String {
    match files {
        [] => unknown.into(),
        files => files.join(", "),
    }
}

impl JobInfo {
    /// Returns why the job failed. `None` if the job has not failed.
    ///
    /// A-REX reports a failure as text, such as `LRMS error: (137) Job finished with wrong exit code`, in
    /// [`errors`](Self::errors). This method interprets the texts of A-REX 6 and 7. The first text decides, because later ones
    /// are often consequences. The times that the CE publishes tell a limit from another signal. Until it has published the job
    /// for the first time, up to a minute after the submission, a job that exceeded a limit may look killed by a signal.
    ///
    /// Sends no request. [`job`](crate::ArcInterface::job) looks up everything that this method uses. If it is not enough,
    /// [`diagnostics`](crate::ArcInterface::diagnostics) returns what A-REX keeps about the job.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let id = jasmin_arc::JobId::from("");
    /// use jasmin_arc::FailureReason;
    ///
    /// match arc.job(&id)?.failure_reason() {
    ///     None => println!("{id} has not failed"),
    ///     Some(FailureReason::InputStaging { files, .. }) => eprintln!("{id} lacks {files:?}"),
    ///     Some(reason) => eprintln!("{id} failed: {reason}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn failure_reason(&self) -> Option<FailureReason> {
        match self.state {
            ArcState::Killed => Some(FailureReason::Cancelled),
            ArcState::Failed => {
                if let Some(text) = self.errors.iter().find(|text| exceeds_memory(text)) {
                    return Some(FailureReason::MemoryExceeded { used: memory_in(text).or(self.used_memory()) });
                }
                let reason = self.errors.iter().find_map(|text| self.reason_of(text.trim()));
                Some(reason.unwrap_or_else(|| FailureReason::Other { message: self.errors.join("; ") }))
            }
            _ => None,
        }
    }

    /// The reason that one of A-REX's texts gives.
    fn reason_of(&self, text: &str) -> Option<FailureReason> {
        if let Some(error) = text.strip_prefix("LRMS error: ") {
            let (code, text) = error.strip_prefix('(')?.split_once(')')?;
            return Some(self.batch_system_reason(code.parse().ok(), text.trim()));
        }
        if let Some(staging) = staging_failure(text, self) {
            let files = || match self.failed_files.is_empty() {
                true => staging_files(self),
                false => self.failed_files.clone(),
            };
            return Some(match staging {
                Staging::NotUploaded => FailureReason::InputNotUploaded { files: files() },
                Staging::Input(message) => FailureReason::InputStaging { files: files(), message },
                Staging::Output(message) => FailureReason::OutputStaging { files: files(), message },
            });
        }
        // `JobsList::state_submitting` and `CheckJobContinuePlugins`. What the submit script prints follows as a text of its own.
        if text.starts_with("Job submission to LRMS failed") || text.starts_with("Failed initiating job submission") {
            return Some(FailureReason::NotSubmitted { message: self.errors.join("; ") });
        }
        None
    }

    /// The reason in `job.ID.lrms_done`, which the scan script of the batch system writes.
    fn batch_system_reason(&self, code: Option<i32>, text: &str) -> FailureReason {
        let has = |part: &str| text.contains(part);
        let message = || text.to_owned();
        let used = self.used_memory();
        let wall_time = self.requested_wall_time.map(|limit| limit / self.slots());
        let signal = self.exit_code.and_then(signal_in).or_else(|| code.and_then(signal_in));
        // Condor and SGE guess the limit; Torque writes it in the output of the job.
        if has("job killed: wall")
            || has("PBS: job killed: walltime")
            || has("Job timeout")
            || has("exceeded time limit")
        {
            FailureReason::WallTimeExceeded { limit: wall_time }
        } else if has("job killed: cput") {
            FailureReason::CpuTimeExceeded { limit: self.requested_cpu_time }
        } else if has("job killed: vmem")
            || has("job killed: mem")
            || has("job killed: pmem")
            || has("job killed: pvmem")
        {
            FailureReason::MemoryExceeded { used }
        } else if has("Job was lost") || has("missing from SLURM") && self.exit_code.is_none() || has("Node fail") {
            FailureReason::LostByBatchSystem { message: message() }
        } else if has("unknown exit code") || has("accouting record is incomplete") {
            // SGE, with its spelling.
            FailureReason::LostByBatchSystem { message: message() }
        } else if signal.is_some() && self.exceeded_wall_time() {
            FailureReason::WallTimeExceeded { limit: wall_time }
        } else if has("Job was killed by") || has("Job was cancelled") {
            FailureReason::KilledByBatchSystem { message: message() }
        } else if has("died unexpectedly") {
            // The scripts of the fork back end write the wall time if the executable has been started.
            match self.used_wall_time {
                Some(_) => FailureReason::KilledByBatchSystem { message: message() },
                None => FailureReason::CannotStart { message: message() },
            }
        } else {
            self.reason_of_exit_code(code, signal, text)
        }
    }

    fn reason_of_exit_code(&self, code: Option<i32>, signal: Option<i32>, text: &str) -> FailureReason {
        let exit_code = self.exit_code.filter(|code| *code != 0).or_else(|| code.filter(|code| *code > 0));
        match (signal, exit_code) {
            // SIGXCPU: the limit of CPU time.
            (Some(24), _) => FailureReason::CpuTimeExceeded { limit: self.requested_cpu_time },
            (Some(signal), _) => FailureReason::Signal { signal },
            (None, Some(code @ (126 | 127))) => FailureReason::CommandNotFound { code },
            (None, Some(code)) => FailureReason::ExitCode { code },
            (None, None) => FailureReason::Other { message: text.into() },
        }
    }

    fn used_memory(&self) -> Option<ByteSize> {
        self.used_memory.filter(|used| used.get() > 0)
    }

    fn slots(&self) -> u32 {
        self.requested_slots.unwrap_or(1).max(1)
    }

    /// Whether the job ran longer than it may. Batch systems check the limit at intervals, so they kill a job after the limit
    /// and never before.
    fn exceeded_wall_time(&self) -> bool {
        let between = self.start_time.zip(self.end_time).and_then(|(start, end)| end.duration_since(start).ok());
        // A-REX publishes both times multiplied by the number of slots.
        let elapsed = between.max(self.used_wall_time.map(|used| used / self.slots()));
        let limit = self.requested_wall_time.map(|limit| limit / self.slots());
        elapsed.zip(limit).is_some_and(|(elapsed, limit)| elapsed >= limit && !limit.is_zero())
    }
}

/// Whether the log of a failed job may say that it used too much memory. For SLURM, A-REX only publishes that the job was killed
/// by a signal, or that it is missing: `scan-SLURM-job` does not know the state `OUT_OF_MEMORY` (6.17 and 7.0).
pub(crate) fn may_have_exceeded_memory(job: &JobInfo) -> bool {
    use FailureReason::{KilledByBatchSystem, LostByBatchSystem, Signal};
    let reason = job.failure_reason();
    matches!(reason, Some(Signal { signal: 9 } | KilledByBatchSystem { .. } | LostByBatchSystem { .. }))
}

/// Whether a line is a message of SLURM about a job that used too much memory. It comes from the job accounting, such as
/// `slurmstepd: error: StepId=5.batch exceeded memory limit (426037504 > 52428800), being killed`, or from the kernel, such as
/// `slurmstepd: error: Detected 1 oom_kill event in StepId=5.batch.`
pub(crate) fn exceeds_memory(line: &str) -> bool {
    let texts = [
        "exceeded memory limit",
        "Exceeded job memory limit",
        "oom_kill event",
        "oom-kill event",
        "out-of-memory handler",
    ];
    line.starts_with("slurmstepd") && texts.iter().any(|text| line.contains(text))
}

/// The used memory in a message of SLURM.
fn memory_in(line: &str) -> Option<ByteSize> {
    let (_, numbers) = line.split_once("exceeded memory limit (")?;
    numbers.split_once(' ')?.0.parse().ok().map(ByteSize::new)
}

/// The signal in an exit code: shells add 128 to its number, SLURM and PBS 256.
fn signal_in(code: i32) -> Option<i32> {
    [256, 128].into_iter().filter_map(|base| code.checked_sub(base)).find(|signal| matches!(signal, 1..=31))
}

/// A failure of the transfers before or after the job.
#[derive(Debug)]
enum Staging {
    NotUploaded,
    Input(String),
    Output(String),
}

/// Reads a text of `DTRGenerator` about a failed transfer.
fn staging_failure(text: &str, job: &JobInfo) -> Option<Staging> {
    if let Some(file) = text.strip_prefix("User file: ") {
        return Some(match file.ends_with(" - Timeout waiting") {
            true => Staging::NotUploaded,
            // The size or the checksum is another than the description says.
            false => Staging::Input(file.into()),
        });
    }
    let message = match text.strip_prefix("Failed in data staging: ") {
        Some(message) => message,
        None if is_text_of_staging(text) => text,
        None => return None,
    };
    let is_output = match job.failed_stage.as_deref() {
        Some("PREPARING") => false,
        Some("FINISHING") => true,
        _ => is_about_output(message),
    };
    Some(if is_output { Staging::Output(message.into()) } else { Staging::Input(message.into()) })
}

/// Whether a text without a prefix is one of `DTRGenerator` or of `ActJobPreparing` and `ActJobFinishing`.
fn is_text_of_staging(text: &str) -> bool {
    const BEGINNINGS: [&str; 10] = [
        "Data download failed",
        "Data upload failed",
        "Duplicate file in list of input files",
        "Error reading list of input files",
        "Error reading user generated output file list",
        "Failed to clean up session dir before downloading inputs",
        "Failed to list output directory",
        "Failed to read list of input files",
        "Failed to read list of output files",
        "Invalid Data Transfer Request",
    ];
    BEGINNINGS.iter().any(|beginning| text.starts_with(beginning))
}

/// Whether a text about a transfer, in a job whose failed stage is not published, is about an output file: the file on the CE
/// is the source, or the destination is elsewhere.
fn is_about_output(message: &str) -> bool {
    let is_local = url_in(message).is_some_and(|url| url.starts_with("file:"));
    let is_destination = message.contains("destination") || message.starts_with("Destination");
    match url_in(message) {
        Some(_) => is_local != is_destination,
        None => message.contains("output") || message.contains("upload"),
    }
}

/// The first URL in a text.
pub(crate) fn url_in(message: &str) -> Option<&str> {
    let words = message.split([' ', '\n']);
    let url = words.map(|word| word.trim_end_matches([':', ',', '.'])).find(|word| word.contains(":/"))?;
    (url.starts_with("file:/") || Url::split(url).is_some()).then_some(url)
}

/// The names of the files whose transfer failed, as far as A-REX's texts have them. Empty if they have only URLs.
pub(crate) fn staging_files(job: &JobInfo) -> Vec<String> {
    let directory = format!("/{}/", job.id.local_id());
    let name = |text: &String| {
        let text = text.trim();
        let name = if let Some(file) = text.strip_prefix("User file: ") {
            file.rsplit_once(" - ").map_or(file, |(name, _)| name)
        } else if let Some(file) = text.strip_prefix("Duplicate file in list of input files: ") {
            file
        } else {
            let path = url_in(text.strip_prefix("Failed in data staging: ")?)?.strip_prefix("file:")?;
            path.split_once(&directory)?.1
        };
        Some(name.trim_start_matches('/').to_owned()).filter(|name| !name.is_empty())
    };
    job.errors.iter().filter_map(name).collect()
}

/// In which direction the transfer failed that made the job fail: `Some(true)` for outputs. `None` if no transfer did.
pub(crate) fn failed_transfer(job: &JobInfo) -> Option<bool> {
    match job.failure_reason()? {
        FailureReason::InputStaging { .. } => Some(false),
        FailureReason::OutputStaging { .. } => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(exit_code: i32, error: &str) -> JobInfo {
        JobInfo {
            state: ArcState::Failed,
            exit_code: Some(exit_code).filter(|code| *code >= 0),
            errors: error.lines().map(Into::into).collect(),
            ..JobInfo::new("https://ce/arex/rest/1.0/jobs/a1".into())
        }
    }

    fn reason(exit_code: i32, error: &str) -> FailureReason {
        failed(exit_code, error).failure_reason().unwrap()
    }

    #[test]
    fn only_failed_jobs_have_a_reason() {
        let of = |state| JobInfo { state, ..failed(1, "LRMS error: (1) Job failed") }.failure_reason();
        assert_eq!(of(ArcState::Killed), Some(FailureReason::Cancelled));
        assert_eq!(of(ArcState::Failed), Some(FailureReason::ExitCode { code: 1 }));
        for state in [ArcState::Finished, ArcState::Running, ArcState::Deleted] {
            assert_eq!(of(state), None, "{state}");
        }
        assert_eq!(reason(-1, "").to_string(), "the CE gives no reason");
    }

    #[test]
    fn memory_is_the_reason_if_slurm_says_so() {
        let exceeded = |texts: &str| reason(-1, texts);
        let used = Some(ByteSize::new(432_185_344));
        for (text, used) in [
            ("slurmstepd-n1: error: StepId=1.batch exceeded memory limit (432185344 > 104857600), being killed", used),
            ("slurmstepd: error: Exceeded job memory limit", None),
            (
                "slurmstepd: error: Detected 1 oom_kill event in StepId=5.batch. Some of the step tasks have been OOM Killed.",
                None,
            ),
            ("slurmstepd: error: Detected 1 oom-kill event(s) in step 5.batch cgroup.", None),
        ] {
            let expected = FailureReason::MemoryExceeded { used };
            assert_eq!(exceeded(&format!("LRMS error: (265) Job failed\n{text}")), expected);
            assert_eq!(exceeded(&format!("LRMS error: (-1) Job missing from SLURM\n{text}")), expected);
        }
        let other = "LRMS error: (265) Job failed\necho 'exceeded memory limit (1 > 0)'";
        assert_eq!(exceeded(other), FailureReason::Signal { signal: 9 });
        for (text, expected) in [
            ("LRMS error: (265) Job failed", true),
            ("LRMS error: (137) Job missing from SLURM, exitcode recovered from session directory", true),
            ("LRMS error: (-1) Job missing from SLURM", true),
            ("LRMS error: (15) Job was cancelled", true),
            ("LRMS error: (271) Job timeout", false),
            ("LRMS error: (7) Job failed", false),
            ("LRMS error: (267) Job failed", false),
        ] {
            assert_eq!(may_have_exceeded_memory(&failed(-1, text)), expected, "{text}");
        }
    }

    #[test]
    fn absurd_exit_codes_are_no_signals() {
        for code in [i32::MIN, i32::MIN + 200, i32::MAX] {
            assert_eq!(signal_in(code), None, "{code}");
        }
        let text = "LRMS error: (-2147483648) Job failed";
        assert_eq!(reason(-1, text), FailureReason::Other { message: "Job failed".into() });
    }

    /// Texts of the scan scripts of ARC 6.17 and 7.0.
    #[test]
    fn texts_of_batch_systems_are_interpreted() {
        let message = |text: &str| text.to_owned();
        let wall = FailureReason::WallTimeExceeded { limit: None };
        let memory = FailureReason::MemoryExceeded { used: None };
        let cpu = FailureReason::CpuTimeExceeded { limit: None };
        let lost = |text: &str| FailureReason::LostByBatchSystem { message: message(text) };
        let killed = |text: &str| FailureReason::KilledByBatchSystem { message: message(text) };
        for (exit_code, text, expected) in [
            // fork
            (7, "LRMS error: (7) Job finished with wrong exit code - 7 != 0", FailureReason::ExitCode { code: 7 }),
            (
                137,
                "LRMS error: (137) Job finished with wrong exit code - 137 != 0",
                FailureReason::Signal { signal: 9 },
            ),
            (126, "LRMS error: (126) Job finished with wrong exit code", FailureReason::CommandNotFound { code: 126 }),
            (152, "LRMS error: (152) Job finished with wrong exit code", cpu.clone()),
            (
                -1,
                "LRMS error: (-1) Job died unexpectedly",
                FailureReason::CannotStart { message: message("Job died unexpectedly") },
            ),
            // SLURM
            (-1, "LRMS error: (3) Job failed", FailureReason::ExitCode { code: 3 }),
            (-1, "LRMS error: (265) Job failed", FailureReason::Signal { signal: 9 }),
            (-1, "LRMS error: (15) Job was cancelled", killed("Job was cancelled")),
            (-1, "LRMS error: (-1) Job timeout", wall.clone()),
            (-1, "LRMS error: (1) Job timeout", wall.clone()),
            (-1, "LRMS error: (-1) Node fail", lost("Node fail")),
            (-1, "LRMS error: (-1) Job missing from SLURM", lost("Job missing from SLURM")),
            (
                9,
                "LRMS error: (9) Job missing from SLURM, exitcode recovered from session directory",
                FailureReason::ExitCode { code: 9 },
            ),
            // Condor and SGE
            (-1, "LRMS error: (271) job killed: wall", wall.clone()),
            (-1, "LRMS error: (271) job killed: cput", cpu),
            (-1, "LRMS error: (271) job killed: vmem", memory.clone()),
            (-1, "LRMS error: (-1) Job was killed by condor", killed("Job was killed by condor")),
            (5, "LRMS error: (-1) Job failed with exit code 5", FailureReason::ExitCode { code: 5 }),
            (-1, "LRMS error: (-1) Job failed with unknown exit code", lost("Job failed with unknown exit code")),
            // PBS, LSF and LoadLeveler
            (-1, "LRMS error: (271) =>> PBS: job killed: walltime 95 exceeded limit 60", wall.clone()),
            (-1, "LRMS error: (271) =>> PBS: job killed: vmem 9kb exceeded limit 8kb", memory),
            (-1, "LRMS error: (271) Job was killed by PBS.", killed("Job was killed by PBS.")),
            (-1, "LRMS error: (-1) Job was lost with unknown exit code", lost("Job was lost with unknown exit code")),
            (4, "LRMS error: (4) Executable finished with exit code 4", FailureReason::ExitCode { code: 4 }),
            (24, "LRMS error: (24) Job exceeded time limit.", wall),
        ] {
            assert_eq!(reason(exit_code, text), expected, "{text}");
        }
    }

    #[test]
    fn limits_are_told_from_other_signals_by_times() {
        let mut job = failed(137, "LRMS error: (137) Job finished with wrong exit code");
        job.requested_wall_time = Some(Duration::from_secs(120));
        job.requested_slots = Some(2);
        job.used_wall_time = Some(Duration::from_secs(118));
        assert_eq!(job.failure_reason(), Some(FailureReason::Signal { signal: 9 }));
        job.used_wall_time = Some(Duration::from_secs(122));
        let limit = Some(Duration::from_secs(60));
        assert_eq!(job.failure_reason(), Some(FailureReason::WallTimeExceeded { limit }));
        assert!(job.failure_reason().unwrap().to_string().contains("wall time of 60 s"));
        // A job that ran and has no exit code was killed.
        job.errors = vec!["LRMS error: (-1) Job died unexpectedly".into()];
        job.exit_code = None;
        assert!(matches!(job.failure_reason(), Some(FailureReason::KilledByBatchSystem { .. })));
    }

    #[test]
    fn failed_transfers_name_their_files() {
        let staging = |text: &str| match reason(-1, text) {
            FailureReason::InputStaging { files, message } => ("input", files, message),
            FailureReason::OutputStaging { files, message } => ("output", files, message),
            other => panic!("{text}: {other:?}"),
        };
        let checking = "Failed checking source replica http://h:80/a: Failed to obtain information about file";
        assert_eq!(staging(&format!("Failed in data staging: {checking}\n")), ("input", vec![], checking.into()));
        let missing = "Failed checking source replica file:/session/a1/out/res: No such file or directory";
        let (direction, files, _) = staging(&format!("Failed in data staging: {missing}"));
        assert_eq!((direction, files), ("output", vec!["out/res".into()]));
        let writing = "Failed in data staging: Failed writing to destination: http://h:80/b : Forbidden";
        assert_eq!(staging(writing).0, "output");
        let full = "Failed in data staging: Failed writing to destination: file:/session/a1/in.dat : No space left";
        assert_eq!((staging(full).0, staging(full).1), ("input", vec!["in.dat".into()]));
        let two = "Failed in data staging: Destination http://h:80/a already exists\nFailed in data staging: Failed \
                   writing to destination: http://h:80/b";
        assert_eq!(staging(two).0, "output");
        assert_eq!(staging("User file: /in - Invalid checksum information").1, ["in"]);
        assert_eq!(staging("Duplicate file in list of input files: /x").1, ["x"]);

        let waiting = "User file: /a b - Timeout waiting\nUser file: /c/d - Timeout waiting";
        let files = vec!["a b".into(), "c/d".into()];
        assert_eq!(reason(-1, waiting), FailureReason::InputNotUploaded { files });
        assert_eq!(reason(-1, waiting).to_string(), "the client did not upload a b, c/d");

        let mut looked_up = failed(-1, &format!("Failed in data staging: {checking}"));
        looked_up.failed_files = vec!["data/a".into()];
        assert!(looked_up.failure_reason().unwrap().to_string().starts_with("the CE could not fetch data/a: Failed"));
        // The published stage decides where the text does not.
        let timed_out = "Failed in data staging: Transfer timed out";
        assert_eq!(staging(timed_out).0, "input");
        let stage = |stage: &str| JobInfo { failed_stage: Some(stage.into()), ..failed(-1, timed_out) };
        assert_eq!(failed_transfer(&stage("PREPARING")), Some(false));
        assert_eq!(failed_transfer(&stage("FINISHING")), Some(true));
    }

    #[test]
    fn the_first_text_decides() {
        let both = "LRMS error: (7) Job failed\nFailed in data staging: Failed checking source replica file:/s/a1/x";
        assert_eq!(reason(7, both), FailureReason::ExitCode { code: 7 });
        let environment = "Job submission to LRMS failed\nERROR: Requested RunTimeEnvironment X is missing";
        let FailureReason::NotSubmitted { message } = reason(-1, environment) else { panic!("{environment}") };
        assert!(message.contains("RunTimeEnvironment X"), "{message}");
        let plugin = "Plugin at state ACCEPTED failed: not today";
        assert_eq!(reason(-1, plugin), FailureReason::Other { message: plugin.into() });
    }

    #[test]
    fn reasons_are_serialised() {
        for reason in [
            FailureReason::Cancelled,
            FailureReason::ExitCode { code: 3 },
            FailureReason::WallTimeExceeded { limit: Some(Duration::from_secs(60)) },
            FailureReason::MemoryExceeded { used: Some(ByteSize::mib(3)) },
            FailureReason::OutputStaging { files: vec!["a".into()], message: "b".into() },
        ] {
            let text = serde_json::to_string(&reason).unwrap();
            assert_eq!(serde_json::from_str::<FailureReason>(&text).unwrap(), reason, "{text}");
        }
        let text = serde_json::to_string(&FailureReason::ExitCode { code: 3 }).unwrap();
        assert_eq!(text, r#"{"reason":"exit_code","code":3}"#);
    }
}
