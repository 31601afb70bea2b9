//! Rotary positions: what a configuration asks for, as GGUF keys and tensors and back.
//!
//! Sources: transformers' `modeling_rope_utils.py` for what the numbers mean, llama.cpp's
//! `conversion/base.py`, `llama.py` and `phi.py` for the keys, its `llama-context.cpp` for how they
//! are read.

use std::f64::consts::TAU;

use serde_json::{Map, Value, json};

use super::Keys;
use crate::{Config, Error, Result};

/// Rotary positions of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Base of the frequencies, in layers with full attention.
    pub theta: f64,
    /// Base in layers with a sliding window, where the model has another there.
    pub local_theta: Option<f64>,
    /// Part of each head that is rotated, from its start.
    pub partial: f64,
    /// How positions beyond the trained context are reached.
    pub scaling: Scaling,
}

/// How positions beyond the trained context are reached. `original` is that context's length.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the fields are the published formulas' own names")]
pub enum Scaling {
    None,
    /// Positions divided by `factor`.
    Linear {
        factor: f64,
    },
    /// Llama 3.1: low frequencies divided by `factor`, a band between interpolated.
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        original: f64,
    },
    /// `YaRN`. `attention` scales the rotated queries and keys.
    Yarn {
        factor: f64,
        original: usize,
        attention: f64,
        beta_fast: f64,
        beta_slow: f64,
        truncate: bool,
    },
    /// A divisor per frequency, one list up to the original context and one beyond.
    LongRope {
        short: Vec<f32>,
        long: Vec<f32>,
        original: usize,
        attention: f64,
    },
}

/// `YaRN`'s usual scale for queries and keys.
pub(crate) fn yarn_attention(factor: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * factor.ln() + 1.0 }
}

/// Numbers of one rope description, with errors that name the key.
struct Parameters<'a> {
    config: &'a Config,
    values: &'a Map<String, Value>,
}

impl<'a> Parameters<'a> {
    fn error(&self, key: &str, problem: &str) -> Error {
        Error::malformed(self.config.path(), format!("rope parameters: {key}"), problem)
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.values.get(key).filter(|value| !value.is_null())
    }

    fn number(&self, key: &str) -> Result<Option<f64>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_f64() {
            Some(number) if number.is_finite() => Ok(Some(number)),
            _ => Err(self.error(key, "is not a number")),
        }
    }

    fn need(&self, key: &str) -> Result<f64> {
        match self.number(key)? {
            Some(number) if number > 0.0 => Ok(number),
            Some(_) => Err(self.error(key, "is not above 0")),
            None => Err(self.error(key, "is missing")),
        }
    }

    fn kind(&self) -> Result<&'a str> {
        match self.get("rope_type").or_else(|| self.get("type")) {
            None => Ok("default"),
            Some(value) => value.as_str().ok_or_else(|| self.error("rope_type", "is not a string")),
        }
    }

    /// Length of the trained context: there, or beside it in the configuration.
    fn original(&self) -> Result<Option<usize>> {
        match self.get("original_max_position_embeddings") {
            None => self.config.optional_size("original_max_position_embeddings"),
            Some(value) => value
                .as_f64()
                .filter(|length| length.fract() == 0.0 && (1.0..=4_294_967_295.0).contains(length))
                .map(|length| Some(length as usize))
                .ok_or_else(|| {
                    self.error("original_max_position_embeddings", "is not a positive integer")
                }),
        }
    }

    fn factors(&self, key: &str, count: usize) -> Result<Vec<f32>> {
        let list = self.get(key).and_then(Value::as_array);
        let list = list.ok_or_else(|| self.error(key, "is missing or not a list"))?;
        if list.len() != count {
            let problem =
                format!("has {} numbers, but {count} frequencies are rotated", list.len());
            return Err(self.error(key, &problem));
        }
        let number = |value: &Value| {
            value
                .as_f64()
                .filter(|number| number.is_finite() && *number > 0.0)
                .map(|number| number as f32)
                .ok_or_else(|| self.error(key, "holds what is not a positive number"))
        };
        list.iter().map(number).collect()
    }
}

