//! The page of one model.

use mdl_store::{Digest, Name, Reference, Referrer, Result, Store, StoredManifest, TagInfo};

use super::{
    super::{
        derive,
        hf::revision::{commit_of, main_of},
        known::{Known, KnownFile, KnownType},
        origin::Origin,
        report::{self, Report},
        units::{Day, Size, count, figure, grouped},
    },
    card, commands, frame, plot,
    template::{Evaluation, FileRow, Model, ReferrerRow, TypeRow},
};

/// Files that are listed.
const FILES: usize = 500;

/// Referrers that are listed.
const REFERRERS: usize = 100;

/// Bytes of a recipe that are shown.
const RECIPE_BYTES: usize = 256 << 10;

/// Tags of a repository that are looked at.
const TAGS: usize = 10_000;

/// The page of a manifest that was asked for by `reference`.
pub(super) fn model(
    store: &dyn Store,
    origin: &Origin,
    repo: &Name,
    reference: &Reference,
) -> Result<Model> {
    let manifest = store.manifest(repo, reference)?;
    let known = derive::known(store, repo, &manifest)?;
    let tags = store.tags(repo, None, TAGS).map(|page| page.items).unwrap_or_default();
    let referrers = store.referrers(repo, &manifest.digest)?;
    let report = report::evaluation(store, repo, &referrers)?;
    let (card, card_cut) = shown_card(store, repo, &known)?;
    let (mark, short) = match reference {
        Reference::Tag(tag) => (":", tag.to_string()),
        Reference::Digest(digest) => ("@", shortened(digest)),
    };
    let day = Day::of(manifest.pushed);
    Ok(Model {
        frame: frame(origin, ""),
        repo: repo.to_string(),
        mark,
        short,
        about: known.title.clone().unwrap_or_default(),
        warnings: known.notes.clone(),
        commands: commands(origin, repo, reference, &manifest, &known, &tags),
        facts: facts(&known, &manifest, &tags),
        day: day.shown(),
        stamp: day.timestamp(),
        digest: manifest.digest.to_string(),
        evaluation: evaluation(&known, report.as_ref()),
        types: types(&known.types),
        files: known.files.iter().take(FILES).map(|file| file_row(repo, file)).collect(),
        more_files: known.files.len().saturating_sub(FILES),
        recipe: report::recipe(store, repo, &referrers, RECIPE_BYTES)?,
        referrers: referrers.iter().take(REFERRERS).map(|it| referrer_row(repo, it)).collect(),
        card,
        card_cut,
    })
}

fn commands(
    origin: &Origin,
    repo: &Name,
    reference: &Reference,
    manifest: &StoredManifest,
    known: &Known,
    tags: &[TagInfo],
) -> Vec<commands::Command> {
    let tag = match reference {
        Reference::Tag(tag) => Some(tag.as_str()),
        Reference::Digest(_) => None,
    };
    let is_main = tag.is_some() && main_of(tags).is_some_and(|it| Some(it.tag.as_str()) == tag);
    let subject = commands::Subject {
        repo,
        tag,
        digest: &manifest.digest.to_string(),
        commit: &commit_of(&manifest.digest),
        is_main,
        gguf: known.gguf().map(|file| file.name.as_str()),
        is_folder: known.is_folder(),
    };
    commands::pull(origin, &subject)
}

fn facts(
    known: &Known,
    manifest: &StoredManifest,
    tags: &[TagInfo],
) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let mut put = |label, value: Option<String>| facts.extend(value.map(|value| (label, value)));
    put("Kind", Some(known.kind.clone()));
    put("Family", known.family.clone());
    put("Parameters", known.parameters.map(count));
    put("Quantization", known.quantization.clone());
    put("Bits per weight", known.bits_per_weight.map(|bits| format!("{bits:.2}")));
    put("Size", Some(Size(known.bytes()).to_string()));
    put("Context", known.context.map(|tokens| format!("{} tokens", grouped(tokens))));
    put("Layers", known.layers.map(grouped));
    put("Tokenizer", known.tokenizer.clone());
    put("Chat template", known.template.map(|is| if is { "yes" } else { "none" }.to_owned()));
    put("Licence", Some(known.licence.clone().unwrap_or_else(|| "not stated".to_owned())));
    put("Made from", known.base.clone());
    let same = tags.iter().filter(|info| info.digest == manifest.digest);
    let same: Vec<&str> = same.take(8).map(|info| info.tag.as_str()).collect();
    put("Tags", (!same.is_empty()).then(|| same.join(", ")));
    facts
}

