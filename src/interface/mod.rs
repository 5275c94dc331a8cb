//! [`ArcInterface`], the entry point of the crate, which combines configuration, proxy certificate and backend.
//!
//! This file creates interfaces and selects the backend. Each group of operations has its own file.

mod credentials;
mod diagnostics;
mod fetch;
mod files;
mod follow;
mod inside;
mod lifecycle;
mod listing;
mod pool;
mod recovery;
mod service;
mod status;
mod submission;
mod submit;
mod watch;

pub use fetch::Fetch;
pub use follow::Follow;
pub use listing::SyncedJobList;
pub use pool::{ArcPool, PoolResults};
use recovery::OnCreated;
pub use recovery::{CreatedJob, RecoveredSubmission, SubmissionOutcome};
pub use watch::Watch;

use std::borrow::Borrow;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use self::credentials::UserCredentials;
use crate::backend::Backend;
use crate::backend::plugin::{PluginBackend, PluginProtocol};
use crate::backend::rest::{RestBackend, RestOffer};
use crate::config::endpoint::Endpoint;
use crate::config::{ConnectionConfig, Protocol};
use crate::credential::Credentials;
use crate::error::{ConnectionFailure, Error, OTHER_VERSIONS, Result};
use crate::ffi::{self, SessionSettings};
use crate::job::JobId;
use crate::journal::Journal;
use crate::limits::{CallLimits, CancelToken, Limits, RetryPolicy};
use crate::logging::{self, Destination, Entered, Log, LogLevel};
use crate::proxy::PassphraseCallback;
use crate::util::lock;

/// The default of [`ArcInterfaceBuilder::timeout`].
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// The default of [`ArcInterfaceBuilder::max_connections`].
const DEFAULT_MAX_CONNECTIONS: usize = 10;

/// A client for one ARC-CE.
///
/// The type is cheap to clone, and any number of threads can use it. Every method blocks. Every wait for a silent CE
/// is bounded: see [`timeout`](ArcInterfaceBuilder::timeout).
///
/// Each operation first checks the proxy certificate at `PROXY_FILE`, and creates or renews it if necessary. The first
/// operation also selects the protocol, which costs one request.
///
/// To handle many jobs, use the bulk methods. They combine many jobs into one request, and return one result for each
/// job, in the order of the input. An error of the call itself replaces all results.
///
/// ```no_run
/// use jasmin_arc::ArcInterface;
///
/// # fn main() -> jasmin_arc::Result<()> {
/// let arc = ArcInterface::from_file("/path/to/config.json")?;
/// let job = arc.submit_job("/bin/bash", &["-c", "echo Running on $(hostname)"], &[])?;
/// arc.wait_job(&job)?;
/// if let Some(directory) = arc.save_job_outputs(&job)? {
///     println!("the outputs are in {}", directory.display());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ArcInterface(Arc<Inner>, CallLimits);

struct Inner {
    config: ConnectionConfig,
    endpoint: Endpoint,
    timeout: Duration,
    log: Arc<Log>,
    credentials: Arc<UserCredentials>,
    retries: RetryPolicy,
    max_connections: usize,
    /// The REST interface of the CE, before it is known whether there is one.
    rest: Mutex<Option<RestBackend>>,
    backend: Mutex<Option<Arc<dyn Backend>>>,
    journal: Journal,
    /// Whether jobs need a commit that do not say so themselves.
    commit: bool,
    on_created: Option<OnCreated>,
}

/// A call in progress.
struct Call {
    limits: Limits,
    _entered: Entered,
}

impl fmt::Debug for ArcInterface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArcInterface")
            .field("config", &self.0.config)
            .field("log", &self.0.log)
            .field("limits", &self.1)
            .finish_non_exhaustive()
    }
}

/// Builds an [`ArcInterface`] from a configuration, a log destination and a time limit.
#[must_use]
pub struct ArcInterfaceBuilder {
    config: ConfigSource,
    passphrase: Option<PassphraseCallback>,
    timeout: Duration,
    retries: RetryPolicy,
    max_connections: usize,
    level: LogLevel,
    destination: Destination,
    commit: bool,
    on_created: Option<OnCreated>,
}

