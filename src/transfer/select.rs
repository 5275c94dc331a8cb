//! [`Selection`]: which files of a job are wanted.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::error::{Error, Result};

/// Which files of a job are wanted: all, or those with a name or a pattern.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    /// Files, and directories that stand for all that is below them.
    names: HashSet<PathBuf>,
    /// The directories on the way to the names.
    ways: HashSet<PathBuf>,
    patterns: GlobSet,
    reaches: Vec<Reach>,
    /// The names and patterns as they were given, for messages.
    given: Vec<PathBuf>,
}

/// The directories in which a pattern can find files.
#[derive(Clone, Debug)]
struct Reach {
    /// The part of the pattern before the first component with a special character.
    prefix: PathBuf,
    /// The maximum number of components of a path that matches. `None` if there is no maximum.
    depth: Option<usize>,
}

/// The names and patterns that have selected something.
#[derive(Debug, Default)]
pub(crate) struct Used {
    names: HashSet<PathBuf>,
    patterns: HashSet<usize>,
}

impl Selection {
    /// Selects the files with these names or below directories with these names, and those that match a pattern. Without
    /// names and patterns, selects all files.
    pub(crate) fn new(names: &[PathBuf], patterns: &[String]) -> Result<Selection> {
        let normal = |name: &PathBuf| -> PathBuf {
            name.components().filter(|component| !matches!(component, Component::CurDir)).collect()
        };
        let names: HashSet<PathBuf> = names.iter().map(normal).collect();
        let ways = names.iter().flat_map(|name| name.ancestors().skip(1)).map(Path::to_owned).collect();
        let mut set = GlobSetBuilder::new();
        let patterns: Vec<&str> = patterns.iter().map(|pattern| pattern.trim_start_matches("./")).collect();
        for pattern in &patterns {
            // `*` stays within a directory, as in a shell.
            let glob = GlobBuilder::new(pattern).literal_separator(true).build();
            set.add(glob.map_err(|error| invalid(pattern, error.kind().to_string()))?);
        }
        let patterns_set = set.build().map_err(|error| invalid(&patterns.join(" "), error.kind().to_string()))?;
        let mut given: Vec<PathBuf> = names.iter().cloned().collect();
        given.sort_unstable();
        given.extend(patterns.iter().map(PathBuf::from));
        let reaches = patterns.iter().copied().map(Reach::of).collect();
        Ok(Selection { names, ways, patterns: patterns_set, reaches, given })
    }

    pub(crate) fn is_everything(&self) -> bool {
        self.given.is_empty()
    }

    /// Whether a file is wanted.
    pub(crate) fn selects(&self, path: &Path, used: &mut Used) -> bool {
        if self.is_everything() {
            return true;
        }
        let by_name = path.ancestors().find(|ancestor| self.names.contains(*ancestor));
        if let Some(name) = by_name.filter(|name| !used.names.contains(*name)) {
            used.names.insert(name.to_owned());
        }
        let by_pattern = self.patterns.matches(path);
        used.patterns.extend(&by_pattern);
        by_name.is_some() || !by_pattern.is_empty()
    }

    /// Notes names that stand for directories of the job. Such a name is not missing, even if the directory is empty.
    pub(crate) fn note_directories(&self, directories: &[OsString], used: &mut Used) {
        let named = directories.iter().map(Path::new).filter(|directory| self.names.contains(*directory));
        used.names.extend(named.map(Path::to_owned));
    }

    /// Whether a wanted file may be in a directory or below it.
    pub(crate) fn enters(&self, directory: &Path) -> bool {
        self.is_everything()
            || self.ways.contains(directory)
            || directory.ancestors().any(|ancestor| self.names.contains(ancestor))
            || self.reaches.iter().any(|reach| reach.enters(directory))
    }

