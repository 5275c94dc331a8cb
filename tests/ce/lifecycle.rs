//! Renewing, restarting and cancelling jobs.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::json;

use jasmin_arc::{Delegation, Error, ErrorKind, JobDescription, JobId, JobStatus, Operation};

use crate::common::{PATIENCE, Site, eventually};
use crate::descriptions::Server;
use crate::testbed::control_file;

fn shell(script: &str) -> JobDescription {
    JobDescription::new("/bin/sh").with_args(["-c", script])
}

#[test]
#[ignore = "needs an ARC-CE"]
fn jobs_whose_inputs_could_not_be_fetched_are_restarted() {
    let site = Site::new();
    let server = Server::new(&[]);
    let job = JobDescription::new("/bin/cat").with_arg("late").with_input_url(server.at("/late")).with_rerun(2);
    let id = site.arc.submit(&job).unwrap();
    if !site.is_rest() {
        assert_eq!(site.arc.restart_job(&id).unwrap_err().kind(), ErrorKind::Unsupported);
        return;
    }
    let running = site.arc.submit(&shell("sleep 600").with_rerun(1)).unwrap();
    let exit_code = site.arc.submit(&shell("exit 3").with_rerun(1)).unwrap();
    assert_eq!((site.wait(&id), site.wait(&exit_code)), (JobStatus::Failed, JobStatus::Failed));
    let unknown = JobId::from(running.as_str().replace(running.local_id(), "none"));
    let refusal = |error: Error| match error {
        Error::JobOperation { operation: Operation::Restart, message, .. } => message,
        error => panic!("{error:?}"),
    };

    // The CE publishes the failure, which hides a restart from those who trust it.
    assert_eq!(site.complete_job(&id).failed_stage.as_deref(), Some("PREPARING"));
    server.add("/late", b"here it is");
    let mut results = site.arc.restart_jobs([&id, &running, &exit_code, &unknown]).unwrap().into_iter();
    results.next().unwrap().unwrap();
    assert_eq!(refusal(results.next().unwrap().unwrap_err()), "Job has not failed");
    let message = refusal(results.next().unwrap().unwrap_err());
    assert!(message.contains("failed in the batch system"), "{message}");
    assert!(matches!(results.next().unwrap(), Err(Error::JobNotFound { .. })));
    // The interface that has restarted the job is not misled by what the CE publishes.
    let info = site.arc.job(&id).unwrap();
    assert!(info.errors.is_empty() && (info.exit_code.is_none() || info.exit_code == Some(0)), "{info:?}");
    assert_eq!(site.wait(&id), JobStatus::Completed);
    assert_eq!(site.outputs(&id).text("stdout.txt"), "here it is");

    let never = site.arc.submit(&job.with_rerun(0).with_input_url(server.at("/never"))).unwrap();
    assert_eq!(site.wait(&never), JobStatus::Failed);
    assert_eq!(refusal(site.arc.restart_job(&never).unwrap_err()), "No more restarts allowed");
    let ended = site.arc.cancel_jobs_and_wait([&running], PATIENCE).unwrap();
    assert_eq!(*ended[0].as_ref().unwrap(), JobStatus::Failed);
}

#[test]
#[ignore = "needs an ARC-CE"]
fn a_wait_for_cancelled_jobs_ends_in_time() {
    let site = Site::new();
    let ids: Vec<JobId> = (0..2).map(|_| site.submit("sleep 600")).collect();
    let results = site.arc.cancel_jobs_and_wait(&ids, Duration::ZERO).unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let unknown = JobId::from(ids[0].as_str().replace(ids[0].local_id(), "none"));
    let ended = site.arc.cancel_jobs_and_wait([&ids[0], &unknown, &ids[1]], PATIENCE).unwrap();
    assert_eq!(*ended[0].as_ref().unwrap(), JobStatus::Failed);
    assert!(matches!(ended[1], Err(Error::JobNotFound { .. })));
    assert_eq!(*ended[2].as_ref().unwrap(), JobStatus::Failed);
}

#[test]
#[ignore = "needs an ARC-CE"]
fn delegations_of_running_jobs_are_renewed() {
    let config = env::var_os("JASMIN_ARC_CONFIG").expect("JASMIN_ARC_CONFIG");
    let site = Site::of(config.as_ref());
    let job = shell("sleep 600");
    let delegated: Vec<JobId> =
        (0..2).map(|_| site.arc.submit(&job.clone().with_delegation(Delegation::Always)).unwrap()).collect();
    if !site.is_rest() {
        assert_eq!(site.arc.renew_jobs(&delegated).unwrap_err().kind(), ErrorKind::Unsupported);
        return;
    }
    let plain = site.arc.submit(&job).unwrap();
    let unknown = JobId::from(plain.as_str().replace(plain.local_id(), "none"));
    // A-REX tells the delegations of a job once it has accepted it.
    let mut renewed = Vec::new();
    eventually("the jobs have delegations", PATIENCE, || {
        renewed = site.arc.renew_jobs(delegated.iter().chain([&plain, &unknown])).unwrap();
        renewed[..2].iter().all(|result| matches!(result, Ok(Some(_))))
    });
    let until = renewed[0].as_ref().unwrap().unwrap();
    assert!(until > SystemTime::now() + Duration::from_secs(60), "{until:?}");
    assert_eq!(*renewed[1].as_ref().unwrap(), Some(until));
    assert!(matches!(renewed[2], Ok(None)), "{renewed:?}");
    assert!(matches!(renewed[3], Err(Error::JobNotFound { .. })), "{renewed:?}");

    // The CE has the new credentials: A-REX writes them beside the records of the job.
    if let Some(control) = env::var_os("JASMIN_ARC_TESTBED_CONTROLDIR").map(PathBuf::from) {
        let proxy = || fs::read(control_file(&control, &delegated[0], "proxy")).unwrap_or_default();
        let before = proxy();
        assert!(!before.is_empty());
        site.another(json!({"PROXY_VALIDITY_PERIOD": 7200})).create_proxy().unwrap();
        let later = site.arc.renew_job(&delegated[0]).unwrap().unwrap();
        assert!(later < until, "the new proxy certificate ends earlier: {later:?} {until:?}");
        // A-REX copies the new credentials to the job, unless it rewrites the job's record at that moment.
        eventually("the job has the new credentials", PATIENCE, || {
            site.arc.renew_job(&delegated[0]).unwrap();
            proxy() != before
        });
    }
    site.arc.cancel_jobs(delegated.iter().chain([&plain])).unwrap();
}
