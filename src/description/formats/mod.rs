//! [`JobDescription`] as ADL and xRSL, which ARC itself reads and writes, and as ARC is told of it.

mod check;
pub(crate) mod jsdl;
mod xrsl;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::description::arex;
use crate::description::{
    ByteSize, Delegation, InputFile, InputSource, JobDescription, Notification, NotificationState, ResolvedInput,
    ResolvedSource, RuntimeEnvironment, Upload, absolute, invalid, whole_seconds,
};
use crate::error::{Error, Result};
use crate::ffi::{self, Description, Input, Language, Notice, Output, ReadDescription, Runtime, Variable};
use crate::util::xml::Element;

/// More than anybody writes; a file that has none of it is not read to its end.
const LONGEST: u64 = 16 << 20;

/// A job that is ready to be submitted.
#[derive(Clone, Debug)]
pub(crate) struct PreparedJob {
    pub(crate) description: Description,
    pub(crate) uploads: Vec<Upload>,
    /// Whether it needs the user's credentials on the CE.
    pub(crate) delegate: bool,
}

impl JobDescription {
    /// The description in the EMI Activity Description Language with NorduGrid's extensions, which is what A-REX is sent.
    ///
    /// The CE is told only the names of what is uploaded to it: local paths and bytes are not in the text. Directories are
    /// read, and are given as their files. When a job is submitted, characters in its arguments that the shells of a CE
    /// would touch are replaced besides, by variables of its environment.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidJobDescription`] for what ADL cannot say: a project, notifications of
    /// [`Canceling`](NotificationState::Canceling) and [`Deleted`](NotificationState::Deleted), and whether credentials
    /// are delegated; and those of [`validate`](Self::validate).
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let adl = JobDescription::new("/bin/echo").with_arg("hello").with_slots(2).to_adl()?;
    /// assert!(adl.contains("<NumberOfSlots>2</NumberOfSlots>"));
    /// # Ok::<(), jasmin_arc::Error>(())
    /// ```
    pub fn to_adl(&self) -> Result<String> {
        self.check()?;
        self.check_for_ce()?;
        self.check_delegation("ADL")?;
        ffi::describe(&self.described(self.as_given(Language::Adl)?), Language::Adl)
    }

    /// The description in NorduGrid's Extended Resource Specification Language, as a user writes it (with local paths,
    /// which are made absolute).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidJobDescription`] for what xRSL cannot say: a description in prose, annotations, a project, virtual
    /// memory, processes per slot, threads per process, input files that are not files, and whether credentials are
    /// delegated; and those of [`validate`](Self::validate).
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let xrsl = JobDescription::new("/bin/echo").with_arg("hello").with_slots(2).to_xrsl()?;
    /// assert!(xrsl.contains("count = \"2\""), "{xrsl}");
    /// # Ok::<(), jasmin_arc::Error>(())
    /// ```
    pub fn to_xrsl(&self) -> Result<String> {
        self.check()?;
        self.check_project()?;
        self.check_delegation("xRSL")?;
        let lacking = [
            ("a description", self.description().is_some()),
            ("annotations", !self.annotations().is_empty()),
            ("virtual memory", self.virtual_memory().is_some()),
            ("processes per slot", self.processes_per_slot().is_some()),
            ("threads per process", self.threads_per_process().is_some()),
        ];
        if let Some((what, _)) = lacking.iter().find(|(_, said)| *said) {
            return Err(invalid(format!("xRSL cannot say: {what}")));
        }
        let xrsl = ffi::describe(&self.described(self.as_given(Language::Xrsl)?), Language::Xrsl)?;
        // ARC's reader takes comments out before it looks at quotes.
        if xrsl.contains("(*") {
            return Err(invalid("xRSL cannot say: a text with (* in it, which begins a comment"));
        }
        Ok(xrsl)
    }

    /// Reads a description in the EMI Activity Description Language, as ARC does.
    ///
    /// An input file without a source is the local file with the same name, as for `arcsub`; so is an executable, or a
    /// standard input, that is neither an absolute path nor among the input files.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidJobDescription`] if ARC does not understand it, or if it says anything that a [`JobDescription`]
    /// has nothing for: the message names that.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::from_adl(
    ///     r#"<ActivityDescription xmlns="http://www.eu-emi.eu/es/2010/12/adl">
    ///          <Application><Executable><Path>/bin/echo</Path><Argument>hello</Argument></Executable></Application>
    ///          <Resources><WallTime>600</WallTime></Resources>
    ///        </ActivityDescription>"#,
    /// )?;
    /// assert_eq!((job.executable(), job.wall_time().map(|time| time.as_secs())), ("/bin/echo", Some(600)));
    /// # Ok::<(), jasmin_arc::Error>(())
    /// ```
    pub fn from_adl(text: &str) -> Result<JobDescription> {
        let root = Element::parse(text).map_err(invalid)?;
        if root.name != "ActivityDescription" {
            return Err(invalid(format!("{} is not the root of an ADL document", root.name)));
        }
        read_adl(&root)
    }

