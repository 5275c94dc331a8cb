use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tempfile::TempDir;

use super::super::tests::fake_at;
use super::*;
use crate::backend::fake::{FakeBackend, Fate};
use crate::description::JobDescription;
use crate::error::ErrorKind;
use crate::job::{ArcState, JobStatus};
use crate::service::{QueueInfo, ServingState};
use crate::watch::{PollPolicy, Standing, WatchEnd, WatchOutcome};

struct Member {
    backend: Arc<FakeBackend>,
    _directory: TempDir,
}

impl Member {
    /// Sets what the CE publishes: one queue.
    fn publish(&self, free_slots: u64, max_slots: u64) {
        let queue = QueueInfo { name: "all".into(), max_slots: Some(max_slots), ..QueueInfo::default() };
        *self.backend.service.lock().unwrap() = ServiceInfo {
            queues: vec![queue],
            total_slots: Some(1000),
            used_slots: Some(1000 - free_slots),
            other_used_slots: Some(0),
            ..ServiceInfo::default()
        };
    }

    fn away(&self, is_away: bool) {
        *self.backend.unreachable.lock().unwrap() = is_away.then(|| "away".into());
    }

    fn jobs(&self) -> usize {
        self.backend.jobs().len()
    }
}

/// A pool of two CEs in memory with 10 and 5 free slots.
fn pool() -> (ArcPool, [Member; 2]) {
    let (mut arcs, mut members) = (Vec::new(), Vec::new());
    for (host, free) in [("a.example.org", 10), ("b.example.org", 5)] {
        let (arc, backend, directory) = fake_at(host);
        let member = Member { backend, _directory: directory };
        member.publish(free, 100);
        arcs.push(arc);
        members.push(member);
    }
    let Ok(members) = members.try_into() else { unreachable!() };
    (ArcPool::new(arcs).unwrap(), members)
}

fn job() -> JobDescription {
    JobDescription::new("/bin/true")
}

fn host(id: &JobId) -> &str {
    id.as_str().trim_start_matches("https://").split(':').next().unwrap()
}

#[test]
fn pools_need_different_ces() {
    let (arc, _backend, _directory) = fake_at("a.example.org");
    for interfaces in [vec![], vec![arc.clone(), arc.clone()]] {
        assert_eq!(ArcPool::new(interfaces).unwrap_err().kind(), ErrorKind::InvalidConfig);
    }
    fn shared<T: Send + Sync + std::fmt::Debug>(_: &T) {}
    let pool = ArcPool::new([arc]).unwrap();
    shared(&pool.clone());
    shared(&pool.pings());
    // One CE has all bare ids.
    assert!(pool.interface_of(&"a1".into()).is_ok());
    assert!(pool.with_deadline(Duration::from_secs(1)).with_cancel(&CancelToken::new()).interfaces().len() == 1);
}

#[test]
fn jobs_go_where_slots_are_free() {
    let (pool, [a, b]) = pool();
    let ids: Vec<JobId> = pool.submit_jobs((0..9).map(|_| job())).into_iter().map(Result::unwrap).collect();
    // The pool counts what it has submitted: 10 and 5 free slots become 3 and 3.
    assert_eq!((a.jobs(), b.jobs()), (7, 2));
    assert!(ids.iter().all(|id| ["a.example.org", "b.example.org"].contains(&host(id))));
    let more: Vec<JobId> = pool.submit_jobs((0..4).map(|_| job())).into_iter().map(Result::unwrap).collect();
    assert_eq!((a.jobs(), b.jobs(), more.len()), (9, 4, 4));
}

#[test]
fn jobs_go_where_they_fit() {
    let (pool, [a, b]) = pool();
    a.publish(10, 1);
    let results = pool.submit_jobs([job().with_slots(2), job(), job().with_slots(500)]);
    assert_eq!(host(results[0].as_ref().unwrap()), "b.example.org");
    assert_eq!(host(results[1].as_ref().unwrap()), "a.example.org");
    let Err(Error::NoTargetsAvailable { message, .. }) = &results[2] else { panic!("{results:?}") };
    assert!(message.contains("a.example.org") && message.contains("500 slots exceed"), "{message}");
    assert_eq!((a.jobs(), b.jobs()), (1, 1));
    assert!(matches!(pool.submit(&job().with_slots(0)), Err(Error::InvalidJobDescription { .. })));
}

