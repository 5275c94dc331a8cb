//! Configurations that cannot be used are refused when the interface is made.

use std::path::Path;

use jasmin_arc::{ArcInterface, Error};

#[test]
fn a_file_that_is_no_json_is_refused() {
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
fn a_file_that_is_not_there_is_refused() {
    let missing = Path::new("/no/such/config.json");
    let error = ArcInterface::from_file(missing).unwrap_err();
    assert!(matches!(error, Error::InvalidConfig { .. }), "{error:?}");
    assert!(error.to_string().contains("/no/such/config.json"), "{error}");
}

#[test]
fn what_the_file_leaves_out_has_a_default() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "{\"CLIENT_KEY\": \"/tmp/key\"}").unwrap();
    let from_file = ArcInterface::from_file(file.path()).unwrap();
    let defaults = ArcInterface::builder().build().unwrap();
    assert_eq!(from_file.config().client_key(), Path::new("/tmp/key"));
    assert_eq!(from_file.config().arc_server(), defaults.config().arc_server());
}
