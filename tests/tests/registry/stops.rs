//! A registry that is told to stop, that has no room left, or that reads its settings again.

use std::{
    fs,
    io::Write as _,
    net::TcpStream,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use mdl_store::{Digest, simulation::Rng};
use mdl_tests::{
    Place, http, mdl,
    server::{Server, free_port},
    strait::Strait,
};

/// Bytes that no compression makes fewer.
fn noise(size: usize) -> Vec<u8> {
    let mut rng = Rng::new(size as u64);
    (0..size).map(|_| rng.below(256) as u8).collect()
}

/// Begins an upload; the path of its session.
fn session(server: &Server, repo: &str) -> String {
    let answer = server.ask("POST", &format!("/v2/{repo}/blobs/uploads/"), &[], b"");
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.location()
}

/// Sends the head of a PATCH and part of its body, and leaves the connection open.
fn half_sent(server: &Server, path: &str, size: usize, part: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(&server.host).unwrap();
    let host = &server.host;
    let head = format!("PATCH {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {size}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(part).unwrap();
    stream
}

/// How many bytes a session holds.
fn held(server: &Server, path: &str) -> usize {
    let answer = server.get(path);
    assert_eq!(answer.status, 204, "{}", answer.text());
    let (_, last) = answer.header("range").unwrap().split_once('-').unwrap();
    last.parse::<usize>().unwrap() + 1
}

#[test]
fn a_stop_lets_an_upload_go_on_later() {
    let place = Place::new();
    let root = place.path("root");
    let blob = noise(3_000_000);
    let server = Server::start(&root);
    let path = session(&server, "team/stopped");
    let stream = half_sent(&server, &path, blob.len(), &blob[..2_000_000]);
    // It has them once it counts them.
    thread::sleep(Duration::from_millis(500));
    let (took, status) = server.stop();
    assert!(took < Duration::from_secs(20) && status.success(), "{took:?}: {status}");
    drop(stream);
    let server = Server::start(&root);
    let at = held(&server, &path);
    assert!((1 << 20..=2_000_000).contains(&at), "what was received is kept: {at}");
    let range = format!("{at}-{}", blob.len() - 1);
    let answer = server.ask("PATCH", &path, &[("Content-Range", &range)], &blob[at..]);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let digest = Digest::of(&blob).to_string();
    let answer = server.ask("PUT", &format!("{path}?digest={digest}"), &[], b"");
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(server.get(&answer.location()).body, blob);
}

#[test]
fn a_push_goes_on_through_a_restart_and_a_later_one_where_it_stopped() {
    let place = Place::new();
    let (root, host) = (place.path("root"), format!("127.0.0.1:{}", free_port()));
    fs::write(place.path("weights.bin"), noise(40 << 20)).unwrap();
    let server = Server::with(&root, &host, "");
    let name = format!("{host}/team/slow:v1");
    let push = || {
        let mut command = mdl(&place.path("home"));
        command.current_dir(place.folder()).args(["push", "weights.bin", &name, "--json"]);
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    };
    // The client is killed in the middle, and the server with it.
    let mut child = push();
    let uploads = root.join("uploads");
    let size = || -> u64 {
        let found = fs::read_dir(&uploads).into_iter().flatten().flatten();
        found.filter_map(|entry| entry.metadata().ok()).map(|it| it.len()).max().unwrap_or(0)
    };
    let began = Instant::now();
    while size() < 8 << 20 && child.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < Duration::from_mins(1), "nothing arrives");
        thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // It hears that the client is gone, and notes what it has.
    thread::sleep(Duration::from_secs(1));
    server.kill();
    let server = Server::with(&root, &host, "");
    let child = push();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success());
    let report: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    let sent = report["sent_bytes"].as_u64().unwrap();
    assert!(sent < 40 << 20, "it began anew: {report}");
    place.says(&["pull", &name, "--to", "out", "--quiet"]);
    assert!(fs::read(place.path("out/weights.bin")).unwrap() == noise(40 << 20));
    drop(server);
}

