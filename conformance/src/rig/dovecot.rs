//! Debian's Dovecot 2.3 in a temporary folder: IMAP, and what else is asked for.
//!
//! It runs without privileges: as the current user, or as `nobody` when the tests are run by root
//! (Dovecot gives no mail to root). Two ports for each protocol: one in the clear with STARTTLS,
//! one with implicit TLS (ManageSieve has the former alone); and the same again for connections
//! that begin with a PROXY header (LMTP has none of these). An `ID` or `XCLIENT` or PROXY header
//! with the client's address takes effect for whom [`Services`] name as trusted, and shows as
//! `rip=` and `rport=` in [`Dovecot::log`], beside the socket's own address as `real=`. Delays
//! after a wrong password are off. Mail is in maildirs that appear at an account's first login or
//! delivery; what LMTP delivers goes through the account's active Sieve script where ManageSieve is
//! served too. Its file is written by `configuration`.

mod configuration;

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use crate::rig::{
    Authority, Daemon, Endpoint, Protocol, Tls, free_port, imap, managesieve, owner::Owner, pop3,
    process::create_log, programs, smtp,
};
use configuration::{Ground, process};

/// Sessions that one Dovecot carries at once: above what any test opens.
const SESSION_LIMIT: u32 = 1100;
/// The file in its folder with everything that it writes.
const LOG: &str = "log";
/// How long a connection attempt may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How often to look for what must show shortly, in the log or on the ports, and the pause between.
const LOOKS: u32 = 500;
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The networks of every peer in a test.
pub const LOOPBACK: &str = "127.0.0.0/8";

/// Who may log in.
#[derive(Clone, Copy, Debug)]
pub struct Account<'a> {
    /// The whole login name, in lower case.
    pub user: &'a str,
    /// The password, without a colon or a line end.
    pub password: &'a str,
}

/// What a server is to do.
#[derive(Clone, Copy, Debug)]
pub struct Services<'a> {
    /// Who may log in, and gets mail.
    pub accounts: &'a [Account<'a>],
    /// What it speaks; not SMTP.
    pub protocols: &'a [Protocol],
    /// The port of 127.0.0.1 where Submission gives its messages; without it there is a login and
    /// no message.
    pub relay: Option<u16>,
    /// Whose ID and XCLIENT about the client count, as Dovecot writes networks.
    pub trusted: &'a str,
    /// Whose PROXY headers do.
    pub trusted_headers: &'a str,
    /// Where sessions go on, for a server that is itself a proxy: it judges no password and holds
    /// no mail.
    pub onward: Option<Onward<'a>>,
}

/// Where a Dovecot that is a proxy takes its clients' sessions.
#[derive(Clone, Copy, Debug)]
pub struct Onward<'a> {
    /// One for each protocol. Any certificate will do.
    pub endpoints: &'a [Endpoint],
    /// The address that it connects from.
    pub source: Ipv4Addr,
}

/// A further address of a server, where it serves in the clear: several servers have the same ports
/// there, each at its own address, as the hosts of one destination do.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Of loopback, and no other server's.
    pub address: Ipv4Addr,
    /// One for each of [`Services::protocols`], in their order.
    pub ports: &'a [u16],
}

/// The ports of one protocol.
#[derive(Clone, Copy, Debug)]
struct Door {
    protocol: Protocol,
    port: u16,
    tls_port: u16,
    /// The same behind a PROXY header.
    header_port: u16,
    header_tls_port: u16,
    /// In the clear at a further address.
    elsewhere: Option<SocketAddrV4>,
}

impl Door {
    fn choose(protocol: Protocol, elsewhere: Option<SocketAddrV4>) -> io::Result<Self> {
        Ok(Self {
            protocol,
            port: free_port()?,
            tls_port: free_port()?,
            header_port: free_port()?,
            header_tls_port: free_port()?,
            elsewhere,
        })
    }

