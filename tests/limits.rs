//! Time limits, cancelling, repeated requests, and a CE that does not respond. The CEs are TLS servers of the test.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use jasmin_arc::{
    ArcInterface, ArcInterfaceBuilder, CancelToken, ConnectionConfig, Error, ErrorKind, JobDescription, JobId,
    JobStatus, Protocol, RetryPolicy,
};
use openssl::ssl::{SslAcceptor, SslMethod, SslStream, SslVerifyMode};
use tempfile::TempDir;

use tls::{Authority, LOCALHOST, user_home};

mod tls;

/// How the CE of a test behaves.
#[derive(Clone, Debug)]
enum Mode {
    /// It serves, and takes so long for each response.
    Serve(Duration),
    /// It closes so many connections at once, then serves.
    Close(usize),
    /// It accepts connections and does not respond, not even to the TLS handshake.
    Silent,
    /// It does not respond to requests whose path contains a text.
    SilentFor(&'static str),
    /// It takes so long for a handshake, and does not respond to requests.
    SlowHandshake(Duration),
    /// It responds to submissions with a status code.
    RefuseSubmissions(u16),
    /// It responds with a status code and a `Retry-After` for a number of requests, then serves.
    Busy(u16, &'static str, usize),
}

const SERVE: Mode = Mode::Serve(Duration::ZERO);

#[derive(Debug, Default)]
struct Count {
    connections: AtomicUsize,
    requests: AtomicUsize,
    submissions: AtomicUsize,
}

/// A CE with a REST interface, on which every job has ended.
struct Ce {
    authority: Authority,
    home: TempDir,
    acceptor: Arc<SslAcceptor>,
    port: u16,
    mode: Arc<Mutex<Mode>>,
    count: Arc<Count>,
    is_stopped: Arc<AtomicBool>,
    clients: Arc<Mutex<Vec<TcpStream>>>,
}

impl Ce {
    fn new(mode: Mode) -> Ce {
        Ce::with(mode, |_| ())
    }

    fn with(mode: Mode, change: impl Fn(&mut openssl::ssl::SslAcceptorBuilder)) -> Ce {
        let authority = Authority::new();
        let (key, certificate) = authority.issue(LOCALHOST);
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
        acceptor.set_private_key(&key).unwrap();
        acceptor.set_certificate(&certificate).unwrap();
        acceptor.set_verify(SslVerifyMode::NONE);
        change(&mut acceptor);
        let mut ce = Ce {
            home: user_home(&authority),
            authority,
            acceptor: Arc::new(acceptor.build()),
            port: 0,
            mode: Arc::new(Mutex::new(mode)),
            count: Arc::default(),
            is_stopped: Arc::default(),
            clients: Arc::default(),
        };
        ce.start();
        ce
    }

    /// Listens, on the same port as before.
    fn start(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).unwrap();
        self.port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        self.is_stopped = Arc::default();
        let (acceptor, mode, count) = (self.acceptor.clone(), self.mode.clone(), self.count.clone());
        let (is_stopped, clients) = (self.is_stopped.clone(), self.clients.clone());
        thread::spawn(move || {
            while !is_stopped.load(Ordering::Relaxed) {
                let Ok((stream, _)) = listener.accept() else {
                    thread::sleep(Duration::from_millis(2));
                    continue;
                };
                count.connections.fetch_add(1, Ordering::Relaxed);
                stream.set_nonblocking(false).unwrap();
                clients.lock().unwrap().push(stream.try_clone().unwrap());
                let (acceptor, mode, count) = (acceptor.clone(), mode.clone(), count.clone());
                thread::spawn(move || serve(stream, &acceptor, &mode, &count));
            }
        });
    }

    /// Closes the port and all connections.
    fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        for client in self.clients.lock().unwrap().drain(..) {
            let _ = client.shutdown(Shutdown::Both);
        }
        // The listener ends soon.
        while TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    fn connections(&self) -> usize {
        self.count.connections.swap(0, Ordering::Relaxed)
    }

    fn requests(&self) -> usize {
        self.count.requests.swap(0, Ordering::Relaxed)
    }

    fn builder(&self) -> ArcInterfaceBuilder {
        let path = |name: &str| self.home.path().join(name);
        let config = ConnectionConfig::default()
            .with_arc_server(format!("localhost:{}", self.port))
            .with_interface(Protocol::ArcRest)
            .with_certs_dir(self.authority.directory.path())
            .with_client_cert(path("cert.pem"))
            .with_client_key(path("key.pem"))
            .with_proxy_file(path("proxy.pem"))
            .with_jobs_info_file(path("jobs.dat"));
        ArcInterface::builder().config(config).no_log()
    }

    /// An interface with a timeout in seconds, whose proxy certificate exists.
    fn arc(&self, timeout: u64) -> ArcInterface {
        let arc = self.builder().timeout(Duration::from_secs(timeout)).build().unwrap();
        arc.ensure_proxy().unwrap();
        arc
    }
}

impl Drop for Ce {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }
}

