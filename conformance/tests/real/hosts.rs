//! Two Dovecots as the two hosts of one destination, and one of them killed while clients log in.
//!
//! Both have the same ports at addresses of their own, so that one destination speaks IMAP and POP3
//! on either. What became of every attempt is read in the proxy's log, in its order: the breaker is
//! judged by what it let through, never by a clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::Ipv4Addr,
    ops::RangeFrom,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use gatepost_conformance::rig::{
    Account, Dovecot, Endpoint, Place, Program, Protocol, Proxy, Services, Tls, dovecot::LOOPBACK,
    free_port, imap, pop3, require,
};

use crate::real::{
    front::CLEARTEXT,
    stage::{PASSWORD, Path},
};

/// What both hosts speak.
const PROTOCOLS: [Protocol; 2] = [Protocol::Imap, Protocol::Pop3];
/// Where the host is that is killed.
const DYING: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 21);
/// Where the other one is.
const STAYING: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 22);
/// Accounts: enough that either host has some.
const ACCOUNTS: usize = 8;
/// Clients of each protocol at a time.
const CLIENTS: u8 = 3;
/// The breaker's threshold.
const THRESHOLD: usize = 4;
/// How often a host that stays dead is taken out of service before it is started again: at first,
/// and by so many trials that failed.
const TRIPS: usize = 3;
/// How long something may take to show in the log (a breaker rests longer after each trial that
/// failed, and a busy machine brings more of those), and the pause between two looks.
const LIMIT: Duration = Duration::from_secs(120);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The two servers, and the proxy before them.
struct Cluster {
    // What others connect to ends last.
    proxy: Proxy,
    endpoints: [Endpoint; 2],
    dying: Dovecot,
    staying: Dovecot,
}

impl Cluster {
    fn set() -> Option<Self> {
        if !require(&[Program::Dovecot, Program::DovecotPop3, Program::Gatepost]) {
            return None;
        }
        let users = users();
        let accounts: Vec<Account<'_>> =
            users.iter().map(|user| Account { user, password: PASSWORD }).collect();
        let services = Services {
            accounts: &accounts,
            protocols: &PROTOCOLS,
            relay: None,
            trusted: LOOPBACK,
            trusted_headers: LOOPBACK,
            onward: None,
        };
        let ports = PROTOCOLS.map(|_| free_port().unwrap());
        let start = |address| Dovecot::start_at(&Place { address, ports: &ports }, &services);
        let (dying, staying) = (start(DYING).unwrap(), start(STAYING).unwrap());
        let endpoints = PROTOCOLS.map(|protocol| Endpoint {
            protocol,
            port: free_port().unwrap(),
            tls: Tls::Plain,
            authority: PathBuf::new(),
        });
        let own = [endpoints[0].port, endpoints[1].port];
        let proxy = Proxy::start(&configuration(own, ports), &own).unwrap();
        Some(Self { proxy, endpoints, dying, staying })
    }

    /// What the log tells so far.
    fn events(&self) -> Vec<Event> {
        let log = self.proxy.log();
        // The last line may not be whole yet.
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        whole.lines().filter_map(Event::read).collect()
    }

    /// How many events there are: what comes later is not among them.
    fn mark(&self) -> usize {
        self.events().len()
    }

    /// Waits until the events of a part of the log are as they should be.
    fn wait(&self, what: &str, part: RangeFrom<usize>, is_so: impl Fn(&[Event]) -> bool) {
        wait_until(what, || is_so(&self.events()[part.clone()]));
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let limit = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < limit, "it never came to this: {what}");
        thread::sleep(LOOK_INTERVAL);
    }
}

/// With one worker thread, the log has the order in which things came to pass.
fn configuration(own: [u16; 2], ports: [u16; 2]) -> String {
    let mut text = format!(
        "[server]\nthreads = 1\nshutdown_grace = \"1s\"\nhost_down_threshold = {THRESHOLD}\n\
         host_down_cooldown = \"300ms\"\n[routing]\ndefault_destination = \"cluster\"\n\
         [destination.cluster]\nhosts = [\"{DYING}\", \"{STAYING}\"]\npolicy = \"rendezvous\"\n\
         forwarding = \"none\"\nallow_plaintext_auth = true\n"
    );
    for ((protocol, own), port) in PROTOCOLS.into_iter().zip(own).zip(ports) {
        write!(
            text,
            "[destination.cluster.protocol.{protocol}]\nport = {port}\ntls = \"plain\"\n\
             [listener.{protocol}]\nprotocol = \"{protocol}\"\nbind = [\"127.0.0.1:{own}\"]\n\
             tls = \"plain\"\n{CLEARTEXT}"
        )
        .unwrap();
    }
    text
}

fn account(number: usize) -> String {
    format!("user{number}@example.test")
}

fn users() -> Vec<String> {
    (0..ACCOUNTS).map(account).collect()
}

/// A line of the proxy's log.
#[derive(Debug)]
struct Event {
    name: String,
    fields: BTreeMap<String, String>,
}

