//! Every operation against an HTTPS server that plays A-REX, and answers wrongly on demand.
//!
//! The framing of responses is tested in `src/ffi/http_tests.rs`. These are the responses that are well framed and wrong.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use jasmin_arc::{
    ArcInterface, ConnectionConfig, Error, ErrorKind, Existing, InputFile, JobDescription, JobId, JobStatus, Protocol,
    Result,
};
use openssl::hash::MessageDigest;
use openssl::ssl::{SslAcceptor, SslMethod, SslStream, SslVerifyMode};
use openssl::x509::X509Req;
use tempfile::TempDir;

use tls::{Authority, LOCALHOST, new_key, user_home};

mod tls;

/// A request that the server has received.
#[derive(Clone, Debug)]
struct Request {
    method: String,
    /// Without the query.
    path: String,
    query: String,
    body: String,
    /// The first byte of the range and the one after its last, if there is one.
    range: Option<(usize, usize)>,
}

/// What the server sends. It closes the connection if the response ends with the connection.
type Respond = dyn Fn(&Request) -> Option<Vec<u8>> + Send + Sync;

/// A server that plays A-REX with one job that has ended, and one that runs.
struct Server {
    port: u16,
    authority: Authority,
    home: TempDir,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Returns the response to a request, or `None` for A-REX's.
    wrong: Mutex<Option<Box<Respond>>>,
    requests: Mutex<Vec<Request>>,
    connections: AtomicUsize,
}

const ENDED: &str = "ended";
const RUNNING: &str = "running";

fn response(code: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {code}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A-REX's response to a request, as far as the tests need it.
fn arex(request: &Request) -> Vec<u8> {
    let Request { method, path, query, body, .. } = request;
    let path = path.strip_prefix("/arex/rest").unwrap_or("/");
    let path = path.strip_prefix("/1.0/").or_else(|| path.strip_prefix("/1.1/")).unwrap_or(path);
    let state = |id: &str| if id == ENDED { "FINISHED" } else { "RUNNING" };
    let each = |code: &str, extra: &dyn Fn(&str) -> String| {
        let ids = body.split("<id>").skip(1).filter_map(|rest| rest.split_once("</id>")).map(|(id, _)| id);
        let jobs: String = ids
            .map(|id| {
                format!("<job><status-code>{code}</status-code><reason>OK</reason><id>{id}</id>{}</job>", extra(id))
            })
            .collect();
        response("201 Created", &format!("<jobs>{jobs}</jobs>"))
    };
    match (method.as_str(), path, query.as_str()) {
        ("GET", "", _) => response("200 OK", "<versions><version>1.0</version></versions>"),
        ("POST", "jobs", "action=status") => each("200", &|id| format!("<state>{}</state>", state(id))),
        ("POST", "jobs", "action=info") => each("200", &|id| {
            let state = state(id);
            format!(
                "<info_document><ComputingActivity><State>arcrest:{state}</State></ComputingActivity></info_document>"
            )
        }),
        ("POST", "jobs", "action=kill" | "action=clean") => each("202", &|_| String::new()),
        ("POST", "jobs", "action=new") => {
            let count = body.matches("ActivityDescription xmlns").count(); // ARC's plugin adds a prefix
            let job = |n| format!("<job><status-code>201</status-code><reason>Created</reason><id>new{n}</id></job>");
            response("201 Created", &format!("<jobs>{}</jobs>", (0..count).map(job).collect::<String>()))
        }
        ("GET", "jobs", _) => response("200 OK", "<jobs/>"),
        ("GET", "info", _) => response(
            "200 OK",
            "<InfoRoot><ComputingService><ComputingShare><Name>q</Name></ComputingShare></ComputingService></InfoRoot>",
        ),
        ("GET", "jobs/ended/session", _) => response("200 OK", "<list><file size=\"4\">stdout.txt</file></list>"),
        ("GET", "jobs/ended/session/stdout.txt", _) => response("200 OK", "done"),
        ("GET", path, _) if path.ends_with("/diagnose/status") => response("200 OK", "INLRMS"),
        ("PUT", ..) => response("200 OK", ""),
        _ => response("404 Not Found", ""),
    }
}

impl Server {
    fn new() -> Server {
        let authority = Authority::new();
        let home = user_home(&authority);
        let (key, certificate) = authority.issue(LOCALHOST);
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
        acceptor.set_private_key(&key).unwrap();
        acceptor.set_certificate(&certificate).unwrap();
        acceptor.set_verify(SslVerifyMode::NONE);
        let acceptor = acceptor.build();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let (acceptor, serving) = (acceptor.clone(), Arc::clone(&serving));
                serving.connections.fetch_add(1, Ordering::Relaxed);
                thread::spawn(move || {
                    if let Ok(stream) = acceptor.accept(stream) {
                        serve(&serving, stream);
                    }
                });
            }
        });
        Server { port, authority, home, shared }
    }

    /// A new interface for the server.
    fn interface(&self) -> ArcInterface {
        let path = |name: &str| self.home.path().join(name);
        let config = ConnectionConfig::default()
            .with_arc_server(format!("localhost:{}", self.port))
            .with_certs_dir(self.authority.directory.path())
            .with_client_cert(path("cert.pem"))
            .with_client_key(path("key.pem"))
            .with_proxy_file(path("proxy.pem"))
            .with_jobs_info_file(path("jobs.dat"));
        // Repeating the requests would only take time.
        let builder = ArcInterface::builder().config(config).timeout(Duration::from_secs(10)).no_retries();
        builder.no_log().build().unwrap()
    }

    fn respond(&self, wrong: impl Fn(&Request) -> Option<Vec<u8>> + Send + Sync + 'static) {
        *self.shared.wrong.lock().unwrap() = Some(Box::new(wrong));
    }

    fn respond_correctly(&self) {
        *self.shared.wrong.lock().unwrap() = None;
    }

    /// Returns the requests since the last call.
    fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.shared.requests.lock().unwrap())
    }
}

