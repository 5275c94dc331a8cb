//! A CE of a test's own, which the test may break.

use std::collections::{BTreeSet, HashSet};
use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jasmin_arc::JobId;

use super::common::batch_system;

/// A CE that `tests/testbed/run` starts. It stops when this is dropped, and when the process ends.
pub(crate) struct Ce {
    shell: Child,
    dir: PathBuf,
}

impl Ce {
    /// Starts a CE. `None` without the testbed's programs, if the tests use another CE.
    pub(crate) fn start() -> Option<Ce> {
        Ce::start_with(&[])
    }

    /// Starts a CE with environment variables of `tests/testbed/run`.
    pub(crate) fn start_with(variables: &[(&str, &str)]) -> Option<Ce> {
        if !super::common::is_testbed() {
            return None;
        }
        // The shell prints the directory and waits for the end of its input. It is in a process group of its own, so
        // that an interrupt from the terminal leaves it the time to stop the CE.
        let mut shell = script();
        shell.envs(variables.iter().copied()).args(["shell", "--lrms", &batch_system()?]);
        shell.args(["sh", "-c", "echo \"$JASMIN_ARC_TESTBED\"; exec cat"]).process_group(0);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = shell.spawn().unwrap();
        let mut dir = String::new();
        BufReader::new(shell.stdout.as_mut().unwrap()).read_line(&mut dir).unwrap();
        let dir = PathBuf::from(dir.trim_end());
        assert!(dir.is_dir(), "the CE did not start");
        Some(Ce { shell, dir })
    }

    /// The directory of the CE.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The configuration file of the crate for this CE.
    pub(crate) fn config(&self) -> PathBuf {
        self.dir.join("config.json")
    }

    /// Kills the daemons of the CE with SIGKILL. Its jobs go on.
    pub(crate) fn kill(&self) {
        self.run("kill");
    }

    /// Kills the daemons of the CE with SIGKILL and starts them again. Returns when the CE responds.
    pub(crate) fn restart(&self) {
        self.run("restart");
    }

    /// Restarts the CE so that it runs four jobs at a time. It accepts any number.
    pub(crate) fn run_few_jobs(&self) {
        self.limit_jobs("-1 4 -1 -1 -1");
    }

    /// Restarts the CE with a value for `maxjobs`.
    pub(crate) fn limit_jobs(&self, limits: &str) {
        let path = self.dir.join("arc.conf");
        let settings = fs::read_to_string(&path).unwrap();
        let limited = settings.replacen("\n[arex]\n", &format!("\n[arex]\nmaxjobs = {limits}\n"), 1);
        assert_ne!(limited, settings);
        fs::write(path, limited).unwrap();
        self.restart();
    }

    fn run(&self, command: &str) {
        let output = script().arg(command).arg(&self.dir).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

impl Drop for Ce {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

fn script() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testbed/run"))
}

/// A job in the records of a CE.
#[derive(Debug)]
pub(crate) struct Record {
    /// A-REX's own id.
    pub(crate) id: String,
    pub(crate) name: String,
    /// The key as it is in the description, with escapes.
    pub(crate) key: Option<String>,
    /// Why it failed.
    pub(crate) failed: String,
    /// Whether it has a status. A-REX writes it last when it creates a job. One that is killed while it creates a job, or
    /// while it changes the status, leaves a record without a status, which it neither lists nor runs.
    pub(crate) has_status: bool,
}

impl Record {
    pub(crate) fn was_cancelled(&self) -> bool {
        self.failed.contains("canceled by external request")
    }
}

/// The jobs in a control directory.
pub(crate) fn records(control: &Path) -> Vec<Record> {
    all_records(control).into_iter().filter(|record| record.has_status).collect()
}

/// The jobs in a control directory, and the records of jobs that A-REX has lost.
pub(crate) fn all_records(control: &Path) -> Vec<Record> {
    let mut with_status = HashSet::new();
    let mut locals = BTreeSet::new();
    // A status that is just moved from one directory to another may be in neither.
    for _ in 0..3 {
        for path in files_below(control) {
            // ARC 6 has files job.ID.local and job.ID.status, ARC 7 has a directory for each job, and ID.status.
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if let Some(id) = name.strip_suffix(".status") {
                with_status.insert(id.strip_prefix("job.").unwrap_or(id).to_owned());
            } else if name == "local" || name.ends_with(".local") {
                locals.insert(path.clone());
            }
        }
    }
    let records = locals.iter().filter_map(|path| record(path));
    records.map(|record| Record { has_status: with_status.contains(&record.id), ..record }).collect()
}

fn record(local: &Path) -> Option<Record> {
    let beside = |name| match local.extension() {
        Some(_) => local.with_extension(name),
        None => local.with_file_name(name),
    };
    let read = |name| fs::read_to_string(beside(name)).unwrap_or_default();
    // A-REX rewrites the record in place, and one that was killed meanwhile leaves it incomplete. This is its last line.
    let text = (0..10).find_map(|attempt| {
        std::thread::sleep(Duration::from_millis(10 * attempt));
        Some(read("local")).filter(|text| text.contains("\ndryrun="))
    });
    let text = text.unwrap_or_default();
    let field = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    let file_name = local.file_name()?.to_str()?;
    let id = match file_name.strip_prefix("job.").and_then(|name| name.strip_suffix(".local")) {
        Some(id) => id,
        None => field("globalid=")?.rsplit('/').next()?,
    };
    let description = read("description");
    let key = description.split_once("urn:jasmin-arc:").and_then(|(_, rest)| rest.split(['<', '"']).next());
    Some(Record {
        id: id.to_owned(),
        name: field("jobname=").unwrap_or_default().to_owned(),
        key: key.map(str::to_owned),
        failed: read("failed"),
        has_status: false,
    })
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

/// The jobs in a control directory whose name is wanted: their names and local ids.
pub(crate) fn jobs_named(control: &Path, wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    records(control).into_iter().filter(|job| wanted(&job.name)).map(|job| (job.name, job.id)).collect()
}

/// The control directory of the CE that all tests share.
pub(crate) fn shared_control() -> Option<PathBuf> {
    env::var_os("JASMIN_ARC_TESTBED_CONTROLDIR").map(PathBuf::from)
}

/// The path of one of A-REX's records of a job, such as `local`: `job.ID.local` in ARC 6, and in ARC 7 `local` in a directory
/// whose path consists of pieces of the id (`job_control_path`).
pub(crate) fn control_file(control: &Path, id: &JobId, part: &str) -> PathBuf {
    let id = id.local_id();
    let flat = control.join(format!("job.{id}.{part}"));
    if flat.exists() || !control.join("jobs").exists() {
        return flat;
    }
    control.join("jobs").join(in_pieces(id)).join(part)
}

/// The path into which A-REX makes an id: three pieces of three characters, and the rest.
pub(crate) fn in_pieces(id: &str) -> PathBuf {
    [id.get(..3), id.get(3..6), id.get(6..9), id.get(9..)].into_iter().flatten().collect()
}
