//! The contract between core and driver.
//!
//! Bytes stay with their owner until they are eaten. The driver owns what it received (the
//! [`Inbox`]); the session eats whole units from it (a line, a literal) and appends what is to be
//! sent to the [`Outbox`], with at most one [`Step`]. A driver's protocol part is this loop:
//!
//! ```text
//! loop {
//!     session.handle(event, now, &mut inbox, &mut outbox);
//!     notes(outbox.notes.drain(..));
//!     if take(&mut outbox.hang_up) { backend.drop(); inbox.backend.clear(); }
//!     client.write(&mut outbox.client); backend.write(&mut outbox.backend);
//!     match outbox.step.take() {
//!         Some((_, Step::Splice(relay))) => return pump(relay, inbox),
//!         Some((_, Step::Close(close)))  => return finish(close),
//!         Some((ticket, step))           => begin(ticket, step),  // answered later
//!         None => {}
//!     }
//!     let again = take(&mut outbox.again) && flushed();
//!     event = if again { Event::Bytes } else { wait(poll_timeout()) };
//! }
//! ```
//!
//! The rules:
//!
//! 1. After every fact call [`crate::Session::handle`] once; hang up, write, then take the step.
//!    Its answer, with its ticket, is a later fact.
//! 2. At most one step is outstanding; a new one cancels it. An answer whose ticket is not the
//!    outstanding one is ignored, and nothing of a leg that was hung up is delivered.
//! 3. Only whole units are eaten, and limits are judged by position, so the outcome is the same
//!    however the bytes were cut. Eating stops at [`crate::line::OUTBOX_FULL`]
//!    ([`Outbox::again`]), so that pipelined commands cannot amplify. Received bytes move no
//!    deadline.
//! 4. [`Step::StartTls`]: from here on that leg's inbox is TLS input, leftovers included. What
//!    somebody slipped in behind STARTTLS therefore fails in the handshake, in every chunking
//!    alike, and is never run as a command. Nothing learned before TLS survives it but, on POP3,
//!    the greeting's word that XCLIENT may be used, where the certificate was verified. On the
//!    client leg it may be asked for twice: first toward a balancer ([`TlsRole::Balancer`]), whose
//!    PROXY header is then eaten, and on top of that toward the client. The octets behind the
//!    header are the inner layer's first input, like any other leftover.
//! 5. [`Step::Splice`] and [`Step::Close`] are the last thing a session says, and it is dropped.
//!    The inboxes are the relay's first data, each toward the other side, after the outbox, the
//!    backend's first; an end of stream already seen travels along. Where there is a guard, all
//!    goes by [`Relay::passage`]. `Close`: flush, close_notify, FIN, then read and
//!    discard up to a named limit, so that a reset does not destroy the goodbye.
//! 6. A reply from a backend counts only as the answer to a command that is outstanding. No
//!    hand-off while a reply to one of our own commands is still due.
//! 7. An ending is data ([`Close`]), and network input never panics.
//! 8. The core's session picks no host and knows no health: [`Target`] leaves host and address to
//!    the driver (with the core's [`crate::fleet::Fleet`]). Before it begins to connect, the driver
//!    says which host it will be ([`Answer::Heading`], after which the step is still outstanding),
//!    so that an attempt whose time runs out while connecting has a host to blame;
//!    [`BackendFacts`] says what came of it, and each heading ends in one [`Note::HostJudged`].
//! 9. Where a listener carries its clients from their first byte
//!    ([`crate::config::Listener::bridge`]), nothing is looked up or eaten, and [`Step::Splice`]
//!    follows the connection and its TLS.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::close::{AttemptFault, Close, ConnectFault, LegFault, Refusal, State, TlsFault};
use crate::config::{Destination, Host, Protocol};
use crate::health::Outcome;
use crate::origin::Origin;
use crate::relay::Relay;
use crate::sasl::{Login, Mechanism};
use crate::verdict::{Denial, Referral};

/// One of the two connections of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Leg {
    /// Toward the mail client.
    Client,
    /// Toward the mail server.
    Backend,
}

impl Leg {
    /// The opposite side.
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Backend,
            Self::Backend => Self::Client,
        }
    }
}

impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Backend => "backend",
        })
    }
}

/// What was received and not yet eaten.
#[derive(Debug, Default)]
pub struct Inbox {
    /// From the client.
    pub client: Vec<u8>,
    /// From the backend.
    pub backend: Vec<u8>,
}

/// What a session wants done after one fact.
#[derive(Debug, Default)]
pub struct Outbox {
    /// To be sent to the client, in order.
    pub client: Vec<u8>,
    /// To be sent to the backend, in order.
    pub backend: Vec<u8>,
    /// Drop the backend leg first, and whatever it still says.
    pub hang_up: bool,
    /// At most one thing to be done and answered.
    pub step: Option<(Ticket, Step)>,
    /// More can be eaten once this is flushed: call again with [`Event::Bytes`].
    pub again: bool,
    /// What happened, for log, metrics, health and limits.
    pub notes: Vec<Note>,
}

