//! Configuration files, read when the interface is created. These tests need no CE.

use std::path::Path;

use jasmin_arc::{ArcInterface, Error};

#[test]
fn invalid_json_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for text in
        ["this is not valid JSON!", "", "[]", "{\"CLIENT_KEY\": \"/tmp/key\"", "\"text\"", "{\"ARC_SERVER\": 5}"]
    {
        std::fs::write(file.path(), text).unwrap();
        match ArcInterface::from_file(file.path()) {
            Err(Error::InvalidConfig { path, .. }) => assert_eq!(path.as_deref(), Some(file.path())),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn missing_file_is_refused() {
    let missing = Path::new("/no/such/config.json");
    let error = ArcInterface::from_file(missing).unwrap_err();
    assert!(matches!(error, Error::InvalidConfig { .. }), "{error:?}");
    assert!(error.to_string().contains("/no/such/config.json"), "{error}");
}

#[test]
fn missing_keys_have_defaults() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "{\"CLIENT_KEY\": \"/tmp/key\"}").unwrap();
    let from_file = ArcInterface::from_file(file.path()).unwrap();
    let defaults = ArcInterface::builder().build().unwrap();
    assert_eq!(from_file.config().client_key(), Path::new("/tmp/key"));
    assert_eq!(from_file.config().arc_server(), defaults.config().arc_server());
}
