//! Reads the XML of a job description language with a table of the supported elements.

use std::collections::HashMap;

use super::time::number;
use crate::description::invalid;
use crate::error::{Error, Result};
use crate::util::xml::Element;

/// The elements and attributes that documents of a language may contain. Everything else is an error.
pub(super) struct Language {
    pub(super) name: &'static str,
    pub(super) root: &'static str,
    /// The prefixes in the table, and their namespaces. The first entry is for names without a prefix.
    pub(super) namespaces: &'static [(&'static str, &'static str)],
    /// Attributes that every element may have, by name or as `name=value`, with blanks between them.
    pub(super) attributes: &'static str,
    /// The name of an element, or `parent/name` where the parent matters; its attributes; and its children, with a `*` if
    /// there may be several. Attributes and children have blanks between them. An element that is not in the table
    /// contains text only, and one with the child `#text` may.
    pub(super) elements: &'static [(&'static str, &'static str, &'static str)],
}

/// An element and its place in the document.
#[derive(Clone, Debug)]
pub(super) struct Part<'a> {
    language: &'static str,
    pub(super) element: &'a Element,
    /// The names of the elements below the root, such as `JobDescription/DataStaging[2]`.
    pub(super) path: String,
}

/// An element that is absent.
static ABSENT: Element = Element {
    namespace: String::new(),
    name: String::new(),
    attributes: Vec::new(),
    children: Vec::new(),
    text: String::new(),
};

impl Language {
    /// Checks a whole document against the table, and returns its root.
    pub(super) fn check<'a>(&self, root: &'a Element) -> Result<Part<'a>> {
        if root.name != self.root {
            return Err(invalid(format!("{} is not the root of a document in {}", root.name, self.name)));
        }
        self.check_namespace(root, self.namespaces[0].1, self.root)?;
        self.check_element(root, "", self.root)?;
        Ok(Part { language: self.name, element: root, path: String::new() })
    }

    fn check_element(&self, element: &Element, parent: &str, path: &str) -> Result<()> {
        let is_this = |known: &str| match known.split_once('/') {
            Some((known_parent, name)) => known_parent == parent && name == element.name,
            None => known == element.name,
        };
        let known = self.elements.iter().find(|(known, ..)| is_this(known));
        let (_, attributes, children) = known.copied().unwrap_or_default();
        let children: Vec<KnownChild> = children.split_whitespace().map(|known| self.known_child(known)).collect();
        let name_of_language = self.name;
        for (name, value) in &element.attributes {
            let is_allowed = |known: &str| known == name || known.split_once('=') == Some((name, value));
            if !attributes.split(' ').chain(self.attributes.split(' ')).any(is_allowed) {
                let message = format!("the {name_of_language} attribute {name} of {path} is not supported");
                return Err(invalid(format!("{message} (its value is {value:?})")));
            }
        }
        let text = trim(&element.text);
        if !children.is_empty() && !children.iter().any(|known| known.name == "#text") && !text.is_empty() {
            return Err(invalid(format!(
                "the {name_of_language} element {path} has the text {text:?} between its elements"
            )));
        }
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for child in &element.children {
            *counts.entry(&child.name).or_default() += 1;
        }
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for child in &element.children {
            let name = child.name.as_str();
            let position = seen.entry(name).and_modify(|n| *n += 1).or_insert(1);
            let count = counts.get(name).copied().unwrap_or(1);
            let of_parent = if path == self.root { "" } else { path };
            let path = below(of_parent, name, *position, count);
            let mut known = children.iter().filter(|known| known.name == name);
            let Some(first) = known.next() else {
                return Err(invalid(format!("the {name_of_language} element {path} is not supported")));
            };
            let known = known.find(|known| known.namespace == child.namespace).unwrap_or(first);
            self.check_namespace(child, known.namespace, &path)?;
            if count > 1 && !known.is_repeated {
                let path = below(of_parent, name, 1, 1);
                return Err(invalid(format!("the {name_of_language} element {path} appears twice")));
            }
            self.check_element(child, &element.name, &path)?;
        }
        Ok(())
    }

    fn known_child(&self, known: &'static str) -> KnownChild {
        let (prefix, name) = known.split_once(':').unwrap_or(("", known));
        let namespace = self.namespaces.iter().find(|(known, _)| *known == prefix).map_or("", |(_, uri)| uri);
        let name_alone = name.trim_end_matches('*');
        KnownChild { namespace, name: name_alone, is_repeated: name_alone != name }
    }

    fn check_namespace(&self, element: &Element, right: &str, path: &str) -> Result<()> {
        let wrong = &element.namespace;
        if wrong == right {
            return Ok(());
        }
        let name = self.name;
        Err(invalid(format!("the {name} element {path} is in the XML namespace {wrong:?}, not in {right:?}")))
    }
}

