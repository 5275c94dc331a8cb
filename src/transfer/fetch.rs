//! Fetches the files of jobs.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::directory::{OutputDirectory, free_bytes};
use super::place::{Meter, Place};
use super::select::{Selection, Used};
use crate::backend::{Backend, Fetch, Fetched, SessionFile, SessionFiles};
use crate::error::{Error, FetchLimit, Result};
use crate::job::{Existing, FetchProgress, FetchedJob, JobId, LeftOut, LeftOutReason, Removal};
use crate::logging::{LogLevel, log};
use crate::util::lock;

/// The number of files that are handed to the backend together. It bounds the memory for their results.
const BATCH: usize = 10_000;

/// The number of files that a log message names.
const NAMED_IN_LOG: usize = 5;

/// The time between two reports of the progress.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// Returns the local path of a file of a job, relative to the directory of the fetch.
pub(crate) type Naming = dyn Fn(&JobId, &Path) -> PathBuf + Send + Sync;

/// Is called with the progress.
pub(crate) type OnProgress = dyn FnMut(&FetchProgress) + Send;

/// What is fetched, and to where.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) selection: Selection,
    pub(crate) directory: PathBuf,
    /// Without it, each job gets a directory of its own.
    pub(crate) naming: Option<Box<Naming>>,
    pub(crate) existing: Existing,
    pub(crate) max_files: Option<u64>,
    pub(crate) max_bytes_per_job: Option<u64>,
    pub(crate) max_bytes: Option<u64>,
    /// Whether all files of a job must fit on the disk before the first of them is fetched.
    pub(crate) needs_room: bool,
    pub(crate) on_progress: Option<Mutex<Box<OnProgress>>>,
    /// Whether jobs are to be removed from the CE afterwards, so that the files must be on the disk.
    pub(crate) removes: bool,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("selection", &self.selection)
            .field("directory", &self.directory)
            .field("existing", &self.existing)
            .field("max_files", &self.max_files)
            .field("max_bytes_per_job", &self.max_bytes_per_job)
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}

/// What became of a job.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) job: FetchedJob,
    /// Whether the CE lists any output of the job, wanted or not.
    pub(crate) has_outputs: bool,
    /// Why the job must not be removed from the CE, if all that was wanted is not here for sure.
    pub(crate) stays: Option<String>,
}

/// Fetches the files of many jobs. The results are in the order of `ids`.
pub(crate) fn fetch_all(
    backend: &dyn Backend,
    ids: &[JobId],
    listed: Vec<Result<SessionFiles>>,
    options: &Options,
) -> Vec<Result<Outcome>> {
    let mut planner = Planner::new(options);
    let plan = |(id, listed): (_, Result<SessionFiles>)| planner.plan(id, listed?);
    let mut plans: Vec<Result<Plan<'_>>> = ids.iter().zip(listed).map(plan).collect();
    let meter = planner.meter;
    // It is opened before anything is written, because the kernel reports errors of writing to those who were there.
    let disk = options.removes.then(|| File::open(&options.directory).ok()).flatten();
    reporting(options, meter.as_deref(), || save(backend, plans.iter_mut().flatten()));
    let mut outcomes: Vec<Result<Outcome>> = plans.into_iter().map(|plan| plan?.finish()).collect();
    if let Some(Err(error)) = disk.map(rustix::fs::syncfs) {
        for outcome in outcomes.iter_mut().flatten() {
            outcome.stays.get_or_insert_with(|| format!("the files may not be on the disk: {error}"));
        }
    }
    outcomes
}

/// Saves the files of one job in a new temporary directory, which then belongs to the caller.
pub(crate) fn save_in_new_directory(backend: &dyn Backend, id: &JobId, listed: SessionFiles) -> Result<PathBuf> {
    let private = fs::Permissions::from_mode(0o700);
    let directory: TempDir = tempfile::Builder::new()
        .prefix("jasmin_arc-")
        .permissions(private)
        .tempdir()
        .map_err(|error| not_created(id, std::env::temp_dir(), error))?;
    let path = directory.path().to_owned();
    let opened = OutputDirectory::open(path.clone()).map_err(|error| not_created(id, path.clone(), error))?;
    let mut plan = Plan::new(id, path);
    plan.left_out = listed.left_out;
    plan.files = listed.files;
    plan.place =
        Some(Place { directory: Arc::new(opened), first: 0, names: None, resumes: None, forgets: false, meter: None });
    plan.leave_out_unsafe_names();
    save(backend, std::iter::once(&mut plan));
    let directory_path = plan.finish()?.job.directory;
    let _ = directory.keep();
    Ok(directory_path)
}

