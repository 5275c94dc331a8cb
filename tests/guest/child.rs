//! The child programs, which use the crate and end in different ways.
#![allow(unsafe_code)] // exit handlers and signal actions are libc's

use std::cell::Cell;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Once, OnceLock};
use std::time::{Duration, Instant};
use std::{env, fs, mem, process, ptr, thread};

use jasmin_arc::{
    ArcInterface, CancelToken, ConnectionConfig, Error, JobDescription, JobId, LogLevel, PassphraseFailure,
};
use tokio::signal::unix::{SignalKind, signal};

use crate::run;

/// The first argument of a child process. The arguments are `CHILD SCENARIO RUN CONFIG DIRECTORY`.
pub(crate) const CHILD: &str = "--child";

/// A program and how it should end.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// The program. Its result is the exit code of the process, unless the program ends the process in another way.
    main: fn() -> u8,
    /// The expected exit code.
    pub(crate) code: i32,
    /// A part of the expected text on standard error, where an empty string means no text.
    pub(crate) stderr: &'static str,
    /// The expected text on the terminal.
    pub(crate) terminal: &'static str,
    /// The maximum time from the decision to end until the end.
    pub(crate) within: Duration,
    /// Whether it runs with an endpoint where no server listens.
    pub(crate) without_ce: bool,
    /// Whether it runs with a CE that responds.
    pub(crate) with_ce: bool,
}

/// A scenario that runs with and without a CE.
const fn scenario(name: &'static str, main: fn() -> u8, code: i32) -> Scenario {
    let within = Duration::from_secs(1);
    Scenario { name, main, code, stderr: "", terminal: "", within, without_ce: true, with_ce: true }
}

/// A scenario that runs without a CE only.
const fn alone(name: &'static str, main: fn() -> u8, code: i32) -> Scenario {
    Scenario { with_ce: false, ..scenario(name, main, code) }
}

/// A scenario with a call in flight to a server that never responds.
const fn in_flight(name: &'static str, main: fn() -> u8, code: i32) -> Scenario {
    Scenario { within: Duration::from_secs(6), ..alone(name, main, code) }
}

macro_rules! named {
    ($kind:ident, $main:ident, $code:expr) => {
        $kind(stringify!($main), $main, $code)
    };
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { terminal: "Password: ", ..named!(alone, password_prompts_are_detected, 0) },
    // Ways to end.
    named!(alone, returns_without_a_call, 0),
    named!(scenario, returns_from_main, 3),
    named!(scenario, exits, 7),
    Scenario { stderr: "panicked at", ..named!(scenario, panics, 101) },
    named!(scenario, returns_while_threads_call, 7),
    named!(scenario, exits_while_threads_call, 7),
    named!(scenario, exits_during_initialisation, 7),
    named!(scenario, exits_during_the_first_call, 7),
    named!(scenario, exits_from_another_thread, 7),
    named!(scenario, several_interfaces_work, 0),
    named!(scenario, calls_in_exit_handlers_return_errors, 0),
    named!(alone, forked_process_exits, 0),
    named!(scenario, forked_process_is_refused, 0),
    Scenario { without_ce: false, ..named!(scenario, submits, 0) },
    named!(alone, exits_while_a_proxy_is_created, 7),
    named!(in_flight, returns_with_a_call_in_flight, 7),
    named!(in_flight, exits_with_calls_in_flight, 7),
    Scenario { stderr: "panicked at", ..named!(in_flight, panics_with_a_call_in_flight, 101) },
    // Signals and child processes.
    named!(alone, sigchld_handler_set_before_is_kept, 0),
    named!(alone, sigchld_handler_with_siginfo_set_before_is_kept, 0),
    named!(alone, sigchld_handler_set_after_is_kept, 0),
    named!(alone, sigchld_ignored_before_stays_ignored, 0),
    named!(alone, sigchld_ignored_after_stays_ignored, 0),
    named!(alone, child_processes_can_be_waited_for, 0),
    named!(scenario, tokio_child_processes_can_be_waited_for, 0),
    named!(alone, tokio_signals_arrive, 0),
    named!(alone, sigterm_ends_calls_to_a_silent_ce, 0),
    named!(alone, process_state_is_unchanged, 0),
    named!(alone, killed_helper_is_tolerated, 0),
    named!(alone, killed_helper_raises_no_sigpipe, 0),
    // Errors, which print nothing and prompt for nothing.
    named!(alone, garbage_responses_are_errors, 0),
    named!(alone, unknown_ca_is_an_error, 0),
    named!(alone, encrypted_key_needs_a_passphrase_and_no_prompt, 0),
    named!(alone, encrypted_proxy_key_is_refused_without_a_prompt, 0),
    named!(alone, garbage_credentials_are_errors, 0),
    named!(alone, missing_arc_location_is_an_error, 0),
    Scenario { without_ce: false, ..named!(scenario, submits_with_a_garbage_job_list, 0) },
    // Loggers.
    named!(alone, slow_logger_is_tolerated, 0),
    named!(alone, logger_may_log, 0),
    named!(alone, logger_may_call_the_crate, 0),
    named!(alone, panicking_logger_is_tolerated, 0),
    named!(alone, logger_that_never_returns_is_tolerated, 0),
    named!(alone, logger_may_exit_the_process, 7),
];

