//! IMAP: the client's UNAUTHENTICATE does not take effect, nor what would hide it.
//!
//! COMPRESS is refused too, since nobody can look into what follows it, and so is STARTTLS. What
//! is followed, and why that is enough:
//!
//! * Octets of a literal are data once the backend has asked for them. To know what it answers,
//!   the end of a line that calls for leave (`{n}`, IDLE) is not passed on before all earlier
//!   commands are answered: then a `+` or a tagged reply can only mean this line.
//! * A literal that does not wait (`{n+}`) goes to the backend as one that does (`{n}`), and its
//!   `+` does not go to the client. RFC 7888 §4 has a server read such a literal even if it refuses
//!   the command, but servers take its octets for commands then. So refused, it goes nowhere, nor
//!   does the rest of its command, for which the client has its reply.
//! * Each command has one tagged reply, so that counting tells when all are answered; DONE has
//!   none, and belongs to an IDLE that was answered with `+`.
//! * A line that servers may read differently, a `+` or a tagged reply that nothing asked for, and
//!   an AUTHENTICATE that is answered with `+` make it wary.
//!
//! Read next: `response`, what the backend says; `tail`, literals.

mod response;

use self::response::{Response, Responses};
use super::tail::{End, Tail};
use super::watch::{Line, Seen, Watch};
use super::{Fate, Passage, REFUSED, leap_over};
use crate::contract::Leg;

/// The words that matter; the first [`FORBIDDEN`] are refused.
const WORDS: &[&str] = &["UNAUTHENTICATE", "COMPRESS", "STARTTLS", "IDLE", "AUTHENTICATE", "DONE"];
const FORBIDDEN: usize = 3;
const IDLE: usize = 3;
const AUTHENTICATE: usize = 4;
const DONE: usize = 5;

/// The dialogue after the hand-off.
#[derive(Debug)]
pub(super) struct Imap {
    pub(super) watch: Watch,
    tail: Tail,
    mode: Mode,
    responses: Responses,
    /// Commands without a reply.
    outstanding: u32,
}

/// What the client's next octets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Commands,
    /// The end of a line that calls for leave, which waits for earlier commands.
    Withheld,
    /// Unknown until the backend gives leave or refuses.
    Undecided {
        asked: Asked,
        line: Line,
    },
    /// So many of a literal are left, and then its line goes on.
    Literal {
        left: u64,
        line: Line,
    },
    /// What is left of a command that was refused before its client could know: so many octets of
    /// a literal, and then its line.
    Refused(u64),
    /// The line that ends an IDLE.
    Idle,
    /// Whatever the server takes them for.
    Wary,
}

/// What a client asks leave for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// `told`: the client waits for the answer.
    Literal {
        size: u64,
        told: bool,
    },
    Idle,
    Exchange,
}

impl Imap {
    pub(super) const fn new() -> Self {
        Self {
            watch: Watch::new(WORDS, 2, usize::MAX),
            tail: Tail::new(),
            mode: Mode::Commands,
            responses: Responses::new(),
            outstanding: 0,
        }
    }

    pub(super) fn passage(&self, from: Leg) -> Passage {
        match (from, self.mode) {
            (Leg::Backend, Mode::Wary) => Passage::Open(u64::MAX),
            (Leg::Backend, _) => match self.responses.literal() {
                0 => Passage::Screened,
                left => Passage::Open(left),
            },
            (Leg::Client, Mode::Undecided { .. }) => Passage::Shut,
            (Leg::Client, Mode::Withheld) if self.outstanding > 0 => Passage::Shut,
            (Leg::Client, Mode::Literal { left, .. }) if left > 0 => Passage::Open(left),
            (
                Leg::Client,
                Mode::Commands
                | Mode::Withheld
                | Mode::Literal { .. }
                | Mode::Refused(_)
                | Mode::Idle
                | Mode::Wary,
            ) => Passage::Screened,
        }
    }

    pub(super) fn passed(&mut self, from: Leg, octets: u64) {
        match (from, &mut self.mode) {
            (Leg::Client, Mode::Literal { left, .. }) => {
                debug_assert!(octets <= *left, "no more passes unseen than may");
                *left = left.saturating_sub(octets);
            }
            (Leg::Backend, mode) if *mode != Mode::Wary => self.responses.passed(octets),
            (Leg::Client | Leg::Backend, _) => {}
        }
    }

    pub(super) fn be_wary(&mut self) {
        match self.mode {
            // The client may stand within a line, and the server at the start of one.
            Mode::Literal { .. } | Mode::Undecided { .. } | Mode::Refused(_) => {
                self.watch.restart();
            }
            Mode::Commands | Mode::Withheld | Mode::Idle | Mode::Wary => {}
        }
        self.mode = Mode::Wary;
    }

    /// Octets of the client that are data and pass.
    pub(super) fn leap(&mut self, input: &[u8]) -> usize {
        let Mode::Literal { left, line } = &mut self.mode else { return 0 };
        let octets = leap_over(left, input.len());
        if *left == 0 {
            self.watch.resume(*line);
            self.mode = Mode::Commands;
        }
        octets
    }