/// An entry of the table's third column.
struct KnownChild {
    namespace: &'static str,
    name: &'static str,
    is_repeated: bool,
}

impl<'a> Part<'a> {
    /// All children with a name.
    pub(super) fn all(&self, name: &str) -> Vec<Part<'a>> {
        let found: Vec<&Element> = self.element.children.iter().filter(|child| child.name == name).collect();
        let count = found.len();
        let part = |(n, element)| self.child(element, below(&self.path, name, n + 1, count));
        found.into_iter().enumerate().map(part).collect()
    }

    /// The child with a name, if there is one.
    pub(super) fn get(&self, name: &str) -> Option<Part<'a>> {
        let element = self.element.children.iter().find(|child| child.name == name)?;
        Some(self.child(element, below(&self.path, name, 1, 1)))
    }

    /// The child with a name, or an empty element if there is none.
    pub(super) fn inside(&self, name: &str) -> Part<'a> {
        self.get(name).unwrap_or_else(|| self.child(&ABSENT, below(&self.path, name, 1, 1)))
    }

    fn child(&self, element: &'a Element, path: String) -> Part<'a> {
        Part { language: self.language, element, path }
    }

    /// The text, including white space.
    pub(super) fn text(&self) -> &'a str {
        &self.element.text
    }

    /// The text of a child, if there is such a child.
    pub(super) fn text_of(&self, name: &str) -> Option<String> {
        self.get(name).map(|part| part.text().to_owned())
    }

    /// Returns the texts of all children with a name.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        self.all(name).iter().map(|part| part.text().to_owned()).collect()
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&'a str> {
        self.element.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Creates an error about this element. `message` is the predicate of the sentence.
    pub(super) fn error(&self, message: impl AsRef<str>) -> Error {
        invalid(format!("the {} element {} {}", self.language, self.path, message.as_ref()))
    }

    /// Parses the text without surrounding white space. `what` describes the allowed values in the error.
    pub(super) fn value<T>(&self, parse: impl Fn(&str) -> Option<T>, what: &str) -> Result<T> {
        let text = trim(self.text());
        parse(text).ok_or_else(|| self.error(format!("is {text:?}, which is not {what}")))
    }

    /// Reads a child, if it exists.
    pub(super) fn optional<T>(&self, name: &str, read: impl Fn(&Part<'a>) -> Result<T>) -> Result<Option<T>> {
        self.get(name).as_ref().map(read).transpose()
    }

    pub(super) fn integer(&self) -> Result<u64> {
        self.value(integer, "a whole number that is not negative and below 2^64")
    }

    pub(super) fn count(&self) -> Result<u32> {
        self.value(|text| integer(text)?.try_into().ok(), "a whole number that is not negative and below 2^32")
    }

    /// Accepts upper and lower case, as ARC does.
    pub(super) fn boolean(&self) -> Result<bool> {
        self.value(boolean, "true or false")
    }
}

fn below(path: &str, name: &str, n: usize, count: usize) -> String {
    let slash = if path.is_empty() { "" } else { "/" };
    let position = if count > 1 { format!("[{n}]") } else { String::new() };
    format!("{path}{slash}{name}{position}")
}

/// Removes XML's white space around a text.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n'])
}

/// Reads an `xsd:nonNegativeInteger`.
pub(super) fn integer(text: &str) -> Option<u64> {
    number(text.strip_prefix('+').unwrap_or(text))
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_booleans_are_those_of_xml_schema() {
        assert_eq!(["0", "+7", "007"].map(integer), [Some(0), Some(7), Some(7)]);
        assert_eq!(["", "+", "-1", "1.0", "1e3", "18446744073709551616"].map(integer), [None; 6]);
        assert_eq!(["true", "1", "TRUE", "false", "0"].map(boolean), [true, true, true, false, false].map(Some));
        assert_eq!(["", "yes", "2"].map(boolean), [None; 3]);
    }
}
