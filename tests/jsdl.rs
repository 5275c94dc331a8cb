//! JSDL: written documents are valid by the standard's schemas, documents of others are read, and every document is read
//! back as it was written or refused. The schemas are checked by xmllint (Debian: libxml2-utils), because the crate's own
//! code should not be the judge of its output.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output};

use std::ops::Range;
use std::time::{Duration, SystemTime};

use jasmin_arc::{
    ByteSize, Delegation, Error, InputFile, JobDescription, Notification, NotificationState, RuntimeEnvironment,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};

const POSIX: &str = "<posix:POSIXApplication>";
const POSIX_END: &str = "</posix:POSIXApplication>";
const POSIX_ALONE: &str = r#"<posix:POSIXApplication xmlns:posix="http://schemas.ggf.org/jsdl/2005/11/jsdl-posix">"#;

fn xmllint(args: &[&str], document: &str) -> Output {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, document).unwrap();
    Command::new("xmllint").arg("--nonet").args(args).arg(file.path()).output().expect("xmllint runs")
}

fn validate(schema: &str, document: &str) {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jsdl").join(schema);
    let output = xmllint(&["--noout", "--schema", schema.to_str().unwrap()], document);
    assert!(output.status.success(), "{}\n{document}", String::from_utf8_lossy(&output.stderr));
}

/// Checks the POSIX application by its own schema as well: jsdl.xsd accepts any application.
fn validate_both(jsdl: &str) {
    validate("jsdl.xsd", jsdl);
    let (_, posix) = jsdl.split_once(POSIX).unwrap();
    let (posix, _) = posix.split_once(POSIX_END).unwrap();
    validate("jsdl-posix.xsd", &format!("{POSIX_ALONE}{posix}{POSIX_END}"));
}

#[test]
#[ignore = "needs xmllint"]
fn broken_documents_do_not_pass_the_schemas() {
    let jsdl = JobDescription::new("/bin/true").with_output_file("a").to_jsdl().unwrap();
    validate_both(&jsdl);
    for (good, bad) in [
        ("<CreationFlag>overwrite</CreationFlag>", ""),
        ("<posix:Output>stdout.txt</posix:Output>", "<posix:Output>a</posix:Output><posix:Output>b</posix:Output>"),
    ] {
        let broken = jsdl.replace(good, bad);
        assert_ne!(broken, jsdl);
        std::panic::catch_unwind(|| validate_both(&broken)).expect_err("a broken document passed");
    }
}

#[test]
#[ignore = "needs xmllint"]
fn documents_pass_the_schemas() {
    let odd = Path::new(OsStr::from_bytes(b"//tmp/../a b/\xff%\n[x]?#:@&;"));
    let full = JobDescription::new("/bin/<s h>&é")
        .with_name("")
        .with_args(["", " ", "a\tb\nc\r\nd", "<&>]]>\"'", "\u{1f30d}"])
        .with_input_file("relative")
        .with_input_file_as(odd, "dir/\rname \u{10ffff}")
        .with_output_file("results/")
        .with_output_file("é");
    validate_both(&full.to_jsdl().unwrap());
    validate_both(&JobDescription::new("x").to_jsdl().unwrap());
    validate_both(&everything().to_jsdl().unwrap());
}

#[test]
#[ignore = "needs xmllint"]
fn another_parser_reads_the_same() {
    let text = " \ta\r\nb\rc\n <&>]]>\"'\\ \u{85}\u{1f30d} ";
    // A file name has no line feed.
    let line = &text.replace('\n', "");
    let jsdl = JobDescription::new("x").with_name(text).with_arg(text).with_output_file(line).to_jsdl().unwrap();
    for (element, text) in [("JobName", text), ("Argument", text), ("FileName", line)] {
        let output = xmllint(&["--xpath", &format!("string(//*[local-name()='{element}'])")], &jsdl);
        // xmllint ends what it prints with a line feed of its own.
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{text}\n"), "{element}");
    }
}

proptest! {
    // Each case runs xmllint twice.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    #[ignore = "needs xmllint"]
    fn documents_of_all_descriptions_pass_the_schemas(job in description()) {
        validate_both(&job.to_jsdl().unwrap());
    }

    #[test]
    #[ignore = "needs xmllint"]
    fn urls_are_refused_or_pass_the_schemas(url in "[a-z]{1,2}://[a-z0-9:;@%/?#|\\[\\]é^=&.-]{1,12}") {
        let job = JobDescription::new("/bin/true").with_input(InputFile::url(&url).with_name("a"));
        let job = job.with_output_file_to("b", &url);
        match job.to_jsdl() {
            Ok(jsdl) => validate_both(&jsdl),
            Err(error) => {
                let error = error.to_string();
                prop_assert!(error.contains(&format!("{url:?}")) || error.contains("contains a password"), "{error}");
            }
        }
    }
}

/// Text of the characters that XML 1.0 has.
fn text() -> impl Strategy<Value = String> {
    let special: Vec<char> = "\t\n\r <>&'\"]]>\\;#%$x\u{85}\u{2028}é\u{1f30d}".chars().collect();
    let any = any::<char>().prop_filter(
        "not in XML",
        |c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..),
    );
    let character = prop_oneof![3 => select(special), 1 => any];
    vec(character, 0..12).prop_map(String::from_iter)
}

/// A description with every setting that JSDL can express, and with every kind of file.
fn everything() -> JobDescription {
    let states = [NotificationState::Preparing, NotificationState::Deleted];
    JobDescription::new("bin/run")
        .with_name("a <name>")
        .with_description("two\r\nlines ")
        .with_annotation("")
        .with_annotation("run 7")
        .with_project("climate")
        .with_args(["-n", " ", ""])
        .with_env("A", "")
        .with_env("_b2", " x\t\"y\" ")
        .with_stdin("model/grid")
        .with_stdout("output")
        .with_stderr("output")
        .with_input(InputFile::file("/home/me/a").with_name("bin/run").with_executable(true))
        .with_input_file("/data/b.nc")
        .with_input_directory("/home/me/model")
        .with_input(InputFile::directory("/").with_name("all"))
        .with_input_url("gsiftp://example.org:2811;threads=5;cache=no/c;d")
        .with_output_file("map.png")
        .with_output_file("map.png")
        .with_output_file("logs/")
        .with_output_file("output")
        .with_output_file_to("map.png", "https://example.org/maps?a=1&b=2")
        .with_wall_time(Duration::from_secs(1))
        .with_cpu_time(Duration::from_secs(i32::MAX as u64))
        .with_memory(ByteSize::new(1))
        .with_virtual_memory(ByteSize::new(9_007_199_254_740_993 / 8))
        .with_disk(ByteSize::mib(i32::MAX as u64))
        .with_slots(8)
        .with_slots_per_host(4)
        .with_threads_per_process(2)
        .with_exclusive(false)
        .with_queue("short-serial")
        .with_runtime_environment(RuntimeEnvironment::new("ENV/PROXY"))
        .with_runtime_environment(RuntimeEnvironment::new("APPS/X-1.2-3"))
        .with_rerun(0)
        .with_start_time(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000))
        .with_life_time(Duration::from_secs(86_400))
        .with_notification(Notification::new("me@example.org", states))
        .with_notification(Notification::new("you@example.org", [NotificationState::InLrms]))
        .with_priority(100)
        .with_log_directory("gmlog")
}

