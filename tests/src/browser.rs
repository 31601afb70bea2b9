//! Headless Chromium, driven over WebDriver (W3C): <https://www.w3.org/TR/webdriver2/>.

use std::{
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::server::{Server, free_port};

/// The name that WebDriver gives elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A window of a browser that has run no script of a page.
#[derive(Debug)]
pub struct Browser {
    driver: Server,
    session: String,
}

impl Browser {
    /// Opens a window of this size in CSS pixels, with its profile in `folder`; `phone` makes it one of a phone.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn open(driver: &Path, folder: &Path, width: u32, height: u32, phone: bool) -> Self {
        let port = free_port();
        let mut command = Command::new(driver);
        command.arg(format!("--port={port}")).env("HOME", folder).env("TMPDIR", folder);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let driver = Server::other(command, format!("127.0.0.1:{port}"), "/status");
        let size = format!("--window-size={width},{height}");
        let mut options = json!({
            "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", size],
        });
        if phone {
            let metrics = json!({ "width": width, "height": height, "pixelRatio": 2.0 });
            options["mobileEmulation"] = json!({ "deviceMetrics": metrics });
        }
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let mut browser = Self { driver, session: String::new() };
        let made = browser.ask("POST", "/session", &wanted);
        browser.session = text(&made["sessionId"]);
        browser
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let answer = self.driver.ask(method, path, &[], body.as_bytes());
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
        answer.json()["value"].clone()
    }

    fn post(&self, below: &str, body: &Value) -> Value {
        self.ask("POST", &format!("/session/{}/{below}", self.session), body)
    }

    fn read(&self, below: &str) -> Value {
        self.ask("GET", &format!("/session/{}/{below}", self.session), &Value::Null)
    }

    /// Goes to an address.
    pub fn visit(&self, url: &str) {
        self.post("url", &json!({ "url": url }));
    }

    /// Where it is.
    pub fn address(&self) -> String {
        text(&self.read("url"))
    }

    fn element(&self, css: &str) -> String {
        let found = self.post("element", &json!({ "using": "css selector", "value": css }));
        text(&found[ELEMENT])
    }

    /// The text of the first element that a CSS selector finds, as it is seen.
    pub fn text(&self, css: &str) -> String {
        text(&self.read(&format!("element/{}/text", self.element(css))))
    }

    /// The texts of all elements that a CSS selector finds.
    pub fn texts(&self, css: &str) -> Vec<String> {
        let found = self.post("elements", &json!({ "using": "css selector", "value": css }));
        let ids = found.as_array().into_iter().flatten().map(|it| text(&it[ELEMENT]));
        ids.map(|id| text(&self.read(&format!("element/{id}/text")))).collect()
    }

    /// Clicks what a CSS selector finds first, which leads to no other page.
    pub fn click(&self, css: &str) {
        self.post(&format!("element/{}/click", self.element(css)), &json!({}));
    }

    /// Clicks what a CSS selector finds first, and waits for the page that it leads to.
    pub fn press(&self, css: &str) {
        let element = self.element(css);
        self.leave(&element);
    }

    /// Clicks the link with this text, and waits for the page that it leads to.
    pub fn follow(&self, link: &str) {
        let found = self.post("element", &json!({ "using": "link text", "value": link }));
        self.leave(&text(&found[ELEMENT]));
    }

    fn leave(&self, element: &str) {
        self.script("window.mdlLeft = true");
        self.post(&format!("element/{element}/click"), &json!({}));
        let began = Instant::now();
        let there = "return !window.mdlLeft && document.readyState == 'complete'";
        while self.script(there) != json!(true) {
            assert!(began.elapsed() < Duration::from_secs(30), "the click leads nowhere");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Types into what a CSS selector finds first.
    pub fn write(&self, css: &str, what: &str) {
        self.post(&format!("element/{}/value", self.element(css)), &json!({ "text": what }));
    }

    /// What a script of the test gives.
    pub fn script(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// What the browser complained of: scripts, styles and pictures that are refused or lacking.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.post("se/log", &json!({ "type": "browser" }));
        log.as_array().into_iter().flatten().map(|entry| text(&entry["message"])).collect()
    }

    /// A picture of the window, as PNG in Base64.
    pub fn picture(&self) -> String {
        text(&self.read("screenshot"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends with its last window; it may be gone.
        let _ = crate::http::ask(
            &self.driver.host,
            "DELETE",
            &format!("/session/{}", self.session),
            &[],
            b"",
        );
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
