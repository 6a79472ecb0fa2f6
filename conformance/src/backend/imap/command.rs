//! Commands of IMAP: read from the connection with their literals, and taken apart.
//!
//! [`read`] collects one whole command within limits and answers synchronising literals on the way;
//! it eats exactly the command's octets, or says that this is impossible. [`Arguments`] is the
//! parser: each function eats one element of the grammar of RFC 3501 §9 or says what was expected
//! there. What the commands do stands in `mod`.

use std::collections::VecDeque;
use std::io;

use super::super::connection::{Announced, Connection, Line};
use super::super::store::{FLAGS, Flags};

/// The most octets of a command without its literals.
pub(super) const COMMAND_OCTETS: usize = 64 * 1024;

/// The most octets of a literal of any command but APPEND.
pub(super) const LITERAL_OCTETS: usize = 16 * 1024;

/// The most octets of a message that APPEND takes, after login.
pub(super) const MESSAGE_OCTETS: usize = 64 * 1024 * 1024;

/// The most literals of one command.
const LITERALS: usize = 32;

/// The most octets of a tag.
const TAG_OCTETS: usize = 64;

/// What [`read`] found.
pub(super) enum Received {
    Command(Command),
    /// To be answered with this line; the connection can go on.
    Bad(String),
    /// To be answered with BYE and this reason: where the next command begins is not known.
    Fatal(&'static str),
    Ended,
}

pub(super) struct Command {
    pub(super) tag: String,
    /// In upper case.
    pub(super) verb: String,
    pub(super) arguments: Arguments,
}

/// The next command. Only `logged_in` clients may send a long literal.
pub(super) async fn read(connection: &mut Connection, logged_in: bool) -> io::Result<Received> {
    let mut text = Vec::new();
    let mut literals = VecDeque::new();
    loop {
        let line = match connection.line(COMMAND_OCTETS - text.len()).await? {
            Line::Text(line) => line,
            Line::TooLong => return Ok(Received::Fatal("Command line too long")),
            Line::Ended => return Ok(Received::Ended),
        };
        let announced = Announced::at_end_of(&line);
        text.extend_from_slice(&line);
        let Some(announced) = announced else {
            return Ok(parse(text, literals));
        };
        let most = most_octets(&text, logged_in);
        if announced.octets > most as u64 || literals.len() >= LITERALS {
            if !announced.synchronising {
                return Ok(Received::Fatal("Literal too long"));
            }
            let tag = tag(&text).map_or("*", |(tag, _)| tag);
            return Ok(Received::Bad(format!("{tag} NO [TOOBIG] Literal too long")));
        }
        if text.len() + 2 >= COMMAND_OCTETS {
            return Ok(Received::Fatal("Command line too long"));
        }
        if announced.synchronising {
            connection.out.line("+ Go ahead");
        }
        // Within `most`, hence within usize.
        match connection.octets(announced.octets as usize).await? {
            Some(literal) => literals.push_back(literal),
            None => return Ok(Received::Ended),
        }
        text.extend_from_slice(b"\r\n");
    }
}

fn most_octets(text: &[u8], logged_in: bool) -> usize {
    let verb = tag(text).and_then(|(_, rest)| rest.split(|byte| *byte == b' ').next());
    let appends = verb.is_some_and(|verb| verb.eq_ignore_ascii_case(b"APPEND"));
    if appends && logged_in { MESSAGE_OCTETS } else { LITERAL_OCTETS }
}

/// The tag, and what follows its space.
fn tag(text: &[u8]) -> Option<(&str, &[u8])> {
    let end = text.iter().position(|byte| *byte == b' ').unwrap_or(text.len());
    let (tag, rest) = text.split_at(end);
    let fits = (1..=TAG_OCTETS).contains(&tag.len())
        && tag.iter().all(|byte| is_astring_byte(*byte) && *byte != b'+');
    let tag = std::str::from_utf8(tag).ok().filter(|_| fits)?;
    Some((tag, rest.get(1..).unwrap_or_default()))
}

fn parse(text: Vec<u8>, literals: VecDeque<Vec<u8>>) -> Received {
    let Some((tag, rest)) = tag(&text) else {
        return Received::Bad("* BAD Invalid tag".to_owned());
    };
    let tag = tag.to_owned();
    let position = text.len() - rest.len();
    let mut arguments = Arguments { text, position, literals };
    match arguments.atom() {
        Ok(verb) => Received::Command(Command { tag, verb: verb.to_ascii_uppercase(), arguments }),
        Err(_) => Received::Bad(format!("{tag} BAD Command expected")),
    }
}

/// What was expected, for the client to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Syntax(pub(super) &'static str);

/// What follows a command's verb. In the text, each literal's announcement stands with its CRLF;
/// its octets wait in a queue of their own.
pub(super) struct Arguments {
    text: Vec<u8>,
    position: usize,
    literals: VecDeque<Vec<u8>>,
}

impl Arguments {
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.get(self.position).copied()
    }

    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.position += usize::from(there);
        there
    }

    pub(super) fn expect(&mut self, byte: u8, wanted: &'static str) -> Result<(), Syntax> {
        if self.eat(byte) { Ok(()) } else { Err(Syntax(wanted)) }
    }

    pub(super) fn space(&mut self) -> Result<(), Syntax> {
        self.expect(b' ', "Space expected")
    }

    /// Nothing may follow but white space, which some clients leave there.
    pub(super) fn end(&mut self) -> Result<(), Syntax> {
        while self.eat(b' ') {}
        if self.position == self.text.len() {
            Ok(())
        } else {
            Err(Syntax("End of command expected"))
        }
    }

    fn take_while(&mut self, fits: impl Fn(u8) -> bool) -> &str {
        let start = self.position;
        while self.peek().is_some_and(|byte| byte.is_ascii() && fits(byte)) {
            self.position += 1;
        }
        // Only ASCII was taken.
        std::str::from_utf8(&self.text[start..self.position]).unwrap_or_default()
    }

    fn word(&mut self, fits: impl Fn(u8) -> bool, wanted: &'static str) -> Result<String, Syntax> {
        let word = self.take_while(fits);
        if word.is_empty() { Err(Syntax(wanted)) } else { Ok(word.to_owned()) }
    }

    pub(super) fn atom(&mut self) -> Result<String, Syntax> {
        self.word(is_atom_byte, "Atom expected")
    }

    /// Letters, digits, dots: the name of a FETCH item up to its bracket.
    pub(super) fn item_name(&mut self) -> Result<String, Syntax> {
        let name =
            self.word(|byte| byte.is_ascii_alphanumeric() || byte == b'.', "Item expected")?;
        Ok(name.to_ascii_uppercase())
    }

    pub(super) fn number(&mut self) -> Result<u32, Syntax> {
        let digits = self.word(|byte| byte.is_ascii_digit(), "Number expected")?;
        digits.parse().map_err(|_| Syntax("Number too large"))
    }

    /// The text of a sequence set; see `sequence` for its meaning.
    pub(super) fn sequence_text(&mut self) -> Result<String, Syntax> {
        let fits = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'*' | b':' | b',');
        self.word(fits, "Sequence set expected")
    }

    /// An atom (brackets allowed), a quoted string or a literal.
    pub(super) fn astring(&mut self) -> Result<Vec<u8>, Syntax> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            _ => Ok(self.word(is_astring_byte, "String expected")?.into_bytes()),
        }
    }

    /// An astring in which `%` and `*` may stand.
    pub(super) fn list_mailbox(&mut self) -> Result<Vec<u8>, Syntax> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            _ => {
                let fits = |byte| is_astring_byte(byte) || matches!(byte, b'%' | b'*');
                Ok(self.word(fits, "Mailbox pattern expected")?.into_bytes())
            }
        }
    }

    /// An astring that is UTF-8, as mailbox names are here.
    pub(super) fn mailbox(&mut self) -> Result<String, Syntax> {
        text(self.astring()?)
    }

    pub(super) fn pattern(&mut self) -> Result<String, Syntax> {
        text(self.list_mailbox()?)
    }

    /// A string, or None for NIL.
    pub(super) fn nstring(&mut self) -> Result<Option<Vec<u8>>, Syntax> {
        match self.peek() {
            Some(b'"' | b'{') => self.string().map(Some),
            _ if self.atom()?.eq_ignore_ascii_case("NIL") => Ok(None),
            _ => Err(Syntax("String or NIL expected")),
        }
    }

    /// A quoted string or a literal.
    pub(super) fn string(&mut self) -> Result<Vec<u8>, Syntax> {
        if self.peek() == Some(b'{') {
            return self.literal();
        }
        self.expect(b'"', "String expected")?;
        let mut value = Vec::new();
        loop {
            let byte = self.peek().ok_or(Syntax("Quoted string does not end"))?;
            self.position += 1;
            match byte {
                b'"' => return Ok(value),
                b'\\' => {
                    let escaped = self.peek().filter(|byte| matches!(byte, b'"' | b'\\'));
                    value.push(escaped.ok_or(Syntax("Only quote and backslash are escaped"))?);
                    self.position += 1;
                }
                b'\r' | b'\n' | 0 => return Err(Syntax("Quoted string does not end")),
                _ => value.push(byte),
            }
        }
    }

    pub(super) fn literal(&mut self) -> Result<Vec<u8>, Syntax> {
        self.expect(b'{', "Literal expected")?;
        self.take_while(|byte| byte.is_ascii_digit());
        self.eat(b'+');
        self.expect(b'}', "Literal expected")?;
        self.expect(b'\r', "Literal expected")?;
        self.expect(b'\n', "Literal expected")?;
        self.literals.pop_front().ok_or(Syntax("Literal expected"))
    }

    /// `(\Seen $Label)`.
    pub(super) fn flag_list(&mut self) -> Result<Flags, Syntax> {
        self.expect(b'(', "Flag list expected")?;
        let mut flags = Flags::default();
        if self.eat(b')') {
            return Ok(flags);
        }
        self.flags(&mut flags)?;
        self.expect(b')', "Flag list does not end")?;
        Ok(flags)
    }

    /// A list as above, or the same without parentheses, as STORE takes it.
    pub(super) fn store_flags(&mut self) -> Result<Flags, Syntax> {
        if self.peek() == Some(b'(') {
            return self.flag_list();
        }
        let mut flags = Flags::default();
        self.flags(&mut flags)?;
        Ok(flags)
    }

    fn flags(&mut self, flags: &mut Flags) -> Result<(), Syntax> {
        for _ in 0..FLAGS {
            let system = self.eat(b'\\');
            let name = self.atom()?;
            match system {
                true if name.eq_ignore_ascii_case("Recent") => {}
                true => flags.insert(&format!("\\{name}")),
                false => flags.insert(&name),
            }
            if !self.eat(b' ') {
                return Ok(());
            }
        }
        Err(Syntax("Too many flags"))
    }
}

