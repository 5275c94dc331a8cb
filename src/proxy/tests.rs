use std::env;
use std::os::unix::fs::{chown, symlink};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::UNIX_EPOCH;

use rustix::fs::{FlockOperation, flock};
use rustix::process::geteuid;
use tempfile::TempDir;

use super::*;
use crate::limits::{CallLimits, CancelToken};

/// The variable that contains the directory of [`in_a_process_of_its_own`].
const SITE: &str = "JASMIN_ARC_TEST_PROXY_SITE";

/// The first lines of every fake arcproxy. Its certificates and proxies consist of a name, an end and the word "whole".
/// It creates files with any mode.
const ARCPROXY: &str = r#"#!/bin/sh
umask 000
printf '%s\n' "$*" >> "${0%/*}/runs"
while [ $# -gt 1 ]; do
case $1 in -C) cert=$2;; -P) proxy=$2;; esac
case $2 in validityPeriod=*) period=${2#*=};; esac
shift 2
done
make_proxy() {
end=$(sed -n 's/^ends //p' "$cert")
wish=$(($(date +%s) + period))
[ $wish -gt $end ] && wish=$end
printf '%s\nends %s\nmade by %s\nwhole\n' "$(head -n 1 "$cert")" $wish $$ > "$proxy"
}
"#;

struct FakeReader;

impl CredentialReader for FakeReader {
    fn read(&self, path: &Path) -> Result<CredentialInfo, String> {
        let text = fs::read_to_string(path).map_err(|e| e.to_string())?;
        if !text.ends_with("whole\n") {
            return Err("not whole".to_owned());
        }
        let value = |key| text.lines().find_map(|line| line.strip_prefix(key)).ok_or(format!("no {key}"));
        let ends: u64 = value("ends ")?.parse().map_err(|_| "no number")?;
        Ok(CredentialInfo {
            identity: format!("/CN={}", value("certificate ")?),
            certificate: value("certificate ")?.to_owned(),
            not_before: UNIX_EPOCH + Duration::from_secs(value("begins ").map_or(0, |text| text.parse().unwrap())),
            not_after: UNIX_EPOCH + Duration::from_secs(ends),
            has_voms: text.contains("voms"),
        })
    }

    fn can_decrypt(&self, _: &Path, passphrase: &[u8]) -> Result<bool, String> {
        Ok(passphrase == FakeReader::PASSPHRASE.as_bytes())
    }

    fn is_key_of(&self, key: &Path, _: &[u8], _: &Path) -> Result<bool, String> {
        Ok(fs::read_to_string(key).map_err(|e| e.to_string())? != FakeReader::OTHER_KEY)
    }
}

impl FakeReader {
    /// The passphrase of every encrypted key.
    const PASSPHRASE: &str = "correct horse \u{e4}\" '$HOME";

    /// The key that belongs to no certificate.
    const OTHER_KEY: &str = "-----BEGIN PRIVATE KEY-----\nother\n";
}

fn seconds_from_now(seconds: i64) -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64 + seconds
}

/// The error and its source, as anyhow prints them.
fn chain(result: Result<()>) -> String {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::ProxyGeneration { .. }), "{error:?}");
    format!("{:#}", anyhow::Error::from(error))
}

fn message(result: Result<()>) -> String {
    match result {
        Err(Error::ProxyGeneration { message, .. }) => message,
        other => panic!("{other:?}"),
    }
}

/// A directory with a certificate, a key, and an arcproxy that works.
struct Site {
    directory: PathBuf,
    settings: ProxySettings,
    owner: Option<TempDir>,
}

impl Site {
    fn at(directory: &Path) -> Site {
        let settings = ProxySettings {
            arcproxy: directory.join("arcproxy"),
            certificate: directory.join("cert"),
            key: directory.join("key"),
            certs_dir: directory.to_owned(),
            proxy: directory.join("proxy"),
            validity: Duration::from_secs(3600),
            threshold: Duration::from_secs(600),
            voms: Vec::new(),
        };
        Site { directory: directory.to_owned(), settings, owner: None }
    }

    fn new() -> Site {
        let owner = tempfile::tempdir().unwrap();
        let mut site = Site::at(owner.path());
        site.owner = Some(owner);
        site.arcproxy("make_proxy; echo made");
        site.credential("cert", "alice", 1_000_000);
        site.write("key", "-----BEGIN PRIVATE KEY-----\n");
        site
    }