impl Event {
    /// Reads `[TIME LEVEL] NAME KEY=VALUE …`.
    fn read(line: &str) -> Option<Self> {
        let (_, text) = line.split_once("] ")?;
        let (name, fields) = text.split_once(' ')?;
        let field = |field: &str| {
            field.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()))
        };
        Some(Self { name: name.to_owned(), fields: fields.split(' ').filter_map(field).collect() })
    }

    fn field(&self, key: &str) -> &str {
        self.fields.get(key).map_or("", String::as_str)
    }

    /// Whether it is one of that name about a protocol of a host.
    fn is(&self, name: &str, protocol: Protocol, host: Ipv4Addr) -> bool {
        self.name == name
            && self.field("protocol") == protocol.to_string()
            && self.field("host") == host.to_string()
    }

    fn is_of_session(&self, name: &str, session: &str) -> bool {
        self.name == name && self.field("session") == session
    }
}

/// Whether every account has been served, by each protocol, by one of these hosts, and none was
/// tried before it.
fn are_served(events: &[Event], users: &[String], hosts: &[Ipv4Addr]) -> bool {
    let failed: BTreeSet<&str> = events
        .iter()
        .filter(|event| event.name == "attempt-failed")
        .map(|event| event.field("session"))
        .collect();
    let at_first = |event: &&Event| !failed.contains(event.field("session"));
    let logins: Vec<&Event> = events.iter().filter(at_first).collect();
    let is_served = |user: &String, protocol: Protocol| {
        logins.iter().any(|event| {
            event.field("user") == user
                && hosts.iter().any(|host| event.is("login", protocol, *host))
        })
    };
    users.iter().all(|user| PROTOCOLS.into_iter().all(|protocol| is_served(user, protocol)))
}

/// Clients that log in over and over, and what they hear.
struct Load {
    is_over: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<Vec<String>>>,
}

impl Load {
    fn begin(endpoints: &[Endpoint]) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for endpoint in endpoints {
            for number in 1..=CLIENTS {
                let (endpoint, is_over) = (endpoint.clone(), Arc::clone(&is_over));
                // The breaker tells clients apart by their addresses.
                let source = Ipv4Addr::new(127, 0, 1, number);
                threads.push(thread::spawn(move || {
                    let turns = (usize::from(number)..).map(|turn| account(turn % ACCOUNTS));
                    let goes_on = |_: &String| !is_over.load(Ordering::Relaxed);
                    turns.take_while(goes_on).map(|user| log_in(source, &endpoint, &user)).collect()
                }));
            }
        }
        Self { is_over, threads }
    }

    fn end(mut self) -> Vec<String> {
        self.is_over.store(true, Ordering::Relaxed);
        self.threads.drain(..).flat_map(|thread| thread.join().unwrap()).collect()
    }
}

