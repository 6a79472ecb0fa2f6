//! A judge before servers that are a few lines each, and speak as servers in the field do.

#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::rc::Rc;

use gatepost_core::Seed;
use gatepost_core::config::{self, MappingSource, Protocol};
use gatepost_core::sasl::Login;
use tokio::net::TcpListener;

use super::*;

/// A server that gives the answers one after the other, each on a connection of its own, and
/// remembers the requests; without an answer left it stays silent.
struct Server {
    address: SocketAddr,
    requests: Rc<RefCell<Vec<String>>>,
}

async fn serve(answers: &[&'static str]) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests: Rc<RefCell<Vec<String>>> = Rc::default();
    let (answers, log) = (answers.to_vec(), Rc::clone(&requests));
    tokio::task::spawn_local(async move {
        let mut answers = answers.into_iter();
        let mut silent = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while auth_http::whole_head(&request).is_none() {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
            }
            log.borrow_mut().push(String::from_utf8_lossy(&request).into_owned());
            match answers.next() {
                // The client may have gone.
                Some(answer) => drop(stream.write_all(answer.as_bytes()).await),
                None => silent.push(stream),
            }
        }
    });
    Server { address, requests }
}

fn judge(urls: &[SocketAddr], timeout: Duration) -> Judge {
    let urls: Vec<String> = urls.iter().map(|address| format!("\"http://{address}/\"")).collect();
    let text = format!(
        "[listener.a]\nprotocol = \"imap\"\nbind = [\"127.0.0.1:143\"]\ntls = \"plain\"\n\
         [destination.main]\nhost = \"imap.test\"\n\
         protocol.imap = {{ port = 993, tls = \"implicit\" }}\n\
         [routing]\ndefault_destination = \"main\"\n[mapping]\nsource = \"http\"\n[mapping.http]\n\
         urls = [{}]\ndestination = \"main\"\n",
        urls.join(", ")
    );
    let (config, _) = config::parse(&text).unwrap();
    let MappingSource::Http(store) = config.mapping.source else { panic!("it names HTTP") };
    Judge::new(store, timeout, &[]).unwrap()
}

fn query(password: &[u8]) -> Query {
    let login = Login::with_password(b"alice".to_vec(), Secret::from(password));
    Query {
        identifier: Some(b"alice".to_vec()),
        login: Arc::new(login),
        protocol: Protocol::Imap,
        client: "192.0.2.7:50123".parse().unwrap(),
        local: "198.51.100.1:143".parse().unwrap(),
        header: None,
        tls: None,
        session: Seed(7).into(),
        attempt: 1,
    }
}

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(200);
const GOOD: &str = "HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: 127.0.0.1\r\n\
    Auth-Port: 1143\r\nAuth-Pass: other\r\n\r\n";

