//! Debian's nginx in a temporary folder: before the proxy as a mail proxy, or behind it as one that
//! carries streams.
//!
//! It runs without privileges. Behind ([`Nginx::behind`]) every connection must begin with a PROXY
//! header, and the log has a line of what the header said. Before ([`Nginx::before`]) it speaks
//! IMAP with clients in the clear, lets everybody in, and logs in at the next server with the same
//! credentials, where its connection begins with a PROXY header (version 1) about the client.
//! [`Nginx::asking`] has an auth_http server say where logins go.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    process::Command,
};

use tempfile::TempDir;

use crate::rig::{
    Authority, Daemon, Endpoint, Protocol, Tls, free_port, owner::Owner, process::create_log,
    programs, proxy::accepts,
};

/// Where Debian has its modules.
pub(super) const MODULES: &str = "/usr/lib/nginx/modules";

/// A running nginx.
#[derive(Debug)]
pub struct Nginx {
    // Before the folder: what runs in it ends first.
    daemon: Daemon,
    port: u16,
    authority: Authority,
    _folder: TempDir,
}

impl Nginx {
    /// Starts one that takes a PROXY header from everybody and carries what follows to the port
    /// `to` of 127.0.0.1.
    pub fn behind(to: u16) -> io::Result<Self> {
        let port = free_port()?;
        Self::start(
            port,
            "stream",
            &format!(
                "stream {{\n  log_format said 'client=$proxy_protocol_addr:$proxy_protocol_port \
                 server=$proxy_protocol_server_addr:$proxy_protocol_server_port';\n  \
                 access_log /dev/stdout said;\n  \
                 server {{\n    listen 127.0.0.1:{port} proxy_protocol;\n    \
                 proxy_pass 127.0.0.1:{to};\n  }}\n}}\n"
            ),
        )
    }

    /// Starts one that connects to the port `to` of 127.0.0.1.
    pub fn before(to: u16) -> io::Result<Self> {
        let (port, judge) = (free_port()?, free_port()?);
        // The second server is asked by the first where a session goes, and always says the same.
        Self::start(
            port,
            "mail",
            &format!(
                "mail {{\n  auth_http 127.0.0.1:{judge}/;\n  proxy_protocol on;\n  \
                 server {{\n    listen 127.0.0.1:{port};\n    protocol imap;\n  }}\n}}\n\
                 http {{\n  access_log off;\n  client_body_temp_path body;\n  \
                 proxy_temp_path proxy;\n  fastcgi_temp_path fastcgi;\n  uwsgi_temp_path uwsgi;\n  \
                 scgi_temp_path scgi;\n  server {{\n    listen 127.0.0.1:{judge};\n    \
                 location / {{\n      add_header Auth-Status OK;\n      \
                 add_header Auth-Server 127.0.0.1;\n      add_header Auth-Port {to};\n      \
                 return 200;\n    }}\n  }}\n}}\n"
            ),
        )
    }

    /// Starts one that asks an auth_http server at this address and path where logins go.
    pub fn asking(judge: SocketAddr, path: &str) -> io::Result<Self> {
        let port = free_port()?;
        Self::start(
            port,
            "mail",
            &format!(
                "mail {{\n  auth_http {judge}{path};\n  auth_http_header X-Auth-Key bees;\n  \
                 server {{\n    listen 127.0.0.1:{port};\n    protocol imap;\n    \
                 imap_auth plain login;\n  }}\n}}\n"
            ),
        )
    }

    fn start(port: u16, module: &str, services: &str) -> io::Result<Self> {
        let nginx = programs::find("nginx").ok_or(io::ErrorKind::NotFound)?;
        let folder = tempfile::Builder::new().prefix("gatepost-nginx-").tempdir()?;
        let authority = Authority::create(folder.path())?;
        let file = folder.path().join("nginx.conf");
        let text = format!(
            "load_module {MODULES}/ngx_{module}_module.so;\ndaemon off;\nworker_processes 1;\n\
             pid pid;\nerror_log stderr info;\nevents {{ }}\n{services}"
        );
        fs::write(&file, text)?;
        let log = folder.path().join("log");
        create_log(&log)?;
        let mut command = Command::new(nginx);
        command.arg("-p").arg(folder.path()).arg("-c").arg(&file).args(["-e", "stderr"]);
        Owner::choose()?.run(&mut command, folder.path())?;
        let mut daemon = Daemon::spawn("nginx", &mut command, &log)?;
        daemon.wait_until(|| accepts(port))?;
        Ok(Self { daemon, port, authority, _folder: folder })
    }

    /// Where to connect to it, for a protocol that it is to carry or speak.
    pub fn endpoint(&self, protocol: Protocol, tls: Tls) -> Endpoint {
        Endpoint { protocol, port: self.port, tls, authority: self.authority.authority.clone() }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.daemon.log()
    }
}
