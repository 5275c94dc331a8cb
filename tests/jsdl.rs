//! JSDL documents against the standard's schemas, by xmllint (Debian: libxml2-utils): what checks them is not what
//! wrote them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output};

use jasmin_arc::JobDescription;
use proptest::prelude::*;

const POSIX: &str = "<posix:POSIXApplication>";
const POSIX_END: &str = "</posix:POSIXApplication>";
const POSIX_ALONE: &str = r#"<posix:POSIXApplication xmlns:posix="http://schemas.ggf.org/jsdl/2005/11/jsdl-posix">"#;

fn xmllint(args: &[&str], document: &str) -> Output {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, document).unwrap();
    Command::new("xmllint").arg("--nonet").args(args).arg(file.path()).output().expect("xmllint runs")
}

fn validate(schema: &str, document: &str) {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jsdl").join(schema);
    let output = xmllint(&["--noout", "--schema", schema.to_str().unwrap()], document);
    assert!(output.status.success(), "{}\n{document}", String::from_utf8_lossy(&output.stderr));
}

/// jsdl.xsd takes anything for the application: so that part is checked once more, alone.
fn validate_both(jsdl: &str) {
    validate("jsdl.xsd", jsdl);
    let (_, posix) = jsdl.split_once(POSIX).unwrap();
    let (posix, _) = posix.split_once(POSIX_END).unwrap();
    validate("jsdl-posix.xsd", &format!("{POSIX_ALONE}{posix}{POSIX_END}"));
}

#[test]
#[ignore = "needs xmllint"]
fn the_schemas_are_in_force() {
    let jsdl = JobDescription::new("/bin/true").with_output_file("a").to_jsdl().unwrap();
    validate_both(&jsdl);
    for (good, bad) in [
        ("<CreationFlag>overwrite</CreationFlag>", ""),
        ("<posix:Output>stdout.txt</posix:Output>", "<posix:Output>a</posix:Output><posix:Output>b</posix:Output>"),
    ] {
        let broken = jsdl.replace(good, bad);
        assert_ne!(broken, jsdl);
        std::panic::catch_unwind(|| validate_both(&broken)).expect_err("a broken document passed");
    }
}

#[test]
#[ignore = "needs xmllint"]
fn documents_are_valid() {
    let odd = Path::new(OsStr::from_bytes(b"//tmp/../a b/\xff%\n[x]?#:@&;"));
    let full = JobDescription::new("/bin/<s h>&é")
        .with_name("")
        .with_args(["", " ", "a\tb\nc\r\nd", "<&>]]>\"'", "\u{1f30d}"])
        .with_input_file("relative")
        .with_input_file_as(odd, "dir/\rname \u{10ffff}")
        .with_output_file("results/")
        .with_output_file("é");
    validate_both(&full.to_jsdl().unwrap());
    validate_both(&JobDescription::new("x").to_jsdl().unwrap());
}

#[test]
#[ignore = "needs xmllint"]
fn another_parser_reads_the_same() {
    let text = " \ta\r\nb\rc\n <&>]]>\"'\\ \u{85}\u{1f30d} ";
    // A file name has no line feed.
    let line = &text.replace('\n', "");
    let jsdl = JobDescription::new("x").with_name(text).with_arg(text).with_output_file(line).to_jsdl().unwrap();
    for (element, text) in [("JobName", text), ("Argument", text), ("FileName", line)] {
        let output = xmllint(&["--xpath", &format!("string(//*[local-name()='{element}'])")], &jsdl);
        // xmllint ends what it prints with a line feed of its own.
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{text}\n"), "{element}");
    }
}

proptest! {
    // Each case runs xmllint twice.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    #[ignore = "needs xmllint"]
    fn any_valid_description_makes_a_valid_document(
        texts in prop::collection::vec(text(), 3..8),
        names in prop::collection::vec(text(), 0..8),
    ) {
        let mut job = JobDescription::new("/bin/<s h>&é").with_name(&texts[1]).with_args(&texts[2..]);
        for (n, name) in names.iter().enumerate() {
            let name = name.replace(['/', '\n', '@'], "_") + &n.to_string();
            job = job.with_input_file_as(format!("/{}/{name}", texts[0]), &name).with_output_file(name);
        }
        validate_both(&job.to_jsdl().unwrap());
    }
}

/// Text of the characters that XML 1.0 has.
fn text() -> impl Strategy<Value = String> {
    let special: Vec<char> = "\t\n\r <>&'\"]]>\\;#%$x\u{85}\u{2028}é\u{1f30d}".chars().collect();
    let any = any::<char>().prop_filter(
        "not in XML",
        |c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..),
    );
    let character = prop_oneof![3 => prop::sample::select(special), 1 => any];
    prop::collection::vec(character, 0..12).prop_map(String::from_iter)
}