struct Guest {
    /// The number of the run, counted from 0.
    run: u64,
    config: PathBuf,
    dir: PathBuf,
}

static GUEST: OnceLock<Guest> = OnceLock::new();

fn guest() -> &'static Guest {
    GUEST.get().unwrap()
}

pub(crate) fn main(mut args: impl Iterator<Item = String>) -> ExitCode {
    let mut next = || args.next().unwrap();
    let name = next();
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name).unwrap();
    let guest = Guest { run: next().parse().unwrap(), config: next().into(), dir: next().into() };
    let guest = GUEST.get_or_init(|| guest);
    run::take_terminal();
    // SAFETY: the handler is an ordinary function.
    assert_eq!(unsafe { libc::atexit(before) }, 0);
    let code = (scenario.main)();
    run::set_out(&guest.dir);
    ExitCode::from(code)
}

// --- the program's own exit handlers ---

/// The handler that is registered before the crate is used.
extern "C" fn before() {
    if let Some(arc) = KEPT.get() {
        arc.job_status(&job()).unwrap_err();
    }
    note("before ");
}

/// The handler that is registered after the crate is used.
extern "C" fn after() {
    if let Some(arc) = KEPT.get() {
        arc.job_status(&job()).unwrap_err();
    }
    note("after ");
}

/// Appends a word to the file `handlers`, which the parent reads.
fn note(what: &str) {
    let file = fs::File::options().create(true).append(true).open(guest().dir.join("handlers"));
    file.and_then(|mut file| file.write_all(what.as_bytes())).unwrap();
}

// --- parts of the programs ---

fn register_after() {
    static ONCE: Once = Once::new();
    // SAFETY: the handler is an ordinary function.
    ONCE.call_once(|| assert_eq!(unsafe { libc::atexit(after) }, 0));
}

fn arc() -> ArcInterface {
    let arc = ArcInterface::from_file(&guest().config).unwrap();
    register_after();
    arc
}

fn interface(config: ConnectionConfig) -> ArcInterface {
    let arc = ArcInterface::builder().config(config).log_level(LogLevel::Debug).build().unwrap();
    register_after();
    arc
}

/// An id that belongs to no job.
fn job() -> JobId {
    JobId::from("0123456789abcdef0123456789abcdef")
}

/// Makes a call and checks that it fails as expected.
fn call(arc: &ArcInterface) {
    match arc.job_status(&job()) {
        Err(Error::Connection { .. }) if arc.config().arc_server() == "127.0.0.1:1" => {}
        Err(Error::JobNotFound { .. }) => {}
        other => panic!("{other:?}"),
    }
}

/// Starts threads that make calls until the process ends.
fn busy_threads(arc: &ArcInterface, number: usize) {
    for _ in 0..number {
        let arc = arc.clone();
        thread::spawn(move || while !matches!(arc.job_status(&job()), Err(Error::Exiting)) {});
    }
}

/// Exits, and notes the time for the parent.
fn exit(code: i32) -> ! {
    run::set_out(&guest().dir);
    process::exit(code)
}

fn delay(milliseconds: u64) {
    thread::sleep(Duration::from_millis(milliseconds));
}

/// Starts a server that accepts connections and never responds.
fn silent() -> (ArcInterface, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap().to_string();
    (interface(ConnectionConfig::from_file(&guest().config).unwrap().with_arc_server(server)), listener)
}