fn serve(stream: TcpStream, acceptor: &SslAcceptor, mode: &Mutex<Mode>, count: &Count) {
    let mut now = mode.lock().unwrap();
    match &mut *now {
        Mode::Close(times) if *times > 0 => {
            *times -= 1;
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
        Mode::Silent => {
            drop(now);
            return wait_for_end(stream);
        }
        Mode::SlowHandshake(time) => {
            let time = *time;
            drop(now);
            thread::sleep(time);
        }
        _ => drop(now),
    }
    let Ok(mut stream) = acceptor.accept(stream) else { return };
    while let Some((head, body)) = read_request(&mut stream) {
        count.requests.fetch_add(1, Ordering::Relaxed);
        count.submissions.fetch_add(usize::from(head.contains("action=new")), Ordering::Relaxed);
        let mut now = mode.lock().unwrap();
        let response = match &mut *now {
            Mode::Silent | Mode::SlowHandshake(_) => None,
            Mode::SilentFor(path) if head.contains(*path) => None,
            Mode::RefuseSubmissions(code) if head.contains("action=new") => Some((*code, String::new(), String::new())),
            Mode::Busy(code, after, times) if *times > 0 => {
                *times -= 1;
                Some((*code, format!("Retry-After: {after}\r\n"), String::new()))
            }
            Mode::Serve(time) => {
                let time = *time;
                drop(now);
                thread::sleep(time);
                Some(respond(&head, &body))
            }
            _ => Some(respond(&head, &body)),
        };
        let Some((code, headers, text)) = response else { return wait_for_end(stream.get_ref().try_clone().unwrap()) };
        let response = format!("HTTP/1.1 {code} X\r\n{headers}Content-Length: {}\r\n\r\n{text}", text.len());
        if stream.write_all(response.as_bytes()).is_err() {
            return;
        }
    }
}

/// Keeps a connection until the client closes it.
fn wait_for_end(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).is_ok_and(|size| size > 0) {}
}

fn read_request(stream: &mut SslStream<TcpStream>) -> Option<(String, String)> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.extend(byte);
    }
    let head = String::from_utf8(head).ok()?;
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8(body).ok()?))
}

fn respond(head: &str, body: &str) -> (u16, String, String) {
    let xml = if head.contains("/rest HTTP/1.1\r\n") {
        (200, "<versions><version>1.0</version></versions>".to_owned())
    } else if head.contains("action=status") {
        let one = |id: &str| {
            format!("<job><status-code>200</status-code><reason>OK</reason><id>{id}</id><state>FINISHED</state></job>")
        };
        let ids = body.split("<id>").skip(1).filter_map(|rest| Some(one(rest.split_once("</id>")?.0)));
        (201, format!("<jobs>{}</jobs>", ids.collect::<String>()))
    } else if head.contains("/session") {
        (200, "<list/>".to_owned())
    } else {
        (404, String::new())
    };
    (xml.0, String::new(), xml.1)
}

fn id(number: usize) -> JobId {
    JobId::from(format!("{number:020}"))
}

/// The time that a step may take on a busy machine, beyond what it waits for.
const SLACK: Duration = Duration::from_secs(10);

/// Fails if a step that began at `begun` took much longer than `expected`.
#[track_caller]
fn took(begun: Instant, expected: Duration) {
    assert!(begun.elapsed() < expected + SLACK, "{:?} instead of {expected:?}", begun.elapsed());
}

