//! [`ConnectionConfig`]: which CE, which credentials, and where files are kept.

pub(crate) mod endpoint;

use std::path::{Component, Path, PathBuf};
use std::time::Duration;
use std::{env, fmt, fs};

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_path_to_error::{Segment, Track};

use self::endpoint::Endpoint;
pub use crate::description::Delegation;
use crate::error::{Error, Result};
use crate::logging::{self, LogLevel};

/// The connection to an ARC-CE: what a configuration file holds.
///
/// The file is one JSON object. Every key is optional; an unknown one is logged as a warning and ignored.
///
/// | key                       | default                           | meaning                                      |
/// |---------------------------|-----------------------------------|----------------------------------------------|
/// | `CLIENT_KEY`              | `~/.arc/userkey-nopass.pem`       | private key of your grid certificate         |
/// | `CLIENT_CERT`             | `~/.arc/usercert.pem`             | your grid certificate                        |
/// | `CERTS_DIR`               | `/etc/grid-security/certificates` | directory of trusted CA certificates         |
/// | `ARCPROXY_PATH`           | `/usr/bin/arcproxy`               | the program that makes proxy certificates    |
/// | `PROXY_FILE`              | `/tmp/arcproxy_file`              | where the proxy certificate is kept          |
/// | `ARC_SERVER`              | `jasmin-ce.ceda.ac.uk:60000/arex` | the CE: `host`, `host:port/path`, or its URL |
/// | `PROXY_VALIDITY_PERIOD`   | `43200` (12 hours)                | seconds for which a new proxy is valid       |
/// | `PROXY_RENEWAL_THRESHOLD` | `10`                              | seconds left at which a proxy is renewed     |
/// | `JOBS_INFO_FILE`          | `~/.arc/jobs.dat`                 | ARC's list of submitted jobs                 |
/// | `OUTPUT_FILE`             | `output`                          | file or directory fetched as a job's output  |
/// | `INTERFACE`               | `auto`                            | see [`Protocol`]                            |
/// | `DELEGATION`              | `auto`                            | see [`Delegation`]                           |
///
/// A path that is `~` or begins with `~/` is taken from the home directory. What was given is kept as it was given, so
/// that a configuration which is read and written again is the same document:
///
/// ```
/// use jasmin_arc::ConnectionConfig;
///
/// let text = r#"{"CLIENT_KEY":"~/key.pem","ARC_SERVER":"ce.example.org"}"#;
/// let config = ConnectionConfig::from_json(text)?;
/// assert!(!config.client_key().starts_with("~"));
/// assert_eq!(config.output_file(), "output");
/// assert_eq!(serde_json::to_string(&config).unwrap(), text);
/// # Ok::<(), jasmin_arc::Error>(())
/// ```
///
/// A configuration can also be built in code:
///
/// ```
/// use std::time::Duration;
///
/// use jasmin_arc::ConnectionConfig;
///
/// let config = ConnectionConfig::default()
///     .with_arc_server("ce.example.org")
///     .with_proxy_validity_period(Duration::from_secs(3600));
/// config.validate()?;
/// # Ok::<(), jasmin_arc::Error>(())
/// ```
///
/// Deserializing with serde alone checks the types only: call [`validate`](Self::validate) afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE", default)]
pub struct ConnectionConfig {
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    client_key: Option<PathBuf>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    client_cert: Option<PathBuf>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    certs_dir: Option<PathBuf>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    arcproxy_path: Option<PathBuf>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    proxy_file: Option<PathBuf>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    arc_server: Option<String>,
    /// Seconds.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    proxy_validity_period: Option<u64>,
    /// Seconds.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    proxy_renewal_threshold: Option<u64>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    jobs_info_file: Option<PathBuf>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    output_file: Option<String>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    interface: Option<Protocol>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    delegation: Option<Delegation>,
}

/// `null` is not a way to leave a key out: it would not be written back.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

