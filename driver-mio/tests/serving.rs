//! How a server begins, limits, survives and ends.
#![allow(clippy::unwrap_used)]

mod world;

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use gatepost_core::ConnectFault;
use gatepost_mio::{Rig, Server, Site, StartFault};
use world::{Kind, LOGGED_IN, LOGIN, World};

const SHORT_GRACE: Kind = Kind {
    client_tls: false,
    backend_tls: false,
    server: "shutdown_grace = \"300ms\"",
    listener: "",
};
const TWO_PLACES: Kind =
    Kind { client_tls: false, backend_tls: false, server: "", listener: "max_connections = 2" };
const ONE_EACH: Kind = Kind {
    client_tls: false,
    backend_tls: false,
    server: "",
    listener: "max_connections_per_ip = 1",
};

#[test]
fn a_second_instance_does_not_start() {
    let world = World::new(Kind::default());
    let Err(fault) = Server::start(world.site_at(world.address()), Rig::default()) else {
        panic!("two servers on one port")
    };
    let StartFault::Bind { listener, address, .. } = &fault else { panic!("{fault}") };
    assert_eq!((listener.as_str(), *address), ("imap", world.address()));
    drop(world.session());
}

#[test]
fn a_full_listener_says_so_and_has_room_again() {
    for kind in [TWO_PLACES, ONE_EACH] {
        let world = World::new(kind);
        let held: Vec<_> = match kind.listener {
            "max_connections = 2" => vec![world.greeted(), world.greeted()],
            _ => vec![world.greeted()],
        };
        let refused = world.connect().rest();
        assert!(refused.starts_with("* BYE [LIMIT] "), "{refused}");
        drop(held);
        world.settles(|held| held.connections == 0);
        drop(world.session());
    }
}

#[test]
fn a_full_listener_with_tls_closes_without_a_handshake() {
    let world = World::new(Kind { client_tls: true, ..TWO_PLACES });
    let _held = [world.greeted(), world.greeted()];
    let mut socket = TcpStream::connect(world.address()).unwrap();
    let mut heard = Vec::new();
    socket.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"");
}

#[test]
fn accepting_goes_on_when_descriptors_are_free_again() {
    let failing_accepts = Arc::new(AtomicU32::new(0));
    let rig = Rig { failing_accepts: failing_accepts.clone(), ..Rig::default() };
    let world = World::with(Kind::default(), rig);
    let (mut client, mut backend) = world.session();
    failing_accepts.store(3, Ordering::Relaxed);
    let mut late = world.connect();
    client.say("a2 NOOP\r\n");
    backend.hear("a2 NOOP\r\n");
    assert!(late.line().starts_with("* OK "));
    // The rest would fail a connection that this worker does not get.
    assert!(failing_accepts.swap(0, Ordering::Relaxed) < 3);
}

#[test]
fn a_backend_that_cannot_be_reached_ends_the_login_and_not_the_session() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let rig = Rig {
        resolve: Some(Arc::new(move |_: &str, port| {
            match counted.fetch_add(1, Ordering::Relaxed) {
                // The first attempt and its repetition.
                0 | 1 => Err(ConnectFault::Refused),
                _ => Ok(SocketAddr::new("127.0.0.1".parse().unwrap(), port)),
            }
        })),
        ..Rig::default()
    };
    let world = World::with(Kind::default(), rig);
    let mut client = world.greeted();
    client.say(LOGIN);
    let refused = client.line();
    assert!(refused.starts_with("a1 NO [UNAVAILABLE] "), "{refused}");
    client.say(LOGIN);
    client.hear(LOGGED_IN);
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}

#[test]
fn a_fault_in_one_session_leaves_the_others_alone() {
    let calls = Arc::new(AtomicU32::new(0));
    let rig = Rig {
        resolve: Some(Arc::new(move |_: &str, port| {
            assert!(calls.fetch_add(1, Ordering::Relaxed) != 1, "as this test wants it");
            Ok(SocketAddr::new("127.0.0.1".parse().unwrap(), port))
        })),
        ..Rig::default()
    };
    let world = World::with(Kind { server: "", ..Kind::default() }, rig);
    let (mut client, mut backend) = world.session();
    let mut unlucky = world.greeted();
    unlucky.say(LOGIN);
    assert_eq!(unlucky.rest(), "");
    world.settles(|held| held.connections == 1);
    for _ in 0..8 {
        drop(world.session());
    }
    client.say("a2 NOOP\r\n");
    backend.hear("a2 NOOP\r\n");
}

