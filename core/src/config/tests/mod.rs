//! The configuration as its users meet it: whole texts in, values or messages out.
#![allow(clippy::unwrap_used)]

mod balancers;
mod damage;
mod faults;
mod hosts;
mod reference;
mod resolved;
mod steps;
mod stores;

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use super::{Config, parse};

/// A text without a fault, to which cases make one change.
const PLAIN: &str = r#"[tls.certificate.main]
cert = "main.pem"
key = "main.key"
[listener.imaps]
protocol = "imap"
bind = ["0.0.0.0:993"]
tls = "implicit"
[destination.main]
host = "imap.test"
[destination.main.protocol.imap]
port = 993
tls = "implicit"
[routing]
default_destination = "main"
"#;

/// The plain text with something else in place of a line.
fn changed(line: usize, replacement: &str) -> String {
    let mut lines: Vec<&str> = PLAIN.lines().collect();
    lines[line - 1] = replacement;
    lines.join("\n")
}

/// The plain text with more at its end, which begins in line 15.
fn extended(more: &str) -> String {
    [PLAIN, more].concat()
}

fn faults(text: &str) -> Vec<String> {
    parse(text).unwrap_err().iter().map(ToString::to_string).collect()
}

fn warnings(text: &str) -> Vec<String> {
    loaded(text).1
}

fn config(text: &str) -> Config {
    loaded(text).0
}

fn loaded(text: &str) -> (Config, Vec<String>) {
    let (config, warnings) = parse(text).unwrap_or_else(|faults| panic!("{faults:#?}\n{text}"));
    (config, warnings.iter().map(ToString::to_string).collect())
}
