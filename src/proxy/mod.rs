//! The proxy certificate at `PROXY_FILE`, which `arcproxy` creates and this module renews before it expires.
//!
//! Many threads and processes may share one `PROXY_FILE`. The process that creates a proxy certificate holds a lock on
//! a file next to it and moves the finished certificate into place. Readers need no lock, because they see a complete
//! certificate or none.

mod arcproxy;
mod files;

use std::fmt::Display;
use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use self::files::{Lock, has_encrypted_key, hidden, why_not_ours};
use crate::error::{Error, Result};
use crate::ffi::CredentialInfo;
use crate::logging::{self, LogLevel};
use crate::util::lock;
use crate::util::time::rfc3339;

/// The interval between checks of a child process or a lock.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Reads certificates and proxies.
pub(crate) trait CredentialReader: Send + Sync {
    /// Reads the file at `path` without prompting for a password. The error contains the reason why it cannot be read.
    fn read(&self, path: &Path) -> Result<CredentialInfo, String>;

    /// Whether the private key in the file `key` belongs to the certificate in the file `certificate`. The error
    /// contains the reason why they cannot be compared.
    fn is_key_of(&self, key: &Path, certificate: &Path) -> Result<bool, String>;
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
}

/// The proxy certificate at `PROXY_FILE`.
pub(crate) struct Proxy {
    settings: ProxySettings,
    reader: Arc<dyn CredentialReader>,
    timeout: Duration,
    state: Mutex<State>,
}

/// The data that is kept between calls.
#[derive(Default)]
struct State {
    proxy: Option<Cached>,
    certificate: Option<Cached>,
    /// When the last attempt of [`Proxy::ensure`] began, and its error, if it failed.
    failure: Option<(Instant, Failure)>,
    /// Whether the warning about a lifetime within the threshold has been logged.
    warned: bool,
}

/// A cached credential.
struct Cached {
    stamp: Stamp,
    info: Arc<CredentialInfo>,
}

/// The device, inode, size and change time (`ctime`) of a file. The change time changes with the content, the mode and
/// the owner.
type Stamp = (u64, u64, u64, i64, i64);

/// Why there is no usable proxy certificate: an [`Error::ProxyGeneration`] without the path.
#[derive(Debug)]
struct Failure {
    message: String,
    source: Option<io::Error>,
}

impl Failure {
    fn new(message: impl Into<String>) -> Self {
        Failure { message: message.into(), source: None }
    }

    /// `message` must not contain the text of `source`.
    fn io(message: impl Into<String>, source: io::Error) -> Self {
        Failure { message: message.into(), source: Some(source) }
    }

    /// Returns a copy with an equivalent source, because an [`io::Error`] cannot be cloned.
    fn copy(&self) -> Self {
        let copy = |source: &io::Error| match source.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(source.kind(), source.to_string()),
        };
        Failure { message: self.message.clone(), source: self.source.as_ref().map(copy) }
    }
}

impl Proxy {
    /// Creates the value without accessing any file.
    pub(crate) fn new(settings: ProxySettings, reader: Arc<dyn CredentialReader>) -> Self {
        Proxy { settings, reader, timeout: arcproxy::TIMEOUT, state: Mutex::default() }
    }

    /// `PROXY_FILE`.
    pub(crate) fn path(&self) -> &Path {
        &self.settings.proxy
    }

    /// Returns the distinguished name of the user, from the existing proxy certificate.
    pub(crate) fn identity(&self) -> Result<String> {
        let mut state = self.state();
        let identity = match self.existing_proxy() {
            Ok(Some(metadata)) => read(&*self.reader, &mut state.proxy, self.path(), &metadata)
                .map(|proxy| proxy.identity.clone())
                .map_err(Failure::new),
            Ok(None) => Err(Failure::new("it has been removed")),
            Err(failure) => Err(failure),
        };
        identity.map_err(|failure| self.error(failure))
    }

    /// Creates a new proxy certificate, even if the existing one is usable.
    pub(crate) fn create(&self) -> Result<()> {
        self.generate(&mut self.state(), false).map_err(|failure| self.error(failure))
    }

    /// Creates a new proxy certificate unless the existing one belongs to the client's certificate and lasts longer
    /// than the threshold.
    ///
    /// Every operation calls this first. While nothing changes, it only reads the metadata of two files.
    pub(crate) fn ensure(&self) -> Result<()> {
        let called = Instant::now();
        let mut state = self.state();
        self.ensure_since(called, &mut state).map_err(|failure| self.error(failure))
    }

