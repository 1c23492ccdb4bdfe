#!/usr/bin/env bash
# make test: every test there is, and a summary that says what ran and what did not.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

# One profile and one set of features for all, so that nothing is compiled twice. The browser tests need the binary
# that a user gets, and figures of latency mean nothing without optimisation: hence release.
BUILD=(--release --locked --workspace --features "freshet/page,freshet-tests/engines")
TEST_LOGS=$FRESHET_ROOT/target/test-logs
PASSED=0 FAILED=0 SKIPPED=0
ROWS= # "name|seconds|passed|failed|skipped|remark" a line

row() { ROWS="$ROWS$1|$2|$3|$4|$5|${6:-}
"; }

# not_run NAME WHY: a stage that could not run is no success, and in CI it is a failure.
not_run() {
  warn "not run: $1 ($2)"
  if in_ci; then
    FAILED=$((FAILED + 1))
    row "$1" 0 0 1 0 "not run: $2"
  else
    SKIPPED=$((SKIPPED + 1))
    row "$1" 0 0 0 1 "not run: $2"
  fi
}

# programs LOG: "name passed failed skipped seconds" for each test program that has a result in it.
programs() {
  awk '
    / Running / || / Doc-tests / { # "Running unittests src/lib.rs (target/release/deps/freshet_wire-0123456789abcdef)"
      name = $NF; gsub(/[()]/, "", name); sub(/.*\//, "", name); sub(/-[0-9a-f]+$/, "", name)
      if (/ Doc-tests /) name = "documentation:" name
    }
    /^test result: / {
      p = f = s = t = 0
      for (i = 2; i <= NF; i++) {
        if ($i == "passed;") p = $(i - 1); if ($i == "failed;") f = $(i - 1); if ($i == "ignored;") s = $(i - 1)
        if ($i == "in") t = $(i + 1) + 0
      }
      print name, p, f, s, t
    }' "$1"
}

# stage NAME NEEDED ARGUMENTS…: runs `cargo test` with the arguments and books what it counted. NEEDED names the programs
# that must have run tests: a test that silently is no more would otherwise look like one that passes.
stage() {
  local name=$1 needed=$2 started=$SECONDS status=0 log program passed failed skipped seconds problem='' failures=0 ran=' '
  shift 2
  log=$TEST_LOGS/$(printf '%s' "$name $needed" | tr -cs 'A-Za-z0-9.' '-').log
  printf '%s▸ %s%s%s\n' "$BOLD" "$name" "${needed:+: $needed}" "$PLAIN"
  cargo test "${BUILD[@]}" --no-fail-fast "$@" >"$log" 2>&1 </dev/null || status=$?
  while read -r program passed failed skipped seconds; do
    [ $((passed + failed + skipped)) -gt 0 ] || continue
    if [ $((passed + failed)) -gt 0 ]; then ran="$ran$program "; fi
    row "$name: $program" "$seconds" "$passed" "$failed" "$skipped"
    PASSED=$((PASSED + passed)) FAILED=$((FAILED + failed)) SKIPPED=$((SKIPPED + skipped)) failures=$((failures + failed))
  done < <(programs "$log")
  for program in $needed; do
    case $ran in *" $program "*) ;; *) problem="${problem:+$problem; }no test of $program ran" ;; esac
  done
  if [ "$status" -ne 0 ] && [ "$failures" -eq 0 ]; then problem="${problem:+$problem; }exit status $status"; fi
  if [ -n "$problem" ]; then
    FAILED=$((FAILED + 1)) failures=$((failures + 1))
    row "$name" 0 0 1 0 "$problem"
  fi
  if [ "$failures" -eq 0 ]; then
    printf '  %s✓%s %s\n' "$GREEN" "$PLAIN" "$(duration $((SECONDS - started)))"
    return
  fi
  printf '  %s✗ %s%s%s; from %s:\n' "$RED" "$(duration $((SECONDS - started)))" "${problem:+: $problem}" "$PLAIN" "$log"
  # what failed tests printed, and the list of them
  awk '/^failures:$/ { show = 1 } /^test result: / { show = 0 } show' "$log" | head -n 300 | sed 's/^/    /'
  if [ -n "$problem" ]; then tail -n 40 "$log" | sed 's/^/    /'; fi
}

