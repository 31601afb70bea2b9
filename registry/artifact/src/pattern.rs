//! Patterns for names of files and repositories: `*` and `?` within a part of a name, `**` across parts.

/// A pattern for names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Exactly(char),
    One,
    Part,
    Across,
}

impl Pattern {
    /// Reads a pattern; every text is one.
    pub fn new(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let (piece, used) = match c {
                // `**/` is also none.
                '*' if rest.starts_with("**/") => (Piece::Across, 3),
                '*' if rest.starts_with("**") => (Piece::Across, 2),
                '*' => (Piece::Part, 1),
                '?' => (Piece::One, 1),
                c => (Piece::Exactly(c), c.len_utf8()),
            };
            pieces.push(piece);
            rest = rest.get(used..).unwrap_or_default();
        }
        Self(pieces)
    }

    /// Whether a whole name fits, from its beginning to its end.
    pub fn fits_whole(&self, name: &str) -> bool {
        matches(&self.0, name)
    }

    /// Whether a whole name fits; a pattern without `/` may also fit its last part alone.
    pub fn fits(&self, name: &str) -> bool {
        let whole = !self.0.contains(&Piece::Exactly('/')) && !self.0.contains(&Piece::Across);
        let last = name.rsplit('/').next().unwrap_or(name);
        matches(&self.0, name) || (whole && matches(&self.0, last))
    }

    /// Whether a name is wanted: by any pattern, or by none being there.
    pub fn wanted(patterns: &[Self], name: &str) -> bool {
        patterns.is_empty() || patterns.iter().any(|pattern| pattern.fits(name))
    }
}

/// Step by step over all places where the pattern may stand: no pattern makes this slow.
fn matches(pieces: &[Piece], name: &str) -> bool {
    let star = |at: usize| matches!(pieces.get(at), Some(Piece::Part | Piece::Across));
    let close = |places: &mut Vec<bool>| {
        for at in 0..pieces.len() {
            if places.get(at) == Some(&true)
                && star(at)
                && let Some(next) = places.get_mut(at + 1)
            {
                *next = true;
            }
        }
    };
    let mut places = vec![false; pieces.len() + 1];
    if let Some(first) = places.first_mut() {
        *first = true;
    }
    close(&mut places);
    for c in name.chars() {
        let mut after = vec![false; pieces.len() + 1];
        for (at, piece) in
            pieces.iter().enumerate().filter(|(at, _)| places.get(*at) == Some(&true))
        {
            let to = match piece {
                Piece::Exactly(wanted) => (*wanted == c).then_some(at + 1),
                Piece::One => (c != '/').then_some(at + 1),
                Piece::Part => (c != '/').then_some(at),
                Piece::Across => Some(at),
            };
            if let Some(place) = to.and_then(|to| after.get_mut(to)) {
                *place = true;
            }
        }
        close(&mut after);
        places = after;
    }
    places.last() == Some(&true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_what_they_say() {
        for (pattern, name, fits) in [
            ("*.gguf", "a.gguf", true),
            ("*.gguf", "sub/a.gguf", true),
            ("*.gguf", "a.gguf.txt", false),
            ("sub/*.gguf", "sub/a.gguf", true),
            ("sub/*.gguf", "sub/deep/a.gguf", false),
            ("sub/**", "sub/deep/a.gguf", true),
            ("**/a.gguf", "a.gguf", true),
            ("**/a.gguf", "x/y/a.gguf", true),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("", "", true),
            ("", "a", false),
            ("*", "a/b", true),
            ("[x]", "x", false),
            ("ä*", "äb", true),
        ] {
            assert_eq!(Pattern::new(pattern).fits(name), fits, "{pattern} {name}");
        }
        assert!(Pattern::wanted(&[], "x") && !Pattern::wanted(&[Pattern::new("y")], "x"));
        assert!(Pattern::new("*").fits_whole("a") && !Pattern::new("*").fits_whole("a/b"));
        assert!(
            Pattern::new("a/**").fits_whole("a/b/c") && !Pattern::new("a/**").fits_whole("b/a/c")
        );
    }

    #[test]
    fn many_stars_are_not_slow() {
        let pattern = Pattern::new(&"*a".repeat(200));
        assert!(!pattern.fits(&"a".repeat(199)));
        assert!(pattern.fits(&"a".repeat(2000)));
    }
}
