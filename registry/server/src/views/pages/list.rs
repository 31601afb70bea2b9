//! The pages of lists: all repositories, and the tags of one.

use mdl_store::{Name, Reference, Result, Store, TagInfo};
use url::form_urlencoded;

use super::{
    super::{
        derive,
        hf::revision::{commit_of, main_of},
        known::Known,
        origin::Origin,
        units::{Day, Size, count, figure},
    },
    commands, frame, plot,
    template::{Entry, Home, Repository, TagRow},
};

/// Repositories on a page.
const ENTRIES: usize = 48;

/// Repositories that a search looks at.
const SEARCHED: usize = 20_000;

/// Tags that are shown with a repository.
const TAGS_SHOWN: usize = 6;

/// Tags of a repository that are looked at.
const TAGS: usize = 10_000;

/// Tags on a page of a repository.
const ROWS: usize = 100;

/// The list of repositories, those after `after`, that match `query`.
pub(super) fn home(
    store: &dyn Store,
    origin: &Origin,
    query: &str,
    after: Option<&str>,
) -> Result<Home> {
    let words: Vec<String> = query.split_whitespace().map(str::to_lowercase).collect();
    let repos = store.repositories(after, SEARCHED)?;
    let (mut entries, mut next): (Vec<Entry>, Option<String>) = (Vec::new(), None);
    for repo in &repos.items {
        if entries.len() == ENTRIES {
            next = entries.last().map(|entry| entry.repo.clone());
            break;
        }
        if let Some(seen) = seen(store, repo)?
            && seen.matches(&words)
        {
            entries.push(seen.entry());
        }
    }
    if next.is_none() && repos.more {
        next = repos.items.last().map(ToString::to_string);
    }
    let next = next.map(|last| {
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        if !query.is_empty() {
            pairs.append_pair("q", query);
        }
        format!("/?{}", pairs.append_pair("after", &last).finish())
    });
    let commands = commands::push(origin);
    Ok(Home { frame: frame(origin, query), entries, continued: after.is_some(), next, commands })
}

/// A repository with what is known of its main model.
struct Seen<'a> {
    repo: &'a Name,
    tags: Vec<TagInfo>,
    known: Known,
    updated: u64,
}

/// Looks at a repository; `None` where it has no tags.
fn seen<'a>(store: &dyn Store, repo: &'a Name) -> Result<Option<Seen<'a>>> {
    let Some(tags) = tags(store, repo)? else { return Ok(None) };
    let Some(main) = main_of(&tags) else { return Ok(None) };
    let Some(known) = known_of(store, repo, main)? else { return Ok(None) };
    let updated = tags.iter().map(|info| info.updated).max().unwrap_or(0);
    Ok(Some(Seen { repo, tags, known, updated }))
}

