//! Lists session directories.
//!
//! A-REX lists regular files and directories, and leaves out everything else without a word: symbolic links, named pipes,
//! and the content of directories that it cannot search. `PROPFIND` follows links and shows all names, and does not say
//! which are links (`processJobSessionDir` and `ProcessPROPFIND` in 6.17 and 7.0). What only `PROPFIND` shows was left out.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::session::{Pool, Repeat, Response};
use crate::backend::failure::{Failure, JobFailure};
use crate::backend::names::{MAX_PATH, refusal_of_name};
use crate::backend::{Enters, SessionFile, SessionFiles};
use crate::error::Operation;
use crate::job::{LeftOut, LeftOutReason};
use crate::util::uri::encode_path;
use crate::util::xml::utf8;

/// The maximum depth of directories. It protects against a CE that nests them without end.
const MAX_DEPTH: usize = 100;

/// The maximum number of entries of the directories of one job. It bounds the memory.
const MAX_ENTRIES: usize = 1_000_000;

/// The maximum number of directories of one job. It bounds the number of requests.
const MAX_DIRECTORIES: usize = 100_000;

/// A directory in a session directory, as A-REX lists it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) files: Vec<(Vec<u8>, Option<u64>)>,
    pub(super) directories: Vec<Vec<u8>>,
}

/// Something in a session directory, as `PROPFIND` shows it. Links have been followed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The name, which libxml2 has cut off before a byte that is not UTF-8.
    pub(super) name: Vec<u8>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// It does not exist, or it is neither a file nor a directory.
    #[default]
    Nothing,
    File {
        size: Option<u64>,
    },
    Directory,
}

/// Returns the path of a file in a session directory for requests.
pub(super) fn session_path(id: &str, path: &[u8]) -> String {
    let path = format!("jobs/{id}/session/{}", encode_path(path));
    path.trim_end_matches('/').to_owned()
}

/// Lists the files of a job. Does not list directories that `enters` rejects. Returns `None` if the job has no session directory or does not exist.
pub(super) fn list(pool: &Pool, id: &str, enters: &Enters<'_>) -> Result<Option<SessionFiles>, JobFailure> {
    let mut all = SessionFiles::default();
    let mut directories = vec![(Vec::new(), 0)];
    let (mut entries, mut visited) = (0, 0);
    while let Some((directory, depth)) = directories.pop() {
        visited += 1;
        // What `PROPFIND` shows first and the listing leaves out was not created in between.
        let seen = see(pool, id, &directory)?;
        let response = pool.request(Repeat::Safe, "GET", &session_path(id, &directory), b"")?;
        let listing = match response.code {
            200 => read_listing(id, &response)?,
            404 if depth == 0 => return Ok(None),
            403 | 404 if depth > 0 => {
                let is_gone = seen.is_some_and(|seen| seen.first().is_some_and(|this| this.kind == Kind::Nothing));
                let reason = if is_gone { LeftOutReason::Removed } else { LeftOutReason::Unreadable };
                all.left_out.push(left_out(&directory, b"", reason));
                continue;
            }
            _ => return Err(response.refusal().into()),
        };
        let count = listing.files.len() + listing.directories.len();
        entries += count.max(seen.as_ref().map_or(0, Vec::len));
        if entries > MAX_ENTRIES || visited > MAX_DIRECTORIES {
            let message = format!("it has more than {MAX_ENTRIES} files or {MAX_DIRECTORIES} directories");
            return Err(JobFailure::Refused { operation: Operation::ListFiles, message });
        }
        match seen {
            Some(seen) => {
                let unlisted = unlisted(&listing, &seen);
                let still = if unlisted.is_empty() { None } else { see(pool, id, &directory)? };
                all.left_out.extend(confirmed(&directory, unlisted, still.as_deref()));
            }
            None => all.left_out.push(left_out(&directory, b"", LeftOutReason::NotChecked)),
        }
        let refusal = |name: &[u8]| {
            let is_too_long = directory.len() + name.len() > MAX_PATH;
            refusal_of_name(name).or(is_too_long.then_some(LeftOutReason::NameTooLong))
        };
        for (name, size) in listing.files {
            match refusal(&name) {
                Some(reason) => all.left_out.push(left_out(&directory, &name, reason)),
                None => {
                    let path = OsString::from_vec([&directory[..], &name[..]].concat());
                    all.files.push(SessionFile { url: None, path, size });
                }
            }
        }
        for name in listing.directories {
            match refusal(&name).or((depth == MAX_DEPTH).then_some(LeftOutReason::TooDeep)) {
                Some(reason) => all.left_out.push(left_out(&directory, &name, reason)),
                None => {
                    let path = [&directory[..], &name[..]].concat();
                    if enters(OsStr::from_bytes(&path)) {
                        directories.push(([&path[..], b"/"].concat(), depth + 1));
                    }
                    all.directories.push(OsString::from_vec(path));
                }
            }
        }
    }
    Ok(Some(all))
}

