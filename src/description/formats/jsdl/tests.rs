use std::iter;

use proptest::prelude::*;
use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::Event;

use super::values::file_uri;
use super::*;
use crate::Error;
use crate::description::{InputSource, absolute};

/// The elements without children, with their text, as an XML 1.0 parser must report it.
fn leaves(document: &str) -> Vec<(String, String)> {
    let mut reader = Reader::from_str(document);
    let mut leaves = Vec::new();
    let (mut text, mut is_leaf) = (String::new(), false);
    loop {
        match reader.read_event().unwrap() {
            Event::Start(_) => {
                text.clear();
                is_leaf = true;
            }
            Event::Text(more) => text += &more.xml10_content(),
            Event::GeneralRef(entity) => match entity.resolve_char_ref().unwrap() {
                Some(c) => text.push(c),
                None => text += resolve_xml_entity(&entity.xml10_content()).unwrap(),
            },
            Event::End(tag) => {
                if is_leaf {
                    leaves.push((tag.name().as_ref().to_owned(), text.clone()));
                }
                is_leaf = false;
            }
            Event::Decl(_) => {}
            Event::Eof => return leaves,
            other => panic!("{other:?}"),
        }
    }
}

fn expected(job: &JobDescription) -> Vec<(String, String)> {
    let mut leaves = vec![("JobName", job.name().to_owned()), ("posix:Executable", job.executable().to_owned())];
    leaves.extend(job.args().iter().map(|arg| ("posix:Argument", arg.clone())));
    leaves.push(("posix:Output", "stdout.txt".into()));
    leaves.push(("posix:Error", "stderr.txt".into()));
    for input in job.inputs() {
        leaves.push(("FileName", input.name().unwrap().into()));
        leaves.push(("CreationFlag", "overwrite".into()));
        let InputSource::File(path) = input.source() else { panic!("{input:?}") };
        leaves.push(("URI", file_uri(&absolute(path).unwrap())));
    }
    for output in job.outputs() {
        leaves.push(("FileName", output.name().into()));
        leaves.push(("CreationFlag", "overwrite".into()));
        leaves.push(("DeleteOnTermination", "false".into()));
    }
    leaves.into_iter().map(|(name, text)| (name.to_owned(), text)).collect()
}

#[test]
fn nasty_strings_survive() {
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
    assert_eq!(leaves(&job.to_jsdl().unwrap()), expected(&job));

    for text in &nasty[1..] {
        let job = JobDescription::new("/opt/<my> & é/program").with_name(*text);
        assert_eq!(leaves(&job.to_jsdl().unwrap()), expected(&job));
    }
}

proptest! {
    #[test]
    fn any_valid_description_survives(
        texts in prop::collection::vec(text(), 3..8),
        names in prop::collection::vec(text(), 0..8),
    ) {
        let mut job = JobDescription::new(&texts[0]).with_name(&texts[1]).with_args(&texts[2..]);
        for (n, name) in iter::zip(0.., &names) {
            let session_name = format!("{name}{n}");
            job = job.with_input_file_as(format!("/{session_name}"), &session_name).with_output_file(session_name);
        }
        match job.to_jsdl() {
            Ok(jsdl) => prop_assert_eq!(leaves(&jsdl), expected(&job)),
            Err(_) => prop_assert!(job.validate().is_err() || names.iter().any(|name| name.starts_with('@'))),
        }
    }
}

/// Text of characters that something on the way may treat specially, seldom with one that XML lacks.
fn text() -> impl Strategy<Value = String> {
    let special: Vec<char> = "\t\n\r <>&'\"]]>\\;#%$x\u{85}\u{2028}é\u{1f30d}".chars().collect();
    let character = prop_oneof![20 => prop::sample::select(special), 1 => any::<char>()];
    prop::collection::vec(character, 0..12).prop_map(String::from_iter)
}

#[test]
fn relative_sources_become_absolute() {
    let jsdl = JobDescription::new("x").with_input_file("a").to_jsdl().unwrap();
    let uri = file_uri(&std::env::current_dir().unwrap().join("a"));
    assert!(leaves(&jsdl).contains(&("URI".into(), uri)));
}

#[test]
fn invalid_descriptions_have_no_jsdl() {
    assert!(matches!(JobDescription::new("").to_jsdl(), Err(Error::InvalidJobDescription { .. })));
    let twice = JobDescription::new("x").with_input_file("a/x").with_input_file("b/x");
    assert!(matches!(twice.to_jsdl(), Err(Error::InputFile { .. })));
}
