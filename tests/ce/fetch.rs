//! Tests of fetching files of jobs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jasmin_arc::{CancelToken, Error, Existing, FetchProgress, JobId, JobStatus, Removal};
use serde_json::json;

use crate::common::{PATIENCE, Site, eventually, is_testbed};
use crate::link::{Act, Direction, Fault, Link};

/// A site whose interface reaches the CE through a link.
fn linked(site: &Site) -> (Link, jasmin_arc::ArcInterface) {
    let address = site.arc.config().endpoint_url().unwrap();
    let port = address.split(':').nth(2).and_then(|rest| rest.split('/').next()).unwrap().parse().unwrap();
    let link = Link::to(port);
    let arc = site.another(json!({ "ARC_SERVER": format!("localhost:{}/arex", link.port()) }));
    (link, arc)
}

/// The size of the large file in MiB.
fn large() -> u64 {
    std::env::var("JASMIN_ARC_LARGE_MIB").map_or(64, |size| size.parse().unwrap())
}

#[test]
#[ignore = "needs an ARC-CE"]
fn a_download_that_broke_off_is_continued() {
    let site = Site::new();
    if !is_testbed() || !site.is_rest() {
        return;
    }
    let mib = large();
    let size = mib << 20;
    // Numbered blocks, so that a block in the wrong place shows.
    let script = format!("seq -f '%1023.0f' $(({mib} * 1024)) > output");
    let id = site.submit(&script);
    assert_eq!(site.wait(&id), JobStatus::Completed);
    let (link, arc) = linked(&site);
    let id = JobId::from(id.local_id());
    let results = site.path().join("results");
    let reports = Arc::new(Mutex::new(Vec::new()));
    let fetch = || {
        let seen = Arc::clone(&reports);
        let fetch = arc.fetch([&id]).files(["output"]).to(&results).existing(Existing::Resume);
        let mut jobs = fetch.on_progress(move |now: &FetchProgress| seen.lock().unwrap().push(*now)).run().unwrap();
        jobs.remove(0)
    };
    let broken = |after: u64| {
        link.set(Fault::Bytes { direction: Direction::Down, bytes: after, act: Act::Reset });
        let error = fetch().unwrap_err();
        assert!(matches!(error, Error::OutputFile { .. }) && error.is_retryable(), "{error:?}");
        let kept: Vec<_> = fs::read_dir(results.join(id.as_str()).join(".partial-resume")).unwrap().collect();
        assert_eq!(kept.len(), 1);
        let kept = kept[0].as_ref().unwrap().metadata().unwrap();
        println!("{} of {size} bytes are kept, {} have come", kept.len(), link.count().down);
        kept
    };
    // The link breaks each connection, also those of the repeated requests.
    let first = broken(size / 16).len();
    assert!(first > size / 32, "{first}");
    let private = fs::metadata(results.join(id.as_str()).join(".partial-resume")).unwrap().permissions().mode();
    assert_eq!(private & 0o077, 0);
    assert!(!results.join(id.as_str()).join("output").exists());
    assert!(broken(size / 16).len() > first);
    link.set(Fault::None);
    let job = fetch().unwrap();
    assert_eq!((job.bytes, job.files.len(), job.skipped), (size, 1, 0));

    // TLS adds less than 1 %. Each of at most ten connections loses what was under way, and compares a block.
    let down = link.count().down;
    println!("{down} bytes for a file of {size}");
    assert!(down < size + size / 50 + (10 << 20), "{down} bytes were transferred for a file of {size}");
    let content = fs::read(job.directory.join("output")).unwrap();
    assert_eq!(content.len() as u64, size);
    for (index, block) in content.chunks(1024).enumerate() {
        assert_eq!(std::str::from_utf8(block).unwrap().trim().parse::<usize>().unwrap(), index + 1);
    }
    assert_eq!(fs::read_dir(&job.directory).unwrap().count(), 1, "something is left of the incomplete file");
    let reports = reports.lock().unwrap();
    assert_eq!(reports.last().unwrap().bytes, size);
    assert!(reports.iter().all(|now| now.total_bytes == size));
    drop(reports);
    // What is here is not fetched again.
    let before = link.count().down;
    assert_eq!(fetch().unwrap().skipped, 1);
    assert!(link.count().down - before < 100_000);
}

