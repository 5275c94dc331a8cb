//! A CE of a test's own, which the test may break.

use std::collections::HashSet;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A CE that `tests/testbed/run` starts. It stops when this is dropped, and when the process ends.
pub(crate) struct Ce {
    shell: Child,
    dir: PathBuf,
}

impl Ce {
    /// Starts a CE. `None` without the testbed's programs, if the tests use another CE.
    pub(crate) fn start() -> Option<Ce> {
        if !super::common::is_testbed() {
            return None;
        }
        // The shell prints the directory and waits for the end of its input. It is in a process group of its own, so
        // that an interrupt from the terminal leaves it the time to stop the CE.
        let mut shell = script();
        shell.args(["shell", "sh", "-c", "echo \"$JASMIN_ARC_TESTBED\"; exec cat"]).process_group(0);
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
        let path = self.dir.join("arc.conf");
        let mut settings = fs::read_to_string(&path).unwrap();
        settings.push_str("\n[arex/jobs]\nmaxjobs = -1 4\n");
        fs::write(path, settings).unwrap();
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

/// The jobs in a control directory whose name is wanted: their names and local ids.
///
/// A-REX writes the status of a job last. One that was killed before that leaves a record that is no job: A-REX neither
/// lists nor runs it.
pub(crate) fn jobs_named(control: &Path, wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let mut jobs = Vec::new();
    let mut with_status = HashSet::new();
    let mut directories = vec![control.to_owned()];
    while let Some(directory) = directories.pop() {
        for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            // ARC 6 has files job.ID.local and job.ID.status, ARC 7 has a directory for each job, and ID.status.
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if let Some(id) = name.strip_suffix(".status") {
                with_status.insert(id.strip_prefix("job.").unwrap_or(id).to_owned());
            }
            let is_record = path.extension().is_some_and(|extension| extension == "local") || path.ends_with("local");
            let Some(local) = is_record.then(|| fs::read_to_string(&path).ok()).flatten() else { continue };
            let field = |key: &str| local.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            let (name, id) = (field("jobname="), field("globalid="));
            if wanted(name) {
                jobs.push((name.to_owned(), id.rsplit('/').next().unwrap_or_default().to_owned()));
            }
        }
    }
    jobs.retain(|(_, id)| with_status.contains(id));
    jobs
}

/// The control directory of the CE that all tests share.
pub(crate) fn shared_control() -> Option<PathBuf> {
    env::var_os("JASMIN_ARC_TESTBED_CONTROLDIR").map(PathBuf::from)
}
