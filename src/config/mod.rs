//! [`ConnectionConfig`]: the address of the CE, the credentials, and the paths of local files.

pub(crate) mod endpoint;
mod parse;
mod protocol;
mod validate;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::endpoint::Endpoint;
use self::parse::{Texts, log_warning};
pub use self::protocol::{ParseProtocolError, Protocol};
pub use crate::description::Delegation;
use crate::error::{Error, Result};

/// The configuration of the connection to an ARC-CE.
///
/// A configuration file is one JSON object. Every key is optional. An unknown key is logged as a warning and ignored.
///
/// | key                       | default                           | meaning                                                 |
/// |---------------------------|-----------------------------------|---------------------------------------------------------|
/// | `CLIENT_KEY`              | `~/.arc/userkey-nopass.pem`       | private key of your grid certificate                    |
/// | `CLIENT_CERT`             | `~/.arc/usercert.pem`             | your grid certificate                                   |
/// | `CERTS_DIR`               | `/etc/grid-security/certificates` | directory of trusted CA certificates                    |
/// | `ARCPROXY_PATH`           | `/usr/bin/arcproxy`               | ARC's program that creates proxy certificates           |
/// | `PROXY_FILE`              | `/tmp/arcproxy_file`              | the proxy certificate                                   |
/// | `ARC_SERVER`              | `jasmin-ce.ceda.ac.uk:60000/arex` | the CE: `host`, `host:port`, `host:port/path` or a URL  |
/// | `PROXY_VALIDITY_PERIOD`   | `43200` (12 hours)                | lifetime of a new proxy certificate, in seconds         |
/// | `PROXY_RENEWAL_THRESHOLD` | `10`                              | remaining lifetime at which it is renewed, in seconds   |
/// | `JOBS_INFO_FILE`          | `~/.arc/jobs.dat`                 | job list shared with ARC's command-line tools           |
/// | `OUTPUT_FILE`             | `output`                          | file or directory that `submit_job` keeps as output     |
/// | `INTERFACE`               | `auto`                            | see [`Protocol`]                                        |
/// | `DELEGATION`              | `auto`                            | see [`Delegation`]                                      |
/// | `VERIFY_HOST`             | `true`                            | whether the CE's certificate must name its host         |
/// | `TOKEN_FILE`              | none                              | bearer token: a file, or `auto`                         |
/// | `VOMS`                    | none                              | VOMS attributes of a new proxy: `vo`, `vo:command`, or a list |
///
/// In paths of local files, a leading `~` or `~/` means your home directory. The getters expand it. The stored value
/// keeps the `~`, so reading a configuration and writing it again gives the same JSON document.
///
/// Deserializing with serde checks only the types of the values. Call [`validate`](Self::validate) afterwards.
///
/// # Examples
///
/// ```
/// use jasmin_arc::ConnectionConfig;
///
/// let text = r#"{"CLIENT_KEY":"~/key.pem","ARC_SERVER":"ce.example.org"}"#;
/// let config = ConnectionConfig::from_json(text)?;
/// assert!(!config.client_key().starts_with("~"));
/// assert_eq!(config.endpoint_url()?, "https://ce.example.org:443/arex");
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE", default)]
pub struct ConnectionConfig {
    #[serde(deserialize_with = "parse::value", skip_serializing_if = "Option::is_none")]
    client_key: Option<PathBuf>,
    #[serde(deserialize_with = "parse::value", skip_serializing_if = "Option::is_none")]
    client_cert: Option<PathBuf>,
    #[serde(deserialize_with = "parse::value", skip_serializing_if = "Option::is_none")]
    certs_dir: Option<PathBuf>,
    #[serde(deserialize_with = "parse::value", skip_serializing_if = "Option::is_none")]
    arcproxy_path: Option<PathBuf>,
    #[serde(deserialize_with = "parse::value", skip_serializing_if = "Option::is_none")]
    proxy_file: Option<PathBuf>,
    #[serde(deserialize_with = "parse::value", skip_serializing_if = "Option::is_none")]
    arc_server: Option<String>,
    #[serde(deserialize_with = "parse::seconds::<43200, _>", skip_serializing_if = "Option::is_none")]
    proxy_validity_period: Option<u64>,
    #[serde(deserialize_with = "parse::seconds::<10, _>", skip_serializing_if = "Option::is_none")]
    proxy_renewal_threshold: Option<u64>,
    #[serde(deserialize_with = "parse::value", skip_serializing_if = "Option::is_none")]
    jobs_info_file: Option<PathBuf>,
    #[serde(deserialize_with = "parse::value", skip_serializing_if = "Option::is_none")]
    output_file: Option<String>,
    #[serde(deserialize_with = "parse::value", skip_serializing_if = "Option::is_none")]
    interface: Option<Protocol>,
    #[serde(deserialize_with = "parse::value", skip_serializing_if = "Option::is_none")]
    delegation: Option<Delegation>,
    #[serde(deserialize_with = "parse::value", skip_serializing_if = "Option::is_none")]
    verify_host: Option<bool>,
    #[serde(deserialize_with = "parse::value", skip_serializing_if = "Option::is_none")]
    voms: Option<Texts>,
    #[serde(deserialize_with = "parse::value", skip_serializing_if = "Option::is_none")]
    token_file: Option<PathBuf>,
}

