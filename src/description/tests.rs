use super::*;

fn job() -> JobDescription {
    JobDescription::new("/bin/true")
}

#[test]
fn serde_forms_are_read_back() {
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
fn serde_keys_have_the_names_of_the_getters() {
    let text = r#"{"name":"ARC job","executable":"/bin/true","envs":{"B":"2","A":"1"},"stdout":null,"stderr":"stderr.txt","wall_time":2,"disk":1048576,"start_time":5,"notifications":[{"email":"a@b","states":["INLRMS"]}],"delegation":"never"}"#;
    let second = SystemTime::UNIX_EPOCH + Duration::from_secs(5);
    let job = job()
        .with_envs([("B", "2"), ("A", "1")])
        .without_stdout()
        .with_wall_time(Duration::from_millis(1001))
        .with_start_time(second + Duration::from_millis(999))
        .with_disk(ByteSize::mib(1))
        .with_notification(Notification::new("a@b", [NotificationState::InLrms]))
        .with_delegation(Delegation::Never);
    assert_eq!(serde_json::to_string(&job).unwrap(), text);
    assert_eq!(serde_json::from_str::<JobDescription>(text).unwrap(), job);
    let least: JobDescription = serde_json::from_str(r#"{"executable": "/bin/true"}"#).unwrap();
    assert_eq!(least, JobDescription::new("/bin/true"));
}

#[test]
fn jobs_that_stage_files_by_url_get_a_delegation() {
    let url = "https://example.org/a";
    for (job, wants) in [
        (job(), false),
        (job().with_input_file("/a").with_output(OutputFile::everything()), false),
        (job().with_input_url(url), true),
        (job().with_output_file_to("a", url), true),
        (job().with_output_list("made"), true),
    ] {
        assert_eq!(job.wants_delegation(), wants, "{job:?}");
        assert!(job.clone().with_delegation(Delegation::Always).wants_delegation());
        assert!(!job.with_delegation(Delegation::Never).wants_delegation());
    }
}

#[test]
fn equal_descriptions_have_equal_hashes() {
    let job = || job().with_input_bytes("a", "b").with_start_time(SystemTime::UNIX_EPOCH + Duration::from_secs(5));
    let jobs = std::collections::HashSet::from([job(), job(), job().with_slots(2)]);
    assert_eq!(jobs.len(), 2);
}

#[test]
fn setters_are_read_back_by_getters() {
    let job = job()
        .with_cpu_time(Duration::from_millis(1500))
        .with_output(OutputFile::list("made"))
        .with_output(OutputFile::everything())
        .with_output(OutputFile::file("a").with_url("https://h/a"))
        .with_env("A", "1")
        .with_envs([("B", "2")])
        .with_joined_output("all.txt");
    assert_eq!(job.cpu_time(), Some(Duration::from_secs(2)));
    let outputs: Vec<_> = job.outputs().iter().map(|output| (output.name(), output.url())).collect();
    assert_eq!(outputs, [("@made", None), ("/", None), ("a", Some("https://h/a"))]);
    assert!(job.envs().eq([("A", "1"), ("B", "2")]));
    assert_eq!((job.stdout(), job.stderr()), (Some("all.txt"), Some("all.txt")));
}
