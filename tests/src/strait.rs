//! A narrow way to a server: every connection brings so many bytes a second and no more.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// A proxy that narrows.
#[derive(Debug)]
pub struct Strait {
    /// `127.0.0.1:PORT`.
    pub host: String,
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Strait {
    /// Leads to a server; `rate` is in bytes a second for what it answers.
    ///
    /// # Panics
    /// Where loopback does not work.
    #[expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    pub fn to(server: &str, rate: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let strait = Self { host, open: Arc::default(), most: Arc::default() };
        let (server, open, most) = (server.to_owned(), strait.open.clone(), strait.most.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (server, open, most) = (server.clone(), open.clone(), most.clone());
                thread::spawn(move || {
                    most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    lead(client, &server, rate);
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        strait
    }

    /// The most connections at once.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

fn lead(client: TcpStream, server: &str, rate: u64) -> Option<()> {
    let server = TcpStream::connect(server).ok()?;
    let (mut from, mut to) = (client.try_clone().ok()?, server.try_clone().ok()?);
    let asking = thread::spawn(move || {
        // It ends when either side does.
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let (mut from, mut to) = (server, client);
    let mut buffer = vec![0; 64 << 10];
    let (began, mut sent) = (Instant::now(), 0);
    loop {
        let read = from.read(&mut buffer).unwrap_or(0);
        if read == 0 || to.write_all(buffer.get(..read)?).is_err() {
            break;
        }
        sent += read as u64;
        let due = Duration::from_secs_f64(sent as f64 / rate as f64);
        thread::sleep(due.saturating_sub(began.elapsed()));
    }
    // The same.
    let _ = to.shutdown(Shutdown::Both);
    asking.join().ok()
}
