//! The data plane of a session with a guard: what the core wants to see goes through it.
//!
//! What passes is written from where it was read to. What has to wait for the other side stays
//! here, at most one read, and nothing more is read behind it.
//! Not here: what is forbidden, and how that is recognised; the core knows.

use std::task::Context;

use gatepost_core::{Instant, Leg as Side, Relay};

use super::{Carried, Pump};
use crate::leg::Leg;
use crate::session::Record;

/// Queues what was received before the hand-off, as far as it passes; the rest waits.
pub(super) fn first(
    relay: &mut Relay,
    from: Side,
    mut octets: Vec<u8>,
    to: &mut Leg,
    waiting: &mut Vec<u8>,
    now: Instant,
) {
    let mut eaten = 0;
    loop {
        let screened = relay.screen(from, &octets[eaten..], now);
        if screened.is_over() {
            break;
        }
        eaten += screened.eaten;
        to.queue(screened.pass);
    }
    octets.drain(..eaten);
    waiting.append(&mut octets);
}

impl Pump {
    /// Carries what waited for the backend, if it may go now.
    pub(super) fn carry_waiting(&mut self, context: &mut Context<'_>, record: &Record) -> Carried {
        let waiting = std::mem::take(&mut self.waiting);
        match self.carry_screened(context, Side::Client, &waiting, record) {
            Carried::Some(0) => Carried::Nothing,
            carried @ (Carried::Some(_) | Carried::Nothing | Carried::End(_)) => carried,
        }
    }

    /// Writes what passes; the rest waits.
    pub(super) fn carry_screened(
        &mut self,
        context: &mut Context<'_>,
        from: Side,
        octets: &[u8],
        record: &Record,
    ) -> Carried {
        let sink = match from {
            Side::Client => &mut self.backend,
            Side::Backend => &mut self.client,
        };
        let mut eaten = 0;
        loop {
            let screened = self.relay.screen(from, &octets[eaten..], record.now());
            if screened.is_over() {
                self.waiting.extend_from_slice(&octets[eaten..]);
                return Carried::Some(eaten);
            }
            eaten += screened.eaten;
            if let Err(fault) = sink.write(context, screened.pass) {
                return self.lost(from.other(), fault, record);
            }
        }
    }
}
