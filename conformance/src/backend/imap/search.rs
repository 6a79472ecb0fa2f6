//! SEARCH: a criterion is parsed into a tree and held against each message.
//!
//! Depth and number of keys are bounded. Text is searched as it stands, ASCII letters in any case,
//! without decoding of MIME; a charset other than US-ASCII and UTF-8 is refused.

use std::cell::OnceCell;

use super::super::date;
use super::super::message;
use super::super::store::Message;
use super::command::{Arguments, Syntax};
use super::sequence::{Ranges, SequenceSet};

/// How deep NOT, OR and parentheses may be nested.
const DEPTH: usize = 16;

/// The most keys of one search.
const KEYS: usize = 256;

#[derive(Debug)]
pub(super) enum Key {
    All(Vec<Self>),
    Not(Box<Self>),
    Or(Box<Self>, Box<Self>),
    Numbers(Set),
    Uids(Set),
    Flag(String),
    Larger(u32),
    Smaller(u32),
    Field(String, Vec<u8>),
    Body(Vec<u8>),
    Text(Vec<u8>),
    /// By INTERNALDATE, or by the Date field.
    Day {
        sent: bool,
        order: Order,
        day: i64,
    },
    Nothing,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    Before,
    On,
    Since,
}

/// Why a search is not done.
pub(super) enum SearchFault {
    Syntax(Syntax),
    Charset,
}

impl From<Syntax> for SearchFault {
    fn from(syntax: Syntax) -> Self {
        Self::Syntax(syntax)
    }
}

/// Everything behind SEARCH and its space.
pub(super) fn parse(arguments: &mut Arguments) -> Result<Key, SearchFault> {
    let mut parser = Parser { arguments, keys: 0 };
    let mut all = Vec::new();
    let first = parser.word()?;
    if first.as_deref() == Some("CHARSET") {
        parser.arguments.space()?;
        let charset = parser.arguments.astring()?;
        if !charset.eq_ignore_ascii_case(b"US-ASCII") && !charset.eq_ignore_ascii_case(b"UTF-8") {
            return Err(SearchFault::Charset);
        }
    } else {
        all.push(parser.key_of(first, DEPTH)?);
    }
    while parser.arguments.eat(b' ') {
        // White space at the end is no further key.
        if parser.arguments.peek().is_some() {
            all.push(parser.key(DEPTH)?);
        }
    }
    parser.arguments.end()?;
    if all.is_empty() {
        return Err(Syntax("Search key expected").into());
    }
    Ok(Key::All(all))
}

struct Parser<'a> {
    arguments: &'a mut Arguments,
    keys: usize,
}

impl Parser<'_> {
    /// A key's name in upper case, unless a set or a parenthesis stands here.
    fn word(&mut self) -> Result<Option<String>, Syntax> {
        match self.arguments.peek() {
            Some(b'(' | b'*' | b'0'..=b'9') => Ok(None),
            _ => Ok(Some(self.arguments.atom()?.to_ascii_uppercase())),
        }
    }

    fn key(&mut self, depth: usize) -> Result<Key, Syntax> {
        let word = self.word()?;
        self.key_of(word, depth)
    }

    fn inner(&mut self, depth: usize) -> Result<Key, Syntax> {
        self.arguments.space()?;
        self.key(depth)
    }

    fn key_of(&mut self, word: Option<String>, depth: usize) -> Result<Key, Syntax> {
        self.keys += 1;
        let deeper = depth.checked_sub(1).filter(|_| self.keys <= KEYS);
        let depth = deeper.ok_or(Syntax("Search too complex"))?;
        let Some(word) = word else {
            return self.set_or_list(depth);
        };
        let not = |flag: &str| Key::Not(Box::new(Key::Flag(flag.to_owned())));
        Ok(match word.as_str() {
            "ALL" | "OLD" => Key::All(Vec::new()),
            // There is no \Recent here: see `mod`.
            "NEW" | "RECENT" => Key::Nothing,
            "ANSWERED" | "DELETED" | "DRAFT" | "FLAGGED" | "SEEN" => Key::Flag(format!("\\{word}")),
            "UNANSWERED" | "UNDELETED" | "UNDRAFT" | "UNFLAGGED" | "UNSEEN" => {
                not(&format!("\\{}", &word[2..]))
            }
            "NOT" => Key::Not(Box::new(self.inner(depth)?)),
            "OR" => Key::Or(Box::new(self.inner(depth)?), Box::new(self.inner(depth)?)),
            _ => {
                self.arguments.space()?;
                self.key_with_argument(&word)?
            }
        })
    }

    fn set_or_list(&mut self, depth: usize) -> Result<Key, Syntax> {
        if !self.arguments.eat(b'(') {
            return Ok(Key::Numbers(Set::parse(self.arguments)?));
        }
        let mut all = vec![self.key(depth)?];
        while !self.arguments.eat(b')') {
            all.push(self.inner(depth)?);
        }
        Ok(Key::All(all))
    }

    fn key_with_argument(&mut self, word: &str) -> Result<Key, Syntax> {
        let field = |name: &str, value| Key::Field(name.to_owned(), value);
        let day = |sent, order, day| Key::Day { sent, order, day };
        Ok(match word {
            "UID" => Key::Uids(Set::parse(self.arguments)?),
            "KEYWORD" => Key::Flag(self.arguments.atom()?),
            "UNKEYWORD" => Key::Not(Box::new(Key::Flag(self.arguments.atom()?))),
            "LARGER" => Key::Larger(self.arguments.number()?),
            "SMALLER" => Key::Smaller(self.arguments.number()?),
            "FROM" | "TO" | "CC" | "BCC" | "SUBJECT" => field(word, self.arguments.astring()?),
            "HEADER" => {
                let name = self.arguments.astring()?;
                self.arguments.space()?;
                field(&String::from_utf8_lossy(&name), self.arguments.astring()?)
            }
            "BODY" => Key::Body(self.arguments.astring()?),
            "TEXT" => Key::Text(self.arguments.astring()?),
            "BEFORE" => day(false, Order::Before, self.day()?),
            "ON" => day(false, Order::On, self.day()?),
            "SINCE" => day(false, Order::Since, self.day()?),
            "SENTBEFORE" => day(true, Order::Before, self.day()?),
            "SENTON" => day(true, Order::On, self.day()?),
            "SENTSINCE" => day(true, Order::Since, self.day()?),
            _ => return Err(Syntax("Unknown search key")),
        })
    }

    fn day(&mut self) -> Result<i64, Syntax> {
        let text = self.arguments.astring()?;
        let day = std::str::from_utf8(&text).ok().and_then(date::parse_day);
        day.ok_or(Syntax("Date expected"))
    }
}