    /// Reads a description in NorduGrid's Extended Resource Specification Language, as ARC does. Times without a unit are
    /// minutes, sizes are MB of 1024 * 1024 bytes.
    ///
    /// An executable, or a standard input, that is neither an absolute path nor among the input files is the local file
    /// with that name, as for `arcsub`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidJobDescription`] if ARC does not understand it, if it is for more than one job (see
    /// [`parse_all`](Self::parse_all)), or if it says anything that a [`JobDescription`] has nothing for: the message names
    /// that.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::from_xrsl(r#"&(executable="/bin/echo")(arguments="hello")(walltime="10")"#)?;
    /// assert_eq!((job.executable(), job.wall_time().map(|time| time.as_secs())), ("/bin/echo", Some(600)));
    /// # Ok::<(), jasmin_arc::Error>(())
    /// ```
    pub fn from_xrsl(text: &str) -> Result<JobDescription> {
        one(read_xrsl(text)?)
    }

    /// Reads a description in JSDL, ADL or xRSL, whichever it is.
    ///
    /// # Errors
    ///
    /// Those of [`from_jsdl`](Self::from_jsdl), [`from_adl`](Self::from_adl) and [`from_xrsl`](Self::from_xrsl);
    /// [`Error::InvalidJobDescription`] if it is none of them.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("/bin/true");
    /// for text in [job.to_jsdl()?, job.to_adl()?, job.to_xrsl()?] {
    ///     assert_eq!(JobDescription::parse(&text)?, job);
    /// }
    /// # Ok::<(), jasmin_arc::Error>(())
    /// ```
    pub fn parse(text: &str) -> Result<JobDescription> {
        one(Self::parse_all(text)?)
    }

    /// Reads the descriptions in a text: xRSL can have those of several jobs (`+(&(...))(&(...))`).
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let jobs = JobDescription::parse_all(r#"+(&(executable="/bin/a"))(&(executable="/bin/b"))"#)?;
    /// assert_eq!((jobs.len(), jobs[1].executable()), (2, "/bin/b"));
    /// # Ok::<(), jasmin_arc::Error>(())
    /// ```
    pub fn parse_all(text: &str) -> Result<Vec<JobDescription>> {
        let text = text.trim_start_matches('\u{feff}').trim_start();
        if text.starts_with(['&', '+', '|', '(']) {
            return read_xrsl(text);
        }
        if !text.starts_with('<') {
            return Err(invalid("it is neither JSDL nor ADL (which begin with <) nor xRSL (which begins with & or +)"));
        }
        let root = Element::parse(text).map_err(invalid)?;
        match root.name.as_str() {
            "JobDefinition" => Ok(vec![jsdl::definition(&root)?]),
            "ActivityDescription" => Ok(vec![read_adl(&root)?]),
            other => Err(invalid(format!("{other} is the root of neither a JSDL nor an ADL document"))),
        }
    }

    /// Reads the description in a file, in JSDL, ADL or xRSL. Local paths in it that are relative are relative to the
    /// working directory.
    ///
    /// # Errors
    ///
    /// Those of [`parse`](Self::parse), with the path of the file; [`Error::InvalidJobDescription`] if it cannot be read,
    /// or is longer than 16 MiB.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("job.xrsl");
    /// use jasmin_arc::JobDescription;
    ///
    /// std::fs::write(&path, r#"&(executable="/bin/hostname")(jobname="where")"#)?;
    /// assert_eq!(JobDescription::from_file(&path)?.name(), "where");
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_file(path: impl AsRef<Path>) -> Result<JobDescription> {
        one(Self::all_from_file(path)?)
    }

    /// Reads the descriptions in a file: see [`from_file`](Self::from_file) and [`parse_all`](Self::parse_all).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("jobs.xrsl");
    /// use jasmin_arc::JobDescription;
    ///
    /// std::fs::write(&path, r#"+(&(executable="/bin/a"))(&(executable="/bin/b"))"#)?;
    /// assert_eq!(JobDescription::all_from_file(&path)?.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn all_from_file(path: impl AsRef<Path>) -> Result<Vec<JobDescription>> {
        let path = path.as_ref();
        let failed = |message: String| Error::InvalidJobDescription { path: Some(path.into()), message };
        let read = || {
            let mut text = String::new();
            // Opening a FIFO would wait for a writer.
            if !std::fs::metadata(path)?.is_file() {
                return Err(std::io::Error::other("it is not a regular file"));
            }
            File::open(path)?.take(LONGEST + 1).read_to_string(&mut text)?;
            std::io::Result::Ok(text)
        };
        let text = read().map_err(|error| failed(error.to_string()))?;
        if text.len() as u64 > LONGEST {
            return Err(failed("it is longer than 16 MiB".into()));
        }
        Self::parse_all(&text).map_err(|error| match error {
            Error::InvalidJobDescription { message, .. } => failed(message),
            other => other,
        })
    }

