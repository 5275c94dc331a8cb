//! Finds ARC and compiles the C++ shim in `cpp/`.
//!
//! Environment variables: `ARC_LOCATION` is the prefix of an ARC that is not in `/usr`; `DOCS_RS` is set on docs.rs, where
//! only the documentation is built, without ARC and C++. The crates `cc` and `pkg-config` read variables of their own.

use std::path::{Path, PathBuf};
use std::{env, fs};

const LIBRARIES: [&str; 7] =
    ["arccompute", "arcdata", "arccredential", "arccommunication", "arcmessage", "arcloader", "arccommon"];

fn main() {
    println!("cargo::rerun-if-changed=cpp");
    println!("cargo::rerun-if-changed=src/ffi/bridge.rs");
    if variable("DOCS_RS").is_some() {
        println!("cargo::rustc-env=JASMIN_ARC_PREFIX=/usr");
        return;
    }

    let prefix = PathBuf::from(variable("ARC_LOCATION").unwrap_or_else(|| "/usr".into()));
    if !prefix.join("include/arc/ArcVersion.h").exists() {
        stop(&format!("no ARC headers in {}/include/arc", prefix.display()));
    }
    let libraries = library_directory(&prefix)
        .unwrap_or_else(|| stop(&format!("no libarccompute.so in the library directories of {}", prefix.display())));
    println!("cargo::rustc-env=JASMIN_ARC_PREFIX={}", prefix.display());

    let mut build = cxx_build::bridge("src/ffi/bridge.rs");
    let mut sources: Vec<PathBuf> = fs::read_dir("cpp")
        .expect("cpp/ is part of the crate")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "cpp"))
        .collect();
    sources.sort();
    build.files(sources).std("c++17").extra_warnings(true).warnings(true);

    // -isystem keeps the warnings of other people's headers out of the build.
    let mut system = vec![prefix.join("include")];
    // ARC's headers include those of glibmm, libxml2 and SQLite. The shim itself uses libcrypto, for certificates.
    for package in [glibmm(&libraries), "libxml-2.0", "sqlite3", "libcrypto"] {
        match pkg_config::probe_library(package) {
            Ok(found) => system.extend(found.include_paths),
            Err(error) => stop(&format!("pkg-config does not find {package}: {error}")),
        }
    }
    // -isystem /usr/include breaks #include_next in the standard library's headers.
    for directory in system.iter().filter(|directory| *directory != Path::new("/usr/include")) {
        build.flag("-isystem").flag(directory);
    }
    build.compile("jasmin_arc_cpp");

    println!("cargo::rustc-link-search=native={}", libraries.display());
    for library in LIBRARIES {
        println!("cargo::rustc-link-lib=dylib={library}");
    }
}

/// An environment variable that is set and not empty. Cargo runs the script again if it changes.
fn variable(name: &str) -> Option<String> {
    println!("cargo::rerun-if-env-changed={name}");
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The directory that holds ARC's libraries.
fn library_directory(prefix: &Path) -> Option<PathBuf> {
    let triplet = format!("lib/{}-linux-gnu", env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default());
    ["lib64", "lib", &triplet]
        .iter()
        .map(|directory| prefix.join(directory))
        .find(|directory| directory.join("libarccompute.so").exists())
}

/// The glibmm that ARC's library is linked against: glibmm-2.4 for Debian's packages of ARC 6.17 and 7.0, glibmm-2.68 for
/// 7.2. Both can be installed, and the shim must use the same one.
fn glibmm(libraries: &Path) -> &'static str {
    let library = libraries.join("libarccommon.so");
    println!("cargo::rerun-if-changed={}", library.display());
    let bytes = fs::read(library).unwrap_or_default();
    let new = b"libglibmm-2.68.so";
    if bytes.windows(new.len()).any(|window| window == new) { "glibmm-2.68" } else { "glibmm-2.4" }
}

/// Ends the build with an error and the commands that install ARC. The package of ARC's headers requires the headers of
/// the glibmm that it was built with.
fn stop(error: &str) -> ! {
    println!("cargo::error={error}");
    println!(
        "cargo::error=Debian, Ubuntu: apt install nordugrid-arc-dev nordugrid-arc-client nordugrid-arc-plugins-arcrest \
         libxml2-dev libssl-dev libsqlite3-dev pkg-config g++"
    );
    println!(
        "cargo::error=Fedora, EL with EPEL: dnf install nordugrid-arc-devel nordugrid-arc-client \
         nordugrid-arc-plugins-arcrest libxml2-devel openssl-devel sqlite-devel pkgconf gcc-c++"
    );
    println!("cargo::error=If ARC is installed elsewhere, set ARC_LOCATION to its prefix, such as /opt/arc");
    std::process::exit(1);
}
