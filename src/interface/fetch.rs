//! [`Fetch`]: fetches the files that are wanted of many jobs.

use std::borrow::Borrow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use super::{ArcInterface, owned};
use crate::backend::Backend;
use crate::error::Result;
use crate::job::{Existing, FetchProgress, FetchedJob, JobId, Removal};
use crate::limits::{CallLimits, CancelToken};
use crate::transfer::fetch::{Options, Outcome, fetch_all};
use crate::transfer::select::Selection;
use crate::util::byte_size::ByteSize;

impl ArcInterface {
    /// Fetches files of jobs: which ones, to where, and within which limits is set by the methods of the returned
    /// [`Fetch`].
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
    /// for job in arc.fetch(&jobs).files(["stdout.txt"]).matching(["output/*.nc"]).to("results").run()? {
    ///     let job = job?;
    ///     println!("{}: {} files in {}", job.id, job.files.len(), job.directory.display());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn fetch(&self, ids: impl IntoIterator<Item: Borrow<JobId>>) -> Fetch {
        Fetch {
            arc: self.clone(),
            ids: owned(ids),
            names: Vec::new(),
            patterns: Vec::new(),
            limits: self.1.clone(),
            options: Options { directory: ".".into(), needs_room: true, ..Options::default() },
        }
    }
}

/// Files of jobs that are to be fetched. [`run`](Self::run) fetches them.
///
/// Without any setting, `run` saves all files of each job in a subdirectory of the current directory, named after the last
/// component of its id, and replaces existing files.
///
/// What [`save_jobs_outputs_to`](ArcInterface::save_jobs_outputs_to) guarantees holds here too: nothing is written outside
/// the directory, links in it are not followed, a file appears under its name only when it is whole, and what is left out
/// is reported.
///
/// ```no_run
/// # fn main() -> jasmin_arc::Result<()> {
/// use jasmin_arc::{ByteSize, Existing, FetchProgress};
///
/// # let arc = jasmin_arc::ArcInterface::builder().build()?;
/// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
/// // results/ID.nc for each job, continued if an earlier call broke off, and removed from the CE when it is here.
/// let fetched = arc
///     .fetch(&jobs)
///     .files(["output/result.nc"])
///     .to("results")
///     .named(|job, _| format!("{}.nc", job.local_id()).into())
///     .existing(Existing::Resume)
///     .max_bytes(ByteSize::gib(100))
///     .on_progress(|now: &FetchProgress| println!("{} of {} bytes", now.bytes, now.total_bytes))
///     .remove_when_complete()
///     .run()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is fetched without run()"]
pub struct Fetch {
    arc: ArcInterface,
    ids: Vec<JobId>,
    names: Vec<PathBuf>,
    patterns: Vec<String>,
    limits: CallLimits,
    options: Options,
}

impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetch")
            .field("ids", &self.ids)
            .field("names", &self.names)
            .field("patterns", &self.patterns)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Fetch {
    /// Fetches the files with these names, relative to the session directory. The name of a directory stands for all files
    /// in it and below.
    ///
    /// Names are taken literally. Together with [`matching`](Self::matching), a file is fetched if it has one of the names
    /// or matches one of the patterns. A job without a file or directory of one of the names reports it in
    /// [`FetchedJob::left_out`]. An empty list adds nothing: without any name or pattern, all files are fetched.
    pub fn files(mut self, names: impl IntoIterator<Item: AsRef<Path>>) -> Self {
        self.names.extend(names.into_iter().map(|name| name.as_ref().to_owned()));
        self
    }

    /// Fetches the files that match one of these patterns, such as `output/*.nc` or `**/*.log`.
    ///
    /// The syntax is that of the crate [`globset`](https://docs.rs/globset/latest/globset/#syntax). `*` and `?` do not match
    /// `/`, and `**/` matches any number of directories. Directories in which no pattern can match are not listed. A job
    /// without a match reports the pattern in [`FetchedJob::left_out`].
    pub fn matching(mut self, patterns: impl IntoIterator<Item: Into<String>>) -> Self {
        self.patterns.extend(patterns.into_iter().map(Into::into));
        self
    }

    /// Sets the directory to save in. It is created if necessary, and may be a symbolic link. The default is the current
    /// directory.
    pub fn to(mut self, directory: impl Into<PathBuf>) -> Self {
        self.options.directory = directory.into();
        self
    }

    /// Sets the local path of each file, relative to the directory of [`to`](Self::to). By default, this is the last component
    /// of the job's id, followed by the path of the file in the session directory.
    ///
    /// The function gets the job and the path in the session directory. A path that it returns must be relative, without
    /// `..`, and different for each file: others are left out with
    /// [`LeftOutReason::UnsafeName`](crate::LeftOutReason::UnsafeName) or
    /// [`LeftOutReason::NameCollision`](crate::LeftOutReason::NameCollision).
    pub fn named(mut self, name: impl Fn(&JobId, &Path) -> PathBuf + Send + Sync + 'static) -> Self {
        self.options.naming = Some(Box::new(name));
        self
    }

    /// Sets what happens to files that exist already. The default is [`Existing::Overwrite`].
    ///
    /// With [`Existing::Resume`], a download that breaks off is kept in the subdirectory `.partial-resume`, which only you
    /// can use, under a name that belongs to the job, the path and the size of the file. The next call compares the last
    /// 64 KiB with the file on the CE, and fetches only the rest. This holds for files of at least 256 KiB of jobs that
    /// have ended, over REST. Others begin anew. What is left of files that the CE lists with another size is removed by
    /// the next call that fetches all files of the job.
    pub fn existing(mut self, existing: Existing) -> Self {
        self.options.existing = existing;
        self
    }

    /// Sets the maximum number of files to fetch of each job.
    ///
    /// A job that exceeds this limit, or one of the others, is [`Error::FetchLimit`](crate::Error::FetchLimit), and nothing of
    /// it is fetched. The limits compare what the CE lists at the beginning, without files that are skipped.
    pub fn max_files(mut self, files: u64) -> Self {
        self.options.max_files = Some(files);
        self
    }

    /// Sets the maximum size of the files to fetch of each job: see [`max_files`](Self::max_files).
    pub fn max_bytes_per_job(mut self, bytes: ByteSize) -> Self {
        self.options.max_bytes_per_job = Some(bytes.get());
        self
    }

    /// Sets the maximum size of the files to fetch of all jobs: see [`max_files`](Self::max_files). In the order of the ids,
    /// jobs that fit are fetched, and the others are errors.
    pub fn max_bytes(mut self, bytes: ByteSize) -> Self {
        self.options.max_bytes = Some(bytes.get());
        self
    }

    /// Removes each job from the CE when everything that was wanted of it is here.
    ///
    /// A job is removed only if it had ended before its files were listed, nothing is in its [`FetchedJob::left_out`], and the
    /// file system has written everything to the disk (`syncfs`). A job stays if [`Existing::Skip`] kept a local file whose
    /// size differs from that on the CE. [`FetchedJob::removal`] tells what became of it. Files that were not wanted are
    /// removed with the job.
    pub fn remove_when_complete(mut self) -> Self {
        self.options.removes = true;
        self
    }

    /// Calls a function with the progress, about ten times a second while it changes, and at the end. The function runs in
    /// another thread, one call at a time. The fetch does not wait for it, except at the end.
    pub fn on_progress(mut self, report: impl FnMut(&FetchProgress) + Send + 'static) -> Self {
        self.options.on_progress = Some(Mutex::new(Box::new(report)));
        self
    }

    /// Sets a time after which [`run`](Self::run) ends with [`Error::DeadlineExceeded`](crate::Error::DeadlineExceeded),
    /// counted from its beginning. Of several deadlines the shortest holds, including that of
    /// [`with_deadline`](ArcInterface::with_deadline).
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.limits = self.limits.with_deadline(deadline);
        self
    }

    /// Adds a token that ends [`run`](Self::run) with [`Error::Cancelled`](crate::Error::Cancelled) when it is cancelled,
    /// from any thread.
    pub fn cancel(mut self, token: &CancelToken) -> Self {
        self.limits = self.limits.with_cancel(token);
        self
    }

    /// Fetches the files, and returns what was fetched of each job, in the order of the ids.
    ///
    /// If a file of a job cannot be fetched, the result of the job is the error, and its other files are fetched all the
    /// same. Call again with [`Existing::Resume`] to fetch what is missing.
    ///
    /// Costs [`job_statuses`](ArcInterface::job_statuses), two requests for each directory of each job and one for each file,
    /// several at a time. Continuing a file costs one more. [`remove_when_complete`](Self::remove_when_complete) costs
    /// `job_statuses` once more, and [`clean_jobs`](ArcInterface::clean_jobs).
    ///
    /// # Errors
    ///
    /// For one job: [`Error::FetchLimit`](crate::Error::FetchLimit), and the errors of
    /// [`save_jobs_outputs_to`](ArcInterface::save_jobs_outputs_to). For the call:
    /// [`Error::InvalidPattern`](crate::Error::InvalidPattern), and the errors of
    /// [`job_statuses`](ArcInterface::job_statuses) for a CE that does not respond.
    pub fn run(mut self) -> Result<Vec<Result<FetchedJob>>> {
        self.options.selection = Selection::new(&self.names, &self.patterns)?;
        if self.ids.is_empty() {
            return Ok(Vec::new());
        }
        let call = self.arc.begin_within(self.limits.begin())?;
        let backend = self.arc.backend(&call)?;
        // A job that ends after its files were listed may have written more.
        let has_ended: Vec<bool> = match self.options.removes {
            true => backend
                .states(&self.ids)?
                .iter()
                .map(|state| matches!(state, Ok(state) if state.state.is_final()))
                .collect(),
            false => Vec::new(),
        };
        let selection = &self.options.selection;
        let listed = backend.files(&self.ids, &|directory| selection.enters(Path::new(directory)))?;
        let mut outcomes = fetch_all(&*backend, &self.ids, listed, &self.options);
        if self.options.removes {
            let mut removable = Vec::new();
            for (outcome, has_ended) in outcomes.iter_mut().zip(has_ended) {
                let Ok(Outcome { job, stays, .. }) = outcome else { continue };
                match (stays.take(), has_ended) {
                    (Some(why), _) => job.removal = Removal::Kept(why),
                    (_, false) => {
                        job.removal = Removal::Kept("the job had not ended when its files were listed".into());
                    }
                    (None, true) => removable.push(job),
                }
            }
            self.remove(&*backend, &mut removable);
        }
        Ok(outcomes.into_iter().map(|outcome| outcome.map(|outcome| outcome.job)).collect())
    }

    /// Removes jobs from the CE and from the lists, and records what became of each.
    fn remove(&self, backend: &dyn Backend, jobs: &mut [&mut FetchedJob]) {
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id.clone()).collect();
        match backend.clean(&ids) {
            Ok(cleaned) => {
                let removed = ids.iter().zip(&cleaned).filter(|(_, result)| result.is_ok());
                self.arc.remove_from_lists(removed.map(|(id, _)| id));
                for (job, result) in jobs.iter_mut().zip(cleaned) {
                    job.removal = result.map_or_else(|error| Removal::Kept(error.to_string()), |()| Removal::Removed);
                }
            }
            Err(error) => jobs.iter_mut().for_each(|job| job.removal = Removal::Kept(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use tempfile::TempDir;

    use super::*;
    use crate::backend::fake::FakeBackend;
    use crate::error::{Error, ErrorKind, FetchLimit};
    use crate::interface::tests::fake;
    use crate::job::{ArcState, LeftOut, LeftOutReason};
    use crate::transfer::directory::{OutputDirectory, free_bytes};

    /// A CE with two jobs that have ended: the first has four files, and the second has one.
    fn ended() -> (ArcInterface, Arc<FakeBackend>, [JobId; 2], TempDir) {
        let (arc, backend, directory) = fake();
        let ids = [(); 2].map(|()| arc.submit_job("/bin/true", &[""; 0], &[]).unwrap());
        let files = |names: &[&str]| {
            names.iter().map(|name| ((*name).to_owned(), name.as_bytes().to_vec(), Some(name.len() as u64))).collect()
        };
        for (id, names) in ids.iter().zip([&["stdout.txt", "out/a.nc", "out/b.nc", "out/log"][..], &["stdout.txt"]]) {
            let mut jobs = backend.jobs();
            let job = jobs.get_mut(id.as_str()).unwrap();
            (job.state, job.files) = (ArcState::Finished, files(names));
        }
        (arc, backend, ids, directory)
    }

    fn paths(job: &FetchedJob) -> Vec<&str> {
        job.files.iter().map(|path| path.to_str().unwrap()).collect()
    }

    #[test]
    fn only_wanted_files_are_fetched() {
        let (arc, _, ids, directory) = ended();
        let results = directory.path().join("results");
        let jobs = arc.fetch(&ids).files(["stdout.txt"]).matching(["out/*.nc"]).to(&results).run().unwrap();
        let [first, second] = &jobs[..] else { panic!("{jobs:?}") };
        let (first, second) = (first.as_ref().unwrap(), second.as_ref().unwrap());
        assert_eq!(paths(first), ["stdout.txt", "out/a.nc", "out/b.nc"]);
        assert_eq!((first.bytes, first.skipped, &first.left_out[..]), (26, 0, &[][..]));
        assert_eq!(first.removal, Removal::NotRequested);
        assert_eq!(fs::read(first.directory.join("out/a.nc")).unwrap(), b"out/a.nc");
        assert!(!first.directory.join("out/log").exists());
        assert_eq!(paths(second), ["stdout.txt"]);
        let missing = LeftOut { path: "out/*.nc".into(), reason: LeftOutReason::Missing };
        assert_eq!(second.left_out, [missing]);
        // Nothing is created for a job of which nothing is wanted.
        let jobs = arc.fetch([&ids[1]]).files(["none"]).to(directory.path().join("none")).run().unwrap();
        assert_eq!(jobs[0].as_ref().unwrap().left_out.len(), 1);
        assert!(!directory.path().join("none").exists());
        assert!(matches!(arc.fetch(&ids).matching(["a["]).run(), Err(Error::InvalidPattern { .. })));
        assert!(arc.fetch([&ids[0]; 0]).run().unwrap().is_empty());
    }

    #[test]
    fn files_get_the_names_that_the_caller_chooses() {
        let (arc, backend, ids, directory) = ended();
        let results = directory.path().join("results");
        let fetch = || arc.fetch(&ids).files(["stdout.txt"]).to(&results);
        let number = |id: &JobId| id.local_id().to_owned();
        let jobs = fetch().named(move |id, _| format!("{}.txt", number(id)).into()).run().unwrap();
        for (job, id) in jobs.iter().zip(&ids) {
            let job = job.as_ref().unwrap();
            assert_eq!((&job.directory, paths(job)), (&results, vec![&*format!("{}.txt", id.local_id())]));
            assert!(results.join(&job.files[0]).is_file());
        }
        assert_eq!(fs::read_dir(&results).unwrap().count(), 2);
        // Names that collide, and names that lead elsewhere.
        let jobs = fetch().named(|_, _| "same".into()).run().unwrap();
        let collided = jobs.iter().flatten().flat_map(|job| &job.left_out);
        assert_eq!(collided.map(|left_out| left_out.reason).collect::<Vec<_>>(), [LeftOutReason::NameCollision]);
        let jobs = fetch().named(|_, path| Path::new("..").join(path)).run().unwrap();
        assert!(jobs.iter().flatten().all(|job| job.left_out[0].reason == LeftOutReason::UnsafeName));
        assert!(!directory.path().join("stdout.txt").exists());
        drop(backend);
    }

    #[test]
    fn existing_files_are_replaced_skipped_or_completed() {
        let (arc, _, ids, directory) = ended();
        let place = directory.path().join(ids[0].local_id());
        let fetch = |existing| {
            fs::create_dir_all(place.join("out")).unwrap();
            fs::write(place.join("stdout.txt"), "0123456789").unwrap(); // of the same size
            fs::write(place.join("out/a.nc"), "short").unwrap();
            let fetch = arc.fetch([&ids[0]]).to(directory.path()).existing(existing).remove_when_complete();
            let job = fetch.matching(["{stdout.txt,out/*.nc}"]).run().unwrap().remove(0).unwrap();
            let content = |name: &str| fs::read_to_string(place.join(name)).unwrap();
            (job.skipped, job.removal, content("stdout.txt"), content("out/a.nc"))
        };
        let (skipped, removal, stdout, a) = fetch(Existing::Skip);
        assert_eq!((skipped, &*stdout, &*a), (2, "0123456789", "short"));
        assert!(matches!(removal, Removal::Kept(_)), "a file that is not the CE's counts as fetched");
        let (skipped, removal, stdout, a) = fetch(Existing::Resume);
        assert_eq!((skipped, removal, &*stdout, &*a), (2, Removal::Removed, "0123456789", "out/a.nc"));
        let (arc, _, ids, _directory) = ended();
        let job = arc.fetch([&ids[0]]).to(directory.path()).run().unwrap().remove(0).unwrap();
        assert_eq!((job.skipped, job.files.len()), (0, 4));
        assert_eq!(fs::read_to_string(place.join("stdout.txt")).unwrap(), "stdout.txt");
    }

    #[test]
    fn limits_are_checked_before_anything_of_a_job_is_fetched() {
        let (arc, _, ids, directory) = ended();
        let results = directory.path().join("results");
        let exceeded = |fetch: Fetch| {
            let jobs = fetch.to(&results).run().unwrap();
            let limits = jobs.into_iter().map(|job| match job {
                Err(Error::FetchLimit { limit, .. }) => Some(limit),
                other => {
                    other.unwrap();
                    None
                }
            });
            limits.collect::<Vec<_>>()
        };
        assert_eq!(exceeded(arc.fetch(&ids).max_files(3)), [Some(FetchLimit::Files), None]);
        let jobs = || fs::read_dir(&results).unwrap().count();
        assert_eq!(jobs(), 1);
        let bytes = |bytes| ByteSize::new(bytes);
        assert_eq!(exceeded(arc.fetch(&ids).max_bytes_per_job(bytes(20))), [Some(FetchLimit::BytesPerJob), None]);
        assert_eq!(exceeded(arc.fetch(&ids).max_bytes(bytes(20))), [Some(FetchLimit::Bytes), None]);
        assert_eq!(jobs(), 1);
        assert_eq!(exceeded(arc.fetch(&ids).max_bytes(bytes(33))), [None, Some(FetchLimit::Bytes)]);
        assert_eq!(exceeded(arc.fetch(&ids).max_bytes(bytes(43)).max_files(4)), [None, None]);
        assert_eq!(exceeded(arc.fetch(&ids).max_bytes_per_job(bytes(10)).files(["stdout.txt"])), [None, None]);
    }

    #[test]
    fn a_job_that_does_not_fit_on_the_disk_is_not_begun() {
        let (arc, backend, ids, directory) = ended();
        backend.jobs().get_mut(ids[0].as_str()).unwrap().files[0].2 = Some(1 << 60);
        let error = arc.fetch([&ids[0]]).to(directory.path().join("results")).run().unwrap().remove(0).unwrap_err();
        assert!(matches!(error, Error::FetchLimit { limit: FetchLimit::DiskSpace, .. }), "{error}");
        assert!(error.hint().is_some());
        assert!(!directory.path().join("results").exists());
    }

    #[test]
    fn only_jobs_that_are_complete_are_removed() {
        let (arc, backend, ids, directory) = ended();
        let fetch = |id: &JobId, names: &[&str]| {
            let fetch = arc.fetch([id]).files(names).to(directory.path().join("results")).remove_when_complete();
            fetch.run().unwrap().remove(0)
        };
        let kept = |removal: &Removal, text: &str| matches!(removal, Removal::Kept(reason) if reason.contains(text));
        let job = fetch(&ids[0], &["stdout.txt", "none"]).unwrap();
        assert!(kept(&job.removal, "not everything"), "{job:?}");
        *backend.removed.lock().unwrap() = vec!["stdout.txt".into()];
        assert!(kept(&fetch(&ids[0], &[]).unwrap().removal, "not everything"));
        backend.removed.lock().unwrap().clear();
        backend.jobs().get_mut(ids[0].as_str()).unwrap().files[1].2 = Some(5); // not the size that arrives
        fetch(&ids[0], &[]).unwrap_err();
        backend.jobs().get_mut(ids[0].as_str()).unwrap().state = ArcState::Running;
        assert!(kept(&fetch(&ids[0], &["stdout.txt"]).unwrap().removal, "not ended"));
        assert!(backend.jobs().contains_key(ids[0].as_str()));
        assert_eq!(fetch(&ids[1], &["stdout.txt"]).unwrap().removal, Removal::Removed);
        assert!(!backend.jobs().contains_key(ids[1].as_str()));
        assert_eq!(fetch(&ids[1], &[]).unwrap_err().kind(), ErrorKind::JobNotFound);
    }

    #[test]
    fn the_last_report_has_all_files_and_bytes() {
        let (arc, _, ids, directory) = ended();
        let reports = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&reports);
        let fetch = arc.fetch(&ids).to(directory.path().join("results"));
        fetch.on_progress(move |progress| seen.lock().unwrap().push(*progress)).run().unwrap();
        let last = *reports.lock().unwrap().last().unwrap();
        assert_eq!(last, FetchProgress { files: 5, total_files: 5, bytes: 43, total_bytes: 43 });
    }

    /// Lists a large file, of which an earlier call has kept `kept` bytes.
    fn list_large(backend: &FakeBackend, id: &JobId, directory: &Path, size: u64, kept: Option<u64>) -> PathBuf {
        backend.jobs().get_mut(id.as_str()).unwrap().files = vec![("large".into(), Vec::new(), Some(size))];
        let place = directory.join(id.local_id());
        let output = OutputDirectory::at(&place).unwrap();
        let file = output.resume(0, id.local_id(), "large".as_ref(), size).unwrap().unwrap();
        match kept {
            Some(kept) => file.set_len(kept).unwrap(),
            None => output.discard(0),
        }
        place.join(".partial-resume")
    }

    #[test]
    fn what_earlier_calls_have_kept_needs_no_room() {
        let (arc, backend, ids, directory) = ended();
        let free = free_bytes(directory.path()).unwrap();
        list_large(&backend, &ids[0], directory.path(), free / 10 * 8, Some(free / 10 * 7));
        list_large(&backend, &ids[1], directory.path(), free / 10 * 6, None);
        let fetch = || arc.fetch(&ids).to(directory.path()).existing(Existing::Resume).run().unwrap();
        for job in fetch() {
            let error = job.unwrap_err();
            assert!(!matches!(error, Error::FetchLimit { .. }), "{error}");
        }
        list_large(&backend, &ids[0], directory.path(), free / 10 * 8, Some(free / 10));
        assert!(matches!(fetch()[1], Err(Error::FetchLimit { limit: FetchLimit::DiskSpace, .. })));
    }

    #[test]
    fn what_is_kept_of_other_files_stays() {
        let (arc, backend, ids, directory) = ended();
        let kept = list_large(&backend, &ids[0], directory.path(), 1 << 20, Some(1 << 19));
        let count = || fs::read_dir(&kept).map_or(0, |entries| entries.count());
        backend.jobs().get_mut(ids[0].as_str()).unwrap().files = vec![("log".into(), b"log".into(), Some(3))];
        let fetch = || arc.fetch([&ids[0]]).to(directory.path()).existing(Existing::Resume);
        fetch().files(["log"]).run().unwrap().remove(0).unwrap();
        assert_eq!(count(), 1);
        fetch().run().unwrap().remove(0).unwrap();
        assert_eq!(count(), 0);
    }

    #[test]
    fn one_local_file_does_not_stand_for_two_outputs() {
        let (arc, backend, ids, directory) = ended();
        fs::write(directory.path().join("same"), "0123456789").unwrap(); // the size of both
        let fetch = arc.fetch(&ids).files(["stdout.txt"]).to(directory.path()).named(|_, _| "same".into());
        let jobs = fetch.existing(Existing::Skip).remove_when_complete().run().unwrap();
        let removals = jobs.into_iter().map(|job| job.unwrap().removal == Removal::Removed);
        assert_eq!(removals.collect::<Vec<_>>(), [true, false]);
        assert!(backend.jobs().contains_key(ids[1].as_str()));
    }

    #[test]
    fn deadlines_and_tokens_end_the_call() {
        let (arc, _, ids, directory) = ended();
        let fetch = || arc.fetch(&ids).to(directory.path().join("results"));
        let late = fetch().deadline(Duration::ZERO).deadline(Duration::from_secs(600));
        assert!(matches!(late.run(), Err(Error::DeadlineExceeded { .. })));
        let (token, other) = (CancelToken::new(), CancelToken::new());
        token.cancel();
        assert!(matches!(fetch().cancel(&token).cancel(&other).run(), Err(Error::Cancelled)));
        assert!(!directory.path().join("results").exists());
        assert_eq!(fetch().cancel(&other).run().unwrap().len(), 2);
    }
}