const KEYS: [&str; 12] = [
    "CLIENT_KEY",
    "CLIENT_CERT",
    "CERTS_DIR",
    "ARCPROXY_PATH",
    "PROXY_FILE",
    "ARC_SERVER",
    "PROXY_VALIDITY_PERIOD",
    "PROXY_RENEWAL_THRESHOLD",
    "JOBS_INFO_FILE",
    "OUTPUT_FILE",
    "INTERFACE",
    "DELEGATION",
];

/// The names under which a job's standard output and error are saved, beside `OUTPUT_FILE`.
const SAVED_STREAMS: [&str; 2] = ["stdout.txt", "stderr.txt"];

/// Reading and checking.
impl ConnectionConfig {
    /// Reads a configuration file.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`], with the path, and the line and the key where there is one, if the file cannot be
    /// read, is not one JSON object, has a key twice, or does not pass [`validate`](Self::validate).
    ///
    /// ```
    /// use jasmin_arc::{ConnectionConfig, Error};
    ///
    /// match ConnectionConfig::from_file("/no/such/config.json") {
    ///     Err(Error::InvalidConfig { path, .. }) => assert_eq!(path.unwrap().to_str(), Some("/no/such/config.json")),
    ///     other => panic!("{other:?}"),
    /// }
    /// ```
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        Self::from_file_with(path.as_ref(), &mut log_warning)
    }

    /// As [`from_file`](Self::from_file), for a caller that has its own place for warnings.
    pub(crate) fn from_file_with(path: &Path, warn: &mut dyn FnMut(String)) -> Result<Self> {
        let text = fs::read(path).map_err(|error| Error::InvalidConfig {
            path: Some(path.to_owned()),
            line: None,
            key: None,
            message: error.to_string(),
            source: Some(error.into()),
        })?;
        Self::parse(&text, Some(path), warn)
    }

    /// Reads a configuration from JSON text.
    ///
    /// # Errors
    ///
    /// As [`from_file`](Self::from_file).
    ///
    /// ```
    /// use jasmin_arc::{ConnectionConfig, Error};
    ///
    /// let text = r#"{
    ///     "ARC_SERVER": "ce.example.org",
    ///     "CLIENT_KEY": 5
    /// }"#;
    /// match ConnectionConfig::from_json(text) {
    ///     Err(Error::InvalidConfig { line, key, .. }) => {
    ///         assert_eq!(line, Some(3));
    ///         assert_eq!(key.as_deref(), Some("CLIENT_KEY"));
    ///     }
    ///     other => panic!("{other:?}"),
    /// }
    /// ```
    pub fn from_json(text: &str) -> Result<Self> {
        Self::parse(text.as_bytes(), None, &mut log_warning)
    }

    fn parse(text: &[u8], path: Option<&Path>, warn: &mut dyn FnMut(String)) -> Result<Self> {
        let mut json = serde_json::Deserializer::from_slice(text);
        let mut track = Track::new();
        let mut ignored = |key: serde_ignored::Path<'_>| warn(unknown_key(&key.to_string(), path));
        let deserializer = serde_path_to_error::Deserializer::new(&mut json, &mut track);
        let config = serde_ignored::Deserializer::new(deserializer, &mut ignored).deserialize_map(Object);
        let config = config
            .and_then(|config| json.end().map(|()| config))
            .map_err(|error| json_error(error, &track.path(), path))?;
        match config.check() {
            Ok(()) => Ok(config),
            Err((key, message)) => Err(Error::InvalidConfig {
                path: path.map(Path::to_owned),
                line: line_of(key, text),
                key: Some(key.to_owned()),
                message,
                source: None,
            }),
        }
    }

    /// Checks the values, without looking at any file.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] with the key, if
    /// - a path is empty;
    /// - `ARC_SERVER` is no host, `host:port`, `host:port/path` or http(s) URL, or has a user, query or fragment;
    /// - `PROXY_VALIDITY_PERIOD` is 0, or `PROXY_RENEWAL_THRESHOLD` is not less than it: a proxy would be made anew for
    ///   every call;
    /// - `OUTPUT_FILE` is not a relative path that stays in the directory the outputs are saved in, or takes the place
    ///   of `stdout.txt` or `stderr.txt` there.
    ///
    /// ```
    /// use jasmin_arc::ConnectionConfig;
    ///
    /// assert!(ConnectionConfig::default().validate().is_ok());
    /// assert!(ConnectionConfig::default().with_output_file("../output").validate().is_err());
    /// ```
    pub fn validate(&self) -> Result<()> {
        self.check().map_err(|(key, message)| invalid(key, message))
    }

    /// The CE that `ARC_SERVER` names.
    pub(crate) fn endpoint(&self) -> Result<Endpoint> {
        Endpoint::parse(self.arc_server()).map_err(|message| invalid("ARC_SERVER", message))
    }

    /// The error is the key and what is wrong with its value.
    fn check(&self) -> Result<(), (&'static str, String)> {
        let paths = [
            ("CLIENT_KEY", &self.client_key),
            ("CLIENT_CERT", &self.client_cert),
            ("CERTS_DIR", &self.certs_dir),
            ("ARCPROXY_PATH", &self.arcproxy_path),
            ("PROXY_FILE", &self.proxy_file),
            ("JOBS_INFO_FILE", &self.jobs_info_file),
        ];
        for (key, path) in paths {
            let path = path.as_ref().map(|path| path.as_os_str().as_encoded_bytes());
            if path.is_some_and(|path| path.is_empty() || path.contains(&0)) {
                return Err((key, "a path must not be empty or contain NUL".to_owned()));
            }
        }
        Endpoint::parse(self.arc_server()).map_err(|message| ("ARC_SERVER", message))?;

        let (period, threshold) = (self.proxy_validity_period(), self.proxy_renewal_threshold());
        if period.is_zero() {
            return Err(("PROXY_VALIDITY_PERIOD", "must be at least 1 second".to_owned()));
        }
        if threshold >= period {
            // Either may be the default: the one that was given is to blame.
            let key = match self.proxy_renewal_threshold {
                Some(_) => "PROXY_RENEWAL_THRESHOLD",
                None => "PROXY_VALIDITY_PERIOD",
            };
            let (period, threshold) = (period.as_secs(), threshold.as_secs());
            let message = format!(
                "the renewal threshold ({threshold} seconds) must be less than the validity period ({period} seconds)"
            );
            return Err((key, message));
        }
        check_output_file(self.output_file()).map_err(|message| ("OUTPUT_FILE", message))
    }
}

