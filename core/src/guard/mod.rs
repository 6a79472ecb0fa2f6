//! What a client that is logged in must not do to its backend, kept from taking effect.
//!
//! A [`Guard`] follows the dialogue after the hand-off in both directions, as far as it must to
//! know which octets of the client are commands. A forbidden verb is replaced where it stands by
//! one that every backend refuses, and its arguments are left out up to the line's end, so that
//! the refusal is the backend's own and replies stay in order. All else passes unchanged, but that
//! on IMAP the backend is asked for leave for every literal.
//!
//! * Submission, where the client was introduced by XCLIENT: XCLIENT, XFORWARD and STARTTLS, since
//!   the backend trusts our address (`submission`).
//! * IMAP and ManageSieve, where the destination asks for it: UNAUTHENTICATE (RFC 8437, RFC 5804
//!   §2.14.1), and what would hide it: STARTTLS and COMPRESS (`imap`, `managesieve`).
//!
//! Two invariants hold it together. Octets count as data only where every reading of the dialogue
//! agrees that they are. Where readings differ (a bare LF, a reply that nobody asked for), the
//! guard is *wary* from there on: it believes in no data any more and looks at the start of every
//! line under the laxest reading, so that it may replace a word inside a message that only such a
//! client sends, and never misses a command. Wary, it waits for nothing, so it cannot get stuck.
//! And it holds no octets but the beginning of a word, at most [`watch::HELD_MAX`]; what has to
//! wait stays with the driver. Read next: `watch` (words at the start of lines), `submission`.

mod dots;
mod imap;
mod managesieve;
mod reply;
mod submission;
mod tail;
mod watch;

#[cfg(test)]
mod tests;

use self::imap::Imap;
use self::managesieve::ManageSieve;
use self::submission::Submission;
use self::watch::Watch;
use crate::contract::Leg;

/// The verb in a forbidden one's place. No protocol has it.
const REFUSED: &[u8] = b"XREFUSED";

/// How the next octets of a direction are to be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// So many need no look and may pass by any means.
    Open(u64),
    /// They are to be screened.
    Screened,
    /// They wait until the other side has said something.
    Shut,
}

/// One step of screening: what was taken from the front of the input, and what passes for it.
#[derive(Debug, PartialEq, Eq)]
pub struct Screened<'a> {
    /// Octets of the input that are done with.
    pub eaten: usize,
    /// To be written before anything that follows.
    pub pass: &'a [u8],
}

impl Screened<'_> {
    /// Nothing more can be done with this input: it is empty, or its front waits.
    pub const fn is_over(&self) -> bool {
        self.eaten == 0 && self.pass.is_empty()
    }
}

/// What to do with one octet of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It passes.
    Pass,
    /// It is kept, behind what is held already.
    Hold,
    /// What is held passes; the octet is judged again.
    Release,
    /// What is held passes, and the octet.
    Through,
    /// This goes in the place of what is held; the octet is judged again.
    Refuse(&'static [u8]),
    /// It does not pass.
    Drop,
    /// It stays where it is.
    Wait,
}

/// The guard of one session.
#[derive(Debug)]
pub(crate) struct Guard {
    follow: Follow,
    /// What stands in a forbidden verb's place, not written yet.
    due: &'static [u8],
}

/// The dialogue of a protocol, followed as far as needed.
#[derive(Debug)]
enum Follow {
    Submission(Submission),
    Imap(Imap),
    ManageSieve(ManageSieve),
}

impl Guard {
    /// For a client that was introduced by XCLIENT. `chunking`: the backend announced BDAT.
    pub(crate) const fn submission(chunking: bool) -> Self {
        Self::new(Follow::Submission(Submission::new(chunking)))
    }

    /// For a session of IMAP.
    pub(crate) const fn imap() -> Self {
        Self::new(Follow::Imap(Imap::new()))
    }

    /// For a session of ManageSieve.
    pub(crate) const fn managesieve() -> Self {
        Self::new(Follow::ManageSieve(ManageSieve::new()))
    }

    const fn new(follow: Follow) -> Self {
        Self { follow, due: &[] }
    }

    /// How the next octets of a direction are to be moved.
    pub(crate) fn passage(&self, from: Leg) -> Passage {
        match (from, &self.follow) {
            (Leg::Client, _) if !self.due.is_empty() || self.follow.watch().held_len() > 0 => {
                Passage::Screened
            }
            (_, Follow::Submission(follow)) => follow.passage(from),
            (_, Follow::Imap(follow)) => follow.passage(from),
            (_, Follow::ManageSieve(follow)) => follow.passage(from),
        }
    }