    /// The job as it is submitted: its input files have been looked at.
    pub(crate) fn prepare(&self) -> Result<PreparedJob> {
        let resolved = self.resolve_inputs()?;
        let (inputs, uploads) = split(resolved)?;
        let mut description = self.described(inputs);
        // ARC does not know an input file by a name with `./`.
        let executable = self.plain_executable();
        // The CE would look for it in the session directory; ARC's client would upload what has this name here.
        if !executable.starts_with('/') && !description.inputs.iter().any(|input| input.name == executable) {
            return Err(invalid(format!(
                "the executable {executable:?} is neither an absolute path nor an input file"
            )));
        }
        description.executable = executable.into();
        let (arguments, variables) = arex::escape(self.args());
        description.arguments = arguments;
        description.environment.extend(variables);
        Ok(PreparedJob { description, uploads, delegate: self.wants_delegation() })
    }

    /// What A-REX loses of a description when it has got it.
    pub(crate) fn check_for_arex(&self) -> Result<()> {
        // A-REX takes newlines out of the descriptions that it keeps (job_description_read_file).
        let texts = [("name", Some(self.name())), ("description", self.description())];
        let annotations = self.annotations().iter().map(|annotation| ("annotation", Some(annotation.as_str())));
        for (part, text) in texts.into_iter().chain(annotations) {
            if text.is_some_and(|text| text.contains('\n')) {
                return Err(invalid(format!("the {part} has a newline, which an ARC-CE loses")));
            }
        }
        // It takes the seconds for the code of a character: three hours would be "0", and the job be removed at once
        // (JobLocalDescription::operator=, ARC 6 and 7).
        if self.life_time().is_some() {
            return Err(invalid("the life time: A-REX takes it for something else (ARC 6 and 7), so leave it out"));
        }
        Ok(())
    }

    /// What ADL cannot say, or an ARC-CE not read in it.
    pub(crate) fn check_for_ce(&self) -> Result<()> {
        self.check_project()?;
        // A-REX reads that only along with the slots per host (ADLParser::Parse), and 0 of these end it.
        if self.exclusive() == Some(true) && self.slots_per_host().is_none() && self.slots().is_some_and(|n| n > 1) {
            return Err(invalid("an ARC-CE takes a job of several slots for exclusive only along with slots per host"));
        }
        let unsayable = [NotificationState::Canceling, NotificationState::Deleted];
        for notification in self.notifications() {
            if let Some(state) = notification.states().iter().find(|state| unsayable.contains(state)) {
                return Err(invalid(format!("ADL cannot ask for a notification at {state}")));
            }
        }
        Ok(())
    }

    fn check_project(&self) -> Result<()> {
        match self.project() {
            Some(project) => Err(invalid(format!("an ARC-CE cannot be told a project ({project:?})"))),
            None => Ok(()),
        }
    }

    fn check_delegation(&self, language: &str) -> Result<()> {
        match self.delegation() {
            Delegation::Auto => Ok(()),
            _ => Err(invalid(format!("{language} cannot say whether credentials are delegated"))),
        }
    }

    /// The inputs as they are in a text: not looked at, except for directories.
    fn as_given(&self, language: Language) -> Result<Vec<Input>> {
        let mut inputs = Vec::new();
        for input in self.inputs() {
            let name = input.checked_name()?.to_owned();
            let is_executable = input.is_executable() || name == self.executable();
            let given = |path: String, url: String| Input {
                name: name.clone(),
                path,
                url,
                executable: is_executable,
                size: -1,
            };
            match input.source() {
                InputSource::File(path) => inputs.push(given(utf8(&absolute(path)?)?, String::new())),
                InputSource::Url(url) => inputs.push(given(String::new(), url.clone())),
                InputSource::Bytes(_) if language == Language::Adl => {
                    inputs.push(given(format!("/{name}"), String::new()))
                }
                InputSource::Bytes(_) => return Err(invalid(format!("xRSL has no place for the bytes of {name:?}"))),
                InputSource::Directory(_) => inputs.extend(split(input.resolve()?)?.0),
            }
        }
        Ok(inputs)
    }

