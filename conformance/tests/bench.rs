//! The bench works: a run too small to mean anything has every figure, and each is possible.
//!
//! Against Gatepost alone, server and library, as nothing else need be installed. No figure's value
//! is judged beyond that it is one: how long something takes here says nothing.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

use gatepost_conformance::rig::{Program, require};
use serde_json::Value;

const COLUMNS: [&str; 3] = ["plain/plain", "TLS/plain", "TLS/TLS"];

#[test]
fn a_tiny_run_has_every_figure() {
    let rows = "imap,imap-full,pop3,submission,down,up,small,beside,idle,slow";
    let Some((report, table)) = run(&["--rows", rows, "--systems", "direct,gatepost"]) else {
        return;
    };
    for column in COLUMNS {
        let figures = |row, sessions| figures(&report, "gatepost", column, row, sessions);
        for row in ["imap", "imap-full", "pop3", "submission", "down", "up", "small"] {
            let found = figures(row, 0);
            for name in ["cpu_us", "rate_per_second", "p50_us", "p99_us", "sink_cpu_us"] {
                assert!(rounds_are_positive(&found[name]), "{row} {name}: {found}");
            }
            assert!(found["p50_us"]["least"].as_f64() <= found["p99_us"]["most"].as_f64());
        }
        for sessions in [0, 20] {
            let found = figures("beside", sessions);
            assert!(rounds_are_positive(&found["p99_us"]), "{found}");
        }
        let idle = figures("idle", 20);
        assert!(idle["memory_kib"]["median"].is_number(), "{idle}");
        assert!(idle["idle_cpu_us_per_second"]["median"].is_number(), "{idle}");
        let slow = figures("slow", 0);
        assert!(slow["memory_kib"]["median"].is_number(), "{slow}");
    }
    assert_resumption(&report, "gatepost");
    assert!(table.contains("IMAP logins, for a login"), "{table}");
}

#[test]
fn the_library_stands_beside_the_server() {
    let arguments = ["--rows", "imap,imap-full", "--columns", "both", "--systems", "tokio"];
    if let Some((report, _)) = run(&arguments) {
        assert_resumption(&report, "tokio");
    }
}

/// A run in two rounds: its figures and its table. None: there is no program to measure.
fn run(arguments: &[&str]) -> Option<(Value, String)> {
    if !require(&[Program::Gatepost]) {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("figures.json");
    let bench = Path::new(env!("CARGO_BIN_EXE_bench"));
    let mut command = Command::new(bench);
    command.args(["--rounds", "2", "--size", "0.004", "--sessions", "20"]).args(arguments);
    command.arg("--gatepost").arg(bench.with_file_name("gatepost")).arg("--json").arg(&json);
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!table.contains("failed"), "{table}\n{told}");
    Some((serde_json::from_slice(&fs::read(&json).unwrap()).unwrap(), table))
}

/// Sessions are resumed on both legs, and by no client that was told not to.
fn assert_resumption(report: &Value, system: &str) {
    let full = figures(report, system, "TLS/TLS", "imap-full", 0);
    assert_eq!(full["resumed_by_clients_percent"]["most"].as_f64(), Some(0.0));
    let resumed = figures(report, system, "TLS/TLS", "imap", 0);
    assert!(resumed["resumed_at_sink_percent"]["median"].as_f64() > Some(0.0), "{resumed}");
}

fn figures<'a>(
    report: &'a Value,
    system: &str,
    column: &str,
    row: &str,
    sessions: u64,
) -> &'a Value {
    let lines = report["lines"].as_array().unwrap();
    let is = |line: &&Value| {
        line["system"] == system
            && line["column"] == column
            && line["row"] == row
            && line["sessions"] == sessions
    };
    let line = lines.iter().find(is).unwrap_or_else(|| panic!("no {row} {column} of {system}"));
    &line["figures"]
}

fn rounds_are_positive(figure: &Value) -> bool {
    let rounds = figure["rounds"].as_array().map(Vec::as_slice).unwrap_or_default();
    rounds.len() == 2 && rounds.iter().all(|value| value.as_f64() > Some(0.0))
}
