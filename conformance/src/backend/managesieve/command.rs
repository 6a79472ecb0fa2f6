//! Commands of ManageSieve: read from the connection with their literals, and taken apart.
//!
//! A line that ends in `{n+}` goes on behind so many octets, whatever else is in it, so the place
//! where the next command begins never depends on whether this one makes sense. [`Words`] are the
//! arguments (RFC 5804 §4): strings, which may come quoted or as literals, and numbers. What the
//! commands do stands in `mod`.

use std::collections::VecDeque;
use std::io;

use super::super::connection::{Announced, Connection, Line};
use super::super::login::SASL_OCTETS;
use super::super::scripts::SCRIPT_OCTETS;

/// The most octets of a command without its literals.
pub(super) const COMMAND_OCTETS: usize = SASL_OCTETS + 1024;

/// The most octets of a literal before login.
const LITERAL_OCTETS: usize = SASL_OCTETS;

/// The most literals of one command.
const LITERALS: usize = 4;

/// What [`read`] found.
pub(super) enum Received {
    /// The words of a line; none in an empty one.
    Command(Words),
    /// No command, but its end was found.
    Bad,
    /// To be answered with BYE: where the next command begins is not known.
    TooLong,
    Ended,
}

/// The next command, or the client's part of a SASL exchange.
pub(super) async fn read(connection: &mut Connection, logged_in: bool) -> io::Result<Received> {
    let most = if logged_in { SCRIPT_OCTETS } else { LITERAL_OCTETS };
    let mut words = Some(Words::default());
    let mut octets = 0;
    let mut literals = 0;
    loop {
        let line = match connection.line(COMMAND_OCTETS - octets).await? {
            Line::Text(line) => line,
            Line::TooLong => return Ok(Received::TooLong),
            Line::Ended => return Ok(Received::Ended),
        };
        octets += line.len();
        let announced = Announced::at_end_of(&line).filter(|announced| !announced.synchronising);
        let text = match announced {
            Some(_) => &line[..line.iter().rposition(|byte| *byte == b'{').unwrap_or(0)],
            None => &line[..],
        };
        words = words.and_then(|words| words.and_text(text, announced.is_some()));
        let Some(announced) = announced else {
            return Ok(words.map_or(Received::Bad, Received::Command));
        };
        literals += 1;
        if announced.octets > most as u64 || literals > LITERALS || octets >= COMMAND_OCTETS {
            return Ok(Received::TooLong);
        }
        // Within `most`, hence within usize.
        match connection.octets(announced.octets as usize).await? {
            Some(literal) => words = words.map(|words| words.and(Word::Text(literal))),
            None => return Ok(Received::Ended),
        }
    }
}

enum Word {
    /// What stands for itself: a command's name, a number, XCLIENT's pairs.
    Bare(String),
    /// A quoted string or a literal.
    Text(Vec<u8>),
}

