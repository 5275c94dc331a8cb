//! Tests that the crate creates the proxy certificate at the first use, shares and renews it, and overwrites no other
//! file.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, sleep};
use std::time::Duration;

use crate::common::{Site, child, is_child, run_child};
use jasmin_arc::{ArcInterface, Error, JobId};
use serde_json::{Value, json};

/// Returns an interface with its own `PROXY_FILE`, and that path. The file does not exist yet.
fn own_proxy(site: &Site, mut overrides: Value) -> (ArcInterface, PathBuf) {
    let proxy = site.path().join("proxy.pem");
    overrides["PROXY_FILE"] = json!(proxy);
    (site.another(overrides), proxy)
}

/// Makes a call that requires a proxy certificate.
fn use_proxy(arc: &ArcInterface) -> Result<(), Error> {
    match arc.job_status(&JobId::from("none")) {
        Err(Error::JobNotFound { .. }) => Ok(()),
        other => other.map(drop),
    }
}

#[track_caller]
fn assert_refused(result: Result<(), Error>, path: &Path) {
    let error = result.unwrap_err();
    let named = matches!(error, Error::ProxyGeneration { .. }) && error.to_string().contains(path.to_str().unwrap());
    assert!(named, "{error:?}");
}

#[test]
#[ignore = "needs an ARC-CE"]
fn proxy_is_created_at_first_use_and_reused() {
    let site = Site::new();
    let (arc, proxy) = own_proxy(&site, json!({}));
    assert!(!proxy.exists());
    use_proxy(&arc).unwrap();
    let metadata = fs::metadata(&proxy).unwrap();
    assert_eq!(metadata.mode() & 0o7777, 0o600);

    let first = fs::read(&proxy).unwrap();
    use_proxy(&arc).unwrap();
    let (another, _) = own_proxy(&site, json!({}));
    use_proxy(&another).unwrap();
    assert!(fs::read(&proxy).unwrap() == first && fs::metadata(&proxy).unwrap().ino() == metadata.ino());

    arc.create_proxy().unwrap();
    assert!(fs::read(&proxy).unwrap() != first);
    use_proxy(&arc).unwrap();
}

#[test]
#[ignore = "needs an ARC-CE"]
fn expiring_proxy_is_renewed() {
    let site = Site::new();
    let period = 60;
    let periods = json!({ "PROXY_VALIDITY_PERIOD": period, "PROXY_RENEWAL_THRESHOLD": period - 3 });
    let (arc, proxy) = own_proxy(&site, periods);
    let modified = || fs::metadata(&proxy).unwrap().modified().unwrap();
    use_proxy(&arc).unwrap();
    let first = modified();
    sleep(Duration::from_secs(5));
    use_proxy(&arc).unwrap();
    assert!(modified() > first);
}

#[test]
#[ignore = "needs an ARC-CE"]
fn unusable_proxy_is_replaced() {
    let site = Site::new();
    let (arc, proxy) = own_proxy(&site, json!({}));
    for garbage in ["", "garbage\n", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        fs::write(&proxy, garbage).unwrap();
        fs::set_permissions(&proxy, Permissions::from_mode(0o600)).unwrap();
        use_proxy(&arc).unwrap();
        assert_ne!(fs::read(&proxy).unwrap(), garbage.as_bytes());
    }
    let first = fs::read(&proxy).unwrap();
    fs::set_permissions(&proxy, Permissions::from_mode(0o644)).unwrap();
    use_proxy(&arc).unwrap();
    assert!(fs::read(&proxy).unwrap() != first, "a proxy that others could read is still in use");
    assert_eq!(fs::metadata(&proxy).unwrap().mode() & 0o7777, 0o600);
}

#[test]
#[ignore = "needs an ARC-CE"]
fn proxy_of_another_certificate_is_replaced() {
    let site = Site::new();
    let (cert, key) = (site.path().join("other-cert.pem"), site.path().join("other-key.pem"));
    let openssl = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/O=other/CN=other", "-out"])
        .arg(&cert)
        .arg("-keyout")
        .arg(&key)
        .output()
        .unwrap();
    assert!(openssl.status.success(), "{openssl:?}");
    let (other, proxy) = own_proxy(&site, json!({ "CLIENT_CERT": cert, "CLIENT_KEY": key }));
    other.create_proxy().unwrap();
    let other_proxy = fs::read(&proxy).unwrap();

    let (arc, _) = own_proxy(&site, json!({}));
    use_proxy(&arc).unwrap();
    assert!(fs::read(&proxy).unwrap() != other_proxy);
}