fn serve(shared: &Shared, mut stream: SslStream<TcpStream>) {
    while let Some(request) = read_request(&mut stream) {
        shared.requests.lock().unwrap().push(request.clone());
        let wrong = shared.wrong.lock().unwrap().as_ref().and_then(|wrong| wrong(&request));
        let response = wrong.unwrap_or_else(|| arex(&request));
        let ends_with_connection = !response.windows(15).take(2000).any(|part| part == b"Content-Length:");
        if stream.write_all(&response).is_err() || ends_with_connection {
            let _ = stream.shutdown();
            return;
        }
    }
}

fn read_request(stream: &mut impl Read) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.extend(byte);
    }
    let head = String::from_utf8(head).ok()?;
    let mut words = head.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let target =
        target.strip_prefix("https://").and_then(|rest| rest.find('/').map(|at| &rest[at..])).unwrap_or(target);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let length = |line: &str| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok();
    let mut body = vec![0; head.lines().find_map(length).unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    let body = String::from_utf8_lossy(&body).into_owned();
    let range = |line: &str| {
        let line = line.to_ascii_lowercase();
        let (first, last) = line.strip_prefix("range: bytes=")?.split_once('-')?;
        Some((first.parse().ok()?, last.trim().parse::<usize>().ok()? + 1))
    };
    let range = head.lines().find_map(range);
    Some(Request { method, path: path.trim_end_matches('/').to_owned(), query: query.to_owned(), body, range })
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operation {
    Submit,
    SubmitWithInput,
    Status,
    Details,
    Cancel,
    Clean,
    Save,
    Mismatches,
}

const OPERATIONS: [Operation; 8] = [
    Operation::Submit,
    Operation::SubmitWithInput,
    Operation::Status,
    Operation::Details,
    Operation::Cancel,
    Operation::Clean,
    Operation::Save,
    Operation::Mismatches,
];

impl Operation {
    /// Calls the operation. `place` does not exist yet.
    fn call(self, arc: &ArcInterface, place: &std::path::Path) -> Result<()> {
        let (ended, running) = (JobId::from(ENDED), JobId::from(RUNNING));
        let job = JobDescription::new("/bin/true");
        match self {
            Operation::Submit => arc.submit(&job).map(drop),
            Operation::SubmitWithInput => arc.submit(&job.with_input(InputFile::bytes("in", "data"))).map(drop),
            Operation::Status => arc.job_status(&running).map(|status| assert_ne!(status, JobStatus::Failed)),
            Operation::Details => arc.job(&running).map(drop),
            Operation::Cancel => arc.cancel_job(&running),
            Operation::Clean => arc.clean_job(&ended),
            Operation::Save => arc.save_job_outputs_to(&ended, place).map(|saved| {
                let saved = saved.expect("a wrong response says that the job has no outputs");
                assert_eq!(fs::read(saved.join("stdout.txt")).unwrap(), b"done");
            }),
            Operation::Mismatches => arc.mismatches(&job).map(|found| assert!(found.is_empty(), "{found:?}")),
        }
    }
}

/// What a wrong response must lead to.
struct Case {
    name: &'static str,
    response: Vec<u8>,
    kind: ErrorKind,
    is_retryable: bool,
}

fn cases(elsewhere: u16) -> Vec<Case> {
    let case = |name, response, kind, is_retryable| Case { name, response, kind, is_retryable };
    let invalid = |name, body: &str| case(name, response("200 OK", body), ErrorKind::InvalidResponse, true);
    let created = |name, body: &str| case(name, response("201 Created", body), ErrorKind::InvalidResponse, true);
    let refused = |name, code| case(name, response(code, "<html>no</html>"), ErrorKind::Refused, false);
    let later = |name, code| case(name, response(code, "later"), ErrorKind::Refused, true);
    let redirect = |code: &str| {
        format!("HTTP/1.1 {code}\r\nLocation: https://localhost:{elsewhere}/arex\r\nContent-Length: 0\r\n\r\n")
            .into_bytes()
    };
    let html = "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Sign in to continue</body></html>";
    let xhtml = "<html xmlns=\"http://www.w3.org/1999/xhtml\"><head/><body><p>Sign in</p></body></html>";
    let deep = ["<a>".repeat(50_000), "</a>".repeat(50_000)].concat();
    let deep_list = ["<jobs>", &"<job>".repeat(50_000)].concat();
    let huge = ["<jobs>", &"<job><id>x</id></job>".repeat(20_000), "</jobs>"].concat();
    let bomb = "<!DOCTYPE a [<!ENTITY b \"aaaaaaaaaa\"><!ENTITY c \"&b;&b;&b;&b;\">]><jobs>&c;</jobs>";
    vec![
        invalid("nothing with 200", ""),
        created("nothing with 201", ""),
        invalid("HTML with 200", html),
        created("HTML with 201", html),
        invalid("XHTML with 200", xhtml),
        created("XHTML with 201", xhtml),
        created("JSON", "{\"job\": []}"),
        created("garbage", "\u{1}\u{2}\u{fffd} <<<>>> &&& ]]>"),
        created("deep XML", &deep),
        invalid("deep XML with 200", &deep),
        created("a list that nests without end", &deep_list),
        created("a huge list of other jobs", &huge),
        invalid("a huge list of other jobs with 200", &huge),
        created("an XML bomb", bomb),
        created("truncated XML", "<jobs><job><status-code>200</status-code><id>runn"),
        case("401", response("401 Unauthorized", ""), ErrorKind::AccessDenied, false),
        case("403", response("403 Forbidden", "<html>no</html>"), ErrorKind::AccessDenied, false),
        case("no local user", response("500 User can't be assigned configuration", ""), ErrorKind::AccessDenied, false),
        refused("404", "404 Not Found"),
        refused("410", "410 Gone"),
        later("429", "429 Too Many Requests"),
        later("500", "500 Internal Server Error"),
        later("503", "503 Service Unavailable"),
        case("301", redirect("301 Moved Permanently"), ErrorKind::Refused, false),
        case("302", redirect("302 Found"), ErrorKind::Refused, false),
        case("307", redirect("307 Temporary Redirect"), ErrorKind::Refused, false),
    ]
}

#[test]
fn wrong_responses_are_errors_of_the_right_kind() {
    let elsewhere = &Server::new();
    let table = thread::scope(|scope| {
        // Looking for lost submissions takes time, so several servers share the cases.
        let shares = OPERATIONS.into_iter().flat_map(|operation| (0..SHARES).map(move |share| (operation, share)));
        let threads: Vec<_> =
            shares.map(|(operation, share)| scope.spawn(move || try_share(operation, share, elsewhere.port))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<String>>()
    });
    assert!(table.is_empty(), "\n{}", table.join("\n"));
    assert_eq!(elsewhere.shared.connections.load(Ordering::Relaxed), 0, "a redirect was followed");
}

const SHARES: usize = 4;

/// Tries an operation with a share of the wrong responses to its requests. Returns what went wrong.
fn try_share(operation: Operation, share: usize, elsewhere: u16) -> Vec<String> {
    let server = Server::new();
    let arc = server.interface();
    let mut wrong = Vec::new();
    for (index, case) in cases(elsewhere).into_iter().enumerate().filter(|(index, _)| index % SHARES == share) {
        let Case { name, response, kind, is_retryable } = case;
        operation.call(&arc, &server.home.path().join(format!("before {index}"))).unwrap();
        // The check that the CE responds, before a submission, gets a correct response.
        server.respond(move |request| (request.path != "/arex/rest").then(|| response.clone()));
        let begun = Instant::now();
        let result = operation.call(&arc, &server.home.path().join(format!("during {index}")));
        let elapsed = begun.elapsed();
        server.respond_correctly();
        let mut complain = |what: String| wrong.push(format!("{operation:?}, {name}: {what}"));
        match result {
            Ok(()) => complain("no error".into()),
            Err(Error::SubmissionUnknown { .. })
                if operation == Operation::Submit || operation == Operation::SubmitWithInput => {}
            Err(error) if (error.kind(), error.is_retryable()) == (kind, is_retryable) => {}
            Err(error) => complain(format!("{:?}, retryable: {}, {error}", error.kind(), error.is_retryable())),
        }
        // Reading the huge list several times takes a loaded machine 25 s.
        if elapsed > Duration::from_secs(90) {
            complain(format!("{elapsed:?}"));
        }
        if let Err(error) = operation.call(&arc, &server.home.path().join(format!("after {index}"))) {
            complain(format!("afterwards: {error:?}"));
        }
    }
    wrong
}

/// Whether a request is the one with an action.
fn is_action(request: &Request, action: &str) -> bool {
    request.query == format!("action={action}")
}

fn place(server: &Server) -> std::path::PathBuf {
    server.home.path().join("outputs")
}

#[test]
fn an_upload_counts_only_with_the_response_of_a_rex() {
    let server = Server::new();
    let arc = server.interface();
    for wrong in [
        response("200 OK", "<html><body>Sign in</body></html>"),
        response("202 Accepted", ""),
        response("204 No Content", ""),
        response("302 Found", ""),
        response("503 Service Unavailable", ""),
    ] {
        let shown = String::from_utf8_lossy(&wrong).into_owned();
        server.respond(move |request| (request.method == "PUT").then(|| wrong.clone()));
        let error = Operation::SubmitWithInput.call(&arc, &place(&server)).unwrap_err();
        assert!(matches!(&error, Error::JobSubmission { job_id: Some(_), .. }), "{shown}: {error:?}");
        let requests = server.requests();
        assert!(requests.iter().any(|request| is_action(request, "kill")), "{shown}: the job waits for its input");
    }
}

#[test]
fn a_file_that_arrives_short_is_no_output() {
    let server = Server::new();
    let arc = server.interface();
    for page in ["", "don", "<html>Sign in</html>"] {
        server.respond(move |request| request.path.ends_with("stdout.txt").then(|| response("200 OK", page)));
        let error = arc.save_job_outputs_to(&JobId::from(ENDED), place(&server)).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::OutputFile, true), "{page:?}: {error}");
        assert!(!place(&server).join("ended/stdout.txt").exists());
    }
}

