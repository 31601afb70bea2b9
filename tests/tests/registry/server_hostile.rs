//! Requests that mean no good: each gets the right refusal, and the registry goes on.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use mdl_store::Digest;
use mdl_tests::{Place, http, server::Server};
use serde_json::json;

/// The most memory that a registry may need to refuse all this, in KiB.
const MEMORY: u64 = 256 << 10;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// It still serves, and has not grown.
fn sound(server: &Server) {
    assert_eq!(server.get("/healthz").status, 200);
    assert!(server.peak_memory() < MEMORY, "{} KiB", server.peak_memory());
}

/// A registry that holds the blob `hello` in `team/model`.
fn registry(place: &Place, settings: &str) -> (Server, String) {
    let server = Server::with(&place.path("root"), "127.0.0.1:0", settings);
    let digest = Digest::of(b"hello").to_string();
    let path = format!("/v2/team/model/blobs/uploads/?digest={digest}");
    assert_eq!(server.ask("POST", &path, &[], b"hello").status, 201);
    (server, digest)
}

/// A request, and the statuses that refuse it.
type Case<'a> = (&'a str, String, &'a [(&'a str, &'a str)], Vec<u8>, &'a [u16]);

fn refused(server: &Server, cases: &[Case<'_>]) {
    for (method, path, headers, body, statuses) in cases {
        let answer = server.ask(method, path, headers, body);
        let short: String = path.chars().take(120).collect();
        let said: String = answer.text().chars().take(300).collect();
        assert!(statuses.contains(&answer.status), "{method} {short}: {} {said}", answer.status);
        if answer.status >= 400 && !said.is_empty() && path.starts_with("/v2/") {
            assert!(answer.json()["errors"][0]["code"].is_string(), "{method} {short}: {said}");
        }
    }
    sound(server);
}

fn get(path: String, statuses: &'static [u16]) -> Case<'static> {
    ask("GET", path, b"", statuses)
}

fn ask(method: &'static str, path: String, body: &[u8], statuses: &'static [u16]) -> Case<'static> {
    (method, path, &[], body.to_vec(), statuses)
}

#[test]
fn names_that_are_none() {
    let place = Place::new();
    let (server, digest) = registry(&place, "");
    fs::write(place.path("secret"), "secret").unwrap();
    let long = "a".repeat(300);
    let mut cases: Vec<Case<'_>> = Vec::new();
    for name in [
        "../../etc",
        "..%2f..%2fetc",
        "%2e%2e/%2e%2e/secret",
        "a//b",
        "A/B",
        "a/.b",
        "-a",
        "a/b%00c",
        "a%0d%0ab",
        "a/b%c3%a9",
        "%ff%fe",
        &long,
        "a/_catalog/..",
        ".",
        "..",
    ] {
        cases.push(get(format!("/v2/{name}/manifests/latest"), &[400, 404]));
        cases.push(get(format!("/v2/{name}/blobs/{digest}"), &[400, 404]));
        cases.push(get(format!("/v2/{name}/tags/list"), &[400, 404]));
        cases.push(ask("POST", format!("/v2/{name}/blobs/uploads/"), b"", &[400, 404, 405]));
        cases.push(get(format!("/{name}/resolve/main/secret"), &[400, 404]));
        cases.push(get(format!("/api/models/{name}/tree/main"), &[400, 404]));
        cases.push(get(format!("/{name}"), &[400, 404]));
    }
    for file in ["..%2f..%2fsecret", "../../secret", "%2e%2e/secret", "/etc/passwd"] {
        cases.push(get(format!("/team/model/resolve/main/{file}"), &[400, 404]));
    }
    refused(&server, &cases);
    assert_eq!(fs::read_to_string(place.path("secret")).unwrap(), "secret");
    assert_eq!(server.get(&format!("/v2/team/model/blobs/{digest}")).body, b"hello");
}

#[test]
fn digests_tags_and_uploads_that_are_none() {
    let place = Place::new();
    let (server, digest) = registry(&place, "");
    let mut cases: Vec<Case<'_>> = Vec::new();
    for digest in [
        "sha256:zz",
        "sha256:",
        "sha256:..%2f..%2fsecret",
        &digest.to_uppercase(),
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        "sha256",
        "sha512:00",
        &digest[..70],
        &format!("{digest}0"),
        "sha256%3a%00",
    ] {
        let blobs = "/v2/team/model/blobs";
        cases.push(get(format!("{blobs}/{digest}"), &[400, 404]));
        cases.push(ask("DELETE", format!("{blobs}/{digest}"), b"", &[400, 404, 405]));
        cases.push(ask("POST", format!("{blobs}/uploads/?digest={digest}"), b"x", &[400]));
        let mount = format!("/v2/team/other/blobs/uploads/?mount={digest}&from=team/model");
        cases.push(ask("POST", mount, b"", &[400, 202]));
        cases.push(get(format!("/v2/team/model/referrers/{digest}"), &[400, 404]));
    }
    let long = "a".repeat(300);
    for tag in [".a", "-a", "a%2fb", "a%00", &long, "a%20b"] {
        let path = format!("/v2/team/model/manifests/{tag}");
        let typed: &[(&str, &str)] = &[("Content-Type", MANIFEST)];
        cases.push(("PUT", path, typed, b"{}".to_vec(), &[400, 404, 405]));
    }
    for upload in ["..%2f..%2fsecret", "../../secret", "x", &long, "%00"] {
        let path = format!("/v2/team/model/blobs/uploads/{upload}");
        cases.push(ask("PATCH", path.clone(), b"x", &[400, 404, 405]));
        cases.push(ask("PUT", format!("{path}?digest={digest}"), b"", &[400, 404, 405]));
        cases.push(ask("DELETE", path, b"", &[400, 404, 405]));
    }
    refused(&server, &cases);
}

#[test]
fn manifests_that_are_none() {
    let place = Place::new();
    let (server, digest) = registry(&place, "");
    let blob = json!({ "mediaType": "a/b", "digest": digest, "size": 5 });
    let sound_one =
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": blob, "layers": [blob] });
    let with = |key: &str, value: serde_json::Value| {
        let mut changed = sound_one.clone();
        changed[key] = value;
        changed.to_string().into_bytes()
    };
    let typed: &[(&str, &str)] = &[("Content-Type", MANIFEST)];
    let put = |body: Vec<u8>, statuses: &'static [u16]| -> Case<'_> {
        ("PUT", "/v2/team/model/manifests/v1".to_owned(), typed, body, statuses)
    };
    let wrong = Digest::of(b"other").to_string();
    let deep = |open: &str, close: &str| {
        format!("{{\"annotations\":{}{}}}", open.repeat(100_000), close.repeat(100_000))
            .into_bytes()
    };
    let many = vec![blob.clone(); 60_000];
    let cases: Vec<Case<'_>> = vec![
        put(Vec::new(), &[400]),
        put(b"no JSON".to_vec(), &[400]),
        put(b"[]".to_vec(), &[400]),
        put(b"\xff\xfe".to_vec(), &[400]),
        put(deep("[", "]"), &[400]),
        put(deep("{\"a\":", "}"), &[400]),
        put(vec![b' '; 9 << 20], &[413]),
        put(with("layers", json!(many)), &[413, 400]),
        put(
            with("layers", json!([{ "mediaType": "a/b", "digest": "sha256:../../x", "size": 5 }])),
            &[400],
        ),
        put(with("layers", json!([{ "mediaType": "a/b", "digest": digest, "size": -1 }])), &[400]),
        put(
            with("layers", json!([{ "mediaType": "a/b", "digest": digest, "size": 1e300 }])),
            &[400],
        ),
        put(with("layers", json!("none")), &[400]),
        put(with("config", json!(7)), &[400]),
        put(with("subject", json!({ "digest": "x" })), &[400]),
        put(with("schemaVersion", json!(1)), &[400]),
        ("PUT", format!("/v2/team/model/manifests/{wrong}"), typed, with("a", json!(1)), &[400]),
        (
            "PUT",
            "/v2/team/model/manifests/v1".to_owned(),
            &[("Content-Type", "text/html")],
            with("a", json!(1)),
            &[400, 415],
        ),
    ];
    refused(&server, &cases);
    assert_eq!(server.get("/v2/team/model/manifests/v1").status, 404);
    let answer = server.ask("PUT", "/v2/team/model/manifests/v1", typed, &with("a", json!(1)));
    assert_eq!(answer.status, 201, "{}", answer.text());
}

