//! [`JobDescription`] as ADL and xRSL, which ARC itself reads and writes, and as ARC is told of it.

mod check;
mod rsl;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::arguments;
use crate::description::{
    Bytes, InputFile, InputSource, JobDescription, Notification, NotificationState, ResolvedInput, ResolvedSource,
    RuntimeEnvironment, Upload, absolute, invalid, whole_seconds,
};
use crate::error::{Error, Result};
use crate::ffi::{self, Description, Input, Language, Notice, Output, ReadDescription, Runtime, Variable};
use crate::jsdl;
use crate::xml::Element;

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
        let (arguments, variables) = arguments::escape(self.args());
        description.arguments = arguments;
        description.environment.extend(variables);
        Ok(PreparedJob { description, uploads, delegate: self.delegation().unwrap_or_else(|| self.stages_remotely()) })
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
            Some(_) => Err(invalid(format!("{language} cannot say whether credentials are delegated"))),
            None => Ok(()),
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
        let mib = |bytes: Option<Bytes>| bytes.map_or(-1, |bytes| i32::try_from(bytes.in_mib()).unwrap_or(i32::MAX));
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
            states: notification.states().iter().map(|state| state.name().to_owned()).collect(),
        };
        Description {
            name: self.name().into(),
            description: text(self.description()),
            annotations: self.annotations().to_vec(),
            executable: self.executable().into(),
            arguments: self.args().to_vec(),
            environment: self.environment().map(variable).collect(),
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
    for mut conditions in rsl::read(text).map_err(invalid)? {
        check::xrsl(&conditions)?;
        if ffi::decodes_urls()? {
            rsl::encode_paths(&mut conditions);
        }
        let job = one(read(&rsl::write(&conditions), Language::Xrsl)?)?;
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
    let mib = |number: i32| u64::try_from(number).ok().map(Bytes::mib);
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
        job = job.with_notification(&notice.email, states.map_err(|error| invalid(error.to_string()))?);
    }
    for input in inputs {
        let file = if input.url.is_empty() { InputFile::file(&input.path) } else { InputFile::url(&input.url) };
        let file = if input.executable { file.executable() } else { file };
        job = job.with_input(file.named_if_other(&input.name));
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Text of characters that something on the way may treat specially.
    fn text() -> impl Strategy<Value = String> {
        let special: Vec<char> = " <>&'\"]\\;#%$=()^*+|!@,:?.-x1\u{85}\u{2028}é\u{1f30d}".chars().collect();
        prop::collection::vec(prop::sample::select(special), 1..10).prop_map(String::from_iter)
    }

    /// A name in the session directory.
    fn name() -> impl Strategy<Value = String> {
        text().prop_map(|text| format!("n{}", text.trim_end()))
    }

    fn url() -> impl Strategy<Value = String> {
        (
            "(https|gsiftp|root|srm)",
            "[a-z]{1,8}",
            1..60_000_u16,
            "[a-zA-Z0-9._~-]{1,12}(/[a-z0-9]{1,3}){0,2}",
            any::<bool>(),
        )
            .prop_map(|(scheme, host, port, path, option)| {
                let option = if option { ";cache=no" } else { "" };
                format!("{scheme}://{host}:{port}{option}/{path}")
            })
    }

    fn maybe<T: Clone + std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
        prop::option::of(value)
    }

    /// What both languages can say.
    fn job() -> impl Strategy<Value = JobDescription> {
        let texts =
            (name(), prop::collection::vec(text(), 0..4), prop::collection::btree_map("[A-Z_]{1,4}", text(), 0..3));
        let streams = (maybe("s[a-z]{0,3}"), maybe("e[a-z]{0,3}"), maybe("gm[a-z]{1,4}"), any::<bool>());
        let files = (
            prop::collection::btree_map(name(), maybe(url()), 0..3),
            prop::collection::btree_map(name(), maybe(url()), 0..3),
            any::<bool>(),
        );
        let sizes = (
            maybe(1..5000_u64),
            maybe(1..5000_u64),
            maybe(1..100_000_u64),
            maybe(1..100_000_u64),
            maybe(1..1_000_000_u64),
        );
        let slots = (
            maybe((1..99_u32, maybe(1..9_u32))),
            maybe(any::<bool>()),
            maybe(name()),
            maybe(1..=100_u32),
            maybe(0..9_u32),
        );
        let rest = (
            maybe(1..4_000_000_000_u64),
            prop::collection::vec(
                ("[A-Z]{1,3}(/[A-Z]{1,3})?(-[0-9.]{1,4})?", prop::collection::vec(text(), 0..2)),
                0..3,
            ),
            prop::collection::btree_map(
                "[a-z.]{1,4}@[a-z]{1,4}",
                prop::sample::subsequence(STATES.to_vec(), 1..=4),
                0..3,
            ),
        );
        (texts, streams, files, sizes, slots, rest).prop_map(|(texts, streams, files, sizes, slots, rest)| {
            let mut job = JobDescription::new("/opt/<my> & é/program").with_name(texts.0).with_args(texts.1);
            job = texts.2.into_iter().fold(job, |job, (name, value)| job.with_env(name, value.trim()));
            job = apply(job, streams.0, JobDescription::with_stdout);
            job = apply(job, streams.1, JobDescription::with_stderr);
            job = apply(job, streams.2, JobDescription::with_log_directory);
            if streams.3 {
                job = job.without_stderr();
            }
            for (name, url) in files.0 {
                let input = url.map_or_else(|| InputFile::file(format!("/d/{name}")), InputFile::url);
                let input = input.named_if_other(&name);
                job = job.with_input(if files.2 { input.executable() } else { input });
            }
            for (name, url) in files.1 {
                job = match url {
                    Some(url) => job.with_output_file_to(name, url),
                    None => job.with_output_file(name),
                };
            }
            job = apply(job, sizes.0.map(Bytes::mib), JobDescription::with_memory);
            job = apply(job, sizes.1.map(Bytes::mib), JobDescription::with_disk);
            job = apply(job, sizes.2.map(Duration::from_secs), JobDescription::with_wall_time);
            job = apply(job, sizes.3.map(Duration::from_secs), JobDescription::with_cpu_time);
            job = apply(job, sizes.4.map(Duration::from_secs), JobDescription::with_life_time);
            if let Some((hosts, per_host)) = slots.0 {
                job =
                    apply(job.with_slots(hosts * per_host.unwrap_or(1)), per_host, JobDescription::with_slots_per_host);
                // An ARC-CE reads it along with the slots per host alone.
                job = apply(job, slots.1.filter(|_| per_host.is_some()), JobDescription::with_exclusive);
            }
            job = apply(job, slots.2, JobDescription::with_queue);
            job = apply(job, slots.3, JobDescription::with_priority);
            job = apply(job, slots.4, JobDescription::with_rerun);
            let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            job = apply(job, rest.0.map(at), JobDescription::with_start_time);
            for (name, options) in rest.1 {
                let rte = RuntimeEnvironment::new(name);
                job = job.with_runtime_environment(options.into_iter().fold(rte, RuntimeEnvironment::with_option));
            }
            rest.2.into_iter().fold(job, |job, (email, states)| job.with_notification(email, states))
        })
    }

    const STATES: [NotificationState; 4] = [
        NotificationState::Preparing,
        NotificationState::InLrms,
        NotificationState::Finishing,
        NotificationState::Finished,
    ];

    /// ADL says nothing of local paths, and that an executable input is one.
    fn as_adl_has_it(mut job: JobDescription) -> JobDescription {
        let inputs: Vec<InputFile> = job.inputs().to_vec();
        job = serde_json::from_value({
            let mut value = serde_json::to_value(&job).unwrap();
            value.as_object_mut().unwrap().remove("inputs");
            value
        })
        .unwrap();
        inputs.into_iter().fold(job, |job, input| {
            let name = input.name().unwrap().to_owned();
            let local = InputFile::file(&name).named_if_other(&name);
            match (input.source(), input.is_executable()) {
                (InputSource::Url(_), _) => job.with_input(input),
                (_, true) => job.with_input(local.executable()),
                (_, false) => job.with_input(local),
            }
        })
    }

    proptest! {
        #[test]
        fn xrsl_says_it_all(job in job()) {
            prop_assume!(job.check().is_ok());
            let xrsl = match job.to_xrsl() {
                Ok(xrsl) => xrsl,
                Err(error) => {
                    let shown = format!("{job:?}");
                    prop_assert!(error.to_string().contains("begins a comment") && shown.contains("(*"), "{}", error);
                    return Ok(());
                }
            };
            prop_assert_eq!(JobDescription::from_xrsl(&xrsl).map_err(|error| format!("{error}: {xrsl}")), Ok(job), "{}", xrsl);
        }

        #[test]
        fn adl_says_it_all(
            job in job(),
            (prose, annotations) in (maybe(name()), prop::collection::vec(name(), 0..3)),
            (memory, processes, threads) in (maybe(1..9_u64), maybe(1..9_u32), maybe(1..9_u32)),
        ) {
            let mut job = as_adl_has_it(job);
            job = apply(job, prose, JobDescription::with_description);
            job = annotations.into_iter().fold(job, JobDescription::with_annotation);
            job = apply(job, memory.map(Bytes::mib), JobDescription::with_virtual_memory);
            if job.slots().is_some() {
                job = apply(job, processes, JobDescription::with_processes_per_slot);
                job = apply(job, threads, JobDescription::with_threads_per_process);
            }
            prop_assume!(job.check().is_ok());
            let adl = job.to_adl().unwrap();
            prop_assert_eq!(JobDescription::from_adl(&adl).map_err(|error| format!("{error}: {adl}")), Ok(job), "{}", adl);
        }
    }

    /// The cases of ARC's own XRSLParserTest.cpp, and its example.
    #[test]
    fn xrsl_of_arcs_tests_is_read_or_its_fault_is_named() {
        let job = |rest: &str| JobDescription::from_xrsl(&format!(r#"&(executable="/bin/true"){rest}"#));
        let good = [
            (
                r#"(inputfiles=("in1" "gsiftp://example.com/in1" "threads=5"))"#,
                "gsiftp://example.com:2811;threads=5/in1",
            ),
            (r#"(inputfiles=("in1" "gsiftp://h/in1"))(cache=copy)"#, "gsiftp://h:2811;cache=copy/in1"),
            (r#"(inputfiles=("in1" "gsiftp://h/in1"))(ftpthreads=5)"#, "gsiftp://h:2811;threads=5/in1"),
        ];
        for (rest, url) in good {
            let job = job(rest).unwrap();
            assert_eq!(job.inputs()[0].source(), &InputSource::Url(url.into()));
        }
        assert_eq!(
            job(r#"(inputfiles=("in1" ""))(executables="in1")"#).unwrap().inputs(),
            [InputFile::file("in1").executable()]
        );
        assert_eq!(job("(queue=q1)").unwrap().queue(), Some("q1"));
        let told = job(r#"(notify="bqfedc a@example.com" "bqf a@example.com b@example.com")"#).unwrap();
        assert_eq!(told.notifications().iter().map(|told| told.states().len()).collect::<Vec<_>>(), [6, 3]);
        assert_eq!(
            job(r#"(notify="a@example.com")"#).unwrap().notifications()[0].states(),
            [NotificationState::Preparing, NotificationState::Finished]
        );
        let joined = job(r#"(stdout="o")(join="yes")"#).unwrap();
        assert_eq!((joined.stdout(), joined.stderr()), (Some("o"), Some("o")));
        assert_eq!(job("").unwrap().stdout(), None);
        let slots = job(r#"(count=8)(countpernode=4)(exclusiveexecution="yes")"#).unwrap();
        assert_eq!((slots.slots(), slots.slots_per_host(), slots.exclusive()), (Some(8), Some(4), Some(true)));
        let rte = job(r#"(runTimeEnvironment="RTE-1.2.3" "option1" "option2")"#).unwrap();
        assert_eq!(
            rte.runtime_environments(),
            [RuntimeEnvironment::new("RTE-1.2.3").with_option("option1").with_option("option2")]
        );
        let example = JobDescription::from_xrsl(
            r#"&
            (executable = "/bin/echo")
            (arguments = "Hello World")
            (stdout = "std.out")
            (join = "yes")(* Join stdout and stderr into stdout*)
            (cputime = 1)
            (jobname = "Hello World")
            (gmlog = "joblog")(* Grid manager log files should be included when retrieving job results (arcget) *)"#,
        );
        let expected = JobDescription::new("/bin/echo")
            .with_name("Hello World")
            .with_arg("Hello World")
            .with_joined_output("std.out")
            .with_cpu_time(Duration::from_secs(60))
            .with_log_directory("joblog");
        assert_eq!(example.unwrap(), expected);
        assert_eq!(JobDescription::parse_all("+(&(executable=/bin/exe1))(&(executable=/bin/exe2))").unwrap().len(), 2);

        for (rest, why) in [
            (r#"(inputfiles=("in1" "lfc://h/in1" "location=gsiftp://h/in1" "threads=5"))"#, "locations"),
            (r#"(inputfiles=("in1" "gsiftp://example.com/in1" "threads"))"#, "threads"),
            (r#"(outputfiles=("o" "lfc://h/o" "checksum=md5" "location=gsiftp://h/o"))"#, "locations"),
            (r#"(|(executables="in1")(executables="in2"))(inputfiles=("in1" "") ("in2" ""))"#, "alternatives"),
            (r#"(executables="non-existing")(inputfiles=("in1" ""))"#, "non-existing"),
            ("(queue!=q1)", "queue may only be given by ="),
            (r#"(inputfiles=("in" "gsiftp://h/in"))(ftpthreads=20)"#, "ftpthreads"),
            (r#"(notify="someoneAexample.com")"#, "notify"),
            (r#"(notify="xyz someone@example.com")"#, "notify"),
            (r#"(dryrun="yes")"#, "dryrun"),
            (r#"(stderr="e")(join="yes")"#, "join"),
            (r#"(stdout="o")(stderr="e")(join="yes")"#, "join"),
            ("(gridtime=600s)", "gridtime"),
            ("(gridtime=600s)(cputime=5s)", "gridtime"),
            (r#"(acl='<?xml version="1.0"?><a>b</a>')"#, "acl"),
            (r#"(count="eight")"#, "count"),
            (r#"(countpernode="4")"#, "count"),
            (r#"(exclusiveexecution="yes-thank-you")"#, "exclusiveexecution"),
            ("(cluster=c)", "cluster"),
            ("(architecture=x86_64)", "architecture"),
            (r#"(middleware>="nordugrid-arc-0.3")"#, "middleware"),
            (r#"(runtimeenvironment>="A-1")"#, "runtimeenvironment may only be given by ="),
            ("(maxcputime=1)", "maxcputime"),
            ("(nonsense=1)", "nonsense"),
            ("(walltime=1", ""),
        ] {
            let error = job(rest).unwrap_err().to_string();
            assert!(error.starts_with("invalid job description: ") && error.contains(why), "{rest}: {error}");
        }
        let error = JobDescription::from_xrsl("+(&(executable=/a))(&(executable=/b))").unwrap_err().to_string();
        assert!(error.contains("describes 2 jobs"), "{error}");
    }

    /// The cases of ARC's own ADLParserTest.cpp.
    #[test]
    fn adl_of_arcs_tests_is_read_or_its_fault_is_named() {
        let adl = |parts: &str| {
            JobDescription::from_adl(&format!(
                r#"<?xml version="1.0"?><adl:ActivityDescription xmlns:adl="http://www.eu-emi.eu/es/2010/12/adl"
                   xmlns:nordugrid-adl="http://www.nordugrid.org/es/2011/12/nordugrid-adl">{parts}</adl:ActivityDescription>"#
            ))
        };
        let job = |more: &str| {
            adl(&format!("<adl:Application><adl:Executable><adl:Path>/bin/true</adl:Path></adl:Executable>{more}"))
        };
        let application = |more: &str| job(&format!("{more}</adl:Application>"));
        let staging = |more: &str| job(&format!("</adl:Application><adl:DataStaging>{more}</adl:DataStaging>"));

        let local = adl("<adl:Application><adl:Executable><adl:Path>my-executable</adl:Path><adl:Argument>Hello\
                         </adl:Argument><adl:Argument>World</adl:Argument></adl:Executable></adl:Application>");
        assert_eq!(
            local.unwrap(),
            JobDescription::run_local("my-executable")
                .with_args(["Hello", "World"])
                .with_name("")
                .without_stdout()
                .without_stderr()
        );
        let stdin = application("<adl:Input>standard-emi-input</adl:Input>").unwrap();
        assert_eq!(
            (stdin.stdin(), stdin.inputs()),
            (Some("standard-emi-input"), &[InputFile::file("standard-emi-input")][..])
        );
        assert_eq!(application("<adl:Output>o</adl:Output>").unwrap().stdout(), Some("o"));
        assert_eq!(
            application("<adl:LoggingDirectory>job-log</adl:LoggingDirectory>").unwrap().log_directory(),
            Some("job-log")
        );
        let inputs = "<adl:InputFile><adl:Name>a</adl:Name></adl:InputFile><adl:InputFile><adl:Name>b</adl:Name>\
                      <adl:IsExecutable>true</adl:IsExecutable></adl:InputFile><adl:InputFile><adl:Name>c</adl:Name>\
                      <adl:Source><adl:URI>https://h/x</adl:URI></adl:Source></adl:InputFile>";
        assert_eq!(
            staging(inputs).unwrap().inputs(),
            [InputFile::file("a"), InputFile::file("b").executable(), InputFile::url("https://h:443/x").named("c")]
        );
        let output = "<adl:OutputFile><adl:Name>o</adl:Name><adl:Target><adl:URI>https://h/x</adl:URI><adl:Option>\
                      <adl:Name>overwrite</adl:Name><adl:Value>yes</adl:Value></adl:Option></adl:Target></adl:OutputFile>";
        assert_eq!(staging(output).unwrap().outputs()[0].url(), Some("https://h:443;overwrite=yes/x"));

        let target = |more: &str| {
            staging(&format!(
                "<adl:OutputFile><adl:Name>o</adl:Name><adl:Target><adl:URI>lfc://h/x</adl:URI>{more}</adl:Target></adl:OutputFile>"
            ))
        };
        let source = "<adl:Source><adl:URI>https://h/x</adl:URI></adl:Source>";
        for (read, why) in [
            (adl(""), "executable is empty"),
            (
                adl("<adl:ActivityIdentification><adl:Type>single</adl:Type></adl:ActivityIdentification>"),
                "ActivityIdentification/Type",
            ),
            (
                adl(
                    "<adl:ActivityIdentification><nordugrid-adl:ActivityOldID>x</nordugrid-adl:ActivityOldID></adl:ActivityIdentification>",
                ),
                "ActivityOldID",
            ),
            (application("<adl:PreExecutable><adl:Path>p</adl:Path></adl:PreExecutable>"), "Application/PreExecutable"),
            (
                application("<adl:PostExecutable><adl:Path>p</adl:Path></adl:PostExecutable>"),
                "Application/PostExecutable",
            ),
            (
                application("<adl:RemoteLogging><adl:ServiceType>SGAS</adl:ServiceType></adl:RemoteLogging>"),
                "Application/RemoteLogging",
            ),
            (application("<adl:Executable><adl:Path>/b</adl:Path></adl:Executable>"), "Executable is there twice"),
            (application("<adl:WipeTime optional=\"true\">P1D</adl:WipeTime>"), "optional=\"true\""),
            (application("<adl:Rerun>x"), "line"),
            (
                adl("<adl:Application><adl:Executable><adl:Path>/b</adl:Path><adl:FailIfExitCodeNotEqualTo>104\
                  </adl:FailIfExitCodeNotEqualTo></adl:Executable></adl:Application>"),
                "Executable/FailIfExitCodeNotEqualTo",
            ),
            (adl("<adl:Resources><adl:Benchmark/></adl:Resources>"), "Resources/Benchmark"),
            (adl("<adl:Resources><adl:WallTime>soon</adl:WallTime></adl:Resources>"), "WallTime"),
            (
                staging(&format!("<adl:InputFile><adl:Name>a</adl:Name>{source}{source}</adl:InputFile>")),
                "Source is there twice",
            ),
            (
                staging(
                    "<adl:InputFile><adl:Name>a</adl:Name><adl:Source><adl:URI>https://h/x</adl:URI><adl:DelegationID>1\
                      </adl:DelegationID></adl:Source></adl:InputFile>",
                ),
                "Source/DelegationID",
            ),
            (target("<adl:UseIfFailure>true</adl:UseIfFailure>"), "UseIfFailure"),
            (target("<adl:Mandatory>true</adl:Mandatory>"), "Mandatory"),
            (
                target("<adl:Option><adl:Name>location</adl:Name><adl:Value>https://h/y</adl:Value></adl:Option>"),
                "locations",
            ),
            (JobDescription::from_adl("<JobDefinition/>"), "JobDefinition is not the root"),
            (JobDescription::from_adl("<ActivityDescription><x/></ActivityDescription>"), "namespace"),
            (JobDescription::parse("<x/>"), "x is the root of neither"),
            (JobDescription::parse("executable=/bin/true"), "neither JSDL nor ADL"),
            (JobDescription::parse(""), "neither JSDL nor ADL"),
        ] {
            let error = read.unwrap_err().to_string();
            assert!(error.starts_with("invalid job description: ") && error.contains(why), "{error}: not {why:?}");
        }
    }

    #[test]
    fn what_a_language_cannot_say_is_refused() {
        let job = || JobDescription::new("/bin/true");
        let adl = |job: JobDescription| job.to_adl().map_err(|error| error.to_string());
        let xrsl = |job: JobDescription| job.to_xrsl().map_err(|error| error.to_string());
        for (said, why) in [
            (adl(job().with_project("p")), "project"),
            (adl(job().with_delegation(true)), "ADL cannot say whether credentials"),
            (adl(job().with_notification("a@b", [NotificationState::Canceling])), "CANCELING"),
            (adl(job().with_input_url("lfc://gsiftp://h/x@h/x")), "port"),
            (adl(job().with_input_url("https://me:secret@h/x")), "has a password"),
            (xrsl(job().with_project("p")), "project"),
            (xrsl(job().with_delegation(false)), "xRSL cannot say whether credentials"),
            (xrsl(job().with_description("d")), "a description"),
            (xrsl(job().with_annotation("a")), "annotations"),
            (xrsl(job().with_virtual_memory(Bytes::mib(1))), "virtual memory"),
            (xrsl(job().with_slots(1).with_processes_per_slot(1)), "processes per slot"),
            (xrsl(job().with_slots(1).with_threads_per_process(1)), "threads per process"),
            (xrsl(job().with_input_bytes("a", "x")), "bytes of \"a\""),
        ] {
            assert!(said.as_ref().is_err_and(|error| error.contains(why)), "{said:?}: not {why:?}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("job");
        for (content, why) in [(None, "No such file"), (Some(&b"nonsense"[..]), "neither"), (Some(b"<\xff"), "UTF-8")] {
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let error = JobDescription::from_file(&path).unwrap_err().to_string();
            assert!(error.contains(&path.display().to_string()) && error.contains(why), "{error}");
        }
        // Opening a FIFO would wait for a writer.
        let fifo = directory.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        for path in [directory.path(), &fifo] {
            assert!(JobDescription::from_file(path).unwrap_err().to_string().contains("not a regular file"));
        }
        File::create(&path).unwrap().set_len(LONGEST + 1).unwrap();
        assert!(JobDescription::from_file(&path).unwrap_err().to_string().contains("longer than 16 MiB"));
    }

    fn plain() -> JobDescription {
        JobDescription::new("/bin/true")
    }

    #[test]
    fn what_a_ce_cannot_be_told_is_refused() {
        let state = |state| plain().with_notification("me@example.org", [NotificationState::Finished, state]);
        for (bad, why) in [
            (plain().with_project("climate"), "project"),
            (state(NotificationState::Canceling), "CANCELING"),
            (state(NotificationState::Deleted), "DELETED"),
            (plain().with_slots(2).with_exclusive(true), "slots per host"),
        ] {
            for error in [bad.prepare().unwrap_err(), bad.to_adl().unwrap_err()] {
                let tells = matches!(&error, Error::InvalidJobDescription { .. }) && error.to_string().contains(why);
                assert!(tells, "{error}");
            }
        }
    }

    #[test]
    fn what_a_ce_loses_is_not_sent() {
        for (bad, why) in [
            (plain().with_name("a\nb"), "name has a newline"),
            (plain().with_description("a\nb"), "description has a newline"),
            (plain().with_annotation("a").with_annotation("b\n"), "annotation has a newline"),
            (plain().with_life_time(Duration::from_secs(3600)), "life time"),
        ] {
            bad.to_adl().unwrap();
            let error = bad.prepare().unwrap_err();
            let tells = matches!(&error, Error::InvalidJobDescription { .. }) && error.to_string().contains(why);
            assert!(tells, "{error}");
        }
    }

    /// A-REX divides by the slots per host (`ARexJob::make_new_job`): 0 of them would be the end of it.
    #[test]
    fn exclusive_jobs_leave_the_ce_alive() {
        let slots = |job: JobDescription| {
            let adl = job.to_adl().unwrap();
            let (_, requirement) = adl.split_once("<SlotRequirement>")?;
            let (requirement, _) = requirement.split_once("</SlotRequirement>")?;
            Some(requirement.split_whitespace().collect::<String>())
        };
        let told = |slots: u32, exclusive: &str| {
            let counts = format!("<NumberOfSlots>{slots}</NumberOfSlots><SlotsPerHost>1</SlotsPerHost>");
            Some(format!("{counts}<ExclusiveExecution>{exclusive}</ExclusiveExecution>"))
        };
        assert_eq!(slots(plain().with_exclusive(true)), told(1, "true"));
        assert_eq!(slots(plain().with_exclusive(true).with_slots(1)), told(1, "true"));
        assert_eq!(slots(plain().with_exclusive(true).with_slots(2).with_slots_per_host(1)), told(2, "true"));
        assert_eq!(slots(plain().with_exclusive(false).with_slots(2).with_slots_per_host(1)), told(2, "false"));
        assert_eq!(slots(plain().with_exclusive(false)), None);
    }

    #[test]
    fn adl_names_each_output_so_that_all_of_it_is_kept() {
        let names = |job: JobDescription| {
            let adl = job.to_adl().unwrap();
            let file = |text: &str| {
                let (_, name) = text.split_once("<Name>").unwrap();
                let name = name.split("</Name>").next().unwrap().to_owned();
                if text.contains("<Target>") { name + ">" } else { name }
            };
            adl.split("<OutputFile>").skip(1).map(file).collect::<Vec<_>>()
        };
        let url = "https://example.org/a";
        let inside = plain().with_input_bytes("logs/x", "").with_stdout("logs/out").without_stderr();
        assert_eq!(names(inside.clone().with_output_file("logs/")), ["logs"]);
        assert_eq!(names(inside.with_output_file("logs/o")), ["logs/o", "logs/out"]);
        let both = plain().without_stderr().with_output_file_to("a", url).with_output_file("a");
        assert_eq!(names(both), ["a>", "a", "stdout.txt"]);
        let uploaded = plain().without_stderr().with_output_file_to("stdout.txt", url);
        assert_eq!(names(uploaded), ["stdout.txt>", "stdout.txt"]);
    }

    const XRSL: &str = r#"&(executable="/bin/true")(arguments="a" 'b''c' d)(jobname="n")(inputfiles=("a" "")("b" "https://h/b" "cache=no"))
        (outputfiles=("o" "")("p" "gsiftp://h/p"))(environment=("A" "b"))(notify="be a@b")(starttime="20301122120000")
        (walltime="1 hour 5 minutes")(memory=100)(count=4)(countpernode=2)(exclusiveexecution=yes)(join=yes)(stdout=x)
        (runtimeenvironment="A-1" "x")(lifetime=P1DT2H)(executables="a")(cache=yes)(* c *)(queue=q)(priority=3)(rerun=1)"#;

    const ADL: &str = r#"<?xml version="1.0" encoding="UTF-8"?><ActivityDescription xmlns="http://www.eu-emi.eu/es/2010/12/adl"
        xmlns:n="http://www.nordugrid.org/es/2011/12/nordugrid-adl"><ActivityIdentification><Name>n</Name></ActivityIdentification>
        <Application><Executable><Path>/bin/true</Path><Argument>a<![CDATA[<b]]>c</Argument></Executable><Output>o</Output>
        <Environment><Name>A</Name><Value>b</Value></Environment><n:Rerun>1</n:Rerun><n:Priority>2</n:Priority>
        <n:StartTime>20301122120000Z</n:StartTime><WipeTime>P1D</WipeTime><Notification><Protocol>email</Protocol>
        <Recipient>a@b</Recipient><OnState>TERMINAL</OnState></Notification></Application><Resources>
        <IndividualPhysicalMemory>1048576</IndividualPhysicalMemory><SlotRequirement><NumberOfSlots>2</NumberOfSlots>
        <SlotsPerHost>1</SlotsPerHost><ExclusiveExecution>true</ExclusiveExecution></SlotRequirement><WallTime>60</WallTime></Resources>
        <DataStaging><InputFile><Name>a</Name><Source><URI>https://h/a</URI></Source><IsExecutable>true</IsExecutable></InputFile>
        <OutputFile><Name>o</Name><Target><URI>gsiftp://h/o</URI></Target></OutputFile></DataStaging></ActivityDescription>"#;

    #[test]
    fn the_samples_are_good() {
        assert_eq!(JobDescription::from_adl(ADL).unwrap().args(), ["a<bc"]);
        assert_eq!(JobDescription::from_xrsl(XRSL).unwrap().args(), ["a", "b'c", "d"]);
    }

    /// ARC's parsers crash, or keep a lock for ever, on some texts.
    #[test]
    fn what_would_harm_arc_does_not_reach_it() {
        let deep = "&(".repeat(50_000);
        let doubled = "(rsl_substitution=(\"A1\" $(A0)#$(A0)))".repeat(30);
        for text in [
            r#"&(executable=/bin/a)(starttime="20-01")"#,
            "&(executable=^x",
            r##"&(inputfiles=("a" "b"#))"##,
            r#"&(executable=/bin/a)(notify=" ")"#,
            r#"&(executable=/bin/a)(notify="")"#,
            &deep,
            &format!("&{doubled}"),
        ] {
            assert!(JobDescription::from_xrsl(text).is_err());
        }
        let started = ADL.replace("20301122120000Z", "20-01");
        assert!(JobDescription::from_adl(&started).is_err());
        // Nothing is locked, or gone.
        assert!(JobDescription::from_adl(ADL).is_ok() && plain().to_adl().is_ok());
    }

    proptest! {
        #[test]
        fn a_damaged_text_is_an_error_or_a_description(
            is_adl in any::<bool>(),
            cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), "\\PC{0,3}|[()\"'^$#=&|+<>/!@0-9-]{0,4}", any::<bool>()), 1..4),
        ) {
            let mut text: Vec<char> = if is_adl { ADL } else { XRSL }.chars().collect();
            for (from, length, put, is_doubled) in cuts {
                let from = from.index(text.len().max(1)).min(text.len());
                let to = (from + length.index(12)).min(text.len());
                let cut: Vec<char> = text.splice(from..to, put.chars()).collect();
                if is_doubled {
                    text.splice(from..from, cut.iter().chain(&cut).copied());
                }
            }
            let text = String::from_iter(text);
            if let Ok(job) = JobDescription::parse(&text) {
                prop_assert!(job.check().is_ok());
            }
        }
    }
}
