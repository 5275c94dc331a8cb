use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;
use std::collections::HashMap;

use crate::backend::fake::{FakeBackend, FakeJob, Fate};
use crate::description::{InputFile, JobDescription};
use crate::error::ErrorKind;
use crate::ffi::{CredentialInfo, Description};
use crate::job::{ArcState, JobStatus, LeftOutReason, SavedOutputs};
use crate::journal::Scope;
use crate::matching::{Mismatch, ResourceAmount};
use crate::proxy::{CredentialReader, Proxy};
use crate::service::{QueueInfo, ServiceInfo};

struct AnyCredential;

impl CredentialReader for AnyCredential {
    fn read(&self, _: &Path) -> std::result::Result<CredentialInfo, String> {
        let now = SystemTime::now();
        Ok(CredentialInfo {
            identity: "/CN=me".into(),
            certificate: "mine".into(),
            not_before: now,
            not_after: now + Duration::from_secs(3600),
            has_voms: false,
        })
    }

    fn can_decrypt(&self, _: &Path, _: &[u8]) -> std::result::Result<bool, String> {
        Ok(true)
    }

    fn is_key_of(&self, _: &Path, _: &[u8], _: &Path) -> std::result::Result<bool, String> {
        Ok(true)
    }
}

fn any_credential(config: &ConnectionConfig) -> UserCredentials {
    UserCredentials::Proxy(Box::new(Proxy::new(credentials::settings(config), Arc::new(AnyCredential))))
}

/// Returns an interface to a CE in memory, with a proxy certificate that passes all checks.
pub(super) fn fake() -> (ArcInterface, Arc<FakeBackend>, TempDir) {
    fake_with("ce.example.org", FakeBackend::default())
}

/// Returns an interface to a CE in memory whose ids have this host.
pub(super) fn fake_at(host: &str) -> (ArcInterface, Arc<FakeBackend>, TempDir) {
    fake_with(host, FakeBackend::at(format!("https://{host}:443/arex/rest/1.0/jobs")))
}

fn fake_with(host: &str, backend: FakeBackend) -> (ArcInterface, Arc<FakeBackend>, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let path = directory.path().join(name);
        fs::write(&path, name).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let config = ConnectionConfig::default()
        .with_client_cert(file("cert.pem"))
        .with_client_key(file("key.pem"))
        .with_proxy_file(file("proxy.pem"))
        .with_jobs_info_file(directory.path().join("jobs.dat"))
        .with_arc_server(host);
    let backend = Arc::new(backend);
    let arc = ArcInterface(Arc::new(inner(config, &backend)), CallLimits::default());
    (arc, backend, directory)
}

/// The content of an interface to a CE in memory.
fn inner(config: ConnectionConfig, backend: &Arc<FakeBackend>) -> Inner {
    Inner {
        endpoint: config.endpoint().unwrap(),
        timeout: DEFAULT_TIMEOUT,
        log: Log::new(LogLevel::Info, Destination::Nowhere),
        credentials: Arc::new(any_credential(&config)),
        retries: RetryPolicy::none(),
        max_connections: DEFAULT_MAX_CONNECTIONS,
        rest: Mutex::default(),
        backend: Mutex::new(Some(backend.clone() as Arc<dyn Backend>)),
        journal: Journal::new(&config.jobs_info_file(), false, None),
        commit: false,
        on_created: None,
        config,
    }
}

pub(super) fn calls(backend: &FakeBackend) -> usize {
    backend.calls.load(Ordering::Relaxed)
}

#[test]
fn interfaces_are_send_and_sync() {
    fn shared<T: Clone + Send + Sync + fmt::Debug>(_: &T) {}
    let (arc, ..) = fake();
    shared(&arc);
    assert!(format!("{arc:?}").contains("ce.example.org"));
}

