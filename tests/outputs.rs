//! Outputs stay where they belong: what a hostile or broken CE can make of the outputs of a job. The CEs are TLS servers
//! of the test that play A-REX.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jasmin_arc::{
    ArcInterface, ConnectionConfig, Error, ErrorKind, InputFile, JobDescription, JobId, LeftOutReason, SavedOutputs,
};
use openssl::ssl::SslStream;
use tempfile::TempDir;

use tls::{Authority, LOCALHOST, tls_server};

mod tls;

/// What a CE responds to a request.
#[derive(Clone)]
struct Answer {
    code: u16,
    /// The head says this length, or nothing about it for a chunked body.
    length: Option<u64>,
    body: Vec<u8>,
    /// How often the body is sent.
    times: u64,
    /// Whether the server falls silent before the announced end, instead of closing the connection.
    stalls: bool,
}

fn answer(code: u16, body: impl Into<Vec<u8>>) -> Answer {
    let body = body.into();
    Answer { code, length: Some(body.len() as u64), body, times: 1, stalls: false }
}

fn ok(body: impl Into<Vec<u8>>) -> Answer {
    answer(200, body)
}

/// A body of zeros that is sent until the client closes the connection.
fn endless(length: Option<u64>) -> Answer {
    Answer { code: 200, length, body: vec![0; 16384], times: u64::MAX, stalls: false }
}

impl Answer {
    fn send(&self, stream: &mut SslStream<TcpStream>) -> std::io::Result<u64> {
        let framing = match self.length {
            Some(length) => format!("Content-Length: {length}"),
            None => "Transfer-Encoding: chunked".into(),
        };
        stream.write_all(format!("HTTP/1.1 {} Reason\r\n{framing}\r\n\r\n", self.code).as_bytes())?;
        for sent in 0..self.times {
            if self.length.is_none() {
                stream.write_all(format!("{:x}\r\n", self.body.len()).as_bytes())?;
            }
            let announced = self.length.filter(|_| self.times == 1).map_or(self.body.len(), |length| length as usize);
            let (body, surplus) = self.body.split_at(announced.min(self.body.len()));
            if stream.write_all(body).is_err() {
                return Ok(sent);
            }
            if !surplus.is_empty() {
                std::thread::sleep(Duration::from_millis(200));
                let _ = stream.write_all(surplus);
            }
            if self.length.is_none() {
                stream.write_all(b"\r\n")?;
            }
        }
        if self.length.is_none() {
            stream.write_all(b"0\r\n\r\n")?;
        }
        let all = self.times.saturating_mul(self.body.len() as u64);
        if self.length.is_some_and(|length| length > all) {
            if self.stalls {
                std::thread::sleep(Duration::from_secs(600));
            }
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(self.times)
    }
}

type Respond = dyn Fn(&str, &str) -> Answer + Send + Sync;

/// A CE with one job, and a user.
struct Ce {
    arc: ArcInterface,
    id: JobId,
    home: TempDir,
    requests: Arc<Mutex<Vec<String>>>,
    _authority: Authority,
}

impl Ce {
    /// `respond` gets the method and the path below the session directory. The job has the state `state`.
    fn new(state: &'static str, respond: impl Fn(&str, &str) -> Answer + Send + Sync + 'static) -> Ce {
        let authority = Authority::new();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let respond: Arc<Respond> = Arc::new(respond);
        let log = Arc::clone(&requests);
        let serve = move |stream| {
            let (respond, log) = (Arc::clone(&respond), Arc::clone(&log));
            std::thread::spawn(move || serve(stream, state, &*respond, &log));
        };
        let (port, clients) = tls_server(authority.issue(LOCALHOST), serve);
        std::mem::forget(clients); // the server ends when nobody receives what `serve` returns
        let home = tempfile::tempdir().unwrap();
        let token = home.path().join("token");
        fs::write(&token, "token").unwrap();
        fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
        let config = ConnectionConfig::default()
            .with_arc_server(format!("localhost:{port}"))
            .with_certs_dir(authority.directory.path())
            .with_token_file(token)
            .with_proxy_file(home.path().join("proxy.pem"))
            .with_jobs_info_file(home.path().join("jobs.dat"));
        let arc = ArcInterface::builder().config(config).timeout(Duration::from_secs(10)).build().unwrap();
        let id = JobId::from(format!("https://localhost:{port}/arex/rest/1.0/jobs/thejob"));
        Ce { arc, id, home, requests, _authority: authority }
    }

