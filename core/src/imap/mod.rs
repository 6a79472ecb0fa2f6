//! IMAP before login: the grammar that both automata share.
//!
//! [`frontend`] conducts the dialogue with the client, [`backend`] the handshake with the backend;
//! they do not know each other. What both need stands here: the words of refusals, and the state's
//! name as operators know it. A command's extent, literals included, is found before anybody looks
//! inside it: `literal`, which ManageSieve shares.
//!
//! RFC 9051 and 3501 (IMAP), 7888 (non-synchronising literals), 4959 (SASL-IR), 2971 (ID), 5530
//! (response codes).

pub(crate) mod backend;
mod command;
pub(crate) mod frontend;
mod identity;
mod login;

use alloc::vec::Vec;
use core::fmt;

use crate::close::Refusal;
use crate::handshake::StatusText;
use crate::line::without_controls;
use crate::verdict::REFERRED;

/// Commands that are outstanding at a backend, and what it answered last: printed as
/// `capability+login/banner`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct State {
    sent: u8,
    received: Received,
}

/// A command, or part of one, that a backend has not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Id,
    StartTls,
    Capability,
    Authenticate,
    AuthContinue,
    Login,
}

/// What a backend answered last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Received {
    #[default]
    None,
    Banner,
    Id,
    StartTls,
    Capability,
    AuthContinue,
    Login,
}

impl Sent {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Id, "id"),
        (Self::StartTls, "starttls"),
        (Self::Capability, "capability"),
        (Self::Authenticate, "authenticate"),
        (Self::AuthContinue, "auth-continue"),
        (Self::Login, "login"),
    ];

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl State {
    pub(crate) const fn send(&mut self, sent: Sent) {
        self.sent |= sent.bit();
    }

    pub(crate) const fn answered(&mut self, sent: Sent) {
        self.sent &= !sent.bit();
    }

    pub(crate) const fn awaits(self, sent: Sent) -> bool {
        self.sent & sent.bit() != 0
    }

    pub(crate) const fn received(&mut self, received: Received) {
        self.received = received;
    }

    /// Whether no command of ours is outstanding.
    pub(crate) const fn is_quiet(self) -> bool {
        self.sent == 0
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outstanding = Sent::ALL.iter().filter(|(sent, _)| self.awaits(*sent));
        for (position, (_, name)) in outstanding.enumerate() {
            if position > 0 {
                f.write_str("+")?;
            }
            f.write_str(name)?;
        }
        f.write_str(match self.received {
            Received::None => "/none",
            Received::Banner => "/banner",
            Received::Id => "/id",
            Received::StartTls => "/starttls",
            Received::Capability => "/capability",
            Received::AuthContinue => "/auth-continue",
            Received::Login => "/login",
        })
    }
}

/// RFC 9051 §9: a character of an atom.
pub(crate) const fn is_atom_char(octet: u8) -> bool {
    octet.is_ascii_graphic()
        && !matches!(octet, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

/// RFC 9051 §9: a character of an unquoted string.
pub(crate) const fn is_astring_char(octet: u8) -> bool {
    is_atom_char(octet) || octet == b']'
}

/// A list of capabilities as a backend wrote it, separated by spaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Capabilities(Vec<u8>);

impl Capabilities {
    /// Cleaned, as it may be written into a line of ours.
    pub(crate) fn new(list: &[u8]) -> Self {
        Self(without_controls(list))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn tokens(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&octet| octet == b' ').filter(|token| !token.is_empty())
    }

    pub(crate) fn has(&self, token: &str) -> bool {
        self.tokens().any(|listed| listed.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The list as clients may see it after login: without what would lead around the proxy.
    fn write_for_client(&self, out: &mut Vec<u8>) {
        const WITHHELD: [&str; 2] = ["UNAUTHENTICATE", "LOGIN-REFERRALS"];
        let mut first = true;
        for token in self.tokens() {
            if WITHHELD.iter().any(|name| token.eq_ignore_ascii_case(name.as_bytes())) {
                continue;
            }
            if !first {
                out.push(b' ');
            }
            first = false;
            out.extend_from_slice(token);
        }
    }
}

/// The list of a CAPABILITY code.
pub(crate) fn listed(reply: StatusText<'_>) -> Option<Capabilities> {
    let code = reply.code.filter(|_| reply.is("CAPABILITY"))?;
    Some(Capabilities::new(&code["CAPABILITY".len()..]))
}

/// What a backend said when it accepted a login, ready to be said to the client.
#[derive(Debug, Default)]
pub(crate) struct Welcome {
    /// What the session may do from here on; unknown where the backend would not say.
    pub(crate) capabilities: Option<Capabilities>,
    /// A response code other than CAPABILITY, with its brackets.
    pub(crate) code: Option<Vec<u8>>,
    pub(crate) text: Vec<u8>,
    /// Untagged lines behind the verdict, with their line ends.
    pub(crate) aftermath: Vec<u8>,
}

/// What a client reads when it is refused: response code (RFC 5530) and text.
pub(crate) const fn refusal_text(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Unavailable => "[UNAVAILABLE] Account is temporarily unavailable.",
        Refusal::Configuration => "[SERVERBUG] Account is temporarily unavailable.",
        Refusal::Credentials => "[AUTHENTICATIONFAILED] Authentication failed.",
        Refusal::Denied => "[CONTACTADMIN] Login is not allowed",
        Refusal::Referred => REFERRED,
        Refusal::TlsNeeded => "[PRIVACYREQUIRED] TLS is required",
        Refusal::Mechanism => "[CANNOT] Authentication mechanism is not available for this account",
        Refusal::TooManyConnections => "[LIMIT] Too many connections",
        Refusal::TooManyAttempts => "Too many authentication failures",
        Refusal::BadCharacters => "[AUTHENTICATIONFAILED] Invalid credentials",
        Refusal::Kicked => "Disconnected by an administrator",
        Refusal::ShuttingDown => "Shutting down",
        Refusal::TimedOut => "Timed out",
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn a_state_prints_what_is_outstanding_and_what_came_last() {
        let mut state = State::default();
        assert_eq!(format!("{state}"), "/none");
        state.received(Received::Banner);
        state.send(Sent::Login);
        state.send(Sent::Capability);
        assert_eq!(format!("{state}"), "capability+login/banner");
        state.answered(Sent::Capability);
        state.received(Received::Capability);
        assert_eq!(format!("{state}"), "login/capability");
    }

    #[test]
    fn only_a_capability_code_lists_capabilities() {
        let list = listed(StatusText::parse(b"[CAPABILITY IMAP4rev1 IDLE] in"));
        assert!(list.is_some_and(|list| list.has("idle") && !list.has("ID")));
        assert_eq!(listed(StatusText::parse(b"[CAPABILITIES IDLE] in")), None);
    }
}