impl Rope {
    /// From `rope_parameters` (transformers 5), or `rope_theta` and `rope_scaling` (4).
    /// `head` is the length of a head.
    pub fn read(config: &Config, head: usize) -> Result<Self> {
        let empty = Map::new();
        let all = config.object("rope_parameters")?.or(config.object("rope_scaling")?);
        let all = all.unwrap_or(&empty);
        let nested = |key: &str| all.get(key).and_then(Value::as_object);
        let values = nested("full_attention").unwrap_or(all);
        let global = Parameters { config, values };
        let theta = match global.number("rope_theta")? {
            Some(theta) => Some(theta),
            None => config.f64("rope_theta")?,
        };
        let local_theta = match nested("sliding_attention") {
            Some(values) => Parameters { config, values }.number("rope_theta")?,
            None => config.f64("rope_local_base_freq")?,
        };
        let partial = match global.number("partial_rotary_factor")? {
            Some(part) => part,
            None => config.f64("partial_rotary_factor")?.unwrap_or(1.0),
        };
        if !(partial > 0.0 && partial <= 1.0) {
            return Err(global.error("partial_rotary_factor", "is not in (0, 1]"));
        }
        let mut rope =
            Self { theta: theta.unwrap_or(10000.0), local_theta, partial, scaling: Scaling::None };
        if !(rope.theta > 0.0 && local_theta.is_none_or(|theta| theta > 0.0)) {
            return Err(global.error("rope_theta", "is not above 0"));
        }
        rope.scaling = Scaling::read(&global, rope.dimensions(head) / 2)?;
        Ok(rope)
    }

    /// How many values of a head of `head` values are rotated.
    pub fn dimensions(&self, head: usize) -> usize {
        (head as f64 * self.partial) as usize
    }
}

impl Scaling {
    fn read(from: &Parameters<'_>, frequencies: usize) -> Result<Self> {
        match from.kind()?.to_ascii_lowercase().as_str() {
            // Dynamic scaling changes nothing up to the stated context, which is all we run.
            "default" | "dynamic" => Ok(Self::None),
            "linear" => Ok(Self::Linear { factor: from.need("factor")? }),
            "llama3" => Self::read_llama3(from),
            "yarn" => Self::read_yarn(from),
            "longrope" | "su" => Self::read_long(from, frequencies),
            other => Err(Error::unsupported(
                from.config.path(),
                format!("the rope type {other:?} is not known"),
                "known are default, linear, dynamic, llama3, yarn and longrope",
            )),
        }
    }

    fn read_llama3(from: &Parameters<'_>) -> Result<Self> {
        let (low, high) = (from.need("low_freq_factor")?, from.need("high_freq_factor")?);
        if low >= high {
            return Err(from.error("low_freq_factor", "is not below high_freq_factor"));
        }
        let original = from.original()?;
        let original =
            original.ok_or_else(|| from.error("original_max_position_embeddings", "is missing"))?;
        Ok(Self::Llama3 { factor: from.need("factor")?, low, high, original: original as f64 })
    }

    fn read_yarn(from: &Parameters<'_>) -> Result<Self> {
        let context = from.config.size("max_position_embeddings")?;
        let original = from.original()?.unwrap_or(context);
        let factor = match from.get("factor") {
            Some(_) => from.need("factor")?,
            None => context as f64 / original as f64,
        };
        let scale = |part: f64| if factor <= 1.0 { 1.0 } else { 0.1 * part * factor.ln() + 1.0 };
        let attention = match from.number("attention_factor")? {
            Some(attention) => attention,
            None => match (from.number("mscale")?, from.number("mscale_all_dim")?) {
                (Some(one), Some(all)) if one != 0.0 && all != 0.0 => scale(one) / scale(all),
                _ => yarn_attention(factor),
            },
        };
        let or = |number: Option<f64>, usual: f64| number.filter(|n| *n != 0.0).unwrap_or(usual);
        Ok(Self::Yarn {
            factor,
            original,
            attention,
            beta_fast: or(from.number("beta_fast")?, 32.0),
            beta_slow: or(from.number("beta_slow")?, 1.0),
            truncate: from.get("truncate").and_then(Value::as_bool).unwrap_or(true),
        })
    }

    fn read_long(from: &Parameters<'_>, frequencies: usize) -> Result<Self> {
        let context = from.config.size("max_position_embeddings")?;
        let original = from.original()?.unwrap_or(context);
        let factor = context as f64 / original as f64;
        let attention = match from.number("attention_factor")? {
            Some(attention) => attention,
            None if factor <= 1.0 => 1.0,
            None => (1.0 + factor.ln() / (original as f64).ln()).sqrt(),
        };
        Ok(Self::LongRope {
            short: from.factors("short_factor", frequencies)?,
            long: from.factors("long_factor", frequencies)?,
            original,
            attention,
        })
    }

