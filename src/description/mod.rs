//! [`JobDescription`]: the executable, files, resources and outputs of a job.
//!
//! The description itself is a plain value. Each operation on it has its own module: [`validate`] checks it, [`arex`]
//! contains the rules of A-REX, [`resolve`] reads its input files, and [`formats`] reads and writes it in other
//! languages.

pub(crate) mod arex;
mod errors;
mod files;
pub(crate) mod formats;
mod key;
mod requests;
mod resolve;
mod restrictions;
mod session_names;
#[cfg(test)]
mod testing;
mod validate;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

pub(crate) use errors::invalid;
pub use files::{InputFile, InputSource, OutputFile};
pub(crate) use key::{URN_PREFIX, key_of, urn};
pub use requests::{
    Delegation, Notification, NotificationState, ParseDelegationError, ParseNotificationStateError, RuntimeEnvironment,
};
pub(crate) use resolve::{Content, ResolvedInput, ResolvedSource, Upload, absolute};
pub use restrictions::Restrictions;
pub(crate) use session_names::is_below;
pub(crate) use validate::check_url;

use crate::error::Result;
use crate::util::byte_size::ByteSize;
use crate::util::serde_forms;

/// A description of a job: the executable, its arguments, its files and the resources that it needs.
///
/// [`new`](Self::new) describes a job that runs an executable, and the `with_` methods add the rest. The getter of
/// `with_slots` is `slots`. The getter of a method that adds one of several values, such as `with_arg`, has a plural
/// name.
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
/// On the CE, each job runs in its own *session directory*, which contains the input files when the job starts. When
/// the job has ended, the CE keeps its standard output and error and the named outputs.
///
/// Unset fields use the CE's defaults. A field that the CE cannot express is an error. The crate never drops it.
///
/// The crate reads and writes descriptions in [JSDL](Self::from_jsdl), [ADL](Self::from_adl) and
/// [xRSL](Self::from_xrsl). A table in `docs/descriptions.md` of the repository maps the fields to these languages.
///
/// # Serde form
///
/// An object whose keys are the names of the getters. Only `executable` is required.
/// - Durations are whole seconds, and `start_time` is in seconds since 1970. Sizes are bytes.
/// - `envs` is an object of names and values.
/// - `stdout` and `stderr` are `null` after `without_stdout` and `without_stderr`. Without these keys, they have their
///   defaults.
///
/// An unknown key is an error, because ignoring it would change the job. Serialising a path that is not UTF-8 is an
/// error too. Deserialising checks only the types. Submitting the job [validates](Self::validate) the values.
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
///
/// # Descriptions from others
///
/// **A service that takes descriptions from its clients must refuse local input files.** Submitting a job reads and
/// uploads its input files with the rights of the service. With
/// `{"executable": "/bin/cat", "inputs": [{"source": {"file": "/etc/shadow"}}]}` a client reads a file of the service.
/// The same applies to ADL, JSDL and xRSL, where a relative executable or standard input is a local file too.
/// [`check_restrictions`](Self::check_restrictions) refuses this, and everything else that concerns others, in one call:
///
/// ```
/// use jasmin_arc::{JobDescription, Restrictions};
///
/// let text = r#"{"executable": "/bin/cat", "inputs": [{"source": {"file": "/etc/shadow"}}]}"#;
/// let job: JobDescription = serde_json::from_str(text)?;
/// assert!(job.check_restrictions(&Restrictions::default()).is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// The jobs still run as the service's user on the CE. [`from_file`](Self::from_file) and
/// [`all_from_file`](Self::all_from_file) read any path, so clients must not choose that path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[must_use = "a description does nothing until it is submitted, and its `with_` methods return the changed description"]
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    commit: Option<bool>,
}

