//! ManageSieve: the client's UNAUTHENTICATE does not take effect, and STARTTLS neither.
//!
//! A client's literals never wait for leave (RFC 5804 §1.2 knows `{n+}` only), so nothing of what
//! the backend says decides what the client's octets are, and it is not looked at. Behind a
//! literal the line goes on; at the end of a line without one a command begins.
//!
//! A server that does not know a command, or cannot read what stands behind it, may take the octets
//! of its literal for commands. So a literal is believed only in a [`Call`] of those that carry
//! scripts. Any other line with a literal makes the guard wary, and so does one that servers may
//! read differently. That costs little: only scripts have lines at all. Read next: `tail`.

use super::tail::{End, Tail};
use super::watch::{Line, Seen, Watch};
use super::{Fate, Passage, REFUSED, leap_over};
use crate::contract::Leg;

/// The words that matter; the first [`FORBIDDEN`] are refused, the others carry scripts.
const WORDS: &[&str] = &["UNAUTHENTICATE", "STARTTLS", "PUTSCRIPT", "CHECKSCRIPT"];
const FORBIDDEN: usize = 2;

/// Octets of a command, literals left out, that every server takes.
const CALL_MAX: usize = 512;

/// The dialogue after the hand-off.
#[derive(Debug)]
pub(super) struct ManageSieve {
    pub(super) watch: Watch,
    tail: Tail,
    call: Call,
    mode: Mode,
}

/// A command that every server reads, if it knows it: a name and strings, a space before each.
#[derive(Debug, Clone, Copy)]
struct Call {
    name_octets: usize,
    octets: usize,
    place: Place,
}

/// Where in a call the next octet stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Name,
    /// Behind a space.
    Argument,
    /// In a quoted string.
    Quoted,
    /// Behind a string.
    Behind,
    /// In what announces a literal, which is `tail`'s.
    Literal,
    /// Somewhere in what is none.
    Lost,
}

impl Call {
    const fn new() -> Self {
        Self { name_octets: 0, octets: 0, place: Place::Name }
    }

    const fn take(&mut self, octet: u8) {
        self.octets = self.octets.saturating_add(1);
        self.place = match (self.place, octet) {
            (Place::Name, b'a'..=b'z' | b'A'..=b'Z') => {
                self.name_octets = self.octets;
                Place::Name
            }
            (Place::Name | Place::Behind, b' ') => Place::Argument,
            (Place::Argument, b'"') => Place::Quoted,
            (Place::Argument, b'{') => Place::Literal,
            (Place::Quoted, b'"') => Place::Behind,
            // What is escaped or encoded may be so in a wrong way.
            (Place::Quoted, b' '..=b'~') if octet != b'\\' => Place::Quoted,
            (Place::Literal, _) => Place::Literal,
            (_, _) => Place::Lost,
        };
    }

    /// Whether it is one of those that carry scripts, and a literal of it is announced.
    fn carries(&self, found: Option<usize>) -> bool {
        let name = found.filter(|index| *index >= FORBIDDEN).and_then(|index| WORDS.get(index));
        let is_known = name.is_some_and(|name| name.len() == self.name_octets);
        is_known && self.place == Place::Literal && self.octets <= CALL_MAX
    }
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
        Self { watch, tail: Tail::new(), call: Call::new(), mode: Mode::Commands }
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
                    self.call.take(octet);
                }
                Fate::Pass
            }
            Seen::Begun => {
                self.tail.take(octet);
                self.call.take(octet);
                Fate::Hold
            }
            Seen::Other => Fate::Release,
            Seen::Dropped => Fate::Drop,
            Seen::Word { index, position } if index >= FORBIDDEN => {
                self.watch.accept(index, position, true);
                Fate::Release
            }
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
        let call = core::mem::replace(&mut self.call, Call::new());
        if self.mode == Mode::Wary {
            return;
        }
        let carries = !line.odd && call.carries(line.found);
        match end {
            End::Plain if !line.odd => {}
            End::Literal { size, synchronising: false } if carries => {
                self.call = Call { place: Place::Behind, ..call };
                self.mode = Mode::Literal(size);
                self.watch.resume(line);
            }
            End::Plain | End::Literal { .. } | End::Odd => self.mode = Mode::Wary,
        }
    }
}
