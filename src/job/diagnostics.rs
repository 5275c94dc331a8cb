//! [`JobDiagnostics`]: what A-REX keeps about a job in its control directory.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::JobId;
use crate::util::byte_size::ByteSize;
use crate::util::names::{self, Named};
use crate::util::serde_forms;
use crate::util::uri::without_password;

/// A file that A-REX keeps about a job, named as in A-REX (`processJobControlDir` in `rest.cpp`).
///
/// ```
/// use jasmin_arc::DiagnosticPart;
///
/// assert_eq!(DiagnosticPart::InputStatus.to_string(), "input_status");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DiagnosticPart {
    /// A-REX's log of the job: its states, the job script, the transfers of files, and what the script printed.
    Errors,
    /// Why the job failed, one reason a line. Exists only for a failed or cancelled job.
    Failed,
    /// A-REX's record of the job, as lines `key=value`. Looked up only for a job that has ended.
    Local,
    /// The description in the form in which A-REX received it.
    Description,
    /// The resources that the job used: see [`JobDiagnostics::usage`].
    Diag,
    /// The transfers by A-REX: see [`JobDiagnostics::transfers`].
    Statistics,
    /// What the batch system reported about the job.
    Comment,
    /// A-REX's own state, such as `INLRMS` or `PENDING:PREPARING`.
    Status,
    /// Who may access the job.
    Acl,
    /// The GLUE2 record of the job, which [`job`](crate::ArcInterface::job) returns as values.
    Xml,
    /// The input files that are not there yet: see [`JobDiagnostics::inputs`].
    Input,
    /// The input files that the client has uploaded. A line `/` means all.
    InputStatus,
    /// The output files that are kept or are still to be written: see [`JobDiagnostics::outputs`].
    Output,
    /// The output files that A-REX has written to their URLs.
    OutputStatus,
}

impl Named for DiagnosticPart {
    const ALL: &'static [Self] = &[
        Self::Errors,
        Self::Failed,
        Self::Local,
        Self::Description,
        Self::Diag,
        Self::Statistics,
        Self::Comment,
        Self::Status,
        Self::Acl,
        Self::Xml,
        Self::Input,
        Self::InputStatus,
        Self::Output,
        Self::OutputStatus,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Failed => "failed",
            Self::Local => "local",
            Self::Description => "description",
            Self::Diag => "diag",
            Self::Statistics => "statistics",
            Self::Comment => "comment",
            Self::Status => "status",
            Self::Acl => "acl",
            Self::Xml => "xml",
            Self::Input => "input",
            Self::InputStatus => "input_status",
            Self::Output => "output",
            Self::OutputStatus => "output_status",
        }
    }
}

impl fmt::Display for DiagnosticPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for DiagnosticPart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for DiagnosticPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        names::deserialize(deserializer)
    }
}

/// The text of a [`DiagnosticPart`]. `Debug` hides it, because it may have secrets of the job.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DiagnosticText {
    /// The text, with U+FFFD for bytes that are not UTF-8 and for characters that are cut. Of a part with more than 1 MiB it
    /// has the first and the last 512 KiB, with a line `[... N bytes left out ...]` between them.
    pub text: String,
    /// The size of the whole part in bytes.
    #[serde(default)]
    pub size: u64,
    /// The number of bytes that are left out.
    #[serde(default)]
    pub left_out: u64,
}

impl fmt::Debug for DiagnosticText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiagnosticText({} bytes)", self.size)
    }
}

