//! Secrets stay where they belong: not in the log at the level Debug, in `Debug` output, in errors, on a command line, in
//! the environment of a process, or in a file that other users can read.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use jasmin_arc::{ArcInterface, ConnectionConfig, JobId, LogLevel};
use rustix::fs::Mode;
use rustix::process::umask;
use serde_json::json;

use crate::common::{Site, child, is_child, run_child};

const PASSPHRASE: &str = "pass-phrase-of-the-test";

/// The texts that must not appear: the passphrase, and the lines of secret files, each a part of a key or a token.
#[derive(Default)]
struct Secrets(BTreeSet<String>);

impl Secrets {
    fn add_file(&mut self, path: &Path) {
        let text = fs::read_to_string(path).unwrap();
        self.0.extend(text.lines().filter(|line| line.len() > 30 && !line.contains("-----")).map(str::to_owned));
    }

    /// Returns a secret in `bytes`, if there is one.
    fn find(&self, bytes: &[u8]) -> Option<&str> {
        let text = String::from_utf8_lossy(bytes);
        self.0.iter().map(String::as_str).find(|secret| text.contains(secret))
    }

    #[track_caller]
    fn assert_absent(&self, what: &str, bytes: impl AsRef<[u8]>) {
        if let Some(secret) = self.find(bytes.as_ref()) {
            panic!("{what} contains the secret {:.10}...", secret);
        }
    }
}

/// Looks at the command lines and environments of all processes, and at the files below some directories, until
/// `stop` is set. Returns the command lines of arcproxy, to show that it saw any.
fn watch(secrets: &Mutex<Secrets>, directories: &[PathBuf], stop: &AtomicBool) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    while !stop.load(Ordering::SeqCst) {
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            for name in ["cmdline", "environ"] {
                let Ok(bytes) = fs::read(entry.path().join(name)) else { continue };
                secrets.lock().unwrap().assert_absent(&format!("{}/{name}", entry.path().display()), &bytes);
                let text = String::from_utf8_lossy(&bytes).replace('\0', " ");
                if name == "cmdline" && text.contains("validityPeriod=") {
                    seen.insert(text);
                }
            }
        }
        for directory in directories {
            walk(directory, &mut |path, mode| {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if path.is_dir() {
                    assert!(
                        !name.starts_with(".proxy.pem.") || mode & 0o077 == 0,
                        "{} has mode {mode:o}",
                        path.display()
                    );
                } else if mode & 0o077 != 0 {
                    let Ok(bytes) = fs::read(path) else { return };
                    secrets.lock().unwrap().assert_absent(&format!("{} with mode {mode:o}", path.display()), bytes);
                }
            });
        }
        thread::sleep(Duration::from_millis(1));
    }
    seen
}

fn walk(directory: &Path, visit: &mut dyn FnMut(&Path, u32)) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        visit(&path, metadata.permissions().mode() & 0o7777);
        if metadata.is_dir() {
            walk(&path, visit);
        }
    }
}

/// Ends the watch, even if the test fails in the meantime.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A log that the test can read.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn interface(config: &ConnectionConfig, passphrase: &'static str, log: &Log) -> ArcInterface {
    let builder = ArcInterface::builder().config(config.clone()).passphrase(move |_| Ok(passphrase.to_owned()));
    builder.log_level(LogLevel::Debug).log_writer(log.clone()).build().unwrap()
}

/// Runs the main operations and returns the `Debug` output and the texts of everything that they return.
fn operate(arc: &ArcInterface, input: &Path) -> String {
    let mut shown = format!("{arc:?} {:?}", arc.config());
    let job = arc.submit_job("/bin/sh", &["-c", "cat data; sleep 100"], &[input]).unwrap();
    shown += &format!("{:?} {:?} {:?}", arc.job_status(&job), arc.job(&job), arc.save_job_outputs(&job));
    shown += &format!("{:?} {:?}", arc.cancel_job(&job), arc.clean_job(&job));
    let missing = arc.job_status(&JobId::from("0123456789abcdef")).unwrap_err();
    shown + &format!("{missing} {missing:?}")
}

