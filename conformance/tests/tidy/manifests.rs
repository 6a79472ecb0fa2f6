//! Every dependency has its reason beside it, and comments of TOML files keep their columns.
//!
//! The reason stands behind the dependency or in the comment above it. Crates of this workspace
//! need none: the arrow between them is the reason.

use super::lengths::COLUMNS_MAX;
use super::tree::{Finding, Rule, Text};

pub(crate) fn check(text: &Text) -> Vec<Finding> {
    let mut findings = Vec::new();
    if text.path.ends_with(".toml") {
        findings.extend(columns(text));
    }
    // The root only says which versions there are.
    if text.path.ends_with("/Cargo.toml") {
        findings.extend(reasons(text));
    }
    findings
}

fn columns(text: &Text) -> Vec<Finding> {
    let long = |(position, line): (usize, &str)| {
        let columns = line.chars().count();
        // A key that is commented out is no sentence: its value may be long.
        let is_long = line.trim_start().starts_with("# ") && columns > COLUMNS_MAX;
        let line = position + 1;
        is_long.then(|| finding(text, Rule::Columns, line, format!("{columns} columns")))
    };
    text.text.lines().enumerate().filter_map(long).collect()
}

fn reasons(text: &Text) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_dependencies = false;
    let mut above = "";
    for (position, line) in text.text.lines().enumerate() {
        let previous = std::mem::replace(&mut above, line).trim();
        let trimmed = line.trim();
        let mut name = None;
        if let Some(table) = trimmed.strip_prefix('[') {
            let table = table.split(']').next().unwrap_or_default();
            in_dependencies = table.ends_with("dependencies");
            // `[dependencies.name]`
            name = table.rsplit_once("dependencies.").map(|(_, name)| name);
        } else if in_dependencies && !trimmed.starts_with('#') {
            name = trimmed.split_once('=').map(|(name, _)| name.trim());
        }
        let Some(name) = name else { continue };
        let has_reason = reason(trimmed).is_some() || previous.starts_with('#');
        if !has_reason && !name.starts_with("gatepost-") {
            findings.push(finding(text, Rule::DependencyReason, position + 1, name.into()));
        }
    }
    findings
}

/// The comment at the end of a line, unless it is empty.
fn reason(line: &str) -> Option<&str> {
    let mut in_string = false;
    let at = line.find(|letter| {
        in_string ^= letter == '"';
        letter == '#' && !in_string
    })?;
    Some(line[at + 1..].trim()).filter(|reason| !reason.is_empty())
}

fn finding(text: &Text, rule: Rule, line: usize, what: String) -> Finding {
    Finding { rule, path: text.path.clone(), line, what }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(Rule, usize, String)> {
        let found = check(&Text { path: path.into(), text: text.into() });
        found.into_iter().map(|finding| (finding.rule, finding.line, finding.what)).collect()
    }

    #[test]
    fn a_dependency_without_a_reason() {
        let good = "[dependencies]\na = { b = \"#\" } # c\n# d\ne = \"1\"\ngatepost-core = \"1\"\n\
                    [lints]\nworkspace = true\n";
        assert_eq!(found("core/Cargo.toml", good), []);
        for (bad, line) in [
            ("[dependencies]\na = \"#\"\n", 2),
            ("[dev-dependencies]\n\na = \"1\" #\n", 3),
            ("[target.'cfg(unix)'.dependencies]\na = \"1\"\n", 2),
            ("[package]\nname = \"b\"\n[dependencies.a]\nversion = \"1\"\n", 3),
        ] {
            let expected = [(Rule::DependencyReason, line, "a".to_string())];
            assert_eq!(found("core/Cargo.toml", bad), expected, "{bad}");
        }
        assert_eq!(found("Cargo.toml", "[workspace.dependencies]\na = \"1\"\n"), []);
    }

    #[test]
    fn comments_keep_their_columns() {
        let comment = |columns: usize| format!("# {}\n", "a".repeat(columns - 2));
        assert_eq!(found("config-examples/a.toml", &comment(100)), []);
        let expected = [(Rule::Columns, 1, "101 columns".to_string())];
        assert_eq!(found("config-examples/a.toml", &comment(101)), expected);
    }
}