/// What A-REX keeps about a job: [`ArcInterface::diagnostics`](crate::ArcInterface::diagnostics) returns it.
///
/// [`text`](Self::text) returns each part as it is, and the other methods read the parts that have a form. A line that does
/// not have the form is skipped.
///
/// The credentials of the job are not among the parts. The description, the environment variables of the job and the URLs of
/// its files are, as the job was submitted: treat the texts as you treat the job description.
///
/// ```no_run
/// # fn main() -> jasmin_arc::Result<()> {
/// # let arc = jasmin_arc::ArcInterface::builder().build()?;
/// # let job = jasmin_arc::JobId::from("");
/// use jasmin_arc::DiagnosticPart;
///
/// let diagnostics = arc.diagnostics(&job)?;
/// for reason in diagnostics.failures() {
///     eprintln!("{reason}");
/// }
/// if let Some(usage) = diagnostics.usage() {
///     println!("ran on {} for {:?}", usage.nodes.join(", "), usage.wall_time);
/// }
/// if let Some(log) = diagnostics.text(DiagnosticPart::Errors) {
///     std::fs::write("job.log", &log.text).expect("the log can be written");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JobDiagnostics {
    /// The job.
    pub id: JobId,
    /// The parts that A-REX has.
    #[serde(default)]
    pub parts: BTreeMap<DiagnosticPart, DiagnosticText>,
}

/// A change of a job's state in A-REX's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LoggedChange {
    /// When the state changed, in whole seconds.
    #[serde(with = "serde_forms::moment")]
    pub time: SystemTime,
    /// The state before, in A-REX's words, such as `UNDEFINED` for a job that A-REX begins to process.
    pub from: String,
    /// The state after, in A-REX's words, such as `INLRMS`.
    pub to: String,
    /// A-REX's reason, such as `Job failure detected`.
    #[serde(default)]
    pub reason: String,
}

/// The resources that a job used, as the job script and the batch system recorded them. A value that they did not record is
/// `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ResourceUsage {
    /// The exit code of the executable.
    pub exit_code: Option<i32>,
    /// The exit code that the batch system reports.
    pub batch_exit_code: Option<i32>,
    /// The message of the batch system.
    pub batch_message: Option<String>,
    /// The hosts that the job ran on.
    pub nodes: Vec<String>,
    /// The number of slots.
    pub slots: Option<u32>,
    /// The wall time, not multiplied by the number of slots.
    #[serde(with = "serde_forms::seconds")]
    pub wall_time: Option<Duration>,
    /// The CPU time in user mode.
    #[serde(with = "serde_forms::seconds")]
    pub user_time: Option<Duration>,
    /// The CPU time in the kernel.
    #[serde(with = "serde_forms::seconds")]
    pub kernel_time: Option<Duration>,
    /// The average of the memory used. `None` if it was recorded as 0, as GNU `time` does on Linux.
    pub average_memory: Option<ByteSize>,
    /// The most memory that the job had in RAM.
    pub max_resident_memory: Option<ByteSize>,
    /// When the batch system started the job.
    #[serde(with = "serde_forms::since_1970")]
    pub start_time: Option<SystemTime>,
    /// When the job ended in the batch system.
    #[serde(with = "serde_forms::since_1970")]
    pub end_time: Option<SystemTime>,
    /// The operating system of the host that the job ran on.
    pub operating_system: Option<String>,
}

/// A file that A-REX has transferred. `Debug` hides passwords in its URL.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TransferredFile {
    /// Whether it is an output file. Otherwise it is an input file.
    pub is_output: bool,
    /// The URL that it came from or went to.
    pub url: String,
    /// The size in bytes.
    #[serde(default)]
    pub size: Option<u64>,
    /// When the transfer began.
    #[serde(default, with = "serde_forms::since_1970")]
    pub start_time: Option<SystemTime>,
    /// When the transfer ended.
    #[serde(default, with = "serde_forms::since_1970")]
    pub end_time: Option<SystemTime>,
    /// Whether an input file was in A-REX's cache.
    #[serde(default)]
    pub from_cache: bool,
}

/// How far an input or output file has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StagingState {
    /// The client has not uploaded the input file.
    NotUploaded,
    /// The client has uploaded the input file.
    Uploaded,
    /// A-REX has not transferred the file from or to its URL. In a failed job, the transfer has failed, or was given up
    /// because another one failed.
    NotTransferred,
    /// A-REX has written the output file to its URL.
    Transferred,
    /// The output file is kept in the session directory.
    Kept,
}

