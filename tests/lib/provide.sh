# Brings what the tests need from outside the tree: Debian packages, npm and PyPI packages. Sourced by tests/run and
# bench/compare. Everything goes into the cache directory; only Debian packages are installed into the system, and only those
# that are missing. Each function fails loudly.

cache=${FIREBREAK_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/firebreak-tests}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export FIREBREAK_TEST_CACHE=$cache
mkdir -p "$cache"

# provide_debian COMMAND=PACKAGE...: installs the packages whose command is missing.
provide_debian() {
  local missing=() pair
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || [[ -x ${pair%%=*} ]] || missing+=("${pair#*=}")
  done
  [[ ${#missing[@]} -eq 0 ]] && return 0
  echo "installing from Debian: ${missing[*]}"
  local sudo=()
  if [[ $(id -u) -ne 0 ]]; then
    command -v sudo >/dev/null || { echo "missing packages: ${missing[*]}; not root and there is no sudo" >&2; return 1; }
    sudo=(sudo -n)
  fi
  "${sudo[@]}" apt-get update -qq || return 1
  # The servers among them are for tests on ports of their own: they must not start as services.
  local mask=() package
  if [[ -d /run/systemd/system ]]; then
    for package in "${missing[@]}"; do
      [[ $package == nginx || $package == haproxy ]] && mask+=("$package.service")
    done
  fi
  [[ ${#mask[@]} -eq 0 ]] || "${sudo[@]}" systemctl mask --runtime --quiet "${mask[@]}" || return 1
  local installed=0
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$cache/apt.log" 2>&1 || installed=1
  [[ ${#mask[@]} -eq 0 ]] || "${sudo[@]}" systemctl unmask --runtime --quiet "${mask[@]}"
  [[ $installed -eq 0 ]] ||
    { tail -20 "$cache/apt.log" >&2; return 1; }
}

# provide_rust: the toolchain, with its parts. It is not installed, for a machine has its own way to do that.
provide_rust() {
  local failed=0 part
  for part in cargo cargo-clippy rustfmt; do
    command -v "$part" >/dev/null || { echo "\`$part\` is missing: install the Rust toolchain, 1.90 or newer, with clippy and rustfmt" >&2; failed=1; }
  done
  provide_debian cc=build-essential cmake=cmake pkg-config=pkg-config || failed=1
  return $failed
}

# build_release: target/release/firebreak, static. As the last crate alone is linked so, build scripts and macros stay as they are.
build_release() {
  provide_rust && cargo rustc --release --locked --bin firebreak --manifest-path "$root/Cargo.toml" -- -C target-feature=+crt-static
}

# provide_python: a virtual environment with the pinned packages; sets python.
provide_python() {
  local wanted stamp=$cache/venv/.requirements
  wanted=$(sha256sum "$root/tests/clients/requirements.txt" | cut -d' ' -f1)
  if [[ $(cat "$stamp" 2>/dev/null) != "$wanted" ]]; then
    # Debian's own interpreter: one that some other tool manages may go away under the environment.
    provide_debian /usr/bin/python3=python3 || return 1
    /usr/bin/python3 -c 'import ensurepip, venv' 2>/dev/null || provide_debian python3-venv-is-missing=python3-venv || return 1
    rm -rf "$cache/venv"
    /usr/bin/python3 -m venv "$cache/venv" || return 1
    "$cache/venv/bin/pip" install --quiet --disable-pip-version-check --require-virtualenv --no-deps \
      -r "$root/tests/clients/requirements.txt" || return 1
    printf '%s' "$wanted" >"$stamp"
  fi
  python=$cache/venv/bin/python
  export PYTHONDONTWRITEBYTECODE=1
}

# provide_npm: the pinned npm packages; sets FIREBREAK_NPM.
provide_npm() {
  provide_debian node=nodejs npm=npm || return 1
  local wanted stamp=$cache/npm/.lock
  wanted=$(cat "$root/tests/clients/package.json" "$root/tests/clients/package-lock.json" "$root/tests/clients/.npmrc" | sha256sum | cut -d' ' -f1)
  if [[ $(cat "$stamp" 2>/dev/null) != "$wanted" ]]; then
    rm -rf "$cache/npm" && mkdir -p "$cache/npm"
    cp "$root"/tests/clients/{package.json,package-lock.json,.npmrc} "$cache/npm/"
    (cd "$cache/npm" && npm ci --no-progress --loglevel=error) || return 1
    printf '%s' "$wanted" >"$stamp"
  fi
  export FIREBREAK_NPM=$cache/npm
}
