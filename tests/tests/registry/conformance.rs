//! The OCI conformance suite at its newest level, with every switch on.

use std::{fs, process::Command};

use mdl_tests::{Place, client, need, server::Server};

/// Switches that are off unless they are named.
const SWITCHES: [&str; 5] = [
    "OCI_API_BLOBS_UPLOAD_CANCEL",
    "OCI_API_BLOBS_DIGEST_HEADER",
    "OCI_API_MANIFESTS_DIGEST_HEADER",
    "OCI_API_MANIFESTS_TAG_PARAM",
    "OCI_DATA_SPARSE",
];

#[test]
fn every_check_passes() {
    let suite = need!(client("conformance"));
    let place = Place::new();
    let server = Server::start(&place.path("root"));
    let mut command = Command::new(suite);
    command
        .current_dir(place.folder())
        .env("OCI_REGISTRY", &server.host)
        .env("OCI_TLS", "disabled");
    command.env("OCI_VERSION", "dev").envs(SWITCHES.map(|name| (name, "true")));
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}\n{}", String::from_utf8_lossy(&done.stderr));
    let report = fs::read_to_string(place.path("results/junit.xml")).unwrap();
    let total = report.split('<').find(|tag| tag.starts_with("testsuites")).unwrap();
    let count = |name: &str| -> u32 {
        let (_, rest) = total.split_once(&format!(" {name}=\"")).unwrap_or(("", "0\""));
        rest.split('"').next().unwrap().parse().unwrap()
    };
    assert!(count("tests") >= 1024, "{total}");
    for bad in ["failures", "errors", "skipped", "disabled"] {
        assert_eq!(count(bad), 0, "{bad}: {total}");
    }
}
