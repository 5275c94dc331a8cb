//! The entry points of the fuzzers: every reader of data that comes from a CE, a user or a file.
//!
//! `tests/instruments fuzz` runs them, guided by coverage. The unit tests run them with the seeds alone. An entry point
//! panics if a reader breaks a promise, such as that it reads what it has written.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{LazyLock, Mutex};
use std::thread;

use crate::backend::names::refusal_of_path;
use crate::backend::rest::fuzzing as rest;
use crate::config::ConnectionConfig;
use crate::credential::read_for_fuzzing;
use crate::description::{InputSource, JobDescription};
use crate::ffi::{self, Connection, Session, SessionSettings};
use crate::job::JobId;
use crate::journal::{Journal, Scope};
use crate::util::byte_size::ByteSize;
use crate::util::lock;
use crate::util::uri::{arc_url, encode_path, file_path, file_uri, without_password};

/// The name of a reader, and a function that gives it any data.
type FuzzTarget = (&'static str, fn(&[u8]));

/// The readers by name. Public only for `fuzz/`.
#[cfg_attr(test, allow(unreachable_pub))]
pub const FUZZ_TARGETS: [FuzzTarget; 20] = [
    ("adl", adl),
    ("activities", rest::activities),
    ("certificate", certificate),
    ("config", config),
    ("delegation", delegation),
    ("description", description),
    ("framing", framing),
    ("glue2", rest::glue2),
    ("jobid", job_id),
    ("jobs", rest::jobs),
    ("journal", journal),
    ("jsdl", jsdl),
    ("listing", rest::listing),
    ("local", rest::local),
    ("names", names),
    ("record", rest::record),
    ("response", response),
    ("token", token),
    ("uri", uri),
    ("xrsl", xrsl),
];

fn text(data: &[u8]) -> &str {
    std::str::from_utf8(data).unwrap_or_default()
}

fn config(data: &[u8]) {
    let Ok(config) = ConnectionConfig::from_json(text(data)) else { return };
    let written = serde_json::to_string(&config).expect("a configuration can be written");
    assert_eq!(ConnectionConfig::from_json(&written).expect("a written configuration can be read"), config);
    let _ = (config.endpoint_url(), config.proxy_file(), config.certs_dir());
}

/// The first line is the address of a CE, the second the id of a job.
fn job_id(data: &[u8]) {
    let (server, id) = text(data).split_once('\n').unwrap_or_default();
    let Ok(endpoint) = ConnectionConfig::default().with_arc_server(server).endpoint() else { return };
    let _ = JobId::from(id).local_id();
    let Some(local) = endpoint.job_local_id(id) else { return };
    for id in endpoint.job_ids(local) {
        assert_eq!(endpoint.job_local_id(&id), Some(local), "{id}");
    }
}

fn uri(data: &[u8]) {
    let uri = text(data);
    let _ = (arc_url(uri, [("cache", "no")]), uri.parse::<ByteSize>());
    assert!(without_password(uri).len() <= uri.len() + 3);
    if let Some(Ok(path)) = file_path(uri) {
        assert_eq!(file_path(&file_uri(&path)), Some(Ok(path)));
    }
    assert!(encode_path(data).is_ascii());
}

/// The file of a journal.
fn journal(data: &[u8]) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let list = directory.path().join("jobs.dat");
    std::fs::write(list.with_extension("dat.submissions"), data).expect("the journal can be written");
    let journal = Journal::new(&list, false, None);
    let scope = Scope { endpoint: "https://ce.example.org:443/arex".into(), identity: "/CN=me".into() };
    if journal.claim(&scope, &["a"]).is_ok() {
        let _ = (journal.unfinished(&scope), journal.look_up(&scope, "a"), journal.known_jobs(&scope, str::to_owned));
        let _ = journal.created(&scope, &[("a", "https://ce.example.org:443/arex/1", "1")], false);
    }
}

/// The name of an output file. One that is accepted leads nowhere else.
fn names(data: &[u8]) {
    let path = Path::new(OsStr::from_bytes(data));
    if refusal_of_path(path.as_os_str()).is_none() {
        assert!(path.components().all(|component| matches!(component, Component::Normal(_))));
    }
}

fn token(data: &[u8]) {
    read_for_fuzzing(text(data));
}

fn jsdl(data: &[u8]) {
    check(JobDescription::from_jsdl(text(data)).ok());
}

fn adl(data: &[u8]) {
    check(JobDescription::from_adl(text(data)).ok());
}

fn xrsl(data: &[u8]) {
    check(JobDescription::from_xrsl(text(data)).ok());
}

/// Any of the three languages, and several jobs.
fn description(data: &[u8]) {
    check(JobDescription::parse_all(text(data)).unwrap_or_default());
}