#[test]
fn heads_that_are_too_much_or_say_two_things() {
    let place = Place::new();
    let (server, _) = registry(&place, "[timeouts]\nhead = \"2s\"\nidle = \"2s\"\n");
    let huge = "x".repeat(1 << 20);
    let answer = |head: &str| {
        http::raw(&server.host, format!("{head}\r\n\r\n").as_bytes(), false).map(|it| it.status)
    };
    let host = format!("Host: {}", server.host);
    let many: Vec<String> = (0..1000).map(|index| format!("\r\nX-{index}: y")).collect();
    let many = many.concat();
    for (head, statuses) in [
        (format!("GET /v2/ HTTP/1.1\r\n{host}\r\nX: {huge}"), &[431, 400][..]),
        (format!("GET /v2/ HTTP/1.1\r\n{host}{many}"), &[431, 400]),
        (format!("GET /v2/{huge} HTTP/1.1\r\n{host}"), &[414, 400, 431]),
        (format!("GET /v2/ HTTP/1.1\r\n{host}\r\nHost: evil.example"), &[400]),
        ("GET /v2/ HTTP/1.1\r\nHost: evil.example".to_owned(), &[421]),
        ("GET /v2/ HTTP/1.1".to_owned(), &[400]),
        ("GET /v2/ HTTP/9.9".to_owned(), &[400, 505]),
        ("\0\0\0\0".to_owned(), &[400]),
        (
            format!(
                "POST /v2/a/b/blobs/uploads/ HTTP/1.1\r\n{host}\r\nOrigin: http://evil.example\r\nContent-Length: 0"
            ),
            &[403],
        ),
        (
            format!("DELETE /v2/a/manifests/b HTTP/1.1\r\n{host}\r\nSec-Fetch-Site: cross-site"),
            &[403],
        ),
        (format!("POST /v2/a/b/blobs/uploads/ HTTP/1.1\r\n{host}\r\nContent-Length: -1"), &[400]),
        (
            format!(
                "POST /v2/a/b/blobs/uploads/ HTTP/1.1\r\n{host}\r\nContent-Length: 5\r\nContent-Length: 6"
            ),
            &[400],
        ),
        (
            format!(
                "POST /v2/a/b/blobs/uploads/ HTTP/1.1\r\n{host}\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\nConnection: close\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\n{host}"
            ),
            &[400, 202],
        ),
        (
            format!(
                "POST /v2/a/b/blobs/uploads/ HTTP/1.1\r\n{host}\r\nTransfer-Encoding: gzip, chunked\r\nConnection: close\r\n\r\n0"
            ),
            &[400, 202, 501],
        ),
    ] {
        let short: String = head.chars().take(100).collect();
        match answer(&head) {
            Ok(status) => assert!(statuses.contains(&status), "{short}: {status}"),
            // Cut off before it has sent all: refused as well.
            Err(error) => {
                assert!(head.len() > 100_000 || head.starts_with('\0'), "{short}: {error}");
            }
        }
        assert_eq!(server.get("/healthz").status, 200, "{short}");
    }
    sound(&server);
}

