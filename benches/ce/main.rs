//! Measures the time of operations on a CE and prints a table: this crate, a bare REST client and ARC's command-line tools
//! side by side.
//!
//! `tests/testbed/run bench` uses a CE of its own. `cargo bench --bench ce` uses the CE of `JASMIN_ARC_CONFIG` and removes
//! its jobs from it. Arguments choose parts of the table, as in `-- fetch`. `-- --rtt MS` measures over a link with a longer
//! round-trip time, without ARC's tools. `-- --scale N` measures with N more jobs on the CE. `-- soak MINUTES` runs for some
//! minutes instead and looks for errors and leaks.

mod ce;
mod link;
mod raw;
mod scale;
mod soak;
mod tools;
mod transfer;

use std::error::Error;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use jasmin_arc::{JobDescription, JobId};

use ce::Ce;

/// The result of the functions of this bench.
type Outcome<T> = Result<T, Box<dyn Error>>;

/// The numbers of jobs in one call that are measured.
const COUNTS: [usize; 4] = [1, 50, 200, 1000];

/// A row of the table. Times are medians of `runs` runs.
struct Row {
    operation: &'static str,
    /// The number of jobs.
    count: usize,
    /// The time of this crate.
    ours: Duration,
    /// The time of the bare client.
    raw: Option<Duration>,
    /// The time of ARC's tools for `count` jobs, and the number of jobs that it was measured with.
    tools: Option<(Duration, usize)>,
    /// The peak memory in KiB of a process that does nothing else.
    memory: Option<u64>,
    runs: usize,
}

impl Row {
    /// A row for two times of [`compare`], without the time of ARC's tools.
    fn compared(operation: &'static str, count: usize, [ours, raw]: [Duration; 2], runs: usize) -> Row {
        Row { operation, count, ours, raw: Some(raw), tools: None, memory: None, runs }
    }
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["soak"] => soak::run(2.0),
        ["soak", minutes] => soak::run(minutes.parse()?),
        ["upload", file] => transfer::upload_here(file),
        ["download", job, directory] => transfer::download_here(job, directory),
        ["statuses", file] => scale::statuses_here(file),
        ["submit-one"] => scale::submit_here(),
        ["--scale", count] => scaled(count.parse()?),
        ["--rtt", milliseconds] => table(Some(milliseconds.parse()?), &["submit", "inputs", "unfinished", "fetch"]),
        ["--rtt", milliseconds, ref chosen @ ..] => table(Some(milliseconds.parse()?), chosen),
        ref chosen => table(None, chosen),
    }
}

/// Measures the chosen parts of the table, or all, and prints it. The round-trip time is in milliseconds.
fn table(round_trip: Option<u64>, chosen: &[&str]) -> Outcome<()> {
    type Part = fn(&mut Ce, &mut Vec<Row>) -> Outcome<()>;
    let parts: [(&str, Part); 10] = [
        ("submit", submit),
        ("inputs", inputs),
        ("status", status),
        ("unfinished", unfinished),
        ("cancel", cancel),
        ("fetch", fetch),
        ("transfer", transfer::measure),
        ("end", end_seen),
        ("cold", scale::cold),
        ("small-files", scale::small_files),
    ];
    if let Some(other) = chosen.iter().find(|name| parts.iter().all(|(part, _)| part != *name)) {
        return Err(
            format!("unknown part {other}: use soak, or some of {}", parts.map(|(name, _)| name).join(", ")).into()
        );
    }
    let mut ce = Ce::new(round_trip.map(Duration::from_millis))?;
    let mut rows = Vec::new();
    for (name, part) in parts {
        if chosen.is_empty() || chosen.contains(&name) {
            part(&mut ce, &mut rows)?;
        }
    }
    print(&mut ce, &rows)
}

/// Measures operations on a CE that holds `count` jobs more.
fn scaled(count: usize) -> Outcome<()> {
    let mut ce = Ce::new(None)?;
    let mut rows = Vec::new();
    scale::measure(&mut ce, &mut rows, count)?;
    print(&mut ce, &rows)
}

