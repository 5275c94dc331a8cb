//! Tests of the log's destinations, and of loggers that are slow or call the crate.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::thread::sleep;
use std::time::Duration;

use crate::common::{Site, child, eventually, is_child, run_child};
use jasmin_arc::{ArcInterface, Error, LogLevel};
use serde_json::json;

/// A logger for the `log` facade that is slow, logs itself, and calls the crate.
struct Awkward;

static TARGETS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
static SITE: OnceLock<ArcInterface> = OnceLock::new();

impl log::Log for Awkward {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }

    fn log(&self, record: &log::Record) {
        if record.target() == "awkward" || !TARGETS.lock().unwrap().insert(record.target().to_owned()) {
            return;
        }
        log::info!(target: "awkward", "logged: {}", record.args());
        sleep(Duration::from_millis(100));
        if let Some(arc) = SITE.get() {
            let _ = arc.job_status(&"none".into());
        }
    }

    fn flush(&self) {}
}

/// Runs in a child process, because a process has one `log` facade.
#[test]
#[ignore = "needs an ARC-CE"]
fn log_facade_gets_messages_by_default() {
    if !is_child() {
        run_child(&mut child("logging::log_facade_gets_messages_by_default"));
        return;
    }
    log::set_logger(&Awkward).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let site = Site::new();
    let config = site.arc.config().clone();
    let arc = ArcInterface::builder().config(config).log_level(LogLevel::Debug).build().unwrap();
    SITE.set(arc.clone()).unwrap();
    arc.submit_job("/bin/true", &[], &[]).unwrap();
    let has = |wanted: &dyn Fn(&str) -> bool| TARGETS.lock().unwrap().iter().any(|target| wanted(target));
    eventually("the facade gets messages of the crate and of ARC", Duration::from_secs(10), || {
        has(&|target| target == "jasmin_arc") && has(&|target| target.starts_with("arc::"))
    });
}

/// A log writer that sends its input to a channel.
struct Lines(Sender<String>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.send(String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn text(lines: &Receiver<String>) -> String {
    // A separate thread writes ARC's messages.
    sleep(Duration::from_millis(500));
    lines.try_iter().collect()
}

#[test]
#[ignore = "needs an ARC-CE"]
fn log_writer_gets_messages_of_its_level() {
    let site = Site::new();
    let log_of = |level| {
        let (sender, lines) = channel();
        let config = site.arc.config().clone();
        let arc = ArcInterface::builder().config(config).log_level(level).log_writer(Lines(sender)).build().unwrap();
        let id = arc.submit_job("/bin/true", &[], &[]).unwrap();
        let text = text(&lines);
        (text, id)
    };
    let (info, id) = log_of(LogLevel::Info);
    assert!(info.lines().any(|line| line.contains("[jasmin_arc] [INFO]") && line.contains(id.as_str())), "{info}");
    assert!(!info.contains("[DEBUG]"), "{info}");
    let (debug, id) = log_of(LogLevel::Debug);
    assert!(debug.contains("[DEBUG]") && debug.contains("[arc::") && debug.contains(id.local_id()), "{debug}");
    let (fatal, _) = log_of(LogLevel::Fatal);
    assert_eq!(fatal, "");
}

/// Runs in a child process, because the test checks all that the process prints.
#[test]
#[ignore = "needs an ARC-CE"]
fn nothing_is_printed_by_default_or_without_a_log() {
    if !is_child() {
        let ran = run_child(&mut child("logging::nothing_is_printed_by_default_or_without_a_log"));
        let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert_eq!(err, "");
        // The test harness prints these lines.
        let lines = out.lines().filter(|line| !line.is_empty() && !line.starts_with("running"));
        assert!(lines.clone().all(|line| line.starts_with("test ")), "{out}");
        return;
    }
    let site = Site::new();
    let config = site.arc.config().clone();
    let arc = ArcInterface::builder().config(config).no_log().log_level(LogLevel::Debug).build().unwrap();
    arc.submit_job("/bin/true", &[], &[]).unwrap();
    site.submit("true");
}

#[test]
#[ignore = "needs an ARC-CE"]
fn tls_failure_names_its_reason() {
    let site = Site::new();
    let empty = site.path().join("no-ca");
    std::fs::create_dir(&empty).unwrap();
    let arc = site.another(json!({ "CERTS_DIR": empty }));
    let error = arc.submit_job("/bin/true", &[], &[]).unwrap_err();
    assert!(!matches!(error, Error::Arc { .. }), "{error:?}");
    let text = error.to_string().to_lowercase();
    assert!(["certificate", "tls", "ssl"].iter().any(|word| text.contains(word)), "{error}");
}
