//! ManageSieve: the client's UNAUTHENTICATE does not take effect, and STARTTLS neither.
//!
//! A client's literals never wait for leave (RFC 5804 §1.2 knows `{n+}` only), so nothing of what
//! the backend says decides what the client's octets are, and it is not looked at. Behind a
//! literal the line goes on; at the end of a line without one a command begins.
//!
//! Assumed is what RFC 5804 has of every server: that it reads the literal of a command it
//! refuses. A line that servers may read differently makes the guard wary. Read next: `tail`.

use super::tail::{End, Tail};
use super::watch::{Line, Seen, Watch};
use super::{Fate, Passage, REFUSED, leap_over};
use crate::contract::Leg;

/// All of them are refused.
const WORDS: &[&str] = &["UNAUTHENTICATE", "STARTTLS"];

/// The dialogue after the hand-off.
#[derive(Debug)]
pub(super) struct ManageSieve {
    pub(super) watch: Watch,
    tail: Tail,
    mode: Mode,
}

/// What the client's next octets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Commands,
    /// So many of a literal are left.
    Literal(u64),
    /// Whatever the server takes them for.
    Wary,
}

impl ManageSieve {
    pub(super) const fn new() -> Self {
        let watch = Watch::new(WORDS, 1, usize::MAX);
        Self { watch, tail: Tail::new(), mode: Mode::Commands }
    }

    pub(super) const fn passage(&self, from: Leg) -> Passage {
        match (from, self.mode) {
            (Leg::Backend, _) => Passage::Open(u64::MAX),
            (Leg::Client, Mode::Literal(left)) if left > 0 => Passage::Open(left),
            (Leg::Client, Mode::Commands | Mode::Literal(_) | Mode::Wary) => Passage::Screened,
        }
    }

    pub(super) fn passed(&mut self, from: Leg, octets: u64) {
        if let (Leg::Client, Mode::Literal(left)) = (from, &mut self.mode) {
            debug_assert!(octets <= *left, "no more passes unseen than may");
            *left = left.saturating_sub(octets);
        }
    }

    /// Octets of the client that are data and pass.
    pub(super) fn leap(&mut self, input: &[u8]) -> usize {
        let Mode::Literal(left) = &mut self.mode else { return 0 };
        let octets = leap_over(left, input.len());
        if *left == 0 {
            self.mode = Mode::Commands;
        }
        octets
    }

    pub(super) fn take(&mut self, octet: u8) -> Fate {
        match self.watch.take(octet) {
            Seen::Plain => {
                if octet != b'\r' {
                    self.tail.take(octet);
                }
                Fate::Pass
            }
            Seen::Begun => Fate::Hold,
            Seen::Other => Fate::Release,
            Seen::Dropped => Fate::Drop,
            Seen::Word { .. } | Seen::Held => {
                self.watch.refuse();
                Fate::Refuse(REFUSED)
            }
            Seen::End(line) => {
                self.end(line);
                Fate::Pass
            }
        }
    }

    fn end(&mut self, line: Line) {
        let end = core::mem::replace(&mut self.tail, Tail::new()).end();
        if self.mode == Mode::Wary {
            return;
        }
        match end {
            End::Plain if !line.odd => {}
            End::Literal { size, synchronising: false } if !line.odd => {
                self.mode = Mode::Literal(size);
                self.watch.resume(line);
            }
            End::Plain | End::Literal { .. } | End::Odd => self.mode = Mode::Wary,
        }
    }
}
