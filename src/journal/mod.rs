//! [`Journal`]: the submissions of this user, in a SQLite database beside `JOBS_INFO_FILE`.
//!
//! An entry is written before a job is sent, and completed when its id is known. After a crash, an entry without an id
//! tells which job may exist. Any number of threads and processes can use one journal.

mod owner;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use rusqlite::{Connection, OptionalExtension, Statement, TransactionBehavior, params};

use crate::error::{Error, Result};
use crate::util::directory::{CreateDirectory, ensure_directory_of};
use crate::util::lock;
use owner::Owner;

/// The maximum time to wait for another process that writes to the journal.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// How long entries are kept after their last change. A-REX forgets jobs earlier, by default after about 40 days.
const KEEP: Duration = Duration::from_secs(60 * 24 * 3600);

/// How often a process that keeps running removes old entries.
const PRUNE_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// The version of the tables, in `PRAGMA user_version`.
const VERSION: i64 = 1;

/// `submission` has one row for each key. `seen` caches the identifiers of jobs on the CE that are not in `submission`: ''
/// for a job without one.
const TABLES: &str = "
    CREATE TABLE submission (
        endpoint TEXT NOT NULL,
        identity TEXT NOT NULL,
        key TEXT NOT NULL,
        state INTEGER NOT NULL,
        job TEXT,
        local_id TEXT,
        owner TEXT,
        changed INTEGER NOT NULL,
        missing_since INTEGER,
        waits INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (endpoint, identity, key)
    ) WITHOUT ROWID;
    CREATE INDEX submission_job ON submission (local_id);
    CREATE INDEX submission_changed ON submission (changed);
    CREATE TABLE seen (
        endpoint TEXT NOT NULL,
        identity TEXT NOT NULL,
        local_id TEXT NOT NULL,
        identifier TEXT NOT NULL,
        changed INTEGER NOT NULL,
        PRIMARY KEY (endpoint, identity, local_id)
    ) WITHOUT ROWID;
    PRAGMA user_version = 1;";

/// The CE and the identity for which keys are unique.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    /// The URL of the CE.
    pub(crate) endpoint: String,
    /// The distinguished name of the user.
    pub(crate) identity: String,
}

/// How far a submission has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing has been sent.
    Planned = 0,
    /// The job may exist.
    Sent = 1,
    /// The job exists, and its input files may be missing.
    Created = 2,
    /// The job exists and has its input files.
    Complete = 3,
    /// The job exists without all its input files, and may have been cancelled.
    Abandoned = 4,
}

/// The result of claiming a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The job does not exist, and the caller may send it.
    New,
    /// The job may exist, and the caller has to look for it.
    Sent(Sent),
    /// The job exists, and its submitter ended before all input files were uploaded. The caller continues.
    Created(String),
    /// The job did not get all its input files, and its submitter may have cancelled it. The caller makes sure.
    Abandoned(String),
    /// The job exists and has its input files.
    Exists(String),
    /// Another thread or process is submitting the job.
    Busy,
}

/// A submission whose answer is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// When the CE was first asked and did not have the job.
    pub(crate) missing_since: Option<SystemTime>,
    /// Whether the job, if it comes to exist late, waits for a commit that never comes.
    pub(crate) waits: bool,
}

/// The journal at a path. Opened at the first use.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    create_directory: CreateDirectory,
    state: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Closed after an error, and opened at the next use.
    open: Option<Open>,
    /// Lives as long as the journal, so that an error does not free the claims of other threads.
    owner: Option<Arc<Owner>>,
}

#[derive(Debug)]
struct Open {
    database: Connection,
    owner: Arc<Owner>,
    /// The device and inode of the file.
    file: (u64, u64),
    /// When old entries were removed.
    pruned: Instant,
}

impl Journal {
    /// Creates the value without creating any file.
    ///
    /// The journal lies beside `jobs_info_file`, whose directory is created with `create_directory`, but not the parent
    /// of that directory. If there is no such directory, it lies below the user's directory for data.
    pub(crate) fn new(jobs_info_file: &Path, create_directory: bool, data: Option<PathBuf>) -> Journal {
        let mut beside = OsString::from(jobs_info_file);
        beside.push(".submissions");
        let beside = PathBuf::from(beside);
        let has_place =
            create_directory || beside.parent().is_none_or(|parent| parent.as_os_str().is_empty() || parent.is_dir());
        let (path, create) = match data {
            Some(data) if !has_place => (data.join("jasmin-arc/submissions"), CreateDirectory::WithParents),
            _ if create_directory => (beside, CreateDirectory::Alone),
            _ => (beside, CreateDirectory::Never),
        };
        Journal { path, create_directory: create, state: Mutex::default() }
    }

