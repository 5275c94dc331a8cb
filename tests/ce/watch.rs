//! Tests of watching and waiting: how soon an end is seen, what a watch costs, and a CE that goes away.

use std::collections::HashMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use jasmin_arc::{
    ArcInterface, ArcState, CancelToken, Change, Delegation, Error, JobDescription, JobId, JobStatus, PollPolicy,
    Standing, WatchEnd, WatchOutcome,
};

use crate::common::{PATIENCE, Site, eventually};
use crate::faults::Linked;
use crate::link::Fault;
use crate::testbed::{Ce, control_file, in_pieces, shared_control};

/// How late an end may be seen on a machine that is busy with other tests. On a quiet one it takes a tenth of it.
const LATEST: Duration = Duration::from_secs(10);

/// When A-REX has recorded the end of a job. `None` with another CE than the testbed's.
fn recorded_end(id: &JobId) -> Option<SystemTime> {
    let control = shared_control()?;
    let local = id.local_id();
    let paths = [format!("finished/job.{local}.status"), format!("finished/{local}.status")];
    paths.iter().find_map(|path| fs::metadata(Path::new(&control).join(path)).ok()?.modified().ok())
}

fn submit_all(site: &Site, jobs: impl IntoIterator<Item = JobDescription>) -> Vec<JobId> {
    let submitted = site.arc.submit_jobs(jobs.into_iter().collect::<Vec<_>>()).unwrap();
    submitted.into_iter().map(|id| JobId::from(id.unwrap().local_id())).collect()
}

fn script(text: &str) -> JobDescription {
    JobDescription::new("/bin/sh").with_args(["-c", text])
}

#[test]
#[ignore = "needs an ARC-CE"]
fn the_end_of_a_short_job_is_known_at_once() {
    let site = Site::new();
    let (good, bad) = (site.submit("sleep 5"), site.submit("sleep 3; exit 7"));
    thread::scope(|scope| {
        for (id, expected) in [(&good, JobStatus::Completed), (&bad, JobStatus::Failed)] {
            let (arc, is_rest) = (&site.arc, site.is_rest());
            scope.spawn(move || {
                assert_eq!(arc.with_deadline(PATIENCE).wait_job(id).unwrap(), expected);
                let seen = SystemTime::now();
                let Some(recorded) = recorded_end(id).filter(|_| is_rest) else { return };
                let delay = seen.duration_since(recorded).unwrap_or_default();
                println!("the end was known {delay:?} after A-REX had recorded it");
                assert!(delay < LATEST, "{delay:?}");
            });
        }
    });
    // A job that has ended already, and one that does not exist.
    assert_eq!(
        site.arc.wait_jobs([&bad, &good]).unwrap().into_iter().map(Result::unwrap).collect::<Vec<_>>(),
        [JobStatus::Failed, JobStatus::Completed]
    );
    for id in ["0123456789abcdef", "https://other.example.org/arex/rest/1.0/jobs/0123456789abcdef"] {
        assert!(matches!(site.arc.wait_job(&id.into()), Err(Error::JobNotFound { .. })), "{id}");
        let mixed = site.arc.wait_jobs([&good, &id.into(), &bad]).unwrap();
        assert!(matches!(&mixed[..], [Ok(_), Err(Error::JobNotFound { .. }), Ok(_)]), "{mixed:?}");
    }
}

/// The number of jobs that are watched at once.
fn many() -> usize {
    std::env::var("JASMIN_ARC_TEST_JOBS").map_or(60, |number| number.parse().expect("JASMIN_ARC_TEST_JOBS is a number"))
}

