//! The bridge to the C++ shim, and the only module with `unsafe` code.
//!
//! Only plain values cross it: strings, numbers and the shared structs of the bridge. One function, [`error`], turns
//! C++ exceptions into this module's own [`Error`].
#![allow(unsafe_code)]

mod bridge;

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

pub(crate) use bridge::cpp::{
    Description, HttpReply, Input, JobPlace, JobRecord, Notice, Offered, Output, RemoteFile, Runtime, SessionSettings,
    Submission, Target, Variable,
};

#[cfg(test)]
pub(crate) use bridge::cpp::ReadDescription;

use bridge::cpp;

use crate::logging;

/// Why a call into the shim failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// The process is exiting, so the shim refuses new calls.
    #[error("the process is exiting")]
    Exiting,
    /// ARC or the shim threw an exception.
    #[error("{0}")]
    Exception(String),
}

/// Why a request on a [`Connection`] failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// The process is exiting, so the shim refuses new calls.
    #[error("the process is exiting")]
    Exiting,
    /// The certificate of the server does not name its host.
    #[error("{0}")]
    Untrusted(String),
    /// The response is not HTTP that ARC's reader can be given.
    #[error("{0}")]
    InvalidResponse(String),
    /// The time limit passed.
    #[error("{0}")]
    TimedOut(String),
    /// The deadline of the call passed.
    #[error("{0}")]
    Deadline(String),
    /// The call was cancelled.
    #[error("{0}")]
    Cancelled(String),
    /// Anything else, as ARC describes it.
    #[error("{0}")]
    Failed(String),
}

impl From<Error> for ConnectionError {
    fn from(error: Error) -> Self {
        match error {
            Error::Exiting => ConnectionError::Exiting,
            Error::Exception(message) => {
                // The beginnings are those of `Refused` in cpp/guard.cpp.
                let of_kind = |kind| message.strip_prefix(kind).map(str::to_owned);
                if let Some(text) = of_kind("jasmin_arc: untrusted: ") {
                    ConnectionError::Untrusted(text)
                } else if let Some(text) = of_kind("jasmin_arc: invalid response: ") {
                    ConnectionError::InvalidResponse(text)
                } else if let Some(text) = of_kind("jasmin_arc: timed out: ") {
                    ConnectionError::TimedOut(text)
                } else if let Some(text) = of_kind("jasmin_arc: deadline: ") {
                    ConnectionError::Deadline(text)
                } else if let Some(text) = of_kind("jasmin_arc: cancelled: ") {
                    ConnectionError::Cancelled(text)
                } else {
                    ConnectionError::Failed(message)
                }
            }
        }
    }
}

fn connection_error(exception: cxx::Exception) -> ConnectionError {
    error(exception).into()
}

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Receives a message from ARC's logger, which holds its lock and may call from any thread.
fn arc_logged(level: u32, line: &[u8]) {
    // A panic must not unwind into C++.
    let _ = std::panic::catch_unwind(|| logging::arc_message(level, &String::from_utf8_lossy(line)));
}

/// Flushes the log when the process exits.
fn arc_log_flush() {
    let _ = std::panic::catch_unwind(|| logging::flush(Duration::from_millis(300)));
}

/// Turns a C++ exception into an error. The text of the first case is the one that `cpp/trycatch.h` throws.
fn error(exception: cxx::Exception) -> Error {
    match exception.what() {
        "jasmin_arc: the process is exiting" => Error::Exiting,
        what => Error::Exception(what.to_owned()),
    }
}

/// The process that initialised ARC. 0 if none did.
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// Whether this process was forked from the one that initialised ARC. It has copies of its parent's connections, and
/// lacks ARC's threads.
pub(crate) fn is_forked() -> bool {
    let initialiser = PROCESS.load(Ordering::Relaxed);
    initialiser != 0 && initialiser != std::process::id()
}

/// Initialises ARC once for the process.
fn start() -> Result<()> {
    if is_forked() {
        return Err(Error::Exception("this process was forked from one that uses jasmin-arc".into()));
    }
    PROCESS.store(std::process::id(), Ordering::Relaxed);
    logging::this_thread_calls_arc();
    // The prefix under which the build script found ARC.
    cpp::runtime_start(env!("JASMIN_ARC_PREFIX")).map_err(error)
}

/// Sets ARC's log threshold to the level that the existing logs need.
pub(crate) fn adjust_log_threshold() -> Result<()> {
    start()?;
    cpp::logging_threshold(logging::Log::threshold()).map_err(error)
}

