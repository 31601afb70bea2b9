//! Chat templates: messages to the text that a model was trained to continue.
//!
//! Templates are Jinja as transformers runs it (`utils/chat_template_utils.py`): blocks trimmed, loop
//! controls, Python's string methods, `raise_exception`, `strftime_now` and a `tojson` that writes as
//! Python does. They come from files, so steps are counted and nothing outside can be reached.

mod dates;
mod python;

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use minijinja::{
    AutoEscape, Environment, Error as Failure, ErrorKind, Value, syntax::SyntaxConfig, value::Serde,
};
use serde::Serialize;

use crate::{Checkpoint, Error, Limits, Result, gguf::Metadata};

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A message.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

/// What a template is told besides the messages.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether the text ends where the assistant is to speak.
    pub add_generation_prompt: bool,
    /// Further variables by name, such as `enable_thinking`.
    pub variables: serde_json::Map<String, serde_json::Value>,
    /// The time that `strftime_now` gives, as UTC.
    pub now: SystemTime,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            add_generation_prompt: true,
            variables: serde_json::Map::new(),
            now: SystemTime::now(),
        }
    }
}

/// A model's chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    path: PathBuf,
    source: String,
    fuel: u64,
    bos: String,
    eos: String,
}

/// What the environment calls the template.
const NAME: &str = "tokenizer.chat_template";

impl ChatTemplate {
    /// The template of a checkpoint; none where it has none.
    ///
    /// # Errors
    /// [`Error::Malformed`] where it is no sound template.
    pub fn from_checkpoint(checkpoint: &Checkpoint, limits: &Limits) -> Result<Option<Self>> {
        Self::from_metadata(&checkpoint.metadata, checkpoint.path(), limits)
    }

    /// The template in GGUF keys; none where there is none. `path` is for the messages.
    ///
    /// # Errors
    /// As [`Self::from_checkpoint`].
    pub fn from_metadata(
        metadata: &Metadata,
        path: &Path,
        limits: &Limits,
    ) -> Result<Option<Self>> {
        let Some(source) = metadata.str(NAME) else { return Ok(None) };
        let token = |key: &str| {
            let id = usize::try_from(metadata.u64(key)?).ok()?;
            metadata.strings("tokenizer.ggml.tokens")?.get(id).cloned()
        };
        let [bos, eos] = ["tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"].map(token);
        let (bos, eos) = (bos.unwrap_or_default(), eos.unwrap_or_default());
        Self::new(path, source, bos, eos, limits).map(Some)
    }

    /// A template from its text, with the texts of the begin and end tokens.
    ///
    /// # Errors
    /// [`Error::Malformed`] where it is no sound template.
    pub fn new(
        path: &Path,
        source: &str,
        bos: impl Into<String>,
        eos: impl Into<String>,
        limits: &Limits,
    ) -> Result<Self> {
        let this = Self {
            path: path.to_owned(),
            source: without_generation_tags(source),
            fuel: limits.template_fuel,
            bos: bos.into(),
            eos: eos.into(),
        };
        this.environment(SystemTime::UNIX_EPOCH).map_err(|failure| this.error(&failure))?;
        Ok(this)
    }

    /// The text for a conversation.
    ///
    /// # Errors
    /// [`Error::Malformed`] where the template fails, or refuses the messages.
    pub fn render(&self, messages: &[Message], settings: &Settings) -> Result<String> {
        let environment = self.environment(settings.now).map_err(|failure| self.error(&failure))?;
        let mut variables: Vec<(&str, Value)> = settings
            .variables
            .iter()
            .map(|(key, value)| (key.as_str(), Value::from(Serde(value))))
            .collect();
        variables.extend([
            ("messages", Value::from(Serde(messages))),
            ("add_generation_prompt", settings.add_generation_prompt.into()),
            ("bos_token", self.bos.as_str().into()),
            ("eos_token", self.eos.as_str().into()),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
        ]);
        let context = Value::from_pairs(variables);
        environment
            .get_template(NAME)
            .and_then(|template| template.render(context))
            .map_err(|failure| self.error(&failure))
    }

    fn environment(&self, now: SystemTime) -> Result<Environment<'_>, Failure> {
        let mut environment = Environment::new();
        environment
            .set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(self.fuel));
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_formatter(python::print);
        environment.add_filter("tojson", python::to_json);
        environment.add_test("iterable", python::is_iterable);
        environment.add_function("raise_exception", |message: String| -> Result<(), Failure> {
            Err(Failure::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", move |format: String| dates::format(now, &format));
        environment.add_template(NAME, &self.source)?;
        Ok(environment)
    }

    fn error(&self, failure: &Failure) -> Error {
        let place = match failure.line() {
            Some(line) => format!("{NAME}, line {line}"),
            None => NAME.to_owned(),
        };
        let said = failure.detail().map_or_else(|| failure.to_string(), ToOwned::to_owned);
        Error::malformed(&self.path, place, said)
    }
}

/// Makes transformers' `{% generation %}`, which marks text and does nothing to it, a plain block.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, after)) = rest.split_once("{%") {
        out.push_str(before);
        out.push_str("{%");
        rest = after;
        let Some((tag, behind)) = after.split_once("%}") else { break };
        let word = tag.trim_matches(|c: char| c.is_whitespace() || matches!(c, '-' | '+'));
        let plain = match word {
            "generation" => "if true",
            "endgeneration" => "endif",
            _ => continue,
        };
        out.push_str(&tag.replacen(word, plain, 1));
        out.push_str("%}");
        rest = behind;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests;
