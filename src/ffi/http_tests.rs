//! Connections to servers inside the test.

use std::fs;
use std::io::{Read, Seek, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use openssl::asn1::{Asn1Object, Asn1OctetString};
use openssl::ssl::{SslAcceptor, SslMethod, SslVerifyMode};
use openssl::x509::X509Extension;

use super::{Connection, ConnectionError, RequestLimits, Session, SessionSettings, cpp};
use tls::{Authority, Identity, LOCALHOST, Named, OK, certificate, new_key, respond_ok, tls_server};

#[path = "../../tests/tls/mod.rs"]
mod tls;

/// A connection to a server that runs `serve`, and what `serve` returns.
fn connection_to<T: Send + 'static>(serve: impl FnOnce(TcpStream) -> T + Send + 'static) -> (Connection, Receiver<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (sender, receiver) = channel();
    thread::spawn(move || sender.send(serve(listener.accept().unwrap().0)));
    let session = Session::new(&SessionSettings { timeout_seconds: 30, ..Default::default() }).unwrap();
    (Connection::new(&session, &url, "", 30).unwrap(), receiver)
}

fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
}

/// The flags of the descriptor, in this process, of the IPv4 socket with a local address.
fn descriptor_flags(local: SocketAddr) -> u32 {
    let port = format!(":{:04X}", local.port());
    let table = fs::read_to_string("/proc/self/net/tcp").unwrap();
    let inode = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find_map(|columns| columns[1].ends_with(&port).then(|| columns[9].to_owned()))
        .unwrap();
    let socket = PathBuf::from(format!("socket:[{inode}]"));
    let descriptor = fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap())
        .find(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == socket))
        .unwrap();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", descriptor.file_name().to_str().unwrap())).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    u32::from_str_radix(flags.trim(), 8).unwrap()
}

#[test]
fn child_processes_do_not_inherit_connections() {
    let (mut connection, served) = connection_to(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        stream
    });
    let (reply, body) = connection.request("GET", "/", "text/plain", b"").unwrap();
    assert_eq!((reply.code, body), (200, &b"ok"[..]));
    let server = served.recv().unwrap();
    const CLOSE_ON_EXEC: u32 = 0o2000000;
    assert_ne!(descriptor_flags(server.peer_addr().unwrap()) & CLOSE_ON_EXEC, 0);
    assert!(connection.usable());
    drop(server);
    assert!(!connection.usable());
}

#[test]
fn a_file_that_is_too_short_fails_its_upload_at_once() {
    let (mut connection, _served) = connection_to(|mut stream| {
        // A server that waits for the rest of the body.
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
    });
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"0123456789").unwrap();
    let start = Instant::now();
    let error = connection.upload("/file", &file, 20).unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{error}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(!connection.usable());
}

#[test]
fn a_response_that_ends_early_is_an_error() {
    let (mut connection, _served) = connection_to(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n0123456789").unwrap();
    });
    let error = connection.request("GET", "/", "text/plain", b"").unwrap_err();
    assert!(error.to_string().contains("the response ended after"), "{error}");
    assert!(!connection.usable());
}

/// Sends a request to a server that does `serve` and then closes the connection. Returns whether the connection says
/// that the server may have the whole request.
fn is_sent(content: &[u8], serve: impl FnOnce(TcpStream) + Send + 'static) -> bool {
    let (mut connection, _served) = connection_to(serve);
    assert!(!connection.sent());
    connection.request("POST", "/", "text/plain", content).map(drop).unwrap_err();
    connection.sent()
}

#[test]
fn a_request_is_sent_unless_a_part_of_it_cannot_have_left() {
    let large = vec![b'x'; 64 << 20];
    assert!(!is_sent(&large, drop), "closed at once");
    assert!(!is_sent(&large, |mut stream| read_head(&mut stream)), "closed after the head");
    assert!(is_sent(b"0123456789", |mut stream| {
        read_head(&mut stream);
        stream.read_exact(&mut [0; 10]).unwrap();
    }));
    // Whether the server has read it does not matter.
    assert!(is_sent(b"", |mut stream| stream.read_exact(&mut [0; 1]).unwrap()));
    // No connection.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let session = Session::new(&SessionSettings { timeout_seconds: 30, ..Default::default() }).unwrap();
    let mut connection = Connection::new(&session, &url, "", 30).unwrap();
    connection.request("POST", "/", "text/plain", b"content").map(drop).unwrap_err();
    assert!(!connection.sent());
}

