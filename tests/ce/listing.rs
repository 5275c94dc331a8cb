//! Finding jobs on the CE without a list of them, and what the CE publishes about them.

use std::process::Command;
use std::time::{Duration, SystemTime};

use jasmin_arc::{
    ArcInterface, ArcState, Error, ErrorKind, Freshness, JobDescription, JobFilter, JobId, JobInfo, JobStatus,
};
use serde_json::json;

use crate::common::{PATIENCE, Site, eventually, is_testbed};
use crate::faults::Linked;

/// A text that no other test run uses.
fn unique(text: &str) -> String {
    format!("{text} {}", tempfile::tempdir().unwrap().path().file_name().unwrap().to_string_lossy())
}

fn submit(arc: &ArcInterface, jobs: &[JobDescription]) -> Vec<JobId> {
    arc.submit_jobs(jobs).unwrap().into_iter().map(Result::unwrap).collect()
}

fn found_names(arc: &ArcInterface, filter: &JobFilter) -> Vec<String> {
    let mut names: Vec<String> = arc.find_jobs(filter).unwrap().into_iter().filter_map(|job| job.name).collect();
    names.sort();
    names
}

#[test]
#[ignore = "needs an ARC-CE"]
fn jobs_are_found_with_their_names_before_and_after_the_ce_publishes_them() {
    let site = Site::new();
    if !site.is_rest() {
        let error = site.arc.list_jobs().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(site.arc.find_jobs(&JobFilter::new()).unwrap_err().kind(), ErrorKind::Unsupported);
        return;
    }
    let prefix = unique("é ñ 日本 <&> 'q'");
    let names: Vec<String> = (0..3).map(|n| format!("{prefix} {n}")).collect();
    let begun = SystemTime::now() - Duration::from_secs(5);
    let jobs: Vec<JobDescription> = names
        .iter()
        .map(|name| JobDescription::new("/bin/sleep").with_arg("600").with_name(name).with_key(name))
        .collect();
    let ids = submit(&site.arc, &jobs);

    // Another machine has no list.
    let elsewhere = Site::new().arc;
    let listed = elsewhere.list_jobs().unwrap();
    assert!(ids.iter().all(|id| listed.contains(id)), "{listed:?}");
    let escaped: String = prefix.chars().map(|c| if c == '<' { "[<]".into() } else { c.to_string() }).collect();
    let ours = JobFilter::new().with_name_pattern(&format!("{escaped} *")).unwrap();
    let check = || {
        assert_eq!(found_names(&elsewhere, &ours), names);
        let found = elsewhere.find_jobs(&JobFilter::new().with_key(&names[1])).unwrap();
        assert_eq!(found.iter().map(|job| &job.id).collect::<Vec<_>>(), [&ids[1]]);
        assert_eq!(found[0].key.as_ref(), Some(&names[1]));
        let recent = elsewhere.find_jobs(&ours.clone().with_submitted_since(begun)).unwrap();
        assert_eq!(recent.len(), 3);
        let later = SystemTime::now() + Duration::from_secs(3600);
        assert!(elsewhere.find_jobs(&ours.clone().with_submitted_since(later)).unwrap().is_empty());
    };
    check();
    // The machine that submitted the jobs knows the names, without a request for each.
    let local: Vec<JobInfo> = site.arc.find_jobs(&JobFilter::new().with_ids(ids.clone())).unwrap();
    assert!(
        local.iter().all(|job| job.name.as_deref().is_some_and(|name| names.iter().any(|n| n == name))),
        "{local:?}"
    );

    eventually("the CE publishes the jobs", PATIENCE, || {
        elsewhere.find_jobs(&ours).unwrap().iter().all(|job| job.published_at.is_some())
    });
    check();
    let job = elsewhere.job(&ids[0]).unwrap();
    assert_eq!((job.name.as_ref(), job.key.as_ref()), (Some(&names[0]), Some(&names[0])));
    assert!(job.published_at.unwrap() > begun && job.submission_time.unwrap() >= begun, "{job:?}");

    for cancelled in site.arc.cancel_jobs(&ids).unwrap() {
        cancelled.unwrap();
    }
    eventually("the jobs are found as cancelled", PATIENCE, || {
        elsewhere.find_jobs(&ours.clone().with_state(ArcState::Killed)).unwrap().len() == 3
    });
    assert!(elsewhere.find_jobs(&ours.clone().with_status(JobStatus::Completed)).unwrap().is_empty());
    for cleaned in site.arc.clean_jobs(&ids).unwrap() {
        cleaned.unwrap();
    }
    eventually("cleaned jobs are not found", PATIENCE, || elsewhere.find_jobs(&ours).unwrap().is_empty());
    assert!(elsewhere.find_jobs(&JobFilter::new().with_ids(ids)).unwrap().is_empty());
}

