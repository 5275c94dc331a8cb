//! Upload and download of one large file. The crate does each in a child process, which reports its peak memory.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jasmin_arc::JobId;

use crate::ce::{self, Ce};
use crate::{Outcome, Row, compare, progress, tools};

/// The size of the file in MiB.
const MEBIBYTES: usize = 256;

/// Measures both directions and adds their rows.
pub(crate) fn measure(ce: &mut Ce, rows: &mut Vec<Row>) -> Outcome<()> {
    let runs = 5;
    let file = ce.files.path().join("large");
    let mut large = File::create(&file)?;
    let piece: Vec<u8> = (0u32..1 << 18).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    (0..MEBIBYTES).try_for_each(|_| large.write_all(&piece))?;
    drop(large);
    let name = file.to_str().ok_or("the path is not UTF-8")?.to_owned();
    let row = |operation, times, tools, memory| Row {
        tools: Some((tools, 1)),
        memory: Some(memory),
        ..Row::compared(operation, 1, times, runs)
    };

    progress("upload 256 MiB");
    let memory = std::cell::Cell::new(0);
    let times = compare(
        ce,
        runs,
        |ce| {
            let (time, peak, id) = child(&["upload", &name])?;
            memory.set(peak.max(memory.get()));
            ce.remove(&[id.into()])?;
            Ok(time)
        },
        |ce| {
            let ids = ce.submit_waiting(1)?;
            let time = curl(ce, &ids[0], &["-T", &name])?;
            ce.remove(&ids)?;
            Ok(time)
        },
    )?;
    let xrsl = format!(r#"&(executable="/bin/true")(inputfiles=("large" "{name}"))(outputfiles=("large" ""))"#);
    let (id, tools) = tools::submit_one(ce, &xrsl)?;
    rows.push(row("upload 256 MiB (raw: curl)", times, tools, memory.take()));

    progress("download 256 MiB");
    ce.settle()?;
    let times = compare(
        ce,
        runs,
        |ce| {
            let (time, peak, _) = download(ce, &id)?;
            memory.set(peak.max(memory.get()));
            Ok(time)
        },
        |ce| {
            let to = ce.files.path().join("downloaded");
            let time = curl(ce, &id, &["-o", to.to_str().ok_or("the path is not UTF-8")?])?;
            fs::remove_file(to)?;
            Ok(time)
        },
    )?;
    let ids = [id];
    let tools = tools::fetch(ce, &ids, 1)?;
    rows.push(row("download 256 MiB (raw: curl)", times, tools, memory.take()));
    ce.remove(&ids)
}

/// Runs curl on the large file of a job and returns the time.
fn curl(ce: &Ce, id: &JobId, arguments: &[&str]) -> Outcome<Duration> {
    let begun = Instant::now();
    let done = Command::new("curl")
        .args(["-sS", "--fail", "--noproxy", "*", "-H", "Expect:", "--capath"])
        .arg(ce.config.certs_dir())
        .arg("--cert")
        .arg(ce.config.proxy_file())
        .arg("--key")
        .arg(ce.config.proxy_file())
        .args(arguments)
        .arg(format!("{id}/session/large"))
        .status()?;
    if done.success() { Ok(begun.elapsed()) } else { Err(format!("curl: {done}").into()) }
}

/// Runs this program with other arguments and reads what [`report`] prints: the time, the peak memory in KiB, a word.
pub(crate) fn child(arguments: &[&str]) -> Outcome<(Duration, u64, String)> {
    let output = Command::new(std::env::current_exe()?).args(arguments).stderr(Stdio::inherit()).output()?;
    let printed = String::from_utf8(output.stdout)?;
    match printed.split_whitespace().collect::<Vec<_>>()[..] {
        [seconds, memory, text] if output.status.success() => {
            Ok((Duration::from_secs_f64(seconds.parse()?), memory.parse()?, text.to_owned()))
        }
        _ => Err(format!("{arguments:?}: {}", output.status).into()),
    }
}

/// Downloads the outputs of a job in a child process, into a new directory.
pub(crate) fn download(ce: &Ce, id: &JobId) -> Outcome<(Duration, u64, String)> {
    let directory = tempfile::tempdir_in(ce.files.path())?;
    let to = directory.path().to_str().ok_or("the path is not UTF-8")?;
    child(&["download", id.as_str(), to])
}

/// Prints the time since `begun`, the peak memory of this process, and `text`.
pub(crate) fn report(begun: Instant, text: &str) -> Outcome<()> {
    let time = begun.elapsed();
    println!("{} {} {text}", time.as_secs_f64(), memory("VmHWM")?);
    Ok(())
}

/// The child process that uploads `file`.
pub(crate) fn upload_here(file: &str) -> Outcome<()> {
    let (_, arc) = ce::connect()?;
    let begun = Instant::now();
    let id = arc.submit(&ce::job().with_input_file(file))?;
    report(begun, id.as_str())
}

/// The child process that downloads the outputs of `job`.
pub(crate) fn download_here(job: &str, directory: &str) -> Outcome<()> {
    let (_, arc) = ce::connect()?;
    let begun = Instant::now();
    ce::all(arc.save_jobs_outputs_to(&[job.into()], Path::new(directory))?)?;
    report(begun, &cpu_seconds()?)
}

/// Returns a memory value of this process in KiB, by its name in `/proc/self/status`.
pub(crate) fn memory(name: &str) -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(line
        .and_then(|line| line.split_whitespace().next())
        .ok_or_else(|| format!("no {name} in /proc/self/status"))?
        .parse()?)
}

/// The CPU time of this process in seconds.
fn cpu_seconds() -> Outcome<String> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name of the program, in parentheses, may contain blanks. 1 tick is 10 ms.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse().unwrap_or(0)).sum();
    Ok(format!("{:.2}", ticks as f64 / 100.0))
}