/// Starts a server that accepts connections and never responds, and threads with calls in flight to it.
fn call_in_flight(threads: usize) -> (TcpListener, TcpStream) {
    let (arc, listener) = silent();
    busy_threads(&arc, threads);
    let (connection, _) = listener.accept().unwrap();
    (listener, connection)
}

// --- programs ---

fn password_prompts_are_detected() -> u8 {
    let _arc = arc();
    let mut terminal = fs::File::options().write(true).open("/dev/tty").unwrap();
    terminal.write_all(b"Password: ").unwrap();
    0
}

fn returns_without_a_call() -> u8 {
    arc();
    0
}

fn returns_from_main() -> u8 {
    call(&arc());
    3
}

fn exits() -> u8 {
    let arc = arc();
    call(&arc);
    exit(7)
}

fn panics() -> u8 {
    let arc = arc();
    call(&arc);
    run::set_out(&guest().dir);
    panic!("the program panics")
}

fn returns_while_threads_call() -> u8 {
    busy_threads(&arc(), 4);
    delay(100);
    7
}

fn exits_while_threads_call() -> u8 {
    busy_threads(&arc(), 4);
    delay(100);
    exit(7)
}

fn exits_during_initialisation() -> u8 {
    register_after();
    thread::spawn(|| ArcInterface::from_file(&guest().config).map(|arc| arc.job_status(&job())));
    delay(2 * guest().run);
    exit(7)
}

fn exits_during_the_first_call() -> u8 {
    busy_threads(&arc(), 1);
    delay(5 * guest().run);
    exit(7)
}

fn exits_from_another_thread() -> u8 {
    let arc = arc();
    call(&arc);
    thread::spawn(|| {
        delay(30);
        exit(7)
    });
    while !matches!(arc.job_status(&job()), Err(Error::Exiting)) {}
    loop {
        thread::park();
    }
}

fn several_interfaces_work() -> u8 {
    thread_local!(static LOCAL: OnceLock<ArcInterface> = const { OnceLock::new() });
    static STATIC: OnceLock<ArcInterface> = OnceLock::new();
    let first = arc();
    let make = |timeout: u64| {
        let config = first.config().clone().with_proxy_renewal_threshold(Duration::from_secs(timeout));
        ArcInterface::builder().config(config).no_log().build().unwrap()
    };
    call(&first);
    call(STATIC.get_or_init(|| make(60)));
    LOCAL.with(|local| call(local.get_or_init(|| make(61))));
    let dropped = thread::spawn({
        let arc = make(62);
        move || call(&arc)
    });
    dropped.join().unwrap();
    0
}

/// The interface that the exit handlers use.
static KEPT: OnceLock<ArcInterface> = OnceLock::new();

fn calls_in_exit_handlers_return_errors() -> u8 {
    call(KEPT.get_or_init(arc));
    0
}

fn returns_with_a_call_in_flight() -> u8 {
    mem::forget(call_in_flight(1));
    7
}

fn exits_with_calls_in_flight() -> u8 {
    mem::forget(call_in_flight(4));
    exit(7)
}

fn panics_with_a_call_in_flight() -> u8 {
    mem::forget(call_in_flight(1));
    run::set_out(&guest().dir);
    panic!("the program panics")
}

fn forked_process_exits() -> u8 {
    let arc = arc();
    call(&arc);
    // SAFETY: the process has other threads, so the child may call only async-signal-safe functions. It only exits.
    match unsafe { libc::fork() } {
        0 => {
            fs::rename(guest().dir.join("handlers"), guest().dir.join("handlers-of-the-fork")).unwrap_or_default();
            process::exit(5)
        }
        forked => {
            let begun = Instant::now();
            let mut status = 0;
            // SAFETY: the status is written to a local.
            assert_eq!(unsafe { libc::waitpid(forked, &mut status, 0) }, forked);
            assert_eq!(process::ExitStatus::from_raw(status).code(), Some(5));
            assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        }
    }
    assert_eq!(fs::read_to_string(guest().dir.join("handlers")).unwrap(), "after before ");
    fs::remove_file(guest().dir.join("handlers")).unwrap();
    call(&arc);
    0
}

