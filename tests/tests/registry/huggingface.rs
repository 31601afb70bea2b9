//! Hugging Face's own clients, with `HF_ENDPOINT` set to a registry of ours.

use std::{fs, process::Command};

use mdl_tests::{Place, need, output, python, server::Server};

/// Downloads a snapshot twice (the second time from its cache) and loads a model by its name.
const SCRIPT: &str = "
import hashlib, json, pathlib, sys
import huggingface_hub, torch, transformers
name, folder = sys.argv[1], pathlib.Path(sys.argv[2])
snapshot = pathlib.Path(huggingface_hub.snapshot_download(name))
assert huggingface_hub.snapshot_download(name, revision='main') == str(snapshot)
commit = snapshot.name
assert len(commit) == 40 and huggingface_hub.HfApi().model_info(name).sha == commit
for path in folder.iterdir():
    assert (snapshot / path.name).read_bytes() == path.read_bytes(), path
only = huggingface_hub.hf_hub_download(name, 'config.json', revision=commit)
assert pathlib.Path(only).read_bytes() == (folder / 'config.json').read_bytes()
files = huggingface_hub.HfApi().list_repo_files(name)
assert set(path.name for path in folder.iterdir()) <= set(files), files
try:
    huggingface_hub.hf_hub_download(name, 'none.bin')
    raise SystemExit('a file that is not there was had')
except huggingface_hub.errors.EntryNotFoundError:
    pass
try:
    huggingface_hub.snapshot_download('team/none')
    raise SystemExit('a repository that is not there was had')
except huggingface_hub.errors.RepositoryNotFoundError:
    pass
torch.set_grad_enabled(False)
def logits(where):
    tokens = transformers.AutoTokenizer.from_pretrained(where)('the light of the moon')['input_ids']
    model = transformers.AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32)
    return tokens, model(torch.tensor([tokens])).logits
ours, theirs = logits(name), logits(str(folder))
assert ours[0] == theirs[0] and torch.equal(ours[1], theirs[1])
print('alike', commit)
";

#[test]
fn a_folder_that_was_pushed_is_a_repository() {
    let python = need!(python());
    let place = Place::new();
    let server = Server::start(&place.path("root"));
    let pushed = super::json(&place, &["push", "data/tiny", &server.at("team/tiny:latest")]);
    fs::write(place.path("client.py"), SCRIPT).unwrap();
    let said = output(
        Command::new(python)
            .current_dir(place.folder())
            .args(["client.py", "team/tiny", "data/tiny"])
            .env("HF_ENDPOINT", server.url(""))
            .env("HF_HOME", place.path("hf"))
            .env("HF_HUB_DISABLE_PROGRESS_BARS", "1")
            .env("HF_HUB_DISABLE_TELEMETRY", "1"),
    );
    // The revision is the beginning of the manifest's digest.
    let (_, commit) = said.trim().rsplit_once(' ').unwrap();
    let digest = pushed["digest"].as_str().unwrap();
    assert!(digest.strip_prefix("sha256:").unwrap().starts_with(commit), "{commit} {digest}");
}