/// An input or output file of a job. `Debug` hides passwords in its URL.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StagedFile {
    /// The name in the session directory.
    pub name: String,
    /// The URL that A-REX transfers it from or to, if any.
    #[serde(default)]
    pub url: Option<String>,
    /// How far it has come.
    pub state: StagingState,
}

impl fmt::Debug for StagedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.as_deref().map(without_password);
        f.debug_struct("StagedFile").field("name", &self.name).field("url", &url).field("state", &self.state).finish()
    }
}

impl fmt::Debug for TransferredFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TransferredFile { is_output, url, size, start_time, end_time, from_cache } = self;
        f.debug_struct("TransferredFile")
            .field("is_output", is_output)
            .field("url", &without_password(url))
            .field("size", size)
            .field("start_time", start_time)
            .field("end_time", end_time)
            .field("from_cache", from_cache)
            .finish()
    }
}

impl JobDiagnostics {
    /// Returns the text of a part. `None` if A-REX does not have the part, and for [`DiagnosticPart::Local`] of a job that has
    /// not ended.
    pub fn text(&self, part: DiagnosticPart) -> Option<&DiagnosticText> {
        self.parts.get(&part)
    }

    fn lines(&self, part: DiagnosticPart) -> impl DoubleEndedIterator<Item = &str> {
        let text = self.parts.get(&part).map_or("", |part| &part.text);
        text.lines().map(str::trim).filter(|line| !line.is_empty())
    }

    /// Returns why the job failed, in A-REX's words, one text for each reason. Empty if it has not failed.
    ///
    /// [`JobInfo::failure_reason`](crate::JobInfo::failure_reason) interprets these texts.
    pub fn failures(&self) -> Vec<&str> {
        self.lines(DiagnosticPart::Failed).collect()
    }

    /// Returns the changes of the job's state, from A-REX's log.
    pub fn changes(&self) -> Vec<LoggedChange> {
        self.lines(DiagnosticPart::Errors).filter_map(logged_change).collect()
    }

    /// Returns the complaints about transfers in A-REX's log: messages of the levels `ERROR` and `FATAL`, without the time and
    /// the name of the transfer.
    pub fn transfer_errors(&self) -> Vec<&str> {
        let message = |line| -> Option<&str> {
            let (head, message) = str::split_once(line, "] DTR ")?;
            let is_error = head.contains("] [ERROR] [") || head.contains("] [FATAL] [");
            message.split_once(": ").filter(|_| is_error).map(|(_, message)| message)
        };
        self.lines(DiagnosticPart::Errors).filter_map(message).collect()
    }

    /// Returns the resources that the job used. `None` if A-REX has no record of them.
    pub fn usage(&self) -> Option<ResourceUsage> {
        self.parts.contains_key(&DiagnosticPart::Diag).then(|| read_usage(self.lines(DiagnosticPart::Diag)))
    }

    /// Returns the values of A-REX's record of the job (`local`), in its order. A key may occur more than once. Empty for a job
    /// that has not ended.
    pub fn local(&self) -> Vec<(&str, &str)> {
        self.lines(DiagnosticPart::Local).filter_map(|line| line.split_once('=')).collect()
    }

    /// Returns the files that A-REX has transferred.
    pub fn transfers(&self) -> Vec<TransferredFile> {
        self.lines(DiagnosticPart::Statistics).filter_map(transferred_file).collect()
    }