fn forked_process_is_refused() -> u8 {
    let arc = arc();
    call(&arc);
    // SAFETY: as above. The calls of the crate return before they touch a lock.
    let forked = unsafe { libc::fork() };
    if forked == 0 {
        let results = [
            arc.job_status(&job()).map(drop),
            arc.submit_job("/bin/true", &[], &[]).map(drop),
            arc.create_proxy(),
            arc.ensure_proxy(),
            ArcInterface::from_file(&guest().config).map(drop),
        ];
        let refused = results.iter().filter(|result| matches!(result, Err(Error::Forked))).count();
        let described = JobDescription::new("/bin/true").to_adl();
        drop(arc); // leaves the connections to the parent
        let right = refused == results.len() && described.is_err_and(|error| error.to_string().contains("forked"));
        // SAFETY: it ends the process at once, so the handlers of the parent do not run here.
        unsafe { libc::_exit(if right { 6 } else { refused as i32 }) };
    }
    let mut status = 0;
    // SAFETY: the status is written to a local.
    assert_eq!(unsafe { libc::waitpid(forked, &mut status, 0) }, forked);
    assert_eq!(process::ExitStatus::from_raw(status).code(), Some(6));
    call(&arc);
    0
}

fn submits() -> u8 {
    let arc = arc();
    let job = arc.submit_job("/bin/true", &[], &[]).unwrap();
    arc.job_status(&job).unwrap();
    0
}

fn own_proxy() -> ArcInterface {
    let config = ConnectionConfig::from_file(&guest().config).unwrap();
    interface(config.with_proxy_file(guest().dir.join("proxy.pem")))
}

fn exits_while_a_proxy_is_created() -> u8 {
    let arc = own_proxy();
    thread::spawn(move || arc.create_proxy());
    delay(10 * guest().run);
    exit(7)
}

// --- signals and child processes ---

static SIGCHLDS: AtomicUsize = AtomicUsize::new(0);
static LAST_CHILD: AtomicI32 = AtomicI32::new(0);

extern "C" fn count(_: libc::c_int) {
    SIGCHLDS.fetch_add(1, Ordering::SeqCst);
}

extern "C" fn note_child(_: libc::c_int, info: *const libc::siginfo_t, _: *const libc::c_void) {
    // SAFETY: the siginfo of a SIGCHLD has a process id.
    LAST_CHILD.store(unsafe { (*info).si_pid() }, Ordering::SeqCst);
}

fn set_sigchld(handler: libc::sighandler_t, flags: libc::c_int) {
    // SAFETY: the handlers touch atomics only.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags | libc::SA_RESTART;
        assert_eq!(libc::sigaction(libc::SIGCHLD, &action, ptr::null_mut()), 0);
    }
}

fn eventually(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 20 s");
        delay(1);
    }
}

/// Runs a child and waits for its SIGCHLD.
fn run_child() {
    let before = SIGCHLDS.load(Ordering::SeqCst);
    assert!(Command::new("true").status().unwrap().success());
    eventually(|| SIGCHLDS.load(Ordering::SeqCst) > before);
}

fn sigchld_handler_set_before_is_kept() -> u8 {
    set_sigchld(count as *const () as usize, 0);
    let arc = arc();
    run_child();
    call(&arc);
    run_child();
    0
}

fn sigchld_handler_with_siginfo_set_before_is_kept() -> u8 {
    set_sigchld(note_child as *const () as usize, libc::SA_SIGINFO);
    call(&arc());
    let mut child = Command::new("true").spawn().unwrap();
    assert!(child.wait().unwrap().success());
    eventually(|| LAST_CHILD.load(Ordering::SeqCst) == child.id() as i32);
    0
}

fn sigchld_handler_set_after_is_kept() -> u8 {
    let arc = arc();
    call(&arc);
    set_sigchld(count as *const () as usize, 0);
    run_child();
    call(&arc);
    run_child();
    0
}

/// Runs a child that the kernel reaps, so waiting for it fails with ECHILD.
fn run_reaped_child() {
    let mut child = Command::new("true").spawn().unwrap();
    let process = format!("/proc/{}", child.id());
    eventually(|| !Path::new(&process).exists());
    assert_eq!(child.wait().unwrap_err().raw_os_error(), Some(libc::ECHILD));
}

fn sigchld_ignored_before_stays_ignored() -> u8 {
    set_sigchld(libc::SIG_IGN, 0);
    let arc = own_proxy();
    run_reaped_child();
    call(&arc);
    run_reaped_child();
    0
}

fn sigchld_ignored_after_stays_ignored() -> u8 {
    let arc = own_proxy();
    set_sigchld(libc::SIG_IGN, 0);
    run_reaped_child();
    call(&arc);
    run_reaped_child();
    0
}

