//! One IMAP command of a client, taken apart: tag, verb, arguments.
//!
//! Everything here is a pure function over the bytes of a whole command (its line end left out,
//! its literals included). A failed parse says nothing about where the command ends: that was
//! settled before.
//!
//! RFC 9051 §9 (grammar), RFC 2971 §3.3 (limits of ID).

use alloc::vec::Vec;

use super::{is_astring_char, is_atom_char};
use crate::literal::read_string;
use crate::secret::Secret;

/// Octets of a tag.
pub(crate) const TAG_MAX: usize = 64;

/// Pairs in one ID command.
pub(crate) const ID_PAIRS_MAX: usize = 30;

/// Octets of a field's name in ID.
pub(crate) const ID_NAME_MAX: usize = 30;

/// Octets of a field's value in ID.
pub(crate) const ID_VALUE_MAX: usize = 1024;

/// Tag, verb and arguments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Command<'a> {
    pub(crate) tag: &'a [u8],
    pub(crate) verb: &'a [u8],
    pub(crate) arguments: Arguments<'a>,
}

/// Why a command cannot be taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Malformed<'a> {
    /// It begins with nothing that may be a tag.
    Tag,
    /// It is one word; that may be a message of an exchange that was refused meanwhile, so it is
    /// not taken for a tag and never echoed.
    Lone,
    /// Behind the tag stands no verb.
    Verb(&'a [u8]),
}

impl<'a> Command<'a> {
    pub(crate) fn parse(command: &'a [u8]) -> Result<Self, Malformed<'a>> {
        // RFC 9051 §9: tag = 1*<any ASTRING-CHAR except "+">
        let tag_char = |octet: &u8| is_astring_char(*octet) && *octet != b'+';
        let (tag, rest) = split_while(command, tag_char);
        let ends = matches!(rest.first(), None | Some(b' '));
        if tag.is_empty() || tag.len() > TAG_MAX || !ends {
            return Err(Malformed::Tag);
        }
        let rest = rest.strip_prefix(b" ").ok_or(Malformed::Lone)?;
        let (verb, rest) = split_while(rest, |octet| *octet != b' ');
        if verb.is_empty() {
            return Err(Malformed::Verb(tag));
        }
        Ok(Self { tag, verb, arguments: Arguments(rest) })
    }

    pub(crate) const fn is(&self, verb: &str) -> bool {
        self.verb.eq_ignore_ascii_case(verb.as_bytes())
    }
}

/// What follows a verb; reading takes from the front.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arguments<'a>(&'a [u8]);

impl<'a> Arguments<'a> {
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn exactly(&mut self, octet: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        (*first == octet).then(|| self.0 = rest)
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }

    fn atom(&mut self) -> Option<&'a [u8]> {
        let (atom, rest) = split_while(self.0, |octet| is_atom_char(*octet));
        self.0 = rest;
        (!atom.is_empty()).then_some(atom)
    }

    fn astring(&mut self) -> Option<Vec<u8>> {
        if matches!(self.0.first(), Some(b'"' | b'{')) {
            return self.string();
        }
        let (text, rest) = split_while(self.0, |octet| is_astring_char(*octet));
        self.0 = rest;
        (!text.is_empty()).then(|| text.to_vec())
    }

    fn string(&mut self) -> Option<Vec<u8>> {
        let is_literal = self.0.starts_with(b"{");
        let (text, rest) = read_string(self.0)?;
        self.0 = rest;
        // RFC 9051 §9: what follows a literal is a separator or the end.
        let separated = matches!(rest.first(), None | Some(b' ' | b')'));
        (separated || !is_literal).then(|| text.into_owned())
    }

    fn nstring(&mut self) -> Option<Option<Vec<u8>>> {
        match self.0.get(..3) {
            Some(nil) if nil.eq_ignore_ascii_case(b"NIL") => {
                self.0 = &self.0[3..];
                Some(None)
            }
            _ => self.string().map(Some),
        }
    }
}

/// `LOGIN user password`.
pub(crate) fn login(mut arguments: Arguments<'_>) -> Option<(Vec<u8>, Secret)> {
    arguments.exactly(b' ')?;
    let user = arguments.astring()?;
    arguments.exactly(b' ')?;
    let password = Secret::new(arguments.astring()?);
    arguments.end()?;
    Some((user, password))
}

/// `AUTHENTICATE mechanism [initial-response]`, the response still in base64.
pub(crate) fn authenticate<'a>(
    mut arguments: Arguments<'a>,
) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    arguments.exactly(b' ')?;
    let mechanism = arguments.atom()?;
    if arguments.is_empty() {
        return Some((mechanism, None));
    }
    arguments.exactly(b' ')?;
    let initial = arguments.atom()?;
    arguments.end()?;
    Some((mechanism, Some(initial)))
}

/// What a client said of itself with ID.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct IdFields(Vec<(Vec<u8>, Option<Vec<u8>>)>);

/// What an ID command said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Id {
    /// Of the client itself.
    pub(crate) own: IdFields,
    /// What only a proxy may say, of its client.
    pub(crate) reserved: IdFields,
}

/// ID's argument is not a list of pairs, or is past a limit of RFC 2971 §3.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadId;

