//! The socket in a registry's folder.
//!
//! A socket's path ends at 107 bytes, and folders may lie deep: it is bound and reached by way of the open folder.

use std::{
    fs::{self, File, Permissions},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::{fs::PermissionsExt as _, net::UnixStream},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
};

use super::{
    carry_head, event,
    words::{Outcome, Question, Reply, Said, VERSION, Work, done},
};
use crate::{Error, Result, app::App};

/// The socket's name.
const NAME: &str = "control.sock";

/// Bytes of a question.
const QUESTION_BYTES: u64 = 64 << 10;

/// Bytes of a reply: a scrub may have much to tell.
const REPLY_BYTES: u64 = 256 << 20;

/// How long a question may take to be written.
const PATIENCE: Duration = Duration::from_secs(5);

/// A short path to something in an open folder.
fn through(folder: &File, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()))
}

/// Listens until the registry stops. Whoever holds the lock on the folder may take the place of what a killed server
/// left there.
pub(crate) fn open(app: &Arc<App>, root: &Path) -> Result<()> {
    let failed = |source| Error::Io { what: "open the socket in", path: root.to_owned(), source };
    let folder = File::open(root).map_err(failed)?;
    let unready = through(&folder, "control.sock.new");
    remove(&unready).map_err(failed)?;
    let listener = UnixListener::bind(&unready).map_err(failed)?;
    // Others see it when only its owner can open it.
    fs::set_permissions(&unready, Permissions::from_mode(0o600)).map_err(failed)?;
    fs::rename(&unready, through(&folder, NAME)).map_err(failed)?;
    let worker = Arc::clone(app);
    app.tasks.spawn(async move {
        tokio::select! {
            () = listen(&worker, &listener) => {}
            () = worker.stop.cancelled() => {}
        }
        let _ = remove(&through(&folder, NAME));
    });
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

async fn listen(app: &Arc<App>, listener: &UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let app = Arc::clone(app);
                tokio::spawn(async move {
                    if let Err(error) = serve(&app, stream).await {
                        tracing::debug!("control: {error}");
                    }
                });
            }
            Err(error) => {
                tracing::warn!("control: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(app: &Arc<App>, mut stream: tokio::net::UnixStream) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    let own = rustix::process::geteuid();
    if peer != own.as_raw() && peer != 0 {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let mut line = String::new();
    {
        let mut reader = tokio::io::BufReader::new((&mut stream).take(QUESTION_BYTES));
        tokio::time::timeout(PATIENCE, reader.read_line(&mut line)).await??;
    }
    let said = match serde_json::from_str::<Question>(&line) {
        Ok(question) if question.version == VERSION => {
            let files = app.files.clone();
            let asked = question.work.clone().or_as_configured(&app.config());
            let work = tokio::task::spawn_blocking(move || done(&files, &asked));
            match work.await {
                Ok(Ok(outcome)) => {
                    if let Some(event) = event(&question.work, &outcome) {
                        app.noted_durably(event.by_user(peer)).await;
                    }
                    match carry_head(app.files.root(), &question.work) {
                        Ok(()) => Said::from(outcome),
                        Err(error) => Said::Failed(error.to_string()),
                    }
                }
                Ok(Err(error)) => Said::Failed(error.to_string()),
                Err(failed) => Said::Failed(failed.to_string()),
            }
        }
        Ok(_) => Said::Failed("it is of another version than this program".to_owned()),
        Err(error) => Said::Failed(format!("it does not understand: {error}")),
    };
    let mut reply = serde_json::to_vec(&Reply { version: VERSION, said })?;
    reply.push(b'\n');
    stream.write_all(&reply).await?;
    stream.shutdown().await
}

/// Asks the server that has the folder open; `None` where none has.
pub(super) fn ask(root: &Path, work: &Work) -> Result<Option<Outcome>> {
    let failed = |source| Error::Io { what: "ask the server of", path: root.to_owned(), source };
    let folder = match File::open(root) {
        Ok(folder) => folder,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut stream = match UnixStream::connect(through(&folder, NAME)) {
        Ok(stream) => stream,
        // None serves, or one was killed.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    let remote = |what: String| Error::Remote { root: root.to_owned(), what };
    let question = Question { version: VERSION, work: work.clone() };
    let mut line = serde_json::to_vec(&question).map_err(|error| remote(error.to_string()))?;
    line.push(b'\n');
    stream.write_all(&line).map_err(failed)?;
    let mut reply = String::new();
    BufReader::new(stream.take(REPLY_BYTES)).read_line(&mut reply).map_err(failed)?;
    if reply.is_empty() {
        return Err(remote("it stopped before the work was done".to_owned()));
    }
    let reply: Reply = serde_json::from_str(&reply).map_err(|error| remote(error.to_string()))?;
    reply.said.outcome().map(Some).map_err(remote)
}