/// What was expected and is not there.
pub(super) struct Syntax(pub(super) &'static str);

#[derive(Default)]
pub(super) struct Words(VecDeque<Word>);

impl Words {
    fn and(mut self, word: Word) -> Self {
        self.0.push_back(word);
        self
    }

    /// Adds the words of a text, one space between them. `open` if a literal follows, and a space
    /// must part it from what stands before.
    fn and_text(mut self, text: &[u8], open: bool) -> Option<Self> {
        let mut rest = text;
        if !self.0.is_empty() {
            if rest.is_empty() {
                return (!open).then_some(self);
            }
            rest = rest.strip_prefix(b" ")?;
            if rest.is_empty() {
                return open.then_some(self);
            }
        }
        while !rest.is_empty() {
            let (word, behind) = match rest.strip_prefix(b"\"") {
                Some(quoted) => quoted_string(quoted)?,
                None => bare_word(rest)?,
            };
            self.0.push_back(word);
            rest = match behind.strip_prefix(b" ") {
                Some(behind) if open || !behind.is_empty() => behind,
                None if behind.is_empty() && !open => behind,
                Some(_) | None => return None,
            };
        }
        Some(self)
    }

    /// A bare word in upper case.
    pub(super) fn verb(&mut self) -> Option<String> {
        match self.0.pop_front() {
            Some(Word::Bare(word)) => Some(word.to_ascii_uppercase()),
            Some(Word::Text(_)) | None => None,
        }
    }

    pub(super) fn text(&mut self) -> Result<Vec<u8>, Syntax> {
        match self.0.pop_front() {
            Some(Word::Text(text)) => Ok(text),
            Some(Word::Bare(_)) | None => Err(Syntax("String expected")),
        }
    }

    pub(super) fn number(&mut self) -> Result<u64, Syntax> {
        match self.0.pop_front() {
            Some(Word::Bare(word)) if word.bytes().all(|byte| byte.is_ascii_digit()) => {
                word.parse().map_err(|_| Syntax("Number too large"))
            }
            Some(_) | None => Err(Syntax("Number expected")),
        }
    }

    /// All that are left, as bare words.
    pub(super) fn bare(&mut self) -> Result<String, Syntax> {
        let mut words = Vec::new();
        for word in self.0.drain(..) {
            match word {
                Word::Bare(word) => words.push(word),
                Word::Text(_) => return Err(Syntax("No strings here")),
            }
        }
        Ok(words.join(" "))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn end(&self) -> Result<(), Syntax> {
        if self.is_empty() { Ok(()) } else { Err(Syntax("Too many arguments")) }
    }
}

/// The string whose opening quote has been eaten, and what stands behind its end.
fn quoted_string(text: &[u8]) -> Option<(Word, &[u8])> {
    let mut string = Vec::new();
    let mut index = 0;
    loop {
        match *text.get(index)? {
            b'"' => return Some((Word::Text(string), &text[index + 1..])),
            b'\\' => {
                index += 1;
                string.push(*text.get(index).filter(|byte| matches!(byte, b'"' | b'\\'))?);
            }
            0 | b'\r' => return None,
            byte => string.push(byte),
        }
        index += 1;
    }
}

fn bare_word(text: &[u8]) -> Option<(Word, &[u8])> {
    let end = text.iter().position(|byte| *byte == b' ').unwrap_or(text.len());
    let (word, behind) = text.split_at(end);
    let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'{' | b'}');
    let plain = !word.is_empty() && word.iter().all(plain);
    let word = std::str::from_utf8(word).ok().filter(|_| plain)?;
    Some((Word::Bare(word.to_owned()), behind))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    async fn read_from(bytes: &[u8]) -> (Received, Vec<u8>) {
        let mut connection = Connection::new(Box::new(std::io::Cursor::new(bytes.to_vec())));
        let received = read(&mut connection, false).await.unwrap();
        let mut rest = Vec::new();
        while let Some(octet) = connection.octets(1).await.unwrap() {
            rest.extend(octet);
        }
        (received, rest)
    }

    #[tokio::test]
    async fn words_come_quoted_or_as_literals() {
        let (received, rest) =
            read_from(b"Put {3+}\r\na\r\n \"q\\\"\\\\\" {0+}\r\n {1+}\r\nx 17\r\nNOOP\r\n").await;
        let Received::Command(mut words) = received else { panic!("no command") };
        assert_eq!(words.verb().unwrap(), "PUT");
        assert_eq!(words.text().ok().unwrap(), b"a\r\n");
        assert_eq!(words.text().ok().unwrap(), b"q\"\\");
        assert_eq!(words.text().ok().unwrap(), b"");
        assert_eq!(words.text().ok().unwrap(), b"x");
        assert_eq!(words.number().ok().unwrap(), 17);
        assert!(words.is_empty());
        assert_eq!(rest, b"NOOP\r\n");
    }

    #[tokio::test]
    async fn what_makes_no_sense_is_eaten_to_its_end() {
        for wrong in [
            &b"A \"open\r\n"[..],
            b"A  B\r\n",
            b" A\r\n",
            b"A \r\n",
            b"A{3+}\r\nabc\r\n",
            b"A \"{3+}\r\nabc\r\n",
            b"A {3+}\r\nabcB\r\n",
            b"A {3+}\r\nabc \r\n",
            b"A {3}\r\n",
            b"A \"\\x\"\r\n",
            b"A \"a\"\"b\"\r\n",
            b"A {1+}\r\na{1+}\r\nb\r\n",
            b"\xff\r\n",
        ] {
            let (received, rest) = read_from(&[wrong, b"NOOP\r\n"].concat()).await;
            assert!(matches!(received, Received::Bad), "{wrong:?}");
            assert_eq!(rest, b"NOOP\r\n", "{wrong:?}");
        }
        let huge = format!("A {{{}+}}\r\n", LITERAL_OCTETS + 1);
        assert!(matches!(read_from(huge.as_bytes()).await.0, Received::TooLong));
        assert!(matches!(read_from(b"A {3+}\r\nab").await.0, Received::Ended));
    }
}
