//! [`JobDescription`]: what to run, with which files, and what to keep.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{self, Path, PathBuf};
use std::{fmt, iter};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

const STDOUT: &str = "stdout.txt";
const STDERR: &str = "stderr.txt";

/// A job to run on a CE: an executable, its arguments, the files it reads and those it leaves.
///
/// The job runs in a directory of its own on the CE, the session directory. The input files are copied there before it
/// starts; of what is there when it ends, the CE keeps its standard output and error and the named outputs.
///
/// ```
/// use jasmin_arc::JobDescription;
///
/// let job = JobDescription::new("/bin/sh")
///     .with_name("count words")
///     .with_args(["-c", "wc -w chapter.txt > words"])
///     .with_input_file_as("/home/me/book/01.txt", "chapter.txt")
///     .with_output_file("words");
/// job.validate()?;
/// # Ok::<(), jasmin_arc::Error>(())
/// ```
///
/// With serde it is an object in which only `executable` is mandatory. Names that this version does not know are an
/// error, since what they stand for would be missing from the job; so is serializing a path that is not UTF-8.
///
/// ```
/// use jasmin_arc::JobDescription;
///
/// let text = r#"{"executable": "/bin/cat", "args": ["a"], "input_files": [{"source": "/tmp/a"}]}"#;
/// let job: JobDescription = serde_json::from_str(text)?;
/// assert_eq!(job, JobDescription::new("/bin/cat").with_arg("a").with_input_file("/tmp/a"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobDescription {
    #[serde(default = "default_name")]
    name: String,
    executable: String,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    input_files: Vec<InputFile>,
    #[serde(default)]
    output_files: Vec<String>,
}

/// A local file that a job reads, and its name in the session directory.
///
/// ```
/// use jasmin_arc::JobDescription;
///
/// let job = JobDescription::new("/bin/cat").with_input_file("/tmp/a").with_input_file_as("/tmp/b", "data/b.txt");
/// let names: Vec<_> = job.input_files().iter().map(|file| file.name()).collect();
/// assert_eq!(names, [Some("a"), Some("data/b.txt")]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputFile {
    source: PathBuf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// An input file that was there and could be read a moment ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResolvedInput {
    /// Absolute, so that it holds when the working directory changes.
    pub(crate) path: PathBuf,
    /// In the session directory.
    pub(crate) name: String,
    pub(crate) size: u64,
    /// Whether anyone may execute it.
    pub(crate) executable: bool,
}

impl JobDescription {
    /// A job that runs `executable`, called "ARC job", without arguments or files.
    ///
    /// The executable is a path on the CE's worker nodes, or the session name of an input file.
    ///
    /// ```
    /// use jasmin_arc::JobDescription;
    ///
    /// let job = JobDescription::new("/bin/hostname");
    /// assert_eq!((job.executable(), job.name()), ("/bin/hostname", "ARC job"));
    /// ```
    pub fn new(executable: impl Into<String>) -> Self {
        JobDescription {
            name: default_name(),
            executable: executable.into(),
            args: Vec::new(),
            input_files: Vec::new(),
            output_files: Vec::new(),
        }
    }

    /// Calls the job `name`; it need not be unique.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert_eq!(JobDescription::new("/bin/true").with_name("nothing").name(), "nothing");
    /// ```
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Adds one argument.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("/bin/echo").with_arg("-n").with_arg("two words");
    /// assert_eq!(job.args(), ["-n", "two words"]);
    /// ```
    #[must_use]
    pub fn with_arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments, after those already there.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("/bin/echo").with_args(["a", "b"]).with_args(["c"]);
    /// assert_eq!(job.args(), ["a", "b", "c"]);
    /// ```
    #[must_use]
    pub fn with_args<I>(mut self, args: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds a local file, to be copied to the session directory under its base name.
    ///
    /// It is looked at when the job is submitted: it must then be a readable regular file, or a link to one. If its
    /// owner, its group or anyone else may execute it here, the job may execute it there.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("run.sh").with_input_file("scripts/run.sh");
    /// assert_eq!(job.input_files()[0].name(), Some("run.sh"));
    /// ```
    #[must_use]
    pub fn with_input_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.input_files.push(InputFile { source: path.into(), name: None });
        self
    }

    /// Adds a local file, to be copied to the session directory as `name`: a relative path there.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("/bin/cat").with_arg("in/a").with_input_file_as("/data/2026/a.nc", "in/a");
    /// assert_eq!(job.input_files()[0].name(), Some("in/a"));
    /// ```
    #[must_use]
    pub fn with_input_file_as(mut self, path: impl Into<PathBuf>, name: impl Into<String>) -> Self {
        self.input_files.push(InputFile { source: path.into(), name: Some(name.into()) });
        self
    }