#[test]
fn a_drain_says_goodbye_before_login_and_lets_relays_end() {
    let world = World::new(Kind::default());
    let (mut client, mut backend) = world.session();
    let mut early = world.greeted();
    world.server.remote().drain();
    assert!(early.rest().starts_with("* BYE Shutting down"));
    drop(early);
    world.settles(|held| held.connections == 1);
    assert!(TcpStream::connect(world.address()).is_err(), "nobody listens any more");
    client.say("a2 LOGOUT\r\n");
    backend.hear("a2 LOGOUT\r\n");
    backend.end();
    client.end();
    assert_eq!((client.rest(), backend.rest()), (String::new(), String::new()));
    drop((client, backend));
    let remote = world.server.remote();
    world.server.join();
    assert_eq!(remote.held().connections, 0, "a server that has ended holds nothing");
}

#[test]
fn a_drain_ends_what_its_grace_does_not_suffice_for() {
    let world = World::new(SHORT_GRACE);
    let sessions: Vec<_> = (0..5).map(|_| world.session()).collect();
    let early = world.greeted();
    world.server.remote().drain();
    for (mut client, mut backend) in sessions {
        assert_eq!((client.rest(), backend.rest()), (String::new(), String::new()));
    }
    drop(early);
    world.server.join();
}

#[test]
fn a_stop_ends_everything_at_once() {
    let world = World::new(Kind::default());
    let (mut client, _backend) = world.session();
    world.server.remote().stop();
    world.server.join();
    assert_eq!(client.rest(), "");
}

#[test]
fn a_kick_ends_sessions_and_not_the_server() {
    let world = World::new(Kind::default());
    let (mut client, mut backend) = world.session();
    let mut early = world.greeted();
    world.server.remote().kick_all();
    assert_eq!((client.rest(), backend.rest()), (String::new(), String::new()));
    let goodbye = early.rest();
    assert!(goodbye.starts_with("* BYE Disconnected by an administrator"), "{goodbye}");
    drop((client, backend, early));
    world.settles(|held| held.connections == 0);
    drop(world.session());
}

#[test]
fn a_name_that_came_to_stand_for_ourselves_is_no_backend() {
    let own = Arc::new(OnceLock::<SocketAddr>::new());
    let calls = Arc::new(AtomicU32::new(0));
    let (known, counted) = (own.clone(), calls.clone());
    let rig = Rig {
        resolve: Some(Arc::new(move |_: &str, _| {
            counted.fetch_add(1, Ordering::Relaxed);
            known.get().copied().ok_or(ConnectFault::NoAddress)
        })),
        ..Rig::default()
    };
    let world = World::with(Kind::default(), rig);
    own.set(world.address()).unwrap();
    let mut client = world.greeted();
    client.say(LOGIN);
    let refused = client.line();
    assert!(refused.starts_with("a1 NO [SERVERBUG] "), "{refused}");
    assert_eq!(calls.load(Ordering::Relaxed), 1, "it is not tried again");
}

#[test]
fn source_addresses_take_turns_and_the_other_family_is_passed_over() {
    let world = World::new(Kind::default());
    let sources = "forwarding = \"none\"\nsource_ips = [\"127.0.0.2\", \"127.0.0.3\"]";
    let text = world.text().replace("forwarding = \"none\"", sources);
    let (config, _) = gatepost_core::config::parse(&text).unwrap();
    let start = |rig| Server::start(Site::load(&config).unwrap_or_else(|_| panic!()), rig).unwrap();
    // The host is "localhost", which may have an address of version 6 as well.
    let server = start(Rig::default());
    let address = server.addresses("imap").next().unwrap();
    for expected in ["127.0.0.2", "127.0.0.3", "127.0.0.2"] {
        let mut client = world.connect_to(address);
        assert!(client.line().starts_with("* OK "));
        client.say(LOGIN);
        client.hear(LOGGED_IN);
        let from = world.backends.recv().unwrap().socket().peer_addr().unwrap();
        assert_eq!(from.ip().to_string(), expected);
    }
    let six = |_: &str, port| Ok(SocketAddr::new("::1".parse().unwrap(), port));
    let server = start(Rig { resolve: Some(Arc::new(six)), ..Rig::default() });
    let mut client = world.connect_to(server.addresses("imap").next().unwrap());
    assert!(client.line().starts_with("* OK "));
    client.say(LOGIN);
    let refused = client.line();
    assert!(refused.starts_with("a1 NO [SERVERBUG] "), "{refused}");
}
