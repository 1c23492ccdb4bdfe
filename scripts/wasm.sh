#!/usr/bin/env bash
# Runs a command with the compiler that builds the page:  scripts/wasm.sh cargo check -p freshet-frontend --target wasm32-unknown-unknown
# That is your own Rust, unless it has no wasm32-unknown-unknown and set-up took the distribution's (see setup.sh); then
# only cargo, rustc, rustdoc and clippy are replaced, for this command alone.
set -euo pipefail
# shellcheck source=scripts/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

if [ -x "$FRESHET_CACHE/wasm-rust/bin/rustc" ]; then
  export PATH=$FRESHET_CACHE/wasm-rust/bin:$PATH
  export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$FRESHET_CACHE/wasm-rust/bin/wasm-ld
  # set by rustup's proxies for the toolchain they started; they would lead back to it
  unset RUSTC RUSTDOC CARGO RUSTUP_TOOLCHAIN
fi
exec "$@"