#[test]
#[ignore = "needs an ARC-CE"]
fn many_jobs_are_watched_with_two_requests_a_poll() {
    let site = Site::new();
    if !site.is_rest() {
        return;
    }
    let linked = Linked::patient(site);
    let Linked { site, link, arc } = &linked;
    let job = |n: usize| match n % 4 {
        0 => script("exit 3"),
        n => JobDescription::new("/bin/sleep").with_arg(n.to_string()),
    };
    let ids = submit_all(site, (0..many()).map(job));
    arc.job_status(&ids[0]).unwrap();
    let before = link.count().requests;
    let (mut polls, mut most) = (0, before);
    let mut last = before;
    let mut watch = arc.watch(&ids).deadline(10 * PATIENCE).on_poll(|poll| {
        assert_eq!(poll.error, None);
        polls += 1;
        let now = link.count().requests;
        most = most.max(now - last);
        last = now;
        ControlFlow::Continue(())
    });
    let mut told: HashMap<JobId, Change> = HashMap::new();
    let mut delays = Vec::new();
    for change in &mut watch {
        let change = change.unwrap();
        let known = told.get(&change.id).map(|known| known.to);
        assert_eq!(change.from, known.map(|known| known.state().unwrap()), "{change}");
        assert!(known.is_none_or(|known| !known.is_final() && known != change.to), "{change} after {known:?}");
        if let Some(recorded) = recorded_end(&change.id).filter(|_| change.to.is_final()) {
            delays.push(change.observed_at.duration_since(recorded).unwrap_or_default());
        }
        told.insert(change.id.clone(), change);
    }
    let report = watch.report();
    drop(watch);
    assert_eq!(report.end, Some(WatchEnd::Settled));
    assert!(report.jobs.iter().map(|job| &job.id).eq(&ids));
    for (n, id) in ids.iter().enumerate() {
        let expected = if n % 4 == 0 { JobStatus::Failed } else { JobStatus::Completed };
        assert_eq!(told[id].status(), Some(expected), "{n}");
        assert_eq!(report.jobs[n].status(), Some(expected), "{n}");
    }
    let requests = link.count().requests - before;
    delays.sort();
    println!(
        "{} jobs, {polls} polls, {requests} requests, ends seen after {:?} at most, {:?} in the median",
        ids.len(),
        delays.last(),
        delays.get(delays.len() / 2)
    );
    // A connection that the CE closes just then costs a request more.
    assert!(requests <= 2 * polls + 2, "{requests} requests in {polls} polls");
    assert!(delays.last().is_none_or(|delay| *delay < 2 * LATEST), "{delays:?}");
    site.arc.clean_jobs(&ids).unwrap();
}

#[test]
#[ignore = "needs an ARC-CE"]
fn a_watch_ends_at_its_deadline_at_a_goal_and_when_it_is_cancelled() {
    let site = Site::new();
    let ids = submit_all(&site, [script("sleep 600"), script("exit 0")]);
    assert_eq!(site.wait(&ids[1]), JobStatus::Completed);
    for watched in [&ids[..], &ids[..1]] {
        let begun = Instant::now();
        let report = site.arc.watch(watched).deadline(Duration::from_secs(3)).wait().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(60));
        assert_eq!((report.end, report.unreachable_since), (Some(WatchEnd::Deadline), None));
        let [running, ended @ ..] = &report.jobs[..] else { panic!() };
        assert_eq!(running.outcome, WatchOutcome::Pending, "{report:?}");
        assert!(running.status().is_some_and(|status| !status.is_final()));
        assert!(ended.iter().all(|job| job.outcome == WatchOutcome::Reached), "{report:?}");
    }

    // The CE publishes once a minute which jobs run.
    let report = site.arc.watch(&ids).until(ArcState::Running).deadline(PATIENCE).wait().unwrap();
    assert_eq!(report.end, Some(WatchEnd::Settled));
    assert_eq!(report.reached().count(), 2);
    assert_eq!(report.jobs[0].state, Some(ArcState::Running));

    let token = CancelToken::new();
    thread::scope(|scope| {
        let watch = site.arc.watch(&ids).cancel(&token);
        let waiting = scope.spawn(move || watch.wait());
        thread::sleep(Duration::from_millis(500));
        token.cancel();
        let begun = Instant::now();
        assert!(matches!(waiting.join().unwrap(), Err(Error::Cancelled)));
        assert!(begun.elapsed() < Duration::from_secs(30));
    });

    let change = |change: jasmin_arc::Result<Change>| change.unwrap();
    let mut watch = site.arc.watch(&ids[..1]).deadline(PATIENCE);
    assert_eq!(change(watch.next().unwrap()).to, Standing::State(ArcState::Running));
    site.arc.cancel_job(&ids[0]).unwrap();
    assert_eq!(watch.map(change).last().unwrap().to, Standing::State(ArcState::Killed));
}

