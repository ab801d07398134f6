#!/usr/bin/env bash
# The side-by-side table and what shaping saves: builds everything, measures, prints, and writes
# out/results.{json,md} and out/shaping.md. With a first argument "table" or "shaping" only that; what
# follows are its options, see bench-runner table --help.
# QUICK=1: the table alone, under three minutes.
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

part=both
case ${1:-} in table | shaping) part=$1 && shift ;; esac
[ -z "${QUICK:-}" ] || [ "$part" != both ] || part=table

if [ "$part" != shaping ]; then
  "$target/release/bench-runner" table "${options[@]}" "$@"
fi
if [ "$part" != table ]; then
  # A whole hub, from the product's own workspace.
  cargo build --release --locked --quiet --manifest-path ../Cargo.toml -p kobel
  kobel=${CARGO_TARGET_DIR:-../target}/release/kobel
  [ "$part" = shaping ] || set --
  "$target/release/bench-runner" shaping "${options[@]}" --kobel "$kobel" "$@"
  # The formats by themselves, in the same run.
  cargo bench --locked --quiet --manifest-path ../Cargo.toml -p kobel-wire --bench encodings -- \
    --frames "$PWD/out/metr.frames" | tee -a out/shaping.md
  [ -e ../web/node_modules/.package-lock.json ] || npm --prefix ../web ci --no-fund --no-audit --silent
  node ../web/scripts/bench-metr.mjs "$PWD/out/metr.frames" | tee -a out/shaping.md
fi
