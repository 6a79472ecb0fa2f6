//! Tidy: the rules of the source that can be checked, held by reading it.
//!
//! One module reads the workspace ([`tree`], [`source`]), one holds each kind of rule
//! ([`imports`], [`lengths`], [`words`], [`manifests`]), and [`exceptions`] is the one list of what
//! may differ, each with its reason. An exception that nothing needs is a failure like any other.
//! Every rule shows in its own tests, on a bad sample, that it can fail.
//!
//! Not here: what rustfmt, the compiler and clippy hold already.

#![allow(missing_docs, clippy::unwrap_used)]

mod exceptions;
mod imports;
mod lengths;
mod manifests;
mod source;
mod tree;
mod words;

use std::path::Path;

use self::exceptions::EXCEPTIONS;
use self::tree::{Finding, Tree};

#[test]
fn the_workspace_keeps_its_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let tree = Tree::read(root).expect("the workspace can be read");
    assert!(tree.sources.len() > 20, "the sources were found");
    let findings = exceptions::without_excepted(findings(&tree), EXCEPTIONS);
    for finding in &findings {
        println!("{finding}");
    }
    assert!(findings.is_empty(), "{} findings", findings.len());
}

fn findings(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in &tree.sources {
        findings.extend(imports::check(source));
        findings.extend(lengths::check(source));
        findings.extend(words::check_source(source));
    }
    for text in &tree.texts {
        findings.extend(words::check_text(text));
        findings.extend(manifests::check(text));
    }
    findings
}
