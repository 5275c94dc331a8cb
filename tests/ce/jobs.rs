//! Tests of jobs from submission to outputs, of job ids, of cancelling, and of CEs that cannot be reached.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::common::{PATIENCE, Site, child, eventually, is_child, run_child};
use crate::faults::Linked;
use jasmin_arc::{Error, JobDescription, JobId, JobStatus};
use serde_json::json;

#[test]
#[ignore = "needs an ARC-CE"]
fn echo_job_runs_from_submission_to_outputs() {
    let site = Site::new();
    let before = SystemTime::now();
    let id = site.arc.submit_job("/bin/echo", &["hello!"], &[]).unwrap();

    let order = [JobStatus::NotSubmitted, JobStatus::NotStarted, JobStatus::InProgress, JobStatus::Completed];
    let place = |status| order.iter().position(|s| *s == status).unwrap_or_else(|| panic!("{id} {status}"));
    let mut seen = 0;
    site.wait_until(&id, |status| {
        assert!(place(status) >= seen, "{status} after {}", order[seen]);
        seen = place(status);
        status == JobStatus::Completed
    });

    let job = site.complete_job(&id);
    assert_eq!((&job.id, job.status(), job.exit_code), (&id, JobStatus::Completed, Some(0)), "{job:?}");
    assert!(!site.is_rest() || job.name.as_deref() == Some("ARC job"), "{job:?}");
    assert!(job.errors.is_empty(), "{job:?}");
    assert!(job.owner.is_some_and(|owner| owner.contains("CN=")));
    // The CE's times are whole seconds of its own clock.
    let near = |time: Option<SystemTime>| {
        let time = time.expect("the CE reports the time");
        let slack = Duration::from_secs(60);
        time > before - slack && time < SystemTime::now() + slack
    };
    assert!(near(job.submission_time) && near(job.end_time));
    assert!(job.submission_time <= job.end_time);

    let first = site.save(&id).unwrap();
    assert_eq!(first.text("stdout.txt"), "hello!\n");
    assert_eq!(first.files(), ["stderr.txt", "stdout.txt"]);
    assert_eq!(fs::metadata(&*first).unwrap().permissions().mode() & 0o7777, 0o700);
    assert!(first.starts_with(std::env::temp_dir()));
    let second = site.save(&id).unwrap();
    assert_ne!(*first, *second);
    assert_eq!(first.files(), second.files());

    site.arc.cancel_job(&id).unwrap();
    assert_eq!(
        site.arc.job_status(&id).unwrap(),
        JobStatus::Completed,
        "cancelling changed the status of an ended job"
    );
}

#[test]
#[ignore = "needs an ARC-CE"]
fn submitted_job_is_found_at_once() {
    let site = Site::new();
    for _ in 0..10 {
        let id = site.arc.submit_job("/bin/true", &[], &[]).unwrap();
        let status = site.arc.job_status(&id).unwrap();
        assert_ne!(status, JobStatus::Failed);
        let info = site.arc.job(&id).unwrap();
        assert_ne!(info.status(), JobStatus::Failed, "{info:?}");
        assert!(site.arc.save_job_outputs(&id).is_ok());
    }
}

#[test]
#[ignore = "needs an ARC-CE"]
fn only_requested_outputs_are_saved() {
    let site = Site::new();
    let one = site.submit("echo out; echo err >&2; echo content > output; echo no > unlisted");
    let script = "mkdir -p output/a/b output/none; seq 100000 > output/a/b/numbers; : > output/empty;
        printf '\\000\\377\\r\\n' > 'output/a/odd  name'; echo no > unlisted";
    let many = site.submit(script);
    let named = JobDescription::new("/bin/sh")
        .with_name("a <name> & \"more\"")
        .with_args(["-c", "mkdir d; echo 1 > d/one; echo 2 > two"])
        .with_output_file("d/one")
        .with_output_file("two")
        .with_output_file("never made");
    let named = site.arc.submit(&named).unwrap();

    let outputs = site.outputs(&one);
    assert_eq!(outputs.files(), ["output", "stderr.txt", "stdout.txt"]);
    assert_eq!((outputs.text("output"), outputs.text("stdout.txt")), ("content\n".into(), "out\n".into()));
    assert_eq!(outputs.text("stderr.txt"), "err\n");

    let outputs = site.outputs(&many);
    let files = ["output/a/b/numbers", "output/a/odd  name", "output/empty", "stderr.txt", "stdout.txt"];
    assert_eq!(outputs.files(), files);
    let numbers: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    assert!(outputs.text("output/a/b/numbers") == numbers);
    assert_eq!(outputs.read("output/a/odd  name"), b"\0\xff\r\n");
    assert_eq!(outputs.read("output/empty"), b"");

    let outputs = site.outputs(&named);
    assert_eq!(outputs.files(), ["d/one", "stderr.txt", "stdout.txt", "two"]);
    let job = site.complete_job(&named);
    assert!(!site.is_rest() || job.name.as_deref() == Some("a <name> & \"more\""), "{job:?}");
}