/// The head of a response with a part of a file.
fn part_head(first: usize, end: usize, size: usize) -> String {
    let (last, length) = (end - 1, end - first);
    format!(
        "HTTP/1.1 206 Partial content\r\nContent-Range: bytes {first}-{last}/{size}\r\nContent-Length: {length}\r\n\r\n"
    )
}

/// Lets the job that has ended have a file of this size, and responds with `file` to the requests for it.
fn respond_with_file(server: &Server, size: usize, file: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) {
    const FILE: &str = "/arex/rest/1.0/jobs/ended/session/stdout.txt";
    server.respond(move |request| match (request.method.as_str(), request.path.as_str()) {
        ("PROPFIND", path) => {
            let size =
                format!("<d:propstat><d:prop><d:getcontentlength>{size}</d:getcontentlength></d:prop></d:propstat>");
            let one = |url: &str| format!("<d:response><d:href>{url}</d:href>{size}</d:response>");
            let all = if path == FILE { one(path) } else { [one(path), one(FILE)].concat() };
            Some(response("200 OK", &format!("<d:multistatus xmlns:d=\"DAV:\">{all}</d:multistatus>")))
        }
        ("GET", FILE) => Some(file(request)),
        ("GET", "/arex/rest/1.0/jobs/ended/session") => {
            Some(response("200 OK", &format!("<list><file size=\"{size}\">stdout.txt</file></list>")))
        }
        ("GET", path) if path.ends_with("ended/diagnose/status") => Some(response("200 OK", "FINISHED")),
        _ => None,
    });
}

