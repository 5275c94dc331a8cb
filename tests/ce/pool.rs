//! Several CEs as one, of which one dies.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use jasmin_arc::{ArcInterface, ArcPool, ErrorKind, JobDescription, JobFilter, JobId, JobStatus, WatchEnd};

use crate::common::{PATIENCE, Site, eventually};
use crate::faults::Linked;
use crate::link::{Act, Fault, Phase};
use crate::testbed::{Ce, jobs_named, shared_control};

/// The time limit of the interface whose CE becomes silent.
const SILENT_TIMEOUT: Duration = Duration::from_secs(20);

fn job(n: usize) -> JobDescription {
    JobDescription::new("/bin/echo").with_arg(n.to_string()).with_name(format!("pool {n}"))
}

fn submit(pool: &ArcPool, jobs: impl IntoIterator<Item = JobDescription>) -> Vec<JobId> {
    pool.submit_jobs(jobs).into_iter().map(Result::unwrap).collect()
}

fn is_on(id: &JobId, arc: &ArcInterface) -> bool {
    id.as_str().starts_with(&arc.config().endpoint_url().unwrap())
}

/// The statuses arrive in any order. Returns those of one CE that succeeded, and the errors of the other's.
fn split(pool: &ArcPool, ids: &[JobId], living: &ArcInterface) -> (Vec<JobStatus>, Vec<ErrorKind>) {
    let (mut statuses, mut errors) = (Vec::new(), Vec::new());
    for (id, status) in pool.job_statuses(ids) {
        match status {
            Ok(status) => statuses.push(status),
            Err(error) => {
                assert!(!is_on(&id, living), "{id}: {error:?}");
                errors.push(error.kind());
            }
        }
    }
    (statuses, errors)
}

#[test]
#[ignore = "needs an ARC-CE"]
fn a_pool_survives_the_death_of_a_ce() {
    let (Some(ce_a), Some(ce_b)) = (Ce::start(), Ce::start()) else { return };
    let site_a = Site::of(&ce_a.config());
    let site_b = Linked::with_timeout(Site::of(&ce_b.config()), SILENT_TIMEOUT);
    let (a, b) = (&site_a.arc, &site_b.arc);
    let pool = ArcPool::new([a.clone(), b.clone()]).unwrap();
    assert_eq!(pool.pings().in_order().into_iter().filter_map(Result::ok).count(), 2);
    if pool.service_infos().any(|(_, info)| info.unwrap().queues.is_empty()) {
        panic!("both CEs publish their queues");
    }

    // Both CEs get jobs, and every operation finds the CE by the id.
    let keyed = job(100).with_key("the key");
    let mut jobs: Vec<JobDescription> = (0..8).map(job).collect();
    jobs.push(keyed.clone());
    let ids = submit(&pool, jobs);
    let of_a = ids.iter().filter(|id| is_on(id, a)).count();
    assert!((1..ids.len()).contains(&of_a), "{of_a} of {} on the first CE", ids.len());
    assert_eq!(pool.submit(&keyed).unwrap(), ids[8]);
    assert_eq!(pool.find_submission("the key").unwrap().as_ref(), Some(&ids[8]));
    let ended: Vec<(JobId, JobStatus)> =
        pool.with_deadline(PATIENCE).wait_jobs(&ids).map(|(id, status)| (id, status.unwrap())).collect();
    assert!(ended.len() == ids.len() && ended.iter().all(|(_, status)| *status == JobStatus::Completed), "{ended:?}");
    let outputs = tempfile::tempdir().unwrap();
    for (id, saved) in pool.save_jobs_outputs_to(&ids, outputs.path()) {
        let saved = saved.unwrap().unwrap_or_else(|| panic!("no outputs of {id}"));
        assert!(saved.join("stdout.txt").is_file());
        assert!(pool.list_files(&id).unwrap().files.iter().any(|file| file.path.ends_with("stdout.txt")));
        assert!(pool.read_file(&id, "stdout.txt", ..).unwrap().bytes.ends_with(b"\n"));
    }
    let found: HashSet<JobId> =
        pool.find_jobs(&JobFilter::new()).flat_map(|(_, jobs)| jobs.unwrap()).map(|job| job.id).collect();
    assert!(ids.iter().all(|id| found.contains(id)), "{found:?}");

    // A silent CE delays nothing of the other.
    site_b.link.set(Fault::Silence);
    let begun = Instant::now();
    let mut statuses = pool.job_statuses(&ids);
    for _ in 0..of_a {
        let (id, status) = statuses.next().unwrap();
        assert!(is_on(&id, a) && status.is_ok(), "{id}: {status:?}");
    }
    assert!(begun.elapsed() < SILENT_TIMEOUT, "{:?}", begun.elapsed());
    let silent: Vec<ErrorKind> = statuses.map(|(_, status)| status.unwrap_err().kind()).collect();
    assert_eq!(silent, vec![ErrorKind::TimedOut; ids.len() - of_a]);
    site_b.link.set(Fault::None);

    // One CE dies in the middle of a watch. The changes on the other are seen.
    let sleep = JobDescription::new("/bin/sleep").with_arg("20");
    let asleep = |arc: &ArcInterface| arc.submit_jobs(vec![sleep.clone(); 4]).unwrap().into_iter().map(Result::unwrap);
    let long: Vec<JobId> = asleep(b).chain(asleep(a)).collect();
    let mut watch = pool.watch(&long).deadline(PATIENCE);
    let mut seen = HashSet::new();
    while seen.len() < long.len() {
        seen.insert(watch.next().unwrap().unwrap().id);
    }
    ce_b.kill();
    let ended: Vec<JobId> = watch
        .by_ref()
        .map(Result::unwrap)
        .filter(|change| change.to.is_final())
        .map(|change| change.id)
        .take(4)
        .collect();
    assert!(ended.iter().all(|id| is_on(id, a)), "{ended:?}");
    let report = watch.report();
    assert!(report.end.is_none() && report.unreachable_since.is_some() && report.pending().count() == 4, "{report:?}");

    // The other operations have errors for its jobs, and new jobs go to the other CE, also those that the pool would have sent
    // to it.
    let path = outputs.path().join("fetched");
    let fetched = pool.fetch(&ids, move |fetch| fetch.files(["stdout.txt"]).to(&path)).in_order();
    for (id, fetched) in ids.iter().zip(fetched) {
        assert_eq!(fetched.as_ref().is_ok_and(|job| job.files.len() == 1), is_on(id, a), "{fetched:?}");
    }
    let (living, dead) = split(&pool, &ids, a);
    assert_eq!((living.len(), dead.len()), (of_a, ids.len() - of_a));
    let later = submit(&pool, (200..204).map(job));
    assert!(later.iter().all(|id| is_on(id, a)), "{later:?}");
    assert!(pool.find_submission("never submitted").is_err(), "the dead CE may have it");

    // It comes back, and the watch sees the ends of its jobs.
    ce_b.restart();
    let ended = watch.by_ref().map(Result::unwrap).filter(|change| change.to.is_final()).count();
    let report = watch.report();
    assert_eq!((ended, report.end, report.unreachable_since), (4, Some(WatchEnd::Settled), None), "{report:?}");
    assert!(report.all_completed() && report.jobs.iter().map(|job| &job.id).eq(&long), "{report:?}");
    eventually("the CE that died has its jobs", PATIENCE, || split(&pool, &ids, a).1.is_empty());
    let ended = pool.with_deadline(PATIENCE).wait_jobs(&later).in_order();
    assert!(ended.iter().all(|status| matches!(status, Ok(JobStatus::Completed))), "{ended:?}");
    assert!(pool.clean_jobs(&ids).in_order().iter().all(Result::is_ok));
}

