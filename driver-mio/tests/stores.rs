//! Route stores, from the client's side of a server: fakes on loopback, and a real SQLite.
#![allow(clippy::unwrap_used)]

mod world;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use gatepost_core::config;
use gatepost_mio::{Rig, Server, Site, WriteFault};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use world::{End, Kind, LOGGED_IN, LOGIN, PATIENCE, World};

/// A server like a world's, with a store.
struct Stage {
    world: World,
    server: Server,
}

fn stage(mapping: &str) -> Stage {
    let world = World::new(Kind::default());
    let server = Server::start(site(&world, mapping), Rig::default()).unwrap();
    Stage { world, server }
}

fn site(world: &World, mapping: &str) -> Site {
    let text = format!("{}\n{mapping}", world.text());
    let (config, _) = config::parse(&text).unwrap_or_else(|faults| panic!("{faults:?}\n{text}"));
    Site::load(&config).unwrap_or_else(|faults| panic!("{faults:?}"))
}

impl Stage {
    fn client(&self) -> End {
        let mut client = self.world.connect_to(self.server.addresses("imap").next().unwrap());
        let greeting = client.line();
        assert!(greeting.starts_with("* OK "), "{greeting}");
        client
    }

    /// Logs in, and ends the session.
    fn serves(&self) {
        let mut client = self.client();
        client.say(LOGIN);
        client.hear(LOGGED_IN);
        drop(self.world.backends.recv_timeout(PATIENCE).unwrap());
    }
}

fn is_unavailable(client: &mut End) {
    let line = client.line();
    assert!(line.starts_with("a1 NO [UNAVAILABLE] "), "{line}");
}

/// A Redis server that knows GET, and stops answering for a while if it is told to.
struct Redis {
    address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
    /// The keys that were asked for.
    asked: Receiver<String>,
}

#[derive(Default)]
struct State {
    values: HashMap<String, String>,
    hangs: bool,
}

impl Redis {
    fn start(values: &[(&str, &str)]) -> Self {
        let values = values.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let state = Arc::new((Mutex::new(State { values, hangs: false }), Condvar::new()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (keys, asked) = channel();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for socket in listener.incoming() {
                let (state, keys) = (Arc::clone(&shared), keys.clone());
                thread::spawn(move || answer(socket.unwrap(), &state, &keys));
            }
        });
        Self { address, state, asked }
    }

    fn hangs(&self, hangs: bool) {
        self.state.0.lock().unwrap().hangs = hangs;
        self.state.1.notify_all();
    }

    fn mapping(&self, keys: &str) -> String {
        let address = self.address;
        format!("[mapping]\nsource = \"redis\"\nredis.url = \"redis://{address}/\"\n{keys}\n")
    }

    /// The next key that is asked for.
    fn asked(&self) -> String {
        self.asked.recv_timeout(PATIENCE).unwrap()
    }

    fn is_idle(&self) -> bool {
        self.asked.try_recv().is_err()
    }
}

/// Serves a connection until the other side has had enough.
fn answer(socket: TcpStream, state: &(Mutex<State>, Condvar), keys: &Sender<String>) -> Option<()> {
    let mut lines = BufReader::new(socket.try_clone().unwrap());
    let mut socket = socket;
    loop {
        let words = command(&mut lines)?;
        let reply = if words[0] == "GET" {
            keys.send(words[1].clone()).ok()?;
            let held = state.0.lock().unwrap();
            let held = state.1.wait_while(held, |state| state.hangs).unwrap();
            match held.values.get(&words[1]) {
                Some(value) => format!("${}\r\n{value}\r\n", value.len()),
                None => "$-1\r\n".to_owned(),
            }
        } else {
            "+OK\r\n".to_owned()
        };
        socket.write_all(reply.as_bytes()).ok()?;
    }
}

