//! What is left to decide once a client is logged in.
//!
//! The driver moves the bytes; a [`Relay`] is told how many passed and what ended, and gives the
//! verdicts: which side to half-close, when to stop, and how the ending is called. It holds no
//! bytes and no socket, and its size is what an idle session costs the core. Where the session is
//! guarded it also says which bytes need a look, and what passes for them: `guard`.
//!
//! The invariants: bytes of one direction are all written before [`Relay::ended`] is told of its
//! end; after a [`Verdict::Close`] nothing more is asked.

use alloc::boxed::Box;

use crate::close::{By, Close, LegFault, Reason, State};
use crate::contract::Leg;
use crate::guard::{Guard, Passage, Screened};
use crate::time::{Instant, Timer};
use core::time::Duration;

/// The decisions of a session in relay.
#[derive(Debug)]
pub struct Relay {
    started: Instant,
    moved: Instant,
    idle: Duration,
    octets: [u64; 2],
    ended: [bool; 2],
    first_end: Option<Leg>,
    seen_eof: bool,
    guard: Option<Box<Guard>>,
}

/// What to do about an end of stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing more comes for that leg: send it FIN (close_notify under TLS) and go on reading it.
    HalfClose(Leg),
    /// Both sides are done.
    Close(Close),
}

impl Relay {
    /// A relay that begins `now`, of a session accepted at `started`. `client_eof`: the client has
    /// already sent its last byte.
    pub(crate) fn new(started: Instant, now: Instant, idle: Duration, client_eof: bool) -> Self {
        Self {
            started,
            moved: now,
            idle,
            octets: [0; 2],
            ended: [false; 2],
            first_end: None,
            seen_eof: client_eof,
            guard: None,
        }
    }

    /// The same with a guard.
    pub(crate) fn guarded_by(self, guard: Guard) -> Self {
        Self { guard: Some(Box::new(guard)), ..self }
    }

    /// Whether there is a guard; if not, every [`Relay::passage`] is open without end.
    pub const fn is_guarded(&self) -> bool {
        self.guard.is_some()
    }

    /// How the next octets that come from that leg are to be moved. It changes with what was moved
    /// last, in either direction.
    pub fn passage(&self, from: Leg) -> Passage {
        self.guard.as_ref().map_or(Passage::Open(u64::MAX), |guard| guard.passage(from))
    }

    /// Screens what came from that leg: call it again with the input that is left, until
    /// [`Screened::is_over`]. What is left then is kept by the driver and comes first the next
    /// time, once something came from the other leg. What is eaten counts as carried.
    pub fn screen<'a>(&'a mut self, from: Leg, input: &'a [u8], now: Instant) -> Screened<'a> {
        let screened = match &mut self.guard {
            Some(guard) => guard.screen(from, input),
            None => Screened { eaten: input.len(), pass: input },
        };
        self.octets[index(from)] += screened.eaten as u64;
        if screened.eaten > 0 {
            self.moved = now;
        }
        screened
    }

    /// What is to be written last of a side that has ended, before [`Relay::ended`]: the beginning
    /// of a word that was never finished.
    pub fn last_words(&mut self, from: Leg) -> &[u8] {
        self.guard.as_mut().map_or(&[], |guard| guard.rest(from))
    }

    /// Whether the client's end of stream was seen before the hand-off; the driver reports it
    /// with [`Relay::ended`] once the inbox is written.
    pub const fn client_eof(&self) -> bool {
        self.seen_eof
    }

    /// So many octets came from that leg and went to the other without being screened.
    pub fn carried(&mut self, from: Leg, octets: usize, now: Instant) {
        if let Some(guard) = &mut self.guard {
            guard.passed(from, octets as u64);
        }
        self.octets[index(from)] += octets as u64;
        self.moved = now;
    }

    /// Octets carried so far that came from that leg.
    pub const fn octets(&self, from: Leg) -> u64 {
        self.octets[index(from)]
    }

    /// That leg has sent its last byte, and all it sent is written to the other.
    pub fn ended(&mut self, leg: Leg, now: Instant) -> Verdict {
        debug_assert!(!self.ended[index(leg)], "an end of stream comes once");
        self.ended[index(leg)] = true;
        if let Some(guard) = &mut self.guard {
            guard.ended(leg);
        }
        let first = *self.first_end.get_or_insert(leg);
        if self.ended[index(leg.other())] {
            Verdict::Close(self.close(party(first), Reason::Eof, now))
        } else {
            self.moved = now;
            Verdict::HalfClose(leg.other())
        }
    }

    /// That leg broke.
    pub fn lost(&self, leg: Leg, fault: LegFault, now: Instant) -> Close {
        self.close(party(leg), Reason::Lost(fault), now)
    }

    /// When [`Relay::expired`] is worth asking; it moves with every byte, so a driver asks again
    /// when it comes instead of moving a timer.
    pub fn deadline(&self) -> Instant {
        self.moved + self.idle
    }

    /// The end, if the deadline has passed.
    pub fn expired(&self, now: Instant) -> Option<Close> {
        (now >= self.deadline()).then(|| self.close(By::Proxy, Reason::Timeout(Timer::Idle), now))
    }

    /// An operator ends this session.
    pub fn kicked(&self, now: Instant) -> Close {
        self.close(By::Operator, Reason::Kicked, now)
    }

    /// The program shuts down and its grace is over.
    pub fn drained(&self, now: Instant) -> Close {
        self.close(By::Operator, Reason::Drain, now)
    }

    fn close(&self, by: By, reason: Reason, now: Instant) -> Close {
        Close { by, reason, state: State::Relay, after: now.since(self.started) }
    }
}

const fn index(leg: Leg) -> usize {
    match leg {
        Leg::Client => 0,
        Leg::Backend => 1,
    }
}

const fn party(leg: Leg) -> By {
    match leg {
        Leg::Client => By::Client,
        Leg::Backend => By::Backend,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(60);

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn the_first_side_to_end_is_named() {
        let mut relay = Relay::new(at(0), at(5), IDLE, false);
        assert_eq!(relay.ended(Leg::Backend, at(6)), Verdict::HalfClose(Leg::Client));
        let Verdict::Close(close) = relay.ended(Leg::Client, at(9)) else {
            panic!("both sides ended")
        };
        assert_eq!((close.by, close.reason), (By::Backend, Reason::Eof));
        assert_eq!(close.after, Duration::from_millis(9));
    }

    #[test]
    fn only_carried_bytes_and_ends_move_the_idle_deadline() {
        let mut relay = Relay::new(at(0), at(10), IDLE, false);
        assert_eq!(relay.deadline(), at(60_010));
        assert_eq!(relay.expired(at(60_009)), None);
        relay.carried(Leg::Client, 3, at(50_000));
        assert_eq!(relay.expired(at(60_010)), None);
        let close = relay.expired(at(110_000)).expect("the deadline has passed");
        assert_eq!(close.reason, Reason::Timeout(Timer::Idle));
        assert_eq!(relay.octets(Leg::Client), 3);
        assert_eq!(relay.octets(Leg::Backend), 0);
    }
}
