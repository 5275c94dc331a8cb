//! Faults neither lose nor double submissions.

use std::collections::{BTreeMap, HashSet};
use std::env;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use jasmin_arc::{
    ArcInterface, ArcState, Error, ErrorKind, InputFile, JobDescription, JobId, JobStatus, SubmissionOutcome,
};

use crate::common::{PATIENCE, Site, child, eventually, is_child, is_testbed};
use crate::faults::Linked;
use crate::link::{Act, Direction, Fault, Link, Phase, splitmix};
use crate::testbed::{Ce, all_records, records, shared_control};

/// The number of the request that creates the jobs, counted from the beginning of the submission.
const CREATING_REQUEST: u64 = 2;

/// The time limit of a client whose request is late.
const LATE_TIMEOUT: Duration = Duration::from_secs(4);

/// A job with a key and an input file, which prints the file.
fn job(key: &str) -> JobDescription {
    JobDescription::new("/bin/cat").with_arg("data.txt").with_input(InputFile::bytes("data.txt", key)).with_key(key)
}

fn keys(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix} {n}")).collect()
}

/// A prefix for the keys of one test run.
fn prefix(test: &str) -> String {
    format!("{test} {}", tempfile::tempdir().unwrap().path().display())
}

/// The jobs in the testbed's records whose key begins with a prefix, by key. Leaves out jobs that were cancelled, since
/// they never ran.
fn on_the_ce(prefix: &str) -> BTreeMap<String, Vec<String>> {
    in_the_records(&shared_control().unwrap(), prefix)
}

/// The same for the control directory of any CE on this host.
fn in_the_records(control: &Path, prefix: &str) -> BTreeMap<String, Vec<String>> {
    let encoded: String = prefix
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    let mut jobs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for job in records(control) {
        if let Some(key) = job.key.as_ref().filter(|key| key.starts_with(&encoded) && !job.was_cancelled()) {
            jobs.entry(key.clone()).or_default().push(job.id);
        }
    }
    jobs
}

/// Submits jobs until each has an id.
fn submit_all(arc: &ArcInterface, keys: &[String]) -> Vec<JobId> {
    let begun = Instant::now();
    let jobs: Vec<JobDescription> = keys.iter().map(|key| job(key)).collect();
    loop {
        match arc.submit_jobs(&jobs) {
            Ok(results) if results.iter().all(Result::is_ok) => {
                return results.into_iter().map(Result::unwrap).collect();
            }
            Ok(results) => {
                let error = results.into_iter().find_map(Result::err).unwrap();
                assert!(begun.elapsed() < PATIENCE, "{error}");
            }
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
        sleep(Duration::from_millis(500));
    }
}

/// Checks that each key has one job on the CE, and that these are the known ones.
#[track_caller]
fn assert_one_each(prefix: &str, ids: &[JobId]) {
    assert_one_of_each(&on_the_ce(prefix), ids);
}

#[track_caller]
fn assert_one_of_each(jobs: &BTreeMap<String, Vec<String>>, ids: &[JobId]) {
    let on_the_ce: HashSet<&str> = jobs.values().flatten().map(String::as_str).collect();
    let missing: Vec<&JobId> = ids.iter().filter(|id| !on_the_ce.contains(id.local_id())).collect();
    assert!(missing.is_empty(), "not on the CE, or cancelled: {missing:?}");
    let doubled: Vec<_> = jobs.iter().filter(|(_, ids)| ids.len() != 1).collect();
    assert!(doubled.is_empty(), "{doubled:?}");
    let known: HashSet<&str> = ids.iter().map(JobId::local_id).collect();
    let unknown: Vec<_> = on_the_ce.iter().filter(|id| !known.contains(**id)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
#[ignore = "needs an ARC-CE"]
fn a_key_submits_one_job() {
    let site = Site::new();
    let prefix = prefix("one");
    let id = site.arc.submit(&job(&prefix)).unwrap();
    assert_eq!(site.arc.submit(&job(&prefix)).unwrap(), id);
    assert_eq!(site.arc.find_submission(&prefix).unwrap(), Some(id.clone()));
    if site.is_rest() {
        // Another machine has no journal.
        let elsewhere = Site::new();
        let found = elsewhere.arc.find_submission(&prefix).unwrap();
        assert_eq!(found.as_ref(), Some(&id));
        assert_eq!(elsewhere.arc.find_submission(&format!("{prefix} other")).unwrap(), None);
    }
    assert!(site.arc.recover().unwrap().is_empty());
    assert_eq!(site.outputs(&id).text("stdout.txt"), prefix);
    site.arc.clean_job(&id).unwrap();
    let again = site.arc.submit(&job(&prefix)).unwrap();
    assert_ne!(again, id);
}

#[test]
#[ignore = "needs an ARC-CE"]
fn jobs_whose_answer_is_lost_are_found() {
    if !is_testbed() {
        return;
    }
    for (count, phase) in [(1, Phase::After), (20, Phase::After), (20, Phase::Response(100))] {
        let Linked { arc, link, site } = Linked::patient(Site::new());
        let prefix = prefix("answer");
        let keys = keys(&prefix, count);
        link.arm(Fault::Request { request: 1 + CREATING_REQUEST, phase, act: Act::Reset }, 1);
        let jobs: Vec<JobDescription> = keys.iter().map(|key| job(key)).collect();
        let ids: Vec<JobId> = arc.submit_jobs(&jobs).unwrap().into_iter().map(Result::unwrap).collect();
        assert_eq!(link.count().strikes, 1);
        assert_one_each(&prefix, &ids);
        assert_eq!(submit_all(&arc, &keys), ids);
        assert_all_complete(&arc, &ids);
        drop(site);
    }
}

/// Runs `submit` while the link swallows a request and then resets the connection. The client has sent all of it.
fn swallowing<T>(link: &Link, request: u64, submit: impl FnOnce() -> T) -> T {
    let strikes = link.count().strikes;
    link.arm(Fault::Request { request, phase: Phase::Before, act: Act::Silence }, 1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            eventually("the link swallows the request", PATIENCE, || link.count().strikes > strikes);
            sleep(Duration::from_millis(500));
            link.reset_all();
        });
        submit()
    })
}

