//! Tests that every setting of a job description reaches the job or the CE's record of the job.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant, SystemTime};

use crate::common::{Outputs, PATIENCE, Site, batch_system, eventually, is_testbed, queue};
use crate::testbed::control_file;
use jasmin_arc::{
    ByteSize, Error, InputFile, JobDescription, JobId, JobStatus, Notification, NotificationState, RuntimeEnvironment,
};

/// Submits all jobs in one call.
fn submitted(site: &Site, jobs: &[JobDescription]) -> Vec<JobId> {
    site.arc.submit_jobs(jobs).unwrap().into_iter().map(Result::unwrap).collect()
}

/// Waits until all jobs have ended.
fn wait_for_all(site: &Site, ids: &[JobId]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let statuses: Vec<JobStatus> = site.arc.job_statuses(ids).unwrap().into_iter().map(Result::unwrap).collect();
        if statuses.iter().all(|status| status.is_final()) {
            return;
        }
        assert!(Instant::now() < deadline, "{ids:?} are {statuses:?}");
        sleep(Duration::from_millis(500));
    }
}

/// Submits jobs, waits until all have completed and returns their outputs.
fn run(site: &Site, jobs: &[JobDescription]) -> Vec<Outputs> {
    let ids = submitted(site, jobs);
    wait_for_all(site, &ids);
    ids.iter().map(|id| site.outputs(id)).collect()
}

/// A job that runs `script` in a shell.
fn shell(script: &str) -> JobDescription {
    JobDescription::new("/bin/sh").with_args(["-c", script])
}

