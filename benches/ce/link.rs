//! [`delayed`]: a TCP connection to the CE with a longer round-trip time.
//!
//! It delays bytes and has no limit of bandwidth. It acknowledges them at once, so TCP's own slow start is not delayed.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;

/// Listens on a port of this host, which it returns, and forwards connections to `target`. Each direction has half of the
/// round-trip time. A new connection takes as long as on a real link: the first byte waits for one more round trip.
pub(crate) fn delayed(target: u16, round_trip: Duration) -> Outcome<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
            let (Ok(from_client), Ok(from_server)) = (client.try_clone(), server.try_clone()) else { continue };
            let opened = Instant::now() + round_trip;
            forward(from_client, server, opened, round_trip / 2);
            forward(from_server, client, opened, round_trip / 2);
        }
    });
    Ok(port)
}

/// Forwards one direction of a connection in two threads, and nothing before `opened`.
fn forward(mut from: TcpStream, mut to: TcpStream, opened: Instant, delay: Duration) {
    let (sender, receiver) = channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if sender.send((Instant::now().max(opened) + delay, buffer[..length].to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        let _ = to.set_nodelay(true);
        for (due, bytes) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}
