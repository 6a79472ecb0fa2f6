//! Destinations by name, and the addresses that connections to them come from.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs as _};

use gatepost_conformance::rig::Tls;

use crate::server::stage::{Backend, Draft};
use crate::server::wire::PASSWORD;

const PLAIN: &str = "allow_plaintext_auth = true\n";

#[test]
fn a_name_is_resolved() {
    let backend = Backend::start(Tls::Plain);
    let stage = Draft::new("threads = 1")
        .listener(Tls::Plain, 0, "")
        .destination_at("far", "localhost", backend.address.port(), PLAIN)
        .start();
    for _ in 0..3 {
        let (mut near, mut far) = stage.session(Tls::Plain, "far@test", &backend);
        near.echo(&mut far, "hello");
    }
}

/// Where `localhost` has addresses of both families, the backend listens on the last of them only,
/// and all others refuse. Where it has one, the test is the one above.
#[test]
fn where_one_address_refuses_the_next_is_tried() {
    let last = ("localhost", 0).to_socket_addrs().unwrap().last().unwrap();
    let backend = Backend::start_at(last, None);
    let stage = Draft::new("threads = 1\nbackend_connect_retries = 0")
        .listener(Tls::Plain, 0, "")
        .destination_at("far", "localhost", backend.address.port(), PLAIN)
        .start();
    let (mut near, mut far) = stage.session(Tls::Plain, "far@test", &backend);
    near.echo(&mut far, "hello");
}

#[test]
fn a_name_that_nobody_knows_is_temporary_and_delays_nobody_else() {
    let (backend, another) = (Backend::start(Tls::Plain), Backend::start(Tls::Plain));
    let stage = Draft::new("threads = 1\nbackend_connect_retries = 0\nbackend_timeout = \"5s\"")
        .listener(Tls::Plain, 0, "")
        .destination("far", &backend, "")
        .destination("another", &another, "")
        .destination_at("unknown", "nobody.invalid", 143, PLAIN)
        .start();
    let mut asking: Vec<_> = (0..20).map(|_| stage.client(Tls::Plain)).collect();
    for client in &mut asking {
        client.expect("* OK ");
        client
            .say(format!("a LOGIN unknown@test {PASSWORD}\r\nb LOGIN another@test {PASSWORD}\r\n"));
    }
    let (mut near, mut far) = stage.session(Tls::Plain, "far@test", &backend);
    near.echo(&mut far, "meanwhile");
    for client in &mut asking {
        assert!(client.answer("a").starts_with("NO [UNAVAILABLE] "));
        assert!(client.answer("b").starts_with("OK "), "another account, the same connection");
    }
}

#[test]
fn nobody_at_the_port_is_temporary() {
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let port = std::net::TcpListener::bind(free).unwrap().local_addr().unwrap().port();
    let stage = Draft::new("threads = 1")
        .listener(Tls::Plain, 0, "")
        .destination_at("far", "127.0.0.1", port, PLAIN)
        .start();
    let mut client = stage.client(Tls::Plain);
    client.expect("* OK ");
    client.say(format!("a LOGIN far@test {PASSWORD}\r\n"));
    assert!(client.answer("a").starts_with("NO [UNAVAILABLE] "));
}

#[test]
fn backends_see_the_source_addresses_in_turn() {
    let backend = Backend::start(Tls::Plain);
    let stage = Draft::new("threads = 2")
        .listener(Tls::Plain, 0, "")
        .destination("far", &backend, "source_ips = [\"127.0.0.2\", \"127.0.0.3\"]")
        .destination_at(
            "elsewhere",
            "127.0.0.1",
            backend.address.port(),
            &format!("{PLAIN}source_ips = [\"::1\"]"),
        )
        .start();
    let mut seen: Vec<String> = (0..6)
        .map(|_| {
            let (_near, far) = stage.session(Tls::Plain, "far@test", &backend);
            far.socket.peer_addr().unwrap().ip().to_string()
        })
        .collect();
    seen.sort();
    assert_eq!(
        seen,
        ["127.0.0.2", "127.0.0.2", "127.0.0.2", "127.0.0.3", "127.0.0.3", "127.0.0.3"]
    );

    // None of its family: it is not reached from any other.
    let mut client = stage.client(Tls::Plain);
    client.expect("* OK ");
    client.say(format!("a LOGIN elsewhere@test {PASSWORD}\r\n"));
    assert!(client.answer("a").starts_with("NO [SERVERBUG] "));
    assert!(backend.is_unused());
}
