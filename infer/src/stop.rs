//! Stop strings in streamed text: found across piece borders, never emitted.

/// Looks for stop strings in text that comes in pieces.
#[derive(Debug)]
pub(crate) struct StopStrings<'a> {
    stops: &'a [String],
    /// Text that was not emitted because it may be the beginning of a stop string.
    held: String,
}

impl<'a> StopStrings<'a> {
    pub(crate) fn new(stops: &'a [String]) -> Self {
        Self { stops, held: String::new() }
    }

    /// Takes a piece; emits what is certain not to belong to a stop string. `Some` is the stop string
    /// that came first: what stood before it has been emitted, and nothing more may follow.
    pub(crate) fn push(&mut self, piece: &str, emit: &mut dyn FnMut(&str)) -> Option<String> {
        self.held.push_str(piece);
        let found = self
            .stops
            .iter()
            .filter(|stop| !stop.is_empty())
            .filter_map(|stop| self.held.find(stop.as_str()).map(|at| (at, stop)))
            .min_by_key(|&(at, stop)| (at, std::cmp::Reverse(stop.len())));
        if let Some((at, stop)) = found {
            if at > 0 {
                emit(&self.held[..at]);
            }
            self.held.clear();
            return Some(stop.clone());
        }
        let certain = self.held.len() - self.possible_beginning();
        if certain > 0 {
            emit(&self.held[..certain]);
            self.held.drain(..certain);
        }
        None
    }

    /// Emits what is held: no more text follows.
    pub(crate) fn finish(&mut self, emit: &mut dyn FnMut(&str)) {
        if !self.held.is_empty() {
            emit(&self.held);
            self.held.clear();
        }
    }

    /// Length of the longest end of the held text that begins a stop string.
    fn possible_beginning(&self) -> usize {
        let longest = self.stops.iter().map(|stop| stop.len().saturating_sub(1)).max();
        let from = self.held.len() - longest.unwrap_or(0).min(self.held.len());
        self.held
            .char_indices()
            .map(|(at, _)| at)
            .filter(|&at| at >= from)
            .find(|&at| self.stops.iter().any(|stop| stop.starts_with(&self.held[at..])))
            .map_or(0, |at| self.held.len() - at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (Vec<String>, Option<String>) {
        let stops: Vec<String> = stops.iter().map(|&stop| stop.to_owned()).collect();
        let mut matcher = StopStrings::new(&stops);
        let mut emitted = Vec::new();
        let mut emit = |text: &str| emitted.push(text.to_owned());
        for piece in pieces {
            if let Some(found) = matcher.push(piece, &mut emit) {
                return (emitted, Some(found));
            }
        }
        matcher.finish(&mut emit);
        (emitted, None)
    }

    #[test]
    fn text_without_stops_streams_at_once() {
        assert_eq!(run(&[], &["a", "", "b"]).0, ["a", "b"]);
        assert_eq!(run(&["xyz"], &["a", "b"]).0, ["a", "b"]);
    }

    #[test]
    fn a_stop_string_across_pieces_is_not_emitted() {
        let (emitted, found) = run(&["END"], &["one E", "N", "D two"]);
        assert_eq!(emitted, ["one "]);
        assert_eq!(found.as_deref(), Some("END"));
    }

    #[test]
    fn a_beginning_that_does_not_go_on_is_emitted() {
        let (emitted, found) = run(&["END"], &["E", "N", "G", "EN"]);
        assert_eq!(emitted.concat(), "ENGEN");
        assert_eq!(emitted, ["ENG", "EN"]);
        assert!(found.is_none());
    }

    #[test]
    fn the_first_of_several_wins_and_characters_stay_whole() {
        let (emitted, found) = run(&["ß!", "ä"], &["aß", "ö ä ß!"]);
        assert_eq!(emitted.concat(), "aßö ");
        assert_eq!(found.as_deref(), Some("ä"));
        // Overlapping beginnings: "aab" within "aaab".
        let (emitted, found) = run(&["aab"], &["a", "a", "a", "b"]);
        assert_eq!((emitted.concat(), found.as_deref()), ("a".to_owned(), Some("aab")));
        // An empty stop string never matches.
        assert_eq!(run(&[""], &["a"]).0, ["a"]);
    }
}
