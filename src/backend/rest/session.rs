//! [`Pool`]: the kept-alive connections to one CE, shared by all threads.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::backend::failure::{Failure, shorten};
use crate::config::endpoint::Endpoint;
use crate::credential::{Credential, Credentials};
use crate::error::ConnectionFailure;
use crate::ffi::{self, Connection, ConnectionError, HttpReply, Session, SessionSettings};
use crate::logging::{self, LogLevel};
use crate::util::lock;

/// The maximum number of connections. One CE does not process more requests faster.
pub(super) const CONNECTIONS: usize = 8;

/// The maximum number of connections for files. The others serve requests, so that a status request does not wait for a
/// large file.
const TRANSFERS: usize = CONNECTIONS - 2;

/// The maximum age of a connection. It ensures that connections use the current proxy certificate.
const LIFETIME: Duration = Duration::from_secs(300);

/// Whether a request may be sent again after the connection broke, when the CE may already have processed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// The request is idempotent.
    Once,
    /// Repeating the request would create something twice.
    Never,
}

/// The use of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Request,
    Transfer,
}

#[derive(Debug)]
pub(super) struct Pool {
    session: Session,
    credentials: Arc<dyn Credentials>,
    endpoint: Endpoint,
    /// The limit for each time that ARC waits for the CE, in seconds.
    timeout: u32,
    version: OnceLock<&'static str>,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Pooled>,
    open: usize,
    transfers: usize,
}

#[derive(Debug)]
struct Pooled {
    connection: Connection,
    credential: Credential,
    created: Instant,
}

/// The response of a CE.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) code: u16,
    pub(super) reason: String,
    pub(super) location: String,
    pub(super) body: Vec<u8>,
}

impl Response {
    fn new(response: HttpReply, body: &[u8]) -> Result<Response, Failure> {
        let HttpReply { code, reason, location, .. } = response;
        let code =
            u16::try_from(code).map_err(|_| Failure::invalid_response(format!("{code} is not an HTTP status code")))?;
        Ok(Response { code, reason, location, body: body.to_vec() })
    }

    /// Converts a response that refuses the whole request into a failure.
    pub(super) fn refusal(&self) -> Failure {
        // The body may be an HTML page of any length.
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(2000)]);
        let body = shorten(&body);
        let message = if body.is_empty() { self.reason.clone() } else { format!("{}: {body}", self.reason) };
        Failure::Refused { code: self.code, message }
    }
}

/// A connection in use. Dropping the lease returns the connection to the pool.
struct Lease<'a> {
    pool: &'a Pool,
    pooled: Option<Pooled>,
    reused: bool,
    purpose: Purpose,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        state.transfers -= usize::from(self.purpose == Purpose::Transfer);
        match self.pooled.take() {
            Some(pooled) if pooled.connection.usable() => state.idle.push(pooled),
            closed => {
                state.open -= 1;
                drop(state);
                drop(closed);
            }
        }
        // A waiting transfer may not be allowed to use the freed connection, so wake all waiting threads.
        self.pool.freed.notify_all();
    }
}

