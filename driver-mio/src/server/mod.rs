//! The server as a whole: it binds, starts the workers, and ends them.
//!
//! Everything is bound before the first worker starts, and a bind that fails is an error: nobody
//! runs on with half of what was configured. What all workers share is in [`Shared`]; they touch
//! it when a session begins or logs in, never while bytes pass.

pub(crate) mod limits;
pub(crate) mod own;
mod plans;
pub(crate) mod site;
mod told;

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use gatepost_core::config::{Destination, Host, Listener, LogFormat, Protocol};
use gatepost_core::fleet::Fleet;
use gatepost_core::health::Outcome;
use gatepost_core::{ConnectFault, Instant, Seed, SourceTurns, Target};
use mio::{Poll, Waker};

use self::limits::Limits;
use self::own::Own;
use self::site::Site;
use self::told::Told;
use crate::control::Control;
use crate::listen;
use crate::log_line;
use crate::probes::Probers;
use crate::rig::Rig;
use crate::worker::accept::Acceptor;
use crate::worker::mailbox::{Mailbox, Order};
use crate::worker::{WAKE, Worker};

/// A server that runs. Dropping it stops it at once; see [`Remote::drain`] for the polite end.
pub struct Server {
    addresses: Addresses,
    remote: Remote,
    workers: Vec<JoinHandle<()>>,
    _probers: Probers,
    // Answers workers until they are gone.
    _control: Control,
}

/// Orders for a running server, from any thread.
#[derive(Clone, Default)]
pub struct Remote {
    mailboxes: Vec<Arc<Mailbox>>,
}

/// Why a server did not start.
#[derive(Debug)]
pub enum StartFault {
    /// A listener's address cannot be bound.
    Bind {
        /// The listener.
        listener: String,
        /// The address.
        address: SocketAddr,
        /// The operating system's reason.
        error: io::Error,
    },
    /// The machinery of threads and polls could not be set up.
    Setup(io::Error),
}

impl fmt::Display for StartFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { listener, address, error } => {
                write!(f, "listener.{listener}: cannot listen on {address}: {error}")
            }
            Self::Setup(error) => write!(f, "cannot start: {error}"),
        }
    }
}

impl std::error::Error for StartFault {}

/// What sessions hold beside themselves, for those who doubt that idle costs next to nothing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Connections of any stage.
    pub connections: usize,
    /// Those that are logged in.
    pub relays: usize,
    /// Octets of all buffers that belong to connections.
    pub buffer_octets: usize,
    /// Pipes in use.
    pub pipes: usize,
}

/// What hosts announced last, by destination, label and protocol.
type Remembered = HashMap<(String, Arc<str>, Protocol), Arc<[u8]>>;

/// Hosts whose capabilities are remembered: referrals may name any number of them.
const REMEMBERED_MAX: usize = 4096;

/// What all workers share.
pub(crate) struct Shared {
    epoch: std::time::Instant,
    pub(crate) site: Arc<Site>,
    told: Told,
    limits: Vec<Arc<Limits>>,
    pub(crate) rig: Rig,
    pub(crate) control: Control,
    /// Touched where a login begins and where it ends, never while bytes pass.
    fleet: Mutex<Fleet>,
    remembered: RwLock<Remembered>,
    warned: RwLock<Vec<String>>,
    random: RandomState,
    sessions: AtomicU64,
    pub(crate) own: Own,
    sources: Mutex<SourceTurns>,
}

