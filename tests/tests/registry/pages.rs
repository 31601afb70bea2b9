//! The pages in a real browser, as a person clicks through them, at the width of a desk and of a phone.

use std::{fs, process::Command};

use mdl_tests::{Place, browser::Browser, client, installed, need, output, server::Server};

/// A registry with a model and its evaluation, and others.
fn registry(place: &Place) -> Server {
    place.says(&["quantize", "data/tiny", "q4.gguf", "--scheme", "Q4_K_M", "--quiet"]);
    let eval = ["eval", "q4.gguf", "--against", "data/tiny", "--data", "data/tiny/held-out.txt"];
    let shape = ["--chunks", "2", "--context", "64", "--json", "--quiet"];
    fs::write(place.path("report.json"), place.says(&[&eval[..], &shape].concat())).unwrap();
    let server = Server::start(&place.path("root"));
    let [q4, q8] = ["team/tiny:q4", "team/tiny:q8"].map(|name| server.at(name));
    place.says(&["push", "q4.gguf", &q4, "--report", "report.json", "--quiet"]);
    place.says(&["quantize", "data/tiny", "q8.gguf", "--scheme", "Q8_0", "--quiet"]);
    place.says(&["push", "q8.gguf", &q8, "--quiet"]);
    place.says(&["push", "data/tiny", &server.at("research/a-folder:main"), "--quiet"]);
    server
}

/// The page fits its window, and the browser has nothing to complain of.
fn sound(browser: &Browser) {
    let over = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
    assert_eq!(browser.script(over), 0, "{} is wider than its window", browser.address());
    assert_eq!(browser.complaints(), Vec::<String>::new(), "{}", browser.address());
    let picture = browser.picture();
    assert!(picture.starts_with("iVBORw0KGgo") && picture.len() > 10_000, "an empty picture");
}

/// The command shown under a heading.
fn command(browser: &Browser, tool: &str) -> String {
    let tools = browser.texts(".get .command h3");
    let at = tools.iter().position(|it| it == tool).unwrap_or_else(|| panic!("{tool}: {tools:?}"));
    browser.texts(".get .command pre")[at].clone()
}

fn walk(place: &Place, server: &Server, browser: &Browser) {
    browser.visit(&server.url("/"));
    sound(browser);
    assert_eq!(browser.texts(".models h2"), ["research/a-folder", "team/tiny"]);
    browser.write("#q", "tiny");
    browser.press(".search button");
    assert_eq!(browser.texts(".models h2"), ["team/tiny"]);
    sound(browser);
    browser.follow("team/tiny");
    let mut tags = browser.texts("tbody th");
    tags.sort();
    assert_eq!(tags, ["q4", "q8"]);
    sound(browser);
    browser.follow("q4");
    assert!(browser.address().ends_with("/team/tiny:q4"), "{}", browser.address());
    sound(browser);
    for heading in ["What it is", "How good it is", "Tensors by type", "Files", "How it was made"] {
        let headings = browser.texts("h2");
        assert!(headings.iter().any(|it| it == heading), "{heading}: {headings:?}");
    }
    assert!(browser.text("#content").contains("Q4_K_M"));
    assert!(browser.script("return document.querySelectorAll('figure svg').length") == 1);
    browser.click("summary");
    assert!(browser.text("details pre").contains("Q4_K_M"));
    browser.press(".path a");
    assert_eq!(browser.texts("h1"), ["Models"]);
    browser.visit(&server.url("/team/none"));
    assert!(browser.text("h1").to_lowercase().contains("no"), "{}", browser.text("h1"));
    assert!(place.folder().exists());
}

#[test]
fn a_person_finds_and_fetches_a_model() {
    let driver = need!(installed("chromedriver"));
    let oras = need!(client("oras"));
    let place = Place::new();
    let server = registry(&place);
    for (width, height, phone) in [(1280, 900, false), (390, 844, true)] {
        let profile = place.path(&format!("browser-{width}"));
        fs::create_dir(&profile).unwrap();
        let browser = Browser::open(&driver, &profile, width, height, phone);
        walk(&place, &server, &browser);
        browser.visit(&server.url("/team/tiny:q4"));
        // The commands do what they say, as they stand.
        let shown = command(&browser, "mdl");
        let words: Vec<&str> = shown.split_whitespace().collect();
        assert_eq!(words[0], "mdl", "{shown}");
        let done = place.run(&words[1..]);
        assert!(done.status.success(), "{shown}: {}", String::from_utf8_lossy(&done.stderr));
        let shown = command(&browser, "oras");
        let words: Vec<&str> = shown.split_whitespace().collect();
        assert_eq!(words[0], "oras", "{shown}");
        let folder = place.path(&format!("by-oras-{width}"));
        fs::create_dir(&folder).unwrap();
        output(Command::new(&oras).args(&words[1..]).current_dir(&folder));
    }
}