/// # What to run
impl JobDescription {
    /// Describes a job called "ARC job" that runs `executable`, without arguments or files.
    ///
    /// The executable is an absolute path on the CE's worker nodes, or the name of an input file in the session directory.
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
            key: None,
            commit: None,
        }
    }

    /// Describes a job that runs a local file. The crate uploads the file under its base name and makes it executable.
    ///
    /// ```
    /// use jasmin_arc::JobDescription;
    ///
    /// let job = JobDescription::run_local("scripts/run.sh").with_arg("--fast");
    /// assert_eq!(job.executable(), "run.sh");
    /// assert!(job.inputs()[0].is_executable());
    /// ```
    pub fn run_local(path: impl Into<PathBuf>) -> Self {
        let input = InputFile::file(path).with_executable(true);
        // Without a base name, the input file is invalid, so validation refuses the job.
        JobDescription::new(input.name().unwrap_or("?")).with_input(input)
    }

    /// The executable.
    pub fn executable(&self) -> &str {
        &self.executable
    }

    /// Adds one argument.
    ///
    /// Arguments reach the executable unchanged, including blanks, quotes and newlines. No shell interprets them.
    pub fn with_arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments, after the existing ones.
    pub fn with_args(mut self, args: impl IntoIterator<Item: Into<String>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// The arguments.
    pub fn args(&self) -> &[String] {
        &self.args
    }

    /// Adds an environment variable.
    ///
    /// The value reaches the job unchanged. Submitting a job with one of these is
    /// [`Error::InvalidJobDescription`](crate::Error::InvalidJobDescription), because the scripts of the CE would
    /// change them:
    /// - a value with a newline, or with a backslash escape that the `echo` of some shell replaces, such as `\n`;
    /// - a name that the scripts or the shell set themselves, such as `HOME`, or that begins with `RUNTIME_` or
    ///   `JASMIN_ARC_`.
    ///
    /// A `PATH` without `/bin` and `/usr/bin` makes the job fail, since the scripts need the programs there. The batch
    /// system SLURMPY of ARC 6 cannot handle `'` in a value.
    pub fn with_env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.envs.push((name.into(), value.into()));
        self
    }

    /// Adds environment variables, with the rules of [`with_env`](Self::with_env).
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("/bin/true").with_envs([("OMP_NUM_THREADS", "4"), ("LANG", "C")]);
    /// ```
    pub fn with_envs(mut self, envs: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) -> Self {
        self.envs.extend(envs.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// The environment variables, as names and values, in the order in which they were added.
    pub fn envs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.envs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Adds a runtime environment. If the CE does not have it, the job fails.
    pub fn with_runtime_environment(mut self, rte: RuntimeEnvironment) -> Self {
        self.runtime_environments.push(rte);
        self
    }

    /// The runtime environments.
    pub fn runtime_environments(&self) -> &[RuntimeEnvironment] {
        &self.runtime_environments
    }
}

/// # Standard streams
///
/// The name of a standard stream may contain ASCII letters, digits, the characters `_./-+,:@%=^#`, and all characters
/// outside ASCII. Other characters are invalid, because the scripts of the CE do not quote the name.
impl JobDescription {
    /// Sets the file that the job reads as its standard input; by default the standard input is empty.
    ///
    /// `name` is the name of an input file in the session directory, or an absolute path on the CE.
    pub fn with_stdin(mut self, name: impl Into<String>) -> Self {
        self.stdin = Some(name.into());
        self
    }

    /// The file that the job reads as its standard input, if any.
    pub fn stdin(&self) -> Option<&str> {
        self.stdin.as_deref()
    }

    /// Sets the file in the session directory that receives the standard output. The default is `stdout.txt`.
    ///
    /// If the file is in a subdirectory, that directory must also contain an input file, because the CE creates
    /// directories only for input files.
    pub fn with_stdout(mut self, name: impl Into<String>) -> Self {
        self.stdout = Some(name.into());
        self
    }

    /// Discards the standard output.
    pub fn without_stdout(mut self) -> Self {
        self.stdout = None;
        self
    }

    /// The file in the session directory that receives the standard output. `None` if the CE discards it.
    pub fn stdout(&self) -> Option<&str> {
        self.stdout.as_deref()
    }

    /// Sets the file in the session directory that receives the standard error. The default is `stderr.txt`.
    ///
    /// It may be the same file as for the standard output: see [`with_joined_output`](Self::with_joined_output).
    pub fn with_stderr(mut self, name: impl Into<String>) -> Self {
        self.stderr = Some(name.into());
        self
    }

    /// Discards the standard error.
    pub fn without_stderr(mut self) -> Self {
        self.stderr = None;
        self
    }

    /// The file in the session directory that receives the standard error. `None` if the CE discards it.
    pub fn stderr(&self) -> Option<&str> {
        self.stderr.as_deref()
    }

    /// Sets one file in the session directory for both standard output and standard error.
    pub fn with_joined_output(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.with_stdout(name.clone()).with_stderr(name)
    }
}

/// # Files
impl JobDescription {
    /// Adds an input file or directory.
    ///
    /// The methods below are shortcuts for the constructors of [`InputFile`].
    pub fn with_input(mut self, input: InputFile) -> Self {
        self.inputs.push(input);
        self
    }

    /// Adds a local file, which the crate uploads under its base name: see [`InputFile::file`].
    pub fn with_input_file(self, path: impl Into<PathBuf>) -> Self {
        self.with_input(InputFile::file(path))
    }

    /// Adds a local file, which the crate uploads as `name`, a relative path in the session directory.
    pub fn with_input_file_as(self, path: impl Into<PathBuf>, name: impl Into<String>) -> Self {
        self.with_input(InputFile::file(path).with_name(name))
    }

    /// Adds a local directory, which the crate uploads under its base name: see [`InputFile::directory`].
    pub fn with_input_directory(self, path: impl Into<PathBuf>) -> Self {
        self.with_input(InputFile::directory(path))
    }

    /// Adds a file called `name` in the session directory with `bytes` as its content.
    pub fn with_input_bytes(self, name: impl Into<String>, bytes: impl AsRef<[u8]>) -> Self {
        self.with_input(InputFile::bytes(name, bytes))
    }

    /// Adds a file that the CE fetches from a URL and names after the last component of the URL's path: see
    /// [`InputFile::url`].
    pub fn with_input_url(self, url: impl Into<String>) -> Self {
        self.with_input(InputFile::url(url))
    }

    /// The inputs.
    pub fn inputs(&self) -> &[InputFile] {
        &self.inputs
    }

    /// Adds an output.
    ///
    /// The methods below are shortcuts for the constructors of [`OutputFile`].
    pub fn with_output(mut self, output: OutputFile) -> Self {
        self.outputs.push(output);
        self
    }

    /// Keeps a file or directory of the session directory for download: see [`OutputFile::file`].
    pub fn with_output_file(self, name: impl Into<String>) -> Self {
        self.with_output(OutputFile::file(name))
    }

    /// Makes the CE upload a file of the session directory to a URL: see [`OutputFile::with_url`].
    ///
    /// To upload a directory, end the name with a slash.
    pub fn with_output_file_to(self, name: impl Into<String>, url: impl Into<String>) -> Self {
        self.with_output(OutputFile::file(name).with_url(url))
    }

    /// Keeps or uploads the files that the job names in the list file `name`: see [`OutputFile::list`].
    pub fn with_output_list(self, name: impl Into<String>) -> Self {
        self.with_output(OutputFile::list(name))
    }

    /// The outputs, without the standard output and error.
    pub fn outputs(&self) -> &[OutputFile] {
        &self.outputs
    }

    /// Sets the name under which the CE shows its own records of the job (xRSL: `gmlog`).
    ///
    /// A-REX creates no such directory. It serves the records under that name at the job's URL (`ARexService::Get`),
    /// but does not list the name, and does not serve it over the REST interface. The methods that save outputs do not
    /// download the records.
    pub fn with_log_directory(mut self, name: impl Into<String>) -> Self {
        self.log_directory = Some(name.into());
        self
    }

    /// The value set by [`with_log_directory`](Self::with_log_directory), if any.
    pub fn log_directory(&self) -> Option<&str> {
        self.log_directory.as_deref()
    }

    /// Sets whether the job gets a delegation. The default is [`Delegation::Auto`].
    ///
    /// `DELEGATION` in the [configuration](crate::ConnectionConfig) takes precedence if it is `always` or `never`.
    pub fn with_delegation(mut self, delegation: Delegation) -> Self {
        self.delegation = delegation;
        self
    }

    /// Whether the job gets a delegation.
    pub fn delegation(&self) -> Delegation {
        self.delegation
    }

    /// Sets the key of the submission: a name for this job that no other job of yours has, such as "sweep 7, seed 42".
    ///
    /// Submitting a description whose key was submitted before returns the job that exists, and never makes a second
    /// one. This holds for all programs that use the same [journal](crate::ArcInterface::recover) and the same
    /// identity on the same CE. Without a key, the crate uses a random one.
    ///
    /// The job that exists may have failed or been cancelled. To run it again, choose another key, or
    /// [clean](crate::ArcInterface::clean_jobs) the job first. After a submission that the CE has refused, or whose job the
    /// crate has cancelled because an upload failed, the key is free.
    ///
    /// The key is a text of 1 to 500 bytes. It is stored with the job on the CE, where its owner and the administrators
    /// can read it. Two descriptions with the same key are the same job, whatever else they contain.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// use jasmin_arc::JobDescription;
    ///
    /// let job = JobDescription::new("/opt/model").with_arg("42").with_key("sweep 7, seed 42");
    /// let id = arc.submit(&job)?;
    /// assert_eq!(arc.submit(&job)?, id);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The key of the submission, if set.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Sets whether the job runs only after its id is in the journal. The default is the setting of the
    /// [interface](crate::ArcInterfaceBuilder::commit).
    ///
    /// With `true`, a request that is delayed in the network and reaches the CE after the crate has given it up makes a
    /// job that never runs. Therefore the crate can send a lost request again at once. A job with files to upload
    /// behaves in this way in any case, because the CE waits for them. A job without such files gets a small one, called
    /// `.jasmin-arc-commit`, which costs one more request.
    ///
    /// Over EMI-ES, submitting such a job is [`Error::Unsupported`](crate::Error::Unsupported).
    pub fn with_commit(mut self, commit: bool) -> Self {
        self.commit = Some(commit);
        self
    }

    /// Whether the job runs only after its id is in the journal, if set.
    pub fn commit(&self) -> Option<bool> {
        self.commit
    }
}

/// # Resources
impl JobDescription {
    /// Sets the limit on the time from the job's start to its end, rounded up to seconds.
    pub fn with_wall_time(mut self, time: Duration) -> Self {
        self.wall_time = Some(whole_seconds(time));
        self
    }

    /// The limit on the job's wall time, if set.
    pub fn wall_time(&self) -> Option<Duration> {
        self.wall_time
    }

    /// Sets the limit on the CPU time of all processes of the job together, rounded up to seconds.
    pub fn with_cpu_time(mut self, time: Duration) -> Self {
        self.cpu_time = Some(whole_seconds(time));
        self
    }

    /// The limit on the job's CPU time, if set.
    pub fn cpu_time(&self) -> Option<Duration> {
        self.cpu_time
    }

    /// Sets the main memory that the job may use in each of its slots.
    ///
    /// ARC rounds it up to MiB.
    pub fn with_memory(mut self, memory: ByteSize) -> Self {
        self.memory = Some(memory);
        self
    }

    /// The main memory for each slot, if set.
    pub fn memory(&self) -> Option<ByteSize> {
        self.memory
    }

    /// Sets the virtual memory that the job may use in each of its slots.
    ///
    /// ARC rounds it up to MiB. Most of its batch systems ignore it.
    pub fn with_virtual_memory(mut self, memory: ByteSize) -> Self {
        self.virtual_memory = Some(memory);
        self
    }

    /// The virtual memory for each slot, if set.
    pub fn virtual_memory(&self) -> Option<ByteSize> {
        self.virtual_memory
    }

    /// Sets the disk space that the job needs in its session directory.
    ///
    /// ARC rounds it up to MiB.
    pub fn with_disk(mut self, disk: ByteSize) -> Self {
        self.disk = Some(disk);
        self
    }

    /// The disk space for the session directory, if set.
    pub fn disk(&self) -> Option<ByteSize> {
        self.disk
    }

    /// Sets the number of slots, usually cores. The CE's default is 1.
    pub fn with_slots(mut self, slots: u32) -> Self {
        self.slots = Some(slots);
        self
    }

    /// The number of slots, if set.
    pub fn slots(&self) -> Option<u32> {
        self.slots
    }

    /// Sets how many of the [slots](Self::with_slots) are on one host.
    ///
    /// The number of slots must be set too, and be a multiple of this number.
    pub fn with_slots_per_host(mut self, slots: u32) -> Self {
        self.slots_per_host = Some(slots);
        self
    }

    /// The number of slots on each host, if set.
    pub fn slots_per_host(&self) -> Option<u32> {
        self.slots_per_host
    }

    /// Sets how many processes run in each slot. The number of [slots](Self::with_slots) must be set too.
    ///
    /// A-REX passes the number to the scripts of its batch systems, none of which uses it (ARC 6.17).
    pub fn with_processes_per_slot(mut self, processes: u32) -> Self {
        self.processes_per_slot = Some(processes);
        self
    }

    /// The number of processes in each slot, if set.
    pub fn processes_per_slot(&self) -> Option<u32> {
        self.processes_per_slot
    }

    /// Sets how many threads each process has. The number of [slots](Self::with_slots) must be set too.
    ///
    /// A-REX passes the number to the scripts of its batch systems, none of which uses it (ARC 6.17).
    pub fn with_threads_per_process(mut self, threads: u32) -> Self {
        self.threads_per_process = Some(threads);
        self
    }

    /// The number of threads of each process, if set.
    pub fn threads_per_process(&self) -> Option<u32> {
        self.threads_per_process
    }

    /// Sets whether the job needs its hosts exclusively.
    ///
    /// An exclusive job with several [slots](Self::with_slots) must also set
    /// [`with_slots_per_host`](Self::with_slots_per_host): A-REX ignores the request otherwise (`ADLParser::Parse`), so
    /// the crate refuses to submit the job.
    pub fn with_exclusive(mut self, exclusive: bool) -> Self {
        self.exclusive = Some(exclusive);
        self
    }

    /// Whether the job needs its hosts exclusively, if set.
    pub fn exclusive(&self) -> Option<bool> {
        self.exclusive
    }

    /// Sets the queue (in SLURM: the partition). By default the CE chooses one.
    pub fn with_queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = Some(queue.into());
        self
    }

    /// The queue, if set.
    pub fn queue(&self) -> Option<&str> {
        self.queue.as_deref()
    }
}

