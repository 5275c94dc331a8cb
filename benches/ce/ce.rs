//! The CE that is measured: the crate's way to it, and the bare one.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use jasmin_arc::{ArcInterface, ConnectionConfig, JobDescription, JobId};
use tempfile::TempDir;

use crate::Outcome;
use crate::raw::Client;

/// The states of jobs that have something to do for the CE.
const BUSY: &str = "ACCEPTING,ACCEPTED,PREPARING,PREPARED,SUBMITTING,RUNNING,EXECUTED,FINISHING,KILLING";

/// How many jobs are named in one bare request.
const CHUNK: usize = 1000;

pub(crate) struct Ce {
    pub(crate) config: ConnectionConfig,
    pub(crate) arc: ArcInterface,
    raw: Client,
    /// The URL of the interface, and its path alone.
    pub(crate) url: String,
    path: String,
    /// What the crate sends for [`job`].
    pub(crate) adl: String,
    /// For all that is written here.
    pub(crate) files: TempDir,
}

/// The job that is measured: it does nothing.
pub(crate) fn job() -> JobDescription {
    JobDescription::new("/bin/true")
}

pub(crate) fn connect() -> Outcome<(ConnectionConfig, ArcInterface)> {
    let path =
        std::env::var_os("JASMIN_ARC_CONFIG").ok_or("no CE: use tests/testbed/run bench, or set JASMIN_ARC_CONFIG")?;
    let config = ConnectionConfig::from_file(path)?;
    let arc = ArcInterface::builder().config(config.clone()).no_log().build()?;
    Ok((config, arc))
}

impl Ce {
    pub(crate) fn new() -> Outcome<Ce> {
        let (config, arc) = connect()?;
        let id = arc.submit(&job())?;
        let url = id.as_str().split("/jobs/").next().unwrap_or_default().to_owned();
        let path = url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).ok_or("an id without a path")?;
        let mut raw = Client::connect(&url, &config.proxy_file(), &config.certs_dir())?;
        let adl = raw.text("GET", &format!("{path}/jobs/{}/diagnose/description", id.local_id()), b"")?;
        let adl = adl[adl.find("<ActivityDescription").ok_or("no ADL")?..].to_owned();
        let mut ce = Ce { config, arc, raw, url, path, adl, files: tempfile::tempdir()? };
        ce.remove(&[id])?;
        Ok(ce)
    }

    fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> Outcome<String> {
        Ok(self.raw.text(method, &format!("{}/{path}", self.path), body)?)
    }

    /// Makes a request about jobs.
    pub(crate) fn action(&mut self, action: &str, ids: &[JobId]) -> Outcome<String> {
        let mut answers = String::new();
        for ids in ids.chunks(CHUNK) {
            let list: String = ids.iter().map(|id| format!("<job><id>{}</id></job>", id.local_id())).collect();
            answers +=
                &self.ask("POST", &format!("jobs?action={action}"), format!("<jobs>{list}</jobs>").as_bytes())?;
        }
        Ok(answers)
    }

    /// Submits descriptions in one request.
    pub(crate) fn submit_raw(&mut self, adl: &str) -> Outcome<Vec<JobId>> {
        let body = format!("<ActivityDescriptions>{adl}</ActivityDescriptions>");
        let answers = self.ask("POST", "jobs?action=new", body.as_bytes())?;
        Ok(texts(&answers, "id").map(|id| format!("{}/jobs/{id}", self.url).into()).collect())
    }

    /// Submits jobs that wait for an input file, and so stay as they are without being any work for the CE.
    pub(crate) fn submit_waiting(&mut self, count: usize) -> Outcome<Vec<JobId>> {
        let input = "<DataStaging><InputFile><Name>never</Name></InputFile>";
        let ids = self.submit_raw(&self.adl.replace("<DataStaging>", input).repeat(count))?;
        while self.ask("GET", "jobs?state=ACCEPTING,ACCEPTED", b"")?.contains("<id>") {
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(ids)
    }

    /// Fetches all files of jobs, one after the other, and returns how many they are.
    pub(crate) fn fetch_raw(&mut self, ids: &[JobId], to: &Path) -> Outcome<usize> {
        let mut files = 0;
        for id in ids {
            let session = format!("jobs/{}/session", id.local_id());
            let mut directories = vec![session];
            while let Some(directory) = directories.pop() {
                let listing = self.ask("GET", &directory, b"")?;
                directories.extend(texts(&listing, "dir").map(|name| format!("{directory}/{name}")));
                for name in texts(&listing, "file") {
                    let path = format!("{}/{directory}/{name}", self.path);
                    self.raw.request("GET", &path, b"", File::create(to.join(files.to_string()))?)?;
                    files += 1;
                }
            }
        }
        Ok(files)
    }

    /// Whether a job has ended by A-REX's own record, which cannot be read while it moves from one place to another.
    pub(crate) fn has_ended(&mut self, id: &JobId) -> bool {
        let record = self.ask("GET", &format!("jobs/{}/diagnose/status", id.local_id()), b"");
        record.is_ok_and(|state| state.starts_with("FINISHED"))
    }

    /// Waits until the CE has nothing to do.
    pub(crate) fn settle(&mut self) -> Outcome<()> {
        while self.ask("GET", &format!("jobs?state={BUSY}"), b"")?.contains("<id>") {
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Waits until the CE's information system, which is all that ARC's tools look at, knows that jobs have ended.
    pub(crate) fn wait_until_published(&mut self, ids: &[JobId]) -> Outcome<()> {
        let is_busy = |state: &str| BUSY.split(',').chain(["QUEUING", "HELD"]).any(|busy| busy == state);
        while texts(&self.action("status", ids)?, "state").any(is_busy) {
            std::thread::sleep(Duration::from_secs(1));
        }
        Ok(())
    }

    /// Ends jobs and removes them from the CE.
    pub(crate) fn remove(&mut self, ids: &[JobId]) -> Outcome<()> {
        self.action("kill", ids)?;
        self.settle()?;
        self.action("clean", ids)?;
        Ok(())
    }

    /// What was measured with what.
    pub(crate) fn versions(&mut self) -> Outcome<String> {
        let info = self.ask("GET", "info", b"")?;
        let arex = texts(&info, "ImplementationVersion").next().unwrap_or("?").to_owned();
        let said = |program: &str, argument: &str| -> Outcome<String> {
            Ok(String::from_utf8(Command::new(program).arg(argument).output()?.stdout)?.trim().to_owned())
        };
        Ok(format!(
            "{}: jasmin-arc {}, {}, A-REX {arex}, {}, {} cores",
            said("date", "-I")?,
            env!("CARGO_PKG_VERSION"),
            said("arcsub", "--version")?,
            said("rustc", "--version")?,
            std::thread::available_parallelism()?,
        ))
    }
}

/// The answers for many jobs, when all are good.
pub(crate) fn all<T>(answers: Vec<jasmin_arc::Result<T>>) -> jasmin_arc::Result<Vec<T>> {
    answers.into_iter().collect()
}

/// What stands in the elements of a name; A-REX's answers need no better parser.
fn texts<'a>(xml: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let parts = xml.split(['<', '>']);
    let mut wanted = false;
    parts.filter(move |part| {
        let is_text = wanted;
        wanted = !is_text && part.split(' ').next() == Some(name);
        is_text
    })
}