/// Reads A-REX's own record of a job in the control directory.
fn record(id: &JobId, part: &str) -> String {
    let control = PathBuf::from(env::var_os("JASMIN_ARC_TESTBED_CONTROLDIR").unwrap());
    let path = control_file(&control, id, part);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Checks that a record of the job contains each of `lines`.
#[track_caller]
fn assert_recorded(id: &JobId, part: &str, lines: &[&str]) {
    let record = record(id, part);
    for line in lines {
        assert!(record.lines().any(|recorded| recorded == *line), "no line {line} in\n{record}");
    }
}

#[track_caller]
fn assert_invalid(site: &Site, job: JobDescription) {
    let result = site.arc.submit(&job);
    assert!(matches!(result, Err(Error::InvalidJobDescription { .. })), "{job:?}: {result:?}");
}

#[track_caller]
fn assert_nothing_submitted(site: &Site) {
    assert!(!site.path().join("jobs.dat").exists(), "a job was submitted");
}

#[test]
#[ignore = "needs an ARC-CE"]
fn environment_variables_arrive_unchanged() {
    let site = Site::new();
    let long = "long ".repeat(5000);
    let values = [
        "plain",
        "",
        " ",
        "  inner   and outer blanks  ",
        "\ta\tb\t",
        "it's",
        "''",
        "say \"hi\"",
        "'\"'\"'",
        "$HOME ${HOME} $(id) $$ $",
        "`id`",
        "\\d \\' \\\" \\$ \\ ",
        "ends in \\",
        "a=b=c",
        "a;b&&c|d>e<f",
        "* ? [a-z] ~ {a,b} !! # x",
        "%s %d %%",
        "-n",
        "<tag>&amp;</tag>]]>",
        "é漢字🦀 e\u{301}\u{a0}\u{2028}\u{feff}\u{85}\u{7f}",
        "a\rb\r",
        &long,
    ];
    let name = |n: usize| format!("TEST_value_{n}");
    let mut job = JobDescription::new("/bin/cat").with_arg("/proc/self/environ");
    for (n, value) in values.iter().enumerate() {
        job = job.with_env(name(n), *value);
    }
    // The crate also uses environment variables for some characters of arguments.
    let both = shell("printf '%s|' \"$X\" \"$@\"").with_args(["sh", "$X", "`\"\\"]).with_env("X", "'$'");
    let outputs = run(&site, &[job, both]);

    let environment = outputs[0].text("stdout.txt");
    let environment: HashMap<&str, &str> = environment.split('\0').filter_map(|one| one.split_once('=')).collect();
    for (n, value) in values.iter().enumerate() {
        assert_eq!(environment.get(name(n).as_str()), Some(value));
    }
    assert_eq!(outputs[1].text("stdout.txt"), "'$'|$X|`\"\\|");
}

#[test]
#[ignore = "needs an ARC-CE"]
fn standard_streams_use_the_given_files() {
    let site = Site::new();
    let mixed = || shell("echo 1; echo 2 >&2; echo 3; echo 4 >&2");
    // ARC's EMI-ES client reads the names of outputs as parts of a URL.
    let odd = if site.is_rest() { "aZ09_.-+,:@%41=^#é" } else { "aZ09_.-+,:@=^é" };
    let cat = || JobDescription::new("/bin/cat");
    let directory = site.path().join("given");
    fs::create_dir_all(directory.join("sub")).unwrap();
    site.file("given/sub/names", "from a directory");
    let jobs = [
        cat().with_input_bytes(odd, "odd name").with_stdin(odd),
        cat().with_input_bytes("a/b/c", "below").with_stdin("a/b/c"),
        cat().with_input_directory(&directory).with_stdin("given/sub/names"),
        cat().with_stdin("/etc/passwd"),
        cat(),
        mixed().with_stdout("out").with_stderr(format!("{odd}.err")),
        mixed().with_joined_output("all.txt"),
        mixed().without_stdout(),
        mixed().without_stderr(),
        shell("echo 1; echo 2 >&2; echo 3 > three").without_stdout().without_stderr().with_output_file("/"),
    ];
    // If an output directory contains the standard streams, the CE keeps its other files too.
    let inside = mixed()
        .with_input_bytes("logs/deep/x", "")
        .with_stdout("logs/deep/out")
        .with_stderr("logs/err")
        .with_output_file("logs/");
    if site.is_rest() {
        let outputs = &run(&site, std::slice::from_ref(&inside))[0];
        assert_eq!(outputs.files(), ["logs/deep/out", "logs/deep/x", "logs/err"]);
        assert_eq!((outputs.text("logs/deep/out"), outputs.text("logs/err")), ("1\n3\n".into(), "2\n4\n".into()));
    } else {
        assert_invalid(&site, inside);
    }

    let outputs = run(&site, &jobs);
    let stdout = |n: usize| outputs[n].text("stdout.txt");
    assert_eq!([stdout(0), stdout(1), stdout(2), stdout(4)], ["odd name", "below", "from a directory", ""]);
    assert!(stdout(3).contains("root:"), "{}", stdout(3));

    assert_eq!(outputs[5].files(), [&format!("{odd}.err"), "out"]);
    assert_eq!((outputs[5].text("out"), outputs[5].text(&format!("{odd}.err"))), ("1\n3\n".into(), "2\n4\n".into()));
    assert_eq!(outputs[6].files(), ["all.txt"]);
    assert_eq!(outputs[6].text("all.txt"), "1\n2\n3\n4\n");
    assert_eq!((outputs[7].files(), outputs[7].text("stderr.txt")), (vec!["stderr.txt".into()], "2\n4\n".into()));
    assert_eq!((outputs[8].files(), outputs[8].text("stdout.txt")), (vec!["stdout.txt".into()], "1\n3\n".into()));
    assert_eq!(outputs[9].files(), ["three"]);
}

#[test]
#[ignore = "needs an ARC-CE"]
fn inputs_of_every_kind_arrive() {
    let site = Site::new();
    let binary: Vec<u8> = (0..=255).collect();
    let megabyte: Vec<u8> = (0..1 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let program = "#!/bin/sh\necho \"$0 $*\"\n";
    // ARC's EMI-ES client reads the names of outputs from HTML.
    let odd = if site.is_rest() { "a dir/$x 'q' \"q\"" } else { "a dir/$x 'q'" };
    let tree = site.path().join("tree");
    fs::create_dir_all(tree.join("bin/none")).unwrap();
    fs::create_dir_all(tree.join("data/deep er")).unwrap();
    let run_path = site.file("tree/bin/run", program);
    fs::set_permissions(&run_path, fs::Permissions::from_mode(0o755)).unwrap();
    site.file("tree/data/plain", program);
    site.file("tree/data/deep er/it's", "odd");
    site.file("elsewhere", "behind a link");
    symlink("../../elsewhere", tree.join("data/link")).unwrap();
    symlink("data", tree.join("linked")).unwrap();

    let inputs = JobDescription::new("/bin/sh")
        .with_args(["-c", "./program one; tree/bin/run two; test ! -x bytes && test ! -x tree/data/plain"])
        .with_input_bytes("empty", "")
        .with_input_bytes("bytes", &binary)
        .with_input_bytes(odd, &megabyte)
        .with_input(InputFile::bytes("program", program).with_executable(true))
        .with_input_directory(&tree)
        .with_output_file("/");
    let inside = JobDescription::new("renamed/bin/run")
        .with_arg("three")
        .with_input(InputFile::directory(&tree).with_name("renamed"));
    let memory = JobDescription::new("program").with_arg("four").with_input_bytes("program", program);
    let outputs = run(&site, &[inputs, inside, memory]);

    let all = &outputs[0];
    assert_eq!(all.text("stdout.txt"), "./program one\ntree/bin/run two\n");
    assert!(all.read("empty").is_empty() && all.read("bytes") == binary && all.read(odd) == megabyte);
    assert_eq!(all.text("tree/data/link"), "behind a link");
    assert_eq!(all.text("tree/linked/deep er/it's"), "odd");
    let mut files =
        [odd, "bytes", "empty", "program", "stderr.txt", "stdout.txt", "tree/bin/run"].map(String::from).to_vec();
    for data in ["tree/data", "tree/linked"] {
        files.extend(["deep er/it's", "link", "plain"].map(|name| format!("{data}/{name}")));
    }
    assert_eq!(all.files(), files);
    assert_eq!(outputs[1].text("stdout.txt"), "./renamed/bin/run three\n");
    assert_eq!(outputs[2].text("stdout.txt"), "./program four\n");
}

/// An HTTP server that keeps its files in memory, with GET, HEAD and PUT.
pub(crate) struct Server {
    url: String,
    files: Arc<Mutex<HashMap<String, Vec<u8>>>>,
}

impl Server {
    pub(crate) fn new(files: &[(&str, &[u8])]) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let files = files.iter().map(|(path, content)| ((*path).to_owned(), content.to_vec())).collect();
        let files = Arc::new(Mutex::new(files));
        let shared = Arc::clone(&files);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let files = Arc::clone(&shared);
                thread::spawn(move || while serve(&connection, &files).is_some() {});
            }
        });
        Server { url, files }
    }

    /// The URL of a path.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Adds a file.
    pub(crate) fn add(&self, path: &str, content: &[u8]) {
        self.files.lock().unwrap().insert(path.into(), content.to_vec());
    }

    /// Returns the content of the file at a path, if it exists.
    fn get(&self, path: &str) -> Option<Vec<u8>> {
        self.files.lock().unwrap().get(path).cloned()
    }
}

