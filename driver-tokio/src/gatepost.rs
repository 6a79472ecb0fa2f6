//! The service that a program holds: what it is made of, and what can be asked of it.
//!
//! Not here: a session (`session.rs`) and accepting (`accept.rs`).
//! Invariant: what can be known to be missing is said when a [`Gatepost`] is built, not when a
//! client comes.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use gatepost_core::config::{Destination, Host, Listener, Protocol, TlsMode};
use gatepost_core::fleet::Fleet;
use gatepost_core::health::{Change, Outcome, Rules};
use gatepost_core::{ConnectFault, Seed, Target};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::connect::{AnyConnector, Connector, TcpConnector};
use crate::limits::Limits;
use crate::observe::Observer;
use crate::orders::Orders;
use crate::own::Own;
use crate::route::{AnyRouter, Router};
use crate::session::{Accepted, Serving};
use crate::tls::BackendTls;

/// How long sessions may go on once a shutdown was asked for, where nothing else is said.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(30);

/// Hosts whose capabilities are remembered.
const REMEMBERED_MAX: usize = 4096;

/// Serves the clients of one listener. Cloning it is cheap, and all clones are one service: they
/// share limits, memory and orders.
#[derive(Clone)]
pub struct Gatepost {
    pub(crate) inner: Arc<Inner>,
}

/// What hosts announced, by destination, label and protocol.
type Remembered = HashMap<(String, Arc<str>, Protocol), Arc<[u8]>>;

/// What all sessions share.
pub(crate) struct Inner {
    pub(crate) listener: Arc<Listener>,
    /// The same for clients whose TLS is up before they come here.
    pub(crate) decrypted: Arc<Listener>,
    pub(crate) router: Arc<dyn AnyRouter>,
    pub(crate) connector: Arc<dyn AnyConnector>,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) balancer_tls: Option<Arc<ServerConfig>>,
    pub(crate) backend_tls: Option<Arc<dyn BackendTls>>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) orders: Orders,
    /// Where it is served.
    pub(crate) own: Own,
    fleet: Mutex<Fleet>,
    epoch: Instant,
    /// None: nothing is to be remembered.
    remembered: Option<RwLock<Remembered>>,
    seeds: RandomState,
    seeded: AtomicU64,
}

impl Gatepost {
    /// Begins with what there is no default for: whom to serve, and where accounts live.
    pub fn builder(listener: impl Into<Arc<Listener>>, router: impl Router) -> Builder {
        Builder {
            listener: listener.into(),
            router: Arc::new(router),
            connector: Arc::new(TcpConnector::new()),
            tls: None,
            balancer_tls: None,
            backend_tls: None,
            observer: Arc::new(()),
            shutdown_grace: SHUTDOWN_GRACE,
            remembers: true,
            host_down: Rules::default(),
        }
    }