fn quick() -> RetryPolicy {
    RetryPolicy::default().with_first_delay(Duration::from_millis(5)).with_pause(Duration::ZERO)
}

#[test]
fn a_request_is_repeated_as_often_as_the_policy_says() {
    let ce = Ce::new(Mode::Close(usize::MAX));
    ce.arc(30);
    for (builder, attempts) in [
        (ce.builder().retries(quick().with_attempts(3)), 3),
        (ce.builder().retries(quick().with_attempts(1)), 1),
        (ce.builder().no_retries(), 1),
        (ce.builder(), 4),
    ] {
        let error = builder.build().unwrap().job_status(&id(1)).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Connection, true), "{error}");
        assert_eq!(ce.connections(), attempts);
    }
    ce.set(Mode::Close(2));
    let arc = ce.builder().retries(quick()).build().unwrap();
    assert_eq!(arc.job_status(&id(1)).unwrap(), JobStatus::Completed);
    assert_eq!(ce.connections(), 3);
}

#[test]
fn an_idle_connection_that_is_closed_costs_no_attempt() {
    let mut ce = Ce::new(SERVE);
    let arc = ce.builder().no_retries().build().unwrap();
    arc.job_status(&id(1)).unwrap();
    ce.stop();
    ce.start();
    arc.job_status(&id(1)).unwrap();
}

#[test]
fn busy_responses_are_repeated_and_others_are_not() {
    let ce = Ce::new(SERVE);
    let arc = ce.builder().retries(quick().with_attempts(3)).build().unwrap();
    arc.job_status(&id(1)).unwrap();
    ce.requests();
    for (code, requests) in [(429, 3), (500, 3), (502, 3), (503, 3), (403, 1), (404, 1), (501, 1)] {
        ce.set(Mode::Busy(code, "0", 100));
        let error = arc.job_status(&id(1)).unwrap_err();
        assert!(matches!(error, Error::Refused { code: refused, .. } if refused == code), "{error}");
        assert_eq!(ce.requests(), requests, "{code}");
        ce.set(Mode::Busy(code, "0", 2));
        assert_eq!(arc.job_status(&id(1)).is_ok(), requests == 3, "{code}");
        ce.requests();
    }
}

#[test]
fn the_time_that_the_ce_asks_for_is_heeded_if_it_is_left() {
    let ce = Ce::new(SERVE);
    let arc = ce.builder().retries(quick()).timeout(Duration::from_secs(30)).build().unwrap();
    arc.job_status(&id(1)).unwrap();
    ce.set(Mode::Busy(503, "1", 1));
    let begun = Instant::now();
    arc.job_status(&id(1)).unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    for after in ["3600", "Fri, 31 Dec 2999 23:59:59 GMT"] {
        ce.set(Mode::Busy(503, after, 1));
        ce.requests();
        let begun = Instant::now();
        let error = arc.job_status(&id(1)).unwrap_err();
        assert!(error.to_string().contains(&format!("Retry-After: {after}")), "{error}");
        took(begun, Duration::ZERO);
        assert_eq!(ce.requests(), 1);
        // The deadline of a call counts as well.
        ce.set(Mode::Busy(503, "20", 1));
        let begun = Instant::now();
        arc.with_deadline(Duration::from_secs(2)).job_status(&id(1)).unwrap_err();
        took(begun, Duration::from_secs(2));
    }
}

#[test]
fn a_submission_is_sent_once() {
    let ce = Ce::new(SERVE);
    let arc = ce.builder().retries(quick()).build().unwrap();
    arc.job_status(&id(1)).unwrap();
    ce.set(Mode::RefuseSubmissions(503));
    let error = arc.submit(&JobDescription::new("/bin/true")).unwrap_err();
    assert!(!error.is_retryable(), "{error}");
    assert_eq!(ce.count.submissions.load(Ordering::Relaxed), 1);
}

