use std::error::Error as _;
use std::fs;

use serde_json::{Value, json};

use super::validate::check_output_file;
use super::*;
use crate::util::names::Named;

/// The path, line, key and message of an error.
type Refusal = (Option<PathBuf>, Option<usize>, Option<String>, String);

#[track_caller]
fn refusal(result: Result<ConnectionConfig>) -> Refusal {
    match result {
        Err(Error::InvalidConfig { path, line, key, message, .. }) => (path, line, key, message),
        other => panic!("{other:?}"),
    }
}

/// Checks that `text` is refused in a file and in memory, with the same line, key and message.
#[track_caller]
fn check_refused(text: impl AsRef<[u8]>, line: usize, key: &str, message: &str) {
    let text = text.as_ref();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    let key = Some(key).filter(|key| !key.is_empty()).map(str::to_owned);

    let got = refusal(ConnectionConfig::from_file(file.path()));
    assert!(got.3.contains(message) && !got.3.contains(" at line "), "{}", got.3);
    assert_eq!(got, (Some(file.path().to_owned()), Some(line), key.clone(), got.3.clone()));

    if let Ok(text) = std::str::from_utf8(text) {
        assert_eq!(refusal(ConnectionConfig::from_json(text)), (None, Some(line), key, got.3));
    }
}

fn load(text: &str) -> (ConnectionConfig, Vec<String>) {
    let mut warnings = Vec::new();
    let config = parse::parse(text.as_bytes(), None, &mut |warning| warnings.push(warning)).unwrap();
    (config, warnings)
}

fn home() -> PathBuf {
    dirs::home_dir().unwrap()
}

#[test]
fn defaults_match_the_python_library() {
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
    assert_eq!(config.interface(), Protocol::Auto);
    assert!(config.verify_host());

    assert_eq!(load("{}"), (config.clone(), vec![]));
    config.validate().unwrap();
    assert_eq!(config.endpoint_url().unwrap(), "https://jasmin-ce.ceda.ac.uk:60000/arex");
}

#[test]
fn examples_of_the_python_library_are_read() {
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
    assert_eq!(config.endpoint_url().unwrap(), "https://my-arc-server.ac.uk:443/arex");
    assert!(warnings.is_empty());
}

/// Every key, with a value that is not its default where a token allows it.
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
        "DELEGATION": "never",
        "VERIFY_HOST": true,
        "VOMS": ["atlas:/atlas/Role=production", "vo.example.org"],
        "TOKEN_FILE": "auto",
    })
}

#[test]
fn reading_and_writing_keeps_the_document() {
    let mut documents = vec![json!({}), full()];
    documents.extend(full().as_object().unwrap().iter().map(|(key, value)| json!({ key: value })));
    // Values that equal the default are still written.
    documents.push(json!({"VOMS": "atlas", "DELEGATION": "always", "VERIFY_HOST": false}));
    documents.push(json!({"CLIENT_KEY": "~/.arc/userkey-nopass.pem", "OUTPUT_FILE": "output"}));
    documents.push(json!({"PROXY_VALIDITY_PERIOD": 43_200, "PROXY_RENEWAL_THRESHOLD": 10, "INTERFACE": "auto"}));
    documents.push(json!({"PROXY_VALIDITY_PERIOD": u64::MAX}));
    for document in documents {
        let (config, warnings) = load(&document.to_string());
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!(serde_json::to_value(&config).unwrap(), document);
        assert_eq!(serde_json::from_value::<ConnectionConfig>(document).unwrap(), config);
    }
}

#[test]
fn setters_correspond_to_keys() {
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
        .with_interface(Protocol::ArcRest)
        .with_delegation(Delegation::Never)
        .with_verify_host(true)
        .with_voms(["atlas:/atlas/Role=production", "vo.example.org"])
        .with_token_file("auto");
    built.validate().unwrap();
    assert_eq!(serde_json::to_value(&built).unwrap(), full());
    assert_eq!(load(&full().to_string()).0, built);

    let mut keys = KEYS;
    keys.sort_unstable();
    assert!(full().as_object().unwrap().keys().eq(keys));
}

#[test]
fn a_leading_tilde_is_the_home_directory() {
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
fn unreadable_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().join("missing.json"), dir.path().to_owned()] {
        let error = ConnectionConfig::from_file(&path).unwrap_err();
        assert!(error.source().is_some_and(|source| source.is::<std::io::Error>()));
        assert_eq!(error.to_string(), format!("invalid configuration {}: the file cannot be read", path.display()));
        let (got, line, key, _) = refusal(Err(error));
        assert_eq!((got, line, key), (Some(path), None, None));
    }
}

#[test]
fn empty_files_are_refused() {
    let message = "it is empty; write a JSON object, at least {}";
    check_refused("", 1, "", message);
    check_refused("\n\n", 3, "", message);
}

