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
    rules(config, &mut lines);
    rates(config, &mut lines);
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
            "while there are no accounts, it listens on this machine alone, and everybody may do everything; \
             from the first (`mdl registry user add`) on, only those who have one"
                .to_owned(),
        );
        return;
    }
    if let Some(file) = config.auth.as_ref().and_then(|auth| auth.htpasswd.as_ref()) {
        lines.push(format!("takes accounts from {} too", file.display()));
    }
    for oidc in &config.oidc {
        let (issuer, audience, jwks) = (&oidc.issuer, &oidc.audience, &oidc.jwks);
        lines.push(format!(
            "takes tokens of {issuer} for {audience} that are signed with a key of {jwks}"
        ));
        for account in &oidc.account {
            let claims = account.claims.iter();
            let claims: Vec<String> =
                claims.map(|(name, fit)| format!("{name} is {fit}")).collect();
            lines.push(format!("{} is whose {}", account.name, claims.join(" and ")));
        }
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

/// What is demanded of what is kept, and for how long.
fn rules(config: &Config, lines: &mut Vec<String>) {
    if let Some(trust) = &config.trust {
        lines.push(format!(
            "shows what does not satisfy {} to those who may push there alone",
            trust.policy.display()
        ));
    }
    for it in &config.immutable {
        let (tags, places) = (it.tags.join(", "), it.repositories.join(", "));
        lines.push(format!("neither moves nor deletes the tags {tags} in {places}"));
    }
    for it in &config.quota {
        lines.push(match it.prefix.as_str() {
            "" => format!("holds at most {} in all", it.bytes),
            prefix => format!("holds at most {} in {prefix} and below it", it.bytes),
        });
    }
    for it in &config.retention {
        let mut kept: Vec<String> = it.tags.clone();
        kept.extend(it.newest.map(|newest| format!("the newest {newest} others")));
        kept.extend(it.younger.map(|span| format!("what was set in the last {span}")));
        let (kept, places) = (kept.join(", "), it.repositories.join(", "));
        lines.push(format!("of the tags in {places} keeps {kept}; the rest go when it collects"));
    }
}

/// How often somebody may ask.
fn rates(config: &Config, lines: &mut Vec<String>) {
    let rates = &config.rates;
    if let Some(rate) = rates.account.0 {
        lines.push(format!("takes {rate} requests of an account"));
    }
    if let Some(rate) = rates.address.0 {
        lines.push(format!("takes {rate} requests of an address without an account"));
    }
    lines.push(match rates.failures.0 {
        Some(rate) => format!("checks no more passwords of an address after {rate} that failed"),
        None => "checks passwords however many fail".to_owned(),
    });
    if !rates.proxies.is_empty() {
        let proxies: Vec<String> = rates.proxies.iter().map(ToString::to_string).collect();
        let proxies = proxies.join(", ");
        lines.push(format!("believes X-Forwarded-For where {proxies} says so, and nowhere else"));
    }
}