impl Pool {
    pub(super) fn new(
        endpoint: Endpoint,
        settings: &SessionSettings,
        credentials: Arc<dyn Credentials>,
    ) -> Result<Pool, ffi::Error> {
        Ok(Pool {
            session: Session::new(settings)?,
            credentials,
            endpoint,
            timeout: settings.timeout_seconds,
            version: OnceLock::new(),
            state: Mutex::default(),
            freed: Condvar::new(),
        })
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Takes an idle connection that still works and began with the current credential, or a new one. Waits if all
    /// connections are in use.
    fn lease(&self, purpose: Purpose, fresh: bool) -> Result<Lease<'_>, Failure> {
        logging::this_thread_calls_arc(); // closing a connection calls ARC too
        // A long operation outlives a proxy certificate or a token.
        let credential = self.credentials.current().map_err(|error| Failure::Credential(error.into()))?;
        let mut state = self.state();
        while purpose == Purpose::Transfer && state.transfers == TRANSFERS
            || state.idle.is_empty() && state.open == CONNECTIONS
        {
            // This wait is bounded, because every use of a connection ends in bounded time.
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.transfers += usize::from(purpose == Purpose::Transfer);
        // Dropping the lease releases this place, even if an error follows.
        let mut lease = Lease { pool: self, pooled: None, reused: false, purpose };
        while let Some(pooled) = state.idle.pop() {
            let is_current = pooled.created.elapsed() < LIFETIME && pooled.credential == credential;
            if !fresh && is_current && pooled.connection.usable() {
                lease.pooled = Some(pooled);
                lease.reused = true;
                return Ok(lease);
            }
            state.open -= 1;
        }
        state.open += 1;
        drop(state);
        let connection = Connection::new(&self.session, &self.endpoint.url(), credential.token(), self.timeout)?;
        lease.pooled = Some(Pooled { connection, credential, created: Instant::now() });
        Ok(lease)
    }

    /// Uploads or downloads a file. `work` may run twice.
    pub(super) fn transfer<T>(
        &self,
        work: impl FnMut(&mut Connection) -> Result<T, ConnectionError>,
    ) -> Result<T, Failure> {
        self.with_connection(Purpose::Transfer, Repeat::Once, work)
    }

    /// Runs `work` with a connection. If `work` fails on a reused connection, which the CE may have closed, and
    /// `repeat` allows it, runs it once more on a new connection.
    fn with_connection<T>(
        &self,
        purpose: Purpose,
        repeat: Repeat,
        mut work: impl FnMut(&mut Connection) -> Result<T, ConnectionError>,
    ) -> Result<T, Failure> {
        let mut attempt = |fresh: bool| {
            let mut lease = self.lease(purpose, fresh)?;
            let reused = lease.reused;
            let Some(pooled) = &mut lease.pooled else { return Err(Failure::Exiting) };
            let (result, reasons) = logging::capture(|| work(&mut pooled.connection));
            let was_sent = pooled.connection.sent();
            if result.is_err() {
                // The rest of the response may still be on this connection, so it cannot be reused.
                lease.pooled = None;
            }
            let result = result.map_err(|error| Failure::from_connection(error, &reasons, was_sent));
            Ok((result, reused))
        };
        match attempt(false)? {
            (Err(failure @ Failure::Connection { failure: ConnectionFailure::Broken, .. }), true)
                if repeat == Repeat::Once =>
            {
                let sent = if failure.was_sent() { "sent" } else { "not completely sent" };
                logging::log(LogLevel::Verbose, format!("repeating a request that was {sent} after {failure:?}"));
                attempt(true)?.0
            }
            (result, _) => result,
        }
    }

    /// Sends a request and returns the response, whatever its code. `path` is relative to the REST interface and
    /// percent-encoded.
    pub(super) fn request(
        &self,
        repeat: Repeat,
        method: &str,
        path: &str,
        content: &[u8],
    ) -> Result<Response, Failure> {
        self.request_absolute(repeat, method, &self.path(path), content)
    }

    fn request_absolute(&self, repeat: Repeat, method: &str, path: &str, content: &[u8]) -> Result<Response, Failure> {
        self.with_connection(Purpose::Request, repeat, |connection| {
            let (response, body) = connection.request(method, path, "text/xml", content)?;
            Ok(Response::new(response, body))
        })?
    }

    /// Checks that the CE responds, before a request that must not be repeated.
    ///
    /// It sends a request even if a connection seems to work, because the CE may have closed it.
    pub(super) fn reach(&self) -> Result<(), Failure> {
        self.versions().map(drop)
    }

    /// Requests the versions of the interface. This is the cheapest request.
    pub(super) fn versions(&self) -> Result<Response, Failure> {
        self.request_absolute(Repeat::Once, "GET", &format!("{}/rest", self.endpoint.path()), b"")
    }

    /// Returns the absolute path of a path in the REST interface.
    pub(super) fn path(&self, path: &str) -> String {
        format!("{}/rest/{}/{path}", self.endpoint.path(), self.version.get().unwrap_or(&"1.0"))
    }

    /// Sets the version of the interface that requests use.
    pub(super) fn use_version(&self, version: &'static str) {
        self.version.get_or_init(|| version);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;
    use crate::config::ConnectionConfig;

    #[derive(Debug)]
    struct AnyCredential;

    impl Credentials for AnyCredential {
        fn current(&self) -> crate::error::Result<Credential> {
            let metadata = std::fs::metadata("/").expect("a directory");
            Ok(Credential::Proxy(crate::credential::FileStamp::of(&metadata)))
        }
    }

    #[test]
    fn transfers_leave_connections_for_requests() {
        let settings = SessionSettings {
            proxy: "/nonexistent".into(),
            ca_directory: "/nonexistent".into(),
            timeout_seconds: 1,
            verify_host: true,
        };
        let endpoint = ConnectionConfig::default().endpoint().expect("a CE");
        let pool = Pool::new(endpoint, &settings, Arc::new(AnyCredential)).expect("a pool");
        let lease = |purpose| pool.lease(purpose, false).expect("a connection");
        let (sender, leased) = channel();
        thread::scope(|scope| {
            let mut transfers: Vec<_> = (0..TRANSFERS).map(|_| lease(Purpose::Transfer)).collect();
            let requests: Vec<_> = (TRANSFERS..CONNECTIONS).map(|_| lease(Purpose::Request)).collect();
            for purpose in [Purpose::Transfer, Purpose::Request] {
                let sender = sender.clone();
                scope.spawn(move || sender.send(lease(purpose).purpose));
            }
            drop(requests);
            assert_eq!(leased.recv(), Ok(Purpose::Request));
            assert!(leased.recv_timeout(Duration::from_millis(100)).is_err());
            transfers.pop();
            assert_eq!(leased.recv(), Ok(Purpose::Transfer));
        });
        let state = pool.state();
        assert_eq!((state.open, state.transfers, state.idle.len()), (0, 0, 0));
    }
}
