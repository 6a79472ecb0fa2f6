//! What the dialogues with clients have in common, whatever the protocol.
//!
//! [`Terms`] say what a client may do now, by the listener and the state of TLS; a [`Turn`] says
//! whose word is awaited while a client logs in, and takes the messages of its exchange; a
//! [`Ledger`] counts what a client may do only so often. All are silent: how a challenge or a
//! refusal is written is the protocol's own.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use crate::config::{Listener, TlsMode};
use crate::line::{
    BAD_COMMANDS_MAX, INTRODUCTIONS_MAX, PASSWORD_MAX, PREAUTH_MAX, SASL_MESSAGE_MAX, USER_MAX,
};
use crate::sasl::{Exchange, Login, Mechanism, Progress, SaslFault, decode_base64};
use crate::secret::Secret;

/// What a client may do now.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) listener: Arc<Listener>,
    /// The other side is a proxy whose word on its client counts, by its socket's address.
    pub(crate) trusted: bool,
    /// TLS is up.
    pub(crate) tls: bool,
}

/// Why a mechanism is not to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// It is unknown, or not listed on this listener.
    Unsupported,
    /// Its messages would travel in the clear.
    TlsNeeded,
}

impl Terms {
    pub(crate) const fn new(listener: Arc<Listener>, trusted: bool) -> Self {
        Self { listener, trusted, tls: false }
    }

    /// Whether passwords and tokens may come in.
    pub(crate) fn cleartext_allowed(&self) -> bool {
        self.tls || self.listener.cleartext_without_tls
    }

    /// Whether the client may begin TLS by command.
    pub(crate) fn offers_tls(&self) -> bool {
        !self.tls && self.listener.tls == TlsMode::StartTls
    }

    /// The mechanisms that may be used now, in the configured order.
    pub(crate) fn mechanisms(&self) -> impl Iterator<Item = Mechanism> {
        let cleartext = self.cleartext_allowed();
        let listed = self.listener.mechanisms.iter().copied();
        listed.filter(move |mechanism| cleartext || !mechanism.is_cleartext())
    }

    /// The mechanism of that name, if it may be used now.
    pub(crate) fn mechanism(&self, name: &[u8]) -> Result<Mechanism, Denied> {
        let listed = |mechanism: &Mechanism| self.listener.mechanisms.contains(mechanism);
        let mechanism = Mechanism::parse(name).filter(listed).ok_or(Denied::Unsupported)?;
        if mechanism.is_cleartext() && !self.cleartext_allowed() {
            return Err(Denied::TlsNeeded);
        }
        Ok(mechanism)
    }

    /// Whether a token stands in the configured list of capabilities.
    pub(crate) fn advertises(&self, token: &str) -> bool {
        self.listener.advertise.iter().any(|listed| listed.eq_ignore_ascii_case(token))
    }
}

/// Writes one line.
pub(crate) fn say(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// A user name and a password as a login, if both are within their limits.
pub(crate) fn bounded_login(user: Vec<u8>, password: Secret) -> Option<Login> {
    let fits = user.len() <= USER_MAX && password.expose().len() <= PASSWORD_MAX;
    fits.then(|| Login::with_password(user, password))
}

/// Whose turn it is in a dialogue, and for what.
#[derive(Debug)]
pub(crate) enum Turn {
    /// The client's, for a command.
    Command,
    /// The client's, for a message of its login.
    Message(Exchange),
    /// The proxy's: a login is being decided.
    Deciding,
    /// The client's, for an answer to a challenge of the backend.
    Challenged,
}

/// What a client's message led to.
#[derive(Debug)]
pub(crate) enum Taken {
    /// The client is to be sent this, and answers.
    Challenge(&'static [u8]),
    /// The login is complete as far as the proxy is concerned.
    Login(Login),
    /// This goes to the backend.
    Respond(Secret),
    /// The message is refused, and the exchange over.
    Rejected {
        why: Rejection,
        /// The exchange was one with the backend.
        relayed: bool,
    },
}

/// Why a message is refused. None of these says anything about credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// The client gave up (`*`).
    Cancelled,
    /// More than [`SASL_MESSAGE_MAX`] octets of base64.
    TooLong,
    /// Not strict base64.
    Base64,
    /// Not a message of the mechanism.
    Malformed,
}

impl Rejection {
    /// In plain words.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Cancelled => "Authentication cancelled",
            Self::TooLong => "SASL message is too long",
            Self::Base64 => "Invalid base64",
            Self::Malformed => "Malformed credentials",
        }
    }
}

