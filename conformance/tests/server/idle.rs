//! A session with nothing in flight owns no buffer and no pipe, whatever it has carried before.

use gatepost_conformance::rig::Tls;
use gatepost_mio::Held;

use crate::server::stage::{Backend, Draft};
use crate::server::wire::{PIECE, Wire, eventually, transfer};

/// Sessions at once.
const SESSIONS: usize = 200;
/// Octets that a few of them carry each way; the others carry a piece.
const BULK: usize = 3 * 1024 * 1024 + 1;
/// Every so many-th session carries that much.
const BULK_EACH: usize = 50;

fn two_hundred_sessions(client: Tls, backend: Tls) {
    let backend = Backend::start(backend);
    let stage =
        Draft::new("threads = 2").listener(client, 0, "").destination("far", &backend, "").start();
    let mut sessions: Vec<(Wire, Wire)> =
        (0..SESSIONS).map(|_| stage.session(client, "far@test", &backend)).collect();
    for (number, (near, far)) in sessions.iter_mut().enumerate() {
        let octets = if number % BULK_EACH == 0 { BULK } else { PIECE };
        transfer(near, far, octets);
        transfer(far, near, octets);
    }
    let idle = Held { connections: SESSIONS, relays: SESSIONS, buffer_octets: 0, pipes: 0 };
    eventually("every buffer and pipe is given back", || {
        (stage.remote.held() == idle).then_some(())
    });

    // What is held shows as soon as somebody stops reading.
    let (near, far) = &mut sessions[0];
    far.socket.set_nonblocking(true).unwrap();
    let stuck = eventually("something is in flight", || {
        fill(far);
        let held = stage.remote.held();
        (held.buffer_octets + held.pipes > 0).then_some(held)
    });
    assert_eq!(stuck.pipes == 1, far.tls.is_none() && near.tls.is_none(), "{stuck:?}");
    drop(sessions);
    eventually("all is gone", || (stage.remote.held() == Held::default()).then_some(()));
}

/// Writes as much as the socket takes without waiting.
fn fill(far: &mut Wire) {
    use std::io::Write as _;
    while far.write(&[b'.'; 16_384]).is_ok() {}
}

#[test]
fn plain_sessions_hold_nothing_while_idle() {
    two_hundred_sessions(Tls::Plain, Tls::Plain);
}

#[test]
fn sessions_with_tls_toward_clients_hold_nothing_while_idle() {
    two_hundred_sessions(Tls::Implicit, Tls::Plain);
}

#[test]
fn sessions_with_tls_on_both_legs_hold_nothing_while_idle() {
    two_hundred_sessions(Tls::Implicit, Tls::Implicit);
}

#[test]
fn a_client_that_has_not_logged_in_holds_nothing_either() {
    let backend = Backend::start(Tls::Plain);
    let stage =
        Draft::new("").listener(Tls::Implicit, 0, "").destination("far", &backend, "").start();
    let mut clients: Vec<Wire> = (0..50).map(|_| stage.client(Tls::Implicit)).collect();
    for client in &mut clients {
        client.expect("* OK ");
        // A long identity, and a login that fails for its syntax.
        client.say(format!("a ID (\"name\" \"{}\")\r\n", "x".repeat(900)));
        assert!(client.answer("a").starts_with("OK "));
        client.say("b LOGIN {4000+}\r\n");
        client.say("y".repeat(4000));
        client.say(" {3+}\r\n\0\0\0\r\n");
        assert!(!client.answer("b").starts_with("OK "));
    }
    let per_client = eventually("the clients are all there", || {
        let held = stage.remote.held();
        (held.connections == clients.len()).then_some(held.buffer_octets / clients.len())
    });
    // The inbox of a dialogue is bounded by what a client may send, not by what it has sent.
    assert!(per_client <= 8 * 1024, "{per_client} octets for each");
}