fn check_output_file(name: &str) -> Result<(), String> {
    if name.chars().any(char::is_control) {
        return Err("must not contain control characters".to_owned());
    }
    let mut components = Path::new(name).components().filter(|component| *component != Component::CurDir).peekable();
    match components.peek() {
        None => return Err("must name a file or directory".to_owned()),
        Some(Component::Normal(first)) if SAVED_STREAMS.iter().any(|stream| first == stream) => {
            return Err(format!("{name:?} is where a standard stream of the job is saved"));
        }
        Some(_) => {}
    }
    if components.any(|component| !matches!(component, Component::Normal(_))) {
        return Err(format!("{name:?} must be a relative path without \"..\""));
    }
    Ok(())
}

fn invalid(key: &str, message: String) -> Error {
    Error::InvalidConfig { path: None, line: None, key: Some(key.to_owned()), message, source: None }
}

fn log_warning(message: String) {
    logging::log(LogLevel::Warning, message);
}

fn unknown_key(key: &str, path: Option<&Path>) -> String {
    let place = path.map(|path| format!("{}: ", path.display())).unwrap_or_default();
    let distance = |known: &str| strsim::osa_distance(&key.to_uppercase(), known);
    // Further away than this, the two only happen to share some letters.
    let near = KEYS.into_iter().filter(|known| distance(known) <= known.len() / 3).min_by_key(|known| distance(known));
    let hint = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
    format!("{place}{key:?} is not a configuration key{hint}")
}