#[test]
#[ignore = "needs an ARC-CE"]
fn links_and_directories_are_not_overwritten() {
    let site = Site::new();
    let (arc, proxy) = own_proxy(&site, json!({}));
    let target = site.file("target", "precious");
    symlink(&target, &proxy).unwrap();
    assert_refused(use_proxy(&arc), &proxy);
    assert_refused(arc.create_proxy(), &proxy);
    assert_eq!(fs::read(&target).unwrap(), b"precious");
    assert!(fs::symlink_metadata(&proxy).unwrap().is_symlink());

    fs::remove_file(&proxy).unwrap();
    fs::create_dir(&proxy).unwrap();
    assert_refused(use_proxy(&arc), &proxy);
}

#[test]
#[ignore = "needs an ARC-CE"]
fn missing_credentials_are_refused() {
    let site = Site::new();
    let nowhere = Path::new("/tmp/nonexistentfile");
    for key in ["CLIENT_KEY", "CLIENT_CERT", "ARCPROXY_PATH"] {
        let (arc, proxy) = own_proxy(&site, json!({ key: nowhere }));
        assert_refused(arc.submit_job("/bin/echo", &[], &[]).map(drop), nowhere);
        assert!(!proxy.exists());
    }
}

#[test]
#[ignore = "needs an ARC-CE"]
fn a_proxy_of_somebody_else_runs_jobs_until_it_ends() {
    let site = Site::new();
    let (maker, proxy) = own_proxy(&site, json!({ "PROXY_VALIDITY_PERIOD": 60 }));
    maker.create_proxy().unwrap();
    let text = fs::read(&proxy).unwrap();

    let nowhere = json!({ "CLIENT_KEY": "/nonexistent/key", "CLIENT_CERT": "/nonexistent/cert" });
    let (user, _) = own_proxy(&site, nowhere);
    let job = user.submit_job("/bin/true", &[], &[]).unwrap();
    user.job_status(&job).unwrap();
    assert!(fs::read(&proxy).unwrap() == text);

    // The proxy certificate ends while the interface is in use.
    let ended = loop {
        match user.job_status(&job) {
            Ok(_) => sleep(Duration::from_secs(1)),
            Err(error) => break error,
        }
    };
    assert!(matches!(ended, Error::ProxyGeneration { .. }), "{ended:?}");
    let text = ended.to_string();
    assert!(text.contains("it ended at 20") && text.contains("nothing to renew it from"), "{text}");

    maker.create_proxy().unwrap();
    user.job_status(&job).unwrap();
    user.cancel_job(&job).unwrap();
}

#[test]
#[ignore = "needs an ARC-CE"]
fn an_encrypted_key_runs_jobs() {
    let site = Site::new();
    let key = site.path().join("encrypted.pem");
    let openssl = Command::new("openssl")
        .args(["pkcs8", "-topk8", "-passout", "pass:secret", "-in"])
        .arg(site.arc.config().client_key())
        .arg("-out")
        .arg(&key)
        .output()
        .unwrap();
    assert!(openssl.status.success(), "{openssl:?}");
    let (without, proxy) = own_proxy(&site, json!({ "CLIENT_KEY": key }));
    let missing = without.submit_job("/bin/true", &[], &[]).unwrap_err();
    assert!(matches!(missing, Error::Passphrase { .. }) && !proxy.exists(), "{missing:?}");

    let builder = ArcInterface::builder().config(without.config().clone());
    let arc = builder.passphrase(|_| Ok("secret".to_owned())).build().unwrap();
    let job = arc.submit_job("/bin/true", &[], &[]).unwrap();
    arc.cancel_job(&job).unwrap();
}

#[test]
#[ignore = "needs an ARC-CE"]
fn threads_share_one_proxy() {
    let site = Site::new();
    let (arc, proxy) = own_proxy(&site, json!({}));
    let seen: Vec<u64> = thread::scope(|scope| {
        let one = || {
            use_proxy(&arc).unwrap();
            fs::metadata(&proxy).unwrap().ino()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(seen.iter().all(|inode| *inode == seen[0]), "{seen:?}");
}

#[test]
#[ignore = "needs an ARC-CE"]
fn processes_share_one_proxy() {
    if is_child() {
        let config = std::env::var_os("JASMIN_ARC_TEST_PROXY_CONFIG").unwrap();
        let arc = ArcInterface::from_file(Path::new(&config)).unwrap();
        use_proxy(&arc).unwrap();
        println!("inode {}", fs::metadata(arc.config().proxy_file()).unwrap().ino());
        return;
    }
    let site = Site::new();
    own_proxy(&site, json!({}));
    let config = site.path().join("config.json");
    let one = || {
        let output = run_child(child("proxy::processes_share_one_proxy").env("JASMIN_ARC_TEST_PROXY_CONFIG", &config));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().find(|line| line.starts_with("inode")).unwrap().to_owned()
    };
    let seen: Vec<String> = thread::scope(|scope| {
        let processes: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
        processes.into_iter().map(|process| process.join().unwrap()).collect()
    });
    assert!(seen.iter().all(|inode| *inode == seen[0]), "{seen:?}");
}
