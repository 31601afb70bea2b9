//! One history: a seed decides what is asked of the store, when the power goes, and what that leaves.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use mdl_store::{
    Algorithm, Digest, Error, FsStore, Keep, Limits, Maintain as _, Name, Result as Stored, Stats,
    disk::Disk,
    simulation::{Rng, SimDisk, SimWorld},
};

use super::model::{Model, check};

/// How a store sees the disk: as it is, or with a mistake in between.
pub(super) type Face = fn(SimDisk) -> Arc<dyn Disk>;

/// What came of a history without a failure.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) steps: u64,
    pub(super) crashes: u64,
    /// Of the disk: see [`SimDisk::trace`].
    pub(super) trace: (u64, u64),
}

pub(super) struct History {
    pub(super) rng: Rng,
    pub(super) world: Arc<SimWorld>,
    pub(super) keep: Keep,
    /// When the store was last opened.
    pub(super) opened: u64,
    pub(super) model: Model,
    /// What blobs can hold.
    pub(super) palette: Vec<Vec<u8>>,
    /// Which of it has which digest, by both functions.
    pub(super) digests: BTreeMap<Digest, usize>,
    /// What was done.
    pub(super) log: Vec<String>,
    store: Option<FsStore>,
    pub(super) disk: SimDisk,
    face: Arc<dyn Disk>,
    pub(super) full: bool,
    outcome: Outcome,
}

pub(super) const REPOS: [&str; 3] = ["a", "a/b", "c"];

