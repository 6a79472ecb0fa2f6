//! The data plane of a session with a guard: what the core wants to see goes through it.
//!
//! Octets that need no look take the plain path of `relay.rs`, in as large pieces as the guard
//! allows; the others are read, screened and written from where they were read to. What has to
//! wait for the other side stays here, at most one read, and nothing more is read behind it.
//! Not here: what is forbidden, and how that is recognised; the core knows.

use gatepost_core::guard::Passage;
use gatepost_core::{Instant, Leg as Side, LegFault, Relay};

use super::{COPY_OCTETS, Carried, Pump, SPLICE_OCTETS, lost, splice, unguarded};
use crate::leg::{Read, Scratch};
use crate::worker::Resources;
use crate::worker::connection::Wire;

/// Octets without a look from which on splicing them is worth its pipe.
const SPLICE_OCTETS_MIN: u64 = 16 * 1024;

/// Carries what was received before the hand-off.
pub(super) fn first(
    pump: &mut Pump,
    from: Side,
    octets: &[u8],
    sink: &mut Wire,
    resources: &mut Resources,
) -> Result<(), LegFault> {
    let eaten = screen(&mut pump.relay, from, octets, sink, &mut resources.scratch, resources.now)?;
    pump.waiting.extend_from_slice(&octets[eaten..]);
    Ok(())
}

/// Carries what waited for the other side, if it may go now.
pub(super) fn again(pump: &mut Pump, from: Side, sink: &mut Wire, to: &mut Resources) -> Carried {
    let waiting = std::mem::take(&mut pump.waiting);
    match screen(&mut pump.relay, from, &waiting, sink, &mut to.scratch, to.now) {
        Err(fault) => pump.refused(from.other(), fault, to.now),
        Ok(0) => {
            pump.waiting = waiting;
            Carried::Nothing
        }
        Ok(eaten) => {
            waiting[eaten..].clone_into(&mut pump.waiting);
            Carried::Some
        }
    }
}

/// One read, by the way that the guard allows.
pub(super) fn read(
    pump: &mut Pump,
    from: Side,
    (source, sink): (&mut Wire, &mut Wire),
    resources: &mut Resources,
    budget: &mut usize,
) -> Carried {
    let is_plain = source.leg.is_plain() && sink.leg.is_plain();
    match pump.relay.passage(from) {
        Passage::Shut => Carried::Nothing,
        Passage::Open(u64::MAX) => unguarded(pump, from, (source, sink), resources, budget),
        Passage::Open(octets) if is_plain && octets >= SPLICE_OCTETS_MIN => {
            let most = SPLICE_OCTETS.min(*budget);
            let limit = usize::try_from(octets).unwrap_or(most).min(most);
            match resources.pipes.take() {
                Ok(pipe) => splice(pump, from, pipe, (source, sink), resources, (limit, budget)),
                Err(_) => look(pump, from, (source, sink), resources, budget),
            }
        }
        Passage::Open(_) | Passage::Screened => look(pump, from, (source, sink), resources, budget),
    }
}

/// Reads, screens and writes.
fn look(
    pump: &mut Pump,
    from: Side,
    (source, sink): (&mut Wire, &mut Wire),
    resources: &mut Resources,
    budget: &mut usize,
) -> Carried {
    let Resources { scratch, now, .. } = resources;
    let limit = COPY_OCTETS.min(*budget);
    match source.leg.read(scratch, limit) {
        Read::Some { plain, wire } => {
            *budget = budget.saturating_sub(plain.max(wire));
            let received = scratch.lend_received();
            let screened = screen(&mut pump.relay, from, received.filled(), sink, scratch, *now);
            if let Ok(eaten) = screened {
                // Of the backend's nothing is left.
                pump.waiting.extend_from_slice(&received.filled()[eaten..]);
            }
            scratch.take_back(received);
            match screened {
                Ok(_) => Carried::Some,
                Err(fault) => pump.refused(from.other(), fault, *now),
            }
        }
        Read::WouldBlock => Carried::Nothing,
        Read::Eof { clean } => {
            source.ended(clean);
            Carried::Some
        }
        Read::Lost(fault) => {
            let fault = source.judge::<()>(Err(fault)).err().unwrap_or(LegFault::Io);
            lost(pump, from, fault, resources)
        }
    }
}

/// Writes what passes; how much of the octets is done with.
fn screen(
    relay: &mut Relay,
    from: Side,
    octets: &[u8],
    sink: &mut Wire,
    scratch: &mut Scratch,
    now: Instant,
) -> Result<usize, LegFault> {
    let mut eaten = 0;
    loop {
        let screened = relay.screen(from, &octets[eaten..], now);
        if screened.is_over() {
            return Ok(eaten);
        }
        eaten += screened.eaten;
        sink.write(screened.pass, scratch)?;
    }
}
