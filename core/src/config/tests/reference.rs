//! The example files load, and reference.toml says of every key what the parser holds.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::{config, faults, parse, warnings};
use crate::config::keys::{KEYS, Standing};
use crate::route::table::FileMap;

const REFERENCE: &str = include_str!("../../../../config-examples/reference.toml");
const MINIMAL: &str = include_str!("../../../../config-examples/minimal.toml");
const TWO_BACKENDS: &str = include_str!("../../../../config-examples/two-backends.toml");
const AUTH_HTTP: &str = include_str!("../../../../config-examples/auth-http.toml");
const SQL: &str = include_str!("../../../../config-examples/sql.toml");
const SEVERAL_HOSTS: &str = include_str!("../../../../config-examples/several-hosts.toml");
const TWO_BACKENDS_MAP: &str = include_str!("../../../../config-examples/two-backends.map");
const BY_STEPS: &str = include_str!("../../../../config-examples/migration-by-steps.toml");
const BY_STEPS_MAP: &str = include_str!("../../../../config-examples/migration-by-steps.map");

/// Keys without which the reference would not load, so that it cannot show a default.
const REQUIRED: [&str; 11] = [
    "tls.certificate.*.cert",
    "tls.certificate.*.key",
    "listener.*.protocol",
    "listener.*.bind",
    "listener.*.tls",
    "destination.*.host",
    "destination.*.protocol.*.port",
    "destination.*.protocol.*.tls",
    "routing.default_destination",
    "mapping.source",
    "mapping.file.path",
];

/// A line of the reference that gives a key a value, commented out or not.
struct Entry {
    /// The line's place, from 0.
    place: usize,
    /// The place of the header above it; that may be commented out as well.
    header: Option<usize>,
    /// The key from the root.
    key: String,
    /// The documented key that it is.
    pattern: &'static str,
    standing: Standing,
}

/// A line is commented out where a number sign stands before a key or a header without a space.
fn active(line: &str) -> bool {
    !line.starts_with('#')
}

fn entries() -> Vec<Entry> {
    let mut entries = Vec::new();
    let (mut table, mut header) = (String::new(), None);
    for (place, line) in REFERENCE.lines().enumerate() {
        let bare = line.strip_prefix('#').unwrap_or(line);
        let key = if bare.starts_with('[') {
            let end = bare.find(']').unwrap();
            bare[..end].trim_start_matches('[').clone_into(&mut table);
            header = Some(place);
            table.clone()
        } else if bare.is_empty() || bare.starts_with([' ', ']']) {
            continue;
        } else {
            format!("{table}.{}", bare.split_once(" = ").unwrap().0)
        };
        if let Some((pattern, standing)) = documented(&key) {
            entries.push(Entry { place, header, key, pattern, standing });
        } else {
            assert!(bare.starts_with('['), "{key} is no documented key");
        }
    }
    entries
}

/// The documented key that a key is, or is below.
fn documented(key: &str) -> Option<(&'static str, Standing)> {
    KEYS.iter().copied().find(|(pattern, standing)| {
        let below = *standing == Standing::Http;
        let (mut left, mut right) = (pattern.split('.'), key.split('.'));
        let same = left.by_ref().zip(right.by_ref()).all(|(p, k)| p == "*" || p == k);
        same && pattern.split('.').count() <= key.split('.').count()
            && (below || pattern.split('.').count() == key.split('.').count())
    })
}

/// The reference with some lines replaced, and the lines of the list that one opens.
fn with(replaced: &[(usize, String)]) -> String {
    let mut lines: Vec<String> = REFERENCE.lines().map(str::to_owned).collect();
    for (place, line) in replaced {
        if lines[*place].ends_with(" = [") && lines[*place] != *line {
            let rest = lines[*place + 1..].iter_mut();
            let list = rest.take_while(|line| line.starts_with([' ', ']'])).map(String::clear);
            assert!(list.count() > 1, "a list ends");
        }
        lines[*place].clone_from(line);
    }
    lines.join("\n")
}

/// The reference with an entry active, and its header too; or with another value in its place.
fn activated(entry: &Entry, value: Option<&str>) -> String {
    let lines: Vec<&str> = REFERENCE.lines().collect();
    let bare = |place: usize| lines[place].trim_start_matches('#').to_owned();
    let line = match value {
        Some(value) => format!("{} = {value}", bare(entry.place).split_once(" = ").unwrap().0),
        None => bare(entry.place),
    };
    let header = entry.header.map(|place| (place, bare(place)));
    let mut replaced: Vec<_> = header.into_iter().chain([(entry.place, line)]).collect();
    if entry.pattern == "destination.*.hosts" {
        // One of the two keys says where to go.
        let other = lines.iter().position(|line| line.starts_with("host = ")).unwrap();
        replaced.push((other, String::new()));
    }
    if value.is_some() || !entry.key.starts_with("mapping.step.") {
        return with(&replaced);
    }
    // A step's keys need each other.
    let place = entry.header.unwrap();
    let block = lines[place..].iter().take_while(|line| !line.is_empty()).enumerate();
    let is_comment = |line: &str| line.starts_with("# ");
    let block = block.filter(|(_, line)| !is_comment(line)).map(|(at, _)| place + at);
    with(&block.map(|place| (place, bare(place))).collect::<Vec<_>>())
}

