//! The workspace as files: which there are, and what is found in them.
//!
//! Paths are relative to the workspace's root, with slashes. What tools generate is left out.

use std::path::Path;
use std::{fmt, fs, io};

use super::source::Source;

/// The files of the workspace.
pub(crate) struct Tree {
    /// Rust.
    pub(crate) sources: Vec<Source>,
    /// Everything else that people write.
    pub(crate) texts: Vec<Text>,
}

/// A file that is not Rust.
pub(crate) struct Text {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A rule of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Who may import whom.
    Import,
    /// Lines of a file without its tests.
    FileLength,
    /// Lines of a function.
    FunctionLength,
    /// Columns of a line.
    Columns,
    /// A module says what it is.
    ModuleDoc,
    /// Words that say nothing, or promise something.
    Word,
    /// Names that say nothing.
    Name,
    /// Calls that libraries do not make.
    Call,
    /// Paths of one particular machine.
    MachinePath,
    /// A dependency has its reason beside it.
    DependencyReason,
    /// The list of exceptions itself.
    Exception,
}

/// Something that breaks a rule.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) rule: Rule,
    pub(crate) path: String,
    /// Counted from 1; 0 where it is the whole file.
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {:?}: {}", self.path, self.line, self.rule, self.what)
    }
}

/// Folders that hold nothing written by people.
const GENERATED: [&str; 4] = [".git", "target", "corpus", "artifacts"];

/// Names of text files, by how they end.
const TEXTS: [&str; 10] =
    [".toml", ".md", ".sh", ".script", ".map", ".yml", ".yaml", ".service", ".html", ".js"];

impl Tree {
    pub(crate) fn read(root: &Path) -> io::Result<Self> {
        let mut tree = Self { sources: Vec::new(), texts: Vec::new() };
        tree.descend(root, "")?;
        tree.mark_tests();
        tree.sources.sort_by(|a, b| a.path.cmp(&b.path));
        tree.texts.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    /// A module may be declared a test by its parent.
    fn mark_tests(&mut self) {
        let tests: Vec<String> = self.sources.iter().flat_map(Source::test_modules).collect();
        for source in &mut self.sources {
            let is_of = |test: &String| {
                source.path.strip_prefix(test).is_some_and(|rest| rest.starts_with(['/', '.']))
            };
            if tests.iter().any(is_of) {
                source.is_test();
            }
        }
    }

    fn descend(&mut self, folder: &Path, prefix: &str) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            if entry.file_type()?.is_dir() {
                if !GENERATED.contains(&name.as_str()) {
                    self.descend(&entry.path(), &format!("{path}/"))?;
                }
            } else if name.ends_with(".rs") {
                self.sources.push(Source::new(&path, &fs::read_to_string(entry.path())?));
            } else if TEXTS.iter().any(|end| name.ends_with(end)) {
                let text = String::from_utf8_lossy(&fs::read(entry.path())?).into_owned();
                self.texts.push(Text { path, text });
            }
        }
        Ok(())
    }
}