/// Decides what is fetched of each job.
struct Planner<'o> {
    options: &'o Options,
    meter: Option<Arc<Meter>>,
    /// The directory of all jobs, if they share one.
    shared: Option<Arc<OutputDirectory>>,
    /// The number of the next file.
    number: usize,
    /// The bytes that are to be fetched of the jobs so far.
    bytes: u64,
    /// The room that they need on the disk.
    room: u64,
    /// The local paths of the files of the jobs so far, if they share a directory.
    names: HashSet<OsString>,
}

impl<'o> Planner<'o> {
    fn new(options: &'o Options) -> Planner<'o> {
        let meter = options.on_progress.as_ref().map(|_| Arc::new(Meter::default()));
        Planner { options, meter, shared: None, number: 0, bytes: 0, room: 0, names: HashSet::new() }
    }

    fn plan<'a>(&mut self, id: &'a JobId, listed: SessionFiles) -> Result<Plan<'a>> {
        let options = self.options;
        let directory = match options.naming {
            None => options.directory.join(id.local_id()),
            Some(_) => options.directory.clone(),
        };
        let mut plan = Plan::new(id, directory);
        plan.has_outputs = !listed.is_empty();
        let mut used = Used::default();
        plan.files = listed.files;
        plan.files.retain(|file| options.selection.selects(Path::new(&file.path), &mut used));
        options.selection.note_directories(&listed.directories, &mut used);
        plan.left_out = listed.left_out;
        plan.left_out.retain(|left_out| {
            options.selection.selects(&left_out.path, &mut used) || options.selection.enters(&left_out.path)
        });
        let missing = options.selection.unused(&used).into_iter();
        plan.left_out.extend(missing.map(|path| LeftOut { path, reason: LeftOutReason::Missing }));
        // A directory that exists tells which files are there already.
        if self.shared.is_some() || plan.job_directory_exists() {
            self.open(&mut plan)?;
            plan.leave_out_existing(options.existing, &mut self.names);
        }
        let bytes = plan.files.iter().filter_map(|file| file.size).fold(0, u64::saturating_add);
        let room = bytes.saturating_sub(plan.place.as_ref().map_or(0, |place| place.kept_bytes(&plan.files)));
        self.check_limits(&plan, bytes, room)?;
        if plan.has_outputs && (options.selection.is_everything() || !plan.files.is_empty()) {
            self.open(&mut plan)?;
        }
        self.bytes = self.bytes.saturating_add(bytes);
        self.room = self.room.saturating_add(room);
        self.number += plan.files.len();
        if let Some(meter) = &self.meter {
            meter.expect(plan.files.len() as u64, bytes);
        }
        Ok(plan)
    }

    /// Opens the directory of a plan, and creates it if necessary.
    fn open(&mut self, plan: &mut Plan<'_>) -> Result<()> {
        if plan.place.is_some() {
            return Ok(());
        }
        let Options { directory, naming, existing, selection, .. } = self.options;
        let opened = match (naming, &self.shared) {
            // The CE knows this id, so its last component has been checked and is a valid name.
            (None, _) => OutputDirectory::create_in(directory, plan.id.local_id()).map(Arc::new),
            (Some(_), Some(shared)) => Ok(Arc::clone(shared)),
            (Some(_), None) => OutputDirectory::at(directory).map(Arc::new),
        };
        let opened = opened.map_err(|error| not_created(plan.id, plan.directory.clone(), error))?;
        let named = |naming: &Naming| {
            plan.files.iter().map(|file| naming(plan.id, Path::new(&file.path)).into_os_string()).collect()
        };
        let names: Option<Vec<OsString>> = naming.as_deref().map(named);
        self.shared = names.as_ref().map(|_| Arc::clone(&opened));
        plan.place = Some(Place {
            directory: opened,
            first: self.number,
            names,
            resumes: (*existing == Existing::Resume).then(|| plan.id.local_id().to_owned()),
            forgets: *existing == Existing::Resume && naming.is_none() && selection.is_everything(),
            meter: self.meter.clone(),
        });
        plan.leave_out_unsafe_names();
        Ok(())
    }

    /// `room` is the part of `bytes` that is not on the disk yet.
    fn check_limits(&self, plan: &Plan<'_>, bytes: u64, room: u64) -> Result<()> {
        let files = plan.files.len() as u64;
        let exceeded = |limit, message| Err(Error::FetchLimit { job_id: plan.id.clone(), limit, message });
        if let Some(max) = self.options.max_files.filter(|max| files > *max) {
            return exceeded(FetchLimit::Files, format!("it has {files} files to fetch, and the limit is {max}"));
        }
        if let Some(max) = self.options.max_bytes_per_job.filter(|max| bytes > *max) {
            let message = format!("it has {bytes} bytes to fetch, and the limit for a job is {max}");
            return exceeded(FetchLimit::BytesPerJob, message);
        }
        let others = self.bytes;
        let all = others.saturating_add(bytes);
        if let Some(max) = self.options.max_bytes.filter(|max| all > *max) {
            let message =
                format!("it has {bytes} bytes to fetch, the jobs before it have {others}, and the limit is {max}");
            return exceeded(FetchLimit::Bytes, message);
        }
        let free = self.options.needs_room.then(|| free_bytes(&self.options.directory)).flatten();
        if let Some(free) = free.filter(|free| self.room.saturating_add(room) > *free) {
            let (others, place) = (self.room, self.options.directory.display());
            let message = format!(
                "it has {room} bytes to fetch, the jobs before it have {others}, and {free} bytes are free in {place}"
            );
            return exceeded(FetchLimit::DiskSpace, message);
        }
        Ok(())
    }
}

