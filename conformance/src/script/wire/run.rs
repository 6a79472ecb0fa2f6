//! One script over sockets.
//!
//! Each block: its inputs are sent, then everything that the script expects of the proxy is read
//! from both connections. Steps are not seen here, only what follows from them: a connection that
//! arrives, a handshake, an end of stream.
//!
//! Invariant: nothing is sent before all that was expected earlier has been read.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gatepost_core::config::Destination;
use gatepost_core::{
    ConnectFault, Leg, LegFault, Peer, Refusal, Routing, Seed, TlsFacts, TlsFault,
};

use super::super::compare::{Strictness, canonical, difference};
use super::super::cuts::Cut;
use super::super::timeline::{
    Deed, Emission, Fault, Found, Party, Reply, Routes, Script, What, World, place,
};
use super::certificate::{Certificate, UNNAMED, server_name};
use super::socket::{PATIENCE, Unlike, Wire};
use super::{Lookup, Order, Plan, Resolve, Served, Start};

/// What is sent where a handshake is to fail for want of TLS; longer than a record's header.
const NOT_TLS: &[u8] = b"\r\n* this is not TLS at all\r\n";
/// A fatal alert, handshake_failure, RFC 8446 §6.
const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 40];
/// Octets of a TLS record before its content, RFC 8446 §5.1.
const RECORD_HEADER_OCTETS: usize = 5;
/// Between two looks for a connection that must come.
const GLANCE: Duration = Duration::from_millis(1);

/// Plays a script; what failed, if anything did.
pub(in super::super) fn play(script: &Script, cut: Cut, start: &Start<'_>) -> Result<(), Fault> {
    let first = |error: io::Error| Fault::new(1, format!("the run cannot begin: {error}"));
    let mut run = Run::new(script, cut, start).map_err(first)?;
    for block in &script.blocks {
        run.over_here = block.expected.iter().any(|expected| may_break(&expected.what));
        for input in &block.inputs {
            let sent = run.input(&input.what);
            sent.map_err(|error| Fault::new(input.line, format!("cannot be done: {error}")))?;
        }
        let expected: Vec<Emission> =
            block.expected.iter().map(|expected| expected.what.clone()).collect();
        run.read(&expected).map_err(|problem| Fault::new(block.inputs_end, problem))?;
    }
    run.nothing_more().map_err(|problem| Fault::new(script.lines.len(), problem))
}

struct Run {
    cut: Cut,
    chunks: usize,
    server: Box<dyn Served>,
    trusted: Certificate,
    untrusted: Certificate,
    /// What is shown to balancers.
    balancer: Certificate,
    backends: TcpListener,
    /// Where the server went, and where it should have gone.
    reached: Arc<Mutex<Vec<String>>>,
    due: Vec<String>,
    client: Option<Wire>,
    backend: Option<Wire>,
    /// Whether this block ends a connection, so that writing to it may fail.
    over_here: bool,
    in_relay: bool,
    /// The client's last chunk holds what breaks a handshake by itself, so that nothing may be
    /// added which would break it as well.
    slipped_in: bool,
    /// A handshake with the client has begun and not succeeded: what comes is TLS' own.
    client_is_noise: bool,
    _folder: tempfile::TempDir,
}

