//! Finds ARC and compiles the C++ side of the bridge.
//!
//! Read: `ARC_LOCATION` (prefix of an ARC that is not in `/usr`), `DOCS_RS` (documentation only: no C++ at all), and
//! what `cc` and `pkg-config` read.

use std::path::{Path, PathBuf};
use std::{env, fs};

const LIBRARIES: [&str; 7] =
    ["arccompute", "arcdata", "arccredential", "arccommunication", "arcmessage", "arcloader", "arccommon"];

fn main() {
    println!("cargo::rerun-if-changed=cpp");
    println!("cargo::rerun-if-changed=src/ffi/bridge.rs");
    if read("DOCS_RS").is_some() {
        println!("cargo::rustc-env=JASMIN_ARC_PREFIX=/usr");
        return;
    }

    let prefix = PathBuf::from(read("ARC_LOCATION").unwrap_or_else(|| "/usr".into()));
    if !prefix.join("include/arc/ArcVersion.h").exists() {
        missing(&format!("ARC's headers are not under {}/include/arc", prefix.display()));
    }
    let libraries = library_directory(&prefix)
        .unwrap_or_else(|| missing(&format!("libarccompute.so is not under {}", prefix.display())));
    println!("cargo::rustc-env=JASMIN_ARC_PREFIX={}", prefix.display());

    let mut build = cxx_build::bridge("src/ffi/bridge.rs");
    let mut sources: Vec<PathBuf> = fs::read_dir("cpp")
        .expect("cpp/ is part of the crate")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "cpp"))
        .collect();
    sources.sort();
    build.files(sources).std("c++17").extra_warnings(true).warnings(true);

    // -isystem /usr/include breaks the compiler's #include_next.
    let headers = prefix.join("include");
    let mut system = vec![headers];
    // The last two are there for ARC's headers and for reading certificates.
    for package in [glibmm(&libraries), "libxml-2.0", "sqlite3", "libcrypto"] {
        match pkg_config::probe_library(package) {
            Ok(found) => system.extend(found.include_paths),
            Err(error) => missing(&format!("pkg-config does not find {package}: {error}")),
        }
    }
    for directory in system.iter().filter(|directory| *directory != Path::new("/usr/include")) {
        build.flag("-isystem").flag(directory);
    }
    build.compile("jasmin_arc_cpp");

    println!("cargo::rustc-link-search=native={}", libraries.display());
    for library in LIBRARIES {
        println!("cargo::rustc-link-lib=dylib={library}");
    }
}

/// The one place where the environment is read.
fn read(name: &str) -> Option<String> {
    println!("cargo::rerun-if-env-changed={name}");
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn library_directory(prefix: &Path) -> Option<PathBuf> {
    let triplet = format!("lib/{}-linux-gnu", env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default());
    ["lib64", "lib", &triplet]
        .iter()
        .map(|directory| prefix.join(directory))
        .find(|directory| directory.join("libarccompute.so").exists())
}

/// ARC up to 7.0 is built against glibmm-2.4, later ones against glibmm-2.68, and both can be installed: what counts is
/// what the library is linked with.
fn glibmm(libraries: &Path) -> &'static str {
    let library = libraries.join("libarccommon.so");
    println!("cargo::rerun-if-changed={}", library.display());
    let bytes = fs::read(library).unwrap_or_default();
    let new = b"libglibmm-2.68.so";
    if bytes.windows(new.len()).any(|window| window == new) { "glibmm-2.68" } else { "glibmm-2.4" }
}

fn missing(what: &str) -> ! {
    println!("cargo::error={what}");
    println!(
        "cargo::error=Debian, Ubuntu: apt install nordugrid-arc-dev nordugrid-arc-client nordugrid-arc-plugins-arcrest \
         libglibmm-2.4-dev libxml2-dev libssl-dev libsqlite3-dev pkg-config g++"
    );
    println!(
        "cargo::error=Fedora, EL with EPEL: dnf install nordugrid-arc-devel nordugrid-arc-client \
         nordugrid-arc-plugins-arcrest glibmm24-devel libxml2-devel openssl-devel sqlite-devel pkgconf gcc-c++"
    );
    println!("cargo::error=An ARC that is installed elsewhere: set ARC_LOCATION to its prefix");
    std::process::exit(1);
}
