//! The passphrase of an encrypted `CLIENT_KEY`.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::pipe::{PipeFlags, pipe_with};
use zeroize::Zeroizing;

/// The function of the program that returns the passphrase of a key.
pub(crate) type PassphraseCallback = Arc<dyn Fn(&Path) -> io::Result<String> + Send + Sync>;

/// The longest passphrase that OpenSSL reads (`PEM_BUFSIZE`), in bytes.
const LONGEST: usize = 1024;

/// A passphrase. Its memory is cleared when it is dropped.
pub(super) struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Returns the reason if the text cannot be a passphrase that arcproxy reads as one line.
    pub(super) fn new(text: String) -> Result<Passphrase, &'static str> {
        let text = Zeroizing::new(text);
        if text.is_empty() {
            Err("the passphrase is empty")
        } else if text.len() > LONGEST {
            Err("the passphrase is longer than 1024 bytes")
        } else if text.contains(['\n', '\0']) {
            Err("the passphrase contains a newline or NUL")
        } else {
            Ok(Passphrase(text))
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Returns the reading end of a pipe that contains the passphrase as one line, or nothing.
///
/// The line is written before the child starts and fits into the pipe, so nothing waits for the child and no signal
/// comes if the child does not read it.
pub(super) fn pipe(passphrase: Option<&Passphrase>) -> io::Result<OwnedFd> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    if let Some(passphrase) = passphrase {
        let mut line = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
        line.extend_from_slice(passphrase.as_bytes());
        line.push(b'\n');
        io::Write::write_all(&mut File::from(writer), &line)?;
    }
    Ok(reader)
}
