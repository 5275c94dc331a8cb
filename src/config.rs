//! [`ConnectionConfig`]: which CE, which credentials, and where files are kept.

use std::net::Ipv6Addr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;
use std::{env, fmt, fs};

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_path_to_error::{Segment, Track};

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
/// | `INTERFACE`               | `auto`                            | see [`Interface`]                            |
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
    interface: Option<Interface>,
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
    logging::say(LogLevel::Warning, message);
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
    /// use jasmin_arc::{ConnectionConfig, Interface};
    ///
    /// assert_eq!(ConnectionConfig::default().interface(), Interface::Auto);
    /// ```
    pub fn interface(&self) -> Interface {
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
    /// use jasmin_arc::{ConnectionConfig, Interface};
    ///
    /// let config = ConnectionConfig::default().with_interface(Interface::ArcRest);
    /// assert_eq!(config.interface(), Interface::ArcRest);
    /// ```
    pub fn with_interface(mut self, value: Interface) -> Self {
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
/// use jasmin_arc::{ConnectionConfig, Interface};
///
/// let config = ConnectionConfig::from_json(r#"{"INTERFACE": "org.nordugrid.arcrest"}"#)?;
/// assert_eq!(config.interface(), Interface::ArcRest);
/// assert_eq!(config.interface().to_string(), "org.nordugrid.arcrest");
/// # Ok::<(), jasmin_arc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Interface {
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
    Interface {
        Auto: "auto",
        ArcRest: "org.nordugrid.arcrest",
        EmiEs: "org.ogf.glue.emies.activitycreation",
        Internal: "org.nordugrid.internal",
    }
}

/// When jobs get the user's credentials on the CE (a delegation): the values of the key `DELEGATION`.
///
/// A delegation takes the CE half a second to make, and is made once for all jobs until shortly before it expires. It lets
/// the CE act for the user: fetch input files from, and bring output files to, places that ask who they are.
///
/// It is for the REST interface. ARC's own client classes, which are used with the others, make one for each job.
///
/// ```
/// use jasmin_arc::{ConnectionConfig, Delegation};
///
/// let config = ConnectionConfig::from_json(r#"{"DELEGATION": "always"}"#)?;
/// assert_eq!(config.delegation(), Delegation::Always);
/// # Ok::<(), jasmin_arc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Delegation {
    /// `auto`: for jobs that need it. What can be submitted so far never does.
    #[default]
    Auto,
    /// `always`: for every job.
    Always,
    /// `never`: for no job.
    Never,
}

names! {
    Delegation {
        Auto: "auto",
        Always: "always",
        Never: "never",
    }
}

/// The CE's address, in full: `https://ce.example.org:443/arex`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    scheme: &'static str,
    /// In lower case; an IPv6 address without its brackets.
    host: String,
    port: u16,
    /// Begins with a slash and does not end with one.
    path: String,
}

impl Endpoint {
    /// The error says what is wrong with `text`.
    fn parse(text: &str) -> Result<Self, String> {
        // What may not be here is either no part of a CE's address (user, query, fragment), or has a meaning of its own
        // to ARC's URLs.
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~%+/:[]".contains(c);
        if let Some(c) = text.chars().find(|c| !allowed(*c)) {
            return Err(format!("{c:?} does not belong in the address of a CE"));
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "https" => "https",
            "http" => "http",
            _ => return Err(format!("{scheme:?} is not https or http")),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = parse_authority(authority, scheme)?;

        let mut segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        if segments.iter().any(|segment| matches!(*segment, "." | "..")) {
            return Err(format!("the path {path:?} must not contain \".\" or \"..\""));
        }
        // The root of the REST interface, which is below the CE's.
        match segments[..] {
            [.., "rest"] => segments.truncate(segments.len() - 1),
            [.., "rest", version] if is_version(version) => segments.truncate(segments.len() - 2),
            _ => {}
        }
        if segments.is_empty() {
            segments.push("arex");
        }
        Ok(Endpoint { scheme, host, port, path: format!("/{}", segments.join("/")) })
    }

    /// The path: `/arex`.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Host and port: `ce.example.org:443`, `[::1]:443`.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The whole: `https://ce.example.org:443/arex`.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}{}", self.scheme, self.authority(), self.path)
    }