#[test]
fn a_request_on_a_connection_that_is_not_usable_is_not_sent() {
    let (mut connection, _served) = connection_to(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n0123456789").unwrap();
    });
    connection.request("GET", "/", "text/plain", b"").map(drop).unwrap_err();
    assert!(connection.sent());
    connection.request("GET", "/", "text/plain", b"").map(drop).unwrap_err();
    assert!(!connection.sent());
}

/// A connection to a server that trusts `authority`.
fn connection(authority: &Authority, url: &str, verify_host: bool, timeout: u32) -> Connection {
    let ca_directory = authority.directory.path().to_str().unwrap().to_owned();
    let settings = SessionSettings { ca_directory, timeout_seconds: timeout, verify_host, ..Default::default() };
    Connection::new(&Session::new(&settings).unwrap(), url, "", timeout).unwrap()
}

/// Sends a request to a server with a certificate. Returns the outcome and how many bytes the server received.
fn ask(
    authority: &Authority,
    identity: Identity,
    host: &str,
    verify_host: bool,
) -> (Result<Vec<u8>, ConnectionError>, usize) {
    let (port, received) = tls_server(identity, respond_ok);
    let mut connection = connection(authority, &format!("https://{host}:{port}/"), verify_host, 20);
    let outcome = connection.request("GET", "/", "text/plain", b"").map(|(_, body)| body.to_vec());
    drop(connection);
    (outcome, received.recv().unwrap().map_or(0, |received| received.len()))
}

#[test]
fn certificates_of_the_host_are_accepted() {
    let authority = Authority::new();
    for (host, common_names, alternative) in [
        ("localhost", &["other.example"][..], &["other.example", "localhost"][..]),
        ("127.0.0.1", &[], &["127.0.0.1"]),
        ("localhost", &["localhost"], &[]),
        ("localhost", &["host/localhost"], &[]),
    ] {
        let identity = authority.issue(Named { common_names, alternative, days: (-1, 1) });
        let (outcome, received) = ask(&authority, identity, host, true);
        assert_eq!(outcome, Ok(b"ok".to_vec()), "{host} {common_names:?} {alternative:?}");
        assert!(received > 0);
    }
}

#[test]
fn a_server_with_another_name_receives_nothing() {
    let authority = Authority::new();
    for (host, common_names, alternative, named) in [
        ("localhost", &[][..], &["other.example", "127.0.0.1"][..], "other.example, 127.0.0.1"),
        ("localhost", &["localhost"], &["other.example"], "other.example"),
        ("localhost", &["Jane Doe"], &[], "Jane Doe"),
        ("localhost", &["localhost"], &["email:jane@example.org"], "no host"),
        ("127.0.0.1", &["127.0.0.1"], &["localhost"], "localhost"),
        ("127.0.0.1", &["127.0.0.1"], &[], "127.0.0.1"),
        ("127.0.0.1", &[], &["127.0.0.2"], "127.0.0.2"),
    ] {
        let identity = authority.issue(Named { common_names, alternative, days: (-1, 1) });
        let (outcome, received) = ask(&authority, identity.clone(), host, true);
        let Err(ConnectionError::Untrusted(message)) = outcome else { panic!("{common_names:?}: {outcome:?}") };
        let expected = format!("the certificate of the CE is for {named} (its subject is /O=Test");
        assert!(message.starts_with(&expected) && message.ends_with(&format!(", not for {host}")), "{message}");
        assert_eq!(received, 0, "{message}");
        // Without the check the same server is accepted.
        assert_eq!(ask(&authority, identity, host, false).0, Ok(b"ok".to_vec()));
    }
}