/// Names one step, so that a late answer to an earlier one is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(pub(crate) u32);

/// A fact for the session.
#[derive(Debug)]
pub enum Event {
    /// Something was added to the inbox, or the outbox was flushed after [`Outbox::again`].
    Bytes,
    /// That side has sent its last byte; what it sent before lies in the inbox.
    Eof(Leg),
    /// That side is gone.
    Lost(Leg, LegFault),
    /// The result of a step.
    Answer(Ticket, Answer),
    /// The instant of [`crate::Session::poll_timeout`] has come.
    Timeout,
    /// The program shuts down: a login in flight may finish, nothing new begins. Told once more,
    /// the time for that is over, and the session ends.
    Drain,
    /// An operator ends this session now.
    Kicked,
}

/// Something only the driver can do.
#[derive(Debug)]
pub enum Step {
    /// Check limits for the client's address. Answer: [`Answer::Admitted`].
    Admit(ClientFacts),
    /// Begin TLS. Answer: [`Answer::TlsUp`] or [`Answer::TlsFailed`].
    StartTls(Leg, TlsRole),
    /// Find the account's destination. Answer: [`Answer::Routed`].
    Lookup(Query),
    /// Connect to a backend. Answer: [`Answer::Connected`] or [`Answer::ConnectFailed`].
    Connect(Target),
    /// From here on bytes pass; the session is over.
    Splice(Relay),
    /// Flush and close; the session is over.
    Close(Close),
}

/// The result of a step.
#[derive(Debug)]
pub enum Answer {
    /// To [`Step::Admit`].
    Admitted(Result<(), Refusal>),
    /// To [`Step::StartTls`].
    TlsUp(TlsFacts),
    /// To [`Step::StartTls`].
    TlsFailed(TlsFault),
    /// To [`Step::Lookup`].
    Routed(Routing),
    /// To [`Step::Connect`], before its answer: where to; the step stays outstanding.
    Heading(Arc<Host>),
    /// To [`Step::Connect`].
    Connected(BackendFacts),
    /// To [`Step::Connect`].
    ConnectFailed(ConnectFault),
}

/// The two ends of an accepted connection, as the socket knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The other side.
    pub client: SocketAddr,
    /// Our side.
    pub local: SocketAddr,
}

/// The driver's randomness for one session.
#[derive(Debug, Clone, Copy)]
pub struct Seed(pub u64);

/// Names a session in logs and toward backends: 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(pub(crate) u64);

impl From<Seed> for SessionId {
    /// The name of the session that was accepted with this seed.
    fn from(seed: Seed) -> Self {
        Self(seed.0)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Who asks to be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientFacts {
    /// The client's address: the one that limits and logs count.
    pub client: SocketAddr,
    /// The address that the client spoke to.
    pub local: SocketAddr,
}

/// Which side of a handshake to play.
#[derive(Debug, Clone)]
pub enum TlsRole {
    /// With a certificate of the listener.
    Server,
    /// Toward a balancer, under its PROXY header: with the certificate that the listener names for
    /// that.
    Balancer,
    /// As the destination's configuration says, with that host of it.
    Client(Arc<Destination>, Arc<Host>),
}

/// What a handshake established.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// For example `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite's name, for example `TLS_AES_256_GCM_SHA384`.
    pub cipher: &'static str,
    /// The name that the client asked for (SNI).
    pub server_name: Option<String>,
    /// The application protocol that both chose (ALPN), if they did.
    pub alpn: Option<Box<[u8]>>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
}

/// The question where an account lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The account's name, normalised, or nothing where the credentials name nobody.
    pub identifier: Option<Vec<u8>>,
    /// What the client gave. It is claimed, not proved; a store that judges credentials reads it.
    pub login: Arc<Login>,
    /// What the client speaks.
    pub protocol: Protocol,
    /// Where it comes from.
    pub client: SocketAddr,
    /// The address that it spoke to.
    pub local: SocketAddr,
    /// The two ends as a balancer's PROXY header names them, where one did.
    pub header: Option<Peer>,
    /// What TLS with the client agreed on; none: it speaks plaintext.
    pub tls: Option<TlsFacts>,
    /// The session that asks.
    pub session: SessionId,
    /// Logins of this connection, this one counted.
    pub attempt: u32,
}

