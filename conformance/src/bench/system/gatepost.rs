//! The `gatepost` program, with a configuration as an operator would write it.
//!
//! An account's home decides whether the backend leg has TLS: a file map knows both accounts.
//! Backends are verified by their authority; nothing is told of the client (`forwarding =
//! "none"`), as none of the systems beside it does.

use std::fmt::Write as _;
use std::io;
use std::process::Command;

use crate::bench::case::{Column, Protocol};
use crate::bench::system::{Place, SESSIONS_MAX};

pub(super) fn command(place: &Place<'_>, workers: usize) -> io::Result<Command> {
    let file = place.write("gatepost.toml", &configuration(place, workers)?)?;
    let mut command = Command::new(place.ground.gatepost);
    command.arg("run").arg(file).env_remove("GATEPOST_CONFIG").env_remove("RUST_LOG");
    Ok(command)
}

/// The configuration file; the tokio library is given the same.
pub(super) fn configuration(place: &Place<'_>, workers: usize) -> io::Result<String> {
    let homes = Column::ALL.map(|column| format!("{} {}\n", column.user(), home(column)));
    let map = place.write("homes", &[&homes[0], &homes[2]].map(String::as_str).concat())?;
    let authority = place.ground.authority;
    let mut text = format!(
        r#"
[server]
threads = {workers}
log_level = "warn"
[tls.certificate.it]
cert = {:?}
key = {:?}
[routing]
default_destination = "plain"
[mapping]
source = "file"
[mapping.file]
path = {map:?}
"#,
        authority.certificate, authority.key
    );
    for front in place.fronts.iter() {
        let (protocol, column) = (front.protocol.name(), front.column);
        let tls = if column.client_tls() { "implicit" } else { "plain" };
        let port = front.port;
        let _ = write!(
            text,
            r#"
[listener.{protocol}-{}]
protocol = "{protocol}"
bind = ["127.0.0.1:{port}"]
tls = "{tls}"
allow_plain_auth_without_tls = true
max_connections = {SESSIONS_MAX}
"#,
            column as usize,
        );
    }
    for column in [Column::Plain, Column::Both] {
        let (name, tls) = (home(column), if column.backend_tls() { "implicit" } else { "plain" });
        let _ = write!(
            text,
            r#"
[destination.{name}]
host = "127.0.0.1"
tls_server_name = "localhost"
tls_ca_file = {:?}
forwarding = "none"
allow_plaintext_auth = true
"#,
            authority.authority
        );
        for protocol in Protocol::ALL {
            let (port, protocol) = (place.backend(protocol, column), protocol.name());
            let _ = writeln!(text, "protocol.{protocol} = {{ port = {port}, tls = \"{tls}\" }}");
        }
    }
    Ok(text)
}

/// The destination behind a column.
pub(super) const fn home(column: Column) -> &'static str {
    if column.backend_tls() { "tls" } else { "plain" }
}
