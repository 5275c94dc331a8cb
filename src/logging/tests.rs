use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::capture::MAX_MESSAGES;
use super::*;
use crate::util::lock;

const LINE: &str =
    "[2026-11-22 12:00:00] [Arc.SubmitterPlugin.REST] [INFO] [123/4] Failed to submit all jobs: 500 [x] y";

#[test]
fn arcs_long_format_is_split() {
    assert_eq!(split_long_format(LINE), ("SubmitterPlugin.REST", "Failed to submit all jobs: 500 [x] y"));
    assert_eq!(split_long_format("[t] [Arc] [INFO] [1/1] text"), ("Arc", "text"));
    assert_eq!(split_long_format("[t] [Arc] [INFO] [1/1] "), ("Arc", ""));
    for odd in ["", "no brackets", "[t] [d", "[t] [d] [l] no id"] {
        assert_eq!(split_long_format(odd), ("Arc", odd));
    }
}

#[test]
fn levels_round_trip() {
    for level in LogLevel::ALL {
        assert_eq!(LogLevel::from_arc(level.to_arc()), level);
        assert_eq!(level.to_string().parse(), Ok(level));
        assert_eq!(serde_json::to_string(&level).unwrap(), format!("\"{level}\""));
    }
    assert_eq!("warning".parse(), Ok(LogLevel::Warning));
    let error = "LOUD".parse::<LogLevel>().unwrap_err();
    assert_eq!(error.to_string(), "\"LOUD\" is not a log level; use FATAL, ERROR, WARNING, INFO, VERBOSE or DEBUG");
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn to_buffer(level: LogLevel) -> (Arc<Log>, Buffer) {
    let buffer = Buffer::default();
    (Log::new(level, Destination::Writer(Mutex::new(Box::new(buffer.clone())))), buffer)
}

fn text(buffer: &Buffer) -> String {
    String::from_utf8(lock(&buffer.0).clone()).unwrap()
}

#[test]
fn messages_go_to_the_entered_log_up_to_its_level() {
    let (log, buffer) = to_buffer(LogLevel::Info);
    let (other, other_buffer) = to_buffer(LogLevel::Debug);
    let entered = log.enter();
    super::log(LogLevel::Info, "shown");
    super::log(LogLevel::Verbose, "hidden");
    {
        let _nested = other.enter();
        super::log(LogLevel::Debug, "elsewhere");
    }
    super::log(LogLevel::Error, "shown too");
    drop(entered);
    flush(Duration::from_secs(10));
    let text = text(&buffer);
    let time = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).unwrap().0;
    assert!(time.parse::<jiff::Timestamp>().is_ok(), "{text}");
    assert!(text.contains("[jasmin_arc] [INFO] shown\n") && text.contains("[ERROR] shown too\n"), "{text}");
    assert!(!text.contains("hidden") && !text.contains("elsewhere"), "{text}");
    assert!(super::tests::text(&other_buffer).contains("[DEBUG] elsewhere"));
}

#[test]
fn arcs_messages_during_a_call_are_its_reasons() {
    let (log, buffer) = to_buffer(LogLevel::Info);
    let _entered = log.enter();
    let ((), reasons) = capture(|| {
        arc_message(2, "[t] [Arc.X] [VERBOSE] [1/1] a detail");
        arc_message(4, LINE);
        arc_message(4, LINE);
    });
    assert_eq!(reasons.text(), "Failed to submit all jobs: 500 [x] y");
    assert_eq!(reasons.texts().count(), 3);
    flush(Duration::from_secs(10));
    let text = text(&buffer);
    assert!(text.contains("[arc::SubmitterPlugin.REST] [INFO] Failed to submit all jobs: 500 [x] y\n"), "{text}");
    assert!(!text.contains("a detail"), "{text}");
    assert_eq!(capture(|| ()).1.text(), "ARC gave no reason");
}

#[test]
fn messages_of_other_callers_are_not_captured() {
    let ((), reasons) = capture(|| {
        let other = std::thread::spawn(|| {
            this_thread_calls_arc();
            arc_message(16, "[t] [Arc] [ERROR] [1/1] another call's");
        });
        other.join().unwrap();
    });
    assert_eq!(reasons.text(), "ARC gave no reason");
}

#[test]
fn a_capture_keeps_the_last_messages() {
    let ((), reasons) =
        capture(|| (0..1000).for_each(|n| arc_message(16, &format!("[t] [Arc] [ERROR] [1/1] message {n}"))));
    assert_eq!(reasons.texts().count(), MAX_MESSAGES);
    assert!(reasons.text().ends_with("message 999"));
}

#[test]
fn a_logger_that_logs_does_not_deadlock() {
    struct LogsAgain(Arc<OnceLock<Arc<Log>>>);
    impl Write for LogsAgain {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _entered = self.0.get().map(Log::enter);
            super::log(LogLevel::Info, "again");
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let own = Arc::new(OnceLock::new());
    let log = Log::new(LogLevel::Info, Destination::Writer(Mutex::new(Box::new(LogsAgain(own.clone())))));
    own.set(log.clone()).unwrap();
    let _entered = log.enter();
    super::log(LogLevel::Info, "once");
}

#[test]
fn a_logger_that_panics_does_not_stop_others() {
    struct Panics;
    impl Write for Panics {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            panic!("a broken logger")
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let broken = Log::new(LogLevel::Info, Destination::Writer(Mutex::new(Box::new(Panics))));
    {
        let _entered = broken.enter();
        capture(|| arc_message(4, LINE));
        super::log(LogLevel::Info, "a message of the crate");
    }
    let (log, buffer) = to_buffer(LogLevel::Info);
    let _entered = log.enter();
    capture(|| arc_message(4, LINE));
    flush(Duration::from_secs(10));
    assert!(text(&buffer).contains("Failed to submit"));
}

#[test]
fn tokens_do_not_reach_the_log() {
    for (text, shown) in [
        ("no token", "no token"),
        ("> Authorization: Bearer abc.d-_=\r\nHost: x\r\n", "> Authorization: Bearer ...\r\nHost: x\r\n"),
        ("bearer abc", "bearer ..."),
        ("\u{e4} BEARER abc, Bearer  def bearer ", "\u{e4} BEARER ... Bearer ... def bearer ..."),
        ("Bearer", "Bearer"),
    ] {
        assert_eq!(super::without_tokens(text), shown);
    }
    let (log, buffer) = to_buffer(LogLevel::Debug);
    let _entered = log.enter();
    let line = "[2026-01-01 00:00:00] [Arc.MCC.HTTP] [DEBUG] [1/2] > Authorization: Bearer secret";
    let ((), reasons) = capture(|| arc_message(1, line));
    flush(Duration::from_secs(10));
    assert!(text(&buffer).contains("Bearer ..."), "{}", text(&buffer));
    assert!(!format!("{}{reasons:?}", text(&buffer)).contains("secret"));
}
