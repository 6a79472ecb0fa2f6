//! The file map: which account lives where, as lines of text.
//!
//! `identifier destination`, separated by white space; `#` begins a comment line. A map of a
//! million lines is a normal one, so its identifiers stand in one buffer, normalised, and beside it
//! one sorted index of 16 octets a line. It is loaded whole or not at all: a [`MapFault`] names
//! the line.
//!
//! Not here: files, and changing one mapping (`edit.rs`).

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use super::{BadIdentifier, may_stand_in_a_key, normalize};
use crate::config::Normalize;

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
    line: u32,
}

/// What a map says of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// The position of its destination in the list given to [`FileMap::parse`].
    pub destination: usize,
    /// The line that says so, counted from 1.
    pub line: usize,
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
    /// Its identifier can be nobody's: it holds what no user name may, or has no normal form.
    Identifier(String),
    /// No destination of that name is configured.
    UnknownDestination(String),
    /// Its identifier stands in another line too.
    Duplicate {
        /// In its normal form.
        identifier: String,
        /// The other line, counted from 1.
        first: usize,
    },
    /// The map is larger than 4 GiB.
    TooLarge,
}

impl fmt::Display for MapFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.kind)
    }
}

impl fmt::Display for MapFaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape => f.write_str("expected an identifier, white space and a destination"),
            Self::UnknownDestination(name) => {
                write!(f, "unknown destination \"{}\"", name.escape_default())
            }
            Self::Identifier(name) => {
                write!(f, "\"{}\" can be nobody's name", name.escape_default())
            }
            Self::Duplicate { identifier, first } => {
                let identifier = identifier.escape_default();
                write!(f, "\"{identifier}\" is mapped in line {first} already")
            }
            Self::TooLarge => f.write_str("the map is larger than 4 GiB"),
        }
    }
}

impl FileMap {
    /// Parses a map. `destinations` are the names that may stand on the right; identifiers are
    /// normalised as those of logins are. Fails at the first line that cannot be used.
    pub fn parse(text: &[u8], destinations: &[&str], form: Normalize) -> Result<Self, MapFault> {
        let places: BTreeMap<&[u8], u32> =
            destinations.iter().zip(0..).map(|(name, place)| (name.as_bytes(), place)).collect();
        let mut keys = Vec::with_capacity(text.len());
        let mut entries: Vec<Entry> = Vec::new();
        for (line, content) in (1..).zip(text.split(|&octet| octet == b'\n')) {
            let fault = |kind| MapFault { line: line as usize, kind };
            let Some((name, destination)) = fields(content).map_err(fault)? else { continue };
            let destination = places
                .get(destination)
                .ok_or_else(|| fault(MapFaultKind::UnknownDestination(text_of(destination))))?;
            let key = key(name, form)
                .map_err(|BadIdentifier| fault(MapFaultKind::Identifier(text_of(name))))?;
            let narrow =
                |number: usize| u32::try_from(number).map_err(|_| fault(MapFaultKind::TooLarge));
            let (start, length) = (narrow(keys.len())?, narrow(key.len())?);
            keys.extend_from_slice(&key);
            entries.push(Entry { start, length, destination: *destination, line });
        }
        // Stable, so that of two lines for one account the first stands first.
        entries.sort_by(|a, b| a.key(&keys).cmp(b.key(&keys)));
        let twice = |pair: &&[Entry]| pair[0].key(&keys) == pair[1].key(&keys);
        if let Some([first, second]) =
            entries.windows(2).filter(twice).min_by_key(|pair| pair[1].line)
        {
            let (identifier, first) = (text_of(first.key(&keys)), first.line as usize);
            let kind = MapFaultKind::Duplicate { identifier, first };
            return Err(MapFault { line: second.line as usize, kind });
        }
        Ok(Self { keys: keys.into_boxed_slice(), entries: entries.into_boxed_slice() })
    }

    /// What the map says of an account.
    pub fn find(&self, identifier: &[u8]) -> Option<Hit> {
        let found =
            self.entries.binary_search_by(|entry| entry.key(&self.keys).cmp(identifier)).ok()?;
        let Entry { destination, line, .. } = self.entries[found];
        Some(Hit { destination: destination as usize, line: line as usize })
    }

    /// Accounts in the map.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the map knows nobody.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Octets of memory that it holds.
    pub fn octets(&self) -> usize {
        self.keys.len() + self.entries.len() * size_of::<Entry>()
    }
}

impl Entry {
    fn key(self, keys: &[u8]) -> &[u8] {
        &keys[self.start as usize..][..self.length as usize]
    }
}

/// A name of a map in the form in which it is looked up, if a login could have it.
pub(super) fn key(name: &[u8], form: Normalize) -> Result<Cow<'_, [u8]>, BadIdentifier> {
    let key = normalize(name, form)?;
    let fits = !key.is_empty() && key.iter().copied().all(may_stand_in_a_key);
    if fits { Ok(key) } else { Err(BadIdentifier) }
}

/// Identifier and destination of a line.
type Fields<'a> = (&'a [u8], &'a [u8]);

/// The two fields of a line; none of an empty line or a comment.
pub(super) fn fields(line: &[u8]) -> Result<Option<Fields<'_>>, MapFaultKind> {
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
        assert_eq!(map.find(b"alice@example.com"), Some(Hit { destination: 1, line: 3 }));
        assert_eq!(map.find(b"bob"), Some(Hit { destination: 0, line: 4 }));
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
            format!("{}", fault("A new\nb old\nB new\na old\n")),
            "line 3: \"b\" is mapped in line 2 already"
        );
        assert_eq!(
            format!("{}", fault("b old\na\"b new\n")),
            "line 2: \"a\\\"b\" can be nobody's name"
        );
        let precis =
            FileMap::parse("a new\n\u{ad} old\n".as_bytes(), &DESTINATIONS, Normalize::Precis);
        assert_eq!(precis.expect_err("it has no form").line, 2);
    }

    #[test]
    fn the_first_fault_is_the_one_that_is_reported() {
        assert_eq!(parse("a new\nb\nc nwe\n").expect_err("two are wrong").line, 2);
    }

    #[test]
    fn a_line_costs_less_than_a_hundred_octets() {
        let accounts = 10_000;
        let lines = (0..accounts).map(|it| format!("user.number{it:07}@mail.example.com new\n"));
        let map = parse(&lines.collect::<String>()).expect("well-formed");
        assert_eq!(map.len(), accounts);
        assert!(map.octets() < 60 * accounts, "{} for {accounts}", map.octets());
    }
}
