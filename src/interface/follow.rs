//! [`Follow`]: reads a file as a running job writes it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::ArcInterface;
use super::inside::{checked_name, job_file};
use crate::error::{Error, JobFileFailure, Result};
use crate::job::{FilePart, JobId};
use crate::limits::{CallLimits, CancelToken, Limits};
use crate::logging::{self, LogLevel};
use crate::watch::{Pace, PollPolicy};

/// The longest piece.
const MAX_PIECE: u64 = 1 << 20;

/// How many of the last bytes are read again with the next piece. They are the proof that the file is the same.
const OVERLAP: usize = 1024;

/// The first interval between two looks at a file, by default.
const FIRST_INTERVAL: Duration = Duration::from_millis(250);

/// By how much each interval is longer than the one before, by default: an interval is a quarter of the time without news.
const FACTOR: f64 = 1.25;

/// After this time without news, each look also asks whether the job has ended.
const QUIET: Duration = Duration::from_millis(500);

/// The default of [`Follow::patience`].
const PATIENCE: Duration = Duration::from_secs(600);

impl ArcInterface {
    /// Follows a file of a job: returns what the job writes, as it writes it, until the job has ended and all has been
    /// read.
    ///
    /// `name` is relative to the session directory. The file may not exist yet. The first item of the returned [`Follow`]
    /// sends the first request.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// use std::io::Write;
    ///
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let job = jasmin_arc::JobId::from("");
    /// for piece in arc.follow(&job, "stdout.txt") {
    ///     std::io::stdout().write_all(&piece?.bytes).expect("a terminal");
    /// }
    /// println!("the job has ended with status {}", arc.job_status(&job)?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn follow(&self, id: &JobId, name: impl AsRef<Path>) -> Follow {
        Follow {
            arc: self.clone(),
            id: id.clone(),
            name: name.as_ref().to_owned(),
            position: 0,
            tail: Vec::new(),
            pace: Pace::new(PollPolicy::default().with_first_interval(FIRST_INTERVAL).with_factor(FACTOR)),
            patience: PATIENCE,
            limits: self.1.clone(),
            run: None,
            last_news: Instant::now(),
            away: None,
            job_has_ended: false,
            is_done: false,
            unread: Vec::new(),
            size: 0,
        }
    }
}

/// A file of a job that is being followed: an iterator of pieces, and a [`Read`].
///
/// Each piece is a [`FilePart`] of up to 1 MiB that follows the one before. The iterator ends when the job has ended, by
/// A-REX's own record, and the file has been read to its end after that. So a file is complete when the iterator ends
/// without an error. You need not check the state of the job.
///
/// - *Resuming.* Each piece has its offset. A program that stops keeps [`position`](Self::position) and continues with
///   [`from`](Self::from), in another process if need be.
/// - *A file that does not exist yet:* the iterator waits for it while the job has not ended.
/// - *A CE that is away:* the iterator waits for it, see [`patience`](Self::patience).
/// - *A file that becomes shorter, or that another one replaces,* is an [`Error::JobFile`] with
///   [`JobFileFailure::Shrunk`] or [`JobFileFailure::Replaced`]. The last kilobyte is read again with each piece and
///   compared. A new file with the same last kilobyte is not noticed, and neither is one that took the place before
///   [`from`](Self::from) continues. Follow the file again from 0 to read the new one.
/// - *Files that the description does not keep* disappear when the job ends. What the job wrote to them at last may be
///   missing, so this is an error too, with [`JobFileFailure::NotFound`].
///
/// After an error, the iterator ends. The limits of the interface apply to the whole iteration, from the first item on:
/// see [`with_deadline`](ArcInterface::with_deadline) and [`with_cancel`](ArcInterface::with_cancel). In
/// [`Read::read`], errors are of the kind [`io::ErrorKind::Other`], or `TimedOut` or `NotFound` where that fits, and
/// contain the [`Error`].
///
/// Costs one request for each look at the file, one more for each piece, and one more for the state of the job while there
/// is no news for half a second. By default, there are two to five looks each second while the job writes, and one each five
/// seconds after it has written nothing for 20 seconds: see [`poll`](Self::poll).
///
/// Use it as an iterator or as a [`Read`]. Pieces leave out what [`Read::read`] has taken from the last piece.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::io::{BufRead, BufReader};
///
/// # let arc = jasmin_arc::ArcInterface::builder().build()?;
/// # let job = jasmin_arc::JobId::from("");
/// for line in BufReader::new(arc.follow(&job, "run/model.log")).lines() {
///     let line = line?;
///     if line.contains("time step") {
///         println!("{line}");
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is read before the first item is asked for"]
pub struct Follow {
    arc: ArcInterface,
    id: JobId,
    name: PathBuf,
    /// The position of the next byte.
    position: u64,
    /// The bytes before it, as far as they are known and needed.
    tail: Vec<u8>,
    pace: Pace,
    patience: Duration,
    limits: CallLimits,
    /// The limits of the iteration that has begun.
    run: Option<Limits>,
    last_news: Instant,
    /// Since when the CE has not responded.
    away: Option<Instant>,
    job_has_ended: bool,
    is_done: bool,
    /// What `read` has not returned yet.
    unread: Vec<u8>,
    /// The size of the file with the last piece.
    size: u64,
}

