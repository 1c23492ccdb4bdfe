#!/usr/bin/env bash
# make release: one binary that carries the page and needs no other file: target/release/freshet.
#   scripts/release.sh          all of it, with sizes
#   scripts/release.sh binary   the binary alone, from the page that is in frontend/dist
# FRESHET_FEATURES=page,engines has it carry the distributed engines as well (scripts/setup.sh engines).
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

binary() {
  own_sources
  cargo build --release --locked -p freshet --features "${FRESHET_FEATURES:-page}" || return
  if [ "$TARGET" != "$FRESHET_ROOT/target" ]; then
    mkdir -p target/release && cp -f "$TARGET/release/freshet" target/release/freshet
  fi
}

size_of() { wc -c <"$1" | tr -d ' '; }

# brotli_size FILE: bytes at the level that the back end's build uses, or nothing where neither tool is there.
brotli_size() {
  if have brotli; then
    brotli -q 11 -c "$1" | wc -c | tr -d ' '
  elif have node; then
    node -e 'process.stdout.write(String(require("zlib").brotliCompressSync(require("fs").readFileSync(process.argv[1])).length))' "$1"
  fi
}

weight() {
  local kind file raw brotli sum=0 sum_brotli=0 all=0 all_brotli=0
  printf '  %-14s %10s %10s\n' "page" "bytes" "brotli"
  for kind in wasm js css html woff2 other; do
    sum=0 sum_brotli=0
    while IFS= read -r file; do
      [ -n "$file" ] || continue
      raw=$(size_of "$file") brotli=$(brotli_size "$file")
      # compressed already: the back end sends it as it is
      if [ "$kind" = woff2 ]; then brotli=$raw; fi
      sum=$((sum + raw)) sum_brotli=$((sum_brotli + ${brotli:-0}))
    done <<<"$(files "$kind")"
    all=$((all + sum)) all_brotli=$((all_brotli + sum_brotli))
    [ "$sum" -eq 0 ] || printf '  %-14s %10d %10s\n' "$kind" "$sum" "$sum_brotli"
  done
  printf '  %-14s %10d %10s\n' total "$all" "$all_brotli"
  if ! have brotli && ! have node; then note "brotli is not measured: neither brotli nor node is there"; fi
}

files() {
  if [ "$1" = other ]; then
    find frontend/dist -type f ! -name '*.wasm' ! -name '*.js' ! -name '*.css' ! -name '*.html' ! -name '*.woff2'
  else
    find frontend/dist -type f -name "*.$1"
  fi
}

case ${1:-all} in
  binary) binary ;;
  all)
    scripts/setup.sh page
    own_sources
    step "page" "compiled to WebAssembly, for the binary to carry" scripts/page.sh build || exit 1
    step "release binary" "the back end with the page inside" binary || exit 1
    say
    say "${BOLD}target/release/freshet$PLAIN: $(size_of target/release/freshet) bytes (after $(duration $SECONDS))"
    weight
    ;;
  *) die "release.sh: '$1' is neither 'binary' nor nothing" ;;
esac
