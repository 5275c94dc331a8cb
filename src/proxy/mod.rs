//! The proxy certificate: made by `arcproxy`, kept at `PROXY_FILE`, renewed before it ends.
//!
//! Many threads and many processes may share one `PROXY_FILE`. Whoever makes a proxy holds a lock on a file beside
//! it and moves the finished one into place: readers need no lock, and see a whole proxy or none.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, geteuid, kill_process_group};

use crate::error::{Error, Result};
use crate::ffi::{self, CredentialInfo};
use crate::logging::{self, LogLevel};
use crate::util::lock;

/// How long one run of `arcproxy` may take. It needs half a second.
const ARCPROXY_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a child process or a lock is looked at.
const POLL: Duration = Duration::from_millis(10);

/// How much of the end of what `arcproxy` printed is shown.
const OUTPUT_SHOWN: u64 = 4 << 10;

/// How much `arcproxy` may print: a script that asks again at the end of its input would go on till the disk is full.
const OUTPUT_LIMIT: u64 = 16 << 20;

/// Reads certificates and proxies.
pub(crate) trait CredentialReader: Send + Sync {
    /// Reads the file at `path`, without ever asking anybody for a password, or says why it cannot.
    fn read(&self, path: &Path) -> Result<CredentialInfo, String>;
}

/// What the configuration says about the proxy.
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

/// What is remembered between two calls.
#[derive(Default)]
struct State {
    proxy: Option<Seen>,
    certificate: Option<Seen>,
    /// When the last attempt of [`Proxy::ensure`] began, if it failed, and why.
    failure: Option<(Instant, String)>,
    /// Whether it has been said that the proxy cannot last longer than the threshold.
    warned: bool,
}

/// A file that has been read, and how to tell that it is still the same.
struct Seen {
    stamp: Stamp,
    info: Arc<CredentialInfo>,
}

/// Device, inode, size and time of change: the latter moves with the content, the mode and the owner.
type Stamp = (u64, u64, u64, i64, i64);

impl Proxy {
    /// The proxy that these settings describe. Nothing is read or made yet.
    pub(crate) fn new(settings: ProxySettings, reader: Arc<dyn CredentialReader>) -> Self {
        Proxy { settings, reader, timeout: ARCPROXY_TIMEOUT, state: Mutex::default() }
    }

    /// `PROXY_FILE`.
    pub(crate) fn path(&self) -> &Path {
        &self.settings.proxy
    }

    /// Makes a new proxy, whether or not there is a good one.
    pub(crate) fn create(&self) -> Result<()> {
        self.make(&mut self.state(), false)
    }

