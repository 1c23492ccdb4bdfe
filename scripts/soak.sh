#!/usr/bin/env bash
#!/usr/bin/env bash
# make soak: what takes too long for every test run, and fails where a promise is broken.
#   KILLS=50     how often the program is killed while events are published to it
#   FAILOVERS=300 FAULT_STEPS=10000 FRESHET_SEED=7   failovers in a row, and faults by chance, of the embedded election
#   ETCD_FAULTS=30 ZOOKEEPER_FAULTS=10   how often a leader among three processes is killed and frozen, and the servers' own leader killed
#   FLOOD=100000 OUTAGE_S=10   addresses of a flood, and how long Redis is away under load
#   FUZZ=100000  configurations of each kind that are made up by chance
#   MINUTES=5    how long the page is held under load
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

scripts/setup.sh page engines etcd zookeeper
# shellcheck source=scripts/engines.sh
. scripts/engines.sh
find_etcd || die "$ETCD_PROBLEM"
find_zookeeper || die "$ZOOKEEPER_PROBLEM"
own_sources
step "page" "the binary that is tested is the one that users get" scripts/page.sh build || exit 1
step "release binary" "with the page inside" scripts/release.sh binary || exit 1
export FRESHET_BIN=$FRESHET_ROOT/target/release/freshet FRESHET_KILLS=${KILLS:-50}
step "$FRESHET_KILLS kills" "each acknowledged event is there once, in its place, after kill -9 under load" \
  cargo test --release --locked -p freshet-tests --test program -- survives_a_kill || exit 1
grep -h "over $FRESHET_KILLS kills" "$LOGS/$FRESHET_KILLS-kills.log"
export FRESHET_FAILOVERS=${FAILOVERS:-300} FRESHET_FAULT_STEPS=${FAULT_STEPS:-10000}
step "elections" "$FRESHET_FAILOVERS failovers in a row, $FRESHET_FAULT_STEPS faults by chance" \
  cargo test --release --locked -p freshet --lib election::raft::tests -- --nocapture failovers_in_a_row whatever_fails || exit 1

FRESHET_FUZZ=${FUZZ:-100000} step "configurations" "${FUZZ:-100000} of each kind by chance: no panic, and every refusal says where" \
  cargo test --release --locked -p freshet --features engines --lib config::fuzz -- --nocapture || exit 1
grep -h " refused$" "$LOGS/configurations.log"

# faults ENGINE TIMES: each fault so often, against three processes and three real servers.
faults() {
  FRESHET_PROCESS_FAULTS=$2 step "$1 faults" "a leader killed, frozen, and the servers' own killed, $2 times each" \
    cargo test --release --locked -p freshet-tests --features engines --test election -- --nocapture "$1::processes" || exit 1
  grep -h ' times, TTL ' "$LOGS/$1-faults.log"
}

FRESHET_FEATURES=page,engines \
  step "release binary with engines" "that of the users is built again below" scripts/release.sh binary || exit 1
faults etcd "${ETCD_FAULTS:-30}"
faults zookeeper "${ZOOKEEPER_FAULTS:-10}"

export FRESHET_FLOOD=${FLOOD:-100000} FRESHET_OUTAGE_S=${OUTAGE_S:-10}
step "flood" "from $FRESHET_FLOOD addresses: memory is bounded, and the honest are served" \
  cargo test --release --locked -p freshet-tests --test program -- --nocapture a_flood_from || exit 1
grep -h " addresses in " "$LOGS/flood.log"
# shellcheck source=scripts/engines.sh
. scripts/engines.sh
if find_redis; then
  step "Redis away" "paused and killed for $FRESHET_OUTAGE_S s under load: the quotas hold" \
    cargo test --release --locked -p freshet-tests --features redis --test limit -- --nocapture paused_or_killed || exit 1
  grep -h "admitted" "$LOGS/Redis-away.log"
else
  warn "not run: Redis away ($REDIS_PROBLEM)"
fi
PART=soak exec scripts/bench.sh