    /// Has the CE keep a file or a whole directory of the session directory when the job has ended, for download.
    ///
    /// What the job does not make is not there afterwards: that is no error.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("make.sh").with_output_file("map.png").with_output_file("logs/");
    /// assert!(job.output_files().eq(["map.png", "logs"]));
    /// ```
    #[must_use]
    pub fn with_output_file(mut self, name: impl Into<String>) -> Self {
        self.output_files.push(name.into());
        self
    }

    /// The job's name.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert_eq!(JobDescription::new("/bin/true").name(), "ARC job");
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is run.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert_eq!(JobDescription::new("/bin/true").executable(), "/bin/true");
    /// ```
    pub fn executable(&self) -> &str {
        &self.executable
    }

    /// The arguments.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert_eq!(JobDescription::new("/bin/echo").with_arg("").args(), [""]);
    /// ```
    pub fn args(&self) -> &[String] {
        &self.args
    }

    /// The local files that are copied to the session directory.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("/bin/cat").with_input_file("a.txt");
    /// assert_eq!(job.input_files()[0].source().to_str(), Some("a.txt"));
    /// ```
    pub fn input_files(&self) -> &[InputFile] {
        &self.input_files
    }

    /// What the CE keeps besides the standard output and error: each name once, directories without a trailing slash.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("run").with_output_file("a").with_output_file("stdout.txt").with_output_file("a/");
    /// assert!(job.output_files().eq(["a"]));
    /// ```
    pub fn output_files(&self) -> impl Iterator<Item = &str> {
        let mut seen = HashSet::from([STDOUT, STDERR]);
        self.output_files.iter().map(|name| name.trim_end_matches('/')).filter(move |name| seen.insert(name))
    }

    /// The file in the session directory that the job's standard output goes to.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert_eq!(JobDescription::new("/bin/true").stdout(), "stdout.txt");
    /// ```
    pub fn stdout(&self) -> &str {
        STDOUT
    }

    /// The file in the session directory that the job's standard error goes to.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert_eq!(JobDescription::new("/bin/true").stderr(), "stderr.txt");
    /// ```
    pub fn stderr(&self) -> &str {
        STDERR
    }

    /// Checks all that can be checked without looking at any file: submitting the job does this first.
    ///
    /// Descriptions travel as XML, which has no place for most control characters: in a name, the executable or an
    /// argument they are [`Error::InvalidJobDescription`]; all else arrives as it is. Names in the session directory
    /// must be paths that stay inside it. Input files that would overwrite each other, or be overwritten by the job's
    /// standard output or error, are [`Error::InputFile`].
    ///
    /// ```
    /// use jasmin_arc::{Error, JobDescription};
    ///
    /// let job = JobDescription::new("/bin/echo").with_args(["fine", "not\0fine"]);
    /// assert_eq!(
    ///     job.validate().unwrap_err().to_string(),
    ///     "invalid job description: argument 2 has the character U+0000, which no job description can carry"
    /// );
    ///
    /// let job = JobDescription::new("/bin/cat").with_input_file("a/data").with_input_file("b/data");
    /// assert!(matches!(job.validate(), Err(Error::InputFile { path, .. }) if path.to_str() == Some("b/data")));
    /// ```
    pub fn validate(&self) -> Result<()> {
        check_characters("the name", &self.name)?;
        if self.executable.is_empty() {
            return Err(invalid("the executable is empty"));
        }
        check_characters("the executable", &self.executable)?;
        // A-REX trims it and writes it into a shell script between quotes of both kinds.
        if let Some(c) = self.executable.chars().find(|c| "'\"`$\\\n".contains(*c)) {
            return Err(invalid(format!("the executable has the character {c:?}, which an ARC-CE cannot run")));
        }
        if self.executable.trim() != self.executable {
            return Err(invalid("the executable begins or ends with a blank, which an ARC-CE loses"));
        }
        for (n, arg) in iter::zip(1.., &self.args) {
            check_characters(format_args!("argument {n}"), arg)?;
        }
        for (n, name) in iter::zip(1.., &self.output_files) {
            // The slash says that it is a directory, which the CE sees for itself.
            let trimmed = if name.starts_with('/') { name } else { name.trim_end_matches('/') };
            check_session_name(format_args!("the name of output file {n}, {name:?},"), trimmed)?;
        }
        self.check_inputs()
    }