/// Descriptions that have been read can be written, and read again. Sizes are whole MiB after that in ADL and xRSL, so
/// the texts are compared there.
fn check(jobs: impl IntoIterator<Item = JobDescription>) {
    for job in jobs {
        // Writing ADL and xRSL reads directories.
        if job.inputs().iter().any(|input| matches!(input.source(), InputSource::File(_) | InputSource::Directory(_))) {
            continue;
        }
        if let Ok(text) = job.to_jsdl() {
            assert_eq!(JobDescription::from_jsdl(&text).expect("written JSDL can be read"), job, "{text}");
        }
        if let Ok(text) = job.to_adl() {
            let again = JobDescription::from_adl(&text).expect("written ADL can be read");
            assert_eq!(again.to_adl().expect("the same ADL can be written"), text);
        }
        if let Ok(text) = job.to_xrsl() {
            let again = JobDescription::from_xrsl(&text).expect("written xRSL can be read");
            assert_eq!(again.to_xrsl().expect("the same xRSL can be written"), text);
        }
    }
}

/// A PEM file, as certificate, key and proxy certificate.
fn certificate(data: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(data).expect("the temporary file can be written");
    let path = file.path().to_str().expect("the path is UTF-8");
    let _ = (ffi::read_credential(path), ffi::can_decrypt(path, b"secret"), ffi::is_key_of(path, b"", path));
    let _ = (ffi::named_instead(text(data), "localhost"), ffi::sign_delegation(path, text(data)));
}

/// The certificate request of a CE.
fn delegation(data: &[u8]) {
    static PROXY: LazyLock<PathBuf> = LazyLock::new(|| {
        let path = tempfile::NamedTempFile::new().and_then(|file| Ok(file.keep()?.1)).expect("a temporary file");
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/O=Grid/CN=fuzzer", "-keyout", "-"]);
        let output = openssl.output().expect("openssl runs");
        std::fs::write(&path, output.stdout).expect("the temporary file can be written");
        ffi::read_credential(path.to_str().expect("the path is UTF-8")).expect("the certificate can be read");
        path
    });
    let path = PROXY.to_str().expect("the path is UTF-8");
    let _ = ffi::sign_delegation(path, text(data));
}

/// The guard's view of a response does not depend on the parts in which it arrives.
fn framing(data: &[u8]) {
    let whole = ffi::follow_framing(data, data.len());
    for part in [1, 2, 7, data.len() / 2] {
        assert_eq!(ffi::follow_framing(data, part), whole, "in parts of {part} bytes");
    }
}

/// A server inside the process, and the session that connects to it.
struct Server {
    session: Session,
    url: String,
    /// Takes the next response.
    sender: Sender<Vec<u8>>,
}

/// A response that a server sends over a connection and that ARC reads through the guard. The first byte selects the kind
/// of request.
fn response(data: &[u8]) {
    static SERVER: LazyLock<Mutex<Server>> = LazyLock::new(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let (sender, responses) = channel();
        thread::spawn(move || serve(&listener, &responses));
        let session = Session::new(&SessionSettings { timeout_seconds: 10, ..Default::default() }).expect("a session");
        Mutex::new(Server { session, url, sender })
    });
    let Some((kind, response)) = data.split_first() else { return };
    let server = lock(&SERVER);
    let Server { session, url, sender } = &*server;
    sender.send(response.to_vec()).expect("the server runs");
    let mut connection = Connection::new(session, url, "", 10).expect("a connection");
    match kind % 3 {
        0 => drop(connection.request("GET", "/", "text/xml", b"")),
        1 => {
            let file = tempfile::tempfile().expect("a temporary file");
            if connection.download("/", &file, 1000).is_ok_and(|reply| reply.is_ok_and(|reply| reply.size < 0)) {
                assert!(file.metadata().expect("the size of the file").len() <= 1000);
            }
        }
        _ => drop(connection.upload("/", &tempfile::tempfile().expect("a temporary file"), 0)),
    }
    // The server sends nothing more and closes the connection.
    if connection.usable() {
        let again = connection.request("GET", "/", "text/xml", b"").map(drop);
        assert!(again.is_err(), "a response was read twice");
    }
}

fn serve(listener: &TcpListener, responses: &Receiver<Vec<u8>>) {
    let respond = |response: &[u8]| {
        let mut stream: TcpStream = listener.accept()?.0;
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
            head.push(byte[0]);
        }
        stream.write_all(response)?;
        stream.shutdown(Shutdown::Write)?;
        // Closing with unread data would reset the connection.
        std::io::copy(&mut stream, &mut std::io::sink())
    };
    for response in responses {
        let _ = respond(&response);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn readers_keep_their_promises_for_the_seeds() {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seeds");
        for (name, target) in FUZZ_TARGETS {
            let files = fs::read_dir(seeds.join(name)).unwrap_or_else(|error| panic!("{name} has no seeds: {error}"));
            let mut count = 0;
            for file in files {
                let data = fs::read(file.unwrap().path()).unwrap();
                target(&data);
                // And damaged.
                for at in (0..data.len()).step_by(data.len() / 50 + 1) {
                    target(&data[..at]);
                    target(&[&data[..at], &data[at + 1..]].concat());
                }
                count += 1;
            }
            assert!(count > 0, "{name} has no seeds");
        }
    }
}
