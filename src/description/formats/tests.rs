use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;
use crate::backend::prepare::prepare;
use crate::description::{InputFile, InputSource, Notification, RuntimeEnvironment};
use crate::util::byte_size::ByteSize;

fn apply<T>(
    job: JobDescription,
    value: Option<T>,
    with: impl FnOnce(JobDescription, T) -> JobDescription,
) -> JobDescription {
    match value {
        Some(value) => with(job, value),
        None => job,
    }
}

/// Reads xRSL. ARC must read the same.
#[track_caller]
fn from_xrsl(text: &str) -> Result<JobDescription> {
    let job = JobDescription::from_xrsl(text)?;
    assert_eq!(oracle::read(text, Language::Xrsl).unwrap(), job, "{text}");
    Ok(job)
}

/// Reads ADL. ARC must read the same.
#[track_caller]
fn from_adl(text: &str) -> Result<JobDescription> {
    let job = JobDescription::from_adl(text)?;
    assert_eq!(oracle::read(text, Language::Adl).unwrap(), job, "{text}");
    Ok(job)
}

/// A description as ARC keeps it: sizes in MiB.
fn in_mib(mut job: JobDescription) -> JobDescription {
    for size in [&mut job.memory, &mut job.virtual_memory, &mut job.disk].into_iter().flatten() {
        *size = ByteSize::mib(size.in_mib());
    }
    job
}

/// Text of characters that a language, a shell or ARC may treat specially.
fn text() -> impl Strategy<Value = String> {
    let special: Vec<char> = " <>&'\"]\\;#%$=()^*+|!@,:?.-x1\u{85}\u{2028}é\u{1f30d}".chars().collect();
    prop::collection::vec(prop::sample::select(special), 1..10).prop_map(String::from_iter)
}

/// A name in the session directory.
fn name() -> impl Strategy<Value = String> {
    text().prop_map(|text| format!("n{}", text.trim_end()))
}

fn url() -> impl Strategy<Value = String> {
    (
        "(https|gsiftp|root|srm)",
        "[a-z]{1,8}",
        1..60_000_u16,
        "[a-zA-Z0-9._~-]{1,12}(/[a-z0-9]{1,3}){0,2}",
        any::<bool>(),
    )
        .prop_map(|(scheme, host, port, path, option)| {
            let option = if option { ";cache=no" } else { "" };
            format!("{scheme}://{host}:{port}{option}/{path}")
        })
}

fn maybe<T: Clone + std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    prop::option::of(value)
}

/// Descriptions that both languages can express.
fn job() -> impl Strategy<Value = JobDescription> {
    let texts = (name(), prop::collection::vec(text(), 0..4), prop::collection::btree_map("[A-Z_]{1,4}", text(), 0..3));
    let streams = (maybe("s[a-z]{0,3}"), maybe("e[a-z]{0,3}"), maybe("gm[a-z]{1,4}"), any::<bool>());
    let files = (
        prop::collection::btree_map(name(), maybe(url()), 0..3),
        prop::collection::btree_map(name(), maybe(url()), 0..3),
        any::<bool>(),
    );
    let sizes =
        (maybe(1..5000_u64), maybe(1..5000_u64), maybe(1..100_000_u64), maybe(1..100_000_u64), maybe(1..1_000_000_u64));
    let slots =
        (maybe((1..99_u32, maybe(1..9_u32))), maybe(any::<bool>()), maybe(name()), maybe(1..=100_u32), maybe(0..9_u32));
    let rest = (
        maybe(1..4_000_000_000_u64),
        prop::collection::vec(("[A-Z]{1,3}(/[A-Z]{1,3})?(-[0-9.]{1,4})?", prop::collection::vec(text(), 0..2)), 0..3),
        prop::collection::btree_map("[a-z.]{1,4}@[a-z]{1,4}", prop::sample::subsequence(STATES.to_vec(), 1..=4), 0..3),
    );
    (texts, streams, files, sizes, slots, rest).prop_map(|(texts, streams, files, sizes, slots, rest)| {
        let mut job = JobDescription::new("/opt/<my> & é/program").with_name(texts.0).with_args(texts.1);
        job = texts.2.into_iter().fold(job, |job, (name, value)| job.with_env(name, value.trim()));
        job = apply(job, streams.0, JobDescription::with_stdout);
        job = apply(job, streams.1, JobDescription::with_stderr);
        job = apply(job, streams.2, JobDescription::with_log_directory);
        if streams.3 {
            job = job.without_stderr();
        }
        for (name, url) in files.0 {
            let input = url.map_or_else(|| InputFile::file(format!("/d/{name}")), InputFile::url);
            let input = input.with_other_name(&name);
            job = job.with_input(if files.2 { input.with_executable(true) } else { input });
        }
        for (name, url) in files.1 {
            job = match url {
                Some(url) => job.with_output_file_to(name, url),
                None => job.with_output_file(name),
            };
        }
        job = apply(job, sizes.0.map(ByteSize::mib), JobDescription::with_memory);
        job = apply(job, sizes.1.map(ByteSize::mib), JobDescription::with_disk);
        job = apply(job, sizes.2.map(Duration::from_secs), JobDescription::with_wall_time);
        job = apply(job, sizes.3.map(Duration::from_secs), JobDescription::with_cpu_time);
        job = apply(job, sizes.4.map(Duration::from_secs), JobDescription::with_life_time);
        if let Some((hosts, per_host)) = slots.0 {
            job = apply(job.with_slots(hosts * per_host.unwrap_or(1)), per_host, JobDescription::with_slots_per_host);
            // An ARC-CE reads it only along with the slots per host.
            job = apply(job, slots.1.filter(|_| per_host.is_some()), JobDescription::with_exclusive);
        }
        job = apply(job, slots.2, JobDescription::with_queue);
        job = apply(job, slots.3, JobDescription::with_priority);
        job = apply(job, slots.4, JobDescription::with_rerun);
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        job = apply(job, rest.0.map(at), JobDescription::with_start_time);
        for (name, options) in rest.1 {
            let rte = RuntimeEnvironment::new(name);
            job = job.with_runtime_environment(options.into_iter().fold(rte, RuntimeEnvironment::with_option));
        }
        rest.2.into_iter().fold(job, |job, (email, states)| job.with_notification(Notification::new(email, states)))
    })
}

