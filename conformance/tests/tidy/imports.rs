//! Who may know whom.
//!
//! Every path that is written in a file's product code is resolved: through `use`, `self`, `super`
//! and `crate`. What the automata of a protocol may name is a list, so that a new module of the
//! core is closed to them until somebody opens it; so are the files where TLS may be named.
//!
//! Invariant: no wildcard imports outside tests, since what they bring in cannot be read.

use std::collections::BTreeMap;

use super::source::{Source, Token, tokens};
use super::tree::{Finding, Rule};

/// The protocols of the core.
const PROTOCOLS: [&str; 4] = ["imap", "pop3", "managesieve", "submission"];
/// Modules of the core that both automata of a protocol may name, beside their protocol's own.
const FOR_AUTOMATA: [&str; 7] =
    ["automaton", "close", "config", "line", "literal", "sasl", "secret"];
/// What a frontend's may name in addition.
const FOR_FRONTENDS: [&str; 3] = ["dialogue", "introduction", "verdict"];
/// What a backend's may name in addition.
const FOR_BACKENDS: [&str; 3] = ["forward", "handshake", "referral"];
/// Modules of a protocol that belong to its backend's automaton.
const OF_BACKENDS: [&str; 3] = ["backend", "identity", "login"];
/// Crates that would give the core a world of its own.
const WORLDLY: [&str; 8] =
    ["std", "log", "env_logger", "rustls", "mio", "tokio", "tokio_rustls", "socket2"];
/// The crates of the drivers.
const DRIVERS: [&str; 2] = ["gatepost_mio", "gatepost_tokio"];
/// Crates of TLS.
const TLS: [&str; 6] =
    ["rustls", "aws_lc_rs", "webpki", "rustls_native_certs", "rustls_pki_types", "tokio_rustls"];
/// Modules of driver-mio where they may be named.
const TLS_MODULES: [&str; 2] = ["leg", "tls"];
/// Crates that speak to route stores.
const STORES: [&str; 2] = ["redis", "sqlx"];
/// The module of driver-mio where they may be named.
const STORE_MODULE: &str = "store";

pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let names = names(source);
    let forbidden = |name: &&Name| forbidden(source, &name.path);
    let mut findings: Vec<Finding> = names
        .iter()
        .filter_map(|name| forbidden(&name).map(|why| (name.at, name.path.join("::"), why)))
        .map(|(at, path, why)| Finding {
            rule: Rule::Import,
            path: source.path.clone(),
            line: source.line_of(at),
            what: format!("{path}: {why}"),
        })
        .collect();
    findings.dedup_by(|a, b| a.what == b.what);
    findings
}

/// Why this file may not name that path.
fn forbidden(source: &Source, path: &[String]) -> Option<&'static str> {
    let module = source.module()?;
    if path.last().is_some_and(|last| last == "*") {
        return Some("a wildcard hides what is imported");
    }
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let head = *path.first()?;
    match source.package() {
        "core" if WORLDLY.contains(&head) => Some("the core has no world of its own"),
        "core" => automaton_rule(&module, &path),
        package @ ("driver-mio" | "driver-tokio") => {
            let is_protocol = path.get(1).is_some_and(|module| PROTOCOLS.contains(module));
            let may_encrypt = package == "driver-tokio"
                || module.first().is_some_and(|module| TLS_MODULES.contains(module));
            if head == "gatepost_core" && is_protocol {
                Some("a driver knows no protocol")
            } else if DRIVERS.contains(&head) && head != package.replace("driver-", "gatepost_") {
                Some("drivers do not know each other")
            } else if TLS.contains(&head) && !may_encrypt {
                Some("TLS is named in leg and tls only")
            } else if STORES.contains(&head) && module.first() != Some(&STORE_MODULE) {
                Some("stores are named in store only")
            } else {
                None
            }
        }
        _ => None,
    }
}

/// The rule for modules of the core's protocols.
fn automaton_rule(module: &[&str], path: &[&str]) -> Option<&'static str> {
    let [protocol, own, ..] = module else { return None };
    if !PROTOCOLS.contains(protocol) {
        return None;
    }
    let (&"crate", [first, rest @ ..]) = path.split_first()? else { return None };
    let of_backend = OF_BACKENDS.contains(own);
    if first == protocol {
        let other = *rest.first()?;
        return if of_backend && other == "frontend" {
            Some("a backend does not know its frontend")
        } else if !of_backend && OF_BACKENDS.contains(&other) {
            Some("a frontend does not know its backend")
        } else {
            None
        };
    }
    let own_side = if of_backend { &FOR_BACKENDS[..] } else { &FOR_FRONTENDS[..] };
    let is_open = FOR_AUTOMATA.contains(first) || own_side.contains(first);
    (!is_open).then_some("not among what this side of a protocol may know")
}