fn submit(ce: &mut Ce, rows: &mut Vec<Row>) -> Outcome<()> {
    for (count, runs) in COUNTS.into_iter().zip([11, 7, 7, 3]) {
        progress(&format!("submit {count}"));
        let jobs = vec![ce::job(); count];
        let times = compare(
            ce,
            runs,
            |ce| submitting(ce, |ce| Ok(ce::all(ce.arc.submit_jobs(&jobs)?)?)),
            |ce| submitting(ce, |ce| ce.submit_raw(&ce.adl.repeat(count))),
        )?;
        let tools = ce.with_tools(|ce| tools::submit(ce, count.min(5)))?;
        let tools =
            tools.map(|time| time * u32::try_from(count.div_ceil(5)).unwrap_or(1)).map(|time| (time, count.min(5)));
        rows.push(Row { tools, ..Row::compared("submit", count, times, runs) });
    }
    Ok(())
}

/// Measures a submission, and removes its jobs.
fn submitting(ce: &mut Ce, submit: impl FnOnce(&mut Ce) -> Outcome<Vec<JobId>>) -> Outcome<Duration> {
    let begun = Instant::now();
    let ids = submit(ce)?;
    let time = begun.elapsed();
    ce.remove(&ids)?;
    Ok(time)
}

fn inputs(ce: &mut Ce, rows: &mut Vec<Row>) -> Outcome<()> {
    progress("submit 200 with an input file each");
    let (count, runs) = (200, 5);
    let content = vec![b'x'; 1024];
    let file = ce.files.path().join("input");
    std::fs::write(&file, &content)?;
    let jobs = vec![ce::job().with_input_file(&file); count];
    let times = compare(
        ce,
        runs,
        |ce| submitting(ce, |ce| Ok(ce::all(ce.arc.submit_jobs(&jobs)?)?)),
        |ce| {
            ce.connect_many()?;
            submitting(ce, |ce| ce.submit_raw_with_input(count, &content))
        },
    )?;
    rows.push(Row::compared("submit, with a file of 1 KiB each (raw: 8 connections)", count, times, runs));
    Ok(())
}

fn status(ce: &mut Ce, rows: &mut Vec<Row>) -> Outcome<()> {
    progress("status: waiting until the CE publishes the end of all jobs");
    let ids = ce::all(ce.arc.submit_jobs(vec![ce::job(); 1000])?)?;
    ce.action("kill", &ids)?;
    ce.settle()?;
    ce.wait_until_published(&ids)?;
    for count in COUNTS {
        let ids = &ids[..count];
        let tools = tools::status(ce, ids)?;
        status_of(ce, rows, "status, all jobs have ended", ids, Some((tools, count)))?;
    }
    ce.remove(&ids)
}

fn unfinished(ce: &mut Ce, rows: &mut Vec<Row>) -> Outcome<()> {
    // The CE holds no other jobs, because their number adds to the cost.
    for count in COUNTS {
        let ids = ce.submit_waiting(count)?;
        status_of(ce, rows, "status, no job has ended", &ids, None)?;
        ce.remove(&ids)?;
    }
    Ok(())
}

fn status_of(
    ce: &mut Ce,
    rows: &mut Vec<Row>,
    operation: &'static str,
    ids: &[JobId],
    tools: Option<(Duration, usize)>,
) -> Outcome<()> {
    progress(&format!("{operation}: {}", ids.len()));
    let runs = 15;
    let times = compare(
        ce,
        runs,
        |ce| timed(|| Ok(ce::all(ce.arc.job_statuses(ids)?)?)),
        |ce| timed(|| ce.action("status", ids)),
    )?;
    rows.push(Row { tools, ..Row::compared(operation, ids.len(), times, runs) });
    Ok(())
}

fn cancel(ce: &mut Ce, rows: &mut Vec<Row>) -> Outcome<()> {
    progress("cancel");
    let (count, runs) = (50, 7);
    let times = compare(
        ce,
        runs,
        |ce| {
            let ids = ce.submit_waiting(count)?;
            let begun = Instant::now();
            ce::all(ce.arc.cancel_jobs(&ids)?)?;
            let time = begun.elapsed();
            ce.remove(&ids)?;
            Ok(time)
        },
        |ce| {
            let ids = ce.submit_waiting(count)?;
            let begun = Instant::now();
            ce.action("kill", &ids)?;
            let time = begun.elapsed();
            ce.remove(&ids)?;
            Ok(time)
        },
    )?;
    let tools = tools::cancel(ce, 5)? * 10;
    rows.push(Row { tools: Some((tools, 5)), ..Row::compared("cancel", count, times, runs) });
    Ok(())
}

