//! Helpers of the tests: a [`Site`] for each test, waiting with a deadline, saved outputs, and child processes.

use std::env;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, Weak};
use std::thread::sleep;
use std::time::{Duration, Instant};

use jasmin_arc::{ArcInterface, JobId, JobInfo, JobStatus, Protocol};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// The longest wait for a short job. Over EMI-ES the CE publishes the end of a job up to a minute late.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// The CE of `JASMIN_ARC_CONFIG`, for one test.
///
/// Running tests share one proxy certificate. All other files of a site are in a directory of its own.
pub(crate) struct Site {
    pub(crate) arc: ArcInterface,
    config: Map<String, Value>,
    dir: TempDir,
    _proxy: Arc<TempDir>,
}

impl Site {
    pub(crate) fn new() -> Site {
        Site::with(json!({}))
    }

    /// Returns a site whose configuration has the keys of `overrides` replaced.
    pub(crate) fn with(overrides: Value) -> Site {
        let path = env::var_os("JASMIN_ARC_CONFIG")
            .expect("set JASMIN_ARC_CONFIG to a configuration file, or use tests/testbed/run test");
        Site::at(path.as_ref(), shared_directory(), overrides)
    }

    /// Returns a site with its own proxy certificate, for the CE of a configuration file.
    pub(crate) fn of(config: &Path) -> Site {
        Site::at(config, Arc::new(tempfile::tempdir().unwrap()), json!({}))
    }

    fn at(path: &Path, proxy: Arc<TempDir>, overrides: Value) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let mut config: Map<String, Value> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        config.insert("PROXY_FILE".into(), json!(proxy.path().join("proxy.pem")));
        config.insert("JOBS_INFO_FILE".into(), json!(dir.path().join("jobs.dat")));
        config.insert("OUTPUT_FILE".into(), json!("output"));
        if let Ok(interface) = env::var("JASMIN_ARC_TEST_INTERFACE") {
            config.insert("INTERFACE".into(), json!(interface));
        }
        let config = overridden(&config, overrides);
        let arc = interface(dir.path(), &config);
        Site { arc, config, dir, _proxy: proxy }
    }

    /// Returns another interface for the same CE and directory, with the keys of `overrides` replaced.
    pub(crate) fn another(&self, overrides: Value) -> ArcInterface {
        interface(self.path(), &overridden(&self.config, overrides))
    }

    /// The directory of this site.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file in the directory of this site and returns its path.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Whether the interface uses REST, which reports more than ARC's plugins do.
    pub(crate) fn is_rest(&self) -> bool {
        matches!(self.arc.config().interface(), Protocol::Auto | Protocol::ArcRest)
    }

    /// Submits a job that runs `script` in a shell.
    pub(crate) fn submit(&self, script: &str) -> JobId {
        self.arc.submit_job("/bin/sh", &["-c", script], &[]).unwrap()
    }

    /// Waits until the job has ended and returns its status.
    pub(crate) fn wait(&self, id: &JobId) -> JobStatus {
        self.wait_until(id, JobStatus::is_final)
    }

    /// Waits until `wanted` returns true for the status of the job. Panics if the job ends before that.
    pub(crate) fn wait_until(&self, id: &JobId, mut wanted: impl FnMut(JobStatus) -> bool) -> JobStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.arc.job_status(id).unwrap();
            if wanted(status) {
                return status;
            }
            assert!(!status.is_final() && Instant::now() < deadline, "{id} is {status}");
            sleep(Duration::from_millis(300));
        }
    }

    /// Returns the information about an ended job once the CE has published all of it, up to a minute after the end.
    pub(crate) fn complete_job(&self, id: &JobId) -> JobInfo {
        let mut job = self.arc.job(id).unwrap();
        eventually("the CE publishes when it erases the job", PATIENCE, || {
            job = self.arc.job(id).unwrap();
            job.erase_time.is_some()
        });
        job
    }

    /// Waits until the job has completed and saves its outputs.
    pub(crate) fn outputs(&self, id: &JobId) -> Outputs {
        assert_eq!(self.wait(id), JobStatus::Completed, "{:?}", self.arc.job(id));
        self.save(id).expect("the job has no outputs")
    }

    /// Saves the current outputs of the job, whether or not it has ended.
    pub(crate) fn save(&self, id: &JobId) -> Option<Outputs> {
        self.arc.save_job_outputs(id).unwrap().map(Outputs)
    }
}

/// The directory with the outputs of a job, removed on drop.
pub(crate) struct Outputs(PathBuf);

impl Outputs {
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.join(name)).unwrap_or_else(|error| panic!("{}: {error}", self.join(name).display()))
    }

    pub(crate) fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    /// The paths of all files below the directory, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        fn walk(top: &Path, directory: &Path, files: &mut Vec<String>) {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(top, &path, files);
                } else {
                    files.push(path.strip_prefix(top).unwrap().to_str().unwrap().into());
                }
            }
        }
        let mut files = Vec::new();
        walk(self, self, &mut files);
        files.sort();
        files
    }
}

impl Deref for Outputs {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Outputs {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether the CE is the testbed's, which runs on this host and lets the tests read its records. Otherwise prints that
/// the test is skipped.
pub(crate) fn is_testbed() -> bool {
    let is = env::var_os("JASMIN_ARC_TESTBED").is_some();
    if !is {
        eprintln!("skipped: needs the CE of tests/testbed/run");
    }
    is
}

/// The batch system of the testbed: `fork`, which is none, or `slurm`. `None` if the tests use another CE.
pub(crate) fn batch_system() -> Option<String> {
    env::var("JASMIN_ARC_TESTBED_LRMS").ok()
}

/// The queue of the testbed.
pub(crate) fn queue() -> String {
    env::var("JASMIN_ARC_TESTBED_QUEUE").expect("the testbed")
}

/// Returns a command that runs one test of this program, `module::name`, in its own process.
///
/// [`is_child`] is true in that process. Run the command with [`run_child`].
pub(crate) fn child(test: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--include-ignored", "--nocapture"]).env("JASMIN_ARC_TEST_CHILD", test);
    command
}

/// Runs a command of [`child`], checks that its test has passed and returns what it printed.
pub(crate) fn run_child(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let passed = String::from_utf8_lossy(&output.stdout).contains("test result: ok. 1 passed");
    assert!(output.status.success() && passed, "{output:?}");
    output
}

/// Whether [`child`] started this process.
pub(crate) fn is_child() -> bool {
    env::var_os("JASMIN_ARC_TEST_CHILD").is_some()
}

/// Waits until `holds` returns true. Panics after `patience`.
#[track_caller]
pub(crate) fn eventually(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {patience:?}");
        sleep(Duration::from_millis(100));
    }
}

fn overridden(config: &Map<String, Value>, overrides: Value) -> Map<String, Value> {
    let Value::Object(overrides) = overrides else { panic!("overrides must be an object: {overrides}") };
    config.clone().into_iter().chain(overrides).collect()
}

fn interface(directory: &Path, config: &Map<String, Value>) -> ArcInterface {
    let path = directory.join("config.json");
    fs::write(&path, serde_json::to_vec(config).unwrap()).unwrap();
    ArcInterface::from_file(&path).unwrap()
}

/// The directory of the shared proxy certificate, kept as long as some test uses it.
fn shared_directory() -> Arc<TempDir> {
    static SHARED: Mutex<Weak<TempDir>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap();
    shared.upgrade().unwrap_or_else(|| {
        let made = Arc::new(tempfile::tempdir().unwrap());
        *shared = Arc::downgrade(&made);
        made
    })
}