    pub(super) fn take(&mut self, octet: u8) -> Fate {
        match self.mode {
            Mode::Undecided { .. } => return Fate::Wait,
            Mode::Refused(left) => return self.leave_out(octet, left),
            Mode::Withheld if self.outstanding > 0 => return Fate::Wait,
            Mode::Commands if octet == b'\n' && self.calls_for_leave() && self.outstanding > 0 => {
                self.mode = Mode::Withheld;
                return Fate::Wait;
            }
            Mode::Commands | Mode::Withheld | Mode::Literal { .. } | Mode::Idle | Mode::Wary => {}
        }
        match self.watch.take(octet) {
            Seen::Plain => {
                if octet != b'\r' {
                    self.tail.take(octet);
                }
                let waits_not = self.mode == Mode::Commands && self.tail.is_behind_plus();
                if waits_not { Fate::Drop } else { Fate::Pass }
            }
            Seen::Begun => {
                self.tail.take(octet);
                Fate::Hold
            }
            Seen::Other => Fate::Release,
            Seen::Dropped => Fate::Drop,
            Seen::Word { index, .. } if index < FORBIDDEN => {
                self.watch.refuse();
                Fate::Refuse(REFUSED)
            }
            Seen::Word { index, position } => {
                // DONE stands alone, a command behind its tag.
                let found = (position == 0) == (index == DONE);
                self.watch.accept(index, position, found);
                Fate::Release
            }
            Seen::Held => Fate::Release,
            Seen::End(line) => {
                self.end(line);
                Fate::Pass
            }
        }
    }

    /// An octet of a command that was refused does not pass.
    fn leave_out(&mut self, octet: u8, left: u64) -> Fate {
        if left > 0 {
            self.mode = Mode::Refused(left - 1);
        } else if octet == b'\n' {
            let end = core::mem::replace(&mut self.tail, Tail::new()).end();
            self.mode = match end {
                End::Literal { size, synchronising: false } => Mode::Refused(size),
                End::Literal { .. } | End::Plain | End::Odd => Mode::Commands,
            };
        } else if octet != b'\r' {
            self.tail.take(octet);
        }
        Fate::Drop
    }

    /// Whether the line that ends here is one that the backend answers before the client goes on.
    fn calls_for_leave(&self) -> bool {
        let line = self.watch.line();
        !line.odd && self.watch.after_cr() && Self::asked(line, self.tail.end()).is_some()
    }

    const fn asked(line: Line, end: End) -> Option<Asked> {
        match (end, line.found) {
            (End::Literal { size, synchronising }, _) => {
                Some(Asked::Literal { size, told: synchronising })
            }
            (End::Plain, Some(IDLE)) => Some(Asked::Idle),
            (End::Plain, Some(AUTHENTICATE)) => Some(Asked::Exchange),
            (End::Plain | End::Odd, _) => None,
        }
    }

    /// A line is whole, and passes.
    fn end(&mut self, line: Line) {
        let end = core::mem::replace(&mut self.tail, Tail::new()).end();
        let whole_command = !line.odd && line.words >= 2 && end != End::Odd;
        let asked = Self::asked(line, end);
        self.mode = match (self.mode, end) {
            (Mode::Wary, _) => Mode::Wary,
            (Mode::Idle, End::Plain)
                if !line.odd && line.words == 1 && line.found == Some(DONE) =>
            {
                Mode::Commands
            }
            (Mode::Idle, _) => Mode::Wary,
            (_, _) if !whole_command => Mode::Wary,
            (_, _) => match asked {
                Some(asked) => Mode::Undecided { asked, line },
                None => {
                    self.outstanding += 1;
                    Mode::Commands
                }
            },
        };
    }

    /// Takes what the backend says: so many octets are done with, of which so many pass, from the
    /// front. An answer for which the client does not wait does not.
    pub(super) fn responses(&mut self, input: &[u8]) -> (usize, usize) {
        let mut at = 0;
        while self.mode != Mode::Wary && at < input.len() {
            let rest = &input[at..];
            let is_ours = self.asks_by_itself() && self.responses.is_continuation(rest);
            let (eaten, response) = self.responses.take(rest);
            let end = at + eaten;
            match response {
                None | Some(Response::Untagged) => {}
                Some(Response::Tagged) => self.take_tagged(),
                Some(Response::Continuation) => self.take_leave(),
                Some(Response::Odd) => self.be_wary(),
            }
            if is_ours {
                return (end, at);
            }
            at = end;
        }
        (input.len(), input.len())
    }

    /// Whether the backend was asked for leave, and the client does not know.
    const fn asks_by_itself(&self) -> bool {
        matches!(self.mode, Mode::Undecided { asked: Asked::Literal { told: false, .. }, .. })
    }

    fn take_tagged(&mut self) {
        match self.mode {
            Mode::Undecided { asked, .. } => {
                self.watch.restart();
                self.mode = match asked {
                    Asked::Literal { size, told: false } => Mode::Refused(size),
                    Asked::Literal { .. } | Asked::Idle | Asked::Exchange => Mode::Commands,
                };
            }
            Mode::Commands
            | Mode::Withheld
            | Mode::Literal { .. }
            | Mode::Refused(_)
            | Mode::Idle
            | Mode::Wary => {
                match self.outstanding.checked_sub(1) {
                    Some(left) => self.outstanding = left,
                    None => return self.be_wary(),
                }
                // What of a line has come may be DONE, or the start of a command.
                match self.mode {
                    Mode::Idle if self.watch.is_fresh() => self.mode = Mode::Commands,
                    Mode::Idle => self.be_wary(),
                    Mode::Commands
                    | Mode::Withheld
                    | Mode::Undecided { .. }
                    | Mode::Literal { .. }
                    | Mode::Refused(_)
                    | Mode::Wary => {}
                }
            }
        }
    }

    fn take_leave(&mut self) {
        match self.mode {
            Mode::Undecided { asked: Asked::Literal { size, .. }, line } => {
                self.mode = Mode::Literal { left: size, line };
            }
            Mode::Undecided { asked: Asked::Idle, .. } => {
                self.outstanding += 1;
                self.mode = Mode::Idle;
            }
            Mode::Undecided { asked: Asked::Exchange, .. }
            | Mode::Commands
            | Mode::Withheld
            | Mode::Literal { .. }
            | Mode::Refused(_)
            | Mode::Idle
            | Mode::Wary => self.be_wary(),
        }
    }
}
