#!/usr/bin/env bash
# Installs the Debian packages that are missing; does nothing, fast, when none is.
#   tools/setup.sh          what building, testing and running needs
#   tools/setup.sh checks   and what the other checks of .ci/run need
#   tools/setup.sh training and what the test of tools/train needs, which is skipped without it
#   tools/setup.sh client   and the openai client from PyPI, below build/, for its test, which is skipped without it
#   tools/setup.sh gguf     and the gguf package from PyPI, below build/, for the tests against it, which are skipped without it
#   tools/setup.sh schemathesis  and schemathesis from PyPI, below build/, for the test of /openapi.json, which is skipped without it
#   tools/setup.sh schemas  and jsonschema and pydantic from PyPI, below build/, which judge what is written to schemas; the test is
#                           skipped without them
#   tools/setup.sh scaleout and what the tests of a store in Redis need, which are skipped without it. Debian's
#                           packages start the two servers; the tests start their own, those can be disabled
#   tools/setup.sh browser  and what the test of the page needs, which is skipped without it
#   tools/setup.sh arm64    or what building for aarch64 and running it here needs
set -euo pipefail

packages=(g++ make cmake ninja-build pkg-config python3 python3-pip
  nlohmann-json3-dev libcli11-dev libfmt-dev libedit-dev libxxhash-dev libzstd-dev
  libsqlite3-dev libhiredis-dev libgtest-dev libbenchmark-dev)
# Boost's headers, 1.74 or newer. Debian lets only one version in, so any that is there stays.
if [ ! -e /usr/include/boost/beast/http.hpp ]; then
  apt-cache show libboost1.81-dev >/dev/null 2>&1 && packages+=(libboost1.81-dev) || packages+=(libboost-dev)
fi
[ "${1:-}" != checks ] || packages+=(clang clang-format libclang-rt-14-dev)
[ "${1:-}" != training ] || packages+=(python3-torch python3-numpy)
[ "${1:-}" != scaleout ] || packages+=(redis-server haproxy)
[ "${1:-}" != browser ] || packages+=(chromium chromium-driver)
if [ "${1:-}" = arm64 ]; then
  packages+=(g++-aarch64-linux-gnu qemu-user)
  for library in libfmt-dev libedit-dev libxxhash-dev libzstd-dev libsqlite3-dev libgtest-dev; do packages+=("$library:arm64"); done
fi

# A library that is there for two architectures says so twice.
installed() { [[ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" == installed* ]]; }
# From PyPI, of what Debian does not have. Below build/ it is in nobody's way.
#   install_python PACKAGE VERSION FOLDER [MORE...]
install_python() {
  local to
  to="$(cd "$(dirname "$0")/.." && pwd)/build/$3"
  [ ! -e "$to/$1-$2.dist-info" ] || return 0
  echo "setup: installing $1 $2 in $to" >&2
  rm -rf "$to"
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target "$to" \
    "$1==$2" "${@:4}" || { echo "setup: pip failed; tests that need $1 will be skipped" >&2; rm -rf "$to"; }
}
install_python_packages() {
  case "$1" in
    client) install_python openai 3.57.0 openai-client ;;
    gguf) install_python gguf 0.19.0 gguf-package ;;
    schemathesis) install_python schemathesis 4.32.5 schemathesis ;;
    schemas) install_python jsonschema 4.26.0 schema-packages 'jsonschema[format]' pydantic==2.14.4 ;;
  esac
}

missing=()
for package in "${packages[@]}"; do
  installed "$package" || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  install_python_packages "${1:-}"
  exit 0
fi

if ! command -v apt-get >/dev/null; then
  echo "setup: no apt-get here; install what these Debian packages hold: ${missing[*]}" >&2
  exit 1
fi
root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "setup: run as root, or install: ${missing[*]}" >&2
    exit 1
  fi
  root=(sudo)
fi
echo "setup: installing ${missing[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
if [ "${1:-}" = arm64 ]; then "${root[@]}" dpkg --add-architecture arm64; fi
if ! { "${root[@]}" apt-get update -q && "${root[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}"; } \
    >"$log" 2>&1 </dev/null; then
  tail -n 20 "$log" >&2
  echo "setup: apt-get failed; install by hand: ${missing[*]}" >&2
  exit 1
fi
install_python_packages "${1:-}"
