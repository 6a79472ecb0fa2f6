//! A balancer in front of the server, and headers toward backends: what is counted, what is logged,
//! and what leaves in one piece. What is said on every leg is in the scripts.

use std::io::{self, ErrorKind, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use gatepost_conformance::rig::Tls;
use socket2::{Domain, Socket, Type};

use crate::server::program::Program;
use crate::server::stage::{Backend, Draft};
use crate::server::wire::{LIMIT, Wire, eventually};

const REQUIRED: &str = "proxy_protocol = \"required\"\nproxy_trusted = [\"127.0.0.1\"]";

/// The first octet of a TLS record that holds a part of a handshake, RFC 8446 §5.1.
const HANDSHAKE: u8 = 22;
/// Two segments may arrive as one, but not every time.
const ATTEMPTS: u32 = 3;
/// Octets of a header of version 2 before its length.
const BEFORE_LENGTH: usize = 14;

/// Octets of the header in front.
fn header_octets(octets: &[u8]) -> usize {
    assert!(octets.starts_with(b"\r\n\r\n\0\r\nQUIT\n\x21"), "{}", octets.escape_ascii());
    let length = [octets[BEFORE_LENGTH], octets[BEFORE_LENGTH + 1]];
    BEFORE_LENGTH + 2 + usize::from(u16::from_be_bytes(length))
}

/// What the first read at a backend brings. It does not sleep until something comes, as by the time
/// that it had woken up two segments would be there.
fn first_read(backend: &TcpListener) -> Vec<u8> {
    let (mut socket, _) = eagerly(|| backend.accept());
    socket.set_nonblocking(true).unwrap();
    let mut octets = vec![0; 8192];
    let count = eagerly(|| socket.read(&mut octets));
    octets.truncate(count);
    octets
}

fn eagerly<T>(mut look: impl FnMut() -> io::Result<T>) -> T {
    let begun = Instant::now();
    loop {
        match look() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                assert!(begun.elapsed() < LIMIT, "nothing came");
                std::hint::spin_loop();
            }
            result => return result.unwrap(),
        }
    }
}

/// A backend whose queue is full, so that whoever connects has to try again, and learns by an event
/// that the connection stands; and who fills the queue. On loopback it would stand at once, and
/// whatever is written before the first event waits for that anyway.
fn reluctant_backend() -> (TcpListener, TcpStream) {
    let backend = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    backend.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    backend.listen(0).unwrap();
    let backend = TcpListener::from(backend);
    let filler = TcpStream::connect(backend.local_addr().unwrap()).unwrap();
    (backend, filler)
}

/// Waits until somebody tries to connect there in vain.
fn connecting(port: u16) {
    // As the kernel has it: the address in hexadecimal, and 02 for a SYN that was sent.
    let waits = format!(" 0100007F:{port:04X} 02 ");
    eventually("a connection that is being made", || {
        std::fs::read_to_string("/proc/net/tcp").unwrap().contains(&waits).then_some(())
    });
}

/// What the first read brings of whoever comes after the one who fills the queue.
fn first_read_after(filler: TcpStream, backend: &TcpListener) -> Vec<u8> {
    let came = backend.accept().unwrap();
    backend.set_nonblocking(true).unwrap();
    let octets = first_read(backend);
    drop((came, filler));
    octets
}

#[test]
fn a_header_and_the_first_record_of_a_handshake_are_one_segment() {
    for _ in 0..ATTEMPTS {
        let (backend, filler) = reluctant_backend();
        let port = backend.local_addr().unwrap().port();
        let mut draft = Draft::new("backend_connect_retries = 0")
            .listener(Tls::Plain, 0, "")
            .destination_at("far", "127.0.0.1", port, "tls_server_name = \"localhost\"");
        draft.add("forwarding = \"proxy\"\n");
        let stage = draft.start();
        let mut client = stage.client(Tls::Plain);
        client.expect("* OK ");
        client.say("a LOGIN far@test secret\r\n");
        connecting(port);
        let octets = first_read_after(filler, &backend);
        let header = header_octets(&octets);
        assert_eq!(octets.get(header), Some(&HANDSHAKE), "{}", octets.escape_ascii());
        assert!(client.answer("a").starts_with("NO [UNAVAILABLE] "));
    }
}

#[test]
fn a_carried_clients_header_leaves_with_the_handshake_too() {
    let (backend, filler) = reluctant_backend();
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
    let _client = Wire::connect(stage.address(Tls::Plain));
    connecting(port);
    let octets = first_read_after(filler, &backend);
    let header = header_octets(&octets);
    assert_eq!(octets.get(header), Some(&HANDSHAKE), "{}", octets.escape_ascii());
}

#[test]
fn where_the_server_speaks_first_the_header_goes_at_once() {
    let backend = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    backend.set_nonblocking(true).unwrap();
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
