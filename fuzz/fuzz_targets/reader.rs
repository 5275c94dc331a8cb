//! Runs one reader of `src/fuzzing.rs`, the one that the environment variable `JASMIN_ARC_FUZZ` names.
#![no_main]

use std::sync::LazyLock;

use jasmin_arc::{FUZZ_TARGETS, JobDescription};
use libfuzzer_sys::fuzz_target;

unsafe extern "C" {
    safe fn __lsan_disable();
    safe fn __lsan_enable();
}

static READER: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("JASMIN_ARC_FUZZ").unwrap_or_default();
    let found = FUZZ_TARGETS.iter().find(|(known, _)| *known == name);
    // The first use of ARC loads libraries for good (Arc::PersistentLibraryInit). The suppressions of
    // `tests/instruments asan` would need slow stacks for each allocation.
    __lsan_disable();
    let _ = JobDescription::new("/bin/true").to_adl();
    __lsan_enable();
    let names = FUZZ_TARGETS.map(|(known, _)| known).join(" ");
    found.unwrap_or_else(|| panic!("set JASMIN_ARC_FUZZ to one of: {names}")).1
});

fuzz_target!(|data: &[u8]| READER(data));