#[test]
#[ignore = "needs an ARC-CE"]
fn names_and_states_of_all_jobs_cost_three_requests() {
    if !is_testbed() {
        return;
    }
    let Linked { arc, link, site } = Linked::patient(Site::new());
    if !site.is_rest() {
        return;
    }
    let jobs: Vec<JobDescription> =
        (0..30).map(|n| JobDescription::new("/bin/sleep").with_arg("600").with_name(unique(&n.to_string()))).collect();
    let ids = submit(&arc, &jobs);
    // A-REX may be moving the record of some job, which then costs more looks.
    eventually("the jobs are found with three requests", PATIENCE, || {
        let before = link.count().requests;
        let found = arc.find_jobs(&JobFilter::new()).unwrap();
        let cost = link.count().requests - before;
        assert!(cost >= 3, "{cost} requests");
        for (id, job) in ids.iter().zip(&jobs) {
            let info = found.iter().find(|info| info.id == *id).expect("the job");
            assert!(!info.status().is_final(), "{info:?}");
            assert_eq!(info.name.as_deref(), Some(job.name()));
        }
        cost == 3
    });
    let before = link.count().requests;
    let listed = arc.list_jobs().unwrap();
    assert!(ids.iter().all(|id| listed.contains(id)), "{listed:?}");
    assert_eq!(link.count().requests - before, 2);
    arc.cancel_jobs(&ids).unwrap();
}

#[test]
#[ignore = "needs an ARC-CE"]
fn the_job_list_agrees_with_the_ce_after_a_sync_and_details_are_complete() {
    let site = Site::new();
    let list = site.path().join("synced.dat");
    let arc = site.another(json!({ "JOBS_INFO_FILE": list }));
    if !site.is_rest() {
        assert_eq!(arc.sync_job_list().unwrap_err().kind(), ErrorKind::Unsupported);
        return;
    }
    let name = unique("synced é");
    let fails = JobDescription::new("/bin/sh").with_args(["-c", "exit 7"]);
    let submitted = submit(&site.arc, &[JobDescription::new("/bin/echo").with_name(&name), fails]);
    let synced = arc.sync_job_list().unwrap();
    assert!(submitted.iter().all(|id| synced.added.contains(id)) && synced.removed.is_empty(), "{synced:?}");
    assert!(list.is_file());

    // ARC's tools find the jobs once the CE publishes them.
    let config = arc.config();
    let arcstat = || {
        let output = Command::new(config.arcproxy_path().with_file_name("arcstat"))
            .args(["-a", "-j", list.to_str().unwrap(), "-z", site.file("client.conf", "").to_str().unwrap()])
            .env("X509_USER_PROXY", config.proxy_file())
            .env("X509_CERT_DIR", config.certs_dir())
            .env("HOME", site.path())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    eventually("arcstat reports the jobs", PATIENCE, || {
        let text = arcstat();
        submitted.iter().all(|id| text.contains(id.as_str()))
    });

    assert_eq!(site.wait(&submitted[0]), JobStatus::Completed);
    assert_eq!(site.wait(&submitted[1]), JobStatus::Failed);
    let job = site.complete_job(&submitted[1]);
    assert_eq!((job.exit_code, job.state, job.freshness), (Some(7), ArcState::Failed, Freshness::Current));
    assert_eq!(job.failed_stage.as_deref(), Some("INLRMS"));
    assert_eq!(job.submission_interface.as_deref(), Some("org.nordugrid.arcrest"));
    assert_eq!(job.description_language.as_deref(), Some("emies:adl"));
    assert!(job.key.is_some() && job.submission_host.is_some() && job.batch_end_time.is_some(), "{job:?}");
    assert!(job.published_states.iter().any(|state| state == "arcrest:FAILED"), "{job:?}");
    site.arc.clean_jobs(&submitted).unwrap().into_iter().for_each(Result::unwrap);
    eventually("the CE has removed the jobs", PATIENCE, || {
        matches!(site.arc.job_status(&submitted[0]), Err(Error::JobNotFound { .. }))
            && matches!(site.arc.job_status(&submitted[1]), Err(Error::JobNotFound { .. }))
    });
    let removed = arc.sync_job_list().unwrap().removed;
    assert!(submitted.iter().all(|id| removed.contains(id)), "{removed:?}");
    assert!(!arc.sync_job_list().unwrap().removed.contains(&submitted[0]));
}
