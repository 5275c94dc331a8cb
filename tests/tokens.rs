//! Bearer tokens: which CE gets them, how, and what becomes of a token that changes. The CEs are TLS servers of the test.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, SystemTime};

use jasmin_arc::{ArcInterface, ConnectionConfig, Error, ErrorKind, InputFile, JobDescription, JobId, LogLevel};
use openssl::ssl::SslStream;
use tempfile::TempDir;

use tls::{Authority, LOCALHOST, Lines, Named, tls_server};

mod tls;

/// A request as the CE saw it.
#[derive(Debug)]
struct Seen {
    connection: usize,
    head: String,
    has_certificate: bool,
}

const REST: &str = "<versions><version>1.0</version></versions>";

/// A user with a token, and a CE.
struct Site {
    authority: Authority,
    home: TempDir,
    port: u16,
    seen: Receiver<Seen>,
}

impl Site {
    fn new(ce: Named<'_>, versions: &'static str) -> Site {
        Site::slow(ce, versions, Duration::ZERO)
    }

    /// A CE that sends its first response after a pause.
    fn slow(ce: Named<'_>, versions: &'static str, pause: Duration) -> Site {
        let authority = Authority::new();
        let (sender, seen) = channel();
        let connections = Mutex::new(0);
        let pause = Mutex::new(Some(pause));
        let serve = move |mut stream: SslStream<TcpStream>| {
            let connection = {
                let mut connections = connections.lock().unwrap();
                *connections += 1;
                *connections
            };
            let has_certificate = stream.ssl().peer_certificate().is_some();
            while let Some(head) = read_head(&mut stream) {
                let (status, body) =
                    if head.contains("/arex/rest HTTP") { ("200 OK", versions) } else { ("404 Not Found", "") };
                let _ = sender.send(Seen { connection, head, has_certificate });
                std::thread::sleep(pause.lock().unwrap().take().unwrap_or_default());
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
                if stream.write_all(format!("{head}{body}").as_bytes()).is_err() {
                    break;
                }
            }
        };
        let (port, clients) = tls_server(authority.issue(ce), serve);
        std::mem::forget(clients); // the server ends when nobody receives what `serve` returns
        let site = Site { authority, home: tempfile::tempdir().unwrap(), port, seen };
        site.set_token("first-secret");
        site
    }

    fn rest(ce: Named<'_>) -> Site {
        Site::new(ce, REST)
    }

    fn token(&self) -> PathBuf {
        self.home.path().join("token")
    }

    /// Replaces the token as programs that renew tokens do.
    fn set_token(&self, text: &str) {
        let new = self.home.path().join("new");
        fs::write(&new, format!("{text}\n")).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(&new, self.token()).unwrap();
    }

    fn config(&self) -> ConnectionConfig {
        ConnectionConfig::default()
            .with_arc_server(format!("localhost:{}", self.port))
            .with_certs_dir(self.authority.directory.path())
            .with_token_file(self.token())
            .with_proxy_file(self.home.path().join("proxy.pem"))
            .with_jobs_info_file(self.home.path().join("jobs.dat"))
    }
}

/// Reads the head of a request, and its body if it has one.
fn read_head(stream: &mut SslStream<TcpStream>) -> Option<String> {
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let size = stream.read(&mut buffer).ok().filter(|size| *size > 0)?;
        received.extend(&buffer[..size]);
        let text = String::from_utf8_lossy(&received).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return Some(head.to_owned());
        }
    }
}

fn status(arc: &ArcInterface) -> Error {
    arc.job_status(&JobId::from("abc")).unwrap_err()
}

