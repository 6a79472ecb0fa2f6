//! Debian's Redis, PostgreSQL and MariaDB as route stores, and the same auth_http server before
//! Debian's nginx and before Gatepost.
//!
//! The server under test runs in this process; the stores are real and end with the test. Without a
//! store a test says that it was skipped; `GATEPOST_REQUIRE_SERVERS=1` makes that a failure. The
//! stage is real_stores/stage.rs.

#![allow(clippy::unwrap_used)]

#[path = "real_stores/stage.rs"]
mod stage;

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use gatepost_conformance::rig::{Nginx, Program, StoreServer, require, stores::Kind};
use gatepost_mio::WriteFault;
use sqlx::{Connection as _, MySqlConnection, PgConnection};
use stage::{Backend, Client, Stage, head_of};

/// Writes, reads, routes, survives the store's end and beginning, for every kind of store alike.
fn keeps_routes(server: &mut StoreServer, table: &str) {
    let url = server.url();
    let stage = Stage::new(&format!("lookup_timeout = \"2s\"\n{}", table.replace("URL", &url)));
    let store = stage.site.store().unwrap();
    let odd = "o'dd \\\u{e9}\u{1f41d}@example.test".as_bytes();
    stage.runtime.block_on(async {
        assert_eq!(store.read(odd).await, Ok(None));
        for destination in ["old", "new"] {
            assert_eq!(store.write(odd, destination).await, Ok(()));
            assert_eq!(store.read(odd).await, Ok(Some(destination.to_owned())));
        }
        assert_eq!(store.remove(odd).await, Ok(()));
        assert_eq!(store.read(odd).await, Ok(None));
        assert_eq!(store.write(odd, "nwe").await, Err(WriteFault::UnknownDestination));
        assert_eq!(store.write(b"alice@example.test", "new").await, Ok(()));
        assert_eq!(store.write(b"bob@example.test", "new").await, Ok(()));
    });
    let running = stage.start();
    assert_eq!(running.home("alice@example.test"), "new");
    assert_eq!(running.home("carol@example.test"), "old");
    server.stop();
    // Who is known is served all the same; the others hear that it is not their fault.
    assert_eq!(running.home("alice@example.test"), "new");
    assert_eq!(running.home("bob@example.test"), "unavailable");
    server.resume().unwrap();
    let mut home = running.home("bob@example.test");
    for _ in 0..600 {
        if home != "unavailable" {
            break;
        }
        thread::sleep(Duration::from_millis(100));
        home = running.home("bob@example.test");
    }
    assert_eq!(home, "new");
}

#[test]
fn redis_keeps_routes() {
    if !require(&[Program::Redis]) {
        return;
    }
    let mut server = StoreServer::start(Kind::Redis).unwrap();
    keeps_routes(&mut server, "source = \"redis\"\nredis.url = \"URL\"\n");
}

#[test]
fn postgresql_keeps_routes() {
    if !require(&[Program::PostgreSql]) {
        return;
    }
    let mut server = StoreServer::start(Kind::PostgreSql).unwrap();
    let url = server.url();
    stage::runtime().block_on(async {
        let mut database = PgConnection::connect(&url).await.unwrap();
        let table = "CREATE TABLE routes (identifier text PRIMARY KEY, destination varchar(64))";
        sqlx::query(table).execute(&mut database).await.unwrap();
    });
    keeps_routes(
        &mut server,
        "source = \"sql\"\n[mapping.sql]\nurl = \"URL\"\n\
         query = \"SELECT destination FROM routes WHERE identifier = $1\"\n\
         upsert_query = \"INSERT INTO routes VALUES ($1, $2) ON CONFLICT (identifier) DO UPDATE \
         SET destination = $2\"\n\
         delete_query = \"DELETE FROM routes WHERE identifier = $1\"\n",
    );
}

#[test]
fn mariadb_keeps_routes() {
    if !require(&[Program::MariaDb]) {
        return;
    }
    let mut server = StoreServer::start(Kind::MariaDb).unwrap();
    let url = server.url();
    stage::runtime().block_on(async {
        let mut database = MySqlConnection::connect(&url).await.unwrap();
        let table = "CREATE TABLE routes (identifier VARCHAR(255) COLLATE utf8mb4_bin PRIMARY KEY, \
                     destination VARCHAR(64) COLLATE utf8mb4_bin)";
        sqlx::query(table).execute(&mut database).await.unwrap();
    });
    keeps_routes(
        &mut server,
        "source = \"sql\"\n[mapping.sql]\nurl = \"URL\"\n\
         query = \"SELECT destination FROM routes WHERE identifier = ?\"\n\
         upsert_query = \"REPLACE INTO routes VALUES (?, ?)\"\n\
         delete_query = \"DELETE FROM routes WHERE identifier = ?\"\n",
    );
}

/// An auth_http server as simple as they come: alice has a password, and another one at the
/// backend. What it is asked goes to the test.
fn judge(backend: SocketAddr) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (heads, asked) = channel();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let head = head_of(&socket);
            let good = "Auth-User: alice%25@example.test\r\nAuth-Pass: p\u{e9}%20w\r\n";
            let answer = if head.contains(good) {
                format!(
                    "HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: {}\r\nAuth-Port: {}\r\n\
                     Auth-User: alice\r\nAuth-Pass: at-the-backend\r\n\r\n",
                    backend.ip(),
                    backend.port()
                )
            } else {
                "HTTP/1.0 200 OK\r\nAuth-Status: Wrong, I fear\r\nAuth-Wait: 1\r\n\r\n".to_owned()
            };
            socket.write_all(answer.as_bytes()).unwrap();
            // The test may have heard enough.
            let _ = heads.send(head);
        }
    });
    (address, asked)
}

#[test]
fn one_auth_http_server_serves_nginx_and_gatepost_alike() {
    if !require(&[Program::Nginx]) {
        return;
    }
    let backend = Backend::start("judged");
    let (judge, asked) = judge(backend.address);
    let nginx = Nginx::asking(judge, "/mail?v=1").unwrap();
    let stage = Stage::new(&format!(
        "source = \"http\"\n[mapping.http]\nurls = [\"http://{judge}/mail?v=1\"]\n\
         destination = \"old\"\nheaders = {{ X-Auth-Key = \"bees\" }}\n"
    ));
    let running = stage.start();
    let mut heads = Vec::new();
    for address in [nginx.address(), running.address()] {
        let mut client = Client::connect(address);
        let refused = client.log_in("alice@example.test", "wrong");
        assert!(refused.starts_with("a NO ") && refused.contains("Wrong, I fear"), "{refused}");
        heads.push(asked.recv().unwrap());
        let accepted = client.authenticate("alice%@example.test", "p\u{e9} w");
        assert!(accepted.starts_with("a OK "), "{accepted}");
        assert_eq!(backend.login(), ["alice", "at-the-backend"]);
        heads.push(asked.recv().unwrap());
    }
    let [theirs_refused, theirs, ours_refused, ours] = &heads[..] else { panic!("{heads:?}") };
    for (theirs, ours) in [(theirs_refused, ours_refused), (theirs, ours)] {
        let mut rest = ours.lines();
        for line in theirs.lines() {
            assert!(rest.any(|own| own == line), "{line:?} is not in its place in {ours}");
        }
    }
}
