//! [`Pool`]: the kept-alive connections to one CE, shared by all threads.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use crate::backend::breaker::{Breaker, PROBE_LIMIT};
use crate::backend::failure::{Failure, shorten};
use crate::config::endpoint::Endpoint;
use crate::credential::{Credential, Credentials};
use crate::error::Error;
use crate::ffi::{self, Connection, ConnectionError, HttpReply, RequestLimits, Session, SessionSettings};
use crate::limits::{Limits, RetryPolicy, retry_after};
use crate::logging::{self, LogLevel};
use crate::util::lock;

/// The number of connections that transfers of files leave to requests, so that a status request does not wait for a large
/// file.
const RESERVED: usize = 2;

/// The number of requests at once that a near CE serves best. Its CPU is the limit there.
const NEAR_WIDTH: usize = 4;

/// One more request at once pays for each part of this length in the round-trip time. A-REX serves a small request in 0.5 to
/// 2 ms.
const SERVICE_TIME: Duration = Duration::from_millis(2);

/// The round trips of a first request: TCP, TLS, and the request.
const ROUND_TRIPS_OF_FIRST: u32 = 4;

/// The maximum age of a connection. It ensures that connections use the current proxy certificate.
const LIFETIME: Duration = Duration::from_secs(300);

/// Whether a request may be sent again when the CE may already have processed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// The request is idempotent.
    Safe,
    /// Repeating the request would create something twice.
    Never,
}

/// The use of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Request,
    Transfer,
}

/// The connections, as one call sees them: the limits are those of the call, everything else is shared.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    shared: Arc<Shared>,
    limits: Limits,
}

#[derive(Debug)]
struct Shared {
    session: Session,
    credentials: Arc<dyn Credentials>,
    endpoint: Endpoint,
    /// The time without progress after which a request fails, in seconds.
    timeout: u32,
    policy: RetryPolicy,
    breaker: Breaker,
    version: OnceLock<&'static str>,
    max_connections: usize,
    /// The shortest time of a request so far, in microseconds. It is little more than the round-trip time.
    fastest: AtomicU64,
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
    /// The size of the whole file of which a range was read, if the CE tells it.
    pub(super) total: Option<u64>,
    /// The value of `Retry-After`, or nothing.
    retry_after: String,
}

impl Response {
    fn new(response: HttpReply, body: &[u8]) -> Result<Response, Failure> {
        let HttpReply { code, reason, location, total, retry_after, .. } = response;
        let total = Some(total).filter(|total| *total > 0);
        let code =
            u16::try_from(code).map_err(|_| Failure::invalid_response(format!("{code} is not an HTTP status code")))?;
        Ok(Response { code, reason, location, body: body.to_vec(), total, retry_after })
    }

    /// Converts a response that refuses the whole request into a failure.
    pub(super) fn refusal(&self) -> Failure {
        // The body may be an HTML page of any length.
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(2000)]);
        let body = shorten(&body);
        let mut message = if body.is_empty() { self.reason.clone() } else { format!("{}: {body}", self.reason) };
        if !self.retry_after.is_empty() {
            message = format!("{message} (Retry-After: {})", shorten(&self.retry_after));
        }
        Failure::refused(self.code, message)
    }
}

/// What came back from a CE, as far as repeating the request is concerned.
trait Outcome {
    /// The HTTP status code, and the value of `Retry-After`.
    fn status(&self) -> Option<(i32, &str)>;

    /// How long the CE asks to wait, if it cannot serve the request now.
    fn busy(&self) -> Option<Duration> {
        let (code, after) = self.status()?;
        matches!(code, 429 | 500 | 502 | 503).then(|| retry_after(after, SystemTime::now()).unwrap_or_default())
    }
}

impl Outcome for Result<Response, Failure> {
    fn status(&self) -> Option<(i32, &str)> {
        self.as_ref().ok().map(|response| (response.code.into(), &*response.retry_after))
    }
}

impl Outcome for io::Result<HttpReply> {
    fn status(&self) -> Option<(i32, &str)> {
        self.as_ref().ok().map(|reply| (reply.code, &*reply.retry_after))
    }
}

