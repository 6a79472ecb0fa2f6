//! What a balancer puts in front of its client: TLS of its own, and a PROXY header.
//!
//! Only who is named is listened to, and nothing is said before it is clear whom the session is
//! with. A header decides by its first octets; where it may be lacking, a balancer that says
//! nothing gets the greeting after a while, since a client that waits for it would wait for ever.
//! One that comes later cannot be believed any more, nor be a command, and ends the session.
//!
//! Not here: what a header looks like, see `proxy_protocol`. Where the client is carried from its
//! first byte, what comes later than the wait belongs to the backend. Read next: `opening.rs`.

use core::time::Duration;

use super::{Phase, Prelude, Session, forget_front};
use crate::close::{By, HeaderFault, Reason};
use crate::contract::{Inbox, Leg, Outbox, Peer, Step, TlsRole};
use crate::origin::Origin;
use crate::proxy_protocol::{Header, Look, look};
use crate::time::{Instant, Timer};

/// How long a balancer may take for its header, a handshake before it included.
const REQUIRED_WITHIN: Duration = Duration::from_secs(3);
/// The same where it need not send one. The specification of the protocol suggests three seconds;
/// a client without a header waits so long for its greeting.
const OPTIONAL_WITHIN: Duration = Duration::from_secs(1);

impl Session {
    /// The connection was accepted.
    pub(super) fn open(&mut self, now: Instant, out: &mut Outbox) {
        let peer = self.origin.peer.client.ip();
        match &self.listener.balancers {
            None => self.admit(now, out),
            Some(balancers) if !balancers.trust(peer) => {
                if balancers.required {
                    self.phase = Phase::ProxyHeader;
                    self.refuse_header(HeaderFault::Untrusted, now, out);
                } else {
                    self.admit(now, out);
                }
            }
            Some(balancers) if balancers.tls.is_some() => {
                self.clock.arm(Timer::ProxyHeader, now, REQUIRED_WITHIN);
                self.phase = Phase::ProxyTls;
                self.step(Step::StartTls(Leg::Client, TlsRole::Balancer), out);
            }
            Some(balancers) => {
                let wait = if balancers.required { REQUIRED_WITHIN } else { OPTIONAL_WITHIN };
                self.clock.arm(Timer::ProxyHeader, now, wait);
                self.phase = Phase::ProxyHeader;
            }
        }
    }

    /// TLS with the balancer is up. Where a header must come, its time runs from the beginning.
    pub(super) fn await_header(&mut self, now: Instant) {
        if self.listener.balancers.as_ref().is_some_and(|balancers| !balancers.required) {
            self.clock.arm(Timer::ProxyHeader, now, OPTIONAL_WITHIN);
        }
        self.phase = Phase::ProxyHeader;
    }

    pub(super) fn feed_header(&mut self, inbox: &mut Inbox, now: Instant, out: &mut Outbox) {
        let required = self.listener.balancers.as_ref().is_some_and(|it| it.required);
        match look(&inbox.client) {
            Look::Incomplete if self.client_eof => self.end(By::Client, Reason::Eof, now, out),
            Look::Incomplete => {}
            Look::Found { octets, header } => {
                forget_front(&mut inbox.client, octets);
                self.clock.disarm(now);
                self.believe(*header);
                self.admit(now, out);
            }
            Look::Absent if required => self.refuse_header(HeaderFault::Missing, now, out),
            Look::Absent => {
                self.clock.disarm(now);
                self.admit(now, out);
            }
            Look::Broken(fault) => self.refuse_header(fault, now, out),
        }
    }

    fn believe(&mut self, header: Header) {
        let peer = self.origin.peer;
        let named = header.addresses.map(|(client, local)| Peer { client, local });
        let Peer { client, local } = named.unwrap_or(peer);
        self.origin = Origin {
            peer,
            client,
            local,
            header: named,
            ttl: header.ttl,
            tls: header.tls,
            server_name: header.authority,
            alpn: header.alpn,
            session: header.unique_id,
        };
        if self.origin.tls.is_some()
            && let Some(frontend) = &mut self.frontend
        {
            frontend.tls_up();
        }
    }

    /// Whether the time for a header is over that need not come, and nothing has begun to.
    pub(super) fn may_go_without_header(&self) -> bool {
        let optional = self.listener.balancers.as_ref().is_some_and(|it| !it.required);
        matches!(self.phase, Phase::ProxyHeader) && optional && self.held_client == 0
    }

    /// Serves the balancer as the client that it seems to be.
    pub(super) fn greet_without(&mut self, now: Instant, out: &mut Outbox) {
        self.clock.disarm(now);
        self.admit_after(Prelude::Lacking, now, out);
    }

    /// Looks whether a header comes after all.
    pub(super) fn feed_greeted(&mut self, inbox: &mut Inbox, now: Instant, out: &mut Outbox) {
        match look(&inbox.client) {
            Look::Incomplete if !self.client_eof => {}
            Look::Incomplete | Look::Absent => self.phase = Phase::Dialogue,
            Look::Found { .. } | Look::Broken(_) => {
                self.refuse_header(HeaderFault::Late, now, out);
            }
        }
    }

    fn refuse_header(&mut self, fault: HeaderFault, now: Instant, out: &mut Outbox) {
        self.end(By::Proxy, Reason::ProxyHeader(fault), now, out);
    }
}
