use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::*;
use crate::description::testing::{bad_input, invalid_message, job};
use crate::description::{Notification, NotificationState, RuntimeEnvironment};

#[test]
fn session_names_that_a_rex_misreads_are_refused() {
    for (name, why) in [("a\nb", "has a newline"), ("@@a", "begins with an @")] {
        for job in [job().with_output_file(name), job().with_input_file_as("/tmp/x", name)] {
            let error = job.validate().unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}

#[test]
fn all_text_that_xml_carries_is_accepted() {
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
fn characters_that_xml_cannot_represent_are_refused_with_the_part() {
    for c in (0..=0x1f).map(char::from).filter(|c| !"\t\n\r".contains(*c)).chain(['\u{fffe}', '\u{ffff}']) {
        let text = format!("a{c}b");
        let code = format!(" contains the character U+{:04X},", u32::from(c));
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
            let message = invalid_message(&job);
            assert!(message.starts_with(&(part + &code)), "{message}");
        }
    }
}

#[test]
fn an_empty_executable_is_refused() {
    assert_eq!(invalid_message(&JobDescription::new("")), "the executable is empty");
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
        (&"/a".repeat(3000)[1..], "is longer than 4096 bytes"),
        (&"a".repeat(256), "has a component"),
    ] {
        for job in [job().with_output_file(name), job().with_input_file_as("x", name)] {
            let message = invalid_message(&job);
            assert!(message.contains(fault), "{name:?}: {message}");
        }
    }
    assert!(invalid_message(&job().with_input_file_as("x", "/")).contains("is not relative"));
    assert!(invalid_message(&job().with_input_file_as("x", "a/")).contains("ends in a slash"));
    job().with_output_file("a/").validate().unwrap();
}

#[test]
fn inputs_that_overwrite_each_other_are_refused() {
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
fn inputs_that_the_output_overwrites_are_refused() {
    for name in ["stdout.txt", "stderr.txt"] {
        let (path, message) = bad_input(job().with_input_file(format!("/tmp/{name}")).validate());
        assert_eq!(path, Path::new("/tmp").join(name));
        assert!(message.contains(name), "{message}");
        bad_input(job().with_input_file_as("a", format!("{name}/a")).validate());
        job().with_input_file_as("a", format!("a/{name}")).validate().unwrap();
    }
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
fn impossible_and_contradictory_values_are_refused() {
    let second = Duration::from_secs(1);
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
    for (bad, why) in [
        (job().with_slots(0), "slots is 0, but must be at least 1"),
        (job().with_slots(u32::MAX), "but must be at most 2147483647"),
        (job().with_slots_per_host(2), "slots_per_host requires slots"),
        (job().with_slots(2).with_slots_per_host(0), "slots_per_host is 0"),
        (job().with_threads_per_process(2), "threads_per_process requires slots"),
        (job().with_memory(ByteSize::new(0)), "memory is 0 B, but must be from 1 B to 2147483647 MiB"),
        (job().with_disk(ByteSize::new(u64::MAX)), "disk is 18446744073709551615 B, but must be"),
        (job().with_wall_time(Duration::ZERO), "wall_time is 0 s"),
        (job().with_life_time(second * u32::MAX), "life_time is 4294967295 s, but must be"),
        (job().with_start_time(SystemTime::UNIX_EPOCH - second), "start_time must be"),
        (job().with_start_time(far), "start_time must be"),
        (job().with_priority(0), "priority"),
        (job().with_priority(101), "priority"),
        (job().with_queue(" "), "queue is empty"),
        (job().with_queue("\nfork"), "begins or ends with a blank"),
        (job().with_env("", "x"), "no shell"),
        (job().with_env("1A", "x"), "no shell"),
        (job().with_env("A B", "x"), "no shell"),
        (job().with_env("A", "x\u{1}"), "U+0001"),
        (job().with_slots(4).with_slots_per_host(3), "must be a multiple of slots_per_host"),
        (job().with_slots(4).with_slots_per_host(8), "must be a multiple of slots_per_host"),
        (job().with_env("A", "").with_env("A", ""), "twice"),
        (job().with_env("JASMIN_ARC_DOLLAR", ""), "are reserved"),
        (job().with_stdin("a"), "neither an absolute path nor an input"),
        (job().with_stdin("../a"), "component"),
        (job().with_stdout("/a"), "not relative"),
        (job().with_stderr("$a"), "shell scripts"),
        (job().with_log_directory("stdout.txt"), "also the standard output or error"),
        (job().with_notification(Notification::new("a", [NotificationState::Finished])), "not an e-mail address"),
        (job().with_notification(Notification::new("a@b c", [NotificationState::Finished])), "not an e-mail address"),
        (job().with_notification(Notification::new("a@b", [])), "has no states"),
        (job().with_notification(Notification::new("a@b", [NotificationState::Finished; 2])), "twice"),
        (
            (0..4).fold(job(), |job, n| {
                job.with_notification(Notification::new(format!("{n}@b"), [NotificationState::Finished]))
            }),
            "3 addresses",
        ),
        (job().with_runtime_environment(RuntimeEnvironment::new("")), "not a valid name"),
        (job().with_runtime_environment(RuntimeEnvironment::new("a b")), "not a valid name"),
        (job().with_runtime_environment(RuntimeEnvironment::new("a/../b")), "not a valid name"),
        (job().with_output_file_to("a", "b"), "protocol://host"),
        (job().with_output_file_to("a", "file:///b"), "CE's own host"),
        (job().with_output_file_to("/", "https://h/b"), "not relative"),
        (job().with_output_list("../a"), "component"),
    ] {
        let message = invalid_message(&bad);
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
fn unusable_urls_are_refused_without_their_password() {
    for (url, why) in [
        ("x", "protocol"),
        ("://x", "protocol"),
        ("file:///x", "CE's own host"),
        ("https://h/a b", "' '"),
        ("https://[::1/x", "is not a host name"),
        ("https://h|i/x", "is not a host name"),
    ] {
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
fn arguments_that_linux_cannot_pass_are_refused() {
    let job = |length: usize| JobDescription::new("/bin/true").with_arg("x".repeat(length));
    job(131_071).validate().unwrap();
    let error = job(131_072).validate().unwrap_err().to_string();
    assert!(error.contains("argument 1 has 131072 bytes") && error.contains("use an input file"), "{error}");
}
