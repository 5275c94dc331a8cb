//! The measured CE, with an interface of this crate and a bare client.

use std::collections::HashSet;
use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jasmin_arc::{ArcInterface, ConnectionConfig, JobDescription, JobId};
use tempfile::TempDir;

use crate::raw::Client;
use crate::{Outcome, link};

/// The REST states of jobs that keep the CE busy.
const BUSY: &str = "ACCEPTING,ACCEPTED,PREPARING,PREPARED,SUBMITTING,RUNNING,EXECUTED,FINISHING,KILLING";

/// The number of jobs in one request of the bare client.
const CHUNK: usize = 1000;

/// The number of connections of the bare client for many files.
const CONNECTIONS: usize = 8;

pub(crate) struct Ce {
    pub(crate) config: ConnectionConfig,
    pub(crate) arc: ArcInterface,
    raw: Client,
    raw_used: Instant,
    /// Whether the link to the CE has a longer round-trip time.
    is_far: bool,
    /// More connections of the bare client: see [`connect_many`](Self::connect_many).
    many: Vec<Client>,
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
    interface(ConnectionConfig::from_file(path)?)
}

fn interface(config: ConnectionConfig) -> Outcome<(ConnectionConfig, ArcInterface)> {
    let arc = ArcInterface::builder().config(config.clone()).no_log().build()?;
    Ok((config, arc))
}

impl Ce {
    /// Connects to the CE, with a longer round-trip time if one is given.
    pub(crate) fn new(round_trip: Option<Duration>) -> Outcome<Ce> {
        let (mut config, mut arc) = connect()?;
        if let Some(round_trip) = round_trip {
            let port = config.endpoint_url()?.split(':').nth(2).and_then(|rest| rest.split('/').next()?.parse().ok());
            let port = link::delayed(port.ok_or("the CE's URL has no port")?, round_trip)?;
            (config, arc) = interface(config.with_arc_server(format!("localhost:{port}/arex")))?;
        }
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
        let is_far = round_trip.is_some();
        let mut ce = Ce {
            config,
            arc,
            raw,
            raw_used: Instant::now(),
            is_far,
            many: Vec::new(),
            url,
            path,
            adl,
            files: tempfile::tempdir()?,
        };
        ce.remove(&[id])?;
        Ok(ce)
    }

    /// Measures ARC's tools, unless the CE is far: the tools would take hours.
    pub(crate) fn with_tools<T>(&mut self, measure: impl FnOnce(&mut Ce) -> Outcome<T>) -> Outcome<Option<T>> {
        if self.is_far { Ok(None) } else { measure(self).map(Some) }
    }

    fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> Outcome<String> {
        // A-REX closes idle connections.
        if self.raw_used.elapsed() > Duration::from_secs(10) {
            self.raw = self.client()?;
        }
        self.raw_used = Instant::now();
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

    /// The ADL text of a job with an input file that the client uploads.
    fn adl_with_input(&self, name: &str) -> String {
        self.adl.replace("<DataStaging>", &format!("<DataStaging><InputFile><Name>{name}</Name></InputFile>"))
    }

    /// Submits jobs that wait for an input file that never comes. They keep their state and give the CE no work.
    pub(crate) fn submit_waiting(&mut self, count: usize) -> Outcome<Vec<JobId>> {
        let ids = self.submit_raw(&self.adl_with_input("never").repeat(count))?;
        while self.ask("GET", "jobs?state=ACCEPTING,ACCEPTED", b"")?.contains("<id>") {
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(ids)
    }

    fn client(&self) -> std::io::Result<Client> {
        Client::connect(&self.url, &self.config.proxy_file(), &self.config.certs_dir())
    }

    /// Opens the connections for many files, because A-REX closes idle ones.
    pub(crate) fn connect_many(&mut self) -> Outcome<()> {
        self.many = (0..CONNECTIONS).map(|_| self.client()).collect::<std::io::Result<_>>()?;
        Ok(())
    }

    /// Does something for each item, over several connections.
    fn each<I: Sync, T: Send>(
        &mut self,
        items: &[I],
        work: impl Fn(&mut Client, usize, &I) -> std::io::Result<T> + Sync,
    ) -> Outcome<Vec<T>> {
        let next = AtomicUsize::new(0);
        let share = |client: &mut Client| {
            let mut results = Vec::new();
            while let Some((index, item)) = items.iter().enumerate().nth(next.fetch_add(1, Ordering::Relaxed)) {
                results.push(work(client, index, item)?);
            }
            std::io::Result::Ok(results)
        };
        let shares: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = self.many.iter_mut().map(|client| scope.spawn(|| share(client))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a thread of the bare client")).collect()
        });
        Ok(shares.into_iter().collect::<std::io::Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Fetches all files of jobs over several new connections. Returns the time without connecting, and the number of files.
    pub(crate) fn fetch_raw(&mut self, ids: &[JobId]) -> Outcome<(Duration, usize)> {
        let to = tempfile::tempdir_in(self.files.path())?;
        self.connect_many()?;
        let begun = Instant::now();
        let mut directories: Vec<_> =
            ids.iter().map(|id| format!("{}/jobs/{}/session", self.path, id.local_id())).collect();
        let mut files = Vec::new();
        while !directories.is_empty() {
            let found = self.each(&directories, |client, _, directory| {
                let listing = client.text("GET", directory, b"")?;
                let named = |kind| texts(&listing, kind).map(|name| format!("{directory}/{name}")).collect::<Vec<_>>();
                Ok((named("dir"), named("file")))
            })?;
            directories.clear();
            for (inner, named) in found {
                directories.extend(inner);
                files.extend(named);
            }
        }
        self.each(&files, |client, index, path| {
            client.request("GET", path, b"", File::create(to.path().join(index.to_string()))?)
        })?;
        Ok((begun.elapsed(), files.len()))
    }

    /// Submits jobs with one input file each and uploads the files over several connections.
    pub(crate) fn submit_raw_with_input(&mut self, count: usize, content: &[u8]) -> Outcome<Vec<JobId>> {
        let ids = self.submit_raw(&self.adl_with_input("input").repeat(count))?;
        let paths: Vec<_> =
            ids.iter().map(|id| format!("{}/jobs/{}/session/input", self.path, id.local_id())).collect();
        self.each(&paths, |client, _, path| client.request("PUT", path, content, std::io::sink()))?;
        Ok(ids)
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

    /// Waits until jobs have ended. Other jobs may still wait.
    pub(crate) fn wait_for_end(&mut self, ids: &[JobId]) -> Outcome<()> {
        loop {
            let ended = self.ask("GET", "jobs?state=FINISHED,FAILED,KILLED", b"")?;
            let ended: HashSet<&str> = texts(&ended, "id").collect();
            if ids.iter().all(|id| ended.contains(id.local_id())) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// Lists all jobs of the user with their states.
    pub(crate) fn list_raw(&mut self) -> Outcome<String> {
        self.ask("GET", &format!("jobs?state={BUSY},FINISHED,FAILED,KILLED,WIPED"), b"")
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
