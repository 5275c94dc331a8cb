//! Tests that errors contain what failed, the value, and what to do about it.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use jasmin_arc::{ArcInterface, Error, ErrorKind, JobDescription, JobId, JobStatus};
use serde_json::json;

use crate::common::{Site, child, is_child, run_child};

/// Fails if an error in the chain repeats the text of its source, since reporters would print it twice.
#[track_caller]
fn check_chain(error: &dyn std::error::Error) {
    let mut error = error;
    while let Some(source) = error.source() {
        let (text, cause) = (error.to_string(), source.to_string());
        assert!(!text.contains(&cause), "{text:?} repeats {cause:?}");
        error = source;
    }
}

#[track_caller]
fn check(error: Error, kind: ErrorKind, is_retryable: bool, parts: &[&str]) {
    check_chain(&error);
    assert_eq!((error.kind(), error.is_retryable()), (kind, is_retryable), "{error}");
    let text = format!("{error} {}", error.hint().unwrap_or_default());
    for part in parts {
        assert!(text.contains(part), "{text:?} lacks {part:?}");
    }
    assert!(text.len() < 700, "{text}");
}

#[test]
#[ignore = "needs an ARC-CE"]
fn unreachable_ces_have_distinct_errors() {
    let site = Site::new();
    if !site.is_rest() {
        return; // over EMI-ES, ARC reports all of these alike
    }
    let ask = |arc: ArcInterface| arc.job_status(&JobId::from("a")).unwrap_err();
    let at = |server: &str| ask(site.another(json!({"ARC_SERVER": server})));
    check(at("localhost:1"), ErrorKind::ConnectionRefused, true, &["localhost:1", "check the port"]);
    check(at("no-such-host.invalid"), ErrorKind::HostNotFound, false, &["no-such-host.invalid", "check the host name"]);

    let server = site.arc.config().arc_server().to_owned();
    let url = site.arc.config().endpoint_url().unwrap();
    let plain = at(&url.replace("https://", "http://"));
    assert!(!plain.is_retryable() && plain.hint().unwrap().contains("https://"), "{plain}");
    let elsewhere = at(&format!("{}/no/such/path", url.trim_end_matches("/arex")));
    check(elsewhere, ErrorKind::NoTargetsAvailable, false, &["/no/such/path", "check the path in ARC_SERVER"]);

    let directory = tempfile::tempdir().unwrap();
    let untrusted = ask(site.another(json!({"ARC_SERVER": server, "CERTS_DIR": directory.path()})));
    check(untrusted, ErrorKind::Untrusted, false, &["cannot be verified", "CERTS_DIR"]);

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("localhost:{}", silent.local_addr().unwrap().port());
    let config = site.arc.config().clone().with_arc_server(address);
    let arc = ArcInterface::builder().config(config).timeout(Duration::from_secs(2)).no_log().build().unwrap();
    check(ask(arc), ErrorKind::TimedOut, true, &["no response within"]);
}

#[test]
#[ignore = "needs an ARC-CE"]
fn errors_about_missing_jobs_contain_the_reason() {
    let site = Site::new();
    let ask = |id: &str| site.arc.job_status(&JobId::from(id)).unwrap_err();
    check(ask("abc"), ErrorKind::JobNotFound, false, &["\"abc\"", "does not know it"]);
    check(ask("https://other:443/arex/abc"), ErrorKind::JobNotFound, false, &["is not the id of a job on"]);

    let id = site.submit("true");
    assert_eq!(site.wait(&id), JobStatus::Completed);
    site.arc.clean_job(&id).unwrap();
    // All operations agree that the job is gone.
    let mut errors = vec![site.arc.job_status(&id).unwrap_err(), site.arc.job(&id).unwrap_err()];
    errors.extend([site.arc.cancel_job(&id).unwrap_err(), site.arc.save_job_outputs(&id).unwrap_err()]);
    for error in errors {
        assert_eq!(error.job_id(), Some(&id));
        check(error, ErrorKind::JobNotFound, false, &["does not know it"]);
    }
}

#[test]
#[ignore = "needs an ARC-CE"]
fn outputs_that_cannot_be_stored_do_not_affect_other_jobs() {
    let site = Site::new();
    let id = site.submit("echo a > a; echo b > b");
    assert_eq!(site.wait(&id), JobStatus::Completed);
    let place = site.path().join("results");
    // A directory has the name of the output file.
    std::fs::create_dir_all(place.join(id.local_id()).join("stdout.txt/x")).unwrap();
    let error = site.arc.save_job_outputs_to(&id, &place).unwrap_err();
    assert!(matches!(&error, Error::OutputFile { path, .. } if path.ends_with("stdout.txt")), "{error:?}");
    check(error, ErrorKind::OutputFile, false, &["stdout.txt"]);
    assert!(place.join(id.local_id()).join("stderr.txt").is_file());
}

#[test]
#[ignore = "needs an ARC-CE"]
fn full_disks_are_not_reported_as_failures_of_the_ce() {
    if !is_child() {
        // A limit on the size of files simulates a full disk. The process ignores its signal, so that the write fails.
        let test = child("errors::full_disks_are_not_reported_as_failures_of_the_ce");
        let mut limited = Command::new("/bin/sh");
        limited.args(["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\""]).arg(test.get_program());
        limited.args(test.get_args()).env("JASMIN_ARC_TEST_CHILD", "yes");
        run_child(&mut limited);
        return;
    }
    let site = Site::new();
    if !site.is_rest() {
        return; // ARC's data mover reports such a failure as text only
    }
    let job = JobDescription::new("/bin/sh").with_args(["-c", "head -c 5000000 /dev/zero > output"]);
    let id = site.arc.submit(&job.with_output_file("output")).unwrap();
    assert_eq!(site.wait(&id), JobStatus::Completed);
    let place = site.path().join("results");
    let error = site.arc.save_job_outputs_to(&id, &place).unwrap_err();
    let Error::OutputFile { path, source, .. } = &error else { panic!("{error:?}") };
    assert!(path.ends_with("output"), "{error}");
    assert_eq!(source.as_ref().map(std::io::Error::kind), Some(std::io::ErrorKind::FileTooLarge));
    check(error, ErrorKind::OutputFile, false, &["cannot be written"]);
    let directory = place.join(id.local_id());
    assert!(directory.join("stdout.txt").is_file() && !directory.join("output").exists());
}
