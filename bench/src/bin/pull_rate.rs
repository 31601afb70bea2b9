//! Pulls a second: `pull_rate HOST REPOSITORY TAG PULLS CLIENTS`.
//!
//! A pull is what a client of a small model does: the manifest by its tag, then the largest blob that it names; every
//! client keeps its connection. Prints JSON: `rate` (pulls a second), `median` and `p99` (milliseconds of one pull).
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

struct Client<'a> {
    host: &'a str,
    stream: BufReader<TcpStream>,
    body: Vec<u8>,
}

impl<'a> Client<'a> {
    fn new(host: &'a str) -> Result<Self> {
        let stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        Ok(Self { host, stream: BufReader::with_capacity(256 << 10, stream), body: Vec::new() })
    }

    /// GET; the body is left in `self.body`.
    fn get(&mut self, path: &str) -> Result<()> {
        let accept = "application/vnd.oci.image.manifest.v1+json";
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: {accept}\r\n\r\n", self.host);
        self.stream.get_mut().write_all(head.as_bytes())?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        if !line.starts_with("HTTP/1.1 200") {
            bail!("{path}: {}", line.trim());
        }
        let mut length = None;
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.trim().parse::<usize>()?);
            }
        }
        self.body.resize(length.context("an answer without a length")?, 0);
        self.stream.read_exact(&mut self.body)?;
        Ok(())
    }

    fn pull(&mut self, repo: &str, tag: &str) -> Result<usize> {
        self.get(&format!("/v2/{repo}/manifests/{tag}"))?;
        let manifest: serde_json::Value = serde_json::from_slice(&self.body)?;
        let layers = manifest["layers"].as_array().context("a manifest without layers")?;
        let largest = layers.iter().max_by_key(|layer| layer["size"].as_u64());
        let digest = largest.and_then(|layer| layer["digest"].as_str()).context("no layer")?;
        self.get(&format!("/v2/{repo}/blobs/{digest}"))?;
        Ok(self.body.len())
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [host, repo, tag, pulls, clients] = arguments.as_slice() else {
        bail!("pull_rate HOST REPOSITORY TAG PULLS CLIENTS");
    };
    let (pulls, clients): (usize, usize) = (pulls.parse()?, clients.parse()?);
    Client::new(host)?.pull(repo, tag)?;
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    let work = || -> Result<Vec<Duration>> {
        let mut client = Client::new(host)?;
        let mut times = Vec::new();
        while next.fetch_add(1, Ordering::Relaxed) < pulls {
            let began = Instant::now();
            client.pull(repo, tag)?;
            times.push(began.elapsed());
        }
        Ok(times)
    };
    let mut times = thread::scope(|scope| {
        let all: Vec<_> = (0..clients).map(|_| scope.spawn(work)).collect();
        let joined = all.into_iter().map(|one| match one.join() {
            Ok(times) => times,
            Err(_) => bail!("a client failed"),
        });
        joined.collect::<Result<Vec<_>>>().map(|all| all.concat())
    })?;
    let seconds = start.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |share: f64| {
        let index = (times.len() as f64 * share) as usize;
        times.get(index.min(times.len().saturating_sub(1))).map_or(0.0, Duration::as_secs_f64) * 1e3
    };
    println!(
        r#"{{"rate": {:.1}, "median": {:.2}, "p99": {:.2}}}"#,
        times.len() as f64 / seconds,
        at(0.5),
        at(0.99)
    );
    Ok(())
}
