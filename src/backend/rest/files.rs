//! The session directories of jobs: listing, upload, download.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::session::{Pool, Repeat};
use crate::backend::SessionFile;
use crate::description::Upload;
use crate::error::{Error, Result};
use crate::util::uri::encode_path;

/// Deeper than any sane output; a CE must not be able to keep us busy for ever.
const DEEPEST: usize = 100;
const MOST: usize = 1_000_000;

/// A directory in a session directory, as A-REX lists it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Listing {
    files: Vec<(Vec<u8>, Option<u64>)>,
    directories: Vec<Vec<u8>>,
}

fn session_path(id: &str, path: &[u8]) -> String {
    format!("jobs/{id}/session/{}", encode_path(path))
}

/// A-REX puts names into its XML as they are, in whatever encoding. What is not UTF-8 is hidden from the XML reader in
/// characters that nobody uses, from the last private plane.
const HIDDEN: u32 = 0x10_ff00;

fn hide(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().filter_map(|byte| char::from_u32(HIDDEN + u32::from(*byte))));
    }
    text
}

fn unhide(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match u32::from(character).checked_sub(HIDDEN).and_then(|byte| u8::try_from(byte).ok()) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

/// Every file of a job, or `None` when it has no session directory (or there is no such job).
pub(super) fn list(pool: &Pool, id: &str) -> Result<Option<Vec<SessionFile>>> {
    let mut files = Vec::new();
    let mut directories = vec![(Vec::new(), 0)];
    let mut entries = 0;
    while let Some((directory, depth)) = directories.pop() {
        let failed = |message: String| Error::Connection {
            endpoint: pool.endpoint().url(),
            message: format!("job {id}: {message}"),
        };
        let reply = pool.request(Repeat::Once, "GET", session_path(id, &directory).trim_end_matches('/'), b"")?;
        match reply.code {
            200 => {}
            404 if depth == 0 => return Ok(None),
            404 => continue, // removed meanwhile
            _ => return Err(pool.refused(&reply)),
        }
        let listing = parse(&hide(&reply.body)).map_err(failed)?;
        entries += listing.files.len() + listing.directories.len();
        if depth > DEEPEST || entries > MOST {
            let directory = String::from_utf8_lossy(&directory);
            return Err(failed(format!("too many files, or directories nested too deep, at {directory:?}")));
        }
        for (name, size) in listing.files {
            let path = [&directory[..], &name[..]].concat();
            files.push(SessionFile { url: session_path(id, &path), path: OsString::from_vec(path), size });
        }
        let below = |name: Vec<u8>| ([&directory[..], &name[..], b"/"].concat(), depth + 1);
        directories.extend(listing.directories.into_iter().map(below));
    }
    Ok(Some(files))
}

/// Reads `<list><file size="1">name</file><dir>name</dir></list>`.
fn parse(xml: &str) -> Result<Listing, String> {
    let mut reader = Reader::from_str(xml);
    let mut listing = Listing::default();
    let mut open = 0;
    loop {
        let element = match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(element) => element,
            Event::End(_) => {
                open -= 1;
                continue;
            }
            // A list that is cut off must not pass for a short one.
            Event::Eof if open > 0 => return Err("the list of files ends early".into()),
            Event::Eof => return Ok(listing),
            _ => continue,
        };
        let kind = element.local_name().as_ref().to_owned();
        let kind: &str = kind.as_ref();
        if !matches!(kind, "file" | "dir") {
            open += 1;
            continue;
        }
        let size = element.try_get_attribute("size").ok().flatten().and_then(|size| size.value.parse().ok());
        let raw = reader.read_text(element.name()).map_err(|error| error.to_string())?;
        let name = quick_xml::escape::unescape(&raw).map_err(|error| error.to_string())?;
        let name = unhide(&name);
        match kind {
            "file" => listing.files.push((name, size)),
            _ => listing.directories.push(name),
        }
    }
}

/// Uploads an input file of a job.
pub(super) fn upload(pool: &Pool, id: &str, input: &Upload) -> Result<()> {
    let failed = |error: std::io::Error| Error::InputFile {
        path: input.label(),
        message: error.to_string(),
        source: Some(error),
    };
    let file = input.open().map_err(failed)?;
    let path = pool.path(&session_path(id, input.name.as_bytes()));
    // The size that the job was described with: a file that grows is sent as it was.
    let reply = pool.transfer(|connection| connection.upload(&path, &file, input.size))?;
    if !(200..300).contains(&reply.code) {
        return Err(Error::Refused { endpoint: pool.endpoint().url(), code: reply.code, message: reply.reason });
    }
    Ok(())
}

/// Downloads a file of a job to a path; nothing is left there when that fails.
pub(super) fn download(pool: &Pool, file: &SessionFile, to: &Path) -> Result<()> {
    let path = pool.path(&file.url);
    let fetched = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(to)
        .map_err(|error| Error::Connection { endpoint: pool.endpoint().url(), message: error.to_string() })
        .and_then(|local| {
            let mut begun = false;
            pool.transfer(|connection| {
                if std::mem::replace(&mut begun, true) {
                    // A second attempt must not append to the first.
                    restart(&local).map_err(|error| Error::Arc { message: error.to_string() })?;
                }
                connection.download(&path, &local)
            })
        })
        .and_then(|reply| match reply.code {
            200 => Ok(()),
            code => Err(Error::Refused { endpoint: pool.endpoint().url(), code, message: reply.reason }),
        });
    if fetched.is_err() {
        let _ = fs::remove_file(to);
    }
    fetched
}

fn restart(mut file: &File) -> std::io::Result<()> {
    use std::io::Seek;
    file.set_len(0)?;
    file.rewind()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read_to_the_letter() {
        let xml = "<list>\n  <file size=\"26\">stdout.txt</file>\n  <dir>out</dir>\n  \
                   <file size=\"0\"> a &lt;&amp;&#13;&#x20AC;\n b </file>\n <file>no size</file><file size=\"x\">odd</file>\n</list>";
        let listing = parse(xml).unwrap();
        let file = |name: &str, size| (name.as_bytes().to_vec(), size);
        assert_eq!(
            listing.files,
            [file("stdout.txt", Some(26)), file(" a <&\r€\n b ", Some(0)), file("no size", None), file("odd", None)]
        );
        assert_eq!(listing.directories, [b"out"]);
        let odd = b"<list><file>b\xff\xe9 \xc3\xa9</file></list>";
        assert_eq!(parse(&hide(odd)).unwrap().files, [(b"b\xff\xe9 \xc3\xa9".to_vec(), None)]);
        assert_eq!(parse("<list/>"), Ok(Listing::default()));
        assert_eq!(parse(""), Ok(Listing::default()));
        for broken in
            ["<list><file>a", "<list><file>a</file>", "<list>", "<list><file>&nonsense;</file></list>", "<list></file>"]
        {
            assert!(parse(broken).is_err(), "{broken}");
        }
    }
}
