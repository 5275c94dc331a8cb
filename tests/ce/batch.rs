//! What only a batch system shows: jobs that wait, limits that it enforces, and its own view of a job. These tests need the
//! testbed with `--lrms slurm`. One of them is about a CE without a batch system, which the testbed has otherwise.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use jasmin_arc::{
    ArcState, ByteSize, DiagnosticPart, FailureReason, Freshness, JobDescription, JobId, JobInfo, JobStatus, Standing,
};

use crate::common::{PATIENCE, Site, batch_system, eventually};
use crate::testbed::Ce;

fn shell(script: &str) -> JobDescription {
    JobDescription::new("/bin/sh").with_args(["-c", script])
}

/// The commands of the testbed's SLURM.
struct Slurm(PathBuf);

impl Slurm {
    /// `None` if the tests use another CE, or one with another batch system.
    fn new() -> Option<Slurm> {
        match batch_system().as_deref() {
            Some("slurm") => Some(Slurm::of(Path::new(&env::var_os("JASMIN_ARC_TESTBED")?))),
            _ => {
                eprintln!("skipped: needs the CE of tests/testbed/run --lrms slurm");
                None
            }
        }
    }

    fn of(testbed: &Path) -> Slurm {
        Slurm(testbed.join("slurm/bin"))
    }

