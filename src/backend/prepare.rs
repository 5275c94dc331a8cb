//! Prepares a job for submission.

use crate::description::formats::arc;
use crate::description::{Content, JobDescription, Upload, arex, invalid, urn};
use crate::error::Result;
use crate::ffi::{Description, Input};

/// The name of the file that a job without other uploads waits for, if it is submitted with a commit.
pub(crate) const COMMIT_FILE: &str = ".jasmin-arc-commit";

/// A job that is ready to be submitted.
#[derive(Clone, Debug)]
pub(crate) struct PreparedJob {
    pub(crate) description: Description,
    pub(crate) uploads: Vec<Upload>,
    /// Whether the job needs the user's credentials on the CE.
    pub(crate) delegate: bool,
    /// The key of the submission. Empty until [`set_key`](Self::set_key).
    pub(crate) key: String,
    /// Whether the job must run only after its id has been recorded.
    pub(crate) commit: bool,
}

impl PreparedJob {
    /// Sets the key, with which the job can be found on the CE.
    pub(crate) fn set_key(&mut self, key: &str) {
        self.key = key.into();
        self.description.old_ids = vec![urn(key)];
    }

    /// Makes the job wait for a file that is uploaded after its id has been recorded.
    fn add_commit(&mut self) {
        self.commit = true;
        if self.uploads.is_empty() {
            let content = Content::Bytes((*b"committed\n").into());
            let upload = Upload { name: COMMIT_FILE.into(), content, size: 10 };
            let input =
                Input { name: COMMIT_FILE.into(), path: format!("/{COMMIT_FILE}"), size: 10, ..Input::default() };
            self.description.inputs.push(input);
            self.uploads.push(upload);
        }
    }
}

/// Validates a description, resolves its input files, and escapes characters that the shells of the CE would change.
/// `commit` applies to a job that does not say whether it needs a commit.
pub(crate) fn prepare(job: &JobDescription, commit: bool) -> Result<PreparedJob> {
    let (inputs, uploads) = arc::inputs_and_uploads(job.resolve_inputs()?)?;
    let mut description = arc::description(job, inputs);
    // ARC does not find an input file by a name that begins with `./`.
    let executable = job.plain_executable();
    // The CE would look for it in the session directory, and ARC's client would upload a local file with this name.
    if !executable.starts_with('/') && !description.inputs.iter().any(|input| input.name == executable) {
        return Err(invalid(format!("the executable {executable:?} is neither an absolute path nor an input file")));
    }
    description.executable = executable.into();
    let (arguments, variables) = arex::escape(job.args());
    description.arguments = arguments;
    description.environment.extend(variables);
    let delegate = job.wants_delegation();
    let mut prepared = PreparedJob { description, uploads, delegate, key: String::new(), commit: false };
    if job.commit().unwrap_or(commit) {
        prepared.add_commit();
    }
    Ok(prepared)
}
