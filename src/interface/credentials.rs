//! The proxy certificate of an interface.

use std::path::Path;
use std::sync::Arc;

use super::{ArcInterface, check_process};
use crate::config::ConnectionConfig;
use crate::credential::{Credential, Credentials, TokenSource};
use crate::error::{Error, Result};
use crate::ffi::{self, CredentialInfo};
use crate::limits::Limits;
use crate::logging;
use crate::proxy::{CredentialReader, PassphraseCallback, Proxy, ProxySettings};

/// The credentials of an interface.
#[derive(Debug)]
pub(super) enum UserCredentials {
    Proxy(Box<Proxy>),
    Token(TokenSource),
}

impl Credentials for UserCredentials {
    fn current(&self, limits: &Limits) -> Result<Credential> {
        match self {
            UserCredentials::Proxy(proxy) => proxy.current(limits),
            UserCredentials::Token(source) => source.current(limits),
        }
    }
}

impl UserCredentials {
    pub(super) fn new(config: &ConnectionConfig, passphrase: Option<PassphraseCallback>) -> UserCredentials {
        match config.token_place() {
            Some(path) => UserCredentials::Token(TokenSource::new(path)),
            None => {
                let proxy = Proxy::new(settings(config), Arc::new(ArcCredentials));
                UserCredentials::Proxy(Box::new(proxy.with_passphrase(passphrase)))
            }
        }
    }

    /// The user as the CE names it.
    pub(super) fn identity(&self) -> Result<String> {
        match self {
            UserCredentials::Proxy(proxy) => proxy.identity(),
            UserCredentials::Token(source) => source.identity(),
        }
    }

    /// The path of the proxy certificate. Empty with a token.
    pub(super) fn proxy_path(&self) -> &Path {
        match self {
            UserCredentials::Proxy(proxy) => proxy.path(),
            UserCredentials::Token(_) => Path::new(""),
        }
    }

    pub(super) fn is_token(&self) -> bool {
        matches!(self, UserCredentials::Token(_))
    }
}

impl ArcInterface {
    /// Creates a proxy certificate with `arcproxy` and stores it at `PROXY_FILE`, even if a valid one exists.
    ///
    /// Programs rarely need this method: every operation creates a proxy certificate if there is none, and renews one
    /// that is about to expire (`PROXY_RENEWAL_THRESHOLD`). The call takes up to a second and sends nothing to the CE.
    ///
    /// # Errors
    ///
    /// [`Error::ProxyGeneration`], with the output of `arcproxy`, or because `TOKEN_FILE` is set;
    /// [`Error::Passphrase`].
    pub fn create_proxy(&self) -> Result<()> {
        check_process()?;
        let _entered = self.0.log.enter();
        match &*self.0.credentials {
            UserCredentials::Proxy(proxy) => proxy.create(&self.1.begin()),
            UserCredentials::Token(_) => Err(Error::ProxyGeneration {
                path: self.0.config.proxy_file(),
                message: "TOKEN_FILE is set, so no proxy certificate is used; remove TOKEN_FILE to create one".into(),
                source: None,
            }),
        }
    }

    /// Checks the proxy certificate at `PROXY_FILE`, and creates or renews it if necessary. With `TOKEN_FILE`, checks the
    /// token.
    ///
    /// Every operation does this first. Call this method at the start of a program to find problems with the
    /// credentials early. It sends nothing to the CE.
    ///
    /// # Errors
    ///
    /// [`Error::ProxyGeneration`], [`Error::Passphrase`], or [`Error::Token`].
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// let arc = jasmin_arc::ArcInterface::from_file("config.json")?;
    /// arc.ensure_proxy()?;
    /// println!("the credentials for {} are valid", arc.config().arc_server());
    /// # Ok(())
    /// # }
    /// ```
    pub fn ensure_proxy(&self) -> Result<()> {
        self.begin().map(drop)
    }
}

pub(super) fn settings(config: &ConnectionConfig) -> ProxySettings {
    ProxySettings {
        arcproxy: config.arcproxy_path(),
        certificate: config.client_cert(),
        key: config.client_key(),
        certs_dir: config.certs_dir(),
        proxy: config.proxy_file(),
        validity: config.proxy_validity_period(),
        threshold: config.proxy_renewal_threshold(),
        voms: config.voms().to_vec(),
    }
}

fn utf8(path: &Path) -> std::result::Result<&str, String> {
    path.to_str().ok_or_else(|| "the path is not UTF-8".to_owned())
}

/// Reads certificates with ARC's library.
struct ArcCredentials;

impl CredentialReader for ArcCredentials {
    fn read(&self, path: &Path) -> std::result::Result<CredentialInfo, String> {
        let path = utf8(path)?;
        let (read, reasons) = logging::capture(|| ffi::read_credential(path));
        read.map_err(|error| format!("{error}: {}", reasons.text()))
    }

    fn can_decrypt(&self, key: &Path, passphrase: &[u8]) -> std::result::Result<bool, String> {
        ffi::can_decrypt(utf8(key)?, passphrase).map_err(|error| error.to_string())
    }

    fn is_key_of(&self, key: &Path, passphrase: &[u8], certificate: &Path) -> std::result::Result<bool, String> {
        ffi::is_key_of(utf8(key)?, passphrase, utf8(certificate)?).map_err(|error| error.to_string())
    }
}
