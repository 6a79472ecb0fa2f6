//! HAProxy in TCP mode: what it costs to carry bytes and to do TLS, without a word of protocol.
//!
//! One thread. Backends are verified by their authority and sessions toward them are reused, which
//! is its default. `splice` is an option there that packaged configurations leave off, so both are
//! measured where it matters.

use std::fmt::Write as _;
use std::process::Command;
use std::{fs, io};

use crate::bench::system::{Place, SESSIONS_MAX, program};

pub(super) fn command(place: &Place<'_>, splices: bool) -> io::Result<Command> {
    let file = place.write("haproxy.cfg", &configuration(place, splices)?)?;
    let mut command = program("haproxy")?;
    // In the foreground, as one process.
    command.arg("-db").arg("-f").arg(file);
    Ok(command)
}

fn configuration(place: &Place<'_>, splices: bool) -> io::Result<String> {
    let authority = place.ground.authority;
    // It wants both in one file.
    let chain = fs::read_to_string(&authority.certificate)?;
    let pair = place.write("pair.pem", &(chain + &fs::read_to_string(&authority.key)?))?;
    let splice = if splices { "option splice-auto" } else { "" };
    let mut text = format!(
        "global\n  nbthread 1\n  maxconn {SESSIONS_MAX}\n  maxpipes 64\n\
         defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 1h\n  timeout server 1h\n  \
         maxconn {SESSIONS_MAX}\n  {splice}\n"
    );
    for front in place.fronts.iter() {
        let (protocol, column) = (front.protocol, front.column);
        let bind = if column.client_tls() {
            format!(" ssl crt {}", pair.display())
        } else {
            String::new()
        };
        let server = if column.backend_tls() {
            let roots = authority.authority.display();
            format!(" ssl verify required verifyhost localhost sni str(localhost) ca-file {roots}")
        } else {
            String::new()
        };
        let _ = write!(
            text,
            "listen {}-{}\n  bind 127.0.0.1:{} backlog 4096{bind}\n  \
             server it 127.0.0.1:{}{server}\n",
            protocol.name(),
            column as usize,
            front.port,
            place.backend(protocol, column),
        );
    }
    Ok(text)
}