fn text(bytes: Vec<u8>) -> Result<String, Syntax> {
    let text = String::from_utf8(bytes).map_err(|_| Syntax("Name is not UTF-8"))?;
    let plain = !text.chars().any(char::is_control);
    if plain { Ok(text) } else { Err(Syntax("Control character in a name")) }
}

fn is_atom_byte(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~')
        && !matches!(byte, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

fn is_astring_byte(byte: u8) -> bool {
    is_atom_byte(byte) || byte == b']'
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Arguments as they stand in a command, without literals.
    pub(in super::super) fn arguments(text: &str) -> Arguments {
        Arguments { text: text.into(), position: 0, literals: VecDeque::new() }
    }

    async fn first(input: &[u8], logged_in: bool) -> (Received, Connection) {
        let mut connection = Connection::new(Box::new(io::Cursor::new(input.to_vec())));
        (read(&mut connection, logged_in).await.unwrap(), connection)
    }

    #[tokio::test]
    async fn literals_are_read_into_their_places() {
        let (received, _) = first(b"a1 login {3+}\r\nx\r\n {2+}\r\ny} \"p\\\"\"\r\n", false).await;
        let Received::Command(mut command) = received else { panic!("no command") };
        assert_eq!((command.tag.as_str(), command.verb.as_str()), ("a1", "LOGIN"));
        let arguments = &mut command.arguments;
        arguments.space().unwrap();
        assert_eq!(arguments.astring().unwrap(), b"x\r\n");
        arguments.space().unwrap();
        assert_eq!(arguments.astring().unwrap(), b"y}");
        arguments.space().unwrap();
        assert_eq!(arguments.astring().unwrap(), b"p\"");
        arguments.end().unwrap();
    }

    #[tokio::test]
    async fn a_literal_has_a_limit_before_and_after_login() {
        let at = format!("a login {{{LITERAL_OCTETS}+}}\r\n{}\r\n", "x".repeat(LITERAL_OCTETS));
        assert!(matches!(first(at.as_bytes(), false).await.0, Received::Command(_)));
        let past = format!("a login {{{}+}}\r\n", LITERAL_OCTETS + 1);
        assert!(matches!(first(past.as_bytes(), true).await.0, Received::Fatal(_)));
        let past = format!("a append x {{{}}}\r\n", LITERAL_OCTETS + 1);
        let Received::Bad(reply) = first(past.as_bytes(), false).await.0 else { panic!("taken") };
        assert_eq!(reply, "a NO [TOOBIG] Literal too long");
        let past = format!("a append x {{{}+}}\r\n", MESSAGE_OCTETS + 1);
        assert!(matches!(first(past.as_bytes(), true).await.0, Received::Fatal(_)));
        let huge = b"a append x {99999999999999999999}\r\n";
        assert!(matches!(first(huge, true).await.0, Received::Command(_)));
    }

    #[tokio::test]
    async fn what_is_no_command_is_said_and_survived() {
        for (input, reply) in [
            (&b"\r\n"[..], "* BAD Invalid tag"),
            (b"+ NOOP\r\n", "* BAD Invalid tag"),
            (b"\xff\xfe NOOP\r\n", "* BAD Invalid tag"),
            (b"a1\r\n", "a1 BAD Command expected"),
            (b"a1 (\r\n", "a1 BAD Command expected"),
        ] {
            let (received, mut connection) = first(&[input, b"b NOOP\r\n"].concat(), false).await;
            let Received::Bad(said) = received else { panic!("taken") };
            assert_eq!(said, reply);
            assert!(matches!(read(&mut connection, false).await.unwrap(), Received::Command(_)));
        }
    }

    #[test]
    fn strings_flags_and_names_are_strict() {
        assert_eq!(arguments("\"a").string(), Err(Syntax("Quoted string does not end")));
        assert!(arguments("\"\\n\"").string().is_err());
        assert!(arguments("{3}").string().is_err());
        assert!(arguments("\"\u{7}\"").mailbox().is_err());
        assert_eq!(arguments("(\\seen \\Recent a)").flag_list().unwrap().list(), "(\\Seen a)");
        assert!(arguments("(\\seen").flag_list().is_err());
        assert!(arguments(&"f ".repeat(FLAGS + 1)).store_flags().is_err());
        assert!(arguments("4294967296").number().is_err());
    }
}
