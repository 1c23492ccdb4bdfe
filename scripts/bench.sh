#!/usr/bin/env bash
# make bench: measures the release binary beside its opponents and writes docs/benchmarks.md.
#   PART=fanout make bench   only these parts (of fanout,stuck,poll,log,limits,memory,page,soak); the document keeps the others as they are
#   MINUTES=1 make soak      the part soak, for this long instead of five minutes; it fails where what it promises is not so
#   QUICK=1 make bench       few and short rounds, disturbed ones too, and no document: to see whether it works
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

[ "$(uname -s)" = Linux ] || die "make bench needs Linux: it pins processes to cores and reads their figures in /proc"
# A socket at either end for each of 2,000 readers, in processes of their own.
ulimit -n 8192 2>/dev/null || die "make bench needs 8192 open files a process; raise the limit: ulimit -Hn"

UPLOT_VERSION=1.6.32
UPLOT=$FRESHET_CACHE/tools/uplot-$UPLOT_VERSION/node_modules/uplot

# Before anything is measured, so that it does not fail for want of these in the end.
what_a_browser_needs() {
  # shellcheck source=scripts/browser.sh
  . scripts/browser.sh
  scripts/setup.sh browser && find_browser || die "the parts page and soak need a browser: $BROWSER_PROBLEM"
}

what_the_page_needs() {
  if [ -e "$UPLOT/package.json" ]; then
    there "uPlot $UPLOT_VERSION" "$UPLOT"
  else
    have npm || die "the part page needs npm, to fetch what it is measured beside"
    step "uPlot $UPLOT_VERSION" "what the page's frame work is measured beside" \
      npm install --prefix "${UPLOT%/node_modules/uplot}" --no-audit --no-fund --loglevel=error "uplot@$UPLOT_VERSION" || exit 1
  fi
}

what_the_limits_need() {
  # shellcheck source=scripts/engines.sh
  . scripts/engines.sh
  scripts/setup.sh redis && find_redis || die "the part limits needs Redis: $REDIS_PROBLEM"
  have redis-benchmark && have redis-cli || die "the part limits needs redis-benchmark and redis-cli, which come with Redis"
}

scripts/setup.sh page
case ",${PART:-page}," in *,page,* | *,soak,*) what_a_browser_needs ;; esac
case ",${PART:-page}," in *,page,*) what_the_page_needs ;; esac
case ",${PART:-limits}," in *,limits,*) what_the_limits_need ;; esac
own_sources
step "page" "the binary that is measured is the one that users get" scripts/page.sh build || exit 1
step "release binary" "with the page inside" scripts/release.sh binary || exit 1
step "bench" "the programs that measure, and the opponents" \
  cargo build --release --locked -p freshet-tests --features bench --bin freshet-bench || exit 1

ARGUMENTS=(--freshet target/release/freshet --uplot "$UPLOT")
if [ -n "${PART:-}" ]; then ARGUMENTS+=(--part "$PART"); fi
if [ -n "${MINUTES:-}" ]; then ARGUMENTS+=(--minutes "$MINUTES"); fi
if [ -n "${QUICK:-}" ]; then ARGUMENTS+=(--quick); fi
mkdir -p target/bench
say "${BOLD}▸ measuring$PLAIN: leave the machine alone; raw results and logs in target/bench"
"$TARGET/release/freshet-bench" run "${ARGUMENTS[@]}" 2>target/bench/progress.log ||
  die "after $(duration $SECONDS): $(tail -n 5 target/bench/progress.log)"
if [ -n "${QUICK:-}" ]; then
  say "${GREEN}✓$PLAIN it works; nothing was written to docs/benchmarks.md ($(duration $SECONDS))"
else
  say "${GREEN}✓$PLAIN docs/benchmarks.md ($(duration $SECONDS))"
fi
