//! A relay that knows nothing: the fewest calls to the kernel that carry a TCP connection on.
//!
//! No proxy, but the floor under every one on this machine: what is less than this is not to be
//! had by accepting, connecting and carrying. One thread on mio, edge-triggered. It reads and sends
//! small pieces and splices bulk (splice(2)), as Gatepost's data plane does, and does nothing else:
//! no deadline, no count, no close that waits for what a peer has not read. The program is the
//! bench itself in another role.

use std::io::{self, ErrorKind, Read as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::process::Command;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustix::net::{SendFlags, send};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use slab::Slab;

use crate::bench::case::Column;
use crate::bench::system::Place;

/// Octets that are copied at once; as many are a sign of bulk.
const SMALL: usize = 16 * 1024;
/// Octets that are spliced at once.
const BULK: usize = 64 * 1024;
/// Octets that a pipe is asked to have room for.
const PIPE: usize = 256 * 1024;
/// Readiness events taken at once.
const EVENTS: usize = 1024;
/// What a token of a listening socket begins with.
const DOOR: usize = 1 << 40;

pub(super) fn command(place: &Place<'_>) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("bare");
    for front in place.fronts.iter().filter(|front| front.column == Column::Plain) {
        let backend = place.backend(front.protocol, front.column);
        command.arg(format!("{}:{backend}", front.port));
    }
    Ok(command)
}

/// Carries what comes to the first port of each `front:backend` to the second, until it is killed.
pub(in crate::bench) fn serve(pairs: &[String]) -> io::Result<()> {
    let mut relay = Relay {
        poll: Poll::new()?,
        doors: Vec::new(),
        pairs: Slab::new(),
        room: vec![0; SMALL].into_boxed_slice(),
        pipe: Pipe::open()?,
    };
    for (index, pair) in pairs.iter().enumerate() {
        let (front, backend) = ports(pair).ok_or(ErrorKind::InvalidInput)?;
        let mut door = TcpListener::bind(local(front))?;
        relay.poll.registry().register(&mut door, Token(DOOR + index), Interest::READABLE)?;
        relay.doors.push((door, local(backend)));
    }
    let mut events = Events::with_capacity(EVENTS);
    loop {
        relay.poll.poll(&mut events, None)?;
        for event in &events {
            match event.token().0.checked_sub(DOOR) {
                Some(door) => relay.accept(door),
                None => relay.turn(event),
            }
        }
    }
}

struct Relay {
    poll: Poll,
    doors: Vec<(TcpListener, SocketAddr)>,
    pairs: Slab<[End; 2]>,
    room: Box<[u8]>,
    pipe: Pipe,
}

/// One socket of a pair, and what came from it and waits for the other.
struct End {
    socket: TcpStream,
    readable: bool,
    /// Its end was announced, and may lie behind what can be read.
    closing: bool,
    bulk: bool,
    /// The kernel may keep the end of what was spliced.
    held_back: bool,
    waiting: Vec<u8>,
    ended: bool,
}

struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

/// A connection that broke or ended on both sides.
struct Over;

impl Relay {
    fn accept(&mut self, door: usize) {
        let (listener, backend) = &self.doors[door];
        while let Ok((client, _)) = listener.accept() {
            let Ok(backend) = TcpStream::connect(*backend) else { continue };
            let entry = self.pairs.vacant_entry();
            let mut ends = [client, backend].map(End::new);
            for (side, end) in ends.iter_mut().enumerate() {
                let _ = end.socket.set_nodelay(true);
                let both = Interest::READABLE | Interest::WRITABLE;
                let token = Token(entry.key() * 2 + side);
                if self.poll.registry().register(&mut end.socket, token, both).is_err() {
                    return;
                }
            }
            entry.insert(ends);
        }
    }

    fn turn(&mut self, event: &mio::event::Event) {
        let (key, side) = (event.token().0 / 2, event.token().0 % 2);
        let Some(ends) = self.pairs.get_mut(key) else { return };
        ends[side].closing |= event.is_read_closed();
        ends[side].readable |= event.is_readable() || event.is_read_closed();
        let [client, backend] = ends;
        let over = carry(client, backend, &mut self.room, &self.pipe)
            .and_then(|()| carry(backend, client, &mut self.room, &self.pipe));
        if over.is_err() || (ends[0].ended && ends[1].ended) {
            self.pairs.remove(key);
        }
    }
}

impl End {
    const fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            readable: false,
            closing: false,
            bulk: false,
            held_back: false,
            waiting: Vec::new(),
            ended: false,
        }
    }
}

impl Pipe {
    fn open() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let _ = fcntl_setpipe_size(&write, PIPE);
        Ok(Self { read, write })
    }
}

/// Moves what is there from one end to the other.
fn carry(from: &mut End, to: &mut End, room: &mut [u8], pipe: &Pipe) -> Result<(), Over> {
    if !push(from, to)? {
        return Ok(());
    }
    while from.readable {
        if from.bulk {
            through(from, to, room, pipe)?;
        } else {
            copy(from, to, room)?;
        }
        if !from.waiting.is_empty() {
            return Ok(());
        }
    }
    Ok(())
}

fn copy(from: &mut End, to: &mut End, room: &mut [u8]) -> Result<(), Over> {
    match from.socket.read(room) {
        Ok(0) => {
            from.readable = false;
            from.ended = true;
            let _ = to.socket.shutdown(Shutdown::Write);
        }
        Ok(octets) => {
            from.bulk = octets == room.len();
            from.readable = from.bulk || from.closing;
            from.waiting.extend_from_slice(&room[..octets]);
            push(from, to)?;
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => from.readable = false,
        Err(_) => return Err(Over),
    }
    Ok(())
}

/// Sends what waits; whether the other end took all of it.
fn push(from: &mut End, to: &End) -> Result<bool, Over> {
    while !from.waiting.is_empty() {
        match send(&to.socket, &from.waiting, SendFlags::NOSIGNAL) {
            Ok(taken) => {
                from.waiting.drain(..taken);
            }
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => return Ok(false),
            Err(_) => return Err(Over),
        }
    }
    Ok(true)
}

/// Moves bulk through the pipe. What the other end does not take is copied out of it, so that the
/// pipe is empty for the next connection.
fn through(from: &mut End, to: &End, room: &mut [u8], pipe: &Pipe) -> Result<(), Over> {
    let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    let mut filled = match splice(&from.socket, None, &pipe.write, None, BULK, flags) {
        Ok(0) => {
            from.bulk = false;
            return Ok(());
        }
        Ok(octets) => octets,
        Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
            from.readable = false;
            if std::mem::take(&mut from.held_back) {
                let _ = to.socket.set_nodelay(true);
            }
            return Ok(());
        }
        Err(_) => return Err(Over),
    };
    from.held_back = filled == BULK;
    from.bulk = filled >= SMALL;
    let more = if from.held_back { SpliceFlags::MORE } else { SpliceFlags::empty() };
    while filled > 0 {
        match splice(&pipe.read, None, &to.socket, None, filled, flags | more) {
            Ok(octets) => filled -= octets,
            Err(_) => {
                let octets = rustix::io::read(&pipe.read, &mut *room).map_err(|_| Over)?;
                from.waiting.extend_from_slice(&room[..octets]);
                filled -= octets;
            }
        }
    }
    Ok(())
}

fn ports(pair: &str) -> Option<(u16, u16)> {
    let (front, backend) = pair.split_once(':')?;
    Some((front.parse().ok()?, backend.parse().ok()?))
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
