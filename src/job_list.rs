//! The job list at `JOBS_INFO_FILE`, a SQLite database shared with ARC's command-line tools (`arcstat -j`).
//!
//! ARC's own class `JobInformationStorageSQLite` needs a transaction and about 10 ms for each job. The crate therefore
//! uses that class only for the first job of a batch, which also creates or upgrades the table for the installed ARC.
//! It adds the other jobs as copies of that row with other ids and names, all in one transaction.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, named_params};

use crate::ffi::{self, JobPlace};
use crate::logging;
use crate::util::directory::{CreateDirectory, ensure_directory_of};

/// The maximum time to wait for another process that has locked the list.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// The number of removals in one transaction. Other processes can write to the list between two transactions.
const REMOVAL_BATCH: usize = 1000;

/// Adds jobs to the list, and creates the list if it does not exist.
///
/// With `create_directory`, also creates the list's directory, but not the parent of that directory. The error contains
/// the reason why the list cannot be written.
pub(crate) fn add(path: &Path, create_directory: bool, jobs: &[JobPlace]) -> Result<(), String> {
    let Some((first, others)) = jobs.split_first() else { return Ok(()) };
    let text = path.to_str().ok_or("the path is not UTF-8")?;
    let create = if create_directory { CreateDirectory::Alone } else { CreateDirectory::Never };
    ensure_directory_of(path, create).map_err(|(message, error)| match error {
        Some(error) => format!("{message}: {error}"),
        None => message,
    })?;
    wait_until_free(path).map_err(|error| error.to_string())?;
    let (stored, reasons) = logging::capture(|| ffi::store_jobs(text, std::slice::from_ref(first)));
    stored.map_err(|error| format!("{error}: {}", reasons.text()))?;
    if others.is_empty() {
        return Ok(());
    }
    add_like(path, first, others).map_err(|error| error.to_string())
}

/// Removes jobs from the list by their ids. Does nothing if there is no list.
///
/// The id is the primary key of the list, so the cost depends on the number of jobs to remove and not on the length of
/// the list.
pub(crate) fn remove(path: &Path, ids: &[String]) -> Result<(), String> {
    if ids.is_empty() || !path.exists() {
        return Ok(());
    }
    let remove = || {
        let mut list = open(path)?;
        for batch in ids.chunks(REMOVAL_BATCH) {
            let transaction = list.transaction()?;
            for id in batch {
                transaction.execute("DELETE FROM jobs WHERE id = ?1", [escape(id)])?;
            }
            transaction.commit()?;
        }
        Ok(())
    };
    remove().map_err(|error: rusqlite::Error| error.to_string())
}

/// Returns the ids of all jobs in the list, also those on other CEs. There are none if there is no list.
pub(crate) fn ids(path: &Path) -> Result<Vec<String>, String> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let read = || {
        let list = open(path)?;
        let mut query = list.prepare("SELECT id FROM jobs")?;
        let ids = query.query_map([], |row| Ok(unescape(&row.get::<_, String>(0)?)))?;
        ids.collect::<rusqlite::Result<Vec<String>>>()
    };
    read().map_err(|error: rusqlite::Error| error.to_string())
}

/// Returns the names of those jobs that are in the list, given by their ids. The cost does not depend on the length of the
/// list.
pub(crate) fn names<'a>(
    path: &Path,
    ids: impl IntoIterator<Item = &'a str>,
) -> Result<HashMap<&'a str, String>, String> {
    let mut names = HashMap::new();
    if !path.exists() {
        return Ok(names);
    }
    let read = || {
        let list = open(path)?;
        let mut query = list.prepare("SELECT name FROM jobs WHERE id = ?1")?;
        for id in ids {
            let name: Option<String> = query.query_row([escape(id)], |row| row.get(0)).optional()?;
            names.extend(name.filter(|name| !name.is_empty()).map(|name| (id, unescape(&name))));
        }
        Ok(())
    };
    read().map_err(|error: rusqlite::Error| error.to_string())?;
    Ok(names)
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let list = Connection::open_with_flags(path, flags)?;
    list.busy_timeout(LOCK_TIMEOUT)?;
    Ok(list)
}

/// Waits until no other process has locked the list. ARC itself would wait without a limit.
fn wait_until_free(path: &Path) -> rusqlite::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let list = open(path)?;
    list.execute_batch("BEGIN EXCLUSIVE; ROLLBACK")
}

fn add_like(path: &Path, first: &JobPlace, others: &[JobPlace]) -> rusqlite::Result<()> {
    let mut list = open(path)?;
    list.execute("CREATE TEMP TABLE job AS SELECT * FROM main.jobs WHERE id = ?1", [escape(&first.id)])?;
    let transaction = list.transaction()?;
    {
        let mut change = transaction.prepare(
            "UPDATE job SET id = :id, idfromendpoint = :local_id, name = :name, stdout = :stdout, stderr = :stderr, \
             delegationid = :delegation",
        )?;
        let mut insert = transaction.prepare("INSERT OR REPLACE INTO main.jobs SELECT * FROM job")?;
        for job in others {
            change.execute(named_params! {
                ":id": escape(&job.id),
                ":local_id": escape(&job.local_id),
                ":name": escape(&job.name),
                ":stdout": escape(&job.stdout),
                ":stderr": escape(&job.stderr),
                ":delegation": escape(&job.delegation),
            })?;
            insert.execute([])?;
        }
    }
    transaction.commit()
}

