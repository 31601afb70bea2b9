"""mdl and llama.cpp side by side: the same input, one after the other in pairs, medians of the ratios.

    python side_by_side.py encode   [TYPE …]     block encoders, one thread each, with and without imatrix
    python side_by_side.py quantize [SCHEME …]   whole programs on an F16 GGUF in memory, 2 threads each
    python side_by_side.py pipeline              safetensors to Q4_K_M against convert to F16, then quantize; peak memory
    python side_by_side.py infer                 prefill of 512 tokens and decoding of 128, 2 threads each

Needs `cargo build --release --workspace`, `tests/scripts/cache.sh peers models reference converter`, and numpy (run it
with the Python of the reference environment). Prints a table; ratios above 1 mean that mdl is faster. PAIRS (default 5) sets
the number of pairs, SCRATCH (default /dev/shm) where files go. Peak memory is the kernel's VmHWM, mapped pages included.
"""

import json
import pathlib
import re
import shutil
import statistics
import sys

import numpy

from common import CACHE, PAIRS, RELEASE, ROOT, SCRATCH, pairs, run, table

PEER = CACHE / "peers/llama-cpp-python-0.3.36"
MODELS = CACHE / "models"
THREADS = "2"
ENCODED = "Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS TQ1_0 TQ2_0 MXFP4".split()


def weight_sets():
    """Rows to encode: name, columns, values, imatrix row."""
    rng = numpy.random.default_rng(7)
    gauss = (0.02 * rng.standard_normal((512, 4096))).astype("<f4")
    gauss[:, rng.choice(4096, 20, replace=False)] *= 10
    heavy = (0.02 * rng.standard_t(4, (512, 1536))).astype("<f4")
    for name, values in (("Gaussian with outlier channels, 512 x 4096", gauss), ("heavy-tailed, 512 x 1536", heavy)):
        weights = numpy.exp(rng.standard_normal(values.shape[1]) * 1.5).astype("<f4")
        yield name, values, weights
    import gguf

    reader = gguf.GGUFReader(MODELS / "SmolLM2-135M-Instruct.Q4_1.gguf")
    tensor = next(t for t in reader.tensors if t.name == "blk.7.ffn_down.weight")
    values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    # Off the 4-bit grid that the file is on: a rescaling of the columns.
    values = (values * numpy.exp(rng.standard_normal(values.shape[1]) * 0.3)).astype("<f4")
    yield "SmolLM2 blk.7.ffn_down rescaled, 576 x 1536", values, numpy.exp(rng.standard_normal(1536)).astype("<f4")


def encode(types):
    rows = []
    for name, values, weights in weight_sets():
        values.tofile(SCRATCH / "values.f32")
        weights.tofile(SCRATCH / "weights.f32")
        for ty in types or ENCODED:
            for with_weights in (False, True):
                args = (ty, values.shape[1], SCRATCH / "values.f32", SCRATCH / "weights.f32" if with_weights else "-", "-", 3)
                last = {}

                def call(program):
                    last[program] = json.loads(run(program, *args)[0])
                    return last[program]["seconds"]

                ours, theirs = RELEASE / "mdl_encode", PEER / "build/bin/ggml_encode"
                mine, peer, ratio = pairs(lambda: call(ours), lambda: call(theirs), lambda seconds: seconds)
                error = last[ours]["error"] / max(last[theirs]["error"], 1e-300)
                rows.append((name, ty, "yes" if with_weights else "no", f"{values.size / mine / 1e6:.1f}",
                             f"{values.size / peer / 1e6:.1f}", f"{ratio:.2f}", f"{error:.4f}"))
    table(("tensor", "type", "imatrix", "mdl M/s", "ggml M/s", "speed ratio", "error ratio (mdl / ggml)"), rows)


def synthetic(shape):
    folder = SCRATCH / shape
    if not folder.exists():
        tokenizer = SCRATCH / "tokenizer-qwen"
        run(RELEASE / "mdl", "convert", MODELS / "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", tokenizer, "--type", "f16", "--force")
        for path in tokenizer.glob("*.safetensors*"):
            path.unlink()
        run(sys.executable, ROOT / "bench/synthetic.py", shape, folder, tokenizer)
    return folder


def quantize(schemes):
    folder = synthetic("qwen-0.5b")
    source = SCRATCH / "source-f16.gguf"
    run(RELEASE / "mdl", "convert", folder, source, "--type", "f16", "--force")
    rows = []
    for scheme in schemes or ("Q8_0", "Q4_0", "Q5_0", "Q4_K_M", "Q5_K_M", "Q6_K", "Q3_K_M", "Q2_K", "IQ4_XS"):
        for imatrix in (False, True):
            ours = ["--imatrix", SCRATCH / "imatrix.gguf"] if imatrix else []
            if imatrix and not (SCRATCH / "imatrix.gguf").exists():
                write_imatrix(source, SCRATCH / "imatrix.gguf")
            mine, peer, ratio = pairs(
                lambda: run(RELEASE / "mdl", "quantize", source, SCRATCH / "ours.gguf", "--scheme", scheme, "--force",
                            "--threads", THREADS, "--quiet", *ours),
                lambda: run(PEER / "build/bin/llama-quantize", *ours, source, SCRATCH / "theirs.gguf", scheme, THREADS),
                lambda result: result[1])
            rows.append((scheme, "yes" if imatrix else "no", f"{mine:.2f}", f"{peer:.2f}", f"{ratio:.2f}"))
    table(("scheme", "imatrix", "mdl s", "llama-quantize s", "speed ratio"), rows)


