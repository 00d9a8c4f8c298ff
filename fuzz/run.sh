#!/usr/bin/env bash
# Fuzzes every target for some seconds each, one after the other, and prints what came of it.
#
#   fuzz/run.sh SECONDS [TARGET...]
#
# Without names all targets run, also those that need Burn or polars. Needs a nightly compiler and
# `cargo install cargo-fuzz --locked`. What the fuzzer finds new it keeps in fuzz/corpus/TARGET, the inputs that end it
# in fuzz/artifacts/TARGET, what it says in fuzz/artifacts/logs, of which fuzz/table.sh makes the table: of all runs whose
# logs are there. Ends with 1 if anything was found.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=${1:?how many seconds for each target}
shift
targets=("$@")
all=(weights images tables cards records feature_entries archives run_folders experiments recipes prompts checkpoints)
((${#targets[@]})) || targets=("${all[@]}")
features=
for target in "${targets[@]}"; do
    case $target in
        run_folders) features+=reporting, ;;
        experiments | recipes | prompts | checkpoints) features+=burn, ;;
    esac
done

# Files in memory: each input is written and read.
[[ -d /dev/shm ]] && export TMPDIR=/dev/shm
logs=fuzz/artifacts/logs
mkdir -p "$logs"
cargo +nightly fuzz build --features "$features"
host=$(rustc -vV | sed -n 's/^host: //p')
# What `cargo fuzz run` sets: the runtime would take symbols of Rust's for a mistake of C++.
export ASAN_OPTIONS=detect_odr_violation=0

# A virtual machine may stand still for some seconds; an endless loop lasts longer (-timeout, in seconds).
# In MiB: more than any bound, less than a machine. One allocation may be as large as an image.
memory=3072
TIMEFORMAT='stat::processor_seconds: %U'
for target in "${targets[@]}"; do
    kept=fuzz/corpus/$target
    artifacts=fuzz/artifacts/$target
    mkdir -p "$kept" "$artifacts"
    number=1
    while [[ -e $logs/$target-$number.log ]]; do number=$((number + 1)); done
    echo "==> $target, $seconds s"
    # A finding ends the fuzzer; the table counts it, and the others go on.
    {
        time "fuzz/target/$host/release/$target" -artifact_prefix="$artifacts/" -max_total_time="$seconds" -max_len=65536 \
            -timeout=120 -report_slow_units=60 -rss_limit_mb=$memory -malloc_limit_mb=$memory -print_final_stats=1 \
            "$kept" "crates/fuzz-targets/corpus/$target" || true
    } >"$logs/$target-$number.log" 2>&1
done
if ! fuzz/table.sh "$logs"; then
    echo "findings: see fuzz/artifacts/<target> and $logs" >&2
    exit 1
fi
