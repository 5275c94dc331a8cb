//! [`PluginBackend`]: ARC's general client classes, which support every interface that ARC has a plugin for.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::backend::breaker::{Breaker, PROBE_LIMIT};
use crate::backend::failure::{Failure, JobFailure, is_job_limit, not_found, shorten};
use crate::backend::poll::{PollMemory, Polled};
use crate::backend::prepare::PreparedJob;
use crate::backend::{
    Backend, Discarded, Enters, Fetch, Fetched, Found, Inputs, KnownNames, Loss, Progress, Search, SessionFile,
    SessionFiles, Submitted, Uploaded,
};
use crate::config::endpoint::Endpoint;
use crate::description::{Content, Delegation, invalid, is_below};
use crate::error::{ConnectionFailure, Error, Operation, Result};
use crate::ffi::{
    self, Connection, Description, JobPlace, JobRecord, Output, RemoteFile, RequestLimits, Session, SessionSettings,
    Target,
};
use crate::job::{ArcState, Freshness, JobDiagnostics, JobFilter, JobId, JobInfo, JobState};
use crate::limits::{Interrupted, Limits, RetryPolicy};
use crate::logging::{self, LogLevel, Reasons};
use crate::service::{QueueInfo, ServiceInfo, ServingState, published_limit};
use crate::util::byte_size::ByteSize;

/// The maximum number of jobs in one request. It limits the time for which other calls have to wait.
const CHUNK: usize = 250;

/// The least time between two polls of a watch. The CE publishes states once a minute.
const POLL_PAUSE: Duration = Duration::from_secs(10);

/// A protocol that this crate uses through ARC's plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PluginProtocol {
    EmiEs,
    ArcRest,
}

/// ARC's names for the parts of a protocol (the plugins' `SupportedInterfaces`).
#[derive(Clone, Copy, Debug)]
struct Names {
    information: &'static str,
    submission: &'static str,
    management: &'static str,
}

impl PluginProtocol {
    const fn names(self) -> Names {
        match self {
            PluginProtocol::EmiEs => Names {
                information: "org.ogf.glue.emies.resourceinfo",
                submission: "org.ogf.glue.emies.activitycreation",
                management: "org.ogf.glue.emies.activitymanagement",
            },
            PluginProtocol::ArcRest => Names {
                information: "org.nordugrid.arcrest",
                submission: "org.nordugrid.arcrest",
                management: "org.nordugrid.arcrest",
            },
        }
    }

    /// The name in messages.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            PluginProtocol::EmiEs => "EMI-ES",
            PluginProtocol::ArcRest => "ARC's REST plugin",
        }
    }

    /// The path of a job below the path of the CE. `id` is an id of the job.
    ///
    /// ARC's REST plugin uses the id as the address of the job, with the version of REST that the plugin speaks. Those of
    /// ARC 6.17 to 7.2 speak 1.0.
    fn job_path(self, id: &str, local_id: &str) -> String {
        match self {
            PluginProtocol::EmiEs => local_id.to_owned(),
            PluginProtocol::ArcRest => {
                let before_name = id.rsplit_once("/jobs/").and_then(|(start, _)| start.rsplit_once("/rest/"));
                let version = before_name.map_or("1.0", |(_, version)| version);
                format!("rest/{version}/jobs/{local_id}")
            }
        }
    }

    /// The path of a job in what follows the address of the CE in a message of ARC.
    fn job_in(self, rest: &str) -> Option<&str> {
        let (begin, min_length) = match self {
            // The ids of ARC 6 have about 54 characters. Other names below this address are shorter.
            PluginProtocol::EmiEs => (0, 20),
            PluginProtocol::ArcRest if rest.starts_with("rest/") => (rest.find("/jobs/")? + "/jobs/".len(), 1),
            PluginProtocol::ArcRest => return None,
        };
        let length = rest[begin..].find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len() - begin);
        (length >= min_length).then(|| &rest[..begin + length])
    }
}

/// A CE behind ARC's plugins.
///
/// The plugins are not thread-safe, so calls wait for each other, even those for different CEs. ARC's own time limits
/// bound each call.
#[derive(Clone, Debug)]
pub(crate) struct PluginBackend {
    session: Session,
    endpoint: Endpoint,
    protocol: PluginProtocol,
    delegation: Delegation,
    /// Why REST is not used, if the configuration leaves the protocol open.
    instead_of_rest: Arc<str>,
    /// Whether the configuration leaves the protocol open, and the CE has not responded to the plugin yet.
    is_untried_fallback: Arc<AtomicBool>,
    /// In seconds.
    timeout: u32,
    policy: RetryPolicy,
    breaker: Arc<Breaker>,
    limits: Limits,
}