fn json_error(error: serde_json::Error, at: &serde_path_to_error::Path, path: Option<&Path>) -> Error {
    let text = error.to_string();
    // The position has a field of its own.
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    // serde finds a key's second value before it is in that value, so the path does not have the key.
    let duplicate = message.strip_prefix("duplicate field `").and_then(|rest| rest.strip_suffix('`'));
    let key = match at.iter().next() {
        Some(Segment::Map { key }) => Some(key.as_str()),
        _ => duplicate,
    };
    Error::InvalidConfig {
        path: path.map(Path::to_owned),
        line: Some(error.line()).filter(|line| *line > 0),
        key: key.map(str::to_owned),
        message: message.to_owned(),
        source: Some(error.into()),
    }
}

/// The line of `key`, which is known to be in the JSON object `text` at most once.
fn line_of(key: &str, text: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(text);
    let quoted = format!("\"{key}\"");
    // No colon comes after a value that happens to be the same string.
    let is_key = |at: usize| text[at + quoted.len()..].trim_start().starts_with(':');
    let (at, _) = text.match_indices(&quoted).find(|(at, _)| is_key(*at))?;
    Some(text[..at].matches('\n').count() + 1)
}

/// Takes a JSON object only: left to itself, serde would also take an array, as the values without their keys.
struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = ConnectionConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ConnectionConfig, A::Error> {
        ConnectionConfig::deserialize(MapAccessDeserializer::new(map))
    }
}

/// The values: the given one, else the default.
impl ConnectionConfig {
    /// `CLIENT_KEY`: the private key of your grid certificate, a file without passphrase. `~` is expanded.
    ///
    /// ```
    /// use jasmin_arc::ConnectionConfig;
    ///
    /// let home = std::env::home_dir().unwrap_or_default();
    /// assert_eq!(ConnectionConfig::default().client_key(), home.join(".arc/userkey-nopass.pem"));
    /// ```
    pub fn client_key(&self) -> PathBuf {
        expand(&self.client_key, "~/.arc/userkey-nopass.pem")
    }

    /// `CLIENT_CERT`: your grid certificate. `~` is expanded.
    ///
    /// ```
    /// use jasmin_arc::ConnectionConfig;
    ///
    /// let home = std::env::home_dir().unwrap_or_default();
    /// assert_eq!(ConnectionConfig::default().client_cert(), home.join(".arc/usercert.pem"));
    /// ```
    pub fn client_cert(&self) -> PathBuf {
        expand(&self.client_cert, "~/.arc/usercert.pem")
    }

    /// `CERTS_DIR`: the directory of trusted CA certificates. `~` is expanded.
    ///
    /// ```
    /// use jasmin_arc::ConnectionConfig;
    ///
    /// assert_eq!(ConnectionConfig::default().certs_dir().to_str(), Some("/etc/grid-security/certificates"));
    /// ```
    pub fn certs_dir(&self) -> PathBuf {
        expand(&self.certs_dir, "/etc/grid-security/certificates")
    }

    /// `ARCPROXY_PATH`: the `arcproxy` program, which makes a proxy certificate from the private key and the
    /// certificate. `~` is expanded.
    ///
    /// ```
    /// use jasmin_arc::ConnectionConfig;
    ///
    /// assert_eq!(ConnectionConfig::default().arcproxy_path().to_str(), Some("/usr/bin/arcproxy"));
    /// ```
    pub fn arcproxy_path(&self) -> PathBuf {
        expand(&self.arcproxy_path, "/usr/bin/arcproxy")
    }

    /// `PROXY_FILE`: where the proxy certificate is kept. `~` is expanded.
    ///
    /// ```
    /// use jasmin_arc::ConnectionConfig;
    ///
    /// assert_eq!(ConnectionConfig::default().proxy_file().to_str(), Some("/tmp/arcproxy_file"));
    /// ```
    pub fn proxy_file(&self) -> PathBuf {
        expand(&self.proxy_file, "/tmp/arcproxy_file")
    }