impl Run {
    fn new(script: &Script, cut: Cut, start: &Start<'_>) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let trusted = Certificate::new(folder.path(), "trusted", subjects(script))?;
        let untrusted = Certificate::new(folder.path(), "untrusted", subjects(script))?;
        let balancer = Certificate::new(folder.path(), "balancer", subjects(script))?;
        let backends = TcpListener::bind(("127.0.0.1", 0))?;
        backends.set_nonblocking(true)?;
        let (peer, refused) = opening(script)?;
        let mut listener = (*script.listener).clone();
        listener.bind = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        if refused.is_some() {
            listener.max_connections = 0;
        }
        let reached = Arc::default();
        let routes = trusting(&script.routes, &trusted.chain_path);
        listener.bridge = listener.bridge.map(|_| Arc::clone(&routes.default));
        let own = routes.named.iter().map(|(_, destination)| destination);
        let destinations = own.chain([&routes.default]).cloned().collect();
        let plan = Plan {
            listener,
            certificate: trusted.chain_path.clone(),
            key: trusted.key_path.clone(),
            balancer_certificate: balancer.chain_path.clone(),
            balancer_key: balancer.key_path.clone(),
            destinations,
            route: lookup(script, routes),
            peer,
            seed: Seed(0xa1),
            host_down: script.rules,
            resolve: resolver(script, backends.local_addr()?, Arc::clone(&reached)),
            remembered: first_remembered(script),
            read_cap: read_cap(cut),
        };
        let server = start(plan)?;
        Ok(Self {
            cut,
            chunks: 0,
            server,
            trusted,
            untrusted,
            balancer,
            backends,
            reached,
            due: Vec::new(),
            client: None,
            backend: None,
            over_here: false,
            in_relay: false,
            slipped_in: false,
            client_is_noise: false,
            _folder: folder,
        })
    }

    fn input(&mut self, what: &What) -> io::Result<()> {
        match what {
            What::Bytes(leg, octets) => {
                let pieces = self.cut.pieces(self.chunks, octets.len());
                self.chunks += 1;
                if *leg == Leg::Client {
                    self.slipped_in = slipped_in(octets);
                }
                self.excused(*leg, |wire| wire.send(octets, &pieces))
            }
            What::World(World::Client { .. }) => {
                let socket = TcpStream::connect_timeout(&self.server.address(), PATIENCE)?;
                self.client = Some(Wire::new(socket)?);
                Ok(())
            }
            What::World(World::Eof(leg)) => self.excused(*leg, Wire::end),
            What::World(World::Lost(leg, LegFault::Reset)) => {
                let wire = match leg {
                    Leg::Client => self.client.take(),
                    Leg::Backend => self.backend.take(),
                };
                wire.map_or(Ok(()), Wire::reset)
            }
            What::World(World::Answer(reply)) => self.answer(reply),
            What::World(World::Drain) => {
                self.server.obey(Order::Drain);
                Ok(())
            }
            What::World(World::Kicked) => {
                self.server.obey(Order::Kick);
                Ok(())
            }
            What::World(World::Lost(..) | World::Late(_) | World::Pass(_)) => {
                Err(io::Error::other("not over sockets"))
            }
        }
    }

    fn answer(&mut self, reply: &Reply) -> io::Result<()> {
        match reply {
            Reply::TlsUp(party @ (Party::Client | Party::Balancer), facts) => {
                self.greet_server(*party, facts)
            }
            Reply::TlsUp(Party::Backend, _) => {
                let config = self.trusted.server()?;
                wire(&mut self.backend)?.start_tls_server(config)
            }
            Reply::TlsFailed(party, fault) => self.spoil(party.leg(), *fault),
            Reply::Connected { .. } => {
                self.backend = Some(Wire::new(self.accept()?)?);
                Ok(())
            }
            Reply::Found(_)
            | Reply::Referred(_)
            | Reply::Denied(_)
            | Reply::Later(_)
            | Reply::Unavailable
            | Reply::ConnectFailed(_) => Ok(()),
        }
    }

    fn greet_server(&mut self, party: Party, facts: &TlsFacts) -> io::Result<()> {
        let version = match facts.version {
            "TLSv1.2" => &rustls::version::TLS12,
            _ => &rustls::version::TLS13,
        };
        // A balancer trusts no other certificate than the one that is for balancers.
        let shown = if party == Party::Balancer { &self.balancer } else { &self.trusted };
        let config = shown.client(version, facts.alpn.as_deref())?;
        let name = server_name(facts.server_name.as_deref())?;
        wire(&mut self.client)?.start_tls_client(config, name)?;
        self.client_is_noise = false;
        Ok(())
    }