#[test]
fn broken_json_is_refused() {
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
fn anything_but_an_object_is_refused() {
    for text in ["[]", "[\"/k\"]", "5", "\"/k\"", "null", "true"] {
        check_refused(format!("\n{text}\n"), 2, "", "expected an object");
    }
}

#[test]
fn tokens_need_a_verified_rest_interface_and_no_delegation() {
    let config = || ConnectionConfig::default().with_token_file("~/token");
    assert_eq!(config().token_place(), Some(Some(home().join("token"))));
    assert_eq!(config().with_token_file("auto").token_place(), Some(None));
    assert_eq!(ConnectionConfig::default().token_place(), None);
    config().validate().unwrap();
    for (config, key) in [
        (config().with_verify_host(false), "VERIFY_HOST"),
        (config().with_interface(Protocol::EmiEs), "INTERFACE"),
        (config().with_interface(Protocol::ArcRestPlugin), "INTERFACE"),
        (config().with_delegation(Delegation::Always), "DELEGATION"),
        (config().with_token_file(""), "TOKEN_FILE"),
    ] {
        assert_eq!(refusal(config.validate().map(|()| config)).2.as_deref(), Some(key));
    }
}

#[test]
fn voms_elements_cannot_be_options() {
    for voms in ["", "--help", "-V/x", ":all", "a b", "atlas:\u{7}", "atlas:a\nb", "atlas: x", "/atlas"] {
        let config = ConnectionConfig::default().with_voms([voms]);
        let message = refusal(config.validate().map(|()| config)).3;
        assert!(message.contains(&format!("{voms:?} must")), "{message}");
    }
    let config = ConnectionConfig::from_json(r#"{"VOMS": "atlas:all"}"#).unwrap();
    assert_eq!(config.voms(), ["atlas:all"]);
}

#[test]
fn wrong_types_are_refused() {
    for key in KEYS {
        let is_number = key.starts_with("PROXY_") && key != "PROXY_FILE";
        let wrong: &[&str] = match is_number {
            _ if key == "VERIFY_HOST" => &["0", "1", "\"true\"", "\"\"", "null", "[false]", "{}"],
            true => &["-1", "10.0", "1e3", "18446744073709551616", "\"10\"", "\"\"", "null", "true", "[10]", "{}"],
            _ if key == "VOMS" => &["5", "null", "false", "[5]", "{}"],
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
    for (key, example) in [("PROXY_VALIDITY_PERIOD", "43200"), ("PROXY_RENEWAL_THRESHOLD", "10")] {
        let message = format!("invalid type: string \"12h\", expected a whole number of seconds, such as {example}");
        check_refused(format!("{{\"{key}\": \"12h\"}}"), 1, key, &message);
    }
}

#[test]
fn protocols_are_read_by_name() {
    for name in ["", "Auto", "arcrest", "org.nordugrid.gridftpjob"] {
        let text = format!("{{\n\"INTERFACE\": \"{name}\"\n\n}}");
        check_refused(&text, 2, "INTERFACE", &format!("{name:?}"));
        for allowed in ["auto", "org.nordugrid.arcrest", "arcrest-plugin", "org.ogf.glue.emies.activitycreation"] {
            check_refused(&text, 2, "INTERFACE", allowed);
        }
    }
    for &interface in Protocol::ALL {
        let (config, _) = load(&json!({ "INTERFACE": interface.as_str() }).to_string());
        assert_eq!(config.interface(), interface);
        assert_eq!(interface.to_string(), interface.as_str());
        assert_eq!(interface.as_str().parse(), Ok(interface));
    }
    assert_eq!(
        "rest".parse::<Protocol>().unwrap_err().to_string(),
        "\"rest\" is not an interface; use one of auto, org.nordugrid.arcrest, arcrest-plugin, \
         org.ogf.glue.emies.activitycreation"
    );
}

#[test]
fn repeated_keys_are_refused() {
    for (key, value) in full().as_object().unwrap() {
        let text = format!("{{\n\"{key}\": {value},\n\n\"{key}\": {value}\n}}");
        check_refused(text, 4, key, "duplicate field");
    }
}

#[test]
fn unknown_keys_cause_warnings() {
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
        ("VERIFY_HOSTS", "VERIFY_HOST"),
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
    parse::read_file(file.path(), &mut |warning| warnings.push(warning)).unwrap();
    let place = file.path().display();
    assert_eq!(
        warnings,
        [format!("{place}: \"Output_File\" is not a configuration key; did you mean \"OUTPUT_FILE\"?")]
    );
}

/// Checks that the value is refused in a file, with its line, and in a configuration built in code.
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
fn bad_values_are_refused() {
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
    assert_eq!(error.to_string(), "invalid configuration, key ARC_SERVER: the address of a CE must not contain ' '");
}

#[test]
fn output_files_outside_the_session_directory_are_refused() {
    for name in ["output", "~", "~/x", "a/b/c", "a/", "./a", "a.b", "..a", "a..b", "...", "out put", "\u{fc}", "-r"] {
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
fn configurations_are_send_and_sync() {
    fn check<T: Send + Sync>() {}
    check::<ConnectionConfig>();
}

#[test]
fn error_chains_repeat_no_text() {
    let directory = tempfile::tempdir().unwrap();
    let broken = directory.path().join("broken.json");
    fs::write(&broken, "{\"CLIENT_KEY\": 5}").unwrap();
    let missing = directory.path().join("missing.json");
    for (path, chain) in [
        (&broken, ", line 1, key CLIENT_KEY: invalid type: integer `5`, expected path string"),
        (&missing, ": the file cannot be read: No such file or directory (os error 2)"),
    ] {
        let error = anyhow::Error::from(ConnectionConfig::from_file(path).unwrap_err());
        assert_eq!(format!("{error:#}"), format!("invalid configuration {}{chain}", path.display()));
    }
}
