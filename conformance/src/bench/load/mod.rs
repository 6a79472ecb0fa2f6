//! The load generator: clients without number on one thread.
//!
//! It works in a closed loop: a client says its next word when the last one was answered, and as
//! many clients as a measurement wants are at it side by side. So a system under load is always
//! kept busy, and latencies are those of a busy system. Not here: what is measured and how often,
//! see `../measure.rs`. Read next: `words.rs`, `session.rs`.

pub(super) mod session;
pub(super) mod words;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection};
use slab::Slab;

use self::session::Session;
use self::words::{Exchange, login, logout};
use super::case::Protocol;
use super::stream::{ROOM, Stream};

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 1024;
/// How long nothing may happen until a measurement is given up.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Where clients go, and as whom.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) protocol: Protocol,
    pub(super) port: u16,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) user: &'static str,
}

/// What a piece of work was like for the clients.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// How long each unit took, in order.
    took: Vec<Duration>,
    /// Handshakes that resumed a session.
    pub(super) resumed: usize,
    /// From first to last.
    pub(super) wall: Duration,
}

impl Work {
    /// The time within which so many of a thousand units were done.
    pub(super) fn quantile(&self, of_thousand: usize) -> Duration {
        let last = self.took.len().saturating_sub(1);
        self.took.get((self.took.len() * of_thousand / 1000).min(last)).copied().unwrap_or_default()
    }

    pub(super) fn units(&self) -> usize {
        self.took.len()
    }
}

/// Clients that are connected, and the loop that serves them.
pub(super) struct Crowd {
    poll: Poll,
    sessions: Slab<Session>,
    room: Box<[u8]>,
}

impl Crowd {
    pub(super) fn new() -> io::Result<Self> {
        let room = vec![0; ROOM].into_boxed_slice();
        Ok(Self { poll: Poll::new()?, sessions: Slab::new(), room })
    }

    /// Lets `count` clients log in and stay, `parallel` at a time. Gives their keys.
    pub(super) fn open(
        &mut self,
        target: &Target,
        count: usize,
        parallel: usize,
    ) -> io::Result<Vec<usize>> {
        let mut keys = Vec::with_capacity(count);
        let mut begun = 0;
        while begun < parallel.min(count) {
            self.begin(target, login(target.protocol, target.user))?;
            begun += 1;
        }
        self.run(|crowd, key| {
            keys.push(key);
            if begun < count {
                begun += 1;
                crowd.begin(target, login(target.protocol, target.user))?;
            }
            Ok(ended(keys.len() == count))
        })?;
        Ok(keys)
    }

    /// `count` logins, each with its connection and its logout, `parallel` at a time.
    pub(super) fn log_in_and_out(
        &mut self,
        target: &Target,
        count: usize,
        parallel: usize,
    ) -> io::Result<Work> {
        let mut exchanges = login(target.protocol, target.user);
        exchanges.push(logout(target.protocol));
        let mut work = Work::default();
        let began = Instant::now();
        let mut begun = 0;
        while begun < parallel.min(count) {
            self.begin(target, exchanges.clone())?;
            begun += 1;
        }
        self.run(|crowd, key| {
            let session = crowd.sessions.remove(key);
            work.resumed += usize::from(session.resumed() == Some(true));
            work.took.push(session.took);
            drop(session);
            if begun < count {
                begun += 1;
                crowd.begin(target, exchanges.clone())?;
            }
            Ok(ended(work.took.len() == count))
        })?;
        work.finish(began);
        Ok(work)
    }

    /// `count` times the same exchange, one at a time in each of these sessions.
    pub(super) fn exchange(
        &mut self,
        keys: &[usize],
        exchange: &Exchange,
        count: usize,
    ) -> io::Result<Work> {
        let mut work = Work::default();
        let began = Instant::now();
        let mut begun = 0;
        for key in keys.iter().take(count) {
            begun += 1;
            self.sessions[*key].say(exchange.clone())?;
        }
        self.run(|crowd, key| {
            let session = &mut crowd.sessions[key];
            work.took.push(session.took);
            if begun < count {
                begun += 1;
                session.say(exchange.clone())?;
            }
            Ok(ended(work.took.len() == count))
        })?;
        work.finish(began);
        Ok(work)
    }

    /// Says something in each of these sessions and does not read the answer.
    pub(super) fn shout(&mut self, keys: &[usize], exchange: &Exchange) -> io::Result<()> {
        keys.iter().try_for_each(|key| self.sessions[*key].shout(exchange))
    }

    fn begin(&mut self, target: &Target, exchanges: Vec<Exchange>) -> io::Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, target.port));
        let mut socket = TcpStream::connect(address)?;
        let entry = self.sessions.vacant_entry();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut socket, Token(entry.key()), interest)?;
        let tls = target.tls.clone().map(connection).transpose()?;
        entry.insert(Session::new(Stream::new(socket, tls)?, target.protocol, exchanges));
        Ok(())
    }

    /// Serves all sessions; `finished` hears of each whose conversation has come to its end, and
    /// may let it say more, or put another in its place.
    fn run(
        &mut self,
        mut finished: impl FnMut(&mut Self, usize) -> io::Result<ControlFlow<()>>,
    ) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            match self.poll.poll(&mut events, Some(SILENCE_MAX)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                outcome => outcome?,
            }
            if events.is_empty() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "nothing happens any more"));
            }
            for event in &events {
                let Token(key) = event.token();
                let Some(session) = self.sessions.get_mut(key) else { continue };
                if session.advance(&mut self.room)? && finished(self, key)?.is_break() {
                    return Ok(());
                }
            }
        }
    }
}

impl Work {
    fn finish(&mut self, began: Instant) {
        self.wall = began.elapsed();
        self.took.sort_unstable();
    }
}

fn connection(config: Arc<ClientConfig>) -> io::Result<Connection> {
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    ClientConnection::new(config, name).map(Connection::from).map_err(io::Error::other)
}

const fn ended(all: bool) -> ControlFlow<()> {
    if all { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}
