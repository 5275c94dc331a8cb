//! Operations while the connection to the CE or the CE itself fails.
//!
//! For each fault and operation: the call ends in time with the right error, no job is lost or doubled, and the interface
//! works again once the fault is gone. The table is part of docs/reliability.md.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use jasmin_arc::{ArcInterface, Error, ErrorKind, JobDescription, JobId, JobStatus, Result};
use serde_json::json;

use crate::common::{PATIENCE, Site, eventually, is_testbed};
use crate::link::{Act, Direction, Fault, Link, Phase};
use crate::testbed::{Ce, jobs_named, shared_control};

/// A site whose interface reaches the CE through a link.
pub(crate) struct Linked {
    pub(crate) site: Site,
    pub(crate) link: Link,
    /// The interface through the link.
    pub(crate) arc: ArcInterface,
}

/// The time limit of the interface through the link.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(2);

/// A call that fails takes at most the time limit. The rest is for slow machines and for looking up lost submissions.
const LONGEST_CALL: Duration = Duration::from_secs(30);

impl Linked {
    pub(crate) fn new() -> Linked {
        Linked::to(Site::new())
    }

    /// The time limit is for tests in which the CE must respond, also on a busy machine.
    pub(crate) fn patient(site: Site) -> Linked {
        Linked::with_timeout(site, Duration::from_secs(20))
    }

    pub(crate) fn to(site: Site) -> Linked {
        Linked::with_timeout(site, TIMEOUT)
    }

    pub(crate) fn with_timeout(site: Site, timeout: Duration) -> Linked {
        let endpoint = site.arc.config().endpoint_url().unwrap();
        let (host, path) = endpoint.trim_start_matches("https://").split_once('/').unwrap();
        let link = Link::to(host.rsplit_once(':').unwrap().1.parse().unwrap());
        let server = format!("localhost:{}/{path}", link.port());
        let config = site.another(json!({"ARC_SERVER": server})).config().clone();
        let arc = ArcInterface::builder().config(config).timeout(timeout).no_log().build().unwrap();
        Linked { site, link, arc }
    }

    /// The id of a job in the form that both interfaces of the site understand.
    fn submit(&self, script: &str) -> JobId {
        JobId::from(self.site.submit(script).local_id())
    }

    /// Waits until calls succeed again after a fault.
    fn recover(&self, probe: &JobId) {
        self.link.set(Fault::None);
        eventually("the interface works again", PATIENCE, || match self.arc.job_status(probe) {
            Ok(_) => true,
            Err(error) if error.is_retryable() => false,
            Err(error) => panic!("{error:?}"),
        });
    }
}

#[test]
#[ignore = "needs an ARC-CE"]
fn the_link_recognises_requests() {
    let linked = Linked::new();
    let Linked { arc, link, .. } = &linked;
    let id = arc.submit_job("/bin/sleep", &["60"], &[]).unwrap();
    arc.job_status(&id).unwrap();
    let before = link.count();
    arc.job_status(&id).unwrap();
    let after = link.count();
    // A-REX's record, and the published status if ten seconds have passed.
    let requests = after.requests - before.requests;
    assert!((1..=2).contains(&requests) && after.connections == before.connections, "{before:?} {after:?}");
    for phase in [Phase::Before, Phase::Within(10), Phase::After, Phase::Response(100)] {
        link.arm(Fault::Request { request: 1, phase, act: Act::Hold(Duration::from_millis(300)) }, 1);
        let begun = Instant::now();
        arc.job_status(&id).unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(300), "{phase:?}");
        assert_eq!(link.count().connections, before.connections);
    }
    assert_eq!(link.count().strikes, 4);
    arc.cancel_job(&id).unwrap();
}

/// A row of the table.
struct Row {
    name: &'static str,
    /// The fault at the request that matters, given its number.
    fault: fn(u64) -> Fault,
    /// The kinds of error that the fault may cause.
    kinds: &'static [ErrorKind],
}

const fn request(request: u64, phase: Phase, act: Act) -> Fault {
    Fault::Request { request, phase, act }
}

