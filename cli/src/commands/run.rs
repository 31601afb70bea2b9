//! `mdl run`: text from a prompt, or a conversation.

use std::{
    io::{self, BufRead, IsTerminal, Read},
    num::NonZeroUsize,
};

use mdl_formats::{
    Limits,
    template::{ChatTemplate, Message, Settings as TemplateSettings},
    tokenizer::{self, Tokenizer},
};
use mdl_infer::{Decoder, Ended, Outcome, Sampler, Sampling, Session, StopRules, generate};
use serde::Serialize;

use super::model::{self, Loaded};
use crate::{
    args::Run,
    failure::Failure,
    printer::Printer,
    progress::{INTERRUPTED, stop_on_interrupt},
    settings::Settings,
};

/// Positions to make room for where neither the user nor the model asks for fewer.
const CONTEXT: usize = 4096;

/// The shape of `--json`.
#[derive(Debug, Serialize)]
struct Output {
    version: u32,
    text: String,
    prompt_tokens: usize,
    tokens: Vec<u32>,
    ended: String,
}

pub(crate) fn run(args: &Run, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    stop_on_interrupt()?;
    let compute = model::compute(settings);
    let context = args.context.map(NonZeroUsize::get);
    let mut loaded = model::load(&args.model, &compute, args.activations, context)?;
    match context {
        Some(context) => model::warn_of_context(&args.model, &loaded, context, printer),
        None => loaded.model.limit_context(CONTEXT),
    }
    let mut talk = Talk::new(args, &loaded)?;
    talk.note_template(args, printer);
    if let Some(prompt) = prompt(args)? {
        return talk.answer_once(&prompt, args, printer);
    }
    talk.converse(args, printer)
}

/// The prompt from the flag or from standard input; none on a terminal.
fn prompt(args: &Run) -> Result<Option<String>, Failure> {
    if let Some(prompt) = &args.prompt {
        return Ok(Some(prompt.clone()));
    }
    if io::stdin().is_terminal() {
        return Ok(None);
    }
    let mut text = String::new();
    let read = io::stdin().lock().read_to_string(&mut text);
    read.map_err(|error| Failure::new(format!("standard input: {error}")))?;
    Ok(Some(text))
}

/// A model with what it takes to talk to it.
struct Talk<'m> {
    session: Session<'m>,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    sampler: Sampler,
    ends: Vec<u32>,
    messages: Vec<Message>,
}

impl<'m> Talk<'m> {
    fn new(args: &Run, loaded: &'m Loaded) -> Result<Self, Failure> {
        let tokenizer = model::tokenizer(loaded)?;
        let template = if args.raw {
            None
        } else {
            ChatTemplate::from_checkpoint(&loaded.checkpoint, &Limits::default())?
        };
        let sampling = Sampling {
            temperature: args.temperature,
            top_k: args.top_k,
            top_p: args.top_p,
            min_p: args.min_p,
            seed: args.seed,
        };
        let mut ends = mdl_infer::end_tokens(&loaded.checkpoint.metadata);
        ends.extend(tokenizer.ends());
        ends.sort_unstable();
        ends.dedup();
        let system = args.system.iter().map(|text| Message::new("system", text));
        Ok(Self {
            session: Session::new(&loaded.model),
            sampler: Sampler::new(sampling)?,
            messages: system.collect(),
            tokenizer,
            template,
            ends,
        })
    }

    /// A model that knows no conversations is given the words as they are.
    fn note_template(&self, args: &Run, printer: Printer) {
        if args.raw || self.template.is_some() {
            return;
        }
        if args.system.is_some() {
            printer.warn("the model has no chat template: --system has no effect");
        }
        printer.note(
            "The model has no chat template: it is given the prompt as it is, as with --raw.",
        );
    }

    /// The tokens of the conversation so far with the user's next message.
    fn tokens(&mut self, prompt: &str) -> Result<Vec<u32>, Failure> {
        let Some(template) = &self.template else {
            return Ok(self.tokenizer.encode(prompt, true, true)?);
        };
        self.messages.push(Message::new("user", prompt));
        let text = template.render(&self.messages, &TemplateSettings::default())?;
        // Templates write the begin token themselves where they want one.
        let begins = self
            .tokenizer
            .bos()
            .and_then(|id| self.tokenizer.token(id))
            .is_some_and(|bos| text.starts_with(bos));
        Ok(self.tokenizer.encode(&text, !begins, true)?)
    }

