//! The connections to one CE: a small pool that all threads share.

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::config::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::ffi::{Connection, HttpReply, Session, SessionSettings};
use crate::logging::{self, LogLevel, Reasons};
use crate::util::lock;

/// How many connections there are at most. More would not make a CE faster, and it counts them.
pub(super) const CONNECTIONS: usize = 8;

/// How many of them may be busy with files: a status should not wait until a large file is over.
const TRANSFERS: usize = CONNECTIONS - 2;

/// How long a connection is used. A new one is made with the proxy as it is then.
const LIFETIME: Duration = Duration::from_secs(300);

/// Whether a request may be sent again when the connection broke and nobody knows how far it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It changes nothing, or the same again.
    Once,
    /// It would make something twice.
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
    born: Instant,
}

/// What a CE answered.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) code: i32,
    pub(super) reason: String,
    pub(super) location: String,
    pub(super) body: Vec<u8>,
}

/// A connection in use; it goes back to the pool when it is dropped.
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
        // Not all who wait can use what is free now.
        self.pool.freed.notify_all();
    }
}

impl Pool {
    pub(super) fn new(endpoint: Endpoint, settings: &SessionSettings) -> Result<Pool> {
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

    /// An idle connection that still works, or else a new one; waits for one to come back when there are too many.
    fn lease(&self, purpose: Purpose, fresh: bool) -> Result<Lease<'_>> {
        logging::this_thread_calls_arc(); // here too: connections are closed
        let mut state = self.state();
        while purpose == Purpose::Transfer && state.transfers == TRANSFERS
            || state.idle.is_empty() && state.open == CONNECTIONS
        {
            // Every use of a connection ends in bounded time.
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.transfers += usize::from(purpose == Purpose::Transfer);
        // From here on the lease gives the place back.
        let mut lease = Lease { pool: self, pooled: None, reused: false, purpose };
        while let Some(pooled) = state.idle.pop() {
            if !fresh && pooled.born.elapsed() < LIFETIME && pooled.connection.usable() {
                lease.pooled = Some(pooled);
                lease.reused = true;
                return Ok(lease);
            }
            state.open -= 1;
        }
        state.open += 1;
        drop(state);
        let connection = Connection::new(&self.session, &self.endpoint.url(), self.timeout)?;
        lease.pooled = Some(Pooled { connection, born: Instant::now() });
        Ok(lease)
    }

    /// Sends a file or fetches one, which may be done twice.
    pub(super) fn transfer<T>(&self, work: impl FnMut(&mut Connection) -> Result<T>) -> Result<T> {
        self.with(Purpose::Transfer, Repeat::Once, work)
    }

    /// Does something with a connection. When that fails on one that was used before, the server may just have closed it.
    fn with<T>(
        &self,
        purpose: Purpose,
        repeat: Repeat,
        mut work: impl FnMut(&mut Connection) -> Result<T>,
    ) -> Result<T> {
        let mut attempt = |fresh: bool| {
            let mut lease = self.lease(purpose, fresh)?;
            let reused = lease.reused;
            let Some(pooled) = &mut lease.pooled else { return Err(Error::Exiting) };
            let (result, reasons) = logging::capture(|| work(&mut pooled.connection));
            if result.is_err() {
                // Nobody knows what is left on its line.
                lease.pooled = None;
            }
            Ok((result.map_err(|error| self.explain(error, &reasons)), reused))
        };
        match attempt(false)? {
            (Err(error @ Error::Connection { .. }), true) if repeat == Repeat::Once => {
                logging::log(LogLevel::Verbose, format!("again, on a new connection: {error}"));
                attempt(true)?.0
            }
            (result, _) => result,
        }
    }

    /// Sends a request, and returns whatever was answered. `path` is relative to the CE's URL, percent-encoded.
    pub(super) fn request(&self, repeat: Repeat, method: &str, path: &str, content: &[u8]) -> Result<Reply> {
        self.ask(repeat, method, &self.path(path), content)
    }

    fn ask(&self, repeat: Repeat, method: &str, path: &str, content: &[u8]) -> Result<Reply> {
        self.with(Purpose::Request, repeat, |connection| {
            let (HttpReply { code, reason, location, .. }, body) =
                connection.request(method, path, "text/xml", content)?;
            Ok(Reply { code, reason, location, body: body.to_vec() })
        })
    }

    /// Makes sure that there is a connection that works, so that what fails after that fails for other reasons.
    pub(super) fn reach(&self) -> Result<()> {
        // Asked for even on a connection that seems to work: what comes next must not be sent twice.
        self.versions().map(drop)
    }

    /// The versions of the interface: the cheapest of all requests.
    pub(super) fn versions(&self) -> Result<Reply> {
        self.ask(Repeat::Once, "GET", &format!("{}/rest", self.endpoint.path()), b"")
    }

    /// Sends a request that must not be sent twice.
    pub(super) fn submit(&self, path: &str, content: &[u8]) -> Result<Reply> {
        self.request(Repeat::Never, "POST", path, content)
    }

    /// The path of a URL below that of the CE.
    pub(super) fn path(&self, path: &str) -> String {
        format!("{}/rest/{}/{path}", self.endpoint.path(), self.version.get().unwrap_or(&"1.0"))
    }

    /// Sets the version of the interface to speak.
    pub(super) fn speak(&self, version: &'static str) {
        self.version.get_or_init(|| version);
    }

    fn explain(&self, error: Error, reasons: &Reasons) -> Error {
        match error {
            Error::Arc { message } => {
                let message = match reasons.complaints() {
                    complaints if complaints.contains(&message) => complaints,
                    complaints if complaints.is_empty() => message,
                    complaints => format!("{message}: {complaints}"),
                };
                Error::Connection { endpoint: self.endpoint.url(), message }
            }
            other => other,
        }
    }

    /// The error for an answer that is a refusal of the whole request.
    pub(super) fn refused(&self, reply: &Reply) -> Error {
        // A page of HTML, perhaps, of any length.
        let body = String::from_utf8_lossy(&reply.body[..reply.body.len().min(2000)]);
        let body = body.split_whitespace().take(60).collect::<Vec<_>>().join(" ");
        Error::Refused {
            endpoint: self.endpoint.url(),
            code: reply.code,
            message: if body.is_empty() { reply.reason.clone() } else { format!("{}: {body}", reply.reason) },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;
    use crate::config::ConnectionConfig;

    #[test]
    fn files_leave_some_connections_to_the_rest() {
        let settings =
            SessionSettings { proxy: "/nonexistent".into(), ca_directory: "/nonexistent".into(), timeout_seconds: 1 };
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