#[test]
#[ignore = "needs an ARC-CE"]
fn a_job_that_is_cleaned_meanwhile_is_gone() {
    let site = Site::new();
    if !site.is_rest() {
        return;
    }
    let ids = submit_all(&site, [script("sleep 4"), script("sleep 600"), script("sleep 600")]);
    // The watch must not see the end of the job.
    let policy = PollPolicy::default().with_first_interval(Duration::from_secs(20)).with_max_interval(Duration::ZERO);
    let (sender, polled) = channel();
    let mut told: Vec<Change> = Vec::new();
    thread::scope(|scope| {
        let watch = site.arc.watch(&ids).poll(policy).deadline(PATIENCE);
        let watch = watch
            .on_poll(move |poll| {
                assert_eq!(poll.error, None);
                let _ = sender.send(());
                ControlFlow::Continue(())
            })
            .on_change(|change| {
                told.push(change.clone());
                if change.to.is_final() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        let waiting = scope.spawn(move || watch.wait());
        polled.recv().unwrap();
        assert_eq!(site.wait(&ids[0]), JobStatus::Completed);
        site.arc.clean_job(&ids[0]).unwrap();
        let report = waiting.join().unwrap().unwrap();
        assert_eq!(report.gone().count(), 1, "{report:?}");
        assert_eq!((&report.jobs[0].outcome, report.jobs[0].status()), (&WatchOutcome::Gone, None));
        assert_eq!(report.pending().count(), 2);
    });
    let last = told.last().unwrap();
    assert_eq!((&last.id, last.to), (&ids[0], Standing::Gone));
    site.arc.cancel_jobs(&ids[1..]).unwrap();
}

/// A-REX forgets one job after the other. Each is missed for the first time in a poll in which the one before is looked up.
#[test]
#[ignore = "needs an ARC-CE"]
fn jobs_that_disappear_one_after_the_other_are_gone() {
    let Some(ce) = Ce::start() else { return };
    let site = Site::of(&ce.config());
    let ids = submit_all(&site, (0..3).map(|_| script("sleep 600")));
    let queued = site.arc.watch(&ids).until(ArcState::Queuing).deadline(PATIENCE).wait().unwrap();
    assert_eq!(queued.reached().count(), ids.len());
    let policy = PollPolicy::default().with_first_interval(Duration::from_millis(500)).with_factor(1.0);
    let mut left: Vec<&JobId> = ids[1..].iter().collect();
    let mut gone = 0;
    let report = site
        .arc
        .watch(&ids)
        .poll(policy)
        .deadline(Duration::from_secs(30))
        .on_poll(|_| {
            if let Some(id) = left.pop() {
                forget(&ce.dir().join("control"), id);
            }
            ControlFlow::Continue(())
        })
        .on_change(|change| {
            gone += usize::from(change.to == Standing::Gone);
            if gone == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .wait()
        .unwrap();
    assert_eq!((report.end, report.gone().count()), (Some(WatchEnd::Stopped), 2), "{report:?}");
    site.arc.cancel_job(&ids[0]).unwrap();
}

/// Removes A-REX's records of a job.
fn forget(directory: &Path, id: &JobId) {
    let _ = fs::remove_dir_all(directory.join("jobs").join(in_pieces(id.local_id())));
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if entry.file_name().to_string_lossy().contains(id.local_id()) {
            let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        } else if path.is_dir() {
            forget(&path, id);
        }
    }
}

#[test]
#[ignore = "needs an ARC-CE"]
fn a_watch_of_all_jobs_sees_new_ones() {
    let site = Site::new();
    let watch = site.arc.watch_all().deadline(2 * PATIENCE);
    if !site.is_rest() {
        assert!(matches!(watch.wait(), Err(Error::Unsupported { .. })));
        return;
    }
    let ended = site.submit("true");
    site.wait(&ended);
    // Other tests have jobs on this CE too.
    let mut told: HashMap<JobId, Vec<Standing>> = HashMap::new();
    let mut later = None;
    for change in watch {
        let change = change.unwrap();
        assert_eq!(change.from, told.get(&change.id).map(|told| told[told.len() - 1].state().unwrap()), "{change}");
        told.entry(change.id.clone()).or_default().push(change.to);
        if change.id == ended {
            later = Some(site.submit("sleep 2"));
        }
        if later.as_ref() == Some(&change.id) && change.to.is_final() {
            break;
        }
    }
    assert_eq!(told[&ended], [Standing::State(ArcState::Finished)]);
    let told = &told[&later.unwrap()];
    assert_eq!(told.last(), Some(&Standing::State(ArcState::Finished)), "{told:?}");
}

#[test]
#[ignore = "needs an ARC-CE"]
fn delegations_are_renewed_during_a_watch() {
    let Some(control) = shared_control() else { return };
    let site = Site::of(std::env::var_os("JASMIN_ARC_CONFIG").unwrap().as_ref());
    if !site.is_rest() {
        return;
    }
    let id = site.arc.submit(&script("sleep 600").with_delegation(Delegation::Always)).unwrap();
    // A-REX tells the delegations of a job once it has accepted the job.
    assert_eq!(site.arc.watch([&id]).until(ArcState::Queuing).deadline(PATIENCE).wait().unwrap().reached().count(), 1);
    let before = stored_delegation(&control, &id);
    assert!(before.is_some());
    let token = CancelToken::new();
    let (sender, polled) = channel();
    thread::scope(|scope| {
        let watch = site.arc.watch([&id]).cancel(&token).deadline(3 * PATIENCE).on_poll(move |_| {
            let _ = sender.send(());
            ControlFlow::Continue(())
        });
        let waiting = scope.spawn(move || watch.wait());
        polled.recv().unwrap();
        site.arc.create_proxy().unwrap();
        eventually("the CE has new credentials", PATIENCE, || stored_delegation(&control, &id) != before);
        token.cancel();
        assert!(matches!(waiting.join().unwrap(), Err(Error::Cancelled)));
    });
    site.arc.cancel_job(&id).unwrap();
}

/// The credentials that A-REX has stored for a job, in a file whose path is the id of the delegation.
fn stored_delegation(control: &Path, id: &JobId) -> Option<Vec<u8>> {
    let record = fs::read_to_string(control_file(control, id, "local")).ok()?;
    let delegation = record.lines().find_map(|line| line.strip_prefix("delegationid="))?;
    fs::read(control.join("delegations").join(in_pieces(delegation))).ok()
}

#[test]
#[ignore = "needs an ARC-CE"]
fn a_ce_that_is_away_is_waited_for_until_the_deadline() {
    let site = Site::new();
    if !site.is_rest() {
        return;
    }
    let linked = Linked::to(site);
    let ids = submit_all(&linked.site, [script("sleep 6"), script("sleep 600")]);
    for fault in [Fault::Refuse, Fault::Silence] {
        linked.link.set(fault);
        let begun = Instant::now();
        let report = linked.arc.watch(&ids).deadline(Duration::from_secs(4)).wait().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(60), "{fault:?}: {:?}", begun.elapsed());
        assert_eq!(report.end, Some(WatchEnd::Deadline));
        assert!(report.unreachable_since.is_some() && report.unknown().count() == 2, "{fault:?}: {report:?}");
        linked.link.set(Fault::None);
    }
    // The CE goes away and comes back.
    let mut polls = 0;
    let mut was_away = false;
    let watch = linked.arc.watch(&ids[..1]).deadline(PATIENCE).on_poll(|poll| {
        polls += 1;
        was_away |= poll.unreachable_since.is_some();
        match polls {
            3 => linked.link.set(Fault::Refuse),
            5 => linked.link.set(Fault::Silence),
            7 => linked.link.set(Fault::None),
            _ => {}
        }
        ControlFlow::Continue(())
    });
    let report = watch.wait().unwrap();
    assert!(report.all_completed() && report.unreachable_since.is_none(), "{report:?}");
    assert!(was_away);
    linked.site.arc.cancel_job(&ids[1]).unwrap();
}

#[test]
#[ignore = "needs an ARC-CE"]
fn a_ce_that_is_killed_and_started_again_loses_no_change() {
    let Some(ce) = Ce::start() else { return };
    let site = Site::of(&ce.config());
    if !site.is_rest() {
        return;
    }
    let ids = submit_all(&site, (0..6).map(|n| script(&format!("sleep {}", 2 + 3 * n))));
    let arc: &ArcInterface = &site.arc;
    let (sender, polled) = channel();
    let mut told: HashMap<JobId, Vec<Standing>> = HashMap::new();
    let report = thread::scope(|scope| {
        let watch = arc.watch(&ids).deadline(2 * PATIENCE);
        let watch = watch.on_poll(move |poll| {
            let _ = sender.send(poll.unreachable_since);
            ControlFlow::Continue(())
        });
        let told = &mut told;
        let watch = watch.on_change(move |change| {
            told.entry(change.id.clone()).or_default().push(change.to);
            ControlFlow::Continue(())
        });
        let waiting = scope.spawn(move || watch.wait());
        polled.recv().unwrap();
        ce.kill();
        while polled.recv().unwrap().is_none() {}
        ce.restart();
        waiting.join().unwrap().unwrap()
    });
    assert_eq!((report.end, report.unreachable_since), (Some(WatchEnd::Settled), None), "{report:?}");
    for (id, job) in ids.iter().zip(&report.jobs) {
        let told = &told[id];
        assert_eq!(told.last(), Some(&Standing::State(job.state.unwrap())), "{told:?}");
        assert!(told.windows(2).all(|pair| pair[0] != pair[1] && !pair[0].is_final()), "{told:?}");
        assert_eq!(job.status(), Some(JobStatus::Completed), "{job:?}");
    }
}