impl PluginBackend {
    /// Creates the backend. `instead_of_rest` is why REST is not used, if the configuration leaves the protocol open.
    /// `delegation` decides which jobs get the user's credentials.
    pub(crate) fn new(
        endpoint: Endpoint,
        protocol: PluginProtocol,
        instead_of_rest: Option<&str>,
        settings: &SessionSettings,
        delegation: Delegation,
        policy: RetryPolicy,
    ) -> Result<PluginBackend> {
        Ok(PluginBackend {
            session: Session::new(settings)?,
            endpoint,
            protocol,
            delegation,
            instead_of_rest: instead_of_rest.unwrap_or_default().into(),
            is_untried_fallback: Arc::new(AtomicBool::new(instead_of_rest.is_some())),
            timeout: settings.timeout_seconds,
            breaker: Arc::new(Breaker::new(policy.pause(), Duration::from_secs(settings.timeout_seconds.into()))),
            policy,
            limits: Limits::default(),
        })
    }

    /// Connects to the CE and checks that its certificate names its host. ARC's classes make connections of their own,
    /// which do not check it, so each operation begins with this. Fails at once if the CE is known not to respond.
    fn reach(&self) -> Result<()> {
        let begun = Instant::now();
        let timeout = Duration::from_secs(self.timeout.into());
        let connect = |idle| self.connect(idle);
        let reached = self.breaker.pass(begun, &self.limits, || connect(timeout.min(PROBE_LIMIT)));
        let reached = reached.and_then(|()| self.retrying(|| connect(timeout), Failure::is_transient));
        match &reached {
            Ok(()) => self.breaker.heard(),
            Err(failure) => self.breaker.failed(failure, begun),
        }
        reached.map_err(|failure| failure.into_error(&self.endpoint))
    }

    fn connect(&self, idle: Duration) -> Result<(), Failure> {
        self.limits.check()?;
        let mut connection = Connection::new(&self.session, &self.endpoint.url(), "", self.timeout)?;
        connection.set_limits(&RequestLimits { idle, call: self.limits.left(), cancelled: self.limits.flags() })?;
        let (opened, reasons) = logging::capture(|| connection.open());
        opened.map_err(|error| Failure::from_connection(error, &reasons, &self.limits, false))
    }

    /// Runs an operation that changes nothing on the CE, and again after a failure that may pass.
    fn retrying<T, E>(&self, mut work: impl FnMut() -> Result<T, E>, is_transient: impl Fn(&E) -> bool) -> Result<T, E>
    where
        E: From<Interrupted>,
    {
        let mut delays = self.policy.delays();
        loop {
            self.limits.check()?;
            match work() {
                Err(error) if is_transient(&error) => match delays.next() {
                    Some(delay) => self.limits.sleep(delay)?,
                    None => return Err(error),
                },
                result => return result,
            }
        }
    }

    /// Returns the data with which ARC finds a job, or `None` if the id cannot belong to this CE.
    fn place_of(&self, id: &JobId) -> Option<JobPlace> {
        let local_id = self.endpoint.job_local_id(id.as_str())?;
        let url = self.endpoint.url();
        let names = self.protocol.names();
        Some(JobPlace {
            id: format!("{url}/{}", self.protocol.job_path(id.as_str(), local_id)),
            local_id: local_id.into(),
            service_url: url,
            information_interface: names.information.into(),
            management_interface: names.management.into(),
            name: String::new(),
            stdout: String::new(),
            stderr: String::new(),
            delegation: String::new(),
        })
    }

    /// Looks up the CE's records of jobs. Each result also contains the data with which ARC finds the job.
    fn records(&self, ids: &[JobId]) -> Result<Vec<Result<(JobPlace, JobRecord)>>> {
        let places: Vec<Option<JobPlace>> = ids.iter().map(|id| self.place_of(id)).collect();
        let asked: Vec<JobPlace> = places.iter().flatten().cloned().collect();
        if !asked.is_empty() {
            self.reach()?;
        }
        let mut records = Vec::with_capacity(asked.len());
        for chunk in asked.chunks(CHUNK) {
            records.extend(self.retrying(|| self.records_of(chunk), is_transient)?);
            self.is_untried_fallback.store(false, Ordering::Relaxed);
        }
        let mut records = records.into_iter();
        let one = |(id, place): (&JobId, Option<JobPlace>)| {
            let found = place.and_then(|place| Some((place, records.next()?)));
            found.filter(|(_, record)| record.found).ok_or_else(|| not_found(&self.endpoint, id))
        };
        Ok(ids.iter().zip(places).map(one).collect())
    }

