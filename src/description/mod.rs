//! [`JobDescription`]: what to run, with which files, on what, and what to keep.

pub(crate) mod arex;
mod files;
pub(crate) mod formats;
mod requests;
mod serde_forms;
mod validate;

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

pub(crate) use files::{Content, ResolvedInput, ResolvedSource, Upload, absolute};
pub use files::{InputFile, InputSource, OutputFile};
pub use requests::{
    ByteSize, Delegation, Notification, NotificationState, ParseByteSizeError, ParseDelegationError,
    ParseNotificationStateError, RuntimeEnvironment,
};
pub(crate) use validate::{check_url, invalid};

use crate::error::Result;

const STDOUT: &str = "stdout.txt";
const STDERR: &str = "stderr.txt";

/// A job to run on a CE: an executable, its arguments, the files it reads and those it leaves, and what it needs.
///
/// The job runs in a directory of its own on the CE, the session directory. The input files are copied there before it
/// starts; of what is there when it ends, the CE keeps its standard output and error and the named outputs.
///
/// ```
/// use std::time::Duration;
///
/// use jasmin_arc::{ByteSize, JobDescription};
///
/// let job = JobDescription::new("/bin/sh")
///     .with_name("count words")
///     .with_args(["-c", "wc -w chapter.txt > words"])
///     .with_input_file_as("/home/me/book/01.txt", "chapter.txt")
///     .with_output_file("words")
///     .with_wall_time(Duration::from_secs(600))
///     .with_memory(ByteSize::mib(500));
/// job.validate()?;
/// # Ok::<(), jasmin_arc::Error>(())
/// ```
///
/// What is not said is left to the CE. What an ARC-CE cannot be told is an error, not left out.
///
/// It can be read from and written as [JSDL](JobDescription::from_jsdl), [ADL](JobDescription::from_adl) and
/// [xRSL](JobDescription::from_xrsl); the repository's `docs/descriptions.md` has a table of what is what there.
///
/// With serde it is an object in which only `executable` is mandatory; times are seconds (since 1970), sizes bytes. Names that this version does not know are an
/// error, since what they stand for would be missing from the job; so is serializing a path that is not UTF-8.
///
/// ```
/// use std::time::Duration;
///
/// use jasmin_arc::{ByteSize, InputFile, JobDescription, RuntimeEnvironment};
///
/// let text = r#"{
///     "executable": "/bin/cat",
///     "args": ["a"],
///     "envs": {"LANG": "C"},
///     "inputs": [{"source": {"file": "/tmp/a"}}, {"source": {"url": "https://example.org/b"}, "name": "c"}],
///     "outputs": [{"name": "out"}, {"name": "log", "url": "https://example.org/log"}],
///     "runtime_environments": [{"name": "ENV/PROXY"}],
///     "wall_time": 600,
///     "memory": 1073741824,
///     "slots": 2
/// }"#;
/// let job: JobDescription = serde_json::from_str(text)?;
/// let expected = JobDescription::new("/bin/cat")
///     .with_arg("a")
///     .with_env("LANG", "C")
///     .with_input_file("/tmp/a")
///     .with_input(InputFile::url("https://example.org/b").with_name("c"))
///     .with_output_file("out")
///     .with_output_file_to("log", "https://example.org/log")
///     .with_runtime_environment(RuntimeEnvironment::new("ENV/PROXY"))
///     .with_wall_time(Duration::from_secs(600))
///     .with_memory(ByteSize::gib(1))
///     .with_slots(2);
/// assert_eq!(job, expected);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobDescription {
    #[serde(default = "default_name")]
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    annotations: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    executable: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    args: Vec<String>,
    #[serde(default, with = "serde_forms::map", skip_serializing_if = "Vec::is_empty")]
    envs: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stdin: Option<String>,
    #[serde(default = "default_stdout")]
    stdout: Option<String>,
    #[serde(default = "default_stderr")]
    stderr: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<InputFile>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    outputs: Vec<OutputFile>,
    #[serde(default, with = "serde_forms::seconds", skip_serializing_if = "Option::is_none")]
    wall_time: Option<Duration>,
    #[serde(default, with = "serde_forms::seconds", skip_serializing_if = "Option::is_none")]
    cpu_time: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory: Option<ByteSize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    virtual_memory: Option<ByteSize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    disk: Option<ByteSize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slots: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slots_per_host: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    processes_per_slot: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    threads_per_process: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exclusive: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    queue: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    runtime_environments: Vec<RuntimeEnvironment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rerun: Option<u32>,
    #[serde(default, with = "serde_forms::since_1970", skip_serializing_if = "Option::is_none")]
    start_time: Option<SystemTime>,
    #[serde(default, with = "serde_forms::seconds", skip_serializing_if = "Option::is_none")]
    life_time: Option<Duration>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    notifications: Vec<Notification>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    priority: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log_directory: Option<String>,
    #[serde(default, skip_serializing_if = "Delegation::is_auto")]
    delegation: Delegation,
}

