//! Tests of looking into the session directory of a job.

use std::ffi::OsStr;
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use jasmin_arc::{Error, JobFileFailure, JobId, JobStatus};

use crate::common::Site;

/// Names that need quoting in a URL, or mean something to a shell, to XML or to A-REX.
const ODD_NAMES: [&str; 9] = [
    "a b",
    "odd &<name>%41?x#y;z",
    "100%",
    "%2e%2e",
    "é漢",
    "a+b=c,d",
    "[1]{2}*",
    "'quoted' \"twice\"",
    "back\\slash~",
];

#[test]
#[ignore = "needs an ARC-CE"]
fn files_are_listed_and_read_in_parts() {
    let site = Site::new();
    if !site.is_rest() {
        return;
    }
    let id = site.submit(
        "mkdir -p output/deep; printf 0123456789 > output/deep/digits; : > output/empty; ln -s empty output/link; \
         truncate -s 5G output/sparse; printf end >> output/sparse; printf latin > output/$(printf 'b\\351')",
    );
    assert_eq!(site.wait(&id), JobStatus::Completed);
    let listed = site.arc.list_files(&id).unwrap();
    let mut sizes: Vec<_> = listed.files.iter().map(|file| (file.path.as_os_str().as_bytes(), file.size)).collect();
    sizes.sort();
    const SPARSE: u64 = (5 << 30) + 3;
    let expected: [(&[u8], _); 6] = [
        (b"output/b\xe9", Some(5)),
        (b"output/deep/digits", Some(10)),
        (b"output/empty", Some(0)),
        (b"output/sparse", Some(SPARSE)),
        (b"stderr.txt", Some(0)),
        (b"stdout.txt", Some(0)),
    ];
    assert_eq!(sizes, expected);
    // A name that is not UTF-8, and a range that 32 bits do not count.
    let latin = Path::new(OsStr::from_bytes(b"output/b\xe9"));
    assert_eq!(site.arc.read_file(&id, latin, 1..=2).unwrap().bytes, b"at");
    let end = site.arc.read_file(&id, "output/sparse", SPARSE - 4..).unwrap();
    assert_eq!((end.offset, end.size, &end.bytes[..]), (SPARSE - 4, SPARSE, &b"\0end"[..]));
    let followed: Vec<_> = site.arc.follow(&id, "output/sparse").from(SPARSE - 2).map(|piece| piece.unwrap()).collect();
    assert_eq!((followed.len(), followed[0].offset, &followed[0].bytes[..]), (1, SPARSE - 2, &b"nd"[..]));
    let mut directories = listed.directories;
    directories.sort();
    assert_eq!(directories, [Path::new("output"), Path::new("output/deep")]);
    assert_eq!(listed.left_out.len(), 1, "{:?}", listed.left_out);

    let digits = "output/deep/digits";
    let text = |start, end| {
        let part = site.arc.read_file(&id, digits, start..end).unwrap();
        assert_eq!((part.offset, part.size), (start, 10));
        String::from_utf8(part.bytes).unwrap()
    };
    assert_eq!(text(0, u64::MAX), "0123456789");
    assert_eq!(
        (text(0, 1), text(3, 7), text(9, 10), text(8, 99)),
        ("0".into(), "3456".into(), "9".into(), "89".into())
    );
    let none = [Bound::Included(u64::MAX), Bound::Excluded(u64::MAX)];
    for start in none {
        assert_eq!(site.arc.read_file(&id, digits, (start, Bound::Unbounded)).unwrap().bytes, b"");
    }
    assert_eq!((text(10, 20), text(99, 100), text(5, 5)), (String::new(), String::new(), String::new()));
    assert_eq!(site.arc.read_file(&id, "output/empty", ..).unwrap().bytes, b"");

    let failure = |name: &str| match site.arc.read_file(&id, name, ..) {
        Err(Error::JobFile { failure, path, .. }) if path == Path::new(name) => failure,
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(failure("output/none"), JobFileFailure::NotFound);
    assert_eq!(failure("none/none"), JobFileFailure::NotFound);
    assert_eq!(failure("output"), JobFileFailure::NotAFile);
    assert_eq!(failure("../../etc/passwd"), JobFileFailure::UnsafeName);
    let unknown = JobId::from(id.as_str().replace(id.local_id(), "0123456789abcdef"));
    for error in [
        site.arc.read_file(&unknown, digits, ..).unwrap_err(),
        site.arc.list_files(&unknown).unwrap_err(),
        site.arc.read_file(&"https://elsewhere.example.org/arex/a".into(), digits, ..).unwrap_err(),
    ] {
        assert!(matches!(error, Error::JobNotFound { .. }), "{error:?}");
    }
}

#[test]
#[ignore = "needs an ARC-CE"]
fn files_with_odd_names_are_listed_and_read() {
    let site = Site::new();
    if !site.is_rest() {
        return;
    }
    let script: String =
        ODD_NAMES.iter().map(|name| format!("printf %s '{0}' > output/'{0}'; ", name.replace('\'', r"'\''"))).collect();
    let id = site.submit(&format!("mkdir output; {script}"));
    assert_eq!(site.wait(&id), JobStatus::Completed);
    let listed = site.arc.list_files(&id).unwrap();
    for name in ODD_NAMES {
        let path = Path::new("output").join(name);
        assert!(listed.files.iter().any(|file| file.path == path), "{name}: {:?}", listed.files);
        let part = site.arc.read_file(&id, &path, 1..).unwrap();
        assert_eq!(part.bytes, name.as_bytes()[1..], "{name}");
    }
}

#[test]
#[ignore = "needs an ARC-CE"]
fn a_file_is_read_while_it_grows() {
    let site = Site::new();
    if !site.is_rest() {
        return;
    }
    let id = site.submit("n=0; while [ $n -lt 4000 ]; do n=$((n + 1)); echo $n; done; sleep 1; while [ ! -e output ]; do echo more; sleep 0.01; done");
    site.wait_until(&id, |_| site.arc.read_file(&id, "stdout.txt", ..0).is_ok_and(|part| part.size > 18_893));
    for _ in 0..50 {
        let part = site.arc.read_file(&id, "stdout.txt", ..).unwrap();
        assert_eq!(part.bytes.len() as u64, part.size);
        assert!(part.bytes.starts_with(b"1\n2\n3\n"));
        // The connection is still good for other requests.
        assert_eq!(site.arc.read_file(&id, "stdout.txt", 2..4).unwrap().bytes, b"2\n");
    }
    site.arc.cancel_job(&id).unwrap();
}