/// Valid descriptions that JSDL can express, in the form in which they are read: with absolute paths, and with a name of
/// its own for an input only where it differs from the last name in the path or URL.
fn description() -> impl Strategy<Value = JobDescription> {
    let texts = (text(), prop::option::of(text()), vec(text(), 0..3), prop::option::of(text()), vec(text(), 0..5));
    // Validation refuses some characters in values, which an ARC-CE loses.
    let value = text().prop_map(|text| text.replace(['\\', '\n', '\r'], "_"));
    let environment = btree_map("V_[A-Z0-9_]{0,5}", value, 0..4);
    let streams = (0..4_u8, prop::option::of("o[a-zé+,@%]{0,4}"), prop::option::of("o[a-zé+,@%]{0,4}"), any::<bool>());
    let files = (vec(input(), 0..6), vec(output(), 0..6));
    let most = i32::MAX as u32;
    let time = move || prop::option::of((1..=u64::from(most)).prop_map(Duration::from_secs));
    let size = move || prop::option::of((1..=u64::from(most) << 20).prop_map(ByteSize::new));
    let amounts = (time(), time(), time(), size(), size(), size());
    let count = move || prop::option::of(1..=most);
    let slots = prop::option::of((1..99_u32, prop::option::of(1..99_u32), count()));
    let start = prop::option::of(1..=253_402_300_799_u64);
    let requests =
        (slots, prop::option::of(any::<bool>()), prop::option::of(text()), start, prop::option::of(0..=most));
    let states =
        btree_set(0..6_usize, 1..=6).prop_map(|states| states.into_iter().map(|n| STATES[n]).collect::<Vec<_>>());
    let notifications = btree_map("[a-z<&]{1,3}@[a-z.]{1,5}", states, 0..=3);
    let rtes = vec("[A-Z/]{1,6}(-[0-9][a-z0-9.-]{0,4})?", 0..3);
    let rest = (notifications, rtes, prop::option::of(1..=100_u32));
    (texts, environment, streams, files, amounts, requests, rest)
        .prop_map(
            |(texts, environment, streams, (inputs, outputs), amounts, requests, (notifications, rtes, priority))| {
                let (name, description, annotations, project, args) = texts;
                let (stdin, stdout, stderr, has_log) = streams;
                let mut job = JobDescription::new("/bin/<s h>&é")
                    .with_name(name)
                    .with_args(args)
                    .without_stdout()
                    .without_stderr();
                for (n, (kind, path, url, text, names)) in inputs.into_iter().enumerate() {
                    let own = format!("i{n}{}", text.replace(['/', '\n'], "_"));
                    let (is_named, is_executable) = names;
                    let directory = if is_named { path } else { format!("/d/{own}").into() };
                    let input = match kind {
                        0 => InputFile::file(directory),
                        1 => InputFile::directory(directory),
                        _ => InputFile::url(if is_named { format!("{url}x?y=z") } else { format!("{url}i{n}") }),
                    };
                    let input = if is_named { input.with_name(format!("i{n}/{own}")) } else { input };
                    job = job.with_input(input.with_executable(is_executable));
                    let own = job.inputs()[n].name().unwrap().to_owned();
                    if n == 0
                        && kind != 1
                        && stdin == 0
                        && own.chars().all(|c| !"@'\"`$\\".contains(c))
                        && own.trim() == own
                    {
                        // The executable is the first input file.
                        let mut first =
                            JobDescription::new(format!("./{own}")).with_name(job.name()).with_args(job.args());
                        first = first.with_input(job.inputs()[0].clone()).without_stdout().without_stderr();
                        job = first;
                    }
                    if n == 0 && stdin == 1 {
                        job = job.with_stdin(if kind == 1 { format!("{own}/in") } else { own });
                    }
                }
                if stdin == 2 {
                    job = job.with_stdin("/dev/zero");
                }
                for (name, url) in outputs {
                    job = match url {
                        Some(url) => job.with_output_file_to(name.trim_end_matches('/'), url),
                        None => job.with_output_file(name),
                    };
                }
                job = annotations.into_iter().fold(job, JobDescription::with_annotation);
                job = environment.iter().fold(job, |job, (name, value)| job.with_env(name, value.trim()));
                job = apply(job, description, |job, text| job.with_description(format!("{text}.")));
                job = apply(job, project, |job, text| job.with_project(format!(".{text}")));
                job = apply(job, stdout, JobDescription::with_stdout);
                job = apply(job, stderr, JobDescription::with_stderr);
                job = apply(job, has_log.then_some("log"), JobDescription::with_log_directory);
                let (wall_time, cpu_time, life_time, memory, virtual_memory, disk) = amounts;
                job = apply(job, wall_time, JobDescription::with_wall_time);
                job = apply(job, cpu_time, JobDescription::with_cpu_time);
                job = apply(job, life_time, JobDescription::with_life_time);
                job = apply(job, memory, JobDescription::with_memory);
                job = apply(job, virtual_memory, JobDescription::with_virtual_memory);
                job = apply(job, disk, JobDescription::with_disk);
                let (slots, exclusive, queue, start, rerun) = requests;
                if let Some((hosts, per_host, threads)) = slots {
                    job = job.with_slots(hosts * per_host.unwrap_or(1));
                    job = apply(job, per_host, JobDescription::with_slots_per_host);
                    job = apply(job, threads, JobDescription::with_threads_per_process);
                }
                job = apply(job, exclusive, JobDescription::with_exclusive);
                job = apply(job, queue, |job, text| job.with_queue(format!("q{text}q")));
                let start = start.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
                job = apply(job, start, JobDescription::with_start_time);
                job = apply(job, rerun, JobDescription::with_rerun);
                for (email, states) in notifications {
                    job = job.with_notification(Notification::new(email, states));
                }
                job = rtes.into_iter().fold(job, |job, rte| job.with_runtime_environment(RuntimeEnvironment::new(rte)));
                apply(job, priority, JobDescription::with_priority)
            },
        )
        .prop_filter("not well-formed", is_well_formed)
}

/// Whether a description is valid, or only an ARC-CE refuses it.
fn is_well_formed(job: &JobDescription) -> bool {
    let only_for_ce = ["project", "life_time", "newline, which", "ADL cannot express", "needs slots_per_host"];
    job.validate().map_or_else(|error| only_for_ce.iter().any(|fault| error.to_string().contains(fault)), |()| true)
}

const STATES: [NotificationState; 6] = [
    NotificationState::Preparing,
    NotificationState::InLrms,
    NotificationState::Finishing,
    NotificationState::Finished,
    NotificationState::Canceling,
    NotificationState::Deleted,
];

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

/// The kind of an input, a path, the beginning of a URL, some text, whether it has a name of its own, and whether it is
/// executable.
fn input() -> impl Strategy<Value = (u8, std::path::PathBuf, String, String, (bool, bool))> {
    let path = vec(1..=255_u8, 0..12).prop_map(|bytes| {
        let path = [b"/a/", bytes.as_slice(), b"\xffz"].concat();
        std::path::absolute(OsStr::from_bytes(&path)).unwrap()
    });
    (0..3_u8, path, location(), text(), any::<(bool, bool)>())
}

fn location() -> impl Strategy<Value = String> {
    "(https?|root|s3)://([a-z]{1,3}@)?[a-z.|-]{1,8}(:[1-9][0-9]{0,3})?(;[a-z]{1,4}=[a-z0-9:]{0,3}){0,2}/([a-z;@&:|^]|/){0,12}/"
}

