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

/// How many letters must be put in, taken out, replaced, or swapped with their neighbour to make
/// one word the other, whatever the case of letters.
fn distance(one: &str, other: &str) -> usize {
    let letters = |word: &str| word.chars().map(|l| l.to_ascii_lowercase()).collect::<Vec<_>>();
    let (one, other) = (letters(one), letters(other));
    // A cell holds the distance of the two beginnings whose lengths are its row and its column.
    let mut rows: Vec<Vec<usize>> = Vec::with_capacity(one.len() + 1);
    rows.push((0..=other.len()).collect());
    for row in 1..=one.len() {
        let mut cells = Vec::with_capacity(other.len() + 1);
        cells.push(row);
        for column in 1..=other.len() {
            let differs = usize::from(one[row - 1] != other[column - 1]);
            let above = &rows[row - 1];
            let edited = (above[column - 1] + differs).min(above[column] + 1);
            let mut cell = edited.min(cells[column - 1] + 1);
            let swapped = row > 1
                && column > 1
                && one[row - 1] == other[column - 2]
                && one[row - 2] == other[column - 1];
            if swapped {
                cell = cell.min(rows[row - 2][column - 2] + 1);
            }
            cells.push(cell);
        }
        rows.push(cells);
    }
    rows[one.len()][other.len()]
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
        assert_eq!(distance("mian", "main"), 1);
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