/// Whether A-REX's listing of the directory of a file has the file.
pub(super) fn is_listed(pool: &Pool, id: &str, path: &[u8]) -> Result<bool, Failure> {
    let (directory, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => path.split_at(slash + 1),
        None => path.split_at(0),
    };
    let response = pool.request(Repeat::Safe, "GET", &session_path(id, directory), b"")?;
    match response.code {
        200 => Ok(read_listing(id, &response)?.files.iter().any(|(listed, _)| listed == name)),
        _ => Err(response.refusal()),
    }
}

/// What is at a path in a session directory now. `None` if the CE does not tell.
pub(super) fn look(pool: &Pool, id: &str, path: &[u8]) -> Result<Option<Kind>, Failure> {
    Ok(see(pool, id, path)?.and_then(|seen| seen.first().map(|this| this.kind)))
}

/// What is at a path in a session directory now.
pub(super) fn look_closely(pool: &Pool, id: &str, path: &[u8]) -> Result<Kind, JobFailure> {
    let response = pool.request(Repeat::Safe, "PROPFIND", &session_path(id, path), b"")?;
    match response.code {
        200 => {
            let seen = parse_properties(&hide(&response.body)).map_err(|error| {
                Failure::invalid_response(format!("the properties of a file of job {id} are unreadable: {error}"))
            })?;
            seen.first().map(|this| this.kind).ok_or_else(|| {
                Failure::invalid_response(format!("the response leaves out the file of job {id}")).into()
            })
        }
        404 => Err(JobFailure::NotFound),
        _ => Err(response.refusal().into()),
    }
}

/// What `PROPFIND` shows at a path: first the file or directory itself, then the entries of the directory. `None` if the
/// CE does not tell.
fn see(pool: &Pool, id: &str, path: &[u8]) -> Result<Option<Vec<Seen>>, Failure> {
    let response = pool.request(Repeat::Safe, "PROPFIND", &session_path(id, path), b"")?;
    Ok((response.code == 200).then(|| parse_properties(&hide(&response.body)).ok()).flatten())
}

fn left_out(directory: &[u8], name: &[u8], reason: LeftOutReason) -> LeftOut {
    let path = [directory, name].concat();
    let path = path.strip_suffix(b"/").unwrap_or(&path).to_vec();
    LeftOut { path: OsString::from_vec(path).into(), reason }
}

