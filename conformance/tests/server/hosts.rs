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

/// With neither a breaker nor retries, only probes can keep logins from a host that is dead.
#[test]
fn probes_take_a_dead_host_out_and_bring_it_back() {
    let (one, other) = (mail_backend(anywhere()), mail_backend(anywhere()));
    let (dying, staying) = (one.address(), other.address());
    let server = "threads = 1\nhost_down_threshold = 0\nbackend_connect_retries = 0";
    let draft = Draft::new(server).listener(Tls::Plain, 0, "");
    let password = draft.file("password", &format!("{PASSWORD}\n"));
    let probes = format!(
        "probe_interval = \"50ms\"\nprobe_user = \"user0@test\"\n\
         probe_password_file = \"{password}\"\n"
    );
    let stage = draft.destination_on("far", &[dying, staying], &probes).start();
    let server = stage.address(Tls::Plain);
    let all_served = || (0..ACCOUNTS).all(|user| log_in(server, user).starts_with("OK "));
    assert!(all_served());
    drop(one);
    eventually("nobody is sent to the dead host", || all_served().then_some(()));
    let back = mail_backend(dying);
    let is_client = |login: &(String, String)| login.0 != "user0@test";
    eventually("the host that is back has accounts again", || {
        assert!(all_served());
        let mut sessions = back.sessions().into_iter();
        sessions.any(|session| session.login.as_ref().is_some_and(is_client)).then_some(())
    });
    // The account of the probes is an account, and no probe is left hanging.
    let sessions = other.sessions();
    assert!(sessions.iter().all(|session| session.refused == 0));
}

/// What both hosts can do is told before the login, once it is known; and little before.
#[test]
fn clients_are_told_what_all_backends_can_do() {
    let (one, other) = (mail_backend(anywhere()), mail_backend(anywhere()));
    let mut draft = Draft::new("threads = 1").listener(Tls::Plain, 0, "");
    draft.add("[capabilities.imap]\nadvertise = \"auto\"\n");
    let probes = "probe_interval = \"50ms\"\n";
    let stage = draft.destination_on("far", &[one.address(), other.address()], probes).start();
    let server = stage.address(Tls::Plain);
    eventually("the greeting tells what backends can do", || {
        let greeting = Wire::connect(server).expect("* OK [CAPABILITY IMAP4rev1 ");
        greeting.contains(" UIDPLUS ").then_some(())
    });
    let greeting = Wire::connect(server).expect("* OK ");
    assert_eq!(greeting.matches("AUTH=PLAIN").count(), 1, "{greeting}");
    assert!(log_in(server, 1).starts_with("OK [CAPABILITY "), "the backend's own list");
}

#[test]
fn a_probes_password_is_read_before_anything_is_bound() {
    let backend = Backend::start(Tls::Plain);
    let draft = Draft::new("threads = 1").listener(Tls::Plain, 0, "");
    let empty = draft.file("empty", "\nsecond line\n");
    for (path, expected) in [("/nowhere/password", "cannot be read"), (&empty, "no password")] {
        let keys = format!(
            "probe_interval = \"1s\"\nprobe_user = \"u\"\nprobe_password_file = \"{path}\"\n"
        );
        let draft = Draft::new("").listener(Tls::Plain, 0, "").destination("far", &backend, &keys);
        let (config, _) = gatepost_core::config::parse(&draft.text()).unwrap();
        let faults = gatepost_mio::Site::load(&config).err().unwrap();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(faults[0].place, "destination.far.probe_password_file");
        assert!(faults[0].what.contains(expected), "{}", faults[0]);
    }
}