#[test]
fn jobs_go_to_the_next_ce_only_if_they_do_not_exist() {
    let (pool, [a, b]) = pool();
    // The pool knows what both offer, and then one is away.
    pool.submit(&job()).unwrap();
    a.away(true);
    assert_eq!(host(&pool.submit(&job().with_key("k")).unwrap()), "b.example.org");
    a.away(false);
    // The answer is lost, and so is the search.
    let (pool, [a2, b2]) = super::tests::pool();
    *a2.backend.fate.lock().unwrap() = Fate::AnswerLost;
    a2.backend.blind.store(true, Ordering::Relaxed);
    let error = pool.submit(&job().with_key("k")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SubmissionUnknown);
    assert_eq!((a2.jobs(), b2.jobs()), (1, 0));
    // The key stays with the CE that may have the job, although the other one has more free slots.
    a2.publish(0, 100);
    *lock_offers(&pool) = vec![None, None];
    a2.backend.blind.store(false, Ordering::Relaxed);
    assert_eq!(host(&pool.submit(&job().with_key("k")).unwrap()), "a.example.org");
    assert_eq!((a2.jobs(), b2.jobs()), (1, 0));
    a2.away(true);
    assert!(pool.submit(&job().with_key("k")).is_ok(), "the journal has the id");
    assert_eq!((a2.jobs(), b2.jobs()), (1, 0));
    drop((a, b));
}

fn lock_offers(pool: &ArcPool) -> std::sync::MutexGuard<'_, Vec<Option<Offer>>> {
    pool.offers.lock().unwrap()
}

#[test]
fn the_error_of_the_last_ce_is_returned() {
    let (pool, [a, b]) = pool();
    let refused = pool.submit(&JobDescription::new("/refused")).unwrap_err();
    assert!(matches!(refused, Error::JobSubmission { job_id: None, .. }), "{refused:?}");
    assert_eq!((a.jobs(), b.jobs()), (0, 0));
    *lock_offers(&pool) = vec![None, None];
    a.away(true);
    b.away(true);
    assert!(pool.submit(&job()).unwrap_err().is_retryable());
    // That the job fits no CE is said only if all were asked.
    b.away(false);
    assert!(pool.submit(&job().with_slots(500)).unwrap_err().is_retryable());
}

#[test]
fn closed_ces_get_no_jobs() {
    let (pool, [a, b]) = pool();
    a.backend.service.lock().unwrap().state = Some(ServingState::Draining);
    pool.submit_jobs((0..3).map(|_| job())).into_iter().for_each(|result| drop(result.unwrap()));
    assert_eq!((a.jobs(), b.jobs()), (0, 3));
}

#[test]
fn jobs_with_the_same_key_are_one() {
    let (pool, [a, b]) = pool();
    let keyed = job().with_key("k");
    let results = pool.submit_jobs([&keyed, &job(), &keyed]);
    let ids: Vec<&JobId> = results.iter().map(|result| result.as_ref().unwrap()).collect();
    assert!(ids[0] == ids[2] && ids[0] != ids[1]);
    assert_eq!(a.jobs() + b.jobs(), 2);
    assert_eq!(pool.find_submission("k").unwrap().as_ref(), Some(ids[0]));
    assert_eq!(pool.find_submission("other").unwrap(), None);
    // Nobody may conclude from a CE that is away that there is no job.
    b.away(true);
    assert!(pool.find_submission("another").is_err());
    b.away(false);

    // Threads take turns with a key.
    let all: Vec<JobId> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| pool.submit(&job().with_key("raced")).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(all.iter().all(|id| *id == all[0]), "{all:?}");
    assert_eq!(a.jobs() + b.jobs(), 3);
}

#[test]
fn operations_find_the_ce_by_the_id() {
    let (pool, [a, b]) = pool();
    let ids: Vec<JobId> = pool.submit_jobs((0..12).map(|_| job())).into_iter().map(Result::unwrap).collect();
    assert!(a.jobs() > 0 && b.jobs() > 0);
    let unknown = JobId::from("https://c.example.org:443/arex/rest/1.0/jobs/x");
    let bare = JobId::from("1");
    let mut asked = ids.clone();
    asked.splice(1..1, [unknown.clone(), bare]);
    let in_order = pool.job_statuses(&asked).in_order();
    assert_eq!(in_order.len(), 14);
    for (index, status) in in_order.iter().enumerate() {
        assert_eq!(matches!(status, Err(Error::JobNotFound { .. })), [1, 2].contains(&index), "{status:?}");
    }
    let mut seen: Vec<JobId> = pool
        .jobs(&ids)
        .map(|(id, job)| (id, job.unwrap().id))
        .map(|(id, own)| {
            assert_eq!(id, own);
            id
        })
        .collect();
    seen.sort();
    let mut expected = ids.clone();
    expected.sort();
    assert_eq!(seen, expected);
    assert!(!pool.job_status(&ids[0]).unwrap().is_final() && pool.job(&unknown).is_err());
    assert!(pool.follow(&unknown, "stdout.txt").is_err() && pool.interface_of(&unknown).is_err());
    for id in &ids {
        assert_eq!(host(id), pool.interface_of(id).unwrap().config().arc_server());
        assert!(pool.list_files(id).unwrap().files.is_empty());
        assert!(pool.diagnostics(id).unwrap().parts.is_empty());
    }
    assert!(pool.cancel_jobs(&ids).in_order().iter().all(Result::is_ok));
    assert!(pool.clean_jobs(&ids).in_order().iter().all(Result::is_ok));
    assert_eq!((a.jobs(), b.jobs()), (0, 0));
    let none: [JobId; 0] = [];
    assert_eq!(pool.job_statuses(&none).len(), 0);
    assert_eq!(pool.pings().filter(|(_, ping)| ping.is_ok()).count(), 2);
}

