//! Reads and writes XML documents as trees, for job descriptions and the information that CEs publish.
//!
//! Reading is safe for documents of unknown origin. It expands only XML's five own entities and characters by number,
//! fetches nothing, and limits the depth and the number of elements.

use std::io;

use quick_xml::Writer;
use quick_xml::escape::{escape, resolve_xml_entity};
use quick_xml::events::{BytesDecl, BytesStart, BytesText, Event};
use quick_xml::name::{Namespace, NamespaceResolver, PrefixDeclaration, ResolveResult};
use quick_xml::reader::NsReader;

/// The deepest nesting of elements. Real documents have about ten levels.
const MAX_DEPTH: usize = 64;

/// The longest namespace that a document may use, in bytes. Those of job descriptions and GLUE2 have at most 60.
const MAX_NAMESPACE: usize = 200;

/// The largest number of elements and attributes. Each takes about 150 bytes of memory. A CE with a thousand queues
/// publishes 50,000.
const MAX_NODES: usize = 500_000;

/// The namespace of the attributes with which a document names its schemas and types. The reader skips those in
/// [`HINTS`], because they are not content. It keeps `nil`, which is content.
const SCHEMA_INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";
const HINTS: [&str; 3] = ["schemaLocation", "noNamespaceSchemaLocation", "type"];

/// An element with its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    /// The namespace. Empty if there is none.
    pub(crate) namespace: String,
    /// The name, without its prefix.
    pub(crate) name: String,
    /// Names with their prefixes, and values. Excludes declarations of namespaces and names of schemas.
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) children: Vec<Element>,
    /// The text in the element itself, without the text in its children.
    pub(crate) text: String,
}

