"""Write a Hugging Face folder of seeded Gaussian weights in the shape of a well-known model.

    python synthetic.py SHAPE OUT_DIR [TOKENIZER_DIR]

SHAPE: qwen-1.5b (Qwen2.5 1.5B, 3.1 GB), llama-8b-4 (four layers of Llama 3.1 8B, 3.9 GB), qwen-0.5b.
BF16, in shards of 2 GB; some input channels are ten times larger than the others, as real ones are. Speed and memory
depend on shapes alone, so no trained weights are needed. The tokenizer's files are copied from TOKENIZER_DIR.
Needs numpy.
"""

import json
import pathlib
import shutil
import sys

import numpy

SHAPES = {
    "qwen-0.5b": dict(hidden=896, ffn=4864, layers=24, heads=14, kv=2, vocab=151936, tied=True),
    "qwen-1.5b": dict(hidden=1536, ffn=8960, layers=28, heads=12, kv=2, vocab=151936, tied=True),
    "llama-8b-4": dict(hidden=4096, ffn=14336, layers=4, heads=32, kv=8, vocab=128256, tied=False),
}
SHARD_BYTES = 2_000_000_000


def tensors(shape, qwen):
    hidden, ffn = shape["hidden"], shape["ffn"]
    head = hidden // shape["heads"]
    yield "model.embed_tokens.weight", (shape["vocab"], hidden)
    for layer in range(shape["layers"]):
        prefix = f"model.layers.{layer}"
        yield f"{prefix}.input_layernorm.weight", (hidden,)
        for name, rows in (("q", shape["heads"] * head), ("k", shape["kv"] * head), ("v", shape["kv"] * head)):
            yield f"{prefix}.self_attn.{name}_proj.weight", (rows, hidden)
            if qwen:
                yield f"{prefix}.self_attn.{name}_proj.bias", (rows,)
        yield f"{prefix}.self_attn.o_proj.weight", (hidden, shape["heads"] * head)
        yield f"{prefix}.post_attention_layernorm.weight", (hidden,)
        yield f"{prefix}.mlp.gate_proj.weight", (ffn, hidden)
        yield f"{prefix}.mlp.up_proj.weight", (ffn, hidden)
        yield f"{prefix}.mlp.down_proj.weight", (hidden, ffn)
    yield "model.norm.weight", (hidden,)
    if not shape["tied"]:
        yield "lm_head.weight", (shape["vocab"], hidden)


def values(rng, dims):
    if len(dims) == 1:
        data = 1 + 0.1 * rng.standard_normal(dims, dtype=numpy.float32)
    else:
        data = 0.02 * rng.standard_normal(dims, dtype=numpy.float32)
        data[:, rng.choice(dims[1], max(1, dims[1] // 200), replace=False)] *= 10
    return ((data.view(numpy.uint32) + 0x8000) >> 16).astype("<u2").tobytes()


def write_shard(path, items):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, dims, data in items:
        header[name] = dict(dtype="BF16", shape=dims, data_offsets=[offset, offset + len(data)])
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, _, data in items:
            file.write(data)


def main():
    kind, out = sys.argv[1], pathlib.Path(sys.argv[2])
    shape, qwen = SHAPES[kind], kind.startswith("qwen")
    out.mkdir(parents=True, exist_ok=True)
    rng = numpy.random.default_rng(1)
    shards, items, size = [], [], 0
    for name, dims in tensors(shape, qwen):
        data = values(rng, dims)
        if items and size + len(data) > SHARD_BYTES:
            shards.append([item[0] for item in items])
            write_shard(out / f"part-{len(shards)}", items)
            items, size = [], 0
        items.append((name, dims, data))
        size += len(data)
    shards.append([item[0] for item in items])
    write_shard(out / f"part-{len(shards)}", items)
    index = {}
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        (out / f"part-{number}").rename(out / file)
        index.update(dict.fromkeys(names, file))
    (out / "model.safetensors.index.json").write_text(json.dumps(dict(metadata={}, weight_map=index)))
    config = dict(
        architectures=["Qwen2ForCausalLM" if qwen else "LlamaForCausalLM"], model_type="qwen2" if qwen else "llama",
        hidden_size=shape["hidden"], intermediate_size=shape["ffn"], num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"], num_key_value_heads=shape["kv"], vocab_size=shape["vocab"],
        max_position_embeddings=32768, rms_norm_eps=1e-6, rope_theta=1000000.0, hidden_act="silu",
        tie_word_embeddings=shape["tied"], torch_dtype="bfloat16", bos_token_id=151643, eos_token_id=151645,
    )
    if not qwen:
        config.update(bos_token_id=128000, eos_token_id=128001)
    (out / "config.json").write_text(json.dumps(config, indent=2))
    for path in pathlib.Path(sys.argv[3]).iterdir() if len(sys.argv) > 3 else ():
        if path.suffix in (".json", ".jinja", ".txt") and path.name not in ("config.json", "model.safetensors.index.json"):
            shutil.copy(path, out / path.name)


main()
