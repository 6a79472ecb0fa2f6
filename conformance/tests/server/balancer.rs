//! A balancer in front of the server, and headers toward backends: what is counted, what is logged,
//! and what leaves in one piece. What is said on every leg is in the scripts.

use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener};

use gatepost_conformance::rig::Tls;

use crate::server::program::Program;
use crate::server::stage::{Backend, Draft};
use crate::server::wire::{Wire, eventually};

const REQUIRED: &str = "proxy_protocol = \"required\"\nproxy_trusted = [\"127.0.0.1\"]";

/// The first octet of a TLS record that holds a part of a handshake, RFC 8446 §5.1.
const HANDSHAKE: u8 = 22;
/// Octets of a header of version 2 before its length.
const BEFORE_LENGTH: usize = 14;

/// Octets of the header in front.
fn header_octets(octets: &[u8]) -> usize {
    assert!(octets.starts_with(b"\r\n\r\n\0\r\nQUIT\n\x21"), "{}", octets.escape_ascii());
    let length = [octets[BEFORE_LENGTH], octets[BEFORE_LENGTH + 1]];
    BEFORE_LENGTH + 2 + usize::from(u16::from_be_bytes(length))
}

/// What the first read at a backend brings.
fn first_read(backend: &TcpListener) -> Vec<u8> {
    let (mut socket, _) = backend.accept().unwrap();
    let mut octets = vec![0; 8192];
    let count = socket.read(&mut octets).unwrap();
    octets.truncate(count);
    octets
}

#[test]
fn a_header_and_the_first_record_of_a_handshake_are_one_segment() {
    let backend = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = backend.local_addr().unwrap().port();
    let mut draft = Draft::new("backend_connect_retries = 0")
        .listener(Tls::Plain, 0, "")
        .destination_at("far", "127.0.0.1", port, "tls_server_name = \"localhost\"");
    draft.add("forwarding = \"proxy\"\n");
    let stage = draft.start();
    // Two segments might arrive as one once, but not every time.
    for _ in 0..10 {
        let mut client = stage.client(Tls::Plain);
        client.expect("* OK ");
        client.say("a LOGIN far@test secret\r\n");
        let octets = first_read(&backend);
        let header = header_octets(&octets);
        assert_eq!(octets.get(header), Some(&HANDSHAKE), "{}", octets.escape_ascii());
        assert!(client.answer("a").starts_with("NO [UNAVAILABLE] "));
    }
}

#[test]
fn a_carried_clients_header_leaves_with_the_handshake_too() {
    let backend = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = backend.local_addr().unwrap().port();
    let mut draft =
        Draft::new("").destination_at("far", "127.0.0.1", port, "tls_server_name = \"localhost\"");
    draft.add(&format!(
        "forwarding = \"proxy\"\n\
         [destination.far.protocol.smtp]\nport = {port}\ntls = \"implicit\"\n\
         forwarding = \"proxy\"\n\
         [listener.plain]\nprotocol = \"smtp\"\nbind = [\"127.0.0.1:0\"]\ntls = \"plain\"\n"
    ));
    let stage = draft.start_carrying("far");
    for _ in 0..10 {
        let _client = Wire::connect(stage.address(Tls::Plain));
        let octets = first_read(&backend);
        let header = header_octets(&octets);
        assert_eq!(octets.get(header), Some(&HANDSHAKE), "{}", octets.escape_ascii());
    }
}

#[test]
fn where_the_server_speaks_first_the_header_goes_at_once() {
    let backend = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = backend.local_addr().unwrap().port();
    let mut draft = Draft::new("").listener(Tls::Plain, 0, "").destination_at(
        "far",
        "127.0.0.1",
        port,
        "allow_plaintext_auth = true",
    );
    draft.add("forwarding = \"proxy\"\n");
    let stage = draft.start();
    let mut client = stage.client(Tls::Plain);
    client.expect("* OK ");
    client.say("a LOGIN far@test secret\r\n");
    let octets = first_read(&backend);
    assert_eq!(header_octets(&octets), octets.len());
}

#[test]
fn limits_count_the_address_in_the_header() {
    let backend = Backend::start(Tls::Plain);
    let keys = format!("{REQUIRED}\nmax_connections_per_ip = 1");
    let draft = Draft::new("").listener(Tls::Plain, 0, &keys).destination("far", &backend, "");
    let stage = draft.start();
    let client = |address: &str| {
        let mut client = Wire::connect(stage.address(Tls::Plain));
        client.say(format!("PROXY TCP4 {address} 198.51.100.1 50123 143\r\n"));
        client
    };
    let mut first = client("203.0.113.7");
    first.expect("* OK ");
    client("203.0.113.7").expect("* BYE [LIMIT] ");
    let mut other = client("203.0.113.8");
    other.expect("* OK ");
    first.say("a LOGOUT\r\n");
    assert!(first.answer("a").starts_with("OK "));
    drop(first);
    eventually("its place is free again", || {
        client("203.0.113.7").line().unwrap().starts_with("* OK ").then_some(())
    });
}

#[test]
fn the_log_names_the_client_and_the_balancer() {
    let backend = Backend::start(Tls::Plain);
    let draft = Draft::new("").listener(Tls::Plain, 0, REQUIRED).destination("far", &backend, "");
    let Some(program) = Program::run(draft) else { return };
    let mut client = program.client(Tls::Plain);
    client.say("PROXY TCP4 203.0.113.7 198.51.100.1 50123 143\r\n");
    client.log_in("far@test");
    program.wait_for("] login ");
    let both = program.lines(&["] login ", " client=203.0.113.7:50123 via=127.0.0.1:"]);
    assert_eq!(both.len(), 1, "{}", program.log());

    let mut damaged = program.client(Tls::Plain);
    damaged.say("PROXY TCP4 203.0.113.7\r\n");
    assert_eq!(damaged.rest().0, b"");
    program.wait_for("reason=proxy-header/grammar");
    let end =
        program.lines(&["] end ", " by=proxy reason=proxy-header/grammar state=proxy-header "]);
    assert!(end.len() == 1 && !end[0].contains(" via="), "{end:?}");
    assert!(end[0].contains(" client=127.0.0.1:"), "{end:?}");
}
