//! Hyper-parameters out of GGUF metadata, each checked as it is read.

use std::path::Path;

use mdl_formats::{
    Checkpoint, Error,
    gguf::{Array, Metadata, Value},
};

use crate::Result;

/// Larger than any size that a model has; keeps products of two sizes within `u64`.
const MAX_SIZE: u64 = 1 << 31;

/// The metadata of one model under its architecture's prefix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys<'a> {
    metadata: &'a Metadata,
    architecture: &'a str,
    path: &'a Path,
}

impl<'a> Keys<'a> {
    pub(crate) fn new(checkpoint: &'a Checkpoint) -> Result<Self> {
        let path = source_path(checkpoint);
        let architecture = checkpoint.architecture().ok_or_else(|| {
            Error::malformed(path, "general.architecture", "missing, or not a string")
        })?;
        Ok(Self { metadata: &checkpoint.metadata, architecture, path })
    }

    pub(crate) fn architecture(&self) -> &'a str {
        self.architecture
    }

    pub(crate) fn path(&self) -> &'a Path {
        self.path
    }

    /// The full key of an architecture's `name`.
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    /// Whether the architecture's key `name` is there.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.metadata.get(&self.key(name)).is_some()
    }

    /// An error about the architecture's key `name`.
    pub(crate) fn malformed(&self, name: &str, problem: impl Into<String>) -> Error {
        Error::malformed(self.path, self.key(name), problem)
    }

    /// A size: an integer, or an array of one integer that is the same for every layer.
    pub(crate) fn size(&self, name: &str) -> Result<Option<usize>> {
        let key = self.key(name);
        let Some(value) = self.metadata.get(&key) else { return Ok(None) };
        let number = match value {
            Value::Array(array) => uniform(array).ok_or_else(|| {
                self.malformed(name, "differs between layers, which this program does not run")
            })?,
            _ => self
                .metadata
                .u64(&key)
                .ok_or_else(|| self.malformed(name, "not a non-negative integer"))?,
        };
        if number > MAX_SIZE {
            return Err(self.malformed(name, format!("{number} is no credible size")).into());
        }
        usize::try_from(number)
            .map(Some)
            .map_err(|_| self.malformed(name, format!("{number} is too large")).into())
    }

    /// A size that must be there and not be zero.
    pub(crate) fn positive(&self, name: &str) -> Result<usize> {
        let size = self.size(name)?.ok_or_else(|| self.malformed(name, "missing"))?;
        self.not_zero(name, size)
    }

    /// A size that must not be zero, with a default.
    pub(crate) fn positive_or(&self, name: &str, default: usize) -> Result<usize> {
        let size = self.size(name)?.unwrap_or(default);
        self.not_zero(name, size)
    }

    fn not_zero(&self, name: &str, size: usize) -> Result<usize> {
        if size == 0 {
            return Err(self.malformed(name, "must not be 0").into());
        }
        Ok(size)
    }

    /// A finite number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<f32>> {
        let key = self.key(name);
        if self.metadata.get(&key).is_none() {
            return Ok(None);
        }
        match self.metadata.f32(&key) {
            Some(value) if value.is_finite() => Ok(Some(value)),
            _ => Err(self.malformed(name, "not a finite number").into()),
        }
    }

    /// A finite number above zero.
    pub(crate) fn positive_number(&self, name: &str) -> Result<Option<f32>> {
        match self.number(name)? {
            Some(value) if value <= 0.0 => {
                Err(self.malformed(name, format!("{value} is not above 0")).into())
            }
            other => Ok(other),
        }
    }

    /// A truth value.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>> {
        match self.metadata.get(&self.key(name)) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.malformed(name, "not a truth value").into()),
        }
    }

    /// A string.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&'a str>> {
        match self.metadata.get(&self.key(name)) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.malformed(name, "not a string").into()),
        }
    }

    /// A pattern over layers: an array of truth values or integers, one a layer, or an interval.
    pub(crate) fn pattern(&self, name: &str, layers: usize) -> Result<Option<Pattern>> {
        let Some(value) = self.metadata.get(&self.key(name)) else { return Ok(None) };
        let Value::Array(array) = value else {
            return Ok(self.size(name)?.map(Pattern::Interval));
        };
        let flags: Vec<bool> = match array {
            Array::Bool(items) => items.clone(),
            other => integers(other)
                .ok_or_else(|| self.malformed(name, "neither truth values nor integers"))?
                .map(|item| item != 0)
                .collect(),
        };
        if flags.len() < layers {
            let problem = format!("{} entries for {layers} layers", flags.len());
            return Err(self.malformed(name, problem).into());
        }
        Ok(Some(Pattern::Layers(flags)))
    }
}