/// # Scheduling and life cycle
impl JobDescription {
    /// Sets the earliest time at which the CE starts to process the job, rounded down to seconds.
    pub fn with_start_time(mut self, time: SystemTime) -> Self {
        self.start_time = Some(whole_second(time));
        self
    }

    /// The earliest time at which the CE starts to process the job, if set.
    pub fn start_time(&self) -> Option<SystemTime> {
        self.start_time
    }

    /// Sets the priority among the jobs of the same user, from 1 to 100. The CE's default is 50.
    pub fn with_priority(mut self, priority: u32) -> Self {
        self.priority = Some(priority);
        self
    }

    /// The priority, if set.
    pub fn priority(&self) -> Option<u32> {
        self.priority
    }

    /// Sets how often the CE may run the job again after the CE or its cluster failed.
    ///
    /// The CE's own limit (`maxrerun`) applies as well.
    pub fn with_rerun(mut self, times: u32) -> Self {
        self.rerun = Some(times);
        self
    }

    /// How often the CE may run the job again, if set.
    pub fn rerun(&self) -> Option<u32> {
        self.rerun
    }

    /// Sets how long the CE keeps the session directory after the job has ended, rounded up to seconds.
    ///
    /// Submitting such a job is [`Error::InvalidJobDescription`](crate::Error::InvalidJobDescription), because A-REX
    /// (ARC 6 and 7) misreads the value: with three hours, for example, it removes the job at once. The field exists
    /// for reading and writing descriptions in other languages.
    pub fn with_life_time(mut self, time: Duration) -> Self {
        self.life_time = Some(whole_seconds(time));
        self
    }

