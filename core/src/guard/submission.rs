//! Submission behind XCLIENT: the client's own XCLIENT, XFORWARD and STARTTLS do not take effect.
//!
//! What is followed, and why that is enough:
//!
//! * Each line has one reply, so that counting both tells which reply is DATA's.
//! * Behind DATA the client waits until the reply is there: 354, and data follow; anything else,
//!   and commands do. The count must agree, so that no other 354 is taken for this one. Behind
//!   EHLO and AUTH it waits as well. No client minds: all of them end a group of commands
//!   (RFC 2920 §3.1, RFC 4954 §4). An AUTH that is answered with 334 makes the guard wary: the
//!   client's next line is no command, whatever it looks like.
//! * Data end where `dots` says. Where servers may differ, the guard is wary from there on: for a
//!   strict server the message goes on and arrives, for a lax one commands are looked at.
//! * BDAT passes if the backend announced CHUNKING, in the last EHLO that it answered, and the
//!   line is one that every server reads alike; then so many octets are data, refused or not
//!   (RFC 3030 §2). Any other BDAT is refused here, and what follows it is commands for both.
//! * Between the chunks of one message nothing may stand. If something does, servers differ in
//!   whether they still read chunks, so BDAT is refused until a RSET has made it clear again.
//! * A line that servers may read differently, a 421, and a reply without a command make it wary.
//!
//! Wary, BDAT is refused as well, so that commands begin at the starts of lines only, or anywhere
//! if a chunk was begun before.
//! Read next: `watch`, `dots`, `reply`.

use memchr::memchr;

use super::dots::{Dots, Found};
use super::reply::{Replies, Reply};
use super::watch::{ANYWHERE, HELD_MAX, Line, Seen, Watch};
use super::{Fate, Passage, REFUSED, leap_over};
use crate::contract::Leg;

/// Octets of a command line that every server takes in one piece: those of RFC 5321 §4.5.3.1.4,
/// less a line end, of which a server that ended a message early counts the LF to this line.
const COMMAND_MAX: usize = 512 - "\r\n".len();

/// Octets of a chunk that every server can count: 31 bits.
const CHUNK_MAX: u64 = 0x7fff_ffff;

/// The words that matter; the first [`FORBIDDEN`] are refused always. None holds the first letter
/// of one that is refused behind its own, so that none is overlooked where any octet may begin one.
const WORDS: &[&str] = &["XCLIENT", "XFORWARD", "STARTTLS", "BDAT", "DATA", "EHLO", "HELO", "AUTH"];
const FORBIDDEN: usize = 3;
const BDAT: usize = 3;
const DATA: usize = 4;
const EHLO: usize = 5;
const HELO: usize = 6;
const AUTH: usize = 7;

/// In place of a command of which a CR was held already.
const REFUSED_CR: &[u8] = b"XREFUSED\r";

/// The dialogue after the hand-off.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) watch: Watch,
    mode: Mode,
    replies: Replies,
    /// Commands without a reply.
    outstanding: u32,
    chunks: Chunks,
    start: Start,
}

/// What the client's next octets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Commands,
    /// Unknown until a command is answered, the last one that was sent.
    Undecided(Asked),
    Data(Dots),
    /// So many of a chunk are left.
    Chunk(u64),
    /// Whatever the server takes them for.
    Wary,
}

/// A command whose reply decides what the client's octets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Data,
    Hello,
    Exchange,
}

/// Whether BDAT may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunks {
    /// It was not announced.
    Unknown,
    /// It may begin a message.
    Ready,
    /// It may go on with one.
    Begun,
    /// Something else came in between.
    Unsettled,
}

/// A line that begins with BDAT.
#[derive(Debug, PartialEq, Eq)]
enum Bdat {
    /// A chunk of so many octets follows.
    Good {
        size: u64,
        last: bool,
    },
    Bad,
}

/// The start of a line, up to one octet more than the commands that it can tell.
#[derive(Debug, Clone, Copy, Default)]
struct Start {
    octets: [u8; START_MAX],
    length: usize,
}

/// Octets of `RSET`, a CR, and one more.
const START_MAX: usize = 6;

impl Start {
    fn take(&mut self, octet: u8) {
        if let Some(free) = self.octets.get_mut(self.length) {
            *free = octet;
            self.length += 1;
        }
    }

    /// Whether the line, its LF left out, is this command and nothing else.
    fn is(&self, command: &[u8]) -> bool {
        let line = &self.octets[..self.length];
        line.strip_suffix(b"\r").is_some_and(|line| line.eq_ignore_ascii_case(command))
    }
}

impl Submission {
    pub(super) const fn new(chunking: bool) -> Self {
        Self {
            watch: Watch::new(WORDS, 1, COMMAND_MAX),
            mode: Mode::Commands,
            replies: Replies::new(),
            outstanding: 0,
            chunks: Chunks::announced(chunking),
            start: Start { octets: [0; START_MAX], length: 0 },
        }
    }

