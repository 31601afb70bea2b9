//! The log of requests. Lines go to a thread of their own, so that no request waits for a slow disk or terminal.

use std::{
    fmt,
    fs::OpenOptions,
    io::{self, BufWriter, Write},
    net::IpAddr,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, Method, StatusCode, Version, header};
use serde_json::json;

use crate::{
    Error, Result,
    app::App,
    config::{AccessLog, LogFormat},
    serve::Active,
    views::signed,
};

/// Lines that wait to be written.
const WAITING: usize = 8192;

/// Standard output and standard error, as the program has them: a library does not print.
#[derive(Clone)]
pub struct Outputs {
    /// Opens standard output.
    pub out: fn() -> Box<dyn Write + Send>,
    /// Opens standard error.
    pub err: fn() -> Box<dyn Write + Send>,
}

impl fmt::Debug for Outputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outputs")
    }
}

/// Where lines go.
#[derive(Debug)]
pub(crate) struct Log {
    outputs: Outputs,
    writer: Mutex<Option<Writer>>,
}

#[derive(Debug)]
struct Writer {
    lines: SyncSender<Vec<u8>>,
    thread: JoinHandle<()>,
    format: LogFormat,
}

impl Log {
    pub(crate) fn open(settings: &AccessLog, outputs: Outputs) -> Result<Self> {
        let log = Self { outputs, writer: Mutex::new(None) };
        log.reopen(settings)?;
        Ok(log)
    }

    /// From now on lines go there; a file that was renamed is made anew.
    pub(crate) fn reopen(&self, settings: &AccessLog) -> Result<()> {
        let to: Option<Box<dyn Write + Send>> = match settings.to.to_str() {
            Some("off") => None,
            Some("stdout") => Some((self.outputs.out)()),
            Some("stderr") => Some((self.outputs.err)()),
            _ => Some(Box::new(appended(&settings.to)?)),
        };
        let opened = to.map(|to| {
            let (lines, waiting) = sync_channel(WAITING);
            let thread = thread::spawn(move || write(to, &waiting));
            Writer { lines, thread, format: settings.format }
        });
        *self.writer.lock().unwrap_or_else(PoisonError::into_inner) = opened;
        Ok(())
    }

    /// Writes what waits, and no more.
    pub(crate) fn close(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Writer { lines, thread, .. }) = writer {
            drop(lines);
            // A reader of standard output that does not read would hold it for ever.
            let until = Instant::now() + std::time::Duration::from_millis(500);
            while !thread.is_finished() && Instant::now() < until {
                thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }

    /// Whether the line was taken.
    fn put(&self, entry: &Entry) -> bool {
        let (lines, format) = {
            let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(writer) = writer.as_ref() else { return true };
            (writer.lines.clone(), writer.format)
        };
        let line = match format {
            LogFormat::Json => entry.json(),
            LogFormat::Common => entry.common(),
        };
        !matches!(lines.try_send(line), Err(TrySendError::Full(_)))
    }
}

fn appended(path: &Path) -> Result<std::fs::File> {
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.map_err(|source| Error::Io { what: "open the log", path: path.to_owned(), source })
}

fn write(to: Box<dyn Write + Send>, lines: &Receiver<Vec<u8>>) {
    let mut to = BufWriter::with_capacity(64 << 10, to);
    while let Ok(first) = lines.recv() {
        let mut next = Ok(first);
        let written = loop {
            match next {
                Ok(line) => {
                    if let Err(error) = to.write_all(&line) {
                        break Err(error);
                    }
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break to.flush(),
            }
            next = lines.try_recv();
        };
        if let Err(error) = written
            && error.kind() != io::ErrorKind::Interrupted
        {
            tracing::error!("the log of requests ends: {error}");
            return;
        }
    }
}

/// What a line says of a request.
#[derive(Debug)]
pub(crate) struct Entry {
    app: Arc<App>,
    client: IpAddr,
    method: Method,
    target: String,
    host: Option<String>,
    agent: Option<String>,
    referer: Option<String>,
    version: Version,
    received: Option<u64>,
    time: SystemTime,
    started: Instant,
    pub(crate) endpoint: &'static str,
    pub(crate) status: StatusCode,
    /// Bytes of the body that the connection took.
    pub(crate) sent: u64,
    /// Its connection is at work for as long.
    _active: Option<Active>,
}

impl Entry {
    pub(crate) fn begin(
        app: &Arc<App>,
        client: IpAddr,
        parts: &http::request::Parts,
        active: Option<Active>,
    ) -> Self {
        let text = |name| text(&parts.headers, &name);
        let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
        Self {
            app: Arc::clone(app),
            client,
            method: parts.method.clone(),
            target: signed::shown_in_log(target),
            host: text(header::HOST),
            agent: text(header::USER_AGENT),
            referer: text(header::REFERER),
            version: parts.version,
            received: text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            time: SystemTime::now(),
            started: Instant::now(),
            endpoint: "other",
            status: StatusCode::OK,
            sent: 0,
            _active: active,
        }
    }

    fn json(&self) -> Vec<u8> {
        let line = json!({
            "time": stamp(self.time),
            "client": self.client.to_string(),
            "method": self.method.as_str(),
            "target": self.target,
            "protocol": protocol(self.version),
            "host": self.host,
            "status": self.status.as_u16(),
            "sent": self.sent,
            "received": self.received,
            "milliseconds": self.milliseconds(),
            "agent": self.agent,
        });
        let mut line = line.to_string().into_bytes();
        line.push(b'\n');
        line
    }

    fn common(&self) -> Vec<u8> {
        let quoted = |text: &Option<String>| format!("{:?}", text.as_deref().unwrap_or("-"));
        let request = format!("{} {} {}", self.method, self.target, protocol(self.version));
        format!(
            "{} - - [{}] {request:?} {} {} {} {} {:.1}\n",
            self.client,
            stamp(self.time),
            self.status.as_u16(),
            self.sent,
            quoted(&self.referer),
            quoted(&self.agent),
            self.milliseconds(),
        )
        .into_bytes()
    }

    fn milliseconds(&self) -> f64 {
        (self.started.elapsed().as_secs_f64() * 1e4).round() / 10.0
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let metrics = &self.app.metrics;
        metrics.ended(&self.method, self.endpoint, self.status, self.started.elapsed());
        metrics.sent.inc_by(self.sent);
        if !self.app.log.put(self) {
            metrics.lost_lines.inc();
        }
    }
}

fn text(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?;
    Some(text.chars().take(300).collect())
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP",
    }
}

/// UTC with milliseconds, as RFC 3339 has it.
pub(crate) fn stamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let millisecond = since.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
}

/// Year, month and day of a number of days since 1970, counted in years that begin in March.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dated() {
        for (days, date_of) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (20_783, (2026, 11, 26)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(date(days), date_of);
        }
        let time = UNIX_EPOCH + std::time::Duration::from_millis(1_795_651_199_007);
        assert_eq!(stamp(time), "2026-11-25T23:59:59.007Z");
    }
}
