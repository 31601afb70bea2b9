//! There and back on folders made here; with real models in the tests crate.

use super::*;
use crate::hf;

#[test]
fn a_folder_comes_back_as_it_was() {
    for model_type in ["llama", "gemma3_text", "qwen3", "olmo2", "phi3", "smollm3", "qwen2"] {
        let source = hf::tests::folder(model_type);
        let limits = Limits::default();
        let first = Checkpoint::open(source.path(), &limits).unwrap();
        let parent = tempfile::tempdir().unwrap();
        let destination = parent.path().join("out");
        let options = FolderOptions { max_shard: 500, ..FolderOptions::default() };
        let mut written = 0;
        write_folder(&first, &destination, &options, &limits, &mut |bytes| written += bytes)
            .unwrap();
        assert!(destination.join("model.safetensors.index.json").exists() && written > 0);
        let second = Checkpoint::open(&destination, &limits).unwrap();
        let keys = |checkpoint: &Checkpoint| {
            let mut all: Vec<_> = checkpoint
                .metadata
                .iter()
                .map(|(key, value)| (key.to_owned(), value.clone()))
                .collect();
            all.sort_by(|a, b| a.0.cmp(&b.0));
            all
        };
        assert_eq!(keys(&first), keys(&second), "{model_type}");
        assert_eq!(first.tensors, second.tensors);
        for tensor in &first.tensors {
            let (a, b) = (first.bytes(tensor).unwrap(), second.bytes(tensor).unwrap());
            assert!(*a == *b, "{model_type}: {}", tensor.name);
        }
        let again = write_folder(&first, &destination, &options, &limits, &mut |_| {});
        assert!(again.is_err());
    }
}

#[test]
fn an_interruption_leaves_nothing() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let source = hf::tests::folder("llama");
    let limits = Limits::default();
    let checkpoint = Checkpoint::open(source.path(), &limits).unwrap();
    let parent = tempfile::tempdir().unwrap();
    let destination = parent.path().join("out");
    let options = FolderOptions { interrupt: Some(&STOP), ..FolderOptions::default() };
    let mut steps = 0;
    let mut stop = |_| {
        steps += 1;
        STOP.store(true, Ordering::Relaxed);
    };
    let stopped = write_folder(&checkpoint, &destination, &options, &limits, &mut stop);
    assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
    assert_eq!(steps, 1);
    assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
}
