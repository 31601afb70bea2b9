//! Choosing a token from logits.
//!
//! Greedy by default: the largest logit, of equal ones the lowest token. With a temperature above
//! zero the candidates are cut in this order, as in llama.cpp: the `top_k` most likely, then the
//! fewest that together reach `top_p`, then those at least `min_p` times as likely as the first; what
//! remains is drawn from softmax(logit / temperature). The cuts see probabilities at temperature 1.

use std::cmp::Ordering;

use crate::{Error, Result};

/// How tokens are chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// 0 is greedy; 1 draws from the model's own distribution.
    pub temperature: f32,
    /// Only that many of the most likely tokens; 0 is no limit.
    pub top_k: usize,
    /// Only the fewest tokens that together are this likely; 1 is no limit.
    pub top_p: f32,
    /// Only tokens at least this many times as likely as the most likely one; 0 is no limit.
    pub min_p: f32,
    /// Start of the random numbers: the same seed gives the same text.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, seed: 0 }
    }
}

/// Chooses tokens, with buffers that are reused.
#[derive(Debug)]
pub struct Sampler {
    sampling: Sampling,
    random: Random,
    candidates: Vec<Candidate>,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    logit: f32,
    token: u32,
}

impl Candidate {
    /// The more likely first; of equal ones the lower token.
    fn order(self, other: Self) -> Ordering {
        other.logit.total_cmp(&self.logit).then(self.token.cmp(&other.token))
    }
}

/// Candidates that are sorted first when only `top_p` limits them; it nearly always suffices.
const FIRST_GUESS: usize = 512;

impl Sampler {
    /// A sampler with those settings.
    ///
    /// # Errors
    /// [`Error::Setting`] for a setting outside its range.
    pub fn new(sampling: Sampling) -> Result<Self> {
        let refuse = |setting, value: f32, expected| {
            Err(Error::Setting { setting, value: value.to_string(), expected })
        };
        let Sampling { temperature, top_p, min_p, seed, .. } = sampling;
        if !(temperature.is_finite() && temperature >= 0.0) {
            return refuse("temperature", temperature, "0 or above");
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return refuse("top-p", top_p, "above 0 and at most 1");
        }
        if !(0.0..=1.0).contains(&min_p) {
            return refuse("min-p", min_p, "from 0 to 1");
        }
        Ok(Self { sampling, random: Random::new(seed), candidates: Vec::new() })
    }

    /// The next token; `None` where no logit is a finite number.
    pub fn choose(&mut self, logits: &[f32]) -> Option<u32> {
        if self.sampling.temperature == 0.0 || self.sampling.top_k == 1 {
            return greedy(logits);
        }
        self.gather(logits);
        let kept = self.cut()?;
        let temperature = f64::from(self.sampling.temperature);
        let candidates = &self.candidates[..kept];
        let largest = f64::from(candidates.first()?.logit);
        let weight = |logit: f32| ((f64::from(logit) - largest) / temperature).exp();
        let total: f64 = candidates.iter().map(|candidate| weight(candidate.logit)).sum();
        let mut point = self.random.unit() * total;
        for candidate in candidates {
            point -= weight(candidate.logit);
            if point < 0.0 {
                return Some(candidate.token);
            }
        }
        candidates.last().map(|candidate| candidate.token)
    }

    /// Takes all finite logits as candidates.
    fn gather(&mut self, logits: &[f32]) {
        self.candidates.clear();
        let finite = (0u32..).zip(logits).filter(|(_, logit)| logit.is_finite());
        self.candidates.extend(finite.map(|(token, &logit)| Candidate { logit, token }));
    }

    /// Sorts the most likely candidates to the front; gives how many remain after all cuts.
    fn cut(&mut self) -> Option<usize> {
        let all = self.candidates.len();
        let limit = match self.sampling.top_k {
            0 => all,
            k => k.min(all),
        };
        if limit == 0 {
            return None;
        }
        if self.sampling.top_p >= 1.0 && self.sampling.min_p <= 0.0 {
            self.sort(limit);
            return Some(limit);
        }
        let mut sorted = limit.min(FIRST_GUESS);
        self.sort(sorted);
        let total = self.total(limit);
        loop {
            if let Some(kept) = self.kept(sorted, total) {
                return Some(kept);
            }
            if sorted == limit {
                return Some(limit);
            }
            sorted = limit;
            self.sort(sorted);
        }
    }

    /// Brings the `count` most likely candidates to the front, in order.
    fn sort(&mut self, count: usize) {
        if count < self.candidates.len() {
            self.candidates.select_nth_unstable_by(count, |a, b| a.order(*b));
        }
        self.candidates[..count].sort_unstable_by(|a, b| a.order(*b));
    }

    /// Σ exp(logit − largest) of the `limit` most likely candidates, of which the largest is first.
    fn total(&mut self, limit: usize) -> f64 {
        if limit < self.candidates.len() && limit > FIRST_GUESS {
            self.sort(limit);
        }
        let largest = self.candidates[0].logit;
        let weight = |candidate: &Candidate| f64::from(candidate.logit - largest).exp();
        self.candidates[..limit].iter().map(weight).sum()
    }

    /// How many of the first `sorted` candidates `top_p` and `min_p` keep, if these decide it.
    fn kept(&self, sorted: usize, total: f64) -> Option<usize> {
        let Sampling { top_p, min_p, .. } = self.sampling;
        let largest = self.candidates[0].logit;
        let mut reached = 0.0;
        for (index, candidate) in self.candidates[..sorted].iter().enumerate() {
            let weight = f64::from(candidate.logit - largest).exp();
            if weight < f64::from(min_p) {
                return Some(index);
            }
            reached += weight;
            if top_p < 1.0 && reached >= f64::from(top_p) * total {
                return Some(index + 1);
            }
        }
        None
    }
}