impl Turn {
    /// Takes one message in base64. Where none is awaited it is refused as malformed.
    pub(crate) fn take(&mut self, message: &[u8]) -> Taken {
        let turn = mem::replace(self, Self::Command);
        let relayed = matches!(turn, Self::Challenged);
        match (turn, decode(message)) {
            (_, Err(why)) => Taken::Rejected { why, relayed },
            (Self::Message(exchange), Ok(decoded)) => self.go_on(exchange, decoded),
            (Self::Challenged, Ok(response)) => {
                *self = Self::Deciding;
                Taken::Respond(response)
            }
            (Self::Command | Self::Deciding, Ok(_)) => {
                debug_assert!(false, "no exchange is open");
                Taken::Rejected { why: Rejection::Malformed, relayed }
            }
        }
    }

    /// Begins an exchange, perhaps with an initial response that stood in the command (RFC 4959
    /// §3: a single "=" is one that is there and empty).
    pub(crate) fn begin(&mut self, mechanism: Mechanism, initial: Option<&[u8]>) -> Taken {
        let exchange = Exchange::new(mechanism);
        let opening = exchange.opening();
        *self = Self::Message(exchange);
        match initial {
            Some(b"=") => self.take(b""),
            Some(initial) => self.take(initial),
            None => Taken::Challenge(opening),
        }
    }

    /// Takes something that is no message at all.
    pub(crate) fn reject(&mut self, why: Rejection) -> Taken {
        let turn = mem::replace(self, Self::Command);
        Taken::Rejected { why, relayed: matches!(turn, Self::Challenged) }
    }

    fn go_on(&mut self, mut exchange: Exchange, decoded: Secret) -> Taken {
        match exchange.receive(decoded) {
            Ok(Progress::Complete(login)) => {
                *self = Self::Deciding;
                Taken::Login(login)
            }
            Ok(Progress::Challenge(challenge)) => {
                *self = Self::Message(exchange);
                Taken::Challenge(challenge)
            }
            Err(SaslFault::Base64 | SaslFault::Message) => {
                Taken::Rejected { why: Rejection::Malformed, relayed: false }
            }
        }
    }
}

fn decode(message: &[u8]) -> Result<Secret, Rejection> {
    if message == b"*" {
        return Err(Rejection::Cancelled);
    }
    if message.len() > SASL_MESSAGE_MAX {
        return Err(Rejection::TooLong);
    }
    decode_base64(message).map_err(|_| Rejection::Base64)
}

/// What a client has used up of what it may do before it is logged in.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    octets: usize,
    bad_commands: u32,
    failures: u32,
    introductions: u32,
}

impl Ledger {
    /// So many octets were eaten.
    pub(crate) const fn spend(&mut self, octets: usize) {
        self.octets += octets;
    }

    /// Octets that the client may still send.
    pub(crate) const fn allowance(&self) -> usize {
        PREAUTH_MAX.saturating_sub(self.octets)
    }

    /// One more command that could not be served; true: it was the last.
    pub(crate) const fn bad_command(&mut self) -> bool {
        self.bad_commands += 1;
        self.bad_commands >= BAD_COMMANDS_MAX
    }

    /// One more introduction of a client; false: that is more than there may be.
    pub(crate) const fn introduction(&mut self) -> bool {
        self.introductions += 1;
        self.introductions <= INTRODUCTIONS_MAX
    }

    /// One more refusal of credentials; true: it was the last of `max`.
    pub(crate) const fn failure(&mut self, max: u32) -> bool {
        self.failures += 1;
        self.failures >= max
    }
}
