//! Writes an architecture's keys under its prefix.

use crate::gguf::{Metadata, Value};

/// Metadata with the prefix of an architecture.
pub struct Keys<'a> {
    architecture: &'static str,
    metadata: &'a mut Metadata,
}

impl<'a> Keys<'a> {
    /// Writes to `metadata` under `architecture`.
    pub fn new(architecture: &'static str, metadata: &'a mut Metadata) -> Self {
        Self { architecture, metadata }
    }

    fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.metadata.set(format!("{}.{key}", self.architecture), value);
    }

    /// A size, which [`crate::Config::size`] has checked to fit.
    pub fn u32(&mut self, key: &str, value: usize) {
        self.set(key, u32::try_from(value).unwrap_or(u32::MAX));
    }

    /// A number, rounded to what GGUF keys hold.
    pub fn f32(&mut self, key: &str, value: f64) {
        self.set(key, value as f32);
    }

    /// A truth value.
    pub fn bool(&mut self, key: &str, value: bool) {
        self.set(key, value);
    }

    /// A string.
    pub fn str(&mut self, key: &str, value: &str) {
        self.set(key, value);
    }

    /// A truth value per layer.
    pub fn bools(&mut self, key: &str, values: Vec<bool>) {
        self.set(key, values);
    }
}
