//! A socket without blocking, with TLS or without, as both ends of the bench use it.
//!
//! Not a model of how to serve mail: what cannot be sent is kept, however much it is, because the
//! bench itself decides how much that may be. Invariant: `receive` reads until the socket has
//! nothing, which is what an edge-triggered poll asks for. Read next: `load/mod.rs`.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;

use mio::net::TcpStream;
use rustls::{Connection, HandshakeKind};

/// Octets that one read asks for.
pub(super) const ROOM: usize = 128 * 1024;
/// Octets of a TLS record's content, roughly: what is taken out of rustls at once.
const PLAIN_ROOM: usize = 16 * 1024;

/// One end of a connection.
pub(super) struct Stream {
    socket: TcpStream,
    tls: Option<Box<Connection>>,
    unsent: Vec<u8>,
    sent: usize,
    ending: bool,
}

/// Whether the other side may say more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    Open,
    End,
}

impl Stream {
    pub(super) fn new(socket: TcpStream, tls: Option<Connection>) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        let tls = tls.map(|mut tls| {
            tls.set_buffer_limit(None);
            Box::new(tls)
        });
        Ok(Self { socket, tls, unsent: Vec::new(), sent: 0, ending: false })
    }

    /// Whether everything that was given to it has left.
    pub(super) fn flushed(&self) -> bool {
        self.unsent.len() == self.sent && self.tls.as_ref().is_none_or(|tls| !tls.wants_write())
    }

    /// How the handshake went, once it is over.
    pub(super) fn handshake(&self) -> Option<HandshakeKind> {
        self.tls.as_ref().and_then(|tls| tls.handshake_kind())
    }

    /// Takes all of `octets` and sends what the socket takes.
    pub(super) fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            let taken = if self.unsent.is_empty() { write(&mut self.socket, octets)? } else { 0 };
            self.unsent.extend_from_slice(&octets[taken..]);
            return Ok(());
        };
        tls.writer().write_all(octets)?;
        self.flush()
    }

    /// Sends what waits, then the end of our side if that was asked for.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            None if self.unsent.is_empty() => {}
            None => {
                self.sent += write(&mut self.socket, &self.unsent[self.sent..])?;
                if self.sent == self.unsent.len() {
                    self.unsent.clear();
                    self.sent = 0;
                }
            }
            Some(tls) => {
                while tls.wants_write() {
                    match tls.write_tls(&mut self.socket) {
                        Ok(_) => {}
                        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        if self.ending && self.flushed() {
            self.ending = false;
            self.socket.shutdown(Shutdown::Write)?;
        }
        Ok(())
    }

    /// Says that nothing follows.
    pub(super) fn end(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        self.ending = true;
        self.flush()
    }

    /// Hands everything that the socket has to `take`.
    pub(super) fn receive(
        &mut self,
        room: &mut [u8],
        take: &mut dyn FnMut(&[u8]),
    ) -> io::Result<Received> {
        loop {
            let octets = match self.socket.read(room) {
                Ok(0) => return Ok(Received::End),
                Ok(octets) => octets,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // Who goes without a goodbye is gone all the same.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return Ok(Received::End);
                }
                Err(error) => return Err(error),
            };
            match &mut self.tls {
                None => take(&room[..octets]),
                Some(tls) => {
                    if decrypt(tls, &room[..octets], take)? == Received::End {
                        self.flush()?;
                        return Ok(Received::End);
                    }
                }
            }
        }
        if self.tls.is_some() {
            self.flush()?;
        }
        Ok(Received::Open)
    }
}

fn decrypt(
    tls: &mut Connection,
    mut wire: &[u8],
    take: &mut dyn FnMut(&[u8]),
) -> io::Result<Received> {
    let mut plain = [0; PLAIN_ROOM];
    while !wire.is_empty() {
        tls.read_tls(&mut wire)?;
        tls.process_new_packets().map_err(io::Error::other)?;
        loop {
            match tls.reader().read(&mut plain) {
                Ok(0) => return Ok(Received::End),
                Ok(octets) => take(&plain[..octets]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(Received::Open)
}

fn write(socket: &mut TcpStream, octets: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < octets.len() {
        match socket.write(&octets[sent..]) {
            Ok(taken) => sent += taken,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) =>
            {
                break;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}