#[test]
fn wrong_responses_do_not_cost_what_is_kept_of_a_file() {
    const SIZE: usize = 600_000;
    let content: Vec<u8> = (0..SIZE).map(|n| b'a' + (n % 23) as u8).collect();
    let server = Server::new();
    let arc = server.interface();
    let fetch = || {
        let fetch = arc.fetch([&JobId::from(ENDED)]).to(place(&server)).existing(Existing::Resume);
        fetch.run().unwrap().remove(0).map(|job| job.bytes)
    };
    let kept = || {
        let entries = fs::read_dir(place(&server).join("ended/.partial-resume"));
        entries.map_or(0, |entries| entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum())
    };
    // The connection ends in the middle. The server recognises that by the other spelling.
    let head = part_head(0, SIZE, SIZE).replace("Content-Length:", "content-length:");
    let half = [head.as_bytes(), &content[..SIZE / 2]].concat();
    respond_with_file(&server, SIZE, move |_| half.clone());
    fetch().unwrap_err();
    assert_eq!(kept(), SIZE as u64 / 2);
    for wrong in [
        response("404 Not Found", ""),
        response("403 Forbidden", ""),
        response("200 OK", "<html>Sign in</html>"),
        response("503 Service Unavailable", ""),
        b"garbage".to_vec(),
    ] {
        let shown = String::from_utf8_lossy(&wrong).into_owned();
        respond_with_file(&server, SIZE, move |_| wrong.clone());
        let result = fetch();
        assert!(!matches!(result, Ok(bytes) if bytes > 0), "{shown}: {result:?}");
        assert_eq!(kept(), SIZE as u64 / 2, "{shown}");
    }
    let ranges = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ranges);
    let whole = content.clone();
    respond_with_file(&server, SIZE, move |request| {
        let (first, end) = request.range.unwrap();
        seen.lock().unwrap().push((first, end));
        [part_head(first, end, SIZE).as_bytes(), &whole[first..end]].concat()
    });
    assert!(matches!(fetch(), Ok(bytes) if bytes == SIZE as u64));
    assert_eq!(*ranges.lock().unwrap(), [(SIZE / 2 - (64 << 10), SIZE / 2), (SIZE / 2, SIZE)]);
    assert!(fs::read(place(&server).join("ended/stdout.txt")).unwrap() == content);
}