/// Which layers something holds for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// All but every n-th; 0 means all, 1 none (as llama.cpp reads a sliding window's interval).
    Interval(usize),
    /// One flag a layer.
    Layers(Vec<bool>),
}

impl Pattern {
    pub(crate) fn holds(&self, layer: usize) -> bool {
        match self {
            Self::Interval(0) => true,
            Self::Interval(interval) => !(layer + 1).is_multiple_of(*interval),
            Self::Layers(flags) => flags.get(layer).copied().unwrap_or(false),
        }
    }
}

/// The file to name in an error about a checkpoint.
pub(crate) fn source_path(checkpoint: &Checkpoint) -> &Path {
    checkpoint.sources.first().map_or(Path::new("model"), |path| path.as_path())
}

/// The integers of an array, negative ones as large ones.
fn integers(array: &Array) -> Option<Box<dyn Iterator<Item = u64> + '_>> {
    Some(match array {
        Array::U8(items) => Box::new(items.iter().map(|&item| item.into())),
        Array::I8(items) => Box::new(items.iter().map(|&item| item as u64)),
        Array::U16(items) => Box::new(items.iter().map(|&item| item.into())),
        Array::I16(items) => Box::new(items.iter().map(|&item| item as u64)),
        Array::U32(items) => Box::new(items.iter().map(|&item| item.into())),
        Array::I32(items) => Box::new(items.iter().map(|&item| item as u64)),
        Array::U64(items) => Box::new(items.iter().copied()),
        Array::I64(items) => Box::new(items.iter().map(|&item| item as u64)),
        _ => return None,
    })
}

/// The one value of an array whose elements are all equal.
fn uniform(array: &Array) -> Option<u64> {
    let mut items = integers(array)?;
    let first = items.next()?;
    items.all(|item| item == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_keys<T>(entries: &[(&str, Value)], test: impl Fn(Keys<'_>) -> T) -> T {
        let mut metadata = Metadata::new();
        for (key, value) in entries {
            metadata.set(*key, value.clone());
        }
        test(Keys { metadata: &metadata, architecture: "a", path: Path::new("file") })
    }

    #[test]
    fn sizes_are_checked() {
        let entries = [
            ("a.ok", Value::U32(7)),
            ("a.same", vec![3u32, 3].into()),
            ("a.varies", vec![3u32, 4].into()),
            ("a.negative", Value::I32(-1)),
            ("a.text", "7".into()),
            ("a.huge", Value::U64(u64::MAX)),
            ("a.zero", Value::U8(0)),
        ];
        with_keys(&entries, |keys| {
            assert_eq!(keys.size("ok").unwrap(), Some(7));
            assert_eq!(keys.size("same").unwrap(), Some(3));
            assert_eq!(keys.size("absent").unwrap(), None);
            assert_eq!(keys.positive_or("absent", 5).unwrap(), 5);
            for bad in ["varies", "negative", "text", "huge"] {
                let message = keys.size(bad).unwrap_err().to_string();
                assert!(message.contains(&format!("file: a.{bad}")), "{message}");
            }
            assert!(keys.positive("zero").is_err());
            assert!(keys.positive("absent").is_err());
        });
    }

    #[test]
    fn numbers_are_finite() {
        let entries = [
            ("a.nan", Value::F32(f32::NAN)),
            ("a.half", Value::F64(0.5)),
            ("a.minus", Value::F32(-1.0)),
        ];
        with_keys(&entries, |keys| {
            assert!(keys.number("nan").is_err());
            assert_eq!(keys.number("half").unwrap(), Some(0.5));
            assert!(keys.positive_number("minus").is_err());
            assert_eq!(keys.number("absent").unwrap(), None);
        });
    }

    #[test]
    fn patterns() {
        let entries = [
            ("a.every", Value::U32(3)),
            ("a.flags", vec![true, false].into()),
            ("a.f", vec![1.0f32].into()),
        ];
        with_keys(&entries, |keys| {
            let every = keys.pattern("every", 6).unwrap().unwrap();
            let held: Vec<bool> = (0..6).map(|layer| every.holds(layer)).collect();
            assert_eq!(held, [true, true, false, true, true, false]);
            assert!(!Pattern::Interval(1).holds(0));
            assert!(Pattern::Interval(0).holds(0));
            assert!(keys.pattern("flags", 2).unwrap().unwrap().holds(0));
            assert!(keys.pattern("flags", 3).is_err());
            assert!(keys.pattern("f", 1).is_err());
        });
    }
}