#[test]
fn a_certificate_that_does_not_verify_is_refused() {
    let (authority, other) = (Authority::new(), Authority::named("Another CA"));
    let self_signed = {
        let key = new_key();
        let certificate = certificate(LOCALHOST, &key, None, Vec::new());
        (key, certificate)
    };
    for (what, identity) in [
        ("expired", authority.issue(Named { days: (-2, -1), ..LOCALHOST })),
        ("not yet valid", authority.issue(Named { days: (1, 2), ..LOCALHOST })),
        ("self-signed", self_signed),
        ("unknown CA", other.issue(LOCALHOST)),
    ] {
        for verify_host in [true, false] {
            let (outcome, received) = ask(&authority, identity.clone(), "localhost", verify_host);
            assert!(matches!(outcome, Err(ConnectionError::Failed(_))), "{what}: {outcome:?}");
            assert_eq!(received, 0, "{what}");
        }
    }
}

#[test]
fn http_without_tls_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let outcome = connection(&Authority::new(), &url, true, 20).request("GET", "/", "", b"").map(drop);
    assert!(matches!(outcome, Err(ConnectionError::Untrusted(_))), "{outcome:?}");
}

/// Whether a certificate is one of a host, by name alone.
fn names(common_names: &[&str], alternative: &[&str], host: &str) -> bool {
    let certificate = certificate(Named { common_names, alternative, days: (-1, 1) }, &new_key(), None, Vec::new());
    cpp::named_instead(std::str::from_utf8(&certificate.to_pem().unwrap()).unwrap(), host).unwrap().is_empty()
}

#[test]
fn names_are_compared_by_rfc_6125() {
    for (name, host, expected) in [
        ("ce.example.org", "ce.example.org", true),
        ("CE.Example.ORG", "ce.example.org", true),
        ("ce.example.org", "CE.EXAMPLE.ORG", true),
        ("ce.example.org", "ce.example.org.", true),
        ("ce.example.org", "e.example.org", false),
        ("ce.example.org", "ce.example.org.evil.example", false),
        ("ce.example.org", "example.org", false),
        ("ce.example.org", ".example.org", false),
        ("ce.example.org", "", false),
        ("*.example.org", "ce.example.org", true),
        ("*.example.org", "a.ce.example.org", false),
        ("*.example.org", "example.org", false),
        ("*.example.org", ".example.org", false),
        ("c*.example.org", "ce.example.org", false),
        ("*e.example.org", "ce.example.org", false),
        ("ce.*.org", "ce.example.org", false),
        ("*", "localhost", false),
        ("*.org", "example.org", false),
        ("*.*.org", "ce.example.org", false),
    ] {
        assert_eq!(names(&[], &[name], host), expected, "dNSName {name}, host {host}");
        assert_eq!(names(&[name], &[], host), expected, "CN {name}, host {host}");
        assert_eq!(names(&[&format!("host/{name}")], &[], host), expected, "CN host/{name}, host {host}");
        assert!(!names(&[name], &["email:jane@example.org"], host), "CN {name} beside an address, host {host}");
    }
    assert!(!names(&[], &["host/ce.example.org"], "ce.example.org"));
    assert!(!names(&["service/ce.example.org"], &[], "ce.example.org"));
    // The last common name is the most specific one.
    assert!(names(&["Services", "ce.example.org"], &[], "ce.example.org"));
    assert!(!names(&["ce.example.org", "Jane Doe"], &[], "ce.example.org"));
    for (address, host, expected) in [
        ("192.0.2.1", "192.0.2.1", true),
        ("192.0.2.1", "192.0.2.2", false),
        ("2001:db8::1", "2001:db8:0:0::1", true),
        ("2001:db8::1", "[2001:db8::1]", true),
        ("::ffff:192.0.2.1", "192.0.2.1", false),
    ] {
        assert_eq!(names(&[], &[address], host), expected, "iPAddress {address}, host {host}");
        assert!(!names(&[address], &[], host), "CN {address}, host {host}");
    }
    assert!(!names(&[], &["*.0.2.1"], "192.0.2.1"));
}

#[test]
fn a_proxy_certificate_is_no_servers() {
    let identifier = Asn1Object::from_str("1.3.6.1.5.5.7.1.14").unwrap();
    // SEQUENCE { SEQUENCE { OBJECT id-ppl-inheritAll } }
    let info = [0x30, 0x0c, 0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x15, 0x01];
    let info = Asn1OctetString::new_from_bytes(&info).unwrap();
    let proxy = X509Extension::new_from_der(&identifier, true, &info).unwrap();
    let proxy = certificate(LOCALHOST, &new_key(), None, vec![proxy]);
    let instead = cpp::named_instead(std::str::from_utf8(&proxy.to_pem().unwrap()).unwrap(), "localhost").unwrap();
    assert!(instead.starts_with("no host, as it is a proxy"), "{instead}");
}

