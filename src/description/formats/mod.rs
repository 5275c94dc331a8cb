//! Reads and writes [`JobDescription`] in JSDL, ADL and xRSL. ARC's library writes ADL and xRSL. This module does the
//! rest.

mod adl;
pub(crate) mod arc;
mod files;
mod jsdl;
#[cfg(test)]
mod oracle;
mod time;
mod tree;
mod xrsl;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::description::{Delegation, JobDescription, NotificationState, invalid};
use crate::error::{Error, Result};
use crate::ffi::{self, Language};
use crate::util::xml::Element;

/// The maximum length of a description file, in bytes.
const MAX_FILE_LENGTH: u64 = 16 << 20;

impl JobDescription {
    /// Writes the description in the EMI Activity Description Language with NorduGrid's extensions.
    ///
    /// The crate submits jobs in this language. The text contains the names of the input files in the session
    /// directory, but not their local paths or contents. Input directories are read from disk and written as their
    /// files. Sizes are rounded up to MiB.
    ///
    /// The text of a submitted job can differ from this one: the crate then replaces characters in arguments that the
    /// shells of a CE would change by references to environment variables.
    ///
    /// # Errors
    ///
    /// - [`Error::InvalidJobDescription`] for what ADL cannot express: a project, notifications of
    ///   [`Canceling`](NotificationState::Canceling) and [`Deleted`](NotificationState::Deleted), a
    ///   [delegation](Self::with_delegation) other than `Auto`, and an exclusive job of several slots without slots per
    ///   host.
    /// - [`Error::InvalidJobDescription`] and [`Error::InputFile`] if the description is not well-formed: see
    ///   [`validate`](Self::validate).
    /// - [`Error::InputFile`] if an input directory cannot be read.
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
        self.check_submission_settings("ADL")?;
        let inputs = arc::inputs_in(self, Language::Adl)?;
        ffi::describe(&arc::description(self, inputs), Language::Adl).map_err(from_ffi)
    }

    /// Writes the description in NorduGrid's Extended Resource Specification Language, as users of `arcsub` write it.
    ///
    /// Local paths are written in their absolute form. Input directories are read from disk and written as their files.
    /// Sizes are rounded up to MiB.
    ///
    /// # Errors
    ///
    /// - [`Error::InvalidJobDescription`] for what xRSL cannot express: a description in prose, annotations, a project,
    ///   virtual memory, processes per slot, threads per process, inputs that are bytes, a
    ///   [delegation](Self::with_delegation) other than `Auto`, and a text with `(*` in it, which begins a comment.
    /// - [`Error::InvalidJobDescription`] and [`Error::InputFile`] if the description is not well-formed: see
    ///   [`validate`](Self::validate).
    /// - [`Error::InputFile`] if an input directory cannot be read, or if a local path is not UTF-8.
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
        self.check_submission_settings("xRSL")?;
        let unsupported = [
            ("a description", self.description().is_some()),
            ("annotations", !self.annotations().is_empty()),
            ("virtual memory", self.virtual_memory().is_some()),
            ("processes per slot", self.processes_per_slot().is_some()),
            ("threads per process", self.threads_per_process().is_some()),
        ];
        if let Some((what, _)) = unsupported.iter().find(|(_, is_set)| *is_set) {
            return Err(invalid(format!("xRSL cannot express {what}")));
        }
        let inputs = arc::inputs_in(self, Language::Xrsl)?;
        let xrsl = ffi::describe(&arc::description(self, inputs), Language::Xrsl).map_err(from_ffi)?;
        // ARC's reader removes comments before it looks at quotes.
        if xrsl.contains("(*") {
            return Err(invalid("xRSL cannot express a text with (* in it, which begins a comment"));
        }
        Ok(xrsl)
    }

    /// Reads a description in the EMI Activity Description Language with NorduGrid's extensions.
    ///
    /// - An element has the meaning that ARC gives it. An element for which [`JobDescription`] has no field is an
    ///   error.
    /// - Without an `Output` or `Error`, the CE discards the standard output or error.
    /// - An input file without a source is the local file with the same name. The same applies to an executable or a
    ///   standard input that is neither an absolute path nor an input file. Relative paths are relative to the working
    ///   directory.
    /// - URLs get ARC's form: `https://example.org/a` becomes `https://example.org:443/a`, and options become part of
    ///   the URL.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidJobDescription`] if the text is not ADL, or contains an unsupported element, attribute or value.
    /// The message names the element (`Application/PreExecutable`). Also the errors of [`validate`](Self::validate),
    /// except for what only an ARC-CE refuses.
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
        adl::read(&Element::parse(text).map_err(invalid)?)
    }

    /// Reads a description in NorduGrid's Extended Resource Specification Language.
    ///
    /// - An attribute has the meaning that ARC gives it. An attribute for which [`JobDescription`] has no field is an
    ///   error.
    /// - Times without a unit are in minutes. Sizes are in MB of 1024 * 1024 bytes. A start time without a time zone is
    ///   local time.
    /// - Without `stdout` or `stderr`, the CE discards the standard output or error.
    /// - An executable, or a standard input, that is neither an absolute path nor among the input files is the local file
    ///   with that name. Relative paths are relative to the working directory. Local paths are not percent-decoded.
    /// - URLs get ARC's form: `https://example.org/a` becomes `https://example.org:443/a`, and options become part of
    ///   the URL.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidJobDescription`] if the text is not xRSL, is longer than 1 MiB, describes more than one job (see
    /// [`parse_all`](Self::parse_all)), or has an attribute or a value that is not supported. The message names the
    /// attribute. Also the errors of [`validate`](Self::validate), except for what only an ARC-CE refuses.
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

    /// Reads a description in JSDL, ADL or xRSL, and detects the language.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidJobDescription`] if the text is in none of these languages, or describes more than one job (see
    /// [`parse_all`](Self::parse_all)). Also the errors of [`from_jsdl`](Self::from_jsdl), [`from_adl`](Self::from_adl)
    /// and [`from_xrsl`](Self::from_xrsl).
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

    /// Reads all descriptions in a text in JSDL, ADL or xRSL.
    ///
    /// Only xRSL can describe several jobs in a text: `+(&(...))(&(...))`. The descriptions are in the order of the text.
    ///
    /// # Errors
    ///
    /// The errors of [`parse`](Self::parse), except that the text may describe several jobs. If one description is
    /// invalid, the whole text is an error.
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
            "JobDefinition" => Ok(vec![jsdl::read(&root)?]),
            "ActivityDescription" => Ok(vec![adl::read(&root)?]),
            other => Err(invalid(format!("{other} is the root of neither a JSDL nor an ADL document"))),
        }
    }

    /// Reads the description in a file, in JSDL, ADL or xRSL.
    ///
    /// Relative paths in the description are relative to the working directory, and not to the file.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidJobDescription`] with the path of the file if it cannot be read, is not a regular file, is not
    /// UTF-8, or is longer than 16 MiB. Also the errors of [`parse`](Self::parse).
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
        let path = path.as_ref();
        one(Self::all_from_file(path)?).map_err(|error| in_file(error, path))
    }

    /// Reads all descriptions in a file, in JSDL, ADL or xRSL.
    ///
    /// Relative paths in the descriptions are relative to the working directory, and not to the file.
    ///
    /// # Errors
    ///
    /// The errors of [`from_file`](Self::from_file), except that the file may describe several jobs: see
    /// [`parse_all`](Self::parse_all).
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
        let read = || {
            let mut text = String::new();
            // Opening a FIFO would wait for a writer.
            if !std::fs::metadata(path)?.is_file() {
                return Ok(Err("it is not a regular file"));
            }
            File::open(path)?.take(MAX_FILE_LENGTH + 1).read_to_string(&mut text)?;
            std::io::Result::Ok(if text.len() as u64 > MAX_FILE_LENGTH {
                Err("it is longer than 16 MiB")
            } else {
                Ok(text)
            })
        };
        let text = read().map_err(|error| Error::InvalidJobDescription {
            path: Some(path.into()),
            message: "the file cannot be read".into(),
            source: Some(error),
        })?;
        text.map_err(invalid).and_then(|text| Self::parse_all(&text)).map_err(|error| in_file(error, path))
    }

    /// Refuses values that ADL cannot express or that an ARC-CE ignores.
    pub(crate) fn check_for_ce(&self) -> Result<()> {
        self.check_project()?;
        // A-REX reads ExclusiveExecution only together with SlotsPerHost (ADLParser::Parse), and a SlotsPerHost of 0
        // crashes it.
        if self.exclusive() == Some(true) && self.slots_per_host().is_none() && self.slots().is_some_and(|n| n > 1) {
            return Err(invalid(
                "an exclusive job of several slots needs slots_per_host: an ARC-CE ignores `exclusive` without it",
            ));
        }
        let unsupported = [NotificationState::Canceling, NotificationState::Deleted];
        for notification in self.notifications() {
            if let Some(state) = notification.states().iter().find(|state| unsupported.contains(state)) {
                return Err(invalid(format!("ADL cannot express a notification of the state {state}")));
            }
        }
        Ok(())
    }

    fn check_project(&self) -> Result<()> {
        match self.project() {
            Some(project) => Err(invalid(format!("the project {project:?} cannot be sent to an ARC-CE: leave it out"))),
            None => Ok(()),
        }
    }

    /// Refuses the settings that concern how this crate submits the job.
    fn check_submission_settings(&self, language: &str) -> Result<()> {
        let settings = [
            ("whether credentials are delegated", self.delegation() != Delegation::Auto),
            ("the key of a submission", self.key().is_some()),
            ("whether the job waits for a commit", self.commit().is_some()),
        ];
        match settings.iter().find(|(_, is_set)| *is_set) {
            Some((what, _)) => Err(invalid(format!("{language} cannot express {what}"))),
            None => Ok(()),
        }
    }
}

/// Adds the path of the description's file to an error.
fn in_file(error: Error, path: &Path) -> Error {
    match error {
        Error::InvalidJobDescription { message, source, .. } => {
            Error::InvalidJobDescription { path: Some(path.into()), message, source }
        }
        other => other,
    }
}

/// Converts the error of writing a description with ARC. A description that ARC cannot write is invalid.
pub(crate) fn from_ffi(error: ffi::Error) -> Error {
    match error {
        ffi::Error::Exiting => Error::Exiting,
        ffi::Error::Exception(message) => invalid(message),
    }
}

fn one(mut jobs: Vec<JobDescription>) -> Result<JobDescription> {
    match jobs.pop() {
        Some(job) if jobs.is_empty() => Ok(job),
        _ => Err(invalid(format!("it describes {} jobs instead of one", jobs.len() + 1))),
    }
}

fn read_xrsl(text: &str) -> Result<Vec<JobDescription>> {
    let jobs = xrsl::parse(text).map_err(invalid)?;
    jobs.iter().map(|conditions| xrsl::read(conditions)).collect()
}

#[cfg(test)]
mod tests;
