//! Every byte script under `scripts/`, on the core alone, at every cut.

#![allow(missing_docs)]

use std::path::Path;

use gatepost_conformance::script;

#[test]
fn scripts_on_the_core() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let outcome = script::run(&folder).expect("the scripts can be read");
    for path in &outcome.rewritten {
        println!("rewritten: {}", path.display());
    }
    for skipped in &outcome.skipped {
        println!("skipped: {skipped}");
    }
    for failure in &outcome.failures {
        println!("{failure}");
    }
    println!(
        "{} scripts, {} runs, {} skipped, {} failed",
        outcome.scripts,
        outcome.runs,
        outcome.skipped.len(),
        outcome.failures.len()
    );
    assert!(outcome.failures.is_empty(), "{} scripts failed", outcome.failures.len());
    assert!(outcome.rewritten.is_empty(), "look at the diff, then run without BLESS");
}
