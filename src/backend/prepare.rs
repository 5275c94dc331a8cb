//! Prepares a job for submission.

use crate::description::formats::arc;
use crate::description::{JobDescription, Upload, arex, invalid};
use crate::error::Result;
use crate::ffi::Description;

/// A job that is ready to be submitted.
#[derive(Clone, Debug)]
pub(crate) struct PreparedJob {
    pub(crate) description: Description,
    pub(crate) uploads: Vec<Upload>,
    /// Whether the job needs the user's credentials on the CE.
    pub(crate) delegate: bool,
}

/// Validates a description, resolves its input files, and escapes characters that the shells of the CE would change.
pub(crate) fn prepare(job: &JobDescription) -> Result<PreparedJob> {
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
    Ok(PreparedJob { description, uploads, delegate: job.wants_delegation() })
}
