//! Connections to servers inside the test.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::{Connection, Session, SessionSettings};

/// A connection to a server that runs `serve`, and what `serve` returns.
fn connection_to<T: Send + 'static>(serve: impl FnOnce(TcpStream) -> T + Send + 'static) -> (Connection, Receiver<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (sender, receiver) = channel();
    thread::spawn(move || sender.send(serve(listener.accept().unwrap().0)));
    let session = Session::new(&SessionSettings { timeout_seconds: 30, ..Default::default() }).unwrap();
    (Connection::new(&session, &url, 30).unwrap(), receiver)
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
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", descriptor.file_name().display())).unwrap();
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