/// Escapes text as ARC does in the list (`sql_escape` in JobInformationStorageSQLite.cpp).
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\'' | '#' | '\r' | '\n' | '\u{8}' | '\0' | '%' => escaped += &format!("%{:02x}", u32::from(character)),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Undoes [`escape`] (`sql_unescape`).
fn unescape(text: &str) -> String {
    let mut parts = text.split('%');
    let mut unescaped = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(u8::is_ascii);
        match code {
            Some(code) => unescaped.extend([char::from(code).to_string().as_str(), &part[2..]]),
            None => unescaped.extend(["%", part]),
        }
    }
    unescaped
}

#[cfg(test)]
mod tests {
    use rusqlite::types::Value;

    use super::*;

    fn job(number: usize) -> JobPlace {
        let service_url = "https://ce.example.org:443/arex".to_owned();
        JobPlace {
            id: format!("{service_url}/rest/1.0/jobs/id{number}"),
            local_id: format!("id{number}"),
            service_url,
            information_interface: "org.nordugrid.arcrest".into(),
            management_interface: "org.nordugrid.arcrest".into(),
            name: format!("it's {number}\n#\r100%"),
            stdout: "stdout.txt".into(),
            stderr: "stderr.txt".into(),
            delegation: String::new(),
        }
    }

    /// Returns every row without the time at which it was written.
    fn rows(path: &Path) -> Vec<Vec<Value>> {
        let list = Connection::open(path).unwrap();
        let mut query = list.prepare("SELECT * FROM jobs ORDER BY id").unwrap();
        let columns: Vec<usize> = (0..query.column_count())
            .filter(|column| query.column_name(*column).unwrap() != "localsubmissiontime")
            .collect();
        let row = |row: &rusqlite::Row<'_>| columns.iter().map(|column| row.get(*column)).collect();
        query.query_map([], row).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn jobs_are_added_with_all_columns_and_without_duplicates() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/jobs.dat");
        let jobs: Vec<JobPlace> = (0..1000).map(job).collect();
        add(&path, true, &jobs[..1]).unwrap();
        add(&path, true, &jobs).unwrap();
        // The same jobs, written one by one by ARC.
        let by_arc = directory.path().join("arc.dat");
        jobs[..20].iter().for_each(|job| add(&by_arc, false, std::slice::from_ref(job)).unwrap());
        let (stored, expected) = (rows(&path), rows(&by_arc));
        assert_eq!(stored.len(), 1000);
        assert!(expected.iter().all(|row| stored.contains(row)), "{:?} is not in {:?}", expected, &stored[..20]);
        add(&path, false, &[]).unwrap();

        let wanted = [jobs[0].id.as_str(), "https://ce.example.org:443/arex/other", jobs[999].id.as_str()];
        let expected = HashMap::from([0, 999].map(|number| (jobs[number].id.as_str(), job(number).name)));
        assert_eq!(names(&path, wanted).unwrap(), expected);
        let mut listed = ids(&path).unwrap();
        listed.sort_unstable();
        let mut expected: Vec<&String> = jobs.iter().map(|job| &job.id).collect();
        expected.sort_unstable();
        assert_eq!(listed.iter().collect::<Vec<_>>(), expected);

        let ids: Vec<String> = jobs[10..].iter().map(|job| job.id.clone()).collect();
        remove(&path, &ids).unwrap();
        assert_eq!(rows(&path).len(), 10);
        let none = directory.path().join("none");
        remove(&none, &ids).unwrap();
        assert!(super::ids(&none).unwrap().is_empty() && names(&none, ["a"]).unwrap().is_empty());
    }

    #[test]
    fn escaped_texts_are_read_back() {
        for text in ["it's 1\n#\r100%", "%41%zz%", "é%25", ""] {
            assert_eq!(unescape(&escape(text)), text);
        }
        assert_eq!(unescape("%zz%4"), "%zz%4");
    }

    #[test]
    fn missing_parents_of_the_directory_are_not_created() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("a");
        let error = add(&missing.join("jobs.dat"), false, &[job(1)]).unwrap_err();
        assert!(error.contains(&format!("there is no directory {}", missing.display())), "{error}");
        let error = add(&missing.join("b/jobs.dat"), true, &[job(1)]).unwrap_err();
        assert!(error.contains(&format!("the directory {} cannot be created", missing.join("b").display())), "{error}");
        assert!(!missing.exists());
    }

    #[test]
    fn locked_lists_are_an_error_after_a_timeout() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("jobs.dat");
        add(&path, false, &[job(1)]).unwrap();
        let other = Connection::open(&path).unwrap();
        other.execute_batch("BEGIN EXCLUSIVE").unwrap();
        assert!(add(&path, false, &[job(2)]).unwrap_err().contains("locked"));
        drop(other);
        add(&path, false, &[job(2)]).unwrap();
    }

    #[test]
    fn files_of_another_format_are_not_changed() {
        let directory = tempfile::tempdir().unwrap();
        assert!(add(directory.path(), false, &[job(1)]).is_err());
        let garbage = directory.path().join("garbage");
        std::fs::write(&garbage, "this is not a database, and is longer than the header of one. ".repeat(40)).unwrap();
        let before = std::fs::read(&garbage).unwrap();
        assert!(add(&garbage, false, &[job(1), job(2)]).is_err());
        assert!(ids(&garbage).is_err() && names(&garbage, ["a"]).is_err());
        assert_eq!(std::fs::read(&garbage).unwrap(), before);
    }
}
