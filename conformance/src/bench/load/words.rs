//! What a client of the bench says, and what it waits for.
//!
//! Every proxy beside Gatepost must understand these words before the login, and none looks at
//! them afterwards: then only the sink does, which knows `XDOWN` and `XUP` for bulk.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::bench::case::Protocol;

/// The password of every account.
pub(in crate::bench) const PASSWORD: &str = "secret";

/// Something said, and how its answer ends.
#[derive(Debug, Clone)]
pub(in crate::bench) struct Exchange {
    pub(super) said: Arc<[u8]>,
    pub(super) answer: Answer,
}

/// How an answer ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    /// With a line that begins so.
    Line(&'static [u8]),
    /// After so many octets.
    Octets(usize),
    /// With the connection.
    End,
}

impl Exchange {
    fn new(said: impl AsRef<[u8]>, answer: Answer) -> Self {
        Self { said: said.as_ref().into(), answer }
    }

    /// A request of a few octets.
    pub(in crate::bench) fn small() -> Self {
        Self::new("n NOOP\r\n", Answer::Line(b"n OK"))
    }

    /// A request whose answer has so many octets.
    pub(in crate::bench) fn down(octets: usize) -> Self {
        Self::new(format!("d XDOWN {octets}\r\n"), Answer::Octets(octets))
    }

    /// A message of so many octets toward the backend.
    pub(in crate::bench) fn up(octets: usize) -> Self {
        let mut said = format!("u XUP {{{octets}+}}\r\n").into_bytes();
        said.resize(said.len() + octets, b'x');
        said.extend_from_slice(b"\r\n");
        Self::new(said, Answer::Line(b"u OK"))
    }
}

/// What is said to log in, the greeting included.
pub(super) fn login(protocol: Protocol, user: &str) -> Vec<Exchange> {
    let line = |said: String, awaited| Exchange::new(said, Answer::Line(awaited));
    match protocol {
        Protocol::Imap => vec![
            line(String::new(), b"* OK"),
            line(format!("a LOGIN {user} {PASSWORD}\r\n"), b"a OK"),
        ],
        Protocol::Pop3 => vec![
            line(String::new(), b"+OK"),
            line(format!("USER {user}\r\n"), b"+OK"),
            line(format!("PASS {PASSWORD}\r\n"), b"+OK"),
        ],
        Protocol::Submission => {
            let plain = STANDARD.encode(format!("\0{user}\0{PASSWORD}"));
            vec![
                line(String::new(), b"220 "),
                line("EHLO client.bench.test\r\n".to_owned(), b"250 "),
                line(format!("AUTH PLAIN {plain}\r\n"), b"235 "),
            ]
        }
    }
}

/// What is said to log out.
pub(super) fn logout(protocol: Protocol) -> Exchange {
    let said = match protocol {
        Protocol::Imap => "z LOGOUT\r\n",
        Protocol::Pop3 | Protocol::Submission => "QUIT\r\n",
    };
    Exchange::new(said, Answer::End)
}

/// Whether a line says that something went wrong.
pub(super) fn complains(protocol: Protocol, line: &[u8]) -> bool {
    match protocol {
        Protocol::Imap => !line.starts_with(b"* ") && !has_ok(line),
        Protocol::Pop3 => !line.starts_with(b"+OK"),
        Protocol::Submission => !line.starts_with(b"2"),
    }
}

fn has_ok(line: &[u8]) -> bool {
    line.get(1..4) == Some(b" OK")
}
