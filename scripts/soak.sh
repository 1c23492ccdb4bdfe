#!/usr/bin/env bash
# What takes too long for make test: failovers in a row, and faults by chance, of the embedded election.
#   FRESHET_SEED=7 scripts/soak.sh   another schedule of faults
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

export FRESHET_FAILOVERS=${FRESHET_FAILOVERS:-300} FRESHET_FAULT_STEPS=${FRESHET_FAULT_STEPS:-10000}
cargo test --release --locked -p freshet --lib election::raft::tests -- --nocapture failovers_in_a_row whatever_fails
