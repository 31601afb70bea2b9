//! How often somebody may ask: accounts, addresses, logins that fail, and who comes through which proxy.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use mdl_tests::{Place, http::Answer, server::Server};

use super::accounts::{basic, user_add};

/// A registry with an administrator and `alice`, whose passwords are `password-NAME`.
fn registry(settings: &str) -> (Place, Server) {
    let place = Place::new();
    user_add(&place, "root", &["--admin"]);
    user_add(&place, "alice", &[]);
    let server = Server::with(&place.path("root"), "127.0.0.1:0", settings);
    (place, server)
}

fn key_of(place: &Place, name: &str) -> String {
    let made = super::json(place, &["registry", "key", "add", name, "--root", "root"]);
    made["key"].as_str().unwrap().to_owned()
}

fn with(server: &Server, authorization: &str, path: &str) -> Answer {
    server.ask("GET", path, &[("Authorization", authorization)], b"")
}

/// An answer that says to come again after a number of seconds.
fn wait(answer: &Answer) -> u64 {
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert_eq!(answer.json()["errors"][0]["code"], "TOOMANYREQUESTS");
    answer.header("retry-after").unwrap().parse().unwrap()
}

#[test]
fn an_account_is_one_with_all_that_it_has() {
    let (place, server) = registry("[rates]\naccount = \"4/h\"\n");
    let (password, key) = (basic("alice", "password-alice"), key_of(&place, "alice"));
    let token = with(&server, &password, "/-/token?scope=repository:a/b:pull");
    let token = format!("Bearer {}", token.json()["token"].as_str().unwrap());
    let key = format!("Bearer {key}");
    for authorization in [&password, &key, &token] {
        assert_eq!(with(&server, authorization, "/v2/").status, 200);
    }
    for authorization in [&password, &key, &token] {
        let wait = wait(&with(&server, authorization, "/v2/"));
        assert!((800..=900).contains(&wait), "{wait}");
    }
    // Another one, somebody without, and whoever looks whether it lives.
    let root = basic("root", "password-root");
    assert_eq!(with(&server, &root, "/v2/").status, 200);
    assert_eq!(server.get("/v2/").status, 401);
    assert_eq!(with(&server, &key, "/healthz").status, 200);
    let figures = with(&server, &root, "/metrics").text();
    assert!(figures.contains("mdl_rate_refused_total{rate=\"account\"} 3"), "{figures}");
}

#[test]
fn an_address_is_that_of_its_connection_or_of_what_a_proxy_that_is_listed_says() {
    let (_place, server) = registry("[rates]\naddress = \"2/h\"\n");
    let forwarded = |server: &Server, lines: &[&str]| {
        let headers: Vec<_> = lines.iter().map(|line| ("X-Forwarded-For", *line)).collect();
        server.ask("GET", "/v2/", &headers, b"").status
    };
    // Nobody is believed: every name is the same address.
    assert_eq!(forwarded(&server, &["192.0.2.1"]), 401);
    assert_eq!(forwarded(&server, &["192.0.2.2"]), 401);
    assert_eq!(forwarded(&server, &["192.0.2.3"]), 429);
    assert_eq!(server.get("/healthz").status, 200);
    // Whoever has an account has no part in that.
    assert_eq!(with(&server, &basic("root", "password-root"), "/v2/").status, 200);
    drop(server);
    let settings = "[rates]\naddress = \"2/h\"\nproxies = [\"127.0.0.1\", \"10.0.0.0/8\"]\n";
    let (_place, server) = registry(settings);
    for client in ["192.0.2.1", "2001:db8:0:1::1", "192.0.2.1, 10.1.1.1, 198.51.100.1"] {
        assert_eq!(forwarded(&server, &[client]), 401, "{client}");
        assert_eq!(forwarded(&server, &[client]), 401, "{client}");
        assert_eq!(forwarded(&server, &[client]), 429, "{client}");
    }
    // The same network, the same client by way of more proxies, and what it writes before itself in one line or another.
    for lines in [
        &["2001:db8:0:1:ffff::9"][..],
        &["192.0.2.1, 10.9.9.9"],
        &["192.0.2.1", "10.9.9.9"],
        &["203.0.113.7, 192.0.2.1"],
        &["203.0.113.8", "192.0.2.1"],
        &["::ffff:192.0.2.1"],
        &["192.0.2.1:4711"],
    ] {
        assert_eq!(forwarded(&server, lines), 429, "{lines:?}");
    }
    // What is no address is the proxy's own, whatever stands before it.
    for (at, lines) in [&["x"][..], &["203.0.113.9, x"], &["203.0.113.10,"], &["203.0.113.11", ""]]
        .into_iter()
        .enumerate()
    {
        assert_eq!(forwarded(&server, lines), if at < 2 { 401 } else { 429 }, "{lines:?}");
    }
}

