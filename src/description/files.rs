//! The files of a job: where they come from, where they go.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{self, Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use super::validate::{check_session_name, check_url};
use crate::error::{Error, Result};
use crate::util::uri::Url;

/// What a job reads: where it comes from, and its name in the session directory.
///
/// ```
/// use jasmin_arc::{InputFile, JobDescription};
///
/// let job = JobDescription::new("bin/run")
///     .with_input(InputFile::bytes("bin/run", "#!/bin/sh\necho hello\n").with_executable(true))
///     .with_input(InputFile::file("/tmp/b").with_name("data/b.txt"))
///     .with_input(InputFile::url("https://example.org/c.nc"));
/// let names: Vec<_> = job.inputs().iter().map(|input| input.name()).collect();
/// assert_eq!(names, [Some("bin/run"), Some("data/b.txt"), Some("c.nc")]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputFile {
    source: InputSource,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    executable: bool,
}

/// Where an input file comes from.
///
/// ```
/// use jasmin_arc::{InputFile, InputSource};
///
/// assert!(matches!(InputFile::url("https://example.org/a").source(), InputSource::Url(url) if url.ends_with("/a")));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum InputSource {
    /// A local file, which is uploaded.
    File(PathBuf),
    /// A local directory: all the files in it are uploaded.
    Directory(PathBuf),
    /// These bytes, which are uploaded.
    Bytes(Arc<[u8]>),
    /// A URL that the CE fetches the file from.
    Url(String),
}

impl fmt::Debug for InputSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InputSource::File(path) => f.debug_tuple("File").field(path).finish(),
            InputSource::Directory(path) => f.debug_tuple("Directory").field(path).finish(),
            InputSource::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            InputSource::Url(url) => f.debug_tuple("Url").field(&without_password(url)).finish(),
        }
    }
}

/// What an ARC-CE keeps of a job, or uploads for it, when the job has ended.
///
/// ```
/// use jasmin_arc::JobDescription;
///
/// let job = JobDescription::new("/bin/true").with_output_file("a").with_output_file_to("b", "https://example.org/b");
/// assert_eq!((job.outputs()[0].name(), job.outputs()[0].url()), ("a", None));
/// assert_eq!((job.outputs()[1].name(), job.outputs()[1].url()), ("b", Some("https://example.org/b")));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputFile {
    pub(super) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<String>,
}

impl fmt::Debug for OutputFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.as_deref().map(without_password);
        f.debug_struct("OutputFile").field("name", &self.name).field("url", &url).finish()
    }
}

impl OutputFile {
    /// The file or directory `name` in the session directory, kept on the CE for download.
    pub fn file(name: impl Into<String>) -> Self {
        OutputFile { name: name.into(), url: None }
    }

    /// The files that the list file `name` names.
    pub fn list(name: impl Into<String>) -> Self {
        OutputFile::file(format!("@{}", name.into()))
    }

    /// The whole session directory.
    pub fn everything() -> Self {
        OutputFile::file("/")
    }

    /// Has the CE upload the output to `url` when the job has ended well.
    #[must_use]
    pub fn with_url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// The name in the session directory; `/` is all that is there, and `@name` all that is listed in the file `name`.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert_eq!(JobDescription::new("/bin/true").with_output_file("/").outputs()[0].name(), "/");
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the CE uploads it; `None` if it is kept for download.
    ///
    /// ```
    /// # use jasmin_arc::JobDescription;
    /// assert_eq!(JobDescription::new("/bin/true").with_output_file("a").outputs()[0].url(), None);
    /// ```
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }
}

/// An input that was there a moment ago, as it goes to a CE: a directory has become its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResolvedInput {
    /// In the session directory.
    pub(crate) name: String,
    pub(crate) source: ResolvedSource,
    /// Whether anyone may execute it.
    pub(crate) executable: bool,
}

