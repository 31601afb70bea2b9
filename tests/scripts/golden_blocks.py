#!/usr/bin/env python3
"""Makes the golden blocks that the decoders are tested against: kernels/tests/data/decode/TYPE.bin.

Usage: golden_blocks.py LLAMA_CPP_SOURCE LLAMA_CPP_BUILD OUT_DIR

Random blocks, with F16 scales that are also zero, subnormal, negative, huge and infinite, are decoded
by ggml's C (linked from the static libraries of the build; needs a C compiler) and by the Python
package `gguf`, which must agree wherever the latter knows the type. A file holds the number of values
(u32), the blocks, and the decoded values (f32), all little-endian.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

# Name: type number, values and bytes in a block, places of F16 numbers in a block.
TYPES = {
    "Q4_0": (2, 32, 18, [0]),
    "Q4_1": (3, 32, 20, [0, 2]),
    "Q5_0": (6, 32, 22, [0]),
    "Q5_1": (7, 32, 24, [0, 2]),
    "Q8_0": (8, 32, 34, [0]),
    "Q2_K": (10, 256, 84, [80, 82]),
    "Q3_K": (11, 256, 110, [108]),
    "Q4_K": (12, 256, 144, [0, 2]),
    "Q5_K": (13, 256, 176, [0, 2]),
    "Q6_K": (14, 256, 210, [208]),
    "IQ2_XXS": (16, 256, 66, [0]),
    "IQ2_XS": (17, 256, 74, [0]),
    "IQ3_XXS": (18, 256, 98, [0]),
    "IQ1_S": (19, 256, 50, [0]),
    "IQ4_NL": (20, 32, 18, [0]),
    "IQ3_S": (21, 256, 110, [0]),
    "IQ2_S": (22, 256, 82, [0]),
    "IQ4_XS": (23, 256, 136, [0]),
    "IQ1_M": (29, 256, 56, []),
    "F16": (1, 1, 2, []),
    "BF16": (30, 1, 2, []),
    "TQ1_0": (34, 256, 54, [52]),
    "TQ2_0": (35, 256, 66, [64]),
    "MXFP4": (39, 32, 17, []),
    "NVFP4": (40, 64, 36, []),
    "Q1_0": (41, 128, 18, [0]),
    "Q2_0": (42, 64, 18, [0]),
}

# Ordinary, then: zero, minus zero, least and greatest subnormal, greatest finite, infinities.
SCALES = [0x2E66, 0xAC01, 0x0000, 0x8000, 0x0001, 0x83FF, 0x7BFF, 0x7C00, 0xFC00, 0x3C00]


def blocks(rng, values, size, scales):
    count = max(6, min(24, 768 // values))
    data = rng.integers(0, 256, (count, size), dtype=np.uint8)
    for i in range(count):
        for n, at in enumerate(scales):
            pick = SCALES[(i + 3 * n) % len(SCALES)] if i % 2 else rng.integers(0x1000, 0x3C00)
            data[i, at : at + 2] = np.frombuffer(np.uint16(pick).tobytes(), np.uint8)
    return data


def compiled(source, build, folder):
    program = Path(folder) / "golden_blocks"
    here = Path(__file__).with_suffix(".c")
    libs = [build / "ggml/src" / f"libggml{n}.a" for n in ("", "-cpu", "-base")]
    flags = ["-lstdc++", "-lm", "-lpthread", "-ldl", "-fopenmp"]
    command = ["cc", "-O1", "-I", source / "ggml/include", here, "-Wl,--start-group", *libs]
    subprocess.run([*command, "-Wl,--end-group", *flags, "-o", program], check=True)
    return program


def python_decodes(gguf, number, data):
    try:
        kind = gguf.GGMLQuantizationType(number)
        return gguf.quants.dequantize(data, kind).reshape(-1).astype(np.float32)
    except (ValueError, NotImplementedError):
        return None


def main():
    source, build, out = map(Path, sys.argv[1:4])
    sys.path.insert(0, str(source / "gguf-py"))
    import gguf

    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(20261124)
    with tempfile.TemporaryDirectory() as folder:
        program = compiled(source, build, folder)
        for name, (number, values, size, scales) in TYPES.items():
            data = blocks(rng, values, size, scales)
            if values == 1:
                data = rng.integers(0, 256, (600, size), dtype=np.uint8)
            total = data.shape[0] * values
            run = [program, str(number), str(total)]
            floats = subprocess.run(run, input=data.tobytes(), capture_output=True, check=True)
            decoded = np.frombuffer(floats.stdout, np.float32)
            with np.errstate(all="ignore"):
                other = python_decodes(gguf, number, data)
            agrees = "not known to gguf"
            if other is not None:
                same = (other.view(np.uint32) == decoded.view(np.uint32)) | (
                    np.isnan(other) & np.isnan(decoded)
                )
                agrees = "gguf agrees" if same.all() else f"gguf differs in {(~same).sum()}"
            head = np.uint32(total).tobytes()
            (out / f"{name}.bin").write_bytes(head + data.tobytes() + decoded.tobytes())
            print(f"{name}: {data.shape[0]} blocks, {agrees}")


if __name__ == "__main__":
    main()
