//! A server that answers whatever a test wants: a registry or hub that lies.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

/// What was asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET` and so on.
    pub method: String,
    /// With its query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Whole.
    pub body: Vec<u8>,
}

impl Request {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Whether the body goes on for ever.
    endless: bool,
}

impl Reply {
    /// With a body and its length.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), endless: false }
    }

    /// A body that repeats for ever, in chunks.
    pub fn endless(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { endless: true, ..Self::new(status, body) }
    }

    /// With a header. `content-length` replaces the true one.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    fn send(&self, stream: &mut TcpStream, head_only: bool) -> io::Result<()> {
        let mut lines = vec![format!("HTTP/1.1 {} X", self.status), "Connection: close".to_owned()];
        let stated =
            self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        if self.endless {
            lines.push("Transfer-Encoding: chunked".to_owned());
        } else if !stated {
            lines.push(format!("Content-Length: {}", self.body.len()));
        }
        lines.extend(self.headers.iter().map(|(name, value)| format!("{name}: {value}")));
        let head = lines.join("\r\n");
        stream.write_all(format!("{head}\r\n\r\n").as_bytes())?;
        if head_only {
            return Ok(());
        }
        if !self.endless {
            return stream.write_all(&self.body);
        }
        let size = format!("{:x}\r\n", self.body.len());
        let chunk = [size.as_bytes(), &self.body, b"\r\n"].concat();
        loop {
            stream.write_all(&chunk)?;
        }
    }
}

/// Answers every request by a function, until the test ends.
#[derive(Debug, Clone)]
pub struct Liar {
    /// `127.0.0.1:PORT`.
    pub host: String,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Liar {
    /// Starts it. The function is also told its `host:port`.
    ///
    /// # Panics
    /// Where loopback does not work.
    #[expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    pub fn start(answer: impl Fn(&Request, &str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let liar = Self { host, asked: Arc::default() };
        let (answer, known) = (Arc::new(answer), liar.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, known) = (Arc::clone(&answer), known.clone());
                thread::spawn(move || known.serve(stream, &*answer));
            }
        });
        liar
    }

    fn serve(&self, stream: TcpStream, answer: &dyn Fn(&Request, &str) -> Reply) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let request = read(&mut reader)?;
        let reply = answer(&request, &self.host);
        let head_only = request.method == "HEAD";
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        let mut stream = stream;
        // The other side may have had enough.
        let _ = reply.send(&mut stream, head_only);
        Some(())
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request { method, path, headers, body: Vec::new() };
    let length: usize = request.header("content-length").unwrap_or("0").parse().ok()?;
    request.body = vec![0; length];
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}