    /// A CE whose session directory has these entries. A path without an answer is not found.
    fn with(state: &'static str, answers: impl IntoIterator<Item = (&'static str, Answer)>) -> Ce {
        let answers: HashMap<&str, Answer> = answers.into_iter().collect();
        let not_found = answer(404, "");
        Ce::new(state, move |method, path| {
            answers.get(format!("{method} {path}").as_str()).unwrap_or(&not_found).clone()
        })
    }

    fn results(&self) -> PathBuf {
        self.home.path().join("results")
    }

    /// The directory of the job's outputs.
    fn directory(&self) -> PathBuf {
        self.results().join("thejob")
    }

    fn save(&self) -> jasmin_arc::Result<Option<SavedOutputs>> {
        self.arc.save_job_outputs_to(&self.id, self.results())
    }

    fn saved(&self) -> SavedOutputs {
        self.save().unwrap().expect("outputs")
    }

    /// The names in the directory of the outputs.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The number of requests that contain a text.
    fn requested(&self, text: &str) -> usize {
        self.requests.lock().unwrap().iter().filter(|request| request.contains(text)).count()
    }
}

/// Serves one connection.
fn serve(mut stream: SslStream<TcpStream>, state: &str, respond: &Respond, log: &Mutex<Vec<String>>) {
    let mut received = Vec::new();
    let mut buffer = [0; 65536];
    loop {
        let head = loop {
            let end = received.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(end) = end {
                break String::from_utf8_lossy(&received.drain(..end + 4).collect::<Vec<_>>()).into_owned();
            }
            match stream.read(&mut buffer) {
                Ok(size) if size > 0 => received.extend(&buffer[..size]),
                _ => return,
            }
        };
        let length = |line: &str| line.to_lowercase().strip_prefix("content-length: ")?.trim().parse::<usize>().ok();
        let length = head.lines().find_map(length).unwrap_or(0);
        while received.len() < length {
            match stream.read(&mut buffer) {
                Ok(size) if size > 0 => received.extend(&buffer[..size]),
                _ => return,
            }
        }
        received.drain(..length);
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        log.lock().unwrap().push(format!("{method} {path}"));
        let path = path.split_once("/arex/rest").map_or(path, |(_, path)| path);
        let path = path.strip_prefix("/1.0/").unwrap_or(path);
        let answer = match (method, path.split_once("/session")) {
            (_, Some((_, file))) => respond(method, file.trim_start_matches('/')),
            ("GET", None) if path.is_empty() => ok("<versions><version>1.0</version></versions>"),
            ("GET", None) if path.ends_with("/diagnose/status") => match state {
                "FINISHED" => ok("FINISHED\n"),
                "WIPED" => ok("DELETED\n"),
                _ => ok("INLRMS\n"),
            },
            ("POST", None) if path.starts_with("jobs?action=new") => answer(201, item(201, "thejob", "ACCEPTING")),
            ("POST", None) if path.starts_with("jobs?action=status") && state.is_empty() => {
                answer(201, item(404, "thejob", "None"))
            }
            ("POST", None) if path.starts_with("jobs?action=status") => answer(201, item(200, "thejob", state)),
            ("POST", None) if path.starts_with("jobs?action=kill") => answer(201, item(202, "thejob", state)),
            _ => answer(404, ""),
        };
        if !matches!(answer.send(&mut stream), Ok(times) if times == answer.times) {
            return;
        }
    }
}

fn item(code: u16, id: &str, state: &str) -> String {
    format!(
        "<jobs><job><status-code>{code}</status-code><reason>OK</reason><id>{id}</id><state>{state}</state></job></jobs>"
    )
}