/// How one attempt of a request ended.
struct Attempt<T> {
    result: Result<T, Failure>,
    /// Whether the connection had served another request before.
    is_reused: bool,
    /// What is left of the time without progress.
    idle: Duration,
}

/// A connection in use. Dropping the lease returns the connection to the pool.
struct Lease<'a> {
    pool: &'a Shared,
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

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The maximum number of connections for files.
    fn max_transfers(&self) -> usize {
        self.max_connections.saturating_sub(RESERVED).max(1)
    }

    /// Records how long a request took on an open connection, or on a new one.
    fn request_took(&self, time: Duration, is_reused: bool) {
        let round_trips = if is_reused { 1 } else { ROUND_TRIPS_OF_FIRST };
        let micros = u64::try_from((time / round_trips).as_micros()).unwrap_or(u64::MAX);
        self.fastest.fetch_min(micros, Ordering::Relaxed);
    }
}

impl Pool {
    pub(super) fn new(
        endpoint: Endpoint,
        settings: &SessionSettings,
        credentials: Arc<dyn Credentials>,
        policy: RetryPolicy,
        max_connections: usize,
    ) -> Result<Pool, ffi::Error> {
        let timeout = settings.timeout_seconds;
        let shared = Shared {
            session: Session::new(settings)?,
            credentials,
            endpoint,
            timeout,
            breaker: Breaker::new(policy.pause(), Duration::from_secs(timeout.into())),
            policy,
            version: OnceLock::new(),
            max_connections: max_connections.max(1),
            fastest: AtomicU64::new(u64::MAX),
            state: Mutex::default(),
            freed: Condvar::new(),
        };
        Ok(Pool { shared: Arc::new(shared), limits: Limits::default() })
    }

    /// Returns the pool for a call with limits.
    pub(super) fn with_limits(&self, limits: Limits) -> Pool {
        Pool { shared: Arc::clone(&self.shared), limits }
    }

    /// The number of requests that run at once for one call. It grows with the round-trip time.
    pub(super) fn width(&self) -> usize {
        let further = match self.shared.fastest.load(Ordering::Relaxed) {
            u64::MAX => 0,
            micros => Duration::from_micros(micros).div_duration_f64(SERVICE_TIME) as usize,
        };
        NEAR_WIDTH.saturating_add(further).min(self.shared.max_transfers())
    }