impl fmt::Debug for ArcInterfaceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArcInterfaceBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum ConfigSource {
    File(PathBuf),
    Value(Box<ConnectionConfig>),
}

impl ArcInterfaceBuilder {
    /// Reads the configuration from a JSON file: see [`ConnectionConfig`].
    pub fn config_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.config = ConfigSource::File(path.into());
        self
    }

    /// Uses a configuration built in code. Without this or [`config_file`](Self::config_file), every key has its default.
    pub fn config(mut self, config: ConnectionConfig) -> Self {
        self.config = ConfigSource::Value(Box::new(config));
        self
    }

    /// Sets how long to wait for a CE that makes no progress. The default is 60 seconds.
    ///
    /// The limit is rounded down to whole seconds and is at least 1 second. It applies to one request with all its
    /// attempts: to resolving the name, connecting, the TLS handshake, the response, and the pauses between attempts. A
    /// response that keeps arriving and an upload that goes on are progress, which starts the time anew. A request that
    /// reaches the limit is not repeated, so a silent CE costs a call this time once. A call that makes many requests may
    /// take longer: see [`with_deadline`](ArcInterface::with_deadline).
    ///
    /// No request takes more than 10 minutes, plus the time that a file needs at 16 KiB/s.
    ///
    /// Over EMI-ES, ARC's own limits apply, which hold for each wait.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the function that returns the passphrase of `CLIENT_KEY`. It is called with the path of the key.
    ///
    /// The crate calls it only when it must create a proxy certificate from an encrypted key: about once per
    /// `PROXY_VALIDITY_PERIOD`, and for each operation while creating one fails. Only one call runs at a time for
    /// one interface. Other threads and processes with the same `PROXY_FILE` wait in the meantime, the processes for up
    /// to two minutes. The function must not use this interface.
    ///
    /// The passphrase reaches `arcproxy` through a pipe. It never appears on a command line, in the environment, on a
    /// terminal, in a log or in an error. The crate clears its memory after use.
    ///
    /// Without a function, an encrypted key is [`Error::Passphrase`]. The same error reports that the function failed
    /// or that the passphrase is wrong: see [`PassphraseFailure`](crate::PassphraseFailure).
    ///
    /// ```no_run
    /// use jasmin_arc::{ArcInterface, ConnectionConfig};
    ///
    /// # fn main() -> jasmin_arc::Result<()> {
    /// let config = ConnectionConfig::default().with_client_key("~/.arc/userkey.pem");
    /// let arc = ArcInterface::builder()
    ///     .config(config)
    ///     .passphrase(|_| std::fs::read_to_string("/run/secrets/passphrase").map(|text| text.trim_end().to_owned()))
    ///     .build()?;
    /// arc.ensure_proxy()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn passphrase(mut self, passphrase: impl Fn(&Path) -> std::io::Result<String> + Send + Sync + 'static) -> Self {
        self.passphrase = Some(Arc::new(passphrase));
        self
    }

    /// Sets how requests are repeated that the CE did not serve: see [`RetryPolicy`].
    pub fn retries(mut self, policy: RetryPolicy) -> Self {
        self.retries = policy;
        self
    }

    /// Repeats no request: the same as `.retries(RetryPolicy::none())`.
    pub fn no_retries(self) -> Self {
        self.retries(RetryPolicy::none())
    }

    /// Sets how many connections to the CE the interface may have open at once. The default is 10.
    ///
    /// A call for many files or jobs sends four requests at a time to a near CE, and one more for each 2 ms of the round-trip
    /// time, up to two fewer than this number. The other two connections serve other calls meanwhile. With a CE that is
    /// 100 ms away, 50 connections move small files five times as fast. 0 counts as 1.
    ///
    /// Over EMI-ES it has no effect.
    pub fn max_connections(mut self, count: usize) -> Self {
        self.max_connections = count;
        self
    }

    /// Sets the most detailed level that is logged, for ARC's messages and this crate's. The default is
    /// [`LogLevel::Info`].
    pub fn log_level(mut self, level: LogLevel) -> Self {
        self.level = level;
        self
    }

    /// Writes the log to `writer`, one line for each message: `[2027-01-15T08:00:00.000Z] [target] [LEVEL] text`.
    ///
    /// At the level DEBUG, ARC logs the headers of requests and responses, which take more lines. Over EMI-ES it logs whole
    /// ones.
    ///
    /// By default the log goes to the [`log`](https://docs.rs/log) facade. The target is `jasmin_arc` for messages of
    /// this crate, and `arc::` with the name of ARC's component, such as `arc::MCC.TLS`, for messages of ARC.
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

    /// Disables the log.
    pub fn no_log(mut self) -> Self {
        self.destination = Destination::Nowhere;
        self
    }

    /// Sets whether jobs run only after their ids are in the journal: see
    /// [`JobDescription::with_commit`](crate::JobDescription::with_commit). The default is `false`.
    pub fn commit(mut self, commit: bool) -> Self {
        self.commit = commit;
        self
    }

    /// Calls `callback` with each job as soon as the CE has created it, before its input files are uploaded.
    ///
    /// A program can keep its own record in this way. The journal has the job already. The callback runs in the thread
    /// that submits the job, and the submission waits for it. It must not submit jobs through the same interface.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// use jasmin_arc::ArcInterface;
    ///
    /// let arc = ArcInterface::builder()
    ///     .config_file("config.json")
    ///     .on_created(|job| println!("{} is {}", job.key, job.id))
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_created(mut self, callback: impl Fn(&CreatedJob) + Send + Sync + 'static) -> Self {
        self.on_created = Some(OnCreated::new(callback));
        self
    }

    /// Checks the configuration and creates the interface. Sends nothing to the CE.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`], or [`Error::Arc`] if ARC's library cannot be initialised.
    pub fn build(self) -> Result<ArcInterface> {
        check_process()?;
        let log = Log::new(self.level, self.destination);
        let _entered = log.enter();
        ffi::adjust_log_threshold()?;
        let config = match self.config {
            ConfigSource::File(path) => {
                logging::log(LogLevel::Debug, format!("reading the configuration {}", path.display()));
                ConnectionConfig::from_file(&path)?
            }
            ConfigSource::Value(config) => *config,
        };
        config.validate()?;
        let endpoint = config.endpoint()?;
        let credentials = Arc::new(UserCredentials::new(&config, self.passphrase));
        let journal =
            Journal::new(&config.jobs_info_file(), config.has_default_jobs_info_file(), dirs::data_local_dir());
        let inner = Inner {
            config,
            endpoint,
            timeout: self.timeout,
            log: log.clone(),
            credentials,
            retries: self.retries,
            max_connections: self.max_connections,
            rest: Mutex::default(),
            backend: Mutex::default(),
            journal,
            commit: self.commit,
            on_created: self.on_created,
        };
        Ok(ArcInterface(Arc::new(inner), CallLimits::default()))
    }
}

