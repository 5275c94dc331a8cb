//! Lists session directories, and uploads and downloads their files.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek};
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::session::{Pool, Repeat};
use crate::backend::SessionFile;
use crate::backend::failure::{Failure, FileFailure};
use crate::description::Upload;
use crate::ffi::{ConnectionError, HttpReply};
use crate::util::uri::encode_path;

/// The maximum depth of directories. It protects against a CE that nests them without end.
const MAX_DEPTH: usize = 100;

/// The maximum number of files and directories of one job.
const MAX_ENTRIES: usize = 1_000_000;

/// How many bytes of a file that is listed as smaller are fetched if the response does not announce its length. A-REX
/// announces it, except for a file that is empty when the response begins (`PayloadHTTPOut::make_header`).
const MAX_CHUNKED: u64 = 128 << 20;

/// A directory in a session directory, as A-REX lists it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) files: Vec<(Vec<u8>, Option<u64>)>,
    pub(super) directories: Vec<Vec<u8>>,
}

fn session_path(id: &str, path: &[u8]) -> String {
    format!("jobs/{id}/session/{}", encode_path(path))
}

/// A-REX writes names into its XML without checking their encoding. Before parsing, bytes that are not UTF-8 are
/// replaced by characters of the last private plane, starting with this one. So do the bytes of these characters
/// themselves.
const HIDDEN: u32 = 0x10_ff00;

pub(super) fn hide(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match u32::from(character) < HIDDEN {
                true => text.push(character),
                false => hide_bytes(character.encode_utf8(&mut [0; 4]).as_bytes(), &mut text),
            }
        }
        hide_bytes(chunk.invalid(), &mut text);
    }
    text
}

