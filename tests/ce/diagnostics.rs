//! Tests of why jobs fail, and of what A-REX keeps about a job.

use std::time::Duration;

use jasmin_arc::{
    ArcState, DiagnosticPart, Error, ErrorKind, FailureReason, InputFile, JobDescription, JobId, JobInfo, JobStatus,
    StagingState,
};

use crate::common::{PATIENCE, Site, batch_system, eventually, is_testbed};
use crate::descriptions::Server;
use crate::testbed::control_file;

fn shell(script: &str) -> JobDescription {
    JobDescription::new("/bin/sh").with_args(["-c", script]).with_stdout("stdout.txt").with_stderr("stderr.txt")
}

fn submit(site: &Site, jobs: &[JobDescription]) -> Vec<JobId> {
    site.arc.submit_jobs(jobs).unwrap().into_iter().map(Result::unwrap).collect()
}

/// A check of the reason why a job failed.
type Check = fn(&FailureReason) -> bool;

/// Waits for the end of jobs and checks their reasons, at once and when the CE has published the end.
fn check(site: &Site, jobs: Vec<(JobDescription, Check)>) -> Vec<JobInfo> {
    let (descriptions, checks): (Vec<_>, Vec<_>) = jobs.into_iter().unzip();
    let ids = submit(site, &descriptions);
    for (id, is_expected) in ids.iter().zip(&checks) {
        assert_eq!(site.wait(id), JobStatus::Failed);
        let job = site.arc.job(id).unwrap();
        let reason = job.failure_reason().expect("a failed job has a reason");
        // The CE publishes the limits up to a minute late.
        let may_be_limit = job.published_at.is_none() && matches!(reason, FailureReason::Signal { signal: 9, .. });
        assert!(is_expected(&reason) || may_be_limit || !site.is_rest(), "{reason:?}: {job:?}");
    }
    let published = |(id, is_expected): (&JobId, &Check)| {
        let job = site.complete_job(id);
        let reason = job.failure_reason().expect("a failed job has a reason");
        assert!(is_expected(&reason) || !site.is_rest(), "published: {reason:?}: {job:?}");
        job
    };
    ids.iter().zip(&checks).map(published).collect()
}

#[test]
#[ignore = "needs an ARC-CE"]
fn jobs_that_fail_in_the_batch_system_have_a_reason() {
    let site = Site::new();
    let jobs: Vec<(JobDescription, Check)> = vec![
        (JobDescription::new("/no/such/program"), |reason| match batch_system().as_deref() {
            Some("slurm") => {
                matches!(reason, FailureReason::ExitCode { code: 1, .. } | FailureReason::CommandNotFound { .. })
            }
            _ => matches!(reason, FailureReason::CannotStart { .. }),
        }),
        (shell("exit 7"), |reason| matches!(reason, FailureReason::ExitCode { code: 7, .. })),
        (shell("no-such-command"), |reason| matches!(reason, FailureReason::CommandNotFound { code: 127, .. })),
        (shell("kill -9 $$"), |reason| matches!(reason, FailureReason::Signal { signal: 9, .. })),
        (shell("kill -11 $$"), |reason| matches!(reason, FailureReason::Signal { signal: 11, .. })),
        // The fork back end limits the CPU time to the requested wall time.
        (
            shell("while :; do :; done").with_wall_time(Duration::from_secs(3)),
            |reason| matches!(reason, FailureReason::WallTimeExceeded { limit: Some(limit), .. } if limit.as_secs() == 3),
        ),
    ];
    let jobs = check(&site, jobs);
    assert!(!site.is_rest() || jobs.iter().all(|job| job.failed_files.is_empty()), "{jobs:?}");
}

#[test]
#[ignore = "needs an ARC-CE"]
fn cancelled_jobs_have_a_reason() {
    let site = Site::new();
    // Cancelled at once, so that some of them are cancelled before they run.
    let cancelled = submit(&site, &vec![shell("sleep 600"); 10]);
    site.arc.cancel_jobs(&cancelled).unwrap();
    for id in &cancelled {
        assert_eq!(site.wait(id), JobStatus::Failed);
        let info = site.arc.job(id).unwrap();
        let reason = info.failure_reason().unwrap();
        assert!(!site.is_rest() || reason == FailureReason::Cancelled, "{reason}: {info:?}");
    }
}