summary() {
  say
  say "${BOLD}Summary$PLAIN ($(duration $SECONDS) in all; logs in ${TEST_LOGS#"$FRESHET_ROOT/"})"
  printf '%s' "$ROWS" | awk -F'|' '
    BEGIN { printf "  %-34s %8s %8s %8s %8s\n", "stage", "seconds", "passed", "failed", "skipped" }
    { printf "  %-34s %8.1f %8d %8d %8d  %s\n", $1, $2, $3, $4, $5, $6 }'
  say
  if [ "$SKIPPED" -gt 0 ]; then
    say "$PASSED passed, $FAILED failed, $SKIPPED skipped"
  else
    say "$PASSED passed, $FAILED failed"
  fi
}

# engine PROGRAM NAME PROBLEM: the tests against this engine's real server, whose names begin with it; or why they cannot run.
engine() {
  if [ -n "$3" ]; then
    not_run "$1: $2" "$3"
  else
    stage "end to end, $2" "$1" --test "$1" "$2::"
  fi
}

# must NAME WHY COMMAND…: a step without which no test can run.
must() {
  local name=$1 started=$SECONDS
  step "$@" && return
  FAILED=$((FAILED + 1))
  row "$name" $((SECONDS - started)) 0 1 0 "the tests after it did not run"
  summary
  exit 1
}

# In a function, so that bash has read all of it before the first line runs: the file may change while this goes on.
main() {
  rm -rf "$TEST_LOGS" && mkdir -p "$TEST_LOGS"
  scripts/setup.sh page engines || { not_run "everything" "set-up is not complete"; summary; exit 1; }
  local browser_problem='' programs name
  # Where only axe-core could not be had, the tests that need it fail, and the others run.
  scripts/setup.sh browser || true
  # shellcheck source=scripts/browser.sh
  . scripts/browser.sh
  find_browser || browser_problem=$BROWSER_PROBLEM
  scripts/setup.sh kafka || true
  scripts/setup.sh pubsub || true
  scripts/setup.sh redis || true
  scripts/setup.sh etcd || true
  scripts/setup.sh zookeeper || true
  # shellcheck source=scripts/engines.sh
  . scripts/engines.sh
  find_kafka || true
  find_pubsub_emulator || true
  find_redis || true
  find_etcd || true
  find_zookeeper || true

  own_sources
  must "page" "the release binary carries it" scripts/page.sh build
  FRESHET_FEATURES=page,engines,contract \
    must "release binary" "what the end-to-end and browser tests start" scripts/release.sh binary
  must "tests" "compiled once for all stages" cargo test "${BUILD[@]}" --no-run
  export FRESHET_BIN=$FRESHET_ROOT/target/release/freshet

  stage "unit" "freshet_wire freshet freshet_frontend" --lib --bins
  stage "documentation" "" --doc
  # Each other program is a stage. Cargo has just listed them: "Executable http/main.rs (…/http-0123456789abcdef)".
  programs=$(sed -n '/ Executable unittests /d; s/^ *Executable .*(.*\/\(.*\)-[0-9a-f]*)$/\1/p' "$LOGS/tests.log" | sort -u)
  [ -n "$programs" ] || not_run "end to end" "cargo lists no test program"
  for name in $programs; do
    case $name in
      browser*)
        if [ -n "$browser_problem" ]; then
          not_run "$name" "$browser_problem"
          continue
        fi
        # What needs an engine's server beside the browser runs by the engine's name.
        if [ "$name" = browser ]; then
          stage "end to end" browser --test browser -- --skip engine::
          engine browser kafka "$KAFKA_PROBLEM"
          engine browser cloud "$PUBSUB_PROBLEM"
          continue
        fi
        ;;
      pubsub)
        engine pubsub kafka "$KAFKA_PROBLEM"
        engine pubsub cloud "$PUBSUB_PROBLEM"
        continue
        ;;
      limit)
        engine limit redis "$REDIS_PROBLEM"
        continue
        ;;
      election)
        engine election etcd "$ETCD_PROBLEM"
        engine election zookeeper "$ZOOKEEPER_PROBLEM"
        engine election together "${ETCD_PROBLEM:-$KAFKA_PROBLEM}"
        continue
        ;;
      settings)
        stage "end to end, file" settings --test settings file::
        engine settings etcd "$ETCD_PROBLEM"
        engine settings zookeeper "$ZOOKEEPER_PROBLEM"
        engine settings processes "$ETCD_PROBLEM"
        continue
        ;;
    esac
    stage "end to end" "$name" --test "$name"
  done
  summary
  [ "$FAILED" -eq 0 ]
}

main