#[test]
fn jobs_are_submitted_watched_cancelled_and_cleaned() {
    let (arc, backend, directory) = fake();
    let input = directory.path().join("data.txt");
    fs::write(&input, "data").unwrap();
    let id = arc.submit_job("/bin/cat", &["data.txt", ""], &[&input]).unwrap();
    let job = backend.jobs()[id.as_str()].description.clone();
    assert_eq!(
        (job.executable.as_str(), &job.arguments[..]),
        ("/bin/cat", &["data.txt".to_owned(), String::new()][..])
    );
    assert_eq!(job.outputs[0].name, "output");
    assert_eq!((job.inputs[0].name.as_str(), job.inputs[0].path.as_str()), ("data.txt", input.to_str().unwrap()));

    assert_eq!(arc.job_status(&id).unwrap(), JobStatus::NotSubmitted);
    backend.jobs().get_mut(id.as_str()).unwrap().state = ArcState::Running;
    assert_eq!(arc.job_status(&id).unwrap(), JobStatus::InProgress);
    assert_eq!(arc.job(&id).unwrap().state, ArcState::Running);
    assert!(matches!(arc.save_job_outputs(&id), Ok(None)));
    arc.cancel_job(&id).unwrap();
    assert_eq!(arc.job_status(&id).unwrap(), JobStatus::Failed);
    arc.cancel_job(&id).unwrap();
    arc.clean_jobs(std::slice::from_ref(&id)).unwrap().pop().unwrap().unwrap();
    assert!(matches!(arc.job_status(&id), Err(Error::JobNotFound { job_id, .. }) if job_id == id));
}

#[test]
fn invalid_jobs_do_not_affect_the_others() {
    let (arc, backend, _directory) = fake();
    let jobs = [
        JobDescription::new("/bin/true"),
        JobDescription::new("/bin/true").with_arg("\0"),
        JobDescription::new("/refused"),
        JobDescription::new("/bin/cat").with_input_file("/no/such/file"),
        JobDescription::new("/bin/false"),
    ];
    let results = arc.submit_jobs(&jobs).unwrap();
    assert!(matches!(
        &results[..],
        [
            Ok(_),
            Err(Error::InvalidJobDescription { .. }),
            Err(Error::JobSubmission { .. }),
            Err(Error::InputFile { .. }),
            Ok(_)
        ]
    ));
    assert_eq!(backend.jobs()[results[4].as_ref().unwrap().as_str()].description.executable, "/bin/false");
    assert_eq!(calls(&backend), 1);
}

#[test]
fn invalid_jobs_and_empty_lists_send_no_request() {
    let (arc, backend, _directory) = fake();
    assert!(matches!(arc.submit_job("/bin/true", &["\0"], &[]), Err(Error::InvalidJobDescription { .. })));
    let missing = Path::new("/no/such/file");
    assert!(matches!(
        arc.submit_job("/bin/true", &[], &[missing]),
        Err(Error::InputFile { path, .. }) if path == missing
    ));
    let none: [JobId; 0] = [];
    for empty in [arc.submit_jobs([] as [JobDescription; 0]).unwrap().len(), arc.job_statuses(&none).unwrap().len()] {
        assert_eq!(empty, 0);
    }
    assert_eq!(calls(&backend), 0);
}

#[test]
fn mismatches_cost_one_request() {
    let (arc, backend, _directory) = fake();
    let queue = QueueInfo { name: "fork".into(), max_slots: Some(2), ..QueueInfo::default() };
    *backend.service.lock().unwrap() = ServiceInfo { queues: vec![queue], ..ServiceInfo::default() };
    let job = JobDescription::new("/bin/true").with_input_file("/no/such/file");
    assert_eq!(arc.mismatches(&job.clone().with_queue("fork").with_slots(2)).unwrap(), []);
    assert_eq!(calls(&backend), 1);
    let (requested, limit) = (ResourceAmount::Slots(3), ResourceAmount::Slots(2));
    let expected = Mismatch::AboveLimit { queue: "fork".into(), requested, limit };
    assert_eq!(arc.mismatches(&job.clone().with_slots(3)).unwrap(), [expected]);
    assert!(matches!(arc.mismatches(&job.with_slots(0)), Err(Error::InvalidJobDescription { .. })));
    assert_eq!(calls(&backend), 2);
}

#[test]
fn results_keep_the_order_of_the_ids() {
    let (arc, _backend, _directory) = fake();
    let good = arc.submit_job("/bin/true", &[], &[]).unwrap();
    let ids = [JobId::from("no such job"), good.clone(), JobId::from(""), good];
    let statuses = arc.job_statuses(&ids).unwrap();
    assert_eq!(statuses.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true, false, true]);
    assert_eq!(arc.jobs(&ids).unwrap().iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true, false, true]);
}

#[test]
fn unreachable_ces_fail_the_whole_call() {
    let (arc, backend, _directory) = fake();
    *backend.unreachable.lock().unwrap() = Some("no route".into());
    let error = arc.job_statuses(&[JobId::from("a")]).unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("no route"), "{error}");
}