/// The answer to a [`Query`].
#[derive(Debug, Clone)]
pub enum Routing {
    /// There.
    Found(Route),
    /// The client is to go there by itself.
    Referred(Referral),
    /// No: the login ends here.
    Refused(Denial),
    /// It is not known yet, and is to be asked for again after so long, at least
    /// [`DEFERRAL_MIN`](crate::verdict::DEFERRAL_MIN). The account is temporarily unavailable
    /// where that would be more than [`DEFERRALS_MAX`](crate::verdict::DEFERRALS_MAX) times, or
    /// later than [`HOLD_MAX`](crate::verdict::HOLD_MAX) after the first answer of the kind.
    Later(Duration),
    /// Nobody could be asked; this is not "not found".
    Unavailable,
}

/// Where an account lives, and what is particular about it.
#[derive(Debug, Clone)]
pub struct Route {
    /// The backend.
    pub destination: Arc<Destination>,
    /// What to log in with there, in place of what the client gave: a name and a password.
    /// Anything else is refused as a fault of the configuration.
    pub login: Option<Arc<Login>>,
    /// What the account's owner is to read when the login has succeeded, where the protocol can
    /// say it.
    pub alert: Option<String>,
    /// The backend's address, in place of the destination's host and port. Everything else is as
    /// the destination says.
    pub at: Option<SocketAddr>,
    /// What decides on the host where the destination has several; none: the identifier.
    pub key: Option<Arc<[u8]>>,
}

impl Route {
    /// The way to a destination, with nothing particular about it.
    pub const fn to(destination: Arc<Destination>) -> Self {
        Self { destination, login: None, alert: None, at: None, key: None }
    }
}

/// What to connect to.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where; the driver picks one of its hosts, resolves it and picks an address.
    pub destination: Arc<Destination>,
    /// Which of its ports.
    pub protocol: Protocol,
    /// The address and port, where the route gave one; nothing is resolved or picked then.
    pub at: Option<SocketAddr>,
    /// What decides on the host where there are several: the same key, the same host. Empty where
    /// the credentials name nobody.
    pub key: Arc<[u8]>,
    /// How many attempts of this login failed before this one.
    pub tried: u32,
    /// There and nowhere else, where a backend referred the login.
    pub referred: Option<Arc<Host>>,
    /// Hosts where an attempt of this login failed: there only if there is no other.
    pub avoid: Vec<Arc<Host>>,
}

/// What was connected to.
#[derive(Debug, Clone)]
pub struct BackendFacts {
    /// The backend's address.
    pub address: SocketAddr,
    /// Our address on that connection.
    pub local: SocketAddr,
    /// The capabilities that this host announced last in the state in which a login
    /// begins there, as told by [`Note::Learned`].
    pub remembered: Option<Arc<[u8]>>,
}

/// Something that happened and is not an ending.
#[derive(Debug, Clone)]
pub enum Note {
    /// One attempt at a backend failed, there.
    AttemptFailed {
        /// Which destination.
        destination: Arc<Destination>,
        /// Which of its hosts; none: there was none to go to.
        host: Option<Arc<Host>>,
        /// What went wrong.
        fault: AttemptFault,
        /// Where in the handshake.
        state: State,
    },
    /// What an attempt says of its host, once for each [`Answer::Heading`]; for
    /// [`crate::fleet::Fleet::judge`].
    HostJudged {
        /// Which destination.
        destination: Arc<Destination>,
        /// Which of its hosts.
        host: Arc<Host>,
        /// For which client.
        client: IpAddr,
        /// What it says.
        outcome: Outcome,
    },
    /// A backend referred a login to another host.
    Referred {
        /// Which destination.
        destination: Arc<Destination>,
        /// Who referred.
        from: Arc<Host>,
        /// Where to.
        to: Arc<Host>,
        /// Whether the login goes there.
        followed: bool,
    },
    /// A login was refused, by the backend or before it.
    LoginRefused {
        /// Who; escaped by whoever prints it.
        user: Vec<u8>,
        /// How.
        mechanism: Mechanism,
        /// What the client heard.
        refusal: Refusal,
    },
    /// A backend accepted a login.
    LoginAccepted {
        /// Who; escaped by whoever prints it.
        user: Vec<u8>,
        /// How.
        mechanism: Mechanism,
        /// Where.
        destination: Arc<Destination>,
    },
    /// Who the client is, as is believed from here on, whatever was before: for the log. What the
    /// connection was admitted as stays.
    Origin(Box<Origin>),
    /// The destination is to be told who the client is, and does not offer the means.
    ForwardingNotOffered(Arc<Destination>),
    /// The capabilities that a host announced when the login began; worth remembering for
    /// [`BackendFacts::remembered`].
    Learned {
        /// Which destination.
        destination: Arc<Destination>,
        /// Which of its hosts.
        host: Arc<Host>,
        /// The list, as the backend wrote it.
        capabilities: Arc<[u8]>,
    },
}