#[test]
#[ignore = "needs an ARC-CE"]
fn requests_that_never_arrive_are_sent_once_more() {
    if !is_testbed() {
        return;
    }
    let Linked { arc, link, site: _site } = Linked::patient(Site::new());
    let prefix = prefix("request");
    let keys = keys(&prefix, 5);
    let jobs: Vec<JobDescription> = keys.iter().map(|key| job(key)).collect();
    let results = swallowing(&link, 1 + CREATING_REQUEST, || arc.submit_jobs(&jobs).unwrap());
    assert_eq!(link.count().strikes, 1);
    assert!(results.iter().all(|result| matches!(result, Err(Error::SubmissionUnknown { .. }))), "{results:?}");
    assert!(arc.recover().unwrap().iter().all(|submission| submission.outcome == SubmissionOutcome::Unknown));
    let ids = submit_all(&arc, &keys);
    assert_one_each(&prefix, &ids);

    // A job with a commit is sent once more in the same call.
    let committed = JobDescription::new("/bin/true").with_key(format!("{prefix} commit")).with_commit(true);
    let id = swallowing(&link, CREATING_REQUEST, || arc.submit(&committed).unwrap());
    assert_eq!(link.count().strikes, 2);
    eventually("the job ends", PATIENCE, || arc.job_status(&id).unwrap() == JobStatus::Completed);
}

#[test]
#[ignore = "needs an ARC-CE"]
fn late_requests_double_no_job() {
    if !is_testbed() {
        return;
    }
    let Linked { arc, link, site: _site } = Linked::with_timeout(Site::new(), LATE_TIMEOUT);
    let prefix = prefix("late");
    arc.find_submission(&prefix).unwrap();
    let hold = |request| {
        link.arm(Fault::Request { request, phase: Phase::Before, act: Act::Hold(LATE_TIMEOUT * 3) }, 1);
    };
    let run = JobDescription::new("/bin/sh").with_args(["-c", "echo run >> ran"]).with_output_file("ran");

    hold(CREATING_REQUEST);
    let job = run.clone().with_key(format!("{prefix} plain"));
    assert!(matches!(arc.submit(&job), Err(Error::SubmissionUnknown { .. })));
    assert!(matches!(arc.submit(&job), Err(Error::SubmissionUnknown { .. })));
    let mut id = None;
    eventually("the late job is found", PATIENCE, || {
        id = arc.find_submission(job.key().unwrap()).unwrap_or_default();
        id.is_some()
    });
    assert_eq!(arc.submit(&job).unwrap(), id.clone().unwrap());
    assert_one_each(&format!("{prefix} plain"), &[id.unwrap()]);

    hold(CREATING_REQUEST);
    let job = run.with_key(format!("{prefix} commit")).with_commit(true);
    let mut id = arc.submit(&job);
    if id.is_err() {
        id = arc.submit(&job);
    }
    let id = id.unwrap();
    eventually("the late job exists", PATIENCE, || {
        on_the_ce(&format!("{prefix} commit")).values().flatten().count() == 2
    });
    eventually("the job ends", PATIENCE, || arc.job_status(&id).unwrap() == JobStatus::Completed);
    let late = on_the_ce(&format!("{prefix} commit")).into_values().flatten();
    let late = late.map(JobId::from).find(|late| !id.as_str().ends_with(late.as_str())).unwrap();
    let late = JobId::from(id.as_str().rsplit_once('/').unwrap().0.to_owned() + "/" + late.as_str());
    eventually("the CE accepts the late job", PATIENCE, || arc.job(&late).unwrap().state != ArcState::Accepted);
    assert_eq!(arc.job(&late).unwrap().missing_inputs, [".jasmin-arc-commit"]);
    arc.cancel_job(&late).unwrap();
}

