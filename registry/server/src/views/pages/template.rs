//! What the pages show, as the templates take it: text that is ready to be read.

use askama::Template;

use super::commands::Command;

/// What every page has around it.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// The host by which the reader came.
    pub(crate) host: String,
    /// What was searched for.
    pub(crate) query: String,
    /// Address of the style sheet.
    pub(crate) style: String,
    /// Of this program.
    pub(crate) version: &'static str,
}

/// All repositories, or those that match.
#[derive(Debug, Template)]
#[template(path = "home.html")]
pub(crate) struct Home {
    pub(crate) frame: Frame,
    pub(crate) entries: Vec<Entry>,
    /// Whether earlier pages of the list came before.
    pub(crate) continued: bool,
    /// Address of the next page.
    pub(crate) next: Option<String>,
    /// How to push, for an empty registry.
    pub(crate) commands: Vec<Command>,
}

/// A repository in the list.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) repo: String,
    pub(crate) title: String,
    pub(crate) facts: Vec<(&'static str, String)>,
    pub(crate) tags: Vec<String>,
    pub(crate) more_tags: usize,
}

/// One repository.
#[derive(Debug, Template)]
#[template(path = "repository.html")]
pub(crate) struct Repository {
    pub(crate) frame: Frame,
    pub(crate) repo: String,
    pub(crate) about: String,
    /// The tag that `main` means.
    pub(crate) main: String,
    pub(crate) command: Option<Command>,
    pub(crate) rows: Vec<TagRow>,
    pub(crate) next: Option<String>,
    /// SVG.
    pub(crate) plot: Option<String>,
}

/// A tag of a repository.
#[derive(Debug)]
pub(crate) struct TagRow {
    pub(crate) tag: String,
    pub(crate) kind: String,
    pub(crate) parameters: String,
    pub(crate) bits: String,
    pub(crate) size: String,
    pub(crate) divergence: String,
    pub(crate) day: String,
    pub(crate) stamp: String,
}

/// One model.
#[derive(Debug, Template)]
#[template(path = "model.html")]
pub(crate) struct Model {
    pub(crate) frame: Frame,
    pub(crate) repo: String,
    /// `:` or `@`.
    pub(crate) mark: &'static str,
    /// The tag, or the digest's beginning.
    pub(crate) short: String,
    pub(crate) about: String,
    pub(crate) warnings: Vec<String>,
    pub(crate) commands: Vec<Command>,
    pub(crate) facts: Vec<(&'static str, String)>,
    pub(crate) day: String,
    pub(crate) stamp: String,
    pub(crate) digest: String,
    pub(crate) evaluation: Option<Evaluation>,
    pub(crate) types: Vec<TypeRow>,
    pub(crate) files: Vec<FileRow>,
    pub(crate) more_files: usize,
    pub(crate) recipe: Option<String>,
    pub(crate) referrers: Vec<ReferrerRow>,
    /// HTML that [`super::card::render`] has made safe.
    pub(crate) card: Option<String>,
    pub(crate) card_cut: bool,
}

/// How good a model is.
#[derive(Debug)]
pub(crate) struct Evaluation {
    pub(crate) figures: Vec<(&'static str, String)>,
    /// SVG.
    pub(crate) plot: Option<String>,
    pub(crate) protocol: String,
}

/// How much of a model is stored in one type.
#[derive(Debug)]
pub(crate) struct TypeRow {
    pub(crate) name: String,
    pub(crate) tensors: String,
    pub(crate) parameters: String,
    pub(crate) size: String,
    /// Of 100.
    pub(crate) share: String,
    pub(crate) percent: String,
}

/// A file of a model.
#[derive(Debug)]
pub(crate) struct FileRow {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) size: String,
    pub(crate) href: String,
    /// The name to save it under.
    pub(crate) download: String,
    pub(crate) digest: String,
    pub(crate) short: String,
}

/// A manifest that refers to a model.
#[derive(Debug)]
pub(crate) struct ReferrerRow {
    pub(crate) name: String,
    pub(crate) size: String,
    pub(crate) href: String,
    pub(crate) digest: String,
    pub(crate) short: String,
}

/// Something that is not there, or went wrong.
#[derive(Debug, Template)]
#[template(path = "problem.html")]
pub(crate) struct Problem {
    pub(crate) frame: Frame,
    pub(crate) title: String,
    pub(crate) text: String,
}