impl Element {
    /// Returns the children with a name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// Returns the first child with a name.
    pub(crate) fn get(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first child with a name, without surrounding white space. `None` if it is empty.
    pub(crate) fn text_of(&self, name: &str) -> Option<&str> {
        self.get(name).map(|child| child.text.trim()).filter(|text| !text.is_empty())
    }

    /// Reads a document. The error describes the problem and its line.
    pub(crate) fn parse(document: &str) -> Result<Element, String> {
        Element::parse_up_to(document, MAX_NODES)
    }

    /// Reads a document of at most `max_nodes` elements and attributes.
    pub(crate) fn parse_up_to(document: &str, max_nodes: usize) -> Result<Element, String> {
        let mut reader = NsReader::from_str(document);
        let mut open: Vec<Element> = Vec::new();
        let mut root = None;
        let mut count = 0;
        loop {
            let (namespace, event) = match reader.read_resolved_event() {
                Ok(event) => event,
                Err(error) => {
                    let message = error.to_string();
                    let before = usize::try_from(reader.error_position()).unwrap_or(document.len());
                    let lines = document.as_bytes().iter().take(before).filter(|byte| **byte == b'\n').count();
                    return Err(format!("line {}: {message}", lines + 1));
                }
            };
            let namespace = match namespace {
                // Each element has a copy of its namespace.
                ResolveResult::Bound(namespace) if namespace.as_ref().len() > MAX_NAMESPACE => {
                    return Err(format!("a namespace is longer than {MAX_NAMESPACE} bytes"));
                }
                ResolveResult::Bound(namespace) => utf8(namespace.as_ref()).to_owned(),
                ResolveResult::Unbound => String::new(),
                ResolveResult::Unknown(prefix) => {
                    return Err(format!("the prefix {:?} is not declared", utf8(&prefix)));
                }
            };
            if let Event::Start(start) | Event::Empty(start) = &event {
                count += 1 + start.attributes().with_checks(false).count();
                if count > max_nodes {
                    return Err(format!("there are more than {max_nodes} elements and attributes"));
                }
            }
            match event {
                Event::Start(start) => {
                    if root.is_some() && open.is_empty() {
                        return Err("there is text after the document".into());
                    }
                    if open.len() == MAX_DEPTH {
                        return Err(format!("elements are nested more than {MAX_DEPTH} deep"));
                    }
                    open.push(element(namespace, &start, reader.resolver())?);
                }
                Event::Empty(start) => {
                    if root.is_some() && open.is_empty() {
                        return Err("there is text after the document".into());
                    }
                    close(element(namespace, &start, reader.resolver())?, &mut open, &mut root);
                }
                Event::End(_) => {
                    if let Some(element) = open.pop() {
                        close(element, &mut open, &mut root);
                    }
                }
                Event::Text(text) => add(&text.xml10_content().map_err(|error| error.to_string())?, &mut open)?,
                Event::CData(text) => add(&text.xml10_content().map_err(|error| error.to_string())?, &mut open)?,
                Event::GeneralRef(reference) => {
                    match reference.resolve_char_ref().map_err(|error| error.to_string())? {
                        Some(character) => add(character.encode_utf8(&mut [0; 4]), &mut open)?,
                        None => {
                            let name = utf8(&reference);
                            let text =
                                resolve_xml_entity(name).ok_or_else(|| format!("the entity &{name}; is unknown"))?;
                            add(text, &mut open)?;
                        }
                    }
                }
                Event::DocType(_) => return Err("a document type is not allowed".into()),
                Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
                Event::Eof if !open.is_empty() => return Err("the document ends early".into()),
                Event::Eof => return root.ok_or_else(|| "there is no element".into()),
            }
        }
    }

    /// Writes a document with this root, indented by two blanks. Every namespace in it must be among `prefixes`, of which
    /// the empty one is the default namespace.
    pub(crate) fn to_document(&self, prefixes: &[(&str, &str)]) -> String {
        let declaration = |(prefix, namespace): &(&str, &str)| {
            let colon = if prefix.is_empty() { "" } else { ":" };
            (format!("xmlns{colon}{prefix}"), (*namespace).to_owned())
        };
        let declarations: Vec<(String, String)> = prefixes.iter().map(declaration).collect();
        let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
        xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))
            .and_then(|()| self.write(&mut xml, prefixes, &declarations))
            .expect("writing to a Vec does not fail");
        let mut text = String::from_utf8(xml.into_inner()).expect("the writer gets UTF-8 only");
        text.push('\n');
        text
    }

    fn write(
        &self,
        xml: &mut Writer<Vec<u8>>,
        prefixes: &[(&str, &str)],
        declarations: &[(String, String)],
    ) -> io::Result<()> {
        let prefix =
            prefixes.iter().find(|(_, namespace)| *namespace == self.namespace).map_or("", |(prefix, _)| prefix);
        let name = if prefix.is_empty() { self.name.clone() } else { format!("{prefix}:{}", self.name) };
        let attributes = declarations.iter().chain(&self.attributes);
        let attributes: Vec<(&str, String)> = attributes
            .map(|(name, value)| (name.as_str(), escaped(value).replace('\n', "&#10;").replace('\t', "&#9;")))
            .collect();
        let attributes = attributes.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let element = xml.create_element(name).with_attributes(attributes);
        if self.children.is_empty() {
            element.write_text_content(BytesText::from_escaped(escaped(&self.text)))?;
        } else {
            let write =
                |xml: &mut Writer<Vec<u8>>| self.children.iter().try_for_each(|child| child.write(xml, prefixes, &[]));
            element.write_inner_content(write)?;
        }
        Ok(())
    }
}

fn element(namespace: String, start: &BytesStart<'_>, resolver: &NamespaceResolver) -> Result<Element, String> {
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let is_declaration = matches!(
            attribute.key.as_namespace_binding(),
            Some(PrefixDeclaration::Default | PrefixDeclaration::Named(_))
        );
        let (namespace, name) = resolver.resolve_attribute(attribute.key);
        let is_hint = match namespace {
            ResolveResult::Bound(Namespace(namespace)) => {
                utf8(namespace) == SCHEMA_INSTANCE && HINTS.contains(&utf8(name.as_ref()))
            }
            ResolveResult::Unbound => false,
            ResolveResult::Unknown(prefix) => return Err(format!("the prefix {:?} is not declared", utf8(&prefix))),
        };
        if !is_declaration && !is_hint {
            let value = quick_xml::escape::unescape(utf8(&attribute.value)).map_err(|error| error.to_string())?;
            attributes.push((utf8(attribute.key.as_ref()).to_owned(), value.into_owned()));
        }
    }
    let name = utf8(start.local_name().as_ref()).to_owned();
    Ok(Element { namespace, name, attributes, ..Element::default() })
}

/// Escapes text. Readers take a carriage return that is not escaped for a newline.
fn escaped(text: &str) -> String {
    escape(text).replace('\r', "&#13;")
}

/// A part of a document that was read from a string, which is therefore UTF-8.
pub(crate) fn utf8(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn close(element: Element, open: &mut [Element], root: &mut Option<Element>) {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None => *root = Some(element),
    }
}

