//! The private errors of the backends and their conversion to the public [`Error`].

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::endpoint::Endpoint;
use crate::credential::CredentialFailure;
use crate::error::{ConnectionFailure, Error, JobFileFailure, OTHER_CE, Operation};
use crate::ffi::{self, ConnectionError};
use crate::job::JobId;
use crate::limits::{Interrupted, Limits};
use crate::logging::Reasons;

/// Why a request to a CE failed.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    Exiting,
    /// There is no credential to connect with. Nothing has been sent.
    Credential(CredentialFailure),
    /// No response, or one that cannot be understood.
    Connection {
        failure: ConnectionFailure,
        message: String,
        source: Option<Arc<dyn std::error::Error + Send + Sync>>,
        /// Whether the CE may have received the whole request.
        sent: bool,
    },
    Untrusted(String),
    /// The CE refused the whole request.
    Refused {
        code: u16,
        message: String,
    },
    /// ARC's library failed before a request was sent.
    Arc(String),
    /// The caller cancelled the call.
    Cancelled {
        /// Whether the CE may have received the whole request.
        sent: bool,
    },
    /// The deadline of the call passed.
    Deadline {
        /// The deadline that the caller set.
        deadline: Duration,
        /// Whether the CE may have received the whole request.
        sent: bool,
    },
}

/// Why an operation on one job failed.
#[derive(Clone, Debug)]
pub(crate) enum JobFailure {
    NotFound,
    Refused {
        operation: Operation,
        message: String,
    },
    /// A file of the job cannot be read.
    File(JobFileFailure, String),
    Request(Failure),
}

/// Why a file was not transferred.
#[derive(Debug)]
pub(crate) enum FileFailure {
    /// The local file cannot be read or written.
    Local(io::Error),
    Request(Failure),
}

impl Failure {
    /// Creates the failure for a response that does not have the required form.
    pub(crate) fn invalid_response(message: impl Into<String>) -> Failure {
        Failure::Connection {
            failure: ConnectionFailure::InvalidResponse,
            message: message.into(),
            source: None,
            sent: true,
        }
    }

    /// Creates the failure for a response with another status than A-REX's success. If it reports another success, it is
    /// not A-REX's response.
    pub(crate) fn refused(code: u16, message: String) -> Failure {
        match code {
            200..=299 => Failure::invalid_response(format!("unexpected HTTP status {code}: {message}")),
            _ => Failure::Refused { code, message },
        }
    }