#[test]
fn outputs_are_saved_in_new_directories_or_below_a_given_one() {
    let (arc, backend, directory) = fake();
    let ids: Vec<JobId> = arc
        .submit_jobs(&[JobDescription::new("/1"), JobDescription::new("/2"), JobDescription::new("/3")])
        .unwrap()
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let files = |text: &str| {
        vec![
            ("stdout.txt".to_owned(), text.as_bytes().to_vec(), None),
            ("out/deep/file".to_owned(), b"deep".to_vec(), Some(4)),
        ]
    };
    backend.jobs().get_mut(ids[0].as_str()).unwrap().files = files("one");
    backend.jobs().get_mut(ids[2].as_str()).unwrap().files = files("three");

    let first = arc.save_job_outputs(&ids[0]).unwrap().unwrap();
    let second = arc.save_job_outputs(&ids[0]).unwrap().unwrap();
    assert_ne!(first, second);
    assert_eq!(fs::metadata(&first).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_to_string(first.join("stdout.txt")).unwrap(), "one");
    assert_eq!(fs::read_to_string(first.join("out/deep/file")).unwrap(), "deep");
    assert_eq!(fs::read_dir(&first).unwrap().count(), 2, "the directory contains only the outputs");
    [first, second].iter().for_each(|path| fs::remove_dir_all(path).unwrap());

    let results = directory.path().join("new/results");
    for _ in 0..2 {
        let saved = arc.save_jobs_outputs_to(&ids, &results).unwrap();
        let saved: Vec<Option<SavedOutputs>> = saved.into_iter().map(Result::unwrap).collect();
        let expected = |name, bytes| {
            let mut saved = SavedOutputs::new(results.join(name), Vec::new());
            (saved.files, saved.bytes) = (2, bytes);
            Some(saved)
        };
        assert_eq!(saved, [expected("1", 7), None, expected("3", 9)]);
        assert_eq!(fs::read_to_string(results.join("3/stdout.txt")).unwrap(), "three");
        assert_eq!(fs::read_dir(&results).unwrap().count(), 2);
    }
}

/// Sets the files of a job of the fake CE: name, content and listed size.
fn set_files(backend: &FakeBackend, id: &JobId, files: &[(&str, &str, Option<u64>)]) {
    let file = |(name, text, size): &(&str, &str, Option<u64>)| ((*name).into(), text.as_bytes().to_vec(), *size);
    backend.jobs().get_mut(id.as_str()).unwrap().files = files.iter().map(file).collect();
}

#[test]
fn what_is_not_saved_is_reported_and_stops_nothing() {
    let (arc, backend, directory) = fake();
    let id = arc.submit_job("/1", &[], &[]).unwrap();
    let results = directory.path().join("results");
    let long = "x".repeat(256);
    let deep = "d/".repeat(2040) + "file";
    let files = [
        ("fine", LeftOutReason::Removed),
        ("../evil", LeftOutReason::UnsafeName),
        ("/evil", LeftOutReason::UnsafeName),
        ("a/../../evil", LeftOutReason::UnsafeName),
        ("", LeftOutReason::UnsafeName),
        (".", LeftOutReason::UnsafeName),
        ("a\0b", LeftOutReason::UnsafeName),
        ("a\nb", LeftOutReason::UnsafeName),
        ("a/", LeftOutReason::UnsafeName),
        (&long, LeftOutReason::NameTooLong),
        (&deep, LeftOutReason::NameTooLong),
        ("temporary", LeftOutReason::Removed),
        ("twice", LeftOutReason::Removed),
        ("twice", LeftOutReason::NameCollision),
        ("twice/below", LeftOutReason::NameCollision),
        ("also/fine", LeftOutReason::Removed),
        ("also", LeftOutReason::NameCollision),
    ];
    set_files(&backend, &id, &files.map(|(name, _)| (name, "x", Some(1))));
    backend.removed.lock().unwrap().push("temporary".into());
    let saved = arc.save_job_outputs_to(&id, &results).unwrap().unwrap();
    assert_eq!((saved.files, saved.bytes), (3, 3));
    let mut expected: Vec<(&str, LeftOutReason)> = files.to_vec();
    expected.retain(|file| !matches!(file, ("fine" | "also/fine", _) | ("twice", LeftOutReason::Removed)));
    let mut left_out: Vec<(&str, LeftOutReason)> =
        saved.left_out.iter().map(|left_out| (left_out.path.to_str().unwrap(), left_out.reason)).collect();
    for list in [&mut expected, &mut left_out] {
        list.sort_by_key(|(name, reason)| (name.to_owned(), reason.to_string()));
    }
    assert_eq!(left_out, expected);
    assert!(saved.join("fine").is_file() && saved.join("also/fine").is_file());
    assert!(!directory.path().join("evil").exists() && !results.join("evil").exists());
    assert_eq!(fs::read_dir(&saved).unwrap().count(), 3, "a temporary directory is left");

    // The outputs of this job cannot be saved, but it has some.
    set_files(&backend, &id, &[("../evil", "x", Some(1))]);
    let saved = arc.save_job_outputs(&id).unwrap().unwrap();
    assert_eq!(fs::read_dir(&saved).unwrap().count(), 0);
    fs::remove_dir(saved).unwrap();
}