const KEYS: [&str; 15] = [
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
    "VERIFY_HOST",
    "VOMS",
    "TOKEN_FILE",
];

/// Reading and validating.
impl ConnectionConfig {
    /// Reads a configuration file.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] with the path and, where known, the line and the key, if the file
    /// - cannot be read (the source is the [`std::io::Error`]);
    /// - is not exactly one JSON object, or contains a key twice;
    /// - contains a value that [`validate`](Self::validate) refuses.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        parse::read_file(path.as_ref(), &mut log_warning)
    }

    /// Reads a configuration from JSON text.
    ///
    /// # Errors
    ///
    /// As for [`from_file`](Self::from_file), without the path.
    ///
    /// # Examples
    ///
    /// ```
    /// use jasmin_arc::{ConnectionConfig, Error};
    ///
    /// let text = r#"{
    ///     "ARC_SERVER": "ce.example.org",
    ///     "PROXY_VALIDITY_PERIOD": "12h"
    /// }"#;
    /// let error = ConnectionConfig::from_json(text).unwrap_err();
    /// assert!(matches!(error, Error::InvalidConfig { line: Some(3), .. }));
    /// assert_eq!(
    ///     error.to_string(),
    ///     "invalid configuration, line 3, key PROXY_VALIDITY_PERIOD: invalid type: string \"12h\", expected a whole \
    ///      number of seconds, such as 43200"
    /// );
    /// ```
    pub fn from_json(text: &str) -> Result<Self> {
        parse::parse(text.as_bytes(), None, &mut log_warning)
    }

    /// Checks the values without accessing any file.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] with the key, if
    /// - a path is empty or contains NUL;
    /// - `ARC_SERVER` is not a host, `host:port`, `host:port/path` or http(s) URL, or has a user, query or fragment;
    /// - `PROXY_VALIDITY_PERIOD` is 0;
    /// - `PROXY_RENEWAL_THRESHOLD` is not less than `PROXY_VALIDITY_PERIOD`, because every operation would then create
    ///   a new proxy certificate;
    /// - an element of `VOMS` does not begin with the name of a VO, or contains spaces or control characters;
    /// - `TOKEN_FILE` is set, and `VERIFY_HOST` is `false`, `INTERFACE` is EMI-ES or `arcrest-plugin`, or `DELEGATION` is `always`;
    /// - `OUTPUT_FILE` contains control characters or `..`, is absolute, or names no file;
    /// - `OUTPUT_FILE` is `stdout.txt` or `stderr.txt`, or is below one of them, because `submit_job` uses these names
    ///   for the standard streams of the job.
    pub fn validate(&self) -> Result<()> {
        self.check().map_err(|(key, message)| invalid(key, message))
    }

    /// Returns the full URL of the CE, `https://host:port/path`, derived from `ARC_SERVER`.
    ///
    /// The host is in lower case. If `ARC_SERVER` has no port or path, the URL has port 443 (80 for http) and the path
    /// `/arex`. A `/rest` or `/rest/VERSION` at the end of the path is removed.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if `ARC_SERVER` is not the address of a CE.
    pub fn endpoint_url(&self) -> Result<String> {
        self.endpoint().map(|endpoint| endpoint.url())
    }

    pub(crate) fn endpoint(&self) -> Result<Endpoint> {
        Endpoint::parse(self.arc_server()).map_err(|message| invalid("ARC_SERVER", message))
    }
}