    fn proxy(&self) -> Proxy {
        Proxy::new(self.settings.clone(), Arc::new(FakeReader))
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.directory.join(name), text).unwrap();
        fs::set_permissions(self.directory.join(name), Permissions::from_mode(0o600)).unwrap();
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.directory.join(name)).unwrap()
    }

    fn credential(&self, name: &str, owner: &str, seconds: i64) {
        self.write(name, &format!("certificate {owner}\nends {}\nwhole\n", seconds_from_now(seconds)));
    }

    /// Writes the script in another process. If this process wrote it, a child that a parallel test forks could inherit
    /// the open file, and running the script would fail ("text file busy").
    fn arcproxy(&self, body: &str) {
        let status = Command::new("sh")
            .args(["-c", r#"printf %s "$1" > "$2" && chmod 755 "$2""#, "sh", &format!("{ARCPROXY}{body}\n")])
            .arg(&self.settings.arcproxy)
            .status();
        assert!(status.unwrap().success());
    }

    fn runs(&self) -> usize {
        fs::read_to_string(self.directory.join("runs")).map_or(0, |text| text.lines().count())
    }

    /// Asserts that no temporary file is left.
    fn assert_tidy(&self) {
        let names = fs::read_dir(&self.directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let hidden: Vec<_> = names.filter(|name| name.starts_with('.')).collect();
        assert!(hidden.is_empty() || hidden == [".proxy.lock"], "{hidden:?}");
    }
}

#[test]
fn proxies_are_send_and_sync() {
    fn assert_send_sync<T: Send + Sync>() {}
    assert_send_sync::<Proxy>();
}

#[test]
fn a_new_proxy_has_mode_0600_and_is_reused() {
    let site = Site::new();
    let proxy = site.proxy();
    proxy.ensure(&Limits::default()).unwrap();
    let text = site.text("proxy");
    assert!(text.ends_with("whole\n"), "{text}");
    assert_eq!(fs::metadata(proxy.path()).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(site.directory.join(".proxy.lock")).unwrap().mode() & 0o077, 0);
    site.assert_tidy();

    let arguments = site.text("runs");
    let start = format!("-C {0}/cert -K {0}/key -P {0}/.proxy.", site.directory.display());
    assert!(arguments.starts_with(&start), "{arguments}");
    assert!(arguments.contains("-c validityPeriod=3600 "), "{arguments}");

    proxy.ensure(&Limits::default()).unwrap();
    site.proxy().ensure(&Limits::default()).unwrap();
    assert_eq!((site.runs(), site.text("proxy")), (1, text));
    proxy.create(&Limits::default()).unwrap();
    assert_eq!(site.runs(), 2);
}

#[test]
fn valid_proxies_need_neither_key_nor_arcproxy() {
    let site = Site::new();
    site.credential("proxy", "alice", 3600);
    fs::remove_file(&site.settings.key).unwrap();
    fs::remove_file(&site.settings.arcproxy).unwrap();
    site.proxy().ensure(&Limits::default()).unwrap();
}

#[test]
fn a_proxy_is_renewed_at_the_threshold() {
    let site = Site::new();
    let proxy = site.proxy();
    site.credential("proxy", "alice", 660);
    proxy.ensure(&Limits::default()).unwrap();
    assert_eq!(site.runs(), 0);
    site.credential("proxy", "alice", 600);
    proxy.ensure(&Limits::default()).unwrap();
    assert_eq!(site.runs(), 1);
    assert!(site.text("proxy").contains("made by"));
}

#[test]
fn an_unusable_proxy_is_replaced() {
    let site = Site::new();
    let proxy = site.proxy();
    let mut runs = 0;
    let mut replaced = |what| {
        proxy.ensure(&Limits::default()).unwrap();
        runs += 1;
        assert_eq!(site.runs(), runs, "{what}");
        assert!(site.text("proxy").contains("made by"), "{what}");
        assert_eq!(fs::metadata(proxy.path()).unwrap().mode() & 0o7777, 0o600);
    };
    site.write("proxy", "garbage");
    replaced("garbage");
    site.write("proxy", "");
    replaced("empty");
    site.credential("proxy", "alice", -1);
    replaced("expired");
    site.credential("proxy", "bob", 3600);
    replaced("another's");
    site.credential("proxy", "alice", 3600);
    fs::set_permissions(proxy.path(), Permissions::from_mode(0o640)).unwrap();
    replaced("readable by others");
    fs::remove_file(proxy.path()).unwrap();
    replaced("removed");
    site.credential("cert", "alice since her marriage", 1_000_000);
    replaced("certificate changed");
}

#[test]
fn threads_share_one_run_of_arcproxy() {
    let site = Site::new();
    let proxies = [site.proxy(), site.proxy()];
    let barrier = Barrier::new(8);
    thread::scope(|scope| {
        for i in 0..8 {
            let (proxy, barrier) = (&proxies[i % 2], &barrier);
            scope.spawn(move || {
                barrier.wait();
                proxy.ensure(&Limits::default()).unwrap();
            });
        }
    });
    assert_eq!(site.runs(), 1);
}

#[test]
fn waiting_threads_share_a_failure() {
    let site = Site::new();
    let proxy = site.proxy();
    // The attempt of another thread began after this thread had called `ensure`.
    let later = Instant::now() + Duration::from_secs(3600);
    proxy.state().failure = Some((later, Failure::new("no luck")));
    assert_eq!(message(proxy.ensure(&Limits::default())), "no luck");
    assert_eq!(site.runs(), 0);
    proxy.create(&Limits::default()).unwrap();
    proxy.ensure(&Limits::default()).unwrap();
}

/// Does nothing unless one of the tests below runs it in a child process.
#[test]
fn in_a_process_of_its_own() {
    if let Some(directory) = env::var_os(SITE) {
        Site::at(Path::new(&directory)).proxy().ensure(&Limits::default()).unwrap();
    }
}

/// Returns a command that runs [`in_a_process_of_its_own`] through the program `env` with these arguments.
fn other_process(site: &Site, arguments: &[&str]) -> Command {
    let mut command = Command::new("env");
    command.args(arguments).arg(env::current_exe().unwrap());
    command.args(["--exact", "proxy::tests::in_a_process_of_its_own", "--nocapture"]);
    command.env(SITE, &site.directory).stdout(Stdio::null());
    command
}

#[test]
fn processes_share_one_run_of_arcproxy() {
    let site = Site::new();
    let children: Vec<_> = (0..4).map(|_| other_process(&site, &[]).spawn().unwrap()).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(site.runs(), 1);
    assert!(site.text("proxy").contains("made by"));
}

#[test]
fn processes_that_ignore_sigchld_create_proxies() {
    let ignored = ["--ignore-signal=CHLD"];
    let probe = Command::new("env").args(ignored).args(["grep", "SigIgn:.*1....$", "/proc/self/status"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: env cannot ignore SIGCHLD here");
        return;
    }
    let site = Site::new();
    assert!(other_process(&site, &ignored).status().unwrap().success());
    assert_eq!(site.runs(), 1);

    site.arcproxy("echo no luck; exit 1");
    fs::remove_file(&site.settings.proxy).unwrap();
    let output = other_process(&site, &ignored).output().unwrap();
    assert!(!output.status.success());
    let output = String::from_utf8_lossy(&output.stderr);
    assert!(output.contains("it printed: no luck"), "{output}");
}

#[test]
fn symbolic_links_are_refused() {
    let site = Site::new();
    site.credential("elsewhere", "alice", 3600);
    let before = site.text("elsewhere");
    symlink("elsewhere", &site.settings.proxy).unwrap();
    for result in [site.proxy().ensure(&Limits::default()), site.proxy().create(&Limits::default())] {
        assert!(message(result).contains("symbolic link"));
    }
    assert_eq!((site.text("elsewhere"), site.runs()), (before, 0));

    fs::remove_file(&site.settings.proxy).unwrap();
    symlink("elsewhere", site.directory.join(".proxy.lock")).unwrap();
    assert!(message(site.proxy().ensure(&Limits::default())).contains(".proxy.lock"));
    assert_eq!(site.runs(), 0);
}

#[test]
fn a_directory_as_proxy_file_is_refused() {
    let site = Site::new();
    fs::create_dir(&site.settings.proxy).unwrap();
    assert!(message(site.proxy().ensure(&Limits::default())).contains("not a regular file"));
}

#[test]
fn files_of_other_users_are_refused() {
    let site = Site::new();
    site.credential("proxy", "alice", 3600);
    let other = geteuid().as_raw() + 1;
    if let Err(e) = chown(&site.settings.proxy, Some(other), None) {
        eprintln!("skipped: only root can give a file away: {e}");
        return;
    }
    for result in [site.proxy().ensure(&Limits::default()), site.proxy().create(&Limits::default())] {
        assert!(message(result).contains(&format!("belongs to the user with id {other}")));
    }
    fs::remove_file(&site.settings.proxy).unwrap();
    site.write(".proxy.lock", "");
    chown(site.directory.join(".proxy.lock"), Some(other), None).unwrap();
    assert!(message(site.proxy().ensure(&Limits::default())).contains(".proxy.lock"));
    assert_eq!(site.runs(), 0);
}

#[test]
fn waiting_for_the_lock_is_bounded() {
    let site = Site::new();
    let mut proxy = site.proxy();
    proxy.timeout = Duration::from_millis(20);
    let lock = File::create(site.directory.join(".proxy.lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    assert!(message(proxy.ensure(&Limits::default())).contains("held by another process"));
    assert_eq!(site.runs(), 0);
}

#[test]
fn the_error_contains_arcproxys_output() {
    let site = Site::new();
    site.credential("proxy", "alice", 60);
    let before = site.text("proxy");
    site.arcproxy("make_proxy; echo on stdout; echo on stderr >&2; exit 3");
    let message = message(site.proxy().ensure(&Limits::default()));
    for part in ["exit status: 3", "on stdout\non stderr"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(site.text("proxy"), before);
    site.assert_tidy();
}

#[test]
fn a_bad_proxy_of_arcproxy_is_refused() {
    let site = Site::new();
    let proxy = site.proxy();
    site.arcproxy("echo no luck");
    assert!(message(proxy.ensure(&Limits::default())).contains("no luck"));
    site.arcproxy("echo garbage > $proxy");
    assert!(message(proxy.ensure(&Limits::default())).contains("not whole"));
    site.arcproxy("period=-1; make_proxy");
    assert!(message(proxy.ensure(&Limits::default())).contains("not valid now"));
    site.arcproxy("make_proxy; sed -i s/alice/bob/ $proxy");
    assert!(message(proxy.ensure(&Limits::default())).contains("another certificate, /CN=bob"));
    assert!(!proxy.path().exists());
    site.assert_tidy();
}

#[test]
fn a_hanging_arcproxy_is_killed() {
    let site = Site::new();
    let mut proxy = site.proxy();
    proxy.timeout = Duration::from_secs(5);
    site.arcproxy("sleep 1000 & echo $$ $! > ${0%/*}/pids; echo one moment please; wait");
    let message = message(proxy.ensure(&Limits::default()));
    assert!(message.contains("did not end within 5s; it printed: one moment please"), "{message}");
    // The process that inherits the second child may take a while to wait for it.
    let state = |pid: &str| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let pids = site.text("pids");
    let pids: Vec<_> = pids.split_whitespace().collect();
    assert_eq!(state(pids[0]), "");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !(state(pids[1]).is_empty() || state(pids[1]).contains(") Z")) {
        assert!(Instant::now() < deadline, "still there: {}", state(pids[1]));
        thread::sleep(POLL_INTERVAL);
    }
    site.assert_tidy();

    fs::set_permissions(&site.settings.key, Permissions::from_mode(0o640)).unwrap();
    proxy.timeout = Duration::from_millis(50);
    assert!(self::message(proxy.ensure(&Limits::default())).contains("chmod"));
}

#[test]
fn arcproxy_ends_with_the_call() {
    let site = Site::new();
    site.arcproxy("exec sleep 1000");
    let proxy = site.proxy();
    let begun = Instant::now();
    let token = CancelToken::new();
    thread::scope(|scope| {
        let limits = CallLimits::default().with_cancel(&token).begin();
        let (first, second) = (limits.clone(), limits);
        let first = scope.spawn(|| proxy.ensure(&{ first }));
        let second = scope.spawn(|| proxy.create(&{ second })); // waits for the first
        thread::sleep(Duration::from_millis(200));
        token.cancel();
        for call in [first, second] {
            assert!(matches!(call.join().unwrap(), Err(Error::Cancelled)));
        }
    });
    let deadline = Duration::from_millis(100);
    let error = proxy.ensure(&CallLimits::default().with_deadline(deadline).begin()).unwrap_err();
    assert!(matches!(error, Error::DeadlineExceeded { deadline: set } if set == deadline), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    site.assert_tidy();
}

#[test]
fn long_output_of_arcproxy_is_shortened() {
    let site = Site::new();
    let talk = "head -c 1048576 /dev/zero | tr '\\0' x; echo the end";
    site.arcproxy(&format!("{talk}; make_proxy"));
    site.proxy().ensure(&Limits::default()).unwrap();
    site.arcproxy(&format!("{talk}; exit 1"));
    let message = message(site.proxy().create(&Limits::default()));
    assert!(message.contains("xxxthe end") && message.len() < 5000, "{} bytes", message.len());
    site.arcproxy("yes");
    assert!(self::message(site.proxy().create(&Limits::default())).contains("printed more than 16 MiB"));
}

#[test]
fn missing_files_are_named() {
    let site = Site::new();
    let missing = |name: &str, settings: ProxySettings| {
        let (proxy, action) =
            (settings.proxy.display().to_string(), if name == "ARCPROXY_PATH" { "run" } else { "read" });
        let text = chain(Proxy::new(settings, Arc::new(FakeReader)).ensure(&Limits::default()));
        let reason = format!("{name} /nowhere/x cannot be {action}: No such file or directory (os error 2)");
        assert_eq!(text, format!("no usable proxy certificate at {proxy}: {reason}"));
    };
    let nowhere = || PathBuf::from("/nowhere/x");
    missing("CLIENT_CERT", ProxySettings { certificate: nowhere(), ..site.settings.clone() });
    missing("CLIENT_KEY", ProxySettings { key: nowhere(), ..site.settings.clone() });
    missing("ARCPROXY_PATH", ProxySettings { arcproxy: nowhere(), ..site.settings.clone() });

    let settings = ProxySettings { proxy: nowhere(), ..site.settings.clone() };
    assert_eq!(
        message(Proxy::new(settings, Arc::new(FakeReader)).ensure(&Limits::default())),
        "there is no directory /nowhere; create it or change PROXY_FILE"
    );
    site.write("cert", "garbage");
    assert!(message(site.proxy().ensure(&Limits::default())).ends_with("/cert: not whole"));
    assert_eq!(site.runs(), 0);
}

const ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n";

fn passphrase_failure(result: Result<()>) -> PassphraseFailure {
    match result {
        Err(Error::Passphrase { failure, .. }) => failure,
        other => panic!("{other:?}"),
    }
}

#[test]
fn encrypted_keys_are_refused_without_a_passphrase() {
    let site = Site::new();
    for text in [ENCRYPTED, "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n"] {
        site.write("key", text);
        let error = site.proxy().ensure(&Limits::default()).unwrap_err();
        let start = format!("cannot decrypt CLIENT_KEY {}/key: the key is encrypted", site.directory.display());
        assert!(error.to_string().starts_with(&start), "{error}");
        assert_eq!(passphrase_failure(Err(error)), PassphraseFailure::Missing);
    }
    assert_eq!(site.runs(), 0);
}

#[test]
fn the_passphrase_goes_through_a_pipe_only() {
    let site = Site::new();
    site.write("key", ENCRYPTED);
    site.arcproxy(
        r#"exec 3< /dev/stdin; cat <&3 > "${0%/*}/stdin"; readlink /proc/$$/fd/0 > "${0%/*}/kind"
        tr '\0' ' ' < /proc/$$/cmdline > "${0%/*}/cmdline"; cat /proc/$$/environ > "${0%/*}/environ"; make_proxy"#,
    );
    let asked = Arc::new(AtomicUsize::new(0));
    let (counter, key) = (Arc::clone(&asked), site.settings.key.clone());
    let proxy = site.proxy().with_passphrase(Some(Arc::new(move |path| {
        assert_eq!(path, key);
        counter.fetch_add(1, Ordering::SeqCst);
        Ok(FakeReader::PASSPHRASE.to_owned())
    })));
    proxy.ensure(&Limits::default()).unwrap();
    assert_eq!(site.text("stdin"), format!("{}\n", FakeReader::PASSPHRASE));
    assert!(site.text("kind").starts_with("pipe:"), "{}", site.text("kind"));
    assert!(site.text("cmdline").contains("validityPeriod"));
    for name in ["cmdline", "environ", "runs", "proxy"] {
        let bytes = fs::read(site.directory.join(name)).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains(FakeReader::PASSPHRASE), "{name}");
    }
    site.assert_tidy();

    // A valid proxy needs no passphrase, and neither does a key that is not encrypted.
    proxy.ensure(&Limits::default()).unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    proxy.create(&Limits::default()).unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    site.write("key", "-----BEGIN PRIVATE KEY-----\n");
    proxy.create(&Limits::default()).unwrap();
    assert_eq!((asked.load(Ordering::SeqCst), site.text("stdin")), (2, String::new()));
}

#[test]
fn a_passphrase_that_cannot_be_used_is_named() {
    let site = Site::new();
    site.write("key", ENCRYPTED);
    let ensure = |answer: fn() -> io::Result<String>| {
        let error =
            site.proxy().with_passphrase(Some(Arc::new(move |_| answer()))).ensure(&Limits::default()).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(!text.contains("incorrect"), "{text}");
        passphrase_failure(Err(error))
    };
    assert_eq!(ensure(|| Ok("incorrect".into())), PassphraseFailure::Wrong);
    for answer in [
        || Ok(String::new()),
        || Ok("incorrect\n".into()),
        || Ok("incorrect\0".into()),
        || Ok("incorrect".repeat(200)),
        || Err(io::Error::other("cancelled")),
    ] as [fn() -> io::Result<String>; 5]
    {
        assert_eq!(ensure(answer), PassphraseFailure::NotGiven);
    }
    assert_eq!(site.runs(), 0);
    site.assert_tidy();
}

#[test]
fn voms_attributes_are_requested() {
    let mut site = Site::new();
    site.credential("proxy", "alice", 3600);
    site.proxy().ensure(&Limits::default()).unwrap();
    assert_eq!(site.runs(), 0);

    site.settings.voms = ["atlas:/atlas/Role=production".to_owned(), "vo.example".to_owned()].to_vec();
    site.arcproxy(r#"make_proxy; sed -i 's/^made by/voms, &/' "$proxy""#);
    site.proxy().ensure(&Limits::default()).unwrap();
    let arguments = site.text("runs");
    let expected = "-c vomsACvalidityPeriod=3600 -S atlas:/atlas/Role=production -S vo.example\n";
    assert!(arguments.ends_with(expected), "{arguments}");
    site.proxy().ensure(&Limits::default()).unwrap();
    assert_eq!(site.runs(), 1);
}

#[test]
fn a_proxy_of_somebody_else_is_used_until_it_ends() {
    let site = Site::new();
    site.credential("proxy", "portal", 3600);
    fs::remove_file(&site.settings.certificate).unwrap();
    fs::remove_file(&site.settings.key).unwrap();
    site.proxy().ensure(&Limits::default()).unwrap();
    // The threshold is no reason to refuse it.
    site.credential("proxy", "portal", 60);
    site.proxy().ensure(&Limits::default()).unwrap();

    let end = seconds_from_now(-60);
    site.write("proxy", &format!("certificate portal\nends {end}\nwhole\n"));
    let ended = rfc3339(UNIX_EPOCH + Duration::from_secs(end as u64), 0);
    let expected = format!(
        "no usable proxy certificate at {0}/proxy: it ended at {ended}, and there is nothing to renew it from: \
         CLIENT_CERT {0}/cert cannot be read: No such file or directory (os error 2)",
        site.directory.display()
    );
    assert_eq!(chain(site.proxy().ensure(&Limits::default())), expected);
    // A new one is used at once.
    site.credential("proxy", "portal", 3600);
    site.proxy().ensure(&Limits::default()).unwrap();

    fs::set_permissions(&site.settings.proxy, Permissions::from_mode(0o644)).unwrap();
    let text = chain(site.proxy().ensure(&Limits::default()));
    assert!(text.contains("it can be accessed by other users (mode 644), and there is nothing to renew it"), "{text}");
    site.write("proxy", "garbage");
    assert!(
        chain(site.proxy().ensure(&Limits::default())).contains("it cannot be read: not whole, and there is nothing")
    );
    assert_eq!(site.runs(), 0);
}

#[test]
fn a_proxy_without_a_key_is_used_until_it_ends() {
    let site = Site::new();
    site.credential("proxy", "alice", 60);
    fs::remove_file(&site.settings.key).unwrap();
    site.proxy().ensure(&Limits::default()).unwrap();
    site.credential("proxy", "alice", -60);
    assert!(chain(site.proxy().ensure(&Limits::default())).contains("nothing to renew it from: CLIENT_KEY"));
    // A certificate still decides whose proxy certificate is used.
    site.credential("proxy", "bob", 3600);
    assert!(chain(site.proxy().ensure(&Limits::default())).contains("it belongs to another certificate, /CN=bob"));
}

#[test]
fn a_proxy_of_the_future_is_named() {
    let site = Site::new();
    fs::remove_file(&site.settings.certificate).unwrap();
    site.write("proxy", "certificate portal\nbegins 32503680000\nends 32503690000\nwhole\n");
    let text = chain(site.proxy().ensure(&Limits::default()));
    assert!(text.contains("it is not valid before 3000-01-01T00:00:00Z (check the clock of this machine)"), "{text}");
}

#[test]
fn an_expired_certificate_is_named() {
    let site = Site::new();
    site.credential("cert", "alice", -60);
    let ended = UNIX_EPOCH + Duration::from_secs(seconds_from_now(-60) as u64);
    site.write(
        "cert",
        &format!("certificate alice\nends {}\nwhole\n", ended.duration_since(UNIX_EPOCH).unwrap().as_secs()),
    );
    let message = message(site.proxy().ensure(&Limits::default()));
    let ended = rfc3339(ended, 0);
    assert!(message.contains(&format!("/cert: the certificate expired at {ended}; get a new one")), "{message}");
    assert_eq!(site.runs(), 0);
}

#[test]
fn a_certificate_of_the_future_is_named() {
    let site = Site::new();
    site.write("cert", "certificate alice\nbegins 32503680000\nends 32503690000\nwhole\n");
    let message = message(site.proxy().ensure(&Limits::default()));
    assert!(message.contains("/cert: the certificate is not valid before 3000-01-01T00:00:00Z; check"), "{message}");
    assert_eq!(site.runs(), 0);
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let site = Site::new();
    site.write("key", FakeReader::OTHER_KEY);
    let directory = site.directory.display();
    assert_eq!(
        message(site.proxy().ensure(&Limits::default())),
        format!("CLIENT_KEY {directory}/key does not belong to CLIENT_CERT {directory}/cert; set both to one pair")
    );
    assert_eq!(site.runs(), 0);
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let site = Site::new();
    fs::set_permissions(&site.settings.key, Permissions::from_mode(0o644)).unwrap();
    let key = site.settings.key.display();
    assert_eq!(
        message(site.proxy().ensure(&Limits::default())),
        format!("CLIENT_KEY {key}: other users may access the key (mode 644); run chmod 600 {key}")
    );
    assert_eq!(site.runs(), 0);
}

#[test]
fn a_full_disk_is_named() {
    let site = Site::new();
    let proxy = site.proxy();
    let failure = proxy.check_space(Path::new("/dev/full")).unwrap_err();
    assert_eq!(failure.source.as_ref().unwrap().kind(), io::ErrorKind::StorageFull);
    let expected = format!(
        "no usable proxy certificate at {}: the proxy cannot be written in {}: No space left on device (os error 28)",
        proxy.path().display(),
        site.directory.display()
    );
    assert_eq!(chain(Err(proxy.error(failure.copy()))), expected);
    assert_eq!(chain(Err(proxy.error(failure))), expected);
}

#[test]
fn a_proxy_as_long_as_its_certificate_is_kept() {
    let site = Site::new();
    site.credential("cert", "alice", 300);
    let proxy = site.proxy();
    proxy.ensure(&Limits::default()).unwrap();
    assert!(proxy.state().warned);
    proxy.ensure(&Limits::default()).unwrap();
    assert_eq!(site.runs(), 1);
    site.credential("cert", "alice", 1_000_000);
    proxy.ensure(&Limits::default()).unwrap();
    proxy.ensure(&Limits::default()).unwrap();
    assert_eq!(site.runs(), 2);
    assert!(!proxy.state().warned);
}

#[test]
fn a_validity_within_the_threshold_renews_each_time() {
    let mut site = Site::new();
    site.settings.validity = Duration::from_secs(60);
    let proxy = site.proxy();
    proxy.ensure(&Limits::default()).unwrap();
    proxy.ensure(&Limits::default()).unwrap();
    assert_eq!(site.runs(), 2);
    assert!(proxy.state().warned);
}
