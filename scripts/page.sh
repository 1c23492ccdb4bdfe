#!/usr/bin/env bash
# The page, by Trunk:  scripts/page.sh build   into frontend/dist
#                      scripts/page.sh serve   builds it, then serves it and rebuilds it when its source changes
# serve obeys FRESHET_PAGE_PORT (8080) and FRESHET_PORT (3000: the back end that /api is passed on to).
set -euo pipefail
# shellcheck source=scripts/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$FRESHET_ROOT"

export TRUNK_SKIP_VERSION_CHECK=true # it would ask the network whether there is a newer Trunk
# Trunk takes NO_COLOR for a boolean, and stops at any other word.
if [ -n "${NO_COLOR:-}" ]; then export NO_COLOR=true; else unset NO_COLOR; fi
export RUST_BACKTRACE=0 # a stack of Trunk's says nothing about the page
config=Trunk.toml

case ${1:-} in
  build) exec scripts/wasm.sh trunk --config "$config" build --release ;;
  serve)
    page=${FRESHET_PAGE_PORT:-8080} back_end=${FRESHET_PORT:-3000}
    if [ "$page" != 8080 ] || [ "$back_end" != 3000 ]; then
      # Trunk has no flag for a proxy of each kind. Paths are made absolute, as they count from the file's own folder,
      # and the result goes to a folder of its own, so that two of these do not write over each other.
      own=$FRESHET_ROOT/target/trunk-$page
      mkdir -p "$own" frontend/dist
      sed -e "s|^port = 8080|port = $page|" -e "s|127.0.0.1:3000|127.0.0.1:$back_end|" \
        -e "s|^dist = .*|dist = \"$own/dist\"|" \
        -e "s|\"frontend|\"$FRESHET_ROOT/frontend|g" -e "s|\"wire\"|\"$FRESHET_ROOT/wire\"|" \
        -e "s|\"assets\"|\"$FRESHET_ROOT/assets\"|" Trunk.toml >"$own/Trunk.toml"
      config=$own/Trunk.toml
    fi
    exec scripts/wasm.sh trunk --config "$config" serve --release
    ;;
  *)
    echo "usage: scripts/page.sh build|serve" >&2
    exit 2
    ;;
esac
