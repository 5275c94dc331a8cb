//! Runs a child process on its own terminal and measures how long it takes to end.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// The number of runs of each scenario.
pub(crate) const RUNS: usize = 20;

/// The delay of one run that a busy machine may cause. It is shorter than the five seconds for which the exit waits for
/// calls in flight, so a test still detects that wait.
const TOLERANCE: Duration = Duration::from_millis(3500);

/// The maximum run time of a child. After it, the child is killed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The end of a child process and its output.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code, or `None` if a signal ended the child.
    pub(crate) code: Option<i32>,
    /// The exit code or the name of the signal, as text.
    #[expect(dead_code, reason = "failures print it")]
    pub(crate) end: String,
    /// The time from [`set_out`] until the end, or `None` if the child did not call it.
    pub(crate) took: Option<Duration>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// The text on its terminal.
    pub(crate) terminal: String,
    /// The exit handlers of the program that ran, in order.
    pub(crate) handlers: String,
}

/// Runs a child, which calls [`take_terminal`] and [`set_out`], and keeps its notes in `dir`.
pub(crate) fn run(mut command: Command, dir: &Path) -> Ended {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let flags = OFlags::NOCTTY.bits() as i32;
    let terminal = File::options().read(true).write(true).custom_flags(flags).open(name.to_str().unwrap()).unwrap();
    command
        .stdin(terminal)
        .stdout(File::create(dir.join("stdout")).unwrap())
        .stderr(File::create(dir.join("stderr")).unwrap());

    let mut child = command.spawn().unwrap();
    drop(command); // closes this process's end of the child's terminal
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            break child.wait().unwrap();
        }
        sleep(Duration::from_millis(2));
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();

    let text = |name: &str| String::from_utf8_lossy(&fs::read(dir.join(name)).unwrap_or_default()).into_owned();
    let set_out = text("set_out").parse().ok().map(Duration::from_nanos);
    Ended {
        code: status.code(),
        end: status.to_string(),
        took: set_out.map(|then| now.saturating_sub(then)),
        stdout: text("stdout"),
        stderr: text("stderr"),
        terminal: read_all(master.into()),
        handlers: text("handlers"),
    }
}

/// Checks the times that the runs took to end. The median must be within `within`, and one run may be late by more than
/// [`TOLERANCE`]. Returns the result as text.
pub(crate) fn in_time(mut took: Vec<Duration>, within: Duration) -> Result<String, String> {
    took.sort();
    let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
    let late = took.iter().filter(|took| **took > within + TOLERANCE).count();
    if median > within || late > 1 {
        return Err(format!("the runs did not end within {within:?}: {took:?}"));
    }
    Ok(format!("ended in {median:.3?}, at most {longest:.3?}"))
}

/// Creates a configuration with a port where no server listens and a certificate that no CE accepts.
pub(crate) fn config_without_ce(home: &Path) -> PathBuf {
    static MADE: Mutex<()> = Mutex::new(());
    let _lock = MADE.lock().unwrap();
    let openssl = |args: &str| {
        let output = Command::new("openssl").args(args.split(' ')).current_dir(home).output().expect("openssl runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let config = home.join("config.json");
    if !config.exists() {
        openssl(
            "req -x509 -newkey rsa:2048 -nodes -days 90 -subj /O=Guest/CN=guest -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem",
        );
        let hash = openssl("x509 -hash -noout -in cert.pem");
        fs::copy(home.join("cert.pem"), home.join(format!("{}.0", hash.trim()))).unwrap();
        let text = serde_json::json!({
            "ARC_SERVER": "127.0.0.1:1",
            "CLIENT_CERT": home.join("cert.pem"),
            "CLIENT_KEY": home.join("key.pem"),
            "CERTS_DIR": home,
            "PROXY_FILE": home.join("proxy.pem"),
            "JOBS_INFO_FILE": home.join("jobs.dat"),
        });
        fs::write(&config, text.to_string()).unwrap();
    }
    config
}

/// Makes the child's standard input its controlling terminal, `/dev/tty`, where programs prompt for passwords.
pub(crate) fn take_terminal() {
    rustix::process::setsid().unwrap();
    rustix::process::ioctl_tiocsctty(rustix::stdio::stdin()).unwrap();
}

/// Notes the time when the child decides to end.
pub(crate) fn set_out(dir: &Path) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    fs::write(dir.join("set_out"), now.as_nanos().to_string()).unwrap();
}

/// Reads what was written to a terminal that no other process has open.
fn read_all(mut master: File) -> String {
    rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK).unwrap();
    let mut text = Vec::new();
    // Reading ends with EIO, or with EAGAIN if a process still has the terminal open.
    let _ = master.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}