#[test]
#[ignore = "needs an ARC-CE"]
fn uploads_of_a_killed_program_are_resumed() {
    if !is_testbed() {
        return;
    }
    // More than the buffers of the link and the kernel hold.
    let job = |key: &str| job(key).with_input(InputFile::bytes("large.bin", vec![b'x'; 32 << 20]));
    if is_child() {
        submit_and_wait_for_kill(job);
    }
    let Linked { arc, link, site } = Linked::patient(Site::new());
    let prefix = prefix("upload");
    let keys = keys(&prefix, 1);
    // Only a part of the large file passes.
    link.arm(Fault::Bytes { direction: Direction::Up, bytes: 1 << 20, act: Act::Silence }, 1);
    let mut child = start_child("submissions::uploads_of_a_killed_program_are_resumed", &site, &link, &keys);
    eventually("the upload begins", PATIENCE, || link.count().strikes == 1);
    child.kill().unwrap();
    child.wait().unwrap();
    link.set(Fault::None);

    let [recovered] = &arc.recover().unwrap()[..] else { panic!() };
    let SubmissionOutcome::NeedsInputs(id) = &recovered.outcome else { panic!("{recovered:?}") };
    assert_eq!(recovered.key, keys[0]);
    eventually("the CE accepts the job", PATIENCE, || arc.job(id).unwrap().state != ArcState::Accepted);
    assert!(arc.job(id).unwrap().missing_inputs.contains(&"large.bin".to_owned()));
    arc.resume_uploads(id, &job(&keys[0])).unwrap();
    arc.resume_uploads(id, &job(&keys[0])).unwrap();
    eventually("the job ends", PATIENCE, || arc.job_status(id).unwrap() == JobStatus::Completed);
    assert!(arc.recover().unwrap().is_empty());
    assert_one_each(&prefix, std::slice::from_ref(id));
}

#[test]
#[ignore = "needs an ARC-CE"]
fn created_jobs_are_reported_before_their_uploads() {
    if !is_testbed() {
        return;
    }
    let Linked { arc, link, site: _site } = Linked::patient(Site::new());
    let created = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&created);
    let arc = ArcInterface::builder()
        .config(arc.config().clone())
        .timeout(Duration::from_secs(20))
        .on_created(move |job| seen.lock().unwrap().push(job.clone()))
        .build()
        .unwrap();
    let key = prefix("created");
    link.set(Fault::Request { request: 2 + CREATING_REQUEST, phase: Phase::Before, act: Act::Reset });
    let submitted = arc.submit(&job(&key));
    let created = created.lock().unwrap();
    assert_eq!(created.len(), 1, "{submitted:?}");
    assert_eq!(created[0].key, key);
    match submitted {
        Ok(id) => assert_eq!(created[0].id, id),
        Err(error) => assert_eq!(error.job_id(), Some(&created[0].id), "{error}"),
    }
}

/// What a child does: it submits jobs once, and waits until the test kills it.
fn submit_and_wait_for_kill(job: impl Fn(&str) -> JobDescription) {
    submit_in_child(job);
    loop {
        sleep(Duration::from_secs(1));
    }
}

fn submit_in_child(job: impl Fn(&str) -> JobDescription) {
    let variable = |name: &str| env::var(name).unwrap();
    let arc = ArcInterface::builder()
        .config_file(variable("JASMIN_ARC_TEST_CHILD_CONFIG"))
        .timeout(Duration::from_secs(30))
        .no_log()
        .build()
        .unwrap();
    let keys: Vec<String> = serde_json::from_str(&variable("JASMIN_ARC_TEST_CHILD_KEYS")).unwrap();
    let jobs: Vec<JobDescription> = keys.iter().map(|key| job(key)).collect();
    let _ = arc.submit_jobs(jobs);
}

