#!/bin/bash
# Sets up and runs all tests. Peers, models and reference environments are built once into the cache folder (see
# cache.sh); without a network the tests that need them say that they are skipped, unless MDL_TEST_REQUIRE is set.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/scripts/setup.sh
packages cmake=cmake g++=g++ npm=npm curl=curl openssl=openssl ip=iproute2 skopeo=skopeo chromium=chromium chromedriver=chromium-driver
headers nlohmann/json.hpp=nlohmann-json3-dev stb/stb_image.h=libstb-dev

started=$SECONDS
step() { printf '\n== %s (%d s)\n' "$1" $((SECONDS - started)); }

step "peers and models"
if ! bash tests/scripts/cache.sh peers clients models reference converter signing tokenizers; then
  [ -z "${MDL_TEST_REQUIRE:-}" ] || exit 1
  echo "warning: some peers or models could not be had; their tests will be skipped" >&2
fi

step "format and lints"
cargo fmt --all --check
cargo clippy --workspace --all-targets --quiet -- -D warnings

step "container parsers build without tokenizers"
cargo check --quiet -p mdl-formats

step "tests"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
cargo test --workspace --no-fail-fast -- --nocapture 2>&1 | tee "$log" | grep -vE '^(running [0-9]+ test|test .* \.\.\. ok$|$)' || status=${PIPESTATUS[0]}

step "summary"
grep -a '^SKIPPED' "$log" || true
awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
  END { printf "%d passed, %d failed, %d skipped\n", passed, failed, ignored }' "$log"
exit "$status"
