//! [`PluginBackend`]: ARC's general client classes, which speak whatever interface ARC has a plugin for.

use std::os::fd::AsRawFd;

use crate::backend::prepare::PreparedJob;
use crate::backend::{Accepted, Backend, Fetch, SessionFile};
use crate::config::Protocol;
use crate::config::endpoint::Endpoint;
use crate::description::{Content, invalid, is_below};
use crate::error::{Error, Result};
use crate::ffi::{JobPlace, JobRecord, Output, Session, SessionSettings, Target};
use crate::job::status::ArcState;
use crate::job::{JobId, JobInfo};
use crate::logging::{self, LogLevel, Reasons};
use crate::matching::{Offer, Queue, tighter, told};

/// How many jobs are asked about in one request: that bounds its time, and other calls wait for it.
const CHUNK: usize = 250;

/// ARC's names for the parts of one interface (its `SupportedInterfaces`).
#[derive(Clone, Copy, Debug)]
struct Names {
    information: &'static str,
    submission: &'static str,
    management: &'static str,
}

/// A CE behind ARC's plugins.
///
/// They are not made for threads, so calls wait for each other, whatever CE they are for. Each is bounded by ARC's own
/// time-outs.
#[derive(Debug)]
pub(crate) struct PluginBackend {
    session: Session,
    endpoint: Endpoint,
    names: Names,
}

impl PluginBackend {
    pub(crate) fn new(endpoint: Endpoint, interface: Protocol, settings: &SessionSettings) -> Result<PluginBackend> {
        let names = match interface {
            // The REST interface has a backend of its own; what does not have it is an old CE.
            Protocol::Auto | Protocol::ArcRest | Protocol::EmiEs => Names {
                information: "org.ogf.glue.emies.resourceinfo",
                submission: "org.ogf.glue.emies.activitycreation",
                management: "org.ogf.glue.emies.activitymanagement",
            },
            Protocol::Internal => Names {
                information: "org.nordugrid.internal",
                submission: "org.nordugrid.internal",
                management: "org.nordugrid.internal",
            },
        };
        Ok(PluginBackend { session: Session::new(settings)?, endpoint, names })
    }

    /// What ARC needs to find a job, or `None` when the id cannot be one of this CE's.
    fn place(&self, id: &JobId) -> Option<JobPlace> {
        let local_id = self.endpoint.job_local_id(id.as_str())?;
        let url = self.endpoint.url();
        Some(JobPlace {
            id: format!("{url}/{local_id}"),
            local_id: local_id.into(),
            service_url: url,
            information_interface: self.names.information.into(),
            management_interface: self.names.management.into(),
            name: String::new(),
            stdout: String::new(),
            stderr: String::new(),
            delegation: String::new(),
        })
    }

    /// The CE's records of jobs.
    fn records(&self, ids: &[JobId]) -> Result<Vec<Result<JobRecord>>> {
        let places: Vec<Option<JobPlace>> = ids.iter().map(|id| self.place(id)).collect();
        let asked: Vec<JobPlace> = places.iter().flatten().cloned().collect();
        let mut records = Vec::with_capacity(asked.len());
        for chunk in asked.chunks(CHUNK) {
            let (chunk, reasons) = logging::capture(|| self.session.update_jobs(chunk));
            let chunk = chunk?;
            if !chunk.iter().any(|record| record.found) && !self.answered(&reasons) {
                return Err(self.connection_error(&reasons));
            }
            records.extend(chunk);
        }
        let mut records = records.into_iter();
        Ok(ids
            .iter()
            .zip(&places)
            .map(|(id, place)| {
                let record = place.as_ref().and_then(|_| records.next()).filter(|record| record.found);
                record.ok_or_else(|| Error::JobNotFound { job_id: id.clone() })
            })
            .collect())
    }

    /// Whether the CE has said that it does not know a job, rather than nothing. ARC tells that only in its log: see
    /// EMIESClient.cpp.
    fn answered(&self, reasons: &Reasons) -> bool {
        const FAILURES: [&str; 6] =
            ["Failed to connect", "Unable to connect", "Failed processing", "failed", "timed out", "No response"];
        !reasons.texts().any(|text| FAILURES.iter().any(|failure| text.contains(failure)))
    }