    /// The limits of the call.
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.shared.endpoint
    }

    fn credential(&self) -> Result<Credential, Failure> {
        self.shared.credentials.current(&self.limits).map_err(|error| match error {
            Error::Cancelled => Failure::Cancelled { sent: false },
            Error::DeadlineExceeded { deadline } => Failure::Deadline { deadline, sent: false },
            error => Failure::Credential(error.into()),
        })
    }

    fn connection(&self, credential: &Credential) -> Result<Connection, Failure> {
        let Shared { session, endpoint, timeout, .. } = &*self.shared;
        Ok(Connection::new(session, &endpoint.url(), credential.token(), *timeout)?)
    }

    /// Takes an idle connection that still works and began with the current credential, or a new one. Waits if all connections are in use. Returns `None` if the
    /// CE stops responding meanwhile.
    fn lease(&self, purpose: Purpose, fresh: bool) -> Result<Option<Lease<'_>>, Failure> {
        logging::this_thread_calls_arc(); // closing a connection calls ARC too
        let shared = &*self.shared;
        // A long operation outlives a proxy certificate or a token.
        let credential = self.credential()?;
        let mut state = shared.state();
        while purpose == Purpose::Transfer && state.transfers == shared.max_transfers()
            || state.idle.is_empty() && state.open == shared.max_connections
        {
            // This wait is bounded, because every use of a connection ends in bounded time.
            state = self.limits.wait(&shared.freed, state)?;
            if shared.breaker.is_down() {
                return Ok(None);
            }
        }
        state.transfers += usize::from(purpose == Purpose::Transfer);
        // Dropping the lease releases this place, even if an error follows.
        let mut lease = Lease { pool: shared, pooled: None, reused: false, purpose };
        while let Some(pooled) = state.idle.pop() {
            let is_current = pooled.created.elapsed() < LIFETIME && pooled.credential == credential;
            if !fresh && is_current && pooled.connection.usable() {
                lease.pooled = Some(pooled);
                lease.reused = true;
                return Ok(Some(lease));
            }
            state.open -= 1;
        }
        state.open += 1;
        drop(state);
        let connection = self.connection(&credential)?;
        lease.pooled = Some(Pooled { connection, credential, created: Instant::now() });
        Ok(Some(lease))
    }

    /// Uploads or downloads a file. `work` may run several times.
    pub(super) fn transfer(
        &self,
        work: impl FnMut(&mut Connection) -> Result<io::Result<HttpReply>, ConnectionError>,
    ) -> Result<io::Result<HttpReply>, Failure> {
        self.with_connection(Purpose::Transfer, Repeat::Safe, work)
    }

    /// Runs `work` with a connection, and again if that is allowed and may help.
    fn with_connection<T: Outcome>(
        &self,
        purpose: Purpose,
        repeat: Repeat,
        work: impl FnMut(&mut Connection) -> Result<T, ConnectionError>,
    ) -> Result<T, Failure> {
        let begun = Instant::now();
        let result = self.attempts(begun, purpose, repeat, work);
        match &result {
            Ok(_) => self.shared.breaker.heard(),
            Err(failure) => {
                self.shared.breaker.failed(failure, begun);
                // Calls that wait for a connection need not wait for this CE any more.
                self.shared.freed.notify_all();
            }
        }
        result
    }

    fn attempts<T: Outcome>(
        &self,
        begun: Instant,
        purpose: Purpose,
        repeat: Repeat,
        mut work: impl FnMut(&mut Connection) -> Result<T, ConnectionError>,
    ) -> Result<T, Failure> {
        let mut delays = self.shared.policy.delays();
        let mut idle = Duration::from_secs(self.shared.timeout.into());
        let mut was_sent = false;
        let mut is_first = true;
        let mut fresh = false;
        loop {
            let gate = self.pass();
            let attempt = match gate {
                Ok(()) => match self.attempt(purpose, (begun, fresh, idle), &mut work)? {
                    Some(attempt) => attempt,
                    None => continue, // the CE has stopped responding
                },
                // Repeating does not help a call that comes after others have failed.
                Err(failure) if is_first => return Err(failure),
                Err(failure) => Attempt { result: Err(failure), is_reused: false, idle },
            };
            idle = attempt.idle;
            let delay = match &attempt.result {
                _ if repeat == Repeat::Never => None,
                // The CE closes idle connections.
                Err(failure) if failure.is_broken_connection() && attempt.is_reused => Some(Duration::ZERO),
                Err(failure) if failure.is_transient() => delays.next(),
                Err(_) => None,
                Ok(outcome) => outcome.busy().and_then(|asked| Some(delays.next()?.max(asked))),
            };
            was_sent |= attempt.result.as_ref().map_or_else(Failure::was_sent, |_| true);
            let left = self.limits.left().map_or(idle, |left| left.min(idle));
            let Some(delay) = delay.filter(|delay| *delay < left) else {
                return attempt.result.map_err(|failure| failure.with_sent(was_sent));
            };
            let why = match &attempt.result {
                Err(failure) => format!("{failure:?}"),
                Ok(outcome) => outcome.status().map_or_else(String::new, |(code, _)| format!("HTTP status {code}")),
            };
            logging::log(LogLevel::Verbose, format!("repeating the request in {delay:?} after {why}"));
            self.limits.sleep(delay).map_err(|interrupted| Failure::from(interrupted).with_sent(was_sent))?;
            idle = idle.saturating_sub(delay);
            (is_first, fresh) = (false, attempt.result.is_err());
        }
    }

    /// Runs `work` once, on a new connection if `fresh` is set. `idle` is what is left of the time without progress, and
    /// `begun` is when the call began. Returns `None` if the CE stopped responding while this call waited for a connection.
    fn attempt<T>(
        &self,
        purpose: Purpose,
        (begun, fresh, idle): (Instant, bool, Duration),
        work: &mut impl FnMut(&mut Connection) -> Result<T, ConnectionError>,
    ) -> Result<Option<Attempt<T>>, Failure> {
        self.limits.check()?;
        let Some(mut lease) = self.lease(purpose, fresh)? else { return Ok(None) };
        let is_reused = lease.reused;
        let Some(pooled) = &mut lease.pooled else { return Err(Failure::Exiting) };
        pooled.connection.set_limits(&self.request_limits(idle))?;
        let sent_at = Instant::now();
        let (result, reasons) = logging::capture(|| work(&mut pooled.connection));
        if result.is_ok() {
            self.shared.request_took(sent_at.elapsed(), is_reused);
        }
        let (was_sent, idle) = (pooled.connection.sent(), pooled.connection.idle_left());
        let result = result.map_err(|error| Failure::from_connection(error, &reasons, &self.limits, was_sent));
        if let Err(failure) = &result {
            // Before the place of this connection is free: no other call may use it to wait for the same silence.
            if !failure.is_refused_connection() {
                self.shared.breaker.failed(failure, begun);
            }
            // The rest of the response may still be on this connection, so it cannot be reused.
            lease.pooled = None;
        }
        Ok(Some(Attempt { result, is_reused, idle }))
    }

    fn request_limits(&self, idle: Duration) -> RequestLimits {
        RequestLimits { idle, call: self.limits.left(), cancelled: self.limits.flags() }
    }

    /// Fails if the CE is known not to respond.
    fn pass(&self) -> Result<(), Failure> {
        self.shared.breaker.pass(Instant::now(), &self.limits, || {
            logging::this_thread_calls_arc();
            let mut connection = self.connection(&self.credential()?)?;
            let timeout = Duration::from_secs(self.shared.timeout.into());
            connection.set_limits(&self.request_limits(timeout.min(PROBE_LIMIT)))?;
            let path = self.versions_path();
            let (result, reasons) = logging::capture(|| connection.request("GET", &path, "text/xml", b"").map(drop));
            result.map_err(|error| Failure::from_connection(error, &reasons, &self.limits, false))
        })
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

    /// Reads `length` bytes of a path, from the byte `first` on, whatever the code of the response.
    pub(super) fn read_range(&self, path: &str, first: u64, length: u64) -> Result<Response, Failure> {
        let path = self.path(path);
        self.with_connection(Purpose::Request, Repeat::Safe, |connection| {
            let (response, body) = connection.read_range(&path, first, length)?;
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
        self.request_absolute(Repeat::Safe, "GET", &self.versions_path(), b"")
    }

    fn versions_path(&self) -> String {
        format!("{}/rest", self.shared.endpoint.path())
    }

    /// Returns the absolute path of a path in the REST interface.
    pub(super) fn path(&self, path: &str) -> String {
        format!("{}/rest/{}/{path}", self.shared.endpoint.path(), self.shared.version.get().unwrap_or(&"1.0"))
    }

    /// Sets the version of the interface that requests use.
    pub(super) fn use_version(&self, version: &'static str) {
        self.shared.version.get_or_init(|| version);
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
        fn current(&self, _: &Limits) -> crate::error::Result<Credential> {
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
        let pool = Pool::new(endpoint, &settings, Arc::new(AnyCredential), RetryPolicy::none(), 4);
        let pool = pool.expect("a pool");
        let lease = |purpose| pool.lease(purpose, false).expect("no error").expect("a connection");
        let (sender, leased) = channel();
        thread::scope(|scope| {
            let mut transfers: Vec<_> = (0..2).map(|_| lease(Purpose::Transfer)).collect();
            let requests: Vec<_> = (2..4).map(|_| lease(Purpose::Request)).collect();
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
        let state = pool.shared.state();
        assert_eq!((state.open, state.transfers, state.idle.len()), (0, 0, 0));
    }
}
