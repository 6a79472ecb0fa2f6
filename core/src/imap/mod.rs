//! IMAP before login: the grammar that both automata share.
//!
//! [`frontend`] conducts the dialogue with the client, [`backend`] the handshake with the backend;
//! they do not know each other. What both need stands here: the words of refusals, and the state's
//! name as operators know it. A command's extent, literals included, is found by [`frame`] before
//! anybody looks inside it.
//!
//! RFC 9051 and 3501 (IMAP), 7888 (non-synchronising literals), 4959 (SASL-IR), 2971 (ID), 5530
//! (response codes).

use core::fmt;

use crate::close::Refusal;

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
