//! [`InputFile`] and [`OutputFile`]: the files of a job.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::errors::input_error;
use crate::error::Error;
use crate::util::uri::{Url, without_password};

/// An input file or directory of a job: its source and its name in the session directory.
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
///
/// # Serde form
///
/// An object with `source` (see [`InputSource`]), `name` and `executable` (a boolean). Only `source` is required, except
/// that a source of bytes needs a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[must_use = "the `with_` methods return the changed value"]
pub struct InputFile {
    source: InputSource,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    executable: bool,
}

impl InputFile {
    /// Creates an input from a local file, which the crate uploads under its base name.
    ///
    /// When the job is submitted, the path must be a readable regular file, or a link to one. If its owner, its group
    /// or others may execute the file, the job may execute it too.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        InputFile::from_source(InputSource::File(path.into()))
    }

    /// Creates an input from a local directory, which the crate uploads under its base name with all files in it.
    ///
    /// Submitting the job reads the directory and follows links. The CE does not get directories without files.
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        InputFile::from_source(InputSource::Directory(path.into()))
    }

    /// Creates an input called `name` in the session directory with `bytes` as its content.
    pub fn bytes(name: impl Into<String>, bytes: impl AsRef<[u8]>) -> Self {
        InputFile::from_source(InputSource::Bytes(bytes.as_ref().into())).with_name(name)
    }

    /// Creates an input that the CE fetches from a URL before the job starts, under the last component of the URL's
    /// path.
    ///
    /// Every CE supports `https` and `http`, and most support `gsiftp`, `root`, `srm`, `s3` and `rucio`. Write options
    /// for ARC between host and path: `https://example.org;cache=no/a`. The CE uses your credentials through a
    /// [delegation](crate::Delegation).
    ///
    /// An HTTP URL with a `%` or a `#` is [invalid](crate::JobDescription::validate): the CE (ARC 6) encodes such URLs
    /// again and would fetch another file.
    pub fn url(url: impl Into<String>) -> Self {
        InputFile::from_source(InputSource::Url(url.into()))
    }

    fn from_source(source: InputSource) -> Self {
        InputFile { source, name: None, executable: false }
    }

    /// Sets the name in the session directory: a relative path, such as `data/b.txt`.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the name in the session directory, unless the input has that name already.
    pub(crate) fn with_other_name(self, name: &str) -> Self {
        if self.name() == Some(name) { self } else { self.with_name(name) }
    }

    /// Sets whether the job may execute the file. A local file that is executable stays executable even with `false`.
    pub fn with_executable(mut self, executable: bool) -> Self {
        self.executable = executable;
        self
    }

    /// The source, with the path as the caller gave it.
    pub fn source(&self) -> &InputSource {
        &self.source
    }

    /// The name in the session directory: the one set by [`with_name`](Self::with_name), or that of the source.
    ///
    /// `None` if no name is set and the source has no base name in UTF-8. Such an input is
    /// [invalid](crate::JobDescription::validate).
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref().or_else(|| self.source.base_name())
    }

    /// The value set by [`with_executable`](Self::with_executable); `false` by default.
    pub fn is_executable(&self) -> bool {
        self.executable
    }

    /// The input's name in messages: its path or URL, or else its name in the session directory.
    pub(super) fn label(&self) -> PathBuf {
        match &self.source {
            InputSource::File(path) | InputSource::Directory(path) => path.clone(),
            InputSource::Bytes(_) => self.name.clone().unwrap_or_default().into(),
            InputSource::Url(url) => without_password(url).into(),
        }
    }

    /// Creates an error about this input.
    pub(super) fn error(&self, message: impl Into<String>) -> Error {
        input_error(&self.label(), message)
    }
}

/// The source of an input file.
///
/// A program that takes descriptions from others must not accept [`File`](Self::File) and
/// [`Directory`](Self::Directory) from them: submitting the job reads and uploads these paths of *this* computer, with
/// the rights of this program.
/// [`check_restrictions`](crate::JobDescription::check_restrictions) refuses both.
///
/// # Serde form
///
/// An object with one of the keys `file`, `directory` (paths), `bytes` (a list of numbers) and `url`:
/// `{"file": "/tmp/a"}`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum InputSource {
    /// A local file, which the crate uploads.
    File(PathBuf),
    /// A local directory. The crate uploads all files in it.
    Directory(PathBuf),
    /// The content of the file, which the crate uploads.
    Bytes(Arc<[u8]>),
    /// A URL from which the CE fetches the file.
    Url(String),
}

impl InputSource {
    /// Returns the local path that submitting the job reads, if the source is on this computer.
    pub fn path(&self) -> Option<&Path> {
        match self {
            InputSource::File(path) | InputSource::Directory(path) => Some(path),
            InputSource::Bytes(_) | InputSource::Url(_) => None,
        }
    }

