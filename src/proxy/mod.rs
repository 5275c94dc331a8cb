//! The proxy certificate at `PROXY_FILE`, which `arcproxy` creates and this module renews before it expires.
//!
//! Many threads and processes may share one `PROXY_FILE`. The process that creates a proxy certificate holds a lock on
//! a file next to it and moves the finished certificate into place. Readers need no lock, because they see a complete
//! certificate or none.

mod arcproxy;
mod files;
mod passphrase;

use std::fmt::{self, Display};
use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use self::files::{Lock, has_encrypted_key, hidden, why_not_ours};
use self::passphrase::Passphrase;
pub(crate) use self::passphrase::PassphraseCallback;
use crate::credential::{Credential, Credentials, FileStamp, copy_of};
use crate::error::{Error, PassphraseFailure, Result};
use crate::ffi::CredentialInfo;
use crate::limits::Limits;
use crate::logging::{self, LogLevel};
use crate::util::lock;
use crate::util::time::rfc3339;

/// The interval between checks of a child process or a lock.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Reads certificates and proxies.
pub(crate) trait CredentialReader: Send + Sync {
    /// Reads the file at `path` without prompting for a password. The error contains the reason why it cannot be read.
    fn read(&self, path: &Path) -> Result<CredentialInfo, String>;

    /// Whether the passphrase decrypts the private key in the file `key`.
    fn can_decrypt(&self, key: &Path, passphrase: &[u8]) -> Result<bool, String>;

    /// Whether the private key in the file `key` belongs to the certificate in the file `certificate`. The passphrase is
    /// empty if the key is not encrypted. The error contains the reason why they cannot be compared.
    fn is_key_of(&self, key: &Path, passphrase: &[u8], certificate: &Path) -> Result<bool, String>;
}

/// The part of the configuration that concerns the proxy.
#[derive(Clone, Debug)]
pub(crate) struct ProxySettings {
    /// `ARCPROXY_PATH`.
    pub(crate) arcproxy: PathBuf,
    /// `CLIENT_CERT`.
    pub(crate) certificate: PathBuf,
    /// `CLIENT_KEY`.
    pub(crate) key: PathBuf,
    /// `CERTS_DIR`.
    pub(crate) certs_dir: PathBuf,
    /// `PROXY_FILE`.
    pub(crate) proxy: PathBuf,
    /// `PROXY_VALIDITY_PERIOD`.
    pub(crate) validity: Duration,
    /// `PROXY_RENEWAL_THRESHOLD`.
    pub(crate) threshold: Duration,
    /// `VOMS`.
    pub(crate) voms: Vec<String>,
}

/// The proxy certificate at `PROXY_FILE`.
pub(crate) struct Proxy {
    settings: ProxySettings,
    reader: Arc<dyn CredentialReader>,
    passphrase: Option<PassphraseCallback>,
    timeout: Duration,
    state: Mutex<State>,
}

/// The data that is kept between calls.
#[derive(Default)]
struct State {
    proxy: Option<Cached>,
    certificate: Option<Cached>,
    /// Why the existing proxy certificate is not used, as the end of a sentence that begins with "it".
    unusable: Option<String>,
    /// When the last attempt of [`Proxy::ensure`] began, and its error, if it failed.
    failure: Option<(Instant, Failure)>,
    /// Whether the warning about a lifetime within the threshold has been logged.
    warned: bool,
    /// Whether it has been logged that nothing can renew the proxy certificate.
    noted: bool,
}

/// A cached credential.
struct Cached {
    stamp: FileStamp,
    info: Arc<CredentialInfo>,
}

/// Why there is no usable proxy certificate: an [`Error::ProxyGeneration`] or [`Error::Passphrase`] without the path.
#[derive(Debug)]
struct Failure {
    message: String,
    source: Option<io::Error>,
    passphrase: Option<PassphraseFailure>,
}