    /// Returns the input files that A-REX still waits for, and those that the client has uploaded. `None` if A-REX has not read
    /// the description yet.
    ///
    /// A-REX removes a file from its list when it has it. What it has fetched from URLs is in [`transfers`](Self::transfers).
    pub fn inputs(&self) -> Option<Vec<StagedFile>> {
        let listed = staging_list(&self.parts.get(&DiagnosticPart::Input)?.text);
        let uploaded: Vec<&str> = self.lines(DiagnosticPart::InputStatus).collect();
        let known: HashSet<&str> = uploaded.iter().map(|name| name.trim_start_matches('/')).collect();
        let are_all_uploaded = uploaded.contains(&"/");
        let is_uploaded = |name: &str| are_all_uploaded || known.contains(name);
        let one = |(name, url): (String, Option<String>)| {
            let state = match &url {
                Some(_) => StagingState::NotTransferred,
                None if is_uploaded(&name) => StagingState::Uploaded,
                None => StagingState::NotUploaded,
            };
            StagedFile { name, url, state }
        };
        let mut files: Vec<StagedFile> = listed.into_iter().map(one).collect();
        let listed: HashSet<String> = files.iter().map(|file| file.name.clone()).collect();
        let others = uploaded.iter().map(|name| name.trim_start_matches('/'));
        let others = others.filter(|name| !name.is_empty() && !listed.contains(*name));
        let uploaded = |name: &str| StagedFile { name: name.into(), url: None, state: StagingState::Uploaded };
        files.extend(others.map(uploaded));
        Some(files)
    }

    /// Returns the output files: those that A-REX keeps, those that it has written to their URLs, and those that it has not
    /// written. `None` if A-REX has not read the description yet.
    pub fn outputs(&self) -> Option<Vec<StagedFile>> {
        let listed = staging_list(&self.parts.get(&DiagnosticPart::Output)?.text).into_iter();
        let written = staging_list(self.parts.get(&DiagnosticPart::OutputStatus).map_or("", |part| &part.text));
        let one = |(name, url): (String, Option<String>)| StagedFile {
            state: if url.is_some() { StagingState::NotTransferred } else { StagingState::Kept },
            name,
            url,
        };
        let written = written.into_iter().map(|(name, url)| StagedFile { name, url, state: StagingState::Transferred });
        Some(listed.map(one).chain(written).collect())
    }
}

/// Reads a line like `2026-11-24T17:03:25Z Job state change SUBMIT -> INLRMS   Reason: Job is passed to LRMS`
/// (`JobsList::SetJobState`).
fn logged_change(line: &str) -> Option<LoggedChange> {
    let (time, change) = line.split_once(" Job state change ")?;
    let (states, reason) = change.split_once("Reason:").unwrap_or((change, ""));
    let (from, to) = states.split_once(" -> ")?;
    let (from, to, reason) = (from.trim().into(), to.trim().into(), reason.trim().into());
    Some(LoggedChange { time: time_of(time)?, from, to, reason })
}

fn time_of(text: &str) -> Option<SystemTime> {
    SystemTime::try_from(text.parse::<jiff::Timestamp>().ok()?).ok()
}

/// Reads the file `diag`, which the job script and the scripts of the batch system write (`submit_common.sh` and
/// `scan_common.sh`). The last value of a key counts, as for A-REX (`GMJobsInfo.pm`).
///
/// With cgroups, the keys are in lower case. The CPU times of this kind are left out, because their unit depends on the host.
pub(crate) fn read_usage<'a>(lines: impl Iterator<Item = &'a str>) -> ResourceUsage {
    let mut usage = ResourceUsage::default();
    let mut clock = None;
    let mut nodes = HashSet::new();
    let seconds = |value: &str| Duration::try_from_secs_f64(value.trim_end_matches('s').parse().ok()?).ok();
    let kib = |value: &str| value.strip_suffix("kB")?.trim().parse().ok().map(ByteSize::kib);
    let moment = |value: &str| {
        // 20261124170323Z
        time_of(&format!("{}T{}", value.get(..8)?, value.get(8..)?))
    };
    for (key, value) in lines.filter_map(|line| line.split_once('=')) {
        let value = value.trim();
        let text = || Some(value.to_owned()).filter(|text| !text.is_empty());
        match key.trim() {
            "exitcode" => usage.exit_code = value.parse().ok(),
            "LRMSExitcode" => usage.batch_exit_code = value.parse().ok(),
            "LRMSMessage" => usage.batch_message = text(),
            "nodename" if !value.is_empty() && nodes.insert(value) => usage.nodes.push(value.into()),
            "Processors" => usage.slots = value.parse().ok(),
            "WallTime" => usage.wall_time = seconds(value),
            "walltime" => clock = seconds(value),
            "UserTime" => usage.user_time = seconds(value),
            "KernelTime" => usage.kernel_time = seconds(value),
            "AverageTotalMemory" => usage.average_memory = kib(value).filter(|memory| memory.get() > 0),
            "MaxResidentMemory" | "maxresidentmemory" => usage.max_resident_memory = kib(value),
            "LRMSStartTime" => usage.start_time = moment(value),
            "LRMSEndTime" => usage.end_time = moment(value),
            "systemsoftware" => usage.operating_system = text(),
            _ => {}
        }
    }
    usage.wall_time = usage.wall_time.or(clock);
    usage
}