#[test]
#[ignore = "needs an ARC-CE"]
fn without_resume_nothing_is_left_of_a_broken_download() {
    let site = Site::new();
    if !is_testbed() || !site.is_rest() {
        return;
    }
    let id = site.submit("head -c 12000000 /dev/zero > output");
    assert_eq!(site.wait(&id), JobStatus::Completed);
    let (link, arc) = linked(&site);
    let id = JobId::from(id.local_id());
    let results = site.path().join("results");
    link.set(Fault::Bytes { direction: Direction::Down, bytes: 1_000_000, act: Act::Reset });
    arc.fetch([&id]).files(["output"]).to(&results).run().unwrap().remove(0).unwrap_err();
    assert_eq!(fs::read_dir(results.join(id.as_str())).unwrap().count(), 0);
    // A partial file that is not the CE's is not continued.
    let fetch = || arc.fetch([&id]).files(["output"]).to(&results).existing(Existing::Resume).run().unwrap().remove(0);
    fetch().unwrap_err();
    let partial =
        fs::read_dir(results.join(id.as_str()).join(".partial-resume")).unwrap().next().unwrap().unwrap().path();
    let kept = fs::metadata(&partial).unwrap().len();
    fs::write(&partial, vec![b'x'; usize::try_from(kept).unwrap()]).unwrap();
    link.set(Fault::None);
    let job = fetch().unwrap();
    assert!(fs::read(job.directory.join("output")).unwrap().iter().all(|byte| *byte == 0));
    assert_eq!(job.bytes, 12_000_000);
}

#[test]
#[ignore = "needs an ARC-CE"]
fn three_of_five_thousand_files_cost_one_listing_and_three_downloads() {
    let site = Site::new();
    if !is_testbed() || !site.is_rest() {
        return;
    }
    let script =
        "mkdir -p output/many output/other; cd output/many; seq 5000 | split -l 1 -a 5 -d - f; echo x > ../other/x";
    let id = site.submit(script);
    assert_eq!(site.wait(&id), JobStatus::Completed);
    let (link, arc) = linked(&site);
    let id = JobId::from(id.local_id());
    arc.job_status(&id).unwrap();
    let before = link.count();
    let wanted = arc.fetch([&id]).matching(["output/many/f0001[0-2]"]).to(site.path().join("results"));
    let job = wanted.run().unwrap().remove(0).unwrap();
    let after = link.count();
    let mut files = job.files;
    files.sort();
    assert_eq!(files, ["f00010", "f00011", "f00012"].map(|name| Path::new("output/many").join(name)));
    assert_eq!(fs::read_to_string(job.directory.join("output/many/f00012")).unwrap(), "13\n");
    // Two for each of three directories, one or two for the state, three for the files.
    let requests = after.requests - before.requests;
    println!("{requests} requests, {} bytes", after.down - before.down);
    assert!((10..=12).contains(&requests), "{requests}");
}

#[test]
#[ignore = "needs an ARC-CE"]
fn files_with_odd_names_are_fetched_and_their_job_is_removed() {
    const NAMES: [&str; 6] = ["a b", "odd &<name>%41?x#y;z", "%2e%2e", "é漢", "[1]{2}*", "\"quoted\""];
    let site = Site::new();
    if !site.is_rest() {
        return;
    }
    let script: String = NAMES.iter().map(|name| format!("printf %s '{name}' > output/'{name}'; ")).collect();
    let id = site.submit(&format!("mkdir output; {script} echo x > output/unwanted"));
    assert_eq!(site.wait(&id), JobStatus::Completed);
    let names = NAMES.map(|name| Path::new("output").join(name));
    let fetch = |names: &[std::path::PathBuf]| {
        let fetch = site.arc.fetch([&id]).files(names).to(site.path().join("results")).remove_when_complete();
        fetch.run().unwrap().remove(0).unwrap()
    };
    let job = fetch(&[&names[..], &["output/none".into()]].concat());
    assert!(matches!(job.removal, Removal::Kept(_)), "{job:?}");
    assert_eq!(job.left_out.len(), 1);
    let job = fetch(&names);
    assert_eq!((job.removal.clone(), job.files.len()), (Removal::Removed, NAMES.len()), "{job:?}");
    for name in NAMES {
        assert_eq!(fs::read_to_string(job.directory.join("output").join(name)).unwrap(), name);
    }
    assert!(!job.directory.join("output/unwanted").exists());
    // A-REX confirms the order to clean before it has cleaned.
    eventually("the CE has removed the job", PATIENCE, || {
        matches!(site.arc.job_status(&id), Err(Error::JobNotFound { .. }))
    });
}

#[test]
#[ignore = "needs an ARC-CE"]
fn a_running_job_is_fetched_and_stays() {
    let site = Site::new();
    if !site.is_rest() {
        return;
    }
    let id = site.submit("echo first; mkdir output; echo a > output/a; sleep 600");
    site.wait_until(&id, |_| site.arc.read_file(&id, "output/a", ..0).is_ok());
    let fetch = || site.arc.fetch([&id]).to(site.path().join("results"));
    let job = fetch().existing(Existing::Resume).remove_when_complete().run().unwrap().remove(0).unwrap();
    assert!(matches!(&job.removal, Removal::Kept(reason) if reason.contains("not ended")), "{job:?}");
    assert_eq!(fs::read_to_string(job.directory.join("stdout.txt")).unwrap(), "first\n");
    let token = CancelToken::new();
    token.cancel();
    assert!(matches!(fetch().cancel(&token).run(), Err(Error::Cancelled)));
    assert!(matches!(fetch().deadline(Duration::ZERO).run(), Err(Error::DeadlineExceeded { .. })));
    site.arc.cancel_job(&id).unwrap();
}