fn hide_bytes(bytes: &[u8], text: &mut String) {
    text.extend(bytes.iter().filter_map(|byte| char::from_u32(HIDDEN + u32::from(*byte))));
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

/// Lists all files of a job. Returns `None` if the job has no session directory or does not exist.
pub(super) fn list(pool: &Pool, id: &str) -> Result<Option<Vec<SessionFile>>, Failure> {
    let mut files = Vec::new();
    let mut directories = vec![(Vec::new(), 0)];
    let mut entries = 0;
    while let Some((directory, depth)) = directories.pop() {
        let path = session_path(id, &directory);
        let response = pool.request(Repeat::Safe, "GET", path.trim_end_matches('/'), b"")?;
        match response.code {
            200 => {}
            404 if depth == 0 => return Ok(None),
            404 => continue, // the job removed it after its parent was listed
            _ => return Err(response.refusal()),
        }
        let listing = parse(&hide(&response.body)).map_err(|error| {
            Failure::invalid_response(format!("the list of files of job {id} is unreadable: {error}"))
        })?;
        entries += listing.files.len() + listing.directories.len();
        if depth > MAX_DEPTH || entries > MAX_ENTRIES {
            let directory = String::from_utf8_lossy(&directory);
            return Err(Failure::invalid_response(format!(
                "the session directory of job {id} has more than {MAX_ENTRIES} files or is nested more than {MAX_DEPTH} \
                 deep, at {directory:?}"
            )));
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

/// Reads `<list><file size="1">name</file><dir>name</dir></list>`, or `<list/>` for an empty directory.
///
/// Nothing else is a listing. A page of a web server, or no text at all, must not pass for an empty directory: the job
/// would seem to have no outputs.
pub(super) fn parse(xml: &str) -> Result<Listing, String> {
    let mut reader = Reader::from_str(xml);
    let mut listing = Listing::default();
    let (mut is_open, mut is_complete) = (false, false);
    loop {
        let event = reader.read_event().map_err(|error| error.to_string())?;
        let (element, is_empty) = match event {
            Event::Start(element) => (element, false),
            Event::Empty(element) => (element, true),
            Event::End(_) => {
                (is_open, is_complete) = (false, true);
                continue;
            }
            Event::Eof if is_complete => return Ok(listing),
            Event::Eof if is_open => return Err("it ends early".into()),
            Event::Eof => return Err("it has no element \"list\"".into()),
            _ => continue,
        };
        let name = element.local_name();
        match (is_open, name.as_ref()) {
            (false, "list") if !is_complete => {
                (is_open, is_complete) = (!is_empty, is_empty);
                continue;
            }
            (false, other) => return Err(format!("it has an element {other:?} instead of \"list\"")),
            (true, "file" | "dir") if !is_empty => {}
            (true, other) => return Err(format!("it has an element {other:?} among the files")),
        }
        let is_file = name.as_ref() == "file";
        let size = element.try_get_attribute("size").ok().flatten().and_then(|size| size.value.parse().ok());
        let raw = reader.read_text(element.name()).map_err(|error| error.to_string())?;
        let name = quick_xml::escape::unescape(&raw).map_err(|error| error.to_string())?;
        let name = unhide(&name);
        match is_file {
            true => listing.files.push((name, size)),
            false => listing.directories.push(name),
        }
    }
}

/// Uploads an input file of a job.
pub(super) fn upload(pool: &Pool, id: &str, input: &Upload) -> Result<(), FileFailure> {
    let file = input.open().map_err(FileFailure::Local)?;
    let path = pool.path(&session_path(id, input.name.as_bytes()));
    // The description contains this size. If the file has grown, only the first part is sent.
    let response = pool.transfer(|connection| connection.upload(&path, &file, input.size))?;
    let size = response.as_ref().map_or(0, |response| response.size);
    finish(response, 200..=200)?;
    // A-REX responds with an empty body. A page comes from something else, which has not stored the file.
    match size {
        0 => Ok(()),
        _ => Err(Failure::invalid_response("the response to the upload is not A-REX's").into()),
    }
}

/// Downloads a file of a job to a path where nothing exists yet. Leaves nothing there on failure.
pub(super) fn download(pool: &Pool, file: &SessionFile, to: &Path) -> Result<(), FileFailure> {
    let path = pool.path(&file.url);
    let local = OpenOptions::new().write(true).create_new(true).open(to).map_err(FileFailure::Local)?;
    let mut is_repeated = false;
    let mut truncation = Ok(());
    let downloaded = pool.transfer(|connection| {
        if std::mem::replace(&mut is_repeated, true) {
            // The second attempt must not append to the first.
            truncation = truncate(&local);
            truncation.as_ref().map_err(|error| ConnectionError::Failed(error.to_string()))?;
        }
        connection.download(&path, &local, file.size.unwrap_or(0).max(MAX_CHUNKED))
    });
    let downloaded = truncation
        .map_err(FileFailure::Local)
        .and(downloaded.map_err(FileFailure::from))
        .and_then(|response| finish(response, 200..=200));
    if downloaded.is_err() {
        let _ = fs::remove_file(to);
    }
    downloaded
}

/// Converts the response of a transfer, which must have one of the `accepted` codes.
fn finish(transferred: io::Result<HttpReply>, accepted: RangeInclusive<u16>) -> Result<(), FileFailure> {
    let response = transferred.map_err(FileFailure::Local)?;
    match u16::try_from(response.code) {
        Ok(code) if accepted.contains(&code) => Ok(()),
        Ok(code) => Err(Failure::refused(code, response.reason).into()),
        Err(_) => Err(Failure::invalid_response(format!("{} is not an HTTP status code", response.code)).into()),
    }
}

fn truncate(mut file: &File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_sizes_are_read_unchanged() {
        let xml = "<list>\n  <file size=\"26\">stdout.txt</file>\n  <dir>out</dir>\n  \
                   <file size=\"0\"> a &lt;&amp;&#13;&#x20AC;\n b </file>\n <file>no size</file><file size=\"x\">odd</file>\n</list>";
        let listing = parse(xml).unwrap();
        let file = |name: &str, size| (name.as_bytes().to_vec(), size);
        assert_eq!(
            listing.files,
            [file("stdout.txt", Some(26)), file(" a <&\r€\n b ", Some(0)), file("no size", None), file("odd", None)]
        );
        assert_eq!(listing.directories, [b"out"]);
        let private = "a\u{10ff01}\u{10ffff}b".as_bytes();
        assert_eq!(unhide(&hide(private)), private);
        let odd = b"<list><file>b\xff\xe9 \xc3\xa9</file></list>";
        assert_eq!(parse(&hide(odd)).unwrap().files, [(b"b\xff\xe9 \xc3\xa9".to_vec(), None)]);
        assert_eq!(parse("<list/>"), Ok(Listing::default()));
        assert_eq!(parse("<?xml version=\"1.0\"?>\n<list></list>\n"), Ok(Listing::default()));
        for broken in [
            "<list><file>a",
            "<list><file>a</file>",
            "<list>",
            "<list><file>&nonsense;</file></list>",
            "<list></file>",
            "",
            " \n",
            "no outputs",
            "<?xml version=\"1.0\"?>",
            "<html><body>Sign in</body></html>",
            "<html><list><file>a</file></list></html>",
            "<file>a</file>",
            "<list/><list><file>a</file></list>",
            "<list></list><file>a</file>",
            "<list><html/></list>",
            "<list><list/></list>",
            "<list><file/></list>",
            "<jobs/>",
        ] {
            assert!(parse(broken).is_err(), "{broken}");
        }
    }
}