#[test]
fn logins_that_fail_are_counted_and_good_ones_go_on() {
    let settings = "[rates]\nfailures = \"3/h\"\nproxies = [\"127.0.0.1\"]\n";
    let (place, server) = registry(settings);
    let (alice, root) = (basic("alice", "password-alice"), basic("root", "password-root"));
    let key = format!("Bearer {}", key_of(&place, "alice"));
    // Good ones cost nothing, however many.
    for _ in 0..5 {
        assert_eq!(with(&server, &alice, "/v2/").status, 200);
    }
    let token = with(&server, &alice, "/-/token?scope=repository:a/b:pull");
    let token = format!("Bearer {}", token.json()["token"].as_str().unwrap());
    for wrong in [
        basic("alice", "wrong"),
        basic("nobody", "password-alice"),
        format!("Bearer hf_{}", "x".repeat(40)),
    ] {
        assert_eq!(with(&server, &wrong, "/v2/").status, 401, "{wrong}");
    }
    let began = Instant::now();
    for refused in [
        basic("alice", "wrong-too"),
        basic("alice", ""),
        root.clone(),
        format!("Bearer hf_{}", "y".repeat(40)),
        "Bearer nonsense".to_owned(),
        "nonsense".to_owned(),
    ] {
        let wait = wait(&with(&server, &refused, "/v2/"));
        assert!((1100..=1200).contains(&wait), "{refused}: {wait}");
    }
    let each = began.elapsed() / 6;
    assert!(each < Duration::from_millis(30), "bcrypt was asked: {each:?}");
    // What is known to be good; nobody at all; a token that is none is told where to get one.
    for good in [&alice, &key, &token] {
        assert_eq!(with(&server, good, "/v2/").status, 200);
    }
    assert_eq!(server.get("/v2/").status, 401);
    assert_eq!(with(&server, "Bearer mdlt1.a.b", "/v2/").status, 401);
    // From elsewhere.
    let elsewhere = [("Authorization", root.as_str()), ("X-Forwarded-For", "192.0.2.1")];
    assert_eq!(server.ask("GET", "/v2/", &elsewhere, b"").status, 200);
    let figures = with(&server, &alice, "/metrics").text();
    assert!(figures.contains("mdl_rate_refused_total{rate=\"failures\"} 6"), "{figures}");
    drop(server);
    let (_place, server) = registry("[rates]\nfailures = \"never\"\n");
    for at in 0..70 {
        assert_eq!(with(&server, &basic("alice", &format!("hf_{at}")), "/v2/").status, 401);
    }
}

#[test]
fn what_is_said_is_true_and_a_reload_forgives_nothing() {
    let settings = "[rates]\naddress = \"1/s\"\naccount = \"2/h\"\n";
    let (place, server) = registry(settings);
    assert_eq!(server.get("/v2/").status, 401);
    let began = Instant::now();
    let said = loop {
        // A slow machine may take a second for the first ones.
        let answer = server.get("/v2/");
        if answer.status == 429 {
            break wait(&answer);
        }
        assert!(began.elapsed() < Duration::from_secs(20));
    };
    assert_eq!(said, 1);
    thread::sleep(Duration::from_secs(said));
    assert_eq!(server.get("/v2/").status, 401);
    let (alice, root) = (basic("alice", "password-alice"), basic("root", "password-root"));
    for _ in 0..2 {
        assert_eq!(with(&server, &alice, "/v2/").status, 200);
    }
    wait(&with(&server, &alice, "/v2/"));
    // Another rate for addresses; that of accounts stays, and so do their buckets.
    let settings = "[rates]\naddress = \"1/h\"\naccount = \"2/h\"\n[access_log]\nto = \"off\"\n";
    fs::write(place.path("root.toml"), settings).unwrap();
    server.signal("HUP");
    let began = Instant::now();
    loop {
        let answer = server.get("/v2/");
        if answer.status == 429 && wait(&answer) > 60 {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20));
        thread::sleep(Duration::from_millis(50));
    }
    wait(&with(&server, &alice, "/v2/"));
    assert_eq!(with(&server, &root, "/v2/").status, 200);
}

#[test]
fn the_log_names_who_came() {
    let place = Place::new();
    let log = place.path("access.log");
    let settings =
        format!("[rates]\nproxies = [\"127.0.0.1\"]\n[access_log]\nto = \"{}\"\n", log.display());
    let server = Server::logging(&place.path("root"), &settings);
    for (value, client) in [("192.0.2.1", "192.0.2.1"), ("192.0.2.1, x", "127.0.0.1")] {
        server.ask("GET", "/v2/", &[("X-Forwarded-For", value)], b"");
        let wanted = format!("\"client\":\"{client}\"");
        let began = Instant::now();
        while !fs::read_to_string(&log).unwrap().lines().last().unwrap_or("").contains(&wanted) {
            assert!(began.elapsed() < Duration::from_secs(20), "{value}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn mistakes_are_named_with_their_place() {
    let place = Place::new();
    for (text, says) in [
        ("[rates]\naccount = \"600\"", "line 2"),
        ("[rates]\naccount = 600", "line 2"),
        ("[rates]\n\naddress = \"0/s\"", "line 3"),
        ("[rates]\nfailures = \"30/day\"", "`30/day` is no rate"),
        ("[rates]\nfailures = \"off\"", "or `never`"),
        ("[rates]\nproxies = [\"10.0.0.0/40\"]", "no address"),
        ("[rates]\nproxies = [\"::/0\"]", "every address"),
        ("[rates]\nproxy = []", "unknown field"),
    ] {
        fs::write(place.path("registry.toml"), text).unwrap();
        let said = place.fails(&["registry", "check-config", "registry.toml"]);
        assert!(said.contains(says) && said.contains("registry.toml"), "{text}: {said}");
    }
    let text = "[rates]\naccount = \"600/m\"\naddress = \"5/s\"\nfailures = \"never\"\nproxies = [\"fd00::/8\"]\n";
    fs::write(place.path("registry.toml"), text).unwrap();
    let told = place.says(&["registry", "check-config", "registry.toml"]);
    for line in [
        "takes 600/m requests of an account",
        "takes 5/s requests of an address without an account",
        "checks passwords however many fail",
        "believes X-Forwarded-For where fd00::/8 says so",
    ] {
        assert!(told.contains(line), "{told}");
    }
}