impl Drop for Load {
    /// A test that fails does not leave its clients behind.
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// One login, and what it was answered; there must be an answer.
fn log_in(source: Ipv4Addr, endpoint: &Endpoint, user: &str) -> String {
    if endpoint.protocol == Protocol::Imap {
        let mut session = imap::Client::connect_from(source, endpoint).unwrap();
        let answer = session.login(user, PASSWORD).unwrap().tagged;
        // A session that was handed over ends with its server: then there is no answer to this.
        let _ = session.command("LOGOUT");
        answer
    } else {
        let mut session = pop3::Client::connect_from(source, endpoint).unwrap();
        let answer = session.login(user, PASSWORD).unwrap();
        let _ = session.command("QUIT");
        answer
    }
}

fn is_accepted(answer: &str) -> bool {
    answer.starts_with("OK ") || answer.starts_with("+OK")
}

/// Whether clients may read in it that they should come back, and not that a password is wrong.
fn is_temporary(answer: &str) -> bool {
    answer.starts_with("NO [UNAVAILABLE] ") || answer.starts_with("-ERR [SYS/TEMP] ")
}

/// Where each account lands, always and by every protocol.
fn accounts_of(events: &[Event], host: Ipv4Addr) -> Vec<String> {
    let is_home = |user: &String| {
        let mut logins = events.iter().filter(|it| it.name == "login" && it.field("user") == user);
        let first = logins.next().unwrap().field("host");
        assert!(logins.all(|login| login.field("host") == first), "{user} lands anywhere");
        first == host.to_string()
    };
    users().into_iter().filter(is_home).collect()
}

/// What the breaker lets through to a host that is dead. At first so many attempts as the threshold
/// has, and those that were under way with the last of them; then trials, one at a time. Answers
/// how often it was taken out of service.
fn check_breaker(events: &[Event], protocol: Protocol, host: Ipv4Addr) -> usize {
    let mut since_answer = 0;
    // Attempts since it was taken out of service, for each time.
    let mut gaps: Vec<usize> = Vec::new();
    for event in events {
        if event.is("attempt-failed", protocol, host) {
            match gaps.last_mut() {
                Some(attempts) => *attempts += 1,
                // Other faults count for their client, and not always.
                None if event.field("state") == "connect" => since_answer += 1,
                None => {}
            }
            assert!(since_answer <= THRESHOLD, "{protocol}: too many go to {host}");
        } else if event.is("host-tripped", protocol, host) {
            gaps.push(0);
        } else if event.is("login", protocol, host) {
            assert!(gaps.is_empty(), "{protocol}: nobody is served by the dead {host}");
            since_answer = 0;
        } else {
            let is_back = event.is("host-recovered", protocol, host);
            assert!(!is_back, "{protocol}: {host} stays dead");
        }
    }
    let trips = gaps.len();
    for (number, attempts) in gaps.into_iter().enumerate() {
        let under_way = if number == 0 { usize::from(CLIENTS) - 1 } else { 0 };
        assert!(attempts <= 1 + under_way, "{protocol}: {attempts} try {host} at once");
        // What takes it out again is a trial; the last one may be under way.
        assert!(attempts > 0 || number + 1 == trips, "{protocol}: {host} had no trial");
    }
    trips
}

/// A host that refuses connections costs no client its login while there is another one: whoever is
/// refused had given credentials to the host that died with them.
fn check_refusals(events: &[Event]) {
    for (place, refused) in events.iter().enumerate().filter(|(_, it)| it.name == "refused") {
        assert_eq!(refused.field("refusal"), "unavailable", "{refused:?}");
        let session = refused.field("session");
        let mut earlier = events[..place].iter().rev();
        let failed = earlier.find(|it| it.is_of_session("attempt-failed", session)).unwrap();
        assert!(!["connect", ""].contains(&failed.field("state")), "{failed:?}");
    }
}

/// Whether somebody was told of an outage without an attempt at any host.
fn is_any_refused_at_once(events: &[Event], protocol: Protocol) -> bool {
    let at_once = |session: &str| {
        let mut failed = events.iter().filter(|it| it.is_of_session("attempt-failed", session));
        failed.all(|it| it.field("fault") == "connect/down")
    };
    let is_of = |event: &Event| event.field("protocol") == protocol.to_string();
    events.iter().any(|it| it.name == "refused" && is_of(it) && at_once(it.field("session")))
}

pub(crate) fn a_host_is_killed_under_load_and_comes_back(_: Path) {
    let Some(mut cluster) = Cluster::set() else { return };
    let load = Load::begin(&cluster.endpoints);
    let users = users();
    cluster
        .wait("everybody is served", 0.., |events| are_served(events, &users, &[DYING, STAYING]));
    let displaced = accounts_of(&cluster.events(), DYING);
    assert!((1..ACCOUNTS).contains(&displaced.len()), "both hosts have accounts: {displaced:?}");

    let before = cluster.mark();
    cluster.dying.kill().unwrap();
    let killed = cluster.mark();
    let trips = |events: &[Event], protocol| {
        events.iter().filter(|event| event.is("host-tripped", protocol, DYING)).count()
    };
    cluster.wait("the other host has all accounts, and trials fail", killed.., |events| {
        are_served(events, &displaced, &[STAYING])
            && PROTOCOLS.into_iter().all(|protocol| trips(events, protocol) >= TRIPS)
    });
    let dead = cluster.mark();

    cluster.dying.start_again().unwrap();
    cluster
        .wait("its accounts are back", dead.., |events| are_served(events, &displaced, &[DYING]));
    let answers = load.end();

    let events = cluster.events();
    for protocol in PROTOCOLS {
        assert!(check_breaker(&events[before..dead], protocol, DYING) >= TRIPS);
        let is_back = |event: &Event| event.is("host-recovered", protocol, DYING);
        assert!(events[dead..].iter().any(is_back), "{protocol}");
        assert_eq!(check_breaker(&events, protocol, STAYING), 0);
    }
    check_refusals(&events);
    let is_wrong = |answer: &&String| !is_accepted(answer) && !is_temporary(answer);
    let wrong: Vec<&String> = answers.iter().filter(is_wrong).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

pub(crate) fn with_every_host_dead_clients_hear_of_an_outage(_: Path) {
    let Some(mut cluster) = Cluster::set() else { return };
    for endpoint in &cluster.endpoints {
        for user in users() {
            assert!(is_accepted(&log_in(Ipv4Addr::LOCALHOST, endpoint, &user)));
        }
    }
    let before = cluster.mark();
    cluster.dying.kill().unwrap();
    cluster.staying.kill().unwrap();
    for endpoint in &cluster.endpoints {
        let mut turns = (0..ACCOUNTS).map(account).cycle();
        wait_until("somebody is refused without an attempt", || {
            let answer = log_in(Ipv4Addr::LOCALHOST, endpoint, &turns.next().unwrap());
            assert!(is_temporary(&answer), "{answer}");
            is_any_refused_at_once(&cluster.events()[before..], endpoint.protocol)
        });
    }
    let events = &cluster.events()[before..];
    for protocol in PROTOCOLS {
        for host in [DYING, STAYING] {
            assert!(check_breaker(events, protocol, host) >= 1, "{protocol}: {host} is out");
        }
    }
}
