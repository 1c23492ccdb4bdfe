#!/usr/bin/env bash
# make check: formatting, lints, licences and sources of dependencies, and these scripts. It changes nothing.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
FAILED=''

check() { step "$@" || FAILED="${FAILED:+$FAILED, }$1"; }

scripts/setup.sh page engines check
own_sources
check "formatting" "one style; cargo fmt puts these files right" cargo fmt --all --check -- --files-with-diff
check "lints" "clippy on all that runs on this machine" cargo clippy --locked --workspace --all-targets -- -D warnings
check "lints of the engines" "clippy on what runs with the distributed engines" \
  cargo clippy --locked -p freshet -p freshet-tests --features freshet-tests/engines --all-targets -- -D warnings
check "lints of the bench" "clippy on what make bench runs" \
  cargo clippy --locked -p freshet-tests --features bench --bin freshet-bench -- -D warnings
check "lints of the page" "clippy on what runs in the browser" \
  scripts/wasm.sh cargo clippy --locked -p freshet-frontend --target wasm32-unknown-unknown -- -D warnings
if [ ! -e frontend/dist/index.html ] && in_ci; then
  check "page" "the code that embeds it compiles only where it is" scripts/page.sh build
fi
if [ -e frontend/dist/index.html ]; then
  check "lints with the page" "clippy on the code that embeds it" \
    cargo clippy --locked -p freshet --features page --all-targets -- -D warnings
else
  note "not checked: the feature page (make release builds the page that it embeds)"
fi
check "dependencies" "licences, sources, duplicates: deny.toml" cargo deny --all-features check bans licenses sources
if ! LOG_LINES=3 step "advisories" "known vulnerabilities of dependencies" cargo deny --all-features check advisories; then
  if grep -q 'advisory database\|failed to fetch' "$LOGS/advisories.log"; then
    note "not checked: the database of advisories cannot be fetched here"
  else
    FAILED="${FAILED:+$FAILED, }advisories"
  fi
fi
if have shellcheck; then
  check "scripts" "shellcheck" shellcheck --severity=warning -x .ci/run scripts/*.sh
elif in_ci; then
  FAILED="${FAILED:+$FAILED, }scripts (no shellcheck)"
fi
[ -z "$FAILED" ] || die "make check found something in: $FAILED"
say "${GREEN}✓$PLAIN all checks passed ($(duration $SECONDS))"