fn child_processes_can_be_waited_for() -> u8 {
    busy_threads(&arc(), 2);
    for n in 0..100 {
        let status = Command::new("sh").args(["-c", &format!("exit {n}")]).status().unwrap();
        assert_eq!(status.code(), Some(n));
    }
    0
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn tokio_child_processes_can_be_waited_for() -> u8 {
    runtime().block_on(async {
        busy_threads(&arc(), 2);
        for n in 0..100 {
            let status = tokio::process::Command::new("sh").args(["-c", &format!("exit {n}")]).status().await.unwrap();
            assert_eq!(status.code(), Some(n));
        }
    });
    0
}

fn tokio_signals_arrive() -> u8 {
    async fn seen(stream: &mut tokio::signal::unix::Signal) {
        tokio::time::timeout(Duration::from_secs(20), stream.recv()).await.unwrap().unwrap();
    }
    fn raise(number: libc::c_int) {
        // SAFETY: kill has no preconditions.
        assert_eq!(unsafe { libc::raise(number) }, 0);
    }
    runtime().block_on(async {
        let mut child_before = signal(SignalKind::child()).unwrap();
        let mut interrupt = signal(SignalKind::interrupt()).unwrap();
        let arc = tokio::task::spawn_blocking(|| {
            let arc = arc();
            call(&arc);
            arc
        })
        .await
        .unwrap();
        let mut child_after = signal(SignalKind::child()).unwrap();
        let mut terminate = signal(SignalKind::terminate()).unwrap();
        assert!(tokio::process::Command::new("true").status().await.unwrap().success());
        seen(&mut child_before).await;
        seen(&mut child_after).await;
        raise(libc::SIGINT);
        seen(&mut interrupt).await;
        raise(libc::SIGTERM);
        seen(&mut terminate).await;
        tokio::task::spawn_blocking(move || call(&arc)).await.unwrap();
    });
    0
}

/// A service that stops on SIGTERM. Its handler cancels the token of all calls.
fn sigterm_ends_calls_to_a_silent_ce() -> u8 {
    static SHUTDOWN: OnceLock<CancelToken> = OnceLock::new();
    extern "C" fn stop(_: libc::c_int) {
        if let Some(token) = SHUTDOWN.get() {
            token.cancel();
        }
    }
    let token = SHUTDOWN.get_or_init(CancelToken::new);
    let handler: extern "C" fn(libc::c_int) = stop;
    // SAFETY: the handler only sets a flag.
    assert_ne!(unsafe { libc::signal(libc::SIGTERM, handler as libc::sighandler_t) }, libc::SIG_ERR);
    let (arc, _server) = silent();
    let arc = arc.with_cancel(token);
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let arc = arc.clone();
            thread::spawn(move || arc.job_status(&JobId::from("1")).unwrap_err())
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    run::set_out(&guest().dir);
    // SAFETY: kill has no preconditions.
    assert_eq!(unsafe { libc::kill(libc::getpid(), libc::SIGTERM) }, 0);
    for call in calls {
        assert!(matches!(call.join().unwrap(), Error::Cancelled));
    }
    process::exit(0)
}

/// The state of the process: signal actions except that of SIGCHLD, signal mask, umask, environment, working directory.
fn process_state() -> (Vec<String>, Vec<(std::ffi::OsString, std::ffi::OsString)>, PathBuf) {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let lines = status.lines().filter_map(|line| {
        let (name, value) = line.split_once(":\t")?;
        match name {
            "SigBlk" | "SigIgn" | "Umask" => Some(line.to_owned()),
            "SigCgt" => {
                let mask = u64::from_str_radix(value, 16).unwrap() & !(1 << (libc::SIGCHLD - 1));
                Some(format!("SigCgt {mask:x}"))
            }
            _ => None,
        }
    });
    (lines.collect(), env::vars_os().collect(), env::current_dir().unwrap())
}

fn process_state_is_unchanged() -> u8 {
    thread::spawn(|| ()).join().unwrap(); // with the first thread, the C library catches a signal of its own
    let before = process_state();
    let arc = own_proxy();
    call(&arc);
    assert_eq!(process_state(), before);
    0
}

// --- loggers ---

struct Logger(fn(&log::Record));

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }
    fn log(&self, record: &log::Record) {
        self.0(record);
    }
    fn flush(&self) {}
}

static LOGGED: AtomicUsize = AtomicUsize::new(0);
static LOGGING: OnceLock<ArcInterface> = OnceLock::new();

