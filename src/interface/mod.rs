//! [`ArcInterface`], the one entry: it brings configuration, proxy, descriptions and a backend together.

use std::borrow::Borrow;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::backend::Backend;
use crate::backend::plugin::PluginBackend;
use crate::backend::prepare::{PreparedJob, prepare};
use crate::backend::rest::RestBackend;
use crate::config::endpoint::Endpoint;
use crate::config::{ConnectionConfig, Protocol};
use crate::description::JobDescription;
use crate::error::{Error, Result};
use crate::ffi::{self, CredentialInfo, JobPlace, SessionSettings};
use crate::job::status::JobStatus;
use crate::job::{JobId, JobInfo};
use crate::job_list;
use crate::logging::{self, Destination, Entered, Log, LogLevel};
use crate::matching::{self, Mismatch};
use crate::proxy::{CredentialReader, Proxy, ProxySettings};
use crate::transfer::outputs;
use crate::util::lock;

/// How long ARC waits for a CE that says nothing.
const TIMEOUT_SECONDS: u32 = 60;

/// An ARC-CE, and what can be asked of it.
///
/// It is cheap to clone, and clones can be used from any number of threads. Every method blocks, but not for ever.
///
/// ```no_run
/// use std::time::Duration;
/// use jasmin_arc::{ArcInterface, JobStatus};
///
/// # fn main() -> jasmin_arc::Result<()> {
/// let arc = ArcInterface::from_file("/path/to/config.json")?;
/// let job = arc.submit_job("/bin/bash", &["-c", "echo Running on $(hostname)"], &[])?;
/// while !arc.job_status(&job)?.is_final() {
///     std::thread::sleep(Duration::from_secs(1));
/// }
/// if let Some(directory) = arc.save_job_outputs(&job)? {
///     println!("the outputs are in {}", directory.display());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ArcInterface(Arc<Inner>);

struct Inner {
    config: ConnectionConfig,
    endpoint: Endpoint,
    log: Arc<Log>,
    proxy: Proxy,
    backend: Mutex<Option<Arc<dyn Backend>>>,
}

impl fmt::Debug for ArcInterface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArcInterface").field("config", &self.0.config).field("log", &self.0.log).finish_non_exhaustive()
    }
}

/// Makes an [`ArcInterface`]; see [`ArcInterface::builder`].
#[derive(Debug)]
#[must_use]
pub struct ArcInterfaceBuilder {
    config: Config,
    level: LogLevel,
    destination: Destination,
}

#[derive(Debug)]
enum Config {
    File(PathBuf),
    Value(Box<ConnectionConfig>),
}

impl ArcInterfaceBuilder {
    /// Takes the configuration from a JSON file.
    pub fn config_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.config = Config::File(path.into());
        self
    }

    /// Takes a configuration made in code. The default is all defaults.
    pub fn config(mut self, config: ConnectionConfig) -> Self {
        self.config = Config::Value(Box::new(config));
        self
    }

    /// How much is logged, of ARC's messages and of this crate's. The default is [`LogLevel::Info`].
    pub fn log_level(mut self, level: LogLevel) -> Self {
        self.level = level;
        self
    }

    /// Writes the log to `writer`, each message on a line: `[2026-11-24T06:44:01.123Z] [target] [LEVEL] text`. At the level
    /// DEBUG ARC's messages have whole requests and answers in them, which go on over more lines.
    ///
    /// The default is the [`log`](https://docs.rs/log) facade, with the targets `jasmin_arc` and `arc::` and ARC's name for the part of it
    /// that logged.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("jasmin_arc.log");
    /// use jasmin_arc::{ArcInterface, LogLevel};
    ///
    /// let arc = ArcInterface::builder()
    ///     .log_writer(std::fs::File::create(path)?)
    ///     .log_level(LogLevel::Debug)
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn log_writer(mut self, writer: impl Write + Send + 'static) -> Self {
        self.destination = Destination::Writer(Mutex::new(Box::new(writer)));
        self
    }

    /// Logs nothing.
    pub fn no_log(mut self) -> Self {
        self.destination = Destination::Nowhere;
        self
    }

    /// Checks the configuration and makes the interface. The CE is not asked yet.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`], and [`Error::Arc`] if ARC cannot be initialised.
    pub fn build(self) -> Result<ArcInterface> {
        let log = Log::new(self.level, self.destination);
        let _entered = log.enter();
        ffi::adjust_log_threshold()?;
        let config = match self.config {
            Config::File(path) => {
                logging::log(LogLevel::Debug, format!("using the configuration {}", path.display()));
                ConnectionConfig::from_file(&path)?
            }
            Config::Value(config) => *config,
        };
        config.validate()?;
        let endpoint = config.endpoint()?;
        let proxy = Proxy::new(proxy_settings(&config), Arc::new(ArcCredentials));
        Ok(ArcInterface(Arc::new(Inner { config, endpoint, log: log.clone(), proxy, backend: Mutex::new(None) })))
    }
}