#[test]
fn ranges_that_ask_too_much() {
    let place = Place::new();
    let (server, digest) = registry(&place, "");
    let path = format!("/v2/team/model/blobs/{digest}");
    let many = format!("bytes={}", vec!["0-"; 5000].join(","));
    for (range, status, body) in [
        ("bytes=1-3", 206, "ell"),
        ("bytes=-2", 206, "lo"),
        ("bytes=3-99999999999999999999", 206, "lo"),
        ("bytes=5-", 416, ""),
        ("bytes=9-10", 416, ""),
        ("bytes=-0", 416, ""),
        ("bytes=3-1", 416, ""),
        // No range of bytes: as if there were none.
        ("bytes=x-y", 200, "hello"),
        ("lines=1-2", 200, "hello"),
    ] {
        let answer = server.ask("GET", &path, &[("Range", range)], b"");
        assert_eq!(answer.status, status, "{range}: {}", answer.text());
        assert!(status == 416 || answer.text() == body, "{range}: {}", answer.text());
    }
    // Many ranges are never more than the whole.
    let answer = server.ask("GET", &path, &[("Range", &many)], b"");
    assert!(
        [200, 206, 416].contains(&answer.status) && answer.body.len() < 2000,
        "{}",
        answer.status
    );
    let session = server.ask("POST", "/v2/team/model/blobs/uploads/", &[], b"").location();
    for range in ["5-9", "0-99999999999999999999", "9-5", "a-b", "-"] {
        let answer = server.ask("PATCH", &session, &[("Content-Range", range)], b"hello");
        assert!(
            [400, 416].contains(&answer.status),
            "{range}: {} {}",
            answer.status,
            answer.text()
        );
    }
    assert_eq!(server.ask("PATCH", &session, &[("Content-Range", "0-4")], b"hello").status, 202);
    sound(&server);
}

