//! The last octets of a session, whichever side ends it and however.

use gatepost_conformance::rig::Tls;
use gatepost_mio::Remote;

use crate::server::stage::{Backend, Draft, LEGS};
use crate::server::wire::{PIECE, Wire, eventually, pattern, receive, send};

/// Around the sizes of TLS records and of the server's reads, and nothing at all.
const SIZES: [usize; 14] = [
    0,
    1,
    16_383,
    16_384,
    16_385,
    2 * 16_384,
    3 * 16_384 - 1,
    3 * 16_384,
    4 * 16_384 - 1,
    4 * 16_384,
    4 * 16_384 + 1,
    5 * 16_384,
    8 * 16_384,
    16 * 16_384 + 1,
];
/// More than sockets take for a reader that does not read.
const LONG: usize = 12 * 1000 * 1000;

/// How somebody ends what he sends.
#[derive(Clone, Copy)]
enum End {
    /// With a close_notify, where there is TLS.
    Clean,
    /// With a FIN alone, as many a server and client does.
    Bare,
}

impl End {
    fn of(self, wire: &mut Wire) {
        match self {
            Self::Clean => wire.finish(),
            Self::Bare => wire.cut(),
        }
    }
}

/// One end sends and ends; the other takes all of it, then does the same in the other direction.
fn one_after_the_other(first: &mut Wire, second: &mut Wire, octets: usize, end: End) {
    for (from, to) in [(0, 1), (1, 0)] {
        let ends = [&mut *first, &mut *second];
        send(ends[from], 0, octets);
        end.of(ends[from]);
        let (all, outcome) = ends[to].rest();
        assert_eq!(all.len(), octets);
        assert!(
            all.chunks(PIECE)
                .enumerate()
                .all(|(n, piece)| piece == pattern(n * PIECE, piece.len()))
        );
        // TLS that is forwarded ends with its close_notify, whatever was received.
        outcome.unwrap();
    }
}

#[test]
fn either_side_may_end_first_and_still_gets_everything() {
    for (client, backend) in LEGS {
        let backend = Backend::start(backend);
        let stage = Draft::new("threads = 2")
            .listener(client, 0, "")
            .destination("far", &backend, "")
            .start();
        for octets in SIZES {
            for end in [End::Clean, End::Bare] {
                let (mut near, mut far) = stage.session(client, "far@test", &backend);
                one_after_the_other(&mut near, &mut far, octets, end);
                let (mut near, mut far) = stage.session(client, "far@test", &backend);
                one_after_the_other(&mut far, &mut near, octets, end);
            }
        }
        eventually("every session is gone", || {
            (stage.remote.held().connections == 0).then_some(())
        });
    }
}

#[test]
fn a_slow_reader_gets_the_end_of_a_long_stream() {
    for (client, backend) in LEGS {
        let backend = Backend::start(backend);
        let stage = Draft::new("threads = 1")
            .listener(client, 0, "")
            .destination("far", &backend, "")
            .start();
        for end in [End::Clean, End::Bare] {
            let (mut near, mut far) = stage.session(client, "far@test", &backend);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    send(&mut far, 0, LONG);
                    end.of(&mut far);
                });
                stuck(&stage.remote);
                receive(&mut near, 0, LONG);
            });
            assert_eq!(near.rest().0, b"");
            near.finish();
            assert_eq!(far.rest().0, b"");
        }
    }
}

/// Waits until something is in flight that nobody takes.
fn stuck(remote: &Remote) {
    eventually("something is in flight", || {
        let held = remote.held();
        (held.buffer_octets + held.pipes > 0).then_some(())
    });
}

/// Sends until the server is stuck with it, and a piece more, which its kernel has acknowledged;
/// how much that was.
fn send_more_than_is_taken(remote: &Remote, wire: &mut Wire) -> usize {
    let mut sent = 0;
    loop {
        send(wire, sent, sent + 16 * 1024);
        sent += 16 * 1024;
        let held = remote.held();
        if held.buffer_octets + held.pipes > 0 {
            break;
        }
    }
    send(wire, sent, sent + 16 * 1024);
    sent += 16 * 1024;
    eventually("it is acknowledged", || (wire.unacknowledged() == 0).then_some(()));
    sent
}

#[test]
fn what_a_backend_sent_before_it_broke_reaches_the_client() {
    for (client, backend) in LEGS {
        let backend = Backend::start(backend);
        let stage = Draft::new("threads = 1")
            .listener(client, 0, "")
            .destination("far", &backend, "")
            .start();
        let (mut near, mut far) = stage.session(client, "far@test", &backend);
        let sent = send_more_than_is_taken(&stage.remote, &mut far);
        far.reset();
        // That the backend is gone shows when something is to be written to it.
        for number in 0..3 {
            near.say(format!("n{number} NOOP\r\n"));
            stage.remote.held();
        }
        receive(&mut near, 0, sent);
        assert_eq!(near.rest().0, b"", "{client} {:?}", backend.certificate.is_some());
        near.finish();
        eventually("the session is gone", || (stage.remote.held().connections == 0).then_some(()));
    }
}

#[test]
fn what_a_client_sent_before_it_broke_reaches_the_backend() {
    for (client, backend) in LEGS {
        let backend = Backend::start(backend);
        let stage = Draft::new("threads = 1")
            .listener(client, 0, "")
            .destination("far", &backend, "")
            .start();
        let (mut near, mut far) = stage.session(client, "far@test", &backend);
        let sent = send_more_than_is_taken(&stage.remote, &mut near);
        near.reset();
        for number in 0..3 {
            far.say(format!("* {number} EXISTS\r\n"));
            stage.remote.held();
        }
        receive(&mut far, 0, sent);
        assert_eq!(far.rest().0, b"");
        far.finish();
        eventually("the session is gone", || (stage.remote.held().connections == 0).then_some(()));
    }
}

#[test]
fn a_backend_that_takes_the_login_speaks_and_breaks_is_heard() {
    let backend = Backend::start_undecided();
    let stage = Draft::new("threads = 1")
        .listener(Tls::Plain, 0, "")
        .destination("far", &backend, "")
        .start();
    let mut near = stage.client(Tls::Plain);
    near.expect("* OK ");
    near.say("a LOGIN far@test x\r\nb SELECT INBOX\r\n");
    let mut far = backend.session();
    let login = far.line().unwrap();
    let tag = login.split(' ').next().unwrap();
    far.say(format!("{tag} OK [CAPABILITY IMAP4rev1] in\r\n* BYE going down\r\n"));
    far.reset();
    assert!(near.answer("a").starts_with("OK "));
    near.expect("* BYE going down");
    assert_eq!(near.rest().0, b"");
}