#[test]
fn files_of_another_size_are_refused_once_the_job_has_ended() {
    let (arc, backend, directory) = fake();
    let id = arc.submit_job("/1", &[], &[]).unwrap();
    let save = || arc.save_job_outputs_to(&id, directory.path().join("results"));
    set_files(&backend, &id, &[("whole", "abc", Some(3)), ("short", "ab", Some(3)), ("grown", "abcd", Some(3))]);
    assert_eq!(save().unwrap().unwrap().bytes, 9);
    backend.jobs().get_mut(id.as_str()).unwrap().state = ArcState::Finished;
    fs::remove_dir_all(directory.path().join("results")).unwrap();
    assert!(matches!(save(), Err(Error::OutputFile { path, .. }) if path.ends_with("1/short")));
    let left: Vec<_> =
        fs::read_dir(directory.path().join("results/1")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["whole"]);
}

#[test]
fn links_below_the_directory_are_not_followed() {
    let (arc, backend, directory) = fake();
    let id = arc.submit_job("/1", &[], &[]).unwrap();
    let [outside, results, linked] = ["outside", "results", "linked"].map(|name| directory.path().join(name));
    fs::create_dir_all(&outside).unwrap();
    fs::create_dir_all(results.join("1")).unwrap();
    fs::write(outside.join("file"), "kept").unwrap();
    symlink(&outside, results.join("1/sub")).unwrap();
    symlink(outside.join("file"), results.join("1/file")).unwrap();
    symlink(&results, &linked).unwrap();
    set_files(&backend, &id, &[("sub/planted", "x", Some(1)), ("file", "new", Some(3))]);

    // The caller's own directory may be a link.
    let error = arc.save_job_outputs_to(&id, &linked).unwrap_err();
    let Error::OutputFile { path, source: Some(source), .. } = &error else { panic!("{error:?}") };
    assert!(path.ends_with("1/sub/planted") && source.to_string().contains("symbolic link"), "{error:?}");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "a file was written outside");
    // A link in the place of a file is replaced.
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "kept");
    assert_eq!(fs::read_to_string(results.join("1/file")).unwrap(), "new");
    assert!(fs::symlink_metadata(results.join("1/file")).unwrap().is_file());

    // The directory of the job is not the caller's choice.
    fs::remove_dir_all(results.join("1")).unwrap();
    symlink(&outside, results.join("1")).unwrap();
    let error = arc.save_job_outputs_to(&id, &results).unwrap_err();
    assert!(
        matches!(&error, Error::OutputFile { source: Some(source), .. } if source.to_string().contains("symbolic link"))
    );
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn every_output_file_that_the_configuration_accepts_can_be_submitted() {
    let (arc, backend, directory) = fake();
    for (name, expected) in [("./out", "out"), ("a/./b", "a/b"), ("a//b/", "a/b")] {
        let config = arc.config().clone().with_output_file(name);
        config.validate().unwrap();
        let id = ArcInterface(Arc::new(inner(config, &backend)), CallLimits::default())
            .submit_job("/bin/true", &[], &[])
            .unwrap();
        assert_eq!(backend.jobs()[id.as_str()].description.outputs[0].name, expected);
    }
    drop(directory);
}

/// Returns another interface to the same CE with the same journal, as another process would have.
fn another(arc: &ArcInterface, backend: &Arc<FakeBackend>, change: impl FnOnce(&mut Inner)) -> ArcInterface {
    let mut inner = Inner { timeout: Duration::from_millis(300), ..inner(arc.config().clone(), backend) };
    change(&mut inner);
    ArcInterface(Arc::new(inner), CallLimits::default())
}

