//! The end of a connection: flush, close_notify, FIN, then read and forget.
//!
//! Not here: why it ends; the session or the relay said so.
//! Invariants: what was written reaches a peer that takes it, because nothing it still sends
//! provokes a reset; and a peer that neither takes nor ends costs no more than the two spans below.
//! Read next: `../leg/mod.rs` for what a half-close is under TLS.

use std::time::Duration;

use gatepost_core::{Close, Instant, Leg as Side};

use crate::leg::Discard;
use crate::log_line;
use crate::worker::Resources;
use crate::worker::connection::{Body, Progress, Stage, Wire};

/// How long a peer may take to accept what was written to it.
const FLUSH: Duration = Duration::from_secs(30);
/// How long a peer may take to end its side once it has everything.
const LINGER: Duration = Duration::from_secs(2);

/// A connection that says goodbye.
pub(crate) struct Closing {
    pub(crate) deadline: Instant,
    flushed: bool,
}

/// Logs the end and begins the goodbye on every wire that is still good.
pub(crate) fn begin(close: &Close, body: &mut Body, resources: &mut Resources) -> Stage {
    body.record.cut_short = body.wires.cut_short();
    log_line::ended(close, &body.record, resources.shared.format());
    body.wires.racing = Vec::new();
    for side in [Side::Client, Side::Backend] {
        let slot = body.wires.slot(side);
        let kept = slot.take().filter(|wire| !wire.broken && !wire.connecting);
        *slot = kept.and_then(|mut wire| wire.end(&mut resources.scratch).is_ok().then_some(wire));
    }
    Stage::Closing(Closing { deadline: resources.now + FLUSH, flushed: false })
}

/// Goes on with the goodbye.
pub(crate) fn turn(closing: &mut Closing, body: &mut Body, resources: &mut Resources) -> Progress {
    let (mut flushed, mut rest) = (true, false);
    for side in [Side::Client, Side::Backend] {
        let slot = body.wires.slot(side);
        let Some(wire) = slot else { continue };
        match go_on(wire, resources) {
            Discard::Done => *slot = None,
            Discard::Again => rest = true,
            Discard::WouldBlock => flushed &= wire.leg.fin_sent(),
        }
    }
    if body.wires.client.is_none() && body.wires.backend.is_none() {
        return Progress::Gone;
    }
    if flushed && !closing.flushed {
        closing.flushed = true;
        closing.deadline = resources.now + LINGER;
    }
    if rest { Progress::Again } else { Progress::Idle }
}

fn go_on(wire: &mut Wire, resources: &mut Resources) -> Discard {
    if wire.flush().is_err() {
        return Discard::Done;
    }
    if !wire.leg.fin_sent() {
        return Discard::WouldBlock;
    }
    wire.leg.discard(&mut resources.scratch)
}