const STATES: [NotificationState; 4] = [
    NotificationState::Preparing,
    NotificationState::InLrms,
    NotificationState::Finishing,
    NotificationState::Finished,
];

/// The description as ADL expresses it: without local paths.
fn as_adl_has_it(mut job: JobDescription) -> JobDescription {
    let inputs: Vec<InputFile> = job.inputs().to_vec();
    job = serde_json::from_value({
        let mut value = serde_json::to_value(&job).unwrap();
        value.as_object_mut().unwrap().remove("inputs");
        value
    })
    .unwrap();
    inputs.into_iter().fold(job, |job, input| {
        let name = input.name().unwrap().to_owned();
        let local = InputFile::file(&name).with_other_name(&name);
        match (input.source(), input.is_executable()) {
            (InputSource::Url(_), _) => job.with_input(input),
            (_, true) => job.with_input(local.with_executable(true)),
            (_, false) => job.with_input(local),
        }
    })
}

proptest! {
    #[test]
    fn xrsl_means_the_same_to_arc_and_to_us(job in job()) {
        prop_assume!(job.check().is_ok());
        let xrsl = match job.to_xrsl() {
            Ok(xrsl) => xrsl,
            Err(error) => {
                let shown = format!("{job:?}");
                prop_assert!(error.to_string().contains("begins a comment") && shown.contains("(*"), "{}", error);
                return Ok(());
            }
        };
        // ARC 7.2 would read another path.
        let is_decoded = job.inputs().iter().any(|input| input.name().is_some_and(|name| name.contains('%')));
        if !(is_decoded && oracle::decodes_paths()) {
            prop_assert_eq!(oracle::read(&xrsl, Language::Xrsl).unwrap(), job.clone(), "{}", xrsl);
        }
        prop_assert_eq!(JobDescription::from_xrsl(&xrsl).map_err(|error| format!("{error}: {xrsl}")), Ok(job), "{}", xrsl);
    }

    #[test]
    fn adl_means_the_same_to_arc_and_to_us(
        job in job(),
        (prose, annotations) in (maybe(name()), prop::collection::vec(name(), 0..3)),
        (memory, processes, threads) in (maybe(1..9_u64), maybe(1..9_u32), maybe(1..9_u32)),
    ) {
        let mut job = as_adl_has_it(job);
        job = apply(job, prose, JobDescription::with_description);
        job = annotations.into_iter().fold(job, JobDescription::with_annotation);
        job = apply(job, memory.map(ByteSize::mib), JobDescription::with_virtual_memory);
        if job.slots().is_some() {
            job = apply(job, processes, JobDescription::with_processes_per_slot);
            job = apply(job, threads, JobDescription::with_threads_per_process);
        }
        prop_assume!(job.check().is_ok());
        let adl = job.to_adl().unwrap();
        prop_assert_eq!(oracle::read(&adl, Language::Adl).unwrap(), job.clone(), "{}", adl);
        prop_assert_eq!(JobDescription::from_adl(&adl).map_err(|error| format!("{error}: {adl}")), Ok(job), "{}", adl);
    }
}

