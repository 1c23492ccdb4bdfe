# shellcheck shell=bash
# What the scripts share: saying what is done, why, and how long it took. Plain bash, also 3.2 (macOS).

set -euo pipefail
# shellcheck source=scripts/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$FRESHET_ROOT"
LOGS=$FRESHET_ROOT/target/logs
mkdir -p "$LOGS" "$FRESHET_CACHE"

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
  BOLD=$'\033[1m' DIM=$'\033[2m' RED=$'\033[31m' GREEN=$'\033[32m' PLAIN=$'\033[0m'
else
  BOLD='' DIM='' RED='' GREEN='' PLAIN=''
fi

say() { printf '%s\n' "$*"; }
note() { printf '  %s%s%s\n' "$DIM" "$*" "$PLAIN"; }
there() { printf '%s✓%s %s %sis there already%s%s\n' "$GREEN" "$PLAIN" "$1" "$DIM" "${2:+: $2}" "$PLAIN"; }
warn() { printf '%s!%s %s\n' "$RED" "$PLAIN" "$*" >&2; }
die() { printf '%serror:%s %s\n' "$RED" "$PLAIN" "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
in_ci() { [ -n "${CI:-}" ] && [ "$CI" != false ] && [ "$CI" != 0 ]; }

# In CI every run is a fresh clone, so what cargo builds is kept in the cache, where the next run finds the dependencies.
if in_ci; then : "${CARGO_TARGET_DIR:=$FRESHET_CACHE/target}"; fi
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$FRESHET_ROOT/target}
TARGET=$CARGO_TARGET_DIR

# With such a shared folder cargo would take another clone's newer result for this clone's own: it compares times alone.
own_sources() {
  if [ "$TARGET" = "$FRESHET_ROOT/target" ] || [ -e target/own-sources ]; then return; fi
  # What older versions of dependencies left behind is never used again, and cargo does not remove it.
  if in_ci && [ -d "$TARGET" ] && [ "$(du -sk "$TARGET" | cut -f 1)" -gt 15000000 ]; then rm -rf "$TARGET"; fi
  mkdir -p target
  git ls-files -z | xargs -0 touch -c
  touch target/own-sources
}

# 75 -> "1 min 15 s"
duration() {
  if [ "$1" -lt 60 ]; then printf '%d s' "$1"; else printf '%d min %02d s' $(($1 / 60)) $(($1 % 60)); fi
}

# step WHAT WHY COMMAND…: runs the command quietly, says how long it took, and shows the log's end if it failed
# (LOG_LINES lines of it).
step() {
  local what=$1 why=$2 started=$SECONDS status=0 log
  shift 2
  log=$LOGS/$(printf '%s' "$what" | tr -cs 'A-Za-z0-9.' '-').log
  printf '%s▸ %s%s: %s\n' "$BOLD" "$what" "$PLAIN" "$why"
  note "log: $log"
  "$@" >"$log" 2>&1 </dev/null || status=$?
  if [ "$status" -eq 0 ]; then
    printf '  %s✓%s %s\n' "$GREEN" "$PLAIN" "$(duration $((SECONDS - started)))"
  else
    printf '  %s✗ failed after %s%s; the last lines of the log:\n' "$RED" "$(duration $((SECONDS - started)))" "$PLAIN"
    tail -n "${LOG_LINES:-40}" "$log" | sed 's/^/    /'
  fi
  return "$status"
}

# on_exit COMMAND: runs it when the script ends, however it ends; the last one registered runs first.
EXIT_COMMANDS=
on_exit() {
  EXIT_COMMANDS="$1
$EXIT_COMMANDS"
  trap 'eval "$EXIT_COMMANDS"' EXIT
}
