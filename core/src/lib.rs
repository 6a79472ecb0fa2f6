//! The protocols of a mail-access proxy, as pure values.
//!
//! A [`Session`] is told what happened (bytes arrived, a connection stands, time passed) and says
//! what to do (send this, look that user up, connect there, start TLS, let the bytes pass). It has
//! no socket, clock, randomness, file, thread or log: a driver brings those, and every driver
//! shows the same behaviour because there is only this one.
//!
//! Read [`contract`] first: the events, the steps and the rules between core and driver. Then
//! [`session`], which introduces the two automata of a protocol to each other; [`imap`], [`pop3`]
//! [`managesieve`] and [`submission`] for such pairs; [`relay`] for what is left to decide once a
//! client is logged in.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod automaton;
pub mod close;
pub mod config;
pub mod contract;
mod dialogue;
pub mod fleet;
mod forward;
pub mod guard;
mod handshake;
pub mod health;
pub mod imap;
mod introduction;
pub mod line;
mod literal;
pub mod managesieve;
pub mod origin;
pub mod pop3;
pub mod probe;
mod protocol;
pub mod proxy_protocol;
pub mod race;
mod referral;
pub mod relay;
pub mod route;
pub mod sasl;
pub mod secret;
pub mod session;
mod smtp;
pub mod source;
pub mod submission;
pub mod survey;
pub mod time;
pub mod verdict;

pub use close::{
    Again, AttemptFault, By, Close, ConnectFault, HeaderFault, LegFault, Reason, Refusal, State,
    TlsFault,
};
pub use contract::{
    Answer, BackendFacts, ClientFacts, Event, Inbox, Leg, Note, Outbox, Peer, Query, Route,
    Routing, Seed, SessionId, Step, Target, Ticket, TlsFacts, TlsRole,
};
pub use origin::{FrontCertificate, FrontTls, Origin};
pub use relay::Relay;
pub use session::Session;
pub use source::SourceTurns;
pub use time::{Instant, Timer};
pub use verdict::{Denial, Referral, SmtpCode};