/// For each setting that is a value or nothing: the method that sets it and the one that tells it.
macro_rules! settings {
    ($($(#[$doc:meta])* $with:ident($value:ident: $given:ty = $kept:expr) $field:ident -> $got:ty = $got_expr:expr;)*) => {
        impl JobDescription {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $with(mut self, $value: $given) -> Self {
                    self.$field = Some($kept);
                    self
                }

                #[doc = concat!("What was said by [`", stringify!($with), "`](Self::", stringify!($with), "); `None`: nothing.")]
                pub fn $field(&self) -> Option<$got> {
                    #[allow(clippy::redundant_closure_call)]
                    ($got_expr)(&self.$field)
                }
            )*
        }
    };
}

fn text(field: &Option<String>) -> Option<&str> {
    field.as_deref()
}

fn copied<T: Copy>(field: &Option<T>) -> Option<T> {
    *field
}

settings! {
    /// Describes the job in prose, in one line. A-REX keeps that with the job and does nothing with it.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("/bin/true").with_description("Does nothing, well.");
    /// assert_eq!(job.description(), Some("Does nothing, well."));
    /// ```
    with_description(description: impl Into<String> = description.into()) description -> &str = text;

    /// Names the project, or the account, that the job belongs to.
    ///
    /// Only JSDL can say it: there is no way to tell it to an ARC-CE, so submitting such a job is
    /// [`Error::InvalidJobDescription`](crate::Error::InvalidJobDescription).
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert_eq!(JobDescription::new("/bin/true").with_project("climate").project(), Some("climate"));
    /// ```
    with_project(project: impl Into<String> = project.into()) project -> &str = text;

    /// Has the job read its standard input from a file: an input file by its name in the session directory, or an absolute
    /// path on the CE. Without that it is empty.
    ///
    /// In its name, and in those of the standard output and error, may be letters, digits and `_./-+,:@%=^#`: the scripts
    /// of an ARC-CE do not quote it.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("/usr/bin/sort").with_input_bytes("names", "b\na\n").with_stdin("names");
    /// assert_eq!(job.stdin(), Some("names"));
    /// ```
    with_stdin(name: impl Into<String> = name.into()) stdin -> &str = text;

    /// The file in the session directory that the standard output goes to; `stdout.txt` if it is not said. If it is in a
    /// directory there, an input file must be there too: the CE does not make it otherwise.
    ///
    /// If the standard error is to go there too, say the same name [there](Self::with_stderr), or use
    /// [`with_joined_output`](Self::with_joined_output).
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert_eq!(JobDescription::new("/bin/true").stdout(), Some("stdout.txt"));
    /// assert_eq!(JobDescription::new("/bin/true").with_stdout("out").stdout(), Some("out"));
    /// ```
    with_stdout(name: impl Into<String> = name.into()) stdout -> &str = text;

    /// The file in the session directory that the standard error goes to; `stderr.txt` if it is not said.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert_eq!(JobDescription::new("/bin/true").stderr(), Some("stderr.txt"));
    /// assert_eq!(JobDescription::new("/bin/true").with_stderr("err").stderr(), Some("err"));
    /// ```
    with_stderr(name: impl Into<String> = name.into()) stderr -> &str = text;

    /// Limits the time for which the job runs, from its start to its end; rounded up to seconds.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("/bin/sleep").with_arg("60").with_wall_time(Duration::from_secs(90));
    /// assert_eq!(job.wall_time(), Some(Duration::from_secs(90)));
    /// ```
    with_wall_time(time: Duration = whole_seconds(time)) wall_time -> Duration = copied;

    /// Limits the CPU time of all of the job's processes together; rounded up to seconds.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("/bin/true").with_cpu_time(Duration::from_millis(1500));
    /// assert_eq!(job.cpu_time(), Some(Duration::from_secs(2)));
    /// ```
    with_cpu_time(time: Duration = whole_seconds(time)) cpu_time -> Duration = copied;

    /// The main memory that the job needs, and may use, in each of its slots. ARC rounds it up to MiB.
    ///
    /// ```
    /// # use jasmin_arc::{ByteSize, JobDescription};
    /// assert_eq!(JobDescription::new("/bin/true").with_memory(ByteSize::gib(4)).memory(), Some(ByteSize::mib(4096)));
    /// ```
    with_memory(memory: ByteSize = memory) memory -> ByteSize = copied;

    /// The virtual memory that the job needs in each of its slots. ARC rounds it up to MiB; its batch systems make no use
    /// of it.
    ///
    /// ```
    /// # use jasmin_arc::{ByteSize, JobDescription};
    /// assert_eq!(JobDescription::new("/bin/true").with_virtual_memory(ByteSize::gib(4)).virtual_memory(), Some(ByteSize::gib(4)));
    /// ```
    with_virtual_memory(memory: ByteSize = memory) virtual_memory -> ByteSize = copied;

    /// The disk space that the job needs in its session directory. ARC rounds it up to MiB.
    ///
    /// ```
    /// # use jasmin_arc::{ByteSize, JobDescription};
    /// assert_eq!(JobDescription::new("/bin/true").with_disk(ByteSize::gib(10)).disk(), Some(ByteSize::gib(10)));
    /// ```
    with_disk(disk: ByteSize = disk) disk -> ByteSize = copied;

    /// How many slots (mostly: cores) the job needs; the CE's default is one.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert_eq!(JobDescription::new("/bin/true").with_slots(16).slots(), Some(16));
    /// ```
    with_slots(slots: u32 = slots) slots -> u32 = copied;

    /// How many of the [slots](Self::with_slots), which must be said too and be a multiple, are to be on one host.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("/bin/true").with_slots(16).with_slots_per_host(8);
    /// assert_eq!(job.slots_per_host(), Some(8));
    /// ```
    with_slots_per_host(slots: u32 = slots) slots_per_host -> u32 = copied;

    /// How many processes are to run in each of the [slots](Self::with_slots), which must be said too.
    ///
    /// A-REX hands it to the scripts of its batch systems, none of which makes use of it (ARC 6.17).
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("/bin/true").with_slots(4).with_processes_per_slot(2);
    /// assert_eq!(job.processes_per_slot(), Some(2));
    /// ```
    with_processes_per_slot(processes: u32 = processes) processes_per_slot -> u32 = copied;

    /// How many threads each process will have; the [slots](Self::with_slots) must be said too.
    ///
    /// A-REX hands it to the scripts of its batch systems, none of which makes use of it (ARC 6.17).
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("/bin/true").with_slots(4).with_threads_per_process(2);
    /// assert_eq!(job.threads_per_process(), Some(2));
    /// ```
    with_threads_per_process(threads: u32 = threads) threads_per_process -> u32 = copied;

    /// Whether the job needs its hosts for itself alone. If it needs several [slots](Self::with_slots), it must then be
    /// said how many are on [one host](Self::with_slots_per_host): a CE would not see it otherwise.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert_eq!(JobDescription::new("/bin/true").with_exclusive(true).exclusive(), Some(true));
    /// ```
    with_exclusive(exclusive: bool = exclusive) exclusive -> bool = copied;

    /// The queue (in SLURM: the partition) to run in; without one the CE chooses.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert_eq!(JobDescription::new("/bin/true").with_queue("short-serial").queue(), Some("short-serial"));
    /// ```
    with_queue(queue: impl Into<String> = queue.into()) queue -> &str = text;

    /// How often the job may be run again when the CE or its cluster failed; the CE has a limit of its own.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert_eq!(JobDescription::new("/bin/true").with_rerun(2).rerun(), Some(2));
    /// ```
    with_rerun(times: u32 = times) rerun -> u32 = copied;

    /// Has the CE begin with the job no earlier than at this time; what is less than a second is cut off.
    ///
    /// ```
    /// # use std::time::{Duration, SystemTime};
    /// # use jasmin_arc::JobDescription;
    /// let midnight = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    /// assert_eq!(JobDescription::new("/bin/true").with_start_time(midnight).start_time(), Some(midnight));
    /// ```
    with_start_time(time: SystemTime = whole_second(time)) start_time -> SystemTime = copied;

    /// For how long the CE is to keep the session directory when the job has ended; rounded up to seconds.
    ///
    /// A-REX, up to that of ARC 7, takes it for something else (three hours: none at all), so submitting such a job is
    /// [`Error::InvalidJobDescription`](crate::Error::InvalidJobDescription). The descriptions in other languages have it.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use jasmin_arc::JobDescription;
    /// let day = Duration::from_secs(24 * 60 * 60);
    /// assert_eq!(JobDescription::new("/bin/true").with_life_time(day).life_time(), Some(day));
    /// ```
    with_life_time(time: Duration = whole_seconds(time)) life_time -> Duration = copied;

    /// How important the job is among those of the same user, from 1 to 100; the CE takes 50 if it is not said.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert_eq!(JobDescription::new("/bin/true").with_priority(80).priority(), Some(80));
    /// ```
    with_priority(priority: u32 = priority) priority -> u32 = copied;

    /// Has the CE show its own records of the job under this name in the session directory (xRSL: `gmlog`).
    ///
    /// There is no such directory: A-REX invents it for who asks for it at the job's URL with HTTP (`ARexService::Get`), and
    /// neither lists it nor shows it by its REST interface. It is not fetched with the outputs.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert_eq!(JobDescription::new("/bin/true").with_log_directory("gmlog").log_directory(), Some("gmlog"));
    /// ```
    with_log_directory(name: impl Into<String> = name.into()) log_directory -> &str = text;
}

/// Rounded up.
pub(crate) fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0)))
}

