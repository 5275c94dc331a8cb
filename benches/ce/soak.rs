//! Some minutes of heavy load, which stand for hours in a service. Looks for memory leaks and errors.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jasmin_arc::{ArcInterface, JobDescription, JobId};

use crate::ce::{self, all};
use crate::transfer::memory;
use crate::{Outcome, progress};

const CALLS: usize = 100_000;
const THREADS: usize = 8;
const MINUTES: u64 = 2;

pub(crate) fn run() -> Outcome<()> {
    let (_, arc) = ce::connect()?;
    many_calls(&arc)?;
    many_threads(&arc)
}

/// Makes many calls in one thread and compares the memory before and after.
fn many_calls(arc: &ArcInterface) -> Outcome<()> {
    let id = arc.submit(&ce::job())?;
    wait(arc, std::slice::from_ref(&id))?;
    // The first calls fill pools and caches.
    (0..1000).try_for_each(|_| arc.job_status(&id).map(drop))?;
    let (before, begun) = (memory("VmRSS")?, Instant::now());
    for call in 1..=CALLS {
        arc.job_status(&id)?;
        if call % (CALLS / 10) == 0 {
            progress(&format!("{call} calls, {} KiB", memory("VmRSS")?));
        }
    }
    let grown = memory("VmRSS")?.saturating_sub(before);
    println!(
        "{CALLS} status calls in {:.0} s: memory grew by {grown} KiB from {before} KiB",
        begun.elapsed().as_secs_f64()
    );
    all(arc.clean_jobs(&[id])?)?;
    if grown < 1024 { Ok(()) } else { Err(format!("memory leak: {grown} KiB in {CALLS} calls").into()) }
}

/// Runs rounds in several threads and stops at the first error.
fn many_threads(arc: &ArcInterface) -> Outcome<()> {
    let rounds = AtomicUsize::new(0);
    let end = Instant::now() + Duration::from_secs(60 * MINUTES);
    let work = || -> Result<(), String> {
        while Instant::now() < end {
            round(arc).map_err(|error| error.to_string())?;
            rounds.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked".to_owned())?)
    })?;
    println!("{THREADS} threads for {MINUTES} minutes: {} rounds without errors", rounds.into_inner());
    Ok(())
}

/// Submits jobs and makes every kind of call for them.
fn round(arc: &ArcInterface) -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let input = directory.path().join("input");
    std::fs::write(&input, vec![b'x'; 100_000])?;
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
    arc.save_job_outputs(&ids[1])?.map(std::fs::remove_dir_all).transpose()?;
    all(arc.clean_jobs(&ids)?)?;
    Ok(())
}

fn wait(arc: &ArcInterface, ids: &[JobId]) -> Outcome<()> {
    while !all(arc.job_statuses(ids)?)?.iter().all(|status| status.is_final()) {
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
