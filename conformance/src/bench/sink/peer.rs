//! A connection at the sink: framing, and bulk in both directions.

use std::io;

use rustls::HandshakeKind;

use crate::bench::sink::answers::{Reply, auth_http, greeting, reply};
use crate::bench::sink::{Ports, Service};
use crate::bench::stream::{Received, Stream};

/// Octets of bulk that are given to the stream at once.
const PIECE: usize = 64 * 1024;
/// What bulk consists of: lines, as messages do.
static BULK: [u8; PIECE] = {
    let mut bulk = [b'b'; PIECE];
    let mut end = 76;
    while end < PIECE {
        bulk[end - 2] = b'\r';
        bulk[end - 1] = b'\n';
        end += 76;
    }
    bulk
};

/// One connection.
pub(super) struct Peer {
    stream: Stream,
    talk: Talk,
    counted: bool,
    ended: bool,
}

/// How far the conversation is.
struct Talk {
    service: Service,
    ports: Ports,
    /// Received and not understood yet.
    inbox: Vec<u8>,
    /// The command that a literal belongs to.
    command: Vec<u8>,
    /// Octets of a literal that are still to come.
    literal: usize,
    /// What has been decided to be said, in order, with bulk behind it.
    outbox: Vec<u8>,
    bulk: Option<Bulk>,
    bye: bool,
}

/// An answer of many octets.
struct Bulk {
    left: usize,
    then: Vec<u8>,
}

impl Peer {
    pub(super) fn new(stream: Stream, service: Service, ports: Ports) -> Self {
        let talk = Talk {
            service,
            ports,
            inbox: Vec::new(),
            command: Vec::new(),
            literal: 0,
            outbox: greeting(service).to_vec(),
            bulk: None,
            bye: false,
        };
        Self { stream, talk, counted: false, ended: false }
    }

    /// How its handshake went, once.
    pub(super) fn new_handshake(&mut self) -> Option<HandshakeKind> {
        if self.counted {
            return None;
        }
        let kind = self.stream.handshake();
        self.counted = kind.is_some();
        kind
    }

    /// Reads, answers, and says whether the connection goes on.
    pub(super) fn turn(&mut self, room: &mut [u8]) -> io::Result<bool> {
        let Self { stream, talk, .. } = self;
        let received = stream.receive(room, &mut |octets| talk.hear(octets))?;
        stream.flush()?;
        talk.say(stream)?;
        if talk.bye && !self.ended && talk.bulk.is_none() {
            self.ended = true;
            stream.end()?;
        }
        Ok(received == Received::Open)
    }
}

impl Talk {
    fn hear(&mut self, mut octets: &[u8]) {
        if self.literal > 0 && self.inbox.is_empty() {
            let part = self.literal.min(octets.len());
            self.literal -= part;
            octets = &octets[part..];
        }
        self.inbox.extend_from_slice(octets);
        while let Some(end) = self.inbox.iter().position(|octet| *octet == b'\n') {
            let line: Vec<u8> = self.inbox.drain(..=end).collect();
            self.obey(line.trim_ascii_end());
            let part = self.literal.min(self.inbox.len());
            self.inbox.drain(..part);
            self.literal -= part;
        }
    }

    /// One line, literals left out.
    fn obey(&mut self, line: &[u8]) {
        let Service::Mail(protocol) = self.service else {
            self.command.extend_from_slice(line);
            self.command.push(b'\n');
            if line.is_empty() {
                self.outbox.extend_from_slice(&auth_http(&self.command, &self.ports));
                self.bye = true;
            }
            return;
        };
        if let Some((octets, waits)) = literal(line) {
            self.literal = octets;
            self.command.extend_from_slice(line);
            if waits {
                self.outbox.extend_from_slice(b"+ go on\r\n");
            }
            return;
        }
        self.command.extend_from_slice(line);
        let command = std::mem::take(&mut self.command);
        match reply(protocol, &command) {
            Reply::Words(words) => self.outbox.extend_from_slice(&words),
            // What comes next is the rest of the same command.
            Reply::GoOn(words) => {
                self.outbox.extend_from_slice(words);
                self.command = command;
                self.command.push(b' ');
            }
            Reply::Bulk { octets, then } => {
                let left = octets.saturating_sub(then.len());
                self.bulk = Some(Bulk { left, then });
            }
            Reply::Bye(words) => {
                self.outbox.extend_from_slice(words);
                self.bye = true;
            }
        }
    }

    /// Gives the stream as much as it takes.
    fn say(&mut self, stream: &mut Stream) -> io::Result<()> {
        if !self.outbox.is_empty() {
            stream.send(&self.outbox)?;
            self.outbox = Vec::new();
        }
        while let Some(bulk) = &mut self.bulk {
            if !stream.flushed() {
                return Ok(());
            }
            if bulk.left == 0 {
                stream.send(&bulk.then)?;
                self.bulk = None;
                return Ok(());
            }
            let piece = bulk.left.min(PIECE);
            stream.send(&BULK[..piece])?;
            bulk.left -= piece;
        }
        Ok(())
    }
}

/// Octets of the literal that a line announces, and whether its sender waits to be asked.
fn literal(line: &[u8]) -> Option<(usize, bool)> {
    let inner = line.strip_suffix(b"}")?;
    let start = inner.iter().rposition(|octet| *octet == b'{')?;
    let digits = &inner[start + 1..];
    let (digits, waits) = digits.strip_suffix(b"+").map_or((digits, true), |it| (it, false));
    Some((std::str::from_utf8(digits).ok()?.parse().ok()?, waits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_of_both_kinds() {
        assert_eq!(literal(b"a LOGIN {5}"), Some((5, true)));
        assert_eq!(literal(b"a LOGIN {17+}"), Some((17, false)));
        assert_eq!(literal(b"a LOGIN {x}"), None);
        assert_eq!(literal(b"a NOOP"), None);
    }

    #[test]
    fn lines_may_come_in_pieces() {
        let ports = Ports { plain: [1; 3], tls: [2; 3], auth_http: 3 };
        let mut talk = Talk {
            service: Service::Mail(crate::bench::case::Protocol::Imap),
            ports,
            inbox: Vec::new(),
            command: Vec::new(),
            literal: 0,
            outbox: Vec::new(),
            bulk: None,
            bye: false,
        };
        for piece in ["a LOGIN {3}\r\nal", "ice {6+}\r\nse", "cret\r\nb NO", "OP\r\n"] {
            talk.hear(piece.as_bytes());
        }
        let said = String::from_utf8_lossy(&talk.outbox).into_owned();
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines[0].starts_with("+ "), "{said}");
        assert!(lines[1].starts_with("a OK"), "{said}");
        assert!(lines[2].starts_with("b OK"), "{said}");
    }
}