    /// Makes a handshake fail from this side.
    fn spoil(&mut self, leg: Leg, fault: TlsFault) -> io::Result<()> {
        if fault == TlsFault::Certificate {
            let config = self.untrusted.server()?;
            // The handshake ends with the other side's alert.
            let _ = wire(&mut self.backend)?.start_tls_server(config);
            return Ok(());
        }
        if leg == Leg::Client && fault == TlsFault::Protocol && self.slipped_in {
            return Ok(());
        }
        let octets = if fault == TlsFault::Alert { ALERT } else { NOT_TLS };
        self.over_here = true;
        self.excused(leg, |wire| {
            if fault == TlsFault::Closed {
                return wire.end();
            }
            wire.send(octets, &[octets.len()])
        })
    }

    fn accept(&self) -> io::Result<TcpStream> {
        let begun = Instant::now();
        loop {
            match self.backends.accept() {
                Ok((socket, _)) => {
                    socket.set_nonblocking(false)?;
                    return Ok(socket);
                }
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(_) if begun.elapsed() > PATIENCE => {
                    return Err(io::Error::other("no connection came to the backend"));
                }
                Err(_) => std::thread::sleep(GLANCE),
            }
        }
    }

    /// Does something to a connection, whose failing is excused where it ends anyway.
    fn excused(
        &mut self,
        leg: Leg,
        act: impl FnOnce(&mut Wire) -> io::Result<()>,
    ) -> io::Result<()> {
        let wire = match leg {
            Leg::Client => &mut self.client,
            Leg::Backend => &mut self.backend,
        };
        let result = match wire {
            Some(wire) => act(wire),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        if self.over_here { Ok(()) } else { result }
    }

    /// Reads what a block expects.
    fn read(&mut self, expected: &[Emission]) -> Result<(), String> {
        // Octets that a hang-up makes vain may or may not have been sent.
        for emission in canonical(expected, Strictness::Cut) {
            match &emission {
                Emission::Sent(leg, octets) => {
                    let wire = match leg {
                        Leg::Client => &mut self.client,
                        Leg::Backend => &mut self.backend,
                    };
                    let wire = wire.as_mut().ok_or_else(|| format!("the {leg} is not there"))?;
                    wire.expect(octets).map_err(|unlike| unlike_text(&emission, &unlike))?;
                }
                Emission::Did(deed) => self.follow(deed)?,
            }
        }
        Ok(())
    }

    fn follow(&mut self, deed: &Deed) -> Result<(), String> {
        match deed {
            Deed::StartTls(party) => {
                self.client_is_noise |= party.leg() == Leg::Client;
                Ok(())
            }
            Deed::Connect(place) if place != "-" => {
                self.due.push(place.clone());
                Ok(())
            }
            Deed::Lookup(_) | Deed::Connect(_) => Ok(()),
            Deed::Splice => {
                self.in_relay = true;
                Ok(())
            }
            Deed::HangUp => match self.backend.take() {
                Some(mut backend) => {
                    backend.drain_raw().map_err(|unlike| unlike_text(&deed_of(deed), &unlike))
                }
                None => Ok(()),
            },
            Deed::Eof(Leg::Client) => end_of(&mut self.client, deed),
            Deed::Eof(Leg::Backend) => end_of(&mut self.backend, deed),
            Deed::Close(_) => self.close(deed),
        }
    }

    fn close(&mut self, deed: &Deed) -> Result<(), String> {
        match self.client.take() {
            Some(mut client) if self.client_is_noise => {
                client.drain_raw().map_err(|unlike| unlike_text(&deed_of(deed), &unlike))?;
            }
            Some(mut client) => {
                client.expect_end().map_err(|unlike| unlike_text(&deed_of(deed), &unlike))?;
            }
            None => {}
        }
        let Some(mut backend) = self.backend.take() else { return Ok(()) };
        let got = backend.drain().map_err(|unlike| unlike_text(&deed_of(deed), &unlike))?;
        if self.in_relay && !got.is_empty() {
            let unlike = Unlike { got, stop: "it should have ended" };
            return Err(unlike_text(&deed_of(deed), &unlike));
        }
        Ok(())
    }

    fn nothing_more(&mut self) -> Result<(), String> {
        let reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        // At the end of a script the last attempt may not have begun yet, or another one has.
        let alike = reached.iter().zip(&self.due).all(|(reached, due)| reached == due);
        if !alike || reached.len() + 1 < self.due.len() {
            return Err(format!("went to {reached:?}, not to {:?}", self.due));
        }
        drop(reached);
        for (leg, wire) in [(Leg::Client, &mut self.client), (Leg::Backend, &mut self.backend)] {
            let got = wire.as_mut().map(Wire::surplus).unwrap_or_default();
            if !got.is_empty() {
                let got = [Emission::Sent(leg, got)];
                return Err(difference(&[], &got, Strictness::Whole).unwrap_or_default());
            }
        }
        Ok(())
    }
}

/// Whether enough stands behind a command that begins TLS to be taken for a record's header.
fn slipped_in(chunk: &[u8]) -> bool {
    let command = b"STARTTLS\r\n";
    let found = chunk.windows(command.len()).position(|some| some.eq_ignore_ascii_case(command));
    found.is_some_and(|at| chunk.len() - at - command.len() >= RECORD_HEADER_OCTETS)
}

/// Whether a connection may be gone before everything is written to it. A handshake, too, may
/// fail before all that was slipped in front of it is there.
const fn may_break(emission: &Emission) -> bool {
    matches!(emission, Emission::Did(Deed::Close(_) | Deed::HangUp | Deed::StartTls(_)))
}

fn wire(wire: &mut Option<Wire>) -> io::Result<&mut Wire> {
    wire.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
}

fn end_of(wire: &mut Option<Wire>, deed: &Deed) -> Result<(), String> {
    let Some(wire) = wire else { return Ok(()) };
    wire.expect_end().map_err(|unlike| unlike_text(&deed_of(deed), &unlike))
}

fn deed_of(deed: &Deed) -> Emission {
    Emission::Did(deed.clone())
}

fn unlike_text(expected: &Emission, unlike: &Unlike) -> String {
    let leg = match expected {
        Emission::Sent(leg, _) => *leg,
        Emission::Did(_) => Leg::Client,
    };
    let got = [Emission::Sent(leg, unlike.got.clone())];
    let text = difference(std::slice::from_ref(expected), &got, Strictness::Whole);
    format!("{}\n{}", unlike.stop, text.unwrap_or_default())
}

fn hosts_of(destination: &Arc<Destination>) -> impl Iterator<Item = String> {
    destination.hosts.iter().map(|host| host.name.clone())
}

/// Every name that a certificate must serve in this script.
fn subjects(script: &Script) -> Vec<String> {
    let mut names = vec![UNNAMED.to_owned(), script.listener.hostname.clone()];
    let routes = script.routes.named.iter().map(|(_, route)| route);
    names.extend(routes.chain([&script.routes.default]).flat_map(hosts_of));
    let inputs = script.blocks.iter().flat_map(|block| &block.inputs);
    names.extend(inputs.filter_map(|input| match &input.what {
        What::World(World::Answer(Reply::TlsUp(_, facts))) => facts.server_name.clone(),
        What::World(_) | What::Bytes(..) => None,
    }));
    let expected = script.blocks.iter().flat_map(|block| &block.expected);
    names.extend(expected.filter_map(|expected| match &expected.what {
        Emission::Did(Deed::Connect(place)) => {
            place.rsplit_once(':').map(|(host, _)| host.trim_matches(['[', ']']).to_owned())
        }
        Emission::Sent(..) | Emission::Did(_) => None,
    }));
    names.sort();
    names.dedup();
    names
}

fn opening(script: &Script) -> io::Result<(Peer, Option<Refusal>)> {
    let first = script.blocks.first().and_then(|block| block.inputs.first());
    match first.map(|input| &input.what) {
        Some(What::World(World::Client { peer, refused })) => Ok((*peer, *refused)),
        Some(_) | None => Err(io::Error::other("nobody connects")),
    }
}

/// The same routes, to backends that present the trusted certificate.
fn trusting(routes: &Routes, authority: &Path) -> Routes {
    let trusting = |destination: &Arc<Destination>| {
        let mut destination = (**destination).clone();
        destination.tls_ca_file = Some(authority.to_string_lossy().into_owned());
        Arc::new(destination)
    };
    let named = routes.named.iter();
    Routes {
        named: named.map(|(user, destination)| (user.clone(), trusting(destination))).collect(),
        default: trusting(&routes.default),
    }
}

/// The answers of a script to one kind of step, in order.
fn answers<T>(script: &Script, pick: impl Fn(&Reply) -> Option<T>) -> Mutex<VecDeque<T>> {
    let inputs = script.blocks.iter().flat_map(|block| &block.inputs);
    let answers = inputs.filter_map(|input| match &input.what {
        What::World(World::Answer(reply)) => pick(reply),
        What::World(_) | What::Bytes(..) => None,
    });
    Mutex::new(answers.collect())
}

fn next<T>(answers: &Mutex<VecDeque<T>>) -> Option<T> {
    answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

fn lookup(script: &Script, routes: Routes) -> Lookup {
    let is_one = |reply: &Reply| reply.routing(None, &routes).is_some().then(|| reply.clone());
    let answers = answers(script, is_one);
    Arc::new(move |identifier| {
        let answer = next(&answers).unwrap_or_else(|| Reply::Found(Found::default()));
        answer.routing(identifier, &routes).unwrap_or(Routing::Unavailable)
    })
}

/// Each attempt to connect leads to the scripted backend, or where nobody listens.
fn resolver(script: &Script, backends: SocketAddr, reached: Arc<Mutex<Vec<String>>>) -> Resolve {
    let answers = answers(script, |reply| match reply {
        Reply::Connected { .. } => Some(Ok(())),
        Reply::ConnectFailed(fault) => Some(Err(*fault)),
        Reply::TlsUp(..)
        | Reply::TlsFailed(..)
        | Reply::Found(_)
        | Reply::Referred(_)
        | Reply::Denied(_)
        | Reply::Later(_)
        | Reply::Unavailable => None,
    });
    Arc::new(move |host, port| {
        reached.lock().unwrap_or_else(PoisonError::into_inner).push(place(host, port));
        match next(&answers).unwrap_or(Ok(())) {
            Ok(()) => Ok(backends),
            // The port is ours on 127.0.0.1, so that nobody is likely to have it here.
            Err(ConnectFault::Refused) => Ok(SocketAddr::from(([127, 0, 0, 9], backends.port()))),
            Err(fault) => Err(fault),
        }
    })
}

fn first_remembered(script: &Script) -> Option<Arc<[u8]>> {
    let connected = answers(script, |reply| match reply {
        Reply::Connected { remembered } => Some(remembered.as_deref().map(Arc::from)),
        Reply::TlsUp(..)
        | Reply::TlsFailed(..)
        | Reply::Found(_)
        | Reply::Referred(_)
        | Reply::Denied(_)
        | Reply::Later(_)
        | Reply::Unavailable
        | Reply::ConnectFailed(_) => None,
    });
    next(&connected).flatten()
}

fn read_cap(cut: Cut) -> Option<usize> {
    match cut {
        Cut::Whole => None,
        Cut::Bytewise => Some(1),
        Cut::Twofold { at, .. } => Some(at),
        Cut::Seeded(seed) => Some(1 + (seed % 61) as usize),
    }
}
