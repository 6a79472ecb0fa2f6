//! Limits on connections: one at the limit passes, one past it does not, and every place returns.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr};

use gatepost_conformance::rig::Tls;

use crate::server::stage::{Backend, Draft, ELSEWHERE, Stage};
use crate::server::wire::{Wire, eventually};

/// The first flight of a TLS client, as far as it matters.
const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03";

fn stage(listener: Tls, keys: &str, backend: &Backend) -> Stage {
    // More than one worker, as limits are the listener's.
    let draft = Draft::new("threads = 3\nbackend_connect_retries = 0").listener(listener, 0, keys);
    draft.destination("far", backend, "").start()
}

#[test]
fn one_connection_past_the_limit_is_told_so() {
    let backend = Backend::start(Tls::Plain);
    let stage = stage(Tls::Plain, "max_connections = 3", &backend);
    let mut within: Vec<Wire> = (0..3).map(|_| stage.client(Tls::Plain)).collect();
    for client in &mut within {
        client.expect("* OK ");
    }
    for _ in 0..5 {
        let mut past = stage.client(Tls::Plain);
        past.expect("* BYE [LIMIT] ");
        let (more, end) = past.rest();
        assert_eq!(more, b"");
        end.unwrap();
    }
    for client in &mut within {
        client.say("a NOOP\r\n");
        assert!(client.answer("a").starts_with("OK "));
    }
}

#[test]
fn past_the_limit_no_handshake_begins() {
    let backend = Backend::start(Tls::Plain);
    let stage = stage(Tls::Implicit, "max_connections = 2", &backend);
    let mut within: Vec<Wire> = (0..2).map(|_| stage.client(Tls::Implicit)).collect();
    for client in &mut within {
        client.expect("* OK ");
    }
    let mut past = Wire::connect(stage.address(Tls::Implicit));
    past.say(CLIENT_HELLO);
    let (answer, end) = past.rest();
    assert_eq!(answer, b"");
    end.unwrap();
    within[0].log_in_again();
}

#[test]
fn an_address_has_its_own_limit() {
    let backend = Backend::start(Tls::Plain);
    let stage = stage(Tls::Plain, "max_connections_per_ip = 2", &backend);
    let address = stage.address(Tls::Plain);
    let connect = |from: IpAddr| Wire::connect_from(from, address, None);
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut held = vec![connect(here), connect(here), connect(ELSEWHERE), connect(ELSEWHERE)];
    for client in &mut held {
        client.expect("* OK ");
    }
    connect(here).expect("* BYE [LIMIT] ");
    connect(ELSEWHERE).expect("* BYE [LIMIT] ");
    drop(held.pop());
    eventually("a place is free again", || {
        connect(ELSEWHERE).line().unwrap().starts_with("* OK ").then_some(())
    });
    connect(here).expect("* BYE [LIMIT] ");
}

/// Takes the only place, ends in some way, and sees that somebody else gets it.
fn returns(stage: &Stage, tls: Tls, way: &str, end: impl FnOnce(Wire)) {
    let connect = || Wire::connect(stage.address(tls));
    let taken = eventually(way, || {
        let mut client = connect();
        if tls == Tls::Implicit {
            let config = stage.draft.certificate.client_config().unwrap();
            client.secure(config, "localhost").ok()?;
        }
        client.line().ok()?.starts_with("* OK ").then_some(client)
    });
    if tls == Tls::Plain {
        connect().expect("* BYE [LIMIT] ");
    }
    end(taken);
}

/// One connection at a time; three destinations, at the last of which nobody listens.
fn stage_for_one(backend: &Backend, undecided: &Backend) -> Stage {
    let keys = "max_connections = 1\npreauth_timeout = \"1s\"\nmax_auth_attempts = 1";
    Draft::new("threads = 2\nbackend_connect_retries = 0\nbridge_idle = \"1s\"")
        .listener(Tls::Plain, 0, keys)
        .destination("far", backend, "")
        .destination("undecided", undecided, "")
        .destination_at("nowhere", "127.0.0.1", 1, "allow_plaintext_auth = true\n")
        .start()
}

