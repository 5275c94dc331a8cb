use std::iter;

use proptest::prelude::*;

use super::*;
use crate::Error;
use crate::description::{InputFile, InputSource};
use crate::util::uri::file_uri;

/// Returns the description in the form in which `from_jsdl` reads it: the executable is an input file without an
/// explicit name.
fn as_read(job: &JobDescription) -> JobDescription {
    let mut job = job.clone();
    for input in &mut job.inputs {
        let name = input.name().unwrap().to_owned();
        let InputSource::File(path) = input.source() else { panic!("{input:?}") };
        *input = InputFile::file(path).with_other_name(&name);
    }
    job.with_implied_inputs()
}

#[test]
fn special_characters_are_read_back() {
    let nasty = [
        "",
        " ",
        "  blanks around\t",
        "\n",
        "two\nlines\n",
        "\r\n\r",
        "\t",
        "\"double\" 'single'",
        "<a b=\"c\">&amp;&#13;</a>",
        "]]>",
        "<![CDATA[x]]>",
        "<!-- -- -->",
        "<?xml?>",
        "\\ \\n \\\\",
        "%20 %",
        "$HOME `x` $(y) *",
        "naïve Ελλάδα 日本語",
        "\u{1f30d}\u{10ffff}",
        "\u{85}\u{2028}\u{feff}\u{7f}\u{fffd}",
    ];
    let mut job = JobDescription::new("x").with_args(nasty);
    for (n, text) in nasty.iter().enumerate() {
        let name = text.replace(['/', '\n'], "_") + &n.to_string();
        job = job.with_input_file(format!("/tmp/{n}/{name}")).with_output_file(name);
    }
    assert_eq!(JobDescription::from_jsdl(&job.to_jsdl().unwrap()).unwrap(), as_read(&job));

    for text in &nasty[1..] {
        let job = JobDescription::new("/opt/<my> & é/program").with_name(*text);
        assert_eq!(JobDescription::from_jsdl(&job.to_jsdl().unwrap()).unwrap(), job);
    }
}

proptest! {
    #[test]
    fn any_valid_text_survives(
        texts in prop::collection::vec(text(), 3..8),
        names in prop::collection::vec(text(), 0..8),
    ) {
        let mut job = JobDescription::new(&texts[0]).with_name(&texts[1]).with_args(&texts[2..]);
        for (n, name) in iter::zip(0.., &names) {
            let session_name = format!("{name}{n}");
            job = job.with_input_file_as(format!("/{session_name}"), &session_name).with_output_file(session_name);
        }
        match job.to_jsdl() {
            Ok(jsdl) => prop_assert_eq!(JobDescription::from_jsdl(&jsdl).unwrap(), as_read(&job)),
            Err(_) => prop_assert!(job.validate().is_err() || names.iter().any(|name| name.starts_with('@'))),
        }
    }
}

/// Text of characters that XML or a shell treats specially, rarely with one that XML cannot represent.
fn text() -> impl Strategy<Value = String> {
    let special: Vec<char> = "\t\n\r <>&'\"]]>\\;#%$x\u{85}\u{2028}é\u{1f30d}".chars().collect();
    let character = prop_oneof![20 => prop::sample::select(special), 1 => any::<char>()];
    prop::collection::vec(character, 0..12).prop_map(String::from_iter)
}

#[test]
fn relative_sources_become_absolute() {
    let jsdl = JobDescription::new("x").with_input_file("a").to_jsdl().unwrap();
    let uri = file_uri(&std::env::current_dir().unwrap().join("a"));
    assert!(jsdl.contains(&format!("<URI>{uri}</URI>")), "{jsdl}");
}

#[test]
fn invalid_descriptions_are_not_written() {
    assert!(matches!(JobDescription::new("").to_jsdl(), Err(Error::InvalidJobDescription { .. })));
    let twice = JobDescription::new("x").with_input_file("a/x").with_input_file("b/x");
    assert!(matches!(twice.to_jsdl(), Err(Error::InputFile { .. })));
}
