#!/usr/bin/env bash
# The side-by-side table: builds everything, measures, prints, and writes out/results.{json,md}.
# QUICK=1: under three minutes. More options: bench-runner table --help.
set -euo pipefail
cd "$(dirname "$0")"

for program in cargo node npm taskset setsid setpriv; do
  command -v "$program" >/dev/null || {
    echo "bench: $program is missing" >&2
    exit 1
  }
done
# Each server has all its clients in one process.
ulimit -n "$(ulimit -Hn)"

cargo build --release --locked --quiet
[ node/node_modules/.package-lock.json -nt node/package-lock.json ] ||
  npm --prefix node ci --no-fund --no-audit --ignore-scripts --silent

target=${CARGO_TARGET_DIR:-target}
options=()
[ -z "${QUICK:-}" ] || options+=(--quick)
exec "$target/release/bench-runner" table "${options[@]}" "$@"
