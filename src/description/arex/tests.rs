use super::*;
use crate::description::RuntimeEnvironment;
use crate::description::testing::{invalid_message, job};

#[test]
fn executables_that_would_change_are_refused() {
    for executable in ["a'b", "a\"b", "a`b", "a$b", "a\\b", "a\nb", " a", "a "] {
        let error = JobDescription::new(executable).validate().unwrap_err();
        assert!(error.to_string().contains("the executable"), "{error}");
    }
}

#[test]
fn environment_values_that_would_change_are_refused() {
    let fine = ["", " ", " a\t", "it's \"x\"", "$HOME `id` $(id)", "a\\", "\\d\\ \\$", "é漢🦀", "a=b;c", "\r"];
    for value in fine {
        job().with_env("A", value).validate().unwrap();
    }
    for (value, why) in [("a\nb", "newline"), ("a\n", "newline"), ("a\\nb", "'n'"), ("\\\\", "'\\\\'"), ("\\0", "'0'")]
    {
        let message = invalid_message(&job().with_env("A", value));
        assert!(message.contains(why) && message.contains("\"A\""), "{message}");
    }
    for name in ["HOME", "IFS", "executable", "RUNTIME_JOB_DIR", "JASMIN_ARC_DOLLAR", "GRID_GLOBAL_JOBID"] {
        let message = invalid_message(&job().with_env(name, "x"));
        assert!(message.contains("are reserved") || message.contains("set by the CE"), "{message}");
    }
    job().with_env("home", "x").with_env("PATH", "/bin").with_env("RUNTIME", "x").validate().unwrap();
}

#[test]
fn standard_streams_need_plain_names_in_existing_directories() {
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
            let message = invalid_message(&job);
            assert!(message.contains(&format!("{c:?}")) && message.contains("standard"), "{message}");
        }
    }
    let inside = || job().with_stdout("d/e/out");
    assert!(invalid_message(&inside()).contains("no input file is in it"));
    assert!(invalid_message(&inside().with_input_bytes("d/x", "")).contains("no input file is in it"));
    assert!(invalid_message(&inside().with_input_file_as("/tmp/x", "d/e2/x")).contains("no input file is in it"));
    inside().with_input_bytes("d/e/f/x", "").validate().unwrap();
    // What is in them is seen when they are read.
    inside().with_input(InputFile::directory("/tmp").with_name("d")).validate().unwrap();
    inside().with_input(InputFile::directory("/tmp").with_name("d/e")).validate().unwrap();
}

#[test]
fn options_that_would_change_are_refused() {
    let with = |option: &str| job().with_runtime_environment(RuntimeEnvironment::new("A-1").with_option(option));
    for option in ["", "two  words", "it's", "*", "é", "!#;&|<>(){}~"] {
        with(option).validate().unwrap();
    }
    for c in ['"', '$', '`', '\\', '%', '\n'] {
        let message = invalid_message(&with(&format!("a{c}b")));
        assert!(message.contains(&format!("{c:?}")) && message.contains("option"), "{message}");
    }
}

#[test]
fn outputs_that_would_delete_other_outputs_are_refused() {
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
    assert!(invalid_message(&listed).contains("would not keep the files of a list"));
    let inside = job().with_output_file("d").with_output_file_to("d/a", url);
    assert!(invalid_message(&inside).contains("would not keep the rest"));
    let twice = job().with_output_file_to("a", url).with_output_file_to("b", url);
    assert!(invalid_message(&twice).contains("two outputs have the same URL"));
}

#[test]
fn outputs_are_sent_once_and_without_standard_streams() {
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
