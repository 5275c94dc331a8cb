//! The files of a job in ADL and xRSL.

use std::path::Path;

use crate::description::{InputFile, JobDescription, OutputFile, absolute, check_url};
use crate::error::Result;
use crate::util::uri::{arc_url, is_option};

/// Creates the input for a local file that is called `name` in the session directory. The path becomes absolute, unless
/// it is the file `name` in the working directory.
pub(super) fn local_input(path: &Path, name: &str) -> Result<InputFile> {
    let path = absolute(path)?;
    let is_named = !name.is_empty() && path == absolute(Path::new(name))?;
    Ok(if is_named { InputFile::file(name) } else { InputFile::file(path) })
}

/// Adds an output that the CE keeps. Skips the standard streams and the log directory, which the CE keeps in any case.
pub(super) fn keep_output(job: &mut JobDescription, name: &str) {
    if ![job.stdout(), job.stderr(), job.log_directory()].contains(&Some(name)) {
        job.outputs.push(OutputFile::file(name));
    }
}

/// Returns a URL with options in ARC's form. `what` is "input" or "output".
pub(super) fn url_with_options(what: &str, url: &str, options: &[(&str, &str)]) -> Result<String, String> {
    check_url(what, url)?;
    for (name, value) in options {
        if *name == "location" {
            return Err(format!("the location {value:?} is not supported: use the URL of one file"));
        }
        // ARC drops an option without a value.
        if !is_option(name) || !is_option(value) || name.contains('=') {
            return Err(format!("{name}={value} is not an option of a URL"));
        }
    }
    arc_url(url, options.iter().copied()).ok_or_else(|| format!("{url:?} is not a URL"))
}