impl ResolvedInput {
    /// What messages call it.
    pub(super) fn shown(&self) -> PathBuf {
        match &self.source {
            ResolvedSource::Upload(upload) => upload.shown(),
            ResolvedSource::Url(url) => url.into(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ResolvedSource {
    Upload(Upload),
    Url(String),
}

/// What is uploaded for a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upload {
    /// In the session directory.
    pub(crate) name: String,
    pub(crate) content: Content,
    pub(crate) size: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Absolute, so that it holds when the working directory changes.
    File(PathBuf),
    Bytes(Arc<[u8]>),
}

impl Upload {
    /// What messages call it.
    pub(crate) fn shown(&self) -> PathBuf {
        match &self.content {
            Content::File(path) => path.clone(),
            Content::Bytes(_) => self.name.clone().into(),
        }
    }

    /// What is to be sent, to be read from its beginning.
    pub(crate) fn open(&self) -> io::Result<File> {
        match &self.content {
            Content::File(path) => File::open(path),
            Content::Bytes(bytes) => {
                let mut file = File::from(rustix::fs::memfd_create("jasmin-arc", rustix::fs::MemfdFlags::CLOEXEC)?);
                io::Write::write_all(&mut file, bytes)?;
                io::Seek::rewind(&mut file)?;
                Ok(file)
            }
        }
    }
}

impl InputFile {
    /// A local file, to be copied to the session directory under its base name.
    ///
    /// ```
    /// # use jasmin_arc::InputFile;
    /// assert_eq!(InputFile::file("../a").name(), Some("a"));
    /// ```
    pub fn file(path: impl Into<PathBuf>) -> Self {
        InputFile { source: InputSource::File(path.into()), name: None, executable: false }
    }

    /// A local directory, to be copied to the session directory under its base name, with all that is in it. Links are
    /// followed. Directories without files are not made.
    ///
    /// ```
    /// # use jasmin_arc::InputFile;
    /// assert_eq!(InputFile::directory("/home/me/model").name(), Some("model"));
    /// ```
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        InputFile { source: InputSource::Directory(path.into()), name: None, executable: false }
    }

    /// A file `name` in the session directory that consists of these bytes.
    ///
    /// ```
    /// # use jasmin_arc::InputFile;
    /// assert_eq!(InputFile::bytes("namelist", "&run n=1 /").name(), Some("namelist"));
    /// ```
    pub fn bytes(name: impl Into<String>, bytes: impl AsRef<[u8]>) -> Self {
        let source = InputSource::Bytes(bytes.as_ref().into());
        InputFile { source, name: Some(name.into()), executable: false }
    }

    /// A file that the CE fetches itself before the job starts, under the last name in the URL's path.
    ///
    /// The protocols are those of the CE: `https` and `http`, and mostly `gsiftp`, `root`, `srm`, `s3` and `rucio`. ARC
    /// takes options between host and path: `https://example.org;cache=no/a`. A CE of ARC 6 takes a URL with HTTP for one
    /// that is not encoded yet: one with a `%` or a `#` is refused.
    ///
    /// ```
    /// # use jasmin_arc::InputFile;
    /// assert_eq!(InputFile::url("root://example.org/data/a.root?x=y").name(), Some("a.root"));
    /// ```
    pub fn url(url: impl Into<String>) -> Self {
        InputFile { source: InputSource::Url(url.into()), name: None, executable: false }
    }

    /// Gives it another name: a relative path in the session directory.
    ///
    /// ```
    /// # use jasmin_arc::InputFile;
    /// assert_eq!(InputFile::file("/tmp/a").with_name("in/a.txt").name(), Some("in/a.txt"));
    /// ```
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Gives it a name of its own only where it has another one.
    pub(crate) fn with_other_name(self, name: &str) -> Self {
        if self.name() == Some(name) { self } else { self.with_name(name) }
    }

    /// Has the job be allowed to execute it. Local files that are executable here are so there without this.
    ///
    /// ```
    /// # use jasmin_arc::InputFile;
    /// assert!(InputFile::bytes("run", "#!/bin/sh\n").with_executable(true).is_executable());
    /// ```
    #[must_use]
    pub fn with_executable(mut self, executable: bool) -> Self {
        self.executable = executable;
        self
    }

    /// Where it comes from, as it was given.
    ///
    /// ```
    /// # use jasmin_arc::{InputFile, InputSource};
    /// assert_eq!(InputFile::file("../a").source(), &InputSource::File("../a".into()));
    /// ```
    pub fn source(&self) -> &InputSource {
        &self.source
    }

    /// Whether it was [said](InputFile::with_executable) to be executable.
    ///
    /// ```
    /// # use jasmin_arc::InputFile;
    /// assert!(!InputFile::file("/bin/true").is_executable());
    /// ```
    pub fn is_executable(&self) -> bool {
        self.executable
    }

    /// Its name in the session directory; `None` if it was given none and its source has no base name that is UTF-8,
    /// which [`JobDescription::validate`](crate::JobDescription::validate) calls an error.
    ///
    /// ```
    /// # use jasmin_arc::InputFile;
    /// assert_eq!(InputFile::file("..").name(), None);
    /// ```
    pub fn name(&self) -> Option<&str> {
        let own = || match &self.source {
            InputSource::File(path) | InputSource::Directory(path) => path.file_name()?.to_str(),
            InputSource::Bytes(_) => None,
            InputSource::Url(url) => {
                let (_, rest) = url.split_once("://")?;
                let (_, path) = rest.split(['?', '#']).next()?.split_once('/')?;
                path.rsplit('/').next().filter(|name| !name.is_empty())
            }
        };
        self.name.as_deref().or_else(own)
    }

    pub(crate) fn checked_name(&self) -> Result<&str> {
        if let InputSource::Url(url) = &self.source {
            check_url("input", url).map_err(|message| self.error(message))?;
        }
        let path = match &self.source {
            InputSource::File(path) | InputSource::Directory(path) => Some(path),
            _ => None,
        };
        if path.is_some_and(|path| path.as_os_str().is_empty()) {
            return Err(self.error("the path is empty"));
        }
        let Some(name) = self.name() else {
            return Err(self.error(match path.map(|path| path.file_name()) {
                Some(Some(_)) => "its base name is not UTF-8: give it another name in the session directory",
                Some(None) => "the path does not end in the name of a file",
                None => "it has no name in the session directory",
            }));
        };
        let shown = self.shown();
        let shown = shown.display();
        check_session_name(format_args!("the name of input file {shown} in the session directory, {name:?},"), name)?;
        Ok(name)
    }

    /// Every file, as it is at this moment.
    pub(crate) fn resolve(&self) -> Result<Vec<ResolvedInput>> {
        let name = self.checked_name()?.to_owned();
        let one = |name: String, source, executable| ResolvedInput { name, source, executable };
        Ok(match &self.source {
            InputSource::File(path) => vec![self.resolve_file(path, name)?],
            InputSource::Directory(path) => self.resolve_directory(path, &name)?,
            InputSource::Bytes(bytes) => {
                let content = Content::Bytes(bytes.clone());
                let upload = Upload { name: name.clone(), content, size: bytes.len() as u64 };
                vec![one(name, ResolvedSource::Upload(upload), self.executable)]
            }
            InputSource::Url(url) => vec![one(name, ResolvedSource::Url(url.clone()), self.executable)],
        })
    }

    fn resolve_file(&self, path: &Path, name: String) -> Result<ResolvedInput> {
        let failed = |error| io_error(path, error);
        let fault = |message: &str| input_error(path, message);
        let path = path::absolute(path).map_err(failed)?;
        let metadata = fs::metadata(&path).map_err(failed)?;
        // Opened only now: opening a FIFO would wait for a writer, and opening a device may do anything.
        if !metadata.is_file() {
            return Err(fault(if metadata.is_dir() { "is a directory" } else { "is not a regular file" }));
        }
        File::open(&path).map_err(failed)?;
        let executable = self.executable || metadata.permissions().mode() & 0o111 != 0;
        let upload = Upload { name: name.clone(), content: Content::File(path), size: metadata.len() };
        Ok(ResolvedInput { name, source: ResolvedSource::Upload(upload), executable })
    }

    fn resolve_directory(&self, path: &Path, name: &str) -> Result<Vec<ResolvedInput>> {
        if !fs::metadata(path).map_err(|error| io_error(path, error))?.is_dir() {
            return Err(input_error(path, "is not a directory"));
        }
        let mut files = Vec::new();
        for entry in WalkDir::new(path).follow_links(true).sort_by_file_name() {
            let entry = entry.map_err(|error| Error::InputFile {
                path: error.path().unwrap_or(path).to_owned(),
                message: error.to_string(),
                source: error.into_io_error(),
            })?;
            if entry.file_type().is_dir() {
                continue;
            }
            let below = entry.path().strip_prefix(path).ok().and_then(Path::to_str);
            let Some(below) = below else { return Err(input_error(entry.path(), "its name is not UTF-8")) };
            let name = format!("{name}/{below}");
            check_session_name(format_args!("the name of input file {}", entry.path().display()), &name)?;
            files.push(self.resolve_file(entry.path(), name)?);
        }
        Ok(files)
    }

    /// What messages call it.
    pub(super) fn shown(&self) -> PathBuf {
        match &self.source {
            InputSource::File(path) | InputSource::Directory(path) => path.clone(),
            InputSource::Bytes(_) => self.name.clone().unwrap_or_default().into(),
            InputSource::Url(url) => without_password(url).into(),
        }
    }

    pub(super) fn error(&self, message: impl Into<String>) -> Error {
        input_error(&self.shown(), message)
    }
}

/// A URL as it may be shown: one with a password is refused, but until then it is there.
pub(super) fn without_password(url: &str) -> String {
    match Url::split(url).and_then(|url| url.user?.split_once(':')) {
        Some((user, password)) => url.replacen(&format!("{user}:{password}@"), &format!("{user}:...@"), 1),
        None => url.into(),
    }
}

/// The absolute form of a path, for an input file.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    path::absolute(path).map_err(|error| io_error(path, error))
}

pub(super) fn input_error(path: &Path, message: impl Into<String>) -> Error {
    Error::InputFile { path: path.into(), message: message.into(), source: None }
}

fn io_error(path: &Path, error: io::Error) -> Error {
    let message = match error.kind() {
        io::ErrorKind::NotFound => "does not exist",
        io::ErrorKind::PermissionDenied => "may not be read",
        _ => "cannot be read",
    };
    Error::InputFile { path: path.into(), message: message.into(), source: Some(error) }
}
