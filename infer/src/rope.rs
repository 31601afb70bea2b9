//! Rotary position embedding: frequencies, their scaling to longer contexts, cosines and sines.
//!
//! Frequencies: base^(−2i/n). Scalings, as in transformers' `modeling_rope_utils.py`: linear divides
//! all by a factor; YaRN (arXiv:2309.00071) blends divided and plain ones by how often a pair turns
//! within the original context; Llama 3 and Phi 3 divide by factors that the file holds as tensors,
//! Phi 3 by one set for sequences within the original context and another beyond it.

use std::f64::consts::TAU;

use crate::{Result, config::RopeConfig, keys::Keys};

/// How frequencies are scaled to longer contexts (factors from tensors come besides).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scaling {
    /// Divided by this.
    Linear(f32),
    /// YaRN.
    Yarn {
        /// How many times the context was stretched.
        factor: f32,
        /// Turns within the original context from which a pair is left alone.
        beta_fast: f32,
        /// Turns up to which a pair is stretched by the whole factor.
        beta_slow: f32,
        /// What cosines and sines are multiplied with.
        magnitude: f32,
        /// Whether the band between the two is widened to whole pairs.
        truncate: bool,
    },
    /// By factors from the tensors `rope_factors_short` and `rope_factors_long`.
    Long,
}