const BROKEN: &[ErrorKind] = &[ErrorKind::Connection];
const SILENT: &[ErrorKind] = &[ErrorKind::TimedOut];

const ROWS: &[Row] = &[
    Row { name: "port refuses", fault: |_| Fault::Refuse, kinds: &[ErrorKind::ConnectionRefused] },
    Row { name: "reset before the request", fault: |n| request(n, Phase::Before, Act::Reset), kinds: BROKEN },
    Row { name: "reset within the request", fault: |n| request(n, Phase::Within(150), Act::Reset), kinds: BROKEN },
    Row { name: "response lost", fault: |n| request(n, Phase::After, Act::Reset), kinds: BROKEN },
    Row { name: "reset within the response", fault: |n| request(n, Phase::Response(100), Act::Reset), kinds: BROKEN },
    Row { name: "response truncated", fault: |n| request(n, Phase::Response(200), Act::Close), kinds: BROKEN },
    Row { name: "silence before the request", fault: |n| request(n, Phase::Before, Act::Silence), kinds: SILENT },
    Row { name: "silence after the request", fault: |n| request(n, Phase::After, Act::Silence), kinds: SILENT },
    Row {
        name: "request delivered after the time limit",
        fault: |n| request(n, Phase::Within(150), Act::Hold(Duration::from_secs(4))),
        kinds: SILENT,
    },
    Row { name: "silence at once", fault: |_| Fault::Silence, kinds: SILENT },
    Row {
        name: "16 bytes each 0.2 s",
        fault: |_| Fault::Trickle { bytes: 16, pause: Duration::from_millis(200) },
        kinds: SILENT,
    },
    Row {
        name: "TLS handshake, 1 byte in 5 s",
        fault: |_| Fault::Trickle { bytes: 1, pause: Duration::from_secs(5) },
        kinds: SILENT,
    },
    Row {
        name: "TLS handshake reset",
        fault: |_| Fault::Bytes { direction: Direction::Down, bytes: 300, act: Act::Reset },
        kinds: BROKEN,
    },
    Row {
        name: "reset at random moments",
        fault: |n| Fault::Random { seed: 7 + n, up_to: 8000, act: Act::Reset },
        kinds: BROKEN,
    },
];

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Operation {
    Submit(usize),
    Status,
    Details,
    Cancel,
    Save,
    Clean,
    Mismatches,
}

const OPERATIONS: [Operation; 8] = [
    Operation::Submit(1),
    Operation::Submit(20),
    Operation::Status,
    Operation::Details,
    Operation::Cancel,
    Operation::Save,
    Operation::Clean,
    Operation::Mismatches,
];

/// What became of an operation.
struct Cell {
    kind: Option<ErrorKind>,
    elapsed: Duration,
    lost: usize,
    doubled: usize,
}

/// The jobs that an operation is tried on.
struct Jobs {
    running: JobId,
    ended: JobId,
    /// One job for each row that cancels it or removes it.
    victims: Vec<JobId>,
}

impl Jobs {
    fn new(linked: &Linked, operation: Operation) -> Jobs {
        let many = |job: JobDescription| -> Vec<JobId> {
            let ids = linked.site.arc.submit_jobs(vec![job; ROWS.len()]).unwrap();
            ids.into_iter().map(|id| JobId::from(id.unwrap().local_id())).collect()
        };
        let victims = match operation {
            Operation::Cancel => many(JobDescription::new("/bin/sleep").with_arg("600")),
            Operation::Clean => many(JobDescription::new("/bin/true")),
            _ => Vec::new(),
        };
        let running = linked.submit("sleep 600");
        let ended = linked.submit("printf done");
        assert_eq!(linked.site.wait(&ended), JobStatus::Completed);
        if operation == Operation::Clean {
            victims.iter().for_each(|id| assert_eq!(linked.site.wait(id), JobStatus::Completed));
        }
        Jobs { running, ended, victims }
    }
}