fn output() -> impl Strategy<Value = (String, Option<String>)> {
    let name = prop_oneof![
        4 => text().prop_map(|text| format!("o{}", text.replace(['/', '\n'], "_"))),
        1 => select(vec!["/", "o", "o/p/q", "o/", "log", "log/"]).prop_map(str::to_owned),
    ];
    let pair = (name, prop::option::of(location()));
    pair.prop_map(|(name, url)| (name.clone(), url.filter(|_| name != "/")))
}

#[test]
fn a_full_description_is_read_back() {
    let job = everything();
    let jsdl = job.to_jsdl().unwrap();
    assert_eq!(JobDescription::from_jsdl(&jsdl).unwrap(), job);
    assert_eq!(JobDescription::parse(&jsdl).unwrap(), job);
    let plain = JobDescription::new("/bin/true").without_stdout().without_stderr();
    assert_eq!(JobDescription::from_jsdl(&plain.to_jsdl().unwrap()).unwrap(), plain);
}

#[test]
fn settings_that_jsdl_cannot_express_are_refused_by_name() {
    let job = || JobDescription::new("/bin/true");
    let empty = r#"{"executable": "/bin/true", "runtime_environments": [{"name": "A", "version": ""}]}"#;
    for (job, what) in [
        (job().with_slots(2).with_processes_per_slot(2), "processes per slot"),
        (job().with_delegation(Delegation::Never), "whether credentials are delegated"),
        (
            job().with_runtime_environment(RuntimeEnvironment::new("A-1").with_option("x")),
            "options of the runtime environment A-1",
        ),
        (serde_json::from_str(empty).unwrap(), "not a valid name of a runtime environment"),
        (job().with_output_list("made"), "the list of outputs \"@made\""),
        (job().with_input_bytes("a", "x"), "the bytes of the input file \"a\""),
        (job().with_input_file("/a/b/"), "/a/b/ ends in a slash"),
        (job().with_input(InputFile::url("root://h/%zz").with_name("a")), "\"root://h/%zz\" is not a URI"),
        (job().with_output_file_to("a", "https://h:x/"), "the port in the URL \"https://h:x/\""),
    ] {
        let error = job.to_jsdl().unwrap_err();
        assert!(matches!(error, Error::InvalidJobDescription { .. }), "{error:?}");
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn local_executables_and_inputs_are_uploaded() {
    let read = |job: JobDescription| JobDescription::from_jsdl(&job.to_jsdl().unwrap()).unwrap();
    let job = read(JobDescription::new("run.sh"));
    assert_eq!(job, JobDescription::new("run.sh").with_input(InputFile::file("run.sh").with_executable(true)));
    let job = read(JobDescription::new("./bin/run.sh"));
    let file = InputFile::file("bin/run.sh").with_name("bin/run.sh").with_executable(true);
    assert_eq!(job, JobDescription::new("./bin/run.sh").with_input(file));
    let own = JobDescription::new("./run.sh").with_input_file("/a/run.sh");
    assert_eq!(read(own.clone()), own);

    let jsdl = document("", "<p:Input>data/in</p:Input>", "");
    let job = JobDescription::from_jsdl(&jsdl).unwrap();
    assert_eq!(job.inputs(), [InputFile::file("data/in").with_name("data/in")]);
    assert_eq!(job.stdin(), Some("data/in"));
}

const P: &str = "<p:Executable>/bin/true</p:Executable>";

/// A document with XML inserted in the application, in the POSIX application, and after the application.
fn document(application: &str, posix: &str, rest: &str) -> String {
    format!(
        "<JobDefinition xmlns='http://schemas.ggf.org/jsdl/2005/11/jsdl' \
           xmlns:p='http://schemas.ggf.org/jsdl/2005/11/jsdl-posix' \
           xmlns:h='http://schemas.ggf.org/jsdl/2006/07/jsdl-hpcpa' \
           xmlns:a='http://www.nordugrid.org/ws/schemas/jsdl-arc'><JobDescription><Application>{application}\
           <p:POSIXApplication>{P}{posix}</p:POSIXApplication></Application>{rest}</JobDescription></JobDefinition>"
    )
}

/// Asserts that a document is read as `/bin/true` without output, with the changes of `job`.
#[track_caller]
fn reads(jsdl: &str, job: impl FnOnce(JobDescription) -> JobDescription) {
    let plain = JobDescription::new("/bin/true").without_stdout().without_stderr();
    assert_eq!(JobDescription::from_jsdl(jsdl).unwrap(), job(plain), "{jsdl}");
}

#[track_caller]
fn fails(jsdl: &str, why: &str) {
    match JobDescription::from_jsdl(jsdl) {
        Err(error) => assert!(error.to_string().contains(why), "{error}: not {why:?}\n{jsdl}"),
        Ok(job) => panic!("{job:?}: not {why:?}\n{jsdl}"),
    }
}

fn resources(inside: &str) -> String {
    document("", "", &format!("<Resources>{inside}</Resources>"))
}

fn staging(inside: &str) -> String {
    document("", "", &format!("<DataStaging><FileName>a</FileName>{inside}</DataStaging>"))
}

#[test]
fn amounts_are_whole_numbers() {
    let memory = |inside: &str| resources(&format!("<IndividualPhysicalMemory>{inside}</IndividualPhysicalMemory>"));
    for inside in [
        "<Exact>2048.0</Exact>",
        "<LowerBoundedRange> 2.048e3\n</LowerBoundedRange>",
        "<UpperBoundedRange>2048</UpperBoundedRange>",
        "<UpperBoundedRange>2048</UpperBoundedRange><LowerBoundedRange>2048.0</LowerBoundedRange>",
        "<a:Max>2048</a:Max><UpperBoundedRange>2048</UpperBoundedRange>",
    ] {
        reads(&memory(inside), |job| job.with_memory(ByteSize::kib(2)));
    }
    let path = "JobDescription/Resources/IndividualPhysicalMemory";
    for (inside, why) in [
        ("", "contains no number"),
        ("7", "has the text \"7\""),
        ("<Exact>2048.5</Exact>", "/Exact is \"2048.5\", which is not a whole number"),
        ("<Exact>-1</Exact>", "/Exact is \"-1\""),
        ("<Exact>INF</Exact>", "/Exact is \"INF\""),
        ("<Exact/>", "/Exact is \"\""),
        ("<Exact>1</Exact><Exact>1</Exact>", "/Exact appears twice"),
        ("<Exact epsilon='0.5'>1</Exact>", "the JSDL attribute epsilon of JobDescription"),
        ("<UpperBoundedRange exclusiveBound='true'>1</UpperBoundedRange>", "the JSDL attribute exclusiveBound of"),
        (
            "<UpperBoundedRange>2</UpperBoundedRange><LowerBoundedRange>1</LowerBoundedRange>",
            "/LowerBoundedRange differ",
        ),
        ("<Range><LowerBound>1</LowerBound><UpperBound>2</UpperBound></Range>", "/Range is not supported"),
        ("<a:Exact>1</a:Exact>", "is in the XML namespace \"http://www.nordugrid.org"),
    ] {
        fails(&memory(inside), path);
        fails(&memory(inside), why);
    }
    fails(&memory("<Exact>0</Exact>"), "memory is 0 B");
    fails(&resources("<TotalCPUCount><Exact>4294967296</Exact></TotalCPUCount>"), "TotalCPUCount is 4294967296");
}

#[test]
fn elements_with_the_same_meaning_must_agree() {
    let both = |name: &str, limit: &str, number: &str| {
        let rest = format!("<Resources><{name}><Exact>{number}</Exact></{name}></Resources>");
        document("", &format!("<p:{limit}>60</p:{limit}>"), &rest)
    };
    type Set = fn(JobDescription) -> JobDescription;
    let cases: [(&str, &str, Set); 3] = [
        ("IndividualPhysicalMemory", "MemoryLimit", |job| job.with_memory(ByteSize::new(60))),
        ("IndividualVirtualMemory", "VirtualMemoryLimit", |job| job.with_virtual_memory(ByteSize::new(60))),
        ("TotalCPUTime", "CPUTimeLimit", |job| job.with_cpu_time(Duration::from_secs(60))),
    ];
    for (name, limit, set) in cases {
        reads(&both(name, limit, "60.0"), set);
        reads(&document("", &format!("<p:{limit}>60</p:{limit}>"), ""), set);
        let why =
            format!("JobDescription/Resources/{name} and JobDescription/Application/POSIXApplication/{limit} differ");
        fails(&both(name, limit, "61"), &why);
    }
    for inside in [
        "<TotalDiskSpace><Exact>1</Exact></TotalDiskSpace>",
        "<FileSystem name='x'><DiskSpace><LowerBoundedRange>1</LowerBoundedRange></DiskSpace></FileSystem>",
        "<a:DiskSpaceRequirement><a:DiskSpace><a:Max>1</a:Max></a:DiskSpace></a:DiskSpaceRequirement>",
    ] {
        reads(&resources(inside), |job| job.with_disk(ByteSize::new(1)));
        if !inside.starts_with("<Total") {
            fails(
                &resources(&format!("<TotalDiskSpace><Exact>2</Exact></TotalDiskSpace>{inside}")),
                "/DiskSpace differ",
            );
        }
    }
    for (inside, yes) in [
        ("<ExclusiveExecution> true\t</ExclusiveExecution>", true),
        ("<a:SlotRequirement><a:ExclusiveExecution>0</a:ExclusiveExecution></a:SlotRequirement>", false),
    ] {
        reads(&resources(inside), |job| job.with_exclusive(yes));
    }
}

#[test]
fn slots_are_the_total_of_cpus() {
    let total = "<TotalCPUCount><Exact>8.0</Exact></TotalCPUCount>";
    reads(&resources(total), |job| job.with_slots(8));
    let slots = |inside: &str| resources(&format!("{total}<a:SlotRequirement>{inside}</a:SlotRequirement>"));
    let all = "<a:NumberOfSlots>8</a:NumberOfSlots><a:ProcessPerHost> 4 </a:ProcessPerHost><a:ThreadsPerProcesses>2</a:ThreadsPerProcesses>";
    reads(&slots(all), |job| job.with_slots(8).with_slots_per_host(4).with_threads_per_process(2));
    fails(
        &slots("<a:NumberOfSlots>7</a:NumberOfSlots>"),
        "TotalCPUCount and JobDescription/Resources/SlotRequirement/NumberOfSlots differ",
    );
    fails(&slots("<a:NumberOfSlots>-1</a:NumberOfSlots>"), "NumberOfSlots is \"-1\"");
    fails(&slots("<a:SPMDVariation>x</a:SPMDVariation>"), "Resources/SlotRequirement/SPMDVariation is not supported");
    // In the standard these are limits. ARC 1 to 5 wrote the requests there again.
    for name in ["ProcessCountLimit", "ThreadCountLimit"] {
        let limit = format!("<p:{name}>8</p:{name}>");
        let path = format!("JobDescription/Application/POSIXApplication/{name} is supported only where it repeats");
        fails(&document("", &limit, ""), &path);
    }
    reads(
        &document("", "<p:ProcessCountLimit>8</p:ProcessCountLimit>", &format!("<Resources>{total}</Resources>")),
        |job| job.with_slots(8),
    );
}

#[test]
fn extensions_are_read() {
    for inside in [
        "<a:QueueName>q</a:QueueName>",
        "<a:QueueName require='eq'>q</a:QueueName><a:CandidateTarget><a:QueueName>q</a:QueueName></a:CandidateTarget>",
        "<a:CandidateTarget><a:QueueName require='=='>q</a:QueueName></a:CandidateTarget>",
    ] {
        reads(&resources(inside), |job| job.with_queue("q"));
    }
    fails(
        &resources("<a:QueueName require='ne'>q</a:QueueName>"),
        "JobDescription/Resources/QueueName has the attribute require=\"ne\"",
    );

    let rte = |inside: &str| {
        resources(&format!("<a:RunTimeEnvironment><a:Software>{inside}</a:Software></a:RunTimeEnvironment>"))
    };
    let expected = |job: JobDescription| job.with_runtime_environment(RuntimeEnvironment::new("A/B-1.2"));
    reads(&rte("<a:Name> A/B </a:Name><a:Version require='eq'>1.2</a:Version>"), expected);
    fails(
        &rte("<a:Name>A</a:Name><a:Version require='&gt;='>1</a:Version>"),
        "Software/Version has the attribute require=\">=\"",
    );
    fails(&rte("<a:Family>F</a:Family><a:Name>A</a:Name>"), "RunTimeEnvironment/Software/Family is not supported");
    fails(&rte("<a:Version>1</a:Version>"), "Software has no Name");
    let two = "<a:RunTimeEnvironment><a:Software><a:Name>A</a:Name></a:Software></a:RunTimeEnvironment>".repeat(2);
    reads(&resources(&two), |job| {
        let rte = RuntimeEnvironment::new("A");
        job.with_runtime_environment(rte.clone()).with_runtime_environment(rte)
    });
    for (text, seconds) in [("3600", 3600), (" PT1H \n", 3600), ("P1DT1S", 86_401)] {
        let life = format!("<a:SessionLifeTime>{text}</a:SessionLifeTime>");
        reads(&resources(&life), |job| job.with_life_time(Duration::from_secs(seconds)));
    }
    fails(&resources("<a:SessionLifeTime>soon</a:SessionLifeTime>"), "SessionLifeTime is \"soon\"");

    let start = |text: &str| document(&format!("<a:ProcessingStartTime>{text}</a:ProcessingStartTime>"), "", "");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    reads(&start("2027-01-15T09:00:00+01:00"), |job| job.with_start_time(time));
    fails(
        &start("2027-01-15 08:00:00"),
        "Application/ProcessingStartTime is \"2027-01-15 08:00:00\", which is not a date",
    );
    let notice = |inside: &str| document(&format!("<a:Notification>{inside}</a:Notification>"), "", "");
    reads(&notice("<a:Endpoint>a@b</a:Endpoint><a:State>INLRMS</a:State>"), |job| {
        job.with_notification(Notification::new("a@b", [NotificationState::InLrms]))
    });
    fails(&notice("<a:Type>SMS</a:Type>"), "Application/Notification/Type is \"SMS\"");
    fails(&notice("<a:State>FINISHED</a:State>"), "Application/Notification has no Endpoint");
    fails(
        &notice("<a:Endpoint>a@b</a:Endpoint><a:State>INLRMS</a:State><a:State>SUBMIT</a:State>"),
        "Notification/State[2] is \"SUBMIT\"",
    );
    fails(&notice("<a:Endpoint>a@b</a:Endpoint>"), "has no states");
    let rest = "<a:Rerun>2</a:Rerun><a:Priority>80</a:Priority><a:LogDir>log</a:LogDir>";
    reads(&document(rest, "", ""), |job| job.with_rerun(2).with_priority(80).with_log_directory("log"));
    fails(&document("<a:Priority>101</a:Priority>", "", ""), "priority");
}

#[test]
fn files_are_staged() {
    let url = "<URI> https://h/b\n</URI>";
    let local = "<Source><URI>file:///d/a%20b</URI></Source>";
    let kept = "<DeleteOnTermination>false</DeleteOnTermination>";
    let deleted = "<DeleteOnTermination>true</DeleteOnTermination>";
    reads(&staging(kept), |job| job.with_output_file("a"));
    reads(&staging("<CreationFlag>overwrite</CreationFlag><Target/>"), |job| job.with_output_file("a"));
    reads(&staging(&format!("<Target>{url}</Target>{deleted}")), |job| job.with_output_file_to("a", "https://h/b"));
    reads(&staging("<Source/>"), |job| job.with_input_file("a"));
    reads(&staging(local), |job| job.with_input_file_as("/d/a b", "a"));
    reads(&staging("<Source><URI>file://localhost/d/a/</URI></Source>"), |job| job.with_input_directory("/d/a"));
    reads(&staging(&format!("{local}<a:IsExecutable>true</a:IsExecutable>")), |job| {
        job.with_input(InputFile::file("/d/a b").with_name("a").with_executable(true))
    });
    let options = "<a:URIOption>threads=5</a:URIOption><a:URIOption>cache=no</a:URIOption>";
    reads(&staging(&format!("<Source>{url}{options}</Source>")), |job| {
        job.with_input(InputFile::url("https://h;threads=5;cache=no/b").with_name("a"))
    });
    // An input, an output that is kept, and an upload in one element.
    reads(&staging(&format!("{kept}{local}<Target>{url}</Target><CreationFlag>append</CreationFlag>")), |job| {
        job.with_input_file_as("/d/a b", "a").with_output_file("a").with_output_file_to("a", "https://h/b")
    });

    let path = "JobDescription/DataStaging";
    let file = |uri: &str| staging(&format!("<Source><URI>{uri}</URI></Source>"));
    for (jsdl, why) in [
        (staging(""), " has neither a Source nor a Target"),
        (staging(deleted), " has neither a Source nor a Target"),
        (staging("<FilesystemName>HOME</FilesystemName><Source/>"), "/FilesystemName is not supported"),
        (staging("<CreationFlag>never</CreationFlag><Source/>"), "/CreationFlag is \"never\""),
        (staging("<Source/><Source/>"), "/Source appears twice"),
        (staging("<FileName>b</FileName><Source/>"), "/FileName appears twice"),
        (staging("<a:IsExecutable>maybe</a:IsExecutable><Source/>"), "/IsExecutable is \"maybe\""),
        (
            staging(&format!("{kept}<a:IsExecutable>true</a:IsExecutable>")),
            "/IsExecutable is true, but there is no Source",
        ),
        (staging("<a:Checksum>1</a:Checksum><Source/>"), "/Checksum is not supported"),
        (staging("<Target><URI>file:///a</URI></Target>"), "/Target/URI is \"file:///a\", a local file"),
        (staging("<Source><a:URIOption>a</a:URIOption></Source>"), "/Source has a URIOption, but no URI"),
        (staging(&format!("<Source>{url}<a:URIOption>a/b</a:URIOption></Source>")), "/Source/URIOption is \"a/b\""),
        (
            staging("<Source><URI>file:///a</URI><a:URIOption>a</a:URIOption></Source>"),
            "/Source has options for a local file",
        ),
        (staging("<Source><a:Location/></Source>"), "/Source/Location is not supported"),
        (file("file://h/a"), "/Source/URI is \"file://h/a\", which is a file of another host"),
        (file("file:a"), "which is not an absolute path"),
        (file("file:///a%0"), "which is not percent-encoded correctly"),
        (file("file:///a?b"), "which has a query"),
    ] {
        fails(&jsdl, path);
        fails(&jsdl, why);
    }
    fails(&document("", "", "<DataStaging><Source/></DataStaging>"), "JobDescription/DataStaging has no FileName");
    fails(&file("notes"), "must begin with protocol://host");
    let list = format!("<DataStaging><FileName>@a</FileName>{kept}</DataStaging>");
    fails(&document("", "", &list), "JobDescription/DataStaging/FileName begins with an @");
    for name in ["d/", "d", "/", "d/a"] {
        let both = format!(
            "<DataStaging><FileName>d/a</FileName>{deleted}<Source/></DataStaging><DataStaging><FileName>{name}</FileName>{kept}</DataStaging>"
        );
        fails(
            &document("", "", &both),
            "JobDescription/DataStaging[1]/DeleteOnTermination is true, but \"d/a\" is kept elsewhere",
        );
    }
    let other = format!(
        "<DataStaging><FileName>dd</FileName>{deleted}<Source/></DataStaging><DataStaging><FileName>d</FileName>{kept}</DataStaging>"
    );
    reads(&document("", "", &other), |job| job.with_input_file("dd").with_output_file("d"));
}

#[test]
fn unsupported_elements_and_attributes_are_named() {
    let own = "JobDescription/Resources/";
    for name in [
        "CandidateHosts",
        "OperatingSystem",
        "CPUArchitecture",
        "IndividualCPUSpeed",
        "IndividualCPUTime",
        "IndividualCPUCount",
        "IndividualNetworkBandwidth",
        "IndividualDiskSpace",
        "TotalPhysicalMemory",
        "TotalVirtualMemory",
        "TotalResourceCount",
        "a:Platform",
        "a:NodeAccess",
        "a:CEType",
        "a:IndividualWallTime",
    ] {
        let (_, local) = name.split_once(':').unwrap_or(("", name));
        fails(&resources(&format!("<{name}>x</{name}>")), &format!("the JSDL element {own}{local} is not supported"));
    }
    let posix = "JobDescription/Application/POSIXApplication/";
    for name in [
        "WorkingDirectory",
        "FileSizeLimit",
        "CoreDumpLimit",
        "DataSegmentLimit",
        "LockedMemoryLimit",
        "OpenDescriptorsLimit",
        "PipeSizeLimit",
        "StackSizeLimit",
        "UserName",
        "GroupName",
    ] {
        fails(
            &document("", &format!("<p:{name}>1</p:{name}>"), ""),
            &format!("the JSDL element {posix}{name} is not supported"),
        );
    }
    for (jsdl, why) in [
        (
            document("<ApplicationName>x</ApplicationName>", "", ""),
            "JobDescription/Application/ApplicationName is not supported",
        ),
        (document("<a:Prologue/>", "", ""), "JobDescription/Application/Prologue is not supported"),
        (
            document("", "<p:Output filesystemName='HOME'>o</p:Output>", ""),
            "attribute filesystemName of JobDescription/Application/POSIXApplication/Output",
        ),
        (
            document("", "<p:Argument/><p:Argument b='c'/>", ""),
            "attribute b of JobDescription/Application/POSIXApplication/Argument[2]",
        ),
        (document("", "<p:Environment>1</p:Environment>", ""), "POSIXApplication/Environment has no attribute name"),
        (document("", "<p:Output><b/></p:Output>", ""), "POSIXApplication/Output/b is not supported"),
        (document("", "<p:Output>o</p:Output><p:Output>o</p:Output>", ""), "POSIXApplication/Output appears twice"),
        (document("", "<p:Output/>", ""), "standard output \"\" is empty"),
        (document("", P, ""), "POSIXApplication/Executable appears twice"),
        (
            document("", "<Argument/>", ""),
            "POSIXApplication/Argument is in the XML namespace \"http://schemas.ggf.org/jsdl/2005/11/jsdl\", not in \"http://schemas.ggf.org/jsdl/2005/11/jsdl-posix\"",
        ),
        (
            document("", "<p:WallTimeLimit>1.5</p:WallTimeLimit>", ""),
            "POSIXApplication/WallTimeLimit is \"1.5\", which is not a whole number",
        ),
        (
            document(
                "",
                "",
                "<JobIdentification><JobProject>a</JobProject><JobProject>b</JobProject></JobIdentification>",
            ),
            "JobIdentification/JobProject appears twice",
        ),
        (document("", "", "text"), "JobDescription has the text \"text\" between its elements"),
        (document("", "", "<Resources/><Resources/>"), "JobDescription/Resources appears twice"),
        (
            document("", "", "").replace("2005/11/jsdl'", "2005/06/jsdl'"),
            "JobDefinition is in the XML namespace \"http://schemas.ggf.org/jsdl/2005/06/jsdl\"",
        ),
        (document("", "", "").replace("Application>", "Programme>"), "JobDescription/Programme is not supported"),
        ("<JobDefinition xmlns='http://schemas.ggf.org/jsdl/2005/11/jsdl'/>".into(), "JobDescription is missing"),
        (
            "<JobDefinition xmlns='http://schemas.ggf.org/jsdl/2005/11/jsdl'><JobDescription/></JobDefinition>".into(),
            "JobDescription/Application has neither a POSIXApplication",
        ),
        ("<a/>".into(), "a is not the root of a document in JSDL"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>".into(), "document type"),
        ("".into(), "it is not an XML document"),
    ] {
        fails(&jsdl, why);
    }
    // Labels, and the names of schemas.
    let labels = document("", "", "")
        .replace("<JobDefinition", "<JobDefinition id='j' xmlns:i='http://www.w3.org/2001/XMLSchema-instance' i:schemaLocation='a b' xml:lang='en'")
        .replace("<p:POSIXApplication", "<p:POSIXApplication name='n' i:type='p:POSIXApplication_Type'");
    reads(&labels, |job| job);
}

#[test]
fn texts_are_read_literally() {
    let posix = "<p:Argument> a\n<![CDATA[<b>]]>&#13; </p:Argument><p:Environment name=' A '>x &amp; y</p:Environment>";
    reads(&document("", posix, "<JobIdentification><JobName> n </JobName></JobIdentification>"), |job| {
        job.with_arg(" a\n<b>\r ").with_env("A", "x & y").with_name(" n ")
    });
    let notes = "<JobIdentification><a:UserTag>1</a:UserTag><JobAnnotation>2</JobAnnotation></JobIdentification>";
    reads(&document("", "", notes), |job| job.with_annotation("1").with_annotation("2"));
}

/// The standard's example (GFD.56) of a gnuplot job, shortened.
#[test]
fn the_example_of_the_standard_is_read() {
    let staging = |name: &str, place: &str| {
        format!(
            "<jsdl:DataStaging>
               <jsdl:FileName>{name}</jsdl:FileName>
               <jsdl:CreationFlag>overwrite</jsdl:CreationFlag>
               <jsdl:DeleteOnTermination>true</jsdl:DeleteOnTermination>
               {place}
             </jsdl:DataStaging>"
        )
    };
    let source = |name: &str| {
        let uri = format!("<jsdl:Source><jsdl:URI>http://foo.bar.com/~me/{name}</jsdl:URI></jsdl:Source>");
        staging(name, &uri)
    };
    let name = "<jsdl:ApplicationName>gnuplot</jsdl:ApplicationName>";
    let jsdl = format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
        <jsdl:JobDefinition xmlns="http://www.example.org/" xmlns:jsdl="http://schemas.ggf.org/jsdl/2005/11/jsdl"
            xmlns:jsdl-posix="http://schemas.ggf.org/jsdl/2005/11/jsdl-posix"
            xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
            xsi:schemaLocation="http://schemas.ggf.org/jsdl/2005/11/jsdl jsdl.xsd">
          <jsdl:JobDescription>
            <jsdl:JobIdentification>
              <jsdl:JobName>My Gnuplot invocation</jsdl:JobName>
              <jsdl:Description>Simple application invocation</jsdl:Description>
            </jsdl:JobIdentification>
            <jsdl:Application>
              {name}
              <jsdl-posix:POSIXApplication>
                <jsdl-posix:Executable>/usr/local/bin/gnuplot</jsdl-posix:Executable>
                <jsdl-posix:Argument>control.txt</jsdl-posix:Argument>
                <jsdl-posix:Input>input.dat</jsdl-posix:Input>
                <jsdl-posix:Output>output1.png</jsdl-posix:Output>
              </jsdl-posix:POSIXApplication>
            </jsdl:Application>
            <jsdl:Resources>
              <jsdl:IndividualPhysicalMemory>
                <jsdl:LowerBoundedRange>2097152.0</jsdl:LowerBoundedRange>
              </jsdl:IndividualPhysicalMemory>
              <jsdl:TotalCPUCount><jsdl:Exact>1.0</jsdl:Exact></jsdl:TotalCPUCount>
            </jsdl:Resources>
            {}{}{}
          </jsdl:JobDescription>
        </jsdl:JobDefinition>"#,
        source("control.txt"),
        source("input.dat"),
        staging("output1.png", "<jsdl:Target><jsdl:URI>rsync://spoolmachine/userdir</jsdl:URI></jsdl:Target>"),
    );
    fails(&jsdl, "the JSDL element JobDescription/Application/ApplicationName is not supported");
    let expected = JobDescription::new("/usr/local/bin/gnuplot")
        .with_name("My Gnuplot invocation")
        .with_description("Simple application invocation")
        .with_arg("control.txt")
        .with_stdin("input.dat")
        .with_stdout("output1.png")
        .without_stderr()
        .with_memory(ByteSize::mib(2))
        .with_slots(1)
        .with_input_url("http://foo.bar.com/~me/control.txt")
        .with_input_url("http://foo.bar.com/~me/input.dat")
        .with_output_file_to("output1.png", "rsync://spoolmachine/userdir");
    assert_eq!(JobDescription::from_jsdl(&jsdl.replace(name, "")).unwrap(), expected);
}

/// Fragments like those in the standard's descriptions of its elements.
#[test]
fn fragments_of_the_standard_are_read_or_named() {
    for (inside, why) in [
        (
            "<CandidateHosts><HostName>bach.fas.nowhere.edu</HostName></CandidateHosts>",
            "Resources/CandidateHosts is not",
        ),
        (
            "<FileSystem name='HOME'><Description>Ali's home</Description><MountPoint>/home/ali</MountPoint><DiskSpace>\
             <LowerBoundedRange>10737418240.0</LowerBoundedRange></DiskSpace><FileSystemType>normal</FileSystemType></FileSystem>",
            "Resources/FileSystem/Description is not",
        ),
        (
            "<FileSystem name='HOME'><MountPoint>/home/ali</MountPoint></FileSystem>",
            "Resources/FileSystem/MountPoint is not",
        ),
        ("<FileSystem name='HOME'/>", "Resources/FileSystem has no DiskSpace"),
        (
            "<OperatingSystem><OperatingSystemType><OperatingSystemName>LINUX</OperatingSystemName></OperatingSystemType></OperatingSystem>",
            "Resources/OperatingSystem is not",
        ),
        (
            "<CPUArchitecture><CPUArchitectureName>sparc</CPUArchitectureName></CPUArchitecture>",
            "Resources/CPUArchitecture is not",
        ),
        (
            "<IndividualCPUSpeed><LowerBoundedRange>1073741824.0</LowerBoundedRange></IndividualCPUSpeed>",
            "Resources/IndividualCPUSpeed is not",
        ),
        (
            "<TotalCPUTime><Range><LowerBound>600.0</LowerBound><UpperBound>900.0</UpperBound></Range></TotalCPUTime>",
            "Resources/TotalCPUTime/Range is not",
        ),
        ("<TotalResourceCount><Exact>5.0</Exact></TotalResourceCount>", "Resources/TotalResourceCount is not"),
    ] {
        fails(&resources(inside), why);
    }
    reads(&resources("<ExclusiveExecution>true</ExclusiveExecution>"), |job| job.with_exclusive(true));
    let space = "<FileSystem name='TMP'><DiskSpace><LowerBoundedRange>10737418240.0</LowerBoundedRange></DiskSpace></FileSystem>";
    reads(&resources(space), |job| job.with_disk(ByteSize::gib(10)));
    reads(&resources("<TotalCPUTime><Exact>600.0</Exact></TotalCPUTime>"), |job| {
        job.with_cpu_time(Duration::from_secs(600))
    });
    fails(&document("", "<p:Argument filesystemName='HOME'>a</p:Argument>", ""), "attribute filesystemName");
}

/// The cases of the tests of ARC's own reader (ARC 5), which ignored namespaces.
#[test]
fn cases_of_arcs_tests_are_read_or_named() {
    let fields = "<p:Argument>arg1</p:Argument><p:Argument>arg2</p:Argument><p:Input>/input</p:Input><p:Output>output</p:Output>\
        <p:Error>error</p:Error><p:Environment name='var1'>value1</p:Environment><p:Environment name='var2'>value2</p:Environment>";
    let limits = "<p:WallTimeLimit>50</p:WallTimeLimit><p:MemoryLimit>104857600</p:MemoryLimit><p:CPUTimeLimit>110</p:CPUTimeLimit>";
    let counts = "<p:ProcessCountLimit>2</p:ProcessCountLimit><p:VirtualMemoryLimit>524288000</p:VirtualMemoryLimit>";
    let command = |job: JobDescription| {
        let job = job.with_args(["arg1", "arg2"]).with_stdin("/input").with_stdout("output").with_stderr("error");
        job.with_env("var1", "value1").with_env("var2", "value2")
    };
    let posix = document("", &format!("{fields}{limits}{counts}"), "");
    fails(&posix, "POSIXApplication/ProcessCountLimit is supported only where it repeats NumberOfSlots");
    reads(&posix.replace("<p:ProcessCountLimit>2</p:ProcessCountLimit>", ""), |job| {
        let job = command(job).with_wall_time(Duration::from_secs(50)).with_cpu_time(Duration::from_secs(110));
        job.with_memory(ByteSize::mib(100)).with_virtual_memory(ByteSize::mib(500))
    });

    let profile = |posix: String| {
        posix.replace("<p:", "<h:").replace("</p:", "</h:").replace("POSIXApplication", "HPCProfileApplication")
    };
    reads(&profile(document("", fields, "")), command);
    fails(
        &profile(document("", limits, "")),
        "JobDescription/Application/HPCProfileApplication/WallTimeLimit is not supported",
    );
    let both =
        document("<h:HPCProfileApplication><h:Executable>/bin/true</h:Executable></h:HPCProfileApplication>", "", "");
    reads(&both, |job| job);
    fails(
        &both.replacen("true", "false", 1),
        "POSIXApplication and JobDescription/Application/HPCProfileApplication differ",
    );

    let space = "<FileSystem><DiskSpace><LowerBoundedRange>128974848</LowerBoundedRange></DiskSpace></FileSystem>";
    reads(&resources(space), |job| job.with_disk(ByteSize::mib(123)));

    let input = "<DataStaging><FileName>test.file</FileName><Source><URI>gsiftp://example.com/test.file</URI>\
        <URIOption>threads=5</URIOption></Source></DataStaging>";
    fails(&document("", "", input), "JobDescription/DataStaging/Source/URIOption is in the XML namespace");
    reads(&document("", "", &input.replace("URIOption", "a:URIOption")), |job| {
        job.with_input_url("gsiftp://example.com;threads=5/test.file")
    });
    let target =
        "<Target><URI>lfc://example.com/a</URI><a:Location><URI>gsiftp://example.com/a</URI></a:Location></Target>";
    fails(&staging(target), "JobDescription/DataStaging/Target/Location is not supported");
    fails(&resources("<QueueName>q1</QueueName>"), "JobDescription/Resources/QueueName is in the XML namespace");
    fails(
        &document("<Executable><Path>executable</Path></Executable>", "", ""),
        "Application/Executable is not supported",
    );
    fails(&document("<a:DryRun>yes</a:DryRun>", "", ""), "Application/DryRun is not supported");
    fails(
        &document("<a:AccessControl><gacl/></a:AccessControl>", "", ""),
        "Application/AccessControl is not supported",
    );
    for range in ["<Exact>3600.3</Exact>", "<LowerBoundedRange exclusiveBound=\"1.2\">234.5</LowerBoundedRange>"] {
        fails(
            &resources(&format!("<IndividualCPUTime>{range}</IndividualCPUTime>")),
            "Resources/IndividualCPUTime is not supported",
        );
    }
}

/// A document as ARC 5 wrote it, with many values in two elements.
#[test]
fn documents_of_arc_5_are_read() {
    let command = "<x:Executable>run.sh</x:Executable><x:Argument>a</x:Argument><x:Output>out</x:Output><x:Environment name=\"A\">1</x:Environment>";
    let range = |number: &str| format!("<a:Max>{number}</a:Max><UpperBoundedRange>{number}</UpperBoundedRange>");
    let jsdl = format!(
        "<JobDefinition xmlns='http://schemas.ggf.org/jsdl/2005/11/jsdl' xmlns:p='http://schemas.ggf.org/jsdl/2005/11/jsdl-posix'
           xmlns:h='http://schemas.ggf.org/jsdl/2006/07/jsdl-hpcpa' xmlns:a='http://www.nordugrid.org/ws/schemas/jsdl-arc'>
         <JobDescription>
           <JobIdentification><JobName>n</JobName><a:UserTag>t</a:UserTag></JobIdentification>
           <Application>
             <a:LogDir>log</a:LogDir><a:Rerun>2</a:Rerun>
             <a:Notification><a:Type>Email</a:Type><a:Endpoint>a@b</a:Endpoint><a:State>FINISHED</a:State></a:Notification>
             <p:POSIXApplication>{}<p:WallTimeLimit>60</p:WallTimeLimit><p:MemoryLimit>1048576</p:MemoryLimit>
               <p:CPUTimeLimit>50</p:CPUTimeLimit><p:ProcessCountLimit>8</p:ProcessCountLimit>
               <p:ThreadCountLimit>2</p:ThreadCountLimit></p:POSIXApplication>
             <h:HPCProfileApplication>{}</h:HPCProfileApplication>
           </Application>
           <Resources>
             <IndividualPhysicalMemory>{}</IndividualPhysicalMemory>
             <a:DiskSpaceRequirement><a:DiskSpace><a:Max>2097152</a:Max></a:DiskSpace></a:DiskSpaceRequirement>
             <FileSystem><DiskSpace><UpperBoundedRange>2097152</UpperBoundedRange></DiskSpace></FileSystem>
             <a:SessionLifeTime>PT24H</a:SessionLifeTime>
             <TotalCPUTime><a:Value><a:Max>50</a:Max></a:Value><UpperBoundedRange>50</UpperBoundedRange></TotalCPUTime>
             <a:TotalWallTime><a:Value><a:Max>60</a:Max></a:Value></a:TotalWallTime>
             <TotalCPUCount>4</TotalCPUCount>
             <ExclusiveExecution>true</ExclusiveExecution>
             <a:SlotRequirement><a:NumberOfSlots>8</a:NumberOfSlots><a:ProcessPerHost>4</a:ProcessPerHost>
               <a:ThreadsPerProcesses>2</a:ThreadsPerProcesses><a:ExclusiveExecution>true</a:ExclusiveExecution></a:SlotRequirement>
             <a:QueueName>q</a:QueueName><a:CandidateTarget><a:QueueName>q</a:QueueName></a:CandidateTarget>
             <a:RunTimeEnvironment><a:Software><a:Name>A</a:Name><a:Version>1</a:Version></a:Software>
               <a:Software><a:Name>B</a:Name></a:Software></a:RunTimeEnvironment>
           </Resources>
           <DataStaging><FileName>run.sh</FileName><Source/><a:IsExecutable>true</a:IsExecutable></DataStaging>
           <DataStaging><FileName>out</FileName><DeleteOnTermination>false</DeleteOnTermination></DataStaging>
         </JobDescription></JobDefinition>",
        command.replace("x:", "p:"),
        command.replace("x:", "h:"),
        range("1048576"),
    );
    let expected = JobDescription::new("run.sh")
        .with_name("n")
        .with_annotation("t")
        .with_arg("a")
        .with_env("A", "1")
        .with_stdout("out")
        .without_stderr()
        .with_log_directory("log")
        .with_rerun(2)
        .with_notification(Notification::new("a@b", [NotificationState::Finished]))
        .with_wall_time(Duration::from_secs(60))
        .with_cpu_time(Duration::from_secs(50))
        .with_memory(ByteSize::mib(1))
        .with_disk(ByteSize::mib(2))
        .with_life_time(Duration::from_secs(86_400))
        .with_slots(8)
        .with_slots_per_host(4)
        .with_threads_per_process(2)
        .with_exclusive(true)
        .with_queue("q")
        .with_runtime_environment(RuntimeEnvironment::new("A-1"))
        .with_runtime_environment(RuntimeEnvironment::new("B"))
        .with_input(InputFile::file("run.sh").with_executable(true))
        .with_output_file("out");
    assert_eq!(JobDescription::from_jsdl(&jsdl).unwrap(), expected);
}

/// A random change to a document.
#[derive(Clone, Debug)]
enum Damage {
    Delete(Index, Index),
    Duplicate(Index, Index),
    Swap(Index, Index),
    Insert(Index, String),
    DeleteLine(Index),
    DuplicateLine(Index),
    SwapLines(Index, Index),
    /// Replaces the text of an element.
    Text(Index, &'static str),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    let bytes = vec(any::<u8>(), 1..8).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let junk = prop_oneof![bytes, "[<>/&;:\"'=!\\[\\]a-e0-9 \n-]{1,6}"];
    let texts = [
        "",
        " ",
        "-1",
        "0",
        "1e99",
        "1e-99999999999",
        "NaN",
        "true",
        "/",
        "..",
        "@x",
        "file:",
        "file:///%",
        "a://",
        "é",
        "P",
        "T",
        "2027-01-15T08:00:00Z",
        "eq",
    ];
    prop_oneof![
        1 => (at(), at()).prop_map(|(a, b)| Damage::Delete(a, b)),
        1 => (at(), at()).prop_map(|(a, b)| Damage::Duplicate(a, b)),
        1 => (at(), at()).prop_map(|(a, b)| Damage::Swap(a, b)),
        1 => (at(), junk).prop_map(|(a, junk)| Damage::Insert(a, junk)),
        2 => at().prop_map(Damage::DeleteLine),
        2 => at().prop_map(Damage::DuplicateLine),
        2 => (at(), at()).prop_map(|(a, b)| Damage::SwapLines(a, b)),
        4 => (at(), select(texts.to_vec())).prop_map(|(a, text)| Damage::Text(a, text)),
    ]
}

fn damaged(document: &str, damage: &Damage) -> String {
    let characters: Vec<char> = document.chars().collect();
    let range = |a: &Index, b: &Index| -> Range<usize> {
        let start = a.index(characters.len() + 1);
        start..(start + b.index(60)).min(characters.len())
    };
    let text = |characters: &[char]| characters.iter().collect::<String>();
    let mut lines: Vec<String> = document.lines().map(str::to_owned).collect();
    match damage {
        _ if lines.is_empty() => return document.to_owned(),
        Damage::Delete(a, b) => {
            let range = range(a, b);
            return text(&characters[..range.start]) + &text(&characters[range.end..]);
        }
        Damage::Duplicate(a, b) => {
            let range = range(a, b);
            return text(&characters[..range.end]) + &text(&characters[range.start..]);
        }
        Damage::Swap(a, b) => {
            let mut characters = characters.clone();
            if !characters.is_empty() {
                let (a, b) = (a.index(characters.len()), b.index(characters.len()));
                characters.swap(a, b);
            }
            return text(&characters);
        }
        Damage::Insert(a, junk) => {
            let at = a.index(characters.len() + 1);
            return text(&characters[..at]) + junk + &text(&characters[at..]);
        }
        Damage::DeleteLine(a) => drop(lines.remove(a.index(lines.len()))),
        Damage::DuplicateLine(a) => {
            let at = a.index(lines.len());
            lines.insert(at, lines[at].clone());
        }
        Damage::SwapLines(a, b) => {
            let (a, b) = (a.index(lines.len()), b.index(lines.len()));
            lines.swap(a, b);
        }
        Damage::Text(a, other) => {
            let leaves: Vec<usize> =
                (0..lines.len()).filter(|n| lines[*n].contains("</") && lines[*n].trim().starts_with('<')).collect();
            if leaves.is_empty() {
                return document.to_owned();
            }
            let line = &mut lines[leaves[a.index(leaves.len())]];
            match (line.find('>'), line.rfind("</")) {
                (Some(start), Some(end)) if start < end => line.replace_range(start + 1..end, other),
                _ => {}
            }
        }
    }
    lines.join("\n")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn all_descriptions_are_read_back(job in description()) {
        let jsdl = job.to_jsdl().unwrap();
        prop_assert_eq!(JobDescription::from_jsdl(&jsdl).unwrap(), job, "{}", jsdl);
    }

    #[test]
    fn damaged_documents_are_refused_or_read_as_valid_descriptions(
        job in prop_oneof![Just(everything()), description()],
        damages in vec(damage(), 1..4),
    ) {
        let jsdl = damages.iter().fold(job.to_jsdl().unwrap(), |jsdl, damage| damaged(&jsdl, damage));
        match JobDescription::from_jsdl(&jsdl) {
            Ok(job) => {
                assert!(is_well_formed(&job), "{:?}", job.validate());
                // Written again, it is the same except for relative paths. URLs that are not URIs cannot be written.
                match job.to_jsdl() {
                    Ok(again) => {
                        let read = JobDescription::from_jsdl(&again).unwrap();
                        prop_assert_eq!(read.to_jsdl().unwrap(), again);
                    }
                    Err(error) => prop_assert!(error.to_string().contains("is not a URI"), "{error}\n{jsdl}"),
                }
            }
            Err(Error::InvalidJobDescription { message, .. } | Error::InputFile { message, .. }) => {
                prop_assert!(message.len() > 5, "{message}");
            }
            Err(error) => prop_assert!(false, "{error:?}"),
        }
    }
}
