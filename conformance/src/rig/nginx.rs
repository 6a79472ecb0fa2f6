//! Debian's nginx as a mail proxy, in a temporary folder: one IMAP port without TLS, and an
//! auth_http server that says where logins go.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::Command,
};

use tempfile::TempDir;

use crate::rig::{Daemon, free_port, process::create_log, programs};

/// Where Debian has the module.
pub(super) const MAIL_MODULE: &str = "/usr/lib/nginx/modules/ngx_mail_module.so";

/// A running nginx.
#[derive(Debug)]
pub struct Nginx {
    // Before the folder: what runs in it ends first.
    _daemon: Daemon,
    /// Where it serves IMAP.
    pub address: SocketAddr,
    _folder: TempDir,
}

impl Nginx {
    /// Starts it with an auth_http server at this address and path.
    pub fn start(judge: SocketAddr, path: &str) -> io::Result<Self> {
        let nginx = programs::find("nginx").ok_or(io::ErrorKind::NotFound)?;
        let folder = tempfile::Builder::new().prefix("gatepost-nginx-").tempdir()?;
        let log = folder.path().join("log");
        create_log(&log)?;
        let port = free_port()?;
        let configuration = format!(
            "load_module {MAIL_MODULE};\ndaemon off;\nmaster_process off;\npid pid;\n\
             error_log stderr info;\nevents {{}}\nmail {{\n  auth_http {judge}{path};\n  \
             auth_http_header X-Auth-Key bees;\n  server {{\n    listen 127.0.0.1:{port};\n    \
             protocol imap;\n    imap_auth plain login;\n  }}\n}}\n"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration)?;
        let mut command = Command::new(nginx);
        command.arg("-p").arg(folder.path()).arg("-c").arg(&file).arg("-e").arg("stderr");
        let mut daemon = Daemon::spawn("nginx", &mut command, &log)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        daemon.wait_until(|| TcpStream::connect(address).is_ok())?;
        Ok(Self { _daemon: daemon, address, _folder: folder })
    }
}
