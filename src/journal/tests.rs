use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::thread;

use super::*;

fn scope() -> Scope {
    Scope { endpoint: "https://ce.example.org:443/arex".into(), identity: "/CN=me".into() }
}

fn journal(directory: &Path) -> Journal {
    Journal::new(&directory.join("jobs.dat"), false, None)
}

/// Claims one key.
fn claim(journal: &Journal, key: &str) -> Claim {
    journal.claim(&scope(), &[key]).unwrap().pop().unwrap()
}

#[test]
fn submissions_pass_through_the_states() {
    let directory = tempfile::tempdir().unwrap();
    let journal = journal(directory.path());
    let scope = scope();
    assert_eq!(claim(&journal, "a"), Claim::New);
    assert_eq!(claim(&journal, "a"), Claim::Busy);
    journal.release(&scope, &["a"]).unwrap();
    assert_eq!(claim(&journal, "a"), Claim::New);

    journal.sending(&scope, &[("a", false)]).unwrap();
    assert_eq!(journal.look_up(&scope, "a").unwrap(), (None, true));
    assert_eq!(journal.unfinished(&scope).unwrap(), ["a"]);
    journal.release(&scope, &["a"]).unwrap();
    assert_eq!(claim(&journal, "a"), Claim::Sent(Sent { missing_since: None, waits: false }));
    let since = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
    journal.missing(&scope, &["a"], since).unwrap();
    journal.missing(&scope, &["a"], since + Duration::from_secs(1)).unwrap();
    journal.release(&scope, &["a"]).unwrap();
    assert_eq!(claim(&journal, "a"), Claim::Sent(Sent { missing_since: Some(since), waits: false }));

    journal.created(&scope, &[("a", "https://ce/1", "1")], true).unwrap();
    assert_eq!(claim(&journal, "a"), Claim::Busy);
    journal.release(&scope, &["a"]).unwrap();
    assert_eq!(claim(&journal, "a"), Claim::Created("https://ce/1".into()));
    journal.abandoned(&scope, &["a"]).unwrap();
    assert_eq!(journal.look_up(&scope, "a").unwrap(), (None, true));
    assert_eq!(journal.unfinished(&scope).unwrap(), ["a"]);
    journal.completed_job(&scope.endpoint, "1").unwrap();
    assert_eq!(claim(&journal, "a"), Claim::Busy);
    journal.release(&scope, &["a"]).unwrap();
    assert_eq!(claim(&journal, "a"), Claim::Abandoned("https://ce/1".into()));
    journal.sending(&scope, &[("a", false)]).unwrap();
    journal.completed(&scope, &["a"]).unwrap();
    assert_eq!(claim(&journal, "a"), Claim::Sent(Sent { missing_since: None, waits: false }));
    journal.abandoned(&scope, &["a"]).unwrap_err();
    journal.created(&scope, &[("a", "https://ce/1", "1")], true).unwrap();
    journal.completed(&scope, &["a"]).unwrap();
    assert_eq!(claim(&journal, "a"), Claim::Exists("https://ce/1".into()));
    assert_eq!(journal.unfinished(&scope).unwrap(), [] as [String; 0]);
    assert_eq!(journal.look_up(&scope, "a").unwrap(), (Some("https://ce/1".into()), false));

    journal.remove_jobs(&scope.endpoint, &["1"]).unwrap();
    assert_eq!(claim(&journal, "a"), Claim::New);
    journal.forget(&scope, &["a"]).unwrap();
    assert_eq!(journal.look_up(&scope, "a").unwrap(), (None, false));
}

#[test]
fn keys_belong_to_a_ce_and_an_identity() {
    let directory = tempfile::tempdir().unwrap();
    let journal = journal(directory.path());
    assert_eq!(claim(&journal, "a"), Claim::New);
    for other in
        [Scope { endpoint: "https://other".into(), ..scope() }, Scope { identity: "/CN=you".into(), ..scope() }]
    {
        assert_eq!(journal.claim(&other, &["a"]).unwrap(), [Claim::New]);
    }
}

#[test]
fn known_jobs_have_their_identifiers() {
    let directory = tempfile::tempdir().unwrap();
    let journal = journal(directory.path());
    let scope = scope();
    journal.claim(&scope, &["a", "b"]).unwrap();
    journal.created(&scope, &[("a", "https://ce/1", "1")], false).unwrap();
    journal.remember(&scope, &[("2".into(), "urn:x".into()), ("3".into(), String::new())]).unwrap();
    // A job that is ruled out stays so.
    journal.remember(&scope, &[("3".into(), "urn:y".into())]).unwrap();
    let known = journal.known_jobs(&scope, |key| format!("key {key}")).unwrap();
    let expected = [("1", "key a"), ("2", "urn:x"), ("3", "")].map(|(id, text)| (id.to_owned(), text.to_owned()));
    assert_eq!(known, HashMap::from(expected));
}

#[test]
fn claims_of_dead_processes_are_free() {
    let directory = tempfile::tempdir().unwrap();
    let first = journal(directory.path());
    assert_eq!(claim(&first, "a"), Claim::New);
    first.sending(&scope(), &[("a", true)]).unwrap();
    let second = journal(directory.path());
    assert_eq!(claim(&second, "a"), Claim::Busy);
    assert_eq!(second.claim(&scope(), &["a", "b"]).unwrap(), [Claim::Busy, Claim::New]);
    drop(first);
    assert_eq!(claim(&second, "a"), Claim::Sent(Sent { missing_since: None, waits: true }));
    // A lock file that stayed behind, as after a kill, is not a sign of life.
    let dead = directory.path().join("jobs.dat.submissions.owners/0123");
    fs::write(&dead, "").unwrap();
    let third = journal(directory.path());
    assert_eq!(claim(&third, "c"), Claim::New);
    assert!(!dead.exists());
    assert_eq!(claim(&third, "a"), Claim::Busy);
}