fn invalid(key: &str, message: String) -> Error {
    Error::InvalidConfig { path: None, line: None, key: Some(key.to_owned()), message, source: None }
}

/// Getters. They return the default for a key that is not set.
impl ConnectionConfig {
    /// `CLIENT_KEY`: the file with the private key of your grid certificate. A leading `~` is expanded.
    ///
    /// An encrypted key needs [`passphrase`](crate::ArcInterfaceBuilder::passphrase).
    pub fn client_key(&self) -> PathBuf {
        expand(&self.client_key, "~/.arc/userkey-nopass.pem")
    }

    /// `CLIENT_CERT`: the file with your grid certificate. A leading `~` is expanded.
    pub fn client_cert(&self) -> PathBuf {
        expand(&self.client_cert, "~/.arc/usercert.pem")
    }

    /// `CERTS_DIR`: the directory of trusted CA certificates. A leading `~` is expanded.
    pub fn certs_dir(&self) -> PathBuf {
        expand(&self.certs_dir, "/etc/grid-security/certificates")
    }

    /// `ARCPROXY_PATH`: ARC's program `arcproxy`, which creates a proxy certificate from the key and the certificate. A
    /// leading `~` is expanded.
    pub fn arcproxy_path(&self) -> PathBuf {
        expand(&self.arcproxy_path, "/usr/bin/arcproxy")
    }

    /// `PROXY_FILE`: the file with the proxy certificate. A leading `~` is expanded.
    pub fn proxy_file(&self) -> PathBuf {
        expand(&self.proxy_file, "/tmp/arcproxy_file")
    }

    /// `ARC_SERVER`: the address of the CE, as the caller wrote it. [`endpoint_url`](Self::endpoint_url) is the full
    /// URL.
    pub fn arc_server(&self) -> &str {
        self.arc_server.as_deref().unwrap_or("jasmin-ce.ceda.ac.uk:60000/arex")
    }

    /// `PROXY_VALIDITY_PERIOD`: the lifetime of a new proxy certificate, in whole seconds.
    pub fn proxy_validity_period(&self) -> Duration {
        Duration::from_secs(self.proxy_validity_period.unwrap_or(12 * 60 * 60))
    }

    /// `PROXY_RENEWAL_THRESHOLD`: the remaining lifetime at which a proxy certificate is renewed, in whole seconds.
    pub fn proxy_renewal_threshold(&self) -> Duration {
        Duration::from_secs(self.proxy_renewal_threshold.unwrap_or(10))
    }

    /// `JOBS_INFO_FILE`: the list of submitted jobs that ARC's command-line tools (`arcstat`, `arcget` and others) also
    /// use. A leading `~` is expanded.
    ///
    /// The crate creates the file when it submits the first job. It also creates the directory `~/.arc` of the default
    /// path. The directory of any other path must exist.
    pub fn jobs_info_file(&self) -> PathBuf {
        expand(&self.jobs_info_file, DEFAULT_JOBS_INFO_FILE)
    }

    /// Whether `JOBS_INFO_FILE` is the default path. Only then does the crate create a missing directory.
    pub(crate) fn has_default_jobs_info_file(&self) -> bool {
        self.jobs_info_file() == expand(&None, DEFAULT_JOBS_INFO_FILE)
    }