    /// Where clients connect to it without a PROXY header.
    fn addresses(&self) -> impl Iterator<Item = SocketAddrV4> {
        let ports = [self.port, self.tls_port];
        let local = ports.map(|port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
        local.into_iter().chain(self.elsewhere)
    }

    /// How connections to its ports begin. Dovecot documents no ManageSieve with implicit TLS.
    fn modes(&self) -> &'static [Tls] {
        if self.protocol == Protocol::ManageSieve {
            &[Tls::Plain]
        } else {
            &[Tls::Plain, Tls::Implicit]
        }
    }
}

/// A running Dovecot.
#[derive(Debug)]
pub struct Dovecot {
    // Before the folder: what runs in it ends first.
    daemon: Daemon,
    /// The certificate it shows, and the authority behind it.
    pub authority: Authority,
    /// Where it answers who may log in, in Dovecot's own protocol, which Postfix speaks too.
    pub authentication_port: u16,
    doors: Vec<Door>,
    folder: TempDir,
}

impl Dovecot {
    /// Starts a server and waits until it serves everything.
    pub fn start(services: &Services<'_>) -> io::Result<Self> {
        Self::start_on(services, services.protocols.iter().map(|_| None))
    }

    /// The same with a further address.
    pub fn start_at(place: &Place<'_>, services: &Services<'_>) -> io::Result<Self> {
        let Place { address, ports } = *place;
        Self::start_on(services, ports.iter().map(|port| Some(SocketAddrV4::new(address, *port))))
    }

    fn start_on(
        services: &Services<'_>,
        further: impl Iterator<Item = Option<SocketAddrV4>>,
    ) -> io::Result<Self> {
        let owner = Owner::choose()?;
        let folder = tempfile::Builder::new().prefix("gatepost-dovecot-").tempdir()?;
        let authority = Authority::create(folder.path())?;
        let doors: Vec<Door> = services
            .protocols
            .iter()
            .zip(further)
            .map(|(protocol, further)| Door::choose(*protocol, further))
            .collect::<io::Result<_>>()?;
        let ground = Ground {
            folder: folder.path(),
            owner: &owner,
            doors: &doors,
            authentication_port: free_port()?,
            services,
        };
        fs::write(folder.path().join("dovecot.conf"), ground.configuration())?;
        fs::write(folder.path().join("passwd"), password_file(services))?;
        for name in ["run", "state", "mail"] {
            fs::create_dir(folder.path().join(name))?;
        }
        create_log(&folder.path().join(LOG))?;
        let authentication_port = ground.authentication_port;
        let daemon = run(folder.path(), &owner)?;
        let mut server = Self { daemon, authority, authentication_port, doors, folder };
        server.wait()?;
        Ok(server)
    }

    /// Where and how to connect to it.
    ///
    /// # Panics
    ///
    /// If it was not told to speak this protocol.
    pub fn endpoint(&self, protocol: Protocol, tls: Tls) -> Endpoint {
        let Door { port, tls_port, .. } = self.door(protocol);
        self.endpoint_on(protocol, tls, *port, *tls_port)
    }

    /// Where and how to connect to it with a PROXY header.
    ///
    /// # Panics
    ///
    /// If it was not told to speak this protocol.
    pub fn endpoint_with_header(&self, protocol: Protocol, tls: Tls) -> Endpoint {
        let Door { header_port, header_tls_port, .. } = self.door(protocol);
        self.endpoint_on(protocol, tls, *header_port, *header_tls_port)
    }

    fn door(&self, protocol: Protocol) -> &Door {
        let door = self.doors.iter().find(|door| door.protocol == protocol);
        // A test that asks for what it did not start is wrong in itself.
        door.unwrap_or_else(|| panic!("this dovecot does not speak {protocol}"))
    }

    fn endpoint_on(&self, protocol: Protocol, tls: Tls, clear: u16, encrypted: u16) -> Endpoint {
        let port = if tls == Tls::Implicit { encrypted } else { clear };
        Endpoint { protocol, port, tls, authority: self.authority.authority.clone() }
    }

    /// Its log so far: a line `Login: user=<…>, …, rip=…` for every session, `proxy(…): …` where it
    /// is a proxy itself.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// The lines of its log that report a login over a protocol, once there are `count` of them:
    /// the log may be a moment late. After a while it answers what there is.
    pub fn logins(&self, protocol: Protocol, count: usize) -> Vec<String> {
        self.logins_with("", protocol, count)
    }