    /// All but the inputs.
    fn described(&self, inputs: Vec<Input>) -> Description {
        // What is not whole or too much is not valid.
        let number = |number: Option<u32>| number.map_or(-1, |number| i32::try_from(number).unwrap_or(i32::MAX));
        let mib = |bytes: Option<ByteSize>| bytes.map_or(-1, |bytes| i32::try_from(bytes.in_mib()).unwrap_or(i32::MAX));
        let seconds = |time: Option<Duration>| {
            time.map_or(-1, |time| i32::try_from(whole_seconds(time).as_secs()).unwrap_or(i32::MAX))
        };
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let since_1970 = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs().try_into().ok();
        let variable = |(name, value): (&str, &str)| Variable { name: name.into(), value: value.into() };
        let output = |(name, url): (&str, Option<&str>)| Output { name: name.into(), url: text(url) };
        let runtime = |rte: &RuntimeEnvironment| Runtime {
            name: rte.name().into(),
            version: text(rte.version()),
            options: rte.options().to_vec(),
        };
        let notice = |notification: &Notification| Notice {
            email: notification.email().into(),
            states: notification.states().iter().map(|state| state.as_str().to_owned()).collect(),
        };
        Description {
            name: self.name().into(),
            description: text(self.description()),
            annotations: self.annotations().to_vec(),
            executable: self.executable().into(),
            arguments: self.args().to_vec(),
            environment: self.envs().map(variable).collect(),
            inputs,
            outputs: self.distinct_outputs().map(output).collect(),
            stdin: text(self.stdin()),
            stdout: text(self.stdout()),
            stderr: text(self.stderr()),
            wall_time: seconds(self.wall_time()),
            cpu_time: seconds(self.cpu_time()),
            memory: mib(self.memory()),
            virtual_memory: mib(self.virtual_memory()),
            disk: mib(self.disk()),
            slots: number(self.slots()),
            slots_per_host: number(self.slots_per_host()),
            processes_per_slot: number(self.processes_per_slot()),
            threads_per_process: number(self.threads_per_process()),
            exclusive: self.exclusive().map_or(-1, i32::from),
            queue: text(self.queue()),
            runtimes: self.runtime_environments().iter().map(runtime).collect(),
            rerun: number(self.rerun()),
            start_time: self.start_time().and_then(since_1970).unwrap_or(-1),
            life_time: seconds(self.life_time()),
            notices: self.notifications().iter().map(notice).collect(),
            priority: number(self.priority()),
            log_directory: text(self.log_directory()),
            delegation: String::new(),
        }
    }
}

/// What ARC is told of inputs, and what is uploaded.
fn split(resolved: Vec<ResolvedInput>) -> Result<(Vec<Input>, Vec<Upload>)> {
    let (mut inputs, mut uploads) = (Vec::new(), Vec::new());
    for ResolvedInput { name, source, executable } in resolved {
        let (path, url, size) = match source {
            ResolvedSource::Url(url) => (String::new(), url, -1),
            ResolvedSource::Upload(upload) => {
                let path = utf8(&upload.shown())?;
                let size = i64::try_from(upload.size).unwrap_or(i64::MAX);
                uploads.push(upload);
                (path, String::new(), size)
            }
        };
        inputs.push(Input { name, path, url, executable, size });
    }
    Ok((inputs, uploads))
}

fn utf8(path: &Path) -> Result<String> {
    let not = || Error::InputFile { path: path.into(), message: "the path is not UTF-8".into(), source: None };
    path.to_str().map(str::to_owned).ok_or_else(not)
}

fn one(mut jobs: Vec<JobDescription>) -> Result<JobDescription> {
    match jobs.pop() {
        Some(job) if jobs.is_empty() => Ok(job),
        _ => Err(invalid(format!("it describes {} jobs, not one", jobs.len() + 1))),
    }
}

fn read_adl(root: &Element) -> Result<JobDescription> {
    check::adl(root)?;
    let job = one(read(&check::write_adl(root), Language::Adl)?)?;
    check::adl_was_understood(root, &job)?;
    job.check()?;
    Ok(job)
}