impl Scaling {
    pub(crate) fn read(keys: &Keys<'_>) -> Result<Self> {
        const FACTOR: &str = "rope.scaling.factor";
        let factor = match keys.number(FACTOR)? {
            Some(factor) => Some((FACTOR, factor)),
            None => keys.number("rope.scale_linear")?.map(|factor| ("rope.scale_linear", factor)),
        };
        // Factor 0 stands for none, as in llama.cpp.
        let factor = match factor {
            Some((name, factor)) if factor < 0.0 => {
                return Err(keys.malformed(name, format!("{factor} is below 0")).into());
            }
            Some((_, factor)) if factor > 0.0 => factor,
            _ => 1.0,
        };
        match keys.text("rope.scaling.type")?.unwrap_or("linear") {
            "none" => Ok(Self::Linear(1.0)),
            "linear" => Ok(Self::Linear(factor)),
            "longrope" => Ok(Self::Long),
            "yarn" => Ok(Self::Yarn {
                factor,
                beta_fast: keys.positive_number("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
                beta_slow: keys.positive_number("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
                magnitude: keys
                    .positive_number("rope.scaling.yarn_attn_factor")?
                    .unwrap_or(0.1f32.mul_add(factor.max(1.0).ln(), 1.0)),
                truncate: keys.flag("rope.scaling.yarn_truncate")?.unwrap_or(true),
            }),
            other => {
                let problem = format!("{other} is not one of none, linear, yarn, longrope");
                Err(keys.malformed("rope.scaling.type", problem).into())
            }
        }
    }
}

/// One way to rotate: what each pair turns by from one position to the next.
#[derive(Debug)]
pub(crate) struct Frequencies {
    /// Radians a position, one a pair.
    turns: Vec<f64>,
    /// What cosines and sines are multiplied with.
    magnitude: f64,
}

impl Frequencies {
    /// Unscaled frequencies of that base.
    pub(crate) fn plain(rotary: usize, base: f32) -> Self {
        let turns = (0..rotary / 2)
            .map(|pair| f64::from(base).powf(-2.0 * pair as f64 / rotary as f64))
            .collect();
        Self { turns, magnitude: 1.0 }
    }

    /// The model's frequencies; `factors`, one a pair, divide them.
    pub(crate) fn scaled(config: &RopeConfig, factors: Option<&[f32]>) -> Self {
        let mut this = Self::plain(config.rotary, config.base);
        if let Some(factors) = factors {
            for (turn, &factor) in this.turns.iter_mut().zip(factors) {
                *turn /= f64::from(factor);
            }
        }
        match config.scaling {
            Scaling::Long => {}
            Scaling::Linear(factor) => {
                for turn in &mut this.turns {
                    *turn /= f64::from(factor);
                }
            }
            Scaling::Yarn { factor, beta_fast, beta_slow, magnitude, truncate } => {
                let low = turning_pair(config, beta_fast);
                let high = turning_pair(config, beta_slow);
                let (low, high) = if truncate { (low.floor(), high.ceil()) } else { (low, high) };
                let (low, high) = (low.max(0.0), high.min(config.rotary as f64 - 1.0));
                let span = (high - low).max(0.001);
                for (pair, turn) in this.turns.iter_mut().enumerate() {
                    let stretched = ((pair as f64 - low) / span).clamp(0.0, 1.0);
                    let divided = *turn / f64::from(factor);
                    *turn = divided * stretched + *turn * (1.0 - stretched);
                }
                this.magnitude = f64::from(magnitude);
            }
        }
        this.magnitude *= f64::from(config.attention_factor);
        this
    }

    /// Fills `cos` and `sin`, a row of one value a pair for each position from `first` on.
    pub(crate) fn fill(&self, first: usize, cos: &mut [f32], sin: &mut [f32]) {
        let pairs = self.turns.len();
        let rows = cos.chunks_exact_mut(pairs).zip(sin.chunks_exact_mut(pairs));
        for (offset, (cos, sin)) in rows.enumerate() {
            let position = (first + offset) as f64;
            for ((cos, sin), &turn) in cos.iter_mut().zip(sin).zip(&self.turns) {
                let (s, c) = (position * turn).sin_cos();
                *cos = (c * self.magnitude) as f32;
                *sin = (s * self.magnitude) as f32;
            }
        }
    }
}

/// The pair (as a fraction) that turns `turns` times within the original context.
fn turning_pair(config: &RopeConfig, turns: f32) -> f64 {
    let context = config.original_context as f64;
    let turns = f64::from(turns);
    config.rotary as f64 * (context / (turns * TAU)).ln() / (2.0 * f64::from(config.base).ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(scaling: Scaling) -> RopeConfig {
        RopeConfig {
            rotary: 8,
            base: 10_000.0,
            local_base: 10_000.0,
            scaling,
            original_context: 64,
            attention_factor: 1.0,
        }
    }

    #[test]
    fn plain_frequencies_and_their_angles() {
        let plain = Frequencies::plain(8, 10_000.0);
        for (turn, expected) in plain.turns.iter().zip([1.0, 0.1, 0.01, 0.001]) {
            assert!((turn - expected).abs() < 1e-12);
        }
        let (mut cos, mut sin) = ([0.0; 8], [0.0; 8]);
        plain.fill(5, &mut cos, &mut sin);
        assert_eq!(cos[0], 5f64.cos() as f32);
        assert_eq!(sin[5], 0.6f64.sin() as f32);
    }

    #[test]
    fn linear_divides_and_factors_divide() {
        let halved = Frequencies::scaled(&config(Scaling::Linear(2.0)), None);
        assert!((halved.turns[0] - 0.5).abs() < 1e-12);
        let long = Frequencies::scaled(&config(Scaling::Long), Some(&[4.0, 1.0, 1.0, 1.0]));
        assert!((long.turns[0] - 0.25).abs() < 1e-12);
        assert!((long.turns[1] - 0.1).abs() < 1e-12);
    }

    /// Worked out by hand from the formulas; the golden models check them against transformers.
    #[test]
    fn yarn_blends() {
        let yarn = Scaling::Yarn {
            factor: 4.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            magnitude: 1.5,
            truncate: true,
        };
        let scaled = Frequencies::scaled(&config(yarn), None);
        // low = floor(-0.497…) → 0, high = ceil(1.008…) = 2.
        for (turn, expected) in scaled.turns.iter().zip([1.0, 0.0625, 0.0025, 0.00025]) {
            assert!((turn - expected).abs() < 1e-9, "{turn} {expected}");
        }
        let (mut cos, mut sin) = ([0.0; 4], [0.0; 4]);
        scaled.fill(0, &mut cos, &mut sin);
        assert_eq!((cos[0], sin[0]), (1.5, 0.0));
    }
}