    /// Writes the keys that llama.cpp reads; `notes` gets what it does not read.
    pub(crate) fn write(&self, out: &mut Keys<'_>, notes: &mut Vec<String>) {
        match *self {
            Self::None | Self::Llama3 { .. } => {}
            Self::Linear { factor } => {
                out.str("rope.scaling.type", "linear");
                out.f32("rope.scaling.factor", factor);
            }
            Self::Yarn { factor, original, attention, beta_fast, beta_slow, truncate } => {
                out.str("rope.scaling.type", "yarn");
                out.f32("rope.scaling.factor", factor);
                out.u32("rope.scaling.original_context_length", original);
                // What llama.cpp computes for itself is multiplied by this key.
                let extra = attention / yarn_attention(factor);
                if (extra - 1.0).abs() > 1e-6 {
                    out.f32("rope.scaling.attn_factor", extra);
                }
                out.f32("rope.scaling.yarn_beta_fast", beta_fast);
                out.f32("rope.scaling.yarn_beta_slow", beta_slow);
                if (beta_fast, beta_slow) != (32.0, 1.0) {
                    notes.push(format!(
                        "YaRN's band is beta_fast {beta_fast} to beta_slow {beta_slow}; llama.cpp \
                         computes with 32 to 1 for this architecture whatever the file says."
                    ));
                }
                if !truncate {
                    out.bool("rope.scaling.yarn_truncate", false);
                    notes.push(
                        "YaRN's band is not rounded to whole dimensions in this model; llama.cpp \
                         always rounds it."
                            .into(),
                    );
                }
            }
            Self::LongRope { original, attention, .. } => {
                out.str("rope.scaling.type", "longrope");
                out.u32("rope.scaling.original_context_length", original);
                out.f32("rope.scaling.attn_factor", attention);
            }
        }
    }

    /// The tensors that carry divisors of the frequencies: name, values.
    pub(crate) fn tensors(&self, theta: f64, rotated: usize) -> Vec<(&'static str, Vec<f32>)> {
        match self {
            Self::Llama3 { factor, low, high, original } => {
                let values = llama3_divisors(theta, rotated, [*factor, *low, *high, *original]);
                vec![("rope_freqs.weight", values)]
            }
            Self::LongRope { short, long, .. } => vec![
                ("rope_factors_long.weight", long.clone()),
                ("rope_factors_short.weight", short.clone()),
            ],
            Self::None | Self::Linear { .. } | Self::Yarn { .. } => Vec::new(),
        }
    }

    /// `rope_type` and its numbers, as `config.json` lists them.
    pub(crate) fn to_json(&self) -> Map<String, Value> {
        let value = match self {
            Self::None => json!({"rope_type": "default"}),
            Self::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
            Self::Llama3 { factor, low, high, original } => json!({
                "rope_type": "llama3", "factor": factor, "low_freq_factor": low,
                "high_freq_factor": high, "original_max_position_embeddings": *original as u64,
            }),
            Self::Yarn { factor, original, attention, beta_fast, beta_slow, truncate } => {
                let mut value = json!({
                    "rope_type": "yarn", "factor": factor, "beta_fast": beta_fast,
                    "beta_slow": beta_slow, "original_max_position_embeddings": original,
                });
                if (attention - yarn_attention(*factor)).abs() > 1e-6 {
                    value["attention_factor"] = json!(attention);
                }
                if !truncate {
                    value["truncate"] = json!(false);
                }
                value
            }
            Self::LongRope { short, long, original, attention } => json!({
                "rope_type": "longrope", "short_factor": decimals(short),
                "long_factor": decimals(long), "attention_factor": attention,
                "original_max_position_embeddings": original,
            }),
        };
        value.as_object().cloned().unwrap_or_default()
    }
}

/// Numbers as they were written before they became `f32`: the shortest decimals that give them.
fn decimals(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| shortest(*value)).collect()
}

/// The `f64` that prints as the shortest decimal naming this `f32`.
pub(crate) fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}

/// Llama 3.1's divisor of each frequency. `parameters` are factor, low, high, original context.
///
/// Powers in `f64`, rounded, then `f32` arithmetic in the order of llama.cpp's `llama.py`.
pub(crate) fn llama3_divisors(theta: f64, rotated: usize, parameters: [f64; 4]) -> Vec<f32> {
    let [factor, low, high, original] = parameters;
    let divisor = |index: usize| {
        let exponent = (index * 2) as f64 / rotated as f64;
        let frequency = (1.0 / theta.powf(exponent)) as f32;
        let length = TAU as f32 / frequency;
        if f64::from(length) < original / high {
            1.0
        } else if f64::from(length) > original / low {
            factor as f32
        } else {
            let smooth = (original as f32 / length - low as f32) / (high - low) as f32;
            1.0 / ((1.0 - smooth) / factor as f32 + smooth)
        }
    };
    (0..rotated / 2).map(divisor).collect()
}

/// The parameters behind a `rope_freqs.weight`, where Llama 3.1's formula gives it.
///
/// The band's two ends are known only up to a common factor with the context; `low` is 1 in every
/// published model, so that is taken.
pub(crate) fn fit_llama3(theta: f64, divisors: &[f32]) -> Option<Scaling> {
    let rotated = divisors.len() * 2;
    let factor = f64::from(divisors.iter().copied().reduce(f32::max)?);
    let fits = |[factor, low, high, original]: [f64; 4]| {
        let made = llama3_divisors(theta, rotated, [factor, low, high, original]);
        let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * a.abs();
        made.iter().zip(divisors).all(near).then_some(Scaling::Llama3 {
            factor,
            low,
            high,
            original,
        })
    };
    if factor.is_nan() || factor <= 1.0 {
        return None;
    }
    // Every published model has 1 and 4 and a context that is a power of two.
    let published = [13, 12, 14].into_iter().chain(4..=24);
    published
        .map(|power| [factor, 1.0, 4.0, f64::from(1u32 << power)])
        .find_map(fits)
        .or_else(|| fit_band(theta, divisors, factor).and_then(fits))
}