/// Returns the entries of a directory that A-REX has not listed, and why.
fn unlisted<'a>(listing: &Listing, seen: &'a [Seen]) -> Vec<(&'a [u8], LeftOutReason)> {
    let directories = listing.directories.iter().map(|name| &name[..]);
    let listed = || listing.files.iter().map(|(name, _)| &name[..]).chain(directories.clone());
    let names: HashSet<&[u8]> = listed().collect();
    let cut_off: HashSet<&[u8]> = listed().filter_map(cut_off).collect();
    let reason = |kind: Kind| match kind {
        // A-REX may not be able to look at any entry of this directory.
        _ if names.is_empty() => LeftOutReason::NotListed,
        Kind::Nothing => LeftOutReason::NotAFile,
        Kind::File { .. } | Kind::Directory => LeftOutReason::SymbolicLink,
    };
    let is_unlisted = |seen: &&Seen| !names.contains(&seen.name[..]) && !cut_off.contains(&seen.name[..]);
    seen.iter().skip(1).filter(is_unlisted).map(|seen| (&seen.name[..], reason(seen.kind))).collect()
}

/// Returns those entries that are still there. A running job removes files at any moment, such as between two looks.
fn confirmed(directory: &[u8], unlisted: Vec<(&[u8], LeftOutReason)>, still: Option<&[Seen]>) -> Vec<LeftOut> {
    let still: Option<HashSet<&[u8]>> = still.map(|seen| seen.iter().skip(1).map(|seen| &seen.name[..]).collect());
    let is_there = |name: &[u8]| still.as_ref().is_none_or(|still| still.contains(name));
    let there = unlisted.into_iter().filter(|(name, _)| is_there(name));
    there.map(|(name, reason)| left_out(directory, name, reason)).collect()
}

/// Returns what libxml2 makes of a name that is no XML text. `None` for other names.
fn cut_off(name: &[u8]) -> Option<&[u8]> {
    let is_xml = |byte: &u8| *byte >= b' ' || matches!(byte, b'\t' | b'\n' | b'\r');
    if !name.iter().all(is_xml) {
        return Some(b"");
    }
    std::str::from_utf8(name).err().map(|error| &name[..error.valid_up_to()])
}

fn read_listing(id: &str, response: &Response) -> Result<Listing, Failure> {
    parse(&hide(&response.body))
        .map_err(|error| Failure::invalid_response(format!("the list of files of job {id} is unreadable: {error}")))
}

/// A-REX writes names into its XML without checking their encoding. Before parsing, bytes that are not UTF-8 are
/// replaced by characters of the last private plane, starting with this one. So do the bytes of these characters
/// themselves.
const HIDDEN: u32 = 0x10_ff00;

pub(super) fn hide(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(|character| u32::from(character) < HIDDEN) => return Cow::Borrowed(text),
        _ => {}
    }
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
    Cow::Owned(text)
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
        match (is_open, utf8(name.as_ref())) {
            (false, "list") if !is_complete => {
                (is_open, is_complete) = (!is_empty, is_empty);
                continue;
            }
            (false, other) => return Err(format!("it has an element {other:?} instead of \"list\"")),
            (true, "file" | "dir") if !is_empty => {}
            (true, other) => return Err(format!("it has an element {other:?} among the files")),
        }
        let is_file = name.as_ref() == b"file";
        let size = element.try_get_attribute("size").ok().flatten().and_then(|size| utf8(&size.value).parse().ok());
        let name = text_of(&mut reader, &element)?;
        match is_file {
            true => listing.files.push((name, size)),
            false => listing.directories.push(name),
        }
    }
}

/// Reads a `multistatus` of A-REX, whose URLs are not encoded.
pub(super) fn parse_properties(xml: &str) -> Result<Vec<Seen>, String> {
    let mut reader = Reader::from_str(xml);
    let mut all = Vec::new();
    let mut is_open = false;
    loop {
        let (element, is_empty) = match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(element) => (element, false),
            Event::Empty(element) => (element, true),
            Event::Eof if is_open => return Ok(all),
            Event::Eof => return Err("it is empty".into()),
            _ => continue,
        };
        let name = element.local_name();
        if !is_open {
            if name.as_ref() != b"multistatus" {
                return Err(format!("it has an element {:?} instead of \"multistatus\"", utf8(name.as_ref())));
            }
            is_open = true;
            continue;
        }
        if name.as_ref() == b"response" {
            all.push(Seen::default());
        }
        let Some(seen) = all.last_mut() else { continue };
        match utf8(name.as_ref()) {
            "href" if !is_empty => {
                let url = text_of(&mut reader, &element)?;
                let url = url.strip_suffix(b"/").unwrap_or(&url);
                seen.name = url.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
            }
            "prop" if seen.kind == Kind::Nothing => seen.kind = Kind::File { size: None },
            "collection" => seen.kind = Kind::Directory,
            "getcontentlength" if !is_empty => {
                let size = text_of(&mut reader, &element)?;
                seen.kind = Kind::File { size: std::str::from_utf8(&size).ok().and_then(|size| size.parse().ok()) };
            }
            _ => {}
        }
    }
}

