//! Runs the program `arcproxy`.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::passphrase::{self, Passphrase};
use super::{Failure, POLL_INTERVAL, ProxySettings};
use crate::ffi;
use crate::limits::Limits;

/// The maximum time for one run of `arcproxy`. It usually takes half a second.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);

/// The maximum length of `arcproxy`'s output in messages, in bytes. Longer output is cut at its beginning.
const OUTPUT_SHOWN: u64 = 4 << 10;

/// The maximum length of `arcproxy`'s output, in bytes. Without it, a script that repeats a prompt at the end of its
/// input would fill the disk.
const OUTPUT_LIMIT: u64 = 16 << 20;

/// Runs `arcproxy`, which writes a proxy certificate to `file`. Returns its output as the end of a sentence.
///
/// It has until the first of the time limit and the limits of the call. `work` is a private, empty directory. `passphrase` is that of the key, if the key is encrypted.
pub(super) fn run(
    settings: &ProxySettings,
    limits: (Duration, &Limits),
    work: &Path,
    file: &Path,
    passphrase: Option<&Passphrase>,
) -> Result<String, Failure> {
    let config = work.join("client.conf");
    // The output goes to a file. Unlike a pipe, a file does not fill up, and reading it does not wait for child
    // processes of arcproxy that still run.
    let printed = work.join("output");
    let create = |path| File::create_new(path).map_err(|e| Failure::io("a file for arcproxy cannot be created", e));
    create(&config)?;
    let stdout = create(&printed)?;
    let mut child = start(settings, &config, file, stdout, passphrase)
        .map_err(|e| Failure::io(format!("ARCPROXY_PATH {} cannot be run", settings.arcproxy.display()), e))?;
    let problem = wait(&mut child, &printed, limits);
    let output = match tail(&printed) {
        Ok(text) if text.is_empty() => " (it printed nothing)".to_owned(),
        Ok(text) => format!("; it printed: {text}"),
        Err(e) => format!(" (its output cannot be read: {e})"),
    };
    match problem {
        None => Ok(output),
        Some(problem) => {
            let program = settings.arcproxy.display();
            Err(Failure::new(format!("{program} {problem}{}{output}", permission_hint(settings))))
        }
    }
}

fn start(
    settings: &ProxySettings,
    config: &Path,
    file: &Path,
    stdout: File,
    passphrase: Option<&Passphrase>,
) -> io::Result<Child> {
    let stderr = stdout.try_clone()?;
    let mut command = Command::new(&settings.arcproxy);
    command.arg("-C").arg(&settings.certificate);
    command.arg("-K").arg(&settings.key);
    command.arg("-P").arg(file);
    command.arg("-T").arg(&settings.certs_dir);
    command.arg("-c").arg(format!("validityPeriod={}", settings.validity.as_secs()));
    // -z passes an empty configuration, so that arcproxy neither reads nor creates ~/.arc/client.conf. An empty -S
    // disables the VOMS server of /etc/arc/client.conf. -p reads the passphrase of an encrypted key from the standard
    // input, so arcproxy never prompts. Its other sources are a file, the terminal, and the command line, which every
    // user can read (arcproxy.cpp in 6.17 and 7.0).
    command.arg("-z").arg(config).args(["-p", "key=stdin"]);
    if settings.voms.is_empty() {
        command.args(["-S", ""]);
    } else {
        // Without this, arcproxy requests attributes for 12 hours at most.
        command.arg("-c").arg(format!("vomsACvalidityPeriod={}", settings.validity.as_secs()));
        settings.voms.iter().for_each(|voms| {
            command.arg("-S").arg(voms);
        });
    }
    command.env("LC_ALL", "C").stdin(passphrase::pipe(passphrase)?).stdout(stdout).stderr(stderr);
    ffi::detach_from_terminal(&mut command);
    command.spawn()
}

/// Waits for the end of `arcproxy`, and kills it if it takes too long or prints too much. Returns the problem, if any.
fn wait(child: &mut Child, printed: &Path, (timeout, limits): (Duration, &Limits)) -> Option<String> {
    let deadline = Instant::now() + timeout;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return None,
            Ok(Some(status)) => return Some(format!("failed ({status})")),
            Ok(None) => {}
            // If the program ignores SIGCHLD or waits for any child, the status is lost. The caller checks whether
            // there is a proxy certificate.
            Err(_) => return None,
        }
        let problem = if Instant::now() >= deadline {
            format!("did not end within {timeout:?}")
        } else if limits.check().is_err() {
            "was stopped with the call".to_owned()
        } else if fs::metadata(printed).is_ok_and(|metadata| metadata.len() > OUTPUT_LIMIT) {
            format!("printed more than {} MiB", OUTPUT_LIMIT >> 20)
        } else {
            thread::sleep(POLL_INTERVAL);
            continue;
        };
        // Kill the whole group, since arcproxy may be a script, and also the child itself, so that the wait ends in any
        // case.
        let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
        let _ = child.kill();
        let _ = child.wait();
        return Some(problem);
    }
}

/// Returns a suggestion if the group's permissions may be the cause. arcproxy refuses some files that the group can
/// access, and arcproxy 6.17 never ends if the user is the first listed member of the group.
fn permission_hint(settings: &ProxySettings) -> &'static str {
    let group_may = |path, bits| fs::metadata(path).is_ok_and(|metadata| metadata.mode() & bits != 0);
    if group_may(&settings.key, 0o060) || group_may(&settings.certificate, 0o020) {
        " (try chmod g-rw on CLIENT_KEY and g-w on CLIENT_CERT)"
    } else {
        ""
    }
}

/// Returns the end of the text in a file.
fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let skipped = file.metadata()?.len().saturating_sub(OUTPUT_SHOWN);
    file.seek(SeekFrom::Start(skipped))?;
    let mut text = Vec::new();
    file.take(OUTPUT_SHOWN).read_to_end(&mut text)?;
    let mark = if skipped > 0 { "... " } else { "" };
    Ok(format!("{mark}{}", String::from_utf8_lossy(&text).trim()))
}