fn start_child(test: &str, site: &Site, link: &Link, keys: &[String]) -> std::process::Child {
    let mut config = serde_json::to_value(site.arc.config()).unwrap();
    let endpoint = site.arc.config().endpoint_url().unwrap();
    let (_, path) = endpoint.trim_start_matches("https://").split_once('/').unwrap();
    config["ARC_SERVER"] = format!("localhost:{}/{path}", link.port()).into();
    let file = site.file("child.json", config.to_string());
    child(test)
        .env("JASMIN_ARC_TEST_CHILD_CONFIG", file)
        .env("JASMIN_ARC_TEST_CHILD_KEYS", serde_json::to_string(keys).unwrap())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "needs an ARC-CE"]
fn programs_killed_at_any_point_lose_and_double_nothing() {
    if !is_testbed() {
        return;
    }
    if is_child() {
        submit_and_wait_for_kill(job);
    }
    let test = "submissions::programs_killed_at_any_point_lose_and_double_nothing";
    let Linked { arc, link, site } = Linked::patient(Site::new());
    let prefix = prefix("killed");
    let mut expected = Vec::new();
    // The requests of the child: two for the interface and the submission, the one that creates the jobs, the uploads.
    let phases = [
        (1, Phase::Before),
        (2, Phase::After),
        (3, Phase::Before),
        (3, Phase::Within(500)),
        (3, Phase::After),
        (3, Phase::Response(200)),
        (4, Phase::Before),
        (6, Phase::After),
        (8, Phase::Within(50)),
    ];
    for (round, (request, phase)) in phases.into_iter().enumerate() {
        let keys = keys(&format!("{prefix} {round}"), 8);
        let strikes = link.count().strikes;
        link.arm(Fault::Request { request, phase, act: Act::Silence }, 1);
        let mut child = start_child(test, &site, &link, &keys);
        eventually("the fault strikes", PATIENCE, || link.count().strikes > strikes);
        child.kill().unwrap();
        child.wait().unwrap();
        // The link forwards what it held back.
        link.set(Fault::None);
        expected.extend(keys);
    }
    // These are killed before they have sent anything, or in between.
    for round in 0..3_u64 {
        let keys = keys(&format!("{prefix} at random {round}"), 8);
        let mut child = start_child(test, &site, &link, &keys);
        sleep(Duration::from_millis(40 + 60 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        expected.extend(keys);
    }
    for submission in arc.recover().unwrap() {
        assert!(expected.contains(&submission.key), "{submission:?}");
        assert_ne!(submission.outcome, SubmissionOutcome::InProgress, "{submission:?}");
    }
    let ids = submit_all(&arc, &expected);
    assert_one_each(&prefix, &ids);
    assert_all_complete(&arc, &ids);
}

#[track_caller]
fn assert_all_complete(arc: &ArcInterface, ids: &[JobId]) {
    let mut statuses = Vec::new();
    eventually("the jobs end", PATIENCE, || {
        statuses = arc.job_statuses(ids).unwrap().into_iter().map(Result::unwrap).collect();
        statuses.iter().all(|status| status.is_final())
    });
    for (id, status) in ids.iter().zip(statuses) {
        assert_eq!(status, JobStatus::Completed, "{:?}", arc.job(id).unwrap());
    }
}

#[test]
#[ignore = "needs an ARC-CE"]
fn links_that_cut_at_random_lose_and_double_nothing() {
    if !is_testbed() {
        return;
    }
    let Some(count) = wanted_submissions() else { return };
    let Linked { arc, link, site: _site } = Linked::patient(Site::new());
    let prefix = prefix("random");
    let keys = keys(&prefix, count);
    let mut ids = Vec::new();
    for (round, keys) in keys.chunks(20).enumerate() {
        link.set(Fault::Random { seed: round as u64, up_to: 200_000, act: Act::Reset });
        let jobs: Vec<JobDescription> = keys.iter().map(|key| job(key)).collect();
        let _ = arc.submit_jobs(&jobs);
    }
    assert!(link.count().strikes as usize > count / 100, "{:?}", link.count());
    link.set(Fault::Bytes { direction: Direction::Up, bytes: u64::MAX, act: Act::Reset });
    for keys in keys.chunks(1000) {
        ids.extend(submit_all(&arc, keys));
    }
    assert_one_each(&prefix, &ids);
}

/// The number of submissions for the long tests. Without it they are skipped.
fn wanted_submissions() -> Option<usize> {
    let count = env::var("JASMIN_ARC_TEST_SUBMISSIONS").ok();
    if count.is_none() {
        eprintln!("skipped: set JASMIN_ARC_TEST_SUBMISSIONS to the number of submissions, for example 10000");
    }
    count.map(|count| count.parse().unwrap())
}

/// A link that cuts at random, and from time to time a SIGKILL for the program or the CE.
///
/// `JASMIN_ARC_TEST_SUBMISSIONS` is the number of submissions.
#[test]
#[ignore = "needs an ARC-CE"]
fn submissions_survive_a_storm() {
    if is_child() {
        return submit_in_child(job);
    }
    let Some(count) = wanted_submissions() else { return };
    let Some(ce) = Ce::start() else { return };
    ce.run_few_jobs();
    let test = "submissions::submissions_survive_a_storm";
    let Linked { arc, link, site } = Linked::patient(Site::of(&ce.config()));
    let prefix = prefix("storm");
    let keys = keys(&prefix, count);
    let mut random = 7;
    let (mut killed_programs, mut killed_ces) = (0, 0);
    for (round, keys) in keys.chunks(40).enumerate() {
        link.set(Fault::Random { seed: splitmix(&mut random), up_to: 400_000, act: Act::Reset });
        let mut child = start_child(test, &site, &link, keys);
        let patience = Duration::from_millis(splitmix(&mut random) % 3000);
        match round % 4 {
            1 => {
                sleep(patience);
                child.kill().unwrap();
                killed_programs += 1;
            }
            3 => {
                sleep(patience);
                ce.restart();
                killed_ces += 1;
            }
            _ => {}
        }
        child.wait().unwrap();
    }
    let strikes = link.count().strikes;
    link.set(Fault::None);
    for submission in arc.recover().unwrap() {
        assert!(keys.contains(&submission.key), "{submission:?}");
    }
    let mut ids = Vec::new();
    for keys in keys.chunks(500) {
        ids.extend(submit_all(&arc, keys));
    }
    let control = ce.dir().join("control");
    // A-REX removes the old status of a job before it writes the new one (`job_state_write_file`). If it is killed in
    // between, it has lost the job. The crate still knows it.
    let without_status: HashSet<String> =
        all_records(&control).into_iter().filter(|job| !job.has_status).map(|job| job.id).collect();
    let (lost_by_the_ce, ids): (Vec<JobId>, Vec<JobId>) =
        ids.into_iter().partition(|id| without_status.contains(id.local_id()));
    assert!(lost_by_the_ce.len() <= killed_ces, "{lost_by_the_ce:?}");
    let known = arc.list_jobs().unwrap();
    assert!(!known.iter().any(|id| lost_by_the_ce.iter().any(|lost| lost.local_id() == id.local_id())));
    for job in
        records(&control).iter().filter(|job| job.was_cancelled() && ids.iter().any(|id| id.local_id() == job.id))
    {
        println!("cancelled, but the answer for its key: {job:?}");
    }
    let jobs = in_the_records(&control, &prefix);
    assert_one_of_each(&jobs, &ids);
    println!(
        "{count} submissions, {strikes} cut connections, {killed_programs} killed programs, {killed_ces} killed CEs: \
         {} jobs on the CE, all known, none twice; {} that the CE itself has lost, all known",
        jobs.len(),
        lost_by_the_ce.len()
    );
    assert!(strikes > 0 && killed_programs > 0 && killed_ces > 0);
}

/// A-REX never counts its jobs (no provider writes the `AllJobs` that its `InformationCollector` reads), so ARC 6 has no
/// limit in practice. ARC 7 also compares the limit with the number of descriptions in each request.
#[test]
#[ignore = "needs an ARC-CE"]
fn jobs_above_the_limit_of_the_ce_can_be_submitted_later() {
    let Some(ce) = Ce::start() else { return };
    ce.limit_jobs("-1 -1 -1 3 -1");
    let site = Site::of(&ce.config());
    if !site.is_rest() {
        return;
    }
    let limit =
        if site.arc.service_info().unwrap().version.is_some_and(|version| version.starts_with("6.")) { 5 } else { 3 };
    let prefix = prefix("limit");
    let keys = keys(&prefix, 5);
    let jobs: Vec<JobDescription> = keys.iter().map(|key| job(key)).collect();
    let results = site.arc.submit_jobs(&jobs).unwrap();
    for (number, result) in results.iter().enumerate() {
        match result {
            Ok(_) => assert!(number < limit, "{results:?}"),
            Err(error) => {
                assert!(number >= limit, "{results:?}");
                assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::JobLimit, true), "{error}");
                assert!(error.to_string().contains("maxjobs"), "{error}");
            }
        }
    }
    // The keys of the refused jobs are free.
    let ids: Vec<JobId> = site.arc.submit_jobs(&jobs).unwrap().into_iter().map(Result::unwrap).collect();
    assert_one_of_each(&in_the_records(&ce.dir().join("control"), &prefix), &ids);
}
