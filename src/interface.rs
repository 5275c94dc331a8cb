//! [`ArcInterface`], the one entry: it brings configuration, proxy, descriptions and a backend together.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::backend::Backend;
use crate::backend::plugin::PluginBackend;
use crate::backend::rest::RestBackend;
use crate::config::{ConnectionConfig, Endpoint, Interface};
use crate::description::JobDescription;
use crate::error::{Error, Result};
use crate::ffi::{self, CredentialInfo, Description, JobPlace, LocalInput, SessionSettings};
use crate::job::{JobId, JobInfo};
use crate::logging::{self, Destination, Entered, Log, LogLevel};
use crate::outputs;
use crate::proxy::{CredentialReader, Proxy, ProxySettings};
use crate::status::JobStatus;

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
/// let arc = ArcInterface::new(Some("/path/to/config.json".as_ref()))?;
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
    pub fn config_path(mut self, path: impl Into<PathBuf>) -> Self {
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

    /// Writes the log to `writer`, a line a message: `[seconds since 1970] [target] [LEVEL] text`.
    ///
    /// The default is the [`log`] facade, with the targets `jasmin_arc` and `arc::` and ARC's name for the part of it
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
                logging::say(LogLevel::Debug, format!("using the configuration {}", path.display()));
                ConnectionConfig::from_file(&path)?
            }
            Config::Value(config) => *config,
        };
        config.validate()?;
        let endpoint = config.endpoint()?;
        let settings = ProxySettings {
            arcproxy: config.arcproxy_path(),
            certificate: config.client_cert(),
            key: config.client_key(),
            certs_dir: config.certs_dir(),
            proxy: config.proxy_file(),
            validity: config.proxy_validity_period(),
            threshold: config.proxy_renewal_threshold(),
        };
        let proxy = Proxy::new(settings, Arc::new(ArcCredentials));
        Ok(ArcInterface(Arc::new(Inner { config, endpoint, log: log.clone(), proxy, backend: Mutex::new(None) })))
    }
}

impl ArcInterface {
    /// An interface with the configuration in a JSON file, or with all defaults.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when the file is missing, is not JSON, or holds a value that cannot be used.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("config.json");
    /// use jasmin_arc::ArcInterface;
    ///
    /// std::fs::write(&path, r#"{"ARC_SERVER": "ce.example.org", "CLIENT_KEY": "~/key.pem"}"#)?;
    /// let arc = ArcInterface::new(Some(&path))?;
    /// assert_eq!(arc.config().arc_server(), "ce.example.org");
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(config_path: Option<&Path>) -> Result<ArcInterface> {
        let builder = ArcInterface::builder();
        match config_path {
            Some(path) => builder.config_path(path).build(),
            None => builder.build(),
        }
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
    /// jasmin_arc::ArcInterface::new(None)?.create_proxy()
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
    /// # let arc = jasmin_arc::ArcInterface::new(None)?;
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
    /// # let arc = jasmin_arc::ArcInterface::new(None)?;
    /// use jasmin_arc::JobDescription;
    ///
    /// let job = JobDescription::new("/bin/sh").with_args(["-c", "mkdir out; date > out/date"]).with_output_file("out");
    /// let id = arc.submit(&job)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn submit(&self, job: &JobDescription) -> Result<JobId> {
        let description = prepare(job)?;
        let _entered = self.begin()?;
        let accepted = |places: &[JobPlace]| self.remember(places);
        let place = only(self.backend()?.submit(&[description], &accepted)?, &self.0.endpoint)??;
        Ok(JobId::from(place.id))
    }

