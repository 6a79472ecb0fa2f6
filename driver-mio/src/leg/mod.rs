//! API published first; the bodies follow in the next commits.
#![allow(dead_code, unused_variables, missing_docs, clippy::unimplemented)]

use std::io;
use std::sync::Arc;

use mio::event::Event;
use mio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};

use crate::pipe::Pipe;

pub(crate) struct Scratch {}
impl Scratch {
    pub(crate) fn new() -> Self {
        unimplemented!()
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// `plain` octets went to the sink (0: only part of a record, or a ticket); `wire` octets were
    /// read from the kernel: charge the turn's budget with these. Call again while budget lasts.
    Some {
        plain: usize,
        wire: usize,
    },
    WouldBlock,
    Eof {
        clean: bool,
    },
    Lost(Lost),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lost {
    Io(io::ErrorKind),
    Tls(TlsFault),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    InProgress,
    Up(Box<TlsUp>),
    Failed(TlsFault),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsVersion {
    Tls12,
    Tls13,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsUp {
    pub(crate) version: TlsVersion,
    /// IANA's name, e.g. `TLS_AES_128_GCM_SHA256`.
    pub(crate) suite: &'static str,
    /// Server role only: what the client asked for, lower case.
    pub(crate) sni: Option<String>,
    pub(crate) alpn: Option<Vec<u8>>,
    pub(crate) resumed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CertificateFault {
    UnknownIssuer,
    Expired,
    NotYetValid,
    NameMismatch,
    PinMismatch,
    Revoked,
    Other(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TlsFault {
    Certificate(CertificateFault),
    /// No protocol in common.
    Alpn,
    /// No version, suite or extension in common.
    Incompatible(String),
    /// Not TLS, or TLS broken.
    Protocol(String),
    /// The peer refused with this alert.
    Alert(String),
    PeerClosed,
    Io(io::ErrorKind),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Splice {
    Moved(usize),
    WouldBlock,
    Eof,
    Lost(io::ErrorKind),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Discard {
    /// Not at the end; call again at the next readable event.
    WouldBlock,
    /// The peer has ended, or the limit is reached: drop the leg.
    Done,
}

pub(crate) struct Leg {
    socket: TcpStream,
}

impl Leg {
    /// Writable at once, readable when the first event says so.
    pub(crate) fn accepted(socket: TcpStream) -> Self {
        unimplemented!()
    }
    /// Of a connect in progress: neither bit is set; `finish_connect` on every event until Some.
    pub(crate) fn connecting(socket: TcpStream) -> Self {
        unimplemented!()
    }
    /// None: still connecting.
    pub(crate) fn finish_connect(&mut self) -> Option<io::Result<()>> {
        unimplemented!()
    }
    /// For register/deregister and addresses.
    pub(crate) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }
    /// A test harness's cap on each read call, octets.
    pub(crate) fn set_read_cap(&mut self, cap: Option<usize>) {}
    pub(crate) fn on_event(&mut self, event: &Event) {}
    /// Whether `read` may find something (kernel or decrypted excess).
    pub(crate) fn readable(&self) -> bool {
        unimplemented!()
    }
    pub(crate) fn writable(&self) -> bool {
        unimplemented!()
    }
    pub(crate) fn is_plain(&self) -> bool {
        unimplemented!()
    }

    pub(crate) fn read(
        &mut self,
        scratch: &mut Scratch,
        limit: usize,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Read {
        unimplemented!()
    }
    /// Takes all of `bytes`.
    pub(crate) fn write(&mut self, bytes: &[u8], scratch: &mut Scratch) -> Result<(), Lost> {
        unimplemented!()
    }
    pub(crate) fn unsent_len(&self) -> usize {
        unimplemented!()
    }
    /// Writes what waits, and then a FIN if one is due. Call when writable and unsent_len > 0.
    pub(crate) fn flush(&mut self) -> Result<(), Lost> {
        unimplemented!()
    }
    /// Half-close: close_notify on every layer that is up, FIN as soon as all is flushed.
    pub(crate) fn shutdown_write(&mut self, scratch: &mut Scratch) -> Result<(), Lost> {
        unimplemented!()
    }
    /// After the FIN went out.
    pub(crate) fn fin_sent(&self) -> bool {
        unimplemented!()
    }
    /// After shutdown_write on the final close: reads and forgets, DISCARD_MAX octets at most.
    pub(crate) fn discard(&mut self, scratch: &mut Scratch) -> Discard {
        unimplemented!()
    }

    /// `leftover`: what stands in this leg's inbox; it is TLS input from now on.
    pub(crate) fn start_tls_server(
        &mut self,
        config: Arc<ServerConfig>,
        leftover: Vec<u8>,
    ) -> Result<(), TlsFault> {
        unimplemented!()
    }
    pub(crate) fn start_tls_client(
        &mut self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        leftover: Vec<u8>,
    ) -> Result<(), TlsFault> {
        unimplemented!()
    }
    /// Call right after start_tls_*, then on every readable event until not InProgress.
    pub(crate) fn handshake(&mut self, scratch: &mut Scratch) -> Handshake {
        unimplemented!()
    }

    /// Socket to pipe; the pipe must be empty (so WouldBlock can only mean the socket).
    pub(crate) fn splice_in(&mut self, pipe: &mut Pipe, limit: usize) -> Splice {
        unimplemented!()
    }
    /// Pipe to socket.
    pub(crate) fn splice_out(&mut self, pipe: &mut Pipe) -> Splice {
        unimplemented!()
    }

    /// Capacity of every buffer this leg owns, octets: 0 when nothing is in flight.
    pub(crate) fn held(&self) -> usize {
        unimplemented!()
    }
}