    /// The CE's own name of the job with this id, if the id can be one of this CE's: the bare name,
    /// `https://ce.example.org:443/arex/NAME`, or `https://ce.example.org:443/arex/rest/1.0/jobs/NAME`.
    ///
    /// The name is safe to put into a URL or a file name.
    pub(crate) fn job_local_id<'a>(&self, id: &'a str) -> Option<&'a str> {
        let id = id.trim_end(); // a line of a file has its end
        let name = match id.split_once("://") {
            None => id,
            Some((scheme, rest)) => {
                let (authority, path) = rest.split_at(rest.find('/')?);
                let (host, port) = parse_authority(authority, self.scheme).ok()?;
                if !scheme.eq_ignore_ascii_case(self.scheme) || host != self.host || port != self.port {
                    return None;
                }
                let path = path.strip_prefix(self.path.as_str())?.strip_prefix('/')?;
                match path.strip_prefix("rest/") {
                    None => path,
                    Some(rest) => {
                        let (version, name) = rest.split_once("/jobs/")?;
                        is_version(version).then_some(name)?
                    }
                }
            }
        };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        ((1..=256).contains(&name.len()) && name.bytes().all(allowed)).then_some(name)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url())
    }
}

/// The host in the form that [`Endpoint`] keeps it in, and the port.
fn parse_authority(authority: &str, scheme: &str) -> Result<(String, u16), String> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("the bracket is not closed")?;
            let host: Ipv6Addr = host.parse().map_err(|_| format!("{host:?} is not an IPv6 address"))?;
            (host.to_string(), port)
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if !host.starts_with(|c: char| c.is_ascii_alphanumeric()) || !host.bytes().all(allowed) {
                return Err(format!("{host:?} is not a host name"));
            }
            (host.to_ascii_lowercase(), port)
        }
    };
    let number = match port.strip_prefix(':') {
        None if port.is_empty() => Some(if scheme == "http" { 80 } else { 443 }),
        // `parse` would let a plus sign through.
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
        _ => None,
    };
    match number {
        Some(number) if number > 0 => Ok((host, number)),
        _ => Err(format!("{port:?} is not a port: 1 to 65535 after a colon")),
    }
}

