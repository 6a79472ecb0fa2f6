//! Dovecot's login proxy, in the language of version 2.3, without privileges.
//!
//! One login process a protocol that serves all its sessions (`service_count = 0`), which is what
//! Dovecot's documentation calls the high-performance mode; accounts come from a passwd-file for
//! each protocol, whose fields say where the mail is. What it logs of a login goes nowhere. It does
//! not verify the backend (`ssl=any-cert`), which spares it work that the others do.

use std::fmt::Write as _;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::{fs, io};

use rustix::process::geteuid;

use crate::bench::case::{Column, Protocol};
use crate::bench::load::words::PASSWORD;
use crate::bench::system::{Place, SESSIONS_MAX, program};
use crate::rig::programs::user_id;

/// Whom it runs as when the bench is run by root.
const UNPRIVILEGED: &str = "nobody";

pub(super) fn command(place: &Place<'_>) -> io::Result<Command> {
    let (user, group) = if geteuid().is_root() {
        (UNPRIVILEGED.to_owned(), name_of(UNPRIVILEGED, "-gn")?)
    } else {
        (id(&["-un"])?, id(&["-gn"])?)
    };
    let file = place.write("dovecot.conf", &configuration(place, &user, &group))?;
    for protocol in Protocol::ALL {
        place.write(&format!("accounts-{}", protocol.name()), &accounts(place, protocol))?;
    }
    fs::write(place.folder.join("log"), "")?;
    fs::copy(&place.ground.authority.certificate, place.folder.join("certificate.pem"))?;
    fs::copy(&place.ground.authority.key, place.folder.join("key.pem"))?;
    for folder in ["run", "state"] {
        fs::create_dir(place.folder.join(folder))?;
    }
    let mut command = program("dovecot")?;
    command.arg("-F").arg("-c").arg(file);
    if geteuid().is_root() {
        let owner = user_id(UNPRIVILEGED)?;
        let group = name_of(UNPRIVILEGED, "-g")?.parse().map_err(io::Error::other)?;
        chown(place.folder, Some(owner), Some(group))?;
        for entry in fs::read_dir(place.folder)? {
            chown(entry?.path(), Some(owner), Some(group))?;
        }
        command.uid(owner).gid(group);
    }
    Ok(command)
}

fn configuration(place: &Place<'_>, user: &str, group: &str) -> String {
    let folder = place.folder.display();
    let mut text = format!(
        r"
protocols = imap pop3 submission
listen = 127.0.0.1
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
info_log_path = /dev/null
hostname = localhost
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
default_vsz_limit = 0
disable_plaintext_auth = no
auth_failure_delay = 0
ssl = yes
ssl_cert = <{folder}/certificate.pem
ssl_key = <{folder}/key.pem
passdb {{
  driver = passwd-file
  args = username_format=%u {folder}/accounts-%s
}}
service auth {{
  client_limit = {SESSIONS_MAX}
}}
service anvil {{
  chroot =
  client_limit = {SESSIONS_MAX}
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-urlauth-login {{
  chroot =
  process_limit = 1
}}
"
    );
    for protocol in Protocol::ALL {
        let name = protocol.name();
        let _ = write!(
            text,
            "service {name}-login {{\n  chroot =\n  service_count = 0\n  client_limit = \
             {SESSIONS_MAX}\n  process_limit = 1\n  process_min_avail = 1\n"
        );
        // The names without a column are those of its own listeners, which are to be elsewhere.
        for column in Column::ALL {
            let port = place.fronts.of(protocol, column);
            let (listener, tls) = match column {
                Column::Plain => (name.to_owned(), "no"),
                Column::Client => (format!("{name}s"), "yes"),
                Column::Both => (format!("{name}s-both"), "yes"),
            };
            let _ = write!(
                text,
                "  inet_listener {listener} {{\n    port = {port}\n    ssl = {tls}\n  }}\n"
            );
        }
        text.push_str("}\n");
    }
    text
}

fn accounts(place: &Place<'_>, protocol: Protocol) -> String {
    let mut text = String::new();
    for column in [Column::Plain, Column::Both] {
        let (user, port) = (column.user(), place.backend(protocol, column));
        let tls = if column.backend_tls() { " ssl=any-cert" } else { "" };
        let _ = writeln!(
            text,
            "{user}:{{PLAIN}}{PASSWORD}::::::proxy=y host=localhost hostip=127.0.0.1 \
             port={port}{tls}"
        );
    }
    text
}

fn name_of(user: &str, option: &str) -> io::Result<String> {
    id(&[option, user])
}

fn id(arguments: &[&str]) -> io::Result<String> {
    let output = Command::new("id").args(arguments).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
