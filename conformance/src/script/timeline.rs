//! What a script consists of, once it is read.
//!
//! Inputs and the proxy's lines alternate in [`Block`]s. [`Emission`] is the one form in which
//! the proxy's lines are kept, whether a person wrote them or a run produced them, so that both
//! can be compared and printed alike.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gatepost_core::config::{Destination, Listener};
use gatepost_core::health::Rules;
use gatepost_core::sasl::Login;
use gatepost_core::{
    ConnectFault, Denial, Leg, LegFault, Peer, Referral, Refusal, Route, Routing, TlsFacts,
    TlsFault,
};

use super::text::printed;

/// A script that was read.
#[derive(Debug)]
pub(super) struct Script {
    /// Where it lies.
    pub(super) path: PathBuf,
    /// Its lines, for rewriting.
    pub(super) lines: Vec<String>,
    pub(super) listener: Arc<Listener>,
    pub(super) routes: Routes,
    /// When a host is taken out of service.
    pub(super) rules: Rules,
    pub(super) skips: Vec<Skip>,
    /// At least one; the first input of the first is [`World::Client`].
    pub(super) blocks: Vec<Block>,
}

/// Where accounts live.
#[derive(Debug)]
pub(super) struct Routes {
    pub(super) named: Vec<(Vec<u8>, Arc<Destination>)>,
    pub(super) default: Arc<Destination>,
}

impl Routes {
    /// The route of an identifier, or everybody else's.
    pub(super) fn find(&self, identifier: Option<&[u8]>) -> &Arc<Destination> {
        let named = self.named.iter().find(|(name, _)| Some(name.as_slice()) == identifier);
        named.map_or(&self.default, |(_, destination)| destination)
    }
}

/// A place where a script is not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Skip {
    pub(super) place: Place,
    pub(super) reason: String,
}

/// Where scripts run; a header's `skip:` names one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The core alone.
    Core,
    /// The mio server over loopback sockets.
    Mio,
    /// The tokio library over loopback sockets.
    Tokio,
    /// A driver with a thread a session over loopback sockets.
    Threads,
}

/// Consecutive inputs, and what must come of them.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) inputs: Vec<Input>,
    pub(super) expected: Vec<Expected>,
    /// The line of its last input, counted from 1; the proxy's lines stand below it.
    pub(super) inputs_end: usize,
}

/// One input.
#[derive(Debug)]
pub(super) struct Input {
    /// Its (first) line, counted from 1.
    pub(super) line: usize,
    pub(super) what: What,
}

/// What comes in.
#[derive(Debug)]
pub(super) enum What {
    /// One chunk: consecutive lines of one side.
    Bytes(Leg, Vec<u8>),
    World(World),
}

/// What happens around the proxy.
#[derive(Debug, Clone)]
pub(super) enum World {
    Client {
        peer: Peer,
        refused: Option<Refusal>,
    },
    Answer(Reply),
    /// With the ticket of an earlier step of its kind.
    Late(Reply),
    Pass(Duration),
    Eof(Leg),
    Lost(Leg, LegFault),
    Drain,
    Kicked,
}

/// An answer to a step.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    TlsUp(Party, TlsFacts),
    TlsFailed(Party, TlsFault),
    Found(Found),
    Referred(Referral),
    Denied(Denial),
    Later(Duration),
    Unavailable,
    Connected { remembered: Option<Vec<u8>> },
    ConnectFailed(ConnectFault),
}

/// With whom a handshake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Party {
    Client,
    Backend,
    /// On the client's leg, under its PROXY header.
    Balancer,
}

impl Party {
    /// Where.
    pub(super) const fn leg(self) -> Leg {
        match self {
            Self::Client | Self::Balancer => Leg::Client,
            Self::Backend => Leg::Backend,
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Backend => "backend",
            Self::Balancer => "balancer",
        })
    }
}

/// A route.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// That user's; none: of whoever was asked for.
    pub(super) user: Option<Vec<u8>>,
    /// What to log in with there.
    pub(super) login: Option<Arc<Login>>,
    pub(super) alert: Option<String>,
    pub(super) at: Option<SocketAddr>,
}

impl Reply {
    /// The answer to a lookup, if this is one.
    pub(super) fn routing(&self, identifier: Option<&[u8]>, routes: &Routes) -> Option<Routing> {
        Some(match self {
            Self::Found(Found { user, login, alert, at }) => Routing::Found(Route {
                login: login.clone(),
                alert: alert.clone(),
                at: *at,
                ..Route::to(routes.find(user.as_deref().or(identifier)).clone())
            }),
            Self::Referred(referral) => Routing::Referred(referral.clone()),
            Self::Denied(denial) => Routing::Refused(denial.clone()),
            Self::Later(span) => Routing::Later(*span),
            Self::Unavailable => Routing::Unavailable,
            Self::TlsUp(..)
            | Self::TlsFailed(..)
            | Self::Connected { .. }
            | Self::ConnectFailed(_) => return None,
        })
    }
}

/// One line of the proxy's.
#[derive(Debug)]
pub(super) struct Expected {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) what: Emission,
}

/// What the proxy did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Emission {
    Sent(Leg, Vec<u8>),
    Did(Deed),
}

/// What the proxy did beside sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deed {
    StartTls(Party),
    Lookup(Option<Vec<u8>>),
    /// `HOST:PORT`; `-`: there is no host to go to.
    Connect(String),
    HangUp,
    Splice,
    Eof(Leg),
    /// As [`gatepost_core::Close`] prints.
    Close(String),
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StartTls(party) => write!(f, "starttls {party}"),
            Self::Lookup(None) => f.write_str("lookup -"),
            Self::Lookup(Some(identifier)) => write!(f, "lookup {}", printed(identifier)),
            Self::Connect(place) => write!(f, "connect {place}"),
            Self::HangUp => f.write_str("hang up"),
            Self::Splice => f.write_str("splice"),
            Self::Eof(leg) => write!(f, "eof {leg}"),
            Self::Close(close) => write!(f, "close {close}"),
        }
    }
}

/// What is wrong, and at which line of a script, counted from 1.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) problem: String,
}

impl Fault {
    pub(super) fn new(line: usize, problem: impl Into<String>) -> Self {
        Self { line, problem: problem.into() }
    }
}

/// A position for each leg, in arrays.
pub(crate) const fn index(leg: Leg) -> usize {
    match leg {
        Leg::Client => 0,
        Leg::Backend => 1,
    }
}

/// A host and port as `P: connect` prints it.
pub(super) fn place(host: &str, port: u16) -> String {
    match host.parse::<std::net::Ipv6Addr>() {
        Ok(address) => SocketAddr::from((address, port)).to_string(),
        Err(_) => format!("{host}:{port}"),
    }
}
