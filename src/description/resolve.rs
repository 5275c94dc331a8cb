//! Reads the input files of a description from disk when a job is submitted.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{self, Path, PathBuf};
use std::sync::Arc;

use walkdir::WalkDir;

use super::errors::{input_error, input_io_error, invalid};
use super::session_names::{check_session_name, is_below};
use super::{InputFile, InputSource, JobDescription};
use crate::error::{Error, Result};

/// One input file of a job. The files of a directory have replaced the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResolvedInput {
    /// The name in the session directory.
    pub(crate) name: String,
    pub(crate) source: ResolvedSource,
    /// Whether the job may execute the file.
    pub(crate) executable: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ResolvedSource {
    Upload(Upload),
    /// A URL from which the CE fetches the file.
    Url(String),
}

/// A file to upload for a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upload {
    /// The name in the session directory.
    pub(crate) name: String,
    pub(crate) content: Content,
    /// The size in bytes when the description was resolved.
    pub(crate) size: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// An absolute path, which stays valid when the working directory changes.
    File(PathBuf),
    Bytes(Arc<[u8]>),
}

impl ResolvedInput {
    /// The input's name in messages: its path or URL, or else its name in the session directory.
    fn label(&self) -> PathBuf {
        match &self.source {
            ResolvedSource::Upload(upload) => upload.label(),
            ResolvedSource::Url(url) => url.into(),
        }
    }
}

impl Upload {
    /// The file's name in messages: its path, or else its name in the session directory.
    pub(crate) fn label(&self) -> PathBuf {
        match &self.content {
            Content::File(path) => path.clone(),
            Content::Bytes(_) => self.name.clone().into(),
        }
    }

    /// Opens the content for reading from its beginning.
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

impl JobDescription {
    /// Validates the description and checks that each local input file is a readable regular file.
    pub(crate) fn resolve_inputs(&self) -> Result<Vec<ResolvedInput>> {
        self.validate()?;
        let mut resolved = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            resolved.extend(input.resolve()?);
        }
        self.check_resolved(&resolved)?;
        Ok(resolved)
    }

    /// Repeats the checks that depend on the files in directories.
    fn check_resolved(&self, inputs: &[ResolvedInput]) -> Result<()> {
        let streams = [self.stdout(), self.stderr()];
        let mut names: HashSet<&str> = streams.into_iter().flatten().collect();
        for input in inputs {
            if !names.insert(&input.name) {
                let message = format!(
                    "its name in the session directory, {:?}, is also the name of another input file or of the job's own output",
                    input.name
                );
                return Err(input_error(&input.label(), message));
            }
        }
        for input in inputs {
            let mut parents = Path::new(&input.name).ancestors().skip(1).filter_map(Path::to_str);
            if let Some(parent) = parents.find(|parent| names.contains(parent)) {
                let message =
                    format!("its name in the session directory is {:?}, but {parent:?} is a file there", input.name);
                return Err(input_error(&input.label(), message));
            }
        }
        let is_input = |name: &str| inputs.iter().any(|input| input.name == name);
        if let Some(stdin) = self.stdin().filter(|name| !name.starts_with('/') && !is_input(name)) {
            return Err(invalid(format!("the standard input {stdin:?} is not among the input files")));
        }
        for name in streams.into_iter().flatten() {
            let Some((directory, _)) = name.rsplit_once('/') else { continue };
            if !inputs.iter().any(|input| is_below(&input.name, directory)) {
                return Err(invalid(format!(
                    "the CE does not create the directory of {name:?}: no input file is in it; add one, or choose \
                     another name"
                )));
            }
        }
        Ok(())
    }
}

impl InputFile {
    /// Resolves the input. A directory becomes one item for each file in it.
    pub(crate) fn resolve(&self) -> Result<Vec<ResolvedInput>> {
        let name = self.checked_name()?.to_owned();
        let source = match self.source() {
            InputSource::File(path) => return Ok(vec![self.resolve_file(path, name)?]),
            InputSource::Directory(path) => return self.resolve_directory(path, &name),
            InputSource::Bytes(bytes) => {
                let content = Content::Bytes(bytes.clone());
                ResolvedSource::Upload(Upload { name: name.clone(), content, size: bytes.len() as u64 })
            }
            InputSource::Url(url) => ResolvedSource::Url(url.clone()),
        };
        Ok(vec![ResolvedInput { name, source, executable: self.is_executable() }])
    }

    fn resolve_file(&self, path: &Path, name: String) -> Result<ResolvedInput> {
        let failed = |error| input_io_error(path, error);
        let absolute = path::absolute(path).map_err(failed)?;
        let metadata = fs::metadata(&absolute).map_err(failed)?;
        // Checked before the file is opened: opening a FIFO waits for a writer, and opening a device may do anything.
        if !metadata.is_file() {
            let message = if metadata.is_dir() { "is a directory" } else { "is not a regular file" };
            return Err(input_error(path, message));
        }
        File::open(&absolute).map_err(failed)?;
        let executable = self.is_executable() || metadata.permissions().mode() & 0o111 != 0;
        let upload = Upload { name: name.clone(), content: Content::File(absolute), size: metadata.len() };
        Ok(ResolvedInput { name, source: ResolvedSource::Upload(upload), executable })
    }