#[test]
fn a_full_disk_is_said_and_loses_nothing() {
    let place = Place::new();
    let root = place.path("root");
    let server = Server::on_small_disk(&root, 24);
    fs::write(place.path("small.bin"), noise(4 << 20)).unwrap();
    fs::write(place.path("large.bin"), noise(40 << 20)).unwrap();
    let (small, large) = (server.at("team/small:v1"), server.at("team/large:v1"));
    place.says(&["push", "small.bin", &small, "--quiet"]);
    // Chunk by chunk, until there is no room: 507, and the session is told of.
    let path = session(&server, "team/chunks");
    let chunk = noise(4 << 20);
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(server.ask("PATCH", &path, &[], &chunk).status);
        if statuses.last() != Some(&202) {
            break;
        }
    }
    assert_eq!(statuses.last(), Some(&507), "{statuses:?}");
    assert_eq!(server.ask("DELETE", &path, &[], b"").status, 204);
    // A push says so, in time.
    let began = Instant::now();
    let refused = place.fails(&["push", "large.bin", &large, "--quiet"]);
    assert!(refused.contains("507"), "{refused}");
    assert!(began.elapsed() < Duration::from_mins(1), "{:?}", began.elapsed());
    assert!(place.fails(&["inspect", &large]).contains("has no manifest"));
    // What was there is there, and there is room again for what fits.
    fs::write(place.path("other.bin"), noise(5 << 20)).unwrap();
    place.says(&["push", "other.bin", &server.at("team/other:v1"), "--quiet"]);
    for name in ["small", "other"] {
        let from = server.at(&format!("team/{name}:v1"));
        place.says(&["pull", &from, "--to", name, "--quiet"]);
        let file = format!("{name}.bin");
        let pulled = fs::read(place.path(name).join(&file)).unwrap();
        assert!(pulled == fs::read(place.path(&file)).unwrap());
    }
    assert_eq!(server.get("/readyz").status, 200);
}

#[test]
fn settings_are_read_again() {
    let place = Place::new();
    let root = place.path("root");
    let server = Server::start(&root);
    let ask = || server.ask("GET", "/v2/", &[("Host", "models.example")], b"").status;
    assert_eq!(ask(), 421);
    let settings = root.with_extension("toml");
    let quiet = "[access_log]\nto = \"off\"\n";
    fs::write(&settings, format!("public_url = \"https://models.example\"\n{quiet}")).unwrap();
    server.signal("HUP");
    let began = Instant::now();
    while ask() != 200 {
        assert!(began.elapsed() < Duration::from_secs(10), "the settings are not read again");
        thread::sleep(Duration::from_millis(20));
    }
    // Settings that are wrong change nothing.
    fs::write(&settings, "public_url = \"nonsense\"\n").unwrap();
    server.signal("HUP");
    thread::sleep(Duration::from_millis(300));
    assert_eq!(ask(), 200);
}

/// Where a connection is slow, several fetch a large blob; where it is not, one does.
#[test]
fn a_narrow_way_is_taken_several_times_at_once() {
    let place = Place::new();
    let server = Server::start(&place.path("root"));
    fs::write(place.path("weights.bin"), noise(80 << 20)).unwrap();
    place.says(&["push", "weights.bin", &server.at("team/large:v1"), "--quiet"]);
    let strait = Strait::to(&server.host, 16 << 20);
    let from = format!("{}/team/large:v1", strait.host);
    place.says(&["pull", &from, "--to", "out", "--quiet"]);
    assert!(fs::read(place.path("out/weights.bin")).unwrap() == noise(80 << 20));
    assert!((2..=8).contains(&strait.most()), "{}", strait.most());
}

/// What two ask for at once: the second is told, and neither harms the other.
#[test]
fn one_root_has_one_server() {
    let place = Place::new();
    let root = place.path("root");
    let server = Server::start(&root);
    let second = ["registry", "serve", "--listen", "127.0.0.1:0", "--root", "root"];
    let refused = place.fails(&second);
    assert!(refused.contains("in use") || refused.contains("another"), "{refused}");
    assert_eq!(http::try_get(&server.host, "/healthz").unwrap().status, 200);
}