#[test]
#[ignore = "needs an ARC-CE"]
fn failed_job_keeps_its_exit_code_and_outputs() {
    let site = Site::new();
    let failing = site.submit("echo out; echo err >&2; echo done > output; exit 3");
    let missing = site.arc.submit_job("/no/such/program", &[], &[]).unwrap();

    assert_eq!(site.wait(&failing), JobStatus::Failed);
    let job = site.complete_job(&failing);
    assert_eq!((job.status(), job.exit_code), (JobStatus::Failed, Some(3)), "{job:?}");
    assert!(!job.errors.is_empty() && job.end_time.is_some(), "{job:?}");
    let outputs = site.save(&failing).unwrap();
    assert_eq!((outputs.text("stdout.txt"), outputs.text("stderr.txt")), ("out\n".into(), "err\n".into()));
    assert_eq!(outputs.text("output"), "done\n");

    assert_eq!(site.wait(&missing), JobStatus::Failed);
    let job = site.complete_job(&missing);
    assert!(job.exit_code != Some(0) && !job.errors.is_empty(), "{job:?}");
}

/// Runs in a child process, because it counts the entries of the temporary directory.
#[test]
#[ignore = "needs an ARC-CE"]
fn no_directory_is_left_without_outputs() {
    if !is_child() {
        let dir = tempfile::tempdir().unwrap();
        run_child(child("jobs::no_directory_is_left_without_outputs").env("TMPDIR", dir.path()));
        return;
    }
    let site = Site::new();
    let saved = || {
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let entries = fs::read_dir(std::env::temp_dir()).unwrap().map(name);
        entries.filter(|name| name.starts_with("jasmin_arc-")).count()
    };
    let id = site.submit("sleep 1");
    // The job has outputs as soon as it starts.
    while site.arc.job_status(&id).unwrap() != JobStatus::Completed {
        let before = saved();
        let outputs = site.save(&id);
        assert_eq!(saved() - before, outputs.iter().count());
    }
    assert!(matches!(site.arc.save_job_outputs(&JobId::from("unknown")), Err(Error::JobNotFound { .. })));
    assert_eq!(saved(), 0);
}

#[test]
#[ignore = "needs an ARC-CE"]
fn malformed_and_unknown_ids_are_not_found() {
    let site = Site::new();
    let real = site.arc.submit_job("/bin/true", &[], &[]).unwrap();
    let (place, _) = real.as_str().rsplit_once('/').unwrap();
    let (server, _) = place.split_once("/rest/").unwrap_or((place, ""));
    let long = "a".repeat(100_000);
    let local = real.local_id();
    let ids = [
        "invalid ID here".into(),
        String::new(),
        " ".into(),
        "/".into(),
        ".".into(),
        "..".into(),
        "../..".into(),
        "*".into(),
        "0".into(),
        "nonexistent".into(),
        "%00".into(),
        "{\"job\":[]}".into(),
        "</id><id>".into(),
        "é漢字🦀".into(),
        "https://".into(),
        "https:///".into(),
        place.into(),
        format!("{place}/"),
        format!("{place}/nonexistent"),
        format!("{place}/.."),
        format!("{server}/nonexistent"),
        format!("{server}/rest/1.0/jobs/nonexistent"),
        format!("{server}/rest/1.0/delegations"),
        format!("{server}/{local}/session/stdout.txt"),
        format!("https://other.example.org:443/arex/rest/1.0/jobs/{local}"),
        format!("https://other.example.org/arex/{local}"),
        format!("{real}x"),
        format!("{real}\0"),
        format!("{real}\nx"),
        format!("{real}?x"),
        format!("{local}\0"),
        format!("{local}\nx"),
        format!("{local}/../{local}"),
        local[1..].into(),
        format!("{place}/{long}"),
        long,
    ];
    let not_found = |id: &JobId, result: Result<(), Error>, what| match result {
        Err(Error::JobNotFound { job_id, .. }) => assert_eq!(&job_id, id),
        other => panic!("{what}({:.200?}): {other:?}", id.as_str()),
    };
    for id in ids.map(JobId::from) {
        not_found(&id, site.arc.job_status(&id).map(drop), "job_status");
        not_found(&id, site.arc.job(&id).map(drop), "job");
        not_found(&id, site.arc.cancel_job(&id), "cancel_job");
        not_found(&id, site.arc.save_job_outputs(&id).map(drop), "save_job_outputs");
    }
    assert_eq!(site.wait(&real), JobStatus::Completed);
}

#[test]
#[ignore = "needs an ARC-CE"]
fn all_forms_of_an_id_name_the_same_job() {
    let site = Site::new();
    let given = site.submit("echo same");
    let (place, local) = given.as_str().rsplit_once('/').unwrap();
    let (server, _) = place.split_once("/rest/").unwrap_or((place, ""));
    let forms =
        [given.to_string(), format!("{server}/rest/1.0/jobs/{local}"), format!("{server}/{local}"), local.to_owned()];
    for id in forms.map(JobId::from) {
        assert_eq!(site.outputs(&id).text("stdout.txt"), "same\n", "{id}");
        assert_eq!(site.arc.job(&id).unwrap().exit_code, Some(0), "{id}");
        site.arc.cancel_job(&id).unwrap();
    }
}

