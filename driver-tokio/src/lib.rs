//! Gatepost inside a program that runs on tokio.
//!
//! A [`Gatepost`] serves the clients of one listener: it conducts the dialogue before
//! authentication, asks a [`Router`] where the account lives, logs in there on the client's behalf,
//! and carries bytes from then on. What it says and when is decided by `gatepost-core`, the same
//! state machines that the `gatepost` server runs; the program around it brings sockets,
//! certificates, routing, logging and metrics.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use gatepost_tokio::config::{Protocol, TlsMode};
//! use gatepost_tokio::{Gatepost, Request, destination, listener, to};
//!
//! # async fn example(certificate: Arc<rustls::ServerConfig>, roots: Arc<rustls::ClientConfig>)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! let listener = listener(Protocol::Imap, TlsMode::Implicit)?;
//! let backend = destination("imap1.internal", 993, Protocol::Imap, TlsMode::Implicit)?;
//! let backend = Arc::new(backend);
//! let gatepost = Gatepost::builder(listener, move |_: Request| {
//!     let answer = to(&backend);
//!     async move { answer }
//! })
//! .tls(certificate)
//! .backend_tls(roots)
//! .build()?;
//!
//! let socket = tokio::net::TcpListener::bind("0.0.0.0:993").await?;
//! gatepost.serve_listener(socket, async { tokio::signal::ctrl_c().await.unwrap() }).await;
//! # Ok(())
//! # }
//! ```
//!
//! # One stream, or a whole listener
//!
//! [`Gatepost::serve`] serves one stream that the program has accepted itself: TCP, a Unix socket,
//! `tokio::io::duplex`, or one whose TLS is already off ([`Accepted::tls`]). It gives a future that
//! can be awaited, spawned or selected on, and that ends with what there is to know of the session
//! ([`Ended`]). [`Gatepost::serve_listener`] accepts by itself, a task for each session.
//!
//! # Cancellation
//!
//! Dropping the future of a session ends it at once and completely: both streams are closed, an
//! outstanding lookup or connection attempt is dropped, its place under the limits is free, and the
//! [`Observer`] is told. A session runs in its own future and nowhere else; it spawns nothing. What
//! is lost is the goodbye: [`Gatepost::shutdown`] and [`Gatepost::kick_all`] end sessions in order.
//! Dropping the future of [`Gatepost::serve_listener`] ends its sessions in the same way.
//!
//! # Back-pressure and memory
//!
//! A side that does not read stops the other one from being read: beyond the kernel's buffers (and
//! those of TLS) at most 32 KiB wait in each direction. Half-closes pass in both directions, and a
//! session in which nothing passes for the listener's `bridge_idle` ends.
//!
//! A session that is idle after its login holds no buffer of this crate: it reads into the stack,
//! and keeps only what the other side does not take. Measured on Linux over TCP, such a session
//! takes about 3.5 KiB without TLS and 19 KiB with TLS on both legs (most of it is rustls' own),
//! its task and tokio's part of two sockets counted, the kernel's not. The test `idle_memory`
//! measures it anew.
//!
//! # What is left to the program
//!
//! Certificates and trust are in the rustls configurations that are passed in; the fields of
//! listeners and destinations that name files are not read here (a shared client configuration
//! refuses destinations that need such a file). A destination may have several hosts
//! ([`config::Destination::hosts`]): the service picks one for each attempt, passes over those that
//! fail ([`Builder::host_down`]) and tells the [`Connector`] which it is. Probes, route stores, an
//! admin API, metrics and logs are the program's own.
#![forbid(unsafe_code)]

mod accept;
mod connect;
mod dialogue;
mod farewell;
mod gatepost;
mod leg;
mod limits;
mod observe;
mod orders;
mod own;
mod relay;
mod route;
mod session;
mod settings;
mod step;
mod tls;

pub use connect::{Connected, Connector, TcpConnector};
pub use gatepost::{Builder, Gatepost, Unbuildable};
pub use observe::{Ended, Id, Observer, SessionFacts};
pub use route::{FileRouter, PlanFault, PlanRouter, Request, Router, to};
pub use session::{Accepted, Serving};
pub use settings::{Unfit, destination, listener};
pub use tls::{BackendTls, facts_of};

pub use gatepost_core;
pub use gatepost_core::config;
pub use gatepost_core::health::{Change, Rules};
pub use gatepost_core::route::table::FileMap;
pub use gatepost_core::sasl::Mechanism;
pub use gatepost_core::{
    AttemptFault, By, Close, ConnectFault, Denial, FrontTls, Origin, Peer, Query, Reason, Referral,
    Refusal, Route, Routing, Seed, SmtpCode, State, Target, TlsFacts, TlsFault,
};
