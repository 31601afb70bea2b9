# Sourced by first_run.sh and test.sh: what both need on a fresh Debian-like machine.
# Programs that are already there are left alone.

# packages NAME=PACKAGE …: installs the Debian package of every program that is missing.
packages() {
  local pair missing=()
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  install_missing "${missing[@]}"
}

# headers FILE=PACKAGE …: the same for C headers below /usr/include.
headers() {
  local pair missing=()
  for pair in "$@"; do
    [ -e "/usr/include/${pair%%=*}" ] || missing+=("${pair#*=}")
  done
  install_missing "${missing[@]}"
}

install_missing() {
  local missing=("$@")
  [ ${#missing[@]} -eq 0 ] && return
  if ! command -v apt-get >/dev/null; then
    echo "error: please install: ${missing[*]}" >&2
    exit 1
  fi
  local sudo=
  [ "$(id -u)" -eq 0 ] || sudo=sudo
  $sudo apt-get update -q
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y "${missing[@]}"
}

if ! command -v cargo >/dev/null; then
  [ -e "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
fi
if ! command -v cargo >/dev/null; then
  echo "error: Rust is missing; install it with rustup (https://rustup.rs), then run this again" >&2
  exit 1
fi
packages cc=build-essential python3=python3 pip3=python3-pip unzip=unzip
python3 -c 'import ensurepip' 2>/dev/null || packages no-venv=python3-venv