/// Sends a request to a TLS server that answers it with `response` and then closes the connection or, if `is_kept`, waits
/// for the client to close it. Returns the outcome, and whether the connection is usable afterwards.
fn answer(response: Vec<u8>, is_kept: bool) -> (Result<Vec<u8>, ConnectionError>, bool) {
    let authority = Authority::new();
    let (port, _received) = tls_server(authority.issue(LOCALHOST), move |mut stream| {
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer);
        let _ = stream.write_all(&response);
        if is_kept {
            while stream.read(&mut buffer).is_ok_and(|size| size > 0) {}
        }
    });
    let mut connection = connection(&authority, &format!("https://localhost:{port}/"), true, 20);
    let begun = Instant::now();
    let outcome = connection.request("GET", "/", "text/plain", b"").map(|(_, body)| body.to_vec());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    (outcome, connection.usable())
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn well_framed_responses_are_read() {
    let repeated = format!("{CHUNKED}{}0\r\n\r\n", "1\r\na\r\n".repeat(5000));
    for (response, body) in [
        (String::from_utf8(OK.to_vec()).unwrap(), "ok".to_owned()),
        ("HTTP/1.1 200 OK\nContent-Length: 2\n\nok".into(), "ok".into()),
        ("HTTP/1.1 200 \r\ncontent-length:  2 \r\n\r\nok".into(), "ok".into()),
        ("HTTP/1.1 500 Error\r\nContent-Length: 0\r\n\r\n".into(), String::new()),
        ("HTTP/1.1 204 No content\r\n\r\n".into(), String::new()),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Wait\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".into(), "ok".into()),
        (format!("{CHUNKED}2\r\nok\r\n0\r\n\r\n"), "ok".into()),
        (format!("{CHUNKED}1;a=b\r\no\r\n0001\r\nk\r\n0;c\r\nTrailer: x\r\n\r\n"), "ok".into()),
        (format!("{CHUNKED}0\r\n\r\n"), String::new()),
        (repeated, "a".repeat(5000)),
        (format!("{CHUNKED}186A0\r\n{}\r\n0\r\n\r\n", "b".repeat(100_000)), "b".repeat(100_000)),
    ] {
        let start = response.chars().take(200).collect::<String>();
        assert_eq!(answer(response.into_bytes(), true), (Ok(body.into_bytes()), true), "{start}");
    }
    let until_close = b"HTTP/1.0 503 Busy\r\nConnection: close\r\n\r\nlater".to_vec();
    assert_eq!(answer(until_close, false), (Ok(b"later".to_vec()), false));
}