    /// Claims keys for a submission, in the order of `keys`. This journal owns the keys that it claims until it
    /// [releases](Self::release) them or the process ends, except for [`Claim::Exists`] and [`Claim::Busy`].
    pub(crate) fn claim(&self, scope: &Scope, keys: &[&str]) -> Result<Vec<Claim>> {
        self.with_database(|open| {
            let mut alive = HashMap::new();
            let transaction = open.database.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if open.pruned.elapsed() >= PRUNE_INTERVAL {
                prune(&transaction)?;
                open.pruned = Instant::now();
            }
            let mut claims = Vec::with_capacity(keys.len());
            {
                let mut find = transaction.prepare_cached(
                    "SELECT state, job, owner, missing_since, waits FROM submission \
                     WHERE endpoint = ?1 AND identity = ?2 AND key = ?3",
                )?;
                let mut add = transaction.prepare_cached(
                    "INSERT INTO submission (endpoint, identity, key, state, owner, changed) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?;
                let mut take = transaction.prepare_cached(
                    "UPDATE submission SET owner = ?4 WHERE endpoint = ?1 AND identity = ?2 AND key = ?3",
                )?;
                for key in keys {
                    let entry = find
                        .query_row(params![scope.endpoint, scope.identity, key], |row| {
                            let since: Option<i64> = row.get(3)?;
                            let job: Option<String> = row.get(1)?;
                            let owner: Option<String> = row.get(2)?;
                            let sent = Sent { missing_since: since.map(time), waits: row.get(4)? };
                            Ok((row.get::<_, i64>(0)?, job, owner, sent))
                        })
                        .optional()?;
                    let Some((state, job, owner, sent)) = entry else {
                        let planned = State::Planned as i64;
                        add.execute(params![
                            scope.endpoint,
                            scope.identity,
                            key,
                            planned,
                            open.owner.name(),
                            seconds(SystemTime::now())
                        ])?;
                        claims.push(Claim::New);
                        continue;
                    };
                    let is_busy = owner.is_some_and(|owner| {
                        *alive.entry(owner).or_insert_with_key(|owner| open.owner.is_alive(owner))
                    });
                    let claim = match job {
                        Some(job) if state == State::Complete as i64 => Claim::Exists(job),
                        _ if is_busy => Claim::Busy,
                        Some(job) if state == State::Abandoned as i64 => Claim::Abandoned(job),
                        Some(job) => Claim::Created(job),
                        None if state == State::Planned as i64 => Claim::New,
                        None => Claim::Sent(sent),
                    };
                    if !matches!(claim, Claim::Exists(_) | Claim::Busy) {
                        take.execute(params![scope.endpoint, scope.identity, key, open.owner.name()])?;
                    }
                    claims.push(claim);
                }
            }
            transaction.commit()?;
            Ok(claims)
        })
    }

    /// Records that jobs are about to be sent, given as keys and whether they wait for a commit. The record survives a
    /// crash of the machine. Fails if one of the keys does not belong to this journal any more.
    pub(crate) fn sending(&self, scope: &Scope, jobs: &[(&str, bool)]) -> Result<()> {
        let sql = "UPDATE submission \
                   SET state = ?5, waits = ?6, changed = ?7, missing_since = NULL, job = NULL, local_id = NULL \
                   WHERE endpoint = ?1 AND identity = ?2 AND key = ?3 AND owner = ?4";
        let (state, now) = (State::Sent as i64, seconds(SystemTime::now()));
        self.durably(|open| {
            open.change(sql, jobs, |set, owner, (key, waits)| {
                changed_one(set.execute(params![scope.endpoint, scope.identity, key, owner, state, waits, now])?)
            })
        })
    }

    /// Records the ids of jobs, given as key, id and A-REX's own id. With `durable`, the record survives a crash of the
    /// machine.
    pub(crate) fn created(&self, scope: &Scope, jobs: &[(&str, &str, &str)], durable: bool) -> Result<()> {
        let sql = "UPDATE submission SET state = ?4, job = ?5, local_id = ?6, changed = ?7, missing_since = NULL \
                   WHERE endpoint = ?1 AND identity = ?2 AND key = ?3";
        let (state, now) = (State::Created as i64, seconds(SystemTime::now()));
        let write = |open: &mut Open| {
            open.change(sql, jobs, |set, _, (key, job, local_id)| {
                set.execute(params![scope.endpoint, scope.identity, key, state, job, local_id, now])
            })
        };
        if durable { self.durably(write) } else { self.with_database(write) }
    }

    /// Records that jobs that exist are about to be cancelled because they did not get all their input files. Fails if the
    /// journal does not have the id of one of them.
    pub(crate) fn abandoned(&self, scope: &Scope, keys: &[&str]) -> Result<()> {
        let sql = "UPDATE submission SET state = ?4, changed = ?5 \
                   WHERE endpoint = ?1 AND identity = ?2 AND key = ?3 AND job IS NOT NULL";
        let (state, now) = (State::Abandoned as i64, seconds(SystemTime::now()));
        self.durably(|open| {
            open.change(sql, keys, |set, _, key| {
                changed_one(set.execute(params![scope.endpoint, scope.identity, key, state, now])?)
            })
        })
    }

    /// Records that jobs have their input files, and releases them. An entry without the id of its job stays open.
    pub(crate) fn completed(&self, scope: &Scope, keys: &[&str]) -> Result<()> {
        let sql = "UPDATE submission \
                   SET state = CASE WHEN job IS NULL THEN state ELSE ?4 END, changed = ?5, owner = NULL \
                   WHERE endpoint = ?1 AND identity = ?2 AND key = ?3";
        let (state, now) = (State::Complete as i64, seconds(SystemTime::now()));
        self.with_database(|open| {
            open.change(sql, keys, |set, _, key| set.execute(params![scope.endpoint, scope.identity, key, state, now]))
        })
    }

    /// Records that a job has its input files, by A-REX's own id. Does nothing if the job is not in the journal, or if it
    /// may have been cancelled.
    pub(crate) fn completed_job(&self, endpoint: &str, local_id: &str) -> Result<()> {
        self.with_database(|open| {
            open.database
                .prepare_cached(
                    "UPDATE submission SET state = ?3, changed = ?4, owner = NULL \
                     WHERE endpoint = ?1 AND local_id = ?2 AND state <> ?5",
                )?
                .execute(params![
                    endpoint,
                    local_id,
                    State::Complete as i64,
                    seconds(SystemTime::now()),
                    State::Abandoned as i64
                ])
                .map(drop)
        })
    }

    /// Records that the CE did not have these jobs when it was asked at `since`. Keeps an earlier time.
    pub(crate) fn missing(&self, scope: &Scope, keys: &[&str], since: SystemTime) -> Result<()> {
        let sql = "UPDATE submission SET missing_since = coalesce(missing_since, ?5) \
                   WHERE endpoint = ?1 AND identity = ?2 AND key = ?3 AND state = ?4";
        let (state, since) = (State::Sent as i64, seconds(since));
        self.with_database(|open| {
            open.change(sql, keys, |set, _, key| {
                set.execute(params![scope.endpoint, scope.identity, key, state, since])
            })
        })
    }

    /// Ends the claims of this journal without a change of the entries.
    pub(crate) fn release(&self, scope: &Scope, keys: &[&str]) -> Result<()> {
        let sql =
            "UPDATE submission SET owner = NULL WHERE endpoint = ?1 AND identity = ?2 AND key = ?3 AND owner = ?4";
        self.with_database(|open| {
            open.change(sql, keys, |set, owner, key| set.execute(params![scope.endpoint, scope.identity, key, owner]))
        })
    }

    /// Removes entries whose jobs certainly do not exist.
    pub(crate) fn forget(&self, scope: &Scope, keys: &[&str]) -> Result<()> {
        let sql = "DELETE FROM submission WHERE endpoint = ?1 AND identity = ?2 AND key = ?3 AND owner = ?4";
        self.with_database(|open| {
            open.change(sql, keys, |set, owner, key| set.execute(params![scope.endpoint, scope.identity, key, owner]))
        })
    }

    /// Removes the entries of jobs that have been removed from the CE, by A-REX's own ids. Does nothing if there is no
    /// journal.
    pub(crate) fn remove_jobs(&self, endpoint: &str, local_ids: &[&str]) -> Result<()> {
        if local_ids.is_empty() || !self.path.exists() {
            return Ok(());
        }
        let sql = "DELETE FROM submission WHERE local_id = ?2 AND endpoint = ?1";
        self.with_database(|open| open.change(sql, local_ids, |remove, _, id| remove.execute([endpoint, id])))
    }

    /// Returns the id of the job with this key if its submission is complete, and whether a submission has to be settled.
    pub(crate) fn look_up(&self, scope: &Scope, key: &str) -> Result<(Option<String>, bool)> {
        self.with_database(|open| {
            let entry: Option<(Option<String>, i64)> = open
                .database
                .prepare_cached("SELECT job, state FROM submission WHERE endpoint = ?1 AND identity = ?2 AND key = ?3")?
                .query_row(params![scope.endpoint, scope.identity, key], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            Ok(match entry {
                None => (None, false),
                Some((Some(job), state)) if state == State::Complete as i64 => (Some(job), false),
                Some(_) => (None, true),
            })
        })
    }

    /// Returns the keys of all submissions that are not complete.
    pub(crate) fn unfinished(&self, scope: &Scope) -> Result<Vec<String>> {
        self.with_database(|open| {
            let mut find = open.database.prepare_cached(
                "SELECT key FROM submission WHERE endpoint = ?1 AND identity = ?2 AND state <> ?3 ORDER BY changed, key",
            )?;
            let keys =
                find.query_map(params![scope.endpoint, scope.identity, State::Complete as i64], |row| row.get(0))?;
            keys.collect()
        })
    }

    /// Returns the jobs whose identifiers are known, by A-REX's own ids. `identifier` converts a key. The identifier is
    /// empty for a job without one.
    pub(crate) fn known_jobs(
        &self,
        scope: &Scope,
        identifier: impl Fn(&str) -> String,
    ) -> Result<HashMap<String, String>> {
        self.with_database(|open| {
            let mut find = open.database.prepare_cached(
                "SELECT local_id, identifier, NULL FROM seen WHERE endpoint = ?1 AND identity = ?2 \
                 UNION ALL \
                 SELECT local_id, NULL, key FROM submission \
                 WHERE endpoint = ?1 AND identity = ?2 AND local_id IS NOT NULL",
            )?;
            let jobs = find.query_map(params![scope.endpoint, scope.identity], |row| {
                let key: Option<String> = row.get(2)?;
                Ok((row.get(0)?, key.map_or_else(|| row.get(1), |key| Ok(identifier(&key)))?))
            })?;
            jobs.collect()
        })
    }

    /// Remembers the identifiers of jobs on the CE, given as A-REX's own ids and identifiers. An empty identifier stays: the
    /// job has none, or is ruled out.
    pub(crate) fn remember(&self, scope: &Scope, jobs: &[(String, String)]) -> Result<()> {
        if jobs.is_empty() {
            return Ok(());
        }
        let sql = "INSERT INTO seen VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE \
                   SET changed = excluded.changed, identifier = min(identifier, excluded.identifier)";
        let now = seconds(SystemTime::now());
        self.with_database(|open| {
            open.change(sql, jobs, |add, _, (local_id, identifier)| {
                add.execute(params![scope.endpoint, scope.identity, local_id, identifier, now])
            })
        })
    }

    /// Runs `work`, whose transaction is on the disk when it returns.
    fn durably<T>(&self, work: impl FnOnce(&mut Open) -> rusqlite::Result<T>) -> Result<T> {
        self.with_database(|open| {
            open.database.pragma_update(None, "synchronous", "FULL")?;
            let result = work(open);
            open.database.pragma_update(None, "synchronous", "NORMAL")?;
            result
        })
    }

    fn with_database<T>(&self, work: impl FnOnce(&mut Open) -> rusqlite::Result<T>) -> Result<T> {
        let mut state = self.open()?;
        let Some(open) = state.open.as_mut() else { return Err(self.error("it is closed", None)) };
        let result = work(open);
        if result.is_err() {
            state.open = None;
        }
        result.map_err(|error| self.sqlite_error(error))
    }

    fn open(&self) -> Result<MutexGuard<'_, Inner>> {
        let mut state = lock(&self.state);
        // The file may have been removed or replaced.
        if state.open.as_ref().is_some_and(|open| file_at(&self.path) != Some(open.file)) {
            state.open = None;
        }
        if state.open.is_none() {
            ensure_directory_of(&self.path, self.create_directory)
                .map_err(|(message, error)| self.error(message, error.map(Into::into)))?;
            let database = self.connect().map_err(|error| self.sqlite_error(error))?;
            let owner = match &state.owner {
                Some(owner) => Arc::clone(owner),
                None => Arc::new(Owner::new(&self.owners()).map_err(|error| {
                    let message = format!("no file can be created in {}", self.owners().display());
                    self.error(message, Some(Box::new(error)))
                })?),
            };
            state.owner = Some(Arc::clone(&owner));
            let file = file_at(&self.path).ok_or_else(|| self.error("it has been removed", None))?;
            state.open = Some(Open { database, owner, file, pruned: Instant::now() });
        }
        Ok(state)
    }

    /// The directory with the files that tell which processes are alive.
    fn owners(&self) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".owners");
        path.into()
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        owner::create_private(&self.path).map_err(|error| {
            rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN),
                Some(error.to_string()),
            )
        })?;
        let mut database = Connection::open(&self.path)?;
        database.busy_timeout(LOCK_TIMEOUT)?;
        // SQLite waits for no other process here: of two that create the journal at the same time, one would fail.
        let begun = Instant::now();
        while let Err(error) = database.pragma_update(None, "journal_mode", "WAL") {
            let is_busy = error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy);
            if !is_busy || begun.elapsed() > LOCK_TIMEOUT {
                return Err(error);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        database.pragma_update(None, "synchronous", "NORMAL")?;
        let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
        match transaction.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))? {
            0 => transaction.execute_batch(TABLES)?,
            VERSION => {}
            other => return Err(rusqlite::Error::IntegralValueOutOfRange(0, other)),
        }
        prune(&transaction)?;
        transaction.commit()?;
        Ok(database)
    }

    fn sqlite_error(&self, error: rusqlite::Error) -> Error {
        let message = match &error {
            rusqlite::Error::SqliteFailure(code, _) => match code.code {
                rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt => {
                    "it is not a journal or is damaged; move it away"
                }
                rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked => {
                    "another process has locked it for more than 30 seconds; end that process, or try again"
                }
                rusqlite::ErrorCode::DiskFull => "the disk is full; free some space",
                _ => "it cannot be read or written",
            },
            rusqlite::Error::QueryReturnedNoRows => "an entry has been removed while its job was submitted",
            rusqlite::Error::IntegralValueOutOfRange(..) => {
                "a newer version of this crate wrote it; upgrade, or set JOBS_INFO_FILE to another path"
            }
            _ => "it cannot be read or written",
        };
        self.error(message, Some(Box::new(error)))
    }

    fn error(&self, message: impl Into<String>, source: Option<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::Journal { path: self.path.clone(), message: message.into(), source }
    }
}

