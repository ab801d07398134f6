#!/usr/bin/env bash
# Runs each fuzz target, or those named, for SECONDS each (5). Works on a stable toolchain: the
# coverage that guides libFuzzer is LLVM's own; there is no sanitizer, as there is no unsafe code.
# What breaks a target is left in fuzz/artifacts/, what was interesting in fuzz/corpus/.
set -euo pipefail
cd "$(dirname "$0")"

command -v c++ >/dev/null || {
  echo "fuzz: a C++ compiler is missing (Debian: g++)" >&2
  exit 1
}
seconds=${SECONDS_EACH:-5}
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(basename -s .rs src/bin/*.rs)

export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"
# Named, or build scripts would be instrumented, too.
triple=$(rustc -vV | sed -n 's/^host: //p')
cargo build --release --locked --quiet --target "$triple" --bins
built=${CARGO_TARGET_DIR:-target}/$triple/release

for target in "${targets[@]}"; do
  mkdir -p "corpus/$target" "artifacts/$target"
  printf 'fuzz: %s for %s s\n' "$target" "$seconds"
  if ! out=$("$built/$target" "corpus/$target" $(ls -d "seeds/$target" 2>/dev/null) \
    -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 -max_len=8192 -print_final_stats=1 \
    -artifact_prefix="artifacts/$target/" 2>&1); then
    printf '%s\n' "$out" | tail -40
    exit 1
  fi
  printf '%s\n' "$out" | grep -E '^Done|stat::number_of_executed_units|stat::peak_rss' || true
done
