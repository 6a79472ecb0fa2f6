//! Connecting to a host: its addresses in turn, and a second one beside the first before long.
//!
//! Not here: which host, see `../../../core/src/fleet.rs`; names, see `../control/resolve.rs`; how
//! long it may take, the session knows. In which order and how soon, `gatepost_core::race` says.
//! Invariants: attempts that are under way are the wires in `Wires::racing`; the first that stands
//! becomes the backend leg, and the others are dropped. A destination with source addresses is
//! never left from another address, and none is reached that is a listener of ours. That a
//! connection stands is told by its event, and by no call of ours; only a failure is asked for its
//! reason.
//! Read next: `dialogue`, which drives a dial.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use gatepost_core::config::{Destination, Host};
use gatepost_core::race::Race;
use gatepost_core::{BackendFacts, ConnectFault, Instant, Leg as Side};
use mio::net::TcpStream;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
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
    /// Where the wires in `Wires::racing` go, in their order: the kernel need not be asked.
    under_way: Vec<SocketAddr>,
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
        let fault = ConnectFault::NoAddress;
        Self { destination, host, race, under_way: Vec::new(), fault }
    }

    /// When it is to be looked at, whether anything happened or not.
    pub(crate) fn due(&self, body: &Body) -> Option<Instant> {
        self.race.due(body.wires.racing.len())
    }

    /// Looks whether a connection stands, and tries the next address if it is time.
    pub(crate) fn look(&mut self, body: &mut Body, resources: &mut Resources) -> Dialled {
        match self.winner(body, resources) {
            Some(Ok(facts)) => return Dialled::Connected(facts),
            Some(Err(fault)) => return Dialled::Failed(fault),
            None => {}
        }
        while let Some(address) = self.race.next(body.wires.racing.len(), resources.now) {
            match self.begin(address, body, resources) {
                Ok(()) => {}
                Err(fault @ ConnectFault::OwnListener) => {
                    body.wires.racing = Vec::new();
                    return Dialled::Failed(fault);
                }
                // Why an address that was tried did not do is the better reason.
                Err(ConnectFault::NoSourceAddress) if self.fault != ConnectFault::NoAddress => {}
                Err(fault) => self.fault = fault,
            }
        }
        match body.wires.racing.is_empty() {
            true => Dialled::Failed(self.fault),
            false => Dialled::Pending,
        }
    }

    /// The first attempt that stands; those that failed are gone.
    fn winner(
        &mut self,
        body: &mut Body,
        resources: &Resources,
    ) -> Option<Result<BackendFacts, ConnectFault>> {
        let protocol = body.record.listener.protocol;
        let wires = &mut body.wires;
        let mut place = 0;
        while let Some(wire) = wires.racing.get_mut(place) {
            let local = match wire.leg.finish_connect() {
                None => {
                    place += 1;
                    continue;
                }
                Some(connected) => connected.and_then(|()| wire.leg.socket().local_addr()),
            };
            let (mut wire, address) = (wires.racing.remove(place), self.under_way.remove(place));
            match local {
                Ok(local) => {
                    wires.racing = Vec::new();
                    let shared = &resources.shared;
                    // The machine may have got an address since the program started.
                    if let Some(listener) = shared.own.listener_at(address, Some(local.ip())) {
                        return Some(Err(own_listener(listener, body)));
                    }
                    wire.connecting = false;
                    wires.backend = Some(wire);
                    let remembered =
                        shared.remembered(&self.destination.name, &self.host.label, protocol);
                    return Some(Ok(BackendFacts { address, local, remembered }));
                }
                Err(error) => self.fault = connect_fault(&error),
            }
        }
        None
    }

    fn begin(
        &mut self,
        address: SocketAddr,
        body: &mut Body,
        resources: &mut Resources,
    ) -> Result<(), ConnectFault> {
        if let Some(listener) = resources.shared.own.listener_at(address, None) {
            return Err(own_listener(listener, body));
        }
        let source = resources.shared.source(&self.destination, address.ip())?;
        let socket = connect(address, source).map_err(|error| connect_fault(&error))?;
        let mut leg = Leg::connecting(socket);
        leg.set_read_cap(resources.shared.rig.read_cap);
        let serial = resources.next_serial();
        let registry = resources.poll.registry();
        let mut wire = Wire::register(leg, Side::Backend, body.id.slot, serial, registry)
            .map_err(|error| connect_fault(&error))?;
        wire.connecting = true;
        body.wires.racing.push(wire);
        self.under_way.push(address);
        Ok(())
    }
}

/// The fault of a destination that is a listener of ours; which one is said in the log.
fn own_listener(listener: &str, body: &mut Body) -> ConnectFault {
    body.record.detail = Some(format!("listener/{listener}").into_boxed_str());
    ConnectFault::OwnListener
}

pub(crate) fn connect(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let kind = Type::STREAM.nonblocking();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    tune(SockRef::from(&socket))?;
    if let Some(source) = source {
        // The port is then chosen with the peer, so that ports run out by peer and not in all. A
        // kernel that cannot do so still connects.
        let _ = setsockopt(&socket, IpBindAddressNoPort, &true);
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