/// The token with the largest logit, of equal ones the lowest; not-a-number never wins.
pub fn greedy(logits: &[f32]) -> Option<u32> {
    let mut best: Option<(u32, f32)> = None;
    for (token, &logit) in (0u32..).zip(logits) {
        if logit > f32::NEG_INFINITY && best.is_none_or(|(_, largest)| logit > largest) {
            best = Some((token, logit));
        }
    }
    best.map(|(token, _)| token)
}

/// Random numbers: xoshiro256++ (Blackman and Vigna, 2019), its state filled by splitmix64.
#[derive(Debug)]
struct Random {
    state: [u64; 4],
}

impl Random {
    fn new(seed: u64) -> Self {
        let mut mixed = seed;
        let state = std::array::from_fn(|_| {
            mixed = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = mixed;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ (word >> 31)
        });
        Self { state }
    }

    fn next(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// From 0 to below 1, in steps of 2⁻⁵³.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frequencies(sampling: Sampling, logits: &[f32], draws: usize) -> Vec<f64> {
        let mut sampler = Sampler::new(sampling).unwrap();
        let mut counts = vec![0usize; logits.len()];
        for _ in 0..draws {
            counts[sampler.choose(logits).unwrap() as usize] += 1;
        }
        counts.into_iter().map(|count| count as f64 / draws as f64).collect()
    }

    const LOGITS: [f32; 4] = [0.0, 2.0, 1.0, -1.0];

    fn softmax(logits: &[f32], temperature: f64) -> Vec<f64> {
        let weights: Vec<f64> =
            logits.iter().map(|&logit| (f64::from(logit) / temperature).exp()).collect();
        let total: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / total).collect()
    }

    #[test]
    fn greedy_takes_the_lowest_of_equals() {
        assert_eq!(greedy(&[1.0, 3.0, 3.0]), Some(1));
        assert_eq!(greedy(&[f32::NAN, -3.0]), Some(1));
        assert_eq!(greedy(&[f32::NAN, f32::NEG_INFINITY]), None);
        assert_eq!(greedy(&[]), None);
        let mut sampler = Sampler::new(Sampling::default()).unwrap();
        assert_eq!(sampler.choose(&LOGITS), Some(1));
    }

    #[test]
    fn draws_follow_the_distribution() {
        for temperature in [0.5, 1.0, 2.0] {
            let sampling = Sampling { temperature, seed: 7, ..Sampling::default() };
            let seen = frequencies(sampling, &LOGITS, 40_000);
            let expected = softmax(&LOGITS, temperature.into());
            for (seen, expected) in seen.iter().zip(&expected) {
                assert!((seen - expected).abs() < 0.01, "{seen} {expected}");
            }
        }
    }

    #[test]
    fn cuts_keep_what_they_should() {
        let kept = |sampling: Sampling| -> Vec<usize> {
            let seen = frequencies(Sampling { temperature: 1.0, ..sampling }, &LOGITS, 4000);
            (0..4).filter(|&token| seen[token] > 0.0).collect()
        };
        let all = Sampling::default();
        assert_eq!(kept(all.clone()), [0, 1, 2, 3]);
        assert_eq!(kept(Sampling { top_k: 2, ..all.clone() }), [1, 2]);
        // Probabilities: 0.087, 0.644, 0.237, 0.032.
        assert_eq!(kept(Sampling { top_p: 0.6, ..all.clone() }), [1]);
        assert_eq!(kept(Sampling { top_p: 0.7, ..all.clone() }), [1, 2]);
        assert_eq!(kept(Sampling { top_p: 0.9, ..all.clone() }), [0, 1, 2]);
        assert_eq!(kept(Sampling { min_p: 0.1, ..all.clone() }), [0, 1, 2]);
        assert_eq!(kept(Sampling { min_p: 0.2, ..all.clone() }), [1, 2]);
        // Of the two that top-k leaves, the first is 0.73.
        assert_eq!(kept(Sampling { top_k: 2, top_p: 0.7, ..all }), [1]);
    }

    #[test]
    fn a_long_tail_is_cut_the_same() {
        // All equal: 0.9 of 5000 tokens is more than the first guess sorts.
        let logits = vec![0.0; 5000];
        let mut sampler =
            Sampler::new(Sampling { temperature: 1.0, top_p: 0.9, ..Sampling::default() }).unwrap();
        let largest = (0..1000).map(|_| sampler.choose(&logits).unwrap()).max().unwrap();
        assert!((4300..4500).contains(&largest), "{largest}");
    }

    #[test]
    fn a_seed_repeats() {
        let sampling = Sampling { temperature: 1.0, seed: 3, ..Sampling::default() };
        let draw = || {
            let mut sampler = Sampler::new(sampling.clone()).unwrap();
            (0..50).map(|_| sampler.choose(&LOGITS).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(draw(), draw());
    }

    /// The first outputs for the state 1, 2, 3, 4, as published with the generator.
    #[test]
    fn random_numbers_are_xoshiros() {
        let mut random = Random { state: [1, 2, 3, 4] };
        let first = [41943041, 58720359, 3588806011781223, 3591011842654386];
        assert_eq!(first.map(|_| random.next()), first);
    }

    #[test]
    fn settings_are_checked() {
        let default = Sampling::default;
        for bad in [
            Sampling { temperature: -1.0, ..default() },
            Sampling { temperature: f32::NAN, ..default() },
            Sampling { top_p: 0.0, ..default() },
            Sampling { min_p: 1.5, ..default() },
        ] {
            assert!(matches!(Sampler::new(bad), Err(Error::Setting { .. })));
        }
    }
}
