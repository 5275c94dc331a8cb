//! Reads ADL and xRSL with ARC's own parsers. The tests compare the results with those of this crate's parsers.

use std::time::{Duration, SystemTime};

use super::files::keep_output;
use crate::description::{
    InputFile, JobDescription, Notification, NotificationState, OutputFile, RuntimeEnvironment, invalid,
};
use crate::error::Result;
use crate::ffi::{self, Description, Language, Output, ReadDescription, Runtime};
use crate::util::byte_size::ByteSize;

/// Reads a description with ARC. A value for which [`JobDescription`] has no field is an error.
pub(super) fn read(text: &str, language: Language) -> Result<JobDescription> {
    match ffi::read_descriptions(text, language).map_err(super::from_ffi)?.as_slice() {
        [ReadDescription { description, unsupported }] if unsupported.is_empty() => convert(description),
        others => Err(invalid(format!("ARC reads {others:?}"))),
    }
}

/// Whether ARC percent-decodes local paths, as ARC 7.2 does.
pub(super) fn decodes_paths() -> bool {
    let xrsl = r#"&(executable="/bin/true")(inputfiles=("a" "/%41"))"#;
    read(xrsl, Language::Xrsl).unwrap().inputs()[0] == InputFile::file("/A").with_name("a")
}

fn convert(from: &Description) -> Result<JobDescription> {
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    let number = |number: i32| u32::try_from(number).ok();
    let mib = |number: i32| u64::try_from(number).ok().map(ByteSize::mib);
    let seconds = |number: i32| u64::try_from(number).ok().map(Duration::from_secs);
    let since_1970 = |seconds: i64| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.try_into().ok()?));

    let mut job = JobDescription::new(&from.executable).with_name(&from.name);
    job.args.clone_from(&from.arguments);
    job.description = text(&from.description);
    job.annotations.clone_from(&from.annotations);
    job.envs = from.environment.iter().map(|variable| (variable.name.clone(), variable.value.clone())).collect();
    job.stdin = text(&from.stdin);
    job.stdout = text(&from.stdout);
    job.stderr = text(&from.stderr);
    job.log_directory = text(&from.log_directory);
    job.wall_time = seconds(from.wall_time);
    job.cpu_time = seconds(from.cpu_time);
    job.memory = mib(from.memory);
    job.virtual_memory = mib(from.virtual_memory);
    job.disk = mib(from.disk);
    job.slots = number(from.slots);
    job.slots_per_host = number(from.slots_per_host).filter(|slots| *slots > 0);
    job.processes_per_slot = number(from.processes_per_slot);
    job.threads_per_process = number(from.threads_per_process);
    job.exclusive = number(from.exclusive).map(|yes| yes == 1);
    job.queue = text(&from.queue);
    job.rerun = number(from.rerun);
    job.start_time = since_1970(from.start_time);
    job.life_time = seconds(from.life_time);
    job.priority = number(from.priority);
    for Runtime { name, version, options } in &from.runtimes {
        let rte = RuntimeEnvironment::from_parts(name.clone(), version.clone(), options.clone());
        job.runtime_environments.push(rte);
    }
    for notice in &from.notices {
        let states: Result<Vec<NotificationState>, _> = notice.states.iter().map(|state| state.parse()).collect();
        let states = states.map_err(|error| invalid(error.to_string()))?;
        job.notifications.push(Notification::new(&notice.email, states));
    }
    for input in &from.inputs {
        let file = if input.url.is_empty() { InputFile::file(&input.path) } else { InputFile::url(&input.url) };
        job.inputs.push(file.with_executable(input.executable).with_other_name(&input.name));
    }
    for Output { name, url } in &from.outputs {
        if url.is_empty() {
            keep_output(&mut job, name);
        } else {
            job.outputs.push(OutputFile::file(name).with_url(url));
        }
    }
    Ok(job.with_implied_inputs())
}