    fn records_of(&self, places: &[JobPlace]) -> Result<Vec<JobRecord>> {
        let (records, reasons) = logging::capture(|| self.session.update_jobs(places));
        let records = records.map_err(|error| self.call_error(error))?;
        match records.iter().any(|record| record.found) || has_responded(self.protocol, reasons.texts()) {
            true => Ok(records),
            false => Err(self.connection_error(&reasons)),
        }
    }

    fn list_files(&self, id: &JobId, place: &JobPlace) -> Result<Vec<RemoteFile>> {
        let (files, reasons) = logging::capture(|| self.session.list_files(place));
        files.map_err(|error| match error {
            ffi::Error::Exception(message) => {
                let complaints = reasons.complaints();
                let message =
                    if complaints.is_empty() { message } else { shorten(&format!("{message}: {complaints}")) };
                Error::JobOperation { job_id: id.clone(), operation: Operation::ListFiles, message }
            }
            ffi::Error::Exiting => Error::Exiting,
        })
    }

    fn connection_error(&self, reasons: &Reasons) -> Error {
        if self.is_untried_fallback.load(Ordering::Relaxed) {
            return self.no_targets(reasons);
        }
        let failure = match reasons.texts().find_map(refused_code) {
            Some(code) => Failure::Refused { code, message: shorten(&reasons.text()) },
            None => Failure::from_arc(&reasons.text(), reasons),
        };
        failure.into_error(&self.endpoint)
    }

    /// The error for an exception of ARC's classes. ARC 7 has no plugin for EMI-ES, so a CE without REST offers nothing to it.
    fn call_error(&self, error: ffi::Error) -> Error {
        match error {
            ffi::Error::Exception(message) if self.is_untried_fallback.load(Ordering::Relaxed) => {
                self.no_targets_because(&message)
            }
            error => error.into(),
        }
    }

    fn no_targets(&self, reasons: &Reasons) -> Error {
        self.no_targets_because(&shorten(&reasons.text()))
    }

    fn no_targets_because(&self, reasons: &str) -> Error {
        let message = if self.is_untried_fallback.load(Ordering::Relaxed) {
            format!("{}, and it does not respond to {}: {reasons}", self.instead_of_rest, self.protocol.as_str())
        } else {
            format!("nothing accepts jobs over {}: {reasons}", self.protocol.as_str())
        };
        Error::NoTargetsAvailable { endpoint: self.endpoint.url(), message }
    }

    fn unsupported(&self, what: &str) -> Error {
        let message = format!("{} has no {what}", self.protocol.as_str());
        Error::Unsupported { endpoint: self.endpoint.url(), message }
    }

    fn submit_one(&self, job: &PreparedJob) -> Submitted {
        let (description, _files) = match with_paths(self.protocol, job) {
            Ok(described) => described,
            Err(error) => return Submitted::Failed(error),
        };
        let delegate = match self.delegation {
            Delegation::Always => true,
            Delegation::Never => false,
            _ => job.delegate,
        };
        let names = self.protocol.names();
        let (submission, reasons) = logging::capture(|| {
            let url = self.endpoint.url();
            self.session.submit(&url, names.information, names.submission, &description, delegate)
        });
        let submission = match submission {
            Ok(submission) => submission,
            Err(ffi::Error::Exception(message)) => return self.not_submitted(&message, &reasons),
            Err(ffi::Error::Exiting) => return Submitted::Failed(Error::Exiting),
        };
        if submission.targets == 0 {
            return Submitted::Failed(self.no_targets(&reasons));
        }
        self.is_untried_fallback.store(false, Ordering::Relaxed);
        if !submission.submitted {
            return self.not_submitted(&reasons.text(), &reasons);
        }
        Submitted::Complete(submission.place)
    }

    /// The outcome of a submission that failed.
    ///
    /// The CE may have created the job before the failure. ARC then only logs its URL. Cancels such a job, because it
    /// would wait for its input files.
    fn not_submitted(&self, message: &str, reasons: &Reasons) -> Submitted {
        let is_job_limit = is_job_limit(message);
        let is_useful = |part: &&str| !ALWAYS_LOGGED.iter().any(|text| part.contains(text));
        let message = shorten(&message.split("; ").filter(is_useful).collect::<Vec<_>>().join("; "));
        let Some(id) = reasons.texts().find_map(|text| self.job_in(text)) else {
            if may_have_been_received(&reasons.text()) {
                return Submitted::Unknown { message, loss: Loss::Broken };
            }
            if is_job_limit {
                return Submitted::Failed(Error::JobLimit { endpoint: self.endpoint.url(), message });
            }
            return Submitted::Failed(Error::JobSubmission { endpoint: self.endpoint.url(), job_id: None, message });
        };
        let done = self.cancel(std::slice::from_ref(&id));
        let cancelled = done.is_ok_and(|done| done.iter().all(Result::is_ok));
        let outcome = if cancelled { "has been cancelled" } else { "could not be cancelled" };
        logging::log(LogLevel::Warning, format!("job {id} was created but not completely submitted, and {outcome}"));
        let place = self.place_of(&id).unwrap_or_else(|| JobPlace { id: id.to_string(), ..JobPlace::default() });
        Submitted::Incomplete { place, message, cancelled }
    }