    /// Serves one stream. `accepted` is a [`gatepost_core::Peer`], or an [`Accepted`] that says
    /// more. The future does nothing until it is polled, holds all that the session needs, and may
    /// be spawned; see the crate's documentation for what dropping it means.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use gatepost_tokio::config::{Protocol, TlsMode};
    /// use gatepost_tokio::{Gatepost, Peer, Reason, Request, Routing, listener};
    /// use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let listener = listener(Protocol::Imap, TlsMode::Plain)?;
    /// let nowhere = |_: Request| async { Routing::Unavailable };
    /// let gatepost = Gatepost::builder(listener, nowhere).build()?;
    ///
    /// let (mut client, stream) = tokio::io::duplex(4096);
    /// let peer = Peer {
    ///     client: "192.0.2.7:50123".parse()?,
    ///     local: "198.51.100.1:143".parse()?,
    /// };
    /// let session = tokio::spawn(gatepost.serve(stream, peer));
    ///
    /// client.write_all(b"a LOGOUT\r\n").await?;
    /// let mut heard = String::new();
    /// client.read_to_string(&mut heard).await?;
    /// assert!(heard.starts_with("* OK ") && heard.contains("\r\n* BYE "));
    /// drop(client);
    /// assert_eq!(session.await?.close.reason, Reason::Logout);
    /// # Ok(())
    /// # }
    /// ```
    pub fn serve<S>(&self, stream: S, accepted: impl Into<Accepted>) -> Serving
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Serving::new(Arc::clone(&self.inner), Box::new(stream), accepted.into())
    }

    /// Accepts connections until `shutdown` is ready or [`Gatepost::shutdown`] is called, serves
    /// each in a task of its own, and returns once the last of them is over, which takes no longer
    /// than the grace of [`Builder::shutdown_grace`] and a moment for the goodbyes.
    ///
    /// A shutdown is one of the whole service: every session of this `Gatepost` and its clones is
    /// told. Where accepting fails for want of descriptors or memory it is tried again after a
    /// pause; sessions are not touched by it.
    ///
    /// A connection to a backend that turns out to lead to this very socket is dropped: whatever
    /// the router says, no session goes round in a circle here.
    pub async fn serve_listener(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        crate::accept::run(self, listener, shutdown).await;
    }

    /// Tells every session of this service, and those yet to come, to end: a login in flight may
    /// finish, a client that could only begin something hears goodbye, and who is logged in has
    /// the grace of [`Builder::shutdown_grace`]. Returns at once; a second call changes nothing.
    pub fn shutdown(&self) {
        self.inner.orders.shut_down();
    }

    /// Ends every session that is being served, now; clients that can be told hear it. The service
    /// goes on.
    pub fn kick_all(&self) {
        self.inner.orders.kick_all();
    }
}

impl fmt::Debug for Gatepost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listener = &self.inner.listener.name;
        f.debug_struct("Gatepost").field("listener", listener).finish_non_exhaustive()
    }
}

impl Inner {
    /// A name for a session that was given none.
    pub(crate) fn next_seed(&self) -> Seed {
        // The standard library's hasher keys are random, and no two sessions have one number.
        Seed(self.seeds.hash_one(self.seeded.fetch_add(1, Ordering::Relaxed)))
    }

    /// The host for an attempt.
    pub(crate) fn choose(&self, target: &Target) -> Result<Arc<Host>, ConnectFault> {
        self.fleet().choose(target, self.now())
    }

    /// Takes what an attempt says of its host.
    pub(crate) fn judge(
        &self,
        place: (&Destination, &Host, Protocol),
        outcome: Outcome,
        client: IpAddr,
    ) -> Option<Change> {
        self.fleet().judge(place, outcome, client, self.now())
    }

    fn fleet(&self) -> MutexGuard<'_, Fleet> {
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time of the fleet, which outlives sessions.
    fn now(&self) -> gatepost_core::Instant {
        let millis = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        gatepost_core::Instant::from_millis(millis)
    }

    /// What a host announced to an earlier login.
    pub(crate) fn remembered(
        &self,
        destination: &str,
        host: &Arc<str>,
        protocol: Protocol,
    ) -> Option<Arc<[u8]>> {
        let known = self.remembered.as_ref()?.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&(destination.to_owned(), Arc::clone(host), protocol)).map(Arc::clone)
    }

    pub(crate) fn remember(
        &self,
        destination: &str,
        host: &Arc<str>,
        protocol: Protocol,
        said: Arc<[u8]>,
    ) {
        let Some(remembered) = &self.remembered else { return };
        let mut known = remembered.write().unwrap_or_else(PoisonError::into_inner);
        let key = (destination.to_owned(), Arc::clone(host), protocol);
        if known.len() < REMEMBERED_MAX || known.contains_key(&key) {
            known.insert(key, said);
        }
    }
}

/// Puts a [`Gatepost`] together.
#[must_use]
pub struct Builder {
    listener: Arc<Listener>,
    router: Arc<dyn AnyRouter>,
    connector: Arc<dyn AnyConnector>,
    tls: Option<Arc<ServerConfig>>,
    balancer_tls: Option<Arc<ServerConfig>>,
    backend_tls: Option<Arc<dyn BackendTls>>,
    observer: Arc<dyn Observer>,
    shutdown_grace: Duration,
    remembers: bool,
    host_down: Rules,
}