impl IdFields {
    /// Names and values, in the client's order.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.0.iter().map(|(name, value)| (name.as_slice(), value.as_deref()))
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Id {
    /// Reads ID's argument.
    pub(crate) fn parse(arguments: Arguments<'_>) -> Result<Self, BadId> {
        Self::read(arguments).ok_or(BadId)
    }

    fn read(mut arguments: Arguments<'_>) -> Option<Self> {
        arguments.exactly(b' ')?;
        if arguments.0.eq_ignore_ascii_case(b"NIL") {
            return Some(Self::default());
        }
        let mut id = Self::default();
        let mut pairs = 0;
        arguments.exactly(b'(')?;
        while arguments.exactly(b')').is_none() {
            if pairs > 0 {
                arguments.exactly(b' ')?;
            }
            let name = arguments.string()?;
            arguments.exactly(b' ')?;
            let value = arguments.nstring()?;
            pairs += 1;
            let fits = name.len() <= ID_NAME_MAX
                && value.as_ref().is_none_or(|value| value.len() <= ID_VALUE_MAX);
            if !fits || pairs > ID_PAIRS_MAX {
                return None;
            }
            let fields = if is_reserved_id_field(&name) { &mut id.reserved } else { &mut id.own };
            fields.0.push((name, value));
        }
        arguments.end()?;
        Some(id)
    }
}

/// Whether a field of a client's ID command would speak in a proxy's name: as all do that proxies
/// write and backends trust. Of the fields that RFC 2971 §3.3 gives to clients none begins so.
fn is_reserved_id_field(name: &[u8]) -> bool {
    name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"x-"))
}

fn split_while(bytes: &[u8], wanted: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|octet| !wanted(octet)).unwrap_or(bytes.len());
    bytes.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login_of(text: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        login(Arguments(text)).map(|(user, password)| (user, password.expose().to_vec()))
    }

    fn pair(user: &[u8], password: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        Some((user.to_vec(), password.to_vec()))
    }

    #[test]
    fn tags_are_narrow() {
        for good in [&b"a1 NOOP"[..], b". NOOP", b"A]b NOOP"] {
            assert!(Command::parse(good).is_ok(), "{good:?}");
        }
        for bad in
            [&b"+ NOOP"[..], b"* NOOP", b"a+b NOOP", b"a(1 NOOP", b"", b" a NOOP", b"a\x801 N"]
        {
            assert_eq!(Command::parse(bad).err(), Some(Malformed::Tag), "{bad:?}");
        }
        assert_eq!(Command::parse(b"AGFsaWNlAHNlY3JldA==").err(), Some(Malformed::Lone));
        for missing in [&b"a1 "[..], b"a1  NOOP"] {
            assert_eq!(Command::parse(missing).err(), Some(Malformed::Verb(b"a1")), "{missing:?}");
        }
    }

    #[test]
    fn the_three_kinds_of_string_mix() {
        assert_eq!(login_of(b" u p"), pair(b"u", b"p"));
        assert_eq!(login_of(br#" "te\"st\\x" "p\\w""#), pair(br#"te"st\x"#, br"p\w"));
        assert_eq!(login_of(b" {9+}\r\nuser\\name \"pa\\\"ss\""), pair(b"user\\name", b"pa\"ss"));
        assert_eq!(login_of(b" {1}\nu {2}\r\n\r\n"), pair(b"u", b"\r\n"));
        assert_eq!(login_of(b" NIL NIL"), pair(b"NIL", b"NIL"));
        assert_eq!(login_of(b" \"\" {0}\r\n"), pair(b"", b""));
    }

    #[test]
    fn what_is_not_two_strings_is_no_login() {
        for bad in [
            &b""[..],
            b" u",
            b" u ",
            b" u p x",
            b" u p ",
            b"  u p",
            br#" "\x" p"#,
            b" \"u p",
            b" {1+}\r\naX p",
            b" ~{1+}\r\na p",
            b" u\xff p",
            b" {9}\r\nu p",
            b" (u) p",
        ] {
            assert_eq!(login_of(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn id_keeps_apart_what_only_a_proxy_may_say() {
        let arguments = Arguments(br#" ("name" "x" "X-Originating-IP" "192.0.2.66" "os" NIL)"#);
        let id = Id::parse(arguments).expect("well-formed");
        let expected: [(&[u8], Option<&[u8]>); 2] = [(b"name", Some(b"x")), (b"os", None)];
        assert!(id.own.pairs().eq(expected));
        let expected: [(&[u8], Option<&[u8]>); 1] = [(b"X-Originating-IP", Some(b"192.0.2.66"))];
        assert!(id.reserved.pairs().eq(expected));
        assert_eq!(Id::parse(Arguments(b" nil")), Ok(Id::default()));
        assert_eq!(Id::parse(Arguments(b" ()")), Ok(Id::default()));
        for bad in
            [&b""[..], b" (\"a\")", b" (())", b" (\"a\" \"b\"", b" (\"a\" \"b\") x", b" (a b)"]
        {
            assert_eq!(Id::parse(Arguments(bad)), Err(BadId), "{bad:?}");
        }
    }

    #[test]
    fn names_of_ours_are_reserved_in_any_case() {
        assert!(is_reserved_id_field(b"X-Originating-IP"));
        assert!(is_reserved_id_field(b"x-whatever-comes"));
        assert!(!is_reserved_id_field(b"name") && !is_reserved_id_field(b"x"));
    }
}
