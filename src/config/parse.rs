//! Reads a configuration from JSON, locates errors by line and key, and warns about unknown keys.

use std::path::Path;
use std::{fmt, fs};

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_path_to_error::{Segment, Track};

use super::{ConnectionConfig, KEYS};
use crate::error::{Error, Result};
use crate::logging::{self, LogLevel};

/// Receives warnings about unknown keys.
pub(super) type Warn<'a> = &'a mut dyn FnMut(String);

pub(super) fn log_warning(message: String) {
    logging::log(LogLevel::Warning, message);
}

pub(super) fn read_file(path: &Path, warn: Warn<'_>) -> Result<ConnectionConfig> {
    let text = fs::read(path).map_err(|error| Error::InvalidConfig {
        path: Some(path.to_owned()),
        line: None,
        key: None,
        message: "the file cannot be read".to_owned(),
        source: Some(error.into()),
    })?;
    parse(&text, Some(path), warn)
}

/// Parses and validates `text`, which comes from the file `path` if there is one.
pub(super) fn parse(text: &[u8], path: Option<&Path>, warn: Warn<'_>) -> Result<ConnectionConfig> {
    let invalid = |line, key: Option<&str>, message| Error::InvalidConfig {
        path: path.map(Path::to_owned),
        line,
        key: key.map(str::to_owned),
        message,
        source: None,
    };
    if text.trim_ascii().is_empty() {
        let message = "it is empty; write a JSON object, at least {}".to_owned();
        let line = text.iter().filter(|byte| **byte == b'\n').count() + 1;
        return Err(invalid(Some(line), None, message));
    }
    let mut json = serde_json::Deserializer::from_slice(text);
    let mut track = Track::new();
    let mut ignored = |key: serde_ignored::Path<'_>| warn(unknown_key(&key.to_string(), path));
    let deserializer = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let config = serde_ignored::Deserializer::new(deserializer, &mut ignored).deserialize_map(ObjectVisitor);
    let config = config.and_then(|config| json.end().map(|()| config)).map_err(|error| {
        let text = error.to_string();
        // serde_json appends the position. Our error has a field for the line, so it is removed here.
        let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
        // serde reports a repeated key before it enters the value, so the path does not contain the key.
        let duplicate = message.strip_prefix("duplicate field `").and_then(|rest| rest.strip_suffix('`'));
        let path = track.path();
        let key = match path.iter().next() {
            Some(Segment::Map { key }) => Some(key.as_str()),
            _ => duplicate,
        };
        // The parser's error contains nothing else, so the new error does not keep it as its source.
        invalid(Some(error.line()).filter(|line| *line > 0), key, message.to_owned())
    })?;
    match config.check() {
        Ok(()) => Ok(config),
        Err((key, message)) => Err(invalid(line_of(key, text), Some(key), message)),
    }
}

/// Accepts only an object. The derived `Deserialize` would also accept an array of values.
struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = ConnectionConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ConnectionConfig, A::Error> {
        ConnectionConfig::deserialize(MapAccessDeserializer::new(map))
    }
}

/// Reads the value of a key. Refuses `null`, because writing the configuration would omit the key.
pub(super) fn value<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// One text or a list of texts, as the document has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Texts {
    pub(super) fn as_slice(&self) -> &[String] {
        match self {
            Texts::One(text) => std::slice::from_ref(text),
            Texts::Many(texts) => texts,
        }
    }
}

/// A derived implementation would report the wrong line.
impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Texts, D::Error> {
        struct TextsVisitor;

        impl<'de> Visitor<'de> for TextsVisitor {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }

            fn visit_str<E>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, texts: A) -> Result<Texts, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(texts)).map(Texts::Many)
            }
        }

        deserializer.deserialize_any(TextsVisitor)
    }
}

/// Reads a number of seconds. The error for any other value shows `EXAMPLE` as a valid one.
pub(super) fn seconds<'de, const EXAMPLE: u64, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    struct Seconds<const EXAMPLE: u64>;

    impl<const EXAMPLE: u64> Visitor<'_> for Seconds<EXAMPLE> {
        type Value = Option<u64>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a whole number of seconds, such as {EXAMPLE}")
        }

        fn visit_u64<E>(self, seconds: u64) -> Result<Option<u64>, E> {
            Ok(Some(seconds))
        }
    }

    deserializer.deserialize_u64(Seconds::<EXAMPLE>)
}

fn unknown_key(key: &str, path: Option<&Path>) -> String {
    let place = path.map(|path| format!("{}: ", path.display())).unwrap_or_default();
    let distance = |known: &str| strsim::osa_distance(&key.to_uppercase(), known);
    // Keys that differ in more than a third of their letters are not misspellings of each other.
    let near = KEYS.into_iter().filter(|known| distance(known) <= known.len() / 3).min_by_key(|known| distance(known));
    let hint = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
    format!("{place}{key:?} is not a configuration key{hint}")
}

/// Finds the line of `key` in a JSON object that contains the key at most once.
fn line_of(key: &str, text: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(text);
    let quoted = format!("\"{key}\"");
    // A colon follows a key, but not a value that happens to be the same string.
    let is_key = |at: usize| text[at + quoted.len()..].trim_start().starts_with(':');
    let (at, _) = text.match_indices(&quoted).find(|(at, _)| is_key(*at))?;
    Some(text[..at].matches('\n').count() + 1)
}
