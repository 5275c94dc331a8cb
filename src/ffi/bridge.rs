//! The declarations of the bridge to C++, and nothing else.
#![allow(unreachable_pub)] // cxx generates pub items
#![allow(dead_code)] // only tests use some of the functions

#[cxx::bridge(namespace = "jasmin_arc")]
pub(crate) mod cpp {
    /// The content of a certificate or proxy file. Times are in seconds since 1970.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct CredentialFile {
        identity: String,
        certificate: String,
        not_before: i64,
        not_after: i64,
        has_voms: bool,
    }

    /// The settings with which ARC connects to a CE.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct SessionSettings {
        proxy: String,
        ca_directory: String,
        timeout_seconds: u32,
        /// Whether the certificate of the CE must name its host.
        verify_host: bool,
    }

    /// An input file of a job.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct Input {
        name: String,
        /// The local path; empty if there is a URL.
        path: String,
        /// The URL from which the CE fetches the file; empty if the crate uploads it.
        url: String,
        executable: bool,
        /// The size in bytes, or -1 if unknown.
        size: i64,
    }

    /// A file or directory that the CE keeps for download, or uploads to a URL.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct Output {
        name: String,
        url: String,
    }

    /// An environment variable.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct Variable {
        name: String,
        value: String,
    }

    /// A runtime environment.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct Runtime {
        name: String,
        version: String,
        options: Vec<String>,
    }

    /// An e-mail address, and the states at which the CE sends a message to it.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct Notice {
        email: String,
        states: Vec<String>,
    }

    /// A job description in the form that the shim gives to ARC. Unset numbers are -1 and unset texts empty. Times are
    /// in seconds, the start time since 1970. Sizes are in MiB.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct Description {
        name: String,
        description: String,
        annotations: Vec<String>,
        /// ADL's `ActivityOldID`, in which the key of the submission travels.
        old_ids: Vec<String>,
        executable: String,
        arguments: Vec<String>,
        environment: Vec<Variable>,
        inputs: Vec<Input>,
        outputs: Vec<Output>,
        stdin: String,
        stdout: String,
        stderr: String,
        wall_time: i32,
        cpu_time: i32,
        memory: i32,
        virtual_memory: i32,
        disk: i32,
        slots: i32,
        slots_per_host: i32,
        processes_per_slot: i32,
        threads_per_process: i32,
        /// 0 for no, 1 for yes.
        exclusive: i32,
        queue: String,
        runtimes: Vec<Runtime>,
        rerun: i32,
        start_time: i64,
        life_time: i32,
        notices: Vec<Notice>,
        priority: i32,
        log_directory: String,
        /// The id of the delegation that A-REX uses for the job; empty if it has none.
        delegation: String,
    }

    /// A job description that ARC has read, for the tests.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct ReadDescription {
        description: Description,
        /// The parts of the text for which `description` has no field.
        unsupported: Vec<String>,
    }

    /// The data with which ARC's tools find a job.
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

    /// The outcome of a submission through ARC's client classes.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct Submission {
        targets: usize,
        submitted: bool,
        place: JobPlace,
    }

    /// A queue that accepts jobs over an interface. Times are in seconds, CPU times per slot; memory is in MiB per slot,
    /// disk space in GiB. -1 stands for unknown.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct Target {
        queue: String,
        /// The serving state of the interface. ARC's classes leave out that of the queue.
        serving: String,
        min_wall_time: i64,
        max_wall_time: i64,
        min_cpu_time: i64,
        max_cpu_time: i64,
        /// In all slots.
        max_total_cpu_time: i64,
        memory: i64,
        virtual_memory: i64,
        /// For one job.
        disk: i64,
        /// For all jobs, at the moment.
        free_disk: i64,
        /// For one job.
        slots: i64,
        /// Of the cluster.
        total_slots: i64,
    }

    /// What a CE offers over an interface.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct Offered {
        targets: Vec<Target>,
        /// Runtime environments, with their versions.
        runtimes: Vec<String>,
    }

    /// What a CE publishes about a job. Points in time are in seconds since 1970, durations in seconds. -1 stands for
    /// unknown.
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

    /// The head of an HTTP response.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct HttpReply {
        code: i32,
        reason: String,
        location: String,
        /// The value of `Retry-After`, or nothing.
        retry_after: String,
        /// The length of the body in bytes, or -1 if the server does not announce it.
        size: i64,
        /// The length of the whole content of which a range was read, or 0 if the server does not announce it.
        total: u64,
        /// The `errno` with which the local file of a transfer failed, or 0.
        local_error: i32,
        /// Whether a download was given up because the body is longer than the limit.
        over_limit: bool,
    }

    extern "Rust" {
        fn arc_logged(level: u32, line: &[u8]);
        fn arc_log_flush();

        type Cancel;
        fn possible(self: &Cancel) -> bool;
        fn requested(self: &Cancel) -> bool;
    }

    unsafe extern "C++" {
        include!("jasmin-arc/cpp/trycatch.h");
        include!("jasmin-arc/cpp/runtime.h");
        include!("jasmin-arc/cpp/logging.h");
        include!("jasmin-arc/cpp/credential.h");
        include!("jasmin-arc/cpp/session.h");
        include!("jasmin-arc/cpp/description.h");
        include!("jasmin-arc/cpp/oracle.h");
        include!("jasmin-arc/cpp/targets.h");
        include!("jasmin-arc/cpp/submit.h");
        include!("jasmin-arc/cpp/jobs.h");
        include!("jasmin-arc/cpp/files.h");
        include!("jasmin-arc/cpp/store.h");
        include!("jasmin-arc/cpp/http.h");
        include!("jasmin-arc/cpp/guard_name.h");
        include!("jasmin-arc/cpp/delegation.h");
        include!("jasmin-arc/cpp/generated.h"); // last

        fn runtime_start(location: &str) -> Result<()>;
        fn runtime_throw(kind: u8) -> Result<()>;

        fn logging_threshold(level: u32) -> Result<()>;
        fn logging_message(level: u32, text: &str) -> Result<()>;

        fn read_credential(path: &str) -> Result<CredentialFile>;
        fn can_decrypt(key: &str, passphrase: &[u8]) -> Result<bool>;
        fn is_key_of(key: &str, passphrase: &[u8], certificate: &str) -> Result<bool>;

        type Session;
        fn new_session(settings: &SessionSettings) -> Result<SharedPtr<Session>>;

        fn describe(description: &Description, language: &str) -> Result<String>;
        fn read_descriptions(text: &str, language: &str) -> Result<Vec<ReadDescription>>;
        fn follow_framing(response: &[u8], part: usize) -> Result<String>;

        fn offered(
            session: &Session,
            endpoint: &str,
            information_interface: &str,
            submission_interface: &str,
        ) -> Result<Offered>;

        fn submit(
            session: &Session,
            endpoint: &str,
            information_interface: &str,
            submission_interface: &str,
            description: &Description,
            delegate: bool,
        ) -> Result<Submission>;

        fn update_jobs(session: &Session, jobs: &[JobPlace]) -> Result<Vec<JobRecord>>;
        fn cancel_job(session: &Session, job: &JobPlace) -> Result<bool>;
        fn clean_job(session: &Session, job: &JobPlace) -> Result<bool>;

        fn list_files(session: &Session, job: &JobPlace) -> Result<Vec<RemoteFile>>;
        fn fetch_file(session: &Session, url: &str, path: &str) -> Result<()>;

        type Connection;
        fn new_connection(session: &Session, url: &str, token: &str, timeout: u32) -> Result<UniquePtr<Connection>>;
        fn request(
            self: Pin<&mut Connection>,
            method: &str,
            path: &str,
            accept: &str,
            content: &[u8],
        ) -> Result<HttpReply>;
        fn open(self: Pin<&mut Connection>) -> Result<()>;
        fn set_limits(self: Pin<&mut Connection>, idle: u64, call: u64, cancel: Box<Cancel>) -> Result<()>;
        fn idle_left(self: &Connection) -> Result<u64>;
        fn body(self: &Connection) -> Result<&[u8]>;
        fn download(self: Pin<&mut Connection>, path: &str, file: i32, limit: u64) -> Result<HttpReply>;
        fn read_range(self: Pin<&mut Connection>, path: &str, first: u64, length: u64, file: i32) -> Result<HttpReply>;
        fn retire(self: Pin<&mut Connection>) -> Result<()>;
        fn upload(self: Pin<&mut Connection>, path: &str, file: i32, size: u64) -> Result<HttpReply>;
        fn sent(self: &Connection) -> Result<bool>;
        fn usable(self: &Connection) -> Result<bool>;

        fn named_instead(pem: &str, host: &str) -> Result<String>;

        fn sign_delegation(proxy: &str, request: &str) -> Result<String>;

        fn store_jobs(path: &str, jobs: &[JobPlace]) -> Result<()>;
    }
}

use super::{Cancel, arc_log_flush, arc_logged};
