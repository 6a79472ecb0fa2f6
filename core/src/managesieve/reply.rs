//! One unit of a ManageSieve backend, taken apart: a reply, or a line of strings.
//!
//! A reply is OK, NO or BYE with a response code and a text, each of which may be missing; any
//! other line is one string or two: a capability, or a challenge. Codes are written anew when they
//! are passed on, so nothing of their form is left to the backend. What a reply means is not
//! decided here.
//!
//! RFC 5804 §1.3 (response codes), §4 (grammar).

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::quotable;
use crate::literal::{read_string, write_quoted};

/// One unit of a backend.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unit<'a> {
    Reply(Reply),
    Strings(Cow<'a, [u8]>, Option<Cow<'a, [u8]>>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    No,
    Bye,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: Status,
    pub(super) code: Option<Code>,
    pub(super) text: Vec<u8>,
}

/// What stands between the parentheses of a reply.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Code {
    /// All of it, without line ends and what else cannot be quoted.
    written: Vec<u8>,
    /// Its first string.
    argument: Option<Vec<u8>>,
}

impl<'a> Unit<'a> {
    pub(super) fn parse(unit: &'a [u8]) -> Option<Self> {
        if let Some((first, rest)) = read_string(unit) {
            if rest.is_empty() {
                return Some(Self::Strings(first, None));
            }
            let (second, rest) = read_string(rest.strip_prefix(b" ")?)?;
            return rest.is_empty().then_some(Self::Strings(first, Some(second)));
        }
        Reply::parse(unit).map(Self::Reply)
    }
}

impl Reply {
    fn parse(unit: &[u8]) -> Option<Self> {
        const WORDS: [(&[u8], Status); 3] =
            [(b"OK", Status::Ok), (b"NO", Status::No), (b"BYE", Status::Bye)];
        let (status, mut rest) = WORDS.into_iter().find_map(|(word, status)| {
            let (start, rest) = unit.split_at_checked(word.len())?;
            start.eq_ignore_ascii_case(word).then_some((status, rest))
        })?;
        let mut code = None;
        if let Some(inside) = rest.strip_prefix(b" (") {
            let (found, behind) = Code::read(inside)?;
            code = Some(found);
            rest = behind;
        }
        let mut text = Vec::new();
        if let Some(string) = rest.strip_prefix(b" ") {
            let (found, behind) = read_string(string)?;
            text = found.into_owned();
            rest = behind;
        }
        rest.is_empty().then_some(Self { status, code, text })
    }

    /// The code is this one, or a kind of it (RFC 5804 §1.3: parts are separated by slashes).
    pub(super) fn is(&self, name: &str) -> bool {
        self.code.as_ref().is_some_and(|code| {
            code.name().split_at_checked(name.len()).is_some_and(|(start, rest)| {
                let whole = matches!(rest.first(), None | Some(b'/'));
                whole && start.eq_ignore_ascii_case(name.as_bytes())
            })
        })
    }
}

impl Code {
    /// Reads up to the closing parenthesis; gives what stands behind it.
    fn read(mut rest: &[u8]) -> Option<(Self, &[u8])> {
        let mut code = Self::default();
        let mut open = 0_usize;
        loop {
            let (&octet, behind) = rest.split_first()?;
            match octet {
                b')' if open == 0 => return (!code.name().is_empty()).then_some((code, behind)),
                b')' => open -= 1,
                b'(' => open += 1,
                b'"' | b'{' => {
                    let (string, behind) = read_string(rest)?;
                    write_quoted(quotable(&string).as_bytes(), &mut code.written);
                    code.argument.get_or_insert_with(|| string.into_owned());
                    rest = behind;
                    continue;
                }
                b' ' => {}
                _ if octet.is_ascii_graphic() && octet != b'\\' => {}
                _ => return None,
            }
            code.written.push(octet);
            rest = behind;
        }
    }

    fn name(&self) -> &[u8] {
        let end = self.written.iter().position(|octet| b" \"()".contains(octet));
        &self.written[..end.unwrap_or(self.written.len())]
    }

    /// As it may be passed on, without its parentheses.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.written
    }

    /// Its first string.
    pub(super) fn argument(&self) -> Option<&[u8]> {
        self.argument.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(unit: &[u8]) -> Reply {
        match Unit::parse(unit) {
            Some(Unit::Reply(reply)) => reply,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_reply_has_a_code_and_a_text_or_not() {
        assert_eq!(reply(b"ok"), Reply { status: Status::Ok, code: None, text: Vec::new() });
        assert_eq!(reply(b"NO \"a b\"").text, b"a b");
        assert_eq!(reply(b"BYE {2}\r\nab").text, b"ab");
        let both = reply(b"NO (QUOTA/MAXSIZE) {3}\r\na\r\n");
        assert!(both.is("quota") && both.is("QUOTA/MAXSIZE") && !both.is("QUO"));
        assert_eq!(both.text, b"a\r\n");
        assert!(reply(b"NO (TRYLATER)").text.is_empty());
    }

    #[test]
    fn a_code_is_written_anew() {
        let code = |unit: &[u8]| reply(unit).code.map(|code| code.as_bytes().to_vec());
        assert_eq!(code(b"OK (SASL \"Yg==\")"), Some(b"SASL \"Yg==\"".to_vec()));
        assert_eq!(
            reply(b"OK (SASL {4}\r\nYg==)").code.unwrap_or_default().argument(),
            Some(&b"Yg=="[..])
        );
        assert_eq!(code(b"NO (TAG {5}\r\na)\r\nb) \"x\""), Some(b"TAG \"a)b\"".to_vec()));
        assert_eq!(code(b"NO (X (a \"(\") b)"), Some(b"X (a \"(\") b".to_vec()));
        assert!(reply(b"NO (REFERRAL sieve://h.test)").is("REFERRAL"));
    }

    #[test]
    fn a_line_of_strings_is_no_reply() {
        let Some(Unit::Strings(key, value)) = Unit::parse(b"\"SASL\" {5}\r\nPLAIN") else {
            panic!("two strings")
        };
        assert_eq!((&*key, value.as_deref()), (&b"SASL"[..], Some(&b"PLAIN"[..])));
        assert_eq!(Unit::parse(b"\"\""), Some(Unit::Strings(b""[..].into(), None)));
    }

    #[test]
    fn what_is_neither_is_nothing() {
        for bad in [
            &b""[..],
            b"OKAY",
            b"OK ",
            b"OK text",
            b"OK  \"a\"",
            b"OK \"a\" ",
            b"OK (",
            b"OK ()",
            b"OK (\"a\")",
            b"OK (A",
            b"OK (A))",
            b"OK (A\r)",
            b"OK (A)\"b\"",
            b"\"a\" \"b\" \"c\"",
            b"\"a\" b",
            b"\"a\"\"b\"",
            b"* OK hello",
            b"+OK hello",
        ] {
            assert_eq!(Unit::parse(bad), None, "{:?}", bad.escape_ascii());
        }
    }
}
