//! Nothing is replaced unasked, whenever it came to stand there, and an interruption between the renames of a split file's
//! parts is gone on from.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use mdl_formats::{Checkpoint, Limits};
use mdl_kernels::Tier;
use mdl_quant::{
    Error, Plan, Request, Scheme,
    pipeline::{self, Options, Order, Progress, Unwatched, Written},
};
use mdl_tests::{data, mdl};

/// Calls its function once, when the first bytes are written.
struct Meanwhile<F>(F, AtomicBool);

impl<F: Fn() + Sync> Progress for Meanwhile<F> {
    fn begin(&self, _: u64, _: u64) {}

    fn advance(&self, _: u64, _: &str) {
        if !self.1.swap(true, Ordering::Relaxed) {
            self.0();
        }
    }
}

fn meanwhile<F: Fn() + Sync>(act: F) -> Meanwhile<F> {
    Meanwhile(act, AtomicBool::new(false))
}

/// The tiny model in Q8_0, split where asked for.
fn write(
    destination: &Path,
    split: Option<u64>,
    force: bool,
    progress: &dyn Progress,
) -> Result<Vec<Written>, Error> {
    let checkpoint = Checkpoint::open(&data().join("tiny"), &Limits::default()).unwrap();
    let scheme = Scheme::named("Q8_0").unwrap();
    let plan = Plan::new(&checkpoint, scheme, &Request::default()).unwrap();
    let recipe = plan.recipe(Vec::new());
    let (checkpoint, plan, recipe) = (&checkpoint, &plan, &recipe);
    let order = Order { checkpoint, plan, recipe, imatrix: None, destination, split };
    let interrupt = AtomicBool::new(false);
    let options = Options { threads: 2, tier: Tier::detect(), force, interrupt: &interrupt };
    pipeline::quantize(&order, &options, progress)
}

fn names(folder: &Path) -> Vec<String> {
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| name(entry.unwrap())).collect();
    names.sort();
    names
}

fn partial(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}.partial", path.display()))
}

#[test]
fn what_appears_while_it_is_written_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.gguf");
    let refused = write(&path, None, false, &meanwhile(|| fs::write(&path, "mine").unwrap()));
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("x.gguf: exists already"), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    // The work is not lost.
    fs::remove_file(&path).unwrap();
    let resumed = AtomicBool::new(true);
    let watch = meanwhile(|| resumed.store(false, Ordering::Relaxed));
    write(&path, None, false, &watch).unwrap();
    assert!(resumed.into_inner(), "nothing is encoded again");
    assert_eq!(names(dir.path()), ["x.gguf"]);

    // Asked to, it replaces what came late too.
    let before = fs::read(&path).unwrap();
    write(&path, None, true, &meanwhile(|| fs::write(&path, "mine").unwrap())).unwrap();
    assert!(fs::read(&path).unwrap() == before);
}

#[test]
fn parts_get_their_names_all_or_resumably() {
    let dir = tempfile::tempdir().unwrap();
    let whole = write(&dir.path().join("a.gguf"), Some(1 << 20), false, &Unwatched).unwrap();
    assert!(whole.len() > 2, "{whole:?}");
    let path = dir.path().join("b.gguf");
    let part = |number: usize| dir.path().join(format!("b-{number:05}-of-{:05}.gguf", whole.len()));

    // A part's name is taken: none is published.
    let late = part(2);
    let refused =
        write(&path, Some(1 << 20), false, &meanwhile(|| fs::write(&late, "mine").unwrap()));
    assert!(refused.unwrap_err().to_string().contains("b-00002-of"), "names the part");
    assert_eq!(fs::read(&late).unwrap(), b"mine");
    assert!((1..=whole.len()).all(|number| partial(&part(number)).exists()));
    fs::remove_file(&late).unwrap();

    // As a kill after the first rename leaves it.
    fs::rename(partial(&part(1)), part(1)).unwrap();
    let made = write(&path, Some(1 << 20), false, &Unwatched).unwrap();
    for (made, whole) in made.iter().zip(&whole) {
        assert!(fs::read(&made.path).unwrap() == fs::read(&whole.path).unwrap());
        assert_eq!((&made.sha256, made.bytes), (&whole.sha256, whole.bytes));
    }
    assert_eq!(names(dir.path()).len(), 2 * whole.len(), "no journal is left");

    // Finished files are others' now, and what only looks like an interruption is no leave to replace them.
    assert!(write(&path, Some(1 << 20), false, &Unwatched).is_err());
    fs::write(format!("{}.journal", part(1).display()), "mdl journal 1 0\n").unwrap();
    let refused = write(&path, Some(1 << 20), false, &Unwatched).unwrap_err().to_string();
    assert!(refused.contains("exists already"), "{refused}");
    assert!(fs::read(part(1)).unwrap() == fs::read(&whole[0].path).unwrap());
}

/// Before the sources are read: `home`, where their digests are kept, does not come to be.
#[test]
fn destinations_are_looked_at_first() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    fs::create_dir(dir.path().join("folder.gguf")).unwrap();
    let split = ["convert", "x.gguf", "--split-max-size", "1200KiB"];
    let run = |home: &Path, arguments: &[&str]| {
        let mut command = mdl(home);
        command.current_dir(dir.path()).arg(arguments[0]).arg(data().join("tiny"));
        command.args(&arguments[1..]).output().unwrap()
    };
    let other = tempfile::tempdir().unwrap();
    assert!(run(other.path(), &split).status.success());
    let parts = names(dir.path());
    let parts: Vec<&str> =
        parts.iter().map(String::as_str).filter(|name| name.starts_with('x')).collect();
    assert!(parts.len() > 2, "{parts:?}");
    for part in parts.iter().filter(|part| **part != parts[1]) {
        fs::remove_file(dir.path().join(part)).unwrap();
    }
    let taken = format!("{}: exists", parts[1]);
    fs::write(dir.path().join("file"), "mine").unwrap();
    let before = names(dir.path());
    for (arguments, says) in [
        (&["quantize", "folder.gguf", "-s", "Q4_K_M", "--force"][..], "folder.gguf: a folder"),
        (&["convert", "folder.gguf", "--force"], "folder.gguf: a folder"),
        (&["convert", "file", "--force"], "file: a file, which a folder does not replace"),
        (&split, &taken),
    ] {
        let done = run(&home, arguments);
        let stderr = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(says), "{stderr}");
        assert_eq!(names(dir.path()), before, "{arguments:?}");
    }
}