fn command(lines: &mut impl BufRead) -> Option<Vec<String>> {
    let mut number = |sign: char| -> Option<(usize, Vec<u8>)> {
        let mut line = String::new();
        lines.read_line(&mut line).ok()?;
        let count = line.strip_prefix(sign)?.trim_end().parse().ok()?;
        let mut text = vec![0; if sign == '$' { count + 2 } else { 0 }];
        lines.read_exact(&mut text).ok()?;
        text.truncate(text.len().saturating_sub(2));
        Some((count, text))
    };
    let (words, _) = number('*')?;
    (0..words).map(|_| Some(String::from_utf8_lossy(&number('$')?.1).into_owned())).collect()
}

/// Whether nothing has come yet.
fn waits(client: &End) -> bool {
    let socket = client.socket();
    socket.set_nonblocking(true).unwrap();
    let peeked = socket.peek(&mut [0]);
    socket.set_nonblocking(false).unwrap();
    matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn an_answer_serves_the_logins_after_it() {
    let redis = Redis::start(&[("mail:alice", "main")]);
    let stage = stage(&redis.mapping("redis.key_prefix = \"mail:\""));
    for _ in 0..3 {
        stage.serves();
    }
    assert_eq!(redis.asked(), "mail:alice");
    assert!(redis.is_idle());
}

#[test]
fn who_is_not_there_goes_to_the_default_destination_and_that_is_kept_too() {
    let redis = Redis::start(&[]);
    let stage = stage(&redis.mapping(""));
    for _ in 0..2 {
        stage.serves();
    }
    assert_eq!(redis.asked(), "route:alice");
    assert!(redis.is_idle());
}

#[test]
fn a_destination_that_nobody_knows_is_an_outage_and_not_the_default() {
    let redis = Redis::start(&[("route:alice", "mian")]);
    let stage = stage(&redis.mapping(""));
    let mut client = stage.client();
    for _ in 0..2 {
        client.say(LOGIN);
        is_unavailable(&mut client);
        redis.asked();
    }
}

#[test]
fn a_store_that_hangs_delays_those_who_wait_for_it_and_nobody_else() {
    let redis = Redis::start(&[("route:alice", "main")]);
    let stage = stage(&redis.mapping("lookup_timeout = \"6s\""));
    stage.serves();
    assert_eq!(redis.asked(), "route:alice");
    redis.hangs(true);
    let mut waiting = stage.client();
    waiting.say("a1 LOGIN bob secret\r\n");
    assert_eq!(redis.asked(), "route:bob");
    stage.serves();
    let mut talking = stage.client();
    talking.say("a1 NOOP\r\n");
    assert!(talking.line().starts_with("a1 OK "));
    assert!(waits(&waiting), "others were served while one waited");
    is_unavailable(&mut waiting);
    // The connection is as good as any.
    waiting.say(LOGIN);
    waiting.hear(LOGGED_IN);
}

#[test]
fn a_failure_is_forgotten_as_soon_as_the_store_answers() {
    let redis = Redis::start(&[("route:alice", "main")]);
    let stage = stage(&redis.mapping("lookup_timeout = \"300ms\""));
    redis.hangs(true);
    let mut client = stage.client();
    client.say(LOGIN);
    is_unavailable(&mut client);
    redis.hangs(false);
    client.say(LOGIN);
    client.hear(LOGGED_IN);
}

#[test]
fn where_the_configuration_says_so_an_outage_leads_to_the_default_destination() {
    let redis = Redis::start(&[]);
    let stage = stage(&redis.mapping("lookup_timeout = \"1s\"\non_error = \"default\""));
    redis.hangs(true);
    stage.serves();
}

#[test]
fn a_step_is_tried_before_the_store() {
    let redis = Redis::start(&[]);
    let step = "[[mapping.step]]\nmatch = \"alice\"\ndestination = \"main\"";
    let stage = stage(&redis.mapping(step));
    redis.hangs(true);
    stage.serves();
    assert!(redis.is_idle());
}

#[test]
fn a_store_that_nobody_reaches_is_an_outage() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for store in [
        format!("source = \"redis\"\nredis.url = \"redis://{gone}/\""),
        format!("source = \"http\"\nhttp.urls = [\"http://{gone}/\"]\nhttp.destination = \"main\""),
        format!(
            "source = \"sql\"\n[mapping.sql]\nurl = \"postgres://a@{gone}/b\"\n\
             query = \"SELECT $1\""
        ),
    ] {
        let stage = stage(&format!("[mapping]\nlookup_timeout = \"1s\"\n{store}\n"));
        let mut client = stage.client();
        client.say(LOGIN);
        is_unavailable(&mut client);
        client.say("a1 NOOP\r\n");
        assert!(client.line().starts_with("a1 OK "), "it costs the client no attempt");
    }
}