    /// Sees to it that there is a proxy of the client's certificate that lasts longer than the threshold.
    ///
    /// To be called before every operation: while nothing changes it costs a look at two files' metadata.
    pub(crate) fn ensure(&self) -> Result<()> {
        let asked = Instant::now();
        let mut state = self.state();
        if self.is_usable(&mut state)? {
            return Ok(());
        }
        // Threads that queued up behind a failure share it: otherwise each would wait for a time limit of its own.
        if let Some((begun, message)) = &state.failure
            && *begun >= asked
        {
            return Err(self.error(message));
        }
        let begun = Instant::now();
        let result = self.make(&mut state, true);
        state.failure = match &result {
            Err(Error::ProxyGeneration { message, .. }) => Some((begun, message.clone())),
            _ => None,
        };
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Whether the file at `PROXY_FILE` will do.
    fn is_usable(&self, state: &mut State) -> Result<bool> {
        let Some(metadata) = self.occupant()? else { return Ok(false) };
        let certificate = self.certificate(&mut state.certificate)?;
        let path = self.path().display();
        if metadata.mode() & 0o077 != 0 {
            logging::log(
                LogLevel::Verbose,
                format!("{path}: others may use this proxy (mode {:o})", metadata.mode() & 0o7777),
            );
            return Ok(false);
        }
        let proxy = match read(&*self.reader, &mut state.proxy, self.path(), &metadata) {
            Ok(proxy) => proxy,
            Err(why) => {
                logging::log(LogLevel::Verbose, format!("{path}: no proxy: {why}"));
                return Ok(false);
            }
        };
        if proxy.certificate != certificate.certificate {
            logging::log(LogLevel::Verbose, format!("{path}: a proxy of another certificate: {}", proxy.identity));
            return Ok(false);
        }
        let now = SystemTime::now();
        let left = left(&proxy, now);
        if left.is_zero() || proxy.not_before > now {
            return Ok(false);
        }
        if left > self.settings.threshold {
            state.warned = false;
            return Ok(true);
        }
        // One that ends with the certificate itself is as good as a new one.
        let last = proxy.not_after >= certificate.not_after;
        if last {
            self.warn(state, left);
        }
        Ok(last)
    }

    /// Makes a new proxy, unless there is one that will do and `reuse` allows it.
    fn make(&self, state: &mut State, reuse: bool) -> Result<()> {
        let settings = &self.settings;
        self.occupant()?;
        let certificate = self.certificate(&mut state.certificate)?;
        let now = SystemTime::now();
        if let Ok(ago) = now.duration_since(certificate.not_after) {
            let path = settings.certificate.display();
            return Err(self.error(format!("CLIENT_CERT {path}: the certificate ended {} s ago", ago.as_secs())));
        }
        self.check_key()?;

        let Some(name) = settings.proxy.file_name() else { return Err(self.error("PROXY_FILE names no file")) };
        let directory = match settings.proxy.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        if !directory.is_dir() {
            return Err(self.error(format!("there is no directory {}", directory.display())));
        }
        let _lock = self.lock(&directory.join(hidden(name, ".lock")))?;
        if reuse && self.is_usable(state)? {
            return Ok(());
        }

        // A directory of its own, because arcproxy removes what is at its -P and makes the file anew: in /tmp
        // somebody else could be quicker.
        let work = tempfile::Builder::new()
            .prefix(&hidden(name, "."))
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(directory)
            .map_err(|e| self.io_error(format!("no new file can be made in {}", directory.display()), e))?;
        let file = work.path().join("proxy");
        let output = self.run_arcproxy(work.path(), &file)?;
        let bad = |why: &str| self.error(format!("arcproxy made no proxy that can be used: {why}{output}"));
        let proxy = self.reader.read(&file).map_err(|why| bad(&why))?;
        let now = SystemTime::now();
        let left = left(&proxy, now);
        if proxy.certificate != certificate.certificate {
            return Err(bad(&format!("it is one of another certificate, {}", proxy.identity)));
        }
        if left.is_zero() || proxy.not_before > now {
            return Err(bad("it is not valid now"));
        }
        fs::set_permissions(&file, Permissions::from_mode(0o600))
            .and_then(|()| fs::rename(&file, &settings.proxy))
            .map_err(|e| self.io_error("the new proxy cannot be put there", e))?;

        logging::log(LogLevel::Verbose, format!("arcproxy succeeded{output}"));
        let path = settings.proxy.display();
        logging::log(
            LogLevel::Info,
            format!("{path}: a new proxy of {}, valid for {} s", proxy.identity, left.as_secs()),
        );
        if left <= settings.threshold {
            self.warn(state, left);
        }
        Ok(())
    }

    /// What is at `PROXY_FILE`, if anything is. An error if it is not ours to use and to replace.
    ///
    /// A file with an encrypted key is somebody's own, no proxy, and ARC would ask for the password on the terminal.
    fn occupant(&self) -> Result<Option<Metadata>> {
        let metadata = match fs::symlink_metadata(self.path()) {
            Ok(metadata) => metadata,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(self.io_error("PROXY_FILE", e)),
        };
        match foreign(&metadata) {
            Some(why) => Err(self.error(format!("PROXY_FILE {why}"))),
            None if has_encrypted_key(self.path()).unwrap_or(false) => {
                Err(self.error("PROXY_FILE has an encrypted key in it, so it is no proxy"))
            }
            None => Ok(Some(metadata)),
        }
    }

    /// What `CLIENT_CERT` says.
    fn certificate(&self, seen: &mut Option<Seen>) -> Result<Arc<CredentialInfo>> {
        let path = &self.settings.certificate;
        let what = format!("CLIENT_CERT {}", path.display());
        let metadata = fs::metadata(path).map_err(|e| self.io_error(&what, e))?;
        if !metadata.is_file() {
            return Err(self.error(format!("{what}: not a regular file")));
        }
        read(&*self.reader, seen, path, &metadata).map_err(|why| match File::open(path) {
            Err(e) => self.io_error(&what, e),
            Ok(_) => self.error(format!("{what}: {why}")),
        })
    }

    /// An error if `CLIENT_KEY` cannot be read, or only by somebody who knows its password.
    fn check_key(&self) -> Result<()> {
        let path = &self.settings.key;
        let what = format!("CLIENT_KEY {}", path.display());
        if !fs::metadata(path).map_err(|e| self.io_error(&what, e))?.is_file() {
            return Err(self.error(format!("{what}: not a regular file")));
        }
        if has_encrypted_key(path).map_err(|e| self.io_error(&what, e))? {
            return Err(self.error(format!(
                "{what}: the key is encrypted, and there is nobody to ask for its password: name one without"
            )));
        }
        Ok(())
    }

    /// Waits for the lock that processes share.
    fn lock(&self, path: &Path) -> Result<Lock> {
        let what = format!("the lock file {}", path.display());
        // Without NONBLOCK a named pipe that somebody put there would stop us.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(flags.bits() as i32)
            .open(path)
            .map_err(|e| self.io_error(&what, e))?;
        if let Some(why) = foreign(&file.metadata().map_err(|e| self.io_error(&what, e))?) {
            return Err(self.error(format!("{what} {why}")));
        }
        // Long enough for two others whose arcproxy hangs.
        let patience = self.timeout * 2;
        let deadline = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock(file)),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(TryLockError::Error(e)) => return Err(self.io_error(&what, e)),
            }
            if Instant::now() >= deadline {
                return Err(self.error(format!("{what}: held by another process for {patience:?}")));
            }
            thread::sleep(POLL);
        }
    }

    /// Has `arcproxy` write a proxy to `file`, and returns what it printed, as the end of a sentence.
    fn run_arcproxy(&self, work: &Path, file: &Path) -> Result<String> {
        let settings = &self.settings;
        let what = format!("ARCPROXY_PATH {}", settings.arcproxy.display());
        let config = work.join("client.conf");
        // A file takes whatever is printed at any pace, and unlike a pipe it does not wait for the end of some
        // process that arcproxy left behind.
        let printed = work.join("output");
        let open = |path| File::create_new(path).map_err(|e| self.io_error("no new file can be made beside it", e));
        open(&config)?;
        let stdout = open(&printed)?;
        let stderr = stdout.try_clone().map_err(|e| self.io_error(&what, e))?;

        let mut command = Command::new(&settings.arcproxy);
        command.arg("-C").arg(&settings.certificate);
        command.arg("-K").arg(&settings.key);
        command.arg("-P").arg(file);
        command.arg("-T").arg(&settings.certs_dir);
        command.arg("-c").arg(format!("validityPeriod={}", settings.validity.as_secs()));
        // Nothing from ~/.arc/client.conf, which arcproxy would also make if it is missing; no VOMS server from
        // /etc/arc/client.conf; and a key that turns out to be encrypted after all finds no password.
        command.arg("-z").arg(&config).args(["-S", "", "-p", "key=stdin"]);
        command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        ffi::detach_from_terminal(&mut command);
        let mut child = command.spawn().map_err(|e| self.io_error(&what, e))?;

        let deadline = Instant::now() + self.timeout;
        let problem = loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => break None,
                Ok(Some(status)) => break Some(format!("failed ({status})")),
                Ok(None) => {}
                // A program that ignores SIGCHLD, or waits for any child, gets the status in our place. The file
                // tells how it went.
                Err(_) => break None,
            }
            let problem = if Instant::now() >= deadline {
                format!("did not end within {:?}{}", self.timeout, self.why_arcproxy_hangs())
            } else if fs::metadata(&printed).is_ok_and(|metadata| metadata.len() > OUTPUT_LIMIT) {
                "printed without end".to_owned()
            } else {
                thread::sleep(POLL);
                continue;
            };
            // The whole group, for arcproxy may be a script; and the child itself, to be sure of the wait.
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
            let _ = child.kill();
            let _ = child.wait();
            break Some(problem);
        };
        let output = match tail(&printed) {
            Ok(text) if text.is_empty() => " (it printed nothing)".to_owned(),
            Ok(text) => format!("; it printed: {text}"),
            Err(e) => format!(" (its output cannot be read: {e})"),
        };
        match problem {
            None => Ok(output),
            Some(problem) => Err(self.error(format!("{} {problem}{output}", settings.arcproxy.display()))),
        }
    }

    /// A hint for the one known case. Looking who is in the group of a file that the group may touch, arcproxy 6.17
    /// never gets past a first member who is the user.
    fn why_arcproxy_hangs(&self) -> &'static str {
        let group_may = |path, bits| fs::metadata(path).is_ok_and(|metadata| metadata.mode() & bits != 0);
        if group_may(&self.settings.key, 0o060) || group_may(&self.settings.certificate, 0o020) {
            " (try chmod g-rw on CLIENT_KEY and g-w on CLIENT_CERT)"
        } else {
            ""
        }
    }

    /// Says once that renewal does not help.
    fn warn(&self, state: &mut State, left: Duration) {
        if !state.warned {
            state.warned = true;
            logging::log(
                LogLevel::Warning,
                format!(
                    "{}: the proxy ends in {} s, which PROXY_RENEWAL_THRESHOLD ({} s) calls too soon, and a new one would last no longer: look at PROXY_VALIDITY_PERIOD and at the end of CLIENT_CERT",
                    self.path().display(),
                    left.as_secs(),
                    self.settings.threshold.as_secs()
                ),
            );
        }
    }

    fn error(&self, message: impl Into<String>) -> Error {
        Error::ProxyGeneration { path: self.settings.proxy.clone(), message: message.into(), source: None }
    }

    fn io_error(&self, what: impl Display, source: io::Error) -> Error {
        let message = format!("{what}: {source}");
        Error::ProxyGeneration { path: self.settings.proxy.clone(), message, source: Some(source) }
    }
}