    fn generate(
        &mut self,
        prompt: &str,
        args: &Run,
        emit: &mut dyn FnMut(&str),
    ) -> Result<(usize, Outcome), Failure> {
        let tokens = self.tokens(prompt)?;
        let kept = self.session.keep_common(&tokens);
        let rules = StopRules {
            max_tokens: Some(args.max_tokens),
            stop: &args.stop,
            end_tokens: &self.ends,
            cancelled: Some(&INTERRUPTED),
        };
        let mut decoder = Pieces(Some(self.tokenizer.decoder(false)));
        let rest = tokens.get(kept..).unwrap_or_default();
        let outcome =
            generate(&mut self.session, &mut decoder, rest, &mut self.sampler, &rules, emit)
                .map_err(|error| self.explain(error))?;
        Ok((tokens.len(), outcome))
    }

    /// Says what to do where the context is too small for what has been said.
    fn explain(&self, error: mdl_infer::Error) -> Failure {
        let mdl_infer::Error::Context { needed, limit } = error else { return error.into() };
        let long = self.messages.iter().any(|message| message.role == "assistant");
        let what = if long { "conversation" } else { "prompt" };
        let trained = self.session.model().trained_context();
        let begin = if long { "begin a new one, or make" } else { "shorten it, or make" };
        Failure::new(format!("the {what} takes {needed} tokens, but the context holds {limit}"))
            .hint(format!("{begin} room with --context (the model was trained for {trained})"))
    }

    /// Why an answer was cut off, and what to do; nothing where it came to its end.
    fn cut_off(&self, ended: &Ended, args: &Run) -> Option<String> {
        match ended {
            Ended::MaxTokens => Some(format!(
                "[cut off after {} tokens: --max-tokens allows more]",
                args.max_tokens
            )),
            Ended::ContextFull => Some(format!(
                "[cut off: the context of {} tokens is full; --context makes room for more]",
                self.session.model().context()
            )),
            Ended::EndToken(_) | Ended::Stop(_) | Ended::Cancelled => None,
        }
    }

    fn answer_once(&mut self, prompt: &str, args: &Run, printer: Printer) -> Result<(), Failure> {
        let mut text = String::new();
        let mut shown = Ok(());
        let (prompt_tokens, outcome) = self.generate(prompt, args, &mut |piece| {
            text.push_str(piece);
            if !args.json && shown.is_ok() {
                shown = printer.piece(piece);
            }
        })?;
        shown?;
        if args.json {
            let ended = ended(&outcome.ended);
            return printer.json(&Output {
                version: 1,
                text,
                prompt_tokens,
                tokens: outcome.tokens,
                ended,
            });
        }
        printer.line("")?;
        if outcome.ended == Ended::Cancelled {
            return Err(Failure::new("interrupted").status(Failure::INTERRUPTED));
        }
        if let Some(why) = self.cut_off(&outcome.ended, args) {
            printer.note(why);
        }
        Ok(())
    }

    /// Line by line until the end of the input. Ctrl-C ends the answer, twice the program.
    fn converse(&mut self, args: &Run, printer: Printer) -> Result<(), Failure> {
        printer.note("Say something; Ctrl-D ends the conversation, Ctrl-C an answer.");
        loop {
            printer.piece("\n> ")?;
            let mut line = String::new();
            let read = io::stdin().lock().read_line(&mut line);
            if read.map_err(|error| Failure::new(format!("standard input: {error}")))? == 0 {
                return printer.line("");
            }
            if line.trim().is_empty() {
                continue;
            }
            // Ctrl-C at the prompt must not cut off the next answer.
            INTERRUPTED.store(false, std::sync::atomic::Ordering::Relaxed);
            let mut text = String::new();
            let (_, outcome) = self.generate(line.trim_end(), args, &mut |piece| {
                text.push_str(piece);
                // A closed output shows at the next prompt.
                let _ = printer.piece(piece);
            })?;
            INTERRUPTED.store(false, std::sync::atomic::Ordering::Relaxed);
            self.messages.push(Message::new("assistant", text));
            printer.line("")?;
            if let Some(why) = self.cut_off(&outcome.ended, args) {
                printer.note(why);
            }
        }
    }
}

fn ended(ended: &Ended) -> String {
    match ended {
        Ended::EndToken(token) => format!("end token {token}"),
        Ended::Stop(text) => format!("stop string {text:?}"),
        Ended::MaxTokens => "max tokens".to_owned(),
        Ended::ContextFull => "context full".to_owned(),
        Ended::Cancelled => "cancelled".to_owned(),
    }
}

/// The tokenizer's decoder as generation wants it.
struct Pieces<'t>(Option<tokenizer::Decoder<'t>>);

impl Decoder for Pieces<'_> {
    fn push(&mut self, token: u32) -> Result<String, String> {
        Ok(self.0.as_mut().map(|decoder| decoder.push(token)).unwrap_or_default())
    }

    fn finish(&mut self) -> String {
        self.0.take().map(tokenizer::Decoder::finish).unwrap_or_default()
    }
}