    /// `ARC_SERVER`: the CE, as it was given. Without a scheme, port or path it means https, the scheme's port (443; 80
    /// for http) and `/arex`.
    ///
    /// ```
    /// use jasmin_arc::ConnectionConfig;
    ///
    /// assert_eq!(ConnectionConfig::default().arc_server(), "jasmin-ce.ceda.ac.uk:60000/arex");
    /// ```
    pub fn arc_server(&self) -> &str {
        self.arc_server.as_deref().unwrap_or("jasmin-ce.ceda.ac.uk:60000/arex")
    }

    /// `PROXY_VALIDITY_PERIOD`: for how long a new proxy certificate is valid; whole seconds.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use jasmin_arc::ConnectionConfig;
    ///
    /// assert_eq!(ConnectionConfig::default().proxy_validity_period(), Duration::from_secs(12 * 60 * 60));
    /// ```
    pub fn proxy_validity_period(&self) -> Duration {
        Duration::from_secs(self.proxy_validity_period.unwrap_or(12 * 60 * 60))
    }

    /// `PROXY_RENEWAL_THRESHOLD`: a proxy certificate valid for no longer than this is made anew; whole seconds.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use jasmin_arc::ConnectionConfig;
    ///
    /// assert_eq!(ConnectionConfig::default().proxy_renewal_threshold(), Duration::from_secs(10));
    /// ```
    pub fn proxy_renewal_threshold(&self) -> Duration {
        Duration::from_secs(self.proxy_renewal_threshold.unwrap_or(10))
    }

    /// `JOBS_INFO_FILE`: the list of submitted jobs that it shares with ARC's own tools (`arcstat`, `arcget` ...). `~`
    /// is expanded.
    ///
    /// ```
    /// use jasmin_arc::ConnectionConfig;
    ///
    /// let home = std::env::home_dir().unwrap_or_default();
    /// assert_eq!(ConnectionConfig::default().jobs_info_file(), home.join(".arc/jobs.dat"));
    /// ```
    pub fn jobs_info_file(&self) -> PathBuf {
        expand(&self.jobs_info_file, "~/.arc/jobs.dat")
    }

    /// `OUTPUT_FILE`: the file or directory, in the job's session directory, that is fetched as its output. `~` is not
    /// expanded: the path is the CE's.
    ///
    /// ```
    /// use jasmin_arc::ConnectionConfig;
    ///
    /// assert_eq!(ConnectionConfig::default().output_file(), "output");
    /// ```
    pub fn output_file(&self) -> &str {
        self.output_file.as_deref().unwrap_or("output")
    }

    /// `INTERFACE`: how to speak to the CE.
    ///
    /// ```
    /// use jasmin_arc::{ConnectionConfig, Protocol};
    ///
    /// assert_eq!(ConnectionConfig::default().interface(), Protocol::Auto);
    /// ```
    pub fn interface(&self) -> Protocol {
        self.interface.unwrap_or_default()
    }

    /// `DELEGATION`: when jobs get the user's credentials.
    ///
    /// ```
    /// use jasmin_arc::{ConnectionConfig, Delegation};
    ///
    /// assert_eq!(ConnectionConfig::default().delegation(), Delegation::Auto);
    /// ```
    pub fn delegation(&self) -> Delegation {
        self.delegation.unwrap_or_default()
    }
}

fn expand(given: &Option<PathBuf>, default: &str) -> PathBuf {
    let path = given.as_deref().unwrap_or(Path::new(default));
    // HOME may be set to nothing.
    let home = env::home_dir().filter(|home| home.is_absolute());
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        // Another user's home (`~user`), or nobody's: left for the file system to say that there is no such file.
        _ => path.to_owned(),
    }
}

/// The setters. None checks its value: [`validate`](ConnectionConfig::validate) does.
impl ConnectionConfig {
    /// Sets `CLIENT_KEY`.
    ///
    /// ```
    /// use std::path::Path;
    ///
    /// use jasmin_arc::ConnectionConfig;
    ///
    /// let config = ConnectionConfig::default().with_client_key("/secure/key.pem");
    /// assert_eq!(config.client_key(), Path::new("/secure/key.pem"));
    /// ```
    pub fn with_client_key(mut self, value: impl Into<PathBuf>) -> Self {
        self.client_key = Some(value.into());
        self
    }

