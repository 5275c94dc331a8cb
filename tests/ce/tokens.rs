//! Jobs with a bearer token. The testbed has an issuer of tokens where its A-REX can trust one: see `tests/testbed/run`.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jasmin_arc::{ArcState, Delegation, Error, ErrorKind, JobDescription, JobStatus};
use serde_json::{Value, json};

use crate::common::{PATIENCE, Site, eventually};

/// Returns the file with a token that the CE accepts.
fn token() -> Option<PathBuf> {
    let token = env::var_os("JASMIN_ARC_TESTBED_TOKEN").filter(|path| !path.is_empty());
    if token.is_none() {
        eprintln!("skipped: the CE accepts no tokens (JASMIN_ARC_TESTBED_TOKEN is not set)");
    }
    token.map(PathBuf::from)
}

/// Returns a site whose only credential is a token.
fn site_with(token: &Path) -> Site {
    let nowhere = "/nonexistent/file";
    Site::with(json!({ "TOKEN_FILE": token, "CLIENT_KEY": nowhere, "CLIENT_CERT": nowhere, "PROXY_FILE": nowhere }))
}

/// The identity of a token, as A-REX reports it: the issuer and the subject.
fn identity(token: &Path) -> String {
    let token = fs::read_to_string(token).unwrap();
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    format!("{}/{}", claims["iss"].as_str().unwrap(), claims["sub"].as_str().unwrap())
}

#[test]
#[ignore = "needs an ARC-CE"]
fn a_job_runs_with_a_token_from_submission_to_outputs() {
    let site = Site::new();
    if !site.is_rest() {
        return;
    }
    let Some(token) = token() else { return };
    let user = site_with(&token);
    let input = user.file("data", "with a token\n");
    let job = user.arc.submit_job("/bin/sh", &["-c", "cat data; mkdir output; cp data output/"], &[&input]).unwrap();
    let outputs = user.outputs(&job);
    assert_eq!(outputs.text("stdout.txt"), "with a token\n");
    assert_eq!(outputs.text("output/data"), "with a token\n");

    // The job belongs to the identity of the token: the user of the proxy certificate does not see it.
    let other = site.arc.job_status(&job).unwrap_err();
    assert!(matches!(other, Error::JobNotFound { .. }), "{other:?}");

    let forged = user.file("forged", fs::read_to_string(&token).unwrap().trim_end().to_owned() + "AA");
    fs::set_permissions(&forged, fs::Permissions::from_mode(0o600)).unwrap();
    let refused = site_with(&forged).arc.job_status(&job).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AccessDenied, "{refused:?}");
}

#[test]
#[ignore = "needs an ARC-CE"]
fn jobs_are_managed_with_a_token_alone() {
    if !Site::new().is_rest() {
        return;
    }
    let Some(token) = token() else { return };
    let site = site_with(&token);
    let arc = &site.arc;
    assert!(!arc.service_info().unwrap().queues.is_empty());

    let script = |text: &str| JobDescription::new("/bin/sh").with_args(["-c", text]);
    let jobs = [script("mkdir output; echo part > output/file").with_output_file("output"), script("sleep 600")];
    let ids: Vec<_> = arc.submit_jobs(&jobs).unwrap().into_iter().map(Result::unwrap).collect();
    let [short, long] = &ids[..] else { panic!("{ids:?}") };

    eventually("the CE tells whose job it is", PATIENCE, || arc.job(long).unwrap().owner.is_some());
    assert_eq!(arc.job(long).unwrap().owner, Some(identity(&token)));
    // A-REX leaves a job out of its list while it moves the job's record, which takes a loaded CE longer than two requests.
    eventually("the CE lists the jobs", PATIENCE, || {
        let listed = arc.list_jobs().unwrap();
        ids.iter().all(|id| listed.contains(id))
    });

    arc.cancel_job(long).unwrap();
    eventually("the job is cancelled", PATIENCE, || arc.job(long).unwrap().state == ArcState::Killed);
    assert_eq!(site.wait(short), JobStatus::Completed);
    let files = arc.list_files(short).unwrap();
    assert!(files.files.iter().any(|file| file.path == Path::new("output/file")), "{files:?}");
    assert_eq!(arc.read_file(short, "output/file", ..).unwrap().bytes, b"part\n");
    let fetched = arc.fetch([short]).files(["output/file"]).to(site.path().join("fetched")).run().unwrap();
    assert!(fetched[0].as_ref().unwrap().left_out.is_empty(), "{fetched:?}");

    // A token cannot be delegated, and the crate says so before it sends anything.
    let delegated = script("true").with_delegation(Delegation::Always);
    assert!(matches!(arc.submit(&delegated), Err(Error::InvalidJobDescription { .. })));
    assert_eq!(arc.renew_jobs([short]).unwrap_err().kind(), ErrorKind::Unsupported);

    for cleaned in arc.clean_jobs(&ids).unwrap() {
        cleaned.unwrap();
    }
    eventually("the CE has removed the jobs", PATIENCE, || {
        arc.job_statuses(&ids).unwrap().iter().all(|status| matches!(status, Err(Error::JobNotFound { .. })))
    });
}
