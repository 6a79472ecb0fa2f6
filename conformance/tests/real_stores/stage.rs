//! A server in this process with two destinations and a store, backends that take every login, and
//! a client that says where it arrived.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatepost_core::config::{self, Config};
use gatepost_mio::{Rig, Server, Site};
use tokio::runtime::{Builder, Runtime};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What is not running yet.
pub(crate) struct Stage {
    pub(crate) site: Site,
    config: Config,
    pub(crate) runtime: Runtime,
    backends: [Backend; 2],
}

/// What is.
pub(crate) struct Running {
    server: Server,
    _backends: [Backend; 2],
}

pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

impl Stage {
    /// With these lines of the table `mapping`. Everybody else lives at `old`.
    pub(crate) fn new(mapping: &str) -> Self {
        let backends = [Backend::start("old"), Backend::start("new")];
        let mut text = "[server]\nthreads = 1\n[listener.imap]\nprotocol = \"imap\"\n\
            bind = [\"127.0.0.1:0\"]\ntls = \"plain\"\nallow_plain_auth_without_tls = true\n\
            [routing]\ndefault_destination = \"old\"\n"
            .to_owned();
        for (name, backend) in ["old", "new"].into_iter().zip(&backends) {
            text.push_str(&format!(
                "[destination.{name}]\nhost = \"127.0.0.1\"\nallow_plaintext_auth = true\n\
                 forwarding = \"none\"\nprotocol.imap = {{ port = {}, tls = \"plain\" }}\n",
                backend.address.port()
            ));
        }
        text.push_str(&format!("[mapping]\n{mapping}"));
        let (config, _) =
            config::parse(&text).unwrap_or_else(|faults| panic!("{faults:?}\n{text}"));
        let site = Site::load(&config).unwrap_or_else(|faults| panic!("{faults:?}"));
        Self { site, config, runtime: runtime(), backends }
    }

    pub(crate) fn start(self) -> Running {
        // The connections of that site's store belong to the runtime of the test.
        let site = Site::load(&self.config).unwrap_or_else(|faults| panic!("{faults:?}"));
        let server = Server::start(site, Rig::default()).unwrap();
        Running { server, _backends: self.backends }
    }
}

impl Running {
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.addresses("imap").next().unwrap()
    }

    /// Where an account's login arrives, or "unavailable".
    pub(crate) fn home(&self, user: &str) -> String {
        let line = Client::connect(self.address()).log_in(user, "secret");
        if line.starts_with("a NO [UNAVAILABLE]") {
            return "unavailable".to_owned();
        }
        let home = line.split("XHOME-").nth(1).unwrap_or_else(|| panic!("{line}"));
        home.split(']').next().unwrap_or_default().to_owned()
    }
}

/// A client of IMAP.
pub(crate) struct Client {
    lines: BufReader<TcpStream>,
}

impl Client {
    /// One that was greeted.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let mut client = Self { lines: BufReader::new(socket) };
        let greeting = client.line();
        assert!(greeting.starts_with("* OK "), "{greeting}");
        client
    }

    pub(crate) fn log_in(&mut self, user: &str, password: &str) -> String {
        self.ask(&format!("a LOGIN \"{user}\" \"{password}\"\r\n"))
    }

    pub(crate) fn authenticate(&mut self, user: &str, password: &str) -> String {
        let prompt = self.ask("a AUTHENTICATE PLAIN\r\n");
        assert!(prompt.starts_with('+'), "{prompt}");
        let message = STANDARD.encode(format!("\0{user}\0{password}"));
        self.ask(&format!("{message}\r\n"))
    }

    fn ask(&mut self, command: &str) -> String {
        self.lines.get_mut().write_all(command.as_bytes()).unwrap();
        self.line()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "the connection ended");
        line
    }
}

/// A backend of IMAP that takes every LOGIN, and says its own name then.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    logins: Receiver<Vec<String>>,
}

impl Backend {
    pub(crate) fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (logins, arrived) = channel();
        thread::spawn(move || {
            for socket in listener.incoming() {
                let logins = logins.clone();
                // A session may end at any moment.
                thread::spawn(move || serve(socket.unwrap(), name, &logins));
            }
        });
        Self { address, logins: arrived }
    }

    /// Name and password of the next login.
    pub(crate) fn login(&self) -> Vec<String> {
        self.logins.recv_timeout(LIMIT).unwrap()
    }
}

/// Serves a login, whose arguments may be literals.
fn serve(mut socket: TcpStream, name: &str, logins: &Sender<Vec<String>>) -> Option<()> {
    socket.write_all(b"* OK [CAPABILITY IMAP4rev1] hello\r\n").ok()?;
    let mut lines = BufReader::new(socket.try_clone().ok()?);
    let mut command = String::new();
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        match line.rsplit_once('{').filter(|(_, length)| length.ends_with('}')) {
            Some((before, _)) => {
                command.push_str(before);
                socket.write_all(b"+ go on\r\n").ok()?;
            }
            None => {
                command.push_str(line);
                break;
            }
        }
    }
    let mut words = command.split_whitespace().map(|word| word.trim_matches('"').to_owned());
    let tag = words.next()?;
    assert_eq!(words.next().as_deref(), Some("LOGIN"), "{command}");
    // Nobody may ask.
    let _ = logins.send(words.collect());
    let verdict = format!("{tag} OK [CAPABILITY IMAP4rev1 XHOME-{name}] in\r\n");
    socket.write_all(verdict.as_bytes()).ok()?;
    let mut rest = String::new();
    while lines.read_line(&mut rest).ok()? > 0 {}
    Some(())
}

/// The head of a request, blank line included.
pub(crate) fn head_of(socket: &TcpStream) -> String {
    let mut lines = BufReader::new(socket.try_clone().unwrap());
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert_ne!(lines.read_until(b'\n', &mut head).unwrap(), 0, "a head ends");
    }
    String::from_utf8_lossy(&head).into_owned()
}