    /// Sets `CLIENT_CERT`.
    ///
    /// ```
    /// use std::path::Path;
    ///
    /// use jasmin_arc::ConnectionConfig;
    ///
    /// let config = ConnectionConfig::default().with_client_cert("/secure/cert.pem");
    /// assert_eq!(config.client_cert(), Path::new("/secure/cert.pem"));
    /// ```
    pub fn with_client_cert(mut self, value: impl Into<PathBuf>) -> Self {
        self.client_cert = Some(value.into());
        self
    }

    /// Sets `CERTS_DIR`.
    ///
    /// ```
    /// use std::path::Path;
    ///
    /// use jasmin_arc::ConnectionConfig;
    ///
    /// let config = ConnectionConfig::default().with_certs_dir("/secure/certificates");
    /// assert_eq!(config.certs_dir(), Path::new("/secure/certificates"));
    /// ```
    pub fn with_certs_dir(mut self, value: impl Into<PathBuf>) -> Self {
        self.certs_dir = Some(value.into());
        self
    }

    /// Sets `ARCPROXY_PATH`.
    ///
    /// ```
    /// use std::path::Path;
    ///
    /// use jasmin_arc::ConnectionConfig;
    ///
    /// let config = ConnectionConfig::default().with_arcproxy_path("/opt/arc/bin/arcproxy");
    /// assert_eq!(config.arcproxy_path(), Path::new("/opt/arc/bin/arcproxy"));
    /// ```
    pub fn with_arcproxy_path(mut self, value: impl Into<PathBuf>) -> Self {
        self.arcproxy_path = Some(value.into());
        self
    }

    /// Sets `PROXY_FILE`.
    ///
    /// ```
    /// use std::path::Path;
    ///
    /// use jasmin_arc::ConnectionConfig;
    ///
    /// let config = ConnectionConfig::default().with_proxy_file("/run/user/1000/proxy.pem");
    /// assert_eq!(config.proxy_file(), Path::new("/run/user/1000/proxy.pem"));
    /// ```
    pub fn with_proxy_file(mut self, value: impl Into<PathBuf>) -> Self {
        self.proxy_file = Some(value.into());
        self
    }

    /// Sets `ARC_SERVER`.
    ///
    /// ```
    /// use jasmin_arc::ConnectionConfig;
    ///
    /// let config = ConnectionConfig::default().with_arc_server("ce.example.org");
    /// assert_eq!(config.arc_server(), "ce.example.org");
    /// ```
    pub fn with_arc_server(mut self, value: impl Into<String>) -> Self {
        self.arc_server = Some(value.into());
        self
    }

    /// Sets `PROXY_VALIDITY_PERIOD`: fractions of a second are dropped.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use jasmin_arc::ConnectionConfig;
    ///
    /// let config = ConnectionConfig::default().with_proxy_validity_period(Duration::from_secs(3600));
    /// assert_eq!(config.proxy_validity_period().as_secs(), 3600);
    /// ```
    pub fn with_proxy_validity_period(mut self, value: Duration) -> Self {
        self.proxy_validity_period = Some(value.as_secs());
        self
    }

    /// Sets `PROXY_RENEWAL_THRESHOLD`: fractions of a second are dropped.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use jasmin_arc::ConnectionConfig;
    ///
    /// let config = ConnectionConfig::default().with_proxy_renewal_threshold(Duration::from_secs(300));
    /// assert_eq!(config.proxy_renewal_threshold().as_secs(), 300);
    /// ```
    pub fn with_proxy_renewal_threshold(mut self, value: Duration) -> Self {
        self.proxy_renewal_threshold = Some(value.as_secs());
        self
    }

