//! One client's session, from accept to hand-off.
//!
//! The session introduces a protocol's two automata to each other: it asks for what they need
//! (TLS, a route, a connection), carries a login from one to the other, and keeps the time. It
//! knows no grammar. It is the control plane and may be careful; when bytes begin to pass it is
//! over, and what is left to decide is a [`crate::Relay`].
//!
//! Invariants: at most one step is outstanding; a backend leg exists only in the phases that hold
//! an [`Attempt`] or an [`Errand`]; nothing is eaten while it is not that side's turn. Read next:
//! `opening.rs` for what comes before the dialogue, `balancer.rs` for what may stand before that,
//! `lookup.rs` for the way from a login to a route, `attempt.rs` for the backend's side, `again.rs`
//! for what follows when that fails, `referral.rs` for when it leads elsewhere,
//! `bridge.rs` for clients that are carried without a login, `clock.rs` for the timers.

mod again;
mod attempt;
mod balancer;
mod bridge;
mod clock;
mod introduce;
mod lookup;
mod opening;
mod referral;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use zeroize::Zeroize;

use self::attempt::{Attempt, Errand};
use self::clock::Clock;
use self::introduce::{Introduced, is_trusted};
use self::lookup::Inquiry;
use crate::automaton::FrontendAsk;
use crate::close::{AttemptFault, By, Close, LegFault, Reason, Refusal, State};
use crate::config::Listener;
use crate::contract::{
    Answer, Event, Inbox, Leg, Outbox, Peer, Seed, SessionId, Step, Ticket, TlsFacts,
};
use crate::line::{BACKEND_LINE_MAX, EARLY_MAX, OUTBOX_FULL};
use crate::origin::Origin;
use crate::protocol::{Backend, Frontend};
use crate::proxy_protocol::HEADER_MAX;
use crate::sasl::Login;
use crate::smtp;
use crate::time::{Expiry, Instant, Timer};
use crate::verdict::Denial;

/// One client's session, from accept to hand-off or end.
#[derive(Debug)]
pub struct Session {
    listener: Arc<Listener>,
    origin: Origin,
    /// A trusted proxy said so.
    introduced: Option<Box<Introduced>>,
    id: SessionId,
    started: Instant,
    clock: Clock,
    last_ticket: u32,
    outstanding: Option<Ticket>,
    /// None: the client is carried from its first byte.
    frontend: Option<Frontend>,
    phase: Phase,
    client_tls: Option<TlsFacts>,
    client_eof: bool,
    draining: bool,
    /// Logins that were tried.
    logins: u32,
    /// Octets left in the inbox by the last call.
    held_client: usize,
    held_backend: usize,
}

/// What the session waits for.
#[derive(Debug)]
enum Phase {
    /// A handshake with a balancer.
    ProxyTls,
    /// A balancer's PROXY header.
    ProxyHeader,
    /// The driver's word that there is room.
    Admit(Prelude),
    /// A handshake with the client.
    ClientTls(Opening),
    /// The first octets of a client that was greeted because its balancer said nothing.
    Greeted,
    /// The client.
    Dialogue,
    /// A route.
    Lookup(Inquiry),
    /// The moment when the client may hear of its refusal.
    Held(Arc<Login>, Denial),
    /// The moment when a route may be asked for again.
    Deferred(Inquiry),
    /// A connection.
    Connect(Errand),
    /// The time for the next attempt.
    Pause(Errand),
    /// Implicit TLS with the backend.
    BackendTls(Errand),
    /// The backend.
    Backend(Attempt, Backend),
    /// The client's answer to a challenge of the backend.
    Challenged(Attempt, Backend),
    /// The client's answer to the challenge that says why its token is refused.
    Explained(Denial),
    /// Nothing any more.
    Over,
}

/// Whether anything of a balancer's may still stand before the client's own octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prelude {
    /// Nothing.
    Over,
    /// A header, for which nobody waits any longer.
    Lacking,
}

/// Where a handshake with the client stands in the dialogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opening {
    /// Before the greeting.
    Implicit,
    /// After STARTTLS.
    Upgrade,
}

