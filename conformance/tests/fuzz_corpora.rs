//! The corpora of the fuzz targets, played without a fuzzer: what was found once is not lost.
//!
//! `conformance/fuzz` lies outside the workspace and needs nothing but the core, so its targets
//! are compiled into this test from where they are. How to look for more: its `README.md`.

#![allow(missing_docs)]

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

#[path = "../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "they are public for the fuzzer's programs")]
mod targets;

/// Octets of one input. A corpus is small, or nobody reads it.
const INPUT_OCTETS_MAX: u64 = 8192;

/// The inputs of a corpus, by name.
fn corpus(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(folder).expect("every target has a corpus");
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a folder can be read").path()).collect();
    paths.sort();
    paths
}

/// Plays all inputs and names those that fail.
fn replay(target: &str, inputs_min: usize, play: fn(&[u8])) {
    let paths = corpus(target);
    assert!(paths.len() >= inputs_min, "{} inputs are left of {target}", paths.len());
    let mut failed = Vec::new();
    for path in paths {
        let data = fs::read(&path).expect("an input can be read");
        assert!(data.len() as u64 <= INPUT_OCTETS_MAX, "{} is too long", path.display());
        if catch_unwind(|| play(&data)).is_err() {
            failed.push(path);
        }
    }
    assert!(failed.is_empty(), "{target}: {failed:?}");
}

#[test]
fn session() {
    replay("session", 30, targets::session);
}

#[test]
fn proxy_protocol() {
    replay("proxy_protocol", 10, targets::proxy_protocol);
}

#[test]
fn line() {
    replay("line", 5, targets::line);
}

#[test]
fn sasl() {
    replay("sasl", 10, targets::sasl);
}

#[test]
fn config() {
    replay("config", 5, targets::config);
}

/// Every example is an input as well.
#[test]
fn config_examples() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config-examples");
    for entry in fs::read_dir(folder).expect("there are examples") {
        let path = entry.expect("a folder can be read").path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            targets::config(&fs::read(path).expect("an example can be read"));
        }
    }
}