#[test]
fn badly_framed_responses_are_refused_at_once() {
    let head = |line: &str| format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\nok").into_bytes();
    let chunks = |chunks: &str| format!("{CHUNKED}{chunks}").into_bytes();
    let many_lines = "A: b\r\n".repeat(20_000);
    for (response, why) in [
        (chunks("-5\r\nhello\r\n0\r\n\r\n"), "a chunk without a size"),
        (chunks("-400\r\nhello\r\n0\r\n\r\n"), "a chunk without a size"),
        (chunks("-1\r\nhello\r\n0\r\n\r\n"), "a chunk without a size"),
        (chunks("+5\r\nhello\r\n0\r\n\r\n"), "a chunk without a size"),
        (chunks("0x5\r\nhello\r\n0\r\n\r\n"), "a chunk without a size"),
        (chunks("5 \r\nhello\r\n0\r\n\r\n"), "a chunk without a size"),
        (chunks(" 5\r\nhello\r\n0\r\n\r\n"), "a chunk without a size"),
        (chunks("\r\nhello\r\n0\r\n\r\n"), "a chunk without a size"),
        (chunks("zz\r\nhello\r\n0\r\n\r\n"), "a chunk without a size"),
        (chunks("7fffffffffffffff\r\nhello"), "a chunk with a huge size"),
        (chunks("ffffffffffffffff\r\nhello"), "a chunk with a huge size"),
        (chunks("5\r\nhello world\r\n0\r\n\r\n"), "a chunk that is longer than its size"),
        (chunks(&format!("5;{}\r\nhello\r\n", "x".repeat(5000))), "a line of more than 4000 bytes"),
        (chunks(&format!("0\r\n{many_lines}")), "a head of more than 64 KiB"),
        (head("Content-Length: -5"), "a length that is no number"),
        (head("Content-Length: +2"), "a length that is no number"),
        (head("Content-Length: 2x"), "a length that is no number"),
        (head("Content-Length:"), "a length that is no number"),
        (head("Content-Length: 99999999999999999999"), "a length that is no number"),
        (head("Content-Length: 2\r\nContent-Length: 3"), "two lengths"),
        (head("Content-Length: 2\r\ncontent-length: 2"), "two lengths"),
        (head("Content-Length: 2\r\nTransfer-Encoding: chunked"), "both a length and chunks"),
        (head("Transfer-Encoding: gzip, chunked"), "an unknown transfer encoding"),
        (head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), "an unknown transfer encoding"),
        (head("Content-Length : 2"), "no header"),
        (head(" Content-Length: 2"), "no header"),
        (head("nonsense"), "no header"),
        (head("Content-Length: 2\r\nA: b\0c"), "control characters"),
        (head("Content-Type: multipart/mixed; boundary=x\r\nContent-Length: 2"), "several parts"),
        (head("Content-Encoding: gzip\r\nContent-Length: 2"), "is encoded"),
        (head("Server: test"), "has no length"),
        (head(&format!("A: {}\r\nContent-Length: 2", "x".repeat(5000))), "a line of more than 4000 bytes"),
        (head(&format!("{many_lines}Content-Length: 2")), "a head of more than 64 KiB"),
        (b"\0\xff garbage\r\n\r\n".to_vec(), "control characters"),
        (b"<html>\r\n\r\n".to_vec(), "is not HTTP/1.1"),
        (b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(), "is not HTTP/1.1"),
        (b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(), "is not HTTP/1.1"),
        (b"HTTP/1.1 -20 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(), "is not HTTP/1.1"),
        (b"HTTP/1.1 101 Switching\r\n\r\n".to_vec(), "another protocol"),
        ("HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000).into_bytes(), "a head of more than 64 KiB"),
        (b"HTTP/1.1 204 None\r\nContent-Length: 2\r\n\r\nok".to_vec(), "its status excludes"),
    ] {
        let start: String = String::from_utf8_lossy(&response).chars().take(100).collect();
        let (outcome, usable) = answer(response, true);
        let Err(ConnectionError::InvalidResponse(message)) = outcome else { panic!("{start:?}: {outcome:?}") };
        assert!(message.starts_with("the response ") && message.contains(why), "{start:?}: {message}");
        assert!(!usable);
    }
}

#[test]
fn responses_that_are_cut_off_are_errors() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok",
        &format!("{CHUNKED}5\r\nok"),
        &format!("{CHUNKED}2\r\nok"),
        &format!("{CHUNKED}2\r\nok\r\n"),
        &format!("{CHUNKED}2\r\nok\r\n0\r\n"),
    ] {
        let (outcome, usable) = answer(response.as_bytes().to_vec(), false);
        assert!(matches!(outcome, Err(ConnectionError::Failed(_))), "{response:?}: {outcome:?}");
        assert!(!usable);
    }
}

#[test]
fn surplus_after_a_response_ends_the_connection() {
    let chunked = format!("{CHUNKED}2\r\nok\r\n0\r\n\r\n").into_bytes();
    for response in [OK.to_vec(), chunked] {
        for surplus in [b"\n".to_vec(), OK.to_vec(), b"x".repeat(100_000)] {
            let response = [&response[..], &surplus].concat();
            assert_eq!(answer(response, true), (Ok(b"ok".to_vec()), false));
        }
    }
}