fn set_logger(log: fn(&log::Record)) {
    log::set_boxed_logger(Box::new(Logger(log))).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
}

/// Sets the program's logger and makes calls that log.
fn with_logger(log: fn(&log::Record)) {
    set_logger(log);
    let arc = LOGGING.get_or_init(own_proxy);
    call(arc);
    call(arc);
}

fn in_log_thread() -> bool {
    thread::current().name() == Some("jasmin-arc-log")
}

fn slow_logger_is_tolerated() -> u8 {
    with_logger(|_| delay(50));
    0
}

fn logger_may_log() -> u8 {
    thread_local!(static INSIDE: Cell<bool> = const { Cell::new(false) });
    with_logger(|record| {
        if !INSIDE.replace(true) {
            log::warn!("logging {}", record.args());
            INSIDE.set(false);
        }
        LOGGED.fetch_add(1, Ordering::SeqCst);
    });
    eventually(|| LOGGED.load(Ordering::SeqCst) > 10);
    0
}

fn logger_may_call_the_crate() -> u8 {
    with_logger(|_| {
        if LOGGED.fetch_add(1, Ordering::SeqCst) < 20 {
            LOGGING.get().map(|arc| arc.job_status(&job()).unwrap_err());
        }
    });
    0
}

fn panicking_logger_is_tolerated() -> u8 {
    panic::set_hook(Box::new(|_| {}));
    let arc = arc();
    set_logger(|_| panic!("the logger panics"));
    for _ in 0..2 {
        let _ = panic::catch_unwind(own_proxy);
        let _ = panic::catch_unwind(AssertUnwindSafe(|| call(&arc)));
    }
    call(&arc);
    0
}

fn logger_that_never_returns_is_tolerated() -> u8 {
    with_logger(|_| {
        while in_log_thread() {
            thread::park();
        }
    });
    0
}

fn logger_may_exit_the_process() -> u8 {
    set_logger(|_| exit(7));
    let arc = own_proxy();
    loop {
        let _ = arc.job_status(&job());
    }
}

fn killed_helper_is_tolerated() -> u8 {
    let arc = arc();
    call(&arc);
    let children = fs::read_to_string(format!("/proc/self/task/{}/children", process::id())).unwrap();
    for child in children.split_whitespace() {
        // SAFETY: kill has no preconditions.
        assert_eq!(unsafe { libc::kill(child.parse().unwrap(), libc::SIGINT) }, 0);
    }
    assert!(!children.is_empty());
    delay(20);
    call(&arc);
    0
}

fn killed_helper_raises_no_sigpipe() -> u8 {
    // SAFETY: signal has no preconditions.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    killed_helper_is_tolerated()
}

/// A TLS server that sends the same bytes to each client. Its certificate is signed by its own CA.
struct Server {
    process: process::Child,
    feeder: Option<thread::JoinHandle<()>>,
    has_ended: Arc<AtomicBool>,
    config: ConnectionConfig,
}

impl Server {
    fn new(response: &'static [u8]) -> Server {
        let config = ConnectionConfig::from_file(&guest().config).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let mut process = Command::new("openssl")
            .args(["s_server", "-quiet", "-accept", &address])
            .arg("-cert")
            .arg(config.client_cert())
            .arg("-key")
            .arg(config.client_key())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually(|| TcpStream::connect(&address).is_ok());
        let mut input = process.stdin.take().unwrap();
        // openssl sends its standard input to the connected client.
        let has_ended = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&has_ended);
        let feeder = thread::spawn(move || {
            while !ended.load(Ordering::SeqCst) && input.write_all(response).is_ok() {
                delay(50);
            }
        });
        Server { process, feeder: Some(feeder), has_ended, config: config.with_arc_server(address) }
    }

    fn arc(&self) -> ArcInterface {
        interface(self.config.clone())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        // At exit, ARC restores the default action of SIGPIPE: a thread that then writes to the pipe ends the process.
        self.has_ended.store(true, Ordering::SeqCst);
        self.feeder.take().unwrap().join().unwrap();
    }
}