impl Builder {
    /// How backends are connected to; without it, by [`TcpConnector`].
    pub fn connector(mut self, connector: impl Connector) -> Self {
        self.connector = Arc::new(connector);
        self
    }

    /// The certificate and rules for TLS with clients, implicit or by STARTTLS.
    pub fn tls(mut self, config: Arc<ServerConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// The certificate and rules for TLS with a balancer, under its PROXY header: for a listener
    /// whose `balancers` name one. It should ask for no ALPN.
    pub fn balancer_tls(mut self, config: Arc<ServerConfig>) -> Self {
        self.balancer_tls = Some(config);
        self
    }

    /// The configurations for TLS with backends; without it, a destination with TLS cannot be
    /// logged in to.
    pub fn backend_tls(mut self, provider: impl BackendTls) -> Self {
        self.backend_tls = Some(Arc::new(provider));
        self
    }

    /// Who is told what happens.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// How long sessions may go on after [`Gatepost::shutdown`]; 30 seconds without it. In its last
    /// third they end one by one.
    pub fn shutdown_grace(mut self, grace: Duration) -> Self {
        self.shutdown_grace = grace;
        self
    }

    /// Whether what a destination announces is remembered for its next login, by the destination's
    /// name, which saves a round trip. Without it, yes.
    pub fn remember_capabilities(mut self, remembers: bool) -> Self {
        self.remembers = remembers;
        self
    }

    /// When a host of a destination is taken out of service, and for how long: it is passed over
    /// where another may serve, and where none may, clients hear of an outage at once. Without it,
    /// after 5 failures for 30 seconds; [`Rules::OFF`]: never.
    pub fn host_down(mut self, rules: Rules) -> Self {
        self.host_down = rules;
        self
    }

    /// The service.
    ///
    /// # Errors
    ///
    /// What is missing.
    pub fn build(self) -> Result<Gatepost, Unbuildable> {
        let Self { listener, router, connector, tls, balancer_tls, backend_tls, .. } = self;
        if !listener.protocol.bears_credentials() && listener.bridge.is_none() {
            return Err(Unbuildable::NoBridge);
        }
        if tls.is_none() && listener.tls != TlsMode::Plain {
            return Err(Unbuildable::NoTls);
        }
        let under_header = listener.balancers.as_ref().and_then(|balancers| balancers.tls.as_ref());
        if balancer_tls.is_none() && under_header.is_some() {
            return Err(Unbuildable::NoBalancerTls);
        }
        let decrypted = Listener { tls: TlsMode::Implicit, ..(*listener).clone() };
        let inner = Inner {
            limits: Limits::new(&listener),
            decrypted: Arc::new(decrypted),
            listener,
            router,
            connector,
            tls,
            balancer_tls,
            backend_tls,
            observer: self.observer,
            orders: Orders::new(self.shutdown_grace),
            own: Own::default(),
            fleet: Mutex::new(Fleet::new(self.host_down)),
            epoch: Instant::now(),
            remembered: self.remembers.then(RwLock::default),
            seeds: RandomState::new(),
            seeded: AtomicU64::new(0),
        };
        Ok(Gatepost { inner: Arc::new(inner) })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("listener", &self.listener.name).finish_non_exhaustive()
    }
}

/// Why there can be no such service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unbuildable {
    /// The listener has TLS, and [`Builder::tls`] was not called.
    NoTls,
    /// The listener has TLS under the PROXY header, and [`Builder::balancer_tls`] was not called.
    NoBalancerTls,
    /// The listener's clients are carried without a login, and it does not say where to.
    NoBridge,
}

impl fmt::Display for Unbuildable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTls => f.write_str("the listener has TLS, and there is no ServerConfig for it"),
            Self::NoBalancerTls => f.write_str(
                "the listener has TLS with balancers, and there is no ServerConfig for it",
            ),
            Self::NoBridge => f.write_str("the listener carries its clients, and has no bridge"),
        }
    }
}

impl std::error::Error for Unbuildable {}
