//! The text of scripts: octets written so that they can be read and reviewed.
//!
//! [`expand`] turns a script's text into octets, [`printed`] octets into such text; what is printed
//! expands to itself. Words of header and `W:` lines are split by [`words`], which knows quotes and
//! nothing else. The grammar stands in `conformance/scripts/README.md`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::proxy_header::{version_1, version_2};

/// Octets that one line may expand to; a typing mistake in `$times` should not eat the memory.
const EXPANSION_OCTETS_MAX: usize = 4 << 20;

/// How functions begin.
const FUNCTIONS: [&[u8]; 4] = [b"$b64(", b"$times(", b"$proxy1(", b"$proxy2("];

/// What a line's text stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expanded {
    /// The octets, without an implied line end.
    pub(super) octets: Vec<u8>,
    /// Whether a backslash at the end suppresses the implied line end.
    pub(super) open: bool,
}

impl Expanded {
    /// The octets with the line end that is implied unless it is suppressed.
    pub(super) fn with_line_end(mut self) -> Vec<u8> {
        if !self.open {
            self.octets.extend_from_slice(b"\r\n");
        }
        self.octets
    }
}

/// The octets that a text stands for, or what is wrong with it.
pub(super) fn expand(text: &str) -> Result<Expanded, String> {
    let mut cursor = Cursor { rest: text.as_bytes(), open: false };
    let octets = cursor.octets(false)?;
    Ok(Expanded { octets, open: cursor.open })
}

/// The text that stands for these octets.
pub(super) fn printed(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    for (position, octet) in octets.iter().enumerate() {
        let rest = &octets[position..];
        match *octet {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            0 => text.push_str("\\0"),
            b'\\' => text.push_str("\\\\"),
            b'$' if FUNCTIONS.iter().any(|function| rest.starts_with(function)) => {
                text.push_str("\\x24");
            }
            b' ' if rest.len() == 1 => text.push_str("\\x20"),
            b' '..=b'~' => text.push(char::from(*octet)),
            _ => text.push_str(&format!("\\x{octet:02x}")),
        }
    }
    text
}

/// Splits at white space; double quotes hold it together, with `\"` and `\\` inside.
pub(super) fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word = None::<String>;
    let mut quoted = false;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' if quoted => match characters.next() {
                Some(escaped @ ('"' | '\\')) => word.get_or_insert_default().push(escaped),
                _ => return Err("in quotes a backslash stands before \" or \\ only".into()),
            },
            _ if !quoted && character.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    if quoted {
        return Err("a double quote is not closed".into());
    }
    words.extend(word);
    Ok(words)
}

struct Cursor<'a> {
    rest: &'a [u8],
    open: bool,
}

