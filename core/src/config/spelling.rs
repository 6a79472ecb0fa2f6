//! Finds the word that somebody meant.
//!
//! Not here: which words there are.
//! Read next: `keys` and `reader`, which ask.

use alloc::vec::Vec;

/// The candidate that differs least from the word, if it is near enough to be meant: a third of
/// the word's letters may differ, and always one.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, taken out or replaced to make one word the other, whatever the
/// case of letters.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().map(|letter| letter.to_ascii_lowercase()).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, letter) in one.chars().enumerate() {
        let mut diagonal = core::mem::replace(&mut row[0], above + 1);
        for (at, candidate) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter.to_ascii_lowercase() != *candidate);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (one, other, expected) in
            [("host", "host", 0), ("hosst", "host", 1), ("HOST", "host", 0), ("", "abc", 3)]
        {
            assert_eq!(distance(one, other), expected, "{one} {other}");
            assert_eq!(distance(other, one), expected, "{other} {one}");
        }
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn only_near_words_are_offered() {
        let known = ["host", "hosts", "policy"];
        assert_eq!(nearest("hosst", known), Some("host"));
        assert_eq!(nearest("polcy", known), Some("policy"));
        assert_eq!(nearest("banner", known), None);
        assert_eq!(nearest("x", known), None);
    }
}