    /// The last component of the path or of the URL's path, if there is one in UTF-8.
    fn base_name(&self) -> Option<&str> {
        match self {
            InputSource::File(path) | InputSource::Directory(path) => path.file_name()?.to_str(),
            InputSource::Bytes(_) => None,
            InputSource::Url(url) => {
                let path = Url::split(url)?.rest.split(['?', '#']).next()?;
                let (_, name) = path.rsplit_once('/')?;
                Some(name).filter(|name| !name.is_empty())
            }
        }
    }
}

/// Shows the number of bytes instead of the bytes, and hides passwords.
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

/// An output of a job, which the CE keeps for download or uploads when the job has ended.
///
/// ```
/// use jasmin_arc::{JobDescription, OutputFile};
///
/// let job = JobDescription::new("make.sh")
///     .with_output(OutputFile::file("map.png"))
///     .with_output(OutputFile::file("tiles/").with_url("https://example.org/tiles/"));
/// ```
///
/// # Serde form
///
/// An object with `name` and `url`; only `name` is required. The name has the form of [`name`](Self::name).
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[must_use = "the `with_` methods return the changed value"]
pub struct OutputFile {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

impl OutputFile {
    /// Creates an output that the CE keeps for download: the file or directory `name`, relative to the session
    /// directory.
    ///
    /// Patterns are not supported. A trailing slash marks `name` as a directory, which only [uploads](Self::with_url)
    /// require. If the job does not create the file, the outputs do not contain it. That is not an error.
    pub fn file(name: impl Into<String>) -> Self {
        OutputFile { name: name.into(), url: None }
    }

    /// Creates an output for the files that the job names in the list file `name`.
    ///
    /// Each line of the list contains the name of a file in the session directory. To make the CE upload that file, add
    /// a blank and a URL. Write a backslash before each blank and each backslash in a name.
    ///
    /// If any file in the list has a URL, the CE does not keep the files without one. For the same reason, a job with a
    /// list cannot have other [uploads](Self::with_url). A job that does not write the list fails. A job with a list
    /// always needs a [delegation](crate::Delegation), because A-REX refuses it without one.
    pub fn list(name: impl Into<String>) -> Self {
        OutputFile::file(format!("@{}", name.into()))
    }

    /// Creates an output for all files in the session directory, which the CE keeps for download.
    pub fn everything() -> Self {
        OutputFile::file("/")
    }

    /// Makes the CE upload the output to `url` when the job has ended successfully.
    ///
    /// If the output is a directory, `url` must be a directory too. The CE uses your credentials through a
    /// [delegation](crate::Delegation).
    ///
    /// The CE does not keep an uploaded file, unless the same file is also an output without a URL. It keeps uploaded
    /// directories. If the job fails, the CE keeps all outputs. A job that does not create the file fails.
    ///
    /// Only outputs from [`file`](Self::file) can have a URL.
    pub fn with_url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// The name in the session directory: `/` for [`everything`](Self::everything), `@name` for
    /// [`list`](Self::list).
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL to which the CE uploads the output. `None` if the CE keeps it for download.
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// Whether the output is a [list](Self::list).
    pub(crate) fn is_list(&self) -> bool {
        self.name.starts_with('@')
    }
}

/// Hides passwords.
impl fmt::Debug for OutputFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.as_deref().map(without_password);
        f.debug_struct("OutputFile").field("name", &self.name).field("url", &url).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_named_after_their_source() {
        for (input, name) in [
            (InputFile::file("../a"), Some("a")),
            (InputFile::file(".."), None),
            (InputFile::directory("/home/me/model/"), Some("model")),
            (InputFile::bytes("namelist", "&run n=1 /"), Some("namelist")),
            (InputFile::url("root://example.org/data/a.root?x=y/z"), Some("a.root")),
            (InputFile::url("https://example.org;cache=no/a#b/c"), Some("a")),
            (InputFile::url("https://example.org/a/"), None),
            (InputFile::url("https://example.org"), None),
            (InputFile::url("example.org/a"), None),
            (InputFile::file("/tmp/a").with_name("in/a.txt"), Some("in/a.txt")),
        ] {
            assert_eq!(input.name(), name, "{input:?}");
        }
    }

    #[test]
    fn sources_on_this_computer_have_a_path() {
        let path = |input: InputFile| input.source().path().map(Path::to_owned);
        assert_eq!(path(InputFile::file("/a/b")), Some("/a/b".into()));
        assert_eq!(path(InputFile::directory("/a")), Some("/a".into()));
        assert_eq!(path(InputFile::bytes("a", "b")), None);
        assert_eq!(path(InputFile::url("https://h/a")), None);
    }
}
