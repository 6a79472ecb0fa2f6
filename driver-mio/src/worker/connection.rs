//! What a worker keeps for one client: its wires, its stage, and what the log will say of it.
//!
//! Not here: what happens in a stage, see `dialogue`, `../relay.rs` and `close`.
//! Invariants: a token names a registration, not a slot, so that an event of a connection that is
//! gone, or of a backend leg that was hung up, finds nobody. A broken wire is not written again,
//! and read only by a relay that carries what came before it broke.
//! Read next: `mod.rs`, which gives a connection its turns.

use std::net::SocketAddr;
use std::sync::Arc;

use gatepost_core::config::{Destination, Host, Listener};
use gatepost_core::sasl::Mechanism;
use gatepost_core::{Instant, Leg as Side, LegFault, Peer, Seed};
use mio::{Registry, Token};

use crate::leg::{Leg, Lost, Scratch};
use crate::relay::Pump;
use crate::server::limits::Admission;
use crate::timer::TimerId;
use crate::worker::close::Closing;
use crate::worker::dialogue::Dialogue;

/// Bits of a token that name the slot; the lowest bit names the side.
const SLOT_BITS: u32 = 24;
/// Connections that one worker can hold.
pub(crate) const SLOTS_MAX: usize = 1 << SLOT_BITS;
/// Bits of a token that name the registration.
const SERIAL_BITS: u32 = 38;
const _: () = assert!(usize::BITS == 64 && 1 + SLOT_BITS + SERIAL_BITS < 64);

/// Names one connection for as long as it lives, and nobody afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectionId {
    pub(crate) slot: usize,
    pub(crate) serial: u64,
}

/// One client with everything that belongs to it.
pub(crate) struct Connection {
    pub(crate) body: Body,
    pub(crate) stage: Stage,
    pub(crate) alarm: Option<Alarm>,
    /// Waits in the run queue.
    pub(crate) queued: bool,
}

/// What every stage needs.
pub(crate) struct Body {
    pub(crate) id: ConnectionId,
    pub(crate) wires: Wires,
    pub(crate) record: Box<Record>,
    /// Given back to the limits when the connection is gone.
    pub(crate) admission: Option<Admission>,
}

/// Where a connection stands.
pub(crate) enum Stage {
    /// Before the hand-off.
    Dialogue(Box<Dialogue>),
    /// After it.
    Relay(Box<Pump>),
    /// Saying goodbye.
    Closing(Closing),
}

/// How a turn ended.
pub(crate) enum Progress {
    /// Nothing can be done until an event, an answer or the time says so.
    Idle,
    /// The turn's budget is used up; there is more to do.
    Again,
    /// On it goes in another stage.
    Became(Stage),
    /// Nothing is left of it.
    Gone,
}

/// The one timer of a connection. It may ring early: deadlines move later without touching it.
pub(crate) struct Alarm {
    pub(crate) timer: TimerId,
    pub(crate) at: Instant,
}

/// One socket of a connection.
pub(crate) struct Wire {
    pub(crate) leg: Leg,
    serial: u64,
    /// Its end of stream was read.
    pub(crate) eof: bool,
    /// TLS was up, and its end came without a close_notify.
    pub(crate) cut_short: bool,
    /// It failed.
    pub(crate) broken: bool,
    /// Not connected yet.
    pub(crate) connecting: bool,
    /// It was told to send its FIN.
    ending: bool,
}

/// Both sockets of a connection.
#[derive(Default)]
pub(crate) struct Wires {
    pub(crate) client: Option<Wire>,
    pub(crate) backend: Option<Wire>,
    /// Attempts to connect to a backend, of which one becomes its socket.
    pub(crate) racing: Vec<Wire>,
}