/// Reads the text of an element.
fn text_of(reader: &mut Reader<&[u8]>, element: &BytesStart<'_>) -> Result<Vec<u8>, String> {
    let raw = reader.read_text(element.name()).map_err(|error| error.to_string())?;
    let text = quick_xml::escape::unescape(utf8(&raw)).map_err(|error| error.to_string())?;
    Ok(unhide(&text))
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
    #[test]
    fn properties_name_what_a_listing_leaves_out() {
        let response =
            |url: &str, rest: &str| format!("<d:response><d:href>file:/x/session/{url}</d:href>{rest}</d:response>");
        let found =
            |inner: &str| format!("<d:propstat><d:prop><d:displayname>?</d:displayname>{inner}</d:prop></d:propstat>");
        let file = found("<d:resourcetype/><d:getcontentlength>5</d:getcontentlength>");
        let directory = found("<d:resourcetype><d:collection/></d:resourcetype>");
        let missing = "<d:status>HTTP/1.1 404 Not Found</d:status>";
        let xml = [
            response("", &directory),
            response("/listed", &file),
            response("/link to a file&lt;&#xE9;", &file),
            response("/link to a directory/", &directory),
            response("/fifo", missing),
            response("/lat", &file),
        ];
        let xml = format!("<?xml version=\"1.0\"?>\n<d:multistatus xmlns:d=\"DAV:\">{}</d:multistatus>", xml.concat());
        let seen = parse_properties(&hide(xml.as_bytes())).unwrap();
        let kinds: Vec<Kind> = seen.iter().map(|seen| seen.kind).collect();
        let a_file = Kind::File { size: Some(5) };
        assert_eq!(kinds, [Kind::Directory, a_file, a_file, Kind::Directory, Kind::Nothing, a_file]);

        let named = |name: &str| (name.as_bytes().to_vec(), Some(5));
        let files = vec![named("listed"), (b"lat\xe9".to_vec(), Some(5)), named("new")];
        let listing = Listing { files, directories: Vec::new() };
        let one = |path: &str, reason| LeftOut { path: path.into(), reason };
        let left_out = confirmed(b"a/", unlisted(&listing, &seen), Some(&seen));
        assert_eq!(
            left_out,
            [
                one("a/link to a file<é", LeftOutReason::SymbolicLink),
                one("a/link to a directory", LeftOutReason::SymbolicLink),
                one("a/fifo", LeftOutReason::NotAFile),
            ]
        );
        // The job has removed all but the first two entries.
        assert_eq!(confirmed(b"a/", unlisted(&listing, &seen), Some(&seen[..3])), left_out[..1]);
        let unsearchable = unlisted(&Listing::default(), &seen);
        assert_eq!(unsearchable.len(), 5);
        assert!(unsearchable.iter().all(|(_, reason)| *reason == LeftOutReason::NotListed));

        for other in ["", "<html/>", "<list/>", "<d:multistatus>", "<d:multistatus/>", "<d:multistatus><d:response>"] {
            let properties = parse_properties(other);
            assert!(properties.as_ref().map_or(true, |seen| seen.len() < 2), "{other}: {properties:?}");
        }
    }
}