#[test]
fn a_job_stays_on_the_ce_unless_its_file_has_arrived() {
    let server = Server::new();
    let arc = server.interface();
    // Fetches the file with a response to the request for it, and returns whether the job is removed.
    let removes = |file: Vec<u8>| {
        respond_with_file(&server, 4, move |_| file.clone());
        server.requests();
        let fetch = arc.fetch([&JobId::from(ENDED)]).files(["stdout.txt"]).to(place(&server)).remove_when_complete();
        let result = fetch.run().unwrap().remove(0);
        let is_here = place(&server).join("ended/stdout.txt").exists();
        let is_removed = server.requests().iter().any(|request| is_action(request, "clean"));
        assert_eq!(is_here, is_removed, "{result:?}");
        is_removed
    };
    for wrong in [
        response("200 OK", "<html>Sign in</html>"),
        response("200 OK", "don"),
        response("200 OK", "done and more"),
        response("204 No Content", ""),
        response("302 Found", ""),
        response("403 Forbidden", ""),
        response("404 Not Found", ""),
        response("416 Range not satisfiable", ""),
        response("503 Service Unavailable", ""),
        [part_head(0, 4, 4).as_bytes(), b"done"].concat(),
        [part_head(0, 2, 4).as_bytes(), b"do"].concat(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndo".to_vec(),
        b"HTTP/1.1 200 OK\r\n\r\ndone".to_vec(),
    ] {
        assert!(!removes(wrong.clone()), "{}", String::from_utf8_lossy(&wrong));
    }
    assert!(removes(response("200 OK", "done")));
}

#[test]
fn a_wrong_first_response_decides_nothing() {
    let server = Server::new();
    let id = JobId::from(RUNNING);
    for wrong in [
        response("200 OK", "<html><body>Sign in</body></html>"),
        response("200 OK", ""),
        response("200 OK", "<html xmlns=\"http://www.w3.org/1999/xhtml\"/>"),
        response("401 Unauthorized", ""),
        response("403 Forbidden", ""),
        response("302 Found", ""),
        response("500 Internal Server Error", ""),
        response("503 Service Unavailable", ""),
        b"garbage".to_vec(),
    ] {
        let arc = server.interface();
        let shown = String::from_utf8_lossy(&wrong).into_owned();
        server.respond(move |_| Some(wrong.clone()));
        arc.job_status(&id).unwrap_err();
        server.respond_correctly();
        server.requests();
        let recovered = (0..100).any(|_| {
            thread::sleep(Duration::from_millis(100));
            arc.job_status(&id).is_ok()
        });
        assert!(recovered, "{shown}");
        assert!(server.requests().iter().all(|request| request.path.starts_with("/arex/rest")), "{shown}");
    }
}

/// The response to a request for the versions of REST.
fn only_version_2(request: &Request) -> Option<Vec<u8>> {
    let list = "<versions><version>2.0</version></versions>";
    (request.path == "/arex/rest").then(|| response("200 OK", list))
}

#[test]
fn a_ce_with_other_versions_of_rest_is_used_through_the_plugin_of_arc() {
    let server = Server::new();
    let with = |protocol| {
        let config = server.interface().config().clone().with_interface(protocol);
        let builder = ArcInterface::builder().config(config).timeout(Duration::from_secs(10)).no_retries();
        builder.no_log().build().unwrap()
    };
    // The installed ARC asks for version 1.0, which this CE serves without listing it.
    server.respond(only_version_2);
    let arc = server.interface();
    assert_eq!(arc.job_status(&JobId::from(RUNNING)).unwrap(), JobStatus::InProgress);
    assert_eq!(arc.job_status(&JobId::from(ENDED)).unwrap(), JobStatus::Completed);
    let is_from_plugin = |request: &Request| request.path == "/arex/rest/1.0/jobs" && request.query == "action=info";
    assert!(server.requests().iter().filter(|request| is_from_plugin(request)).count() >= 2);
    let error = arc.list_jobs().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let unknown = "<jobs><job><status-code>404</status-code><reason>Job not found</reason><id>none</id></job></jobs>";
    server.respond(move |request| is_action(request, "info").then(|| response("201 Created", unknown)));
    let error = arc.job_status(&JobId::from("none")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::JobNotFound, "{error}");
    for (code, kind) in [("401 No", ErrorKind::AccessDenied), ("503 Later", ErrorKind::Refused)] {
        server.respond(move |request| is_action(request, "info").then(|| response(code, "")));
        let error = arc.job_status(&JobId::from(RUNNING)).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    // This one does not, and nothing installed knows version 2.0.
    server.respond(|request| only_version_2(request).or_else(|| Some(response("404 Version Not Supported", ""))));
    let job = JobDescription::new("/bin/true");
    for protocol in [Protocol::Auto, Protocol::ArcRest] {
        let arc = with(protocol);
        for error in [arc.job_status(&JobId::from(RUNNING)).unwrap_err(), arc.submit(&job).unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::NoTargetsAvailable, "{protocol}: {error}");
            assert!(error.to_string().contains("only version 2.0"), "{protocol}: {error}");
            assert!(error.hint().is_some_and(|hint| hint.starts_with("update")), "{protocol}: {error}");
        }
    }
    // With the plugin by configuration, nobody asks for the versions.
    let arc = with(Protocol::ArcRestPlugin);
    server.requests();
    let error = arc.job_status(&JobId::from(RUNNING)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert!(server.requests().iter().all(|request| request.path != "/arex/rest"));
}

/// A-REX's responses to what the plugin of ARC sends for a submission, besides those of [`arex`].
fn arex_for_plugin(port: u16) -> impl Fn(&Request) -> Option<Vec<u8>> + Clone {
    let mut certificate_request = X509Req::builder().unwrap();
    let key = new_key();
    certificate_request.set_pubkey(&key).unwrap();
    certificate_request.sign(&key, MessageDigest::sha256()).unwrap();
    let certificate_request = String::from_utf8(certificate_request.build().to_pem().unwrap()).unwrap();
    let service = format!(
        "<InfoRoot><Domains><AdminDomain><Services><ComputingService><ComputingEndpoint>\
         <URL>https://localhost:{port}/arex</URL><Capability>executionmanagement.jobcreation</Capability>\
         <InterfaceName>org.nordugrid.arcrest</InterfaceName></ComputingEndpoint>\
         <ComputingShare><Name>q</Name></ComputingShare></ComputingService></Services></AdminDomain></Domains></InfoRoot>"
    );
    move |request| match (request.method.as_str(), request.path.strip_prefix("/arex/rest/1.0/")?) {
        ("GET", "info") => Some(response("200 OK", &service)),
        ("POST", "delegations") => {
            let place = format!("201 Created\r\nLocation: https://localhost:{port}/arex/rest/1.0/delegations/d");
            Some(response(&place, &certificate_request))
        }
        _ => None,
    }
}

#[test]
fn a_submission_through_the_plugin_of_arc_loses_no_job() {
    let server = Server::new();
    let arc = {
        let config = server.interface().config().clone().with_interface(Protocol::ArcRestPlugin);
        let builder = ArcInterface::builder().config(config).timeout(Duration::from_secs(10)).no_retries();
        builder.no_log().build().unwrap()
    };
    let job = |key: &str| JobDescription::new("/bin/true").with_key(key);
    let arex = arex_for_plugin(server.port);

    server.respond(arex.clone());
    let id = arc.submit(&job("complete")).unwrap();
    assert_eq!(id.as_str(), format!("https://localhost:{}/arex/rest/1.0/jobs/new0", server.port));
    assert_eq!(arc.submit(&job("complete")).unwrap(), id);

    let normal = arex.clone();
    server.respond(move |request| {
        normal(request).or_else(|| is_action(request, "new").then(|| response("500 No more jobs allowed", "")))
    });
    let error = arc.submit(&job("limit")).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::JobLimit, true), "{error}");

    let normal = arex.clone();
    server.respond(move |request| normal(request).or_else(|| is_action(request, "new").then(Vec::new)));
    let error = arc.submit(&job("lost")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SubmissionUnknown, "{error}");

    server.respond(move |request| {
        let is_upload = request.method == "PUT" && request.path.contains("/session/");
        arex(request).or_else(|| is_upload.then(|| response("507 Insufficient Storage", "")))
    });
    server.requests();
    let error = arc.submit(&job("incomplete").with_input(InputFile::bytes("in", "data"))).unwrap_err();
    let Error::JobSubmission { job_id, .. } = &error else { panic!("{error:?}") };
    assert_eq!(job_id.as_ref(), Some(&id), "{error}");
    assert!(server.requests().iter().any(|request| is_action(request, "kill")), "{error}");
}