#[test]
#[ignore = "needs an ARC-CE"]
fn secrets_are_never_shown() {
    if !is_child() {
        // The umask and the directory for temporary files belong to the process.
        let temporary = tempfile::tempdir().unwrap();
        run_child(child("secrets::secrets_are_never_shown").env("TMPDIR", temporary.path()));
        return;
    }
    umask(Mode::empty());
    let site = Site::new();
    let key = site.arc.config().client_key();
    let encrypted = site.path().join("encrypted.pem");
    let openssl = Command::new("openssl")
        .args(["pkcs8", "-topk8", "-passout", "stdin", "-in"])
        .arg(&key)
        .arg("-out")
        .arg(&encrypted)
        .stdin({
            let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
            rustix::io::write(writer, PASSPHRASE.as_bytes()).unwrap();
            reader
        })
        .output()
        .unwrap();
    assert!(openssl.status.success(), "{openssl:?}");
    fs::set_permissions(&encrypted, fs::Permissions::from_mode(0o600)).unwrap();
    let input = site.file("data", "data\n");
    let overrides = json!({
        "CLIENT_KEY": encrypted, "PROXY_FILE": site.path().join("proxy.pem"), "DELEGATION": "always",
    });
    let config = site.another(overrides).config().clone();

    let secrets = Mutex::new(Secrets::default());
    secrets.lock().unwrap().0.insert(PASSPHRASE.to_owned());
    secrets.lock().unwrap().add_file(&key);
    secrets.lock().unwrap().add_file(&encrypted);
    let token = std::env::var_os("JASMIN_ARC_TESTBED_TOKEN").map(PathBuf::from);
    token.iter().for_each(|token| secrets.lock().unwrap().add_file(token));
    // The search can find something.
    assert!(secrets.lock().unwrap().0.len() > 20);
    assert_eq!(secrets.lock().unwrap().find(format!("a {PASSPHRASE} b").as_bytes()), Some(PASSPHRASE));

    let log = Log::default();
    let stop = AtomicBool::new(false);
    let directories = [site.path().to_owned(), std::env::temp_dir()];
    let (shown, seen) = thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&secrets, &directories, &stop));
        let _stop = Stop(&stop);
        let wrong = interface(&config, "wrong-pass-phrase", &log).create_proxy().unwrap_err();
        let arc = interface(&config, PASSPHRASE, &log);
        arc.create_proxy().unwrap();
        secrets.lock().unwrap().add_file(&arc.config().proxy_file());
        let mut shown = format!("{wrong} {wrong:?} {}", operate(&arc, &input));
        if let Some(token) = token.clone().filter(|_| site.is_rest()) {
            let config = config.clone().with_token_file(token).with_delegation(jasmin_arc::Delegation::Auto);
            shown += &operate(&interface(&config, PASSPHRASE, &log), &input);
        }
        stop.store(true, Ordering::SeqCst);
        (shown, watcher.join().unwrap())
    });
    // The crate writes the log in another thread.
    let complete = || String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    let marks: &[&str] = if token.is_some() && site.is_rest() { &["[DEBUG]", "Bearer ..."] } else { &["[DEBUG]"] };
    crate::common::eventually("the log is written", crate::common::PATIENCE, || {
        marks.iter().all(|mark| complete().contains(mark))
    });
    thread::sleep(Duration::from_millis(200));
    let secrets = secrets.into_inner().unwrap();
    secrets.assert_absent("the log", complete());
    secrets.assert_absent("what the operations return", &shown);
    for text in [complete(), shown] {
        assert!(!text.contains("wrong-pass-phrase"));
    }
    assert!(!seen.is_empty(), "the watcher saw no arcproxy");
}
