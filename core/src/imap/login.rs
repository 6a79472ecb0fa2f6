//! How a login is written to an IMAP backend.
//!
//! Given what the client gave and what the backend offers there is one [`Way`]; the bytes of a way
//! are written in one piece or in several, each of the later ones when the backend asks for it
//! with `+`. Strings are written by one encoder, so nothing a user typed can leave its place.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem::replace;

use super::Capabilities;
use crate::close::AttemptFault;
use crate::handshake::{self, write_initial};
use crate::line::BACKEND_COMMAND_MAX;
use crate::literal::write_quoted;
use crate::sasl::{self, Credential, Mechanism, Proof, encode_base64};
use crate::secret::Secret;

/// Octets of a literal that LITERAL- lets through without asking (RFC 7888 §5).
const LITERAL_MINUS_MAX: usize = 4096;

/// One way of presenting a login: AUTHENTICATE, or LOGIN with literals as far as the backend takes
/// them.
pub(crate) type Way = handshake::Way<Literals>;

/// Literals that may be sent without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Literals {
    /// None.
    Synchronising,
    /// LITERAL-.
    Short,
    /// LITERAL+.
    Any,
}

/// A login on its way to the backend.
#[derive(Debug)]
pub(crate) struct Login {
    given: Arc<sasl::Login>,
    way: Option<Way>,
    /// What is sent each time the backend asks for more.
    pending: VecDeque<Secret>,
    exposed: bool,
    /// Capabilities that came untagged since the login command was sent.
    pub(crate) granted: Option<Capabilities>,
}

impl Login {
    pub(crate) const fn new(given: Arc<sasl::Login>) -> Self {
        Self { given, way: None, pending: VecDeque::new(), exposed: false, granted: None }
    }

    pub(crate) const fn credentials_sent(&self) -> bool {
        self.exposed
    }

    /// Whether the backend has still to ask for a part of it.
    pub(crate) fn is_unfinished(&self) -> bool {
        !self.pending.is_empty()
    }

    pub(crate) fn is_exchange(&self) -> bool {
        matches!(self.given.proof, Proof::Exchange { .. })
    }

    pub(crate) fn went(&self, way: Way) -> bool {
        self.way == Some(way)
    }

    /// The way for a backend with these capabilities.
    pub(crate) fn choose(&self, offered: &Capabilities) -> Result<Way, AttemptFault> {
        let fits = |mechanism: Mechanism, message: usize| {
            let line = "L AUTHENTICATE  \r\n".len() + mechanism.name().len() + message;
            offered.has("SASL-IR") && line <= BACKEND_COMMAND_MAX
        };
        let command = (!offered.has("LOGINDISABLED")).then(|| literals(offered));
        handshake::choose(&self.given, |mechanism| offers(offered, mechanism), fits, command)
    }

    /// Writes the command of a way, as far as it goes without being asked for more.
    pub(crate) fn begin(&mut self, way: Way, out: &mut Vec<u8>) {
        self.way = Some(way);
        self.granted = None;
        self.pending.clear();
        match way {
            Way::Initial(mechanism) => {
                write_authenticate(mechanism, out);
                out.push(b' ');
                write_initial(self.given.first_message().expose(), out);
                self.exposed = true;
            }
            Way::Prompted(mechanism) => {
                write_authenticate(mechanism, out);
                let mut line = Vec::new();
                encode_base64(self.given.first_message().expose(), &mut line);
                self.pending.push_back(Secret::new(line));
            }
            Way::Command(literals) => {
                if let Proof::Password(credential) = &self.given.proof {
                    let mut pieces = login_command(credential, literals);
                    if let Some(first) = pieces.pop_front() {
                        out.extend_from_slice(first.expose());
                    }
                    self.pending = pieces;
                }
                self.exposed = self.pending.is_empty();
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Writes what comes next when the backend asks; false if there is nothing more to write.
    pub(crate) fn go_on(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(piece) = self.pending.pop_front() else { return false };
        out.extend_from_slice(piece.expose());
        out.extend_from_slice(b"\r\n");
        self.exposed = true;
        true
    }
}

fn offers(offered: &Capabilities, mechanism: Mechanism) -> bool {
    let mut token = alloc::string::String::from("AUTH=");
    token.push_str(mechanism.name());
    offered.has(&token)
}

fn literals(offered: &Capabilities) -> Literals {
    if offered.has("LITERAL+") {
        Literals::Any
    } else if offered.has("LITERAL-") {
        Literals::Short
    } else {
        Literals::Synchronising
    }
}

fn write_authenticate(mechanism: Mechanism, out: &mut Vec<u8>) {
    out.extend_from_slice(b"L AUTHENTICATE ");
    out.extend_from_slice(mechanism.name().as_bytes());
}

/// The LOGIN command, cut where the backend must be asked before more is sent; line ends at the
/// cuts are left out.
fn login_command(credential: &Credential, literals: Literals) -> VecDeque<Secret> {
    let (user, password) = (credential.user.as_slice(), credential.password.expose());
    // Enough for both, escaped: a buffer that grows leaves parts of a password behind.
    let room = 64 + 2 * (user.len() + password.len());
    let mut pieces = VecDeque::new();
    let mut piece = Vec::with_capacity(room);
    piece.extend_from_slice(b"L LOGIN");
    for text in [user, password] {
        piece.push(b' ');
        if is_quotable(text) {
            write_quoted(text, &mut piece);
            continue;
        }
        let waits = match literals {
            Literals::Any => false,
            Literals::Short => text.len() > LITERAL_MINUS_MAX,
            Literals::Synchronising => true,
        };
        let size = alloc::string::ToString::to_string(&text.len());
        piece.push(b'{');
        piece.extend_from_slice(size.as_bytes());
        if waits {
            piece.push(b'}');
            pieces.push_back(Secret::new(replace(&mut piece, Vec::with_capacity(room))));
        } else {
            piece.extend_from_slice(b"+}\r\n");
        }
        piece.extend_from_slice(text);
    }
    pieces.push_back(Secret::new(piece));
    pieces
}

/// RFC 9051 §9: quoted strings hold 7-bit text without line ends.
fn is_quotable(text: &[u8]) -> bool {
    text.iter().all(|octet| octet.is_ascii() && !matches!(octet, 0 | b'\r' | b'\n'))
}
