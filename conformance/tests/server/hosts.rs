//! A destination of several hosts: where accounts land, and what is left when a host dies.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Barrier};
use std::thread;

use gatepost_conformance::backend::{Account, Backend as MailBackend, Settings};
use gatepost_conformance::rig::Tls;

use crate::server::stage::{Backend, Draft};
use crate::server::wire::{PASSWORD, Wire, eventually};

const ACCOUNTS: usize = 24;
const CLIENTS: usize = 4;
/// Logins of each client before, around and after the death of a host.
const LOGINS: usize = 24;

fn mail_backend(listen: SocketAddr) -> MailBackend {
    let account = |number| Account::new(&format!("user{number}@test"), PASSWORD);
    let accounts = (0..ACCOUNTS).map(account).collect();
    MailBackend::start(Settings { listen, accounts, ..Settings::default() }).unwrap()
}

fn anywhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// What a client hears of one login.
fn log_in(server: SocketAddr, user: usize) -> String {
    let mut client = Wire::connect(server);
    client.expect("* OK ");
    client.say(format!("a LOGIN user{user}@test {PASSWORD}\r\n"));
    let answer = client.answer("a");
    client.say("b LOGOUT\r\n");
    answer
}

/// The answers to so many logins, by accounts in turn.
fn logins(server: SocketAddr, first: usize) -> Vec<String> {
    (first..first + LOGINS).map(|number| log_in(server, number % ACCOUNTS)).collect()
}

fn logged_in(backend: &MailBackend) -> usize {
    backend.sessions().iter().filter(|session| session.login.is_some()).count()
}

/// One of two hosts dies under load. Nobody ever hears that a password is wrong, the other host
/// serves everybody, and once the first is back it has its accounts again.
#[test]
fn a_host_dies_and_comes_back() {
    let (one, other) = (mail_backend(anywhere()), mail_backend(anywhere()));
    let (dying, staying) = (one.address(), other.address());
    let stage = Draft::new("threads = 2\nhost_down_cooldown = \"500ms\"")
        .listener(Tls::Plain, 0, "")
        .destination_on("far", &[dying, staying], "")
        .start();
    let server = stage.address(Tls::Plain);
    let barrier = Arc::new(Barrier::new(CLIENTS + 1));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let barrier = Arc::clone(&barrier);
            thread::spawn(move || {
                let mut heard = Vec::new();
                for _ in 0..3 {
                    barrier.wait();
                    heard.push(logins(server, client));
                    barrier.wait();
                }
                heard
            })
        })
        .collect();
    barrier.wait();
    barrier.wait();
    assert!(logged_in(&one) > 0 && logged_in(&other) > 0, "both have accounts");
    assert_eq!(logged_in(&one) + logged_in(&other), CLIENTS * LOGINS);
    barrier.wait();
    drop(one);
    barrier.wait();
    barrier.wait();
    barrier.wait();
    for client in clients {
        let heard = client.join().unwrap();
        let good = |answers: &[String]| answers.iter().filter(|it| it.starts_with("OK ")).count();
        assert_eq!(good(&heard[0]), LOGINS, "{:?}", heard[0]);
        assert_eq!(good(&heard[2]), LOGINS, "{:?}", heard[2]);
        for answer in &heard[1] {
            assert!(
                answer.starts_with("OK ") || answer.starts_with("NO [UNAVAILABLE] "),
                "{answer}"
            );
        }
    }
    let back = mail_backend(dying);
    eventually("the host that is back has accounts again", || {
        assert!((0..ACCOUNTS).all(|user| log_in(server, user).starts_with("OK ")));
        (logged_in(&back) > 0).then_some(())
    });
}

/// A host that takes no connection costs one attempt's time; the next one goes to another host.
#[test]
fn a_host_without_an_answer_is_passed_over() {
    let backend = Backend::start(Tls::Plain);
    // A socket whose queue is full: who connects hears nothing.
    let silent = TcpListener::bind(anywhere()).unwrap();
    let address = silent.local_addr().unwrap();
    rustix::net::listen(&silent, 0).unwrap();
    let mut filling = Vec::new();
    for _ in 0..4 {
        let socket = socket2::Socket::new(
            socket2::Domain::IPV4,
            socket2::Type::STREAM,
            Some(socket2::Protocol::TCP),
        )
        .unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&address.into());
        filling.push(socket);
    }
    let stage = Draft::new("threads = 1\nbackend_timeout = \"2s\"")
        .listener(Tls::Plain, 0, "")
        .destination_on("far", &[address, backend.address], "policy = \"first\"\n")
        .start();
    let (mut near, mut far) = stage.session(Tls::Plain, "far@test", &backend);
    near.echo(&mut far, "hello");
}