fn add(text: &str, open: &mut [Element]) -> Result<(), String> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim_start_matches('\u{feff}').trim().is_empty() => {}
        None => return Err("there is text outside of the document".into()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaf(name: &str, text: &str) -> Element {
        Element { name: name.into(), text: text.into(), ..Element::default() }
    }

    #[test]
    fn documents_are_read_as_trees() {
        let text = "\u{feff}<?xml version='1.0'?><!-- c --><a xmlns='n' xmlns:p='m' x='&lt;1&#33;'>\r\n<p:b/>&amp;<c><![CDATA[<&]]></c>\n</a>\n";
        let root = Element::parse(text).unwrap();
        assert_eq!((root.namespace.as_str(), root.name.as_str(), root.text.as_str()), ("n", "a", "\n&\n"));
        assert_eq!(root.attributes, [("x".to_owned(), "<1!".to_owned())]);
        assert_eq!(root.children[0], Element { namespace: "m".into(), ..leaf("b", "") });
        assert_eq!(root.children[1], Element { namespace: "n".into(), ..leaf("c", "<&") });
    }

    #[test]
    fn names_of_schemas_are_not_attributes() {
        let text = "<a xmlns:i='http://www.w3.org/2001/XMLSchema-instance' xmlns:type='m' i:schemaLocation='n s.xsd' i:type='t' \
                    type='u' i:nil='true' type:type='v' xml:lang='en'/>";
        let names: Vec<_> = Element::parse(text).unwrap().attributes.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["type", "i:nil", "type:type", "xml:lang"]);
    }

    #[test]
    fn malformed_documents_are_refused() {
        let bomb = "<!DOCTYPE a [<!ENTITY b 'xx'><!ENTITY c '&b;&b;'>]><a>&c;</a>";
        let deep = "<a>".repeat(100_000);
        let wide = format!("<a>{}</a>", "<b/>".repeat(MAX_NODES));
        let many = format!("<a {}/>", (0..MAX_NODES).map(|n| format!("b{n}='' ")).collect::<String>());
        for (text, why) in [
            (bomb, "document type"),
            ("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", "document type"),
            ("<a>&b;</a>", "entity &b;"),
            ("<a b='&c;'/>", ""),
            (&deep, "nested"),
            (&wide, "more than"),
            (&many, "more than"),
            ("<a>\n<b>", "ends early"),
            ("<a>\n</b>", "line 2"),
            ("", "no element"),
            ("text", "outside"),
            ("<a/><b/>", "after"),
            ("<a/>x", "outside"),
            ("<p:a/>", "prefix"),
            ("<a p:b='1'/>", "prefix"),
            ("<a b='1' b='2'/>", ""),
            ("<a>&#0;</a>", ""),
        ] {
            let error = Element::parse(text).unwrap_err();
            assert!(error.contains(why), "{}: {error}", &text[..text.len().min(100)]);
        }
    }

    #[test]
    fn trees_are_written_as_documents() {
        let text = "\u{85}\t\n\r <&>\"']]> ";
        let attributes = vec![("x".to_owned(), text.to_owned())];
        let child = Element { namespace: "m".into(), attributes, ..leaf("b", text) };
        let empty = Element { namespace: "n".into(), ..leaf("c", "") };
        let root = Element { namespace: "n".into(), children: vec![child, empty], ..leaf("a", "") };
        let document = root.to_document(&[("", "n"), ("p", "m")]);
        let start = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<a xmlns=\"n\" xmlns:p=\"m\">\n  <p:b x=";
        assert!(document.starts_with(start) && document.ends_with("</p:b>\n  <c></c>\n</a>\n"), "{document}");
        let read = Element::parse(&document).unwrap();
        assert_eq!((read.children[0].text.as_str(), &read.children[1]), (text, &root.children[1]));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[<>/!\\[\\]&;#x0-9a-c='\"\\-? \n:]{0,200}") {
            let _ = Element::parse(&text);
        }

        #[test]
        fn damaged_documents_are_read_or_refused(cut in 0..400_usize, junk in "\\PC{0,8}") {
            let whole = "<a xmlns:p='urn:x' q='1'><p:b>text &amp; &#x41;</p:b><![CDATA[<]]><!-- c --><d/></a>".repeat(4);
            let mut cut = cut.min(whole.len());
            while !whole.is_char_boundary(cut) { cut -= 1; }
            let _ = Element::parse(&format!("{}{junk}{}", &whole[..cut], &whole[cut..]));
        }
    }
}