fn read_xrsl(text: &str) -> Result<Vec<JobDescription>> {
    let mut jobs = Vec::new();
    for mut conditions in xrsl::read(text).map_err(invalid)? {
        check::xrsl(&conditions)?;
        if ffi::decodes_urls()? {
            xrsl::encode_paths(&mut conditions);
        }
        let job = one(read(&xrsl::write(&conditions), Language::Xrsl)?)?;
        check::xrsl_was_understood(&conditions, &job)?;
        job.check()?;
        jobs.push(job);
    }
    Ok(jobs)
}

fn read(text: &str, language: Language) -> Result<Vec<JobDescription>> {
    ffi::read_descriptions(text, language)?.into_iter().map(convert).collect()
}

/// A description that ARC has read.
fn convert(read: ReadDescription) -> Result<JobDescription> {
    if !read.besides.is_empty() {
        return Err(invalid(format!("it says what is not supported: {}", read.besides.join(", "))));
    }
    let Description { inputs, outputs, .. } = &read.description;
    let from = &read.description;
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    let number = |number: i32| u32::try_from(number).ok();
    let mib = |number: i32| u64::try_from(number).ok().map(ByteSize::mib);
    let seconds = |number: i32| u64::try_from(number).ok().map(Duration::from_secs);

    let mut job = JobDescription::new(&from.executable)
        .with_name(&from.name)
        .with_args(from.arguments.iter().cloned())
        .without_stdout()
        .without_stderr();
    job = apply(job, text(&from.description), JobDescription::with_description);
    job = from.annotations.iter().fold(job, JobDescription::with_annotation);
    job = from.environment.iter().fold(job, |job, variable| job.with_env(&variable.name, &variable.value));
    job = apply(job, text(&from.stdin), JobDescription::with_stdin);
    job = apply(job, text(&from.stdout), JobDescription::with_stdout);
    job = apply(job, text(&from.stderr), JobDescription::with_stderr);
    job = apply(job, text(&from.log_directory), JobDescription::with_log_directory);
    job = apply(job, seconds(from.wall_time), JobDescription::with_wall_time);
    job = apply(job, seconds(from.cpu_time), JobDescription::with_cpu_time);
    job = apply(job, mib(from.memory), JobDescription::with_memory);
    job = apply(job, mib(from.virtual_memory), JobDescription::with_virtual_memory);
    job = apply(job, mib(from.disk), JobDescription::with_disk);
    job = apply(job, number(from.slots), JobDescription::with_slots);
    job = apply(job, number(from.slots_per_host).filter(|slots| *slots > 0), JobDescription::with_slots_per_host);
    job = apply(job, number(from.processes_per_slot), JobDescription::with_processes_per_slot);
    job = apply(job, number(from.threads_per_process), JobDescription::with_threads_per_process);
    job = apply(job, number(from.exclusive).map(|yes| yes == 1), JobDescription::with_exclusive);
    job = apply(job, text(&from.queue), JobDescription::with_queue);
    job = apply(job, number(from.rerun), JobDescription::with_rerun);
    let since_1970 = |seconds: i64| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.try_into().ok()?));
    job = apply(job, since_1970(from.start_time), JobDescription::with_start_time);
    job = apply(job, seconds(from.life_time), JobDescription::with_life_time);
    job = apply(job, number(from.priority), JobDescription::with_priority);
    for Runtime { name, version, options } in &from.runtimes {
        let rte = RuntimeEnvironment::from_parts(name.clone(), version.clone(), options.clone());
        job = job.with_runtime_environment(rte);
    }
    for notice in &from.notices {
        let states: Result<Vec<NotificationState>, _> = notice.states.iter().map(|state| state.parse()).collect();
        job = job
            .with_notification(Notification::new(&notice.email, states.map_err(|error| invalid(error.to_string()))?));
    }
    for input in inputs {
        let file = if input.url.is_empty() { InputFile::file(&input.path) } else { InputFile::url(&input.url) };
        let file = file.with_executable(input.executable);
        job = job.with_input(file.with_other_name(&input.name));
    }
    for Output { name, url } in outputs {
        let is_kept = [job.stdout(), job.stderr(), job.log_directory()].contains(&Some(name));
        job = match (url.is_empty(), is_kept) {
            (true, true) => job,
            (true, false) => job.with_output_file(name),
            (false, _) => job.with_output_file_to(name, url),
        };
    }
    job = job.with_files_of_its_own();
    Ok(job)
}

pub(crate) fn apply<T>(
    job: JobDescription,
    value: Option<T>,
    with: impl FnOnce(JobDescription, T) -> JobDescription,
) -> JobDescription {
    match value {
        Some(value) => with(job, value),
        None => job,
    }
}

#[cfg(test)]
mod tests;