    pub(super) fn passage(&self, from: Leg) -> Passage {
        match (from, self.mode) {
            (Leg::Backend, Mode::Wary) => Passage::Open(u64::MAX),
            (Leg::Backend, _) => Passage::Screened,
            (Leg::Client, Mode::Undecided(_)) => Passage::Shut,
            (Leg::Client, Mode::Chunk(left)) if left > 0 => Passage::Open(left),
            (Leg::Client, Mode::Commands | Mode::Data(_) | Mode::Chunk(_) | Mode::Wary) => {
                Passage::Screened
            }
        }
    }

    pub(super) fn passed(&mut self, from: Leg, octets: u64) {
        if let (Leg::Client, Mode::Chunk(left)) = (from, &mut self.mode) {
            debug_assert!(octets <= *left, "no more passes unseen than may");
            *left = left.saturating_sub(octets);
        }
    }

    pub(super) fn be_wary(&mut self) {
        match self.mode {
            // A message may stand anywhere in a line, and a lax server at the start of one.
            Mode::Data(_) => self.watch.restart(),
            // Where the server still counts, a command begins behind the chunk, wherever that is.
            Mode::Chunk(_) => {
                self.watch.restart();
                self.watch.doubt_all();
            }
            Mode::Commands | Mode::Undecided(_) | Mode::Wary => {}
        }
        self.watch.doubt();
        self.mode = Mode::Wary;
    }

    /// Octets of the client that are data and pass.
    pub(super) fn leap(&mut self, input: &[u8]) -> usize {
        match &mut self.mode {
            Mode::Data(dots) => match dots.look(input) {
                Found::Nothing => input.len(),
                Found::End(end) => {
                    self.mode = Mode::Commands;
                    self.outstanding += 1;
                    end
                }
                Found::Doubt(end) => {
                    self.be_wary();
                    end
                }
            },
            Mode::Chunk(left) => {
                let octets = leap_over(left, input.len());
                if *left == 0 {
                    self.mode = Mode::Commands;
                }
                octets
            }
            Mode::Commands | Mode::Undecided(_) | Mode::Wary => 0,
        }
    }

    pub(super) fn take(&mut self, octet: u8) -> Fate {
        if let Mode::Undecided(_) = self.mode {
            return Fate::Wait;
        }
        let seen = self.watch.take(octet);
        match seen {
            Seen::Plain | Seen::Begun | Seen::Held | Seen::Dropped => self.start.take(octet),
            // These are looked at again, or no part of a line.
            Seen::Other | Seen::Word { .. } | Seen::End(_) => {}
        }
        match seen {
            Seen::Plain => Fate::Pass,
            Seen::Begun => Fate::Hold,
            Seen::Other => Fate::Release,
            Seen::Dropped => Fate::Drop,
            Seen::Held => self.take_chunk(octet),
            Seen::Word { index, position } => {
                if index < FORBIDDEN || (index == BDAT && !self.may_chunk(position)) {
                    self.watch.refuse();
                    return Fate::Refuse(REFUSED);
                }
                if index == BDAT {
                    self.watch.hold_line(octet);
                    return Fate::Hold;
                }
                self.watch.accept(index, position, position != ANYWHERE);
                Fate::Release
            }
            Seen::End(line) => {
                self.end(line);
                Fate::Pass
            }
        }
    }

    fn may_chunk(&self, position: u8) -> bool {
        let clean = !self.watch.line().odd && position != ANYWHERE;
        let open = match self.chunks {
            Chunks::Ready | Chunks::Begun => true,
            Chunks::Unknown | Chunks::Unsettled => false,
        };
        open && clean && self.mode == Mode::Commands
    }

    /// An octet of a line that begins with BDAT.
    fn take_chunk(&mut self, octet: u8) -> Fate {
        let held = self.watch.held();
        let is_whole = held.ends_with(b"\r");
        let command = bdat(held.strip_suffix(b"\r").unwrap_or(held));
        match (octet, command) {
            (b'\n', Bdat::Good { size, last }) if is_whole && self.may_chunk(0) => {
                self.watch.hold(octet);
                self.watch.restart();
                self.start = Start::default();
                self.outstanding += 1;
                self.chunks = if last { Chunks::Ready } else { Chunks::Begun };
                self.mode = if size == 0 { Mode::Commands } else { Mode::Chunk(size) };
                Fate::Through
            }
            (_, _) if is_whole => {
                self.watch.refuse_with_cr();
                Fate::Refuse(REFUSED_CR)
            }
            (b'\r', Bdat::Good { .. }) => self.hold_chunk(octet),
            (b'\r' | b'\n', _) => {
                self.watch.refuse();
                Fate::Refuse(REFUSED)
            }
            (_, _) if held.len() + "\r\n".len() < HELD_MAX => self.hold_chunk(octet),
            (_, _) => {
                self.watch.refuse();
                Fate::Refuse(REFUSED)
            }
        }
    }

    fn hold_chunk(&mut self, octet: u8) -> Fate {
        self.watch.hold(octet);
        Fate::Hold
    }

