//! From an accepted connection to the client's dialogue: admission, and TLS with the client.
//!
//! Layers from below: TCP, then what a balancer puts there (`balancer.rs`), then implicit TLS or
//! the greeting and STARTTLS. Whoever is not admitted hears so only where nothing is encrypted yet
//! that should be. Read next: `mod.rs`, for the dialogue itself.

use super::{Opening, Phase, Prelude, Session};
use crate::close::{By, Reason, Refusal, TlsFault};
use crate::config::TlsMode;
use crate::contract::{ClientFacts, Leg, Outbox, Step, TlsFacts, TlsRole};
use crate::time::{Instant, Timer};

impl Session {
    /// It is known who the client is: whether it may be served is for the driver to say.
    pub(super) fn admit(&mut self, now: Instant, out: &mut Outbox) {
        self.admit_after(Prelude::Over, now, out);
    }

    /// The same, with what may still stand before the client's octets.
    pub(super) fn admit_after(&mut self, prelude: Prelude, now: Instant, out: &mut Outbox) {
        self.phase = Phase::Admit(prelude);
        let (client, local) = (self.origin.client, self.origin.local);
        let allow = &self.listener.allow;
        if allow.is_empty() || allow.iter().any(|range| range.contains(client.ip())) {
            self.step(Step::Admit(ClientFacts { client, local }), out);
        } else {
            self.end(By::Proxy, Reason::NotAllowed, now, out);
        }
    }

    pub(super) fn admitted(&mut self, prelude: Prelude, now: Instant, out: &mut Outbox) {
        if self.listener.tls == TlsMode::Implicit {
            self.begin_client_tls(Opening::Implicit, now, out);
        } else {
            self.serve(prelude, now, out);
        }
    }

    /// There is no room. Without TLS yet, where TLS is due, nothing can be said.
    pub(super) fn turn_away(&mut self, refusal: Refusal, now: Instant, out: &mut Outbox) {
        if self.listener.tls != TlsMode::Implicit {
            self.goodbye(refusal, out);
        }
        let (by, reason) = match refusal {
            Refusal::ShuttingDown => (By::Operator, Reason::Drain),
            Refusal::Kicked => (By::Operator, Reason::Kicked),
            Refusal::Unavailable
            | Refusal::Configuration
            | Refusal::Credentials
            | Refusal::TlsNeeded
            | Refusal::Mechanism
            | Refusal::TooManyConnections
            | Refusal::TooManyAttempts
            | Refusal::BadCharacters
            | Refusal::TimedOut => (By::Proxy, Reason::TooManyConnections),
        };
        self.end(by, reason, now, out);
    }

    /// The client can be spoken to: its dialogue begins, or the way to its backend.
    fn serve(&mut self, prelude: Prelude, now: Instant, out: &mut Outbox) {
        let Some(frontend) = &self.frontend else { return self.bridge(now, out) };
        frontend.greet(&mut out.client);
        self.clock.client_turn(now);
        self.phase = match prelude {
            Prelude::Over => Phase::Dialogue,
            Prelude::Lacking => Phase::Greeted,
        };
        self.end_if_draining(now, out);
    }

    pub(super) fn begin_client_tls(&mut self, opening: Opening, now: Instant, out: &mut Outbox) {
        self.clock.proxy_turn(now);
        self.clock.arm(Timer::TlsClient, now, self.listener.preauth_timeout);
        self.phase = Phase::ClientTls(opening);
        self.step(Step::StartTls(Leg::Client, TlsRole::Server), out);
    }

    pub(super) fn client_tls_up(
        &mut self,
        opening: Opening,
        facts: TlsFacts,
        now: Instant,
        out: &mut Outbox,
    ) {
        self.clock.disarm(now);
        self.client_tls = Some(facts);
        self.forget_introduction(out);
        if let Some(frontend) = &mut self.frontend {
            frontend.tls_up();
        }
        match opening {
            // A header that comes late is no TLS, and has failed in the handshake.
            Opening::Implicit => self.serve(Prelude::Over, now, out),
            Opening::Upgrade => {
                if let Some(frontend) = &self.frontend {
                    frontend.greet_again(&mut out.client);
                }
                self.clock.client_turn(now);
                self.phase = Phase::Dialogue;
                self.end_if_draining(now, out);
            }
        }
    }

    pub(super) fn client_tls_failed(&mut self, fault: TlsFault, now: Instant, out: &mut Outbox) {
        self.end(By::Client, Reason::Tls(fault), now, out);
    }
}
