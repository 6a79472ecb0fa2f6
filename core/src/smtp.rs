//! SMTP and LMTP, which are carried from the first byte: the one line that the proxy itself says.
//!
//! Not here: anything else of these protocols. Greeting, commands, replies and a STARTTLS between
//! the client and its backend pass unread; who submits mail with a login is served elsewhere.
//! Invariant: nothing is said to a client to which its backend has said anything.
//!
//! RFC 5321 §4.2.3 and §3.8 (421, with the name of who says it), 2034 and 3463 (the code in front),
//! 2033 (LMTP has the same replies). Read next: `session/bridge.rs`.

use alloc::vec::Vec;

use crate::close::Refusal;
use crate::dialogue::say;

/// Sends a client away, in place of a greeting.
pub(crate) fn goodbye(hostname: &str, refusal: Refusal, out: &mut Vec<u8>) {
    let (code, text) = words(refusal);
    say(out, &["421 ", code, " ", hostname, " ", text]);
}

const fn words(refusal: Refusal) -> (&'static str, &'static str) {
    match refusal {
        Refusal::TooManyConnections => ("4.7.0", "Too many connections"),
        Refusal::Kicked => ("4.3.2", "Disconnected by an administrator"),
        Refusal::ShuttingDown => ("4.3.2", "Shutting down"),
        Refusal::TimedOut => ("4.4.2", "Timed out"),
        Refusal::Configuration => ("4.3.5", "Service is temporarily unavailable"),
        // What concerns a login cannot be said to somebody who does not log in.
        Refusal::Unavailable
        | Refusal::Denied
        | Refusal::Referred
        | Refusal::Credentials
        | Refusal::TlsNeeded
        | Refusal::Mechanism
        | Refusal::TooManyAttempts
        | Refusal::BadCharacters => ("4.4.1", "Service is temporarily unavailable"),
    }
}
