//! The job list (`JOBS_INFO_FILE`), which ARC's own tools read.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{PATIENCE, Site, child, eventually, is_child, run_child};
use jasmin_arc::{ArcInterface, JobStatus};
use serde_json::json;

/// Runs the ARC tool `name` with the job list `list` and returns what it printed. `arcproxy` is in the same directory.
fn tool(site: &Site, name: &str, list: &Path, args: &[&str]) -> String {
    let config = site.arc.config();
    let output = Command::new(config.arcproxy_path().with_file_name(name))
        .arg("-z")
        .arg(site.file("client.conf", ""))
        .arg("-j")
        .arg(list)
        .args(args)
        .env("X509_USER_PROXY", config.proxy_file())
        .env("X509_CERT_DIR", config.certs_dir())
        .env("HOME", site.path())
        .current_dir(site.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {args:?}: {text}");
    text
}

#[test]
#[ignore = "needs an ARC-CE"]
fn arc_tools_work_on_the_job_list() {
    let site = Site::new();
    let list = site.path().join("new.dat");
    let arc = site.another(json!({ "JOBS_INFO_FILE": list }));
    let script = "echo hello > output; echo out";
    let done = arc.submit_job("/bin/sh", &["-c", script], &[]).unwrap();
    let endless = arc.submit_job("/bin/sleep", &["3600"], &[]).unwrap();
    assert!(list.is_file());

    assert_eq!(site.wait(&done), JobStatus::Completed);
    // The tools read the CE's information system, which is up to a minute late.
    eventually("arcstat reports the end of the job", PATIENCE, || {
        tool(&site, "arcstat", &list, &["-a"]).contains("Finished")
    });
    let all = tool(&site, "arcstat", &list, &["-a"]);
    assert!(all.contains(done.as_str()) && all.contains(endless.as_str()) && all.contains("ARC job"), "{all}");

    let fetched = site.path().join("fetched");
    fs::create_dir(&fetched).unwrap();
    tool(&site, "arcget", &list, &["-k", "-D", fetched.to_str().unwrap(), done.as_str()]);
    let directory = fs::read_dir(&fetched).unwrap().next().unwrap().unwrap().path();
    assert_eq!(fs::read_to_string(directory.join("output")).unwrap(), "hello\n");
    assert_eq!(fs::read_to_string(directory.join("stdout.txt")).unwrap(), "out\n");

    tool(&site, "arckill", &list, &["-k", endless.as_str()]);
    assert_eq!(site.wait(&endless), JobStatus::Failed);
}

#[test]
#[ignore = "needs an ARC-CE"]
fn unwritable_job_list_is_a_warning() {
    if !is_child() {
        // The journal of submissions is in the user's directory for data, if it cannot be beside the list.
        let data = tempfile::tempdir().unwrap();
        run_child(child("job_list::unwritable_job_list_is_a_warning").env("XDG_DATA_HOME", data.path()));
        assert!(data.path().join("jasmin-arc/submissions").is_file());
        return;
    }
    let site = Site::new();
    let directory = site.path().join("directory");
    fs::create_dir(&directory).unwrap();
    let garbage = site.file("garbage", "this is no database\n".repeat(1000));
    let below = garbage.join("jobs.dat");
    let missing = site.path().join("missing/jobs.dat");
    for list in [&directory, &garbage, &below, &missing] {
        let log = SharedLog::default();
        let config = site.arc.config().clone().with_jobs_info_file(list);
        let arc = ArcInterface::builder().config(config).log_writer(log.clone()).build().unwrap();
        let id = arc.submit_job("/bin/true", &[], &[]).unwrap();
        arc.job_status(&id).unwrap();
        let names_both =
            |line: &str| ["[WARNING]", list.to_str().unwrap(), id.as_str()].iter().all(|part| line.contains(part));
        eventually("a warning names the list and the job", Duration::from_secs(10), || {
            log.text().lines().any(names_both)
        });
    }
    assert!(!missing.parent().unwrap().exists());
    assert!(fs::read_to_string(&garbage).unwrap().starts_with("this is no database"));
}

/// A log writer whose text can be read while it is in use.
#[derive(Clone, Default)]
struct SharedLog(Arc<Mutex<Vec<u8>>>);

impl SharedLog {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for SharedLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
