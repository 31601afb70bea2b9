//! Chains that hold, and every way of ours to break one.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    thread,
};

use proptest::prelude::*;

use super::{
    Audit, Event, Head, Kind, Verdict,
    append::{LOCK, Log},
    carry, head, log, note, note_account, restored, verify,
};
use crate::{Config, config::AuditLog};

struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// With a log of so many lines.
    fn with(lines: u64) -> Self {
        let scene = Self::new();
        Scene::add(&mut scene.log(), 0..lines);
        scene
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn path(&self) -> PathBuf {
        self.root().join("audit.jsonl")
    }

    fn log(&self) -> Log {
        Log::new(self.root(), &self.path())
    }

    fn add(log: &mut Log, numbers: std::ops::Range<u64>) -> Head {
        let mut head = None;
        for number in numbers {
            let event = Event::new(Kind::Push).text("repository", "a/b").count("number", number);
            head = Some(log.append(&[&event]).unwrap());
        }
        head.unwrap()
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }

    /// The log by itself, whatever else is known of it.
    fn judged(&self, head: Option<&Head>) -> Verdict {
        verify(None, &[self.path()], head).unwrap()
    }

    /// The log as its registry knows it.
    fn own(&self) -> Verdict {
        verify(Some(self.root()), &[], None).unwrap()
    }
}

fn joined(lines: &[String]) -> String {
    lines.join("\n") + "\n"
}

fn held(verdict: &Verdict) -> (u64, u64, u64) {
    match verdict {
        Verdict::Holds(report) => (report.begins, report.lines, report.head.seq),
        other => panic!("{other:?}"),
    }
}

fn fault(verdict: Verdict) -> (u64, String) {
    match verdict {
        Verdict::Broken(fault) => (fault.line, fault.what),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_chain_begins_with_one_and_is_its_owners() {
    let scene = Scene::with(3);
    assert_eq!(held(&scene.own()), (1, 3, 3));
    let first = &scene.lines()[0];
    assert!(first.starts_with("{\"seq\":1,") && first.contains(&"0".repeat(64)), "{first}");
    for name in ["audit.jsonl", LOCK] {
        let mode = fs::metadata(scene.root().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let end = head(scene.root()).unwrap().unwrap();
    assert_eq!(end, Head::after(3, scene.lines()[2].as_bytes()));
    assert_eq!(head(Scene::new().root()).unwrap(), None);
}

#[test]
fn what_a_crash_left_is_cut_off_and_told_of() {
    let scene = Scene::with(2);
    let whole = scene.text();
    for torn in ["{", "{\"seq\":3,\"time\":\"20", "\u{0}\u{0}\u{0}"] {
        fs::write(scene.path(), format!("{whole}{torn}")).unwrap();
        let _ = fs::remove_file(scene.root().join(LOCK));
        let verdict = scene.own();
        let Verdict::Holds(report) = &verdict else { panic!("{verdict:?}") };
        assert_eq!((report.lines, report.torn), (2, torn.len() as u64));
        Scene::add(&mut scene.log(), 0..1);
        assert_eq!(held(&scene.own()), (1, 4, 4));
        let cut = &scene.lines()[2];
        assert!(cut.contains("\"event\":\"cut\""), "{cut}");
        assert!(cut.contains(&format!("\"bytes\":{}", torn.len())), "{cut}");
    }
    // Nothing but a torn first line.
    let scene = Scene::new();
    fs::write(scene.path(), "{\"se").unwrap();
    Scene::add(&mut scene.log(), 0..1);
    assert_eq!(held(&scene.own()), (1, 2, 2));
}

#[test]
fn what_is_no_log_is_not_added_to() {
    let scene = Scene::new();
    for other in ["something else\n", "{\"seq\":1}\n", &format!("{}\n", "x".repeat(300_000))] {
        fs::write(scene.path(), other).unwrap();
        let error = scene.log().append(&[&Event::new(Kind::Push)]).unwrap_err().to_string();
        assert!(error.contains("last line"), "{error}");
        assert_eq!(scene.text(), other);
        assert_eq!(fault(scene.judged(None)).0, 1);
    }
    fs::remove_file(scene.path()).unwrap();
    fs::create_dir(scene.path()).unwrap();
    assert!(scene.log().check().unwrap_err().to_string().contains("no file"));
    fs::remove_dir(scene.path()).unwrap();
    std::os::unix::fs::symlink("/dev/full", scene.path()).unwrap();
    assert!(scene.log().append(&[&Event::new(Kind::Push)]).is_err());
}

#[test]
fn several_write_at_once() {
    let scene = Scene::new();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| Scene::add(&mut scene.log(), 0..50));
            // One that looks anew for every line, as commands do.
            scope.spawn(|| (0..50).for_each(|_| drop(Scene::add(&mut scene.log(), 0..1))));
        }
    });
    assert_eq!(held(&scene.own()), (1, 400, 400));
}