#[test]
fn a_ce_at_its_job_limit_is_a_retryable_error() {
    let server = Server::new();
    let arc = server.interface();
    let jobs =
        [JobDescription::new("/bin/true").with_key("first"), JobDescription::new("/bin/true").with_key("second")];
    // The whole request.
    server.respond(|request| is_action(request, "new").then(|| response("500 No more jobs allowed", "")));
    let errors: Vec<Error> = match arc.submit_jobs(&jobs) {
        Ok(results) => results.into_iter().map(Result::unwrap_err).collect(),
        Err(error) => vec![error],
    };
    for error in errors {
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::JobLimit, true), "{error}");
    }
    // One of two jobs, as ARC 7 responds.
    let one = "<jobs><job><status-code>201</status-code><reason>Created</reason><id>new1</id></job>\
               <job><status-code>500</status-code><reason>No more jobs allowed</reason></job></jobs>";
    server.respond(move |request| is_action(request, "new").then(|| response("201 Created", one)));
    let mut results = arc.submit_jobs(&jobs).unwrap().into_iter();
    assert_eq!(results.next().unwrap().unwrap().local_id(), "new1");
    let error = results.next().unwrap().unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::JobLimit, true), "{error}");
    // Later there is room, and the key of the refused job is free.
    server.respond_correctly();
    arc.submit(&jobs[1]).unwrap();
}

