//! ManageSieve before login: what both automata share.
//!
//! [`frontend`] conducts the dialogue with the client, [`backend`] the handshake with the backend;
//! they do not know each other. What both need stands here: the words of refusals, the state's name
//! as operators know it, and how strings are written. A unit is a line with its literals, framed by
//! `literal` before anybody looks inside it; a backend's is taken apart in `reply`.
//!
//! RFC 5804.

pub(crate) mod backend;
pub(crate) mod frontend;
mod reply;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::close::Refusal;
use crate::literal::write_quoted;

/// Octets of a quoted string (RFC 5804 §4), as far as we write one.
pub(crate) const QUOTED_MAX: usize = 1024;

/// How far the handshake with a backend has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The connection: its capabilities are awaited.
    None,
    /// STARTTLS, and the handshake after it.
    TlsStart,
    /// TLS is up: its capabilities are awaited again.
    TlsReady,
    /// XCLIENT is to be answered first.
    Xclient,
    /// AUTHENTICATE.
    Auth,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::TlsStart => "tls-start",
            Self::TlsReady => "tls-ready",
            Self::Xclient => "xclient",
            Self::Auth => "auth",
        })
    }
}

/// What a backend said when it accepted a login.
#[derive(Debug)]
pub(crate) struct Welcome {
    /// The last message of a mechanism, in base64 (RFC 5804 §2.1).
    pub(crate) sasl: Option<Vec<u8>>,
    pub(crate) text: Vec<u8>,
}

/// What a client reads when it is refused: response code (RFC 5804 §1.3) and text.
pub(crate) const fn refusal_text(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Unavailable => "(TRYLATER) \"Account is temporarily unavailable.\"",
        Refusal::Configuration => "\"Account is temporarily unavailable.\"",
        Refusal::Credentials => "\"Authentication failed.\"",
        Refusal::Denied => "\"Login is not allowed\"",
        Refusal::Referred => "\"Account is on another server\"",
        Refusal::TlsNeeded => "(ENCRYPT-NEEDED) \"TLS is required\"",
        Refusal::Mechanism => "\"Authentication mechanism is not available for this account\"",
        Refusal::TooManyConnections => "(TRYLATER) \"Too many connections\"",
        Refusal::TooManyAttempts => "\"Too many authentication failures\"",
        Refusal::BadCharacters => "\"Invalid credentials\"",
        Refusal::Kicked => "(TRYLATER) \"Disconnected by an administrator\"",
        Refusal::ShuttingDown => "(TRYLATER) \"Shutting down\"",
        Refusal::TimedOut => "\"Timed out\"",
    }
}

/// Who sends a string: the two write literals differently (RFC 5804 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    /// `{n+}`
    Client,
    /// `{n}`
    Server,
}

/// Writes a string: quoted if it may be, else as a literal, so that it keeps within its length.
pub(crate) fn write_string(text: &[u8], sender: Sender, out: &mut Vec<u8>) {
    if is_quotable(text) {
        return write_quoted(text, out);
    }
    out.push(b'{');
    out.extend_from_slice(text.len().to_string().as_bytes());
    out.extend_from_slice(match sender {
        Sender::Client => b"+}\r\n",
        Sender::Server => b"}\r\n",
    });
    out.extend_from_slice(text);
}

/// RFC 5804 §4: quoted strings are UTF-8 without NUL and line ends, and not long.
fn is_quotable(text: &[u8]) -> bool {
    text.len() <= QUOTED_MAX
        && core::str::from_utf8(text).is_ok()
        && !text.iter().any(|octet| matches!(octet, 0 | b'\r' | b'\n'))
}

/// Text of a backend as one that may be quoted, whatever it holds.
pub(crate) fn quotable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut clean = String::with_capacity(text.len());
    for character in text.chars().filter(|character| !character.is_control()) {
        if clean.len() + character.len_utf8() > QUOTED_MAX {
            break;
        }
        clean.push(character);
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &[u8], sender: Sender) -> Vec<u8> {
        let mut out = Vec::new();
        write_string(text, sender, &mut out);
        out
    }

    #[test]
    fn a_string_is_quoted_where_it_may_be() {
        assert_eq!(written(b"", Sender::Server), b"\"\"");
        assert_eq!(written("é\t".as_bytes(), Sender::Client), "\"é\t\"".as_bytes());
        assert_eq!(written(b"a\r\nOK", Sender::Server), b"{5}\r\na\r\nOK");
        assert_eq!(written(b"\xff", Sender::Client), b"{1+}\r\n\xff");
        assert_eq!(written(&[b'a'; QUOTED_MAX], Sender::Client).len(), QUOTED_MAX + 2);
        assert!(written(&[b'a'; QUOTED_MAX + 1], Sender::Client).starts_with(b"{1025+}\r\naa"));
    }

    #[test]
    fn a_backends_text_is_made_fit_for_quotes() {
        assert_eq!(quotable(b"no\r\nOK \"in\"\0\x1b"), "noOK \"in\"");
        assert_eq!(quotable(b"caf\xe9"), "caf\u{fffd}");
        let long = ["é".repeat(513).as_bytes(), &[b'a'; 9]].concat();
        assert_eq!(quotable(&long), "é".repeat(512));
        assert_eq!(quotable("\u{85}a\u{7f}".as_bytes()), "a");
    }
}
