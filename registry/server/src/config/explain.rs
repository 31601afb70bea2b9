//! What a configuration means, in sentences.

use super::{Config, LogFormat};

/// A line for each thing that was decided.
pub fn explain(config: &Config) -> Vec<String> {
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let mut lines = vec![format!("listens on {scheme}://{}", config.listen)];
    match &config.root {
        Some(root) => lines.push(format!("keeps its data in {}", root.display())),
        None => lines.push("keeps its data in the folder `registry` in MDL_HOME".to_owned()),
    }
    lines.push(match &config.public_url {
        Some(url) => format!("is reached at {url}: absolute addresses say so"),
        None => "absolute addresses follow the host by which a client came".to_owned(),
    });
    if let Some(tls) = &config.tls {
        let (certificate, key) = (tls.certificate.display(), tls.key.display());
        lines.push(format!("speaks TLS with {certificate} and {key}, read again at SIGHUP"));
    }
    access(config, &mut lines);
    let limits = &config.limits;
    lines.push(format!(
        "takes {} connections, {} requests and {} uploads at once, and {} unfinished uploads",
        limits.connections, limits.requests, limits.uploads, limits.sessions
    ));
    lines.push(format!("takes manifests up to {}, blobs up to {}", limits.manifest, limits.blob));
    let times = &config.timeouts;
    lines.push(format!(
        "ends a connection after {} without a request, a request after {} without a byte",
        times.head, times.idle
    ));
    lines.push(format!("gives requests {} to end when it stops", times.stop));
    let keep = &config.keep;
    lines.push(format!(
        "keeps a blob that nothing refers to for {}, an upload that nobody continues for {}",
        keep.lease, keep.upload
    ));
    lines.push(match keep.untagged.0 {
        None => "keeps manifests without a tag".to_owned(),
        Some(_) => format!("collects manifests without a tag after {}", keep.untagged),
    });
    lines.push(match config.collect.interval.0 {
        None => "collects garbage only when told to".to_owned(),
        Some(_) => format!("collects garbage every {}", config.collect.interval),
    });
    let format = match config.access_log.format {
        LogFormat::Json => "JSON",
        LogFormat::Common => "the combined log format",
    };
    lines.push(match config.access_log.to.to_str() {
        Some("off") => "logs no requests".to_owned(),
        _ => format!("logs requests to {} as {format}", config.access_log.to.display()),
    });
    lines.push(audit(config));
    lines
}

/// The log of who did what.
fn audit(config: &Config) -> String {
    let Some(audit) = &config.audit else {
        return "from the first account on, records who did what in audit.jsonl beside its data"
            .to_owned();
    };
    if audit.is_off() {
        return "records nowhere who did what".to_owned();
    }
    let to = audit.to.as_ref().map(|to| to.display().to_string());
    let to = to.unwrap_or_else(|| "audit.jsonl beside its data".to_owned());
    let pulls = if audit.pulls { "" } else { ", but not what is read" };
    format!("records who did what in {to}{pulls}; `mdl registry audit verify` checks it")
}

/// Who is asked who they are, and who may do what.
fn access(config: &Config, lines: &mut Vec<String>) {
    if config.auth.is_none() && config.policy.is_empty() {
        lines.push(
            "while there are no accounts, everybody who can reach it may do everything; \
             from the first (`mdl registry user add`) on, only those who have one"
                .to_owned(),
        );
        return;
    }
    if let Some(file) = config.auth.as_ref().and_then(|auth| auth.htpasswd.as_ref()) {
        lines.push(format!("takes accounts from {} too", file.display()));
    }
    if config.policy.is_empty() {
        lines.push("every account may pull, push and delete everywhere; others nothing".to_owned());
    }
    for line in &config.policy {
        let actions: Vec<&str> = line.actions.iter().map(|it| it.name()).collect();
        lines.push(format!(
            "{} may {} in {}",
            line.subjects.join(", "),
            actions.join(", "),
            line.repositories.join(", ")
        ));
    }
}