fn fetch(ce: &mut Ce, rows: &mut Vec<Row>) -> Outcome<()> {
    progress("fetch 12 files from each of 20 jobs");
    let (count, runs) = (20, 7);
    // 10 files, and standard output and error.
    let script = "mkdir out && cd out && head -c 10240 /dev/zero | split -b 1024";
    let job = JobDescription::new("/bin/sh").with_args(["-c", script]).with_output_file("out");
    let ids = ce::all(ce.arc.submit_jobs(vec![job; count])?)?;
    ce.settle()?;
    let times = compare(
        ce,
        runs,
        |ce| {
            let directory = tempfile::tempdir_in(ce.files.path())?;
            let begun = Instant::now();
            ce::all(ce.arc.save_jobs_outputs_to(&ids, directory.path())?)?;
            Ok(begun.elapsed())
        },
        |ce| {
            let (time, files) = ce.fetch_raw(&ids)?;
            assert_eq!(files, 12 * count, "the number of files of the jobs");
            Ok(time)
        },
    )?;
    let tools = ce.with_tools(|ce| tools::fetch(ce, &ids, 12))?.map(|time| (time, count));
    rows.push(Row { tools, ..Row::compared("fetch, 12 files of 1 KiB each (raw: 8 connections)", count, times, runs) });
    ce.remove(&ids)
}

/// Measures the time from A-REX's record of the end of a job to the status that reports it.
fn end_seen(ce: &mut Ce, rows: &mut Vec<Row>) -> Outcome<()> {
    progress("delay until the end of a job is reported");
    let runs = 5;
    let mut times = Vec::new();
    for run in 0..runs {
        let id = ce.arc.submit(&ce::job())?;
        while !ce.has_ended(&id) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let ended = Instant::now();
        while !ce.arc.job_status(&id)?.is_final() {
            std::thread::sleep(Duration::from_millis(5));
        }
        times.push(ended.elapsed());
        if run == runs - 1 {
            progress("delay until arcstat reports it");
            while !tools::has_ended(ce, &id)? {
                std::thread::sleep(Duration::from_millis(500));
            }
            rows.push(Row {
                operation: "delay until an end is seen, after A-REX has recorded it",
                count: 1,
                ours: median(times.clone()),
                raw: None,
                tools: Some((ended.elapsed(), 1)),
                memory: None,
                runs,
            });
        }
        ce.remove(&[id])?;
    }
    Ok(())
}

/// Runs this crate's way and the bare client's in turns and returns the medians of their times.
fn compare(
    ce: &mut Ce,
    runs: usize,
    ours: impl Fn(&mut Ce) -> Outcome<Duration>,
    raw: impl Fn(&mut Ce) -> Outcome<Duration>,
) -> Outcome<[Duration; 2]> {
    let mut times = [Vec::new(), Vec::new()];
    for run in 0..runs {
        // Each way comes first in half of the runs.
        for way in [run % 2, (run + 1) % 2] {
            times[way].push(if way == 0 { ours(ce)? } else { raw(ce)? });
        }
    }
    for (way, times) in ["ours", "raw"].iter().zip(&times) {
        let range = times.iter().min().zip(times.iter().max());
        progress(&format!("    {way}: {range:?}"));
    }
    Ok(times.map(median))
}

fn timed<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<Duration> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn print(ce: &mut Ce, rows: &[Row]) -> Outcome<()> {
    println!("{}\n", ce.versions()?);
    println!("| operation | N | ours | raw | ARC's tools | ours / raw | tools / ours | peak memory | runs |");
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|");
    let seconds = |time: Duration| match time.as_secs_f64() {
        short if short < 0.01 => format!("{:.1} ms", short * 1000.0),
        short if short < 1.0 => format!("{:.0} ms", short * 1000.0),
        long => format!("{long:.1} s"),
    };
    for Row { operation, count, ours, raw, tools, memory, runs } in rows {
        let cells = [
            raw.map(seconds),
            tools.map(|(time, of)| if of == *count { seconds(time) } else { format!("{} (of {of})", seconds(time)) }),
            raw.map(|raw| format!("{:.2}", ours.as_secs_f64() / raw.as_secs_f64())),
            tools.map(|(tools, _)| format!("{:.0}", tools.as_secs_f64() / ours.as_secs_f64())),
            memory.map(|memory| format!("{} MiB", memory / 1024)),
        ];
        let cells: Vec<String> = cells.into_iter().map(|cell| cell.unwrap_or_else(|| "-".into())).collect();
        println!("| {operation} | {count} | {} | {} | {runs} |", seconds(*ours), cells.join(" | "));
    }
    Ok(())
}

fn progress(text: &str) {
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    eprintln!("bench, {:3} s: {text}", BEGUN.elapsed().as_secs());
}
