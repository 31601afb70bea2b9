//! What a line says. Whatever others wrote is bounded and escaped here, so that a line is printable ASCII of bounded
//! length, whoever had a hand in it.

use std::{fmt::Write as _, time::SystemTime};

use mdl_store::{Found, Name, TagInfo};
use serde_json::{Map, Value};

use super::chain::Head;
use crate::log::stamp;

/// Characters of a text that others wrote.
const TEXT_CHARS: usize = 256;

/// Bytes of a list of such texts.
const LIST_BYTES: usize = 16 << 10;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The server began to serve.
    Started,
    /// The server was told to stop.
    Stopped,
    /// The server read its configuration again.
    Configured,
    /// A manifest was pushed.
    Push,
    /// A manifest was read, or a file of a model by its name.
    Pull,
    /// A blob was uploaded to its end.
    Upload,
    /// A blob was taken over from another repository.
    Mount,
    /// A tag, a manifest or a blob was deleted.
    Delete,
    /// A token was given.
    Token,
    /// Credentials held for nobody.
    Login,
    /// Somebody may not do what they asked for.
    Denied,
    /// An account was made.
    AccountAdded,
    /// An account was given another password or other rights.
    AccountChanged,
    /// An account was taken away.
    AccountRemoved,
    /// An API key was made.
    KeyAdded,
    /// An API key was taken away.
    KeyRevoked,
    /// Garbage was removed.
    Collected,
    /// Tags went that are to be kept no longer.
    Retained,
    /// A backup was made.
    Backup,
    /// The registry was made from a backup.
    Restore,
    /// An incomplete line at the end of the log was cut off: what a crash left.
    Cut,
    /// While the log could not be written, so much of what was read or refused found no room.
    Lost,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Configured => "configured",
            Self::Push => "push",
            Self::Pull => "pull",
            Self::Upload => "upload",
            Self::Mount => "mount",
            Self::Delete => "delete",
            Self::Token => "token",
            Self::Login => "login",
            Self::Denied => "denied",
            Self::AccountAdded => "account-added",
            Self::AccountChanged => "account-changed",
            Self::AccountRemoved => "account-removed",
            Self::KeyAdded => "key-added",
            Self::KeyRevoked => "key-revoked",
            Self::Collected => "collected",
            Self::Retained => "retained",
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Cut => "cut",
            Self::Lost => "lost",
        }
    }
}

/// Something that happened, as the log is to tell it.
#[derive(Debug, Clone)]
pub struct Event {
    kind: Kind,
    time: SystemTime,
    account: Option<String>,
    /// In the order in which they stand in the line.
    more: Vec<(&'static str, Value)>,
    refused: Option<String>,
}

impl Event {
    /// Something that happens now, and that no account did.
    pub fn new(kind: Kind) -> Self {
        Self { kind, time: SystemTime::now(), account: None, more: Vec::new(), refused: None }
    }

    /// Something that somebody with a shell on the registry's machine did.
    pub fn here(kind: Kind) -> Self {
        Self::new(kind).by_user(rustix::process::geteuid().as_raw())
    }

    /// A collection, with what was removed.
    pub(crate) fn collected(found: &Found) -> Self {
        Self::new(Kind::Collected)
            .count("blobs", found.bad_blobs)
            .count("bytes", found.bad_bytes)
            .count("manifests", found.bad_manifests)
    }

    /// Retention, with the tags that went.
    pub(crate) fn retained(gone: &[(Name, Vec<TagInfo>)]) -> Self {
        let tags = gone.iter().flat_map(|(repository, tags)| {
            tags.iter().map(move |it| format!("{repository}:{}@{}", it.tag, it.digest))
        });
        Self::new(Kind::Retained).list("tags", tags)
    }

    /// Which user of the machine did it.
    pub(crate) fn by_user(self, id: u32) -> Self {
        self.count("uid", u64::from(id))
    }

    /// Which account did it.
    pub(crate) fn by(mut self, account: Option<&str>) -> Self {
        self.account = account.map(bounded);
        self
    }

    /// With a text, whoever wrote it.
    #[must_use]
    pub fn text(mut self, name: &'static str, text: &str) -> Self {
        self.more.push((name, Value::from(bounded(text))));
        self
    }

