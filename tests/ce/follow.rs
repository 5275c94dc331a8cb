//! Tests of following a file of a running job.

use std::fmt::Write;
use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use jasmin_arc::{CancelToken, Error, ErrorKind, Follow, JobFileFailure, JobStatus};

use crate::common::{PATIENCE, Site};
use crate::testbed::Ce;

/// A job that is followed may be late on a loaded machine, and the tests must not wait for ever.
const LONGEST: Duration = PATIENCE;

/// Reads a followed file to its end, and returns the failure of the file that ended it.
fn read(follow: Follow) -> (Vec<u8>, Option<JobFileFailure>) {
    let mut all = Vec::new();
    for piece in follow {
        match piece {
            Ok(piece) => {
                assert_eq!(piece.offset, all.len() as u64);
                all.extend(piece.bytes);
            }
            Err(Error::JobFile { failure, .. }) => return (all, Some(failure)),
            Err(error) => panic!("{error:?}"),
        }
    }
    (all, None)
}

#[test]
#[ignore = "needs an ARC-CE"]
fn each_line_of_a_running_job_comes_once() {
    let site = Site::new();
    if !site.is_rest() {
        return;
    }
    const LINES: usize = 40;
    let id = site.submit(&format!(
        "n=0; while [ $n -lt {LINES} ]; do n=$((n + 1)); echo line $n $(date +%s.%N); sleep 0.5; done"
    ));
    let mut text = String::new();
    let mut latest: f64 = 0.0;
    for piece in site.arc.follow(&id, "stdout.txt").deadline(LONGEST) {
        let piece = piece.unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        text += std::str::from_utf8(&piece.bytes).unwrap();
        // The last line may be incomplete.
        let written = text.rsplit_once('\n').and_then(|(lines, _)| lines.rsplit(' ').next()?.parse::<f64>().ok());
        latest = written.map_or(latest, |written| latest.max(now - written));
    }
    assert!(site.arc.job_status(&id).unwrap().is_final(), "the iterator ends before the job does");
    let numbers: Vec<usize> = text.lines().map(|line| line.split(' ').nth(1).unwrap().parse().unwrap()).collect();
    assert!(numbers.iter().copied().eq(1..=LINES), "{text}");
    println!("the latest line came {latest:.2} s after it was written");
    // Without load it is less than a second.
    assert!(latest < 15.0, "{latest}");
    // From an offset, as a reader.
    let start = text.find("line 20 ").unwrap();
    let mut rest = String::new();
    site.arc.follow(&id, "stdout.txt").from(start as u64).read_to_string(&mut rest).unwrap();
    assert_eq!(rest, text[start..]);
}

#[test]
#[ignore = "needs an ARC-CE"]
fn a_job_that_writes_fast_is_followed() {
    let site = Site::new();
    if !site.is_rest() {
        return;
    }
    // 1 MiB each second, for 6 seconds, in lines of 64 bytes.
    let script = r#"n=0; while [ $n -lt 48 ]; do
            n=$((n + 1)); seq -f '%063.0f' $((n * 2048 - 2047)) $((n * 2048)); sleep 0.11
        done"#;
    let id = site.submit(script);
    let (all, failure) = read(site.arc.follow(&id, "stdout.txt").deadline(LONGEST));
    assert_eq!(failure, None);
    let mut expected = String::new();
    (1..=48 * 2048).for_each(|n| writeln!(expected, "{n:063}").unwrap());
    assert!(all == expected.as_bytes(), "{} bytes of {}", all.len(), expected.len());
}

#[test]
#[ignore = "needs an ARC-CE"]
fn a_file_that_changes_its_past_is_an_error() {
    let site = Site::new();
    if !site.is_rest() {
        return;
    }
    // Each file has its change when the test has read its beginning, which a pause of some seconds makes likely. If the
    // test comes later, it reads the new file from its beginning.
    let script = r#"mkdir output; cd output
        seq 1000 > cut; seq 1000 > replaced; seq 1000 > removed; seq 1000 > kept; sleep 8
        seq 10 > cut; seq 5000 9000 > new; mv new replaced; rm removed; seq 1001 1010 >> kept; sleep 2"#;
    let id = site.submit(script);
    let follow = |name: &'static str| {
        let arc = site.arc.clone();
        let id = id.clone();
        thread::spawn(move || read(arc.follow(&id, format!("output/{name}")).deadline(LONGEST)))
    };
    let threads = ["cut", "replaced", "removed", "kept"].map(follow);
    let [cut, replaced, removed, kept] = threads.map(|thread| thread.join().unwrap());
    let lines = |range: std::ops::RangeInclusive<u32>| -> Vec<u8> {
        range.flat_map(|n| format!("{n}\n").into_bytes()).collect()
    };
    let before = lines(1..=1000);
    assert!(cut == (before.clone(), Some(JobFileFailure::Shrunk)) || cut == (lines(1..=10), None), "{:?}", cut.1);
    let is_replaced = replaced == (before.clone(), Some(JobFileFailure::Replaced));
    assert!(is_replaced || replaced == (lines(5000..=9000), None), "{:?}", replaced.1);
    assert!(removed == (before, Some(JobFileFailure::NotFound)) || removed.0.is_empty(), "{:?}", removed.1);
    assert!(kept == (lines(1..=1010), None), "{:?}", kept.1);
}

#[test]
#[ignore = "needs an ARC-CE"]
fn files_that_come_late_never_or_under_odd_names_are_followed() {
    let site = Site::new();
    if !site.is_rest() {
        return;
    }
    let id = site.submit("sleep 3; mkdir output; echo late > 'output/a b%41?x#y é'");
    let mut late = String::new();
    site.arc.follow(&id, "output/a b%41?x#y é").deadline(LONGEST).read_to_string(&mut late).unwrap();
    assert_eq!(late, "late\n");
    assert_eq!(site.wait(&id), JobStatus::Completed);
    assert_eq!(read(site.arc.follow(&id, "output/never")), (Vec::new(), Some(JobFileFailure::NotFound)));
    assert_eq!(read(site.arc.follow(&id, "output")), (Vec::new(), Some(JobFileFailure::NotAFile)));

    let id = site.submit("sleep 600");
    let token = CancelToken::new();
    let begun = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_secs(1));
            token.cancel();
        });
        let error = site.arc.follow(&id, "stdout.txt").cancel(&token).next().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    });
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    site.arc.cancel_job(&id).unwrap();
}

#[test]
#[ignore = "needs an ARC-CE"]
fn following_goes_on_when_a_killed_ce_is_back() {
    let Some(ce) = Ce::start() else { return };
    let site = Site::of(&ce.config());
    let id = site.submit("n=0; while [ $n -lt 60 ]; do n=$((n + 1)); echo $n; sleep 0.25; done");
    let mut follow = site.arc.follow(&id, "stdout.txt").deadline(LONGEST);
    let mut all = follow.next().unwrap().unwrap().bytes;
    ce.kill();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_secs(3));
            ce.restart();
        });
        follow.for_each(|piece| all.extend(piece.unwrap().bytes));
    });
    let expected: String = (1..=60).map(|n| format!("{n}\n")).collect();
    assert_eq!(String::from_utf8(all).unwrap(), expected);
}
