//! The same inputs give the same bytes: whatever the threads, instruction set, folder and file times, from the recipe
//! that a file embeds, and after any interruption.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails may say so, and figures are for its reader"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant, SystemTime},
};

use mdl_formats::{
    Tensor,
    gguf::{Layout, Metadata},
};
use mdl_kernels::{TensorType, Tier};
use mdl_tests::{data, golden, mdl, model, need, output, skipped};

/// `mdl quantize SOURCE DESTINATION -s SCHEME`.
fn quantize(home: &Path, source: &Path, destination: &Path, scheme: &str) -> Command {
    let mut command = mdl(home);
    command.arg("quantize").arg(source).arg(destination).args(["--scheme", scheme]);
    command
}

fn made(command: &mut Command, destination: &Path) -> Vec<u8> {
    output(command);
    let bytes = fs::read(destination).unwrap();
    fs::remove_file(destination).unwrap();
    bytes
}

#[test]
fn threads_and_tiers_change_no_byte() {
    let dir = tempfile::tempdir().unwrap();
    let (source, file) = (data().join("tiny"), dir.path().join("x.gguf"));
    for scheme in ["Q4_K_M", "Q3_K_S", "IQ4_XS", "Q5_1"] {
        let expected = made(&mut quantize(dir.path(), &source, &file, scheme), &file);
        for tier in Tier::available() {
            for threads in ["1", "2", "5"] {
                let mut command = quantize(dir.path(), &source, &file, scheme);
                command.env("MDL_TIER", tier.name()).env("MDL_THREADS", threads);
                let bytes = made(&mut command, &file);
                assert!(bytes == expected, "{scheme}: {tier:?}, {threads} threads");
            }
        }
    }
}

/// Copies a folder's files and makes them an hour old.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copy = to.join(path.file_name().unwrap());
        fs::write(&copy, fs::read(&path).unwrap()).unwrap();
        let hour_ago = SystemTime::now() - Duration::from_hours(1);
        fs::File::options().append(true).open(copy).unwrap().set_modified(hour_ago).unwrap();
    }
}

#[test]
fn place_and_time_change_no_byte() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.gguf");
    let expected = made(&mut quantize(dir.path(), &data().join("tiny"), &file, "Q4_K_M"), &file);
    let elsewhere = dir.path().join("some where/else");
    copy(&data().join("tiny"), &elsewhere);
    let other = dir.path().join("some where/named otherwise.gguf");
    let mut command = quantize(&dir.path().join("home 2"), Path::new("else"), &other, "Q4_K_M");
    command.current_dir(dir.path().join("some where")).env("TZ", "Asia/Tokyo");
    command.env("LC_ALL", "de_DE.UTF-8");
    assert!(made(&mut command, &other) == expected);
}

#[test]
fn the_embedded_recipe_makes_the_same_file() {
    let dir = tempfile::tempdir().unwrap();
    let (source, file) = (data().join("tiny"), dir.path().join("x.gguf"));
    let mut first = quantize(dir.path(), &source, &file, "Q4_K_M");
    output(first.args(["--tensor-type", "blk.0.attn_v.weight=Q8_0"]));
    let shown = output(mdl(dir.path()).arg("inspect").arg("--json").arg(&file));
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let recipe = dir.path().join("recipe.toml");
    fs::write(&recipe, shown["recipe"].as_str().unwrap()).unwrap();
    let again = dir.path().join("again.gguf");
    let mut command = mdl(dir.path());
    output(command.arg("quantize").arg(&source).arg(&again).arg("--recipe").arg(&recipe));
    assert!(fs::read(&again).unwrap() == fs::read(&file).unwrap());

    // For another model the recipe is refused, naming what differs.
    let mut command = mdl(dir.path());
    command.arg("quantize").arg(golden("llama2")).arg(dir.path().join("no.gguf"));
    let refused = command.arg("--recipe").arg(&recipe).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).starts_with("error: "));
    assert!(!dir.path().join("no.gguf").exists());
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

/// Slabs that an interrupted run's journal holds; its first line names the work.
fn journalled(destination: &Path) -> usize {
    let text = fs::read_to_string(beside(destination, ".journal")).unwrap_or_default();
    text.lines().count().saturating_sub(1)
}

/// Runs until the journal holds `slabs` more lines, then kills with SIGKILL. False where it was done before.
fn run_and_kill(command: &mut Command, destination: &Path, slabs: usize) -> bool {
    let until = journalled(destination) + slabs;
    let mut running = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while journalled(destination) < until && begun.elapsed() < Duration::from_secs(20) {
        if let Some(status) = running.try_wait().unwrap() {
            assert!(status.success());
            return false;
        }
        sleep(Duration::from_millis(1));
    }
    running.kill().unwrap();
    !running.wait().unwrap().success()
}

