//! How much of anything a file may ask for.

/// Upper bounds for what is read from outside, checked before anything is allocated for it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// Tensors in a file or folder.
    pub tensors: u64,
    /// Metadata keys in a file.
    pub keys: u64,
    /// Bytes of one string (a chat template, a token, a key's text).
    pub string_bytes: u64,
    /// Elements of one metadata array (a vocabulary has up to some 300 000).
    pub array_len: u64,
    /// Dimensions of a tensor.
    pub dimensions: u32,
    /// Bytes of a tensor's name.
    pub name_bytes: u64,
    /// Bytes of a safetensors header.
    pub safetensors_header_bytes: u64,
    /// Bytes of a JSON, TOML or text side file (tokenizer.json is up to some 35 MB).
    pub side_file_bytes: u64,
    /// Depth of nested JSON or of nested metadata arrays.
    pub depth: u32,
    /// Files of a split model.
    pub splits: u32,
    /// Transformer layers.
    pub layers: u64,
    /// Steps of the chat template engine.
    pub template_fuel: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tensors: 1 << 20,
            keys: 1 << 16,
            string_bytes: 64 << 20,
            array_len: 1 << 24,
            dimensions: 4,
            name_bytes: 1 << 10,
            safetensors_header_bytes: 100_000_000,
            side_file_bytes: 256 << 20,
            depth: 64,
            splits: 10_000,
            layers: 4096,
            template_fuel: 50_000_000,
        }
    }
}
