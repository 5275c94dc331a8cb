//! [`Pool`]: the kept-alive connections to one CE, shared by all threads.

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::backend::failure::{Failure, shorten};
use crate::config::endpoint::Endpoint;
use crate::error::ConnectionFailure;
use crate::ffi::{self, Connection, ConnectionError, HttpReply, Session, SessionSettings};
use crate::logging::{self, LogLevel};
use crate::util::lock;

/// The largest number of connections. More would not make a CE faster.
pub(super) const CONNECTIONS: usize = 8;

/// How many connections may be busy with files. The rest is for requests, so that a status request does not wait for a
/// large file.
const TRANSFERS: usize = CONNECTIONS - 2;

/// How long a connection is used. A new one presents the proxy certificate as it is then.
const LIFETIME: Duration = Duration::from_secs(300);

/// Whether a request may be sent again when the connection broke and it is unknown how far the request got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// The request changes nothing, or changes the same again.
    Once,
    /// Repeating the request would create something twice.
    Never,
}

/// What a connection is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Request,
    Transfer,
}

#[derive(Debug)]
pub(super) struct Pool {
    session: Session,
    endpoint: Endpoint,
    /// In seconds, for each time that ARC waits for the CE.
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
    created: Instant,
}

/// The response of a CE.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) code: u16,
    pub(super) reason: String,
    pub(super) location: String,
    pub(super) body: Vec<u8>,
}

impl Reply {
    fn new(reply: HttpReply, body: &[u8]) -> Result<Reply, Failure> {
        let HttpReply { code, reason, location, .. } = reply;
        let code =
            u16::try_from(code).map_err(|_| Failure::invalid_response(format!("{code} is not an HTTP status code")))?;
        Ok(Reply { code, reason, location, body: body.to_vec() })
    }

    /// The failure that stands for a response which refuses the whole request.
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
        // A waiting transfer may not be able to use what is free now, so all waiting threads look.
        self.pool.freed.notify_all();
    }
}

impl Pool {
    pub(super) fn new(endpoint: Endpoint, settings: &SessionSettings) -> Result<Pool, ffi::Error> {
        Ok(Pool {
            session: Session::new(settings)?,
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

    /// Takes an idle connection that still works, or a new one. Waits if all connections are in use.
    fn lease(&self, purpose: Purpose, fresh: bool) -> Result<Lease<'_>, Failure> {
        logging::this_thread_calls_arc(); // closing a connection calls ARC too
        let mut state = self.state();
        while purpose == Purpose::Transfer && state.transfers == TRANSFERS
            || state.idle.is_empty() && state.open == CONNECTIONS
        {
            // Every use of a connection ends in bounded time.
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.transfers += usize::from(purpose == Purpose::Transfer);
        // Dropping the lease gives this place back, whatever happens next.
        let mut lease = Lease { pool: self, pooled: None, reused: false, purpose };
        while let Some(pooled) = state.idle.pop() {
            if !fresh && pooled.created.elapsed() < LIFETIME && pooled.connection.usable() {
                lease.pooled = Some(pooled);
                lease.reused = true;
                return Ok(lease);
            }
            state.open -= 1;
        }
        state.open += 1;
        drop(state);
        let connection = Connection::new(&self.session, &self.endpoint.url(), self.timeout)?;
        lease.pooled = Some(Pooled { connection, created: Instant::now() });
        Ok(lease)
    }

    /// Sends or fetches a file. `work` may run twice.
    pub(super) fn transfer<T>(
        &self,
        work: impl FnMut(&mut Connection) -> Result<T, ConnectionError>,
    ) -> Result<T, Failure> {
        self.with_connection(Purpose::Transfer, Repeat::Once, work)
    }

    /// Runs `work` with a connection. If it fails on a reused connection, which the CE may just have closed, and may be
    /// repeated, it runs once more on a new connection.
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
            let begun = Instant::now();
            let (result, reasons) = logging::capture(|| work(&mut pooled.connection));
            if result.is_err() {
                // What is left of the response on this connection is unknown.
                lease.pooled = None;
            }
            let result = result.map_err(|error| match Failure::from_connection(error, &reasons) {
                // ARC reports the end of its patience as a broken connection.
                Failure::Connection { failure: ConnectionFailure::Broken, .. }
                    if begun.elapsed().as_secs() >= u64::from(self.timeout) =>
                {
                    Failure::timed_out(begun.elapsed().as_secs())
                }
                failure => failure,
            });
            Ok((result, reused))
        };
        match attempt(false)? {
            (Err(failure @ Failure::Connection { .. }), true) if repeat == Repeat::Once => {
                logging::log(LogLevel::Verbose, format!("repeating the request on a new connection after {failure:?}"));
                attempt(true)?.0
            }
            (result, _) => result,
        }
    }

    /// Sends a request and returns the response, whatever its code. `path` is relative to the REST interface and
    /// percent-encoded.
    pub(super) fn request(&self, repeat: Repeat, method: &str, path: &str, content: &[u8]) -> Result<Reply, Failure> {
        self.request_absolute(repeat, method, &self.path(path), content)
    }

    fn request_absolute(&self, repeat: Repeat, method: &str, path: &str, content: &[u8]) -> Result<Reply, Failure> {
        self.with_connection(Purpose::Request, repeat, |connection| {
            let (reply, body) = connection.request(method, path, "text/xml", content)?;
            Ok(Reply::new(reply, body))
        })?
    }

    /// Makes sure that the CE responds, so that what fails afterwards fails for other reasons.
    ///
    /// It asks even on a connection that seems to work, because the request that follows must not be repeated.
    pub(super) fn reach(&self) -> Result<(), Failure> {
        self.versions().map(drop)
    }

    /// Requests the versions of the interface: the cheapest request.
    pub(super) fn versions(&self) -> Result<Reply, Failure> {
        self.request_absolute(Repeat::Once, "GET", &format!("{}/rest", self.endpoint.path()), b"")
    }

    /// The absolute path of a path in the REST interface.
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

    #[test]
    fn transfers_leave_connections_for_requests() {
        let settings = SessionSettings {
            proxy: "/nonexistent".into(),
            ca_directory: "/nonexistent".into(),
            timeout_seconds: 1,
            verify_host: true,
        };
        let pool = Pool::new(ConnectionConfig::default().endpoint().expect("a CE"), &settings).expect("a pool");
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