/// What a look at the file has brought.
enum Look {
    Piece(FilePart),
    /// The file is as long as before.
    NoNews,
    /// The file is not there, or cannot be opened. It may come.
    Missing(Error),
}

impl Follow {
    /// Begins at a position in the file, in bytes, instead of 0. A file that is shorter than that counts as
    /// [`JobFileFailure::Shrunk`].
    pub fn from(mut self, position: u64) -> Self {
        self.position = position;
        self
    }

    /// Sets how often the file is looked at. The intervals begin anew with each piece. The default is from 0.25 to 5 seconds,
    /// growing by the factor 1.25.
    pub fn poll(mut self, policy: PollPolicy) -> Self {
        self.pace = Pace::new(policy);
        self
    }

    /// Sets how long one absence of the CE may last before its error ends the iteration. The default is 10 minutes.
    ///
    /// A CE is away while its errors are [retryable](Error::is_retryable), such as a connection that is refused. Any
    /// response ends its absence.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets a time after which the iteration ends with [`Error::DeadlineExceeded`], counted from its first item. This is an
    /// error, because the file is not complete.
    ///
    /// Of several deadlines the shortest holds, including that of [`with_deadline`](ArcInterface::with_deadline).
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.limits = self.limits.with_deadline(deadline);
        self
    }

    /// Adds a token that ends the iteration with [`Error::Cancelled`] when it is cancelled, from any thread.
    pub fn cancel(mut self, token: &CancelToken) -> Self {
        self.limits = self.limits.with_cancel(token);
        self
    }

    /// Returns the position of the next byte, where [`from`](Self::from) can continue.
    pub fn position(&self) -> u64 {
        self.position - u64::try_from(self.unread.len()).unwrap_or_default()
    }

    /// Waits for the next piece. `None` at the end.
    fn next_piece(&mut self) -> Result<Option<FilePart>> {
        let limits = self.run.get_or_insert_with(|| self.limits.begin()).clone();
        loop {
            match self.look(&limits) {
                Ok(Look::Piece(piece)) => {
                    self.away = None;
                    self.last_news = Instant::now();
                    self.pace.restart();
                    self.size = piece.size;
                    return Ok(Some(piece));
                }
                Ok(look) => {
                    if self.away.take().is_some() {
                        self.pace.restart();
                    }
                    if self.job_has_ended {
                        return self.end(look);
                    }
                    if self.last_news.elapsed() >= QUIET {
                        match self.ask_whether_job_has_ended(&limits) {
                            // What it has written last is read without a pause.
                            Ok(()) if self.job_has_ended => continue,
                            Ok(()) => {}
                            Err(error) => self.tolerate(error)?,
                        }
                    }
                }
                Err(error) => self.tolerate(error)?,
            }
            limits.sleep(self.pace.interval(Duration::ZERO, fastrand::f64()))?;
        }
    }

    /// Looks at the file once.
    fn look(&mut self, limits: &Limits) -> Result<Look> {
        let name = checked_name(&self.id, &self.name)?;
        let call = self.arc.begin_within(limits.clone())?;
        let backend = self.arc.backend(&call)?;
        let size = match backend.file_size(&self.id, name) {
            Err(error) if may_come(&error) => return Ok(Look::Missing(error)),
            size => size?,
        };
        if size < self.position {
            let message = format!("it had {} bytes, and has {size} now", self.position);
            return Err(job_file(&self.id, name, JobFileFailure::Shrunk, message));
        }
        // At the end, a file of the same size is also checked.
        if size == self.position && (!self.job_has_ended || self.tail.is_empty()) {
            return Ok(Look::NoNews);
        }
        let known = u64::try_from(self.tail.len()).unwrap_or_default();
        let begin = self.position - known;
        let mut bytes =
            match backend.read_file(&self.id, name, begin..size.min(self.position.saturating_add(MAX_PIECE))) {
                Err(error) if may_come(&error) => return Ok(Look::Missing(error)),
                bytes => bytes?,
            };
        if bytes.len() < self.tail.len() {
            // The next look tells how short the file has become.
            return Ok(Look::NoNews);
        }
        let new = bytes.split_off(self.tail.len());
        if bytes != self.tail {
            let message = "another file has taken its place: its bytes before the current position are different";
            return Err(job_file(&self.id, name, JobFileFailure::Replaced, message));
        }
        if new.is_empty() {
            return Ok(Look::NoNews);
        }
        let piece = FilePart { offset: self.position, bytes: new, size };
        self.position = piece.end();
        bytes.extend_from_slice(&piece.bytes);
        self.tail = bytes.split_off(bytes.len().saturating_sub(OVERLAP));
        Ok(Look::Piece(piece))
    }

    fn ask_whether_job_has_ended(&mut self, limits: &Limits) -> Result<()> {
        let call = self.arc.begin_within(limits.clone())?;
        self.job_has_ended = self.arc.backend(&call)?.has_ended(&self.id)?;
        Ok(())
    }

    /// The outcome after the last look at the file of a job that has ended.
    fn end(&self, look: Look) -> Result<Option<FilePart>> {
        match look {
            Look::Piece(piece) => Ok(Some(piece)),
            Look::NoNews => Ok(None),
            Look::Missing(error) if self.position == 0 => Err(error),
            Look::Missing(_) => {
                let message = "it is gone since the job has ended, and its end may not have been read: name it as an \
                               output of the job to keep it";
                Err(job_file(&self.id, self.name.as_os_str(), JobFileFailure::NotFound, message))
            }
        }
    }

    /// Fails unless the error means that the CE is away, and it has not been away for too long.
    fn tolerate(&mut self, error: Error) -> Result<()> {
        let is_away = error.is_retryable() && !matches!(error, Error::DeadlineExceeded { .. });
        if self.away.is_none() {
            self.pace.restart();
        }
        let since = *self.away.get_or_insert_with(Instant::now);
        if !is_away || since.elapsed() >= self.patience {
            return Err(error);
        }
        let message = format!("following {:?} of job {}: {error}", self.name, self.id);
        let _entered = self.arc.0.log.enter();
        logging::log(LogLevel::Verbose, message);
        Ok(())
    }
}