#[test]
#[ignore = "needs an ARC-CE"]
fn every_operation_survives_every_fault_of_the_connection() {
    if !is_testbed() || !Site::new().is_rest() {
        return;
    }
    let columns: Vec<Vec<Cell>> = thread::scope(|scope| {
        let threads: Vec<_> = OPERATIONS.iter().map(|operation| scope.spawn(|| column(*operation))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut table = String::from("| fault |");
    OPERATIONS.iter().for_each(|operation| write!(table, " {operation:?} |").unwrap());
    table += "\n|---|";
    OPERATIONS.iter().for_each(|_| table += "---|");
    for (index, row) in ROWS.iter().enumerate() {
        write!(table, "\n| {} |", row.name).unwrap();
        for column in &columns {
            let Cell { kind, elapsed, lost, doubled } = &column[index];
            let kind = kind.map_or_else(|| "Ok".into(), |kind| format!("`{kind:?}`"));
            write!(table, " {kind}, {:.1} s", elapsed.as_secs_f32()).unwrap();
            if lost + doubled > 0 {
                write!(table, ", lost {lost}, doubled {doubled}").unwrap();
            }
            table += " |";
        }
    }
    println!("{table}");
    fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults.md"), table).unwrap();
}

/// Tries an operation with every fault.
fn column(operation: Operation) -> Vec<Cell> {
    let linked = Linked::new();
    let jobs = Jobs::new(&linked, operation);
    let cells = ROWS.iter().enumerate().map(|(index, row)| cell(&linked, &jobs, operation, index, row)).collect();
    linked.site.arc.cancel_job(&jobs.running).unwrap();
    cells
}

fn cell(linked: &Linked, jobs: &Jobs, operation: Operation, index: usize, row: &Row) -> Cell {
    let Linked { arc, link, site } = linked;
    let context = format!("{operation:?}, {}", row.name);
    // A connection is open when the fault begins.
    linked.recover(&jobs.running);
    match operation {
        // The first request of a submission checks that the CE responds, the second one creates the jobs. The fault
        // strikes once, so that the crate can look for the jobs at once.
        Operation::Submit(_) => link.arm((row.fault)(2), 1),
        // Each attempt fails.
        _ => link.set((row.fault)(0)),
    }
    let begun = Instant::now();
    let mut descriptions = Vec::new();
    let mut results: Vec<Result<JobId>> = Vec::new();
    let place = site.path().join(format!("outputs {index}"));
    let outcome: Result<()> = match operation {
        Operation::Submit(count) => {
            let name = |n: usize| format!("{operation:?} {index} {n} {}", link.port());
            let job = |n: usize| JobDescription::new("/bin/true").with_name(name(n)).with_key(name(n));
            descriptions = (0..count).map(job).collect();
            arc.submit_jobs(&descriptions).map(|submitted| results = submitted)
        }
        Operation::Status => arc.job_status(&jobs.running).map(drop),
        Operation::Details => arc.job(&jobs.running).map(drop),
        Operation::Cancel => arc.cancel_job(&jobs.victims[index]),
        Operation::Save => arc.save_job_outputs_to(&jobs.ended, &place).map(|saved| {
            let saved = saved.unwrap_or_else(|| panic!("{context}: a job with outputs seems to have none"));
            assert_eq!(fs::read(saved.join("stdout.txt")).unwrap(), b"done", "{context}");
        }),
        Operation::Clean => arc.clean_job(&jobs.victims[index]),
        Operation::Mismatches => arc.mismatches(&JobDescription::new("/bin/true")).map(drop),
    };
    let elapsed = begun.elapsed();
    assert!(elapsed < LONGEST_CALL, "{context}: {elapsed:?}");
    let errors: Vec<&Error> =
        outcome.as_ref().err().into_iter().chain(results.iter().filter_map(|r| r.as_ref().err())).collect();
    for error in &errors {
        check(error, operation, row, &context);
    }
    let kind = errors.first().map(|error| error.kind());
    linked.recover(&jobs.running);
    match operation {
        Operation::Cancel => site.arc.cancel_job(&jobs.victims[index]).unwrap(),
        Operation::Clean => match site.arc.clean_job(&jobs.victims[index]) {
            // The CE has removed the job although its response was lost.
            Ok(()) | Err(Error::JobNotFound { .. }) => {}
            Err(error) => panic!("{context}: {error:?}"),
        },
        _ => {}
    }
    let (lost, doubled) = settle(linked, &descriptions);
    assert_eq!((lost, doubled), (0, 0), "{context}: jobs were lost or doubled");
    Cell { kind, elapsed, lost, doubled }
}

fn check(error: &Error, operation: Operation, row: &Row, context: &str) {
    match error {
        // A submission that may exist must not be repeated without its key.
        Error::SubmissionUnknown { .. } => {
            assert!(matches!(operation, Operation::Submit(_)) && !error.is_retryable(), "{context}: {error:?}");
        }
        _ => {
            let is_output = operation == Operation::Save && error.kind() == ErrorKind::OutputFile;
            // On a slow machine, connecting again takes longer than the time limit.
            let is_slow = error.kind() == ErrorKind::TimedOut;
            assert!(is_output || is_slow || row.kinds.contains(&error.kind()), "{context}: {error:?}");
            assert!(error.is_retryable(), "{context}: {error:?}");
        }
    }
}

/// Submits jobs again with the same keys until each has an id. Returns how many jobs the CE has whose id the caller does
/// not know, and how many it has more than once.
fn settle(linked: &Linked, descriptions: &[JobDescription]) -> (usize, usize) {
    if descriptions.is_empty() {
        return (0, 0);
    }
    let mut known: HashMap<String, String> = HashMap::new();
    eventually("each job has an id", PATIENCE, || {
        let results = match linked.arc.submit_jobs(descriptions) {
            Ok(results) => results,
            Err(error) if error.is_retryable() => return false,
            Err(error) => panic!("{error:?}"),
        };
        for (job, result) in descriptions.iter().zip(results) {
            match result {
                Ok(id) => _ = known.insert(job.name().to_owned(), id.local_id().to_owned()),
                Err(error) if error.is_retryable() || error.kind() == ErrorKind::SubmissionUnknown => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        known.len() == descriptions.len()
    });
    let on_ce = jobs_named(&shared_control().unwrap(), |name| known.contains_key(name));
    let lost = on_ce.iter().filter(|(name, id)| known[name] != *id).count();
    (lost, on_ce.len().saturating_sub(descriptions.len()))
}

#[test]
#[ignore = "needs an ARC-CE"]
fn a_killed_ce_loses_and_doubles_no_job() {
    const BATCH: usize = 5;
    let Some(ce) = Ce::start() else { return };
    let site = Site::of(&ce.config());
    let config = site.arc.config().clone();
    let arc = ArcInterface::builder().config(config).timeout(TIMEOUT).no_log().build().unwrap();
    let key = |n: usize| format!("killed {n}");
    let job = |n: usize| JobDescription::new("/bin/true").with_name(key(n)).with_key(key(n));
    let mut errors: HashMap<ErrorKind, usize> = HashMap::new();
    thread::scope(|scope| {
        let killing = scope.spawn(|| {
            for _ in 0..3 {
                thread::sleep(Duration::from_millis(700));
                ce.kill();
                thread::sleep(Duration::from_millis(300));
                ce.restart();
            }
        });
        let mut batch = 0;
        // Submitting goes on for as long as the CE is killed.
        while !killing.is_finished() {
            let jobs: Vec<JobDescription> = (0..BATCH).map(|n| job(batch * BATCH + n)).collect();
            let begun = Instant::now();
            match arc.submit_jobs(&jobs) {
                Ok(results) => {
                    for error in results.into_iter().filter_map(Result::err) {
                        *errors.entry(error.kind()).or_default() += 1;
                    }
                }
                Err(error) => {
                    assert!(error.is_retryable(), "{error:?}");
                    *errors.entry(error.kind()).or_default() += BATCH;
                    thread::sleep(Duration::from_secs(1));
                }
            }
            assert!(begun.elapsed() < LONGEST_CALL, "{:?}", begun.elapsed());
            batch += 1;
        }
        killing.join().unwrap();
        // Every job gets an id in the end.
        let jobs: Vec<JobDescription> = (0..batch * BATCH).map(job).collect();
        let mut known: HashMap<String, String> = HashMap::new();
        eventually("each job has an id", PATIENCE, || {
            let Ok(results) = arc.submit_jobs(&jobs) else { return false };
            for (job, result) in jobs.iter().zip(results) {
                known.extend(result.ok().map(|id| (job.name().to_owned(), id.local_id().to_owned())));
            }
            known.len() == jobs.len()
        });
        let on_ce = jobs_named(&ce.dir().join("control"), |name| known.contains_key(name));
        println!("{} jobs, {} on the CE, errors before: {errors:?}", jobs.len(), on_ce.len());
        assert!(on_ce.iter().all(|(name, id)| known[name] == *id), "jobs were lost");
        assert_eq!(on_ce.len(), jobs.len(), "jobs were doubled");
        let ids: Vec<JobId> = known.values().map(|id| JobId::from(id.as_str())).collect();
        eventually("the CE knows all jobs", PATIENCE, || match arc.job_statuses(&ids) {
            Ok(statuses) => statuses.iter().all(Result::is_ok),
            Err(error) => panic!("{error:?}"),
        });
    });
}

#[test]
#[ignore = "needs an ARC-CE"]
fn a_full_disk_of_the_ce_is_an_error_until_there_is_space() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can mount a small file system");
        return;
    }
    let Some(ce) = Ce::start() else { return };
    let control = ce.dir().join("control");
    let saved = ce.dir().join("saved");
    ce.kill();
    fs::rename(&control, &saved).unwrap();
    fs::create_dir(&control).unwrap();
    if !sh(&format!("mount -t tmpfs -o size=4m,mode=755 tmpfs '{}'", control.display())) {
        eprintln!("skipped: this system allows no mounts");
        fs::remove_dir(&control).unwrap();
        return;
    }
    let _unmount = Unmount(control.clone());
    assert!(sh(&format!("cp -a '{}/.' '{}'", saved.display(), control.display())));
    ce.restart();
    let site = Site::of(&ce.config());
    let ended = site.submit("printf done");
    assert_eq!(site.wait(&ended), JobStatus::Completed);

    let filler = control.join("filler");
    assert!(!sh(&format!("cat /dev/zero > '{}' 2>/dev/null", filler.display())), "the file system has no limit");
    let name = |n: usize| format!("full {n}");
    let jobs: Vec<JobDescription> =
        (0..5).map(|n| JobDescription::new("/bin/true").with_name(name(n)).with_key(name(n))).collect();
    for result in site.arc.submit_jobs(&jobs).unwrap_or_else(|error| vec![Err(error)]) {
        let error = result.expect_err("a job was accepted without space for it");
        println!("{:?} {}: {error}", error.kind(), error.is_retryable());
    }
    // Operations that need no space work.
    assert_eq!(site.arc.job_status(&ended).unwrap(), JobStatus::Completed);
    assert_eq!(site.save(&ended).unwrap().text("stdout.txt"), "done");

    fs::remove_file(filler).unwrap();
    let mut ids = Vec::new();
    eventually("the CE accepts the jobs", PATIENCE, || {
        let results = site.arc.submit_jobs(&jobs).unwrap();
        ids = results.into_iter().flatten().collect();
        ids.len() == jobs.len()
    });
    ids.iter().for_each(|id| assert_eq!(site.wait(id), JobStatus::Completed));
    let on_ce = jobs_named(&control, |wanted| (0..5).any(|n| name(n) == wanted));
    let local: Vec<&str> = ids.iter().map(JobId::local_id).collect();
    println!("{} of 5 jobs on the CE", on_ce.len());
    assert!(on_ce.iter().all(|(_, id)| local.contains(&id.as_str())), "{on_ce:?} {local:?}");
}

/// Unmounts a file system on drop.
struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        sh(&format!("umount -l '{}'", self.0.display()));
    }
}

/// Runs a command in a shell and returns whether it succeeds.
fn sh(command: &str) -> bool {
    std::process::Command::new("/bin/sh").args(["-c", command]).status().unwrap().success()
}
