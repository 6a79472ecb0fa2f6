//! What the sink says: enough of three protocols for every proxy's login, and two verbs for bulk.
//!
//! Everybody is let in with whatever credentials: the sink measures proxies, and judges nobody.

use crate::bench::case::Protocol;
use crate::bench::sink::{Ports, Service};

/// What a command leads to.
pub(super) enum Reply {
    Words(Vec<u8>),
    /// The rest of the command is asked for.
    GoOn(&'static [u8]),
    /// So many octets in all, with these at their end.
    Bulk {
        octets: usize,
        then: Vec<u8>,
    },
    Bye(&'static [u8]),
}

/// What is said first.
pub(super) const fn greeting(service: Service) -> &'static [u8] {
    match service {
        Service::Mail(Protocol::Imap) => {
            b"* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ AUTH=PLAIN] sink ready\r\n"
        }
        Service::Mail(Protocol::Pop3) => b"+OK sink ready\r\n",
        Service::Mail(Protocol::Submission) => b"220 sink.bench.test ESMTP\r\n",
        Service::AuthHttp => b"",
    }
}

/// The answer to a command, its literals left out.
pub(super) fn reply(protocol: Protocol, command: &[u8]) -> Reply {
    let command = String::from_utf8_lossy(command);
    let mut words = command.split_ascii_whitespace();
    let first = words.next().unwrap_or_default();
    match protocol {
        Protocol::Imap => imap(first, words),
        Protocol::Pop3 => pop3(&first.to_ascii_uppercase(), words),
        Protocol::Submission => submission(&first.to_ascii_uppercase(), words),
    }
}

fn imap<'a>(tag: &str, mut words: impl Iterator<Item = &'a str>) -> Reply {
    let verb = words.next().unwrap_or_default().to_ascii_uppercase();
    let done = |before: &str, after: &str| {
        Reply::Words(format!("{before}{tag} OK {after}\r\n").into_bytes())
    };
    match verb.as_str() {
        "LOGIN" => done("", "[CAPABILITY IMAP4rev1 IDLE] in"),
        "AUTHENTICATE" if words.nth(1).is_none() => Reply::GoOn(b"+ \r\n"),
        "AUTHENTICATE" => done("", "[CAPABILITY IMAP4rev1 IDLE] in"),
        "CAPABILITY" => done("* CAPABILITY IMAP4rev1 SASL-IR LITERAL+ AUTH=PLAIN\r\n", "done"),
        "ID" => done("* ID NIL\r\n", "done"),
        "NOOP" | "XUP" => done("", "done"),
        "XDOWN" => {
            let octets = words.next().and_then(|word| word.parse().ok()).unwrap_or_default();
            Reply::Bulk { octets, then: format!("\r\n{tag} OK done\r\n").into_bytes() }
        }
        "LOGOUT" => Reply::Bye(b"* BYE gone\r\nz OK gone\r\n"),
        _ => Reply::Words(format!("{tag} BAD what\r\n").into_bytes()),
    }
}

fn pop3<'a>(verb: &str, mut words: impl Iterator<Item = &'a str>) -> Reply {
    match verb {
        "CAPA" => Reply::Words(
            b"+OK\r\nUSER\r\nSASL PLAIN\r\nPIPELINING\r\nRESP-CODES\r\nUIDL\r\n.\r\n".to_vec(),
        ),
        "AUTH" if words.nth(1).is_none() => Reply::GoOn(b"+ \r\n"),
        "AUTH" | "USER" | "PASS" | "NOOP" => Reply::Words(b"+OK done\r\n".to_vec()),
        "QUIT" => Reply::Bye(b"+OK gone\r\n"),
        _ => Reply::Words(b"-ERR what\r\n".to_vec()),
    }
}

fn submission<'a>(verb: &str, mut words: impl Iterator<Item = &'a str>) -> Reply {
    match verb {
        "EHLO" => Reply::Words(
            b"250-sink.bench.test\r\n250-AUTH PLAIN\r\n250-PIPELINING\r\n250 8BITMIME\r\n".to_vec(),
        ),
        "AUTH" if words.nth(1).is_none() => Reply::GoOn(b"334 \r\n"),
        "AUTH" => Reply::Words(b"235 2.7.0 in\r\n".to_vec()),
        "HELO" | "NOOP" | "RSET" => Reply::Words(b"250 2.0.0 done\r\n".to_vec()),
        "QUIT" => Reply::Bye(b"221 2.0.0 gone\r\n"),
        _ => Reply::Words(b"500 5.5.1 what\r\n".to_vec()),
    }
}

/// The answer to nginx' request: the sink itself is where everybody's mailbox is.
pub(super) fn auth_http(request: &[u8], ports: &Ports) -> Vec<u8> {
    let request = String::from_utf8_lossy(request);
    let header = |name: &str| {
        request.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    let protocol = match header("auth-protocol") {
        Some("pop3") => Protocol::Pop3,
        Some("smtp") => Protocol::Submission,
        Some(_) | None => Protocol::Imap,
    };
    let port = ports.of(protocol, false);
    format!(
        "HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: 127.0.0.1\r\nAuth-Port: {port}\r\n\r\n"
    )
    .into_bytes()
}
