//! Two proxies that lead to each other: the session ends when it has passed through as many as may
//! be, whatever tells the one about the other, and leaves nothing behind.

use gatepost_conformance::rig::{Program, Protocol, Proxy, Tls, require};

use crate::real::{
    front::{Front, Listener, Route},
    identity::CLIENT,
    peers::{ACCOUNTS, INNER, LOOK_INTERVAL, LOOKS, OUTER, Session, WITH_LOGIN, line_with},
};

/// Each trusts the other, by its address.
const XCLIENT: &str = "allow_plain_auth_without_tls = true\n\
                       forwarding_trusted = [\"127.0.0.30\", \"127.0.0.40\"]\n";
const PROXY: &str = "allow_plain_auth_without_tls = true\nproxy_protocol = \"optional\"\n\
                     proxy_trusted = [\"127.0.0.30\", \"127.0.0.40\"]\n";
/// Proxies that a session may pass through when nothing else is said.
const HOPS: usize = 7;

/// Looks at something that does not change, until it is at rest.
const REST: u32 = 25;

/// A circle of two.
struct Circle {
    outer: Front,
    inner: Front,
}

impl Circle {
    fn set(forwarding: &'static str, lines: &'static str) -> Option<Self> {
        if !require(&[Program::Gatepost]) {
            return None;
        }
        let listeners =
            || WITH_LOGIN.map(|protocol| Listener::new(protocol, Tls::Plain, lines)).to_vec();
        let (outer, inner) = (listeners(), listeners());
        let way = |to: &[Listener], source| {
            let endpoints: Vec<_> = to.iter().map(Listener::endpoint).collect();
            Route { forwarding, source: Some(source), ..Route::to(&endpoints) }
        };
        let (onward, back) = (way(&inner, OUTER), way(&outer, INNER));
        Some(Self {
            outer: Front::start_on(outer, &[onward], None),
            inner: Front::start_on(inner, &[back], None),
        })
    }

    fn proxies(&self) -> [&Proxy; 2] {
        [&self.outer.proxy, &self.inner.proxy]
    }

    /// Both logs.
    fn log(&self) -> String {
        self.proxies().map(Proxy::log).concat()
    }

    /// How many files each has open, once that changes no more.
    fn open_files_at_rest(&self) -> [usize; 2] {
        let count = || self.proxies().map(|proxy| proxy.open_files().unwrap());
        let mut last = count();
        let mut unchanged = 0;
        for _ in 0..LOOKS {
            std::thread::sleep(LOOK_INTERVAL);
            let now = count();
            unchanged = if now == last { unchanged + 1 } else { 0 };
            last = now;
            if unchanged == REST {
                break;
            }
        }
        last
    }
}

pub(crate) fn a_loop_by_xclient_ends() {
    ends("xclient", XCLIENT);
}

pub(crate) fn a_loop_by_headers_ends() {
    ends("proxy", PROXY);
}

fn ends(forwarding: &'static str, lines: &'static str) {
    let Some(circle) = Circle::set(forwarding, lines) else { return };
    let mut seen = 0;
    // Once around, so that what stays open for good is open.
    circle.run(Protocol::Imap, &mut seen);
    let before = circle.open_files_at_rest();
    for protocol in WITH_LOGIN {
        circle.run(protocol, &mut seen);
    }
    assert_eq!(circle.open_files_at_rest(), before, "{}", circle.log());
}

impl Circle {
    /// A login goes around until it ends, and comes back as a refusal. `seen` counts the sessions.
    fn run(&self, protocol: Protocol, seen: &mut usize) {
        let endpoint = self.outer.endpoint_of(protocol, Tls::Plain);
        let mut session = Session::connect(CLIENT, &endpoint).unwrap();
        let answer = session.try_to_log_in(ACCOUNTS[0].user).unwrap();
        let refused = match protocol {
            Protocol::Imap => "NO [SERVERBUG] ",
            Protocol::Pop3 => "-ERR [SYS/PERM] ",
            Protocol::ManageSieve => "NO ",
            Protocol::Submission | Protocol::Smtp | Protocol::Lmtp => "454 4.3.5 ",
        };
        assert!(answer.starts_with(refused), "{protocol}: {answer}");
        drop(session);
        let of_protocol = format!(" protocol={protocol} ");
        // The last one says why, and each of the others passes a refusal back; a repetition on
        // the way would double them at every hop.
        line_with(|| self.log(), &["attempt-failed", "fault=loop", &of_protocol]);
        let count = || {
            let log = self.log();
            let is_attempt = |line: &&str| line.contains("] refused ");
            log.lines().filter(is_attempt).count()
        };
        for _ in 0..LOOKS {
            if count() >= *seen + HOPS {
                break;
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        assert_eq!(count(), *seen + HOPS, "{protocol}: {}", self.log());
        *seen += HOPS;
    }
}