impl History {
    pub(super) fn new(seed: u64, face: Face) -> Self {
        let mut rng = Rng::new(seed);
        let disk = SimDisk::new(rng.next_u64());
        let world = Arc::new(SimWorld::new(rng.next_u64()));
        let palette: Vec<Vec<u8>> = [0, 1, 300, 511, 2000, 5000]
            .iter()
            .map(|size| (0..rng.below(*size + 1)).map(|_| rng.next_u64() as u8).collect())
            .collect();
        let mut digests = BTreeMap::new();
        for (index, content) in palette.iter().enumerate() {
            for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
                digests.entry(Digest::with(algorithm, content)).or_insert(index);
            }
        }
        let untagged = rng.once_in(3).then_some(300);
        let mut model = Model::default();
        for name in REPOS {
            model.repos.insert(name.parse().unwrap(), super::model::Repo::default());
        }
        Self {
            keep: Keep { lease: 100, upload: 200, untagged },
            opened: 0,
            store: None,
            face: face(disk.clone()),
            full: false,
            log: Vec::new(),
            outcome: Outcome::default(),
            rng,
            disk,
            world,
            model,
            palette,
            digests,
        }
    }

    pub(super) fn store(&self) -> &FsStore {
        self.store.as_ref().unwrap()
    }

    pub(super) fn now(&self) -> u64 {
        use mdl_store::World as _;
        self.world.now()
    }

    /// Lives the history.
    pub(super) fn run(&mut self) -> Result<Outcome, String> {
        self.open(vec![self.model.clone()])?;
        for _ in 0..20 + self.rng.below(30) {
            if self.rng.once_in(5) {
                let left = self.rng.below(60);
                self.log.push(format!("(the power goes after {left} operations)"));
                self.disk.cut_power_after(Some(left));
            } else if self.rng.once_in(15) {
                self.log.push("(the disk is full)".to_owned());
                self.full = true;
                self.disk.fill(true);
            }
            self.step()?;
            self.outcome.steps += 1;
            if self.rng.once_in(4) {
                self.look()?;
            }
        }
        self.end()?;
        self.outcome.trace = self.disk.trace();
        Ok(std::mem::take(&mut self.outcome))
    }

    /// Something happens to the store as a whole.
    pub(super) fn disturb(&mut self) -> Result<(), String> {
        match self.rng.below(3) {
            0 => self.log.push("closed and opened".to_owned()),
            kind => {
                self.log.push(if kind == 1 { "killed" } else { "power lost" }.to_owned());
                self.disk.cut_power();
                self.store = None;
                if kind == 1 {
                    self.disk.kill();
                } else {
                    self.disk.crash();
                }
                self.outcome.crashes += 1;
            }
        }
        self.store = None;
        if self.disk.is_out() {
            self.fail_over();
        }
        self.make_room();
        self.open(vec![self.model.clone()])
    }

    /// What was asked for was done, or the power went meanwhile, or the disk is full. `between` are the states that it
    /// passes through.
    pub(super) fn done<T>(
        &mut self,
        result: Stored<T>,
        between: Vec<Model>,
        after: Model,
    ) -> Result<Option<T>, String> {
        let interrupted = self.disk.is_out();
        match result {
            Ok(value) if !interrupted => {
                self.model = after;
                return Ok(Some(value));
            }
            // A promise, if the last one.
            Ok(_) => self.recover(vec![after])?,
            Err(error) if interrupted || matches!(error, Error::NoSpace(_)) && self.full => {
                self.log.push(format!("  {error}"));
                let mut candidates = vec![self.model.clone()];
                candidates.extend(between);
                candidates.push(after);
                self.recover(candidates)?;
            }
            Err(error) => return Err(format!("failed: {error}")),
        }
        Ok(None)
    }

    /// What was asked for is to be refused, with this error.
    pub(super) fn refused<T>(
        &mut self,
        result: Stored<T>,
        after: Model,
        expected: fn(&Error) -> bool,
    ) -> Result<(), String> {
        match result {
            Ok(_) => Err("was not refused".to_owned()),
            Err(error) if expected(&error) && !self.disk.is_out() => {
                self.model = after;
                Ok(())
            }
            Err(error) => self.done(Err::<(), _>(error), Vec::new(), after).map(drop),
        }
    }

    /// Opens the store after its end. One of the candidates has to be what is there.
    fn recover(&mut self, candidates: Vec<Model>) -> Result<(), String> {
        if self.disk.is_out() {
            self.store = None;
            self.fail_over();
        } else {
            self.make_room();
            self.disk.cut_power_after(None);
            if self.rng.once_in(2) {
                return self.settle(candidates);
            }
            self.store = None;
            self.log.push("  opened anew".to_owned());
        }
        self.open(candidates)
    }

    fn fail_over(&mut self) {
        self.outcome.crashes += 1;
        if self.rng.once_in(4) {
            self.log.push("  killed".to_owned());
            self.disk.kill();
        } else {
            self.log.push("  power lost".to_owned());
            self.disk.crash();
        }
        self.make_room();
    }

    fn make_room(&mut self) {
        self.full = false;
        self.disk.fill(false);
    }

    fn open(&mut self, candidates: Vec<Model>) -> Result<(), String> {
        let root = Path::new("/");
        loop {
            if self.rng.once_in(4) {
                self.disk.cut_power_after(Some(self.rng.below(40)));
            }
            let world = Arc::<SimWorld>::clone(&self.world);
            let disk = Arc::clone(&self.face);
            let opened = FsStore::open_on(disk, world, root, Limits::default(), self.keep);
            if self.disk.is_out() {
                self.log.push("  the power goes while it opens".to_owned());
                drop(opened);
                self.fail_over();
                continue;
            }
            self.disk.cut_power_after(None);
            self.store = Some(opened.map_err(|error| format!("does not open: {error}"))?);
            break;
        }
        self.opened = self.now();
        let mut candidates = candidates;
        for repo in candidates.iter_mut().flat_map(|it| it.repos.values_mut()) {
            repo.blobs.values_mut().for_each(|held| held.seen = 0);
        }
        self.settle(candidates)
    }

    /// Finds the candidate that is there.
    fn settle(&mut self, candidates: Vec<Model>) -> Result<(), String> {
        let mut reasons = Vec::new();
        for candidate in candidates {
            match check(self.store(), &candidate, &self.palette, &self.digests) {
                Ok(settled) => {
                    self.model = settled;
                    return Ok(());
                }
                Err(reason) => reasons.push(reason),
            }
        }
        Err(reasons.join("\n    and: "))
    }

    /// Looks at everything.
    fn look(&mut self) -> Result<(), String> {
        if !self.disk.is_out() {
            self.disk.cut_power_after(None);
            self.make_room();
            self.model = check(self.store(), &self.model, &self.palette, &self.digests)?;
        }
        Ok(())
    }

    /// Everything is deleted: nothing may be left.
    fn end(&mut self) -> Result<(), String> {
        self.log.push("the end".to_owned());
        self.disk.cut_power_after(None);
        self.look()?;
        let failed = |error: Error| format!("at the end: {error}");
        let names: Vec<Name> = self.model.repos.keys().cloned().collect();
        for name in names {
            use mdl_store::Store as _;
            let page = self.store().manifests(&name, None, 1000).map_err(failed)?;
            for manifest in page.items {
                match self.store().delete_manifest(&name, &manifest.digest) {
                    // It went with its subject.
                    Ok(()) | Err(Error::ManifestUnknown { .. }) => {}
                    Err(error) => return Err(failed(error)),
                }
            }
        }
        self.world.advance(1000);
        let store = self.store();
        store.collect(false).map_err(failed)?;
        let stats = store.stats().map_err(failed)?;
        let left: Vec<_> = self.disk.files().into_iter().map(|(path, _)| path).collect();
        if stats != Stats::default() || left != [Path::new("/metadata.redb")] {
            return Err(format!("at the end are left {stats:?}, {left:?}"));
        }
        let found = store.scrub().map_err(failed)?;
        if found.problems.is_empty() { Ok(()) } else { Err(format!("at the end: {found:?}")) }
    }
}
