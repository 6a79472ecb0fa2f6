//! nginx' mail proxy: it speaks with the client, asks auth_http, and logs in at the backend.
//!
//! One worker. The sink answers auth_http on a keep-nothing HTTP/1.0 connection, which is the only
//! way that nginx asks. It has no TLS toward backends.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::process::Command;

use rustix::process::geteuid;

use crate::bench::case::Protocol;
use crate::bench::system::{Place, SESSIONS_MAX, program};

/// Where Debian has the module, if it is not built in.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_mail_module.so";

pub(super) fn command(place: &Place<'_>) -> io::Result<Command> {
    let file = place.write("nginx.conf", &configuration(place))?;
    let mut command = program("nginx")?;
    command.arg("-p").arg(place.folder).arg("-c").arg(file).args(["-e", "errors"]);
    Ok(command)
}

fn configuration(place: &Place<'_>) -> String {
    let module =
        if Path::new(MODULE).exists() { format!("load_module {MODULE};") } else { String::new() };
    let user = if geteuid().is_root() { "user root;" } else { "" };
    let authority = place.ground.authority;
    let connections = 2 * SESSIONS_MAX + 100;
    let mut text = format!(
        "{module}\n{user}\ndaemon off;\npid nginx.pid;\nworker_processes 1;\n\
         worker_rlimit_nofile 20000;\nevents {{ worker_connections {connections}; }}\n\
         mail {{\n  server_name localhost;\n  auth_http 127.0.0.1:{}/;\n  proxy_timeout 1h;\n  \
         ssl_certificate {};\n  ssl_certificate_key {};\n  ssl_protocols TLSv1.2 TLSv1.3;\n  \
         imap_auth login plain;\n  pop3_auth plain;\n  smtp_auth login plain;\n  xclient off;\n  \
         proxy_smtp_auth on;\n",
        place.ground.sink.auth_http,
        authority.certificate.display(),
        authority.key.display(),
    );
    for front in place.fronts.iter().filter(|front| !front.column.backend_tls()) {
        let protocol = match front.protocol {
            Protocol::Imap => "imap",
            Protocol::Pop3 => "pop3",
            Protocol::Submission => "smtp",
        };
        let tls = if front.column.client_tls() { " ssl" } else { "" };
        let _ = writeln!(
            text,
            "  server {{ listen 127.0.0.1:{}{tls} backlog=4096; protocol {protocol}; }}",
            front.port
        );
    }
    text.push_str("}\n");
    text
}
