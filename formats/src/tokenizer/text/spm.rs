//! SentencePiece's BPE: neighbouring symbols are joined, the pair with the best score first.
//!
//! Of equal scores the leftmost. What makes no token in the end is given as bytes. Source of the
//! procedure: llama.cpp's `llm_tokenizer_spm_session`.

use std::{cmp::Ordering, collections::BinaryHeap};

use super::vocabulary::Vocabulary;

/// A stretch of text between its neighbours; empty once it was joined to the one before.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    start: usize,
    end: usize,
    before: Option<usize>,
    after: Option<usize>,
}

/// Two neighbours that make a token.
#[derive(Debug, Clone, Copy)]
struct Pair {
    score: f32,
    left: usize,
    right: usize,
    /// Bytes of both when this was found: later changes show by it.
    length: usize,
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pair {}

struct Session<'a> {
    vocabulary: &'a Vocabulary,
    text: &'a str,
    symbols: Vec<Symbol>,
    pairs: BinaryHeap<Pair>,
}

/// Tokens of text whose spaces are ▁ already; `bytes` are the ids of the byte tokens.
pub(super) fn encode(
    vocabulary: &Vocabulary,
    bytes: &[Option<u32>],
    unknown: Option<u32>,
    text: &str,
    out: &mut Vec<u32>,
) {
    let count = text.chars().count();
    let symbol = |(index, (start, c)): (usize, (usize, char))| Symbol {
        start,
        end: start + c.len_utf8(),
        before: index.checked_sub(1),
        after: (index + 1 < count).then_some(index + 1),
    };
    let symbols: Vec<_> = text.char_indices().enumerate().map(symbol).collect();
    let mut session = Session { vocabulary, text, symbols, pairs: BinaryHeap::new() };
    for right in 1..session.symbols.len() {
        session.consider(Some(right - 1), Some(right));
    }
    while let Some(pair) = session.pairs.pop() {
        session.join(pair);
    }
    let mut next = (!session.symbols.is_empty()).then_some(0);
    while let Some(symbol) = next.and_then(|index| session.symbols.get(index)) {
        let piece = text.get(symbol.start..symbol.end).unwrap_or_default();
        match vocabulary.id(piece) {
            Some(id) => out.push(id),
            None => out.extend(
                piece
                    .bytes()
                    .filter_map(|byte| bytes.get(byte as usize).copied().flatten().or(unknown)),
            ),
        }
        next = symbol.after;
    }
}

impl Session<'_> {
    /// Queues two neighbours that make a token together.
    fn consider(&mut self, left: Option<usize>, right: Option<usize>) {
        let (Some(left), Some(right)) = (left, right) else { return };
        let (Some(a), Some(b)) = (self.symbols.get(left), self.symbols.get(right)) else { return };
        let Some(text) = self.text.get(a.start..b.end) else { return };
        if let Some(id) = self.vocabulary.id(text) {
            let score = self.vocabulary.scores.get(id as usize).copied().unwrap_or_default();
            self.pairs.push(Pair { score, left, right, length: text.len() });
        }
    }

    fn join(&mut self, pair: Pair) {
        let (Some(&a), Some(&b)) = (self.symbols.get(pair.left), self.symbols.get(pair.right))
        else {
            return;
        };
        let (left, right) = (a.end - a.start, b.end - b.start);
        if left == 0 || right == 0 || left + right != pair.length {
            return;
        }
        if let Some(symbol) = self.symbols.get_mut(pair.left) {
            symbol.end = b.end;
            symbol.after = b.after;
        }
        if let Some(symbol) = self.symbols.get_mut(pair.right) {
            symbol.start = symbol.end;
        }
        if let Some(symbol) = b.after.and_then(|after| self.symbols.get_mut(after)) {
            symbol.before = Some(pair.left);
        }
        self.consider(a.before, Some(pair.left));
        self.consider(Some(pair.left), b.after);
    }
}