#[test]
fn endless_responses_end_with_an_error() {
    let authority = Authority::new();
    let serve = |start: &'static str, part: &'static str| {
        let (port, received) = tls_server(authority.issue(LOCALHOST), move |mut stream| {
            let _ = stream.read(&mut [0; 4096]);
            let part = part.repeat(8192);
            let _ = stream.write_all(start.as_bytes());
            while stream.write_all(part.as_bytes()).is_ok() {}
        });
        (connection(&authority, &format!("https://localhost:{port}/"), true, 20), received)
    };
    let too_long = |error: ConnectionError| matches!(error, ConnectionError::InvalidResponse(_));
    for (start, part) in [
        (CHUNKED, "2\r\nok\r\n"),
        ("HTTP/1.1 200 OK\r\n", "A: b\r\n"),
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
        (CHUNKED, "2"),
    ] {
        let (mut connection, received) = serve(start, part);
        let file = tempfile::tempfile().unwrap();
        let outcome = connection.download("/", &file, 1 << 20).map(|reply| reply.unwrap());
        assert!(outcome.map_or_else(too_long, |reply| reply.over_limit), "{start} {part}");
        assert!(file.metadata().unwrap().len() <= 1 << 20);
        assert!(!connection.usable());
        drop(connection);
        assert!(received.recv().unwrap().is_some());
        let (mut connection, received) = serve(start, part);
        assert!(connection.upload("/", &file, 0).is_err_and(too_long), "{start} {part}");
        drop(connection);
        assert!(received.recv().unwrap().is_some());
    }
}

#[test]
fn a_server_that_is_silent_or_slow_costs_one_time_limit() {
    let authority = Authority::new();
    let drip = |mut stream: Box<dyn Write>, bytes: &[u8]| {
        for byte in bytes {
            if stream.write_all(&[*byte]).and_then(|()| stream.flush()).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        thread::sleep(Duration::from_secs(20));
    };
    // A server that says nothing, and one that sends the beginning of a TLS handshake byte by byte.
    for bytes in [&b""[..], &[22, 3, 3, 0x3f, 0xff, 2, 0, 0x3f, 0xfb]] {
        let bytes = [bytes, &vec![0; if bytes.is_empty() { 0 } else { 10_000 }]].concat();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || drip(Box::new(listener.accept().unwrap().0), &bytes));
        let mut connection = connection(&authority, &format!("https://localhost:{port}/"), true, 1);
        let begun = Instant::now();
        let outcome = connection.request("GET", "/", "text/plain", b"").map(drop);
        assert_eq!(outcome, Err(ConnectionError::TimedOut("no response within 1 s while connecting".into())));
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        drop(connection);
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }
    // The same after the handshake, and within the body.
    let silent = ("", "no response within 1 s");
    let head = ("HTTP/1.1 200 OK\r\nServer: ", "no response within 1 s");
    let body = ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok", "nothing was transferred for 1 s");
    for (start, message) in [silent, head, body] {
        let (port, _received) = tls_server(authority.issue(LOCALHOST), move |mut stream| {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(start.as_bytes());
            match start.ends_with("Server: ") {
                true => drip(Box::new(stream), &[b'x'; 1000]),
                false => thread::sleep(Duration::from_secs(20)),
            }
        });
        let mut connection = connection(&authority, &format!("https://localhost:{port}/"), true, 1);
        let begun = Instant::now();
        let outcome = connection.request("GET", "/", "text/plain", b"").map(drop);
        assert_eq!(outcome, Err(ConnectionError::TimedOut(message.into())));
        drop(connection);
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }
}

/// Sends a request to a TLS server that requires a certificate of the client, which has none.
fn without_certificate(content: &[u8]) -> (ConnectionError, bool) {
    let authority = Authority::new();
    let (key, certificate) = authority.issue(LOCALHOST);
    let mut acceptor = SslAcceptor::mozilla_modern_v5(SslMethod::tls()).unwrap(); // TLS 1.3
    acceptor.set_private_key(&key).unwrap();
    acceptor.set_certificate(&certificate).unwrap();
    acceptor.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    let acceptor = acceptor.build();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    thread::spawn(move || acceptor.accept(listener.accept().unwrap().0).map(drop));
    let mut connection = connection(&authority, &url, true, 20);
    (connection.request("POST", "/", "text/plain", content).map(drop).unwrap_err(), connection.sent())
}