/// A path that is written somewhere.
struct Name {
    path: Vec<String>,
    at: usize,
}

/// The paths of a file's product code, resolved as far as the file itself tells.
fn names(source: &Source) -> Vec<Name> {
    let module = source.module().unwrap_or_default();
    let tokens = tokens(&source.product);
    let mut names = Vec::new();
    let mut aliases = BTreeMap::new();
    let mut at = 0;
    while at < tokens.len() {
        let is_import =
            tokens[at].text == "use" && tokens.get(at + 1).is_none_or(|t| t.text != "<");
        if is_import {
            let mut imported = Vec::new();
            at = read_tree(&tokens, at + 1, &[], &mut imported);
            for (path, alias, position) in imported {
                let path = resolve(path, &module, &BTreeMap::new());
                aliases.insert(alias, path.clone());
                names.push(Name { path, at: position });
            }
            continue;
        }
        let continues = at > 0 && matches!(tokens[at - 1].text, "::" | ".");
        let begins = tokens.get(at + 1).is_some_and(|next| next.text == "::");
        if begins && !continues && is_identifier(tokens[at].text) {
            let position = tokens[at].at;
            let mut path = vec![tokens[at].text.to_string()];
            while let [colons, next, ..] = &tokens[at + 1..]
                && colons.text == "::"
                && is_identifier(next.text)
            {
                path.push(next.text.into());
                at += 2;
            }
            names.push(Name { path: resolve(path, &module, &aliases), at: position });
        }
        at += 1;
    }
    let crates = tokens.windows(3).filter(|three| {
        three[0].text == "extern" && three[1].text == "crate" && three[2].text != "self"
    });
    names.extend(crates.map(|three| Name { path: vec![three[2].text.into()], at: three[2].at }));
    names
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_alphabetic() || letter == '_')
}

type Imported = (Vec<String>, String, usize);

/// Reads a tree of imports that begins at `at`; gives the position behind it.
fn read_tree(
    tokens: &[Token<'_>],
    mut at: usize,
    prefix: &[String],
    imported: &mut Vec<Imported>,
) -> usize {
    let mut path = prefix.to_vec();
    let begun = tokens.get(at).map_or(0, |token| token.at);
    while let Some(token) = tokens.get(at) {
        match token.text {
            "::" => {}
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    at = read_tree(tokens, at, &path, imported);
                    at += usize::from(tokens.get(at).is_some_and(|token| token.text == ","));
                }
                return at + 1;
            }
            "as" => {
                let alias = tokens.get(at + 1).map_or("_", |token| token.text).to_string();
                imported.push((path, alias, begun));
                return at + 2;
            }
            "self" if !path.is_empty() => {}
            "," | "}" | ";" => break,
            text => path.push(text.into()),
        }
        at += 1;
    }
    let alias = path.last().cloned().unwrap_or_default();
    imported.push((path, alias, begun));
    at
}