impl ArcInterface {
    /// Creates an interface from a JSON configuration file: see [`ConnectionConfig`].
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if the file is missing, is not JSON, or holds a value that cannot be used.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("config.json");
    /// use jasmin_arc::ArcInterface;
    ///
    /// std::fs::write(&path, r#"{"ARC_SERVER": "ce.example.org", "CLIENT_KEY": "~/key.pem"}"#)?;
    /// let arc = ArcInterface::from_file(&path)?;
    /// assert_eq!(arc.config().arc_server(), "ce.example.org");
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_file(path: impl AsRef<Path>) -> Result<ArcInterface> {
        ArcInterface::builder().config_file(path.as_ref()).build()
    }

    /// Creates an interface from a configuration built in code.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if a value cannot be used.
    ///
    /// ```
    /// use jasmin_arc::{ArcInterface, ConnectionConfig};
    ///
    /// let arc = ArcInterface::new(ConnectionConfig::default().with_arc_server("ce.example.org"))?;
    /// assert_eq!(arc.config().arc_server(), "ce.example.org");
    /// # Ok::<(), jasmin_arc::Error>(())
    /// ```
    pub fn new(config: ConnectionConfig) -> Result<ArcInterface> {
        ArcInterface::builder().config(config).build()
    }

    /// A builder, for a configuration made in code or a log of one's own.
    ///
    /// ```
    /// use jasmin_arc::{ArcInterface, ConnectionConfig};
    ///
    /// # fn main() -> jasmin_arc::Result<()> {
    /// let config = ConnectionConfig::default().with_arc_server("ce.example.org");
    /// let arc = ArcInterface::builder().config(config).no_log().build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> ArcInterfaceBuilder {
        ArcInterfaceBuilder {
            config: Config::Value(Box::default()),
            level: LogLevel::default(),
            destination: Destination::Facade,
        }
    }

    /// The configuration in use.
    pub fn config(&self) -> &ConnectionConfig {
        &self.0.config
    }

    /// Makes a proxy certificate with `arcproxy` and puts it at `PROXY_FILE`, whether there is one already or not.
    ///
    /// There is no need to call it: every operation makes a proxy when there is none, and renews one that is about to
    /// expire (`PROXY_RENEWAL_THRESHOLD`).
    ///
    /// # Errors
    ///
    /// [`Error::ProxyGeneration`], with what `arcproxy` printed.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// jasmin_arc::ArcInterface::builder().build()?.create_proxy()
    /// # }
    /// ```
    pub fn create_proxy(&self) -> Result<()> {
        let _entered = self.0.log.enter();
        self.0.proxy.create()
    }

    /// Submits a job that runs `executable`, a path on the CE, with `args`, in a directory of its own that the local
    /// `input_files` are copied to.
    ///
    /// The file or directory named by `OUTPUT_FILE` is kept for [`save_job_outputs`](Self::save_job_outputs), and so are
    /// the standard output and error, as `stdout.txt` and `stderr.txt`.
    ///
    /// # Errors
    ///
    /// [`Error::InputFile`] if an input file is missing, cannot be read, is no file, or has the base name of another;
    /// [`Error::InvalidJobDescription`] if a string holds what XML cannot carry; [`Error::ProxyGeneration`];
    /// [`Error::NoTargetsAvailable`] if the CE offers nothing to submit to; [`Error::JobSubmission`] if it does not take
    /// the job.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// let job = arc.submit_job("/bin/cat", &["data.txt"], &["/home/me/data.txt".as_ref()])?;
    /// println!("submitted {job}");
    /// # Ok(())
    /// # }
    /// ```
    pub fn submit_job(&self, executable: &str, args: &[&str], input_files: &[&Path]) -> Result<JobId> {
        let mut job = JobDescription::new(executable)
            .with_args(args.iter().copied())
            .with_output_file(self.0.config.output_file());
        for path in input_files {
            job = job.with_input_file(path);
        }
        self.submit(&job)
    }

    /// Submits a job.
    ///
    /// # Errors
    ///
    /// As for [`submit_job`](Self::submit_job).
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// use jasmin_arc::JobDescription;
    ///
    /// let job = JobDescription::new("/bin/sh").with_args(["-c", "mkdir out; date > out/date"]).with_output_file("out");
    /// let id = arc.submit(&job)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn submit(&self, job: &JobDescription) -> Result<JobId> {
        only(self.submit_jobs([job])?, &self.0.endpoint)?
    }

    /// Submits any number of jobs. The results are in the order of `jobs`; one that fails does not harm the others.
    ///
    /// With the REST interface some hundreds of jobs go into one request, and the input files follow, several at a time.
    ///
    /// # Errors
    ///
    /// For one job: [`Error::InputFile`], [`Error::InvalidJobDescription`] (both found before anything is sent), and
    /// [`Error::JobSubmission`]. For the call, when nothing has been submitted: [`Error::ProxyGeneration`], and
    /// [`Error::Connection`] if the CE does not answer.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// use jasmin_arc::JobDescription;
    ///
    /// let jobs: Vec<_> = (0..1000).map(|n| JobDescription::new("/bin/echo").with_arg(n.to_string())).collect();
    /// for (n, submitted) in arc.submit_jobs(&jobs)?.into_iter().enumerate() {
    ///     match submitted {
    ///         Ok(id) => println!("{n} is {id}"),
    ///         Err(error) => eprintln!("{n} was not submitted: {error}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn submit_jobs(&self, jobs: impl IntoIterator<Item: Borrow<JobDescription>>) -> Result<Vec<Result<JobId>>> {
        let prepared: Vec<Result<PreparedJob>> = jobs.into_iter().map(|job| prepare(job.borrow())).collect();
        let good: Vec<PreparedJob> = prepared.iter().flatten().cloned().collect();
        let mut submitted = if good.is_empty() {
            Vec::new()
        } else {
            let _entered = self.begin()?;
            self.backend()?.submit(&good, &|places| self.remember(places))?
        }
        .into_iter();
        let lost = || Err(Error::Connection { endpoint: self.0.endpoint.url(), message: "no answer".into() });
        let one = |job: Result<PreparedJob>| {
            job.and_then(|_| submitted.next().unwrap_or_else(lost)).map(|place| JobId::from(place.id))
        };
        Ok(prepared.into_iter().map(one).collect())
    }

    /// The status of a job.
    ///
    /// # Errors
    ///
    /// [`Error::JobNotFound`] if the CE knows no such job; [`Error::Connection`] if it does not answer.
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
        only(self.job_statuses([id])?, &self.0.endpoint)?
    }

    /// The statuses of any number of jobs, in the order of `ids`.
    ///
    /// # Errors
    ///
    /// For one job: [`Error::JobNotFound`]. For the call: [`Error::ProxyGeneration`], and [`Error::Connection`] if the CE
    /// does not answer.
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
        let ids = &owned(ids);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let _entered = self.begin()?;
        let states = self.backend()?.states(ids)?;
        Ok(states.into_iter().map(|state| state.map(JobStatus::from)).collect())
    }

    /// All that the CE tells of a job.
    ///
    /// # Errors
    ///
    /// As for [`job_status`](Self::job_status).
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
        only(self.jobs([id])?, &self.0.endpoint)?
    }

    /// All that the CE tells of any number of jobs, in the order of `ids`.
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
        let ids = &owned(ids);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let _entered = self.begin()?;
        self.backend()?.jobs(ids)
    }

    /// Cancels a job: its processes are killed, and its status becomes [`JobStatus::Failed`]. One that has ended already
    /// is left as it is.
    ///
    /// The CE takes the order and carries it out within seconds.
    ///
    /// # Errors
    ///
    /// [`Error::JobNotFound`]; [`Error::JobOperation`] if the CE refuses.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// let job = arc.submit_job("/bin/sleep", &["3600"], &[])?;
    /// arc.cancel_job(&job)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancel_job(&self, id: &JobId) -> Result<()> {
        only(self.cancel_jobs([id])?, &self.0.endpoint)?
    }

    /// Cancels any number of jobs; the results are in the order of `ids`.
    ///
    /// # Errors
    ///
    /// For one job: as for [`cancel_job`](Self::cancel_job). For the call: [`Error::ProxyGeneration`], and
    /// [`Error::Connection`] if the CE does not answer.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
    /// for (id, cancelled) in jobs.iter().zip(arc.cancel_jobs(&jobs)?) {
    ///     if let Err(error) = cancelled {
    ///         eprintln!("{id}: {error}");
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancel_jobs(&self, ids: impl IntoIterator<Item: Borrow<JobId>>) -> Result<Vec<Result<()>>> {
        let ids = &owned(ids);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let _entered = self.begin()?;
        ids.iter().for_each(|id| logging::log(LogLevel::Info, format!("cancelling job {id}")));
        self.backend()?.cancel(ids)
    }

    /// Removes jobs that have ended from the CE, with all their files, and from the job list; the results are in the order of `ids`. Without this
    /// a CE keeps them for some days.
    ///
    /// # Errors
    ///
    /// For one job: [`Error::JobNotFound`]; [`Error::JobOperation`] if it has not ended. For the call:
    /// [`Error::ProxyGeneration`], and [`Error::Connection`] if the CE does not answer.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
    /// arc.clean_jobs(&jobs)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn clean_jobs(&self, ids: impl IntoIterator<Item: Borrow<JobId>>) -> Result<Vec<Result<()>>> {
        let ids = &owned(ids);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let _entered = self.begin()?;
        let cleaned = self.backend()?.clean(ids)?;
        self.forget(ids.iter().zip(&cleaned).filter(|(_, result)| result.is_ok()).map(|(id, _)| id));
        Ok(cleaned)
    }

    /// Fetches the files that the CE keeps of a job into a new temporary directory, and returns its path: what
    /// `OUTPUT_FILE` named when the job was submitted, `stdout.txt` and `stderr.txt`. The directory is the caller's, to
    /// move or to remove. `None`, and no directory, when there is nothing to fetch.
    ///
    /// Of a job that still runs these are the files that are there now, all of them. Of one that failed they are
    /// what it left.
    ///
    /// # Errors
    ///
    /// [`Error::JobNotFound`]; [`Error::OutputFile`] if a file does not arrive whole: then no directory is left.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let job = jasmin_arc::JobId::from("");
    /// if let Some(directory) = arc.save_job_outputs(&job)? {
    ///     print!("{}", std::fs::read_to_string(directory.join("stdout.txt"))?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn save_job_outputs(&self, id: &JobId) -> Result<Option<PathBuf>> {
        let _entered = self.begin()?;
        let backend = self.backend()?;
        let files = only(backend.files(std::slice::from_ref(id))?, &self.0.endpoint)??;
        if files.is_empty() {
            return Ok(None);
        }
        outputs::save_in_new_directory(&*backend, id, files).map(Some)
    }

    /// Removes a job that has ended from the CE: [`clean_jobs`](Self::clean_jobs) for one.
    ///
    /// # Errors
    ///
    /// As for [`clean_jobs`](Self::clean_jobs).
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let job = jasmin_arc::JobId::from("");
    /// arc.clean_job(&job)
    /// # }
    /// ```
    pub fn clean_job(&self, id: &JobId) -> Result<()> {
        only(self.clean_jobs([id])?, &self.0.endpoint)?
    }

    /// Fetches the files that the CE keeps of any number of jobs into `directory`, each job's into a sub-directory with the
    /// last part of its id as name, and returns the paths of those, in the order of `ids`. `None`, and no sub-directory,
    /// for a job of which there is nothing to fetch.
    ///
    /// `directory` is made if need be. A file that is already there is replaced when the new one has come whole: the call
    /// can be repeated after an error.
    ///
    /// # Errors
    ///
    /// For one job: [`Error::JobNotFound`]; [`Error::OutputFile`] if a file does not arrive whole: what came before it is
    /// there. For the call: [`Error::ProxyGeneration`], and [`Error::Connection`] if the CE does not answer.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
    /// for saved in arc.save_jobs_outputs_to(&jobs, "results")? {
    ///     println!("{:?}", saved?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn save_jobs_outputs_to(
        &self,
        ids: impl IntoIterator<Item: Borrow<JobId>>,
        directory: impl AsRef<Path>,
    ) -> Result<Vec<Result<Option<PathBuf>>>> {
        let ids = &owned(ids);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let _entered = self.begin()?;
        let backend = self.backend()?;
        let listed = backend.files(ids)?;
        Ok(outputs::save_all(&*backend, ids, listed, directory.as_ref()))
    }

    /// Checks what a job asks for against what the CE offers. An empty list: it fits, as far as the CE tells.
    ///
    /// Checked are the queue and the runtime environments, which must exist, and for the queue (without one: for each, and
    /// one that satisfies all will do) whether it takes jobs and its limits on wall time, CPU time, memory, virtual memory,
    /// disk space and slots. Of the memory of nodes an ARC-CE tells that of the smallest, which is not taken for a limit;
    /// of hosts for one job alone it tells nothing.
    ///
    /// The CE is asked once, and what it says is up to a minute old. A job that does not fit may be submitted all the
    /// same: A-REX itself checks only the queue, and other jobs fail in the batch system, or wait there for ever. A runtime
    /// environment that a CE gives to every job, but does not publish, counts as missing: such a one need not be asked for.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidJobDescription`] and [`Error::InputFile`] as from [`JobDescription::validate`] (no input file is
    /// looked at); [`Error::ProxyGeneration`]; [`Error::NoTargetsAvailable`] if the CE publishes no queue;
    /// [`Error::Connection`] if it does not answer, or not with what can be read.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// use jasmin_arc::JobDescription;
    ///
    /// let job = JobDescription::new("/bin/hostname").with_queue("long").with_slots(64);
    /// for mismatch in arc.mismatches(&job)? {
    ///     // queue "long" does not exist: there are fork, short
    ///     eprintln!("{mismatch}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn mismatches(&self, job: &JobDescription) -> Result<Vec<Mismatch>> {
        job.validate()?;
        let _entered = self.begin()?;
        Ok(matching::mismatches(job, &self.backend()?.offer()?))
    }

    /// What comes before every operation on the CE: its log, and a proxy that is valid.
    fn begin(&self) -> Result<Entered> {
        let entered = self.0.log.enter();
        self.0.proxy.ensure()?;
        Ok(entered)
    }

    /// The backend; it is picked here and nowhere else.
    fn backend(&self) -> Result<Arc<dyn Backend>> {
        let backend = || lock(&self.0.backend);
        if let Some(backend) = &*backend() {
            return Ok(Arc::clone(backend));
        }
        let text = |path: &Path, key: &str| {
            path.to_str().map(str::to_owned).ok_or_else(|| Error::InvalidConfig {
                path: None,
                line: None,
                key: Some(key.into()),
                message: format!("{} is not UTF-8", path.display()),
                source: None,
            })
        };
        let certs_dir = self.0.config.certs_dir();
        if !certs_dir.is_dir() {
            return Err(Error::InvalidConfig {
                path: None,
                line: None,
                key: Some("CERTS_DIR".into()),
                message: format!("there is no directory {}", certs_dir.display()),
                source: None,
            });
        }
        let settings = SessionSettings {
            proxy: text(self.0.proxy.path(), "PROXY_FILE")?,
            ca_directory: text(&certs_dir, "CERTS_DIR")?,
            timeout_seconds: TIMEOUT_SECONDS,
        };
        // Without the lock: threads would wait for a CE that does not answer one after the other. The first one's choice
        // stands.
        let picked = self.pick(&settings)?;
        Ok(Arc::clone(backend().get_or_insert(picked)))
    }

    fn pick(&self, settings: &SessionSettings) -> Result<Arc<dyn Backend>> {
        let endpoint = &self.0.endpoint;
        let interface = self.0.config.interface();
        if matches!(interface, Protocol::Auto | Protocol::ArcRest) {
            let rest = RestBackend::new(endpoint.clone(), settings, self.0.config.delegation())?;
            if rest.offered()? {
                return Ok(Arc::new(rest));
            }
            let message = "it has no REST interface of a known version";
            if interface == Protocol::ArcRest {
                return Err(Error::NoTargetsAvailable { endpoint: endpoint.url(), message: message.into() });
            }
            logging::log(LogLevel::Info, format!("{endpoint}: {message}: trying EMI-ES"));
        }
        Ok(Arc::new(PluginBackend::new(endpoint.clone(), interface, settings)?))
    }

    /// Takes jobs that the CE has no more from the job list of ARC's tools.
    fn forget<'a>(&self, ids: impl Iterator<Item = &'a JobId>) {
        let path = self.0.config.jobs_info_file();
        let local = ids.filter_map(|id| self.0.endpoint.job_local_id(id.as_str()));
        if let Err(message) = job_list::remove(&path, local) {
            logging::log(LogLevel::Warning, format!("the job list {} keeps removed jobs: {message}", path.display()));
        }
    }

    /// Writes jobs to the job list of ARC's tools. They are on the CE whether that succeeds or not.
    fn remember(&self, places: &[JobPlace]) {
        for place in places {
            logging::log(LogLevel::Info, format!("started job {}", place.id));
        }
        let path = self.0.config.jobs_info_file();
        if let Err(message) = job_list::add(&path, self.0.config.has_default_jobs_info_file(), places) {
            let ids: Vec<&str> = places.iter().map(|place| place.id.as_str()).collect();
            let message =
                format!("the job list {} cannot be written: {message}; not in it: {}", path.display(), ids.join(" "));
            logging::log(LogLevel::Warning, message);
        }
    }
}

