//! The reference pump: bytes after the hand-off, moved by the verdicts of a [`Relay`].
//!
//! It holds nothing back, so octets leave in the order in which they came, and lost or reordered
//! ones show in a script. Ends of stream are told once; nothing may come behind one.

use gatepost_core::relay::Verdict;
use gatepost_core::{Close, Instant, Leg, LegFault, Relay};

use super::timeline::{Deed, Emission};

/// A session in relay.
pub(crate) struct Pump {
    relay: Relay,
}

impl Pump {
    pub(crate) const fn new(relay: Relay) -> Self {
        Self { relay }
    }

    /// Octets came from that leg.
    pub(crate) fn carry(
        &mut self,
        from: Leg,
        octets: Vec<u8>,
        now: Instant,
        emissions: &mut Vec<Emission>,
    ) {
        if !octets.is_empty() {
            self.relay.carried(from, octets.len(), now);
            emissions.push(Emission::Sent(from.other(), octets));
        }
    }

    /// That leg has sent its last byte; the end, if it was the second one.
    pub(crate) fn ended(
        &mut self,
        leg: Leg,
        now: Instant,
        emissions: &mut Vec<Emission>,
    ) -> Option<Close> {
        match self.relay.ended(leg, now) {
            Verdict::HalfClose(other) => {
                emissions.push(Emission::Did(Deed::Eof(other)));
                None
            }
            Verdict::Close(close) => Some(close),
        }
    }

    pub(crate) fn lost(&self, leg: Leg, fault: LegFault, now: Instant) -> Close {
        self.relay.lost(leg, fault, now)
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.relay.deadline()
    }

    pub(crate) fn expired(&self, now: Instant) -> Option<Close> {
        self.relay.expired(now)
    }

    pub(crate) fn kicked(&self, now: Instant) -> Close {
        self.relay.kicked(now)
    }

    pub(crate) fn drained(&self, now: Instant) -> Close {
        self.relay.drained(now)
    }
}