fn whole_second(time: SystemTime) -> SystemTime {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs()),
        Err(_) => SystemTime::UNIX_EPOCH,
    }
}

impl JobDescription {
    /// A job that runs `executable`, called "ARC job", without arguments or files.
    ///
    /// The executable is a path on the CE's worker nodes, or the session name of an input file.
    ///
    /// ```
    /// use jasmin_arc::JobDescription;
    ///
    /// let job = JobDescription::new("/bin/hostname");
    /// assert_eq!((job.executable(), job.name()), ("/bin/hostname", "ARC job"));
    /// ```
    pub fn new(executable: impl Into<String>) -> Self {
        JobDescription {
            name: default_name(),
            description: None,
            annotations: Vec::new(),
            project: None,
            executable: executable.into(),
            args: Vec::new(),
            envs: Vec::new(),
            stdin: None,
            stdout: default_stdout(),
            stderr: default_stderr(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            wall_time: None,
            cpu_time: None,
            memory: None,
            virtual_memory: None,
            disk: None,
            slots: None,
            slots_per_host: None,
            processes_per_slot: None,
            threads_per_process: None,
            exclusive: None,
            queue: None,
            runtime_environments: Vec::new(),
            rerun: None,
            start_time: None,
            life_time: None,
            notifications: Vec::new(),
            priority: None,
            log_directory: None,
            delegation: Delegation::Auto,
        }
    }

    /// A job that runs a local file, which is uploaded under its base name and need not be executable here.
    ///
    /// ```
    /// use jasmin_arc::JobDescription;
    ///
    /// let job = JobDescription::run_local("scripts/run.sh");
    /// assert_eq!(job.executable(), "run.sh");
    /// assert!(job.inputs()[0].is_executable());
    /// ```
    pub fn run_local(path: impl Into<PathBuf>) -> Self {
        let input = InputFile::file(path).with_executable(true);
        // Without a name it is an error of the input file, which says more.
        JobDescription::new(input.name().unwrap_or("?")).with_input(input)
    }

    /// Calls the job `name`; it need not be unique.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert_eq!(JobDescription::new("/bin/true").with_name("nothing").name(), "nothing");
    /// ```
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Adds a remark. A-REX keeps it with the job and does nothing with it.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert_eq!(JobDescription::new("/bin/true").with_annotation("run 7").annotations(), ["run 7"]);
    /// ```
    #[must_use]
    pub fn with_annotation(mut self, annotation: impl Into<String>) -> Self {
        self.annotations.push(annotation.into());
        self
    }

    /// Adds one argument.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("/bin/echo").with_arg("-n").with_arg("two words");
    /// assert_eq!(job.args(), ["-n", "two words"]);
    /// ```
    #[must_use]
    pub fn with_arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments, after those already there.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("/bin/echo").with_args(["a", "b"]).with_args(["c"]);
    /// assert_eq!(job.args(), ["a", "b", "c"]);
    /// ```
    #[must_use]
    pub fn with_args<I>(mut self, args: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable of the job.
    ///
    /// A value arrives to the letter, or is [`Error::InvalidJobDescription`](crate::Error::InvalidJobDescription): it may
    /// have no newline, and no backslash before a character that some shell's `echo` takes for more than it is. So is a
    /// name that the CE's own scripts use, such as `HOME`. A `PATH` without `/bin` and `/usr/bin` leaves them without their
    /// programs: the job fails. (The batch system SLURMPY of ARC 6 cannot cope with `'`.)
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("/bin/true").with_env("OMP_NUM_THREADS", "4");
    /// assert!(job.envs().eq([("OMP_NUM_THREADS", "4")]));
    /// ```
    #[must_use]
    pub fn with_env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.envs.push((name.into(), value.into()));
        self
    }

    /// Sets environment variables of the job: see [`with_env`](Self::with_env).
    #[must_use]
    pub fn with_envs(mut self, envs: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) -> Self {
        self.envs.extend(envs.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Sets whether the job gets a delegation.
    ///
    /// `DELEGATION` in the [configuration](crate::ConnectionConfig) takes precedence if it is `always` or `never`; see the
    /// table at [`Delegation`].
    #[must_use]
    pub fn with_delegation(mut self, delegation: Delegation) -> Self {
        self.delegation = delegation;
        self
    }

    /// Whether the job gets a delegation; [`Delegation::Auto`] by default.
    pub fn delegation(&self) -> Delegation {
        self.delegation
    }

    /// Throws the standard output away.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert_eq!(JobDescription::new("/bin/true").without_stdout().stdout(), None);
    /// ```
    #[must_use]
    pub fn without_stdout(mut self) -> Self {
        self.stdout = None;
        self
    }

    /// Throws the standard error away.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert_eq!(JobDescription::new("/bin/true").without_stderr().stderr(), None);
    /// ```
    #[must_use]
    pub fn without_stderr(mut self) -> Self {
        self.stderr = None;
        self
    }

    /// Has standard output and error go to the same file in the session directory.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("/bin/true").with_joined_output("all.txt");
    /// assert_eq!((job.stdout(), job.stderr()), (Some("all.txt"), Some("all.txt")));
    /// ```
    #[must_use]
    pub fn with_joined_output(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.with_stdout(name.clone()).with_stderr(name)
    }

    /// Adds an input: see [`InputFile`].
    ///
    /// ```
    /// # use jasmin_arc::{InputFile, JobDescription};
    /// let job = JobDescription::new("model/run").with_input(InputFile::directory("/home/me/model"));
    /// assert_eq!(job.inputs()[0].name(), Some("model"));
    /// ```
    #[must_use]
    pub fn with_input(mut self, input: InputFile) -> Self {
        self.inputs.push(input);
        self
    }

    /// Adds a local file, to be copied to the session directory under its base name.
    ///
    /// It is looked at when the job is submitted: it must then be a readable regular file, or a link to one. If its
    /// owner, its group or anyone else may execute it here, the job may execute it there.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("run.sh").with_input_file("scripts/run.sh");
    /// assert_eq!(job.inputs()[0].name(), Some("run.sh"));
    /// ```
    #[must_use]
    pub fn with_input_file(self, path: impl Into<PathBuf>) -> Self {
        self.with_input(InputFile::file(path))
    }

    /// Adds a local file, to be copied to the session directory as `name`: a relative path there.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("/bin/cat").with_arg("in/a").with_input_file_as("/data/2026/a.nc", "in/a");
    /// assert_eq!(job.inputs()[0].name(), Some("in/a"));
    /// ```
    #[must_use]
    pub fn with_input_file_as(self, path: impl Into<PathBuf>, name: impl Into<String>) -> Self {
        self.with_input(InputFile::file(path).with_name(name))
    }

    /// Adds a local directory, to be copied to the session directory under its base name, with all that is in it.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("/bin/ls").with_arg("model").with_input_directory("/home/me/model");
    /// assert_eq!(job.inputs()[0].name(), Some("model"));
    /// ```
    #[must_use]
    pub fn with_input_directory(self, path: impl Into<PathBuf>) -> Self {
        self.with_input(InputFile::directory(path))
    }

    /// Adds a file `name` in the session directory that consists of these bytes.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("/bin/cat").with_arg("greeting").with_input_bytes("greeting", "hello\n");
    /// assert_eq!(job.inputs()[0].name(), Some("greeting"));
    /// ```
    #[must_use]
    pub fn with_input_bytes(self, name: impl Into<String>, bytes: impl AsRef<[u8]>) -> Self {
        self.with_input(InputFile::bytes(name, bytes))
    }

    /// Adds a file that the CE fetches itself, under the last name in the URL's path: see [`InputFile::url`].
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("/bin/cat").with_arg("a.nc").with_input_url("https://example.org/2026/a.nc");
    /// assert_eq!(job.inputs()[0].name(), Some("a.nc"));
    /// ```
    #[must_use]
    pub fn with_input_url(self, url: impl Into<String>) -> Self {
        self.with_input(InputFile::url(url))
    }

    /// Adds an output: see [`OutputFile`].
    #[must_use]
    pub fn with_output(mut self, output: OutputFile) -> Self {
        self.outputs.push(output);
        self
    }

    /// Has the CE keep a file or a whole directory of the session directory when the job has ended, for download.
    ///
    /// What the job does not make is not there afterwards: that is no error. `/` keeps all that is there. There are no
    /// other patterns; see [`with_output_list`](Self::with_output_list) for what is only known when the job has run.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("make.sh").with_output_file("map.png").with_output_file("logs/");
    /// assert_eq!(job.outputs().iter().map(|output| output.name()).collect::<Vec<_>>(), ["map.png", "logs/"]);
    /// ```
    #[must_use]
    pub fn with_output_file(self, name: impl Into<String>) -> Self {
        self.with_output(OutputFile::file(name))
    }

    /// Has the CE upload a file of the session directory to a URL when the job has ended well; a directory, if the name
    /// ends in a slash. When the job has failed, it is kept for download.
    ///
    /// A file is not kept when it has been uploaded, unless it is [an output](Self::with_output_file) without a URL too; a
    /// directory is. A job that does not make it fails.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("make.sh").with_output_file_to("map.png", "https://example.org/maps/7.png");
    /// assert_eq!(job.outputs()[0].url(), Some("https://example.org/maps/7.png"));
    /// ```
    #[must_use]
    pub fn with_output_file_to(self, name: impl Into<String>, url: impl Into<String>) -> Self {
        self.with_output(OutputFile::file(name).with_url(url))
    }

    /// Has the CE keep, or upload, what the job lists in the file `name`, which it writes: on each line the name of a file
    /// in the session directory, and after a blank its URL if it is to be uploaded.
    ///
    /// In these names a blank, and a backslash, has a backslash before it. If any file of the list is uploaded, those
    /// without a URL are not kept; so such a job can have no [other uploads](Self::with_output_file_to). A job that does not
    /// write the list fails. It always gets your credentials: A-REX refuses it otherwise.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert_eq!(JobDescription::new("make.sh").with_output_list("made.txt").outputs()[0].name(), "@made.txt");
    /// ```
    #[must_use]
    pub fn with_output_list(self, name: impl Into<String>) -> Self {
        self.with_output(OutputFile::list(name))
    }

    /// Has the job run in a runtime environment that the CE has installed.
    ///
    /// ```
    /// # use jasmin_arc::{JobDescription, RuntimeEnvironment};
    /// let job = JobDescription::new("/bin/true").with_runtime_environment(RuntimeEnvironment::new("ENV/PROXY"));
    /// assert_eq!(job.runtime_environments()[0].name(), "ENV/PROXY");
    /// ```
    #[must_use]
    pub fn with_runtime_environment(mut self, rte: RuntimeEnvironment) -> Self {
        self.runtime_environments.push(rte);
        self
    }

    /// Has the CE send a message when the job reaches one of these states. A-REX serves three addresses at most.
    ///
    /// ```
    /// # use jasmin_arc::{JobDescription, Notification, NotificationState};
    /// let states = [NotificationState::InLrms, NotificationState::Finished];
    /// assert_eq!(JobDescription::new("/bin/true").with_notification(Notification::new("me@example.org", states)).notifications().len(), 1);
    /// ```
    #[must_use]
    pub fn with_notification(mut self, notification: Notification) -> Self {
        self.notifications.push(notification);
        self
    }

    /// The job's name.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert_eq!(JobDescription::new("/bin/true").name(), "ARC job");
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The remarks.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert!(JobDescription::new("/bin/true").annotations().is_empty());
    /// ```
    pub fn annotations(&self) -> &[String] {
        &self.annotations
    }

    /// What is run.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert_eq!(JobDescription::new("/bin/true").executable(), "/bin/true");
    /// ```
    pub fn executable(&self) -> &str {
        &self.executable
    }

    /// The arguments.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert_eq!(JobDescription::new("/bin/echo").with_arg("").args(), [""]);
    /// ```
    pub fn args(&self) -> &[String] {
        &self.args
    }

    /// The environment variables, in the order in which they were set.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("/bin/true").with_env("B", "2").with_env("A", "1");
    /// assert!(job.envs().eq([("B", "2"), ("A", "1")]));
    /// ```
    pub fn envs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.envs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What is copied to the session directory.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert_eq!(JobDescription::new("/bin/cat").with_input_file("in/a.txt").inputs()[0].name(), Some("a.txt"));
    /// ```
    pub fn inputs(&self) -> &[InputFile] {
        &self.inputs
    }

    /// What the CE keeps or uploads besides the standard output and error, as it was given.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert_eq!(JobDescription::new("run").with_output_file("a").outputs()[0].name(), "a");
    /// ```
    pub fn outputs(&self) -> &[OutputFile] {
        &self.outputs
    }

    /// The runtime environments.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert!(JobDescription::new("/bin/true").runtime_environments().is_empty());
    /// ```
    pub fn runtime_environments(&self) -> &[RuntimeEnvironment] {
        &self.runtime_environments
    }

    /// Who gets messages, and when.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert!(JobDescription::new("/bin/true").notifications().is_empty());
    /// ```
    pub fn notifications(&self) -> &[Notification] {
        &self.notifications
    }

    /// The names of the outputs that stay on the CE, without a trailing slash.
    fn kept_outputs(&self) -> HashSet<&str> {
        self.outputs.iter().filter(|output| output.url.is_none()).map(|output| plain(&output.name)).collect()
    }

    /// What the CE must be told of outputs, besides standard output and error and the log directory, which it keeps in any
    /// case: each once, directories without a trailing slash, and not what is in a directory that is kept (A-REX would keep
    /// nothing else of that directory: `Arc::DirDeleteExcl`).
    pub(crate) fn distinct_outputs(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let standard = [&self.stdout, &self.stderr, &self.log_directory];
        let mut seen: HashSet<(&str, Option<&str>)> =
            standard.into_iter().flatten().map(|name| (&name[..], None)).collect();
        let kept = self.kept_outputs();
        let is_covered = move |name: &str| {
            name != "/" && !name.starts_with('@') && (kept.contains("/") || is_below_one_of(name, &kept))
        };
        fn one(output: &OutputFile) -> (&str, Option<&str>) {
            match &output.url {
                // The CE uploads a directory only if it is said to be one.
                Some(url) => (&output.name, Some(url)),
                None => (plain(&output.name), None),
            }
        }
        self.outputs
            .iter()
            .map(one)
            .filter(move |(name, url)| url.is_some() || !is_covered(name))
            .filter(move |output| seen.insert(*output))
    }

    /// Whether the CE will need the user's credentials for the job's files.
    pub(crate) fn stages_remotely(&self) -> bool {
        self.inputs.iter().any(|input| matches!(input.source(), InputSource::Url(_)))
            || self.outputs.iter().any(|output| output.url.is_some() || output.name.starts_with('@'))
    }

    /// Whether the job gets a delegation if the configuration leaves that to the job.
    pub(crate) fn wants_delegation(&self) -> bool {
        match self.delegation {
            Delegation::Auto => self.stages_remotely(),
            Delegation::Always => true,
            Delegation::Never => false,
        }
    }

    /// The executable as input files are named: the CE puts `./` before it again.
    pub(crate) fn plain_executable(&self) -> &str {
        let executable = self.executable.as_str();
        executable.strip_prefix("./").filter(|rest| !rest.starts_with('/')).unwrap_or(executable)
    }

    /// Makes the executable and the standard input local files with that name, where they are neither absolute paths nor
    /// among the input files. `Arc::JobDescription::Prepare` does the same.
    pub(crate) fn with_files_of_its_own(mut self) -> Self {
        let is_missing = |job: &Self, name: &str| !name.is_empty() && !name.starts_with('/') && !job.has_input(name);
        let executable = self.plain_executable().to_owned();
        if is_missing(&self, &executable) {
            self = self.with_input(InputFile::file(&executable).with_other_name(&executable).with_executable(true));
        }
        let stdin = self.stdin.clone().unwrap_or_default();
        if is_missing(&self, &stdin) {
            self = self.with_input(InputFile::file(&stdin).with_other_name(&stdin));
        }
        self
    }

    /// Looks at the input files: each must be a readable regular file.
    pub(crate) fn resolve_inputs(&self) -> Result<Vec<ResolvedInput>> {
        self.validate()?;
        let mut resolved = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            resolved.extend(input.resolve()?);
        }
        self.check_resolved(&resolved)?;
        Ok(resolved)
    }
}

/// The name of an output without the slash that says that it is a directory, which the CE sees for itself.
fn plain(name: &str) -> &str {
    match name.trim_end_matches('/') {
        "" if !name.is_empty() => "/",
        plain => plain,
    }
}

/// Whether a name is that of something in a directory.
pub(crate) fn is_below(name: &str, directory: &str) -> bool {
    name.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a name is that of something in one of the directories.
fn is_below_one_of(name: &str, directories: &HashSet<&str>) -> bool {
    name.match_indices('/').any(|(end, _)| directories.contains(&name[..end]))
}

fn default_name() -> String {
    "ARC job".into()
}

fn default_stdout() -> Option<String> {
    Some(STDOUT.into())
}

fn default_stderr() -> Option<String> {
    Some(STDERR.into())
}
