use std::thread;
use std::time::{Instant, SystemTime};

use tempfile::TempDir;

use super::super::tests::{calls, fake};
use super::*;
use crate::backend::fake::FakeBackend;
use crate::description::JobDescription;
use crate::error::ConnectionFailure;
use crate::job::ArcState;
use crate::watch::Standing;

/// A CE with jobs, which are polled every 20 ms.
struct Fake {
    arc: ArcInterface,
    backend: Arc<FakeBackend>,
    ids: Vec<JobId>,
    _directory: TempDir,
}

impl Fake {
    fn new(jobs: usize) -> Fake {
        let (arc, backend, directory) = fake();
        let submitted = arc.submit_jobs(vec![JobDescription::new("/bin/true"); jobs]).unwrap();
        let ids = submitted.into_iter().map(Result::unwrap).collect();
        Fake { arc, backend, ids, _directory: directory }
    }

    fn watch<'a>(&self) -> Watch<'a> {
        let policy = PollPolicy::default().with_first_interval(Duration::ZERO).with_factor(1.0);
        self.arc.watch(&self.ids).poll(policy)
    }

    fn set(&self, job: usize, state: ArcState) {
        self.backend.jobs().get_mut(self.ids[job].as_str()).unwrap().state = state;
    }

    fn set_away(&self, message: Option<&str>) {
        *self.backend.unreachable.lock().unwrap() = message.map(str::to_owned);
    }
}

fn outcomes(report: &WatchReport) -> Vec<WatchOutcome> {
    report.jobs.iter().map(|job| job.outcome.clone()).collect()
}

#[test]
fn a_watch_is_send_and_sync() {
    fn check<T: Send + Sync + fmt::Debug>(_: &T) {}
    check(&Fake::new(1).watch());
}

#[test]
fn a_watch_tells_every_change_and_where_the_jobs_stand() {
    let fake = Fake::new(3);
    let course = [ArcState::Preparing, ArcState::Running, ArcState::Finished];
    let mut told: Vec<Change> = Vec::new();
    let mut polls = 0;
    let watch = fake.watch().on_change(|change| {
        told.push(change.clone());
        ControlFlow::Continue(())
    });
    let report = watch
        .on_poll(|poll| {
            assert_eq!((poll.jobs, &poll.error), (3, &None));
            for job in 0..3 {
                // The second job ends two polls after the first one, and so on.
                if let Some(state) = course.get(polls / (job + 1)) {
                    fake.set(job, *state);
                }
            }
            polls += 1;
            ControlFlow::Continue(())
        })
        .wait()
        .unwrap();
    assert_eq!(outcomes(&report), [(); 3].map(|()| WatchOutcome::Reached));
    assert_eq!((report.end, report.unreachable_since), (Some(WatchEnd::Settled), None));
    assert!(report.all_completed() && report.with_status(JobStatus::Completed).count() == 3);
    for id in &fake.ids {
        let states: Vec<Standing> = told.iter().filter(|change| change.id == *id).map(|change| change.to).collect();
        let expected = [ArcState::Accepted, ArcState::Preparing, ArcState::Running, ArcState::Finished];
        assert_eq!(states, expected.map(Standing::State));
    }
}

#[test]
fn only_pending_jobs_are_asked_for_and_no_job_costs_nothing() {
    let fake = Fake::new(2);
    let before = calls(&fake.backend);
    let none: [JobId; 0] = [];
    let report = fake.arc.watch(none).wait().unwrap();
    assert_eq!((report.jobs, report.end), (Vec::new(), Some(WatchEnd::Settled)));
    assert_eq!(fake.arc.wait_jobs([] as [JobId; 0]).unwrap().len(), 0);
    assert_eq!(calls(&fake.backend), before);
    fake.set(0, ArcState::Failed);
    let mut watch = fake.watch();
    assert_eq!(watch.next().unwrap().unwrap().status(), Some(JobStatus::Failed));
    assert_eq!(watch.pending(), 1);
    fake.set(1, ArcState::Killed);
    assert_eq!(watch.next().unwrap().unwrap().to, Standing::State(ArcState::Accepted));
    assert_eq!(watch.next().unwrap().unwrap().to, Standing::State(ArcState::Killed));
    assert!(watch.next().is_none() && watch.next().is_none());
    assert_eq!(calls(&fake.backend), before + 2);
}