/// A pool reaches the testbed's CE under two addresses, as if it were two CEs, so that one of its records tells about both.
#[test]
#[ignore = "needs an ARC-CE"]
fn a_lost_answer_never_sends_a_job_to_another_ce() {
    let Some(control) = shared_control() else { return };
    let first = Linked::patient(Site::new());
    let second = Linked::patient(Site::new());
    if !first.site.is_rest() {
        return;
    }
    let pool = ArcPool::new([first.arc.clone(), second.arc.clone()]).unwrap();
    let name = tempfile::tempdir().unwrap().path().display().to_string();
    let named =
        |n: usize| JobDescription::new("/bin/true").with_name(format!("{name} {n}")).with_key(format!("{name} {n}"));
    submit(&pool, (0..2).map(named));

    // The first request of a submission checks that the CE is there, and the second creates the job.
    for link in [&first.link, &second.link] {
        link.arm(Fault::Request { request: 2, phase: Phase::After, act: Act::Reset }, 1);
    }
    let id = pool.submit(&named(2)).unwrap();
    let strikes = [&first, &second].map(|linked| linked.link.count().strikes);
    let expected = if is_on(&id, &first.arc) { [1, 0] } else { [0, 1] };
    assert_eq!(strikes, expected, "{id}");
    assert_eq!(jobs_named(&control, |known| known == format!("{name} 2")).len(), 1);
    [&first, &second].iter().for_each(|linked| linked.link.set(Fault::None));
    assert_eq!(pool.submit(&named(2)).unwrap(), id);

    // A CE that is away has no job, and the other CE gets it.
    second.link.set(Fault::Refuse);
    let id = pool.submit(&named(3)).unwrap();
    assert!(is_on(&id, &first.arc), "{id}");
    assert_eq!(jobs_named(&control, |known| known == format!("{name} 3")).len(), 1);
}