/// A lock on a file, given up when dropped.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file would not do if the program has forked meanwhile: the lock belongs to both then.
        let _ = self.0.unlock();
    }
}

/// What `path` says, which is read only if it is not the file that was seen there before.
fn read(
    reader: &dyn CredentialReader,
    seen: &mut Option<Seen>,
    path: &Path,
    metadata: &Metadata,
) -> Result<Arc<CredentialInfo>, String> {
    let stamp = (metadata.dev(), metadata.ino(), metadata.size(), metadata.ctime(), metadata.ctime_nsec());
    if let Some(seen) = seen
        && seen.stamp == stamp
    {
        return Ok(Arc::clone(&seen.info));
    }
    let info = Arc::new(reader.read(path)?);
    *seen = Some(Seen { stamp, info: Arc::clone(&info) });
    Ok(info)
}

/// Whether there is a private key in the file that only somebody who knows its password can read.
fn has_encrypted_key(path: &Path) -> io::Result<bool> {
    let mut text = Vec::new();
    File::open(path)?.take(1 << 20).read_to_end(&mut text)?;
    let encrypted = |line: &str| line.starts_with("-----BEGIN ENCRYPTED") || line.starts_with("Proc-Type: 4,ENCRYPTED");
    Ok(String::from_utf8_lossy(&text).lines().any(encrypted))
}