/// Detaches a child process from the user's terminal, so that it cannot prompt for a password.
pub(crate) fn detach_from_terminal(command: &mut Command) {
    // SAFETY: setsid is async-signal-safe and touches no memory of the process.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            Ok(())
        });
    }
}

/// The content of a certificate or proxy file.
#[derive(Clone, Debug)]
pub(crate) struct CredentialInfo {
    /// The distinguished name of the end-entity certificate, without the components that a proxy adds.
    pub(crate) identity: String,
    /// The end-entity certificate itself, as PEM.
    pub(crate) certificate: String,
    /// When the last certificate of the chain becomes valid.
    pub(crate) not_before: SystemTime,
    /// When the first certificate of the chain expires.
    pub(crate) not_after: SystemTime,
    /// Whether a certificate of the chain has attributes of a VOMS server.
    pub(crate) has_voms: bool,
}

/// Reads the certificate, or the proxy with its chain, in a PEM file. Never prompts for a password.
pub(crate) fn read_credential(path: &str) -> Result<CredentialInfo> {
    start()?;
    let file = cpp::read_credential(path).map_err(error)?;
    let time = |seconds: i64| SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    Ok(CredentialInfo {
        identity: file.identity,
        certificate: file.certificate,
        not_before: time(file.not_before),
        not_after: time(file.not_after),
        has_voms: file.has_voms,
    })
}

/// Whether a passphrase decrypts the private key in the PEM file `key`.
pub(crate) fn can_decrypt(key: &str, passphrase: &[u8]) -> Result<bool> {
    start()?;
    cpp::can_decrypt(key, passphrase).map_err(error)
}

/// Whether the private key in the PEM file `key` belongs to the first certificate in the PEM file `certificate`.
/// `passphrase` is empty if the key is not encrypted. Never prompts for a passphrase.
pub(crate) fn is_key_of(key: &str, passphrase: &[u8], certificate: &str) -> Result<bool> {
    start()?;
    cpp::is_key_of(key, passphrase, certificate).map_err(error)
}

/// The languages that ARC reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// The EMI Activity Description Language, in which the crate submits jobs.
    Adl,
    /// ARC's Extended Resource Specification Language.
    Xrsl,
}

impl Language {
    fn name(self) -> &'static str {
        match self {
            Language::Adl => "emies:adl",
            Language::Xrsl => "nordugrid:xrsl",
        }
    }
}

/// Writes a description in a language.
pub(crate) fn describe(description: &Description, language: Language) -> Result<String> {
    start()?;
    let (text, reasons) = logging::capture(|| cpp::describe(description, language.name()));
    text.map_err(|exception| invalid(exception, &reasons))
}

/// Reads the descriptions in a text as ARC does.
#[cfg(test)]
pub(crate) fn read_descriptions(text: &str, language: Language) -> Result<Vec<ReadDescription>> {
    start()?;
    let (descriptions, reasons) = logging::capture(|| cpp::read_descriptions(text, language.name()));
    descriptions.map_err(|exception| invalid(exception, &reasons))
}

/// ARC's parsers and writers explain a failure partly in the exception and partly in the log.
fn invalid(exception: cxx::Exception, reasons: &logging::Reasons) -> Error {
    match error(exception) {
        Error::Exception(message) => {
            let (message, complaints) = (message.trim().trim_end_matches(':'), reasons.complaints());
            let parts: Vec<&str> = [message, &complaints].into_iter().filter(|part| !part.is_empty()).collect();
            Error::Exception(parts.join(": "))
        }
        Error::Exiting => Error::Exiting,
    }
}

/// Adds jobs to the job list of ARC's command-line tools.
pub(crate) fn store_jobs(path: &str, jobs: &[JobPlace]) -> Result<()> {
    start()?;
    cpp::store_jobs(path, jobs).map_err(error)
}

/// The credentials and limits that ARC's client classes use.
#[derive(Clone)]
pub(crate) struct Session(cxx::SharedPtr<cpp::Session>);

// SAFETY: a Session is never changed after its construction, and never destroyed (cpp/session.h).
unsafe impl Send for Session {}
// SAFETY: as above. The lock in cpp/session.h guards the data that ARC's classes share.
unsafe impl Sync for Session {}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}

impl Session {
    pub(crate) fn new(settings: &SessionSettings) -> Result<Session> {
        start()?;
        cpp::new_session(settings).map(Session).map_err(error)
    }

    pub(crate) fn submit(
        &self,
        endpoint: &str,
        information_interface: &str,
        submission_interface: &str,
        description: &Description,
        delegate: bool,
    ) -> Result<Submission> {
        let session = &self.0;
        cpp::submit(session, endpoint, information_interface, submission_interface, description, delegate)
            .map_err(error)
    }