fn keyed(key: &str) -> JobDescription {
    JobDescription::new("/bin/true").with_key(key)
}

#[test]
fn a_key_submits_one_job() {
    let (arc, backend, _directory) = fake();
    let id = arc.submit(&keyed("a")).unwrap();
    assert_eq!(arc.submit(&keyed("a").with_arg("other")).unwrap(), id);
    assert_eq!(another(&arc, &backend, |_| {}).submit(&keyed("a")).unwrap(), id);
    assert_eq!(arc.find_submission("a").unwrap(), Some(id.clone()));
    assert_eq!(arc.find_submission("b").unwrap(), None);
    let ids = arc.submit_jobs([keyed("a"), keyed("b"), keyed("b"), JobDescription::new("/bin/true")]).unwrap();
    let ids: Vec<JobId> = ids.into_iter().map(Result::unwrap).collect();
    assert_eq!(ids[0], id);
    assert_eq!(ids[1], ids[2]);
    assert_eq!(backend.jobs().len(), 3);
    assert!(arc.recover().unwrap().is_empty());

    let refused = JobDescription::new("/refused").with_key("c");
    let failed = arc.submit_jobs([&refused, &refused]).unwrap();
    assert!(failed.iter().all(|result| matches!(result, Err(Error::JobSubmission { .. }))), "{failed:?}");
    assert_eq!(arc.find_submission("c").unwrap(), None);
    arc.submit(&keyed("c")).unwrap();

    backend.jobs().get_mut(id.as_str()).unwrap().state = ArcState::Finished;
    assert!(matches!(arc.submit(&keyed("")), Err(Error::InvalidJobDescription { .. })));
}

#[test]
fn jobs_whose_answer_is_lost_are_found() {
    let (arc, backend, _directory) = fake();
    *backend.fate.lock().unwrap() = Fate::AnswerLost;
    let created = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&created);
    let watched = another(&arc, &backend, |inner| {
        inner.on_created = Some(OnCreated::new(move |job| seen.lock().unwrap().push(job.clone())));
    });
    let input = InputFile::bytes("data.txt", "data");
    let ids = watched.submit_jobs([keyed("a").with_input(input), keyed("b")]).unwrap();
    let ids: Vec<JobId> = ids.into_iter().map(Result::unwrap).collect();
    assert_eq!(backend.jobs().len(), 2);
    assert!(backend.jobs()[ids[0].as_str()].has_inputs);
    let seen: Vec<(String, JobId)> =
        created.lock().unwrap().iter().map(|job| (job.key.clone(), job.id.clone())).collect();
    assert!(seen.contains(&("a".into(), ids[0].clone())) && seen.contains(&("b".into(), ids[1].clone())), "{seen:?}");
    assert_eq!(arc.submit(&keyed("a")).unwrap(), ids[0]);
}

#[test]
fn lost_requests_are_sent_again_only_when_that_is_certain() {
    let (arc, backend, _directory) = fake();
    *backend.fate.lock().unwrap() = Fate::RequestLost;
    let error = arc.submit(&keyed("a")).unwrap_err();
    assert!(matches!(&error, Error::SubmissionUnknown { key, .. } if key == "a"), "{error}");
    assert!(!error.is_retryable() && error.hint().is_some());
    *backend.fate.lock().unwrap() = Fate::Accepted;
    assert!(matches!(arc.submit(&keyed("a")), Err(Error::SubmissionUnknown { .. })));
    assert!(matches!(arc.find_submission("a"), Err(Error::SubmissionUnknown { .. })));
    let [recovered] = &arc.recover().unwrap()[..] else { panic!() };
    assert_eq!((recovered.key.as_str(), &recovered.outcome), ("a", &SubmissionOutcome::Unknown));
    assert_eq!(backend.jobs().len(), 0);

    // With a commit, the job is sent again at once.
    *backend.fate.lock().unwrap() = Fate::RequestLost;
    assert!(matches!(arc.submit(&keyed("b").with_commit(true)), Err(Error::SubmissionUnknown { .. })));
    *backend.fate.lock().unwrap() = Fate::Accepted;
    let id = arc.submit(&keyed("b").with_commit(true)).unwrap();
    let job = backend.jobs()[id.as_str()].description.clone();
    assert_eq!(job.inputs[0].name, ".jasmin-arc-commit");
    assert_eq!(job.old_ids, ["urn:jasmin-arc:b"]);

    // The job that was sent without a commit may still run, whatever a later description says.
    assert!(matches!(arc.submit(&keyed("a").with_commit(true)), Err(Error::SubmissionUnknown { .. })));

    // Half a minute after the CE was seen not to have it, it will not come any more.
    let scope = Scope { endpoint: arc.0.endpoint.url(), identity: "/CN=me".into() };
    let journal = Journal::new(&arc.config().jobs_info_file(), false, None);
    let path = arc.config().jobs_info_file().with_file_name("jobs.dat.submissions");
    let database = rusqlite::Connection::open(path).unwrap();
    database.execute("UPDATE submission SET missing_since = missing_since - 31", []).unwrap();
    assert_eq!(journal.unfinished(&scope).unwrap(), ["a"]);
    arc.submit(&keyed("a")).unwrap();
    assert_eq!(backend.jobs().len(), 2);
}