def write_imatrix(model, path):
    """An importance matrix for every matrix of the model, log-normal: speed does not depend on its values."""
    import gguf

    rng = numpy.random.default_rng(3)
    writer = gguf.GGUFWriter(path, "llama")
    writer.data = None
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["synthetic"])
    writer.add_uint32("imatrix.chunk_count", 1)
    writer.add_uint32("imatrix.chunk_size", 512)
    for tensor in gguf.GGUFReader(model).tensors:
        if len(tensor.shape) == 2:
            sums = numpy.exp(rng.standard_normal((1, int(tensor.shape[0])))).astype("float32")
            writer.add_tensor(f"{tensor.name}.in_sum2", sums)
            writer.add_tensor(f"{tensor.name}.counts", numpy.ones((1, 1), "float32"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def pipeline(_):
    folder = synthetic("qwen-1.5b")
    converter = CACHE / "venv-transformers-4.57.6/bin/python"
    memory = {"mdl": 0, "convert": 0, "llama-quantize": 0}

    def ours():
        _, seconds, peak = run(RELEASE / "mdl", "quantize", folder, SCRATCH / "ours.gguf", "--scheme", "Q4_K_M", "--force",
                               "--threads", THREADS, "--quiet", "--home", SCRATCH / "home")
        shutil.rmtree(SCRATCH / "home", ignore_errors=True)  # hash the sources every time
        memory["mdl"] = max(memory["mdl"], peak)
        return seconds

    def theirs():
        _, first, peak = run(converter, PEER / "src/convert_hf_to_gguf.py", folder, "--outtype", "f16", "--outfile",
                             SCRATCH / "f16.gguf", env={"HF_HUB_OFFLINE": "1"})
        memory["convert"] = max(memory["convert"], peak)
        _, second, peak = run(PEER / "build/bin/llama-quantize", SCRATCH / "f16.gguf", SCRATCH / "theirs.gguf", "Q4_K_M", THREADS)
        memory["llama-quantize"] = max(memory["llama-quantize"], peak)
        (SCRATCH / "f16.gguf").unlink()
        return first + second

    mine, peer, ratio = pairs(ours, theirs, lambda seconds: seconds)
    table(("mdl s", "convert + llama-quantize s", "speed ratio", "mdl peak MiB", "converter peak MiB", "llama-quantize peak MiB"),
          [(f"{mine:.1f}", f"{peer:.1f}", f"{ratio:.2f}", *(f"{memory[name]:.0f}" for name in memory))])


def infer(_):
    rows = []
    for model in ("SmolLM2-135M-Instruct.Q4_1.gguf", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"):
        for scheme in ("F16", "Q8_0", "Q4_K_M"):
            file = SCRATCH / f"{model.split('-')[0]}-{scheme}.gguf"
            if not file.exists():
                run(PEER / "build/bin/llama-quantize", "--allow-requantize", MODELS / model, file, scheme, THREADS)

            def theirs():
                output, _, peak = run(PEER / "build/bin/llama-bench", "-m", file, "-t", THREADS, "-p", "512", "-n", "128",
                                      "-r", "1", "-o", "json")
                found = json.loads(output[output.index("[\n"):])
                return {("prefill" if item["n_prompt"] else "decode"): item["avg_ts"] for item in found} | {"peak": peak}

            def ours():
                output, _, peak = run(RELEASE / "infer_rate", file, "512", "128", THREADS)
                return json.loads(output.strip().splitlines()[-1]) | {"peak": peak}

            got = []
            for number in range(PAIRS):
                order = (ours, theirs) if number % 2 == 0 else (theirs, ours)
                result = {call.__name__: call() for call in order}
                got.append((result["ours"], result["theirs"]))
            for phase in ("prefill", "decode"):
                rows.append((file.stem, phase, f"{statistics.median(o[phase] for o, _ in got):.0f}",
                             f"{statistics.median(t[phase] for _, t in got):.0f}",
                             f"{statistics.median(o[phase] / t[phase] for o, t in got):.2f}",
                             f"{max(o['peak'] for o, _ in got):.0f}", f"{max(t['peak'] for _, t in got):.0f}"))
    table(("model", "phase", "mdl tokens/s", "llama.cpp tokens/s", "speed ratio", "mdl peak MiB", "llama.cpp peak MiB"), rows)


def main():
    commands = dict(encode=encode, quantize=quantize, pipeline=pipeline, infer=infer)
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    SCRATCH.mkdir(parents=True, exist_ok=True)
    print(re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text()).group(1), f"- {PAIRS} pairs\n")
    commands[sys.argv[1]](sys.argv[2:])


main()