    fn resolve_directory(&self, path: &Path, name: &str) -> Result<Vec<ResolvedInput>> {
        if !fs::metadata(path).map_err(|error| input_io_error(path, error))?.is_dir() {
            return Err(input_error(path, "is not a directory"));
        }
        let mut files = Vec::new();
        for entry in WalkDir::new(path).follow_links(true).sort_by_file_name() {
            let entry = entry.map_err(|error| walk_error(path, error))?;
            if entry.file_type().is_dir() {
                continue;
            }
            let below = entry.path().strip_prefix(path).ok().and_then(Path::to_str);
            let Some(below) = below else {
                return Err(input_error(entry.path(), "its name is not UTF-8: rename it"));
            };
            let name = format!("{name}/{below}");
            check_session_name(format_args!("the name of input file {}", entry.path().display()), &name)?;
            files.push(self.resolve_file(entry.path(), name)?);
        }
        Ok(files)
    }
}

/// Converts an error that occurred while reading the directory `path`.
fn walk_error(path: &Path, error: walkdir::Error) -> Error {
    let path = error.path().unwrap_or(path).to_owned();
    match error.loop_ancestor().map(Path::to_owned) {
        Some(ancestor) => input_error(
            &path,
            format!(
                "is a link to {}, a directory that contains it: remove the link, because it makes the directories a loop",
                ancestor.display()
            ),
        ),
        None => match error.into_io_error() {
            Some(error) => input_io_error(&path, error),
            None => input_error(&path, "cannot be read"),
        },
    }
}

/// Returns the absolute form of the path of an input file.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    path::absolute(path).map_err(|error| input_io_error(path, error))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;
    use crate::description::testing::{bad_input, job};

    #[test]
    fn local_files_are_resolved_with_size_and_rights() {
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
        let expected = [(data, "data 1", 5, false), (script, "bin/run", 0, true), (link, "link", 0, true)].map(
            |(path, name, size, executable)| ResolvedInput {
                name: name.into(),
                source: ResolvedSource::Upload(Upload { name: name.into(), content: Content::File(path), size }),
                executable,
            },
        );
        assert_eq!(job.resolve_inputs().unwrap(), expected);
    }

    #[test]
    fn relative_paths_become_absolute() {
        let resolved = job().with_input_file("Cargo.toml").resolve_inputs().unwrap();
        let ResolvedSource::Upload(upload) = &resolved[0].source else { panic!("{resolved:?}") };
        assert_eq!(upload.content, Content::File(std::env::current_dir().unwrap().join("Cargo.toml")));
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
    fn directories_are_resolved_to_their_files() {
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("model");
        fs::create_dir_all(model.join("sub/empty")).unwrap();
        fs::write(model.join("sub/b"), "22").unwrap();
        fs::write(model.join("a"), "1").unwrap();
        std::os::unix::fs::symlink(model.join("a"), model.join("link")).unwrap();
        let names = |job: &JobDescription| -> Vec<String> {
            job.resolve_inputs().unwrap().into_iter().map(|input| input.name).collect()
        };
        assert_eq!(names(&job().with_input_directory(&model)), ["model/a", "model/link", "model/sub/b"]);
        let renamed = job().with_input(InputFile::directory(&model).with_name("x/y"));
        assert_eq!(names(&renamed), ["x/y/a", "x/y/link", "x/y/sub/b"]);

        let same = job().with_input_directory(&model).with_input_file_as(model.join("a"), "model/sub/b");
        assert!(bad_input(same.resolve_inputs()).1.contains("another input file"));
        let below = job().with_input_directory(&model).with_input_file_as(model.join("a"), "model/a/b");
        assert!(bad_input(below.resolve_inputs()).1.contains("\"model/a\" is a file"));
        let output = job().with_input_directory(&model).with_stdout("model/a");
        assert!(bad_input(output.resolve_inputs()).1.contains("own output"));
        let stdin = job().with_input_directory(&model).with_stdin("model/none");
        assert!(stdin.resolve_inputs().unwrap_err().to_string().contains("not among the input files"));

        std::os::unix::fs::symlink(&model, model.join("loop")).unwrap();
        assert!(bad_input(job().with_input_directory(&model).resolve_inputs()).1.contains("loop"));
        fs::remove_file(model.join("loop")).unwrap();
        fs::write(model.join("new\nline"), "").unwrap();
        assert!(job().with_input_directory(&model).resolve_inputs().unwrap_err().to_string().contains("newline"));
        assert!(bad_input(job().with_input_directory(model.join("a")).resolve_inputs()).1.contains("not a directory"));
        assert!(bad_input(job().with_input_directory(model.join("no")).resolve_inputs()).1.contains("exist"));
    }

    #[test]
    fn bytes_are_uploaded_unchanged() {
        let job = job().with_input(InputFile::bytes("a", [0, 1, 255]).with_executable(true));
        let resolved = job.resolve_inputs().unwrap().remove(0);
        assert!(resolved.executable);
        let ResolvedSource::Upload(upload) = resolved.source else { panic!("no upload") };
        let mut read = Vec::new();
        std::io::Read::read_to_end(&mut upload.open().unwrap(), &mut read).unwrap();
        assert_eq!((upload.size, &read[..]), (3, &[0, 1, 255][..]));
        assert!(!format!("{job:?}").contains("255"), "{job:?}");
    }
}