/// A sequence set that is resolved once in a search.
#[derive(Debug)]
pub(super) struct Set {
    written: SequenceSet,
    resolved: OnceCell<Ranges>,
}

impl Set {
    fn parse(arguments: &mut Arguments) -> Result<Self, Syntax> {
        Ok(Self { written: SequenceSet::parse(arguments)?, resolved: OnceCell::new() })
    }

    fn has(&self, number: u32, largest: u32) -> bool {
        self.resolved.get_or_init(|| self.written.resolve(largest)).has(number)
    }
}

/// The largest numbers that `*` stands for.
#[derive(Clone, Copy)]
pub(super) struct Largest {
    pub(super) number: u32,
    pub(super) uid: u32,
}

impl Key {
    /// Whether the message, which has this number, is meant.
    pub(super) fn fits(&self, number: u32, message: &Message, largest: Largest) -> bool {
        let content = &message.content;
        let size = content.bytes().len();
        match self {
            Self::All(keys) => keys.iter().all(|key| key.fits(number, message, largest)),
            Self::Not(key) => !key.fits(number, message, largest),
            Self::Or(one, other) => {
                one.fits(number, message, largest) || other.fits(number, message, largest)
            }
            Self::Numbers(set) => set.has(number, largest.number),
            Self::Uids(set) => set.has(message.uid, largest.uid),
            Self::Flag(flag) => message.flags.has(flag),
            Self::Larger(octets) => size > *octets as usize,
            Self::Smaller(octets) => size < *octets as usize,
            Self::Field(name, value) => {
                message::field(content.header(), name).is_some_and(|field| contains(&field, value))
            }
            Self::Body(value) => contains(&content.bytes()[content.header_length()..], value),
            Self::Text(value) => contains(content.bytes(), value),
            Self::Day { sent, order, day } => {
                let own = match sent {
                    false => Some(message.date.day()),
                    true => sent_day(content.header()),
                };
                own.is_some_and(|own| match order {
                    Order::Before => own < *day,
                    Order::On => own == *day,
                    Order::Since => own >= *day,
                })
            }
            Self::Nothing => false,
        }
    }
}

fn sent_day(header: &[u8]) -> Option<i64> {
    let field = message::field(header, "Date")?;
    date::parse_field_day(std::str::from_utf8(&field).ok()?)
}

/// Whether `value` stands anywhere in `text`, ASCII letters in any case.
fn contains(text: &[u8], value: &[u8]) -> bool {
    value.is_empty() || text.windows(value.len()).any(|window| window.eq_ignore_ascii_case(value))
}

#[cfg(test)]
mod tests {
    use super::super::command::tests::arguments;
    use super::*;

    #[test]
    fn what_is_no_search_is_refused() {
        let deep = "NOT ".repeat(DEPTH) + "ALL";
        let many = vec!["ALL"; KEYS + 1].join(" ");
        for text in [
            "",
            " ",
            "NOT",
            "OR ALL",
            "(ALL",
            "()",
            "UID x",
            "SINCE 30-Feb-2024",
            "FROM",
            "NOSUCH x",
            "CHARSET UTF-8",
            "LARGER -1",
            &deep,
            &many,
        ] {
            assert!(matches!(parse(&mut arguments(text)), Err(SearchFault::Syntax(_))), "{text}");
        }
        assert!(parse(&mut arguments(&deep[4..])).is_ok());
        assert!(parse(&mut arguments(&many[4..])).is_ok());
        assert!(matches!(parse(&mut arguments("CHARSET KOI8-R ALL")), Err(SearchFault::Charset)));
        assert!(parse(&mut arguments("CHARSET UTF-8 OR (FROM a 1:*) UID 3 ")).is_ok());
    }
}