    /// `OUTPUT_FILE`: the file or directory in the session directory that the CE keeps as the output of a job from
    /// [`submit_job`](crate::ArcInterface::submit_job). `~` is not expanded, since the path is on the CE.
    pub fn output_file(&self) -> &str {
        self.output_file.as_deref().unwrap_or("output")
    }

    /// `OUTPUT_FILE` in the form that job descriptions demand: without empty components and without `.`.
    pub(crate) fn plain_output_file(&self) -> String {
        let components = self.output_file().split('/').filter(|component| !matches!(*component, "" | "."));
        components.collect::<Vec<_>>().join("/")
    }

    /// `INTERFACE`: the protocol between this crate and the CE.
    pub fn interface(&self) -> Protocol {
        self.interface.unwrap_or_default()
    }

    /// `DELEGATION`: which jobs get a delegation of your credentials. See [`Delegation`] for the rules.
    pub fn delegation(&self) -> Delegation {
        self.delegation.unwrap_or_default()
    }

    /// `VERIFY_HOST`: whether the certificate of the CE must name the host of `ARC_SERVER`.
    ///
    /// A host name must be among the DNS names in the certificate's subjectAltName, and an IP address among its IP
    /// addresses. `*` stands for the first label of a DNS name. The common name counts only in a certificate without
    /// subjectAltName. Other certificates are [`Error::Untrusted`], and so is every `http://` address.
    ///
    /// If this is `false`, anyone with a certificate of a CA in `CERTS_DIR`, a user's included, can pose as the CE.
    pub fn verify_host(&self) -> bool {
        self.verify_host.unwrap_or(true)
    }

    /// `VOMS`: the attributes that `arcproxy` requests from VOMS servers for a new proxy certificate, in the syntax of its
    /// option `--voms`: `vo` or `vo:command`, such as `atlas` or `atlas:/atlas/Role=production`. In JSON, the value is one
    /// text or a list of texts.
    ///
    /// `arcproxy` finds the servers in its `vomses` files. An existing proxy certificate without any VOMS attributes is
    /// replaced. The attributes are requested for `PROXY_VALIDITY_PERIOD`. A server may certify them for a shorter time.
    pub fn voms(&self) -> &[String] {
        self.voms.as_ref().map_or(&[], Texts::as_slice)
    }

    /// `TOKEN_FILE`: the file with a bearer token, or `auto` for the places where ARC's tools look. A leading `~` is
    /// expanded. If it is set, the crate identifies you by the token, and neither uses nor creates a proxy certificate.
    ///
    /// `auto` uses the first that exists of the token in the environment variable `BEARER_TOKEN`, the file in
    /// `BEARER_TOKEN_FILE`, and the file `bt_uUID` in the directory `XDG_RUNTIME_DIR` or in `/tmp`, where `UID` is your
    /// user id. Write `./auto` for a file with that name.
    ///
    /// The crate reads the file again when it changes, and then makes new connections. The file must belong to you and
    /// have mode 0600, or belong to root and not be writable by others. Tokens are sent over REST only, and only to a CE
    /// whose certificate has been verified. A job that needs a [`Delegation`] is an error.
    ///
    /// ```
    /// use jasmin_arc::ConnectionConfig;
    ///
    /// let config = ConnectionConfig::default().with_token_file("/run/secrets/token");
    /// config.validate()?;
    /// // A token never goes to a CE that is not verified.
    /// assert!(config.with_verify_host(false).validate().is_err());
    /// # Ok::<(), jasmin_arc::Error>(())
    /// ```
    pub fn token_file(&self) -> Option<PathBuf> {
        self.token_file.as_ref().map(|_| expand(&self.token_file, ""))
    }

    /// Where the token is, if there is one: in a file, or in the places where ARC's tools look (`None`).
    pub(crate) fn token_place(&self) -> Option<Option<PathBuf>> {
        self.token_file().map(|path| Some(path).filter(|path| path.as_os_str() != "auto"))
    }
}