/// The tags of a repository, without those of attachments, what `main` means first and then the newest first.
fn tags(store: &dyn Store, repo: &Name) -> Result<Option<Vec<TagInfo>>> {
    let mut tags = match store.tags(repo, None, TAGS) {
        Ok(page) => page.items,
        Err(mdl_store::Error::NameUnknown(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    tags.retain(|info| !info.tag.is_attachment());
    let main = main_of(&tags).map(|info| info.tag.clone());
    tags.sort_by(|a, b| {
        let key =
            |info: &TagInfo| (Some(&info.tag) != main.as_ref(), std::cmp::Reverse(info.updated));
        key(a).cmp(&key(b)).then_with(|| a.tag.cmp(&b.tag))
    });
    Ok(Some(tags))
}

/// What is known of a tag's model; `None` where it was deleted meanwhile.
fn known_of(store: &dyn Store, repo: &Name, tag: &TagInfo) -> Result<Option<Known>> {
    match store.manifest(repo, &Reference::Digest(tag.digest.clone())) {
        Ok(manifest) => derive::known(store, repo, &manifest).map(Some),
        Err(mdl_store::Error::ManifestUnknown { .. } | mdl_store::Error::NameUnknown(_)) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl Seen<'_> {
    /// Whether every word is in the name, a tag, or what is known of the main model.
    fn matches(&self, words: &[String]) -> bool {
        let known = &self.known;
        let texts = [&known.title, &known.family, &known.quantization, &known.licence];
        let mut all = format!("{} {}", self.repo, known.kind);
        for text in texts.into_iter().flatten().map(String::as_str) {
            all.push(' ');
            all.push_str(text);
        }
        for info in &self.tags {
            all.push(' ');
            all.push_str(info.tag.as_str());
        }
        let all = all.to_lowercase();
        words.iter().all(|word| all.contains(word))
    }

    fn entry(&self) -> Entry {
        let known = &self.known;
        let mut facts = Vec::new();
        let mut put =
            |label, value: Option<String>| facts.extend(value.map(|value| (label, value)));
        put("Family", known.family.clone());
        put("Parameters", known.parameters.map(count));
        put("Quantization", known.quantization.clone());
        put("Size", Some(Size(known.bytes()).to_string()));
        put("Licence", known.licence.clone());
        put("Pushed", Some(Day::of(self.updated).shown()));
        let tags = self.tags.iter().take(TAGS_SHOWN).map(|info| info.tag.to_string()).collect();
        Entry {
            repo: self.repo.to_string(),
            title: known.title.clone().unwrap_or_default(),
            facts,
            tags,
            more_tags: self.tags.len().saturating_sub(TAGS_SHOWN),
        }
    }
}

/// A repository with its tags, those from `start` on; `None` where there is no such repository.
pub(super) fn repository(
    store: &dyn Store,
    origin: &Origin,
    repo: &Name,
    start: usize,
) -> Result<Option<Repository>> {
    let Some(tags) = tags(store, repo)? else { return Ok(None) };
    let Some(main) = main_of(&tags) else { return Ok(None) };
    let known = known_of(store, repo, main)?.unwrap_or_default();
    let subject = commands::Subject {
        repo,
        tag: Some(main.tag.as_str()),
        digest: "",
        commit: &commit_of(&main.digest),
        is_main: true,
        gguf: None,
        is_folder: false,
    };
    let (mut rows, mut rivals) = (Vec::new(), Vec::new());
    for info in tags.iter().skip(start).take(ROWS) {
        let Some(known) = known_of(store, repo, info)? else { continue };
        rivals.extend(known.divergence.map(|value| (info.tag.to_string(), known.bytes(), value)));
        rows.push(row(info, &known));
    }
    let rivals: Vec<plot::Rival<'_>> = rivals
        .iter()
        .map(|(name, bytes, value)| plot::Rival { name, bytes: *bytes, value: *value })
        .collect();
    let plot = (rivals.len() > 1).then(|| {
        plot::rivals("rivals", "Mean KL divergence by size", "mean KL divergence", &rivals)
    });
    let end = start.saturating_add(ROWS);
    Ok(Some(Repository {
        frame: frame(origin, ""),
        repo: repo.to_string(),
        about: known.title.unwrap_or_default(),
        main: main.tag.to_string(),
        command: Some(commands::mdl_pull(origin, &subject)),
        rows,
        next: (end < tags.len()).then(|| format!("/{repo}?start={end}")),
        plot: plot.flatten(),
    }))
}

fn row(info: &TagInfo, known: &Known) -> TagRow {
    let day = Day::of(info.updated);
    let quantization = known.quantization.as_deref();
    TagRow {
        tag: info.tag.to_string(),
        kind: match quantization {
            Some(quantization) => format!("{} {quantization}", known.kind),
            None => known.kind.clone(),
        },
        parameters: known.parameters.map(count).unwrap_or_default(),
        bits: known.bits_per_weight.map(|bits| format!("{bits:.2}")).unwrap_or_default(),
        size: Size(known.bytes()).to_string(),
        divergence: known.divergence.map(figure).unwrap_or_default(),
        day: day.shown(),
        stamp: day.timestamp(),
    }
}
