//! A CE that holds many jobs, a program that has just been started, and a job with many files.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use jasmin_arc::{JobDescription, JobId};

use crate::ce::{self, Ce};
use crate::transfer::{child, download, report};
use crate::{Outcome, Row, compare, median, progress, timed, tools};

/// The number of jobs in the calls for a few jobs.
const FEW: usize = 100;

/// The number of jobs that are cancelled and cleaned.
const MANY: usize = 1000;

/// Fills the CE with `count` jobs that wait for an input file, and measures operations on all and on a few of them.
pub(crate) fn measure(ce: &mut Ce, rows: &mut Vec<Row>, count: usize) -> Outcome<()> {
    status_of_few(ce, rows, "status of 100, fresh process, few jobs on the CE", &[])?;
    progress(&format!("filling the CE with {count} jobs"));
    let mut ids = Vec::with_capacity(count);
    while ids.len() < count {
        ids.extend(ce.submit_waiting(MANY.min(count - ids.len()))?);
        progress(&format!("    {}", ids.len()));
    }
    status_of_few(ce, rows, "status of 100, fresh process, this many jobs on the CE", &ids)?;

    progress("status of all");
    let file = written(ce, &ids)?;
    let memory = std::cell::Cell::new(0);
    let times = compare(
        ce,
        3,
        |_| {
            let (time, peak, _) = child(&["statuses", &file])?;
            memory.set(peak);
            Ok(time)
        },
        |ce| timed(|| ce.action("status", &ids)),
    )?;
    let memory = Some(memory.get());
    rows.push(Row { memory, ..Row::compared("status of all, fresh process", count, times, 3) });

    progress("list");
    let times = compare(ce, 3, |ce| timed(|| Ok(ce.arc.list_jobs()?)), |ce| timed(|| ce.list_raw()))?;
    rows.push(Row::compared("list", count, times, 3));

    progress("submit, cancel and clean 1000");
    let runs = 3;
    let jobs = vec![JobDescription::new("/bin/sleep").with_arg("600"); MANY];
    let mut submitted = [Vec::new(), Vec::new()];
    let mut cancelled = [Vec::new(), Vec::new()];
    let mut cleaned = [Vec::new(), Vec::new()];
    for _ in 0..runs {
        let begun = Instant::now();
        let ids = ce::all(ce.arc.submit_jobs(&jobs)?)?;
        submitted[0].push(begun.elapsed());
        cancelled[0].push(timed(|| Ok(ce::all(ce.arc.cancel_jobs(&ids)?)?))?);
        ce.wait_for_end(&ids)?;
        cleaned[0].push(timed(|| Ok(ce::all(ce.arc.clean_jobs(&ids)?)?))?);
        let begun = Instant::now();
        let ids = ce.submit_raw(&ce.adl.repeat(MANY))?;
        submitted[1].push(begun.elapsed());
        cancelled[1].push(timed(|| ce.action("kill", &ids))?);
        ce.wait_for_end(&ids)?;
        cleaned[1].push(timed(|| ce.action("clean", &ids))?);
    }
    for (operation, times) in [("submit", submitted), ("cancel", cancelled), ("clean", cleaned)] {
        rows.push(Row::compared(operation, MANY, times.map(median), runs));
    }
    ce.action("kill", &ids)?;
    ce.action("clean", &ids)?;
    Ok(())
}

/// Measures the statuses of a few jobs that have not ended, in a process that knows nothing of the CE. They are the last of
/// `ids`, or jobs of its own.
fn status_of_few(ce: &mut Ce, rows: &mut Vec<Row>, operation: &'static str, ids: &[JobId]) -> Outcome<()> {
    progress(operation);
    let own = if ids.is_empty() { ce.submit_waiting(FEW)? } else { Vec::new() };
    let few = if ids.is_empty() { &own[..] } else { &ids[ids.len().saturating_sub(FEW)..] };
    let file = written(ce, few)?;
    let times = compare(ce, 7, |_| Ok(child(&["statuses", &file])?.0), |ce| timed(|| ce.action("status", few)))?;
    rows.push(Row::compared(operation, ids.len().max(few.len()), times, 7));
    if !own.is_empty() {
        ce.remove(&own)?;
    }
    Ok(())
}

/// Measures the time from the start of a program to its submitted job.
pub(crate) fn cold(ce: &mut Ce, rows: &mut Vec<Row>) -> Outcome<()> {
    progress("from the start of a program to a submitted job");
    let runs = 9;
    let (mut ours, mut tools) = (Vec::new(), Vec::new());
    let xrsl = r#"&(executable="/bin/true")"#;
    for _ in 0..runs {
        let begun = Instant::now();
        let output = Command::new(std::env::current_exe()?).arg("submit-one").stderr(Stdio::inherit()).output()?;
        ours.push(begun.elapsed());
        let id = String::from_utf8(output.stdout)?;
        let (other, time) = tools::submit_one(ce, xrsl)?;
        tools.push(time);
        ce.remove(&[id.trim().into(), other])?;
    }
    let tools = Some((median(tools), 1));
    rows.push(Row { raw: None, tools, ..Row::compared("cold start to submitted", 1, [median(ours); 2], runs) });
    Ok(())
}

/// Fetches the many small files of one job.
pub(crate) fn small_files(ce: &mut Ce, rows: &mut Vec<Row>) -> Outcome<()> {
    let (count, runs) = (20_000, 3);
    progress(&format!("fetch {count} files of one job"));
    let script = format!("mkdir out && cd out && head -c {}000 /dev/zero | split -a 4 -b 1000", count);
    let id = ce.arc.submit(&JobDescription::new("/bin/sh").with_args(["-c", &script]).with_output_file("out"))?;
    ce.settle()?;
    let times = compare(
        ce,
        runs,
        |ce| {
            let (time, _, cpu) = download(ce, &id)?;
            progress(&format!("    CPU of this crate: {cpu} s"));
            Ok(time)
        },
        |ce| Ok(ce.fetch_raw(std::slice::from_ref(&id))?.0),
    )?;
    rows.push(Row::compared("fetch, small files of one job (raw: 8 connections)", count, times, runs));
    ce.remove(&[id])
}

/// The child process that asks for the statuses of the jobs in a file.
pub(crate) fn statuses_here(file: &str) -> Outcome<()> {
    let (_, arc) = ce::connect()?;
    let ids: Vec<JobId> = fs::read_to_string(file)?.lines().map(JobId::from).collect();
    let begun = Instant::now();
    ce::all(arc.job_statuses(&ids)?)?;
    report(begun, "-")
}

/// The child process that submits a job and prints its id.
pub(crate) fn submit_here() -> Outcome<()> {
    let (_, arc) = ce::connect()?;
    println!("{}", arc.submit(&ce::job())?);
    Ok(())
}

/// Writes the ids to a file and returns its path.
fn written(ce: &Ce, ids: &[JobId]) -> Outcome<String> {
    let path = ce.files.path().join("ids");
    let lines: String = ids.iter().map(|id| format!("{id}\n")).collect();
    fs::write(&path, lines)?;
    Ok(path.to_str().ok_or("the path is not UTF-8")?.to_owned())
}