impl Session {
    /// Begins a session for an accepted connection.
    pub fn accept(
        listener: Arc<Listener>,
        peer: Peer,
        seed: Seed,
        now: Instant,
        out: &mut Outbox,
    ) -> Self {
        let mut session = Self {
            clock: Clock::new(listener.preauth_timeout),
            frontend: Frontend::new(Arc::clone(&listener), is_trusted(&listener, peer)),
            listener,
            origin: Origin::from(peer),
            introduced: None,
            id: seed.into(),
            started: now,
            last_ticket: 0,
            outstanding: None,
            phase: Phase::Over,
            client_tls: None,
            client_eof: false,
            draining: false,
            logins: 0,
            held_client: 0,
            held_backend: 0,
        };
        session.open(now, out);
        session
    }

    /// Takes one fact.
    pub fn handle(&mut self, event: Event, now: Instant, inbox: &mut Inbox, out: &mut Outbox) {
        debug_assert!(out.step.is_none(), "the last step was taken");
        match event {
            Event::Bytes => {}
            Event::Eof(Leg::Client) => self.client_eof = true,
            Event::Eof(Leg::Backend) => {
                self.feed(inbox, now, out);
                self.backend_gone(AttemptFault::Eof, now, out);
            }
            Event::Lost(Leg::Client, fault) => self.client_lost(fault, now, out),
            Event::Lost(Leg::Backend, fault) => {
                self.backend_gone(AttemptFault::Lost(fault), now, out);
            }
            Event::Answer(ticket, answer) => {
                if self.outstanding == Some(ticket) {
                    self.take_answer(answer, inbox, now, out);
                }
            }
            Event::Timeout => self.time_passed(now, out),
            Event::Drain if self.draining => {
                let refusal = Refusal::ShuttingDown;
                self.send_away(refusal, By::Operator, Reason::Drain, now, out);
            }
            Event::Drain => {
                self.draining = true;
                self.end_if_draining(now, out);
            }
            Event::Kicked => {
                self.send_away(Refusal::Kicked, By::Operator, Reason::Kicked, now, out)
            }
        }
        self.feed_both(inbox, now, out);
        self.held_client = inbox.client.len();
        self.held_backend = inbox.backend.len();
        debug_assert!(
            out.backend.is_empty() || !out.hang_up,
            "nothing is said to a leg that is hung up"
        );
    }

