//! [`TokenSource`]: the bearer token, read from a file or from the places where ARC's tools look.

use std::env;
use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::fs::OFlags;
use rustix::process::geteuid;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{Credential, Credentials, FileStamp};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::util::lock;
use crate::util::time::rfc3339;

/// The largest token file, in bytes.
const MAX_FILE_SIZE: u64 = 64 << 10;

/// The pause before a file without a token is read again, because a program may be writing it.
const REREAD_DELAY: Duration = Duration::from_millis(100);

/// A bearer token. It does not appear in `Debug`, and its memory is cleared after its last use.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(Arc<Zeroizing<String>>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// The claims of a JSON Web Token that concern this crate. Nothing here checks its signature, which is the CE's task.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Claims {
    iss: Option<String>,
    sub: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
}

impl Token {
    /// Takes the token from the text of a file, without spaces and newlines around it. Accepts the characters of RFC 6750,
    /// section 2.1, as ARC does (`clean_otoken` in `UserConfig.cpp`), so a token cannot add a line to a request.
    fn new(text: &str) -> Result<Token, &'static str> {
        let token = text.trim();
        let is_token = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
        if token.is_empty() {
            Err("it has no token")
        } else if token.starts_with('=') || !token.trim_end_matches('=').chars().all(is_token) {
            Err("its text is not a bearer token, which consists of letters, digits and -._~+/=")
        } else {
            Ok(Token(Arc::new(Zeroizing::new(token.to_owned()))))
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the claims of a JSON Web Token. Other tokens have none.
    fn claims(&self) -> Claims {
        let claims = || {
            let payload = self.as_str().split('.').nth(1)?;
            let payload = Zeroizing::new(URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?);
            serde_json::from_slice(&payload).ok()
        };
        claims().unwrap_or_default()
    }

    /// Returns why the token cannot be used at `now`.
    fn why_not_valid(&self, now: SystemTime) -> Option<String> {
        let time = |seconds: f64| {
            let since = Duration::try_from_secs_f64(seconds.max(0.0)).ok()?;
            SystemTime::UNIX_EPOCH.checked_add(since)
        };
        let Claims { exp, nbf, .. } = self.claims();
        if let Some(end) = exp.and_then(time).filter(|end| *end <= now) {
            return Some(format!("the token ended at {}; get a new one", rfc3339(end, 0)));
        }
        let start = nbf.and_then(time).filter(|start| *start > now)?;
        Some(format!("the token is not valid before {}; check the clock of this machine", rfc3339(start, 0)))
    }

    /// The user as A-REX names it: the issuer and the subject of a JSON Web Token.
    fn identity(&self) -> String {
        match self.claims() {
            Claims { iss: Some(issuer), sub: Some(subject), .. } => format!("{issuer}/{subject}"),
            _ => "token".to_owned(),
        }
    }
}

/// Reads a token for the fuzzers.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_for_fuzzing(text: &str) {
    if let Ok(token) = Token::new(text) {
        assert!(token.as_str().bytes().all(|byte| byte.is_ascii_graphic()), "a token can end a line of a request");
        let _ = (token.why_not_valid(SystemTime::now()), token.identity());
    }
}

/// Where the token comes from.
#[derive(Debug)]
enum Place {
    File(PathBuf),
    /// The places where ARC's tools look.
    Auto,
}

/// `TOKEN_FILE`.
#[derive(Debug)]
pub(crate) struct TokenSource {
    place: Place,
    cached: Mutex<Option<(PathBuf, FileStamp, Token)>>,
}

/// Why there is no token.
type Reason = (String, Option<io::Error>);

impl TokenSource {
    /// A file, or the places where ARC's tools look if `path` is `None`.
    pub(crate) fn new(path: Option<PathBuf>) -> TokenSource {
        TokenSource { place: path.map_or(Place::Auto, Place::File), cached: Mutex::default() }
    }

    /// Returns the token. Reads the file again if it has changed.
    pub(crate) fn token(&self) -> Result<Token> {
        match &self.place {
            Place::File(path) => self.valid(Some(path), self.read(path, OFlags::empty())),
            Place::Auto => self.discover(&|name| env::var_os(name)),
        }
    }

    /// The user as A-REX names it.
    pub(crate) fn identity(&self) -> Result<String> {
        self.token().map(|token| token.identity())
    }

