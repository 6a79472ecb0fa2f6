//! What happens to bytes once a client is logged in, with every combination of TLS.
#![allow(clippy::unwrap_used)]

mod world;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use gatepost_mio::Rig;
use world::{End, Kind, LOGGED_IN, LOGIN, PATIENCE, World};

/// Octets of a bulk transfer: many times what sockets and pipes hold.
const BULK: usize = 12 * 1024 * 1024;
const KINDS: [Kind; 4] =
    [kind(false, false), kind(true, false), kind(false, true), kind(true, true)];

const fn kind(client_tls: bool, backend_tls: bool) -> Kind {
    Kind { client_tls, backend_tls, server: "", listener: "" }
}

/// Octets in which a loss, a repetition or a swap shows.
fn bulk(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let step = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(step).take(BULK).collect()
}

fn carry(from: &mut End, to: &mut End, bytes: &[u8]) {
    thread::scope(|scope| {
        scope.spawn(|| {
            from.write_all(bytes).unwrap();
            from.flush().unwrap();
        });
        // The server meets a side that takes nothing for a while.
        thread::sleep(Duration::from_millis(200));
        let mut heard = vec![0; bytes.len()];
        to.read_exact(&mut heard).unwrap();
        assert!(heard == bytes, "something was lost, repeated or changed");
    });
}

#[test]
fn bulk_passes_unchanged_in_each_direction_and_idle_sessions_hold_nothing() {
    for kind in KINDS {
        let world = World::new(kind);
        let (mut client, mut backend) = world.session();
        carry(&mut client, &mut backend, &bulk(1));
        carry(&mut backend, &mut client, &bulk(2));
        client.say("a9 NOOP\r\n");
        backend.hear("a9 NOOP\r\n");
        backend.say("a9 OK\r\n");
        client.hear("a9 OK\r\n");
        world.settles(|held| (held.relays, held.buffer_octets, held.pipes) == (1, 0, 0));
    }
}

#[test]
fn both_directions_at_once() {
    let world = World::new(KINDS[0]);
    let (client, backend) = world.session();
    let (End::Plain(client), End::Plain(backend)) = (client, backend) else { panic!() };
    thread::scope(|scope| {
        for (mut from, to, seed) in [(&client, &backend, 3), (&backend, &client, 4)] {
            scope.spawn(move || from.write_all(&bulk(seed)).unwrap());
            scope.spawn(move || {
                let (mut to, mut heard) = (to, vec![0; BULK]);
                to.read_exact(&mut heard).unwrap();
                assert!(heard == bulk(seed));
            });
        }
    });
}

#[test]
fn what_was_sent_before_the_hand_off_comes_first() {
    for kind in KINDS {
        let world = World::new(kind);
        let mut client = world.greeted();
        client.say(&format!("{LOGIN}a2 NOOP\r\n"));
        client.hear(LOGGED_IN);
        let mut backend = world.backends.recv().unwrap();
        client.say("a3 NOOP\r\n");
        backend.hear("a2 NOOP\r\na3 NOOP\r\n");
    }
}

#[test]
fn a_side_that_ended_still_hears_the_other() {
    for kind in KINDS {
        let world = World::new(kind);
        let (mut client, mut backend) = world.session();
        client.say("a2 LOGOUT\r\n");
        client.end();
        assert_eq!(backend.rest(), "a2 LOGOUT\r\n");
        backend.say("* BYE\r\na2 OK\r\n");
        backend.end();
        assert_eq!(client.rest(), "* BYE\r\na2 OK\r\n");
        world.settles(|held| held.connections == 0);
    }
}

#[test]
fn a_backend_that_ends_first_still_hears_the_client() {
    for kind in KINDS {
        let world = World::new(kind);
        let (mut client, mut backend) = world.session();
        backend.end();
        assert_eq!(client.rest(), "");
        client.say("late\r\n");
        client.end();
        assert_eq!(backend.rest(), "late\r\n");
        world.settles(|held| held.connections == 0);
    }
}

#[test]
fn a_client_that_reads_nothing_costs_a_bounded_amount() {
    for kind in KINDS {
        let world = World::new(kind);
        let (mut client, mut backend) = world.session();
        let (full, was_full) = channel();
        let sent = thread::scope(|scope| {
            let writer = scope.spawn(move || {
                let patience = Some(Duration::from_millis(100));
                backend.socket().set_write_timeout(patience).unwrap();
                // The TLS of this end reads when it cannot write.
                backend.socket().set_read_timeout(patience).unwrap();
                let (mut sent, slice) = (0, [b'x'; 16 * 1024]);
                loop {
                    match backend.write(&slice) {
                        Ok(octets) => sent += octets,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => panic!("{error}"),
                    }
                }
                full.send(()).unwrap();
                backend.socket().set_write_timeout(None).unwrap();
                backend.flush().unwrap();
                backend.end();
                sent
            });
            was_full.recv().unwrap();
            let held = world.server.remote().held();
            assert!(held.buffer_octets <= 256 * 1024 && held.pipes <= 1, "{held:?}");
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).unwrap();
            assert!(heard.iter().all(|octet| *octet == b'x'));
            (writer.join().unwrap(), heard.len())
        });
        assert_eq!(sent.0, sent.1);
    }
}

#[test]
fn a_side_that_breaks_takes_the_other_with_it() {
    for kind in KINDS {
        let world = World::new(kind);
        let (client, mut backend) = world.session();
        // Unread octets turn the close into a reset.
        backend.say("* 1 EXISTS\r\n");
        thread::sleep(Duration::from_millis(100));
        drop(client);
        assert_eq!(backend.rest(), "");
        drop(backend);
        world.settles(|held| held.connections == 0);
    }
}

#[test]
fn a_client_that_broke_before_the_hand_off_takes_the_backend_with_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let rig = Rig { resolve: Some(Arc::new(move |_: &str, _| Ok(address))), ..Rig::default() };
    let world = World::with(KINDS[0], rig);

    let mut client = world.connect();
    client.socket().peek(&mut [0]).unwrap();
    client.say(LOGIN);
    // More than the server takes before a login: the reset behind it is met by the first write.
    client.say(&"x".repeat(100_000));
    let (mut backend, _) = listener.accept().unwrap();
    backend.set_read_timeout(Some(PATIENCE)).unwrap();
    backend.write_all(b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hello\r\n").unwrap();
    let mut login = [0; "L AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==\r\n".len()];
    backend.read_exact(&mut login).unwrap();
    // The greeting was not read, which turns the close into a reset.
    drop(client);
    thread::sleep(Duration::from_millis(100));
    backend.write_all(b"L OK [CAPABILITY IMAP4rev1 IDLE] in\r\n").unwrap();

    let mut passed = Vec::new();
    backend.read_to_end(&mut passed).unwrap();
    assert!(passed.iter().all(|octet| *octet == b'x'));
    drop(backend);
    world.settles(|held| held.connections == 0);
}