    fn check_inputs(&self) -> Result<()> {
        let mut named = BTreeMap::new();
        for input in &self.input_files {
            let name = input.checked_name()?;
            if name == STDOUT || name == STDERR {
                return Err(input.error(format!("the job's own output to {name} would overwrite it")));
            }
            if let Some(first) = named.insert(name, input) {
                let first = first.source.display();
                return Err(input.error(format!("its name in the session directory, {name:?}, is that of {first} too")));
            }
        }
        for (name, input) in &named {
            let parents = Path::new(name).ancestors().skip(1).filter_map(Path::to_str);
            for parent in parents {
                if parent == STDOUT || parent == STDERR || named.contains_key(parent) {
                    let message =
                        format!("in the session directory it would be {name:?}, but {parent:?} is a file there");
                    return Err(input.error(message));
                }
            }
        }
        Ok(())
    }

    /// Looks at the input files: each must be a readable regular file.
    pub(crate) fn resolve_inputs(&self) -> Result<Vec<ResolvedInput>> {
        self.validate()?;
        self.input_files.iter().map(InputFile::resolve).collect()
    }
}

impl InputFile {
    /// The local file, as it was given.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("/bin/cat").with_input_file("../a");
    /// assert_eq!(job.input_files()[0].source().to_str(), Some("../a"));
    /// ```
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// Its name in the session directory; `None` if it was given none and has no base name that is UTF-8, which
    /// [`JobDescription::validate`] calls an error.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// let job = JobDescription::new("/bin/cat").with_input_file("../a").with_input_file("..");
    /// assert_eq!(job.input_files()[0].name(), Some("a"));
    /// assert_eq!(job.input_files()[1].name(), None);
    /// ```
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref().or_else(|| self.source.file_name()?.to_str())
    }

    pub(crate) fn checked_name(&self) -> Result<&str> {
        if self.source.as_os_str().is_empty() {
            return Err(self.error("the path is empty"));
        }
        let Some(name) = self.name() else {
            return Err(self.error(match self.source.file_name() {
                Some(_) => "its base name is not UTF-8: give it another name in the session directory",
                None => "the path does not end in the name of a file",
            }));
        };
        let source = self.source.display();
        check_session_name(format_args!("the name of input file {source} in the session directory, {name:?},"), name)?;
        Ok(name)
    }

    pub(crate) fn absolute_path(&self) -> Result<PathBuf> {
        path::absolute(&self.source).map_err(|error| self.io_error(error))
    }

    fn resolve(&self) -> Result<ResolvedInput> {
        let name = self.checked_name()?.to_owned();
        let path = self.absolute_path()?;
        let metadata = fs::metadata(&path).map_err(|error| self.io_error(error))?;
        // Opened only now: opening a FIFO would wait for a writer, and opening a device may do anything.
        if !metadata.is_file() {
            return Err(self.error(if metadata.is_dir() { "is a directory" } else { "is not a regular file" }));
        }
        File::open(&path).map_err(|error| self.io_error(error))?;
        let executable = metadata.permissions().mode() & 0o111 != 0;
        Ok(ResolvedInput { path, name, size: metadata.len(), executable })
    }

    fn error(&self, message: impl Into<String>) -> Error {
        Error::InputFile { path: self.source.clone(), message: message.into(), source: None }
    }

    fn io_error(&self, error: io::Error) -> Error {
        let message = match error.kind() {
            io::ErrorKind::NotFound => "does not exist",
            io::ErrorKind::PermissionDenied => "may not be read",
            _ => "cannot be read",
        };
        Error::InputFile { path: self.source.clone(), message: message.into(), source: Some(error) }
    }
}

fn default_name() -> String {
    "ARC job".into()
}

fn invalid(message: impl Into<String>) -> Error {
    Error::InvalidJobDescription { message: message.into() }
}

fn check_session_name(part: impl fmt::Display, name: &str) -> Result<()> {
    check_characters(&part, name)?;
    let fault = if name.is_empty() {
        "is empty"
    } else if name.starts_with('/') {
        "is not relative"
    } else if name.ends_with('/') {
        "ends in a slash"
    } else if name.contains('\n') {
        // A-REX keeps these names in files of lines: it would wait for another file.
        "has a newline"
    } else if name.starts_with('@') {
        // A-REX would take it for the name of a list of files.
        "begins with an @"
    } else if name.split('/').any(str::is_empty) {
        // It would escape the search for inputs with one name.
        "has an empty component"
    } else if name.split('/').any(|component| component == "." || component == "..") {
        "has a component \".\" or \"..\""
    } else {
        return Ok(());
    };
    Err(invalid(format!("{part} {fault}")))
}

