//! Pages for people, rendered here and usable without scripts.

pub(crate) mod card;
pub(crate) mod commands;
pub(crate) mod plot;
pub(crate) mod template;

#[cfg(test)]
mod tests;
