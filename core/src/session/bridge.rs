//! A client that is carried from its first byte: no greeting of ours, no login, no lookup.
//!
//! As soon as the client could be spoken to, its backend is connected to; what it sends meanwhile
//! waits in the inbox, up to [`crate::line::EARLY_MAX`], and passes at the hand-off. Where to, the
//! listener knows ([`crate::config::Listener::bridge`]): the configuration has resolved it, so that
//! nobody is asked where an account lives that has no name, and no answer can be lacking.
//! Connecting and trying again are `attempt.rs`'s.
//!
//! Invariants: no byte of either side is eaten; nothing is said to the client but the line that
//! sends it away, and that only while its backend has said nothing.

use super::Session;
use super::attempt::{Dial, Errand};
use crate::close::{AttemptFault, By, Reason, State};
use crate::config::{Endpoint, TlsMode};
use crate::contract::Outbox;
use crate::health::Outcome;
use crate::time::Instant;

impl Session {
    /// Begins to connect to the listener's destination.
    pub(super) fn bridge(&mut self, now: Instant, out: &mut Outbox) {
        let Some(destination) = self.listener.bridge.clone() else {
            debug_assert!(false, "the configuration gives a destination to such a listener");
            return self.no_bridge(AttemptFault::NoEndpoint, State::Connect, now, out);
        };
        self.connect(Errand::Bridge(Dial::new(destination)), now, out);
        self.end_if_draining(now, out);
    }

    /// The backend leg is there, with TLS if it is to have any.
    pub(super) fn carry(
        &mut self,
        mut dial: Dial,
        endpoint: &Endpoint,
        now: Instant,
        out: &mut Outbox,
    ) {
        // Nobody here could ask for STARTTLS, and without it the leg would not be encrypted.
        if endpoint.tls == TlsMode::StartTls {
            let fault = AttemptFault::StartTlsMissing;
            return self.fail_attempt(Errand::Bridge(dial), fault, State::Connect, now, out);
        }
        self.judge(&mut dial, Outcome::Works, out);
        self.splice(None, now, out);
    }

    /// No attempt led to a backend.
    pub(super) fn no_bridge(
        &mut self,
        fault: AttemptFault,
        state: State,
        now: Instant,
        out: &mut Outbox,
    ) {
        self.goodbye(fault.refusal(), out);
        self.close(By::Proxy, Reason::Backend(fault), state, now, out);
    }
}