#[test]
fn the_examples_load() {
    for text in [REFERENCE, MINIMAL, TWO_BACKENDS, SEVERAL_HOSTS, AUTH_HTTP, SQL, BY_STEPS] {
        assert_eq!(warnings(text), [""; 0]);
    }
    assert_eq!(config(MINIMAL).listeners.len(), 2);
    assert_eq!(config(TWO_BACKENDS).destinations.len(), 2);
    assert_eq!(config(SEVERAL_HOSTS).destinations[0].hosts.len(), 4);
}

#[test]
fn a_map_file_loads_with_its_configuration() {
    for (text, map) in [(TWO_BACKENDS, TWO_BACKENDS_MAP), (BY_STEPS, BY_STEPS_MAP)] {
        let config = config(text);
        let names: Vec<&str> = config.destinations.iter().map(|it| it.name.as_str()).collect();
        let form = config.listeners[0].normalize;
        let map = FileMap::parse(map.as_bytes(), &names, form).unwrap();
        assert!(!map.is_empty());
    }
}

#[test]
fn the_reference_has_every_key_and_no_other() {
    let entries = entries();
    for (pattern, _) in KEYS {
        assert!(entries.iter().any(|entry| entry.pattern == *pattern), "{pattern} is not there");
    }
}

#[test]
fn the_reference_marks_what_is_not_built_and_nothing_else() {
    let lines: Vec<&str> = REFERENCE.lines().collect();
    for entry in entries() {
        let line = lines[entry.place];
        let marked = line.ends_with(" # not built yet");
        match entry.standing {
            Standing::Built => assert!(!marked, "{line}"),
            Standing::Http => assert!(!marked && !active(line), "{line}"),
            Standing::NotBuilt => {
                // What stands below a step is part of it.
                let whole = entry.pattern == entry.key || entry.pattern.contains('*');
                assert!(!active(line) && (marked || !whole), "{line}");
            }
        }
    }
}

#[test]
fn every_key_that_is_not_built_says_so() {
    let mut seen = 0;
    for entry in entries().iter().filter(|entry| entry.standing == Standing::NotBuilt) {
        let found = faults(&activated(entry, None));
        let (line, key) = (entry.place + 1, &entry.key);
        let expected = format!(
            "line {line}: {key}: is documented but not built yet; remove it to start without it"
        );
        assert!(found.contains(&expected), "{expected}\n{found:?}");
        seen += 1;
    }
    assert!(seen >= KEYS.iter().filter(|(_, standing)| *standing == Standing::NotBuilt).count());
}

#[test]
fn every_key_that_is_built_is_read() {
    for entry in entries().iter().filter(|entry| entry.standing == Standing::Built) {
        let found = faults(&activated(entry, Some("1979-05-27")));
        let start = format!("line {}: {}: must be ", entry.place + 1, entry.key);
        assert!(found.iter().any(|fault| fault.starts_with(&start)), "{start}\n{found:?}");
    }
}

#[test]
fn every_example_value_is_accepted() {
    for entry in entries().iter().filter(|entry| entry.standing == Standing::Built) {
        if let Err(found) = parse(&activated(entry, None)) {
            // A certificate for a backend and its key, a probe's account and its password are
            // examples that need each other.
            let needy = [".tls_client_", ".probe_user", ".probe_password_file"];
            assert!(needy.iter().any(|key| entry.key.contains(key)), "{found:?}");
        }
    }
}

#[test]
fn every_default_in_the_reference_is_the_parsers() {
    let whole = config(REFERENCE);
    let lines: Vec<&str> = REFERENCE.lines().collect();
    let mut required = Vec::new();
    let mut compared = 0;
    for entry in entries() {
        if !active(lines[entry.place]) {
            continue;
        }
        match parse(&with(&[(entry.place, String::new())])) {
            Ok((config, _)) => {
                assert_eq!(config, whole, "{} is not the default", lines[entry.place]);
                compared += 1;
            }
            Err(_) => required.push(generalized(entry.pattern)),
        }
    }
    required.sort_unstable();
    required.dedup();
    let mut expected = REQUIRED.map(|key| key.to_string());
    expected.sort_unstable();
    assert_eq!(required, expected);
    assert!(compared > 40, "{compared}");
}

/// The key with `*` for the protocol of a destination.
fn generalized(pattern: &str) -> String {
    match pattern.strip_prefix("destination.*.protocol.").and_then(|rest| rest.split_once('.')) {
        Some((_, key)) => format!("destination.*.protocol.*.{key}"),
        None => pattern.to_owned(),
    }
}