impl Open {
    /// Runs a statement for each of the items, all in one transaction. `run` also gets the name of the owner.
    fn change<T>(
        &mut self,
        sql: &str,
        items: &[T],
        mut run: impl FnMut(&mut Statement<'_>, &str, &T) -> rusqlite::Result<usize>,
    ) -> rusqlite::Result<()> {
        let transaction = self.database.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut statement = transaction.prepare_cached(sql)?;
            for item in items {
                run(&mut statement, self.owner.name(), item)?;
            }
        }
        transaction.commit()
    }
}

/// Fails if a statement has not changed exactly one row.
fn changed_one(rows: usize) -> rusqlite::Result<usize> {
    match rows {
        1 => Ok(1),
        _ => Err(rusqlite::Error::QueryReturnedNoRows),
    }
}

/// The device and inode of the file at a path.
fn file_at(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Removes old entries, except for submissions that are not complete: a wrong clock must not make them forgotten.
fn prune(database: &Connection) -> rusqlite::Result<()> {
    let oldest = seconds(SystemTime::now()) - seconds(SystemTime::UNIX_EPOCH + KEEP);
    database.execute("DELETE FROM submission WHERE changed < ?1 AND state = ?2", [oldest, State::Complete as i64])?;
    database.execute("DELETE FROM seen WHERE changed < ?1", [oldest])?;
    Ok(())
}

fn seconds(time: SystemTime) -> i64 {
    let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX)
}

fn time(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

#[cfg(test)]
mod tests;