#[test]
fn a_dead_ce_delays_nothing_of_the_others() {
    let (pool, [a, b]) = pool();
    let ids: Vec<JobId> = pool.submit_jobs((0..12).map(|_| job())).into_iter().map(Result::unwrap).collect();
    let of_a = ids.iter().filter(|id| host(id) == "a.example.org").count();
    // While this is held, the CE responds to nothing.
    let silent = b.backend.unreachable.lock().unwrap();
    let mut results = pool.job_statuses(&ids);
    for _ in 0..of_a {
        let (id, status) = results.next().unwrap();
        assert_eq!(host(&id), "a.example.org");
        status.unwrap();
    }
    assert_eq!(results.len(), ids.len() - of_a);
    let mut infos = pool.service_infos();
    assert_eq!(infos.next().unwrap().0, "https://a.example.org:443/arex");
    drop(silent);
    b.away(true);
    for (id, status) in results {
        assert_eq!(host(&id), "b.example.org");
        drop(status);
    }
    // An error of a call is the error of each of its jobs, and of no other.
    for (id, status) in pool.job_statuses(&ids) {
        assert_eq!(status.is_ok(), host(&id) == "a.example.org", "{id}: {status:?}");
        assert!(status.is_ok() || status.unwrap_err().is_retryable());
    }
    drop(a);
}

#[test]
fn a_silent_ce_does_not_delay_submissions() {
    let (pool, [a, b]) = pool();
    let silent = b.backend.unreachable.lock().unwrap();
    assert_eq!(host(&pool.submit(&job()).unwrap()), "a.example.org");
    drop(silent);
    assert_eq!(a.jobs(), 1);
}

#[test]
fn a_wait_returns_each_job_when_it_has_ended() {
    let (pool, [a, b]) = pool();
    let ids: Vec<JobId> = pool.submit_jobs((0..12).map(|_| job())).into_iter().map(Result::unwrap).collect();
    let of_a: Vec<&JobId> = ids.iter().filter(|id| host(id) == "a.example.org").collect();
    let end = |member: &Member, id: &JobId, state| member.backend.jobs().get_mut(id.as_str()).unwrap().state = state;
    let mut asked = ids.clone();
    asked.push(of_a[0].clone());
    let mut results = pool.wait_jobs(&asked);
    // The other CE is away, and the other jobs run.
    b.away(true);
    end(&a, of_a[0], ArcState::Finished);
    for _ in 0..2 {
        let (id, status) = results.next().unwrap();
        assert_eq!((&id, status.unwrap()), (of_a[0], JobStatus::Completed));
    }
    end(&a, of_a[1], ArcState::Failed);
    assert_eq!(results.next().unwrap().1.unwrap(), JobStatus::Failed);
    a.backend.jobs().remove(of_a[2].as_str());
    let (id, gone) = results.next().unwrap();
    assert!(&id == of_a[2] && matches!(gone, Err(Error::JobNotFound { .. })) || of_a.len() < 3, "{id}: {gone:?}");
    drop(results);

    let begun = std::time::Instant::now();
    let late = pool.with_deadline(Duration::from_millis(200)).wait_jobs([of_a[3], of_a[0]]).in_order();
    assert!(matches!(late[..], [Err(Error::DeadlineExceeded { .. }), Ok(JobStatus::Completed)]), "{late:?}");
    assert!(begun.elapsed() < Duration::from_secs(30));
}

/// Sets the state of a job on any of the CEs.
fn set(members: &[Member], id: &JobId, state: ArcState) {
    members.iter().for_each(|member| {
        member.backend.jobs().get_mut(id.as_str()).into_iter().for_each(|job| job.state = state);
    });
}

