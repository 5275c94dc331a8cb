//! Some minutes of heavy load, which stand for hours in a service. Looks for errors, and for growth of memory,
//! descriptors, threads and connections.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use jasmin_arc::{ArcInterface, ConnectionConfig, ErrorKind, JobDescription, JobId};

use crate::ce::{self, all};
use crate::transfer::memory;
use crate::{Outcome, progress};

/// The threads that submit jobs. One more asks for the status of one job without a pause.
const THREADS: usize = 8;

/// The connections that an interface keeps to its CE at most.
const CONNECTIONS: usize = 10;

/// The growth of the memory that is allowed between the second and the last quarter of the time. Each thread of malloc
/// has memory of its own, so the size varies.
const GROWTH_KIB: u64 = 4096;

/// What the process has at one moment.
struct Sample {
    memory_kib: u64,
    descriptors: usize,
    threads: usize,
    /// Open connections to the CE.
    connections: usize,
}

impl Sample {
    fn take(port: u16) -> Outcome<Sample> {
        let count = |directory: &str| -> Outcome<usize> { Ok(fs::read_dir(directory)?.count()) };
        Ok(Sample {
            memory_kib: memory("VmRSS")?,
            descriptors: count("/proc/self/fd")?,
            threads: count("/proc/self/task")?,
            connections: connections(port)?,
        })
    }
}

/// The number of TCP connections to a port that are not closed. The CE is on this machine, and nobody else uses it.
fn connections(port: u16) -> Outcome<usize> {
    const ESTABLISHED: &str = "01";
    const CLOSE_WAIT: &str = "08";
    let peer = format!(":{port:04X}");
    let mut found = 0;
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        let text = if Path::new(table).exists() { fs::read_to_string(table)? } else { String::new() };
        let columns = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let is_open = |columns: &Vec<&str>| {
            columns.len() > 3 && columns[2].ends_with(&peer) && [ESTABLISHED, CLOSE_WAIT].contains(&columns[3])
        };
        found += columns.filter(is_open).count();
    }
    Ok(found)
}

pub(crate) fn run(minutes: f64) -> Outcome<()> {
    let (config, arc) = ce::connect()?;
    let url = config.endpoint_url()?;
    let port = url.rsplit(':').next().and_then(|rest| rest.split('/').next()).unwrap_or_default().parse()?;
    let samples = work(&config, &arc, port, minutes)?;
    drop(arc);
    let left = connections(port)?;

    let quarter = samples.len() / 4;
    let (early, late) = (&samples[quarter..2 * quarter], &samples[3 * quarter..]);
    let least = |of: &[Sample]| of.iter().map(|sample| sample.memory_kib).min().unwrap_or_default();
    let most = |of: &[Sample], value: fn(&Sample) -> usize| of.iter().map(value).max().unwrap_or_default();
    let mut faults = Vec::new();
    let (before, after) = (least(early), least(late));
    println!("memory: {before} KiB, later {after} KiB");
    if after > before + GROWTH_KIB {
        faults.push(format!("memory grew from {before} to {after} KiB"));
    }
    let of = |samples: &[Sample]| [most(samples, |sample| sample.descriptors), most(samples, |sample| sample.threads)];
    for (name, (before, after)) in ["descriptors", "threads"].into_iter().zip(of(early).into_iter().zip(of(late))) {
        println!("{name}: at most {before}, later {after}");
        // Each working thread may have a few more open at the moment of the sample.
        if after > before + 2 * THREADS {
            faults.push(format!("{name} grew from {before} to {after}"));
        }
    }
    let connections = most(&samples, |sample| sample.connections);
    println!("connections: at most {connections}, {left} after the interface was dropped");
    // The short-lived interfaces of `round` have one each.
    if connections > CONNECTIONS + THREADS || left > 0 {
        faults.push(format!("{connections} connections at once, {left} left"));
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ").into()) }
}

/// Runs rounds in several threads, stops at the first error, and takes samples.
fn work(config: &ConnectionConfig, arc: &ArcInterface, port: u16, minutes: f64) -> Outcome<Vec<Sample>> {
    let (rounds, calls) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let begun = Instant::now();
    let end = begun + Duration::from_secs_f64(60.0 * minutes);
    let id = arc.submit(&ce::job())?;
    let repeat = |count: &AtomicUsize, call: &dyn Fn() -> Outcome<()>| -> Result<(), String> {
        while Instant::now() < end {
            call().map_err(|error| error.to_string())?;
            count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    let samples = thread::scope(|scope| -> Outcome<Vec<Sample>> {
        let mut threads: Vec<_> =
            (0..THREADS).map(|_| scope.spawn(|| repeat(&rounds, &|| round(config, arc)))).collect();
        threads.push(scope.spawn(|| repeat(&calls, &|| Ok(arc.job_status(&id).map(drop)?))));
        let mut samples = Vec::new();
        while Instant::now() < end && !threads.iter().any(|thread| thread.is_finished()) {
            thread::sleep(Duration::from_secs(1));
            let sample = Sample::take(port)?;
            if samples.len() % 30 == 0 {
                let Sample { memory_kib, descriptors, threads, connections } = &sample;
                progress(&format!(
                    "{memory_kib} KiB, {descriptors} descriptors, {threads} threads, {connections} connections"
                ));
            }
            samples.push(sample);
        }
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked".to_owned())?)?;
        Ok(samples)
    })?;
    arc.clean_job(&id)?;
    println!(
        "{} rounds in {THREADS} threads and {} status calls in one, {:.0} s, without errors",
        rounds.into_inner(),
        calls.into_inner(),
        begun.elapsed().as_secs_f64()
    );
    Ok(samples)
}

/// Submits jobs and makes every kind of call for them, and some calls that fail.
fn round(config: &ConnectionConfig, arc: &ArcInterface) -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let input = directory.path().join("input");
    fs::write(&input, vec![b'x'; 100_000])?;
    let copy = JobDescription::new("/bin/cp")
        .with_args(["input", "output"])
        .with_input_file(&input)
        .with_output_file("output");
    let ids = all(arc.submit_jobs(&[ce::job(), copy, JobDescription::new("/bin/sleep").with_arg("600")])?)?;
    all(arc.job_statuses(&ids)?)?;
    all(arc.jobs(&ids)?)?;
    all(arc.cancel_jobs(&ids[2..])?)?;
    wait(arc, &ids)?;
    all(arc.save_jobs_outputs_to(&ids, directory.path())?)?;
    arc.save_job_outputs(&ids[1])?.map(fs::remove_dir_all).transpose()?;
    all(arc.clean_jobs(&ids)?)?;
    let fails_with = |kind, result: jasmin_arc::Result<()>| match result {
        Err(error) if error.kind() == kind => Ok(()),
        other => Err(format!("{other:?} instead of {kind:?}")),
    };
    fails_with(ErrorKind::JobNotFound, arc.job_status(&"nonexistent".into()).map(drop))?;
    let another = |server: &str| {
        let config = config.clone().with_arc_server(server);
        ArcInterface::builder().config(config).no_log().build()
    };
    another(config.arc_server())?.job_status(&"nonexistent".into()).err();
    fails_with(ErrorKind::ConnectionRefused, another("localhost:1")?.job_status(&"nonexistent".into()).map(drop))?;
    Ok(())
}

fn wait(arc: &ArcInterface, ids: &[JobId]) -> Outcome<()> {
    while !all(arc.job_statuses(ids)?)?.iter().all(|status| status.is_final()) {
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
