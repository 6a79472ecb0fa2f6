//! Writing the proxy's lines of a script anew from a whole run.
//!
//! Inputs, comments and header stay as they are. A line that says the same octets as before keeps
//! its wording (`$b64(..)` and the like), so that a review is a diff of what changed.

use super::compare::{Strictness, canonical, difference, lines};
use super::parse::parse;
use super::timeline::{Emission, Expected, Script};

/// The script's text with what came out in place of what was expected, block by block; blocks
/// beyond `played` are left alone.
pub(super) fn blessed(script: &Script, played: &[Vec<Emission>]) -> String {
    let mut text = Vec::new();
    let mut written = 0;
    for (position, (block, got)) in script.blocks.iter().zip(played).enumerate() {
        let expected: Vec<Emission> =
            block.expected.iter().map(|expected| expected.what.clone()).collect();
        if difference(&expected, got, Strictness::Whole).is_none() {
            continue;
        }
        text.extend_from_slice(&script.lines[written..block.inputs_end]);
        written = match script.blocks.get(position + 1) {
            Some(next) => next.inputs[0].line - 1,
            None => script.lines.len(),
        };
        let between = script.lines[block.inputs_end..written].iter();
        let (before, after): (Vec<_>, Vec<_>) = between
            .enumerate()
            .filter(|(_, line)| !line.starts_with('P'))
            .partition(|(offset, _)| {
                let last = block.expected.last().map_or(0, |expected| expected.line);
                block.inputs_end + offset < last
            });
        text.extend(before.into_iter().map(|(_, line)| line.clone()));
        text.extend(worded_as_before(script, &block.expected, got));
        text.extend(after.into_iter().map(|(_, line)| line.clone()));
    }
    text.extend_from_slice(&script.lines[written..]);
    let mut text = text.join("\n");
    text.push('\n');
    debug_assert!(parse(&script.path, &text).is_ok(), "what is written can be read");
    text
}

fn worded_as_before(script: &Script, expected: &[Expected], got: &[Emission]) -> Vec<String> {
    let mut lines = lines(&canonical(got, Strictness::Whole));
    for line in &mut lines {
        let same = expected.iter().find(|old| {
            let printed = super::compare::lines(std::slice::from_ref(&old.what));
            printed.len() == 1 && printed[0] == *line
        });
        if let Some(old) = same {
            line.clone_from(&script.lines[old.line - 1]);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use gatepost_core::Leg;

    use super::*;

    #[test]
    fn only_the_proxys_lines_change() {
        let old = "# what\nlisten: imap\n\nW: client 192.0.2.7:1 -> 198.51.100.1:143\n# why\n\
                   P>C: $b64(abc)\n# after\n\nC: a\nP>C: gone\nP: splice\nC: b\nP>B: b\n";
        let script = parse(Path::new("x"), old).unwrap();
        let sent = |octets: &str| Emission::Sent(Leg::Client, octets.into());
        let played = [vec![sent("YWJj\r\nmore\r\n")], vec![sent("+ ")]];
        let new = blessed(&script, &played);
        assert_eq!(
            new,
            "# what\nlisten: imap\n\nW: client 192.0.2.7:1 -> 198.51.100.1:143\n# why\n\
             P>C: $b64(abc)\nP>C: more\n# after\n\nC: a\nP>C: +\\x20\\\nC: b\nP>B: b\n"
        );
        assert_eq!(blessed(&parse(Path::new("x"), &new).unwrap(), &played), new);
    }
}