impl Cursor<'_> {
    /// Everything to the end, or to the parenthesis that closes an argument.
    fn octets(&mut self, argument: bool) -> Result<Vec<u8>, String> {
        let mut octets = Vec::new();
        let mut depth = 0_u32;
        while let Some(&octet) = self.rest.first() {
            match octet {
                b'\\' => octets.extend(self.escape(argument)?),
                b'$' if self.skip(b"$b64(") => {
                    octets.extend_from_slice(STANDARD.encode(self.octets(true)?).as_bytes());
                }
                b'$' if self.skip(b"$times(") => octets.extend(self.times()?),
                b'$' if self.skip(b"$proxy1(") => octets.extend(version_1(&self.octets(true)?)?),
                b'$' if self.skip(b"$proxy2(") => octets.extend(version_2(&self.octets(true)?)?),
                b')' if argument && depth == 0 => {
                    self.rest = &self.rest[1..];
                    return Ok(octets);
                }
                b' '..=b'~' => {
                    depth += u32::from(octet == b'(');
                    depth = depth.saturating_sub(u32::from(octet == b')'));
                    octets.push(octet);
                    self.rest = &self.rest[1..];
                }
                _ => return Err("octets beyond printable ASCII are written \\xNN".into()),
            }
            if octets.len() > EXPANSION_OCTETS_MAX {
                return Err("the text expands to too much".into());
            }
        }
        if argument { Err("a parenthesis is not closed".into()) } else { Ok(octets) }
    }

    fn skip(&mut self, prefix: &[u8]) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn escape(&mut self, argument: bool) -> Result<Option<u8>, String> {
        let (octet, eaten) = match self.rest.get(1) {
            None if argument => return Err("a parenthesis is not closed".into()),
            None => {
                self.open = true;
                (None, 1)
            }
            Some(b'r') => (Some(b'\r'), 2),
            Some(b'n') => (Some(b'\n'), 2),
            Some(b't') => (Some(b'\t'), 2),
            Some(b'0') => (Some(0), 2),
            Some(b'\\') => (Some(b'\\'), 2),
            Some(b'x') => {
                let digits = self.rest.get(2..4).and_then(|digits| str::from_utf8(digits).ok());
                let octet = digits
                    .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
                    .and_then(|digits| u8::from_str_radix(digits, 16).ok());
                (Some(octet.ok_or("\\x wants two hexadecimal digits")?), 4)
            }
            Some(_) => return Err("an escape is one of \\r \\n \\t \\0 \\\\ \\xNN".into()),
        };
        self.rest = &self.rest[eaten..];
        Ok(octet)
    }

    fn times(&mut self) -> Result<Vec<u8>, String> {
        let wrong = || String::from("$times wants a number, a comma and a text");
        let comma = self.rest.iter().position(|octet| *octet == b',').ok_or_else(wrong)?;
        let digits = str::from_utf8(&self.rest[..comma]).map_err(|_| wrong())?;
        let count: usize = digits.parse().map_err(|_| wrong())?;
        self.rest = &self.rest[comma + 1..];
        self.skip(b" ");
        let octets = self.octets(true)?;
        match octets.len().checked_mul(count) {
            Some(total) if total <= EXPANSION_OCTETS_MAX => Ok(octets.repeat(count)),
            Some(_) | None => Err("the text expands to too much".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn octets(text: &str) -> Vec<u8> {
        expand(text).unwrap().octets
    }

    #[test]
    fn escapes_and_line_ends() {
        assert_eq!(octets(r"a\r\n\t\0\\\x7f\xFF"), b"a\r\n\t\0\\\x7f\xff");
        assert_eq!(expand("a").unwrap().with_line_end(), b"a\r\n");
        assert_eq!(expand("a\\").unwrap().with_line_end(), b"a");
        assert_eq!(expand(r"a\\").unwrap().with_line_end(), b"a\\\r\n");
        assert_eq!(expand("").unwrap().with_line_end(), b"\r\n");
    }

    #[test]
    fn functions_nest_and_parentheses_balance() {
        assert_eq!(octets(r"x $b64(\0u\0p) y"), b"x AHUAcA== y");
        assert_eq!(octets("$times(3, ab)"), b"ababab");
        assert_eq!(octets("$times(2,  a)"), b" a a");
        assert_eq!(octets("$b64($times(3, a))"), b"YWFh");
        assert_eq!(octets("$b64((a))"), STANDARD.encode("(a)").as_bytes());
        assert_eq!(octets("$b65(a) $ ( )"), b"$b65(a) $ ( )");
        assert_eq!(octets("$times(0, a)"), b"");
    }

    #[test]
    fn mistakes_are_named() {
        for text in ["\\q", "\\x4", "\\x+4", "$b64(a", "$times(a)", "$times(x, a)", "$b64(a\\", "é"]
        {
            assert!(expand(text).is_err(), "{text}");
        }
        assert!(expand("$times(9999999999, abc)").is_err());
    }

    #[test]
    fn what_is_printed_expands_to_itself() {
        let every: Vec<u8> =
            (0..=255).chain(*b"$b64(a) $times(2, b) $proxy1(c) $proxy2(d) $ ").collect();
        assert_eq!(octets(&printed(&every)), every);
        assert!(printed(b"+ ").ends_with("\\x20"));
    }

    #[test]
    fn quotes_hold_words_together() {
        let all = words(r#"a  b="c \"d\" \\" """#).unwrap();
        assert_eq!(all, ["a", r#"b=c "d" \"#, ""]);
        assert!(words("a\"b").is_err());
    }
}