    /// When [`Event::Timeout`] is due, and which timer that is.
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        match self.phase {
            Phase::Over => None,
            Phase::ProxyTls
            | Phase::ProxyHeader
            | Phase::Admit(_)
            | Phase::ClientTls(_)
            | Phase::Greeted
            | Phase::Dialogue
            | Phase::Lookup(_)
            | Phase::Held(..)
            | Phase::Deferred(_)
            | Phase::Connect(_)
            | Phase::Pause(_)
            | Phase::BackendTls(_)
            | Phase::Backend(..)
            | Phase::Challenged(..)
            | Phase::Explained(_) => self.clock.next(),
        }
    }

    /// Octets worth reading now from a leg; 0: leave them in the kernel.
    pub fn room(&self, leg: Leg) -> usize {
        match leg {
            Leg::Client if matches!(self.phase, Phase::ProxyHeader) => {
                HEADER_MAX.saturating_sub(self.held_client)
            }
            Leg::Client => {
                let allowance = self.frontend.as_ref().map_or(EARLY_MAX, Frontend::allowance);
                allowance.saturating_sub(self.held_client)
            }
            Leg::Backend => BACKEND_LINE_MAX.saturating_sub(self.held_backend),
        }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        match &self.phase {
            Phase::ProxyTls => State::ProxyTls,
            Phase::ProxyHeader => State::ProxyHeader,
            Phase::Admit(_) => State::Admit,
            Phase::ClientTls(_) => State::ClientTls,
            Phase::Greeted | Phase::Dialogue | Phase::Explained(_) => State::Preauth,
            Phase::Lookup(_) => State::Lookup,
            Phase::Held(..) | Phase::Deferred(_) => State::Hold,
            Phase::Connect(_) | Phase::Pause(_) => State::Connect,
            Phase::BackendTls(_) => State::BackendTls,
            Phase::Backend(_, backend) | Phase::Challenged(_, backend) => backend.state(),
            Phase::Over => State::Relay,
        }
    }

    /// An outcome on one leg may let the other go on (a refusal, the client's next command), and
    /// that one the first again: on it goes until nothing changes, for no event comes for bytes
    /// that lie here already.
    fn feed_both(&mut self, inbox: &mut Inbox, now: Instant, out: &mut Outbox) {
        let standing = |phase: &Phase, inbox: &Inbox| {
            (mem::discriminant(phase), inbox.client.len(), inbox.backend.len())
        };
        loop {
            let before = standing(&self.phase, inbox);
            self.feed(inbox, now, out);
            if standing(&self.phase, inbox) == before {
                return;
            }
        }
    }

    /// Lets whoever's turn it is eat what is there.
    fn feed(&mut self, inbox: &mut Inbox, now: Instant, out: &mut Outbox) {
        if self.outstanding.is_some() || out.step.is_some() {
            return;
        }
        match &self.phase {
            Phase::Dialogue | Phase::Challenged(..) | Phase::Explained(_) => {
                self.feed_client(inbox, now, out);
            }
            Phase::Backend(..) => self.feed_backend(inbox, now, out),
            Phase::ProxyHeader => self.feed_header(inbox, now, out),
            Phase::Greeted => self.feed_greeted(inbox, now, out),
            Phase::ProxyTls
            | Phase::Admit(_)
            | Phase::ClientTls(_)
            | Phase::Lookup(_)
            | Phase::Held(..)
            | Phase::Deferred(_)
            | Phase::Connect(_)
            | Phase::Pause(_)
            | Phase::BackendTls(_)
            | Phase::Over => {}
        }
    }

    fn feed_client(&mut self, inbox: &mut Inbox, now: Instant, out: &mut Outbox) {
        let mut eaten = 0;
        while matches!(self.phase, Phase::Dialogue | Phase::Challenged(..) | Phase::Explained(_))
            && let Some(frontend) = &mut self.frontend
        {
            if out.client.len() >= OUTBOX_FULL {
                out.again = true;
                break;
            }
            let advance = frontend.advance(&inbox.client[eaten..], &mut out.client);
            eaten += advance.eaten;
            match advance.ask {
                FrontendAsk::More => {
                    if self.client_eof {
                        self.end(By::Client, Reason::Eof, now, out);
                    }
                    break;
                }
                FrontendAsk::Nothing => {}
                FrontendAsk::StartTls => {
                    self.begin_client_tls(Opening::Upgrade, now, out);
                    break;
                }
                FrontendAsk::Introduced(told) => self.introduce(told, out),
                FrontendAsk::Login(login) => self.look_up(login, now, out),
                FrontendAsk::Respond(_) if matches!(self.phase, Phase::Explained(_)) => {
                    self.acknowledged(now, out);
                }
                FrontendAsk::Respond(response) => self.respond(&response, now, out),
                FrontendAsk::Cancel if matches!(self.phase, Phase::Explained(_)) => {
                    self.unacknowledged(now, out);
                }
                FrontendAsk::Cancel => self.cancelled(now, out),
                FrontendAsk::Close(by, reason) => self.end(by, reason, now, out),
            }
        }
        forget_front(&mut inbox.client, eaten);
    }

    fn take_answer(&mut self, answer: Answer, inbox: &mut Inbox, now: Instant, out: &mut Outbox) {
        if let Answer::Heading(host) = answer {
            return self.heading(host);
        }
        self.outstanding = None;
        self.answer(answer, inbox, now, out);
    }

    fn answer(&mut self, answer: Answer, inbox: &mut Inbox, now: Instant, out: &mut Outbox) {
        match (self.take_phase(), answer) {
            (Phase::ProxyTls, Answer::TlsUp(_)) => self.await_header(now),
            (phase @ Phase::ProxyTls, Answer::TlsFailed(fault)) => {
                self.phase = phase;
                self.client_tls_failed(fault, now, out);
            }
            (Phase::Admit(prelude), Answer::Admitted(Ok(()))) => {
                self.admitted(prelude, now, out);
            }
            (phase @ Phase::Admit(_), Answer::Admitted(Err(refusal))) => {
                self.phase = phase;
                self.turn_away(refusal, now, out);
            }
            (Phase::ClientTls(opening), Answer::TlsUp(facts)) => {
                self.client_tls_up(opening, facts, now, out);
            }
            (phase @ Phase::ClientTls(_), Answer::TlsFailed(fault)) => {
                self.phase = phase;
                self.client_tls_failed(fault, now, out);
            }
            (Phase::Lookup(inquiry), Answer::Routed(routing)) => {
                self.routed(inquiry, routing, now, out);
            }
            (Phase::Connect(errand), Answer::Connected(facts)) => {
                self.connected(errand, facts, inbox, now, out);
            }
            (Phase::Connect(errand), Answer::ConnectFailed(fault)) => {
                self.connect_failed(errand, fault, now, out);
            }
            (Phase::BackendTls(errand), Answer::TlsUp(_)) => {
                self.backend_tls_up(errand, inbox, now, out);
            }
            (Phase::BackendTls(errand), Answer::TlsFailed(fault)) => {
                self.backend_tls_failed(errand, fault, now, out);
            }
            (Phase::Backend(mut attempt, mut backend), Answer::TlsUp(_)) => {
                backend.tls_up(&mut out.backend);
                attempt.dial.is_final = true;
                attempt.dial.knows_client |= !out.backend.is_empty();
                self.phase = Phase::Backend(attempt, backend);
            }
            (phase @ Phase::Backend(..), Answer::TlsFailed(fault)) => {
                self.phase = phase;
                self.fail_backend(AttemptFault::Tls(fault), now, out);
            }
            (phase, answer) => {
                debug_assert!(false, "{answer:?} answers no step of this phase");
                self.phase = phase;
            }
        }
    }

    fn client_lost(&mut self, fault: LegFault, now: Instant, out: &mut Outbox) {
        self.end(By::Client, Reason::Lost(fault), now, out);
    }

    /// The backend leg ended by itself. Where none is in use the news is stale.
    fn backend_gone(&mut self, fault: AttemptFault, now: Instant, out: &mut Outbox) {
        if out.step.is_none() {
            self.fail_backend(fault, now, out);
        }
    }

    fn time_passed(&mut self, now: Instant, out: &mut Outbox) {
        let Some((due, timer)) = self.poll_timeout() else { return };
        if due > now {
            return;
        }
        match timer.expiry() {
            Expiry::Goodbye(None) if self.may_go_without_header() => self.greet_without(now, out),
            Expiry::Goodbye(None) => self.end(By::Proxy, Reason::Timeout(timer), now, out),
            Expiry::Goodbye(Some(refusal)) => {
                self.send_away(refusal, By::Proxy, Reason::Timeout(timer), now, out);
            }
            Expiry::Refuse(refusal) => {
                if let Phase::Lookup(inquiry) = &self.phase {
                    let login = Arc::clone(&inquiry.login);
                    self.outstanding = None;
                    self.refuse(&login, refusal, None, now, out);
                }
            }
            Expiry::Release => self.release(now, out),
            Expiry::FailAttempt => {
                self.outstanding = None;
                self.fail_backend(AttemptFault::TimedOut, now, out);
            }
            Expiry::Repeat => self.repeat(now, out),
            Expiry::SignOfLife => {
                self.clock.worked(now);
                if let Some(frontend) = &self.frontend {
                    frontend.working(&mut out.client);
                }
            }
        }
    }

    /// A login in flight may finish; where the client could only begin something, it ends.
    fn end_if_draining(&mut self, now: Instant, out: &mut Outbox) {
        if !self.draining {
            return;
        }
        match &self.phase {
            Phase::Greeted
            | Phase::Dialogue
            | Phase::Held(..)
            | Phase::Connect(Errand::Bridge(_))
            | Phase::Pause(Errand::Bridge(_))
            | Phase::BackendTls(Errand::Bridge(_)) => {
                self.send_away(Refusal::ShuttingDown, By::Operator, Reason::Drain, now, out);
            }
            Phase::ProxyTls | Phase::ProxyHeader | Phase::Admit(_) => {
                self.end(By::Operator, Reason::Drain, now, out);
            }
            Phase::ClientTls(_)
            | Phase::Lookup(_)
            | Phase::Deferred(_)
            | Phase::Connect(Errand::Login(_))
            | Phase::Pause(Errand::Login(_))
            | Phase::BackendTls(Errand::Login(_))
            | Phase::Backend(..)
            | Phase::Challenged(..)
            | Phase::Explained(_)
            | Phase::Over => {}
        }
    }

    /// Says goodbye, where the client can hear it, and ends.
    fn send_away(
        &mut self,
        refusal: Refusal,
        by: By,
        reason: Reason,
        now: Instant,
        out: &mut Outbox,
    ) {
        match self.phase {
            Phase::ProxyTls
            | Phase::ProxyHeader
            | Phase::Admit(_)
            | Phase::ClientTls(_)
            | Phase::Over => {}
            Phase::Greeted
            | Phase::Dialogue
            | Phase::Lookup(_)
            | Phase::Held(..)
            | Phase::Deferred(_)
            | Phase::Connect(_)
            | Phase::Pause(_)
            | Phase::BackendTls(_)
            | Phase::Backend(..)
            | Phase::Challenged(..)
            | Phase::Explained(_) => self.goodbye(refusal, out),
        }
        self.end(by, reason, now, out);
    }

    /// The last words, in what the client speaks.
    fn goodbye(&self, refusal: Refusal, out: &mut Outbox) {
        match &self.frontend {
            Some(frontend) => frontend.goodbye(refusal, &mut out.client),
            None => smtp::goodbye(&self.listener.hostname, refusal, &mut out.client),
        }
    }

    fn end(&mut self, by: By, reason: Reason, now: Instant, out: &mut Outbox) {
        if !matches!(self.phase, Phase::Over) {
            self.note_untold(out);
            self.close(by, reason, self.state(), now, out);
        }
    }

    fn close(&mut self, by: By, reason: Reason, state: State, now: Instant, out: &mut Outbox) {
        let close = Close { by, reason, state, after: now.since(self.started) };
        self.forsake(out);
        out.backend.zeroize();
        self.phase = Phase::Over;
        self.step(Step::Close(close), out);
    }

    /// Drops the backend leg; what was to be said to it is void.
    fn hang_up(&mut self, out: &mut Outbox) {
        // It may be a password.
        out.backend.zeroize();
        out.hang_up = true;
        self.outstanding = None;
    }

    fn step(&mut self, step: Step, out: &mut Outbox) {
        self.last_ticket = self.last_ticket.wrapping_add(1);
        let ticket = Ticket(self.last_ticket);
        self.outstanding = Some(ticket);
        out.step = Some((ticket, step));
    }

    fn take_phase(&mut self) -> Phase {
        mem::replace(&mut self.phase, Phase::Over)
    }
}

/// Takes octets off the front and leaves no copy of anything behind the end, where what moves to
/// the front has stood: passwords come in here.
fn forget_front(bytes: &mut Vec<u8>, octets: usize) {
    bytes.copy_within(octets.., 0);
    let left = bytes.len() - octets;
    bytes[left..].zeroize();
    bytes.truncate(left);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_eaten_goes_and_what_is_left_moves_up() {
        let mut bytes = b"a LOGIN u p\r\nb NOOP".to_vec();
        forget_front(&mut bytes, 13);
        assert_eq!(bytes, b"b NOOP");
        forget_front(&mut bytes, 0);
        assert_eq!(bytes, b"b NOOP");
        forget_front(&mut bytes, 6);
        assert!(bytes.is_empty());
    }
}