    /// Requests the offer of the CE over an interface.
    pub(crate) fn offered(
        &self,
        endpoint: &str,
        information_interface: &str,
        submission_interface: &str,
    ) -> Result<Offered> {
        cpp::offered(&self.0, endpoint, information_interface, submission_interface).map_err(error)
    }

    /// Returns a record for each job, in order. `found` is false for a job for which the CE returned no information.
    pub(crate) fn update_jobs(&self, jobs: &[JobPlace]) -> Result<Vec<JobRecord>> {
        cpp::update_jobs(&self.0, jobs).map_err(error)
    }

    pub(crate) fn cancel_job(&self, job: &JobPlace) -> Result<bool> {
        cpp::cancel_job(&self.0, job).map_err(error)
    }

    pub(crate) fn clean_job(&self, job: &JobPlace) -> Result<bool> {
        cpp::clean_job(&self.0, job).map_err(error)
    }

    pub(crate) fn list_files(&self, job: &JobPlace) -> Result<Vec<RemoteFile>> {
        cpp::list_files(&self.0, job).map_err(error)
    }

    pub(crate) fn fetch_file(&self, url: &str, path: &str) -> Result<()> {
        cpp::fetch_file(&self.0, url, path).map_err(error)
    }
}

/// Signs a CE's certificate request with a proxy certificate.
pub(crate) fn sign_delegation(proxy: &str, request: &str) -> Result<String> {
    cpp::sign_delegation(proxy, request).map_err(error)
}

/// The flags that cancel a request.
#[derive(Debug)]
struct Cancel(Vec<Arc<AtomicBool>>);

impl Cancel {
    fn possible(&self) -> bool {
        !self.0.is_empty()
    }

    fn requested(&self) -> bool {
        self.0.iter().any(|flag| flag.load(Ordering::Relaxed))
    }
}

/// The limits of one request on a [`Connection`], which include connecting.
#[derive(Clone, Debug)]
pub(crate) struct RequestLimits {
    /// The time without progress.
    pub(crate) idle: Duration,
    /// What is left of the time of the call.
    pub(crate) call: Option<Duration>,
    /// Each of them cancels the request when it becomes true.
    pub(crate) cancelled: Vec<Arc<AtomicBool>>,
}

/// One kept-alive HTTP connection to a CE. Paths are percent-encoded.
pub(crate) struct Connection(cxx::UniquePtr<cpp::Connection>);

// SAFETY: a Connection is not tied to the thread that created it. ARC's HTTP client keeps all its data in the object.
unsafe impl Send for Connection {}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl Connection {
    /// Creates a connection that opens with the first request. With a token, it presents the token in each request, and no
    /// certificate. `timeout` is in seconds, for each wait for the server.
    pub(crate) fn new(session: &Session, url: &str, token: &str, timeout: u32) -> Result<Connection> {
        cpp::new_connection(&session.0, url, token, timeout).map(Connection).map_err(error)
    }

    /// Sets the limits of the next request. Without this, it has the time without progress of [`new`](Self::new) only.
    pub(crate) fn set_limits(&mut self, limits: &RequestLimits) -> Result<()> {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let call = limits.call.map_or(u64::MAX, milliseconds);
        let cancel = Box::new(Cancel(limits.cancelled.clone()));
        self.0.pin_mut().set_limits(milliseconds(limits.idle), call, cancel).map_err(error)
    }

    /// Returns how much of the time without progress the last request has left.
    pub(crate) fn idle_left(&self) -> Duration {
        Duration::from_millis(self.0.idle_left().unwrap_or(0))
    }

    /// Connects, and verifies that the certificate of the server names its host. Sends no request.
    pub(crate) fn open(&mut self) -> Result<(), ConnectionError> {
        self.0.pin_mut().open().map_err(connection_error)
    }

