//! Jobs with a bearer token. The testbed has an issuer of tokens where its A-REX can trust one: see `tests/testbed/run`.

use std::env;
use std::path::PathBuf;

use jasmin_arc::{Error, ErrorKind, JobStatus};
use serde_json::json;

use crate::common::Site;

/// Returns the file with a token that the CE accepts.
fn token() -> Option<PathBuf> {
    let token = env::var_os("JASMIN_ARC_TESTBED_TOKEN").filter(|path| !path.is_empty());
    if token.is_none() {
        eprintln!("skipped: the CE accepts no tokens (JASMIN_ARC_TESTBED_TOKEN is not set)");
    }
    token.map(PathBuf::from)
}

#[test]
#[ignore = "needs an ARC-CE"]
fn a_job_runs_with_a_token_from_submission_to_outputs() {
    let site = Site::new();
    if !site.is_rest() {
        return;
    }
    let Some(token) = token() else { return };
    let nowhere = "/nonexistent/file";
    let config = json!({
        "TOKEN_FILE": token, "CLIENT_KEY": nowhere, "CLIENT_CERT": nowhere, "PROXY_FILE": site.path().join("none"),
    });
    let user = site.another(config.clone());
    let input = site.file("data", "with a token\n");
    let job = user.submit_job("/bin/sh", &["-c", "cat data; mkdir output; cp data output/"], &[&input]).unwrap();
    let mut status = user.job_status(&job).unwrap();
    while !status.is_final() {
        std::thread::sleep(std::time::Duration::from_millis(300));
        status = user.job_status(&job).unwrap();
    }
    assert_eq!(status, JobStatus::Completed);
    let outputs = user.save_job_outputs(&job).unwrap().unwrap();
    assert_eq!(std::fs::read_to_string(outputs.join("stdout.txt")).unwrap(), "with a token\n");
    assert_eq!(std::fs::read_to_string(outputs.join("output/data")).unwrap(), "with a token\n");
    std::fs::remove_dir_all(outputs).unwrap();

    // The job belongs to the identity of the token: the user of the proxy certificate does not see it.
    let other = site.arc.job_status(&job).unwrap_err();
    assert!(matches!(other, Error::JobNotFound { .. }), "{other:?}");

    let forged = site.file("forged", std::fs::read_to_string(&token).unwrap().trim_end().to_owned() + "AA");
    std::fs::set_permissions(&forged, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let refused = site.another(json!({ "TOKEN_FILE": forged })).job_status(&job).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AccessDenied, "{refused:?}");
}