#[test]
#[ignore = "needs an ARC-CE"]
fn transfers_that_fail_name_the_file() {
    let site = Site::new();
    if !is_testbed() || !site.is_rest() {
        return;
    }
    let server = Server::new(&[("/in/good", b"good"), ("/up/there", b"before")]);
    let fetching = |name: &str| shell("true").with_input(InputFile::url(server.at("/in/none")).with_name(name));
    let two = fetching("data/none").with_input(InputFile::url(server.at("/in/good")).with_name("good"));
    // A-REX gives up at once if the file is there. It repeats an upload that is refused for an hour.
    let make = "mkdir out; echo 1 > out/one; echo 2 > two";
    let saving = shell(make)
        .with_output_file_to("out/one", server.at(";overwrite=no/up/there"))
        .with_output_file_to("two", server.at("/up/two"));
    let jobs: Vec<(JobDescription, Check)> = vec![
        (two, |reason| matches!(reason, FailureReason::InputStaging { files, .. } if *files == ["data/none"])),
        (fetching("a b"), |reason| matches!(reason, FailureReason::InputStaging { files, .. } if *files == ["a b"])),
        (saving, |reason| matches!(reason, FailureReason::OutputStaging { files, .. } if *files == ["out/one"])),
        (
            shell("true").with_output_file_to("never", server.at("/up/never")),
            |reason| matches!(reason, FailureReason::OutputStaging { files, .. } if *files == ["never"]),
        ),
    ];
    let jobs = check(&site, jobs);
    let text = jobs[2].failure_reason().unwrap().to_string();
    assert!(text.contains("out/one") && text.contains(&server.at("/up/there")), "{text}");
    assert_eq!(jobs[2].exit_code, Some(0), "{:?}", jobs[2]);

    let diagnostics = site.arc.diagnostics(&jobs[2].id).unwrap();
    let outputs = diagnostics.outputs().unwrap();
    let state = |name: &str| outputs.iter().find(|file| file.name == name).map(|file| file.state);
    assert_eq!(state("out/one"), Some(StagingState::NotTransferred), "{outputs:?}");
    assert_eq!(state("two"), Some(StagingState::Transferred), "{outputs:?}");
    assert_eq!(state("stdout.txt"), Some(StagingState::Kept), "{outputs:?}");
    let transfers = diagnostics.transfers();
    assert!(transfers.iter().any(|file| file.is_output && file.size == Some(2)), "{transfers:?}");
    assert!(!diagnostics.transfer_errors().is_empty());

    let inputs = site.arc.diagnostics(&jobs[0].id).unwrap().inputs().unwrap();
    assert!(
        inputs.iter().any(|file| file.name == "data/none" && file.state == StagingState::NotTransferred),
        "{inputs:?}"
    );
}