/// Why a file is not fetched.
enum NotFetched {
    LeftOut(LeftOutReason),
    /// There is a local file, of the same size or of another.
    Exists {
        is_same: bool,
    },
}

/// The files of one job, and what has become of them so far.
#[derive(Debug)]
struct Plan<'a> {
    id: &'a JobId,
    directory: PathBuf,
    files: Vec<SessionFile>,
    /// Which of the files have been kept.
    kept: Vec<bool>,
    /// `None` if nothing is to be fetched.
    place: Option<Place>,
    has_outputs: bool,
    bytes: u64,
    skipped: u64,
    /// Whether a file was skipped that is not as the CE lists it.
    has_other_files: bool,
    left_out: Vec<LeftOut>,
    error: Option<Error>,
}

impl<'a> Plan<'a> {
    fn new(id: &'a JobId, directory: PathBuf) -> Plan<'a> {
        Plan {
            id,
            directory,
            files: Vec::new(),
            kept: Vec::new(),
            place: None,
            has_outputs: true,
            bytes: 0,
            skipped: 0,
            has_other_files: false,
            left_out: Vec::new(),
            error: None,
        }
    }

    /// Whether there is a directory of this job alone.
    fn job_directory_exists(&self) -> bool {
        self.directory.symlink_metadata().is_ok()
    }

    /// Takes away the files for which `why_not` has a reason.
    fn take_away(&mut self, mut why_not: impl FnMut(&Place, &SessionFile, &OsStr) -> Option<NotFetched>) {
        let Some(mut place) = self.place.take() else { return };
        let mut names = Vec::new();
        let mut files = Vec::with_capacity(self.files.len());
        for (index, file) in std::mem::take(&mut self.files).into_iter().enumerate() {
            let name = place.name(place.first + index, &file);
            match why_not(&place, &file, name) {
                Some(NotFetched::LeftOut(reason)) => {
                    self.left_out.push(LeftOut { path: file.path.into(), reason });
                }
                Some(NotFetched::Exists { is_same }) => {
                    self.skipped += 1;
                    self.has_other_files |= !is_same;
                }
                None => {
                    if place.names.is_some() {
                        names.push(name.to_owned());
                    }
                    files.push(file);
                }
            }
        }
        self.files = files;
        place.names = place.names.map(|_| names);
        self.place = Some(place);
    }

    fn leave_out_unsafe_names(&mut self) {
        self.take_away(|place, _, name| place.directory.refusal(name).map(NotFetched::LeftOut));
    }

    /// Takes away the files that exist already and are to stay.
    ///
    /// Without `taken`, a file that exists would count as each of several files with its local path.
    fn leave_out_existing(&mut self, existing: Existing, taken: &mut HashSet<OsString>) {
        if existing == Existing::Overwrite {
            return;
        }
        self.take_away(|place, file, name| {
            if place.names.is_some() && !taken.insert(name.to_owned()) {
                return Some(NotFetched::LeftOut(LeftOutReason::NameCollision));
            }
            let size = place.directory.existing_size(Path::new(name))?;
            let is_same = file.size == Some(size);
            (is_same || existing == Existing::Skip).then_some(NotFetched::Exists { is_same })
        });
    }

    fn record(&mut self, index: usize, fetched: Result<Fetched>) {
        match fetched {
            Ok(Fetched::Kept { bytes }) => {
                self.kept[index] = true;
                self.bytes += bytes;
            }
            Ok(Fetched::LeftOut(reason)) => {
                let path = self.files[index].path.clone().into();
                self.left_out.push(LeftOut { path, reason });
            }
            Err(error) => self.error = self.error.take().or(Some(error)),
        }
    }

    fn finish(self) -> Result<Outcome> {
        log_left_out(self.id, &self.left_out);
        if let Some(error) = self.error {
            return Err(error);
        }
        let mut names = self.place.as_ref().and_then(|place| place.names.clone()).map(Vec::into_iter);
        if let Some(place) = self.place.filter(|place| place.forgets && self.left_out.is_empty()) {
            // All files of the job are here, so what is left belongs to files that have changed or are gone.
            place.directory.forget_resumable();
        }
        let name = |file: SessionFile| names.as_mut().and_then(Iterator::next).unwrap_or(file.path);
        let named: Vec<OsString> = self.files.into_iter().map(name).collect();
        let files = named.into_iter().zip(self.kept).filter(|(_, kept)| *kept).map(|(name, _)| name.into()).collect();
        Ok(Outcome {
            stays: (!self.left_out.is_empty() || self.has_other_files)
                .then(|| "not everything that was wanted was fetched".into()),
            has_outputs: self.has_outputs,
            job: FetchedJob {
                id: self.id.clone(),
                directory: self.directory,
                files,
                bytes: self.bytes,
                skipped: self.skipped,
                left_out: self.left_out,
                removal: Removal::NotRequested,
            },
        })
    }
}

/// Fetches the files of all plans together.
fn save<'a, 'b: 'a>(backend: &dyn Backend, plans: impl Iterator<Item = &'a mut Plan<'b>>) {
    let mut plans: Vec<&mut Plan<'b>> = plans.collect();
    plans.iter_mut().for_each(|plan| plan.kept = vec![false; plan.files.len()]);
    let mut next = (0, 0); // the next plan, and the next of its files
    loop {
        let mut batch = Vec::new();
        while batch.len() < BATCH && next.0 < plans.len() {
            let (plan, first) = next;
            let count = (plans[plan].files.len() - first).min(BATCH - batch.len());
            batch.extend((first..first + count).map(|index| (plan, index)));
            next = if first + count < plans[plan].files.len() { (plan, first + count) } else { (plan + 1, 0) };
        }
        let fetch = |(plan, index): &(usize, usize)| {
            let plan = &*plans[*plan];
            let place = plan.place.as_ref()?;
            Some(Fetch { id: plan.id, file: &plan.files[*index], to: place, number: place.first + index })
        };
        let fetches: Vec<Fetch<'_>> = batch.iter().filter_map(fetch).collect();
        if fetches.is_empty() {
            return;
        }
        let fetched = backend.fetch(&fetches);
        for ((plan, index), fetched) in batch.into_iter().zip(fetched) {
            plans[plan].record(index, fetched);
        }
    }
}

