//! The measured CE, with an interface of this crate and a bare client.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use jasmin_arc::{ArcInterface, ConnectionConfig, JobDescription, JobId};
use tempfile::TempDir;

use crate::Outcome;
use crate::raw::Client;

/// The REST states of jobs that keep the CE busy.
const BUSY: &str = "ACCEPTING,ACCEPTED,PREPARING,PREPARED,SUBMITTING,RUNNING,EXECUTED,FINISHING,KILLING";

/// The number of jobs in one request of the bare client.
const CHUNK: usize = 1000;

pub(crate) struct Ce {
    pub(crate) config: ConnectionConfig,
    pub(crate) arc: ArcInterface,
    raw: Client,
    /// The URL of the REST interface.
    pub(crate) url: String,
    /// The path of `url`.
    path: String,
    /// The ADL text that the crate sends for [`job`].
    pub(crate) adl: String,
    /// The directory for files of the bench.
    pub(crate) files: TempDir,
}

/// The measured job, which does nothing.
pub(crate) fn job() -> JobDescription {
    JobDescription::new("/bin/true")
}

/// The configuration of `JASMIN_ARC_CONFIG`, and an interface with it.
pub(crate) fn connect() -> Outcome<(ConnectionConfig, ArcInterface)> {
    let path = std::env::var_os("JASMIN_ARC_CONFIG")
        .ok_or("set JASMIN_ARC_CONFIG to a configuration file, or use tests/testbed/run bench")?;
    let config = ConnectionConfig::from_file(path)?;
    let arc = ArcInterface::builder().config(config.clone()).no_log().build()?;
    Ok((config, arc))
}

impl Ce {
    pub(crate) fn new() -> Outcome<Ce> {
        let (config, arc) = connect()?;
        let id = arc.submit(&job())?;
        let url = id.as_str().split("/jobs/").next().unwrap_or_default().to_owned();
        let path = url
            .splitn(4, '/')
            .nth(3)
            .map(|path| format!("/{path}"))
            .ok_or_else(|| format!("job id without a path: {url}"))?;
        let mut raw = Client::connect(&url, &config.proxy_file(), &config.certs_dir())?;
        let adl = raw.text("GET", &format!("{path}/jobs/{}/diagnose/description", id.local_id()), b"")?;
        let adl = adl[adl.find("<ActivityDescription").ok_or("the CE's record of the job has no ADL")?..].to_owned();
        let mut ce = Ce { config, arc, raw, url, path, adl, files: tempfile::tempdir()? };
        ce.remove(&[id])?;
        Ok(ce)
    }

    fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> Outcome<String> {
        Ok(self.raw.text(method, &format!("{}/{path}", self.path), body)?)
    }

    /// Requests an action for jobs and returns the responses.
    pub(crate) fn action(&mut self, action: &str, ids: &[JobId]) -> Outcome<String> {
        let mut responses = String::new();
        for ids in ids.chunks(CHUNK) {
            let list: String = ids.iter().map(|id| format!("<job><id>{}</id></job>", id.local_id())).collect();
            responses +=
                &self.ask("POST", &format!("jobs?action={action}"), format!("<jobs>{list}</jobs>").as_bytes())?;
        }
        Ok(responses)
    }

    /// Submits ADL descriptions in one request.
    pub(crate) fn submit_raw(&mut self, adl: &str) -> Outcome<Vec<JobId>> {
        let body = format!("<ActivityDescriptions>{adl}</ActivityDescriptions>");
        let responses = self.ask("POST", "jobs?action=new", body.as_bytes())?;
        Ok(texts(&responses, "id").map(|id| format!("{}/jobs/{id}", self.url).into()).collect())
    }

    /// Submits jobs that wait for an input file that never comes. They keep their state and give the CE no work.
    pub(crate) fn submit_waiting(&mut self, count: usize) -> Outcome<Vec<JobId>> {
        let input = "<DataStaging><InputFile><Name>never</Name></InputFile>";
        let ids = self.submit_raw(&self.adl.replace("<DataStaging>", input).repeat(count))?;
        while self.ask("GET", "jobs?state=ACCEPTING,ACCEPTED", b"")?.contains("<id>") {
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(ids)
    }

    /// Fetches all files of jobs, one by one, and returns their number.
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

    /// Whether A-REX's own record says that a job has ended.
    ///
    /// Returns false while A-REX moves the record, because it cannot be read then.
    pub(crate) fn has_ended(&mut self, id: &JobId) -> bool {
        let record = self.ask("GET", &format!("jobs/{}/diagnose/status", id.local_id()), b"");
        record.is_ok_and(|state| state.starts_with("FINISHED"))
    }

    /// Waits until no job keeps the CE busy.
    pub(crate) fn settle(&mut self) -> Outcome<()> {
        while self.ask("GET", &format!("jobs?state={BUSY}"), b"")?.contains("<id>") {
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Waits until the CE's information system, which ARC's tools read, has published the end of jobs.
    pub(crate) fn wait_until_published(&mut self, ids: &[JobId]) -> Outcome<()> {
        let is_busy = |state: &str| BUSY.split(',').chain(["QUEUING", "HELD"]).any(|busy| busy == state);
        while texts(&self.action("status", ids)?, "state").any(is_busy) {
            std::thread::sleep(Duration::from_secs(1));
        }
        Ok(())
    }

    /// Cancels jobs and removes them from the CE.
    pub(crate) fn remove(&mut self, ids: &[JobId]) -> Outcome<()> {
        self.action("kill", ids)?;
        self.settle()?;
        self.action("clean", ids)?;
        Ok(())
    }

    /// The date and the versions of all programs, in one line.
    pub(crate) fn versions(&mut self) -> Outcome<String> {
        let info = self.ask("GET", "info", b"")?;
        let arex = texts(&info, "ImplementationVersion").next().unwrap_or("?").to_owned();
        let output_of = |program: &str, argument: &str| -> Outcome<String> {
            Ok(String::from_utf8(Command::new(program).arg(argument).output()?.stdout)?.trim().to_owned())
        };
        Ok(format!(
            "{}: jasmin-arc {}, {}, A-REX {arex}, {}, {} cores",
            output_of("date", "-I")?,
            env!("CARGO_PKG_VERSION"),
            output_of("arcsub", "--version")?,
            output_of("rustc", "--version")?,
            std::thread::available_parallelism()?,
        ))
    }
}

/// The values of a bulk call, or its first error.
pub(crate) fn all<T>(responses: Vec<jasmin_arc::Result<T>>) -> jasmin_arc::Result<Vec<T>> {
    responses.into_iter().collect()
}

/// The texts of all elements called `name`. A-REX's responses need no full parser.
fn texts<'a>(xml: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let parts = xml.split(['<', '>']);
    let mut wanted = false;
    parts.filter(move |part| {
        let is_text = wanted;
        wanted = !is_text && part.split(' ').next() == Some(name);
        is_text
    })
}