    /// The status of a job.
    ///
    /// # Errors
    ///
    /// [`Error::JobNotFound`] if the CE knows no such job; [`Error::Connection`] if it does not answer.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::new(None)?;
    /// # let job = jasmin_arc::JobId::from("");
    /// println!("the job is {}", arc.job_status(&job)?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn job_status(&self, id: &JobId) -> Result<JobStatus> {
        let _entered = self.begin()?;
        only(self.backend()?.states(std::slice::from_ref(id))?, &self.0.endpoint)?.map(JobStatus::from)
    }

    /// All that the CE tells of a job.
    ///
    /// # Errors
    ///
    /// As for [`job_status`](Self::job_status).
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::new(None)?;
    /// # let id = jasmin_arc::JobId::from("");
    /// let job = arc.job(&id)?;
    /// println!("{}: {}, on {:?}", job.name.as_deref().unwrap_or("?"), job.state, job.execution_nodes);
    /// # Ok(())
    /// # }
    /// ```
    pub fn job(&self, id: &JobId) -> Result<JobInfo> {
        let _entered = self.begin()?;
        only(self.backend()?.jobs(std::slice::from_ref(id))?, &self.0.endpoint)?
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
    /// # let arc = jasmin_arc::ArcInterface::new(None)?;
    /// let job = arc.submit_job("/bin/sleep", &["3600"], &[])?;
    /// arc.cancel_job(&job)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancel_job(&self, id: &JobId) -> Result<()> {
        let _entered = self.begin()?;
        logging::say(LogLevel::Info, format!("cancelling job {id}"));
        only(self.backend()?.cancel(std::slice::from_ref(id))?, &self.0.endpoint)?
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
    /// # let arc = jasmin_arc::ArcInterface::new(None)?;
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
        outputs::save_in_new_directory(&*backend, id, &files).map(Some)
    }

    /// What comes before every operation on the CE: its log, and a proxy that is valid.
    fn begin(&self) -> Result<Entered> {
        let entered = self.0.log.enter();
        self.0.proxy.ensure()?;
        Ok(entered)
    }

    /// The backend; it is picked here and nowhere else.
    fn backend(&self) -> Result<Arc<dyn Backend>> {
        let mut backend = self.0.backend.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(backend) = &*backend {
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
        let settings = SessionSettings {
            proxy: text(self.0.proxy.path(), "PROXY_FILE")?,
            ca_directory: text(&self.0.config.certs_dir(), "CERTS_DIR")?,
            timeout_seconds: TIMEOUT_SECONDS,
        };
        let picked = self.pick(&settings)?;
        *backend = Some(Arc::clone(&picked));
        Ok(picked)
    }

    fn pick(&self, settings: &SessionSettings) -> Result<Arc<dyn Backend>> {
        let endpoint = || self.0.endpoint.clone();
        match self.0.config.interface() {
            Interface::ArcRest => Ok(Arc::new(RestBackend::new(endpoint(), settings, false)?)),
            Interface::Auto => {
                let rest = RestBackend::new(endpoint(), settings, false)?;
                if rest.offered()? {
                    return Ok(Arc::new(rest));
                }
                logging::say(LogLevel::Info, format!("{} has no REST interface: trying EMI-ES", self.0.endpoint));
                Ok(Arc::new(PluginBackend::new(endpoint(), Interface::EmiEs, settings)?))
            }
            other => Ok(Arc::new(PluginBackend::new(endpoint(), other, settings)?)),
        }
    }

    /// Writes jobs to the job list of ARC's tools. They are on the CE whether that succeeds or not.
    fn remember(&self, places: &[JobPlace]) {
        for place in places {
            logging::say(LogLevel::Info, format!("started job {}", place.id));
        }
        let path = self.0.config.jobs_info_file();
        let stored = path.to_str().ok_or_else(|| "the path is not UTF-8".to_owned()).and_then(|text| {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent).map_err(|error| error.to_string())?;
            }
            let (stored, reasons) = logging::capture(|| ffi::store_jobs(text, places));
            stored.map_err(|error| format!("{error}: {}", reasons.text()))
        });
        if let Err(message) = stored {
            let ids: Vec<&str> = places.iter().map(|place| place.id.as_str()).collect();
            let message =
                format!("the job list {} cannot be written: {message}; not in it: {}", path.display(), ids.join(" "));
            logging::say(LogLevel::Warning, message);
        }
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
}

/// The one answer to a question about one job.
fn only<T>(answers: Vec<T>, endpoint: &Endpoint) -> Result<T> {
    answers
        .into_iter()
        .next()
        .ok_or_else(|| Error::Connection { endpoint: endpoint.url(), message: "no answer".into() })
}

/// Checks a description and its input files and puts it in the form that ARC takes.
fn prepare(job: &JobDescription) -> Result<Description> {
    job.validate()?;
    let inputs = job.resolve_inputs()?;
    Ok(Description {
        name: job.name().into(),
        executable: job.executable().into(),
        arguments: job.args().to_vec(),
        inputs: inputs
            .into_iter()
            .map(|input| {
                let path = input.path.to_str().map(str::to_owned).ok_or_else(|| Error::InputFile {
                    path: input.path.clone(),
                    message: "the path is not UTF-8".into(),
                    source: None,
                })?;
                Ok(LocalInput { name: input.name, path, executable: input.executable, size: input.size })
            })
            .collect::<Result<_>>()?,
        outputs: job.output_files().map(str::to_owned).collect(),
        stdout: job.stdout().into(),
        stderr: job.stderr().into(),
        delegation: String::new(),
    })
}