    fn run(&self, command: &str, args: &[&str]) -> String {
        let output = Command::new(self.0.join(command)).args(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// SLURM's state of a job with this name, such as `PENDING`. Empty before A-REX has submitted it.
    fn state(&self, name: &str) -> String {
        self.run("squeue", &["-h", "-t", "all", "-n", name, "-o", "%T"])
    }
}

/// A job in the testbed that runs until a file exists. The tests create it when they have seen enough.
fn shell_until(file: &Path, script: &str) -> JobDescription {
    shell(&format!("until [ -e '{}' ]; do sleep 0.2; done; {script}", file.display()))
}

/// How far a job has come.
fn stage(status: JobStatus) -> usize {
    match status {
        JobStatus::NotSubmitted => 0,
        JobStatus::NotStarted => 1,
        JobStatus::InProgress => 2,
        JobStatus::Completed | JobStatus::Failed => 3,
    }
}

/// Looks at a job in all ways until one of them shows a wanted status. Checks that no way shows that it has begun before
/// SLURM runs it, and that it never goes back.
fn look_until(site: &Site, slurm: &Slurm, id: &JobId, name: &str, wanted: impl Fn(JobStatus) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut latest = [0; 3];
    loop {
        let found = site.arc.find_jobs(&jasmin_arc::JobFilter::new().with_ids([id.clone()])).unwrap();
        let seen = [site.arc.job_status(id).unwrap(), site.arc.job(id).unwrap().status(), found[0].status()];
        let slurm_state = slurm.state(name);
        for (status, latest) in seen.into_iter().zip(&mut latest) {
            assert!(stage(status) >= *latest, "back to {status}, SLURM: {slurm_state}");
            *latest = stage(status);
            // SLURM is asked later, so it can only be further.
            assert!(status != JobStatus::InProgress || slurm_state != "PENDING", "{seen:?}, SLURM: {slurm_state}");
        }
        if seen.into_iter().all(&wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "{seen:?}, SLURM: {slurm_state}");
        sleep(Duration::from_millis(300));
    }
}

#[test]
#[ignore = "needs an ARC-CE"]
fn queued_jobs_are_never_reported_as_running() {
    let Some(_) = Slurm::new() else { return };
    // Its own CE, whose queue is closed, and whose information system runs often.
    let Some(ce) = Ce::start_with(&[("JASMIN_ARC_TESTBED_INFO", "10")]) else { return };
    let (site, slurm) = (Site::of(&ce.config()), Slurm::of(ce.dir()));
    if !site.is_rest() {
        return;
    }
    slurm.run("scontrol", &["update", "PartitionName=batch", "State=DOWN"]);
    let go = ce.dir().join("tmp/go");
    let id = site.arc.submit(&shell_until(&go, "true").with_name("waits")).unwrap();
    let other = site.arc.submit(&shell("sleep 600").with_name("other")).unwrap();
    let watcher = site.another(serde_json::json!({}));
    let watched = id.clone();
    let has_run = Arc::new(AtomicBool::new(false));
    let sees_running = Arc::clone(&has_run);
    let watch = spawn(move || {
        let changes = watcher.watch([&watched]).deadline(2 * PATIENCE).map(|change| change.unwrap().to);
        let note = |to: &Standing| {
            sees_running.fetch_or(*to == Standing::State(ArcState::Running), Ordering::SeqCst);
        };
        changes.inspect(note).collect::<Vec<_>>()
    });

    // Before and after the CE has published the job.
    look_until(&site, &slurm, &id, "waits", |status| status == JobStatus::NotStarted);
    let state = site.arc.job_state(&id).unwrap();
    assert_eq!((state.state, state.freshness), (ArcState::Queuing, Freshness::Published));
    let is_published = || site.arc.job(&id).unwrap().published_states.iter().any(|state| state == "arcrest:QUEUING");
    eventually("the CE publishes that the job is queued", PATIENCE, || {
        look_until(&site, &slurm, &id, "waits", |status| status == JobStatus::NotStarted);
        is_published()
    });
    let queued = site.arc.job(&id).unwrap();
    assert!(queued.local_job_id.is_some() && queued.waiting_position.is_none(), "{queued:?}");

    // A job that is cancelled while it waits never runs. A-REX finishes it, as any other.
    site.arc.cancel_job(&other).unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let state = site.arc.job_state(&other).unwrap().state;
        assert_ne!(state, ArcState::Running);
        if state.is_final() {
            break;
        }
        assert!(Instant::now() < deadline, "{state}");
        sleep(Duration::from_millis(100));
    }
    assert_eq!(site.arc.job(&other).unwrap().failure_reason(), Some(FailureReason::Cancelled));
    assert_eq!(slurm.state("other"), "CANCELLED");

    slurm.run("scontrol", &["update", "PartitionName=batch", "State=UP"]);
    look_until(&site, &slurm, &id, "waits", |status| status == JobStatus::InProgress);
    eventually("the watch reports the running job", PATIENCE, || has_run.load(Ordering::SeqCst));
    fs::write(&go, "").unwrap();
    look_until(&site, &slurm, &id, "waits", |status| status == JobStatus::Completed);
    let changes = watch.join().unwrap();
    let position = |state| changes.iter().position(|change| *change == Standing::State(state));
    let (queuing, running) = (position(ArcState::Queuing), position(ArcState::Running));
    assert!(queuing.is_some() && running > queuing, "{changes:?}");
    let back = changes.iter().skip(running.unwrap_or(0)).any(|change| *change == Standing::State(ArcState::Queuing));
    assert!(!back, "{changes:?}");
}

#[test]
#[ignore = "needs an ARC-CE"]
fn jobs_without_a_batch_system_run_at_once() {
    if batch_system().as_deref() != Some("fork") {
        eprintln!("skipped: needs the CE of tests/testbed/run without --lrms");
        return;
    }
    let site = Site::new();
    if !site.is_rest() {
        return;
    }
    let id = site.submit("sleep 600");
    let watched = site.arc.watch([&id]).until(ArcState::Running).deadline(PATIENCE).wait().unwrap();
    assert_eq!(watched.reached().count(), 1);
    // The state of a job that the CE has published comes from there, and this one may just have been.
    let job = site.arc.job(&id).unwrap();
    let expected = if job.published_at.is_none() { Freshness::Current } else { job.freshness };
    assert_eq!((job.state, job.freshness), (ArcState::Running, expected));
    assert_eq!(site.arc.job_status(&id).unwrap(), JobStatus::InProgress);
    let ended = site.arc.cancel_jobs_and_wait([&id], PATIENCE).unwrap();
    assert_eq!(*ended[0].as_ref().unwrap(), JobStatus::Failed);
}

#[test]
#[ignore = "needs an ARC-CE"]
fn slots_nodes_queue_and_ids_are_those_of_slurm() {
    let Some(slurm) = Slurm::new() else { return };
    let site = Site::new();
    let go = Path::new(&env::var_os("JASMIN_ARC_TESTBED").unwrap()).join("tmp/slots-go");
    let _ = fs::remove_file(&go);
    let script = "echo $SLURM_JOB_ID $SLURM_NTASKS $SLURM_JOB_PARTITION $SLURM_JOB_NUM_NODES";
    let job =
        shell_until(&go, script).with_name("slots").with_slots(3).with_memory(ByteSize::mib(70)).with_stdout("out");
    let id = site.arc.submit(&job).unwrap();
    let mut running = site.arc.job(&id).unwrap();
    eventually("the CE publishes the running job", PATIENCE, || {
        running = site.arc.job(&id).unwrap();
        running.state == ArcState::Running && running.published_at.is_some()
    });
    let local = slurm.run("squeue", &["-h", "-n", "slots", "-o", "%i %C %m %P"]);
    let (number, rest) = local.split_once(' ').unwrap();
    assert_eq!(rest, "3 70M batch");
    assert_eq!(running.local_job_id.as_deref(), site.is_rest().then_some(number), "{running:?}");
    assert_eq!((running.waiting_position, &running.execution_nodes[..]), (None, &["localhost".to_owned()][..]));

    fs::write(&go, "").unwrap();
    let outputs = site.outputs(&id);
    assert_eq!(outputs.text("out").trim(), format!("{number} 3 batch 1"));
    let job = site.complete_job(&id);
    assert_eq!((job.queue.as_deref(), job.requested_slots), (Some("batch"), Some(3)), "{job:?}");
    assert_eq!(job.execution_nodes.len(), 1, "{job:?}");
    if site.is_rest() {
        assert_eq!(job.local_job_id, None, "A-REX no longer publishes it");
        let diagnostics = site.arc.diagnostics(&id).unwrap();
        let used = diagnostics.usage().and_then(|usage| usage.wall_time).filter(|time| !time.is_zero());
        assert_eq!(job.used_wall_time, used.map(|time| 3 * time), "for each of the slots: {job:?}");
        assert!(diagnostics.local().contains(&("localid", number)), "{:?}", diagnostics.text(DiagnosticPart::Local));
    }
}

#[test]
#[ignore = "needs an ARC-CE"]
fn limits_that_slurm_enforces_are_reasons() {
    let Some(_) = Slurm::new() else { return };
    let site = Site::new();
    if !site.is_rest() {
        return;
    }
    // SLURM's limit is in whole minutes, and it looks at it twice a minute.
    let limit = Duration::from_secs(20);
    let slow = site.arc.submit(&shell("sleep 600").with_wall_time(limit)).unwrap();
    let large = "x = bytearray(400 << 20); import time; time.sleep(600)";
    let large = JobDescription::new("/usr/bin/python3").with_args(["-c", large]).with_memory(ByteSize::mib(50));
    let large = site.arc.submit(&large).unwrap();
    let is_memory = |job: &JobInfo| {
        let reason = job.failure_reason();
        matches!(reason, Some(FailureReason::MemoryExceeded { used: Some(used), .. }) if used > ByteSize::mib(50))
    };
    let is_time = |job: &JobInfo| {
        let reason = job.failure_reason();
        matches!(reason, Some(FailureReason::WallTimeExceeded { limit: Some(found), .. }) if found == limit)
    };
    assert_eq!((site.wait(&large), site.wait(&slow)), (JobStatus::Failed, JobStatus::Failed));
    assert!(is_memory(&site.arc.job(&large).unwrap()), "{:?}", site.arc.job(&large));
    let (large, slow) = (site.complete_job(&large), site.complete_job(&slow));
    assert!(is_memory(&large) && large.failed_stage.as_deref() == Some("INLRMS"), "{large:?}");
    assert!(is_time(&slow) && slow.failed_stage.as_deref() == Some("INLRMS"), "{slow:?}");
}

#[test]
#[ignore = "needs an ARC-CE"]
fn cancelled_jobs_leave_slurm() {
    let Some(slurm) = Slurm::new() else { return };
    let site = Site::new();
    // It ignores SIGTERM, so SLURM kills it later.
    let id = site.arc.submit(&shell("trap '' TERM; sleep 600").with_name("stubborn")).unwrap();
    eventually("SLURM runs the job", PATIENCE, || slurm.state("stubborn") == "RUNNING");
    let ended = site.arc.cancel_jobs_and_wait([&id], PATIENCE).unwrap();
    assert_eq!(*ended[0].as_ref().unwrap(), JobStatus::Failed);
    assert_eq!(slurm.state("stubborn"), "CANCELLED");
    assert_eq!(site.arc.job(&id).unwrap().failure_reason(), Some(FailureReason::Cancelled));
}