/// Answers every request by its head, on a connection of its own.
fn http(judge: impl Fn(&str) -> String + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let mut head = String::new();
            let mut lines = BufReader::new(socket.try_clone().unwrap());
            while !head.ends_with("\r\n\r\n") {
                assert_ne!(lines.read_line(&mut head).unwrap(), 0, "a head ends");
            }
            socket.write_all(judge(&head).as_bytes()).unwrap();
        }
    });
    address
}

#[test]
fn a_judge_says_where_a_login_goes_and_as_whom() {
    let world = World::new(Kind::default());
    let port = world.backend_port();
    let judge = http(move |head| {
        if !head.contains("Auth-User: al%25ice\r\nAuth-Pass: token\r\n") {
            return "HTTP/1.0 200 OK\r\nAuth-Status: Not today\r\nAuth-Wait: 0\r\n\r\n".to_owned();
        }
        assert!(head.contains("Auth-Login-Attempt: 1\r\n"), "{head}");
        format!(
            "HTTP/1.0 401 No\r\nAuth-Status: OK\r\nAuth-Server: 127.0.0.1\r\n\
             Auth-Port: {port}\r\nAuth-User: alice\r\nAuth-Pass: secret\r\n\r\n"
        )
    });
    let mapping = format!(
        "[mapping]\nsource = \"http\"\nhttp.urls = [\"http://{judge}/\"]\n\
         http.destination = \"main\"\n"
    );
    let server = Server::start(site(&world, &mapping), Rig::default()).unwrap();
    let stage = Stage { world, server };
    let mut client = stage.client();
    client.say("a1 AUTHENTICATE PLAIN AGFsJWljZQB0b2tlbg==\r\n");
    client.hear(LOGGED_IN);
    drop(stage.world.backends.recv_timeout(PATIENCE).unwrap());
    let mut client = stage.client();
    client.say("a1 LOGIN alice wrong\r\n");
    let line = client.line();
    assert_eq!(line, "a1 NO [AUTHENTICATIONFAILED] Not today\r\n");
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("* BYE "), "without a time to wait it is the last word: {rest}");
}

#[test]
fn a_judge_hears_of_a_balancer_s_header() {
    let listener = "proxy_protocol = \"required\"\nproxy_trusted = [\"127.0.0.1/32\"]";
    let world = World::new(Kind { listener, ..Kind::default() });
    let judge = http(|head| {
        let told = "Client-IP: 192.0.2.7\r\nProxy-Protocol-Addr: 192.0.2.7\r\n\
            Proxy-Protocol-Port: 50123\r\nProxy-Protocol-Server-Addr: 198.51.100.1\r\n\
            Proxy-Protocol-Server-Port: 143\r\nClient-Port: 50123\r\n";
        let text = if head.contains(told) { "heard" } else { "not heard" };
        format!("HTTP/1.0 200 OK\r\nAuth-Status: {text}\r\n\r\n")
    });
    let mapping = format!(
        "[mapping]\nsource = \"http\"\nhttp.urls = [\"http://{judge}/\"]\n\
         http.destination = \"main\"\n"
    );
    let server = Server::start(site(&world, &mapping), Rig::default()).unwrap();
    let mut client = world.connect_to(server.addresses("imap").next().unwrap());
    client.say("PROXY TCP4 192.0.2.7 198.51.100.1 50123 143\r\n");
    assert!(client.line().starts_with("* OK "));
    client.say(LOGIN);
    assert_eq!(client.line(), "a1 NO [AUTHENTICATIONFAILED] heard\r\n");
}

