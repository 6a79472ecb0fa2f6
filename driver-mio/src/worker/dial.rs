//! Connecting to a backend, one address after the other.
//!
//! Not here: names, see `../control/resolve.rs`; how long it may take, the session knows.
//! Invariants: a repeated attempt of one login begins at another address than the one before, so
//! that a host that answers nothing does not eat every attempt. A destination with source
//! addresses is never left from another address. That a connection stands is told by its event, and
//! by no call of ours; only a failure is asked for its reason.
//! Read next: `dialogue`, which drives a dial.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use gatepost_core::config::{self, Destination};
use gatepost_core::{BackendFacts, ConnectFault, Leg as Side};
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
    /// Not yet tried.
    addresses: VecDeque<SocketAddr>,
    /// The one that is being tried.
    current: SocketAddr,
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
    /// Begins with the address that is due after so many failed attempts.
    pub(crate) fn begin(
        destination: Arc<Destination>,
        mut addresses: VecDeque<SocketAddr>,
        tried: u32,
        body: &mut Body,
        resources: &mut Resources,
    ) -> Result<Self, ConnectFault> {
        let count = addresses.len().max(1);
        addresses.rotate_left(usize::try_from(tried).unwrap_or(0) % count);
        let current = addresses.front().copied().ok_or(ConnectFault::NoAddress)?;
        let mut dial = Self { destination, addresses, current };
        dial.advance(ConnectFault::NoAddress, body, resources)?;
        Ok(dial)
    }

    /// Looks whether the connection stands, and tries the next address if it failed.
    pub(crate) fn look(&mut self, body: &mut Body, resources: &mut Resources) -> Dialled {
        let protocol = body.record.listener.protocol;
        let Some(wire) = &mut body.wires.backend else {
            return Dialled::Failed(ConnectFault::Io);
        };
        match wire.leg.finish_connect() {
            None => Dialled::Pending,
            Some(Ok(())) => {
                wire.connecting = false;
                match wire.leg.socket().local_addr() {
                    Ok(local) => Dialled::Connected(self.facts(local, protocol, resources)),
                    Err(error) => self.go_on(&error, body, resources),
                }
            }
            Some(Err(error)) => self.go_on(&error, body, resources),
        }
    }

    fn go_on(&mut self, error: &io::Error, body: &mut Body, resources: &mut Resources) -> Dialled {
        body.wires.backend = None;
        match self.advance(connect_fault(error), body, resources) {
            Ok(()) => Dialled::Pending,
            Err(fault) => Dialled::Failed(fault),
        }
    }

    /// Begins to connect to the next address that takes it.
    fn advance(
        &mut self,
        fault: ConnectFault,
        body: &mut Body,
        resources: &mut Resources,
    ) -> Result<(), ConnectFault> {
        let mut fault = fault;
        while let Some(address) = self.addresses.pop_front() {
            self.current = address;
            match self.dial(address, body, resources) {
                Ok(()) => return Ok(()),
                Err(error) => fault = connect_fault(&error),
            }
        }
        Err(fault)
    }

    fn dial(
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
        body.wires.backend = Some(wire);
        Ok(())
    }

    fn facts(
        &self,
        local: SocketAddr,
        protocol: config::Protocol,
        resources: &Resources,
    ) -> BackendFacts {
        let remembered = resources.shared.remembered(&self.destination.name, protocol);
        BackendFacts { address: self.current, local, remembered }
    }
}

/// The source address whose turn it is, of the family that reaches the address.
fn source(
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

fn connect(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let kind = Type::STREAM.nonblocking();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    tune(SockRef::from(&socket))?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&address.into()) {
        Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => Err(error),
        Ok(()) | Err(_) => Ok(TcpStream::from_std(socket.into())),
    }
}

fn connect_fault(error: &io::Error) -> ConnectFault {
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