#[test]
fn a_place_returns_however_its_connection_ends() {
    let backend = Backend::start(Tls::Plain);
    let undecided = Backend::start_undecided();
    let stage = stage_for_one(&backend, &undecided);
    let ends = |way: &str, end: &dyn Fn(Wire)| returns(&stage, Tls::Plain, way, end);
    let logged_in = |mut client: Wire| {
        client.say("a LOGIN far@test x\r\n");
        assert!(client.answer("a").starts_with("OK "));
        (client, backend.session())
    };
    ends("at first", &drop);
    ends("after a close", &Wire::reset);
    ends("after a reset", &|mut client| {
        client.say("a LOGOUT\r\n");
        assert!(client.answer("a").starts_with("OK "));
        assert_eq!(client.rest().0, b"");
    });
    ends("after LOGOUT", &|mut client| client.expect_bye());
    ends("after the time before login", &|mut client| {
        client.say("GET / HTTP/1.1\r\n\r\n");
        drop(client.rest());
    });
    ends("after a mistake", &|mut client| {
        client.say("a LOGIN nowhere@test x\r\n");
        assert!(client.answer("a").starts_with("NO [UNAVAILABLE] "));
        client.reset();
    });
    ends("after a failed login", &|mut client| {
        client.say("a LOGIN undecided@test x\r\n");
        let mut far = undecided.session();
        let tag = far.line().unwrap().split(' ').next().unwrap().to_owned();
        far.say(format!("{tag} NO [AUTHENTICATIONFAILED] no\r\n"));
        assert!(client.answer("a").starts_with("NO [AUTHENTICATIONFAILED] "));
        client.expect_bye();
    });
    ends("after too many attempts", &|mut client| {
        client.say("a LOGIN undecided@test x\r\n");
        let far = undecided.session();
        client.reset();
        drop(far);
    });
    ends("after a reset during the login", &|client| drop(logged_in(client)));
    ends("after both sides closed", &|client| {
        let (mut client, far) = logged_in(client);
        far.reset();
        assert_eq!(client.rest().0, b"");
    });
    ends("after the backend's reset", &|client| {
        let (client, mut far) = logged_in(client);
        client.reset();
        drop(far.rest());
    });
    ends("after the client's reset", &|client| {
        let (mut client, mut far) = logged_in(client);
        far.socket.set_nonblocking(true).unwrap();
        eventually("something is in flight", || {
            while far.write(&[b'.'; 16_384]).is_ok() {}
            (stage.remote.held().pipes > 0).then_some(())
        });
        stage.remote.kick_all();
        assert!(client.read_to_end(&mut Vec::new()).is_ok());
    });
    ends("after a kick in the middle of a stream", &|client| {
        let (mut client, mut far) = logged_in(client);
        assert_eq!((client.rest().0, far.rest().0), (Vec::new(), Vec::new()), "idle too long");
    });
    ends("after a silence", &drop);
}

#[test]
fn a_place_returns_after_failed_handshakes() {
    let backend = Backend::start(Tls::Plain);
    let stage = stage(Tls::Implicit, "max_connections = 1\npreauth_timeout = \"1s\"", &backend);
    let address = stage.address(Tls::Implicit);
    returns(&stage, Tls::Implicit, "at first", drop);
    for way in ["garbage", "an early end", "a reset", "silence"] {
        // The place may be another's for a moment yet, and then this is only one more attempt.
        let mut client = Wire::connect(address);
        match way {
            "garbage" => client.say("a LOGIN x y\r\n"),
            "an early end" => client.say(CLIENT_HELLO),
            _ => {}
        }
        match way {
            "a reset" => client.reset(),
            "an early end" => client.finish(),
            _ => match client.read_to_end(&mut Vec::new()) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            },
        }
        returns(&stage, Tls::Implicit, way, drop);
    }
}

impl Wire {
    fn expect_bye(&mut self) {
        self.expect("* BYE ");
        assert_eq!(self.rest().0, b"");
    }

    fn log_in_again(&mut self) {
        self.say("z LOGIN far@test x\r\n");
        assert!(self.answer("z").starts_with("OK "));
    }
}