#[test]
#[ignore = "needs an ARC-CE"]
fn cancelling_kills_the_job() {
    let site = Site::new();
    // No other process has this argument.
    let length = format!("98765.{}", std::process::id());
    let running = site.submit(&format!("echo began; sleep {length}"));
    let early = site.arc.submit_job("/bin/sleep", &[&format!("{length}1")], &[]).unwrap();
    site.arc.cancel_job(&early).unwrap();

    // The testbed's CE runs its jobs on this host.
    let here = std::env::var_os("JASMIN_ARC_TESTBED").is_some();
    if here {
        eventually("the job is running", PATIENCE, || runs(&length));
    } else {
        site.wait_until(&running, |status| status == JobStatus::InProgress);
    }
    site.arc.cancel_job(&running).unwrap();
    site.arc.cancel_job(&running).unwrap();
    if here {
        eventually("the job is gone", Duration::from_secs(60), || !runs(&length));
    }
    assert_eq!(site.wait(&running), JobStatus::Failed);
    assert_eq!(site.arc.job(&running).unwrap().state.to_string(), "Killed");
    assert_eq!(site.wait(&early), JobStatus::Failed);
    assert!(!here || !runs(&format!("{length}1")));
    site.arc.cancel_job(&running).unwrap();
}

/// Whether the last argument of some process on this host is `argument`.
fn runs(argument: &str) -> bool {
    let ends = |entry: fs::DirEntry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).rfind(|part| !part.is_empty()) == Some(argument.as_bytes())
    };
    fs::read_dir("/proc").unwrap().flatten().any(ends)
}

#[test]
#[ignore = "needs an ARC-CE"]
fn clones_work_in_many_threads() {
    let site = Site::new();
    thread::scope(|scope| {
        for n in 0..6 {
            let (arc, site) = (site.arc.clone(), &site);
            scope.spawn(move || {
                let id = arc.submit_job("/bin/echo", &[&n.to_string()], &[]).unwrap();
                assert_eq!(site.outputs(&id).text("stdout.txt"), format!("{n}\n"));
            });
        }
    });
}

#[test]
#[ignore = "needs an ARC-CE"]
fn unreachable_ce_is_not_a_missing_job() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for server in [closed.to_string(), "no-such-host.invalid".into()] {
        let site = Site::with(json!({ "ARC_SERVER": server }));
        let id = JobId::from("0123456789abcdef");
        let begun = Instant::now();
        let answers = [
            ("submit_job", site.arc.submit_job("/bin/true", &[], &[]).map(drop)),
            ("job_status", site.arc.job_status(&id).map(drop)),
            ("job", site.arc.job(&id).map(drop)),
            ("cancel_job", site.arc.cancel_job(&id)),
            ("save_job_outputs", site.arc.save_job_outputs(&id).map(drop)),
        ];
        for (what, answer) in answers {
            assert!(is_unreachable(&answer, &server), "{what} on {server}: {answer:?}");
        }
        // Calls through ARC's plugins run one at a time, so they wait for the call of `silent_ce_times_out`.
        let patience = if site.is_rest() { 60 } else { 600 };
        assert!(begun.elapsed() < Duration::from_secs(patience), "{server}: {:?}", begun.elapsed());
    }
}

/// Takes a minute, the default timeout.
#[test]
#[ignore = "needs an ARC-CE"]
fn silent_ce_times_out() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = silent.local_addr().unwrap().to_string();
    let site = Site::with(json!({ "ARC_SERVER": server }));
    let begun = Instant::now();
    let answer = site.arc.job_status(&JobId::from("0123456789abcdef"));
    assert!(is_unreachable(&answer, &server), "{answer:?}");
    assert!(begun.elapsed() < Duration::from_secs(180), "{:?}", begun.elapsed());
}

fn is_unreachable<T>(answer: &Result<T, Error>, server: &str) -> bool {
    let Err(error) = answer else { return false };
    matches!(error, Error::Connection { .. } | Error::NoTargetsAvailable { .. }) && error.to_string().contains(server)
}

#[test]
#[ignore = "needs an ARC-CE"]
fn a_repeated_look_up_of_a_job_costs_one_request() {
    let site = Site::new();
    if !site.is_rest() {
        return;
    }
    let Linked { arc, link, .. } = &Linked::patient(site);
    let id = arc.submit_job("/bin/sleep", &["600"], &[]).unwrap();
    let is = |status| arc.job_status(&id).unwrap() == status;
    eventually("the job runs", PATIENCE, || is(JobStatus::InProgress));
    // What the information system has published is asked for again every ten seconds.
    eventually("a look-up costs one request", PATIENCE, || {
        let before = link.count().requests;
        assert!(is(JobStatus::InProgress));
        link.count().requests == before + 1
    });
    arc.cancel_job(&id).unwrap();
    eventually("the end is seen", PATIENCE, || is(JobStatus::Failed));
}
