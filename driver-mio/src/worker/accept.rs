//! A worker's listening sockets, and connections fresh from them.
//!
//! Not here: whether a client is let in; the session asks for that, see `step`.
//! Invariants: running out of descriptors pauses accepting for a while instead of spinning, is
//! logged once in a while, and costs no established session. What waits meanwhile stays in the
//! kernel's queue.
//! A connection costs one call here where it can: options are inherited from the listening socket,
//! and one that is bound to an address of its own need not be asked which its clients reached.
//! Read next: `../listen.rs` for how errors are judged, `dialogue` for what comes after.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use gatepost_core::{Instant, Leg as Side, Peer};
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

use crate::leg::Leg;
use crate::listen::{AcceptFailure, accept_failure};
use crate::worker::connection::{Body, Connection, ConnectionId, Record, Wire, Wires};
use crate::worker::{Resources, TimerKey, WAKE, dialogue};

/// How long accepting rests when descriptors or memory have run out.
const PAUSE: Duration = Duration::from_millis(250);
/// How often that is logged at most.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);
/// Broken connections skipped until others have their turn.
const SKIPS_MAX: usize = 16;

/// The listening sockets of one worker.
pub(crate) struct Acceptor {
    doors: Vec<Door>,
    /// The door to look at first, so that a busy one does not shut the others out.
    next: usize,
    paused: bool,
    complained: Option<Instant>,
}

struct Door {
    socket: TcpListener,
    /// What clients connected to, unless it stands for every address there is.
    address: Option<SocketAddr>,
    listener_index: usize,
    ready: bool,
}

/// A connection that has no place yet.
pub(crate) struct Accepted {
    socket: TcpStream,
    client: SocketAddr,
    local: Option<SocketAddr>,
    listener_index: usize,
}

impl Acceptor {
    /// Registers the sockets, each with the index of its listener.
    pub(crate) fn new(
        sockets: Vec<(usize, std::net::TcpListener)>,
        registry: &Registry,
    ) -> io::Result<Self> {
        let mut doors = Vec::with_capacity(sockets.len());
        for (index, (listener_index, socket)) in sockets.into_iter().enumerate() {
            let mut socket = TcpListener::from_std(socket);
            registry.register(&mut socket, token(index), Interest::READABLE)?;
            let address = Some(socket.local_addr()?).filter(|it| !it.ip().is_unspecified());
            doors.push(Door { socket, address, listener_index, ready: false });
        }
        Ok(Self { doors, next: 0, paused: false, complained: None })
    }

    /// Whether the event was for a listening socket.
    pub(crate) fn take_event(&mut self, event: Token) -> bool {
        let door = (0..self.doors.len()).find(|index| token(*index) == event);
        if let Some(index) = door {
            self.doors[index].ready = true;
        }
        door.is_some()
    }

    /// Whether somebody may wait and can be accepted.
    pub(crate) fn has_more(&self) -> bool {
        !self.paused && self.doors.iter().any(|door| door.ready)
    }

    /// Ends a pause.
    pub(crate) fn resume(&mut self) {
        self.paused = false;
    }

    /// Looks at every door, whether an event came or not.
    pub(crate) fn rouse(&mut self) {
        self.paused = false;
        for door in &mut self.doors {
            door.ready = true;
        }
    }

    /// Accepts nobody any more.
    pub(crate) fn close(&mut self) {
        self.doors.clear();
    }

    /// The next connection, if somebody waits.
    pub(crate) fn next(&mut self, resources: &mut Resources) -> Option<Accepted> {
        let mut skips = 0;
        while self.has_more() && skips < SKIPS_MAX {
            self.next = (self.next + 1) % self.doors.len();
            let door = &mut self.doors[self.next];
            if !door.ready {
                continue;
            }
            let accepted = match resources.shared.rig.accept_fault() {
                Some(fault) => Err(fault),
                None => door.socket.accept(),
            };
            match accepted {
                Ok((socket, client)) => {
                    let (local, listener_index) = (door.address, door.listener_index);
                    return Some(Accepted { socket, client, local, listener_index });
                }
                Err(error) => match accept_failure(&error) {
                    AcceptFailure::Empty => door.ready = false,
                    AcceptFailure::Skip => skips += 1,
                    AcceptFailure::Pause => self.pause(&error, resources),
                },
            }
        }
        None
    }

    fn pause(&mut self, error: &io::Error, resources: &mut Resources) {
        self.paused = true;
        let now = resources.now;
        resources.timers.arm((now + PAUSE).as_millis(), TimerKey::Accept);
        if self.complained.is_none_or(|last| now >= last + COMPLAINT_INTERVAL) {
            self.complained = Some(now);
            log::error!("accepting nobody for now: {error}");
        }
    }
}

impl Accepted {
    /// A connection in its slot, its session begun; none if the socket is good for nothing.
    pub(crate) fn into_connection(
        self,
        slot: usize,
        resources: &mut Resources,
    ) -> Option<Connection> {
        let Self { socket, client, local, listener_index } = self;
        let shared = resources.shared.clone();
        let local = local.or_else(|| socket.local_addr().ok())?;
        let peer =
            shared.rig.peer.unwrap_or(Peer { client: canonical(client), local: canonical(local) });
        let id = ConnectionId { slot, serial: resources.next_serial() };
        let mut leg = Leg::accepted(socket);
        leg.set_read_cap(shared.rig.read_cap);
        let registry = resources.poll.registry();
        let wire = Wire::register(leg, Side::Client, slot, id.serial, registry).ok()?;
        let listener = shared.listener(listener_index);
        let record = Record::new(shared.seed(), listener, listener_index, peer, resources.now);
        let mut body = Body {
            id,
            wires: Wires { client: Some(wire), ..Wires::default() },
            record: Box::new(record),
            admission: None,
        };
        let stage = dialogue::open(&mut body, resources);
        Some(Connection { body, stage, alarm: None, queued: false })
    }
}

/// A v4-mapped address counts as the v4 one.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

const fn token(index: usize) -> Token {
    Token(WAKE.0 - 1 - index)
}
