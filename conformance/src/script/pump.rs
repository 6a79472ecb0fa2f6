//! The reference pump: bytes after the hand-off, moved by the verdicts of a [`Relay`].
//!
//! It holds nothing back but what a guard wants to wait, so octets leave in the order in which they
//! came, and lost or reordered ones show in a script. What a guard need not see it does not see.
//! Ends of stream are told once; nothing may come behind one.

use gatepost_core::guard::Passage;
use gatepost_core::relay::Verdict;
use gatepost_core::{Close, Instant, Leg, LegFault, Relay};

use super::timeline::{Deed, Emission};

/// A session in relay.
pub(crate) struct Pump {
    relay: Relay,
    /// What came from the client and waits for the backend.
    waiting: Vec<u8>,
    /// The client's end of stream waits behind it.
    client_ends: bool,
}

impl Pump {
    pub(crate) const fn new(relay: Relay) -> Self {
        Self { relay, waiting: Vec::new(), client_ends: false }
    }

    /// Octets came from that leg.
    pub(crate) fn carry(
        &mut self,
        from: Leg,
        octets: Vec<u8>,
        now: Instant,
        emissions: &mut Vec<Emission>,
    ) {
        if from == Leg::Backend {
            let rest = self.screen(from, &octets, now, emissions);
            assert_eq!(rest, 0, "nothing of a backend waits");
        } else {
            self.waiting.extend(octets);
        }
        self.resume(now, emissions);
        if self.client_ends && self.waiting.is_empty() {
            let end = self.end(Leg::Client, now, emissions);
            assert!(end.is_none(), "the backend has not ended");
        }
    }

    /// That leg has sent its last byte; the end, if it was the second one.
    pub(crate) fn ended(
        &mut self,
        leg: Leg,
        now: Instant,
        emissions: &mut Vec<Emission>,
    ) -> Option<Close> {
        if leg == Leg::Client && !self.waiting.is_empty() {
            self.client_ends = true;
            return None;
        }
        let end = self.end(leg, now, emissions);
        self.resume(now, emissions);
        if self.client_ends && end.is_none() {
            return self.end(Leg::Client, now, emissions);
        }
        end
    }

    fn end(&mut self, leg: Leg, now: Instant, emissions: &mut Vec<Emission>) -> Option<Close> {
        self.client_ends &= leg != Leg::Client;
        let last = self.relay.last_words(leg);
        if !last.is_empty() {
            emissions.push(Emission::Sent(leg.other(), last.to_vec()));
        }
        match self.relay.ended(leg, now) {
            Verdict::HalfClose(other) => {
                emissions.push(Emission::Did(Deed::Eof(other)));
                None
            }
            Verdict::Close(close) => Some(close),
        }
    }

    /// Goes on with what waits, as far as that may pass.
    fn resume(&mut self, now: Instant, emissions: &mut Vec<Emission>) {
        let mut waiting = std::mem::take(&mut self.waiting);
        let rest = self.screen(Leg::Client, &waiting, now, emissions);
        self.waiting = waiting.split_off(waiting.len() - rest);
    }

    /// Sends what may pass; how many octets are left.
    fn screen(
        &mut self,
        from: Leg,
        octets: &[u8],
        now: Instant,
        emissions: &mut Vec<Emission>,
    ) -> usize {
        let mut rest = octets;
        loop {
            if let Passage::Open(limit) = self.relay.passage(from)
                && !rest.is_empty()
            {
                let count = rest.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
                let (now_open, behind) = rest.split_at(count);
                self.relay.carried(from, count, now);
                emissions.push(Emission::Sent(from.other(), now_open.to_vec()));
                rest = behind;
                continue;
            }
            let screened = self.relay.screen(from, rest, now);
            if screened.is_over() {
                return rest.len();
            }
            rest = &rest[screened.eaten..];
            if !screened.pass.is_empty() {
                emissions.push(Emission::Sent(from.other(), screened.pass.to_vec()));
            }
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