/// Solves for the band from the two outermost interpolated frequencies.
fn fit_band(theta: f64, divisors: &[f32], factor: f64) -> Option<[f64; 4]> {
    let rotated = divisors.len() * 2;
    let inside = |(_, d): &(usize, &f32)| f64::from(**d) > 1.0 && f64::from(**d) < factor;
    // Within the band 1/divisor = (1 − s)/factor + s, and s is linear in the frequency.
    let point = |(index, divisor): (usize, &f32)| {
        let frequency = theta.powf(-((index * 2) as f64) / rotated as f64);
        let smooth = (1.0 / f64::from(*divisor) - 1.0 / factor) / (1.0 - 1.0 / factor);
        (frequency, smooth)
    };
    let (x0, y0) = point(divisors.iter().enumerate().find(inside)?);
    let (x1, y1) = point(divisors.iter().enumerate().rfind(inside)?);
    if x0 <= x1 {
        return None;
    }
    let slope = (y0 - y1) / (x0 - x1);
    let start = y1 - slope * x1;
    let high = 1.0 - 1.0 / start;
    let original = TAU * slope * (high - 1.0);
    Some([factor, 1.0, (high * 64.0).round() / 64.0, original.round()])
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(value: Value, head: usize) -> Result<Rope> {
        let Value::Object(map) = value else { panic!("an object") };
        Rope::read(&Config::new(Path::new("config.json"), map)?, head)
    }

    #[test]
    fn both_spellings_read_the_same() {
        let scaling = json!({"rope_type": "linear", "factor": 8.0});
        let old = read(json!({"rope_theta": 5e5, "rope_scaling": scaling}), 8).unwrap();
        let new = json!({"rope_theta": 5e5, "rope_type": "linear", "factor": 8.0});
        assert_eq!(old, read(json!({"rope_parameters": new}), 8).unwrap());
        assert_eq!(old.scaling, Scaling::Linear { factor: 8.0 });
        let nested = json!({"rope_parameters": {"full_attention": {"rope_theta": 1e6},
            "sliding_attention": {"rope_theta": 1e4}}});
        let nested = read(nested, 8).unwrap();
        assert_eq!((nested.theta, nested.local_theta), (1e6, Some(1e4)));
    }

    #[test]
    fn yarn_attention_becomes_a_multiplier() {
        let yarn = |more: Value| {
            let mut value = json!({"rope_type": "yarn", "factor": 4.0,
                "original_max_position_embeddings": 64});
            value.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
            read(json!({"max_position_embeddings": 256, "rope_parameters": value}), 8).unwrap()
        };
        let Scaling::Yarn { attention, .. } = yarn(json!({})).scaling else { panic!() };
        assert!((attention - (0.1 * 4f64.ln() + 1.0)).abs() < 1e-12);
        let Scaling::Yarn { attention, .. } = yarn(json!({"attention_factor": 1.0})).scaling else {
            panic!()
        };
        assert!((attention - 1.0).abs() < 1e-12);
    }

    #[test]
    fn bad_parameters_are_named() {
        let cases = [
            (json!({"rope_scaling": {"type": "linear"}}), "factor"),
            (json!({"rope_scaling": {"type": "spiral"}}), "spiral"),
            (
                json!({"max_position_embeddings": 8, "rope_scaling": {"type": "longrope",
                "long_factor": [1.0], "short_factor": [1.0]}}),
                "short_factor",
            ),
            (json!({"rope_theta": -1.0}), "rope_theta"),
        ];
        for (value, part) in cases {
            let error = read(value, 8).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn llama3_is_found_again() {
        for (theta, head, set) in [
            (500000.0, 128, [8.0, 1.0, 4.0, 8192.0]),
            (500000.0, 64, [32.0, 1.0, 4.0, 8192.0]),
            (500000.0, 16, [8.0, 1.0, 4.0, 64.0]),
        ] {
            let divisors = llama3_divisors(theta, head, set);
            let Some(Scaling::Llama3 { factor, low, high, original }) =
                fit_llama3(theta, &divisors)
            else {
                panic!("{set:?} is not found")
            };
            assert_eq!(llama3_divisors(theta, head, [factor, low, high, original]), divisors);
        }
        assert_eq!(fit_llama3(1e4, &[1.0, 3.0, 2.0, 7.0]), None);
    }
}
