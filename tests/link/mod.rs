//! [`Link`]: a TCP connection between client and CE that fails on demand.
//!
//! A test connects to the link instead of the CE: `ARC_SERVER` is `localhost:PORT/arex` with the [port](Link::port) of
//! the link. The certificate of the CE names the host only, and the crate makes the ids of jobs from `ARC_SERVER`.
//!
//! The traffic is encrypted, so the link recognises requests by the headers of TLS records: a request begins with the
//! first application record from the client after a response, or after the handshake. HTTP requests on one connection
//! are not pipelined, so each request ends before its response begins. The CE must send no TLS session tickets, which
//! look like the beginning of a response. A-REX sends none.
//!
//! Not every test uses all of it.
#![allow(dead_code)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{Shutdown, sockopt};

/// How the link fails. A fault concerns open connections and new ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Everything is forwarded.
    None,
    /// Nothing listens on the port. Open connections are reset.
    Refuse,
    /// Connections are accepted, and nothing is forwarded. Setting another fault forwards what was held back.
    Silence,
    /// Forwards `bytes` in each direction, then pauses, and so on.
    Trickle { bytes: usize, pause: Duration },
    /// Does something with the connection at a phase of the `request`-th request. The link counts the requests of all
    /// connections from the moment at which the fault is set, beginning with 1. 0 stands for every request.
    Request { request: u64, phase: Phase, act: Act },
    /// Does something with a connection after a number of bytes in a direction. The link counts the bytes of each
    /// connection from the moment at which the fault is set.
    Bytes { direction: Direction, bytes: u64, act: Act },
    /// Does something with each connection after a random number of bytes in both directions, at most `up_to`. Small
    /// and large numbers are equally likely in each power of two, so that all phases are hit.
    Random { seed: u64, up_to: u64, act: Act },
}

/// A moment in the course of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Before its first byte is forwarded.
    Before,
    /// After this number of its bytes, TLS headers included.
    Within(u64),
    /// The CE has responded, and nothing of the response has been forwarded.
    After,
    /// After this number of bytes of its response, TLS headers included.
    Response(u64),
}

/// From the client to the CE, or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Up,
    Down,
}

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Both sides get a reset.
    Reset,
    /// Both sides see the end of the stream.
    Close,
    /// Nothing more is forwarded on this connection until another fault is set. Then the link forwards what it held
    /// back, even if the other side has gone.
    Silence,
    /// What follows is delayed, in this direction. The link delivers it even if the other side has gone.
    Hold(Duration),
}

/// What has passed through a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) connections: u64,
    pub(crate) requests: u64,
    /// Bytes from the client.
    pub(crate) up: u64,
    /// Bytes from the CE.
    pub(crate) down: u64,
    /// How often faults of the kinds [`Fault::Request`], [`Fault::Bytes`] and [`Fault::Random`] have struck.
    pub(crate) strikes: u64,
}

/// A link to a port of this host. Dropping it resets its connections.
pub(crate) struct Link {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    target: u16,
    listener: TcpListener,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    fault: Fault,
    /// The number of times that the fault may still strike.
    strikes_left: u64,
    /// Changes when a fault is set.
    epoch: u64,
    /// The requests since the fault was set.
    requests: u64,
    count: Count,
    /// The number of the last connection that must end.
    ended: u64,
    random: u64,
    is_dropped: bool,
}

/// How often a blocked thread looks whether the fault has changed.
const TICK: Duration = Duration::from_millis(50);

impl Link {
    /// Starts a link to a port of this host.
    pub(crate) fn to(target: u16) -> Link {
        let (listener, port) = bind();
        let state = State {
            fault: Fault::None,
            strikes_left: 0,
            epoch: 0,
            requests: 0,
            count: Count::default(),
            ended: 0,
            random: 0,
            is_dropped: false,
        };
        let shared = Arc::new(Shared { target, listener, state: Mutex::new(state), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&accepting));
        Link { port, shared }
    }

    /// The port that the link listens on, on the loopback interface.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Sets the fault from now on.
    pub(crate) fn set(&self, fault: Fault) {
        self.arm(fault, u64::MAX);
    }