#[test]
fn a_token_replaces_the_proxy_and_is_read_again() {
    let site = Site::rest(LOCALHOST);
    let log = Lines::default();
    let builder = ArcInterface::builder().config(site.config()).log_level(LogLevel::Debug).log_writer(log.clone());
    let arc = builder.build().unwrap();
    let mut errors = vec![status(&arc), status(&arc)];
    assert!(errors.iter().all(|error| error.kind() == ErrorKind::Refused), "{errors:?}");
    let seen: Vec<Seen> = site.seen.try_iter().collect();
    assert!(seen.len() >= 3, "{seen:?}");
    for request in &seen {
        assert!(request.head.contains("\r\nauthorization: Bearer first-secret\r\n"), "{request:?}");
        assert_eq!((request.connection, request.has_certificate), (1, false), "{request:?}");
    }
    // A connection that began with another token is not used: A-REX keeps the user of a connection.
    site.set_token("second-secret");
    errors.push(status(&arc));
    for request in site.seen.try_iter() {
        assert!(request.head.contains("Bearer second-secret") && request.connection == 2, "{request:?}");
    }
    fs::remove_file(site.token()).unwrap();
    let missing = status(&arc);
    assert!(matches!(&missing, Error::Token { path: Some(path), .. } if *path == site.token()), "{missing:?}");
    errors.push(missing);
    assert_eq!(site.seen.try_iter().count(), 0);
    assert!(!site.home.path().join("proxy.pem").exists());

    // What the program can see does not contain the token.
    let debug = format!("{arc:?} {:?} {errors:?}", arc.config());
    drop(arc);
    let complete = || String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    while !complete().contains("Bearer ...") {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!format!("{debug}{}", complete()).contains("-secret"));
}

#[test]
fn a_ce_that_is_not_verified_gets_no_token() {
    let site = Site::rest(Named { alternative: &["other.example"], ..LOCALHOST });
    let error = status(&ArcInterface::new(site.config()).unwrap());
    assert_eq!(error.kind(), ErrorKind::Untrusted, "{error}");
    let site = Site { authority: Authority::named("Another CA"), ..site };
    let error = status(&ArcInterface::new(site.config()).unwrap());
    assert_eq!(error.kind(), ErrorKind::Untrusted, "{error}");
    let http = site.config().with_arc_server(format!("http://localhost:{}", site.port));
    assert_eq!(status(&ArcInterface::new(http).unwrap()).kind(), ErrorKind::Untrusted);
    assert_eq!(site.seen.try_iter().count(), 0);
    let refused = ArcInterface::new(site.config().with_verify_host(false)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidConfig);
}

#[test]
fn a_token_is_not_used_over_other_protocols() {
    let site = Site::new(LOCALHOST, "<versions><version>9.0</version></versions>");
    let error = status(&ArcInterface::new(site.config()).unwrap());
    assert!(
        matches!(error, Error::NoTargetsAvailable { .. })
            && error.to_string().contains("a token needs version 1.0 or 1.1"),
        "{error}"
    );
}

#[test]
fn a_job_that_needs_a_delegation_is_refused_before_anything_is_sent() {
    let site = Site::rest(LOCALHOST);
    let arc = ArcInterface::new(site.config()).unwrap();
    let job = JobDescription::new("/bin/cat").with_input(InputFile::url("https://storage.example/data"));
    let error = arc.submit(&job).unwrap_err();
    assert!(matches!(error, Error::InvalidJobDescription { .. }), "{error}");
    assert!(error.to_string().contains("cannot be delegated"), "{error}");
    assert_eq!(site.seen.try_iter().count(), 0);
    let error = arc.create_proxy().unwrap_err();
    assert!(matches!(error, Error::ProxyGeneration { .. }), "{error}");
}

/// A JSON Web Token without a signature, which the crate does not check.
fn jwt(claims: &str) -> String {
    let payload = openssl::base64::encode_block(claims.as_bytes());
    format!("e30.{}.c2lnbmF0dXJl", payload.trim_end_matches('=').replace('+', "-").replace('/', "_"))
}

#[test]
fn a_token_that_ends_during_an_operation_is_named() {
    let site = Site::slow(LOCALHOST, REST, Duration::from_secs(7));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    site.set_token(&jwt(&format!("{{\"exp\": {}}}", now + 5)));
    // The token is valid for the first request of the operation, and no longer for the second.
    let arc = ArcInterface::new(site.config()).unwrap();
    let error = status(&arc);
    assert!(matches!(error, Error::Token { .. }) && error.to_string().contains("the token ended at 20"), "{error:?}");
    assert_eq!((site.seen.try_iter().count(), error.is_retryable()), (1, false));
    site.set_token(&jwt("{\"nbf\": 32503680000}"));
    let early = status(&arc).to_string();
    assert!(early.contains("not valid before 3000-01-01T00:00:00Z; check the clock"), "{early}");
    assert_eq!(site.seen.try_iter().count(), 0);
    site.set_token(&jwt("{}"));
    assert_eq!(status(&arc).kind(), ErrorKind::Refused);
}