#[test]
fn a_deadline_is_an_answer() {
    let fake = Fake::new(2);
    fake.set(0, ArcState::Finished);
    fake.set(1, ArcState::Running);
    let begun = Instant::now();
    let report = fake.watch().deadline(Duration::from_millis(200)).wait().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert_eq!(report.end, Some(WatchEnd::Deadline));
    let [ended, running] = &report.jobs[..] else { panic!() };
    assert_eq!((&ended.outcome, &running.outcome), (&WatchOutcome::Reached, &WatchOutcome::Pending));
    assert_eq!((running.state, running.status()), (Some(ArcState::Running), Some(JobStatus::InProgress)));
    assert_eq!(report.pending().collect::<Vec<&WatchedJob>>(), [running]);

    // So is the one of the interface, except in the short forms, whose results are statuses.
    let limited = fake.arc.with_deadline(Duration::from_millis(100));
    assert_eq!(limited.watch(&fake.ids).wait().unwrap().end, Some(WatchEnd::Deadline));
    let results = limited.wait_jobs(&fake.ids).unwrap();
    assert!(matches!(results[..], [Ok(JobStatus::Completed), Err(Error::DeadlineExceeded { .. })]), "{results:?}");
    assert!(matches!(limited.wait_job(&fake.ids[1]), Err(Error::DeadlineExceeded { .. })));
    // With no time at all, nothing is asked.
    let before = calls(&fake.backend);
    let report = fake.watch().deadline(Duration::ZERO).wait().unwrap();
    assert!(matches!(&outcomes(&report)[..], [WatchOutcome::Unknown { .. }, WatchOutcome::Unknown { .. }]));
    assert_eq!(calls(&fake.backend), before);
}

#[test]
fn a_change_just_before_the_deadline_is_seen() {
    let fake = Fake::new(1);
    let slow = PollPolicy::default().with_first_interval(Duration::from_secs(600));
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(300));
            fake.set(0, ArcState::Finished);
        });
        let report = fake.arc.watch(&fake.ids).poll(slow).deadline(Duration::from_secs(2)).wait().unwrap();
        assert_eq!(report.reached().count(), 1, "{report:?}");
    });
}

#[test]
fn a_token_ends_a_watch_from_another_thread() {
    let fake = Fake::new(1);
    let token = CancelToken::new();
    let begun = Instant::now();
    let mut watch = fake.arc.watch(&fake.ids).poll(PollPolicy::default().with_first_interval(Duration::from_secs(600)));
    watch = watch.cancel(&token);
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(100));
            token.cancel();
        });
        assert!(watch.next().unwrap().is_ok());
        assert!(matches!(watch.next(), Some(Err(Error::Cancelled))));
    });
    assert!(watch.next().is_none());
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert_eq!(watch.report().pending().count(), 1);
}

#[test]
fn a_callback_can_stop_a_watch() {
    let fake = Fake::new(2);
    let mut told = 0;
    let report = fake
        .watch()
        .on_change(|_| {
            told += 1;
            ControlFlow::Break(())
        })
        .wait()
        .unwrap();
    assert_eq!((report.end, report.pending().count()), (Some(WatchEnd::Stopped), 2));
    assert_eq!(told, 1);
    let report = fake.watch().on_poll(|_| ControlFlow::Break(())).wait().unwrap();
    assert_eq!((report.end, report.pending().count()), (Some(WatchEnd::Stopped), 2));
}