async fn asked(judge: &Judge, password: &[u8]) -> Routing {
    judge.ask(&query(password), &Resolver::shared()).await
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

fn route(routing: Routing) -> Route {
    let Routing::Found(route) = routing else { panic!("{routing:?}") };
    route
}

#[test]
fn an_accepted_login_goes_where_the_server_says_with_what_it_gives() {
    run(async {
        let server = serve(&[GOOD, "auth-server:localhost\nauth-port:1143\n\nbody"]).await;
        let judge = judge(&[server.address], LONG);
        let given = route(asked(&judge, b"own").await);
        assert_eq!(given.destination.name, "main");
        assert_eq!(given.at, Some("127.0.0.1:1143".parse().unwrap()));
        assert_eq!(given.login.unwrap(), {
            let password = Secret::from(&b"other"[..]);
            Arc::new(Login::with_password(b"alice".to_vec(), password))
        });
        let own = route(asked(&judge, b"own").await);
        assert!(own.login.is_none());
        assert!(own.at.is_some_and(|at| at.ip().is_loopback() && at.port() == 1143));
    });
}

#[test]
fn every_login_is_judged_by_itself() {
    run(async {
        let refusal = "HTTP/1.0 200 OK\r\nAuth-Status: Invalid login\r\nAuth-Wait: 1\r\n\r\n";
        let server = serve(&[GOOD, refusal, GOOD]).await;
        let judge = judge(&[server.address], LONG);
        route(asked(&judge, b"right").await);
        let wrong = asked(&judge, b"wrong").await;
        let Routing::Refused(denial) = wrong else { panic!("{wrong:?}") };
        assert_eq!((&*denial.text, denial.judged), (&b"Invalid login"[..], true));
        route(asked(&judge, b"right").await);
        let requests = server.requests.borrow();
        let passwords: Vec<bool> =
            requests.iter().map(|request| request.contains("Auth-Pass: right\r\n")).collect();
        assert_eq!(passwords, [true, false, true], "{requests:?}");
    });
}

#[test]
fn the_next_server_is_asked_where_one_cannot_be_connected_to_and_only_then() {
    run(async {
        // A port of somebody who has just left.
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let broken = serve(&["HTTP/1.0 200 OK\r\n\r\n"]).await;
        let good = serve(&[GOOD, GOOD]).await;
        let first = judge(&[gone, good.address], LONG);
        route(asked(&first, b"own").await);
        assert_eq!(good.requests.borrow().len(), 1);
        let second = judge(&[broken.address, good.address], LONG);
        assert!(matches!(asked(&second, b"own").await, Routing::Unavailable));
        assert_eq!(broken.requests.borrow().len(), 1);
        assert_eq!(good.requests.borrow().len(), 1, "a request that was out is not repeated");
    });
}

#[test]
fn a_server_that_wants_to_be_asked_again_is_not_waited_for() {
    const WAIT: &str = "HTTP/1.0 200 OK\r\nAuth-Status: WAIT\r\n\r\n";
    const LATER: &str = "Auth-Status: WAIT\nAuth-Wait: 3600\n\n";
    run(async {
        let server = serve(&[WAIT, LATER, GOOD]).await;
        let judge = judge(&[server.address], LONG);
        for seconds in [0, 3600] {
            let routing = asked(&judge, b"own").await;
            let Routing::Later(span) = routing else { panic!("{routing:?}") };
            assert_eq!(span, Duration::from_secs(seconds));
        }
        route(asked(&judge, b"own").await);
        assert_eq!(server.requests.borrow().len(), 3);
    });
}

#[test]
fn what_is_no_answer_judges_nobody() {
    let endless: &'static str = "X: y\r\n".repeat(HEAD_MAX).leak();
    run(async {
        for answer in ["", "HTTP/1.0 200 OK\r\n", "<html>\r\n\r\n", endless] {
            let server = serve(&[answer]).await;
            let routing = asked(&judge(&[server.address], LONG), b"own").await;
            assert!(matches!(routing, Routing::Unavailable), "{answer:.40}");
        }
        let silent = serve(&[]).await;
        let routing = asked(&judge(&[silent.address], SHORT), b"own").await;
        assert!(matches!(routing, Routing::Unavailable));
        assert_eq!(silent.requests.borrow().len(), 1);
    });
}

/// A server behind TLS, for the name `auth.test`, whose certificate lies in the file.
async fn serve_encrypted(folder: &std::path::Path, answers: usize) -> (Server, std::path::PathBuf) {
    let made = rcgen::generate_simple_self_signed(["auth.test".to_owned()]).unwrap();
    let file = folder.join("ca.pem");
    std::fs::write(&file, made.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests: Rc<RefCell<Vec<String>>> = Rc::default();
    let log = Rc::clone(&requests);
    tokio::task::spawn_local(async move {
        for _ in 0..answers {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = Vec::new();
            while auth_http::whole_head(&request).is_none() {
                if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            log.borrow_mut().push(String::from_utf8_lossy(&request).into_owned());
            drop(stream.write_all(GOOD.as_bytes()).await);
            drop(stream.shutdown().await);
        }
    });
    (Server { address, requests }, file)
}

/// What it takes to trust that file's authority, and to expect that name.
fn trusting(
    file: &std::path::Path,
    name: &str,
) -> Option<(Arc<ClientConfig>, ServerName<'static>)> {
    let policy = tls::ClientPolicy {
        trust: tls::Trust::CaFile(file.to_owned()),
        identity: None,
        disable_cipher_suites: Vec::new(),
        alpn: Vec::new(),
    };
    Some((tls::client_config(&policy).unwrap(), tls::server_name(name).unwrap()))
}

#[test]
fn over_https_nobody_but_the_server_of_that_name_hears_a_password() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let (server, file) = serve_encrypted(folder.path(), 3).await;
        let mut judge = judge(&[server.address], LONG);
        judge.servers[0].tls = trusting(&file, "other.test");
        assert!(matches!(asked(&judge, b"own").await, Routing::Unavailable));
        let stranger = rcgen::generate_simple_self_signed(["auth.test".to_owned()]).unwrap();
        let other = folder.path().join("other.pem");
        std::fs::write(&other, stranger.cert.pem()).unwrap();
        judge.servers[0].tls = trusting(&other, "auth.test");
        assert!(matches!(asked(&judge, b"own").await, Routing::Unavailable));
        assert!(server.requests.borrow().is_empty());
        judge.servers[0].tls = trusting(&file, "auth.test");
        route(asked(&judge, b"own").await);
        assert!(server.requests.borrow()[0].contains("Auth-Pass: own\r\n"));
    });
}