/// What the log says of a session.
pub(crate) struct Record {
    pub(crate) seed: Seed,
    pub(crate) listener: Arc<Listener>,
    pub(crate) listener_index: usize,
    pub(crate) peer: Peer,
    /// Who the client is: where a balancer or a trusted proxy stands between, not the peer.
    pub(crate) client: SocketAddr,
    /// What the session is called there.
    pub(crate) via_session: Option<Box<[u8]>>,
    pub(crate) accepted: Instant,
    pub(crate) logged_in: Option<Instant>,
    pub(crate) user: Box<[u8]>,
    pub(crate) mechanism: Option<Mechanism>,
    pub(crate) client_tls: Option<(&'static str, &'static str)>,
    pub(crate) backend_tls: Option<(&'static str, &'static str)>,
    pub(crate) destination: Option<Arc<Destination>>,
    pub(crate) host: Option<Arc<Host>>,
    pub(crate) address: Option<SocketAddr>,
    /// What a failed handshake had to say beyond its class.
    pub(crate) detail: Option<Box<str>>,
    /// Octets that passed after the hand-off, from the client and from the backend.
    pub(crate) octets: [u64; 2],
    /// Who ended TLS without a close_notify.
    pub(crate) cut_short: Option<&'static str>,
}

impl Wire {
    /// Registers a socket, once, for both directions.
    pub(crate) fn register(
        mut leg: Leg,
        side: Side,
        slot: usize,
        serial: u64,
        registry: &Registry,
    ) -> std::io::Result<Self> {
        let interests = mio::Interest::READABLE | mio::Interest::WRITABLE;
        registry.register(leg.socket(), token(side, slot, serial), interests)?;
        Ok(Self {
            leg,
            serial,
            eof: false,
            cut_short: false,
            broken: false,
            connecting: false,
            ending: false,
        })
    }

    /// Writes what waits, as far as it can be; the fault if that broke the wire.
    pub(crate) fn flush(&mut self) -> Result<(), LegFault> {
        if self.broken || !self.leg.writable() || self.leg.unsent_len() == 0 {
            return Ok(());
        }
        let flushed = self.leg.flush();
        self.judge(flushed)
    }

    /// Takes all of the bytes, and sends what fits.
    pub(crate) fn write(&mut self, bytes: &[u8], scratch: &mut Scratch) -> Result<(), LegFault> {
        if self.broken || bytes.is_empty() {
            return Ok(());
        }
        let written = self.leg.write(bytes, scratch);
        self.judge(written)
    }

    /// Sends what the last read of another wire brought.
    pub(crate) fn write_received(&mut self, scratch: &mut Scratch) -> Result<(), LegFault> {
        if self.broken {
            return Ok(());
        }
        let written = self.leg.write_received(scratch);
        self.judge(written)
    }

    /// Half-closes it, once.
    pub(crate) fn end(&mut self, scratch: &mut Scratch) -> Result<(), LegFault> {
        if self.broken || self.ending {
            return Ok(());
        }
        self.ending = true;
        let ended = self.leg.shutdown_write(scratch);
        self.judge(ended)
    }

    /// Its end of stream was read.
    pub(crate) const fn ended(&mut self, clean: bool) {
        self.eof = true;
        self.cut_short = !clean;
    }

    /// Marks the wire broken if the outcome says so.
    pub(crate) fn judge<T>(&mut self, outcome: Result<T, Lost>) -> Result<T, LegFault> {
        outcome.map_err(|lost| {
            self.broken = true;
            leg_fault(&lost)
        })
    }

    /// Marks the wire broken by an error of the operating system.
    pub(crate) fn broke(&mut self, kind: std::io::ErrorKind) -> LegFault {
        self.broken = true;
        leg_fault(&Lost::Io(kind))
    }

    /// Whether reading it may find something.
    pub(crate) fn worth_reading(&self) -> bool {
        !self.eof && !self.broken && !self.connecting && self.leg.readable()
    }
}

impl Wires {
    pub(crate) fn of(&mut self, side: Side) -> Option<&mut Wire> {
        match side {
            Side::Client => self.client.as_mut(),
            Side::Backend => self.backend.as_mut(),
        }
    }

    pub(crate) fn slot(&mut self, side: Side) -> &mut Option<Wire> {
        match side {
            Side::Client => &mut self.client,
            Side::Backend => &mut self.backend,
        }
    }