fn check_characters(part: impl fmt::Display, text: &str) -> Result<()> {
    match text.chars().find(|&c| !is_xml(c)) {
        Some(c) => {
            let code = u32::from(c);
            Err(invalid(format!("{part} has the character U+{code:04X}, which no job description can carry")))
        }
        None => Ok(()),
    }
}

/// Whether XML 1.0 has the character, be it as a character reference.
fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn job() -> JobDescription {
        JobDescription::new("/bin/true")
    }

    /// The message of an [`Error::InvalidJobDescription`].
    #[track_caller]
    fn invalid_part(job: &JobDescription) -> String {
        match job.validate() {
            Err(Error::InvalidJobDescription { message }) => message,
            other => panic!("{other:?}"),
        }
    }

    /// The path and the message of an [`Error::InputFile`].
    #[track_caller]
    fn bad_input<T: fmt::Debug>(result: Result<T>) -> (PathBuf, String) {
        match result {
            Err(Error::InputFile { path, message, .. }) => (path, message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn any_text_that_xml_carries_is_fine() {
        let text = " a\t\n\r\"'<>&]]>\\\u{7f}\u{85}é\u{d7ff}\u{e000}\u{fffd}\u{10000}\u{1f30d}\u{10ffff} ";
        let line = &text.replace('\n', "");
        let all = JobDescription::new("/opt/<my> & é/program")
            .with_name(text)
            .with_args(["", text])
            .with_input_file(format!("/tmp/{line}"))
            .with_input_file_as("/tmp/x", format!("dir/{line}"))
            .with_output_file(line)
            .with_output_file("...");
        all.validate().unwrap();
    }

    #[test]
    fn what_an_arc_ce_does_not_keep_apart_is_refused() {
        for executable in ["a'b", "a\"b", "a`b", "a$b", "a\\b", "a\nb", " a", "a "] {
            let error = JobDescription::new(executable).validate().unwrap_err();
            assert!(error.to_string().contains("the executable"), "{error}");
        }
        for (name, why) in [("a\nb", "has a newline"), ("@a", "begins with an @")] {
            for job in [job().with_output_file(name), job().with_input_file_as("/tmp/x", name)] {
                let error = job.validate().unwrap_err();
                assert!(error.to_string().contains(why), "{error}");
            }
        }
    }

    #[test]
    fn characters_that_xml_lacks_are_refused_and_the_part_is_named() {
        for c in (0..=0x1f).map(char::from).filter(|c| !"\t\n\r".contains(*c)).chain(['\u{fffe}', '\u{ffff}']) {
            let text = format!("a{c}b");
            let code = format!(" has the character U+{:04X},", u32::from(c));
            for (part, job) in [
                ("the name".to_owned(), job().with_name(&text)),
                ("the executable".to_owned(), JobDescription::new(&text)),
                ("argument 2".to_owned(), job().with_arg("").with_arg(&text)),
                (format!("the name of output file 1, {text:?},"), job().with_output_file(&text)),
                (
                    format!("the name of input file x in the session directory, {text:?},"),
                    job().with_input_file_as("x", &text),
                ),
            ] {
                let message = invalid_part(&job);
                assert!(message.starts_with(&(part + &code)), "{message}");
            }
        }
    }

    #[test]
    fn an_executable_is_needed() {
        assert_eq!(invalid_part(&JobDescription::new("")), "the executable is empty");
    }

    #[test]
    fn session_names_stay_in_the_session_directory() {
        for (name, fault) in [
            ("", "is empty"),
            ("/", "is not relative"),
            ("/etc/passwd", "is not relative"),
            (".", "has a component"),
            ("..", "has a component"),
            ("a/../b", "has a component"),
            ("./a", "has a component"),
            ("a//b", "has an empty component"),
        ] {
            for job in [job().with_output_file(name), job().with_input_file_as("x", name)] {
                let message = invalid_part(&job);
                assert!(message.contains(fault), "{name:?}: {message}");
            }
        }
        assert!(invalid_part(&job().with_input_file_as("x", "a/")).contains("ends in a slash"));
        job().with_output_file("a/").validate().unwrap();
    }

    #[test]
    fn inputs_may_not_overwrite_each_other() {
        let (path, message) = bad_input(job().with_input_file("a/x").with_input_file_as("b/y", "x").validate());
        assert_eq!(path, Path::new("b/y"));
        assert!(message.contains("a/x"), "{message}");

        let nested = job().with_input_file_as("a", "d/e/f").with_input_file_as("b", "d");
        let (path, message) = bad_input(nested.validate());
        assert_eq!(path, Path::new("a"));
        assert!(message.contains("\"d\" is a file"), "{message}");

        job().with_input_file_as("a", "d/e").with_input_file_as("b", "d/f").validate().unwrap();
        job().with_input_file_as("a", "x").with_output_file("x").validate().unwrap();
    }

    #[test]
    fn inputs_may_not_be_where_the_output_goes() {
        for name in ["stdout.txt", "stderr.txt"] {
            let (path, message) = bad_input(job().with_input_file(format!("/tmp/{name}")).validate());
            assert_eq!(path, Path::new("/tmp").join(name));
            assert!(message.contains(name), "{message}");
            bad_input(job().with_input_file_as("a", format!("{name}/a")).validate());
            job().with_input_file_as("a", format!("a/{name}")).validate().unwrap();
        }
    }

    #[test]
    fn outputs_are_listed_once_and_without_the_standard_ones() {
        let job = job()
            .with_output_file("b")
            .with_output_file("stdout.txt")
            .with_output_file("a/")
            .with_output_file("a")
            .with_output_file("b")
            .with_output_file("stderr.txt");
        job.validate().unwrap();
        assert!(job.output_files().eq(["b", "a"]));
    }

    #[test]
    fn paths_without_a_usable_base_name_are_refused() {
        for path in ["", "/", "..", "a/.."] {
            let (given, message) = bad_input(job().with_input_file(path).validate());
            assert_eq!((given.as_path(), message.contains("path")), (Path::new(path), true));
        }
        bad_input(job().with_input_file_as("", "x").validate());

        let latin1 = Path::new(OsStr::from_bytes(b"/tmp/\xe9"));
        assert!(bad_input(job().with_input_file(latin1).validate()).1.contains("UTF-8"));
        job().with_input_file_as(latin1, "e").validate().unwrap();
    }

    #[test]
    fn inputs_are_resolved() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data 1");
        let script = dir.path().join(OsStr::from_bytes(b"\xff.sh"));
        let link = dir.path().join("link");
        fs::write(&data, "12345").unwrap();
        fs::write(&script, "").unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o640)).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o754)).unwrap();
        std::os::unix::fs::symlink(&script, &link).unwrap();

        let job = job().with_input_file(&data).with_input_file_as(&script, "bin/run").with_input_file(&link);
        let expected = [(data, "data 1", 5, false), (script, "bin/run", 0, true), (link, "link", 0, true)]
            .map(|(path, name, size, executable)| ResolvedInput { path, name: name.into(), size, executable });
        assert_eq!(job.resolve_inputs().unwrap(), expected);
    }

    #[test]
    fn relative_paths_become_absolute() {
        let resolved = job().with_input_file("Cargo.toml").resolve_inputs().unwrap();
        assert_eq!(resolved[0].path, std::env::current_dir().unwrap().join("Cargo.toml"));
    }

    #[test]
    fn only_readable_regular_files_are_resolved() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("dir")).unwrap();
        fs::write(at("file"), "").unwrap();
        fs::write(at("secret"), "").unwrap();
        fs::set_permissions(at("secret"), fs::Permissions::from_mode(0o000)).unwrap();
        std::os::unix::fs::symlink("nowhere", at("dangling")).unwrap();
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), fifo, rustix::fs::Mode::RUSR, 0).unwrap();

        for (name, expected) in [
            ("missing", "does not exist"),
            ("dangling", "does not exist"),
            ("dir", "is a directory"),
            ("dir/", "is a directory"),
            ("file/", "cannot be read"),
            ("fifo", "is not a regular file"),
            ("nul\0", "cannot be read"),
        ] {
            let result = job().with_input_file_as(at(name), "x").resolve_inputs();
            assert_eq!(bad_input(result), (at(name), expected.into()));
        }
        assert_eq!(bad_input(job().with_input_file_as("/", "x").resolve_inputs()).1, "is a directory");

        let secret = job().with_input_file(at("secret")).resolve_inputs();
        if rustix::process::geteuid().is_root() {
            secret.unwrap();
        } else {
            assert_eq!(bad_input(secret).1, "may not be read");
        }
    }

    #[test]
    fn serde_round_trip() {
        for job in [
            job(),
            job()
                .with_name("ü \u{1f30d}\r\n")
                .with_args(["", "\0", "\"\\"])
                .with_input_file("/a/b")
                .with_input_file_as("c", "d e")
                .with_output_file("f")
                .with_output_file("f"),
        ] {
            let text = serde_json::to_string(&job).unwrap();
            assert_eq!(serde_json::from_str::<JobDescription>(&text).unwrap(), job);
        }
        assert!(serde_json::from_str::<JobDescription>(r#"{"executable": "a", "argz": []}"#).is_err());
    }
}
