//! Converts a [`JobDescription`] for ARC's library, which writes it as ADL and xRSL and submits it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::description::{
    InputSource, JobDescription, Notification, ResolvedInput, ResolvedSource, RuntimeEnvironment, Upload, absolute,
    invalid,
};
use crate::error::{Error, Result};
use crate::ffi::{Description, Input, Language, Notice, Output, Runtime, Variable};
use crate::util::byte_size::ByteSize;

/// Converts a valid description with these inputs. Rounds sizes up to MiB, ARC's unit.
pub(crate) fn description(job: &JobDescription, inputs: Vec<Input>) -> Description {
    // In the bridge -1 stands for an unset number. Validation has refused numbers above i32::MAX.
    let number = |number: Option<u64>| number.map_or(-1, |number| i32::try_from(number).unwrap_or(i32::MAX));
    let count = |count: Option<u32>| number(count.map(u64::from));
    let mib = |size: Option<ByteSize>| number(size.map(ByteSize::in_mib));
    let seconds = |time: Option<Duration>| number(time.map(|time| time.as_secs()));
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
        name: job.name().into(),
        description: text(job.description()),
        annotations: job.annotations().to_vec(),
        old_ids: Vec::new(),
        executable: job.executable().into(),
        arguments: job.args().to_vec(),
        environment: job.envs().map(variable).collect(),
        inputs,
        outputs: job.distinct_outputs().map(output).collect(),
        stdin: text(job.stdin()),
        stdout: text(job.stdout()),
        stderr: text(job.stderr()),
        wall_time: seconds(job.wall_time()),
        cpu_time: seconds(job.cpu_time()),
        memory: mib(job.memory()),
        virtual_memory: mib(job.virtual_memory()),
        disk: mib(job.disk()),
        slots: count(job.slots()),
        slots_per_host: count(job.slots_per_host()),
        processes_per_slot: count(job.processes_per_slot()),
        threads_per_process: count(job.threads_per_process()),
        exclusive: job.exclusive().map_or(-1, i32::from),
        queue: text(job.queue()),
        runtimes: job.runtime_environments().iter().map(runtime).collect(),
        rerun: count(job.rerun()),
        start_time: job.start_time().and_then(since_1970).unwrap_or(-1),
        life_time: seconds(job.life_time()),
        notices: job.notifications().iter().map(notice).collect(),
        priority: count(job.priority()),
        log_directory: text(job.log_directory()),
        delegation: String::new(),
    }
}

/// Returns the inputs to write in a language. Reads directories, since ARC knows only files, but does not access files.
pub(super) fn inputs_in(job: &JobDescription, language: Language) -> Result<Vec<Input>> {
    let mut inputs = Vec::new();
    for input in job.inputs() {
        let name = input.checked_name()?.to_owned();
        let executable = input.is_executable() || name == job.executable();
        let entry = |path: String, url: String| Input { name: name.clone(), path, url, executable, size: -1 };
        match input.source() {
            InputSource::File(path) => inputs.push(entry(utf8(&absolute(path)?)?, String::new())),
            InputSource::Url(url) => inputs.push(entry(String::new(), url.clone())),
            // ADL contains only the name.
            InputSource::Bytes(_) if language == Language::Adl => inputs.push(entry(format!("/{name}"), String::new())),
            InputSource::Bytes(_) => {
                return Err(invalid(format!(
                    "xRSL cannot express the input file {name:?}, because its content is bytes: use a local file or a URL"
                )));
            }
            InputSource::Directory(_) => inputs.extend(inputs_and_uploads(input.resolve()?)?.0),
        }
    }
    Ok(inputs)
}

/// Returns the inputs for ARC, and the files to upload.
pub(crate) fn inputs_and_uploads(resolved: Vec<ResolvedInput>) -> Result<(Vec<Input>, Vec<Upload>)> {
    let (mut inputs, mut uploads) = (Vec::new(), Vec::new());
    for ResolvedInput { name, source, executable } in resolved {
        let (path, url, size) = match source {
            ResolvedSource::Url(url) => (String::new(), url, -1),
            ResolvedSource::Upload(upload) => {
                let path = utf8(&upload.label())?;
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
    let error = || Error::InputFile { path: path.into(), message: "the path is not UTF-8".into(), source: None };
    path.to_str().map(str::to_owned).ok_or_else(error)
}