    /// Sets a fault that strikes a number of times. After that everything is forwarded.
    pub(crate) fn arm(&self, fault: Fault, strikes: u64) {
        let mut state = self.shared.state();
        let was_refusing = std::mem::replace(&mut state.fault, fault) == Fault::Refuse;
        state.epoch += 1;
        state.requests = 0;
        state.strikes_left = strikes;
        if let Fault::Random { seed, .. } = fault {
            state.random = seed;
        }
        if fault == Fault::Refuse && !was_refusing {
            rustix::net::shutdown(&self.shared.listener, Shutdown::Both).unwrap();
            state.ended = state.count.connections;
        }
        if fault != Fault::Refuse && was_refusing {
            rustix::net::listen(&self.shared.listener, 128).unwrap();
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Resets all open connections.
    pub(crate) fn reset_all(&self) {
        let mut state = self.shared.state();
        state.ended = state.count.connections;
        drop(state);
        self.shared.changed.notify_all();
    }

    /// What has passed through the link since it was started.
    pub(crate) fn count(&self) -> Count {
        self.shared.state().count
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.is_dropped = true;
        state.ended = u64::MAX;
        let _ = rustix::net::shutdown(&self.shared.listener, Shutdown::Both);
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens on a free port. The kernel keeps a port for a socket that does not listen only if the port was given.
fn bind() -> (TcpListener, u16) {
    loop {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return (listener, port);
        }
    }
}

fn accept(shared: &Arc<Shared>) {
    loop {
        match shared.listener.accept() {
            Ok((client, _)) => {
                let mut state = shared.state();
                state.count.connections += 1;
                let number = state.count.connections;
                drop(state);
                let shared = Arc::clone(shared);
                thread::spawn(move || connect(&shared, client, number));
            }
            Err(_) => {
                // The listener does not listen while the link refuses connections.
                let state = shared.state();
                if state.is_dropped {
                    return;
                }
                if state.fault == Fault::Refuse {
                    drop(shared.changed.wait_timeout(state, TICK));
                }
            }
        }
    }
}

fn connect(shared: &Arc<Shared>, client: TcpStream, number: u64) {
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, shared.target)) else {
        // The client has a connection already, so it gets a reset.
        let _ = sockopt::set_socket_linger(&client, Some(Duration::ZERO));
        return;
    };
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(TICK)).unwrap();
        stream.set_write_timeout(Some(TICK)).unwrap();
    }
    let connection = Connection { shared, number, client, server, flow: Mutex::default() };
    thread::scope(|scope| {
        scope.spawn(|| connection.pump(Direction::Up));
        connection.pump(Direction::Down);
    });
}

/// One connection through the link.
struct Connection<'a> {
    shared: &'a Shared,
    number: u64,
    client: TcpStream,
    server: TcpStream,
    flow: Mutex<Flow>,
}

/// How far a connection is. Pairs hold the values of the two directions.
#[derive(Default)]
struct Flow {
    /// The epoch to which the counters belong.
    epoch: u64,
    /// The bytes since the fault was set.
    bytes: [u64; 2],
    /// The bytes that are left of the current record.
    record: [usize; 2],
    /// Whether the fault has struck before the next byte.
    has_struck: [bool; 2],
    /// Whether the server has encrypted a part of the handshake.
    is_tls_13: bool,
    /// Whether the TLS 1.3 handshake is complete.
    is_established: bool,
    /// The number of the last request since the fault was set.
    request: Option<u64>,
    request_bytes: u64,
    response_bytes: u64,
    has_responded: bool,
    /// The number of bytes before which a random fault strikes.
    limit: Option<u64>,
    /// The connection is silent during this epoch.
    silent: Option<u64>,
    /// The connection must end.
    has_ended: bool,
}