    /// Sets `JOBS_INFO_FILE`.
    ///
    /// ```
    /// use std::path::Path;
    ///
    /// use jasmin_arc::ConnectionConfig;
    ///
    /// let config = ConnectionConfig::default().with_jobs_info_file("/var/lib/portal/jobs.dat");
    /// assert_eq!(config.jobs_info_file(), Path::new("/var/lib/portal/jobs.dat"));
    /// ```
    pub fn with_jobs_info_file(mut self, value: impl Into<PathBuf>) -> Self {
        self.jobs_info_file = Some(value.into());
        self
    }

    /// Sets `OUTPUT_FILE`.
    ///
    /// ```
    /// use jasmin_arc::ConnectionConfig;
    ///
    /// let config = ConnectionConfig::default().with_output_file("result.nc");
    /// assert_eq!(config.output_file(), "result.nc");
    /// ```
    pub fn with_output_file(mut self, value: impl Into<String>) -> Self {
        self.output_file = Some(value.into());
        self
    }

    /// Sets `INTERFACE`.
    ///
    /// ```
    /// use jasmin_arc::{ConnectionConfig, Protocol};
    ///
    /// let config = ConnectionConfig::default().with_interface(Protocol::ArcRest);
    /// assert_eq!(config.interface(), Protocol::ArcRest);
    /// ```
    pub fn with_interface(mut self, value: Protocol) -> Self {
        self.interface = Some(value);
        self
    }

    /// Sets `DELEGATION`.
    ///
    /// ```
    /// use jasmin_arc::{ConnectionConfig, Delegation};
    ///
    /// let config = ConnectionConfig::default().with_delegation(Delegation::Never);
    /// assert_eq!(config.delegation(), Delegation::Never);
    /// ```
    pub fn with_delegation(mut self, value: Delegation) -> Self {
        self.delegation = Some(value);
        self
    }
}

/// The names of the values of an enum: in JSON, in text, and in the error when there is no such name.
macro_rules! names {
    ($enum:ident { $($variant:ident: $name:literal,)+ }) => {
        impl $enum {
            const NAMES: &[(&'static str, $enum)] = &[$(($name, $enum::$variant)),+];

            /// The name in the configuration.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($enum::$variant => $name,)+
                }
            }
        }

        impl fmt::Display for $enum {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl Serialize for $enum {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        // Not derived: that would take an object for a name too, and have nothing better to say about a number than
        // "expected value".
        impl<'de> Deserialize<'de> for $enum {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Name;

                impl Visitor<'_> for Name {
                    type Value = $enum;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, "one of {}", [$($name),+].join(", "))
                    }

                    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<$enum, E> {
                        let found = $enum::NAMES.iter().find(|(known, _)| *known == name);
                        found.map(|(_, value)| *value).ok_or_else(|| E::invalid_value(Unexpected::Str(name), &self))
                    }
                }

                deserializer.deserialize_str(Name)
            }
        }
    };
}

/// How to speak to the CE: the values of the key `INTERFACE`.
///
/// ```
/// use jasmin_arc::{ConnectionConfig, Protocol};
///
/// let config = ConnectionConfig::from_json(r#"{"INTERFACE": "org.nordugrid.arcrest"}"#)?;
/// assert_eq!(config.interface(), Protocol::ArcRest);
/// assert_eq!(config.interface().to_string(), "org.nordugrid.arcrest");
/// # Ok::<(), jasmin_arc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// `auto`: the best that the CE offers.
    #[default]
    Auto,
    /// `org.nordugrid.arcrest`: ARC's REST interface, which every current CE has.
    ArcRest,
    /// `org.ogf.glue.emies.activitycreation`: EMI-ES, for old CEs.
    EmiEs,
    /// `org.nordugrid.internal`: no network at all, for a program on the CE's own host.
    Internal,
}

names! {
    Protocol {
        Auto: "auto",
        ArcRest: "org.nordugrid.arcrest",
        EmiEs: "org.ogf.glue.emies.activitycreation",
        Internal: "org.nordugrid.internal",
    }
}

#[cfg(test)]
mod tests;