#[test]
fn a_watch_of_all_jobs_finds_new_ones_and_goes_on() {
    let fake = Fake::new(2);
    fake.set(0, ArcState::Finished);
    let mut polls = 0;
    let mut told: Vec<Change> = Vec::new();
    let policy = PollPolicy::default().with_first_interval(Duration::ZERO).with_factor(1.0);
    let watch = fake.arc.watch_all().poll(policy).on_change(|change| {
        told.push(change.clone());
        ControlFlow::Continue(())
    });
    let report = watch
        .on_poll(|poll| {
            polls += 1;
            match polls {
                1 => assert_eq!((poll.jobs, poll.pending), (2, 2)),
                2 => assert_eq!((poll.jobs, poll.pending), (2, 1)),
                3 => fake.set_away(Some("down")),
                4 => fake.set_away(None),
                5 => fake.set(1, ArcState::Failed),
                // No job is pending now.
                6 => drop(fake.arc.submit(&JobDescription::new("/bin/true")).unwrap()),
                8 => assert_eq!((poll.jobs, poll.pending), (3, 1)),
                9 => return ControlFlow::Break(()),
                _ => {}
            }
            ControlFlow::Continue(())
        })
        .wait()
        .unwrap();
    assert_eq!((report.end, report.jobs.len(), report.pending().count()), (Some(WatchEnd::Stopped), 3, 1));
    let told: Vec<(&JobId, Option<ArcState>)> = told.iter().map(|change| (&change.id, change.from)).collect();
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(
        told.iter()
            .filter(|(id, _)| **id == fake.ids[1])
            .eq(&[(&fake.ids[1], None), (&fake.ids[1], Some(ArcState::Accepted))])
    );
    assert!(told.contains(&(&fake.ids[0], None)) && told[3].1.is_none());

    let report = fake.arc.watch_all().deadline(Duration::from_millis(100)).wait().unwrap();
    assert_eq!((report.end, report.jobs.len()), (Some(WatchEnd::Deadline), 3));
}

#[test]
fn a_ce_that_is_away_is_waited_for_and_reported() {
    let fake = Fake::new(1);
    fake.set_away(Some("down for maintenance"));
    let before = SystemTime::now();
    let report = fake.watch().deadline(Duration::from_millis(200)).wait().unwrap();
    assert_eq!(report.end, Some(WatchEnd::Deadline));
    assert!(report.unreachable_since.is_some_and(|since| since >= before && since <= SystemTime::now()));
    let [WatchOutcome::Unknown { message }] = &outcomes(&report)[..] else { panic!("{report:?}") };
    assert!(message.contains("down for maintenance"), "{message}");

    // It comes back, goes away, and comes back.
    let mut absences = Vec::new();
    let report = fake
        .watch()
        .on_poll(|poll| {
            absences.push(poll.unreachable_since);
            assert_eq!(poll.error.is_some(), poll.unreachable_since.is_some());
            match absences.len() {
                2 | 6 => fake.set_away(None),
                4 => fake.set_away(Some("down again")),
                8 => fake.set(0, ArcState::Finished),
                _ => {}
            }
            ControlFlow::Continue(())
        })
        .wait()
        .unwrap();
    assert_eq!((report.end, report.unreachable_since), (Some(WatchEnd::Settled), None));
    let pattern: Vec<bool> = absences.iter().map(Option::is_some).collect();
    assert_eq!(pattern, [true, true, false, false, true, true, false, false, false]);
    assert_eq!(absences[0], absences[1]);
    assert!(absences[0] < absences[4] && absences[4] == absences[5]);
}

