//! What the integration tests share: a site of its own for each test, waiting with a deadline, fetched files.

use std::env;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};
use std::thread::sleep;
use std::time::{Duration, Instant};

use jasmin_arc::{ArcInterface, JobId, JobInfo, JobStatus, Protocol};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// How long a CE may take with jobs that need no time themselves. Some tell of a job's end a minute late.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// The CE of `JASMIN_ARC_CONFIG`, with the proxy that the tests share and all other files in a directory of its own.
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

    /// A site with some keys of the configuration overridden.
    pub(crate) fn with(overrides: Value) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let proxy = shared_directory();
        let path = env::var_os("JASMIN_ARC_CONFIG").expect("JASMIN_ARC_CONFIG names no configuration");
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

    /// Another interface at the same site.
    pub(crate) fn another(&self, overrides: Value) -> ArcInterface {
        interface(self.path(), &overridden(&self.config, overrides))
    }

    /// The directory of this test.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file in the directory of this test.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Whether the CE is spoken to by REST: it tells more then.
    pub(crate) fn is_rest(&self) -> bool {
        matches!(self.arc.config().interface(), Protocol::Auto | Protocol::ArcRest)
    }

    /// Submits a shell script.
    pub(crate) fn submit(&self, script: &str) -> JobId {
        self.arc.submit_job("/bin/sh", &["-c", script], &[]).unwrap()
    }

    /// Waits until a job has ended.
    pub(crate) fn wait(&self, id: &JobId) -> JobStatus {
        self.wait_until(id, JobStatus::is_final)
    }

    /// Waits until the status of a job is one that is wanted.
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

    /// What the CE tells of a job that has ended when it tells all: that may be a minute later.
    pub(crate) fn complete_job(&self, id: &JobId) -> JobInfo {
        let mut job = self.arc.job(id).unwrap();
        eventually("the CE tells how long it keeps the job", PATIENCE, || {
            job = self.arc.job(id).unwrap();
            job.erase_time.is_some()
        });
        job
    }

    /// Waits until a job has completed and fetches its outputs.
    pub(crate) fn outputs(&self, id: &JobId) -> Outputs {
        assert_eq!(self.wait(id), JobStatus::Completed, "{:?}", self.arc.job(id));
        self.save(id).expect("there is nothing to fetch")
    }

    /// Fetches the outputs of a job as they are.
    pub(crate) fn save(&self, id: &JobId) -> Option<Outputs> {
        self.arc.save_job_outputs(id).unwrap().map(Outputs)
    }
}

/// Outputs of a job; the directory goes when this goes.
pub(crate) struct Outputs(PathBuf);

impl Outputs {
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.join(name)).unwrap_or_else(|error| panic!("{}: {error}", self.join(name).display()))
    }

    pub(crate) fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    /// The names of all the files, sorted.
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

/// Runs one test of this binary again, in a process of its own. It sees that by [`is_child`].
pub(crate) fn child(test: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--include-ignored", "--nocapture"]).env("JASMIN_ARC_TEST_CHILD", test);
    command
}

/// Whether [`child`] started this process.
pub(crate) fn is_child() -> bool {
    env::var_os("JASMIN_ARC_TEST_CHILD").is_some()
}

/// Waits until something is the case.
#[track_caller]
pub(crate) fn eventually(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        sleep(Duration::from_millis(100));
    }
}

fn overridden(config: &Map<String, Value>, overrides: Value) -> Map<String, Value> {
    let Value::Object(overrides) = overrides else { panic!("no object: {overrides}") };
    config.clone().into_iter().chain(overrides).collect()
}

fn interface(directory: &Path, config: &Map<String, Value>) -> ArcInterface {
    let path = directory.join("config.json");
    fs::write(&path, serde_json::to_vec(config).unwrap()).unwrap();
    ArcInterface::from_file(&path).unwrap()
}

/// A directory that lasts as long as a test needs it.
fn shared_directory() -> Arc<TempDir> {
    static SHARED: Mutex<Weak<TempDir>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap();
    shared.upgrade().unwrap_or_else(|| {
        let made = Arc::new(tempfile::tempdir().unwrap());
        *shared = Arc::downgrade(&made);
        made
    })
}
