//! What the dialogues with clients have in common, whatever the protocol.
//!
//! A [`Turn`] says whose word is awaited while a client logs in, and takes the messages of its
//! exchange; a [`Ledger`] counts what a client may do only so often. Both are silent: how a
//! challenge or a refusal is worded is the protocol's own.

use core::mem;

use crate::line::{BAD_COMMANDS_MAX, PREAUTH_MAX, SASL_MESSAGE_MAX};
use crate::sasl::{Exchange, Login, Progress, SaslFault, decode_base64};
use crate::secret::Secret;

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

    /// Begins an exchange with the initial response that stood in the command.
    pub(crate) fn begin(&mut self, exchange: Exchange, initial: &[u8]) -> Taken {
        *self = Self::Message(exchange);
        self.take(initial)
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

    /// One more refusal of credentials; true: it was the last of `max`.
    pub(crate) const fn failure(&mut self, max: u32) -> bool {
        self.failures += 1;
        self.failures >= max
    }
}
