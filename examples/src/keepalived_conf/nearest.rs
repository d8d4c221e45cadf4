//! Suggestions for unknown words.

/// The word nearest to `word`, if one is near enough to be a misspelling of it.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let most = match word.len() {
        0..=2 => return None,
        3..=5 => 1,
        _ => 2,
    };
    known
        .map(|candidate| (distance(&word, candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The number of characters that must be inserted, removed, replaced or swapped with their
/// neighbour.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    // Words of the language are short; a word that is much longer is no misspelling of any.
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX);
            let replaced = at(&last, j) + usize::from(x != y);
            let removed = at(&last, j + 1) + 1;
            let inserted = at(&row, j) + 1;
            let mut best = replaced.min(removed).min(inserted);
            let is_swap = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if is_swap {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_finds_its_neighbour() {
        let known = || ["priority", "state", "track_script", "nopreempt"].into_iter();
        assert_eq!(nearest("prority", known()), Some("priority"));
        assert_eq!(nearest("Priority", known()), Some("priority"));
        assert_eq!(nearest("track_scripts", known()), Some("track_script"));
        assert_eq!(nearest("sttae", known()), Some("state"));
        assert_eq!(nearest("interface", known()), None);
        assert_eq!(nearest("x", known()), None);
    }
}
