//! Damaged texts: whatever stands in a file, it is judged, and every message names a line of it.

use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
    vec::Vec,
};

use proptest::prelude::*;

use super::parse;

const REFERENCE: &str = include_str!("../../../../config-examples/reference.toml");

/// One thing done to a text.
#[derive(Clone, Debug)]
enum Damage {
    Remove(usize),
    Replace(usize, String),
    Activate(usize),
    Swap(usize, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let values =
        r#"(""|0|-1|true|\[\]|\["\u0000"\]|"[ -~]{0,12}"|1979-05-27|\{ a = 1 \}|"\[::1\]")"#;
    prop_oneof![
        any::<usize>().prop_map(Damage::Remove),
        (any::<usize>(), values).prop_map(|(line, value)| Damage::Replace(line, value)),
        any::<usize>().prop_map(Damage::Activate),
        (any::<usize>(), any::<usize>()).prop_map(|(one, other)| Damage::Swap(one, other)),
    ]
}

fn judged(text: &str) -> Result<(), TestCaseError> {
    let lines = text.split('\n').count();
    let found: Vec<(usize, String)> = match parse(text) {
        Ok((_, warnings)) => warnings.iter().map(|w| (w.line, w.to_string())).collect(),
        Err(faults) => {
            prop_assert!(!faults.is_empty());
            faults.iter().map(|fault| (fault.line, fault.to_string())).collect()
        }
    };
    for (line, text) in &found {
        prop_assert!((1..=lines).contains(line), "{text}");
        prop_assert!(!text.chars().any(char::is_control), "{text:?}");
    }
    prop_assert!(found.is_sorted_by_key(|(line, _)| *line));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_reference_is_judged(damages in prop::collection::vec(damage(), 1..12)) {
        let mut lines: Vec<String> = REFERENCE.lines().map(str::to_owned).collect();
        let count = lines.len();
        for damage in damages {
            match damage {
                Damage::Remove(line) => lines[line % count].clear(),
                Damage::Replace(line, value) => {
                    let line = &mut lines[line % count];
                    if let Some((key, _)) = line.split_once(" = ") {
                        *line = [key, " = ", &value].concat();
                    }
                }
                Damage::Activate(line) => {
                    let line = &mut lines[line % count];
                    if !line.starts_with("# ") {
                        *line = line.trim_start_matches('#').to_owned();
                    }
                }
                Damage::Swap(one, other) => lines.swap(one % count, other % count),
            }
        }
        judged(&lines.join("\n"))?;
    }

    #[test]
    fn any_text_is_judged(
        text in "\\PC{0,80}",
        octets in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        judged(&text)?;
        judged(&String::from_utf8_lossy(&octets))?;
    }
}