#[test]
fn what_no_waiting_mends_ends_a_watch() {
    let fake = Fake::new(1);
    let poller = |has_responded| {
        let (jobs, mut pending) = Jobs::new([], 1, |_| Ok(0));
        let jobs = (Arc::new(Mutex::new(jobs)), pending.remove(0));
        let mut poller = Poller::new(fake.arc.clone(), 0, jobs, fake.arc.1.begin(), PollPolicy::default(), false);
        poller.has_responded = has_responded;
        poller
    };
    let refused = |code| Error::Refused { endpoint: "fake".into(), code, message: String::new() };
    let connection =
        |failure| Error::Connection { endpoint: "fake".into(), failure, message: String::new(), source: None };
    let untrusted = Error::Untrusted { endpoint: "fake".into(), message: "expired".into() };
    for (error, at_first, later) in [
        (connection(ConnectionFailure::TimedOut), true, true),
        (connection(ConnectionFailure::Refused), true, true),
        (connection(ConnectionFailure::InvalidResponse), true, true),
        (connection(ConnectionFailure::HostNotFound), false, true),
        (refused(500), true, true),
        (refused(503), true, true),
        (refused(404), false, true),
        (refused(403), false, false),
        (untrusted, false, false),
        (Error::Token { path: None, message: "expired".into(), source: None }, false, false),
        (Error::Cancelled, false, false),
        (Error::Exiting, false, false),
    ] {
        assert_eq!(poller(false).may_pass(&error), at_first, "{error}");
        assert_eq!(poller(true).may_pass(&error), later, "{error}");
    }
    std::fs::remove_file(fake.arc.config().client_key()).unwrap();
    std::fs::remove_file(fake.arc.config().proxy_file()).unwrap();
    let mut watch = fake.watch();
    assert!(matches!(watch.next(), Some(Err(Error::ProxyGeneration { .. }))));
    assert!(watch.next().is_none());
    let report = watch.report();
    assert!(report.end.is_none() && report.unknown().count() == 1, "{report:?}");
    assert!(matches!(fake.watch().wait(), Err(Error::ProxyGeneration { .. })));
}

#[test]
fn a_job_that_is_cleaned_meanwhile_is_gone() {
    let fake = Fake::new(2);
    fake.set(0, ArcState::Running);
    let mut watch = fake.watch();
    for _ in 0..2 {
        watch.next().unwrap().unwrap();
    }
    fake.backend.jobs().remove(fake.ids[0].as_str());
    let change = watch.next().unwrap().unwrap();
    assert_eq!((change.from, change.to), (Some(ArcState::Running), Standing::Gone));
    fake.set(1, ArcState::Finished);
    let report = watch.wait().unwrap();
    assert_eq!(outcomes(&report), [WatchOutcome::Gone, WatchOutcome::Reached]);
    assert_eq!((report.gone().count(), report.jobs[0].status()), (1, None));
    let results = fake.arc.wait_jobs(&fake.ids).unwrap();
    assert!(matches!(&results[..], [Err(Error::JobNotFound { job_id, .. }), Ok(_)] if *job_id == fake.ids[0]));
    assert!(matches!(fake.arc.wait_job(&fake.ids[0]), Err(Error::JobNotFound { .. })));
}

#[test]
fn jobs_are_watched_until_a_goal() {
    let fake = Fake::new(3);
    [ArcState::Queuing, ArcState::Running, ArcState::Failed].into_iter().enumerate().for_each(|(n, s)| fake.set(n, s));
    let pending = |goal: WatchGoal| {
        let report = fake.watch().until(goal).deadline(Duration::from_millis(100)).wait().unwrap();
        outcomes(&report).iter().filter(|outcome| **outcome == WatchOutcome::Pending).count()
    };
    let goals = [ArcState::Accepted.into(), JobStatus::NotStarted.into(), ArcState::Running.into(), WatchGoal::End];
    assert_eq!(goals.map(pending), [0, 0, 1, 2]);
}

#[test]
fn every_poll_checks_the_proxy_certificate() {
    let fake = Fake::new(1);
    let proxy = fake.arc.config().proxy_file();
    let key = fake.arc.config().client_key();
    let mut watch = fake.watch();
    watch.next().unwrap().unwrap();
    std::fs::remove_file(proxy).unwrap();
    std::fs::remove_file(key).unwrap();
    // The certificate that was valid at the beginning does not count.
    assert!(matches!(watch.next(), Some(Err(Error::ProxyGeneration { .. }))));
}