    /// The same, where there is one.
    pub(crate) fn maybe(self, name: &'static str, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    /// With a list of texts; of one that is too long the beginning, and how many more there are. An empty one is left out.
    #[must_use]
    pub fn list<T: AsRef<str>>(
        mut self,
        name: &'static str,
        texts: impl IntoIterator<Item = T>,
    ) -> Self {
        let (mut kept, mut bytes, mut more) = (Vec::new(), 0, 0_u64);
        for text in texts {
            let text = bounded(text.as_ref());
            bytes += escaped_bytes(&text);
            if bytes > LIST_BYTES {
                more += 1;
            } else {
                kept.push(Value::from(text));
            }
        }
        if more > 0 {
            kept.push(Value::from(format!("and {more} more")));
        }
        if !kept.is_empty() {
            self.more.push((name, Value::from(kept)));
        }
        self
    }

    /// With a number.
    #[must_use]
    pub fn count(mut self, name: &'static str, count: u64) -> Self {
        self.more.push((name, Value::from(count)));
        self
    }

    /// It was not done, and why.
    pub(crate) fn refused(mut self, why: &str) -> Self {
        self.refused = Some(bounded(why));
        self
    }

    /// The line that follows a head.
    pub(super) fn line(&self, head: &Head, seq: u64) -> String {
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| {
            fields.insert(name.to_owned(), value);
        };
        put("seq", seq.into());
        put("time", stamp(self.time).into());
        put("prev", head.sha256.as_str().into());
        put("event", self.kind.name().into());
        put("account", self.account.as_deref().map_or(Value::Null, Value::from));
        for (name, value) in &self.more {
            put(name, value.clone());
        }
        put("outcome", if self.refused.is_some() { "refused" } else { "done" }.into());
        if let Some(why) = &self.refused {
            put("why", why.as_str().into());
        }
        printable(&Value::Object(fields).to_string())
    }
}

/// The beginning of a text.
fn bounded(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

/// Bytes that a text takes in a line, at most.
fn escaped_bytes(text: &str) -> usize {
    let of = |c: char| match c {
        '"' | '\\' => 2,
        ' '..='~' => 1,
        _ => 6 * c.len_utf16(),
    };
    // Quotes and a comma.
    text.chars().map(of).sum::<usize>() + 3
}

/// JSON with all but printable ASCII escaped: what a terminal, or a reader that knows other ends of lines, might take for
/// more than text. Outside of strings JSON holds none of it.
fn printable(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if matches!(c, ' '..='~') {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{super::chain::LINE_BYTES, *};

    #[test]
    fn keys_stand_in_one_order_and_what_is_not_there_is_left_out() {
        let event = Event::new(Kind::Push)
            .by(Some("alice"))
            .maybe("key", None)
            .text("repository", "a/b")
            .list("tags", ["v1", "v2"])
            .list("none", [""; 0]);
        let line = event.line(&Head::genesis(), 1);
        let (before, after) = line.split_once("\"prev\"").unwrap();
        assert!(
            before.starts_with("{\"seq\":1,\"time\":\"20") && before.ends_with("Z\","),
            "{line}"
        );
        let zeros = "0".repeat(64);
        let rest = format!(
            ":\"{zeros}\",\"event\":\"push\",\"account\":\"alice\",\"repository\":\"a/b\",\
             \"tags\":[\"v1\",\"v2\"],\"outcome\":\"done\"}}"
        );
        assert_eq!(after, rest);
        let refused = Event::new(Kind::Login).refused("no").line(&Head::genesis(), 2);
        assert!(refused.ends_with("\"account\":null,\"outcome\":\"refused\",\"why\":\"no\"}"));
    }

    #[test]
    fn hostile_texts_stay_one_printable_line_that_says_them() {
        let hostile = "x\n{\"seq\":9}\r\u{0}\u{1b}[2J\u{9b}\u{2028}\u{202e}\"\\\u{7f}😀";
        let line = Event::new(Kind::Login).by(Some(hostile)).text("agent", hostile);
        let line = line.line(&Head::genesis(), 1);
        assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((read["agent"].as_str(), read["seq"].as_u64()), (Some(hostile), Some(1)));
    }

    #[test]
    fn the_longest_line_is_within_its_bound() {
        let long = "\u{1F600}".repeat(10_000);
        let lists = || std::iter::repeat_n(long.as_str(), 10_000);
        let mut event = Event::new(Kind::Denied).by(Some(&long)).refused(&long);
        for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"] {
            event = event.text(name, &long);
        }
        let event = event.list("tags", lists()).list("scopes", lists());
        let line = event.line(&Head::genesis(), u64::MAX);
        assert!(line.len() > 64 << 10 && line.len() <= LINE_BYTES, "{}", line.len());
        let read: Value = serde_json::from_str(&line).unwrap();
        assert!(
            read["tags"].as_array().unwrap().last().unwrap().as_str().unwrap().contains("more")
        );
    }
}
