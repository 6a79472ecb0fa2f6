//! What is wrong with a configuration, and what is merely strange, each with its line.
//!
//! A `Fault` keeps the program from starting, a `Warning` does not. Neither knows the file's name:
//! whoever read the file puts it in front. `Report` collects both while a file is read, in any
//! order, and gives them back by line.
//! Invariant: a problem and its remedy are plain text without a line end.
//! Read next: `reader`, which makes most of them.

use alloc::{string::String, vec::Vec};
use core::{cell::RefCell, fmt};

/// Something that keeps a configuration from being used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, counted from 1.
    pub line: usize,
    /// The key from the file's root, such as `destination.new.protocol.imap.port`; empty where the
    /// text is not TOML at all.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// How to mend it; empty where the problem says so by itself.
    pub remedy: String,
}

/// Something that loads, and is probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The line, counted from 1.
    pub line: usize,
    /// The key from the file's root.
    pub key: String,
    /// What is strange.
    pub problem: String,
    /// How to mend it.
    pub remedy: String,
}

impl Fault {
    /// The text without its line, for those who print `file:line` in front.
    pub fn text(&self) -> String {
        sentence(&self.key, &self.problem, &self.remedy)
    }
}

impl Warning {
    /// The text without its line, for those who print `file:line` in front.
    pub fn text(&self) -> String {
        sentence(&self.key, &self.problem, &self.remedy)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.text())
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.text())
    }
}

impl core::error::Error for Fault {}

fn sentence(key: &str, problem: &str, remedy: &str) -> String {
    let mut text = String::from(key);
    if !key.is_empty() {
        text.push_str(": ");
    }
    text.push_str(problem);
    if !remedy.is_empty() {
        text.push_str("; ");
        text.push_str(remedy);
    }
    text
}

/// Collects what is found while one file is read.
pub(super) struct Report {
    /// The offset at which each line begins.
    line_starts: Vec<usize>,
    found: RefCell<(Vec<Fault>, Vec<Warning>)>,
}

impl Report {
    pub(super) fn new(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, octet)| *octet == b'\n');
        let line_starts = core::iter::once(0).chain(ends.map(|(offset, _)| offset + 1)).collect();
        Self { line_starts, found: RefCell::default() }
    }

    /// Records a fault at an offset of the text, in octets.
    pub(super) fn fault(&self, offset: usize, key: &str, problem: String, remedy: &str) {
        let (line, key) = (self.line(offset), plain(key));
        let (problem, remedy) = (plain(&problem), plain(remedy));
        self.found.borrow_mut().0.push(Fault { line, key, problem, remedy });
    }

    /// Records a warning at an offset of the text, in octets.
    pub(super) fn warning(&self, offset: usize, key: &str, problem: String, remedy: &str) {
        let (line, key) = (self.line(offset), plain(key));
        let (problem, remedy) = (plain(&problem), plain(remedy));
        self.found.borrow_mut().1.push(Warning { line, key, problem, remedy });
    }

    /// The warnings if there is no fault, else the faults; by line.
    pub(super) fn verdict(self) -> Result<Vec<Warning>, Vec<Fault>> {
        let (mut faults, mut warnings) = self.found.into_inner();
        faults.sort_by_key(|fault| fault.line);
        warnings.sort_by_key(|warning| warning.line);
        if faults.is_empty() { Ok(warnings) } else { Err(faults) }
    }

    pub(super) fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }
}

/// The text with control characters escaped: it may quote the file, and a log has lines.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() {
            plain.extend(letter.escape_default());
        } else {
            plain.push(letter);
        }
    }
    plain
}
