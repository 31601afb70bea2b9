//! `kill -9` of the server and of clients at random moments of pushes, pulls, deletions and collections that run at once.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::Stdio,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use mdl_store::{Digest, simulation::Rng};
use mdl_tests::{Place, http, mdl, server::Server};
use serde_json::Value;

/// Times that the server is killed; clients are killed about as often.
const KILLS: u64 = 50;

/// Files that are pushed.
const FILES: usize = 6;

/// Who works at once.
const WORKERS: usize = 3;

/// Tags of each worker.
const TAGS: usize = 3;

/// What the whole scene shares.
struct Scene {
    place: Place,
    host: String,
    /// Digests of the files.
    files: Vec<String>,
    over: AtomicBool,
    clients_killed: AtomicU32,
    pushes: AtomicU32,
    pulls: AtomicU32,
    deletions: AtomicU32,
}

impl Scene {
    fn new(host: String) -> Self {
        let place = Place::new();
        let mut rng = Rng::new(5);
        let mut files = Vec::new();
        for index in 0..FILES {
            // Some go with one request, some as streams.
            let size = [100_000, 3_000_000, 6_000_000, 17_000_000][index % 4] + rng.below(1000);
            let bytes: Vec<u8> = (0..size).map(|_| rng.below(256) as u8).collect();
            fs::write(place.path(&format!("{index}.bin")), &bytes).unwrap();
            files.push(Digest::of(&bytes).to_string());
        }
        Self {
            place,
            host,
            files,
            over: AtomicBool::new(false),
            clients_killed: AtomicU32::new(0),
            pushes: AtomicU32::new(0),
            pulls: AtomicU32::new(0),
            deletions: AtomicU32::new(0),
        }
    }

    /// Runs `mdl`, or kills it before it ends; whether it succeeded.
    fn run(&self, home: &str, arguments: &[&str], rng: &mut Rng) -> bool {
        let mut command = mdl(&self.place.path(home));
        command.current_dir(self.place.folder()).args(arguments).arg("--quiet");
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        if rng.below(3) == 0 {
            thread::sleep(Duration::from_millis(rng.below(120)));
            child.kill().unwrap();
            if !child.wait().unwrap().success() {
                self.clients_killed.fetch_add(1, Ordering::Relaxed);
                return false;
            }
            return true;
        }
        child.wait().unwrap().success()
    }
}

/// What may stand at a tag: nothing, or one of the files.
type Possible = BTreeSet<Option<usize>>;

/// One who pushes, pulls and deletes in a repository of their own.
struct Worker<'a> {
    scene: &'a Scene,
    name: String,
    tags: Vec<Possible>,
    rng: Rng,
    step: u32,
}

impl<'a> Worker<'a> {
    fn new(scene: &'a Scene, index: usize) -> Self {
        let tags = vec![Possible::from([None]); TAGS];
        let rng = Rng::new(100 + index as u64);
        Self { scene, name: format!("worker{index}/model"), tags, rng, step: 0 }
    }

    fn act(&mut self) {
        let tag = self.rng.below(TAGS as u64) as usize;
        self.step += 1;
        match self.rng.below(10) {
            0..=4 => self.push(tag),
            5..=6 => self.pull(tag),
            7..=8 => self.delete(tag),
            _ => {
                let root = self.scene.place.path("root");
                let root = root.to_str().unwrap();
                self.scene.run("home", &["registry", "gc", "--root", root], &mut self.rng);
            }
        }
    }

    fn reference(&self, tag: usize) -> String {
        format!("{}/{}:t{tag}", self.scene.host, self.name)
    }

    fn push(&mut self, tag: usize) {
        let file = self.rng.below(FILES as u64) as usize;
        self.tags[tag].insert(Some(file));
        let (path, to) = (format!("{file}.bin"), self.reference(tag));
        if self.scene.run("home", &["push", &path, &to], &mut self.rng) {
            self.scene.pushes.fetch_add(1, Ordering::Relaxed);
            self.tags[tag] = Possible::from([Some(file)]);
        }
    }

    fn pull(&mut self, tag: usize) {
        let folder = format!("{}-{}", self.name.replace('/', "-"), self.step);
        let from = self.reference(tag);
        let whole = self.scene.run("home", &["pull", &from, "--to", &folder], &mut self.rng);
        let folder = self.scene.place.path(&folder);
        let mut found = None;
        for (index, digest) in self.scene.files.iter().enumerate() {
            if let Ok(bytes) = fs::read(folder.join(format!("{index}.bin"))) {
                assert_eq!(Digest::of(&bytes).to_string(), *digest, "a partial file is visible");
                found = Some(index);
            }
        }
        if whole {
            self.scene.pulls.fetch_add(1, Ordering::Relaxed);
            assert!(self.tags[tag].contains(&found), "{from}: {found:?} of {:?}", self.tags[tag]);
            self.tags[tag] = Possible::from([found]);
        }
        // It may never have been made.
        let _ = fs::remove_dir_all(&folder);
    }