    fn connection_error(&self, reasons: &Reasons) -> Error {
        Error::Connection { endpoint: self.endpoint.url(), message: reasons.text() }
    }

    fn no_targets(&self, reasons: &Reasons) -> Error {
        let message = format!("nothing there takes jobs by {}: {}", self.names.submission, reasons.text());
        Error::NoTargetsAvailable { endpoint: self.endpoint.url(), message }
    }

    fn submit_one(&self, job: &PreparedJob) -> Result<JobPlace> {
        let mut description = job.description.clone();
        // ARC makes an output of them besides (Arc::JobDescription::Prepare), and A-REX then keeps nothing else of the
        // directory (Arc::DirDeleteExcl).
        for name in [&description.stdout, &description.stderr, &description.log_directory] {
            let is_around = |output: &&Output| output.url.is_empty() && is_below(name, &output.name);
            if let Some(Output { name: directory, .. }) = description.outputs.iter().find(is_around) {
                return Err(invalid(format!(
                    "{name:?} is in {directory:?}: without the REST interface nothing else of that would be kept"
                )));
            }
        }
        // ARC uploads from paths.
        let mut files = Vec::new();
        for upload in job.uploads.iter().filter(|upload| matches!(upload.content, Content::Bytes(_))) {
            let failed = |error: std::io::Error| Error::InputFile {
                path: upload.label(),
                message: error.to_string(),
                source: Some(error),
            };
            let file = upload.open().map_err(failed)?;
            for input in description.inputs.iter_mut().filter(|input| input.name == upload.name) {
                input.path = format!("/proc/self/fd/{}", file.as_raw_fd());
            }
            files.push(file);
        }
        let (submission, reasons) = logging::capture(|| {
            self.session.submit(&self.endpoint.url(), self.names.information, self.names.submission, &description)
        });
        let submission = match submission {
            Ok(submission) => submission,
            Err(Error::Arc { message }) => return Err(self.not_submitted(message, &reasons)),
            Err(other) => return Err(other),
        };
        if submission.targets == 0 {
            return Err(self.no_targets(&reasons));
        }
        if !submission.submitted {
            return Err(self.not_submitted(reasons.text(), &reasons));
        }
        Ok(submission.place)
    }

    /// The error for a submission that failed. The CE may have made the job before: ARC then says no more of it than a
    /// URL in its log. Such a job would wait for its input files for ever, so it is cancelled.
    fn not_submitted(&self, message: String, reasons: &Reasons) -> Error {
        let left_behind = reasons.texts().find_map(|text| self.job_in(text));
        if let Some(id) = &left_behind {
            let cancelled = self.cancel(std::slice::from_ref(id)).is_ok_and(|done| done.iter().all(Result::is_ok));
            let outcome = if cancelled { "has been cancelled" } else { "could not be cancelled" };
            logging::log(LogLevel::Warning, format!("job {id} was not submitted whole, and {outcome}"));
        }
        Error::JobSubmission { endpoint: self.endpoint.url(), job_id: left_behind, message }
    }

    /// The job whose URL is in a message of ARC's log.
    fn job_in(&self, text: &str) -> Option<JobId> {
        let base = format!("{}/", self.endpoint.url());
        let (_, rest) = text.split_once(&base)?;
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        (end >= 20).then(|| JobId::from(format!("{base}{}", &rest[..end])))
    }

    /// Does something to each of the jobs that the CE has and that have not ended (`ended` false) or have (true).
    fn each(
        &self,
        ids: &[JobId],
        operation: &'static str,
        ended: bool,
        call: impl Fn(&JobPlace) -> Result<bool>,
    ) -> Result<Vec<Result<()>>> {
        let records = self.records(ids)?;
        let one = |id: &JobId, record: Result<JobRecord>| {
            let state = ArcState::from(record?.state.as_str());
            let Some(place) = self.place(id) else { return Err(Error::JobNotFound { job_id: id.clone() }) };
            let failed = |message| Err(Error::JobOperation { job_id: id.clone(), operation, message });
            if state.is_final() != ended {
                return if ended { failed(format!("it has not ended: it is {state}")) } else { Ok(()) };
            }
            match logging::capture(|| call(&place)) {
                (Ok(true), _) => Ok(()),
                (Ok(false), reasons) => failed(reasons.text()),
                (Err(Error::Arc { message }), _) => failed(message),
                (Err(other), _) => Err(other),
            }
        };
        Ok(ids.iter().zip(records).map(|(id, record)| one(id, record)).collect())
    }
}