/// One thread and plain code, so that there is time to interrupt it.
fn slow(home: &Path, source: &Path, destination: &Path, scheme: &str) -> Command {
    let mut command = quantize(home, source, destination, scheme);
    command.args(["--threads", "1", "--tier", "portable"]);
    command
}

fn nothing_left(destination: &Path) {
    assert!(!beside(destination, ".partial").exists());
    assert!(!beside(destination, ".journal").exists());
}

/// Killed again and again; gives how often, and the digest must be that of a run left alone.
fn killed(source: &Path, scheme: &str, steps: &[usize]) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let (whole, file) = (dir.path().join("whole.gguf"), dir.path().join("x.gguf"));
    let expected = made(&mut quantize(dir.path(), source, &whole, scheme), &whole);
    let mut kills = 0;
    for slabs in steps {
        if !run_and_kill(&mut slow(dir.path(), source, &file, scheme), &file, *slabs) {
            break;
        }
        assert!(!file.exists(), "visible before it was complete");
        kills += 1;
    }
    let kept = journalled(&file);
    output(slow(dir.path(), source, &file, scheme).arg("--force"));
    assert!(fs::read(&file).unwrap() == expected, "after {kills} interruptions");
    nothing_left(&file);
    println!("{kills} interruptions, {kept} slabs kept");
    kills
}

#[test]
fn killed_runs_go_on_to_the_same_bytes() {
    assert!(killed(&data().join("tiny"), "Q4_K_M", &[1, 3, 7, 2]) > 0);
}

#[test]
fn killed_runs_of_a_real_model_go_on_to_the_same_bytes() {
    let source = need!(model("SmolLM2-135M-Instruct.Q4_1.gguf"));
    let dir = tempfile::tempdir().unwrap();
    let float = dir.path().join("f16.gguf");
    output(mdl(dir.path()).arg("convert").arg(source).arg(&float).args(["--type", "f16"]));
    assert_eq!(killed(&float, "Q5_K_S", &[1, 40, 3, 90]), 4);
}

/// The destination's name appears when the file is whole, not before.
#[test]
fn a_file_is_never_visible_half_written() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.gguf");
    let source = data().join("tiny");
    let mut running =
        slow(dir.path(), &source, &file, "Q4_K_M").stdout(Stdio::null()).spawn().unwrap();
    let mut polls = 0;
    let seen = loop {
        match fs::read(&file) {
            Ok(bytes) => break bytes,
            Err(_) => polls += 1,
        }
        assert!(running.try_wait().unwrap().is_none_or(|status| status.success()));
        sleep(Duration::from_millis(1));
    };
    assert!(running.wait().unwrap().success());
    assert!(polls > 0 && seen == fs::read(&file).unwrap());
}

/// What an interrupted run left is not used for other work.
#[test]
fn another_source_or_scheme_starts_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (source, file) = (dir.path().join("model"), dir.path().join("x.gguf"));
    copy(&data().join("tiny"), &source);
    assert!(run_and_kill(&mut slow(dir.path(), &source, &file, "Q4_K_M"), &file, 4));
    assert!(journalled(&file) >= 4);
    let other = dir.path().join("other.gguf");
    let expected = made(&mut quantize(dir.path(), &source, &other, "Q5_K_M"), &other);
    assert!(made(&mut quantize(dir.path(), &source, &file, "Q5_K_M"), &file) == expected);

    assert!(run_and_kill(&mut slow(dir.path(), &source, &file, "Q4_K_M"), &file, 4));
    let weights = source.join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    fs::write(&weights, bytes).unwrap();
    let expected = made(&mut quantize(dir.path(), &source, &other, "Q4_K_M"), &other);
    assert!(made(&mut quantize(dir.path(), &source, &file, "Q4_K_M"), &file) == expected);
    nothing_left(&file);
}

/// A damaged unfinished file is not built upon.
#[test]
fn damage_in_an_unfinished_file_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (source, file) = (data().join("tiny"), dir.path().join("x.gguf"));
    let other = dir.path().join("other.gguf");
    let expected = made(&mut quantize(dir.path(), &source, &other, "Q4_K_M"), &other);
    assert!(run_and_kill(&mut slow(dir.path(), &source, &file, "Q4_K_M"), &file, 6));
    let partial = beside(&file, ".partial");
    let mut bytes = fs::read(&partial).unwrap();
    let middle = bytes.len() - 1000;
    bytes[middle] ^= 0x55;
    fs::write(&partial, bytes).unwrap();
    assert!(made(&mut quantize(dir.path(), &source, &file, "Q4_K_M"), &file) == expected);
}