/// Whether a file that cannot be read now may be there later.
fn may_come(error: &Error) -> bool {
    matches!(error, Error::JobFile { failure: JobFileFailure::NotFound | JobFileFailure::Unreadable, .. })
}

impl Iterator for Follow {
    type Item = Result<FilePart>;

    fn next(&mut self) -> Option<Result<FilePart>> {
        if !self.unread.is_empty() {
            let bytes = std::mem::take(&mut self.unread);
            let offset = self.position - u64::try_from(bytes.len()).unwrap_or_default();
            return Some(Ok(FilePart { offset, bytes, size: self.size }));
        }
        if self.is_done {
            return None;
        }
        let piece = self.next_piece().transpose();
        self.is_done = !matches!(piece, Some(Ok(_)));
        piece
    }
}

impl std::iter::FusedIterator for Follow {}

impl Read for Follow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.unread.is_empty() {
            match self.next() {
                None => return Ok(0),
                Some(Ok(piece)) => self.unread = piece.bytes,
                Some(Err(error)) => return Err(into_io(error)),
            }
        }
        let count = buffer.len().min(self.unread.len());
        buffer[..count].copy_from_slice(&self.unread[..count]);
        self.unread.drain(..count);
        Ok(count)
    }
}

/// The kind never is `Interrupted`, after which readers try again.
fn into_io(error: Error) -> io::Error {
    let kind = match &error {
        Error::DeadlineExceeded { .. } => io::ErrorKind::TimedOut,
        Error::JobFile { failure: JobFileFailure::NotFound, .. } | Error::JobNotFound { .. } => io::ErrorKind::NotFound,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;
    use crate::backend::fake::FakeBackend;
    use crate::error::ErrorKind;
    use crate::interface::tests::fake;
    use crate::job::ArcState;

    /// A CE with a running job.
    fn running() -> (ArcInterface, Arc<FakeBackend>, JobId, tempfile::TempDir) {
        let (arc, backend, directory) = fake();
        let id = arc.submit_job("/bin/true", &[""; 0], &[]).unwrap();
        (arc, backend, id, directory)
    }

    fn write(backend: &FakeBackend, id: &JobId, content: impl Into<Vec<u8>>) {
        backend.jobs().get_mut(id.as_str()).unwrap().files = vec![("log".into(), content.into(), None)];
    }

    fn end(backend: &FakeBackend, id: &JobId) {
        backend.jobs().get_mut(id.as_str()).unwrap().state = ArcState::Finished;
    }

    fn failure(follow: &mut Follow) -> JobFileFailure {
        match follow.next() {
            Some(Err(Error::JobFile { failure, .. })) => {
                assert!(follow.next().is_none(), "the iterator goes on after an error");
                failure
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn everything_that_a_job_writes_is_read_once() {
        let (arc, backend, id, _directory) = running();
        let writer = thread::spawn({
            let (backend, id) = (Arc::clone(&backend), id.clone());
            move || {
                let mut content = Vec::new();
                for n in 0..30 {
                    thread::sleep(Duration::from_millis(40));
                    content.extend(format!("line {n}\n").into_bytes());
                    content.extend(vec![b'.'; n * 100]);
                    write(&backend, &id, content.clone());
                }
                end(&backend, &id);
                content
            }
        });
        let mut all = Vec::new();
        let mut pieces = 0;
        for piece in arc.follow(&id, "log") {
            let piece = piece.unwrap();
            assert_eq!(piece.offset, all.len() as u64);
            all.extend(piece.bytes);
            pieces += 1;
        }
        assert!(all == writer.join().unwrap(), "{} bytes", all.len());
        assert!(pieces > 1);
        // From a position, and as a reader.
        let mut rest = String::new();
        arc.follow(&id, "log").from(2).read_to_string(&mut rest).unwrap();
        assert_eq!(rest.as_bytes(), &all[2..]);
        assert!(arc.follow(&id, "log").from(all.len() as u64).next().is_none());
    }

    #[test]
    fn large_files_come_in_pieces() {
        let (arc, backend, id, _directory) = running();
        let content: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
        write(&backend, &id, content.clone());
        end(&backend, &id);
        let pieces: Vec<FilePart> = arc.follow(&id, "log").map(|piece| piece.unwrap()).collect();
        assert!(pieces.iter().all(|piece| piece.bytes.len() as u64 <= MAX_PIECE && piece.size == 3_000_000));
        assert!(pieces.iter().flat_map(|piece| piece.bytes.iter()).eq(&content));
    }

    #[test]
    fn shorter_and_replaced_files_are_errors() {
        let (arc, backend, id, _directory) = running();
        let start = |content: &str| {
            write(&backend, &id, content);
            let mut follow = arc.follow(&id, "log");
            assert_eq!(follow.next().unwrap().unwrap().bytes, content.as_bytes());
            follow
        };
        let mut follow = start("0123456789");
        write(&backend, &id, "0123");
        assert_eq!(failure(&mut follow), JobFileFailure::Shrunk);
        let mut follow = start("0123456789");
        write(&backend, &id, "another, longer");
        assert_eq!(failure(&mut follow), JobFileFailure::Replaced);
        assert_eq!(follow.position(), 10);
        assert_eq!(failure(&mut arc.follow(&id, "log").from(100)), JobFileFailure::Shrunk);
        // Of the same size, which shows at the end.
        let mut follow = start("0123456789");
        write(&backend, &id, "9876543210");
        end(&backend, &id);
        assert_eq!(failure(&mut follow), JobFileFailure::Replaced);
    }

    #[test]
    fn files_may_come_late_and_must_come_before_the_end() {
        let (arc, backend, id, _directory) = running();
        let writer = thread::spawn({
            let (backend, id) = (Arc::clone(&backend), id.clone());
            move || {
                thread::sleep(Duration::from_millis(600));
                write(&backend, &id, "late");
                end(&backend, &id);
            }
        });
        let mut follow = arc.follow(&id, "log");
        assert_eq!(follow.next().unwrap().unwrap().bytes, b"late");
        writer.join().unwrap();
        backend.jobs().get_mut(id.as_str()).unwrap().files.clear();
        // A file that is no output disappears with the end of the job.
        assert_eq!(failure(&mut follow), JobFileFailure::NotFound);
        assert_eq!(failure(&mut arc.follow(&id, "never")), JobFileFailure::NotFound);
        assert_eq!(failure(&mut arc.follow(&id, "../never")), JobFileFailure::UnsafeName);
        let mut gone = arc.follow(&JobId::from("fake://ce/gone"), "log");
        assert_eq!(gone.next().unwrap().unwrap_err().kind(), ErrorKind::JobNotFound);
    }

    #[test]
    fn a_ce_that_is_away_is_waited_for() {
        let (arc, backend, id, _directory) = running();
        write(&backend, &id, "one");
        let mut follow = arc.follow(&id, "log");
        assert_eq!(follow.next().unwrap().unwrap().bytes, b"one");
        *backend.unreachable.lock().unwrap() = Some("away".into());
        let back = thread::spawn({
            let (backend, id) = (Arc::clone(&backend), id.clone());
            move || {
                thread::sleep(Duration::from_millis(700));
                write(&backend, &id, "onetwo");
                *backend.unreachable.lock().unwrap() = None;
                end(&backend, &id);
            }
        });
        assert_eq!(follow.next().unwrap().unwrap(), FilePart { offset: 3, bytes: b"two".to_vec(), size: 6 });
        back.join().unwrap();
        assert!(follow.next().is_none());
        *backend.unreachable.lock().unwrap() = Some("away".into());
        let mut impatient = arc.follow(&id, "log").patience(Duration::from_millis(300));
        assert_eq!(impatient.next().unwrap().unwrap_err().kind(), ErrorKind::Connection);
        assert!(impatient.next().is_none());
    }

    #[test]
    fn limits_end_the_iteration() {
        let (arc, backend, id, _directory) = running();
        write(&backend, &id, "one");
        let mut follow = arc.follow(&id, "log").deadline(Duration::from_millis(600));
        assert_eq!(follow.next().unwrap().unwrap().bytes, b"one");
        assert_eq!(follow.next().unwrap().unwrap_err().kind(), ErrorKind::DeadlineExceeded);
        let token = CancelToken::new();
        let mut follow = arc.follow(&id, "log").from(3).cancel(&token);
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(100));
                token.cancel();
            });
            let error = follow.read(&mut [0; 10]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::Other);
            let error = error.into_inner().unwrap().downcast::<Error>().unwrap();
            assert_eq!(error.kind(), ErrorKind::Cancelled);
        });
    }

    #[test]
    fn what_was_not_read_stays() {
        let (arc, backend, id, _directory) = running();
        let content = vec![b'x'; usize::try_from(MAX_PIECE).unwrap() + 5];
        write(&backend, &id, content);
        end(&backend, &id);
        let mut follow = arc.follow(&id, "log");
        let mut part = [0; 4];
        follow.read_exact(&mut part).unwrap();
        assert_eq!((&part, follow.position()), (b"xxxx", 4));
        let (rest, last) = (follow.next().unwrap().unwrap(), follow.next().unwrap().unwrap());
        assert_eq!((rest.offset, rest.end(), rest.size), (4, MAX_PIECE, MAX_PIECE + 5));
        assert_eq!((last.offset, last.end(), last.size), (MAX_PIECE, MAX_PIECE + 5, MAX_PIECE + 5));
        assert!(follow.next().is_none());
    }
}