    /// Sends a request and waits for the whole response.
    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        accept: &str,
        content: &[u8],
    ) -> Result<(HttpReply, &[u8]), ConnectionError> {
        let reply = self.0.pin_mut().request(method, path, accept, content).map_err(connection_error)?;
        Ok((reply, self.0.body().map_err(connection_error)?))
    }

    /// Writes the body of the response to a file if its code is 200. Gives up if the body is longer than `limit` bytes,
    /// and never writes more. The inner error is that of the file.
    pub(crate) fn download(
        &mut self,
        path: &str,
        file: &File,
        limit: u64,
    ) -> Result<io::Result<HttpReply>, ConnectionError> {
        self.0.pin_mut().download(path, file.as_raw_fd(), limit).map(transferred).map_err(connection_error)
    }

    /// Appends `length` bytes of a path, from the byte `first` on, to a file. Appends fewer if the content ends before. The
    /// status code is 206 or 200. The inner error is that of the file.
    pub(crate) fn append_range(
        &mut self,
        path: &str,
        first: u64,
        length: u64,
        file: &File,
    ) -> Result<io::Result<HttpReply>, ConnectionError> {
        self.0.pin_mut().read_range(path, first, length, file.as_raw_fd()).map(transferred).map_err(connection_error)
    }

    /// Reads `length` bytes of a path, from the byte `first` on, or fewer if the content ends before. The status code is
    /// 206 or 200.
    pub(crate) fn read_range(
        &mut self,
        path: &str,
        first: u64,
        length: u64,
    ) -> Result<(HttpReply, &[u8]), ConnectionError> {
        let reply = self.0.pin_mut().read_range(path, first, length, -1).map_err(connection_error)?;
        Ok((reply, self.0.body().map_err(connection_error)?))
    }

    /// Lets the connection send no further request.
    pub(crate) fn retire(&mut self) {
        // It fails only while the process exits, when no request is sent any more.
        let _ = self.0.pin_mut().retire();
    }

    /// Puts the first `size` bytes of a file at a path. The inner error is that of the file.
    pub(crate) fn upload(
        &mut self,
        path: &str,
        file: &File,
        size: u64,
    ) -> Result<io::Result<HttpReply>, ConnectionError> {
        self.0.pin_mut().upload(path, file.as_raw_fd(), size).map(transferred).map_err(connection_error)
    }

    /// Whether the server may have received the whole last request. False only if that is impossible: no connection was
    /// established, or a part of the request was not handed to the kernel.
    pub(crate) fn sent(&self) -> bool {
        self.0.sent().unwrap_or(true)
    }

    /// Whether the connection can send another request.
    pub(crate) fn usable(&self) -> bool {
        self.0.usable().unwrap_or(false)
    }
}

#[cfg(test)]
mod http_tests;

/// Returns the name that a server's certificate has instead of the host; empty if it has the host's.
#[cfg(any(test, fuzzing))]
pub(crate) fn named_instead(pem: &str, host: &str) -> Result<String> {
    cpp::named_instead(pem, host).map_err(error)
}

/// Describes what the guard makes of a response that arrives in parts.
#[cfg(any(test, fuzzing))]
pub(crate) fn follow_framing(response: &[u8], part: usize) -> Result<String> {
    cpp::follow_framing(response, part).map_err(error)
}

