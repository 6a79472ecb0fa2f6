//! Connecting to a host: its addresses in turn, and a second one beside the first before long.
//!
//! Not here: which host, see `../../../core/src/fleet.rs`; names, see `../control/resolve.rs`; how
//! long it may take, the session knows. In which order and how soon, `gatepost_core::race` says.
//! Invariants: attempts that are under way are the wires in `Wires::racing`; the first that stands
//! becomes the backend leg, and the others are dropped. A destination with source addresses is
//! never left from another address.
//! Read next: `dialogue`, which drives a dial.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use gatepost_core::config::{Destination, Host};
use gatepost_core::race::Race;
use gatepost_core::{BackendFacts, ConnectFault, Instant, Leg as Side};
use mio::net::TcpStream;
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::leg::Leg;
use crate::listen::tune;
use crate::worker::Resources;
use crate::worker::connection::{Body, Wire};

/// A connection that is being made.
pub(crate) struct Dial {
    destination: Arc<Destination>,
    host: Arc<Host>,
    race: Race,
    /// Why the last attempt failed.
    fault: ConnectFault,
}

/// What came of looking at a dial.
pub(crate) enum Dialled {
    /// Nothing yet.
    Pending,
    /// The backend leg is there.
    Connected(BackendFacts),
    /// No address worked; the last one's reason.
    Failed(ConnectFault),
}

impl Dial {
    /// Nothing is under way until it is looked at.
    pub(crate) const fn new(destination: Arc<Destination>, host: Arc<Host>, race: Race) -> Self {
        Self { destination, host, race, fault: ConnectFault::NoAddress }
    }

    /// When it is to be looked at, whether anything happened or not.
    pub(crate) fn due(&self, body: &Body) -> Option<Instant> {
        self.race.due(body.wires.racing.len())
    }

    /// Looks whether a connection stands, and tries the next address if it is time.
    pub(crate) fn look(&mut self, body: &mut Body, resources: &mut Resources) -> Dialled {
        if let Some(facts) = self.winner(body, resources) {
            return Dialled::Connected(facts);
        }
        while let Some(address) = self.race.next(body.wires.racing.len(), resources.now) {
            if let Err(error) = self.begin(address, body, resources) {
                self.fault = connect_fault(&error);
            }
        }
        match body.wires.racing.is_empty() {
            true => Dialled::Failed(self.fault),
            false => Dialled::Pending,
        }
    }

    /// The first attempt that stands; those that failed are gone.
    fn winner(&mut self, body: &mut Body, resources: &Resources) -> Option<BackendFacts> {
        let protocol = body.record.listener.protocol;
        let wires = &mut body.wires;
        let mut place = 0;
        while let Some(wire) = wires.racing.get_mut(place) {
            let ends = match wire.leg.finish_connect() {
                None => {
                    place += 1;
                    continue;
                }
                Some(connected) => connected.and_then(|()| ends(wire)),
            };
            let mut wire = wires.racing.remove(place);
            match ends {
                Ok((address, local)) => {
                    wire.connecting = false;
                    wires.backend = Some(wire);
                    wires.racing = Vec::new();
                    let shared = &resources.shared;
                    let remembered =
                        shared.remembered(&self.destination.name, &self.host.label, protocol);
                    return Some(BackendFacts { address, local, remembered });
                }
                Err(error) => self.fault = connect_fault(&error),
            }
        }
        None
    }

    fn begin(
        &self,
        address: SocketAddr,
        body: &mut Body,
        resources: &mut Resources,
    ) -> io::Result<()> {
        let source = source(&self.destination, address, resources.shared.next_turn())?;
        let mut leg = Leg::connecting(connect(address, source)?);
        leg.set_read_cap(resources.shared.rig.read_cap);
        let serial = resources.next_serial();
        let registry = resources.poll.registry();
        let mut wire = Wire::register(leg, Side::Backend, body.id.slot, serial, registry)?;
        wire.connecting = true;
        body.wires.racing.push(wire);
        Ok(())
    }
}

/// The backend's address and ours.
fn ends(wire: &mut Wire) -> io::Result<(SocketAddr, SocketAddr)> {
    let socket = wire.leg.socket();
    Ok((socket.peer_addr()?, socket.local_addr()?))
}

/// The source address whose turn it is, of the family that reaches the address.
pub(crate) fn source(
    destination: &Destination,
    address: SocketAddr,
    turn: usize,
) -> io::Result<Option<IpAddr>> {
    if destination.source_ips.is_empty() {
        return Ok(None);
    }
    let fitting: Vec<&IpAddr> = destination
        .source_ips
        .iter()
        .filter(|source| source.is_ipv4() == address.is_ipv4())
        .collect();
    match fitting.get(turn % fitting.len().max(1)) {
        Some(source) => Ok(Some(**source)),
        None => Err(Errno::NETUNREACH.into()),
    }
}

pub(crate) fn connect(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    tune(SockRef::from(&socket))?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&address.into()) {
        Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => Err(error),
        Ok(()) | Err(_) => Ok(TcpStream::from_std(socket.into())),
    }
}

pub(crate) fn connect_fault(error: &io::Error) -> ConnectFault {
    match Errno::from_io_error(error) {
        Some(Errno::CONNREFUSED) => ConnectFault::Refused,
        Some(Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::NETDOWN | Errno::HOSTDOWN) => {
            ConnectFault::Unreachable
        }
        Some(Errno::TIMEDOUT) => ConnectFault::TimedOut,
        // connect(2) reports a lack of ports as EADDRNOTAVAIL.
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::ADDRNOTAVAIL) => {
            ConnectFault::Exhausted
        }
        Some(_) => ConnectFault::Io,
        None if error.kind() == io::ErrorKind::ConnectionRefused => ConnectFault::Refused,
        None if error.kind() == io::ErrorKind::TimedOut => ConnectFault::TimedOut,
        None => ConnectFault::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_have_their_classes() {
        let fault = |errno: Errno| connect_fault(&io::Error::from(errno));
        assert_eq!(fault(Errno::CONNREFUSED), ConnectFault::Refused);
        assert_eq!(fault(Errno::HOSTUNREACH), ConnectFault::Unreachable);
        assert_eq!(fault(Errno::ADDRNOTAVAIL), ConnectFault::Exhausted);
        assert_eq!(fault(Errno::TIMEDOUT), ConnectFault::TimedOut);
    }
}