fn refused(command: &mut Command, says: &str) {
    let done = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(says), "{stderr}");
}

#[test]
fn nothing_is_replaced_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let (source, file) = (data().join("tiny"), dir.path().join("x.gguf"));
    fs::write(&file, "mine").unwrap();
    refused(&mut quantize(dir.path(), &source, &file, "Q4_K_M"), "exists");
    refused(mdl(dir.path()).arg("convert").arg(&source).arg(&file), "exists");
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    nothing_left(&file);
    output(quantize(dir.path(), &source, &file, "Q4_K_M").arg("--force"));

    // Not even when asked: the source.
    let before = fs::read(&file).unwrap();
    let mut command = quantize(dir.path(), &file, &file, "Q3_K_M");
    refused(command.args(["--force", "--allow-requantize"]), "is the source itself");
    let link = dir.path().join("link.gguf");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let mut command = quantize(dir.path(), &file, &link, "Q3_K_M");
    refused(command.args(["--force", "--allow-requantize"]), "is the source itself");
    assert!(fs::read(&file).unwrap() == before);
    nothing_left(&file);
}

/// Reading the source for its digest takes as long as the source is large: 64 GiB of nothing here.
#[test]
fn ctrl_c_stops_the_hashing_of_sources() {
    let dir = tempfile::tempdir().unwrap();
    let (source, file) = (dir.path().join("large.gguf"), dir.path().join("x.gguf"));
    let shape = vec![1 << 14, 1 << 20];
    let tensor = Tensor { name: "large.weight".into(), ty: TensorType::F32, shape };
    let layout = Layout::new(&source, &Metadata::new(), &[tensor]).unwrap();
    fs::write(&source, &layout.header).unwrap();
    fs::File::options().append(true).open(&source).unwrap().set_len(layout.len).unwrap();
    let mut command = mdl(dir.path());
    command.arg("convert").arg(&source).arg(&file).stdout(Stdio::null()).stderr(Stdio::piped());
    let running = command.spawn().unwrap();
    let begun = Instant::now();
    let read = || {
        let text = fs::read_to_string(format!("/proc/{}/io", running.id())).unwrap_or_default();
        let read = text.lines().find_map(|line| line.strip_prefix("rchar: "));
        read.and_then(|bytes| bytes.parse::<u64>().ok()).unwrap_or(0)
    };
    while read() < 64 << 20 && begun.elapsed() < Duration::from_secs(20) {
        sleep(Duration::from_millis(1));
    }
    output(Command::new("kill").arg("-INT").arg(running.id().to_string()));
    let asked = Instant::now();
    let done = running.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(130), "{stderr}");
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert!(stderr.contains("interrupted"), "{stderr}");
    assert!(!file.exists());
    nothing_left(&file);
}

/// In a mount namespace of its own, on a file system of 2 MiB that later grows.
#[test]
fn a_full_disk_is_said_and_gone_on_from() {
    const SCRIPT: &str = r#"set -e
        mount -t tmpfs -o size=2m none "$1"
        shift
        "$@" && exit 9
        ls "$OUT" "$(dirname "$OUT")" >&2 || true
        mount -o remount,size=32m "$(dirname "$OUT")"
        "$@" >/dev/null
        cp "$OUT" "$KEEP"; ls "$(dirname "$OUT")"
    "#;
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]);
        command
    };
    let dir = tempfile::tempdir().unwrap();
    let possible = unshare("mount -t tmpfs -o size=1m none \"$1\"").arg(dir.path()).output();
    if !possible.is_ok_and(|done| done.status.success()) {
        return skipped("a_full_disk_is_said_and_gone_on_from", "the right to mount");
    }
    let (source, whole) = (data().join("tiny"), dir.path().join("whole.gguf"));
    let expected = made(&mut quantize(dir.path(), &source, &whole, "Q4_K_M"), &whole);
    let small = dir.path().join("small");
    fs::create_dir(&small).unwrap();
    let (file, keep) = (small.join("x.gguf"), dir.path().join("keep.gguf"));
    let work = quantize(dir.path(), &source, &file, "Q4_K_M");
    let mut command = unshare(SCRIPT);
    command.arg(&small).arg(work.get_program()).args(work.get_args());
    for (name, value) in work.get_envs().filter_map(|(name, value)| Some((name, value?))) {
        command.env(name, value);
    }
    let done = command.env("OUT", &file).env("KEEP", &keep).output().unwrap();
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{stderr}");
    assert!(stderr.contains("the disk is full after "), "{stderr}");
    assert!(stderr.contains("give the same command again"), "{stderr}");
    assert_eq!(String::from_utf8_lossy(&done.stdout), "x.gguf\n");
    assert!(fs::read(keep).unwrap() == expected);
}
