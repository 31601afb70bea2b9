//! Figures for Prometheus.

use std::time::Duration;

use http::{Method, StatusCode};
use mdl_store::Stats;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use crate::{access::rates, audit};

/// What requests are told apart by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    method: &'static str,
    endpoint: &'static str,
    status: u16,
}

/// Which rate was exceeded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Exceeded {
    rate: &'static str,
}

/// What their times are told apart by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Timed {
    endpoint: &'static str,
}

/// All figures.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Kind, Counter>,
    beyond: Family<Exceeded, Counter>,
    seconds: Family<Timed, Histogram>,
    pub(crate) sent: Counter,
    pub(crate) received: Counter,
    pub(crate) connections: Gauge,
    pub(crate) refused: Counter,
    pub(crate) uploads: Gauge,
    pub(crate) lost_lines: Counter,
    pub(crate) collections: Counter,
    pub(crate) collected: Counter,
    blobs: Gauge,
    bytes: Gauge,
    manifests: Gauge,
    tags: Gauge,
    sessions: Gauge,
}

impl Metrics {
    pub(crate) fn new(audit: &audit::Figures) -> Self {
        let buckets: fn() -> Histogram = || Histogram::new(exponential_buckets(0.0005, 4.0, 10));
        let seconds = Family::new_with_constructor(buckets);
        let mut metrics = Self {
            registry: Registry::with_prefix("mdl"),
            requests: Family::default(),
            beyond: Family::default(),
            seconds,
            sent: Counter::default(),
            received: Counter::default(),
            connections: Gauge::default(),
            refused: Counter::default(),
            uploads: Gauge::default(),
            lost_lines: Counter::default(),
            collections: Counter::default(),
            collected: Counter::default(),
            blobs: Gauge::default(),
            bytes: Gauge::default(),
            manifests: Gauge::default(),
            tags: Gauge::default(),
            sessions: Gauge::default(),
        };
        metrics.register();
        metrics.register_audit(audit);
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("requests", "Requests that ended", self.requests.clone());
        let beyond = self.beyond.clone();
        registry.register("rate_refused", "Requests and logins beyond a rate", beyond);
        let seconds = self.seconds.clone();
        registry.register_with_unit("request", "Time of requests", Unit::Seconds, seconds);
        let (sent, received) = (self.sent.clone(), self.received.clone());
        registry.register_with_unit("sent", "Sent in bodies", Unit::Bytes, sent);
        registry.register_with_unit("received", "Received in bodies", Unit::Bytes, received);
        registry.register("connections", "Open connections", self.connections.clone());
        let refused = self.refused.clone();
        registry.register("connections_refused", "Connections beyond the limit", refused);
        registry.register("uploads", "Uploads being received", self.uploads.clone());
        let lost = self.lost_lines.clone();
        registry.register("access_log_lost_lines", "Lines the log could not take", lost);
        registry.register("collections", "Collections of garbage", self.collections.clone());
        let collected = self.collected.clone();
        registry.register_with_unit("collected", "Removed as garbage", Unit::Bytes, collected);
        registry.register("store_blobs", "Stored blobs", self.blobs.clone());
        let bytes = self.bytes.clone();
        registry.register_with_unit("store", "Stored in blobs", Unit::Bytes, bytes);
        registry.register(
            "store_manifests",
            "Manifests of all repositories",
            self.manifests.clone(),
        );
        registry.register("store_tags", "Tags of all repositories", self.tags.clone());
        registry.register("store_uploads", "Uploads not finished", self.sessions.clone());
    }

    fn register_audit(&mut self, audit: &audit::Figures) {
        let registry = &mut self.registry;
        registry.register("audit_lines", "Lines of the audit log", audit.lines.clone());
        let lost = "Pulls and refusals that the audit log could not take";
        registry.register("audit_lost_events", lost, audit.lost.clone());
        let failing = "1 while the audit log cannot be written, and nothing can be changed";
        registry.register("audit_failing", failing, audit.failing.clone());
    }

    /// A request ended.
    pub(crate) fn ended(
        &self,
        method: &Method,
        endpoint: &'static str,
        status: StatusCode,
        took: Duration,
    ) {
        // Methods that a client invents must not become figures.
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        let method = known.into_iter().find(|it| *it == method.as_str()).unwrap_or("other");
        self.requests.get_or_create(&Kind { method, endpoint, status: status.as_u16() }).inc();
        self.seconds.get_or_create(&Timed { endpoint }).observe(took.as_secs_f64());
    }

    /// A request or login went beyond a rate.
    pub(crate) fn beyond(&self, rate: rates::Kind) {
        let rate = match rate {
            rates::Kind::Account => "account",
            rates::Kind::Address => "address",
            rates::Kind::Failures => "failures",
        };
        self.beyond.get_or_create(&Exceeded { rate }).inc();
    }

    /// What the store holds.
    pub(crate) fn stored(&self, stats: &Stats) {
        let set = |gauge: &Gauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.blobs, stats.blobs);
        set(&self.bytes, stats.bytes);
        set(&self.manifests, stats.manifests);
        set(&self.tags, stats.tags);
        set(&self.sessions, stats.uploads);
    }

    /// All of them as text; empty where it cannot be written, which only a lack of memory can cause.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(_) => String::new(),
        }
    }
}