    /// A command is whole.
    fn end(&mut self, line: Line) {
        let start = core::mem::take(&mut self.start);
        if self.mode == Mode::Wary || line.odd || line.words == 0 {
            return self.be_wary();
        }
        self.outstanding += 1;
        self.chunks = self.chunks.behind(&start);
        match line.found {
            Some(DATA) => self.mode = Mode::Undecided(Asked::Data),
            Some(EHLO) => self.mode = Mode::Undecided(Asked::Hello),
            Some(AUTH) => self.mode = Mode::Undecided(Asked::Exchange),
            Some(HELO) => self.chunks = Chunks::Unknown,
            Some(_) | None => {}
        }
    }

    /// Takes what the backend says.
    pub(super) fn replies(&mut self, input: &[u8]) {
        let mut rest = input;
        while self.mode != Mode::Wary && !rest.is_empty() {
            let end = memchr(b'\n', rest);
            let (line, behind) = rest.split_at(end.map_or(rest.len(), |at| at + 1));
            match self.replies.take(line, end.is_some()) {
                Ok(None) => {}
                Ok(Some(reply)) => self.take_reply(reply),
                Err(()) => self.be_wary(),
            }
            rest = behind;
        }
    }

    fn take_reply(&mut self, reply: Reply) {
        let Some(left) = self.outstanding.checked_sub(1) else { return self.be_wary() };
        self.outstanding = left;
        // Behind these the client's next octets are no command.
        let go_ahead = matches!(&reply.code, b"354" | b"334");
        match self.mode {
            Mode::Undecided(Asked::Data) if left == 0 && reply.code == *b"354" => {
                self.mode = Mode::Data(Dots::CrLf);
            }
            Mode::Undecided(Asked::Data | Asked::Exchange) if left == 0 && !go_ahead => {
                self.mode = Mode::Commands;
            }
            Mode::Undecided(Asked::Hello) if left == 0 && !go_ahead => {
                self.chunks = Chunks::announced(reply.chunking && reply.code.starts_with(b"2"));
                self.mode = Mode::Commands;
            }
            Mode::Commands | Mode::Undecided(_) | Mode::Data(_) | Mode::Chunk(_) | Mode::Wary => {
                if go_ahead {
                    self.be_wary();
                }
            }
        }
        if reply.code == *b"421" {
            self.be_wary();
        }
    }
}

impl Chunks {
    const fn announced(chunking: bool) -> Self {
        if chunking { Self::Ready } else { Self::Unknown }
    }

    /// What becomes of it behind a line that is no chunk: RFC 3030 §2 calls the state of a server
    /// indeterminate then, and RSET clears it.
    fn behind(self, line: &Start) -> Self {
        match self {
            Self::Begun | Self::Unsettled if line.is(b"RSET") => Self::Ready,
            Self::Begun if line.is(b"NOOP") => Self::Begun,
            Self::Begun | Self::Unsettled => Self::Unsettled,
            Self::Unknown | Self::Ready => self,
        }
    }
}

/// Reads `BDAT 86 LAST` without its line end (RFC 3030 §2), in the one form that no two servers
/// read differently.
fn bdat(line: &[u8]) -> Bdat {
    let read = || {
        let rest = line.get("BDAT".len()..)?.strip_prefix(b" ")?;
        let digits = rest.iter().take_while(|octet| octet.is_ascii_digit()).count();
        let (digits, last) = rest.split_at(digits);
        let is_plain = matches!(digits, [b'0'] | [b'1'..=b'9', ..]);
        let is_last = last.eq_ignore_ascii_case(b" LAST");
        let size = core::str::from_utf8(digits).ok()?.parse().ok()?;
        // An empty chunk that is not the last one is refused by some.
        let is_right = is_last || (last.is_empty() && size > 0);
        (is_plain && is_right && size <= CHUNK_MAX).then_some(Bdat::Good { size, last: is_last })
    };
    read().unwrap_or(Bdat::Bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_announced_in_one_form_only() {
        assert_eq!(bdat(b"BDAT 86"), Bdat::Good { size: 86, last: false });
        assert_eq!(bdat(b"bdat 0 last"), Bdat::Good { size: 0, last: true });
        assert_eq!(bdat(b"BDAT 2147483647 LAST"), Bdat::Good { size: CHUNK_MAX, last: true });
        let bad = [
            &b"BDAT"[..],
            b"BDAT ",
            b"BDAT 0",
            b"BDAT  1",
            b"BDAT\t1",
            b"BDAT 01",
            b"BDAT +1",
            b"BDAT -1",
            b"BDAT 0x1",
            b"BDAT 1 ",
            b"BDAT 1 LAS",
            b"BDAT 1 LAST ",
            b"BDAT 1  LAST",
            b"BDATX 1",
            b"BDAT 2147483648",
            b"BDAT 18446744073709551617",
        ];
        for line in bad {
            assert_eq!(bdat(line), Bdat::Bad, "{line:?}");
        }
    }

    #[test]
    fn no_word_hides_the_start_of_one_that_is_refused() {
        for refused in &WORDS[..=BDAT] {
            let first = &refused[..1];
            for word in WORDS {
                let inner = &word[1..];
                // Its last letters would be the start of itself only.
                assert!(!inner.contains(first) || word == refused, "{refused} within {word}");
            }
        }
    }
}