#[test]
#[ignore = "needs an ARC-CE"]
fn diagnostics_have_what_the_ce_keeps() {
    let site = Site::new();
    let id = site.arc.submit(&shell("echo out; exit 7").with_name("looked at")).unwrap();
    assert_eq!(site.wait(&id), JobStatus::Failed);
    if !site.is_rest() {
        assert_eq!(site.arc.diagnostics(&id).unwrap_err().kind(), ErrorKind::Unsupported);
        return;
    }
    let diagnostics = site.arc.diagnostics(&id).unwrap();
    assert_eq!(diagnostics.id, id);
    assert!(diagnostics.failures()[0].starts_with("LRMS error: (7)"), "{diagnostics:?}");
    let changes = diagnostics.changes();
    assert!(changes.iter().any(|change| change.from == "SUBMIT" && change.to == "INLRMS"), "{changes:?}");
    assert_eq!(changes.last().map(|change| &*change.to), Some("FINISHED"), "{changes:?}");
    assert!(changes.is_sorted_by_key(|change| change.time), "{changes:?}");
    let usage = diagnostics.usage().unwrap();
    assert_eq!(usage.exit_code, Some(7), "{usage:?}");
    assert!(!usage.nodes.is_empty() && usage.wall_time.is_some() && usage.end_time >= usage.start_time, "{usage:?}");
    assert!(diagnostics.local().contains(&("failedstate", "INLRMS")), "{:?}", diagnostics.local());
    assert!(diagnostics.text(DiagnosticPart::Description).unwrap().text.contains("looked at"));
    assert_eq!(diagnostics.text(DiagnosticPart::Status).unwrap().text.trim(), "FINISHED");
    assert_eq!(diagnostics.inputs(), Some(Vec::new()));
    assert!(diagnostics.outputs().unwrap().iter().all(|file| file.state == StagingState::Kept));
    let log = diagnostics.text(DiagnosticPart::Errors).unwrap();
    assert_eq!((log.text.len() as u64, log.left_out), (log.size, 0));
    assert!(diagnostics.parts.values().all(|part| !part.text.contains("PRIVATE KEY")));

    // A refused restart says why the job failed.
    let error = site.arc.restart_job(&id).unwrap_err();
    assert!(matches!(&error, Error::JobOperation { message, .. } if message.contains("LRMS error: (7)")), "{error}");

    site.arc.clean_job(&id).unwrap();
    eventually("the CE forgets the job", PATIENCE, || {
        site.arc.diagnostics(&id).is_err_and(|error| error.kind() == ErrorKind::JobNotFound)
    });
    let never = JobId::from(id.as_str().replace(id.local_id(), "nosuchjob"));
    assert_eq!(site.arc.diagnostics(&never).unwrap_err().kind(), ErrorKind::JobNotFound);
}

#[test]
#[ignore = "needs an ARC-CE"]
fn diagnostics_of_a_running_job_leave_out_its_record() {
    let site = Site::new();
    if !site.is_rest() {
        return;
    }
    let id = site.submit("sleep 600");
    eventually("the job is in the batch system", PATIENCE, || {
        let changes = site.arc.diagnostics(&id).unwrap().changes();
        changes.iter().any(|change| change.to == "INLRMS")
    });
    let diagnostics = site.arc.diagnostics(&id).unwrap();
    assert_eq!(diagnostics.text(DiagnosticPart::Local), None);
    assert_eq!((diagnostics.failures().len(), diagnostics.text(DiagnosticPart::Failed)), (0, None));
    assert_eq!(site.arc.job(&id).unwrap().state, ArcState::Running);
    site.arc.cancel_job(&id).unwrap();
}

#[test]
#[ignore = "needs an ARC-CE"]
fn long_parts_keep_their_beginning_and_their_end() {
    let site = Site::new();
    if !is_testbed() || !site.is_rest() {
        return;
    }
    // The description is part of the log, with the arguments in the job script.
    let id = site.arc.submit(&shell("true").with_arg("x".repeat(100_000))).unwrap();
    assert_eq!(site.wait(&id), JobStatus::Completed);
    let control = std::env::var("JASMIN_ARC_TESTBED_CONTROLDIR").unwrap();
    let log = control_file(control.as_ref(), &id, "errors");
    let mut content = std::fs::read(&log).unwrap();
    let whole = site.arc.diagnostics(&id).unwrap();
    assert_eq!(whole.text(DiagnosticPart::Errors).unwrap().text.as_bytes(), content);
    for (size, left_out) in [(700 << 10, 0), (1 << 20, 0), ((1 << 20) + 1, 1), (3 << 20, 2 << 20)] {
        content.resize(size - 4, b'.');
        content.extend(b"end\n");
        std::fs::write(&log, &content).unwrap();
        let diagnostics = site.arc.diagnostics(&id).unwrap();
        let log = diagnostics.text(DiagnosticPart::Errors).unwrap();
        assert_eq!((log.size, log.left_out), (size as u64, left_out));
        assert!(log.text.starts_with("20") && log.text.ends_with("...end\n"));
        assert_eq!(log.text.contains(" bytes left out ...]"), left_out > 0);
        assert!(left_out > 0 || log.text.as_bytes() == content);
        content.truncate(size - 4);
    }
}