fn quickly() -> PollPolicy {
    PollPolicy::default().with_first_interval(Duration::ZERO).with_factor(1.0)
}

#[test]
fn a_watch_sees_the_jobs_of_all_ces() {
    let (pool, members) = pool();
    let ids: Vec<JobId> = pool.submit_jobs((0..12).map(|_| job())).into_iter().map(Result::unwrap).collect();
    let mut asked = ids.clone();
    asked.insert(3, "https://c.example.org:443/arex/rest/1.0/jobs/x".into());
    asked.push(ids[0].clone());
    let mut polls = 0;
    let mut seen: Vec<(JobId, Standing)> = Vec::new();
    let watch = pool.watch(&asked).poll(quickly()).deadline(Duration::from_secs(60)).on_poll(|poll| {
        polls += 1;
        assert!((poll.jobs, poll.error.as_ref()) == (13, None) && poll.pending <= 12, "{poll:?}");
        // Each job in its turn.
        ids.iter().take(polls).for_each(|id| set(&members, id, ArcState::Finished));
        ControlFlow::Continue(())
    });
    let report = watch
        .on_change(|change| {
            seen.push((change.id.clone(), change.to));
            ControlFlow::Continue(())
        })
        .wait()
        .unwrap();
    assert_eq!((report.end, report.unreachable_since), (Some(WatchEnd::Settled), None));
    let order: Vec<&JobId> = report.jobs.iter().map(|job| &job.id).collect();
    assert_eq!(order, asked.iter().collect::<Vec<_>>());
    assert_eq!((report.reached().count(), report.unknown().count()), (13, 1));
    assert!(report.jobs[3].to_string().contains("any CE of the pool"), "{}", report.jobs[3]);
    for id in &ids {
        let of_one: Vec<Standing> = seen.iter().filter(|(seen, _)| seen == id).map(|(_, to)| *to).collect();
        let expected = [ArcState::Accepted, ArcState::Finished].map(Standing::State);
        assert!(of_one == expected || of_one == expected[1..], "{of_one:?}");
    }
    assert_eq!(pool.wait_job(&ids[0]).unwrap(), JobStatus::Completed);
    assert_eq!(pool.watch([&asked[3]]).wait().unwrap().end, Some(WatchEnd::Settled));
}

#[test]
fn a_watch_goes_on_without_a_ce_that_is_away() {
    let (pool, members) = pool();
    let ids: Vec<JobId> = pool.submit_jobs((0..12).map(|_| job())).into_iter().map(Result::unwrap).collect();
    let of_a = |id: &&JobId| host(id) == "a.example.org";
    // One CE does not respond at all.
    let silent = members[1].backend.unreachable.lock().unwrap();
    ids.iter().filter(of_a).for_each(|id| set(&members[..1], id, ArcState::Finished));
    let ends = pool.watch(&ids).take(ids.iter().filter(of_a).count());
    assert!(ends.map(Result::unwrap).all(|change| change.status() == Some(JobStatus::Completed)));
    drop(silent);

    members[1].away(true);
    let report = pool.watch(&ids).poll(quickly()).deadline(Duration::from_millis(300)).wait().unwrap();
    assert_eq!((report.end, report.unreachable_since.is_some()), (Some(WatchEnd::Deadline), true));
    for job in &report.jobs {
        let is_unknown = matches!(&job.outcome, WatchOutcome::Unknown { message } if message.contains("away"));
        assert_eq!(is_unknown, !of_a(&&job.id), "{job}");
    }

    // It comes back.
    let mut watch = pool.watch(&ids).poll(quickly()).on_poll(|poll| {
        if poll.error.is_some() {
            members[1].away(false);
            ids.iter().for_each(|id| set(&members, id, ArcState::Finished));
        }
        ControlFlow::Continue(())
    });
    assert_eq!(watch.by_ref().map(Result::unwrap).filter(|change| change.to.is_final()).count(), ids.len());
    assert_eq!(watch.report().unreachable_since, None);
}

