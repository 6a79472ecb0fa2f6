//! Strings that may be literals, and the extent of what holds them: IMAP and ManageSieve.
//!
//! A unit is a line, and if that announces a literal at its end, the literal and the line behind it
//! too. [`Framing`] finds where a unit ends and never fails on its content; [`read_string`] takes
//! one string from the front of a whole unit. What a synchronising literal calls for is not decided
//! here, nor how large anything may be.
//!
//! RFC 9051 §4.3 and RFC 5804 §1.2 (strings), RFC 7888 (non-synchronising literals).

use alloc::borrow::Cow;
use alloc::vec::Vec;

use memchr::{memchr, memrchr};

use crate::line;

/// A literal announced at the end of a line: `{17}` or `{17+}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Literal {
    pub(crate) size: usize,
    /// The sender waits for a continuation before it sends the content.
    pub(crate) synchronising: bool,
}

/// How far the framing of one command or reply has come. It remembers positions only: the bytes
/// stay where they are until the unit is whole.
#[derive(Debug, Default)]
pub(crate) struct Framing {
    /// Where the current line of the unit begins.
    pub(crate) at: usize,
    /// Octets of the current line known to hold no end.
    pub(crate) scanned: usize,
    literals: u32,
}

/// The next thing that framing found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    /// More bytes are needed.
    Incomplete,
    /// The current line has no end within its limit.
    TooLong,
    /// A line ends at `end` and announces a literal; go on with [`Framing::skip`].
    Literal { literal: Literal, end: usize },
    /// The unit ends at `end`; `content` leaves out its line end.
    Whole { content: usize, end: usize },
}

/// A whole unit, if there is one within its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// More bytes are needed.
    Incomplete,
    /// It does not end within the limit.
    TooLong,
    /// It ends at `end`; `content` leaves out its line end.
    Whole { content: usize, end: usize },
}

impl Framing {
    /// Looks for the whole unit at the start of `input`, whose octets, literals and all, are at
    /// most `limit`.
    pub(crate) fn unit(&mut self, input: &[u8], limit: usize) -> Unit {
        loop {
            match self.next(input, limit) {
                Piece::Incomplete if input.len() < limit => return Unit::Incomplete,
                Piece::Whole { content, end } if end <= limit => {
                    return Unit::Whole { content, end };
                }
                Piece::Literal { literal, end } if literal.size <= limit => {
                    self.skip(literal, end);
                }
                Piece::Incomplete
                | Piece::TooLong
                | Piece::Whole { .. }
                | Piece::Literal { .. } => return Unit::TooLong,
            }
        }
    }

    /// Looks for the next piece of the unit at the start of `input`.
    pub(crate) fn next(&mut self, input: &[u8], line_max: usize) -> Piece {
        let Some(current) = input.get(self.at..) else { return Piece::Incomplete };
        match line::lenient(current, self.scanned.min(current.len()), line_max) {
            line::Framing::Incomplete => {
                self.scanned = current.len();
                Piece::Incomplete
            }
            line::Framing::TooLong | line::Framing::Spent => Piece::TooLong,
            line::Framing::Whole(found) => {
                let end = self.at + found.whole;
                match literal_at_end(&current[..found.content]) {
                    Some(literal) => Piece::Literal { literal, end },
                    None => Piece::Whole { content: self.at + found.content, end },
                }
            }
        }
    }

    /// Goes on behind a literal whose header ends at `end`. Gives the literals so far.
    pub(crate) fn skip(&mut self, literal: Literal, end: usize) -> u32 {
        self.at = end.saturating_add(literal.size);
        self.scanned = 0;
        self.literals += 1;
        self.literals
    }
}