    /// The same of those lines alone that contain a text.
    pub fn logins_with(&self, text: &str, protocol: Protocol, count: usize) -> Vec<String> {
        // Every protocol's login process has the protocol's name.
        let parts = [&format!("{protocol}-login: "), "Login: ", text];
        let mut logins = Vec::new();
        for _ in 0..LOOKS {
            logins = self
                .log()
                .lines()
                .filter(|line| parts.iter().all(|part| line.contains(part)))
                .map(str::to_owned)
                .collect();
            if logins.len() >= count {
                break;
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        logins
    }

    /// Ends it with all its sessions. Afterwards its ports refuse connections.
    pub fn stop(&mut self) -> io::Result<()> {
        self.daemon.stop();
        self.wait_until_closed()
    }

    /// The same with no warning, as when its machine is lost.
    pub fn kill(&mut self) -> io::Result<()> {
        self.daemon.kill()?;
        self.wait_until_closed()
    }

    /// Starts it again as it was, with its mail and on its ports, and waits until it serves.
    pub fn start_again(&mut self) -> io::Result<()> {
        self.daemon = run(self.folder.path(), &Owner::choose()?)?;
        self.wait()
    }

    fn wait_until_closed(&self) -> io::Result<()> {
        // The processes that share the listening sockets end a moment after the one that was told
        // to.
        for _ in 0..LOOKS {
            if self.doors.iter().flat_map(Door::addresses).all(refuses) {
                return Ok(());
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        Err(io::Error::other("dovecot was stopped and still accepts connections"))
    }

    fn wait(&mut self) -> io::Result<()> {
        for door in self.doors.clone() {
            for tls in door.modes() {
                let endpoint = self.endpoint(door.protocol, *tls);
                self.daemon.wait_until(|| serves(&endpoint))?;
            }
        }
        Ok(())
    }
}

/// Starts the program in the folder where everything is that it needs.
fn run(folder: &Path, owner: &Owner) -> io::Result<Daemon> {
    let mut command = Command::new(programs::find("dovecot").ok_or(io::ErrorKind::NotFound)?);
    command.arg("-F").arg("-c").arg(folder.join("dovecot.conf"));
    owner.run(&mut command, folder)?;
    Daemon::spawn("dovecot", &mut command, &folder.join(LOG))
}

/// Whether a server is ready: until its authentication process is up, Dovecot greets without its
/// capabilities, or not at all.
fn serves(endpoint: &Endpoint) -> bool {
    match endpoint.protocol {
        Protocol::Imap => imap::Client::connect(endpoint)
            .is_ok_and(|client| client.greeting.contains("[CAPABILITY")),
        Protocol::Pop3 => {
            pop3::Client::connect(endpoint).is_ok_and(|client| client.greeting.starts_with("+OK"))
        }
        Protocol::ManageSieve => {
            managesieve::Client::connect(endpoint).is_ok_and(|client| client.capabilities.is_ok())
        }
        Protocol::Submission | Protocol::Smtp | Protocol::Lmtp => {
            smtp::Client::connect(endpoint).is_ok()
        }
    }
}

fn refuses(address: SocketAddrV4) -> bool {
    TcpStream::connect_timeout(&SocketAddr::V4(address), CONNECT_LIMIT)
        .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Whom to let in; for a proxy, where to take everybody, by protocol.
fn password_file(services: &Services<'_>) -> String {
    let Some(Onward { endpoints, source }) = services.onward else {
        let line = |account: &Account<'_>| {
            format!("{}:{{PLAIN}}{}::::::\n", account.user, account.password)
        };
        return services.accounts.iter().map(line).collect();
    };
    let line = |endpoint: &Endpoint| {
        let tls = match endpoint.tls {
            Tls::Plain => "",
            Tls::Starttls => " starttls=any-cert",
            Tls::Implicit => " ssl=any-cert",
        };
        let (name, port) = (process(endpoint.protocol), endpoint.port);
        format!(
            "{name}:::::::nopassword=y proxy=y host=127.0.0.1 port={port} source_ip={source}{tls}\n"
        )
    };
    endpoints.iter().map(line).collect()
}
