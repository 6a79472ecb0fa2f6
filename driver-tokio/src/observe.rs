//! What an embedder learns of sessions: while they live, and when they end.
//!
//! Not here: a log or metrics; an embedder has its own. Invariant: every session that began is told
//! to have ended, once, whatever becomes of its future.
//! Read next: `session.rs`, which keeps the facts.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gatepost_core::config::{Destination, Host, Listener};
use gatepost_core::health::Change;
use gatepost_core::sasl::Mechanism;
use gatepost_core::{AttemptFault, Close, Peer, Refusal, State, TlsFacts};

/// Is told what happens in sessions, for an embedder's own log and metrics.
///
/// Every method has a default that does nothing. They are called from within the sessions, so
/// they should be quick and must not block.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use gatepost_tokio::{Ended, Observer, SessionFacts};
///
/// #[derive(Default)]
/// struct Counters {
///     logins: AtomicU64,
///     octets: AtomicU64,
/// }
///
/// impl Observer for Counters {
///     fn login_accepted(&self, _: &SessionFacts) {
///         self.logins.fetch_add(1, Ordering::Relaxed);
///     }
///
///     fn ended(&self, ended: &Ended) {
///         let facts = &ended.session;
///         self.octets.fetch_add(facts.from_client + facts.from_backend, Ordering::Relaxed);
///         println!("{} {} after {:?}", facts.id, ended.close, ended.close.after);
///     }
/// }
/// ```
pub trait Observer: Send + Sync + 'static {
    /// A backend accepted a login; [`SessionFacts::user`] and its neighbours say which and where.
    fn login_accepted(&self, session: &SessionFacts) {
        let _ = session;
    }

    /// A login was refused; the client heard this.
    fn login_refused(&self, session: &SessionFacts, refusal: Refusal) {
        let _ = (session, refusal);
    }

    /// One attempt at a backend failed; there may be another one.
    fn attempt_failed(
        &self,
        session: &SessionFacts,
        destination: &Arc<Destination>,
        fault: AttemptFault,
        state: State,
    ) {
        let _ = (session, destination, fault, state);
    }

    /// A destination is to be told who the client is, and does not offer the means.
    fn forwarding_not_offered(&self, session: &SessionFacts, destination: &Arc<Destination>) {
        let _ = (session, destination);
    }

    /// A backend referred a login to another host; `followed`: it goes there.
    fn referred(
        &self,
        session: &SessionFacts,
        destination: &Arc<Destination>,
        to: &Arc<Host>,
        followed: bool,
    ) {
        let _ = (session, destination, to, followed);
    }

    /// A host is out of service, or in it again.
    fn host_changed(&self, destination: &Arc<Destination>, host: &Arc<Host>, change: Change) {
        let _ = (destination, host, change);
    }

    /// A session is over: its goodbye may still be on its way. Where the session's future was
    /// dropped, the end is by the operator, for [`gatepost_core::Reason::Kicked`].
    fn ended(&self, ended: &Ended) {
        let _ = ended;
    }
}

/// Nobody.
impl Observer for () {}

/// Names a session in logs and toward backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id(pub(crate) u64);

impl fmt::Display for Id {
    /// As backends see it: 16 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What is known of a session.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SessionFacts {
    /// Its name.
    pub id: Id,
    /// Where the client connected.
    pub listener: Arc<Listener>,
    /// Both ends of the connection that was accepted.
    pub peer: Peer,
    /// The client's address: where a balancer's PROXY header or a trusted proxy was believed, not
    /// the peer's.
    pub client: SocketAddr,
    /// What the session is called there, as it was told: escape it where it is printed.
    pub via_session: Option<Box<[u8]>>,
    /// The user name of the last login, as the client sent it: escape it where it is printed.
    /// Empty before that, and where a mechanism names nobody.
    pub user: Vec<u8>,
    /// The mechanism of the last login.
    pub mechanism: Option<Mechanism>,
    /// What TLS with the client agreed on; none: plaintext.
    pub client_tls: Option<TlsFacts>,
    /// What TLS with the backend agreed on; none: plaintext, or no backend.
    pub backend_tls: Option<TlsFacts>,
    /// The last destination that was to be connected to.
    pub destination: Option<Arc<Destination>>,
    /// The host that was picked of it; none: none may serve.
    pub host: Option<Arc<Host>>,
    /// The backend's address on the last connection.
    pub backend: Option<SocketAddr>,
    /// How long it took until a backend accepted a login; none: nobody did.
    pub logged_in_after: Option<Duration>,
    /// Octets that passed from the client after the login.
    pub from_client: u64,
    /// Octets that passed from the backend after the login.
    pub from_backend: u64,
}

/// A session that is over.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Ended {
    /// Who ended it, why, where and after how long.
    pub close: Close,
    /// What it was.
    pub session: SessionFacts,
}
