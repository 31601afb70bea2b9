//! What a server's requests did, on its way to the log: a queue of bounded length, and a thread that adds what waits in it
//! as one batch.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use http::{StatusCode, header};
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{
    append::Log,
    event::{Event, Kind},
    place::Place,
};
use crate::{Config, Error, Result, refusal::Refusal};

/// Events that wait to be written.
const WAITING: usize = 1024;

/// Events that are written at once.
const BATCH: usize = 256;

/// How long a request waits for room in the queue.
const ROOM: Duration = Duration::from_secs(5);

/// How long a request that changed something waits for its line.
const DURABLE: Duration = Duration::from_secs(30);

/// How often a log that could not be written is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// How long the last lines may take when the server stops.
const CLOSING: Duration = Duration::from_secs(3);

/// Its figures.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    pub(crate) lines: Counter,
    pub(crate) lost: Counter,
    pub(crate) failing: Gauge,
}

/// The audit log of a server.
#[derive(Debug)]
pub(crate) struct Audit {
    root: PathBuf,
    place: RwLock<Place>,
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
    queue: Sender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread and the requests both look at.
#[derive(Debug, Default)]
struct Shared {
    failing: AtomicBool,
    /// What found no room, and is not yet told of in the log.
    lost: AtomicU64,
    figures: Figures,
}

#[derive(Debug)]
enum Message {
    Event(Waiting),
    /// Goes on in this log; its file is opened anew.
    Place(PathBuf),
    Close,
}

#[derive(Debug)]
struct Waiting {
    event: Event,
    /// Its place in the queue; none of what the server itself does.
    _permit: Option<OwnedSemaphorePermit>,
    /// Hears whether the line is durable.
    done: Option<oneshot::Sender<bool>>,
}

impl Audit {
    /// That of a registry's folder; `asks` says whether there are accounts.
    ///
    /// # Errors
    /// [`Error::Io`] for a log that cannot be opened.
    pub(crate) fn open(root: &Path, config: &Config, asks: bool) -> Result<Self> {
        let place = Place::of(root, config);
        check(root, &place, asks)?;
        place.tell(root)?;
        let (queue, messages) = channel();
        let shared = Arc::<Shared>::default();
        let log = Log::new(root, place.path().unwrap_or(Path::new("")));
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || Writer { log, shared, waiting: Vec::new() }.run(&messages)
        });
        Ok(Self {
            root: root.to_owned(),
            place: RwLock::new(place),
            shared,
            room: Arc::new(Semaphore::new(WAITING)),
            queue,
            thread: Mutex::new(Some(thread)),
        })
    }

    pub(crate) fn figures(&self) -> &Figures {
        &self.shared.figures
    }

    /// From now on it is kept as a configuration says, in a file that is opened anew.
    ///
    /// # Errors
    /// [`Error::Io`] for a log that cannot be opened: it stays where it was.
    pub(crate) fn reopen(&self, config: &Config, asks: bool) -> Result<()> {
        let place = Place::of(&self.root, config);
        check(&self.root, &place, asks)?;
        place.tell(&self.root)?;
        if let Some(path) = place.path() {
            let _ = self.queue.send(Message::Place(path.to_owned()));
        }
        *self.place.write().unwrap_or_else(PoisonError::into_inner) = place;
        Ok(())
    }

    /// Whether anything is recorded; `asks` says whether there are accounts, where that matters.
    pub(crate) fn is_on(&self, asks: impl FnOnce() -> bool) -> bool {
        match &*self.place.read().unwrap_or_else(PoisonError::into_inner) {
            Place::Off => false,
            Place::At(_) => true,
            Place::WithAccounts(_) => asks(),
        }
    }

    /// Refuses changes while they could not be recorded.
    pub(super) fn ready(&self) -> Result<(), Refusal> {
        if self.shared.failing.load(Ordering::Acquire) { Err(unwritten()) } else { Ok(()) }
    }

    /// Records what changed something; done when it is durable. Where it is not, it is kept, and written as soon as that
    /// goes again.
    pub(super) async fn settled(&self, event: Event) -> Result<(), Refusal> {
        let permit = self.permit().await.ok_or_else(unwritten)?;
        self.settled_in(permit, event).await
    }

    /// Room in the queue, which who is about to change something takes first.
    pub(super) async fn room(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        self.ready()?;
        self.permit().await.ok_or_else(unwritten)
    }

    /// As [`Audit::settled`], in room that was taken before.
    pub(super) async fn settled_in(
        &self,
        permit: OwnedSemaphorePermit,
        event: Event,
    ) -> Result<(), Refusal> {
        let (done, heard) = oneshot::channel();
        let waiting = Waiting { event, _permit: Some(permit), done: Some(done) };
        self.queue.send(Message::Event(waiting)).map_err(|_| unwritten())?;
        match tokio::time::timeout(DURABLE, heard).await {
            Ok(Ok(true)) => Ok(()),
            _ => Err(unrecorded()),
        }
    }

    /// Records what changed nothing: it waits for no more than room in the queue, and where none comes, how much was lost
    /// is recorded.
    pub(super) async fn told(&self, event: Event) {
        match self.permit().await {
            Some(permit) => {
                let waiting = Waiting { event, _permit: Some(permit), done: None };
                let _ = self.queue.send(Message::Event(waiting));
            }
            None => {
                self.shared.lost.fetch_add(1, Ordering::AcqRel);
                self.shared.figures.lost.inc();
            }
        }
    }

    /// Records what the server itself did.
    pub(super) fn own(&self, event: Event) {
        let _ = self.queue.send(Message::Event(Waiting { event, _permit: None, done: None }));
    }

    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() {
            return Some(permit);
        }
        // Who only reads is not held up by a log that cannot be written.
        if self.shared.failing.load(Ordering::Acquire) {
            return None;
        }
        let room = Arc::clone(&self.room).acquire_owned();
        tokio::time::timeout(ROOM, room).await.ok()?.ok()
    }

    /// Writes what waits, and how far the chain is.
    pub(crate) fn close(&self) {
        let _ = self.queue.send(Message::Close);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let until = Instant::now() + CLOSING;
        while thread.as_ref().is_some_and(|it| !it.is_finished()) && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Whether a log that will be written could be.
fn check(root: &Path, place: &Place, asks: bool) -> Result<()> {
    let path = match place {
        Place::At(path) => path,
        Place::WithAccounts(path) if asks => path,
        Place::Off | Place::WithAccounts(_) => return Ok(()),
    };
    Log::new(root, path).check().map_err(|source| Error::Io {
        what: "open the audit log",
        path: path.clone(),
        source,
    })
}

/// Of what was done when it turned out that its line cannot be written.
fn unrecorded() -> Refusal {
    let what = "this was done, but the registry cannot write its audit log: it is recorded as soon as that goes, and \
                nothing else is changed until then";
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", what)
        .with(header::RETRY_AFTER, "10")
}

fn unwritten() -> Refusal {
    let what = "the registry cannot write its audit log, and changes nothing until it can";
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", what)
        .with(header::RETRY_AFTER, "10")
}

/// The thread that writes.
struct Writer {
    log: Log,
    shared: Arc<Shared>,
    waiting: Vec<Waiting>,
}

impl Writer {
    fn run(mut self, messages: &Receiver<Message>) {
        let mut is_open = true;
        while is_open {
            is_open = if self.waiting.is_empty() {
                messages.recv().is_ok_and(|message| self.take(message)) && self.batch(messages)
            } else {
                self.gather(messages)
            };
            self.write();
        }
        if let Err(error) = self.keep_head() {
            tracing::warn!("the head of the audit log is not kept: {error}");
        }
        if !self.waiting.is_empty() {
            tracing::error!("{} lines of the audit log were not written", self.waiting.len());
        }
    }

    /// Takes what waits already; whether more is to come.
    fn batch(&mut self, messages: &Receiver<Message>) -> bool {
        while self.waiting.len() < BATCH {
            let Ok(message) = messages.try_recv() else { return true };
            if !self.take(message) {
                return false;
            }
        }
        true
    }

    /// Takes what comes for a while, as long as nothing can be written; whether more is to come.
    fn gather(&mut self, messages: &Receiver<Message>) -> bool {
        let until = Instant::now() + AGAIN;
        loop {
            match messages.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(message) => {
                    if !self.take(message) {
                        return false;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => return true,
            }
        }
    }

    /// Whether more is to come.
    fn take(&mut self, message: Message) -> bool {
        match message {
            Message::Event(waiting) => self.waiting.push(waiting),
            Message::Place(path) => {
                // What came before belongs to the file before.
                self.write();
                if let Err(error) = self.keep_head() {
                    tracing::warn!("the head of the audit log is not kept: {error}");
                }
                self.log = Log::new(self.log.root(), &path);
            }
            Message::Close => return false,
        }
        true
    }

    fn keep_head(&mut self) -> std::io::Result<()> {
        if self.log.was_used() { self.log.keep_head() } else { Ok(()) }
    }

    fn write(&mut self) {
        let count = self.shared.lost.swap(0, Ordering::AcqRel);
        let lost = (count > 0).then(|| Event::new(Kind::Lost).count("events", count));
        let events: Vec<&Event> = self.waiting.iter().map(|it| &it.event).chain(&lost).collect();
        if events.is_empty() {
            return;
        }
        let lines = events.len() as u64;
        let written = self.log.append(&events);
        let was_failing = self.shared.failing.swap(written.is_err(), Ordering::AcqRel);
        self.shared.figures.failing.set(i64::from(written.is_err()));
        let path = self.log.path().display();
        match &written {
            Ok(_) => {
                self.shared.figures.lines.inc_by(lines);
                if was_failing {
                    tracing::warn!("the audit log {path} is written again");
                }
            }
            Err(error) => {
                if !was_failing {
                    tracing::error!(
                        "cannot write the audit log {path}, and nothing may be changed until that goes: {error}"
                    );
                }
                self.shared.lost.fetch_add(count, Ordering::AcqRel);
            }
        }
        for waiting in &mut self.waiting {
            if let Some(done) = waiting.done.take() {
                // Who asked may have gone.
                let _ = done.send(written.is_ok());
            }
        }
        if written.is_ok() {
            self.waiting.clear();
        }
    }
}