fn listing(files: &[(&str, u64)], directories: &[&str]) -> Vec<u8> {
    let escaped = |name: &str| name.replace('&', "&amp;").replace('<', "&lt;");
    let mut list = String::from("<list>");
    for (name, size) in files {
        list += &format!("<file size=\"{size}\">{}</file>", escaped(name));
    }
    for name in directories {
        list += &format!("<dir>{}</dir>", escaped(name));
    }
    (list + "</list>").into_bytes()
}

/// The response to a PROPFIND of a directory. An entry is a name, and its size if it is a file.
fn properties(entries: &[(&str, Option<u64>)]) -> Vec<u8> {
    let collection = "<d:resourcetype><d:collection/></d:resourcetype>";
    let response = |url: &str, properties: &str| {
        format!(
            "<d:response><d:href>file:/x{url}</d:href><d:propstat><d:prop><d:displayname/>{properties}</d:prop>\
             <d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
        )
    };
    let mut all = response("/", collection);
    for (name, size) in entries {
        all += &match size {
            Some(size) => response(&format!("/{name}"), &format!("<d:getcontentlength>{size}</d:getcontentlength>")),
            None => response(&format!("/{name}/"), collection),
        };
    }
    format!("<?xml version=\"1.0\"?><d:multistatus xmlns:d=\"DAV:\">{all}</d:multistatus>").into_bytes()
}

/// The response to a PROPFIND of a file.
fn file_properties(size: u64) -> Answer {
    let entry = format!("<d:propstat><d:prop><d:getcontentlength>{size}</d:getcontentlength></d:prop></d:propstat>");
    ok(format!("<d:multistatus><d:response><d:href>file:/x/f</d:href>{entry}</d:response></d:multistatus>"))
}

fn nothing() -> Answer {
    ok("<d:multistatus><d:response><d:href>file:/x/f</d:href><d:status>HTTP/1.1 404 Not Found</d:status></d:response>\
        </d:multistatus>")
}

fn left_out(saved: &SavedOutputs) -> Vec<(&str, LeftOutReason)> {
    let mut all: Vec<_> = saved.left_out.iter().map(|one| (one.path.to_str().unwrap(), one.reason)).collect();
    all.sort_by_key(|(path, _)| *path);
    all
}

#[test]
fn names_that_lead_elsewhere_are_left_out_and_never_requested() {
    let long = "n".repeat(256);
    let longer = "n".repeat(4096);
    let evil =
        ["/tmp/evil", "../evil", "a/../../evil", "..", ".", "", "tab\there", "line\nbreak", "del\x7f", &long, &longer];
    let files: Vec<(&str, u64)> = evil.iter().map(|name| (*name, 1)).chain([("fine", 1)]).collect();
    let list = listing(&files, &[".", "..", "/", "../up", "a/b", &long]);
    let ce = Ce::new("FINISHED", move |method, path| match (method, path) {
        ("GET", "") => ok(list.clone()),
        ("GET", "fine") => ok("x"),
        _ => answer(404, ""),
    });
    let saved = ce.saved();
    assert_eq!((saved.files, saved.bytes), (1, 1));
    assert_eq!(ce.names(), ["fine"]);
    let reasons = |reason| saved.left_out.iter().filter(|left_out| left_out.reason == reason).count();
    assert_eq!(reasons(LeftOutReason::UnsafeName), 9 + 5);
    assert_eq!(reasons(LeftOutReason::NameTooLong), 2 + 1);
    // The listing, what it leaves out, and the file.
    assert_eq!(ce.requested("/session"), 3, "{:?}", ce.requests);
    let around = fs::read_dir(ce.home.path()).unwrap().flatten();
    assert!(!around.into_iter().any(|entry| entry.file_name().to_string_lossy().contains("evil")));
}

