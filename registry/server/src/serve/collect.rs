//! Collection of garbage while the registry serves.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mdl_store::Maintain as _;

use crate::{
    app::{App, now},
    audit,
};

/// How often it looks whether it is time: the interval may have been changed.
const LOOK: Duration = Duration::from_secs(30);

/// Lets tags go that are to be kept no longer.
async fn retain(app: &Arc<App>) {
    let retaining = app.config().retaining();
    if retaining.is_empty() {
        return;
    }
    let files = app.files.clone();
    let retained =
        tokio::task::spawn_blocking(move || files.retain(&retaining.choice(now()), false));
    match retained.await {
        Ok(Ok(gone)) => {
            if !gone.is_empty() {
                app.noted(audit::Event::retained(&gone));
            }
            for (repository, tags) in gone {
                let names: Vec<&str> = tags.iter().map(|it| it.tag.as_str()).collect();
                tracing::info!("tags of {repository} are kept no longer: {}", names.join(", "));
            }
        }
        Ok(Err(error)) => tracing::error!("retention failed: {error}"),
        Err(failed) => tracing::error!("retention failed: {failed}"),
    }
}

/// Collects at every interval, until the registry stops.
pub(super) async fn run(app: Arc<App>) {
    let mut last = Instant::now();
    loop {
        let interval = app.config().collect.interval.0;
        let look = interval.map_or(LOOK, |interval| interval.min(LOOK));
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = tokio::time::sleep(look) => {}
        }
        let due = app.config().collect.interval.0.is_some_and(|every| last.elapsed() >= every);
        if !due {
            continue;
        }
        last = Instant::now();
        retain(&app).await;
        let files = app.files.clone();
        let Ok(collected) = tokio::task::spawn_blocking(move || files.collect(false)).await else {
            tracing::error!("a collection failed");
            continue;
        };
        match collected {
            Ok(found) => {
                app.metrics.collections.inc();
                app.metrics.collected.inc_by(found.bad_bytes);
                app.noted(audit::Event::collected(&found));
                tracing::info!("collected {} blobs, {} bytes", found.bad_blobs, found.bad_bytes);
            }
            Err(error) => tracing::error!("a collection failed: {error}"),
        }
    }
}