    /// So many octets passed without a look, as [`Passage::Open`] allowed.
    pub(crate) fn passed(&mut self, from: Leg, octets: u64) {
        match &mut self.follow {
            Follow::Submission(follow) => follow.passed(from, octets),
            Follow::Imap(follow) => follow.passed(from, octets),
            Follow::ManageSieve(follow) => follow.passed(from, octets),
        }
    }

    /// That side has sent its last octet.
    pub(crate) fn ended(&mut self, leg: Leg) {
        if leg == Leg::Backend {
            // Nobody answers any more, so nothing may wait for an answer.
            match &mut self.follow {
                Follow::Submission(follow) => follow.be_wary(),
                Follow::Imap(follow) => follow.be_wary(),
                Follow::ManageSieve(_) => {}
            }
        }
    }

    /// What is still held of a client that sends no more: the beginning of a word, not all of one.
    pub(crate) fn rest(&mut self, from: Leg) -> &[u8] {
        match from {
            Leg::Client => self.follow.watch_mut().let_go(),
            Leg::Backend => &[],
        }
    }

    /// Looks at the front of what came from a side.
    pub(crate) fn screen<'a>(&'a mut self, from: Leg, input: &'a [u8]) -> Screened<'a> {
        match from {
            Leg::Client => self.screen_client(input),
            Leg::Backend => {
                let (eaten, passes) = match &mut self.follow {
                    Follow::Submission(follow) => {
                        follow.replies(input);
                        (input.len(), input.len())
                    }
                    Follow::Imap(follow) => follow.responses(input),
                    Follow::ManageSieve(_) => (input.len(), input.len()),
                };
                Screened { eaten, pass: &input[..passes] }
            }
        }
    }

    fn screen_client<'a>(&'a mut self, input: &'a [u8]) -> Screened<'a> {
        if !self.due.is_empty() {
            return Screened { eaten: 0, pass: core::mem::take(&mut self.due) };
        }
        // A word that was begun by an earlier input has to be written by itself.
        let earlier = self.follow.watch().held_len() > 0;
        let mut begun = earlier.then_some(0);
        let (mut start, mut at) = (0, 0);
        loop {
            at += self.follow.leap(&input[at..]);
            let Some(&octet) = input.get(at) else { break };
            match self.follow.take(octet) {
                Fate::Pass => at += 1,
                Fate::Drop if start == at => (start, at) = (at + 1, at + 1),
                Fate::Drop => return Screened { eaten: at + 1, pass: &input[start..at] },
                Fate::Hold => {
                    begun.get_or_insert(at);
                    at += 1;
                }
                Fate::Release if earlier && begun.is_some() => {
                    return Screened { eaten: at, pass: self.follow.watch_mut().let_go() };
                }
                Fate::Through if earlier && begun.is_some() => {
                    return Screened { eaten: at + 1, pass: self.follow.watch_mut().let_go() };
                }
                fate @ (Fate::Release | Fate::Through) => {
                    self.follow.watch_mut().let_go();
                    begun = None;
                    at += usize::from(fate == Fate::Through);
                }
                Fate::Refuse(text) => {
                    self.follow.watch_mut().let_go();
                    let end = begun.unwrap_or(at);
                    if end == start {
                        return Screened { eaten: at, pass: text };
                    }
                    self.due = text;
                    return Screened { eaten: at, pass: &input[start..end] };
                }
                Fate::Wait => break,
            }
        }
        Screened { eaten: at, pass: &input[start..begun.unwrap_or(at).max(start)] }
    }
}

impl Follow {
    const fn watch(&self) -> &Watch {
        match self {
            Self::Submission(follow) => &follow.watch,
            Self::Imap(follow) => &follow.watch,
            Self::ManageSieve(follow) => &follow.watch,
        }
    }

    const fn watch_mut(&mut self) -> &mut Watch {
        match self {
            Self::Submission(follow) => &mut follow.watch,
            Self::Imap(follow) => &mut follow.watch,
            Self::ManageSieve(follow) => &mut follow.watch,
        }
    }

    fn take(&mut self, octet: u8) -> Fate {
        match self {
            Self::Submission(follow) => follow.take(octet),
            Self::Imap(follow) => follow.take(octet),
            Self::ManageSieve(follow) => follow.take(octet),
        }
    }

    /// Octets at the front that are data and pass.
    fn leap(&mut self, input: &[u8]) -> usize {
        match self {
            Self::Submission(follow) => follow.leap(input),
            Self::Imap(follow) => follow.leap(input),
            Self::ManageSieve(follow) => follow.leap(input),
        }
    }
}

/// Goes on by what is there, of so many octets that are announced; how many it was.
fn leap_over(left: &mut u64, available: usize) -> usize {
    let octets = usize::try_from(*left).unwrap_or(usize::MAX).min(available);
    *left -= octets as u64;
    octets
}
