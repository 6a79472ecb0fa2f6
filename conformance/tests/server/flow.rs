//! Bytes arrive complete however slowly they are taken, and wait where they cost nothing.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use gatepost_conformance::rig::Tls;
use gatepost_mio::{Held, Remote, Rig};

use crate::server::program::Program;
use crate::server::stage::{Backend, Draft, LEGS};
use crate::server::wire::{Wire, eventually, receive, send, transfer};

/// Octets of the largest stream; nothing in the server may grow with it.
const STREAM: usize = 200 * 1000 * 1000;
/// The same where every octet is encrypted and decrypted twice on each leg.
const TLS_STREAM: usize = 40 * 1000 * 1000;
/// Octets of buffers for one session whose peer takes nothing: one read, sealed.
const IN_FLIGHT: usize = 160 * 1024;

/// Moves a stream from one end to the other, which takes nothing until the server is stuck with
/// it; meanwhile another session is served.
fn stalled(remote: &Remote, octets: usize, from: &mut Wire, to: &mut Wire, other: (Wire, Wire)) {
    let (mut near, mut far) = other;
    let arrived = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| send(from, 0, octets));
        let stuck = eventually("the stream stands still", || {
            let held = remote.held();
            (held.buffer_octets + held.pipes > 0).then_some(held)
        });
        assert_small(stuck);
        for number in 0..100 {
            near.echo(&mut far, &format!("word-{number}"));
        }
        scope.spawn(|| {
            receive(to, 0, octets);
            arrived.store(true, Ordering::Relaxed);
        });
        while !arrived.load(Ordering::Relaxed) && !from_panicked(remote) {
            assert_small(remote.held());
            near.echo(&mut far, "still here");
        }
    });
    eventually("nothing is left", || {
        let held = remote.held();
        (held.buffer_octets + held.pipes == 0).then_some(())
    });
}

/// Whether a stream's session is gone, because one of its ends gave up.
fn from_panicked(remote: &Remote) -> bool {
    remote.held().relays < 2
}

fn assert_small(held: Held) {
    assert!(held.buffer_octets <= IN_FLIGHT && held.pipes <= 4, "{held:?}");
}

fn stall_both_ways(client: Tls, backend: Tls, octets: usize) {
    let backend = Backend::start(backend);
    // One worker: whoever is stuck and whoever is served share it.
    let stage =
        Draft::new("threads = 1").listener(client, 0, "").destination("far", &backend, "").start();
    let (mut near, mut far) = stage.session(client, "far@test", &backend);
    let other = || stage.session(client, "far@test", &backend);
    stalled(&stage.remote, octets, &mut far, &mut near, other());
    stalled(&stage.remote, octets, &mut near, &mut far, other());
}

#[test]
fn a_peer_that_does_not_read_makes_the_other_wait_in_plain_text() {
    stall_both_ways(Tls::Plain, Tls::Plain, STREAM);
}

#[test]
fn a_peer_that_does_not_read_makes_the_other_wait_inside_tls() {
    stall_both_ways(Tls::Implicit, Tls::Implicit, TLS_STREAM);
}

#[test]
fn a_peer_that_does_not_read_makes_the_other_wait_between_tls_and_plain_text() {
    stall_both_ways(Tls::Plain, Tls::Implicit, TLS_STREAM);
}

#[test]
fn octets_read_one_by_one_arrive_in_order() {
    for (client, backend) in LEGS {
        let backend = Backend::start(backend);
        let stage = Draft::new("threads = 1")
            .listener(client, 0, "")
            .destination("far", &backend, "")
            .start_with(Rig { read_cap: Some(1), ..Rig::default() });
        let (mut near, mut far) = stage.session(client, "far@test", &backend);
        transfer(&mut near, &mut far, 20_000);
        transfer(&mut far, &mut near, 20_000);
        near.echo(&mut far, "after it");
    }
}

#[test]
fn streams_both_ways_at_once_do_not_hinder_each_other() {
    let backend = Backend::start(Tls::Plain);
    let stage = Draft::new("threads = 1")
        .listener(Tls::Plain, 0, "")
        .destination("far", &backend, "")
        .start();
    let (near, far) = stage.session(Tls::Plain, "far@test", &backend);
    let half = |wire: &Wire| Wire::new(wire.socket.try_clone().unwrap());
    let (mut near_in, mut near_out, mut far_in, mut far_out) = (half(&near), near, half(&far), far);
    let octets = STREAM / 8;
    thread::scope(|scope| {
        scope.spawn(|| send(&mut near_out, 0, octets));
        scope.spawn(|| send(&mut far_out, 0, octets));
        scope.spawn(|| receive(&mut near_in, 0, octets));
        scope.spawn(|| receive(&mut far_in, 0, octets));
    });
}

/// Sessions whose clients stop reading, and what the program may grow by with all of them, in KiB:
/// less than what a single one of their streams holds.
const STALLED: usize = 20;
const GROWTH: usize = 16 * 1024;

#[test]
fn the_programs_memory_does_not_grow_with_what_waits() {
    let backend = Backend::start(Tls::Plain);
    let draft =
        Draft::new("threads = 2").listener(Tls::Implicit, 0, "").destination("far", &backend, "");
    let Some(program) = Program::run(draft) else { return };
    let mut sessions: Vec<(Wire, Wire)> = (0..STALLED)
        .map(|_| {
            let mut near = program.client(Tls::Implicit);
            near.log_in("far@test");
            (near, backend.session())
        })
        .collect();
    // What encryption needs once for each worker is there after this.
    for (near, far) in &mut sessions {
        transfer(far, near, TLS_STREAM / 100);
    }
    let before = program.peak_memory();
    let begun = AtomicUsize::new(0);
    thread::scope(|scope| {
        for (near, far) in &mut sessions {
            scope.spawn(|| send(far, 0, TLS_STREAM / 2));
            scope.spawn(|| {
                receive(near, 0, TLS_STREAM / 100);
                begun.fetch_add(1, Ordering::Relaxed);
                eventually("every stream has begun", || {
                    (begun.load(Ordering::Relaxed) == STALLED).then_some(())
                });
                receive(near, TLS_STREAM / 100, TLS_STREAM / 2);
            });
        }
    });
    let grown = program.peak_memory() - before;
    assert!(grown <= GROWTH, "{grown} KiB for {STALLED} sessions");
}