fn garbage_responses_are_errors() -> u8 {
    let responses: [&[u8]; 4] = [
        b"\0\xff garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<jobs><a>",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 500 \xff\r\nContent-Type: application/json\r\nContent-Length: 6\r\n\r\n{\"a\":[",
    ];
    let server = Server::new(responses[guest().run as usize % responses.len()]);
    let arc = server.arc();
    arc.job_status(&job()).unwrap_err();
    arc.submit_job("/bin/true", &[], &[]).unwrap_err();
    0
}

fn unknown_ca_is_an_error() -> u8 {
    let server = Server::new(b"");
    let arc = interface(server.config.clone().with_certs_dir(&guest().dir));
    assert!(matches!(arc.job_status(&job()), Err(Error::Untrusted { .. })));
    0
}

fn openssl(args: &str, files: &[&Path]) {
    let made = Command::new("openssl").args(args.split(' ')).args(files).output().unwrap();
    assert!(made.status.success(), "{made:?}");
}

fn encrypted_key_needs_a_passphrase_and_no_prompt() -> u8 {
    let arc = own_proxy();
    let key = arc.config().client_key();
    let encrypted = guest().dir.join("key.pem");
    match guest().run % 2 {
        0 => openssl("pkcs8 -topk8 -passout pass:secret -out", &[&encrypted, Path::new("-in"), &key]),
        _ => openssl("rsa -aes128 -traditional -passout pass:secret -out", &[&encrypted, Path::new("-in"), &key]),
    }
    let arc = interface(arc.config().clone().with_client_key(encrypted));
    let is_missing = |error| matches!(error, Error::Passphrase { failure: PassphraseFailure::Missing, .. });
    assert!(is_missing(arc.create_proxy().unwrap_err()));
    assert!(is_missing(arc.job_status(&job()).unwrap_err()));
    let asked = |passphrase: &'static str| {
        let builder = ArcInterface::builder().config(arc.config().clone());
        builder.passphrase(move |_| Ok(passphrase.to_owned())).build().unwrap()
    };
    let wrong = asked("Secret").create_proxy().unwrap_err();
    assert!(matches!(wrong, Error::Passphrase { failure: PassphraseFailure::Wrong, .. }), "{wrong:?}");
    asked("secret").create_proxy().unwrap();
    0
}

fn encrypted_proxy_key_is_refused_without_a_prompt() -> u8 {
    let server = Server::new(b"");
    let proxy = guest().dir.join("proxy.pem");
    openssl("pkcs8 -topk8 -passout pass:secret -out", &[&proxy, Path::new("-in"), &server.config.client_key()]);
    let certificate = fs::read(server.config.client_cert()).unwrap();
    let key = fs::read(&proxy).unwrap();
    fs::write(&proxy, [certificate, key].concat()).unwrap();
    fs::set_permissions(&proxy, fs::Permissions::from_mode(0o600)).unwrap();
    let arc = interface(server.config.clone().with_proxy_file(proxy));
    assert!(matches!(arc.job_status(&job()), Err(Error::ProxyGeneration { .. })));
    assert!(matches!(arc.create_proxy(), Err(Error::ProxyGeneration { .. })));
    0
}

fn garbage_credentials_are_errors() -> u8 {
    let file = guest().dir.join("garbage");
    fs::write(&file, "-----BEGIN CERTIFICATE-----\ngarbage\n-----END CERTIFICATE-----\n").unwrap();
    let config = ConnectionConfig::from_file(&guest().config).unwrap();
    call(&interface(config.clone().with_proxy_file(&file)));
    for config in [config.clone().with_client_cert(&file), config.clone().with_client_key(&file)] {
        let arc = interface(config);
        assert!(matches!(arc.create_proxy(), Err(Error::ProxyGeneration { .. })));
    }
    let missing = interface(config.with_certs_dir("/nonexistent")).job_status(&job());
    assert!(matches!(missing, Err(Error::InvalidConfig { key: Some(key), .. }) if key == "CERTS_DIR"));
    0
}

fn missing_arc_location_is_an_error() -> u8 {
    // SAFETY: there is no other thread yet.
    unsafe { env::set_var("ARC_LOCATION", "/nonexistent") };
    register_after();
    assert!(matches!(ArcInterface::from_file(&guest().config), Err(Error::Arc { .. })));
    0
}

fn submits_with_a_garbage_job_list() -> u8 {
    let list = guest().dir.join("jobs.dat");
    fs::write(&list, "garbage".repeat(1000)).unwrap();
    let config = ConnectionConfig::from_file(&guest().config).unwrap().with_jobs_info_file(list);
    interface(config).submit_job("/bin/true", &[], &[]).unwrap();
    0
}
