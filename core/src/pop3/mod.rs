//! POP3 before login: what both automata share.
//!
//! [`frontend`] conducts the dialogue with the client, [`backend`] the handshake with the backend;
//! they do not know each other. What both need stands here: the words of refusals, and the state's
//! name as operators know it. Every unit is one line; a list is lines up to one with a dot.
//!
//! RFC 1939 (POP3), 2449 (CAPA, response codes), 2595 (STLS), 3206 (AUTH-RESP-CODE), 5034 (AUTH),
//! 6856 (UTF8, LANG).

pub(crate) mod backend;
pub(crate) mod frontend;

use alloc::vec::Vec;
use core::fmt;

use crate::close::Refusal;
use crate::verdict::REFERRED;

/// What a backend has not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The connection: its greeting is awaited.
    Banner,
    /// CAPA.
    Capa,
    /// STLS, and the handshake after it.
    StartTls,
    /// XCLIENT.
    Xclient,
    /// UTF8 or LANG, which the client asked for before.
    Utf8,
    /// USER, or AUTH without a message yet.
    Login1,
    /// PASS, or a message of AUTH.
    Login2,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Banner => "banner",
            Self::Capa => "capa",
            Self::StartTls => "starttls",
            Self::Xclient => "xclient",
            Self::Utf8 => "utf8",
            Self::Login1 => "login1",
            Self::Login2 => "login2",
        })
    }
}

/// What a client asked for that holds from before its login on, so that the backend must hear it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Modes {
    pub(crate) utf8: bool,
    /// A language tag, or `*`.
    pub(crate) language: Option<Vec<u8>>,
}

/// What a backend said when it accepted a login.
#[derive(Debug)]
pub(crate) struct Welcome {
    pub(crate) text: Vec<u8>,
}

/// What a client reads when it is refused: response code (RFC 2449 §8, 3206) and text.
pub(crate) const fn refusal_text(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Unavailable => "[SYS/TEMP] Account is temporarily unavailable.",
        Refusal::Configuration => "[SYS/PERM] Account is temporarily unavailable.",
        Refusal::Credentials => "[AUTH] Authentication failed.",
        Refusal::Denied => "[AUTH] Login is not allowed",
        Refusal::Referred => REFERRED,
        Refusal::TlsNeeded => "[AUTH] TLS is required",
        Refusal::Mechanism => "Authentication mechanism is not available for this account",
        Refusal::TooManyConnections => "[SYS/TEMP] Too many connections",
        Refusal::TooManyAttempts => "[AUTH] Too many authentication failures",
        Refusal::BadCharacters => "[AUTH] Invalid credentials",
        Refusal::Kicked => "[SYS/TEMP] Disconnected by an administrator",
        Refusal::ShuttingDown => "[SYS/TEMP] Shutting down",
        Refusal::TimedOut => "Timed out",
    }
}