#[test]
fn the_alert_of_a_server_that_refuses_the_certificate_of_the_client_is_read() {
    // With TLS 1.3 the alert comes after the client has finished the handshake: before, while or after it sends.
    for content in [&b""[..], &[0; 100], &[0; 8 << 20]] {
        for _ in 0..5 {
            let (error, _) = without_certificate(content);
            assert!(error.to_string().contains("alert certificate required"), "{} bytes: {error}", content.len());
        }
    }
}

fn limits(idle: u64, call: Option<u64>, cancelled: Vec<Arc<AtomicBool>>) -> RequestLimits {
    RequestLimits { idle: Duration::from_millis(idle), call: call.map(Duration::from_millis), cancelled }
}

#[test]
fn limits_of_a_request_include_connecting() {
    let authority = Authority::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}/", silent.local_addr().unwrap().port());
    let flag = Arc::new(AtomicBool::new(false));
    for (limits, expected) in [
        (limits(200, None, Vec::new()), "no response within 600 s while connecting"),
        (limits(600_000, Some(200), Vec::new()), "the deadline of the call has passed"),
        (limits(600_000, None, vec![flag.clone()]), "the call was cancelled"),
    ] {
        let begun = Instant::now();
        let mut connection = connection(&authority, &url, true, 600);
        connection.set_limits(&limits).unwrap();
        let error = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(200));
                flag.store(true, Ordering::Relaxed);
            });
            connection.request("GET", "/", "", b"").map(drop).unwrap_err()
        });
        flag.store(false, Ordering::Relaxed);
        assert_eq!(error.to_string(), expected);
        assert!(!connection.sent());
        drop(connection);
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
}

#[test]
fn a_cancelled_request_drops_its_connection() {
    let flag = Arc::new(AtomicBool::new(false));
    let (mut connection, served) = connection_to({
        let flag = flag.clone();
        move |mut stream| {
            read_head(&mut stream);
            flag.store(true, Ordering::Relaxed);
            stream.read(&mut [0]).unwrap()
        }
    });
    connection.set_limits(&limits(600_000, None, vec![flag])).unwrap();
    let error = connection.request("GET", "/", "", b"").map(drop).unwrap_err();
    assert!(matches!(error, ConnectionError::Cancelled(_)), "{error}");
    assert!(connection.sent() && !connection.usable());
    drop(connection);
    assert_eq!(served.recv().unwrap(), 0);
}

#[test]
fn a_transfer_that_advances_is_not_cut() {
    // Longer than the limit of one second in all, but never without progress.
    let authority = Authority::new();
    let (port, received) = tls_server(authority.issue(LOCALHOST), |mut stream| {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        let mut size = 0;
        let mut buffer = vec![0; 2 << 20];
        while size < 24 << 20 {
            size += stream.read(&mut buffer).unwrap();
            thread::sleep(Duration::from_millis(2)); // at least 3 s for records of 16 KiB
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n").unwrap();
        for _ in 0..20 {
            thread::sleep(Duration::from_millis(100));
            stream.write_all(b"x").unwrap();
        }
        size
    });
    let mut connection = connection(&authority, &format!("https://localhost:{port}/"), true, 1);
    let file = tempfile::tempfile().unwrap();
    file.set_len(24 << 20).unwrap();
    let begun = Instant::now();
    let reply = connection.upload("/", &file, 24 << 20).unwrap().unwrap();
    assert_eq!(reply.code, 200);
    assert!(begun.elapsed() > Duration::from_secs(3), "{:?}", begun.elapsed());
    drop(connection);
    assert_eq!(received.recv().unwrap(), Some(24 << 20));
}

#[test]
fn the_time_to_wait_before_a_retry_is_read() {
    let (mut connection, _served) = connection_to(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 503 Busy\r\nretry-after:  7 \r\nContent-Length: 0\r\n\r\n").unwrap();
        stream
    });
    let (reply, _) = connection.request("GET", "/", "text/plain", b"").unwrap();
    assert_eq!((reply.code, &*reply.retry_after), (503, "7"));
}

/// A status code and the bytes of a part.
type PartOrError = Result<(i32, Vec<u8>), ConnectionError>;