/// Reads a line of the file `statistics` (`DTRGenerator::processReceivedDTR`), such as
/// `inputfile:url=http://h:80/a,size=3,starttime=...,endtime=...,fromcache=no`. The URL may contain commas.
fn transferred_file(line: &str) -> Option<TransferredFile> {
    let (kind, rest) = line.split_once(":url=")?;
    let end = [",size=", ",starttime="].iter().filter_map(|key| rest.rfind(key)).min()?;
    let (url, values) = rest.split_at(end);
    let value = |key: &str| values.split(',').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    Some(TransferredFile {
        is_output: match kind {
            "inputfile" => false,
            "outputfile" => true,
            _ => return None,
        },
        url: url.into(),
        size: value("size").and_then(|size| size.parse().ok()),
        start_time: value("starttime").and_then(time_of),
        end_time: value("endtime").and_then(time_of),
        from_cache: value("fromcache") == Some("yes"),
    })
}

/// Reads A-REX's list of input or output files: their names, and the URLs of those that A-REX transfers.
///
/// A line has the name, then the size and checksum, a URL, or `*.*` for an optional file, and then the path of the credentials.
/// Blanks and backslashes are escaped by a backslash (`FileData` in `ControlFileContent.cpp`).
pub(crate) fn staging_list(list: &str) -> Vec<(String, Option<String>)> {
    let entry = |line: &str| {
        let mut words = escaped_words(line).into_iter();
        let name = words.next()?.trim_start_matches('/').to_owned();
        let url = words.next().filter(|content| content.contains(':'));
        Some((name, url)).filter(|(name, _)| !name.is_empty())
    };
    list.lines().filter_map(entry).collect()
}

