//! The declarations of the bridge to C++, and nothing else.
#![allow(unreachable_pub)] // what a bridge generates is pub
#![allow(dead_code)] // some is for the tests alone

#[cxx::bridge(namespace = "jasmin_arc")]
pub(crate) mod cpp {
    /// What a certificate or proxy file holds. Times are seconds since 1970.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct CredentialFile {
        identity: String,
        certificate: String,
        not_before: i64,
        not_after: i64,
    }

    /// What ARC needs to know to talk to a CE.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct SessionSettings {
        proxy: String,
        ca_directory: String,
        timeout_seconds: u32,
    }

    /// A local file to upload.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct LocalInput {
        name: String,
        path: String,
        executable: bool,
        size: u64,
    }

    /// An environment variable.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct Variable {
        name: String,
        value: String,
    }

    /// A job description, as far as it goes to ARC.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct Description {
        name: String,
        executable: String,
        arguments: Vec<String>,
        environment: Vec<Variable>,
        inputs: Vec<LocalInput>,
        outputs: Vec<String>,
        stdout: String,
        stderr: String,
        /// The delegation that A-REX uses for the job, if it has one.
        delegation: String,
    }

    /// Where a job is: what ARC's tools need to find it again.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct JobPlace {
        id: String,
        local_id: String,
        service_url: String,
        information_interface: String,
        management_interface: String,
        name: String,
        stdout: String,
        stderr: String,
        delegation: String,
    }

    /// What came of a submission through ARC's client classes.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct Submission {
        targets: usize,
        submitted: bool,
        place: JobPlace,
    }

    /// What is known of a job. Times are seconds since 1970, periods seconds; -1 is unknown.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct JobRecord {
        id: String,
        found: bool,
        state: String,
        native_state: String,
        name: String,
        owner: String,
        local_owner: String,
        local_id: String,
        queue: String,
        exit_code: i32,
        errors: Vec<String>,
        messages: Vec<String>,
        execution_nodes: Vec<String>,
        stdin: String,
        stdout: String,
        stderr: String,
        log_directory: String,
        waiting_position: i32,
        requested_slots: i32,
        requested_wall_time: i64,
        requested_cpu_time: i64,
        used_wall_time: i64,
        used_cpu_time: i64,
        used_memory: i64,
        submission_time: i64,
        start_time: i64,
        end_time: i64,
        erase_time: i64,
        proxy_expiration_time: i64,
    }

    /// A file in a session directory.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct RemoteFile {
        path: String,
        url: String,
        size: i64,
    }

    /// The head of an HTTP answer. The size is -1 when the server has not told it.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct HttpReply {
        code: i32,
        reason: String,
        location: String,
        size: i64,
    }

    extern "Rust" {
        fn arc_logged(level: u32, line: &[u8]);
        fn arc_log_flush();
    }

    unsafe extern "C++" {
        include!("jasmin-arc/cpp/trycatch.h");
        include!("jasmin-arc/cpp/runtime.h");
        include!("jasmin-arc/cpp/logging.h");
        include!("jasmin-arc/cpp/credential.h");
        include!("jasmin-arc/cpp/session.h");
        include!("jasmin-arc/cpp/description.h");
        include!("jasmin-arc/cpp/submit.h");
        include!("jasmin-arc/cpp/jobs.h");
        include!("jasmin-arc/cpp/files.h");
        include!("jasmin-arc/cpp/store.h");
        include!("jasmin-arc/cpp/http.h");
        include!("jasmin-arc/cpp/delegation.h");

        fn runtime_start(location: &str) -> Result<()>;
        fn runtime_throw(kind: u8) -> Result<()>;

        fn logging_threshold(level: u32) -> Result<()>;
        fn logging_say(level: u32, text: &str) -> Result<()>;

        fn read_credential(path: &str) -> Result<CredentialFile>;

        type Session;
        fn new_session(settings: &SessionSettings) -> Result<SharedPtr<Session>>;

        fn to_adl(description: &Description) -> Result<String>;

        fn submit(
            session: &Session,
            endpoint: &str,
            information_interface: &str,
            submission_interface: &str,
            description: &Description,
        ) -> Result<Submission>;

        fn update_jobs(session: &Session, jobs: &[JobPlace]) -> Result<Vec<JobRecord>>;
        fn cancel_job(session: &Session, job: &JobPlace) -> Result<bool>;
        fn clean_job(session: &Session, job: &JobPlace) -> Result<bool>;

        fn list_files(session: &Session, job: &JobPlace) -> Result<Vec<RemoteFile>>;
        fn fetch_file(session: &Session, url: &str, path: &str) -> Result<()>;

        fn parse_jobs(xml: &[u8]) -> Result<Vec<JobRecord>>;

        type Connection;
        fn new_connection(session: &Session, url: &str, timeout: u32) -> Result<UniquePtr<Connection>>;
        fn request(
            self: Pin<&mut Connection>,
            method: &str,
            path: &str,
            accept: &str,
            content: &[u8],
        ) -> Result<HttpReply>;
        fn body(self: &Connection) -> Result<&[u8]>;
        fn download(self: Pin<&mut Connection>, path: &str, file: i32) -> Result<HttpReply>;
        fn upload(self: Pin<&mut Connection>, path: &str, file: i32, size: u64) -> Result<HttpReply>;
        fn usable(self: &Connection) -> Result<bool>;

        fn sign_delegation(proxy: &str, request: &str) -> Result<String>;

        fn store_jobs(path: &str, jobs: &[JobPlace]) -> Result<()>;
    }
}

use super::{arc_log_flush, arc_logged};