/// The cases of ARC's own XRSLParserTest.cpp, and its example.
#[test]
fn xrsl_of_arcs_tests_is_read_or_the_error_names_the_attribute() {
    let job = |rest: &str| from_xrsl(&format!(r#"&(executable="/bin/true"){rest}"#));
    let good = [
        (r#"(inputfiles=("in1" "gsiftp://example.com/in1" "threads=5"))"#, "gsiftp://example.com:2811;threads=5/in1"),
        (r#"(inputfiles=("in1" "gsiftp://h/in1"))(cache=copy)"#, "gsiftp://h:2811;cache=copy/in1"),
        (r#"(inputfiles=("in1" "gsiftp://h/in1"))(ftpthreads=5)"#, "gsiftp://h:2811;threads=5/in1"),
    ];
    for (rest, url) in good {
        let job = job(rest).unwrap();
        assert_eq!(job.inputs()[0].source(), &InputSource::Url(url.into()));
    }
    assert_eq!(
        job(r#"(inputfiles=("in1" ""))(executables="in1")"#).unwrap().inputs(),
        [InputFile::file("in1").with_executable(true)]
    );
    assert_eq!(job("(queue=q1)").unwrap().queue(), Some("q1"));
    let notified = job(r#"(notify="bqfedc a@example.com" "bqf a@example.com b@example.com")"#).unwrap();
    assert_eq!(
        notified.notifications().iter().map(|notification| notification.states().len()).collect::<Vec<_>>(),
        [6, 3]
    );
    assert_eq!(
        job(r#"(notify="a@example.com")"#).unwrap().notifications()[0].states(),
        [NotificationState::Preparing, NotificationState::Finished]
    );
    let joined = job(r#"(stdout="o")(join="yes")"#).unwrap();
    assert_eq!((joined.stdout(), joined.stderr()), (Some("o"), Some("o")));
    assert_eq!(job("").unwrap().stdout(), None);
    let slots = job(r#"(count=8)(countpernode=4)(exclusiveexecution="yes")"#).unwrap();
    assert_eq!((slots.slots(), slots.slots_per_host(), slots.exclusive()), (Some(8), Some(4), Some(true)));
    let rte = job(r#"(runTimeEnvironment="RTE-1.2.3" "option1" "option2")"#).unwrap();
    assert_eq!(
        rte.runtime_environments(),
        [RuntimeEnvironment::new("RTE-1.2.3").with_option("option1").with_option("option2")]
    );
    let example = from_xrsl(
        r#"&
        (executable = "/bin/echo")
        (arguments = "Hello World")
        (stdout = "std.out")
        (join = "yes")(* Join stdout and stderr into stdout*)
        (cputime = 1)
        (jobname = "Hello World")
        (gmlog = "joblog")(* Grid manager log files should be included when retrieving job results (arcget) *)"#,
    );
    let expected = JobDescription::new("/bin/echo")
        .with_name("Hello World")
        .with_arg("Hello World")
        .with_joined_output("std.out")
        .with_cpu_time(Duration::from_secs(60))
        .with_log_directory("joblog");
    assert_eq!(example.unwrap(), expected);
    assert_eq!(JobDescription::parse_all("+(&(executable=/bin/exe1))(&(executable=/bin/exe2))").unwrap().len(), 2);

    for (rest, why) in [
        (r#"(inputfiles=("in1" "lfc://h/in1" "location=gsiftp://h/in1" "threads=5"))"#, "use the URL of one file"),
        (r#"(inputfiles=("in1" "gsiftp://example.com/in1" "threads"))"#, "threads"),
        (r#"(outputfiles=("o" "lfc://h/o" "checksum=md5" "location=gsiftp://h/o"))"#, "use the URL of one file"),
        (r#"(|(executables="in1")(executables="in2"))(inputfiles=("in1" "") ("in2" ""))"#, "alternatives"),
        (r#"(executables="non-existing")(inputfiles=("in1" ""))"#, "non-existing"),
        ("(queue!=q1)", "queue must have the operator ="),
        (r#"(inputfiles=("in" "gsiftp://h/in"))(ftpthreads=20)"#, "ftpthreads"),
        (r#"(notify="someoneAexample.com")"#, "notify"),
        (r#"(notify="xyz someone@example.com")"#, "notify"),
        (r#"(dryrun="yes")"#, "dryrun"),
        (r#"(stderr="e")(join="yes")"#, "join"),
        (r#"(stdout="o")(stderr="e")(join="yes")"#, "join"),
        ("(gridtime=600s)", "gridtime"),
        ("(gridtime=600s)(cputime=5s)", "gridtime"),
        (r#"(acl='<?xml version="1.0"?><a>b</a>')"#, "acl"),
        (r#"(count="eight")"#, "count"),
        (r#"(countpernode="4")"#, "count"),
        (r#"(exclusiveexecution="yes-thank-you")"#, "exclusiveexecution"),
        ("(cluster=c)", "cluster"),
        ("(architecture=x86_64)", "architecture"),
        (r#"(middleware>="nordugrid-arc-0.3")"#, "middleware"),
        (r#"(runtimeenvironment>="A-1")"#, "runtimeenvironment must have the operator ="),
        ("(maxcputime=1)", "maxcputime"),
        ("(nonsense=1)", "nonsense"),
        ("(walltime=1", ""),
    ] {
        let error = job(rest).unwrap_err().to_string();
        assert!(error.starts_with("invalid job description: ") && error.contains(why), "{rest}: {error}");
    }
    let error = JobDescription::from_xrsl("+(&(executable=/a))(&(executable=/b))").unwrap_err().to_string();
    assert!(error.contains("describes 2 jobs"), "{error}");
}

/// The cases of ARC's own ADLParserTest.cpp.
#[test]
fn adl_of_arcs_tests_is_read_or_the_error_names_the_element() {
    let adl = |parts: &str| {
        from_adl(&format!(
            r#"<?xml version="1.0"?><adl:ActivityDescription xmlns:adl="http://www.eu-emi.eu/es/2010/12/adl"
               xmlns:nordugrid-adl="http://www.nordugrid.org/es/2011/12/nordugrid-adl">{parts}</adl:ActivityDescription>"#
        ))
    };
    let job = |more: &str| {
        adl(&format!("<adl:Application><adl:Executable><adl:Path>/bin/true</adl:Path></adl:Executable>{more}"))
    };
    let application = |more: &str| job(&format!("{more}</adl:Application>"));
    let staging = |more: &str| job(&format!("</adl:Application><adl:DataStaging>{more}</adl:DataStaging>"));

    let local = adl("<adl:Application><adl:Executable><adl:Path>my-executable</adl:Path><adl:Argument>Hello\
                     </adl:Argument><adl:Argument>World</adl:Argument></adl:Executable></adl:Application>");
    assert_eq!(
        local.unwrap(),
        JobDescription::run_local("my-executable")
            .with_args(["Hello", "World"])
            .with_name("")
            .without_stdout()
            .without_stderr()
    );
    let stdin = application("<adl:Input>standard-emi-input</adl:Input>").unwrap();
    assert_eq!(
        (stdin.stdin(), stdin.inputs()),
        (Some("standard-emi-input"), &[InputFile::file("standard-emi-input")][..])
    );
    assert_eq!(application("<adl:Output>o</adl:Output>").unwrap().stdout(), Some("o"));
    assert_eq!(
        application("<adl:LoggingDirectory>job-log</adl:LoggingDirectory>").unwrap().log_directory(),
        Some("job-log")
    );
    let inputs = "<adl:InputFile><adl:Name>a</adl:Name></adl:InputFile><adl:InputFile><adl:Name>b</adl:Name>\
                  <adl:IsExecutable>true</adl:IsExecutable></adl:InputFile><adl:InputFile><adl:Name>c</adl:Name>\
                  <adl:Source><adl:URI>https://h/x</adl:URI></adl:Source></adl:InputFile>";
    assert_eq!(
        staging(inputs).unwrap().inputs(),
        [
            InputFile::file("a"),
            InputFile::file("b").with_executable(true),
            InputFile::url("https://h:443/x").with_name("c")
        ]
    );
    let output = "<adl:OutputFile><adl:Name>o</adl:Name><adl:Target><adl:URI>https://h/x</adl:URI><adl:Option>\
                  <adl:Name>overwrite</adl:Name><adl:Value>yes</adl:Value></adl:Option></adl:Target></adl:OutputFile>";
    assert_eq!(staging(output).unwrap().outputs()[0].url(), Some("https://h:443;overwrite=yes/x"));

    let target = |more: &str| {
        staging(&format!(
            "<adl:OutputFile><adl:Name>o</adl:Name><adl:Target><adl:URI>lfc://h/x</adl:URI>{more}</adl:Target></adl:OutputFile>"
        ))
    };
    let source = "<adl:Source><adl:URI>https://h/x</adl:URI></adl:Source>";
    for (read, why) in [
        (adl(""), "executable is empty"),
        (
            adl("<adl:ActivityIdentification><adl:Type>single</adl:Type></adl:ActivityIdentification>"),
            "ActivityIdentification/Type",
        ),
        (
            adl(
                "<adl:ActivityIdentification><nordugrid-adl:ActivityOldID>x</nordugrid-adl:ActivityOldID></adl:ActivityIdentification>",
            ),
            "ActivityOldID",
        ),
        (application("<adl:PreExecutable><adl:Path>p</adl:Path></adl:PreExecutable>"), "Application/PreExecutable"),
        (application("<adl:PostExecutable><adl:Path>p</adl:Path></adl:PostExecutable>"), "Application/PostExecutable"),
        (
            application("<adl:RemoteLogging><adl:ServiceType>SGAS</adl:ServiceType></adl:RemoteLogging>"),
            "Application/RemoteLogging",
        ),
        (application("<adl:Executable><adl:Path>/b</adl:Path></adl:Executable>"), "Executable appears twice"),
        (
            application("<adl:WipeTime optional=\"true\">P1D</adl:WipeTime>"),
            "attribute optional of Application/WipeTime",
        ),
        (application("<adl:Rerun>x"), "line"),
        (
            adl("<adl:Application><adl:Executable><adl:Path>/b</adl:Path><adl:FailIfExitCodeNotEqualTo>104\
              </adl:FailIfExitCodeNotEqualTo></adl:Executable></adl:Application>"),
            "Executable/FailIfExitCodeNotEqualTo",
        ),
        (adl("<adl:Resources><adl:Benchmark/></adl:Resources>"), "Resources/Benchmark"),
        (adl("<adl:Resources><adl:WallTime>soon</adl:WallTime></adl:Resources>"), "WallTime"),
        (
            staging(&format!("<adl:InputFile><adl:Name>a</adl:Name>{source}{source}</adl:InputFile>")),
            "Source appears twice",
        ),
        (
            staging(
                "<adl:InputFile><adl:Name>a</adl:Name><adl:Source><adl:URI>https://h/x</adl:URI><adl:DelegationID>1\
                  </adl:DelegationID></adl:Source></adl:InputFile>",
            ),
            "Source/DelegationID",
        ),
        (target("<adl:UseIfFailure>true</adl:UseIfFailure>"), "UseIfFailure"),
        (target("<adl:Mandatory>true</adl:Mandatory>"), "Mandatory"),
        (
            target("<adl:Option><adl:Name>location</adl:Name><adl:Value>https://h/y</adl:Value></adl:Option>"),
            "use the URL of one file",
        ),
        (JobDescription::from_adl("<JobDefinition/>"), "JobDefinition is not the root"),
        (JobDescription::from_adl("<ActivityDescription><x/></ActivityDescription>"), "namespace"),
        (JobDescription::parse("<x/>"), "x is the root of neither"),
        (JobDescription::parse("executable=/bin/true"), "neither JSDL nor ADL"),
        (JobDescription::parse(""), "neither JSDL nor ADL"),
    ] {
        let error = read.unwrap_err().to_string();
        assert!(error.starts_with("invalid job description: ") && error.contains(why), "{error}: not {why:?}");
    }
}

#[test]
fn settings_that_a_language_cannot_express_are_refused() {
    let job = || JobDescription::new("/bin/true");
    let adl = |job: JobDescription| job.to_adl().map_err(|error| error.to_string());
    let xrsl = |job: JobDescription| job.to_xrsl().map_err(|error| error.to_string());
    for (result, why) in [
        (adl(job().with_project("p")), "project"),
        (adl(job().with_delegation(Delegation::Always)), "ADL cannot express whether credentials"),
        (adl(job().with_notification(Notification::new("a@b", [NotificationState::Canceling]))), "CANCELING"),
        (adl(job().with_input_url("lfc://gsiftp://h/x@h/x")), "port"),
        (adl(job().with_input_url("https://me:secret@h/x")), "contains a password"),
        (xrsl(job().with_project("p")), "project"),
        (xrsl(job().with_delegation(Delegation::Never)), "xRSL cannot express whether credentials"),
        (xrsl(job().with_description("d")), "a description"),
        (xrsl(job().with_annotation("a")), "annotations"),
        (xrsl(job().with_virtual_memory(ByteSize::mib(1))), "virtual memory"),
        (xrsl(job().with_slots(1).with_processes_per_slot(1)), "processes per slot"),
        (xrsl(job().with_slots(1).with_threads_per_process(1)), "threads per process"),
        (xrsl(job().with_input_bytes("a", "x")), "input file \"a\""),
    ] {
        assert!(result.as_ref().is_err_and(|error| error.contains(why)), "{result:?}: not {why:?}");
    }
}

#[test]
fn errors_name_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("job");
    for (content, why) in [(None, "No such file"), (Some(&b"nonsense"[..]), "neither"), (Some(b"<\xff"), "UTF-8")] {
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let error = JobDescription::from_file(&path).unwrap_err();
        let error = format!("{:#}", anyhow::Error::from(error));
        assert!(error.contains(&path.display().to_string()) && error.contains(why), "{error}");
    }
    // Opening a FIFO would wait for a writer.
    let fifo = directory.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    for path in [directory.path(), &fifo] {
        assert!(JobDescription::from_file(path).unwrap_err().to_string().contains("not a regular file"));
    }
    File::create(&path).unwrap().set_len(MAX_FILE_LENGTH + 1).unwrap();
    assert!(JobDescription::from_file(&path).unwrap_err().to_string().contains("longer than 16 MiB"));
}

fn plain() -> JobDescription {
    JobDescription::new("/bin/true")
}

#[test]
fn settings_that_no_ce_accepts_are_refused() {
    let state =
        |state| plain().with_notification(Notification::new("me@example.org", [NotificationState::Finished, state]));
    for (bad, why) in [
        (plain().with_project("climate"), "project"),
        (state(NotificationState::Canceling), "CANCELING"),
        (state(NotificationState::Deleted), "DELETED"),
        (plain().with_slots(2).with_exclusive(true), "needs slots_per_host"),
    ] {
        for error in [prepare(&bad, false).unwrap_err(), bad.to_adl().unwrap_err()] {
            let is_right = matches!(&error, Error::InvalidJobDescription { .. }) && error.to_string().contains(why);
            assert!(is_right, "{error}");
        }
    }
}

#[test]
fn settings_that_a_ce_would_lose_are_refused() {
    for (bad, why) in [
        (plain().with_name("a\nb"), "name has a newline"),
        (plain().with_description("a\nb"), "description has a newline"),
        (plain().with_annotation("a").with_annotation("b\n"), "annotation has a newline"),
        (plain().with_life_time(Duration::from_secs(3600)), "life_time"),
    ] {
        bad.to_adl().unwrap();
        let error = prepare(&bad, false).unwrap_err();
        let is_right = matches!(&error, Error::InvalidJobDescription { .. }) && error.to_string().contains(why);
        assert!(is_right, "{error}");
    }
}

/// A-REX divides by the slots per host (`ARexJob::make_new_job`): 0 of them would crash it.
#[test]
fn exclusive_jobs_have_slots_per_host() {
    let slots = |job: JobDescription| {
        let adl = job.to_adl().unwrap();
        let (_, requirement) = adl.split_once("<SlotRequirement>")?;
        let (requirement, _) = requirement.split_once("</SlotRequirement>")?;
        Some(requirement.split_whitespace().collect::<String>())
    };
    let expected = |slots: u32, exclusive: &str| {
        let counts = format!("<NumberOfSlots>{slots}</NumberOfSlots><SlotsPerHost>1</SlotsPerHost>");
        Some(format!("{counts}<ExclusiveExecution>{exclusive}</ExclusiveExecution>"))
    };
    assert_eq!(slots(plain().with_exclusive(true)), expected(1, "true"));
    assert_eq!(slots(plain().with_exclusive(true).with_slots(1)), expected(1, "true"));
    assert_eq!(slots(plain().with_exclusive(true).with_slots(2).with_slots_per_host(1)), expected(2, "true"));
    assert_eq!(slots(plain().with_exclusive(false).with_slots(2).with_slots_per_host(1)), expected(2, "false"));
    assert_eq!(slots(plain().with_exclusive(false)), None);
}

#[test]
fn adl_names_each_output_so_that_all_of_it_is_kept() {
    let names = |job: JobDescription| {
        let adl = job.to_adl().unwrap();
        let file = |text: &str| {
            let (_, name) = text.split_once("<Name>").unwrap();
            let name = name.split("</Name>").next().unwrap().to_owned();
            if text.contains("<Target>") { name + ">" } else { name }
        };
        adl.split("<OutputFile>").skip(1).map(file).collect::<Vec<_>>()
    };
    let url = "https://example.org/a";
    let inside = plain().with_input_bytes("logs/x", "").with_stdout("logs/out").without_stderr();
    assert_eq!(names(inside.clone().with_output_file("logs/")), ["logs"]);
    assert_eq!(names(inside.with_output_file("logs/o")), ["logs/o", "logs/out"]);
    let both = plain().without_stderr().with_output_file_to("a", url).with_output_file("a");
    assert_eq!(names(both), ["a>", "a", "stdout.txt"]);
    let uploaded = plain().without_stderr().with_output_file_to("stdout.txt", url);
    assert_eq!(names(uploaded), ["stdout.txt>", "stdout.txt"]);
}

const XRSL: &str = r#"&(executable="/bin/true")(arguments="a" 'b''c' d)(jobname="n")(inputfiles=("a" "")("b" "https://h/b" "cache=no"))
    (outputfiles=("o" "")("p" "gsiftp://h/p"))(environment=("A" "b"))(notify="be a@b")(starttime="20301122120000")
    (walltime="1 hour 5 minutes")(memory=100)(count=4)(countpernode=2)(exclusiveexecution=yes)(join=yes)(stdout=x)
    (runtimeenvironment="A-1" "x")(lifetime=P1DT2H)(executables="a")(cache=yes)(* c *)(queue=q)(priority=3)(rerun=1)"#;

const ADL: &str = r#"<?xml version="1.0" encoding="UTF-8"?><ActivityDescription xmlns="http://www.eu-emi.eu/es/2010/12/adl"
    xmlns:n="http://www.nordugrid.org/es/2011/12/nordugrid-adl"><ActivityIdentification><Name>n</Name></ActivityIdentification>
    <Application><Executable><Path>/bin/true</Path><Argument>a<![CDATA[<b]]>c</Argument></Executable><Output>o</Output>
    <Environment><Name>A</Name><Value>b</Value></Environment><n:Rerun>1</n:Rerun><n:Priority>2</n:Priority>
    <n:StartTime>20301122120000Z</n:StartTime><WipeTime>P1D</WipeTime><Notification><Protocol>email</Protocol>
    <Recipient>a@b</Recipient><OnState>TERMINAL</OnState></Notification></Application><Resources>
    <IndividualPhysicalMemory>1048576</IndividualPhysicalMemory><SlotRequirement><NumberOfSlots>2</NumberOfSlots>
    <SlotsPerHost>1</SlotsPerHost><ExclusiveExecution>true</ExclusiveExecution></SlotRequirement><WallTime>60</WallTime></Resources>
    <DataStaging><InputFile><Name>a</Name><Source><URI>https://h/a</URI></Source><IsExecutable>true</IsExecutable></InputFile>
    <OutputFile><Name>o</Name><Target><URI>gsiftp://h/o</URI></Target></OutputFile></DataStaging></ActivityDescription>"#;

#[test]
fn samples_are_read() {
    assert_eq!(JobDescription::from_adl(ADL).unwrap().args(), ["a<bc"]);
    // ARC reads CDATA as nothing.
    let _ = from_adl(&ADL.replace("<![CDATA[<b]]>", "&lt;b")).unwrap();
    assert_eq!(from_xrsl(XRSL).unwrap().args(), ["a", "b'c", "d"]);
}

#[test]
fn local_paths_are_read_literally_in_xrsl_and_decoded_in_adl() {
    let xrsl = |place: &str| {
        let xrsl = format!(r#"&(executable="/bin/true")(inputfiles=("n%" "{place}"))(arguments="a" "/%")"#);
        JobDescription::from_xrsl(&xrsl).map(|job| job.inputs()[0].clone()).map_err(|error| error.to_string())
    };
    let file = |path: &str| Ok(InputFile::file(path).with_other_name("n%"));
    assert_eq!(xrsl("/d/50%"), file("/d/50%"));
    assert_eq!(xrsl("file:///d/%41"), file("/d/%41"));
    assert_eq!(xrsl("srm://h/a%20b"), Ok(InputFile::url("srm://h/a%20b").with_name("n%")));
    assert_eq!(xrsl(""), file("n%"));
    let directory = std::env::current_dir().unwrap();
    assert_eq!(xrsl("a b"), file(directory.join("a b").to_str().unwrap()));
    assert_eq!(xrsl(directory.join("n%").to_str().unwrap()), file("n%"));
    for place in ["a:b", "#a", "@a", "file:a", "FILE:///a"] {
        let error = xrsl(place).unwrap_err();
        assert!(error.contains("inputfiles") && error.contains(place), "{error}");
    }

    let adl = |uri: &str| {
        let source = format!("<Source><URI>{uri}</URI></Source>");
        let adl = ADL.replace("<Source><URI>https://h/a</URI></Source>", &source);
        JobDescription::from_adl(&adl).map(|job| job.inputs()[0].source().clone()).map_err(|error| error.to_string())
    };
    assert_eq!(adl("file:///d/a%20b"), Ok(InputSource::File("/d/a b".into())));
    for (uri, why) in [("file:///%", "Source/URI"), ("file://h/a", "another host"), ("gone", "Source/URI")] {
        let error = adl(uri).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn options_of_urls_are_read() {
    let job = |rest: &str| from_xrsl(&format!(r#"&(executable="/bin/true"){rest}"#));
    let all = r#"(inputfiles=("a" "https://h;cache=no/a" "b=c")("x" "https://h/x"))(executables="x")
        (outputfiles=("o" "gsiftp://h/o"))(cache=yes)(ftpthreads=3)"#;
    let job_with_all = job(all).unwrap();
    let urls: Vec<_> = job_with_all.inputs().iter().map(InputFile::source).collect();
    let expected = ["https://h:443;b=c;cache=yes;threads=3/a", "https://h:443;threads=3/x"];
    assert_eq!(urls, expected.map(|url| InputSource::Url(url.into())).iter().collect::<Vec<_>>());
    assert_eq!(job_with_all.outputs()[0].url(), Some("gsiftp://h:2811;threads=3/o"));
    // ARC drops the first two, and the third would end the host.
    for option in ["=b", "a=", "a=b/c"] {
        let error = job(&format!(r#"(inputfiles=("a" "https://h/a" "{option}"))"#)).unwrap_err().to_string();
        assert!(error.contains(&format!("{option} is not an option of a URL")), "{error}");
    }
}

#[test]
fn start_times_without_a_zone_are_local_as_in_arc() {
    for time in ["20301122120000", "2030-07-01 12:00:00", "2030-07-01T12:00:00+02:00", "20300701120000Z"] {
        let _ = from_xrsl(&format!(r#"&(executable="/bin/true")(starttime="{time}")"#)).unwrap();
    }
}

/// ARC's parsers crash, or keep a lock for ever, on these texts.
#[test]
fn texts_that_break_arc_are_refused() {
    let deep = "&(".repeat(50_000);
    let doubled = "(rsl_substitution=(\"A1\" $(A0)#$(A0)))".repeat(30);
    for text in [
        r#"&(executable=/bin/a)(starttime="20-01")"#,
        "&(executable=^x",
        r##"&(inputfiles=("a" "b"#))"##,
        r#"&(executable=/bin/a)(notify=" ")"#,
        r#"&(executable=/bin/a)(notify="")"#,
        &deep,
        &format!("&{doubled}"),
    ] {
        assert!(JobDescription::from_xrsl(text).is_err());
    }
    let started = ADL.replace("20301122120000Z", "20-01");
    assert!(JobDescription::from_adl(&started).is_err());
    // ARC still works.
    assert!(JobDescription::from_adl(ADL).is_ok() && plain().to_adl().is_ok());
}

proptest! {
    #[test]
    fn damaged_texts_are_refused_or_mean_the_same_to_arc(
        is_adl in any::<bool>(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), "\\PC{0,3}|[()\"'^$#=&|+<>/!@0-9-]{0,4}", any::<bool>()), 1..4),
    ) {
        let mut text: Vec<char> = if is_adl { ADL } else { XRSL }.chars().collect();
        for (from, length, put, is_doubled) in cuts {
            let from = from.index(text.len().max(1)).min(text.len());
            let to = (from + length.index(12)).min(text.len());
            let cut: Vec<char> = text.splice(from..to, put.chars()).collect();
            if is_doubled {
                text.splice(from..from, cut.iter().chain(&cut).copied());
            }
        }
        let text = String::from_iter(text);
        if let Ok(job) = JobDescription::parse(&text) {
            prop_assert!(job.check().is_ok());
            // Not the text itself, which may crash ARC.
            let (text, language) = match Element::parse(text.trim_start()) {
                Ok(root) => (root.to_document(&adl::NAMESPACES), Language::Adl),
                Err(_) => (xrsl::write(&xrsl::parse(&text).unwrap()[0]), Language::Xrsl),
            };
            if let Ok(read) = oracle::read(&text, language) {
                prop_assert_eq!(read, in_mib(job), "{}", text);
            }
        }
    }
}