/// Does the work, and reports its progress at intervals and at the end.
fn reporting(options: &Options, meter: Option<&Meter>, work: impl FnOnce()) {
    let (Some(callback), Some(meter)) = (&options.on_progress, meter) else { return work() };
    let report = |progress: FetchProgress| (lock(callback))(&progress);
    thread::scope(|scope| {
        // Dropping the sender ends the thread, even if the work panics.
        let (_working, ended) = channel::<()>();
        let ticker = move || {
            let mut last = None;
            while ended.recv_timeout(REPORT_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                let progress = meter.progress();
                if last.replace(progress) != Some(progress) {
                    report(progress);
                }
            }
        };
        // Without the thread, only the end is reported.
        let _ = thread::Builder::new().spawn_scoped(scope, ticker);
        work();
    });
    (lock(callback))(&meter.progress());
}

/// Logs what was left out of the outputs of a job, in one message.
fn log_left_out(id: &JobId, left_out: &[LeftOut]) {
    if left_out.is_empty() {
        return;
    }
    let named: Vec<String> = left_out.iter().take(NAMED_IN_LOG).map(LeftOut::to_string).collect();
    let more = match left_out.len() - named.len() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    log(LogLevel::Warning, format!("not all of the outputs of job {id} were saved: {}{more}", named.join("; ")));
}

fn not_created(id: &JobId, path: PathBuf, error: io::Error) -> Error {
    let message = "the directory cannot be created".into();
    Error::OutputFile { job_id: id.clone(), path, message, is_temporary: false, source: Some(error) }
}
