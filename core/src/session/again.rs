//! What follows when an attempt fails: another one, or the end of the login.
//!
//! Another one goes to another host where there is one that has not failed this login, at once; to
//! the same host only after a pause, which differs from session to session so that those whom one
//! failure hit do not come back together. Whatever an attempt came to, its host is judged once.
//!
//! Invariants: nothing is repeated whose credentials left and were not explicitly put off, nor a
//! login whose client has answered a challenge. Read next: `crate::health`, for what a fault
//! counts; `crate::close`, for where it may be repeated.

use alloc::sync::Arc;
use core::time::Duration;

use super::attempt::{Attempt, Dial, Errand};
use super::{Phase, Session};
use crate::close::{Again, AttemptFault, ConnectFault, State, TlsFault};
use crate::contract::{Note, Outbox};
use crate::health::{self, Outcome};
use crate::protocol::Backend;
use crate::route::place;
use crate::time::{Instant, Timer};

impl Session {
    pub(super) fn connect_failed(
        &mut self,
        errand: Errand,
        fault: ConnectFault,
        now: Instant,
        out: &mut Outbox,
    ) {
        self.fail_attempt(errand, AttemptFault::Connect(fault), State::Connect, now, out);
    }

    pub(super) fn backend_tls_failed(
        &mut self,
        errand: Errand,
        fault: TlsFault,
        now: Instant,
        out: &mut Outbox,
    ) {
        self.fail_attempt(errand, AttemptFault::Tls(fault), State::BackendTls, now, out);
    }

    /// Something happened to the backend leg, or its time is up.
    pub(super) fn fail_backend(&mut self, fault: AttemptFault, now: Instant, out: &mut Outbox) {
        match self.take_phase() {
            Phase::Connect(errand) => {
                self.fail_attempt(errand, fault, State::Connect, now, out);
            }
            Phase::BackendTls(errand) => {
                self.fail_attempt(errand, fault, State::BackendTls, now, out);
            }
            Phase::Backend(attempt, backend) | Phase::Challenged(attempt, backend) => {
                self.fail_handshake(attempt, &backend, fault, now, out);
            }
            phase @ (Phase::ProxyTls
            | Phase::ProxyHeader
            | Phase::Admit(_)
            | Phase::Pause(_)
            | Phase::ClientTls(_)
            | Phase::Greeted
            | Phase::Dialogue
            | Phase::Lookup(_)
            | Phase::Held(..)
            | Phase::Deferred(_)
            | Phase::Explained(_)
            | Phase::Over) => self.phase = phase,
        }
    }

    pub(super) fn fail_handshake(
        &mut self,
        attempt: Attempt,
        backend: &Backend,
        fault: AttemptFault,
        now: Instant,
        out: &mut Outbox,
    ) {
        let again = match attempt.challenged {
            true => Again::Never,
            false => fault.again(backend.credentials_sent()),
        };
        self.go_on(Errand::Login(attempt), fault, backend.state(), again, now, out);
    }

    /// An attempt failed before the credentials mattered.
    pub(super) fn fail_attempt(
        &mut self,
        errand: Errand,
        fault: AttemptFault,
        state: State,
        now: Instant,
        out: &mut Outbox,
    ) {
        self.go_on(errand, fault, state, fault.again(false), now, out);
    }

    /// Tries once more, if that may help.
    fn go_on(
        &mut self,
        mut errand: Errand,
        fault: AttemptFault,
        state: State,
        again: Again,
        now: Instant,
        out: &mut Outbox,
    ) {
        let elsewhere = errand.dial().has_other_host();
        let may_help = match again {
            Again::Never => false,
            Again::Elsewhere => elsewhere,
            Again::Anywhere => true,
        };
        if !may_help || errand.dial().tried >= self.listener.connect_retries {
            return self.give_up(errand, fault, state, now, out);
        }
        let dial = errand.dial_mut();
        let failed = dial.host.clone();
        self.note_failure(dial, fault, state, out);
        self.hang_up(out);
        dial.avoid.extend(failed);
        dial.tried += 1;
        dial.start_over();
        let pause = if elsewhere { Duration::ZERO } else { self.pause(dial.tried) };
        if pause.is_zero() {
            return self.connect(errand, now, out);
        }
        self.clock.arm(Timer::Retry, now, pause);
        self.phase = Phase::Pause(errand);
    }

    /// From half to one and a half of the listener's delay.
    fn pause(&self, tried: u32) -> Duration {
        let delay = u64::try_from(self.listener.retry_delay.as_millis()).unwrap_or(u64::MAX);
        let draw = place::mix(self.id.0.wrapping_add(u64::from(tried)));
        Duration::from_millis((delay / 2).saturating_add(draw.checked_rem(delay).unwrap_or(0)))
    }

    /// The pause is over.
    pub(super) fn repeat(&mut self, now: Instant, out: &mut Outbox) {
        debug_assert!(matches!(self.phase, Phase::Pause(_)), "only a pause ends");
        if let Phase::Pause(errand) = self.take_phase() {
            self.connect(errand, now, out);
        }
    }

    pub(super) fn give_up(
        &mut self,
        mut errand: Errand,
        fault: AttemptFault,
        state: State,
        now: Instant,
        out: &mut Outbox,
    ) {
        self.note_failure(errand.dial_mut(), fault, state, out);
        self.hang_up(out);
        match errand {
            Errand::Login(attempt) => {
                self.refuse(&attempt.login, fault.refusal(), None, now, out);
            }
            Errand::Bridge(_) => self.no_bridge(fault, state, now, out),
        }
    }

    fn note_failure(&self, dial: &mut Dial, fault: AttemptFault, state: State, out: &mut Outbox) {
        let (destination, host) = (Arc::clone(&dial.destination), dial.host.clone());
        out.notes.push(Note::AttemptFailed { destination, host, fault, state });
        self.judge(dial, health::outcome(fault, dial.knows_client), out);
    }

    /// Says what an attempt said of its host, if it has not been said.
    pub(super) fn judge(&self, dial: &mut Dial, outcome: Outcome, out: &mut Outbox) {
        if let Some(host) = dial.host.take() {
            let (destination, client) = (Arc::clone(&dial.destination), self.origin.client.ip());
            out.notes.push(Note::HostJudged { destination, host, client, outcome });
        }
    }

    /// Whatever is under way with a backend ends with nothing said of its host.
    pub(super) fn forsake(&mut self, out: &mut Outbox) {
        let mut phase = self.take_phase();
        match &mut phase {
            Phase::Connect(errand) | Phase::Pause(errand) | Phase::BackendTls(errand) => {
                self.judge(errand.dial_mut(), Outcome::Unjudged, out);
            }
            Phase::Backend(attempt, _) | Phase::Challenged(attempt, _) => {
                self.judge(&mut attempt.dial, Outcome::Unjudged, out);
            }
            Phase::ProxyTls
            | Phase::ProxyHeader
            | Phase::Admit(_)
            | Phase::ClientTls(_)
            | Phase::Greeted
            | Phase::Dialogue
            | Phase::Lookup(_)
            | Phase::Held(..)
            | Phase::Deferred(_)
            | Phase::Explained(_)
            | Phase::Over => {}
        }
        self.phase = phase;
    }
}