/// Whether this is a version of the REST interface: `1.0`.
fn is_version(text: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('.').is_some_and(|(major, minor)| number(major) && number(minor))
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use serde_json::{Value, json};

    use super::*;

    /// Path, line, key and message of the error.
    type Refusal = (Option<PathBuf>, Option<usize>, Option<String>, String);

    #[track_caller]
    fn refusal(result: Result<ConnectionConfig>) -> Refusal {
        match result {
            Err(Error::InvalidConfig { path, line, key, message, .. }) => (path, line, key, message),
            other => panic!("{other:?}"),
        }
    }

    /// `text` is refused alike from a file and from memory, for the reason in `message`.
    #[track_caller]
    fn check_refused(text: impl AsRef<[u8]>, line: usize, key: &str, message: &str) {
        let text = text.as_ref();
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let key = Some(key).filter(|key| !key.is_empty()).map(str::to_owned);

        let got = refusal(ConnectionConfig::from_file(file.path()));
        assert!(got.3.contains(message) && !got.3.contains(" at line "), "{}", got.3);
        assert_eq!(got, (Some(file.path().to_owned()), Some(line), key.clone(), got.3.clone()));

        if let Ok(text) = str::from_utf8(text) {
            assert_eq!(refusal(ConnectionConfig::from_json(text)), (None, Some(line), key, got.3));
        }
    }

    fn load(text: &str) -> (ConnectionConfig, Vec<String>) {
        let mut warnings = Vec::new();
        let config = ConnectionConfig::parse(text.as_bytes(), None, &mut |warning| warnings.push(warning)).unwrap();
        (config, warnings)
    }

    fn home() -> PathBuf {
        env::home_dir().unwrap()
    }

    #[test]
    fn defaults_are_those_of_the_python_library() {
        let config = ConnectionConfig::default();
        assert_eq!(config.client_key(), home().join(".arc/userkey-nopass.pem"));
        assert_eq!(config.client_cert(), home().join(".arc/usercert.pem"));
        assert_eq!(config.certs_dir(), Path::new("/etc/grid-security/certificates"));
        assert_eq!(config.arcproxy_path(), Path::new("/usr/bin/arcproxy"));
        assert_eq!(config.proxy_file(), Path::new("/tmp/arcproxy_file"));
        assert_eq!(config.arc_server(), "jasmin-ce.ceda.ac.uk:60000/arex");
        assert_eq!(config.proxy_validity_period(), Duration::from_secs(43_200));
        assert_eq!(config.proxy_renewal_threshold(), Duration::from_secs(10));
        assert_eq!(config.jobs_info_file(), home().join(".arc/jobs.dat"));
        assert_eq!(config.output_file(), "output");
        assert_eq!(config.interface(), Interface::Auto);

        assert_eq!(load("{}"), (config.clone(), vec![]));
        config.validate().unwrap();
        assert_eq!(config.endpoint().unwrap().url(), "https://jasmin-ce.ceda.ac.uk:60000/arex");
    }

    #[test]
    fn examples_of_the_python_library() {
        let quickstart = r#"{
  "CLIENT_KEY": "/path/to/private/key.pem",
  "CLIENT_CERT": "/path/to/cert.pem",
}"#;
        // Python's JSON parser refuses the last comma of this one too.
        check_refused(quickstart, 4, "", "trailing comma");
        let (config, warnings) = load(&quickstart.replace("\",\n}", "\"\n}"));
        assert_eq!(config.client_key(), Path::new("/path/to/private/key.pem"));
        assert_eq!(config.client_cert(), Path::new("/path/to/cert.pem"));
        assert_eq!(config.output_file(), "output");
        assert!(warnings.is_empty());

        let (config, warnings) = load(
            r#"{
  "CLIENT_KEY": "/my/private/key",
  "ARC_SERVER": "my-arc-server.ac.uk"
}"#,
        );
        assert_eq!(config.client_key(), Path::new("/my/private/key"));
        assert_eq!(config.client_cert(), home().join(".arc/usercert.pem"));
        assert_eq!(config.endpoint().unwrap().url(), "https://my-arc-server.ac.uk:443/arex");
        assert!(warnings.is_empty());
    }

    /// Every key, with a value that is not its default.
    fn full() -> Value {
        json!({
            "CLIENT_KEY": "~/key.pem",
            "CLIENT_CERT": "~",
            "CERTS_DIR": "/etc//certs/./x/",
            "ARCPROXY_PATH": "bin/~/arcproxy",
            "PROXY_FILE": "~user/proxy",
            "ARC_SERVER": "https://CE.example.org/arex/",
            "PROXY_VALIDITY_PERIOD": 3600,
            "PROXY_RENEWAL_THRESHOLD": 0,
            "JOBS_INFO_FILE": "/tmp/\u{fc} \u{1f980} \"jobs\".dat",
            "OUTPUT_FILE": "~/out/",
            "INTERFACE": "org.nordugrid.arcrest",
            "DELEGATION": "always",
        })
    }

    #[test]
    fn json_to_value_to_json_is_the_same_document() {
        let mut documents = vec![json!({}), full()];
        documents.extend(full().as_object().unwrap().iter().map(|(key, value)| json!({ key: value })));
        // What is also the default stays given.
        documents.push(json!({"CLIENT_KEY": "~/.arc/userkey-nopass.pem", "OUTPUT_FILE": "output"}));
        documents.push(json!({"PROXY_VALIDITY_PERIOD": 43_200, "PROXY_RENEWAL_THRESHOLD": 10, "INTERFACE": "auto"}));
        documents.push(json!({"PROXY_VALIDITY_PERIOD": u64::MAX}));
        for document in documents {
            let (config, warnings) = load(&document.to_string());
            assert!(warnings.is_empty(), "{warnings:?}");
            assert_eq!(serde_json::to_value(&config).unwrap(), document);
            // And from the value's side.
            assert_eq!(serde_json::from_value::<ConnectionConfig>(document).unwrap(), config);
        }
    }

    #[test]
    fn setters_set_what_the_keys_do() {
        let built = ConnectionConfig::default()
            .with_client_key("~/key.pem")
            .with_client_cert("~")
            .with_certs_dir("/etc//certs/./x/")
            .with_arcproxy_path("bin/~/arcproxy")
            .with_proxy_file("~user/proxy")
            .with_arc_server("https://CE.example.org/arex/")
            .with_proxy_validity_period(Duration::from_millis(3_600_999))
            .with_proxy_renewal_threshold(Duration::ZERO)
            .with_jobs_info_file("/tmp/\u{fc} \u{1f980} \"jobs\".dat")
            .with_output_file("~/out/")
            .with_interface(Interface::ArcRest)
            .with_delegation(Delegation::Always);
        built.validate().unwrap();
        assert_eq!(serde_json::to_value(&built).unwrap(), full());
        assert_eq!(load(&full().to_string()).0, built);

        let mut keys = KEYS;
        keys.sort_unstable();
        assert!(full().as_object().unwrap().keys().eq(keys));
    }

    #[test]
    fn tilde() {
        let at = |path: &str| ConnectionConfig::default().with_proxy_file(path).proxy_file();
        assert_eq!(at("~"), home());
        assert_eq!(at("~/"), home());
        assert_eq!(at("~/a/b"), home().join("a/b"));
        assert_eq!(at("~//etc/passwd"), home().join("etc/passwd"));
        for path in ["~user/a", "~~/a", "/a/~/b", "a~", "./~/a", "relative/a", "/absolute"] {
            assert_eq!(at(path).to_str(), Some(path));
        }
        let config = ConnectionConfig::default().with_output_file("~/out").with_arc_server("~/x");
        assert_eq!((config.output_file(), config.arc_server()), ("~/out", "~/x"));
    }

    #[test]
    fn unreadable_files() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path().join("missing.json"), dir.path().to_owned()] {
            let error = ConnectionConfig::from_file(&path).unwrap_err();
            assert!(error.source().is_some_and(|source| source.is::<std::io::Error>()));
            assert!(error.to_string().starts_with(&format!("invalid configuration {}: ", path.display())), "{error}");
            let (got, line, key, _) = refusal(Err(error));
            assert_eq!((got, line, key), (Some(path), None, None));
        }
    }

    #[test]
    fn broken_json() {
        check_refused("", 1, "", "EOF");
        check_refused("\n\n", 3, "", "EOF");
        check_refused("{\n", 2, "", "EOF");
        check_refused("{\n\"CLIENT_KEY\": \"/k\"\n\"CLIENT_CERT\": \"/c\"}", 3, "", "expected `,` or `}`");
        check_refused("{\n\"CLIENT_KEY\": \"/k\n\"}", 3, "CLIENT_KEY", "control character");
        check_refused("{\n\"CLIENT_KEY\": \"/k", 2, "CLIENT_KEY", "EOF");
        check_refused("{\n\"CLIENT_KEY\": \n}", 3, "CLIENT_KEY", "expected value");
        check_refused("{\n\"CLIENT_KEY\": \"\\ud800\"}", 2, "CLIENT_KEY", "");
        check_refused("{\nCLIENT_KEY: 5}", 2, "", "key must be a string");
        check_refused("{\n\"other\": [1,\n2,]}", 3, "other", "expected value");
        check_refused("\u{feff}{}", 1, "", "expected value");
        check_refused(b"{\n\"CLIENT_KEY\": \"\xff\"}", 2, "CLIENT_KEY", "unicode");
        check_refused(b"{\n\xff", 2, "", "");
        check_refused(format!("{{\"other\":\n{}", "[".repeat(100_000)), 2, "other", "EOF");
        check_refused("{}\n{}", 2, "", "trailing characters");
        check_refused("{\"CLIENT_KEY\": \"/k\"}\n\n# note", 3, "", "trailing characters");
    }

    #[test]
    fn top_level_that_is_no_object() {
        for text in ["[]", "[\"/k\"]", "5", "\"/k\"", "null", "true"] {
            check_refused(format!("\n{text}\n"), 2, "", "expected an object");
        }
    }

    #[test]
    fn wrong_types() {
        for key in KEYS {
            let is_number = key.starts_with("PROXY_") && key != "PROXY_FILE";
            let wrong: &[&str] = match is_number {
                true => &["-1", "10.0", "1e3", "18446744073709551616", "\"10\"", "\"\"", "null", "true", "[10]", "{}"],
                false => &["5", "-5", "0.5", "null", "false", "[\"/x\"]", "{\"auto\": null}"],
            };
            for value in wrong {
                for (text, line) in [
                    (format!("{{\"{key}\": {value}}}"), 1),
                    (format!("{{\n  \"other\": 1,\n  \"{key}\": {value},\n  \"another\": 1}}"), 3),
                    (format!("{{\r\n  \"{key}\": {value}\r\n}}\r\n"), 2),
                ] {
                    check_refused(text, line, key, "invalid ");
                }
            }
        }
        check_refused("{\"CLIENT_KEY\": 5}", 1, "CLIENT_KEY", "invalid type: integer `5`");
    }

    #[test]
    fn unknown_interface() {
        for name in ["", "Auto", "arcrest", "org.nordugrid.gridftpjob"] {
            let text = format!("{{\n\"INTERFACE\": \"{name}\"\n\n}}");
            check_refused(&text, 2, "INTERFACE", &format!("{name:?}"));
            for allowed in
                ["auto", "org.nordugrid.arcrest", "org.ogf.glue.emies.activitycreation", "org.nordugrid.internal"]
            {
                check_refused(&text, 2, "INTERFACE", allowed);
            }
        }
        for &(_, interface) in Interface::NAMES {
            let (config, _) = load(&json!({ "INTERFACE": interface.as_str() }).to_string());
            assert_eq!(config.interface(), interface);
            assert_eq!(interface.to_string(), interface.as_str());
        }
    }

    #[test]
    fn keys_given_twice() {
        for (key, value) in full().as_object().unwrap() {
            let text = format!("{{\n\"{key}\": {value},\n\n\"{key}\": {value}\n}}");
            check_refused(text, 4, key, "duplicate field");
        }
    }

    #[test]
    fn unknown_keys_are_warned_about() {
        let hint = |key: &str| {
            let (config, warnings) = load(&json!({ key: {"nested": [1]}, "OUTPUT_FILE": "o" }).to_string());
            assert_eq!(serde_json::to_value(config).unwrap(), json!({"OUTPUT_FILE": "o"}));
            let [warning] = &warnings[..] else { panic!("{warnings:?}") };
            let rest = warning.strip_prefix(&format!("{key:?} is not a configuration key")).unwrap();
            rest.strip_prefix("; did you mean \"").map(|rest| rest.strip_suffix("\"?").unwrap().to_owned())
        };
        for (key, known) in [
            ("CLIENT_KEYS", "CLIENT_KEY"),
            ("client_key", "CLIENT_KEY"),
            ("client-cert", "CLIENT_CERT"),
            ("CERT_DIR", "CERTS_DIR"),
            ("ArcProxyPath", "ARCPROXY_PATH"),
            ("PROXYFILE", "PROXY_FILE"),
            ("ARC_SEVRER", "ARC_SERVER"),
            ("PROXY_VALIDITY", "PROXY_VALIDITY_PERIOD"),
            ("RENEWAL_THRESHOLD", "PROXY_RENEWAL_THRESHOLD"),
            ("JOB_INFO_FILE", "JOBS_INFO_FILE"),
            ("OUTPUT_FILES", "OUTPUT_FILE"),
            ("interface", "INTERFACE"),
        ] {
            assert_eq!(hint(key).as_deref(), Some(known), "{key}");
        }
        for key in ["", "colour", "KEY", "\u{1f980}", "line\nbreak", "CLIENT", "OUTPUT"] {
            assert_eq!(hint(key), None, "{key}");
        }

        let (_, warnings) = load(r#"{"a": 1, "b": 2}"#);
        assert_eq!(warnings, ["\"a\" is not a configuration key", "\"b\" is not a configuration key"]);

        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), r#"{"Output_File": "x"}"#).unwrap();
        let mut warnings = Vec::new();
        ConnectionConfig::from_file_with(file.path(), &mut |warning| warnings.push(warning)).unwrap();
        let place = file.path().display();
        assert_eq!(
            warnings,
            [format!("{place}: \"Output_File\" is not a configuration key; did you mean \"OUTPUT_FILE\"?")]
        );
    }

    /// The value is refused in a file, with its line, and when it was set in code.
    #[track_caller]
    fn check_value_refused(key: &str, value: Value, message: &str) {
        let document = json!({ key: value });
        check_refused(format!("{{\n\"x\": \"{key}\",\n\"{key}\"\n: {value}\n}}"), 3, key, message);
        let config: ConnectionConfig = serde_json::from_value(document).unwrap();
        let got = refusal(config.validate().map(|()| config));
        assert!(got.3.contains(message), "{}", got.3);
        assert_eq!(got, (None, None, Some(key.to_owned()), got.3.clone()));
    }

    #[test]
    fn values_that_cannot_be_used() {
        for key in ["CLIENT_KEY", "CLIENT_CERT", "CERTS_DIR", "ARCPROXY_PATH", "PROXY_FILE", "JOBS_INFO_FILE"] {
            check_value_refused(key, json!(""), "must not be empty");
            check_value_refused(key, json!("/a\0b"), "NUL");
        }
        for server in ["", "ftp://ce.example.org", "ce.example.org:0"] {
            check_value_refused("ARC_SERVER", json!(server), "");
        }
        check_value_refused("PROXY_VALIDITY_PERIOD", json!(0), "at least 1 second");
        check_value_refused("PROXY_VALIDITY_PERIOD", json!(10), "(10 seconds) must be less than");
        check_value_refused("PROXY_RENEWAL_THRESHOLD", json!(43_200), "validity period (43200 seconds)");
        check_refused(
            "{\"PROXY_VALIDITY_PERIOD\": 60,\n\"PROXY_RENEWAL_THRESHOLD\": 60}",
            2,
            "PROXY_RENEWAL_THRESHOLD",
            "(60 seconds) must be less than the validity period (60 seconds)",
        );
        load("{\"PROXY_VALIDITY_PERIOD\": 60, \"PROXY_RENEWAL_THRESHOLD\": 59}");

        let error = ConnectionConfig::default().with_arc_server("a b").endpoint().unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid configuration, key ARC_SERVER: ' ' does not belong in the address of a CE"
        );
    }

    #[test]
    fn output_file() {
        for name in ["output", "~", "~/x", "a/b/c", "a/", "./a", "a.b", "..a", "a..b", "...", "out put", "\u{fc}", "-r"]
        {
            check_output_file(name).unwrap();
        }
        for name in ["sub/stdout.txt", "stdout.txt.gz", "STDOUT.TXT", "stdout"] {
            check_output_file(name).unwrap();
        }
        for name in ["", ".", "./", "./."] {
            check_value_refused("OUTPUT_FILE", json!(name), "must name");
        }
        for name in ["/", "/etc/passwd", "//x", "..", "../x", "a/../b", "a/..", "./../a"] {
            check_value_refused("OUTPUT_FILE", json!(name), "must be a relative path");
        }
        for name in ["a\0b", "\0", "a\nb", "\u{1b}[0m", "a\u{7f}", "a\u{85}b"] {
            check_value_refused("OUTPUT_FILE", json!(name), "control");
        }
        for name in ["stdout.txt", "stderr.txt", "./stdout.txt", "stderr.txt/", "stdout.txt/x"] {
            check_value_refused("OUTPUT_FILE", json!(name), "standard stream");
        }
    }

    #[test]
    fn endpoint_forms() {
        for (text, url) in [
            ("ce.example.org", "https://ce.example.org:443/arex"),
            ("CE.Example.ORG", "https://ce.example.org:443/arex"),
            ("localhost", "https://localhost:443/arex"),
            ("ce.example.org/", "https://ce.example.org:443/arex"),
            ("ce.example.org:60000", "https://ce.example.org:60000/arex"),
            ("ce.example.org:060000", "https://ce.example.org:60000/arex"),
            ("jasmin-ce.ceda.ac.uk:60000/arex", "https://jasmin-ce.ceda.ac.uk:60000/arex"),
            ("ce.example.org/other/Path//", "https://ce.example.org:443/other/Path"),
            ("ce.example.org//arex", "https://ce.example.org:443/arex"),
            ("https://ce.example.org", "https://ce.example.org:443/arex"),
            ("HTTPS://ce.example.org:8443/arex/", "https://ce.example.org:8443/arex"),
            ("http://ce.example.org", "http://ce.example.org:80/arex"),
            ("http://ce.example.org:8080/x", "http://ce.example.org:8080/x"),
            ("https://ce.example.org/arex/rest", "https://ce.example.org:443/arex"),
            ("https://ce.example.org/arex/rest/1.0/", "https://ce.example.org:443/arex"),
            ("https://ce.example.org/arex/rest/1.1", "https://ce.example.org:443/arex"),
            ("ce.example.org/rest", "https://ce.example.org:443/arex"),
            ("ce.example.org/arex/rest/x", "https://ce.example.org:443/arex/rest/x"),
            ("ce.example.org/rest/arex", "https://ce.example.org:443/rest/arex"),
            ("ce.example.org/interest", "https://ce.example.org:443/interest"),
            ("192.0.2.7:443", "https://192.0.2.7:443/arex"),
            ("[::1]", "https://[::1]:443/arex"),
            ("[2001:DB8::0:1]:60000/arex", "https://[2001:db8::1]:60000/arex"),
            ("https://[::1]/x", "https://[::1]:443/x"),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!(endpoint.url(), url, "{text}");
            assert_eq!(endpoint.to_string(), url);
            // What is normal stays as it is.
            assert_eq!(Endpoint::parse(url).unwrap(), endpoint);
        }

        let endpoint = Endpoint::parse("http://[::1]:8080").unwrap();
        assert_eq!((endpoint.scheme, endpoint.host.as_str(), endpoint.port), ("http", "::1", 8080));
        assert_eq!((endpoint.path(), endpoint.authority().as_str()), ("/arex", "[::1]:8080"));
    }

    #[test]
    fn endpoints_refused() {
        for (text, reason) in [
            ("", "\"\" is not a host name"),
            ("/arex", "\"\" is not a host name"),
            (":443", "\"\" is not a host name"),
            ("https://", "\"\" is not a host name"),
            ("https:///arex", "\"\" is not a host name"),
            ("https:ce.example.org", "\":ce.example.org\" is not a port: 1 to 65535 after a colon"),
            ("https:/ce.example.org", "\":\" is not a port: 1 to 65535 after a colon"),
            ("://ce", "\"\" is not https or http"),
            ("ftp://ce", "\"ftp\" is not https or http"),
            ("file:///x", "\"file\" is not https or http"),
            ("ce/https://ce", "\"ce/https\" is not https or http"),
            ("ce:", "\":\" is not a port: 1 to 65535 after a colon"),
            ("ce:0", "\":0\" is not a port: 1 to 65535 after a colon"),
            ("ce:65536", "\":65536\" is not a port: 1 to 65535 after a colon"),
            ("ce:99999999999999999999", "\":99999999999999999999\" is not a port: 1 to 65535 after a colon"),
            ("ce:+443", "\":+443\" is not a port: 1 to 65535 after a colon"),
            ("ce:-1", "\":-1\" is not a port: 1 to 65535 after a colon"),
            ("ce:https", "\":https\" is not a port: 1 to 65535 after a colon"),
            ("ce:1:2", "\":1:2\" is not a port: 1 to 65535 after a colon"),
            ("::1", "\"\" is not a host name"),
            ("[::1", "the bracket is not closed"),
            ("[]", "\"\" is not an IPv6 address"),
            ("[ce]", "\"ce\" is not an IPv6 address"),
            ("[fe80::1%eth0]", "\"fe80::1%eth0\" is not an IPv6 address"),
            ("[::1]443", "\"443\" is not a port: 1 to 65535 after a colon"),
            ("-ce", "\"-ce\" is not a host name"),
            ("..", "\"..\" is not a host name"),
            ("c%65", "\"c%65\" is not a host name"),
            ("ce/../arex", "the path \"../arex\" must not contain \".\" or \"..\""),
            ("ce/arex/.", "the path \"arex/.\" must not contain \".\" or \"..\""),
            ("user@ce", "'@' does not belong in the address of a CE"),
            ("https://user:secret@ce", "'@' does not belong in the address of a CE"),
            ("ce/arex?x=1", "'?' does not belong in the address of a CE"),
            ("ce/arex#x", "'#' does not belong in the address of a CE"),
            ("ce;x=1/arex", "';' does not belong in the address of a CE"),
            ("ce\\arex", "'\\\\' does not belong in the address of a CE"),
            ("ce example.org", "' ' does not belong in the address of a CE"),
            (" ce", "' ' does not belong in the address of a CE"),
            ("ce\n", "'\\n' does not belong in the address of a CE"),
            ("ce\0", "'\\0' does not belong in the address of a CE"),
            ("c\u{e9}", "'\u{e9}' does not belong in the address of a CE"),
            ("\u{1f980}", "'\u{1f980}' does not belong in the address of a CE"),
        ] {
            assert_eq!(Endpoint::parse(text), Err(reason.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn job_ids_of_this_ce() {
        let name = "RmCMDmqK9brnMQPDjq2vDwNoABFKDmABFKDmvpFKDmWEFKDmnXLGem";
        let standard = ["CE.example.org", "https://ce.example.org:443/arex"];
        for server in standard {
            let endpoint = Endpoint::parse(server).unwrap();
            for prefix in [
                "",
                "https://ce.example.org/arex/",
                "https://ce.example.org:443/arex/",
                "HTTPS://CE.EXAMPLE.ORG:443/arex/",
                "https://ce.example.org/arex/rest/1.0/jobs/",
                "https://ce.example.org:443/arex/rest/1.1/jobs/",
                "https://ce.example.org:443/arex/rest/12.34/jobs/",
            ] {
                assert_eq!(endpoint.job_local_id(&format!("{prefix}{name}")), Some(name), "{prefix}");
            }
        }
        for (server, id) in [
            ("ce:60000", "https://ce:60000/arex/a-b_1"),
            ("http://ce", "http://ce/arex/a-b_1"),
            ("http://ce:443", "http://ce:443/arex/a-b_1"),
            ("[::1]/x/y", "https://[0:0:0:0:0:0:0:1]:443/x/y/rest/1.0/jobs/a-b_1"),
        ] {
            assert_eq!(Endpoint::parse(server).unwrap().job_local_id(id), Some("a-b_1"), "{id}");
        }
        let longest = "x".repeat(256);
        assert_eq!(Endpoint::parse("ce").unwrap().job_local_id(&longest), Some(longest.as_str()));
    }

    #[test]
    fn job_ids_that_cannot_be_of_this_ce() {
        let endpoint = Endpoint::parse("ce.example.org").unwrap();
        for id in [
            "",
            "/",
            "a/",
            "/a",
            "a b",
            "a.b",
            "..",
            "a\0",
            "a\nb",
            "a%2f",
            "\u{e9}",
            "\u{1f980}",
            "a\u{301}",
            "://",
            "https://",
            "https://\u{e9}",
            "https://\u{e9}/\u{e9}",
            "https://ce.example.org\u{e9}/arex/a",
            "https://ce.example.org:\u{661}/arex/a",
            "https://ce.example.org/arex\u{e9}/a",
            "https://ce.example.org/arex/\u{e9}",
            "https://ce.example.org/arex/rest/1.\u{661}/jobs/a",
            "https://ce.example.org",
            "https://ce.example.org/",
            "https://ce.example.org/a",
            "https://ce.example.org/arex",
            "https://ce.example.org/arex/",
            "https://ce.example.org/arexa",
            "https://ce.example.org/AREX/a",
            "https://ce.example.org/arex//a",
            "https://ce.example.org/arex/a/",
            "https://ce.example.org/arex/a?x",
            "https://ce.example.org/arex/rest/jobs/a",
            "https://ce.example.org/arex/rest/1/jobs/a",
            "https://ce.example.org/arex/rest/1./jobs/a",
            "https://ce.example.org/arex/rest/.0/jobs/a",
            "https://ce.example.org/arex/rest/1.0.0/jobs/a",
            "https://ce.example.org/arex/rest/1.0/jobs",
            "https://ce.example.org/arex/rest/1.0/jobs/",
            "https://ce.example.org/arex/rest/1.0/jobs/a/",
            "https://ce.example.org/arex/rest/1.0/jobs/a/session",
            "https://ce.example.org/arex/rest/1.0/jobs/a/jobs/b",
            "https://ce.example.org/arex/rest/1.0/delegations/a",
            "https://ce.example.org:8443/arex/a",
            "https://ce.example.org:/arex/a",
            "https://ce.example.org:x/arex/a",
            "https://other.example.org/arex/a",
            "https://ce.example.org.evil.org/arex/a",
            "https://user@ce.example.org/arex/a",
            "https://[::1/arex/a",
            "http://ce.example.org/arex/a",
            "http://ce.example.org:443/arex/a",
            "gsiftp://ce.example.org:2811/jobs/a",
            "file:///var/spool/arc/a",
        ] {
            assert_eq!(endpoint.job_local_id(id), None, "{id:?}");
        }
        assert_eq!(endpoint.job_local_id(&"x".repeat(257)), None);
        // Without a port an id is one of the scheme's own port, and not of another that the CE may have.
        assert_eq!(Endpoint::parse("ce:60000").unwrap().job_local_id("https://ce/arex/a"), None);

        // No cut of an id, at whatever character, is a panic.
        let whole = "https://ce.example.org:443/arex/\u{1f980}/rest/1.0/jobs/\u{e9}a";
        for (at, _) in whole.char_indices() {
            endpoint.job_local_id(&whole[at..]);
            endpoint.job_local_id(&whole[..at]);
            let _ = Endpoint::parse(&whole[at..]);
            let _ = Endpoint::parse(&whole[..at]);
        }
    }

    #[test]
    fn is_send_and_sync() {
        fn check<T: Send + Sync>() {}
        check::<ConnectionConfig>();
    }
}