    fn delete(&mut self, tag: usize) {
        let path = format!("/v2/{}/manifests/t{tag}", self.name);
        self.tags[tag].insert(None);
        // Without an answer it may have happened.
        if let Ok(answer) = http::ask(&self.scene.host, "DELETE", &path, &[], b"") {
            match answer.status {
                202 | 404 => self.tags[tag] = Possible::from([None]),
                other => assert_eq!(other, 503, "{}", answer.text()),
            }
            self.scene.deletions.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Every tag is what it may be, and what it leads to is there and has its digest.
    fn check(&mut self, server: &Server) {
        for (tag, possible) in self.tags.iter_mut().enumerate() {
            let accept = [("Accept", "application/vnd.oci.image.manifest.v1+json")];
            let path = format!("/v2/{}/manifests/t{tag}", self.name);
            let answer = server.ask("GET", &path, &accept, b"");
            let found = if answer.status == 404 {
                None
            } else {
                assert_eq!(answer.status, 200, "{path}: {}", answer.text());
                let layer = answer.json()["layers"][0].clone();
                let digest = layer["digest"].as_str().unwrap();
                let blob = server.get(&format!("/v2/{}/blobs/{digest}", self.name));
                assert_eq!(Digest::of(&blob.body).to_string(), digest, "{path}");
                let config = answer.json()["config"]["digest"].as_str().unwrap().to_owned();
                let config = server.get(&format!("/v2/{}/blobs/{config}", self.name));
                assert_eq!(config.status, 200, "{path}: {}", config.text());
                Some(self.scene.files.iter().position(|it| it == digest).unwrap())
            };
            assert!(possible.contains(&found), "{path}: {found:?} is none of {possible:?}");
            *possible = Possible::from([found]);
        }
    }
}

/// What a command says as JSON about the data in a folder.
fn maintained(place: &Place, verb: &str) -> Value {
    let root = place.path("root");
    super::json(place, &["registry", verb, "--root", root.to_str().unwrap()])
}

/// Ends the work, also where a check fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Starts it again. A collection that found no server has the data for a moment.
fn started(root: &Path, host: &str) -> Server {
    for _ in 0..200 {
        let began = Instant::now();
        match Server::try_with(root, host, "[keep]\nlease = \"10s\"\n") {
            Ok(server) => {
                assert_eq!(server.get("/readyz").status, 200);
                let took = began.elapsed();
                assert!(took < Duration::from_secs(5), "ready after {took:?}");
                return server;
            }
            Err(said) => assert!(said.contains("is in use by another process"), "{said}"),
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("the data are never free");
}

#[test]
fn whatever_is_killed_nothing_promised_is_lost() {
    let scene = Scene::new(format!("127.0.0.1:{}", mdl_tests::server::free_port()));
    let root = scene.place.path("root");
    let mut running = Some(started(&root, &scene.host));
    let mut rng = Rng::new(1);
    let workers: Vec<_> =
        (0..WORKERS).map(|index| Mutex::new(Worker::new(&scene, index))).collect();
    let work = |worker: &Mutex<Worker<'_>>| {
        while !scene.over.load(Ordering::Relaxed) {
            worker.lock().unwrap().act();
            // Whoever wants to check has a chance.
            thread::sleep(Duration::from_millis(1));
        }
    };
    thread::scope(|scope| {
        let over = Over(&scene.over);
        let threads: Vec<_> = workers.iter().map(|it| scope.spawn(|| work(it))).collect();
        for kill in 0..KILLS {
            thread::sleep(Duration::from_millis(50 + rng.below(500)));
            running.take().unwrap().kill();
            let server = running.insert(started(&root, &scene.host));
            assert!(!threads.iter().any(thread::ScopedJoinHandle::is_finished), "a worker failed");
            // In the middle of it too.
            let one = &workers[kill as usize % WORKERS];
            if kill % 5 == 4
                && let Ok(mut worker) = one.try_lock()
            {
                worker.check(server);
            }
        }
        drop(over);
    });
    let server = running.unwrap();
    for worker in &workers {
        worker.lock().unwrap().check(&server);
    }
    let counts = [&scene.pushes, &scene.pulls, &scene.deletions, &scene.clients_killed];
    let counts = counts.map(|count| count.load(Ordering::Relaxed));
    assert!(counts.iter().all(|count| *count >= 10), "too little happened: {counts:?}");
    assert_eq!(maintained(&scene.place, "scrub")["problems"], Value::Array(Vec::new()));
    server.kill();
    // The same without a server, and after all that nobody needs is gone.
    assert_eq!(maintained(&scene.place, "scrub")["problems"], Value::Array(Vec::new()));
    let server = Server::with(&root, &scene.host, "[keep]\nlease = \"1s\"\nupload = \"1s\"\n");
    thread::sleep(Duration::from_secs(3));
    maintained(&scene.place, "gc");
    for worker in &workers {
        worker.lock().unwrap().check(&server);
    }
    let scrubbed = maintained(&scene.place, "scrub");
    assert_eq!(scrubbed["problems"], Value::Array(Vec::new()), "{scrubbed}");
    assert_eq!(maintained(&scene.place, "stats")["uploads"], 0);
}
