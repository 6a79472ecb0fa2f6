//! Scripts of two proxies in a row say the same of what passes between them.
//!
//! What the first writes to its backend must be what the second reads from its client, line by
//! line, and the other way round; each half is played on its own, as every script is.

#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::path::Path;

/// The texts of a script's lines that begin so.
fn said(script: &str, who: &str) -> Vec<String> {
    script.lines().filter_map(|line| line.strip_prefix(who)).map(str::to_owned).collect()
}

#[test]
fn two_in_a_row_speak_to_each_other() {
    for protocol in ["imap", "pop3", "managesieve", "submission"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(protocol);
        let read = |half: &str| {
            fs::read_to_string(folder.join(format!("forwarding-two-in-a-row-{half}.script")))
        };
        let (first, second) = (read("first").unwrap(), read("second").unwrap());
        let (asked, answered) = (said(&first, "P>B: "), said(&first, "B: "));
        assert!(asked.iter().any(|line| line.contains("192.0.2.7")), "{protocol}: {asked:?}");
        assert_eq!(asked, said(&second, "C: "), "{protocol}: from the first to the second");
        // Behind the hand-off there is one line more: the second's client hears its verdict.
        assert_eq!(answered, said(&second, "P>C: "), "{protocol}: from the second to the first");
        assert!(said(&second, "P>B: ").iter().any(|line| line.contains("192.0.2.7")), "{protocol}");
    }
}