    /// How long the CE keeps the session directory after the job has ended, if set.
    pub fn life_time(&self) -> Option<Duration> {
        self.life_time
    }

    /// Adds an e-mail address that the CE notifies of the job's states. A-REX accepts at most three addresses.
    pub fn with_notification(mut self, notification: Notification) -> Self {
        self.notifications.push(notification);
        self
    }

    /// The notifications.
    pub fn notifications(&self) -> &[Notification] {
        &self.notifications
    }
}

/// # Names and remarks
impl JobDescription {
    /// Sets the job's name, which need not be unique. The default is "ARC job".
    ///
    /// The batch system shows the name too. It must be a single line.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The job's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sets a one-line description for people. A-REX stores it with the job and does not use it.
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// The description for people, if set.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// Adds a one-line remark. A-REX stores it with the job and does not use it.
    pub fn with_annotation(mut self, annotation: impl Into<String>) -> Self {
        self.annotations.push(annotation.into());
        self
    }

    /// The remarks.
    pub fn annotations(&self) -> &[String] {
        &self.annotations
    }

    /// Sets the project or account that the job belongs to.
    ///
    /// Submitting such a job is [`Error::InvalidJobDescription`](crate::Error::InvalidJobDescription), because only
    /// JSDL can express a project, and no ARC-CE accepts one.
    pub fn with_project(mut self, project: impl Into<String>) -> Self {
        self.project = Some(project.into());
        self
    }