#[test]
fn an_error_ends_the_watch_of_one_ce_only() {
    let (pool, members) = pool();
    let ids: Vec<JobId> = pool.submit_jobs((0..12).map(|_| job())).into_iter().map(Result::unwrap).collect();
    let of_a = |id: &JobId| host(id) == "a.example.org";
    let break_credentials = |index: usize| {
        let config = pool.interfaces()[index].config();
        for path in [config.proxy_file(), config.client_key()] {
            std::fs::remove_file(path).unwrap();
        }
    };
    break_credentials(1);
    ids.iter().for_each(|id| set(&members, id, ArcState::Finished));
    let report = pool.watch(&ids).wait().unwrap();
    assert_eq!(report.end, Some(WatchEnd::Settled));
    for job in &report.jobs {
        assert_eq!(job.outcome == WatchOutcome::Reached, of_a(&job.id), "{job}");
        assert_eq!(job.to_string().contains("proxy certificate"), !of_a(&job.id), "{job}");
    }
    let (changes, errors): (Vec<_>, Vec<_>) = pool.watch(&ids).partition(Result::is_ok);
    assert_eq!((changes.len(), errors.len()), (ids.iter().filter(|id| of_a(id)).count(), 1));
    break_credentials(0);
    assert!(matches!(pool.watch(&ids).wait(), Err(Error::ProxyGeneration { .. })));
}

#[test]
fn a_thread_that_panics_ends_the_watch_of_its_ce() {
    let (pool, [a, b]) = pool();
    let ids = [&pool.members[0], &pool.members[1]].map(|member| member.submit(&job()).unwrap());
    b.backend.jobs().get_mut(ids[1].as_str()).unwrap().state = ArcState::Finished;
    // The next call to the first CE panics.
    let unreachable = Arc::clone(&a.backend.unreachable);
    let poison = move || {
        let _locked = unreachable.lock().unwrap();
        panic!("this poisons the lock");
    };
    std::thread::spawn(poison).join().unwrap_err();
    // An open watch of the other CE keeps the channel open.
    let begun = Instant::now();
    let watch = pool.watch_all().poll(quickly()).deadline(Duration::from_secs(60));
    let errors: Vec<Error> = watch.filter_map(Result::err).take(1).collect();
    assert!(matches!(errors[..], [Error::Arc { .. }]), "{errors:?}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    let report = pool.watch(&ids).poll(quickly()).deadline(Duration::from_secs(30)).wait().unwrap();
    assert_eq!((report.end, report.unknown().count()), (Some(WatchEnd::Settled), 1));
}

#[test]
fn a_watch_of_several_ces_ends_when_it_is_told_to() {
    let (pool, _members) = pool();
    let ids: Vec<JobId> = pool.submit_jobs((0..12).map(|_| job())).into_iter().map(Result::unwrap).collect();
    let begun = std::time::Instant::now();
    let token = CancelToken::new();
    let slow = PollPolicy::default().with_first_interval(Duration::from_secs(600));
    let mut watch = pool.watch(&ids).poll(slow.clone()).cancel(&token);
    assert_eq!(watch.by_ref().take(ids.len()).filter_map(Result::ok).count(), ids.len());
    token.cancel();
    assert!(matches!(watch.next(), Some(Err(Error::Cancelled))));
    assert!(watch.next().is_none() && watch.report().pending().count() == ids.len());
    drop(watch);
    assert!(matches!(pool.watch(&ids).cancel(&token).wait(), Err(Error::Cancelled)));

    let report = pool.watch(&ids).poll(slow.clone()).on_change(|_| ControlFlow::Break(())).wait().unwrap();
    assert_eq!(report.end, Some(WatchEnd::Stopped));
    // The threads end with the watch.
    let mut watch = pool.watch(&ids).poll(slow);
    watch.next().unwrap().unwrap();
    drop(watch);
    let owners = || pool.members.iter().map(|member| Arc::strong_count(&member.0)).max().unwrap();
    while owners() > 1 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{} owners", owners());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_fetch_is_from_all_ces() {
    let (pool, members) = pool();
    let ids: Vec<JobId> = pool.submit_jobs((0..12).map(|_| job())).into_iter().map(Result::unwrap).collect();
    for id in &ids {
        set(&members, id, ArcState::Finished);
        for member in &members {
            if let Some(job) = member.backend.jobs().get_mut(id.as_str()) {
                job.files = vec![("result.txt".into(), id.as_str().into(), Some(id.as_str().len() as u64))];
            }
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let name = |id: &JobId| format!("{} {}", host(id), id.local_id());
    let fetched =
        pool.fetch(&ids, move |fetch| fetch.files(["result.txt"]).to(&path).named(move |id, _| name(id).into()));
    for (id, fetched) in fetched {
        assert_eq!(fetched.unwrap().id, id);
        assert_eq!(std::fs::read_to_string(directory.path().join(name(&id))).unwrap(), id.as_str());
    }
    members[1].away(true);
    let fetched = pool.fetch(&ids, |fetch| fetch.files(["none"])).in_order();
    for (id, fetched) in ids.iter().zip(fetched) {
        assert_eq!(fetched.is_ok(), host(id) == "a.example.org", "{id}");
    }
}
