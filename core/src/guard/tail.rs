//! What a line ends with: a literal, or nothing of the kind.
//!
//! A [`Tail`] is told octet by octet what a line holds, so that a line of any length costs no
//! memory. A literal stands behind a space or a parenthesis, perhaps with the `~` of RFC 3516
//! before it, and outside quoted strings. What looks like one and is not written so that every
//! server reads it alike is [`End::Odd`]. RFC 9051 §4.3, RFC 7888, RFC 5804 §1.2.

/// Octets of a literal that every server can count: 31 bits.
const LITERAL_MAX: u64 = 0x7fff_ffff;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tail {
    quote: Quote,
    brace: Brace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quote {
    Outside,
    Inside,
    /// Behind a backslash.
    Escaped,
}

/// How far the last octets have come with a literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Brace {
    /// One may begin here.
    Ready,
    /// Behind the `~` of one.
    Binary,
    /// None can begin here.
    Unready,
    Open {
        size: u64,
        digits: u8,
    },
    Plus(u64),
    Closed {
        size: u64,
        synchronising: bool,
    },
    /// Closed, and no literal.
    Stray,
}

/// How a line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Plain,
    Literal { size: u64, synchronising: bool },
    Odd,
}

impl Tail {
    pub(super) const fn new() -> Self {
        Self { quote: Quote::Outside, brace: Brace::Unready }
    }

    /// Takes an octet of a line, its end left out.
    pub(super) fn take(&mut self, octet: u8) {
        if self.quote != Quote::Outside {
            self.brace = Brace::Unready;
            self.quote = match (self.quote, octet) {
                (Quote::Inside, b'"') => Quote::Outside,
                (Quote::Inside, b'\\') => Quote::Escaped,
                (Quote::Inside | Quote::Escaped | Quote::Outside, _) => Quote::Inside,
            };
            return;
        }
        self.brace = match (self.brace, octet) {
            (Brace::Ready | Brace::Binary, b'{') => Brace::Open { size: 0, digits: 0 },
            (Brace::Open { size, digits }, b'0'..=b'9') => {
                let is_padded = digits > 0 && size == 0;
                let size = size * 10 + u64::from(octet - b'0');
                if is_padded || size > LITERAL_MAX {
                    Brace::Unready
                } else {
                    Brace::Open { size, digits: digits + 1 }
                }
            }
            (Brace::Open { size, digits: 1.. }, b'+') => Brace::Plus(size),
            (Brace::Open { size, digits: 1.. }, b'}') => {
                Brace::Closed { size, synchronising: true }
            }
            (Brace::Plus(size), b'}') => Brace::Closed { size, synchronising: false },
            (_, b'}') => Brace::Stray,
            (Brace::Ready, b'~') => Brace::Binary,
            (_, b' ' | b'(') => Brace::Ready,
            (_, _) => Brace::Unready,
        };
        if octet == b'"' {
            self.quote = Quote::Inside;
        }
    }

    /// The last octet was the plus sign of what may become a literal that does not wait.
    pub(super) fn is_behind_plus(self) -> bool {
        self.quote == Quote::Outside && matches!(self.brace, Brace::Plus(_))
    }

    /// How the line ends here.
    pub(super) fn end(self) -> End {
        match (self.quote, self.brace) {
            (Quote::Inside | Quote::Escaped, _) | (_, Brace::Stray) => End::Odd,
            (Quote::Outside, Brace::Closed { size, synchronising }) => {
                End::Literal { size, synchronising }
            }
            (
                Quote::Outside,
                Brace::Ready | Brace::Binary | Brace::Unready | Brace::Open { .. } | Brace::Plus(_),
            ) => End::Plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(line: &str) -> End {
        let mut tail = Tail::new();
        line.bytes().for_each(|octet| tail.take(octet));
        tail.end()
    }

    #[test]
    fn literals_stand_at_the_end_of_a_line() {
        let literal = |size, synchronising| End::Literal { size, synchronising };
        assert_eq!(end("a LOGIN {8}"), literal(8, true));
        assert_eq!(end("a APPEND \"x\" (\\Seen) ~{0+}"), literal(0, false));
        assert_eq!(end("a B ({2147483647}"), literal(LITERAL_MAX, true));
        assert_eq!(end(r#"a "\\" {1}"#), literal(1, true));
        for line in ["", "a", "a {5", "a {5} ", "a {5}x", "a \"{5}\"", "a {5+", r#"a "\"" b"#] {
            assert_eq!(end(line), End::Plain, "{line}");
        }
        for line in [
            "a x{5}",
            "a x~{5}",
            "a ~~{5}",
            "{5}",
            "a {5-}",
            "a {}",
            "a {+}",
            "a {05}",
            "a {2147483648}",
            "a {99999999999999999999999}",
            "a {5++}",
            "a }",
            "a \"{5}",
            "a \"b",
            r#"a "\" {5}"#,
        ] {
            assert_eq!(end(line), End::Odd, "{line}");
        }
    }
}
