use std::ffi::OsString;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use super::*;

fn write(path: &Path, text: impl AsRef<[u8]>) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

fn jwt(claims: &str) -> String {
    format!("eyJhbGciOiJSUzI1NiJ9.{}.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(claims))
}

fn why(result: Result<Token>) -> String {
    match result {
        Err(Error::Token { message, .. }) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_token_is_one_word_of_certain_characters() {
    assert_eq!(Token::new(" \n abc.DEF-_~+/==\n").unwrap().as_str(), "abc.DEF-_~+/==");
    for text in ["", " \n", "a b", "a\r\nHost: x", "a=b", "=", "\u{e4}", "a\0", "\"a\""] {
        Token::new(text).unwrap_err();
    }
}

#[test]
fn a_token_does_not_appear_in_debug() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    write(&path, "secret");
    let source = TokenSource::new(Some(path));
    let token = source.token().unwrap();
    let text = format!("{token:?} {source:?} {:?}", Credential::Token(token.clone()));
    assert!(!text.contains("secret"), "{text}");
    assert_eq!(Credential::Token(token).token(), "secret");
}

#[test]
fn a_changed_file_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    let source = TokenSource::new(Some(path.clone()));
    let missing = source.token().unwrap_err();
    assert_eq!(missing.to_string(), format!("no usable bearer token {}: the file cannot be read", path.display()));
    write(&path, "first");
    let first = source.current(&Limits::default()).unwrap();
    assert_eq!((first.token(), source.current(&Limits::default()).unwrap() == first), ("first", true));
    // Programs that renew tokens replace the file or write to it.
    let new = directory.path().join("new");
    write(&new, "other");
    fs::rename(&new, &path).unwrap();
    let second = source.current(&Limits::default()).unwrap();
    assert_eq!((second.token(), second == first), ("other", false));
    write(&path, "third!");
    assert!(why(source.token()).contains("not a bearer token"));
    write(&path, "\n");
    assert!(why(source.token()).contains("no token"));
    write(&path, "x".repeat(MAX_FILE_SIZE as usize + 1));
    let large = source.token().unwrap_err();
    assert!(matches!(&large, Error::Token { source: Some(e), .. } if e.kind() == io::ErrorKind::FileTooLarge));
    write(&path, "fourth");
    assert_eq!(source.token().unwrap().as_str(), "fourth");
}

#[test]
fn a_file_that_is_being_written_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    write(&path, "");
    let source = TokenSource::new(Some(path.clone()));
    // The first read happens before the end of the pause, whenever that is.
    std::thread::scope(|scope| {
        let token = scope.spawn(|| source.token());
        sleep(REREAD_DELAY / 4);
        write(&path, "written");
        assert_eq!(token.join().unwrap().unwrap().as_str(), "written");
    });
}

#[test]
fn files_that_others_may_change_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    let source = TokenSource::new(Some(path.clone()));
    write(&path, "secret");
    fs::set_permissions(&path, Permissions::from_mode(0o622)).unwrap();
    assert!(why(source.token()).contains("(mode 622); run chmod 600"));
    assert_eq!((forbidden_mode(0), forbidden_mode(1000)), (0o022, 0o077));
    write(&path, "secret");
    let other = geteuid().as_raw() + 1;
    if chown(&path, Some(other), None).is_ok() {
        assert!(why(source.token()).contains(&format!("belongs to the user with id {other}")));
    }
    assert!(why(TokenSource::new(Some(directory.path().to_owned())).token()).contains("not a regular file"));
}

#[test]
fn json_web_tokens_are_used_while_they_are_valid() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let why = |claims: &str| Token::new(&jwt(claims)).unwrap().why_not_valid(now);
    for claims in ["{}", "[]", "{\"exp\":1800000001,\"nbf\":1800000000}", "{\"exp\":\"soon\"}", "{\"exp\":1e300}"] {
        assert_eq!(why(claims), None, "{claims}");
    }
    let ended = why("{\"exp\":1800000000}").unwrap();
    assert_eq!(ended, "the token ended at 2027-01-15T08:00:00Z; get a new one");
    let early = why("{\"nbf\":1800000001.5}").unwrap();
    assert!(early.contains("not valid before 2027-01-15T08:00:01Z; check the clock"), "{early}");
    assert_eq!(Token::new("opaque").unwrap().why_not_valid(now), None);

    let identity = |text: &str| Token::new(text).unwrap().identity();
    assert_eq!(identity(&jwt("{\"iss\":\"https://i\",\"sub\":\"me\"}")), "https://i/me");
    assert_eq!((identity("opaque"), identity(&jwt("{\"sub\":\"me\"}"))), ("token".into(), "token".into()));
}

#[test]
fn tokens_are_found_where_arc_looks() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    let runtime = directory.path().join(format!("bt_u{}", geteuid().as_raw()));
    write(&file, "from-file");
    write(&runtime, "from-runtime");
    let source = TokenSource::new(None);
    let find = |variables: &[(&str, &str)]| {
        source.discover(&|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value)))
    };
    let (file, runtime_directory) = (file.to_str().unwrap(), directory.path().to_str().unwrap());
    let (file, runtime_directory) = (("BEARER_TOKEN_FILE", file), ("XDG_RUNTIME_DIR", runtime_directory));
    let found = |variables: &[(&str, &str)]| find(variables).unwrap().as_str().to_owned();
    assert_eq!(found(&[("BEARER_TOKEN", "direct"), file, runtime_directory]), "direct");
    assert_eq!(found(&[("BEARER_TOKEN", ""), file, runtime_directory]), "from-file");
    assert_eq!(found(&[runtime_directory]), "from-runtime");
    // A place that exists decides, even if it cannot be used.
    assert!(why(find(&[("BEARER_TOKEN", "a b"), file])).starts_with("BEARER_TOKEN: "));
    let nowhere = find(&[("BEARER_TOKEN_FILE", "/nonexistent"), runtime_directory]);
    assert!(matches!(nowhere, Err(Error::Token { source: Some(_), .. })), "{nowhere:?}");
    fs::rename(&runtime, directory.path().join("elsewhere")).unwrap();
    symlink("elsewhere", &runtime).unwrap();
    assert!(why(find(&[runtime_directory])).contains("symbolic link"));
}