    /// The names and patterns that have selected nothing.
    pub(crate) fn unused(&self, used: &Used) -> Vec<PathBuf> {
        let names = self.names.len();
        let is_used = |(index, given): &(usize, &PathBuf)| match index.checked_sub(names) {
            None => used.names.contains(*given),
            Some(pattern) => used.patterns.contains(&pattern),
        };
        self.given.iter().enumerate().filter(|given| !is_used(given)).map(|(_, given)| given.clone()).collect()
    }
}

impl Reach {
    fn of(pattern: &str) -> Reach {
        let is_special = |component: &&str| component.contains(['*', '?', '[', '{', '\\']);
        let components: Vec<&str> = pattern.split('/').collect();
        let literal = components.iter().position(is_special).unwrap_or(components.len().saturating_sub(1));
        let depth = (!pattern.contains("**")).then_some(components.len());
        Reach { prefix: components[..literal].iter().collect(), depth }
    }

    fn enters(&self, directory: &Path) -> bool {
        let is_deep = self.depth.is_some_and(|depth| directory.components().count() >= depth);
        !is_deep && (self.prefix.starts_with(directory) || directory.starts_with(&self.prefix))
    }
}

fn invalid(pattern: &str, message: String) -> Error {
    Error::InvalidPattern { pattern: pattern.into(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(names: &[&str], patterns: &[&str]) -> Selection {
        let names: Vec<PathBuf> = names.iter().map(PathBuf::from).collect();
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).into()).collect();
        Selection::new(&names, &patterns).unwrap()
    }

    #[test]
    fn names_and_patterns_select_files() {
        let selects = |selection: &Selection, path: &str| selection.selects(Path::new(path), &mut Used::default());
        assert!(selects(&selection(&[], &[]), "any/thing"));
        let some = selection(&["./stdout.txt", "out/", "a[1].txt"], &["./*.nc", "run/**/*.log", "x/{a,b}/?"]);
        for path in
            ["stdout.txt", "out/a", "out/deep/b", "a[1].txt", "t.nc", "run/a.log", "run/1/2/b.log", "x/a/1", "x/b/2"]
        {
            assert!(selects(&some, path), "{path}");
        }
        for path in ["stdout.txt2", "a1.txt", "deep/t.nc", "a.log", "x/c/1", "x/a/12", "outer/a", "out2"] {
            assert!(!selects(&some, path), "{path}");
        }
    }

    #[test]
    fn directories_without_wanted_files_are_not_entered() {
        let enters = |selection: &Selection, path: &str| selection.enters(Path::new(path));
        let some = selection(&["a/b/c"], &["*.nc", "run/*/x", "deep/**"]);
        for path in ["a", "a/b", "a/b/c", "a/b/c/d", "run", "run/1", "deep", "deep/1/2/3"] {
            assert!(enters(&some, path), "{path}");
        }
        for path in ["b", "a/c", "run/1/x", "work", "runs"] {
            assert!(!enters(&some, path), "{path}");
        }
        assert!(enters(&selection(&[], &[]), "any") && enters(&selection(&[], &["**/*.nc"]), "any/where"));
        assert!(enters(&selection(&[], &["{a/b,c}/d"]), "a/b"));
    }

    #[test]
    fn names_and_patterns_without_files_are_told() {
        let some = selection(&["a", "b"], &["*.nc", "*.log"]);
        let mut used = Used::default();
        for path in ["a/1", "t.nc", "other"] {
            some.selects(Path::new(path), &mut used);
        }
        assert_eq!(some.unused(&used), [Path::new("b"), Path::new("*.log")]);
        // A directory without files is there.
        some.note_directories(&["b".into(), "c.log".into()], &mut used);
        assert_eq!(some.unused(&used), [Path::new("*.log")]);
        assert!(selection(&[], &[]).unused(&Used::default()).is_empty());
    }

    #[test]
    fn bad_patterns_are_errors() {
        let error = Selection::new(&[], &["a[".into()]).unwrap_err();
        assert!(matches!(&error, Error::InvalidPattern { pattern, .. } if pattern == "a["), "{error}");
    }
}
