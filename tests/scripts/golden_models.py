"""Write tiny models of every supported family, with the logits that transformers gives for them.

    python golden_models.py OUT_DIR [NAME ...]

Made tests/data/golden: each NAME is a Hugging Face folder (config.json, model.safetensors in BF16) plus
golden.json: the token ids fed, the argmax at every position, and the full logits at the last one, computed in
F32 on the BF16 weights. Weights are seeded noise; norms and biases are made non-trivial, windows shorter than
the sequence, and rope scaling active, because the defaults (0 and 1) hide mistakes.
Needs torch and transformers (made with transformers 5.23.0, torch 2.15.0, CPU; under a minute for all).
"""

import json
import pathlib
import sys

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

SMALL = dict(
    vocab_size=320,
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=256,
    rms_norm_eps=1e-5,
)


def rope(**parameters):
    return dict(rope_parameters=parameters)


def yarn(factor=4.0, theta=10000.0, **more):
    return rope(
        rope_type="yarn",
        rope_theta=theta,
        factor=factor,
        original_max_position_embeddings=64,
        beta_fast=32.0,
        beta_slow=1.0,
        **more,
    )


LLAMA31 = rope(
    rope_type="llama3",
    rope_theta=500000.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=64,
)
FAMILIES = {
    "llama2": ("LlamaConfig", dict(SMALL, num_key_value_heads=4)),
    "llama31": ("LlamaConfig", dict(SMALL, head_dim=16, tie_word_embeddings=True, **LLAMA31) | dict(max_position_embeddings=2048)),
    "mistral": ("MistralConfig", dict(SMALL, sliding_window=8, head_dim=32)),
    "mistral_whole": ("MistralConfig", dict(SMALL, sliding_window=None, head_dim=32)),  # as llama.cpp runs them all
    "qwen2": ("Qwen2Config", dict(SMALL, use_sliding_window=False, tie_word_embeddings=True)),
    "qwen3": ("Qwen3Config", dict(SMALL, head_dim=32)),
    "qwen3_yarn": ("Qwen3Config", dict(SMALL, head_dim=32, **yarn(theta=1000000.0))),
    "gemma3": ("Gemma3TextConfig", dict(SMALL, num_hidden_layers=6, head_dim=16, query_pre_attn_scalar=16, sliding_window=8)),
    "gemma3_wrapped": (  # as the 4B and larger ship: scaled global rope, text under a prefix
        "Gemma3TextConfig",
        dict(SMALL, num_hidden_layers=6, head_dim=16, query_pre_attn_scalar=16, sliding_window=8,
             rope_parameters={
                 "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
                 "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
             }),
    ),
    "phi3": ("Phi3Config", dict(SMALL, pad_token_id=0, sliding_window=None)),
    "phi3_long": (  # longer than the original context, so the long factors hold
        "Phi3Config",
        dict(SMALL, pad_token_id=0, sliding_window=None, original_max_position_embeddings=32,
             **rope(rope_type="longrope", rope_theta=10000.0, original_max_position_embeddings=32,
                    short_factor=[1.0 + i / 16 for i in range(8)], long_factor=[1.5 + i / 4 for i in range(8)])),
    ),
    "smollm3": ("SmolLM3Config", dict(SMALL, no_rope_layer_interval=2, pad_token_id=0)),
    "smollm3_4": ("SmolLM3Config", dict(SMALL, num_hidden_layers=5, no_rope_layer_interval=4, pad_token_id=0)),  # llama.cpp's fixed interval
    "olmo2": ("Olmo2Config", dict(SMALL)),
}


def fill(model, name):
    """Seeded, non-degenerate values. Gemma's norms hold weight - 1, the others' hold the weight."""
    generator = torch.Generator().manual_seed(1234)
    for key, parameter in sorted(model.named_parameters()):
        spread = 0.08 if parameter.dim() >= 2 else 0.1
        centre = 1.0 if parameter.dim() == 1 and "norm" in key and "gemma" not in name else 0.0
        parameter.data = torch.randn(parameter.shape, generator=generator) * spread + centre
    for key, buffer in model.named_buffers():
        if "correction_bias" in key:
            buffer.data = torch.randn(buffer.shape, generator=generator) * 0.1


def wrap(folder):
    """The layout of the larger Gemma 3 folders: nested text_config, tensors under `language_model.`."""
    config = json.loads((folder / "config.json").read_text())
    config.pop("architectures", None)
    outer = dict(architectures=["Gemma3ForConditionalGeneration"], model_type="gemma3", text_config=config, dtype="bfloat16")
    (folder / "config.json").write_text(json.dumps(outer, indent=2))
    tensors = load_file(folder / "model.safetensors")
    save_file({f"language_model.{name}": tensor for name, tensor in tensors.items()},
              folder / "model.safetensors", metadata={"format": "pt"})


def write(name, folder):
    kind, settings = FAMILIES[name]
    torch.manual_seed(0)
    config = getattr(transformers, kind)(**({"bos_token_id": 1, "eos_token_id": 2} | settings))
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval().float()
    fill(model, name)
    model.to(torch.bfloat16).save_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
    ids = ((torch.arange(48) * 37 + 5) % settings["vocab_size"])[None]
    with torch.no_grad():
        logits = model(ids).logits[0]
    golden = dict(ids=ids[0].tolist(), argmax=logits.argmax(-1).tolist(), logits_last=logits[-1].tolist())
    (folder / "golden.json").write_text(json.dumps(golden))
    if name.endswith("_wrapped"):
        wrap(folder)
    print(f"{name:18} logits std {logits.std():.3f}", flush=True)


def main():
    out = pathlib.Path(sys.argv[1])
    for name in sys.argv[2:] or FAMILIES:
        write(name, out / name)


main()
