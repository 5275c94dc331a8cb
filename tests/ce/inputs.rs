//! Tests that arguments and input files arrive on the CE unchanged, or that the crate refuses the job.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::Site;
use jasmin_arc::{Error, JobDescription};
use tempfile::TempDir;

/// Strings that are special to shells, XML, URLs, printf or ARC.
fn odd_strings() -> Vec<String> {
    let texts = [
        "plain",
        "two words",
        "  blanks around  ",
        " ",
        "",
        "it's",
        "'",
        "''",
        "a 'quoted' word",
        "\"",
        "say \"hi\"",
        "`id`",
        "$HOME",
        "${HOME}",
        "$(id)",
        "$$",
        "$",
        "!!",
        "\\",
        "\\\\",
        "\\n",
        "ends in \\",
        "\\'",
        "\\\"",
        "<tag>&amp;</tag>",
        "&#10;",
        "]]>",
        "<![CDATA[x]]>",
        "<!-- -->",
        "a\nb",
        "\n",
        "ends in newline\n",
        "\n\nstarts with two",
        "a\r\nb",
        "a\rb",
        "\r",
        "a\tb",
        "\t",
        "é",
        "漢字",
        "🦀 emoji",
        "e\u{301}",
        "\u{a0}",
        "\u{2028}",
        "\u{feff}bom",
        "\u{7f}",
        "\u{85}",
        "-n",
        "-e",
        "--",
        "-",
        "%s %d %%",
        "%20",
        "*",
        "?",
        "[a-z]",
        "~",
        "~root",
        "a=b",
        "a;b",
        "a|b",
        "a&b",
        "a > b",
        "#comment",
        "a # b",
        "(x)",
        "{a,b}",
        "%(user)s",
        "@HOME@",
        "last",
    ];
    let mut texts: Vec<String> = texts.into_iter().map(String::from).collect();
    texts.insert(1, "long ".repeat(2000));
    texts
}

