//! Signals: a drain and what it leaves time for, a second one, and a second instance.

use std::io::Write as _;
use std::net::TcpStream;

use gatepost_conformance::rig::Tls;
use rustix::process::Signal;

use crate::server::program::{Program, output};
use crate::server::stage::{Backend, Draft};
use crate::server::wire::{PASSWORD, Wire, eventually};

#[test]
fn a_drain_takes_leave_of_everybody_in_his_own_way() {
    let backend = Backend::start(Tls::Plain);
    let undecided = Backend::start_undecided();
    let draft = Draft::new("threads = 2\nshutdown_grace = \"6s\"")
        .listener(Tls::Plain, 0, "")
        .listener(Tls::Implicit, 0, "")
        .destination("far", &backend, "")
        .destination("undecided", &undecided, "");
    let Some(mut program) = Program::run(draft) else { return };
    let mut relays: Vec<(Wire, Wire)> = [Tls::Plain, Tls::Implicit, Tls::Plain, Tls::Implicit]
        .map(|tls| {
            let mut near = program.client(tls);
            near.log_in("far@test");
            (near, backend.session())
        })
        .into();
    let mut before_login = [program.client(Tls::Plain), program.client(Tls::Implicit)];
    for client in &mut before_login {
        client.expect("* OK ");
    }
    let mut in_flight = program.client(Tls::Plain);
    in_flight.expect("* OK ");
    in_flight.say(format!("in LOGIN undecided@test {PASSWORD}\r\n"));
    let mut deciding = undecided.session();
    let login = deciding.line().unwrap();
    let mut in_handshake = Wire::connect(program.address(Tls::Implicit));

    program.signal(Signal::HUP);
    program.wait_for("reload is not built yet");
    program.signal(Signal::TERM);
    for client in &mut before_login {
        client.expect("* BYE Shutting down");
        assert_eq!(client.rest().0, b"");
    }
    eventually("nobody is accepted any more", || {
        TcpStream::connect(program.address(Tls::Plain)).is_err().then_some(())
    });
    // Who is in the middle of a handshake hears the goodbye inside of it.
    in_handshake.secure(program.draft.certificate.client_config().unwrap(), "localhost").unwrap();
    in_handshake.expect("* OK ");
    in_handshake.expect("* BYE Shutting down");
    for (near, far) in &mut relays {
        near.echo(far, "during the grace");
    }
    let tag = login.split(' ').next().unwrap();
    deciding.say(format!("{tag} OK [CAPABILITY IMAP4rev1] in\r\n"));
    assert!(in_flight.answer("in").starts_with("OK "));
    in_flight.echo(&mut deciding, "late, and in time");
    relays.push((in_flight, deciding));
    for (near, far) in &mut relays {
        assert_eq!((near.rest().0, far.rest().0), (Vec::new(), Vec::new()));
    }
    drop(relays);
    assert_eq!(program.status(), 0);
    assert_eq!(program.lines(&[" end ", "by=operator", "reason=drain", "state=relay"]).len(), 5);
    // Whoever came while the doors were being closed was taken leave of in the same way.
    assert!(program.lines(&[" end ", "by=operator", "reason=drain", "state=preauth"]).len() >= 3);
}

#[test]
fn a_refused_login_ends_with_the_drain() {
    let undecided = Backend::start_undecided();
    let draft = Draft::new("threads = 1\nshutdown_grace = \"300s\"")
        .listener(Tls::Plain, 0, "")
        .destination("undecided", &undecided, "");
    let Some(mut program) = Program::run(draft) else { return };
    let mut client = program.client(Tls::Plain);
    client.expect("* OK ");
    client.say(format!("in LOGIN undecided@test {PASSWORD}\r\n"));
    let mut deciding = undecided.session();
    let login = deciding.line().unwrap();
    program.signal(Signal::TERM);
    program.wait_for("draining");
    let tag = login.split(' ').next().unwrap();
    deciding.say(format!("{tag} NO [AUTHENTICATIONFAILED] no\r\n"));
    assert!(client.answer("in").starts_with("NO [AUTHENTICATIONFAILED] "));
    client.expect("* BYE Shutting down");
    assert_eq!(client.rest().0, b"");
    drop(client);
    assert_eq!(program.status(), 0);
}

#[test]
fn a_second_signal_ends_at_once() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::TERM)] {
        let backend = Backend::start(Tls::Plain);
        let draft = Draft::new("threads = 2\nshutdown_grace = \"3000s\"")
            .listener(Tls::Plain, 0, "")
            .destination("far", &backend, "");
        let Some(mut program) = Program::run(draft) else { return };
        let mut near = program.client(Tls::Plain);
        near.log_in("far@test");
        let mut far = backend.session();
        program.signal(first);
        program.wait_for("draining");
        near.echo(&mut far, "during the grace");
        program.signal(second);
        assert_eq!(program.status(), 0);
        assert_eq!(program.lines(&[" end ", "reason=drain", "state=relay"]).len(), 1);
        // The session's sockets went with the program.
        let _ = near.write_all(b"x");
        assert_eq!(near.rest().0, b"");
    }
}

#[test]
fn a_second_instance_fails_and_names_the_listener() {
    let backend = Backend::start(Tls::Plain);
    let draft =
        Draft::new("threads = 2").listener(Tls::Plain, 0, "").destination("far", &backend, "");
    let Some(program) = Program::run(draft) else { return };
    let address = program.address(Tls::Plain);
    let second = Draft::new("threads = 2")
        .listener(Tls::Plain, address.port(), "")
        .destination("far", &backend, "");
    second.file("gatepost.toml", &second.text());
    let outcome = output("run", &second.folder.path().join("gatepost.toml")).unwrap();
    assert_eq!(outcome.status.code(), Some(1));
    let said = String::from_utf8_lossy(&outcome.stderr);
    assert!(said.contains(&format!("listener.plain: cannot listen on {address}: ")), "{said}");
    program.client(Tls::Plain).log_in("far@test");
}