/// Splits a line at blanks that are not escaped.
pub(crate) fn escaped_words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut rest = line.chars();
    while let Some(character) = rest.next() {
        match (character, words.last_mut()) {
            ('\\', Some(word)) => word.extend(rest.next()),
            (' ', _) => words.push(String::new()),
            (other, Some(word)) => word.push(other),
            (_, None) => {}
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn diagnostics(parts: &[(DiagnosticPart, &str)]) -> JobDiagnostics {
        let text = |text: &str| DiagnosticText { text: text.into(), size: text.len() as u64, left_out: 0 };
        JobDiagnostics { id: "a".into(), parts: parts.iter().map(|(part, content)| (*part, text(content))).collect() }
    }

    fn at(text: &str) -> Option<SystemTime> {
        Some(time_of(text).unwrap())
    }

    #[test]
    fn parts_have_names_and_a_serde_form() {
        for part in DiagnosticPart::ALL {
            assert_eq!(DiagnosticPart::from_name(&part.to_string()), Some(*part));
        }
        let known = diagnostics(&[(DiagnosticPart::Failed, "a\n\n b\n"), (DiagnosticPart::Status, "FINISHED")]);
        let text = serde_json::to_string(&known).unwrap();
        assert!(text.contains(r#""failed":{"text":"a\n\n b\n""#), "{text}");
        assert_eq!(serde_json::from_str::<JobDiagnostics>(&text).unwrap(), known);
        assert_eq!(known.failures(), ["a", "b"]);
        assert_eq!(known.text(DiagnosticPart::Status).unwrap().text, "FINISHED");
        assert_eq!(known.text(DiagnosticPart::Errors), None);
        assert_eq!((known.usage(), known.inputs(), known.outputs()), (None, None, None));
    }

    /// 300,000 lines take less than a second, but minutes if each is compared with all others.
    #[test]
    fn long_parts_are_read_in_linear_time() {
        let lines = |form: fn(u32) -> String| (0..300_000).map(form).collect::<String>();
        let (input, uploaded) = (lines(|n| format!("/i{n}\n")), lines(|n| format!("/u{n}\n")));
        let diag = lines(|n| format!("nodename={n}\n"));
        let long = diagnostics(&[
            (DiagnosticPart::Input, &input),
            (DiagnosticPart::InputStatus, &uploaded),
            (DiagnosticPart::Diag, &diag),
        ]);
        let begun = Instant::now();
        assert_eq!(long.inputs().unwrap().len(), 600_000);
        assert_eq!(long.usage().unwrap().nodes.len(), 300_000);
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }

    /// What the job script of A-REX 6.17 writes, with GNU time.
    #[test]
    fn usage_is_read() {
        let diag = "runtimeenvironments=A;B;\nsystemsoftware=Debian GNU/Linux 12 (bookworm)\nnodename=vm\nnodename=vm\n\
                    Processors=2\nCommand exited with non-zero status 7\nWallTime=61.25s\nKernelTime=0.50s\nUserTime=3s\n\
                    CPUUsage=100%\nMaxResidentMemory=1576kB\nAverageTotalMemory=0kB\n\nLRMSStartTime=20261124170323Z\n\
                    LRMSEndTime=20261124170424Z\nwalltime=61\nexitcode=7\n";
        let expected = ResourceUsage {
            exit_code: Some(7),
            nodes: vec!["vm".into()],
            slots: Some(2),
            wall_time: Some(Duration::from_millis(61_250)),
            user_time: Some(Duration::from_secs(3)),
            kernel_time: Some(Duration::from_millis(500)),
            max_resident_memory: Some(ByteSize::kib(1576)),
            start_time: at("2026-11-24T17:03:23Z"),
            end_time: at("2026-11-24T17:04:24Z"),
            operating_system: Some("Debian GNU/Linux 12 (bookworm)".into()),
            ..ResourceUsage::default()
        };
        assert_eq!(diagnostics(&[(DiagnosticPart::Diag, diag)]).usage(), Some(expected));
        let strange = "exitcode=x\nWallTime=-1s\nwalltime=1e99\n=\nLRMSStartTime=yesterday\nMaxResidentMemory=-3kB";
        let usage = diagnostics(&[(DiagnosticPart::Diag, strange)]).usage();
        assert_eq!(usage, Some(ResourceUsage::default()));
    }

    #[test]
    fn states_and_complaints_are_read_from_the_log() {
        let log = "2026-11-24T17:03:25Z Job state change UNDEFINED -> ACCEPTED   Reason: (Re)Accepting new job\n\
            # Job script\nexport 'X=Job state change'\n\
            [2026-11-24 17:03:23] [ERROR] [17214/11] DTR 3f04...6410: Failed checking source replica http://h:1/a: refused\n\
            [2026-11-24 17:03:23] [VERBOSE] [17214/11] DTR 3f04...6410: QUERYING_REPLICA->REPLICA_QUERIED\n\
            2026-11-24T17:03:27Z Job state change FINISHING -> FINISHED   Reason: Job failure detected\n";
        let known = diagnostics(&[(DiagnosticPart::Errors, log)]);
        let changes = known.changes();
        assert_eq!((changes.len(), &*changes[1].from, &*changes[1].to), (2, "FINISHING", "FINISHED"));
        assert_eq!(
            (changes[0].time, &*changes[0].reason),
            (at("2026-11-24T17:03:25Z").unwrap(), "(Re)Accepting new job")
        );
        assert_eq!(known.transfer_errors(), ["Failed checking source replica http://h:1/a: refused"]);
    }

    #[test]
    fn transfers_are_read() {
        let lines = "\ninputfile:url=http://h:80/a,size=3,b,size=12,starttime=2026-11-24T17:03:23Z,\
                     endtime=2026-11-24T17:03:24Z,fromcache=yes\n\
                     outputfile:url=http://h:80/c,starttime=2026-11-24T17:03:23Z,endtime=2026-11-24T17:03:25Z\nother:url=x\n";
        let expected = [
            TransferredFile {
                is_output: false,
                url: "http://h:80/a,size=3,b".into(),
                size: Some(12),
                start_time: at("2026-11-24T17:03:23Z"),
                end_time: at("2026-11-24T17:03:24Z"),
                from_cache: true,
            },
            TransferredFile {
                is_output: true,
                url: "http://h:80/c".into(),
                size: None,
                start_time: at("2026-11-24T17:03:23Z"),
                end_time: at("2026-11-24T17:03:25Z"),
                from_cache: false,
            },
        ];
        assert_eq!(diagnostics(&[(DiagnosticPart::Statistics, lines)]).transfers(), expected);
    }

    #[test]
    fn staged_files_have_states() {
        let known = diagnostics(&[
            (DiagnosticPart::Input, "/a http://h:1/a /cred\n/with\\ blank 7\n/later \n"),
            (DiagnosticPart::InputStatus, "\n/with blank\n/done\n"),
            (DiagnosticPart::Output, "/res http://h:1/res /cred\n/out\n/err \n"),
            (DiagnosticPart::OutputStatus, "/sent http://h:1/sent /cred\n"),
            (DiagnosticPart::Local, "queue=fork\nargs=/bin/sh -c a=b\n"),
        ]);
        let file =
            |name: &str, url: Option<&str>, state| StagedFile { name: name.into(), url: url.map(Into::into), state };
        let inputs = [
            file("a", Some("http://h:1/a"), StagingState::NotTransferred),
            file("with blank", None, StagingState::Uploaded),
            file("later", None, StagingState::NotUploaded),
            file("done", None, StagingState::Uploaded),
        ];
        assert_eq!(known.inputs().unwrap(), inputs);
        let outputs = [
            file("res", Some("http://h:1/res"), StagingState::NotTransferred),
            file("out", None, StagingState::Kept),
            file("err", None, StagingState::Kept),
            file("sent", Some("http://h:1/sent"), StagingState::Transferred),
        ];
        assert_eq!(known.outputs().unwrap(), outputs);
        assert_eq!(known.local(), [("queue", "fork"), ("args", "/bin/sh -c a=b")]);
        let all = diagnostics(&[(DiagnosticPart::Input, "/x 7\n"), (DiagnosticPart::InputStatus, "/\n")]);
        assert_eq!(all.inputs().unwrap(), [file("x", None, StagingState::Uploaded)]);
    }

    #[test]
    fn debug_hides_secrets() {
        let url = "ftp://me:secret@h/a";
        let file = StagedFile { name: "a".into(), url: Some(url.into()), state: StagingState::NotTransferred };
        let transfer = TransferredFile {
            is_output: false,
            url: url.into(),
            size: None,
            start_time: None,
            end_time: None,
            from_cache: false,
        };
        let text = DiagnosticText { text: "PASSWORD=secret".into(), size: 15, left_out: 0 };
        let shown = format!("{file:?} {transfer:?} {text:?}");
        assert!(
            !shown.contains("secret") && shown.contains("ftp://me:...@h/a") && shown.contains("15 bytes"),
            "{shown}"
        );
    }
}