/// Figures of the report that refers to the model, else those that its manifest carries.
fn evaluation(known: &Known, report: Option<&Report>) -> Option<Evaluation> {
    let mut figures = Vec::new();
    let mut put = |label, value: Option<String>| figures.extend(value.map(|value| (label, value)));
    let percent = |value: f64| format!("{:.2} %", value * 100.0);
    let (mut plot, mut protocol) = (None, String::new());
    if let Some(report) = report {
        if let Some(divergence) = &report.divergence {
            put("Mean KL divergence", Some(divergence.kld.mean.shown()));
            put("Median", Some(figure(divergence.kld.median)));
            put("99th percentile", Some(figure(divergence.kld.p99)));
            put("Same top token", Some(percent(divergence.same_top.value)));
            put("Perplexity", Some(report.perplexity.shown()));
            put("Perplexity of the original", Some(divergence.perplexity_base.shown()));
            put("Ratio", Some(divergence.perplexity_ratio.shown()));
            let points = divergence.kld.points();
            plot = plot::percentiles("kld", "KL divergence by percentile", "nats", &points);
        } else {
            put("Perplexity", Some(report.perplexity.shown()));
        }
        protocol = format!(
            "Measured over {} positions in {} chunks of {} tokens.",
            grouped(report.tokens),
            grouped(report.chunks),
            grouped(report.context),
        );
    } else {
        put("Mean KL divergence", known.divergence.map(figure));
        put("Same top token", known.same_top.map(percent));
        put("Perplexity", known.perplexity.map(figure));
    }
    (!figures.is_empty()).then_some(Evaluation { figures, plot, protocol })
}

fn types(types: &[KnownType]) -> Vec<TypeRow> {
    let all = types.iter().fold(0_u64, |sum, ty| sum.saturating_add(ty.bytes)).max(1);
    let row = |ty: &KnownType| {
        let share = ty.bytes as f64 / all as f64 * 100.0;
        TypeRow {
            name: ty.name.clone(),
            tensors: grouped(ty.tensors),
            parameters: count(ty.parameters),
            size: Size(ty.bytes).to_string(),
            share: format!("{share:.1}"),
            percent: if share < 1.0 { "< 1 %".to_owned() } else { format!("{share:.0} %") },
        }
    };
    types.iter().map(row).collect()
}

fn file_row(repo: &Name, file: &KnownFile) -> FileRow {
    FileRow {
        name: file.name.clone(),
        kind: file.kind.shown(),
        size: Size(file.size).to_string(),
        href: format!("/v2/{repo}/blobs/{}", file.digest),
        download: file.name.rsplit('/').next().unwrap_or_default().to_owned(),
        short: file.digest().as_ref().map(shortened).unwrap_or_default(),
        digest: file.digest.clone(),
    }
}

fn referrer_row(repo: &Name, referrer: &Referrer) -> ReferrerRow {
    let digest = &referrer.descriptor.digest;
    ReferrerRow {
        name: report::name_of(referrer),
        size: Size(referrer.descriptor.size).to_string(),
        href: format!("/v2/{repo}/manifests/{digest}"),
        digest: digest.to_string(),
        short: shortened(digest),
    }
}

/// A digest's beginning.
fn shortened(digest: &Digest) -> String {
    let hex: String = digest.hex().chars().take(12).collect();
    format!("{}:{hex}…", digest.algorithm().name())
}

/// The model card as safe HTML, and whether it was cut.
fn shown_card(store: &dyn Store, repo: &Name, known: &Known) -> Result<(Option<String>, bool)> {
    let Some(file) = known.card() else { return Ok((None, false)) };
    let Some(digest) = file.digest() else { return Ok((None, false)) };
    let Some(bytes) = derive::beginning(store, repo, &digest, card::SHOWN_BYTES)? else {
        return Ok((None, false));
    };
    let text = String::from_utf8_lossy(&bytes);
    let html = card::render(&text);
    let is_cut = file.size > bytes.len() as u64;
    Ok(((!html.trim().is_empty()).then_some(html), is_cut))
}
