//! Settings: flags, then `MDL_*` variables (both read by clap), then `config.toml` in `MDL_HOME`.

use std::{env, num::NonZeroUsize, path::PathBuf, thread};

use mdl_kernels::Tier;
use serde::Deserialize;

use crate::{args::Global, failure::Failure};

/// What every command works with, resolved.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) threads: usize,
    pub(crate) tier: Tier,
    /// Folder for caches and settings; `None` where no home folder is known.
    pub(crate) home: Option<PathBuf>,
    /// The registry that references without one mean.
    pub(crate) registry: Option<String>,
}

/// `config.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    threads: Option<NonZeroUsize>,
    tier: Option<String>,
    registry: Option<String>,
}

impl Settings {
    pub(crate) fn resolve(global: &Global) -> Result<Self, Failure> {
        let home = global.home.clone().or_else(default_home);
        let file = home.as_deref().map(read).transpose()?.unwrap_or_default();
        let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let threads = global.threads.or(file.threads).unwrap_or(cores).get();
        let tier = match global.tier.as_deref().or(file.tier.as_deref()) {
            Some(name) => named(name)?,
            None => Tier::detect(),
        };
        let registry = env::var("MDL_REGISTRY").ok().or(file.registry);
        let registry = registry.filter(|host| !host.is_empty());
        Ok(Self { threads, tier, home, registry })
    }
}

fn named(name: &str) -> Result<Tier, Failure> {
    let have = || Tier::available().into_iter().map(Tier::name).collect::<Vec<_>>().join(", ");
    Tier::named(name).ok_or_else(|| {
        Failure::new(format!("this machine cannot run the tier `{name}`"))
            .hint(format!("it has: {}", have()))
            .status(Failure::USAGE)
    })
}

fn default_home() -> Option<PathBuf> {
    let data = env::var_os("XDG_DATA_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let data = data.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".local/share")));
    Some(data?.join("mdl"))
}

fn read(home: &std::path::Path) -> Result<File, Failure> {
    let path = home.join("config.toml");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(File::default()),
        Err(error) => return Err(Failure::new(format!("{}: {error}", path.display()))),
    };
    toml::from_str(&text).map_err(|error| {
        Failure::new(format!("{}: {error}", path.display())).status(Failure::USAGE)
    })
}
