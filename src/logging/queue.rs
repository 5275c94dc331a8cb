//! The queue of messages, and the thread that writes them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use super::route::Log;
use super::{LogLevel, TARGET};

/// The maximum number of messages that wait for a slow logger. Further messages are dropped, and a warning contains
/// their number.
const CAPACITY: usize = 8192;

enum Item {
    Message { log: Arc<Log>, time: SystemTime, level: LogLevel, target: String, text: String },
    Flush(SyncSender<()>),
}

struct Queue {
    sender: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
}

fn queue() -> &'static Queue {
    static INSTANCE: OnceLock<Queue> = OnceLock::new();
    INSTANCE.get_or_init(|| {
        let (sender, receiver) = sync_channel(CAPACITY);
        let dropped = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&dropped);
        // If the thread cannot be started, the queue fills up and messages are dropped. The log must not make
        // operations fail.
        let _ = std::thread::Builder::new().name("jasmin-arc-log".into()).spawn(move || write_all(receiver, &count));
        Queue { sender, dropped }
    })
}

/// Queues a message, or drops it if the queue is full.
pub(super) fn send(log: Arc<Log>, level: LogLevel, target: String, text: String) {
    let item = Item::Message { log, time: SystemTime::now(), level, target, text };
    let queue = queue();
    if let Err(TrySendError::Full(_)) = queue.sender.try_send(item) {
        queue.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

fn write_all(receiver: Receiver<Item>, dropped: &AtomicU64) {
    for item in receiver {
        match item {
            Item::Message { log, time, level, target, text } => {
                let count = dropped.swap(0, Ordering::Relaxed);
                if count > 0 {
                    let text = format!("{count} log messages were dropped, because the logger is too slow");
                    log.write(time, LogLevel::Warning, TARGET, &text);
                }
                log.write(time, level, &target, &text);
            }
            Item::Flush(done) => {
                let _ = done.try_send(());
            }
        }
    }
}

/// Waits until the messages that are queued now are written, for at most `timeout`.
pub(crate) fn flush(timeout: Duration) {
    let (done, wait) = sync_channel(1);
    if queue().sender.try_send(Item::Flush(done)).is_ok() {
        let _ = wait.recv_timeout(timeout);
    }
}