    /// Finds the URL of a job in a message of ARC's log.
    fn job_in(&self, text: &str) -> Option<JobId> {
        let base = format!("{}/", self.endpoint.url());
        let (_, rest) = text.split_once(&base)?;
        Some(JobId::from(format!("{base}{}", self.protocol.job_in(rest)?)))
    }

    fn fetch_one(&self, fetch: &Fetch<'_>) -> Result<Fetched> {
        let fetched = self.download(fetch);
        if fetched.is_err() {
            fetch.to.discard(fetch.number);
        }
        fetched
    }

    fn download(&self, fetch: &Fetch<'_>) -> Result<Fetched> {
        let not_written = |error| fetch.not_written(error);
        let path = fetch.to.temporary_path(fetch.number).map_err(not_written)?;
        let Some(name) = path.to_str() else { return Err(fetch.failed("the path is not UTF-8", false)) };
        let url = fetch.file.url.as_deref().unwrap_or_default();
        match logging::capture(|| self.session.fetch_file(url, name)) {
            (Ok(()), _) => {}
            (Err(ffi::Error::Exiting), _) => return Err(Error::Exiting),
            (Err(ffi::Error::Exception(message)), reasons) => {
                let message = shorten(&format!("{message}: {}", reasons.text()));
                let is_temporary = BROKEN.iter().any(|text| message.contains(text));
                return Err(fetch.failed(message, is_temporary));
            }
        }
        let size = fs::metadata(&path).map_err(not_written)?.len();
        match fetch.file.size.filter(|listed| size != *listed) {
            // A running job may change its files.
            Some(listed) if size < listed || self.has_ended(fetch.id)? => {
                Err(fetch.failed(format!("{size} bytes arrived, and the CE lists {listed} bytes"), true))
            }
            _ => fetch.to.keep(fetch.number, fetch.file).map_err(not_written),
        }
    }

    /// Runs an operation on each job that has ended (`needs_end`) or has not ended. Cancelling a job that has ended
    /// succeeds without a request. Cleaning a job that has not ended is an error.
    fn each(
        &self,
        ids: &[JobId],
        operation: Operation,
        needs_end: bool,
        call: impl Fn(&JobPlace) -> ffi::Result<bool>,
    ) -> Result<Vec<Result<()>>> {
        let one = |(place, record): (JobPlace, JobRecord)| {
            let state = ArcState::from(record.state.as_str());
            let refused = |message| Err(JobFailure::Refused { operation, message });
            if state.is_final() != needs_end {
                return if needs_end {
                    refused(format!("the job has not ended: its state is {state}"))
                } else {
                    Ok(())
                };
            }
            self.limits.check().map_err(Failure::from)?;
            match logging::capture(|| call(&place)) {
                (Ok(true), _) => Ok(()),
                (Ok(false), reasons) => refused(shorten(&reasons.text())),
                (Err(ffi::Error::Exception(message)), _) => refused(message),
                (Err(ffi::Error::Exiting), _) => Err(Failure::Exiting.into()),
            }
        };
        let records = self.records(ids)?;
        let named = |(id, record): (&JobId, Result<_>)| {
            one(record?).map_err(|failure: JobFailure| failure.into_error(&self.endpoint, id))
        };
        Ok(ids.iter().zip(records).map(named).collect())
    }
}

impl Backend for PluginBackend {
    fn with_limits(&self, limits: Limits) -> Arc<dyn Backend> {
        Arc::new(PluginBackend { limits, ..self.clone() })
    }