impl Backend for PluginBackend {
    fn submit(&self, jobs: &[PreparedJob], accepted: Accepted<'_>) -> Result<Vec<Result<JobPlace>>> {
        // One by one: ARC's submission of several descriptions in one call to arcrest submits none of them.
        let one = |job| {
            let place = self.submit_one(job)?;
            accepted(std::slice::from_ref(&place));
            Ok(place)
        };
        Ok(jobs.iter().map(one).collect())
    }

    fn states(&self, ids: &[JobId]) -> Result<Vec<Result<ArcState>>> {
        let records = self.records(ids)?;
        Ok(records.into_iter().map(|record| Ok(ArcState::from(record?.state.as_str()))).collect())
    }

    fn jobs(&self, ids: &[JobId]) -> Result<Vec<Result<JobInfo>>> {
        let records = self.records(ids)?;
        Ok(ids.iter().zip(records).map(|(id, record)| Ok(JobInfo::new(id.clone(), record?))).collect())
    }

    fn cancel(&self, ids: &[JobId]) -> Result<Vec<Result<()>>> {
        self.each(ids, "cancel", false, |place| self.session.cancel_job(place))
    }

    fn clean(&self, ids: &[JobId]) -> Result<Vec<Result<()>>> {
        self.each(ids, "clean", true, |place| self.session.clean_job(place))
    }

    fn files(&self, ids: &[JobId]) -> Result<Vec<Result<Vec<SessionFile>>>> {
        let records = self.records(ids)?;
        let list = |id: &JobId, record: Result<JobRecord>| {
            record?;
            let Some(place) = self.place(id) else { return Err(Error::JobNotFound { job_id: id.clone() }) };
            let files = self.session.list_files(&place).map_err(|error| match error {
                Error::Arc { message } => {
                    Error::JobOperation { job_id: id.clone(), operation: "list the files of", message }
                }
                other => other,
            })?;
            Ok(files
                .into_iter()
                .map(|file| SessionFile { path: file.path.into(), url: file.url, size: u64::try_from(file.size).ok() })
                .collect())
        };
        Ok(ids.iter().zip(records).map(|(id, record)| list(id, record)).collect())
    }

    fn fetch(&self, wanted: &[Fetch<'_>]) -> Vec<Result<()>> {
        let one = |fetch: &Fetch<'_>| {
            let failed = |message: String| Error::OutputFile {
                job_id: fetch.id.clone(),
                path: fetch.shown.into(),
                message,
                source: None,
            };
            let Some(path) = fetch.to.to_str() else { return Err(failed("the path is not UTF-8".into())) };
            match logging::capture(|| self.session.fetch_file(&fetch.file.url, path)) {
                (Err(Error::Arc { message }), reasons) => Err(failed(format!("{message}: {}", reasons.text()))),
                (result, _) => result,
            }
        };
        wanted.iter().map(one).collect()
    }

    fn offer(&self) -> Result<Offer> {
        let ask = || self.session.offered(&self.endpoint.url(), self.names.information, self.names.submission);
        let (offered, reasons) = logging::capture(ask);
        let offered = offered.map_err(|error| match error {
            Error::Arc { message } => Error::Connection { endpoint: self.endpoint.url(), message },
            other => other,
        })?;
        if offered.targets.is_empty() {
            return Err(self.no_targets(&reasons));
        }
        Ok(Offer { queues: offered.targets.into_iter().map(queue).collect(), runtime_environments: offered.runtimes })
    }
}

fn queue(target: Target) -> Queue {
    Queue {
        name: target.queue,
        serving: vec![target.serving],
        least_wall_time: told(target.least_wall_time),
        most_wall_time: told(target.most_wall_time),
        least_cpu_time: told(target.least_cpu_time),
        most_cpu_time: told(target.most_cpu_time),
        most_total_cpu_time: told(target.most_total_cpu_time),
        memory: told(target.memory),
        virtual_memory: told(target.virtual_memory),
        disk: tighter(told(target.disk), told(target.free_disk)),
        slots: tighter(told(target.slots), told(target.all_slots)),
    }
}
