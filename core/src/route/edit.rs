//! Changing one mapping in the text of a file map.
//!
//! The text belongs to people: comments, blank lines, the order, the spelling of other names and
//! the ends of lines stay as they are. A name is found in its normal form, and keeps the spelling
//! that it has there.
//!
//! Not here: reading and writing the file; whoever does it writes all of it or nothing.
//! Invariant: a text that parses still does after a change, if the destination is one there is.

use alloc::vec::Vec;

use super::table::{fields, key};
use crate::config::Normalize;

/// What to do to a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// The account lives there from now on, whether it is in the text already or not.
    Put {
        /// The account.
        identifier: &'a [u8],
        /// The name of its destination.
        destination: &'a str,
    },
    /// The account is not in the map any more.
    Remove {
        /// The account.
        identifier: &'a [u8],
    },
}

/// Why a text is left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unchanged {
    /// It says this already, or the account to be removed is not there.
    Already,
    /// No account can have this name, or no destination that one.
    Unfit,
}

/// The text after a change.
pub fn changed(text: &[u8], change: Change<'_>, form: Normalize) -> Result<Vec<u8>, Unchanged> {
    let (Change::Put { identifier, .. } | Change::Remove { identifier }) = change;
    let wanted = key(identifier, form).map_err(|_| Unchanged::Unfit)?;
    let is_it = |line: &Line<'_>| {
        let name = fields(line.content).ok().flatten().map(|(name, _)| name);
        name.and_then(|name| key(name, form).ok()).is_some_and(|name| name == wanted)
    };
    let found = lines(text).find(is_it);
    match (change, found) {
        (Change::Remove { .. }, None) => Err(Unchanged::Already),
        (Change::Remove { .. }, Some(line)) => Ok(spliced(text, line.start, line.end, b"")),
        // What would not be read back as it is written.
        (Change::Put { destination, .. }, _)
            if identifier.starts_with(b"#") || !is_a_word(destination) =>
        {
            Err(Unchanged::Unfit)
        }
        (Change::Put { destination, .. }, Some(line)) => {
            let (start, end) = line.last_word();
            if &text[start..end] == destination.as_bytes() {
                return Err(Unchanged::Already);
            }
            Ok(spliced(text, start, end, destination.as_bytes()))
        }
        (Change::Put { destination, .. }, None) => Ok(appended(text, identifier, destination)),
    }
}

/// A line of a text.
struct Line<'a> {
    content: &'a [u8],
    start: usize,
    /// Behind its line end.
    end: usize,
}

impl Line<'_> {
    /// Where its last word stands in the text.
    fn last_word(&self) -> (usize, usize) {
        let words = self.content.trim_ascii_end();
        let before = words.iter().rposition(|octet| octet.is_ascii_whitespace());
        (self.start + before.map_or(0, |at| at + 1), self.start + words.len())
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut start = 0;
    text.split_inclusive(|&octet| octet == b'\n').map(move |content| {
        let line = Line { content, start, end: start + content.len() };
        start = line.end;
        line
    })
}

fn spliced(text: &[u8], start: usize, end: usize, inserted: &[u8]) -> Vec<u8> {
    [&text[..start], inserted, &text[end..]].concat()
}

/// The text with one more line, whose end is as those of the others.
fn appended(text: &[u8], identifier: &[u8], destination: &str) -> Vec<u8> {
    let line_end: &[u8] = if text.windows(2).any(|two| two == b"\r\n") { b"\r\n" } else { b"\n" };
    let closing = if text.is_empty() || text.ends_with(b"\n") { b"" } else { line_end };
    [text, closing, identifier, b" ", destination.as_bytes(), line_end].concat()
}

fn is_a_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;
    use crate::route::table::FileMap;

    const TEXT: &str = "# moved in spring\n\nAlice@x  old \t\nbob\told\r\n  # later\ncarol old";

    fn put<'a>(identifier: &'a str, destination: &'a str) -> Change<'a> {
        Change::Put { identifier: identifier.as_bytes(), destination }
    }

    fn remove(identifier: &str) -> Change<'_> {
        Change::Remove { identifier: identifier.as_bytes() }
    }

    fn after(text: &str, change: Change<'_>) -> Result<String, Unchanged> {
        let text = changed(text.as_bytes(), change, Normalize::Lowercase)?;
        FileMap::parse(&text, &["old", "new"], Normalize::Lowercase).expect("it still parses");
        Ok(String::from_utf8(text).expect("it is still text"))
    }

    #[test]
    fn one_mapping_changes_and_nothing_else() {
        assert_eq!(
            after(TEXT, put("alice@X", "new")).as_deref(),
            Ok("# moved in spring\n\nAlice@x  new \t\nbob\told\r\n  # later\ncarol old")
        );
        assert_eq!(
            after(TEXT, put("bob", "new")).as_deref(),
            Ok("# moved in spring\n\nAlice@x  old \t\nbob\tnew\r\n  # later\ncarol old")
        );
        assert_eq!(
            after(TEXT, remove("bob")).as_deref(),
            Ok("# moved in spring\n\nAlice@x  old \t\n  # later\ncarol old")
        );
        assert_eq!(
            after(TEXT, remove("carol")).as_deref(),
            Ok("# moved in spring\n\nAlice@x  old \t\nbob\told\r\n  # later\n")
        );
    }

    #[test]
    fn a_new_mapping_stands_at_the_end() {
        assert_eq!(after("", put("dave", "new")).as_deref(), Ok("dave new\n"));
        assert_eq!(after("a old", put("dave", "new")).as_deref(), Ok("a old\ndave new\n"));
        assert_eq!(after("a old\r\n", put("Dave", "new")).as_deref(), Ok("a old\r\nDave new\r\n"));
        assert_eq!(
            after("# dave old\n", put("dave", "new")).as_deref(),
            Ok("# dave old\ndave new\n")
        );
    }

    #[test]
    fn what_would_change_nothing_is_told() {
        assert_eq!(after(TEXT, put("BOB", "old")), Err(Unchanged::Already));
        assert_eq!(after(TEXT, remove("dave")), Err(Unchanged::Already));
        assert_eq!(after("", remove("dave")), Err(Unchanged::Already));
    }

    #[test]
    fn what_could_not_be_read_back_is_not_written() {
        for name in ["", "a b", "a\tb", "a\nb old\nc", "#a", "a\"b", "a\u{7f}"] {
            assert_eq!(after(TEXT, put(name, "new")), Err(Unchanged::Unfit), "{name:?}");
        }
        for destination in ["", "n w", "new\nmallory new", "new "] {
            assert_eq!(after(TEXT, put("dave", destination)), Err(Unchanged::Unfit));
        }
    }
}
