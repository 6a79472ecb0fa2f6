//! A session.
use alloc::sync::Arc;

use crate::close::State;
use crate::config::Listener;
use crate::contract::{Event, Inbox, Leg, Outbox, Peer, Seed};
use crate::time::{Instant, Timer};

/// One client's session, from accept to hand-off or end.
#[derive(Debug)]
pub struct Session {}

impl Session {
    /// Begins a session for an accepted connection.
    pub fn accept(
        listener: Arc<Listener>,
        peer: Peer,
        seed: Seed,
        now: Instant,
        out: &mut Outbox,
    ) -> Self {
        let _ = (listener, peer, seed, now, out);
        Self {}
    }
    /// Takes one fact.
    pub fn handle(&mut self, event: Event, now: Instant, inbox: &mut Inbox, out: &mut Outbox) {
        let _ = (event, now, inbox, out);
    }
    /// When [`Event::Timeout`] is due, and which timer that is.
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        None
    }
    /// Octets worth reading now from a leg; 0: leave them in the kernel.
    pub fn room(&self, leg: Leg) -> usize {
        let _ = leg;
        0
    }
    /// Where it stands.
    pub fn state(&self) -> State {
        State::Preauth
    }
}