    /// Source and sink of what comes from a side, where both are there.
    pub(crate) fn pair(&mut self, from: Side) -> Option<(&mut Wire, &mut Wire)> {
        let (client, backend) = (self.client.as_mut()?, self.backend.as_mut()?);
        Some(match from {
            Side::Client => (client, backend),
            Side::Backend => (backend, client),
        })
    }

    /// The wire that an event of this registration belongs to.
    pub(crate) fn registered(&mut self, side: Side, serial: u64) -> Option<&mut Wire> {
        let racing = match side {
            Side::Client => &mut [],
            Side::Backend => self.racing.as_mut_slice(),
        };
        let own = match side {
            Side::Client => &mut self.client,
            Side::Backend => &mut self.backend,
        };
        own.iter_mut().chain(racing).find(|wire| wire.serial & serial_mask() == serial)
    }

    /// The sides whose TLS ended without a close_notify; nobody is punished for that.
    pub(crate) fn cut_short(&self) -> Option<&'static str> {
        let is = |wire: &Option<Wire>| wire.as_ref().is_some_and(|wire| wire.cut_short);
        match (is(&self.client), is(&self.backend)) {
            (false, false) => None,
            (true, false) => Some("client"),
            (false, true) => Some("backend"),
            (true, true) => Some("both"),
        }
    }

    /// Octets of buffers held by both.
    pub(crate) fn held(&self) -> usize {
        [&self.client, &self.backend].into_iter().flatten().map(|wire| wire.leg.held()).sum()
    }
}

/// The token of a registration.
pub(crate) const fn token(side: Side, slot: usize, serial: u64) -> Token {
    let side = match side {
        Side::Client => 0,
        Side::Backend => 1,
    };
    Token((((serial & serial_mask()) as usize) << (SLOT_BITS + 1)) | (slot << 1) | side)
}

/// What a token was made of: side, slot and serial.
pub(crate) const fn untoken(token: Token) -> (Side, usize, u64) {
    let side = if token.0 & 1 == 0 { Side::Client } else { Side::Backend };
    (side, (token.0 >> 1) & (SLOTS_MAX - 1), (token.0 >> (SLOT_BITS + 1)) as u64)
}

impl Record {
    pub(crate) fn new(
        seed: Seed,
        listener: Arc<Listener>,
        listener_index: usize,
        peer: Peer,
        accepted: Instant,
    ) -> Self {
        Self {
            seed,
            listener,
            listener_index,
            peer,
            client: peer.client,
            via_session: None,
            accepted,
            logged_in: None,
            user: Box::default(),
            mechanism: None,
            client_tls: None,
            backend_tls: None,
            destination: None,
            host: None,
            address: None,
            detail: None,
            octets: [0; 2],
            cut_short: None,
        }
    }

    /// The session's name, as the core and its backends know it.
    pub(crate) fn session(&self) -> String {
        format!("{:016x}", self.seed.0)
    }
}

/// What a lost wire is called in the core.
pub(crate) fn leg_fault(lost: &Lost) -> LegFault {
    use std::io::ErrorKind;
    match lost {
        Lost::Tls(_) => LegFault::Tls,
        Lost::Io(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => LegFault::Reset,
        Lost::Io(ErrorKind::TimedOut) => LegFault::TimedOut,
        Lost::Io(_) => LegFault::Io,
    }
}

const fn serial_mask() -> u64 {
    (1 << SERIAL_BITS) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_side_slot_and_registration() {
        for (side, slot, serial) in [
            (Side::Client, 0, 1),
            (Side::Backend, SLOTS_MAX - 1, 77),
            (Side::Backend, 12345, serial_mask()),
        ] {
            assert_eq!(untoken(token(side, slot, serial)), (side, slot, serial));
        }
    }

    #[test]
    fn a_slot_used_again_has_another_token() {
        assert_ne!(token(Side::Backend, 3, 8), token(Side::Backend, 3, 9));
    }
}