#[test]
fn recovery_settles_what_a_killed_program_left() {
    let (arc, backend, _directory) = fake();
    let dead = another(&arc, &backend, |_| {});
    *backend.fate.lock().unwrap() = Fate::AnswerLost;
    // What the program that was killed had done: it had planned one job, and sent two.
    let scope = Scope { endpoint: arc.0.endpoint.url(), identity: "/CN=me".into() };
    dead.0.journal.claim(&scope, &["planned", "sent", "lost"]).unwrap();
    dead.0.journal.sending(&scope, &[("sent", false), ("lost", false)]).unwrap();
    let description = Description { old_ids: vec!["urn:jasmin-arc:sent".into()], ..Description::default() };
    let job = FakeJob::new(description, ArcState::Preparing, false);
    backend.jobs().insert("fake://ce/1".into(), job);
    let outcomes = || -> HashMap<String, SubmissionOutcome> {
        arc.recover().unwrap().into_iter().map(|submission| (submission.key, submission.outcome)).collect()
    };
    assert!(outcomes().values().all(|outcome| *outcome == SubmissionOutcome::InProgress));
    drop(dead);
    let found = outcomes();
    assert_eq!(found["planned"], SubmissionOutcome::NotSubmitted);
    assert_eq!(found["sent"], SubmissionOutcome::NeedsInputs("fake://ce/1".into()));
    assert_eq!(found["lost"], SubmissionOutcome::Unknown);
    assert_eq!(arc.find_submission("sent").unwrap(), Some("fake://ce/1".into()));
    arc.submit(&keyed("sent").with_input(InputFile::bytes("data.txt", "data"))).unwrap();
    assert!(backend.jobs()["fake://ce/1"].has_inputs);
    assert_eq!(outcomes().into_keys().collect::<Vec<_>>(), ["lost"]);
    assert_eq!(backend.jobs().len(), 1);
}

#[test]
fn a_key_never_answers_with_a_job_that_was_cancelled_before_it_ran() {
    let (arc, backend, _directory) = fake();
    let job = keyed("a").with_input(InputFile::bytes("data.txt", "data"));
    let lose_the_upload = |job: &JobDescription| {
        *backend.fate.lock().unwrap() = Fate::UploadLost;
        let error = arc.submit(job).unwrap_err();
        *backend.fate.lock().unwrap() = Fate::Accepted;
        error.job_id().unwrap().clone()
    };
    let first = lose_the_upload(&job);
    *backend.unreachable.lock().unwrap() = Some("the CE is away".into());
    assert_eq!(arc.submit(&job).unwrap_err().job_id(), Some(&first));
    *backend.unreachable.lock().unwrap() = None;
    let second = arc.submit(&job).unwrap();
    assert_ne!(second, first);
    assert_eq!(backend.jobs()[first.as_str()].state, ArcState::Killed);
    assert_eq!(arc.submit(&job).unwrap(), second);

    // The same by `recover`, which frees the key.
    let job = job.clone().with_key("b");
    let third = lose_the_upload(&job);
    let [recovered] = &arc.recover().unwrap()[..] else { panic!() };
    assert_eq!(recovered.outcome, SubmissionOutcome::NotSubmitted);
    assert_eq!(backend.jobs()[third.as_str()].state, ArcState::Killed);

    // A job that had its files after all, and has ended, is the job of the key.
    let fourth = lose_the_upload(&job);
    let mut jobs = backend.jobs();
    let ended = jobs.get_mut(fourth.as_str()).unwrap();
    (ended.state, ended.has_inputs) = (ArcState::Finished, true);
    drop(jobs);
    assert_eq!(arc.submit(&job).unwrap(), fourth);
    assert!(arc.recover().unwrap().is_empty());
}