impl Connection<'_> {
    /// Forwards one direction until the connection ends.
    fn pump(&self, direction: Direction) {
        let (mut from, to) = match direction {
            Direction::Up => (&self.client, &self.server),
            Direction::Down => (&self.server, &self.client),
        };
        let mut data = Vec::new();
        let mut buffer = [0; 16 << 10];
        while self.is_open() {
            match from.read(&mut buffer) {
                Ok(0) => {
                    self.forward(direction, &mut data, true);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                    return;
                }
                Ok(size) => data.extend(&buffer[..size]),
                Err(error) if is_pause(&error) => continue,
                Err(_) => return self.end(Act::Reset),
            }
            self.forward(direction, &mut data, false);
        }
    }

    /// Forwards data as the fault allows it. Keeps the beginning of a header, unless the stream has ended.
    fn forward(&self, direction: Direction, data: &mut Vec<u8>, is_end: bool) {
        while !data.is_empty() && self.is_open() {
            let (size, act) = {
                let mut state = self.shared.state();
                let mut flow = self.flow();
                flow.pass(&mut state, direction, data)
            };
            let size = if is_end && act.is_none() { data.len() } else { size };
            if !self.write(direction, &data[..size]) {
                return self.end(Act::Close);
            }
            data.drain(..size);
            match act {
                None => return,
                Some(Act::Hold(time)) => {
                    let end = Instant::now() + time;
                    while Instant::now() < end && self.is_open() {
                        thread::sleep(TICK.min(end - Instant::now()));
                    }
                }
                Some(Act::Silence) => {
                    let epoch = self.shared.state().epoch;
                    self.flow().silent = Some(epoch);
                }
                Some(act) => return self.end(act),
            }
        }
    }

    /// Writes all data, slowly if the link trickles. Returns false if that fails.
    fn write(&self, direction: Direction, mut data: &[u8]) -> bool {
        let mut to = if direction == Direction::Up { &self.server } else { &self.client };
        while !data.is_empty() && self.is_open() {
            let (fault, epoch) = {
                let state = self.shared.state();
                (state.fault, state.epoch)
            };
            let size = match fault {
                Fault::Trickle { bytes, .. } => data.len().min(bytes),
                _ => data.len(),
            };
            match to.write(&data[..size]) {
                Ok(size) => data = &data[size..],
                Err(error) if is_pause(&error) => continue,
                Err(_) => return false,
            }
            if let Fault::Trickle { pause, .. } = fault {
                let end = Instant::now() + pause;
                while Instant::now() < end && self.shared.state().epoch == epoch && self.is_open() {
                    thread::sleep(TICK.min(end - Instant::now()));
                }
            }
        }
        true
    }

    /// Waits while the connection is silent. Returns false if it must end.
    fn is_open(&self) -> bool {
        let mut state = self.shared.state();
        loop {
            let flow = self.flow();
            if flow.has_ended {
                return false;
            }
            let is_silent = state.fault == Fault::Silence || flow.silent == Some(state.epoch);
            drop(flow);
            if self.number <= state.ended {
                drop(state);
                self.end(Act::Reset);
                return false;
            }
            if !is_silent {
                return true;
            }
            state = self.shared.changed.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends the connection. The sockets close when both threads have noticed.
    fn end(&self, act: Act) {
        self.flow().has_ended = true;
        for stream in [&self.client, &self.server] {
            if act == Act::Reset {
                let _ = sockopt::set_socket_linger(stream, Some(Duration::ZERO));
            }
            // This wakes the other thread and sends nothing.
            let _ = stream.shutdown(std::net::Shutdown::Read);
        }
    }

    fn flow(&self) -> MutexGuard<'_, Flow> {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_pause(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

const HEADER: usize = 5;

impl Flow {
    /// Accounts for data up to the moment at which the fault strikes, or up to an incomplete header of a TLS record.
    /// Returns the number of bytes, and what happens then.
    fn pass(&mut self, state: &mut State, direction: Direction, data: &[u8]) -> (usize, Option<Act>) {
        if self.epoch != state.epoch {
            self.epoch = state.epoch;
            self.bytes = [0; 2];
            self.limit = None;
            self.has_struck = [false; 2];
            self.request = self.request.map(|_| u64::MAX);
        }
        let side = direction as usize;
        for (index, _) in data.iter().enumerate() {
            if self.record[side] == 0 {
                let Some(header) = data[index..].first_chunk::<HEADER>() else { return (index, None) };
                if !self.has_struck[side] {
                    self.begin_record(state, direction, *header);
                }
            }
            if !std::mem::replace(&mut self.has_struck[side], false) {
                if let Some(act) = self.strike(state, direction) {
                    state.strikes_left -= 1;
                    state.count.strikes += 1;
                    self.has_struck[side] = true;
                    return (index, Some(act));
                }
            }
            if self.record[side] == 0 {
                let header = &data[index..];
                self.record[side] = HEADER + usize::from(u16::from_be_bytes([header[3], header[4]]));
            }
            self.record[side] -= 1;
            self.bytes[side] += 1;
            match direction {
                Direction::Up => (self.request_bytes, state.count.up) = (self.request_bytes + 1, state.count.up + 1),
                Direction::Down => {
                    self.response_bytes += u64::from(self.has_responded);
                    state.count.down += 1;
                }
            }
        }
        (data.len(), None)
    }

    /// Notices where the handshake ends, and where requests and responses begin.
    fn begin_record(&mut self, state: &mut State, direction: Direction, header: [u8; HEADER]) {
        const APPLICATION: u8 = 23;
        let [kind, _, _, length @ ..] = header;
        if kind != APPLICATION {
            return;
        }
        match (direction, u16::from_be_bytes(length)) {
            // In TLS 1.3, the handshake ends with records that look like application data, first of the server. The last
            // one is the client's "Finished", with a hash of 32 or 48 bytes. ARC 7.0 speaks TLS 1.2, which has no such
            // records.
            (Direction::Up, length) if self.is_tls_13 && !self.is_established => {
                self.is_established = matches!(length, 53 | 69);
            }
            // A shorter record is an alert.
            (Direction::Up, 41..) if self.request.is_none() || self.has_responded => {
                state.requests += 1;
                state.count.requests += 1;
                self.request = Some(state.requests);
                (self.request_bytes, self.response_bytes, self.has_responded) = (0, 0, false);
            }
            (Direction::Up, _) => {}
            (Direction::Down, _) => {
                self.is_tls_13 |= self.request.is_none();
                self.has_responded |= self.request.is_some();
            }
        }
    }

    /// Returns what the fault does before the next byte, if it strikes.
    fn strike(&mut self, state: &mut State, direction: Direction) -> Option<Act> {
        if state.strikes_left == 0 {
            return None;
        }
        match state.fault {
            Fault::Request { request, phase, act } => {
                let is_the_one = self.request.is_some_and(|number| request == 0 || number == request);
                let is_now = match (phase, direction) {
                    (Phase::Before, Direction::Up) => !self.has_responded && self.request_bytes == 0,
                    (Phase::Within(bytes), Direction::Up) => !self.has_responded && self.request_bytes == bytes,
                    (Phase::After, Direction::Down) => self.has_responded && self.response_bytes == 0,
                    (Phase::Response(bytes), Direction::Down) => self.has_responded && self.response_bytes == bytes,
                    _ => false,
                };
                (is_the_one && is_now).then_some(act)
            }
            Fault::Bytes { direction: concerned, bytes, act } => {
                (direction == concerned && self.bytes[direction as usize] == bytes).then_some(act)
            }
            Fault::Random { up_to, act, .. } => {
                let limit = *self.limit.get_or_insert_with(|| random_size(&mut state.random, up_to));
                (self.bytes[0] + self.bytes[1] == limit).then_some(act)
            }
            Fault::None | Fault::Refuse | Fault::Silence | Fault::Trickle { .. } => None,
        }
    }
}

/// A number from 1 to `up_to`. Each power of two is as likely as the others.
fn random_size(random: &mut u64, up_to: u64) -> u64 {
    let power = splitmix(random) % u64::from(up_to.max(1).ilog2() + 1);
    ((1 << power) + splitmix(random) % (1 << power)).min(up_to.max(1))
}

/// The generator SplitMix64.
pub(crate) fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