#[test]
fn what_the_ce_does_not_list_or_give_is_reported() {
    let ce = Ce::with(
        "FINISHED",
        [
            (
                "GET ",
                ok(listing(
                    &[("fine", 1), ("secret", 5), ("denied", 5), ("gone", 5)],
                    &["closed", "hidden", "removed"],
                )),
            ),
            (
                "PROPFIND ",
                ok(properties(&[
                    ("fine", Some(1)),
                    ("secret", Some(5)),
                    ("denied", Some(5)),
                    ("gone", Some(5)),
                    ("closed", None),
                    ("hidden", None),
                    ("removed", None),
                    ("link", Some(7)),
                    ("linked", None),
                ])),
            ),
            ("GET fine", ok("x")),
            ("GET secret", answer(404, "")),
            ("PROPFIND secret", file_properties(5)),
            ("GET denied", answer(403, "")),
            ("PROPFIND denied", file_properties(5)),
            ("PROPFIND closed", ok(properties(&[]))),
            ("GET hidden", ok("<list/>")),
            ("PROPFIND hidden", ok(properties(&[("inside", Some(3))]))),
            ("PROPFIND removed", nothing()),
        ],
    );
    let error = ce.save().unwrap_err();
    // The job has ended, so its listed file must be there. The CE still lists it.
    assert!(matches!(&error, Error::OutputFile { path, .. } if path.ends_with("thejob/gone")), "{error:?}");
    assert_eq!(ce.names(), ["fine"]);

    let ce = Ce::with(
        "RUNNING",
        [
            ("GET ", ok(listing(&[("fine", 1), ("secret", 5), ("gone", 5)], &["closed", "hidden", "removed"]))),
            (
                "PROPFIND ",
                ok(properties(&[
                    ("fine", Some(1)),
                    ("secret", Some(5)),
                    ("gone", Some(5)),
                    ("closed", None),
                    ("hidden", None),
                    ("removed", None),
                    ("link", Some(7)),
                    ("linked", None),
                ])),
            ),
            ("GET fine", ok("x")),
            ("PROPFIND secret", file_properties(5)),
            ("PROPFIND gone", nothing()),
            ("PROPFIND closed", ok(properties(&[]))),
            ("GET hidden", ok("<list/>")),
            ("PROPFIND hidden", ok(properties(&[("inside", Some(3))]))),
            ("PROPFIND removed", nothing()),
        ],
    );
    let saved = ce.saved();
    assert_eq!(
        left_out(&saved),
        [
            ("closed", LeftOutReason::Unreadable),
            ("gone", LeftOutReason::Removed),
            ("hidden/inside", LeftOutReason::NotListed),
            ("link", LeftOutReason::SymbolicLink),
            ("linked", LeftOutReason::SymbolicLink),
            ("removed", LeftOutReason::Removed),
            ("secret", LeftOutReason::Unreadable),
        ]
    );
    assert_eq!((saved.files, saved.bytes), (1, 1));

    // Only a link: the job has an output.
    let ce = Ce::with("FINISHED", [("GET ", ok("<list/>")), ("PROPFIND ", ok(properties(&[("link", Some(7))])))]);
    assert_eq!(ce.saved().files, 0);
    let directory = ce.arc.save_job_outputs(&ce.id).unwrap().expect("an output");
    fs::remove_dir(directory).unwrap();
}

