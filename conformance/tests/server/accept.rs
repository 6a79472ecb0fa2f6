//! Accepting: without descriptors, and on more than one address.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use gatepost_conformance::rig::Tls;
use gatepost_core::config;
use gatepost_mio::{Rig, Server, Site};

use crate::server::program::Program;
use crate::server::stage::{Backend, Draft};
use crate::server::wire::Wire;

/// What a process may use while nothing happens for two seconds, in hundredths of a second. One
/// that spins uses most of a processor, on a busy machine still a good part.
const IDLE_TICKS: u64 = 25;

#[test]
fn a_failing_accept_costs_no_session_and_is_repeated() {
    let backend = Backend::start(Tls::Plain);
    let rig = Rig::default();
    let failing = rig.failing_accepts.clone();
    let stage = Draft::new("threads = 1")
        .listener(Tls::Plain, 0, "")
        .destination("far", &backend, "")
        .start_with(rig);
    let (mut near, mut far) = stage.session(Tls::Plain, "far@test", &backend);
    failing.store(4, Ordering::Relaxed);
    let mut waiting: Vec<Wire> = (0..10).map(|_| stage.client(Tls::Plain)).collect();
    near.echo(&mut far, "meanwhile");
    for client in &mut waiting {
        client.log_in("far@test");
    }
    assert_eq!(failing.load(Ordering::Relaxed), 0);
    near.echo(&mut far, "afterwards");
}

#[test]
fn without_descriptors_sessions_go_on_and_nothing_spins() {
    let backend = Backend::start(Tls::Plain);
    let draft = Draft::new("threads = 1")
        .listener(Tls::Plain, 0, "preauth_timeout = \"300s\"")
        .destination("far", &backend, "");
    let Some(program) = Program::run_limited(draft, "ulimit -n 48;") else { return };
    let mut near = program.client(Tls::Plain);
    near.log_in("far@test");
    let mut far = backend.session();
    let mut waiting: Vec<Wire> = (0..120).map(|_| program.client(Tls::Plain)).collect();
    program.wait_for("accepting nobody for now");

    let before = program.ticks();
    thread::sleep(Duration::from_secs(2));
    let used = program.ticks() - before;
    assert!(used <= IDLE_TICKS, "{used} hundredths of a second in two");
    assert_eq!(program.lines(&["accepting nobody"]).len(), 1, "said once in a while");

    // There is no descriptor for a pipe either.
    near.echo(&mut far, "meanwhile");
    waiting[0].expect("* OK ");
    waiting[0].say("a LOGIN far@test x\r\n");
    assert!(waiting[0].answer("a").starts_with("NO [UNAVAILABLE] "), "none for a backend");
    waiting[0].say("b LOGOUT\r\n");
    assert!(waiting[0].answer("b").starts_with("OK "));
    // Whoever ends makes room for one who waits.
    for mut client in waiting.drain(1..) {
        client.expect("* OK ");
    }
    near.echo(&mut far, "afterwards");
    let mut fresh = program.client(Tls::Plain);
    fresh.log_in("far@test");
}

#[test]
fn both_families_are_served_on_one_port() {
    let backend = Backend::start(Tls::Plain);
    let port = gatepost_conformance::rig::free_port().unwrap();
    let draft =
        Draft::new("threads = 2").listener(Tls::Plain, 0, "").destination("far", &backend, "");
    let both = format!("bind = [\"0.0.0.0:{port}\", \"[::]:{port}\"]");
    let text = draft.text().replace("bind = [\"127.0.0.1:0\"]", &both);
    let (config, _) = config::parse(&text).unwrap();
    let server = match Server::start(Site::load(&config).unwrap(), Rig::default()) {
        Ok(server) => server,
        // A machine without IPv6 has no [::].
        Err(fault) => {
            assert!(fault.to_string().contains("[::]"), "{fault}");
            return;
        }
    };
    assert_eq!(server.addresses("plain").count(), 2);
    for loopback in ["127.0.0.1", "::1"] {
        let address = SocketAddr::new(loopback.parse().unwrap(), port);
        Wire::connect(address).log_in("far@test");
    }
    // A second server on either is told where it fails.
    for address in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        let text = draft.text().replace("127.0.0.1:0", &address);
        let (config, _) = config::parse(&text).unwrap();
        let fault = Server::start(Site::load(&config).unwrap(), Rig::default()).err().unwrap();
        let start = format!("listener.plain: cannot listen on {address}: ");
        assert!(fault.to_string().starts_with(&start), "{fault}");
    }
}