/// Reads the bytes 3 to 6 of "0123456789" from a server that responds with `response`. Returns the code and the bytes,
/// whether the connection can be used again, and what the request said.
fn read_range_of(response: &'static str) -> (PartOrError, bool, String) {
    let (mut connection, served) = connection_to(move |mut stream| {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        stream.write_all(format!("HTTP/1.1 {response}").as_bytes()).unwrap();
        (stream, String::from_utf8(head).unwrap())
    });
    let read = connection.read_range("/", 3, 4).map(|(reply, body)| (reply.code, body.to_vec()));
    let is_usable = connection.usable();
    (read, is_usable, served.recv().unwrap().1)
}

#[test]
fn ranges_are_those_that_were_asked_for() {
    let part = "206 Partial content\r\nContent-Range: bytes 3-6/10\r\nContent-Length: 4\r\n\r\n3456";
    let (read, is_usable, request) = read_range_of(part);
    assert_eq!((read, is_usable), (Ok((206, b"3456".to_vec())), true));
    assert!(request.contains("\r\nRange: bytes=3-6\r\n") || request.contains("\r\nrange: bytes=3-6\r\n"), "{request}");
    // A server that ignores the range, and files that are shorter.
    let whole = "200 OK\r\nContent-Length: 10\r\n\r\n0123456789";
    let (read, is_usable, _) = read_range_of(whole);
    assert_eq!((read, is_usable), (Ok((200, b"3456".to_vec())), false));
    let exact = read_range_of("200 OK\r\nContent-Length: 7\r\n\r\n0123456");
    assert_eq!((exact.0, exact.1), (Ok((200, b"3456".to_vec())), true));
    let short = "206 Partial content\r\nContent-Range: bytes 3-4/5\r\nContent-Length: 2\r\n\r\n34";
    assert_eq!(read_range_of(short).0, Ok((206, b"34".to_vec())));
    assert_eq!(read_range_of("200 OK\r\nContent-Length: 2\r\n\r\n01").0, Ok((200, Vec::new())));
    let end = "416 Range not satisfiable\r\nContent-Range: bytes */3\r\nContent-Length: 4\r\n\r\nnone";
    assert_eq!(read_range_of(end).0, Ok((416, Vec::new())));
    // More than was asked for.
    let long = "206 Partial content\r\nContent-Range: bytes 3-9/10\r\nContent-Length: 7\r\n\r\n3456789";
    let (read, is_usable, _) = read_range_of(long);
    assert_eq!((read, is_usable), (Ok((206, b"3456".to_vec())), false));
    // Another range, or none.
    for other in ["Content-Range: bytes 4-7/10\r\n", "Content-Range: bytes 30-33/50\r\n", ""] {
        let response = format!("206 Partial content\r\n{other}Content-Length: 4\r\n\r\n4567").leak();
        let (read, is_usable, _) = read_range_of(response);
        assert!(matches!(read, Err(ConnectionError::InvalidResponse(_))), "{read:?}");
        assert!(!is_usable);
    }
}

#[test]
fn ranges_are_appended_to_files() {
    let (mut connection, _served) = connection_to(|mut stream| {
        read_head(&mut stream);
        let head = "HTTP/1.1 206 Partial content\r\nContent-Range: bytes 3-8/10\r\nContent-Length: 6\r\n\r\n";
        stream.write_all(format!("{head}345").as_bytes()).unwrap();
    });
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"012").unwrap();
    connection.append_range("/", 3, 6, &file).unwrap_err();
    // What has arrived is kept, so that another request can continue there.
    assert_eq!(file.metadata().unwrap().len(), 6);
    let (mut connection, _served) = connection_to(|mut stream| {
        read_head(&mut stream);
        let head = "HTTP/1.1 206 Partial content\r\nContent-Range: bytes 6-8/10\r\nContent-Length: 3\r\n\r\n";
        stream.write_all(format!("{head}678").as_bytes()).unwrap();
        stream
    });
    assert_eq!(connection.append_range("/", 6, 3, &file).unwrap().unwrap().code, 206);
    file.rewind().unwrap();
    let mut content = String::new();
    file.read_to_string(&mut content).unwrap();
    assert_eq!(content, "012345678");
}
