//! The responses of an IMAP backend after the hand-off, as far as the guard needs them.
//!
//! A response is a line, or several with literals between them. Only untagged data hold literals:
//! a status response and a continuation end with free text (RFC 9051 §7.1, §7.5), in which `{5}`
//! is five characters, perhaps the client's own words sent back. Literals of any size pass without
//! being looked at.

use super::super::leap_over;
use super::super::tail::{End, Tail};

/// Octets of a line that are kept, to tell a status response: `* PREAUTH `.
const FRONT_MAX: usize = 10;

/// The untagged status responses (RFC 9051 §7.1).
const STATUS: [&[u8]; 5] = [b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH"];

/// What a backend said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Response {
    /// The answer to a command.
    Tagged,
    /// Something unasked, or part of an answer.
    Untagged,
    /// `+`.
    Continuation,
    /// None of that, or nobody knows where it ends.
    Odd,
}

/// The responses of a backend, however they are cut.
#[derive(Debug)]
pub(super) struct Responses {
    front: [u8; FRONT_MAX],
    front_len: usize,
    tail: Tail,
    /// Octets that are left of a literal.
    literal: u64,
    /// The line goes on behind a literal.
    continued: bool,
}

impl Responses {
    pub(super) const fn new() -> Self {
        Self {
            front: [0; FRONT_MAX],
            front_len: 0,
            tail: Tail::new(),
            literal: 0,
            continued: false,
        }
    }

    /// Octets that are left of a literal.
    pub(super) const fn literal(&self) -> u64 {
        self.literal
    }

    /// Whether what comes next belongs to a continuation: the first octet of a response tells.
    pub(super) fn is_continuation(&self, next: &[u8]) -> bool {
        let first = if self.front_len > 0 { self.front.first() } else { next.first() };
        !self.continued && self.literal == 0 && first == Some(&b'+')
    }

    /// So many octets of a literal passed.
    pub(super) fn passed(&mut self, octets: u64) {
        debug_assert!(octets <= self.literal, "no more passes unseen than may");
        self.literal = self.literal.saturating_sub(octets);
    }

    /// Takes octets from the front of the input, up to the end of a response if there is one.
    pub(super) fn take(&mut self, input: &[u8]) -> (usize, Option<Response>) {
        let leapt = leap_over(&mut self.literal, input.len());
        for (position, &octet) in input.iter().enumerate().skip(leapt) {
            match octet {
                b'\n' => return (position + 1, self.end()),
                b'\r' => {}
                _ => {
                    if let Some(free) = self.front.get_mut(self.front_len) {
                        *free = octet;
                        self.front_len += 1;
                    }
                    self.tail.take(octet);
                }
            }
        }
        (input.len(), None)
    }

    /// A line is whole; none if its response goes on behind a literal.
    fn end(&mut self) -> Option<Response> {
        let end = core::mem::replace(&mut self.tail, Tail::new()).end();
        let front = &self.front[..core::mem::take(&mut self.front_len)];
        let continued = core::mem::take(&mut self.continued);
        if !continued {
            match front {
                [b'+', ..] => return Some(Response::Continuation),
                [] => return Some(Response::Odd),
                [b'*', b' ', rest @ ..] if is_status(rest) => return Some(Response::Untagged),
                [b'*', b' ', ..] => {}
                [b'*', ..] => return Some(Response::Odd),
                _ => return Some(Response::Tagged),
            }
        }
        match end {
            End::Plain => Some(Response::Untagged),
            End::Literal { size, .. } => {
                self.literal = size;
                self.continued = true;
                None
            }
            End::Odd => Some(Response::Odd),
        }
    }
}

fn is_status(text: &[u8]) -> bool {
    let word = text.split(|&octet| octet == b' ').next().unwrap_or_default();
    STATUS.iter().any(|status| word.eq_ignore_ascii_case(status))
}
