//! Certificates and TLS servers for tests. Not every test uses all of it.
#![allow(dead_code)]

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{SslAcceptor, SslMethod, SslStream, SslVerifyMode};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Extension, X509NameBuilder};
use tempfile::TempDir;

pub(crate) type Key = PKey<Private>;

/// A private key and its certificate.
pub(crate) type Identity = (Key, X509);

/// What a certificate of a server says.
#[derive(Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) common_names: &'a [&'a str],
    pub(crate) alternative: &'a [&'a str],
    /// The first and the last day, counted from today.
    pub(crate) days: (i64, i64),
}

pub(crate) const LOCALHOST: Named<'_> = Named { common_names: &[], alternative: &["localhost"], days: (-1, 1) };

pub(crate) fn new_key() -> Key {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

/// A certificate of `key`, signed by `issuer` or by itself.
pub(crate) fn certificate(
    named: Named<'_>,
    key: &Key,
    issuer: Option<(&Key, &X509)>,
    extensions: Vec<X509Extension>,
) -> X509 {
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&BigNum::from_u32(7).unwrap().to_asn1_integer().unwrap()).unwrap();
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("O", "Test").unwrap();
    named.common_names.iter().for_each(|name| subject.append_entry_by_text("CN", name).unwrap());
    let subject = subject.build();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(issuer.map_or(&subject, |(_, issuer)| issuer.subject_name())).unwrap();
    builder.set_pubkey(key).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let day = |day: i64| Asn1Time::from_unix(now + day * 86_400).unwrap();
    builder.set_not_before(&day(named.days.0)).unwrap();
    builder.set_not_after(&day(named.days.1)).unwrap();
    if !named.alternative.is_empty() {
        let mut names = SubjectAlternativeName::new();
        for name in named.alternative {
            match (name.parse::<IpAddr>(), name.strip_prefix("email:")) {
                (Ok(_), _) => names.ip(name),
                (_, Some(address)) => names.email(address),
                _ => names.dns(name),
            };
        }
        let names = names.build(&builder.x509v3_context(None, None)).unwrap();
        builder.append_extension(names).unwrap();
    }
    extensions.into_iter().for_each(|extension| builder.append_extension(extension).unwrap());
    builder.sign(issuer.map_or(key, |(key, _)| key), MessageDigest::sha256()).unwrap();
    builder.build()
}

/// A CA, and the directory in which a client finds it.
pub(crate) struct Authority {
    pub(crate) key: Key,
    pub(crate) certificate: X509,
    pub(crate) directory: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        Authority::named("Test CA")
    }

    pub(crate) fn named(name: &str) -> Authority {
        let key = new_key();
        let named = Named { common_names: &[name], alternative: &[], days: (-10, 10) };
        let basic = BasicConstraints::new().critical().ca().build().unwrap();
        let certificate = certificate(named, &key, None, vec![basic]);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(format!("{:08x}.0", certificate.subject_name_hash()));
        fs::write(path, certificate.to_pem().unwrap()).unwrap();
        Authority { key, certificate, directory }
    }

    pub(crate) fn issue(&self, named: Named<'_>) -> Identity {
        let key = new_key();
        let certificate = certificate(named, &key, Some((&self.key, &self.certificate)), Vec::new());
        (key, certificate)
    }

    /// Adds a list of revoked certificates to the directory. It has the serial number of every certificate that
    /// [`certificate`] makes.
    pub(crate) fn revoke(&self) {
        let work = tempfile::tempdir().unwrap();
        let path = |name: &str| work.path().join(name);
        fs::write(path("key"), self.key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        fs::write(path("certificate"), self.certificate.to_pem().unwrap()).unwrap();
        fs::write(path("index"), "R\t491231235959Z\t200101000000Z\t07\tunknown\t/O=Test\n").unwrap();
        let config = "[ca]\ndefault_ca=test\n[test]\ndatabase=index\ndefault_md=sha256\n";
        fs::write(path("config"), config).unwrap();
        let mut openssl = Command::new("openssl");
        openssl.args(["ca", "-gencrl", "-config", "config", "-keyfile", "key", "-cert", "certificate"]);
        let list = self.directory.path().join(format!("{:08x}.r0", self.certificate.subject_name_hash()));
        let made = openssl.args(["-crldays", "2", "-out"]).arg(list).current_dir(work.path()).output().unwrap();
        assert!(made.status.success(), "{made:?}");
    }
}

/// A directory with the certificate and the key of a user, `cert.pem` and `key.pem`.
pub(crate) fn user_home(authority: &Authority) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let user = Named { common_names: &["Jane Doe"], alternative: &[], days: (-1, 1) };
    let user = certificate(user, &key, Some((&authority.key, &authority.certificate)), Vec::new());
    fs::write(home.path().join("cert.pem"), user.to_pem().unwrap()).unwrap();
    fs::write(home.path().join("key.pem"), key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    fs::set_permissions(home.path().join("key.pem"), PermissionsExt::from_mode(0o600)).unwrap();
    home
}

/// Starts a TLS server that serves one client after the other, and returns its port and what `serve` returns for each
/// client: `None` for a client that breaks off the handshake.
pub(crate) fn tls_server<T: Send + 'static>(
    (key, certificate): Identity,
    serve: impl Fn(SslStream<TcpStream>) -> T + Send + 'static,
) -> (u16, Receiver<Option<T>>) {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    acceptor.set_private_key(&key).unwrap();
    acceptor.set_certificate(&certificate).unwrap();
    // Asks for a certificate of the client, and takes any or none.
    acceptor.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
    let acceptor = acceptor.build();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = channel();
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            if sender.send(acceptor.accept(stream).ok().map(&serve)).is_err() {
                break;
            }
        }
    });
    (port, receiver)
}

pub(crate) const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Reads until the end of a head or of the stream, responds to a head, and returns what was read.
pub(crate) fn respond_ok(mut stream: SslStream<TcpStream>) -> Vec<u8> {
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    while !received.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(size) if size > 0 => received.extend(&buffer[..size]),
            _ => return received,
        }
    }
    stream.write_all(OK).unwrap();
    received
}

/// A log that a test can read.
#[derive(Clone, Default)]
pub(crate) struct Lines(pub(crate) Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