#[test]
fn a_digest_that_changes_during_a_push() {
    let place = Place::new();
    let (server, _) = registry(&place, "");
    let (stated, other) = (Digest::of(b"stated").to_string(), Digest::of(b"other!").to_string());
    let begin = || server.ask("POST", "/v2/team/model/blobs/uploads/", &[], b"").location();
    let session = begin();
    assert_eq!(server.ask("PATCH", &session, &[], b"stated").status, 202);
    let answer = server.ask("PUT", &format!("{session}?digest={other}"), &[], b"");
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.text().contains("DIGEST_INVALID"));
    // That upload is gone, and neither blob is there.
    assert_eq!(server.ask("PUT", &format!("{session}?digest={stated}"), &[], b"").status, 404);
    for digest in [&stated, &other] {
        assert_eq!(server.get(&format!("/v2/team/model/blobs/{digest}")).status, 404);
    }
    let post = format!("/v2/team/model/blobs/uploads/?digest={stated}");
    assert_eq!(server.ask("POST", &post, &[], b"other!").status, 400);
    // A body that ends before its length is no blob, whatever its digest.
    let session = begin();
    let head = format!(
        "PUT {session}?digest={stated} HTTP/1.1\r\nHost: {}\r\nContent-Length: 100\r\n\r\nstated",
        server.host
    );
    let mut stream = TcpStream::connect(&server.host).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    drop(stream);
    thread::sleep(Duration::from_millis(200));
    assert_eq!(server.get(&format!("/v2/team/model/blobs/{stated}")).status, 404);
    sound(&server);
}

/// Reads until the other side closes; what came, and after how long.
fn until_closed(mut stream: TcpStream) -> (String, Duration) {
    let began = Instant::now();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut got = Vec::new();
    // A reset closes as well.
    let _ = stream.read_to_end(&mut got);
    (String::from_utf8_lossy(&got).into_owned(), began.elapsed())
}

#[test]
fn clients_that_send_nothing_or_almost_nothing() {
    let place = Place::new();
    let settings =
        "[timeouts]\nhead = \"1s\"\nidle = \"1s\"\n[limits]\nconnections = 40\nuploads = 4\n";
    let (server, digest) = registry(&place, settings);
    let host = &server.host;
    let session = server.ask("POST", "/v2/team/model/blobs/uploads/", &[], b"").location();
    let half =
        format!("PATCH {session} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000\r\n\r\nhel");
    for head in ["", "GET /v2/ HT", &format!("GET /v2/ HTTP/1.1\r\nHost: {host}\r\nX:"), &half] {
        let mut stream = TcpStream::connect(host).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let (got, took) = until_closed(stream);
        assert!(took < Duration::from_secs(8), "{head:?}: {took:?}");
        assert!(got.is_empty() || got.contains(" 408 "), "{head:?}: {got}");
    }
    // A byte now and then is no head.
    let mut dribble = TcpStream::connect(host).unwrap();
    let began = Instant::now();
    while dribble.write_all(b"G").is_ok() {
        assert!(began.elapsed() < Duration::from_secs(15), "a head may dribble for ever");
        thread::sleep(Duration::from_millis(200));
    }
    // What had arrived is kept.
    let status = server.get(&session);
    assert_eq!((status.status, status.header("range")), (204, Some("0-2")));
    // Many that hold connections: others are served all the same, at the latest when those are cut off.
    let held: Vec<TcpStream> = (0..200).filter_map(|_| TcpStream::connect(host).ok()).collect();
    let began = Instant::now();
    let path = format!("/v2/team/model/blobs/{digest}");
    while http::try_get(host, &path).is_none_or(|answer| answer.status != 200) {
        assert!(began.elapsed() < Duration::from_secs(20), "nobody else is served");
        thread::sleep(Duration::from_millis(50));
    }
    drop(held);
    // One that reads nothing of a large answer does not hold it for ever.
    sound(&server);
}

#[test]
fn more_uploads_than_are_taken() {
    let place = Place::new();
    let (server, _) = registry(&place, "[limits]\nuploads = 2\nsessions = 8\n");
    let host = &server.host;
    let begin = || server.ask("POST", "/v2/team/model/blobs/uploads/", &[], b"");
    let mut sessions = Vec::new();
    let last = loop {
        let answer = begin();
        if answer.status != 202 {
            break answer;
        }
        sessions.push(answer.location());
        assert!(sessions.len() < 20, "sessions without end");
    };
    assert_eq!(last.status, 429, "{}", last.text());
    assert!(last.header("retry-after").is_some());
    assert_eq!(sessions.len(), 8);
    let open: Vec<TcpStream> = sessions[..2]
        .iter()
        .map(|session| {
            let head =
                format!("PATCH {session} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9\r\n\r\nhel");
            let mut stream = TcpStream::connect(host).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    let third = server.ask("PATCH", &sessions[2], &[], b"hello");
    assert_eq!(third.status, 429, "{}", third.text());
    // The same session from two sides: one of them is told.
    let twice = server.ask("PATCH", &sessions[0], &[], b"hello");
    assert_eq!(twice.status, 429, "{}", twice.text());
    drop(open);
    let began = Instant::now();
    while server.ask("PATCH", &sessions[2], &[], b"hello").status != 202 {
        assert!(began.elapsed() < Duration::from_secs(10), "no room again");
        thread::sleep(Duration::from_millis(50));
    }
    sound(&server);
}