#[test]
fn a_job_that_ended_without_its_inputs_is_submitted_again() {
    let (arc, backend, _directory) = fake();
    let job = keyed("a").with_input(InputFile::bytes("data.txt", "data"));
    leave_submission(&arc, &backend, "a", false, Some("fake://ce/1"));
    backend.jobs().insert("fake://ce/1".into(), job_of("a", ArcState::Failed, false));
    assert_eq!(arc.submit(&job).unwrap(), "fake://ce/2".into());
    assert_eq!(arc.find_submission("a").unwrap(), Some("fake://ce/2".into()));
}

/// The scope of the keys of the tests.
fn scope(arc: &ArcInterface) -> Scope {
    Scope { endpoint: arc.0.endpoint.url(), identity: "/CN=me".into() }
}

fn job_of(key: &str, state: ArcState, has_inputs: bool) -> FakeJob {
    let old_ids = vec![format!("urn:jasmin-arc:{key}")];
    FakeJob::new(Description { old_ids, ..Description::default() }, state, has_inputs)
}

/// Leaves a submission as a killed program does: sent, and created if `id` is given.
fn leave_submission(arc: &ArcInterface, backend: &Arc<FakeBackend>, key: &str, commit: bool, id: Option<&str>) {
    let dead = another(arc, backend, |_| {});
    let scope = scope(arc);
    dead.0.journal.claim(&scope, &[key]).unwrap();
    dead.0.journal.sending(&scope, &[(key, commit)]).unwrap();
    if let Some(id) = id {
        dead.0.journal.created(&scope, &[(key, id, id)], false).unwrap();
    }
}

#[test]
fn of_two_jobs_with_one_key_only_one_gets_its_inputs() {
    for state in [ArcState::Preparing, ArcState::Failed] {
        let (arc, backend, _directory) = fake();
        leave_submission(&arc, &backend, "a", true, None);
        backend.jobs().insert("fake://ce/1".into(), job_of("a", state, false));
        backend.jobs().insert("fake://ce/2".into(), job_of("a", ArcState::Preparing, false));
        let id = arc.submit(&keyed("a").with_commit(true)).unwrap();
        let run: Vec<String> =
            backend.jobs().iter().filter(|(_, job)| job.has_inputs).map(|(id, _)| id.clone()).collect();
        assert_eq!(run, [id.to_string()], "{state}");
    }
}

#[test]
fn recovery_frees_the_key_of_a_job_that_never_ran() {
    let (arc, backend, _directory) = fake();
    let id = "fake://ce/1";
    let settled = [
        (Some(job_of("a", ArcState::Failed, false)), SubmissionOutcome::NotSubmitted, None),
        (None, SubmissionOutcome::NotSubmitted, None),
        (Some(job_of("a", ArcState::Running, true)), SubmissionOutcome::Submitted(id.into()), Some(id.into())),
        (Some(job_of("a", ArcState::Killed, true)), SubmissionOutcome::Submitted(id.into()), Some(id.into())),
        (Some(job_of("a", ArcState::Preparing, false)), SubmissionOutcome::NeedsInputs(id.into()), Some(id.into())),
    ];
    for (job, outcome, found) in settled {
        for recover in [true, false] {
            backend.jobs().clear();
            backend.jobs().extend(job.clone().map(|job| (id.to_owned(), job)));
            leave_submission(&arc, &backend, "a", false, Some(id));
            if recover {
                assert_eq!(arc.recover().unwrap()[0].outcome, outcome, "{job:?}");
            }
            assert_eq!(arc.find_submission("a").unwrap(), found, "{job:?}");
            arc.0.journal.remove_jobs(&arc.0.endpoint.url(), &[id]).unwrap();
        }
    }
    // The same key can be submitted again.
    backend.jobs().clear();
    leave_submission(&arc, &backend, "a", false, Some(id));
    arc.submit(&keyed("a").with_input(InputFile::bytes("data.txt", "data"))).unwrap();
}