#[test]
fn threads_claim_each_key_once() {
    let directory = tempfile::tempdir().unwrap();
    let keys: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let new = std::sync::atomic::AtomicUsize::new(0);
    let journals = [journal(directory.path()), journal(directory.path())];
    thread::scope(|scope_of_threads| {
        for n in 0..8 {
            let (journal, keys, new) = (&journals[n % 2], &keys, &new);
            scope_of_threads.spawn(move || {
                let claims = journal.claim(&scope(), keys).unwrap();
                let count = claims.iter().filter(|claim| **claim == Claim::New).count();
                new.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
            });
        }
    });
    assert_eq!(new.into_inner(), 50);
}

#[test]
fn journals_are_private_and_old_entries_go() {
    let directory = tempfile::tempdir().unwrap();
    let first = journal(directory.path());
    first.claim(&scope(), &["old", "new"]).unwrap();
    let path = directory.path().join("jobs.dat.submissions");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let owners = directory.path().join("jobs.dat.submissions.owners");
    assert_eq!(fs::metadata(&owners).unwrap().permissions().mode() & 0o777, 0o700);
    let database = Connection::open(&path).unwrap();
    assert_eq!(database.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0)).unwrap(), "wal");
    // A submission that is open stays, however old it seems to be.
    let old = seconds(SystemTime::now() - KEEP) - 1;
    database.execute("UPDATE submission SET changed = ?1", [old]).unwrap();
    database.execute("UPDATE submission SET state = 3 WHERE key = 'old'", []).unwrap();
    drop(first);
    let second = journal(directory.path());
    assert_eq!(second.unfinished(&scope()).unwrap(), ["new"]);
    assert_eq!(second.look_up(&scope(), "old").unwrap(), (None, false));
}

#[test]
fn errors_free_no_claim() {
    let directory = tempfile::tempdir().unwrap();
    let first = journal(directory.path());
    assert_eq!(claim(&first, "a"), Claim::New);
    let failed = first.with_database(|open| open.database.execute_batch("nonsense"));
    assert!(failed.is_err());
    let second = journal(directory.path());
    assert_eq!(claim(&second, "a"), Claim::Busy);
    first.sending(&scope(), &[("a", false)]).unwrap();
}

#[test]
fn jobs_without_an_entry_of_their_own_are_not_sent() {
    let directory = tempfile::tempdir().unwrap();
    let first = journal(directory.path());
    assert_eq!(first.claim(&scope(), &["a", "b"]).unwrap(), [Claim::New, Claim::New]);
    first.forget(&scope(), &["a"]).unwrap();
    assert!(matches!(first.sending(&scope(), &[("a", false)]), Err(Error::Journal { .. })));
    let second = journal(directory.path());
    assert!(matches!(second.sending(&scope(), &[("b", false)]), Err(Error::Journal { .. })));
    for file in fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()) {
        if file.is_file() {
            fs::remove_file(file).unwrap();
        }
    }
    assert!(matches!(first.sending(&scope(), &[("b", false)]), Err(Error::Journal { .. })));
}

#[test]
fn unusable_journals_are_errors_that_name_them() {
    let directory = tempfile::tempdir().unwrap();
    let error = journal(&directory.path().join("missing")).claim(&scope(), &["a"]).unwrap_err();
    assert!(matches!(&error, Error::Journal { message, .. } if message.contains("there is no directory")), "{error}");

    let data = directory.path().join("data");
    let elsewhere = Journal::new(&directory.path().join("missing/jobs.dat"), false, Some(data.clone()));
    assert_eq!(claim(&elsewhere, "a"), Claim::New);
    assert!(data.join("jasmin-arc/submissions").is_file());

    let path = directory.path().join("jobs.dat.submissions");
    fs::write(&path, "this is not a database. ".repeat(100)).unwrap();
    let error = journal(directory.path()).claim(&scope(), &["a"]).unwrap_err();
    assert!(error.to_string().contains("not a journal"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), "this is not a database. ".repeat(100).as_bytes());

    fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 2").unwrap();
    let error = journal(directory.path()).claim(&scope(), &["a"]).unwrap_err();
    assert!(error.to_string().contains("newer version"), "{error}");
}

#[test]
fn claims_end_with_a_killed_process() {
    // The child holds a claim until it is killed.
    if let Some(directory) = std::env::var_os("JASMIN_ARC_TEST_JOURNAL") {
        let journal = journal(Path::new(&directory));
        assert_eq!(claim(&journal, "a"), Claim::New);
        fs::write(Path::new(&directory).join("claimed"), "").unwrap();
        loop {
            thread::sleep(Duration::from_secs(1));
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "journal::tests::claims_end_with_a_killed_process"])
        .env("JASMIN_ARC_TEST_JOURNAL", directory.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while !directory.path().join("claimed").exists() {
        assert!(child.try_wait().unwrap().is_none(), "the child ended early");
        thread::sleep(Duration::from_millis(10));
    }
    let journal = journal(directory.path());
    assert_eq!(claim(&journal, "a"), Claim::Busy);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(claim(&journal, "a"), Claim::New);
}

#[test]
fn a_journal_can_be_created_by_many_at_once() {
    for _ in 0..30 {
        let directory = tempfile::tempdir().unwrap();
        let barrier = std::sync::Barrier::new(8);
        thread::scope(|scope| {
            for n in 0..8 {
                let (barrier, journal) = (&barrier, journal(directory.path()));
                scope.spawn(move || {
                    barrier.wait();
                    assert_eq!(claim(&journal, &n.to_string()), Claim::New);
                });
            }
        });
    }
}