#[test]
fn only_a_listing_says_that_there_are_no_outputs() {
    let no_outputs = |state, get: Answer, propfind: Answer| {
        let ce = Ce::with(state, [("GET ", get), ("PROPFIND ", propfind)]);
        let saved = ce.arc.save_job_outputs(&ce.id);
        match ce.save() {
            Ok(None) => assert!(matches!(saved, Ok(None))),
            Ok(Some(saved)) => panic!("{saved:?}"),
            Err(error) => {
                assert_eq!(saved.unwrap_err().kind(), error.kind());
                return Err(error);
            }
        }
        assert!(!ce.directory().exists());
        Ok(())
    };
    let empty = || ok("<list/>");
    no_outputs("FINISHED", empty(), ok(properties(&[]))).unwrap();
    no_outputs("FINISHED", empty(), answer(501, "")).unwrap();
    no_outputs("WIPED", answer(404, ""), nothing()).unwrap();
    let error = no_outputs("", answer(404, ""), answer(404, "")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::JobNotFound);
    // A-REX has too many open files, or its helper process ended.
    for state in ["FINISHED", "RUNNING", "PREPARING", "nonsense"] {
        let error = no_outputs(state, answer(404, ""), nothing()).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::JobOperation, false), "{error}");
        assert!(error.to_string().contains("session directory"), "{error}");
    }
    for get in [
        ok(""),
        ok("<html><body>Welcome</body></html>"),
        ok("[]"),
        ok("<list>"),
        ok("<list><file>a</file>"),
        ok("<jobs/>"),
        answer(201, "<list/>"),
        answer(202, "<list/>"),
        answer(204, ""),
        answer(301, "<list/>"),
        answer(400, ""),
        answer(401, ""),
        answer(403, ""),
        answer(500, ""),
        answer(503, ""),
    ] {
        no_outputs("FINISHED", get, ok(properties(&[]))).unwrap_err();
    }
}

#[test]
fn sizes_must_be_equal_once_the_job_has_ended() {
    let listed = |files: &[(&str, u64)]| [("GET ", ok(listing(files, &[])))];
    let error = |ce: &Ce, name: &str, text: &str| {
        let error = ce.save().unwrap_err();
        let Error::OutputFile { path, source: None, .. } = &error else { panic!("{error:?}") };
        assert!(path.ends_with(format!("thejob/{name}")) && error.to_string().contains(text), "{error}");
        assert_eq!((error.is_retryable(), ce.names()), (true, vec!["other".to_owned()]), "{error}");
    };
    let other = || ("GET other", ok("12345"));
    for (content, text) in [
        (ok("123"), "only 3 bytes arrived"),
        (ok(""), "only 0 bytes arrived"),
        (ok("123456"), "sends more than it lists"),
        (endless(None), "sends more than it lists"),
        (endless(Some(1 << 50)), "sends more than it lists"),
        // The connection ends.
        (Answer { length: Some(5), ..ok("123") }, "no usable response"),
        (Answer { length: Some(5), ..ok("") }, "no usable response"),
        (answer(500, "<html/>"), "500"),
        (answer(206, "12345"), "206"),
    ] {
        let file = listed(&[("file", 5), ("other", 5)]);
        let answers = [("GET file", content), ("PROPFIND file", file_properties(5)), other()];
        error(&Ce::with("FINISHED", file.into_iter().chain(answers)), "file", text);
    }
    // It ended between the listing and the download.
    let answers = [
        ("GET ", ok(listing(&[("file", 5)], &[]))),
        ("GET file", ok("1234567")),
        ("PROPFIND file", file_properties(7)),
    ];
    let ce = Ce::with("FINISHED", answers);
    assert_eq!((ce.saved().bytes, fs::read_to_string(ce.directory().join("file")).unwrap()), (7, "1234567".into()));
}

#[test]
fn files_of_a_running_job_are_saved_as_they_are() {
    for (content, now) in [("1234567", 7), ("123", 3), ("", 0), ("1234567", 9), ("1234567", 2)] {
        let answers = [
            ("GET ", ok(listing(&[("file", 5)], &[]))),
            ("GET file", ok(content)),
            ("PROPFIND file", file_properties(now)),
        ];
        let ce = Ce::with("RUNNING", answers);
        let saved = ce.saved();
        assert_eq!((saved.files, saved.bytes), (1, content.len() as u64), "{content}");
        assert_eq!(fs::read_to_string(saved.join("file")).unwrap(), content);
        assert_eq!(ce.names(), ["file"]);
    }
}