#[test]
fn a_search_without_a_journal_skips_jobs_that_never_ran() {
    let (arc, backend, _directory) = fake();
    backend.jobs().insert("fake://ce/1".into(), job_of("a", ArcState::Killed, false));
    assert_eq!(arc.find_submission("a").unwrap(), None);
    for (id, state) in [("fake://ce/2", ArcState::Preparing), ("fake://ce/3", ArcState::Running)] {
        backend.jobs().insert(id.into(), job_of("a", state, state == ArcState::Running));
        assert_eq!(arc.find_submission("a").unwrap(), Some(id.into()));
    }
}

#[test]
fn failures_of_the_journal_leave_no_key_claimed() {
    let (arc, backend, _directory) = fake();
    let arc = another(&arc, &backend, |_| {});
    arc.submit(&keyed("x")).unwrap();
    let path = arc.config().jobs_info_file().with_file_name("jobs.dat.submissions");
    let database = rusqlite::Connection::open(path).unwrap();
    let trigger = "CREATE TRIGGER t BEFORE UPDATE OF job ON submission WHEN NEW.job IS NOT NULL \
                   BEGIN SELECT RAISE(ABORT, 'x'); END";
    database.execute_batch(trigger).unwrap();
    let first = arc.submit(&keyed("a")).unwrap();
    database.execute_batch("DROP TRIGGER t").unwrap();
    assert_eq!(arc.submit(&keyed("a")).unwrap(), first);
    assert_eq!(backend.jobs().len(), 2);
}

#[test]
fn keys_that_failed_are_free_while_others_are_waited_for() {
    let (arc, backend, _directory) = fake();
    let patient = another(&arc, &backend, |inner| inner.timeout = Duration::from_secs(5));
    let job = |key: &str| keyed(key).with_input(InputFile::bytes("data.txt", "data"));
    let holder = another(&arc, &backend, |_| {});
    holder.0.journal.claim(&scope(&arc), &["busy"]).unwrap();
    *backend.fate.lock().unwrap() = Fate::UploadLost;
    let begun = std::time::Instant::now();
    std::thread::scope(|threads| {
        let bulk = threads.spawn(|| patient.submit_jobs([job("fails"), job("busy")]));
        std::thread::sleep(Duration::from_millis(500));
        // It fails as before, and does not wait for the bulk call.
        assert!(matches!(arc.submit(&job("fails")), Err(Error::JobSubmission { .. })));
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        let results = bulk.join().unwrap().unwrap();
        assert!(matches!(results[1], Err(Error::SubmissionUnknown { .. })), "{results:?}");
    });
}

#[test]
fn threads_that_submit_one_key_get_one_job() {
    let (arc, backend, _directory) = fake();
    let ids: Vec<JobId> = std::thread::scope(|scope| {
        let submit = || arc.submit(&keyed("a")).unwrap();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(submit)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(backend.jobs().len(), 1);
}

#[test]
fn nothing_is_sent_without_a_journal() {
    let (arc, backend, directory) = fake();
    let nowhere = directory.path().join("missing/jobs.dat");
    let arc = another(&arc, &backend, |inner| inner.journal = Journal::new(&nowhere, false, None));
    assert!(matches!(arc.submit(&keyed("a")), Err(Error::Journal { .. })));
    assert_eq!(calls(&backend), 0);
}

#[test]
fn cancelled_calls_and_calls_after_their_deadline_do_nothing() {
    let (arc, backend, _directory) = fake();
    let id = arc.submit_job("/bin/true", &[], &[]).unwrap();
    let before = calls(&backend);
    let token = CancelToken::new();
    let cancelled = arc.with_cancel(&CancelToken::new()).with_cancel(&token);
    cancelled.job_status(&id).unwrap();
    token.cancel();
    let error = cancelled.job_status(&id).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Cancelled, false), "{error}");
    assert_eq!(cancelled.submit_job("/bin/true", &[], &[]).unwrap_err().kind(), ErrorKind::Cancelled);
    let late = arc.with_deadline(Duration::from_secs(600)).with_deadline(Duration::ZERO);
    let error = late.job_status(&id).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::DeadlineExceeded, true), "{error}");
    assert_eq!(error.to_string(), "the call did not end within its deadline of 0ns");
    assert_eq!(calls(&backend), before + 1);
    arc.job_status(&id).unwrap();
    assert!(format!("{cancelled:?}").contains("CancelToken { is_cancelled: true }"), "{cancelled:?}");
}
