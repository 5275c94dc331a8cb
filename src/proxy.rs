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
use crate::sync::lock;

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
            logging::say(
                LogLevel::Verbose,
                format!("{path}: others may use this proxy (mode {:o})", metadata.mode() & 0o7777),
            );
            return Ok(false);
        }
        let proxy = match read(&*self.reader, &mut state.proxy, self.path(), &metadata) {
            Ok(proxy) => proxy,
            Err(why) => {
                logging::say(LogLevel::Verbose, format!("{path}: no proxy: {why}"));
                return Ok(false);
            }
        };
        if proxy.certificate != certificate.certificate {
            logging::say(LogLevel::Verbose, format!("{path}: a proxy of another certificate: {}", proxy.identity));
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

        logging::say(LogLevel::Verbose, format!("arcproxy succeeded{output}"));
        let path = settings.proxy.display();
        logging::say(
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
            logging::say(
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
mod tests {
    use std::env;
    use std::os::unix::fs::{chown, symlink};
    use std::sync::Barrier;
    use std::time::UNIX_EPOCH;

    use tempfile::TempDir;

    use super::*;

    /// Where [`in_a_process_of_its_own`] works.
    const SITE: &str = "JASMIN_ARC_TEST_PROXY_SITE";

    /// How every fake arcproxy begins. Its certificates and proxies are a name, an end and the word "whole", and it
    /// is careless about modes.
    const ARCPROXY: &str = r#"#!/bin/sh
umask 000
printf '%s\n' "$*" >> "${0%/*}/runs"
while [ $# -gt 1 ]; do
    case $1 in -C) cert=$2;; -P) proxy=$2;; -c) period=${2#validityPeriod=};; esac
    shift 2
done
make_proxy() {
    end=$(sed -n 's/^ends //p' "$cert")
    wish=$(($(date +%s) + period))
    [ $wish -gt $end ] && wish=$end
    printf '%s\nends %s\nmade by %s\nwhole\n' "$(head -n 1 "$cert")" $wish $$ > "$proxy"
}
"#;

    struct FakeReader;

    impl CredentialReader for FakeReader {
        fn read(&self, path: &Path) -> Result<CredentialInfo, String> {
            let text = fs::read_to_string(path).map_err(|e| e.to_string())?;
            if !text.ends_with("whole\n") {
                return Err("not whole".to_owned());
            }
            let value = |key| text.lines().find_map(|line| line.strip_prefix(key)).ok_or(format!("no {key}"));
            let ends: u64 = value("ends ")?.parse().map_err(|_| "no number")?;
            Ok(CredentialInfo {
                identity: format!("/CN={}", value("certificate ")?),
                certificate: value("certificate ")?.to_owned(),
                not_before: UNIX_EPOCH,
                not_after: UNIX_EPOCH + Duration::from_secs(ends),
            })
        }
    }

    fn seconds_from_now(seconds: i64) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64 + seconds
    }

    fn message(result: Result<()>) -> String {
        match result {
            Err(Error::ProxyGeneration { message, .. }) => message,
            other => panic!("{other:?}"),
        }
    }

    /// A directory with a certificate, a key, and an arcproxy that works.
    struct Site {
        directory: PathBuf,
        settings: ProxySettings,
        owner: Option<TempDir>,
    }

    impl Site {
        fn at(directory: &Path) -> Site {
            let settings = ProxySettings {
                arcproxy: directory.join("arcproxy"),
                certificate: directory.join("cert"),
                key: directory.join("key"),
                certs_dir: directory.to_owned(),
                proxy: directory.join("proxy"),
                validity: Duration::from_secs(3600),
                threshold: Duration::from_secs(600),
            };
            Site { directory: directory.to_owned(), settings, owner: None }
        }

        fn new() -> Site {
            let owner = tempfile::tempdir().unwrap();
            let mut site = Site::at(owner.path());
            site.owner = Some(owner);
            site.arcproxy("make_proxy; echo made");
            site.credential("cert", "alice", 1_000_000);
            site.write("key", "-----BEGIN PRIVATE KEY-----\n");
            site
        }

        fn proxy(&self) -> Proxy {
            Proxy::new(self.settings.clone(), Arc::new(FakeReader))
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.directory.join(name), text).unwrap();
            fs::set_permissions(self.directory.join(name), Permissions::from_mode(0o600)).unwrap();
        }

        fn text(&self, name: &str) -> String {
            fs::read_to_string(self.directory.join(name)).unwrap()
        }

        fn credential(&self, name: &str, owner: &str, seconds: i64) {
            self.write(name, &format!("certificate {owner}\nends {}\nwhole\n", seconds_from_now(seconds)));
        }

        /// Has another process write the script: a child that a test beside this one has just forked would hold the
        /// file open for writing, and it could not be run ("text file busy").
        fn arcproxy(&self, body: &str) {
            let status = Command::new("sh")
                .args(["-c", r#"printf %s "$1" > "$2" && chmod 755 "$2""#, "sh", &format!("{ARCPROXY}{body}\n")])
                .arg(&self.settings.arcproxy)
                .status();
            assert!(status.unwrap().success());
        }

        fn runs(&self) -> usize {
            fs::read_to_string(self.directory.join("runs")).map_or(0, |text| text.lines().count())
        }

        /// Asserts that nothing but what belongs there is left.
        fn assert_tidy(&self) {
            let names = fs::read_dir(&self.directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
            let hidden: Vec<_> = names.filter(|name| name.starts_with('.')).collect();
            assert!(hidden.is_empty() || hidden == [".proxy.lock"], "{hidden:?}");
        }
    }

    #[test]
    fn shared_by_threads() {
        fn assert_send_sync<T: Send + Sync>() {}
        assert_send_sync::<Proxy>();
    }

    #[test]
    fn makes_a_whole_file_of_mode_0600_and_reuses_it() {
        let site = Site::new();
        let proxy = site.proxy();
        proxy.ensure().unwrap();
        let text = site.text("proxy");
        assert!(text.ends_with("whole\n"), "{text}");
        assert_eq!(fs::metadata(proxy.path()).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::metadata(site.directory.join(".proxy.lock")).unwrap().mode() & 0o077, 0);
        site.assert_tidy();

        let arguments = site.text("runs");
        let start = format!("-C {0}/cert -K {0}/key -P {0}/.proxy.", site.directory.display());
        assert!(arguments.starts_with(&start), "{arguments}");
        assert!(arguments.contains("-c validityPeriod=3600 "), "{arguments}");

        proxy.ensure().unwrap();
        site.proxy().ensure().unwrap();
        assert_eq!((site.runs(), site.text("proxy")), (1, text));
        proxy.create().unwrap();
        assert_eq!(site.runs(), 2);
    }

    #[test]
    fn reused_without_a_key_or_an_arcproxy() {
        let site = Site::new();
        site.credential("proxy", "alice", 3600);
        fs::remove_file(&site.settings.key).unwrap();
        fs::remove_file(&site.settings.arcproxy).unwrap();
        site.proxy().ensure().unwrap();
    }

    #[test]
    fn renewed_at_the_threshold() {
        let site = Site::new();
        let proxy = site.proxy();
        site.credential("proxy", "alice", 660);
        proxy.ensure().unwrap();
        assert_eq!(site.runs(), 0);
        site.credential("proxy", "alice", 600);
        proxy.ensure().unwrap();
        assert_eq!(site.runs(), 1);
        assert!(site.text("proxy").contains("made by"));
    }

    #[test]
    fn replaced_if_useless() {
        let site = Site::new();
        let proxy = site.proxy();
        let mut runs = 0;
        let mut replaced = |what| {
            proxy.ensure().unwrap();
            runs += 1;
            assert_eq!(site.runs(), runs, "{what}");
            assert!(site.text("proxy").contains("made by"), "{what}");
            assert_eq!(fs::metadata(proxy.path()).unwrap().mode() & 0o7777, 0o600);
        };
        site.write("proxy", "garbage");
        replaced("garbage");
        site.write("proxy", "");
        replaced("empty");
        site.credential("proxy", "alice", -1);
        replaced("expired");
        site.credential("proxy", "bob", 3600);
        replaced("another's");
        site.credential("proxy", "alice", 3600);
        fs::set_permissions(proxy.path(), Permissions::from_mode(0o640)).unwrap();
        replaced("readable by others");
        fs::remove_file(proxy.path()).unwrap();
        replaced("removed");
        site.credential("cert", "alice since her marriage", 1_000_000);
        replaced("certificate changed");
    }

    #[test]
    fn one_arcproxy_for_many_threads() {
        let site = Site::new();
        let proxies = [site.proxy(), site.proxy()];
        let barrier = Barrier::new(8);
        thread::scope(|scope| {
            for i in 0..8 {
                let (proxy, barrier) = (&proxies[i % 2], &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    proxy.ensure().unwrap();
                });
            }
        });
        assert_eq!(site.runs(), 1);
    }

    #[test]
    fn a_failure_is_shared_by_those_who_wait() {
        let site = Site::new();
        let proxy = site.proxy();
        // As it looks to a thread that asked before another one began.
        let later = Instant::now() + Duration::from_secs(3600);
        proxy.state().failure = Some((later, "no luck".to_owned()));
        assert_eq!(message(proxy.ensure()), "no luck");
        assert_eq!(site.runs(), 0);
        proxy.create().unwrap();
        proxy.ensure().unwrap();
    }

    /// Does nothing unless one of the tests below runs it.
    #[test]
    fn in_a_process_of_its_own() {
        if let Some(directory) = env::var_os(SITE) {
            Site::at(Path::new(&directory)).proxy().ensure().unwrap();
        }
    }

    /// Does [`in_a_process_of_its_own`], by way of the program `env` with these arguments.
    fn other_process(site: &Site, arguments: &[&str]) -> Command {
        let mut command = Command::new("env");
        command.args(arguments).arg(env::current_exe().unwrap());
        command.args(["--exact", "proxy::tests::in_a_process_of_its_own", "--nocapture"]);
        command.env(SITE, &site.directory).stdout(Stdio::null());
        command
    }

    #[test]
    fn one_arcproxy_for_many_processes() {
        let site = Site::new();
        let children: Vec<_> = (0..4).map(|_| other_process(&site, &[]).spawn().unwrap()).collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        assert_eq!(site.runs(), 1);
        assert!(site.text("proxy").contains("made by"));
    }

    #[test]
    fn works_where_sigchld_is_ignored() {
        let ignored = ["--ignore-signal=CHLD"];
        let probe = Command::new("env").args(ignored).args(["grep", "SigIgn:.*1....$", "/proc/self/status"]).output();
        if !probe.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: env cannot ignore SIGCHLD here");
            return;
        }
        let site = Site::new();
        assert!(other_process(&site, &ignored).status().unwrap().success());
        assert_eq!(site.runs(), 1);

        site.arcproxy("echo no luck; exit 1");
        fs::remove_file(&site.settings.proxy).unwrap();
        let output = other_process(&site, &ignored).output().unwrap();
        assert!(!output.status.success());
        let output = String::from_utf8_lossy(&output.stderr);
        assert!(output.contains("it printed: no luck"), "{output}");
    }

    #[test]
    fn symbolic_links_are_refused() {
        let site = Site::new();
        site.credential("elsewhere", "alice", 3600);
        let before = site.text("elsewhere");
        symlink("elsewhere", &site.settings.proxy).unwrap();
        for result in [site.proxy().ensure(), site.proxy().create()] {
            assert!(message(result).contains("symbolic link"));
        }
        assert_eq!((site.text("elsewhere"), site.runs()), (before, 0));

        fs::remove_file(&site.settings.proxy).unwrap();
        symlink("elsewhere", site.directory.join(".proxy.lock")).unwrap();
        assert!(message(site.proxy().ensure()).contains(".proxy.lock"));
        assert_eq!(site.runs(), 0);
    }

    #[test]
    fn a_directory_is_refused() {
        let site = Site::new();
        fs::create_dir(&site.settings.proxy).unwrap();
        assert!(message(site.proxy().ensure()).contains("not a regular file"));
    }

    #[test]
    fn files_of_other_users_are_refused() {
        let site = Site::new();
        site.credential("proxy", "alice", 3600);
        let other = geteuid().as_raw() + 1;
        if let Err(e) = chown(&site.settings.proxy, Some(other), None) {
            eprintln!("skipped: only root can give a file away: {e}");
            return;
        }
        for result in [site.proxy().ensure(), site.proxy().create()] {
            assert!(message(result).contains(&format!("belongs to the user with id {other}")));
        }
        fs::remove_file(&site.settings.proxy).unwrap();
        site.write(".proxy.lock", "");
        chown(site.directory.join(".proxy.lock"), Some(other), None).unwrap();
        assert!(message(site.proxy().ensure()).contains(".proxy.lock"));
        assert_eq!(site.runs(), 0);
    }

    #[test]
    fn the_wait_for_a_lock_is_bounded() {
        let site = Site::new();
        let mut proxy = site.proxy();
        proxy.timeout = Duration::from_millis(20);
        let lock = File::create(site.directory.join(".proxy.lock")).unwrap();
        lock.lock().unwrap();
        assert!(message(proxy.ensure()).contains("held by another process"));
        assert_eq!(site.runs(), 0);
    }

    #[test]
    fn what_arcproxy_says_is_in_the_error() {
        let site = Site::new();
        site.credential("proxy", "alice", 60);
        let before = site.text("proxy");
        site.arcproxy("make_proxy; echo on stdout; echo on stderr >&2; exit 3");
        let message = message(site.proxy().ensure());
        for part in ["exit status: 3", "on stdout\non stderr"] {
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(site.text("proxy"), before);
        site.assert_tidy();
    }

    #[test]
    fn what_arcproxy_makes_is_checked() {
        let site = Site::new();
        let proxy = site.proxy();
        site.arcproxy("echo no luck");
        assert!(message(proxy.ensure()).contains("no luck"));
        site.arcproxy("echo garbage > $proxy");
        assert!(message(proxy.ensure()).contains("not whole"));
        site.arcproxy("period=-1; make_proxy");
        assert!(message(proxy.ensure()).contains("not valid now"));
        site.arcproxy("make_proxy; sed -i s/alice/bob/ $proxy");
        assert!(message(proxy.ensure()).contains("another certificate, /CN=bob"));
        assert!(!proxy.path().exists());
        site.assert_tidy();
    }

    #[test]
    fn a_hanging_arcproxy_is_killed() {
        let site = Site::new();
        let mut proxy = site.proxy();
        proxy.timeout = Duration::from_secs(5);
        site.arcproxy("sleep 1000 & echo $$ $! > ${0%/*}/pids; echo one moment please; wait");
        let message = message(proxy.ensure());
        assert!(message.contains("did not end within 5s; it printed: one moment please"), "{message}");
        // Whoever inherits the second one may take a while to bury it.
        let state = |pid: &str| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let pids = site.text("pids");
        let pids: Vec<_> = pids.split_whitespace().collect();
        assert_eq!(state(pids[0]), "");
        let deadline = Instant::now() + Duration::from_secs(10);
        while !(state(pids[1]).is_empty() || state(pids[1]).contains(") Z")) {
            assert!(Instant::now() < deadline, "still there: {}", state(pids[1]));
            thread::sleep(POLL);
        }
        site.assert_tidy();

        fs::set_permissions(&site.settings.key, Permissions::from_mode(0o640)).unwrap();
        proxy.timeout = Duration::from_millis(50);
        assert!(self::message(proxy.ensure()).contains("chmod"));
    }

    #[test]
    fn a_talkative_arcproxy_is_heard_out() {
        let site = Site::new();
        let talk = "head -c 1048576 /dev/zero | tr '\\0' x; echo the end";
        site.arcproxy(&format!("{talk}; make_proxy"));
        site.proxy().ensure().unwrap();
        site.arcproxy(&format!("{talk}; exit 1"));
        let message = message(site.proxy().create());
        assert!(message.contains("xxxthe end") && message.len() < 5000, "{} bytes", message.len());
        site.arcproxy("yes");
        assert!(self::message(site.proxy().create()).contains("printed without end"));
    }

    #[test]
    fn missing_files_are_named() {
        let site = Site::new();
        let missing = |name: &str, settings: ProxySettings| {
            let text = message(Proxy::new(settings, Arc::new(FakeReader)).ensure());
            assert!(text.starts_with(&format!("{name} /nowhere/x: No such file")), "{text}");
        };
        let nowhere = || PathBuf::from("/nowhere/x");
        missing("CLIENT_CERT", ProxySettings { certificate: nowhere(), ..site.settings.clone() });
        missing("CLIENT_KEY", ProxySettings { key: nowhere(), ..site.settings.clone() });
        missing("ARCPROXY_PATH", ProxySettings { arcproxy: nowhere(), ..site.settings.clone() });

        let settings = ProxySettings { proxy: nowhere(), ..site.settings.clone() };
        assert_eq!(message(Proxy::new(settings, Arc::new(FakeReader)).ensure()), "there is no directory /nowhere");
        site.write("cert", "garbage");
        assert!(message(site.proxy().ensure()).ends_with("/cert: not whole"));
        assert_eq!(site.runs(), 0);
    }

    #[test]
    fn encrypted_keys_are_refused() {
        let site = Site::new();
        for text in [
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\n",
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n",
        ] {
            site.write("key", text);
            let message = message(site.proxy().ensure());
            assert!(message.contains("/key: the key is encrypted"), "{message}");
        }
        assert_eq!(site.runs(), 0);
    }

    #[test]
    fn an_expired_certificate_is_named() {
        let site = Site::new();
        site.credential("cert", "alice", -60);
        let message = message(site.proxy().ensure());
        assert!(message.contains("/cert: the certificate ended 6"), "{message}");
        assert_eq!(site.runs(), 0);
    }

    #[test]
    fn a_certificate_that_ends_soon_does_not_mean_a_new_proxy_each_time() {
        let site = Site::new();
        site.credential("cert", "alice", 300);
        let proxy = site.proxy();
        proxy.ensure().unwrap();
        assert!(proxy.state().warned);
        proxy.ensure().unwrap();
        assert_eq!(site.runs(), 1);
        site.credential("cert", "alice", 1_000_000);
        proxy.ensure().unwrap();
        proxy.ensure().unwrap();
        assert_eq!(site.runs(), 2);
        assert!(!proxy.state().warned);
    }

    #[test]
    fn a_validity_within_the_threshold_means_a_new_proxy_each_time() {
        let mut site = Site::new();
        site.settings.validity = Duration::from_secs(60);
        let proxy = site.proxy();
        proxy.ensure().unwrap();
        proxy.ensure().unwrap();
        assert_eq!(site.runs(), 2);
        assert!(proxy.state().warned);
    }
}