    /// Looks where ARC's tools look (`load_otoken` in `UserConfig.cpp`). The first place that exists decides.
    fn discover(&self, variable: &dyn Fn(&str) -> Option<std::ffi::OsString>) -> Result<Token> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        if let Some(text) = set("BEARER_TOKEN") {
            let text = Zeroizing::new(text.to_string_lossy().into_owned());
            let token = Token::new(&text).map_err(|why| (format!("BEARER_TOKEN: {why}"), None));
            return self.valid(None, token);
        }
        if let Some(path) = set("BEARER_TOKEN_FILE") {
            let path = PathBuf::from(path);
            return self.valid(Some(&path), self.read(&path, OFlags::empty()));
        }
        let name = format!("bt_u{}", geteuid().as_raw());
        let directories = set("XDG_RUNTIME_DIR").map(PathBuf::from).into_iter().chain([PathBuf::from("/tmp")]);
        for path in directories.map(|directory| directory.join(&name)) {
            // Another user may have placed a link there.
            match self.read(&path, OFlags::NOFOLLOW) {
                Err((_, Some(source))) if source.kind() == io::ErrorKind::NotFound => {}
                read => return self.valid(Some(&path), read),
            }
        }
        let message = "there is no token in BEARER_TOKEN, BEARER_TOKEN_FILE, XDG_RUNTIME_DIR or /tmp; get one, or set \
                       TOKEN_FILE to its file";
        Err(Error::Token { path: None, message: message.to_owned(), source: None })
    }

    fn valid(&self, path: Option<&Path>, token: Result<Token, Reason>) -> Result<Token> {
        let error = |message, source| Error::Token { path: path.map(Path::to_owned), message, source };
        let token = token.map_err(|(message, source)| error(message, source))?;
        match token.why_not_valid(SystemTime::now()) {
            None => Ok(token),
            Some(why) => Err(error(why, None)),
        }
    }

    fn read(&self, path: &Path, flags: OFlags) -> Result<Token, Reason> {
        let mut cached = lock(&self.cached);
        let unreadable = |e: io::Error| ("the file cannot be read".to_owned(), Some(e));
        let metadata = match flags.contains(OFlags::NOFOLLOW) {
            true => fs::symlink_metadata(path),
            false => fs::metadata(path),
        };
        let metadata = metadata.map_err(unreadable)?;
        if metadata.is_symlink() {
            return Err(("it is a symbolic link, which may lead to another file".to_owned(), None));
        }
        let stamp = FileStamp::of(&metadata);
        match &*cached {
            Some((cached_path, cached_stamp, token)) if cached_path == path && *cached_stamp == stamp => {
                return Ok(token.clone());
            }
            _ => {}
        }
        let mut result = read_file(path, flags);
        if matches!(&result, Err((_, None))) {
            sleep(REREAD_DELAY);
            result = read_file(path, flags);
        }
        let (metadata, token) = result?;
        *cached = Some((path.to_owned(), FileStamp::of(&metadata), token.clone()));
        Ok(token)
    }
}

impl Credentials for TokenSource {
    fn current(&self, _: &Limits) -> Result<Credential> {
        self.token().map(Credential::Token)
    }
}

fn read_file(path: &Path, flags: OFlags) -> Result<(Metadata, Token), Reason> {
    let unreadable = |e| ("the file cannot be read".to_owned(), Some(e));
    // Without NONBLOCK, opening a named pipe would block.
    let flags = flags | OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if let Some(why) = why_not_safe(&metadata, path) {
        return Err((why, None));
    }
    let text = read_text(file).map_err(unreadable)?;
    Ok((metadata, Token::new(&text).map_err(|why| (why.to_owned(), None))?))
}

fn read_text(file: File) -> io::Result<Zeroizing<String>> {
    // A buffer that grows would leave copies of the token.
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE_SIZE as usize + 1));
    file.take(MAX_FILE_SIZE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_SIZE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 64 KiB"));
    }
    Ok(text)
}

/// Returns why a file may hold the token of somebody else, or may have been read by somebody else.
fn why_not_safe(metadata: &Metadata, path: &Path) -> Option<String> {
    let (owner, user, mode) = (metadata.uid(), geteuid().as_raw(), metadata.mode() & 0o7777);
    if !metadata.is_file() {
        Some("it is not a regular file".to_owned())
    } else if owner != user && owner != 0 {
        Some(format!("it belongs to the user with id {owner}, not to the user with id {user}"))
    } else if mode & forbidden_mode(owner) != 0 {
        Some(format!("other users may access it (mode {mode:o}); run chmod 600 {}", path.display()))
    } else {
        None
    }
}

/// The permissions that a token file must not have. Secrets of a container belong to root, and its users can read them.
fn forbidden_mode(owner: u32) -> u32 {
    if owner == 0 { 0o022 } else { 0o077 }
}

#[cfg(test)]
mod tests;
