use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;
use crate::description::{
    Content, Notification, NotificationState, ResolvedInput, ResolvedSource, RuntimeEnvironment, Upload,
};

fn job() -> JobDescription {
    JobDescription::new("/bin/true")
}

/// The message of an [`Error::InvalidJobDescription`].
#[track_caller]
fn invalid_part(job: &JobDescription) -> String {
    match job.validate() {
        Err(Error::InvalidJobDescription { message, .. }) => message,
        other => panic!("{other:?}"),
    }
}

/// The path and the message of an [`Error::InputFile`].
#[track_caller]
fn bad_input<T: fmt::Debug>(result: Result<T>) -> (PathBuf, String) {
    match result {
        Err(Error::InputFile { path, message, .. }) => (path, message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn any_text_that_xml_carries_is_fine() {
    let text = " a\t\n\r\"'<>&]]>\\\u{7f}\u{85}é\u{d7ff}\u{e000}\u{fffd}\u{10000}\u{1f30d}\u{10ffff} ";
    let line = &text.replace('\n', "");
    let all = JobDescription::new("/opt/<my> & é/program")
        .with_name(text)
        .with_args(["", text])
        .with_input_file(format!("/tmp/{line}"))
        .with_input_file_as("/tmp/x", format!("dir/{line}"))
        .with_output_file(line)
        .with_output_file("...");
    all.check().unwrap();
}

#[test]
fn what_an_arc_ce_does_not_keep_apart_is_refused() {
    for executable in ["a'b", "a\"b", "a`b", "a$b", "a\\b", "a\nb", " a", "a "] {
        let error = JobDescription::new(executable).validate().unwrap_err();
        assert!(error.to_string().contains("the executable"), "{error}");
    }
    for (name, why) in [("a\nb", "has a newline"), ("@@a", "begins with an @")] {
        for job in [job().with_output_file(name), job().with_input_file_as("/tmp/x", name)] {
            let error = job.validate().unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}

#[test]
fn characters_that_xml_lacks_are_refused_and_the_part_is_named() {
    for c in (0..=0x1f).map(char::from).filter(|c| !"\t\n\r".contains(*c)).chain(['\u{fffe}', '\u{ffff}']) {
        let text = format!("a{c}b");
        let code = format!(" has the character U+{:04X},", u32::from(c));
        for (part, job) in [
            ("the name".to_owned(), job().with_name(&text)),
            ("the executable".to_owned(), JobDescription::new(&text)),
            ("argument 2".to_owned(), job().with_arg("").with_arg(&text)),
            (format!("the name of output file 1, {text:?},"), job().with_output_file(&text)),
            (
                format!("the name of input file x in the session directory, {text:?},"),
                job().with_input_file_as("x", &text),
            ),
        ] {
            let message = invalid_part(&job);
            assert!(message.starts_with(&(part + &code)), "{message}");
        }
    }
}

#[test]
fn environment_variables_arrive_as_they_are_or_not_at_all() {
    let fine = ["", " ", " a\t", "it's \"x\"", "$HOME `id` $(id)", "a\\", "\\d\\ \\$", "é漢🦀", "a=b;c", "\r"];
    for value in fine {
        job().with_env("A", value).validate().unwrap();
    }
    for (value, why) in [("a\nb", "newline"), ("a\n", "newline"), ("a\\nb", "'n'"), ("\\\\", "'\\\\'"), ("\\0", "'0'")]
    {
        let message = invalid_part(&job().with_env("A", value));
        assert!(message.contains(why) && message.contains("\"A\""), "{message}");
    }
    for name in ["HOME", "IFS", "executable", "RUNTIME_JOB_DIR", "JASMIN_ARC_DOLLAR", "GRID_GLOBAL_JOBID"] {
        let message = invalid_part(&job().with_env(name, "x"));
        assert!(message.contains("taken") || message.contains("set by the CE"), "{message}");
    }
    job().with_env("home", "x").with_env("PATH", "/bin").with_env("RUNTIME", "x").validate().unwrap();
}

#[test]
fn streams_have_plain_names_in_directories_that_are_there() {
    let plain = "aZ09_.-+,:@%=^#é";
    job()
        .with_joined_output(plain)
        .with_input_bytes(format!("d/{plain}"), "")
        .with_stdin(format!("d/{plain}"))
        .validate()
        .unwrap();
    for c in " \t'\"`$\\*?[]{}()<>&;|!~".chars() {
        let name = format!("a{c}b");
        let jobs = [
            job().with_stdout(&name),
            job().with_stderr(&name),
            job().with_input_bytes(&name, "").with_stdin(&name),
            job().with_stdin(format!("/{name}")),
        ];
        for job in jobs {
            let message = invalid_part(&job);
            assert!(message.contains(&format!("{c:?}")) && message.contains("standard"), "{message}");
        }
    }
    let inside = || job().with_stdout("d/e/out");
    assert!(invalid_part(&inside()).contains("no input file is in it"));
    assert!(invalid_part(&inside().with_input_bytes("d/x", "")).contains("no input file is in it"));
    assert!(invalid_part(&inside().with_input_file_as("/tmp/x", "d/e2/x")).contains("no input file is in it"));
    inside().with_input_bytes("d/e/f/x", "").validate().unwrap();
    // What is in them is seen when they are read.
    inside().with_input(InputFile::directory("/tmp").with_name("d")).validate().unwrap();
    inside().with_input(InputFile::directory("/tmp").with_name("d/e")).validate().unwrap();
}

#[test]
fn options_of_runtime_environments_arrive_as_they_are_or_not_at_all() {
    let with = |option: &str| job().with_runtime_environment(RuntimeEnvironment::new("A-1").with_option(option));
    for option in ["", "two  words", "it's", "*", "é", "!#;&|<>(){}~"] {
        with(option).validate().unwrap();
    }
    for c in ['"', '$', '`', '\\', '%', '\n'] {
        let message = invalid_part(&with(&format!("a{c}b")));
        assert!(message.contains(&format!("{c:?}")) && message.contains("option"), "{message}");
    }
}

#[test]
fn outputs_do_not_cost_each_other() {
    let outputs = |job: &JobDescription| {
        let told = job.distinct_outputs().map(|(name, url)| format!("{name}>{}", url.unwrap_or_default()));
        told.collect::<Vec<_>>()
    };
    let url = "https://example.org/a";
    let kept = job().with_output_file("d/").with_output_file("d/e").with_output_file("de").with_output_file("@d/list");
    assert_eq!(outputs(&kept), ["d>", "de>", "@d/list>"]);
    assert_eq!(outputs(&kept.with_output_file("/")), ["@d/list>", "/>"]);
    let both = job().with_output_file_to("a/", url).with_output_file("a/");
    both.validate().unwrap();
    assert_eq!(outputs(&both), [format!("a/>{url}"), "a>".into()]);

    let listed = job().with_output_list("list").with_output_file_to("a", url);
    assert!(invalid_part(&listed).contains("would not keep what a list"));
    let inside = job().with_output_file("d").with_output_file_to("d/a", url);
    assert!(invalid_part(&inside).contains("would not keep the rest"));
    let twice = job().with_output_file_to("a", url).with_output_file_to("b", url);
    assert!(invalid_part(&twice).contains("two outputs"));
}

#[test]
fn an_executable_is_needed() {
    assert_eq!(invalid_part(&JobDescription::new("")), "the executable is empty");
}

#[test]
fn session_names_stay_in_the_session_directory() {
    for (name, fault) in [
        ("", "is empty"),
        ("/etc/passwd", "is not relative"),
        (".", "has a component"),
        ("..", "has a component"),
        ("a/../b", "has a component"),
        ("./a", "has a component"),
        ("a//b", "has an empty component"),
        (&"/a".repeat(3000)[1..], "is longer than any path"),
        (&"a".repeat(256), "has a component"),
    ] {
        for job in [job().with_output_file(name), job().with_input_file_as("x", name)] {
            let message = invalid_part(&job);
            assert!(message.contains(fault), "{name:?}: {message}");
        }
    }
    assert!(invalid_part(&job().with_input_file_as("x", "/")).contains("is not relative"));
    assert!(invalid_part(&job().with_input_file_as("x", "a/")).contains("ends in a slash"));
    job().with_output_file("a/").validate().unwrap();
}

#[test]
fn inputs_may_not_overwrite_each_other() {
    let (path, message) = bad_input(job().with_input_file("a/x").with_input_file_as("b/y", "x").validate());
    assert_eq!(path, Path::new("b/y"));
    assert!(message.contains("a/x"), "{message}");

    let nested = job().with_input_file_as("a", "d/e/f").with_input_file_as("b", "d");
    let (path, message) = bad_input(nested.validate());
    assert_eq!(path, Path::new("a"));
    assert!(message.contains("\"d\" is a file"), "{message}");

    job().with_input_file_as("a", "d/e").with_input_file_as("b", "d/f").validate().unwrap();
    job().with_input_file_as("a", "x").with_output_file("x").validate().unwrap();
}

#[test]
fn inputs_may_not_be_where_the_output_goes() {
    for name in ["stdout.txt", "stderr.txt"] {
        let (path, message) = bad_input(job().with_input_file(format!("/tmp/{name}")).validate());
        assert_eq!(path, Path::new("/tmp").join(name));
        assert!(message.contains(name), "{message}");
        bad_input(job().with_input_file_as("a", format!("{name}/a")).validate());
        job().with_input_file_as("a", format!("a/{name}")).validate().unwrap();
    }
}

#[test]
fn outputs_are_listed_once_and_without_the_standard_ones() {
    let job = job()
        .with_output_file("b")
        .with_output_file("stdout.txt")
        .with_output_file("a/")
        .with_output_file("a")
        .with_output_file("b")
        .with_output_file("stderr.txt");
    job.validate().unwrap();
    assert!(job.distinct_outputs().eq([("b", None), ("a", None)]));
    let kept = job.with_output_file_to("stdout.txt", "https://h/x");
    assert_eq!(kept.distinct_outputs().last(), Some(("stdout.txt", Some("https://h/x"))));
}

#[test]
fn paths_without_a_usable_base_name_are_refused() {
    for path in ["", "/", "..", "a/.."] {
        let (given, message) = bad_input(job().with_input_file(path).validate());
        assert_eq!((given.as_path(), message.contains("path")), (Path::new(path), true));
    }
    bad_input(job().with_input_file_as("", "x").validate());

    let latin1 = Path::new(OsStr::from_bytes(b"/tmp/\xe9"));
    assert!(bad_input(job().with_input_file(latin1).validate()).1.contains("UTF-8"));
    job().with_input_file_as(latin1, "e").validate().unwrap();
}

#[test]
fn inputs_are_resolved() {
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
fn serde_round_trip() {
    for job in [
        job(),
        job()
            .with_name("ü \u{1f30d}\r\n")
            .with_args(["", "\0", "\"\\"])
            .with_input_file("/a/b")
            .with_input_file_as("c", "d e")
            .with_output_file("f")
            .with_output_file("f")
            .with_input(InputFile::bytes("x", [0, 255]).with_executable(true))
            .with_input_url("https://h/u")
            .with_output_file_to("o", "https://h/o")
            .with_env("A", "b")
            .with_wall_time(Duration::from_secs(1))
            .with_start_time(SystemTime::UNIX_EPOCH + Duration::from_secs(5))
            .with_memory(ByteSize::mib(1))
            .with_exclusive(false)
            .with_runtime_environment(RuntimeEnvironment::new("A-1").with_option("x"))
            .with_notification(Notification::new("a@b", [NotificationState::InLrms]))
            .without_stdout()
            .with_project("p"),
    ] {
        let text = serde_json::to_string(&job).unwrap();
        assert_eq!(serde_json::from_str::<JobDescription>(&text).unwrap(), job);
    }
    assert!(serde_json::from_str::<JobDescription>(r#"{"executable": "a", "argz": []}"#).is_err());
}

#[test]
fn what_is_asked_for_must_make_sense() {
    let second = Duration::from_secs(1);
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
    for (bad, why) in [
        (job().with_slots(0), "the slots are 0"),
        (job().with_slots(u32::MAX), "more than ARC can count"),
        (job().with_slots_per_host(2), "not how many slots"),
        (job().with_slots(2).with_slots_per_host(0), "per host are 0"),
        (job().with_threads_per_process(2), "not how many slots"),
        (job().with_memory(ByteSize::new(0)), "memory is 0"),
        (job().with_disk(ByteSize::new(u64::MAX)), "disk space is 0, or more"),
        (job().with_wall_time(Duration::ZERO), "wall time is 0"),
        (job().with_life_time(second * u32::MAX), "life time is 0, or more"),
        (job().with_start_time(SystemTime::UNIX_EPOCH - second), "start time"),
        (job().with_start_time(far), "start time"),
        (job().with_priority(0), "priority"),
        (job().with_priority(101), "priority"),
        (job().with_queue(" "), "queue is empty"),
        (job().with_queue("\nfork"), "queue begins"),
        (job().with_env("", "x"), "no shell"),
        (job().with_env("1A", "x"), "no shell"),
        (job().with_env("A B", "x"), "no shell"),
        (job().with_env("A", "x\u{1}"), "U+0001"),
        (job().with_slots(4).with_slots_per_host(3), "no multiple"),
        (job().with_slots(4).with_slots_per_host(8), "no multiple"),
        (job().with_env("A", "").with_env("A", ""), "twice"),
        (job().with_env("JASMIN_ARC_DOLLAR", ""), "taken"),
        (job().with_stdin("a"), "neither an absolute path nor an input"),
        (job().with_stdin("../a"), "component"),
        (job().with_stdout("/a"), "not relative"),
        (job().with_stderr("$a"), "shells"),
        (job().with_log_directory("stdout.txt"), "standard output or error too"),
        (job().with_notification(Notification::new("a", [NotificationState::Finished])), "no address"),
        (job().with_notification(Notification::new("a@b c", [NotificationState::Finished])), "no address"),
        (job().with_notification(Notification::new("a@b", [])), "names no state"),
        (job().with_notification(Notification::new("a@b", [NotificationState::Finished; 2])), "twice"),
        (
            (0..4).fold(job(), |job, n| {
                job.with_notification(Notification::new(format!("{n}@b"), [NotificationState::Finished]))
            }),
            "3",
        ),
        (job().with_runtime_environment(RuntimeEnvironment::new("")), "no name"),
        (job().with_runtime_environment(RuntimeEnvironment::new("a b")), "no name"),
        (job().with_runtime_environment(RuntimeEnvironment::new("a/../b")), "no name"),
        (job().with_output_file_to("a", "b"), "protocol://host"),
        (job().with_output_file_to("a", "file:///b"), "CE's own"),
        (job().with_output_file_to("/", "https://h/b"), "not relative"),
        (job().with_output_list("../a"), "component"),
    ] {
        let message = invalid_part(&bad);
        assert!(message.contains(why), "{message}: not {why:?}");
    }
    for good in [
        job().with_output_file("/").with_output_list("made").with_output_file_to("d/a", "gsiftp://h:1/a;x=y"),
        job().with_stdin("in/a").with_input_directory("/x/in"),
        job().with_stdin("a").with_input_bytes("a", ""),
        job().with_stdin("/dev/zero").with_joined_output("o").with_log_directory("log"),
        job().with_env("_a1", "'\"$`\\ \t é").with_slots(1).with_threads_per_process(1),
    ] {
        good.validate().unwrap();
    }
}

#[test]
fn urls_are_inputs_of_their_own() {
    for (url, why) in [("x", "protocol"), ("://x", "protocol"), ("file:///x", "CE's own"), ("https://h/a b", "' '")] {
        let (path, message) = bad_input(job().with_input(InputFile::url(url).with_name("x")).validate());
        assert!(path.to_str() == Some(url) && message.contains(why), "{message}");
    }
    let secret = job().with_input_url("https://me:secret@h/x");
    let (path, message) = bad_input(secret.validate());
    let secret = secret.with_output_file_to("o", "https://me:secret@h/x");
    assert!(message.contains("password"), "{message}");
    for text in [path.display().to_string(), message, format!("{secret:?}")] {
        assert!(!text.contains("secret"), "{text}");
    }
    for bad in ["https://h:0/x", "https://h:99999/x", "https://h:0x50/x"] {
        assert!(bad_input(job().with_input_url(bad).validate()).1.contains("port"));
    }
    assert!(bad_input(job().with_input_url("https://h").validate()).1.contains("no name"));
    assert!(bad_input(job().with_input_url("https://h/a/").validate()).1.contains("no name"));
}

#[test]
fn directories_are_their_files() {
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
    assert!(bad_input(same.resolve_inputs()).1.contains("another file"));
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
fn bytes_are_sent_as_they_are() {
    let job = job().with_input(InputFile::bytes("a", [0, 1, 255]).with_executable(true));
    let resolved = job.resolve_inputs().unwrap().remove(0);
    assert!(resolved.executable);
    let ResolvedSource::Upload(upload) = resolved.source else { panic!("no upload") };
    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut upload.open().unwrap(), &mut read).unwrap();
    assert_eq!((upload.size, &read[..]), (3, &[0, 1, 255][..]));
    assert!(!format!("{job:?}").contains("255"), "{job:?}");
}