#[test]
fn a_file_that_changes_in_the_wrong_moment_is_fetched_again() {
    // What A-REX responds if the size changes between two looks of its own.
    let stalling = Answer { length: Some(5), stalls: true, ..ok("123") };
    for odd in [answer(416, ""), answer(206, "x"), endless(None), endless(Some(1 << 40)), stalling] {
        let attempts = Mutex::new(0);
        let ce = Ce::new("RUNNING", move |method, path| match (method, path) {
            ("GET", "") => ok(listing(&[("file", 5)], &[])),
            ("GET", "file") => {
                let mut attempts = attempts.lock().unwrap();
                *attempts += 1;
                if *attempts == 1 { odd.clone() } else { ok("12345678") }
            }
            ("PROPFIND", "file") => file_properties(8),
            _ => answer(404, ""),
        });
        assert_eq!(ce.saved().bytes, 8);
        assert_eq!(ce.names(), ["file"]);
        assert_eq!(fs::read_to_string(ce.directory().join("file")).unwrap(), "12345678");
    }
}

#[test]
fn what_follows_a_growing_file_is_not_read_as_the_next_response() {
    // A-REX 6.17 sends more than it has announced.
    let fake = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong";
    let files: Vec<String> = (0..40).map(|n| format!("file{n}")).collect();
    let list: Vec<(&str, u64)> = files.iter().map(|name| (name.as_str(), 5)).collect();
    let list = listing(&list, &[]);
    let ce = Ce::new("RUNNING", move |method, path| match (method, path) {
        ("GET", "") => ok(list.clone()),
        ("GET", _) => Answer { length: Some(5), ..ok(format!("right{fake}")) },
        _ => answer(404, ""),
    });
    let saved = ce.saved();
    for name in &files {
        assert_eq!(fs::read_to_string(saved.join(name)).unwrap(), "right");
    }
}

#[test]
fn giants_do_not_fill_the_disk() {
    let exbibyte = 1 << 60;
    let answers = [
        ("GET ", ok(listing(&[("giant", exbibyte), ("other", 5)], &[]))),
        ("GET other", ok("12345")),
        ("GET giant", endless(Some(exbibyte))),
    ];
    let ce = Ce::with("FINISHED", answers);
    let error = ce.save().unwrap_err();
    let Error::OutputFile { path, source: Some(source), .. } = &error else { panic!("{error:?}") };
    assert_eq!(source.kind(), std::io::ErrorKind::StorageFull, "{source}");
    assert!(path.ends_with("thejob/giant") && source.to_string().contains(&exbibyte.to_string()), "{error:?}");
    assert_eq!((error.is_retryable(), error.hint()), (false, Some("free some disk space")));
    assert_eq!((ce.names(), ce.requested("giant")), (vec!["other".to_owned()], 0));
}

#[test]
fn a_full_disk_is_a_local_error_that_is_not_retried() {
    let ce = Ce::with(
        "FINISHED",
        [
            ("GET ", ok(listing(&[("file", 600_000), ("other", 5)], &[]))),
            ("GET other", ok("12345")),
            ("GET file", ok(vec![0; 600_000])),
        ],
    );
    fs::create_dir(ce.results()).unwrap();
    let _mounted = match Mounted::small(&ce.results()) {
        Some(mounted) => mounted,
        None => return eprintln!("skipped: needs the right to mount a file system"),
    };
    let error = ce.save().unwrap_err();
    let Error::OutputFile { path, job_id, source: Some(source), .. } = &error else { panic!("{error:?}") };
    assert_eq!((source.kind(), job_id), (std::io::ErrorKind::StorageFull, &ce.id), "{source}");
    assert!(path.ends_with("thejob/file"), "{error}");
    assert!(!error.is_retryable());
    assert_eq!((ce.names(), ce.requested("session/file")), (vec!["other".to_owned()], 1));
}

/// A file system of 256 KiB.
struct Mounted(PathBuf);