impl Failure {
    fn new(message: impl Into<String>) -> Self {
        Failure { message: message.into(), source: None, passphrase: None }
    }

    /// `message` must not contain the text of `source`.
    fn io(message: impl Into<String>, source: io::Error) -> Self {
        Failure { message: message.into(), source: Some(source), passphrase: None }
    }

    /// The key is encrypted and was not decrypted.
    fn passphrase(failure: PassphraseFailure, message: &str, source: Option<io::Error>) -> Self {
        Failure { message: message.to_owned(), source, passphrase: Some(failure) }
    }

    /// Returns a copy with an equivalent source, because an [`io::Error`] cannot be cloned.
    fn copy(&self) -> Self {
        Failure {
            message: self.message.clone(),
            source: self.source.as_ref().map(copy_of),
            passphrase: self.passphrase,
        }
    }

    /// Whether a file does not exist.
    fn is_missing_file(&self) -> bool {
        self.source.as_ref().is_some_and(|source| source.kind() == io::ErrorKind::NotFound)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Credentials for Proxy {
    fn current(&self, limits: &Limits) -> Result<Credential> {
        self.ensure(limits)?;
        self.version().map(Credential::Proxy)
    }
}

impl Proxy {
    /// Creates the value without accessing any file.
    pub(crate) fn new(settings: ProxySettings, reader: Arc<dyn CredentialReader>) -> Self {
        Proxy { settings, reader, passphrase: None, timeout: arcproxy::TIMEOUT, state: Mutex::default() }
    }

    /// Sets the function that returns the passphrase of an encrypted `CLIENT_KEY`.
    pub(crate) fn with_passphrase(mut self, callback: Option<PassphraseCallback>) -> Self {
        self.passphrase = callback;
        self
    }

    /// `PROXY_FILE`.
    pub(crate) fn path(&self) -> &Path {
        &self.settings.proxy
    }

    /// Returns the distinguished name of the user, from the existing proxy certificate.
    pub(crate) fn identity(&self) -> Result<String> {
        Ok(self.existing()?.identity.clone())
    }

    /// Returns when the existing proxy certificate expires.
    pub(crate) fn expires(&self) -> Result<SystemTime> {
        Ok(self.existing()?.not_after)
    }

    fn existing(&self) -> Result<Arc<CredentialInfo>> {
        let mut state = self.state();
        let existing = match self.existing_proxy(state.proxy.as_ref()) {
            Ok(Some(metadata)) => read(&*self.reader, &mut state.proxy, self.path(), &metadata).map_err(Failure::new),
            Ok(None) => Err(Failure::new("it has been removed")),
            Err(failure) => Err(failure),
        };
        existing.map_err(|failure| self.error(failure))
    }

    /// Creates a new proxy certificate, even if the existing one is usable.
    pub(crate) fn create(&self, limits: &Limits) -> Result<()> {
        let mut state = limits.lock(&self.state)?;
        self.generate(&mut state, false, limits).map_err(|failure| self.error_within(failure, limits))
    }

    /// Creates a new proxy certificate unless the existing one belongs to the client's certificate and lasts longer
    /// than the threshold.
    ///
    /// Every operation calls this first. While nothing changes, it only reads the metadata of two files.
    pub(crate) fn ensure(&self, limits: &Limits) -> Result<()> {
        let called = Instant::now();
        let mut state = limits.lock(&self.state)?;
        self.ensure_since(called, &mut state, limits).map_err(|failure| self.error_within(failure, limits))
    }

    /// Returns the version of the proxy certificate to use, which [`ensure`](Self::ensure) left at `PROXY_FILE`.
    fn version(&self) -> Result<FileStamp> {
        let metadata = fs::symlink_metadata(self.path());
        let failure = |e| self.error(Failure::io("PROXY_FILE cannot be accessed", e));
        metadata.map(|metadata| FileStamp::of(&metadata)).map_err(failure)
    }

    fn ensure_since(&self, called: Instant, state: &mut State, limits: &Limits) -> Result<(), Failure> {
        if self.is_usable(state)? {
            return Ok(());
        }
        // Threads that waited for a failed attempt share its error. Otherwise each would wait for its own timeout.
        match &state.failure {
            Some((begun, failure)) if *begun >= called => return Err(failure.copy()),
            _ => {}
        }
        let begun = Instant::now();
        let result = self.generate(state, true, limits);
        // The end of one call says nothing about others.
        let failure = result.as_ref().err().filter(|_| limits.check().is_ok());
        state.failure = failure.map(|failure| (begun, failure.copy()));
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Whether the proxy at `PROXY_FILE` can be used. If not, [`State::unusable`] has the reason.
    fn is_usable(&self, state: &mut State) -> Result<bool, Failure> {
        state.unusable = None;
        let Some(metadata) = self.existing_proxy(state.proxy.as_ref())? else { return Ok(false) };
        match self.why_not_used(state, &metadata)? {
            None => Ok(true),
            Some(why) => {
                logging::log(LogLevel::Verbose, format!("{} is not used: it {why}", self.path().display()));
                state.unusable = Some(why);
                Ok(false)
            }
        }
    }

    /// Returns why the proxy at `PROXY_FILE` is not used, as the end of a sentence that begins with "it".
    fn why_not_used(&self, state: &mut State, metadata: &Metadata) -> Result<Option<String>, Failure> {
        // A proxy certificate that somebody else made can be used without the certificate and the key.
        let certificate = match exists(&self.settings.certificate) {
            true => Some(self.certificate(&mut state.certificate)?),
            false => None,
        };
        let is_renewable = certificate.is_some() && exists(&self.settings.key);
        if metadata.mode() & 0o077 != 0 {
            return Ok(Some(format!("can be accessed by other users (mode {:o})", metadata.mode() & 0o7777)));
        }
        let proxy = match read(&*self.reader, &mut state.proxy, self.path(), metadata) {
            Ok(proxy) => proxy,
            Err(why) => return Ok(Some(format!("cannot be read: {why}"))),
        };
        if certificate.as_ref().is_some_and(|certificate| proxy.certificate != certificate.certificate) {
            return Ok(Some(format!("belongs to another certificate, {}", proxy.identity)));
        }
        let now = SystemTime::now();
        let left = remaining(&proxy, now);
        if left.is_zero() {
            return Ok(Some(format!("ended at {}", rfc3339(proxy.not_after, 0))));
        }
        if proxy.not_before > now {
            let from = rfc3339(proxy.not_before, 0);
            return Ok(Some(format!("is not valid before {from} (check the clock of this machine)")));
        }
        if !is_renewable {
            if !std::mem::replace(&mut state.noted, true) {
                self.note_that_nothing_renews(&proxy);
            }
            return Ok(None);
        }
        if !self.settings.voms.is_empty() && !proxy.has_voms {
            return Ok(Some("has no VOMS attributes".to_owned()));
        }
        if left > self.settings.threshold {
            state.warned = false;
            return Ok(None);
        }
        // A new proxy certificate cannot outlast the client's certificate.
        if certificate.is_some_and(|certificate| proxy.not_after >= certificate.not_after) {
            self.warn_of_short_lifetime(state, left);
            return Ok(None);
        }
        Ok(Some(format!("ends at {}", rfc3339(proxy.not_after, 0))))
    }

    /// Creates a new proxy certificate. With `reuse`, uses one that another process created in the meantime instead.
    fn generate(&self, state: &mut State, reuse: bool, limits: &Limits) -> Result<(), Failure> {
        let settings = &self.settings;
        self.existing_proxy(None)?;
        let unusable = if reuse { state.unusable.take() } else { None };
        // Without a certificate or key, the reason why the existing proxy certificate is not used matters more.
        let explain = |failure: Failure| match &unusable {
            Some(why) if failure.is_missing_file() => Failure {
                message: format!("it {why}, and there is nothing to renew it from: {}", failure.message),
                ..failure
            },
            _ => failure,
        };
        let certificate = self.certificate(&mut state.certificate).map_err(explain)?;
        self.check_dates(&certificate)?;
        let is_encrypted = self.check_key().map_err(explain)?;

        let Some(name) = settings.proxy.file_name() else {
            return Err(Failure::new("PROXY_FILE does not end with a file name; set it to the path of a file"));
        };
        let directory = match settings.proxy.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let place = directory.display();
        if !directory.is_dir() {
            return Err(Failure::new(format!("there is no directory {place}; create it or change PROXY_FILE")));
        }
        // The timeout allows for two other processes whose arcproxy hangs.
        let _lock = Lock::acquire(&directory.join(hidden(name, ".lock")), self.timeout * 2, limits)?;
        if reuse && self.is_usable(state)? {
            return Ok(());
        }

        let passphrase = if is_encrypted { Some(self.ask_passphrase()?) } else { None };
        self.compare_key(passphrase.as_ref())?;

        // arcproxy removes the file at its -P and creates it anew. In a shared directory such as /tmp another user could
        // create it in between, so it works in a private directory.
        let work = tempfile::Builder::new()
            .prefix(&hidden(name, "."))
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(directory)
            .map_err(|e| Failure::io(format!("no file can be created in {place}"), e))?;
        self.check_space(&work.path().join("space"))?;
        let file = work.path().join("proxy");
        let output = arcproxy::run(settings, (self.timeout, limits), work.path(), &file, passphrase.as_ref())?;
        let unusable = |why: &str| Failure::new(format!("arcproxy created no usable proxy: {why}{output}"));
        let proxy = self.reader.read(&file).map_err(|why| unusable(&why))?;
        let now = SystemTime::now();
        let left = remaining(&proxy, now);
        if proxy.certificate != certificate.certificate {
            return Err(unusable(&format!("it belongs to another certificate, {}", proxy.identity)));
        }
        if left.is_zero() || proxy.not_before > now {
            let [from, to] = [proxy.not_before, proxy.not_after].map(|time| rfc3339(time, 0));
            return Err(unusable(&format!("it is not valid now, but from {from} to {to}")));
        }
        fs::set_permissions(&file, Permissions::from_mode(0o600))
            .and_then(|()| fs::rename(&file, &settings.proxy))
            .map_err(|e| Failure::io("the new proxy cannot be moved there", e))?;

        logging::log(LogLevel::Verbose, format!("arcproxy succeeded{output}"));
        let (path, end) = (settings.proxy.display(), rfc3339(proxy.not_after, 0));
        logging::log(LogLevel::Info, format!("{path}: a new proxy of {}, valid until {end}", proxy.identity));
        if left <= settings.threshold {
            self.warn_of_short_lifetime(state, left);
        }
        Ok(())
    }

    /// Returns the metadata of the file at `PROXY_FILE`, if it exists. Fails if the file must not be used or replaced.
    ///
    /// Refuses a file with an encrypted key: it is not a proxy certificate, and ARC would prompt for the password on
    /// the terminal.
    ///
    /// Does not read a file that is `known`.
    fn existing_proxy(&self, known: Option<&Cached>) -> Result<Option<Metadata>, Failure> {
        let metadata = match fs::symlink_metadata(self.path()) {
            Ok(metadata) => metadata,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Failure::io("PROXY_FILE cannot be accessed", e)),
        };
        match why_not_ours(&metadata) {
            Some(why) => Err(Failure::new(format!("PROXY_FILE {why}; remove it or change PROXY_FILE"))),
            None if known.is_some_and(|known| known.stamp == FileStamp::of(&metadata)) => Ok(Some(metadata)),
            None if has_encrypted_key(self.path()).unwrap_or(false) => Err(Failure::new(
                "PROXY_FILE contains an encrypted key, so it is not a proxy; remove it or change PROXY_FILE",
            )),
            None => Ok(Some(metadata)),
        }
    }

    /// Reads the certificate at `CLIENT_CERT`.
    fn certificate(&self, cached: &mut Option<Cached>) -> Result<Arc<CredentialInfo>, Failure> {
        let path = &self.settings.certificate;
        let what = format!("CLIENT_CERT {}", path.display());
        let metadata = regular_file(&what, path)?;
        read(&*self.reader, cached, path, &metadata).map_err(|why| match File::open(path) {
            Err(e) => cannot_be_read(&what, e),
            Ok(_) => Failure::new(format!("{what}: {why}")),
        })
    }

    fn check_dates(&self, certificate: &CredentialInfo) -> Result<(), Failure> {
        let (now, path) = (SystemTime::now(), self.settings.certificate.display());
        let (from, to) = (certificate.not_before, certificate.not_after);
        if to <= now {
            let to = rfc3339(to, 0);
            return Err(Failure::new(format!("CLIENT_CERT {path}: the certificate expired at {to}; get a new one")));
        }
        if from > now {
            let from = rfc3339(from, 0);
            return Err(Failure::new(format!(
                "CLIENT_CERT {path}: the certificate is not valid before {from}; check the clock of this machine"
            )));
        }
        Ok(())
    }

    /// Refuses a `CLIENT_KEY` that arcproxy cannot use, because arcproxy's own messages are unclear. Returns whether the
    /// key is encrypted.
    fn check_key(&self) -> Result<bool, Failure> {
        let path = &self.settings.key;
        let what = format!("CLIENT_KEY {}", path.display());
        let mode = regular_file(&what, path)?.mode();
        if mode & 0o006 != 0 {
            return Err(Failure::new(format!(
                "{what}: other users may access the key (mode {:o}); run chmod 600 {}",
                mode & 0o7777,
                path.display()
            )));
        }
        let is_encrypted = has_encrypted_key(path).map_err(|e| cannot_be_read(&what, e))?;
        if is_encrypted && self.passphrase.is_none() {
            return Err(Failure::passphrase(
                PassphraseFailure::Missing,
                "the key is encrypted, and this crate never prompts for a passphrase; set a function that returns it \
                 (ArcInterfaceBuilder::passphrase), or set CLIENT_KEY to a key that is not encrypted",
                None,
            ));
        }
        Ok(is_encrypted)
    }

    /// Gets the passphrase of `CLIENT_KEY` from the program, and checks it.
    fn ask_passphrase(&self) -> Result<Passphrase, Failure> {
        let not_given = |message: &str, source| Failure::passphrase(PassphraseFailure::NotGiven, message, source);
        let key = &self.settings.key;
        let Some(callback) = &self.passphrase else { return Err(not_given("there is no passphrase", None)) };
        let text = callback(key).map_err(|e| not_given("the program did not return the passphrase", Some(e)))?;
        let passphrase = Passphrase::new(text).map_err(|why| not_given(why, None))?;
        match self.reader.can_decrypt(key, passphrase.as_bytes()) {
            Ok(true) => Ok(passphrase),
            Ok(false) => Err(Failure::passphrase(
                PassphraseFailure::Wrong,
                "the passphrase is wrong, or the key is damaged; check the passphrase",
                None,
            )),
            Err(why) => Err(Failure::new(format!("CLIENT_KEY {}: {why}", key.display()))),
        }
    }

    /// Refuses a `CLIENT_KEY` that does not belong to `CLIENT_CERT`.
    fn compare_key(&self, passphrase: Option<&Passphrase>) -> Result<(), Failure> {
        let Proxy { settings: ProxySettings { key, certificate, .. }, .. } = self;
        let what = format!("CLIENT_KEY {}", key.display());
        match self.reader.is_key_of(key, passphrase.map_or(&[], Passphrase::as_bytes), certificate) {
            Ok(true) => Ok(()),
            Ok(false) => {
                let certificate = certificate.display();
                Err(Failure::new(format!("{what} does not belong to CLIENT_CERT {certificate}; set both to one pair")))
            }
            // arcproxy reads more formats than this check.
            Err(why) => {
                logging::log(LogLevel::Verbose, format!("{what} is not compared with the certificate: {why}"));
                Ok(())
            }
        }
    }

    fn check_space(&self, file: &Path) -> Result<(), Failure> {
        let directory = self.path().parent().unwrap_or(Path::new(".")).display();
        files::check_space(file).map_err(|e| Failure::io(format!("the proxy cannot be written in {directory}"), e))
    }

    /// Logs, once, a warning that renewing the proxy certificate would not extend its lifetime.
    fn warn_of_short_lifetime(&self, state: &mut State, left: Duration) {
        if !state.warned {
            state.warned = true;
            let (path, left, threshold) = (self.path().display(), left.as_secs(), self.settings.threshold.as_secs());
            logging::log(
                LogLevel::Warning,
                format!(
                    "{path}: the proxy ends in {left} s, within PROXY_RENEWAL_THRESHOLD ({threshold} s), and a new one \
                     would not last longer; check PROXY_VALIDITY_PERIOD and the end of CLIENT_CERT"
                ),
            );
        }
    }

    fn note_that_nothing_renews(&self, proxy: &CredentialInfo) {
        let (path, end) = (self.path().display(), rfc3339(proxy.not_after, 0));
        let message = format!(
            "{path}: the proxy of {} is used until it ends at {end}, and there is no CLIENT_CERT and CLIENT_KEY to renew it",
            proxy.identity
        );
        logging::log(LogLevel::Info, message);
    }

    /// Converts the failure of a call with limits, which may be their doing.
    fn error_within(&self, failure: Failure, limits: &Limits) -> Error {
        limits.check().map_or_else(Error::from, |()| self.error(failure))
    }

    fn error(&self, failure: Failure) -> Error {
        let Failure { message, source, passphrase } = failure;
        match passphrase {
            Some(failure) => Error::Passphrase { path: self.settings.key.clone(), failure, message, source },
            None => Error::ProxyGeneration { path: self.settings.proxy.clone(), message, source },
        }
    }
}

fn cannot_be_read(what: &dyn Display, source: io::Error) -> Failure {
    Failure::io(format!("{what} cannot be read"), source)
}

fn regular_file(what: &dyn Display, path: &Path) -> Result<Metadata, Failure> {
    let metadata = fs::metadata(path).map_err(|e| cannot_be_read(what, e))?;
    match metadata.is_file() {
        true => Ok(metadata),
        false => Err(Failure::new(format!("{what} is not a regular file"))),
    }
}

/// Whether there is a file, as far as the process can tell.
fn exists(path: &Path) -> bool {
    fs::metadata(path).map_or_else(|e| e.kind() != io::ErrorKind::NotFound, |_| true)
}

/// Reads the credential at `path`, or returns the cached one if the file has not changed.
fn read(
    reader: &dyn CredentialReader,
    cached: &mut Option<Cached>,
    path: &Path,
    metadata: &Metadata,
) -> Result<Arc<CredentialInfo>, String> {
    let stamp = FileStamp::of(metadata);
    match cached {
        Some(cached) if cached.stamp == stamp => return Ok(Arc::clone(&cached.info)),
        _ => {}
    }
    let info = Arc::new(reader.read(path)?);
    *cached = Some(Cached { stamp, info: Arc::clone(&info) });
    Ok(info)
}

/// Returns the time until `credential` expires.
fn remaining(credential: &CredentialInfo, now: SystemTime) -> Duration {
    credential.not_after.duration_since(now).unwrap_or_default()
}

#[cfg(test)]
mod tests;