    fn submit(&self, jobs: &[PreparedJob], progress: &dyn Progress) -> Result<Vec<Submitted>> {
        self.reach()?;
        let one = |(index, job): (usize, &PreparedJob)| {
            if job.commit {
                return Submitted::Failed(self.unsupported("a commit"));
            }
            if let Err(error) = progress.sending(index..index + 1) {
                return Submitted::Failed(error);
            }
            match self.submit_one(job) {
                Submitted::Complete(place) => match progress.created(&[(index, place.clone())]) {
                    Ok(()) => Submitted::Complete(place),
                    Err(error) => Submitted::Incomplete { place, message: error.to_string(), cancelled: false },
                },
                other => other,
            }
        };
        Ok(jobs.iter().enumerate().map(one).collect())
    }

    fn find(&self, _: &HashSet<String>, _: &HashMap<String, String>, _: Search) -> Result<Found> {
        Err(self.unsupported("search by key"))
    }

    fn list(&self) -> Result<Vec<JobId>> {
        Err(self.unsupported("list of jobs that this crate can use"))
    }

    fn find_jobs(&self, filter: &JobFilter, _: KnownNames<'_>) -> Result<Vec<JobInfo>> {
        let Some(ids) = filter.ids() else { return Err(self.unsupported("list of jobs that this crate can use")) };
        let mut found = Vec::new();
        for job in self.jobs(ids)? {
            match job {
                Ok(job) => found.extend(Some(job).filter(|job| filter.selects(job))),
                Err(Error::JobNotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    fn place(&self, id: &JobId) -> Option<JobPlace> {
        self.place_of(id)
    }

    fn upload_missing(&self, _: &[(&JobId, &PreparedJob)]) -> Result<Vec<Result<Uploaded>>> {
        Err(self.unsupported("upload of input files after the submission"))
    }

    fn inputs(&self, ids: &[JobId]) -> Result<Vec<Result<Inputs>>> {
        let inputs = |state: JobState| match state.state {
            ArcState::Killed => Inputs::Cancelled,
            state => Inputs::Complete { has_ended: state.is_final() },
        };
        Ok(self.states(ids)?.into_iter().map(|state| state.map(inputs)).collect())
    }

    fn discard(&self, ids: &[JobId]) -> Result<Vec<Result<Discarded>>> {
        let cancelled = self.cancel(ids)?;
        let states = self.states(ids)?;
        let one = |(cancelled, state): (Result<()>, Result<JobState>)| match (cancelled, state) {
            (Ok(()), Ok(state)) if state.state == ArcState::Finished => Ok(Discarded::Ran),
            (Ok(()), Ok(_)) => Ok(Discarded::Cancelled),
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        Ok(cancelled.into_iter().zip(states).map(one).collect())
    }

    fn states(&self, ids: &[JobId]) -> Result<Vec<Result<JobState>>> {
        let state = |(_, record): (_, JobRecord)| JobState {
            state: ArcState::from(record.state.as_str()),
            native_state: record.native_state,
            freshness: Freshness::Published,
        };
        Ok(self.records(ids)?.into_iter().map(|record| record.map(state)).collect())
    }

    fn poll(&self, ids: &[JobId], memory: &mut PollMemory) -> Result<Polled> {
        if memory.finds_others {
            self.list()?;
        }
        let states = self.states(ids)?.into_iter().map(|state| state.map(|state| Some(state.state))).collect();
        Ok(Polled { states, pause: POLL_PAUSE, ..Polled::default() })
    }

    fn jobs(&self, ids: &[JobId]) -> Result<Vec<Result<JobInfo>>> {
        let records = self.records(ids)?;
        Ok(ids.iter().zip(records).map(|(id, record)| Ok(job_info(id.clone(), record?.1))).collect())
    }

    fn cancel(&self, ids: &[JobId]) -> Result<Vec<Result<()>>> {
        self.each(ids, Operation::Cancel, false, |place| self.session.cancel_job(place))
    }

    fn clean(&self, ids: &[JobId]) -> Result<Vec<Result<()>>> {
        self.each(ids, Operation::Clean, true, |place| self.session.clean_job(place))
    }

    fn renew(&self, _: &[JobId]) -> Result<Vec<Result<Option<SystemTime>>>> {
        Err(self.unsupported("renewal of credentials that this crate can use"))
    }

    fn restart(&self, _: &[JobId]) -> Result<Vec<Result<()>>> {
        Err(self.unsupported("restart of jobs that this crate can use"))
    }

    fn files(&self, ids: &[JobId], _: &Enters<'_>) -> Result<Vec<Result<SessionFiles>>> {
        let list = |id: &JobId, (place, _): (JobPlace, JobRecord)| {
            let files = self.retrying(|| self.list_files(id, &place), is_transient)?;
            let file = |file: RemoteFile| SessionFile {
                path: file.path.into(),
                url: Some(file.url),
                size: u64::try_from(file.size).ok(),
            };
            // ARC's class has no way to see what the CE leaves out.
            Ok(SessionFiles { files: files.into_iter().map(file).collect(), ..SessionFiles::default() })
        };
        let records = self.records(ids)?;
        Ok(ids.iter().zip(records).map(|(id, record)| list(id, record?)).collect())
    }

    fn fetch(&self, wanted: &[Fetch<'_>]) -> Vec<Result<Fetched>> {
        let one = |fetch: &Fetch<'_>| {
            self.limits.check()?;
            self.retrying(|| self.fetch_one(fetch), is_transient)
        };
        wanted.iter().map(one).collect()
    }

    fn file_size(&self, _: &JobId, _: &OsStr) -> Result<u64> {
        Err(self.unsupported("way to read a part of a file"))
    }

    fn diagnostics(&self, _: &JobId) -> Result<JobDiagnostics> {
        Err(self.unsupported("way to read what A-REX keeps about a job"))
    }

    fn read_file(&self, _: &JobId, _: &OsStr, _: Range<u64>) -> Result<Vec<u8>> {
        Err(self.unsupported("way to read a part of a file"))
    }

    fn has_ended(&self, id: &JobId) -> Result<bool> {
        let record = self.records(std::slice::from_ref(id))?.pop();
        Ok(matches!(record, Some(Ok((_, record))) if ArcState::from(record.state.as_str()).is_final()))
    }

    fn service(&self) -> Result<ServiceInfo> {
        self.reach()?;
        let names = self.protocol.names();
        let ask = || self.session.offered(&self.endpoint.url(), names.information, names.submission);
        let (offered, reasons) = logging::capture(ask);
        let offered = offered.map_err(|error| match error {
            ffi::Error::Exception(message) => Failure::from_arc(&message, &reasons).into_error(&self.endpoint),
            ffi::Error::Exiting => Error::Exiting,
        })?;
        if offered.targets.is_empty() {
            return Err(self.no_targets(&reasons));
        }
        // ARC's classes give these values once for each queue. They are of the whole CE.
        let first = &offered.targets[0];
        Ok(ServiceInfo {
            state: Some(first.serving.as_str()).filter(|state| !state.is_empty()).map(ServingState::from),
            total_slots: published_limit(first.total_slots),
            free_disk: published_limit(first.free_disk).map(ByteSize::gib),
            queues: offered.targets.into_iter().map(queue).collect(),
            runtime_environments: offered.runtimes,
            ..ServiceInfo::default()
        })
    }

    fn ping(&self) -> Result<()> {
        Err(self.unsupported("request that only tells whether the CE serves the user"))
    }
}

/// The texts by which ARC's client classes tell that a connection broke.
const BROKEN: [&str; 5] = ["unexpected eof", "closed", "reset", "SSL error", "Failed to connect"];

/// Whether an operation that only reads may succeed after a short time. A-REX 6.17 now and then drops one of many
/// connections.
fn is_transient(error: &Error) -> bool {
    match error {
        Error::Connection { failure, .. } => matches!(
            failure,
            ConnectionFailure::Refused | ConnectionFailure::Broken | ConnectionFailure::ResolutionFailed
        ),
        Error::JobOperation { message, .. } => BROKEN.iter().any(|text| message.contains(text)),
        Error::OutputFile { is_temporary, .. } => *is_temporary,
        _ => false,
    }
}

/// Whether the CE responded that it does not know a job, as opposed to not responding. Only ARC's log contains this
/// (EMIESClient.cpp, and JobControllerPluginREST::ProcessJobs).
fn has_responded<'a>(protocol: PluginProtocol, mut texts: impl Iterator<Item = &'a str>) -> bool {
    const FAILURES: [&str; 6] =
        ["Failed to connect", "Unable to connect", "Failed processing", "failed", "timed out", "No response"];
    match protocol {
        PluginProtocol::EmiEs => !texts.any(|text| FAILURES.iter().any(|failure| text.contains(failure))),
        PluginProtocol::ArcRest => {
            texts.any(|text| text.starts_with("Failed to process job: ") && text.contains(" - 404 "))
        }
    }
}

/// The HTTP status with which the CE refused a request, in a message of ARC (JobControllerPluginREST::ProcessJobs). ARC
/// writes 0 if there was no response.
fn refused_code(text: &str) -> Option<u16> {
    let code = text.strip_prefix("Failed to process jobs - wrong response: ")?.parse().ok()?;
    Some(code).filter(|code| *code >= 300)
}

fn job_info(id: JobId, record: JobRecord) -> JobInfo {
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    let count = |number: i32| u32::try_from(number).ok();
    let seconds = |seconds: i64| u64::try_from(seconds).ok().map(Duration::from_secs);
    let time = |at: i64| seconds(at).map(|since| SystemTime::UNIX_EPOCH + since);
    JobInfo {
        state: ArcState::from(record.state.as_str()),
        native_state: record.native_state,
        name: text(record.name),
        owner: text(record.owner),
        local_owner: text(record.local_owner),
        local_job_id: text(record.local_id),
        queue: text(record.queue),
        exit_code: Some(record.exit_code).filter(|code| *code >= 0),
        errors: record.errors,
        messages: record.messages,
        execution_nodes: record.execution_nodes,
        stdin: text(record.stdin),
        stdout: text(record.stdout),
        stderr: text(record.stderr),
        waiting_position: count(record.waiting_position),
        requested_slots: count(record.requested_slots),
        requested_wall_time: seconds(record.requested_wall_time),
        requested_cpu_time: seconds(record.requested_cpu_time),
        used_wall_time: seconds(record.used_wall_time),
        used_cpu_time: seconds(record.used_cpu_time),
        used_memory: u64::try_from(record.used_memory).ok().map(ByteSize::mib),
        submission_time: time(record.submission_time),
        start_time: time(record.start_time),
        end_time: time(record.end_time),
        erase_time: time(record.erase_time),
        proxy_expiration_time: time(record.proxy_expiration_time),
        ..JobInfo::new(id)
    }
}

fn queue(target: Target) -> QueueInfo {
    let time = |seconds| published_limit(seconds).map(Duration::from_secs);
    QueueInfo {
        name: target.queue,
        min_wall_time: time(target.min_wall_time),
        max_wall_time: time(target.max_wall_time),
        min_cpu_time: time(target.min_cpu_time),
        max_cpu_time: time(target.max_cpu_time),
        max_total_cpu_time: time(target.max_total_cpu_time),
        max_memory: published_limit(target.memory).map(ByteSize::mib),
        max_virtual_memory: published_limit(target.virtual_memory).map(ByteSize::mib),
        max_disk: published_limit(target.disk).map(ByteSize::gib),
        max_slots: published_limit(target.slots),
        ..QueueInfo::default()
    }
}

/// Returns the description for ARC's client, which uploads only from paths, and the files behind these paths.
fn with_paths(protocol: PluginProtocol, job: &PreparedJob) -> Result<(Description, Vec<File>)> {
    let mut description = job.description.clone();
    // ARC adds each of these as an output (Arc::JobDescription::Prepare), and A-REX then deletes the rest of its
    // directory (Arc::DirDeleteExcl).
    for name in [&description.stdout, &description.stderr, &description.log_directory] {
        let contains = |output: &&Output| output.url.is_empty() && is_below(name, &output.name);
        if let Some(Output { name: directory, .. }) = description.outputs.iter().find(contains) {
            return Err(invalid(format!(
                "{name:?} is inside the output {directory:?}: over {} the CE would keep nothing else of it",
                protocol.as_str()
            )));
        }
    }
    // Contents in memory get a path in /proc.
    let mut files = Vec::new();
    for upload in job.uploads.iter().filter(|upload| matches!(upload.content, Content::Bytes(_))) {
        let failed = |error: std::io::Error| Error::InputFile {
            path: upload.label(),
            message: "its content cannot be copied into a memory file".into(),
            source: Some(error),
        };
        let file = upload.open().map_err(failed)?;
        for input in description.inputs.iter_mut().filter(|input| input.name == upload.name) {
            input.path = format!("/proc/self/fd/{}", file.as_raw_fd());
        }
        files.push(file);
    }
    Ok((description, files))
}

/// What ARC logs of every submission.
const ALWAYS_LOGGED: [&str; 2] = ["will expire in", "added to the list for submission brokering"];

/// Whether the CE may have received a submission that failed with these messages of ARC. ARC reports a connection that
/// it cannot make in other words.
fn may_have_been_received(messages: &str) -> bool {
    const SIGNS: [&str; 6] =
        ["Connection was closed", "unexpected eof", "Connection reset", "timed out", "No response", "no response"];
    // The REST plugin says only this for every failure without a response, and more after a response
    // (SubmitterPluginREST::SubmitInternal).
    const REST_SIGNS: [&str; 2] = ["Failed to submit all jobs.", "Failed uploading local input files"];
    REST_SIGNS.iter().any(|sign| messages.contains(sign))
        || SIGNS.iter().any(|sign| messages.contains(sign)) && !messages.contains("Failed to establish connection")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConnectionConfig;

    fn backend(protocol: PluginProtocol) -> PluginBackend {
        let settings = SessionSettings {
            proxy: "/nonexistent".into(),
            ca_directory: "/nonexistent".into(),
            timeout_seconds: 1,
            verify_host: true,
        };
        let endpoint = ConnectionConfig::default().with_arc_server("ce.example.org").endpoint().unwrap();
        PluginBackend::new(endpoint, protocol, None, &settings, Delegation::Auto, RetryPolicy::none()).unwrap()
    }

    #[test]
    fn jobs_have_the_ids_of_the_protocol() {
        let rest = backend(PluginProtocol::ArcRest);
        let emi_es = backend(PluginProtocol::EmiEs);
        let place = |backend: &PluginBackend, id: &str| backend.place_of(&id.into()).map(|place| place.id);
        let ce = "https://ce.example.org:443/arex";
        for (id, path) in [
            ("abc".to_owned(), "rest/1.0/jobs/abc"),
            (format!("{ce}/abc"), "rest/1.0/jobs/abc"),
            (format!("{ce}/rest/1.1/jobs/abc"), "rest/1.1/jobs/abc"),
            (format!("{ce}/rest/2.0/jobs/jobs"), "rest/2.0/jobs/jobs"),
        ] {
            assert_eq!(place(&rest, &id), Some(format!("{ce}/{path}")), "{id}");
            assert_eq!(place(&emi_es, &id), Some(format!("{ce}/{}", JobId::from(id).local_id())));
        }
        for other in ["https://other.example.org/arex/rest/1.0/jobs/abc", "https://ce.example.org/arex/rest/x/jobs/abc"]
        {
            assert_eq!(place(&rest, other), None, "{other}");
        }
    }

    #[test]
    fn a_job_is_found_in_the_message_about_its_upload() {
        let ce = "https://ce.example.org:443/arex";
        let long = "a1".repeat(27);
        let rest = backend(PluginProtocol::ArcRest);
        let text = format!("Failed uploading file file:///in to {ce}/rest/1.0/jobs/0a1b/session/jobs/in: no space");
        assert_eq!(rest.job_in(&text), Some(format!("{ce}/rest/1.0/jobs/0a1b").into()));
        for other in [format!("POST {ce}/rest/1.0/jobs?action=new"), format!("{ce}/rest/1.0/delegations/0a1b")] {
            assert_eq!(rest.job_in(&other), None, "{other}");
        }
        let emi_es = backend(PluginProtocol::EmiEs);
        assert_eq!(emi_es.job_in(&format!("to {ce}/{long}/in")), Some(format!("{ce}/{long}").into()));
        assert_eq!(emi_es.job_in(&format!("{ce}/rest/1.0/jobs")), None);
    }

    #[test]
    fn a_missing_job_differs_from_a_missing_response() {
        let has_responded = |protocol, texts: &[&str]| has_responded(protocol, texts.iter().copied());
        let rest = PluginProtocol::ArcRest;
        assert!(has_responded(rest, &["Failed to process job: 0a1b - 404 Job not found"]));
        assert!(!has_responded(rest, &["Failed to process job: https://ce.example.org/arex/rest/1.0/jobs/0a1b"]));
        assert!(!has_responded(rest, &[]));
        assert!(has_responded(PluginProtocol::EmiEs, &[]));
        assert!(!has_responded(PluginProtocol::EmiEs, &["Failed to connect to ce.example.org(IPv4):443"]));

        assert_eq!(refused_code("Failed to process jobs - wrong response: 503"), Some(503));
        assert_eq!(refused_code("Failed to process jobs - wrong response: 0"), None);
        assert_eq!(refused_code("wrong response: 503"), None);
    }

    #[test]
    fn lost_submissions_differ_from_refused_ones() {
        let submitted = |text: &str| backend(PluginProtocol::ArcRest).not_submitted(text, &Reasons::default());
        for lost in ["Failed to submit all jobs.", "Failed uploading local input files", "Connection was closed"] {
            assert!(may_have_been_received(lost), "{lost}");
        }
        assert!(!may_have_been_received("Failed to establish connection: Connection was closed"));
        let limit = submitted("Failed to submit all jobs: 500 No more jobs allowed");
        assert!(matches!(limit, Submitted::Failed(Error::JobLimit { .. })), "{limit:?}");
        let refused = submitted("Certificate /CN=x will expire in 1 hour; Failed to submit all jobs: 500 Wrong queue");
        let Submitted::Failed(Error::JobSubmission { message, .. }) = &refused else { panic!("{refused:?}") };
        assert_eq!(message, "Failed to submit all jobs: 500 Wrong queue");
    }
}
