//! What proves to a CE who the user is: a proxy certificate or a bearer token.
//!
//! A CE knows the user of a connection from the credential with which the connection began, so a connection is used only
//! while its credential is the current one.

mod token;

use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

#[cfg(any(test, fuzzing))]
pub(crate) use self::token::read_for_fuzzing;
pub(crate) use self::token::{Token, TokenSource};
use crate::error::{Error, Result};
use crate::limits::Limits;

/// The version of a file: its device, inode, size and change time (`ctime`). The change time changes with the content,
/// the mode and the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileStamp(u64, u64, u64, i64, i64);

impl FileStamp {
    pub(crate) fn of(metadata: &Metadata) -> FileStamp {
        FileStamp(metadata.dev(), metadata.ino(), metadata.size(), metadata.ctime(), metadata.ctime_nsec())
    }
}

/// The credential of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    /// The proxy certificate in this version of `PROXY_FILE`.
    Proxy(FileStamp),
    /// A token, which is never presented together with a proxy certificate: A-REX would use the latter's identity.
    Token(Token),
}

impl Credential {
    /// The token, or an empty text.
    pub(crate) fn token(&self) -> &str {
        match self {
            Credential::Proxy(_) => "",
            Credential::Token(token) => token.as_str(),
        }
    }
}

/// Where connections get their credential from.
pub(crate) trait Credentials: fmt::Debug + Send + Sync {
    /// Returns the current credential. Creates a proxy certificate, or reads a token again, if necessary. Sends nothing
    /// to the CE. Ends within the limits of the call.
    fn current(&self, limits: &Limits) -> Result<Credential>;
}

/// Why there is no credential: an [`Error`] that several threads can share.
#[derive(Clone, Debug)]
pub(crate) struct CredentialFailure(Arc<Error>);

impl From<Error> for CredentialFailure {
    fn from(error: Error) -> Self {
        CredentialFailure(Arc::new(error))
    }
}

impl CredentialFailure {
    /// Returns the error, or an equivalent one if another thread shares it.
    pub(crate) fn into_error(self) -> Error {
        Arc::try_unwrap(self.0).unwrap_or_else(|shared| {
            let copy = |source: &Option<io::Error>| source.as_ref().map(copy_of);
            match &*shared {
                Error::ProxyGeneration { path, message, source } => {
                    Error::ProxyGeneration { path: path.clone(), message: message.clone(), source: copy(source) }
                }
                Error::Passphrase { path, failure, message, source } => Error::Passphrase {
                    path: path.clone(),
                    failure: *failure,
                    message: message.clone(),
                    source: copy(source),
                },
                Error::Token { path, message, source } => {
                    Error::Token { path: path.clone(), message: message.clone(), source: copy(source) }
                }
                Error::Exiting => Error::Exiting,
                other => Error::Arc { message: other.to_string() },
            }
        })
    }
}

impl fmt::Display for CredentialFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Returns an equivalent error, because an [`io::Error`] cannot be cloned.
pub(crate) fn copy_of(source: &io::Error) -> io::Error {
    match source.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(source.kind(), source.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_failures_become_equivalent_errors() {
        let source = || Some(io::Error::from_raw_os_error(2));
        for error in [
            Error::ProxyGeneration { path: "/p".into(), message: "m".into(), source: source() },
            Error::Token { path: None, message: "m".into(), source: source() },
            Error::Exiting,
        ] {
            let text = format!("{error:?}");
            let failure = CredentialFailure::from(error);
            assert_eq!(format!("{:?}", failure.clone().into_error()), text);
            assert_eq!(format!("{:?}", failure.into_error()), text);
        }
    }
}
