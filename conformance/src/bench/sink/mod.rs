//! The sink: a mail backend of few words, in a process of its own.
//!
//! It lets everybody in, answers what the generator asks, and serves nginx' auth_http, all on one
//! thread. It is a process of its own because the clients and the backends of thousands of
//! sessions do not fit into one process's descriptors, and so that its CPU can be told from the
//! generator's. Parent and sink speak over the sink's standard streams: it writes its ports, then
//! answers each line with its handshakes so far, and ends when nothing more can come.
//! Read next: `peer.rs`, a connection; `answers.rs`, what is said there.

mod answers;
mod peer;
mod remote;

use std::io::{self, BufRead as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustls::{Connection, HandshakeKind, ServerConfig, ServerConnection};
use slab::Slab;

use self::peer::Peer;
pub(super) use self::remote::{Handshakes, Remote};
use super::case::{Protocol, Suite};
use super::stream::{ROOM, Stream};
use super::tls;

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 1024;
/// Tokens from here on are those of doors.
const DOORS: usize = usize::MAX / 2;

/// What is spoken at a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Mail(Protocol),
    /// nginx' question where a user's mailbox is.
    AuthHttp,
}

/// Ports, in the order in which the sink writes them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    plain: [u16; 3],
    tls: [u16; 3],
    pub(super) auth_http: u16,
}

impl Ports {
    pub(super) const fn of(&self, protocol: Protocol, tls: bool) -> u16 {
        let ports = if tls { &self.tls } else { &self.plain };
        ports[protocol as usize]
    }
}

struct Door {
    socket: TcpListener,
    service: Service,
    tls: bool,
}

/// Handshakes that were accepted, by how they went.
#[derive(Default)]
struct Tally {
    full: AtomicU64,
    resumed: AtomicU64,
}

struct Sink {
    poll: Poll,
    doors: Vec<Door>,
    ports: Ports,
    config: Arc<ServerConfig>,
    peers: Slab<Peer>,
    tally: Arc<Tally>,
    room: Box<[u8]>,
}

/// Serves, with the certificate in `folder`, until nobody holds the other end of stdin.
pub(super) fn serve(folder: &Path, suite: Suite) -> io::Result<()> {
    let mut sink = Sink::bind(folder, suite)?;
    let Ports { plain, tls, auth_http } = sink.ports;
    let ports: Vec<String> =
        plain.iter().chain(&tls).chain([&auth_http]).map(u16::to_string).collect();
    tell(&ports.join(" "))?;
    let tally = Arc::clone(&sink.tally);
    thread::spawn(move || {
        for _ in io::stdin().lock().lines().map_while(Result::ok) {
            let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            if tell(&format!("{} {}", count(&tally.full), count(&tally.resumed))).is_err() {
                break;
            }
        }
        // The parent is gone, or wants no more of this.
        std::process::exit(0);
    });
    sink.run()
}

fn tell(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

impl Sink {
    fn bind(folder: &Path, suite: Suite) -> io::Result<Self> {
        let mut doors = Vec::new();
        let mut open = |service, tls| -> io::Result<u16> {
            let socket = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
            let port = socket.local_addr()?.port();
            doors.push(Door { socket, service, tls });
            Ok(port)
        };
        let mut ports = Ports { plain: [0; 3], tls: [0; 3], auth_http: 0 };
        for protocol in Protocol::ALL {
            ports.plain[protocol as usize] = open(Service::Mail(protocol), false)?;
            ports.tls[protocol as usize] = open(Service::Mail(protocol), true)?;
        }
        ports.auth_http = open(Service::AuthHttp, false)?;
        let poll = Poll::new()?;
        for (index, door) in doors.iter_mut().enumerate() {
            poll.registry().register(&mut door.socket, Token(DOORS + index), Interest::READABLE)?;
        }
        let config = tls::server(folder, suite)?;
        let room = vec![0; ROOM].into_boxed_slice();
        let tally = Arc::default();
        Ok(Self { poll, doors, ports, config, peers: Slab::new(), tally, room })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                outcome => outcome?,
            }
            for event in &events {
                match event.token() {
                    Token(token) if token >= DOORS => self.accept(token - DOORS)?,
                    Token(key) => self.turn(key),
                }
            }
        }
    }

    fn accept(&mut self, door: usize) -> io::Result<()> {
        loop {
            match self.doors[door].socket.accept() {
                Ok((socket, _)) => self.take_in(socket, door)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn take_in(&mut self, mut socket: TcpStream, door: usize) -> io::Result<()> {
        let Door { service, tls, .. } = &self.doors[door];
        let entry = self.peers.vacant_entry();
        let key = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut socket, Token(key), interest)?;
        let tls = if *tls {
            let connection = ServerConnection::new(Arc::clone(&self.config));
            Some(Connection::from(connection.map_err(io::Error::other)?))
        } else {
            None
        };
        entry.insert(Peer::new(Stream::new(socket, tls)?, *service, self.ports));
        self.turn(key);
        Ok(())
    }

    /// Whatever goes wrong with a connection ends that one; its client will complain.
    fn turn(&mut self, key: usize) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let goes_on = peer.turn(&mut self.room).unwrap_or(false);
        match peer.new_handshake() {
            Some(HandshakeKind::Resumed) => self.tally.resumed.fetch_add(1, Ordering::Relaxed),
            Some(_) => self.tally.full.fetch_add(1, Ordering::Relaxed),
            None => 0,
        };
        if !goes_on {
            self.peers.remove(key);
        }
    }
}