#[test]
fn a_judge_that_puts_a_login_off_is_asked_again() {
    let world = World::new(Kind::default());
    let port = world.backend_port();
    let asked = Mutex::new(0);
    let judge = http(move |head| {
        assert!(head.contains("Auth-Login-Attempt: 1\r\n"), "it is the same login: {head}");
        *asked.lock().unwrap() += 1;
        if *asked.lock().unwrap() < 3 {
            return "HTTP/1.0 200 OK\r\nAuth-Status: WAIT\r\n\r\n".to_owned();
        }
        format!(
            "HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: 127.0.0.1\r\n\
             Auth-Port: {port}\r\n\r\n"
        )
    });
    let mapping = format!(
        "[mapping]\nsource = \"http\"\nhttp.urls = [\"http://{judge}/\"]\n\
         http.destination = \"main\"\n"
    );
    let server = Server::start(site(&world, &mapping), Rig::default()).unwrap();
    Stage { world, server }.serves();
}

#[test]
fn a_judge_says_why_it_refuses_a_token() {
    let world = World::new(Kind::default());
    let judge = http(|head| {
        assert!(head.contains("Auth-Method: xoauth2\r\n"), "{head}");
        "HTTP/1.0 200 OK\r\nAuth-Status: Token expired\r\nAuth-Error-SASL: e30=\r\n\r\n".to_owned()
    });
    let mapping = format!(
        "[mapping]\nsource = \"http\"\nhttp.urls = [\"http://{judge}/\"]\n\
         http.destination = \"main\"\n"
    );
    let server = Server::start(site(&world, &mapping), Rig::default()).unwrap();
    let stage = Stage { world, server };
    let mut client = stage.client();
    // user=alice, a token "t".
    client.say("a1 AUTHENTICATE XOAUTH2 dXNlcj1hbGljZQFhdXRoPUJlYXJlciB0AQE=\r\n");
    assert_eq!(client.line(), "+ e30=\r\n");
    client.say("\r\n");
    assert_eq!(client.line(), "a1 NO [AUTHENTICATIONFAILED] Token expired\r\n");
}

#[test]
fn sqlite_is_read_and_written() {
    let world = World::new(Kind::default());
    let file = world.folder().join("routes.db");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    runtime.block_on(async {
        let mut database = options.connect().await.unwrap();
        let table = "CREATE TABLE routes (identifier TEXT PRIMARY KEY, destination TEXT)";
        sqlx::query(table).execute(&mut database).await.unwrap();
    });
    let mapping = format!(
        "[mapping]\nsource = \"sql\"\n[mapping.sql]\nurl = \"sqlite://{}\"\n\
         query = \"SELECT destination FROM routes WHERE identifier = ?\"\n\
         upsert_query = \"INSERT INTO routes VALUES (?1, ?2) ON CONFLICT DO UPDATE SET \
         destination = ?2\"\n\
         delete_query = \"DELETE FROM routes WHERE identifier = $1\"\n",
        file.display()
    );
    let site = site(&world, &mapping);
    let store = site.store().unwrap();
    runtime.block_on(async {
        let odd = "al'ice\u{e9}@x".as_bytes();
        assert_eq!(store.read(odd).await, Ok(None));
        for _ in 0..2 {
            assert_eq!(store.write(odd, "main").await, Ok(()));
        }
        assert_eq!(store.read(odd).await, Ok(Some("main".to_owned())));
        assert_eq!(store.write(odd, "mian").await, Err(WriteFault::UnknownDestination));
        assert_eq!(store.write(b"b\xf8b", "main").await, Err(WriteFault::NotText));
        assert_eq!(store.remove(odd).await, Ok(()));
        assert_eq!(store.read(odd).await, Ok(None));
        assert_eq!(store.write(b"alice", "main").await, Ok(()));
    });
    let server = Server::start(site, Rig::default()).unwrap();
    Stage { world, server }.serves();
}