const DEFAULT_JOBS_INFO_FILE: &str = "~/.arc/jobs.dat";

fn expand(path: &Option<PathBuf>, default: &str) -> PathBuf {
    let path = path.as_deref().unwrap_or(Path::new(default));
    match (path.strip_prefix("~"), dirs::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        // `~user`, the home of another user, is not expanded. Opening such a path fails later with a clear error.
        _ => path.to_owned(),
    }
}

/// Setters. They do not check the values: [`validate`](ConnectionConfig::validate) does.
impl ConnectionConfig {
    /// Sets `CLIENT_KEY`.
    #[must_use]
    pub fn with_client_key(mut self, path: impl Into<PathBuf>) -> Self {
        self.client_key = Some(path.into());
        self
    }

    /// Sets `CLIENT_CERT`.
    #[must_use]
    pub fn with_client_cert(mut self, path: impl Into<PathBuf>) -> Self {
        self.client_cert = Some(path.into());
        self
    }

    /// Sets `CERTS_DIR`.
    #[must_use]
    pub fn with_certs_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.certs_dir = Some(path.into());
        self
    }

    /// Sets `ARCPROXY_PATH`.
    #[must_use]
    pub fn with_arcproxy_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.arcproxy_path = Some(path.into());
        self
    }

    /// Sets `PROXY_FILE`.
    #[must_use]
    pub fn with_proxy_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.proxy_file = Some(path.into());
        self
    }

    /// Sets `ARC_SERVER`: `host`, `host:port`, `host:port/path` or a URL.
    #[must_use]
    pub fn with_arc_server(mut self, address: impl Into<String>) -> Self {
        self.arc_server = Some(address.into());
        self
    }

    /// Sets `PROXY_VALIDITY_PERIOD`. Fractions of a second are dropped.
    #[must_use]
    pub fn with_proxy_validity_period(mut self, period: Duration) -> Self {
        self.proxy_validity_period = Some(period.as_secs());
        self
    }

    /// Sets `PROXY_RENEWAL_THRESHOLD`. Fractions of a second are dropped.
    #[must_use]
    pub fn with_proxy_renewal_threshold(mut self, threshold: Duration) -> Self {
        self.proxy_renewal_threshold = Some(threshold.as_secs());
        self
    }

    /// Sets `JOBS_INFO_FILE`.
    #[must_use]
    pub fn with_jobs_info_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.jobs_info_file = Some(path.into());
        self
    }

    /// Sets `OUTPUT_FILE`: a path relative to the session directory.
    #[must_use]
    pub fn with_output_file(mut self, path: impl Into<String>) -> Self {
        self.output_file = Some(path.into());
        self
    }

    /// Sets `INTERFACE`.
    #[must_use]
    pub fn with_interface(mut self, protocol: Protocol) -> Self {
        self.interface = Some(protocol);
        self
    }

    /// Sets `DELEGATION`.
    #[must_use]
    pub fn with_delegation(mut self, delegation: Delegation) -> Self {
        self.delegation = Some(delegation);
        self
    }

    /// Sets `VERIFY_HOST`.
    #[must_use]
    pub fn with_verify_host(mut self, verify: bool) -> Self {
        self.verify_host = Some(verify);
        self
    }

    /// Sets `TOKEN_FILE`: a path, or `auto`.
    #[must_use]
    pub fn with_token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token_file = Some(path.into());
        self
    }

    /// Sets `VOMS`: `vo` or `vo:command`, one or several.
    ///
    /// ```
    /// use jasmin_arc::ConnectionConfig;
    ///
    /// let config = ConnectionConfig::default().with_voms(["atlas:/atlas/Role=production"]);
    /// config.validate()?;
    /// assert!(config.with_voms(["--help"]).validate().is_err());
    /// # Ok::<(), jasmin_arc::Error>(())
    /// ```
    #[must_use]
    pub fn with_voms(mut self, voms: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.voms = Some(Texts::Many(voms.into_iter().map(Into::into).collect()));
        self
    }
}

#[cfg(test)]
mod tests;
