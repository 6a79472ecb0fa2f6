//! nginx's auth_http, from the caller's side: what a server that judges logins is asked, and what
//! its answer means.
//!
//! It looks like HTTP and is read with less: the status line says nothing, a head is all there is,
//! a name without a colon is a header. Servers in the field were written for exactly that caller,
//! so nothing here goes through an HTTP library, which would refuse some of it (and keep copies of
//! passwords in buffers of its own).
//!
//! Not here: connecting, TLS and time, which are a driver's, and asking again after
//! [`Verdict::Wait`], which is the session's ([`crate::Routing::Later`]).
//! Invariants: nothing that a client gave leaves its header line; nothing that a server answered
//! leaves its place in a backend's protocol; a judged login is never worth keeping.
//! Read next: `request`, `answer`.

mod answer;
mod request;

use core::fmt;
use core::time::Duration;

use alloc::string::String;
use alloc::vec::Vec;

use crate::secret::Secret;
use crate::verdict::Denial;

pub use self::answer::{HEAD_MAX, login, verdict, whole_head};
pub use self::request::request;

/// What a server decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The login is good, and goes there.
    Accepted(Acceptance),
    /// It is not.
    Denied(Denial),
    /// It does not know yet, and is to be asked again after so long.
    Wait(Duration),
}

/// Where a login goes, and what it says there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceptance {
    /// A name or an address, without brackets.
    pub host: String,
    /// TCP port, from 1.
    pub port: u16,
    /// The user name for the backend, in place of the client's.
    pub user: Option<Vec<u8>>,
    /// The password for the backend, in place of the client's.
    pub password: Option<Secret>,
}

/// An answer that means nothing: the login could not be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerFault {
    /// The head is longer than [`HEAD_MAX`].
    TooLong,
    /// The connection ended within the head.
    CutShort,
    /// A line is no header line.
    Shape,
    /// The login is accepted, and no address or port is named.
    NoAddress,
    /// The address is neither a host nor an address of one.
    Address,
    /// The user name or the password holds what none may hold, or is too long.
    Credentials,
    /// A user name came without a password, for a login that brought none.
    NoPassword,
}

impl fmt::Display for AnswerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "the head of the answer exceeds {HEAD_MAX} octets"),
            Self::CutShort => f.write_str("the answer ended within its head"),
            Self::Shape => f.write_str("the answer holds a line that is no header"),
            Self::NoAddress => f.write_str("the answer lacks Auth-Server or Auth-Port"),
            Self::Address => f.write_str("the answer's Auth-Server or Auth-Port is none"),
            Self::Credentials => f.write_str("the answer's Auth-User or Auth-Pass is unusable"),
            Self::NoPassword => f.write_str("the answer has Auth-User, and lacks Auth-Pass"),
        }
    }
}

#[cfg(test)]
mod tests;