#[test]
fn a_silent_ce_costs_a_call_one_timeout() {
    let timeout = Duration::from_secs(4);
    let limit = Duration::from_secs(7); // less than twice the timeout
    let check = |arc: &ArcInterface, what: &str| {
        let begun = Instant::now();
        let error = arc.job_status(&id(1)).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::TimedOut, true), "{what}: {error}");
        assert!(begun.elapsed() >= timeout - Duration::from_millis(100), "{what}: {:?}", begun.elapsed());
        assert!(begun.elapsed() < limit, "{what}: {:?}", begun.elapsed());
    };
    let ce = Ce::new(Mode::Silent);
    check(&ce.arc(4), "first contact");
    // The handshake counts.
    ce.set(Mode::SlowHandshake(Duration::from_secs(3)));
    check(&ce.arc(4), "slow handshake");
    ce.set(SERVE);
    let arc = ce.arc(4);
    arc.job_status(&id(1)).unwrap();
    ce.set(Mode::Silent);
    check(&arc, "reused connection");
}

#[test]
fn calls_to_a_dead_ce_fail_together() {
    let ce = Ce::new(SERVE);
    let arc = ce.arc(4);
    arc.job_status(&id(1)).unwrap();
    ce.set(Mode::Silent);
    // The connections serve eight calls at once, so one after the other they would wait for 13 timeouts.
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| assert_eq!(arc.job_status(&id(1)).unwrap_err().kind(), ErrorKind::TimedOut));
        }
    });
    took(begun, Duration::from_secs(8));
    let begun = Instant::now();
    let mut last = String::new();
    for _ in 0..1000 {
        let error = arc.job_status(&id(1)).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::TimedOut, true), "{error}");
        last = error.to_string();
    }
    assert!(last.contains("not tried again yet"), "{last}");
    took(begun, Duration::from_secs(16));
    // It comes back.
    ce.set(SERVE);
    let begun = Instant::now();
    while arc.job_status(&id(1)).is_err() {
        thread::sleep(Duration::from_millis(20));
        took(begun, Duration::from_secs(4));
    }
}

#[test]
fn a_ce_that_is_up_again_is_noticed_at_once() {
    let mut ce = Ce::new(SERVE);
    let arc = ce.builder().retries(RetryPolicy::default().with_attempts(2)).build().unwrap();
    arc.job_status(&id(1)).unwrap();
    ce.stop();
    let begun = Instant::now();
    for _ in 0..200 {
        let error = arc.job_status(&id(1)).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::ConnectionRefused, true), "{error}");
    }
    // Only the first call makes a second attempt.
    took(begun, Duration::from_secs(1));
    ce.start();
    assert_eq!(arc.job_status(&id(1)).unwrap(), JobStatus::Completed);
}

#[test]
fn a_request_that_hangs_does_not_make_the_ce_dead() {
    let ce = Ce::new(SERVE);
    let arc = ce.arc(1);
    arc.job_status(&id(1)).unwrap();
    ce.set(Mode::SilentFor("/session"));
    for _ in 0..3 {
        let error = arc.save_job_outputs(&id(2)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        assert_eq!(arc.job_status(&id(1)).unwrap(), JobStatus::Completed);
    }
}

#[test]
fn calls_in_flight_are_cancelled_at_once() {
    let ce = Ce::new(SERVE);
    let arc = ce.arc(600);
    arc.job_status(&id(1)).unwrap();
    for first_contact in [false, true] {
        ce.set(Mode::Silent);
        ce.connections();
        let token = CancelToken::new();
        let shared = if first_contact { ce.arc(600) } else { arc.clone() };
        let cancelled = thread::scope(|scope| {
            let calls: Vec<_> = (0..50)
                .map(|number| {
                    let arc = shared.with_cancel(&token);
                    scope.spawn(move || match number % 3 {
                        0 => arc.job_status(&id(number)).map(drop),
                        1 => arc.save_job_outputs(&id(number)).map(drop),
                        _ => arc.clean_job(&id(number)),
                    })
                })
                .collect();
            // All connections are waiting for the CE, and most calls for a connection.
            while ce.count.connections.load(Ordering::Relaxed) < 7 {
                thread::sleep(Duration::from_millis(5));
            }
            thread::sleep(Duration::from_millis(200));
            assert!(calls.iter().all(|call| !call.is_finished()));
            let cancelled = Instant::now();
            token.cancel();
            for call in calls {
                let error = call.join().unwrap().unwrap_err();
                assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Cancelled, false), "{error}");
            }
            cancelled
        });
        assert!(cancelled.elapsed() < Duration::from_secs(5), "{:?}", cancelled.elapsed());
        // The interface remains usable.
        ce.set(SERVE);
        assert_eq!(shared.job_status(&id(1)).unwrap(), JobStatus::Completed);
        assert_eq!(shared.with_cancel(&token).job_status(&id(1)).unwrap_err().kind(), ErrorKind::Cancelled);
    }
}