#[test]
#[ignore = "needs an ARC-CE"]
fn arguments_arrive_unchanged() {
    let site = Site::new();
    let strings = odd_strings();
    let mut args = vec!["-c", r#"printf '%s\0' "$@" > output"#, "sh"];
    args.extend(strings.iter().map(String::as_str));
    let id = site.arc.submit_job("/bin/sh", &args, &[]).unwrap();
    let outputs = site.outputs(&id);

    let text = outputs.text("output");
    let arrived: Vec<&str> = text.split_terminator('\0').collect();
    for (sent, arrived) in strings.iter().zip(&arrived) {
        assert_eq!(sent, arrived);
    }
    assert_eq!(strings.len(), arrived.len());
}

/// Runs a job of [`packing`] and returns a copy of its session directory, with the same names, contents and modes.
fn session_of(site: &Site, job: JobDescription) -> TempDir {
    let id = site.arc.submit(&job.with_output_file("output")).unwrap();
    let outputs = site.outputs(&id);
    let unpacked = tempfile::tempdir().unwrap();
    let tar = Command::new("tar").arg("xpf").arg(outputs.join("output")).arg("-C").arg(unpacked.path()).status();
    assert!(tar.unwrap().success());
    unpacked
}

/// A job that writes a `tar` archive of its session directory.
fn packing() -> JobDescription {
    JobDescription::new("/bin/tar").with_args(["cf", "output", "--exclude=./output", "."])
}

#[test]
#[ignore = "needs an ARC-CE"]
fn input_files_arrive_unchanged_under_their_names() {
    let site = Site::new();
    let bytes: Vec<u8> = (0..=255).collect();
    let megabyte: Vec<u8> = (0..1 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut files: Vec<(String, Vec<u8>)> =
        vec![("binary".into(), bytes), ("empty".into(), Vec::new()), ("megabyte".into(), megabyte)];
    // A file name contains no "/" and at most 255 bytes. A-REX treats names that begin with "@" as lists, and stores
    // one name per line.
    let is_name =
        |name: &String| !name.is_empty() && name.len() < 200 && !name.starts_with('@') && !name.contains(['/', '\n']);
    files.extend(odd_strings().into_iter().filter(is_name).map(|name| (name.clone(), name.into_bytes())));
    files.push((".hidden".into(), b"dot".into()));
    files.push(("a%20b+c#d:e,f".into(), b"url".into()));
    files.push(("e;f=g?h=i".into(), b"more url".into()));

    let mut job = packing();
    for (name, content) in &files {
        job = job.with_input_file(site.file(name, content));
    }
    let nested = site.file("other", "nested");
    job = job.with_input_file_as(nested, "sub dir/%41/b");
    let session = session_of(&site, job);
    for (name, content) in &files {
        let arrived = fs::read(session.path().join(name)).unwrap_or_else(|error| panic!("{name:?}: {error}"));
        assert!(arrived == *content, "{name:?} has changed");
    }
    assert_eq!(fs::read(session.path().join("sub dir/%41/b")).unwrap(), b"nested");
}

#[test]
#[ignore = "needs an ARC-CE"]
fn input_files_can_be_executables() {
    let site = Site::new();
    let program = |name: &str, mode| {
        let path = site.file(name, "#!/bin/sh\nprintf '%s|' \"$@\"\n");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let spaced = program("script with space.sh", 0o755);
    let odd = program("a&b (é).sh", 0o700);
    let plain = program("not executable", 0o644);
    let run = |name, path: &PathBuf| site.arc.submit_job(name, &["one two", "$x"], &[path]).unwrap();
    let relative = run("script with space.sh", &spaced);
    let dotted = run("./script with space.sh", &spaced);
    let odd = run("a&b (é).sh", &odd);
    for id in [relative, dotted, odd] {
        assert_eq!(site.outputs(&id).text("stdout.txt"), "one two|$x|");
    }

    let session = session_of(&site, packing().with_input_file(&spaced).with_input_file(&plain));
    let executable = |name: &str| fs::metadata(session.path().join(name)).unwrap().permissions().mode() & 0o100 != 0;
    assert!(executable("script with space.sh") && !executable("not executable"));
}

#[test]
#[ignore = "needs an ARC-CE"]
fn invalid_inputs_are_refused_before_submission() {
    let site = Site::new();
    let good = site.file("good", "good");
    let missing = site.path().join("missing");
    let directory = site.path().to_owned();
    fs::create_dir(site.path().join("sub")).unwrap();
    let twin = site.file("sub/good", "twin");
    let newline = site.file("a\nb", "newline");

    let bad_input = |inputs: &[&Path], bad: &Path| match site.arc.submit_job("/bin/true", &[], inputs) {
        Err(Error::InputFile { path, .. }) => assert_eq!(path, bad),
        other => panic!("{inputs:?}: {other:?}"),
    };
    bad_input(&[&good, &missing], &missing);
    bad_input(&[&directory], &directory);
    bad_input(&[&good, &twin], &twin);
    bad_input(&["".as_ref()], "".as_ref());
    // Root can read every file.
    let closed = site.file("closed", "closed");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&closed).is_err() {
        bad_input(&[&closed], &closed);
    }

    let invalid = |job: JobDescription| {
        let result = site.arc.submit(&job);
        assert!(matches!(result, Err(Error::InvalidJobDescription { .. })), "{job:?}: {result:?}");
    };
    let job = || JobDescription::new("/bin/true");
    invalid(job().with_arg("a\0b"));
    invalid(job().with_arg("\u{1b}"));
    invalid(job().with_name("\0"));
    invalid(job().with_output_file("../up"));
    // A-REX stores one name per line, so it would wait for a file that never arrives.
    invalid(job().with_input_file(&newline));
    // A-REX reads "@list" as a list of files.
    invalid(job().with_input_file_as(&good, "@list"));
    // A-REX writes the executable into a shell script. Some characters are expanded there, others are syntax errors.
    for executable in [
        "",
        "echo",
        "./good",
        ".//bin/sh",
        "/bin/\0",
        "it's",
        "$HOME/x",
        "`id`",
        "say \"x\"",
        "a\\b",
        " blank",
        "blank ",
        "a\nb",
    ] {
        invalid(JobDescription::new(executable));
    }
    assert!(!site.path().join("jobs.dat").exists(), "a job was submitted");
}
