//! Checks the dependencies between the top-level modules of `src/` against docs/architecture.md.
//!
//! The test reads the sources: `crate::NAME` outside of comments and test code is a dependency on the module `NAME`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each top-level module with the modules that it may use. `error`, `job` and `util` are at the bottom.
const ALLOWED: &[(&str, &[&str])] = &[
    ("util", &[]),
    ("job", &["util"]),
    ("watch", &["job", "util"]),
    ("error", &["job", "util"]),
    ("limits", &["error", "util"]),
    ("service", &["util"]),
    ("logging", &["util"]),
    ("ffi", &["logging", "util"]),
    ("description", &["error", "ffi", "logging", "util"]),
    ("config", &["description", "error", "logging", "util"]),
    ("journal", &["error", "logging", "util"]),
    ("job_list", &["error", "ffi", "job", "logging", "util"]),
    ("credential", &["error", "limits", "util"]),
    ("proxy", &["credential", "error", "ffi", "limits", "logging", "util"]),
    (
        "backend",
        &["config", "credential", "description", "error", "ffi", "job", "limits", "logging", "service", "util"],
    ),
    ("matching", &["description", "service", "util"]),
    ("transfer", &["backend", "error", "job", "logging", "util"]),
    (
        "interface",
        &[
            "backend",
            "config",
            "description",
            "error",
            "ffi",
            "job",
            "job_list",
            "journal",
            "limits",
            "logging",
            "matching",
            "credential",
            "proxy",
            "service",
            "transfer",
            "util",
            "watch",
        ],
    ),
    ("fuzzing", &["backend", "config", "credential", "description", "ffi", "job", "journal", "util"]),
];

#[test]
fn modules_use_only_modules_below_them() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    for (from, to, place) in dependencies() {
        match allowed.get(from.as_str()) {
            None => wrong.push(format!("{place}: the module {from} is not in ALLOWED")),
            Some(below) if !below.contains(&to.as_str()) => wrong.push(format!("{place}: {from} must not use {to}")),
            Some(_) => {}
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn allowed_dependencies_have_no_cycle() {
    // Every module stands after those that it may use.
    let mut above = BTreeSet::new();
    for (module, below) in ALLOWED {
        for used in *below {
            assert!(above.contains(used), "{module} may use {used}, which must stand before it in ALLOWED");
        }
        assert!(above.insert(*module), "{module} is listed twice");
    }
}

#[test]
fn allowed_dependencies_name_existing_modules() {
    let modules = top_level_modules();
    for (module, _) in ALLOWED {
        assert!(modules.contains(*module), "there is no module {module} in src/");
    }
}

#[test]
fn public_reexports_do_not_mention_ffi() {
    for (path, text) in sources() {
        let mut text = code(&text);
        while let Some(start) = text.find("pub use ") {
            let statement = text[start..].split(';').next().unwrap_or_default().to_owned();
            for word in words(&statement) {
                assert!(!matches!(word, "ffi" | "cxx"), "{}: {statement}", path.display());
            }
            text = text[start + statement.len()..].to_owned();
        }
        let is_public = text.lines().any(|line| line.trim_start().starts_with("pub mod "));
        assert!(!is_public, "{}: public modules would show internals", path.display());
    }
}

/// The dependencies between different top-level modules: from, to, and where.
fn dependencies() -> Vec<(String, String, String)> {
    let modules = top_level_modules();
    let mut found = Vec::new();
    for (path, text) in sources() {
        let parts = module_path(&path);
        let Some(from) = parts.first() else { continue }; // lib.rs
        let root = "super::".repeat(parts.len());
        for (number, line) in code(&text).lines().enumerate() {
            let targets = names_after(line, "crate::").into_iter().chain(names_after(line, &root));
            for to in targets.filter(|to| to != from && modules.contains(to)) {
                found.push((from.clone(), to, format!("{}:{}", path.display(), number + 1)));
            }
        }
    }
    assert!(found.len() > 50, "the sources are not read as expected: {} dependencies", found.len());
    found
}

/// Returns the names after `prefix` in a line: one name, or the first name of each path in braces.
fn names_after(line: &str, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in line.match_indices(prefix) {
        // `$crate::` belongs to a macro. A longer chain of `super::` refers to another module.
        if line[..at].ends_with(|c: char| c.is_alphanumeric() || "_$:".contains(c)) {
            continue;
        }
        let rest = &line[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(list) => {
                let list = list.split('}').next().unwrap_or_default();
                names.extend(list.split(',').filter_map(|path| words(path).next().map(str::to_owned)));
            }
            None => names.extend(words(rest).next().map(str::to_owned)),
        }
    }
    names
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// A source without comments and without the test modules at its end. Line numbers stay as they are.
fn code(text: &str) -> String {
    let mut lines = Vec::new();
    let mut rest = text.lines().peekable();
    while let Some(line) = rest.next() {
        let is_test = line.trim() == "#[cfg(test)]";
        if is_test && rest.peek().is_some_and(|next| next.starts_with("mod ") && next.ends_with('{')) {
            break;
        }
        lines.push(if line.trim_start().starts_with("//") { "" } else { line });
    }
    lines.join("\n")
}

/// `["backend", "rest"]` for `src/backend/rest/mod.rs`; empty for `src/lib.rs`.
fn module_path(path: &Path) -> Vec<String> {
    let relative = path.strip_prefix(src()).expect("a file of src/").with_extension("");
    let mut parts: Vec<String> = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib")) {
        parts.pop();
    }
    parts
}

fn top_level_modules() -> BTreeSet<String> {
    sources().iter().filter_map(|(path, _)| module_path(path).into_iter().next()).collect()
}

/// The files of `src/` that are not test code only.
fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut directories = vec![src()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("src/ can be read") {
            let path = entry.expect("src/ can be read").path();
            let is_test =
                path.file_name().is_some_and(|name| name == "tests.rs" || name == "fake.rs" || name == "tests");
            if is_test {
                continue;
            } else if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source can be read");
                files.push((path, text));
            }
        }
    }
    files.sort();
    files
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}
