//! The Go template for a model, from its own chat template.
//!
//! The model's template is rendered with marked messages; the texts around the marks are the turns. They are taken where
//! they give the same text as the model's template for further conversations. Where they do not, or it cannot be
//! rendered, the family's turns are taken.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use mdl_formats::{
    gguf::Metadata,
    template::{ChatTemplate, Message, Settings},
};

use super::{families, turns::Turns};
use crate::Limits;

/// A Go template, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The template in Ollama's variables.
    pub text: String,
    /// The family whose turns it has; `None` where they are those of the model's own template.
    pub family: Option<&'static str>,
}

/// Messages that stand nowhere else.
const SYSTEM: &str = "qzsysq";
const QUESTIONS: [&str; 2] = ["qzaskq", "qzmoreq"];
const ANSWERS: [&str; 2] = ["qzsayq", "qzthenq"];

/// The Go template for a model with these GGUF keys; `None` where it has no chat template, or one that is unlike all
/// that is known.
pub fn template(keys: &Metadata) -> Option<Template> {
    let source = keys.str("tokenizer.chat_template")?;
    let derived = ChatTemplate::from_metadata(keys, Path::new("model"), &Limits::default().formats)
        .ok()
        .flatten()
        .and_then(|chat| Probe { chat: &chat, bos: begin(keys) }.template());
    if let Some(text) = derived {
        return Some(Template { text, family: None });
    }
    let family = families::of(source)?;
    Some(Template { text: family.turns.go(), family: Some(family.name) })
}

/// The text of the token that Ollama puts before every prompt, so that a template must not.
fn begin(keys: &Metadata) -> Option<String> {
    if keys.bool("tokenizer.ggml.add_bos_token") == Some(false) {
        return None;
    }
    let id = usize::try_from(keys.u64("tokenizer.ggml.bos_token_id")?).ok()?;
    keys.strings("tokenizer.ggml.tokens")?.get(id).filter(|it| !it.is_empty()).cloned()
}

/// A chat template being tried.
struct Probe<'a> {
    chat: &'a ChatTemplate,
    bos: Option<String>,
}

impl Probe<'_> {
    fn template(&self) -> Option<String> {
        let [one, two] = QUESTIONS;
        let talk = self.render(&conversation(None, &[one, ANSWERS[0], two]))?;
        let (begin, rest) = talk.split_once(one)?;
        let (answer, rest) = rest.split_once(ANSWERS[0])?;
        let (question, last) = rest.split_once(two)?;
        let asked = self.render(&conversation(Some(SYSTEM), &[one]));
        let system = asked.as_deref().and_then(|text| {
            let (before, rest) = text.split_once(SYSTEM)?;
            Some([before, rest.split_once(one)?.0])
        });
        // Some templates refuse system messages: they are put before the question, as families without them do.
        let system = system.unwrap_or([begin, "\n\n"]);
        let turns = Turns { begin, system, answer, question, last };
        self.confirms(&turns, asked.is_some()).then(|| turns.go())
    }

    /// Whether the turns give what the template gives.
    fn confirms(&self, turns: &Turns<'_>, has_system: bool) -> bool {
        let [one, two] = QUESTIONS;
        let [say, then] = ANSWERS;
        let same = |system, said: &[&str]| {
            let messages = conversation(system, said);
            self.render(&messages).is_some_and(|text| text == turns.render(&messages))
        };
        same(None, &[one])
            && same(None, &[two, say, one, then, two])
            && (!has_system || same(Some(SYSTEM), &[two]))
    }

    /// What the template gives, without the begin token that Ollama adds; `None` where it refuses, or where the time of
    /// day is in it.
    fn render(&self, messages: &[Message]) -> Option<String> {
        let at = |seconds: u64| {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            self.chat.render(messages, &Settings { now, ..Settings::default() }).ok()
        };
        let text = at(0)?;
        if at(400_000_000).as_ref() != Some(&text) {
            return None;
        }
        let bos = self.bos.as_deref().unwrap_or_default();
        Some(text.strip_prefix(bos).unwrap_or(&text).to_owned())
    }
}

/// Questions and answers by turns, perhaps with a system message first.
fn conversation(system: Option<&str>, said: &[&str]) -> Vec<Message> {
    let first = system.map(|text| Message::new("system", text));
    let turns = said.iter().enumerate().map(|(index, text)| {
        Message::new(if index % 2 == 0 { "user" } else { "assistant" }, *text)
    });
    first.into_iter().chain(turns).collect()
}