#[test]
fn a_pause_before_a_retry_is_cancelled() {
    let ce = Ce::new(SERVE);
    let arc = ce.arc(600);
    arc.job_status(&id(1)).unwrap();
    ce.set(Mode::Busy(503, "300", 1));
    let token = CancelToken::new();
    let begun = Instant::now();
    thread::scope(|scope| {
        let call = scope.spawn(|| arc.with_cancel(&token).job_status(&id(1)));
        thread::sleep(Duration::from_millis(300));
        token.cancel();
        assert_eq!(call.join().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
    });
    took(begun, Duration::ZERO);
}

#[test]
fn a_deadline_bounds_the_whole_call() {
    let ce = Ce::new(SERVE);
    let arc = ce.arc(600);
    arc.job_status(&id(1)).unwrap();
    let deadline = Duration::from_secs(2);
    // Each request is in time, all of them are not.
    ce.set(Mode::Serve(Duration::from_millis(700)));
    let ids: Vec<JobId> = (0..20_000).map(id).collect();
    let begun = Instant::now();
    let statuses = arc.with_deadline(deadline).job_statuses(&ids).unwrap();
    took(begun, deadline);
    assert!(begun.elapsed() >= deadline, "{:?}", begun.elapsed());
    let late = statuses.iter().filter(|status| matches!(status, Err(Error::DeadlineExceeded { .. }))).count();
    assert!(statuses[0].is_ok() && late >= 1000, "{late}");
    let directory = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let saved = arc.with_deadline(deadline).save_jobs_outputs_to(&ids[..1000], directory.path()).unwrap();
    took(begun, deadline);
    let late = saved.iter().filter(|saved| matches!(saved, Err(Error::DeadlineExceeded { .. }))).count();
    assert!(saved[0].is_ok() && late >= 500, "{late}");
    // One request is not in time, or no connection is to be had.
    ce.set(Mode::Silent);
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let error = arc.with_deadline(deadline).job_status(&id(1)).unwrap_err();
                assert!(matches!(error, Error::DeadlineExceeded { deadline: set, .. } if set == deadline), "{error}");
                assert!(error.is_retryable());
            });
        }
    });
    took(begun, deadline);
    // That says nothing about the CE.
    ce.set(SERVE);
    assert_eq!(arc.job_status(&id(1)).unwrap(), JobStatus::Completed);
}

#[test]
fn a_certificate_that_the_ce_refuses_is_untrusted_and_not_tried_again() {
    let ce = Ce::with(SERVE, |acceptor| {
        acceptor.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    });
    let arc = ce.arc(30);
    ce.connections();
    for _ in 0..10 {
        let error = arc.job_status(&id(1)).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Untrusted, false), "{error}");
        assert!(error.to_string().contains("does not accept the certificate of this client"), "{error}");
        assert_eq!(ce.connections(), 1);
    }
}

#[test]
fn a_name_that_does_not_resolve_has_a_kind_of_its_own() {
    let ce = Ce::new(SERVE);
    ce.arc(30);
    let config = |ce: &Ce| ce.builder().build().unwrap().config().clone().with_arc_server("no-such-host.invalid");
    let arc = ArcInterface::builder().config(config(&ce)).no_retries().no_log().build().unwrap();
    let begun = Instant::now();
    let error = arc.with_deadline(Duration::from_secs(20)).job_status(&id(1)).unwrap_err();
    // Without a name server, nothing is known about the name.
    let kind = error.kind();
    assert!(matches!(kind, ErrorKind::HostNotFound | ErrorKind::ResolutionFailed), "{error}");
    assert_eq!(error.is_retryable(), kind == ErrorKind::ResolutionFailed);
    took(begun, Duration::from_secs(20));
}