/// How long it is until `credential` ends.
fn left(credential: &CredentialInfo, now: SystemTime) -> Duration {
    credential.not_after.duration_since(now).unwrap_or_default()
}

/// Why a file is not one of ours, if it is not.
fn foreign(metadata: &Metadata) -> Option<String> {
    let user = geteuid().as_raw();
    if metadata.is_symlink() {
        Some("is a symbolic link, which could lead anywhere".to_owned())
    } else if !metadata.is_file() {
        Some("is not a regular file".to_owned())
    } else if metadata.uid() != user {
        Some(format!("belongs to the user with id {}, not to the one with id {user}", metadata.uid()))
    } else {
        None
    }
}

/// The name of a hidden file that goes with the one called `name`.
fn hidden(name: &OsStr, suffix: &str) -> OsString {
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(suffix);
    hidden
}

/// The end of the text in a file.
fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let skipped = file.metadata()?.len().saturating_sub(OUTPUT_SHOWN);
    file.seek(SeekFrom::Start(skipped))?;
    let mut text = Vec::new();
    file.take(OUTPUT_SHOWN).read_to_end(&mut text)?;
    let mark = if skipped > 0 { "... " } else { "" };
    Ok(format!("{mark}{}", String::from_utf8_lossy(&text).trim()))
}

#[cfg(test)]
mod tests;
