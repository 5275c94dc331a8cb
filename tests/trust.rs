//! Whether an interface talks to the CE of its configuration. The CEs are TLS servers of the test with various
//! certificates.

use std::sync::mpsc::Receiver;

use jasmin_arc::{ArcInterface, ConnectionConfig, Error, ErrorKind, JobId, Protocol};
use tempfile::TempDir;

use tls::{Authority, LOCALHOST, Lines, Named, certificate, new_key, respond_ok, tls_server, user_home};

mod tls;

/// A user with a certificate of the CA, and a CE with another one.
struct Site {
    authority: Authority,
    home: TempDir,
    port: u16,
    received: Receiver<Option<Vec<u8>>>,
}

impl Site {
    fn new(ce: Named<'_>) -> Site {
        let authority = Authority::new();
        let home = user_home(&authority);
        let (port, received) = tls_server(authority.issue(ce), respond_ok);
        Site { authority, home, port, received }
    }

    fn config(&self) -> ConnectionConfig {
        let path = |name: &str| self.home.path().join(name);
        ConnectionConfig::default()
            .with_arc_server(format!("localhost:{}", self.port))
            .with_certs_dir(self.authority.directory.path())
            .with_client_cert(path("cert.pem"))
            .with_client_key(path("key.pem"))
            .with_proxy_file(path("proxy.pem"))
            .with_jobs_info_file(path("jobs.dat"))
    }

    /// What the CE received from the next client.
    fn received(&self) -> Vec<u8> {
        self.received.recv().unwrap().unwrap_or_default()
    }
}

fn status_error(config: ConnectionConfig) -> Error {
    ArcInterface::new(config).unwrap().job_status(&JobId::from("abc")).unwrap_err()
}

#[test]
fn a_ce_with_another_name_is_untrusted_over_every_protocol() {
    let site = Site::new(Named { alternative: &["other.example"], ..LOCALHOST });
    for protocol in [Protocol::Auto, Protocol::ArcRest, Protocol::ArcRestPlugin, Protocol::EmiEs] {
        let error = status_error(site.config().with_interface(protocol));
        let Error::Untrusted { message, .. } = &error else { panic!("{protocol}: {error:?}") };
        assert!(message.contains("other.example") && message.contains("localhost"), "{message}");
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Untrusted, false));
        assert_eq!(site.received(), b"", "{protocol}");
    }
    let arc = ArcInterface::new(site.config()).unwrap();
    for attempt in 0..2 {
        let error = arc.submit_job("/bin/true", &[], &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Untrusted, "{error}");
        assert_eq!(site.received(), b"", "attempt {attempt}");
    }
}

#[test]
fn a_certificate_that_does_not_verify_is_untrusted() {
    let own = || Site::new(LOCALHOST);
    let unknown_ca = || {
        let site = own();
        Site { authority: Authority::named("Another CA"), ..site }
    };
    let self_signed = || {
        let key = new_key();
        let (port, received) = tls_server((key.clone(), certificate(LOCALHOST, &key, None, Vec::new())), respond_ok);
        Site { port, received, ..own() }
    };
    let dated = |days| Site::new(Named { days, ..LOCALHOST });
    for (site, cause) in [
        (dated((-2, -1)), "certificate has expired"),
        (dated((1, 2)), "certificate is not yet valid"),
        (unknown_ca(), "issuer certificate"),
        (self_signed(), "certificate"),
    ] {
        let error = status_error(site.config());
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Untrusted, false), "{cause}: {error}");
        assert!(error.to_string().contains(cause), "{error}");
        assert_eq!(site.received(), b"", "{cause}");
    }
}

#[test]
fn a_revoked_certificate_is_untrusted() {
    let site = Site::new(LOCALHOST);
    let accepted = status_error(site.config());
    assert_ne!(accepted.kind(), ErrorKind::Untrusted, "{accepted}");
    assert!(site.received().starts_with(b"GET "));

    site.authority.revoke();
    let error = status_error(site.config());
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Untrusted, false), "{error}");
    assert!(error.to_string().contains("certificate revoked"), "{error}");
    assert_eq!(site.received(), b"");
}

#[test]
fn an_address_without_tls_is_untrusted() {
    let site = Site::new(LOCALHOST);
    let error = status_error(site.config().with_arc_server(format!("http://localhost:{}", site.port)));
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Untrusted, false), "{error}");
}

#[test]
fn the_check_can_be_turned_off_with_a_warning() {
    let site = Site::new(Named { alternative: &["other.example"], ..LOCALHOST });
    let log = Lines::default();
    let arc =
        ArcInterface::builder().config(site.config().with_verify_host(false)).log_writer(log.clone()).build().unwrap();
    let error = arc.job_status(&JobId::from("abc")).unwrap_err();
    assert_ne!(error.kind(), ErrorKind::Untrusted, "{error}");
    assert!(site.received().starts_with(b"GET "));
    drop(arc);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("[WARNING] ") && log.contains("VERIFY_HOST is false"), "{log}");
}