#[test]
fn texts_that_are_no_ids_are_no_jobs_of_a_watch() {
    let server = Server::new();
    server.respond(|request| {
        let ids = ["", "../x", "a b", "a&#10;", "https://ce.example.org/arex/rest/1.0/jobs/b", RUNNING];
        let job = |id| format!("<job><id>{id}</id><state>RUNNING</state></job>");
        let list = || response("200 OK", &format!("<jobs>{}</jobs>", ids.map(job).concat()));
        (request.method == "GET" && request.path.ends_with("/jobs")).then(list)
    });
    let report = server.interface().watch_all().deadline(Duration::from_secs(3)).wait().unwrap();
    let ids: Vec<&str> = report.jobs.iter().map(|job| job.id.local_id()).collect();
    assert_eq!(ids, [RUNNING], "{report:?}");
}

#[test]
fn lost_orders_to_cancel_are_repeated() {
    let server = Server::new();
    let arc = server.interface();
    let ids: Vec<JobId> = ["lost", "kept", "old", "gone"].map(JobId::from).into();
    // A-REX has just accepted all but one of the jobs. After the first order, its record says that it has kept one order
    // of three: "lost" is being prepared as if nothing was said, and "gone" is between two directories.
    server.respond(|request| {
        let published = |id: &str| if id == "old" { "RUNNING" } else { "ACCEPTED" };
        let status = |id: &str| {
            let state = published(id);
            format!("<job><status-code>200</status-code><id>{id}</id><state>{state}</state></job>")
        };
        match request.path.rsplit_once("/jobs") {
            Some((_, "")) if is_action(request, "status") => {
                let jobs: String = ["lost", "kept", "old", "gone"].map(status).concat();
                Some(response("201 Created", &format!("<jobs>{jobs}</jobs>")))
            }
            Some((_, "/lost/diagnose/status")) => Some(response("200 OK", "PREPARING")),
            Some((_, "/kept/diagnose/status")) => Some(response("200 OK", "CANCELING")),
            Some((_, "/gone/diagnose/status")) => Some(response("404 Not Found", "")),
            _ => None,
        }
    });
    let cancel = |ids: &[JobId]| {
        server.requests();
        arc.cancel_jobs(ids).unwrap().into_iter().for_each(|cancelled| cancelled.unwrap());
        let orders = server.requests().into_iter().filter(|request| is_action(request, "kill"));
        orders.map(|request| request.body).collect::<Vec<_>>()
    };
    let orders = cancel(&ids);
    assert_eq!(orders.len(), 2, "{orders:?}");
    assert_eq!(orders[1], "<jobs><job><id>lost</id></job><job><id>gone</id></job></jobs>");
    // An order that A-REX has kept, and one for a job that it accepted long ago, cost nothing more.
    assert_eq!(cancel(&ids[1..3]).len(), 1);
    let count = |ids: &[JobId]| {
        cancel(ids);
        server.requests();
        arc.cancel_jobs(ids).unwrap();
        server.requests().len()
    };
    assert_eq!((count(&ids[2..3]), count(&ids[1..2]), count(&ids[..1])), (2, 3, 4));
    // Without the record, the crate does not know whether the order holds.
    server.respond(|request| match request.path.ends_with("/diagnose/status") {
        true => Some(response("503 Service Unavailable", "")),
        false if is_action(request, "status") => {
            let job = "<job><status-code>200</status-code><id>lost</id><state>ACCEPTED</state></job>";
            Some(response("201 Created", &format!("<jobs>{job}</jobs>")))
        }
        false => None,
    });
    assert!(arc.cancel_job(&ids[0]).unwrap_err().is_retryable());
}
