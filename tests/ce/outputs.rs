//! Tests of what A-REX does and does not give of the outputs of a job.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jasmin_arc::{ArcInterface, ErrorKind, InputFile, JobDescription, JobStatus, LeftOutReason, SavedOutputs};

use crate::common::{Site, eventually, is_testbed};

fn left_out(saved: &SavedOutputs) -> Vec<(String, LeftOutReason)> {
    let mut all: Vec<_> =
        saved.left_out.iter().map(|one| (one.path.to_string_lossy().into_owned(), one.reason)).collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}

#[test]
#[ignore = "needs an ARC-CE"]
fn everything_that_is_left_out_is_reported() {
    let site = Site::new();
    if !site.is_rest() {
        return; // ARC's classes do not show what the CE leaves out
    }
    let script = r#"mkdir -p output/deep output/closed output/unsearchable; cd output
        echo fine > fine; echo deep > deep/fine; echo x > closed/x; echo x > unsearchable/x
        ln -s fine link; ln -s deep linked; ln -s /no/such/file dangling; ln -s ../fine deep/link; mkfifo pipe
        echo x > "$(printf 'new\nline')"; echo x > "$(printf 'esc\033[31m')"
        echo latin > "$(printf 'latin\351')"; echo x > 'odd &<name>%41?x#y;z'
        echo secret > secret; chmod 0 secret closed; chmod 444 unsearchable"#;
    let id = site.submit(script);
    assert_eq!(site.wait(&id), JobStatus::Completed);
    let saved = site.arc.save_job_outputs_to(&id, site.path().join("results")).unwrap().unwrap();
    let expected = [
        ("output/closed", LeftOutReason::Unreadable),
        ("output/dangling", LeftOutReason::NotAFile),
        ("output/deep/link", LeftOutReason::SymbolicLink),
        ("output/esc\x1b[31m", LeftOutReason::UnsafeName),
        ("output/link", LeftOutReason::SymbolicLink),
        ("output/linked", LeftOutReason::SymbolicLink),
        ("output/new\nline", LeftOutReason::UnsafeName),
        ("output/pipe", LeftOutReason::NotAFile),
        ("output/secret", LeftOutReason::Unreadable),
        ("output/unsearchable/x", LeftOutReason::NotListed),
    ];
    assert_eq!(left_out(&saved), expected.map(|(path, reason)| (path.to_owned(), reason)));
    // Two of the outputs are those of the shell.
    assert_eq!((saved.files, saved.bytes), (6, 5 + 5 + 6 + 2));
    assert_eq!(fs::read_to_string(saved.join("output/odd &<name>%41?x#y;z")).unwrap(), "x\n");
}

#[test]
#[ignore = "needs an ARC-CE"]
fn outputs_that_change_while_they_are_saved_harm_no_others() {
    let site = Site::new();
    if !site.is_rest() {
        return; // ARC's data mover fails for them
    }
    let script = r#"n=0; echo stays > stays
        while [ ! -e output ] && [ $n -lt 3000 ]; do
            n=$((n + 1)); echo $n > "gone$n"; echo "line $n" >> grows; rm -f "gone$((n - 3))"
            head -c $((n % 7 * 1000)) /dev/zero > new; mv new replaced; sleep 0.02
        done"#;
    let id = site.submit(script);
    let results = site.path().join("results");
    let here = || site.arc.save_job_outputs_to(&id, &results).unwrap();
    eventually("the job writes its files", Duration::from_secs(60), || {
        here().is_some_and(|saved| fs::read_to_string(saved.join("grows")).is_ok_and(|text| text.contains("line 2\n")))
    });
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        let saved = here().unwrap();
        assert!(
            saved.left_out.iter().all(|one| one.reason == LeftOutReason::Removed || one.path == Path::new("new")),
            "{:?}",
            saved.left_out
        );
        assert_eq!(fs::read_to_string(saved.join("stays")).unwrap(), "stays\n");
        let grows = fs::read_to_string(saved.join("grows")).unwrap();
        assert!(grows.starts_with("line 1\nline 2\n"), "{grows}");
        let partial = fs::read_dir(&saved).unwrap().flatten();
        assert!(!partial.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(".partial")));
    }
    site.arc.cancel_job(&id).unwrap();
}

/// The job's session directory gets a small file system before the upload, as A-REX's web service sees it.
#[test]
#[ignore = "needs an ARC-CE"]
fn a_full_disk_on_the_ce_cancels_the_job() {
    let site = Site::new();
    if !is_testbed() || !site.is_rest() {
        return; // ARC's classes upload on their own
    }
    let testbed = std::env::var("JASMIN_ARC_TESTBED").unwrap();
    let server = fs::read_to_string(Path::new(&testbed).join("run/arex-ws.pid")).unwrap();
    let in_server = move |program: &str, args: &[&str]| {
        let output = Command::new("nsenter").args(["-m", "-r", "-t", server.trim(), program]).args(args).output();
        output.is_ok_and(|output| output.status.success())
    };
    let session = move |id: &str| format!("{testbed}/session/{id}");
    let (mount, place) = (in_server.clone(), session.clone());
    let mounted = Arc::new(Mutex::new(false));
    let is_mounted = Arc::clone(&mounted);
    let arc = ArcInterface::builder()
        .config(site.arc.config().clone())
        .on_created(move |job| {
            let directory = place(job.id.local_id());
            *mounted.lock().unwrap() =
                mount("mount", &["-t", "tmpfs", "-o", "size=64k,mode=0777", "tmpfs", &directory]);
        })
        .build()
        .unwrap();
    let job = JobDescription::new("/bin/true").with_input(InputFile::bytes("large", vec![0; 1 << 20])).with_key("full");
    let submitted = arc.submit(&job);
    if !*is_mounted.lock().unwrap() {
        return eprintln!("skipped: needs the right to mount a file system");
    }
    let error = submitted.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::JobSubmission, "{error}");
    let text = error.to_string();
    assert!(text.contains("large") && text.contains("Error writing") && text.contains("has been cancelled"), "{text}");
    let id = error.job_id().expect("the id of the job").clone();
    assert!(in_server("umount", &["-l", &session(id.local_id())]));
    assert_eq!(site.wait(&id), JobStatus::Failed);
    assert_eq!(site.arc.job(&id).unwrap().state.to_string(), "Killed");
    assert_eq!(arc.recover().unwrap(), []);
}