impl Mounted {
    fn small(at: &Path) -> Option<Mounted> {
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(at).output().ok()?;
        mounted.status.success().then(|| Mounted(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn links_that_are_planted_meanwhile_are_not_followed() {
    for planted in ["sub", ""] {
        let outside = tempfile::tempdir().unwrap();
        let results = Arc::new(Mutex::new(PathBuf::new()));
        let (target, directory) = (outside.path().to_owned(), Arc::clone(&results));
        let ce = Ce::new("FINISHED", move |method, path| match (method, path) {
            ("GET", "") => ok(listing(&[], &["sub"])),
            ("GET", "sub") => ok(listing(&[("file", 1)], &[])),
            ("GET", "sub/file") => {
                // While the file is downloaded, somebody plants a link in the place of its directory or of the job's.
                let mut place = directory.lock().unwrap().clone();
                if planted.is_empty() {
                    fs::rename(&place, place.with_file_name("moved")).unwrap();
                } else {
                    place.push(planted);
                }
                symlink(&target, &place).unwrap();
                ok("x")
            }
            _ => answer(404, ""),
        });
        results.lock().unwrap().clone_from(&ce.directory());
        let error = ce.save().unwrap_err();
        assert!(matches!(&error, Error::OutputFile { source: Some(_), .. }), "{error:?}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "a file was written outside");
    }
}

#[test]
fn listings_without_end_end() {
    // A directory that contains itself.
    let ce = Ce::new("FINISHED", |method, path| match method {
        "GET" if path.ends_with("file") => ok("x"),
        "GET" => ok(listing(&[], &["again"])),
        _ => answer(404, ""),
    });
    let saved = ce.saved();
    let deep: Vec<_> = left_out(&saved).into_iter().filter(|(_, reason)| *reason == LeftOutReason::TooDeep).collect();
    assert_eq!((deep.len(), deep[0].0.matches("again").count()), (1, 101));
    assert!(ce.requested("/session") < 300);

    // One that contains itself a thousand times.
    let names: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let many = listing(&[], &names);
    let ce = Ce::new("FINISHED", move |method, _| if method == "GET" { ok(many.clone()) } else { answer(404, "") });
    let error = ce.save().unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::JobOperation, false), "{error}");
    assert!(error.to_string().contains("more than 1000000 files"), "{error}");
    assert!(ce.requested("/session") < 2100, "{}", ce.requested("/session"));
    assert!(!ce.directory().exists());
}

#[test]
fn a_million_entries_are_too_many() {
    let mut list = String::from("<list>");
    for n in 0..=1_000_000 {
        list += &format!("<file size=\"1\">f{n}</file>");
    }
    let list = (list + "</list>").into_bytes();
    let ce = Ce::new("FINISHED", move |method, _| if method == "GET" { ok(list.clone()) } else { answer(404, "") });
    let error = ce.save().unwrap_err();
    assert_eq!((error.kind(), error.job_id(), error.is_retryable()), (ErrorKind::JobOperation, Some(&ce.id), false));
    assert!(error.to_string().contains("more than 1000000 files"), "{error}");
    assert_eq!(ce.requested("/session"), 2);
}

#[test]
fn only_the_response_of_a_ce_counts_an_input_as_uploaded() {
    let submit = |put: Answer| {
        let ce = Ce::new("PREPARING", move |method, _| if method == "PUT" { put.clone() } else { answer(404, "") });
        let input = InputFile::bytes("input", "content");
        (ce.arc.submit(&JobDescription::new("/bin/cat").with_arg("input").with_input(input)), ce)
    };
    let (submitted, ce) = submit(ok(""));
    assert_eq!(submitted.unwrap(), ce.id);
    for put in [
        ok("<html><body>Sign in</body></html>"),
        ok("OK"),
        Answer { length: None, ..ok("OK") },
        answer(201, ""),
        answer(202, ""),
        answer(204, ""),
        answer(302, ""),
        answer(404, ""),
        answer(500, "Error writing to file"),
        answer(507, ""),
    ] {
        let code = put.code;
        let (submitted, ce) = submit(put);
        let error = submitted.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::JobSubmission, false), "{code}: {error}");
        assert_eq!(error.job_id(), Some(&ce.id), "{error}");
        assert!(error.to_string().contains("input"), "{error}");
        assert!(ce.requested("action=kill") >= 1, "{code}: the job was not cancelled");
    }
}
