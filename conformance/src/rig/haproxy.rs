//! Debian's HAProxy in a temporary folder, as a balancer in TCP mode before or behind the proxy.
//!
//! It runs without privileges. Each [`Lane`] is a port of 127.0.0.1 that leads to another one; what
//! it tells the next server about its client, and what it hears itself, is the lane's. Its log has
//! a line for every connection, as soon as it is carried:
//! `client=ADDRESS:PORT server=ADDRESS:PORT`, and with a PROXY header what the header said beside
//! the addresses. It looks at no octet that it carries.

use std::{fmt::Write as _, fs, io, net::Ipv4Addr, path::PathBuf, process::Command};

use tempfile::TempDir;

use crate::rig::{Authority, Daemon, owner::Owner, process::create_log, programs, proxy::accepts};

/// What stands before the first octet of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// Nothing.
    None,
    /// A line of text.
    Version1,
    /// The binary form.
    Version2,
    /// The binary form, with what there is to say about the client's TLS.
    Version2WithTls,
}

impl Header {
    /// The option of a server that this is.
    fn option(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Version1 => " send-proxy",
            Self::Version2 => " send-proxy-v2",
            Self::Version2WithTls => " send-proxy-v2-ssl",
        }
    }
}

/// A way through: from a port to a port.
#[derive(Clone, Debug)]
pub struct Lane {
    /// Where it listens.
    pub port: u16,
    /// Whether the clients' TLS ends here.
    pub ends_tls: bool,
    /// Whether connections to it begin with a PROXY header.
    pub takes_header: bool,
    /// Where it leads, on 127.0.0.1.
    pub to: u16,
    /// What it says there first.
    pub header: Header,
    /// The authority by whose certificate it speaks TLS there, for `localhost`, within which
    /// nothing but what its client sent is carried: its own header stands before it.
    pub begins_tls: Option<PathBuf>,
    /// The start of the greeting that it asks for many times a second, to see whether the server is
    /// well, with a header that says that nobody is behind it.
    pub greeting: Option<&'static str>,
}

impl Lane {
    /// A lane that carries, and says and does nothing.
    pub fn new(port: u16, to: u16) -> Self {
        Self {
            port,
            ends_tls: false,
            takes_header: false,
            to,
            header: Header::None,
            begins_tls: None,
            greeting: None,
        }
    }
}

/// A running HAProxy.
#[derive(Debug)]
pub struct Haproxy {
    // Before the folder: what runs in it ends first.
    daemon: Daemon,
    /// The certificate it shows, and the authority behind it.
    pub authority: Authority,
    _folder: TempDir,
}

impl Haproxy {
    /// Starts one that connects from `source`, and waits until every lane accepts connections.
    pub fn start(source: Ipv4Addr, lanes: &[Lane]) -> io::Result<Self> {
        let haproxy = programs::find("haproxy").ok_or(io::ErrorKind::NotFound)?;
        let folder = tempfile::Builder::new().prefix("gatepost-haproxy-").tempdir()?;
        let authority = Authority::create(folder.path())?;
        // It wants both in one file.
        let both = folder.path().join("both.pem");
        let parts = [fs::read(&authority.certificate)?, fs::read(&authority.key)?];
        fs::write(&both, parts.concat())?;
        let file = folder.path().join("haproxy.cfg");
        let mut text = foundation(source);
        for lane in lanes {
            text.push_str(&section(lane, &both.display().to_string()));
        }
        fs::write(&file, text)?;
        let log = folder.path().join("log");
        create_log(&log)?;
        let mut command = Command::new(haproxy);
        // In the foreground.
        command.arg("-db").arg("-f").arg(&file);
        Owner::choose()?.run(&mut command, folder.path())?;
        let mut daemon = Daemon::spawn("haproxy", &mut command, &log)?;
        daemon.wait_until(|| lanes.iter().all(|lane| accepts(lane.port)))?;
        Ok(Self { daemon, authority, _folder: folder })
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.daemon.log()
    }
}

fn foundation(source: Ipv4Addr) -> String {
    format!(
        "global\n  log stdout format raw local0\n\
         defaults\n  mode tcp\n  log global\n  option logasap\n  option log-health-checks\n  \
         timeout connect 10s\n  timeout client 120s\n  timeout server 120s\n  \
         timeout check 10s\n  source {source}\n"
    )
}

fn section(lane: &Lane, certificate: &str) -> String {
    let Lane { port, to, .. } = lane;
    let tls = if lane.ends_tls { format!(" ssl crt {certificate}") } else { String::new() };
    let (accept, said) = if lane.takes_header {
        (" accept-proxy", " authority=%[fc_pp_authority] id=%[fc_pp_unique_id]")
    } else {
        ("", "")
    };
    let mut text = format!(
        "listen lane{port}\n  bind 127.0.0.1:{port}{tls}{accept}\n  \
         log-format \"client=%ci:%cp server=%fi:%fp{said}\"\n"
    );
    let mut options = lane.header.option().to_owned();
    if let Some(authority) = &lane.begins_tls {
        let authority = authority.display();
        write!(options, " ssl verify required ca-file {authority} sni str(localhost)")
            .expect("writing to a string does not fail");
    }
    if let Some(greeting) = lane.greeting {
        options.push_str(" check inter 100ms");
        write!(text, "  option tcp-check\n  tcp-check expect string \"{greeting}\"\n")
            .expect("writing to a string does not fail");
    }
    text + &format!("  server next 127.0.0.1:{to}{options}\n")
}