impl Server {
    /// Binds every listener and begins to serve.
    pub fn start(site: Site, rig: Rig) -> Result<Self, StartFault> {
        let workers = match site.server.threads {
            0 => thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let (addresses, doors) = bind(&site, workers)?;
        let control = Control::start().map_err(StartFault::Setup)?;
        let shared = Arc::new(Shared::new(site, rig, control.clone(), &addresses));
        let probers = Probers::start(&shared).map_err(StartFault::Setup)?;
        let mut server = Self {
            addresses,
            _probers: probers,
            remote: Remote::default(),
            workers: Vec::with_capacity(workers),
            _control: control,
        };
        for (index, doors) in doors.into_iter().enumerate() {
            server.start_worker(index, doors, &shared).map_err(StartFault::Setup)?;
        }
        for (listener, address) in &server.addresses {
            log::info!("listening listener={listener} address={address}");
        }
        Ok(server)
    }

    fn start_worker(&mut self, index: usize, doors: Doors, shared: &Arc<Shared>) -> io::Result<()> {
        let poll = Poll::new()?;
        let mailbox = Arc::new(Mailbox::new(Waker::new(poll.registry(), WAKE)?));
        let acceptor = Acceptor::new(doors, poll.registry())?;
        let worker = Worker::new(poll, Arc::clone(&mailbox), Arc::clone(shared), acceptor);
        let name = format!("worker-{index}");
        self.workers.push(thread::Builder::new().name(name).spawn(move || worker.run())?);
        self.remote.mailboxes.push(mailbox);
        Ok(())
    }

    /// Where a listener listens; port 0 of its configuration is the real one here.
    pub fn addresses<'a>(&'a self, listener: &'a str) -> impl Iterator<Item = SocketAddr> + 'a {
        let addresses = self.addresses.iter();
        addresses.filter(move |(name, _)| name == listener).map(|(_, address)| *address)
    }

    /// A way to tell it what to do.
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// Waits until every worker has ended.
    pub fn join(mut self) {
        self.join_workers();
    }

    fn join_workers(&mut self) {
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                log::error!("a worker ended by a fault in this program");
            }
        }
    }
}

impl Remote {
    /// Accepts nobody any more, lets logins in flight finish, and gives sessions the configured
    /// grace. [`Server::join`] returns when all are gone.
    pub fn drain(&self) {
        self.order(|| Order::Drain);
    }

    /// Ends at once; what is open is closed.
    pub fn stop(&self) {
        self.order(|| Order::Stop);
    }

    /// Ends every session, as an operator would; the server goes on.
    pub fn kick_all(&self) {
        self.order(|| Order::Kick(None));
    }

    /// What all sessions hold now.
    pub fn held(&self) -> Held {
        let (reply, reports) = channel();
        self.order(|| Order::Report(reply.clone()));
        drop(reply);
        reports.iter().fold(Held::default(), |sum, held| Held {
            connections: sum.connections + held.connections,
            relays: sum.relays + held.relays,
            buffer_octets: sum.buffer_octets + held.buffer_octets,
            pipes: sum.pipes + held.pipes,
        })
    }

    fn order(&self, order: impl Fn() -> Order) {
        for mailbox in &self.mailboxes {
            mailbox.post(order());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.remote.stop();
        self.join_workers();
    }
}

/// The sockets of one worker, each with the position of its listener.
type Doors = Vec<(usize, std::net::TcpListener)>;

/// Listeners by name, and where they listen.
type Addresses = Vec<(String, SocketAddr)>;

fn bind(site: &Site, workers: usize) -> Result<(Addresses, Vec<Doors>), StartFault> {
    let mut addresses = Vec::new();
    let mut doors: Vec<Doors> = (0..workers).map(|_| Vec::new()).collect();
    for (index, address) in site.binds() {
        let name = &site.listeners[index].listener.name;
        let bound = listen::bind(address, workers).map_err(|error| StartFault::Bind {
            listener: name.clone(),
            address,
            error,
        })?;
        addresses.push((name.clone(), bound.address));
        for (doors, socket) in doors.iter_mut().zip(bound.sockets) {
            doors.push((index, socket));
        }
    }
    Ok((addresses, doors))
}

impl Shared {
    fn new(site: Site, rig: Rig, control: Control, addresses: &Addresses) -> Self {
        let listeners: Vec<_> =
            site.listeners.iter().map(|served| Arc::clone(&served.listener)).collect();
        Self {
            epoch: std::time::Instant::now(),
            limits: listeners.iter().map(|listener| Limits::new(listener)).collect(),
            told: Told::new(listeners),
            fleet: Mutex::new(Fleet::new(site.server.host_down)),
            site: Arc::new(site),
            rig,
            control,
            remembered: RwLock::default(),
            warned: RwLock::default(),
            random: RandomState::new(),
            sessions: AtomicU64::new(0),
            own: Own::new(addresses.clone()),
            sources: Mutex::default(),
        }
    }