impl ArcInterface {
    /// Creates an interface from a JSON configuration file: see [`ConnectionConfig`].
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if the file cannot be read, is not JSON, or contains an invalid value.
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
    /// [`Error::InvalidConfig`] if a value is invalid.
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

    /// Returns a builder, which can also set a log destination and a time limit.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use jasmin_arc::{ArcInterface, ConnectionConfig};
    ///
    /// # fn main() -> jasmin_arc::Result<()> {
    /// let config = ConnectionConfig::default().with_arc_server("ce.example.org");
    /// let arc = ArcInterface::builder().config(config).timeout(Duration::from_secs(20)).no_log().build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> ArcInterfaceBuilder {
        ArcInterfaceBuilder {
            config: ConfigSource::Value(Box::default()),
            passphrase: None,
            timeout: DEFAULT_TIMEOUT,
            retries: RetryPolicy::default(),
            max_connections: DEFAULT_MAX_CONNECTIONS,
            level: LogLevel::default(),
            destination: Destination::Facade,
            commit: false,
            on_created: None,
        }
    }

    /// Returns the configuration of the interface.
    pub fn config(&self) -> &ConnectionConfig {
        &self.0.config
    }

    /// Returns the same interface with a deadline: each call on it ends within `deadline`.
    ///
    /// A call that takes longer fails with [`Error::DeadlineExceeded`]. The deadline covers the whole call, with all its
    /// requests and waits. A bulk call may return the results that it has by then,
    /// with this error for the others. Of several deadlines the shortest holds.
    ///
    /// Over EMI-ES, ARC's library cannot be interrupted, so a call ends with the request during which the deadline passes.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
    /// let statuses = arc.with_deadline(Duration::from_secs(10)).job_statuses(&jobs)?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> ArcInterface {
        ArcInterface(Arc::clone(&self.0), self.1.clone().with_deadline(deadline))
    }

    /// Returns the same interface with a token: when it is cancelled, each call on it fails with [`Error::Cancelled`]
    /// within a tenth of a second, and drops its connection to the CE.
    ///
    /// An interface may have several tokens, for example one of the service and one of a request to it. The CE may have
    /// processed the request that was cancelled.
    ///
    /// Over EMI-ES, ARC's library cannot be interrupted, so a call ends after the request that is in progress.
    ///
    /// ```no_run
    /// use std::thread;
    ///
    /// use jasmin_arc::{CancelToken, Error};
    ///
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
    /// # fn wait_for_sigterm() {}
    /// let shutdown = CancelToken::new();
    /// let on_signal = shutdown.clone();
    /// thread::spawn(move || {
    ///     wait_for_sigterm();
    ///     on_signal.cancel();
    /// });
    /// match arc.with_cancel(&shutdown).job_statuses(&jobs) {
    ///     Err(Error::Cancelled) => println!("shutting down"),
    ///     statuses => println!("{:?}", statuses?),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_cancel(&self, token: &CancelToken) -> ArcInterface {
        ArcInterface(Arc::clone(&self.0), self.1.clone().with_cancel(token))
    }

    /// Begins a call: enters the interface's log and makes sure that the proxy certificate is valid. Every operation begins
    /// with this.
    fn begin(&self) -> Result<Call> {
        self.begin_within(self.1.begin())
    }

    /// Begins a part of an operation that has limits already.
    fn begin_within(&self, limits: Limits) -> Result<Call> {
        check_process()?;
        let call = Call { limits, _entered: self.0.log.enter() };
        call.limits.check()?;
        self.0.credentials.current(&call.limits)?;
        Ok(call)
    }

    /// Returns the backend with the limits of a call. The first call selects it.
    fn backend(&self, call: &Call) -> Result<Arc<dyn Backend>> {
        let backend = || lock(&self.0.backend);
        if let Some(backend) = &*backend() {
            return Ok(backend.with_limits(call.limits.clone()));
        }
        let settings = self.session_settings()?;
        // The selection runs without the lock. Otherwise threads would wait one after the other for a CE that does not
        // respond. If several threads select a backend at once, all use the one that is stored first.
        let selected = self.select_backend(&settings, call)?;
        let backend = Arc::clone(backend().get_or_insert(selected));
        Ok(backend.with_limits(call.limits.clone()))
    }

    fn session_settings(&self) -> Result<SessionSettings> {
        let invalid = |key: &str, message: String| Error::InvalidConfig {
            path: None,
            line: None,
            key: Some(key.into()),
            message,
            source: None,
        };
        let text = |path: &Path, key: &str| {
            path.to_str().map(str::to_owned).ok_or_else(|| invalid(key, format!("{} is not UTF-8", path.display())))
        };
        let certs_dir = self.0.config.certs_dir();
        if !certs_dir.is_dir() {
            return Err(invalid("CERTS_DIR", format!("{} is not a directory", certs_dir.display())));
        }
        Ok(SessionSettings {
            proxy: text(self.0.credentials.proxy_path(), "PROXY_FILE")?,
            ca_directory: text(&certs_dir, "CERTS_DIR")?,
            timeout_seconds: u32::try_from(self.0.timeout.as_secs().max(1)).unwrap_or(u32::MAX),
            verify_host: self.0.config.verify_host(),
        })
    }

    fn select_backend(&self, settings: &SessionSettings, call: &Call) -> Result<Arc<dyn Backend>> {
        let endpoint = &self.0.endpoint;
        let protocol = self.0.config.interface();
        if !settings.verify_host {
            let message = "VERIFY_HOST is false: any certificate of a CA in CERTS_DIR is accepted as the CE's";
            logging::log(LogLevel::Warning, format!("{endpoint}: {message}"));
        }
        let plugin = |protocol, instead_of_rest| -> Result<Arc<dyn Backend>> {
            let (endpoint, retries) = (endpoint.clone(), self.0.retries.clone());
            let delegation = self.0.config.delegation();
            Ok(Arc::new(PluginBackend::new(endpoint, protocol, instead_of_rest, settings, delegation, retries)?))
        };
        match protocol {
            Protocol::EmiEs => return plugin(PluginProtocol::EmiEs, None),
            Protocol::ArcRestPlugin => return plugin(PluginProtocol::ArcRest, None),
            Protocol::Auto | Protocol::ArcRest => {}
        }
        let rest = self.rest(settings)?;
        let (message, other) = match rest.limited(call.limits.clone()).offer()? {
            RestOffer::Known => return Ok(Arc::new(rest)),
            RestOffer::Nothing => ("the CE has no REST interface".to_owned(), PluginProtocol::EmiEs),
            RestOffer::OtherVersions(versions) => {
                let message = format!("{OTHER_VERSIONS} {versions} of the REST interface, and not 1.0 or 1.1");
                (message, PluginProtocol::ArcRest)
            }
        };
        if self.0.credentials.is_token() {
            let message = format!("{message}, and a token needs version 1.0 or 1.1 of it");
            return Err(Error::NoTargetsAvailable { endpoint: endpoint.url(), message });
        }
        if protocol == Protocol::ArcRest {
            return Err(Error::NoTargetsAvailable { endpoint: endpoint.url(), message });
        }
        logging::log(LogLevel::Info, format!("{endpoint}: {message}, trying {}", other.as_str()));
        plugin(other, Some(&message))
    }

    /// Returns the backend for REST, which all calls share before the protocol is known.
    fn rest(&self, settings: &SessionSettings) -> Result<RestBackend> {
        let mut rest = lock(&self.0.rest);
        if let Some(rest) = &*rest {
            return Ok(rest.clone());
        }
        let (endpoint, delegation) = (self.0.endpoint.clone(), self.0.config.delegation());
        let credentials = Arc::clone(&self.0.credentials);
        let retries = self.0.retries.clone();
        let backend = RestBackend::new(endpoint, settings, credentials, delegation, retries, self.0.max_connections)?;
        Ok(rest.insert(backend).clone())
    }

    /// Returns the result of a bulk method that was called for one job.
    fn single<T>(&self, results: Vec<T>) -> Result<T> {
        results.into_iter().next().ok_or_else(|| self.missing_result())
    }

    /// Creates the error for a backend that returned too few results.
    fn missing_result(&self) -> Error {
        Error::Connection {
            endpoint: self.0.endpoint.url(),
            failure: ConnectionFailure::InvalidResponse,
            message: "the response has no result for the job".into(),
            source: None,
        }
    }
}

/// Refuses to work in a process that was forked from one that used the crate.
fn check_process() -> Result<()> {
    if ffi::is_forked() { Err(Error::Forked) } else { Ok(()) }
}

/// The error of what a thread should have done.
fn lost_thread() -> Error {
    Error::Arc { message: "no thread could ask the CE, or it has ended early".into() }
}

/// Copies ids into a vector, because backends take a slice. The copy is small compared with the requests.
fn owned(ids: impl IntoIterator<Item: Borrow<JobId>>) -> Vec<JobId> {
    ids.into_iter().map(|id| id.borrow().clone()).collect()
}

#[cfg(test)]
mod tests;