/// Separates the failure of the local file from the response.
fn transferred(reply: HttpReply) -> io::Result<HttpReply> {
    match reply.local_error {
        0 => Ok(reply),
        // The shim reports a file that ended early in this way.
        errno if errno == rustix::io::Errno::NODATA.raw_os_error() => {
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was sent"))
        }
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_of_every_type_become_errors() {
        start().unwrap();
        let what = |kind| cpp::runtime_throw(kind).unwrap_err().what().to_owned();
        assert!(what(0).contains("nonexistent"), "{}", what(0));
        assert_eq!(what(1), "a std::string");
        assert_eq!(what(2), "exception of type int");
        assert_eq!(what(3), "a std::exception");
    }

    #[test]
    fn log_messages_of_arc_reach_rust() {
        start().unwrap();
        let ((), reasons) = logging::capture(|| cpp::logging_message(4, "50% of \u{1f980}").unwrap());
        assert_eq!(reasons.text(), "50% of \u{1f980}");
    }

    #[test]
    fn a_delegation_needs_a_certificate_and_a_key() {
        for path in ["/nonexistent", "/etc/passwd", ""] {
            let error = sign_delegation(path, "").unwrap_err();
            assert!(error.to_string().contains("cannot be read"), "{error}");
        }
    }

    #[test]
    fn a_delegation_is_signed_for_requests_of_every_version() {
        use openssl::pkey::{PKey, Private};
        use openssl::x509::{X509, X509Name, X509Req};
        use openssl::{asn1::Asn1Time, hash::MessageDigest, nid::Nid, rsa::Rsa};

        let [own, of_ce] = [(); 2].map(|()| PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap());
        let mut name = X509Name::builder().unwrap();
        name.append_entry_by_nid(Nid::COMMONNAME, "user").unwrap();
        let name = name.build();
        let mut proxy = X509::builder().unwrap();
        proxy.set_pubkey(&own).unwrap();
        proxy.set_subject_name(&name).unwrap();
        proxy.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        proxy.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
        proxy.sign(&own, MessageDigest::sha256()).unwrap();
        let proxy = proxy.build();
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, parts: &[Vec<u8>]| {
            let path = directory.path().join(name).to_str().unwrap().to_owned();
            std::fs::write(&path, parts.concat()).unwrap();
            path
        };
        let (certificate, key) = (proxy.to_pem().unwrap(), own.private_key_to_pem_pkcs8().unwrap());
        let path = file("proxy", &[certificate.clone(), key.clone(), certificate.clone()]);
        let request = |signer: &PKey<Private>| {
            let mut request = X509Req::builder().unwrap();
            request.set_pubkey(&of_ce).unwrap();
            request.sign(signer, MessageDigest::sha256()).unwrap();
            String::from_utf8(request.build().to_pem().unwrap()).unwrap()
        };
        // As A-REX 6.17 sends it. OpenSSL 3.5 makes none.
        let version_3 = include_str!("request_of_version_3.pem");
        for request in [&request(&of_ce), version_3] {
            let chain = sign_delegation(&path, request).unwrap();
            let key = X509Req::from_pem(request.as_bytes()).unwrap().public_key().unwrap();
            let chain = X509::stack_from_pem(chain.as_bytes()).unwrap();
            assert_eq!((chain.len(), &chain[1], &chain[2]), (3, &proxy, &proxy));
            assert!(chain[0].verify(&own).unwrap() && chain[0].public_key().unwrap().public_eq(&key));
            assert!(chain[0].issuer_name().try_cmp(&name).unwrap().is_eq());
            assert_eq!(chain[0].subject_name().entries_by_nid(Nid::COMMONNAME).count(), 2);
            assert_eq!((chain[0].not_before(), chain[0].not_after()), (proxy.not_before(), proxy.not_after()));
            let text = String::from_utf8(chain[0].to_text().unwrap()).unwrap();
            for extension in ["Inherit all", "Digital Signature, Key Encipherment"] {
                assert!(text.contains(extension), "{text}");
            }
        }
        let refusal = |path: &str, request: &str| sign_delegation(path, request).unwrap_err().to_string();
        assert!(refusal(&path, &request(&own)).contains("not signed with its key"));
        assert!(refusal(&path, "no request").contains("request cannot be read"));
        assert!(refusal(&file("keyless", &[certificate]), "").contains("no unencrypted key"));
        assert!(refusal(&file("key", &[key]), "").contains("no certificate"));
    }

    #[test]
    fn keys_are_compared_with_certificates() {
        use openssl::pkey::PKey;
        use openssl::{asn1::Asn1Time, hash::MessageDigest, rsa::Rsa, x509::X509};

        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &[u8]| {
            let path = directory.path().join(name).to_str().unwrap().to_owned();
            std::fs::write(&path, text).unwrap();
            path
        };
        let [own, other] = [(); 2].map(|()| PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap());
        let mut certificate = X509::builder().unwrap();
        certificate.set_pubkey(&own).unwrap();
        certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        certificate.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
        certificate.sign(&own, MessageDigest::sha256()).unwrap();
        let certificate = file("certificate", &certificate.build().to_pem().unwrap());
        let encrypted = |cipher| own.private_key_to_pem_pkcs8_passphrase(cipher, b"secret").unwrap();
        let encrypted = file("encrypted", &encrypted(openssl::symm::Cipher::aes_256_cbc()));
        assert!(can_decrypt(&encrypted, b"secret").unwrap());
        assert!(is_key_of(&encrypted, b"secret", &certificate).unwrap());
        for wrong in [&b""[..], b"Secret", &[b'x'; 5000]] {
            assert!(!can_decrypt(&encrypted, wrong).unwrap());
            assert!(is_key_of(&encrypted, wrong, &certificate).is_err());
        }
        let own = file("own", &own.private_key_to_pem_pkcs8().unwrap());
        let other = file("other", &other.private_key_to_pem_pkcs8().unwrap());
        assert!(is_key_of(&own, b"", &certificate).unwrap());
        assert!(!is_key_of(&other, b"", &certificate).unwrap());
        for (key, certificate) in [(&certificate, &certificate), (&own, &own), (&own, &"/nonexistent".to_owned())] {
            assert!(is_key_of(key, b"", certificate).is_err());
        }
    }

    #[test]
    fn a_file_without_a_certificate_is_an_error() {
        for path in ["/nonexistent", "/etc/passwd", ""] {
            let error = read_credential(path).unwrap_err();
            assert!(matches!(error, Error::Exception(_)), "{error:?}");
        }
    }
}