/// Responds to one request. Returns `None` when the connection has ended.
fn serve(mut connection: &TcpStream, files: &Mutex<HashMap<String, Vec<u8>>>) -> Option<()> {
    let mut reader = BufReader::new(connection);
    let mut line = || {
        let mut line = String::new();
        (reader.read_line(&mut line).ok()? > 0).then(|| line.trim_end().to_owned())
    };
    let request = line()?;
    let mut parts = request.split(' ');
    let (method, url) = (parts.next()?, parts.next()?);
    // ARC sends the whole URL in the request line.
    let path = url.strip_prefix("http://").map_or(url, |rest| rest.find('/').map_or("/", |slash| &rest[slash..]));
    let (mut length, mut expects) = (0, false);
    loop {
        let header = line()?.to_ascii_lowercase();
        match header.split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse().ok()?,
            Some(("expect", _)) => expects = true,
            Some(_) => {}
            None => break,
        }
    }
    if expects {
        connection.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let stored = files.lock().unwrap().get(path).cloned();
    let (status, content) = match (method, stored) {
        ("GET" | "HEAD", Some(content)) => ("200 OK", content),
        ("GET" | "HEAD", None) => ("404 Not Found", Vec::new()),
        ("PUT", _) => {
            files.lock().unwrap().insert(path.to_owned(), body);
            ("201 Created", Vec::new())
        }
        // ARC tries WebDAV first.
        _ => ("405 Method Not Allowed", Vec::new()),
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", content.len());
    connection.write_all(head.as_bytes()).ok()?;
    if method != "HEAD" {
        connection.write_all(&content).ok()?;
    }
    Some(())
}

#[test]
#[ignore = "needs an ARC-CE"]
fn ce_downloads_inputs_from_urls() {
    if !is_testbed() {
        return;
    }
    let site = Site::new();
    let program = b"#!/bin/sh\necho fetched $1\n";
    let data: &[u8] = b"\0data\xff\n";
    let server = Server::new(&[
        ("/in/data.bin", data),
        ("/in/other?x=1&y=2", b"query"),
        ("/in/run", program),
        ("/main", program),
    ]);
    let fetching = shell("./run it; test ! -x data.bin")
        .with_input_url(server.at("/in/data.bin"))
        .with_input(InputFile::url(server.at("/in/other?x=1&y=2")).with_name("sub dir/named"))
        .with_input(InputFile::url(server.at("/in/run")).with_executable(true))
        .with_input_bytes("local", "both")
        .with_output_file("/");
    let main = JobDescription::new("main").with_arg("itself").with_input_url(server.at("/main"));
    let missing = JobDescription::new("/bin/true").with_input_url(server.at("/nothing"));
    let ids = submitted(&site, &[fetching, main, missing]);
    wait_for_all(&site, &ids);

    let all = site.outputs(&ids[0]);
    assert_eq!(all.files(), ["data.bin", "local", "run", "stderr.txt", "stdout.txt", "sub dir/named"]);
    assert_eq!((all.read("data.bin"), all.text("sub dir/named")), (data.to_vec(), "query".into()));
    assert_eq!((all.text("stdout.txt"), all.text("local")), ("fetched it\n".into(), "both".into()));
    assert_eq!(site.outputs(&ids[1]).text("stdout.txt"), "fetched itself\n");
    assert_eq!(site.arc.job_status(&ids[2]).unwrap(), JobStatus::Failed);
    let errors = site.complete_job(&ids[2]).errors.join("\n");
    assert!(errors.contains(&server.at("/nothing")), "{errors}");
}

#[test]
#[ignore = "needs an ARC-CE"]
fn requested_outputs_are_kept_and_others_deleted() {
    let site = Site::new();
    let make = "mkdir -p d/e f; echo 1 > one; echo 2 > d/two; echo 3 > d/e/three; echo 4 > f/four; echo 5 > 'odd $name'; echo gone > gone";
    let list = "printf '%s\\n' one d 'odd\\ $name' f/four > 'the list'";
    let jobs = [
        shell(make)
            .with_output_file("one")
            .with_output_file("f/four")
            .with_output_file("odd $name")
            .with_output_file("never"),
        // The CE keeps the whole directory, even if one of its files is also an output.
        shell(make).with_output_file("d/").with_output_file("d/e/three"),
        shell(make).with_output_file("/").with_output_file("d/two"),
        shell(make),
        shell(&format!("{make}; {list}")).with_output_list("the list"),
    ];
    let outputs = run(&site, &jobs);
    let standard = ["stderr.txt", "stdout.txt"];
    let kept = |n: usize, own: &[&str]| {
        let mut expected: Vec<&str> = own.iter().copied().chain(standard).collect();
        expected.sort_unstable();
        assert_eq!(outputs[n].files(), expected);
    };
    kept(0, &["f/four", "odd $name", "one"]);
    kept(1, &["d/e/three", "d/two"]);
    kept(2, &["d/e/three", "d/two", "f/four", "gone", "odd $name", "one"]);
    kept(3, &[]);
    kept(4, &["d/e/three", "d/two", "f/four", "odd $name", "one", "the list"]);
    assert_eq!((outputs[0].text("odd $name"), outputs[1].text("d/e/three")), ("5\n".into(), "3\n".into()));
}

#[test]
#[ignore = "needs an ARC-CE"]
fn ce_uploads_outputs_to_urls() {
    if !is_testbed() {
        return;
    }
    let site = Site::new();
    let server = Server::new(&[]);
    let make = "mkdir d; echo 1 > one; echo 2 > d/two; echo 3 > d/three; echo gone > gone";
    let list = format!("{make}; echo 'd/two {}' > list", server.at("/list/two"));
    let jobs = [
        shell(make).with_output_file_to("one", server.at("/up/one")).with_output_file("d/two"),
        shell(&format!("{make}; exit 3")).with_output_file_to("one", server.at("/failed/one")),
        shell(&format!("{make}; echo said"))
            .with_output_file_to("one", server.at("/both/one"))
            .with_output_file("one")
            .with_output_file_to("stdout.txt", server.at("/both/out")),
        shell(make).with_output_file_to("d/", server.at("/whole")),
        shell(&list).with_output_list("list"),
        shell(make).with_output_file_to("never", server.at("/never")),
    ];
    let ids = submitted(&site, &jobs);
    wait_for_all(&site, &ids);

    let outputs = site.outputs(&ids[0]);
    assert_eq!(outputs.files(), ["d/two", "stderr.txt", "stdout.txt"]);
    assert_eq!(server.get("/up/one").unwrap(), b"1\n");

    assert_eq!(site.arc.job_status(&ids[1]).unwrap(), JobStatus::Failed);
    let outputs = site.save(&ids[1]).unwrap();
    assert_eq!(outputs.files(), ["one", "stderr.txt", "stdout.txt"]);
    assert_eq!((outputs.text("one"), server.get("/failed/one")), ("1\n".into(), None));

    assert_eq!(site.outputs(&ids[2]).files(), ["one", "stderr.txt", "stdout.txt"]);
    assert_eq!(
        (server.get("/both/one").unwrap(), server.get("/both/out").unwrap()),
        (b"1\n".to_vec(), b"said\n".to_vec())
    );

    assert_eq!(site.outputs(&ids[3]).files(), ["d/three", "d/two", "stderr.txt", "stdout.txt"]);
    assert_eq!(
        (server.get("/whole/two").unwrap(), server.get("/whole/three").unwrap()),
        (b"2\n".to_vec(), b"3\n".to_vec())
    );

    assert_eq!(server.get("/list/two").unwrap(), b"2\n");
    assert_eq!(site.outputs(&ids[4]).files(), ["stderr.txt", "stdout.txt"]);

    assert_eq!(site.arc.job_status(&ids[5]).unwrap(), JobStatus::Failed);
}

#[test]
#[ignore = "needs an ARC-CE"]
fn requirements_reach_the_records_of_the_ce() {
    if !is_testbed() {
        return;
    }
    let site = Site::new();
    // The testbed's SLURM has one node, so all slots must be there.
    let (per_host, hosts) = if batch_system().as_deref() == Some("slurm") { (4, 1) } else { (2, 2) };
    let all = JobDescription::new("/bin/true")
        .with_name("it's <named> $x")
        .with_description("In \"prose\".")
        .with_annotation("first & foremost")
        .with_annotation(" second ")
        .with_wall_time(Duration::from_secs(1234))
        .with_cpu_time(Duration::from_secs(2345))
        .with_memory(ByteSize::mib(111))
        .with_virtual_memory(ByteSize::mib(222))
        .with_disk(ByteSize::mib(333))
        .with_slots(4)
        .with_slots_per_host(per_host)
        .with_processes_per_slot(3)
        .with_threads_per_process(5)
        .with_exclusive(true)
        .with_queue(queue())
        .with_priority(77)
        .with_rerun(2)
        .with_log_directory("records")
        .with_notification(Notification::new(
            "me@example.invalid",
            [NotificationState::Preparing, NotificationState::InLrms],
        ))
        .with_notification(Notification::new(
            "you@example.invalid",
            [NotificationState::Finishing, NotificationState::Finished],
        ));
    let jobs = [
        all,
        JobDescription::new("/bin/true").with_exclusive(true),
        JobDescription::new("/bin/true").with_exclusive(false),
        JobDescription::new("/bin/true").with_exclusive(false).with_slots(3),
        JobDescription::new("/bin/true").with_slots(3),
        JobDescription::new("/bin/true"),
    ];
    let ids = submitted(&site, &jobs);
    wait_for_all(&site, &ids);

    let grami = [
        "joboption_walltime=1234",
        "joboption_cputime=2345",
        "joboption_memory=111",
        "joboption_virtualmemory=222",
        "joboption_disk=333",
        "joboption_count=4",
        &format!("joboption_countpernode={per_host}"),
        &format!("joboption_numnodes={hosts}"),
        "joboption_penv_processesperhost=3",
        "joboption_penv_threadsperprocess=5",
        "joboption_exclusivenode=true",
        &format!("joboption_queue='{}'", queue()),
        "joboption_priority=77",
        r"joboption_jobname='it'\''s <named> $x'",
    ];
    assert_recorded(&ids[0], "grami", &grami);
    let local = [
        "jobname=it's <named> $x",
        &format!("queue={}", queue()),
        "rerun=2",
        "priority=77",
        "gmlog=records",
        "notify=bq me@example.invalid fe you@example.invalid",
    ];
    assert_recorded(&ids[0], "local", &local);
    let description = record(&ids[0], "description");
    for text in ["In \"prose\".", ">first &amp; foremost<", "> second <"] {
        assert!(description.contains(text), "no {text} in\n{description}");
    }
    let outputs = site.outputs(&ids[0]);
    assert_eq!(outputs.files(), ["stderr.txt", "stdout.txt"]);

    let exclusive = |id: &JobId| record(id, "grami").contains("exclusivenode=true");
    assert_eq!(ids.iter().map(exclusive).collect::<Vec<_>>(), [true, true, false, false, false, false]);
    for (n, slots) in [(1, "1"), (2, "1"), (3, "3"), (4, "3"), (5, "1")] {
        assert_recorded(&ids[n], "grami", &[&format!("joboption_count={slots}")]);
    }

    let job = site.complete_job(&ids[0]);
    assert_eq!(job.requested_wall_time, Some(4 * Duration::from_secs(1234)), "{job:?}");
    assert_eq!(job.requested_cpu_time, Some(Duration::from_secs(2345)), "{job:?}");
    assert_eq!(job.requested_slots, Some(4), "{job:?}");
    assert_eq!(job.queue.as_deref(), Some(queue().as_str()), "{job:?}");
}

#[test]
#[ignore = "needs an ARC-CE"]
fn job_starts_no_earlier_than_its_start_time() {
    let site = Site::new();
    let since_1970 = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let start = SystemTime::now() + Duration::from_secs(12);
    let job = JobDescription::new("/bin/date").with_arg("+%s").with_start_time(start);
    let id = submitted(&site, &[job]).remove(0);
    loop {
        let status = site.arc.job_status(&id).unwrap();
        if SystemTime::now() >= start {
            break;
        }
        assert_eq!(status, JobStatus::NotSubmitted);
        sleep(Duration::from_millis(500));
    }
    let started: u64 = site.outputs(&id).text("stdout.txt").trim().parse().unwrap();
    assert!(started >= since_1970(start), "{started}");
}

#[test]
#[ignore = "needs an ARC-CE"]
fn unknown_queue_is_named_in_the_error() {
    let site = Site::new();
    let job = JobDescription::new("/bin/true").with_queue("no-such-queue");
    match site.arc.submit(&job) {
        Err(Error::JobSubmission { message, job_id: None, .. }) => {
            assert!(message.contains("no-such-queue"), "{message}")
        }
        other => panic!("{other:?}"),
    }
    assert_nothing_submitted(&site);
}

/// The runtime environment is in `tests/testbed/rte`.
#[test]
#[ignore = "needs an ARC-CE"]
fn runtime_environments_get_their_options() {
    if !is_testbed() {
        return;
    }
    let site = Site::new();
    let greeting = || RuntimeEnvironment::new("TESTS/GREETING-1.2");
    let options = ["plain", "two  words", "it's", "", " blanks ", "* ~ # ! ; & | < > ( ) { }", "é", "-n"];
    let with_options = options.iter().fold(greeting(), |rte, option| rte.with_option(*option));
    let job = || shell("printf '%s %s' \"$GREETING\" \"$GREETED\"").with_output_file("greeting.txt");
    let jobs = [job().with_runtime_environment(with_options), job().with_runtime_environment(greeting()), job()];
    let ids = submitted(&site, &jobs);
    let missing = site.arc.submit(&job().with_runtime_environment(RuntimeEnvironment::new("TESTS/GREETING-1.3")));
    wait_for_all(&site, &ids);

    let outputs = site.outputs(&ids[0]);
    let arrived: String = options.iter().map(|option| format!("[{option}]")).collect();
    assert_eq!(outputs.text("stdout.txt"), format!("hello {arrived}"));
    assert_eq!(outputs.text("greeting.txt"), "good bye\n");
    assert_eq!(site.outputs(&ids[1]).text("stdout.txt"), "hello []");
    let outputs = site.outputs(&ids[2]);
    assert_eq!((outputs.text("stdout.txt"), outputs.files().len()), (" ".into(), 2));
    // ARC's EMI-ES client compares the job with what the CE offers.
    match missing {
        Ok(id) => assert_eq!(site.wait(&id), JobStatus::Failed),
        Err(error) => assert!(!site.is_rest() && matches!(error, Error::JobSubmission { .. }), "{error:?}"),
    }
}

#[test]
#[ignore = "needs an ARC-CE"]
fn xrsl_adl_and_jsdl_jobs_run() {
    let site = Site::new();
    let data = site.file("data.txt", "the data\n");
    let data = data.to_str().unwrap();
    let script = "cat; cat data; echo $GREETED > made/kept; echo gone > gone; echo err >&2";
    let xrsl = format!(
        r#"&(executable="/bin/sh")(arguments="-c" "mkdir made; {script}")(jobname="as xRSL")
            (inputfiles=("data" "{data}"))(stdin="data")(stdout="out.txt")(stderr="err.txt")(outputfiles=("made/" ""))
            (environment=("GREETED" "it's me"))(walltime="10")(count="2")(priority="60")"#
    );
    let adl = format!(
        r#"<?xml version="1.0"?>
        <ActivityDescription xmlns="http://www.eu-emi.eu/es/2010/12/adl" xmlns:ng="http://www.nordugrid.org/es/2011/12/nordugrid-adl">
          <ActivityIdentification><Name>as ADL</Name></ActivityIdentification>
          <Application>
            <Executable><Path>/bin/sh</Path><Argument>-c</Argument><Argument>mkdir made; {}</Argument></Executable>
            <Input>data</Input><Output>out.txt</Output><Error>err.txt</Error>
            <Environment><Name>GREETED</Name><Value>it's me</Value></Environment>
            <ng:Priority>60</ng:Priority>
          </Application>
          <Resources><SlotRequirement><NumberOfSlots>2</NumberOfSlots></SlotRequirement><WallTime>600</WallTime></Resources>
          <DataStaging>
            <InputFile><Name>data</Name><Source><URI>file://{data}</URI></Source></InputFile>
            <OutputFile><Name>made</Name></OutputFile>
          </DataStaging>
        </ActivityDescription>"#,
        script.replace('&', "&amp;").replace('>', "&gt;")
    );
    let jsdl = format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
        <JobDefinition xmlns="http://schemas.ggf.org/jsdl/2005/11/jsdl" xmlns:posix="http://schemas.ggf.org/jsdl/2005/11/jsdl-posix">
          <JobDescription>
            <JobIdentification><JobName>as JSDL</JobName></JobIdentification>
            <Application><posix:POSIXApplication>
              <posix:Executable>/bin/sh</posix:Executable>
              <posix:Argument>-c</posix:Argument><posix:Argument>mkdir made; {}</posix:Argument>
              <posix:Input>data</posix:Input><posix:Output>out.txt</posix:Output><posix:Error>err.txt</posix:Error>
              <posix:Environment name="GREETED">it's me</posix:Environment>
              <posix:WallTimeLimit>600</posix:WallTimeLimit>
            </posix:POSIXApplication></Application>
            <DataStaging>
              <FileName>data</FileName><CreationFlag>overwrite</CreationFlag><Source><URI>file://{data}</URI></Source>
            </DataStaging>
            <DataStaging>
              <FileName>made</FileName><CreationFlag>overwrite</CreationFlag><DeleteOnTermination>false</DeleteOnTermination>
            </DataStaging>
          </JobDescription>
        </JobDefinition>"#,
        script.replace('&', "&amp;").replace('>', "&gt;")
    );
    let jobs = [xrsl, adl, jsdl].map(|text| JobDescription::parse(&text).unwrap());
    let ids = submitted(&site, &jobs);
    wait_for_all(&site, &ids);
    for (job, id) in jobs.iter().zip(&ids) {
        let outputs = site.outputs(id);
        assert_eq!(outputs.files(), ["err.txt", "made/kept", "out.txt"], "{}", job.name());
        assert_eq!(outputs.text("out.txt"), "the data\nthe data\n");
        assert_eq!((outputs.text("made/kept"), outputs.text("err.txt")), ("it's me\n".into(), "err\n".into()));
        if is_testbed() {
            let name = format!("joboption_jobname='{}'", job.name());
            assert_recorded(id, "grami", &["joboption_walltime=600", &name]);
            if !job.name().contains("JSDL") {
                assert_recorded(id, "grami", &["joboption_count=2", "joboption_priority=60"]);
            }
        }
    }
}