fn resolve(
    path: Vec<String>,
    module: &[&str],
    aliases: &BTreeMap<String, Vec<String>>,
) -> Vec<String> {
    let head = path.first().map(String::as_str).unwrap_or_default();
    if let Some(alias) = aliases.get(head) {
        return alias.iter().chain(&path[1..]).cloned().collect();
    }
    let ups = path.iter().take_while(|part| *part == "super").count();
    if head != "self" && ups == 0 {
        return path;
    }
    let kept = &module[..module.len().saturating_sub(ups)];
    let below = &path[ups.max(1)..];
    let base = std::iter::once("crate").chain(kept.iter().copied()).map(String::from);
    base.chain(below.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(&Source::new(path, text)).into_iter().map(|finding| finding.what).collect()
    }

    fn bad(path: &str, text: &str, why: &str) {
        let found = found(path, text);
        assert!(found.len() == 1 && found[0].contains(why), "{path}: {text}: {found:?}");
    }

    fn good(path: &str, text: &str) {
        assert_eq!(found(path, text), Vec::<String>::new(), "{path}: {text}");
    }

    const FRONTEND: &str = "core/src/imap/frontend.rs";
    const BACKEND: &str = "core/src/imap/backend.rs";

    #[test]
    fn the_core_has_no_world_of_its_own() {
        bad("core/src/time.rs", "use std::time::Duration;", "world");
        bad("core/src/time.rs", "fn a() { std::process::exit(1) }", "world");
        bad("core/src/lib.rs", "extern crate std;", "world");
        bad("core/src/session/mod.rs", "fn a() { log::info!(\"b\") }", "log::info: ");
        bad("core/src/session/mod.rs", "use rustls::{self as tls};", "rustls: ");
        good("core/src/time.rs", "use core::time::Duration;\nextern crate alloc;");
        good("core/src/time.rs", "#[cfg(test)]\nmod tests { use std::io; }");
        good("core/tests/a.rs", "use std::io;");
    }

    #[test]
    fn a_frontend_knows_neither_its_backend_nor_where_accounts_live() {
        bad(FRONTEND, "use super::backend::Backend;", "its backend");
        bad(FRONTEND, "use super::{Framing, backend};", "its backend");
        bad(FRONTEND, "fn a() { crate::imap::login::b() }", "its backend");
        bad(FRONTEND, "debug_assert!(super::backend::A);", "its backend");
        bad(FRONTEND, "use crate::pop3::b;", "not among");
        bad(FRONTEND, "use crate::handshake::b;", "not among");
        bad(FRONTEND, "use crate::{line, route::identifier};", "crate::route::identifier");
        bad("core/src/imap/command.rs", "use crate::forward::b;", "not among");
        bad("core/src/imap/command/id.rs", "use crate::session as s;", "not among");
        good(FRONTEND, "use super::command::{self, Command};\nuse crate::line::{self, A};");
        good(FRONTEND, "use alloc::vec::Vec;\nfn a() { Self::b(); Vec::new() }");
    }

    #[test]
    fn a_module_is_known_by_its_other_names_too() {
        let text = "use crate::imap;\nfn a() { imap::backend::b() }";
        bad("core/src/imap/frontend.rs", text, "crate::imap::backend::b");
        let text = "use super as up;\nfn a() { up::backend::b() }";
        bad("core/src/imap/frontend.rs", text, "crate::imap::backend::b");
        bad(FRONTEND, "use super::*;", "wildcard");
    }

    #[test]
    fn a_backend_knows_neither_its_frontend_nor_where_accounts_live() {
        bad(BACKEND, "use super::frontend::Frontend;", "its frontend");
        bad("core/src/imap/login.rs", "use super::frontend::A;", "its frontend");
        bad(BACKEND, "use crate::route::Route;", "not among");
        bad(BACKEND, "use crate::dialogue::Turn;", "not among");
        bad(BACKEND, "use crate::session::Session;", "not among");
        bad(BACKEND, "use crate::managesieve::A;", "not among");
        good(BACKEND, "use super::login::Login;\nuse crate::forward::Identity;");
        good("core/src/session/mod.rs", "use crate::imap::{backend::B, frontend::F};");
    }

    #[test]
    fn drivers_know_neither_protocols_nor_each_other() {
        bad("driver-mio/src/worker/mod.rs", "use gatepost_core::imap::A;", "no protocol");
        bad("driver-tokio/src/lib.rs", "use gatepost_core::{Session, pop3::A};", "no protocol");
        bad("driver-tokio/src/serve.rs", "use gatepost_mio::A;", "each other");
        bad("driver-mio/src/main.rs", "use gatepost_tokio::A;", "each other");
        good("driver-mio/src/worker/mod.rs", "use gatepost_core::{Session, config::Listener};");
        good("driver-mio/src/main.rs", "use gatepost_mio::run;");
    }

    #[test]
    fn tls_has_its_places() {
        bad("driver-mio/src/worker/mod.rs", "use rustls::ServerConfig;", "leg and tls");
        bad("driver-mio/src/server.rs", "fn a() { webpki::b() }", "leg and tls");
        bad("driver-mio/src/relay.rs", "use aws_lc_rs::aead;", "leg and tls");
        good("driver-mio/src/leg/mod.rs", "use rustls::ServerConnection;");
        good("driver-mio/src/leg/record_layer.rs", "use aws_lc_rs::aead;");
        good("driver-mio/src/tls.rs", "use rustls::ServerConfig;");
        good("driver-tokio/src/lib.rs", "use tokio_rustls::TlsAcceptor;");
        good("conformance/src/backend/tls.rs", "use rustls::ServerConfig;");
    }

    #[test]
    fn stores_have_their_place() {
        bad("driver-mio/src/worker/step.rs", "use sqlx::PgPool;", "store only");
        bad("driver-mio/src/control/mod.rs", "fn a() { redis::cmd(\"GET\") }", "store only");
        bad("driver-mio/src/store/judge.rs", "use tokio_rustls::TlsConnector;", "leg and tls");
        good("driver-mio/src/store/redis.rs", "use redis::Client;\nfn a() { redis::cmd(b) }");
        good("driver-mio/src/store/sql.rs", "fn a() { sqlx::query(b) }");
    }
}
