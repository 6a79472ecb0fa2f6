//! Whether what came out is what a script says.
//!
//! What both sides did is brought into one order first ([`canonical`]), since nobody outside can
//! see how writes to two connections interleave. Equal forms are equal behaviour; everything
//! else here is about showing a difference so that it is understood at once.
//!
//! Invariant: octets are never compared as text; lines are made for people only.

use gatepost_core::Leg;

use super::text::printed;
use super::timeline::{Deed, Emission};

/// Lines shown before the first difference.
const LINES_BEFORE: usize = 3;
/// Lines shown from the first difference on.
const LINES_AFTER: usize = 6;
/// Characters shown of a line.
const COLUMNS_MAX: usize = 240;

/// What the cuts of a run leave comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strictness {
    /// Everything.
    Whole,
    /// A hang-up may find octets already written to the backend that are never sent if everything
    /// arrives at once: those are left out, and so is where it stands among octets to the client.
    Cut,
}

/// A text about the first difference, if there is one.
pub(super) fn difference(
    expected: &[Emission],
    got: &[Emission],
    strictness: Strictness,
) -> Option<String> {
    let expected = canonical(expected, strictness);
    let got = canonical(got, strictness);
    if expected == got {
        return None;
    }
    let expected = lines(&expected);
    let got = lines(&got);
    let same = expected.iter().zip(&got).take_while(|(left, right)| left == right).count();
    let mut text = String::new();
    show(&mut text, "expected", &expected, same);
    show(&mut text, "got", &got, same);
    Some(text)
}

/// The same emissions in one order: between two deeds what went to the client, then what went to
/// the backend, each as one.
pub(super) fn canonical(emissions: &[Emission], strictness: Strictness) -> Vec<Emission> {
    let mut ordered = Vec::new();
    let mut client = Vec::new();
    let mut backend = Vec::new();
    for emission in emissions {
        match emission {
            Emission::Sent(Leg::Client, octets) => client.extend_from_slice(octets),
            Emission::Sent(Leg::Backend, octets) => backend.extend_from_slice(octets),
            Emission::Did(Deed::HangUp) if strictness == Strictness::Cut => {
                backend.clear();
                forget_sent(&mut ordered);
                ordered.push(emission.clone());
            }
            Emission::Did(_) => {
                flush(&mut ordered, &mut client, &mut backend);
                ordered.push(emission.clone());
            }
        }
    }
    flush(&mut ordered, &mut client, &mut backend);
    ordered
}

/// The lines of a script that say this.
pub(super) fn lines(emissions: &[Emission]) -> Vec<String> {
    let mut lines = Vec::new();
    for emission in emissions {
        match emission {
            Emission::Did(deed) => lines.push(format!("P: {deed}")),
            Emission::Sent(leg, octets) => {
                let key = if *leg == Leg::Client { "P>C:" } else { "P>B:" };
                lines.extend(payload_lines(octets).map(|text| {
                    if text.is_empty() { key.to_owned() } else { format!("{key} {text}") }
                }));
            }
        }
    }
    lines
}

fn payload_lines(octets: &[u8]) -> impl Iterator<Item = String> {
    let mut rest = octets;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        match rest.windows(2).position(|pair| pair == b"\r\n") {
            Some(end) => {
                let text = printed(&rest[..end]);
                rest = &rest[end + 2..];
                Some(text)
            }
            None => Some(format!("{}\\", printed(std::mem::take(&mut rest)))),
        }
    })
}

fn flush(ordered: &mut Vec<Emission>, client: &mut Vec<u8>, backend: &mut Vec<u8>) {
    for (leg, octets) in [(Leg::Client, client), (Leg::Backend, backend)] {
        if !octets.is_empty() {
            ordered.push(Emission::Sent(leg, std::mem::take(octets)));
        }
    }
}

/// Leaves out what went to the backend that was connected last.
fn forget_sent(ordered: &mut Vec<Emission>) {
    let connected = ordered
        .iter()
        .rposition(|emission| matches!(emission, Emission::Did(Deed::Connect(_))))
        .unwrap_or(0);
    let kept = ordered.split_off(connected);
    let kept = kept.into_iter();
    ordered.extend(kept.filter(|emission| !matches!(emission, Emission::Sent(Leg::Backend, _))));
}

fn show(text: &mut String, title: &str, lines: &[String], same: usize) {
    text.push_str(&format!("  {title}:\n"));
    let from = same.saturating_sub(LINES_BEFORE);
    if from > 0 {
        text.push_str(&format!("      … {from} lines\n"));
    }
    let end = lines.len().min(same + LINES_AFTER);
    for (position, line) in lines.iter().enumerate().take(end).skip(from) {
        let mark = if position == same { '>' } else { ' ' };
        text.push_str(&format!("    {mark} {}\n", shortened(line)));
    }
    if lines.len() == same {
        text.push_str("    > (nothing more)\n");
    }
    if end < lines.len() {
        text.push_str(&format!("      … {} lines\n", lines.len() - end));
    }
}

fn shortened(line: &str) -> String {
    if line.len() <= COLUMNS_MAX {
        return line.to_owned();
    }
    let half = COLUMNS_MAX / 2;
    let (head, tail) = (&line[..half], &line[line.len() - half..]);
    format!("{head} … {} … {tail}", line.len() - COLUMNS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(leg: Leg, octets: &str) -> Emission {
        Emission::Sent(leg, octets.into())
    }

    #[test]
    fn how_legs_interleave_says_nothing_and_steps_do() {
        let one = [
            sent(Leg::Client, "a"),
            sent(Leg::Backend, "x"),
            sent(Leg::Client, "b"),
            Emission::Did(Deed::Splice),
        ];
        let other = [sent(Leg::Backend, "x"), sent(Leg::Client, "ab"), Emission::Did(Deed::Splice)];
        assert_eq!(difference(&one, &other, Strictness::Whole), None);
        let late = [sent(Leg::Backend, "x"), Emission::Did(Deed::Splice), sent(Leg::Client, "ab")];
        assert!(difference(&one, &late, Strictness::Whole).is_some());
        assert!(difference(&one, &late, Strictness::Cut).is_some());
        assert!(difference(&one, &one[..3], Strictness::Cut).is_some());
    }

    #[test]
    fn what_a_hang_up_made_vain_is_compared_in_whole_runs_only() {
        let whole = [Emission::Did(Deed::HangUp), sent(Leg::Client, "no")];
        let cut = [sent(Leg::Backend, "L"), Emission::Did(Deed::HangUp), sent(Leg::Client, "no")];
        assert!(difference(&whole, &cut, Strictness::Whole).is_some());
        assert_eq!(difference(&whole, &cut, Strictness::Cut), None);
        let other = [Emission::Did(Deed::HangUp), sent(Leg::Client, "on")];
        assert!(difference(&other, &cut, Strictness::Cut).is_some());
    }

    #[test]
    fn lines_are_those_of_a_script() {
        let emissions = [
            sent(Leg::Client, "a\r\n\r\n+ "),
            Emission::Did(Deed::Lookup(None)),
            sent(Leg::Backend, "x\r\n"),
        ];
        assert_eq!(lines(&emissions), ["P>C: a", "P>C:", "P>C: +\\x20\\", "P: lookup -", "P>B: x"]);
    }
}