    /// The project or account, if set.
    pub fn project(&self) -> Option<&str> {
        self.project.as_deref()
    }
}

/// # Checking
impl JobDescription {
    /// Checks the description without accessing any file. Submitting a job does this first.
    ///
    /// # Errors
    ///
    /// - [`Error::InputFile`](crate::Error::InputFile) for an input without a usable path, URL or name, and for inputs that
    ///   overwrite each other or are overwritten by the job's standard output or error.
    /// - [`Error::InvalidJobDescription`](crate::Error::InvalidJobDescription) for everything else:
    ///   - control characters that XML cannot represent, because the crate sends descriptions as XML;
    ///   - names that lead out of the session directory;
    ///   - numbers, sizes and times that are zero, out of range or contradict each other;
    ///   - values that an ARC-CE cannot express, loses or changes, even if another language can express them.
    ///
    /// ```
    /// use jasmin_arc::{Error, JobDescription};
    ///
    /// let job = JobDescription::new("/bin/true").with_slots_per_host(2);
    /// assert_eq!(job.validate().unwrap_err().to_string(), "invalid job description: slots_per_host requires slots");
    ///
    /// let job = JobDescription::new("/bin/cat").with_input_file("a/data").with_input_file("b/data");
    /// assert!(matches!(job.validate(), Err(Error::InputFile { path, .. }) if path.to_str() == Some("b/data")));
    /// ```
    pub fn validate(&self) -> Result<()> {
        self.check()?;
        self.check_for_ce()?;
        arex::check_submission(self)
    }