fn proxy_settings(config: &ConnectionConfig) -> ProxySettings {
    ProxySettings {
        arcproxy: config.arcproxy_path(),
        certificate: config.client_cert(),
        key: config.client_key(),
        certs_dir: config.certs_dir(),
        proxy: config.proxy_file(),
        validity: config.proxy_validity_period(),
        threshold: config.proxy_renewal_threshold(),
    }
}

/// Reads credentials with ARC.
struct ArcCredentials;

impl CredentialReader for ArcCredentials {
    fn read(&self, path: &Path) -> std::result::Result<CredentialInfo, String> {
        let path = path.to_str().ok_or("the path is not UTF-8")?;
        let (read, reasons) = logging::capture(|| ffi::read_credential(path));
        read.map_err(|error| format!("{error}: {}", reasons.text()))
    }

    fn is_key_of(&self, key: &Path, certificate: &Path) -> std::result::Result<bool, String> {
        let text = |path: &Path| path.to_str().map(str::to_owned).ok_or("the path is not UTF-8");
        ffi::is_key_of(&text(key)?, &text(certificate)?).map_err(|error| error.to_string())
    }
}

/// Backends take a slice: ids are few bytes beside the requests that carry them.
fn owned(ids: impl IntoIterator<Item: Borrow<JobId>>) -> Vec<JobId> {
    ids.into_iter().map(|id| id.borrow().clone()).collect()
}

/// The one answer to a question about one job.
fn only<T>(answers: Vec<T>, endpoint: &Endpoint) -> Result<T> {
    answers
        .into_iter()
        .next()
        .ok_or_else(|| Error::Connection { endpoint: endpoint.url(), message: "no answer".into() })
}

#[cfg(test)]
mod tests;
