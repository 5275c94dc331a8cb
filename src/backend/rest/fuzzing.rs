//! Gives the fuzzers the readers of A-REX's responses.

use super::state::RestState;
use super::{activity, delegation as delegations, info, jobs, listing as listings, record as records};
use crate::job::{ArcState, DiagnosticPart, DiagnosticText, JobDiagnostics, JobInfo};
use crate::util::names::Named;
use crate::util::uri::encode_path;
use crate::util::xml::Element;

pub(crate) fn jobs(body: &[u8]) {
    if let Ok(items) = jobs::parse(body) {
        for item in items {
            let state = RestState::parse(&item.state);
            assert_eq!(RestState::parse(&state.to_string()), state);
        }
    }
    let _ = delegations::parse(body);
}

pub(crate) fn activities(body: &[u8]) {
    let _ = activity::parse(body);
}

pub(crate) fn glue2(body: &[u8]) {
    if let Ok(document) = Element::parse(&String::from_utf8_lossy(body)) {
        info::read(&document);
    }
}

pub(crate) fn listing(body: &[u8]) {
    if let Ok(seen) = listings::parse_properties(&listings::hide(body)) {
        assert!(seen.iter().all(|seen| !seen.name.contains(&b'/')));
    }
    let Ok(listing) = listings::parse(&listings::hide(body)) else { return };
    let names = listing.files.iter().map(|(name, _)| name).chain(&listing.directories);
    for name in names {
        let path = encode_path(name);
        assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{path:?} needs encoding");
    }
}

/// The files `description` and `local` of a job, and the files `input` and `input_status`, with an empty line between them.
pub(crate) fn local(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let (list, uploaded) = text.split_once("\n\n").unwrap_or((&text, ""));
    let declared = records::declared_uploads(list);
    let missing = records::without_uploaded(declared.clone(), uploaded);
    assert!(missing.iter().all(|name| declared.contains(name)));
    let _ = records::LocalRecord::from_adl(&text);
    if let Some(record) = records::LocalRecord::parse(&text) {
        assert!(text.ends_with('\n') && record.identifiers.iter().all(|identifier| !identifier.contains('\n')));
    }
}

/// The files `status` and `failed` of a job, with an empty line between them.
pub(crate) fn record(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let (status, failed) = text.split_once("\n\n").unwrap_or((&text, ""));
    let _ = RestState::from_record(status, || Ok::<_, ()>(Some(failed.to_owned())));
    let mut job = JobInfo::new("a1".into());
    job.state = ArcState::Failed;
    job.errors = failed.lines().map(str::to_owned).collect();
    let reason = job.failure_reason().map(|reason| reason.to_string());
    assert!(reason.is_some_and(|reason| !reason.is_empty()));
    let text = DiagnosticText { text: text.into_owned(), ..DiagnosticText::default() };
    let parts = DiagnosticPart::ALL.iter().map(|part| (*part, text.clone())).collect();
    let known = JobDiagnostics { id: job.id, parts };
    let _ =
        (known.failures(), known.changes(), known.transfer_errors(), known.usage(), known.local(), known.transfers());
    assert!(known.inputs().into_iter().chain(known.outputs()).flatten().all(|file| !file.name.starts_with('/')));
}
