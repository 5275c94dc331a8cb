//! The log goes where it should, and no logger can stop the work.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::thread::sleep;
use std::time::Duration;

use crate::common::{Site, child, eventually, is_child};
use jasmin_arc::{ArcInterface, Error, LogLevel};
use serde_json::json;

/// A logger for the `log` facade that is everything a logger should not be: it is slow, it logs, and it calls the crate.
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

/// In a process of its own: there is one facade in a process.
#[test]
#[ignore = "needs an ARC-CE"]
fn by_default_it_goes_to_the_facade_whatever_the_logger_does() {
    if !is_child() {
        let ran = child("logging::by_default_it_goes_to_the_facade_whatever_the_logger_does").output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
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
    eventually("messages of the crate and of ARC", Duration::from_secs(10), || {
        has(&|target| target == "jasmin_arc") && has(&|target| target.starts_with("arc::"))
    });
}

/// Hands on each line.
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
    // What ARC logged is handed on by a thread of its own.
    sleep(Duration::from_millis(500));
    lines.try_iter().collect()
}

#[test]
#[ignore = "needs an ARC-CE"]
fn it_can_go_to_a_writer_with_as_much_as_is_wanted() {
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

/// In a process of its own, since all it prints is looked at.
#[test]
#[ignore = "needs an ARC-CE"]
fn it_can_go_nowhere_and_by_itself_nothing_is_printed() {
    if !is_child() {
        let ran = child("logging::it_can_go_nowhere_and_by_itself_nothing_is_printed").output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
        let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert_eq!(err, "");
        // What remains is of the test harness.
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
fn a_refusal_comes_with_its_reason() {
    let site = Site::new();
    let empty = site.path().join("no-ca");
    std::fs::create_dir(&empty).unwrap();
    let arc = site.another(json!({ "CERTS_DIR": empty }));
    let error = arc.submit_job("/bin/true", &[], &[]).unwrap_err();
    assert!(!matches!(error, Error::Arc { .. }), "{error:?}");
    let text = error.to_string().to_lowercase();
    assert!(["certificate", "tls", "ssl"].iter().any(|word| text.contains(word)), "{error}");
}
