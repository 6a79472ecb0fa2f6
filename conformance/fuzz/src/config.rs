//! Configurations: any text, and damage to one that is complete.
//!
//! An input is a text; or, where it begins with 0xff, a list of damages to the reference
//! configuration, each ended by 0xff: two octets for a line, one for what is done to it, and what
//! it is done with. Invariants: a text is judged, whatever it says; every message names a line of
//! it, and names the next one where the text stands one line lower; nothing that is quoted breaks
//! a line of a log.

use gatepost_core::config::{Config, Fault, Warning, parse};

use super::SEPARATOR;

const REFERENCE: &str = include_str!("../../../config-examples/reference.toml");

/// Judges the text of the input.
pub fn config(data: &[u8]) {
    match data.split_first() {
        Some((&SEPARATOR, damages)) => judge(&damaged(damages)),
        Some(_) | None => judge(&String::from_utf8_lossy(data)),
    }
}

fn damaged(damages: &[u8]) -> String {
    let mut lines: Vec<String> = REFERENCE.lines().map(String::from).collect();
    for damage in damages.split(|octet| *octet == SEPARATOR) {
        let [high, low, what, with @ ..] = damage else { continue };
        let at = (usize::from(*high) << 8 | usize::from(*low)) % lines.len();
        let with = String::from_utf8_lossy(with);
        match what % 6 {
            // Keys that are commented out are active.
            0 => {
                if !lines[at].starts_with("# ") {
                    lines[at] = lines[at].trim_start_matches('#').into();
                }
            }
            1 => {
                let key = lines[at].split_once(" = ").map(|(key, _)| format!("{key} = "));
                lines[at] = key.unwrap_or_default() + &with;
            }
            2 => lines[at].clear(),
            3 => lines.insert(at, with.into_owned()),
            4 => lines[at].push_str(&with),
            _ => {
                let other = at / 2;
                lines.swap(at, other);
            }
        }
    }
    lines.join("\n")
}

fn judge(text: &str) {
    let verdict = parse(text);
    let lines = text.split('\n').count();
    for (line, message) in messages(&verdict) {
        assert!((1..=lines).contains(&line), "of {lines} lines: {message}");
        assert!(!message.chars().any(char::is_control), "{message:?}");
    }
    match &verdict {
        Ok((config, _)) => complete(config),
        Err(faults) => assert!(!faults.is_empty(), "no configuration, and no fault"),
    }
    // A byte order mark is one at the front only.
    if !text.starts_with('\u{feff}') {
        let lower = parse(&format!("# A line.\n{text}"));
        one_line_lower(messages(&verdict), messages(&lower));
        assert_eq!(lower.is_ok(), verdict.is_ok(), "a line above decides");
    }
}

/// The same is said, of the next line; what is not there at all is said of the first.
fn one_line_lower(mut said: Vec<(usize, String)>, mut lower: Vec<(usize, String)>) {
    for messages in [&mut said, &mut lower] {
        messages
            .sort_by(|(line, text), (other_line, other)| (text, line).cmp(&(other, other_line)));
    }
    assert_eq!(said.len(), lower.len(), "a line above changes what is said");
    for ((line, text), (below, same)) in said.iter().zip(&lower) {
        assert_eq!(text, same, "a line above changes what is said");
        let moved = *below == line + 1 || (*line, *below) == (1, 1);
        assert!(moved, "line {line} becomes {below}: {text}");
    }
}

/// Line and text of each, in the order in which they are given.
fn messages(verdict: &Result<(Config, Vec<Warning>), Vec<Fault>>) -> Vec<(usize, String)> {
    let found: Vec<_> = match verdict {
        Ok((_, warnings)) => warnings.iter().map(|it| (it.line, it.text())).collect(),
        Err(faults) => faults.iter().map(|it| (it.line, it.text())).collect(),
    };
    assert!(found.is_sorted_by_key(|(line, _)| *line), "not by line");
    found
}

/// What is served needs nothing that is not there.
fn complete(config: &Config) {
    assert!(!config.listeners.is_empty() && !config.destinations.is_empty(), "nothing to serve");
    for listener in &config.listeners {
        assert!(!listener.bind.is_empty() && !listener.mechanisms.is_empty(), "nobody gets in");
        let known = |name: &String| config.certificates.iter().any(|it| it.name == *name);
        assert!(listener.certificates.iter().all(known), "a certificate that is not there");
    }
    for destination in &config.destinations {
        assert!(!destination.hosts.is_empty(), "a destination without a host");
        let found = config.destination(&destination.name).expect("it is named");
        assert_eq!(found.name, destination.name);
    }
}