/// The literal that a line announces at its end, if it does. A number too large for any machine is
/// the largest one; where there is none, nothing is announced and the line is what it is.
pub(crate) fn literal_at_end(line: &[u8]) -> Option<Literal> {
    let inner = line.strip_suffix(b"}")?;
    let open = memrchr(b'{', inner)?;
    let inner = &inner[open + 1..];
    let (digits, synchronising) = match inner.strip_suffix(b"+") {
        Some(digits) => (digits, false),
        None => (inner, true),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = digits.iter().fold(0_usize, |size, digit| {
        size.saturating_mul(10).saturating_add(usize::from(digit - b'0'))
    });
    Some(Literal { size, synchronising })
}

/// The string at the start of a text, and what follows it.
pub(crate) fn read_string(text: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    match text.first()? {
        b'"' => read_quoted(text),
        b'{' => read_literal(text),
        _ => None,
    }
}

/// Only the quote and the backslash are ever escaped.
fn read_quoted(text: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let inside = text.strip_prefix(b"\"")?;
    let mut content = Vec::new();
    let (mut from, mut at) = (0, 0);
    loop {
        match inside.get(at)? {
            b'"' if from == 0 => return Some((inside[..at].into(), &inside[at + 1..])),
            b'"' => {
                content.extend_from_slice(&inside[from..at]);
                return Some((content.into(), &inside[at + 1..]));
            }
            b'\\' => {
                matches!(inside.get(at + 1)?, b'"' | b'\\').then_some(())?;
                if content.is_empty() {
                    // It may be a password, of which a buffer that grows leaves parts behind.
                    content.reserve_exact(inside.len());
                }
                content.extend_from_slice(&inside[from..at]);
                // The escaped octet is the first of what is taken next.
                from = at + 1;
                at += 2;
            }
            0 | b'\r' | b'\n' => return None,
            _ => at += 1,
        }
    }
}

fn read_literal(text: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let line_end = memchr(b'\n', text)?;
    let header = &text[..line_end];
    let header = header.strip_suffix(b"\r").unwrap_or(header);
    if memrchr(b'{', header)? != 0 {
        return None;
    }
    let size = literal_at_end(header)?.size;
    let (content, rest) = text.get(line_end + 1..)?.split_at_checked(size)?;
    Some((content.into(), rest))
}

/// Writes a quoted string, whose content must be fit for one.
pub(crate) fn write_quoted(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &octet in text {
        if matches!(octet, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(octet);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_in_braces_announces_a_literal() {
        let literal = |line: &str| literal_at_end(line.as_bytes());
        assert_eq!(literal("a LOGIN {8}"), Some(Literal { size: 8, synchronising: true }));
        assert_eq!(literal("{0000008+}"), Some(Literal { size: 8, synchronising: false }));
        for other in
            ["{}", "{-1}", "{ 4}", "{4 }", "{+4}", "{4++}", "{4-}", "{0x4}", "{4", "{4}x", "4}"]
        {
            assert_eq!(literal(other), None, "{other}");
        }
        let huge = literal("{18446744073709551617}").expect("a number, however large");
        assert_eq!(huge.size, usize::MAX);
    }

    #[test]
    fn a_unit_reaches_behind_its_literals() {
        let input = b"a LOGIN {1+}\r\nu {2}\r\npp\r\nnext";
        let mut framing = Framing::default();
        let Piece::Literal { literal, end } = framing.next(input, 100) else { panic!("{{1+}}") };
        assert_eq!((literal.size, end), (1, 14));
        assert_eq!(framing.skip(literal, end), 1);
        let Piece::Literal { literal, end } = framing.next(input, 100) else { panic!("{{2}}") };
        assert!(literal.synchronising);
        assert_eq!(framing.skip(literal, end), 2);
        assert_eq!(framing.next(input, 100), Piece::Whole { content: 23, end: 25 });
    }

    #[test]
    fn strings_are_taken_from_the_front() {
        let read = |text: &'static [u8]| {
            read_string(text).map(|(content, rest)| (content.into_owned(), rest))
        };
        let is = |content: &[u8], rest: &'static [u8]| Some((content.to_vec(), rest));
        assert_eq!(read(br#""" x"#), is(b"", b" x"));
        assert_eq!(read(br#""a\"b\\c"d"#), is(br#"a"b\c"#, b"d"));
        assert_eq!(read(br#""\"""#), is(b"\"", b""));
        assert_eq!(read(b"{3}\r\n\"\r\n)"), is(b"\"\r\n", b")"));
        assert_eq!(read(b"{0+}\n"), is(b"", b""));
        for bad in [
            &b""[..],
            b"a",
            b"\"a",
            b"\"a\\",
            br#""a\x""#,
            b"\"a\0\"",
            b"\"a\r\n\"",
            b"{2}\r\na",
            b"{2}",
            b"{2} {1}\r\na",
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_is_written_quoted_reads_back() {
        let mut text = Vec::new();
        write_quoted(br#"a "b" \c"#, &mut text);
        assert_eq!(text, br#""a \"b\" \\c""#);
        assert_eq!(read_quoted(&text).map(|(content, _)| content), Some(br#"a "b" \c"#[..].into()));
    }
}