#[test]
#[ignore = "needs an ARC-CE"]
fn unsupported_settings_are_refused_before_submission() {
    let site = Site::new();
    let job = || JobDescription::new("/bin/true");
    let notified =
        |state| job().with_notification(Notification::new("me@example.invalid", [NotificationState::Finished, state]));
    let url = "https://example.invalid/a";
    for bad in [
        job().with_project("climate"),
        notified(NotificationState::Canceling),
        notified(NotificationState::Deleted),
        job().with_name("two\nlines"),
        job().with_description("two\nlines"),
        job().with_annotation("two\nlines"),
        job().with_life_time(Duration::from_secs(3600)),
        job().with_env("A", "two\nlines"),
        job().with_env("A", "C:\\new"),
        job().with_env("HOME", "/tmp"),
        job().with_env("executable", "/bin/false"),
        job().with_stdin("missing"),
        job().with_input_bytes("two words", "").with_stdin("two words"),
        job().with_input_bytes("$HOME", "").with_stdin("$HOME"),
        job().with_stdout("it's"),
        job().with_stderr("no/such/directory"),
        job().with_slots(4).with_exclusive(true),
        job().with_slots(4).with_slots_per_host(3),
        job().with_runtime_environment(RuntimeEnvironment::new("A").with_option("$HOME")),
        job().with_output_list("list").with_output_file_to("a", url),
        job().with_output_file("d").with_output_file_to("d/a", url),
    ] {
        assert_invalid(&site, bad);
    }
    assert_nothing_submitted(&site);
}

#[test]
#[ignore = "needs an ARC-CE"]
fn invalid_description_does_not_affect_the_others() {
    let site = Site::new();
    let jobs =
        [JobDescription::new("/bin/true"), JobDescription::new("/bin/true").with_project("x"), shell("echo good")];
    let results = site.arc.submit_jobs(&jobs).unwrap();
    assert!(matches!(results[1], Err(Error::InvalidJobDescription { .. })), "{results:?}");
    let good = results[2].as_ref().unwrap();
    eventually("the job ends", PATIENCE, || site.arc.job_status(good).unwrap().is_final());
    assert_eq!(site.outputs(good).text("stdout.txt"), "good\n");
}
