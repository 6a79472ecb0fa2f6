//! The file map: which account lives where, as lines of text.
//!
//! `identifier destination`, separated by white space; `#` begins a comment line. A map of a
//! million lines is a normal one, so its identifiers stand in one buffer, normalised, and beside it
//! one sorted index of 12 octets a line. It is loaded whole or not at all: a [`MapFault`] names
//! the line.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::config::Normalize;
use crate::route::normalize;

/// A loaded map, from identifiers to positions in the list of destinations that it was parsed
/// with.
#[derive(Debug, Default)]
pub struct FileMap {
    keys: Box<[u8]>,
    entries: Box<[Entry]>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    start: u32,
    length: u32,
    destination: u32,
}

/// A line that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapFault {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub kind: MapFaultKind,
}

/// What is wrong with a line of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MapFaultKind {
    /// It is not an identifier and a destination.
    Shape,
    /// No destination of that name is configured.
    UnknownDestination(String),
    /// Its identifier stands in another line too.
    Duplicate(String),
    /// The map is larger than 4 GiB.
    TooLarge,
}

impl fmt::Display for MapFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.kind {
            MapFaultKind::Shape => {
                f.write_str("expected an identifier, white space and a destination")
            }
            MapFaultKind::UnknownDestination(name) => {
                write!(f, "unknown destination \"{}\"", name.escape_default())
            }
            MapFaultKind::Duplicate(key) => {
                write!(f, "\"{}\" is mapped more than once", key.escape_default())
            }
            MapFaultKind::TooLarge => f.write_str("the map is larger than 4 GiB"),
        }
    }
}

impl FileMap {
    /// Parses a map. `destinations` are the names that may stand on the right; identifiers are
    /// normalised as those of logins are.
    pub fn parse(text: &[u8], destinations: &[&str], form: Normalize) -> Result<Self, MapFault> {
        let mut keys = Vec::with_capacity(text.len());
        let mut entries = Vec::new();
        for (index, line) in text.split(|&octet| octet == b'\n').enumerate() {
            let fault = |kind| MapFault { line: index + 1, kind };
            let Some((key, name)) = fields(line).map_err(fault)? else { continue };
            let destination = destinations
                .iter()
                .position(|known| known.as_bytes() == name)
                .ok_or_else(|| fault(MapFaultKind::UnknownDestination(text_of(name))))?;
            let start = keys.len();
            keys.extend_from_slice(&normalize(key, form));
            let length = keys.len() - start;
            let narrow =
                |number: usize| u32::try_from(number).map_err(|_| fault(MapFaultKind::TooLarge));
            entries.push((
                Entry {
                    start: narrow(start)?,
                    length: narrow(length)?,
                    destination: narrow(destination)?,
                },
                index + 1,
            ));
        }
        entries.sort_by(|(a, _), (b, _)| a.key(&keys).cmp(b.key(&keys)));
        if let Some(pair) =
            entries.windows(2).find(|pair| pair[0].0.key(&keys) == pair[1].0.key(&keys))
        {
            let line = pair[0].1.max(pair[1].1);
            let key = text_of(pair[0].0.key(&keys));
            return Err(MapFault { line, kind: MapFaultKind::Duplicate(key) });
        }
        Ok(Self {
            keys: keys.into_boxed_slice(),
            entries: entries.into_iter().map(|(entry, _)| entry).collect(),
        })
    }

    /// The position of an account's destination in the list given to [`FileMap::parse`].
    pub fn find(&self, identifier: &[u8]) -> Option<usize> {
        self.entries
            .binary_search_by(|entry| entry.key(&self.keys).cmp(identifier))
            .ok()
            .map(|found| self.entries[found].destination as usize)
    }

    /// Accounts in the map.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the map knows nobody.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Entry {
    fn key(self, keys: &[u8]) -> &[u8] {
        &keys[self.start as usize..][..self.length as usize]
    }
}

/// Identifier and destination of a line.
type Fields<'a> = (&'a [u8], &'a [u8]);

/// The two fields of a line; none of an empty line or a comment.
fn fields(line: &[u8]) -> Result<Option<Fields<'_>>, MapFaultKind> {
    let mut words = line.split(|octet| octet.is_ascii_whitespace()).filter(|word| !word.is_empty());
    match (words.next(), words.next(), words.next()) {
        (None, ..) => Ok(None),
        (Some([b'#', ..]), ..) => Ok(None),
        (Some(key), Some(name), None) => Ok(Some((key, name))),
        (Some(_), ..) => Err(MapFaultKind::Shape),
    }
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    const DESTINATIONS: [&str; 2] = ["old", "new"];

    fn parse(text: &str) -> Result<FileMap, MapFault> {
        FileMap::parse(text.as_bytes(), &DESTINATIONS, Normalize::Lowercase)
    }

    #[test]
    fn an_account_is_found_in_its_normal_form() {
        let map = parse("# moved\n\nAlice@Example.com\tnew\nbob old\r\n").expect("well-formed");
        assert_eq!(map.len(), 2);
        assert_eq!(map.find(b"alice@example.com"), Some(1));
        assert_eq!(map.find(b"bob"), Some(0));
        assert_eq!(map.find(b"carol"), None);
        assert_eq!(map.find(b"Alice@Example.com"), None);
    }

    #[test]
    fn a_fault_names_its_line() {
        let fault = |text| parse(text).expect_err("one line is wrong");
        assert_eq!(fault("a new\nb nwe\n").line, 2);
        assert_eq!(format!("{}", fault("a nwe")), "line 1: unknown destination \"nwe\"");
        assert_eq!(fault("a\n").kind, MapFaultKind::Shape);
        assert_eq!(fault("a new old\n").kind, MapFaultKind::Shape);
        assert_eq!(
            format!("{}", fault("A new\nb old\na old\n")),
            "line 3: \"a\" is mapped more than once"
        );
    }
}