    fn ensure_since(&self, called: Instant, state: &mut State) -> Result<(), Failure> {
        if self.is_usable(state)? {
            return Ok(());
        }
        // Threads that waited for a failed attempt share its error. Otherwise each would wait for its own timeout.
        if let Some((begun, failure)) = &state.failure
            && *begun >= called
        {
            return Err(failure.copy());
        }
        let begun = Instant::now();
        let result = self.generate(state, true);
        state.failure = result.as_ref().err().map(|failure| (begun, failure.copy()));
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Whether the proxy at `PROXY_FILE` can be used.
    fn is_usable(&self, state: &mut State) -> Result<bool, Failure> {
        let Some(metadata) = self.existing_proxy()? else { return Ok(false) };
        let certificate = self.certificate(&mut state.certificate)?;
        let not_used =
            |why: String| logging::log(LogLevel::Verbose, format!("{} is not used: {why}", self.path().display()));
        if metadata.mode() & 0o077 != 0 {
            not_used(format!("other users may access it (mode {:o})", metadata.mode() & 0o7777));
            return Ok(false);
        }
        let proxy = match read(&*self.reader, &mut state.proxy, self.path(), &metadata) {
            Ok(proxy) => proxy,
            Err(why) => {
                not_used(why);
                return Ok(false);
            }
        };
        if proxy.certificate != certificate.certificate {
            not_used(format!("it belongs to another certificate, {}", proxy.identity));
            return Ok(false);
        }
        let now = SystemTime::now();
        let left = remaining(&proxy, now);
        if left.is_zero() || proxy.not_before > now {
            return Ok(false);
        }
        if left > self.settings.threshold {
            state.warned = false;
            return Ok(true);
        }
        // A new proxy certificate cannot outlast the client's certificate.
        let is_longest = proxy.not_after >= certificate.not_after;
        if is_longest {
            self.warn_of_short_lifetime(state, left);
        }
        Ok(is_longest)
    }

    /// Creates a new proxy certificate. With `reuse`, uses one that another process created in the meantime instead.
    fn generate(&self, state: &mut State, reuse: bool) -> Result<(), Failure> {
        let settings = &self.settings;
        self.existing_proxy()?;
        let certificate = self.certificate(&mut state.certificate)?;
        self.check_dates(&certificate)?;
        self.check_key()?;

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
        let _lock = Lock::acquire(&directory.join(hidden(name, ".lock")), self.timeout * 2)?;
        if reuse && self.is_usable(state)? {
            return Ok(());
        }

        // arcproxy removes the file at its -P and creates it anew. In a shared directory such as /tmp another user could
        // create it in between, so it works in a private directory.
        let work = tempfile::Builder::new()
            .prefix(&hidden(name, "."))
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(directory)
            .map_err(|e| Failure::io(format!("no file can be created in {place}"), e))?;
        self.check_space(&work.path().join("space"))?;
        let file = work.path().join("proxy");
        let output = arcproxy::run(settings, self.timeout, work.path(), &file)?;
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
    fn existing_proxy(&self) -> Result<Option<Metadata>, Failure> {
        let metadata = match fs::symlink_metadata(self.path()) {
            Ok(metadata) => metadata,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Failure::io("PROXY_FILE cannot be accessed", e)),
        };
        match why_not_ours(&metadata) {
            Some(why) => Err(Failure::new(format!("PROXY_FILE {why}; remove it or change PROXY_FILE"))),
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

    /// Refuses a `CLIENT_KEY` that arcproxy cannot use, because arcproxy's own messages are unclear.
    fn check_key(&self) -> Result<(), Failure> {
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
        if has_encrypted_key(path).map_err(|e| cannot_be_read(&what, e))? {
            return Err(Failure::new(format!(
                "{what}: the key is encrypted, and this crate never prompts for a passphrase; set CLIENT_KEY to a key \
                 without one"
            )));
        }
        match self.reader.is_key_of(path, &self.settings.certificate) {
            Ok(true) => Ok(()),
            Ok(false) => {
                let certificate = self.settings.certificate.display();
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

    fn error(&self, failure: Failure) -> Error {
        let Failure { message, source } = failure;
        Error::ProxyGeneration { path: self.settings.proxy.clone(), message, source }
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

/// Reads the credential at `path`, or returns the cached one if the file has not changed.
fn read(
    reader: &dyn CredentialReader,
    cached: &mut Option<Cached>,
    path: &Path,
    metadata: &Metadata,
) -> Result<Arc<CredentialInfo>, String> {
    let stamp = (metadata.dev(), metadata.ino(), metadata.size(), metadata.ctime(), metadata.ctime_nsec());
    if let Some(cached) = cached
        && cached.stamp == stamp
    {
        return Ok(Arc::clone(&cached.info));
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