    /// Time since the server began.
    pub(crate) fn now(&self) -> Instant {
        let millis = self.epoch.elapsed().as_millis();
        Instant::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    /// A name for a new session: not to be guessed from others, and not to be repeated soon.
    pub(crate) fn seed(&self) -> Seed {
        self.rig.seed.unwrap_or_else(|| {
            Seed(self.random.hash_one(self.sessions.fetch_add(1, Ordering::Relaxed)))
        })
    }

    /// From where to connect to one of a destination's addresses; none: the system's choice.
    pub(crate) fn source(
        &self,
        destination: &Destination,
        to: IpAddr,
    ) -> Result<Option<IpAddr>, ConnectFault> {
        if destination.source_ips.is_empty() {
            return Ok(None);
        }
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).next(destination, to)
    }

    pub(crate) fn limits(&self, listener_index: usize) -> &Arc<Limits> {
        &self.limits[listener_index]
    }

    pub(crate) fn grace(&self) -> Duration {
        self.site.server.shutdown_grace
    }

    pub(crate) fn format(&self) -> LogFormat {
        self.site.server.log_format
    }

    /// The host for an attempt.
    pub(crate) fn choose(&self, target: &Target, now: Instant) -> Result<Arc<Host>, ConnectFault> {
        self.fleet().choose(target, now)
    }

    /// Takes what an attempt says of its host.
    pub(crate) fn judge(
        &self,
        place: (&Destination, &Host, Protocol),
        outcome: Outcome,
        client: IpAddr,
        now: Instant,
    ) {
        let change = self.fleet().judge(place, outcome, client, now);
        if let Some(change) = change {
            log_line::host_changed(place, change, self.format());
        }
    }

    fn fleet(&self) -> MutexGuard<'_, Fleet> {
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a probe says of a host.
    pub(crate) fn probed(&self, place: (&Destination, &Host, Protocol), works: bool) {
        let change = self.fleet().probed(place, works);
        if let Some(change) = change {
            log_line::host_changed(place, change, self.format());
        }
    }

    /// Takes what a probe found that a host can do.
    pub(crate) fn surveyed(
        &self,
        destination: &Destination,
        host: &Arc<str>,
        protocol: Protocol,
        capabilities: Vec<String>,
    ) {
        let default = self.site.default_destination();
        if destination.name == default.name {
            self.told.learn(default, host, protocol, capabilities);
        }
    }

    /// The listener of that place, with what its clients are told now.
    pub(crate) fn listener(&self, index: usize) -> Arc<Listener> {
        self.told.listener(index)
    }

    /// The capabilities that a host announced last.
    pub(crate) fn remembered(
        &self,
        destination: &str,
        host: &Arc<str>,
        protocol: Protocol,
    ) -> Option<Arc<[u8]>> {
        if let Some(remembered) = &self.rig.remembered {
            return Some(Arc::clone(remembered));
        }
        self.remembered
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&(destination.to_owned(), Arc::clone(host), protocol))
            .map(Arc::clone)
    }

    pub(crate) fn remember(
        &self,
        destination: &str,
        host: &Arc<str>,
        protocol: Protocol,
        capabilities: Arc<[u8]>,
    ) {
        if self.rig.forgets || self.rig.remembered.is_some() {
            return;
        }
        let key = (destination.to_owned(), Arc::clone(host), protocol);
        let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() < REMEMBERED_MAX || remembered.contains_key(&key) {
            remembered.insert(key, capabilities);
        }
    }

    /// Whether this is the first warning about a destination.
    pub(crate) fn warns_first(&self, destination: &str) -> bool {
        let known = |warned: &[String]| warned.iter().any(|name| name == destination);
        if known(&self.warned.read().unwrap_or_else(PoisonError::into_inner)) {
            return false;
        }
        let mut warned = self.warned.write().unwrap_or_else(PoisonError::into_inner);
        let first = !known(&warned);
        if first {
            warned.push(destination.to_owned());
        }
        first
    }
}