#[test]
fn a_log_that_was_renamed_goes_on_in_a_new_file() {
    let scene = Scene::new();
    let mut server = scene.log();
    Scene::add(&mut server, 0..3);
    let old = scene.root().join("audit.jsonl.1");
    fs::rename(scene.path(), &old).unwrap();
    // A command comes first, which never saw the old one; then the server, which has it open.
    Scene::add(&mut scene.log(), 3..4);
    Scene::add(&mut server, 4..6);
    assert_eq!(held(&scene.own()), (4, 3, 6));
    let both = verify(None, &[old.clone(), scene.path()], None).unwrap();
    assert_eq!(held(&both), (1, 6, 6));
    let (line, what) = fault(verify(None, &[scene.path(), old.clone()], None).unwrap());
    assert!(line == 1 && what.contains("number is 1, expected 7"), "{what}");
    // Emptied in its place.
    fs::copy(scene.path(), scene.root().join("audit.jsonl.2")).unwrap();
    fs::write(scene.path(), "").unwrap();
    Scene::add(&mut server, 6..7);
    let all = [old, scene.root().join("audit.jsonl.2"), scene.path()];
    assert_eq!(held(&verify(None, &all, None).unwrap()), (1, 7, 7));
}

#[test]
fn every_single_tampering_is_told() {
    let scene = Scene::with(6);
    let (whole, lines) = (scene.text(), scene.lines());
    let exported = head(scene.root()).unwrap().unwrap();
    let with = |lines: &[String]| {
        fs::write(scene.path(), joined(lines)).unwrap();
        scene.judged(None)
    };
    // A byte.
    let mut changed = lines.clone();
    changed[2] = changed[2].replace("a/b", "a/c");
    let (line, what) = fault(with(&changed));
    assert!(line == 4 && what.contains("was changed"), "{what}");
    // One less, two swapped, one more, one twice.
    let mut less = lines.clone();
    less.remove(2);
    let (line, what) = fault(with(&less));
    assert!(line == 3 && what.contains("number is 4, expected 3"), "{what}");
    let mut swapped = lines.clone();
    swapped.swap(1, 2);
    assert_eq!(fault(with(&swapped)).0, 2);
    let mut more = lines.clone();
    let forged = Event::new(Kind::Pull).line(&Head::after(3, lines[2].as_bytes()), 4);
    more.insert(3, forged);
    assert_eq!(fault(with(&more)).0, 5);
    let mut twice = lines.clone();
    twice.insert(3, lines[2].clone());
    assert_eq!(fault(with(&twice)).0, 4);
    // The end, in the middle of a line or between two: only a head tells, or what was noted.
    for end in [whole.len() - 1, whole.len() - 20, whole.len() - lines[5].len() - 1] {
        fs::write(scene.path(), &whole[..end]).unwrap();
        assert_eq!(held(&scene.judged(None)).1, 5);
        for verdict in [scene.judged(Some(&exported)), scene.own()] {
            let (line, what) = fault(verdict);
            assert!(line == 5 && what.contains("lines were cut off"), "{what}");
        }
    }
    // The beginning: an older head tells, where there is one.
    let old = Head::after(2, lines[1].as_bytes());
    let cut = joined(&lines[4..]);
    fs::write(scene.path(), cut).unwrap();
    assert_eq!(held(&scene.judged(Some(&exported))), (5, 2, 6));
    let (_, what) = fault(scene.judged(Some(&old)));
    assert!(what.contains("give older files too"), "{what}");
    // All of it, written anew.
    let other = Scene::with(7);
    fs::write(scene.path(), other.text()).unwrap();
    assert_eq!(held(&scene.judged(None)), (1, 7, 7));
    for verdict in [scene.judged(Some(&exported)), scene.own()] {
        let (line, what) = fault(verdict);
        assert!(line == 6 && what.contains("written anew"), "{what}");
    }
    fs::write(scene.path(), "").unwrap();
    assert_eq!(scene.judged(None), Verdict::Empty);
    assert!(fault(scene.own()).1.contains("cut off"));
    fs::remove_file(scene.path()).unwrap();
    assert!(fault(scene.own()).1.contains("cut off"));
}

#[test]
fn a_log_that_was_cut_while_nobody_looked_keeps_its_gap() {
    let scene = Scene::new();
    let mut server = scene.log();
    Scene::add(&mut server, 0..6);
    let short = joined(&scene.lines()[..3]);
    fs::write(scene.path(), short).unwrap();
    // By the server that wrote it, and by one that begins.
    Scene::add(&mut server, 6..7);
    Scene::add(&mut scene.log(), 7..8);
    let (line, what) = fault(scene.judged(None));
    assert!(line == 4 && what.contains("number is 7, expected 4"), "{what}");
}