    /// Creates the failure for a response that a parser rejects.
    pub(crate) fn unreadable(
        message: impl Into<String>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Failure {
        Failure::Connection {
            failure: ConnectionFailure::InvalidResponse,
            message: message.into(),
            source: Some(Arc::new(source)),
            sent: true,
        }
    }

    /// Classifies a failed connection by the text of ARC's exception. ARC's log only adds to the message, because it may
    /// hold messages about other calls.
    pub(crate) fn from_arc(message: &str, reasons: &Reasons) -> Failure {
        if is_untrusted(message) {
            return Failure::Untrusted(trust_message(message));
        }
        let message = innermost(message);
        let full = match reasons.complaints() {
            log if log.is_empty() || log.contains(message) => message.to_owned(),
            log => format!("{message}: {log}"),
        };
        let contains = |patterns: &[&str]| patterns.iter().any(|pattern| message.contains(pattern));
        // The texts come from PayloadTCPSocket::connect_socket in ARC's mcc/tcp. That function omits the reason if the
        // connection fails while ARC waits for it, which in practice means that the host refused it.
        let failure = if contains(&["Name or service not known", "No address associated with hostname"]) {
            ConnectionFailure::HostNotFound
        } else if contains(&["Failed to resolve "]) {
            ConnectionFailure::ResolutionFailed
        } else if contains(&["Timeout connecting to", "timed out"]) {
            ConnectionFailure::TimedOut
        } else if contains(&["Failed to connect to "]) {
            ConnectionFailure::Refused
        } else {
            ConnectionFailure::Broken
        };
        Failure::Connection { failure, message: shorten(&full), source: None, sent: true }
    }

    /// The failure of a request on a connection. `was_sent` is whether the CE may have received the whole request.
    pub(crate) fn from_connection(
        error: ConnectionError,
        reasons: &Reasons,
        limits: &Limits,
        was_sent: bool,
    ) -> Failure {
        let failure = match error {
            ConnectionError::Exiting => Failure::Exiting,
            ConnectionError::Untrusted(message) => Failure::Untrusted(message),
            ConnectionError::InvalidResponse(message) => Failure::invalid_response(message),
            ConnectionError::TimedOut(message) => Failure::connection(ConnectionFailure::TimedOut, message),
            ConnectionError::Deadline(_) => {
                Failure::Deadline { deadline: limits.deadline().unwrap_or_default(), sent: true }
            }
            ConnectionError::Cancelled(_) => Failure::Cancelled { sent: true },
            ConnectionError::Failed(message) => Failure::from_arc(&message, reasons),
        };
        failure.with_sent(was_sent)
    }

    /// Creates the failure of a connection.
    pub(crate) fn connection(failure: ConnectionFailure, message: impl Into<String>) -> Failure {
        Failure::Connection { failure, message: message.into(), source: None, sent: true }
    }

    /// Sets whether the CE may have received the whole request, for those failures that do not decide it.
    pub(crate) fn with_sent(mut self, was_sent: bool) -> Failure {
        if let Failure::Connection { sent, .. } | Failure::Cancelled { sent } | Failure::Deadline { sent, .. } =
            &mut self
        {
            *sent = was_sent;
        }
        self
    }

    /// Whether the connection was refused.
    pub(crate) fn is_refused_connection(&self) -> bool {
        matches!(self, Failure::Connection { failure: ConnectionFailure::Refused, .. })
    }

    /// Whether the CE did not respond at all, so that it may be down.
    pub(crate) fn is_no_response(&self) -> bool {
        self.is_refused_connection() || matches!(self, Failure::Connection { failure: ConnectionFailure::TimedOut, .. })
    }

    /// Whether the caller ended the call.
    pub(crate) fn is_interrupted(&self) -> bool {
        matches!(self, Failure::Cancelled { .. } | Failure::Deadline { .. })
    }

    /// Whether the connection broke, as it does if the CE has closed it.
    pub(crate) fn is_broken_connection(&self) -> bool {
        matches!(self, Failure::Connection { failure: ConnectionFailure::Broken, .. })
    }

    /// Whether the same request may succeed after a short time.
    pub(crate) fn is_transient(&self) -> bool {
        self.is_refused_connection()
            || self.is_broken_connection()
            || matches!(self, Failure::Connection { failure: ConnectionFailure::ResolutionFailed, .. })
    }

    /// Whether the CE may have received the whole request. False only if that is impossible: no connection was
    /// established, a part of the request could not be handed to the kernel, or the request was not tried.
    pub(crate) fn was_sent(&self) -> bool {
        match self {
            Failure::Connection { sent, .. } | Failure::Cancelled { sent } | Failure::Deadline { sent, .. } => *sent,
            Failure::Untrusted(_) | Failure::Credential(_) | Failure::Arc(_) => false,
            // A call that is refused during exit may have been the one that reads the response.
            Failure::Exiting | Failure::Refused { .. } => true,
        }
    }

    #[cfg(test)]
    pub(crate) fn timed_out(seconds: u64) -> Failure {
        let message = format!("no response within {seconds} s");
        Failure::Connection { failure: ConnectionFailure::TimedOut, message, source: None, sent: true }
    }

    /// Whether the CE gave no usable response.
    pub(crate) fn is_connection(&self) -> bool {
        matches!(self, Failure::Connection { .. } | Failure::Untrusted(_))
    }

    /// Returns the failure of a request that was not sent because an earlier request failed with `self`.
    pub(crate) fn not_tried_after(&self) -> Failure {
        self.not_tried(|message| format!("not tried after {message}"))
    }

    /// Returns the failure of a request that was not sent because another one failed with `self` some time ago.
    pub(crate) fn not_tried_again(&self, ago: Duration) -> Failure {
        self.not_tried(|message| format!("{message} ({:.1} s ago, and not tried again yet)", ago.as_secs_f64()))
    }

    fn not_tried(&self, not_tried: impl Fn(&str) -> String) -> Failure {
        match self {
            Failure::Connection { failure, message, .. } => {
                Failure::Connection { failure: *failure, message: not_tried(message), source: None, sent: false }
            }
            Failure::Untrusted(message) => Failure::Untrusted(not_tried(message)),
            Failure::Refused { code, message } => Failure::Refused { code: *code, message: not_tried(message) },
            Failure::Arc(message) => Failure::Arc(not_tried(message)),
            Failure::Exiting => Failure::Exiting,
            Failure::Credential(failure) => Failure::Credential(failure.clone()),
            Failure::Cancelled { .. } => Failure::Cancelled { sent: false },
            Failure::Deadline { deadline, .. } => Failure::Deadline { deadline: *deadline, sent: false },
        }
    }

    pub(crate) fn into_error(self, endpoint: &Endpoint) -> Error {
        let endpoint = endpoint.url();
        match self {
            Failure::Exiting => Error::Exiting,
            Failure::Credential(failure) => failure.into_error(),
            Failure::Connection { failure, message, source, .. } => {
                let source = source.map(|source| Box::new(source) as Box<dyn std::error::Error + Send + Sync>);
                Error::Connection { endpoint, failure, message, source }
            }
            Failure::Untrusted(message) => Error::Untrusted { endpoint, message },
            Failure::Refused { message, .. } if is_job_limit(&message) => Error::JobLimit { endpoint, message },
            Failure::Refused { code, message } => Error::Refused { endpoint, code, message },
            Failure::Arc(message) => Error::Arc { message },
            Failure::Cancelled { .. } => Error::Cancelled,
            Failure::Deadline { deadline, .. } => Error::DeadlineExceeded { deadline },
        }
    }
}

impl JobFailure {
    pub(crate) fn into_error(self, endpoint: &Endpoint, id: &JobId) -> Error {
        match self {
            JobFailure::NotFound => not_found(endpoint, id),
            JobFailure::Refused { operation, message } => {
                Error::JobOperation { job_id: id.clone(), operation, message }
            }
            // The caller of the operation knows the file.
            JobFailure::File(failure, message) => {
                Error::JobFile { job_id: id.clone(), path: PathBuf::new(), failure, message }
            }
            JobFailure::Request(failure) => failure.into_error(endpoint),
        }
    }
}

impl From<Failure> for JobFailure {
    fn from(failure: Failure) -> Self {
        JobFailure::Request(failure)
    }
}

impl From<Failure> for FileFailure {
    fn from(failure: Failure) -> Self {
        FileFailure::Request(failure)
    }
}

impl From<Interrupted> for Failure {
    fn from(interrupted: Interrupted) -> Self {
        match interrupted {
            Interrupted::Cancelled => Failure::Cancelled { sent: false },
            Interrupted::Deadline(deadline) => Failure::Deadline { deadline, sent: false },
        }
    }
}

impl From<ffi::Error> for Failure {
    fn from(error: ffi::Error) -> Self {
        match error {
            ffi::Error::Exiting => Failure::Exiting,
            ffi::Error::Exception(message) => Failure::Arc(message),
        }
    }
}

impl From<ffi::Error> for Error {
    fn from(error: ffi::Error) -> Self {
        match error {
            ffi::Error::Exiting => Error::Exiting,
            ffi::Error::Exception(message) => Error::Arc { message },
        }
    }
}

/// Whether A-REX refuses jobs because it holds as many as its configuration allows (`ARexRest::processJobs`). It sends
/// this text for a whole request, with status 500, or for single jobs.
pub(crate) fn is_job_limit(message: &str) -> bool {
    message.contains("No more jobs allowed")
}

pub(crate) fn not_found(endpoint: &Endpoint, id: &JobId) -> Error {
    let message = match endpoint.job_local_id(id.as_str()) {
        Some(_) => format!("{endpoint} does not know it"),
        None => format!("{OTHER_CE} {endpoint}"),
    };
    Error::JobNotFound { job_id: id.clone(), message }
}

/// The texts of OpenSSL's `X509_verify_cert_error_string` that mean that a certificate is not trusted.
const VERIFICATION_ERRORS: [&str; 16] = [
    "self-signed certificate",
    "self signed certificate",
    "unable to get local issuer certificate",
    "unable to get issuer certificate",
    "unable to verify the first certificate",
    "certificate has expired",
    "certificate is not yet valid",
    "certificate revoked",
    "certificate signature failure",
    "certificate purpose",
    "invalid CA certificate",
    "certificate not trusted",
    "certificate rejected",
    "unable to get certificate CRL",
    "CRL has expired",
    "certificate verify failed",
];

/// The alerts with which a CE refuses the certificate of the client, by OpenSSL's names.
const ALERTS: [&str; 8] = [
    "alert bad certificate",
    "alert certificate expired",
    "alert certificate revoked",
    "alert certificate unknown",
    "alert certificate required",
    "alert unsupported certificate",
    "alert unknown ca",
    "alert access denied",
];

/// Whether TLS failed because of a certificate. OpenSSL or ARC's mcc/tls refuses the CE's certificate. The CE refuses
/// the user's certificate with an alert.
fn is_untrusted(text: &str) -> bool {
    let has = |texts: &[&str]| texts.iter().any(|error| text.contains(error));
    has(&VERIFICATION_ERRORS) || has(&ALERTS) || has(&["cert verification failed", "failed Globus signing policy"])
}

/// Describes whose certificate is not trusted, and why.
fn trust_message(text: &str) -> String {
    if ALERTS.iter().any(|alert| text.contains(alert)) {
        return format!("the CE does not accept the certificate of this client: {}", shorten(innermost(text)));
    }
    let cause = VERIFICATION_ERRORS.iter().find(|error| text.contains(**error)).copied();
    let cause = cause.map_or_else(|| shorten(innermost(text)), str::to_owned);
    format!("the certificate of the CE cannot be verified: {cause}")
}

/// Returns the reason in a status of ARC such as `Failed to establish connection: TCP: GENERIC_ERROR (reason)`.
fn innermost(text: &str) -> &str {
    text.split_once(": GENERIC_ERROR (").and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(text)
}

/// Returns the first 300 characters on one line. The rest of a TLS trace or an HTML page adds nothing useful.
pub(crate) fn shorten(text: &str) -> String {
    const LIMIT: usize = 300;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classify(message: &str) -> Failure {
        Failure::from_arc(message, &Reasons::default())
    }

    #[test]
    fn connection_failures_are_classified() {
        for (message, expected) in [
            ("Failed to connect to localhost(127.0.0.1):1 - Connection refused", ConnectionFailure::Refused),
            ("Failed to resolve ce.invalid (Name or service not known)", ConnectionFailure::HostNotFound),
            (
                "Failed to resolve ce.example.org (Temporary failure in name resolution)",
                ConnectionFailure::ResolutionFailed,
            ),
            ("Timeout connecting to ce(192.0.2.1):443 - 60 s", ConnectionFailure::TimedOut),
            (
                "Failed to establish connection: TCP: GENERIC_ERROR (Failed to connect to localhost(IPv4):1)",
                ConnectionFailure::Refused,
            ),
            ("Connection was closed", ConnectionFailure::Broken),
            (
                "TLS: GENERIC_ERROR (Can not load certificate file - /proxy with \"unknown\" alert)",
                ConnectionFailure::Broken,
            ),
        ] {
            let failure = classify(message);
            assert!(
                matches!(&failure, Failure::Connection { failure, .. } if *failure == expected),
                "{message}: {failure:?}"
            );
        }
    }

    #[test]
    fn untrusted_certificates_are_not_connection_failures() {
        for message in [
            "SSL error, \"certificate verify failed\", \"SSL routines\", \"tls_post_process_server_certificate\"",
            "Failed to establish connection: TLS: GENERIC_ERROR (SSL error, \"tlsv1 alert unknown ca\")",
            "SSL error, \"sslv3 alert certificate expired\"",
            "Certificate /CN=x failed Globus signing policy",
            "Failed to establish connection: TLS: GENERIC_ERROR (self-signed certificate in certificate chain)",
        ] {
            assert!(matches!(classify(message), Failure::Untrusted(_)), "{message}");
        }
    }

    #[test]
    fn a_request_counts_as_sent_unless_that_is_impossible() {
        for was_sent in [true, false] {
            for error in [
                ConnectionError::TimedOut("late".into()),
                ConnectionError::Failed("closed".into()),
                ConnectionError::Cancelled("cancelled".into()),
                ConnectionError::Deadline("late".into()),
            ] {
                let failure = Failure::from_connection(error, &Reasons::default(), &Limits::default(), was_sent);
                assert_eq!(failure.was_sent(), was_sent, "{failure:?}");
                assert!(!failure.not_tried_after().was_sent());
            }
        }
        let untrusted = ConnectionError::Untrusted("another name".into());
        assert!(!Failure::from_connection(untrusted, &Reasons::default(), &Limits::default(), false).was_sent());
        assert!(Failure::invalid_response("no list of jobs").was_sent());
        assert!(Failure::Refused { code: 503, message: String::new() }.was_sent());
    }

    #[test]
    fn long_texts_are_shortened() {
        let Failure::Connection { message, .. } = classify(&"a trace\n".repeat(1000)) else { panic!() };
        assert!(message.len() < 310 && message.ends_with("..."), "{message}");
    }
}
