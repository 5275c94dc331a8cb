//! [`JobDescription`] as JSDL.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use crate::description::JobDescription;
use crate::error::Result;
use crate::uri::encode_path;

const JSDL: &str = "http://schemas.ggf.org/jsdl/2005/11/jsdl";
const POSIX: &str = "http://schemas.ggf.org/jsdl/2005/11/jsdl-posix";

impl JobDescription {
    /// The description as a document in JSDL 1.0 with its POSIX application, valid by the standard's schemas.
    ///
    /// No current ARC-CE reads JSDL: submitting a job does not use this. It is for other programs, and for the eye.
    ///
    /// An XML parser gives every string back as it is here. The standard, though, calls an argument a
    /// `normalizedString`: a program that reads the document by its schema sees a blank for each tab, line feed and
    /// carriage return in an argument (and in nothing else).
    ///
    /// The local files are given as absolute `file:` URLs, percent-encoded byte by byte; they are not looked at.
    ///
    /// # Errors
    ///
    /// Those of [`JobDescription::validate`], and [`Error::InputFile`](crate::Error::InputFile) for a relative path
    /// when the working directory is gone.
    ///
    /// ```
    /// use jasmin_arc::JobDescription;
    ///
    /// let jsdl = JobDescription::new("/bin/cat")
    ///     .with_args(["R&D notes", ""])
    ///     .with_input_file("/home/me/R&D notes")
    ///     .with_output_file("results")
    ///     .to_jsdl()?;
    /// assert_eq!(
    ///     jsdl,
    ///     r#"<?xml version="1.0" encoding="UTF-8"?>
    /// <JobDefinition xmlns="http://schemas.ggf.org/jsdl/2005/11/jsdl" xmlns:posix="http://schemas.ggf.org/jsdl/2005/11/jsdl-posix">
    ///   <JobDescription>
    ///     <JobIdentification>
    ///       <JobName>ARC job</JobName>
    ///     </JobIdentification>
    ///     <Application>
    ///       <posix:POSIXApplication>
    ///         <posix:Executable>/bin/cat</posix:Executable>
    ///         <posix:Argument>R&amp;D notes</posix:Argument>
    ///         <posix:Argument></posix:Argument>
    ///         <posix:Output>stdout.txt</posix:Output>
    ///         <posix:Error>stderr.txt</posix:Error>
    ///       </posix:POSIXApplication>
    ///     </Application>
    ///     <DataStaging>
    ///       <FileName>R&amp;D notes</FileName>
    ///       <CreationFlag>overwrite</CreationFlag>
    ///       <Source>
    ///         <URI>file:///home/me/R%26D%20notes</URI>
    ///       </Source>
    ///     </DataStaging>
    ///     <DataStaging>
    ///       <FileName>results</FileName>
    ///       <CreationFlag>overwrite</CreationFlag>
    ///       <DeleteOnTermination>false</DeleteOnTermination>
    ///     </DataStaging>
    ///   </JobDescription>
    /// </JobDefinition>
    /// "#
    /// );
    /// # Ok::<(), jasmin_arc::Error>(())
    /// ```
    pub fn to_jsdl(&self) -> Result<String> {
        self.validate()?;
        let mut inputs = Vec::new();
        for input in self.input_files() {
            inputs.push((input.checked_name()?, file_uri(&input.absolute_path()?)));
        }
        let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
        write_document(&mut xml, self, &inputs).expect("a Vec takes all that is written");
        let mut text = String::from_utf8(xml.into_inner()).expect("all that was written is UTF-8");
        text.push('\n');
        Ok(text)
    }
}

type Xml = Writer<Vec<u8>>;

// The schemas prescribe the order of elements everywhere.
fn write_document(xml: &mut Xml, job: &JobDescription, inputs: &[(&str, String)]) -> io::Result<()> {
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let root = xml.create_element("JobDefinition").with_attributes([("xmlns", JSDL), ("xmlns:posix", POSIX)]);
    root.write_inner_content(|xml| {
        parent(xml, "JobDescription", |xml| {
            parent(xml, "JobIdentification", |xml| leaf(xml, "JobName", job.name()))?;
            parent(xml, "Application", |xml| parent(xml, "posix:POSIXApplication", |xml| write_posix(xml, job)))?;
            for (name, uri) in inputs {
                parent(xml, "DataStaging", |xml| {
                    leaf(xml, "FileName", name)?;
                    leaf(xml, "CreationFlag", "overwrite")?;
                    parent(xml, "Source", |xml| leaf(xml, "URI", uri))
                })?;
            }
            for name in job.output_files() {
                parent(xml, "DataStaging", |xml| {
                    leaf(xml, "FileName", name)?;
                    leaf(xml, "CreationFlag", "overwrite")?;
                    leaf(xml, "DeleteOnTermination", "false")
                })?;
            }
            Ok(())
        })
    })?;
    Ok(())
}

fn write_posix(xml: &mut Xml, job: &JobDescription) -> io::Result<()> {
    leaf(xml, "posix:Executable", job.executable())?;
    for arg in job.args() {
        leaf(xml, "posix:Argument", arg)?;
    }
    leaf(xml, "posix:Output", job.stdout())?;
    leaf(xml, "posix:Error", job.stderr())
}

fn parent(xml: &mut Xml, name: &str, content: impl FnOnce(&mut Xml) -> io::Result<()>) -> io::Result<()> {
    xml.create_element(name).write_inner_content(content)?;
    Ok(())
}

fn leaf(xml: &mut Xml, name: &str, text: &str) -> io::Result<()> {
    xml.create_element(name).write_text_content(BytesText::new(text))?;
    Ok(())
}

fn file_uri(path: &Path) -> String {
    format!("file://{}", encode_path(path.as_os_str().as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::iter;

    use proptest::prelude::*;
    use quick_xml::Reader;
    use quick_xml::escape::resolve_xml_entity;

    use super::*;
    use crate::Error;

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
        for input in job.input_files() {
            leaves.push(("FileName", input.name().unwrap().into()));
            leaves.push(("CreationFlag", "overwrite".into()));
            leaves.push(("URI", file_uri(&std::path::absolute(input.source()).unwrap())));
        }
        for output in job.output_files() {
            leaves.push(("FileName", output.into()));
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
                job = job.with_input_file_as(format!("/{name}"), &session_name).with_output_file(session_name);
            }
            match job.to_jsdl() {
                Ok(jsdl) => prop_assert_eq!(leaves(&jsdl), expected(&job)),
                Err(_) => prop_assert!(job.validate().is_err()),
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
    fn uris_are_percent_encoded() {
        let path = Path::new(OsStr::from_bytes(b"/a b/%20?x=1;y#z/\xc3\xa9\xff\n~-._Z9"));
        assert_eq!(file_uri(path), "file:///a%20b/%2520%3Fx%3D1%3By%23z/%C3%A9%FF%0A~-._Z9");
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
}
