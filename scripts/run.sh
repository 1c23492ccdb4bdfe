#!/usr/bin/env bash
# make run: the page on http://127.0.0.1:8080 and the back end behind it, until Ctrl-C.
#   FRESHET_PAGE_PORT (8080)   FRESHET_PORT (3000)   FRESHET_DATA (~/.local/share/freshet)
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

export FRESHET_PORT=${FRESHET_PORT:-3000} FRESHET_PAGE_PORT=${FRESHET_PAGE_PORT:-8080}
DATA=${FRESHET_DATA:-${XDG_DATA_HOME:-$HOME/.local/share}/freshet}
BACK_END_LOG=$LOGS/run-back-end.log PAGE_LOG=$LOGS/run-page.log
BACK_END='' PAGE='' # process ids, which are process groups, too

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
runs() { [ -n "$1" ] && kill -0 "$1" 2>/dev/null; }

# What is wrong with the place is said before minutes are spent on building.
check_place() {
  local name port
  for name in FRESHET_PORT FRESHET_PAGE_PORT; do
    port=${!name}
    case $port in '' | *[!0-9]*) die "$name=$port is not a port number" ;; esac
    if [ "$port" -lt 1 ] || [ "$port" -gt 65535 ]; then die "$name=$port is not between 1 and 65535"; fi
    if listens "$port"; then
      die "port $port on 127.0.0.1 is taken by another program; stop that or choose another port: $name=… make run"
    fi
  done
  [ "$FRESHET_PORT" != "$FRESHET_PAGE_PORT" ] || die "FRESHET_PORT and FRESHET_PAGE_PORT are both $FRESHET_PORT"
  mkdir -p "$DATA" 2>/dev/null || die "the data folder $DATA cannot be made; choose another: FRESHET_DATA=… make run"
  [ -w "$DATA" ] || die "the data folder $DATA is not writable; choose another: FRESHET_DATA=… make run"
}

# Both get a process group of their own, so that stopping reaches what they started (cargo, wasm-opt), too.
stop() {
  local group waited=0
  trap '' INT TERM HUP
  for group in $PAGE $BACK_END; do kill -TERM -- "-$group" 2>/dev/null || true; done
  for group in $PAGE $BACK_END; do
    while kill -0 -- "-$group" 2>/dev/null && [ $waited -lt 100 ]; do
      sleep 0.1
      waited=$((waited + 1))
    done
    kill -KILL -- "-$group" 2>/dev/null || true
  done
}

start_back_end() {
  set -m
  "$TARGET/release/freshet" serve --listen "127.0.0.1:$FRESHET_PORT" --data "$DATA" \
    --allow-origin "http://127.0.0.1:$FRESHET_PAGE_PORT" --allow-origin "http://localhost:$FRESHET_PAGE_PORT" \
    >"$BACK_END_LOG" 2>&1 </dev/null &
  BACK_END=$!
  set +m
  until listens "$FRESHET_PORT"; do
    runs "$BACK_END" || return 1
    sleep 0.1
  done
}

start_page() {
  set -m
  scripts/page.sh serve >"$PAGE_LOG" 2>&1 </dev/null &
  PAGE=$!
  set +m
  # It listens after its first build, and also if that one failed.
  until listens "$FRESHET_PAGE_PORT"; do
    runs "$PAGE" || break
    runs "$BACK_END" || return 1
    sleep 0.2
  done
  cat "$PAGE_LOG"
  runs "$PAGE" && ! grep -q 'ERROR' "$PAGE_LOG"
}

# gave_up NAME PID LOG: says how a part that should run for ever has ended.
gave_up() {
  local status=0
  wait "$2" || status=$?
  warn "$1 has stopped by itself (exit status $status). Its last lines ($3):"
  tail -n 20 "$3" | sed 's/^/    /' >&2
}

# In a function, so that bash has read all of it before the first line runs: the file may change while this goes on.
main() {
  check_place
  on_exit stop
  trap 'say; exit 130' INT TERM HUP
  scripts/setup.sh page
  own_sources
  step "back end" "compiled for release: latency is what it shows" cargo build --release --locked -p freshet || exit 1
  if ! step "start the back end" "embedded engines, data in $DATA" start_back_end; then
    gave_up "the back end" "$BACK_END" "$BACK_END_LOG"
    exit 1
  fi
  step "page" "compiled to WebAssembly, then served by Trunk" start_page || {
    runs "$BACK_END" || gave_up "the back end" "$BACK_END" "$BACK_END_LOG"
    exit 1
  }
  trap 'say; say "stopped"; exit 0' INT TERM HUP
  say
  say "${BOLD}Freshet is on http://127.0.0.1:$FRESHET_PAGE_PORT$PLAIN  (ready after $(duration $SECONDS); stop with Ctrl-C)"
  note "the page is rebuilt when its source changes: reload it then. Logs: $PAGE_LOG $BACK_END_LOG"
  # the shell's own word on a killed child would come before ours
  while runs "$BACK_END" && runs "$PAGE"; do sleep 0.5; done 2>/dev/null
  if ! runs "$BACK_END"; then gave_up "the back end" "$BACK_END" "$BACK_END_LOG"; else gave_up Trunk "$PAGE" "$PAGE_LOG"; fi
  exit 1
}

main