#[test]
fn a_backup_takes_the_head_along_and_another_registry_goes_on_from_it() {
    let (scene, copy, other) = (Scene::with(3), Scene::new(), Scene::new());
    carry(scene.root(), copy.root()).unwrap();
    restored(copy.root(), other.root()).unwrap();
    note(other.root(), &Event::here(Kind::Restore)).unwrap();
    assert_eq!(held(&other.own()), (4, 1, 4));
    let both = [scene.path(), other.path()];
    assert_eq!(held(&verify(None, &both, None).unwrap()), (1, 4, 4));
    // From one without a log.
    let (plain, none) = (Scene::new(), Scene::new());
    carry(plain.root(), none.root()).unwrap();
    restored(none.root(), other.root()).unwrap();
    assert_eq!(head(none.root()).unwrap(), None);
}

fn configured(audit: Option<AuditLog>) -> Config {
    Config { audit, ..Config::default() }
}

#[test]
fn commands_find_the_log_where_the_configuration_puts_it() {
    let scene = Scene::new();
    note(scene.root(), &Event::here(Kind::Backup)).unwrap();
    assert_eq!(log(scene.root()).unwrap(), None, "without accounts there is none");
    let elsewhere = scene.root().join("elsewhere.jsonl");
    let there = AuditLog { to: Some(elsewhere.clone()), pulls: true };
    Audit::open(scene.root(), &configured(Some(there)), false).unwrap();
    note(scene.root(), &Event::here(Kind::Backup)).unwrap();
    assert!(elsewhere.exists() && !scene.path().exists());
    let off = AuditLog { to: Some("off".into()), pulls: true };
    Audit::open(scene.root(), &configured(Some(off)), true).unwrap();
    note_account(scene.root(), &Event::here(Kind::AccountAdded)).unwrap();
    assert_eq!(head(scene.root()).unwrap(), None);
    Audit::open(scene.root(), &configured(None), false).unwrap();
    note_account(scene.root(), &Event::here(Kind::AccountAdded)).unwrap();
    assert_eq!(log(scene.root()).unwrap(), Some(scene.path()));
}

#[tokio::test]
async fn while_it_cannot_be_written_nothing_may_change() {
    let scene = Scene::new();
    let audit = Audit::open(scene.root(), &configured(Some(AuditLog::default())), false).unwrap();
    audit.settled(Event::new(Kind::Push)).await.unwrap();
    audit.ready().unwrap();
    let aside = scene.root().join("aside");
    fs::rename(scene.path(), &aside).unwrap();
    fs::create_dir(scene.path()).unwrap();
    let refused = audit.settled(Event::new(Kind::Delete)).await.unwrap_err();
    assert_eq!(refused.status.as_u16(), 503);
    assert!(audit.ready().is_err() && audit.figures().failing.get() == 1);
    // More than finds room.
    for _ in 0..3000 {
        audit.told(Event::new(Kind::Pull)).await;
    }
    assert!(audit.figures().lost.get() >= 1500);
    fs::remove_dir(scene.path()).unwrap();
    while audit.ready().is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    audit.settled(Event::new(Kind::Mount)).await.unwrap();
    audit.own(Event::new(Kind::Stopped));
    audit.close();
    // What was done and not written came late, and what was lost is told of.
    let text = scene.text();
    for what in ["\"delete\"", "\"lost\"", "\"mount\"", "\"stopped\""] {
        assert_eq!(text.matches(what).count(), 1, "{what}");
    }
    let (_, lines, seq) = held(&verify(None, &[aside, scene.path()], None).unwrap());
    assert!(lines > 1000, "{lines}");
    assert_eq!(Head::read(&scene.root().join("audit-head.json")).unwrap().seq, seq);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_byte_can_be_changed_or_removed(at in 0.0..1.0_f64, change in 0..4_u8, byte in any::<u8>()) {
        let scene = Scene::with(5);
        let exported = head(scene.root()).unwrap().unwrap();
        let mut bytes = fs::read(scene.path()).unwrap();
        let at = (bytes.len() as f64 * at) as usize;
        match change {
            0 if bytes[at] == byte => bytes[at] ^= 1,
            0 => bytes[at] = byte,
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, byte),
            _ => bytes.truncate(at),
        }
        fs::write(scene.path(), &bytes).unwrap();
        for verdict in [scene.judged(Some(&exported)), scene.own()] {
            prop_assert!(matches!(verdict, Verdict::Broken(_)), "{change} at {at}: {verdict:?}");
        }
    }
}
