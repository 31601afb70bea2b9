//! Plain requests, byte by byte as a test wants them: HTTP/1.1 over a socket.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

/// An answer, whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body, chunks joined.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// Where it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The path in `Location`, whatever host it names.
    ///
    /// # Panics
    /// Where there is none.
    pub fn location(&self) -> String {
        let location = self.header("location").unwrap_or_else(|| panic!("no Location: {self:?}"));
        let bare = location.split_once("://").map_or(location, |(_, rest)| rest);
        bare.find('/').map_or_else(String::new, |at| bare.get(at..).unwrap_or_default().to_owned())
    }
}

/// A request with GET; nothing where nobody answers.
pub fn try_get(host: &str, path: &str) -> Option<Answer> {
    ask(host, "GET", path, &[], b"").ok()
}

/// One request on a connection of its own.
///
/// # Errors
/// What the connection says, or that the answer is none of HTTP.
pub fn ask(
    host: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Answer> {
    let given = |name: &str| headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    let mut lines = vec![format!("{method} {path} HTTP/1.1"), "Connection: close".to_owned()];
    if !given("host") {
        lines.push(format!("Host: {host}"));
    }
    if !given("content-length") && !given("transfer-encoding") {
        lines.push(format!("Content-Length: {}", body.len()));
    }
    lines.extend(headers.iter().map(|(name, value)| format!("{name}: {value}")));
    let head = lines.join("\r\n");
    raw(host, &[format!("{head}\r\n\r\n").as_bytes(), body].concat(), method == "HEAD")
}

/// Sends bytes and reads the answer.
///
/// # Errors
/// What the connection says, or that the answer is none of HTTP.
pub fn raw(host: &str, bytes: &[u8], no_body: bool) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(Duration::from_secs(90)))?;
    // A server may answer and close before it has read all.
    let sent = stream.write_all(bytes);
    let mut got = Vec::new();
    let read = whole(&mut stream, &mut got, no_body);
    if got.is_empty() {
        sent?;
        read?;
    }
    parse(&got, no_body).ok_or_else(|| io::Error::other("no answer of HTTP"))
}

/// Reads an answer of known length, or all there is.
fn whole(stream: &mut TcpStream, got: &mut Vec<u8>, no_body: bool) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut end = None;
    while end.is_none_or(|end| got.len() < end) {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        got.extend_from_slice(buffer.get(..read).unwrap_or_default());
        if end.is_none()
            && let Some(head) = got.windows(4).position(|four| four == b"\r\n\r\n")
            && let Some(answer) = parse(got, true).filter(|answer| answer.status != 100)
            && answer.header("transfer-encoding").is_none()
        {
            let length = answer.header("content-length").and_then(|text| text.parse().ok());
            end = if no_body { Some(0) } else { length.map(|length: usize| head + 4 + length) };
        }
    }
    Ok(())
}

fn parse(bytes: &[u8], no_body: bool) -> Option<Answer> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(bytes.get(..end)?).ok()?;
    let mut lines = head.split("\r\n");
    let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let rest = bytes.get(end + 4..)?;
    if status == 100 {
        return parse(rest, no_body);
    }
    let chunked = headers
        .iter()
        .any(|(name, value)| name == "transfer-encoding" && value.eq_ignore_ascii_case("chunked"));
    let body = if chunked && !no_body { chunks(rest)? } else { rest.to_vec() };
    Some(Answer { status, headers, body })
}

/// Chunks, joined; those of a body that breaks off are none.
fn chunks(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(bytes.get(..end)?).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(out);
        }
        out.extend_from_slice(bytes.get(end + 2..end + 2 + size)?);
        bytes = bytes.get(end + 4 + size..)?;
    }
}
