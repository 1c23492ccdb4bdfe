# shellcheck shell=bash
# The environment every script shares; also for your own shell:  . scripts/env.sh
# It only sets variables: tools are put there by scripts/setup.sh. Tools of ours come first on PATH, because each is
# pinned to the version this repository was tested with. Code for the page is compiled through scripts/wasm.sh.

if [ -n "${BASH_VERSION:-}" ]; then _here=${BASH_SOURCE[0]}; else _here=$0; fi   # zsh has the sourced file in $0
FRESHET_ROOT=$(cd "$(dirname "$_here")/.." && pwd)
FRESHET_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/freshet
unset _here

TRUNK_VERSION=0.21.14
BINARYEN_VERSION=132.0.0
CARGO_DENY_VERSION=0.20.2
# The wasm-bindgen command refuses code made by any other version of its crate, so the lock file decides.
WASM_BINDGEN_VERSION=$(awk '$3 == "\"wasm-bindgen\"" { getline; gsub(/"/, "", $3); print $3; exit }' \
  "$FRESHET_ROOT/Cargo.lock" 2>/dev/null || true)
WASM_BINDGEN_VERSION=${WASM_BINDGEN_VERSION:-0.2.130}

for _dir in "cargo-deny-$CARGO_DENY_VERSION/bin" "binaryen-$BINARYEN_VERSION/node_modules/.bin" \
  "wasm-bindgen-cli-$WASM_BINDGEN_VERSION/bin" "trunk-$TRUNK_VERSION/bin"; do
  case ":$PATH:" in
    *":$FRESHET_CACHE/tools/$_dir:"*) ;;
    *) PATH=$FRESHET_CACHE/tools/$_dir:$PATH ;;
  esac
done
unset _dir
export PATH FRESHET_ROOT FRESHET_CACHE TRUNK_VERSION BINARYEN_VERSION CARGO_DENY_VERSION WASM_BINDGEN_VERSION