    /// Checks what applies to a description in any language.
    pub(crate) fn check(&self) -> Result<()> {
        validate::check(self)?;
        arex::check_values(self)
    }
}

/// For reading, writing and submitting.
impl JobDescription {
    /// Whether the CE needs the user's credentials for the job's files.
    fn stages_remotely(&self) -> bool {
        self.inputs.iter().any(|input| matches!(input.source(), InputSource::Url(_)))
            || self.outputs.iter().any(|output| output.url().is_some() || output.is_list())
    }

    /// Whether the job gets a delegation if the configuration leaves that to the job.
    pub(crate) fn wants_delegation(&self) -> bool {
        match self.delegation {
            Delegation::Auto => self.stages_remotely(),
            Delegation::Always => true,
            Delegation::Never => false,
        }
    }

    /// The executable without a leading `./`, as input files are named. The CE puts `./` in front again.
    pub(crate) fn plain_executable(&self) -> &str {
        let executable = self.executable.as_str();
        executable.strip_prefix("./").filter(|rest| !rest.starts_with('/')).unwrap_or(executable)
    }

    /// Adds local files as inputs for an executable and a standard input that are neither absolute paths nor inputs yet.
    ///
    /// `Arc::JobDescription::Prepare` does the same.
    pub(crate) fn with_implied_inputs(mut self) -> Self {
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
}

/// Rounds up to whole seconds.
pub(crate) fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0)))
}

/// Rounds down to a whole second, and up to 1970.
fn whole_second(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

fn default_name() -> String {
    "ARC job".into()
}

fn default_stdout() -> Option<String> {
    Some("stdout.txt".into())
}

fn default_stderr() -> Option<String> {
    Some("stderr.txt".into())
}

#[cfg(test)]
mod tests;
